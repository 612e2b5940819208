package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/healthz"
)

// caches sync when the channel is closed, as the manager's caches do when the lists have arrived.
type caches chan struct{}

func (c caches) WaitForCacheSync(ctx context.Context) bool {
	select {
	case <-c:
		return true
	case <-ctx.Done():
		return false
	}
}

func TestAReplicaIsReadyWhenItsCachesAre(t *testing.T) {
	listed := make(caches)
	ready := &healthz.Handler{Checks: map[string]healthz.Checker{"caches": cachesSynced(listed)}}
	status := func() int {
		answer := httptest.NewRecorder()
		ready.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody))
		return answer.Code
	}
	// This request returns because the check has a timeout.
	if got := status(); got != http.StatusInternalServerError {
		t.Errorf("before the lists are there: %d", got)
	}
	close(listed)
	if got := status(); got != http.StatusOK {
		t.Errorf("after: %d", got)
	}
}
