package pluginbinding_test

import (
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// replacing makes a binding that replaces another one of its namespace.
func replacing(name string) func(*v1alpha1.PluginBinding) {
	return func(b *v1alpha1.PluginBinding) { b.Spec.Replaces = &v1alpha1.BindingRef{Name: name} }
}

func inNamespace(name string) func(*v1alpha1.PluginBinding) {
	return func(b *v1alpha1.PluginBinding) {
		b.Namespace = name
		b.Spec.GatewayRef.Namespace = namespace
	}
}

// allowAllNamespaces opens the gateway to a namespace, which it creates.
func (w *world) allowAllNamespaces(name string) {
	w.t.Helper()
	w.must(w.kube.Create(w.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}))
	gateway := &v1alpha1.KongGateway{}
	w.must(w.kube.Get(w.t.Context(), client.ObjectKey{Namespace: namespace, Name: "kong"}, gateway))
	gateway.Spec.AllowedBindings = &v1alpha1.AllowedBindings{Namespaces: &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromAll}}
	w.must(w.kube.Update(w.t.Context(), gateway))
}

func (w *world) delete(binding *v1alpha1.PluginBinding) {
	w.t.Helper()
	w.must(w.kube.Delete(w.t.Context(), binding))
}

func (w *world) isGone(binding *v1alpha1.PluginBinding) bool {
	return apierrors.IsNotFound(w.kube.Get(w.t.Context(), client.ObjectKeyFromObject(binding), binding))
}

// A binding gets another name: the plugin passes over under its ID, in whichever order the two are
// reconciled, and at no moment is there no plugin or a second one.
func TestAReplacedBindingPassesItsPluginOn(t *testing.T) {
	for name, deletedFirst := range map[string]bool{"the new one comes first": false, "the old one is deleted first": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			old := w.binding("old", onRoute("s1-a"))
			w.settle(3, old)
			id := old.Status.PluginID
			mark := w.kong.Journal().Mark()
			renamed := w.binding("new", onRoute("s1-a"), replacing("old"), func(b *v1alpha1.PluginBinding) {
				b.Spec.Config.Raw = []byte(`{"minute": 7, "policy": "local"}`)
			})
			if deletedFirst {
				w.delete(old)
				w.inTurn(1, old)
				if w.isGone(old) {
					t.Fatal("the old binding does not wait for the new one")
				}
				w.expectReason(old, v1alpha1.ReasonDeleting, "PluginBinding shop/new is going to take it over")
			}
			w.settle(3, renamed)
			if !deletedFirst {
				w.inTurn(1, old)
				w.expectReason(old, v1alpha1.ReasonConflict, "That binding replaces this one")
				w.delete(old)
			}
			w.inTurn(2, old)
			if !w.isGone(old) {
				t.Errorf("the old binding stays: %s", w.ready(old).Message)
			}
			w.inTurn(1, renamed)
			w.reload(renamed)
			if renamed.Status.PluginID != id || renamed.Status.PluginIDSource != v1alpha1.PluginIDReplaced {
				t.Errorf("the ID is %s from %s, want %s", renamed.Status.PluginID, renamed.Status.PluginIDSource, id)
			}
			w.expectOnlyUpdates(mark)
			if writes := w.countSince(mark, http.MethodPut); writes != 1 {
				t.Errorf("%d writes, want 1", writes)
			}
		})
	}
}

// The new binding may have another scope. The plugin moves with the write that makes it its own.
func TestAReplacedBindingsPluginMoves(t *testing.T) {
	w := newWorld(t)
	old := w.binding("old", onRoute("s1-a"))
	w.settle(3, old)
	mark := w.kong.Journal().Mark()
	moved := w.binding("new", onRoute("s2-a"), replacing("old"))
	w.settle(3, moved)
	if moved.Status.PluginID != old.Status.PluginID {
		t.Errorf("the plugin got the ID %s", moved.Status.PluginID)
	}
	w.expectOnlyUpdates(mark)
}

