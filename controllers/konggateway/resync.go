package konggateway

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/inflight"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// resync is one complete list of what a Kong holds of this cluster.
type resync struct {
	// attempted: a resync was tried, and took that long.
	attempted bool
	took      time.Duration
	// average is the moving average of what the resyncs took.
	average time.Duration
	// failures counts the resyncs in a row that broke off; lastError is why the last one did.
	failures  int
	lastError string
	// unstable: some requests fail anyway, see health.
	unstable bool
	// denied are the kinds of entities that the token may not read.
	denied []adminapi.EntityKind

	// The rest is set by a resync that was complete.
	snapshot *connection.Snapshot
	status   *v1alpha1.ResyncStatus
	orphans  []ownedPlugin
	// owners are the namespaces of the bindings of the plugins, by ID.
	owners map[string]string
	// isReported: the status shows this resync. reports are when it last showed another result.
	isReported bool
	reports    changes
	// changed are the bindings whose plugin or scope is not as it was. released are the bindings for
	// which something else changed that they wait for, or may have: the status does not count them.
	changed, released []types.NamespacedName
	// changedPolicies are the policies whose entities are others than before.
	changedPolicies sets.Set[types.NamespacedName]
}

// resyncFailureThreshold is how many resyncs in a row have to break off before the status reports
// it: the network may break a single one.
const resyncFailureThreshold = 2

// unstableFailureThreshold is the same for a gateway whose status says that some requests fail.
const unstableFailureThreshold = 8

// maxResync bounds all lists and lookups of one resync together: an Admin API can answer each of them
// just before its own deadline.
const maxResync = 5 * time.Minute

// resyncIfDue lists every plugin of this cluster, and looks up every entity that bindings name,
// in as few requests as there are. A list that broke off is dropped completely.
func (r *Reconciler) resyncIfDue(ctx context.Context, s *state) error {
	s.resync = s.lastResync()
	if !s.probe.attempted || !s.probe.resyncDue || s.probe.result.problem() != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, maxResync)
	defer cancel()
	if last, known := r.Connections.Get(s.key); known && last.Client != s.probe.client {
		r.Selections.Forget(s.key) // it may be another Kong
	}
	began := r.InFlight.Now()
	snapshot, owned, err := r.list(ctx, s, began)
	res := &s.resync
	res.attempted, res.took = true, r.Clock.Since(began.At)
	res.average = averageResync(s.last.resyncAverage, res.took, intervalInForce(s.gateway))
	if err != nil {
		log.FromContext(ctx).Info("the resync broke off; the operator concludes nothing from it", "error", err.Error())
		res.failures, res.lastError = res.failures+1, err.Error()
		return nil
	}
	res.snapshot, res.failures, res.lastError = snapshot, 0, ""
	if s.gateway.Annotations[v1alpha1.RetainedPluginsAnnotation] != "" {
		res.owners = namespacesOf(owned)
	}
	if res.orphans, err = r.findOrphans(ctx, s, owned); err != nil {
		return err
	}
	res.changed, res.released = r.changedBindings(s)
	res.status = &v1alpha1.ResyncStatus{
		Time:     metav1.NewTime(r.Clock.Now()).Rfc3339Copy(),
		Duration: metav1.Duration{Duration: res.took.Round(time.Millisecond)},
		Plugins:  count(snapshot.Len()),
		Changed:  count(len(res.changed)),
		Orphaned: count(len(res.orphans)),
	}
	s.reportResync(r.Clock.Now())
	r.Metrics.SetResync(s.key, res.status.Time.Time, len(res.orphans))
	return nil
}

// reportResync decides whether the status shows the resync: if its result is another one. How many
// plugins changed goes to and fro while nodes of two versions take turns, so that alone is shown seldom.
func (s *state) reportResync(now time.Time) {
	res, last := &s.resync, s.gateway.Status.LastResync
	switch {
	case hasSameResult(last, res.status):
	case last == nil || last.Plugins != res.status.Plugins || last.Orphaned != res.status.Orphaned:
		res.isReported = true
	default:
		res.reports, res.isReported = res.reports.add(now)
	}
}

// lastResync is what stays of the resync before.
func (s *state) lastResync() resync {
	return resync{unstable: s.unstable, failures: s.last.failedResyncs, lastError: s.last.lastResyncError, denied: s.last.denied, average: s.last.resyncAverage, reports: s.last.resyncReports}
}

// failureMessage says that the resyncs break off or are incomplete, empty if they are not.
func (res resync) failureMessage() string {
	if res.failures < resyncFailureThreshold || res.unstable && res.failures < unstableFailureThreshold {
		return res.deniedMessage()
	}
	return "The operator cannot list all plugins, so it does not detect changes made directly in Kong: " + res.lastError
}

// deniedMessage says which entities the token may not read, empty if it may read all.
func (res resync) deniedMessage() string {
	if len(res.denied) == 0 {
		return ""
	}
	kinds := make([]string, len(res.denied))
	for i, kind := range res.denied {
		kinds[i] = string(kind) + "s"
	}
	return "Kong does not let the operator read " + strings.Join(kinds, " and ") +
		", so it does not detect that one of them is renamed or created. Give the token in spec.auth.tokenSecretRef the right to read them."
}

func count(n int) int32 {
	return int32(min(n, 1<<30)) //nolint:gosec // bounded
}

