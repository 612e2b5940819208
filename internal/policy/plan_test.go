package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
)

var now = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func limits() *v1alpha1.PluginPolicy {
	return &v1alpha1.PluginPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "limit", UID: "1"},
		Spec: v1alpha1.PluginPolicySpec{
			GatewayRef: v1alpha1.GatewayRef{Name: "kong"}, Retention: "1h",
			TargetRefs: []v1alpha1.PolicyTargetRef{{Group: groupIngress, Kind: "Ingress", Name: "shop"}},
			Template: v1alpha1.PluginBindingTemplate{Spec: v1alpha1.PluginTemplateSpec{
				Plugin: "rate-limiting", Config: &apiextensionsv1.JSON{Raw: []byte(`{"minute": 5, "policy": "local"}`)},
			}},
		},
	}
}

// with are the targets of a policy, whose first one has some routes.
func with(p *v1alpha1.PluginPolicy, routes ...string) []Target {
	targets := Targets(p)
	for i := range targets {
		targets[i].Known = true
	}
	for _, name := range routes {
		targets[0].Entities = append(targets[0].Entities, connection.Selected{ID: "id-" + name, Name: name, ServiceID: "11111111-1111-4111-8111-111111111111"})
	}
	return targets
}

// bindingOf is the binding of a route as the API server has it.
func bindingOf(p *v1alpha1.PluginPolicy, route string) v1alpha1.PluginBinding {
	binding := *Children(p, with(p, route))[0].Binding(p)
	binding.UID, binding.Labels["else"], binding.Annotations["else"] = "2", "x", "y"
	binding.Spec.Config = &apiextensionsv1.JSON{Raw: []byte(`{"policy":"local","minute":5}`)} // another order
	return binding
}

func edited(binding v1alpha1.PluginBinding, edit func(*v1alpha1.PluginBinding)) v1alpha1.PluginBinding {
	edit(&binding)
	return binding
}

func goneFor(d time.Duration) func(*v1alpha1.PluginBinding) {
	return func(b *v1alpha1.PluginBinding) {
		b.Annotations[v1alpha1.EntityGoneSinceAnnotation] = now.Add(-d).Format(time.RFC3339)
	}
}

