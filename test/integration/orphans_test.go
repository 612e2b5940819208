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

// liveLook stands in for the API server where the operator asks it for one binding itself.
type liveLook struct {
	client.Reader
	key    client.ObjectKey
	answer func(asked func() error) error
}

func (l liveLook) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	asked := func() error { return l.Reader.Get(ctx, key, object, options...) }
	if _, isBinding := object.(*v1alpha1.PluginBinding); isBinding && key == l.key {
		return l.answer(asked)
	}
	return asked()
}

var _ = Describe("An orphan: a plugin with the marks of a binding that does not exist", func() {
	removing := func(o *controllers.Options) { o.RemoveOrphans = true }
	abandon := func(s *story, namespace, name string) string {
		return s.kong.Seed("plugins", map[string]any{"name": "cors", "tags": owner(namespace, name)})["id"].(string)
	}
	reported := func(s steered, gw *v1alpha1.KongGateway, id, name string) {
		GinkgoHelper()
		Eventually(s.notes).WithArguments(gw, "OrphanedPlugins").Should(ConsistOf(And(
			ContainSubstring(id), ContainSubstring(s.namespace+"/"+name))))
	}

	It("is reported at once, and removed a minute later, when a live look finds no binding either", func() {
		var looked atomic.Int64
		s := newQuietStory()
		id := abandon(s, s.namespace, "never-was")
		mine := s.binding("mine")
		s.create(mine)
		t := s.steer(removing, func(o *controllers.Options) {
			o.Live = liveLook{k8s, client.ObjectKey{Namespace: s.namespace, Name: "never-was"}, func(asked func() error) error {
				looked.Add(1)
				return asked()
			}}
		})
		t.ready(mine)
		gw := t.gateway("kong")
		t.reload(Default, gw)
		Expect(gw.Status.LastResync.Orphaned).To(BeEquivalentTo(1))
		reported(t, gw, id, "never-was")

		t.sweep(30 * time.Second)
		Expect(t.kong.Plugin(id)).NotTo(BeNil(), "it was first seen half a minute ago")
		Expect(looked.Load()).To(BeZero())

		gw = t.sweep(31 * time.Second)
		Expect(t.kong.Plugin(id)).To(BeNil())
		Expect(looked.Load()).To(BeNumerically(">=", 1))
		Eventually(t.notes).WithArguments(gw, "OrphanRemoved").Should(ConsistOf(And(ContainSubstring(id), ContainSubstring(t.namespace+"/never-was"))))

		gw = t.sweep(time.Minute)
		Expect(gw.Status.LastResync.Orphaned).To(BeZero())
		Expect(t.owned(mine)).To(HaveLen(1), "and nothing else")
		Expect(t.kong.Plugins()).To(HaveLen(1))
	})

	It("is only reported unless its removal is allowed", func() {
		s := newQuietStory()
		id := abandon(s, s.namespace, "never-was")
		t := s.steer()
		unchanged := t.kongAsItWas()
		gw := t.sweepTimes(3)
		unchanged()
		reported(t, gw, id, "never-was")
		Expect(t.events(gw)).NotTo(ContainElement("OrphanRemoved"))
	})

	It("is only reported when it is older than the cluster: its binding may still be restored", func() {
		s := newQuietStory()
		id := abandon(s, s.namespace, "not-yet")
		t := s.steer(removing, func(o *controllers.Options) { o.Since = time.Now().Add(time.Minute) })
		unchanged := t.kongAsItWas()
		gw := t.sweepTimes(3)
		unchanged()
		reported(t, gw, id, "not-yet")
		Expect(t.events(gw)).NotTo(ContainElement("OrphanRemoved"))
	})

	It("is also a plugin in a Kong that the gateway of its binding does not lead to any more, and is only reported", func() {
		s := newQuietStory()
		other := kongtest.New()
		DeferCleanup(other.Close)
		other.Seed("services", map[string]any{"name": "orders", "url": "http://127.0.0.1:9"})
		t := s.steer(removing)
		binding := t.created(t.binding("limit"))
		id := string(binding.Status.PluginID)
		change(s, t.gateway("kong"), func(gw *v1alpha1.KongGateway) { gw.Spec.AdminURL = other.URL() })
		Eventually(other.Plugin).WithArguments(id).ShouldNot(BeNil(), "it is there under its ID")
		unchanged := t.kongAsItWas()
		t.create(t.gateway("old"))
		var gw *v1alpha1.KongGateway
		for range 3 {
			gw = t.sweepOf("old", 2*time.Minute)
		}
		unchanged()
		Eventually(t.notes).WithArguments(gw, "OrphanedPlugins").Should(ConsistOf(And(
			ContainSubstring(id), ContainSubstring("on KongGateway "+t.namespace+"/kong now"))))
		Expect(gw.Status.LastResync.Orphaned).To(BeEquivalentTo(1))
		Expect(t.ready(binding).Status.PluginID).To(BeEquivalentTo(id))
	})

	It("is none when its binding exists, whatever state that is in", func() {
		s := newQuietStory()
		binding := s.binding("limit", pausing)
		s.create(binding)
		id := abandon(s, s.namespace, "limit")
		t := s.steer(removing)
		unchanged := t.kongAsItWas()
		gw := t.sweepTimes(3)
		unchanged()
		Expect(t.kong.Plugin(id)).NotTo(BeNil())
		Expect(gw.Status.LastResync.Plugins).To(BeEquivalentTo(1))
		Expect(gw.Status.LastResync.Orphaned).To(BeZero())
		Expect(t.events(gw)).NotTo(ContainElement(HavePrefix("Orphan")))
	})

	It("is also a second plugin of a binding that has recorded the first, unless its author lets the operator only look", func() {
		s := newQuietStory()
		binding := s.binding("limit")
		s.create(binding)
		t := s.steer(removing)
		first := string(t.ready(binding).Status.PluginID)
		// As it stays from a binding of that name whose finalizer was taken off by force.
		second := abandon(s, s.namespace, "limit")
		gw := t.sweep(2 * time.Minute)
		Expect(gw.Status.LastResync.Orphaned).To(BeEquivalentTo(1))
		reported(t, gw, second, "limit")
		Expect(t.notes(gw, "OrphanedPlugins")).To(ConsistOf(ContainSubstring(first)), "it says which one is the binding's")
		Expect(t.kong.Plugin(second)).NotTo(BeNil(), "it was first seen just now")

		change(s, binding, func(b *v1alpha1.PluginBinding) { b.Spec.ManagementPolicy = v1alpha1.ObservePlugin })
		t.becomes(binding, metav1.ConditionTrue, v1alpha1.ReasonObserved)
		t.sweep(2 * time.Minute)
		Expect(t.kong.Plugin(second)).NotTo(BeNil(), "the operator may only look")
		change(s, binding, func(b *v1alpha1.PluginBinding) { b.Spec.ManagementPolicy = v1alpha1.ManagePlugin })
		t.ready(binding)

		gw = t.sweep(2 * time.Minute)
		Expect(t.kong.Plugin(second)).To(BeNil())
		Eventually(t.notes).WithArguments(gw, "OrphanRemoved").Should(ConsistOf(And(ContainSubstring(second), ContainSubstring(first))))
		Expect(t.kong.Plugin(first)).NotTo(BeNil())
		Expect(string(t.ready(binding).Status.PluginID)).To(Equal(first))
	})

	It("is none that can be judged when its namespace is not watched, or its cluster is another", func() {
		s := newQuietStory()
		abandon(s, "elsewhere", "never-was")
		s.kong.Seed("plugins", map[string]any{"name": "acl", "config": map[string]any{"allow": []any{"a"}}, "tags": []any{
			"managed-by:plugin-binding-operator", "k8s-cluster:another", "k8s-kind:PluginBinding",
			"k8s-namespace:" + s.namespace, "k8s-name:never-was", "k8s-uid:0",
		}})
		t := s.steer(removing)
		unchanged := t.kongAsItWas()
		gw := t.sweepTimes(3)
		unchanged()
		Expect(gw.Status.LastResync.Orphaned).To(BeZero())
		Expect(t.events(gw)).NotTo(ContainElement(HavePrefix("Orphan")))
	})

	DescribeTable("stays when the live look does not say that there is no binding",
		func(answer error) {
			s := newQuietStory()
			id := abandon(s, s.namespace, "just-made")
			var looked atomic.Int64
			t := s.steer(removing, func(o *controllers.Options) {
				o.Live = liveLook{k8s, client.ObjectKey{Namespace: s.namespace, Name: "just-made"}, func(func() error) error {
					looked.Add(1)
					return answer
				}}
			})
			unchanged := t.kongAsItWas()
			gw := t.sweepTimes(2)
			Expect(looked.Load()).To(BeNumerically(">=", 2))
			unchanged()
			reported(t, gw, id, "just-made")
			Expect(t.events(gw)).NotTo(ContainElement("OrphanRemoved"))
		},
		Entry("but that there is one, which the cache does not show yet", nil),
		Entry("but nothing", errors.New("the API server is busy")),
	)

	It("stays when it bears somebody else's marks by the time it would be removed", func() {
		s := newQuietStory()
		id := abandon(s, s.namespace, "never-was")
		t := s.steer(removing, func(o *controllers.Options) {
			o.Live = liveLook{k8s, client.ObjectKey{Namespace: s.namespace, Name: "never-was"}, func(asked func() error) error {
				s.kong.EditPlugin(id, map[string]any{"tags": []any{"managed-by:terraform"}})
				return asked()
			}}
		})
		gw := t.sweep(2 * time.Minute)
		Expect(t.kong.Plugin(id)).To(HaveKeyWithValue("tags", ConsistOf("managed-by:terraform")))
		Expect(t.kong.Journal().Writes()).To(BeEmpty())
		Expect(t.events(gw)).NotTo(ContainElement("OrphanRemoved"))
	})
})
