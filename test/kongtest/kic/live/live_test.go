package live

import (
	"context"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest/kic"
)

const (
	interval = 30 * time.Millisecond
	// patience is the timeout for anything that must happen, on a busy machine.
	patience = time.Minute
)

const manifests = `
apiVersion: v1
kind: Service
metadata: {name: orders, namespace: default}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: configuration.konghq.com/v1
kind: KongPlugin
metadata: {name: guard, namespace: default}
plugin: key-auth
config: {key_names: [apikey]}
---
apiVersion: configuration.konghq.com/v1
kind: KongClusterPlugin
metadata: {name: everywhere, labels: {global: "true"}}
plugin: correlation-id
---
apiVersion: configuration.konghq.com/v1
kind: KongConsumer
metadata: {name: alice, namespace: default}
username: alice
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: orders, namespace: default, annotations: {konghq.com/plugins: guard}}
spec:
  ingressClassName: kong
  rules:
    - host: orders.example.com
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: orders, port: {number: 80}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: other, namespace: default}
spec:
  ingressClassName: nginx
  rules:
    - host: other.example.com
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: orders, port: {number: 80}}}}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: orders, namespace: default, annotations: {konghq.com/plugins: "default:guard"}}
spec: {rules: [{backendRefs: [{name: orders, port: 80}]}]}
`

const (
	ingressRoute = "default.orders.orders.orders.example.com.80"
	httpRoute    = "httproute.default.orders.0.0"
)

func startCluster(t *testing.T) (*rest.Config, client.Client) {
	t.Helper()
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Fatal("KUBEBUILDER_ASSETS must name a directory with etcd and kube-apiserver; make test provides them")
	}
	paths, err := kic.CRDPaths()
	if err != nil {
		t.Fatal(err)
	}
	environment := &envtest.Environment{
		CRDDirectoryPaths: paths, ErrorIfCRDPathMissing: true, CRDInstallOptions: envtest.CRDInstallOptions{MaxTime: patience},
		ControlPlaneStartTimeout: patience, ControlPlaneStopTimeout: patience,
	}
	config, err := environment.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Error(err)
		}
	})
	config.QPS = -1
	if err := gatewayv1.Install(clientgoscheme.Scheme); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return config, c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestLive follows KIC from its first sync over a failing one to a restart.
