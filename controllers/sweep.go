package controllers

import (
	"context"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// survey reads every plugin of this cluster in one list and wakes the bindings whose
// plugin is not there or is not as it was last seen. The list is a hint: it drives no
// write, and a list that broke off says nothing.
func (r *KongGatewayReconciler) survey(ctx context.Context, g *gatewayPass) error {
	if !g.probed || g.verdict.problem() != nil {
		return nil
	}
	start := r.Clock.Now()
	rows, err := g.kong.PluginsByTags(ctx, identity.ClusterTags(r.Cluster))
	if err != nil {
		log.FromContext(ctx).Info("the sweep broke off; nothing is concluded from it", "error", err.Error())
		return nil
	}
	result := &v1alpha1.SweepStatus{
		Plugins:  int32(min(len(rows), 1<<30)), //nolint:gosec // bounded
		Time:     metav1.NewTime(r.Clock.Now()).Rfc3339Copy(),
		Duration: metav1.Duration{Duration: r.Clock.Since(start).Round(time.Millisecond)},
	}
	if g.orphans, err = r.orphans(ctx, rows); err != nil {
		return err
	}
	result.Orphaned = int32(min(len(g.orphans), 1<<30)) //nolint:gosec // bounded
	for _, key := range r.changed(g, rows) {
		result.Drifted++
		r.Connections.wake(ctx, key)
	}
	g.sweep = result
	r.Metrics.swept(g.key, result.Time, result.Orphaned)
	return nil
}

// sameSweep reports whether a sweep found what the one before it found; then its time
// alone is not worth a write.
func sameSweep(a, b *v1alpha1.SweepStatus) bool {
	return a != nil && a.Plugins == b.Plugins && a.Drifted == b.Drifted && a.Orphaned == b.Orphaned
}

// changed names the bindings whose plugin is missing from the rows, or other than it was
// when it was last in force. Bindings that this process has not seen in force are being
// looked at anyway.
func (r *KongGatewayReconciler) changed(g *gatewayPass, rows []plugin.Plugin) []types.NamespacedName {
	byID := make(map[string]uint64, len(rows))
	for i := range rows {
		byID[rows[i].ID] = plugin.Fingerprint(rows[i])
	}
	var keys []types.NamespacedName
	for i := range g.bindings {
		binding := &g.bindings[i]
		last := r.Ledger.Fingerprint(binding.UID)
		if last == 0 || binding.Status.PluginID == "" {
			continue
		}
		if fingerprint, there := byID[string(binding.Status.PluginID)]; !there || fingerprint != last {
			keys = append(keys, client.ObjectKeyFromObject(binding))
		}
	}
	return keys
}

// orphans are the IDs of plugins that bear the marks of a binding of this cluster which
// does not exist. Only watched namespaces can be judged.
func (r *KongGatewayReconciler) orphans(ctx context.Context, rows []plugin.Plugin) ([]string, error) {
	var ids []string
	for i := range rows {
		owner := identity.OwnerOf(rows[i].Tags).Binding
		if owner == nil || owner.Name == "" || r.Namespaces.Len() > 0 && !r.Namespaces.Has(owner.Namespace) {
			continue
		}
		key := types.NamespacedName{Namespace: owner.Namespace, Name: owner.Name}
		err := r.Client.Get(ctx, key, &v1alpha1.PluginBinding{}, client.UnsafeDisableDeepCopy)
		if apierrors.IsNotFound(err) {
			ids = append(ids, rows[i].ID)
			continue
		}
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(ids)
	return ids, nil
}
