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
	base := newEnvWithoutOperator()
	env := tenantEnv{base, base.newNamespace(nil)}
	env.startOperator()
	env.waitForGateway()
	return env
}

// tenantBinding is a binding of the tenant, not yet created.
func (env tenantEnv) tenantBinding(edit ...func(*v1alpha1.PluginBinding)) *v1alpha1.PluginBinding {
	binding := env.binding("limit", edit...)
	binding.Namespace, binding.Spec.GatewayRef.Namespace = env.tenant, env.namespace
	return binding
}

// allowBindings sets the gateway's allowedBindings.
func (env tenantEnv) allowBindings(allowed *v1alpha1.AllowedBindings) {
	GinkgoHelper()
	change(env.testEnv, env.gateway("kong"), func(gw *v1alpha1.KongGateway) { gw.Spec.AllowedBindings = allowed })
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
		env := newTenantEnv()
		unchanged := env.snapshotKong()
		binding := env.tenantBinding()
		env.create(binding)
		env.expectCondition(binding, notAllowed("KongGateway "+env.namespace+"/kong does not allow bindings from namespace "+env.tenant, "spec.allowedBindings.namespaces"))
		Expect(binding.Finalizers).To(BeEmpty(), "nothing to clean up after")
		env.expectNoStatusWrite(binding)
		unchanged()

		env.allowBindings(&v1alpha1.AllowedBindings{Namespaces: all})
		env.waitUntilReady(binding)
	})

	It("is a binding of a namespace that the selector does not select, until it is labelled", func() {
		env := newTenantEnv()
		env.allowBindings(&v1alpha1.AllowedBindings{Namespaces: &v1alpha1.AllowedNamespaces{
			From:     v1alpha1.NamespacesFromSelector,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"kong": "shared"}},
		}})
		unchanged := env.snapshotKong()
		binding := env.tenantBinding()
		env.create(binding)
		env.expectCondition(binding, notAllowed("does not allow bindings from namespace "+env.tenant, "spec.allowedBindings.namespaces"))
		env.expectNoStatusWrite(binding)
		unchanged()

		change(env.testEnv, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: env.tenant}}, func(namespace *corev1.Namespace) {
			namespace.Labels["kong"] = "shared"
		})
		env.waitUntilReady(binding)
	})

	It("is a binding that it allowed before: its plugin stays as it was", func() {
		env := newTenantEnv()
		env.allowBindings(&v1alpha1.AllowedBindings{Namespaces: all})
		binding := env.createReady(env.tenantBinding())
		unchanged := env.snapshotKong()
		env.allowBindings(&v1alpha1.AllowedBindings{Namespaces: namespacesFrom(v1alpha1.NamespacesFromSame)})
		env.expectCondition(binding, notAllowed("does not allow bindings from namespace "+env.tenant, "plugin "+string(binding.Status.PluginID)+" stays in Kong as it last was"))
		env.expectNoStatusWrite(binding)
		unchanged()

		Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
		env.waitUntilGone(binding)
		Expect(env.kong.Plugins()).To(BeEmpty())
	})

	DescribeTable("is a plugin from another namespace",
		func(allowed *v1alpha1.AllowedPlugins, edit ...func(*v1alpha1.PluginBinding)) {
			env := newTenantEnv()
			env.allowBindings(&v1alpha1.AllowedBindings{Namespaces: all, Plugins: allowed})
			unchanged := env.snapshotKong()
			binding := env.tenantBinding(edit...)
			env.create(binding)
			env.expectCondition(binding, notAllowed("KongGateway "+env.namespace+"/kong", "plugin "+string(binding.Spec.Plugin), "spec.allowedBindings.plugins"))
			env.expectNoStatusWrite(binding)
			unchanged()
		},
		Entry("that is not among those it allows", &v1alpha1.AllowedPlugins{Allow: []v1alpha1.PluginName{"key-auth", "cors"}}),
		Entry("that it denies", &v1alpha1.AllowedPlugins{Deny: []v1alpha1.PluginName{"rate-limiting"}}),
		Entry("that it denies and allows", &v1alpha1.AllowedPlugins{Allow: []v1alpha1.PluginName{"rate-limiting"}, Deny: []v1alpha1.PluginName{"rate-limiting"}}),
		Entry("that runs code, unless it is told otherwise", nil, withPlugin("pre-function", `{"access": ["return 1"]}`)),
		Entry("that runs code, although only another is denied", &v1alpha1.AllowedPlugins{Deny: []v1alpha1.PluginName{"rate-limiting"}}, withPlugin("post-function", `{"access": ["return 1"]}`)),
	)

	It("is not a plugin that runs code and is allowed by name", func() {
		env := newTenantEnv()
		env.allowBindings(&v1alpha1.AllowedBindings{Namespaces: all, Plugins: &v1alpha1.AllowedPlugins{Allow: []v1alpha1.PluginName{"pre-function"}}})
		env.createReady(env.tenantBinding(withPlugin("pre-function", `{"access": ["return 1"]}`)))
	})

	It("is not a plugin that runs code in the gateway's own namespace", func() {
		env := newTestEnv()
		env.createReady(env.binding("code", withPlugin("pre-function", `{"access": ["return 1"]}`)))
	})

	It("does not hold up the deletion of the gateway", func() {
		env := newTenantEnv()
		binding := env.tenantBinding()
		env.create(binding)
		env.expectCondition(binding, notAllowed("KongGateway "+env.namespace+"/kong does not allow bindings"))
		gw := env.gateway("kong")
		Expect(k8s.Delete(env.ctx, gw)).To(Succeed())
		env.waitUntilGone(gw)
		env.expectCondition(binding, conditionMatch{condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonGatewayNotFound})
	})

	It("is code in the config of a plugin that is not allowed by name", func() {
		const code = `{"path": "/tmp/log", "custom_fields_by_lua": {"x": "return 1"}}`
		env := newTenantEnv()
		env.allowBindings(&v1alpha1.AllowedBindings{Namespaces: all})
		unchanged := env.snapshotKong()
		binding := env.tenantBinding(withPlugin("file-log", code))
		env.create(binding)
		env.expectCondition(binding, notAllowed("The config of the plugin file-log has code in custom_fields_by_lua", "KongGateway "+env.namespace+"/kong", "spec.allowedBindings.plugins.allow"))
		env.expectNoStatusWrite(binding)
		unchanged()

		env.allowBindings(&v1alpha1.AllowedBindings{Namespaces: all, Plugins: &v1alpha1.AllowedPlugins{Allow: []v1alpha1.PluginName{"file-log"}}})
		env.waitUntilReady(binding)
	})

	It("is not code in the gateway's own namespace, nor a plugin that could have some", func() {
		env := newTestEnv()
		env.createReady(env.binding("code", withPlugin("file-log", `{"path": "/tmp/log", "custom_fields_by_lua": {"x": "return 1"}}`)))
		tenant := newTenantEnv()
		tenant.allowBindings(&v1alpha1.AllowedBindings{Namespaces: all})
		tenant.createReady(tenant.tenantBinding(withPlugin("file-log", `{"path": "/tmp/log", "custom_fields_by_lua": {}}`)))
	})

	It("is a plugin for everyone's traffic from another namespace, until the gateway allows that", func() {
		env := newTenantEnv()
		env.allowBindings(&v1alpha1.AllowedBindings{Namespaces: all})
		unchanged := env.snapshotKong()
		binding := env.tenantBinding(withScope(nil))
		env.create(binding)
		env.expectCondition(binding, notAllowed("KongGateway "+env.namespace+"/kong does not allow a plugin without a scope from namespace", "spec.allowedBindings.globalScope"))
		env.expectNoStatusWrite(binding)
		unchanged()

		env.allowBindings(&v1alpha1.AllowedBindings{Namespaces: all, GlobalScope: v1alpha1.GlobalScopeAllowed})
		env.waitUntilReady(binding)
	})
})
