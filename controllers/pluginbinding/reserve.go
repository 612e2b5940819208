package pluginbinding

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// reserveAdoption prevents two bindings from recording the same unowned plugin; both may have
// observed it before either wrote its ownership tags. A plugin ID in a binding's status belongs
// to that binding, whatever tags the plugin carries now. Between the decision and the moment
// the cache shows that status, the plugin belongs to the first binding that reserved it.
func (r *Reconciler) reserveAdoption(ctx context.Context, s *state) *stepResult {
	self, id := client.ObjectKeyFromObject(s.binding), s.action.ID
	if s.action.Operation != identity.Adopt || reference.IsObserved(s.binding) {
		r.InFlight.Unreserve(self)
		return nil
	}
	recorded, err := r.recordedBy(ctx, s, id)
	if err != nil {
		return kubernetesError(err)
	}
	if recorded != nil {
		owner := identity.Owner{Binding: &identity.Binding{Cluster: r.ClusterID, Namespace: recorded.Namespace, Name: recorded.Name}}
		s.applied.conflict = r.conflictStatus(id, owner)
		result := r.conflictResult(s, id, owner)
		result.requeueAfter = slowRetry // the plugin does not change when the other binding gives it up
		return result
	}
	holder := r.InFlight.Reserve(self, reference.KongInstance(s.access.gateway)+" "+id)
	if holder == self {
		return nil
	}
	return r.checkReservation(ctx, holder)
}

// recordedBy returns another binding of the same Kong whose status records the plugin, nil if
// there is none.
func (r *Reconciler) recordedBy(ctx context.Context, s *state, id string) (*v1alpha1.PluginBinding, error) {
	bindings := &v1alpha1.PluginBindingList{}
	bucket := client.MatchingFields{reference.IndexPluginID: reference.PluginIDBucket(v1alpha1.UUID(id))}
	// The items are only read.
	if err := r.Client.List(ctx, bindings, bucket, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	recorded := reference.WithPluginID(bindings.Items, v1alpha1.UUID(id))
	for i := range recorded {
		other := &recorded[i]
		if client.ObjectKeyFromObject(other) != client.ObjectKeyFromObject(s.binding) && r.isSameKong(ctx, s, other) {
			return other, nil
		}
	}
	return nil, nil
}

// checkReservation drops the reservation of a binding that is gone, has recorded another
// plugin, or does not go on.
func (r *Reconciler) checkReservation(ctx context.Context, holder types.NamespacedName) *stepResult {
	other := &v1alpha1.PluginBinding{}
	err := r.Client.Get(ctx, holder, other)
	if client.IgnoreNotFound(err) != nil {
		return kubernetesError(err)
	}
	if err != nil || other.Status.PluginID != "" || !other.DeletionTimestamp.IsZero() || !reference.AllowsWrites(other) {
		r.InFlight.Unreserve(holder)
	}
	return requeue()
}

// isSameKong reports whether another binding's plugins are in the same Kong as this one's.
func (r *Reconciler) isSameKong(ctx context.Context, s *state, other *v1alpha1.PluginBinding) bool {
	key := reference.GatewayOf(other)
	if key == s.gatewayKey {
		return true
	}
	gateway := &v1alpha1.KongGateway{}
	return r.Client.Get(ctx, key, gateway) == nil && reference.SameKong(gateway, s.access.gateway)
}
