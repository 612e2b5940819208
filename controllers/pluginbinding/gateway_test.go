package pluginbinding_test

import (
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

const partialID = "5a0dc2a4-6c5b-4b3f-9d6e-0a1b2c3d4e5f"

// Fields that only newer versions of Kong Enterprise have.
var newerFields = map[string]func(*v1alpha1.PluginBinding){
	"condition": func(b *v1alpha1.PluginBinding) { b.Spec.Condition = `http.method == "GET"` },
	"partials":  func(b *v1alpha1.PluginBinding) { b.Spec.Partials = []v1alpha1.PluginPartial{{ID: partialID}} },
}

func TestFieldsThatThisEditionDoesNotHave(t *testing.T) {
	for field, set := range newerFields {
		t.Run(field, func(t *testing.T) {
			w := newWorld(t)
			mark := w.kong.Journal().Mark()
			binding := w.binding("a", onRoute("s1-a"), set)
			w.inTurn(3, binding)
			w.expectReason(binding, v1alpha1.ReasonUnsupportedField, field+" exists in Kong Gateway Enterprise only")
			if n := w.countSince(mark, ""); n > 0 {
				t.Errorf("%d requests to a Kong that does not have the field", n)
			}
			w.change(binding, func(b *v1alpha1.PluginBinding) { b.Spec.Condition, b.Spec.Partials = "", nil })
			w.settle(3, binding)
		})
	}
}

// Kong Enterprise 3.9 has neither field. It is asked with the write, and not again for a while. An
// upgrade ends it.
func TestFieldsThatThisVersionDoesNotHave(t *testing.T) {
	for field, set := range newerFields {
		t.Run(field, func(t *testing.T) {
			w := newWorld(t, kongtest.WithEnterprise())
			binding := w.binding("a", onRoute("s1-a"), set)
			w.inTurn(5, binding)
			w.expectReason(binding, v1alpha1.ReasonUnsupportedField, "KongGateway shop/kong does not have the field "+field)
			i := slices.IndexFunc(binding.Status.Conditions, func(c metav1.Condition) bool { return c.Type == v1alpha1.ConditionAccepted })
			if i < 0 || binding.Status.Conditions[i].Status != metav1.ConditionFalse {
				t.Errorf("Accepted is not False: %+v", binding.Status.Conditions)
			}
			if posts := w.countSince(0, http.MethodPost); posts != 1 {
				t.Errorf("%d POSTs", posts)
			}
			w.kong.SetVersion("3.14.0.0")
			w.clock.Step(time.Hour)
			w.settle(3, binding)
			if w.kong.Plugin(string(binding.Status.PluginID))[field] == nil {
				t.Errorf("Kong's plugin has no %s", field)
			}
		})
	}
}

// What Kong says about another field, or about one that the binding does not have, stays its refusal.
func TestOtherUnknownFieldsAreRejected(t *testing.T) {
	w := newWorld(t, kongtest.WithEnterprise())
	w.refuse(http.MethodPost, "/plugins", http.StatusBadRequest,
		`{"message":"schema violation (condition: unknown field)","fields":{"condition":"unknown field"},"name":"schema violation","code":2}`)
	binding := w.binding("a", onRoute("s1-a"))
	w.inTurn(2, binding)
	w.expectReason(binding, v1alpha1.ReasonRejected, "condition: unknown field")
	w.change(binding, newerFields["partials"])
	w.inTurn(2, binding)
	w.expectReason(binding, v1alpha1.ReasonRejected, "condition: unknown field")
}

func TestNewerFieldsAreAsDeclared(t *testing.T) {
	w := newWorld(t, kongtest.WithEnterprise(), kongtest.WithVersion("3.14.0.0"))
	binding := w.binding("a", onRoute("s1-a"), slices.Collect(maps.Values(newerFields))...)
	w.settle(3, binding)
	expect := func(reason string, condition, partials any) {
		t.Helper()
		live := w.kong.Plugin(string(binding.Status.PluginID))
		if diff := cmp.Diff([]any{condition, partials}, []any{live["condition"], live["partials"]}); diff != "" {
			t.Errorf("%s: %s", reason, diff)
		}
	}
	declared := []any{map[string]any{"id": partialID, "path": "config.redis"}}
	expect("made", `http.method == "GET"`, declared)
	mark := w.kong.Journal().Mark()
	w.requestReconcile(binding, "1")
	if writes := w.kong.Journal().Since(mark).Writes(); len(writes) > 0 {
		t.Errorf("written again: %v", writes)
	}
	w.kong.EditPlugin(string(binding.Status.PluginID), map[string]any{"condition": "false", "partials": nil})
	w.requestReconcile(binding, "2")
	expect("drift", `http.method == "GET"`, declared)
	if drift := w.reload(binding).Status.LastDrift; drift == nil || !cmp.Equal(drift.Fields, []string{"condition", "partials"}) {
		t.Errorf("the drift is %+v", drift)
	}
	w.change(binding, func(b *v1alpha1.PluginBinding) {
		b.Spec.Condition, b.Spec.Partials, b.Spec.Enabled = "", nil, ptr.To(true)
	})
	w.settle(3, binding)
	expect("no longer declared", nil, nil)
}

// requestReconcile makes the binding look at Kong now.
func (w *world) requestReconcile(binding *v1alpha1.PluginBinding, at string) {
	w.t.Helper()
	w.reload(binding)
	metav1.SetMetaDataAnnotation(&binding.ObjectMeta, v1alpha1.ReconcileRequestedAtAnnotation, at)
	w.must(w.kube.Update(w.t.Context(), binding))
	w.inTurn(2, binding)
}
