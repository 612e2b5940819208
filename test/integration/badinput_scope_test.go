package integration

import (
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

const (
	unusedID = "5c0de5c0-de5c-4de5-8c0d-e5c0de5c0de5"
	otherID  = "0dd0dd0d-d0dd-4d0d-8d0d-d0dd0dd0dd0d"
)

var _ = Describe("Bad input: the scope", func() {
	named := func(name string) *v1alpha1.EntityRef { return &v1alpha1.EntityRef{Name: v1alpha1.Name(name)} }
	byID := func() *v1alpha1.EntityRef { return &v1alpha1.EntityRef{ID: unusedID} }

	DescribeTable("waits for what the scope names, and programs when it is made",
		func(scope *v1alpha1.Scope, words, entity string, body map[string]any) {
			env := newTestEnv()
			unchanged := env.snapshotKong()
			binding := env.binding("limit", withScope(scope))
			env.create(binding)
			env.expectCondition(binding, conditionMatch{
				condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonScopeNotFound,
				contains: []string{"KongGateway " + env.namespace + "/kong", words},
			})
			env.expectNoStatusWrite(binding)
			unchanged()

			env.kong.Seed(entity, body)
			env.requestReconcile(binding)
			env.waitUntilReady(binding)
			Expect(env.ownedPlugins(binding)).To(HaveLen(1))
		},
		Entry("a service by name", &v1alpha1.Scope{Service: named("billing")}, `service named "billing"`,
			"services", map[string]any{"name": "billing", "url": "http://127.0.0.1:9"}),
		Entry("a service by id", &v1alpha1.Scope{Service: byID()}, "service with the id "+unusedID,
			"services", map[string]any{"id": unusedID, "name": "billing", "url": "http://127.0.0.1:9"}),
		Entry("a route by name", &v1alpha1.Scope{Route: named("billing-v1")}, `route named "billing-v1"`,
			"routes", map[string]any{"name": "billing-v1", "paths": []any{"/billing"}}),
		Entry("a route by id", &v1alpha1.Scope{Route: byID()}, "route with the id "+unusedID,
			"routes", map[string]any{"id": unusedID, "name": "billing-v1", "paths": []any{"/billing"}}),
		Entry("a consumer by username", &v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{Username: "bob"}}, `consumer with the username "bob"`,
			"consumers", map[string]any{"username": "bob"}),
		Entry("a consumer by custom id", &v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{CustomID: "crm-1002"}}, `consumer with the custom id "crm-1002"`,
			"consumers", map[string]any{"username": "bob", "custom_id": "crm-1002"}),
		Entry("a consumer by id", &v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{ID: unusedID}}, "consumer with the id "+unusedID,
			"consumers", map[string]any{"id": unusedID, "username": "bob"}),
		Entry("the second part of a scope", &v1alpha1.Scope{Service: named("orders"), Consumer: &v1alpha1.ConsumerRef{Username: "bob"}}, `consumer with the username "bob"`,
			"consumers", map[string]any{"username": "bob"}),
	)

	It("sees what the scope names when it is made, without being asked to look", func() {
		env := newTestEnv()
		binding := env.binding("limit", withScope(&v1alpha1.Scope{Service: named("billing")}))
		env.create(binding)
		env.expectCondition(binding, conditionMatch{condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonScopeNotFound})
		env.kong.Seed("services", map[string]any{"name": "billing", "url": "http://127.0.0.1:9"})
		Eventually(func() []map[string]any { return env.ownedPlugins(binding) }, 2*patience).Should(HaveLen(1), "within a resync interval")
		env.waitUntilReady(binding)
	})

	It("refuses to choose between two consumers of one custom id", func() {
		env := newTestEnv()
		unchanged := env.snapshotKong()
		clean := env.kong.Inject(kongtest.Fault{
			Method: http.MethodGet, Template: "/consumers", Kind: kongtest.Answer, Status: http.StatusOK,
			Body: `{"data": [
				{"id": "` + unusedID + `", "username": "one", "custom_id": "crm-7", "created_at": 1700000000, "updated_at": 1700000000},
				{"id": "` + otherID + `", "username": "two", "custom_id": "crm-7", "created_at": 1700000000, "updated_at": 1700000000}
			], "next": null}`,
		})
		binding := env.binding("limit", withScope(&v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{CustomID: "crm-7"}}))
		env.create(binding)
		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonScopeAmbiguous,
			contains: []string{"KongGateway " + env.namespace + "/kong", "more than one", `consumer with the custom id "crm-7"`, "username or id"},
		})
		env.expectNoStatusWrite(binding)
		unchanged()

		clean()
		env.kong.Seed("consumers", map[string]any{"username": "two", "custom_id": "crm-7"})
		env.requestReconcile(binding)
		env.waitUntilReady(binding)
	})

	It("says that consumer groups are Enterprise's", func() {
		env := newTestEnv()
		unchanged := env.snapshotKong()
		binding := env.binding("limit", withScope(&v1alpha1.Scope{ConsumerGroup: named("gold")}))
		env.create(binding)
		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonUnsupportedField,
			contains: []string{"scope.consumerGroup exists in Kong Gateway Enterprise only", "KongGateway " + env.namespace + "/kong is the community edition"},
		})
		env.expectNoStatusWrite(binding)
		unchanged()

		change(env, binding, withScope(&v1alpha1.Scope{Service: named("orders")}))
		env.waitUntilReady(binding)
	})

	It("says that the ordering of plugins is Enterprise's", func() {
		env := newTestEnv()
		unchanged := env.snapshotKong()
		binding := env.binding("limit", func(binding *v1alpha1.PluginBinding) {
			binding.Spec.Ordering = &v1alpha1.PluginOrdering{Before: &v1alpha1.PluginOrderingPhases{Access: []v1alpha1.PluginName{"key-auth"}}}
		})
		env.create(binding)
		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonUnsupportedField,
			contains: []string{"ordering exists in Kong Gateway Enterprise only"},
		})
		env.expectNoStatusWrite(binding)
		unchanged()
	})

	It("tells Kong's own words about a scope that the plugin does not take", func() {
		env := newTestEnv()
		unchanged := env.snapshotKong()
		binding := env.binding("auth", withPlugin("key-auth", ""), withScope(&v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{Username: "alice"}}))
		env.create(binding)
		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonRejected,
			contains: []string{"consumer: value must be null"},
		})
		unchanged()
	})
})
