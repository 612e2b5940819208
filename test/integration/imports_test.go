package integration

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

var _ = Describe("Importing a plugin that applies to something else", func() {
	// elsewhere makes a plugin that is not on the service orders.
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
			timed := newTenantEnv()
			timed.allowBindings(&v1alpha1.AllowedBindings{Namespaces: namespacesFrom(v1alpha1.NamespacesFromAll)})
			id := elsewhere(timed.testEnv, scope)
			unchanged := timed.snapshotKong()
			binding := timed.tenantBinding(withPluginID(id))
			timed.create(binding)
			timed.expectCondition(binding, conditionMatch{
				condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonNotAllowedByGateway,
				contains: []string{"plugin " + id, "spec.pluginID", "KongGateway " + timed.namespace + "/kong", "correct spec.scope"},
			})
			Expect(binding.Status.PluginID).To(BeEmpty())
			timed.expectNoStatusWrite(binding)
			unchanged()
			Expect(k8s.Delete(timed.ctx, binding)).To(Succeed())
			timed.waitUntilGone(binding)
			unchanged()

			own := timed.createReady(timed.binding("limit", withPluginID(id)))
			Expect(string(own.Status.PluginID)).To(Equal(id))
			Expect(idIn(timed.kongPlugin(own), "service")).To(BeEquivalentTo(timed.idOf("services", "orders")), "moved, as it is declared")
			Expect(timed.kong.Plugins()).To(HaveLen(1))
		},
		Entry("a plugin on everything", nil),
		Entry("a plugin on another service", map[string]any{"service": map[string]any{"name": "billing"}}),
		Entry("a plugin on the same service and a consumer", map[string]any{"service": map[string]any{"name": "orders"}, "consumer": map[string]any{"username": "alice"}}),
	)

	It("is allowed from another namespace once the binding says where it is", func() {
		timed := newTenantEnv()
		timed.allowBindings(&v1alpha1.AllowedBindings{Namespaces: namespacesFrom(v1alpha1.NamespacesFromAll)})
		id := elsewhere(timed.testEnv, map[string]any{"service": map[string]any{"name": "billing"}})
		binding := timed.tenantBinding(withPluginID(id))
		timed.create(binding)
		timed.expectCondition(binding, conditionMatch{condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonNotAllowedByGateway})
		change(timed.testEnv, binding, withScope(&v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: "billing"}}))
		timed.waitUntilReady(binding)
		Expect(string(binding.Status.PluginID)).To(Equal(id))
		Expect(binding.Status.PluginIDSource).To(Equal(v1alpha1.PluginIDAdopted))
		Expect(timed.ownedPlugins(binding)).To(HaveLen(1))
	})
})
