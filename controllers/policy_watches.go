package controllers

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/controllers/pluginpolicy"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

const (
	// policyWorkers is how many policies are reconciled concurrently, and policyWorkersPerGateway how
	// many of one gateway.
	policyWorkers           = 32
	policyWorkersPerGateway = 8
	// statusDebounce is how long a policy waits for more of its bindings to become Ready before it
	// counts them.
	statusDebounce = 250 * time.Millisecond
)

// addPolicyController adds the controller of PluginPolicies to the manager.
func addPolicyController(mgr ctrl.Manager, r *Reconcilers) error {
	find := policyFinder{mgr.GetClient()}
	built, err := ctrl.NewControllerManagedBy(mgr).
		Named("pluginpolicy").
		For(&v1alpha1.PluginPolicy{}, builder.WithPredicates(predicate.Or[client.Object](
			predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Watches(&v1alpha1.PluginBinding{}, enqueuePolicyOf()).
		Watches(&v1alpha1.PluginBinding{}, handler.EnqueueRequestsFromMapFunc(find.atPlaceOf), builder.WithPredicates(predicate.Or(placeChanged(), holderChanged()))).
		Watches(&v1alpha1.PluginBinding{}, handler.EnqueueRequestsFromMapFunc(find.inConflictWith), builder.WithPredicates(placeChanged())).
		Watches(&v1alpha1.KongGateway{}, handler.EnqueueRequestsFromMapFunc(find.ofGateway), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(find.ofNamespace), builder.WithPredicates(labelsChanged())).
		WatchesRawSource(keysFrom(r.Connections.PoliciesOf(), find.enqueueOfGateway)).
		WatchesRawSource(keysFrom(r.Connections.Policies(), enqueue)).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: policyWorkers,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](bindingBaseDelay, bindingMaxDelay),
		}).
		Build(r.Policies)
	if err != nil {
		return err
	}
	r.Policies.Objects = &targetObjects{
		cached: mgr.GetClient(), live: mgr.GetAPIReader(), mapper: mgr.GetRESTMapper(), clock: r.Policies.Clock,
		watch: func(gvk schema.GroupVersionKind) error {
			return built.Watch(source.Kind(mgr.GetCache(), metadataOf(gvk), noteTargets(find, r.Policies, gvk.Kind), targetChanged(gvk.Kind)))
		},
		kinds: map[schema.GroupKind]schema.GroupVersionKind{}, checked: map[schema.GroupKind]time.Time{}, uninstalled: map[schema.GroupKind]bool{},
	}
	return nil
}

type metadataUpdate = event.TypedUpdateEvent[*metav1.PartialObjectMetadata]

type metadataHandler = handler.TypedEventHandler[*metav1.PartialObjectMetadata, reconcile.Request]

// noteTargets tells the policies of an object that it changed, and enqueues them.
func noteTargets(find policyFinder, r *pluginpolicy.Reconciler, kind string) metadataHandler {
	changed := func(ctx context.Context, object *metav1.PartialObjectMetadata, queue requestQueue) {
		for _, one := range find.policies(ctx, client.MatchingFields{reference.IndexTarget: reference.TargetKey(kind, object.Namespace, object.Name)}) {
			r.NoteTarget(&one, kind, object.Name)
			queue.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&one)})
		}
	}
	return handler.TypedFuncs[*metav1.PartialObjectMetadata, reconcile.Request]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[*metav1.PartialObjectMetadata], q requestQueue) {
			if !e.IsInInitialList { // the resync has read what Kong has of it
				changed(ctx, e.Object, q)
			}
		},
		UpdateFunc: func(ctx context.Context, e metadataUpdate, q requestQueue) {
			changed(ctx, e.ObjectNew, q)
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[*metav1.PartialObjectMetadata], q requestQueue) {
			changed(ctx, e.Object, q)
		},
	}
}

// targetChanged passes what Kong's ingress controller reacts to. A Service has no generation.
func targetChanged(kind string) predicate.TypedPredicate[*metav1.PartialObjectMetadata] {
	if kind == "Service" {
		return predicate.TypedResourceVersionChangedPredicate[*metav1.PartialObjectMetadata]{}
	}
	return predicate.Or[*metav1.PartialObjectMetadata](
		predicate.TypedGenerationChangedPredicate[*metav1.PartialObjectMetadata]{},
		predicate.TypedAnnotationChangedPredicate[*metav1.PartialObjectMetadata]{})
}

// enqueuePolicyOf enqueues the policy that controls a binding: at once if somebody changed or deleted
// the binding, and after a moment if only its status changed.
func enqueuePolicyOf() handler.EventHandler {
	request := func(object client.Object) (reconcile.Request, bool) {
		owner := reference.PolicyOf(object.(*v1alpha1.PluginBinding))
		if owner == nil {
			return reconcile.Request{}, false
		}
		return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: object.GetNamespace(), Name: owner.Name}}, true
	}
	return handler.Funcs{
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q requestQueue) {
			policy, controlled := request(e.ObjectNew)
			if !controlled {
				if policy, controlled = request(e.ObjectOld); !controlled {
					return
				}
			}
			switch {
			case isEdited(e.ObjectOld, e.ObjectNew):
				q.Add(policy)
			case readyOf(e.ObjectOld) != readyOf(e.ObjectNew):
				q.AddAfter(policy, statusDebounce)
			}
		},
		CreateFunc: func(_ context.Context, e event.CreateEvent, q requestQueue) {
			if policy, controlled := request(e.Object); controlled && !e.IsInInitialList {
				q.AddAfter(policy, statusDebounce)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q requestQueue) {
			if policy, controlled := request(e.Object); controlled {
				q.Add(policy)
			}
		},
	}
}

