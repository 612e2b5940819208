// Package absence remembers since when the API server says that an object does not exist. One
// answer proves little: a restore may be in progress, or an API server may have gone back in time.
//
// It knows keys and times. It must not import a client.
package absence

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// Confirmation is how long after the first answer a second one has to come.
const Confirmation = time.Minute

// maxEntries bounds the memory: tags in Kong can name any number of objects.
const maxEntries = 10_000

// Tracker remembers the first answers. It is safe for concurrent use.
type Tracker struct {
	clock clock.PassiveClock

	mu    sync.Mutex
	first map[types.NamespacedName]time.Time
}

// NewTracker returns an empty tracker.
func NewTracker(c clock.PassiveClock) *Tracker {
	return &Tracker{clock: c, first: map[types.NamespacedName]time.Time{}}
}

// Exists forgets an object that exists after all.
func (t *Tracker) Exists(key types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.first, key)
}

// Missing notes an answer that the object does not exist. It returns 0 if an earlier one is old
// enough, and otherwise how long to wait for the answer that confirms it.
func (t *Tracker) Missing(key types.NamespacedName) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock.Now()
	first, known := t.first[key]
	if !known {
		if len(t.first) >= maxEntries {
			clear(t.first) // what was known is only asked again
		}
		t.first[key] = now
		return Confirmation
	}
	return max(Confirmation-now.Sub(first), 0)
}
