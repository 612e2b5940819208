package pluginbinding_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// ofGoneBinding makes a plugin of a binding that does not exist, with the settings of a binding of
// the test.
func (w *world) ofGoneBinding(minute int) (id string) {
	w.t.Helper()
	return w.kong.Seed("plugins", map[string]any{
		"name": "rate-limiting", "instance_name": "c1.old.a", "route": map[string]any{"id": w.ids["s1-a"]},
		"config": map[string]any{"minute": minute, "policy": "local"},
		"tags":   []any{"managed-by:plugin-binding-operator", "k8s-cluster:c1", "k8s-kind:PluginBinding", "k8s-namespace:old", "k8s-name:a", "k8s-uid:u"},
	})["id"].(string)
}

// After a restore into a renamed namespace, the owner of the plugin is gone. Its copy takes the
// plugin over, with its ID, when the API server has said so twice.
func TestThePluginOfABindingThatIsGone(t *testing.T) {
	for name, tc := range map[string]struct {
		recorded bool
		policy   v1alpha1.AdoptionPolicy
		minute   int
		reason   string
		text     string
	}{
		"nothing is recorded":                 {minute: 5},
		"the status was restored":             {minute: 5, recorded: true},
		"the status was restored, it differs": {minute: 6, recorded: true},
		"nothing is recorded, it differs":     {minute: 6, reason: v1alpha1.ReasonConflict, text: "does not exist any more. The plugin's settings differ from this binding's in config.minute"},
		"nothing is recorded, it may not":     {minute: 5, policy: v1alpha1.AdoptNever, reason: v1alpha1.ReasonConflict, text: "adoptionPolicy is Never"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id := w.ofGoneBinding(tc.minute)
			copied := w.binding("a", onRoute("s1-a"), func(b *v1alpha1.PluginBinding) { b.Spec.AdoptionPolicy = tc.policy })
			if tc.recorded {
				copied.Status.PluginID = v1alpha1.UUID(id)
				w.must(w.kube.Status().Update(t.Context(), copied))
			}
			w.inTurn(2, copied)
			w.expectReason(copied, v1alpha1.ReasonConflict, "That binding does not exist. If the API server says so again in a minute")
			if result, _ := w.reconcile(copied); result.RequeueAfter > time.Minute {
				t.Errorf("it looks again after %v", result.RequeueAfter)
			}
			w.clock.Step(61 * time.Second)
			if tc.reason != "" {
				w.inTurn(2, copied)
				w.expectReason(copied, tc.reason, tc.text)
				return
			}
			w.settle(3, copied)
			if string(copied.Status.PluginID) != id || len(w.kong.Plugins()) != 1 {
				t.Errorf("it has plugin %s and not %s", copied.Status.PluginID, id)
			}
		})
	}
}

// The owner may be restored between the look and the write.
func TestAnOwnerThatComesBack(t *testing.T) {
	for _, recorded := range []bool{false, true} {
		w := newWorld(t)
		id := w.ofGoneBinding(5)
		copied := w.binding("a", onRoute("s1-a"))
		if recorded {
			copied.Status.PluginID = v1alpha1.UUID(id)
			w.must(w.kube.Status().Update(t.Context(), copied))
		}
		w.inTurn(2, copied)
		w.clock.Step(61 * time.Second)
		looks, mark := 0, w.kong.Journal().Mark()
		w.onGet = func(namespace, _ string) {
			if namespace != "old" {
				return
			}
			if looks++; looks == 3 { // the cache and the API server have answered
				w.onGet = nil
				w.must(w.kube.Create(t.Context(), &v1alpha1.PluginBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "old", Name: "a"}}))
			}
		}
		w.inTurn(3, copied)
		if writes := w.kong.Journal().Since(mark).Writes(); len(writes) > 0 || w.onGet != nil {
			t.Errorf("recorded %v: %d writes over the plugin of a binding that exists", recorded, len(writes))
		}
		w.expectReason(copied, v1alpha1.ReasonConflict, "PluginBinding old/a")
	}
}
