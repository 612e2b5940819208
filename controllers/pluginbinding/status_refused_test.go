package pluginbinding_test

import "testing"

// While the API server refuses the status, each retry looks at the plugin in the snapshot. Kong gets
// no request for it.
func TestARefusedStatusCostsKongNothing(t *testing.T) {
	w := newWorld(t)
	binding := w.binding("a", onRoute("s1-a"))
	w.settle(2, binding)
	w.restartWithSnapshot()
	binding.Status.Conditions = nil // so that there is something to write
	w.must(w.kube.Status().Update(t.Context(), binding))
	w.refuseStatus = true
	mark := w.kong.Journal().Mark()
	for range 5 {
		if _, err := w.reconcile(binding); err == nil {
			t.Fatal("the status was to be refused")
		}
	}
	if n := w.countSince(mark, ""); n > 1 {
		t.Errorf("%d requests; at most the schema, once", n)
	}
	w.refuseStatus = false
	w.settle(1, binding)
}
