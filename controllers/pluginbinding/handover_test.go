package pluginbinding_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// newHandOver has a plugin of the ingress controller on the route shop that a binding took over under its
// ID. The annotation of the Ingress still names the KongPlugin.
func newHandOver(t *testing.T) (*world, *ingress, *v1alpha1.PluginBinding, string) {
	t.Helper()
	w, objects := newIngressWorld(t)
	id := w.kong.Seed("plugins", ofIngressController())["id"].(string)
	binding := w.binding("limit", onRoute("shop"), func(b *v1alpha1.PluginBinding) { b.Spec.AdoptionPolicy = v1alpha1.AdoptOverride })
	w.settle(3, binding)
	if string(binding.Status.PluginID) != id {
		t.Fatalf("recorded %s, want %s", binding.Status.PluginID, id)
	}
	return w, objects, binding, id
}

// ofIngressController is the plugin as the ingress controller writes it.
func ofIngressController() map[string]any {
	return map[string]any{
		"name": "rate-limiting", "route": map[string]any{"name": "shop"}, "instance_name": nil,
		"config": map[string]any{"minute": 5, "policy": "local"}, "tags": kicTags("KongPlugin", "limit"),
	}
}

// takeBackFor sets the annotation.
func (w *world) takeBackFor(binding *v1alpha1.PluginBinding, left time.Duration) {
	w.t.Helper()
	w.reload(binding)
	binding.Annotations = map[string]string{v1alpha1.TakeBackUntilAnnotation: w.clock.Now().Add(left).Format(time.RFC3339)}
	w.must(w.kube.Update(w.t.Context(), binding))
}

// isOurs reports whether Kong's plugin with that ID carries the ownership tags of the operator.
func (w *world) isOurs(id string) bool {
	tags, _ := w.kong.Plugin(id)["tags"].([]any)
	return slices.ContainsFunc(tags, func(tag any) bool { return strings.HasPrefix(tag.(string), "managed-by:") })
}

// What the ingress controller writes over while it hands the plugin over is written again. At any other
// time it is the ingress controller's.
func TestAPluginIsTakenBackWhileItIsHandedOver(t *testing.T) {
	for name, c := range map[string]struct {
		left   time.Duration
		change map[string]any
		taken  bool
	}{
		"a minute is left":          {left: time.Minute, taken: true},
		"ten minutes are left":      {left: 10 * time.Minute, taken: true},
		"the time is over":          {left: -time.Second},
		"the time is too far ahead": {left: 11 * time.Minute},
		"nobody hands it over":      {},
		"another tool wrote it":     {left: time.Minute, change: map[string]any{"tags": []any{"managed-by:terraform"}}},
		"another binding wrote it":  {left: time.Minute, change: map[string]any{"tags": []any{"managed-by:plugin-binding-operator", "k8s-cluster:c2", "k8s-namespace:n", "k8s-name:x"}}},
		"it is in another place":    {left: time.Minute, change: map[string]any{"route": nil}},
	} {
		t.Run(name, func(t *testing.T) {
			w, objects, binding, id := newHandOver(t)
			if c.left != 0 {
				w.takeBackFor(binding, c.left)
			}
			w.start()
			w.reconcilers.Bindings.Ingress = objects
			row := ofIngressController()
			maps.Copy(row, c.change)
			w.kong.Edit("plugins", id, row)
			created := w.kong.Plugin(id)["created_at"]
			mark := w.kong.Journal().Mark()
			if _, err := w.reconcile(binding); err != nil {
				t.Fatal(err)
			}
			writes := w.kong.Journal().Since(mark).Writes()
			if taken := len(writes) == 1 && w.isOurs(id) && w.isReady(w.reload(binding)); taken != c.taken || !taken && len(writes) > 0 {
				t.Errorf("taken back: %v, want %v, %d writes: %s", taken, c.taken, len(writes), w.ready(binding).Message)
			}
			if w.kong.Plugin(id)["created_at"] != created {
				t.Error("created_at changed")
			}
			if !c.taken {
				w.expectReason(binding, v1alpha1.ReasonConflict, "")
			}
		})
	}
}

