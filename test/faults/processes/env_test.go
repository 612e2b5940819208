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

// timeout is how long a request to Kong may take. A manager that has just started, or that
// does not know what became of a write, waits for that and five seconds more before it
// makes or removes a plugin.
const timeout = "1s"

// The names of what every stage has.
const (
	theGateway = "kong"
	theBinding = "limits"
	theSecret  = "redis"
)

var counter atomic.Int64

// stage is what one plan is played on: a namespace, a Kong, a link to it, and replicas of
// the manager that see nothing else.
type stage struct {
	t         *testing.T
	dir       string
	namespace string
	cluster   string // the cluster id
	tape      *tape
	kong      *kongtest.Server
	toKong    *link
	main      *replica
	replicas  []*replica
	secrets   []string // values that must not appear anywhere
	others    string   // everybody else's rows, at the start
	nudges    int
	started   int // mark of the last start of a process
}

// newStage makes a stage with a KongGateway and one replica that does not ask who leads.
// Nothing runs yet.
func newStage(t *testing.T, requestTimeout string) *stage {
	t.Helper()
	s := newStageWithout(t, requestTimeout)
	s.main = s.newReplica("a", "--leader-elect=false")
	return s
}

// newStageWithout is newStage without a replica.
func newStageWithout(t *testing.T, requestTimeout string) *stage {
	t.Helper()
	n := counter.Add(1)
	s := &stage{
		t: t, dir: t.TempDir(), tape: &tape{},
		namespace: fmt.Sprintf("plan-%d", n), cluster: fmt.Sprintf("cluster-%d", n),
		secrets: []string{fmt.Sprintf("planted-token-%d", n), fmt.Sprintf("planted-password-%d", n)},
	}
	t.Cleanup(s.explain)
	// The same seed everywhere, so that two runs differ in nothing but what happened.
	s.kong = kongtest.Start(t, kongtest.WithSeed(1), kongtest.WithToken("Kong-Admin-Token", s.secrets[0]))
	s.seed()
	target, err := url.Parse(s.kong.URL())
	must(t, err)
	s.toKong = openLink(t, s.tape, target, nil, nil, func(r *http.Request, _ []byte) call { return kongCall(r.Method, r.URL) })
	s.create(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}},
		s.secret("token", s.secrets[0]),
		s.secret(theSecret, s.secrets[1]),
		&v1alpha1.KongGateway{
			ObjectMeta: s.meta(theGateway),
			Spec: v1alpha1.KongGatewaySpec{
				AdminURL: "http://" + s.toKong.address,
				Auth:     &v1alpha1.GatewayAuth{TokenSecretRef: v1alpha1.SecretKeyRef{Name: "token", Key: "value"}},
				Limits:   &v1alpha1.GatewayLimits{RequestTimeout: v1alpha1.Duration(requestTimeout)},
			},
		},
	)
	return s
}

// seed makes what others have in this Kong.
func (s *stage) seed() {
	s.kong.Seed("services", map[string]any{"name": "orders", "url": "http://127.0.0.1:9"})
	s.kong.Seed("routes", map[string]any{"name": "orders-v1", "paths": []any{"/orders"}, "service": map[string]any{"name": "orders"}})
	s.kong.Seed("consumers", map[string]any{"username": "alice"})
	s.kong.Seed("plugins", map[string]any{"name": "cors", "service": map[string]any{"name": "orders"}, "tags": []any{"managed-by-ingress-controller"}})
	s.kong.Seed("plugins", map[string]any{"name": "rate-limiting", "config": map[string]any{"minute": 9.0}})
	s.kong.Seed("plugins", map[string]any{
		"name": "rate-limiting", "config": map[string]any{"minute": 8.0}, "consumer": map[string]any{"username": "alice"},
		"instance_name": "elsewhere." + s.namespace + "." + theBinding,
		"tags":          toAny(identity.Binding{Cluster: "elsewhere", Namespace: s.namespace, Name: theBinding, UID: "1"}.OwnershipTags()),
	})
	s.others = s.foreign()
}

func toAny(list []string) []any {
	out := make([]any, len(list))
	for i := range list {
		out[i] = list[i]
	}
	return out
}

func (s *stage) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: s.namespace, Name: name}
}

func (s *stage) secret(name, value string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: s.meta(name), StringData: map[string]string{"value": value}}
}

// binding of rate-limiting on the service orders, with a password from a Secret.
func (s *stage) binding(name string) *v1alpha1.PluginBinding { return s.bindingOn(name, "orders") }

