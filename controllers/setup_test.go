package controllers

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

func bindingNamed(name string) *v1alpha1.PluginBinding {
	binding := &v1alpha1.PluginBinding{}
	binding.Namespace, binding.Name = "shop", name
	binding.Spec.GatewayRef = v1alpha1.GatewayRef{Name: "kong"}
	return binding
}

func TestWhatAPersonChangedComesBeforeWhatASweepOrAGatewayWoke(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	cached := fake.NewClientBuilder().WithScheme(scheme).
		WithObjects(bindingNamed("of-the-gateway")).
		WithIndex(&v1alpha1.PluginBinding{}, indexGateway, func(o client.Object) []string {
			return []string{gatewayKeyOf(o.(*v1alpha1.PluginBinding)).String()}
		}).Build()
	gateway := &v1alpha1.KongGateway{}
	gateway.Namespace, gateway.Name = "shop", "kong"
	woken := bindingNamed("woken")
	changed, touched := bindingNamed("changed"), woken.DeepCopy()
	touched.ResourceVersion = "2"

	queue := priorityqueue.New[reconcile.Request]("test")
	defer queue.ShutDown()
	queueWoken(t.Context(), event.GenericEvent{Object: woken}, queue)
	(&PluginBindingReconciler{Client: cached}).queueBindingsOf(t.Context(), event.GenericEvent{Object: gateway}, queue)
	(&handler.EnqueueRequestForObject{}).Create(t.Context(), event.CreateEvent{Object: changed}, queue)

	for _, want := range []struct {
		name     string
		priority int
	}{
		{"changed", 0}, {"woken", handler.LowPriority}, {"of-the-gateway", handler.LowPriority},
	} {
		request, priority, _ := queue.GetWithPriority()
		if request.Name != want.name || priority != want.priority {
			t.Errorf("%s with priority %d, want %s with %d", request.Name, priority, want.name, want.priority)
		}
		queue.Done(request)
	}

	// A binding that waits for its repair and is changed meanwhile moves forward.
	queueWoken(t.Context(), event.GenericEvent{Object: woken}, queue)
	(&handler.EnqueueRequestForObject{}).Update(t.Context(), event.UpdateEvent{ObjectOld: woken, ObjectNew: touched}, queue)
	if request, priority, _ := queue.GetWithPriority(); request.Name != "woken" || priority != 0 {
		t.Errorf("%s with priority %d after a change", request.Name, priority)
	}
}

func TestTheGatewayControllersBackOffIsBounded(t *testing.T) {
	limiter, kong := gatewayOptions().RateLimiter, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "kong", Name: "kong"}}
	if first := limiter.When(kong); first != gatewayFirst {
		t.Errorf("the first pause is %v", first)
	}
	var last time.Duration
	for range 30 {
		last = limiter.When(kong)
	}
	if last != gatewayMost {
		t.Errorf("the pauses grow to %v", last)
	}
}
