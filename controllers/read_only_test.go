package controllers

import (
	"fmt"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// createMany creates bindings, each with a service of its own, and returns their names.
func (w *world) createMany(prefix string, n int) (names []string) {
	w.t.Helper()
	for i := range n {
		name := fmt.Sprintf("%s-%02d", prefix, i)
		names = append(names, name)
		w.kong.Seed("services", map[string]any{"name": name, "url": "http://127.0.0.1:9"})
		w.create(boundTo(name, name))
	}
	return names
}

// After a failover PostgreSQL may be read-only: Kong answers every read, and every write with 500.
func TestAReadOnlyDatabaseIsTheGatewaysTrouble(t *testing.T) {
	w := newWorld(t, worldOptions{objects: []client.Object{boundTo("goes", "orders")}})
	w.pass(5 * time.Minute)
	w.emitted()
	w.kong.SetDatabaseReadOnly(true)
	names := w.createMany("new", 20)
	w.delete(w.getBinding("goes"))
	w.pass(time.Minute)

	database, ready := w.gatewayCondition(v1alpha1.ConditionDatabaseReachable), w.gatewayCondition(v1alpha1.ConditionReady)
	if database.Status != metav1.ConditionFalse || database.Reason != v1alpha1.ReasonWritesFail || ready.Reason != v1alpha1.ReasonWritesFail {
		t.Errorf("%+v, %+v", database, ready)
	}
	for _, name := range names {
		w.expectReason(name, v1alpha1.ReasonGatewayNotReady)
	}
	mark := w.kong.Journal().Mark()
	w.pass(2 * time.Minute)
	if n := w.writes(mark); n < 10 || n > 60 { // one each five seconds, and Kong's opinion of the plugin
		t.Errorf("%d requests that are no reads in two minutes", n)
	}
	if n := w.requests(mark)["GET /plugins"]; n > 2*(2*60/5)+w.resyncs(mark) {
		t.Errorf("%d lookups in two minutes of %d bindings that wait", n, len(names))
	}
	if w.resyncs(mark) == 0 {
		t.Error("Kong answers reads, and no resync looks for changes")
	}
	if n := strings.Count(strings.Join(w.emitted(), "\n"), "Warning "+v1alpha1.ReasonWritesFail); n != 1 {
		t.Errorf("%d events of the trouble", n)
	}

	w.kong.SetDatabaseReadOnly(false)
	w.pass(8 * time.Second)
	for _, name := range names {
		w.expectReason(name, v1alpha1.ReasonReady)
	}
	if !w.isGone(boundTo("goes", "orders")) {
		t.Error("the deletion does not go on")
	}
	if ready := w.gatewayCondition(v1alpha1.ConditionReady); ready.Status != metav1.ConditionTrue {
		t.Errorf("%+v", ready)
	}
}

// Bindings on whose config Kong's own code fails are no trouble of the gateway, however many they are.
func TestConfigsThatKongFailsOnAreNoTroubleOfTheGateway(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.pass(time.Minute)
	for i := range 8 {
		name := fmt.Sprintf("bad-%d", i)
		w.kong.Seed("services", map[string]any{"name": name, "url": "http://127.0.0.1:9"})
		binding := boundTo(name, name)
		binding.Spec.Config = &apiextensionsv1.JSON{Raw: []byte(`{"minute": 5, "policy": "redis", "redis": 5, "redis_host": "redis"}`)}
		w.create(binding)
	}
	w.pass(time.Minute)
	w.expectReason("bad-0", v1alpha1.ReasonKongUnavailable)
	names := w.createMany("good", 3)
	w.pass(2 * time.Second)
	for _, name := range names {
		w.expectReason(name, v1alpha1.ReasonReady)
	}
	if ready := w.gatewayCondition(v1alpha1.ConditionReady); ready.Status != metav1.ConditionTrue {
		t.Errorf("%+v", ready)
	}
}