// list requests the lists. It also names the binding of every plugin that carries one's ownership
// tags.
func (r *Reconciler) list(ctx context.Context, s *state, began inflight.Time) (*connection.Snapshot, []ownedPlugin, error) {
	snapshot := connection.NewSnapshot(began)
	if err := r.lookupEntities(ctx, s, snapshot); err != nil {
		return nil, nil, err
	}
	// The plugins come last, so that a plugin is never newer than what it applies to.
	known := r.programmedFingerprints(s)
	var owned []ownedPlugin
	err := s.probe.client.VisitByTags(ctx, identity.ClusterTags(r.ClusterID), func(live plugin.Plugin) {
		var owner types.NamespacedName
		if binding := identity.OwnerOf(live.Tags).Binding; binding != nil {
			owner = types.NamespacedName{Namespace: binding.Namespace, Name: binding.Name}
			owned = append(owned, ownedPlugin{id: live.ID, owner: owner, createdAt: live.CreatedAt})
		}
		snapshot.Add(live, owner, known[live.ID])
	})
	if err == nil {
		r.lookupAwaited(ctx, s, snapshot)
	}
	return snapshot, owned, err
}

// lookupEntities looks up the entities that the bindings name and those that the policies select, and
// no others: a Kong may have millions of consumers.
func (r *Reconciler) lookupEntities(ctx context.Context, s *state, snapshot *connection.Snapshot) error {
	wanted := s.wantedEntities()
	selectors := s.selecting.selectors(s.probe.result.info)
	for _, selector := range selectors {
		if wanted[selector.Kind] == nil {
			wanted[selector.Kind] = sets.New[adminapi.EntityRef]()
		}
	}
	selected := r.Selections.Begin(selectors...)
	s.resync.denied = nil
	for _, kind := range slices.Sorted(maps.Keys(wanted)) {
		entities, err := s.probe.client.EntitiesAndTagged(ctx, kind, wanted[kind].UnsortedList(), s.selecting.tagSets(kind),
			func(tags adminapi.TagSet, e adminapi.Entity) {
				selected.Add(connection.Selector{Kind: kind, Tags: tags}, e)
			})
		if adminapi.ReasonForError(err) == adminapi.Denied {
			// The operator's own plugins are in another list. It goes on without these entities.
			s.resync.denied = append(s.resync.denied, kind)
			selected.Drop(kind)
			continue
		}
		if err != nil {
			return err
		}
		if wanted[kind].Len() > 0 {
			snapshot.SetEntities(kind, entities)
		}
	}
	s.resync.changedPolicies = s.selecting.policies(r.Selections.Keep(s.key, selected))
	r.Selections.Prune(s.key, sets.KeySet(s.selecting))
	return nil
}

// wantedEntities are the entities that bindings name.
func (s *state) wantedEntities() map[adminapi.EntityKind]sets.Set[adminapi.EntityRef] {
	wanted := map[adminapi.EntityKind]sets.Set[adminapi.EntityRef]{}
	for i := range s.bindings {
		if s.isRefused(&s.bindings[i]) {
			continue
		}
		for _, entity := range reference.ScopeEntities(s.bindings[i].Spec.Scope) {
			if entity.Kind == adminapi.ConsumerGroup && !s.probe.result.info.Enterprise() {
				continue
			}
			if wanted[entity.Kind] == nil {
				wanted[entity.Kind] = sets.New[adminapi.EntityRef]()
			}
			wanted[entity.Kind].Insert(entity.Ref)
		}
	}
	return wanted
}

// programmedFingerprints are the fingerprints of the plugins as they were last programmed, by ID.
func (r *Reconciler) programmedFingerprints(s *state) map[string]uint64 {
	fingerprints := make(map[string]uint64, len(s.bindings))
	for i := range s.bindings {
		if last, known := r.Programmed.Get(&s.bindings[i]); known {
			fingerprints[string(s.bindings[i].Status.PluginID)] = last.Fingerprint
		}
	}
	return fingerprints
}

// enqueueBindings requests a reconcile of the bindings for which something changed.
func (r *Reconciler) enqueueBindings(ctx context.Context, s *state) error {
	for _, key := range slices.Concat(s.resync.changed, s.resync.released) {
		r.Connections.EnqueueBinding(ctx, key)
	}
	return nil
}

// changedBindings names the bindings whose plugin is missing from the snapshot or differs from
// what was last programmed, and those whose scope means another entity than before. Bindings that
// this process has not seen programmed are being reconciled anyway. released are those that wait for
// something in Kong that changed.
func (r *Reconciler) changedBindings(s *state) (changed, released []types.NamespacedName) {
	var previous *connection.Snapshot
	if last, ok := r.Connections.Get(s.key); ok && last.Client == s.probe.client {
		previous = last.Snapshot
	}
	for i := range s.bindings {
		binding := &s.bindings[i]
		switch key := client.ObjectKeyFromObject(binding); {
		case s.isRefused(binding):
		case waitsForKong(binding):
			if hasAwaitedArrived(s.resync.snapshot, previous, binding) {
				released = append(released, key)
			}
		case r.hasChanged(s.resync.snapshot, binding):
			changed = append(changed, key)
		}
	}
	return changed, released
}

func (r *Reconciler) hasChanged(snapshot *connection.Snapshot, binding *v1alpha1.PluginBinding) bool {
	last, known := r.Programmed.Get(binding)
	// A reconcile that is asked for, or a write since the snapshot began, makes it outdated.
	if !known || binding.Status.PluginID == "" || !snapshot.TrustFor(binding, r.InFlight, r.Programmed, 0).Presence {
		return false
	}
	if snapshot.Fingerprint(string(binding.Status.PluginID)) != last.Fingerprint {
		return true
	}
	if !snapshot.ListsScope(binding.Spec.Scope) {
		return false
	}
	// A renamed entity keeps its plugins, and so does a route that changes. Nothing else tells about it.
	scope, found := snapshot.ResolveScope(binding.Spec.Scope)
	route, known := snapshot.RouteFacts(binding.Spec.Scope)
	return !found || known && route != last.Route || binding.Status.Scope != nil && scope != reference.BoundScope(binding.Status.Scope)
}
