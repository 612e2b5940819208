package integration

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// tenantEnv is a story with a second namespace, whose bindings want the first one's gateway.
type tenantEnv struct {
	*testEnv
	tenant string
}

func newTenantEnv() tenantEnv {
	GinkgoHelper()
	env := newEnvWithoutOperator()
	timed := tenantEnv{env, env.newNamespace(nil)}
	env.startOperator()
	env.waitForGateway()
	return timed
}

// tenantBinding is a binding of the tenant, not yet created.
func (timed tenantEnv) tenantBinding(edit ...func(*v1alpha1.PluginBinding)) *v1alpha1.PluginBinding {
	binding := timed.binding("limit", edit...)
	binding.Namespace, binding.Spec.GatewayRef.Namespace = timed.tenant, timed.namespace
	return binding
}

// allowBindings sets the gateway's allowedBindings.
func (timed tenantEnv) allowBindings(allowed *v1alpha1.AllowedBindings) {
	GinkgoHelper()
	change(timed.testEnv, timed.gateway("kong"), func(gw *v1alpha1.KongGateway) { gw.Spec.AllowedBindings = allowed })
}

func namespacesFrom(namespaces v1alpha1.FromNamespaces) *v1alpha1.AllowedNamespaces {
	return &v1alpha1.AllowedNamespaces{From: namespaces}
}

