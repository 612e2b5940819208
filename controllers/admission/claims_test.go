package admission

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/kic"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// ingress has the names in the annotation of objects in namespace shop, by kind and name, and
// KongPlugins by namespace/name.
type ingress struct {
	missing     bool
	annotations map[string]string
	plugins     map[string]string
	global      []string
	err         error
}

func (i *ingress) Installed() bool { return !i.missing }

func (i *ingress) AnnotationsOf(_ context.Context, object kic.Object, uid types.UID) (map[string]string, bool, error) {
	names, found := i.annotations[object.Kind+" "+object.Name]
	return map[string]string{kic.PluginsAnnotation: names}, found && (uid == "u" || uid == ""), i.err
}

func (i *ingress) PluginOf(_ context.Context, key types.NamespacedName) (kic.Object, string, bool, error) {
	plugin, found := i.plugins[key.String()]
	return kic.Object{Group: kic.Group, Kind: kic.KongPlugin, Namespace: key.Namespace, Name: key.Name}, plugin, found, i.err
}

func (i *ingress) GlobalPlugins(_ context.Context, plugin string) (global []kic.Object, err error) {
	if slices.Contains(i.global, plugin) {
		global = append(global, kic.Object{Group: kic.Group, Kind: kic.KongClusterPlugin, Name: "everywhere"})
	}
	return global, i.err
}

func kicTags(kind, name string) []any {
	return []any{"k8s-name:" + name, "k8s-namespace:shop", "k8s-kind:" + kind, "k8s-uid:u", "k8s-version:v1", "managed-by-ingress-controller"}
}

// newIngressWorld has the service api, its route web and the consumer alice, as the ingress controller
// makes them of objects of namespace shop, and a service that somebody else made.
func newIngressWorld(t *testing.T) (*world, *ingress) {
	t.Helper()
	objects := &ingress{
		annotations: map[string]string{"Ingress web": "auth,limit", "Service api": "", "KongConsumer alice": ""},
		plugins:     map[string]string{"shop/auth": "key-auth", "shop/limit": "rate-limiting"},
	}
	w := newWorld(t, func(o *Options) { o.Ingress = objects })
	w.kong.Seed("services", map[string]any{"name": "api", "url": "http://127.0.0.1:9", "tags": kicTags("Service", "api")})
	w.kong.Seed("services", map[string]any{"name": "by-hand", "url": "http://127.0.0.1:9"})
	w.kong.Seed("routes", map[string]any{"name": "web", "paths": []any{"/web"}, "service": map[string]any{"name": "api"}, "tags": kicTags("Ingress", "web")})
	w.kong.Seed("consumers", map[string]any{"username": "alice", "tags": kicTags("KongConsumer", "alice")})
	return w, objects
}

func scoped(scope *v1alpha1.Scope) func(*v1alpha1.PluginBinding) {
	return func(b *v1alpha1.PluginBinding) { b.Spec.Scope = scope }
}

func claimOf(warnings []string) string {
	i := slices.IndexFunc(warnings, func(text string) bool { return strings.Contains(text, v1alpha1.ReasonClaimedByKongPlugin) })
	if i < 0 {
		return ""
	}
	return warnings[i]
}

