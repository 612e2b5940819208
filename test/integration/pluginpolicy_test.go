package integration

import (
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// touch changes an Ingress so that Kong's ingress controller would look at it.
func touch(env *testEnv, ingress *networkingv1.Ingress, host string) {
	GinkgoHelper()
	change(env, ingress, func(i *networkingv1.Ingress) {
		i.Spec.Rules = append(i.Spec.Rules, networkingv1.IngressRule{Host: host})
	})
}

// entityLists counts the lists of routes by tags since a mark of the journal.
func (env *testEnv) entityLists(mark int) (n int) {
	for _, r := range env.kong.Journal().Since(mark).Requests {
		if r.Method == http.MethodGet && r.Template == "/routes" && strings.Contains(r.Query, "tags=") {
			n++
		}
	}
	return n
}

var _ = Describe("A policy", func() {
	It("puts its plugin on every route of an Ingress, on a new host at once, and writes nothing after a restart", func() {
		env := newPolicyEnv().started()
		shop := env.ingress("shop")
		env.create(shop, env.service("shop"))
		first := env.kicRoute(ingressKind, "shop", "a.example.com")
		p := env.policy("limit", ingressKind, "shop")
		env.create(p)
		env.waitForReadyPolicy(p, 1)
		Expect(p.Status.TargetSummary).To(Equal("Ingress/shop"))
		Expect(p.Status.Targets[0].Entities).To(BeEquivalentTo(1))
		binding := env.bindingOn(p, first)
		Expect(binding.Spec.Scope.Service).NotTo(BeNil(), "the scope is the route and its service")
		Expect(metav1.GetControllerOf(binding).UID).To(Equal(p.UID))

		touch(env, shop, "b.example.com")
		second := env.kicRoute(ingressKind, "shop", "b.example.com")
		Eventually(env.bindingOn).WithArguments(p, second).ShouldNot(BeNil())
		env.waitForReadyPolicy(p, 2)

		env.stopOperator()
		mark := env.kong.Journal().Mark()
		version := env.bindingOn(p, first).ResourceVersion
		env.started()
		Consistently(func(g Gomega) {
			g.Expect(env.kong.Journal().Since(mark).Writes()).To(BeEmpty())
			g.Expect(env.bindingOn(p, first).ResourceVersion).To(Equal(version))
		}, "1s").Should(Succeed())
		Expect(env.entityLists(mark)).To(BeNumerically("<=", 2), "it asks no more than once per target")
	})

	It("follows a Service, an HTTPRoute and a consumer", func() {
		installKind(httpRoute, "httproutes", "v1")
		installKind(consumer, "kongconsumers", "v1")
		env := newPolicyEnv().started()
		env.create(env.service("shop"), env.object(httpRoute, "v1", "store"), env.object(consumer, "v1", "carol"))
		service := env.kicService("shop")
		carts := env.kicRoute(httpRoute, "store", "carts", "k8s-named-route-rule:carts")
		pay := env.kicRoute(httpRoute, "store", "pay", "k8s-named-route-rule:pay")
		env.kong.Seed("consumers", map[string]any{"username": "carol", "tags": env.kicTags(consumer, "carol")})

		onService, onRule, onConsumer := env.policy("service", serviceKind, "shop"), env.policy("rule", httpRoute, "store"), env.policy("carol", consumer, "carol")
		onRule.Spec.TargetRefs[0].SectionName = "pay"
		env.create(onService, onRule, onConsumer)
		for p, entity := range map[*v1alpha1.PluginPolicy]string{onService: service, onRule: pay, onConsumer: "carol"} {
			env.waitForReadyPolicy(p, 1)
			Expect(env.bindingOn(p, entity)).NotTo(BeNil(), p.Name)
		}
		Expect(env.bindingOn(onRule, carts)).To(BeNil(), "another rule")
		Expect(env.bindingOn(onService, service).Spec.Scope.Route).To(BeNil())
	})

	It("limits a consumer on an Ingress", func() {
		env := newPolicyEnv().started()
		env.create(env.ingress("shop"))
		route := env.kicRoute(ingressKind, "shop", "a.example.com")
		p := env.policy("limit", ingressKind, "shop", func(p *v1alpha1.PluginPolicy) {
			p.Spec.Template.Spec.Scope = &v1alpha1.TemplateScope{Consumer: v1alpha1.ConsumerRef{Username: "alice"}}
		})
		env.create(p)
		plugin := env.kong.Plugin(env.idOn(p, route))
		Expect(plugin["consumer"]).NotTo(BeNil())
		Expect(plugin["route"]).NotTo(BeNil())
	})

	It("keeps the plugin IDs of an Ingress that is deleted and made again, and drops them when retention is over", func() {
		env := newPolicyEnv().started()
		shop := env.ingress("shop")
		env.create(shop)
		route := env.kicRoute(ingressKind, "shop", "a.example.com")
		p := env.policy("limit", ingressKind, "shop")
		env.create(p)
		id := env.idOn(p, route)

		Expect(k8s.Delete(env.ctx, shop)).To(Succeed())
		env.kong.Delete("routes", route)
		env.waitForPolicy(p, metav1.ConditionFalse, v1alpha1.ReasonTargetNotFound)
		Eventually(func(g Gomega) {
			env.reload(g, p)
			g.Expect(p.Status.Bindings.Retained).To(BeEquivalentTo(1))
		}).Should(Succeed())
		Expect(env.kong.Plugin(id)).To(BeNil(), "Kong deleted it together with its route")

		env.create(env.ingress("shop"))
		Expect(env.kicRoute(ingressKind, "shop", "a.example.com")).To(Equal(route))
		Expect(env.idOn(p, route)).To(Equal(id))
		env.waitForReadyPolicy(p, 1)
		Expect(env.bindingOn(p, route).Annotations).NotTo(HaveKey(v1alpha1.EntityGoneSinceAnnotation))

		change(env, p, func(p *v1alpha1.PluginPolicy) { p.Spec.Retention = "1s" })
		env.kong.Delete("routes", route)
		touch(env, env.ingress("shop"), "b.example.com")
		Eventually(env.bindingsOf).WithArguments(p).Should(BeEmpty())
		ready := env.waitForPolicy(p, metav1.ConditionFalse, v1alpha1.ReasonEntitiesNotFound)
		Expect(ready.Message).To(ContainSubstring("k8s-name:shop, k8s-namespace:" + env.namespace + ", k8s-kind:Ingress"))
	})

	It("says that a target is missing, and names where a policy looks", func() {
		env := newPolicyEnv().started()
		p := env.policy("limit", ingressKind, "shop")
		env.create(p)
		ready := env.waitForPolicy(p, metav1.ConditionFalse, v1alpha1.ReasonTargetNotFound)
		Expect(ready.Message).To(Equal("Namespace " + env.namespace + " has no Ingress/shop. A policy attaches to objects of its own namespace only. " +
			"Create the object, correct spec.targetRefs, or create a policy in the namespace of the object."))

		env.create(env.ingress("shop"))
		env.waitForPolicy(p, metav1.ConditionFalse, v1alpha1.ReasonEntitiesNotFound)
		route := env.kicRoute(ingressKind, "shop", "a.example.com")
		Eventually(env.bindingOn).WithArguments(p, route).ShouldNot(BeNil())
	})

	It("waits for a kind that is not installed, and finds it without a restart", func() {
		env := newPolicyEnv().started()
		kind := ingressKind
		kind.Group, kind.Kind = "gateway.networking.k8s.io", "GRPCRoute"
		p := env.policy("limit", kind, "greeter")
		env.create(p)
		ready := env.waitForPolicy(p, metav1.ConditionFalse, v1alpha1.ReasonTargetKindNotInstalled)
		Expect(ready.Message).To(ContainSubstring("does not have the kind GRPCRoute.gateway.networking.k8s.io"))

		uninstall := installKind(kind, "grpcroutes", "v1")
		env.create(env.object(kind, "v1", "greeter"))
		route := env.kicRoute(kind, "greeter", "a.example.com")
		Eventually(env.bindingOn).WithArguments(p, route).WithTimeout(2 * patience).ShouldNot(BeNil())
		env.waitForReadyPolicy(p, 1)

		uninstall()
		Eventually(func() string { env.reload(Default, p); return p.Status.Conditions[0].Reason }).WithTimeout(2 * patience).
			Should(Equal(v1alpha1.ReasonTargetKindNotInstalled))
		Expect(env.bindingOn(p, route)).NotTo(BeNil(), "Kong still has the route")
	})

	It("yields to an older policy and to an older binding, and takes the place when they go", func() {
		env := newPolicyEnv().started()
		env.create(env.ingress("shop"))
		route := env.kicRoute(ingressKind, "shop", "a.example.com")
		older := env.policy("older", ingressKind, "shop")
		env.create(older)
		env.waitForReadyPolicy(older, 1)
		younger := env.policy("younger", ingressKind, "shop")
		env.create(younger)
		ready := env.waitForPolicy(younger, metav1.ConditionFalse, v1alpha1.ReasonConflicted)
		Expect(ready.Message).To(Equal("PluginPolicy " + keyOf(older).String() + " is older and has the plugin rate-limiting on route named \"" + route + "\". " +
			"The operator keeps that one, and makes no binding of this policy there. Delete one of the two, or remove the target from one of them."))
		Expect(env.bindingsOf(younger)).To(BeEmpty())

		Expect(k8s.Delete(env.ctx, older)).To(Succeed())
		env.waitUntilGone(older)
		env.waitForReadyPolicy(younger, 1)
	})

	It("leaves a binding that has the name of one of its own", func() {
		env := newPolicyEnv().started()
		env.create(env.ingress("shop"))
		route := env.kicRoute(ingressKind, "shop", "a.example.com")
		p := env.policy("limit", ingressKind, "shop")
		env.create(p)
		env.waitForReadyPolicy(p, 1)
		name := env.bindingOn(p, route).Name
		Expect(k8s.Delete(env.ctx, p)).To(Succeed())
		env.waitUntilGone(p)

		foreign := env.createReady(env.binding(name))
		p = env.policy("limit", ingressKind, "shop")
		env.create(p)
		ready := env.waitForPolicy(p, metav1.ConditionFalse, v1alpha1.ReasonConflicted)
		Expect(ready.Message).To(ContainSubstring("PluginBinding " + keyOf(foreign).String() + " has the name that this policy needs"))
		Expect(k8s.Get(env.ctx, keyOf(foreign), foreign)).To(Succeed())
		Expect(foreign.OwnerReferences).To(BeEmpty())
		Expect(foreign.Spec.Scope.Route).To(BeNil())

		Expect(k8s.Delete(env.ctx, foreign)).To(Succeed())
		env.waitForReadyPolicy(p, 1)
	})

	It("puts back what somebody changes in its bindings, and deletes them with the target", func() {
		env := newPolicyEnv().started()
		env.create(env.ingress("shop"), env.ingress("admin"))
		shop, admin := env.kicRoute(ingressKind, "shop", "a.example.com"), env.kicRoute(ingressKind, "admin", "b.example.com")
		p := env.policy("limit", ingressKind, "shop")
		p.Spec.TargetRefs = append(p.Spec.TargetRefs, v1alpha1.PolicyTargetRef{Group: ingressKind.Group, Kind: ingressKind.Kind, Name: "admin"})
		env.create(p)
		env.waitForReadyPolicy(p, 2)

		binding := env.bindingOn(p, shop)
		change(env, binding, func(b *v1alpha1.PluginBinding) {
			b.Spec.Config, b.Spec.Tags, b.Labels = jsonOf(`{"minute": 9000}`), []v1alpha1.Tag{"mine"}, nil
		})
		Eventually(func(g Gomega) {
			env.reload(g, binding)
			g.Expect(binding.Spec.Config.Raw).To(MatchJSON(`{"minute": 5, "policy": "local"}`))
			g.Expect(binding.Spec.Tags).To(BeEmpty())
			g.Expect(binding.Labels).To(HaveKeyWithValue(v1alpha1.PolicyLabel, "limit"))
		}).Should(Succeed())

		change(env, p, func(p *v1alpha1.PluginPolicy) { p.Spec.TargetRefs = p.Spec.TargetRefs[:1] })
		env.waitForReadyPolicy(p, 1)
		Eventually(env.bindingOn).WithArguments(p, admin).Should(BeNil())
		Expect(env.bindingOn(p, shop)).NotTo(BeNil())
	})

	It("takes its bindings and their plugins along, however early it is deleted", func() {
		env := newPolicyEnv().started()
		env.create(env.ingress("shop"))
		for _, host := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			env.kicRoute(ingressKind, "shop", host+".example.com")
		}
		p := env.policy("limit", ingressKind, "shop")
		env.create(p)
		Eventually(env.bindingsOf).WithArguments(p).ShouldNot(BeEmpty())
		Expect(k8s.Delete(env.ctx, p)).To(Succeed())
		env.waitUntilGone(p)
		Expect(env.bindingsOf(p)).To(BeEmpty())
		Consistently(func() []map[string]any { return env.kong.Plugins() }, "500ms").Should(BeEmpty())
	})

	It("is told that its gateway does not allow it, and which tag an entity lacks", func() {
		env := newPolicyEnv(func(gateway *v1alpha1.KongGateway) {
			gateway.Spec.AllowedBindings = &v1alpha1.AllowedBindings{
				Namespaces: &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromAll}, Entities: v1alpha1.EntitiesSameNamespace,
			}
		})
		tenant := env.newNamespace(nil)
		env.started()
		selecting := env.policy("by-tags", ingressKind, "", func(p *v1alpha1.PluginPolicy) {
			p.Namespace, p.Spec.GatewayRef.Namespace = tenant, env.namespace
			p.Spec.TargetRefs, p.Spec.EntitySelector = nil, &v1alpha1.EntitySelector{Kind: v1alpha1.SelectRoutes, Tags: []v1alpha1.SelectedTag{"team"}}
		})
		env.kong.Edit("routes", "orders-v1", map[string]any{"tags": []any{"team"}})
		env.create(selecting)
		ready := env.waitForPolicy(selecting, metav1.ConditionFalse, v1alpha1.ReasonNotAllowedByGateway)
		Expect(ready.Message).To(ContainSubstring("does not allow spec.entitySelector from namespace " + tenant))

		gateway := env.gateway("kong")
		change(env, gateway, func(g *v1alpha1.KongGateway) {
			g.Spec.AllowedBindings.EntitySelectors = v1alpha1.EntitySelectorsAllowed
		})
		Eventually(func() string {
			return env.waitForPolicy(selecting, metav1.ConditionFalse, v1alpha1.ReasonNotAllowedByGateway).Message
		}).Should(ContainSubstring("allows only entities with the tag k8s-namespace:" + tenant + ", which is missing on route orders-v1"))
		Expect(env.bindingsOf(selecting)).To(BeEmpty())
	})
})
