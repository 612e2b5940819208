// Package pluginbinding reconciles PluginBindings: one object, one plugin in Kong.
//
// Data flows one way: resolve, observe, decide, apply, patch the status. controller.go lists
// the steps, and each of them has a file. The package asks Kong through connection.AdminClient
// and is the only writer of a binding's status. The decision belongs to internal/identity;
// what the plugin should be, and whether Kong's is equal, belongs to internal/plugin.
//
// The package must not import another reconciler, HTTP or a client of Kong.
package pluginbinding

import (
	"context"
	"fmt"
	"strconv"

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

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/absence"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/cachelag"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/fairqueue"
	"github.com/pluginbinding/kong-plugin-operator/internal/inflight"
	"github.com/pluginbinding/kong-plugin-operator/internal/message"
	"github.com/pluginbinding/kong-plugin-operator/internal/metrics"
	"github.com/pluginbinding/kong-plugin-operator/internal/programmed"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// +kubebuilder:rbac:groups=kong.pluginbinding.io,resources=pluginbindings,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=kong.pluginbinding.io,resources=pluginbindings/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=secrets;configmaps,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconciler keeps one plugin in Kong per PluginBinding.
type Reconciler struct {
	// Client reads from the cache and writes.
	Client client.Client
	// APIReader reads from the API server itself: Secrets, which are not cached, and the
	// binding right before a write to Kong.
	APIReader client.Reader
	Events    events.EventRecorder
	// ClusterID is in the ownership tags of this cluster's plugins.
	ClusterID string
	// Namespaces that the operator watches; empty for all.
	Namespaces sets.Set[string]
	// Selector of the KongGateways and PluginBindings that the operator watches; nil or empty
	// for all.
	Selector labels.Selector
	// Connections to the gateways, which the other reconciler maintains.
	Connections *connection.Registry
	// InFlight and Programmed are shared with the other reconciler.
	InFlight   *inflight.Tracker
	Programmed *programmed.Memory
	Metrics    *metrics.Metrics
	Clock      clock.PassiveClock
	// Backoff is the delay of a reconcile that failed because of Kong.
	Backoff workqueue.TypedRateLimiter[types.NamespacedName]
	// Absences remembers owners of plugins that the API server does not know.
	Absences *absence.Tracker
	// Ingress finds the objects of Kong's ingress controller; nil if nobody looks for them.
	Ingress IngressObjects
	// Limiter shares the workers out among gateways.
	Limiter *fairqueue.Limiter

	refusals  refusals
	exclusive exclusive[types.NamespacedName]
	places    exclusive[place]
	hints     hints
	changes   changes
	lag       cachelag.Tracker
}

// Reconcile makes Kong hold the plugin that one binding declares, or no longer hold it.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	r.InFlight.Begin()
	binding := &v1alpha1.PluginBinding{}
	if err := r.Client.Get(ctx, req.NamespacedName, binding); err != nil {
		if apierrors.IsNotFound(err) {
			r.forget(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	s := newState(binding, r.ClusterID)
	keys := r.keysOf(ctx, binding)
	s.locksReplaced = len(keys) > 1
	if !r.exclusive.tryLock(keys...) {
		return ctrl.Result{RequeueAfter: exclusiveRetry}, nil
	}
	defer r.exclusive.unlock(keys...)
	if !r.Limiter.TryAcquire(s.gatewayKey, req.NamespacedName, r.isUrgent(req.NamespacedName, binding)) {
		return ctrl.Result{RequeueAfter: fairqueue.FallbackRequeue}, nil
	}
	defer r.releaseWorker(ctx, s.gatewayKey)
	defer func() { r.changes.settle(req.NamespacedName, s.binding) }()
	ctx = adminapi.WithSequence(ctx) // while Kong rate-limits the operator, what has begun is finished first

	switch {
	case binding.DeletionTimestamp.IsZero():
		return r.patchStatus(ctx, s, r.reconcile(ctx, s))
	case controllerutil.ContainsFinalizer(binding, v1alpha1.PluginFinalizer):
		return r.patchStatus(ctx, s, r.reconcileDelete(ctx, s))
	default:
		r.forget(req.NamespacedName)
		return ctrl.Result{}, nil
	}
}

// reconcile runs the steps for a binding that is to be programmed. Each step returns its
// value, or the result that ends the reconcile.
func (r *Reconciler) reconcile(ctx context.Context, s *state) (result *stepResult) {
	if result = pausedResult(s); result != nil {
		return result
	}
	r.hintTakeBack(s)
	if s.access, result = r.resolveGateway(ctx, s); result != nil {
		return result
	}
	if result = r.ensureFinalizer(ctx, s); result != nil { // alone, before anything in Kong
		return result
	}
	if s.desired, result = r.resolveDesired(ctx, s); result != nil { // names and Secrets
		return result
	}
	place := s.place() // no other binding looks at it or writes there meanwhile
	if !r.places.tryLock(place) {
		return &stepResult{requeueAfter: exclusiveRetry}
	}
	defer r.places.unlock(place)
	r.resolveClaims(ctx, s)                                            // whether Kong's ingress controller wants the place
	if s.replaced, result = r.resolveReplaced(ctx, s); result != nil { // the binding whose plugin it takes over
		return result
	}
	if result = r.observe(ctx, s); result != nil { // Kong's plugin under the ID, the name and the scope
		return result
	}
	if s.action, result = r.decide(s); result != nil { // one action, by a pure function
		return result
	}
	if result = r.reserveAdoption(ctx, s); result != nil { // no other binding may adopt the plugin
		return result
	}
	s.applied, result = r.apply(ctx, s) // at most one write to Kong
	return result
}

// reconcileDelete runs the steps for a binding that is being deleted.
func (r *Reconciler) reconcileDelete(ctx context.Context, s *state) (result *stepResult) {
	if result = pausedResult(s); result != nil { // the paused annotation stops deletion too
		return result
	}
	if reference.IsObserved(s.binding) {
		if result = r.retainPlugin(ctx, s); result != nil {
			return result
		}
		return r.removeFinalizer(ctx, s)
	}
	if s.access, result = r.resolveGatewayForDelete(ctx, s); result != nil {
		return result
	}
	if !s.access.gone {
		if result = r.waitForInFlightWrites(s); result != nil {
			return result
		}
		if result = r.deleteOwnedPlugin(ctx, s); result != nil { // look, delete, look again
			return result
		}
	}
	return r.removeFinalizer(ctx, s)
}

// forget drops what this process knows of a binding that no longer exists.
func (r *Reconciler) forget(binding types.NamespacedName) {
	r.InFlight.Forget(binding)
	r.Programmed.Forget(binding)
	r.Backoff.Forget(binding)
	r.refusals.forget(binding)
	r.changes.forget(binding)
	r.hints.forget(binding)
	r.lag.Forget(binding)
	if r.Ingress != nil {
		r.Ingress.Watch(binding, nil)
	}
}

// isUrgent reports whether somebody changed the binding and waits for the result, or another plugin
// may have left the place that this one waits for.
func (r *Reconciler) isUrgent(key types.NamespacedName, binding *v1alpha1.PluginBinding) bool {
	return r.changes.has(key) || waitsForMove(binding)
}

// releaseWorker lets the next bindings of the gateway run.
func (r *Reconciler) releaseWorker(ctx context.Context, gateway types.NamespacedName) {
	for _, binding := range r.Limiter.Release(gateway) {
		r.Connections.EnqueueBinding(ctx, binding)
	}
}

// maxPausedValue bounds the value of the paused annotation in a message, in bytes.
const maxPausedValue = 64

// pausedResult ends the reconcile while the paused annotation is set.
func pausedResult(s *state) *stepResult {
	if !reference.IsPaused(s.binding) {
		return nil
	}
	text := "paused by the annotation " + v1alpha1.PausedAnnotation +
		"; the operator reads and writes nothing, and does not finish a deletion, until the annotation is removed"
	value := s.binding.Annotations[v1alpha1.PausedAnnotation]
	if _, err := strconv.ParseBool(value); err != nil {
		text += fmt.Sprintf(". Its value %q is neither true nor false, and counts as true.", message.Truncate(value, maxPausedValue))
	}
	return &stepResult{condition: v1alpha1.ConditionReady, unknown: true, reason: v1alpha1.ReasonPaused, message: text}
}
