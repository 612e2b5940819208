package adminapi

import (
	"sync"
	"time"
)

// shortestPause is the pause after a 429 without a Retry-After header.
const shortestPause = time.Second

// pause holds back all requests of a client until the Retry-After of an earlier 429 expires.
type pause struct {
	mu    sync.Mutex
	until time.Time
}

// keep extends the pause. It never shortens it.
func (p *pause) keep(wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := time.Now().Add(wait); until.After(p.until) {
		p.until = until
	}
}

// left returns the rest of the pause, 0 if it is over.
func (p *pause) left() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(time.Until(p.until), 0)
}

// paused returns the Error for a request that an earlier 429 holds back, nil if there is no
// pause.
func (c *Client) paused(op string) *Error {
	left := c.pause.left()
	if left == 0 {
		return nil
	}
	return &Error{Reason: Throttled, Op: op, Message: "not sent: Kong rate-limited an earlier request (429), and its Retry-After has not expired", RetryAfter: left}
}
