package integration

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/controllers"
)

// shard is one of several operators with the same cluster ID. Each manages the objects with its
// label.
type shard struct {
	fakeClockEnv
	label string
}

// newShards starts two of them. Both watch both namespaces. Each has a gateway, in a namespace
// of its own, for the same Kong.
func newShards() (first, second shard) {
	GinkgoHelper()
	one := newEnvWithoutOperator()
	namespace := one.newNamespace(nil)
	two := &testEnv{ctx: one.ctx, namespace: namespace, namespaces: one.namespaces, kong: one.kong}
	two.create(two.gateway("kong"))
	return one.shard("1"), two.shard("2")
}

// shard labels the gateway and starts the operator that manages it.
func (env *testEnv) shard(label string) shard {
	GinkgoHelper()
	change(env, env.gateway("kong"), func(gw *v1alpha1.KongGateway) { gw.Labels = map[string]string{"shard": label} })
	return shard{env.withFakeClock(func(o *controllers.Options) {
		o.Selector, o.RemoveOrphans = labels.SelectorFromSet(labels.Set{"shard": label}), true
	}), label}
}

// withLabel gives a binding the label of the shard.
func (env shard) withLabel(binding *v1alpha1.PluginBinding) {
	binding.Labels = map[string]string{"shard": env.label}
}

// expectNoOrphans resyncs the shard's gateway, which must not report an orphan.
func (env shard) expectNoOrphans(plugins int) {
	GinkgoHelper()
	gw := env.resync(2 * time.Minute)
	Eventually(func(g Gomega) {
		env.reload(g, gw)
		g.Expect(gw.Status.LastResync.Plugins).To(BeEquivalentTo(plugins), "all of the cluster's, whichever shard's")
	}).Should(Succeed())
	Expect(gw.Status.LastResync.Orphaned).To(BeZero())
	Expect(env.eventReasons(gw)).NotTo(ContainElement(HavePrefix("Orphan")))
}

var _ = Describe("Operators that share a fleet by their selectors", func() {
	It("take no plugin of another's binding for an orphan, and leave it alone", func() {
		first, second := newShards()
		mine := first.createReady(first.binding("limit", first.withLabel))
		theirs := second.createReady(second.binding("trace", second.withLabel, withPlugin("correlation-id", "")))
		unchanged := first.snapshotKong()
		for range 3 {
			first.expectNoOrphans(2)
			second.expectNoOrphans(2)
		}
		unchanged()

		By("letting each binding go with its plugin alone")
		Expect(k8s.Delete(first.ctx, mine)).To(Succeed())
		first.waitUntilGone(mine)
		Expect(first.kong.Plugins()).To(HaveLen(1))
		Expect(second.ownedPlugins(theirs)).To(HaveLen(1))
		for range 2 {
			first.expectNoOrphans(1)
			second.expectNoOrphans(1)
		}
		Expect(k8s.Delete(second.ctx, theirs)).To(Succeed())
		second.waitUntilGone(theirs)
		Expect(second.kong.Plugins()).To(BeEmpty())
	})

	It("still find and remove what is no binding's at all", func() {
		first, second := newShards()
		theirs := second.createReady(second.binding("trace", second.withLabel, withPlugin("correlation-id", "")))
		id := first.kong.Seed("plugins", map[string]any{"name": "cors", "tags": ownershipTags(second.namespace, "never-was")})["id"].(string)
		gw := first.resync(2 * time.Minute)
		Expect(gw.Status.LastResync.Orphaned).To(BeEquivalentTo(1))
		Expect(first.kong.Plugin(id)).NotTo(BeNil(), "it was first seen just now")
		first.resync(2 * time.Minute)
		Expect(first.kong.Plugin(id)).To(BeNil())
		Eventually(first.eventNotes).WithArguments(gw, "OrphanRemoved").Should(ConsistOf(ContainSubstring(id)))
		Expect(second.ownedPlugins(theirs)).To(HaveLen(1))
		second.expectNoOrphans(1)
	})
})
