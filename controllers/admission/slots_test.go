package admission

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

func TestQuestionsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(maxAsked, maxAskedPerGateway, maxAskedPerNamespace)
		gateway := func(namespace, name string) types.NamespacedName {
			return types.NamespacedName{Namespace: namespace, Name: name}
		}
		// take acquires as many slots as it gets at once, and at most one more than there are.
		take := func(of types.NamespacedName) (got int) {
			t.Helper()
			over, cancel := context.WithCancel(t.Context())
			cancel()
			for got <= maxAsked && s.acquire(over, of) {
				got++
			}
			return got
		}
		for _, step := range []struct {
			of   types.NamespacedName
			want int
		}{
			{gateway("bank", "slow"), maxAskedPerGateway},
			{gateway("bank", "slower"), maxAskedPerNamespace - maxAskedPerGateway},
			{gateway("bank", "third"), 0},
			{gateway("shop", "main"), maxAskedPerGateway},
			{gateway("kong", "main"), maxAsked - maxAskedPerNamespace - maxAskedPerGateway},
			{gateway("more", "main"), 0},
		} {
			if got := take(step.of); got != step.want {
				t.Errorf("%s: %d, want %d", step.of, got, step.want)
			}
		}
		begun := time.Now()
		if s.acquire(t.Context(), gateway("more", "main")) {
			t.Error("one too many")
		}
		if took := time.Since(begun); took != slotPatience {
			t.Errorf("waited %s", took)
		}
		got := make(chan bool)
		go func() { got <- s.acquire(t.Context(), gateway("more", "main")) }()
		s.release(gateway("bank", "slow"))
		if !<-got {
			t.Error("a free slot stays free")
		}
		if len(s.waiting) > 0 || s.used != maxAsked {
			t.Errorf("%d wait, %d are in use", len(s.waiting), s.used)
		}
	})
}

func TestTenantsAreBounded(t *testing.T) {
	tenants := newTenants()
	for range maxPerTenant {
		if !tenants.enter("shop") {
			t.Fatal("too few")
		}
	}
	if tenants.enter("shop") || !tenants.enter("bank") {
		t.Error("the bound is not that of the namespace")
	}
	tenants.leave("shop")
	if !tenants.enter("shop") {
		t.Error("a place stays taken")
	}
}
