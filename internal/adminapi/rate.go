package adminapi

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// How the rate of requests follows what the Admin API allows: additive increase, multiplicative
// decrease.
const (
	// defaultPause is the pause after a 429 without a Retry-After header.
	defaultPause = time.Second
	// decreaseFactor is applied once per pause.
	decreaseFactor = 0.7
	// increasePerSecond is the growth in requests per second, per second at full use.
	increasePerSecond = 1
	// recoveryAfter is the time without a 429 after which the limit grows by recoveryGrowth of itself
	// per second at full use, if that is more. Whatever limited the rate may be gone, and 500 requests
	// per second would take eight minutes otherwise.
	recoveryAfter  = 15 * time.Second
	recoveryGrowth = 0.1
	// minRate in requests per second. Below it, the pauses alone set the rate.
	minRate = 1
	// unlimitedRate in requests per second ends the learned limit if none is configured.
	unlimitedRate = 1000
)

// adaptiveRate is a rate limit that learns from 429 responses. It is not safe for concurrent use.
type adaptiveRate struct {
	configured rate.Limit
	burst      int

	limiter *rate.Limiter
	// learned reports whether the limit comes from a 429.
	learned      bool
	pausedUntil  time.Time
	lastDecrease time.Time

	// succeeded counts the responses in this second and in the one before.
	second    time.Time
	succeeded [2]int
}

func newAdaptiveRate(s Settings) adaptiveRate {
	a := adaptiveRate{configured: rate.Inf, burst: s.Burst}
	if s.RequestsPerSecond > 0 {
		a.configured = rate.Limit(s.RequestsPerSecond)
	}
	a.limiter = rate.NewLimiter(a.configured, a.burst)
	return a
}

// throttled reports whether a 429 limits the rate at this time.
func (a *adaptiveRate) throttled(now time.Time) bool { return a.learned || now.Before(a.pausedUntil) }

// take takes the right to send one request. If there is none now, it returns the time after which
// to ask again.
func (a *adaptiveRate) take(now time.Time) time.Duration {
	if pause := a.pausedUntil.Sub(now); pause > 0 {
		return pause
	}
	if a.limiter.AllowN(now, 1) {
		return 0
	}
	return max(seconds((1-a.limiter.TokensAt(now))/float64(a.limiter.Limit())), time.Microsecond)
}

// expectedWait is the time until a request may be sent, if this many go before it.
func (a *adaptiveRate) expectedWait(now time.Time, ahead int) time.Duration {
	pause := max(a.pausedUntil.Sub(now), 0)
	if a.limiter.Limit() == rate.Inf {
		return pause
	}
	missing := float64(ahead) + 1 - a.limiter.TokensAt(now.Add(pause))
	return pause + max(seconds(missing/float64(a.limiter.Limit())), 0)
}

// interval is the average time between two requests.
func (a *adaptiveRate) interval() time.Duration { return seconds(1 / float64(a.limiter.Limit())) }

// increase records a response other than 429, and raises a learned limit.
func (a *adaptiveRate) increase(now time.Time) {
	a.rotate(now)
	a.succeeded[0]++
	if !a.learned {
		return
	}
	limit, growth := a.limiter.Limit(), rate.Limit(increasePerSecond)
	if now.Sub(a.lastDecrease) >= recoveryAfter {
		growth = max(growth, recoveryGrowth*limit)
	}
	limit += growth / limit
	if limit >= min(a.configured, unlimitedRate) {
		a.learned = false
		a.limiter.SetLimitAt(now, a.configured)
		a.limiter.SetBurstAt(now, a.burst)
		return
	}
	a.limiter.SetLimitAt(now, limit)
}

// decrease records a 429, which asks for a pause, to a request that was sent at the given time. It
// lowers the limit once for all requests that were in flight together. The first time, it takes
// the rate of the last second as what the Admin API allows.
func (a *adaptiveRate) decrease(now, sent time.Time, pause time.Duration) {
	if until := now.Add(pause); until.After(a.pausedUntil) {
		a.pausedUntil = until
	}
	if a.learned && sent.Before(a.lastDecrease) {
		return
	}
	a.lastDecrease = now
	limit := a.limiter.Limit()
	if !a.learned {
		a.rotate(now)
		limit = min(limit, rate.Limit(a.succeeded[0]+a.succeeded[1]))
	}
	a.learned = true
	a.limiter.SetLimitAt(now, max(limit*decreaseFactor, min(minRate, a.configured)))
	a.limiter.SetBurstAt(now, 1) // evenly spread
}

// rotate starts a new second if one is over.
func (a *adaptiveRate) rotate(now time.Time) {
	switch passed := now.Sub(a.second); {
	case passed < time.Second:
		return
	case passed < 2*time.Second:
		a.succeeded = [2]int{0, a.succeeded[0]}
	default:
		a.succeeded = [2]int{}
	}
	a.second = now
}

// seconds converts to a Duration, and the infinite to the longest.
func seconds(s float64) time.Duration {
	if s >= math.MaxInt64/float64(time.Second) {
		return math.MaxInt64
	}
	return time.Duration(s * float64(time.Second))
}
