package controllers

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// Two IDs in one bucket of the index.
const (
	firstID  = "abc00000-0000-4000-8000-000000000001"
	secondID = "abc00000-0000-4000-8000-000000000002"
)

// besideInBucket is a service at another place in the same bucket.
func besideInBucket(t *testing.T, service string) string {
	t.Helper()
	want := reference.PlaceBuckets(boundTo("a", service))[0]
	for i := range 1_000_000 {
		if other := fmt.Sprintf("service-%d", i); reference.PlaceBuckets(boundTo("a", other))[0] == want {
			return other
		}
	}
	t.Fatal("none")
	return ""
}

// Bindings in one bucket of an index do not stand in each other's way.
func TestBindingsInOneBucketAreBothReady(t *testing.T) {
	w := newWorld(t, worldOptions{})
	beside := besideInBucket(t, "orders")
	w.kong.Seed("services", map[string]any{"name": beside, "url": "http://127.0.0.1:9"})
	for service, id := range map[string]string{"orders": firstID, beside: secondID} {
		w.kong.Seed("plugins", map[string]any{"id": id, "name": "rate-limiting", "service": map[string]any{"name": service}, "config": map[string]any{"minute": 5, "policy": "local"}})
		adopts := boundTo("on-"+service, service)
		adopts.Spec.PluginID = v1alpha1.UUID(id)
		w.create(adopts)
		w.pass(time.Minute)
	}
	w.expectReason("on-orders", v1alpha1.ReasonReady)
	w.expectReason("on-"+beside, v1alpha1.ReasonReady)
}

func TestFindersTellWhatIsInOneBucketApart(t *testing.T) {
	ownedAt := func(name, service, id string) *v1alpha1.PluginBinding {
		binding := boundTo(name, service)
		binding.Status.PluginID = v1alpha1.UUID(id)
		controls := true
		binding.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: "PluginPolicy", Name: "policy-of-" + name, UID: "1", Controller: &controls,
		}}
		return binding
	}
	first, second := ownedAt("first", "orders", firstID), ownedAt("second", besideInBucket(t, "orders"), secondID)
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(first, second)
	if err := AddIndexes(t.Context(), fakeIndexer{builder}); err != nil {
		t.Fatal(err)
	}
	reader := builder.Build()

	at := boundTo("another", "orders")
	if got := (policyFinder{reader}).atPlaceOf(t.Context(), at); len(got) != 1 || got[0].Name != "policy-of-first" {
		t.Errorf("policies at the place: %v", got)
	}
	leaves := boundTo("leaves", "elsewhere")
	leaves.Status.PluginID, leaves.DeletionTimestamp = secondID, &metav1.Time{Time: time.Now()}
	if got := (bindingFinder{reader}).inReplacementWith(t.Context(), leaves); len(got) != 1 || got[0].NamespacedName != client.ObjectKeyFromObject(second) {
		t.Errorf("bindings with the ID: %v", got)
	}
}
