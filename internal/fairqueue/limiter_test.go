package controllers

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

func TestTurns(t *testing.T) {
	slow, fast := types.NamespacedName{Name: "slow"}, types.NamespacedName{Name: "fast"}
	key := func(name string) types.NamespacedName { return types.NamespacedName{Name: name} }
	turns := newTurns(4)
	take := func(gateway types.NamespacedName, name string, urgent, want bool) {
		t.Helper()
		if got := turns.take(gateway, key(name), true, urgent); got != want {
			t.Errorf("%s of %s: %v", name, gateway.Name, got)
		}
	}
	end := func(gateway types.NamespacedName, want ...string) {
		t.Helper()
		var got []string
		for _, called := range turns.end(gateway, true) {
			got = append(got, called.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("called %v, want %v", got, want)
		}
	}
	for _, name := range []string{"a", "b", "c"} {
		take(slow, name, false, true)
	}
	for _, name := range []string{"d", "e", "d", "f"} {
		take(slow, name, false, false)
	}
	take(slow, "f", true, false)
	take(slow, "f", true, false)
	take(fast, "a", false, true)
	end(fast)

	end(slow, "f") // whom a person has changed, and once
	take(slow, "f", true, true)
	end(slow, "d")
	// It does not come: it was deleted meanwhile. The next end makes up for it.
	end(slow, "e")
	end(slow)
	if len(turns.busy) != 0 || len(turns.waiting) != 0 {
		t.Errorf("something stays: %v, %v", turns.busy, turns.waiting)
	}
}

func TestAGatewayAloneMayHoldAllWorkers(t *testing.T) {
	alone := types.NamespacedName{Name: "alone"}
	turns := newTurns(4)
	for range 8 {
		if !turns.take(alone, types.NamespacedName{Name: "limit"}, false, false) {
			t.Error("it has to wait")
		}
	}
	// When there is another one, nothing begins before enough has ended.
	if turns.take(alone, types.NamespacedName{Name: "limit"}, true, false) {
		t.Error("more than its share")
	}
	for range 5 {
		if called := turns.end(alone, true); called != nil {
			t.Errorf("called %v", called)
		}
	}
	if called := turns.end(alone, true); len(called) != 1 {
		t.Errorf("called %v", called)
	}
}
