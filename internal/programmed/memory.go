// Package programmed remembers, per binding, the plugin that this process last saw
// programmed: it lets a resync notice what changed in Kong without a request per binding.
//
// Nothing in it is needed for correctness. After a restart it is empty, and bindings cost
// the requests that it saves. It keeps fingerprints, never a config.
package programmed

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// State is what a binding's plugin was when it was last seen programmed.
type State struct {
	// Fingerprint of the plugin, never 0.
	Fingerprint uint64
	// Secrets are the versions of the Secrets that its config came from.
	Secrets string
	// Route is what was seen of the plugin's route, see reference.RouteFacts.
	Route string
	// RequestedAt is the reconcile-requested-at annotation at that time.
	RequestedAt string
}

type entry struct {
	uid   types.UID
	state State
}

// Memory holds the State of every binding of this process. It is safe for concurrent use.
type Memory struct {
	mu      sync.RWMutex
	entries map[types.NamespacedName]entry
}

// NewMemory returns an empty Memory.
func NewMemory() *Memory { return &Memory{entries: map[types.NamespacedName]entry{}} }

// Set remembers the state of the binding's plugin. It belongs to this object: a binding that
// is made again under the name starts without one.
func (m *Memory) Set(binding client.Object, state State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries[client.ObjectKeyFromObject(binding)] = entry{binding.GetUID(), state}
}

// Get returns the state of the binding's plugin, false if this process has not seen it
// programmed.
func (m *Memory) Get(binding client.Object) (State, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	e, ok := m.entries[client.ObjectKeyFromObject(binding)]
	if !ok || e.uid != binding.GetUID() {
		return State{}, false
	}
	return e.state, true
}

// Forget drops what is known of a binding that no longer exists.
func (m *Memory) Forget(key types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.entries, key)
}
