package model

import (
	"fmt"
	"hash/maphash"
	"strings"

	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// judge returns the violation of a state in which nothing changes any more.
func (w *world) judge(s *state) string {
	o := &s.etcd
	switch {
	case !o.exists:
		for i := range s.kong.rows {
			if s.kong.rows[i].owned() && !w.frozen && (s.released || !w.forced) {
				return fmt.Sprintf("the binding is gone and plugin %d is left behind", i)
			}
		}
		return ""
	case o.deleting:
		return "the deletion does not end"
	case s.wanted(*o) == entityNone:
		return "" // the scope is missing, and the condition says so
	}
	switch w.last.Operation {
	case identity.None:
		r := &s.kong.rows[o.recorded]
		if !r.live || r.tags != ownTags || r.name != w.nameFor(*o) || r.scope != s.wanted(*o) || !r.same {
			return "in sync with a plugin that is not the desired one"
		}
		return ""
	case identity.Conflict:
		r := &s.kong.rows[w.last.ID[0]-'0']
		if r.tags == otherTags && s.other == gone && r.scope == s.wanted(*o) && (o.recorded == 0 || w.last.ID == ids[o.recorded]) &&
			(r.same && w.adoption == identity.AdoptIfIdentical || w.adoption == identity.AdoptOverride || o.recorded != 0) {
			return "in conflict with a plugin whose owner is gone"
		}
		if r.owned() {
			return "in conflict with its own plugin " + w.last.ID
		}
		if !r.foreign && o.recorded != 0 {
			return "in conflict with its own plugin " + w.last.ID + ", which lost its tags"
		}
		return "" // without tags and without a recorded ID nothing identifies it
	case identity.Wait:
		if w.imports != 0 && !s.kong.rows[w.imports].live {
			return ""
		}
	default:
	}
	return fmt.Sprintf("it comes to %s %s again and again", w.last.Operation, w.last.ID)
}

// A violation with the shortest trace to it.
type violation struct {
	wrong string
	trace []string
}

func (v *violation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, after %d steps:\n", v.wrong, len(v.trace))
	for i, step := range v.trace {
		fmt.Fprintf(&b, "%3d. %s\n", i+1, step)
	}
	return b.String()
}

type digest [2]uint64

var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

func digestOf(s state) digest {
	return digest{maphash.Comparable(seeds[0], s), maphash.Comparable(seeds[1], s)}
}

// A node is a visited state: its parent and the number of the step that led here.
type node struct {
	parent int32
	choice uint16
}

type search struct {
	world   *world
	start   state
	nodes   []node
	visited map[digest]struct{}
	settled map[digest]struct{}
}

// explore visits all states, nearest first. It stops at the first violation, or after limit
// states.
func explore(w *world, start state, limit int) (states int, found *violation, complete bool) {
	x := &search{
		world: w, start: start,
		nodes:   []node{{parent: -1}},
		visited: map[digest]struct{}{digestOf(start): {}},
		settled: map[digest]struct{}{},
	}
	type open struct {
		at int32
		s  state
	}
	queue := []open{{0, start}}
	for len(queue) > 0 {
		var next []open
		for _, here := range queue {
			choice := uint16(0)
			x.successors(here.s, func(_ string, t state, wrong string) {
				choice++
				if found != nil {
					return
				}
				key := digestOf(t)
				if _, ok := x.visited[key]; ok && wrong == "" {
					return
				}
				x.visited[key] = struct{}{}
				x.nodes = append(x.nodes, node{here.at, choice})
				at := int32(len(x.nodes) - 1)
				if wrong == "" {
					wrong = x.check(t)
				}
				if wrong != "" {
					found = &violation{wrong, x.trace(at)}
					return
				}
				next = append(next, open{at, t})
			})
			if found != nil {
				return len(x.nodes), found, false
			}
			if len(x.nodes) > limit {
				return len(x.nodes), nil, false
			}
		}
		queue = next
	}
	return len(x.nodes), nil, true
}

// successors yields the successors of a state, always in the same order.
func (x *search) successors(s state, out yield) {
	for n := range s.procs {
		if s.procs[n].up {
			x.world.step(s, n, true, out)
		}
	}
	x.world.environment(&s, out)
}

// check returns the violation of a state, or of the state that the operator reaches from it.
func (x *search) check(s state) string {
	if s.kong.ownedCount() > 1 {
		return "the binding owns two plugins"
	}
	if s.orphanRemoved {
		return "the resync removed the plugin that the binding waits for"
	}
	if s.gap && s.procs[0].at == idle && s.procs[1].at == idle {
		return "the plugin is missing between two reconciles"
	}
	// The remaining events make no difference to where the operator leads from here.
	s.left, s.late = [events]uint8{}, [maxLate]request{}
	s.backup, s.uids = object{}, 0
	s.lease, s.backupLease = lease{}, lease{}
	for n := range s.procs {
		p := &s.procs[n]
		p.pastInherited, p.first, p.unknownOutcome, p.fresh = p.up, false, 0, 0
	}
	key := digestOf(s)
	if _, ok := x.settled[key]; ok {
		return ""
	}
	if wrong := x.world.settle(s); wrong != "" {
		return "left alone from here: " + wrong
	}
	x.settled[key] = struct{}{}
	return ""
}

// trace repeats the steps to name them.
func (x *search) trace(at int32) []string {
	var choices []uint16
	for ; x.nodes[at].parent >= 0; at = x.nodes[at].parent {
		choices = append(choices, x.nodes[at].choice)
	}
	s := x.start
	var steps []string
	for i := len(choices) - 1; i >= 0; i-- {
		n := uint16(0)
		x.successors(s, func(step string, t state, _ string) {
			if n++; n == choices[i] {
				steps, s = append(steps, step), t
			}
		})
	}
	return steps
}
