package integration

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

var _ = Describe("A tenant beside the platform", func() {
	notAllowed := func(contains ...string) conditionMatch {
		return conditionMatch{condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonNotAllowedByGateway, contains: contains}
	}
	open := func(adoption v1alpha1.AdoptionLimit) *v1alpha1.AllowedBindings {
		return &v1alpha1.AllowedBindings{Namespaces: namespacesFrom(v1alpha1.NamespacesFromAll), Adoption: adoption}
	}

	DescribeTable("does not take over the platform's plugin with adoptionPolicy Override",
		func(adoption v1alpha1.AdoptionLimit) {
			env := newTenantEnv()
			env.allowBindings(open(adoption))
			platform := env.createReady(env.binding("protect", withPlugin("ip-restriction", `{"allow": ["10.0.0.0/8"]}`)))
			unchanged := env.snapshotKong()
			binding := env.tenantBinding(withPlugin("ip-restriction", `{"allow": ["0.0.0.0/0"]}`), withAdoptionPolicy(v1alpha1.AdoptOverride))
			env.create(binding)
			env.expectCondition(binding, notAllowed("take over plugin "+string(platform.Status.PluginID), "spec.allowedBindings.adoption"))
			unchanged()
			Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
			env.waitUntilGone(binding)
			unchanged()
		},
		Entry("where only unowned plugins may be adopted", v1alpha1.AdoptionUnowned),
		Entry("where nothing may be adopted", v1alpha1.AdoptionNone),
	)

	It("does not delete a plugin that existed before its binding, not even with a lost status", func() {
		env := newTenantEnv()
		env.allowBindings(open(v1alpha1.AdoptionUnowned))
		row := env.seedUnowned(map[string]any{"config": map[string]any{"minute": 5, "policy": "local"}})
		binding := env.tenantBinding(withPluginID(row["id"]))
		env.create(binding)
		env.waitUntilReady(binding)
		Expect(binding.Status.PluginIDSource).To(Equal(v1alpha1.PluginIDAdopted))

		By("moving it")
		env.kong.Seed("services", map[string]any{"name": "elsewhere", "url": "http://127.0.0.1:9"})
		change(env.testEnv, binding, withScope(&v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: "elsewhere"}}))
		env.expectCondition(binding, notAllowed("move plugin "+row["id"].(string)))

		By("deleting it")
		Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
		env.waitUntilGone(binding)
		stays := env.kong.Plugin(row["id"].(string))
		Expect(stays).To(HaveKeyWithValue("enabled", true))
		Expect(stays["tags"]).NotTo(ContainElement(ContainSubstring("managed-by")), "released")
	})

	It("binds only to entities of its namespace where the gateway says so", func() {
		env := newTenantEnv()
		allowed := open(v1alpha1.AdoptionUnowned)
		allowed.Entities = v1alpha1.EntitiesSameNamespace
		env.allowBindings(allowed)
		unchanged := env.snapshotKong()
		binding := env.tenantBinding()
		env.create(binding)
		env.expectCondition(binding, notAllowed("k8s-namespace:"+env.tenantNamespace, "orders"))
		unchanged()

		env.kong.Seed("services", map[string]any{"name": "mine", "url": "http://127.0.0.1:9", "tags": []any{"k8s-namespace:" + env.tenantNamespace}})
		change(env.testEnv, binding, withScope(&v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: "mine"}}))
		env.waitUntilReady(binding)
	})

	It("has as many bindings as the gateway allows, the oldest first", func() {
		env := newTenantEnv()
		allowed := open(v1alpha1.AdoptionUnowned)
		allowed.MaxBindingsPerNamespace = ptr.To[int32](1)
		env.allowBindings(allowed)
		first := env.tenantBinding()
		env.create(first)
		env.waitUntilReady(first)
		second := env.tenantBinding(withPlugin("cors", "{}"))
		second.Name = "z-second"
		env.create(second)
		env.expectCondition(second, notAllowed("allows 1 bindings", "number 2"))
		Expect(k8s.Delete(env.ctx, first)).To(Succeed())
		env.waitUntilGone(first)
		env.requestReconcile(second)
		env.waitUntilReady(second)
	})

	It("gets no gateway of its own to the platform's Kong, whatever it calls it", func() {
		env := newTenantEnv()
		for name, url := range map[string]string{
			"spelled-otherwise": strings.Replace(env.kong.URL(), "http://", "HTTP://", 1) + "/",
			"other-host":        strings.Replace(env.kong.URL(), "127.0.0.1", "localhost", 1),
		} {
			gateway := &v1alpha1.KongGateway{
				ObjectMeta: metav1.ObjectMeta{Namespace: env.tenantNamespace, Name: name},
				Spec:       v1alpha1.KongGatewaySpec{AdminURL: url},
			}
			env.create(gateway)
			env.expectGatewayCondition(gateway, conditionMatch{
				condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonGatewayNotAllowed,
				contains: []string{"KongGateway " + env.namespace + "/kong", "spec.allowedGateways"},
			})
		}
		By("until the platform allows it")
		change(env.testEnv, env.gateway("kong"), func(gateway *v1alpha1.KongGateway) {
			gateway.Spec.AllowedGateways = &v1alpha1.AllowedGateways{Namespaces: namespacesFrom(v1alpha1.NamespacesFromAll)}
		})
		allowed := &v1alpha1.KongGateway{}
		Eventually(func(g Gomega) {
			g.Expect(k8s.Get(env.ctx, client.ObjectKey{Namespace: env.tenantNamespace, Name: "other-host"}, allowed)).To(Succeed())
			for _, condition := range allowed.Status.Conditions {
				if condition.Type == v1alpha1.ConditionReady {
					g.Expect(condition.Status).To(Equal(metav1.ConditionTrue), "%s", condition.Message)
				}
			}
		}).WithTimeout(3 * patience).Should(Succeed())
	})

	It("sees nothing of Lua that comes from a Secret and does not parse", func() {
		env := newTestEnv()
		expectHidden := env.captureOutput()
		env.secret("lua", map[string]string{"config.json": `{"access": ["local tok=\"` + plantedSecret + `\" if tok the end"]}`})
		binding := env.binding("code", withPlugin("pre-function", ""), withConfigFrom("lua", "config.json"))
		env.create(binding)
		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonRejected,
			contains: []string{"config.access", "withheld because the value comes from a Secret"},
		})
		expectHidden(plantedSecret[:8])
	})
})
