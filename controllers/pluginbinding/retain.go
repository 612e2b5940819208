package pluginbinding

import (
	"context"
	"fmt"

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
	plugins := retained.Of(gateway)
	if plugins.Covers(true, s.binding.Namespace, id) {
		return nil
	}
	lost, added := plugins.Add(s.binding.Namespace, id)
	if !added {
		return deletionWaits(s, &stepResult{requeueAfter: slowRetry},
			fmt.Sprintf("KongGateway %s already lists as many retained plugins of this namespace as it can. Remove the IDs of plugins that no longer exist from its status.retainedPlugins, or set managementPolicy to Manage and deletionPolicy to Orphan.",
				s.gatewayKey))
	}
	base := gateway.DeepCopy()
	gateway.Status.RetainedPlugins = plugins.Status()
	if err := r.Client.Status().Patch(ctx, gateway, optimistically(base)); err != nil {
		return kubernetesError(err)
	}
	if lost != "" {
		s.warningf(ctx, "PluginLeft", "the list of retained plugins of KongGateway %s is full; plugin %s, of the namespace with the most of them, is no longer on it", s.gatewayKey, lost)
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