func (s *stage) bindingOn(name, service string) *v1alpha1.PluginBinding {
	return &v1alpha1.PluginBinding{
		ObjectMeta: s.meta(name),
		Spec: v1alpha1.PluginBindingSpec{
			GatewayRef: v1alpha1.GatewayRef{Name: theGateway},
			Plugin:     "rate-limiting",
			Scope:      &v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: v1alpha1.Name(service)}},
			Config:     &apiextensionsv1.JSON{Raw: []byte(`{"minute": 5, "policy": "local"}`)},
			ConfigPatches: []v1alpha1.ConfigPatch{{
				Path:      "/redis/password",
				ValueFrom: v1alpha1.ConfigSource{SecretKeyRef: v1alpha1.SecretKeyRef{Name: theSecret, Key: "value"}},
			}},
		},
	}
}

func (s *stage) create(objects ...client.Object) {
	s.t.Helper()
	for _, object := range objects {
		must(s.t, suite.client.Create(context.Background(), object))
	}
}

// get reads an object of the stage; false if it does not exist.
func (s *stage) get(object client.Object, name string) bool {
	s.t.Helper()
	err := suite.client.Get(context.Background(), client.ObjectKey{Namespace: s.namespace, Name: name}, object)
	if !apierrors.IsNotFound(err) {
		must(s.t, err)
	}
	return err == nil
}

// current is the binding as it is.
func (s *stage) current() *v1alpha1.PluginBinding {
	s.t.Helper()
	binding := &v1alpha1.PluginBinding{}
	if !s.get(binding, theBinding) {
		s.t.Fatal("the binding does not exist")
	}
	return binding
}

func (s *stage) bindings() []v1alpha1.PluginBinding {
	s.t.Helper()
	list := &v1alpha1.PluginBindingList{}
	must(s.t, suite.client.List(context.Background(), list, client.InNamespace(s.namespace)))
	return list.Items
}

// change edits an object, as its author would.
func change[T client.Object](s *stage, object T, name string, edit func(T)) {
	s.t.Helper()
	if !s.get(object, name) {
		s.t.Fatalf("%s does not exist", name)
	}
	base := object.DeepCopyObject().(client.Object)
	edit(object)
	must(s.t, suite.client.Patch(context.Background(), object, client.MergeFrom(base)))
}

// edit changes the config of a binding.
func (s *stage) edit(name, config string) {
	s.t.Helper()
	change(s, &v1alpha1.PluginBinding{}, name, func(b *v1alpha1.PluginBinding) { b.Spec.Config.Raw = []byte(config) })
}

// look asks for a look at a binding.
func (s *stage) look(name string) {
	s.t.Helper()
	change(s, &v1alpha1.PluginBinding{}, name, func(b *v1alpha1.PluginBinding) {
		metav1.SetMetaDataAnnotation(&b.ObjectMeta, v1alpha1.ReconcileRequestedAtAnnotation, fmt.Sprint(counter.Add(1)))
	})
}

// sweep makes the gateway be read now: any change of its spec does.
func (s *stage) sweep() {
	s.t.Helper()
	s.nudges++
	change(s, &v1alpha1.KongGateway{}, theGateway, func(g *v1alpha1.KongGateway) {
		g.Spec.ResyncInterval = []v1alpha1.Duration{"1m", "60s"}[s.nudges%2]
	})
}

// until waits for something that will come.
func (s *stage) until(what string, reached func() error) {
	s.t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(context.Background(), interval, patience, true, func(context.Context) (bool, error) {
		if last = s.unasked(); last != nil {
			return false, last
		}
		last = reached()
		return last == nil, nil
	})
	if err != nil {
		s.t.Fatalf("%s: %v", what, last)
	}
}

// unasked says so when a process ended by itself.
func (s *stage) unasked() error {
	for _, r := range s.replicas {
		if p := r.now(); p != nil && p.ended() && !p.asked.Load() {
			return fmt.Errorf("replica %s ended by itself: %s", r.name, p.cmd.ProcessState)
		}
	}
	return nil
}

// met waits until a fault has taken effect.
func (s *stage) met(r *rule) {
	s.t.Helper()
	s.until("the call that was waited for", func() error {
		select {
		case <-r.met:
			return nil
		default:
			return fmt.Errorf("was not made")
		}
	})
}

// gatewayReady: the gateway can be used, and its counts are right.
func (s *stage) gatewayReady() error {
	gw := &v1alpha1.KongGateway{}
	s.get(gw, theGateway)
	if !meta.IsStatusConditionTrue(gw.Status.Conditions, v1alpha1.ConditionReady) || gw.Status.ObservedGeneration != gw.Generation {
		return fmt.Errorf("the gateway is not ready: %+v", gw.Status)
	}
	bindings := s.bindings()
	n := int32(len(bindings))
	if c := gw.Status.Bindings; c == nil || c.Total != n || c.Ready != n {
		return fmt.Errorf("the gateway counts %+v and there are %d bindings", c, n)
	}
	return nil
}

