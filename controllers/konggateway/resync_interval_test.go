package konggateway

import (
	"testing"
	"time"
)

func TestResyncInterval(t *testing.T) {
	for name, tc := range map[string]struct {
		took []time.Duration
		want time.Duration
	}{
		"none yet":             {nil, time.Minute},
		"fast":                 {[]time.Duration{100 * time.Millisecond}, time.Minute},
		"a fiftieth":           {[]time.Duration{1200 * time.Millisecond}, time.Minute},
		"slow after a start":   {[]time.Duration{time.Hour}, time.Minute},
		"longer":               {[]time.Duration{1300 * time.Millisecond, 1300 * time.Millisecond}, 2 * time.Minute},
		"very long":            {[]time.Duration{time.Second, 13500 * time.Millisecond, 13500 * time.Millisecond, 13500 * time.Millisecond}, 5 * time.Minute},
		"one slow among fast":  {[]time.Duration{time.Second, time.Second, 5 * time.Second}, 2 * time.Minute},
		"always slower":        {[]time.Duration{time.Second, 5 * time.Second, 5 * time.Second, 5 * time.Second, 5 * time.Second}, 4 * time.Minute},
		"fast again":           {[]time.Duration{5 * time.Second, 0, 0, 0, 0, 0}, time.Minute},
		"as fast as the clock": {[]time.Duration{0}, time.Minute},
	} {
		average := time.Duration(0)
		for _, took := range tc.took {
			average = averageResync(average, took, time.Minute)
		}
		if got := resyncIntervalFor(time.Minute, average); got != tc.want {
			t.Errorf("%s: %v, want %v (average %v)", name, got, tc.want, average)
		}
	}
	if got := resyncIntervalFor(24*time.Hour, 24*time.Hour); got != 5*24*time.Hour {
		t.Errorf("a day: %v", got)
	}

	// A restart changes nothing, whatever the first resync after it takes.
	for _, took := range []time.Duration{0, time.Second, time.Hour} {
		if got := resyncIntervalFor(time.Minute, averageResync(0, took, 3*time.Minute)); got != 3*time.Minute {
			t.Errorf("after a restart in which the first resync takes %v: %v", took, got)
		}
	}
}
