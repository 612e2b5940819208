package controllers

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// platform is the key of the gateway in a world.
var platform = types.NamespacedName{Namespace: "kong", Name: "kong"}

// request is one reconcile: of a gateway, or of a binding.
type request struct {
	gateway bool
	key     types.NamespacedName
}

// world runs both reconcilers one after the other, in the test's own goroutine, against the stand-in
// for Kong and client-go's fake API server. A fake clock decides what is due.
type world struct {
	t         *testing.T
	ctx       context.Context
	client    client.WithWatch // of the API server itself
	kong      *kongtest.Server
	clock     *clocktesting.FakeClock
	registry  *prometheus.Registry
	recorder  *events.FakeRecorder
	operator  *Reconcilers
	options   Options
	due       map[request]time.Time
	reconcile map[request]int // how often each was reconciled
}

// worldOptions adjust a world.
type worldOptions struct {
	// calls replace the operator's calls of its client, as a cache or a refusing API server would.
	calls   interceptor.Funcs
	options func(*Options)
	objects []client.Object
}

// newWorld returns a world with the KongGateway platform, for a Kong with the service orders.
func newWorld(t *testing.T, o worldOptions) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	w := &world{
		t: t, ctx: log.IntoContext(t.Context(), logr.Discard()),
		kong: kongtest.Start(t), clock: clocktesting.NewFakeClock(time.Unix(1_800_000_000, 0)),
		registry: prometheus.NewRegistry(), recorder: events.NewFakeRecorder(10_000),
		due: map[request]time.Time{}, reconcile: map[request]int{},
	}
	w.kong.Seed("services", map[string]any{"name": "orders", "url": "http://127.0.0.1:9"})
	objects := append([]client.Object{namespaceNamed("kong"), namespaceNamed("shop"), w.gateway()}, o.objects...)
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.KongGateway{}, &v1alpha1.PluginBinding{}, &v1alpha1.PluginPolicy{})
	if err := AddIndexes(w.ctx, fakeIndexer{builder}); err != nil {
		t.Fatal(err)
	}
	w.client = builder.Build()
	options := Options{
		ClusterID: "test", Workers: 4, Registry: w.registry, Clock: w.clock, LeadingSince: w.clock.Now().Add(-time.Hour),
		Client: interceptor.NewClient(w.client, o.calls), APIReader: w.client,
		Clients: connection.AdminAPIClients{Registry: adminapi.NewRegistry(nil, nil)},
	}
	if o.options != nil {
		o.options(&options)
	}
	w.options = options
	w.operator = New(options, Recorders{Gateways: w.recorder, Bindings: w.recorder})
	for _, object := range o.objects {
		if binding, ok := object.(*v1alpha1.PluginBinding); ok {
			w.enqueue(request{key: client.ObjectKeyFromObject(binding)})
		}
	}
	w.enqueue(request{gateway: true, key: platform})
	return w
}

// restart starts another process without memory, which reconciles everything.
func (w *world) restart() {
	w.t.Helper()
	w.options.Registry, w.options.LeadingSince = prometheus.NewRegistry(), w.clock.Now()
	w.options.Clients = connection.AdminAPIClients{Registry: adminapi.NewRegistry(nil, nil)}
	w.operator = New(w.options, Recorders{Gateways: w.recorder, Bindings: w.recorder})
	clear(w.due)
	w.enqueue(request{gateway: true, key: platform})
	w.enqueueBindingsOf(platform)
}

// fakeIndexer adds the indexes of the cache to a fake client.
type fakeIndexer struct{ builder *fake.ClientBuilder }

func (f fakeIndexer) IndexField(_ context.Context, object client.Object, field string, values client.IndexerFunc) error {
	f.builder.WithIndex(object, field, values)
	return nil
}

func namespaceNamed(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func (w *world) gateway() *v1alpha1.KongGateway {
	return &v1alpha1.KongGateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: platform.Namespace, Name: platform.Name, UID: "gateway", Generation: 1},
		Spec: v1alpha1.KongGatewaySpec{
			AdminURL: w.kong.URL(), ResyncInterval: "1m",
			AllowedBindings: &v1alpha1.AllowedBindings{Namespaces: &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromAll}},
		},
	}
}

// boundTo returns a binding of rate-limiting in namespace shop, on a service of platform.
func boundTo(name, service string) *v1alpha1.PluginBinding {
	return &v1alpha1.PluginBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(name), Generation: 1},
		Spec: v1alpha1.PluginBindingSpec{
			GatewayRef: v1alpha1.GatewayRef{Namespace: platform.Namespace, Name: platform.Name},
			Plugin:     "rate-limiting",
			Scope:      &v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: v1alpha1.Name(service)}},
			Config:     &apiextensionsv1.JSON{Raw: []byte(`{"minute": 5, "policy": "local"}`)},
		},
	}
}

func (w *world) enqueue(r request) { w.due[r] = w.clock.Now() }

// create creates a binding and enqueues it, as its watch does.
func (w *world) create(binding *v1alpha1.PluginBinding) {
	w.t.Helper()
	if err := w.client.Create(w.ctx, binding); err != nil {
		w.t.Fatal(err)
	}
	w.enqueue(request{key: client.ObjectKeyFromObject(binding)})
}

