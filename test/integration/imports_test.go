package integration

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

var _ = Describe("Importing a plugin that applies to something else", func() {
	// elsewhere makes a plugin that is not on the service orders.
	elsewhere := func(s *story, scope map[string]any) string {
		s.kong.Seed("services", map[string]any{"name": "billing", "url": "http://127.0.0.1:9"})
		body := map[string]any{"name": "rate-limiting", "config": map[string]any{"minute": 5, "policy": "local"}}
		for field, value := range scope {
			body[field] = value
		}
		return s.kong.Seed("plugins", body)["id"].(string)
	}

	DescribeTable("is not allowed from another namespace, and is from the gateway's own",
		func(scope map[string]any) {
			t := newTenancy()
			t.allow(&v1alpha1.AllowedBindings{Namespaces: from(v1alpha1.NamespacesFromAll)})
			id := elsewhere(t.story, scope)
			unchanged := t.kongAsItWas()
			binding := t.request(importing(id))
			t.create(binding)
			t.shows(binding, symptom{
				condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonNotAllowedByGateway,
				says: []string{"plugin " + id, "spec.pluginID", "KongGateway " + t.namespace + "/kong", "correct spec.scope"},
			})
			Expect(binding.Status.PluginID).To(BeEmpty())
			t.steady(binding)
			unchanged()
			Expect(k8s.Delete(t.ctx, binding)).To(Succeed())
			t.gone(binding)
			unchanged()

			own := t.created(t.binding("limit", importing(id)))
			Expect(string(own.Status.PluginID)).To(Equal(id))
			Expect(idIn(t.pluginOf(own), "service")).To(BeEquivalentTo(t.idOf("services", "orders")), "moved, as it is declared")
			Expect(t.kong.Plugins()).To(HaveLen(1))
		},
		Entry("a plugin on everything", nil),
		Entry("a plugin on another service", map[string]any{"service": map[string]any{"name": "billing"}}),
		Entry("a plugin on the same service and a consumer", map[string]any{"service": map[string]any{"name": "orders"}, "consumer": map[string]any{"username": "alice"}}),
	)

	It("is allowed from another namespace once the binding says where it is", func() {
		t := newTenancy()
		t.allow(&v1alpha1.AllowedBindings{Namespaces: from(v1alpha1.NamespacesFromAll)})
		id := elsewhere(t.story, map[string]any{"service": map[string]any{"name": "billing"}})
		binding := t.request(importing(id))
		t.create(binding)
		t.shows(binding, symptom{condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonNotAllowedByGateway})
		change(t.story, binding, scoped(&v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: "billing"}}))
		t.ready(binding)
		Expect(string(binding.Status.PluginID)).To(Equal(id))
		Expect(binding.Status.PluginIDSource).To(Equal(v1alpha1.PluginIDAdopted))
		Expect(t.owned(binding)).To(HaveLen(1))
	})
})
