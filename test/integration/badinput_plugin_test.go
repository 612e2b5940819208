package integration

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// plantedSecret must appear in its Secret only.
const plantedSecret = "planted-9f8e7d6c5b"

var _ = Describe("Bad input: the plugin and its config", func() {
	It("says that a plugin is not installed in this Kong", func() {
		env := newEnvWithoutOperator()
		env.kong.DisablePlugin("rate-limiting")
		env.startOperator()
		env.waitForGateway()
		unchanged := env.snapshotKong()
		binding := env.binding("limit")
		env.create(binding)

		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonPluginNotInstalled,
			contains: []string{`"rate-limiting"`, "KongGateway " + env.namespace + "/kong", "spec.plugin"},
		})
		env.expectNoStatusWrite(binding)
		unchanged()
	})

	It("names every field that Kong refuses", func() {
		env := newTestEnv()
		unchanged := env.snapshotKong()
		binding := env.binding("limit", withPlugin("rate-limiting", `{"minute": "five", "policy": "local", "colour": "red"}`))
		env.create(binding)

		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonRejected,
			contains: []string{"config.colour: unknown field", "config.minute: expected a number"},
		})
		Expect(binding.Status.PluginID).To(BeEmpty())
		env.expectNoStatusWrite(binding)
		Expect(env.eventNotes(binding, v1alpha1.ReasonRejected)).To(HaveLen(1))
		unchanged()

		change(env, binding, withPlugin("rate-limiting", `{"minute": 5, "policy": "local"}`))
		env.waitUntilReady(binding)
	})

	It("hides what Kong repeats of a Secret", func() {
		env := newTestEnv()
		expectHidden := env.captureOutput()
		unchanged := env.snapshotKong()
		env.secret("office", map[string]string{"network": plantedSecret})
		binding := env.binding("office-only", withPlugin("ip-restriction", `{"allow": ["10.0.0.0/8"]}`), withConfigPatch("/allow/-", "office", "network"))
		env.create(binding)

		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonRejected,
			contains: []string{"config.allow", "withheld because the value comes from a Secret"},
		})
		env.expectNoStatusWrite(binding)
		expectHidden(plantedSecret)
		unchanged()
	})

	It("hides a value too long for the message, of which Kong repeats the whole", func() {
		env := newTestEnv()
		expectHidden := env.captureOutput()
		unchanged := env.snapshotKong()
		env.secret("office", map[string]string{"network": strings.Repeat(plantedSecret, 200)})
		binding := env.binding("office-only", withPlugin("ip-restriction", `{"allow": ["10.0.0.0/8"]}`), withConfigPatch("/allow/-", "office", "network"))
		env.create(binding)

		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonRejected,
			contains: []string{"config.allow", "withheld because the value comes from a Secret"},
		})
		expectHidden(plantedSecret)
		unchanged()
	})

	It("hides what Kong repeats of a whole config from a Secret", func() {
		env := newTestEnv()
		expectHidden := env.captureOutput()
		unchanged := env.snapshotKong()
		env.secret("office", map[string]string{"config.yaml": "allow:\n- 10.0.0.0/8\n- " + plantedSecret + "\nstatus: 9999\n"})
		binding := env.binding("office-only", withPlugin("ip-restriction", ""), withConfigFrom("office", "config.yaml"))
		env.create(binding)

		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonRejected,
			contains: []string{"config.allow", "withheld because the value comes from a Secret"},
		})
		env.expectNoStatusWrite(binding)
		expectHidden(plantedSecret)
		unchanged()
	})

	It("says that the old config serves when Kong refuses a change", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit"))
		id := string(binding.Status.PluginID)
		unchanged := env.snapshotKong()
		change(env, binding, withPlugin("rate-limiting", `{"minute": -1, "policy": "local"}`))

		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonRejected,
			contains: []string{"config.minute: value must be greater than 0", "plugin " + id},
		})
		Expect(string(binding.Status.PluginID)).To(Equal(id))
		env.expectNoStatusWrite(binding)
		unchanged()

		change(env, binding, withPlugin("rate-limiting", `{"minute": 6, "policy": "local"}`))
		env.waitUntilReady(binding)
		Expect(string(binding.Status.PluginID)).To(Equal(id))
		Expect(env.kongPlugin(binding)).To(HaveKeyWithValue("config", HaveKeyWithValue("minute", BeNumerically("==", 6))))
	})

	It("says that the old config serves when Kong refuses a rotated Secret", func() {
		env := newTestEnv()
		expectHidden := env.captureOutput()
		office := env.secret("office", map[string]string{"network": "192.0.2.0/24"})
		binding := env.createReady(env.binding("office-only", withPlugin("ip-restriction", `{"allow": ["10.0.0.0/8"]}`), withConfigPatch("/allow/-", "office", "network")))
		id := string(binding.Status.PluginID)
		unchanged := env.snapshotKong()
		env.setSecretKey(office, "network", plantedSecret)

		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonRejected,
			contains: []string{"config.allow", "withheld because the value comes from a Secret", "plugin " + id},
		})
		env.expectNoStatusWrite(binding)
		expectHidden(plantedSecret)
		unchanged()

		env.setSecretKey(office, "network", "198.51.100.0/24")
		env.waitUntilReady(binding)
		Expect(string(binding.Status.PluginID)).To(Equal(id))
	})

	It("waits for a Secret, then for its key, then programs without the binding being touched", func() {
		env := newTestEnv()
		expectHidden := env.captureOutput()
		unchanged := env.snapshotKong()
		binding := env.binding("log", withPlugin("http-log", `{"http_endpoint": "http://logs.example:8080/"}`), withConfigPatch("/headers/Authorization", "log-collector", "token"))
		env.create(binding)
		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonSecretNotFound,
			contains: []string{"Secret log-collector does not exist in namespace " + env.namespace},
		})
		env.expectNoStatusWrite(binding)

		collector := env.secret("log-collector", map[string]string{"other": plantedSecret})
		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonSecretNotFound,
			contains: []string{"Secret log-collector in namespace " + env.namespace + " has no key token"},
		})
		unchanged()

		env.setSecretKey(collector, "token", plantedSecret)
		env.waitUntilReady(binding)
		Expect(env.kongPlugin(binding)).To(HaveKeyWithValue("config", HaveKeyWithValue("headers", HaveKeyWithValue("Authorization", plantedSecret))))
		expectHidden(plantedSecret)
	})

	It("waits for the Secret of a whole config in the same way", func() {
		env := newTestEnv()
		unchanged := env.snapshotKong()
		binding := env.binding("limit", withConfigFrom("limits", "config.yaml"))
		env.create(binding)
		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonSecretNotFound,
			contains: []string{"Secret limits does not exist in namespace " + env.namespace},
		})
		limits := env.secret("limits", nil)
		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonSecretNotFound,
			contains: []string{"Secret limits", "has no key config.yaml"},
		})
		unchanged()

		env.setSecretKey(limits, "config.yaml", "minute: 7\npolicy: local\n")
		env.waitUntilReady(binding)
		Expect(env.kongPlugin(binding)).To(HaveKeyWithValue("config", HaveKeyWithValue("minute", BeNumerically("==", 7))))
	})

	It("keeps the plugin as it is when the Secret goes", func() {
		env := newTestEnv()
		limits := env.secret("limits", map[string]string{"config.yaml": "minute: 7\npolicy: local\n"})
		binding := env.createReady(env.binding("limit", withConfigFrom("limits", "config.yaml")))
		unchanged := env.snapshotKong()
		Expect(k8s.Delete(env.ctx, limits)).To(Succeed())

		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonSecretNotFound,
			contains: []string{"Secret limits does not exist", string(binding.Status.PluginID)},
		})
		env.expectNoStatusWrite(binding)
		unchanged()
	})

	DescribeTable("says what is wrong with a config that cannot be put together",
		func(says []string, data string, edit ...func(*v1alpha1.PluginBinding)) {
			env := newTestEnv()
			expectHidden := env.captureOutput()
			unchanged := env.snapshotKong()
			values := env.secret("values", map[string]string{"value": data})
			binding := env.binding("limit", edit...)
			env.create(binding)

			env.expectCondition(binding, conditionMatch{condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonInvalidConfig, contains: says})
			env.expectNoStatusWrite(binding)
			expectHidden(plantedSecret)
			unchanged()
			Expect(k8s.Delete(env.ctx, values)).To(Succeed())
		},
		Entry("YAML that is none",
			[]string{"spec.configFrom from Secret values, key value: is not valid YAML or JSON", "(line 2)"},
			"minute: 5\n\t"+plantedSecret+": [", withConfigFrom("values", "value")),
		Entry("a list where an object belongs",
			[]string{"spec.configFrom from Secret values, key value: is not an object"},
			"- "+plantedSecret, withConfigFrom("values", "value")),
		Entry("a text where an object belongs",
			[]string{"spec.configFrom from Secret values, key value: is not an object"},
			plantedSecret, withConfigFrom("values", "value")),
		Entry("a patch whose path goes through a number",
			[]string{"spec.configPatches[0] (/minute/limit) from Secret values, key value: path goes through a number", `"limit"`},
			plantedSecret, withConfigPatch("/minute/limit", "values", "value")),
		Entry("a patch beyond the end of a list",
			[]string{"spec.configPatches[0] (/allow/3) from Secret values, key value: path has index 3, and the array ends before it"},
			plantedSecret, withPlugin("ip-restriction", `{"allow": ["10.0.0.0/8"]}`), withConfigPatch("/allow/3", "values", "value")),
		Entry("a patch in JSON that is none",
			[]string{"spec.configPatches[0] (/minute) from Secret values, key value: is not valid JSON"},
			plantedSecret, withConfigPatch("/minute", "values", "value"), func(binding *v1alpha1.PluginBinding) {
				binding.Spec.ConfigPatches[0].Format = v1alpha1.FormatJSON
			}),
		Entry("a value that Kong's database cannot store",
			[]string{"spec.configPatches[0] (/policy) from Secret values, key value: holds a NUL character"},
			plantedSecret+"\x00", withConfigPatch("/policy", "values", "value")),
	)

	It("says that a value is not text", func() {
		env := newTestEnv()
		unchanged := env.snapshotKong()
		values := env.secret("values", nil)
		env.setSecretKey(values, "value", "\xff\xfe")
		binding := env.binding("limit", withConfigPatch("/policy", "values", "value"))
		env.create(binding)
		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonInvalidConfig,
			contains: []string{"spec.configPatches[0] (/policy) from Secret values, key value: is not valid UTF-8"},
		})
		unchanged()

		env.setSecretKey(values, "value", "local")
		env.waitUntilReady(binding)
	})
})