func TestLive(t *testing.T) {
	config, cluster := startCluster(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	for doc := range strings.SplitSeq(manifests, "\n---\n") {
		var o unstructured.Unstructured
		must(t, yaml.Unmarshal([]byte(doc), &o.Object))
		must(t, cluster.Create(ctx, &o))
	}
	srv := kongtest.Start(t)
	controller, err := kic.Start(ctx, config, kic.Options{AdminURL: srv.URL(), Interval: interval})
	must(t, err)
	defer controller.Stop()

	must(t, controller.WaitSynced(ctx))
	if got, want := names(srv, "routes"), []string{ingressRoute, httpRoute}; !slices.Equal(got, want) {
		t.Fatalf("routes %v, want %v", got, want)
	}
	guard := srv.Plugin(kic.ID("plugins", kic.PluginKey("key-auth", kic.Scope{Route: ingressRoute})))
	if guard == nil || srv.Plugin(kic.ID("plugins", kic.PluginKey("key-auth", kic.Scope{Route: httpRoute}))) == nil || len(srv.Plugins()) != 3 {
		t.Fatalf("plugins %v", srv.Plugins())
	}
	if srv.Entity("consumers", "alice") == nil {
		t.Fatal("no consumer alice")
	}

	t.Run("idle", func(t *testing.T) { idle(ctx, t, controller, srv) })
	t.Run("restart in sync", func(t *testing.T) { restart(ctx, t, controller, srv) })
	t.Run("collision", func(t *testing.T) { collision(ctx, t, controller, srv, cluster) })
	t.Run("untranslatable", func(t *testing.T) { untranslatable(ctx, t, controller, cluster) })
}

// idle: a tick without news sends GET /status and nothing else.
func idle(ctx context.Context, t *testing.T, controller *kic.KIC, srv *kongtest.Server) {
	must(t, controller.WaitTicks(ctx, 1))
	mark := srv.Journal().Mark()
	must(t, controller.WaitTicks(ctx, 5))
	requests := srv.Journal().Since(mark).Requests
	if len(requests) < 5 {
		t.Errorf("%d requests in 5 ticks", len(requests))
	}
	for _, r := range requests {
		if r.Method != http.MethodGet || r.Path != "/status" {
			t.Errorf("%s %s", r.Method, r.Path)
		}
	}
}

// restart: KIC reads everything and writes nothing.
func restart(ctx context.Context, t *testing.T, controller *kic.KIC, srv *kongtest.Server) {
	mark, syncs := srv.Journal().Mark(), controller.Stats().Syncs
	controller.Restart(ctx)
	must(t, controller.WaitSynced(ctx))
	if writes := srv.Journal().Since(mark).Writes(); len(writes) != 0 {
		t.Errorf("%d writes: %v", len(writes), writes)
	}
	if got := controller.Stats().Syncs - syncs; got != 1 {
		t.Errorf("%d syncs", got)
	}
}

// collision: a plugin of somebody else is where a KongPlugin wants one.
func collision(ctx context.Context, t *testing.T, controller *kic.KIC, srv *kongtest.Server, cluster client.Client) {
	var in networkingv1.Ingress
	key := client.ObjectKey{Namespace: "default", Name: "orders"}
	setPlugins := func(value string) {
		must(t, cluster.Get(ctx, key, &in))
		metav1.SetMetaDataAnnotation(&in.ObjectMeta, "konghq.com/plugins", value)
		must(t, cluster.Update(ctx, &in))
	}
	setPlugins("")
	must(t, controller.WaitSynced(ctx))
	theirs := srv.Seed("plugins", map[string]any{"name": "key-auth", "route": map[string]any{"name": ingressRoute}})
	before := controller.Stats().Conflicts
	setPlugins("guard")
	for controller.Stats().Conflicts < before+3 {
		must(t, controller.WaitTicks(ctx, 1))
	}
	short, cancel := context.WithTimeout(ctx, 20*interval)
	defer cancel()
	if err := controller.WaitSynced(short); err == nil || !strings.Contains(err.Error(), "UNIQUE violation") {
		t.Errorf("WaitSynced: %v", err)
	}
	waitEvent(ctx, t, controller, cluster, "Pod", kic.PodName, kic.ReasonApplyFailed)
	waitEvent(ctx, t, controller, cluster, "KongPlugin", "guard", kic.ReasonApplyFailed)
	srv.DeletePlugin(theirs["id"].(string))
	must(t, controller.WaitSynced(ctx))
	if err := controller.Stats().LastError; err != nil {
		t.Error(err)
	}
}

// untranslatable: a Service's port is renamed, and the Ingress follows the old name.
func untranslatable(ctx context.Context, t *testing.T, controller *kic.KIC, cluster client.Client) {
	var in networkingv1.Ingress
	must(t, cluster.Get(ctx, client.ObjectKey{Namespace: "default", Name: "orders"}, &in))
	in.Spec.Rules[0].HTTP.Paths[0].Backend.Service.Port = networkingv1.ServiceBackendPort{Name: "gone"}
	must(t, cluster.Update(ctx, &in))
	must(t, controller.WaitSynced(ctx))
	waitEvent(ctx, t, controller, cluster, "Ingress", "orders", kic.ReasonTranslationFailed)
}

func waitEvent(ctx context.Context, t *testing.T, controller *kic.KIC, cluster client.Client, kind, name, reason string) {
	t.Helper()
	for {
		var events corev1.EventList
		must(t, cluster.List(ctx, &events, client.InNamespace("default")))
		for _, e := range events.Items {
			if e.InvolvedObject.Kind == kind && e.InvolvedObject.Name == name && e.Reason == reason {
				return
			}
		}
		must(t, controller.WaitTicks(ctx, 1))
	}
}

func names(srv *kongtest.Server, kind string) []string {
	var out []string
	for _, e := range srv.Entities(kind) {
		out = append(out, e["name"].(string))
	}
	slices.Sort(out)
	return out
}
