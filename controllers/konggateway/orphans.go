package controllers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// marked is a plugin that bears the marks of a binding of this cluster. It is an orphan when
// that binding does not exist, or has recorded another plugin.
type marked struct {
	id      string
	owner   types.NamespacedName
	created int64 // in seconds since 1970
	// recorded is the plugin that an orphan's binding has recorded instead, if it exists.
	recorded string
	// elsewhere is the gateway of that binding when it leads to another Kong. The plugin stays
	// from when it led to this one.
	elsewhere string
}

// disowns reports whether a binding has recorded another plugin than this one. An ID is
// recorded once: such a plugin is a second one for good. It stays from a binding of that
// name whose finalizer was taken off by force.
func disowns(binding *v1alpha1.PluginBinding, id string) bool {
	recorded := string(binding.Status.PluginID)
	return recorded != "" && recorded != id
}

// orphanAge is how long before its removal an orphan has to have been seen first, in
// another sweep: a binding that is being restored may be on its way.
const orphanAge = time.Minute

// orphans finds the plugins that are no binding's. Only watched namespaces can be judged.
func (r *KongGatewayReconciler) orphans(ctx context.Context, g *gatewayPass, plugins []marked) ([]marked, error) {
	var found []marked
	for _, p := range plugins {
		if p.owner.Name == "" || r.Namespaces.Len() > 0 && !r.Namespaces.Has(p.owner.Namespace) {
			continue
		}
		binding := &v1alpha1.PluginBinding{}
		err := r.Client.Get(ctx, p.owner, binding, client.UnsafeDisableDeepCopy)
		if apierrors.IsNotFound(err) && r.Selector != nil && !r.Selector.Empty() {
			// It may be another operator's, whose bindings the cache does not have.
			err = r.Live.Get(ctx, p.owner, binding)
		}
		if client.IgnoreNotFound(err) != nil {
			return nil, err
		}
		if err != nil || disowns(binding, p.id) {
			p.recorded = string(binding.Status.PluginID)
			found = append(found, p)
		} else if p.elsewhere = r.elsewhere(ctx, g, binding); p.elsewhere != "" {
			found = append(found, p)
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	left, err := r.left(ctx)
	if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(p marked) bool { return left.Has(p.id) })
	slices.SortFunc(found, func(a, b marked) int { return cmp.Compare(a.id, b.id) })
	return found, nil
}

// left are the plugins that were left on purpose, by whichever gateway: several may lead to
// one Kong, and not all need be this operator's.
func (r *KongGatewayReconciler) left(ctx context.Context) (sets.Set[string], error) {
	left := sets.New[string]()
	reader := client.Reader(r.Client)
	if r.Selector != nil && !r.Selector.Empty() {
		reader = r.Live
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
			left = left.Union(leftPlugins(&gateways.Items[i]))
		}
	}
	return left, nil
}

// elsewhere names the gateway of a binding if that leads to another Kong than this one; empty
// if it does not, or is not known.
func (r *KongGatewayReconciler) elsewhere(ctx context.Context, g *gatewayPass, binding *v1alpha1.PluginBinding) string {
	key := gatewayKeyOf(binding)
	gw := &v1alpha1.KongGateway{}
	if key == g.key || r.Client.Get(ctx, key, gw) != nil || place(gw) == place(g.gateway) {
		return ""
	}
	return key.String()
}

// sightings carries on when each orphan was first seen.
func (r *KongGatewayReconciler) sightings(g *gatewayPass) map[string]time.Time {
	first := make(map[string]time.Time, len(g.orphans))
	for _, o := range g.orphans {
		first[o.id] = r.Clock.Now()
		if earlier, ok := g.lastRound.orphans[o.id]; ok {
			first[o.id] = earlier
		}
	}
	return first
}

