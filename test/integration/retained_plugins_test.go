package integration

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/controllers"
)

var _ = Describe("A plugin that is left in Kong", func() {
	It("under managementPolicy Observe keeps its marks, and no sweep takes it for an orphan", func() {
		s := newQuietStory().steer(func(o *controllers.Options) { o.RemoveOrphans = true })
		binding := s.created(s.binding("limit"))
		change(s.story, binding, observing)
		s.becomes(binding, metav1.ConditionTrue, v1alpha1.ReasonObserved)
		unchanged := s.kongAsItWas()
		Expect(k8s.Delete(s.ctx, binding)).To(Succeed())
		s.gone(binding)
		id := string(binding.Status.PluginID)
		Eventually(s.notes).WithArguments(binding, "PluginLeft").Should(ConsistOf(And(ContainSubstring(id), ContainSubstring("Observe"))))

		gw := s.gateway("kong")
		s.reload(Default, gw)
		Expect(gw.Annotations).To(HaveKeyWithValue(v1alpha1.RetainedPluginsAnnotation, id))
		gw = s.sweepTimes(3)
		unchanged()
		Expect(s.owned(binding)).To(HaveLen(1))
		Expect(gw.Status.LastResync.Plugins).To(BeEquivalentTo(1))
		Expect(gw.Status.LastResync.Orphaned).To(BeZero())
		Expect(s.events(gw)).NotTo(ContainElement(HavePrefix("Orphan")))

		By("not taking it for one through another gateway of that Kong either")
		s.create(s.gateway("again"))
		for range 3 {
			Expect(s.sweepOf("again", 2*time.Minute).Status.LastResync.Orphaned).To(BeZero())
		}
		unchanged()
		other := s.gateway("again")
		Expect(k8s.Delete(s.ctx, other)).To(Succeed())
		s.gone(other)

		By("reporting it once a person takes its ID out of the annotation")
		change(s.story, gw, func(gw *v1alpha1.KongGateway) { delete(gw.Annotations, v1alpha1.RetainedPluginsAnnotation) })
		gw = s.sweep(2 * time.Minute)
		Expect(gw.Status.LastResync.Orphaned).To(BeEquivalentTo(1))
		Eventually(s.notes).WithArguments(gw, "OrphanedPlugins").Should(ConsistOf(ContainSubstring(id)))
	})

	It("of several bindings is noted with all of them, and found again by a binding of its name", func() {
		s := newStory()
		first := s.created(s.binding("first"))
		second := s.created(s.binding("second", declaring("correlation-id", "")))
		for _, binding := range []*v1alpha1.PluginBinding{first, second} {
			change(s, binding, observing)
			s.becomes(binding, metav1.ConditionTrue, v1alpha1.ReasonObserved)
			Expect(k8s.Delete(s.ctx, binding)).To(Succeed())
			s.gone(binding)
		}
		gw := s.gateway("kong")
		s.reload(Default, gw)
		Expect(gw.Annotations[v1alpha1.RetainedPluginsAnnotation]).To(And(
			ContainSubstring(string(first.Status.PluginID)), ContainSubstring(string(second.Status.PluginID)), ContainSubstring(",")))

		again := s.created(s.binding("first"))
		Expect(again.Status.PluginID).To(Equal(first.Status.PluginID))
		Expect(again.Status.PluginIDSource).To(Equal(v1alpha1.PluginIDRecovered))
		Eventually(s.notes).WithArguments(again, "Recovered").Should(ConsistOf(ContainSubstring(string(again.Status.PluginID))))
	})

	It("because its marks were taken off by hand is named in an event", func() {
		s := newStory()
		binding := s.created(s.binding("limit"))
		id := string(binding.Status.PluginID)
		taken := s.kong.EditPlugin(id, map[string]any{"tags": []any{"team:orders"}, "instance_name": "ours-now"})
		unchanged := s.kongAsItWas()
		Expect(k8s.Delete(s.ctx, binding)).To(Succeed())
		s.gone(binding)
		unchanged()
		Expect(s.kong.Plugin(id)).To(Equal(taken))
		Eventually(s.notes).WithArguments(binding, "PluginLeft").Should(ConsistOf(And(
			ContainSubstring(id), ContainSubstring("does not bear this binding's marks any more"), ContainSubstring("delete it there"))))
	})
})

