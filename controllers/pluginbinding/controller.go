// Package controllers reconciles KongGateways and PluginBindings. Data flows one way:
// watch, resolve, observe, decide, act, record. The decision is internal/identity's; what
// a plugin should be, and whether Kong's is that, is internal/plugin's; this package asks
// Kong through a port and is the only writer of status.
package controllers

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

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// +kubebuilder:rbac:groups=kong.pluginbinding.io,resources=pluginbindings,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=kong.pluginbinding.io,resources=pluginbindings/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// PluginBindingReconciler keeps one plugin in Kong per PluginBinding.
type PluginBindingReconciler struct {
	// Client reads from the cache and writes.
	Client client.Client
	// Live reads from the API server itself: Secrets, which are not cached, and the
	// binding before anything is made for it.
	Live client.Reader
	// Events go to the binding they speak of.
	Events events.EventRecorder
	// Cluster is the cluster id that marks this cluster's plugins.
	Cluster string
	// Namespaces that are watched; empty for all.
	Namespaces sets.Set[string]
	// Selector of the KongGateways and PluginBindings that are watched; nil or empty for all.
	Selector labels.Selector
	// Connections to the Kongs, kept by the KongGatewayReconciler.
	Connections *Connections
	// Ledger of this process, shared with the KongGatewayReconciler.
	Ledger  *Ledger
	Metrics *Metrics
	Clock   clock.PassiveClock

	backoff workqueue.TypedRateLimiter[types.NamespacedName]
	turns   *turns
}

// pass is one reconcile of one binding: the steps fill it, record turns it into status.
type pass struct {
	// From the start.
	binding  *v1alpha1.PluginBinding
	identity identity.Binding
	gateway  types.NamespacedName

	// From admit, or from reach for a binding that is being deleted.
	connection  Connection
	kgw         *v1alpha1.KongGateway
	gatewayGone bool

	// From resolve. mayRely: the gateway's view can speak for this binding's plugin;
	// mayTellAbsence: also where it does not show it; mayResolve: for what its scope means.
	mayRely        bool
	mayTellAbsence bool
	mayResolve     bool
	resolved       bool // every Secret and every part of the scope was found
	scope          plugin.Scope
	want           plugin.Plugin
	redactor       *plugin.Redactor
	secretVersions []string
	schema         *plugin.Schema

	// From observe and decide. doubt is how long an earlier write could still have been done
	// when the looking began, so that the facts may not be all. seen holds the plugins behind
	// the facts by their IDs.
	doubt  time.Duration
	facts  identity.Facts
	seen   map[string]plugin.Plugin
	action identity.Action

	// From act: what Kong now holds, when that is the declared plugin.
	inForce   *plugin.Plugin
	wrote     bool
	recordID  string
	source    v1alpha1.PluginIDSource
	drifted   []string
	unsettled []string
	conflict  *v1alpha1.ConflictStatus
	happened  []happening
}

// happening is something worth an event.
type happening struct {
	kind   string // corev1.EventTypeNormal or corev1.EventTypeWarning
	reason string
	note   string
}

// step is one part of a pass. It returns nil when the next step may follow.
type step func(context.Context, *pass) *stop

