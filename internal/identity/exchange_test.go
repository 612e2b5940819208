package identity_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	. "github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

func bindingNamed(name string) Binding { return Binding{Cluster: "c1", Namespace: "shop", Name: name} }

// from is a mover that wants to go from one key to another and protects all of its traffic aside.
func from(name, holds, wants string) Mover {
	return Mover{Binding: bindingNamed(name), Holds: Position{Key: holds}, Wants: Position{Key: wants}, Aside: CoverAll, Entities: 1}
}

// renamed is a mover that keeps its key and wants another instance name.
func renamed(name, holds, wants string) Mover {
	return Mover{
		Binding: bindingNamed(name), Aside: CoverAll, Entities: 1,
		Holds: Position{Key: "key of " + name, InstanceName: holds}, Wants: Position{Key: "key of " + name, InstanceName: wants},
	}
}

func but(m Mover, change func(*Mover)) Mover {
	change(&m)
	return m
}

func stays(m *Mover)        { m.Stays = true }
func coversNone(m *Mover)   { m.Aside = CoverNone }
func coversPart(m *Mover)   { m.Aside = CoverPart }
func hasTwo(m *Mover)       { m.Entities = 2 }
func inNamespaceB(m *Mover) { m.Binding.Namespace = "b" }

func TestFindCycle(t *testing.T) {
	t.Parallel()
	const none, wait, aside = NoTurn, TurnWait, TurnAside
	cases := map[string]struct {
		reason string
		movers []Mover
		want   []Turn
	}{
		"Exchange": {
			reason: "Each has what the other wants. The first by name moves aside.",
			movers: []Mover{from("b", "y", "x"), from("a", "x", "y")},
			want:   []Turn{wait, aside},
		},
		"FirstIsAside": {
			reason: "Once it is aside, the other one can move, and it waits.",
			movers: []Mover{but(from("a", "x+", "y"), coversNone), from("b", "y", "x")},
			want:   []Turn{wait, none},
		},
		"OtherHasMoved": {
			reason: "Nothing is in the way any more.",
			movers: []Mover{but(from("a", "x+", "y"), coversNone), from("b", "x", "x")},
			want:   []Turn{none, none},
		},
		"CycleOfThree": {
			reason: "One of them moves aside, the others follow.",
			movers: []Mover{from("a", "x", "y"), from("b", "y", "z"), from("c", "z", "x")},
			want:   []Turn{aside, wait, wait},
		},
		"TwoCycles": {
			reason: "Each cycle has its own breaker.",
			movers: []Mover{from("a", "w", "x"), from("b", "x", "w"), from("c", "y", "z"), from("d", "z", "y")},
			want:   []Turn{aside, wait, aside, wait},
		},
		"InstanceNames": {
			reason: "An exchange of two instance names is a cycle, too.",
			movers: []Mover{renamed("a", "n1", "n2"), renamed("b", "n2", "n1")},
			want:   []Turn{aside, wait},
		},
		"KeyAndName": {
			reason: "One waits for the key, the other for the name.",
			movers: []Mover{
				{Binding: bindingNamed("a"), Aside: CoverAll, Holds: Position{"x", "n1"}, Wants: Position{"y", "n3"}},
				{Binding: bindingNamed("b"), Aside: CoverAll, Holds: Position{"y", "n2"}, Wants: Position{"z", "n1"}},
			},
			want: []Turn{aside, wait},
		},
		"KeyAndNameOfOneThatStays": {
			reason: "The other one gets the name, but keeps the key: moving aside gains nothing.",
			movers: []Mover{
				{Binding: bindingNamed("a"), Aside: CoverAll, Holds: Position{"x", "n1"}, Wants: Position{"y", "n3"}},
				{Binding: bindingNamed("b"), Aside: CoverAll, Holds: Position{"y", "n2"}, Wants: Position{"y", "n1"}},
			},
			want: []Turn{none, none},
		},
		"Chain": {
			reason: "The last one can move, and the others wait for it.",
			movers: []Mover{from("a", "x", "y"), from("b", "y", "z"), from("c", "z", "free")},
			want:   []Turn{wait, wait, none},
		},
		"ChainToOneThatStays": {
			reason: "The last one has what it wants. That is a conflict.",
			movers: []Mover{from("a", "x", "y"), from("b", "y", "z"), from("c", "z", "z")},
			want:   []Turn{none, none, none},
		},
		"BesideACycle": {
			reason: "It waits for a place that becomes free when the cycle ends.",
			movers: []Mover{from("a", "x", "y"), from("b", "y", "z"), from("c", "z", "x"), from("d", "w", "v"), from("e", "v", "u")},
			want:   []Turn{aside, wait, wait, wait, none},
		},
		"WaitsForANameInACycle": {
			reason: "It is not in the cycle, so it does not move aside, although it is the first by name.",
			movers: []Mover{
				renamed("0", "n0", "n1"),
				{Binding: bindingNamed("a"), Aside: CoverAll, Entities: 1, Holds: Position{"x", "n1"}, Wants: Position{"y", "n9"}},
				from("b", "y", "x"),
			},
			want: []Turn{wait, aside, wait},
		},
		"OneMayNotMove": {
			reason: "A cycle with a binding that is paused, observed or refused does not end.",
			movers: []Mover{from("a", "x", "y"), but(from("b", "y", "x"), stays)},
			want:   []Turn{none, none},
		},
		"FirstMayNotMove": {
			reason: "Nor if that is the first one.",
			movers: []Mover{but(from("a", "x", "y"), stays), from("b", "y", "x")},
			want:   []Turn{none, none},
		},
		"Contested": {
			reason: "A third one could take the place while the first is aside.",
			movers: []Mover{from("a", "x", "y"), from("b", "y", "x"), {Binding: bindingNamed("new"), Wants: Position{Key: "y"}}},
			want:   []Turn{none, none, none},
		},
		"ContestedName": {
			reason: "The same for an instance name.",
			movers: []Mover{renamed("a", "n1", "n2"), renamed("b", "n2", "n1"), renamed("c", "n3", "n1")},
			want:   []Turn{none, none, none},
		},
		"NewBinding": {
			reason: "A binding without a plugin waits for a place that becomes free.",
			movers: []Mover{{Binding: bindingNamed("new"), Wants: Position{Key: "x"}}, from("a", "x", "y")},
			want:   []Turn{wait, none},
		},
		"BreakerIsBlockedElsewhere": {
			reason: "The other one could move, but the first would never arrive.",
			movers: []Mover{
				{Binding: bindingNamed("a"), Aside: CoverAll, Holds: Position{"x", "n1"}, Wants: Position{"y", "n3"}},
				from("b", "y", "x"),
				{Binding: bindingNamed("c"), Holds: Position{"z", "n3"}, Wants: Position{"z", "n3"}},
			},
			want: []Turn{none, none, none},
		},
		"NoFreeKey": {
			reason: "Nobody can move aside.",
			movers: []Mover{but(from("a", "x", "y"), coversNone), but(from("b", "y", "x"), coversNone)},
			want:   []Turn{none, none},
		},
		"WholeCoverFirst": {
			reason: "A plugin that protects all of its traffic aside breaks the cycle.",
			movers: []Mover{but(from("a", "x", "y"), coversPart), from("b", "y", "x")},
			want:   []Turn{wait, aside},
		},
		"WiderScopeFirst": {
			reason: "A plugin on a route also protects a consumer on that route while it is away.",
			movers: []Mover{but(from("a", "route+consumer", "route"), hasTwo), from("b", "route", "route+consumer")},
			want:   []Turn{wait, aside},
		},
		"NamespaceBeforeName": {
			reason: "The order is by namespace and name.",
			movers: []Mover{from("a", "x", "y"), but(from("z", "y", "x"), inNamespaceB)},
			want:   []Turn{wait, aside},
		},
		"NoNamesInUse": {
			reason: "Two plugins without instance name do not block each other.",
			movers: []Mover{
				{Binding: bindingNamed("a"), Holds: Position{Key: "x"}, Wants: Position{Key: "free"}},
				{Binding: bindingNamed("b"), Holds: Position{Key: "y"}, Wants: Position{Key: "y"}},
			},
			want: []Turn{none, none},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i, m := range tc.movers {
				if got := FindCycle(m.Binding, tc.movers); got != tc.want[i] {
					t.Errorf("%s\n%s has turn %d, want %d", tc.reason, m.Binding.Name, got, tc.want[i])
				}
			}
		})
	}
}

