package controllers

import (
	"bytes"
	"context"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// isGone reports whether the API server has no such object any more.
func (w *world) isGone(object client.Object) bool {
	return apierrors.IsNotFound(w.client.Get(w.ctx, client.ObjectKeyFromObject(object), object))
}

// expectNothingLeft fails if Kong holds a plugin whose gateway is gone.
func (w *world) expectNothingLeft() {
	w.t.Helper()
	if plugins := w.kong.Plugins(); w.isGone(w.gateway()) && len(plugins) > 0 {
		w.t.Fatalf("the gateway is gone, and Kong still holds %v", plugins)
	}
}

func TestAGatewayWaitsForAReconcileThatHasItsConnection(t *testing.T) {
	var w *world
	calls := interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, options ...client.PatchOption) error {
			// The binding is between its connection and its finalizer.
			data, err := patch.Data(object)
			if err != nil {
				return err
			}
			if _, ok := object.(*v1alpha1.PluginBinding); ok && bytes.Contains(data, []byte(v1alpha1.PluginFinalizer)) && w.getGateway().DeletionTimestamp.IsZero() {
				w.delete(w.getGateway())
				if _, err := w.operator.Gateways.Reconcile(ctx, ctrl.Request{NamespacedName: platform}); err != nil {
					t.Error(err)
				}
			}
			return c.Patch(ctx, object, patch, options...)
		},
	}
	w = newWorld(t, worldOptions{calls: calls})
	w.pass(time.Minute)
	late := boundTo("late", "orders")
	w.create(late)
	// A binding that was refused before, and has no plugin, does not hold the gateway up.
	late.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonNotAllowedByGateway, LastTransitionTime: metav1.Now()}}
	if err := w.client.Status().Update(w.ctx, late); err != nil {
		t.Fatal(err)
	}
	w.pass(5 * time.Second)
	w.expectNothingLeft()
	w.expectReason("late", v1alpha1.ReasonReady)

	w.delete(w.getBinding("late"))
	w.pass(5 * time.Second)
	w.enqueue(request{gateway: true, key: platform}) // the binding is gone
	w.pass(time.Second)
	if !w.isGone(w.gateway()) || len(w.kong.Plugins()) > 0 {
		t.Fatal("the gateway or the plugin stays")
	}
}

func TestAGatewayAsksTheAPIServerForItsBindings(t *testing.T) {
	stale := false
	w := newWorld(t, worldOptions{objects: []client.Object{boundTo("limit", "orders")}, calls: interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if _, ok := list.(*v1alpha1.PluginBindingList); ok && stale {
				return nil
			}
			return c.List(ctx, list, options...)
		},
	}})
	w.pass(time.Minute)
	w.expectReason("limit", v1alpha1.ReasonReady)
	stale = true
	w.delete(w.getGateway())
	w.pass(5 * time.Second)
	if w.isGone(w.gateway()) {
		t.Fatal("the gateway is gone, and its binding has a plugin")
	}
	stale = false
	w.kong.EditPlugin(string(w.getBinding("limit").Status.PluginID), map[string]any{"enabled": false})
	w.pass(2 * time.Minute)
	if id := string(w.getBinding("limit").Status.PluginID); w.kong.Plugin(id)["enabled"] != true {
		t.Error("the bindings of a gateway that stays are not served")
	}
}

func TestAGatewayThatOnlyTheCacheShowsServesNoBinding(t *testing.T) {
	var cached *v1alpha1.KongGateway
	w := newWorld(t, worldOptions{calls: interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
			if gateway, ok := object.(*v1alpha1.KongGateway); ok && cached != nil {
				cached.DeepCopyInto(gateway)
				return nil
			}
			return c.Get(ctx, key, object, options...)
		},
	}})
	w.pass(time.Minute)
	w.delete(w.getGateway())
	before := w.getGateway()
	w.pass(time.Second)
	if !w.isGone(w.gateway()) {
		t.Fatal("the gateway stays")
	}
	cached = before
	w.create(boundTo("late", "orders"))
	w.enqueue(request{gateway: true, key: platform})
	w.pass(5 * time.Second)
	w.expectNothingLeft()

	cached = nil
	w.enqueue(request{gateway: true, key: platform})
	w.pass(time.Second)
	w.expectReason("late", v1alpha1.ReasonGatewayNotFound)
	again := w.gateway()
	again.UID = "again"
	if err := w.client.Create(w.ctx, again); err != nil {
		t.Fatal(err)
	}
	w.enqueue(request{gateway: true, key: platform})
	w.enqueue(request{key: client.ObjectKeyFromObject(boundTo("late", "orders"))})
	w.pass(5 * time.Second)
	w.expectReason("late", v1alpha1.ReasonReady)
}

// No reconcile sees that a gateway is gone if one of the same name is created at once.
func TestAGatewayThatReplacesADeletedOneServesBindings(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.pass(time.Minute)
	w.delete(w.getGateway())
	w.pass(time.Second)
	again := w.gateway()
	again.UID = "again"
	if err := w.client.Create(w.ctx, again); err != nil {
		t.Fatal(err)
	}
	w.enqueue(request{gateway: true, key: platform})
	w.create(boundTo("limit", "orders"))
	w.pass(5 * time.Second)
	w.expectReason("limit", v1alpha1.ReasonReady)
}
