package kongtest

import (
	"net/http"

	"golang.org/x/time/rate"
)

// WithRateLimit limits the rate of requests, see SetRateLimit.
func WithRateLimit(perSecond float64, burst int) Option {
	return func(c *config) { c.limiter = newLimiter(perSecond, burst) }
}

// SetRateLimit changes the rate limit in front of the Admin API. It is a token bucket
// of burst requests that fills at perSecond requests a second, by the clock of
// WithClock. Other requests are answered 429 with "Retry-After: 1", as Kong's
// rate-limiting plugin does, before faults and handlers. A perSecond of 0 or less
// removes the limit.
func (s *Server) SetRateLimit(perSecond float64, burst int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limiter = newLimiter(perSecond, burst)
}

func newLimiter(perSecond float64, burst int) *rate.Limiter {
	if perSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), burst)
}

// withinRateLimit takes a token from the bucket, if there is a limit.
func (s *Server) withinRateLimit() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limiter == nil || s.limiter.AllowN(s.cfg.clock(), 1)
}

func rateLimited() *response {
	resp := message(http.StatusTooManyRequests, "API rate limit exceeded")
	resp.header = http.Header{"Retry-After": {"1"}}
	return resp
}
