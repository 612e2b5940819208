package pluginbinding_test

import (
	"net/http"
	"slices"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// A deletion looks as often as it must: once, if one request shows the recorded plugin and that the
// binding owns no other.
func TestADeletionLooksAsOftenAsItMust(t *testing.T) {
	seedWithTags := func(w *world, b *v1alpha1.PluginBinding) {
		tags := w.kong.Plugin(string(b.Status.PluginID))["tags"]
		w.kong.Seed("plugins", map[string]any{"name": "cors", "tags": tags})
	}
	for name, tc := range map[string]struct {
		change func(*v1alpha1.PluginBinding)
		spoil  func(*world, *v1alpha1.PluginBinding)
		rounds int
		reads  int
		writes int
	}{
		"one plugin": {reads: 1, writes: 1, rounds: 1},
		"deletionPolicy Orphan": {
			change: func(b *v1alpha1.PluginBinding) { b.Spec.DeletionPolicy = v1alpha1.OrphanPlugin },
			reads:  1, writes: 1, rounds: 1,
		},
		// A plugin without tags but with the generated name would be its own too.
		"another instance name": {
			change: func(b *v1alpha1.PluginBinding) { b.Spec.InstanceName = "custom" },
			reads:  5, writes: 1, rounds: 1, // list; by ID, by both names, list
		},
		// The second one is somewhere else: it is looked at again when no other binding can take it over.
		"a second plugin with the tags": {spoil: seedWithTags, reads: 15, writes: 2, rounds: 2},
		"without its tags": {
			spoil: func(w *world, b *v1alpha1.PluginBinding) {
				w.kong.EditPlugin(string(b.Status.PluginID), map[string]any{"tags": []any{}})
			},
			reads: 5, writes: 1, rounds: 1, // list, by ID; by ID, by name, list
		},
	} {
		w := newWorld(t)
		var changes []func(*v1alpha1.PluginBinding)
		if tc.change != nil {
			changes = append(changes, tc.change)
		}
		binding := w.binding("a", onRoute("s1-a"), changes...)
		w.settle(2, binding)
		if tc.spoil != nil {
			tc.spoil(w, binding)
		}
		w.must(w.kube.Delete(t.Context(), binding))
		mark := w.kong.Journal().Mark()
		w.inTurn(tc.rounds, binding)
		reads, all := w.countSince(mark, http.MethodGet), w.countSince(mark, "")
		if reads != tc.reads || all-reads != tc.writes {
			t.Errorf("%s: %d reads, %d writes", name, reads, all-reads)
		}
		gone := apierrors.IsNotFound(w.kube.Get(t.Context(), client.ObjectKeyFromObject(binding), binding))
		left := slices.DeleteFunc(w.kong.Plugins(), func(p map[string]any) bool { return len(p["tags"].([]any)) == 0 })
		if !gone || len(left) > 0 {
			t.Errorf("%s: gone %t, left %v", name, gone, left)
		}
	}
}

// A deletion whose outcome is unknown is an in-flight write: everything is looked up again.
func TestADeletionOfUnknownOutcomeIsLookedUpAgain(t *testing.T) {
	w := newWorld(t)
	binding := w.binding("a", onRoute("s1-a"))
	w.settle(2, binding)
	w.must(w.kube.Delete(t.Context(), binding))
	w.kong.Inject(kongtest.Fault{Method: http.MethodDelete, Kind: kongtest.Answer, Status: http.StatusInternalServerError, Times: 1})
	w.inTurn(1, binding)
	if err := w.kube.Get(t.Context(), client.ObjectKeyFromObject(binding), binding); err != nil || len(w.kong.Plugins()) != 1 {
		t.Errorf("released (%v) with %d plugins", err, len(w.kong.Plugins()))
	}
}
