package konggateway

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
	"github.com/pluginbinding/kong-plugin-operator/internal/retained"
)

// ownedPlugin is a plugin that carries the ownership tags of a binding of this cluster. It is an
// orphan when that binding does not exist, or has recorded another plugin.
type ownedPlugin struct {
	id        string
	owner     types.NamespacedName
	createdAt int64 // in seconds since 1970
	// recorded is the plugin that the orphan's binding has recorded instead, if it exists.
	recorded string
	// movedTo is the gateway of that binding when it leads to another Kong. The plugin is from when
	// it led to this one.
	movedTo string
}

// hasRecordedAnother reports whether a binding has recorded another plugin than this one. An ID is
// recorded once, so this plugin is a second one for good. It stays from a binding of that name
// whose finalizer somebody removed by force.
func hasRecordedAnother(binding *v1alpha1.PluginBinding, id string) bool {
	recorded := string(binding.Status.PluginID)
	return recorded != "" && recorded != id
}

// namespacesOf are the namespaces of the bindings that own the plugins, by ID.
func namespacesOf(owned []ownedPlugin) map[string]string {
	namespaces := make(map[string]string, len(owned))
	for _, p := range owned {
		namespaces[p.id] = p.owner.Namespace
	}
	return namespaces
}

// orphanGracePeriod is how long before its removal an earlier resync has to have seen an orphan: a
// binding that is being restored may be on its way.
const orphanGracePeriod = time.Minute

// findOrphans returns the plugins that belong to no binding, sorted by ID. Only plugins of watched
// namespaces can be judged.
func (r *Reconciler) findOrphans(ctx context.Context, s *state, owned []ownedPlugin) ([]ownedPlugin, error) {
	var orphans []ownedPlugin
	binding := &v1alpha1.PluginBinding{} // one for all: 50,000 of them would be 35 MB
	for _, p := range owned {
		if p.owner.Name == "" || r.Namespaces.Len() > 0 && !r.Namespaces.Has(p.owner.Namespace) {
			continue
		}
		*binding = v1alpha1.PluginBinding{}
		err := r.Client.Get(ctx, p.owner, binding, client.UnsafeDisableDeepCopy)
		if apierrors.IsNotFound(err) && r.hasSelector() {
			// It may be another operator's, whose bindings are not in the cache.
			err = r.APIReader.Get(ctx, p.owner, binding)
		}
		if client.IgnoreNotFound(err) != nil {
			return nil, err
		}
		if err != nil || hasRecordedAnother(binding, p.id) {
			p.recorded = string(binding.Status.PluginID)
			orphans = append(orphans, p)
		} else if p.movedTo = r.movedTo(ctx, s, binding); p.movedTo != "" {
			orphans = append(orphans, p)
		}
	}
	if len(orphans) == 0 {
		return nil, nil
	}
	lists, err := r.retainedPlugins(ctx, s)
	if err != nil {
		return nil, err
	}
	orphans = slices.DeleteFunc(orphans, func(p ownedPlugin) bool {
		return slices.ContainsFunc(lists, func(list retainedList) bool { return list.Covers(list.trusted, p.owner.Namespace, p.id) })
	})
	slices.SortFunc(orphans, func(a, b ownedPlugin) int { return cmp.Compare(a.id, b.id) })
	return orphans, nil
}

func (r *Reconciler) hasSelector() bool { return r.Selector != nil && !r.Selector.Empty() }

// retainedList is the list of a gateway. It is trusted if the gateway is in the namespace of this one, or
// leads to the same Kong and was not refused there.
type retainedList struct {
	*retained.Plugins

	trusted bool
}

