// Package inflight tracks what a process has sent to Kong and may not assume finished: writes
// whose outcome is open, the order of writes and snapshots, and which binding is about to
// adopt which plugin.
//
// Nothing in it is needed for correctness after a restart: a new leader waits as if its
// predecessor had sent a write for every binding, unless it knows better (see Inherited). The
// package knows keys of objects, no client and no Kong.
package inflight

import (
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// MaxSnapshotAge is how old a snapshot may be that still proves something, and how long
// writes for deleted bindings are remembered. It is longer than the longest resyncInterval.
const MaxSnapshotAge = 25 * time.Hour

// pruneInterval is how often entries of deleted bindings are dropped.
const pruneInterval = 10 * time.Minute

// maxGone bounds the entries of deleted bindings. Somebody who creates and deletes bindings all day would
// otherwise fill the memory.
const maxGone = 10_000

// Tracker tracks the writes of one process by binding. It is safe for concurrent use.
type Tracker struct {
	mu      sync.Mutex
	entries map[types.NamespacedName]*entry
	clock   clock.PassiveClock
	// leadingSince is when this process began to lead.
	leadingSince time.Time
	inherited    Inherited
	// underWay counts the writes that are being sent. openUntil is until when Kong may still apply one
	// that has ended.
	underWay  int
	openUntil time.Time
	// tick orders snapshots and writes, whatever the clock does.
	tick uint64
	// pruned is when entries of deleted bindings were last dropped, and gone how many there are.
	pruned time.Time
	gone   int
	// forgotten is the tick at which entries were dropped because there were too many. What snapshots
	// from before prove is not known any more.
	forgotten    uint64
	reservations reservations
}

// entry belongs to a namespace/name, not to a UID. Writes sent for a deleted binding can still
// take effect after a user recreates it.
type entry struct {
	// inFlightUntil is until when Kong may still apply a write of unknown outcome.
	inFlightUntil time.Time
	// written is the tick of the last write. scopeInvalidated is the tick at which the
	// operator last found that a snapshot's entities for this scope no longer match Kong.
	written, scopeInvalidated uint64
	// finalized is the UID of the binding that got its finalizer from this process.
	finalized types.UID
	// gone is when the binding was last seen to be gone, zero while it exists.
	gone time.Time
}

// NewTracker returns a tracker of a process that leads since the given time; since it first
// reconciles, if that is zero.
func NewTracker(c clock.PassiveClock, leadingSince time.Time) *Tracker {
	return &Tracker{
		entries: map[types.NamespacedName]*entry{}, clock: c, leadingSince: leadingSince,
		reservations: reservations{map[string]types.NamespacedName{}, map[types.NamespacedName]string{}},
	}
}

// Begin says that this process leads, and knows nothing of an earlier leader. It counts only if nothing
// has said so before.
func (t *Tracker) Begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.leadingSince.IsZero() {
		t.leadingSince = t.clock.Now()
	}
}

// MarkInFlight says that Kong may still apply a write for the binding until the given time.
func (t *Tracker) MarkInFlight(binding client.Object, until time.Time) {
	t.update(binding, func(e *entry) {
		if until.After(e.inFlightUntil) {
			e.inFlightUntil = until
		}
	})
}

// InFlightFor returns how long Kong may still apply an earlier write for a binding of this
// name, if a write takes at most longestWrite; 0 or less when it cannot. Writes of an
// earlier leader count, unless something proves that it sent none.
func (t *Tracker) InFlightFor(binding client.Object, longestWrite time.Duration) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.quietAt(binding, longestWrite).Sub(t.clock.Now())
}

// quietAt is when no earlier write for the binding can be in flight any more.
func (t *Tracker) quietAt(binding client.Object, longestWrite time.Duration) time.Time {
	quiet, e := t.leadingSince, t.entries[client.ObjectKeyFromObject(binding)]
	if t.inherits(binding, e) {
		quiet = quiet.Add(longestWrite)
	}
	if e != nil && e.inFlightUntil.After(quiet) {
		quiet = e.inFlightUntil
	}
	return quiet
}

