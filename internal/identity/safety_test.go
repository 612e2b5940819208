package identity_test

import (
	"testing"

	. "github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// The invariants say nothing of rows: they hold whatever the table becomes.

// An invariant of a decision: it returns what is wrong, or nothing.
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

// onePicture are the facts that can be seen in a Kong that stands still.
func onePicture(yield func(*Facts) bool) {
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

// writes reports whether the verb changes or deletes an existing plugin.
func writes(v Operation) bool {
	return v == Put || v == TakeOver || v == Delete || v == Release
}

// seen reports whether one of the sightings with this ID is as asked.
func seen(f *Facts, id string, as func(Observation) bool) bool {
	for _, s := range []Observation{f.ByID, f.ByName, f.ByKey} {
		if s.Ownership.Found() && s.ID == id && as(s) {
			return true
		}
	}
	return false
}

func has(standing Ownership) func(Observation) bool {
	return func(s Observation) bool { return s.Ownership == standing }
}

// without returns the facts with one sighting less.
func without(f *Facts, question int) Facts {
	less := *f
	*[]*Observation{&less.ByID, &less.ByName, &less.ByKey}[question] = Observation{}
	return less
}

// never says that a verb does not come out of the facts.
func never(verb Operation, when string, is func(*Facts) bool) invariant {
	return invariant{verb.String() + " " + when, func(f *Facts, a Action) bool {
		return a.Operation != verb || !is(f)
	}}
}

// only says that a verb needs something.
func only(verb Operation, when string, is func(*Facts, Action) bool) invariant {
	return invariant{verb.String() + " only " + when, func(f *Facts, a Action) bool {
		return a.Operation != verb || is(f, a)
	}}
}

func TestDecideIsSafe(t *testing.T) {
	t.Parallel()
	check(t, everything(), onBinding, []invariant{
		// One ID, and the recorded one beats every other.
		never(Create, "with a recorded ID", recorded),
		never(RecordID, "with a recorded ID", recorded),
		never(Adopt, "with a recorded ID", recorded),
		never(TakeOver, "with a recorded ID", recorded),
		only(Put, "to the recorded ID", func(f *Facts, a Action) bool { return a.ID != "" && a.ID == f.Recorded }),
		only(None, "about the recorded ID", func(f *Facts, a Action) bool { return a.ID != "" && a.ID == f.Recorded }),
		never(Put, "without a recorded ID", unrecorded),
		never(None, "without a recorded ID", unrecorded),
		never(Delete, "without a recorded ID", unrecorded),

		// Nothing that belongs to deletion.
		never(Release, "for a binding in force", always),
		never(RemoveFinalizer, "for a binding in force", always),

		// Unknown is not absent.
		only(Create, "when Kong has neither the name nor the place", func(f *Facts, a Action) bool {
			return a.ID == "" && f.ByName.Ownership == Absent && f.ByKey.Ownership == Absent
		}),
		only(Put, "when it is known what is under the ID", func(f *Facts, _ Action) bool {
			return f.ByID.Ownership != Unknown && f.ByKey.Ownership != Unknown
		}),
		only(Put, "restoring, when Kong has neither the name nor the place", func(f *Facts, _ Action) bool {
			return f.ByID.Ownership != Absent || f.ByName.Ownership == Absent && f.ByKey.Ownership == Absent
		}),
		{"knowing less leads to waiting or changes nothing", func(f *Facts, a Action) bool {
			for question := range 3 {
				if less := Decide(without(f, question)); less.Operation != Wait && less != a {
					return false
				}
			}
			return true
		}},

		// What is named was seen.
		only(Delete, "of what was seen to be ours", func(f *Facts, a Action) bool { return seen(f, a.ID, has(Owned)) }),
		only(RecordID, "of what was seen to be ours", func(f *Facts, a Action) bool { return seen(f, a.ID, has(Owned)) }),
		only(Adopt, "as the policy says, unless asked for by its ID", func(f *Facts, a Action) bool {
			return a.ID == f.Import || f.Adoption == AdoptOverride ||
				f.Adoption == AdoptIfIdentical && seen(f, a.ID, func(s Observation) bool { return s.SameTraffic })
		}),
		only(TakeOver, "with Override, of what was seen to be another's", func(f *Facts, a Action) bool {
			return f.Adoption == AdoptOverride && seen(f, a.ID, has(OwnedByOther))
		}),
		only(Conflict, "with a plugin that was seen, named with its owner", func(f *Facts, a Action) bool {
			return seen(f, a.ID, func(s Observation) bool { return s.Owner == a.Owner })
		}),
	})
}

func TestDecideTouchesNobodyElses(t *testing.T) {
	t.Parallel()
	check(t, onePicture, onBinding, []invariant{
		{"another's plugin is written only by TakeOver with Override", func(f *Facts, a Action) bool {
			return !writes(a.Operation) || !seen(f, a.ID, has(OwnedByOther)) ||
				a.Operation == TakeOver && f.Adoption == AdoptOverride
		}},
		{"another's plugin is recorded only by TakeOver with Override", func(f *Facts, a Action) bool {
			return a.Operation != RecordID && a.Operation != Adopt || !seen(f, a.ID, has(OwnedByOther))
		}},
		{"a plugin of another name is not written", func(f *Facts, a Action) bool {
			return a.Operation != Put && a.Operation != TakeOver ||
				!seen(f, a.ID, func(s Observation) bool { return !s.SamePlugin })
		}},
		only(Adopt, "of what was seen to be nobody's, or was asked for by its ID", func(f *Facts, a Action) bool {
			return seen(f, a.ID, has(Unowned)) || a.ID == f.Import && seen(f, a.ID, has(Owned))
		}),
		only(Adopt, "of the same plugin", func(f *Facts, a Action) bool {
			return a.ID == f.ByKey.ID || seen(f, a.ID, func(s Observation) bool { return s.SamePlugin })
		}),
		{"nobody's plugin is not deleted", func(f *Facts, a Action) bool {
			return a.Operation != Delete || !seen(f, a.ID, has(Unowned))
		}},
		{"the recorded plugin is not deleted", func(f *Facts, a Action) bool {
			return a.Operation != Delete || a.ID != f.Recorded
		}},
		{"no write into a place that another plugin holds", func(f *Facts, a Action) bool {
			taken := f.ByKey.Ownership.Found() && f.ByKey.ID != a.ID
			return a.Operation != Put && a.Operation != TakeOver && a.Operation != Create || !taken
		}},
		{"in sync, so no write", func(f *Facts, a Action) bool {
			inSync := f.Recorded != "" && f.ByID.Equal && f.ByKey == withOwner(f.ByID, f.ByKey.Owner)
			return !inSync || !writes(a.Operation) && a.Operation != Create
		}},
		{"what is missing leads on: no Wait when everything is known, except for an import", func(f *Facts, a Action) bool {
			open := f.ByName.Ownership == Unknown || f.ByKey.Ownership == Unknown ||
				f.ByID.Ownership == Unknown && (f.Recorded != "" || f.Import != "")
			return a.Operation != Wait || open || f.Recorded == "" && f.ByID.Ownership == Absent && a.ID == f.Import
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
				{"only waiting, ending and releasing", func(_ *Facts, a Action) bool {
					return a.Operation == Wait || a.Operation == Delete || a.Operation == Release || a.Operation == RemoveFinalizer
				}},
				{"the policy is kept", func(_ *Facts, a Action) bool {
					return a.Operation != Delete && a.Operation != Release || (a.Operation == Release) == orphan
				}},
				{"only what was seen to be ours is touched", func(f *Facts, a Action) bool {
					return !writes(a.Operation) || seen(f, a.ID, has(Owned)) || a.ID == f.Recorded && f.ByID.Ownership == Owned
				}},
				only(RemoveFinalizer, "when both looks were answered and found nothing of ours", func(f *Facts, _ Action) bool {
					looked := f.Recorded == "" || f.ByID.Ownership != Unknown && f.ByID.Ownership != Owned
					return looked && f.ByName.Ownership != Unknown && f.ByName.Ownership != Owned
				}),
				{"who holds the place does not matter", func(f *Facts, a Action) bool {
					return decide(ptr(without(f, 2))) == a
				}},
				{"adoption and import do not matter", func(f *Facts, a Action) bool {
					other := *f
					other.Adoption, other.Import = AdoptNever, ""
					return decide(&other) == a
				}},
				{"knowing less leads to waiting or changes nothing", func(f *Facts, a Action) bool {
					for question := range 3 {
						if less := decide(ptr(without(f, question))); less.Operation != Wait && less != a {
							return false
						}
					}
					return true
				}},
			})
			check(t, onePicture, decide, []invariant{
				{"nobody else's is touched", func(f *Facts, a Action) bool {
					return !writes(a.Operation) || !seen(f, a.ID, has(OwnedByOther)) && !seen(f, a.ID, has(Unowned))
				}},
				{"deletion ends: once both looks were answered there is no waiting", func(f *Facts, a Action) bool {
					return a.Operation != Wait || f.ByName.Ownership == Unknown || f.Recorded != "" && f.ByID.Ownership == Unknown
				}},
			})
		})
	}
}

func ptr(f Facts) *Facts { return &f }
