package admission

import (
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// How many questions may be open at the same time. A gateway that answers slowly holds its own, and the
// gateways of its namespace half of all: the others always find a free one.
const (
	maxAsked             = 16
	maxAskedPerGateway   = 4
	maxAskedPerNamespace = 8
)

// slotPatience is how long a question waits for a slot. Gateways of many namespaces together can hold all
// slots, and must not hold up the rest.
const slotPatience = 500 * time.Millisecond

// maxPerTenant is how many objects of one namespace may be checked, or wait for that, at the same time.
const maxPerTenant = 16

// slots shares the open questions out.
type slots struct {
	total, perGateway, perNamespace int

	mu      sync.Mutex
	used    int
	busy    map[types.NamespacedName]int
	busyIn  map[string]int
	waiting []*slotWaiter // in the order in which they came
}

type slotWaiter struct {
	gateway types.NamespacedName
	ready   chan struct{} // closed when the waiter has its slot
}

func newSlots(total, perGateway, perNamespace int) *slots {
	return &slots{
		total: total, perGateway: perGateway, perNamespace: perNamespace,
		busy: map[types.NamespacedName]int{}, busyIn: map[string]int{},
	}
}

// acquire waits for a slot, but not long. Every acquire that returns true needs a release.
func (s *slots) acquire(ctx context.Context, gateway types.NamespacedName) bool {
	ctx, cancel := context.WithTimeout(ctx, slotPatience)
	defer cancel()
	w := &slotWaiter{gateway: gateway, ready: make(chan struct{})}
	s.mu.Lock()
	s.waiting = append(s.waiting, w)
	s.dispatch()
	s.mu.Unlock()
	select {
	case <-w.ready:
		return true
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, w); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
		return false
	}
	return true // it came at the same time
}

func (s *slots) release(gateway types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used--
	if s.busy[gateway]--; s.busy[gateway] == 0 {
		delete(s.busy, gateway)
	}
	if s.busyIn[gateway.Namespace]--; s.busyIn[gateway.Namespace] == 0 {
		delete(s.busyIn, gateway.Namespace)
	}
	s.dispatch()
}

// dispatch gives free slots to those who wait and may have one.
func (s *slots) dispatch() {
	s.waiting = slices.DeleteFunc(s.waiting, func(w *slotWaiter) bool {
		if s.used >= s.total || s.busy[w.gateway] >= s.perGateway || s.busyIn[w.gateway.Namespace] >= s.perNamespace {
			return false
		}
		s.used++
		s.busy[w.gateway]++
		s.busyIn[w.gateway.Namespace]++
		close(w.ready)
		return true
	})
}

// tenants bounds the objects of each namespace.
type tenants struct {
	mu      sync.Mutex
	current map[string]int
}

func newTenants() *tenants { return &tenants{current: map[string]int{}} }

// enter returns false if the namespace has enough objects in work. It does not wait.
func (t *tenants) enter(namespace string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current[namespace] >= maxPerTenant {
		return false
	}
	t.current[namespace]++
	return true
}

func (t *tenants) leave(namespace string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current[namespace]--; t.current[namespace] == 0 {
		delete(t.current, namespace)
	}
}
