package doctor

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func id(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

func condition(name string, status metav1.ConditionStatus, reason string) metav1.Condition {
	return metav1.Condition{Type: name, Status: status, Reason: reason, Message: "the message of " + reason, LastTransitionTime: metav1.NewTime(now.Add(-time.Hour))}
}

func ready() metav1.Condition {
	return condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func binding(name string, n int, conditions ...metav1.Condition) v1alpha1.PluginBinding {
	b := v1alpha1.PluginBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, CreationTimestamp: metav1.NewTime(now.Add(-time.Hour))},
		Spec:       v1alpha1.PluginBindingSpec{GatewayRef: v1alpha1.GatewayRef{Namespace: "kong", Name: "main"}, Plugin: "key-auth"},
		Status:     v1alpha1.PluginBindingStatus{Conditions: conditions},
	}
	if n > 0 {
		b.Status.PluginID = v1alpha1.UUID(id(n))
	}
	return b
}

// row is the plugin of a binding, on a service of its own.
func row(n int, owner string) plugin.Plugin {
	return plugin.Plugin{
		ID: id(n), Name: "key-auth", Scope: plugin.Scope{ServiceID: id(1000 + n)}, CreatedAt: int64(n),
		Tags: identity.Binding{Cluster: "c1", Namespace: "shop", Name: owner, UID: "u"}.OwnershipTags(),
	}
}

// healthy has two bindings and a policy, with nothing wrong.
func healthy() Facts {
	gateway := v1alpha1.KongGateway{ObjectMeta: metav1.ObjectMeta{Namespace: "kong", Name: "main"}, Status: v1alpha1.KongGatewayStatus{Conditions: []metav1.Condition{ready()}}}
	policy := v1alpha1.PluginPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Status: v1alpha1.PluginPolicyStatus{
		Conditions: []metav1.Condition{ready()}, Targets: []v1alpha1.PolicyTargetStatus{{Entities: 1}},
	}}
	return Facts{
		Now: now, Default: "kube-system-uid", PausedFor: time.Hour, AllBindings: true, LeasesKnown: true,
		CRDs:     []CRD{{Name: "pluginbindings", Served: true}},
		Leases:   []Lease{{Namespace: "kong", Name: "operator", Holder: "pod", Renewed: now.Add(-3 * time.Second), Duration: 15 * time.Second}},
		Gateways: []v1alpha1.KongGateway{gateway}, Policies: []v1alpha1.PluginPolicy{policy},
		Bindings: []v1alpha1.PluginBinding{binding("a", 1, ready()), binding("b", 2, ready())},
		Kongs: []Kong{{
			Gateways: []types.NamespacedName{{Namespace: "kong", Name: "main"}}, Plugins: []plugin.Plugin{row(1, "a"), row(2, "b")},
			Entities: map[adminapi.EntityKind][]adminapi.Entity{adminapi.Service: {{ID: id(1001), Name: "orders"}}},
		}},
	}
}

func event(reason, kind, name string, count int32, age time.Duration) corev1.Event {
	return corev1.Event{
		InvolvedObject: corev1.ObjectReference{Kind: kind, Namespace: "shop", Name: name}, Reason: reason,
		Message: "the message of " + reason, Count: count, LastTimestamp: metav1.NewTime(now.Add(-age)),
	}
}

func TestHealthy(t *testing.T) {
	if findings := Diagnose(healthy()); len(findings) > 0 {
		t.Errorf("%+v", findings)
	}
}

// An installation that is gone may have left its Lease, and another one works.
func TestALeaseThatWasLeftIsNoFault(t *testing.T) {
	facts := healthy()
	facts.Leases = append(facts.Leases, Lease{Namespace: "operators", Name: "operator", Renewed: now.Add(-time.Hour)},
		Lease{Namespace: "old", Name: "operator", Holder: "pod", Renewed: now.Add(-time.Hour), Duration: 15 * time.Second})
	if findings := Diagnose(facts); len(findings) > 0 {
		t.Errorf("%+v", findings)
	}
}

