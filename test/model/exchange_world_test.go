package model

import (
	"fmt"

	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// This is a second world: several bindings that exchange their keys and instance names, one plugin
// each, and one operator that reconciles each of them by itself. The decisions, and who moves aside,
// are internal/identity's.

// bindings is how many there can be; a plugin that no binding owns comes after them.
const bindings = 3

const foreignPlugin = bindings

// A spot is a key in Kong. Below asideOf it is where bindings want to be. A plugin that moved aside
// is at one of the others, which belong to the same number.
type spot uint8

const asideOf spot = 8

func (k spot) left() spot { return k % asideOf }

// A position is a key and an instance name; 0 is none.
type position struct {
	key  spot
	name uint8
}

// exchangeState is the whole state of the second world.
type exchangeState struct {
	holds   [bindings + 1]position // in Kong; without a key there is no plugin
	wants   [bindings]position     // in the API server
	former  [bindings]position     // what a user goes back to
	refused [bindings]bool         // Kong rejects the desired plugin of this binding
	procs   [bindings]reconcile
	late    move
	left    [exchangeEvents]uint8
	// disturbed: a fault, or a user, has interfered. Then Kong may refuse a write, and a plugin may
	// be away for longer.
	disturbed bool
}

// A move is a write: the plugin of a binding gets a position, none if it is deleted.
type move struct {
	of uint8 // binding + 1
	to position
	// asIs: the plugin as Kong has it, but for its position. Kong has accepted that before.
	asIs bool
}

// reconcile is a reconcile of one binding: it looks at the others, looks at Kong, and writes.
type reconcile struct {
	at   counter
	turn identity.Turn
	send move
	last identity.Operation
}

type exchangeEvent uint8

const (
	crashAll exchangeEvent = iota
	answerLost
	goBackTo    // a user undoes the change of one binding
	takeFreeKey // someone creates a plugin where one has left
	refuse      // Kong rejects the desired plugin of one binding

	exchangeEvents
)

// exchangeProtocol leaves out or changes rules. The zero value is correct.
type exchangeProtocol struct {
	noTurn       bool // no binding ever moves aside
	asideInChain bool // moves aside although the other one stays
	deletes      bool // deletes instead of moving aside
	blind        bool // writes without looking whether the key is free
	staysAside   bool // does not move back when the exchange cannot end
}

type exchangeWorld struct {
	protocol exchangeProtocol
	n        int
	// cover is how much a plugin protects while it is aside.
	cover identity.Cover
}

func (w *exchangeWorld) movers(s *exchangeState) []identity.Mover {
	text := func(p position) identity.Position {
		q := identity.Position{}
		if p.key != 0 {
			q.Key = fmt.Sprint(p.key)
		}
		if p.name != 0 {
			q.InstanceName = fmt.Sprint(p.name)
		}
		return q
	}
	var movers []identity.Mover
	for i := range w.n {
		m := identity.Mover{
			Binding: binding(i), Holds: text(s.holds[i]), Wants: text(s.wants[i]),
			Stays: s.refused[i] || w.foreignInWay(s, i), Aside: w.cover,
		}
		if s.holds[i].key >= asideOf || w.taken(s, i, s.holds[i].key+asideOf) != 0 {
			m.Aside = identity.CoverNone
		}
		movers = append(movers, m)
	}
	return movers
}

func (w *exchangeWorld) foreignInWay(s *exchangeState, i int) bool {
	return s.holds[foreignPlugin].key != 0 && s.holds[foreignPlugin].key == s.wants[i].key
}

func binding(i int) identity.Binding {
	return identity.Binding{Cluster: "c1", Namespace: "shop", Name: string(rune('a' + i))}
}

// taken is the plugin, counted from 1, that has the key and is not the binding's; 0 if it is free.
func (w *exchangeWorld) taken(s *exchangeState, i int, key spot) int {
	for j, p := range s.holds {
		if j != i && key != 0 && p.key == key {
			return j + 1
		}
	}
	return 0
}

func (w *exchangeWorld) named(s *exchangeState, i int, name uint8) int {
	for j, p := range s.holds {
		if j != i && name != 0 && p.key != 0 && p.name == name {
			return j + 1
		}
	}
	return 0
}

func plugin(i int) string { return string(rune('0' + i)) }

func (w *exchangeWorld) observe(_, holder int) identity.Observation {
	switch holder {
	case 0:
		return identity.Observation{Ownership: identity.Absent}
	case foreignPlugin + 1:
		return identity.Observation{Ownership: identity.Unowned, ID: plugin(foreignPlugin), SamePlugin: true}
	default:
		return identity.Observation{Ownership: identity.OwnedByOther, ID: plugin(holder - 1), SamePlugin: true}
	}
}

// facts are what the lookups in Kong return.
func (w *exchangeWorld) facts(s *exchangeState, i int, turn identity.Turn) identity.Facts {
	holds, wants := s.holds[i], s.wants[i]
	f := identity.Facts{
		Recorded: plugin(i), Turn: turn,
		ByID:           identity.Observation{Ownership: identity.Absent},
		ByName:         w.observe(i, w.named(s, i, wants.name)),
		ByKey:          w.observe(i, w.taken(s, i, wants.key)),
		ByInstanceName: w.observe(i, w.named(s, i, wants.name)),
		AsideKey:       w.observe(i, w.taken(s, i, w.asideTarget(s, i).key)),
	}
	if holds.key != 0 {
		f.ByID = identity.Observation{
			Ownership: identity.Owned, ID: plugin(i), SamePlugin: true,
			Equal: holds == wants, OtherName: holds.name != wants.name, Aside: holds.key >= asideOf,
		}
	}
	return f
}

// asideTarget is where MoveAside and MoveBack put a plugin.
func (w *exchangeWorld) asideTarget(s *exchangeState, i int) position {
	holds, wants := s.holds[i], s.wants[i]
	to := holds
	switch {
	case holds.key >= asideOf:
		to.key = holds.key.left()
	case w.taken(s, i, wants.key) == 0:
		to.key = wants.key
	default:
		to.key = holds.key + asideOf
	}
	if holds.name != wants.name {
		to.name = 0
	}
	return to
}

type exchangeYield func(step string, t exchangeState, wrong string)

// step is the next step of a binding's reconcile.
func (w *exchangeWorld) step(s exchangeState, i int, faults bool, yield exchangeYield) {
	p := &s.procs[i]
	who := binding(i).Name
	switch p.at {
	case idle:
		p.at, p.turn = lookByID, identity.NoTurn
		if !w.protocol.noTurn {
			p.turn = identity.FindCycle(binding(i), w.movers(&s))
		}
		if w.protocol.asideInChain && w.taken(&s, i, s.wants[i].key) != 0 && s.holds[i].key < asideOf {
			p.turn = identity.TurnAside
		}
		yield(who+" begins", s, "")
	case lookByID:
		action := identity.Decide(w.facts(&s, i, p.turn))
		w.prepare(&s, i, action)
		yield(fmt.Sprintf("%s looks: %v %s", who, action.Operation, action.ID), s, "")
	case write:
		w.write(s, i, faults, yield)
	}
}

func (w *exchangeWorld) prepare(s *exchangeState, i int, action identity.Action) {
	p := &s.procs[i]
	*p = reconcile{at: write, last: action.Operation, send: move{of: uint8(i + 1)}}
	switch action.Operation {
	case identity.Put:
		p.send.to = s.wants[i]
	case identity.MoveAside, identity.MoveBack:
		p.send.to, p.send.asIs = w.asideTarget(s, i), action.Operation == identity.MoveBack
		if w.protocol.deletes {
			p.send.to = position{}
		}
		if action.Operation == identity.MoveBack && w.protocol.staysAside {
			*p = reconcile{last: action.Operation}
		}
	case identity.Delete:
	case identity.Conflict, identity.Wait:
		if p.send.to = s.wants[i]; !w.protocol.blind {
			*p = reconcile{last: action.Operation}
		}
	default:
		*p = reconcile{last: action.Operation}
	}
}

func (w *exchangeWorld) write(s exchangeState, i int, faults bool, yield exchangeYield) {
	before, send, who := s, s.procs[i].send, binding(i).Name
	s.procs[i] = reconcile{last: s.procs[i].last}
	status, wrong := w.commit(&s, send)
	yield(fmt.Sprintf("%s writes %v: %d", who, send.to, status), s, wrong)
	if faults && before.left[answerLost] > 0 && before.late == (move{}) {
		before.left[answerLost]--
		before.disturbed = true
		before.procs[i] = reconcile{last: before.procs[i].last}
		before.late = send
		yield(fmt.Sprintf("%s writes %v, and it hangs", who, send.to), before, "")
	}
}

// commit applies a write as Kong does, and returns the status code.
func (w *exchangeWorld) commit(s *exchangeState, m move) (status int, wrong string) {
	i := int(m.of - 1)
	switch {
	case m.to.key == 0:
		s.holds[i] = position{}
		return 204, ""
	case s.refused[i] && !m.asIs:
		return 400, ""
	case w.taken(s, i, m.to.key) != 0 || w.named(s, i, m.to.name) != 0:
		if !s.disturbed {
			wrong = "Kong answered 409"
		}
		return 409, wrong
	default:
		s.holds[i] = m.to
		return 200, ""
	}
}

// environment yields the steps of users and of Kong.
func (w *exchangeWorld) environment(s exchangeState, yield exchangeYield) {
	if s.late != (move{}) {
		t := s
		t.late = move{}
		yield("Kong drops a write that hung", t, "")
		w.commit(&t, s.late)
		yield(fmt.Sprintf("Kong applies a write that hung: %v", s.late.to), t, "")
	}
	use := func(e exchangeEvent, what string, change func(*exchangeState) bool) {
		if t := s; s.left[e] > 0 && change(&t) {
			t.left[e]--
			t.disturbed = true
			yield(what, t, "")
		}
	}
	use(crashAll, "the operator crashes", func(t *exchangeState) bool {
		// A write that was about to be sent may still be applied.
		for i := range t.procs {
			if t.procs[i].at == write && t.late == (move{}) {
				t.late = t.procs[i].send
			}
			t.procs[i] = reconcile{}
		}
		return true
	})
	for i := range w.n {
		use(goBackTo, "a user undoes the change of "+binding(i).Name, func(t *exchangeState) bool {
			t.wants[i] = s.former[i]
			return t.wants != s.wants
		})
		use(refuse, "Kong rejects the plugin of "+binding(i).Name, func(t *exchangeState) bool {
			t.refused[i] = true
			return t.refused != s.refused && s.holds[i] != s.wants[i]
		})
		use(takeFreeKey, "someone takes the place that "+binding(i).Name+" wants", func(t *exchangeState) bool {
			t.holds[foreignPlugin].key = s.wants[i].key
			return w.taken(&s, -1, s.wants[i].key) == 0
		})
	}
}

// covered reports whether a plugin protects the traffic of a place.
func (w *exchangeWorld) covered(s *exchangeState, place spot) bool {
	for _, p := range s.holds {
		if p.key != 0 && (p.key == place || w.cover == identity.CoverAll && p.key.left() == place) {
			return true
		}
	}
	return false
}

// wasCovered reports whether a plugin protected the place before the exchange.
func (w *exchangeWorld) wasCovered(s *exchangeState, place spot) bool {
	for i := range w.n {
		if s.former[i].key == place {
			return true
		}
	}
	return false
}

// check returns the violation of a state.
func (w *exchangeWorld) check(s *exchangeState) string {
	if s.disturbed {
		return w.settle(*s)
	}
	bare := 0
	for i := range w.n {
		if s.holds[i].key == 0 {
			return "the plugin of " + binding(i).Name + " is missing"
		}
		if place := s.wants[i].key; w.wasCovered(s, place) && !w.covered(s, place) {
			bare++
			if w.taken(s, i, s.wants[i].key) != 0 || w.named(s, i, s.wants[i].name) != 0 {
				return "nothing protects a place that its binding cannot take"
			}
		}
	}
	if bare > 1 {
		return "nothing protects two places at the same time"
	}
	return w.settle(*s)
}

// settle reconciles one binding after the other, without faults, until nothing changes.
func (w *exchangeWorld) settle(s exchangeState) (wrong string) {
	s.late = move{}
	s.disturbed = true
	for round := range 30 {
		before := s
		for i := range w.n {
			for range 10 {
				w.step(s, i, false, func(_ string, t exchangeState, bad string) {
					s = t
					wrong += bad
				})
				if s.procs[i].at == idle {
					break
				}
			}
		}
		if wrong != "" {
			return "left alone from here: " + wrong
		}
		before.procs = [bindings]reconcile{}
		after := s
		after.procs = [bindings]reconcile{}
		if after == before && round > 0 { // in the first round a reconcile that had begun ends
			return w.judge(&s)
		}
	}
	return "left alone from here: it never ends"
}

// judge returns the violation of a state in which nothing changes any more.
func (w *exchangeWorld) judge(s *exchangeState) string {
	stuck := s.refused != [bindings]bool{} || s.holds[foreignPlugin].key != 0
	for i := range w.n {
		last, who := s.procs[i].last, binding(i).Name
		for j := range w.n {
			stuck = stuck || j != i && s.wants[j].key == s.wants[i].key || j != i && s.wants[j].name != 0 && s.wants[j].name == s.wants[i].name
		}
		switch {
		case s.holds[i].key >= asideOf && last != identity.Wait && !(s.refused[i] && last == identity.Put):
			return "left alone from here: the plugin of " + who + " stays aside"
		case s.holds[i] == s.wants[i] && last != identity.None:
			return fmt.Sprintf("left alone from here: %s is where it wants to be, and comes to %v", who, last)
		case s.holds[i] != s.wants[i] && !stuck && w.movable(s):
			return "left alone from here: " + who + " is not where it wants to be"
		case last != identity.None && last != identity.Conflict && last != identity.Wait && !s.refused[i]:
			return fmt.Sprintf("left alone from here: %s comes to %v again and again", who, last)
		}
	}
	return ""
}

// movable reports whether all bindings can be where they want to be: no two want the same.
func (w *exchangeWorld) movable(s *exchangeState) bool {
	for i := range w.n {
		for j := range i {
			if s.wants[i].key == s.wants[j].key || s.wants[i].name != 0 && s.wants[i].name == s.wants[j].name {
				return false
			}
		}
	}
	return true
}

// exploreExchange visits all states, nearest first, and returns the first violation and its trace.
func exploreExchange(w *exchangeWorld, start exchangeState) (states int, wrong string, trace []string) {
	type node struct {
		parent int
		step   string
		s      exchangeState
	}
	nodes := []node{{parent: -1, s: start}}
	visited := map[exchangeState]bool{start: true}
	for at := 0; at < len(nodes) && wrong == ""; at++ {
		add := func(step string, t exchangeState, bad string) {
			if wrong != "" || visited[t] && bad == "" {
				return
			}
			visited[t] = true
			nodes = append(nodes, node{at, step, t})
			if wrong = bad; wrong == "" {
				wrong = w.check(&t)
			}
		}
		for i := range w.n {
			w.step(nodes[at].s, i, true, add)
		}
		w.environment(nodes[at].s, add)
	}
	if wrong != "" {
		for at := len(nodes) - 1; at > 0; at = nodes[at].parent {
			trace = append([]string{nodes[at].step}, trace...)
		}
	}
	return len(nodes), wrong, trace
}
