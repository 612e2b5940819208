// Package konggateway reconciles KongGateways: it connects to each Kong, probes it, lists what it
// holds of this cluster from time to time (the resync), and enqueues the bindings that this
// concerns.
//
// controller.go lists the steps, and each of them has a file. The package is the only writer of a
// gateway's status. What a resync shows is a hint: it leads to a reconcile, never to a write,
// except for the removal of orphans (orphans.go).
//
// The package must not import another reconciler, HTTP or a client of Kong.
package konggateway

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/fairqueue"
	"github.com/pluginbinding/kong-plugin-operator/internal/inflight"
	"github.com/pluginbinding/kong-plugin-operator/internal/metrics"
	"github.com/pluginbinding/kong-plugin-operator/internal/programmed"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// +kubebuilder:rbac:groups=kong.pluginbinding.io,resources=konggateways,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=kong.pluginbinding.io,resources=konggateways/status,verbs=patch

// Reconciler keeps one connection per KongGateway and resyncs what its Kong holds.
type Reconciler struct {
	Client client.Client
	// APIReader reads Secrets, which are not cached.
	APIReader client.Reader
	Events    events.EventRecorder
	// ClusterID is in the ownership tags of this cluster's plugins.
	ClusterID string
	// Namespaces that the operator watches; empty for all.
	Namespaces sets.Set[string]
	// Selector of what the operator watches; nil or empty for everything.
	Selector labels.Selector
	// RemoveOrphans allows the removal of plugins that carry this cluster's ownership tags and
	// belong to no binding. It requires a cluster ID that an administrator chose: two clusters that
	// share a Kong and a default ID must not delete each other's plugins.
	RemoveOrphans bool
	// ClusterCreatedAt is when this cluster was created. Older plugins are not removed as orphans.
	ClusterCreatedAt time.Time
	// AllowedHosts restricts the hosts to which adminURL may lead, see adminapi.Settings. Empty allows
	// all.
	AllowedHosts []string
	Connections  *connection.Registry
	// Selections is shared with the reconciler of policies.
	Selections *connection.Selections
	InFlight   *inflight.Tracker
	Programmed *programmed.Memory
	Metrics    *metrics.Metrics
	Clients    connection.ClientRegistry
	Clock      clock.PassiveClock
	// Backoff is the delay between probes of a gateway that cannot be used.
	Backoff workqueue.TypedRateLimiter[types.NamespacedName]

	// Limiter shares the workers out among namespaces.
	Limiter *fairqueue.Limiter
	// BindingWorkers says how many reconciles of a gateway's bindings are running.
	BindingWorkers interface {
		Busy(gateway types.NamespacedName) int
	}

	probes     perGateway[probeState]
	writeTries perGateway[writeTry]
}

// state is one reconcile of one gateway: what it started with, and one value per step.
type state struct {
	gateway  *v1alpha1.KongGateway
	key      types.NamespacedName
	last     probeState // of the reconcile that probed the gateway last
	bindings []v1alpha1.PluginBinding
	// refused are the bindings that the gateway's spec refuses.
	refused sets.Set[types.NamespacedName]
	// hasNothing reports whether this Kong provably has no plugin of a binding.
	hasNothing func(*v1alpha1.PluginBinding) bool
	// selecting is what the gateway's policies select.
	selecting selecting

	probe  probe  // by probeIfDue
	health health // by assessHealth
	// unstable: some probes fail and others do not; by assessHealth.
	unstable bool
	// writesFail: the writes of several bindings fail alike; by tryWrite.
	writesFail bool
	resync     resync // by resyncIfDue

	// requeueAfter is when to look again at something that no event tells; zero if there is nothing.
	requeueAfter time.Duration
}

