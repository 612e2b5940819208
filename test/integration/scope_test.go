package integration

import (
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// idIn is the id that a row refers to in a field such as service.
func idIn(row map[string]any, field string) any {
	ref, _ := row[field].(map[string]any)
	return ref["id"]
}

var _ = Describe("Scopes", func() {
	DescribeTable("a plugin applies to what its binding names",
		func(plugin v1alpha1.PluginName, config string, scope func(*story) *v1alpha1.Scope, summary string, fields ...string) {
			s := newStory()
			binding := s.created(s.binding("scoped", func(b *v1alpha1.PluginBinding) {
				b.Spec.Plugin, b.Spec.Config, b.Spec.Scope = plugin, jsonOf(config), scope(s)
			}))
			row := s.pluginOf(binding)
			entities := map[string]string{"service": "orders", "route": "orders-v1", "consumer": "alice"}
			for field, name := range entities {
				if !slices.Contains(fields, field) {
					Expect(row[field]).To(BeNil(), field)
					continue
				}
				Expect(idIn(row, field)).To(Equal(s.kong.Entity(field+"s", name)["id"]), field)
			}
			if summary != "" {
				Expect(binding.Status.Scope.Summary).To(Equal(summary))
			}
		},
		Entry("a service by name", v1alpha1.PluginName("rate-limiting"), `{"minute":5}`,
			func(*story) *v1alpha1.Scope { return &v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: "orders"}} },
			"service/orders", "service"),
		Entry("a service by id", v1alpha1.PluginName("rate-limiting"), `{"minute":5}`,
			func(s *story) *v1alpha1.Scope {
				return &v1alpha1.Scope{Service: &v1alpha1.EntityRef{ID: s.idOf("services", "orders")}}
			}, "", "service"),
		Entry("a route by name", v1alpha1.PluginName("key-auth"), `{}`,
			func(*story) *v1alpha1.Scope { return &v1alpha1.Scope{Route: &v1alpha1.EntityRef{Name: "orders-v1"}} },
			"route/orders-v1", "route"),
		Entry("a route by id", v1alpha1.PluginName("key-auth"), `{}`,
			func(s *story) *v1alpha1.Scope {
				return &v1alpha1.Scope{Route: &v1alpha1.EntityRef{ID: s.idOf("routes", "orders-v1")}}
			}, "", "route"),
		Entry("a consumer by username", v1alpha1.PluginName("rate-limiting"), `{"minute":5}`,
			func(*story) *v1alpha1.Scope {
				return &v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{Username: "alice"}}
			}, "consumer/alice", "consumer"),
		Entry("a consumer by custom id", v1alpha1.PluginName("rate-limiting"), `{"minute":5}`,
			func(*story) *v1alpha1.Scope {
				return &v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{CustomID: "crm-1001"}}
			}, "consumer/crm-1001", "consumer"),
		Entry("a consumer by id", v1alpha1.PluginName("rate-limiting"), `{"minute":5}`,
			func(s *story) *v1alpha1.Scope {
				return &v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{ID: s.idOf("consumers", "alice")}}
			}, "", "consumer"),
		Entry("a service, a route and a consumer together", v1alpha1.PluginName("rate-limiting"), `{"minute":5}`,
			func(*story) *v1alpha1.Scope {
				return &v1alpha1.Scope{
					Service:  &v1alpha1.EntityRef{Name: "orders"},
					Route:    &v1alpha1.EntityRef{Name: "orders-v1"},
					Consumer: &v1alpha1.ConsumerRef{Username: "alice"},
				}
			}, "service/orders+route/orders-v1+consumer/alice", "service", "route", "consumer"),
		Entry("everything", v1alpha1.PluginName("correlation-id"), `{}`,
			func(*story) *v1alpha1.Scope { return nil }, "global"),
	)

	It("moves the plugin, under its ID, when the scope of the binding changes", func() {
		s := newStory()
		binding := s.created(s.binding("limit"))
		id := binding.Status.PluginID

		change(s, binding, func(b *v1alpha1.PluginBinding) {
			b.Spec.Scope = &v1alpha1.Scope{Route: &v1alpha1.EntityRef{Name: "orders-v1"}}
		})
		s.ready(binding)

		Expect(binding.Status.PluginID).To(Equal(id))
		Expect(idIn(s.pluginOf(binding), "route")).To(BeEquivalentTo(s.idOf("routes", "orders-v1")))
		Expect(s.pluginOf(binding)["service"]).To(BeNil())
		Expect(s.kong.Plugins()).To(HaveLen(1))
		Eventually(s.events).WithArguments(binding).Should(ContainElement("Moved"))
	})

	It("becomes global, under its ID, when the scope is taken away", func() {
		s := newStory()
		binding := s.created(s.binding("limit"))
		id := binding.Status.PluginID
		change(s, binding, func(b *v1alpha1.PluginBinding) { b.Spec.Scope = nil })
		s.ready(binding)
		Expect(binding.Status.PluginID).To(Equal(id))
		Expect(s.pluginOf(binding)["service"]).To(BeNil())
	})

	It("brings the plugin back under its ID when its service was deleted and is made again under another id", func() {
		s := newStory()
		s.kong.Seed("services", map[string]any{"name": "short-lived", "url": "http://127.0.0.1:9"})
		binding := s.created(s.binding("limit", func(b *v1alpha1.PluginBinding) {
			b.Spec.Scope = &v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: "short-lived"}}
		}))
		id := binding.Status.PluginID

		s.kong.Delete("services", "short-lived")
		Expect(s.pluginOf(binding)).To(BeNil(), "Kong removes a plugin together with its service")
		s.look(binding)
		s.becomes(binding, metav1.ConditionFalse, v1alpha1.ReasonScopeNotFound)
		Expect(binding.Status.PluginID).To(Equal(id))

		again := s.kong.Seed("services", map[string]any{"name": "short-lived", "url": "http://127.0.0.1:9"})
		s.look(binding)
		s.ready(binding)
		Expect(binding.Status.PluginID).To(Equal(id))
		Expect(idIn(s.pluginOf(binding), "service")).To(Equal(again["id"]))
	})

	It("sees by itself that the plugin of a deleted service is gone, and that the service is back", func() {
		s := newStory()
		binding := s.created(s.binding("limit", func(b *v1alpha1.PluginBinding) {
			b.Spec.Scope = &v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{Username: "alice"}}
		}))
		s.kong.Delete("consumers", "alice")
		s.kong.Seed("consumers", map[string]any{"username": "alice"})
		Eventually(func() map[string]any { return s.pluginOf(binding) }, "30s").ShouldNot(BeNil())
		Expect(idIn(s.pluginOf(binding), "consumer")).To(BeEquivalentTo(s.idOf("consumers", "alice")))
	})
})

func (s *story) idOf(entity, name string) v1alpha1.UUID {
	return v1alpha1.UUID(s.kong.Entity(entity, name)["id"].(string))
}
