package integration

import (
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

var _ = Describe("Bad input: somebody else's plugin", func() {
	It("names the binding that holds the scope, and programs the second when the first goes", func() {
		env := newTestEnv()
		first := env.createReady(env.binding("first"))
		unchanged := env.snapshotKong()
		second := env.binding("second", withPlugin("rate-limiting", `{"minute": 9, "policy": "local"}`))
		env.create(second)
		env.expectCondition(second, conditionMatch{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict,
			contains: []string{
				"plugin " + string(first.Status.PluginID), "PluginBinding " + env.namespace + "/first",
			},
		})
		Expect(second.Status.Conflict.PluginID).To(Equal(string(first.Status.PluginID)))
		Expect(second.Status.Conflict.Owner).To(Equal("PluginBinding " + env.namespace + "/first"))
		env.expectNoStatusWrite(second)
		env.reload(Default, first)
		env.waitUntilReady(first)
		unchanged()

		Expect(k8s.Delete(env.ctx, first)).To(Succeed())
		env.waitUntilGone(first)
		env.waitUntilReady(second)
		Expect(second.Status.PluginID).NotTo(Equal(first.Status.PluginID))
		Expect(second.Status.Conflict).To(BeNil())
		Expect(env.kong.Plugins()).To(HaveLen(1))
	})

	It("names the plugin that has the new instance name of one that is in force, without trying", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit"))
		taken := env.kong.Seed("plugins", map[string]any{"name": "cors", "instance_name": "taken"})["id"].(string)
		unchanged := env.snapshotKong()
		puts := env.kong.Journal().Count(http.MethodPut, "/plugins/{id}")
		change(env, binding, func(b *v1alpha1.PluginBinding) { b.Spec.InstanceName = "taken" })
		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict,
			contains: []string{"plugin " + taken, "instance name taken"},
		})
		env.expectNoStatusWrite(binding)
		unchanged()
		Expect(env.kong.Journal().Count(http.MethodPut, "/plugins/{id}")).To(Equal(puts), "Kong has to refuse nothing")

		change(env, binding, func(b *v1alpha1.PluginBinding) { b.Spec.InstanceName = "free" })
		env.waitUntilReady(binding)
		Expect(env.kongPlugin(binding)).To(HaveKeyWithValue("instance_name", "free"))
	})

	It("leaves one plugin to one of two bindings that would both adopt it", func() {
		env := newEnvWithoutOperator()
		id := env.seedUnowned(perMinute(5))["id"].(string)
		first, second := env.binding("first"), env.binding("second")
		env.create(first, second)
		env.startOperator()
		var has, waits *v1alpha1.PluginBinding
		Eventually(func(g Gomega) {
			env.reload(g, first)
			env.reload(g, second)
			has, waits = first, second
			if has.Status.PluginID == "" {
				has, waits = second, first
			}
			g.Expect(has.Status.PluginID).To(BeEquivalentTo(id))
		}).Should(Succeed())
		env.expectCondition(waits, conditionMatch{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict,
			contains: []string{"plugin " + id, "PluginBinding " + env.namespace + "/" + has.Name},
		})
		Expect(waits.Status.PluginID).To(BeEmpty())

		change(env, has, withScope(&v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{Username: "alice"}}))
		env.waitUntilReady(has)
		Expect(has.Status.PluginID).To(BeEquivalentTo(id))
		env.requestReconcile(waits)
		env.waitUntilReady(waits)
		Expect(env.kong.Plugins()).To(HaveLen(2))
	})

	It("is another binding's plugin although its tags were taken off", func() {
		env := newEnvWithHourlyResync()
		env.startOperator()
		first := env.createReady(env.binding("first"))
		id := string(first.Status.PluginID)
		env.kong.EditPlugin(id, map[string]any{"tags": []any{}})
		second := env.binding("second")
		env.create(second)
		env.expectCondition(second, conditionMatch{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict,
			contains: []string{"plugin " + id, "PluginBinding " + env.namespace + "/first"},
		})
		env.requestReconcile(first)
		Eventually(env.kong.Plugin).WithArguments(id).Should(HaveKeyWithValue("tags", Not(BeEmpty())))
		env.waitUntilReady(first)
	})

	DescribeTable("leaves a plugin that somebody made by hand",
		func(policy v1alpha1.AdoptionPolicy, says ...string) {
			env := newTestEnv()
			id := env.seedUnowned(nil)["id"].(string)
			unchanged := env.snapshotKong()
			binding := env.binding("limit", withAdoptionPolicy(policy))
			env.create(binding)
			env.expectCondition(binding, conditionMatch{
				condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict,
				contains: append(says, id),
			})
			Expect(binding.Status.PluginID).To(BeEmpty())
			env.expectNoStatusWrite(binding)
			unchanged()

			env.kong.DeletePlugin(id)
			env.requestReconcile(binding)
			env.waitUntilReady(binding)
		},
		Entry("with adoptionPolicy Never", v1alpha1.AdoptNever, "adoptionPolicy is Never", "Delete that plugin in Kong"),
		Entry("with adoptionPolicy IfIdentical, which differs", v1alpha1.AdoptIfIdentical, "in config.minute", "set adoptionPolicy to Override"),
	)

	It("leaves an identical plugin too when adoptionPolicy is Never", func() {
		env := newTestEnv()
		id := env.seedUnowned(perMinute(5))["id"].(string)
		unchanged := env.snapshotKong()
		binding := env.binding("limit", withAdoptionPolicy(v1alpha1.AdoptNever))
		env.create(binding)
		env.expectCondition(binding, conditionMatch{condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict, contains: []string{id, "adoptionPolicy is Never"}})
		unchanged()

		change(env, binding, withAdoptionPolicy(v1alpha1.AdoptIfIdentical))
		env.waitUntilReady(binding)
		Expect(string(binding.Status.PluginID)).To(Equal(id))
		Expect(binding.Status.PluginIDSource).To(Equal(v1alpha1.PluginIDAdopted))
	})

	It("takes a plugin that somebody made by hand, under its ID, when adoptionPolicy is Override", func() {
		env := newTestEnv()
		id := env.seedUnowned(nil)["id"].(string)
		binding := env.createReady(env.binding("limit", withAdoptionPolicy(v1alpha1.AdoptOverride)))
		Expect(string(binding.Status.PluginID)).To(Equal(id))
		Expect(binding.Status.PluginIDSource).To(Equal(v1alpha1.PluginIDAdopted))
		Expect(env.kongPlugin(binding)).To(HaveKeyWithValue("config", HaveKeyWithValue("minute", BeNumerically("==", 5))))
		Eventually(env.eventReasons).WithArguments(binding).Should(ContainElement("Adopted"))
		Expect(env.kong.Plugins()).To(HaveLen(1))
	})

	DescribeTable("leaves a plugin that bears another owner's marks",
		func(tags []any, says ...string) {
			env := newTestEnv()
			id := env.seedUnowned(map[string]any{"tags": tags, "config": map[string]any{"minute": 5, "policy": "local"}})["id"].(string)
			unchanged := env.snapshotKong()
			binding := env.binding("limit")
			env.create(binding)
			env.expectCondition(binding, conditionMatch{
				condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict,
				contains: append(says, id),
			})
			env.expectNoStatusWrite(binding)
			unchanged()
		},
		Entry("the ingress controller's", []any{"managed-by-ingress-controller"}, "Kong Ingress Controller", "First create a binding whose scope names both the route and its service"),
		Entry("another tool's", []any{"managed-by:deck"}, "the tool deck", "Remove it from that tool's configuration"),
		Entry("another cluster's", []any{"managed-by:plugin-binding-operator", "k8s-cluster:elsewhere", "k8s-kind:PluginBinding", "k8s-namespace:shop", "k8s-name:limit"},
			"PluginBinding shop/limit of cluster elsewhere", "Only one cluster can own it"),
	)

	It("waits for a plugin to import that does not exist, and creates none in its stead", func() {
		env := newTestEnv()
		unchanged := env.snapshotKong()
		binding := env.binding("limit", withPluginID(unusedID))
		env.create(binding)
		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonPluginNotFound,
			contains: []string{"KongGateway " + env.namespace + "/kong", unusedID, "spec.pluginID"},
		})
		env.expectNoStatusWrite(binding)
		unchanged()

		env.seedUnowned(map[string]any{"id": unusedID})
		env.requestReconcile(binding)
		env.waitUntilReady(binding)
		Expect(binding.Status.PluginID).To(BeEquivalentTo(unusedID))
	})

	It("does not import a plugin of another name", func() {
		env := newTestEnv()
		id := env.seedUnowned(map[string]any{"name": "key-auth", "config": map[string]any{}})["id"].(string)
		unchanged := env.snapshotKong()
		binding := env.binding("limit", withPluginID(id))
		env.create(binding)
		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict,
			contains: []string{"plugin " + id, "spec.pluginID", "key-auth", "rate-limiting"},
		})
		Expect(binding.Status.PluginID).To(BeEmpty())
		env.expectNoStatusWrite(binding)
		unchanged()
	})

	It("does not import another binding's plugin", func() {
		env := newTestEnv()
		first := env.createReady(env.binding("first"))
		unchanged := env.snapshotKong()
		second := env.binding("second", withPluginID(string(first.Status.PluginID)))
		env.create(second)
		env.expectCondition(second, conditionMatch{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict,
			contains: []string{"plugin " + string(first.Status.PluginID), "PluginBinding " + env.namespace + "/first", "spec.pluginID"},
		})
		Expect(second.Status.PluginID).To(BeEmpty())
		env.expectNoStatusWrite(second)
		unchanged()
	})

	It("does not take an instance name that another plugin has", func() {
		env := newTestEnv()
		id := env.seedUnowned(map[string]any{"instance_name": "shared-name", "consumer": map[string]any{"username": "alice"}})["id"].(string)
		unchanged := env.snapshotKong()
		binding := env.binding("limit", func(binding *v1alpha1.PluginBinding) { binding.Spec.InstanceName = "shared-name" })
		env.create(binding)
		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict,
			contains: []string{"plugin " + id, "instance name shared-name", "spec.instanceName"},
		})
		env.expectNoStatusWrite(binding)
		unchanged()

		change(env, binding, func(binding *v1alpha1.PluginBinding) { binding.Spec.InstanceName = "" })
		env.waitUntilReady(binding)
	})
})
