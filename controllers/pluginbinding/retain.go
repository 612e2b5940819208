package pluginbinding

import (
	"context"
	"fmt"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/retained"
)

// retainPlugin is for an observed binding that is being deleted. Its plugin stays with its
// ownership tags, since the operator may not write to it. The gateway keeps the plugin's ID, so
// that no resync removes it as an orphan.
func (r *Reconciler) retainPlugin(ctx context.Context, s *state) *stepResult {
	var result *stepResult
	if s.access, result = r.findGatewayForDelete(ctx, s); result != nil {
		return result
	}
	if s.access.gone {
		return nil // no resync without a gateway
	}
	id, result := r.retainedID(ctx, s)
	if result != nil || id == "" {
		return result
	}
	gateway := s.access.gateway
	ids := retained.PluginIDs(gateway)
	switch {
	case ids.Has(id):
		return nil
	case ids.Len() >= retained.MaxPlugins:
		return deletionWaits(s, &stepResult{requeueAfter: slowRetry},
			fmt.Sprintf("KongGateway %s already lists %d retained plugins, which is the maximum. Remove the IDs of plugins that no longer exist from its annotation %s.",
				s.gatewayKey, retained.MaxPlugins, v1alpha1.RetainedPluginsAnnotation))
	}
	base := gateway.DeepCopy()
	retained.SetPluginIDs(gateway, ids.Insert(id))
	if err := r.Client.Patch(ctx, gateway, optimistically(base)); err != nil {
		return kubernetesError(err)
	}
	s.eventf(ctx, "PluginLeft", "plugin %s stays in Kong with this binding's ownership tags, as managementPolicy Observe says", id)
	return nil
}

// retainedID is the ID of the plugin that stays, empty if there is none. If no ID is recorded, or
// it was lost with the status, the ownership tags identify the plugin.
func (r *Reconciler) retainedID(ctx context.Context, s *state) (string, *stepResult) {
	if id := string(s.binding.Status.PluginID); id != "" {
		return id, nil
	}
	var result *stepResult
	if s.access.connection, result = r.getConnection(s); result != nil {
		return "", deletionWaits(s, result, result.message)
	}
	// A late write, from before managementPolicy was Observe, would make a plugin that no look saw.
	if result = r.waitForInFlightWrites(s); result != nil {
		return "", result
	}
	if result = r.lookupOwned(ctx, s); result != nil {
		return "", result
	}
	switch s.action.Operation {
	case identity.RemoveFinalizer:
		return "", nil
	case identity.Wait:
		return "", requeue()
	default:
		return s.action.ID, nil
	}
}
