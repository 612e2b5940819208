package identity_test

import (
	"iter"

	. "github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// The IDs of the product: P is the recorded one, Q the imported one, R a third.
const (
	idP = "11111111-1111-4111-8111-111111111111"
	idQ = "22222222-2222-4222-8222-222222222222"
	idR = "33333333-3333-4333-8333-333333333333"
)

// Every sighting has an owner that tells the questions apart, so that a conflict which
// names the wrong one of them shows.
var (
	ownerByID   = Owner{Tool: "by-id"}
	ownerByName = Owner{Tool: "by-name"}
	ownerByKey  = Owner{Tool: "by-key"}
)

// likeness is how far a plugin is as declared. The flags of a sighting say so in steps: what
// is equal has the same traffic, and what has the same traffic is the same plugin.
type likeness int

const (
	otherPlugin likeness = iota
	otherTraffic
	otherMarks
	alike
)

// sightings are all answers that one question can have. Each is combined with all others,
// also where the two contradict each other: they were seen at different times.
func sightings(owner Owner) []Observation {
	all := []Observation{{Ownership: Unknown}, {Ownership: Absent}}
	for _, standing := range []Ownership{Owned, Unowned, OwnedByOther} {
		for _, id := range []string{idP, idQ, idR} {
			for like := otherPlugin; like <= alike; like++ {
				all = append(all, Observation{
					Ownership:   standing,
					ID:          id,
					SamePlugin:  like > otherPlugin,
					SameTraffic: like > otherTraffic,
					Equal:       like == alike,
					Owner:       owner,
				})
			}
		}
	}
	return all
}

// everything is the full cross product of facts.
func everything() iter.Seq[*Facts] {
	return func(yield func(*Facts) bool) {
		byID, byName, byKey := sightings(ownerByID), sightings(ownerByName), sightings(ownerByKey)
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

// consistent reports whether the facts can be one picture of one Kong: sightings of the
// same ID are of the same plugin, an ID answers with itself, and who holds the key has the
// declared plugin name.
func consistent(f *Facts) bool {
	asked := f.Recorded
	if asked == "" {
		asked = f.Import
	}
	seen := []*Observation{&f.ByID, &f.ByName, &f.ByKey}
	for i, a := range seen {
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
		return false // nothing was asked
	case f.ByKey.Ownership.Found() && !f.ByKey.SamePlugin:
		return false
	}
	return true
}

func samePlugin(a, b *Observation) bool {
	return a.Ownership == b.Ownership && a.SamePlugin == b.SamePlugin &&
		a.Equal == b.Equal && a.SameTraffic == b.SameTraffic
}
