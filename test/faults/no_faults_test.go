package faults

import (
	"net/http"
	"testing"
)

// scenariosWithoutFaults run without faults only. In each of them somebody else interferes with
// the operator, which promises nothing about a fault at the same time.
var scenariosWithoutFaults = []scenario{
	{
		name: "stripped-during-the-post", setup: withGateway, check: expectNothingLeft,
		act: func(sim *simulation) {
			sim.duringCall = map[string]func(){kongCreatePlugin: func() { sim.removeForcibly(limitBinding()) }}
			sim.create(newBinding("limit"))
		},
	},
	{
		// The cache still shows the binding that is being deleted. Another binding with the
		// same plugin ID has replaced it.
		name: "recreated-unseen-during-a-deletion", setup: func(sim *simulation) { withReadyBinding()(sim); rememberID(sim) },
		act: func(sim *simulation) {
			old := asBinding(sim.stored[sim.bindingID("limit")]).DeepCopy()
			sim.delete(limitBinding())
			sim.staleReconciles = 8
			sim.removeForcibly(limitBinding())
			restoreFromBackup(sim, old)
		},
		check: func(sim *simulation) {
			if n := sim.kong.server.Journal().Count(http.MethodDelete, "/plugins/{id}"); n > 0 {
				sim.violation("%d plugins were deleted, and none was to be", n)
			}
		},
	},
}

func TestPlain(t *testing.T) {
	for _, s := range scenariosWithoutFaults {
		t.Run(s.name, func(t *testing.T) { s.runBaseline(t) })
	}
}
