package integration

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// planted must not be seen anywhere but in its Secret.
const planted = "planted-9f8e7d6c5b"

var _ = Describe("Bad input: the plugin and its config", func() {
	It("says that a plugin is not installed in this Kong", func() {
		s := newQuietStory()
		s.kong.DisablePlugin("rate-limiting")
		s.startOperator()
		s.gatewayReady()
		unchanged := s.kongAsItWas()
		binding := s.binding("limit")
		s.create(binding)

		s.shows(binding, symptom{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonPluginNotInstalled,
			says: []string{`"rate-limiting"`, "KongGateway " + s.namespace + "/kong", "install it", "or correct spec.plugin"},
		})
		s.steady(binding)
		unchanged()
	})

	It("names every field that Kong refuses", func() {
		s := newStory()
		unchanged := s.kongAsItWas()
		binding := s.binding("limit", declaring("rate-limiting", `{"minute": "five", "policy": "local", "colour": "red"}`))
		s.create(binding)

		s.shows(binding, symptom{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonRejected,
			says: []string{"config.colour: unknown field", "config.minute: expected a number"},
		})
		Expect(binding.Status.PluginID).To(BeEmpty())
		s.steady(binding)
		Expect(s.countOf(binding, v1alpha1.ReasonRejected)).To(Equal(1))
		unchanged()

		change(s, binding, declaring("rate-limiting", `{"minute": 5, "policy": "local"}`))
		s.ready(binding)
	})

	It("hides what Kong repeats of a Secret", func() {
		s := newStory()
		hidden := s.eavesdrop()
		unchanged := s.kongAsItWas()
		s.secret("office", map[string]string{"network": planted})
		binding := s.binding("office-only", declaring("ip-restriction", `{"allow": ["10.0.0.0/8"]}`), patched("/allow/-", "office", "network"))
		s.create(binding)

		s.shows(binding, symptom{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonRejected,
			says: []string{"config.allow", "invalid ip or cidr range: '[redacted]'"},
		})
		s.steady(binding)
		hidden(planted)
		unchanged()
	})

	It("hides a value too long for the message, of which Kong repeats the whole", func() {
		s := newStory()
		hidden := s.eavesdrop()
		unchanged := s.kongAsItWas()
		s.secret("office", map[string]string{"network": strings.Repeat(planted, 200)})
		binding := s.binding("office-only", declaring("ip-restriction", `{"allow": ["10.0.0.0/8"]}`), patched("/allow/-", "office", "network"))
		s.create(binding)

		s.shows(binding, symptom{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonRejected,
			says: []string{"config.allow", "invalid ip or cidr range"},
		})
		hidden(planted)
		unchanged()
	})

	It("hides what Kong repeats of a whole config from a Secret", func() {
		s := newStory()
		hidden := s.eavesdrop()
		unchanged := s.kongAsItWas()
		s.secret("office", map[string]string{"config.yaml": "allow:\n- 10.0.0.0/8\n- " + planted + "\nstatus: 9999\n"})
		binding := s.binding("office-only", declaring("ip-restriction", ""), configFrom("office", "config.yaml"))
		s.create(binding)

		s.shows(binding, symptom{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonRejected,
			says: []string{"config.allow", "invalid ip or cidr range: '[redacted]'"},
		})
		s.steady(binding)
		hidden(planted)
		unchanged()
	})

	It("says that the old config serves when Kong refuses a change", func() {
		s := newStory()
		binding := s.created(s.binding("limit"))
		id := string(binding.Status.PluginID)
		unchanged := s.kongAsItWas()
		change(s, binding, declaring("rate-limiting", `{"minute": -1, "policy": "local"}`))

		s.shows(binding, symptom{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonRejected,
			says: []string{"config.minute: value must be greater than 0", "plugin " + id, "still serves"},
		})
		Expect(string(binding.Status.PluginID)).To(Equal(id))
		s.steady(binding)
		unchanged()

		change(s, binding, declaring("rate-limiting", `{"minute": 6, "policy": "local"}`))
		s.ready(binding)
		Expect(string(binding.Status.PluginID)).To(Equal(id))
		Expect(s.pluginOf(binding)).To(HaveKeyWithValue("config", HaveKeyWithValue("minute", BeNumerically("==", 6))))
	})

	It("says that the old config serves when Kong refuses a rotated Secret", func() {
		s := newStory()
		hidden := s.eavesdrop()
		office := s.secret("office", map[string]string{"network": "192.0.2.0/24"})
		binding := s.created(s.binding("office-only", declaring("ip-restriction", `{"allow": ["10.0.0.0/8"]}`), patched("/allow/-", "office", "network")))
		id := string(binding.Status.PluginID)
		unchanged := s.kongAsItWas()
		s.setSecret(office, "network", planted)

		s.shows(binding, symptom{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonRejected,
			says: []string{"config.allow", "[redacted]", "plugin " + id, "still serves"},
		})
		s.steady(binding)
		hidden(planted)
		unchanged()

		s.setSecret(office, "network", "198.51.100.0/24")
		s.ready(binding)
		Expect(string(binding.Status.PluginID)).To(Equal(id))
	})

	It("waits for a Secret, then for its key, then programs without the binding being touched", func() {
		s := newStory()
		hidden := s.eavesdrop()
		unchanged := s.kongAsItWas()
		binding := s.binding("log", declaring("http-log", `{"http_endpoint": "http://logs.example:8080/"}`), patched("/headers/Authorization", "log-collector", "token"))
		s.create(binding)
		s.shows(binding, symptom{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonSecretNotFound,
			says: []string{"no Secret log-collector in namespace " + s.namespace, "create it, or correct its name"},
		})
		s.steady(binding)

		collector := s.secret("log-collector", map[string]string{"other": planted})
		s.shows(binding, symptom{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonSecretNotFound,
			says: []string{"Secret log-collector in namespace " + s.namespace + " has no key token"},
		})
		unchanged()

		s.setSecret(collector, "token", planted)
		s.ready(binding)
		Expect(s.pluginOf(binding)).To(HaveKeyWithValue("config", HaveKeyWithValue("headers", HaveKeyWithValue("Authorization", planted))))
		hidden(planted)
	})

	It("waits for the Secret of a whole config in the same way", func() {
		s := newStory()
		unchanged := s.kongAsItWas()
		binding := s.binding("limit", configFrom("limits", "config.yaml"))
		s.create(binding)
		s.shows(binding, symptom{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonSecretNotFound,
			says: []string{"no Secret limits in namespace " + s.namespace},
		})
		limits := s.secret("limits", nil)
		s.shows(binding, symptom{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonSecretNotFound,
			says: []string{"Secret limits", "has no key config.yaml"},
		})
		unchanged()

		s.setSecret(limits, "config.yaml", "minute: 7\npolicy: local\n")
		s.ready(binding)
		Expect(s.pluginOf(binding)).To(HaveKeyWithValue("config", HaveKeyWithValue("minute", BeNumerically("==", 7))))
	})

	It("keeps the plugin as it is when the Secret goes", func() {
		s := newStory()
		limits := s.secret("limits", map[string]string{"config.yaml": "minute: 7\npolicy: local\n"})
		binding := s.created(s.binding("limit", configFrom("limits", "config.yaml")))
		unchanged := s.kongAsItWas()
		Expect(k8s.Delete(s.ctx, limits)).To(Succeed())

		s.shows(binding, symptom{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonSecretNotFound,
			says: []string{"no Secret limits", "plugin " + string(binding.Status.PluginID) + " stays in Kong as it last was"},
		})
		s.steady(binding)
		unchanged()
	})

	DescribeTable("says what is wrong with a config that cannot be put together",
		func(says []string, data string, edit ...func(*v1alpha1.PluginBinding)) {
			s := newStory()
			hidden := s.eavesdrop()
			unchanged := s.kongAsItWas()
			values := s.secret("values", map[string]string{"value": data})
			binding := s.binding("limit", edit...)
			s.create(binding)

			s.shows(binding, symptom{condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonInvalidConfig, says: says})
			s.steady(binding)
			hidden(planted)
			unchanged()
			Expect(k8s.Delete(s.ctx, values)).To(Succeed())
		},
		Entry("YAML that is none",
			[]string{"spec.configFrom from Secret values, key value: is not valid YAML or JSON", "(line 2)"},
			"minute: 5\n\t"+planted+": [", configFrom("values", "value")),
		Entry("a list where an object belongs",
			[]string{"spec.configFrom from Secret values, key value: is not an object"},
			"- "+planted, configFrom("values", "value")),
		Entry("a text where an object belongs",
			[]string{"spec.configFrom from Secret values, key value: is not an object"},
			planted, configFrom("values", "value")),
		Entry("a patch whose path goes through a number",
			[]string{"spec.configPatches[0] (/minute/limit) from Secret values, key value: path goes through a number", `"limit"`},
			planted, patched("/minute/limit", "values", "value")),
		Entry("a patch beyond the end of a list",
			[]string{"spec.configPatches[0] (/allow/3) from Secret values, key value: path has index 3, and the array ends before it"},
			planted, declaring("ip-restriction", `{"allow": ["10.0.0.0/8"]}`), patched("/allow/3", "values", "value")),
		Entry("a patch in JSON that is none",
			[]string{"spec.configPatches[0] (/minute) from Secret values, key value: is not valid JSON"},
			planted, patched("/minute", "values", "value"), func(binding *v1alpha1.PluginBinding) {
				binding.Spec.ConfigPatches[0].Format = v1alpha1.FormatJSON
			}),
		Entry("a value that Kong's database cannot store",
			[]string{"spec.configPatches[0] (/policy) from Secret values, key value: holds a NUL character"},
			planted+"\x00", patched("/policy", "values", "value")),
	)

	It("says that a value is not text", func() {
		s := newStory()
		unchanged := s.kongAsItWas()
		values := s.secret("values", nil)
		s.setSecret(values, "value", "\xff\xfe")
		binding := s.binding("limit", patched("/policy", "values", "value"))
		s.create(binding)
		s.shows(binding, symptom{
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonInvalidConfig,
			says: []string{"spec.configPatches[0] (/policy) from Secret values, key value: is not valid UTF-8"},
		})
		unchanged()

		s.setSecret(values, "value", "local")
		s.ready(binding)
	})
})