// retainedPlugins are the lists of all gateways: several may lead to one Kong, and another operator may
// serve some of them.
func (r *Reconciler) retainedPlugins(ctx context.Context, s *state) ([]retainedList, error) {
	var lists []retainedList
	reader := client.Reader(r.Client)
	if r.hasSelector() {
		reader = r.APIReader
	}
	namespaces := sets.List(r.Namespaces)
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	for _, namespace := range namespaces {
		gateways := &v1alpha1.KongGatewayList{}
		if err := reader.List(ctx, gateways, client.InNamespace(namespace)); err != nil {
			return nil, err
		}
		for i := range gateways.Items {
			gateway := &gateways.Items[i]
			trusted := gateway.Namespace == s.key.Namespace ||
				reference.SameKong(gateway, s.gateway) && !meta.IsStatusConditionFalse(gateway.Status.Conditions, v1alpha1.ConditionAccepted)
			lists = append(lists, retainedList{retained.Of(gateway), trusted})
		}
	}
	return lists, nil
}

// movedTo names the gateway of a binding if it leads to another Kong than this one; empty if it
// does not, or is not known.
func (r *Reconciler) movedTo(ctx context.Context, s *state, binding *v1alpha1.PluginBinding) string {
	key := reference.GatewayOf(binding)
	if key == s.key {
		return ""
	}
	gateway := &v1alpha1.KongGateway{}
	if r.Client.Get(ctx, key, gateway) != nil || reference.SameKong(gateway, s.gateway) {
		return ""
	}
	return key.String()
}

// orphansFirstSeen carries on when each orphan was first seen.
func (r *Reconciler) orphansFirstSeen(s *state) map[string]time.Time {
	first := make(map[string]time.Time, len(s.resync.orphans))
	for _, orphan := range s.resync.orphans {
		first[orphan.id] = r.Clock.Now()
		if earlier, ok := s.last.orphanFirstSeen[orphan.id]; ok {
			first[orphan.id] = earlier
		}
	}
	return first
}

// pruneRetained removes plugins from the gateway's retained ones that a binding has recorded again, and
// moves those of its annotation to the status. A binding that is being deleted may be about to retain its
// plugin. A plugin that a resync does not show stays listed: adminURL may point to another Kong for a while.
func (r *Reconciler) pruneRetained(ctx context.Context, s *state) error {
	if s.resync.status == nil {
		return nil
	}
	plugins := retained.Of(s.gateway)
	for i := range s.bindings {
		if s.bindings[i].DeletionTimestamp.IsZero() {
			plugins.Remove(string(s.bindings[i].Status.PluginID))
		}
	}
	plugins.Assign(s.resync.owners)
	base := s.gateway.DeepCopy()
	s.gateway.Status.RetainedPlugins = plugins.Status()
	if !equality.Semantic.DeepEqual(base.Status.RetainedPlugins, s.gateway.Status.RetainedPlugins) {
		if err := r.Client.Status().Patch(ctx, s.gateway, optimistically(base)); err != nil {
			return err
		}
		base = s.gateway.DeepCopy()
	}
	plugins.SetAnnotation(s.gateway)
	if s.gateway.Annotations[v1alpha1.RetainedPluginsAnnotation] == base.Annotations[v1alpha1.RetainedPluginsAnnotation] {
		return nil
	}
	return r.Client.Patch(ctx, s.gateway, optimistically(base))
}

// maxNamedOrphans is how many orphans an event names.
const maxNamedOrphans = 5

func (res *resync) orphansMessage() string {
	var names []string
	for _, orphan := range res.orphans[:min(len(res.orphans), maxNamedOrphans)] {
		name := fmt.Sprintf("%s of %s", orphan.id, orphan.owner)
		if orphan.recorded != "" {
			name += ", which has recorded " + orphan.recorded
		}
		if orphan.movedTo != "" {
			name += ", which uses KongGateway " + orphan.movedTo + " now; delete the plugin here if nobody needs it"
		}
		names = append(names, name)
	}
	if len(res.orphans) > maxNamedOrphans {
		names = append(names, "...")
	}
	return fmt.Sprintf("Kong holds %d plugins with this cluster's ownership tags that belong to no PluginBinding: %s",
		len(res.orphans), strings.Join(names, "; "))
}