func TestFindCycleIsBounded(t *testing.T) {
	t.Parallel()
	var movers []Mover
	for i := range MaxMovers {
		movers = append(movers, from(fmt.Sprintf("%03d", i), fmt.Sprint(i), fmt.Sprint((i+1)%MaxMovers)))
	}
	if got := FindCycle(bindingNamed("000"), movers); got != TurnAside {
		t.Errorf("the first of %d has turn %d, want %d", MaxMovers, got, TurnAside)
	}
	if got := FindCycle(bindingNamed("001"), movers); got != TurnWait {
		t.Errorf("the second of %d has turn %d, want %d", MaxMovers, got, TurnWait)
	}
	more := slices.Concat(movers, []Mover{from("more", "p", "q")})
	if got := FindCycle(bindingNamed("000"), more); got != NoTurn {
		t.Errorf("with %d movers the turn is %d, want %d", len(more), got, NoTurn)
	}
	if got := FindCycle(bindingNamed("unknown"), movers); got != NoTurn {
		t.Errorf("a binding that is no mover has turn %d, want %d", got, NoTurn)
	}
}

// Each binding asks by itself, at any time, and moves as it is told. Whoever is promised a place
// gets it, in any order of moves, and nobody is moved for nothing.
func TestFindCycleEnds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		movers := drawMovers(t)
		before := slices.Clone(movers)
		promised, asides := map[int]bool{}, 0
		for step := 0; ; step++ {
			if step > 10*len(movers) {
				t.Fatalf("it does not end: %+v", movers)
			}
			var able []int
			for i, m := range movers {
				turn := FindCycle(m.Binding, movers)
				if turn != NoTurn {
					promised[i] = true
				}
				if turn == TurnAside || canMove(movers, i) {
					able = append(able, i)
				}
			}
			if len(able) == 0 {
				break
			}
			i := rapid.SampledFrom(able).Draw(t, "next")
			if m := movers[i]; canMove(movers, i) {
				movers[i].Holds = m.Wants
			} else {
				if m.Holds.Key != m.Wants.Key {
					m.Holds.Key = "aside of " + m.Binding.Name
				}
				if m.Holds.InstanceName != m.Wants.InstanceName {
					m.Holds.InstanceName = ""
				}
				m.Aside = CoverNone
				movers[i] = m
				asides++
			}
		}
		for i, m := range movers {
			switch {
			case promised[i] && m.Holds != m.Wants:
				t.Fatalf("%+v had a turn and is not where it wants to be\nbefore %+v\nafter %+v", m, before, movers)
			case m.Holds != m.Wants && m.Holds != before[i].Holds:
				t.Fatalf("%+v moved for nothing", m)
			}
		}
		if asides > len(movers)/2 {
			t.Fatalf("%d of %d moved aside", asides, len(movers))
		}
	})
}

