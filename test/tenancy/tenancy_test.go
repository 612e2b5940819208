package tenancy

import (
	"encoding/json"
	"fmt"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

const (
	platformBindings = 20
	tenantBindings   = 24 // of each kind
)

// figures are what the platform sees in the same twenty minutes.
type figures struct {
	inForce      string // the platform's plugins without their IDs and times
	ready        int
	idleRequests int // to its Kong in ten minutes, without a change
	resyncs      int
	statusWrites int
	// A change of one of its bindings.
	changeRequests, changeReconciles int
	changeAfter                      time.Duration
	heap                             uint64
}

func gatewayTo(namespace, name, url string) *v1alpha1.KongGateway {
	return &v1alpha1.KongGateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(namespace + name), Generation: 1},
		Spec: v1alpha1.KongGatewaySpec{
			AdminURL: url, ResyncInterval: "1m",
			AllowedBindings: &v1alpha1.AllowedBindings{Namespaces: &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromAll}, Code: v1alpha1.CodeNone},
		},
	}
}

func bindingIn(namespace, name, service string, change ...func(*v1alpha1.PluginBinding)) *v1alpha1.PluginBinding {
	binding := &v1alpha1.PluginBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(namespace + name), Generation: 1},
		Spec: v1alpha1.PluginBindingSpec{
			GatewayRef: v1alpha1.GatewayRef{Namespace: platformNamespace, Name: "kong"},
			Plugin:     "rate-limiting",
			Scope:      &v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: v1alpha1.Name(service)}},
			Config:     &apiextensionsv1.JSON{Raw: []byte(`{"minute": 5, "policy": "local"}`)},
		},
	}
	for _, c := range change {
		c(binding)
	}
	return binding
}

// hostile makes what a tenant can make that wants to harm the platform.
func (w *world) hostile() {
	for i := range tenantBindings {
		service := fmt.Sprintf("orders-%02d", i%platformBindings)
		name := func(kind string) string { return fmt.Sprintf("%s-%02d", kind, i) }
		w.create(bindingIn(tenantNamespace, name("takes"), service, func(b *v1alpha1.PluginBinding) { b.Spec.AdoptionPolicy = v1alpha1.AdoptOverride }))
		w.create(bindingIn(tenantNamespace, name("waits"), fmt.Sprintf("absent-%02d", i)))
		w.create(bindingIn(tenantNamespace, name("global"), service, func(b *v1alpha1.PluginBinding) { b.Spec.Scope = nil }))
		w.create(bindingIn(tenantNamespace, name("code"), service, func(b *v1alpha1.PluginBinding) {
			b.Spec.Plugin, b.Spec.Config = "pre-function", &apiextensionsv1.JSON{Raw: []byte(`{"access": ["kong.response.exit(200)"]}`)}
		}))
		w.create(bindingIn(tenantNamespace, name("consumer"), service, func(b *v1alpha1.PluginBinding) {
			b.Spec.Plugin, b.Spec.Scope = "pre-function", &v1alpha1.Scope{Consumer: &v1alpha1.ConsumerRef{Username: name("c")}}
		}))
		w.create(bindingIn(tenantNamespace, name("fails"), service, func(b *v1alpha1.PluginBinding) {
			b.Spec.Plugin, b.Spec.Config = "cors", &apiextensionsv1.JSON{Raw: []byte(`{"max_age": "` + strings.Repeat("x", 10_000) + `"}`)}
		}))
	}
	// His own gateways: one to the platform's Kong, and some to an endless one.
	mine := gatewayTo(tenantNamespace, "mine", strings.Replace(w.kong.URL(), "127.0.0.1", "localhost", 1))
	mine.CreationTimestamp.Time = w.clock.Now()
	mine.Annotations = map[string]string{v1alpha1.RetainedPluginsAnnotation: "orphan"}
	w.create(mine)
	endless := kongtest.Start(w.t)
	endless.Inject(kongtest.Fault{Kind: kongtest.EndlessList, Rows: 1})
	w.create(gatewayTo(tenantNamespace, "endless", endless.URL()))
}

// platform is the figures of a platform, with or without a hostile tenant beside it.
func platform(t *testing.T, withTenant bool) figures {
	w := newWorld(t)
	w.create(gatewayTo(platformNamespace, "kong", w.kong.URL()))
	for i := range platformBindings {
		service := fmt.Sprintf("orders-%02d", i)
		w.kong.Seed("services", map[string]any{"name": service, "url": "http://127.0.0.1:9"})
		w.create(bindingIn(platformNamespace, fmt.Sprintf("protect-%02d", i), service))
	}
	w.pass(5*time.Minute, nil)
	if withTenant {
		w.hostile()
	}
	w.pass(5*time.Minute, nil)

	var f figures
	mark := w.kong.Journal().Mark()
	w.statusWrites = 0
	w.pass(10*time.Minute, nil)
	f.statusWrites = w.statusWrites
	for _, r := range w.kong.Journal().Since(mark).Requests {
		f.idleRequests++
		if r.Template == "/plugins" && strings.Contains(r.Query, "tags=") && !strings.Contains(r.Query, "k8s-name") {
			f.resyncs++
		}
	}
	w.measureChange(&f)
	w.inForce(&f)
	goruntime.GC()
	var memory goruntime.MemStats
	goruntime.ReadMemStats(&memory)
	f.heap = memory.HeapAlloc
	return f
}

