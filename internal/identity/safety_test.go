package identity_test

import (
	"testing"

	. "github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// The invariants do not mention rows. They hold whatever the table becomes.

// An invariant must hold for each decision.
type invariant struct {
	name  string
	holds func(f *Facts, a Action) bool
}

func check(t *testing.T, facts func(func(*Facts) bool), decide func(*Facts) Action, invariants []invariant) {
	t.Helper()
	combinations := 0
	for f := range facts {
		combinations++
		action := decide(f)
		for _, inv := range invariants {
			if !inv.holds(f, action) {
				t.Fatalf("%s\n facts %+v\naction %+v", inv.name, *f, action)
			}
		}
	}
	t.Logf("%d combinations, %d invariants", combinations, len(invariants))
}

// consistentFacts yields the facts that a Kong that does not change can produce.
func consistentFacts(yield func(*Facts) bool) {
	for f := range everything() {
		if consistent(f) && !yield(f) {
			return
		}
	}
}

func onBinding(f *Facts) Action { return Decide(*f) }

func onDeletion(orphan bool) func(*Facts) Action {
	return func(f *Facts) Action { return DecideDeletion(*f, orphan) }
}

// writes reports whether the operation changes or deletes an existing plugin.
func writes(v Operation) bool {
	return v == Put || v == TakeOver || v == MoveAside || v == MoveBack || v == Replace || v == Delete || v == Release
}

// observed reports whether an observation with this ID satisfies the condition.
func observed(f *Facts, id string, as func(Observation) bool) bool {
	for _, s := range []Observation{f.ByID, f.ByName, f.ByKey, f.ByInstanceName} {
		if s.Ownership.Found() && s.ID == id && as(s) {
			return true
		}
	}
	return false
}

// isFree reports whether the recorded plugin can have what was looked up.
func isFree(f *Facts, o Observation) bool {
	return o.Ownership == Absent || o.Ownership.Found() && o.ID == f.Recorded
}

// isOfReplaced is true for a plugin of the binding that this one replaces.
func isOfReplaced(o Observation) bool { return o.OwnerState == OwnerReplaced }

// isHandedOver is true for the plugin that the ingress controller hands over.
func isHandedOver(o Observation) bool { return o.OwnerState == OwnerHandsOver }

func hasGoneOwner(o Observation) bool { return o.OwnerState == OwnerGone }

// hasLivingOwner is true for a plugin of another owner that exists, as far as is known.
func hasLivingOwner(o Observation) bool {
	return o.Ownership == OwnedByOther && o.OwnerState != OwnerGone
}

func hasOwnership(ownership Ownership) func(Observation) bool {
	return func(s Observation) bool { return s.Ownership == ownership }
}

// without returns the facts with one observation unknown.
func without(f *Facts, question int) Facts {
	less := *f
	*[lookupCount]*Observation{&less.ByID, &less.ByName, &less.ByKey, &less.ByInstanceName, &less.AsideKey}[question] = Observation{}
	return less
}

const lookupCount = 5

// never forbids an operation under a condition.
func never(operation Operation, when string, is func(*Facts) bool) invariant {
	return invariant{operation.String() + " " + when, func(f *Facts, a Action) bool {
		return a.Operation != operation || !is(f)
	}}
}

// only allows an operation under a condition.
func only(operation Operation, when string, is func(*Facts, Action) bool) invariant {
	return invariant{operation.String() + " only " + when, func(f *Facts, a Action) bool {
		return a.Operation != operation || is(f, a)
	}}
}

func TestDecideIsSafe(t *testing.T) {
	t.Parallel()
	check(t, everything(), onBinding, []invariant{
		// One ID: the recorded one takes precedence.
		never(Create, "with a recorded ID", recorded),
		never(RecordID, "with a recorded ID", recorded),
		never(Adopt, "with a recorded ID", recorded),
		never(TakeOver, "with a recorded ID", recorded),
		only(Put, "to the recorded ID", func(f *Facts, a Action) bool { return a.ID != "" && a.ID == f.Recorded }),
		only(None, "about the recorded ID", func(f *Facts, a Action) bool { return a.ID != "" && a.ID == f.Recorded }),
		never(Put, "without a recorded ID", unrecorded),
		never(None, "without a recorded ID", unrecorded),
		never(Delete, "without a recorded ID", unrecorded),
		never(Replace, "without a recorded ID", unrecorded),

		// No operation that belongs to deletion.
		never(Release, "for a binding in force", always),
		never(RemoveFinalizer, "for a binding in force", always),

		// Unknown is not absent.
		only(Create, "when neither the name nor the key is in use", func(f *Facts, a Action) bool {
			return a.ID == "" && f.ByName.Ownership == Absent && f.ByKey.Ownership == Absent
		}),
		only(Put, "when the lookups by ID and by key have results", func(f *Facts, _ Action) bool {
			return f.ByID.Ownership != Unknown && f.ByKey.Ownership != Unknown
		}),
		only(Put, "of a missing plugin when neither the name nor the key is in use", func(f *Facts, _ Action) bool {
			return f.ByID.Ownership != Absent || f.ByName.Ownership == Absent && f.ByKey.Ownership == Absent
		}),
		{"an unknown fact leads to Wait or changes nothing", func(f *Facts, a Action) bool {
			for question := range lookupCount {
				if less := Decide(without(f, question)); less.Operation != Wait && less != a {
					return false
				}
			}
			return true
		}},

		// An operation names only observed plugins.
		only(Delete, "of an owned plugin", func(f *Facts, a Action) bool {
			return observed(f, a.ID, hasOwnership(Owned)) || a.ID == f.Recorded && f.ByID.Ownership == Owned
		}),
		only(Replace, "of an owned plugin, with the recorded ID, which is missing", func(f *Facts, a Action) bool {
			return a.ID == f.Recorded && f.ByID.Ownership == Absent && observed(f, a.DeleteID, hasOwnership(Owned))
		}),
		only(Replace, "when the key and the instance name are free or held by the plugin to delete", func(f *Facts, a Action) bool {
			named := f.ByName.OtherName && f.ByName.ID == a.DeleteID
			return (f.ByKey.Ownership == Absent || f.ByKey.Ownership.Found() && f.ByKey.ID == a.DeleteID) &&
				(!named || f.ByInstanceName.Ownership == Absent || f.ByInstanceName.ID == a.DeleteID)
		}),
		{"only Replace deletes and writes", func(_ *Facts, a Action) bool {
			return (a.DeleteID != "") == (a.Operation == Replace)
		}},
		{"the recorded plugin is not deleted", func(f *Facts, a Action) bool {
			return a.DeleteID != f.Recorded || f.Recorded == ""
		}},
		only(Delete, "of the recorded plugin if it is owned and moved aside in vain, and both keys are taken", func(f *Facts, a Action) bool {
			return a.ID != f.Recorded || f.ByID.Ownership == Owned && f.ByID.Aside && f.Turn == NoTurn &&
				f.AsideKey.Ownership.Found() && f.AsideKey.ID != a.ID
		}),
		only(MoveAside, "of the owned recorded plugin, for TurnAside, to a free key, out of the way of another owner", func(f *Facts, a Action) bool {
			return a.ID == f.Recorded && f.ByID.Ownership == Owned && f.ByID.SamePlugin && f.Turn == TurnAside &&
				!f.ByID.Aside && isFree(f, f.AsideKey) && !(isFree(f, f.ByKey) && isFree(f, f.ByInstanceName))
		}),
		only(MoveBack, "of the owned recorded plugin that is aside, with NoTurn, to a free key", func(f *Facts, a Action) bool {
			return a.ID == f.Recorded && f.ByID.Ownership == Owned && f.ByID.SamePlugin && f.Turn == NoTurn &&
				f.ByID.Aside && isFree(f, f.AsideKey)
		}),
		{"a turn changes nothing unless another plugin has the key or the name", func(f *Facts, a Action) bool {
			other := *f
			other.Turn, other.AsideKey = NoTurn, Observation{}
			blocked := f.ByKey.Ownership.Found() && f.ByKey.ID != f.Recorded || f.ByInstanceName.Ownership.Found() && f.ByInstanceName.ID != f.Recorded
			return blocked || Decide(other) == a
		}},
		{"a plugin that is not aside stays where it is without a turn", func(f *Facts, a Action) bool {
			return f.Turn != NoTurn || f.ByID.Aside || a.Operation != MoveAside && a.Operation != MoveBack
		}},
		{"once an ID is recorded, adoptionPolicy and spec.pluginID do not matter", func(f *Facts, a Action) bool {
			other := *f
			other.Adoption, other.Import = AdoptNever, ""
			return f.Recorded == "" || Decide(other) == a
		}},
		only(RecordID, "of an owned plugin", func(f *Facts, a Action) bool { return observed(f, a.ID, hasOwnership(Owned)) }),
		only(Adopt, "as adoptionPolicy says, unless spec.pluginID names the plugin", func(f *Facts, a Action) bool {
			return a.ID == f.Import || f.Adoption == AdoptOverride ||
				f.Adoption == AdoptIfIdentical && observed(f, a.ID, func(s Observation) bool { return s.SameTraffic })
		}),
		only(TakeOver, "with Override, of a plugin whose owner is gone as adoptionPolicy says, or of the replaced binding's", func(f *Facts, a Action) bool {
			return observed(f, a.ID, func(o Observation) bool {
				return o.Ownership == OwnedByOther && (o.OwnerState == OwnerReplaced || f.Adoption == AdoptOverride ||
					f.Adoption == AdoptIfIdentical && o.OwnerState == OwnerGone && o.SameTraffic)
			})
		}),
		never(Adopt, "with adoptionPolicy Never, unless spec.pluginID names the plugin", func(f *Facts) bool {
			return f.Adoption == AdoptNever && Decide(*f).ID != f.Import
		}),
		never(TakeOver, "with adoptionPolicy Never", func(f *Facts) bool { return f.Adoption == AdoptNever }),
		{"an owner whose state is unknown counts as existing", func(f *Facts, a Action) bool {
			other := *f
			for _, o := range []*Observation{&other.ByID, &other.ByName, &other.ByKey, &other.ByInstanceName} {
				if o.OwnerState == OwnerUnknown {
					o.OwnerState = OwnerExists
				}
			}
			return Decide(other) == a
		}},
		{"an owner that may exist leads to a conflict, or changes nothing", func(f *Facts, a Action) bool {
			other := *f
			for _, o := range []*Observation{&other.ByID, &other.ByName, &other.ByKey, &other.ByInstanceName} {
				o.OwnerState = OwnerUnknown
			}
			b := Decide(other)
			return b == a || b.Operation == Conflict || b.Operation == TakeOver && b.Adopts == OwnedByOther
		}},
		{"the action says what it adopts", func(f *Facts, a Action) bool {
			gone := observed(f, a.ID, hasGoneOwner) || a.ID == f.Recorded && hasGoneOwner(f.ByID)
			switch a.Adopts {
			case Unknown:
				return a.Operation != TakeOver && (a.Operation != Adopt || a.ID == f.Import)
			case Unowned:
				return a.Operation == Adopt || (a.Operation == TakeOver || a.Operation == Put) && gone
			default:
				return a.Adopts == OwnedByOther && (a.Operation == TakeOver && (f.Adoption == AdoptOverride || observed(f, a.ID, isOfReplaced)) ||
					a.Operation == Put && a.ID == f.Recorded && isHandedOver(f.ByID))
			}
		}},
		only(Put, "of a plugin that is handed over where it is", func(f *Facts, a Action) bool {
			return !isHandedOver(f.ByID) || f.ByKey.Ownership.Found() && f.ByKey.ID == a.ID && f.ByID.SamePlugin
		}),
		only(Conflict, "with an observed plugin and its owner", func(f *Facts, a Action) bool {
			return observed(f, a.ID, func(s Observation) bool { return s.Owner == a.Owner })
		}),
	})
}

func TestDecideLeavesPluginsOfOthers(t *testing.T) {
	t.Parallel()
	check(t, consistentFacts, onBinding, []invariant{
		{"only TakeOver with Override, of the replaced binding's, or what is handed over, writes to a plugin of another owner", func(f *Facts, a Action) bool {
			return !writes(a.Operation) || !observed(f, a.ID, hasLivingOwner) && !observed(f, a.DeleteID, hasOwnership(OwnedByOther)) ||
				a.Operation == TakeOver && (f.Adoption == AdoptOverride || observed(f, a.ID, isOfReplaced)) ||
				a.Operation == Put && isHandedOver(f.ByID)
		}},
		{"only TakeOver with Override records a plugin of another owner", func(f *Facts, a Action) bool {
			return a.Operation != RecordID && a.Operation != Adopt || !observed(f, a.ID, hasLivingOwner)
		}},
		{"no write over a plugin of another plugin name", func(f *Facts, a Action) bool {
			return a.Operation != Put && a.Operation != TakeOver ||
				!observed(f, a.ID, func(s Observation) bool { return !s.SamePlugin })
		}},
		only(Adopt, "of an unowned plugin, or of the one that spec.pluginID names", func(f *Facts, a Action) bool {
			return observed(f, a.ID, hasOwnership(Unowned)) ||
				a.ID == f.Import && (observed(f, a.ID, hasOwnership(Owned)) || observed(f, a.ID, hasGoneOwner))
		}),
		only(Adopt, "of the same plugin", func(f *Facts, a Action) bool {
			return a.ID == f.ByKey.ID || observed(f, a.ID, func(s Observation) bool { return s.SamePlugin })
		}),
		{"an unowned plugin is not deleted", func(f *Facts, a Action) bool {
			return (a.Operation != Delete || !observed(f, a.ID, hasOwnership(Unowned))) && !observed(f, a.DeleteID, hasOwnership(Unowned))
		}},
		{"the recorded plugin is not deleted, unless it is aside", func(f *Facts, a Action) bool {
			return a.Operation != Delete || a.ID != f.Recorded || f.ByID.Aside
		}},
		{"no write to a key that another plugin holds", func(f *Facts, a Action) bool {
			taken := f.ByKey.Ownership.Found() && f.ByKey.ID != a.ID && f.ByKey.ID != a.DeleteID
			return a.Operation != Put && a.Operation != TakeOver && a.Operation != Create && a.Operation != Replace || !taken
		}},
		{"no write of an instance name that another plugin has", func(f *Facts, a Action) bool {
			taken := f.ByInstanceName.Ownership.Found() && f.ByInstanceName.ID != a.ID && f.ByInstanceName.ID != a.DeleteID
			renames := a.Operation == Put && f.ByID.OtherName || a.Operation == Replace && f.ByName.OtherName && f.ByName.ID == a.DeleteID
			return !renames || !taken
		}},
		{"no write while in sync", func(f *Facts, a Action) bool {
			inSync := f.Recorded != "" && f.ByID.Equal && f.ByKey == withOwner(f.ByID, f.ByKey.Owner)
			return !inSync || !writes(a.Operation) && a.Operation != Create
		}},
		{"no Wait when all facts are known, except for an import", func(f *Facts, a Action) bool {
			open := f.ByName.Ownership == Unknown || f.ByKey.Ownership == Unknown || f.ByInstanceName.Ownership == Unknown ||
				f.ByID.Ownership == Unknown && (f.Recorded != "" || f.Import != "")
			return a.Operation != Wait || open || a.Row == "4c" || f.AsideKey.Ownership == Unknown || f.Recorded == "" && f.ByID.Ownership == Absent && a.ID == f.Import
		}},
	})
}

func withOwner(s Observation, owner Owner) Observation {
	s.Owner = owner
	return s
}

func TestDeletionIsSafe(t *testing.T) {
	for _, orphan := range []bool{false, true} {
		name := "Delete"
		if orphan {
			name = "Orphan"
		}
		decide := onDeletion(orphan)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, everything(), decide, []invariant{
				{"only Wait, Delete, Release and RemoveFinalizer", func(_ *Facts, a Action) bool {
					return a.Operation == Wait || a.Operation == Delete || a.Operation == Release || a.Operation == RemoveFinalizer
				}},
				{"deletionPolicy selects Delete or Release", func(_ *Facts, a Action) bool {
					return a.Operation != Delete && a.Operation != Release || (a.Operation == Release) == orphan
				}},
				{"only owned plugins are written to", func(f *Facts, a Action) bool {
					return !writes(a.Operation) || observed(f, a.ID, hasOwnership(Owned)) || a.ID == f.Recorded && f.ByID.Ownership == Owned
				}},
				only(RemoveFinalizer, "when both lookups have results and neither is an owned plugin", func(f *Facts, _ Action) bool {
					looked := f.Recorded == "" || f.ByID.Ownership != Unknown && f.ByID.Ownership != Owned
					return looked && f.ByName.Ownership != Unknown && f.ByName.Ownership != Owned
				}),
				{"the holder of the key does not matter", func(f *Facts, a Action) bool {
					return decide(ptr(without(f, 2))) == a
				}},
				{"adoptionPolicy and spec.pluginID do not matter", func(f *Facts, a Action) bool {
					other := *f
					other.Adoption, other.Import = AdoptNever, ""
					return decide(&other) == a
				}},
				{"an unknown fact leads to Wait or changes nothing", func(f *Facts, a Action) bool {
					for question := range lookupCount {
						if less := decide(ptr(without(f, question))); less.Operation != Wait && less != a {
							return false
						}
					}
					return true
				}},
			})
			check(t, consistentFacts, decide, []invariant{
				{"plugins of others are not written to", func(f *Facts, a Action) bool {
					return !writes(a.Operation) || !observed(f, a.ID, hasOwnership(OwnedByOther)) && !observed(f, a.ID, hasOwnership(Unowned))
				}},
				{"deletion ends: no Wait once both lookups have results", func(f *Facts, a Action) bool {
					return a.Operation != Wait || f.ByName.Ownership == Unknown || f.Recorded != "" && f.ByID.Ownership == Unknown
				}},
			})
		})
	}
}

func ptr(f Facts) *Facts { return &f }