// drawMovers draws bindings with plugins in different positions, that want any positions.
func drawMovers(t *rapid.T) []Mover {
	n := rapid.IntRange(1, 6).Draw(t, "movers")
	position := func(_ string, key, name int) Position {
		return Position{Key: fmt.Sprint("k", key), InstanceName: fmt.Sprint("n", name)}
	}
	keys := rapid.Permutation([]int{0, 1, 2, 3, 4, 5, 6}).Draw(t, "keys")
	var movers []Mover
	for i := range n {
		m := Mover{
			Binding:  bindingNamed(fmt.Sprint("m", i)),
			Holds:    position("holds", i, i),
			Wants:    position("wants", keys[i], i),
			Stays:    rapid.IntRange(0, 9).Draw(t, "stays") == 0,
			Aside:    Cover(rapid.IntRange(int(CoverPart), int(CoverAll)).Draw(t, "aside")),
			Entities: rapid.IntRange(0, 2).Draw(t, "entities"),
		}
		switch rapid.IntRange(0, 5).Draw(t, "wants") {
		case 0:
			m.Wants.Key = fmt.Sprint("k", rapid.IntRange(0, n).Draw(t, "key"))
		case 1:
			m.Wants.InstanceName = fmt.Sprint("n", rapid.IntRange(0, n).Draw(t, "name"))
		case 2:
			m.Wants.Key = m.Holds.Key
		}
		movers = append(movers, m)
	}
	return movers
}

// canMove reports whether Kong would accept the move, and the operator would ask for it.
func canMove(movers []Mover, i int) bool {
	m := movers[i]
	if m.Stays || m.Holds == m.Wants {
		return false
	}
	return !slices.ContainsFunc(movers, func(other Mover) bool {
		return !other.Binding.Same(m.Binding) &&
			(other.Holds.Key == m.Wants.Key || other.Holds.InstanceName != "" && other.Holds.InstanceName == m.Wants.InstanceName)
	})
}

func TestAsideTag(t *testing.T) {
	t.Parallel()
	for _, from := range []string{"+service", "-service", ""} {
		tags := with(ownerTags, "team:payments", AsideTag(from))
		if got, aside := AsideFrom(tags); got != from || !aside {
			t.Errorf("AsideFrom returns %q, %t, want %q, true", got, aside, from)
		}
		if ownership, owner := OwnershipOf(limits, tags, ""); ownership != Owned || *owner.Binding != limits {
			t.Errorf("A plugin that is aside is still owned: ownership %d, owner %+v", ownership, owner)
		}
		if left := WithoutOwnershipTags(tags); !slices.Equal(left, []string{"team:payments"}) {
			t.Errorf("A released plugin is not aside any more: %q", left)
		}
	}
	if got, aside := AsideFrom(with(ownerTags, "aside")); got != "" || aside {
		t.Errorf("AsideFrom returns %q, %t for a plugin that is not aside", got, aside)
	}
}
