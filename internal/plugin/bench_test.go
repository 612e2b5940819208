package plugin

import (
	"fmt"
	"strings"
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

// A Secret with many short values, and a message of Kong: the size of the Secret must not
// show in the time of a message, but for making the dictionary once.
func BenchmarkRedact(b *testing.B) {
	text := strings.Repeat("config.minute: expected a number, got value-77-x; ", 20)
	for _, values := range []int{100, 10_000, 100_000} {
		r := &Redactor{}
		for i := range values {
			r.addSecret(fmt.Sprintf("v%d", i))
		}
		r.Redact("")
		b.Run(fmt.Sprint("values=", values), func(b *testing.B) {
			for b.Loop() {
				r.Redact(text)
			}
		})
		b.Run(fmt.Sprint("compile/values=", values), func(b *testing.B) {
			for b.Loop() {
				compilePatterns(r.values)
			}
		})
	}
}

// Equal records in another order: 50 times as many take about 50 times as long.
func BenchmarkDifferencesOfSets(b *testing.B) {
	s := parsed(b, []byte(elements))
	for _, n := range []int{100, 1000, 5000} {
		desired, live := records(n)
		b.Run(fmt.Sprint("records=", n), func(b *testing.B) {
			for b.Loop() {
				if got := Differences(desired, live, s); len(got) > 0 {
					b.Fatal(got)
				}
			}
		})
	}
}

// A YAML text that is refused before it is expanded, and one at the bounds.
func BenchmarkDecodeConfig(b *testing.B) {
	for name, text := range map[string]string{
		"bomb":   bomb(9),
		"bounds": "a: &a [" + strings.Repeat("1, ", 9_996) + "1]\nb: [" + strings.TrimSuffix(strings.Repeat("*a, ", 9), ", ") + "]\n",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = decodeConfig([]byte(text), newBudget())
			}
		})
	}
}

func BenchmarkFingerprint(b *testing.B) {
	_, small := records(100)
	_, large := records(5000)
	for name, p := range map[string]Plugin{"records=100": small, "records=5000": large} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				Fingerprint(p)
			}
		})
	}
}
