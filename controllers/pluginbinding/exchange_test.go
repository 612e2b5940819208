package pluginbinding_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// exchangeCase gives bindings new scopes and names.
var exchangeCases = map[string]struct {
	from, to   []*v1alpha1.Scope
	names, new []v1alpha1.Name
}{
	"two routes":                      {from: []*v1alpha1.Scope{onRoute("s1-a"), onRoute("s2-a")}, to: []*v1alpha1.Scope{onRoute("s2-a"), onRoute("s1-a")}},
	"three routes":                    {from: []*v1alpha1.Scope{onRoute("s1-a"), onRoute("s2-a"), onRoute("s3-a")}, to: []*v1alpha1.Scope{onRoute("s2-a"), onRoute("s3-a"), onRoute("s1-a")}},
	"two services":                    {from: []*v1alpha1.Scope{onService("s1"), onService("s2")}, to: []*v1alpha1.Scope{onService("s2"), onService("s1")}},
	"a service and a route":           {from: []*v1alpha1.Scope{onService("s1"), onRoute("s1-a")}, to: []*v1alpha1.Scope{onRoute("s1-a"), onService("s1")}},
	"a service and the whole gateway": {from: []*v1alpha1.Scope{onService("s1"), nil}, to: []*v1alpha1.Scope{nil, onService("s1")}},
	"two instance names": {
		from: []*v1alpha1.Scope{onRoute("s1-a"), onRoute("s2-a")}, to: []*v1alpha1.Scope{onRoute("s1-a"), onRoute("s2-a")},
		names: []v1alpha1.Name{"one", "two"}, new: []v1alpha1.Name{"two", "one"},
	},
	"names and routes": {
		from: []*v1alpha1.Scope{onRoute("s1-a"), onRoute("s2-a")}, to: []*v1alpha1.Scope{onRoute("s2-a"), onRoute("s1-a")},
		names: []v1alpha1.Name{"one", "two"}, new: []v1alpha1.Name{"two", "one"},
	},
}

// Whatever the order in which they are reconciled, the bindings exchange their places: no plugin is
// deleted or made, and Kong answers no 409.
func TestExchange(t *testing.T) {
	for name, tc := range exchangeCases {
		for _, reversed := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t)
				var bindings []*v1alpha1.PluginBinding
				for i, scope := range tc.from {
					bindings = append(bindings, w.binding(string(rune('a'+i)), scope, func(b *v1alpha1.PluginBinding) {
						if tc.names != nil {
							b.Spec.InstanceName = tc.names[i]
						}
					}))
				}
				w.settle(3, bindings...)
				ids := map[string]v1alpha1.UUID{}
				for i, binding := range bindings {
					ids[binding.Name] = binding.Status.PluginID
					w.change(binding, func(b *v1alpha1.PluginBinding) {
						b.Spec.Scope = tc.to[i]
						if tc.new != nil {
							b.Spec.InstanceName = tc.new[i]
						}
					})
				}
				mark := w.kong.Journal().Mark()
				if reversed {
					slices.Reverse(bindings)
				}
				w.settle(8, bindings...)
				for _, binding := range bindings {
					if binding.Status.PluginID != ids[binding.Name] {
						t.Errorf("%s has another plugin", binding.Name)
					}
					for _, tag := range w.kong.Plugin(string(binding.Status.PluginID))["tags"].([]any) {
						if strings.HasPrefix(tag.(string), "k8s-aside:") {
							t.Errorf("%s is still aside", binding.Name)
						}
					}
				}
				w.expectOnlyUpdates(mark)
				t.Log("requests:", w.countSince(mark, ""), "writes:", len(w.kong.Journal().Since(mark).Writes()))
			})
		}
	}
}
