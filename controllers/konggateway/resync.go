package controllers

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// survey reads every plugin of this cluster, and every entity of the kinds that bindings
// name, in as few lists as there are. A reading that broke off is thrown away whole. What
// it shows is a hint: it drives no write.
func (r *KongGatewayReconciler) survey(ctx context.Context, g *gatewayPass) error {
	if !g.probed || !g.surveyDue || g.verdict.problem() != nil {
		return nil
	}
	began := r.Ledger.Now()
	view, found, err := r.read(ctx, g, began)
	g.surveyed, g.took = true, r.Clock.Since(began.at)
	if err != nil {
		log.FromContext(ctx).Info("the sweep broke off; nothing is concluded from it", "error", err.Error())
		g.brokeOff, g.why = g.brokeOff+1, err.Error()
		return nil
	}
	g.view, g.brokeOff, g.why = view, 0, ""
	if g.orphans, err = r.orphans(ctx, g, found); err != nil {
		return err
	}
	g.stirred = r.changed(g)
	g.sweep = &v1alpha1.ResyncStatus{
		Time:     metav1.NewTime(r.Clock.Now()).Rfc3339Copy(),
		Duration: metav1.Duration{Duration: g.took.Round(time.Millisecond)},
		Plugins:  count(len(view.fingerprints)),
		Changed:  count(len(g.stirred)),
		Orphaned: count(len(g.orphans)),
	}
	r.Metrics.swept(g.key, g.sweep.Time, g.sweep.Orphaned)
	return nil
}

// oftenBroken is how many sweeps in a row have to break off before that is told: one may be
// the network's.
const oftenBroken = 2

// unread says that the sweeps break off, for a person; empty if they do not.
func (g *gatewayPass) unread() string {
	if g.brokeOff < oftenBroken {
		return ""
	}
	return "the plugins cannot be read all together, so that what somebody changes in Kong is not seen: " + g.why
}

func count(n int) int32 {
	return int32(min(n, 1<<30)) //nolint:gosec // bounded
}

// read asks for the lists. It also names the binding of every plugin that bears the marks
// of one.
func (r *KongGatewayReconciler) read(ctx context.Context, g *gatewayPass, began Moment) (*View, []marked, error) {
	view := newView(began)
	for i := range g.bindings {
		for _, part := range scopeParts(g.bindings[i].Spec.Scope) {
			if view.entities[part.kind] != nil || part.kind == adminapi.ConsumerGroup && !g.verdict.info.Enterprise() {
				continue
			}
			ids, err := g.kong.Entities(ctx, part.kind)
			if err != nil {
				return nil, nil, err
			}
			view.entities[part.kind] = ids
		}
	}
	// Last, so that a plugin is never newer than what it applies to.
	known := r.knownFingerprints(g)
	var found []marked
	err := g.kong.VisitByTags(ctx, identity.ClusterTags(r.Cluster), func(row plugin.Plugin) {
		var owner types.NamespacedName
		if binding := identity.OwnerOf(row.Tags).Binding; binding != nil {
			owner = types.NamespacedName{Namespace: binding.Namespace, Name: binding.Name}
			found = append(found, marked{id: row.ID, owner: owner, created: row.CreatedAt})
		}
		view.add(row, owner, known[row.ID])
	})
	return view, found, err
}

// knownFingerprints are those of the plugins as they were when they were last in force.
func (r *KongGatewayReconciler) knownFingerprints(g *gatewayPass) map[string]uint64 {
	known := make(map[string]uint64, len(g.bindings))
	for i := range g.bindings {
		if last := r.Ledger.Fingerprint(&g.bindings[i]); last != 0 {
			known[string(g.bindings[i].Status.PluginID)] = last
		}
	}
	return known
}

// wake makes the bindings look of which the reading shows something new.
func (r *KongGatewayReconciler) wake(ctx context.Context, g *gatewayPass) error {
	for _, key := range g.stirred {
		r.Connections.wake(ctx, key)
	}
	return nil
}

// sameSweep reports whether a sweep found what the one before it found; then its time
// alone is not worth a write.
func sameSweep(a, b *v1alpha1.ResyncStatus) bool {
	return a != nil && a.Plugins == b.Plugins && a.Changed == b.Changed && a.Orphaned == b.Orphaned
}

// changed names the bindings whose plugin is missing from the reading or other than it was
// when it was last in force, and those of which a name means another entity than before.
// Bindings that this process has not seen in force are being looked at anyway.
func (r *KongGatewayReconciler) changed(g *gatewayPass) []types.NamespacedName {
	var keys []types.NamespacedName
	for i := range g.bindings {
		binding := &g.bindings[i]
		if r.stirred(g.view, binding) {
			keys = append(keys, client.ObjectKeyFromObject(binding))
		}
	}
	return keys
}

func (r *KongGatewayReconciler) stirred(view *View, binding *v1alpha1.PluginBinding) bool {
	if condition := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionResolvedRefs); condition != nil && condition.Reason == v1alpha1.ReasonScopeNotFound {
		_, found := view.scope(binding.Spec.Scope)
		return found
	}
	last := r.Ledger.Fingerprint(binding)
	if last == 0 || binding.Status.PluginID == "" || !r.Ledger.MayRely(binding, view.began, binding.Annotations[v1alpha1.ReconcileRequestedAtAnnotation]) {
		return false
	}
	if view.fingerprint(string(binding.Status.PluginID)) != last {
		return true
	}
	if !view.lists(binding.Spec.Scope) {
		return false
	}
	// An entity that was given another name keeps its plugins, and nothing else tells of it.
	scope, found := view.scope(binding.Spec.Scope)
	return !found || binding.Status.Scope != nil && scope != boundScope(binding.Status.Scope)
}

// lists reports whether the entities of all kinds that the scope names were read.
func (v *View) lists(declared *v1alpha1.Scope) bool {
	for _, part := range scopeParts(declared) {
		if v.entities[part.kind] == nil {
			return false
		}
	}
	return true
}

// scope resolves a declared scope in the view; false if it does not show all of it.
func (v *View) scope(declared *v1alpha1.Scope) (plugin.Scope, bool) {
	var scope plugin.Scope
	for _, part := range scopeParts(declared) {
		id := v.resolve(part.kind, part.ref)
		if id == "" {
			return plugin.Scope{}, false
		}
		part.set(&scope, id)
	}
	return scope, true
}

func boundScope(bound *v1alpha1.BoundScope) plugin.Scope {
	return plugin.Scope{
		ServiceID: bound.ServiceID, RouteID: bound.RouteID,
		ConsumerID: bound.ConsumerID, ConsumerGroupID: bound.ConsumerGroupID,
	}
}
