package controllers

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

const (
	// gatewayWorkers is how many gateways are probed and resynced concurrently. The gateways of one
	// namespace get at most half of them.
	gatewayWorkers = 64
	// countDebounce is how long a gateway waits for more bindings to change before it counts them. It is
	// longer by as much for each bindingsPerDebounce that it has, up to maxCountDebounce: to count them costs
	// as much more, and while all of them change a fixed pause would make it a quarter of all work.
	countDebounce       = time.Second
	bindingsPerDebounce = 5000
	maxCountDebounce    = 15 * time.Second
)

// addGatewayController adds the controller of KongGateways to the manager.
func addGatewayController(mgr ctrl.Manager, r *Reconcilers) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("konggateway").
		For(&v1alpha1.KongGateway{}, builder.WithPredicates(predicate.Or[client.Object](
			predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Watches(&v1alpha1.PluginBinding{}, enqueueGatewayLater(r.Connections), builder.WithPredicates(countChanged())).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(gatewaysOfSecret(mgr.GetClient())), builder.WithPredicates(predicate.ResourceVersionChangedPredicate{})).
		WatchesRawSource(keysFrom(r.Connections.Probes(), enqueue)).
		WithOptions(gatewayOptions()).
		Complete(r.Gateways)
}

// gatewayOptions bound the delay after an error of the API server like the one after an error of
// Kong. controller-runtime's own grows to 1000 s, in which nobody would look at a whole gateway.
func gatewayOptions() controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: gatewayWorkers,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](gatewayBaseDelay, gatewayMaxDelay),
	}
}

func gatewaysOfSecret(reader client.Reader) handler.MapFunc {
	return func(ctx context.Context, secret client.Object) []reconcile.Request {
		gateways := &v1alpha1.KongGatewayList{}
		if err := reader.List(ctx, gateways, client.InNamespace(secret.GetNamespace()), client.MatchingFields{reference.IndexSecret: secret.GetName()}); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "listing gateways from the cache")
			return nil
		}
		requests := make([]reconcile.Request, len(gateways.Items))
		for i := range gateways.Items {
			requests[i].NamespacedName = client.ObjectKeyFromObject(&gateways.Items[i])
		}
		return requests
	}
}

// enqueueGatewayLater enqueues the gateway of a binding after a moment, so that many bindings that
// change together are counted once.
func enqueueGatewayLater(connections *connection.Registry) handler.EventHandler {
	later := func(object client.Object, queue requestQueue) {
		gateway := reference.GatewayOf(object.(*v1alpha1.PluginBinding))
		known, _ := connections.Last(gateway)
		queue.AddAfter(reconcile.Request{NamespacedName: gateway}, countDelay(known.Bindings))
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q requestQueue) { later(e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q requestQueue) { later(e.ObjectNew, q) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q requestQueue) { later(e.Object, q) },
	}
}

// countDelay is the pause of a gateway with so many bindings.
func countDelay(bindings int) time.Duration {
	return min(countDebounce*time.Duration(1+bindings/bindingsPerDebounce), maxCountDebounce)
}

// countChanged passes what changes a gateway's counts, or whether it may be deleted.
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
