package pluginbinding_test

import (
	"maps"
	"net/http"
	"testing"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// copyOf creates a plugin like that one, with another ID.
func (w *world) copyOf(row, change map[string]any) string {
	row = maps.Clone(row)
	delete(row, "id")
	maps.Copy(row, change)
	return w.kong.Seed("plugins", row)["id"].(string)
}

// While Kong has no plugin under the recorded ID, the status is not Ready, though the operator has
// just deleted one of its own.
func TestReplacedPluginThatKongRefuses(t *testing.T) {
	w := newWorld(t)
	binding := w.binding("a", onRoute("s1-a"))
	w.settle(2, binding)
	recorded := string(w.reload(binding).Status.PluginID)
	row := w.kong.Plugin(recorded)
	w.kong.DeletePlugin(recorded)
	other := w.copyOf(row, nil)
	w.restartWithSnapshot()
	mend := w.refuse(http.MethodPut, "/plugins/{id}", http.StatusConflict,
		`{"message":"UNIQUE violation","fields":{"name":"rate-limiting"},"name":"unique constraint violation","code":5}`)
	w.inTurn(1, binding)
	if w.kong.Plugin(other) != nil {
		t.Fatal("the other plugin is still there")
	}
	w.expectReason(binding, v1alpha1.ReasonProgramming, "Kong has no plugin "+recorded)
	mend()
	w.settle(2, binding)
	if id := string(binding.Status.PluginID); id != recorded || w.kong.Plugin(recorded) == nil {
		t.Errorf("plugin %s is recorded, expected %s", id, recorded)
	}
}

// Two plugins of the binding are in Kong, and neither has the recorded ID: the operator deletes one,
// and replaces the other one in the next reconcile.
func TestTwoPluginsUnderOtherIDs(t *testing.T) {
	w := newWorld(t)
	binding := w.binding("a", onRoute("s1-a"))
	w.settle(2, binding)
	recorded := string(w.reload(binding).Status.PluginID)
	row := w.kong.Plugin(recorded)
	w.kong.DeletePlugin(recorded)
	w.copyOf(row, map[string]any{"route": map[string]any{"id": w.ids["s2-a"]}})
	w.copyOf(row, map[string]any{"instance_name": nil})
	w.restartWithSnapshot()
	w.inTurn(1, binding)
	w.expectReason(binding, v1alpha1.ReasonProgramming, "Kong has no plugin "+recorded)
	w.settle(2, binding)
	if plugins := w.kong.Plugins(); len(plugins) != 1 || plugins[0]["id"] != recorded {
		t.Errorf("Kong has %v, expected %s alone", plugins, recorded)
	}
}
