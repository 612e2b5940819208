package pluginbinding_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// exchangeCase gives bindings new scopes and names.
var exchangeCases = map[string]struct {
	from, to   []*v1alpha1.Scope
	names, new []v1alpha1.Name
}{
	"two routes":                      {from: []*v1alpha1.Scope{onRoute("s1-a"), onRoute("s2-a")}, to: []*v1alpha1.Scope{onRoute("s2-a"), onRoute("s1-a")}},
	"three routes":                    {from: []*v1alpha1.Scope{onRoute("s1-a"), onRoute("s2-a"), onRoute("s3-a")}, to: []*v1alpha1.Scope{onRoute("s2-a"), onRoute("s3-a"), onRoute("s1-a")}},
	"two services":                    {from: []*v1alpha1.Scope{onService("s1"), onService("s2")}, to: []*v1alpha1.Scope{onService("s2"), onService("s1")}},
	"a service and a route":           {from: []*v1alpha1.Scope{onService("s1"), onRoute("s1-a")}, to: []*v1alpha1.Scope{onRoute("s1-a"), onService("s1")}},
	"a service and the whole gateway": {from: []*v1alpha1.Scope{onService("s1"), nil}, to: []*v1alpha1.Scope{nil, onService("s1")}},
	"two instance names": {
		from: []*v1alpha1.Scope{onRoute("s1-a"), onRoute("s2-a")}, to: []*v1alpha1.Scope{onRoute("s1-a"), onRoute("s2-a")},
		names: []v1alpha1.Name{"one", "two"}, new: []v1alpha1.Name{"two", "one"},
	},
	"names and routes": {
		from: []*v1alpha1.Scope{onRoute("s1-a"), onRoute("s2-a")}, to: []*v1alpha1.Scope{onRoute("s2-a"), onRoute("s1-a")},
		names: []v1alpha1.Name{"one", "two"}, new: []v1alpha1.Name{"two", "one"},
	},
}

// Whatever the order in which they are reconciled, the bindings exchange their places: no plugin is
// deleted or made, and Kong answers no 409.
func TestExchange(t *testing.T) {
	for name, tc := range exchangeCases {
		for _, reversed := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t)
				var bindings []*v1alpha1.PluginBinding
				for i, scope := range tc.from {
					bindings = append(bindings, w.binding(string(rune('a'+i)), scope, func(b *v1alpha1.PluginBinding) {
						if tc.names != nil {
							b.Spec.InstanceName = tc.names[i]
						}
					}))
				}
				w.settle(3, bindings...)
				ids := map[string]v1alpha1.UUID{}
				for i, binding := range bindings {
					ids[binding.Name] = binding.Status.PluginID
					w.change(binding, func(b *v1alpha1.PluginBinding) {
						b.Spec.Scope = tc.to[i]
						if tc.new != nil {
							b.Spec.InstanceName = tc.new[i]
						}
					})
				}
				mark := w.kong.Journal().Mark()
				if reversed {
					slices.Reverse(bindings)
				}
				w.settle(8, bindings...)
				for _, binding := range bindings {
					if binding.Status.PluginID != ids[binding.Name] {
						t.Errorf("%s has another plugin", binding.Name)
					}
					for _, tag := range w.kong.Plugin(string(binding.Status.PluginID))["tags"].([]any) {
						if strings.HasPrefix(tag.(string), "k8s-aside:") {
							t.Errorf("%s is still aside", binding.Name)
						}
					}
				}
				w.expectOnlyUpdates(mark)
				t.Log("requests:", w.countSince(mark, ""), "writes:", len(w.kong.Journal().Since(mark).Writes()))
			})
		}
	}
}

// exchanging are two Ready bindings, a on s1-a and b on s2-a, whose specs want each other's route.
func exchanging(w *world, edits ...func(*v1alpha1.PluginBinding)) (a, b *v1alpha1.PluginBinding) {
	w.t.Helper()
	a, b = w.binding("a", onRoute("s1-a")), w.binding("b", onRoute("s2-a"))
	w.settle(3, a, b)
	w.change(a, func(a *v1alpha1.PluginBinding) { a.Spec.Scope = onRoute("s2-a") })
	w.change(b, func(b *v1alpha1.PluginBinding) {
		b.Spec.Scope = onRoute("s1-a")
		for _, edit := range edits {
			edit(b)
		}
	})
	return a, b
}

