// Package pluginpolicy reconciles PluginPolicies: one object, one PluginBinding for each entity that
// its targets are in Kong.
//
// Data flows one way: resolve the gateway and the targets, ask which entities Kong has of them,
// decide, apply, patch the status. controller.go lists the steps, and each of them has a file. The
// decision belongs to internal/policy. The package reads routes, services and consumers from Kong and
// never says anything about plugins: bindings do, with everything that holds for them.
//
// The package must not import another reconciler, HTTP or a client of Kong.
package pluginpolicy

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/cachelag"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/fairqueue"
	"github.com/pluginbinding/kong-plugin-operator/internal/policy"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// +kubebuilder:rbac:groups=kong.pluginbinding.io,resources=pluginpolicies,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=kong.pluginbinding.io,resources=pluginpolicies/status,verbs=patch
// +kubebuilder:rbac:groups=kong.pluginbinding.io,resources=pluginbindings,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=services,verbs=get;list;watch
// +kubebuilder:rbac:groups=networking.k8s.io,resources=ingresses,verbs=get;list;watch
// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=httproutes;grpcroutes;tcproutes;tlsroutes;udproutes,verbs=get;list;watch
// +kubebuilder:rbac:groups=configuration.konghq.com,resources=kongconsumers;kongconsumergroups,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// FieldManager is the field manager of what a policy writes into its bindings.
const FieldManager = "kong-plugin-operator-policy"

// Objects finds the targets of policies. It watches a kind from the first time on that a policy names
// it, and finds a kind that is installed later.
type Objects interface {
	// Presence says whether an object exists, and when to ask again if no event will say so.
	Presence(ctx context.Context, kind schema.GroupKind, key types.NamespacedName) (policy.Presence, time.Duration, error)
}

// Reconciler keeps the bindings of PluginPolicies.
type Reconciler struct {
	// Client reads from the cache and writes. APIReader reads from the API server itself.
	Client    client.Client
	APIReader client.Reader
	Events    events.EventRecorder
	// Namespaces that the operator watches; empty for all.
	Namespaces sets.Set[string]
	// Selector of what the operator watches; nil or empty for everything.
	Selector labels.Selector
	Objects  Objects
	// Connections and Selections are shared with the reconciler of gateways.
	Connections *connection.Registry
	Selections  *connection.Selections
	Clock       clock.PassiveClock
	// Backoff is the delay of a reconcile that failed because of Kong.
	Backoff workqueue.TypedRateLimiter[types.NamespacedName]
	// Limiter shares the workers out among gateways.
	Limiter *fairqueue.Limiter

	looks      looks
	rejections rejections
	lag        cachelag.Tracker
}

// state is one reconcile of one policy: what it started with, and one value per step.
type state struct {
	policy     *v1alpha1.PluginPolicy
	key        types.NamespacedName
	gatewayKey types.NamespacedName

	access   access                   // by resolveGateway
	targets  []policy.Target          // by resolveTargets and readEntities
	children []policy.Child           // by listBindings
	existing []v1alpha1.PluginBinding // by listBindings
	blocked  map[string]policy.Block  // by findBlocked
	retained int                      // by applyPlan

	// problem is set by the step that ended the reconcile.
	problem policy.Problem
	// keepStatus: the step that ended the reconcile has nothing to say.
	keepStatus bool
	// requeueAfter is when to look again at something that no event tells; zero if there is nothing.
	requeueAfter time.Duration
}

// requeueIn requests a reconcile after a time, unless there is one before.
func (s *state) requeueIn(d time.Duration) {
	if d > 0 && (s.requeueAfter == 0 || d < s.requeueAfter) {
		s.requeueAfter = d
	}
}

// Reconcile makes the bindings of one policy what its targets are in Kong.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	object := &v1alpha1.PluginPolicy{}
	if err := r.Client.Get(ctx, req.NamespacedName, object); err != nil {
		if apierrors.IsNotFound(err) {
			r.Backoff.Forget(req.NamespacedName)
			r.lag.Forget(req.NamespacedName)
			r.rejections.forget(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	s := &state{policy: object.DeepCopy(), key: req.NamespacedName, gatewayKey: reference.GatewayOfPolicy(object)}
	isNew := object.Generation != object.Status.ObservedGeneration
	if !r.Limiter.TryAcquire(s.gatewayKey, s.key, isNew) {
		return ctrl.Result{RequeueAfter: fairqueue.FallbackRequeue}, nil
	}
	defer r.releaseWorker(ctx, s.gatewayKey)
	if !object.DeletionTimestamp.IsZero() {
		return r.reconcileDelete(ctx, s)
	}
	for _, step := range []func(context.Context, *state) (done bool, err error){
		r.checkPaused,
		r.ensureFinalizer, // before the first binding
		r.resolveGateway,  // that allows this policy
		r.resolveTargets,  // which of them exist
		r.readEntities,    // of the targets, in Kong
		r.listBindings,    // that there are, and that there should be
		r.findBlocked,     // places that belong to somebody else
		r.applyPlan,       // make, change and delete bindings
	} {
		done, err := step(ctx, s)
		if err != nil {
			return r.failed(s, err)
		}
		if done {
			break
		}
	}
	return r.patchStatus(ctx, s)
}

// releaseWorker lets the next policies of the gateway run.
func (r *Reconciler) releaseWorker(ctx context.Context, gateway types.NamespacedName) {
	for _, next := range r.Limiter.Release(gateway) {
		r.Connections.EnqueuePolicy(ctx, next)
	}
}

// failed is the result of an error of the API server. Conflicts come from the cache's lag.
func (r *Reconciler) failed(s *state, err error) (ctrl.Result, error) {
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return ctrl.Result{RequeueAfter: r.Backoff.When(s.key)}, nil
	}
	return ctrl.Result{}, err
}

// checkPaused ends the reconcile while the paused annotation is set.
func (r *Reconciler) checkPaused(_ context.Context, s *state) (bool, error) {
	if !reference.IsPausedBy(s.policy) {
		return false, nil
	}
	s.problem = policy.Problem{
		Condition: v1alpha1.ConditionReady, Unknown: true, Reason: v1alpha1.ReasonPaused,
		Message: "Paused by the annotation " + v1alpha1.PausedAnnotation + ". The operator changes no binding of this policy until the annotation is removed; the bindings go on.",
	}
	return true, nil
}

func (r *Reconciler) ensureFinalizer(ctx context.Context, s *state) (bool, error) {
	if controllerutil.ContainsFinalizer(s.policy, v1alpha1.PolicyFinalizer) {
		return false, nil
	}
	base := s.policy.DeepCopy()
	controllerutil.AddFinalizer(s.policy, v1alpha1.PolicyFinalizer)
	return false, r.Client.Patch(ctx, s.policy, optimistically(base))
}

// optimistically is a merge patch that fails when somebody else changed the object.
func optimistically(base client.Object) client.Patch {
	return client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
}
