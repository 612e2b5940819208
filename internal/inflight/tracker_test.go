package controllers

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

const longest = 10 * time.Second

func bindingOf(name string, uid types.UID) *v1alpha1.PluginBinding {
	return &v1alpha1.PluginBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: uid}}
}

// ledgerAt is an empty ledger of a process that has led for long, and its clock.
func ledgerAt() (*Ledger, *clocktesting.FakePassiveClock) {
	clock := clocktesting.NewFakePassiveClock(time.Unix(1_000_000, 0))
	return NewLedger(clock, clock.Now().Add(-time.Hour)), clock
}

// An earlier leader's write can be under way for as long as a write may take.
func TestAProcessThatBeginsToLeadWaits(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Unix(1_000, 0))
	l, limits := NewLedger(clock, time.Time{}), bindingOf("limits", "1")
	l.Begin()
	early := l.Now()
	clock.SetTime(clock.Now().Add(4 * time.Second))
	l.Begin() // counts once
	if got := l.QuietIn(limits, longest); got != 6*time.Second {
		t.Errorf("quiet in %v", got)
	}
	clock.SetTime(clock.Now().Add(6 * time.Second))
	if got := l.QuietIn(limits, longest); got > 0 {
		t.Errorf("quiet in %v, long after it began", got)
	}
	// What was read at the beginning may lack what landed since, and what it shows is there.
	if !l.MayRely(limits, early, "") || !l.MayMiss(limits, early, longest) || l.MayMiss(limits, l.Now(), longest) {
		t.Error("the first reading is believed too much, or too little")
	}
}

func TestAWriteInDoubtIsOutwaited(t *testing.T) {
	l, clock := ledgerAt()
	limits, again, other := bindingOf("limits", "1"), bindingOf("limits", "2"), bindingOf("other", "3")
	if got := l.QuietIn(limits, longest); got > 0 {
		t.Fatalf("quiet in %v without any write", got)
	}
	l.MayLand(limits, clock.Now().Add(longest))
	l.MayLand(limits, clock.Now().Add(time.Second)) // an earlier end takes nothing back
	// Whatever is known of the object: one that is made again under the name has to wait.
	l.Wrote(limits)
	l.Forget(client.ObjectKeyFromObject(limits))
	l.Wrote(again)
	if got := l.QuietIn(again, longest); got != longest {
		t.Errorf("quiet in %v", got)
	}
	if got := l.QuietIn(other, longest); got > 0 {
		t.Errorf("another binding is quiet in %v", got)
	}
}

// A reading speaks for a plugin only if it began after the last write for that name.
func TestAReadingFromBeforeAWriteDoesNotCount(t *testing.T) {
	l, clock := ledgerAt()
	limits, again, other := bindingOf("limits", "1"), bindingOf("limits", "2"), bindingOf("other", "3")
	before := l.Now()
	l.Wrote(limits)
	after := l.Now()
	if l.MayRely(limits, before, "") || !l.MayRely(limits, after, "") || !l.MayRely(other, before, "") {
		t.Error("the order of readings and writes is not kept")
	}
	if l.MayRely(again, before, "") || !l.MayRely(again, after, "") {
		t.Error("what was written for the binding before this one is forgotten")
	}
	if !l.MayResolve(limits, before, "") {
		t.Error("a write does not change what the scope means")
	}
	l.Misled(other)
	if l.MayResolve(other, after, "") || l.MayRely(other, after, "") || !l.MayResolve(other, l.Now(), "") {
		t.Error("a reading that was found wrong is believed")
	}
	clock.SetTime(clock.Now().Add(oldest))
	if l.MayRely(limits, after, "") || l.MayResolve(limits, after, "") {
		t.Error("a reading of yesterday is believed")
	}
}

func TestWhatIsKnownOfAnObjectGoesWithIt(t *testing.T) {
	l, _ := ledgerAt()
	limits, again := bindingOf("limits", "1"), bindingOf("limits", "2")
	l.InForce(limits, 42, "s@1", "")
	if !l.SameSecrets(limits, "s@1") || l.SameSecrets(limits, "s@2") || l.SameSecrets(again, "s@1") || l.Fingerprint(again) != 0 {
		t.Error("what was in force is mixed up")
	}
	if l.MayRely(limits, l.Now(), "now") || !l.MayRely(again, l.Now(), "now") {
		t.Error("a look that was asked for since has not been taken")
	}
	l.Wrote(again)
	if l.Fingerprint(limits) != 0 || l.Fingerprint(again) != 0 {
		t.Error("the fingerprint of the one before is kept")
	}
}

func TestBindingsThatAreGoneAreDropped(t *testing.T) {
	l, clock := ledgerAt()
	limits, other := bindingOf("limits", "1"), bindingOf("other", "2")
	l.Wrote(limits)
	l.Forget(client.ObjectKeyFromObject(limits))
	clock.SetTime(clock.Now().Add(oldest + time.Second))
	l.Wrote(other)
	l.Forget(client.ObjectKeyFromObject(other))
	if len(l.entries) != 1 || l.entries[types.NamespacedName{Namespace: "shop", Name: "other"}] == nil {
		t.Errorf("%v", l.entries)
	}
}

func TestWhatThisProcessHasSentCanStillBeDone(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Unix(1_000, 0))
	l, binding := NewLedger(clock, time.Time{}), bindingOf("limits", "1")
	l.Begin()
	if l.Sent(binding) {
		t.Error("it has only begun to lead")
	}
	l.MayLand(binding, clock.Now().Add(time.Second))
	if !l.Sent(binding) || !l.Sent(bindingOf("limits", "2")) || l.Sent(bindingOf("other", "3")) {
		t.Error("a write of unknown outcome counts for its name")
	}
	clock.SetTime(clock.Now().Add(time.Second))
	if l.Sent(binding) {
		t.Error("it cannot be done any more")
	}
}
