package integration

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/kic"
)

// ingressEnv has an Ingress, the route that Kong's ingress controller made of it, and a KongPlugin.
type ingressEnv struct {
	*testEnv
	ingress *networkingv1.Ingress
	route   map[string]any
}

func newIngressEnv() *ingressEnv {
	GinkgoHelper()
	env := &ingressEnv{testEnv: newEnvWithoutOperator()}
	prefix := networkingv1.PathTypePrefix
	env.ingress = &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: "shop"},
		Spec: networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{{Host: "one.example", IngressRuleValue: networkingv1.IngressRuleValue{
			HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{Path: "/", PathType: &prefix, Backend: networkingv1.IngressBackend{
				Service: &networkingv1.IngressServiceBackend{Name: "api", Port: networkingv1.ServiceBackendPort{Number: 80}},
			}}}},
		}}}},
	}
	plugin := &unstructured.Unstructured{Object: map[string]any{"plugin": "rate-limiting"}}
	plugin.SetAPIVersion(kic.Group + "/" + kic.Version)
	plugin.SetKind(kic.KongPlugin)
	plugin.SetNamespace(env.namespace)
	plugin.SetName("limit")
	env.create(env.ingress, plugin)
	service := env.kong.Seed("services", map[string]any{"name": "api", "url": "http://127.0.0.1:9"})
	env.route = map[string]any{
		"name": "web.shop.api.one.example.80", "paths": []any{"/"}, "service": map[string]any{"id": service["id"]},
		"tags": []any{"k8s-name:shop", "k8s-namespace:" + env.namespace, "k8s-kind:Ingress", "k8s-uid:" + string(env.ingress.UID), "k8s-group:networking.k8s.io", "k8s-version:v1", "managed-by-ingress-controller"},
	}
	env.kong.Seed("routes", env.route)
	change(env.testEnv, env.gateway("kong"), func(gw *v1alpha1.KongGateway) { gw.Spec.ResyncInterval = "1h" })
	env.startOperator()
	env.waitForGateway()
	return env
}

// annotate sets the names in the annotation of the Ingress.
func (env *ingressEnv) annotate(names string) {
	GinkgoHelper()
	change(env.testEnv, env.ingress, func(i *networkingv1.Ingress) { i.Annotations = map[string]string{kic.PluginsAnnotation: names} })
}

// limit is a binding of rate-limiting on the route.
func (env *ingressEnv) limit() *v1alpha1.PluginBinding {
	return env.binding("limit", func(b *v1alpha1.PluginBinding) { b.Spec.Scope = onRoute("web.shop.api.one.example.80") })
}

var _ = Describe("Beside Kong's ingress controller", func() {
	It("a binding makes no plugin where an annotation stands, and makes it when the annotation goes", func() {
		env := newIngressEnv()
		env.annotate("other,limit")
		binding := env.limit()
		env.create(binding)
		env.waitForReady(binding, metav1.ConditionFalse, v1alpha1.ReasonClaimedByKongPlugin)
		Expect(env.kong.Journal().Writes()).To(BeEmpty())

		env.annotate("other")
		env.waitUntilReady(binding)
		Expect(env.kong.Plugins()).To(HaveLen(1))
	})

	It("an annotation that is added where a binding stands is reported, and the plugin stays", func() {
		env := newIngressEnv()
		binding := env.createReady(env.limit())
		isContested := func(g Gomega) bool {
			env.reload(g, binding)
			return meta.IsStatusConditionTrue(binding.Status.Conditions, v1alpha1.ConditionContested)
		}
		env.annotate("limit")
		Eventually(isContested).Should(BeTrue())
		Eventually(env.eventNotes).WithArguments(binding, v1alpha1.ReasonClaimedByKongPlugin).Should(ConsistOf(
			ContainSubstring("Ingress " + env.namespace + "/shop has the annotation konghq.com/plugins with KongPlugin " + env.namespace + "/limit")))
		Expect(env.waitUntilReady(binding).Status.PluginID).NotTo(BeEmpty())
		Expect(k8s.Delete(env.ctx, env.ingress)).To(Succeed())
		Eventually(isContested).Should(BeFalse())
	})

	It("a binding follows a route that is made again, without a resync", func() {
		env := newIngressEnv()
		binding := env.createReady(env.limit())
		id := binding.Status.PluginID
		change(env.testEnv, env.ingress, func(i *networkingv1.Ingress) { i.Spec.Rules[0].Host = "two.example" })
		env.kong.Delete("routes", env.route["name"].(string))
		env.waitForReady(binding, metav1.ConditionFalse, v1alpha1.ReasonScopeNotFound)
		made := time.Now()
		env.kong.Seed("routes", env.route)
		env.waitUntilReady(binding)
		AddReportEntry("from the route to its plugin", time.Since(made).String())
		Expect(binding.Status.PluginID).To(Equal(id))
		Expect(client.IgnoreNotFound(k8s.Delete(env.ctx, env.ingress))).To(Succeed())
	})
})
