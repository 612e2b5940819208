package absence

import (
	"strconv"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
)

func TestAbsenceNeedsTwoAnswers(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Unix(1_000, 0))
	tracker, key := NewTracker(clock), types.NamespacedName{Namespace: "shop", Name: "limits"}
	after := func(d time.Duration, want time.Duration) {
		t.Helper()
		clock.SetTime(clock.Now().Add(d))
		if got := tracker.Missing(key); got != want {
			t.Errorf("wait %v, want %v", got, want)
		}
	}
	after(0, Confirmation)
	after(20*time.Second, 40*time.Second)
	after(40*time.Second, 0)
	after(time.Hour, 0)
	tracker.Exists(key)
	after(0, Confirmation)
}

func TestMemoryIsBounded(t *testing.T) {
	tracker := NewTracker(clocktesting.NewFakePassiveClock(time.Unix(1_000, 0)))
	for i := range 3 * maxEntries {
		tracker.Missing(types.NamespacedName{Name: strconv.Itoa(i)})
		if len(tracker.first) > maxEntries {
			t.Fatalf("%d entries", len(tracker.first))
		}
	}
}