// TestDecide has a case for each rule of Decide.
func TestDecide(t *testing.T) {
	p := limits()
	a, other := bindingOf(p, "a"), limits()
	other.Spec.TargetRefs[0].Name = "other"
	unknown, missing, many := with(p), with(p, "a"), with(p)
	unknown[0].Known, missing[0].Presence, many[0].TooMany = false, Missing, true
	deleting := edited(*a.DeepCopy(), func(b *v1alpha1.PluginBinding) { b.DeletionTimestamp = &metav1.Time{Time: now} })
	for _, tc := range []struct {
		name     string
		policy   *v1alpha1.PluginPolicy
		targets  []Target
		existing []v1alpha1.PluginBinding
		block    *Block
		vanished Existence
		// want is what happens to the binding of route a.
		want     string
		retained int
		again    time.Duration
	}{
		{name: "does not exist", targets: with(p, "a"), want: "apply"},
		{name: "does not exist, and its target does not", targets: missing},
		{name: "does not exist, and is blocked", targets: with(p, "a"), block: &Block{Reason: "Conflicted", Yields: true}},
		{name: "is as declared", targets: with(p, "a"), existing: []v1alpha1.PluginBinding{a}},
		{name: "is as declared, and its target is missing", targets: missing, existing: []v1alpha1.PluginBinding{a}},
		{name: "is edited", targets: with(p, "a"), want: "apply",
			existing: []v1alpha1.PluginBinding{edited(*a.DeepCopy(), func(b *v1alpha1.PluginBinding) { b.Spec.Tags = []v1alpha1.Tag{"x"} })}},
		{name: "lost its label", targets: with(p, "a"), want: "apply",
			existing: []v1alpha1.PluginBinding{edited(*a.DeepCopy(), func(b *v1alpha1.PluginBinding) { b.Labels = nil })}},
		{name: "an older object has the place", targets: with(p, "a"), existing: []v1alpha1.PluginBinding{a}, block: &Block{Reason: "Conflicted", Yields: true}, want: "delete"},
		{name: "an older object takes its plugin over", targets: with(p, "a"), existing: []v1alpha1.PluginBinding{a}, block: &Block{Reason: "Conflicted", Passes: true}},
		{name: "the same, and it is edited", targets: with(p, "a"), block: &Block{Reason: "Conflicted", Passes: true}, want: "apply",
			existing: []v1alpha1.PluginBinding{edited(*a.DeepCopy(), func(b *v1alpha1.PluginBinding) { b.Spec.Tags = []v1alpha1.Tag{"x"} })}},
		{name: "an earlier policy left it", targets: with(p, "a"), want: "apply",
			existing: []v1alpha1.PluginBinding{edited(*a.DeepCopy(), func(b *v1alpha1.PluginBinding) { b.OwnerReferences = nil })}},
		{name: "the gateway refuses the entity", targets: with(p, "a"), existing: []v1alpha1.PluginBinding{a}, block: &Block{Reason: "NotAllowedByGateway"}},
		{name: "is being deleted", targets: with(p, "a"), existing: []v1alpha1.PluginBinding{deleting}},
		{name: "its target is no longer named", policy: other, targets: with(other), existing: []v1alpha1.PluginBinding{a}, want: "delete"},
		{name: "nothing is known of its target", targets: unknown, existing: []v1alpha1.PluginBinding{a}, vanished: Gone},
		{name: "its target has too many entities", targets: many, existing: []v1alpha1.PluginBinding{a}, vanished: Gone},
		{name: "its entity belongs elsewhere", targets: with(p), existing: []v1alpha1.PluginBinding{a}, vanished: Elsewhere, want: "delete"},
		{name: "Kong said nothing of its entity", targets: with(p), existing: []v1alpha1.PluginBinding{a}},
		{name: "its entity has just gone", targets: with(p), existing: []v1alpha1.PluginBinding{a}, vanished: Gone, want: "apply", retained: 1, again: time.Hour},
		{name: "its entity is gone", targets: with(p), existing: []v1alpha1.PluginBinding{edited(*a.DeepCopy(), goneFor(20*time.Minute))}, vanished: Gone, retained: 1, again: 40 * time.Minute},
		{name: "its retention is over", targets: with(p), existing: []v1alpha1.PluginBinding{edited(*a.DeepCopy(), goneFor(time.Hour))}, vanished: Gone, want: "delete"},
		{name: "its entity is back", targets: with(p, "a"), existing: []v1alpha1.PluginBinding{edited(*a.DeepCopy(), goneFor(2*time.Hour))}, want: "apply"},
		{name: "its retention is no time", targets: with(p), vanished: Gone, want: "delete", existing: []v1alpha1.PluginBinding{edited(*a.DeepCopy(), func(b *v1alpha1.PluginBinding) {
			b.Annotations[v1alpha1.EntityGoneSinceAnnotation] = "yesterday"
		})}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			of := p
			if tc.policy != nil {
				of = tc.policy
			}
			in := Input{
				Policy: of, Targets: tc.targets, Children: Children(of, tc.targets), Existing: tc.existing,
				Blocked: map[string]Block{}, Vanished: map[string]Existence{a.Name: tc.vanished}, Now: now,
			}
			if tc.block != nil {
				in.Blocked[a.Name] = *tc.block
			}
			plan := Decide(in)
			var got []string
			for range plan.Apply {
				got = append(got, "apply")
			}
			for range plan.Delete {
				got = append(got, "delete")
			}
			if strings.Join(got, " ") != tc.want || plan.Retained != tc.retained || plan.RequeueAfter != tc.again {
				t.Errorf("got %v, %d retained, again in %v", got, plan.Retained, plan.RequeueAfter)
			}
			// What a plan applies is as the next plan declares it.
			for _, applied := range plan.Apply {
				in.Existing = []v1alpha1.PluginBinding{*applied}
				if next := Decide(in); len(next.Apply)+len(next.Delete) > 0 {
					t.Errorf("the plan does not settle: %+v", next)
				}
			}
		})
	}
}

