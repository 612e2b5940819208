package pluginpolicy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/policy"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// refusing is an API server that takes bindings unless it refuses them.
type refusing struct {
	mu      sync.Mutex
	refuses func(name string) bool
	asked   int
	taken   map[string]bool
}

func (a *refusing) apply(_ context.Context, _ client.WithWatch, object runtime.ApplyConfiguration, _ ...client.ApplyOption) error {
	named, ok := object.(interface{ GetName() string })
	if !ok {
		return errors.New("an object without a name")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	if a.refuses(named.GetName()) {
		return apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("pluginbindings").GroupResource(), named.GetName(), errors.New("exceeded quota"))
	}
	a.taken[named.GetName()] = true
	return nil
}

// policyOnRoutes has so many routes, and no binding yet.
func policyOnRoutes(t *testing.T, n int) *state {
	t.Helper()
	p := &v1alpha1.PluginPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "limit", UID: "1", Generation: 1}}
	p.Spec.GatewayRef.Name = "kong"
	p.Spec.TargetRefs = []v1alpha1.PolicyTargetRef{{Group: "networking.k8s.io", Kind: "Ingress", Name: "shop"}}
	p.Spec.Template.Spec.Plugin = "rate-limiting"
	targets := policy.Targets(p)
	targets[0].Known = true
	for i := range n {
		targets[0].Entities = append(targets[0].Entities, connection.Selected{ID: fmt.Sprint(i), Name: fmt.Sprintf("route-%03d", i)})
	}
	return &state{policy: p, key: types.NamespacedName{Namespace: "shop", Name: "limit"}, targets: targets, children: policy.Children(p, targets)}
}

// A binding in the same bucket of the index of places has another place.
func TestOnlyBindingsAtThePlaceAreRivals(t *testing.T) {
	s := policyOnRoutes(t, 1)
	place := s.children[0].Places(s.policy)[0]
	other := &v1alpha1.PluginBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "other", UID: "2"}}
	other.Spec = *s.children[0].Binding(s.policy).Spec.DeepCopy()
	at := func(name string) {
		other.Spec.Scope = &v1alpha1.Scope{Route: &v1alpha1.EntityRef{Name: v1alpha1.Name(name)}}
	}
	at("other")
	for i := 0; reference.PlaceBuckets(other)[0] != reference.PlaceBucket(place); i++ {
		at(fmt.Sprintf("other-%d", i))
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	blocked := func() bool {
		t.Helper()
		r := &Reconciler{Client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(other).
			WithIndex(other, reference.IndexPlace, func(o client.Object) []string { return reference.PlaceBuckets(o.(*v1alpha1.PluginBinding)) }).Build()}
		block, err := r.placeTaken(t.Context(), s, &s.children[0], nil)
		if err != nil {
			t.Fatal(err)
		}
		return block.Message != ""
	}
	if blocked() {
		t.Error("a binding at another place is in the way")
	}
	at(s.children[0].Entity.Name)
	if !blocked() {
		t.Error("a binding at the place is not in the way")
	}
}

// Bindings that the API server refuses, because of a quota for example, keep no other from being made, and
// are not written again and again.
func TestBindingsThatAreRefusedHoldUpNoOther(t *testing.T) {
	template := policyOnRoutes(t, maxWrites+50)
	bad := map[string]bool{}
	for i := range maxWrites {
		bad[template.children[i].Name] = true
	}
	api := &refusing{refuses: func(name string) bool { return bad[name] }, taken: map[string]bool{}}
	r := &Reconciler{
		Client:  interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{Apply: api.apply}),
		Clock:   clocktesting.NewFakePassiveClock(time.Now()),
		Backoff: workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](time.Millisecond, time.Minute),
	}
	// Each round begins with what the cache shows then.
	round := func() *state {
		t.Helper()
		s := policyOnRoutes(t, maxWrites+50)
		for i := range s.children {
			if child := &s.children[i]; api.taken[child.Name] {
				s.existing = append(s.existing, *child.Binding(s.policy))
			}
		}
		if _, err := r.applyPlan(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := round()
	if first.problem.Reason != v1alpha1.ReasonInvalid || first.requeueAfter == 0 {
		t.Errorf("%+v, again after %v", first.problem, first.requeueAfter)
	}
	round()
	if len(api.taken) != 50 {
		t.Errorf("%d of the 50 bindings that the API server takes were made in the second round", len(api.taken))
	}
	var last *state
	for range 20 {
		last = round()
	}
	if last.requeueAfter != time.Minute || last.problem != first.problem {
		t.Errorf("after 20 rounds: again after %v, %+v", last.requeueAfter, last.problem)
	}
	if most := 22 * maxWrites; api.asked > most {
		t.Errorf("%d writes", api.asked)
	}
	bad = nil // the quota was raised
	for range 2 {
		last = round()
	}
	if len(api.taken) != maxWrites+50 || last.problem.Condition != "" || len(r.rejections.of) != 0 {
		t.Errorf("%d bindings, %+v, %d policies remembered", len(api.taken), last.problem, len(r.rejections.of))
	}
}
