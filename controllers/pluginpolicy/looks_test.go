package pluginpolicy

import (
	"strconv"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// lookTimes are the times of the looks after a change at 0, when the entities change at some of them.
func lookTimes(changes func(at time.Duration) bool) []time.Duration {
	var l looks
	began := time.Unix(1_800_000_000, 0)
	now := began
	l.note(lookKey{}, now)
	var times []time.Duration
	for l.dueIn(lookKey{}, now) > 0 {
		if !l.isDue(lookKey{}, now) {
			now = now.Add(l.dueIn(lookKey{}, now))
		}
		at := now.Sub(began)
		times = append(times, at)
		l.looked(lookKey{}, now, changes(at))
	}
	return times
}

func TestLooksGrowAndEnd(t *testing.T) {
	never := lookTimes(func(time.Duration) bool { return false })
	last := never[len(never)-1]
	if never[0] != 0 || last < lookWindow || last > lookWindow+idlePause || len(never) > 60 {
		t.Errorf("%d looks, from %v to %v", len(never), never[0], last)
	}
	for i, at := range never[1:] {
		pause := at - never[i]
		if longest := busyPause; never[i] < busyWindow && pause > longest {
			t.Errorf("a pause of %v at %v", pause, never[i])
		}
		if pause > idlePause {
			t.Errorf("a pause of %v at %v", pause, never[i])
		}
	}

	// The controller writes at its next tick, in two steps; it is quiet after that.
	changed := 0
	settled := lookTimes(func(at time.Duration) bool {
		if at > 3*time.Second && changed < 2 {
			changed++
			return true
		}
		return false
	})
	if end := settled[len(settled)-1]; end < 3*time.Second+settledAfter || end > 5*time.Second+settledAfter {
		t.Errorf("the looks end after %v", end)
	}
}

func TestNoLookWithoutAChange(t *testing.T) {
	var l looks
	now := time.Unix(1_800_000_000, 0)
	l.looked(lookKey{}, now, true)
	if l.isDue(lookKey{}, now) || l.dueIn(lookKey{}, now) != 0 {
		t.Error("a look that nobody asked for begins a series")
	}
}

// Nobody ends the series of a target whose policies are deleted.
func TestLooksOfDeletedPoliciesAreForgotten(t *testing.T) {
	var l looks
	began := time.Unix(1_800_000_000, 0)
	for i := range 100 {
		l.note(lookKey{gateway: types.NamespacedName{Name: strconv.Itoa(i)}}, began.Add(time.Duration(i)*time.Second))
	}
	if limit := int(lookWindow/time.Second) + 1; len(l.of) > limit {
		t.Errorf("%d series, want at most %d", len(l.of), limit)
	}
}
