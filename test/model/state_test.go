package model

import "github.com/pluginbinding/kong-plugin-operator/internal/identity"

// An object is the binding as the API server, a backup or a cache has it.
type object struct {
	exists, deleting, finalizer bool
	uid                         uint8
	recorded                    id
	// The spec: scope Y instead of X, an instance name of one's own, deletionPolicy Orphan.
	toY, custom, orphan bool
}

// sameSpec stands for the generation.
func (o object) sameSpec(other object) bool {
	return o.toY == other.toY && o.custom == other.custom && o.orphan == other.orphan
}

func (o object) name() uint8 {
	if o.custom {
		return nameCustom
	}
	return nameGenerated
}

// A counter is where a process stands in its pass: what it does next.
type counter uint8

const (
	idle counter = iota
	lookByID
	lookByName
	lookByKey
	lookLive
	write
	record
	unmake
	deletionByID
	deletionByName
	deletionLive
	deletionWrite
	deletionByIDAgain
	deletionByNameAgain
	release
)

// A sight is an identity.Sighting in fewer bytes.
type sight struct {
	standing    uint8
	id          id
	equal, same bool
}

// A process is one running operator.
type process struct {
	up    bool
	cache object

	// The pass.
	at     counter
	doubt  bool // an earlier write could still be done when the looking began
	base   object
	scope  uint8
	byID   sight
	byName sight
	verb   uint8
	target id
	exists bool
	rec    id
	made   bool

	// The ledger. seasoned: it has led for so long that no write of an earlier one can still
	// be done. unsure: a write of its own whose outcome is not known may still be done, made
	// for this life of the binding. fresh: it put the finalizer on this life itself.
	seasoned      bool
	unsure, fresh uint8
}

const lateWrites = 2

// A state is everything there is. It is compared and hashed as a whole.
type state struct {
	kong    kong
	etcd    object
	backup  object
	procs   [2]process
	flights [lateWrites]request
	left    [events]uint8
	// first is the id that was recorded first and whose plugin still exists.
	first id
	uids  uint8
	// released: the operator let go of the binding, rather than somebody by force.
	released bool
}

func (s *state) inFlight() bool { return s.flights != [lateWrites]request{} }

// send puts a write in flight, if there is room for one more.
func (s *state) send(r request) bool {
	for i := range s.flights {
		if s.flights[i].kind == 0 {
			s.flights[i] = r
			return true
		}
	}
	return false
}

// wanted is the entity that the declared scope means now.
func (s *state) wanted(o object) uint8 {
	if o.toY {
		return entityY
	}
	return s.kong.x
}

var ids = [maxID + 1]string{"", "1", "2", "3", "4", "5"}

func (w sight) sighting() identity.Observation {
	return identity.Observation{
		Ownership:   identity.Ownership(w.standing),
		ID:          ids[w.id],
		SamePlugin:  w.id != 0,
		Equal:       w.equal,
		SameTraffic: w.same,
	}
}

// see looks at a row.
func (w *world) see(s *state, i id, p *process) sight {
	r := &s.kong.rows[i]
	if i == 0 || !r.live {
		return sight{standing: uint8(identity.Absent)}
	}
	same := r.same && r.scope == p.scope
	return sight{
		standing: uint8(standing[r.marks][r.name]),
		id:       i,
		same:     same,
		equal:    same && r.marks == marksOurs && r.name == w.nameFor(p.base),
	}
}
