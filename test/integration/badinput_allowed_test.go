package integration

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// tenantEnv is an environment with a second namespace. Its bindings refer to the gateway in the
// first one.
type tenantEnv struct {
	*testEnv
	tenantNamespace string
}

func newTenantEnv() tenantEnv {
	GinkgoHelper()
	env := newEnvWithoutOperator()
	tenant := tenantEnv{env, env.newNamespace(nil)}
	env.startOperator()
	env.waitForGateway()
	return tenant
}

// tenantBinding returns a binding in the tenant's namespace. It does not create it.
func (tenant tenantEnv) tenantBinding(edit ...func(*v1alpha1.PluginBinding)) *v1alpha1.PluginBinding {
	binding := tenant.binding("limit", edit...)
	binding.Namespace, binding.Spec.GatewayRef.Namespace = tenant.tenantNamespace, tenant.namespace
	return binding
}

// allowBindings sets the gateway's allowedBindings.
func (tenant tenantEnv) allowBindings(allowed *v1alpha1.AllowedBindings) {
	GinkgoHelper()
	change(tenant.testEnv, tenant.gateway("kong"), func(gw *v1alpha1.KongGateway) { gw.Spec.AllowedBindings = allowed })
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
		tenant := newTenantEnv()
		unchanged := tenant.snapshotKong()
		binding := tenant.tenantBinding()
		tenant.create(binding)
		tenant.expectCondition(binding, notAllowed("KongGateway "+tenant.namespace+"/kong", tenant.tenantNamespace, "spec.allowedBindings.namespaces"))
		Expect(binding.Finalizers).To(BeEmpty(), "nothing to clean up after")
		tenant.expectNoStatusWrite(binding)
		unchanged()

		tenant.allowBindings(&v1alpha1.AllowedBindings{Namespaces: all})
		tenant.waitUntilReady(binding)
	})

	It("is a binding of a namespace that the selector does not select, until it is labelled", func() {
		tenant := newTenantEnv()
		tenant.allowBindings(&v1alpha1.AllowedBindings{Namespaces: &v1alpha1.AllowedNamespaces{
			From:     v1alpha1.NamespacesFromSelector,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"kong": "shared"}},
		}})
		unchanged := tenant.snapshotKong()
		binding := tenant.tenantBinding()
		tenant.create(binding)
		tenant.expectCondition(binding, notAllowed(tenant.tenantNamespace, "spec.allowedBindings.namespaces"))
		tenant.expectNoStatusWrite(binding)
		unchanged()

		change(tenant.testEnv, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: tenant.tenantNamespace}}, func(namespace *corev1.Namespace) {
			namespace.Labels["kong"] = "shared"
		})
		tenant.waitUntilReady(binding)
	})

	It("is a binding that it allowed before: its plugin stays as it was", func() {
		tenant := newTenantEnv()
		tenant.allowBindings(&v1alpha1.AllowedBindings{Namespaces: all})
		binding := tenant.createReady(tenant.tenantBinding())
		unchanged := tenant.snapshotKong()
		tenant.allowBindings(&v1alpha1.AllowedBindings{Namespaces: namespacesFrom(v1alpha1.NamespacesFromSame)})
		tenant.expectCondition(binding, notAllowed(tenant.tenantNamespace, string(binding.Status.PluginID)))
		tenant.expectNoStatusWrite(binding)
		unchanged()

		Expect(k8s.Delete(tenant.ctx, binding)).To(Succeed())
		tenant.waitUntilGone(binding)
		Expect(tenant.kong.Plugins()).To(BeEmpty())
	})

	DescribeTable("is a plugin from another namespace",
		func(allowed *v1alpha1.AllowedPlugins, edit ...func(*v1alpha1.PluginBinding)) {
			tenant := newTenantEnv()
			tenant.allowBindings(&v1alpha1.AllowedBindings{Namespaces: all, Plugins: allowed})
			unchanged := tenant.snapshotKong()
			binding := tenant.tenantBinding(edit...)
			tenant.create(binding)
			tenant.expectCondition(binding, notAllowed("KongGateway "+tenant.namespace+"/kong", string(binding.Spec.Plugin), "spec.allowedBindings.plugins"))
			tenant.expectNoStatusWrite(binding)
			unchanged()
		},
		Entry("that is not among those it allows", &v1alpha1.AllowedPlugins{Allow: []v1alpha1.PluginName{"key-auth", "cors"}}),
		Entry("that it denies", &v1alpha1.AllowedPlugins{Deny: []v1alpha1.PluginName{"rate-limiting"}}),
		Entry("that it denies and allows", &v1alpha1.AllowedPlugins{Allow: []v1alpha1.PluginName{"rate-limiting"}, Deny: []v1alpha1.PluginName{"rate-limiting"}}),
		Entry("that runs code, unless it is told otherwise", nil, withPlugin("pre-function", `{"access": ["return 1"]}`)),
		Entry("that runs code, although only another is denied", &v1alpha1.AllowedPlugins{Deny: []v1alpha1.PluginName{"rate-limiting"}}, withPlugin("post-function", `{"access": ["return 1"]}`)),
	)

	It("is not a plugin that runs code and is allowed by name", func() {
		tenant := newTenantEnv()
		tenant.allowBindings(&v1alpha1.AllowedBindings{Namespaces: all, Plugins: &v1alpha1.AllowedPlugins{Allow: []v1alpha1.PluginName{"pre-function"}}})
		tenant.createReady(tenant.tenantBinding(withPlugin("pre-function", `{"access": ["return 1"]}`)))
	})

	It("is not a plugin that runs code in the gateway's own namespace", func() {
		env := newTestEnv()
		env.createReady(env.binding("code", withPlugin("pre-function", `{"access": ["return 1"]}`)))
	})

	It("does not hold up the deletion of the gateway", func() {
		tenant := newTenantEnv()
		binding := tenant.tenantBinding()
		tenant.create(binding)
		tenant.expectCondition(binding, notAllowed("KongGateway "+tenant.namespace+"/kong"))
		gw := tenant.gateway("kong")
		Expect(k8s.Delete(tenant.ctx, gw)).To(Succeed())
		tenant.waitUntilGone(gw)
		tenant.expectCondition(binding, conditionMatch{condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonGatewayNotFound})
	})

	It("is code in the config of a plugin that is not allowed by name", func() {
		const code = `{"path": "/tmp/log", "custom_fields_by_lua": {"x": "return 1"}}`
		tenant := newTenantEnv()
		tenant.allowBindings(&v1alpha1.AllowedBindings{Namespaces: all})
		unchanged := tenant.snapshotKong()
		binding := tenant.tenantBinding(withPlugin("file-log", code))
		tenant.create(binding)
		tenant.expectCondition(binding, notAllowed("KongGateway "+tenant.namespace+"/kong", "custom_fields_by_lua", "file-log"))
		tenant.expectNoStatusWrite(binding)
		unchanged()

		tenant.allowBindings(&v1alpha1.AllowedBindings{Namespaces: all, Plugins: &v1alpha1.AllowedPlugins{Allow: []v1alpha1.PluginName{"file-log"}}})
		tenant.waitUntilReady(binding)
	})

	It("is not code in the gateway's own namespace, nor a plugin that could have some", func() {
		env := newTestEnv()
		env.createReady(env.binding("code", withPlugin("file-log", `{"path": "/tmp/log", "custom_fields_by_lua": {"x": "return 1"}}`)))
		tenant := newTenantEnv()
		tenant.allowBindings(&v1alpha1.AllowedBindings{Namespaces: all})
		tenant.createReady(tenant.tenantBinding(withPlugin("file-log", `{"path": "/tmp/log", "custom_fields_by_lua": {}}`)))
	})

	It("is a plugin for everyone's traffic from another namespace, until the gateway allows that", func() {
		tenant := newTenantEnv()
		tenant.allowBindings(&v1alpha1.AllowedBindings{Namespaces: all})
		unchanged := tenant.snapshotKong()
		binding := tenant.tenantBinding(withScope(nil))
		tenant.create(binding)
		tenant.expectCondition(binding, notAllowed("KongGateway "+tenant.namespace+"/kong", "spec.scope", "spec.allowedBindings.globalPlugins"))
		tenant.expectNoStatusWrite(binding)
		unchanged()

		tenant.allowBindings(&v1alpha1.AllowedBindings{Namespaces: all, GlobalPlugins: v1alpha1.GlobalPluginsAllowed})
		tenant.waitUntilReady(binding)
	})
})
