package controllers

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
)

// turns shares the workers out among gateways: one that answers slowly must not hold them
// all while bindings of another wait. A binding whose gateway has its share of them steps
// aside, and is called when one of these has ended. It is safe for concurrent use.
type turns struct {
	workers int

	mu      sync.Mutex
	busy    map[types.NamespacedName]int
	waiting map[types.NamespacedName]*line
}

// callAgain is when a binding that has stepped aside looks by itself, should nobody call it:
// whoever was called before it may be gone.
const callAgain = 30 * time.Second

func newTurns(workers int) *turns {
	return &turns{workers: workers, busy: map[types.NamespacedName]int{}, waiting: map[types.NamespacedName]*line{}}
}

// share is how many workers one gateway may hold: a quarter is left for others, if there are
// any. Whoever runs a single pass at a time needs no share.
func (t *turns) share(others bool) int {
	if !others || t.workers < 1 {
		return max(t.workers, 1<<20)
	}
	return max(t.workers*3/4, 1)
}

// take begins a pass for a binding of the gateway; false if it has to wait for its turn.
// Every pass that began has to be ended. urgent: before those that are not.
func (t *turns) take(gateway, binding types.NamespacedName, others, urgent bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.busy[gateway] < t.share(others) {
		t.busy[gateway]++
		return true
	}
	if t.waiting[gateway] == nil {
		t.waiting[gateway] = &line{in: sets.New[types.NamespacedName]()}
	}
	t.waiting[gateway].join(binding, urgent)
	return false
}

// end ends a pass, and returns whose turn it is.
func (t *turns) end(gateway types.NamespacedName, others bool) []types.NamespacedName {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.busy[gateway]--
	free := t.share(others) - t.busy[gateway]
	if t.busy[gateway] == 0 {
		delete(t.busy, gateway)
	}
	waiting := t.waiting[gateway]
	if waiting == nil {
		return nil
	}
	called := waiting.leave(free)
	if waiting.in.Len() == 0 {
		delete(t.waiting, gateway)
	}
	return called
}

// line is who waits for a turn, each once.
type line struct {
	in            sets.Set[types.NamespacedName]
	urgent, other []types.NamespacedName
}

func (l *line) join(binding types.NamespacedName, urgent bool) {
	switch {
	case urgent:
		l.urgent = append(l.urgent, binding)
	case !l.in.Has(binding):
		l.other = append(l.other, binding)
	}
	l.in.Insert(binding)
}

// leave takes out at most so many.
func (l *line) leave(most int) []types.NamespacedName {
	var out []types.NamespacedName
	for _, from := range []*[]types.NamespacedName{&l.urgent, &l.other} {
		for len(out) < most && len(*from) > 0 {
			next := (*from)[0]
			*from = (*from)[1:]
			if l.in.Has(next) { // or it has left with the urgent ones
				l.in.Delete(next)
				out = append(out, next)
			}
		}
	}
	return out
}
