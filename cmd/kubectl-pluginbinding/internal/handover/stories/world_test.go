package stories

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap/zapcore"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/handover"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest/kic"
)

const zapSilent = zapcore.FatalLevel

// world is a namespace with a Kong, an ingress controller and an operator of its own. The class of its
// objects keeps the ingress controllers of other worlds away from it.
type world struct {
	t         *testing.T
	ctx       context.Context
	namespace string
	kong      *kongtest.Server
	kic       *kic.KIC
	operator  *operator
	stop      func() // stops the operator in order
	restarts  int    // of the ingress controller
	pauses    atomic.Int64
	mark      int
	since     time.Time
	before    map[string]map[string]any // the ingress controller's plugins, by ID
}

var worlds atomic.Int64

// manifests has KongPlugins of every way to attach one. NS stands for the namespace.
const manifests = `
apiVersion: v1
kind: Service
metadata: {name: api, namespace: NS}
spec: {clusterIP: None, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: other, namespace: NS}
spec: {clusterIP: None, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Secret
metadata: {name: keys, namespace: NS}
stringData: {names: '["apikey"]'}
---
apiVersion: configuration.konghq.com/v1
kind: KongPlugin
metadata: {name: auth, namespace: NS, annotations: {kubernetes.io/ingress.class: NS}}
plugin: key-auth
configPatches: [{path: /key_names, valueFrom: {secretKeyRef: {name: keys, key: names}}}]
---
apiVersion: configuration.konghq.com/v1
kind: KongPlugin
metadata: {name: limit, namespace: NS, annotations: {kubernetes.io/ingress.class: NS}}
plugin: rate-limiting
config: {minute: 5, policy: local}
---
apiVersion: configuration.konghq.com/v1
kind: KongPlugin
metadata: {name: stop, namespace: NS, annotations: {kubernetes.io/ingress.class: NS}}
plugin: request-termination
config: {status_code: 503}
---
apiVersion: configuration.konghq.com/v1
kind: KongConsumer
metadata: {name: alice, namespace: NS, annotations: {kubernetes.io/ingress.class: NS}}
username: alice-NS
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: NS, annotations: {konghq.com/plugins: "limit, auth"}}
spec:
  ingressClassName: NS
  rules:
    - host: one.example
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: api, port: {number: 80}}}}]}
    - host: two.example
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: api, port: {number: 80}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: quiet, namespace: NS}
spec:
  ingressClassName: NS
  rules:
    - host: three.example
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: other, port: {number: 80}}}}]}
`

// newWorld has the ingress controller in sync, and a gateway that is Ready.
func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldAfter(t, nil)
}

// newWorldAfter is newWorld with something that comes before the ingress controller, if it is there.
func newWorldAfter(t *testing.T, before func(*world)) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*patience)
	t.Cleanup(cancel)
	w := &world{t: t, ctx: ctx, namespace: fmt.Sprintf("world-%d", worlds.Add(1)), kong: kongtest.Start(t)}
	w.apply("{apiVersion: v1, kind: Namespace, metadata: {name: NS}}")
	t.Cleanup(func() { // every plan reads all events
		_ = kube.DeleteAllOf(context.WithoutCancel(ctx), &corev1.Event{}, client.InNamespace(w.namespace)) // only the time of others depends on it
	})
	w.apply(manifests)
	if before != nil {
		before(w)
	}
	var err error
	w.kic, err = kic.Start(ctx, config, kic.Options{AdminURL: w.kong.URL(), Interval: tick, IngressClass: w.namespace, Namespace: w.namespace, WatchNamespaces: []string{w.namespace, "default"}})
	w.must(err)
	t.Cleanup(w.kic.Stop)
	w.startOperator()
	t.Cleanup(func() { w.stop() })
	w.must(kube.Create(ctx, &v1alpha1.KongGateway{
		ObjectMeta: ctrlMeta(w.namespace, "kong"), Spec: v1alpha1.KongGatewaySpec{AdminURL: w.kong.URL(), ResyncInterval: "1h"},
	}))
	w.eventually("the gateway is Ready", func() bool { return meta.IsStatusConditionTrue(w.gateway().Status.Conditions, v1alpha1.ConditionReady) })
	return w
}

