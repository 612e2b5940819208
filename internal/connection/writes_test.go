package connection

import (
	"fmt"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

var gateway = types.NamespacedName{Namespace: "kong", Name: "kong"}

func in(namespace, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: name}
}

// failing is a registry in which the writes of three bindings of namespace shop failed.
func failing(t *testing.T) *Registry {
	t.Helper()
	r := NewRegistry()
	for i, name := range []string{"a", "b", "c"} {
		if began := r.WriteFailed(gateway, in("shop", name)); began != (i == 2) {
			t.Fatalf("%s: began %v", name, began)
		}
	}
	return r
}

func TestWritesOfSeveralBindingsFail(t *testing.T) {
	r := failing(t)
	if !r.WritesFail(gateway) || r.MayWrite(gateway, in("shop", "d")) {
		t.Fatal("the others go on writing")
	}
	tried := map[string]int{}
	for range 8 {
		next, ok := r.NextWriter(gateway)
		if !ok || !r.MayWrite(gateway, next) {
			t.Fatalf("%v may not try (%v)", next, ok)
		}
		tried[next.Name]++
		r.WriteFailed(gateway, next)
		if r.MayWrite(gateway, in("shop", "another")) {
			t.Fatal("two may try at once")
		}
	}
	for _, name := range []string{"a", "b", "c", "d", "another"} {
		if tried[name] == 0 {
			t.Errorf("%s never tries: %v", name, tried)
		}
	}
	next, _ := r.NextWriter(gateway)
	waited, ended := r.WriteSucceeded(gateway, next)
	if !ended || r.WritesFail(gateway) || len(waited) != 4 || slices.Contains(waited, next) {
		t.Errorf("ended %v, and %v waited", ended, waited)
	}
	if !r.MayWrite(gateway, in("shop", "d")) {
		t.Error("the others still wait")
	}
}

// A binding that fails while others succeed fails by itself, however often, and with however many of
// its kind.
func TestABindingThatFailsByItselfIsNoTroubleOfTheGateway(t *testing.T) {
	r := NewRegistry()
	for round := range 10 {
		for i := range 2 {
			if r.WriteFailed(gateway, in("tenant", fmt.Sprintf("%d-%d", round, i))) {
				t.Fatal("two bindings made the gateway's trouble")
			}
		}
		r.WriteSucceeded(gateway, in("platform", "good"))
		for failed := range 20 {
			if r.WriteFailed(gateway, in("tenant", fmt.Sprintf("%d-%d", failed%(round+1), failed%2))) {
				t.Fatal("bindings that failed before made the gateway's trouble")
			}
		}
	}
}

func TestABindingOfANamespaceThatDidNotFailTriesFirst(t *testing.T) {
	r := failing(t)
	r.MayWrite(gateway, in("platform", "good"))
	if next, _ := r.NextWriter(gateway); next != in("platform", "good") {
		t.Errorf("%v tries first", next)
	}
}

func TestNoTroubleWithoutABindingThatWaits(t *testing.T) {
	r := failing(t)
	for range 3 {
		r.NextWriter(gateway) // and each is gone by then
	}
	if next, ok := r.NextWriter(gateway); ok || r.WritesFail(gateway) {
		t.Errorf("%v may try", next)
	}
}

func TestWhatAProcessSuspectsIsBounded(t *testing.T) {
	r := NewRegistry()
	for i := range 3 * maxSuspects {
		r.WriteFailed(gateway, in("tenant", fmt.Sprint(i)))
		r.WriteSucceeded(gateway, in("platform", "good"))
	}
	if n := len(r.writes[gateway].suspects); n > maxSuspects+failingWriters {
		t.Errorf("%d suspects", n)
	}
}
