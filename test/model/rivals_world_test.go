package model

import (
	"fmt"

	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// This is a third world: two policies of one plugin that want the same entity, an older and a younger
// one, each with its binding, and the one place in Kong. What becomes of the bindings is for
// internal/policy, and what becomes of the plugin for internal/identity. The protocol around them is
// that of spec.replaces: locks, and deletions that wait.

// policies is how many there are; the older one is the first.
const policies = 2

// A rivalPolicy is a policy in the API server.
type rivalPolicy struct {
	exists, deleting bool
	names            bool // the target
	conflicted       bool // as its status says
	// begun: its reconcile has listed what seen shows, and has not acted on it.
	begun bool
	seen  [policies]rivalBinding
	leave [policies]bool
}

// A rivalBinding is the binding of a policy in the API server.
type rivalBinding struct {
	exists, deleting bool
	born             uint8 // which one of this name it is
	plugin           uint8 // the recorded ID; 0 is none
	conflict         uint8 // the plugin in its way, as its status says
	replaces         bool  // the binding of the other policy
	overdue          bool  // its deletion has waited long enough
}

// A rivalWrite is what a binding's reconcile is about to do.
type rivalWrite struct {
	pending bool
	op      identity.Operation
	id      uint8
}

// rivalState is the whole state of the third world.
type rivalState struct {
	policies [policies]rivalPolicy
	bindings [policies]rivalBinding
	// The plugin in the place: its ID, 0 if there is none, and the policy whose binding owns it.
	plugin, owner uint8
	ids           uint8 // that Kong has given
	next          [policies]rivalWrite
	late          rivalWrite
	lateOf        uint8
	claimed       bool // Kong's ingress controller wants the place
	left          [rivalEvents]uint8
	disturbed     bool
}

type rivalEvent uint8

const (
	rivalCrash rivalEvent = iota
	rivalHang
	olderNames    // the older policy gets the target
	olderForgets  // the older policy loses the target
	olderDeleted  // the older policy is deleted
	youngerGoes   // the younger policy is deleted
	waitIsOver    // a deletion has waited long enough
	pluginDeleted // somebody deletes the plugin in Kong
	claim         // an annotation wants the plugin in the place

	rivalEvents
)

// rivalProtocol leaves out or changes rules. The zero value is correct.
type rivalProtocol struct {
	deletesAtOnce  bool // a younger policy deletes its binding before the older one has the plugin
	replacesNobody bool // no binding replaces another one
	waitsForNobody bool // a deletion does not wait for a binding that takes the plugin over
	noGrace        bool // a deletion does not wait for a policy that waits for the place
	noLock         bool // two bindings of one place are reconciled at once
	keepsNothing   bool // a deletion deletes a plugin that the other binding has recorded, too
	ignoresClaims  bool // a plugin is made where an annotation stands
}

type rivalWorld struct{ protocol rivalProtocol }

type rivalYield func(step string, t rivalState, wrong string)

var rivalNames = [policies]string{"older", "younger"}

// stepPolicy is the next step of a policy's reconcile: it lists, or acts on what it listed.
func (w *rivalWorld) stepPolicy(s rivalState, i int, yield rivalYield) {
	p := &s.policies[i]
	switch {
	case !p.exists:
	case p.deleting:
		b := &s.bindings[i]
		if b.exists && b.deleting {
			return
		}
		if b.exists {
			b.deleting = true
		} else {
			*p = rivalPolicy{}
		}
		yield(rivalNames[i]+" policy deletes", s, "")
	case !p.begun:
		p.begun, p.seen = true, s.bindings
		for j := range policies {
			p.leave[j] = s.policies[j].deleting
		}
		yield(rivalNames[i]+" policy lists", s, "")
	default:
		plan, conflicted := w.plan(i, p)
		b := &s.bindings[i]
		for _, declared := range plan.Apply {
			if !b.exists {
				*b = rivalBinding{exists: true, born: b.born%4 + 1}
			}
			b.replaces = declared.Spec.Replaces != nil
		}
		if len(plan.Delete) > 0 && b.exists && b.born == p.seen[i].born {
			b.deleting = true
		}
		p.begun, p.seen, p.leave, p.conflicted = false, [policies]rivalBinding{}, [policies]bool{}, conflicted
		yield(fmt.Sprintf("%s policy: %d applied, %d deleted, in conflict %t", rivalNames[i], len(plan.Apply), len(plan.Delete), conflicted), s, "")
	}
}

// stepBinding is the next step of a binding's reconcile: it looks, or writes and records.
func (w *rivalWorld) stepBinding(s rivalState, i int, faults bool, yield rivalYield) {
	b := &s.bindings[i]
	switch {
	case s.next[i].pending:
		w.writeRival(s, i, faults, yield)
	case !b.exists, s.next[1-i].pending && !w.protocol.noLock:
	case s.late.pending && (int(s.lateOf) == i || b.replaces && b.plugin == 0):
		// Kong may still apply an earlier write.
	case b.deleting:
		w.lookBeforeRemoval(s, i, yield)
	default:
		w.look(s, i, yield)
	}
}

func (w *rivalWorld) observation(s *rivalState, i int) identity.Observation {
	switch {
	case s.plugin == 0:
		return identity.Observation{Ownership: identity.Absent}
	case int(s.owner) == i:
		return identity.Observation{Ownership: identity.Owned, ID: string(pluginID(s.plugin)), SamePlugin: true, Equal: true}
	default:
		return identity.Observation{Ownership: identity.OwnedByOther, ID: string(pluginID(s.plugin)), SamePlugin: true}
	}
}

func (w *rivalWorld) look(s rivalState, i int, yield rivalYield) {
	b, other := &s.bindings[i], &s.bindings[1-i]
	absent := identity.Observation{Ownership: identity.Absent}
	f := identity.Facts{Recorded: string(pluginID(b.plugin)), ByKey: w.observation(&s, i), ByName: absent, ByID: absent, ByInstanceName: absent}
	if f.ByKey.Ownership == identity.Owned {
		f.ByName = f.ByKey
	}
	if b.plugin == 0 && b.replaces && other.exists {
		if other.plugin == 0 {
			return // it waits until that one has a plugin
		}
		f.Replaces = string(pluginID(other.plugin))
		if s.plugin == other.plugin {
			if f.ByID = f.ByKey; f.ByID.Ownership == identity.OwnedByOther {
				f.ByID.OwnerState = identity.OwnerReplaced
			}
		}
	} else if s.plugin == b.plugin && b.plugin != 0 {
		if f.ByID = f.ByKey; f.ByID.Ownership == identity.OwnedByOther && other.deleting && other.plugin == b.plugin {
			f.ByID.OwnerState = identity.OwnerGone // it gives the plugin back
		}
	}
	action := identity.Decide(f)
	makes := action.Operation == identity.Create || action.Operation == identity.TakeOver ||
		action.Operation == identity.Put && s.plugin == 0
	b.conflict = 0
	switch {
	case makes && s.claimed && !w.protocol.ignoresClaims:
	case action.Operation == identity.Conflict:
		b.conflict = s.plugin
	case action.Operation != identity.Wait && action.Operation != identity.None:
		s.next[i] = rivalWrite{pending: true, op: action.Operation, id: b.plugin}
		if action.Operation == identity.TakeOver || action.Operation == identity.RecordID {
			s.next[i].id = s.plugin
		}
		if makes && s.claimed {
			yield("", s, "a plugin is made where an annotation stands")
			return
		}
	}
	yield(fmt.Sprintf("%s binding looks: %v", rivalNames[i], action.Operation), s, "")
}

// lookBeforeRemoval deletes the plugin of a binding, unless it passes over.
func (w *rivalWorld) lookBeforeRemoval(s rivalState, i int, yield rivalYield) {
	b, other := &s.bindings[i], &s.bindings[1-i]
	waiting := &s.policies[1-i]
	owned := s.plugin != 0 && int(s.owner) == i
	replaces := other.exists && other.replaces
	switch {
	case !owned:
		s.bindings[i] = rivalBinding{born: b.born}
		yield(rivalNames[i]+" binding is gone", s, "")
	case replaces && !other.deleting && other.plugin == 0 && b.plugin != 0 && !b.overdue && !w.protocol.waitsForNobody:
	case !replaces && waiting.exists && waiting.conflicted && !waiting.deleting && b.plugin != 0 && !b.overdue && !w.protocol.noGrace:
	case other.exists && !other.deleting && other.plugin == b.plugin && b.plugin != 0 && !b.overdue && !w.protocol.keepsNothing:
	case !replaces && other.exists && !other.deleting && other.plugin == 0 && other.conflict == b.plugin && b.plugin != 0 && !b.overdue && !w.protocol.noGrace:
	default:
		s.next[i] = rivalWrite{pending: true, op: identity.Delete, id: s.plugin}
		wrong := ""
		if !s.disturbed && w.isWanted(&s, i) {
			wrong = "the plugin is deleted although the other policy wants it"
		}
		yield(rivalNames[i]+" binding is going to delete the plugin", s, wrong)
	}
}

func (w *rivalWorld) writeRival(s rivalState, i int, faults bool, yield rivalYield) {
	before, write := s, s.next[i]
	s.next[i] = rivalWrite{}
	status, wrong := w.commitRival(&s, i, write)
	if b := &s.bindings[i]; status < 300 && write.op != identity.Delete {
		b.plugin = s.plugin
	}
	yield(fmt.Sprintf("%s binding: %v %d: %d", rivalNames[i], write.op, write.id, status), s, wrong)
	if !faults || write.op == identity.RecordID {
		return
	}
	if before.left[rivalHang] > 0 && !before.late.pending {
		before.left[rivalHang]--
		before.disturbed = true
		before.next[i] = rivalWrite{}
		before.late, before.lateOf = write, uint8(i)
		yield(fmt.Sprintf("%s binding: %v hangs", rivalNames[i], write.op), before, "")
	}
}

// commitRival applies a write as Kong does, and returns the status code.
func (w *rivalWorld) commitRival(s *rivalState, i int, write rivalWrite) (status int, wrong string) {
	switch write.op {
	case identity.Delete:
		if s.plugin != write.id {
			return 204, ""
		}
		s.plugin = 0
		return 204, ""
	case identity.RecordID:
		return 200, ""
	}
	if s.plugin != 0 && s.plugin != write.id {
		if !s.disturbed {
			wrong = "Kong answered 409"
		}
		return 409, wrong
	}
	if write.op == identity.Create {
		s.ids++
		write.id = s.ids
	}
	s.plugin, s.owner = write.id, uint8(i)
	return 200, ""
}

// isWanted reports whether a policy has said that it wants the plugin that the binding of the other one
// deletes: it waits for the place, or its binding does.
func (w *rivalWorld) isWanted(s *rivalState, by int) bool {
	other := &s.policies[1-by]
	b := &s.bindings[1-by]
	return other.exists && !other.deleting && other.names && (other.conflicted || b.exists && !b.deleting && (b.replaces || b.conflict == s.plugin || b.plugin == s.plugin))
}

// environment yields the steps of users and of Kong.
func (w *rivalWorld) environment(s rivalState, yield rivalYield) {
	if s.late.pending {
		t := s
		t.late, t.lateOf = rivalWrite{}, 0
		yield("Kong drops a write that hung", t, "")
		w.commitRival(&t, int(s.lateOf), s.late)
		yield("Kong applies a write that hung", t, "")
	}
	use := func(e rivalEvent, what string, disturbs bool, change func(*rivalState) bool) {
		if t := s; s.left[e] > 0 && change(&t) {
			t.left[e]--
			t.disturbed = t.disturbed || disturbs
			yield(what, t, "")
		}
	}
	older, younger := &s.policies[0], &s.policies[1]
	use(rivalCrash, "the operator crashes", false, func(t *rivalState) bool {
		t.next = [policies]rivalWrite{}
		for i := range t.policies {
			p := &t.policies[i]
			p.begun, p.seen, p.leave = false, [policies]rivalBinding{}, [policies]bool{}
		}
		return *t != s
	})
	use(olderNames, "the older policy gets the target", false, func(t *rivalState) bool {
		t.policies[0].names, t.policies[0].begun = true, false
		return older.exists && !older.names
	})
	use(olderForgets, "the older policy loses the target", false, func(t *rivalState) bool {
		t.policies[0].names, t.policies[0].begun, t.policies[0].conflicted = false, false, false
		return older.exists && older.names
	})
	use(olderDeleted, "the older policy is deleted", false, func(t *rivalState) bool {
		t.policies[0].deleting = true
		return older.exists && !older.deleting
	})
	use(youngerGoes, "the younger policy is deleted", false, func(t *rivalState) bool {
		t.policies[1].deleting = true
		return younger.exists && !younger.deleting
	})
	use(pluginDeleted, "somebody deletes the plugin", true, func(t *rivalState) bool {
		t.plugin = 0
		return s.plugin != 0
	})
	use(claim, "an annotation wants the place", true, func(t *rivalState) bool {
		t.claimed = true
		return !s.claimed
	})
	for i := range policies {
		use(waitIsOver, "the deletion of the "+rivalNames[i]+" binding has waited", true, func(t *rivalState) bool {
			t.bindings[i].overdue = true
			return s.bindings[i].deleting && !s.bindings[i].overdue
		})
	}
}

// settle lets everybody go on, without faults, until nothing changes.
func (w *rivalWorld) settle(s rivalState) string {
	s.late, s.lateOf = rivalWrite{}, 0
	wrong := ""
	take := func(_ string, t rivalState, bad string) {
		s = t
		wrong += bad
	}
	for range 40 {
		before := s
		for i := range policies {
			w.stepPolicy(s, i, take)
			w.stepPolicy(s, i, take)
		}
		for i := range policies {
			w.stepBinding(s, i, false, take)
			w.stepBinding(s, i, false, take)
		}
		if wrong != "" {
			return "left alone from here: " + wrong
		}
		if s == before { // until the longest waits are over
			for i := range s.bindings {
				s.bindings[i].overdue = s.bindings[i].deleting
			}
			if s == before {
				return w.judge(&s)
			}
		}
	}
	return "left alone from here: it never ends"
}

// judge returns the violation of a state in which nothing changes any more.
func (w *rivalWorld) judge(s *rivalState) string {
	winner := -1
	for i := range policies {
		if p := &s.policies[i]; winner < 0 && p.exists && !p.deleting && p.names {
			winner = i
		}
	}
	for i := range policies {
		b := &s.bindings[i]
		switch {
		case s.policies[i].deleting:
			return "left alone from here: the deletion of the " + rivalNames[i] + " policy does not end"
		case i == winner && (!b.exists || b.deleting):
			return "left alone from here: the " + rivalNames[i] + " policy has no binding"
		case i == winner && !s.claimed && (s.plugin == 0 || int(s.owner) != i || b.plugin != s.plugin):
			return "left alone from here: the plugin of the " + rivalNames[i] + " policy is not in force"
		case i != winner && b.exists && !s.claimed:
			return "left alone from here: the " + rivalNames[i] + " policy keeps its binding"
		}
	}
	if winner < 0 && s.plugin != 0 {
		return "left alone from here: a plugin stays that nobody wants"
	}
	return ""
}

// exploreRivals visits all states, nearest first, and returns the first violation and its trace.
func exploreRivals(w *rivalWorld, start rivalState) (states int, wrong string, trace []string) {
	type node struct {
		parent int
		step   string
		s      rivalState
	}
	nodes := []node{{parent: -1, s: start}}
	visited := map[rivalState]bool{start: true}
	for at := 0; at < len(nodes) && wrong == ""; at++ {
		add := func(step string, t rivalState, bad string) {
			if wrong != "" || visited[t] && bad == "" {
				return
			}
			visited[t] = true
			nodes = append(nodes, node{at, step, t})
			if wrong = bad; wrong == "" {
				wrong = w.settle(t)
			}
		}
		for i := range policies {
			w.stepPolicy(nodes[at].s, i, add)
			w.stepBinding(nodes[at].s, i, true, add)
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
