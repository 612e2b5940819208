package pluginbinding

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// earlierWrite is why the operator waits for in-flight writes.
const earlierWrite = "Kong may still apply an earlier write"

// startsOwnership are the operations that give the binding a plugin without its ownership
// tags.
var startsOwnership = []identity.Operation{identity.Create, identity.Adopt, identity.TakeOver}

// decide asks the pure function. While Kong may still apply an earlier write, the operator does
// not create, adopt or take over a plugin: the earlier write may use an instance name and a
// scope that the operator did not look up, and its plugin would be a duplicate. If a plugin
// already carries this binding's ownership tags, the operator records it immediately.
func (r *Reconciler) decide(s *state) (identity.Action, *stepResult) {
	action := identity.Decide(s.observed.facts)
	if result := checkAction(s, action); result != nil {
		if action.Adopts != identity.Unknown { // the resync looks at that plugin, for all that wait
			s.applied.conflict, result.requeueAfter = r.conflictStatus(action.ID, action.Owner), s.untilFirstResync()
		}
		return action, result
	}
	if result := s.checkClaims(action); result != nil {
		return action, result
	}
	if s.observed.inFlightFor > 0 && !reference.IsObserved(s.binding) && (action.Adopts != identity.Unknown || slices.Contains(startsOwnership, action.Operation)) {
		return action, s.waitForInFlightWrites()
	}
	return action, nil
}

// inFlightFor is how long Kong may still apply an earlier write for this binding.
func (r *Reconciler) inFlightFor(s *state) time.Duration {
	return r.InFlight.InFlightFor(s.binding, s.access.connection.LongestWrite())
}

// canSkipLookup reports whether querying Kong now is pointless, provided that this process has
// no write in flight for the binding. It is pointless when the operator may not create or adopt
// yet and the snapshot shows no plugin with this binding's ownership tags. A new leader with
// thousands of new bindings therefore queries Kong once per binding, after the wait, and not
// also before it.
func (s *state) canSkipLookup() bool {
	snapshot := s.access.connection.Snapshot
	return s.observed.inFlightFor > 0 && s.observed.facts.Recorded == "" && !reference.IsObserved(s.binding) &&
		snapshot != nil && !snapshot.Owns(s.identity)
}

// waitForInFlightWrites waits for an earlier write. A binding without conditions keeps none
// while it waits. A binding whose last write Kong did not answer keeps the conditions that say
// so.
func (s *state) waitForInFlightWrites() *stepResult {
	ready := meta.FindStatusCondition(s.binding.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.Reason == v1alpha1.ReasonKongUnavailable && ready.ObservedGeneration == s.binding.Generation {
		return &stepResult{requeueWithBackoff: true, requeueAfter: s.observed.inFlightFor}
	}
	return &stepResult{
		condition:      v1alpha1.ConditionProgrammed,
		unknown:        true,
		keepConditions: true,
		reason:         v1alpha1.ReasonProgramming,
		message:        "waiting before creating or adopting a plugin: " + earlierWrite,
		requeueAfter:   s.observed.inFlightFor,
	}
}
