package integration

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

var _ = Describe("An operator that watches only some namespaces", func() {
	It("says of a gateway in another one what to do, and lets a binding go that was never programmed", func() {
		env := newEnvWithoutOperator()
		unwatched := env.newNamespace(nil)
		env.namespaces = []string{env.namespace}
		far := env.gateway("kong")
		far.Namespace = unwatched
		far.Spec.AllowedBindings = &v1alpha1.AllowedBindings{Namespaces: namespacesFrom(v1alpha1.NamespacesFromAll)}
		env.create(far)
		env.startOperator()
		env.waitForGateway()
		unchanged := env.snapshotKong()
		binding := env.binding("limit", func(b *v1alpha1.PluginBinding) { b.Spec.GatewayRef.Namespace = unwatched })
		env.create(binding)
		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonGatewayNotWatched,
			contains: []string{"KongGateway " + unwatched + "/kong", "--watch-namespaces", "OperatorGroup"},
		})
		env.expectNoStatusWrite(binding)
		Expect(binding.Finalizers).To(BeEmpty(), "nothing to clean up after")
		Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
		env.waitUntilGone(binding)
		unchanged()
	})

	It("keeps a binding whose plugin it cannot reach any more, until it watches the gateway again", func() {
		tenant := newTenantEnv()
		tenant.allowBindings(&v1alpha1.AllowedBindings{Namespaces: namespacesFrom(v1alpha1.NamespacesFromAll)})
		binding := tenant.createReady(tenant.tenantBinding())
		tenant.stopOperator()
		all := tenant.namespaces
		tenant.namespaces = []string{tenant.tenantNamespace}
		tenant.startOperator()
		unchanged := tenant.snapshotKong()
		tenant.expectCondition(binding, conditionMatch{condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonGatewayNotWatched, contains: []string{"--watch-namespaces"}})
		Expect(k8s.Delete(tenant.ctx, binding)).To(Succeed())
		tenant.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionProgrammed, unknown: true, reason: v1alpha1.ReasonDeleting,
			contains: []string{"--watch-namespaces"},
		})
		unchanged()

		tenant.stopOperator()
		tenant.namespaces = all
		tenant.startOperator()
		tenant.waitUntilGone(binding)
		Expect(tenant.kong.Plugins()).To(BeEmpty())
	})
})

// uninstallPlugin makes Kong answer as if a plugin were not installed.
func (env *testEnv) uninstallPlugin(plugin string) (install func()) {
	GinkgoHelper()
	request, err := http.NewRequestWithContext(env.ctx, http.MethodGet, env.kong.URL()+"/", http.NoBody)
	Expect(err).NotTo(HaveOccurred())
	response, err := http.DefaultClient.Do(request)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())
	var root map[string]any
	Expect(json.Unmarshal(body, &root)).To(Succeed())
	available := root["plugins"].(map[string]any)["available_on_server"].(map[string]any)
	Expect(available).To(HaveKey(plugin))
	delete(available, plugin)
	without, err := json.Marshal(root)
	Expect(err).NotTo(HaveOccurred())
	removeRoot := env.kong.Inject(kongtest.Fault{
		Method: http.MethodGet, Template: "/", Kind: kongtest.Answer, Status: http.StatusOK, Body: string(without),
	})
	removeSchema := env.kong.Inject(kongtest.Fault{
		Method: http.MethodGet, Template: "/schemas/plugins/{name}", Kind: kongtest.Answer, Status: http.StatusNotFound,
		Body: `{"message":"No plugin named '` + plugin + `'"}`,
	})
	return func() {
		removeRoot()
		removeSchema()
	}
}

