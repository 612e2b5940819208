package integration

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

var _ = Describe("Importing a plugin that applies to something else", func() {
	// elsewhere creates a plugin that is not on the service orders.
	elsewhere := func(env *testEnv, scope map[string]any) string {
		env.kong.Seed("services", map[string]any{"name": "billing", "url": "http://127.0.0.1:9"})
		body := map[string]any{"name": "rate-limiting", "config": map[string]any{"minute": 5, "policy": "local"}}
		for field, value := range scope {
			body[field] = value
		}
		return env.kong.Seed("plugins", body)["id"].(string)
	}

	DescribeTable("is not allowed from another namespace, and is from the gateway's own",
		func(scope map[string]any) {
			tenant := newTenantEnv()
			tenant.allowBindings(&v1alpha1.AllowedBindings{Namespaces: namespacesFrom(v1alpha1.NamespacesFromAll)})
			id := elsewhere(tenant.testEnv, scope)
			unchanged := tenant.snapshotKong()
			binding := tenant.tenantBinding(withPluginID(id))
			tenant.create(binding)
			tenant.expectCondition(binding, conditionMatch{
				condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonNotAllowedByGateway,
				contains: []string{"plugin " + id, "KongGateway " + tenant.namespace + "/kong", "spec.scope"},
			})
			Expect(binding.Status.PluginID).To(BeEmpty())
			tenant.expectNoStatusWrite(binding)
			unchanged()
			Expect(k8s.Delete(tenant.ctx, binding)).To(Succeed())
			tenant.waitUntilGone(binding)
			unchanged()

			own := tenant.createReady(tenant.binding("limit", withPluginID(id)))
			Expect(string(own.Status.PluginID)).To(Equal(id))
			Expect(idIn(tenant.kongPlugin(own), "service")).To(BeEquivalentTo(tenant.idOf("services", "orders")), "moved, as it is declared")
			Expect(tenant.kong.Plugins()).To(HaveLen(1))
		},
		Entry("a plugin on everything", nil),
		Entry("a plugin on another service", map[string]any{"service": map[string]any{"name": "billing"}}),
		Entry("a plugin on the same service and a consumer", map[string]any{"service": map[string]any{"name": "orders"}, "consumer": map[string]any{"username": "alice"}}),
	)

	It("is allowed from another namespace once the binding says where it is", func() {
		tenant := newTenantEnv()
		tenant.allowBindings(&v1alpha1.AllowedBindings{Namespaces: namespacesFrom(v1alpha1.NamespacesFromAll)})
		id := elsewhere(tenant.testEnv, map[string]any{"service": map[string]any{"name": "billing"}})
		binding := tenant.tenantBinding(withPluginID(id))
		tenant.create(binding)
		tenant.expectCondition(binding, conditionMatch{condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonNotAllowedByGateway})
		change(tenant.testEnv, binding, withScope(&v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: "billing"}}))
		tenant.waitUntilReady(binding)
		Expect(string(binding.Status.PluginID)).To(Equal(id))
		Expect(binding.Status.PluginIDSource).To(Equal(v1alpha1.PluginIDAdopted))
		Expect(tenant.ownedPlugins(binding)).To(HaveLen(1))
	})
})
