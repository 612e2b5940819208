package integration

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// renamedServicesEnv is an environment in which the services orders and billing have swapped
// their names after the only resync. The operator's snapshot has the old names.
type renamedServicesEnv struct {
	*testEnv
	// orders is the ID of the service that has the name now, billing that of the other one.
	orders, billing string
	// first is a binding on orders that was ready before.
	first *v1alpha1.PluginBinding
}

func newRenamedServicesEnv(beforeSweep ...func(*testEnv)) renamedServicesEnv {
	GinkgoHelper()
	env := newEnvWithHourlyResync()
	env.kong.Seed("services", map[string]any{"name": "billing", "url": "http://127.0.0.1:9"})
	for _, f := range beforeSweep {
		f(env)
	}
	first := env.binding("first")
	env.create(first)
	env.startOperator()
	env.waitUntilReady(first)
	timed := renamedServicesEnv{env, string(env.idOf("services", "billing")), string(env.idOf("services", "orders")), first}
	env.kong.Edit("services", timed.billing, map[string]any{"name": "for-a-moment"})
	env.kong.Edit("services", timed.orders, map[string]any{"name": "orders"})
	env.kong.Edit("services", timed.billing, map[string]any{"name": "billing"})
	return timed
}

var _ = Describe("Names that mean another service since the last sweep", func() {
	It("are resolved by Kong when a plugin is made", func() {
		env := newRenamedServicesEnv()
		binding := env.createReady(env.binding("second", withPlugin("correlation-id", "")))
		Expect(idIn(env.kongPlugin(binding), "service")).To(Equal(env.orders), "the service that bears the name now")
		Expect(binding.Status.Scope.ServiceID).To(Equal(env.orders))
		Expect(env.ownedPlugins(binding)).To(HaveLen(1))
		Expect(env.resyncs()).To(Equal(1), "or the spec proves nothing")
	})

	It("are resolved by Kong when a plugin is written", func() {
		env := newRenamedServicesEnv()
		id := env.first.Status.PluginID
		change(env.testEnv, env.first, withPlugin("rate-limiting", `{"minute": 6, "policy": "local"}`))
		env.waitUntilReady(env.first)
		Expect(env.first.Status.PluginID).To(Equal(id))
		Expect(idIn(env.kongPlugin(env.first), "service")).To(Equal(env.orders))
		Expect(env.kongPlugin(env.first)).To(HaveKeyWithValue("config", HaveKeyWithValue("minute", BeEquivalentTo(6))))
		Expect(env.first.Status.Scope.ServiceID).To(Equal(env.orders))
		Expect(env.kong.Plugins()).To(HaveLen(1))
		Expect(env.resyncs()).To(Equal(1), "or the spec proves nothing")
	})

	DescribeTable("are asked for again before a plugin that was there is touched",
		func(policy v1alpha1.AdoptionPolicy, config map[string]any) {
			var stranger map[string]any
			env := newRenamedServicesEnv(func(env *testEnv) {
				stranger = env.kong.Seed("plugins", map[string]any{
					"name": "cors", "service": map[string]any{"name": "orders"}, "config": config, "tags": []any{"team:billing"},
				})
			})
			binding := env.createReady(env.binding("second", withPlugin("cors", `{"credentials": true}`), withAdoptionPolicy(policy)))
			Expect(env.kong.Plugin(stranger["id"].(string))).To(Equal(stranger), "it is on the service that bears another name now")
			Expect(binding.Status.PluginID).NotTo(BeEquivalentTo(stranger["id"]))
			Expect(binding.Status.PluginIDSource).To(Equal(v1alpha1.PluginIDCreated))
			Expect(idIn(env.kongPlugin(binding), "service")).To(Equal(env.orders))
			Expect(env.resyncs()).To(Equal(1), "or the spec proves nothing")
		},
		Entry("to take it over", v1alpha1.AdoptOverride, map[string]any{"credentials": false}),
		Entry("to adopt it", v1alpha1.AdoptIfIdentical, map[string]any{"credentials": true}),
		Entry("to call it a conflict", v1alpha1.AdoptIfIdentical, map[string]any{"credentials": false}),
	)

	It("leave alone who holds the place that is meant now", func() {
		env := newRenamedServicesEnv()
		stranger := env.kong.Seed("plugins", map[string]any{"name": "cors", "service": map[string]any{"id": env.orders}, "config": map[string]any{"credentials": false}})
		unchanged := env.snapshotKong()
		binding := env.binding("second", withPlugin("cors", `{"credentials": true}`))
		env.create(binding)
		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict,
			contains: []string{stranger["id"].(string), "config.credentials"},
		})
		unchanged()

		By("writing nothing over it either, under the ID of a plugin that was in force")
		env.kong.Seed("plugins", map[string]any{"name": "rate-limiting", "service": map[string]any{"id": env.orders}, "config": map[string]any{"minute": 100}})
		unchanged = env.snapshotKong()
		change(env.testEnv, env.first, withPlugin("rate-limiting", `{"minute": 6, "policy": "local"}`))
		env.expectCondition(env.first, conditionMatch{condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict})
		unchanged()
	})
})

var _ = Describe("An entity that was given another name", func() {
	It("is missed by the bindings that name it, and its plugin goes on under its ID when it has the name again", func() {
		env := newEnvWithoutOperator()
		timed := env.withFakeClock()
		binding := timed.createReady(timed.binding("limit"))
		id, service := binding.Status.PluginID, string(timed.idOf("services", "orders"))
		timed.kong.Edit("services", service, map[string]any{"name": "renamed"})
		timed.resync(2 * time.Minute)
		timed.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonScopeNotFound, contains: []string{`service named "orders"`},
		})
		Expect(timed.kongPlugin(binding)).NotTo(BeNil(), "Kong keeps it")
		timed.resync(2 * time.Minute)
		timed.expectNoStatusWrite(binding)

		timed.kong.Edit("services", service, map[string]any{"name": "orders"})
		timed.resync(2 * time.Minute)
		timed.waitUntilReady(binding)
		Expect(binding.Status.PluginID).To(Equal(id))
		Expect(timed.kong.Plugins()).To(HaveLen(1))
	})
})
