package model

import (
	"fmt"

	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// A protocol is what the operator does around the decision. The zero value is the correct
// protocol. Each field omits or changes one rule.
type protocol struct {
	noNameLookup     bool // no lookup by name
	noInstanceName   bool // creates plugins without an instance name
	recordDuplicate  bool // records a duplicate instead of deleting it
	noLookup         bool // removes the finalizer without a lookup
	noLiveRead       bool // creates and restores without a live read
	oldFinalizer     bool // takes the finalizer of an earlier reconcile for the live read
	noWait           bool // looks up what to delete while a write is in flight
	lateFinalizer    bool // adds the finalizer after the first write
	recordOver       bool // records over another ID
	blindToFailure   bool // takes a failed lookup for absence
	freshByFinalizer bool // does not wait if it added the finalizer itself
	inFlightByUID    bool // forgets in-flight writes when the binding is recreated
	oneLook          bool // takes one look at the API server for proof that an owner is gone
	removesAwaited   bool // removes an orphan although a binding waits for it
	replaceInTwo     bool // deletes a duplicate in one reconcile and writes the recorded plugin in the next
	noKeyLookup      bool // replaces a duplicate without looking up the key
	createInFlight   bool // creates while an earlier create is in flight
	trustsOldWord    bool // takes a word from a backup for one that was just left
	keepsWord        bool // leaves its predecessor's word on the Lease while it leads
	wordInFlight     bool // leaves its word although a write of its own may be in flight
	wordForOthers    bool // leaves its word although a write of a former leader may be in flight
	newByLease       bool // does not wait if there was no Lease
	noNameToDelete   bool // looks for what to delete under the recorded ID only
}

// A world is the input of one search.
type world struct {
	protocol protocol
	adoption identity.Adoption
	imports  id
	// forced: the finalizer can be missing, removed by force or lost in a restore, so the binding
	// can disappear unseen. frozen: an earlier leader continues. The resync removes what these
	// two leave in Kong.
	forced, frozen bool

	last identity.Action // the last decision, for settle
}

// A yield takes the outcome of a step. wrong is the violation if the step broke an invariant.
type yield func(step string, t state, wrong string)

// step yields the outcomes of a process's next step: first the one without a fault, then those
// with one while faults are left. It changes its copy of the state.
func (w *world) step(s state, n int, faults bool, out yield) {
	p := &s.procs[n]
	who := [...]string{"operator", "other leader"}[n]
	yieldStep := func(what string, t state, wrong string) { out(who+" "+what, t, wrong) }
	fails := faults && s.left[netFault] > 0

	switch p.at {
	case idle:
		w.begin(s, n, yieldStep)
	case lookByID, deletionByID, deletionByIDAgain:
		of := p.base.recorded
		if of == 0 {
			of = w.imports
		}
		p.byID, p.ownsOne = w.observe(&s, of, p), p.at == deletionByID && s.kong.ownsOne(of)
		w.looked(s, n, "looks up the ID", yieldStep)
		if fails && w.protocol.blindToFailure {
			s.left[netFault]--
			p.byID = lookup{ownership: uint8(identity.Absent)}
			w.looked(s, n, "gets no response to the lookup by ID", yieldStep)
		}
	case lookByName, deletionByName, deletionByNameAgain:
		p.byName = w.lookByName(&s, p)
		w.looked(s, n, "looks up the name", yieldStep)
		if fails && w.protocol.blindToFailure {
			s.left[netFault]--
			p.byName = lookup{ownership: uint8(identity.Absent)}
			w.looked(s, n, "gets no response to the lookup by name", yieldStep)
		}
	case lookByKey:
		byKey := w.observe(&s, s.kong.byKey(p.scope), p)
		if w.protocol.noKeyLookup && identity.Ownership(p.byName.ownership) == identity.Owned {
			byKey = lookup{ownership: uint8(identity.Absent)}
		}
		w.decide(&s, p, byKey)
		yieldStep("looks up the key: "+w.last.Operation.String(), s, "")
	case readLive:
		o := &s.etcd
		still := o.exists && o.uid == p.base.uid && !o.deleting && o.recorded == p.base.recorded && o.sameSpec(p.base)
		w.proceed(p, still || w.protocol.noLiveRead, write)
		yieldStep("reads the binding live", s, "")
	case deletionReadLive:
		w.proceed(p, s.etcd.exists && s.etcd.uid == p.base.uid && s.etcd.deleting, deletionWrite)
		yieldStep("reads the binding live", s, "")
	case write, replaceWrite, deletionWrite, rollbackCreate:
		w.write(s, n, fails, yieldStep)
	case record:
		w.record(s, n, fails, yieldStep)
	case removeFinalizer:
		if s.etcd == p.base {
			s.etcd = object{}
			s.released = true
			if p.base.orphan {
				s.kong.release()
			}
		}
		p.end()
		yieldStep("removes the finalizer", s, "")
	}
}

// end ends a reconcile. Nothing of it remains.
func (p *process) end() {
	*p = process{up: p.up, cache: p.cache, pastInherited: p.pastInherited, first: p.first, unknownOutcome: p.unknownOutcome, fresh: p.fresh}
}

func (w *world) proceed(p *process, on bool, to counter) {
	if on {
		p.at = to
	} else {
		p.end()
	}
}

// begin is the first part of a reconcile, up to the first lookup.
func (w *world) begin(s state, n int, yieldStep yield) {
	p := &s.procs[n]
	if !p.cache.exists {
		return
	}
	p.base = p.cache
	switch {
	case p.base.deleting && !p.base.finalizer:
		return
	case p.base.deleting:
		if s.inFlight() && w.mayBeInFlight(p) && !w.protocol.noWait {
			return
		}
		if w.protocol.noLookup {
			p.at = removeFinalizer
		} else {
			w.lookForOwned(p, deletionByID, deletionByName)
		}
		yieldStep("begins to delete", s, "")
		return
	}
	if !p.base.finalizer && !(w.protocol.lateFinalizer && p.base.recorded == 0) {
		if s.etcd != p.base {
			return // the API server refuses: the cache lags
		}
		s.etcd.finalizer, p.base.finalizer = true, true
		p.added = true
		if !p.pastInherited && (p.first || w.protocol.freshByFinalizer) {
			p.fresh = p.base.uid
		}
	}
	p.scope = s.wanted(p.base)
	if p.scope == entityNone {
		p.end()
		if s.etcd.finalizer != p.cache.finalizer && s.etcd.exists {
			yieldStep("adds the finalizer", s, "")
		}
		return
	}
	p.inFlight = s.inFlight() && w.mayBeInFlight(p) && !w.protocol.createInFlight
	p.at = lookByName
	if p.base.recorded != 0 {
		p.at = lookByID
	}
	yieldStep("begins", s, "")
}

// mayBeInFlight reports whether the process must assume that Kong may still apply an earlier
// write, its own or the former leader's.
func (w *world) mayBeInFlight(p *process) bool {
	unknownOutcome := p.unknownOutcome != 0
	if w.protocol.inFlightByUID {
		unknownOutcome = p.unknownOutcome == p.base.uid
	}
	inherited := !p.pastInherited && p.fresh != p.base.uid && !(w.protocol.newByLease && p.first)
	return unknownOutcome || inherited
}

func (w *world) nameFor(o object) uint8 {
	if w.protocol.noInstanceName {
		return nameNone
	}
	return o.name()
}

func (w *world) lookForOwned(p *process, byID, byName counter) {
	p.byID, p.byName = lookup{}, lookup{}
	p.at = byName
	if p.base.recorded != 0 {
		p.at = byID
	}
}

func (w *world) lookByName(s *state, p *process) lookup {
	if w.protocol.noNameLookup {
		return lookup{ownership: uint8(identity.Absent)}
	}
	named := w.observe(s, s.kong.byName(w.nameFor(p.base)), p)
	if identity.Ownership(named.ownership) == identity.Owned {
		return named
	}
	if tagged := s.kong.byTags(); tagged != 0 {
		return w.observe(s, tagged, p)
	}
	return named
}

// looked continues after a lookup by ID or by name: with the next lookup, or with the decision.
func (w *world) looked(s state, n int, what string, yieldStep yield) {
	p := &s.procs[n]
	under, named := identity.Ownership(p.byID.ownership), identity.Ownership(p.byName.ownership)
	decided := true
	switch p.at {
	case lookByID:
		r := &s.kong.rows[p.byID.id]
		switch {
		case p.base.recorded == 0: // an import
			w.decide(&s, p, lookup{})
		case under == identity.Absent:
			p.at, decided = lookByName, false
		case r.scope == p.scope:
			w.decide(&s, p, p.byID)
		default:
			p.at, decided = lookByKey, false
		}
	case lookByName:
		switch {
		case p.base.recorded == 0 && named == identity.Owned || p.base.recorded != 0 && named.Found() && named != identity.Owned:
			w.decide(&s, p, lookup{})
		case p.base.recorded == 0 && w.imports != 0:
			p.at, decided = lookByID, false
		default:
			p.at, decided = lookByKey, false
		}
	case deletionByID, deletionByIDAgain:
		if w.protocol.noNameToDelete {
			p.byName = lookup{ownership: uint8(identity.Absent)}
		}
		if under == identity.Owned || w.protocol.noNameToDelete {
			w.decideDeletion(&s, p)
		} else {
			p.at, decided = p.at+1, false
		}
	case deletionByName, deletionByNameAgain:
		w.decideDeletion(&s, p)
	}
	if decided {
		what += ": " + w.last.Operation.String() + " " + w.last.ID
	}
	yieldStep(what, s, "")
}

// facts of a reconcile. The lookup by instance name is made together with the one by key: Kong
// refuses a write if another plugin takes the name in between.
func (w *world) facts(s *state, p *process, byKey lookup) identity.Facts {
	return identity.Facts{
		Recorded: ids[p.base.recorded],
		Import:   ids[w.imports],
		Adoption: w.adoption,
		ByID:     p.byID.observation(),
		ByName:   p.byName.observation(),
		ByKey:    byKey.observation(),

		ByInstanceName: w.observe(s, s.kong.byName(w.nameFor(p.base)), p).observation(),
	}
}

func (w *world) decide(s *state, p *process, byKey lookup) {
	w.last = identity.Decide(w.facts(s, p, byKey))
	p.operation, p.target = uint8(w.last.Operation), target(w.last.ID)
	if w.last.Operation == identity.Replace {
		p.target, p.rec = target(w.last.DeleteID), target(w.last.ID)
	}
	p.adopts = w.last.Adopts != identity.Unknown
	p.exists = identity.Ownership(p.byID.ownership).Found()
	p.byID, p.byName = lookup{}, lookup{}
	inFlight, added := p.inFlight, p.added
	p.inFlight, p.added = false, false
	switch w.last.Operation {
	case identity.Create, identity.Adopt, identity.TakeOver:
		if inFlight {
			// Kong may still apply an earlier write, with a name and a key that were not
			// looked up.
			p.end()
			return
		}
	default:
	}
	switch w.last.Operation {
	case identity.Put:
		p.at = readLive
		if p.exists {
			p.at = write
		}
	case identity.Create:
		p.at = readLive
		if added || w.protocol.oldFinalizer { // the patch of the finalizer was the live read
			p.at = write
		}
	case identity.TakeOver:
		p.at = readLive
	case identity.Delete, identity.Replace:
		p.at = readLive
		if w.protocol.recordDuplicate {
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

// target is the ID that an action names, 0 if it names none.
func target(pluginID string) id {
	if pluginID == "" {
		return 0
	}
	return pluginID[0] - '0'
}

func (w *world) decideDeletion(s *state, p *process) {
	again := p.at == deletionByIDAgain || p.at == deletionByNameAgain
	w.last = identity.DecideDeletion(w.facts(s, p, lookup{}), p.base.orphan)
	p.byID, p.byName = lookup{}, lookup{}
	switch {
	case w.last.Operation == identity.RemoveFinalizer:
		p.at = removeFinalizer
	case again || w.last.Operation == identity.Wait:
		p.end()
	default:
		p.operation, p.target = uint8(w.last.Operation), w.last.ID[0]-'0'
		p.at = deletionReadLive
	}
}

// request is the write that the decision asks for.
func (w *world) request(s *state, p *process) request {
	body := row{tags: ownTags, name: w.nameFor(p.base), scope: p.scope, same: true}
	if p.at == replaceWrite {
		return request{kind: put, id: p.rec, body: body}
	}
	switch identity.Operation(p.operation) {
	case identity.Create:
		return request{kind: post, body: body}
	case identity.Put:
		return request{kind: put, id: p.target, body: body, takeOver: p.adopts}
	case identity.TakeOver:
		return request{kind: put, id: p.target, body: body, takeOver: true}
	case identity.Release:
		left := s.kong.rows[p.target]
		left.tags, left.live = untagged, false
		if left.name == nameGenerated {
			left.name = nameNone
		}
		return request{kind: put, id: p.target, body: left}
	default:
		return request{kind: del, id: p.target}
	}
}

// write sends it. Its response can be lost, before or after Kong applies it, and Kong can apply it
// late.
func (w *world) write(s state, n int, fails bool, yieldStep yield) {
	p := &s.procs[n]
	r := w.request(&s, p)
	what := fmt.Sprintf("%s %s", identity.Operation(p.operation), ids[p.target])
	if p.at == rollbackCreate {
		r = request{kind: del, id: p.rec}
		what = "rolls back " + ids[p.rec]
	}
	before := s

	i, wrong := w.commit(&s, r)
	switch {
	case p.at == rollbackCreate || i == 0 || identity.Operation(p.operation) == identity.Put:
		s.gap = s.gap && i == 0
		p.end()
	case p.at == write && identity.Operation(p.operation) == identity.Replace:
		s.gap = !p.raced
		if p.at = replaceWrite; w.protocol.replaceInTwo {
			p.end()
		}
	case r.kind == put && !r.takeOver && p.at != deletionWrite:
		s.gap = false
		p.end()
	case p.at == deletionWrite && p.ownsOne:
		p.at = removeFinalizer
	case p.at == deletionWrite:
		w.lookForOwned(p, deletionByIDAgain, deletionByNameAgain)
	case r.kind == post || r.takeOver:
		p.at, p.rec, p.made = record, i, r.kind == post
	default:
		p.end()
	}
	answer := map[bool]string{true: ", refused", false: ""}[i == 0]
	yieldStep("writes: "+what+answer, s, wrong)
	if !fails {
		return
	}

	s = before
	p = &s.procs[n]
	s.left[netFault]--
	s.gap = false
	p.unknownOutcome = p.base.uid
	p.end()
	late := s
	i, wrong = w.commit(&s, r)
	if i != 0 {
		yieldStep("writes, and the response is lost: "+what, s, wrong)
	}
	if late.send(r) {
		yieldStep("writes, and it hangs: "+what, late, "")
	}
}

// commit applies a write. A plugin of a binding that exists, or is being restored, must not be
// taken over from it, unless adoptionPolicy says so.
func (w *world) commit(s *state, r request) (id, string) {
	was := s.kong.rows[r.id]
	i, wrong := s.kong.commit(r)
	if i != 0 && r.takeOver && was.live && was.tags == otherTags && s.other != gone && w.adoption != identity.AdoptOverride {
		wrong = "took the plugin of a binding that may be restored"
	}
	return i, wrong
}

// record writes the ID into the status. One live read resolves a write conflict.
func (w *world) record(s state, n int, fails bool, yieldStep yield) {
	before := s
	p := &s.procs[n]
	o, rec, wrong := &s.etcd, p.rec, ""
	switch {
	case !o.exists || o.uid != p.base.uid:
		if p.made && !o.exists {
			p.at = rollbackCreate
		} else {
			p.end()
		}
	case o.recorded == 0 || w.protocol.recordOver ||
		w.protocol.recordDuplicate && identity.Operation(p.operation) == identity.Replace:
		if o.recorded != 0 && o.recorded != rec {
			wrong = "the recorded ID changed"
		}
		if first := s.first; first != 0 && first != rec && s.kong.rows[first].owned() {
			wrong = "another ID was recorded than the first, whose plugin exists"
		}
		o.recorded, s.first = rec, rec
		s.kong.rows[rec].foreign = false
		p.end()
	default:
		p.end()
	}
	yieldStep("records "+ids[rec], s, wrong)
	if fails {
		s = before
		s.left[netFault]--
		s.procs[n].end()
		yieldStep("cannot record "+ids[rec], s, "")
	}
}
