package model

import "github.com/pluginbinding/kong-plugin-operator/internal/identity"

// An object is the binding in the API server, a backup or a cache.
type object struct {
	exists, deleting, finalizer bool
	uid                         uint8
	recorded                    id
	// The spec: scope Y instead of X, spec.instanceName, deletionPolicy Orphan.
	toY, custom, orphan bool
}

// sameSpec compares the generation.
func (o object) sameSpec(other object) bool {
	return o.toY == other.toY && o.custom == other.custom && o.orphan == other.orphan
}

func (o object) name() uint8 {
	if o.custom {
		return nameCustom
	}
	return nameGenerated
}

// A counter is the next step of a process in its reconcile.
type counter uint8

const (
	idle counter = iota
	lookByID
	lookByName
	lookByKey
	readLive
	write
	replaceWrite
	record
	rollbackCreate
	deletionByID
	deletionByName
	deletionReadLive
	deletionWrite
	deletionByIDAgain
	deletionByNameAgain
	removeFinalizer
)

// A lookup is an identity.Observation in fewer bytes.
type lookup struct {
	ownership   uint8
	id          id
	equal, same bool
	otherName   bool
	ownerGone   bool
}

// A process is one running operator.
type process struct {
	up    bool
	cache object

	// The reconcile.
	at        counter
	inFlight  bool // a write could be in flight when the lookups began
	added     bool // it added the finalizer, to a binding that was as the cache had it
	base      object
	scope     uint8
	ownsOne   bool // the look before a deletion showed the recorded plugin, and no other owned one
	byID      lookup
	byName    lookup
	operation uint8
	target    id
	exists    bool
	rec       id
	made      bool
	// adopts: the write makes the binding the owner of a plugin that it does not own.
	adopts bool
	// raced: something changed since the lookups began.
	raced bool

	// What it remembers. pastInherited: no write of a former leader can be in flight, because it
	// has led for so long, or because the former leader left its word. first: there was no Lease
	// when it began to lead. unknownOutcome: the UID for which a write of its own may be in flight.
	// fresh: the UID to which it added the finalizer itself.
	pastInherited, first  bool
	unknownOutcome, fresh uint8
}

// A lease is the Lease in the API server or in a backup. A word on it says that its last holder ended in
// order, with no write in flight.
type lease struct {
	exists bool
	word   word
}

type word uint8

const (
	noWord word = iota
	freshWord
	// oldWord: by its time, another leader may have led since, and only a restore can have brought it back.
	oldWord
)

const maxLate = 2

// A state is the whole state of a world. It is compared and hashed as a whole.
type state struct {
	kong   kong
	etcd   object
	backup object
	// lease is held by the last of procs that is up.
	lease, backupLease lease
	procs              [2]process
	late               [maxLate]request
	left               [events]uint8
	// first is the ID that was recorded first and whose plugin still exists.
	first id
	uids  uint8
	// other is the binding whose ownership tags foreign plugins carry.
	other existence
	// orphanRemoved: the resync removed the plugin that the binding was waiting for.
	orphanRemoved bool
	// gap: the operator deleted the binding's plugin to write the recorded one, and has not written
	// it yet. It is not set after a fault, which can split the two writes anywhere, nor after a
	// change in Kong between the lookups and the writes.
	gap bool
	// released: the operator removed the finalizer, not a user by force.
	released bool
}

func (s *state) inFlight() bool { return s.late != [maxLate]request{} }

// send puts a write in flight, up to maxLate.
func (s *state) send(r request) bool {
	for i := range s.late {
		if s.late[i].kind == 0 {
			s.late[i] = r
			return true
		}
	}
	return false
}

// wanted is the current entity of the desired scope.
func (s *state) wanted(o object) uint8 {
	if o.toY {
		return entityY
	}
	return s.kong.x
}

var ids = [maxID + 1]string{"", "1", "2", "3", "4", "5"}

func (w lookup) observation() identity.Observation {
	return identity.Observation{
		Ownership:   identity.Ownership(w.ownership),
		ID:          ids[w.id],
		SamePlugin:  w.id != 0,
		Equal:       w.equal,
		OwnerState:  map[bool]identity.OwnerState{true: identity.OwnerGone}[w.ownerGone],
		OtherName:   w.otherName,
		SameTraffic: w.same,
	}
}

// existence of another binding in the API server.
type existence uint8

const (
	exists existence = iota
	// missing: a restore may be in progress, so it can come back. It does not take as long as two
	// looks at the API server are apart.
	missing
	gone
)

// ownerGone is the result of two looks at the API server: the other binding is not there, and is
// not being restored.
func (w *world) ownerGone(s *state) bool {
	return s.other == gone || s.other == missing && w.protocol.oneLook
}

// observe looks up a row.
func (w *world) observe(s *state, i id, p *process) lookup {
	r := &s.kong.rows[i]
	if i == 0 || !r.live {
		return lookup{ownership: uint8(identity.Absent)}
	}
	same := r.same && r.scope == p.scope
	return lookup{
		ownership: uint8(ownership[r.tags][r.name]),
		id:        i,
		same:      same,
		otherName: r.name != w.nameFor(p.base),
		ownerGone: r.tags == otherTags && w.ownerGone(s),
		equal:     same && r.tags == ownTags && r.name == w.nameFor(p.base),
	}
}