func TestVanished(t *testing.T) {
	p := limits()
	a, b := bindingOf(p, "a"), bindingOf(p, "b")
	targets := with(p, "a")
	if got := Vanished(targets, Children(p, targets), []v1alpha1.PluginBinding{a, b}); len(got) != 1 || got[0].Name != b.Name {
		t.Errorf("%v vanished", got)
	}
	targets[0].Known = false
	if got := Vanished(targets, nil, []v1alpha1.PluginBinding{a, b}); len(got) != 0 {
		t.Errorf("%d vanished while nothing is known", len(got))
	}
}

// A route that came back between two requests does not belong elsewhere.
func TestExistenceOf(t *testing.T) {
	p := limits()
	a, targets := bindingOf(p, "a"), with(p)
	tags := targets[0].Selector.Tags.Tags()
	if got := ExistenceOf(targets, &a, append([]string{"else"}, tags...)); got != Unknown {
		t.Errorf("a route that came back: %v", got)
	}
	if got := ExistenceOf(targets, &a, tags[1:]); got != Elsewhere {
		t.Errorf("a route of another object: %v", got)
	}
	a.Annotations = nil
	if got := ExistenceOf(targets, &a, tags); got != Elsewhere {
		t.Errorf("a binding of no target: %v", got)
	}
}

func TestChildren(t *testing.T) {
	p := limits()
	p.Spec.TargetRefs = append(p.Spec.TargetRefs, v1alpha1.PolicyTargetRef{Group: groupKong, Kind: "KongConsumer", Name: "carol"}, p.Spec.TargetRefs[0])
	targets := with(p, "shop.ing.svc..80", "has space", "11111111-1111-4111-8111-111111111111", "no-service")
	targets[0].Entities[3].ServiceID = ""
	targets[2].Entities = targets[0].Entities
	targets[1].Entities = []connection.Selected{{ID: "c1", Name: "carol@example.com"}, {ID: "c2", Name: "two words", CustomID: "crm/7"}, {ID: "c3"}}
	var got []string
	names := map[string]bool{}
	for _, child := range Children(p, targets) {
		binding := child.Binding(p)
		got = append(got, fmt.Sprint(child.Label(), " ", binding.Spec.Scope.Service != nil, " ", binding.Spec.Scope.Consumer != nil))
		names[binding.Name] = true
	}
	want := "shop.ing.svc..80 true false; id-has space true false; id-11111111-1111-4111-8111-111111111111 true false; no-service false false; " +
		"carol@example.com false true; crm/7 false true; c3 false true"
	if text := strings.Join(got, "; "); text != want || len(names) != len(got) {
		t.Errorf("%d names of\n%s\nwant\n%s", len(names), text, want)
	}
}

func TestNamesAreBoundedAndStable(t *testing.T) {
	ref := adminapi.EntityRef{Name: "shop.ing.svc..80"}
	if got, want := childName("limit", adminapi.Route, ref), "limit-"+hash("route\n\nshop.ing.svc..80\n\n"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	long := strings.Repeat("a", 252)
	for _, policy := range []string{long + "b", long + "c", strings.Repeat("a.", 126) + "b"} {
		name := childName(policy, adminapi.Route, ref)
		if len(name) > maxName || strings.Contains(name, ".-") {
			t.Errorf("%d characters: %s", len(name), name)
		}
		if label := LabelOf(policy); len(label) > maxLabel || strings.Contains(label, ".-") {
			t.Errorf("label %s", label)
		}
	}
	if childName(long+"b", adminapi.Route, ref) == childName(long+"c", adminapi.Route, ref) || LabelOf(long+"b") == LabelOf(long+"c") {
		t.Error("two policies have one name")
	}
	if childName("limit", adminapi.Route, ref) == childName("limit", adminapi.Service, ref) {
		t.Error("a route and a service have one name")
	}
}

func TestIsOlder(t *testing.T) {
	p := limits()
	p.CreationTimestamp = metav1.Time{Time: now}
	for name, tc := range map[string]struct {
		created time.Time
		want    bool
	}{
		"PluginBinding shop/z": {now, true}, "PluginPolicy shop/a": {now, true}, "PluginPolicy shop/z": {now, false},
		"PluginPolicy shop/old": {now.Add(-time.Second), true}, "PluginBinding shop/new": {now.Add(time.Second), false},
	} {
		if IsOlder(name, tc.created, p) != tc.want {
			t.Errorf("%s made %v: older is not %t", name, tc.created, tc.want)
		}
	}
}