// begin says that from now on nothing may be unprotected.
func (w *world) begin() {
	w.t.Helper()
	w.must(w.kic.WaitSynced(w.ctx))
	w.before = map[string]map[string]any{}
	for _, row := range w.kong.Plugins() {
		w.before[row["id"].(string)] = row
	}
	w.mark, w.since = w.kong.Journal().Mark(), time.Now()
}

// giveOldIDs gives the ingress controller's plugins of that name IDs that it does not compute, as earlier
// versions of it and decK did. It keeps them.
func (w *world) giveOldIDs(plugin string) {
	w.t.Helper()
	w.must(w.kic.WaitSynced(w.ctx))
	_, rows := w.plugins(plugin)
	for _, row := range rows {
		w.kong.DeletePlugin(row["id"].(string))
		row["id"] = uuid.NewString()
		w.kong.Seed("plugins", row)
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) eventually(what string, holds func() bool) {
	w.t.Helper()
	err := wait.PollUntilContextTimeout(w.ctx, 5*time.Millisecond, patience, true, func(context.Context) (bool, error) { return holds(), nil })
	if err != nil {
		w.t.Fatalf("%v: %s", err, what)
	}
}

// apply creates the objects of a manifest, in which NS stands for the namespace.
func (w *world) apply(manifest string) {
	w.t.Helper()
	for doc := range strings.SplitSeq(strings.ReplaceAll(manifest, "NS", w.namespace), "\n---\n") {
		object := &unstructured.Unstructured{}
		w.must(yaml.Unmarshal([]byte(doc), &object.Object))
		w.must(kube.Create(w.ctx, object))
	}
}

// annotate sets the annotation konghq.com/plugins of an object.
func (w *world) annotate(apiVersion, kind, name, plugins string) {
	w.t.Helper()
	object := &unstructured.Unstructured{}
	object.SetAPIVersion(apiVersion)
	object.SetKind(kind)
	object.SetNamespace(w.namespace)
	object.SetName(name)
	patch := fmt.Sprintf(`{"metadata":{"annotations":{"konghq.com/plugins":%q}}}`, plugins)
	w.must(kube.Patch(w.ctx, object, client.RawPatch("application/merge-patch+json", []byte(patch))))
}

// annotation reads it.
func (w *world) annotation(apiVersion, kind, name string) string {
	w.t.Helper()
	object := &unstructured.Unstructured{}
	object.SetAPIVersion(apiVersion)
	object.SetKind(kind)
	w.must(kube.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: name}, object))
	return object.GetAnnotations()["konghq.com/plugins"]
}

func (w *world) gateway() *v1alpha1.KongGateway {
	w.t.Helper()
	gateway := &v1alpha1.KongGateway{}
	w.must(kube.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: "kong"}, gateway))
	return gateway
}

// run is a hand-over with a client of the API server that the test may break.
func (w *world) run(c client.Client, options handover.Options) *handover.Run {
	w.t.Helper()
	settings := adminapi.Settings{Name: w.namespace, AdminURL: w.kong.URL()}
	kong, err := adminapi.New(settings, nil)
	w.must(err)
	w.t.Cleanup(kong.Close)
	_, err = kong.Probe(w.ctx)
	w.must(err)
	options.Namespace, options.GlobalNamespace, options.Tag, options.Timing = w.namespace, w.namespace, handover.DefaultTag, timing
	return &handover.Run{
		Kube: c, Kong: kong, Gateway: w.gateway(), Options: options,
		Say: func(format string, args ...any) { w.t.Logf(format, args...) }, Moved: func() {},
	}
}

// hand hands over, or back.
func (w *world) hand(ctx context.Context, r *handover.Run, back bool) error {
	w.t.Helper()
	plan, err := r.Plan(ctx, back)
	if err != nil {
		return err
	}
	if len(plan.Problems) > 0 {
		return fmt.Errorf("problems: %v", plan.Problems)
	}
	return r.Execute(ctx, plan.Items)
}

