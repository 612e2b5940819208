package pluginbinding

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// How often the operator looks at Kong after a hint, and for how long.
const (
	hintDuration = 30 * time.Second
	// hintPause is the first pause. While something is missing it stays like that for a third of the
	// time; otherwise the pauses grow.
	hintPause = 250 * time.Millisecond
	// hintedPerSecond bounds the looks of all hinted bindings together.
	hintedPerSecond = 100
)

// hints are bindings of which something in Kong is about to change: the object changed from which
// Kong's ingress controller made their route, service or consumer. Until it is quiet, the operator
// looks at Kong instead of waiting for a resync.
type hints struct {
	mu    sync.Mutex
	since map[types.NamespacedName]time.Time
}

// Hint says that what the binding depends on in Kong is about to change.
func (r *Reconciler) Hint(binding types.NamespacedName) {
	r.hints.mu.Lock()
	defer r.hints.mu.Unlock()
	if r.hints.since == nil {
		r.hints.since = map[types.NamespacedName]time.Time{}
	}
	r.hints.since[binding] = r.Clock.Now()
}

// age returns how long ago the hint for a binding was. It returns false without one, and forgets one
// that is over.
func (h *hints) age(binding types.NamespacedName, c clock.PassiveClock) (time.Duration, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	since, ok := h.since[binding]
	if !ok {
		return 0, false
	}
	age := c.Since(since)
	if age >= hintDuration {
		delete(h.since, binding)
		return 0, false
	}
	return age, true
}

func (h *hints) forget(binding types.NamespacedName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.since, binding)
}

// pause returns when to look again. It is zero without a hint.
func (h *hints) pause(binding types.NamespacedName, missing bool, c clock.PassiveClock) time.Duration {
	age, ok := h.age(binding, c)
	if !ok {
		return 0
	}
	pause := max(hintPause, age/2)
	if missing && age < hintDuration/3 {
		pause = hintPause
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return max(pause, time.Duration(len(h.since))*time.Second/hintedPerSecond)
}

// awaitsKong reports whether the result waits for something to appear in Kong, or to go.
func awaitsKong(result *stepResult) bool {
	return result != nil && (result.reason == v1alpha1.ReasonScopeNotFound || result.reason == v1alpha1.ReasonConflict ||
		result.reason == v1alpha1.ReasonClaimedByKongPlugin)
}
