package integration

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

var _ = Describe("Drift", func() {
	It("is put right under the same ID, and its fields are named", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit"))
		env.kong.EditPlugin(string(binding.Status.PluginID), map[string]any{"enabled": false, "config": map[string]any{"minute": 9999}})
		env.requestReconcile(binding)
		Eventually(func() any { return env.kongPlugin(binding)["enabled"] }).Should(BeTrue())
		Eventually(func(g Gomega) {
			env.reload(g, binding)
			g.Expect(binding.Status.LastDrift).NotTo(BeNil())
			g.Expect(binding.Status.LastDrift.Fields).To(ConsistOf("config.minute", "enabled"))
		}).Should(Succeed())
		Eventually(env.eventReasons).WithArguments(binding).Should(ContainElement("DriftCorrected"))
	})

	It("is not what was declared during a pause", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit"))
		change(env, binding, paused)
		env.waitForReady(binding, metav1.ConditionUnknown, v1alpha1.ReasonPaused)
		change(env, binding, func(b *v1alpha1.PluginBinding) { b.Spec.Enabled = ptr.To(false) })
		Eventually(func(g Gomega) {
			env.reload(g, binding)
			g.Expect(binding.Status.ObservedGeneration).To(Equal(binding.Generation))
		}).Should(Succeed())
		change(env, binding, func(b *v1alpha1.PluginBinding) { delete(b.Annotations, v1alpha1.PausedAnnotation) })
		env.waitUntilReady(binding)
		Expect(env.kongPlugin(binding)).To(HaveKeyWithValue("enabled", false))
		Eventually(env.eventReasons).WithArguments(binding).Should(And(ContainElement("Updated"), Not(ContainElement("DriftCorrected"))))
		Expect(binding.Status.LastDrift).To(BeNil())
	})

	It("is also a plugin that somebody moved to another scope", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit"))
		id := string(binding.Status.PluginID)
		env.kong.EditPlugin(id, map[string]any{"service": nil, "consumer": map[string]any{"id": string(env.idOf("consumers", "alice"))}})
		env.requestReconcile(binding)
		Eventually(env.kong.Plugin).WithArguments(id).Should(HaveKeyWithValue("service", HaveKeyWithValue("id", BeEquivalentTo(env.idOf("services", "orders")))))
		Eventually(func(g Gomega) {
			env.reload(g, binding)
			g.Expect(binding.Status.LastDrift).NotTo(BeNil())
			g.Expect(binding.Status.LastDrift.Fields).To(ConsistOf("scope.consumer", "scope.service"))
		}).Should(Succeed())
		Eventually(env.eventReasons).WithArguments(binding).Should(And(ContainElement("DriftCorrected"), Not(ContainElement("Moved"))))
		Expect(env.metric("kong_operator_drift_total", "gateway", env.namespace+"/kong")).To(BeEquivalentTo(1))
	})

	It("is found by the sweep without anybody's asking", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit"))
		env.kong.EditPlugin(string(binding.Status.PluginID), map[string]any{"enabled": false})
		Eventually(func() any { return env.kongPlugin(binding)["enabled"] }, "30s").Should(BeTrue())
	})

	It("of the marks is put right: the plugin is known by its ID", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit"))
		env.kong.EditPlugin(string(binding.Status.PluginID), map[string]any{"tags": []any{}, "instance_name": "mine-now"})
		env.requestReconcile(binding)
		Eventually(func() []map[string]any { return env.ownedPlugins(binding) }).Should(HaveLen(1))
		Expect(env.kongPlugin(binding)).To(HaveKeyWithValue("instance_name", clusterID+"."+env.namespace+".limit"))
	})

	It("that Kong makes itself of a declaration is written once, and not for ever", func() {
		env := newEnvWithoutOperator()
		env.startOperator(useNormalizingDialer)
		binding := env.createReady(env.binding("limit"))
		Expect(env.kongPlugin(binding)["config"]).To(HaveKeyWithValue("minute", BeEquivalentTo(6)))
		Expect(binding.Status.AcceptedDifferences).NotTo(BeNil())
		Expect(binding.Status.AcceptedDifferences.Fields).To(ConsistOf("config.minute"))
		Expect(readyMessage(binding)).To(ContainSubstring("config.minute"))

		By("staying quiet, over a restart too")
		env.stopOperator()
		mark := env.kong.Journal().Mark()
		env.startOperator(useNormalizingDialer)
		for range 3 {
			env.requestReconcile(binding)
		}
		Eventually(func() int { return len(env.kong.Journal().Since(mark).Requests) }).Should(BeNumerically(">", 5))
		Consistently(func() int { return len(env.kong.Journal().Since(mark).Writes()) }, "500ms").Should(BeZero())

		By("putting right what somebody changes by hand")
		env.kong.EditPlugin(string(binding.Status.PluginID), map[string]any{"config": map[string]any{"hour": 77}})
		env.requestReconcile(binding)
		Eventually(func() any { return env.kongPlugin(binding)["config"] }).Should(HaveKeyWithValue("hour", BeNil()))

		By("writing when the declaration changes")
		change(env, binding, func(b *v1alpha1.PluginBinding) { b.Spec.Config = jsonOf(`{"minute": 8, "policy": "local"}`) })
		Eventually(func() any { return env.kongPlugin(binding)["config"] }).Should(HaveKeyWithValue("minute", BeEquivalentTo(9)))
	})
})
