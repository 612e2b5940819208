package pluginbinding

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// changes are the bindings that somebody changed while this process ran, each until its status
// covers the change. They are reconciled before bindings that had changed before: after a restart
// these may be all of them, and nobody waits for one in particular.
type changes struct {
	mu          sync.Mutex
	generations map[types.NamespacedName]int64
}

func (c *changes) add(binding types.NamespacedName, generation int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generations == nil {
		c.generations = map[types.NamespacedName]int64{}
	}
	c.generations[binding] = max(generation, c.generations[binding])
}

func (c *changes) has(binding types.NamespacedName) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.generations[binding]
	return ok
}

// settle forgets the change if the status covers it.
func (c *changes) settle(key types.NamespacedName, binding *v1alpha1.PluginBinding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generations[key] <= binding.Status.ObservedGeneration {
		delete(c.generations, key)
	}
}

func (c *changes) forget(binding types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.generations, binding)
}

// NoteChange makes the reconciles of a binding urgent until its status covers that generation. The
// watch calls it for a change that it sees while the process runs.
func (r *Reconciler) NoteChange(binding types.NamespacedName, generation int64) {
	r.changes.add(binding, generation)
}
