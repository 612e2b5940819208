package pluginbinding_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/retained"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

func pause(b *v1alpha1.PluginBinding) {
	metav1.SetMetaDataAnnotation(&b.ObjectMeta, v1alpha1.PausedAnnotation, "true")
}

func TestPausedByAnyValueThatIsNotFalse(t *testing.T) {
	for value, text := range map[string]string{
		"true": "", "True": "", "1": "", "false": "-", "0": "-", "False": "-",
		"": `value ""`, "yes": `value "yes" is neither true nor false`, strings.Repeat("y", 1000): `yy..." is neither`,
	} {
		w := newWorld(t)
		binding := w.binding("a", onRoute("s1-a"), func(b *v1alpha1.PluginBinding) {
			metav1.SetMetaDataAnnotation(&b.ObjectMeta, v1alpha1.PausedAnnotation, value)
		})
		w.inTurn(2, binding)
		if text == "-" {
			w.expectReason(binding, v1alpha1.ReasonReady, "")
			continue
		}
		w.expectReason(binding, v1alpha1.ReasonPaused, text)
		if text == "" && strings.Contains(w.ready(binding).Message, "neither") {
			t.Errorf("%q is a boolean", value)
		}
	}
}

// The paused annotation counts from the moment it is set: the binding is asked about right before
// each write.
func TestPausedBetweenTheLookAndTheWrite(t *testing.T) {
	for name, prepare := range map[string]func(*world, *v1alpha1.PluginBinding){
		"create": func(w *world, _ *v1alpha1.PluginBinding) { // the patch of the finalizer is too long ago to be the look
			w.stepDuringLookup(2 * time.Second)
		},
		"move": func(w *world, b *v1alpha1.PluginBinding) {
			w.settle(2, b)
			w.change(b, func(b *v1alpha1.PluginBinding) { b.Spec.Scope = onRoute("s2-a") })
		},
		"delete": func(w *world, b *v1alpha1.PluginBinding) {
			w.settle(2, b)
			w.must(w.kube.Delete(w.t.Context(), b))
		},
	} {
		w := newWorld(t)
		binding := w.binding("a", onRoute("s1-a"))
		prepare(w, binding)
		mark, reads := w.kong.Journal().Mark(), 0
		w.onGet = func(_, _ string) {
			if reads++; reads == 2 { // after the one from the cache
				w.onGet = nil
				w.reload(binding)
				pause(binding)
				w.must(w.kube.Update(t.Context(), binding))
			}
		}
		w.inTurn(1, binding)
		if writes := w.kong.Journal().Since(mark).Writes(); len(writes) > 0 || w.onGet != nil {
			t.Errorf("%s: %d writes", name, len(writes))
		}
	}
}

// A binding whose first write got no response becomes Observe and is deleted. The plugin may still
// appear, and then it is retained.
func TestObservedWithAWriteInFlightWaitsBeforeItGoes(t *testing.T) {
	w := newWorld(t)
	binding := w.binding("a", onRoute("s1-a"))
	w.kong.Inject(kongtest.Fault{Method: http.MethodPost, Template: "/plugins", Kind: kongtest.CommitLate, Status: 500})
	w.inTurn(1, binding)
	w.change(binding, func(b *v1alpha1.PluginBinding) { b.Spec.ManagementPolicy = v1alpha1.ObservePlugin })
	w.must(w.kube.Delete(t.Context(), binding))
	w.inTurn(2, binding)
	w.expectReason(binding, v1alpha1.ReasonDeleting, "Kong may still apply an earlier write")
	w.kong.ReleaseLate()
	w.clock.Step(time.Minute)
	w.inTurn(2, binding)
	if err := w.kube.Get(t.Context(), client.ObjectKeyFromObject(binding), binding); !apierrors.IsNotFound(err) {
		t.Errorf("it is still there: %v", err)
	}
	gateway := &v1alpha1.KongGateway{}
	w.must(w.kube.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "kong"}, gateway))
	if id := w.kong.Plugins()[0]["id"].(string); !retained.Of(gateway).Covers(true, namespace, id) {
		t.Errorf("plugin %s is not retained: %v", id, gateway.Status.RetainedPlugins)
	}
}