// A binding of another namespace needs permission, and a hostile one delays nobody.
func TestAReplacementFromAnotherNamespaceNeedsPermission(t *testing.T) {
	w := newWorld(t)
	w.allowAllNamespaces("tenant")
	old := w.binding("old", onRoute("s1-a"))
	w.settle(3, old)
	mark := w.kong.Journal().Mark()
	thief := w.binding("thief", onRoute("s1-a"), inNamespace("tenant"), func(b *v1alpha1.PluginBinding) {
		b.Spec.Replaces = &v1alpha1.BindingRef{Name: "old", Namespace: namespace}
	})
	w.inTurn(3, thief, old)
	w.expectReason(thief, v1alpha1.ReasonReplacementNotAllowed, "does not allow bindings of namespace tenant to replace it")
	if writes := len(w.kong.Journal().Since(mark).Writes()); writes > 0 {
		t.Errorf("%d writes", writes)
	}
	w.change(old, func(b *v1alpha1.PluginBinding) { b.Spec.AllowReplacementFrom = []v1alpha1.NamespaceName{"tenant"} })
	w.settle(3, thief)
	if thief.Status.PluginID != old.Status.PluginID {
		t.Errorf("the plugin got the ID %s", thief.Status.PluginID)
	}
	w.expectOnlyUpdates(mark)
}

// A deletion ends, whatever becomes of the binding that was to take the plugin over.
func TestADeletionDoesNotWaitForAReplacementForEver(t *testing.T) {
	w := newWorld(t)
	old := w.binding("old", onRoute("s1-a"), func(b *v1alpha1.PluginBinding) { b.Spec.AllowReplacementFrom = []v1alpha1.NamespaceName{"tenant"} })
	w.settle(3, old)
	w.delete(old)
	w.inTurn(1, old)
	w.expectReason(old, v1alpha1.ReasonDeleting, "another binding may take it over")
	stuck := w.binding("stuck", onRoute("s1-a"), replacing("old"), func(b *v1alpha1.PluginBinding) { b.Spec.Config.Raw = []byte(`{"minute": -5}`) })
	w.inTurn(2, stuck, old)
	w.clock.Step(time.Minute)
	w.inTurn(1, old)
	w.expectReason(old, v1alpha1.ReasonDeleting, "PluginBinding shop/stuck is going to take it over")
	w.clock.Step(5 * time.Minute)
	w.inTurn(2, old)
	if !w.isGone(old) {
		t.Errorf("the old binding stays: %s", w.ready(old).Message)
	}
}

// While a binding takes a plugin over, nobody else writes it.
func TestAReplacementAndItsBindingAreNotReconciledAtOnce(t *testing.T) {
	w := newWorld(t)
	old := w.binding("old", onRoute("s1-a"))
	w.settle(3, old)
	renamed := w.binding("new", onRoute("s1-a"), replacing("old"))
	gets, overlapped := 0, false
	w.onGet = func(_, name string) {
		if name == "old" {
			gets++
		}
		if gets < 2 || overlapped { // the first one is before the lock
			return
		}
		overlapped = true
		mark := w.kong.Journal().Mark()
		result, err := w.reconcile(old)
		w.must(err)
		if requests := w.countSince(mark, ""); result.RequeueAfter == 0 || requests > 0 {
			t.Errorf("the old binding is reconciled meanwhile, with %d requests", requests)
		}
	}
	w.settle(3, renamed)
	if !overlapped {
		t.Error("the new binding did not read the old one")
	}
}

// policyInConflict is a policy of a plugin that waits for a place.
func (w *world) policyInConflict(name string, plugin v1alpha1.PluginName, edit func(*v1alpha1.PluginPolicy)) {
	w.t.Helper()
	policy := &v1alpha1.PluginPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(name)},
		Spec: v1alpha1.PluginPolicySpec{
			GatewayRef: v1alpha1.GatewayRef{Name: "kong"}, Template: v1alpha1.PluginBindingTemplate{Spec: v1alpha1.PluginTemplateSpec{Plugin: plugin}},
		},
		Status: v1alpha1.PluginPolicyStatus{Conditions: []metav1.Condition{{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonConflicted}}},
	}
	edit(policy)
	w.must(w.kube.Create(w.t.Context(), policy))
}

