package model

import (
	"strings"
	"testing"
)

// rivalStart has both policies. A policy in force has its binding, and its plugin is in Kong.
func rivalStart(olderNames, youngerNames bool, inForce int, left map[rivalEvent]uint8) rivalState {
	var s rivalState
	s.policies[0] = rivalPolicy{exists: true, names: olderNames}
	s.policies[1] = rivalPolicy{exists: true, names: youngerNames, conflicted: inForce == 0}
	if inForce >= 0 {
		s.ids, s.plugin, s.owner = 1, 1, uint8(inForce)
		s.bindings[inForce] = rivalBinding{exists: true, born: 1, plugin: 1}
	}
	for e, n := range left {
		s.left[e] = n
	}
	return s
}

const nobody = -1

var rivalScenarios = []struct {
	name  string
	start rivalState
}{
	{"both are made at once", rivalStart(true, true, nobody, map[rivalEvent]uint8{rivalCrash: 1, rivalHang: 1})},
	{"the older one comes", rivalStart(false, true, 1, map[rivalEvent]uint8{olderNames: 1, rivalCrash: 1, rivalHang: 1})},
	{"the older one comes and goes", rivalStart(false, true, 1, map[rivalEvent]uint8{olderNames: 1, olderForgets: 1, rivalCrash: 1})},
	{"the older one is deleted", rivalStart(true, true, 0, map[rivalEvent]uint8{olderDeleted: 1, rivalCrash: 1, rivalHang: 1})},
	{"the older one leaves and comes back", rivalStart(true, true, 0, map[rivalEvent]uint8{olderForgets: 1, olderNames: 1, rivalCrash: 1})},
	{"both are deleted", rivalStart(false, true, 1, map[rivalEvent]uint8{olderNames: 1, olderDeleted: 1, youngerGoes: 1})},
	{"the plugin is deleted on the way", rivalStart(false, true, 1, map[rivalEvent]uint8{olderNames: 1, pluginDeleted: 1, waitIsOver: 1})},
	{"an annotation comes on the way", rivalStart(true, true, nobody, map[rivalEvent]uint8{claim: 1, olderDeleted: 1})},
}

func TestRivals(t *testing.T) {
	for _, sc := range rivalScenarios {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			states, wrong, trace := exploreRivals(&rivalWorld{}, sc.start)
			if wrong != "" {
				t.Errorf("%s, after %d steps:\n%s", wrong, len(trace), strings.Join(trace, "\n"))
			}
			t.Logf("%d states", states)
		})
	}
}

func TestWrongRivalsAreFound(t *testing.T) {
	comes := rivalStart(false, true, 1, map[rivalEvent]uint8{olderNames: 1})
	goes := rivalStart(true, true, 0, map[rivalEvent]uint8{olderDeleted: 1})
	for _, sc := range []struct {
		name     string
		protocol rivalProtocol
		start    rivalState
		finds    string
	}{
		{"deletes before the older one has the plugin", rivalProtocol{deletesAtOnce: true, waitsForNobody: true, noGrace: true}, comes, "is deleted although the other policy wants it"},
		{"replaces nobody", rivalProtocol{replacesNobody: true}, comes, "the plugin of the older policy is not in force"},
		{"a deletion waits for no replacement", rivalProtocol{waitsForNobody: true}, goes, "is deleted although the other policy wants it"},
		{"a deletion waits for no policy", rivalProtocol{noGrace: true}, goes, "is deleted although the other policy wants it"},
		{"a deletion deletes what the other one has recorded", rivalProtocol{keepsNothing: true}, rivalStart(false, true, 1, map[rivalEvent]uint8{olderNames: 1, olderForgets: 1}), "is deleted although the other policy wants it"},
		{"both are reconciled at once", rivalProtocol{noLock: true}, rivalStart(true, true, nobody, nil), "409"},
		{"ignores annotations", rivalProtocol{ignoresClaims: true}, rivalStart(true, true, nobody, map[rivalEvent]uint8{claim: 1}), "where an annotation stands"},
	} {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			states, wrong, trace := exploreRivals(&rivalWorld{protocol: sc.protocol}, sc.start)
			if !strings.Contains(wrong, sc.finds) || wrong == "" {
				t.Errorf("in %d states %q, want %q:\n%s", states, wrong, sc.finds, strings.Join(trace, "\n"))
			}
		})
	}
}
