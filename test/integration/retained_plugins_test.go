package integration

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/controllers"
)

var _ = Describe("A plugin that is left in Kong", func() {
	It("under managementPolicy Observe keeps its marks, and no sweep takes it for an orphan", func() {
		env := newEnvWithoutOperator().withFakeClock(func(o *controllers.Options) { o.RemoveOrphans = true })
		binding := env.createReady(env.binding("limit"))
		change(env.testEnv, binding, observeOnly)
		env.waitForReady(binding, metav1.ConditionTrue, v1alpha1.ReasonObserved)
		unchanged := env.snapshotKong()
		Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
		env.waitUntilGone(binding)
		id := string(binding.Status.PluginID)
		Eventually(env.eventNotes).WithArguments(binding, "PluginLeft").Should(ConsistOf(And(ContainSubstring(id), ContainSubstring("Observe"))))

		gw := env.gateway("kong")
		env.reload(Default, gw)
		Expect(gw.Status.RetainedPlugins).To(Equal([]v1alpha1.RetainedPlugins{{Namespace: env.namespace, PluginIDs: []string{id}}}))
		Expect(gw.Annotations).NotTo(HaveKey(v1alpha1.RetainedPluginsAnnotation))
		gw = env.resyncTimes(3)
		unchanged()
		Expect(env.ownedPlugins(binding)).To(HaveLen(1))
		Expect(gw.Status.LastResync.Plugins).To(BeEquivalentTo(1))
		Expect(gw.Status.LastResync.Orphaned).To(BeZero())
		Expect(env.eventReasons(gw)).NotTo(ContainElement(HavePrefix("Orphan")))

		By("not taking it for one through another gateway of that Kong either")
		env.create(env.gateway("again"))
		for range 3 {
			Expect(env.resyncGateway("again", 2*time.Minute).Status.LastResync.Orphaned).To(BeZero())
		}
		unchanged()
		other := env.gateway("again")
		Expect(k8s.Delete(env.ctx, other)).To(Succeed())
		env.waitUntilGone(other)

		By("moving it from the annotation, where an earlier version kept it")
		forget := func() {
			env.reload(Default, gw)
			base := gw.DeepCopy()
			gw.Status.RetainedPlugins = nil
			Expect(k8s.Status().Patch(env.ctx, gw, client.MergeFrom(base))).To(Succeed())
		}
		forget() // first: a resync that is due moves the annotation at once
		change(env.testEnv, gw, func(gw *v1alpha1.KongGateway) {
			metav1.SetMetaDataAnnotation(&gw.ObjectMeta, v1alpha1.RetainedPluginsAnnotation, id+","+unusedID)
		})
		gw = env.resync(2 * time.Minute)
		Expect(gw.Status.LastResync.Orphaned).To(BeZero())
		Eventually(func(g Gomega) {
			env.reload(g, gw)
			g.Expect(gw.Status.RetainedPlugins).To(HaveLen(1))
			g.Expect(gw.Annotations).To(HaveKeyWithValue(v1alpha1.RetainedPluginsAnnotation, unusedID), "Kong does not have it now")
		}).Should(Succeed())
		change(env.testEnv, gw, func(gw *v1alpha1.KongGateway) { delete(gw.Annotations, v1alpha1.RetainedPluginsAnnotation) })

		By("reporting it once a person takes its ID out of the status")
		forget()
		gw = env.resync(2 * time.Minute)
		Expect(gw.Status.LastResync.Orphaned).To(BeEquivalentTo(1))
		Eventually(env.eventNotes).WithArguments(gw, "OrphanedPlugins").Should(ConsistOf(ContainSubstring(id)))
	})

	It("of several bindings is noted with all of them, and found again by a binding of its name", func() {
		env := newTestEnv()
		first := env.createReady(env.binding("first"))
		second := env.createReady(env.binding("second", withPlugin("correlation-id", "")))
		for _, binding := range []*v1alpha1.PluginBinding{first, second} {
			change(env, binding, observeOnly)
			env.waitForReady(binding, metav1.ConditionTrue, v1alpha1.ReasonObserved)
			Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
			env.waitUntilGone(binding)
		}
		gw := env.gateway("kong")
		env.reload(Default, gw)
		Expect(gw.Status.RetainedPlugins).To(HaveLen(1))
		Expect(gw.Status.RetainedPlugins[0].PluginIDs).To(Equal([]string{string(first.Status.PluginID), string(second.Status.PluginID)}))

		again := env.createReady(env.binding("first"))
		Expect(again.Status.PluginID).To(Equal(first.Status.PluginID))
		Expect(again.Status.PluginIDSource).To(Equal(v1alpha1.PluginIDRecovered))
		Eventually(env.eventNotes).WithArguments(again, "Recovered").Should(ConsistOf(ContainSubstring(string(again.Status.PluginID))))
	})

	It("because its marks were taken off by hand is named in an event", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit"))
		id := string(binding.Status.PluginID)
		taken := env.kong.EditPlugin(id, map[string]any{"tags": []any{"team:orders"}, "instance_name": "ours-now"})
		unchanged := env.snapshotKong()
		Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
		env.waitUntilGone(binding)
		unchanged()
		Expect(env.kong.Plugin(id)).To(Equal(taken))
		Eventually(env.eventNotes).WithArguments(binding, "PluginLeft").Should(ConsistOf(ContainSubstring(id)))
	})
})

