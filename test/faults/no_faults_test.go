package faults

import (
	"net/http"
	"testing"
)

// plain scenarios are told without faults only: somebody else goes where the operator is,
// and what comes of it together with a fault is not promised.
var plain = []scenario{
	{
		name: "stripped-during-the-post", before: ready, check: nothingOfOurs,
		act: func(w *world) {
			w.during = map[string]func(){"G4": func() { w.strip(limit()) }}
			w.create(newBinding("limit"))
		},
	},
	{
		// The cache still shows the binding that is being deleted, in whose place there is
		// another with the same ID.
		name: "recreated-unseen-during-a-deletion", before: func(w *world) { boundAs()(w); remember(w) },
		act: func(w *world) {
			old := asBinding(w.truth[w.bindingID("limit")]).DeepCopy()
			w.delete(limit())
			w.stale = 8
			w.strip(limit())
			fromBackup(w, old)
		},
		check: func(w *world) {
			if n := w.bench.server.Journal().Count(http.MethodDelete, "/plugins/{id}"); n > 0 {
				w.violation("%d plugins were deleted, and none was to be", n)
			}
		},
	},
}

func TestPlain(t *testing.T) {
	for _, s := range plain {
		t.Run(s.name, func(t *testing.T) { s.clean(t) })
	}
}