// A deletion waits a moment for a policy that waits for the place, and only for one that may have it.
func TestADeletionWaitsForAPolicyThatWaitsForThePlace(t *testing.T) {
	unchanged := func(*v1alpha1.PluginPolicy) {}
	orphaning := func(b *v1alpha1.PluginBinding) { b.Spec.DeletionPolicy = v1alpha1.OrphanPlugin }
	for name, tc := range map[string]struct {
		plugin  v1alpha1.PluginName
		policy  func(*v1alpha1.PluginPolicy)
		binding func(*v1alpha1.PluginBinding)
		waits   bool
	}{
		"a policy waits":                   {plugin: "rate-limiting", policy: unchanged, waits: true},
		"a policy of another plugin":       {plugin: "key-auth", policy: unchanged},
		"a policy of another namespace":    {plugin: "rate-limiting", policy: func(p *v1alpha1.PluginPolicy) { p.Namespace, p.Spec.GatewayRef.Namespace = "tenant", namespace }},
		"a policy that is not in conflict": {plugin: "rate-limiting", policy: func(p *v1alpha1.PluginPolicy) { p.Status.Conditions = nil }},
		"a paused policy":                  {plugin: "rate-limiting", policy: func(p *v1alpha1.PluginPolicy) { p.Annotations = map[string]string{v1alpha1.PausedAnnotation: "true"} }},
		"its own policy": {plugin: "rate-limiting", policy: unchanged, binding: func(b *v1alpha1.PluginBinding) {
			b.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "PluginPolicy", Name: "waiting", UID: "waiting", Controller: ptr.To(true)}}
		}},
		"a plugin that stays in Kong": {plugin: "rate-limiting", policy: unchanged, binding: orphaning},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.policyInConflict("waiting", tc.plugin, tc.policy)
			edits := []func(*v1alpha1.PluginBinding){func(*v1alpha1.PluginBinding) {}}
			if tc.binding != nil {
				edits[0] = tc.binding
			}
			old := w.binding("old", onRoute("s1-a"), edits...)
			w.settle(3, old)
			w.delete(old)
			w.inTurn(2, old)
			if w.isGone(old) == tc.waits {
				t.Fatalf("gone: %t, want it to wait: %t", !tc.waits, tc.waits)
			}
			if tc.waits {
				w.expectReason(old, v1alpha1.ReasonDeleting, "PluginPolicy shop/waiting waits for a place of this plugin")
				w.clock.Step(6 * time.Second)
				w.inTurn(2, old)
				if !w.isGone(old) {
					t.Errorf("the old binding stays: %s", w.ready(old).Message)
				}
			}
		})
	}
}

// If Kong has lost the plugin that is to pass over, neither binding waits for the other.
func TestADeletionDoesNotWaitToPassOnAPluginThatIsGone(t *testing.T) {
	w := newWorld(t)
	old := w.binding("old", onRoute("s1-a"))
	w.settle(3, old)
	w.kong.DeletePlugin(string(old.Status.PluginID))
	renamed := w.binding("new", onRoute("s1-a"), replacing("old"))
	w.delete(old)
	w.inTurn(3, renamed, old)
	if !w.isGone(old) {
		t.Errorf("the old binding stays: %s", w.ready(old).Message)
	}
	w.settle(3, renamed)
}

