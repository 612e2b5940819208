package reference

import (
	"fmt"
	"slices"
	"testing"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

func onService(name string) *v1alpha1.PluginBinding {
	binding := &v1alpha1.PluginBinding{}
	binding.Namespace, binding.Name = "shop", name
	binding.Spec.GatewayRef.Name, binding.Spec.Plugin = "kong", "cors"
	binding.Spec.Scope = &v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: v1alpha1.Name(name)}}
	return binding
}

// Places in one bucket are not taken for each other.
func TestOneBucketHasManyPlaces(t *testing.T) {
	first := onService("orders")
	place := Places(first)[0]
	var second *v1alpha1.PluginBinding
	for i := 0; second == nil; i++ {
		if other := onService(fmt.Sprintf("service-%d", i)); slices.Equal(PlaceBuckets(other), PlaceBuckets(first)) {
			second = other
		}
	}
	if got := AtPlace([]v1alpha1.PluginBinding{*first, *second}, place); len(got) != 1 || got[0].Name != first.Name {
		t.Errorf("at %s: %v", place, got)
	}
}

// A binding is found at the entities that it was resolved to as well.
func TestAResolvedPlaceIsInItsBucket(t *testing.T) {
	binding := onService("orders")
	binding.Status.Scope = &v1alpha1.BoundScope{Summary: "service orders", ServiceID: "00000000-0000-4000-8000-000000000001"}
	places := Places(binding)
	if len(places) != 2 {
		t.Fatal(places)
	}
	for i, place := range places {
		if PlaceBuckets(binding)[i] != PlaceBucket(place) {
			t.Errorf("%s is not in its bucket", place)
		}
		if len(AtPlace([]v1alpha1.PluginBinding{*binding}, place)) != 1 {
			t.Errorf("not found at %s", place)
		}
	}
}

func TestOneBucketHasManyPluginIDs(t *testing.T) {
	const prefix = "00000000-0000-4000-8000-00000000000"
	first, second, without := onService("a"), onService("b"), onService("c")
	first.Status.PluginID, second.Status.PluginID = prefix+"1", prefix+"2"
	if !slices.Equal(PluginIDBuckets(first), PluginIDBuckets(second)) || PluginIDBuckets(without) != nil {
		t.Error(PluginIDBuckets(first), PluginIDBuckets(second), PluginIDBuckets(without))
	}
	if got := WithPluginID([]v1alpha1.PluginBinding{*first, *second, *without}, prefix+"2"); len(got) != 1 || got[0].Name != "b" {
		t.Error(got)
	}
}
