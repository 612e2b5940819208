package integration

import (
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// idIn returns the ID in a reference such as the field service.
func idIn(row map[string]any, field string) any {
	ref, _ := row[field].(map[string]any)
	return ref["id"]
}

var _ = Describe("Scopes", func() {
	DescribeTable("a plugin applies to what its binding names",
		func(plugin v1alpha1.PluginName, config string, scope func(*testEnv) *v1alpha1.Scope, summary string, fields ...string) {
			env := newTestEnv()
			binding := env.createReady(env.binding("scoped", func(b *v1alpha1.PluginBinding) {
				b.Spec.Plugin, b.Spec.Config, b.Spec.Scope = plugin, jsonOf(config), scope(env)
			}))
			row := env.kongPlugin(binding)
			entities := map[string]string{"service": "orders", "route": "orders-v1", "consumer": "alice"}
			for field, name := range entities {
				if !slices.Contains(fields, field) {
					Expect(row[field]).To(BeNil(), field)
					continue
				}
				Expect(idIn(row, field)).To(Equal(env.kong.Entity(field+"s", name)["id"]), field)
			}
			if summary != "" {
				Expect(binding.Status.Scope.Summary).To(Equal(summary))
			}
		},
		Entry("a service by name", v1alpha1.PluginName("rate-limiting"), `{"minute":5}`,
			func(*testEnv) *v1alpha1.Scope { return &v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: "orders"}} },
			"service/orders", "service"),
		Entry("a service by id", v1alpha1.PluginName("rate-limiting"), `{"minute":5}`,
			func(env *testEnv) *v1alpha1.Scope {
				return &v1alpha1.Scope{Service: &v1alpha1.EntityRef{ID: env.idOf("services", "orders")}}
			}, "", "service"),
		Entry("a route by name", v1alpha1.PluginName("key-auth"), `{}`,
			func(*testEnv) *v1alpha1.Scope { return &v1alpha1.Scope{Route: &v1alpha1.EntityRef{Name: "orders-v1"}} },
			"route/orders-v1", "route"),
		Entry("a route by id", v1alpha1.PluginName("key-auth"), `{}`,
			func(env *testEnv) *v1alpha1.Scope {
				return &v1alpha1.Scope{Route: &v1alpha1.EntityRef{ID: env.idOf("routes", "orders-v1")}}
			}, "", "route"),
		Entry("a consumer by username", v1alpha1.PluginName("rate-limiting"), `{"minute":5}`,
			func(*testEnv) *v1alpha1.Scope {
				return &v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{Username: "alice"}}
			}, "consumer/alice", "consumer"),
		Entry("a consumer by custom id", v1alpha1.PluginName("rate-limiting"), `{"minute":5}`,
			func(*testEnv) *v1alpha1.Scope {
				return &v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{CustomID: "crm-1001"}}
			}, "consumer/crm-1001", "consumer"),
		Entry("a consumer by id", v1alpha1.PluginName("rate-limiting"), `{"minute":5}`,
			func(env *testEnv) *v1alpha1.Scope {
				return &v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{ID: env.idOf("consumers", "alice")}}
			}, "", "consumer"),
		Entry("a service, a route and a consumer together", v1alpha1.PluginName("rate-limiting"), `{"minute":5}`,
			func(*testEnv) *v1alpha1.Scope {
				return &v1alpha1.Scope{
					Service:  &v1alpha1.EntityRef{Name: "orders"},
					Route:    &v1alpha1.EntityRef{Name: "orders-v1"},
					Consumer: &v1alpha1.ConsumerRef{Username: "alice"},
				}
			}, "service/orders+route/orders-v1+consumer/alice", "service", "route", "consumer"),
		Entry("everything", v1alpha1.PluginName("correlation-id"), `{}`,
			func(*testEnv) *v1alpha1.Scope { return nil }, "global"),
	)

	It("moves the plugin, under its ID, when the scope of the binding changes", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit"))
		id := binding.Status.PluginID

		change(env, binding, func(b *v1alpha1.PluginBinding) {
			b.Spec.Scope = &v1alpha1.Scope{Route: &v1alpha1.EntityRef{Name: "orders-v1"}}
		})
		env.waitUntilReady(binding)

		Expect(binding.Status.PluginID).To(Equal(id))
		Expect(idIn(env.kongPlugin(binding), "route")).To(BeEquivalentTo(env.idOf("routes", "orders-v1")))
		Expect(env.kongPlugin(binding)["service"]).To(BeNil())
		Expect(env.kong.Plugins()).To(HaveLen(1))
		Eventually(env.eventReasons).WithArguments(binding).Should(ContainElement("Moved"))
	})

	It("becomes global, under its ID, when the scope is taken away", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit"))
		id := binding.Status.PluginID
		change(env, binding, func(b *v1alpha1.PluginBinding) { b.Spec.Scope = nil })
		env.waitUntilReady(binding)
		Expect(binding.Status.PluginID).To(Equal(id))
		Expect(env.kongPlugin(binding)["service"]).To(BeNil())
	})

	It("brings the plugin back under its ID when its service was deleted and is made again under another id", func() {
		env := newTestEnv()
		env.kong.Seed("services", map[string]any{"name": "short-lived", "url": "http://127.0.0.1:9"})
		binding := env.createReady(env.binding("limit", func(b *v1alpha1.PluginBinding) {
			b.Spec.Scope = &v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: "short-lived"}}
		}))
		id := binding.Status.PluginID

		env.kong.Delete("services", "short-lived")
		Expect(env.kongPlugin(binding)).To(BeNil(), "Kong removes a plugin together with its service")
		env.requestReconcile(binding)
		env.waitForReady(binding, metav1.ConditionFalse, v1alpha1.ReasonScopeNotFound)
		Expect(binding.Status.PluginID).To(Equal(id))

		again := env.kong.Seed("services", map[string]any{"name": "short-lived", "url": "http://127.0.0.1:9"})
		env.requestReconcile(binding)
		env.waitUntilReady(binding)
		Expect(binding.Status.PluginID).To(Equal(id))
		Expect(idIn(env.kongPlugin(binding), "service")).To(Equal(again["id"]))
	})

	It("sees by itself that the plugin of a deleted service is gone, and that the service is back", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit", func(b *v1alpha1.PluginBinding) {
			b.Spec.Scope = &v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{Username: "alice"}}
		}))
		env.kong.Delete("consumers", "alice")
		env.kong.Seed("consumers", map[string]any{"username": "alice"})
		Eventually(func() map[string]any { return env.kongPlugin(binding) }, "30s").ShouldNot(BeNil())
		Expect(idIn(env.kongPlugin(binding), "consumer")).To(BeEquivalentTo(env.idOf("consumers", "alice")))
	})
})

func (env *testEnv) idOf(entity, name string) v1alpha1.UUID {
	return v1alpha1.UUID(env.kong.Entity(entity, name)["id"].(string))
}
