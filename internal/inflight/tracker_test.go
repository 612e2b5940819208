package inflight

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const longestWrite = 10 * time.Second

func bindingOf(name string, uid types.UID) client.Object {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: uid}}
}

// newTracker is an empty tracker of a process that has led for long, and its clock.
func newTracker() (*Tracker, *clocktesting.FakePassiveClock) {
	clock := clocktesting.NewFakePassiveClock(time.Unix(1_000_000, 0))
	return NewTracker(clock, clock.Now().Add(-time.Hour)), clock
}

// A write of an earlier leader can be in flight for as long as a write may take.
func TestANewLeaderWaitsForItsPredecessorsWrites(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Unix(1_000, 0))
	tracker, limits := NewTracker(clock, time.Time{}), bindingOf("limits", "1")
	tracker.Begin()
	early := tracker.Now()
	clock.SetTime(clock.Now().Add(4 * time.Second))
	tracker.Begin() // counts once
	if got := tracker.InFlightFor(limits, longestWrite); got != 6*time.Second {
		t.Errorf("in flight for %v", got)
	}
	clock.SetTime(clock.Now().Add(6 * time.Second))
	if got := tracker.InFlightFor(limits, longestWrite); got > 0 {
		t.Errorf("in flight for %v, long after the process began to lead", got)
	}
	// A snapshot from the beginning may lack a write that landed since. A later one may not.
	if !tracker.MayMissWrite(limits, early, longestWrite) || tracker.MayMissWrite(limits, tracker.Now(), longestWrite) {
		t.Error("the first snapshot is trusted too much, or a later one too little")
	}
}

func TestAWriteOfUnknownOutcomeStaysInFlight(t *testing.T) {
	tracker, clock := newTracker()
	limits, again, other := bindingOf("limits", "1"), bindingOf("limits", "2"), bindingOf("other", "3")
	if got := tracker.InFlightFor(limits, longestWrite); got > 0 {
		t.Fatalf("in flight for %v without any write", got)
	}
	tracker.MarkInFlight(limits, clock.Now().Add(longestWrite))
	tracker.MarkInFlight(limits, clock.Now().Add(time.Second)) // an earlier end shortens nothing
	// The write counts for the name: a binding that is made again under it has to wait.
	tracker.MarkWritten(limits)
	tracker.Forget(client.ObjectKeyFromObject(limits))
	tracker.MarkWritten(again)
	if got := tracker.InFlightFor(again, longestWrite); got != longestWrite {
		t.Errorf("in flight for %v", got)
	}
	if got := tracker.InFlightFor(other, longestWrite); got > 0 {
		t.Errorf("another binding has a write in flight for %v", got)
	}
}

func TestOrderOfWritesAndSnapshots(t *testing.T) {
	tracker, clock := newTracker()
	limits, again, other := bindingOf("limits", "1"), bindingOf("limits", "2"), bindingOf("other", "3")
	before := tracker.Now()
	tracker.MarkWritten(limits)
	after := tracker.Now()
	if !tracker.WrittenSince(limits, before) || tracker.WrittenSince(limits, after) || tracker.WrittenSince(other, before) {
		t.Error("the order of snapshots and writes is not kept")
	}
	if !tracker.WrittenSince(again, before) || tracker.WrittenSince(again, after) {
		t.Error("a write for the earlier binding of that name is forgotten")
	}
	if tracker.ScopeInvalidatedSince(limits, before) {
		t.Error("a write does not change what the scope means")
	}
	tracker.InvalidateScope(other)
	if !tracker.ScopeInvalidatedSince(other, after) || tracker.ScopeInvalidatedSince(other, tracker.Now()) {
		t.Error("a snapshot that was found wrong is trusted, or a later one is not")
	}
	clock.SetTime(clock.Now().Add(MaxSnapshotAge))
	if tracker.IsCurrent(after) || !tracker.IsCurrent(tracker.Now()) {
		t.Error("a snapshot of yesterday is current, or one of now is not")
	}
}

