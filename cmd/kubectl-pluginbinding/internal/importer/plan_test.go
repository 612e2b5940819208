package importer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/kic"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest/schema"
)

// world is a Kong and a cluster.
type world struct {
	t  *testing.T
	in Input
}

func newWorld(t *testing.T) *world {
	return &world{t: t, in: Input{
		Source: FromAll, Policies: PoliciesAuto, Cluster: "c1",
		Gateway: &v1alpha1.KongGateway{ObjectMeta: metav1.ObjectMeta{Namespace: "kong", Name: "main"}},
		Kong: Kong{Entities: map[adminapi.EntityKind]map[string]adminapi.Entity{
			adminapi.Service: {}, adminapi.Route: {}, adminapi.Consumer: {}, adminapi.ConsumerGroup: {},
		}, Schemas: map[string]*plugin.Schema{}},
		Kube: Kube{Objects: map[kic.Object]Object{}, KongPlugins: map[kic.Object]*KongPlugin{}},
	}}
}

func id(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

// ingressTags are the tags of what the ingress controller makes of an object.
func ingressTags(group, kind, namespace, name string) []string {
	tags := []string{"k8s-name:" + name, "k8s-namespace:" + namespace, "k8s-kind:" + kind, "k8s-uid:uid-" + name, "k8s-version:v1", "managed-by-ingress-controller"}
	if group != "" {
		tags = append(tags, "k8s-group:"+group)
	}
	return tags
}

// object adds an object with the annotation of the ingress controller.
func (w *world) object(group, kind, namespace, name, plugins string) {
	w.in.Kube.Objects[kic.Object{Group: group, Kind: kind, Namespace: namespace, Name: name}] = Object{
		UID: types.UID("uid-" + name), Annotations: map[string]string{kic.PluginsAnnotation: plugins},
	}
}

func (w *world) entity(kind adminapi.EntityKind, n int, name string, tags ...string) {
	w.in.Kong.Entities[kind][id(n)] = adminapi.Entity{ID: id(n), Name: name, Tags: tags, ServiceID: id(1)}
}

// row adds a plugin, with the config that Kong makes of it.
func (w *world) row(n int, name string, config map[string]any, scope plugin.Scope, tags ...string) *plugin.Plugin {
	w.t.Helper()
	raw, ok := schema.PluginJSON(name)
	if !ok {
		w.t.Fatalf("no schema of %s", name)
	}
	parsed, err := plugin.ParseSchema(raw)
	if err != nil {
		w.t.Fatal(err)
	}
	w.in.Kong.Schemas[name] = parsed
	if config == nil {
		config = map[string]any{}
	}
	live, violation := schema.Insert("plugins", map[string]any{"name": name, "config": config})
	if violation != nil {
		w.t.Fatalf("%s: %v", name, violation)
	}
	filled, _ := live["config"].(map[string]any)
	w.in.Kong.Plugins = append(w.in.Kong.Plugins, plugin.Plugin{ID: id(n), Name: name, Enabled: true, Config: filled, Scope: scope, Tags: tags,
		Protocols: []string{"grpc", "grpcs", "http", "https"}})
	return &w.in.Kong.Plugins[len(w.in.Kong.Plugins)-1]
}

// kongPlugin adds a KongPlugin.
func (w *world) kongPlugin(namespace, name, manifest string) []string {
	w.t.Helper()
	from := &KongPlugin{Namespace: namespace}
	if err := json.Unmarshal([]byte(manifest), from); err != nil {
		w.t.Fatal(err)
	}
	kind := kic.KongPlugin
	if namespace == "" {
		kind = kic.KongClusterPlugin
	}
	w.in.Kube.KongPlugins[kic.Object{Group: kic.Group, Kind: kind, Namespace: namespace, Name: name}] = from
	return ingressTags(kic.Group, kind, namespace, name)
}

func (w *world) plan() Result {
	w.t.Helper()
	result := Plan(w.in)
	// The order of what Kong lists does not matter.
	slices.Reverse(w.in.Kong.Plugins)
	if again := Plan(w.in); text(w.t, again) != text(w.t, result) {
		w.t.Errorf("another order gives another result:\n%s\n%s", text(w.t, result), text(w.t, again))
	}
	slices.Reverse(w.in.Kong.Plugins)
	return result
}

func text(t *testing.T, result Result) string {
	t.Helper()
	var b bytes.Buffer
	if err := PrintYAML(&b, result.Secrets, result, false); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func objectNames(result Result) (names []string) {
	for _, object := range result.Objects {
		names = append(names, object.GetObjectKind().GroupVersionKind().Kind+" "+object.GetNamespace()+"/"+object.GetName())
	}
	return names
}

func (w *world) wantObjects(result Result, want ...string) {
	w.t.Helper()
	if got := objectNames(result); !slices.Equal(got, want) {
		w.t.Errorf("objects\n%s\nwant\n%s\nunsaid %+v", strings.Join(got, "\n"), strings.Join(want, "\n"), result.Unsaid)
	}
}

func onlyBinding(t *testing.T, result Result) *v1alpha1.PluginBinding {
	t.Helper()
	if len(result.Objects) != 1 {
		t.Fatalf("%d objects, unsaid %+v", len(result.Objects), result.Unsaid)
	}
	binding, ok := result.Objects[0].(*v1alpha1.PluginBinding)
	if !ok {
		t.Fatalf("a %T", result.Objects[0])
	}
	return binding
}

func TestUnowned(t *testing.T) {
	w := newWorld(t)
	w.entity(adminapi.Service, 1, "orders")
	w.row(10, "rate-limiting", map[string]any{"minute": 5.0}, plugin.Scope{ServiceID: id(1)}, "team-a").InstanceName = "limit"
	binding := onlyBinding(t, w.plan())
	spec := binding.Spec
	switch {
	case binding.Namespace != "kong" || binding.Name != "rate-limiting-orders":
		t.Errorf("named %s/%s", binding.Namespace, binding.Name)
	case spec.GatewayRef != (v1alpha1.GatewayRef{Name: "main"}) || spec.PluginID != v1alpha1.UUID(id(10)) || spec.AdoptionPolicy != "":
		t.Errorf("refers to %+v %s %s", spec.GatewayRef, spec.PluginID, spec.AdoptionPolicy)
	case string(spec.Config.Raw) != `{"minute":5}` || spec.InstanceName != "limit" || !slices.Equal(spec.Tags, []v1alpha1.Tag{"team-a"}) || spec.Protocols != nil || spec.Enabled != nil:
		t.Errorf("says %s %+v", spec.Config.Raw, spec)
	case spec.Scope == nil || *spec.Scope.Service != (v1alpha1.EntityRef{Name: "orders"}):
		t.Errorf("is for %+v", spec.Scope)
	}
}

func TestNamespaces(t *testing.T) {
	w := newWorld(t)
	w.entity(adminapi.Service, 1, "orders", "k8s-namespace:shop")
	w.row(10, "key-auth", nil, plugin.Scope{ServiceID: id(1)})
	w.row(11, "key-auth", nil, plugin.Scope{})
	w.wantObjects(w.plan(), "PluginBinding kong/key-auth-global", "PluginBinding shop/key-auth-orders")
	if ref := w.plan().Objects[1].(*v1alpha1.PluginBinding).Spec.GatewayRef; ref.Namespace != "kong" {
		t.Errorf("refers to %+v", ref)
	}
	w.in.Target = "team"
	w.wantObjects(w.plan(), "PluginBinding shop/key-auth-orders", "PluginBinding team/key-auth-global")
	w.in.Namespace, w.in.Target = "shop", "kong"
	w.wantObjects(w.plan(), "PluginBinding shop/key-auth-orders")
}

// kicWorld has an Ingress of two hosts with a KongPlugin, a Service of two ports with another, and a
// consumer.
func kicWorld(t *testing.T) *world {
	w := newWorld(t)
	w.in.Source = FromKIC
	guard := w.kongPlugin("shop", "guard", `{"plugin":"key-auth","config":{"key_names":["apikey"]}}`)
	limit := w.kongPlugin("shop", "limit", `{"plugin":"rate-limiting","config":{"minute":5}}`)
	w.object("networking.k8s.io", "Ingress", "shop", "web", "guard")
	w.object("", "Service", "shop", "api", "limit")
	w.object(kic.Group, "KongConsumer", "shop", "alice", "limit")
	config := map[string]any{"key_names": []any{"apikey"}}
	for n, host := range []string{"a", "b"} {
		route := "shop.web.api." + host + ".80"
		w.entity(adminapi.Route, 20+n, route, ingressTags("networking.k8s.io", "Ingress", "shop", "web")...)
		w.row(0, "key-auth", config, plugin.Scope{RouteID: id(20 + n)}, guard...).ID = kic.PluginID("", "key-auth", kic.ScopeNames{Route: route})
		service := "shop.api." + host
		w.entity(adminapi.Service, 1+n, service, ingressTags("", "Service", "shop", "api")...)
		w.row(0, "rate-limiting", map[string]any{"minute": 5.0}, plugin.Scope{ServiceID: id(1 + n)}, limit...).ID = kic.PluginID("", "rate-limiting", kic.ScopeNames{Service: service})
	}
	w.entity(adminapi.Consumer, 30, "alice", ingressTags(kic.Group, "KongConsumer", "shop", "alice")...)
	w.row(0, "rate-limiting", map[string]any{"minute": 5.0}, plugin.Scope{ConsumerID: id(30)}, limit...).ID = kic.PluginID("", "rate-limiting", kic.ScopeNames{Consumer: "alice"})
	return w
}

func TestIngressController(t *testing.T) {
	w := kicWorld(t)
	result := w.plan()
	w.wantObjects(result, "PluginBinding shop/limit-alice", "PluginPolicy shop/guard-web", "PluginPolicy shop/limit-api")
	if result.Imported != 5 || result.Bound != 0 || len(result.Unsaid) > 0 || len(result.Claimed) != 3 {
		t.Errorf("%+v", result)
	}
	binding := result.Objects[0].(*v1alpha1.PluginBinding)
	if binding.Spec.PluginID != "" || binding.Spec.AdoptionPolicy != v1alpha1.AdoptOverride || binding.Spec.Scope.Consumer.Username != "alice" {
		t.Errorf("%+v", binding.Spec)
	}
	onRoutes := result.Objects[1].(*v1alpha1.PluginPolicy).Spec
	if want := (v1alpha1.PolicyTargetRef{Group: "networking.k8s.io", Kind: "Ingress", Name: "web"}); onRoutes.TargetRefs[0] != want || onRoutes.Template.Spec.AdoptionPolicy != "" {
		t.Errorf("%+v", onRoutes)
	}
	if onServices := result.Objects[2].(*v1alpha1.PluginPolicy).Spec; onServices.Template.Spec.AdoptionPolicy != v1alpha1.AdoptOverride || string(onServices.Template.Spec.Config.Raw) != `{"minute":5}` {
		t.Errorf("%+v", onServices)
	}
}

func TestIngressControllerOneBindingPerPlugin(t *testing.T) {
	w := kicWorld(t)
	w.in.Policies = PoliciesNever
	result := w.plan()
	w.wantObjects(result, "PluginBinding shop/guard-shop-web-api-a-80", "PluginBinding shop/guard-shop-web-api-b-80",
		"PluginBinding shop/limit-alice", "PluginBinding shop/limit-shop-api-a", "PluginBinding shop/limit-shop-api-b")
}

// A plugin that has another ID than the ingress controller would give it is never taken from it.
func TestIngressControllerOtherID(t *testing.T) {
	w := kicWorld(t)
	for n := range w.in.Kong.Plugins {
		w.in.Kong.Plugins[n].ID = id(100 + n)
	}
	result := w.plan()
	w.wantObjects(result, "PluginPolicy shop/guard-web")
	if len(result.Unsaid) != 3 || !result.Unsaid[0].LeftOut || !strings.Contains(result.Unsaid[0].Why, "all syncs of the ingress controller would fail") {
		t.Errorf("%+v", result.Unsaid)
	}
	w.in.Kube.Objects = map[kic.Object]Object{} // the ingress controller wants none of them any more
	if result = w.plan(); len(result.Objects) != 5 || len(result.Claimed) > 0 {
		t.Errorf("%v %+v", objectNames(result), result.Unsaid)
	}
}

func TestIngressControllerUnknown(t *testing.T) {
	w := kicWorld(t)
	w.in.Kube.Problem = "forbidden"
	if result := w.plan(); len(result.Objects) > 0 || len(result.Unsaid) != 5 || !result.Unsaid[0].LeftOut {
		t.Errorf("%v %+v", objectNames(result), result.Unsaid)
	}
}

// What somebody changed in Kong by hand is imported as Kong has it.
func TestIngressControllerDrift(t *testing.T) {
	w := kicWorld(t)
	i := slices.IndexFunc(w.in.Kong.Plugins, func(row plugin.Plugin) bool { return row.Scope.RouteID == id(20) })
	w.in.Kong.Plugins[i].Config["key_names"] = []any{"other"}
	result := w.plan()
	w.wantObjects(result, "PluginBinding shop/guard-shop-web-api-a-80", "PluginBinding shop/guard-shop-web-api-b-80",
		"PluginBinding shop/limit-alice", "PluginPolicy shop/limit-api")
	if raw := string(result.Objects[0].(*v1alpha1.PluginBinding).Spec.Config.Raw); raw != `{"key_names":["other"]}` {
		t.Errorf("says %s", raw)
	}
}

// A second import after the first has been applied prints nothing.
func TestBoundIsLeftOut(t *testing.T) {
	for _, policies := range []Policies{PoliciesAuto, PoliciesNever, PoliciesAlways} {
		w := kicWorld(t)
		w.in.Policies = policies
		for _, object := range w.plan().Objects {
			switch object := object.(type) {
			case *v1alpha1.PluginBinding:
				w.in.Kube.Bindings = append(w.in.Kube.Bindings, *object)
			case *v1alpha1.PluginPolicy:
				w.in.Kube.Policies = append(w.in.Kube.Policies, *object)
			}
		}
		if result := w.plan(); len(result.Objects) > 0 || result.Bound != 5 {
			t.Errorf("%s: %v, %d bound", policies, objectNames(result), result.Bound)
		}
	}
	w := kicWorld(t)
	shadow := v1alpha1.PluginBinding{Spec: v1alpha1.PluginBindingSpec{Plugin: "key-auth"}}
	shadow.Status.Scope = &v1alpha1.BoundScope{RouteID: id(20), ServiceID: id(1)}
	recorded := v1alpha1.PluginBinding{Status: v1alpha1.PluginBindingStatus{PluginID: v1alpha1.UUID(kic.PluginID("", "rate-limiting", kic.ScopeNames{Consumer: "alice"}))}}
	w.in.Kube.Bindings = []v1alpha1.PluginBinding{shadow, recorded}
	if result := w.plan(); result.Bound != 2 || result.Imported != 3 {
		t.Errorf("%d bound, %d imported", result.Bound, result.Imported)
	}
}

func TestOwners(t *testing.T) {
	w := newWorld(t)
	own := []string{"managed-by:plugin-binding-operator", "k8s-kind:PluginBinding", "k8s-namespace:a", "k8s-name:b", "k8s-uid:u"}
	w.row(10, "key-auth", nil, plugin.Scope{}, append(own, "k8s-cluster:c1")...)
	w.row(11, "cors", nil, plugin.Scope{}, append(own, "k8s-cluster:c2")...)
	w.row(12, "bot-detection", nil, plugin.Scope{}, "managed-by:gitops")
	result := w.plan()
	if len(result.Objects) > 0 || len(result.Unsaid) != 3 {
		t.Fatalf("%v %+v", objectNames(result), result.Unsaid)
	}
	for i, why := range []string{"which does not exist", "of cluster c2", "the tool gitops manages it"} {
		if !strings.Contains(result.Unsaid[i].Why, why) || !result.Unsaid[i].LeftOut {
			t.Errorf("%+v", result.Unsaid[i])
		}
	}
	w.in.Kube.Bindings = []v1alpha1.PluginBinding{{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "b"}}}
	if result := w.plan(); result.Bound != 1 || len(result.Unsaid) != 2 {
		t.Errorf("%+v", result)
	}
}

func TestNamesDoNotCollide(t *testing.T) {
	w := newWorld(t)
	w.entity(adminapi.Service, 1, "a.b")
	w.entity(adminapi.Service, 2, "a-b")
	w.entity(adminapi.Service, 3, strings.Repeat("long", 40))
	for n := 1; n <= 3; n++ {
		w.row(10+n, "key-auth", nil, plugin.Scope{ServiceID: id(n)})
	}
	names := map[string]bool{}
	for _, object := range w.plan().Objects {
		names[object.GetName()] = true
		if len(object.GetName()) > 63 || !validLabel.MatchString(object.GetName()) {
			t.Errorf("%q is no label", object.GetName())
		}
	}
	if len(names) != 3 || names["key-auth-a-b"] {
		t.Errorf("%v", names)
	}
	w.in.Kong.Plugins = w.in.Kong.Plugins[:1]
	w.in.Kube.Bindings = []v1alpha1.PluginBinding{{ObjectMeta: metav1.ObjectMeta{Namespace: "kong", Name: "key-auth-a-b"}, Spec: v1alpha1.PluginBindingSpec{Plugin: "cors"}}}
	if got := onlyBinding(t, w.plan()).Name; !names[got] {
		t.Errorf("%s, and before %v", got, names)
	}
}

func TestWhatABindingCannotSay(t *testing.T) {
	w := newWorld(t)
	row := w.row(10, "key-auth", nil, plugin.Scope{})
	row.InstanceName = "größe"
	row.Unknown = map[string]json.RawMessage{"condition": json.RawMessage(`"a == b"`), "novel": json.RawMessage(`1`)}
	row.Ordering = map[string]map[string][]string{"before": {"access": {"cors"}, "rewrite": {"cors"}}}
	result := w.plan()
	if binding := onlyBinding(t, result); binding.Spec.Condition != "a == b" || binding.Spec.Ordering.Before.Access[0] != "cors" || binding.Spec.InstanceName != "" {
		t.Errorf("%+v", binding.Spec)
	}
	if len(result.Unsaid) != 1 || result.Unsaid[0].LeftOut || !strings.Contains(result.Unsaid[0].Why, `"novel", instance_name "größe", ordering.before.rewrite`) {
		t.Errorf("%+v", result.Unsaid)
	}
	row.Name = "Their Plugin"
	if result = w.plan(); len(result.Objects) > 0 || !result.Unsaid[0].LeftOut {
		t.Errorf("%+v", result)
	}
}

// A tag that a binding does not take would go from Kong with the operator's first write.
func TestTagsThatABindingDoesNotTake(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("ä", maxTag)
	w.row(10, "key-auth", nil, plugin.Scope{}, "k8s-team:a", "managed-by-ops", long, long+"x", "own")
	result := w.plan()
	if tags := onlyBinding(t, result).Spec.Tags; !slices.Equal(tags, []v1alpha1.Tag{"own", v1alpha1.Tag(long)}) {
		t.Errorf("has the tags %q", tags)
	}
	if len(result.Unsaid) != 1 || !strings.Contains(result.Unsaid[0].Why, `tag "k8s-team:a", tag "managed-by-ops", tag "ää`) {
		t.Errorf("%+v", result.Unsaid)
	}
}

// A database without its unique index has two plugins in one place; two objects of one name would be one.
func TestTwoPluginsInOnePlace(t *testing.T) {
	w := newWorld(t)
	w.row(10, "key-auth", nil, plugin.Scope{})
	w.row(11, "key-auth", nil, plugin.Scope{})
	if names := objectNames(w.plan()); len(names) != 2 || names[0] == names[1] {
		t.Error(names)
	}
}