// HasInFlight reports whether Kong may still apply a write that this process sent for a
// binding of this name.
func (t *Tracker) HasInFlight(binding client.Object) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[client.ObjectKeyFromObject(binding)]
	return e != nil && e.inFlightUntil.After(t.clock.Now())
}

// Time is when a snapshot of Kong began: its place in the order of snapshots and writes, and
// the wall time.
type Time struct {
	tick uint64
	At   time.Time
}

// Now returns a time later than all before.
func (t *Tracker) Now() Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tick++
	return Time{t.tick, t.clock.Now()}
}

// IsCurrent reports whether a snapshot of that time is young enough to prove anything.
func (t *Tracker) IsCurrent(snapshot Time) bool {
	return t.clock.Since(snapshot.At) < MaxSnapshotAge
}

// MarkWritten says that a write for the binding has ended, whatever its outcome.
func (t *Tracker) MarkWritten(binding client.Object) {
	t.update(binding, func(e *entry) { e.written = t.nextTick() })
}

// InvalidateScope says that Kong no longer has the entities of the binding's scope as
// snapshots show them.
func (t *Tracker) InvalidateScope(binding client.Object) {
	t.update(binding, func(e *entry) { e.scopeInvalidated = t.nextTick() })
}

func (t *Tracker) nextTick() uint64 {
	t.tick++
	return t.tick
}

// WrittenSince reports whether a write for the binding has ended after that snapshot began.
func (t *Tracker) WrittenSince(binding client.Object, snapshot Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[client.ObjectKeyFromObject(binding)]
	return snapshot.tick < t.forgotten || e != nil && e.written >= snapshot.tick
}

// ScopeInvalidatedSince reports whether the binding's scope was invalidated after that
// snapshot began.
func (t *Tracker) ScopeInvalidatedSince(binding client.Object, snapshot Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[client.ObjectKeyFromObject(binding)]
	return snapshot.tick < t.forgotten || e != nil && e.scopeInvalidated >= snapshot.tick
}

// MayMissWrite reports whether a write for the binding could still be applied when that
// snapshot began. What the snapshot does not show may then exist all the same.
func (t *Tracker) MayMissWrite(binding client.Object, snapshot Time, longestWrite time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return snapshot.At.Before(t.quietAt(binding, longestWrite))
}

// Forget says that a binding of that name is gone. The tracker remembers its writes for as
// long as a snapshot from before may be in use.
func (t *Tracker) Forget(key types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reservations.release(key)
	now := t.clock.Now()
	if e := t.entries[key]; e != nil && e.gone.IsZero() {
		e.gone = now
		t.gone++
	}
	if now.Sub(t.pruned) > pruneInterval {
		t.pruned = now
		t.drop(func(e *entry) bool { return now.Sub(e.gone) > MaxSnapshotAge })
	}
	if t.gone > maxGone {
		t.forgotten = t.nextTick()
		t.drop(func(e *entry) bool { return !e.inFlightUntil.After(now) })
	}
}

// drop drops entries of deleted bindings.
func (t *Tracker) drop(isOver func(*entry) bool) {
	maps.DeleteFunc(t.entries, func(_ types.NamespacedName, e *entry) bool {
		dropped := !e.gone.IsZero() && isOver(e)
		if dropped {
			t.gone--
		}
		return dropped
	})
}

func (t *Tracker) update(binding client.Object, change func(*entry)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := client.ObjectKeyFromObject(binding)
	e := t.entries[key]
	if e == nil {
		e = &entry{}
		t.entries[key] = e
	}
	if !e.gone.IsZero() { // whoever writes for it knows that it exists
		e.gone = time.Time{}
		t.gone--
	}
	change(e)
}