// bindingsReady: every binding is in force as it is declared, the gateway says so too.
func (s *stage) bindingsReady() error {
	for _, b := range s.bindings() {
		ready := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || ready.Status != metav1.ConditionTrue || ready.ObservedGeneration != b.Generation {
			return fmt.Errorf("%s is not ready: %+v", b.Name, ready)
		}
		if s.kong.Plugin(string(b.Status.PluginID)) == nil {
			return fmt.Errorf("%s is ready and Kong has no plugin %s", b.Name, b.Status.PluginID)
		}
	}
	return s.gatewayReady()
}

// startedUp: the last process that was started has read Kong and has passed over the
// binding.
func (s *stage) startedUp() error {
	done := func(name, what, suffix string) bool {
		return s.tape.seen(s.started, func(c *call) bool {
			return c.ended && c.status == http.StatusOK && c.name == name && c.what == what && strings.HasSuffix(c.path, suffix)
		})
	}
	switch {
	case !done(nameKongList, "list plugins by 2 tags", ""):
		return fmt.Errorf("Kong was not read yet")
	case len(s.bindings()) > 0 && !done(nameSecret, "get secrets", "/"+theSecret):
		return fmt.Errorf("no binding was looked at yet")
	case !s.tape.idle():
		return fmt.Errorf("requests are under way")
	}
	return nil
}

// quiet waits until the managers have nothing left to do: two times in a row every
// binding is looked at and Kong is read, and nobody writes anything.
func (s *stage) quiet() {
	s.t.Helper()
	const wanted, most = 2, 30
	clean := 0
	var written []call
	for round := 0; clean < wanted; round++ {
		if round == most {
			s.t.Fatalf("not quiet after %d rounds; written in the last one:\n%s", most, listed(written))
		}
		if written = s.round(); len(written) == 0 {
			clean++
		} else {
			clean = 0
		}
	}
}

// round has everything looked at once and returns what was written meanwhile.
func (s *stage) round() []call {
	s.t.Helper()
	mark := s.tape.mark()
	bindings := s.bindings()
	for i := range bindings {
		s.look(bindings[i].Name)
	}
	s.sweep()
	s.until("a look at everything", func() error {
		if err := s.lookedAt(mark, bindings); err != nil {
			return err
		}
		if !s.tape.idle() {
			return fmt.Errorf("requests are under way")
		}
		return s.gatewayReady()
	})
	var written []call
	for _, c := range s.tape.since(mark) {
		// That the gateway's new generation was seen is written, and has to be.
		if c.writes && c.name != nameLease && c.what != "patch konggateways.status" {
			written = append(written, c)
		}
	}
	return written
}

// lookedAt reports whether every replica at work has read Kong, and the Secret and the
// plugin of every binding.
func (s *stage) lookedAt(mark int, bindings []v1alpha1.PluginBinding) error {
	working, swept, secrets, plugins := 0, 0, map[string]int{}, map[string]int{}
	for _, c := range s.tape.since(mark) {
		switch {
		case !c.ended || c.status != http.StatusOK:
		case c.name == nameKongList && c.what == "list plugins by 2 tags":
			swept++
		case c.name == nameSecret && strings.HasSuffix(c.path, "/"+theSecret):
			secrets[c.from]++
		case c.name == nameByID:
			plugins[strings.TrimPrefix(c.path, "/plugins/")]++
		}
	}
	for _, r := range s.replicas {
		if !r.running() || r.resting {
			continue
		}
		working++
		if secrets[r.name] < len(bindings) {
			return fmt.Errorf("replica %s has looked at %d of %d bindings", r.name, secrets[r.name], len(bindings))
		}
	}
	if working == 0 || swept < working {
		return fmt.Errorf("%d of %d replicas have read Kong", swept, working)
	}
	for i := range bindings {
		if id := string(bindings[i].Status.PluginID); plugins[id] < working {
			return fmt.Errorf("plugin %s was looked at %d times by %d replicas", id, plugins[id], working)
		}
	}
	return nil
}

func listed(calls []call) string {
	var b strings.Builder
	for i := range calls {
		fmt.Fprintf(&b, "  %s\n", &calls[i])
	}
	return b.String()
}

// explain prints the trace of a plan that failed.
func (s *stage) explain() {
	if !s.t.Failed() {
		return
	}
	s.t.Logf("all calls:\n%s", s.tape.print(0))
	for _, c := range s.kong.Journal().Changes() {
		after, _ := json.Marshal(c.After) //nolint:errchkjson // from JSON
		s.t.Logf("Kong: %d %s %s %s by %s (request %d, late %t): %s", c.Seq, c.Kind, c.Entity, c.ID, c.Actor, c.Request, c.Late, after)
	}
	for _, r := range s.replicas {
		for _, p := range r.runs {
			s.t.Logf("%s, %s, ends with\n%s", p.log, p.cmd.ProcessState, p.tail())
		}
	}
}
