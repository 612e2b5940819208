package controllers

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// Ledger is what one process remembers between passes. Nothing in it is needed for
// correctness after a restart: what is lost with it is only assumed to be worse.
type Ledger struct {
	mu      sync.Mutex
	entries map[types.UID]*entry
	clock   clock.PassiveClock
	// started is when this process began to lead: when a reconcile first came here.
	started time.Time
}

type entry struct {
	// fresh: this process put the finalizer on, so that no earlier one wrote to Kong.
	fresh bool
	// lands is until when a write of unknown outcome may still be done by Kong.
	lands time.Time
	// fingerprint of the plugin when it was last found or put in force.
	fingerprint uint64
	// secrets are the versions of the Secrets that it was made from.
	secrets string
}

// NewLedger returns an empty ledger.
func NewLedger(c clock.PassiveClock) *Ledger {
	return &Ledger{entries: map[types.UID]*entry{}, clock: c}
}

// Begin notes that this process leads. Only the first call counts.
func (l *Ledger) Begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.started.IsZero() {
		l.started = l.clock.Now()
	}
}

// Fresh notes that nobody wrote to Kong for this binding before this process.
func (l *Ledger) Fresh(uid types.UID) {
	l.with(uid, func(e *entry) { e.fresh = true })
}

// MayLand notes that a write for this binding may still be done until then.
func (l *Ledger) MayLand(uid types.UID, until time.Time) {
	l.with(uid, func(e *entry) {
		if until.After(e.lands) {
			e.lands = until
		}
	})
}

// QuietAt is when no earlier write for this binding can still be done, if the longest
// that a write may take is the given time. Writes of an earlier leader count, unless
// there can be none.
func (l *Ledger) QuietAt(uid types.UID, longest time.Duration) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[uid]
	if e == nil {
		return l.started.Add(longest)
	}
	if e.fresh {
		return e.lands
	}
	if handover := l.started.Add(longest); handover.After(e.lands) {
		return handover
	}
	return e.lands
}

// InForce notes the plugin as it was found or put in force, and what Secrets it was made
// from.
func (l *Ledger) InForce(uid types.UID, fingerprint uint64, secrets string) {
	l.with(uid, func(e *entry) { e.fingerprint, e.secrets = fingerprint, secrets })
}

// Fingerprint of the plugin when it was last in force, 0 if not known.
func (l *Ledger) Fingerprint(uid types.UID) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[uid]; e != nil {
		return e.fingerprint
	}
	return 0
}

// SameSecrets reports whether the plugin was last in force with these Secrets; it is
// false when that is not known.
func (l *Ledger) SameSecrets(uid types.UID, secrets string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[uid]
	return e != nil && e.fingerprint != 0 && e.secrets == secrets
}

// Forget drops what is remembered of a binding that is gone.
func (l *Ledger) Forget(uid types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.entries, uid)
}

func (l *Ledger) with(uid types.UID, change func(*entry)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[uid]
	if e == nil {
		e = &entry{}
		l.entries[uid] = e
	}
	change(e)
}