// inTurn reconciles the bindings in turn, that often.
func (w *world) inTurn(times int, bindings ...*v1alpha1.PluginBinding) {
	w.t.Helper()
	for range times {
		for _, binding := range bindings {
			if _, err := w.reconcile(binding); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// expectReason fails unless Ready has the reason, and its message the text.
func (w *world) expectReason(binding *v1alpha1.PluginBinding, reason, text string) {
	w.t.Helper()
	if ready := w.ready(binding); ready.Reason != reason || !strings.Contains(ready.Message, text) {
		w.t.Errorf("%s is %s: %s; want %s: %s", binding.Name, ready.Reason, ready.Message, reason, text)
	}
}

// TestExchangeThatCannotEnd: no plugin leaves its place for a binding that does not move.
func TestExchangeThatCannotEnd(t *testing.T) {
	type edit = func(*v1alpha1.PluginBinding)
	for name, tc := range map[string]struct {
		other  edit
		third  *v1alpha1.Scope
		reason string
	}{
		"paused":          {other: func(b *v1alpha1.PluginBinding) { b.Annotations = map[string]string{v1alpha1.PausedAnnotation: "true"} }, reason: v1alpha1.ReasonPaused},
		"observed":        {other: func(b *v1alpha1.PluginBinding) { b.Spec.ManagementPolicy = v1alpha1.ObservePlugin }, reason: v1alpha1.ReasonConflict},
		"refused":         {other: func(b *v1alpha1.PluginBinding) { b.Spec.Config.Raw = []byte(`{"minute": -5}`) }, reason: v1alpha1.ReasonRejected},
		"no such route":   {other: func(b *v1alpha1.PluginBinding) { b.Spec.Scope = onRoute("none") }, reason: v1alpha1.ReasonScopeNotFound},
		"no such Secret":  {other: withMissingSecret, reason: v1alpha1.ReasonSecretNotFound},
		"another gateway": {other: func(b *v1alpha1.PluginBinding) { b.Spec.GatewayRef.Name = "none" }, reason: v1alpha1.ReasonGatewayNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a, b := exchanging(w, tc.other)
			mark := w.kong.Journal().Mark()
			w.inTurn(4, a, b)
			w.expectReason(a, v1alpha1.ReasonConflict, string(b.Status.PluginID))
			w.expectReason(b, tc.reason, "")
			if writes := w.kong.Journal().Since(mark).Writes(); len(writes) > 0 {
				t.Errorf("%d writes", len(writes))
			}
		})
	}
}

func withMissingSecret(b *v1alpha1.PluginBinding) {
	b.Spec.Config = nil
	b.Spec.ConfigFrom = &v1alpha1.ConfigSource{SecretKeyRef: v1alpha1.SecretKeyRef{Name: "none", Key: "config"}}
}

// TestExchangeWaitsForEveryone: before each binding said that it can move, none leaves its place.
func TestExchangeWaitsForEveryone(t *testing.T) {
	w := newWorld(t)
	a, b := exchanging(w)
	mark := w.kong.Journal().Mark()
	w.inTurn(3, a)
	if writes := w.kong.Journal().Since(mark).Writes(); len(writes) > 0 {
		t.Errorf("%d writes before the other one was looked at", len(writes))
	}
	w.expectReason(a, v1alpha1.ReasonProgramming, "waiting for plugin "+string(b.Status.PluginID)+" of PluginBinding shop/b")
	if woken := w.woken(); !slices.Contains(woken, "b") {
		t.Errorf("%v are woken", woken)
	}
	w.inTurn(1, b)
	if woken := w.woken(); !slices.Contains(woken, "a") {
		t.Errorf("b says that it waits, and wakes %v", woken)
	}
	w.inTurn(1, a) // moves aside
	if woken := w.woken(); !slices.Contains(woken, "b") {
		t.Errorf("a moved aside, and wakes %v", woken)
	}
	hole := w.kong.Journal().Mark()
	w.inTurn(1, b)
	if woken := w.woken(); !slices.Contains(woken, "a") {
		t.Errorf("b moved, and wakes %v", woken)
	}
	w.inTurn(1, a)
	if !w.isReady(w.reload(a)) || !w.isReady(w.reload(b)) {
		t.Error("not both are Ready")
	}
	t.Log("requests of the last two reconciles:", w.countSince(hole, ""))
}

// TestExchangeIsContested: a third binding could take the place that the first one leaves. When it no
// longer wants it, the others are woken.
func TestExchangeIsContested(t *testing.T) {
	byID := func(w *world) *v1alpha1.Scope {
		return &v1alpha1.Scope{Route: &v1alpha1.EntityRef{ID: v1alpha1.UUID(w.ids["s1-a"])}}
	}
	for name, tc := range map[string]struct {
		scope    func(*world) *v1alpha1.Scope
		snapshot bool
		last     bool
	}{
		"in the snapshot":                  {scope: func(*world) *v1alpha1.Scope { return onRoute("s1-a") }, snapshot: true, last: true},
		"not in the snapshot, same scope":  {scope: func(*world) *v1alpha1.Scope { return onRoute("s1-a") }, last: true},
		"not in the snapshot, in conflict": {scope: byID},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a, b := exchanging(w)
			third := w.binding("third", tc.scope(w))
			if tc.snapshot {
				w.snapshot()
			}
			mark := w.kong.Journal().Mark()
			order := []*v1alpha1.PluginBinding{third, a, b}
			if tc.last {
				order = []*v1alpha1.PluginBinding{a, b, third}
			}
			w.inTurn(4, order...)
			for _, binding := range order {
				w.expectReason(binding, v1alpha1.ReasonConflict, "")
			}
			if writes := w.kong.Journal().Since(mark).Writes(); len(writes) > 0 {
				t.Errorf("%d writes", len(writes))
			}
			w.woken()
			w.change(third, func(b *v1alpha1.PluginBinding) { b.Spec.Scope = onRoute("s3-a") })
			w.inTurn(1, third)
			if woken := w.woken(); !slices.Contains(woken, "b") {
				t.Errorf("the third one goes elsewhere, and wakes %v", woken)
			}
			w.settle(8, b, a, third)
		})
	}
}

