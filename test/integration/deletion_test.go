package integration

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

const (
	// aWhile is how many probes in vain prove nothing yet: Kong may be away for a moment.
	aWhile = 6
	// long is how many are more than enough to give a Kong up.
	long = 20
)

// waitsForKong is what a binding shows that is being deleted and whose Kong cannot be reached.
var waitsForKong = symptom{
	condition: v1alpha1.ConditionProgrammed, unknown: true, reason: v1alpha1.ReasonDeleting,
	says: []string{"waiting to remove the plugin from Kong", "is not ready"},
}

// inUse waits until a gateway that is being deleted says how many bindings it waits for.
func (s *story) inUse(gw *v1alpha1.KongGateway, left string) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		s.reload(g, gw)
		ready := meta.FindStatusCondition(gw.Status.Conditions, v1alpha1.ConditionReady)
		g.Expect(ready.Reason).To(Equal(v1alpha1.ReasonInUse), "%s", ready.Message)
		g.Expect(ready.Message).To(ContainSubstring(left))
	}).Should(Succeed())
}

// givenUp probes a gateway that is being deleted, and whose Kong is silent, until it is let go,
// which takes a while and not for ever.
func (s steered) givenUp(gw *v1alpha1.KongGateway) {
	GinkgoHelper()
	probes := 0
	for ; probes < long && !s.isGone(gw); probes++ {
		s.probe(gw)
	}
	s.gone(gw)
	Expect(probes).To(BeNumerically(">=", aWhile), "it was given up too soon")
}

// terminate deletes the story's namespace. Nobody here empties it, but from now on the API
// server takes no new object in it, and an event is one.
func (s *story) terminate() {
	GinkgoHelper()
	Expect(k8s.Delete(s.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}})).To(Succeed())
	late := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "late"}}
	Eventually(func() error { return k8s.Create(s.ctx, late.DeepCopy(), client.DryRunAll) }).Should(MatchError(ContainSubstring("being terminated")))
}

var _ = Describe("A gateway that is deleted and whose Kong is gone", func() {
	It("is let go after a while together with its bindings, and they say what was left", func() {
		s := newQuietStory().steer()
		binding := s.created(s.binding("limit"))
		s.silence(binding)
		unchanged := s.kongAsItWas()
		gw := s.gateway("kong")
		s.reload(Default, gw)
		for range long {
			s.probe(gw) // what was before its deletion does not count
		}
		Expect(k8s.Delete(s.ctx, gw)).To(Succeed())
		Expect(k8s.Delete(s.ctx, binding)).To(Succeed())
		s.inUse(gw, "1 left")
		s.shows(binding, waitsForKong)

		s.givenUp(gw)
		s.gone(binding)
		Eventually(s.notes).WithArguments(gw, "Abandoned").Should(ConsistOf(And(
			ContainSubstring("its 1 bindings"), ContainSubstring(v1alpha1.ReasonUnreachable), ContainSubstring("their plugins stay there"))))
		Eventually(s.notes).WithArguments(binding, "PluginLeft").Should(ConsistOf(And(
			ContainSubstring("KongGateway "+s.namespace+"/kong is gone"), ContainSubstring(string(binding.Status.PluginID)))))
		unchanged()
		Expect(s.owned(binding)).To(HaveLen(1))
	})

	It("stays for a binding that is not being deleted, however long that lasts", func() {
		s := newQuietStory().steer()
		first := s.created(s.binding("first"))
		second := s.created(s.binding("second", declaring("correlation-id", "")))
		mend := s.silence(first)
		gw := s.gateway("kong")
		s.reload(Default, gw)
		Expect(k8s.Delete(s.ctx, gw)).To(Succeed())
		Expect(k8s.Delete(s.ctx, first)).To(Succeed())
		s.inUse(gw, "2 left")
		for range long {
			s.probe(gw)
		}
		s.inUse(gw, "2 left")
		s.shows(first, waitsForKong)
		s.ready(second)
		Expect(s.events(gw)).NotTo(ContainElement("Abandoned"))
		Expect(s.kong.Plugins()).To(HaveLen(2))

		By("ending as it should once Kong is back")
		mend()
		s.probe(gw)
		s.gone(first)
		s.inUse(gw, "1 left")
		Expect(s.kong.Plugins()).To(HaveLen(1))
		Expect(s.owned(second)).To(HaveLen(1))
		Expect(k8s.Delete(s.ctx, second)).To(Succeed())
		s.gone(second)
		s.gone(gw)
		Expect(s.kong.Plugins()).To(BeEmpty())
	})
})

var _ = Describe("A namespace that is deleted with everything in it", func() {
	It("becomes empty, though its Secrets go first and no event can be made", func() {
		s := newQuietStory(kongtest.WithToken("Kong-Admin-Token", planted))
		token := s.secret("token", map[string]string{"token": planted})
		redis := s.secret("redis", map[string]string{"password": "12345"})
		gw := s.gateway("kong")
		change(s, gw, func(gw *v1alpha1.KongGateway) {
			gw.Spec.Auth = &v1alpha1.GatewayAuth{TokenSecretRef: v1alpha1.SecretKeyRef{Name: "token", Key: "token"}}
		})
		s.startOperator()
		binding := s.created(s.binding("limit",
			declaring("rate-limiting", `{"minute": 5, "policy": "redis", "redis": {"host": "redis.orders"}}`),
			patched("/redis/password", "redis", "password")))

		s.terminate()
		Expect(k8s.Delete(s.ctx, token)).To(Succeed())
		Expect(k8s.Delete(s.ctx, redis)).To(Succeed())
		Eventually(func(g Gomega) {
			s.reload(g, gw)
			symptom{condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonSecretNotFound}.matches(g, gw.Status.Conditions, gw.Generation)
		}).Should(Succeed())
		Expect(k8s.Delete(s.ctx, gw)).To(Succeed())
		Expect(k8s.Delete(s.ctx, binding)).To(Succeed())
		s.gone(binding)
		s.gone(gw)
		Expect(s.kong.Plugins()).To(BeEmpty())
	})

	It("becomes empty without its Kong too, and the log says what was left there", func() {
		s := newQuietStory().steer()
		binding := s.created(s.binding("limit"))
		s.silence(binding)
		unchanged, logged := s.kongAsItWas(), listen()
		s.terminate()
		gw := s.gateway("kong")
		s.reload(Default, gw)
		Expect(k8s.Delete(s.ctx, gw)).To(Succeed())
		Expect(k8s.Delete(s.ctx, binding)).To(Succeed())
		s.inUse(gw, "1 left")
		s.givenUp(gw)
		s.gone(binding)
		Eventually(logged).Should(gbytes.Say("INFO\t.*its Kong cannot be used: their plugins stay there"))
		Eventually(logged).Should(gbytes.Say("INFO\t.*plugin " + string(binding.Status.PluginID) + " could not be removed from its Kong"))
		unchanged()
	})
})