// What the reconciler is going to refuse because of a KongPlugin is said when it is applied.
func TestClaimsAreAnnounced(t *testing.T) {
	route, service := &v1alpha1.EntityRef{Name: "web"}, &v1alpha1.EntityRef{Name: "api"}
	alice := &v1alpha1.ConsumerRef{Username: "alice"}
	const onIngress = "Ingress shop/web has the annotation konghq.com/plugins with KongPlugin shop/limit, and so"
	for name, c := range map[string]struct {
		scope   *v1alpha1.Scope
		prepare func(*ingress, *v1alpha1.PluginBinding)
		want    string
	}{
		"the annotation names it":                          {scope: &v1alpha1.Scope{Route: route}, want: onIngress},
		"on a route and its service":                       {scope: &v1alpha1.Scope{Route: route, Service: service}},
		"on the service":                                   {scope: &v1alpha1.Scope{Service: service}},
		"the annotation of the service names it":           {scope: &v1alpha1.Scope{Service: service}, prepare: func(i *ingress, _ *v1alpha1.PluginBinding) { i.annotations["Service api"] = "limit" }, want: "Service shop/api has"},
		"the annotation names another plugin":              {scope: &v1alpha1.Scope{Route: route}, prepare: func(i *ingress, _ *v1alpha1.PluginBinding) { i.annotations["Ingress web"] = "auth" }},
		"the object is another cluster's":                  {scope: &v1alpha1.Scope{Route: route}, prepare: func(i *ingress, _ *v1alpha1.PluginBinding) { delete(i.annotations, "Ingress web") }},
		"on a consumer and a route that both name it":      {scope: &v1alpha1.Scope{Route: route, Consumer: alice}, prepare: func(i *ingress, _ *v1alpha1.PluginBinding) { i.annotations["KongConsumer alice"] = "limit" }, want: onIngress},
		"on a consumer and a route, and only one names it": {scope: &v1alpha1.Scope{Route: route, Consumer: alice}},
		"on a service that somebody else made":             {scope: &v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: "by-hand"}}},
		"on a service that does not exist":                 {scope: &v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: "none"}}},
		"global, and a KongClusterPlugin is":               {prepare: func(i *ingress, b *v1alpha1.PluginBinding) { i.global, b.Namespace = []string{"rate-limiting"}, "kong" }, want: "KongClusterPlugin everywhere is global, and so"},
		"the operator only observes":                       {scope: &v1alpha1.Scope{Route: route}, prepare: func(_ *ingress, b *v1alpha1.PluginBinding) { b.Spec.ManagementPolicy = v1alpha1.ObservePlugin }},
		"the plugin is handed over": {scope: &v1alpha1.Scope{Route: route}, prepare: func(_ *ingress, b *v1alpha1.PluginBinding) {
			b.Annotations = map[string]string{v1alpha1.TakeBackUntilAnnotation: time.Unix(1060, 0).UTC().Format(time.RFC3339)}
		}},
		"the objects cannot be read": {scope: &v1alpha1.Scope{Route: route}, prepare: func(i *ingress, _ *v1alpha1.PluginBinding) { i.err = errors.New("forbidden") }},
	} {
		t.Run(name, func(t *testing.T) {
			w, objects := newIngressWorld(t)
			binding := rateLimit("a", `{"minute": 5}`, scoped(c.scope))
			if c.prepare != nil {
				c.prepare(objects, binding)
			}
			warnings, err := w.create(binding)
			if err != nil {
				t.Fatal(err)
			}
			if got := claimOf(warnings); !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") {
				t.Errorf("%q", warnings)
			}
		})
	}
}

// A warning names what is in other namespaces to nobody.
func TestAClaimIsNamedOnlyToItsNamespace(t *testing.T) {
	w, objects := newIngressWorld(t)
	onRoute := scoped(&v1alpha1.Scope{Route: &v1alpha1.EntityRef{Name: "web"}})
	check := func(binding *v1alpha1.PluginBinding) {
		t.Helper()
		warnings, err := w.create(binding)
		if got := claimOf(warnings); err != nil || got == "" || strings.Contains(got, "limit,") || strings.Contains(got, "/") && strings.Contains(got, "shop/") {
			t.Errorf("%v %q", err, warnings)
		}
	}
	check(rateLimit("a", `{"minute": 5}`, onRoute, func(b *v1alpha1.PluginBinding) { b.Namespace = "kong" }))
	objects.annotations["Ingress web"], objects.plugins["platform/secret-limit"] = "platform:secret-limit", "rate-limiting"
	warnings, err := w.create(rateLimit("b", `{"minute": 5}`, onRoute))
	if got := claimOf(warnings); err != nil || got == "" || strings.Contains(got, "secret-limit") {
		t.Errorf("%v %q", err, warnings)
	}
}

// A namespace that may use only its own entities learns nothing about those of others.
func TestAClaimOnAnEntityThatIsNotAllowedIsNotTold(t *testing.T) {
	objects := &ingress{annotations: map[string]string{"Service api": "limit"}, plugins: map[string]string{"shop/limit": "rate-limiting"}}
	kong := kongtest.Start(t)
	for name, namespace := range map[string]string{"own": "shop", "foreign": "bank"} {
		tags := append([]any{"k8s-namespace:" + namespace}, kicTags("Service", "api")...)
		if namespace != "shop" {
			tags = slices.DeleteFunc(tags, func(tag any) bool { return tag == "k8s-namespace:shop" })
		}
		kong.Seed("services", map[string]any{"name": name, "url": "http://127.0.0.1:9", "tags": tags})
	}
	w := newWorld(t, func(o *Options) { o.Ingress = objects }, gatewayAt("kong", "strict", kong.URL(), func(g *v1alpha1.KongGateway) {
		g.Spec.AllowedBindings.Entities = v1alpha1.EntitiesSameNamespace
	}))
	for name, told := range map[string]bool{"own": true, "foreign": false} {
		warnings, err := w.create(rateLimit(name, `{"minute": 5}`, scoped(&v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: v1alpha1.Name(name)}}),
			func(b *v1alpha1.PluginBinding) { b.Spec.GatewayRef.Name = "strict" }))
		if err != nil || (claimOf(warnings) != "") != told {
			t.Errorf("%s: %v %q", name, err, warnings)
		}
	}
}