// Reconcile brings one binding and its plugin together.
func (r *PluginBindingReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	r.Ledger.Begin()
	binding := &v1alpha1.PluginBinding{}
	if err := r.Client.Get(ctx, req.NamespacedName, binding); err != nil {
		if apierrors.IsNotFound(err) {
			r.Ledger.Forget(req.NamespacedName)
			r.backoff.Forget(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	p := r.newPass(binding)
	if !r.turns.take(p.gateway, req.NamespacedName, r.Connections.several(), p.urgent()) {
		return ctrl.Result{RequeueAfter: callAgain}, nil
	}
	defer r.endTurn(ctx, p.gateway)

	if !binding.DeletionTimestamp.IsZero() {
		if !controllerutil.ContainsFinalizer(binding, v1alpha1.PluginFinalizer) {
			r.Ledger.Forget(req.NamespacedName)
			return ctrl.Result{}, nil
		}
		return r.record(ctx, p, run(ctx, p,
			r.unpaused, // the paused annotation stops deletion too
			r.reach,    // the gateway's connection, or none any more
			r.outwait,  // until no earlier write can still land
			r.takeAway, // look, remove what is ours, look again
			r.leave,    // or keep note of what is left on purpose
			r.letGo,    // the finalizer
		))
	}
	return r.record(ctx, p, run(ctx, p,
		r.unpaused, // the paused annotation
		r.admit,    // the gateway exists, is ready and allows this binding
		r.hold,     // the finalizer, in a write of its own, before anything in Kong
		r.resolve,  // names and Secrets into the plugin that should be
		r.observe,  // what Kong has under the ID, the name and the scope
		r.decide,   // one action, by a pure function
		r.claim,    // no other binding is to have the plugin
		r.act,      // at most one write to Kong
	))
}

// urgent reports whether somebody waits to see what becomes of the binding.
func (p *pass) urgent() bool {
	return p.binding.Generation != p.binding.Status.ObservedGeneration
}

// endTurn lets bindings of the same gateway have their turn.
func (r *PluginBindingReconciler) endTurn(ctx context.Context, gateway types.NamespacedName) {
	for _, binding := range r.turns.end(gateway, r.Connections.several()) {
		r.Connections.wake(ctx, binding)
	}
}

func run(ctx context.Context, p *pass, steps ...step) *stop {
	for _, next := range steps {
		if s := next(ctx, p); s != nil {
			return s
		}
	}
	return nil
}

func (r *PluginBindingReconciler) newPass(binding *v1alpha1.PluginBinding) *pass {
	return &pass{
		binding: binding.DeepCopy(),
		identity: identity.Binding{
			Cluster:   r.Cluster,
			Namespace: binding.Namespace,
			Name:      binding.Name,
			UID:       string(binding.UID),
		},
		gateway: gatewayKeyOf(binding),
		seen:    map[string]plugin.Plugin{},
	}
}

// gatewayKeyOf names the gateway of a binding; its namespace is the binding's own when
// the reference gives none.
func gatewayKeyOf(binding *v1alpha1.PluginBinding) types.NamespacedName {
	key := types.NamespacedName{Namespace: binding.Spec.GatewayRef.Namespace, Name: binding.Spec.GatewayRef.Name}
	if key.Namespace == "" {
		key.Namespace = binding.Namespace
	}
	return key
}

// unpaused stops a pass while the paused annotation is set.
func (r *PluginBindingReconciler) unpaused(_ context.Context, p *pass) *stop {
	if p.binding.Annotations[v1alpha1.PausedAnnotation] != "true" {
		return nil
	}
	return &stop{
		condition: v1alpha1.ConditionReady,
		unknown:   true,
		reason:    v1alpha1.ReasonPaused,
		message:   "paused by the annotation " + v1alpha1.PausedAnnotation + "; nothing is read or written, deletion included, until it is removed",
	}
}

// hold puts the finalizer on, alone, so that a binding whose plugin may exist cannot go
// unseen.
func (r *PluginBindingReconciler) hold(ctx context.Context, p *pass) *stop {
	if p.observes() {
		return nil // unless there is something to keep note of: see act
	}
	return r.putFinalizer(ctx, p)
}

func (r *PluginBindingReconciler) putFinalizer(ctx context.Context, p *pass) *stop {
	if controllerutil.ContainsFinalizer(p.binding, v1alpha1.PluginFinalizer) {
		return nil
	}
	base := p.binding.DeepCopy()
	controllerutil.AddFinalizer(p.binding, v1alpha1.PluginFinalizer)
	patch := client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, p.binding, patch); err != nil {
		p.binding = base
		return kubernetesStop(err)
	}
	return nil
}

// observes reports whether the operator may only look.
func (p *pass) observes() bool {
	return p.binding.Spec.ManagementPolicy == v1alpha1.ObservePlugin
}

// requested is the request for a look now, as the binding's author last made it.
func (p *pass) requested() string {
	return p.binding.Annotations[v1alpha1.ReconcileRequestedAtAnnotation]
}

// letGo removes the finalizer.
func (r *PluginBindingReconciler) letGo(ctx context.Context, p *pass) *stop {
	base := p.binding.DeepCopy()
	controllerutil.RemoveFinalizer(p.binding, v1alpha1.PluginFinalizer)
	patch := client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, p.binding, patch); err != nil && !apierrors.IsNotFound(err) {
		p.binding = base
		return kubernetesStop(err)
	}
	r.Ledger.Forget(client.ObjectKeyFromObject(p.binding))
	return nil
}

// databaseTimeout is Kong's own: a write that PostgreSQL holds up answers 500 after 5 s and
// may be done when PostgreSQL goes on (Kong 3.9.1, pg_timeout).
const databaseTimeout = 5 * time.Second