// Reconcile updates one gateway's connection and status.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	r.InFlight.Begin()
	gateway := &v1alpha1.KongGateway{}
	if err := r.Client.Get(ctx, req.NamespacedName, gateway); err != nil {
		if apierrors.IsNotFound(err) {
			r.Connections.Open(req.NamespacedName) // a gateway of this name may come again
			r.forget(ctx, req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if gateway.DeletionTimestamp.IsZero() {
		r.openConnection(ctx, req.NamespacedName) // one of the same name was deleted before
	}
	if !r.Limiter.TryAcquire(req.NamespacedName, req.NamespacedName, isNew(gateway)) {
		return ctrl.Result{RequeueAfter: fairqueue.FallbackRequeue}, nil
	}
	defer r.releaseWorker(ctx, req.NamespacedName)
	r.Metrics.AddGateway(req.NamespacedName)
	s := &state{gateway: gateway.DeepCopy(), key: req.NamespacedName, last: r.probes.get(req.NamespacedName)}
	for _, step := range []func(context.Context, *state) error{
		r.ensureFinalizer,
		r.listBindings,
		r.listPolicies,
		r.probeIfDue,      // connect, and ask who answers
		r.checkGovernance, // no older gateway of this Kong refuses this one
		r.assessHealth,    // what the last probes show together
		r.tryWrite,        // let one binding try, while the writes of several fail
		r.resyncIfDue,     // list what Kong holds of this cluster
		r.publish,         // the connection and the snapshot, for the bindings
		r.enqueueBindings, // whose plugin or scope changed in Kong
		r.enqueuePolicies, // whose entities changed in Kong
		r.pruneRetained,   // retained plugins that a binding has recorded again
		r.removeOrphans,   // if that is allowed
		r.patchStatus,
		r.removeFinalizer, // when the gateway is being deleted and no binding needs it
	} {
		err := step(ctx, s)
		if ctx.Err() != nil {
			return ctrl.Result{}, nil // the process stops: what this reconcile found out is about that
		}
		if err != nil {
			r.keepProbe(s) // an error of the API server must not become requests to Kong
			if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
				return ctrl.Result{RequeueAfter: r.Backoff.When(s.key)}, nil
			}
			return ctrl.Result{}, err
		}
	}
	r.keepProbe(s)
	return ctrl.Result{RequeueAfter: r.requeueAfter(s)}, nil
}

// isNew reports whether somebody changed the gateway and waits for the result.
func isNew(gateway *v1alpha1.KongGateway) bool {
	return gateway.Generation != gateway.Status.ObservedGeneration
}

// releaseWorker lets the next gateways run.
func (r *Reconciler) releaseWorker(ctx context.Context, gateway types.NamespacedName) {
	for _, next := range r.Limiter.Release(gateway) {
		r.Connections.EnqueueGateway(ctx, next)
	}
}

// forget drops what this process knows of a gateway that no longer exists.
func (r *Reconciler) forget(ctx context.Context, key types.NamespacedName) {
	r.Clients.Remove(key.String())
	r.Connections.Remove(key)
	r.Selections.Forget(key)
	r.Metrics.RemoveGateway(key)
	r.probes.forget(key)
	r.writeTries.forget(key)
	r.Backoff.Forget(key)
	r.Connections.EnqueueBindings(ctx, key)
}

func (r *Reconciler) ensureFinalizer(ctx context.Context, s *state) error {
	if !s.gateway.DeletionTimestamp.IsZero() || controllerutil.ContainsFinalizer(s.gateway, v1alpha1.GatewayFinalizer) {
		return nil
	}
	base := s.gateway.DeepCopy()
	controllerutil.AddFinalizer(s.gateway, v1alpha1.GatewayFinalizer)
	return r.Client.Patch(ctx, s.gateway, optimistically(base))
}

// optimistically is a merge patch that fails when somebody else changed the object.
func optimistically(base client.Object) client.Patch {
	return client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
}

func (r *Reconciler) listBindings(ctx context.Context, s *state) error {
	bindings := &v1alpha1.PluginBindingList{}
	// The items are only read.
	if err := r.Client.List(ctx, bindings, client.MatchingFields{reference.IndexGateway: s.key.String()}, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	s.bindings = bindings.Items
	s.hasNothing = func(binding *v1alpha1.PluginBinding) bool { return r.hasNothing(s.key, binding) }
	var err error
	s.refused, err = r.findRefused(ctx, s)
	return err
}

// publish makes the connection available to the bindings.
func (r *Reconciler) publish(ctx context.Context, s *state) error {
	problem, snapshot := s.probe.result.problem(), s.resync.snapshot
	if problem != nil {
		problem.Suspected = s.probe.result.wavers() && s.health.isSuspected()
	}
	if snapshot == nil && (problem == nil || problem.Suspected) {
		// Nothing new was listed. What is known of this Kong stays.
		if last, ok := r.Connections.Last(s.key); ok && last.Client == s.probe.client {
			snapshot = last.Snapshot
		}
	}
	changed := r.Connections.Set(s.key, connection.Connection{
		Client:         s.probe.client,
		Info:           s.health.info,
		Problem:        problem,
		Snapshot:       snapshot,
		RequestTimeout: reference.RequestTimeout(s.gateway),
		Bindings:       len(s.bindings),
	})
	if changed {
		log.FromContext(ctx).Info("probed the gateway", "ready", problem == nil,
			"reason", s.probe.result.reasonOr(v1alpha1.ReasonReady), "version", s.health.info.Version)
		r.Connections.EnqueueBindings(ctx, s.key)
		if len(s.selecting) > 0 {
			r.Connections.EnqueuePolicies(ctx, s.key)
		}
	}
	return nil
}
