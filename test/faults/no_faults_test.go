package faults

import (
	"net/http"
	"testing"
)

// scenariosWithoutFaults scenarios are told without faults only: somebody else goes where the operator is,
// and what comes of it together with a fault is not promised.
var scenariosWithoutFaults = []scenario{
	{
		name: "stripped-during-the-post", setup: withGateway, check: expectNothingLeft,
		act: func(sim *simulation) {
			sim.duringCall = map[string]func(){kongCreatePlugin: func() { sim.removeForcibly(limitBinding()) }}
			sim.create(newBinding("limit"))
		},
	},
	{
		// The cache still shows the binding that is being deleted, in whose place there is
		// another with the same ID.
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
