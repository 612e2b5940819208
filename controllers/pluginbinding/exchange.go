package pluginbinding

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// exchange is what a binding finds out when another binding's plugin has its key or its instance
// name: the bindings that have to move before it can, in the order in which they are found.
type exchange struct {
	r       *Reconciler
	s       *state
	members []member
	// free are the keys for which Kong has no plugin.
	free map[string]bool
}

// member is a binding of an exchange.
type member struct {
	identity.Mover
	binding *v1alpha1.PluginBinding
	// live is its plugin in Kong; the zero Plugin if it has none.
	live plugin.Plugin
	// desired is the scope that it wants.
	desired plugin.Scope
	// aside is the scope to move aside to, and asideKey the plugin that has it.
	aside    plugin.Scope
	asideKey identity.Observation
}

// observeExchange finds out whether the plugin that blocks this one is going to move, and whether
// this one has to move aside so that it can.
func (r *Reconciler) observeExchange(ctx context.Context, s *state) *stepResult {
	f := &s.observed.facts
	blocker, blocked := blockerOf(*f)
	if !blocked {
		return nil
	}
	var err error
	if !reference.IsObserved(s.binding) && blocker.Owner.Binding != nil {
		x := &exchange{r: r, s: s, free: map[string]bool{}}
		f.Turn, err = x.turn(ctx)
		s.observed.members = x.members
	}
	if err == nil && f.Turn == identity.NoTurn && f.ByID.Aside {
		live := s.observed.plugins[f.Recorded]
		f.AsideKey, err = s.observation(s.client().PluginAt(ctx, live.Name, formerScope(live)))
	}
	switch {
	case asKongError(err) != nil:
		return r.handleKongError(s, &s.desired, err)
	case err != nil:
		return kubernetesError(err)
	default:
		return nil
	}
}

// blockerOf returns the plugin that keeps the recorded one from its key or its instance name.
func blockerOf(f identity.Facts) (identity.Observation, bool) {
	switch {
	case f.Recorded == "" || f.ByID.Ownership != identity.Owned || !f.ByID.SamePlugin:
		return identity.Observation{}, false
	case f.ByKey.Ownership.Found() && f.ByKey.ID != f.Recorded:
		return f.ByKey, true
	case !f.ByID.Equal && f.ByID.OtherName && f.ByInstanceName.Ownership.Found() && f.ByInstanceName.ID != f.Recorded:
		return f.ByInstanceName, true
	default:
		return identity.Observation{}, false
	}
}

// turn asks as few questions as decide it. Most conflicts are with a plugin that stays, and cost
// none.
func (x *exchange) turn(ctx context.Context) (identity.Turn, error) {
	if err := x.findMembers(ctx); err != nil {
		return identity.NoTurn, err
	}
	x.setCover(identity.CoverAll)
	if x.findCycle() == identity.NoTurn {
		return identity.NoTurn, nil
	}
	if err := x.addContestants(ctx); err != nil {
		return identity.NoTurn, err
	}
	x.setCover(identity.CoverNone)
	if turn := x.findCycle(); turn != identity.NoTurn {
		return turn, nil
	}
	if err := x.lookupAside(ctx); err != nil {
		return identity.NoTurn, err
	}
	turn := x.findCycle()
	if turn != identity.TurnAside {
		return turn, nil
	}
	if !x.everyoneWaits() {
		return identity.TurnWait, nil
	}
	x.s.observed.asideScope, x.s.observed.facts.AsideKey = x.members[0].aside, x.members[0].asideKey
	return turn, nil
}

func (x *exchange) findCycle() identity.Turn {
	movers := make([]identity.Mover, len(x.members))
	for i := range x.members {
		movers[i] = x.members[i].Mover
	}
	return identity.FindCycle(x.s.identity, movers)
}

// setCover supposes that every plugin could protect that much aside.
func (x *exchange) setCover(cover identity.Cover) {
	for i := range x.members {
		x.members[i].Aside = cover
	}
}

