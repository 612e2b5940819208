package controllers

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
)

// Field indexes of the cache.
const (
	indexGateway   = "spec.gatewayRef"         // bindings by namespace/name of their gateway
	indexSecret    = "spec.secrets"            // bindings and gateways by name of a Secret in their namespace
	indexConflict  = "status.conflict.gateway" // bindings in conflict by namespace/name of their gateway
	indexPluginID  = "status.pluginID"         // bindings by the ID of their plugin
	retryFirst     = 100 * time.Millisecond
	retryMost      = time.Minute
	gatewayFirst   = time.Second
	gatewayMost    = 15 * time.Second
	recountBatched = time.Second
)

// SetupIndexes adds the field indexes that both controllers need. It returns an error when
// the cache has started already.
func SetupIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	for _, index := range []struct {
		object client.Object
		name   string
		values client.IndexerFunc
	}{
		{&v1alpha1.PluginBinding{}, indexGateway, func(o client.Object) []string {
			return []string{gatewayKeyOf(o.(*v1alpha1.PluginBinding)).String()}
		}},
		{&v1alpha1.PluginBinding{}, indexConflict, func(o client.Object) []string {
			binding := o.(*v1alpha1.PluginBinding)
			if binding.Status.Conflict == nil {
				return nil
			}
			return []string{gatewayKeyOf(binding).String()}
		}},
		{&v1alpha1.PluginBinding{}, indexPluginID, func(o client.Object) []string {
			if id := o.(*v1alpha1.PluginBinding).Status.PluginID; id != "" {
				return []string{string(id)}
			}
			return nil
		}},
		{&v1alpha1.PluginBinding{}, indexSecret, func(o client.Object) []string {
			return bindingSecrets(o.(*v1alpha1.PluginBinding))
		}},
		{&v1alpha1.KongGateway{}, indexSecret, func(o client.Object) []string {
			return gatewaySecrets(o.(*v1alpha1.KongGateway))
		}},
	} {
		if err := indexer.IndexField(ctx, index.object, index.name, index.values); err != nil {
			return err
		}
	}
	return nil
}

func bindingSecrets(binding *v1alpha1.PluginBinding) []string {
	var names []string
	if from := binding.Spec.ConfigFrom; from != nil {
		names = append(names, from.SecretKeyRef.Name)
	}
	for i := range binding.Spec.ConfigPatches {
		names = append(names, binding.Spec.ConfigPatches[i].ValueFrom.SecretKeyRef.Name)
	}
	return names
}

func gatewaySecrets(gw *v1alpha1.KongGateway) []string {
	var names []string
	if auth := gw.Spec.Auth; auth != nil {
		names = append(names, auth.TokenSecretRef.Name)
	}
	if tls := gw.Spec.TLS; tls != nil {
		if tls.CASecretRef != nil {
			names = append(names, tls.CASecretRef.Name)
		}
		if tls.ClientCertSecretRef != nil {
			names = append(names, tls.ClientCertSecretRef.Name)
		}
	}
	return names
}

// SetupWithManager adds the controller to the manager. Up to workers bindings are
// reconciled at the same time.
func (r *PluginBindingReconciler) SetupWithManager(mgr ctrl.Manager, workers int) error {
	byGateway := handler.EnqueueRequestsFromMapFunc(r.bindingsWhere(func(o client.Object) client.MatchingFields {
		return client.MatchingFields{indexGateway: client.ObjectKeyFromObject(o).String()}
	}))
	return ctrl.NewControllerManagedBy(mgr).
		Named("pluginbinding").
		For(&v1alpha1.PluginBinding{}, builder.WithPredicates(declarationChanged())).
		Watches(&v1alpha1.KongGateway{}, byGateway, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.PluginBinding{}, handler.EnqueueRequestsFromMapFunc(r.inConflictWith), builder.WithPredicates(onlyDeletions())).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.bindingsOfSecret), builder.WithPredicates(predicate.ResourceVersionChangedPredicate{})).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.bindingsOfNamespace), builder.WithPredicates(labelsChanged())).
		WatchesRawSource(source.Channel(r.Connections.Changed(), handler.Funcs{GenericFunc: r.queueBindingsOf})).
		WatchesRawSource(source.Channel(r.Connections.Woken(), handler.Funcs{GenericFunc: queueWoken})).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: workers,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](retryFirst, retryMost),
		}).
		Complete(r)
}

// declarationChanged lets pass what a person or another controller changed, and not the
// operator's own status writes.
func declarationChanged() predicate.Predicate {
	return predicate.Or[client.Object](
		predicate.GenerationChangedPredicate{}, // spec, and the start of a deletion
		predicate.AnnotationChangedPredicate{}, // pause, and reconcile-requested-at
		predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
			// A status that was cut off (a restore) has to be written again.
			was, is := e.ObjectOld.(*v1alpha1.PluginBinding), e.ObjectNew.(*v1alpha1.PluginBinding)
			return len(was.Finalizers) > len(is.Finalizers) || len(was.Status.Conditions) > len(is.Status.Conditions) ||
				was.Status.PluginID != "" && was.Status.PluginID != is.Status.PluginID
		}},
	)
}

func onlyDeletions() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		UpdateFunc:  func(event.UpdateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

func labelsChanged() predicate.Predicate {
	return predicate.And[client.Object](predicate.LabelChangedPredicate{}, predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		DeleteFunc: func(event.DeleteEvent) bool { return false },
	})
}

