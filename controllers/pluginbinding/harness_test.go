package pluginbinding_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/controllers"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

const namespace = "shop"

// world is a reconciler with a fake API server and a stand-in for Kong. Nothing runs by itself: the
// test reconciles, one binding at a time.
type world struct {
	t           *testing.T
	kong        *kongtest.Server
	kube        client.WithWatch
	clock       *clocktesting.FakeClock
	reconcilers *controllers.Reconcilers
	events      *events.FakeRecorder
	// ledFor is how long the next process has led when it starts.
	ledFor time.Duration
	// refuseStatus makes every patch of a status fail.
	refuseStatus bool
	// onGet is called before each read of a binding.
	onGet func(namespace, name string)
	// onPatch is called before each patch of a binding, with the object for the response, and onPatched
	// after it.
	onPatch   func(client.Object)
	onPatched func(*v1alpha1.PluginBinding)
	// ids are the IDs of services and routes by name.
	ids map[string]string
}

// indexer adds the indexes of the cache to the fake client.
type indexer struct{ *fake.ClientBuilder }

func (i indexer) IndexField(_ context.Context, object client.Object, field string, values client.IndexerFunc) error {
	i.WithIndex(object, field, values)
	return nil
}

// newWorld has a gateway named kong, and the services s1 to s3 with the routes s1-a, s1-b and so on.
func newWorld(t *testing.T, options ...kongtest.Option) *world {
	t.Helper()
	w := &world{t: t, kong: kongtest.Start(t, options...), clock: clocktesting.NewFakeClock(time.Now()), events: events.NewFakeRecorder(1000), ledFor: time.Hour, ids: map[string]string{}}
	for i := range 3 {
		service := fmt.Sprintf("s%d", i+1)
		w.ids[service] = w.kong.Seed("services", map[string]any{"name": service, "url": "http://127.0.0.1:9"})["id"].(string)
		for _, letter := range []string{"-a", "-b"} {
			w.ids[service+letter] = w.kong.Seed("routes", map[string]any{
				"name": service + letter, "paths": []any{"/" + service + letter}, "service": map[string]any{"name": service},
			})["id"].(string)
		}
	}
	scheme := runtime.NewScheme()
	w.must(corev1.AddToScheme(scheme))
	w.must(v1alpha1.AddToScheme(scheme))
	gateway := &v1alpha1.KongGateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "kong"},
		Spec:       v1alpha1.KongGatewaySpec{AdminURL: w.kong.URL()},
	}
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(gateway).
		WithStatusSubresource(&v1alpha1.PluginBinding{}, &v1alpha1.KongGateway{}).
		WithInterceptorFuncs(interceptor.Funcs{
			Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
				if _, isBinding := object.(*v1alpha1.PluginBinding); isBinding && w.onGet != nil {
					w.onGet(key.Namespace, key.Name)
				}
				return c.Get(ctx, key, object, options...)
			},
			Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, options ...client.PatchOption) error {
				binding, isBinding := object.(*v1alpha1.PluginBinding)
				if isBinding && w.onPatch != nil {
					w.onPatch(object)
				}
				err := c.Patch(ctx, object, patch, options...)
				if isBinding && w.onPatched != nil {
					w.onPatched(binding)
				}
				return err
			},
			SubResourcePatch: func(ctx context.Context, c client.Client, sub string, object client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
				if w.refuseStatus {
					return fmt.Errorf("the API server refuses the patch")
				}
				return c.SubResource(sub).Patch(ctx, object, patch, options...)
			},
		})
	w.must(controllers.AddIndexes(t.Context(), indexer{builder}))
	w.kube = builder.Build()
	w.start()
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// connect gives the reconciler a connection without a snapshot.
func (w *world) connect() {
	w.t.Helper()
	admin, err := connection.AdminAPIClients{Registry: adminapi.NewRegistry(nil, nil)}.Get("shop/kong", adminapi.Settings{Name: "shop/kong", AdminURL: w.kong.URL()})
	w.must(err)
	info, err := admin.Probe(w.t.Context())
	w.must(err)
	w.reconcilers.Connections.Set(types.NamespacedName{Namespace: namespace, Name: "kong"},
		connection.Connection{Client: admin, Info: info, RequestTimeout: time.Second})
}

// start starts a process without memory.
func (w *world) start() {
	w.t.Helper()
	w.reconcilers = controllers.New(controllers.Options{
		ClusterID: "c1", Workers: 4, Registry: prometheus.NewRegistry(), Clock: w.clock,
		LeadingSince: w.clock.Now().Add(-w.ledFor), Client: w.kube, APIReader: w.kube,
	}, controllers.Recorders{Gateways: w.events, Bindings: w.events})
	w.connect()
}

// restartWithSnapshot starts another process, which has resynced.
func (w *world) restartWithSnapshot() {
	w.t.Helper()
	w.start()
	w.snapshot()
}

