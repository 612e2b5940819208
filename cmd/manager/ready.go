package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/healthz"
)

// syncTimeout is shorter than the timeout of the kubelet's probe, which is one second.
const syncTimeout = 500 * time.Millisecond

// cachesSynced checks that the replica could work as the leader. A replica that may not list what it
// watches waits for its caches, and does not take part in leader election.
func cachesSynced(caches interface {
	WaitForCacheSync(ctx context.Context) bool
}) healthz.Checker {
	return func(probe *http.Request) error {
		ctx, cancel := context.WithTimeout(probe.Context(), syncTimeout)
		defer cancel()
		if !caches.WaitForCacheSync(ctx) {
			return errors.New("the caches have not synced yet")
		}
		return nil
	}
}
