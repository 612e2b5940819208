package controllers

import (
	"testing"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
)

// delayedQueue keeps the delay of the last request.
type delayedQueue struct {
	workqueue.TypedRateLimitingInterface[reconcile.Request]

	after time.Duration
}

func (q *delayedQueue) AddAfter(_ reconcile.Request, after time.Duration) { q.after = after }

// A gateway counts its bindings the more seldom, the more it has.
func TestManyBindingsAreCountedSeldom(t *testing.T) {
	for bindings, want := range map[int]time.Duration{0: time.Second, 4999: time.Second, 5000: 2 * time.Second, 50_000: 11 * time.Second, 1_000_000: 15 * time.Second} {
		if got := countDelay(bindings); got != want {
			t.Errorf("%d bindings: %v, want %v", bindings, got, want)
		}
	}
	connections := connection.NewRegistry()
	connections.Set(platform, connection.Connection{Bindings: 50_000})
	queue := &delayedQueue{}
	enqueueGatewayLater(connections).Create(t.Context(), event.CreateEvent{Object: boundTo("a", "orders")}, queue)
	if queue.after != 11*time.Second {
		t.Errorf("counted after %v, want 11s", queue.after)
	}
	w := newWorld(t, worldOptions{objects: []client.Object{boundTo("a", "orders"), boundTo("b", "orders")}})
	w.pass(time.Minute)
	if known, _ := w.operator.Connections.Last(platform); known.Bindings != 2 {
		t.Errorf("counted %d bindings", known.Bindings)
	}
}
