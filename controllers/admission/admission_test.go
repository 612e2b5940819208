package admission

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// world is a cluster with a gateway kong/main for a Kong, as the webhooks see it.
type world struct {
	t     *testing.T
	kong  *kongtest.Server
	clock *clocktesting.FakePassiveClock
	// reads are the Secrets and ConfigMaps that were read from the API server.
	reads *reads
	*Webhooks
}

type reads struct {
	client.Reader
	n atomic.Int32
}

func (r *reads) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	r.n.Add(1)
	return r.Reader.Get(ctx, key, o, opts...)
}

// gatewayAt is a gateway that the leader accepted, with bindings from everywhere.
func gatewayAt(namespace, name, url string, edit ...func(*v1alpha1.KongGateway)) *v1alpha1.KongGateway {
	gateway := &v1alpha1.KongGateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: "1", Generation: 1},
		Spec: v1alpha1.KongGatewaySpec{AdminURL: url, AllowedBindings: &v1alpha1.AllowedBindings{
			Namespaces: &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "shop"}}},
		}},
	}
	for _, condition := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionReachable} {
		gateway.Status.Conditions = append(gateway.Status.Conditions, metav1.Condition{Type: condition, Status: metav1.ConditionTrue, ObservedGeneration: 1})
	}
	for _, e := range edit {
		e(gateway)
	}
	return gateway
}

func newWorld(t *testing.T, edit func(*Options), objects ...client.Object) *world {
	t.Helper()
	w := &world{t: t, kong: kongtest.Start(t), clock: clocktesting.NewFakePassiveClock(time.Unix(1000, 0))}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	for _, namespace := range []string{"kong", "shop", "bank"} {
		objects = append(objects, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{"team": namespace}}})
	}
	objects = append(objects, gatewayAt("kong", "main", w.kong.URL()))
	reader := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithIndex(&v1alpha1.PluginBinding{}, reference.IndexPlace, func(o client.Object) []string { return reference.PlaceBuckets(o.(*v1alpha1.PluginBinding)) }).
		WithIndex(&v1alpha1.PluginBinding{}, reference.IndexGateway, func(o client.Object) []string {
			return []string{reference.GatewayOf(o.(*v1alpha1.PluginBinding)).String()}
		}).Build()
	w.reads = &reads{Reader: reader}
	o := Options{Client: reader, APIReader: w.reads, Clock: w.clock, Registry: prometheus.NewRegistry()}
	if edit != nil {
		edit(&o)
	}
	w.Webhooks = New(o)
	return w
}

func jsonOf(text string) *apiextensionsv1.JSON { return &apiextensionsv1.JSON{Raw: []byte(text)} }

// rateLimit is a binding of namespace shop on kong/main.
func rateLimit(name, config string, edit ...func(*v1alpha1.PluginBinding)) *v1alpha1.PluginBinding {
	binding := &v1alpha1.PluginBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec: v1alpha1.PluginBindingSpec{
			GatewayRef: v1alpha1.GatewayRef{Namespace: "kong", Name: "main"}, Plugin: "rate-limiting",
			Scope: &v1alpha1.Scope{Service: &v1alpha1.EntityRef{Name: v1alpha1.Name("orders-" + name)}}, Config: jsonOf(config),
		},
	}
	for _, e := range edit {
		e(binding)
	}
	return binding
}

func (w *world) create(binding *v1alpha1.PluginBinding) (warnings []string, err error) {
	w.t.Helper()
	return w.Bindings.ValidateCreate(w.t.Context(), binding)
}

// admits creates the binding and expects this number of requests to Kong, in all.
func (w *world) admits(binding *v1alpha1.PluginBinding, requests int) []string {
	w.t.Helper()
	warnings, err := w.create(binding)
	if err != nil {
		w.t.Errorf("refused: %v", err)
	}
	w.asked(requests)
	return warnings
}

