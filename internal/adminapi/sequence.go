package adminapi

import (
	"context"
	"sync/atomic"
	"time"
)

// How long a request waits for its turn while Kong rate-limits the client. After that, it fails
// with Throttled.
const (
	freshPatience = 5 * time.Second
	begunPatience = 20 * time.Second
	// resyncPatience is no limit: the deadline of the list applies.
	resyncPatience = maxListTimeout
)

// maxThrottledAttempts bounds how often the client sends one read that is answered 429.
const maxThrottledAttempts = 5

// sequence is what the requests of one context have in common.
type sequence struct {
	fixed priority // 0 <= fixed if all requests have this priority
	begun atomic.Bool
}

const notFixed priority = -1

type sequenceKey struct{}

// WithSequence returns a context for the requests of one unit of work, such as one reconcile of a
// binding. Once Kong has responded to one of them, the client sends the others before the requests
// of sequences that have not begun, and waits up to 20 s instead of 5 s for their turn while Kong
// rate-limits it. So work that has begun is finished before other work begins.
func WithSequence(ctx context.Context) context.Context {
	return context.WithValue(ctx, sequenceKey{}, &sequence{fixed: notFixed})
}

// WithStarted is WithSequence for work that has begun already, for example in an earlier
// reconcile.
func WithStarted(ctx context.Context) context.Context {
	s := &sequence{fixed: notFixed}
	s.begun.Store(true)
	return context.WithValue(ctx, sequenceKey{}, s)
}

// withPriority returns a context whose requests all have this priority.
func withPriority(ctx context.Context, p priority) context.Context {
	return context.WithValue(ctx, sequenceKey{}, &sequence{fixed: p})
}

// priorityOf returns the priority of a request.
func priorityOf(ctx context.Context, r request) priority {
	s, ok := ctx.Value(sequenceKey{}).(*sequence)
	switch {
	case ok && s.fixed != notFixed:
		return s.fixed
	case r.write(), ok && s.begun.Load():
		return begun
	}
	return fresh
}

// markBegun records that Kong has responded to a request of the sequence.
func markBegun(ctx context.Context) {
	if s, ok := ctx.Value(sequenceKey{}).(*sequence); ok {
		s.begun.Store(true)
	}
}

// patience is how long a request of this priority waits while Kong rate-limits the client.
func (p priority) patience() time.Duration {
	switch p {
	case begun:
		return begunPatience
	case resyncing:
		return resyncPatience
	default:
		return freshPatience
	}
}
