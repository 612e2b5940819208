package controllers

import (
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A gateway counts its bindings the more seldom, the more it has.
func TestManyBindingsAreCountedSeldom(t *testing.T) {
	for bindings, want := range map[int]time.Duration{0: time.Second, 4999: time.Second, 5000: 2 * time.Second, 50_000: 11 * time.Second, 1_000_000: 15 * time.Second} {
		if got := countDelay(bindings); got != want {
			t.Errorf("%d bindings: %v, want %v", bindings, got, want)
		}
	}
	w := newWorld(t, worldOptions{objects: []client.Object{boundTo("a", "orders"), boundTo("b", "orders")}})
	w.pass(time.Minute)
	if known, _ := w.operator.Connections.Last(platform); known.Bindings != 2 {
		t.Errorf("counted %d bindings", known.Bindings)
	}
}