// refuses creates the binding and expects the error to contain the texts.
func (w *world) refuses(binding *v1alpha1.PluginBinding, texts ...string) {
	w.t.Helper()
	_, err := w.create(binding)
	if !apierrors.IsInvalid(err) {
		w.t.Fatalf("got %v, want a refusal", err)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			w.t.Errorf("%q does not contain %q", err, text)
		}
	}
}

func (w *world) asked(requests int) {
	w.t.Helper()
	if got := len(w.kong.Journal().Requests()); got != requests {
		w.t.Errorf("Kong got %d requests, want %d", got, requests)
	}
	if writes := w.kong.Journal().Writes(); len(writes) > 0 {
		w.t.Errorf("the webhook wrote: %+v", writes)
	}
}

func fromSecret(binding *v1alpha1.PluginBinding) {
	binding.Spec.ConfigPatches = append(binding.Spec.ConfigPatches, v1alpha1.ConfigPatch{
		Path: "/redis/password", ValueFrom: v1alpha1.ConfigSource{SecretKeyRef: v1alpha1.SecretKeyRef{Name: "redis", Key: "password"}},
	})
}

func TestKongsRefusalsNameTheFieldsOfTheObject(t *testing.T) {
	w := newWorld(t, nil)
	w.refuses(rateLimit("a", `{"minute": "five", "polcy": "local"}`),
		"spec.config.minute: Invalid value: expected a number", "spec.config.polcy: Invalid value: unknown field")
	w.refuses(rateLimit("b", `{"minute": 5, "policy": "disk"}`), "spec.config.policy: Invalid value: expected one of: local, cluster, redis")
	w.refuses(rateLimit("c", `{"policy": "local"}`), "spec: Invalid value: at least one of these fields must be non-empty")
	w.refuses(rateLimit("d", `{"minute": 5}`, func(b *v1alpha1.PluginBinding) { b.Spec.Protocols = []v1alpha1.Protocol{"tcp"} }), "spec.protocols")
	w.admits(rateLimit("e", `{"minute": 5}`), 1+1+5) // the probe, the schema, the validations
}

func TestAnAnswerIsAskedForOnce(t *testing.T) {
	w := newWorld(t, nil)
	for range 3 {
		w.admits(rateLimit("a", `{"minute": 5}`), 3)
	}
	for range 3 {
		w.refuses(rateLimit("b", `{"minute": "5"}`), "expected a number")
	}
	w.asked(4)
	w.admits(rateLimit("a", `{"minute": 6}`), 5)
	w.clock.SetTime(w.clock.Now().Add(maxAge))
	w.admits(rateLimit("a", `{"minute": 5}`), 8) // asked anew, with a new probe and schema
}

