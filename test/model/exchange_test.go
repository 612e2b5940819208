package model

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

type exchangeScenario struct {
	name  string
	world exchangeWorld
	from  []position
	to    []position
	left  map[exchangeEvent]uint8
	finds string
}

func (sc *exchangeScenario) start() exchangeState {
	var s exchangeState
	for i := range sc.from {
		s.holds[i], s.former[i], s.wants[i] = sc.from[i], sc.from[i], sc.to[i]
	}
	for e, n := range sc.left {
		s.left[e] = n
	}
	return s
}

var (
	two      = []position{{1, 1}, {2, 2}}
	swapped  = []position{{2, 1}, {1, 2}}
	names    = []position{{1, 2}, {2, 1}}
	both     = []position{{2, 2}, {1, 1}}
	crossed  = []position{{2, 3}, {3, 1}} // the one waits for the key, the other for the name
	three    = []position{{1, 1}, {2, 2}, {3, 3}}
	rotated  = []position{{2, 1}, {3, 2}, {1, 3}}
	rotating = []position{{2, 2}, {3, 3}, {1, 1}}
	chained  = []position{{2, 1}, {3, 2}, {4, 3}}
	withTail = []position{{2, 1}, {1, 2}, {4, 3}}
	blocked  = []position{{2, 1}, {2, 2}} // the second stays
	all      = map[exchangeEvent]uint8{crashAll: 2, answerLost: 2}
	users    = map[exchangeEvent]uint8{crashAll: 1, answerLost: 1, goBackTo: 1}
	foreign  = map[exchangeEvent]uint8{crashAll: 1, answerLost: 1, takeFreeKey: 1}
	rejected = map[exchangeEvent]uint8{crashAll: 1, answerLost: 1, refuse: 1}
)

var exchangeScenarios = func() (scenarios []exchangeScenario) {
	for _, cover := range []identity.Cover{identity.CoverAll, identity.CoverPart} {
		add := func(name string, from, to []position, left map[exchangeEvent]uint8) {
			scenarios = append(scenarios, exchangeScenario{
				name: fmt.Sprintf("%s, cover %d", name, cover), world: exchangeWorld{n: len(from), cover: cover},
				from: from, to: to, left: left,
			})
		}
		add("exchange of keys", two, swapped, all)
		add("exchange of names", two, names, all)
		add("exchange of both", two, both, all)
		add("key for a name", two, crossed, all)
		add("cycle of three", three, rotated, all)
		add("cycle of three, names too", three, rotating, all)
		add("chain", three, chained, all)
		add("the other one stays", two, blocked, all)
		add("exchange, undone", two, swapped, users)
		add("exchange of both, undone", two, both, users)
		add("exchange, and someone takes a place", two, swapped, foreign)
		add("cycle of three, and someone takes a place", three, rotated, foreign)
		add("exchange, and Kong rejects one", two, swapped, rejected)
		add("exchange of both, and Kong rejects one", two, both, rejected)
		if cover == identity.CoverAll {
			add("exchange beside another move", three, withTail, all)
			add("cycle of three, one undone", three, rotated, users)
		}
	}
	return scenarios
}()

func TestExchanges(t *testing.T) {
	for _, sc := range exchangeScenarios {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			states, wrong, trace := exploreExchange(&sc.world, sc.start())
			if wrong != "" {
				t.Errorf("%s, after %d steps:\n%s", wrong, len(trace), strings.Join(trace, "\n"))
			}
			t.Logf("%d states", states)
		})
	}
}

func TestWrongExchangesAreFound(t *testing.T) {
	whole := func(p exchangeProtocol) exchangeWorld {
		return exchangeWorld{protocol: p, n: 2, cover: identity.CoverAll}
	}
	for _, sc := range []exchangeScenario{
		{"nobody moves aside", whole(exchangeProtocol{noTurn: true}), two, swapped, nil, "is not where it wants to be"},
		{"nobody moves aside, names", whole(exchangeProtocol{noTurn: true}), two, names, nil, "is not where it wants to be"},
		{"moves aside although the other one stays", whole(exchangeProtocol{asideInChain: true}), two, blocked, nil, "it never ends"},
		{"deletes instead of moving aside", whole(exchangeProtocol{deletes: true}), two, swapped, nil, "is missing"},
		{"writes without a free key", whole(exchangeProtocol{blind: true}), two, swapped, nil, "409"},
		{"stays aside when the other one stays", whole(exchangeProtocol{staysAside: true}), two, swapped, users, "stays aside"},
		{"stays aside when its place is taken", whole(exchangeProtocol{staysAside: true}), two, swapped, rejected, "stays aside"},
	} {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			states, wrong, trace := exploreExchange(&sc.world, sc.start())
			if !strings.Contains(wrong, sc.finds) || wrong == "" {
				t.Errorf("in %d states %q, want %q:\n%s", states, wrong, sc.finds, strings.Join(trace, "\n"))
			}
			t.Logf("%d states: %s, after\n%s", states, wrong, strings.Join(trace, "\n"))
		})
	}
}