var _ = Describe("managementPolicy Observe, in sync", func() {
	It("is Ready with a reason of its own, and says so again after a restart", func() {
		s := newStory()
		binding := s.created(s.binding("limit"))
		change(s, binding, observing)
		s.becomes(binding, metav1.ConditionTrue, v1alpha1.ReasonObserved)
		Expect(readyMessage(binding)).To(ContainSubstring(string(binding.Status.PluginID)))
		unchanged := s.kongAsItWas()
		s.steady(binding)
		s.stopOperator()
		s.startOperator()
		s.gatewayReady()
		s.steady(binding)
		unchanged()

		s.kong.EditPlugin(string(binding.Status.PluginID), map[string]any{"config": map[string]any{"minute": 7}})
		s.look(binding)
		s.becomes(binding, metav1.ConditionFalse, v1alpha1.ReasonWouldChange)
		change(s, binding, func(b *v1alpha1.PluginBinding) { b.Spec.ManagementPolicy = v1alpha1.ManagePlugin })
		s.ready(binding)
		Expect(s.pluginOf(binding)).To(HaveKeyWithValue("config", HaveKeyWithValue("minute", BeEquivalentTo(5))))
	})
})

// A backup that was restored without status is looked at under Observe before anything is
// trusted to it.
var _ = Describe("A plugin of a restored binding that only observes", func() {
	It("is left too when that binding is deleted, although its ID was not recorded again", func() {
		s := newStory()
		binding := s.created(s.binding("limit"))
		s.stopOperator()
		s.forceDelete(binding)
		restored := s.binding("limit", observing, func(b *v1alpha1.PluginBinding) { b.Finalizers = []string{v1alpha1.PluginFinalizer} })
		s.create(restored)
		t := s.steer(func(o *controllers.Options) { o.RemoveOrphans = true })
		t.becomes(restored, metav1.ConditionFalse, v1alpha1.ReasonWouldChange)
		unchanged := t.kongAsItWas()
		Expect(k8s.Delete(t.ctx, restored)).To(Succeed())
		t.gone(restored)
		t.sweepTimes(2)
		unchanged()
		Eventually(t.notes).WithArguments(restored, "PluginLeft").Should(ConsistOf(ContainSubstring(string(binding.Status.PluginID))))
	})
})

var _ = Describe("A plugin of a binding that is made under Observe", func() {
	It("is held from when it is found, and left too", func() {
		s := newStory()
		binding := s.created(s.binding("limit"))
		s.stopOperator()
		s.forceDelete(binding)
		t := s.steer(func(o *controllers.Options) { o.RemoveOrphans = true })
		restored := t.binding("limit", observing)
		t.create(restored)
		t.becomes(restored, metav1.ConditionFalse, v1alpha1.ReasonWouldChange)
		Expect(restored.Finalizers).To(ContainElement(v1alpha1.PluginFinalizer))
		unchanged := t.kongAsItWas()
		Expect(k8s.Delete(t.ctx, restored)).To(Succeed())
		t.gone(restored)
		t.sweepTimes(2)
		unchanged()
	})

	It("is not waited for where there is none", func() {
		s := newStory()
		binding := s.binding("limit", observing)
		s.create(binding)
		s.becomes(binding, metav1.ConditionFalse, v1alpha1.ReasonWouldChange)
		Expect(binding.Finalizers).To(BeEmpty())
	})
})

var _ = Describe("A plugin that was left and is managed again", func() {
	It("is not spared for ever: its orphan is reported as any other", func() {
		s := newQuietStory().steer()
		binding := s.created(s.binding("limit"))
		change(s.story, binding, observing)
		s.becomes(binding, metav1.ConditionTrue, v1alpha1.ReasonObserved)
		Expect(k8s.Delete(s.ctx, binding)).To(Succeed())
		s.gone(binding)
		again := s.created(s.binding("limit"))
		Expect(again.Status.PluginID).To(Equal(binding.Status.PluginID))
		s.sweep(2 * time.Minute)

		By("losing its binding by force")
		change(s.story, again, pausing)
		s.becomes(again, metav1.ConditionUnknown, v1alpha1.ReasonPaused)
		Expect(k8s.Delete(s.ctx, again)).To(Succeed())
		change(s.story, again, func(b *v1alpha1.PluginBinding) { b.Finalizers = nil })
		s.gone(again)
		Expect(s.sweep(2 * time.Minute).Status.LastResync.Orphaned).To(BeEquivalentTo(1))
	})
})
