package inflight

import "k8s.io/apimachinery/pkg/types"

// reservations are the plugins that bindings are about to adopt: who holds each, and which
// one each binding holds.
type reservations struct {
	holders map[string]types.NamespacedName
	plugins map[types.NamespacedName]string
}

// Reserve reserves a plugin for the binding unless another one holds it, and returns the
// holder. A binding holds at most one.
func (t *Tracker) Reserve(binding types.NamespacedName, plugin string) types.NamespacedName {
	t.mu.Lock()
	defer t.mu.Unlock()
	if holder, reserved := t.reservations.holders[plugin]; reserved {
		return holder
	}
	t.reservations.release(binding)
	t.reservations.holders[plugin], t.reservations.plugins[binding] = binding, plugin
	return binding
}

// Unreserve ends the binding's reservation: it no longer wants the plugin, or the cache shows
// a status that records it.
func (t *Tracker) Unreserve(binding types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reservations.release(binding)
}

func (r *reservations) release(binding types.NamespacedName) {
	if plugin, held := r.plugins[binding]; held {
		delete(r.holders, plugin)
		delete(r.plugins, binding)
	}
}
