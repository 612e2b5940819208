// Package fairqueue shares the workers of one controller out among gateways, so that a
// gateway that answers slowly does not hold all of them while bindings of another one wait.
//
// It knows keys only: no client, no Kong and no clock.
package fairqueue

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
)

// FallbackRequeue is when a binding that got no worker is reconciled even if nobody calls it:
// the binding that was called before it may be gone.
const FallbackRequeue = 30 * time.Second

// unlimited is the share of a gateway that needs no bound.
const unlimited = 1 << 20

// Limiter limits how many workers one gateway holds, and queues the bindings that wait. It is
// safe for concurrent use.
type Limiter struct {
	workers int

	mu      sync.Mutex
	busy    map[types.NamespacedName]int
	waiting map[types.NamespacedName]*waitQueue
}

// NewLimiter returns a Limiter for that many workers.
func NewLimiter(workers int) *Limiter {
	return &Limiter{workers: workers, busy: map[types.NamespacedName]int{}, waiting: map[types.NamespacedName]*waitQueue{}}
}

// share is how many workers one gateway may hold. It leaves a quarter for other gateways, if
// there are any. A process that reconciles one binding at a time needs no share.
func (l *Limiter) share(others bool) int {
	if !others || l.workers < 1 {
		return max(l.workers, unlimited)
	}
	return max(l.workers*3/4, 1)
}

// TryAcquire takes a worker for a binding of the gateway. If it returns false, the binding is
// queued, and a later Release returns it. Urgent bindings are queued before the rest. Every
// successful TryAcquire needs a Release.
func (l *Limiter) TryAcquire(gateway, binding types.NamespacedName, others, urgent bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy[gateway] < l.share(others) {
		l.busy[gateway]++
		return true
	}
	if l.waiting[gateway] == nil {
		l.waiting[gateway] = &waitQueue{members: sets.New[types.NamespacedName]()}
	}
	l.waiting[gateway].push(binding, urgent)
	return false
}

// Release returns a worker of the gateway, and the queued bindings that may now run.
func (l *Limiter) Release(gateway types.NamespacedName, others bool) []types.NamespacedName {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy[gateway]--
	free := l.share(others) - l.busy[gateway]
	if l.busy[gateway] == 0 {
		delete(l.busy, gateway)
	}
	waiting := l.waiting[gateway]
	if waiting == nil {
		return nil
	}
	next := waiting.pop(free)
	if waiting.members.Len() == 0 {
		delete(l.waiting, gateway)
	}
	return next
}

// waitQueue holds bindings that wait for a worker, each once, in two priorities.
type waitQueue struct {
	members       sets.Set[types.NamespacedName]
	urgent, other []types.NamespacedName
}

func (q *waitQueue) push(binding types.NamespacedName, urgent bool) {
	switch {
	case urgent:
		q.urgent = append(q.urgent, binding)
	case !q.members.Has(binding):
		q.other = append(q.other, binding)
	}
	q.members.Insert(binding)
}

// pop removes at most limit bindings.
func (q *waitQueue) pop(limit int) []types.NamespacedName {
	var popped []types.NamespacedName
	for _, from := range []*[]types.NamespacedName{&q.urgent, &q.other} {
		for len(popped) < limit && len(*from) > 0 {
			next := (*from)[0]
			*from = (*from)[1:]
			if q.members.Has(next) { // otherwise it was popped with the urgent ones
				q.members.Delete(next)
				popped = append(popped, next)
			}
		}
	}
	return popped
}
