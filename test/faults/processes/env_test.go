package processes

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// timeout is the request timeout for Kong. A manager that has just started, or that does not
// know the result of a write, waits that long and five seconds more before it creates or
// deletes a plugin.
const timeout = "1s"

// unhurried is the request timeout of the plans that expect no write, or a start without a wait. A busy machine
// that does not answer within timeout would be a Kong that does not answer.
const unhurried = "9s"

// Names of the objects in every environment.
const (
	gatewayName = "kong"
	bindingName = "limits"
	secretName  = "redis"
)

var counter atomic.Int64

// testEnv is the environment of one plan: a namespace, a Kong, a proxy to it, and replicas of
// the manager that see nothing else.
type testEnv struct {
	t              *testing.T
	dir            string
	namespace      string
	cluster        string // the cluster id
	calls          *callLog
	kong           *kongtest.Server
	kongProxy      *proxy
	main           *replica
	replicas       []*replica
	secrets        []string // values that must not appear anywhere
	unmanagedRows  string   // rows of other owners, at the start
	resyncRequests int
	startMark      int // mark at the last start of a process
}

// newTestEnv creates an environment with a KongGateway and one replica without leader election.
// Nothing runs yet.
func newTestEnv(t *testing.T, requestTimeout string) *testEnv {
	t.Helper()
	env := newEnvWithoutReplica(t, requestTimeout)
	env.main = env.newReplica("a", "--leader-elect=false")
	return env
}

// newEnvWithoutReplica is newTestEnv without a replica.
func newEnvWithoutReplica(t *testing.T, requestTimeout string) *testEnv {
	t.Helper()
	n := counter.Add(1)
	env := &testEnv{
		t: t, dir: t.TempDir(), calls: &callLog{},
		namespace: fmt.Sprintf("plan-%d", n), cluster: fmt.Sprintf("cluster-%d", n),
		secrets: []string{fmt.Sprintf("planted-token-%d", n), fmt.Sprintf("planted-password-%d", n)},
	}
	t.Cleanup(env.logOnFailure)
	// The same seed everywhere, so that two runs differ only in what happened.
	env.kong = kongtest.Start(t, kongtest.WithSeed(1), kongtest.WithToken("Kong-Admin-Token", env.secrets[0]))
	env.seed()
	target, err := url.Parse(env.kong.URL())
	must(t, err)
	env.kongProxy = startProxy(t, env.calls, target, nil, nil, func(r *http.Request, _ []byte) call { return kongCall(r.Method, r.URL) })
	env.create(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: env.namespace}},
		env.secret("token", env.secrets[0]),
		env.secret(secretName, env.secrets[1]),
		&v1alpha1.KongGateway{
			ObjectMeta: env.meta(gatewayName),
			Spec: v1alpha1.KongGatewaySpec{
				AdminURL: "http://" + env.kongProxy.address,
				Auth:     &v1alpha1.GatewayAuth{TokenSecretRef: v1alpha1.SecretKeyRef{Name: "token", Key: "value"}},
				Limits:   &v1alpha1.GatewayLimits{RequestTimeout: v1alpha1.Duration(requestTimeout)},
			},
		},
	)
	return env
}

// seed creates what other owners have in this Kong.
func (env *testEnv) seed() {
	env.kong.Seed("services", map[string]any{"name": "orders", "url": "http://127.0.0.1:9"})
	env.kong.Seed("routes", map[string]any{"name": "orders-v1", "paths": []any{"/orders"}, "service": map[string]any{"name": "orders"}})
	env.kong.Seed("consumers", map[string]any{"username": "alice"})
	env.kong.Seed("plugins", map[string]any{"name": "cors", "service": map[string]any{"name": "orders"}, "tags": []any{"managed-by-ingress-controller"}})
	env.kong.Seed("plugins", map[string]any{"name": "rate-limiting", "config": map[string]any{"minute": 9.0}})
	env.kong.Seed("plugins", map[string]any{
		"name": "rate-limiting", "config": map[string]any{"minute": 8.0}, "consumer": map[string]any{"username": "alice"},
		"instance_name": "elsewhere." + env.namespace + "." + bindingName,
		"tags":          toAny(identity.Binding{Cluster: "elsewhere", Namespace: env.namespace, Name: bindingName, UID: "1"}.OwnershipTags()),
	})
	env.unmanagedRows = env.unmanaged()
}

func toAny(list []string) []any {
	out := make([]any, len(list))
	for i := range list {
		out[i] = list[i]
	}
	return out
}

func (env *testEnv) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: env.namespace, Name: name}
}

func (env *testEnv) secret(name, value string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: env.meta(name), StringData: map[string]string{"value": value}}
}

// binding declares rate-limiting on the service orders, with a password from a Secret.
func (env *testEnv) binding(name string) *v1alpha1.PluginBinding {
	return env.bindingOn(name, "orders")
}

