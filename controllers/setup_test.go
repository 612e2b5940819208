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
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

func bindingNamed(name string) *v1alpha1.PluginBinding {
	binding := &v1alpha1.PluginBinding{}
	binding.Namespace, binding.Name = "shop", name
	binding.Spec.GatewayRef = v1alpha1.GatewayRef{Name: "kong"}
	return binding
}

func TestAPersonsChangeComesBeforeAResync(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	cached := fake.NewClientBuilder().WithScheme(scheme).
		WithObjects(bindingNamed("of-the-gateway")).
		WithIndex(&v1alpha1.PluginBinding{}, reference.IndexGateway, ofBinding(gatewayKey)).Build()
	gateway := types.NamespacedName{Namespace: "shop", Name: "kong"}
	resynced := bindingNamed("resynced")
	changed, touched := bindingNamed("changed"), resynced.DeepCopy()
	touched.ResourceVersion = "2"

	queue := priorityqueue.New[reconcile.Request]("test")
	defer queue.ShutDown()
	enqueueBindingBehind(t.Context(), client.ObjectKeyFromObject(resynced), queue)
	bindingFinder{cached}.enqueueOfGateway(t.Context(), gateway, queue)
	(&handler.EnqueueRequestForObject{}).Create(t.Context(), event.CreateEvent{Object: changed}, queue)

	for _, want := range []struct {
		name     string
		priority int
	}{
		{"changed", 0}, {"resynced", handler.LowPriority}, {"of-the-gateway", handler.LowPriority},
	} {
		request, priority, _ := queue.GetWithPriority()
		if request.Name != want.name || priority != want.priority {
			t.Errorf("%s with priority %d, want %s with %d", request.Name, priority, want.name, want.priority)
		}
		queue.Done(request)
	}

	// A binding that waits for its repair and is changed meanwhile moves forward.
	enqueueBindingBehind(t.Context(), client.ObjectKeyFromObject(resynced), queue)
	(&handler.EnqueueRequestForObject{}).Update(t.Context(), event.UpdateEvent{ObjectOld: resynced, ObjectNew: touched}, queue)
	if request, priority, _ := queue.GetWithPriority(); request.Name != "resynced" || priority != 0 {
		t.Errorf("%s with priority %d after a change", request.Name, priority)
	}
}

func TestGatewayBackoffIsBounded(t *testing.T) {
	limiter, kong := gatewayOptions().RateLimiter, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "kong", Name: "kong"}}
	if first := limiter.When(kong); first != gatewayBaseDelay {
		t.Errorf("the first delay is %v", first)
	}
	var last time.Duration
	for range 30 {
		last = limiter.When(kong)
	}
	if last != gatewayMaxDelay {
		t.Errorf("the delays grow to %v", last)
	}
}
