package adminapi

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// throttling answers 429 to the first request and counts all of them.
func throttling(t *testing.T, retryAfter string) (url string, requests *atomic.Int64) {
	t.Helper()
	requests = &atomic.Int64{}
	return serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1) == 1 {
			w.Header().Set("Retry-After", retryAfter)
			write(w, http.StatusTooManyRequests, jsonType, `{"message":"API rate limit exceeded"}`)
			return
		}
		write(w, http.StatusNoContent, jsonType, "")
	}), requests
}

func TestAfterA429NothingIsSent(t *testing.T) {
	url, requests := throttling(t, "30")
	c := trusting(t, url)
	wantReason(t, c.Delete(t.Context(), id1), Throttled)
	for range 3 {
		e := failure(t, c.Delete(t.Context(), id2), Throttled)
		if e.RetryAfter <= 20*time.Second || e.RetryAfter > 30*time.Second {
			t.Errorf("to wait for %v, of the 30s that were asked for", e.RetryAfter)
		}
	}
	_, err := c.Probe(t.Context())
	wantReason(t, err, Throttled)
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests, after a 429 to the first", n)
	}
}

func TestThePauseEnds(t *testing.T) {
	url, _ := throttling(t, "0")
	c := trusting(t, url)
	e := failure(t, c.Delete(t.Context(), id1), Throttled)
	if e.RetryAfter != shortestPause {
		t.Fatalf("to wait for %v", e.RetryAfter)
	}
	<-time.After(e.RetryAfter)
	if err := c.Delete(t.Context(), id1); err != nil {
		t.Fatal(err)
	}
}

func TestTheLongerPauseCounts(t *testing.T) {
	var p pause
	p.keep(time.Minute)
	p.keep(time.Second)
	if left := p.left(); left < 50*time.Second {
		t.Errorf("%v are left of a minute", left)
	}
}
