package controllers

import (
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Ledger is what one process remembers between passes. Nothing in it is needed for
// correctness after a restart: what is lost with it is only assumed to be worse.
type Ledger struct {
	mu      sync.Mutex
	entries map[types.NamespacedName]*entry
	clock   clock.PassiveClock
	claims  claims
	// started is when this process began to lead: when a reconcile first came here, unless
	// somebody said so.
	started time.Time
	// ticks orders readings of Kong and writes to it, whatever the clock does.
	ticks uint64
	// swept is when entries of bindings that are gone were last dropped.
	swept time.Time
}

// entry is of a name. A binding that is made again has to reckon with what was sent for
// the one before it: all but the writes is forgotten with the object.
type entry struct {
	uid types.UID
	// lands is until when a write of unknown outcome may still be done by Kong.
	lands time.Time
	// wrote is the tick of the last write, misled that of the last time at which Kong did
	// not have the entities of the scope as a reading had them.
	wrote, misled uint64
	// gone is when the object was last seen to be gone, zero while it is there.
	gone time.Time

	// fingerprint of the plugin when it was last found or put in force.
	fingerprint uint64
	// secrets are the versions of the Secrets that it was made from.
	secrets string
	// requested is the reconcile-requested-at annotation of that pass.
	requested string
}

// A reading that is older than this speaks for nothing, and what was written before that is
// forgotten: longer than the longest resyncInterval.
const oldest = 25 * time.Hour

// NewLedger returns an empty ledger of a process that leads since the given time; since it
// first reconciles, if that is zero.
func NewLedger(c clock.PassiveClock, leadingSince time.Time) *Ledger {
	return &Ledger{entries: map[types.NamespacedName]*entry{}, claims: claims{map[string]types.NamespacedName{}, map[types.NamespacedName]string{}}, clock: c, started: leadingSince}
}

// Begin notes that this process leads. Only the first call counts.
func (l *Ledger) Begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.started.IsZero() {
		l.started = l.clock.Now()
	}
}

// MayLand notes that a write for the binding may still be done until then.
func (l *Ledger) MayLand(binding client.Object, until time.Time) {
	l.with(binding, func(e *entry) {
		if until.After(e.lands) {
			e.lands = until
		}
	})
}

// QuietIn is how long it takes until no earlier write for a binding of this name can
// still be done, if the longest that a write may take is the given time; 0 or less if
// none can. What an earlier leader may have sent counts: nothing tells that it sent none.
func (l *Ledger) QuietIn(binding client.Object, longest time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.quietAt(binding, longest).Sub(l.clock.Now())
}

func (l *Ledger) quietAt(binding client.Object, longest time.Duration) time.Time {
	quiet := l.started.Add(longest)
	if e := l.entries[client.ObjectKeyFromObject(binding)]; e != nil && e.lands.After(quiet) {
		quiet = e.lands
	}
	return quiet
}

// Sent reports whether a write that this process sent for a binding of this name can still
// be done.
func (l *Ledger) Sent(binding client.Object) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[client.ObjectKeyFromObject(binding)]
	return e != nil && e.lands.After(l.clock.Now())
}

// Moment is when a reading of Kong began: its place in the order of readings and writes,
// and its time.
type Moment struct {
	tick uint64
	at   time.Time
}

// Now is a moment later than all before.
func (l *Ledger) Now() Moment {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ticks++
	return Moment{l.ticks, l.clock.Now()}
}

// Wrote notes that a write for the binding has ended, in whatever way.
func (l *Ledger) Wrote(binding client.Object) {
	l.with(binding, func(e *entry) {
		l.ticks++
		e.wrote = l.ticks
	})
}

// Misled notes that what a reading says of the binding's scope is not so any more.
func (l *Ledger) Misled(binding client.Object) {
	l.with(binding, func(e *entry) {
		l.ticks++
		e.misled = l.ticks
	})
}

// InForce notes the plugin as it was found or put in force, from what Secrets it was made,
// and what the reconcile-requested-at annotation was.
func (l *Ledger) InForce(binding client.Object, fingerprint uint64, secrets, requested string) {
	l.with(binding, func(e *entry) { e.fingerprint, e.secrets, e.requested = fingerprint, secrets, requested })
}

// MayRely reports whether a reading of Kong that began at a moment can speak for the
// binding's plugin: nothing was written for it since, and nobody has asked for a look of
// its own.
func (l *Ledger) MayRely(binding client.Object, began Moment, requested string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[client.ObjectKeyFromObject(binding)]
	return l.fresh(binding, began, requested) && (e == nil || max(e.wrote, e.misled) < began.tick)
}

// MayResolve reports whether such a reading can say what the binding's scope means: a write
// for the plugin does not change that.
func (l *Ledger) MayResolve(binding client.Object, began Moment, requested string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[client.ObjectKeyFromObject(binding)]
	return l.fresh(binding, began, requested) && (e == nil || e.misled < began.tick)
}

// MayMiss reports whether a write for the binding could still be done when the reading
// began, so that what the reading does not show may be there all the same.
func (l *Ledger) MayMiss(binding client.Object, began Moment, longest time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return began.at.Before(l.quietAt(binding, longest))
}

// fresh reports whether a reading is not too old, and later than a look that was asked for.
func (l *Ledger) fresh(binding client.Object, began Moment, requested string) bool {
	e := l.known(binding)
	return l.clock.Since(began.at) < oldest && (e == nil || e.fingerprint == 0 || e.requested == requested)
}

// Fingerprint of the plugin when it was last in force, 0 if not known.
func (l *Ledger) Fingerprint(binding client.Object) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.known(binding); e != nil {
		return e.fingerprint
	}
	return 0
}

// SameSecrets reports whether the plugin was last in force with these Secrets; it is
// false when that is not known.
func (l *Ledger) SameSecrets(binding client.Object, secrets string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.known(binding)
	return e != nil && e.fingerprint != 0 && e.secrets == secrets
}

// Forget notes that a binding of that name is gone. What was sent for it is remembered for as
// long as a reading from before may be in use.
func (l *Ledger) Forget(key types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claims.drop(key)
	now := l.clock.Now()
	if e := l.entries[key]; e != nil && e.gone.IsZero() {
		e.gone = now
	}
	const between = 10 * time.Minute
	if now.Sub(l.swept) > between {
		l.swept = now
		maps.DeleteFunc(l.entries, func(_ types.NamespacedName, e *entry) bool {
			return !e.gone.IsZero() && now.Sub(e.gone) > oldest
		})
	}
}

// known is the entry of this very object, nil if there is none.
func (l *Ledger) known(binding client.Object) *entry {
	if e := l.entries[client.ObjectKeyFromObject(binding)]; e != nil && e.uid == binding.GetUID() {
		return e
	}
	return nil
}

func (l *Ledger) with(binding client.Object, change func(*entry)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := client.ObjectKeyFromObject(binding)
	e := l.entries[key]
	switch {
	case e == nil:
		e = &entry{uid: binding.GetUID()}
	case e.uid == binding.GetUID():
		e.gone = time.Time{} // a cache that loses its labels and has them again shows it anew
	default:
		e = &entry{uid: binding.GetUID(), lands: e.lands, wrote: e.wrote, misled: e.misled}
	}
	l.entries[key] = e
	change(e)
}
