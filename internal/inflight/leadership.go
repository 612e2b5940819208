package inflight

import (
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// LongestWrite is how long Kong may still apply a write of any gateway: the longest request time-out
// that a KongGateway permits, and Kong's database time-out.
const LongestWrite = 14 * time.Second

// Inherited is what a process knows, when it begins to lead, of the writes of earlier leaders.
type Inherited uint8

const (
	// Unknown: Kong may still apply a write of an earlier leader, for any binding.
	Unknown Inherited = iota
	// NoWrites: the last leader left its word that no write is in flight.
	NoWrites
	// NoLeader: there was no Lease. Whoever led before added the finalizer to a binding before it sent
	// anything for it. So nothing is in flight for a binding that gets its finalizer from this process.
	NoLeader
)

// String says it for a log.
func (i Inherited) String() string {
	switch i {
	case NoWrites:
		return "none: the last leader ended in order"
	case NoLeader:
		return "none for new bindings: there was no Lease"
	default:
		return "unknown: new plugins and deletions wait for those of an earlier leader"
	}
}

// Lead says that this process begins to lead now.
func (t *Tracker) Lead(inherited Inherited) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leadingSince, t.inherited = t.clock.Now(), inherited
}

// AddedFinalizer says that the API server added the finalizer to the binding for this process.
func (t *Tracker) AddedFinalizer(binding client.Object) {
	t.mu.Lock()
	needed := t.inherited == NoLeader
	t.mu.Unlock()
	if needed {
		t.update(binding, func(e *entry) { e.finalized = binding.GetUID() })
	}
}

// inherits reports whether an earlier leader may have sent a write for the binding.
func (t *Tracker) inherits(binding client.Object, e *entry) bool {
	switch t.inherited {
	case NoWrites:
		return false
	case NoLeader:
		return e == nil || e.finalized == "" || e.finalized != binding.GetUID()
	default:
		return true
	}
}

// Sending says that this process is about to send a write. The caller calls ended after it: with open
// if Kong may still apply the write.
func (t *Tracker) Sending() (ended func(open bool)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.underWay++
	return func(open bool) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.underWay--
		if open {
			t.openUntil = t.clock.Now().Add(LongestWrite)
		}
	}
}

// OwnEnded reports whether Kong can no longer apply any write that this process has begun to send.
func (t *Tracker) OwnEnded() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ownEnded()
}

func (t *Tracker) ownEnded() bool { return t.underWay == 0 && !t.openUntil.After(t.clock.Now()) }

// AllEnded reports whether Kong can no longer apply any write, neither of this process nor of a leader
// before it. A process that leaves this word on its Lease must send nothing after it.
func (t *Tracker) AllEnded() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	quiet := t.inherited == NoWrites || !t.leadingSince.IsZero() && t.clock.Since(t.leadingSince) >= LongestWrite
	return quiet && t.ownEnded()
}
