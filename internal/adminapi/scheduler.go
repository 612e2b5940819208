package adminapi

import (
	"sync"
	"time"
)

// shortestPause is how long a client is quiet after a 429 that does not say for how long.
const shortestPause = time.Second

// pause keeps all requests of a client back for as long as Kong, or what guards it, asked
// one of them to wait.
type pause struct {
	mu    sync.Mutex
	until time.Time
}

// keep extends the pause, and never shortens it.
func (p *pause) keep(wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := time.Now().Add(wait); until.After(p.until) {
		p.until = until
	}
}

// left is how much of it is left, 0 if it is over.
func (p *pause) left() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(time.Until(p.until), 0)
}

// paused is the Error for a request that is not made because of an earlier 429, nil when
// it may be made.
func (c *Client) paused(op string) *Error {
	left := c.pause.left()
	if left == 0 {
		return nil
	}
	return &Error{Reason: Throttled, Op: op, Message: "not sent, for an earlier request was asked to wait", RetryAfter: left}
}