func TestEntriesOfDeletedBindingsArePruned(t *testing.T) {
	tracker, clock := newTracker()
	limits, other := bindingOf("limits", "1"), bindingOf("other", "2")
	tracker.MarkWritten(limits)
	tracker.Forget(client.ObjectKeyFromObject(limits))
	clock.SetTime(clock.Now().Add(MaxSnapshotAge + time.Second))
	tracker.MarkWritten(other)
	tracker.Forget(client.ObjectKeyFromObject(other))
	if len(tracker.entries) != 1 || tracker.entries[client.ObjectKeyFromObject(other)] == nil {
		t.Errorf("%v", tracker.entries)
	}
}

// Somebody may create and delete bindings all day. What is forgotten about them proves nothing.
func TestEntriesOfDeletedBindingsAreBounded(t *testing.T) {
	tracker, clock := newTracker()
	limits, stays, open := bindingOf("limits", "1"), bindingOf("stays", "2"), bindingOf("open", "3")
	tracker.MarkWritten(stays)
	tracker.MarkInFlight(open, clock.Now().Add(longestWrite))
	tracker.Forget(client.ObjectKeyFromObject(open))
	before := tracker.Now()
	tracker.MarkWritten(limits)
	tracker.Forget(client.ObjectKeyFromObject(limits))
	for i := range maxGone {
		deleted := bindingOf(fmt.Sprint(i), "4")
		tracker.MarkWritten(deleted)
		tracker.Forget(client.ObjectKeyFromObject(deleted))
		if n := len(tracker.entries); n > maxGone+2 {
			t.Fatalf("%d entries", n)
		}
	}
	if n := len(tracker.entries); n > 10 || !tracker.HasInFlight(open) {
		t.Errorf("%d entries; a write in flight is remembered: %t", n, tracker.HasInFlight(open))
	}
	if !tracker.WrittenSince(limits, before) || !tracker.ScopeInvalidatedSince(limits, before) {
		t.Error("an old snapshot is trusted about a binding that was forgotten")
	}
	if after := tracker.Now(); tracker.WrittenSince(limits, after) || tracker.ScopeInvalidatedSince(stays, after) || tracker.WrittenSince(stays, after) {
		t.Error("a new snapshot is not trusted")
	}
	tracker.MarkWritten(open) // it was made again
	if tracker.gone != len(tracker.entries)-2 {
		t.Errorf("%d of %d entries count as gone", tracker.gone, len(tracker.entries))
	}
}

func TestHasInFlightCountsOnlyThisProcess(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Unix(1_000, 0))
	tracker, binding := NewTracker(clock, time.Time{}), bindingOf("limits", "1")
	tracker.Begin()
	if tracker.HasInFlight(binding) {
		t.Error("the process has only begun to lead")
	}
	tracker.MarkInFlight(binding, clock.Now().Add(time.Second))
	if !tracker.HasInFlight(binding) || !tracker.HasInFlight(bindingOf("limits", "2")) || tracker.HasInFlight(bindingOf("other", "3")) {
		t.Error("a write of unknown outcome counts for its name, and for no other")
	}
	clock.SetTime(clock.Now().Add(time.Second))
	if tracker.HasInFlight(binding) {
		t.Error("Kong cannot apply the write any more")
	}
}

func TestAPluginIsReservedOnce(t *testing.T) {
	tracker, _ := newTracker()
	first, second := types.NamespacedName{Namespace: "shop", Name: "first"}, types.NamespacedName{Namespace: "shop", Name: "second"}
	reserve := func(by types.NamespacedName, plugin string, want types.NamespacedName) {
		t.Helper()
		if got := tracker.Reserve(by, plugin); got != want {
			t.Errorf("%s reserves %s: %s holds it, want %s", by, plugin, got, want)
		}
	}
	reserve(first, "p", first)
	reserve(second, "p", first)
	reserve(first, "p", first)
	reserve(first, "q", first) // which releases p
	reserve(second, "p", second)
	tracker.Unreserve(second)
	tracker.Unreserve(second)
	reserve(first, "p", first)
	tracker.Forget(first)
	reserve(second, "p", second)
	reserve(second, "q", second)
	if len(tracker.reservations.holders) != 1 || len(tracker.reservations.plugins) != 1 {
		t.Errorf("%+v", tracker.reservations)
	}
}