// Each fault alone is found, once, and with a next step.
func TestEachFault(t *testing.T) {
	type change func(*Facts)
	conditionOf := func(c metav1.Condition) change {
		return func(f *Facts) { f.Bindings[0].Status.Conditions = append(f.Bindings[0].Status.Conditions, c) }
	}
	notReady := func(reason string) change {
		return func(f *Facts) {
			f.Bindings[0].Status.Conditions = []metav1.Condition{condition(v1alpha1.ConditionReady, metav1.ConditionFalse, reason)}
		}
	}
	tests := []struct {
		name   string
		change change
		want   string // kind and object
		says   string // in message or next step
	}{
		{"could not look", func(f *Facts) { f.Problems = []Problem{{"Kong of kong/main", "forbidden", "get the right"}} }, "CouldNotLook Kong of kong/main", "could not look: forbidden"},
		{"CRD missing", func(f *Facts) { f.CRDs[0].Served = false }, "CRDMissing CustomResourceDefinition pluginbindings", "kubectl apply"},
		{"CRD older", func(f *Facts) { f.CRDs[0].Missing = []string{"spec.replaces"} }, "CRDOlder CustomResourceDefinition pluginbindings", "spec.replaces"},
		{"no lease, no status", func(f *Facts) { *f = Facts{Now: now, Default: "c", LeasesKnown: true} }, "OperatorNotRunning operator", "no object has a status"},
		{"no lease, an old status", func(f *Facts) { f.Leases = nil }, "OperatorUnknown operator", "written 1h0m0s ago. Either no operator runs, or one runs without leader election"},
		{"no lease, a status older than two resyncs", func(f *Facts) {
			f.Leases = nil
			f.Gateways[0].Status.ResyncInterval = &metav1.Duration{Duration: 3 * time.Minute}
			f.Gateways[0].Status.LastResync = &v1alpha1.ResyncStatus{Time: metav1.NewTime(now.Add(-7 * time.Minute))}
		}, "OperatorUnknown operator", "last_sweep_timestamp_seconds"},
		{"no lease, a status of today under an interval of a day", func(f *Facts) {
			f.Leases = nil
			f.Gateways[0].Status.ResyncInterval = &metav1.Duration{Duration: 24 * time.Hour}
		}, "OperatorUnknown operator", "There is no Lease"},
		{"lease expired", func(f *Facts) { f.Leases[0].Renewed = now.Add(-16 * time.Second) }, "OperatorNotRunning Lease kong/operator", "pod renewed the Lease 16s ago"},
		{"lease released", func(f *Facts) { f.Leases[0].Holder = "" }, "OperatorNotRunning Lease kong/operator", "No operator leads"},
		{"two operators", func(f *Facts) {
			second := f.Leases[0]
			second.Namespace = "operators"
			f.Leases = append(f.Leases, second)
		}, "SeveralOperators Lease kong/operator", "Lease kong/operator, Lease operators/operator"},
		{"of two operators that watch different objects, one is gone", func(f *Facts) {
			f.Leases = append(f.Leases, Lease{Namespace: "kong", Name: "shard-2", Watches: "shard-2", Renewed: now.Add(-time.Hour)})
		}, "OperatorNotRunning Lease kong/shard-2", "No operator leads"},
		{"gateway", func(f *Facts) {
			f.Gateways[0].Status.Conditions[0] = condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonUnreachable)
		}, "GatewayNotReady KongGateway kong/main", "spec.adminURL"},
		{"gateway without status", func(f *Facts) { f.Gateways[0].Status.Conditions = nil }, "GatewayNotReady KongGateway kong/main", "watches namespace kong"},
		{"gateway unstable", func(f *Facts) {
			f.Gateways[0].Status.Conditions = append(f.Gateways[0].Status.Conditions, condition(v1alpha1.ConditionUnstable, metav1.ConditionTrue, v1alpha1.ReasonSomeProbesFail))
		}, "GatewayUnstable KongGateway kong/main", "restarts"},
		{"apply failed", func(f *Facts) { f.Events = []corev1.Event{event(eventApplyFailed, "Pod", "kic", 9, time.Second)} }, "IngressControllerStuck Pod shop/kic", "free the place in Kong"},
		{"translation failed", func(f *Facts) {
			f.Events = []corev1.Event{event(eventTranslationFailed, "Ingress", "web", 1, time.Minute), event(eventSucceeded, "Pod", "kic", 1, 0)}
		}, "IngressControllerStuck Ingress shop/web", "Correct the object"},
		{"contested", conditionOf(condition(v1alpha1.ConditionContested, metav1.ConditionTrue, v1alpha1.ReasonClaimedByKongPlugin)), "Contested PluginBinding shop/a", "handover kic"},
		{"ineffective", conditionOf(condition(v1alpha1.ConditionIneffective, metav1.ConditionTrue, v1alpha1.ReasonNoCommonProtocol)), "Ineffective PluginBinding shop/a", "spec.protocols"},
		{"conflict", notReady(v1alpha1.ReasonConflict), "Conflict PluginBinding shop/a", "adoptionPolicy"},
		{"conflict with the ingress controller", func(f *Facts) {
			notReady(v1alpha1.ReasonConflict)(f)
			f.Bindings[0].Status.Conflict = &v1alpha1.ConflictStatus{Owner: identity.Owner{Tool: "ingress-controller"}.Describe("c1")}
		}, "Conflict PluginBinding shop/a", "handover kic -n shop"},
		{"claimed", notReady(v1alpha1.ReasonClaimedByKongPlugin), "ClaimedByKongPlugin PluginBinding shop/a", "PluginPolicy"},
		{"no Secret", notReady(v1alpha1.ReasonSecretNotFound), "BindingNotReady PluginBinding shop/a", "Create the missing object"},
		{"no status", func(f *Facts) { f.Bindings[0].Status.Conditions = nil }, "BindingNotReady PluginBinding shop/a", "operator runs"},
		{"a second row", func(f *Facts) {
			twin := row(3, "a")
			twin.Scope, twin.Tags = f.Kongs[0].Plugins[0].Scope, nil
			f.Kongs[0].Plugins = append(f.Kongs[0].Plugins, twin)
		}, "DuplicatePlugin plugin " + id(1), "DELETE /plugins/" + id(3)},
		{"a second row, recorded", func(f *Facts) {
			twin := row(3, "a")
			twin.Scope, twin.Tags = f.Kongs[0].Plugins[1].Scope, nil
			f.Kongs[0].Plugins = slices.Insert(f.Kongs[0].Plugins, 0, twin)
		}, "DuplicatePlugin plugin " + id(2), "unique index"},
		{"two of one binding", func(f *Facts) { f.Kongs[0].Plugins = append(f.Kongs[0].Plugins, row(3, "a")) }, "DuplicatePlugin plugin " + id(1), "Keep " + id(1) + ", the one that PluginBinding shop/a has recorded"},
		{"one ID twice", func(f *Facts) {
			f.Bindings[1].Status.PluginID = f.Bindings[0].Status.PluginID
			f.Kongs[0].Plugins = f.Kongs[0].Plugins[:1]
		}, "IDRecordedTwice plugin " + id(1), "Orphan"},
		{"one ID twice, through two gateways", func(f *Facts) {
			f.Bindings[1].Status.PluginID = f.Bindings[0].Status.PluginID
			f.Bindings[1].Namespace = "other"
			f.Bindings[1].Spec.GatewayRef.Name = "second"
			second := f.Gateways[0]
			second.Name = "second"
			f.Gateways = append(f.Gateways, second)
			f.Kongs[0].Plugins = f.Kongs[0].Plugins[:1]
			f.Namespace = "shop"
		}, "IDRecordedTwice plugin " + id(1), "Orphan"},
		{"plugin missing", func(f *Facts) { f.Kongs[0].Plugins = f.Kongs[0].Plugins[1:] }, "PluginMissing PluginBinding shop/a", "restores it under its ID"},
		{"observed plugin missing", func(f *Facts) {
			f.Kongs[0].Plugins = f.Kongs[0].Plugins[1:]
			f.Bindings[0].Spec.ManagementPolicy = v1alpha1.ObservePlugin
		}, "PluginMissing PluginBinding shop/a", "managementPolicy to Manage"},
		{"drift", func(f *Facts) {
			f.Events = []corev1.Event{event(eventDrift, "PluginBinding", "a", 2, time.Minute), event(eventDrift, "PluginBinding", "a", 1, time.Minute)}
		}, "RepeatedDrift PluginBinding shop/a", "3 times"},
		{"policy without entities", func(f *Facts) { f.Policies[0].Status.Targets[0].Entities = 0 }, "PolicyWithoutEntities PluginPolicy shop/web", "targets exist"},
		{"policy without targets", func(f *Facts) {
			f.Policies[0].Status.Conditions[0] = condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTargetNotFound)
		}, "PolicyWithoutEntities PluginPolicy shop/web", "targets exist"},
		{"policy", func(f *Facts) {
			f.Policies[0].Status.Conditions[0] = condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
		}, "PolicyNotReady PluginPolicy shop/web", "Invalid: the message"},
		{"entity without namespace", func(f *Facts) {
			f.Gateways[0].Spec.AllowedBindings = &v1alpha1.AllowedBindings{Entities: v1alpha1.EntitiesSameNamespace}
		}, "EntityWithoutNamespace services", "orders"},
		{"orphan", func(f *Facts) { f.Kongs[0].Plugins = append(f.Kongs[0].Plugins, row(3, "gone")) }, "OrphanedPlugin plugin " + id(3), "shop/gone, which does not exist"},
		{"orphan by its name", func(f *Facts) {
			nameless := row(3, "")
			nameless.Tags, nameless.InstanceName = nil, "c1.shop.gone"
			f.Kongs[0].Plugins = append(f.Kongs[0].Plugins, nameless)
		}, "OrphanedPlugin plugin " + id(3), "shop/gone, which does not exist"},
		{"another cluster's", func(f *Facts) {
			other := row(3, "a")
			other.Tags = identity.Binding{Cluster: "c2", Namespace: "shop", Name: "a"}.OwnershipTags()
			f.Kongs[0].Plugins = append(f.Kongs[0].Plugins, other)
		}, "OtherCluster cluster c2", "--cluster-id=c2"},
		{"retained", func(f *Facts) {
			f.Gateways[0].Status.RetainedPlugins = []v1alpha1.RetainedPlugins{{Namespace: "shop", PluginIDs: []string{id(3)}}}
			f.Kongs[0].Plugins = append(f.Kongs[0].Plugins, row(3, "gone"))
		}, "RetainedPlugin plugin " + id(3), "spec.pluginID"},
		{"paused", func(f *Facts) {
			f.Bindings[0].Annotations = map[string]string{v1alpha1.PausedAnnotation: "true"}
			set := metav1.NewTime(now.Add(-2 * time.Hour))
			f.Bindings[0].ManagedFields = []metav1.ManagedFieldsEntry{{Time: &set, FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:annotations":{"f:kong.pluginbinding.io/paused":{}}}}`)}}
		}, "PausedLong PluginBinding shop/a", "for 2h0m0s"},
	}
	seen := map[string]bool{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			facts := healthy()
			tt.change(&facts)
			findings := Diagnose(facts)
			if len(findings) != 1 {
				t.Fatalf("%d findings: %+v", len(findings), findings)
			}
			found := findings[0]
			seen[found.Kind] = true
			if got := found.Kind + " " + found.Object; got != tt.want || found.Next == "" || !strings.Contains(found.Message+found.Next, tt.says) {
				t.Errorf("%s: %+v", got, found)
			}
		})
	}
	for _, kind := range kinds {
		if !seen[kind.name] {
			t.Errorf("no test of %s", kind.name)
		}
	}
}

