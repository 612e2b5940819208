package controllers

import (
	"maps"
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
	// lands is until when a write of unknown outcome may still be done by Kong. By name, not
	// by UID: a binding that is made again has to reckon with what was sent for the one
	// before it, should that have gone unseen.
	lands map[types.NamespacedName]time.Time
	clock clock.PassiveClock
	// started is when this process began to lead: when a reconcile first came here, unless
	// somebody said so.
	started time.Time
	// ticks orders readings of Kong and writes to it, whatever the clock does.
	ticks uint64
}

type entry struct {
	// fingerprint of the plugin when it was last found or put in force.
	fingerprint uint64
	// secrets are the versions of the Secrets that it was made from.
	secrets string
	// requested is the reconcile-requested-at annotation of that pass.
	requested string
	// wrote is the tick of the last write for this binding, misled that of the last time at
	// which Kong did not have the entities of its scope as a reading had them.
	wrote, misled uint64
}

// NewLedger returns an empty ledger of a process that leads since the given time; since it
// first reconciles, if that is zero.
func NewLedger(c clock.PassiveClock, leadingSince time.Time) *Ledger {
	return &Ledger{
		entries: map[types.UID]*entry{}, lands: map[types.NamespacedName]time.Time{},
		clock: c, started: leadingSince,
	}
}

// Begin notes that this process leads. Only the first call counts.
func (l *Ledger) Begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.started.IsZero() {
		l.started = l.clock.Now()
	}
}

// MayLand notes that a write for the binding of this name may still be done until then.
func (l *Ledger) MayLand(key types.NamespacedName, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.lands, func(_ types.NamespacedName, t time.Time) bool { return t.Before(l.clock.Now()) })
	if until.After(l.lands[key]) {
		l.lands[key] = until
	}
}

// QuietIn is how long it takes until no earlier write for the binding of this name can
// still be done, if the longest that a write may take is the given time; 0 or less if
// none can. What an earlier leader may have sent counts: nothing tells that it sent none.
func (l *Ledger) QuietIn(key types.NamespacedName, longest time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	quiet := l.started.Add(longest)
	if lands := l.lands[key]; lands.After(quiet) {
		quiet = lands
	}
	return quiet.Sub(l.clock.Now())
}

// Tick is a point in the order of readings and writes; each is later than the one before.
func (l *Ledger) Tick() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ticks++
	return l.ticks
}

// Wrote notes that a write for this binding has ended, in whatever way.
func (l *Ledger) Wrote(uid types.UID) {
	l.with(uid, func(e *entry) {
		l.ticks++
		e.wrote = l.ticks
	})
}

// Misled notes that what a reading says of the binding's scope is not so any more.
func (l *Ledger) Misled(uid types.UID) {
	l.with(uid, func(e *entry) {
		l.ticks++
		e.misled = l.ticks
	})
}

// InForce notes the plugin as it was found or put in force, from what Secrets it was made,
// and what the reconcile-requested-at annotation was.
func (l *Ledger) InForce(uid types.UID, fingerprint uint64, secrets, requested string) {
	l.with(uid, func(e *entry) { e.fingerprint, e.secrets, e.requested = fingerprint, secrets, requested })
}

// MayRely reports whether a reading of Kong that began at a tick can speak for the
// binding's plugin: nothing was written for it since, and nobody has asked for a look of
// its own.
func (l *Ledger) MayRely(uid types.UID, tick uint64, requested string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[uid]
	return e == nil || max(e.wrote, e.misled) < tick && (e.fingerprint == 0 || e.requested == requested)
}

// MayResolve reports whether such a reading can say what the binding's scope means: a write
// for the plugin does not change that.
func (l *Ledger) MayResolve(uid types.UID, tick uint64, requested string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[uid]
	return e == nil || e.misled < tick && (e.fingerprint == 0 || e.requested == requested)
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
