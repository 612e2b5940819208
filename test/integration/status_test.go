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

// silence has every connection to Kong cut, and waits until the gateway is known not to
// answer. Somebody has to look for that: the binding does.
func (s *story) silence(binding *v1alpha1.PluginBinding) (mend func()) {
	GinkgoHelper()
	mend = s.kong.Inject(kongtest.Fault{Kind: kongtest.DropBefore})
	s.look(binding)
	s.gatewayShows(s.gateway("kong"), symptom{condition: v1alpha1.ConditionReachable, reason: v1alpha1.ReasonUnreachable})
	return mend
}

var _ = Describe("What a binding says is true", func() {
	DescribeTable("when Kong lost its plugin and does not take it back",
		func(status int, body string, want symptom) {
			s := newStory()
			binding := s.created(s.binding("limit"))
			id := binding.Status.PluginID
			mend := s.refusing(status, body)
			s.kong.DeletePlugin(string(id))
			s.look(binding)
			s.shows(binding, want)
			Expect(readyMessage(binding)).NotTo(Or(ContainSubstring("serves"), ContainSubstring("stays"), ContainSubstring("keeps")), "there is none")
			Expect(binding.Status.PluginID).To(Equal(id))
			Expect(s.kong.Plugins()).To(BeEmpty())

			mend()
			if !want.unknown {
				s.look(binding) // another answer to the same plugin is announced by nothing
			}
			s.readySoon(binding)
			Expect(binding.Status.PluginID).To(Equal(id))
			Expect(s.pluginOf(binding)).NotTo(BeNil())
			Expect(s.kong.Journal().Count(http.MethodPost, "/plugins")).To(Equal(1))
			Expect(s.kong.Plugins()).To(HaveLen(1))
		},
		Entry("because it may not", http.StatusForbidden, denied,
			symptom{condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonDenied, says: []string{"403"}}),
		Entry("because its database fails", http.StatusInternalServerError, unexpected,
			symptom{condition: v1alpha1.ConditionProgrammed, unknown: true, reason: v1alpha1.ReasonKongUnavailable, says: []string{"500"}}),
		Entry("because it does not like it any more", http.StatusBadRequest, invalid,
			symptom{condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonRejected, says: []string{"config.minute: is odd"}}),
	)

	DescribeTable("when its plugin was changed by hand and the correction is refused",
		func(status int, body string, want symptom) {
			s := newStory()
			binding := s.created(s.binding("limit"))
			id := string(binding.Status.PluginID)
			mend := s.refusing(status, body)
			edited := s.kong.EditPlugin(id, map[string]any{"enabled": false})
			s.look(binding)
			s.shows(binding, want)
			Expect(s.kong.Plugin(id)).To(Equal(edited))

			mend()
			if !want.unknown {
				s.look(binding) // that it may now is announced by nothing before the next sweep
			}
			s.readySoon(binding)
			Expect(s.kong.Plugin(id)).To(HaveKeyWithValue("enabled", true))
			Expect(s.kong.Plugins()).To(HaveLen(1))
		},
		Entry("with 403", http.StatusForbidden, denied,
			symptom{condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonDenied, says: []string{"403", "as it last was, and that still serves"}}),
		Entry("with 500", http.StatusInternalServerError, unexpected,
			symptom{condition: v1alpha1.ConditionProgrammed, unknown: true, reason: v1alpha1.ReasonKongUnavailable, says: []string{"500"}}),
	)

	It("when nothing can be heard of Kong: it stands as it was, and what was lost comes back", func() {
		s := newStory()
		binding := s.created(s.binding("limit"))
		id := binding.Status.PluginID
		s.kong.DeletePlugin(string(id))
		told := binding.Status.DeepCopy()
		mend := s.silence(binding)
		s.steady(binding)
		Expect(binding.Status).To(Equal(*told))

		mend()
		Eventually(func() map[string]any { return s.kong.Plugin(string(id)) }, 2*patience).ShouldNot(BeNil())
		s.ready(binding)
		Expect(binding.Status.PluginID).To(Equal(id))
		Expect(s.kong.Plugins()).To(HaveLen(1))
	})

	It("when the Secret that it waited for is there and the gateway is not", func() {
		s := newStory()
		other := s.created(s.binding("other", declaring("correlation-id", "")))
		binding := s.binding("limit", configFrom("limits", "config.yaml"))
		s.create(binding)
		s.shows(binding, symptom{condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonSecretNotFound, says: []string{"no Secret limits"}})
		mend := s.silence(other)
		s.secret("limits", map[string]string{"config.yaml": "minute: 7"})
		s.shows(binding, symptom{
			condition: v1alpha1.ConditionProgrammed, unknown: true, reason: v1alpha1.ReasonGatewayNotReady,
			says: []string{"KongGateway " + s.namespace + "/kong is not ready"},
		})
		for _, condition := range binding.Status.Conditions {
			Expect(condition.Message).NotTo(ContainSubstring("Secret limits"), condition.Type)
		}

		mend()
		s.readySoon(binding)
		Expect(s.pluginOf(binding)).To(HaveKeyWithValue("config", HaveKeyWithValue("minute", BeEquivalentTo(7))))
	})

	It("when Kong removed its plugin together with what it applied to", func() {
		s := newStory()
		binding := s.created(s.binding("limit", scoped(&v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{Username: "alice"}})))
		id := binding.Status.PluginID
		s.kong.Delete("consumers", "alice")
		Expect(s.pluginOf(binding)).To(BeNil())
		s.look(binding)
		s.shows(binding, symptom{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonScopeNotFound,
			says: []string{`no consumer with the username "alice"`, "brings it back under its ID"},
		})
		Expect(readyMessage(binding)).NotTo(Or(ContainSubstring("stays in Kong"), ContainSubstring("serves")))
		Expect(binding.Status.PluginID).To(Equal(id))
	})

	It("while it is paused: what is in the way is still named", func() {
		s := newStory()
		row := s.byHand(limitOf(500))
		binding := s.binding("limit")
		s.create(binding)
		s.shows(binding, symptom{condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonConflict})
		conflict := *binding.Status.Conflict
		unchanged := s.kongAsItWas()
		change(s, binding, pausing)
		s.becomes(binding, metav1.ConditionUnknown, v1alpha1.ReasonPaused)
		Expect(binding.Status.Conflict).To(HaveValue(Equal(conflict)))
		Expect(conflict.PluginID).To(BeEquivalentTo(row["id"]))
		Expect(meta.IsStatusConditionFalse(binding.Status.Conditions, v1alpha1.ConditionProgrammed)).To(BeTrue())
		unchanged()

		s.kong.DeletePlugin(row["id"].(string))
		change(s, binding, func(b *v1alpha1.PluginBinding) { delete(b.Annotations, v1alpha1.PausedAnnotation) })
		s.ready(binding)
		Expect(binding.Status.Conflict).To(BeNil())
	})

	It("about a name that is kept for another binding's plugin, which it does not block", func() {
		s := newStory()
		unchanged := s.kongAsItWas()
		thief := s.binding("thief", declaring("cors", ""), func(b *v1alpha1.PluginBinding) {
			b.Spec.InstanceName = v1alpha1.Name(clusterID + "." + s.namespace + ".limit")
		})
		s.create(thief)
		s.shows(thief, symptom{
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonInvalidConfig,
			says: []string{"spec.instanceName begins with " + clusterID + ".", "choose another one"},
		})
		s.steady(thief)
		unchanged()
		binding := s.created(s.binding("limit"))
		Expect(s.pluginOf(binding)).To(HaveKeyWithValue("instance_name", string(thief.Spec.InstanceName)))

		By("taking the name that would be its own anyway")
		change(s, thief, func(b *v1alpha1.PluginBinding) {
			b.Spec.InstanceName = v1alpha1.Name(clusterID + "." + s.namespace + ".thief")
		})
		s.ready(thief)
		change(s, thief, func(b *v1alpha1.PluginBinding) { b.Spec.InstanceName = v1alpha1.Name(clusterID + ".x") })
		s.becomes(thief, metav1.ConditionFalse, v1alpha1.ReasonInvalidConfig)
		Expect(k8s.Delete(s.ctx, thief)).To(Succeed())
		s.gone(thief)
		Expect(s.kong.Plugins()).To(HaveLen(1))
	})
})
