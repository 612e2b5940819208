package adminapi

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestOnlyALeaderWrites(t *testing.T) {
	var mu sync.Mutex
	var methods []string
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		methods = append(methods, r.Method)
		write(w, http.StatusInternalServerError, "application/json", `{"message":"An unexpected error occurred"}`)
	})
	var leads atomic.Bool
	c, _, err := NewRegistry(nil, leads.Load).GetOrCreate("ns/gw", Settings{Name: "ns/gw", AdminURL: url})
	if err != nil {
		t.Fatal(err)
	}
	wantReasons(t, c, Unavailable, Unavailable)
	mu.Lock()
	if slices.ContainsFunc(methods, func(method string) bool { return method != http.MethodGet }) {
		t.Errorf("sent: %v", methods)
	}
	mu.Unlock()

	leads.Store(true)
	wantReasons(t, c, Unavailable, UnknownOutcome)
}

// reported are the writes that a client reported, by how they ended.
type reported struct {
	mu       sync.Mutex
	underWay int
	ended    []bool
}

func (r *reported) Sending() func(bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.underWay++
	return func(open bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.underWay--
		r.ended = append(r.ended, open)
	}
}

func TestEveryWriteIsReported(t *testing.T) {
	var writes reported
	status := http.StatusNoContent
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		writes.mu.Lock()
		defer writes.mu.Unlock()
		if want := map[bool]int{true: 0, false: 1}[r.Method == http.MethodGet]; writes.underWay != want {
			t.Errorf("%s: %d writes are under way", r.Method, writes.underWay)
		}
		write(w, status, "application/json", `{"message":"An unexpected error occurred"}`)
	})
	leads := true
	registry := NewRegistry(nil, func() bool {
		if writes.underWay != 1 {
			t.Error("the process loses the lease between the check and the report unseen")
		}
		return leads
	})
	registry.Report(&writes)
	c, _, err := registry.GetOrCreate("ns/gw", Settings{Name: "ns/gw", AdminURL: url})
	if err != nil {
		t.Fatal(err)
	}
	const id = "11111111-1111-4111-8111-111111111111"
	_, _ = c.PluginByID(t.Context(), id)
	_ = c.Delete(t.Context(), id)
	status = http.StatusInternalServerError
	_ = c.Delete(t.Context(), id)
	leads = false
	_ = c.Delete(t.Context(), id)
	if !slices.Equal(writes.ended, []bool{false, true, false}) || writes.underWay != 0 {
		t.Errorf("open: %v; under way: %d", writes.ended, writes.underWay)
	}
}

// A process that stops does not break off what it has begun to write, and begins nothing more.
func TestAWriteThatHasBegunEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var methods []string
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		methods = append(methods, r.Method)
		cancel()
		select {
		case <-r.Context().Done(): // the client is gone
		case <-time.After(100 * time.Millisecond):
		}
		w.WriteHeader(http.StatusNoContent)
	})
	c := newClient(t, url)
	const id = "11111111-1111-4111-8111-111111111111"
	if err := c.Delete(ctx, id); err != nil {
		t.Errorf("the write was broken off: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	c.isLeader = func() bool { cancel(); return true } // the last check before the write
	if err := c.Delete(ctx, id); ReasonForError(err) != Unavailable || len(methods) != 1 {
		t.Errorf("%v: %v", methods, err)
	}
}
