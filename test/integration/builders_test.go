package integration

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// fromSecret refers to a key of a Secret.
func fromSecret(name, key string) v1alpha1.ConfigSource {
	return v1alpha1.ConfigSource{SecretKeyRef: v1alpha1.SecretKeyRef{Name: name, Key: key}}
}

// withPlugin sets the plugin of a binding and its config.
func withPlugin(name, config string) func(*v1alpha1.PluginBinding) {
	return func(binding *v1alpha1.PluginBinding) {
		binding.Spec.Plugin = v1alpha1.PluginName(name)
		binding.Spec.Config = nil
		if config != "" {
			binding.Spec.Config = jsonOf(config)
		}
	}
}

// withConfigPatch adds a config patch from a Secret.
func withConfigPatch(path, secret, key string) func(*v1alpha1.PluginBinding) {
	return func(binding *v1alpha1.PluginBinding) {
		binding.Spec.ConfigPatches = append(binding.Spec.ConfigPatches, v1alpha1.ConfigPatch{
			Path: path, ValueFrom: fromSecret(secret, key), Format: v1alpha1.FormatString,
		})
	}
}

// withConfigFrom takes the config from a Secret.
func withConfigFrom(secret, key string) func(*v1alpha1.PluginBinding) {
	return func(binding *v1alpha1.PluginBinding) {
		source := fromSecret(secret, key)
		binding.Spec.Config, binding.Spec.ConfigFrom = nil, &source
	}
}

// withGateway binds to another gateway than the one named kong.
func withGateway(gateway string) func(*v1alpha1.PluginBinding) {
	return func(binding *v1alpha1.PluginBinding) { binding.Spec.GatewayRef.Name = gateway }
}

// withScope sets the scope of a binding, nil for a global plugin.
func withScope(scope *v1alpha1.Scope) func(*v1alpha1.PluginBinding) {
	return func(binding *v1alpha1.PluginBinding) { binding.Spec.Scope = scope }
}

// withAdoptionPolicy sets the adoption policy of a binding.
func withAdoptionPolicy(policy v1alpha1.AdoptionPolicy) func(*v1alpha1.PluginBinding) {
	return func(binding *v1alpha1.PluginBinding) { binding.Spec.AdoptionPolicy = policy }
}

// ownershipTags returns the tags of the plugin of a binding.
func ownershipTags(namespace, name string) []any {
	return []any{
		"managed-by:plugin-binding-operator", "k8s-cluster:" + clusterID, "k8s-kind:PluginBinding",
		"k8s-namespace:" + namespace, "k8s-name:" + name, "k8s-uid:0",
	}
}

// observeOnly sets the management policy of a binding to Observe.
func observeOnly(binding *v1alpha1.PluginBinding) {
	binding.Spec.ManagementPolicy = v1alpha1.ObservePlugin
}

// paused pauses a binding.
func paused(binding *v1alpha1.PluginBinding) {
	metav1.SetMetaDataAnnotation(&binding.ObjectMeta, v1alpha1.PausedAnnotation, "true")
}

// withPluginID makes a binding import the plugin with that ID.
func withPluginID(id any) func(*v1alpha1.PluginBinding) {
	return func(binding *v1alpha1.PluginBinding) { binding.Spec.PluginID = v1alpha1.UUID(id.(string)) }
}
