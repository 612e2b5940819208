package integration

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/controllers"
)

var _ = Describe("One plugin, one ID", func() {
	It("creates the plugin once and records the ID that Kong assigned", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit"))

		Expect(binding.Status.PluginIDSource).To(Equal(v1alpha1.PluginIDCreated))
		Expect(env.ownedPlugins(binding)).To(HaveLen(1))
		Expect(env.kongPlugin(binding)).To(HaveKeyWithValue("name", "rate-limiting"))
		Expect(env.kong.Journal().Count("POST", "/plugins")).To(Equal(1))
		Eventually(env.eventReasons).WithArguments(binding).Should(ConsistOf("Created"))
	})

	It("keeps the ID, and writes nothing, when the operator starts again", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit"))
		id, version := binding.Status.PluginID, binding.ResourceVersion
		env.stopOperator()
		before, mark := len(env.kong.Journal().Writes()), env.kong.Journal().Mark()

		env.startOperator()
		Eventually(func() int {
			return len(env.kong.Journal().Since(mark).Requests)
		}).Should(BeNumerically(">=", 3), "it looks")
		Consistently(func(g Gomega) {
			env.reload(g, binding)
			g.Expect(binding.ResourceVersion).To(Equal(version))
			g.Expect(env.kong.Journal().Writes()).To(HaveLen(before))
		}, "1s").Should(Succeed())
		Expect(binding.Status.PluginID).To(Equal(id))
	})

	It("brings a plugin that was deleted in Kong back under its ID", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit"))
		env.kong.DeletePlugin(string(binding.Status.PluginID))
		env.requestReconcile(binding)
		Eventually(func() map[string]any { return env.kongPlugin(binding) }).ShouldNot(BeNil())
		Eventually(env.eventReasons).WithArguments(binding).Should(ContainElement("Restored"))
		Expect(env.ownedPlugins(binding)).To(HaveLen(1))
	})

	It("removes the plugin with the binding", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit"))
		Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
		env.waitUntilGone(binding)
		Expect(env.kong.Plugins()).To(BeEmpty())
		Eventually(env.eventNotes).WithArguments(binding, "Deleted").Should(ConsistOf(ContainSubstring(string(binding.Status.PluginID))))
	})
})

var _ = Describe("A new leader", func() {
	It("asks nothing about a new binding, and says nothing of it, before it may make its plugin", func() {
		env := newEnvWithoutOperator()
		clock := clocktesting.NewFakeClock(time.Now())
		env.startOperator(func(o *controllers.Options) { o.Clock, o.LeadingSince = clock, clock.Now() })
		env.waitForGateway()
		waitForIdleGateways()
		before := len(env.kong.Journal().Requests())
		binding := env.binding("limit")
		env.create(binding)
		Eventually(func(g Gomega) {
			env.reload(g, binding)
			g.Expect(binding.Finalizers).NotTo(BeEmpty(), "it was seen")
		}).Should(Succeed())
		Consistently(func(g Gomega) {
			for _, request := range env.kong.Journal().Requests()[before:] {
				g.Expect(request.Template).NotTo(HavePrefix("/plugins"), "%s %s", request.Method, request.Path)
			}
			env.reload(g, binding)
			g.Expect(binding.Status.Conditions).To(BeEmpty())
		}, "1s").Should(Succeed())

		clock.Step(11 * time.Second)
		env.requestReconcile(binding)
		env.waitUntilReady(binding)
		Expect(env.ownedPlugins(binding)).To(HaveLen(1))
	})
})
