package identity

import (
	"cmp"
	"slices"
)

// Kong's unique keys make bindings wait for each other: one that is to move to the scope of
// another waits until that one has left. If each waits for the next, none ever moves. FindCycle
// finds such a cycle and selects the one binding whose plugin moves aside, to a key that nobody
// uses and that protects the same traffic. The others follow in turn: each moves as soon as its
// key is free, by rows 3 and 7 as always.
//
// A plugin on a route has such a key: the same with the route's service beside it or, if it has
// the service already, without it. Kong runs the more specific of the two, and both apply to
// exactly the requests of the route. A plugin on a service alone, a consumer alone or everything
// has no such key. It moves to a narrower scope, so that it runs nowhere where it did not run.

// Turn is what a binding may do while another binding's plugin has its key or instance name.
type Turn int

const (
	// NoTurn: the other plugin stays, as far as is known. That is a conflict.
	NoTurn Turn = iota
	// TurnWait: the other plugin is going to move. The binding waits for it.
	TurnWait
	// TurnAside: the bindings wait for each other, and this one moves aside first.
	TurnAside
)

// Cover says which of its traffic a plugin still protects after it moved aside.
type Cover int

const (
	// CoverNone: there is no free key to move aside to.
	CoverNone Cover = iota
	// CoverPart: the free key has a narrower scope.
	CoverPart
	// CoverAll: the free key applies to the same requests.
	CoverAll
)

// Position is what Kong lets only one plugin have. An empty part is not in use.
type Position struct {
	// Key is the unique key: plugin name and entity IDs of the scope, in any notation of the caller.
	Key string
	// InstanceName is the instance_name.
	InstanceName string
}

// Mover is a binding that wants a position, in the Kong and workspace in question.
type Mover struct {
	Binding Binding
	// Holds is the position of its plugin in Kong; empty if it has none.
	Holds Position
	// Wants is the position that the binding desires.
	Wants Position
	// Stays: its plugin does not move, whatever becomes free. The operator may not write it (paused,
	// Observe, being deleted, not allowed by the gateway), Kong rejected its desired plugin, or a
	// plugin that is no mover's is in its way.
	Stays bool
	// Aside is how much the plugin protects once it is aside. CoverNone if it is aside already.
	Aside Cover
	// Entities is the number of entities in the scope that its plugin has now. The breaker of a cycle
	// should have few: a plugin with a wider scope also protects the narrower ones.
	Entities int
}

// MaxMovers bounds the work of FindCycle. A cycle of more bindings stays in conflict.
const MaxMovers = 32

// FindCycle returns what the binding may do. movers are all bindings that want the key or the
// instance name of another one, those that hold what they want, and so on until nothing new is
// found; the order does not matter. The result is NoTurn unless every binding that has to move so
// that this one can move is among them and is able to. It is NoTurn, too, if two bindings want the
// same position: then the one that moves aside could lose its place.
func FindCycle(self Binding, movers []Mover) Turn {
	i := slices.IndexFunc(movers, func(m Mover) bool { return m.Binding.Same(self) })
	if i < 0 || len(movers) > MaxMovers {
		return NoTurn
	}
	x := play(movers, i)
	switch {
	case x == nil || !x.arrived[i]:
		return NoTurn
	case x.aside[i]:
		return TurnAside
	default:
		return TurnWait
	}
}

// play plays the moves through until nothing moves any more. It returns nil if the mover has what
// it wants, or nothing is in its way. A mover that would move aside and never arrive stays where
// it is: then play begins again without it.
func play(movers []Mover, i int) *exchange {
	stuck := make([]bool, len(movers))
	for {
		x := newExchange(movers, stuck)
		if x.arrived[i] || len(x.blockers(i)) == 0 {
			return nil
		}
		x.moveAll()
		for b := x.breaker(); b >= 0; b = x.breaker() {
			// What it keeps aside nobody else gets: who wants that, too, is stuck.
			x.aside[b], x.holds[b] = true, Position{}
			x.moveAll()
		}
		inVain := false
		for b := range movers {
			if x.aside[b] && !x.arrived[b] {
				stuck[b], inVain = true, true
			}
		}
		if !inVain {
			return x
		}
	}
}

// exchange is the state of a play.
type exchange struct {
	movers         []Mover
	holds          []Position
	stuck          []bool
	arrived, aside []bool
}

func newExchange(movers []Mover, stuck []bool) *exchange {
	n := len(movers)
	x := &exchange{
		movers: movers, holds: make([]Position, n), stuck: slices.Clone(stuck),
		arrived: make([]bool, n), aside: make([]bool, n),
	}
	for i, m := range movers {
		x.holds[i] = m.Holds
		x.arrived[i] = m.Holds == m.Wants
		x.stuck[i] = x.stuck[i] || m.Stays || x.contested(i)
	}
	return x
}

// contested reports whether another binding wants what this one wants and does not have.
func (x *exchange) contested(i int) bool {
	m := x.movers[i]
	for j, other := range x.movers {
		if j == i {
			continue
		}
		key := m.Wants.Key != "" && m.Wants.Key != m.Holds.Key && m.Wants.Key == other.Wants.Key
		name := m.Wants.InstanceName != "" && m.Wants.InstanceName != m.Holds.InstanceName &&
			m.Wants.InstanceName == other.Wants.InstanceName
		if key || name {
			return true
		}
	}
	return false
}

// blockers are the movers that hold what the binding wants.
func (x *exchange) blockers(i int) (blockers []int) {
	wants := x.movers[i].Wants
	for j, holds := range x.holds {
		if j != i && (wants.Key != "" && holds.Key == wants.Key ||
			wants.InstanceName != "" && holds.InstanceName == wants.InstanceName) {
			blockers = append(blockers, j)
		}
	}
	return blockers
}

// moveAll moves every plugin that can move, until none can.
func (x *exchange) moveAll() {
	for moved := true; moved; {
		moved = false
		for i := range x.movers {
			if !x.arrived[i] && !x.stuck[i] && len(x.blockers(i)) == 0 {
				x.holds[i], x.arrived[i], moved = x.movers[i].Wants, true, true
			}
		}
	}
}

// breaker is the mover to move aside next, -1 if there is none.
func (x *exchange) breaker() int {
	best := -1
	for i, m := range x.movers {
		can := !x.arrived[i] && !x.stuck[i] && !x.aside[i] && m.Aside != CoverNone && x.inCycle(i)
		if can && (best < 0 || compareMovers(m, x.movers[best]) < 0) {
			best = i
		}
	}
	return best
}

// compareMovers orders movers by how well they break a cycle. The order is the same for all of
// them, in every process.
func compareMovers(a, b Mover) int {
	return cmp.Or(
		cmp.Compare(b.Aside, a.Aside),
		cmp.Compare(a.Entities, b.Entities),
		cmp.Compare(a.Binding.Namespace, b.Binding.Namespace),
		cmp.Compare(a.Binding.Name, b.Binding.Name),
	)
}

// inCycle reports whether the mover waits, through others, for itself.
func (x *exchange) inCycle(i int) bool {
	seen := make([]bool, len(x.movers))
	open := x.blockers(i)
	for len(open) > 0 {
		j := open[0]
		open = open[1:]
		switch {
		case j == i:
			return true
		case !seen[j]:
			seen[j] = true
			open = append(open, x.blockers(j)...)
		}
	}
	return false
}