func TestNoFault(t *testing.T) {
	for name, change := range map[string]func(*Facts){
		"no lease, a resync of late": func(f *Facts) {
			f.Leases = nil
			f.Gateways[0].Status.ResyncInterval = &metav1.Duration{Duration: 3 * time.Minute}
			f.Gateways[0].Status.LastResync = &v1alpha1.ResyncStatus{Time: metav1.NewTime(now.Add(-5 * time.Minute))}
		},
		"no lease, a status of a policy of late": func(f *Facts) {
			f.Leases = nil
			written := metav1.NewTime(now.Add(-time.Minute))
			f.Policies[0].ManagedFields = []metav1.ManagedFieldsEntry{{Subresource: "status", Time: &written}}
		},
		"a sync that succeeded later": func(f *Facts) {
			f.Events = []corev1.Event{event(eventApplyFailed, "Pod", "kic", 9, time.Minute), event(eventSucceeded, "Pod", "kic", 1, time.Second)}
		},
		"an old event": func(f *Facts) {
			f.Events = []corev1.Event{event(eventTranslationFailed, "Ingress", "web", 1, time.Hour)}
		},
		"a rare drift": func(f *Facts) { f.Events = []corev1.Event{event(eventDrift, "PluginBinding", "a", 2, time.Minute)} },
		"a short pause": func(f *Facts) {
			f.Bindings[0].Annotations = map[string]string{v1alpha1.PausedAnnotation: "true"}
			f.PausedFor = 2 * time.Hour
		},
		"bindings of one namespace only": func(f *Facts) { // others may own the plugin
			f.AllBindings = false
			f.Kongs[0].Plugins = append(f.Kongs[0].Plugins, row(3, "elsewhere"))
		},
		"a replacement": func(f *Facts) {
			f.Bindings[1].Status.PluginID = f.Bindings[0].Status.PluginID
			f.Bindings[1].Spec.Replaces = &v1alpha1.BindingRef{Name: "a"}
			f.Kongs[0].Plugins = f.Kongs[0].Plugins[:1]
		},
		"a binding that was just made": func(f *Facts) {
			f.Bindings[0].Status = v1alpha1.PluginBindingStatus{}
			f.Bindings[0].CreationTimestamp = metav1.NewTime(now.Add(-time.Second))
			f.Kongs[0].Plugins = f.Kongs[0].Plugins[1:]
		},
		"the same ID in two Kongs": func(f *Facts) {
			f.Bindings[1].Status.PluginID = f.Bindings[0].Status.PluginID
			f.Bindings[1].Spec.GatewayRef.Name = "second"
			second := f.Gateways[0]
			second.Name, second.Spec.AdminURL = "second", "http://second:8001"
			f.Gateways = append(f.Gateways, second)
			f.Kongs[0].Plugins = f.Kongs[0].Plugins[:1]
		},
		"one ID twice, in another namespace": func(f *Facts) {
			f.Bindings[1].Status.PluginID = f.Bindings[0].Status.PluginID
			f.Namespace = "other"
			f.Kongs[0].Plugins = f.Kongs[0].Plugins[:1]
		},
		"another namespace": func(f *Facts) {
			f.Namespace = "other"
			f.Bindings[0].Status.Conditions = nil
			f.Kongs[0].Plugins = append(f.Kongs[0].Plugins[1:], row(3, "gone"))
			f.Gateways[0].Status.Conditions = nil
			f.Events = []corev1.Event{event(eventTranslationFailed, "Ingress", "web", 1, 0)}
		},
	} {
		facts := healthy()
		change(&facts)
		if findings := Diagnose(facts); len(findings) > 0 {
			t.Errorf("%s: %+v", name, findings)
		}
	}
}

// What others wrote cannot control the terminal, and is bounded.
func TestClean(t *testing.T) {
	if got := clean("a\x1b[31m\n\tb\u202e"); strings.ContainsAny(got, "\x1b\n\t\u202e") {
		t.Errorf("%q", got)
	}
	if got := clean(strings.Repeat("x", 5000)); len(got) > maxText+3 {
		t.Errorf("%d characters", len(got))
	}
}
