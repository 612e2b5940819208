package model

import "fmt"

// An event is a step of the environment. Each happens as often as the budget allows.
type event uint8

const (
	netFault event = iota // a response is lost, or a write hangs and Kong applies it late or never
	crash
	elect // a second operator becomes leader, and the first does not know

	endInOrder  // an operator ends in order, and leaves its word if it can
	deleteLease // someone deletes the Lease of an operator that does not run

	deleteBinding
	recreate // the same name with another UID
	stripFinalizer
	takeBackup
	restoreBackup // the API server is restored from the backup
	moveScope
	rename // spec.instanceName is set or removed
	setOrphan

	deletePlugin
	stripTags // tags and instance name
	editPlugin
	deleteEntity
	makeEntity
	foreignDiffers // someone creates a plugin with the binding's key
	foreignIdentical
	foreignOwned // another binding creates it
	foreignNamed // someone takes the custom instance name
	foreignGoes
	otherGoes    // the other binding disappears by force, and its plugin stays
	otherReturns // the other binding is restored
	resync       // the resync removes an orphan

	events
)

// environment yields all steps that are not the operator's.
func (w *world) environment(s *state, out yield) {
	for n := range s.procs {
		if p := &s.procs[n]; p.up && p.cache != s.etcd {
			t := *s
			t.procs[n].cache = s.etcd
			out(fmt.Sprintf("cache %d catches up", n+1), t, "")
		}
	}
	for n := range s.procs {
		if p := &s.procs[n]; p.up && !p.pastInherited && !s.inFlight() {
			t := *s
			t.procs[n].startsClean()
			out(fmt.Sprintf("operator %d has led for a while", n+1), t, "")
		}
	}
	if !s.procs[0].up && !s.procs[1].up {
		t := *s
		w.lead(&t, 0)
		out("operator starts", t, "")
	}
	for i := range s.late {
		if s.late[i].kind == 0 {
			continue
		}
		t := *s
		t.late[i] = request{}
		t.compactLate()
		out("Kong drops a write that hung", t, "")
		done, wrong := w.commit(&t, s.late[i])
		if done != 0 {
			out(fmt.Sprintf("Kong applies a write that hung: %v", s.late[i]), t, wrong)
		}
	}
	if s.other == missing {
		t := *s
		t.other = gone
		out("no restore of the other binding is in progress", t, "")
	}
	for e := range events {
		if s.left[e] > 0 && e != netFault {
			w.happen(s, e, func(what string, t state) {
				t.left[e]--
				t.gap = false
				for n := range t.procs {
					t.procs[n].raced = t.procs[n].at != idle
				}
				out(what, t, "")
			})
		}
	}
}

// compactLate moves empty slots to the end, so that equal states compare equal. When nothing is
// in flight any more, no process needs to assume it.
func (s *state) compactLate() {
	if s.late[0].kind == 0 {
		s.late[0], s.late[1] = s.late[1], request{}
	}
	if !s.inFlight() {
		s.procs[0].unknownOutcome, s.procs[1].unknownOutcome = 0, 0
	}
}

func (w *world) happen(s *state, e event, out func(string, state)) {
	switch e {
	case crash, elect, endInOrder, deleteLease:
		w.applyToProcesses(s, e, out)
	case otherGoes, otherReturns, resync:
		w.applyToOther(s, e, out)
	case deleteBinding, recreate, stripFinalizer, takeBackup, restoreBackup, moveScope, rename, setOrphan:
		w.applyToBinding(s, e, out)
	default:
		w.applyToKong(s, e, out)
	}
}

func (w *world) applyToProcesses(s *state, e event, out func(string, state)) {
	switch e {
	case elect:
		if s.procs[0].up && !s.procs[1].up {
			t := *s
			w.lead(&t, 1)
			out("a second operator becomes leader", t)
		}
		return
	case deleteLease:
		if s.lease.exists && !s.procs[0].up && !s.procs[1].up {
			t := *s
			t.lease = lease{}
			out("the Lease is deleted", t)
		}
		return
	case endInOrder:
		w.endInOrder(s, out)
		return
	default:
	}
	for n := range s.procs {
		p := &s.procs[n]
		if !p.up {
			continue
		}
		t := *s
		t.procs[n] = process{}
		out(fmt.Sprintf("operator %d crashes", n+1), t)
		// Kong may still apply the write that it was about to send or had just sent.
		if p.at == write || p.at == replaceWrite || p.at == deletionWrite {
			t := *s
			if t.send(w.request(s, p)) {
				t.procs[n] = process{}
				out(fmt.Sprintf("operator %d crashes while its write hangs", n+1), t)
			}
		}
	}
}

// startsClean: no write of a former leader can be in flight. How the process began makes no more difference.
func (p *process) startsClean() { p.pastInherited, p.first, p.fresh = true, false, 0 }

// lead makes a process the leader. It takes the Lease, and its predecessor's word from it.
func (w *world) lead(s *state, n int) {
	s.procs[n] = process{up: true, cache: s.etcd, first: !s.lease.exists}
	if s.lease.word == freshWord || w.protocol.trustsOldWord && s.lease.word == oldWord {
		s.procs[n].startsClean()
	}
	s.lease.exists = true
	if !w.protocol.keepsWord {
		s.lease.word = noWord
	}
}

