// Package fairqueue shares the workers of a controller out among gateways and their namespaces, so
// that gateways that answer slowly do not hold all workers while others wait.
//
// It knows keys only: no client, no Kong and no clock.
package fairqueue

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// FallbackRequeue is when a request that got no worker is tried again even if nobody calls it: the
// one that was called before it may be gone.
const FallbackRequeue = 30 * time.Second

// Limiter limits how many workers one gateway, and the gateways of one namespace, hold at a time. It
// queues the requests that wait. It is safe for concurrent use.
//
// The gateways of one namespace hold at most half of the workers. A quarter of the workers is for
// gateways that hold none, and half of that quarter for namespaces that hold none. So a gateway that
// becomes active gets a worker at once, however slow the others are, until that reserve is used up.
type Limiter struct {
	workers    int
	perGateway int

	mu      sync.Mutex
	total   int // of all workers that are held
	busy    map[types.NamespacedName]int
	busyIn  map[string]int // by namespace
	waiting map[types.NamespacedName]*waitQueue
}

// NewLimiter returns a Limiter for that many workers, of which one gateway never holds more than
// perGateway. It does not limit anything if workers is less than 1.
func NewLimiter(workers, perGateway int) *Limiter {
	return &Limiter{
		workers: workers, perGateway: perGateway,
		busy: map[types.NamespacedName]int{}, busyIn: map[string]int{},
		waiting: map[types.NamespacedName]*waitQueue{},
	}
}

// TryAcquire takes a worker for a request of the gateway. If it returns false, the request is queued
// and a later Release returns it. Urgent requests are queued before the rest. Every successful
// TryAcquire needs a Release.
func (l *Limiter) TryAcquire(gateway, request types.NamespacedName, urgent bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.free(gateway) > 0 {
		l.total++
		l.busy[gateway]++
		l.busyIn[gateway.Namespace]++
		return true
	}
	if l.waiting[gateway] == nil {
		l.waiting[gateway] = &waitQueue{members: map[types.NamespacedName]bool{}}
	}
	l.waiting[gateway].push(request, urgent)
	return false
}

// Release returns a worker of the gateway, and the queued requests that may now run.
func (l *Limiter) Release(gateway types.NamespacedName) (next []types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.busy[gateway]--; l.busy[gateway] == 0 {
		delete(l.busy, gateway)
	}
	if l.busyIn[gateway.Namespace]--; l.busyIn[gateway.Namespace] == 0 {
		delete(l.busyIn, gateway.Namespace)
	}
	for _, other := range slices.SortedFunc(maps.Keys(l.waiting), compareKeys) {
		queue := l.waiting[other]
		next = append(next, queue.pop(l.free(other))...)
		if len(queue.members) == 0 {
			delete(l.waiting, other)
		}
	}
	return next
}

// Busy is the number of workers that the gateway holds.
func (l *Limiter) Busy(gateway types.NamespacedName) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.busy[gateway]
}

// free is how many more workers the gateway may take.
func (l *Limiter) free(gateway types.NamespacedName) int {
	if l.workers < 1 {
		return 1
	}
	total, inNamespace := l.workers-l.total, l.workers/2-l.busyIn[gateway.Namespace]
	if l.busy[gateway] > 0 { // the rest is for gateways that hold none
		total -= l.workers / 4
		inNamespace -= l.workers / 8
	}
	if l.busyIn[gateway.Namespace] > 0 { // and the last of it for namespaces that hold none
		total -= l.workers / 8
	}
	return max(min(l.perGateway-l.busy[gateway], total, inNamespace), 0)
}

func compareKeys(a, b types.NamespacedName) int { return strings.Compare(a.String(), b.String()) }

// waitQueue holds requests that wait for a worker, each once, in two priorities.
type waitQueue struct {
	// members says of each request whether it is urgent.
	members       map[types.NamespacedName]bool
	urgent, other []types.NamespacedName
}

func (q *waitQueue) push(request types.NamespacedName, urgent bool) {
	wasUrgent, waits := q.members[request]
	switch {
	case urgent && !wasUrgent:
		q.urgent = append(q.urgent, request)
		q.members[request] = true
	case !waits:
		q.other = append(q.other, request)
		q.members[request] = false
	}
}

// pop removes at most limit requests.
func (q *waitQueue) pop(limit int) []types.NamespacedName {
	var popped []types.NamespacedName
	for _, from := range []*[]types.NamespacedName{&q.urgent, &q.other} {
		for len(popped) < limit && len(*from) > 0 {
			next := (*from)[0]
			*from = (*from)[1:]
			if _, waits := q.members[next]; waits { // otherwise it was popped with the urgent ones
				delete(q.members, next)
				popped = append(popped, next)
			}
		}
	}
	return popped
}
