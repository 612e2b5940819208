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
	// minProbes failed probes prove nothing yet: Kong may be away for a moment.
	minProbes = 6
	// maxProbes failed probes are more than enough to give up on a Kong.
	maxProbes = 20
)

// waitingForKong is the condition of a binding that is being deleted while its Kong is
// unreachable.
var waitingForKong = conditionMatch{
	condition: v1alpha1.ConditionProgrammed, unknown: true, reason: v1alpha1.ReasonDeleting,
	contains: []string{"is not ready"},
}

// expectInUse waits until a gateway that is being deleted reports how many bindings it waits
// for.
func (env *testEnv) expectInUse(gw *v1alpha1.KongGateway, left string) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		env.reload(g, gw)
		ready := meta.FindStatusCondition(gw.Status.Conditions, v1alpha1.ConditionReady)
		g.Expect(ready.Reason).To(Equal(v1alpha1.ReasonInUse), "%s", ready.Message)
		g.Expect(ready.Message).To(ContainSubstring(left))
	}).Should(Succeed())
}

// probeUntilAbandoned probes a gateway that is being deleted, and whose Kong is unreachable,
// until the operator removes its finalizer. That takes some probes, but not endlessly many.
func (env fakeClockEnv) probeUntilAbandoned(gw *v1alpha1.KongGateway) {
	GinkgoHelper()
	probes := 0
	for ; probes < maxProbes && !env.isGone(gw); probes++ {
		env.probe(gw)
	}
	env.waitUntilGone(gw)
	Expect(probes).To(BeNumerically(">=", minProbes), "it was given up too soon")
}

// terminateNamespace deletes the namespace. No controller empties it here. But from now on the
// API server accepts no new object in it, and so no event.
func (env *testEnv) terminateNamespace() {
	GinkgoHelper()
	Expect(k8s.Delete(env.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: env.namespace}})).To(Succeed())
	late := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: "late"}}
	Eventually(func() error { return k8s.Create(env.ctx, late.DeepCopy(), client.DryRunAll) }).Should(MatchError(ContainSubstring("being terminated")))
}

var _ = Describe("A gateway that is deleted and whose Kong is gone", func() {
	It("is let go after a while together with its bindings, and they say what was left", func() {
		env := newEnvWithoutOperator().withFakeClock()
		binding := env.createReady(env.binding("limit"))
		env.dropConnections(binding)
		unchanged := env.snapshotKong()
		gw := env.gateway("kong")
		env.reload(Default, gw)
		for range maxProbes {
			env.probe(gw) // failures before the deletion do not count
		}
		Expect(k8s.Delete(env.ctx, gw)).To(Succeed())
		Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
		env.expectInUse(gw, "1 remain")
		env.expectCondition(binding, waitingForKong)

		env.probeUntilAbandoned(gw)
		env.waitUntilGone(binding)
		Eventually(env.eventNotes).WithArguments(gw, "Abandoned").Should(ConsistOf(And(
			ContainSubstring("its bindings (1)"), ContainSubstring(v1alpha1.ReasonUnreachable))))
		Eventually(env.eventNotes).WithArguments(binding, "PluginLeft").Should(ConsistOf(And(
			ContainSubstring("KongGateway "+env.namespace+"/kong"), ContainSubstring(string(binding.Status.PluginID)))))
		unchanged()
		Expect(env.ownedPlugins(binding)).To(HaveLen(1))
	})

	It("stays for a binding that is not being deleted, however long that lasts", func() {
		env := newEnvWithoutOperator().withFakeClock()
		first := env.createReady(env.binding("first"))
		second := env.createReady(env.binding("second", withPlugin("correlation-id", "")))
		mend := env.dropConnections(first)
		gw := env.gateway("kong")
		env.reload(Default, gw)
		Expect(k8s.Delete(env.ctx, gw)).To(Succeed())
		Expect(k8s.Delete(env.ctx, first)).To(Succeed())
		env.expectInUse(gw, "2 remain")
		for range maxProbes {
			env.probe(gw)
		}
		env.expectInUse(gw, "2 remain")
		env.expectCondition(first, waitingForKong)
		env.waitUntilReady(second)
		Expect(env.eventReasons(gw)).NotTo(ContainElement("Abandoned"))
		Expect(env.kong.Plugins()).To(HaveLen(2))

		By("ending as it should once Kong is back")
		mend()
		env.probe(gw)
		env.waitUntilGone(first)
		env.expectInUse(gw, "1 remain")
		Expect(env.kong.Plugins()).To(HaveLen(1))
		Expect(env.ownedPlugins(second)).To(HaveLen(1))
		Expect(k8s.Delete(env.ctx, second)).To(Succeed())
		env.waitUntilGone(second)
		env.waitUntilGone(gw)
		Expect(env.kong.Plugins()).To(BeEmpty())
	})
})

var _ = Describe("A namespace that is deleted with everything in it", func() {
	It("becomes empty, though its Secrets go first and no event can be made", func() {
		env := newEnvWithoutOperator(kongtest.WithToken("Kong-Admin-Token", plantedSecret))
		token := env.secret("token", map[string]string{"token": plantedSecret})
		redis := env.secret("redis", map[string]string{"password": "12345"})
		gw := env.gateway("kong")
		change(env, gw, func(gw *v1alpha1.KongGateway) {
			gw.Spec.Auth = &v1alpha1.GatewayAuth{TokenSecretRef: v1alpha1.SecretKeyRef{Name: "token", Key: "token"}}
		})
		env.startOperator()
		binding := env.createReady(env.binding("limit",
			withPlugin("rate-limiting", `{"minute": 5, "policy": "redis", "redis": {"host": "redis.orders"}}`),
			withConfigPatch("/redis/password", "redis", "password")))

		env.terminateNamespace()
		Expect(k8s.Delete(env.ctx, token)).To(Succeed())
		Expect(k8s.Delete(env.ctx, redis)).To(Succeed())
		Eventually(func(g Gomega) {
			env.reload(g, gw)
			conditionMatch{condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonSecretNotFound}.matches(g, gw.Status.Conditions, gw.Generation)
		}).Should(Succeed())
		Expect(k8s.Delete(env.ctx, gw)).To(Succeed())
		Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
		env.waitUntilGone(binding)
		env.waitUntilGone(gw)
		Expect(env.kong.Plugins()).To(BeEmpty())
	})

	It("becomes empty without its Kong too, and the log says what was left there", func() {
		env := newEnvWithoutOperator().withFakeClock()
		binding := env.createReady(env.binding("limit"))
		env.dropConnections(binding)
		unchanged, logged := env.snapshotKong(), captureLog()
		env.terminateNamespace()
		gw := env.gateway("kong")
		env.reload(Default, gw)
		Expect(k8s.Delete(env.ctx, gw)).To(Succeed())
		Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
		env.expectInUse(gw, "1 remain")
		env.probeUntilAbandoned(gw)
		env.waitUntilGone(binding)
		Eventually(logged).Should(gbytes.Say("INFO\t.*their Kong is unusable: the bindings.* plugins stay in Kong"))
		Eventually(logged).Should(gbytes.Say("INFO\t.*could not delete plugin " + string(binding.Status.PluginID) + " from its Kong"))
		unchanged()
	})
})