// isEdited reports whether somebody changed what a policy declares of a binding.
func isEdited(was, is client.Object) bool {
	return was.GetGeneration() != is.GetGeneration() ||
		predicate.LabelChangedPredicate{}.Update(event.UpdateEvent{ObjectOld: was, ObjectNew: is}) ||
		predicate.AnnotationChangedPredicate{}.Update(event.UpdateEvent{ObjectOld: was, ObjectNew: is}) ||
		len(was.GetOwnerReferences()) != len(is.GetOwnerReferences())
}

// readyOf is what a policy's status says of a binding.
func readyOf(o client.Object) string {
	ready := meta.FindStatusCondition(o.(*v1alpha1.PluginBinding).Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil {
		return ""
	}
	return fmt.Sprint(ready.ObservedGeneration, " ", ready.Status, " ", ready.Reason, " ", ready.Message)
}

// placeChanged passes the bindings that take a place, or leave one.
func placeChanged() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return !e.IsInInitialList },
		UpdateFunc: func(e event.UpdateEvent) bool {
			was, is := e.ObjectOld.(*v1alpha1.PluginBinding), e.ObjectNew.(*v1alpha1.PluginBinding)
			before, after := reference.Places(was), reference.Places(is)
			return was.DeletionTimestamp.IsZero() != is.DeletionTimestamp.IsZero() || len(before) != len(after) || before[len(before)-1] != after[len(after)-1] || before[0] != after[0]
		},
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// holderChanged passes what decides which of two bindings keeps a place: which one has a plugin, and
// which one waits for the other or may take its plugin over.
func holderChanged() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		DeleteFunc: func(event.DeleteEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			was, is := e.ObjectOld.(*v1alpha1.PluginBinding), e.ObjectNew.(*v1alpha1.PluginBinding)
			return was.Status.PluginID != is.Status.PluginID || !equality.Semantic.DeepEqual(was.Status.Conflict, is.Status.Conflict) ||
				!slices.Equal(was.Spec.AllowReplacementFrom, is.Spec.AllowReplacementFrom)
		},
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// policyFinder finds the policies that an event concerns, in the cache.
type policyFinder struct{ client.Reader }

func (f policyFinder) ofGateway(ctx context.Context, gateway client.Object) []reconcile.Request {
	return f.requests(ctx, client.MatchingFields{reference.IndexGateway: client.ObjectKeyFromObject(gateway).String()})
}

// enqueueOfGateway enqueues all policies of a gateway.
func (f policyFinder) enqueueOfGateway(ctx context.Context, gateway types.NamespacedName, queue requestQueue) {
	enqueueBehind(queue, f.requests(ctx, client.MatchingFields{reference.IndexGateway: gateway.String()})...)
}

func (f policyFinder) ofNamespace(ctx context.Context, namespace client.Object) []reconcile.Request {
	return f.requests(ctx, client.InNamespace(namespace.GetName()))
}

// atPlaceOf finds the policies with a binding at the same place as this one.
func (f policyFinder) atPlaceOf(ctx context.Context, object client.Object) []reconcile.Request {
	binding := object.(*v1alpha1.PluginBinding)
	var requests []reconcile.Request
	for _, place := range reference.Places(binding) {
		bindings := &v1alpha1.PluginBindingList{}
		if err := f.List(ctx, bindings, client.MatchingFields{reference.IndexPlace: reference.PlaceBucket(place)}, client.UnsafeDisableDeepCopy); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "listing bindings from the cache")
			return nil
		}
		others := reference.AtPlace(bindings.Items, place)
		for i := range others {
			if owner := reference.PolicyOf(&others[i]); owner != nil && others[i].UID != binding.UID {
				requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: others[i].Namespace, Name: owner.Name}})
			}
		}
	}
	return requests
}

// inConflictWith finds the policies of the gateway or namespace of a binding that wait for a place or
// a name.
func (f policyFinder) inConflictWith(ctx context.Context, object client.Object) []reconcile.Request {
	binding := object.(*v1alpha1.PluginBinding)
	requests := f.requests(ctx, client.MatchingFields{reference.IndexConflict: reference.GatewayOf(binding).String()})
	return append(requests, f.requests(ctx, client.MatchingFields{reference.IndexConflict: binding.Namespace + "/"})...)
}

func (f policyFinder) requests(ctx context.Context, options ...client.ListOption) []reconcile.Request {
	policies := f.policies(ctx, options...)
	requests := make([]reconcile.Request, len(policies))
	for i := range policies {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&policies[i])
	}
	return requests
}

func (f policyFinder) policies(ctx context.Context, options ...client.ListOption) []v1alpha1.PluginPolicy {
	policies := &v1alpha1.PluginPolicyList{}
	// The items are only read.
	if err := f.List(ctx, policies, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing policies from the cache")
		return nil
	}
	return policies.Items
}
