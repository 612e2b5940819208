package admission

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// A Service has a KongPlugin by its annotation. Who declares the same plugin there, as a binding or as a
// policy, is told when it is applied.
func TestAKongPluginOnTheServiceIsAnnounced(t *testing.T) {
	kongPlugin := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "configuration.konghq.com/v1", "kind": "KongPlugin", "plugin": "rate-limiting",
		"metadata": map[string]any{"namespace": "default", "name": "limit"},
	}}
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "claimed", Annotations: map[string]string{"konghq.com/plugins": "limit"}},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
	}
	for _, object := range []client.Object{kongPlugin, service} {
		if err := suite.client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	kong := kongtest.Start(t)
	for name, object := range map[string]*corev1.Service{"claimed": service, "other": {ObjectMeta: metav1.ObjectMeta{Name: "claimed", UID: "another-cluster"}}} {
		kong.Seed("services", map[string]any{"name": name, "url": "http://127.0.0.1:9", "tags": []any{
			"k8s-name:" + object.Name, "k8s-namespace:default", "k8s-kind:Service", "k8s-uid:" + string(object.UID), "k8s-version:v1", "managed-by-ingress-controller",
		}})
	}
	u, gateway := newUser(t), gatewayFor(t, kong)
	on := func(name v1alpha1.Name) *v1alpha1.PluginBinding {
		b := binding(gateway, `{"minute": 5}`)
		b.Spec.Scope = &v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: name}}
		return b
	}
	policy := &v1alpha1.PluginPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "claimed"},
		Spec: v1alpha1.PluginPolicySpec{
			GatewayRef: v1alpha1.GatewayRef{Name: gateway}, TargetRefs: []v1alpha1.PolicyTargetRef{{Kind: "Service", Name: "claimed"}},
		},
	}
	policy.Spec.Template.Spec.Plugin, policy.Spec.Template.Spec.Config = "rate-limiting", binding(gateway, `{"minute": 5}`).Spec.Config
	for what, object := range map[string]client.Object{"a binding": on("claimed"), "a policy": policy} {
		if err := eventually(func() (bool, error) { // the replica's caches may be late
			u.warnings = nil
			err := u.Create(t.Context(), object.DeepCopyObject().(client.Object), client.DryRunAll)
			return len(u.warnings) == 1 && strings.HasPrefix(u.warnings[0], "Service default/claimed has the annotation konghq.com/plugins with KongPlugin default/limit, and so"), err
		}); err != nil {
			t.Errorf("%s: %v %q", what, err, u.warnings)
		}
	}
	if err := eventually(func() (bool, error) { // the only other warning is that Kong did not answer in time
		u.warnings = nil
		err := u.Create(t.Context(), on("other"), client.DryRunAll)
		return len(u.warnings) == 0, err
	}); err != nil {
		t.Errorf("another cluster's Service: %v %q", err, u.warnings)
	}
}
