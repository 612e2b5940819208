package controllers

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// onlyOwnNamespace makes the gateway refuse the bindings of namespace shop.
func onlyOwnNamespace(w *world) {
	w.t.Helper()
	gateway := w.getGateway()
	gateway.Spec.AllowedBindings = &v1alpha1.AllowedBindings{Namespaces: &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSame}}
	gateway.Generation++
	if err := w.client.Update(w.ctx, gateway); err != nil {
		w.t.Fatal(err)
	}
}

func ofConsumer(name, username string) *v1alpha1.PluginBinding {
	binding := boundTo(name, "orders")
	binding.Spec.Scope = &v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{Username: username}}
	return binding
}

func TestARefusedBindingCountsForNothing(t *testing.T) {
	w := newWorld(t, worldOptions{objects: []client.Object{ofConsumer("refused", "alice")}})
	onlyOwnNamespace(w)
	w.pass(5 * time.Minute)
	w.expectReason("refused", v1alpha1.ReasonNotAllowedByGateway)
	for request, n := range w.requests(0) {
		if strings.Contains(request, "consumers") {
			t.Errorf("%s: %d requests for a refused binding", request, n)
		}
	}
	if counts := w.getGateway().Status.Bindings; counts.Total != 0 {
		t.Errorf("it counts: %+v", counts)
	}

	w.create(boundTo("unseen", "orders")) // without conditions yet
	finalized := boundTo("finalized", "orders")
	finalized.Finalizers = []string{v1alpha1.PluginFinalizer} // as anybody can set it
	w.create(finalized)
	w.delete(w.getGateway())
	if _, err := w.run(request{gateway: true, key: platform}); err != nil {
		t.Fatal(err)
	}
	if !w.isGone(w.gateway()) {
		t.Error("it holds up the deletion of the gateway")
	}
}

func TestABindingAboveTheLimitOfItsNamespaceCountsForNothing(t *testing.T) {
	w := newWorld(t, worldOptions{objects: []client.Object{boundTo("a", "orders"), ofConsumer("b", "alice")}})
	gateway := w.getGateway()
	gateway.Spec.AllowedBindings.MaxBindingsPerNamespace = ptr.To[int32](1)
	if err := w.client.Update(w.ctx, gateway); err != nil {
		t.Fatal(err)
	}
	w.pass(3 * time.Minute)
	w.expectReason("a", v1alpha1.ReasonReady)
	w.expectReason("b", v1alpha1.ReasonNotAllowedByGateway)
	if counts := w.getGateway().Status.Bindings; counts.Total != 1 {
		t.Errorf("%+v", counts)
	}
	for request := range w.requests(0) {
		if strings.Contains(request, "consumers") {
			t.Errorf("%s for a refused binding", request)
		}
	}
}

// A gateway that is narrowed still waits for the plugins that it holds.
func TestARefusedBindingWithAPluginHoldsItsGateway(t *testing.T) {
	w := newWorld(t, worldOptions{objects: []client.Object{boundTo("limit", "orders")}})
	w.pass(time.Minute)
	w.expectReason("limit", v1alpha1.ReasonReady)
	onlyOwnNamespace(w)
	w.enqueue(request{key: client.ObjectKeyFromObject(w.getBinding("limit"))})
	w.pass(time.Minute)
	w.expectReason("limit", v1alpha1.ReasonNotAllowedByGateway)
	w.delete(w.getGateway())
	w.pass(time.Minute)
	if w.isGone(w.gateway()) {
		t.Error("the gateway is gone, and its plugin stays in Kong")
	}
}