// verify fails if a route was without the plugin for a moment, if Kong answered 409, or if a sync of the
// ingress controller failed.
func (w *world) verify(plugin string, routes ...string) {
	w.t.Helper()
	if len(routes) == 0 {
		w.t.Fatal("no routes to look at")
	}
	for _, route := range routes {
		row := w.kong.Entity("routes", w.routeName(route))
		if row == nil {
			w.t.Fatalf("no route %s", route)
		}
		traffic := kongtest.Traffic{Route: row["id"].(string), Service: row["service"].(map[string]any)["id"].(string)}
		for _, gap := range kongtest.NewCoverage(w.kong.Journal().Changes(), plugin, traffic).Gaps(w.since, time.Now()) {
			w.t.Errorf("%s without %s for %s, %s after the begin", route, plugin, gap.Duration(), gap.From.Sub(w.since))
		}
	}
	w.verifyKong()
}

// routeName is the name of a route in Kong. NS stands for the namespace, which otherwise begins it.
func (w *world) routeName(route string) string {
	if name := strings.ReplaceAll(route, "NS", w.namespace); name != route {
		return name
	}
	return w.namespace + "." + route
}

func (w *world) verifyKong() {
	w.t.Helper()
	for _, request := range w.kong.Journal().Since(w.mark).Requests {
		if request.Status == http.StatusConflict {
			w.t.Errorf("409 to %s %s of %s", request.Method, request.Path, request.UserAgent)
		}
	}
	// A restart may end a sync in the middle.
	if stats := w.kic.Stats(); stats.Failed > w.restarts || stats.Conflicts > 0 {
		w.t.Errorf("%d syncs of the ingress controller failed: %v", stats.Failed, stats.LastError)
	}
}

// plugins are Kong's plugins of a name: of the operator, and of the ingress controller.
func (w *world) plugins(name string) (ours, theirs []map[string]any) {
	for _, row := range w.kong.Plugins() {
		if row["name"] != name {
			continue
		}
		tags := fmt.Sprint(row["tags"])
		switch {
		case strings.Contains(tags, "managed-by:plugin-binding-operator"):
			ours = append(ours, row)
		case strings.Contains(tags, handover.DefaultTag):
			theirs = append(theirs, row)
		}
	}
	return ours, theirs
}

// expect fails unless Kong has so many plugins of the name.
func (w *world) expect(name string, ours, theirs int) {
	w.t.Helper()
	a, b := w.plugins(name)
	if len(a) != ours || len(b) != theirs {
		w.t.Errorf("Kong has %d plugins %s of the operator and %d of the ingress controller, want %d and %d", len(a), name, len(b), ours, theirs)
	}
}

// expectClean fails if something of a hand-over is left.
func (w *world) expectClean(policies, bindings int) {
	w.t.Helper()
	p, b := &v1alpha1.PluginPolicyList{}, &v1alpha1.PluginBindingList{}
	w.must(kube.List(w.ctx, p, client.InNamespace(w.namespace)))
	w.must(kube.List(w.ctx, b, client.InNamespace(w.namespace)))
	if len(p.Items) != policies || len(b.Items) != bindings {
		w.t.Errorf("%d policies and %d bindings are there, want %d and %d", len(p.Items), len(b.Items), policies, bindings)
	}
	for i := range b.Items {
		if _, guarded := b.Items[i].Annotations[v1alpha1.TakeBackUntilAnnotation]; guarded {
			w.t.Errorf("binding %s is still guarded", b.Items[i].Name)
		}
	}
}

// named selects one object.
func named(kind, name string) []handover.Object { return []handover.Object{{Kind: kind, Name: name}} }

// verifyConsumer is verify for the requests of a consumer to the route of no plugin.
func (w *world) verifyConsumer(plugin, username string) {
	w.t.Helper()
	route := w.kong.Entity("routes", w.namespace+".quiet.other.three.example.80")
	traffic := kongtest.Traffic{
		Route: route["id"].(string), Service: route["service"].(map[string]any)["id"].(string),
		Consumer: w.kong.Entity("consumers", username)["id"].(string),
	}
	for _, gap := range kongtest.NewCoverage(w.kong.Journal().Changes(), plugin, traffic).Gaps(w.since, time.Now()) {
		w.t.Errorf("%s without %s for %s, %s after the begin", username, plugin, gap.Duration(), gap.From.Sub(w.since))
	}
	w.verifyKong()
}
