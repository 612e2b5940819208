package adminapi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

func tooMany(retryAfter string) *http.Response {
	resp := newResponse(http.StatusTooManyRequests, jsonType, `{"message":"API rate limit exceeded"}`)
	resp.Header.Set("Retry-After", retryAfter)
	return resp
}

// throttling answers 429 to the first requests and counts all of them.
func throttling(t testing.TB, first int64, retryAfter string, change ...func(*Settings)) (c *Client, requests *atomic.Int64) {
	t.Helper()
	requests = &atomic.Int64{}
	return answerer(t, func(r *http.Request) *http.Response {
		switch {
		case requests.Add(1) <= first:
			return tooMany(retryAfter)
		case r.Method == http.MethodDelete:
			return newResponse(http.StatusNoContent, jsonType, "")
		}
		return newResponse(http.StatusOK, jsonType, toJSON(t, wire(id1, "cors")))
	}, change...), requests
}

func TestAfterA429NothingIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, requests := throttling(t, 1, "30")
		wantReason(t, c.Delete(t.Context(), id1), Throttled)
		last := 30*time.Second - time.Nanosecond
		for range 3 {
			e := failure(t, c.Delete(t.Context(), id2), Throttled)
			if e.RetryAfter <= last || e.RetryAfter > 35*time.Second {
				t.Errorf("to wait for %v, after another was told %v", e.RetryAfter, last)
			}
			last = e.RetryAfter
		}
		_, err := c.Probe(t.Context())
		wantReason(t, err, Throttled)
		if n := requests.Load(); n != 1 {
			t.Errorf("%d requests, after a 429 to the first", n)
		}
	})
}

func TestAShortPauseIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, requests := throttling(t, 1, "2")
		wantReason(t, c.Delete(t.Context(), id1), Throttled)
		start := time.Now()
		if err := c.Delete(t.Context(), id1); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited != 2*time.Second || requests.Load() != 2 {
			t.Errorf("waited for %v, %d requests", waited, requests.Load())
		}
	})
}

// A read of work that has begun is sent again: the work would start again otherwise.
func TestAReadThatHasBegunIsSentAgainAfterA429(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, requests := throttling(t, 1, "1")
		_, err := c.PluginByID(WithSequence(t.Context()), id1)
		if wantReason(t, err, Throttled); requests.Load() != 1 {
			t.Errorf("%d requests for one that began nothing", requests.Load())
		}

		c, requests = throttling(t, 2, "1")
		if _, err := c.PluginByID(WithStarted(t.Context()), id1); err != nil || requests.Load() != 3 {
			t.Errorf("%v after %d requests", err, requests.Load())
		}

		c, requests = throttling(t, 1, "1")
		wantReason(t, c.Delete(WithStarted(t.Context()), id1), Throttled) // a write is never sent twice
		if requests.Load() != 1 {
			t.Errorf("%d requests for one write", requests.Load())
		}
	})
}

// The simulations of other packages bring a clock of their own.
func TestTheClockOfTheSettingsIsUsed(t *testing.T) {
	fake := clocktesting.NewFakeClock(time.Unix(1_000_000, 0))
	c, requests := throttling(t, 1, "2", func(s *Settings) { s.Clock = fake })
	wantReason(t, c.Delete(t.Context(), id1), Throttled)
	done := make(chan error)
	go func() { done <- c.Delete(context.Background(), id1) }()
	for !fake.HasWaiters() {
		select {
		case err := <-done:
			t.Fatalf("it did not wait by this clock: %v", err)
		default:
			runtime.Gosched()
		}
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests during the pause", n)
	}
	fake.Step(2 * time.Second)
	if err := <-done; err != nil || requests.Load() != 2 {
		t.Errorf("%v after %d requests", err, requests.Load())
	}
}

