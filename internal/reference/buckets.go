package reference

import (
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// Almost every place and every ID of a plugin belongs to one binding. An index with a value of its own for
// each would need 2.3 kB for a binding, more than half as much as the binding itself. So these indexes have
// 4,096 values, and what one value finds has to be filtered.

// PlaceBucket is the value of IndexPlace for a place.
func PlaceBucket(place string) string {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(place)) // never fails
	return fmt.Sprintf("%03x", hash.Sum32()%4096)
}

// PlaceBuckets are the values of IndexPlace for a binding.
func PlaceBuckets(binding *v1alpha1.PluginBinding) []string {
	buckets := Places(binding)
	for i, place := range buckets {
		buckets[i] = PlaceBucket(place)
	}
	return buckets
}

// AtPlace keeps the bindings with that place, see Places. It changes the slice, not the bindings.
func AtPlace(bindings []v1alpha1.PluginBinding, place string) []v1alpha1.PluginBinding {
	return slices.DeleteFunc(bindings, func(binding v1alpha1.PluginBinding) bool {
		return !slices.Contains(Places(&binding), place)
	})
}

// PluginIDBucket is the value of IndexPluginID for an ID: its first three digits. They are random in IDs
// of Kong and of its ingress controller.
func PluginIDBucket(id v1alpha1.UUID) string { return string(id[:min(len(id), 3)]) }

// PluginIDBuckets are the values of IndexPluginID for a binding.
func PluginIDBuckets(binding *v1alpha1.PluginBinding) []string {
	if binding.Status.PluginID == "" {
		return nil
	}
	return []string{PluginIDBucket(binding.Status.PluginID)}
}

// WithPluginID keeps the bindings that have recorded the ID. It changes the slice, not the bindings.
func WithPluginID(bindings []v1alpha1.PluginBinding, id v1alpha1.UUID) []v1alpha1.PluginBinding {
	return slices.DeleteFunc(bindings, func(binding v1alpha1.PluginBinding) bool {
		return binding.Status.PluginID != id
	})
}
