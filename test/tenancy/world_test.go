package tenancy

import (
	"context"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
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
	"github.com/pluginbinding/kong-plugin-operator/controllers"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

const (
	platformNamespace = "platform"
	tenantNamespace   = "tenant"
)

// request is one reconcile: of a gateway, or of a binding.
type request struct {
	gateway bool
	key     types.NamespacedName
}

// world runs the reconcilers one after the other, against a stand-in for the platform's Kong and
// client-go's fake API server. A fake clock decides what is due, so that its figures are counts.
type world struct {
	t        *testing.T
	ctx      context.Context
	client   client.WithWatch
	kong     *kongtest.Server
	clock    *clocktesting.FakeClock
	operator *controllers.Reconcilers
	due      map[request]time.Time
	// statusWrites counts the writes of the platform's statuses.
	statusWrites int
}

type indexer struct{ *fake.ClientBuilder }

func (i indexer) IndexField(_ context.Context, object client.Object, field string, values client.IndexerFunc) error {
	i.WithIndex(object, field, values)
	return nil
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, ctx: log.IntoContext(t.Context(), logr.Discard()), kong: kongtest.Start(t),
		clock: clocktesting.NewFakeClock(time.Unix(1_800_000_000, 0)), due: map[request]time.Time{},
	}
	scheme := runtime.NewScheme()
	w.must(clientgoscheme.AddToScheme(scheme))
	w.must(v1alpha1.AddToScheme(scheme))
	builder := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.KongGateway{}, &v1alpha1.PluginBinding{})
	w.must(controllers.AddIndexes(w.ctx, indexer{builder}))
	w.client = builder.Build()
	for _, name := range []string{platformNamespace, tenantNamespace} {
		w.must(w.client.Create(w.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}))
	}
	counting := interceptor.NewClient(w.client, interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, object client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
			if object.GetNamespace() == platformNamespace {
				w.statusWrites++
			}
			return c.SubResource(sub).Patch(ctx, object, patch, options...)
		},
	})
	recorder := discard{}
	w.operator = controllers.New(controllers.Options{
		ClusterID: "test", Workers: 4, Registry: prometheus.NewRegistry(), Clock: w.clock, LeadingSince: w.clock.Now().Add(-time.Hour),
		RemoveOrphans: true, ClusterCreatedAt: time.Unix(1, 0), Client: counting, APIReader: w.client,
		Clients: connection.AdminAPIClients{Registry: adminapi.NewRegistry(nil, nil)},
	}, controllers.Recorders{Gateways: recorder, Bindings: recorder})
	return w
}

// discard drops events.
type discard struct{ events.EventRecorder }

func (discard) Eventf(runtime.Object, runtime.Object, string, string, string, string, ...any) {}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// create creates an object and enqueues it, as its watch does.
func (w *world) create(object client.Object) {
	w.t.Helper()
	w.must(w.client.Create(w.ctx, object))
	w.enqueue(object)
}

func (w *world) enqueue(object client.Object) {
	_, isGateway := object.(*v1alpha1.KongGateway)
	w.due[request{isGateway, client.ObjectKeyFromObject(object)}] = w.clock.Now()
}

// run reconciles once, and enqueues what that enqueued.
func (w *world) run(r request) {
	delete(w.due, r)
	finished := make(chan struct{})
	var result ctrl.Result
	var err error
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
		case <-time.After(time.Millisecond): // what was enqueued without a wait
		}
		w.drain()
	}
	switch {
	case err != nil:
		w.due[r] = w.clock.Now().Add(time.Second) // as the queue's rate limiter does
	case result.RequeueAfter > 0:
		if at := w.clock.Now().Add(result.RequeueAfter); w.due[r].IsZero() || at.Before(w.due[r]) {
			w.due[r] = at
		}
	}
}

func (w *world) drain() {
	connections := w.operator.Connections
	for {
		select {
		case key := <-connections.Bindings():
			w.due[request{key: key}] = w.clock.Now()
		case key := <-connections.Waiting():
			w.due[request{key: key}] = w.clock.Now()
		case key := <-connections.Probes():
			w.due[request{gateway: true, key: key}] = w.clock.Now()
		case key := <-connections.ChangedGateways():
			bindings := &v1alpha1.PluginBindingList{}
			w.must(w.client.List(w.ctx, bindings, client.MatchingFields{reference.IndexGateway: key.String()}))
			for i := range bindings.Items {
				w.enqueue(&bindings.Items[i])
			}
		default:
			return
		}
	}
}

// pass lets time pass and reconciles what becomes due, in order. It returns how many reconciles ran
// before done, and how long after the start that was.
func (w *world) pass(d time.Duration, done func() bool) (reconciles int, after time.Duration) {
	w.t.Helper()
	began := w.clock.Now()
	for range 100_000 {
		if done != nil && done() {
			return reconciles, w.clock.Since(began)
		}
		next, at, ok := w.next()
		if !ok || at.After(began.Add(d)) {
			w.clock.SetTime(began.Add(d))
			return reconciles, d
		}
		if at.After(w.clock.Now()) {
			w.clock.SetTime(at)
		}
		w.run(next)
		reconciles++
	}
	w.t.Fatal("the operator does not settle")
	return 0, 0
}

func (w *world) next() (first request, at time.Time, ok bool) {
	for r, due := range w.due {
		if !ok || due.Before(at) || due.Equal(at) && r.key.String() < first.key.String() {
			first, at, ok = r, due, true
		}
	}
	return first, at, ok
}
