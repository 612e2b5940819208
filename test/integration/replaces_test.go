package integration

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

var _ = Describe("A binding that gets another name", func() {
	// rename creates the new binding and deletes the old one, one right after the other, and returns
	// the new one when it is Ready and the old one is gone.
	rename := func(env *exchangeEnv, old *v1alpha1.PluginBinding, name string, first, then func(old, renamed *v1alpha1.PluginBinding)) *v1alpha1.PluginBinding {
		GinkgoHelper()
		renamed := env.binding(name, func(b *v1alpha1.PluginBinding) {
			b.Spec.Scope = old.Spec.Scope
			b.Spec.Replaces = &v1alpha1.BindingRef{Name: old.Name}
		})
		first(old, renamed)
		then(old, renamed)
		env.waitUntilReady(renamed)
		env.waitUntilGone(old)
		return renamed
	}
	expectNoGap := func(env *exchangeEnv, id v1alpha1.UUID, binding *v1alpha1.PluginBinding) {
		GinkgoHelper()
		env.reload(Default, binding)
		Expect(binding.Status.PluginID).To(Equal(id))
		Expect(binding.Status.PluginIDSource).To(Equal(v1alpha1.PluginIDReplaced))
		Expect(env.longestGap("s1-a")).To(BeZero())
		for _, write := range env.kong.Journal().Since(env.mark).Writes() {
			Expect(write.Kind).To(Equal("update"), "no plugin is deleted or created on the way")
		}
		Expect(env.kong.Plugins()).To(HaveLen(1))
	}

	It("keeps its plugin, its ID and its protection, five times in a row", func() {
		env := newExchangeEnv()
		binding := env.ready(onRoute("s1-a"))[0]
		id := binding.Status.PluginID
		for i := range 5 {
			binding = rename(env, binding, fmt.Sprintf("name-%d", i),
				func(_, renamed *v1alpha1.PluginBinding) { env.create(renamed) },
				func(old, _ *v1alpha1.PluginBinding) { Expect(k8s.Delete(env.ctx, old)).To(Succeed()) })
			expectNoGap(env, id, binding)
		}
	})

	It("keeps them when the old binding is deleted first, if that one waits for a replacement", func() {
		env := newExchangeEnv()
		old := env.createReady(env.binding("old", func(b *v1alpha1.PluginBinding) {
			b.Spec.Scope = onRoute("s1-a")
			b.Spec.AllowReplacementFrom = []v1alpha1.NamespaceName{v1alpha1.NamespaceName(env.namespace)}
		}))
		env.begin()
		renamed := rename(env, old, "new",
			func(old, _ *v1alpha1.PluginBinding) {
				Expect(k8s.Delete(env.ctx, old)).To(Succeed())
				env.waitForReady(old, metav1.ConditionUnknown, v1alpha1.ReasonDeleting)
			},
			func(_, renamed *v1alpha1.PluginBinding) { env.create(renamed) })
		expectNoGap(env, old.Status.PluginID, renamed)
	})

	It("waits for the plugin of a binding that has none yet", func() {
		env := newExchangeEnv()
		old := env.binding("old", func(b *v1alpha1.PluginBinding) { b.Spec.Scope = onRoute("s1-x") })
		env.create(old)
		renamed := env.binding("new", func(b *v1alpha1.PluginBinding) {
			b.Spec.Scope = onRoute("s1-a")
			b.Spec.Replaces = &v1alpha1.BindingRef{Name: "old"}
		})
		env.create(renamed)
		env.waitForReady(renamed, metav1.ConditionUnknown, v1alpha1.ReasonProgramming)
		Expect(k8s.Delete(env.ctx, old)).To(Succeed())
		env.waitUntilReady(renamed)
		Expect(renamed.Status.PluginIDSource).To(Equal(v1alpha1.PluginIDCreated))
		env.waitUntilGone(old)
	})
})
