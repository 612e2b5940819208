// Package cachelag tells whether the cache shows this process's own last write of an object.
//
// A reconcile that compares what it found with a status from the cache would otherwise write nothing
// when the two are equal, although the API server already holds another status, and no event would
// come to correct that. The package knows objects, no client and no clock.
package cachelag

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Retry is when to look again at an object whose cache lags.
const Retry = 50 * time.Millisecond

// Tracker remembers, for each object, the version that this process replaced last. The zero value is
// empty. It is safe for concurrent use.
type Tracker struct {
	mu       sync.Mutex
	replaced map[types.NamespacedName]string
}

// Wrote says that a write of this process replaced base by stored, which is the API server's response. The
// write had an optimistic lock, so that no version lies between the two. One that changed nothing does not
// count.
func (t *Tracker) Wrote(base, stored client.Object) {
	if base.GetResourceVersion() == stored.GetResourceVersion() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.replaced == nil {
		t.replaced = map[types.NamespacedName]string{}
	}
	t.replaced[client.ObjectKeyFromObject(base)] = base.GetResourceVersion()
}

// Lags reports whether the object is the version that this process has replaced.
func (t *Tracker) Lags(object client.Object) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := client.ObjectKeyFromObject(object)
	version, known := t.replaced[key]
	if known && version != object.GetResourceVersion() {
		delete(t.replaced, key) // the cache never goes back
		return false
	}
	return known
}

// Forget drops what is known of an object that no longer exists.
func (t *Tracker) Forget(key types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.replaced, key)
}
