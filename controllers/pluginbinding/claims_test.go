package pluginbinding_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/kic"
)

// ingress has objects in namespace web, by kind and name, each with the names in its annotation, and
// KongPlugins by namespace/name.
type ingress struct {
	annotations map[string]string
	plugins     map[string]string
	global      []string
	err         error
	watched     []kic.Object
}

func (i *ingress) AnnotationsOf(_ context.Context, object kic.Object, uid types.UID) (map[string]string, bool, error) {
	names, found := i.annotations[object.Kind+" "+object.Name]
	return map[string]string{kic.PluginsAnnotation: names}, found && uid == "u", i.err
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

func (i *ingress) Watch(_ types.NamespacedName, objects []kic.Object) { i.watched = objects }

func kicTags(kind, name string) []any {
	return []any{"k8s-name:" + name, "k8s-namespace:web", "k8s-kind:" + kind, "k8s-uid:u", "k8s-version:v1", "managed-by-ingress-controller"}
}

// newIngressWorld has the service api and its route shop, and the consumer alice, as the ingress
// controller makes them.
func newIngressWorld(t *testing.T) (*world, *ingress) {
	t.Helper()
	w := newWorld(t)
	w.kong.Seed("services", map[string]any{"name": "api", "url": "http://127.0.0.1:9", "tags": kicTags("Service", "api")})
	w.kong.Seed("routes", map[string]any{"name": "shop", "paths": []any{"/shop"}, "service": map[string]any{"name": "api"}, "tags": kicTags("Ingress", "shop")})
	w.kong.Seed("consumers", map[string]any{"username": "alice", "tags": kicTags("KongConsumer", "alice")})
	objects := &ingress{
		annotations: map[string]string{"Ingress shop": "auth,limit", "Service api": "", "KongConsumer alice": ""},
		plugins:     map[string]string{"web/auth": "key-auth", "web/limit": "rate-limiting"},
	}
	w.reconcilers.Bindings.Ingress = objects
	return w, objects
}

// The operator makes no plugin where Kong's ingress controller wants one: its inserts would fail, and
// with them all of its syncs.
func TestNoPluginWhereTheIngressControllerWantsOne(t *testing.T) {
	route, service := &v1alpha1.EntityRef{Name: "shop"}, &v1alpha1.EntityRef{Name: "api"}
	alice := &v1alpha1.ConsumerRef{Username: "alice"}
	for name, c := range map[string]struct {
		scope   *v1alpha1.Scope
		prepare func(*world, *ingress)
		claimed bool
	}{
		"the annotation names it":                          {scope: &v1alpha1.Scope{Route: route}, claimed: true},
		"on a route and its service":                       {scope: &v1alpha1.Scope{Route: route, Service: service}},
		"on the service":                                   {scope: &v1alpha1.Scope{Service: service}},
		"the annotation of the service names it":           {scope: &v1alpha1.Scope{Service: service}, prepare: func(_ *world, i *ingress) { i.annotations["Service api"] = "limit" }, claimed: true},
		"the annotation names another plugin":              {scope: &v1alpha1.Scope{Route: route}, prepare: func(_ *world, i *ingress) { i.annotations["Ingress shop"] = "auth" }},
		"the KongPlugin does not exist":                    {scope: &v1alpha1.Scope{Route: route}, prepare: func(_ *world, i *ingress) { delete(i.plugins, "web/limit") }},
		"the object is another cluster's":                  {scope: &v1alpha1.Scope{Route: route}, prepare: func(_ *world, i *ingress) { delete(i.annotations, "Ingress shop") }},
		"on a consumer and a route that both name it":      {scope: &v1alpha1.Scope{Route: route, Consumer: alice}, prepare: func(_ *world, i *ingress) { i.annotations["KongConsumer alice"] = "limit" }, claimed: true},
		"on a consumer and a route, and only one names it": {scope: &v1alpha1.Scope{Route: route, Consumer: alice}},
		"on a route that somebody else made":               {scope: onRoute("s1-a")},
		"global, and a KongClusterPlugin is":               {prepare: func(_ *world, i *ingress) { i.global = []string{"rate-limiting"} }, claimed: true},
		"global, and a KongClusterPlugin of another name":  {prepare: func(_ *world, i *ingress) { i.global = []string{"cors"} }},
	} {
		t.Run(name, func(t *testing.T) {
			w, objects := newIngressWorld(t)
			if c.prepare != nil {
				c.prepare(w, objects)
			}
			binding := w.binding("a", c.scope)
			if !c.claimed {
				w.settle(3, binding)
				return
			}
			w.inTurn(3, binding)
			w.expectReason(binding, v1alpha1.ReasonClaimedByKongPlugin, "wants the plugin rate-limiting in this scope")
			if writes := w.kong.Journal().Writes(); len(writes) > 0 {
				t.Errorf("%d writes", len(writes))
			}
		})
	}
}

// A guard that cannot look refuses. It does not touch what is in force.
func TestAGuardThatCannotLookRefuses(t *testing.T) {
	w, objects := newIngressWorld(t)
	objects.annotations["Ingress shop"] = ""
	before := w.binding("before", &v1alpha1.Scope{Route: &v1alpha1.EntityRef{Name: "shop"}})
	w.settle(3, before)
	mark := w.kong.Journal().Mark()
	objects.err = errors.New("ingresses is forbidden")
	w.change(before, func(b *v1alpha1.PluginBinding) { b.Spec.Config.Raw = []byte(`{"minute": 6, "policy": "local"}`) })
	w.settle(3, before)
	after := w.binding("after", &v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: "api"}})
	w.inTurn(3, after)
	w.expectReason(after, v1alpha1.ReasonProgramming, "ingresses is forbidden. It does not know whether")
	if writes := w.kong.Journal().Since(mark).Writes(); len(writes) != 1 {
		t.Errorf("%d writes, want the one update", len(writes))
	}
}