// endInOrder ends a process between two steps. It leaves its word on the Lease if it holds the Lease and
// knows that no write is in flight, neither its own nor one of a former leader. It may wait for that.
func (w *world) endInOrder(s *state, out func(string, state)) {
	for n := range s.procs {
		p := &s.procs[n]
		if !p.up {
			continue
		}
		t := *s
		own := p.unknownOutcome == 0 || w.protocol.wordInFlight
		others := p.pastInherited || w.protocol.wordForOthers
		holds := n == 1 || !s.procs[1].up
		what := fmt.Sprintf("operator %d ends in order", n+1)
		if own && others && holds {
			t.lease.word = freshWord
			what += " and leaves its word"
		}
		t.procs[n] = process{}
		out(what, t)
	}
}

func (w *world) applyToBinding(s *state, e event, out func(string, state)) {
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
	case e == recreate && !o.exists:
		t.uids++
		*o = object{exists: true, uid: t.uids}
		t.released = false
		out("the binding is recreated", t)
	case e == stripFinalizer && o.exists && o.finalizer:
		o.finalizer = false
		if o.deleting {
			*o = object{}
		}
		out("the finalizer is removed by force", t)
	case e == takeBackup && o.exists && (o.finalizer || w.forced):
		t.backup, t.backupLease = *o, s.lease
		out("the API server is backed up", t)
	case e == restoreBackup && s.backup.exists && (*o != s.backup || s.lease != s.backupLease):
		*o, t.lease = s.backup, s.backupLease
		if t.lease.word != noWord {
			t.lease.word = oldWord
		}
		if o.recorded != 0 { // the binding owns again what was released since
			t.kong.rows[o.recorded].foreign = false
		}
		t.released = false
		out("the API server is restored from the backup", t)
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

func (w *world) applyToKong(s *state, e event, out func(string, state)) {
	for i := range s.kong.rows {
		r := &s.kong.rows[i]
		t := *s
		mine := &t.kong.rows[i]
		switch {
		case !r.live:
		case e == deletePlugin && !r.foreign:
			*mine = row{}
			out(fmt.Sprintf("a user deletes plugin %d", i), t)
		case e == stripTags && r.tags == ownTags && s.etcd.recorded == id(i):
			// Before its ID is recorded nothing else identifies it.
			mine.tags, mine.name = untagged, nameNone
			out(fmt.Sprintf("a user removes the tags of plugin %d", i), t)
		case e == editPlugin && !r.foreign && r.same:
			mine.same = false
			out(fmt.Sprintf("a user edits plugin %d", i), t)
		case e == foreignGoes && r.foreign:
			*mine = row{}
			out(fmt.Sprintf("foreign plugin %d is deleted", i), t)
		}
	}

	t := *s
	k := &t.kong
	foreign := func(what string, body row) {
		body.foreign = true
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
		out("the service is recreated", t)
	case e == foreignDiffers:
		foreign("someone creates a different plugin with the same key", row{scope: place})
	case e == foreignIdentical:
		foreign("someone creates an identical plugin with the same key", row{scope: place, same: true})
	case e == foreignOwned:
		foreign("another binding creates a plugin with the same key", row{scope: place, same: true, tags: otherTags})
	case e == foreignNamed:
		foreign("someone takes the custom instance name", row{scope: entityElsewhere, name: nameCustom})
	}
}

func (w *world) applyToOther(s *state, e event, out func(string, state)) {
	t := *s
	switch {
	case e == otherGoes && s.other == exists:
		t.other = missing
		out("the other binding disappears", t)
	case e == otherReturns && s.other == missing:
		t.other = exists
		out("the other binding is restored", t)
	case e == resync && s.other == gone:
		for i := range s.kong.rows {
			if r := &s.kong.rows[i]; r.live && r.tags == otherTags && (!s.awaits(id(i)) || w.protocol.removesAwaited) {
				t := *s
				t.kong.rows[i] = row{}
				t.orphanRemoved = s.awaits(id(i))
				out(fmt.Sprintf("the resync removes orphan %d", i), t)
			}
		}
	}
}

// awaits reports whether the binding waits for this plugin: to record it, or to take it back.
func (s *state) awaits(plugin id) bool {
	o := s.etcd
	return o.exists && !o.deleting &&
		(o.recorded == plugin || o.recorded == 0 && s.kong.rows[plugin].scope == s.wanted(o))
}

// settle runs the operator alone, without faults and with a fresh cache, until nothing changes any
// more, and returns the violation. It drops writes in flight: that Kong applies them is a step of
// the search.
func (w *world) settle(s state) (wrong string) {
	if s.other == missing {
		s.other = gone
	}
	s.late = [maxLate]request{}
	s.compactLate()
	if s.procs[1].up { // the first one learns that it no longer leads, and stops
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
		if s.kong.ownedCount() > 1 {
			return "the binding owns two plugins while it settles"
		}
		if s == before {
			return w.judge(&s)
		}
	}
	return "it never settles"
}
