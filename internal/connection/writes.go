package connection

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// failingWriters is how many bindings have to fail alike, one after the other, before the gateway is
	// in trouble rather than they.
	failingWriters = 3
	// maxSuspects bounds the bindings that are known to fail by themselves.
	maxSuspects = 1000
)

// writes is what is known of the writes to one Kong. A database that became read-only answers every
// read, so no probe shows it. When the writes of several bindings fail alike, all others wait, and one
// at a time tries.
type writes struct {
	// failed are the bindings whose last write failed, since another one succeeded.
	failed map[types.NamespacedName]bool
	// suspects are bindings that failed while others succeeded: the fault is theirs until they succeed.
	suspects map[types.NamespacedName]bool
	// failing: bindings wait. waiting are those that do, permitted is the one that may try.
	failing   bool
	waiting   []types.NamespacedName
	permitted types.NamespacedName
}

// WritesFail reports whether the writes of several bindings of the gateway fail alike.
func (r *Registry) WritesFail(gateway types.NamespacedName) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	w := r.writes[gateway]
	return w != nil && w.failing
}

// MayWrite reports whether a binding may write to its gateway's Kong now. If not, it is enqueued when
// it may.
func (r *Registry) MayWrite(gateway, binding types.NamespacedName) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.writes[gateway]
	if w == nil || !w.failing || w.permitted == binding {
		return true
	}
	w.wait(binding)
	return false
}

func (w *writes) wait(binding types.NamespacedName) {
	if !slices.Contains(w.waiting, binding) {
		w.waiting = append(w.waiting, binding)
	}
}

// WriteFailed takes note of a write that Kong answered with an error of its own, although its schema
// accepts the plugin. It reports whether the gateway is in trouble since.
func (r *Registry) WriteFailed(gateway, binding types.NamespacedName) (began bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.writes[gateway]
	if w == nil {
		w = &writes{failed: map[types.NamespacedName]bool{}, suspects: map[types.NamespacedName]bool{}}
		r.writes[gateway] = w
	}
	if w.failing {
		w.permitted = types.NamespacedName{}
		w.wait(binding)
		return false
	}
	if w.suspects[binding] {
		return false
	}
	w.failed[binding] = true
	if len(w.failed) < failingWriters {
		return false
	}
	w.failing = true
	for failed := range w.failed {
		w.wait(failed)
	}
	return true
}

// WriteSucceeded takes note of a write that Kong confirmed. It returns the bindings that waited for that.
func (r *Registry) WriteSucceeded(gateway, binding types.NamespacedName) (waited []types.NamespacedName, ended bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.writes[gateway]
	if w == nil {
		return nil, false
	}
	delete(w.failed, binding)
	delete(w.suspects, binding)
	if len(w.suspects)+len(w.failed) > maxSuspects {
		clear(w.suspects)
	}
	for failed := range w.failed {
		w.suspects[failed] = true
	}
	waited, ended = w.waiting, w.failing
	*w = writes{failed: map[types.NamespacedName]bool{}, suspects: w.suspects}
	return waited, ended
}

// NextWriter permits one of the waiting bindings to try a write: one of a namespace that has not failed
// comes first, so that the bindings of one namespace do not hold up all others. If none waits, nothing
// is known of the writes any more, and the trouble is over.
func (r *Registry) NextWriter(gateway types.NamespacedName) (types.NamespacedName, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.writes[gateway]
	if w == nil || !w.failing {
		return types.NamespacedName{}, false
	}
	if len(w.waiting) == 0 {
		delete(r.writes, gateway)
		return types.NamespacedName{}, false
	}
	failedIn := map[string]bool{}
	for failed := range w.failed {
		failedIn[failed.Namespace] = true
	}
	next := max(slices.IndexFunc(w.waiting, func(binding types.NamespacedName) bool { return !failedIn[binding.Namespace] }), 0)
	w.permitted = w.waiting[next]
	w.failed[w.permitted] = true
	w.waiting = slices.Delete(w.waiting, next, next+1)
	return w.permitted, true
}
