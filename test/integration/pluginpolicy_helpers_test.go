package integration

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/policy"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// newPolicyEnv is an environment whose gateway is resynced so seldom that no story waits for it: what a
// policy finds, it has looked for.
func newPolicyEnv(change ...func(*v1alpha1.KongGateway)) *testEnv {
	GinkgoHelper()
	env := newEnvWithoutOperator()
	gateway := env.gateway("kong")
	Expect(k8s.Get(env.ctx, keyOf(gateway), gateway)).To(Succeed())
	base := gateway.DeepCopy()
	gateway.Spec.ResyncInterval = "1h"
	for _, c := range change {
		c(gateway)
	}
	Expect(k8s.Patch(env.ctx, gateway, client.MergeFrom(base))).To(Succeed())
	return env
}

// started starts the operator, and waits for its gateway.
func (env *testEnv) started() *testEnv {
	GinkgoHelper()
	env.startOperator()
	env.waitForGateway()
	return env
}

var (
	ingressKind = schema.GroupKind{Group: "networking.k8s.io", Kind: "Ingress"}
	serviceKind = schema.GroupKind{Kind: "Service"}
	httpRoute   = schema.GroupKind{Group: "gateway.networking.k8s.io", Kind: "HTTPRoute"}
	consumer    = schema.GroupKind{Group: "configuration.konghq.com", Kind: "KongConsumer"}
)

// policy returns a PluginPolicy of rate-limiting on an object. It does not create it.
func (env *testEnv) policy(name string, kind schema.GroupKind, target string, change ...func(*v1alpha1.PluginPolicy)) *v1alpha1.PluginPolicy {
	p := &v1alpha1.PluginPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: name},
		Spec: v1alpha1.PluginPolicySpec{
			GatewayRef: v1alpha1.GatewayRef{Name: "kong"},
			TargetRefs: []v1alpha1.PolicyTargetRef{{Group: kind.Group, Kind: kind.Kind, Name: target}},
			Template: v1alpha1.PluginBindingTemplate{Spec: v1alpha1.PluginTemplateSpec{
				Plugin: "rate-limiting", Config: jsonOf(`{"minute": 5, "policy": "local"}`),
			}},
		},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

func (env *testEnv) ingress(name string) *networkingv1.Ingress {
	return &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: name},
		Spec: networkingv1.IngressSpec{DefaultBackend: &networkingv1.IngressBackend{
			Service: &networkingv1.IngressServiceBackend{Name: "shop", Port: networkingv1.ServiceBackendPort{Number: 80}},
		}},
	}
}

func (env *testEnv) service(name string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: name},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
	}
}

// kicTags are the tags that Kong's ingress controller puts on what it makes of an object.
func (env *testEnv) kicTags(kind schema.GroupKind, name string, more ...string) []any {
	tags := []any{"k8s-name:" + name, "k8s-namespace:" + env.namespace, "k8s-kind:" + kind.Kind, "k8s-uid:1"}
	if kind.Group != "" {
		tags = append(tags, "k8s-group:"+kind.Group)
	}
	for _, tag := range more {
		tags = append(tags, tag)
	}
	return append(tags, "k8s-version:v1", "managed-by-ingress-controller")
}

// kicService is the Kong service of a Service.
func (env *testEnv) kicService(name string) string {
	kong := env.namespace + "." + name + ".80"
	if env.kong.Entity("services", kong) == nil {
		env.kong.Seed("services", map[string]any{"name": kong, "url": "http://127.0.0.1:9", "tags": env.kicTags(serviceKind, name)})
	}
	return kong
}

// kicRoute makes the Kong route of an Ingress or HTTPRoute for a host, as Kong's ingress controller
// does, and returns its name.
func (env *testEnv) kicRoute(kind schema.GroupKind, name, host string, more ...string) string {
	service := env.kicService("shop")
	route := fmt.Sprintf("%s.%s.shop.%s.80", env.namespace, name, host)
	env.kong.Seed("routes", map[string]any{
		"name": route, "hosts": []any{host}, "service": map[string]any{"name": service}, "tags": env.kicTags(kind, name, more...),
	})
	return route
}

