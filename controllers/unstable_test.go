package controllers

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// statusWrites counts the patches of conditions, by kind and name.
type statusWrites map[string]int

func (n statusWrites) calls() interceptor.Funcs {
	return interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, sub string, object client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
		// A gateway also counts its bindings. That is another matter.
		if data, err := patch.Data(object); err != nil || strings.Contains(string(data), `"conditions"`) {
			n[fmt.Sprintf("%T %s", object, object.GetName())]++
		}
		return c.SubResource(sub).Patch(ctx, object, patch, options...)
	}}
}

// isReady reports whether a binding is Ready.
func (w *world) isReady(name string) bool {
	w.t.Helper()
	return meta.IsStatusConditionTrue(w.getBinding(name).Status.Conditions, v1alpha1.ConditionReady)
}

// gatewayCondition is a condition of the gateway, nil if it does not have it.
func (w *world) gatewayCondition(name string) *metav1.Condition {
	w.t.Helper()
	return meta.FindStatusCondition(w.getGateway().Status.Conditions, name)
}

// A load balancer with a dead server behind it fails some requests. The work gets done, and the status
// says what is wrong once, instead of following each probe.
func TestAHalfDeadAdminAPI(t *testing.T) {
	writes := statusWrites{}
	w := newWorld(t, worldOptions{calls: writes.calls(), objects: []client.Object{boundTo("goes", "goes")}})
	w.kong.Seed("services", map[string]any{"name": "goes", "url": "http://127.0.0.1:9"})
	w.pass(5 * time.Minute)
	w.expectReason("goes", v1alpha1.ReasonReady)
	w.emitted()
	clear(writes)
	heal := w.kong.Inject(kongtest.BackendUnavailable(0.3))
	const bindings = 12
	for i := range bindings {
		name := fmt.Sprintf("new-%02d", i)
		w.kong.Seed("services", map[string]any{"name": name, "url": "http://127.0.0.1:9"})
		w.create(boundTo(name, name))
	}
	w.delete(w.getBinding("goes"))
	w.pass(5 * time.Minute)
	unstable, ready := w.gatewayCondition(v1alpha1.ConditionUnstable), w.gatewayCondition(v1alpha1.ConditionReady)
	if unstable == nil || unstable.Status != metav1.ConditionTrue || unstable.Reason != v1alpha1.ReasonSomeProbesFail || ready.Status != metav1.ConditionTrue {
		t.Errorf("%+v, %+v", unstable, ready)
	}
	w.pass(10 * time.Minute)
	for i := range bindings {
		if name := fmt.Sprintf("new-%02d", i); !w.isReady(name) {
			t.Errorf("%s: %+v", name, w.getBinding(name).Status.Conditions)
		}
	}
	if !w.isGone(boundTo("goes", "goes")) {
		t.Error("a deletion whose looks fail now and then does not end")
	}
	for name, n := range writes {
		if n > 8 {
			t.Errorf("%s: %d writes of the status", name, n)
		}
	}
	events := strings.Join(w.emitted(), "\n")
	if n := strings.Count(events, "Warning Unstable"); n != 1 {
		t.Errorf("%d events of the trouble", n)
	}
	if n := strings.Count(events, "Unreachable") + strings.Count(events, "Normal Ready"); n > 4 {
		t.Errorf("%d more events:\n%s", n, events)
	}

	heal()
	w.pass(20 * time.Minute)
	if unstable := w.gatewayCondition(v1alpha1.ConditionUnstable); unstable != nil {
		t.Errorf("the trouble is over, and the status says %+v", unstable)
	}
}

// An Admin API that is gone for good is reported all the same, also for one that was unstable before.
func TestADeadAdminAPIIsReported(t *testing.T) {
	for _, before := range []float64{0, 0.5} {
		w := newWorld(t, worldOptions{objects: []client.Object{boundTo("limit", "orders")}})
		w.pass(3 * time.Minute)
		if before > 0 {
			heal := w.kong.Inject(kongtest.BackendUnavailable(before))
			w.pass(20 * time.Minute)
			heal()
		}
		mark := w.kong.Journal().Mark()
		w.kong.Inject(kongtest.Fault{Kind: kongtest.DropBefore})
		w.pass(3 * time.Minute)
		if ready := w.gatewayCondition(v1alpha1.ConditionReady); ready.Status != metav1.ConditionFalse || ready.Reason != v1alpha1.ReasonUnreachable {
			t.Errorf("%v: %+v", before, ready)
		}
		for request, n := range w.requests(mark) {
			if request != "GET /" && n > 2 {
				t.Errorf("%s: %d requests to a Kong that is gone", request, n)
			}
		}
	}
}

// Two nodes of different versions behind one address take turns, as in an upgrade that stops halfway.
func TestTwoVersionsTakeTurns(t *testing.T) {
	written := 0
	w := newWorld(t, worldOptions{objects: []client.Object{boundTo("limit", "orders")}, calls: interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, object client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
			written++
			return c.SubResource(sub).Patch(ctx, object, patch, options...)
		},
	}})
	w.pass(5 * time.Minute)
	id, turn := string(w.getBinding("limit").Status.PluginID), 0
	tags := slices.DeleteFunc(slices.Clone(w.kong.Plugin(id)["tags"].([]any)), func(tag any) bool { return strings.HasPrefix(tag.(string), "k8s-uid:") })
	w.kong.Inject(kongtest.Fault{Method: http.MethodGet, Template: "/", Kind: kongtest.Delay, Before: func(*http.Request) {
		turn++
		w.kong.SetVersion([]string{"3.9.1", "3.10.0"}[turn%2])
		// Each shows the plugin its own way. The UID stands for a field that one of them does not have.
		w.kong.EditPlugin(id, map[string]any{"tags": append([]any{fmt.Sprintf("k8s-uid:%d", turn%2)}, tags...)})
	}})
	written = 0
	w.pass(time.Hour)
	if turn < 40 {
		t.Fatalf("%d probes: the test proves nothing", turn)
	}
	if written > turn/2 || written > 36 { // three in ten minutes of the version, and of what changed
		t.Errorf("%d probes, and %d writes of a status", turn, written)
	}
	if w.writes(0) != 1 {
		t.Errorf("%d writes to Kong, want that of the creation", w.writes(0))
	}
}

// The network loses an answer now and then. That is no news.
func TestOneFailedProbeIsNoNews(t *testing.T) {
	w := newWorld(t, worldOptions{objects: []client.Object{boundTo("limit", "orders")}})
	w.pass(5 * time.Minute)
	w.emitted()
	before := w.getGateway().ResourceVersion + " " + w.versions("limit")
	for range 3 {
		w.kong.Inject(kongtest.Fault{Method: http.MethodGet, Template: "/", Times: 1, Kind: kongtest.Answer, Status: http.StatusServiceUnavailable, NotKong: true})
		w.pass(15 * time.Minute)
	}
	if after := w.getGateway().ResourceVersion + " " + w.versions("limit"); after != before {
		t.Errorf("a status was written: %s, then %s", before, after)
	}
	if events := w.emitted(); len(events) > 0 {
		t.Errorf("%q", events)
	}
}
