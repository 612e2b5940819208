package root

import "testing"

// Whatever the environment asks for, client-go logs no header and no body.
func TestVerbosity(t *testing.T) {
	for asked, want := range map[string]int{"": 0, "x": 0, "-1": 0, "0": 0, "4": 4, "6": 6, "7": 6, "8": 6, "10": 6} {
		if got := verbosity(asked); got != want {
			t.Errorf("%q: %d, want %d", asked, got, want)
		}
	}
}
