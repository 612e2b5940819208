package controllers

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// waitingWorld has bindings that wait for a service, and bindings in conflict with plugins that
// nobody owns.
func waitingWorld(t *testing.T, missing, conflicting int) *world {
	t.Helper()
	var objects []client.Object
	for i := range missing {
		objects = append(objects, boundTo(fmt.Sprintf("missing-%02d", i), fmt.Sprintf("absent-%02d", i)))
	}
	for i := range conflicting {
		objects = append(objects, boundTo(fmt.Sprintf("conflict-%02d", i), fmt.Sprintf("taken-%02d", i)))
	}
	w := newWorld(t, worldOptions{objects: objects})
	for i := range conflicting {
		name := fmt.Sprintf("taken-%02d", i)
		w.kong.Seed("services", map[string]any{"name": name, "url": "http://127.0.0.1:9"})
		w.kong.Seed("plugins", map[string]any{"name": "rate-limiting", "service": map[string]any{"name": name}, "config": map[string]any{"minute": 7, "policy": "local"}})
	}
	w.pass(5 * time.Minute) // in which each is reconciled, and once more after the first resync
	for i := range missing {
		w.expectReason(fmt.Sprintf("missing-%02d", i), v1alpha1.ReasonScopeNotFound)
	}
	for i := range conflicting {
		w.expectReason(fmt.Sprintf("conflict-%02d", i), v1alpha1.ReasonConflict)
	}
	return w
}

func TestWhatWaitsForSomebodyElseCostsTheResync(t *testing.T) {
	w := waitingWorld(t, 60, 60)
	mark := w.kong.Journal().Mark()
	w.pass(10 * time.Minute)
	resyncs := w.resyncs(mark)
	if resyncs < 5 {
		t.Fatalf("%d resyncs: the test proves nothing", resyncs)
	}
	counts := w.requests(mark)
	for request, n := range counts {
		if n > 2*resyncs+2 { // a probe, the services, this cluster's plugins, and all plugins, of one page each
			t.Errorf("%s: %d requests in %d resyncs; all: %v", request, n, resyncs, counts)
		}
	}
}

func TestFewPluginsOfOthersAreLookedUpByTheirID(t *testing.T) {
	w := waitingWorld(t, 0, 3)
	mark := w.kong.Journal().Mark()
	w.pass(10 * time.Minute)
	resyncs, counts := w.resyncs(mark), w.requests(mark)
	if resyncs < 5 || counts["GET /plugins/{id}"] > 3*resyncs+3 || counts["GET /plugins"] > resyncs {
		t.Errorf("%v in %d resyncs", counts, resyncs)
	}
}

func TestAResyncWakesWhatWaits(t *testing.T) {
	for _, conflicting := range []int{3, 12} { // by ID, and with a list
		w := waitingWorld(t, 2, conflicting)
		w.kong.Seed("services", map[string]any{"name": "absent-01", "url": "http://127.0.0.1:9"})
		w.kong.DeletePlugin(w.getBinding("conflict-00").Status.Conflict.PluginID)
		changed := w.getBinding("conflict-01").Status.Conflict.PluginID
		w.kong.EditPlugin(changed, map[string]any{"config": map[string]any{"minute": 5}})
		w.pass(2 * time.Minute)
		for _, name := range []string{"missing-01", "conflict-00", "conflict-01"} {
			w.expectReason(name, v1alpha1.ReasonReady)
		}
		w.expectReason("missing-00", v1alpha1.ReasonScopeNotFound)
		w.expectReason("conflict-02", v1alpha1.ReasonConflict)
	}
}

func TestAResyncWakesAConflictBetweenBindings(t *testing.T) {
	w := newWorld(t, worldOptions{objects: []client.Object{boundTo("first", "orders")}})
	w.kong.Seed("services", map[string]any{"name": "bills", "url": "http://127.0.0.1:9"})
	w.pass(time.Minute)
	w.create(boundTo("second", "orders"))
	w.pass(5 * time.Minute)
	w.expectReason("second", v1alpha1.ReasonConflict)
	first := w.getBinding("first")
	first.Spec.Scope.Service.Name = "bills"
	first.Generation++
	if err := w.client.Update(w.ctx, first); err != nil {
		t.Fatal(err)
	}
	w.enqueue(request{key: client.ObjectKeyFromObject(first)})
	w.pass(2 * time.Minute)
	w.expectReason("second", v1alpha1.ReasonReady)
}

// A plugin that appeared and disappeared between two resyncs is in no snapshot.
func TestAConflictThatNoResyncSawEnds(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.pass(time.Minute)
	taken := w.kong.Seed("plugins", map[string]any{"name": "rate-limiting", "service": map[string]any{"name": "orders"}, "config": map[string]any{"minute": 7, "policy": "local"}})
	w.create(boundTo("limit", "orders"))
	w.run(request{key: client.ObjectKeyFromObject(boundTo("limit", "orders"))}) //nolint:errcheck // the status tells
	w.expectReason("limit", v1alpha1.ReasonConflict)
	w.kong.DeletePlugin(taken["id"].(string))
	w.pass(2 * time.Minute)
	w.expectReason("limit", v1alpha1.ReasonReady)
}

// The first resync after a binding saw the plugin may show another state of it.
func TestAConflictThatChangesBeforeAResyncSeesItEnds(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.pass(time.Minute)
	taken := w.kong.Seed("plugins", map[string]any{"name": "rate-limiting", "service": map[string]any{"name": "orders"}, "config": map[string]any{"minute": 7, "policy": "local"}})
	w.create(boundTo("limit", "orders"))
	w.run(request{key: client.ObjectKeyFromObject(boundTo("limit", "orders"))}) //nolint:errcheck // the status tells
	w.expectReason("limit", v1alpha1.ReasonConflict)
	w.kong.EditPlugin(taken["id"].(string), map[string]any{"config": map[string]any{"minute": 5}})
	w.pass(2 * time.Minute)
	w.expectReason("limit", v1alpha1.ReasonReady)
}

func TestALookupThatFailsDoesNotStopTheResync(t *testing.T) {
	w := waitingWorld(t, 0, 3)
	w.create(boundTo("limit", "orders"))
	w.pass(2 * time.Minute)
	w.kong.Inject(kongtest.Fault{Method: http.MethodGet, Template: "/plugins/{id}", Times: 1, Kind: kongtest.Answer, Status: http.StatusForbidden, Body: `{"message":"no"}`})
	w.kong.DeletePlugin(w.getBinding("conflict-00").Status.Conflict.PluginID)
	w.kong.EditPlugin(string(w.getBinding("limit").Status.PluginID), map[string]any{"enabled": false})
	w.pass(70 * time.Second)
	if id := string(w.getBinding("limit").Status.PluginID); w.kong.Plugin(id)["enabled"] != true {
		t.Error("the drift was not corrected")
	}
	w.pass(2 * time.Minute)
	w.expectReason("conflict-00", v1alpha1.ReasonReady)
}

// The status of a gateway counts the plugins of this cluster that changed. A new process, which sees
// for the first time what others wait for, writes nothing.
func TestWhatWaitsIsNoChangeAfterARestart(t *testing.T) {
	w := waitingWorld(t, 2, 3)
	before := w.getGateway()
	w.restart()
	mark := w.kong.Journal().Mark()
	w.pass(3 * time.Minute)
	if w.resyncs(mark) < 2 {
		t.Fatal("fewer than two resyncs: the test proves nothing")
	}
	if after := w.getGateway(); after.ResourceVersion != before.ResourceVersion {
		t.Errorf("the gateway was written: %+v, was %+v", after.Status.LastResync, before.Status.LastResync)
	}
}
