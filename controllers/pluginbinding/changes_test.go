package pluginbinding_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/internal/fairqueue"
)

// After a restart every binding may have changed. The one that somebody changes meanwhile does not
// wait for them.
func TestAChangeComesBeforeWhatHadChangedBefore(t *testing.T) {
	w := newWorld(t)
	gateway := types.NamespacedName{Namespace: namespace, Name: "kong"}
	first, changed := w.binding("first", onRoute("s1-a")), w.binding("changed", onRoute("s2-a"))
	// next makes both wait for a worker and returns the one that gets it.
	next := func() string {
		t.Helper()
		limiter := fairqueue.NewLimiter(16, 1)
		w.reconcilers.Bindings.Limiter = limiter
		if !limiter.TryAcquire(gateway, types.NamespacedName{Name: "holder"}, false) {
			t.Fatal("no worker is free")
		}
		w.inTurn(1, first, changed)
		called := limiter.Release(gateway)
		if len(called) != 1 {
			t.Fatalf("Release returned %v", called)
		}
		return called[0].Name
	}
	if got := next(); got != "first" {
		t.Errorf("%s comes before the one that waits longer", got)
	}
	w.reconcilers.Bindings.NoteChange(client.ObjectKeyFromObject(changed), 1)
	if got := next(); got != "changed" {
		t.Errorf("%s comes before the one that somebody changed", got)
	}
	w.reconcilers.Bindings.Limiter = fairqueue.NewLimiter(16, 1)
	w.settle(3, changed)
	if got := next(); got != "first" {
		t.Errorf("%s is urgent after its change is done", got)
	}
}
