package pluginbinding_test

import (
	"net/http"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

const (
	invalidBody    = `{"message":"schema violation (config.minute: is odd)","fields":{"config":{"minute":"is odd"}},"name":"schema violation","code":2}`
	unexpectedBody = `{"message":"An unexpected error occurred"}`
)

// What Kong refused is sent again after growing delays, or when something changed. The condition
// stays.
func TestRefusedOnceIsNotSentAgain(t *testing.T) {
	w := newWorld(t)
	w.refuse(http.MethodPost, "/plugins", http.StatusBadRequest, invalidBody)
	binding := w.binding("a", onRoute("s1-a"))
	posts := func() int { return w.countSince(0, http.MethodPost) }
	step := func(d time.Duration, want int, why string) {
		t.Helper()
		w.clock.Step(d)
		w.inTurn(3, binding)
		if posts() != want {
			t.Errorf("%s: %d POSTs, want %d", why, posts(), want)
		}
		w.expectReason(binding, v1alpha1.ReasonRejected, "is odd")
	}
	step(0, 1, "the first")
	step(50*time.Second, 1, "within a minute")
	step(11*time.Second, 2, "after a minute")
	step(61*time.Second, 2, "a minute later, since the delay grows")
	step(60*time.Second, 3, "after two minutes")
	w.change(binding, func(b *v1alpha1.PluginBinding) { b.Spec.Config.Raw = []byte(`{"minute": 7}`) })
	step(0, 4, "another config")
	w.change(binding, func(b *v1alpha1.PluginBinding) {
		metav1.SetMetaDataAnnotation(&b.ObjectMeta, v1alpha1.ReconcileRequestedAtAnnotation, "now")
	})
	step(0, 5, "somebody asked for it")
	if result, err := w.reconcile(binding); err != nil || result.RequeueAfter <= 0 || result.RequeueAfter > time.Minute {
		t.Errorf("it is tried again after %v, %v", result.RequeueAfter, err)
	}
}

// Kong compares protocols with those of the routes. It gets the plugin again when those changed.
func TestRefusedProtocolsAreSentAgainWhenTheRoutesChange(t *testing.T) {
	for name, scope := range map[string]*v1alpha1.Scope{"route": onRoute("s1-a"), "service": onService("s1")} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			binding := w.binding("a", scope, func(b *v1alpha1.PluginBinding) { b.Spec.Protocols = []v1alpha1.Protocol{"grpc"} })
			w.inTurn(5, binding)
			w.expectReason(binding, v1alpha1.ReasonRejected, "protocols")
			if posts := w.countSince(0, http.MethodPost); posts != 1 {
				t.Errorf("%d POSTs", posts)
			}
			if result, _ := w.reconcile(binding); result.RequeueAfter <= 0 || result.RequeueAfter > time.Minute {
				t.Errorf("it looks at the routes again after %v", result.RequeueAfter)
			}
			w.kong.Edit("routes", w.ids["s1-a"], map[string]any{"protocols": []any{"grpc"}, "strip_path": false})
			w.settle(2, binding)
		})
	}
}

// A problem that this reconcile saw to be over is not kept because Kong then failed.
func TestAProblemThatIsOverIsNotKept(t *testing.T) {
	w := newWorld(t)
	w.refuse(http.MethodPost, "/plugins", http.StatusInternalServerError, unexpectedBody)
	late := w.binding("late", onService("new"))
	blocked := w.binding("blocked", onRoute("s1-a"))
	foreign := w.kong.Seed("plugins", map[string]any{"name": "rate-limiting", "route": map[string]any{"id": w.ids["s1-a"]}, "config": map[string]any{"minute": 1}})
	w.inTurn(2, late, blocked)
	w.expectReason(late, v1alpha1.ReasonScopeNotFound, "new")
	w.expectReason(blocked, v1alpha1.ReasonConflict, foreign["id"].(string))
	w.kong.Seed("services", map[string]any{"name": "new", "url": "http://127.0.0.1:9"})
	w.kong.DeletePlugin(foreign["id"].(string))
	w.inTurn(1, late, blocked)
	w.expectReason(late, v1alpha1.ReasonKongUnavailable, "unexpected")
	w.expectReason(blocked, v1alpha1.ReasonKongUnavailable, "unexpected")
	if blocked.Status.Conflict != nil {
		t.Error("the conflict is over")
	}
}
