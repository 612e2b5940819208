package controllers

import (
	"net/http"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// writes counts the requests since a mark of the journal that are no reads.
func (w *world) writes(mark int) (n int) {
	for _, r := range w.kong.Journal().Since(mark).Requests {
		if r.Method != http.MethodGet {
			n++
		}
	}
	return n
}

// A cluster that is rebuilt with the same cluster ID has the same bindings with other UIDs, and their
// plugins stay as they are.
func TestARebuiltClusterWritesNothingToKong(t *testing.T) {
	w := newWorld(t, worldOptions{objects: []client.Object{boundTo("limit", "orders")}})
	w.pass(5 * time.Minute)
	before := w.getBinding("limit")
	w.expectReason("limit", v1alpha1.ReasonReady)

	// The old cluster is gone with everything in it, finalizers included.
	before.Finalizers = nil
	if err := w.client.Update(w.ctx, before); err != nil {
		t.Fatal(err)
	}
	if err := w.client.Delete(w.ctx, before); err != nil {
		t.Fatal(err)
	}
	w.restart()
	rebuilt := boundTo("limit", "orders")
	rebuilt.UID = types.UID("another")
	mark := w.kong.Journal().Mark()
	w.create(rebuilt)
	w.pass(10 * time.Minute)
	w.expectReason("limit", v1alpha1.ReasonReady)
	if after := w.getBinding("limit"); after.Status.PluginID != before.Status.PluginID {
		t.Errorf("the ID was %s and is %s", before.Status.PluginID, after.Status.PluginID)
	}
	if n := w.writes(mark); n != 0 {
		t.Errorf("%d writes, want none", n)
	}

	// A change that somebody makes is written, with the UID of the binding.
	changed := w.getBinding("limit")
	enabled := false
	changed.Spec.Enabled, changed.Generation = &enabled, changed.Generation+1
	if err := w.client.Update(w.ctx, changed); err != nil {
		t.Fatal(err)
	}
	w.enqueue(request{key: client.ObjectKeyFromObject(changed)})
	w.pass(time.Minute)
	if n := w.writes(mark); n != 1 {
		t.Errorf("%d writes for a change, want one", n)
	}
}