// So it does for a plugin of whose ID the status knows nothing, or that may still come.
func TestARefusedBindingThatMayHaveAPluginHoldsItsGateway(t *testing.T) {
	lost := func() *v1alpha1.PluginBinding {
		binding := boundTo("lost", "orders")
		binding.Finalizers = []string{v1alpha1.PluginFinalizer}
		return binding
	}
	for name, spoil := range map[string]func(*world){
		"Kong has one": func(w *world) {
			w.kong.Seed("plugins", map[string]any{"name": "cors", "tags": []any{"managed-by:plugin-binding-operator", "k8s-cluster:test", "k8s-kind:PluginBinding", "k8s-namespace:shop", "k8s-name:lost"}})
		},
		"a write is in flight": func(w *world) {
			w.operator.Gateways.InFlight.MarkInFlight(lost(), w.clock.Now().Add(time.Hour))
		},
		"Kong was not listed": func(w *world) {
			w.kong.Inject(kongtest.Fault{Method: http.MethodGet, Template: "/plugins", Kind: kongtest.Answer, Status: http.StatusForbidden, Body: `{"message":"no"}`})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, worldOptions{objects: []client.Object{lost()}})
			onlyOwnNamespace(w)
			spoil(w)
			w.pass(2 * time.Minute)
			w.expectReason("lost", v1alpha1.ReasonNotAllowedByGateway)
			w.delete(w.getGateway())
			w.pass(time.Minute)
			if w.isGone(w.gateway()) {
				t.Error("the gateway is gone, and its plugin may stay in Kong")
			}
		})
	}
}

func TestAResyncGoesOnWithoutWhatTheTokenMayNotRead(t *testing.T) {
	w := newWorld(t, worldOptions{objects: []client.Object{boundTo("limit", "orders"), ofConsumer("vip", "alice")}})
	w.kong.Seed("consumers", map[string]any{"username": "alice"})
	w.pass(2 * time.Minute)
	w.expectReason("vip", v1alpha1.ReasonReady)
	w.emitted()
	for _, template := range []string{"/consumers", "/consumers/{id}"} {
		w.kong.Inject(kongtest.Fault{Method: http.MethodGet, Template: template, Kind: kongtest.Answer, Status: http.StatusForbidden, Body: `{"message":"no"}`})
	}
	for _, name := range []string{"limit", "vip"} {
		w.kong.EditPlugin(string(w.getBinding(name).Status.PluginID), map[string]any{"enabled": false})
	}
	w.pass(10 * time.Minute)
	if id := string(w.getBinding("limit").Status.PluginID); w.kong.Plugin(id)["enabled"] != true {
		t.Error("the drift was not corrected")
	}
	ready := meta.FindStatusCondition(w.getGateway().Status.Conditions, v1alpha1.ConditionReady)
	if ready.Status != "True" || !strings.Contains(ready.Message, "does not let the operator read consumers") {
		t.Errorf("%+v", ready)
	}
	failed := 0
	for _, event := range w.emitted() {
		if strings.Contains(event, "SweepFailed") {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("%d events", failed)
	}
}

func TestOnlyKnownGatewaysHaveSeries(t *testing.T) {
	invented := boundTo("invented", "orders")
	invented.Spec.GatewayRef.Name = "invented"
	w := newWorld(t, worldOptions{objects: []client.Object{boundTo("limit", "orders"), invented}})
	w.pass(time.Minute)
	got := w.bindingSeries()
	want := []string{"/Ready=False", "kong/kong/Ready=True"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	onlyOwnNamespace(w)
	w.enqueue(request{key: client.ObjectKeyFromObject(w.getBinding("limit"))})
	w.pass(time.Minute)
	if got, want = w.bindingSeries(), []string{"/Ready=False"}; !slices.Equal(got, want) {
		t.Errorf("after the refusal: got %v, want %v", got, want)
	}
}

// bindingSeries lists the series of the condition Ready as gateway/Ready=status.
func (w *world) bindingSeries() (series []string) {
	w.t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(&ConditionCollector{Reader: w.client})
	families, err := registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "kong_operator_bindings" {
			continue
		}
		for _, sample := range family.GetMetric() {
			labels := map[string]string{}
			for _, pair := range sample.GetLabel() {
				labels[pair.GetName()] = pair.GetValue()
			}
			if labels["condition"] == v1alpha1.ConditionReady {
				series = append(series, labels["gateway"]+"/Ready="+labels["status"])
			}
		}
	}
	slices.Sort(series)
	return series
}
