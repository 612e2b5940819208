package identity_test

import (
	"testing"

	. "github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// Every pass decides once; nearly all of them find what was declared.
func BenchmarkDecide(b *testing.B) {
	ours := Observation{Ownership: Owned, ID: idP, SamePlugin: true, SameTraffic: true, Equal: true}
	facts := Facts{Recorded: idP, ByID: ours, ByName: ours, ByKey: ours}
	b.ReportAllocs()
	for b.Loop() {
		if got := Decide(facts); got.Operation != None {
			b.Fatal(got)
		}
	}
}

// A sweep asks of every row whose it is.
func BenchmarkStandingOf(b *testing.B) {
	binding := Binding{Cluster: "production", Namespace: "shop", Name: "orders-rate-limit", UID: "7a5e"}
	tags, name := append(binding.OwnershipTags(), "team:shop"), binding.InstanceName()
	b.ReportAllocs()
	for b.Loop() {
		if got, _ := OwnershipOf(binding, tags, name); got != Owned {
			b.Fatal(got)
		}
	}
}
