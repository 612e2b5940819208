package controllers

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// seedOwned seeds plugins with the ownership tags of bindings that do not exist.
func (w *world) seedOwned(n int) {
	w.t.Helper()
	for i := range n {
		name := fmt.Sprintf("gone-%03d", i)
		w.kong.Seed("services", map[string]any{"name": name, "url": "http://127.0.0.1:9"})
		w.kong.Seed("plugins", map[string]any{
			"name": "rate-limiting", "service": map[string]any{"name": name}, "config": map[string]any{"minute": 5, "policy": "local"},
			"instance_name": "test.shop." + name,
			"tags":          []any{"managed-by:plugin-binding-operator", "k8s-cluster:test", "k8s-kind:PluginBinding", "k8s-namespace:shop", "k8s-name:" + name, "k8s-uid:0"},
		})
	}
}

func removeOrphans(o *Options) { o.RemoveOrphans, o.ClusterCreatedAt = true, time.Unix(1, 0) }

// A mistake removes few plugins before somebody sees the events.
func TestAResyncRemovesAFewOrphans(t *testing.T) {
	var objects []client.Object
	for i := range 70 {
		objects = append(objects, boundTo(fmt.Sprintf("stays-%02d", i), fmt.Sprintf("stays-%02d", i)))
	}
	w := newWorld(t, worldOptions{objects: objects, options: removeOrphans})
	for i := range 70 {
		w.kong.Seed("services", map[string]any{"name": fmt.Sprintf("stays-%02d", i), "url": "http://127.0.0.1:9"})
	}
	w.seedOwned(60)
	most, mark, before := 0, w.kong.Journal().Mark(), 0
	for range 60 { // so short that no two resyncs are in one
		w.pass(10 * time.Second)
		deleted := w.requests(mark)["DELETE /plugins/{id}"]
		most, before = max(most, deleted-before), deleted
	}
	if most == 0 || most > 50 {
		t.Errorf("one resync removed %d orphans", most)
	}
	if before != 60 || len(w.kong.Plugins()) != 70 {
		t.Errorf("%d orphans removed, %d plugins left", before, len(w.kong.Plugins()))
	}
}

// An etcd that was set back does not know most bindings. Their plugins are no garbage.
func TestNoOrphanIsRemovedWhenMostBindingsSeemLost(t *testing.T) {
	w := newWorld(t, worldOptions{objects: []client.Object{boundTo("stays", "orders")}, options: removeOrphans})
	w.seedOwned(30)
	w.pass(20 * time.Minute)
	if n := len(w.kong.Plugins()); n != 31 {
		t.Errorf("%d plugins are left of 31", n)
	}
	if events := strings.Join(w.emitted(), "\n"); !strings.Contains(events, "Warning OrphanRemovalStopped") {
		t.Errorf("nobody is told: %s", events)
	}
}

// A tenant that makes a KongGateway to the platform's Kong gets no rights there.
func TestALaterGatewayOfAnotherNamespaceIsNotAccepted(t *testing.T) {
	w := newWorld(t, worldOptions{objects: []client.Object{boundTo("limit", "orders")}})
	w.pass(time.Minute)
	mine := w.gateway()
	mine.Namespace, mine.Name, mine.UID = "shop", "mine", types.UID("mine")
	mine.Spec.AdminURL = strings.Replace(w.kong.URL(), "127.0.0.1", "localhost", 1)
	mine.CreationTimestamp.Time = w.clock.Now().Add(time.Hour)
	if err := w.client.Create(w.ctx, mine); err != nil {
		t.Fatal(err)
	}
	w.enqueue(request{gateway: true, key: client.ObjectKeyFromObject(mine)})
	w.pass(time.Minute)
	if err := w.client.Get(w.ctx, client.ObjectKeyFromObject(mine), mine); err != nil {
		t.Fatal(err)
	}
	for _, condition := range mine.Status.Conditions {
		if condition.Type == v1alpha1.ConditionAccepted && condition.Reason != v1alpha1.ReasonGatewayNotAllowed {
			t.Errorf("%+v", condition)
		}
	}
	if len(mine.Status.Conditions) == 0 {
		t.Error("the gateway was not reconciled")
	}
	if ready := w.gatewayCondition(v1alpha1.ConditionReady); ready.Status != "True" {
		t.Errorf("the platform's gateway: %+v", ready)
	}
}

// What existed before a tenant's binding is neither moved nor deleted by it.
func TestATenantMovesAndDeletesOnlyWhatItsBindingsCreated(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.kong.Seed("services", map[string]any{"name": "elsewhere", "url": "http://127.0.0.1:9"})
	platformOwned := w.kong.Seed("plugins", map[string]any{"name": "rate-limiting", "service": map[string]any{"name": "orders"}, "config": map[string]any{"minute": 5, "policy": "local"}})
	id := platformOwned["id"].(string)
	adopts := boundTo("adopts", "orders")
	adopts.Spec.PluginID = v1alpha1.UUID(id)
	w.create(adopts)
	w.pass(time.Minute)
	w.expectReason("adopts", v1alpha1.ReasonReady)

	moved := w.getBinding("adopts")
	moved.Spec.Scope.Service.Name, moved.Generation = "elsewhere", moved.Generation+1
	if err := w.client.Update(w.ctx, moved); err != nil {
		t.Fatal(err)
	}
	w.enqueue(request{key: client.ObjectKeyFromObject(moved)})
	w.pass(time.Minute)
	w.expectReason("adopts", v1alpha1.ReasonNotAllowedByGateway)
	if w.kong.Plugin(id)["service"].(map[string]any)["id"] != platformOwned["service"].(map[string]any)["id"] {
		t.Error("the plugin moved")
	}
	w.delete(w.getBinding("adopts"))
	w.pass(time.Minute)
	if w.kong.Plugin(id) == nil || !w.isGone(boundTo("adopts", "orders")) {
		t.Error("the plugin is gone, or the binding stays")
	}
}

// Override takes nothing over that has an owner, unless the gateway allows it.
func TestATenantTakesOverNothingOfAnOwner(t *testing.T) {
	w := newWorld(t, worldOptions{})
	owned := w.kong.Seed("plugins", map[string]any{
		"name": "rate-limiting", "service": map[string]any{"name": "orders"}, "config": map[string]any{"minute": 7, "policy": "local"}, "tags": []any{"managed-by:terraform"},
	})
	takes := boundTo("takes", "orders")
	takes.Spec.AdoptionPolicy = v1alpha1.AdoptOverride
	w.create(takes)
	mark := w.kong.Journal().Mark()
	w.pass(3 * time.Minute)
	w.expectReason("takes", v1alpha1.ReasonNotAllowedByGateway)
	if w.writes(mark) != 0 || w.kong.Plugin(owned["id"].(string)) == nil {
		t.Error("the plugin was touched")
	}
}