// Without the ingress controller, and where nothing moves, a claim costs no request. A Kong that does
// not answer costs one.
func TestWhatAClaimCosts(t *testing.T) {
	w, objects := newIngressWorld(t)
	objects.missing = true
	onRoute := scoped(&v1alpha1.Scope{Route: &v1alpha1.EntityRef{Name: "web"}})
	binding := rateLimit("a", `{"minute": 5}`, onRoute)
	w.admits(binding, 3) // the probe, the schema and the validation
	objects.missing = false
	if warnings := w.admits(binding, 4); claimOf(warnings) == "" {
		t.Errorf("%q", warnings)
	}
	after := binding.DeepCopy()
	after.Labels = map[string]string{"a": "b"}
	if warnings, err := w.Bindings.ValidateUpdate(t.Context(), binding, after); err != nil || len(warnings) > 0 {
		t.Error(warnings, err)
	}
	w.asked(4)
	after.Spec.Scope = &v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: "api"}}
	if warnings, err := w.Bindings.ValidateUpdate(t.Context(), after, binding); err != nil || claimOf(warnings) == "" {
		t.Error(warnings, err)
	}
	w.asked(5)
	w.kong.Inject(kongtest.Fault{Template: "/routes/{id}", Kind: kongtest.Answer, Status: http.StatusBadGateway, NotKong: true})
	for range 3 {
		if warnings := w.admits(binding, 6); claimOf(warnings) != "" {
			t.Errorf("%q", warnings)
		}
	}
}

// A policy on a Service or a consumer has the place of an annotation there; on an Ingress it has not.
func TestAPolicyWhoseTargetIsClaimedIsAnnounced(t *testing.T) {
	service := v1alpha1.PolicyTargetRef{Kind: "Service", Name: "api"}
	for name, c := range map[string]struct {
		target   v1alpha1.PolicyTargetRef
		consumer bool
		names    string
		want     string
	}{
		"a Service":                            {target: service, names: "limit", want: "Service shop/api has the annotation konghq.com/plugins with KongPlugin shop/limit"},
		"a Service with another plugin":        {target: service, names: "auth"},
		"a consumer":                           {target: v1alpha1.PolicyTargetRef{Group: kic.Group, Kind: "KongConsumer", Name: "alice"}, names: "limit", want: "KongConsumer shop/alice has"},
		"an Ingress":                           {target: v1alpha1.PolicyTargetRef{Group: "networking.k8s.io", Kind: "Ingress", Name: "web"}, names: "limit"},
		"a Service and a consumer without it":  {target: service, consumer: true},
		"a Service and a consumer, both do so": {target: service, consumer: true, names: "limit", want: "Service shop/api has"},
	} {
		t.Run(name, func(t *testing.T) {
			w, objects := newIngressWorld(t)
			objects.annotations["Service api"], objects.annotations["KongConsumer alice"] = c.names, c.names
			if c.names == "" {
				objects.annotations["Service api"] = "limit"
			}
			p := &v1alpha1.PluginPolicy{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "limit"},
				Spec: v1alpha1.PluginPolicySpec{
					GatewayRef: v1alpha1.GatewayRef{Namespace: "kong", Name: "main"}, TargetRefs: []v1alpha1.PolicyTargetRef{c.target},
				},
			}
			p.Spec.Template.Spec.Plugin, p.Spec.Template.Spec.Config = "rate-limiting", jsonOf(`{"minute": 5}`)
			if c.consumer {
				p.Spec.Template.Spec.Scope = &v1alpha1.TemplateScope{Consumer: v1alpha1.ConsumerRef{Username: "alice"}}
			}
			warnings, err := w.Policies.ValidateCreate(t.Context(), p)
			if got := claimOf(warnings); err != nil || !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") {
				t.Errorf("%v %q", err, warnings)
			}
			after := p.DeepCopy()
			after.Spec.Template.Spec.Config = jsonOf(`{"minute": 6}`)
			if warnings, err := w.Policies.ValidateUpdate(t.Context(), p, after); err != nil || claimOf(warnings) != "" {
				t.Errorf("an update that moves nothing: %v %q", err, warnings)
			}
		})
	}
}
