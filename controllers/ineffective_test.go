package controllers

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// ineffective is the condition of a binding that Kong never runs it, nil if it has none.
func (w *world) ineffective(name string) *metav1.Condition {
	w.t.Helper()
	return meta.FindStatusCondition(w.getBinding(name).Status.Conditions, v1alpha1.ConditionIneffective)
}

// Kong takes a plugin that never runs. The binding is programmed all the same, and says so.
func TestAPluginThatNeverRuns(t *testing.T) {
	onRoute := func(name, service string, protocols ...v1alpha1.Protocol) *v1alpha1.PluginBinding {
		binding := boundTo(name, service)
		binding.Spec.Scope.Route = &v1alpha1.EntityRef{Name: "cart"}
		if service == "" {
			binding.Spec.Scope.Service = nil
		}
		binding.Spec.Protocols = protocols
		return binding
	}
	mismatched, fits, encrypted := onRoute("mismatched", "billing"), onRoute("fits", "orders"), onRoute("encrypted", "", "https")
	w := newWorld(t, worldOptions{objects: []client.Object{mismatched, fits, encrypted}})
	w.kong.Seed("services", map[string]any{"name": "billing", "url": "http://127.0.0.1:9"})
	w.kong.Seed("routes", map[string]any{"name": "cart", "paths": []any{"/cart"}, "protocols": []any{"http", "https"}, "service": map[string]any{"name": "orders"}})
	w.pass(5 * time.Minute)
	for _, name := range []string{"mismatched", "fits", "encrypted"} {
		w.expectReason(name, v1alpha1.ReasonReady)
	}
	got := w.ineffective("mismatched")
	if got == nil || got.Status != metav1.ConditionTrue || got.Reason != v1alpha1.ReasonRouteOfAnotherService || !strings.Contains(got.Message, "never runs") {
		t.Errorf("%+v", got)
	}
	if events := strings.Join(w.emitted(), "\n"); strings.Count(events, "Warning "+v1alpha1.ReasonRouteOfAnotherService) != 1 {
		t.Errorf("not one event: %s", events)
	}
	for _, name := range []string{"fits", "encrypted"} {
		if got := w.ineffective(name); got != nil {
			t.Errorf("%s: %+v", name, got)
		}
	}

	// Somebody changes the route, and the next resync notices.
	w.kong.Edit("routes", "cart", map[string]any{"protocols": []any{"http"}, "service": map[string]any{"name": "billing"}})
	mark := w.kong.Journal().Mark()
	w.pass(2 * time.Minute)
	for name, reason := range map[string]string{"mismatched": "", "fits": v1alpha1.ReasonRouteOfAnotherService, "encrypted": v1alpha1.ReasonNoCommonProtocol} {
		w.expectReason(name, v1alpha1.ReasonReady)
		if got := w.ineffective(name); got == nil && reason != "" || got != nil && got.Reason != reason {
			t.Errorf("%s: %+v, want %q", name, got, reason)
		}
	}
	if n := w.writes(mark); n != 0 {
		t.Errorf("%d writes to Kong", n)
	}

	// What is known costs nothing from then on, and a restart writes no status.
	versions := w.versions("mismatched", "fits", "encrypted")
	w.restart()
	w.pass(5 * time.Minute)
	mark = w.kong.Journal().Mark()
	w.pass(5 * time.Minute)
	if n := w.requests(mark)["GET /plugins/{id}"]; n != 0 {
		t.Errorf("%d plugins were read by their ID", n)
	}
	if got := w.versions("mismatched", "fits", "encrypted"); got != versions {
		t.Errorf("a status was written: %s, then %s", versions, got)
	}
}

// versions are the resource versions of bindings.
func (w *world) versions(names ...string) string {
	w.t.Helper()
	var all []string
	for _, name := range names {
		all = append(all, w.getBinding(name).ResourceVersion)
	}
	return strings.Join(all, " ")
}
