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
		s := newQuietStory()
		unwatched := s.newNamespace(nil)
		s.namespaces = []string{s.namespace}
		far := s.gateway("kong")
		far.Namespace = unwatched
		far.Spec.AllowedBindings = &v1alpha1.AllowedBindings{Namespaces: from(v1alpha1.NamespacesFromAll)}
		s.create(far)
		s.startOperator()
		s.gatewayReady()
		unchanged := s.kongAsItWas()
		binding := s.binding("limit", func(b *v1alpha1.PluginBinding) { b.Spec.GatewayRef.Namespace = unwatched })
		s.create(binding)
		s.shows(binding, symptom{
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonGatewayNotWatched,
			says: []string{"watches only the namespaces " + s.namespace, "KongGateway " + unwatched + "/kong", "--watch-namespaces", "OperatorGroup"},
		})
		s.steady(binding)
		Expect(binding.Finalizers).To(BeEmpty(), "nothing to clean up after")
		Expect(k8s.Delete(s.ctx, binding)).To(Succeed())
		s.gone(binding)
		unchanged()
	})

	It("keeps a binding whose plugin it cannot reach any more, until it watches the gateway again", func() {
		t := newTenancy()
		t.allow(&v1alpha1.AllowedBindings{Namespaces: from(v1alpha1.NamespacesFromAll)})
		binding := t.created(t.request())
		t.stopOperator()
		all := t.namespaces
		t.namespaces = []string{t.tenant}
		t.startOperator()
		unchanged := t.kongAsItWas()
		t.shows(binding, symptom{condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonGatewayNotWatched, says: []string{"--watch-namespaces"}})
		Expect(k8s.Delete(t.ctx, binding)).To(Succeed())
		t.shows(binding, symptom{
			condition: v1alpha1.ConditionProgrammed, unknown: true, reason: v1alpha1.ReasonDeleting,
			says: []string{"waiting to remove the plugin from Kong", "--watch-namespaces"},
		})
		unchanged()

		t.stopOperator()
		t.namespaces = all
		t.startOperator()
		t.gone(binding)
		Expect(t.kong.Plugins()).To(BeEmpty())
	})
})

// lacking has Kong answer as if a plugin were not installed.
func (s *story) lacking(plugin string) (install func()) {
	GinkgoHelper()
	request, err := http.NewRequestWithContext(s.ctx, http.MethodGet, s.kong.URL()+"/", http.NoBody)
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
	removeRoot := s.kong.Inject(kongtest.Fault{
		Method: http.MethodGet, Template: "/", Kind: kongtest.Answer, Status: http.StatusOK, Body: string(without),
	})
	removeSchema := s.kong.Inject(kongtest.Fault{
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
		s := newQuietStory()
		install := s.lacking("rate-limiting")
		t := s.steer()
		binding := t.binding("limit")
		t.create(binding)
		t.shows(binding, symptom{condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonPluginNotInstalled, says: []string{`no plugin "rate-limiting"`}})
		t.sweep(time.Minute)
		t.steady(binding)
		install()
		t.sweep(time.Minute)
		t.ready(binding)
		Expect(t.owned(binding)).To(HaveLen(1))
	})

	// another is a second Kong, empty but for what the scopes name.
	another := func() *kongtest.Server {
		kong := kongtest.New()
		DeferCleanup(kong.Close)
		kong.Seed("services", map[string]any{"name": "orders", "url": "http://127.0.0.1:9"})
		return kong
	}
	// returned waits until the plugins of the bindings are in a Kong under the IDs that were
	// recorded before.
	returned := func(s *story, kong *kongtest.Server, bindings ...*v1alpha1.PluginBinding) {
		GinkgoHelper()
		for _, binding := range bindings {
			id := string(binding.Status.PluginID)
			Eventually(func() map[string]any { return kong.Plugin(id) }).ShouldNot(BeNil())
			Expect(idIn(kong.Plugin(id), "service")).To(Equal(kong.Entity("services", "orders")["id"]))
			s.ready(binding)
			Expect(string(binding.Status.PluginID)).To(Equal(id))
			Eventually(s.events).WithArguments(binding).Should(ContainElement("Restored"))
		}
		Expect(kong.Plugins()).To(HaveLen(len(bindings)))
		Expect(kong.Journal().Count(http.MethodPost, "")).To(BeZero(), "no ID is Kong's choice a second time")
	}

	It("when its adminURL points to an empty Kong: the plugins are made there under their IDs", func() {
		s := newStory()
		first, second := s.created(s.binding("first")), s.created(s.binding("second", declaring("correlation-id", "")))
		unchanged := s.kongAsItWas()
		kong := another()
		change(s, s.gateway("kong"), at(kong.URL()))
		returned(s, kong, first, second)
		unchanged() // the Kong that was left
	})

	It("when it is deleted and made again under its name, for an empty Kong", func() {
		s := newStory()
		first, second := s.created(s.binding("first")), s.created(s.binding("second", declaring("correlation-id", "")))
		unchanged := s.kongAsItWas()
		gw := s.gateway("kong")
		s.reload(Default, gw)
		Expect(k8s.Delete(s.ctx, gw)).To(Succeed())
		Eventually(s.events).WithArguments(gw).Should(ContainElement(v1alpha1.ReasonInUse))
		// By force, for bindings refer to it.
		change(s, gw, func(o *v1alpha1.KongGateway) { controllerutil.RemoveFinalizer(o, v1alpha1.GatewayFinalizer) })
		s.gone(gw)
		for _, binding := range []*v1alpha1.PluginBinding{first, second} {
			s.shows(binding, symptom{condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonGatewayNotFound})
		}

		kong := another()
		again := s.gateway("kong")
		at(kong.URL())(again)
		s.create(again)
		returned(s, kong, first, second)
		unchanged()
	})
})

var crd = schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}

// withoutRule makes an object that the API server would refuse for its instance name, as one
// that is older than that rule.
func (s *story) withoutRule(binding *v1alpha1.PluginBinding) {
	GinkgoHelper()
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(crd)
	object.SetName("pluginbindings.kong.pluginbinding.io")
	Expect(k8s.Get(s.ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
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
		refused := s.binding("refused", func(b *v1alpha1.PluginBinding) { b.Spec.InstanceName = "enabled" })
		Eventually(func() error { return k8s.Create(ctx, refused.DeepCopy(), client.DryRunAll) }).Should(MatchError(ContainSubstring("must not be enabled")))
	}
	DeferCleanup(back)
	set(s.ctx, []any{})
	Eventually(func() error { return k8s.Create(s.ctx, binding) }).Should(Succeed())
	back(s.ctx)
}

var _ = Describe("An instance name that cannot be asked for", func() {
	It("does not keep a binding from being deleted that is older than the rule against it", func() {
		s := newStory()
		binding := s.binding("limit", func(b *v1alpha1.PluginBinding) { b.Spec.InstanceName = "enabled" })
		s.withoutRule(binding)
		s.ready(binding)
		Expect(s.pluginOf(binding)).To(HaveKeyWithValue("instance_name", "enabled"))
		Expect(k8s.Delete(s.ctx, binding)).To(Succeed())
		s.gone(binding)
		Expect(s.kong.Plugins()).To(BeEmpty())
	})
})