// snapshot gives the reconciler a snapshot of the services and routes, as a resync makes it.
func (w *world) snapshot() {
	w.t.Helper()
	key := types.NamespacedName{Namespace: namespace, Name: "kong"}
	c, _ := w.reconcilers.Connections.Get(key)
	c.Snapshot = connection.NewSnapshot(w.reconcilers.Bindings.InFlight.Now())
	for kind, names := range map[adminapi.EntityKind][]string{adminapi.Service: {"s1", "s2", "s3"}, adminapi.Route: {"s1-a", "s2-a", "s3-a"}} {
		var refs []adminapi.EntityRef
		for _, name := range names {
			refs = append(refs, adminapi.EntityRef{Name: name})
		}
		entities, err := c.Client.Entities(w.t.Context(), kind, refs)
		w.must(err)
		c.Snapshot.SetEntities(kind, entities)
	}
	w.must(c.Client.VisitByTags(w.t.Context(), identity.ClusterTags("c1"), func(p plugin.Plugin) {
		owner := identity.OwnerOf(p.Tags).Binding
		c.Snapshot.Add(p, types.NamespacedName{Namespace: owner.Namespace, Name: owner.Name}, 0)
	}))
	w.reconcilers.Connections.Set(key, c)
}

func onRoute(name string) *v1alpha1.Scope {
	return &v1alpha1.Scope{Route: &v1alpha1.EntityRef{Name: v1alpha1.Name(name)}}
}

func onService(name string) *v1alpha1.Scope {
	return &v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: v1alpha1.Name(name)}}
}

// binding creates a binding of rate-limiting.
func (w *world) binding(name string, scope *v1alpha1.Scope, changes ...func(*v1alpha1.PluginBinding)) *v1alpha1.PluginBinding {
	w.t.Helper()
	binding := &v1alpha1.PluginBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Generation: 1, UID: types.UID("uid-" + name)},
		Spec: v1alpha1.PluginBindingSpec{
			GatewayRef: v1alpha1.GatewayRef{Name: "kong"}, Plugin: "rate-limiting", Scope: scope,
			Config: &apiextensionsv1.JSON{Raw: []byte(`{"minute": 5, "policy": "local"}`)},
		},
	}
	for _, change := range changes {
		change(binding)
	}
	w.must(w.kube.Create(w.t.Context(), binding))
	return binding
}

// change changes the spec, as the API server does it: with a new generation.
func (w *world) change(binding *v1alpha1.PluginBinding, edit func(*v1alpha1.PluginBinding)) {
	w.t.Helper()
	w.reload(binding)
	edit(binding)
	binding.Generation++
	w.must(w.kube.Update(w.t.Context(), binding))
}

func (w *world) reload(binding *v1alpha1.PluginBinding) *v1alpha1.PluginBinding {
	w.t.Helper()
	w.must(w.kube.Get(w.t.Context(), client.ObjectKeyFromObject(binding), binding))
	return binding
}

// reconcile reconciles one binding once.
func (w *world) reconcile(binding *v1alpha1.PluginBinding) (reconcile.Result, error) {
	w.t.Helper()
	return w.reconcilers.Bindings.Reconcile(w.t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(binding)})
}

// woken returns the names of the bindings that were woken since the last call.
func (w *world) woken() (names []string) {
	for {
		select {
		case key := <-w.reconcilers.Connections.Waiting():
			names = append(names, key.Name)
		case <-w.reconcilers.Connections.Bindings():
		default:
			slices.Sort(names)
			return slices.Compact(names)
		}
	}
}

// settle reconciles the bindings in turn until all are Ready, at most so often.
func (w *world) settle(rounds int, bindings ...*v1alpha1.PluginBinding) {
	w.t.Helper()
	for range rounds {
		ready := true
		for _, binding := range bindings {
			if _, err := w.reconcile(binding); err != nil {
				w.t.Fatal(err)
			}
			w.woken()
			w.reload(binding)
			ready = ready && w.isReady(binding)
		}
		if ready {
			return
		}
	}
	for _, binding := range bindings {
		w.t.Errorf("%s: %s", binding.Name, w.ready(binding).Message)
	}
	w.t.FailNow()
}

func (w *world) isReady(binding *v1alpha1.PluginBinding) bool {
	ready := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Status == metav1.ConditionTrue && ready.ObservedGeneration == binding.Generation
}

// ready is the condition Ready as it is now.
func (w *world) ready(binding *v1alpha1.PluginBinding) metav1.Condition {
	w.t.Helper()
	if ready := meta.FindStatusCondition(w.reload(binding).Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		return *ready
	}
	return metav1.Condition{}
}

// refuse makes Kong answer requests of one kind.
func (w *world) refuse(method, template string, status int, body string) (mend func()) {
	return w.kong.Inject(kongtest.Fault{Method: method, Template: template, Kind: kongtest.Answer, Status: status, Body: body})
}

// countSince counts the requests with that method, or all if it is empty.
func (w *world) countSince(mark int, method string) (n int) {
	for _, request := range w.kong.Journal().Since(mark).Requests {
		if method == "" || request.Method == method {
			n++
		}
	}
	return n
}

// expectOnlyUpdates fails if Kong answered 409, or a plugin was created or deleted, since the mark.
func (w *world) expectOnlyUpdates(mark int) {
	w.t.Helper()
	for _, request := range w.kong.Journal().Since(mark).Requests {
		if request.Status == http.StatusConflict {
			w.t.Errorf("409 to %s %s", request.Method, request.Path)
		}
	}
	for _, write := range w.kong.Journal().Since(mark).Writes() {
		if write.Kind != "update" {
			w.t.Errorf("%s of %s %s", write.Kind, write.Entity, write.ID)
		}
	}
}
