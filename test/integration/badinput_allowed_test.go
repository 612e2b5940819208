package integration

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// tenancy is a story with a second namespace, whose bindings want the first one's gateway.
type tenancy struct {
	*story
	tenant string
}

func newTenancy() tenancy {
	GinkgoHelper()
	s := newQuietStory()
	t := tenancy{s, s.newNamespace(nil)}
	s.startOperator()
	s.gatewayReady()
	return t
}

// request is a binding of the tenant, not yet created.
func (t tenancy) request(edit ...func(*v1alpha1.PluginBinding)) *v1alpha1.PluginBinding {
	binding := t.binding("limit", edit...)
	binding.Namespace, binding.Spec.GatewayRef.Namespace = t.tenant, t.namespace
	return binding
}

// allow sets the gateway's allowedBindings.
func (t tenancy) allow(allowed *v1alpha1.AllowedBindings) {
	GinkgoHelper()
	change(t.story, t.gateway("kong"), func(gw *v1alpha1.KongGateway) { gw.Spec.AllowedBindings = allowed })
}

func from(namespaces v1alpha1.FromNamespaces) *v1alpha1.BindingNamespaces {
	return &v1alpha1.BindingNamespaces{From: namespaces}
}

var _ = Describe("Bad input: what the gateway does not allow", func() {
	all := from(v1alpha1.NamespacesFromAll)
	notAllowed := func(says ...string) symptom {
		return symptom{condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonNotAllowedByGateway, says: says}
	}

	It("is another namespace's binding, until the gateway allows all", func() {
		t := newTenancy()
		unchanged := t.kongAsItWas()
		binding := t.request()
		t.create(binding)
		t.shows(binding, notAllowed("KongGateway "+t.namespace+"/kong does not allow bindings from namespace "+t.tenant, "see its spec.allowedBindings.namespaces"))
		Expect(binding.Finalizers).To(BeEmpty(), "nothing to clean up after")
		t.steady(binding)
		unchanged()

		t.allow(&v1alpha1.AllowedBindings{Namespaces: all})
		t.ready(binding)
	})

	It("is a binding of a namespace that the selector does not select, until it is labelled", func() {
		t := newTenancy()
		t.allow(&v1alpha1.AllowedBindings{Namespaces: &v1alpha1.BindingNamespaces{
			From:     v1alpha1.NamespacesFromSelector,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"kong": "shared"}},
		}})
		unchanged := t.kongAsItWas()
		binding := t.request()
		t.create(binding)
		t.shows(binding, notAllowed("does not allow bindings from namespace "+t.tenant, "spec.allowedBindings.namespaces"))
		t.steady(binding)
		unchanged()

		change(t.story, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: t.tenant}}, func(namespace *corev1.Namespace) {
			namespace.Labels["kong"] = "shared"
		})
		t.ready(binding)
	})

	It("is a binding that it allowed before: its plugin stays as it was", func() {
		t := newTenancy()
		t.allow(&v1alpha1.AllowedBindings{Namespaces: all})
		binding := t.created(t.request())
		unchanged := t.kongAsItWas()
		t.allow(&v1alpha1.AllowedBindings{Namespaces: from(v1alpha1.NamespacesFromSame)})
		t.shows(binding, notAllowed("does not allow bindings from namespace "+t.tenant, "plugin "+string(binding.Status.PluginID)+" stays in Kong as it last was"))
		t.steady(binding)
		unchanged()

		Expect(k8s.Delete(t.ctx, binding)).To(Succeed())
		t.gone(binding)
		Expect(t.kong.Plugins()).To(BeEmpty())
	})

	DescribeTable("is a plugin from another namespace",
		func(allowed *v1alpha1.AllowedPlugins, edit ...func(*v1alpha1.PluginBinding)) {
			t := newTenancy()
			t.allow(&v1alpha1.AllowedBindings{Namespaces: all, Plugins: allowed})
			unchanged := t.kongAsItWas()
			binding := t.request(edit...)
			t.create(binding)
			t.shows(binding, notAllowed("KongGateway "+t.namespace+"/kong does not allow the plugin "+string(binding.Spec.Plugin)+" from other namespaces", "see its spec.allowedBindings.plugins"))
			t.steady(binding)
			unchanged()
		},
		Entry("that is not among those it allows", &v1alpha1.AllowedPlugins{Allow: []v1alpha1.PluginName{"key-auth", "cors"}}),
		Entry("that it denies", &v1alpha1.AllowedPlugins{Deny: []v1alpha1.PluginName{"rate-limiting"}}),
		Entry("that it denies and allows", &v1alpha1.AllowedPlugins{Allow: []v1alpha1.PluginName{"rate-limiting"}, Deny: []v1alpha1.PluginName{"rate-limiting"}}),
		Entry("that runs code, unless it is told otherwise", nil, declaring("pre-function", `{"access": ["return 1"]}`)),
		Entry("that runs code, although only another is denied", &v1alpha1.AllowedPlugins{Deny: []v1alpha1.PluginName{"rate-limiting"}}, declaring("post-function", `{"access": ["return 1"]}`)),
	)

	It("is not a plugin that runs code and is allowed by name", func() {
		t := newTenancy()
		t.allow(&v1alpha1.AllowedBindings{Namespaces: all, Plugins: &v1alpha1.AllowedPlugins{Allow: []v1alpha1.PluginName{"pre-function"}}})
		t.created(t.request(declaring("pre-function", `{"access": ["return 1"]}`)))
	})

	It("is not a plugin that runs code in the gateway's own namespace", func() {
		s := newStory()
		s.created(s.binding("code", declaring("pre-function", `{"access": ["return 1"]}`)))
	})

	It("does not hold up the deletion of the gateway", func() {
		t := newTenancy()
		binding := t.request()
		t.create(binding)
		t.shows(binding, notAllowed("KongGateway "+t.namespace+"/kong does not allow bindings"))
		gw := t.gateway("kong")
		Expect(k8s.Delete(t.ctx, gw)).To(Succeed())
		t.gone(gw)
		t.shows(binding, symptom{condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonGatewayNotFound})
	})

	It("is code in the config of a plugin that is not allowed by name", func() {
		const code = `{"path": "/tmp/log", "custom_fields_by_lua": {"x": "return 1"}}`
		t := newTenancy()
		t.allow(&v1alpha1.AllowedBindings{Namespaces: all})
		unchanged := t.kongAsItWas()
		binding := t.request(declaring("file-log", code))
		t.create(binding)
		t.shows(binding, notAllowed("KongGateway "+t.namespace+"/kong does not allow config.custom_fields_by_lua, which is code, from other namespaces", "have the plugin file-log allowed by name"))
		t.steady(binding)
		unchanged()

		t.allow(&v1alpha1.AllowedBindings{Namespaces: all, Plugins: &v1alpha1.AllowedPlugins{Allow: []v1alpha1.PluginName{"file-log"}}})
		t.ready(binding)
	})

	It("is not code in the gateway's own namespace, nor a plugin that could have some", func() {
		s := newStory()
		s.created(s.binding("code", declaring("file-log", `{"path": "/tmp/log", "custom_fields_by_lua": {"x": "return 1"}}`)))
		t := newTenancy()
		t.allow(&v1alpha1.AllowedBindings{Namespaces: all})
		t.created(t.request(declaring("file-log", `{"path": "/tmp/log", "custom_fields_by_lua": {}}`)))
	})

	It("is a plugin for everyone's traffic from another namespace, until the gateway allows that", func() {
		t := newTenancy()
		t.allow(&v1alpha1.AllowedBindings{Namespaces: all})
		unchanged := t.kongAsItWas()
		binding := t.request(scoped(nil))
		t.create(binding)
		t.shows(binding, notAllowed("KongGateway "+t.namespace+"/kong does not allow plugins without a scope from other namespaces", "set spec.scope, or its spec.allowedBindings.globalScope"))
		t.steady(binding)
		unchanged()

		t.allow(&v1alpha1.AllowedBindings{Namespaces: all, GlobalScope: true})
		t.ready(binding)
	})
})
