package pluginbinding_test

import (
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
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
