package identity_test

import (
	"testing"

	. "github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// Each reconcile decides once, and nearly always finds the desired plugin.
func BenchmarkDecide(b *testing.B) {
	owned := Observation{Ownership: Owned, ID: idP, SamePlugin: true, SameTraffic: true, Equal: true}
	facts := Facts{Recorded: idP, ByID: owned, ByName: owned, ByKey: owned}
	b.ReportAllocs()
	for b.Loop() {
		if got := Decide(facts); got.Operation != None {
			b.Fatal(got)
		}
	}
}

// A resync computes the ownership of each plugin.
func BenchmarkOwnershipOf(b *testing.B) {
	binding := Binding{Cluster: "production", Namespace: "shop", Name: "orders-rate-limit", UID: "7a5e"}
	tags, name := append(binding.OwnershipTags(), "team:shop"), binding.InstanceName()
	b.ReportAllocs()
	for b.Loop() {
		if got, _ := OwnershipOf(binding, tags, name); got != Owned {
			b.Fatal(got)
		}
	}
}