// What the ingress controller deletes comes back under its ID, although the annotation may still name the
// KongPlugin.
func TestAPluginThatVanishesDuringAHandOverComesBack(t *testing.T) {
	for name, c := range map[string]struct {
		left   time.Duration
		source v1alpha1.PluginIDSource
		back   bool
	}{
		"it is handed over":            {time.Minute, v1alpha1.PluginIDAdopted, true},
		"nobody hands it over":         {0, v1alpha1.PluginIDAdopted, false},
		"the operator had created it":  {time.Minute, v1alpha1.PluginIDCreated, false},
		"its ID was found in its tags": {time.Minute, v1alpha1.PluginIDRecovered, true},
	} {
		t.Run(name, func(t *testing.T) {
			w, _, binding, id := newHandOver(t)
			if c.left != 0 {
				w.takeBackFor(binding, c.left)
			}
			w.reload(binding)
			binding.Status.PluginIDSource = c.source
			w.must(w.kube.Status().Update(t.Context(), binding))
			w.kong.Delete("plugins", id)
			w.reconcilers.Bindings.Hint(types.NamespacedName{Namespace: namespace, Name: binding.Name})
			if _, err := w.reconcile(binding); err != nil {
				t.Fatal(err)
			}
			if back := w.isOurs(id); back != c.back {
				t.Errorf("came back: %v, want %v: %s", back, c.back, w.ready(binding).Message)
			}
			if !c.back {
				w.expectReason(binding, v1alpha1.ReasonClaimedByKongPlugin, "")
			}
		})
	}
}

// During a hand-over the operator looks every second, and afterwards as it does otherwise.
func TestAHandOverMakesTheOperatorLook(t *testing.T) {
	w, _, binding, id := newHandOver(t)
	w.takeBackFor(binding, time.Minute)
	began, taken := w.clock.Now(), 0
	for looks := range 1000 {
		if w.clock.Since(began) < 50*time.Second && looks%5 == 4 {
			w.kong.Edit("plugins", id, ofIngressController())
			taken++
		}
		result, err := w.reconcile(binding)
		w.must(err)
		if !w.isOurs(id) {
			t.Fatalf("it is not taken back after %v", w.clock.Since(began))
		}
		if w.clock.Since(began) < time.Minute && (result.RequeueAfter <= 0 || result.RequeueAfter > time.Second) {
			t.Fatalf("after %v it looks again in %v", w.clock.Since(began), result.RequeueAfter)
		}
		if result.RequeueAfter == 0 {
			break
		}
		w.clock.Step(result.RequeueAfter)
	}
	if elapsed := w.clock.Since(began); elapsed > 2*time.Minute || taken < 5 {
		t.Errorf("it is quiet after %v, and took the plugin back %d times", elapsed, taken)
	}
}

// A hand-over allows a binding of another namespace nothing that the gateway does not.
func TestAHandOverObeysTheGateway(t *testing.T) {
	w, _ := newIngressWorld(t)
	w.must(w.kube.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "tenant"}}))
	gateway := &v1alpha1.KongGateway{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "kong"}}
	allow := func(adoption v1alpha1.AdoptionLimit) {
		w.must(w.kube.Get(t.Context(), types.NamespacedName{Namespace: namespace, Name: "kong"}, gateway))
		gateway.Spec.AllowedBindings = &v1alpha1.AllowedBindings{Namespaces: &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromAll}, Adoption: adoption}
		w.must(w.kube.Update(t.Context(), gateway))
	}
	allow(v1alpha1.AdoptionAny)
	id := w.kong.Seed("plugins", ofIngressController())["id"].(string)
	binding := w.binding("limit", onRoute("shop"), func(b *v1alpha1.PluginBinding) {
		b.Namespace, b.Spec.GatewayRef.Namespace, b.Spec.AdoptionPolicy = "tenant", namespace, v1alpha1.AdoptOverride
	})
	w.settle(3, binding)
	w.takeBackFor(binding, time.Minute)
	for _, adoption := range []v1alpha1.AdoptionLimit{v1alpha1.AdoptionUnowned, v1alpha1.AdoptionAny} {
		allow(adoption)
		w.kong.Edit("plugins", id, ofIngressController())
		if _, err := w.reconcile(binding); err != nil {
			t.Fatal(err)
		}
		if ours := w.isOurs(id); ours != (adoption == v1alpha1.AdoptionAny) {
			t.Errorf("with adoption %s it is taken back: %v: %s", adoption, ours, w.ready(binding).Message)
		}
	}
}