func (env *testEnv) bindingOn(name, service string) *v1alpha1.PluginBinding {
	return &v1alpha1.PluginBinding{
		ObjectMeta: env.meta(name),
		Spec: v1alpha1.PluginBindingSpec{
			GatewayRef: v1alpha1.GatewayRef{Name: gatewayName},
			Plugin:     "rate-limiting",
			Scope:      &v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: v1alpha1.Name(service)}},
			Config:     &apiextensionsv1.JSON{Raw: []byte(`{"minute": 5, "policy": "local"}`)},
			ConfigPatches: []v1alpha1.ConfigPatch{{
				Path:      "/redis/password",
				ValueFrom: v1alpha1.ConfigSource{SecretKeyRef: v1alpha1.SecretKeyRef{Name: secretName, Key: "value"}},
			}},
		},
	}
}

func (env *testEnv) create(objects ...client.Object) {
	env.t.Helper()
	for _, object := range objects {
		must(env.t, suite.client.Create(context.Background(), object))
	}
}

// get reads an object. It returns false if the object does not exist.
func (env *testEnv) get(object client.Object, name string) bool {
	env.t.Helper()
	err := suite.client.Get(context.Background(), client.ObjectKey{Namespace: env.namespace, Name: name}, object)
	if !apierrors.IsNotFound(err) {
		must(env.t, err)
	}
	return err == nil
}

// current reads the binding.
func (env *testEnv) current() *v1alpha1.PluginBinding {
	env.t.Helper()
	binding := &v1alpha1.PluginBinding{}
	if !env.get(binding, bindingName) {
		env.t.Fatal("the binding does not exist")
	}
	return binding
}

func (env *testEnv) bindings() []v1alpha1.PluginBinding {
	env.t.Helper()
	list := &v1alpha1.PluginBindingList{}
	must(env.t, suite.client.List(context.Background(), list, client.InNamespace(env.namespace)))
	return list.Items
}

// change edits an object as a user would.
func change[T client.Object](env *testEnv, object T, name string, edit func(T)) {
	env.t.Helper()
	if !env.get(object, name) {
		env.t.Fatalf("%s does not exist", name)
	}
	base := object.DeepCopyObject().(client.Object)
	edit(object)
	must(env.t, suite.client.Patch(context.Background(), object, client.MergeFrom(base)))
}

// edit changes the config of a binding.
func (env *testEnv) edit(name, config string) {
	env.t.Helper()
	change(env, &v1alpha1.PluginBinding{}, name, func(b *v1alpha1.PluginBinding) { b.Spec.Config.Raw = []byte(config) })
}

// requestReconcile requests a reconcile of a binding.
func (env *testEnv) requestReconcile(name string) {
	env.t.Helper()
	change(env, &v1alpha1.PluginBinding{}, name, func(b *v1alpha1.PluginBinding) {
		metav1.SetMetaDataAnnotation(&b.ObjectMeta, v1alpha1.ReconcileRequestedAtAnnotation, fmt.Sprint(counter.Add(1)))
	})
}

// requestResync changes the gateway's spec, which makes the manager resync now.
func (env *testEnv) requestResync() {
	env.t.Helper()
	env.resyncRequests++
	change(env, &v1alpha1.KongGateway{}, gatewayName, func(g *v1alpha1.KongGateway) {
		g.Spec.ResyncInterval = []v1alpha1.Duration{"1m", "60s"}[env.resyncRequests%2]
	})
}

// eventually waits for a condition.
func (env *testEnv) eventually(what string, reached func() error) {
	env.t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(context.Background(), interval, patience, true, func(context.Context) (bool, error) {
		if last = env.unexpectedExit(); last != nil {
			return false, last
		}
		last = reached()
		return last == nil, nil
	})
	if err != nil {
		env.t.Fatalf("%s: %v", what, last)
	}
}

// unexpectedExit returns an error if a process ended by itself.
func (env *testEnv) unexpectedExit() error {
	for _, r := range env.replicas {
		if p := r.process(); p != nil && p.ended() && !p.exitExpected.Load() {
			return fmt.Errorf("replica %s exited unexpectedly: %s", r.name, p.cmd.ProcessState)
		}
	}
	return nil
}

// waitForFault waits until a fault fires.
func (env *testEnv) waitForFault(r *rule) {
	env.t.Helper()
	env.eventually("the faulted call", func() error {
		select {
		case <-r.hit:
			return nil
		default:
			return fmt.Errorf("was not made")
		}
	})
}

// gatewayReady checks that the gateway is ready and counts its bindings correctly.
func (env *testEnv) gatewayReady() error {
	gw := &v1alpha1.KongGateway{}
	env.get(gw, gatewayName)
	if !meta.IsStatusConditionTrue(gw.Status.Conditions, v1alpha1.ConditionReady) || gw.Status.ObservedGeneration != gw.Generation {
		return fmt.Errorf("the gateway is not ready: %+v", gw.Status)
	}
	bindings := env.bindings()
	n := int32(len(bindings))
	if c := gw.Status.Bindings; c == nil || c.Total != n || c.Ready != n {
		return fmt.Errorf("the gateway counts %+v and there are %d bindings", c, n)
	}
	return nil
}