// Neither the number of attempts nor the time is without a bound.
func TestAReadIsNotSentForeverAfter429s(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for retryAfter, want := range map[string]int64{"1": maxThrottledAttempts, "9": 3, "60": 1} {
			c, requests := throttling(t, 1000, retryAfter)
			start := time.Now()
			_, err := c.PluginByID(WithStarted(t.Context()), id1)
			wantReason(t, err, Throttled)
			if took := time.Since(start); requests.Load() != want || took > begunPatience {
				t.Errorf("Retry-After %s: %d requests in %v", retryAfter, requests.Load(), took)
			}
		}
		c, requests := throttling(t, 1_000_000, "1")
		wantReason(t, c.VisitByTags(t.Context(), []string{"t"}, func(plugin.Plugin) {}), Throttled)
		if n := requests.Load(); n != maxThrottledAttempts {
			t.Errorf("%d requests for a page", n)
		}
	})
}

func TestASequenceBeginsWithItsFirstResponse(t *testing.T) {
	c, _ := throttling(t, 0, "")
	ctx := WithSequence(t.Context())
	r := request{method: http.MethodGet}
	if p := priorityOf(ctx, r); p != fresh {
		t.Errorf("got %v before the first request", p)
	}
	if _, err := c.PluginByID(ctx, id1); err != nil {
		t.Fatal(err)
	}
	if p := priorityOf(ctx, r); p != begun {
		t.Errorf("got %v after the first response", p)
	}
	if p := priorityOf(t.Context(), r); p != fresh {
		t.Errorf("got %v outside", p)
	}
	if p := priorityOf(t.Context(), request{method: http.MethodPut}); p != begun {
		t.Errorf("got %v for a write", p)
	}
}

func TestA429DoesNotEndAListThatHasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pages{rows: manyPlugins(30), size: 10}
		requests := 0
		c := answerer(t, func(r *http.Request) *http.Response {
			if requests++; requests == 2 {
				return tooMany("1")
			}
			w := httptest.NewRecorder()
			p.ServeHTTP(w, r)
			return w.Result()
		})
		if _, err := c.PluginAt(t.Context(), "p29", plugin.Scope{}); err != nil || requests != 4 {
			t.Errorf("%v after %d requests", err, requests)
		}
	})
}

// order returns the order in which requests with these priorities are sent that all wait for the
// same slot.
func order(t *testing.T, waiting []priority) []priority {
	t.Helper()
	s := newScheduler(Settings{MaxInFlight: 1}.withDefaults())
	if _, err := s.acquire(t.Context(), fresh, 0); err != nil {
		t.Fatal(err)
	}
	var sent []priority
	var wg sync.WaitGroup
	for _, p := range waiting {
		wg.Go(func() {
			if _, err := s.acquire(t.Context(), p, 0); err != nil {
				t.Error(err)
			}
			sent = append(sent, p)
			s.release(p)
		})
		synctest.Wait()
	}
	s.release(fresh)
	wg.Wait()
	return sent
}

func TestPriorities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := order(t, []priority{resyncing, begun, probing})
		if want := []priority{probing, begun, resyncing}; !slices.Equal(got, want) {
			t.Errorf("got %v", got)
		}
	})
}

// Whatever goes first, nothing waits forever.
func TestTheOldestGoesNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waiting := append([]priority{fresh, resyncing}, slices.Repeat([]priority{begun}, 20)...)
		got := order(t, waiting)
		if i := slices.Index(got, fresh); i < 0 || i > agingInterval {
			t.Errorf("a fresh one went at %d: %v", i, got)
		}
		if i := slices.Index(got, resyncing); i < 0 || i > 2*agingInterval {
			t.Errorf("a resync went at %d: %v", i, got)
		}
	})
}

// A resync with a slow Kong and bindings with a slow Kong leave slots to each other.
func TestSlotsAreReserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tests := []struct {
			maxInFlight         int
			holding, waiting    priority
			held, andThenThatIs int
		}{
			{8, fresh, resyncing, 7, 1},
			{8, resyncing, fresh, 4, 4},
			{2, fresh, resyncing, 1, 1},
			{2, resyncing, begun, 1, 1},
			{1, resyncing, begun, 1, 0},
		}
		for _, tt := range tests {
			s := newScheduler(Settings{MaxInFlight: tt.maxInFlight}.withDefaults())
			take := func(p priority) int {
				n := 0
				for {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					_, err := s.acquire(ctx, p, time.Hour)
					cancel()
					if err != nil {
						return n
					}
					n++
				}
			}
			if held, other := take(tt.holding), take(tt.waiting); held != tt.held || other != tt.andThenThatIs {
				t.Errorf("%d slots: %d for %v, and then %d for %v", tt.maxInFlight, held, tt.holding, other, tt.waiting)
			}
			if len(s.queues[tt.holding])+len(s.queues[tt.waiting]) != 0 {
				t.Error("who gave up still waits")
			}
		}
	})
}

func TestAGivenUpTurnIsPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScheduler(Settings{MaxInFlight: 1}.withDefaults())
		w, _, err := s.enqueue(t.Context(), fresh, 0) // its turn is now
		if err != nil {
			t.Fatal(err)
		}
		s.abandon(w)
		if _, err := s.acquire(t.Context(), fresh, 0); err != nil || s.inFlight != 1 {
			t.Errorf("%v, %d in flight", err, s.inFlight)
		}
	})
}

func TestAdaptiveRate(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	a := newAdaptiveRate(Settings{RequestsPerSecond: 500, Burst: 100})
	for range 20 { // in the last second
		now = now.Add(10 * time.Millisecond)
		a.increase(now)
	}
	sent := now
	now = now.Add(time.Millisecond)
	a.decrease(now, sent, 3*time.Second)
	if got := float64(a.limiter.Limit()); got != 14 {
		t.Errorf("after the first 429: %v per second, want 0.7 of the 20 that went well", got)
	}
	a.decrease(now, sent, time.Second)
	if got := float64(a.limiter.Limit()); got != 14 {
		t.Errorf("after another 429 of the same moment: %v per second", got)
	}
	if wait := a.take(now.Add(time.Second)); wait != 2*time.Second {
		t.Errorf("%v of the pause are left, want 2s", wait)
	}
	now = now.Add(3 * time.Second)
	if a.take(now) != 0 {
		t.Error("the pause does not end")
	}
	if wait := a.take(now); wait < 70*time.Millisecond || wait > 72*time.Millisecond {
		t.Errorf("the next request waits for %v, want 1/14 s", wait)
	}
	a.decrease(now, now, time.Second)
	if got := float64(a.limiter.Limit()); got < 9.7 || got > 9.9 {
		t.Errorf("after the next 429: %v per second, want 0.7 of 14", got)
	}
	for range 10 {
		a.increase(now)
	}
	if got := float64(a.limiter.Limit()); got < 10.5 || got > 11 {
		t.Errorf("a second later: %v per second, want about one more", got)
	}
	for range 200_000 {
		a.increase(now)
	}
	if a.learned || a.limiter.Limit() != 500 || a.limiter.Burst() != 100 {
		t.Errorf("the configured limit does not come back: %v, %d", a.limiter.Limit(), a.limiter.Burst())
	}
	for range 50 {
		now = now.Add(time.Minute)
		a.decrease(now, now, time.Second)
	}
	if got := a.limiter.Limit(); got != minRate {
		t.Errorf("%v per second after fifty 429s", got)
	}
}

func TestTheRateRecovers(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	a := newAdaptiveRate(Settings{RequestsPerSecond: 500, Burst: 100})
	a.decrease(now, now, time.Second)
	// second lets a second pass at full use, and returns the rate at its end.
	second := func() float64 {
		for range int(math.Ceil(float64(a.limiter.Limit()))) {
			a.increase(now)
		}
		now = now.Add(time.Second)
		return float64(a.limiter.Limit())
	}
	for range 14 {
		second()
	}
	if got := second(); got < 14 || got > 17 {
		t.Errorf("%v per second 15 s after a 429 at 1 per second, want one more each second", got)
	}
	seconds := 0
	for ; a.learned && seconds < 600; seconds++ {
		second()
	}
	if seconds > 60 {
		t.Errorf("the configured rate is back after %d s more, want a minute", seconds)
	}
	a.decrease(now, now, time.Second)
	now = now.Add(time.Second)
	was := float64(a.limiter.Limit())
	if got := second(); got > was+1.1 {
		t.Errorf("%v per second after %v a second ago, with a 429 just before", got, was)
	}
}