func TestWhatDoesNotConcernKongAsksNothing(t *testing.T) {
	w := newWorld(t, nil)
	bad := rateLimit("a", `{"minute": "five"}`)
	for name, edit := range map[string]func(*v1alpha1.PluginBinding){
		"labels":     func(b *v1alpha1.PluginBinding) { b.Labels = map[string]string{"a": "b"} },
		"finalizers": func(b *v1alpha1.PluginBinding) { b.Finalizers = []string{"a/b"} },
		"status":     func(b *v1alpha1.PluginBinding) { b.Status.PluginID = "x" },
		"enabled":    func(b *v1alpha1.PluginBinding) { b.Spec.Enabled = ptr.To(false) },
		"the end": func(b *v1alpha1.PluginBinding) {
			b.DeletionTimestamp, b.Spec.Config = ptr.To(metav1.Now()), jsonOf(`{}`)
		},
		"a policy's": func(b *v1alpha1.PluginBinding) {
			b.Spec.Config = jsonOf(`{}`)
			b.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "PluginPolicy", Name: "p", Controller: ptr.To(true)}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			after := bad.DeepCopy()
			edit(after)
			if _, err := w.Bindings.ValidateUpdate(t.Context(), bad, after); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := w.Bindings.ValidateDelete(t.Context(), bad); err != nil {
		t.Error(err)
	}
	w.asked(0)
	after := bad.DeepCopy()
	after.Spec.Config = jsonOf(`{"hour": "one"}`)
	if _, err := w.Bindings.ValidateUpdate(t.Context(), bad, after); !apierrors.IsInvalid(err) {
		t.Errorf("an update with a new config: %v", err)
	}
}

func TestWhatCannotBeKnownIsAdmitted(t *testing.T) {
	for name, edit := range map[string]func(*v1alpha1.KongGateway){
		"not accepted":      func(g *v1alpha1.KongGateway) { g.Status.Conditions[0].Status = metav1.ConditionFalse },
		"not reachable":     func(g *v1alpha1.KongGateway) { g.Status.Conditions[1].Status = metav1.ConditionUnknown },
		"changed":           func(g *v1alpha1.KongGateway) { g.Generation = 2 },
		"without a verdict": func(g *v1alpha1.KongGateway) { g.Status.Conditions = nil },
		"without its token": func(g *v1alpha1.KongGateway) {
			g.Spec.Auth = &v1alpha1.GatewayAuth{TokenSecretRef: v1alpha1.SecretKeyRef{Name: "none", Key: "token"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.kong.Journal()
			other := newWorld(t, nil, gatewayAt("kong", "other", w.kong.URL(), edit))
			_, err := other.create(rateLimit("a", `{"minute": "five"}`, func(b *v1alpha1.PluginBinding) { b.Spec.GatewayRef.Name = "other" }))
			if err != nil {
				t.Error(err)
			}
			w.asked(0)
		})
	}
	w := newWorld(t, nil)
	w.admits(rateLimit("a", `{"minute": "five"}`, func(b *v1alpha1.PluginBinding) { b.Spec.GatewayRef.Name = "none" }), 0)
	w.admits(rateLimit("a", `{}`, func(b *v1alpha1.PluginBinding) { b.Spec.Plugin = "none" }), 2)
}

func TestOtherOperatorsObjectsAreAdmitted(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Namespaces = sets.New("kong") })
	w.admits(rateLimit("a", `{"minute": "five"}`), 0)
	w = newWorld(t, func(o *Options) { o.Namespaces = sets.New("shop") })
	w.admits(rateLimit("a", `{"minute": "five"}`), 0)
	w = newWorld(t, func(o *Options) {
		o.Selector, _ = metav1.LabelSelectorAsSelector(&metav1.LabelSelector{MatchLabels: map[string]string{"shard": "1"}})
	})
	w.admits(rateLimit("a", `{"minute": "five"}`), 0)
	w.admits(rateLimit("a", `{"minute": 5}`, func(b *v1alpha1.PluginBinding) { b.Labels = map[string]string{"shard": "1"} }), 3)
}

func TestATenantThatMayNotUseAGatewayAsksItNothing(t *testing.T) {
	w := newWorld(t, nil)
	warnings := w.admits(rateLimit("a", `{"minute": "five"}`, func(b *v1alpha1.PluginBinding) { b.Namespace = "bank" }), 0)
	if len(warnings) != 1 || !strings.Contains(warnings[0], "does not allow bindings from namespace bank") {
		t.Errorf("%q", warnings)
	}
	w.admits(rateLimit("a", `{"minute": "five"}`, func(b *v1alpha1.PluginBinding) { b.Spec.Scope = nil }), 0) // a global plugin
}

func TestTheAllowedHostsHoldForTheWebhook(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.AllowedHosts = []string{"kong.example.com"} })
	w.admits(rateLimit("a", `{"minute": "five"}`), 0)
}

func TestNoSecretIsReadForAnObject(t *testing.T) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "redis"}, Data: map[string][]byte{"password": []byte("hunter2")}}
	w := newWorld(t, nil, secret)
	w.refuses(rateLimit("a", `{"minute": "five"}`, fromSecret), "spec.config.minute: Invalid value: expected a number")
	w.admits(rateLimit("b", `{"policy": "redis"}`, fromSecret), 4) // incomplete, which another value may end
	w.admits(rateLimit("c", ``, func(b *v1alpha1.PluginBinding) {
		b.Spec.Config = nil
		b.Spec.ConfigFrom = &v1alpha1.ConfigSource{SecretKeyRef: v1alpha1.SecretKeyRef{Name: "redis", Key: "password"}}
	}), 4)
	if n := w.reads.n.Load(); n != 0 {
		t.Errorf("%d reads", n)
	}
}

