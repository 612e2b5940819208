package main

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"k8s.io/apimachinery/pkg/labels"

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

func TestTheCacheKeepsNoValueOfASecret(t *testing.T) {
	keep := managerOptions(&options{selector: labels.Everything()}).Cache
	found := false
	for object, of := range keep.ByObject {
		if _, ok := object.(*corev1.Secret); !ok {
			continue
		}
		found = true
		secret := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
			Name: "redis", ResourceVersion: "7",
			Annotations:   map[string]string{"kubectl.kubernetes.io/last-applied-configuration": `{"data":{"password":"c2VjcmV0"}}`, "other": "c2VjcmV0"},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
		}}
		if _, err := of.Transform(secret); err != nil {
			t.Fatal(err)
		}
		if len(secret.Annotations) > 0 || len(secret.ManagedFields) > 0 || secret.ResourceVersion != "7" || secret.Name != "redis" {
			t.Errorf("%+v", secret.ObjectMeta)
		}
	}
	if !found {
		t.Error("the cache has no rule for Secrets")
	}
	gateway := &v1alpha1.KongGateway{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "{}"}}}
	if _, err := keep.DefaultTransform(gateway); err != nil || len(gateway.Annotations) > 0 {
		t.Errorf("%v %+v", err, gateway.ObjectMeta)
	}
	plugin := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "configuration.konghq.com/v1", "kind": "KongPlugin", "metadata": map[string]any{"name": "auth"},
		"plugin": "key-auth", "config": map[string]any{"password": "secret"}, "configFrom": map[string]any{},
	}}
	if _, err := keep.DefaultTransform(plugin); err != nil || len(plugin.Object) != 4 || plugin.Object["plugin"] != "key-auth" {
		t.Errorf("%v %+v", err, plugin.Object)
	}
}
