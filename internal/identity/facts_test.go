package identity_test

import (
	"iter"
	"slices"

	. "github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// The plugin IDs: P is the recorded one, Q the imported one, R a third.
const (
	idP = "11111111-1111-4111-8111-111111111111"
	idQ = "22222222-2222-4222-8222-222222222222"
	idR = "33333333-3333-4333-8333-333333333333"
)

// Each observation has its own owner. A conflict that names the wrong observation then fails
// the comparison.
var (
	ownerByID   = Owner{Tool: "by-id"}
	ownerByName = Owner{Tool: "by-name"}
	ownerByKey  = Owner{Tool: "by-key"}

	ownerByInstanceName = Owner{Tool: "by-instance-name"}
)

// likeness is how much of a live plugin equals the desired one. The flags of an observation
// are nested: Equal implies SameTraffic, and SameTraffic implies SamePlugin.
type likeness int

const (
	otherPlugin likeness = iota
	otherTraffic
	otherTags
	alike
)

// ownedByGone stands for OwnedByOther with an owner that is gone.
const ownedByGone Ownership = 100

// observations are all possible results of one lookup. Each is combined with all others, also
// where two contradict each other: Kong can change between two lookups.
func observations(owner Owner) []Observation {
	all := []Observation{{Ownership: Unknown}, {Ownership: Absent}}
	for _, ownership := range []Ownership{Owned, Unowned, OwnedByOther, ownedByGone} {
		for _, id := range []string{idP, idQ, idR} {
			for like := otherPlugin; like <= alike; like++ {
				o := Observation{
					Ownership:   ownership,
					ID:          id,
					SamePlugin:  like > otherPlugin,
					SameTraffic: like > otherTraffic,
					Equal:       like == alike,
					Owner:       owner,
				}
				if ownership == ownedByGone {
					o.Ownership, o.OwnerState = OwnedByOther, OwnerGone
				}
				all = append(all, o)
			}
		}
	}
	return all
}

// everything yields the full cross product of the three lookups for every binding and, for a
// binding with a recorded plugin, of all facts about the instance name and about its turn.
func everything() iter.Seq[*Facts] {
	return func(yield func(*Facts) bool) {
		for _, part := range []iter.Seq[*Facts]{lookups(), renames(), exchanges(), replacements(), handOvers()} {
			for f := range part {
				if !yield(f) {
					return
				}
			}
		}
	}
}

func lookups() iter.Seq[*Facts] {
	return func(yield func(*Facts) bool) {
		byID, byName, byKey := observations(ownerByID), observations(ownerByName), observations(ownerByKey)
		var f Facts
		for _, f.Recorded = range []string{"", idP} {
			for _, f.Import = range []string{"", idQ} {
				for _, f.Adoption = range []Adoption{AdoptNever, AdoptIfIdentical, AdoptOverride} {
					for _, f.ByID = range byID {
						for _, f.ByName = range byName {
							for _, f.ByKey = range byKey {
								if !yield(&f) {
									return
								}
							}
						}
					}
				}
			}
		}
	}
}

// renames combines what lookups leaves out. It leaves out adoptionPolicy and spec.pluginID, which
// do not matter once an ID is recorded (see TestDecideIsSafe), and the third ID.
func renames() iter.Seq[*Facts] {
	byID := variants(observations(ownerByID), keepsName, wantsName)
	byName := variants(whatever(observations(ownerByName)), keepsName, wantsName)
	byKey := variants(whatever(observations(ownerByKey)), keepsName)
	byInstanceName := variants(whatever(observations(ownerByInstanceName)), keepsName)
	return func(yield func(*Facts) bool) {
		f := Facts{Recorded: idP}
		for _, f.ByID = range byID {
			for _, f.ByName = range byName {
				for _, f.ByKey = range byKey {
					for _, f.ByInstanceName = range byInstanceName {
						if !yield(&f) {
							return
						}
					}
				}
			}
		}
	}
}

// exchanges combines what the rows of an existing plugin look at. byName does not matter then.
func exchanges() iter.Seq[*Facts] {
	byID := variants(observations(ownerByID), keepsName, wantsName, movedAside)
	byKey := variants(whatever(observations(ownerByKey)), keepsName)
	byInstanceName := variants(whatever(observations(ownerByInstanceName)), keepsName)
	asideKey := []Observation{{}, {Ownership: Absent}, {Ownership: Owned, ID: idP}, {Ownership: Unowned, ID: idR}, {Ownership: OwnedByOther, ID: idR}}
	return func(yield func(*Facts) bool) {
		f := Facts{Recorded: idP}
		for _, f.ByID = range byID {
			for _, f.ByKey = range byKey {
				for _, f.ByInstanceName = range byInstanceName {
					for _, f.AsideKey = range asideKey {
						for _, f.Turn = range []Turn{NoTurn, TurnWait, TurnAside} {
							if !yield(&f) {
								return
							}
						}
					}
				}
			}
		}
	}
}

// replacements combines what the rows of a binding that replaces another one look at.
func replacements() iter.Seq[*Facts] {
	byID := observations(ownerByID)
	for _, o := range byID {
		if o.Ownership == OwnedByOther && o.OwnerState == OwnerUnknown {
			o.OwnerState = OwnerReplaced
			byID = append(byID, o)
		}
	}
	return func(yield func(*Facts) bool) {
		f := Facts{Replaces: idQ}
		for _, f.Import = range []string{"", idR} {
			for _, f.Adoption = range []Adoption{AdoptIfIdentical, AdoptOverride} {
				for _, f.ByID = range byID {
					for _, f.ByName = range whatever(observations(ownerByName)) {
						for _, f.ByKey = range whatever(observations(ownerByKey)) {
							if !yield(&f) {
								return
							}
						}
					}
				}
			}
		}
	}
}

// handOvers combines what the rows of a plugin look at that the ingress controller hands over.
func handOvers() iter.Seq[*Facts] {
	byID := variants(observations(ownerByID), keepsName, wantsName)
	byID = slices.DeleteFunc(byID, func(o Observation) bool { return o.Ownership != OwnedByOther || o.OwnerState != OwnerUnknown })
	return func(yield func(*Facts) bool) {
		f := Facts{Recorded: idP}
		for _, f.Adoption = range []Adoption{AdoptNever, AdoptOverride} {
			for _, f.ByID = range byID {
				f.ByID.OwnerState = OwnerHandsOver
				for _, f.ByName = range whatever(observations(ownerByName)) {
					for _, f.ByKey = range observations(ownerByKey) {
						for _, f.ByInstanceName = range variants(whatever(observations(ownerByInstanceName)), keepsName) {
							if !yield(&f) {
								return
							}
						}
					}
				}
			}
		}
	}
}

// movedAside is for a plugin that is aside, which never has the desired name and scope.
func movedAside(o *Observation) {
	if o.Ownership.Found() {
		o.Aside, o.OtherName, o.Equal = true, true, false
	}
}

func keepsName(*Observation) {}

func wantsName(o *Observation) {
	if o.Ownership.Found() {
		o.OtherName, o.Equal = true, false
	}
}

// whatever keeps the observations of plugins that are as desired but for their tags: of a plugin
// that is in the way, its settings do not matter.
func whatever(all []Observation) []Observation {
	return slices.DeleteFunc(all, func(o Observation) bool {
		return o.Ownership.Found() && (!o.SameTraffic || o.Equal)
	})
}

// variants applies each change to those observations that differ in what a recorded plugin's rows
// look at: one of two IDs, the same plugin or another one, equal or not.
func variants(all []Observation, changes ...func(*Observation)) (result []Observation) {
	for _, o := range all {
		if o.ID == idQ || o.SamePlugin && !o.SameTraffic {
			continue
		}
		for _, change := range changes {
			changed := o
			change(&changed)
			if !slices.Contains(result, changed) {
				result = append(result, changed)
			}
		}
	}
	return result
}

// consistent reports whether one Kong that does not change can produce these facts:
// observations with the same ID describe the same plugin, a lookup by ID returns that ID, and
// the plugin that holds the key has the desired plugin name.
func consistent(f *Facts) bool {
	asked := f.Recorded
	if asked == "" {
		asked = f.Replaces
	}
	if asked == "" {
		asked = f.Import
	}
	seen := []*Observation{&f.ByID, &f.ByName, &f.ByKey, &f.ByInstanceName}
	for i, a := range seen {
		if a.Ownership == OwnedByOther && a.Equal {
			return false // the tags differ
		}
		if f.ByID.Ownership == Absent && a.ID == asked && a.Ownership.Found() {
			return false
		}
		for _, b := range seen[:i] {
			if a.Ownership.Found() && b.Ownership.Found() && a.ID == b.ID && !samePlugin(a, b) {
				return false
			}
		}
	}
	switch {
	case f.ByID.Ownership.Found() && f.ByID.ID != asked:
		return false
	case asked == "" && f.ByID.Ownership != Unknown:
		return false // there is no ID to look up
	case f.ByKey.Ownership.Found() && !f.ByKey.SamePlugin:
		return false
	case f.ByInstanceName.Ownership.Found() && (f.ByInstanceName.ID == f.ByID.ID && f.ByID.OtherName ||
		f.ByInstanceName.ID == f.ByName.ID && f.ByName.OtherName):
		return false
	}
	return true
}

func samePlugin(a, b *Observation) bool {
	return a.Ownership == b.Ownership && a.SamePlugin == b.SamePlugin &&
		a.Equal == b.Equal && a.SameTraffic == b.SameTraffic && a.OtherName == b.OtherName &&
		a.OwnerState == b.OwnerState && a.Aside == b.Aside
}