// measureChange changes one of the platform's bindings and waits until Kong has that.
func (w *world) measureChange(f *figures) {
	changed := &v1alpha1.PluginBinding{}
	w.must(w.client.Get(w.ctx, types.NamespacedName{Namespace: platformNamespace, Name: "protect-07"}, changed))
	changed.Spec.Config, changed.Generation = &apiextensionsv1.JSON{Raw: []byte(`{"minute": 7, "policy": "local"}`)}, changed.Generation+1
	w.must(w.client.Update(w.ctx, changed))
	w.enqueue(changed)
	mark, id := w.kong.Journal().Mark(), string(changed.Status.PluginID)
	f.changeReconciles, f.changeAfter = w.pass(10*time.Minute, func() bool {
		config, _ := w.kong.Plugin(id)["config"].(map[string]any)
		return fmt.Sprint(config["minute"]) == "7"
	})
	f.changeRequests = len(w.kong.Journal().Since(mark).Requests)
}

// inForce describes the plugins on the platform's Kong that are not the tenant's.
func (w *world) inForce(f *figures) {
	services := map[string]string{}
	for _, service := range w.kong.Entities("services") {
		services[service["id"].(string)] = service["name"].(string)
	}
	var rows []string
	for _, row := range w.kong.Plugins() {
		tags := fmt.Sprint(row["tags"])
		if strings.Contains(tags, "k8s-namespace:"+tenantNamespace) {
			continue
		}
		scope, _ := row["service"].(map[string]any)
		config, err := json.Marshal(row["config"])
		w.must(err)
		id, _ := scope["id"].(string)
		rows = append(rows, fmt.Sprintf("%v on %q, enabled %v: %s", row["name"], services[id], row["enabled"], config))
	}
	slices.Sort(rows)
	f.inForce = strings.Join(rows, "\n")
	bindings := &v1alpha1.PluginBindingList{}
	w.must(w.client.List(w.ctx, bindings, client.InNamespace(platformNamespace)))
	for i := range bindings.Items {
		if meta.IsStatusConditionTrue(bindings.Items[i].Status.Conditions, v1alpha1.ConditionReady) {
			f.ready++
		}
	}
}

func TestAHostileTenantBesideAPlatform(t *testing.T) {
	alone, beside := platform(t, false), platform(t, true)
	var table strings.Builder
	out := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	for _, row := range []struct {
		name string
		of   func(figures) any
	}{
		{"the platform's", func(figures) any { return "" }},
		{"bindings that are Ready", func(f figures) any { return f.ready }},
		{"requests to its Kong in ten minutes", func(f figures) any { return f.idleRequests }},
		{"resyncs in that time", func(f figures) any { return f.resyncs }},
		{"writes of its statuses in that time", func(f figures) any { return f.statusWrites }},
		{"requests for a change", func(f figures) any { return f.changeRequests }},
		{"reconciles until it is in Kong", func(f figures) any { return f.changeReconciles }},
		{"seconds until it is in Kong", func(f figures) any { return f.changeAfter.Seconds() }},
		{"heap in KiB (not checked for each)", func(f figures) any { return f.heap >> 10 }},
	} {
		fmt.Fprintf(out, "%s\t%v\t%v\n", row.name, row.of(alone), row.of(beside))
	}
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Logf("alone, and beside a hostile tenant:\n%s", table.String())

	if alone.ready != platformBindings || beside.ready != platformBindings {
		t.Errorf("%d and %d of %d bindings are Ready", alone.ready, beside.ready, platformBindings)
	}
	if alone.inForce != beside.inForce {
		t.Errorf("in force alone:\n%s\nand beside the tenant:\n%s", alone.inForce, beside.inForce)
	}
	// What waits for others costs the resync at most one more list and the lookups of a scope. A config
	// that Kong refuses is tried again after five minutes.
	if limit := alone.idleRequests + 4*beside.resyncs + 8*tenantBindings; beside.idleRequests > limit {
		t.Errorf("%d requests, want at most %d", beside.idleRequests, limit)
	}
	if beside.resyncs < alone.resyncs/2 {
		t.Errorf("%d resyncs instead of %d", beside.resyncs, alone.resyncs)
	}
	if beside.statusWrites > alone.statusWrites+3 {
		t.Errorf("%d writes of the platform's statuses instead of %d", beside.statusWrites, alone.statusWrites)
	}
	if beside.changeRequests > alone.changeRequests+1 || beside.changeAfter > time.Second {
		t.Errorf("a change costs %d requests and %v", beside.changeRequests, beside.changeAfter)
	}
	if beside.heap > alone.heap+64<<20 {
		t.Errorf("the heap has %d MiB instead of %d", beside.heap>>20, alone.heap>>20)
	}
}
