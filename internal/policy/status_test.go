package policy

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

func ready(status metav1.ConditionStatus, reason, text string) func(*v1alpha1.PluginBinding) {
	return func(b *v1alpha1.PluginBinding) {
		b.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: status, Reason: reason, Message: text}}
	}
}

// TestStatus has a case for each problem that a policy can report, in the order in which they win.
func TestStatus(t *testing.T) {
	p := limits()
	a, b := bindingOf(p, "a"), bindingOf(p, "b")
	inForce := ready(metav1.ConditionTrue, "Ready", "")
	both := []v1alpha1.PluginBinding{edited(*a.DeepCopy(), inForce), edited(*b.DeepCopy(), inForce)}
	absent, missing, unknown, many := with(p, "a"), with(p, "a"), with(p), with(p)
	absent[0].Presence, missing[0].Presence, unknown[0].Known, many[0].TooMany = NotInstalled, Missing, false, true
	for _, tc := range []struct {
		name     string
		targets  []Target
		existing []v1alpha1.PluginBinding
		blocked  map[string]Block
		problem  Problem
		// condition and reason of the problem; what its message says.
		condition, reason string
		says              []string
		counts            [2]int32
	}{
		{name: "ready", targets: with(p, "a", "b"), existing: both, counts: [2]int32{2, 2}},
		{name: "not installed", targets: absent, condition: "Accepted", reason: "TargetKindNotInstalled", says: []string{"does not have the kind Ingress.networking.k8s.io, which Ingress/shop needs", "without a restart"}},
		{name: "missing", targets: missing, condition: "Accepted", reason: "TargetNotFound", says: []string{"Namespace shop has no Ingress/shop.", "of its own namespace only"}},
		{name: "blocked", targets: with(p, "a", "b"), existing: both[:1], blocked: map[string]Block{b.Name: {Reason: "Conflicted", Message: "PluginPolicy shop/old is older."}},
			condition: "Accepted", reason: "Conflicted", says: []string{"PluginPolicy shop/old is older."}, counts: [2]int32{1, 1}},
		{name: "too many", targets: many, condition: "Accepted", reason: "TooManyEntities", says: []string{"Ingress/shop has more entities"}},
		{name: "unknown", targets: unknown, condition: "ResolvedRefs", reason: "Pending", says: []string{"It changes no binding of them"}},
		{name: "no entities", targets: with(p), condition: "ResolvedRefs", reason: "EntitiesNotFound", says: []string{"Kong has no route of Ingress/shop", "k8s-name:shop, k8s-namespace:shop, k8s-kind:Ingress"}},
		{name: "one binding is not ready", targets: with(p, "a", "b"), existing: []v1alpha1.PluginBinding{both[0], edited(*b.DeepCopy(), ready(metav1.ConditionFalse, "Rejected", "Kong refused the plugin: x"))},
			condition: "Programmed", reason: "BindingsNotReady", says: []string{"1 of 2 bindings are not Ready: " + b.Name, "Rejected: Kong refused the plugin: x"}, counts: [2]int32{2, 1}},
		{name: "a binding is missing", targets: with(p, "a", "b"), existing: both[:1], condition: "Programmed", reason: "BindingsNotReady", says: []string{b.Name}, counts: [2]int32{1, 1}},
		{name: "paused", problem: Problem{Condition: "Ready", Unknown: true, Reason: "Paused", Message: "Paused by"}, condition: "Ready", reason: "Paused", says: []string{"Paused by"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := Status(Outcome{Policy: p, Targets: tc.targets, Children: Children(p, tc.targets), Existing: tc.existing, Blocked: tc.blocked, Problem: tc.problem})
			is := meta.FindStatusCondition(got.Conditions, v1alpha1.ConditionReady)
			if tc.condition == "" {
				if is.Status != metav1.ConditionTrue || len(got.Conditions) != 4 {
					t.Errorf("%+v", got.Conditions)
				}
			} else {
				problem := meta.FindStatusCondition(got.Conditions, tc.condition)
				if problem == nil || problem.Status == metav1.ConditionTrue || problem.Reason != tc.reason || is.Reason != tc.reason || is.Message != problem.Message {
					t.Fatalf("%+v", got.Conditions)
				}
			}
			for _, words := range tc.says {
				if !strings.Contains(is.Message, words) {
					t.Errorf("the message does not say %q:\n%s", words, is.Message)
				}
			}
			if tc.problem.Condition == "" && (got.Bindings.Total != tc.counts[0] || got.Bindings.Ready != tc.counts[1]) {
				t.Errorf("%+v bindings", got.Bindings)
			}
			if got.TargetSummary != "Ingress/shop" {
				t.Errorf("summary %q", got.TargetSummary)
			}
		})
	}
}

// What the others say when one of several targets has a problem.
func TestTheOtherTargetsGoOn(t *testing.T) {
	p := limits()
	p.Spec.TargetRefs = append(p.Spec.TargetRefs, v1alpha1.PolicyTargetRef{Group: groupGateway, Kind: "HTTPRoute", Name: "store", SectionName: "pay"})
	targets := with(p, "a")
	targets[1].Presence = Missing
	got := Status(Outcome{Policy: p, Targets: targets, Children: Children(p, targets)})
	message := meta.FindStatusCondition(got.Conditions, v1alpha1.ConditionReady).Message
	if !strings.Contains(message, "has no HTTPRoute/store#pay") || !strings.Contains(message, "keeps the bindings of the other targets in order") {
		t.Errorf("%s", message)
	}
	if got.TargetSummary != "Ingress/shop, HTTPRoute/store#pay" || got.Targets[0].Entities != 1 || got.Targets[1].Ref.SectionName != "pay" {
		t.Errorf("%+v", got)
	}
	if tags := targets[1].Selector.Tags; tags != "k8s-name:store,k8s-namespace:shop,k8s-kind:HTTPRoute,k8s-named-route-rule:pay" {
		t.Errorf("tags %s", tags)
	}
}