// An annotation that comes later is told, and again when it goes. The plugin stays in force.
func TestAnAnnotationWhereABindingStandsIsReported(t *testing.T) {
	w, objects := newIngressWorld(t)
	objects.annotations["Ingress shop"] = "auth"
	binding := w.binding("a", &v1alpha1.Scope{Route: &v1alpha1.EntityRef{Name: "shop"}})
	w.settle(3, binding)
	w.restartWithSnapshot()
	w.reconcilers.Bindings.Ingress = objects
	contested := func() bool {
		w.reload(binding)
		return meta.IsStatusConditionTrue(binding.Status.Conditions, v1alpha1.ConditionContested)
	}
	for _, step := range []struct {
		names     string
		contested bool
	}{{"auth,limit", true}, {"auth", false}} {
		objects.annotations["Ingress shop"] = step.names
		w.inTurn(2, binding)
		if contested() != step.contested || !w.isReady(binding) {
			t.Errorf("with %q: contested %v, ready %v", step.names, contested(), w.isReady(binding))
		}
	}
	if len(objects.watched) < 2 {
		t.Errorf("it watches only %v", objects.watched)
	}
}

// A hint makes the operator look at Kong at short pauses until it is quiet, and then no more.
func TestAHintMakesTheOperatorLook(t *testing.T) {
	w, _ := newIngressWorld(t)
	binding := w.binding("a", onRoute("s1-a"))
	w.settle(3, binding)
	w.reconcilers.Bindings.Hint(types.NamespacedName{Namespace: namespace, Name: "a"})
	w.kong.Delete("routes", w.ids["s1-a"])
	looks := 0
	for began := w.clock.Now(); w.clock.Since(began) < time.Minute; looks++ {
		result, err := w.reconcile(binding)
		w.must(err)
		if looks == 0 {
			w.expectReason(binding, v1alpha1.ReasonScopeNotFound, "")
		}
		if looks == 20 {
			w.kong.Seed("routes", map[string]any{"name": "s1-a", "paths": []any{"/s1-a"}, "service": map[string]any{"name": "s1"}})
		}
		if looks == 22 && !w.isReady(w.reload(binding)) {
			t.Errorf("not Ready after two looks: %s", w.ready(binding).Message)
		}
		if result.RequeueAfter == 0 || result.RequeueAfter > time.Minute/2 {
			break
		}
		w.clock.Step(result.RequeueAfter)
	}
	if looks < 22 || looks > 60 {
		t.Errorf("%d looks", looks)
	}
}

// However many bindings are hinted, they look at Kong no more than so often together.
func TestHintsOfManyBindingsAreBounded(t *testing.T) {
	w, _ := newIngressWorld(t)
	binding := w.binding("a", onRoute("missing"))
	const hinted = 1000
	for i := range hinted {
		w.reconcilers.Bindings.Hint(types.NamespacedName{Namespace: namespace, Name: fmt.Sprintf("other-%d", i)})
	}
	w.reconcilers.Bindings.Hint(types.NamespacedName{Namespace: namespace, Name: "a"})
	result, err := w.reconcile(binding)
	w.must(err)
	if result.RequeueAfter < hinted*time.Second/100 {
		t.Errorf("one of %d hinted bindings looks again after %v", hinted, result.RequeueAfter)
	}
}
