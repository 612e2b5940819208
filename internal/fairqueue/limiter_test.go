package fairqueue

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

func TestLimiterSharesWorkersAmongGateways(t *testing.T) {
	slow, fast := types.NamespacedName{Name: "slow"}, types.NamespacedName{Name: "fast"}
	key := func(name string) types.NamespacedName { return types.NamespacedName{Name: name} }
	limiter := NewLimiter(4)
	acquire := func(gateway types.NamespacedName, name string, urgent, want bool) {
		t.Helper()
		if got := limiter.TryAcquire(gateway, key(name), true, urgent); got != want {
			t.Errorf("TryAcquire(%s of %s) = %v", name, gateway.Name, got)
		}
	}
	release := func(gateway types.NamespacedName, want ...string) {
		t.Helper()
		var got []string
		for _, called := range limiter.Release(gateway, true) {
			got = append(got, called.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("Release returned %v, want %v", got, want)
		}
	}
	for _, name := range []string{"a", "b", "c"} {
		acquire(slow, name, false, true)
	}
	for _, name := range []string{"d", "e", "d", "f"} {
		acquire(slow, name, false, false)
	}
	acquire(slow, "f", true, false)
	acquire(slow, "f", true, false)
	acquire(fast, "a", false, true)
	release(fast)

	release(slow, "f") // the binding that a person changed comes first, and once
	acquire(slow, "f", true, true)
	release(slow, "d")
	// d was deleted meanwhile and does not run. The next Release makes up for it.
	release(slow, "e")
	release(slow)
	if len(limiter.busy) != 0 || len(limiter.waiting) != 0 {
		t.Errorf("entries are left: %v, %v", limiter.busy, limiter.waiting)
	}
}

func TestAGatewayAloneMayUseAllWorkers(t *testing.T) {
	alone := types.NamespacedName{Name: "alone"}
	limiter := NewLimiter(4)
	for range 8 {
		if !limiter.TryAcquire(alone, types.NamespacedName{Name: "limit"}, false, false) {
			t.Error("a gateway without competitors has to wait")
		}
	}
	// Once there is a second gateway, the first one gets no worker before it is below its share.
	if limiter.TryAcquire(alone, types.NamespacedName{Name: "limit"}, true, false) {
		t.Error("TryAcquire granted more than the share")
	}
	for range 5 {
		if called := limiter.Release(alone, true); called != nil {
			t.Errorf("Release returned %v", called)
		}
	}
	if called := limiter.Release(alone, true); len(called) != 1 {
		t.Errorf("Release returned %v", called)
	}
}
