package plugin

import (
	"strings"
	"testing"
)

func TestFingerprint(t *testing.T) {
	for _, x := range exchanges(t) {
		have := x.answered()
		s := schemaOf(t, have.Name)
		first := Fingerprint(have)
		if first == 0 {
			t.Errorf("%s: 0 means not known", have.Name)
		}
		shuffled := clone(t, have)
		shuffleSets(s.config, shuffled.Config)
		shuffleStrings(shuffled.Protocols)
		if Fingerprint(shuffled) != first {
			t.Errorf("%s: another one with sets in another order", have.Name)
		}
		for i := range leaves(s.config, "config", have.Config) {
			edited := clone(t, have)
			l := leaves(s.config, "config", edited.Config)[i]
			l.set(changed(l.value))
			if Fingerprint(edited) == first {
				t.Errorf("%s: the same with %s changed", have.Name, l.at)
			}
		}
		written := have
		written.UpdatedAt++
		if Fingerprint(written) == first {
			t.Errorf("%s: the same although it was written to", have.Name)
		}
	}
}

// Lists inside each other once doubled the work with each level.
func TestFingerprintOfNestedLists(t *testing.T) {
	var deep, other any = "x", "y"
	for range 200 {
		deep, other = []any{deep, `"`}, []any{other, `"`}
	}
	first := Fingerprint(Plugin{Config: map[string]any{"a": deep}})
	if first != Fingerprint(Plugin{Config: map[string]any{"a": clone(t, deep)}}) || first == Fingerprint(Plugin{Config: map[string]any{"a": other}}) {
		t.Error("not that of the value")
	}
}

// Values that are alike have fingerprints of their own.
func TestFingerprintTellsKindsApart(t *testing.T) {
	seen := map[uint64]any{}
	for _, value := range []any{
		nil, true, false, 0.0, 1.0, "", "0", "true", []any{}, map[string]any{}, []any{nil}, []any{""}, map[string]any{"": nil},
		map[string]any{"a": "b"}, map[string]any{"b": "a"}, []any{"a", "b"}, []any{"a", "a", "b"}, []any{[]any{"a"}, "b"}, strings.Repeat("a", 100),
	} {
		got := Fingerprint(Plugin{Config: map[string]any{"x": value}})
		if other, twice := seen[got]; twice {
			t.Errorf("%#v and %#v", other, value)
		}
		seen[got] = value
	}
}
