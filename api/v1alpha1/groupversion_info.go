// Package v1alpha1 holds the kinds of the API group kong.pluginbinding.io: KongGateway, which
// describes how to reach one Kong and who may use it; PluginBinding, which declares one Kong
// plugin on one scope of that Kong; and PluginPolicy, which declares one Kong plugin on what an
// Ingress, an HTTPRoute, a Service or a KongConsumer becomes in that Kong.
//
// +kubebuilder:object:generate=true
// +groupName=kong.pluginbinding.io
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	// GroupVersion is the group and version of the kinds in this package.
	GroupVersion = schema.GroupVersion{Group: "kong.pluginbinding.io", Version: "v1alpha1"}

	// SchemeBuilder collects the functions that add the kinds to a scheme.
	SchemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

	// AddToScheme adds the kinds of this package to a scheme.
	AddToScheme = SchemeBuilder.AddToScheme
)

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&KongGateway{}, &KongGatewayList{},
		&PluginBinding{}, &PluginBindingList{},
		&PluginPolicy{}, &PluginPolicyList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
