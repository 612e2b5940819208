package main

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

func TestTheCacheKeepsNoSecondCopyOfABinding(t *testing.T) {
	binding := &v1alpha1.PluginBinding{ObjectMeta: metav1.ObjectMeta{
		Name: "limit",
		Annotations: map[string]string{
			"kubectl.kubernetes.io/last-applied-configuration": `{"spec":{}}`,
			v1alpha1.PausedAnnotation:                          "true",
		},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
	}}
	if _, err := stripped(binding); err != nil {
		t.Fatal(err)
	}
	if len(binding.ManagedFields) > 0 || len(binding.Annotations) != 1 || binding.Annotations[v1alpha1.PausedAnnotation] != "true" {
		t.Errorf("%+v", binding.ObjectMeta)
	}
	if o, err := stripped("no object"); o != "no object" || err != nil {
		t.Error(o, err)
	}
}
