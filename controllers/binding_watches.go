package controllers

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
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

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/kstatus"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// addBindingController adds the controller of PluginBindings to the manager, with that many
// workers.
func addBindingController(mgr ctrl.Manager, r *Reconcilers, workers int) error {
	find := bindingFinder{mgr.GetClient()}
	return ctrl.NewControllerManagedBy(mgr).
		Named("pluginbinding").
		For(&v1alpha1.PluginBinding{}, builder.WithPredicates(predicate.Not(changedMeanwhile()), declarationChanged())).
		Watches(&v1alpha1.PluginBinding{}, noteChanges(r.Bindings.NoteChange), builder.WithPredicates(changedMeanwhile())).
		Watches(&v1alpha1.KongGateway{}, handler.EnqueueRequestsFromMapFunc(find.ofGateway), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.PluginBinding{}, handler.EnqueueRequestsFromMapFunc(find.inConflictWith), builder.WithPredicates(onlyDeletions())).
		Watches(&v1alpha1.PluginBinding{}, handler.EnqueueRequestsFromMapFunc(find.inReplacementWith), builder.WithPredicates(pluginPassedOn())).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(find.ofSecret), builder.WithPredicates(predicate.ResourceVersionChangedPredicate{})).
		WatchesMetadata(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(find.ofConfigMap), builder.WithPredicates(predicate.ResourceVersionChangedPredicate{})).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(find.ofNamespace), builder.WithPredicates(labelsChanged())).
		WatchesRawSource(keysFrom(r.Connections.ChangedGateways(), find.enqueueOfGateway)).
		WatchesRawSource(keysFrom(r.Connections.Bindings(), enqueueBindingBehind)).
		WatchesRawSource(keysFrom(r.Connections.Waiting(), enqueue)).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: workers,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](bindingBaseDelay, bindingMaxDelay),
		}).
		Complete(r.Bindings)
}

// declarationChanged passes what a person or another controller changed, and not the operator's
// own status writes.
func declarationChanged() predicate.Predicate {
	return predicate.Or[client.Object](
		predicate.GenerationChangedPredicate{}, // spec, and the start of a deletion
		predicate.AnnotationChangedPredicate{}, // paused, and reconcile-requested-at
		predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
			// A status that somebody removed (a restore) has to be written again.
			was, is := e.ObjectOld.(*v1alpha1.PluginBinding), e.ObjectNew.(*v1alpha1.PluginBinding)
			return len(was.Finalizers) > len(is.Finalizers) || kstatus.CountLasting(was.Status.Conditions) > kstatus.CountLasting(is.Status.Conditions) ||
				was.Status.PluginID != "" && was.Status.PluginID != is.Status.PluginID
		}},
	)
}

// changedMeanwhile passes what a person or another controller made or changed while the process
// runs.
func changedMeanwhile() predicate.Predicate {
	return predicate.And[client.Object](predicate.GenerationChangedPredicate{}, predicate.Funcs{
		CreateFunc:  func(e event.CreateEvent) bool { return !e.IsInInitialList },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	})
}

// noteChanges tells note about a change and then enqueues the binding.
func noteChanges(note func(binding types.NamespacedName, generation int64)) handler.EventHandler {
	changed := func(binding client.Object, queue requestQueue) {
		key := client.ObjectKeyFromObject(binding)
		note(key, binding.GetGeneration())
		queue.Add(reconcile.Request{NamespacedName: key})
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q requestQueue) { changed(e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q requestQueue) { changed(e.ObjectNew, q) },
	}
}

func onlyDeletions() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		UpdateFunc:  func(event.UpdateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// pluginPassedOn passes what a binding that replaces another, or is replaced, may wait for: that the
// other one records a plugin, allows the replacement, or is gone.
func pluginPassedOn() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return !e.IsInInitialList },
		UpdateFunc: func(e event.UpdateEvent) bool {
			was, is := e.ObjectOld.(*v1alpha1.PluginBinding), e.ObjectNew.(*v1alpha1.PluginBinding)
			return was.Status.PluginID != is.Status.PluginID || !slices.Equal(was.Spec.AllowReplacementFrom, is.Spec.AllowReplacementFrom) ||
				was.Spec.Replaces == nil && is.Spec.Replaces != nil || was.DeletionTimestamp.IsZero() != is.DeletionTimestamp.IsZero()
		},
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