func TestKongIsNeverAskedAboutCode(t *testing.T) {
	w := newWorld(t, nil)
	for name, config := range map[string]string{"pre-function": `{"access": ["while true do end"], "x": 1}`, "file-log": `{"custom_fields_by_lua": {"a": "return 1"}, "x": 1}`} {
		w.admits(rateLimit("a", config, func(b *v1alpha1.PluginBinding) {
			b.Namespace, b.Spec.Plugin = "kong", v1alpha1.PluginName(name)
		}), 0)
	}
}

func TestAKongThatIsDownCostsOneQuestion(t *testing.T) {
	w := newWorld(t, nil)
	w.kong.Inject(kongtest.Fault{Kind: kongtest.Answer, Status: http.StatusBadGateway, NotKong: true})
	for range 3 {
		if warnings := w.admits(rateLimit("a", `{"minute": "five"}`), 1); len(warnings) != 1 || !strings.Contains(warnings[0], "did not answer in time") {
			t.Errorf("%q", warnings)
		}
	}
	w.clock.SetTime(w.clock.Now().Add(pause))
	w.admits(rateLimit("a", `{"minute": "five"}`), 2)
}

func TestASlowKongCostsNeitherTimeNorPlacesOfOthers(t *testing.T) {
	slow := kongtest.Start(t)
	slow.Inject(kongtest.Fault{Template: "/schemas/plugins/validate", Kind: kongtest.Delay, Delay: time.Minute})
	w := newWorld(t, nil, gatewayAt("bank", "slow", slow.URL()))
	var hostile sync.WaitGroup
	for i := range 100 {
		hostile.Go(func() {
			_, err := w.create(rateLimit(fmt.Sprint("h", i), fmt.Sprintf(`{"minute": %d}`, i+1), func(b *v1alpha1.PluginBinding) {
				b.Namespace, b.Spec.GatewayRef = "bank", v1alpha1.GatewayRef{Name: "slow"}
			}))
			if err != nil {
				t.Error(err)
			}
		})
	}
	waitFor(t, func() bool { return len(slow.Journal().Requests()) > 0 })
	for i := range 20 {
		begun := time.Now()
		w.refuses(rateLimit(fmt.Sprint(i), fmt.Sprintf(`{"minute": "%d"}`, i)), "expected a number")
		if took := time.Since(begun); took > checkTimeout/2 {
			t.Errorf("took %s", took)
		}
	}
	hostile.Wait()
	if n := slow.Journal().Count(http.MethodPost, "/schemas/plugins/validate"); n > maxAskedPerGateway {
		t.Errorf("the slow Kong got %d requests", n)
	}
}

// waitFor waits until the condition holds.
func waitFor(t *testing.T, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); {
		if time.Now().After(end) {
			t.Fatal("in vain")
		}
		<-time.After(time.Millisecond)
	}
}

func TestConnectionsAndVerdictsAreBounded(t *testing.T) {
	w := newWorld(t, nil)
	g := w.Bindings.(bindingValidator).gateways
	for i := range 3 * maxGateways {
		w.clock.SetTime(w.clock.Now().Add(time.Millisecond))
		g.entry(gatewayAt("kong", fmt.Sprint(i), w.kong.URL()))
	}
	if len(g.entries) != maxGateways {
		t.Errorf("%d connections", len(g.entries))
	}
	last := gatewayAt("kong", fmt.Sprint(3*maxGateways-1), w.kong.URL())
	e := g.entry(last)
	for i := range 3 * maxVerdicts {
		e.remember([32]byte{byte(i), byte(i >> 8)}, verdict{})
	}
	if len(e.verdicts) > maxVerdicts {
		t.Errorf("%d verdicts", len(e.verdicts))
	}
	last.Generation++
	if g.entry(last) == e {
		t.Error("a changed gateway keeps its connection")
	}
}