// TestExchangeSeenInTheMiddle: a plugin moves between two lookups of another binding, which then finds
// it in both places. It is still one plugin, and the binding still waits for its turn.
func TestExchangeSeenInTheMiddle(t *testing.T) {
	w := newWorld(t)
	a, b, c := inACircle(w)
	w.inTurn(1, a, b, c, a) // a is aside
	mark, moved := w.kong.Journal().Mark(), false
	remove := w.kong.Inject(kongtest.Fault{Method: http.MethodGet, Kind: kongtest.Delay, Before: func(r *http.Request) {
		if !moved && strings.Contains(r.URL.Path, w.ids["s1-a"]) {
			moved = true
			w.kong.EditPlugin(string(c.Status.PluginID), map[string]any{"route": map[string]any{"id": w.ids["s1-a"]}})
		}
	}})
	w.inTurn(1, a)
	remove()
	if !moved {
		t.Fatal("a did not look up the place that c takes: the test proves nothing")
	}
	w.expectReason(a, v1alpha1.ReasonProgramming, "waiting for plugin "+string(b.Status.PluginID))
	w.settle(8, c, b, a)
	w.expectOnlyUpdates(mark)
}

// TestExchangeOfTwoAtTheSameTime: a plugin moves aside while another binding looks whether it could. Its
// place aside is taken, but by itself: the other one does not move aside as well.
func TestExchangeOfTwoAtTheSameTime(t *testing.T) {
	w := newWorld(t)
	a, b, c := inACircle(w)
	w.inTurn(1, a, b, c) // each waits
	mark, moved := w.kong.Journal().Mark(), false
	remove := w.kong.Inject(kongtest.Fault{Method: http.MethodGet, Kind: kongtest.Delay, Before: func(r *http.Request) {
		if !moved && r.URL.Path == "/routes/"+w.ids["s1-a"] {
			moved = true
			id := string(a.Status.PluginID)
			w.kong.EditPlugin(id, map[string]any{
				"service": map[string]any{"id": w.ids["s1"]},
				"tags":    append(slices.Clone(w.kong.Plugin(id)["tags"].([]any)), "k8s-aside:service="),
			})
		}
	}})
	w.inTurn(1, b)
	remove()
	if !moved {
		t.Fatal("b did not look up where a could move aside to: the test proves nothing")
	}
	if n := w.countSince(mark, http.MethodPut); n > 0 {
		t.Error("b moved aside as well")
	}
	w.settle(8, a, b, c)
	w.expectOnlyUpdates(mark)
}

