package plugin

import "testing"

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
