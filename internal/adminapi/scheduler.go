package adminapi

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// priority orders the requests that wait. Lower values go first.
type priority int

const (
	// probing: a probe decides whether everything else can work.
	probing priority = iota
	// begun: a write, or a request of a sequence to which Kong has responded before.
	begun
	// resyncing: a request of a resync.
	resyncing
	// fresh: a request that begins a sequence.
	fresh

	priorities = int(fresh) + 1
)

// agingInterval makes every fourth request the one that waits longest, whatever its priority,
// so that no request waits forever.
const agingInterval = 4

// errThrottled means that an earlier 429 holds the request back for longer than it may wait.
var errThrottled = errors.New("held back by an earlier 429")

// scheduler decides when each request of a client is sent. It bounds the requests in flight, and
// spreads the requests by an adaptiveRate.
type scheduler struct {
	maxInFlight int
	clock       clock.WithDelayedExecution

	mu       sync.Mutex
	rate     adaptiveRate
	inFlight int
	resyncs  int // those of inFlight that have priority resyncing
	queues   [priorities][]*waiter
	queued   uint64 // number of waiters so far
	granted  int    // number of requests so far
	timer    clock.Timer
	// retryAt is the time of the last retry that throttled has given out.
	retryAt time.Time
}

// waiter is one request that waits.
type waiter struct {
	priority priority
	number   uint64        // by arrival
	ready    chan struct{} // closed when the request may be sent
}

func newScheduler(s Settings) *scheduler {
	return &scheduler{maxInFlight: s.MaxInFlight, clock: s.Clock, rate: newAdaptiveRate(s)}
}

// acquire waits until a request may be sent. The caller must release it. If a 429 would hold the
// request back for longer than patience, acquire fails immediately with errThrottled and the time
// after which to try again. It also fails if ctx ends, or would end before the request's turn.
func (s *scheduler) acquire(ctx context.Context, p priority, patience time.Duration) (retryAfter time.Duration, err error) {
	w, retryAfter, err := s.enqueue(ctx, p, patience)
	if err != nil {
		return retryAfter, err
	}
	select {
	case <-w.ready:
		return 0, nil
	case <-ctx.Done():
		s.abandon(w)
		return 0, ctx.Err()
	}
}

func (s *scheduler) enqueue(ctx context.Context, p priority, patience time.Duration) (w *waiter, retryAfter time.Duration, err error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	wait := s.rate.expectedWait(now, s.ahead(p))
	deadline, ok := ctx.Deadline()
	late := ok && wait > time.Until(deadline)
	switch {
	case s.rate.throttled(now) && (late || wait > patience):
		return nil, s.spread(now, wait), errThrottled
	case late:
		return nil, 0, context.DeadlineExceeded
	}
	s.queued++
	w = &waiter{priority: p, number: s.queued, ready: make(chan struct{})}
	s.queues[p] = append(s.queues[p], w)
	s.dispatch(now)
	return w, 0, nil
}

// ahead counts the waiters that go before a new one of this priority.
func (s *scheduler) ahead(p priority) int {
	n := 0
	for _, queue := range s.queues[:p+1] {
		n += len(queue)
	}
	return n
}

// maxSpread bounds the time over which spread distributes retries.
const maxSpread = 30 * time.Second

// spread returns a time to retry that differs from those given out before: callers that all retry
// at the same time would be throttled again.
func (s *scheduler) spread(now time.Time, wait time.Duration) time.Duration {
	earliest := now.Add(wait)
	at := s.retryAt.Add(s.rate.interval())
	if at.Before(earliest) || at.After(earliest.Add(maxSpread)) {
		at = earliest
	}
	s.retryAt = at
	return min(at.Sub(now), maxRetryAfter)
}

// abandon gives up waiting.
func (s *scheduler) abandon(w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	queue := s.queues[w.priority]
	if i := slices.Index(queue, w); i >= 0 {
		s.queues[w.priority] = slices.Delete(queue, i, i+1)
		return
	}
	s.leave(w.priority) // its turn came at the same time
	s.dispatch(s.clock.Now())
}

// release ends a request for which acquire succeeded.
func (s *scheduler) release(p priority) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leave(p)
	s.dispatch(s.clock.Now())
}

func (s *scheduler) leave(p priority) {
	s.inFlight--
	if p == resyncing {
		s.resyncs--
	}
}

// succeeded records a response other than 429.
func (s *scheduler) succeeded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rate.increase(s.clock.Now())
}

// throttled records a 429 to a request that was sent at the given time.
func (s *scheduler) throttled(sent time.Time, retryAfter time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rate.decrease(s.clock.Now(), sent, retryAfter)
}

// dispatch sends what may be sent now, and sets the timer for the rest.
func (s *scheduler) dispatch(now time.Time) {
	for {
		w := s.next()
		if w == nil {
			return
		}
		if wait := s.rate.take(now); wait > 0 {
			if s.timer != nil {
				s.timer.Stop()
			}
			s.timer = s.clock.AfterFunc(wait, func() { go s.wake() }) // a fake clock is locked here
			return
		}
		s.queues[w.priority] = s.queues[w.priority][1:]
		s.inFlight++
		if w.priority == resyncing {
			s.resyncs++
		}
		s.granted++
		close(w.ready)
	}
}

func (s *scheduler) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dispatch(s.clock.Now())
}

// next returns the waiter whose turn it is, nil if there is none with a free request slot.
func (s *scheduler) next() *waiter {
	var first, oldest *waiter
	for p, queue := range s.queues {
		if len(queue) == 0 || !s.hasSlot(priority(p)) {
			continue
		}
		w := queue[0]
		if first == nil {
			first = w
		}
		if oldest == nil || w.number < oldest.number {
			oldest = w
		}
	}
	if s.granted%agingInterval == agingInterval-1 {
		return oldest
	}
	return first
}

// hasSlot reports whether a request of this priority may be in flight now. A resync never uses
// more than half of the slots, and other requests leave one to it. So neither waits for slow
// responses to the other, unless there is only one slot.
func (s *scheduler) hasSlot(p priority) bool {
	switch {
	case s.inFlight >= s.maxInFlight:
		return false
	case p == resyncing:
		return s.resyncs < max(s.maxInFlight/2, 1)
	}
	return s.inFlight-s.resyncs < max(s.maxInFlight-1, 1)
}
