package fairqueue

import (
	"fmt"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

func key(namespace, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: name}
}

// take takes workers for a gateway until it gets no more, at most limit.
func take(l *Limiter, gateway types.NamespacedName, limit int) (n int) {
	for n < limit && l.TryAcquire(gateway, key("r", fmt.Sprint(n)), false) {
		n++
	}
	return n
}

func TestQueue(t *testing.T) {
	slow, fast := key("a", "slow"), key("b", "fast")
	limiter := NewLimiter(16, 3)
	acquire := func(gateway types.NamespacedName, name string, urgent, want bool) {
		t.Helper()
		if got := limiter.TryAcquire(gateway, key("", name), urgent); got != want {
			t.Errorf("TryAcquire(%s of %s) = %v", name, gateway.Name, got)
		}
	}
	release := func(gateway types.NamespacedName, want ...string) {
		t.Helper()
		var got []string
		for _, called := range limiter.Release(gateway) {
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

	release(slow, "f") // the request that a person made comes first, and once
	acquire(slow, "f", true, true)
	release(slow, "d")
	// d was deleted meanwhile and does not run. The next Release makes up for it.
	release(slow, "e")
	release(slow)
	if len(limiter.busy) != 0 || len(limiter.busyIn) != 0 || len(limiter.waiting) != 0 {
		t.Errorf("entries are left: %v, %v, %v", limiter.busy, limiter.busyIn, limiter.waiting)
	}
}

// Requests that are made over and over while a gateway is slow take no memory.
func TestTheQueueIsBoundedByItsMembers(t *testing.T) {
	slow := key("a", "slow")
	limiter := NewLimiter(2, 1)
	take(limiter, slow, 1)
	for i := range 2000 {
		limiter.TryAcquire(slow, key("", "one"), i%2 == 0)
	}
	queue := limiter.waiting[slow]
	if n := len(queue.urgent) + len(queue.other); n > 2 {
		t.Errorf("%d entries for one request", n)
	}
}

// However many gateways hold workers for long, one that holds none gets some at once.
func TestSlowGatewaysLeaveWorkers(t *testing.T) {
	const workers, perGateway = 256, 8
	for _, k := range []int{1, 4, 16, 64} {
		for name, namespace := range map[string]func(int) string{
			"in one namespace":          func(int) string { return "tenant" },
			"each in its own namespace": func(i int) string { return fmt.Sprintf("tenant-%d", i) },
		} {
			limiter := NewLimiter(workers, perGateway)
			held := 0
			for i := range k {
				held += take(limiter, key(namespace(i), fmt.Sprintf("slow-%d", i)), workers)
			}
			got := take(limiter, key("platform", "kong"), perGateway)
			if got < 1 || held+got > workers {
				t.Errorf("%d slow gateways %s hold %d of %d workers; another one gets %d", k, name, held, workers, got)
			}
			if k <= 16 && got < perGateway {
				t.Errorf("%d slow gateways %s: another one gets %d, want %d", k, name, got, perGateway)
			}
			if name == "in one namespace" && held > workers/2 {
				t.Errorf("one namespace holds %d of %d workers", held, workers)
			}
		}
	}
}

func TestAGatewayAloneGetsItsShare(t *testing.T) {
	alone := key("a", "alone")
	if got := take(NewLimiter(256, 8), alone, 100); got != 8 {
		t.Errorf("a gateway alone gets %d workers, want 8", got)
	}
	if got := take(NewLimiter(0, 0), alone, 100); got != 100 {
		t.Errorf("without a limit a gateway gets %d workers", got)
	}
}

// A worker that becomes free goes to whoever waits, of whatever gateway.
func TestReleaseCallsOtherGateways(t *testing.T) {
	limiter := NewLimiter(8, 3)
	first, second := key("a", "first"), key("a", "second")
	take(limiter, first, 3)
	take(limiter, key("a", "third"), 1)
	if limiter.TryAcquire(second, key("", "waits"), false) {
		t.Fatal("one namespace takes more than its share")
	}
	if got := limiter.Release(first); len(got) != 1 || got[0].Name != "waits" {
		t.Errorf("Release returned %v", got)
	}
	if got := limiter.Busy(first); got != 2 {
		t.Errorf("first holds %d workers", got)
	}
}
