package model

import "fmt"

// An event is what the surroundings do, each as often as a scenario allows.
type event uint8

const (
	netFault event = iota // an answer is lost, or a write hangs and is done late or never
	crash
	elect // a second operator begins to lead, and the first does not know

	deleteBinding
	makeAgain // a binding of the same name, with another UID
	stripFinalizer
	backUp
	goBack // the API server is restored from the backup
	moveScope
	rename // spec.instanceName is set, or taken away
	setOrphan

	deletePlugin
	stripMarks // tags and instance name
	editPlugin
	deleteEntity
	makeEntity
	strangerDiffers // somebody makes a plugin in our place
	strangerAlike
	strangerOwned // another binding does
	strangerNamed // somebody takes the custom instance name
	strangerGoes

	events
)

// surroundings are all steps that are not the operator's.
func (w *world) surroundings(s *state, out emit) {
	for n := range s.procs {
		if p := &s.procs[n]; p.up && p.cache != s.etcd {
			t := *s
			t.procs[n].cache = s.etcd
			out(fmt.Sprintf("cache %d catches up", n+1), t, "")
		}
	}
	for n := range s.procs {
		if p := &s.procs[n]; p.up && !p.seasoned && !s.inFlight() {
			t := *s
			t.procs[n].seasoned = true
			out(fmt.Sprintf("operator %d has led for a while", n+1), t, "")
		}
	}
	if !s.procs[0].up && !s.procs[1].up {
		t := *s
		t.procs[0] = process{up: true, cache: s.etcd}
		out("operator starts", t, "")
	}
	for i := range s.flights {
		if s.flights[i].kind == 0 {
			continue
		}
		t := *s
		t.flights[i] = request{}
		t.flightsEnd()
		out("a write that hung is never done", t, "")
		done, wrong := t.kong.do(s.flights[i])
		if done != 0 {
			out(fmt.Sprintf("a write that hung is done: %v", s.flights[i]), t, wrong)
		}
	}
	for e := range events {
		if s.left[e] > 0 && e != netFault {
			w.happen(s, e, func(what string, t state) {
				t.left[e]--
				out(what, t, "")
			})
		}
	}
}

// flightsEnd keeps free places at the end, so that equal states look equal. When nothing is
// in flight any more, nobody has to reckon with it.
func (s *state) flightsEnd() {
	if s.flights[0].kind == 0 {
		s.flights[0], s.flights[1] = s.flights[1], request{}
	}
	if !s.inFlight() {
		s.procs[0].unsure, s.procs[1].unsure = 0, 0
	}
}

func (w *world) happen(s *state, e event, out func(string, state)) {
	switch e {
	case crash, elect:
		w.happenToProcesses(s, e, out)
	case deleteBinding, makeAgain, stripFinalizer, backUp, goBack, moveScope, rename, setOrphan:
		w.happenToBinding(s, e, out)
	default:
		w.happenToKong(s, e, out)
	}
}

func (w *world) happenToProcesses(s *state, e event, out func(string, state)) {
	if e == elect {
		if s.procs[0].up && !s.procs[1].up {
			t := *s
			t.procs[1] = process{up: true, cache: s.etcd}
			out("another operator leads, too", t)
		}
		return
	}
	for n := range s.procs {
		p := &s.procs[n]
		if !p.up {
			continue
		}
		t := *s
		t.procs[n] = process{}
		out(fmt.Sprintf("operator %d crashes", n+1), t)
		// The write that it was about to send, or had just sent, may still be done.
		if p.at == write || p.at == deletionWrite {
			t := *s
			if t.send(w.request(s, p)) {
				t.procs[n] = process{}
				out(fmt.Sprintf("operator %d crashes while its write hangs", n+1), t)
			}
		}
	}
}

