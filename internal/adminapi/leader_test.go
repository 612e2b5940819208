package adminapi

import (
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
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