// queueBindingsOf queues all bindings of a gateway behind what people have just changed.
func (r *PluginBindingReconciler) queueBindingsOf(ctx context.Context, e event.GenericEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	queueBehind(queue, r.requests(ctx, client.MatchingFields{indexGateway: client.ObjectKeyFromObject(e.Object).String()})...)
}

// queueWoken queues a binding of which a sweep saw something, behind what people have just
// changed: after a restored database that may be all of them.
func queueWoken(_ context.Context, e event.GenericEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	queueBehind(queue, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(e.Object)})
}

func queueBehind(queue workqueue.TypedRateLimitingInterface[reconcile.Request], requests ...reconcile.Request) {
	if prioritized, ok := queue.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		prioritized.AddWithOpts(priorityqueue.AddOpts{Priority: ptr.To(handler.LowPriority)}, requests...)
		return
	}
	for _, request := range requests {
		queue.Add(request)
	}
}

func (r *PluginBindingReconciler) bindingsWhere(fields func(client.Object) client.MatchingFields) handler.MapFunc {
	return func(ctx context.Context, o client.Object) []reconcile.Request {
		return r.requests(ctx, fields(o))
	}
}

func (r *PluginBindingReconciler) bindingsOfSecret(ctx context.Context, secret client.Object) []reconcile.Request {
	return r.requests(ctx, client.InNamespace(secret.GetNamespace()), client.MatchingFields{indexSecret: secret.GetName()})
}

func (r *PluginBindingReconciler) bindingsOfNamespace(ctx context.Context, namespace client.Object) []reconcile.Request {
	return r.requests(ctx, client.InNamespace(namespace.GetName()))
}

// inConflictWith names the bindings that may have waited for a binding that is gone now.
func (r *PluginBindingReconciler) inConflictWith(ctx context.Context, gone client.Object) []reconcile.Request {
	return r.requests(ctx, client.MatchingFields{indexConflict: gatewayKeyOf(gone.(*v1alpha1.PluginBinding)).String()})
}

func (r *PluginBindingReconciler) requests(ctx context.Context, options ...client.ListOption) []reconcile.Request {
	bindings := &v1alpha1.PluginBindingList{}
	// The items are only read.
	if err := r.Client.List(ctx, bindings, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing bindings from the cache")
		return nil
	}
	requests := make([]reconcile.Request, len(bindings.Items))
	for i := range bindings.Items {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&bindings.Items[i])
	}
	return requests
}

// SetupWithManager adds the controller to the manager.
func (r *KongGatewayReconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("konggateway").
		For(&v1alpha1.KongGateway{}, builder.WithPredicates(predicate.Or[client.Object](
			predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Watches(&v1alpha1.PluginBinding{}, recount(), builder.WithPredicates(countChanged())).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.gatewaysOfSecret), builder.WithPredicates(predicate.ResourceVersionChangedPredicate{})).
		WatchesRawSource(source.Channel(r.Connections.Suspects(), &handler.EnqueueRequestForObject{})).
		WithOptions(gatewayOptions()).
		Complete(r)
}

// gatewayWorkers lets a gateway that answers slowly hold up few others.
const gatewayWorkers = 4

// gatewayOptions bound the pauses after an error of the API server like those after one of
// Kong: controller-runtime's own grow to 1000 s, in which a whole gateway would not be seen to.
func gatewayOptions() controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: gatewayWorkers,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](gatewayFirst, gatewayMost),
	}
}

func (r *KongGatewayReconciler) gatewaysOfSecret(ctx context.Context, secret client.Object) []reconcile.Request {
	gateways := &v1alpha1.KongGatewayList{}
	if err := r.Client.List(ctx, gateways, client.InNamespace(secret.GetNamespace()), client.MatchingFields{indexSecret: secret.GetName()}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing gateways from the cache")
		return nil
	}
	requests := make([]reconcile.Request, len(gateways.Items))
	for i := range gateways.Items {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&gateways.Items[i])
	}
	return requests
}

// recount queues the gateway of a binding a moment later, so that many bindings that
// change together are counted once.
func recount() handler.EventHandler {
	later := func(object client.Object, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		queue.AddAfter(reconcile.Request{NamespacedName: gatewayKeyOf(object.(*v1alpha1.PluginBinding))}, recountBatched)
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			later(e.Object, q)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			later(e.ObjectNew, q)
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			later(e.Object, q)
		},
	}
}

// countChanged lets pass what changes a gateway's counts, or whether it may go.
func countChanged() predicate.Predicate {
	ready := func(o client.Object) metav1.ConditionStatus {
		condition := meta.FindStatusCondition(o.(*v1alpha1.PluginBinding).Status.Conditions, v1alpha1.ConditionReady)
		if condition == nil {
			return ""
		}
		return condition.Status
	}
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return ready(e.ObjectOld) != ready(e.ObjectNew) ||
			e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero()
	}}
}

// PoolDialer makes a Dialer of a pool of clients.
type PoolDialer struct{ *adminapi.Registry }

// Dial implements Dialer.
func (d PoolDialer) Dial(key types.NamespacedName, settings adminapi.Settings) (Kong, error) {
	kong, _, err := d.GetOrCreate(key.String(), settings)
	if err != nil {
		return nil, err
	}
	return kong, nil
}

// Hangup implements Dialer.
func (d PoolDialer) Hangup(key types.NamespacedName) { d.Remove(key.String()) }
