package model

import (
	"fmt"

	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// A protocol is what the operator does around the decision. The zero value is what it
// should do; every field leaves out or changes one thing.
type protocol struct {
	noNameLookup     bool // does not look by name
	noInstanceName   bool // gives its plugins no instance name
	adoptStray       bool // records a second plugin instead of deleting it for the recorded ID
	releaseUnlooked  bool // takes the finalizer off before looking
	noLiveLook       bool // creates and restores on the word of its cache
	noWait           bool // looks for what to delete while earlier writes can still land
	lateFinalizer    bool // puts the finalizer on after the first write
	recordOver       bool // records over another ID; the API server does not mind
	blindToFailure   bool // takes a look without an answer for absence
	freshByFinalizer bool // waits for nothing if it put the finalizer on itself
	ledgerByUID      bool // forgets writes of unknown outcome when the binding is made again
	createInDoubt    bool // creates while an earlier create can still land
}

// A world is what one search explores.
type world struct {
	protocol protocol
	adoption identity.Adoption
	imports  id
	// forced: the finalizer can be missing, by force or by going back, so that the binding can
	// go unseen. frozen: an earlier leader goes on. What is then left in Kong is the sweep's.
	forced, frozen bool

	last identity.Action // of the decision that was made last, for settle
}

// An emit takes a step's outcome. wrong is not empty when the step broke an invariant.
type emit func(step string, t state, wrong string)

// step is the next step of a process: its outcome without a fault first, then those with one,
// as far as faults are left. The state is a copy, to be changed.
func (w *world) step(s state, n int, faults bool, out emit) {
	p := &s.procs[n]
	who := [...]string{"operator", "other leader"}[n]
	say := func(what string, t state, wrong string) { out(who+" "+what, t, wrong) }
	fails := faults && s.left[netFault] > 0

	switch p.at {
	case idle:
		w.begin(s, n, say)
	case lookByID, deletionByID, deletionByIDAgain:
		of := p.base.recorded
		if of == 0 {
			of = w.imports
		}
		p.byID = w.see(&s, of, p)
		w.looked(s, n, "looks under the ID", say)
		if fails && w.protocol.blindToFailure {
			s.left[netFault]--
			p.byID = sight{standing: uint8(identity.Absent)}
			w.looked(s, n, "gets no answer to a look under the ID", say)
		}
	case lookByName, deletionByName, deletionByNameAgain:
		p.byName = w.lookByName(&s, p)
		w.looked(s, n, "looks by name", say)
		if fails && w.protocol.blindToFailure {
			s.left[netFault]--
			p.byName = sight{standing: uint8(identity.Absent)}
			w.looked(s, n, "gets no answer to a look by name", say)
		}
	case lookByKey:
		w.decide(&s, p, w.see(&s, s.kong.byKey(p.scope), p))
		say("looks by place: "+w.last.Operation.String(), s, "")
	case lookLive:
		o := &s.etcd
		still := o.exists && o.uid == p.base.uid && !o.deleting && o.recorded == p.base.recorded && o.sameSpec(p.base)
		w.goOn(p, still || w.protocol.noLiveLook, write)
		say("looks at the API server", s, "")
	case deletionLive:
		w.goOn(p, s.etcd.exists && s.etcd.uid == p.base.uid && s.etcd.deleting, deletionWrite)
		say("looks at the API server", s, "")
	case write, deletionWrite, unmake:
		w.write(s, n, fails, say)
	case record:
		w.record(s, n, fails, say)
	case release:
		if s.etcd == p.base {
			s.etcd = object{}
			s.released = true
			if p.base.orphan {
				s.kong.letGo()
			}
		}
		p.end()
		say("takes the finalizer off", s, "")
	}
}

// end of a pass: nothing of it is left.
func (p *process) end() {
	*p = process{up: p.up, cache: p.cache, seasoned: p.seasoned, unsure: p.unsure, fresh: p.fresh}
}

func (w *world) goOn(p *process, on bool, to counter) {
	if on {
		p.at = to
	} else {
		p.end()
	}
}

// begin is the first part of a pass, up to the first look.
func (w *world) begin(s state, n int, say emit) {
	p := &s.procs[n]
	if !p.cache.exists {
		return
	}
	p.base = p.cache
	switch {
	case p.base.deleting && !p.base.finalizer:
		return
	case p.base.deleting:
		if s.inFlight() && w.inDoubt(p) && !w.protocol.noWait {
			return
		}
		if w.protocol.releaseUnlooked {
			p.at = release
		} else {
			w.lookForOurs(p, deletionByID, deletionByName)
		}
		say("begins to delete", s, "")
		return
	}
	if !p.base.finalizer && !(w.protocol.lateFinalizer && p.base.recorded == 0) {
		if s.etcd != p.base {
			return // refused, for the cache lags
		}
		s.etcd.finalizer, p.base.finalizer = true, true
		if w.protocol.freshByFinalizer {
			p.fresh = p.base.uid
		}
	}
	p.scope = s.wanted(p.base)
	if p.scope == entityNone {
		p.end()
		if s.etcd.finalizer != p.cache.finalizer && s.etcd.exists {
			say("puts the finalizer on", s, "")
		}
		return
	}
	p.doubt = s.inFlight() && w.inDoubt(p) && !w.protocol.createInDoubt
	p.at = lookByName
	if p.base.recorded != 0 {
		p.at = lookByID
	}
	say("begins", s, "")
}

// inDoubt reports whether the process has to reckon with a write that was made earlier, by
// itself or by the leader before it, and may still be done.
func (w *world) inDoubt(p *process) bool {
	unsure := p.unsure != 0
	if w.protocol.ledgerByUID {
		unsure = p.unsure == p.base.uid
	}
	inherited := !p.seasoned && !(w.protocol.freshByFinalizer && p.fresh == p.base.uid)
	return unsure || inherited
}

func (w *world) nameFor(o object) uint8 {
	if w.protocol.noInstanceName {
		return nameNone
	}
	return o.name()
}

func (w *world) lookForOurs(p *process, byID, byName counter) {
	p.byID, p.byName = sight{}, sight{}
	p.at = byName
	if p.base.recorded != 0 {
		p.at = byID
	}
}

func (w *world) lookByName(s *state, p *process) sight {
	if w.protocol.noNameLookup {
		return sight{standing: uint8(identity.Absent)}
	}
	named := w.see(s, s.kong.byName(w.nameFor(p.base)), p)
	if identity.Ownership(named.standing) == identity.Owned {
		return named
	}
	if tagged := s.kong.byTags(); tagged != 0 {
		return w.see(s, tagged, p)
	}
	return named
}

// looked goes on after a look under the ID or by name: to the next one, or to the decision.
func (w *world) looked(s state, n int, what string, say emit) {
	p := &s.procs[n]
	under, named := identity.Ownership(p.byID.standing), identity.Ownership(p.byName.standing)
	decided := true
	switch p.at {
	case lookByID:
		r := &s.kong.rows[p.byID.id]
		switch {
		case p.base.recorded == 0: // an import
			w.decide(&s, p, sight{})
		case under == identity.Absent:
			p.at, decided = lookByName, false
		case r.scope == p.scope:
			w.decide(&s, p, p.byID)
		default:
			p.at, decided = lookByKey, false
		}
	case lookByName:
		switch {
		case named == identity.Owned || p.base.recorded != 0 && named.Found():
			w.decide(&s, p, sight{})
		case p.base.recorded == 0 && w.imports != 0:
			p.at, decided = lookByID, false
		default:
			p.at, decided = lookByKey, false
		}
	case deletionByID, deletionByIDAgain:
		if under == identity.Owned {
			w.decideDeletion(p)
		} else {
			p.at, decided = p.at+1, false
		}
	case deletionByName, deletionByNameAgain:
		w.decideDeletion(p)
	}
	if decided {
		what += ": " + w.last.Operation.String() + " " + w.last.ID
	}
	say(what, s, "")
}

func (w *world) facts(p *process, byKey sight) identity.Facts {
	return identity.Facts{
		Recorded: ids[p.base.recorded],
		Import:   ids[w.imports],
		Adoption: w.adoption,
		ByID:     p.byID.sighting(),
		ByName:   p.byName.sighting(),
		ByKey:    byKey.sighting(),
	}
}

func (w *world) decide(s *state, p *process, byKey sight) {
	w.last = identity.Decide(w.facts(p, byKey))
	p.verb, p.target = uint8(w.last.Operation), 0
	if w.last.ID != "" {
		p.target = w.last.ID[0] - '0'
	}
	p.exists = identity.Ownership(p.byID.standing).Found()
	p.byID, p.byName = sight{}, sight{}
	doubt := p.doubt
	p.doubt = false
	switch w.last.Operation {
	case identity.Create, identity.Adopt, identity.TakeOver:
		if doubt {
			// A write of unknown outcome, by this process or the one before it, may still land,
			// and under another name and place than those that were looked at.
			p.end()
			return
		}
	default:
	}
	switch w.last.Operation {
	case identity.Put:
		p.at = lookLive
		if p.exists {
			p.at = write
		}
	case identity.Create, identity.TakeOver:
		p.at = lookLive
	case identity.Delete:
		p.at = lookLive
		if w.protocol.adoptStray {
			p.at, p.rec = record, p.target
		}
	case identity.RecordID, identity.Adopt:
		p.at, p.rec = record, p.target
	default:
		if w.protocol.lateFinalizer && w.last.Operation == identity.None && s.etcd == p.base {
			s.etcd.finalizer = true
		}
		p.end()
	}
}

func (w *world) decideDeletion(p *process) {
	again := p.at == deletionByIDAgain || p.at == deletionByNameAgain
	w.last = identity.DecideDeletion(w.facts(p, sight{}), p.base.orphan)
	p.byID, p.byName = sight{}, sight{}
	switch {
	case w.last.Operation == identity.RemoveFinalizer:
		p.at = release
	case again || w.last.Operation == identity.Wait:
		p.end()
	default:
		p.verb, p.target = uint8(w.last.Operation), w.last.ID[0]-'0'
		p.at = deletionLive
	}
}

// request is what the decision sends to Kong.
func (w *world) request(s *state, p *process) request {
	body := row{marks: marksOurs, name: w.nameFor(p.base), scope: p.scope, same: true}
	switch identity.Operation(p.verb) {
	case identity.Create:
		return request{kind: post, body: body}
	case identity.Put:
		return request{kind: put, id: p.target, body: body}
	case identity.TakeOver:
		return request{kind: put, id: p.target, body: body, takeOver: true}
	case identity.Release:
		left := s.kong.rows[p.target]
		left.marks, left.live = unmarked, false
		if left.name == nameGenerated {
			left.name = nameNone
		}
		return request{kind: put, id: p.target, body: left}
	default:
		return request{kind: del, id: p.target}
	}
}

// write sends it. Its answer can be lost, before or after it is done, and it can be done late.
func (w *world) write(s state, n int, fails bool, say emit) {
	p := &s.procs[n]
	r := w.request(&s, p)
	what := fmt.Sprintf("%s %s", identity.Operation(p.verb), ids[p.target])
	if p.at == unmake {
		r = request{kind: del, id: p.rec}
		what = "unmakes " + ids[p.rec]
	}
	before := s

	i, wrong := s.kong.do(r)
	switch {
	case p.at == unmake || i == 0:
		p.end()
	case p.at == deletionWrite:
		w.lookForOurs(p, deletionByIDAgain, deletionByNameAgain)
	case r.kind == post || r.takeOver:
		p.at, p.rec, p.made = record, i, r.kind == post
	default:
		p.end()
	}
	answer := map[bool]string{true: ", refused", false: ""}[i == 0]
	say("writes: "+what+answer, s, wrong)
	if !fails {
		return
	}

	s = before
	p = &s.procs[n]
	s.left[netFault]--
	p.unsure = p.base.uid
	p.end()
	late := s
	i, wrong = s.kong.do(r)
	if i != 0 {
		say("writes, and the answer is lost: "+what, s, wrong)
	}
	if late.send(r) {
		say("writes, and it hangs: "+what, late, "")
	}
}

// record writes the ID into the status; a conflict is resolved by one live look.
func (w *world) record(s state, n int, fails bool, say emit) {
	before := s
	p := &s.procs[n]
	o, rec, wrong := &s.etcd, p.rec, ""
	switch {
	case !o.exists || o.uid != p.base.uid:
		if p.made && !o.exists {
			p.at = unmake
		} else {
			p.end()
		}
	case o.recorded == 0 || w.protocol.recordOver ||
		w.protocol.adoptStray && identity.Operation(p.verb) == identity.Delete:
		if o.recorded != 0 && o.recorded != rec {
			wrong = "the recorded ID changed"
		}
		if first := s.first; first != 0 && first != rec && s.kong.rows[first].ours() {
			wrong = "another ID was recorded than the first, whose plugin exists"
		}
		o.recorded, s.first = rec, rec
		s.kong.rows[rec].stranger = false
		p.end()
	default:
		p.end()
	}
	say("records "+ids[rec], s, wrong)
	if fails {
		s = before
		s.left[netFault]--
		s.procs[n].end()
		say("cannot record "+ids[rec], s, "")
	}
}