func TestConflictsAreAnnounced(t *testing.T) {
	first := rateLimit("first", `{"minute": 5}`)
	w := newWorld(t, nil, first)
	same := func(b *v1alpha1.PluginBinding) { b.Spec.Scope = first.Spec.Scope }
	if warnings := w.admits(rateLimit("second", `{"minute": 5}`, same), 3); len(warnings) != 1 || !strings.Contains(warnings[0], "PluginBinding first declares the plugin rate-limiting on the same scope") {
		t.Errorf("%q", warnings)
	}
	if warnings := w.admits(rateLimit("third", `{"minute": 5}`, same, func(b *v1alpha1.PluginBinding) { b.Namespace = "kong" }), 4); len(warnings) != 1 || strings.Contains(warnings[0], "first") {
		t.Errorf("%q", warnings)
	}
	replaces := func(b *v1alpha1.PluginBinding) { b.Spec.Replaces = &v1alpha1.BindingRef{Name: "first"} }
	if warnings := w.admits(rateLimit("fourth", `{"minute": 5}`, same, replaces), 4); len(warnings) > 0 {
		t.Errorf("%q", warnings)
	}
	if warnings := w.admits(first, 4); len(warnings) > 0 {
		t.Errorf("%q", warnings)
	}
	beside := rateLimit("fifth", `{"minute": 5}`)
	for i := 0; !slices.Equal(reference.PlaceBuckets(beside), reference.PlaceBuckets(first)); i++ { // the same bucket of the index
		beside.Spec.Scope.Service.Name = v1alpha1.Name(fmt.Sprintf("orders-%d", i))
	}
	if warnings := w.admits(beside, 4); len(warnings) > 0 {
		t.Errorf("%q", warnings)
	}
}

func TestDeprecatedFieldsAreAnnounced(t *testing.T) {
	w := newWorld(t, nil)
	warnings := w.admits(rateLimit("a", `{"minute": 5, "redis_host": "redis"}`), 3)
	if len(warnings) != 1 || !strings.Contains(warnings[0], "Kong deprecates config.redis_host, replaced by config.redis.host") {
		t.Errorf("%q", warnings)
	}
}

func TestPoliciesAreCheckedByTheirTemplate(t *testing.T) {
	w := newWorld(t, nil)
	p := &v1alpha1.PluginPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "limit"},
		Spec: v1alpha1.PluginPolicySpec{
			GatewayRef: v1alpha1.GatewayRef{Namespace: "kong", Name: "main"},
			TargetRefs: []v1alpha1.PolicyTargetRef{{Kind: "Service", Name: "orders"}},
		},
	}
	p.Spec.Template.Spec.Plugin, p.Spec.Template.Spec.Config = "rate-limiting", jsonOf(`{"minute": "five"}`)
	_, err := w.Policies.ValidateCreate(t.Context(), p)
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "spec.template.spec.config.minute: Invalid value: expected a number") {
		t.Error(err)
	}
	after := p.DeepCopy()
	after.Spec.TargetRefs[0].Name = "other"
	if _, err := w.Policies.ValidateUpdate(t.Context(), p, after); err != nil {
		t.Error(err)
	}
	after.Spec.Template.Spec.Config = jsonOf(`{"minute": 5}`)
	if warnings, err := w.Policies.ValidateUpdate(t.Context(), p, after); err != nil || len(warnings) > 0 {
		t.Error(warnings, err)
	}
	if _, err := w.Policies.ValidateDelete(t.Context(), p); err != nil {
		t.Error(err)
	}
	p.Namespace = "bank"
	if warnings, err := w.Policies.ValidateCreate(t.Context(), p); err != nil || len(warnings) != 1 {
		t.Error(warnings, err)
	}
	w.asked(4)
}
