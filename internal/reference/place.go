package reference

import (
	"cmp"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// GatewayOfPolicy returns the key of the policy's gateway. Without a namespace in the reference it is
// the policy's own.
func GatewayOfPolicy(policy *v1alpha1.PluginPolicy) types.NamespacedName {
	ref := policy.Spec.GatewayRef
	return types.NamespacedName{Namespace: cmp.Or(ref.Namespace, policy.Namespace), Name: ref.Name}
}

// Places are keys for what only one binding can have: a plugin on a scope of a gateway. Two bindings
// with a key in common want the same place. A binding has a key for its scope as it is declared, and
// one for the entities that it was resolved to.
func Places(binding *v1alpha1.PluginBinding) []string {
	prefix := GatewayOf(binding).String() + " " + string(binding.Spec.Plugin) + " "
	places := []string{prefix + ScopeSummary(binding.Spec.Scope)}
	if bound := binding.Status.Scope; bound != nil && *bound != (v1alpha1.BoundScope{Summary: bound.Summary}) {
		places = append(places, prefix+ResolvedPlace(bound.ServiceID, bound.RouteID, bound.ConsumerID, bound.ConsumerGroupID))
	}
	return places
}

// ResolvedPlace is the part of a key for the entities of a scope.
func ResolvedPlace(serviceID, routeID, consumerID, groupID string) string {
	return fmt.Sprintf("service=%s route=%s consumer=%s group=%s", serviceID, routeID, consumerID, groupID)
}

// TargetKey is a key for a target of a policy, whatever its section.
func TargetKey(kind, namespace, name string) string { return kind + " " + namespace + "/" + name }

// PolicyOf returns the owner reference of the policy that controls a binding, nil if none does.
func PolicyOf(binding *v1alpha1.PluginBinding) *metav1.OwnerReference {
	owner := metav1.GetControllerOfNoCopy(binding)
	if owner == nil || owner.Kind != "PluginPolicy" || owner.APIVersion != v1alpha1.GroupVersion.String() {
		return nil
	}
	return owner
}