var _ = Describe("What changes about a gateway is noticed", func() {
	It("by the next sweep when a plugin is installed that was missing", func() {
		env := newEnvWithoutOperator()
		install := env.uninstallPlugin("rate-limiting")
		timed := env.withFakeClock()
		binding := timed.binding("limit")
		timed.create(binding)
		timed.expectCondition(binding, conditionMatch{condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonPluginNotInstalled, contains: []string{`"rate-limiting"`}})
		timed.resync(time.Minute)
		timed.expectNoStatusWrite(binding)
		install()
		timed.resync(time.Minute)
		timed.waitUntilReady(binding)
		Expect(timed.ownedPlugins(binding)).To(HaveLen(1))
	})

	// another is a second Kong that has only the entities of the scopes.
	another := func() *kongtest.Server {
		kong := kongtest.New()
		DeferCleanup(kong.Close)
		kong.Seed("services", map[string]any{"name": "orders", "url": "http://127.0.0.1:9"})
		return kong
	}
	// returned waits until a Kong has the plugins of the bindings under the recorded IDs.
	returned := func(env *testEnv, kong *kongtest.Server, bindings ...*v1alpha1.PluginBinding) {
		GinkgoHelper()
		for _, binding := range bindings {
			id := string(binding.Status.PluginID)
			Eventually(func() map[string]any { return kong.Plugin(id) }).ShouldNot(BeNil())
			Expect(idIn(kong.Plugin(id), "service")).To(Equal(kong.Entity("services", "orders")["id"]))
			env.waitUntilReady(binding)
			Expect(string(binding.Status.PluginID)).To(Equal(id))
			Eventually(env.eventReasons).WithArguments(binding).Should(ContainElement("Restored"))
		}
		Expect(kong.Plugins()).To(HaveLen(len(bindings)))
		Expect(kong.Journal().Count(http.MethodPost, "")).To(BeZero(), "no ID is Kong's choice a second time")
	}

	It("when its adminURL points to an empty Kong: the plugins are made there under their IDs", func() {
		env := newTestEnv()
		first, second := env.createReady(env.binding("first")), env.createReady(env.binding("second", withPlugin("correlation-id", "")))
		unchanged := env.snapshotKong()
		kong := another()
		change(env, env.gateway("kong"), withAdminURL(kong.URL()))
		returned(env, kong, first, second)
		unchanged() // the former Kong
	})

	It("when it is deleted and made again under its name, for an empty Kong", func() {
		env := newTestEnv()
		first, second := env.createReady(env.binding("first")), env.createReady(env.binding("second", withPlugin("correlation-id", "")))
		unchanged := env.snapshotKong()
		gw := env.gateway("kong")
		env.reload(Default, gw)
		Expect(k8s.Delete(env.ctx, gw)).To(Succeed())
		Eventually(env.eventReasons).WithArguments(gw).Should(ContainElement(v1alpha1.ReasonInUse))
		// By force, because bindings refer to the gateway.
		change(env, gw, func(o *v1alpha1.KongGateway) { controllerutil.RemoveFinalizer(o, v1alpha1.GatewayFinalizer) })
		env.waitUntilGone(gw)
		for _, binding := range []*v1alpha1.PluginBinding{first, second} {
			env.expectCondition(binding, conditionMatch{condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonGatewayNotFound})
		}

		kong := another()
		again := env.gateway("kong")
		withAdminURL(kong.URL())(again)
		env.create(again)
		returned(env, kong, first, second)
		unchanged()
	})
})

var crd = schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}

// createBypassingRule creates an object that the API server would reject for its instance name,
// like an object that is older than that rule.
func (env *testEnv) createBypassingRule(binding *v1alpha1.PluginBinding) {
	GinkgoHelper()
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(crd)
	object.SetName("pluginbindings.kong.pluginbinding.io")
	Expect(k8s.Get(env.ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
	path := []string{"schema", "openAPIV3Schema", "properties", "spec", "properties", "instanceName", "x-kubernetes-validations"}
	version := object.Object["spec"].(map[string]any)["versions"].([]any)[0].(map[string]any)
	rules, found, err := unstructured.NestedSlice(version, path...)
	Expect(err).NotTo(HaveOccurred())
	Expect(found).To(BeTrue())
	set := func(ctx context.Context, rules []any) {
		GinkgoHelper()
		Expect(k8s.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
		version := object.Object["spec"].(map[string]any)["versions"].([]any)[0].(map[string]any)
		Expect(unstructured.SetNestedSlice(version, rules, path...)).To(Succeed())
		Expect(k8s.Update(ctx, object)).To(Succeed())
	}
	back := func(ctx context.Context) {
		GinkgoHelper()
		set(ctx, rules)
		refused := env.binding("refused", func(b *v1alpha1.PluginBinding) { b.Spec.InstanceName = "enabled" })
		Eventually(func() error { return k8s.Create(ctx, refused.DeepCopy(), client.DryRunAll) }).Should(MatchError(ContainSubstring("must not be enabled")))
	}
	DeferCleanup(back)
	set(env.ctx, []any{})
	Eventually(func() error { return k8s.Create(env.ctx, binding) }).Should(Succeed())
	back(env.ctx)
}

var _ = Describe("An instance name that cannot be asked for", func() {
	It("does not keep a binding from being deleted that is older than the rule against it", func() {
		env := newTestEnv()
		binding := env.binding("limit", func(b *v1alpha1.PluginBinding) { b.Spec.InstanceName = "enabled" })
		env.createBypassingRule(binding)
		env.waitUntilReady(binding)
		Expect(env.kongPlugin(binding)).To(HaveKeyWithValue("instance_name", "enabled"))
		Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
		env.waitUntilGone(binding)
		Expect(env.kong.Plugins()).To(BeEmpty())
	})
})