// waitForPolicy waits until Ready of the current generation of the policy has that reason.
func (env *testEnv) waitForPolicy(p *v1alpha1.PluginPolicy, status metav1.ConditionStatus, reason string) *metav1.Condition {
	GinkgoHelper()
	var ready *metav1.Condition
	Eventually(func(g Gomega) {
		env.reload(g, p)
		ready = meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady)
		g.Expect(ready).NotTo(BeNil(), "no Ready condition yet")
		g.Expect(ready.Reason).To(Equal(reason), "%s", ready.Message)
		g.Expect(ready.Status).To(Equal(status))
		g.Expect(ready.ObservedGeneration).To(Equal(p.Generation))
	}).Should(Succeed())
	return ready
}

func (env *testEnv) waitForReadyPolicy(p *v1alpha1.PluginPolicy, bindings int) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		env.reload(g, p)
		g.Expect(p.Status.Bindings).NotTo(BeNil())
		g.Expect(p.Status.Bindings.Ready).To(BeEquivalentTo(bindings), "%+v", p.Status)
		g.Expect(meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionReady)).To(BeTrue(), "%+v", p.Status.Conditions)
	}).Should(Succeed())
}

// bindingsOf returns the bindings of a policy.
func (env *testEnv) bindingsOf(p *v1alpha1.PluginPolicy) []v1alpha1.PluginBinding {
	GinkgoHelper()
	list := &v1alpha1.PluginBindingList{}
	Expect(k8s.List(env.ctx, list, client.InNamespace(p.Namespace), client.MatchingLabels{v1alpha1.PolicyLabel: policy.LabelOf(p.Name)})).To(Succeed())
	return list.Items
}

// bindingOn returns the binding of a policy on a Kong route, service or consumer, or nil.
func (env *testEnv) bindingOn(p *v1alpha1.PluginPolicy, entity string) *v1alpha1.PluginBinding {
	GinkgoHelper()
	for _, binding := range env.bindingsOf(p) {
		if followed, ok := policy.EntityOf(&binding); ok && followed.Label() == entity {
			return &binding
		}
	}
	return nil
}

// idOn waits for the plugin of a policy on an entity, and returns its ID.
func (env *testEnv) idOn(p *v1alpha1.PluginPolicy, entity string) string {
	GinkgoHelper()
	var id string
	Eventually(func(g Gomega) {
		binding := env.bindingOn(p, entity)
		g.Expect(binding).NotTo(BeNil())
		g.Expect(policy.IsReady(binding)).To(BeTrue(), "%s: %+v", reference.ScopeSummary(binding.Spec.Scope), binding.Status.Conditions)
		id = string(binding.Status.PluginID)
		g.Expect(env.kong.Plugin(id)).NotTo(BeNil())
	}).Should(Succeed())
	return id
}

// installKind installs a minimal CRD for a kind of another project, and removes it after the spec.
func installKind(kind schema.GroupKind, plural, version string) (uninstall func()) {
	GinkgoHelper()
	crd := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: plural + "." + kind.Group, Annotations: map[string]string{"api-approved.kubernetes.io": "unapproved, for a test"}},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: kind.Group, Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Kind: kind.Kind, Plural: plural},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: version, Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
					Type: "object", XPreserveUnknownFields: ptr.To(true),
				}},
			}},
		},
	}
	_, err := envtest.InstallCRDs(restConfig, envtest.CRDInstallOptions{CRDs: []*apiextensionsv1.CustomResourceDefinition{crd}})
	Expect(err).NotTo(HaveOccurred())
	removed := false
	uninstall = func() {
		if !removed {
			removed = true
			Expect(envtest.UninstallCRDs(restConfig, envtest.CRDInstallOptions{CRDs: []*apiextensionsv1.CustomResourceDefinition{crd}})).To(Succeed())
		}
	}
	DeferCleanup(uninstall)
	return uninstall
}

// object is an object of another project.
func (env *testEnv) object(kind schema.GroupKind, version, name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(kind.WithVersion(version))
	o.SetNamespace(env.namespace)
	o.SetName(name)
	return o
}
