package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

const phaseLimited = "an Admin API that answers 429"

// limits are token buckets in front of the Admin API, with as many tokens as come in a second, and how
// many bindings are new.
var limits = []struct{ perSecond, bindings int }{{5, 12}, {10, 40}, {50, 40}}

// setRateLimit makes the proxy answer 429 beyond a rate; 0 ends that.
func (p *proxy) setRateLimit(perSecond int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limiter = nil
	if perSecond > 0 {
		p.limiter = rate.NewLimiter(rate.Limit(perSecond), perSecond)
	}
}

// refuse answers a request as a rate-limiting plugin in front of the Admin API does.
func (p *proxy) refuse(w http.ResponseWriter, e exchange) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(http.StatusTooManyRequests)
	_, _ = w.Write([]byte(`{"message":"API rate limit exceeded"}`)) // the client may be gone
	e.status = http.StatusTooManyRequests
	p.record(e, nil)
}

// limited creates some bindings behind each limit, and measures how long it takes until all are Ready,
// and how many requests for one binding are answered and refused.
func (s *environment) limited(ctx context.Context, p *phase) error {
	defer s.proxy.setRateLimit(0)
	for _, limit := range limits {
		n := min(limit.bindings, s.n)
		s.proxy.setRateLimit(limit.perSecond)
		mark, began := s.proxy.mark(), time.Now()
		if err := s.cluster.load(ctx, s.plugins[:n]); err != nil {
			return err
		}
		if err := s.waitForReady(ctx, n); err != nil {
			return fmt.Errorf("%d requests a second: %w", limit.perSecond, err)
		}
		prefix := fmt.Sprintf("%d a second, %d bindings: ", limit.perSecond, n)
		p.Figures[prefix+"all ready, s"] = time.Since(began).Seconds()
		for _, e := range s.proxy.since(mark) {
			if e.status == http.StatusTooManyRequests {
				p.Figures[prefix+"refused"]++
			} else {
				p.Figures[prefix+"answered"]++
			}
		}
		s.proxy.setRateLimit(0)
		if err := s.deleteFirst(ctx, n); err != nil {
			return err
		}
	}
	// A new process knows nothing of the limits: the phases after this one are not slower.
	if err := s.operator.stop(); err != nil {
		return err
	}
	if err := s.operator.start(ctx); err != nil {
		return err
	}
	_, err := s.operator.waitUntilIdle(ctx, s.patienceForAll(), time.Time{}, 0)
	return err
}

// waitForReady waits until that many bindings are Ready.
func (s *environment) waitForReady(ctx context.Context, n int) error {
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, s.patienceForAll(), true, func(ctx context.Context) (bool, error) {
		now, err := s.operator.activity(ctx)
		return now.ready == float64(n), err
	})
}

// deleteFirst deletes the first n bindings, and waits until they are gone.
func (s *environment) deleteFirst(ctx context.Context, n int) error {
	if err := inParallel(ctx, apiServerConcurrency, n, func(ctx context.Context, i int) error {
		return client.IgnoreNotFound(s.cluster.Delete(ctx, bindingNamed(s.plugins[i].name)))
	}); err != nil {
		return err
	}
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, s.patienceForAll(), true, func(ctx context.Context) (bool, error) {
		var left v1alpha1.PluginBindingList
		err := s.cluster.List(ctx, &left, client.InNamespace(namespace), client.Limit(1))
		return err == nil && len(left.Items) == 0, err
	})
}
