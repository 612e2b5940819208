package plugin

import (
	"testing"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// A restart compares every plugin once; it has seconds for ten thousand of them.
func BenchmarkDifferences(b *testing.B) {
	for _, x := range exchanges(b) {
		if x.Request.Name != "rate-limiting" {
			continue
		}
		want, have := x.declare(b), x.answered()
		s := schemaOf(b, x.Request.Name)
		b.ReportAllocs()
		for b.Loop() {
			if got := Differences(want, have, s); len(got) > 0 {
				b.Fatal(got)
			}
		}
	}
}

// Every pass renders what its binding declares, also when it then finds it in sync.
func BenchmarkRender(b *testing.B) {
	in := Inputs{
		Spec: &v1alpha1.PluginBindingSpec{
			Plugin:        "rate-limiting",
			Config:        jsonConfig(`{"minute":60,"policy":"redis","redis":{"host":"redis.shop.svc","port":6379}}`),
			ConfigPatches: []v1alpha1.ConfigPatch{patch("/redis/password", "password", v1alpha1.FormatString)},
			Tags:          []v1alpha1.Tag{"team:shop"},
		},
		Scope:         Scope{ServiceID: "s"},
		InstanceName:  "production.shop.orders-rate-limit",
		OwnershipTags: []string{"managed-by:plugin-binding-operator", "k8s-name:orders-rate-limit"},
		Secret:        secrets(map[string]string{"password": "correct horse battery staple"}),
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Render(in); err != nil {
			b.Fatal(err)
		}
	}
}