var _ = Describe("Bad input: what the gateway does not allow", func() {
	all := namespacesFrom(v1alpha1.NamespacesFromAll)
	notAllowed := func(says ...string) conditionMatch {
		return conditionMatch{condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonNotAllowedByGateway, contains: says}
	}

	It("is another namespace's binding, until the gateway allows all", func() {
		timed := newTenantEnv()
		unchanged := timed.snapshotKong()
		binding := timed.tenantBinding()
		timed.create(binding)
		timed.expectCondition(binding, notAllowed("KongGateway "+timed.namespace+"/kong does not allow bindings from namespace "+timed.tenant, "spec.allowedBindings.namespaces"))
		Expect(binding.Finalizers).To(BeEmpty(), "nothing to clean up after")
		timed.expectNoStatusWrite(binding)
		unchanged()

		timed.allowBindings(&v1alpha1.AllowedBindings{Namespaces: all})
		timed.waitUntilReady(binding)
	})

	It("is a binding of a namespace that the selector does not select, until it is labelled", func() {
		timed := newTenantEnv()
		timed.allowBindings(&v1alpha1.AllowedBindings{Namespaces: &v1alpha1.AllowedNamespaces{
			From:     v1alpha1.NamespacesFromSelector,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"kong": "shared"}},
		}})
		unchanged := timed.snapshotKong()
		binding := timed.tenantBinding()
		timed.create(binding)
		timed.expectCondition(binding, notAllowed("does not allow bindings from namespace "+timed.tenant, "spec.allowedBindings.namespaces"))
		timed.expectNoStatusWrite(binding)
		unchanged()

		change(timed.testEnv, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: timed.tenant}}, func(namespace *corev1.Namespace) {
			namespace.Labels["kong"] = "shared"
		})
		timed.waitUntilReady(binding)
	})

	It("is a binding that it allowed before: its plugin stays as it was", func() {
		timed := newTenantEnv()
		timed.allowBindings(&v1alpha1.AllowedBindings{Namespaces: all})
		binding := timed.createReady(timed.tenantBinding())
		unchanged := timed.snapshotKong()
		timed.allowBindings(&v1alpha1.AllowedBindings{Namespaces: namespacesFrom(v1alpha1.NamespacesFromSame)})
		timed.expectCondition(binding, notAllowed("does not allow bindings from namespace "+timed.tenant, "plugin "+string(binding.Status.PluginID)+" stays in Kong as it last was"))
		timed.expectNoStatusWrite(binding)
		unchanged()

		Expect(k8s.Delete(timed.ctx, binding)).To(Succeed())
		timed.waitUntilGone(binding)
		Expect(timed.kong.Plugins()).To(BeEmpty())
	})

	DescribeTable("is a plugin from another namespace",
		func(allowed *v1alpha1.AllowedPlugins, edit ...func(*v1alpha1.PluginBinding)) {
			timed := newTenantEnv()
			timed.allowBindings(&v1alpha1.AllowedBindings{Namespaces: all, Plugins: allowed})
			unchanged := timed.snapshotKong()
			binding := timed.tenantBinding(edit...)
			timed.create(binding)
			timed.expectCondition(binding, notAllowed("KongGateway "+timed.namespace+"/kong does not allow the plugin "+string(binding.Spec.Plugin)+" from other namespaces", "see its spec.allowedBindings.plugins"))
			timed.expectNoStatusWrite(binding)
			unchanged()
		},
		Entry("that is not among those it allows", &v1alpha1.AllowedPlugins{Allow: []v1alpha1.PluginName{"key-auth", "cors"}}),
		Entry("that it denies", &v1alpha1.AllowedPlugins{Deny: []v1alpha1.PluginName{"rate-limiting"}}),
		Entry("that it denies and allows", &v1alpha1.AllowedPlugins{Allow: []v1alpha1.PluginName{"rate-limiting"}, Deny: []v1alpha1.PluginName{"rate-limiting"}}),
		Entry("that runs code, unless it is told otherwise", nil, withPlugin("pre-function", `{"access": ["return 1"]}`)),
		Entry("that runs code, although only another is denied", &v1alpha1.AllowedPlugins{Deny: []v1alpha1.PluginName{"rate-limiting"}}, withPlugin("post-function", `{"access": ["return 1"]}`)),
	)

	It("is not a plugin that runs code and is allowed by name", func() {
		timed := newTenantEnv()
		timed.allowBindings(&v1alpha1.AllowedBindings{Namespaces: all, Plugins: &v1alpha1.AllowedPlugins{Allow: []v1alpha1.PluginName{"pre-function"}}})
		timed.createReady(timed.tenantBinding(withPlugin("pre-function", `{"access": ["return 1"]}`)))
	})

	It("is not a plugin that runs code in the gateway's own namespace", func() {
		env := newTestEnv()
		env.createReady(env.binding("code", withPlugin("pre-function", `{"access": ["return 1"]}`)))
	})

	It("does not hold up the deletion of the gateway", func() {
		timed := newTenantEnv()
		binding := timed.tenantBinding()
		timed.create(binding)
		timed.expectCondition(binding, notAllowed("KongGateway "+timed.namespace+"/kong does not allow bindings"))
		gw := timed.gateway("kong")
		Expect(k8s.Delete(timed.ctx, gw)).To(Succeed())
		timed.waitUntilGone(gw)
		timed.expectCondition(binding, conditionMatch{condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonGatewayNotFound})
	})

	It("is code in the config of a plugin that is not allowed by name", func() {
		const code = `{"path": "/tmp/log", "custom_fields_by_lua": {"x": "return 1"}}`
		timed := newTenantEnv()
		timed.allowBindings(&v1alpha1.AllowedBindings{Namespaces: all})
		unchanged := timed.snapshotKong()
		binding := timed.tenantBinding(withPlugin("file-log", code))
		timed.create(binding)
		timed.expectCondition(binding, notAllowed("KongGateway "+timed.namespace+"/kong does not allow config.custom_fields_by_lua, which is code, from other namespaces", "have the plugin file-log allowed by name"))
		timed.expectNoStatusWrite(binding)
		unchanged()

		timed.allowBindings(&v1alpha1.AllowedBindings{Namespaces: all, Plugins: &v1alpha1.AllowedPlugins{Allow: []v1alpha1.PluginName{"file-log"}}})
		timed.waitUntilReady(binding)
	})

	It("is not code in the gateway's own namespace, nor a plugin that could have some", func() {
		env := newTestEnv()
		env.createReady(env.binding("code", withPlugin("file-log", `{"path": "/tmp/log", "custom_fields_by_lua": {"x": "return 1"}}`)))
		timed := newTenantEnv()
		timed.allowBindings(&v1alpha1.AllowedBindings{Namespaces: all})
		timed.createReady(timed.tenantBinding(withPlugin("file-log", `{"path": "/tmp/log", "custom_fields_by_lua": {}}`)))
	})

	It("is a plugin for everyone's traffic from another namespace, until the gateway allows that", func() {
		timed := newTenantEnv()
		timed.allowBindings(&v1alpha1.AllowedBindings{Namespaces: all})
		unchanged := timed.snapshotKong()
		binding := timed.tenantBinding(withScope(nil))
		timed.create(binding)
		timed.expectCondition(binding, notAllowed("KongGateway "+timed.namespace+"/kong does not allow plugins without a scope from other namespaces", "set spec.scope, or its spec.allowedBindings.globalScope"))
		timed.expectNoStatusWrite(binding)
		unchanged()

		timed.allowBindings(&v1alpha1.AllowedBindings{Namespaces: all, GlobalScope: v1alpha1.GlobalScopeAllowed})
		timed.waitUntilReady(binding)
	})
})
