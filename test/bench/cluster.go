package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

const (
	namespace   = "bench"
	gatewayName = "kong"
	// apiServerConcurrency is how many requests the bench itself sends to the API server at a
	// time.
	apiServerConcurrency = 16
	// resyncInterval is the shortest that a KongGateway permits, because the bench waits for
	// several resyncs. After a long resync the operator waits longer.
	resyncInterval = "10s"
)

// cluster is an API server with its etcd on free ports of 127.0.0.1.
type cluster struct {
	client.Client
	env        *envtest.Environment
	kubeconfig string // of the operator
	audit      auditLog
	processes  []int // of the API server and etcd
	raw        rest.Interface
}

func startCluster(o options, dir string) (*cluster, error) {
	c := &cluster{
		kubeconfig: filepath.Join(dir, "kubeconfig"),
		audit:      auditLog{path: filepath.Join(dir, "audit.log")},
		env: &envtest.Environment{
			// Never use the cluster of the user's kubeconfig, whatever the environment says.
			UseExistingCluster:       new(false),
			BinaryAssetsDirectory:    o.assets,
			CRDDirectoryPaths:        []string{filepath.Join("config", "crd", "bases")},
			ErrorIfCRDPathMissing:    true,
			ControlPlaneStartTimeout: time.Minute,
			ControlPlaneStopTimeout:  time.Minute,
		},
	}
	policy := filepath.Join(dir, "audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return nil, err
	}
	c.env.ControlPlane.GetAPIServer().Configure().
		Append("audit-policy-file", policy).
		Append("audit-log-path", c.audit.path).
		Append("audit-log-maxsize", "100000") // MB: never rotate
	// Fifty thousand bindings, with what they were between two compactions, exceed the default of 2 GiB.
	c.env.ControlPlane.Etcd = &envtest.Etcd{}
	c.env.ControlPlane.Etcd.Configure().Append("quota-backend-bytes", "8589934592")
	config, err := c.env.Start()
	if err != nil {
		return nil, fmt.Errorf("start the API server: %w", err)
	}
	if err := c.connect(config); err != nil {
		return nil, errors.Join(err, c.env.Stop())
	}
	c.processes = append(childrenNamed("kube-apiserver"), childrenNamed("etcd")...)
	return c, nil
}

func (c *cluster) stop() error { return c.env.Stop() }

// connect creates the bench's client and the operator's kubeconfig.
func (c *cluster) connect(config *rest.Config) error {
	user, err := c.env.AddUser(envtest.User{Name: operatorUser, Groups: []string{"system:masters"}}, nil)
	if err != nil {
		return err
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.kubeconfig, kubeconfig, 0o600); err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	config = rest.CopyConfig(config)
	config.QPS = -1
	raw, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return err
	}
	c.raw = raw.RESTClient()
	c.Client, err = client.New(config, client.Options{Scheme: scheme})
	return err
}

// profile fetches a CPU profile of the API server.
func (c *cluster) profile(ctx context.Context, seconds int) ([]byte, error) {
	return c.raw.Get().AbsPath("/debug/pprof/profile").Param("seconds", strconv.Itoa(seconds)).DoRaw(ctx)
}

// seed creates the namespaces and the gateway.
func (c *cluster) seed(ctx context.Context, adminURL string) error {
	for _, name := range []string{namespace, operatorNamespace} {
		if err := c.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			return err
		}
	}
	return c.Create(ctx, &v1alpha1.KongGateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: gatewayName},
		Spec:       v1alpha1.KongGatewaySpec{AdminURL: adminURL, ResyncInterval: resyncInterval},
	})
}

// load creates all bindings.
func (c *cluster) load(ctx context.Context, plugins []pluginSpec) error {
	return inParallel(ctx, apiServerConcurrency, len(plugins), func(ctx context.Context, i int) error {
		binding, err := plugins[i].binding()
		if err != nil {
			return err
		}
		return c.Create(ctx, binding)
	})
}

// inParallel calls a function for each number below n.
func inParallel(ctx context.Context, workers, n int, do func(context.Context, int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}

// tag changes the tags of a binding. Every plugin has tags in Kong, so that changes any plugin.
func (c *cluster) tag(ctx context.Context, name, tag string) error {
	return c.Patch(ctx, bindingNamed(name), tagPatch(tag))
}

func tagPatch(tag string) client.Patch {
	return client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"tags":[%q]}}`, tag))
}

func bindingNamed(name string) *v1alpha1.PluginBinding {
	return &v1alpha1.PluginBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

func (c *cluster) binding(ctx context.Context, name string) (*v1alpha1.PluginBinding, error) {
	b := bindingNamed(name)
	return b, c.Get(ctx, client.ObjectKeyFromObject(b), b)
}

func (c *cluster) bindings(ctx context.Context) ([]v1alpha1.PluginBinding, error) {
	var list v1alpha1.PluginBindingList
	err := c.List(ctx, &list, client.InNamespace(namespace))
	return list.Items, err
}

// pluginSpec is one plugin of the bench, for its binding and for the bare client.
type pluginSpec struct {
	name   string // of the binding
	plugin string
	kind   string // service or route
	entity string // its name
	config map[string]any
}

// pluginKinds lists the plugins on each service and on each route. After a start the operator
// requests the schema of each kind once.
var pluginKinds = []struct {
	plugin string
	config map[string]any
}{
	{"rate-limiting", map[string]any{"minute": 60, "policy": "local"}},
	{"request-size-limiting", map[string]any{"allowed_payload_size": 64}},
	{"correlation-id", map[string]any{"header_name": "X-Request-ID", "generator": "uuid"}},
	{"cors", map[string]any{"origins": []string{"https://example.com"}, "max_age": 3600}},
	{"ip-restriction", map[string]any{"allow": []string{"10.0.0.0/8"}}},
	{"request-transformer", map[string]any{"add": map[string]any{"headers": []string{"x-team:shop"}}}},
	{"response-transformer", map[string]any{"add": map[string]any{"headers": []string{"x-served-by:kong"}}}},
	{"key-auth", map[string]any{"key_names": []string{"apikey"}}},
}

// minBindings is the number of plugins on one service and one route.
var minBindings = 2 * len(pluginKinds)

// pluginSpecs returns n plugins. No two of them have the same kind and entity.
func pluginSpecs(n int) []pluginSpec {
	all := make([]pluginSpec, n)
	for i := range all {
		entity, a := i/len(pluginKinds), pluginKinds[i%len(pluginKinds)]
		kind := []string{"service", "route"}[entity%2]
		all[i] = pluginSpec{
			name: fmt.Sprintf("b%05d", i), plugin: a.plugin, config: a.config,
			kind: kind, entity: entityName(kind, entity/2),
		}
	}
	return all
}

func entityName(kind string, i int) string { return fmt.Sprintf("bench-%s-%04d", kind, i) }

func (s pluginSpec) binding() (*v1alpha1.PluginBinding, error) {
	config, err := json.Marshal(s.config)
	if err != nil {
		return nil, err
	}
	b := bindingNamed(s.name)
	b.Spec = v1alpha1.PluginBindingSpec{
		GatewayRef: v1alpha1.GatewayRef{Name: gatewayName},
		Plugin:     v1alpha1.PluginName(s.plugin),
		Config:     &apiextensionsv1.JSON{Raw: config},
	}
	ref := &v1alpha1.EntityRef{Name: v1alpha1.Name(s.entity)}
	if s.kind == "route" {
		b.Spec.Scope = &v1alpha1.Scope{Route: ref}
	} else {
		b.Spec.Scope = &v1alpha1.Scope{Service: ref}
	}
	return b, nil
}
