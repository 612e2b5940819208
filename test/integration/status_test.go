package integration

import (
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// dropConnections closes every connection to Kong, and waits until the gateway is unreachable.
// A failed reconcile of the binding makes the operator probe it.
func (env *testEnv) dropConnections(binding *v1alpha1.PluginBinding) (mend func()) {
	GinkgoHelper()
	mend = env.kong.Inject(kongtest.Fault{Kind: kongtest.DropBefore})
	env.requestReconcile(binding)
	env.expectGatewayCondition(env.gateway("kong"), conditionMatch{condition: v1alpha1.ConditionReachable, reason: v1alpha1.ReasonUnreachable})
	return mend
}

var _ = Describe("What a binding says is true", func() {
	DescribeTable("when Kong lost its plugin and does not take it back",
		func(status int, body string, want conditionMatch) {
			env := newTestEnv()
			binding := env.createReady(env.binding("limit"))
			id := binding.Status.PluginID
			mend := env.refusePuts(status, body)
			env.kong.DeletePlugin(string(id))
			env.requestReconcile(binding)
			env.expectCondition(binding, want)
			Expect(readyMessage(binding)).NotTo(Or(ContainSubstring("serves"), ContainSubstring("stays"), ContainSubstring("keeps")), "there is none")
			Expect(binding.Status.PluginID).To(Equal(id))
			Expect(env.kong.Plugins()).To(BeEmpty())

			mend()
			if !want.unknown {
				env.requestReconcile(binding) // nothing announces that Kong now accepts the plugin
			}
			env.readyAfterProbe(binding)
			Expect(binding.Status.PluginID).To(Equal(id))
			Expect(env.kongPlugin(binding)).NotTo(BeNil())
			Expect(env.kong.Journal().Count(http.MethodPost, "/plugins")).To(Equal(1))
			Expect(env.kong.Plugins()).To(HaveLen(1))
		},
		Entry("because it may not", http.StatusForbidden, bodyDenied,
			conditionMatch{condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonDenied, contains: []string{"403"}}),
		Entry("because its database fails", http.StatusInternalServerError, bodyUnexpectedError,
			conditionMatch{condition: v1alpha1.ConditionProgrammed, unknown: true, reason: v1alpha1.ReasonKongUnavailable, contains: []string{"500"}}),
		Entry("because it does not like it any more", http.StatusBadRequest, bodyInvalid,
			conditionMatch{condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonRejected, contains: []string{"config.minute: is odd"}}),
	)

	DescribeTable("when its plugin was changed by hand and the correction is refused",
		func(status int, body string, want conditionMatch) {
			env := newTestEnv()
			binding := env.createReady(env.binding("limit"))
			id := string(binding.Status.PluginID)
			mend := env.refusePuts(status, body)
			edited := env.kong.EditPlugin(id, map[string]any{"enabled": false})
			env.requestReconcile(binding)
			env.expectCondition(binding, want)
			Expect(env.kong.Plugin(id)).To(Equal(edited))

			mend()
			if !want.unknown {
				env.requestReconcile(binding) // nothing announces the new permission before the next resync
			}
			env.readyAfterProbe(binding)
			Expect(env.kong.Plugin(id)).To(HaveKeyWithValue("enabled", true))
			Expect(env.kong.Plugins()).To(HaveLen(1))
		},
		Entry("with 403", http.StatusForbidden, bodyDenied,
			conditionMatch{condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonDenied, contains: []string{"403"}}),
		Entry("with 500", http.StatusInternalServerError, bodyUnexpectedError,
			conditionMatch{condition: v1alpha1.ConditionProgrammed, unknown: true, reason: v1alpha1.ReasonKongUnavailable, contains: []string{"500"}}),
	)

	It("when nothing can be heard of Kong: it stands as it was, and what was lost comes back", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit"))
		id := binding.Status.PluginID
		env.kong.DeletePlugin(string(id))
		before := binding.Status.DeepCopy()
		mend := env.dropConnections(binding)
		env.expectNoStatusWrite(binding)
		Expect(binding.Status).To(Equal(*before))

		mend()
		Eventually(func() map[string]any { return env.kong.Plugin(string(id)) }, 2*patience).ShouldNot(BeNil())
		env.waitUntilReady(binding)
		Expect(binding.Status.PluginID).To(Equal(id))
		Expect(env.kong.Plugins()).To(HaveLen(1))
	})

	It("when the Secret that it waited for is there and the gateway is not", func() {
		env := newTestEnv()
		other := env.createReady(env.binding("other", withPlugin("correlation-id", "")))
		binding := env.binding("limit", withConfigFrom("limits", "config.yaml"))
		env.create(binding)
		env.expectCondition(binding, conditionMatch{condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonSecretNotFound, contains: []string{"Secret limits does not exist"}})
		mend := env.dropConnections(other)
		env.secret("limits", map[string]string{"config.yaml": "minute: 7"})
		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionProgrammed, unknown: true, reason: v1alpha1.ReasonGatewayNotReady,
			contains: []string{"KongGateway " + env.namespace + "/kong"},
		})
		for _, condition := range binding.Status.Conditions {
			Expect(condition.Message).NotTo(ContainSubstring("Secret limits"), condition.Type)
		}

		mend()
		env.readyAfterProbe(binding)
		Expect(env.kongPlugin(binding)).To(HaveKeyWithValue("config", HaveKeyWithValue("minute", BeEquivalentTo(7))))
	})

	It("when Kong removed its plugin together with what it applied to", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("limit", withScope(&v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{Username: "alice"}})))
		id := binding.Status.PluginID
		env.kong.Delete("consumers", "alice")
		Expect(env.kongPlugin(binding)).To(BeNil())
		env.requestReconcile(binding)
		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonScopeNotFound,
			contains: []string{`consumer with the username "alice"`},
		})
		Expect(readyMessage(binding)).NotTo(Or(ContainSubstring("stays in Kong"), ContainSubstring("serves")))
		Expect(binding.Status.PluginID).To(Equal(id))
	})

	It("while it is paused: what is in the way is still named", func() {
		env := newTestEnv()
		row := env.seedUnowned(perMinute(500))
		binding := env.binding("limit")
		env.create(binding)
		env.expectCondition(binding, conditionMatch{condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict})
		conflict := *binding.Status.Conflict
		unchanged := env.snapshotKong()
		change(env, binding, paused)
		env.waitForReady(binding, metav1.ConditionUnknown, v1alpha1.ReasonPaused)
		Expect(binding.Status.Conflict).To(HaveValue(Equal(conflict)))
		Expect(conflict.PluginID).To(BeEquivalentTo(row["id"]))
		Expect(meta.IsStatusConditionFalse(binding.Status.Conditions, v1alpha1.ConditionProgrammed)).To(BeTrue())
		unchanged()

		env.kong.DeletePlugin(row["id"].(string))
		change(env, binding, func(b *v1alpha1.PluginBinding) { delete(b.Annotations, v1alpha1.PausedAnnotation) })
		env.waitUntilReady(binding)
		Expect(binding.Status.Conflict).To(BeNil())
	})

	It("about a name that is kept for another binding's plugin, which it does not block", func() {
		env := newTestEnv()
		unchanged := env.snapshotKong()
		thief := env.binding("thief", withPlugin("cors", ""), func(b *v1alpha1.PluginBinding) {
			b.Spec.InstanceName = v1alpha1.Name(clusterID + "." + env.namespace + ".limit")
		})
		env.create(thief)
		env.expectCondition(thief, conditionMatch{
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonInvalidConfig,
			contains: []string{"spec.instanceName", clusterID + "."},
		})
		env.expectNoStatusWrite(thief)
		unchanged()
		binding := env.createReady(env.binding("limit"))
		Expect(env.kongPlugin(binding)).To(HaveKeyWithValue("instance_name", string(thief.Spec.InstanceName)))

		By("taking the name that would be its own anyway")
		change(env, thief, func(b *v1alpha1.PluginBinding) {
			b.Spec.InstanceName = v1alpha1.Name(clusterID + "." + env.namespace + ".thief")
		})
		env.waitUntilReady(thief)
		change(env, thief, func(b *v1alpha1.PluginBinding) { b.Spec.InstanceName = v1alpha1.Name(clusterID + ".x") })
		env.waitForReady(thief, metav1.ConditionFalse, v1alpha1.ReasonInvalidConfig)
		Expect(k8s.Delete(env.ctx, thief)).To(Succeed())
		env.waitUntilGone(thief)
		Expect(env.kong.Plugins()).To(HaveLen(1))
	})
})
