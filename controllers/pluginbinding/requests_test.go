package pluginbinding_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// A created plugin costs what docs/performance.md says: two reads and a write. While a new leader has
// only a snapshot in which a late write of the earlier leader may be missing, it costs a list by the
// ownership tags more: an object of that name may have been there before, with another instance name.
func TestACreatedPluginCostsTwoReads(t *testing.T) {
	for ledFor, expected := range map[time.Duration]int{0: 3, time.Hour: 2} {
		w := newWorld(t)
		w.ledFor = ledFor
		w.restartWithSnapshot()
		w.clock.Step(30 * time.Second)
		w.settle(2, w.binding("another", onRoute("s2-a"))) // it needs the schema, too
		binding := w.binding("a", onRoute("s1-a"))
		mark := w.kong.Journal().Mark()
		w.settle(2, binding)
		if reads, writes := w.countSince(mark, http.MethodGet), w.countSince(mark, http.MethodPost); reads != expected || writes != 1 {
			for _, request := range w.kong.Journal().Since(mark).Requests {
				t.Log(request.Method, request.Path, request.Query)
			}
			t.Errorf("led for %v: %d reads and %d writes", ledFor, reads, writes)
		}
	}
}

// Observe meets the refusal that Manage would meet, and writes nothing.
func TestObserveReportsARefusal(t *testing.T) {
	w := newWorld(t)
	binding := w.binding("a", onRoute("s1-a"), func(b *v1alpha1.PluginBinding) {
		b.Spec.ManagementPolicy = v1alpha1.ObservePlugin
		b.Spec.Config.Raw = []byte(`{"minute": -5}`)
	})
	w.inTurn(2, binding)
	w.expectReason(binding, v1alpha1.ReasonRejected, "with Manage the operator would create the plugin, but Kong would not accept it: config.minute: ")
	w.change(binding, func(b *v1alpha1.PluginBinding) { b.Spec.Config.Raw = []byte(`{"minute": 5}`) })
	w.inTurn(2, binding)
	w.expectReason(binding, v1alpha1.ReasonWouldChange, "would create the plugin")
	if writes := w.kong.Journal().Writes(); len(writes) > 0 {
		t.Errorf("%d writes", len(writes))
	}
}
