package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/healthz"
)

// syncTimeout answers a probe before the kubelet gives it up, which is after a second.
const syncTimeout = 500 * time.Millisecond

// cachesSynced is the check that a replica could work if it led. One that may not list what
// it watches waits for its caches, before it stands for election, for as long as it takes.
func cachesSynced(caches interface {
	WaitForCacheSync(ctx context.Context) bool
}) healthz.Checker {
	return func(probe *http.Request) error {
		ctx, cancel := context.WithTimeout(probe.Context(), syncTimeout)
		defer cancel()
		if !caches.WaitForCacheSync(ctx) {
			return errors.New("what is watched has not been listed yet")
		}
		return nil
	}
}
