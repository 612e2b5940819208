package controllers

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
)

var (
	limits = types.NamespacedName{Namespace: "shop", Name: "limits"}
	other  = types.NamespacedName{Namespace: "shop", Name: "other"}
)

const longest = 10 * time.Second

// An earlier leader's write can be under way for as long as a write may take.
func TestAProcessThatBeginsToLeadWaits(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Unix(1_000, 0))
	l := NewLedger(clock, time.Time{})
	l.Begin()
	clock.SetTime(clock.Now().Add(4 * time.Second))
	l.Begin() // counts once
	if got := l.QuietIn(limits, longest); got != 6*time.Second {
		t.Errorf("quiet in %v", got)
	}
	clock.SetTime(clock.Now().Add(6 * time.Second))
	if got := l.QuietIn(limits, longest); got > 0 {
		t.Errorf("quiet in %v, long after it began", got)
	}
}

func TestAWriteInDoubtIsOutwaited(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Unix(1_000, 0))
	l := NewLedger(clock, clock.Now().Add(-time.Hour))
	if got := l.QuietIn(limits, longest); got > 0 {
		t.Fatalf("quiet in %v without any write", got)
	}
	l.MayLand(limits, clock.Now().Add(longest))
	l.MayLand(limits, clock.Now().Add(time.Second)) // an earlier end takes nothing back
	// Whatever is known of the object: one that is made again under the name has to wait.
	l.Wrote("uid-1")
	l.Forget("uid-1")
	if got := l.QuietIn(limits, longest); got != longest {
		t.Errorf("quiet in %v", got)
	}
	if got := l.QuietIn(other, longest); got > 0 {
		t.Errorf("another binding is quiet in %v", got)
	}
	clock.SetTime(clock.Now().Add(longest + time.Second))
	l.MayLand(other, clock.Now().Add(longest))
	if len(l.lands) != 1 {
		t.Errorf("what is over is kept: %v", l.lands)
	}
}

// A reading speaks for a plugin only if it began after the last write.
func TestAReadingFromBeforeAWriteDoesNotCount(t *testing.T) {
	l := NewLedger(clocktesting.NewFakePassiveClock(time.Unix(1_000, 0)), time.Time{})
	before := l.Tick()
	l.Wrote("uid-1")
	after := l.Tick()
	if l.MayRely("uid-1", before, "") || !l.MayRely("uid-1", after, "") || !l.MayRely("uid-2", before, "") {
		t.Error("the order of readings and writes is not kept")
	}
	if !l.MayResolve("uid-1", before, "") {
		t.Error("a write does not change what the scope means")
	}
	l.Misled("uid-3")
	if l.MayResolve("uid-3", after, "") || l.MayRely("uid-3", after, "") || !l.MayResolve("uid-3", l.Tick(), "") {
		t.Error("a reading that was found wrong is believed")
	}
	l.InForce("uid-1", 42, "s@1", "")
	if l.MayRely("uid-1", after, "now") {
		t.Error("somebody has asked for a look since")
	}
	if !l.SameSecrets("uid-1", "s@1") || l.SameSecrets("uid-1", "s@2") || l.SameSecrets("uid-2", "") {
		t.Error("versions of Secrets are mixed up")
	}
}
