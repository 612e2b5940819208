package pluginbinding_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// A binding with adoptionPolicy Override is reconciled between the look of a deletion and its DELETE. It
// must not get a plugin that is about to be deleted.
func TestADeletionRemovesNoPluginThatAnotherBindingHasJustTakenOver(t *testing.T) {
	for name, change := range map[string]func(*v1alpha1.PluginBinding){
		"where the status says":  func(*v1alpha1.PluginBinding) {},
		"where nobody recorded":  func(b *v1alpha1.PluginBinding) { b.Status.Scope = nil },
		"elsewhere, as recorded": func(b *v1alpha1.PluginBinding) { b.Status.Scope.RouteID, b.Status.Scope.ServiceID = "", "" },
		"as an orphan":           func(b *v1alpha1.PluginBinding) { b.Spec.DeletionPolicy = v1alpha1.OrphanPlugin },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			old := w.binding("old", onRoute("s1-a"))
			w.settle(5, old)
			w.change(old, change)
			change(w.reload(old))
			w.must(w.kube.Status().Update(t.Context(), old))
			taker := w.binding("taker", onRoute("s1-a"), func(b *v1alpha1.PluginBinding) { b.Spec.AdoptionPolicy = v1alpha1.AdoptOverride })
			w.must(w.kube.Delete(t.Context(), old))
			before := w.kong.Journal().Mark()
			w.onGet = func(_, name string) {
				if name != "old" || w.countSince(before, http.MethodGet) == 0 {
					return
				}
				w.onGet = nil // the read right before the DELETE
				for range 3 {
					if _, err := w.reconcile(taker); err != nil {
						t.Error(err)
					}
				}
			}
			for range 5 {
				if !w.isGone(old) {
					w.inTurn(1, old)
				}
			}
			if w.onGet != nil || !w.isGone(old) {
				t.Fatal("the other binding was not reconciled in between, or the deletion does not end")
			}
			if id := string(w.reload(taker).Status.PluginID); id != "" {
				if tags, _ := w.kong.Plugin(id)["tags"].([]any); !slices.Contains(tags, any("k8s-name:taker")) {
					t.Errorf("the other binding lost plugin %s: %v", id, tags)
				}
			}
			w.settle(5, taker)
			if plugins := w.kong.Plugins(); len(plugins) != 1 {
				t.Errorf("Kong has %d plugins", len(plugins))
			}
		})
	}
}
