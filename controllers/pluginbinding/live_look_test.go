package pluginbinding_test

import (
	"net/http"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// stepDuringLookup moves the clock while the operator waits for Kong's response to a lookup by name.
func (w *world) stepDuringLookup(by time.Duration) {
	w.kong.Inject(kongtest.Fault{
		Method: http.MethodGet, Template: "/plugins/{id}", Times: 1, Kind: kongtest.Delay,
		Before: func(*http.Request) { w.clock.SetTime(w.clock.Now().Add(by)) },
	})
}

// readsDuring counts the reads of bindings during one reconcile, the one from the cache included.
func (w *world) readsDuring(binding *v1alpha1.PluginBinding) (reads int) {
	w.t.Helper()
	w.onGet = func(_, _ string) { reads++ }
	w.inTurn(1, binding)
	w.onGet = nil
	return reads
}

// A creation reads nothing from the API server, because the response to the patch of the finalizer is the
// binding as it is stored.
func TestTheFinalizerIsTheLiveLookOfACreation(t *testing.T) {
	for name, tc := range map[string]struct {
		prepare func(*world, *v1alpha1.PluginBinding)
		reads   int
	}{
		"adds the finalizer": {func(*world, *v1alpha1.PluginBinding) {}, 1},
		"has the finalizer already": {func(w *world, b *v1alpha1.PluginBinding) {
			controllerutil.AddFinalizer(b, v1alpha1.PluginFinalizer)
			w.must(w.kube.Update(w.t.Context(), b))
		}, 2},
		"Kong was slow":             {func(w *world, _ *v1alpha1.PluginBinding) { w.stepDuringLookup(time.Second) }, 2},
		"the clock was turned back": {func(w *world, _ *v1alpha1.PluginBinding) { w.stepDuringLookup(-time.Hour) }, 2},
	} {
		w := newWorld(t)
		binding := w.binding("a", onRoute("s1-a"))
		tc.prepare(w, binding)
		if reads := w.readsDuring(binding); reads != tc.reads || len(w.kong.Plugins()) != 1 || !w.isReady(w.reload(binding)) {
			t.Errorf("%s: %d reads, %d plugins", name, reads, len(w.kong.Plugins()))
		}
	}
}

// What a live read would refuse, the response to the patch refuses too.
func TestAResponseThatIsNotTheCachedBindingEndsTheReconcile(t *testing.T) {
	for name, change := range map[string]func(*v1alpha1.PluginBinding){
		"":                  func(*v1alpha1.PluginBinding) {},
		"UID":               func(b *v1alpha1.PluginBinding) { b.UID = "another" },
		"generation":        func(b *v1alpha1.PluginBinding) { b.Generation++ },
		"deleted":           func(b *v1alpha1.PluginBinding) { b.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} },
		"paused":            func(b *v1alpha1.PluginBinding) { b.Annotations = map[string]string{v1alpha1.PausedAnnotation: "true"} },
		"recorded ID":       func(b *v1alpha1.PluginBinding) { b.Status.PluginID = "0a8b1b52-6a0d-4a4e-9a2b-6f3f5b6f1c11" },
		"without finalizer": func(b *v1alpha1.PluginBinding) { b.Finalizers = nil },
	} {
		w := newWorld(t)
		binding := w.binding("a", onRoute("s1-a"))
		w.onPatched = change
		w.inTurn(1, binding)
		if made := len(w.kong.Plugins()); (made == 1) != (name == "") {
			t.Errorf("%s: %d plugins", name, made)
		}
	}
}

// The response is the API server's alone. What the cache had and the API server no longer has, is gone.
func TestTheResponseReplacesTheCachedBinding(t *testing.T) {
	w := newWorld(t)
	binding := w.binding("a", onRoute("s1-a"), func(b *v1alpha1.PluginBinding) { b.Annotations = map[string]string{"old": "yes"} })
	var sent client.Object
	w.onPatch = func(object client.Object) { sent = object.DeepCopyObject().(client.Object) }
	w.inTurn(1, binding)
	if sent == nil || sent.GetAnnotations() != nil || sent.GetUID() != types.UID("") {
		t.Errorf("the response was decoded over %v", sent)
	}
}