// unnote ends the note of plugins that were left on purpose once a binding has recorded them
// again. One that is being deleted may be about to leave its plugin. That a reading does not
// show a plugin ends nothing: adminURL may point to another Kong for a while.
func (r *KongGatewayReconciler) unnote(ctx context.Context, g *gatewayPass) error {
	left := leftPlugins(g.gateway)
	before := left.Len()
	if g.sweep == nil || before == 0 {
		return nil
	}
	for i := range g.bindings {
		if g.bindings[i].DeletionTimestamp.IsZero() {
			left.Delete(string(g.bindings[i].Status.PluginID))
		}
	}
	if left.Len() == before {
		return nil
	}
	return noteLeft(ctx, r.Client, g.gateway, left)
}

// tidy removes orphans that were seen before, after a live look at both sides.
func (r *KongGatewayReconciler) tidy(ctx context.Context, g *gatewayPass) error {
	if !r.RemoveOrphans {
		return nil
	}
	for _, o := range g.orphans {
		if o.created < r.Since.Unix() {
			// In a cluster that is being rebuilt under its old id, its binding may still be restored.
			continue
		}
		first, seen := g.lastRound.orphans[o.id]
		if o.elsewhere != "" || !seen || r.Clock.Since(first) < orphanAge {
			continue
		}
		if err := r.removeOrphan(ctx, g, o); err != nil {
			log.FromContext(ctx).Info("an orphaned plugin was not removed", "plugin", o.id, "error", err.Error())
		}
	}
	return nil
}

// removeOrphan removes one, unless it is its binding's after all or Kong shows it as
// somebody else's by now.
func (r *KongGatewayReconciler) removeOrphan(ctx context.Context, g *gatewayPass, o marked) error {
	binding, why := &v1alpha1.PluginBinding{}, "which does not exist"
	switch err := r.Live.Get(ctx, o.owner, binding); {
	case apierrors.IsNotFound(err):
	case err != nil:
		return err
	case disowns(binding, o.id) && mayWrite(binding):
		why = fmt.Sprintf("which has recorded plugin %s", binding.Status.PluginID)
	default:
		return nil
	}
	have, err := g.kong.PluginByID(ctx, o.id)
	if adminapi.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	self := identity.Binding{Cluster: r.Cluster, Namespace: o.owner.Namespace, Name: o.owner.Name}
	if standing, _ := identity.OwnershipOf(self, have.Tags, have.InstanceName); standing != identity.Owned {
		return nil
	}
	if err := g.kong.Delete(ctx, o.id); err != nil {
		return err
	}
	r.Metrics.wrote(g.key, "delete")
	log.FromContext(ctx).Info("removed an orphaned plugin", "plugin", o.id, "binding", o.owner.String())
	r.Events.Eventf(g.gateway, nil, corev1.EventTypeNormal, "OrphanRemoved", "Sweep",
		"plugin %s of PluginBinding %s, %s, was removed from Kong", o.id, o.owner, why)
	return nil
}

// mayWrite reports whether the binding's author lets the operator write to Kong for it.
func mayWrite(binding *v1alpha1.PluginBinding) bool {
	return binding.Annotations[v1alpha1.PausedAnnotation] != "true" && binding.Spec.ManagementPolicy != v1alpha1.ObservePlugin
}

func (g *gatewayPass) orphanNote() string {
	const most = 5
	var names []string
	for _, o := range g.orphans[:min(len(g.orphans), most)] {
		name := fmt.Sprintf("%s of %s", o.id, o.owner)
		if o.recorded != "" {
			name += ", which has recorded " + o.recorded
		}
		if o.elsewhere != "" {
			name += ", which is on KongGateway " + o.elsewhere + " now; delete it here if nobody wants it"
		}
		names = append(names, name)
	}
	if len(g.orphans) > most {
		names = append(names, "...")
	}
	return fmt.Sprintf("Kong holds %d plugins with this cluster's marks that are no PluginBinding's: %s",
		len(g.orphans), strings.Join(names, "; "))
}
