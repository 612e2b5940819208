package inflight

import (
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestWhatAnEarlierLeaderLeft(t *testing.T) {
	old, finalized, again := bindingOf("old", "1"), bindingOf("limits", "2"), bindingOf("limits", "3")
	for name, tc := range map[string]struct {
		inherited Inherited
		waits     []client.Object
	}{
		"unknown":   {Unknown, []client.Object{old, finalized, again}},
		"no writes": {NoWrites, nil},
		// A binding that was made again did not get its finalizer from this process, whatever its name.
		"no leader": {NoLeader, []client.Object{old, again}},
	} {
		t.Run(name, func(t *testing.T) {
			clock := clocktesting.NewFakePassiveClock(time.Unix(1_000, 0))
			tracker := NewTracker(clock, time.Time{})
			tracker.Lead(tc.inherited)
			tracker.Begin() // knows nothing, and changes nothing
			tracker.MarkWritten(old)
			tracker.AddedFinalizer(finalized)
			snapshot, want := tracker.Now(), map[client.Object]bool{}
			for _, binding := range tc.waits {
				want[binding] = true
			}
			for _, binding := range []client.Object{old, finalized, again} {
				if got := tracker.InFlightFor(binding, longestWrite) > 0; got != want[binding] {
					t.Errorf("%s %s: waits %v", binding.GetName(), binding.GetUID(), got)
				}
				if got := tracker.MayMissWrite(binding, snapshot, longestWrite); got != want[binding] {
					t.Errorf("%s %s: a snapshot may miss a write: %v", binding.GetName(), binding.GetUID(), got)
				}
			}
			tracker.MarkInFlight(finalized, clock.Now().Add(time.Second))
			if tracker.InFlightFor(finalized, longestWrite) <= 0 || tracker.InFlightFor(again, longestWrite) <= 0 {
				t.Error("a write of its own is forgotten")
			}
		})
	}
}

// When a process ends, Kong may still apply what it sent, and what was sent before it led.
func TestWhatAProcessLeaves(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Unix(1_000, 0))
	pass := func(d time.Duration) { clock.SetTime(clock.Now().Add(d)) }
	tracker := NewTracker(clock, time.Time{})
	want := func(own, all bool, when string) {
		t.Helper()
		if tracker.OwnEnded() != own || tracker.AllEnded() != all {
			t.Errorf("%s: its own have ended: %v; all have ended: %v", when, !own, !all)
		}
	}
	want(true, false, "before it leads")
	for _, inherited := range []Inherited{Unknown, NoLeader} {
		tracker.Lead(inherited)
		pass(LongestWrite - 1)
		want(true, false, "while a write of its predecessor may be in flight")
		pass(1)
		want(true, true, "when it has led for as long as a write takes")
	}
	tracker.Lead(NoWrites)
	want(true, true, "after a leader that left nothing")
	first, second := tracker.Sending(), tracker.Sending()
	first(false)
	want(false, false, "while a write is under way")
	second(true)
	pass(LongestWrite - 1)
	want(false, false, "while Kong may apply a write without a response")
	tracker.Sending()(false)
	want(false, false, "after a write that ended")
	pass(1)
	want(true, true, "when Kong cannot apply it any more")
}