// everyoneWaits reports whether every binding that has to move said so in its status: its gateway
// allows it, its scope exists, and Kong accepts its settings. Before that, no plugin leaves its
// place for the others.
func (x *exchange) everyoneWaits() bool {
	return !slices.ContainsFunc(x.members, func(m member) bool { return m.moves() && !waitsForMove(m.binding) })
}

// moves reports whether the binding's plugin is to move.
func (m *member) moves() bool { return !m.Stays && m.Holds != m.Wants }

// waitsForMove reports whether the binding waits, as its current status says, for a plugin that is
// going to move.
func waitsForMove(binding *v1alpha1.PluginBinding) bool {
	condition := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionProgrammed)
	return condition != nil && condition.Reason == v1alpha1.ReasonProgramming && binding.Status.Conflict != nil &&
		condition.ObservedGeneration == binding.Generation
}

// findMembers walks from this binding to the plugins that have what it wants, to their bindings, and
// on to what those want.
func (x *exchange) findMembers(ctx context.Context) error {
	live := x.s.observed.plugins[x.s.observed.facts.Recorded]
	x.members = []member{x.member(x.s.binding, live, x.s.desired.plugin.Scope)}
	if x.s.observed.facts.ByKey.Ownership == identity.Absent {
		x.free[x.members[0].Wants.Key] = true
	}
	for i := 0; i < len(x.members) && len(x.members) <= identity.MaxMovers; i++ {
		if !x.members[i].moves() {
			continue
		}
		if err := x.follow(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// member is a binding with its plugin in Kong and the scope that it wants.
func (x *exchange) member(binding *v1alpha1.PluginBinding, live plugin.Plugin, desired plugin.Scope) member {
	self := identity.Binding{Cluster: x.r.ClusterID, Namespace: binding.Namespace, Name: binding.Name}
	m := member{binding: binding, desired: desired}
	m.Binding = self
	m.Wants = identity.Position{Key: keyOf(string(binding.Spec.Plugin), desired), InstanceName: instanceNameOf(binding, self)}
	if live.ID != "" {
		m.setLive(live)
	}
	return m
}

// keyOf is Kong's unique key of a plugin.
func keyOf(name string, scope plugin.Scope) string {
	return name + "|" + scope.ServiceID + "|" + scope.RouteID + "|" + scope.ConsumerID + "|" + scope.ConsumerGroupID
}

// follow adds the holders of what a member wants. A plugin that is no binding's does not move, and
// neither does who waits for it.
func (x *exchange) follow(ctx context.Context, i int) error {
	m := x.members[i]
	if m.Wants.Key != m.Holds.Key && !x.free[m.Wants.Key] {
		err := x.followHolder(ctx, i, func(p plugin.Plugin) bool { return keyOf(p.Name, p.Scope) == m.Wants.Key }, func() (plugin.Plugin, error) {
			return x.s.client().PluginAt(ctx, string(m.binding.Spec.Plugin), m.desired)
		})
		if adminapi.IsNotFound(err) {
			x.free[m.Wants.Key], err = true, nil
		}
		if err != nil {
			return err
		}
	}
	if m.Wants.InstanceName == m.Holds.InstanceName {
		return nil
	}
	err := x.followHolder(ctx, i, func(p plugin.Plugin) bool { return p.InstanceName == m.Wants.InstanceName }, func() (plugin.Plugin, error) {
		return x.s.client().PluginByInstanceName(ctx, m.Wants.InstanceName)
	})
	if adminapi.IsNotFound(err) || adminapi.ReasonForError(err) == adminapi.Invalid {
		return nil
	}
	return err
}

// followHolder adds the binding of the plugin that matches: one that this reconcile has seen, or
// else one that Kong is asked for.
func (x *exchange) followHolder(ctx context.Context, i int, matches func(plugin.Plugin) bool, ask func() (plugin.Plugin, error)) error {
	for _, m := range x.members {
		if m.live.ID != "" && matches(m.live) {
			return nil
		}
	}
	for _, seen := range x.s.observed.plugins {
		if matches(seen) && !slices.ContainsFunc(x.members, func(m member) bool { return m.live.ID == seen.ID }) {
			return x.addHolder(ctx, i, seen)
		}
	}
	live, err := ask()
	switch {
	case adminapi.ReasonForError(err) == adminapi.ReferenceMissing:
		x.members[i].Stays = true
		return nil
	case err != nil:
		return err
	}
	if j := slices.IndexFunc(x.members, func(m member) bool { return m.live.ID == live.ID }); j >= 0 {
		// It moved between two lookups. As a member of its own it would be in its own way.
		x.members[j].setLive(live)
		return nil
	}
	return x.addHolder(ctx, i, live)
}

// setLive sets the member's plugin in Kong, and what that holds.
func (m *member) setLive(live plugin.Plugin) {
	m.live = live
	m.Holds = identity.Position{Key: keyOf(live.Name, live.Scope), InstanceName: live.InstanceName}
	m.Entities = len(reference.EntitiesOf(live.Scope))
}

// addHolder adds the binding of a plugin that is in the way of a member.
func (x *exchange) addHolder(ctx context.Context, i int, live plugin.Plugin) error {
	_, owner := identity.OwnershipOf(x.s.identity, live.Tags, live.InstanceName)
	if owner.Binding == nil || owner.Binding.Cluster != x.r.ClusterID {
		x.members[i].Stays = true
		return nil
	}
	binding := &v1alpha1.PluginBinding{}
	err := x.r.Client.Get(ctx, types.NamespacedName{Namespace: owner.Binding.Namespace, Name: owner.Binding.Name}, binding)
	if apierrors.IsNotFound(err) || err == nil && !x.isPluginOf(ctx, binding, live) {
		x.members[i].Stays = true
		return nil
	}
	if err != nil {
		return err
	}
	scope, err := x.resolve(ctx, binding)
	m := x.member(binding, live, scope)
	switch reason := adminapi.ReasonForError(err); {
	case err == nil:
		m.Stays = staysForNow(binding)
	case adminapi.IsNotFound(err), reason == adminapi.Ambiguous, reason == adminapi.Invalid:
		m.Stays = true
	default:
		return err
	}
	x.members = append(x.members, m)
	return nil
}

// isPluginOf reports whether the binding has recorded the plugin and declares one of that name in
// this Kong.
func (x *exchange) isPluginOf(ctx context.Context, binding *v1alpha1.PluginBinding, live plugin.Plugin) bool {
	return string(binding.Status.PluginID) == live.ID && string(binding.Spec.Plugin) == live.Name && x.r.isSameKong(ctx, x.s, binding)
}

// resolve returns the scope that a binding declares, by the snapshot or else by Kong. A snapshot that
// is outdated makes a plugin move in vain at most.
func (x *exchange) resolve(ctx context.Context, binding *v1alpha1.PluginBinding) (plugin.Scope, error) {
	snapshot := x.s.access.connection.Snapshot
	var scope plugin.Scope
	for _, entity := range reference.ScopeEntities(binding.Spec.Scope) {
		found, known := snapshot.Resolve(entity)
		if !known {
			var err error
			if found, err = x.s.client().Resolve(ctx, entity.Kind, entity.Ref); err != nil {
				return scope, err
			}
		}
		entity.SetID(&scope, found.ID)
	}
	return scope, nil
}

// staysForNow reports whether the binding's plugin does not move, whatever becomes free: the operator
// may not write it, or its status reports a problem with what it declares now.
func staysForNow(binding *v1alpha1.PluginBinding) bool {
	if !reference.AllowsWrites(binding) || !binding.DeletionTimestamp.IsZero() {
		return true
	}
	for _, condition := range binding.Status.Conditions {
		waits := condition.Reason == v1alpha1.ReasonConflict || condition.Reason == v1alpha1.ReasonProgramming
		if condition.Status == metav1.ConditionFalse && condition.ObservedGeneration == binding.Generation && !waits {
			return true
		}
	}
	return false
}

// addContestants adds the bindings of the gateway that want what a member is going to get. Their
// plugins, if they have any, do not matter.
func (x *exchange) addContestants(ctx context.Context) error {
	bindings := &v1alpha1.PluginBindingList{}
	// The items are only read.
	if err := x.r.Client.List(ctx, bindings, client.MatchingFields{reference.IndexGateway: x.s.gatewayKey.String()}, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	for i := range bindings.Items {
		if len(x.members) > identity.MaxMovers {
			return nil
		}
		binding := &bindings.Items[i]
		isMember := slices.ContainsFunc(x.members, func(m member) bool {
			return client.ObjectKeyFromObject(m.binding) == client.ObjectKeyFromObject(binding)
		})
		if isMember || !reference.AllowsWrites(binding) || !binding.DeletionTimestamp.IsZero() {
			continue
		}
		scope, known := x.s.access.connection.Snapshot.ResolveScope(binding.Spec.Scope)
		contestant := x.member(binding, plugin.Plugin{}, scope)
		contestant.Stays = true
		if !known {
			contestant.Wants.Key = x.likelyKey(binding)
		}
		if slices.ContainsFunc(x.members, contestant.contests) {
			x.members = append(x.members, contestant)
		}
	}
	return nil
}

// likelyKey is the key that a binding wants whose scope the snapshot does not show: that of the
// member's plugin for which it waits, or that of a member with the same scope.
func (x *exchange) likelyKey(binding *v1alpha1.PluginBinding) string {
	for _, m := range x.members {
		switch conflict := binding.Status.Conflict; {
		case conflict != nil && m.live.ID == conflict.PluginID:
			return m.Holds.Key
		case binding.Spec.Plugin == m.binding.Spec.Plugin && equality.Semantic.DeepEqual(binding.Spec.Scope, m.binding.Spec.Scope):
			return m.Wants.Key
		}
	}
	return ""
}

// contests reports whether both want the same key or the same instance name.
func (m *member) contests(other member) bool {
	return m.Wants.Key != "" && m.Wants.Key == other.Wants.Key || m.Wants.InstanceName == other.Wants.InstanceName
}

// wakeWaiting requests a reconcile of the bindings that wait for a plugin which has left its place,
// or stays there after all.
func (r *Reconciler) wakeWaiting(ctx context.Context, s *state, pluginID string) {
	waiting := &v1alpha1.PluginBindingList{}
	// The items are only read. Without the list they notice after a delay.
	if r.Client.List(ctx, waiting, client.MatchingFields{reference.IndexConflict: s.gatewayKey.String()}, client.UnsafeDisableDeepCopy) != nil {
		return
	}
	for i := range waiting.Items {
		if conflict := waiting.Items[i].Status.Conflict; conflict != nil && conflict.PluginID == pluginID {
			r.Connections.EnqueueWaiting(ctx, client.ObjectKeyFromObject(&waiting.Items[i]))
		}
	}
}

// wakeMembers requests a reconcile of the others when this binding starts to wait for them, of those
// that do not wait yet while it waits, and of those that waited beside it or for it when it no longer
// does. A binding that only waits wakes nobody who waits, so they do not keep each other awake.
func (r *Reconciler) wakeMembers(ctx context.Context, s *state, before *v1alpha1.PluginBinding) {
	was, is := waitsForMove(before), waitsForMove(s.binding)
	for i := range s.observed.members {
		if other := &s.observed.members[i]; is && i > 0 && other.moves() && !(was && waitsForMove(other.binding)) {
			r.Connections.EnqueueWaiting(ctx, client.ObjectKeyFromObject(other.binding))
		}
	}
	if was && !is {
		r.wakeWaiting(ctx, s, string(s.binding.Status.PluginID))
	}
	if last, next := before.Status.Conflict, s.binding.Status.Conflict; last != nil && (next == nil || next.PluginID != last.PluginID) {
		r.wakeWaiting(ctx, s, last.PluginID)
	}
}