var _ = Describe("managementPolicy Observe, in sync", func() {
	It("is Ready with a reason of its own, and says so again after a restart", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit"))
		change(env, binding, observeOnly)
		env.waitForReady(binding, metav1.ConditionTrue, v1alpha1.ReasonObserved)
		Expect(readyMessage(binding)).To(ContainSubstring(string(binding.Status.PluginID)))
		unchanged := env.snapshotKong()
		env.expectNoStatusWrite(binding)
		env.stopOperator()
		env.startOperator()
		env.waitForGateway()
		env.expectNoStatusWrite(binding)
		unchanged()

		env.kong.EditPlugin(string(binding.Status.PluginID), map[string]any{"config": map[string]any{"minute": 7}})
		env.requestReconcile(binding)
		env.waitForReady(binding, metav1.ConditionFalse, v1alpha1.ReasonWouldChange)
		change(env, binding, func(b *v1alpha1.PluginBinding) { b.Spec.ManagementPolicy = v1alpha1.ManagePlugin })
		env.waitUntilReady(binding)
		Expect(env.kongPlugin(binding)).To(HaveKeyWithValue("config", HaveKeyWithValue("minute", BeEquivalentTo(5))))
	})
})

// After a restore without status, a user first lets the operator observe only.
var _ = Describe("A plugin of a restored binding that only observes", func() {
	It("is left too when that binding is deleted, although its ID was not recorded again", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit"))
		env.stopOperator()
		env.forceDelete(binding)
		restored := env.binding("limit", observeOnly, func(b *v1alpha1.PluginBinding) { b.Finalizers = []string{v1alpha1.PluginFinalizer} })
		env.create(restored)
		timed := env.withFakeClock(func(o *controllers.Options) { o.RemoveOrphans = true })
		timed.waitForReady(restored, metav1.ConditionFalse, v1alpha1.ReasonWouldChange)
		unchanged := timed.snapshotKong()
		Expect(k8s.Delete(timed.ctx, restored)).To(Succeed())
		timed.waitUntilGone(restored)
		timed.resyncTimes(2)
		unchanged()
		Eventually(timed.eventNotes).WithArguments(restored, "PluginLeft").Should(ConsistOf(ContainSubstring(string(binding.Status.PluginID))))
	})
})

var _ = Describe("A plugin of a binding that is made under Observe", func() {
	It("is held from when it is found, and left too", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit"))
		env.stopOperator()
		env.forceDelete(binding)
		timed := env.withFakeClock(func(o *controllers.Options) { o.RemoveOrphans = true })
		restored := timed.binding("limit", observeOnly)
		timed.create(restored)
		timed.waitForReady(restored, metav1.ConditionFalse, v1alpha1.ReasonWouldChange)
		Expect(restored.Finalizers).To(ContainElement(v1alpha1.PluginFinalizer))
		unchanged := timed.snapshotKong()
		Expect(k8s.Delete(timed.ctx, restored)).To(Succeed())
		timed.waitUntilGone(restored)
		timed.resyncTimes(2)
		unchanged()
	})

	It("is not waited for where there is none", func() {
		env := newTestEnv()
		binding := env.binding("limit", observeOnly)
		env.create(binding)
		env.waitForReady(binding, metav1.ConditionFalse, v1alpha1.ReasonWouldChange)
		Expect(binding.Finalizers).To(BeEmpty())
	})
})

var _ = Describe("A plugin that was left and is managed again", func() {
	It("is not spared for ever: its orphan is reported as any other", func() {
		env := newEnvWithoutOperator().withFakeClock()
		binding := env.createReady(env.binding("limit"))
		change(env.testEnv, binding, observeOnly)
		env.waitForReady(binding, metav1.ConditionTrue, v1alpha1.ReasonObserved)
		Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
		env.waitUntilGone(binding)
		again := env.createReady(env.binding("limit"))
		Expect(again.Status.PluginID).To(Equal(binding.Status.PluginID))
		env.resync(2 * time.Minute)

		By("losing its binding by force")
		change(env.testEnv, again, paused)
		env.waitForReady(again, metav1.ConditionUnknown, v1alpha1.ReasonPaused)
		Expect(k8s.Delete(env.ctx, again)).To(Succeed())
		change(env.testEnv, again, func(b *v1alpha1.PluginBinding) { b.Finalizers = nil })
		env.waitUntilGone(again)
		Expect(env.resync(2 * time.Minute).Status.LastResync.Orphaned).To(BeEquivalentTo(1))
	})
})
