package konggateway

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
	"github.com/pluginbinding/kong-plugin-operator/internal/tenancy"
)

const (
	// maxRemovals is how many orphans one resync removes. A mistake then removes few plugins before
	// somebody sees the events.
	maxRemovals = 50
	// suspiciousOrphans is how many orphans it takes until their share of all plugins counts.
	suspiciousOrphans = 10
)

// looksLikeDataLoss reports whether so many plugins are orphans that bindings were rather lost than
// deleted: an etcd that was set back does not know the newer ones.
func (res *resync) looksLikeDataLoss() bool {
	return len(res.orphans) > suspiciousOrphans && 2*len(res.orphans) > res.snapshot.Len()
}

// removeOrphans deletes orphans that an earlier resync saw, after a live read on both sides.
func (r *Reconciler) removeOrphans(ctx context.Context, s *state) error {
	if !r.RemoveOrphans || s.writesFail || len(s.resync.orphans) == 0 {
		return nil
	}
	if s.resync.looksLikeDataLoss() {
		note := fmt.Sprintf("%d of %d plugins are orphans, so PluginBindings may be lost; the operator removes none of them. Restore the PluginBindings, or delete the plugins in Kong.",
			len(s.resync.orphans), s.resync.snapshot.Len())
		log.FromContext(ctx).Info(note)
		r.Events.Eventf(s.gateway, nil, corev1.EventTypeWarning, "OrphanRemovalStopped", "Resync", "%s", note)
		return nil
	}
	removed := 0
	for _, orphan := range s.resync.orphans {
		if removed == maxRemovals {
			return nil // the next resync continues
		}
		if !r.isRemovable(s, orphan) {
			continue
		}
		if err := r.removeOrphan(ctx, s, orphan); err != nil {
			log.FromContext(ctx).Info("an orphaned plugin was not removed", "plugin", orphan.id, "error", err.Error())
		}
		removed++
	}
	return nil
}

// isRemovable reports whether an orphan is old enough, and known for long enough, to be removed.
func (r *Reconciler) isRemovable(s *state, orphan ownedPlugin) bool {
	first, seen := s.last.orphanFirstSeen[orphan.id]
	switch {
	case orphan.createdAt < r.ClusterCreatedAt.Unix():
		// In a cluster that is being rebuilt under its old ID, its binding may still be restored.
		return false
	case orphan.movedTo != "" || !seen || r.Clock.Since(first) < orphanGracePeriod:
		return false
	default:
		return !isWaitedFor(s.bindings, orphan.id)
	}
}

// isWaitedFor reports whether a binding is in conflict with the plugin. It takes the plugin over, or
// its author decides what becomes of it.
func isWaitedFor(bindings []v1alpha1.PluginBinding, id string) bool {
	for i := range bindings {
		if conflict := bindings[i].Status.Conflict; conflict != nil && conflict.PluginID == id && !isNotAccepted(&bindings[i]) {
			return true
		}
	}
	return false
}

// isNotAccepted reports whether a binding was refused. What it may not have does not wait for it.
func isNotAccepted(binding *v1alpha1.PluginBinding) bool {
	return meta.IsStatusConditionFalse(binding.Status.Conditions, v1alpha1.ConditionAccepted)
}

// removeOrphan deletes one orphan, unless it belongs to its binding after all or Kong shows another
// owner by now.
func (r *Reconciler) removeOrphan(ctx context.Context, s *state, orphan ownedPlugin) error {
	binding, why := &v1alpha1.PluginBinding{}, "which does not exist"
	switch err := r.APIReader.Get(ctx, orphan.owner, binding); {
	case apierrors.IsNotFound(err):
	case err != nil:
		return err
	case hasRecordedAnother(binding, orphan.id) && reference.AllowsWrites(binding):
		why = fmt.Sprintf("which has recorded plugin %s", binding.Status.PluginID)
	default:
		return nil
	}
	live, err := s.probe.client.PluginByID(ctx, orphan.id)
	if adminapi.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	self := identity.Binding{Cluster: r.ClusterID, Namespace: orphan.owner.Namespace, Name: orphan.owner.Name}
	if ownership, _ := identity.OwnershipOf(self, live.Tags, live.InstanceName); ownership != identity.Owned {
		return nil
	}
	if mayDelete, err := r.mayDelete(ctx, s, orphan, live); err != nil {
		return err
	} else if !mayDelete {
		return r.releaseOrphan(ctx, s, self, live)
	}
	if err := s.probe.client.Delete(ctx, orphan.id); err != nil {
		return err
	}
	r.Metrics.CountWrite(s.key, "delete")
	log.FromContext(ctx).Info("removed an orphaned plugin", "plugin", orphan.id, "binding", orphan.owner.String())
	r.Events.Eventf(s.gateway, nil, corev1.EventTypeNormal, "OrphanRemoved", "Resync",
		"the operator deleted plugin %s of PluginBinding %s, %s, from Kong", orphan.id, orphan.owner, why)
	return nil
}

// mayDelete asks whether the binding was allowed to delete the plugin. Otherwise a tenant could
// acquire a plugin, and have it deleted by removing the finalizer of the binding.
func (r *Reconciler) mayDelete(ctx context.Context, s *state, orphan ownedPlugin, live plugin.Plugin) (bool, error) {
	policy, _ := tenancy.NewPolicy(s.gateway) // an invalid selector selects nothing
	request := tenancy.Request{
		Namespace: tenancy.Namespace{Name: orphan.owner.Namespace},
		Plugin:    live.Name,
		Global:    live.Scope == (plugin.Scope{}),
		Operation: tenancy.Delete,
		PluginID:  live.ID,
		Acquired:  identity.IsAcquired(live.Tags),
	}
	namespace := &corev1.Namespace{}
	err := r.Client.Get(ctx, types.NamespacedName{Name: orphan.owner.Namespace}, namespace)
	request.Namespace.Labels = namespace.Labels
	return tenancy.Check(policy, request).Allowed(), client.IgnoreNotFound(err)
}

// releaseOrphan removes the ownership tags of an orphan and keeps the plugin.
func (r *Reconciler) releaseOrphan(ctx context.Context, s *state, owner identity.Binding, live plugin.Plugin) error {
	live.Tags = identity.WithoutOwnershipTags(live.Tags)
	if live.InstanceName == owner.InstanceName() {
		live.InstanceName = ""
	}
	if _, err := s.probe.client.Put(ctx, live); err != nil {
		return err
	}
	r.Metrics.CountWrite(s.key, "orphan")
	r.Events.Eventf(s.gateway, nil, corev1.EventTypeNormal, "OrphanReleased", "Resync",
		"plugin %s existed before PluginBinding %s/%s, which is gone; the operator removed its ownership tags and kept the plugin",
		live.ID, owner.Namespace, owner.Name)
	return nil
}
