package faults

import (
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

func jsonOf(text string) *apiextensionsv1.JSON { return &apiextensionsv1.JSON{Raw: []byte(text)} }

// newBinding declares rate-limiting on the service orders.
func newBinding(name string, edits ...func(*v1alpha1.PluginBinding)) *v1alpha1.PluginBinding {
	binding := &v1alpha1.PluginBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.PluginBindingSpec{
			GatewayRef: v1alpha1.GatewayRef{Name: "kong"},
			Plugin:     "rate-limiting",
			Scope:      &v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: "orders"}},
			Config:     jsonOf(`{"minute": 5, "policy": "local"}`),
		},
	}
	for _, edit := range edits {
		edit(binding)
	}
	return binding
}

func newGateway() *v1alpha1.KongGateway {
	return &v1alpha1.KongGateway{
		ObjectMeta: metav1.ObjectMeta{Name: "kong"},
		Spec: v1alpha1.KongGatewaySpec{
			AdminURL: "http://kong.test:8001",
			Limits:   &v1alpha1.GatewayLimits{RequestsPerSecond: 10000, Burst: 10000},
		},
	}
}

// ready makes a gateway that is looked at.
func ready(w *world) {
	w.create(newGateway())
	w.calm()
}

// bound makes a gateway and a binding in force.
func bound(w *world) {
	ready(w)
	w.create(newBinding("limit"))
	w.calm()
	w.sweep()
}

func minute(n string) func(*v1alpha1.PluginBinding) {
	return func(b *v1alpha1.PluginBinding) { b.Spec.Config = jsonOf(`{"minute": ` + n + `, "policy": "local"}`) }
}

// recorded is the ID of the binding limit.
func recorded(w *world) string {
	return string(asBinding(w.truth[w.bindingID("limit")]).Status.PluginID)
}

func newSecret(name string, values map[string]string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: values}
}

var scenarios = []scenario{
	{
		name: "create", paired: true, before: ready,
		act: func(w *world) { w.create(newBinding("limit")) },
	},
}