func (w *world) happenToBinding(s *state, e event, out func(string, state)) {
	t := *s
	o := &t.etcd
	spec := o.exists && !o.deleting
	switch {
	case e == deleteBinding && spec:
		o.deleting = true
		if !o.finalizer {
			*o = object{}
		}
		out("the binding is deleted", t)
	case e == makeAgain && !o.exists:
		t.uids++
		*o = object{exists: true, uid: t.uids}
		t.released = false
		out("the binding is made again", t)
	case e == stripFinalizer && o.exists && o.finalizer:
		o.finalizer = false
		if o.deleting {
			*o = object{}
		}
		out("the finalizer is taken off by force", t)
	case e == backUp && o.exists && (o.finalizer || w.forced):
		t.backup = *o
		out("the API server is backed up", t)
	case e == goBack && s.backup.exists && *o != s.backup:
		*o = s.backup
		if o.recorded != 0 { // what was let go since is the binding's again
			t.kong.rows[o.recorded].stranger = false
		}
		t.released = false
		out("the API server goes back to the backup", t)
	case e == moveScope && spec:
		o.toY = !o.toY
		out("the scope is moved", t)
	case e == rename && spec:
		o.custom = !o.custom
		out("spec.instanceName changes", t)
	case e == setOrphan && spec && !o.orphan:
		o.orphan = true
		out("deletionPolicy becomes Orphan", t)
	}
}

func (w *world) happenToKong(s *state, e event, out func(string, state)) {
	for i := range s.kong.rows {
		r := &s.kong.rows[i]
		t := *s
		mine := &t.kong.rows[i]
		switch {
		case !r.live:
		case e == deletePlugin && !r.stranger:
			*mine = row{}
			out(fmt.Sprintf("plugin %d is deleted by hand", i), t)
		case e == stripMarks && r.marks == marksOurs && s.etcd.recorded == id(i):
			// Before its ID is recorded nothing else would tell whose it is.
			mine.marks, mine.name = unmarked, nameNone
			out(fmt.Sprintf("plugin %d loses its marks by hand", i), t)
		case e == editPlugin && !r.stranger && r.same:
			mine.same = false
			out(fmt.Sprintf("plugin %d is edited by hand", i), t)
		case e == strangerGoes && r.stranger:
			*mine = row{}
			out(fmt.Sprintf("somebody else's plugin %d goes", i), t)
		}
	}

	t := *s
	k := &t.kong
	stranger := func(what string, body row) {
		body.stranger = true
		if k.insert(body) != 0 {
			out(what, t)
		}
	}
	place := s.wanted(s.etcd)
	switch {
	case e == deleteEntity && k.x != entityNone:
		k.cascade()
		out("the service is deleted", t)
	case e == makeEntity && k.x == entityNone:
		k.x = entityXAgain
		out("the service is made again", t)
	case e == strangerDiffers:
		stranger("somebody makes another plugin in our place", row{scope: place})
	case e == strangerAlike:
		stranger("somebody makes the same plugin in our place", row{scope: place, same: true})
	case e == strangerOwned:
		stranger("another binding has our place", row{scope: place, same: true, marks: marksOther})
	case e == strangerNamed:
		stranger("somebody takes our custom instance name", row{scope: entityElsewhere, name: nameCustom})
	}
}

// settle leaves the operator alone, without faults and with a cache that keeps up, until
// nothing changes any more. It returns what is wrong then. Writes in flight are lost: that
// they are done is a step of the search.
func (w *world) settle(s state) (wrong string) {
	s.flights = [lateWrites]request{}
	s.flightsEnd()
	if s.procs[1].up { // the first one finds out that it does not lead, and ends
		s.procs[0], s.procs[1] = s.procs[1], process{}
	}
	if !s.procs[0].up {
		s.procs[0] = process{up: true, cache: s.etcd}
	}
	for range 100 {
		s.procs[0].cache = s.etcd
		before := s
		if s.procs[0].at == idle {
			w.last.Operation, w.last.ID = 0, ""
		}
		for range 100 {
			moved := false
			w.step(s, 0, false, func(_ string, t state, bad string) {
				s, moved = t, true
				if bad != "" {
					wrong = bad
				}
			})
			if wrong != "" {
				return wrong
			}
			if !moved || s.procs[0].at == idle {
				break
			}
		}
		if s.kong.oursCount() > 1 {
			return "two plugins are the binding's, while it settles"
		}
		if s == before {
			return w.judge(&s)
		}
	}
	return "it never settles"
}