func TestTheLongerPauseCounts(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	a := newAdaptiveRate(Settings{Burst: 1})
	a.decrease(now, now, time.Minute)
	a.decrease(now, now, time.Second)
	if wait := a.take(now); wait != time.Minute {
		t.Errorf("%v are left of a minute", wait)
	}
}

func TestRetriesAreSpread(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	s := newScheduler(Settings{MaxInFlight: 1}.withDefaults())
	s.rate.decrease(now, now, 10*time.Second)
	times := map[time.Duration]int{}
	for range 300 {
		wait := s.spread(now, 10*time.Second)
		if times[wait]++; wait < 10*time.Second || wait > 10*time.Second+maxSpread {
			t.Errorf("to wait for %v", wait)
		}
	}
	for wait, n := range times {
		if n > 10 { // 300 over the 31 s of the spread at one a second
			t.Errorf("%d are to come back after %v", n, wait)
		}
	}
}

// bucket is an Admin API behind a token bucket, with a latency of 5 ms.
type bucket struct {
	limiter  *rate.Limiter
	requests atomic.Int64
	refused  atomic.Int64
}

func (b *bucket) answer(r *http.Request) *http.Response {
	b.requests.Add(1)
	<-time.After(5 * time.Millisecond)
	switch {
	case !b.limiter.Allow():
		b.refused.Add(1)
		return tooMany("1")
	case r.Method == http.MethodPost:
		return newResponse(201, jsonType, `{"id":"`+id1+`","name":"cors","enabled":true,"config":{}}`)
	case strings.HasSuffix(r.URL.Path, "/plugins"):
		return newResponse(200, jsonType, `{"data":[],"next":null}`)
	}
	return newResponse(404, jsonType, notFoundBody)
}

// requestsPerBinding is what reconcileUntilReady sends when nothing is throttled.
const requestsPerBinding = 6

// reconcileUntilReady makes a plugin as a reconciler does: five reads and a write. When it is
// throttled, it begins again after the time that it is told.
func reconcileUntilReady(ctx context.Context, c *Client) error {
	reconcile := func() error {
		ctx := WithSequence(ctx)
		for i := range requestsPerBinding - 1 {
			if _, err := c.PluginByInstanceName(ctx, fmt.Sprint("name", i)); !IsNotFound(err) {
				return err
			}
		}
		_, err := c.Create(ctx, plugin.Plugin{Name: "cors"})
		return err
	}
	for {
		err := reconcile()
		var e *Error
		if !errors.As(err, &e) || e.Reason != Throttled {
			return err
		}
		select {
		case <-time.After(e.RetryAfter):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// TestProgressBehindATokenBucket: new bindings all become ready, with at most twice the requests
// that are necessary, in at most twice the time that the bucket needs for those.
func TestProgressBehindATokenBucket(t *testing.T) {
	for _, clients := range []int{1, 2} {
		for _, bindings := range []int{12, 40} {
			for _, perSecond := range []int{5, 10, 50} {
				t.Run(fmt.Sprintf("%d clients, %d bindings, %d per second", clients, bindings, perSecond), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { progress(t, clients, bindings, perSecond) })
				})
			}
		}
	}
}

func progress(t *testing.T, clients, bindings, perSecond int) {
	t.Helper()
	kong := &bucket{limiter: rate.NewLimiter(rate.Limit(perSecond), perSecond)}
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	var last atomic.Int64
	for range clients {
		c := answerer(t, kong.answer, func(s *Settings) { s.RequestsPerSecond, s.Burst = 500, 100 })
		for range bindings / clients {
			wg.Go(func() {
				if err := reconcileUntilReady(ctx, c); err != nil {
					t.Error(err)
				}
				last.Store(int64(time.Since(start)))
			})
		}
	}
	wg.Wait()
	necessary := int64(requestsPerBinding * bindings)
	took := time.Duration(last.Load())
	t.Logf("%d requests, %d of them refused, for %d; %v", kong.requests.Load(), kong.refused.Load(), necessary, took)
	if n := kong.requests.Load(); n > 2*necessary {
		t.Errorf("%d requests for %d", n, necessary)
	}
	if limit := 2*time.Duration(necessary)*time.Second/time.Duration(perSecond) + 10*time.Second; took > limit {
		t.Errorf("took %v, want at most %v", took, limit)
	}
}
