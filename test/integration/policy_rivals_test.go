package integration

import (
	"fmt"
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// gapAt is the longest time since the moment in which a route had no plugin of that name.
func (env *testEnv) gapAt(plugin, route string, since time.Time) time.Duration {
	GinkgoHelper()
	row := env.kong.Entity("routes", route)
	service, _ := row["service"].(map[string]any)["id"].(string)
	coverage := kongtest.NewCoverage(env.kong.Journal().Changes(), plugin, kongtest.Traffic{Route: row["id"].(string), Service: service})
	return coverage.LongestGap(since, time.Now()).Duration()
}

// serviceOf is the service of a route as a policy's bindings name it.
func (env *testEnv) serviceOf(route string) *v1alpha1.EntityRef {
	return &v1alpha1.EntityRef{ID: v1alpha1.UUID(env.kong.Entity("routes", route)["service"].(map[string]any)["id"].(string))}
}

// expectPassedOn checks that since the mark nothing created or deleted a plugin, and that Kong refused
// no write.
func (env *testEnv) expectPassedOn(mark int) {
	GinkgoHelper()
	for _, write := range env.kong.Journal().Since(mark).Writes() {
		Expect(write.Kind).To(Equal("update"), "no plugin is deleted or created on the way")
	}
	env.expectNo409(mark)
}

func (env *testEnv) expectNo409(mark int) {
	GinkgoHelper()
	for _, request := range env.kong.Journal().Since(mark).Requests {
		Expect(request.Status).NotTo(Equal(http.StatusConflict), "%s %s", request.Method, request.Path)
	}
}

// rivals is an environment with two Ingresses, shop and admin, and two policies: the older one is on
// admin, the younger one on shop.
type rivals struct {
	*testEnv
	older, younger *v1alpha1.PluginPolicy
	routes         []string
	mark           int
	since          time.Time
}

func newRivals(routes int) *rivals {
	GinkgoHelper()
	env := &rivals{testEnv: newPolicyEnv().started()}
	env.create(env.ingress("shop"), env.ingress("admin"))
	for i := range routes {
		env.routes = append(env.routes, env.kicRoute(ingressKind, "shop", fmt.Sprintf("%c.example.com", 'a'+i)))
	}
	env.kicRoute(ingressKind, "admin", "admin.example.com")
	env.older = env.policy("z-older", ingressKind, "admin")
	env.create(env.older)
	env.waitForReadyPolicy(env.older, 1)
	Eventually(time.Now).Should(BeTemporally(">", env.older.CreationTimestamp.Add(time.Second)), "creation times have seconds")
	env.younger = env.policy("a-younger", ingressKind, "shop")
	env.create(env.younger)
	env.waitForReadyPolicy(env.younger, routes)
	env.mark, env.since = env.kong.Journal().Mark(), time.Now()
	return env
}

func (env *rivals) olderTakes(target string) {
	GinkgoHelper()
	change(env.testEnv, env.older, func(p *v1alpha1.PluginPolicy) {
		p.Spec.TargetRefs = append(p.Spec.TargetRefs, v1alpha1.PolicyTargetRef{Group: ingressKind.Group, Kind: ingressKind.Kind, Name: target})
	})
}

// ids are the IDs of a policy's plugins on the routes of shop.
func (env *rivals) ids(p *v1alpha1.PluginPolicy) []string {
	GinkgoHelper()
	var ids []string
	for _, route := range env.routes {
		ids = append(ids, env.idOn(p, route))
	}
	return ids
}

func (env *rivals) expectNoGap() {
	GinkgoHelper()
	for _, route := range env.routes {
		Expect(env.gapAt("rate-limiting", route, env.since)).To(BeZero(), route)
	}
}

var _ = Describe("Two objects that want one plugin on one entity", func() {
	It("are an older and a younger policy: the plugins pass over to the older one, and back when it goes", func() {
		env := newRivals(3)
		ids := env.ids(env.younger)
		env.olderTakes("shop")
		env.waitForReadyPolicy(env.older, 4)
		env.waitForPolicy(env.younger, metav1.ConditionFalse, v1alpha1.ReasonConflicted)
		Eventually(env.bindingsOf).WithArguments(env.younger).Should(BeEmpty())
		Expect(env.ids(env.older)).To(Equal(ids))
		Eventually(func() *v1alpha1.BindingRef { return env.bindingOn(env.older, env.routes[0]).Spec.Replaces }).Should(BeNil())
		env.expectPassedOn(env.mark)
		env.expectNoGap()

		Expect(k8s.Delete(env.ctx, env.older)).To(Succeed())
		env.waitUntilGone(env.older)
		env.waitForReadyPolicy(env.younger, 3)
		Expect(env.ids(env.younger)).To(Equal(ids))
		env.expectNo409(env.mark)
		env.expectNoGap()
	})

	It("are a policy that loses the target and one that waits for it: the plugins pass over", func() {
		env := newRivals(2)
		env.olderTakes("shop")
		env.waitForReadyPolicy(env.older, 3)
		Eventually(env.bindingsOf).WithArguments(env.younger).Should(BeEmpty())
		ids := env.ids(env.older)
		change(env.testEnv, env.older, func(p *v1alpha1.PluginPolicy) { p.Spec.TargetRefs = p.Spec.TargetRefs[:1] })
		env.waitForReadyPolicy(env.younger, 2)
		env.waitForReadyPolicy(env.older, 1)
		Expect(env.ids(env.younger)).To(Equal(ids))
		env.expectPassedOn(env.mark)
		env.expectNoGap()
	})

	It("are made at once: Kong refuses no write, and the older one keeps the place", func() {
		env := newPolicyEnv().started()
		env.create(env.ingress("shop"))
		var routes []string
		for i := range 6 {
			routes = append(routes, env.kicRoute(ingressKind, "shop", fmt.Sprintf("%c.example.com", 'a'+i)))
		}
		mark := env.kong.Journal().Mark()
		policies := []*v1alpha1.PluginPolicy{env.policy("a", ingressKind, "shop"), env.policy("b", ingressKind, "shop")}
		env.create(policies[1], policies[0])
		if policies[1].CreationTimestamp.Before(&policies[0].CreationTimestamp) {
			policies[0], policies[1] = policies[1], policies[0]
		}
		env.waitForReadyPolicy(policies[0], 6)
		env.waitForPolicy(policies[1], metav1.ConditionFalse, v1alpha1.ReasonConflicted)
		Eventually(env.bindingsOf).WithArguments(policies[1]).Should(BeEmpty())
		env.expectNo409(mark)
		Expect(env.kong.Plugins()).To(HaveLen(6))
		for _, route := range routes {
			Expect(env.kong.InForce("rate-limiting", route)).To(HaveLen(1), "only before the first plugin")
		}
	})

	It("are a binding and a policy: the policy's binding takes the plugin over when the binding is deleted", func() {
		env := newPolicyEnv().started()
		env.create(env.ingress("shop"))
		route := env.kicRoute(ingressKind, "shop", "a.example.com")
		binding := env.createReady(env.binding("mine", func(b *v1alpha1.PluginBinding) {
			b.Spec.Scope = &v1alpha1.Scope{
				Route: &v1alpha1.EntityRef{Name: v1alpha1.Name(route)}, Service: env.serviceOf(route),
			}
		}))
		Eventually(time.Now).Should(BeTemporally(">", binding.CreationTimestamp.Add(time.Second)))
		p := env.policy("limit", ingressKind, "shop")
		env.create(p)
		env.waitForPolicy(p, metav1.ConditionFalse, v1alpha1.ReasonConflicted)
		mark, since := env.kong.Journal().Mark(), time.Now()
		Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
		env.waitUntilGone(binding)
		env.waitForReadyPolicy(p, 1)
		Expect(env.idOn(p, route)).To(Equal(string(binding.Status.PluginID)))
		env.expectPassedOn(mark)
		Expect(env.gapAt("rate-limiting", route, since)).To(BeZero())
	})

	It("are an older binding that moves to the place of a policy: the policy's plugin stays until the binding can have the place", func() {
		env := newPolicyEnv().started()
		env.create(env.ingress("shop"))
		route := env.kicRoute(ingressKind, "shop", "a.example.com")
		binding := env.createReady(env.binding("mine"))
		Eventually(time.Now).Should(BeTemporally(">", binding.CreationTimestamp.Add(time.Second)))
		p := env.policy("limit", ingressKind, "shop")
		env.create(p)
		env.waitForReadyPolicy(p, 1)
		id := env.idOn(p, route)
		mark, since := env.kong.Journal().Mark(), time.Now()
		change(env, binding, func(b *v1alpha1.PluginBinding) {
			b.Spec.Scope = &v1alpha1.Scope{
				Route: &v1alpha1.EntityRef{Name: v1alpha1.Name(route)}, Service: env.serviceOf(route),
			}
		})
		env.waitUntilReady(binding)
		env.waitForPolicy(p, metav1.ConditionFalse, v1alpha1.ReasonConflicted)
		Eventually(env.bindingsOf).WithArguments(p).Should(BeEmpty())
		env.expectNo409(mark)
		writes := env.kong.Journal().Since(mark).Writes()
		Expect(writes).To(HaveLen(2), "the binding moves as soon as the place is free")
		Expect(writes[0]).To(And(HaveField("Kind", "delete"), HaveField("ID", id)))
		Expect(writes[1]).To(And(HaveField("Kind", "update"), HaveField("ID", string(binding.Status.PluginID))))
		AddReportEntry("longest gap", env.gapAt("rate-limiting", route, since).String())
	})

	It("are a policy and an older binding of a tenant: one that the gateway refuses keeps nobody from the place", func() {
		env := newPolicyEnv(func(gateway *v1alpha1.KongGateway) {
			gateway.Spec.AllowedBindings = &v1alpha1.AllowedBindings{
				Namespaces: &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromAll}, Entities: v1alpha1.EntitiesSameNamespace,
			}
		})
		tenant := env.newNamespace(nil)
		env.started()
		env.create(env.ingress("shop"))
		route := env.kicRoute(ingressKind, "shop", "a.example.com")
		refused := env.binding("refused", func(b *v1alpha1.PluginBinding) {
			b.Namespace, b.Spec.GatewayRef.Namespace = tenant, env.namespace
			b.Spec.Scope = &v1alpha1.Scope{Route: &v1alpha1.EntityRef{Name: v1alpha1.Name(route)}, Service: env.serviceOf(route)}
		})
		env.create(refused)
		env.waitForReady(refused, metav1.ConditionFalse, v1alpha1.ReasonNotAllowedByGateway)
		Eventually(time.Now).Should(BeTemporally(">", refused.CreationTimestamp.Add(time.Second)))
		p := env.policy("limit", ingressKind, "shop")
		env.create(p)
		env.waitForReadyPolicy(p, 1)
	})

	It("are a policy and its successor of the same name, after kubectl delete --cascade=orphan", func() {
		env := newRivals(2)
		ids := env.ids(env.younger)
		Expect(k8s.Delete(env.ctx, env.younger, client.PropagationPolicy(metav1.DeletePropagationOrphan))).To(Succeed())
		// This API server has no garbage collector: it would remove the owner references and its finalizer.
		Eventually(func(g Gomega) {
			env.reload(g, env.younger)
			g.Expect(env.younger.Finalizers).To(ConsistOf(metav1.FinalizerOrphanDependents))
		}).Should(Succeed())
		for _, binding := range env.bindingsOf(env.younger) {
			change(env.testEnv, &binding, func(b *v1alpha1.PluginBinding) { b.OwnerReferences = nil })
		}
		change(env.testEnv, env.younger, func(p *v1alpha1.PluginPolicy) { p.Finalizers = nil })
		env.waitUntilGone(env.younger)

		again := env.policy(env.younger.Name, ingressKind, "shop")
		again.Spec.Template.Spec.Config = jsonOf(`{"minute": 6, "policy": "local"}`)
		env.create(again)
		env.waitForReadyPolicy(again, 2)
		Expect(env.ids(again)).To(Equal(ids))
		Expect(env.kong.Plugin(ids[0])["config"]).To(HaveKeyWithValue("minute", BeEquivalentTo(6)))
		env.expectPassedOn(env.mark)
		env.expectNoGap()
	})
})