// A restore makes a policy again with another UID, and the garbage collector deletes the bindings of the
// former one. Their plugins stay for the bindings that the policy makes again.
func TestTheBindingsOfAPolicyThatWasMadeAgainLeaveTheirPlugins(t *testing.T) {
	for name, tc := range map[string]struct {
		policy func(*v1alpha1.PluginPolicy)
		stays  bool
	}{
		"another UID":     {stays: true, policy: func(p *v1alpha1.PluginPolicy) { p.UID = "restored" }},
		"the same policy": {policy: func(*v1alpha1.PluginPolicy) {}},
		"another name":    {policy: func(p *v1alpha1.PluginPolicy) { p.Name, p.UID = "else", "restored" }},
		"another target":  {policy: func(p *v1alpha1.PluginPolicy) { p.UID, p.Spec.TargetRefs[0].Name = "restored", "else" }},
		"another gateway": {policy: func(p *v1alpha1.PluginPolicy) { p.UID, p.Spec.GatewayRef.Name = "restored", "else" }},
		"it is being deleted": {policy: func(p *v1alpha1.PluginPolicy) {
			p.UID, p.Finalizers = "restored", []string{v1alpha1.PolicyFinalizer}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			controlled := func(b *v1alpha1.PluginBinding) {
				b.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "PluginPolicy", Name: "limit", UID: "limit", Controller: ptr.To(true)}}
				b.Annotations = map[string]string{v1alpha1.TargetAnnotation: "Ingress/shop"}
			}
			child := w.binding("limit-a", onRoute("s1-a"), controlled)
			w.settle(3, child)
			id := string(child.Status.PluginID)
			policy := &v1alpha1.PluginPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "limit", UID: "limit"}}
			policy.Spec.GatewayRef.Name, policy.Spec.Template.Spec.Plugin = "kong", "rate-limiting"
			policy.Spec.TargetRefs = []v1alpha1.PolicyTargetRef{{Group: "networking.k8s.io", Kind: "Ingress", Name: "shop"}}
			tc.policy(policy)
			w.must(w.kube.Create(t.Context(), policy))
			if len(policy.Finalizers) > 0 {
				w.must(w.kube.Delete(t.Context(), policy))
			}
			w.delete(child)
			w.inTurn(2, child)
			if stays := w.kong.Plugin(id) != nil; !w.isGone(child) || stays != tc.stays {
				t.Fatalf("gone: %t, the plugin stays: %t, want %t", w.isGone(child), stays, tc.stays)
			}
			if tc.stays {
				again := w.binding("limit-a", onRoute("s1-a"), controlled)
				w.settle(3, again)
				if got := string(again.Status.PluginID); got != id {
					t.Errorf("the plugin got the ID %s", got)
				}
			}
		})
	}
}

// Two bindings for one place do not look at it and write there at the same time: Kong refuses nothing.
func TestTwoBindingsForOnePlaceAreNotReconciledAtOnce(t *testing.T) {
	w := newWorld(t)
	one, other := w.binding("one", onRoute("s1-a")), w.binding("other", onRoute("s1-a"))
	met := false
	w.kong.Inject(kongtest.Fault{Method: http.MethodPost, Template: "/plugins", Kind: kongtest.Delay, Before: func(*http.Request) {
		if met {
			return
		}
		met = true
		_, err := w.reconcile(other)
		w.must(err)
	}})
	w.settle(3, one)
	w.inTurn(2, other)
	w.expectReason(other, v1alpha1.ReasonConflict, "PluginBinding shop/one")
	if !met || w.countSince(0, http.MethodPost) != 1 {
		t.Errorf("met: %t, %d plugins were posted", met, w.countSince(0, http.MethodPost))
	}
}

// A binding that took a plugin over is deleted while the former one still exists: that one takes its
// plugin back, and there is no moment without it.
func TestAPluginGoesBackToTheBindingThatWasReplaced(t *testing.T) {
	w := newWorld(t)
	old := w.binding("old", onRoute("s1-a"))
	w.settle(3, old)
	mark := w.kong.Journal().Mark()
	renamed := w.binding("new", onRoute("s1-a"), replacing("old"))
	w.settle(3, renamed)
	w.inTurn(1, old)
	w.delete(renamed)
	w.inTurn(1, renamed)
	w.expectReason(renamed, v1alpha1.ReasonDeleting, "PluginBinding shop/old has recorded its ID, too, and takes it back")
	w.settle(3, old)
	w.inTurn(2, renamed)
	if !w.isGone(renamed) {
		t.Errorf("the new binding stays: %s", w.ready(renamed).Message)
	}
	w.expectOnlyUpdates(mark)
}

// The policy of a binding in conflict may be about to let it take the plugin over: a deletion waits a moment.
func TestADeletionWaitsForThePolicyOfABindingInConflict(t *testing.T) {
	w := newWorld(t)
	old := w.binding("old", onRoute("s1-a"))
	w.settle(3, old)
	waiting := w.binding("limit-a", onRoute("s1-a"), func(b *v1alpha1.PluginBinding) {
		b.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "PluginPolicy", Name: "limit", UID: "limit", Controller: ptr.To(true)}}
	})
	w.inTurn(2, waiting)
	w.delete(old)
	w.inTurn(1, old)
	w.expectReason(old, v1alpha1.ReasonDeleting, "PluginBinding shop/limit-a waits for its place")
	w.clock.Step(6 * time.Second)
	w.inTurn(2, old)
	if !w.isGone(old) {
		t.Errorf("the old binding stays: %s", w.ready(old).Message)
	}
}