func labelsChanged() predicate.Predicate {
	return predicate.And[client.Object](predicate.LabelChangedPredicate{}, predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		DeleteFunc: func(event.DeleteEvent) bool { return false },
	})
}

// enqueueBindingBehind enqueues a binding for which a resync found a change.
func enqueueBindingBehind(_ context.Context, key types.NamespacedName, queue requestQueue) {
	enqueueBehind(queue, reconcile.Request{NamespacedName: key})
}

// bindingFinder finds the bindings that an event concerns, in the cache.
type bindingFinder struct{ client.Reader }

func (f bindingFinder) ofGateway(ctx context.Context, gateway client.Object) []reconcile.Request {
	return f.requests(ctx, client.MatchingFields{reference.IndexGateway: client.ObjectKeyFromObject(gateway).String()})
}

// enqueueOfGateway enqueues all bindings of a gateway.
func (f bindingFinder) enqueueOfGateway(ctx context.Context, gateway types.NamespacedName, queue requestQueue) {
	enqueueBehind(queue, f.requests(ctx, client.MatchingFields{reference.IndexGateway: gateway.String()})...)
}

func (f bindingFinder) ofSecret(ctx context.Context, secret client.Object) []reconcile.Request {
	return f.requests(ctx, client.InNamespace(secret.GetNamespace()), client.MatchingFields{reference.IndexSecret: secret.GetName()})
}

func (f bindingFinder) ofConfigMap(ctx context.Context, configMap client.Object) []reconcile.Request {
	return f.requests(ctx, client.InNamespace(configMap.GetNamespace()), client.MatchingFields{reference.IndexConfigMap: configMap.GetName()})
}

func (f bindingFinder) ofNamespace(ctx context.Context, namespace client.Object) []reconcile.Request {
	return f.requests(ctx, client.InNamespace(namespace.GetName()))
}

// inConflictWith finds the bindings that may have waited for a binding that was deleted.
func (f bindingFinder) inConflictWith(ctx context.Context, deleted client.Object) []reconcile.Request {
	return f.requests(ctx, client.MatchingFields{reference.IndexConflict: reference.GatewayOf(deleted.(*v1alpha1.PluginBinding)).String()})
}

// inReplacementWith finds the binding that this one replaces, those that replace this one, and those
// that have recorded the same plugin.
func (f bindingFinder) inReplacementWith(ctx context.Context, binding client.Object) []reconcile.Request {
	requests := f.requests(ctx, client.MatchingFields{reference.IndexReplaces: client.ObjectKeyFromObject(binding).String()})
	if id := binding.(*v1alpha1.PluginBinding).Status.PluginID; id != "" && !binding.GetDeletionTimestamp().IsZero() {
		requests = append(requests, f.withPluginID(ctx, id)...)
	}
	if replaced, ok := reference.Replaced(binding.(*v1alpha1.PluginBinding)); ok {
		requests = append(requests, reconcile.Request{NamespacedName: replaced})
	}
	return requests
}

// withPluginID finds the bindings that have recorded a plugin.
func (f bindingFinder) withPluginID(ctx context.Context, id v1alpha1.UUID) []reconcile.Request {
	bucket := client.MatchingFields{reference.IndexPluginID: reference.PluginIDBucket(id)}
	return requestsFor(reference.WithPluginID(f.list(ctx, bucket), id))
}

func (f bindingFinder) requests(ctx context.Context, options ...client.ListOption) []reconcile.Request {
	return requestsFor(f.list(ctx, options...))
}

func requestsFor(bindings []v1alpha1.PluginBinding) []reconcile.Request {
	requests := make([]reconcile.Request, len(bindings))
	for i := range bindings {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&bindings[i])
	}
	return requests
}

// list returns bindings that must only be read.
func (f bindingFinder) list(ctx context.Context, options ...client.ListOption) []v1alpha1.PluginBinding {
	bindings := &v1alpha1.PluginBindingList{}
	if err := f.List(ctx, bindings, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing bindings from the cache")
		return nil
	}
	return bindings.Items
}