// bindingsReady checks that every binding is ready as declared, and that the gateway says so
// too.
func (env *testEnv) bindingsReady() error {
	for _, b := range env.bindings() {
		ready := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || ready.Status != metav1.ConditionTrue || ready.ObservedGeneration != b.Generation {
			return fmt.Errorf("%s is not ready: %+v", b.Name, ready)
		}
		if env.kong.Plugin(string(b.Status.PluginID)) == nil {
			return fmt.Errorf("%s is ready and Kong has no plugin %s", b.Name, b.Status.PluginID)
		}
	}
	return env.gatewayReady()
}

// initialSyncDone checks that the process that started last has resynced and reconciled the
// binding.
func (env *testEnv) initialSyncDone() error {
	done := func(name, suffix string) bool {
		return env.calls.contains(env.startMark, func(c *call) bool {
			return c.ended && c.status == http.StatusOK && c.name == name && strings.HasSuffix(c.path, suffix)
		})
	}
	switch {
	case !done(kongListOwned, ""):
		return fmt.Errorf("no resync yet")
	case len(env.bindings()) > 0 && !done(kubeGetSecret, "/"+secretName):
		return fmt.Errorf("no binding was reconciled yet")
	case !env.calls.idle():
		return fmt.Errorf("requests are under way")
	}
	return nil
}

// waitUntilIdle waits until the managers have nothing left to do: until they reconcile every
// binding and resync twice in a row without a write.
func (env *testEnv) waitUntilIdle() {
	env.t.Helper()
	const wanted, most = 2, 30
	clean := 0
	var written []call
	for round := 0; clean < wanted; round++ {
		if round == most {
			env.t.Fatalf("not idle after %d rounds; writes in the last one:\n%s", most, formatCalls(written))
		}
		if written = env.reconcileAll(); len(written) == 0 {
			clean++
		} else {
			clean = 0
		}
	}
}

// reconcileAll requests a reconcile of every binding and a resync. It returns the writes
// meanwhile.
func (env *testEnv) reconcileAll() []call {
	env.t.Helper()
	mark := env.calls.mark()
	bindings := env.bindings()
	for i := range bindings {
		env.requestReconcile(bindings[i].Name)
	}
	env.requestResync()
	env.eventually("a reconcile of everything", func() error {
		if err := env.allReconciled(mark, bindings); err != nil {
			return err
		}
		if !env.calls.idle() {
			return fmt.Errorf("requests are under way")
		}
		return env.gatewayReady()
	})
	var written []call
	for _, c := range env.calls.since(mark) {
		// The gateway's observedGeneration has to be written.
		if c.writes && c.name != kubeLease && c.name != kubePatchGatewayStatus {
			written = append(written, c)
		}
	}
	return written
}

// allReconciled checks that every active replica has resynced, and has read the Secret and the
// plugin of every binding.
func (env *testEnv) allReconciled(mark int, bindings []v1alpha1.PluginBinding) error {
	working, resynced, secrets, plugins := 0, 0, map[string]int{}, map[string]int{}
	for _, c := range env.calls.since(mark) {
		switch {
		case !c.ended || c.status != http.StatusOK:
		case c.name == kongListOwned:
			resynced++
		case c.name == kubeGetSecret && strings.HasSuffix(c.path, "/"+secretName):
			secrets[c.from]++
		case c.name == kongGetPlugin:
			plugins[strings.TrimPrefix(c.path, "/plugins/")]++
		}
	}
	for _, r := range env.replicas {
		if !r.running() || r.standby {
			continue
		}
		working++
		if secrets[r.name] < len(bindings) {
			return fmt.Errorf("replica %s has reconciled %d of %d bindings", r.name, secrets[r.name], len(bindings))
		}
	}
	if working == 0 || resynced < working {
		return fmt.Errorf("%d of %d replicas have resynced", resynced, working)
	}
	for i := range bindings {
		if id := string(bindings[i].Status.PluginID); plugins[id] < working {
			return fmt.Errorf("plugin %s was read %d times by %d replicas", id, plugins[id], working)
		}
	}
	return nil
}

func formatCalls(calls []call) string {
	var b strings.Builder
	for i := range calls {
		fmt.Fprintf(&b, "  %s\n", &calls[i])
	}
	return b.String()
}

// logOnFailure logs the calls of a plan that failed.
func (env *testEnv) logOnFailure() {
	if !env.t.Failed() {
		return
	}
	env.t.Logf("all calls:\n%s", env.calls.format(0))
	for _, c := range env.kong.Journal().Changes() {
		after, _ := json.Marshal(c.After) //nolint:errchkjson // from JSON
		env.t.Logf("Kong: %d %s %s %s by %s (request %d, late %t): %s", c.Seq, c.Kind, c.Entity, c.ID, c.Actor, c.Request, c.Late, after)
	}
	for _, r := range env.replicas {
		for _, p := range r.processes {
			env.t.Logf("%s, %s, ends with\n%s", p.logFile, p.cmd.ProcessState, p.tail())
		}
	}
}
