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
		s := newStory()
		binding := s.created(s.binding("limit"))

		Expect(binding.Status.PluginIDSource).To(Equal(v1alpha1.PluginIDCreated))
		Expect(s.owned(binding)).To(HaveLen(1))
		Expect(s.pluginOf(binding)).To(HaveKeyWithValue("name", "rate-limiting"))
		Expect(s.kong.Journal().Count("POST", "/plugins")).To(Equal(1))
		Eventually(s.events).WithArguments(binding).Should(ConsistOf("Created"))
	})

	It("keeps the ID, and writes nothing, when the operator starts again", func() {
		s := newStory()
		binding := s.created(s.binding("limit"))
		id, version := binding.Status.PluginID, binding.ResourceVersion
		s.stopOperator()
		before := len(s.kong.Journal().Writes())

		s.startOperator()
		mark := s.kong.Journal().Mark()
		Eventually(func() int {
			return len(s.kong.Journal().Since(mark).Requests)
		}).Should(BeNumerically(">=", 3), "it looks")
		Consistently(func(g Gomega) {
			s.reload(g, binding)
			g.Expect(binding.ResourceVersion).To(Equal(version))
			g.Expect(s.kong.Journal().Writes()).To(HaveLen(before))
		}, "1s").Should(Succeed())
		Expect(binding.Status.PluginID).To(Equal(id))
	})

	It("brings a plugin that was deleted in Kong back under its ID", func() {
		s := newStory()
		binding := s.created(s.binding("limit"))
		s.kong.DeletePlugin(string(binding.Status.PluginID))
		s.look(binding)
		Eventually(func() map[string]any { return s.pluginOf(binding) }).ShouldNot(BeNil())
		Eventually(s.events).WithArguments(binding).Should(ContainElement("Restored"))
		Expect(s.owned(binding)).To(HaveLen(1))
	})

	It("removes the plugin with the binding", func() {
		s := newStory()
		binding := s.created(s.binding("limit"))
		Expect(k8s.Delete(s.ctx, binding)).To(Succeed())
		s.gone(binding)
		Expect(s.kong.Plugins()).To(BeEmpty())
		Eventually(s.notes).WithArguments(binding, "Deleted").Should(ConsistOf(ContainSubstring(string(binding.Status.PluginID))))
	})
})

var _ = Describe("A new leader", func() {
	It("asks nothing about a new binding, and says nothing of it, before it may make its plugin", func() {
		s := newQuietStory()
		clock := clocktesting.NewFakeClock(time.Now())
		s.startOperator(func(o *controllers.Options) { o.Clock, o.LeadingSince = clock, clock.Now() })
		s.gatewayReady()
		idle()
		before := len(s.kong.Journal().Requests())
		binding := s.binding("limit")
		s.create(binding)
		Eventually(func(g Gomega) {
			s.reload(g, binding)
			g.Expect(binding.Finalizers).NotTo(BeEmpty(), "it was seen")
		}).Should(Succeed())
		Consistently(func(g Gomega) {
			for _, request := range s.kong.Journal().Requests()[before:] {
				g.Expect(request.Template).NotTo(HavePrefix("/plugins"), "%s %s", request.Method, request.Path)
			}
			s.reload(g, binding)
			g.Expect(binding.Status.Conditions).To(BeEmpty())
		}, "1s").Should(Succeed())

		clock.Step(11 * time.Second)
		s.look(binding)
		s.ready(binding)
		Expect(s.owned(binding)).To(HaveLen(1))
	})
})