// inACircle are three Ready bindings whose specs want the next one's route.
func inACircle(w *world) (a, b, c *v1alpha1.PluginBinding) {
	w.t.Helper()
	a, b, c = w.binding("a", onRoute("s1-a")), w.binding("b", onRoute("s2-a")), w.binding("c", onRoute("s3-a"))
	w.settle(3, a, b, c)
	for binding, route := range map[*v1alpha1.PluginBinding]string{a: "s2-a", b: "s3-a", c: "s1-a"} {
		w.change(binding, func(b *v1alpha1.PluginBinding) { b.Spec.Scope = onRoute(route) })
	}
	return a, b, c
}

// TestExchangeInVain: Kong refuses the other one after the first has moved aside. That one goes back.
func TestExchangeInVain(t *testing.T) {
	w := newWorld(t)
	a, b := exchanging(w)
	w.inTurn(1, a, b, a) // a is aside
	mend := w.refuse(http.MethodPut, "/plugins/{id}", http.StatusBadRequest, `{"message":"schema violation (config.minute: is odd)","fields":{"config":{"minute":"is odd"}},"name":"schema violation","code":2}`)
	w.woken()
	w.inTurn(1, b)
	w.expectReason(b, v1alpha1.ReasonRejected, "is odd")
	if woken := w.woken(); !slices.Contains(woken, "a") {
		t.Errorf("b cannot move, and wakes %v", woken)
	}
	mend()
	w.inTurn(1, a)
	w.expectReason(a, v1alpha1.ReasonConflict, string(b.Status.PluginID))
	row := w.kong.Plugin(string(a.Status.PluginID))
	if row["service"] != nil || row["route"].(map[string]any)["id"] != w.ids["s1-a"] || strings.Contains(fmt.Sprint(row["tags"]), "k8s-aside") {
		t.Errorf("it is not where it was: %v", row)
	}
	w.woken()
	w.change(b, func(b *v1alpha1.PluginBinding) { b.Spec.Config.Raw = []byte(`{"minute": 7}`) })
	w.inTurn(1, b)
	w.woken() // lost, or too early for the cache
	w.inTurn(1, b)
	if woken := w.woken(); !slices.Contains(woken, "a") {
		t.Errorf("b waits while a does not, and wakes %v", woken)
	}
	w.settle(8, a, b)
}

// TestExchangeInVainWithoutAWayBack: another plugin has the place that the first one left. The one
// that is aside would run instead of it, so it goes, and comes back under its ID.
func TestExchangeInVainWithoutAWayBack(t *testing.T) {
	w := newWorld(t)
	a, b := exchanging(w)
	w.inTurn(1, a, b, a) // a is aside
	foreign := w.kong.Seed("plugins", map[string]any{"name": "rate-limiting", "route": map[string]any{"id": w.ids["s1-a"]}, "config": map[string]any{"minute": 1}})
	w.inTurn(3, b, a)
	id := string(w.reload(a).Status.PluginID)
	if w.kong.Plugin(id) != nil {
		t.Error("the plugin is still aside")
	}
	w.expectReason(a, v1alpha1.ReasonConflict, string(b.Status.PluginID))
	w.kong.DeletePlugin(foreign["id"].(string))
	w.settle(8, b, a)
	if w.kong.Plugin(id) == nil {
		t.Error("it did not come back under its ID")
	}
}

// TestAMoveWakesWhoWaits: the binding that leaves a place wakes the one that is in conflict about it.
func TestAMoveWakesWhoWaits(t *testing.T) {
	w := newWorld(t)
	a, b := w.binding("a", onRoute("s1-a")), w.binding("b", onRoute("s2-a"))
	w.settle(3, a, b)
	w.change(a, func(a *v1alpha1.PluginBinding) { a.Spec.Scope = onRoute("s2-a") })
	w.inTurn(1, a)
	w.expectReason(a, v1alpha1.ReasonConflict, string(b.Status.PluginID))
	w.change(b, func(b *v1alpha1.PluginBinding) { b.Spec.Scope = onRoute("s3-a") })
	w.woken()
	w.inTurn(1, b)
	if woken := w.woken(); !slices.Contains(woken, "a") {
		t.Errorf("b moved, and wakes %v", woken)
	}
	w.settle(1, a)
}
