package integration

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/controllers"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// stubAPIReader responds to the operator's uncached reads of one binding.
type stubAPIReader struct {
	client.Reader
	key     client.ObjectKey
	respond func(asked func() error) error
}

func (l stubAPIReader) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	asked := func() error { return l.Reader.Get(ctx, key, object, options...) }
	if _, isBinding := object.(*v1alpha1.PluginBinding); isBinding && key == l.key {
		return l.respond(asked)
	}
	return asked()
}

var _ = Describe("An orphan: a plugin with the marks of a binding that does not exist", func() {
	removing := func(o *controllers.Options) { o.RemoveOrphans = true }
	abandon := func(env *testEnv, namespace, name string) string {
		return env.kong.Seed("plugins", map[string]any{"name": "cors", "tags": ownershipTags(namespace, name)})["id"].(string)
	}
	reported := func(env fakeClockEnv, gw *v1alpha1.KongGateway, id, name string) {
		GinkgoHelper()
		Eventually(env.eventNotes).WithArguments(gw, "OrphanedPlugins").Should(ConsistOf(And(
			ContainSubstring(id), ContainSubstring(env.namespace+"/"+name))))
	}

	It("is reported at once, and removed a minute later, when a live look finds no binding either", func() {
		var looked atomic.Int64
		env := newEnvWithoutOperator()
		id := abandon(env, env.namespace, "never-was")
		mine := env.binding("mine")
		env.create(mine)
		timed := env.withFakeClock(removing, func(o *controllers.Options) {
			o.APIReader = stubAPIReader{k8s, client.ObjectKey{Namespace: env.namespace, Name: "never-was"}, func(asked func() error) error {
				looked.Add(1)
				return asked()
			}}
		})
		timed.waitUntilReady(mine)
		gw := timed.gateway("kong")
		timed.reload(Default, gw)
		Expect(gw.Status.LastResync.Orphaned).To(BeEquivalentTo(1))
		reported(timed, gw, id, "never-was")

		timed.resync(30 * time.Second)
		Expect(timed.kong.Plugin(id)).NotTo(BeNil(), "it was first seen half a minute ago")
		Expect(looked.Load()).To(BeZero())

		gw = timed.resync(31 * time.Second)
		Expect(timed.kong.Plugin(id)).To(BeNil())
		Expect(looked.Load()).To(BeNumerically(">=", 1))
		Eventually(timed.eventNotes).WithArguments(gw, "OrphanRemoved").Should(ConsistOf(And(ContainSubstring(id), ContainSubstring(timed.namespace+"/never-was"))))

		gw = timed.resync(time.Minute)
		Expect(gw.Status.LastResync.Orphaned).To(BeZero())
		Expect(timed.ownedPlugins(mine)).To(HaveLen(1), "and nothing else")
		Expect(timed.kong.Plugins()).To(HaveLen(1))
	})

	It("is only reported unless its removal is allowed", func() {
		env := newEnvWithoutOperator()
		id := abandon(env, env.namespace, "never-was")
		timed := env.withFakeClock()
		unchanged := timed.snapshotKong()
		gw := timed.resyncTimes(3)
		unchanged()
		reported(timed, gw, id, "never-was")
		Expect(timed.eventReasons(gw)).NotTo(ContainElement("OrphanRemoved"))
	})

	It("is only reported when it is older than the cluster: its binding may still be restored", func() {
		env := newEnvWithoutOperator()
		id := abandon(env, env.namespace, "not-yet")
		timed := env.withFakeClock(removing, func(o *controllers.Options) { o.ClusterCreatedAt = time.Now().Add(time.Minute) })
		unchanged := timed.snapshotKong()
		gw := timed.resyncTimes(3)
		unchanged()
		reported(timed, gw, id, "not-yet")
		Expect(timed.eventReasons(gw)).NotTo(ContainElement("OrphanRemoved"))
	})

	It("is also a plugin in a Kong that the gateway of its binding does not lead to any more, and is only reported", func() {
		env := newEnvWithoutOperator()
		other := kongtest.New()
		DeferCleanup(other.Close)
		other.Seed("services", map[string]any{"name": "orders", "url": "http://127.0.0.1:9"})
		timed := env.withFakeClock(removing)
		binding := timed.createReady(timed.binding("limit"))
		id := string(binding.Status.PluginID)
		change(env, timed.gateway("kong"), func(gw *v1alpha1.KongGateway) { gw.Spec.AdminURL = other.URL() })
		Eventually(other.Plugin).WithArguments(id).ShouldNot(BeNil(), "it is there under its ID")
		unchanged := timed.snapshotKong()
		timed.create(timed.gateway("old"))
		var gw *v1alpha1.KongGateway
		for range 3 {
			gw = timed.resyncGateway("old", 2*time.Minute)
		}
		unchanged()
		Eventually(timed.eventNotes).WithArguments(gw, "OrphanedPlugins").Should(ConsistOf(And(
			ContainSubstring(id), ContainSubstring("uses KongGateway "+timed.namespace+"/kong now"))))
		Expect(gw.Status.LastResync.Orphaned).To(BeEquivalentTo(1))
		Expect(timed.waitUntilReady(binding).Status.PluginID).To(BeEquivalentTo(id))
	})

	It("is none when its binding exists, whatever state that is in", func() {
		env := newEnvWithoutOperator()
		binding := env.binding("limit", paused)
		env.create(binding)
		id := abandon(env, env.namespace, "limit")
		timed := env.withFakeClock(removing)
		unchanged := timed.snapshotKong()
		gw := timed.resyncTimes(3)
		unchanged()
		Expect(timed.kong.Plugin(id)).NotTo(BeNil())
		Expect(gw.Status.LastResync.Plugins).To(BeEquivalentTo(1))
		Expect(gw.Status.LastResync.Orphaned).To(BeZero())
		Expect(timed.eventReasons(gw)).NotTo(ContainElement(HavePrefix("Orphan")))
	})

	It("is also a second plugin of a binding that has recorded the first, unless its author lets the operator only look", func() {
		env := newEnvWithoutOperator()
		binding := env.binding("limit")
		env.create(binding)
		timed := env.withFakeClock(removing)
		first := string(timed.waitUntilReady(binding).Status.PluginID)
		// Such a plugin remains when somebody removes the finalizer of a binding.
		second := abandon(env, env.namespace, "limit")
		gw := timed.resync(2 * time.Minute)
		Expect(gw.Status.LastResync.Orphaned).To(BeEquivalentTo(1))
		reported(timed, gw, second, "limit")
		Expect(timed.eventNotes(gw, "OrphanedPlugins")).To(ConsistOf(ContainSubstring(first)), "it says which one is the binding's")
		Expect(timed.kong.Plugin(second)).NotTo(BeNil(), "it was first seen just now")

		change(env, binding, func(b *v1alpha1.PluginBinding) { b.Spec.ManagementPolicy = v1alpha1.ObservePlugin })
		timed.waitForReady(binding, metav1.ConditionTrue, v1alpha1.ReasonObserved)
		timed.resync(2 * time.Minute)
		Expect(timed.kong.Plugin(second)).NotTo(BeNil(), "the operator may only look")
		change(env, binding, func(b *v1alpha1.PluginBinding) { b.Spec.ManagementPolicy = v1alpha1.ManagePlugin })
		timed.waitUntilReady(binding)

		gw = timed.resync(2 * time.Minute)
		Expect(timed.kong.Plugin(second)).To(BeNil())
		Eventually(timed.eventNotes).WithArguments(gw, "OrphanRemoved").Should(ConsistOf(And(ContainSubstring(second), ContainSubstring(first))))
		Expect(timed.kong.Plugin(first)).NotTo(BeNil())
		Expect(string(timed.waitUntilReady(binding).Status.PluginID)).To(Equal(first))
	})

	It("is none that can be judged when its namespace is not watched, or its cluster is another", func() {
		env := newEnvWithoutOperator()
		abandon(env, "elsewhere", "never-was")
		env.kong.Seed("plugins", map[string]any{"name": "acl", "config": map[string]any{"allow": []any{"a"}}, "tags": []any{
			"managed-by:plugin-binding-operator", "k8s-cluster:another", "k8s-kind:PluginBinding",
			"k8s-namespace:" + env.namespace, "k8s-name:never-was", "k8s-uid:0",
		}})
		timed := env.withFakeClock(removing)
		unchanged := timed.snapshotKong()
		gw := timed.resyncTimes(3)
		unchanged()
		Expect(gw.Status.LastResync.Orphaned).To(BeZero())
		Expect(timed.eventReasons(gw)).NotTo(ContainElement(HavePrefix("Orphan")))
	})

	DescribeTable("stays when the live look does not say that there is no binding",
		func(answer error) {
			env := newEnvWithoutOperator()
			id := abandon(env, env.namespace, "just-made")
			var looked atomic.Int64
			timed := env.withFakeClock(removing, func(o *controllers.Options) {
				o.APIReader = stubAPIReader{k8s, client.ObjectKey{Namespace: env.namespace, Name: "just-made"}, func(func() error) error {
					looked.Add(1)
					return answer
				}}
			})
			unchanged := timed.snapshotKong()
			gw := timed.resyncTimes(2)
			Expect(looked.Load()).To(BeNumerically(">=", 2))
			unchanged()
			reported(timed, gw, id, "just-made")
			Expect(timed.eventReasons(gw)).NotTo(ContainElement("OrphanRemoved"))
		},
		Entry("but that there is one, which the cache does not show yet", nil),
		Entry("but nothing", errors.New("the API server is busy")),
	)

	It("stays when it bears somebody else's marks by the time it would be removed", func() {
		env := newEnvWithoutOperator()
		id := abandon(env, env.namespace, "never-was")
		timed := env.withFakeClock(removing, func(o *controllers.Options) {
			o.APIReader = stubAPIReader{k8s, client.ObjectKey{Namespace: env.namespace, Name: "never-was"}, func(asked func() error) error {
				env.kong.EditPlugin(id, map[string]any{"tags": []any{"managed-by:terraform"}})
				return asked()
			}}
		})
		gw := timed.resync(2 * time.Minute)
		Expect(timed.kong.Plugin(id)).To(HaveKeyWithValue("tags", ConsistOf("managed-by:terraform")))
		Expect(timed.kong.Journal().Writes()).To(BeEmpty())
		Expect(timed.eventReasons(gw)).NotTo(ContainElement("OrphanRemoved"))
	})
})
