package konggateway

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// Bindings that wait for something in Kong make no requests of their own. The resync looks for what
// they wait for, and enqueues them when it changed.

// maxLookups is how many plugins of other owners a resync looks up one by one. It finds more of them
// in one list of all plugins.
const maxLookups = 10

// waitsForScope reports whether a binding waits for an entity of its scope.
func waitsForScope(binding *v1alpha1.PluginBinding) bool {
	condition := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionResolvedRefs)
	return condition != nil && (condition.Reason == v1alpha1.ReasonScopeNotFound || condition.Reason == v1alpha1.ReasonScopeAmbiguous)
}

// awaitedPlugin is the ID of the plugin that a binding waits for: one that it is in conflict with, or
// one to import that does not exist; empty if it waits for none.
func awaitedPlugin(binding *v1alpha1.PluginBinding) string {
	if conflict := binding.Status.Conflict; conflict != nil {
		return conflict.PluginID
	}
	condition := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionProgrammed)
	if condition != nil && condition.Reason == v1alpha1.ReasonPluginNotFound {
		return string(binding.Spec.PluginID)
	}
	return ""
}

// waitsForKong reports whether a binding waits for something in Kong that is not its own.
func waitsForKong(binding *v1alpha1.PluginBinding) bool {
	return waitsForScope(binding) || awaitedPlugin(binding) != ""
}

// hasAwaitedArrived reports whether what a binding waits for is there, or has changed.
func hasAwaitedArrived(snapshot, previous *connection.Snapshot, binding *v1alpha1.PluginBinding) bool {
	if waitsForScope(binding) {
		_, found := snapshot.ResolveScope(binding.Spec.Scope)
		return found
	}
	return hasAwaitedChanged(snapshot, previous, binding, awaitedPlugin(binding))
}

// hasAwaitedChanged reports whether the plugin that a binding waits for is another one than in the
// snapshot before. A binding can have seen a plugin that no snapshot shows, so it is also enqueued
// when the first one does, and as long as the plugin that it is in conflict with does not exist.
func hasAwaitedChanged(snapshot, previous *connection.Snapshot, binding *v1alpha1.PluginBinding, id string) bool {
	now, known := snapshot.Awaited(id)
	if !known {
		return false
	}
	if now == 0 {
		return binding.Status.Conflict != nil
	}
	before, _ := previous.Awaited(id)
	return now != before
}

// lookupAwaited looks up the plugins that bindings wait for and that the snapshot does not show: they
// are another owner's, or do not exist. An error says nothing about the bindings' own plugins, so the
// resync goes on, and these bindings wait for the next one.
func (r *Reconciler) lookupAwaited(ctx context.Context, s *state, snapshot *connection.Snapshot) {
	ids := sets.New[string]()
	for i := range s.bindings {
		if id := awaitedPlugin(&s.bindings[i]); id != "" && !s.isRefused(&s.bindings[i]) {
			if _, known := snapshot.Awaited(id); !known {
				ids.Insert(id)
			}
		}
	}
	if err := lookupPlugins(ctx, s.probe.client, ids, snapshot); err != nil {
		log.FromContext(ctx).Info("the plugins that bindings wait for were not looked up; they wait for the next resync", "error", err.Error())
	}
}

func lookupPlugins(ctx context.Context, kong connection.AdminClient, ids sets.Set[string], snapshot *connection.Snapshot) error {
	if ids.Len() > maxLookups {
		found := make(map[string]uint64, ids.Len())
		if err := kong.VisitAll(ctx, func(live plugin.Plugin) {
			if ids.Has(live.ID) {
				found[live.ID] = plugin.Fingerprint(live)
			}
		}); err != nil {
			return err
		}
		for id := range ids {
			snapshot.SetAwaited(id, found[id])
		}
		return nil
	}
	for id := range ids {
		live, err := kong.PluginByID(ctx, id)
		switch {
		case err == nil:
			snapshot.SetAwaited(id, plugin.Fingerprint(live))
		case adminapi.IsNotFound(err):
			snapshot.SetAwaited(id, 0)
		default:
			return err
		}
	}
	return nil
}