// run reconciles once, and enqueues what that enqueued.
func (w *world) run(r request) (result ctrl.Result, err error) {
	w.t.Helper()
	delete(w.due, r)
	w.reconcile[r]++
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		if r.gateway {
			result, err = w.operator.Gateways.Reconcile(w.ctx, ctrl.Request{NamespacedName: r.key})
		} else {
			result, err = w.operator.Bindings.Reconcile(w.ctx, ctrl.Request{NamespacedName: r.key})
		}
	}()
	for running := true; running; {
		select {
		case <-finished:
			running = false
		case key := <-w.operator.Connections.Bindings():
			w.enqueue(request{key: key})
		case key := <-w.operator.Connections.Probes():
			w.enqueue(request{gateway: true, key: key})
		case key := <-w.operator.Connections.ChangedGateways():
			w.enqueueBindingsOf(key)
		}
	}
	w.drain()
	if result.RequeueAfter > 0 {
		at := w.clock.Now().Add(result.RequeueAfter)
		if earlier, waits := w.due[r]; !waits || at.Before(earlier) {
			w.due[r] = at
		}
	}
	return result, err
}

// drain takes what is left in the channels of the operator.
func (w *world) drain() {
	for {
		select {
		case key := <-w.operator.Connections.Bindings():
			w.enqueue(request{key: key})
		case key := <-w.operator.Connections.Probes():
			w.enqueue(request{gateway: true, key: key})
		case key := <-w.operator.Connections.ChangedGateways():
			w.enqueueBindingsOf(key)
		default:
			return
		}
	}
}

func (w *world) enqueueBindingsOf(gateway types.NamespacedName) {
	w.t.Helper()
	bindings := &v1alpha1.PluginBindingList{}
	if err := w.client.List(w.ctx, bindings, client.MatchingFields{reference.IndexGateway: gateway.String()}); err != nil {
		w.t.Fatal(err)
	}
	for i := range bindings.Items {
		w.enqueue(request{key: client.ObjectKeyFromObject(&bindings.Items[i])})
	}
}

// pass lets time pass and reconciles everything that becomes due, in order.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	end := w.clock.Now().Add(d)
	for range 100_000 {
		next, at, ok := w.next()
		if !ok || at.After(end) {
			w.clock.SetTime(end)
			return
		}
		if at.After(w.clock.Now()) {
			w.clock.SetTime(at)
		}
		if _, err := w.run(next); err != nil {
			w.due[next] = w.clock.Now().Add(time.Second) // as the queue's rate limiter does
		}
	}
	w.t.Fatal("the operator does not settle")
}

func (w *world) next() (first request, at time.Time, ok bool) {
	for r, due := range w.due {
		if !ok || due.Before(at) || due.Equal(at) && cmp.Or(strings.Compare(r.key.String(), first.key.String())) < 0 {
			first, at, ok = r, due, true
		}
	}
	return first, at, ok
}

func (w *world) getBinding(name string) *v1alpha1.PluginBinding {
	w.t.Helper()
	binding := &v1alpha1.PluginBinding{}
	if err := w.client.Get(w.ctx, types.NamespacedName{Namespace: "shop", Name: name}, binding); err != nil {
		w.t.Fatal(err)
	}
	return binding
}

func (w *world) getGateway() *v1alpha1.KongGateway {
	w.t.Helper()
	gateway := &v1alpha1.KongGateway{}
	if err := w.client.Get(w.ctx, platform, gateway); err != nil {
		w.t.Fatal(err)
	}
	return gateway
}

// delete deletes an object, and enqueues what its watches enqueue.
func (w *world) delete(object client.Object) {
	w.t.Helper()
	if err := w.client.Delete(w.ctx, object); err != nil {
		w.t.Fatal(err)
	}
	w.enqueue(request{gateway: true, key: platform})
	if _, ok := object.(*v1alpha1.PluginBinding); ok {
		w.enqueue(request{key: client.ObjectKeyFromObject(object)})
	}
}

// expectReason fails unless Ready of a binding has that reason.
func (w *world) expectReason(name, reason string) {
	w.t.Helper()
	ready := meta.FindStatusCondition(w.getBinding(name).Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.Reason != reason {
		w.t.Fatalf("binding %s: %+v, want %s", name, ready, reason)
	}
}

// requests counts the requests since a mark of the journal, by method and template of the path.
func (w *world) requests(mark int) map[string]int {
	counts := map[string]int{}
	for _, r := range w.kong.Journal().Since(mark).Requests {
		counts[r.Method+" "+r.Template]++
	}
	return counts
}

// resyncs counts the lists of all plugins since a mark of the journal.
func (w *world) resyncs(mark int) (n int) {
	for _, r := range w.kong.Journal().Since(mark).Requests {
		if r.Method == http.MethodGet && r.Template == "/plugins" && strings.Contains(r.Query, "tags=") && !strings.Contains(r.Query, "k8s-name") {
			n++
		}
	}
	return n
}

// emitted returns the events since the last call.
func (w *world) emitted() []string {
	var texts []string
	for {
		select {
		case text := <-w.recorder.Events:
			texts = append(texts, text)
		default:
			slices.Sort(texts)
			return texts
		}
	}
}
