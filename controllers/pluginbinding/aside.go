package pluginbinding

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// maxAsideScopes bounds how many scopes are tried for one plugin that is to move aside.
const maxAsideScopes = 4

// lookupAside finds out, for every member that is to move, where its plugin could move aside to and
// how much it protects there.
func (x *exchange) lookupAside(ctx context.Context) error {
	for i := range x.members {
		m := &x.members[i]
		_, aside := identity.AsideFrom(m.live.Tags)
		if !m.moves() || aside || m.live.ID == "" {
			continue
		}
		m.asideKey = identity.Observation{Ownership: identity.Absent}
		if m.Wants.Key == m.Holds.Key || x.free[m.Wants.Key] { // only the instance name is in use
			m.aside, m.Aside = m.desired, identity.CoverAll
			continue
		}
		if err := x.lookupAsideOf(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// lookupAsideOf takes the first of the candidates that no plugin has.
func (x *exchange) lookupAsideOf(ctx context.Context, m *member) error {
	candidates, cover, err := x.asideScopes(ctx, m.live.Scope)
	if err != nil {
		return err
	}
	for _, scope := range candidates {
		holder, err := x.s.client().PluginAt(ctx, m.live.Name, scope)
		switch {
		case err == nil && holder.ID == m.live.ID:
			m.setLive(holder) // it moved aside between two lookups
			return nil
		case adminapi.IsNotFound(err):
			m.aside, m.Aside = scope, cover
			return nil
		case err != nil && adminapi.ReasonForError(err) != adminapi.ReferenceMissing:
			return err
		}
	}
	return nil
}

// asideScopes are the scopes that a plugin can move aside to, and how much it protects there. Kong
// applies a plugin on a route to exactly the requests to which it applies one on the route and its
// service. Any other scope becomes narrower: the plugin must not run where it did not run.
func (x *exchange) asideScopes(ctx context.Context, scope plugin.Scope) ([]plugin.Scope, identity.Cover, error) {
	switch {
	case scope.RouteID != "" && scope.ServiceID != "":
		scope.ServiceID = ""
		return []plugin.Scope{scope}, identity.CoverAll, nil
	case scope.RouteID != "":
		route, err := x.s.client().Resolve(ctx, adminapi.Route, adminapi.EntityRef{ID: scope.RouteID})
		if err != nil || route.ServiceID == "" {
			return nil, identity.CoverNone, ignoreNotFound(err)
		}
		scope.ServiceID = route.ServiceID
		return []plugin.Scope{scope}, identity.CoverAll, nil
	case scope.ServiceID != "":
		return x.narrowerScopes(ctx, scope, adminapi.Route)
	default:
		return x.narrowerScopes(ctx, scope, adminapi.Service)
	}
}

// narrowerScopes adds one entity to a scope: a route of its service, or a service.
func (x *exchange) narrowerScopes(ctx context.Context, scope plugin.Scope, kind adminapi.EntityKind) ([]plugin.Scope, identity.Cover, error) {
	entities, err := x.s.client().FirstEntities(ctx, kind, scope.ServiceID, maxAsideScopes)
	if err != nil {
		return nil, identity.CoverNone, ignoreNotFound(err)
	}
	cover := identity.CoverPart
	if kind == adminapi.Route && len(entities) == 1 {
		cover = identity.CoverAll
	}
	scopes := make([]plugin.Scope, 0, len(entities))
	for _, entity := range entities {
		narrower := scope
		reference.ScopeEntity{Kind: kind}.SetID(&narrower, entity.ID)
		scopes = append(scopes, narrower)
	}
	return scopes, cover, nil
}

func ignoreNotFound(err error) error {
	if adminapi.IsNotFound(err) || adminapi.ReasonForError(err) == adminapi.ReferenceMissing {
		return nil
	}
	return err
}

// asideTag says in which entity the aside scope differs from the live one, and which ID the live one
// has there: moving aside changes one entity.
func asideTag(live, aside plugin.Scope) string {
	if live.ServiceID != aside.ServiceID {
		return identity.AsideTag("service=" + live.ServiceID)
	}
	return identity.AsideTag("route=" + live.RouteID)
}

// formerScope is the scope that a plugin had before it moved aside.
func formerScope(live plugin.Plugin) plugin.Scope {
	scope := live.Scope
	from, _ := identity.AsideFrom(live.Tags)
	switch entity, id, _ := strings.Cut(from, "="); entity {
	case "service":
		scope.ServiceID = id
	case "route":
		scope.RouteID = id
	}
	return scope
}

// moveAside writes the plugin to where it protects as much as possible while the others move. It
// carries its desired settings, so Kong has accepted them before anyone leaves a place.
func (r *Reconciler) moveAside(ctx context.Context, s *state) (applied, *stepResult) {
	if result := r.recheckLive(ctx, s); result != nil {
		return applied{}, result
	}
	blocker, _ := blockerOf(s.observed.facts)
	live, scope := s.observed.plugins[s.action.ID], s.observed.asideScope
	target := plugin.PreserveServerFields(s.desired.plugin, live, s.desired.schema)
	if scope != target.Scope {
		target.Scope, target.ScopeNames = scope, plugin.ScopeNames{}
		target.Tags = append(slices.Clone(target.Tags), asideTag(live.Scope, scope))
	}
	if live.InstanceName != target.InstanceName {
		target.InstanceName = ""
	}
	_, err := s.client().Put(ctx, target)
	if adminapi.ReasonForError(err) == adminapi.Rejected {
		r.InFlight.MarkWritten(s.binding)
		a, result := r.conflict(s, blocker.ID, blocker.Owner)
		result.message += " The two cannot be exchanged: " + describeKongError(err, s.desired.redactor) + "."
		return a, result
	}
	if a, result := r.handleWriteResult(ctx, s, "put", err); result != nil {
		return a, result
	}
	s.eventf(ctx, "MovedAside", "plugin %s applies to %s until plugin %s of %s has moved",
		s.action.ID, describeScope(scope), blocker.ID, blocker.Owner.Describe(r.ClusterID))
	r.wakeWaiting(ctx, s, s.action.ID)
	a, result := r.waitForMove(s, blocker)
	a.wrote = true
	return a, result
}

// moveBack undoes moveAside, since the other plugin stays.
func (r *Reconciler) moveBack(ctx context.Context, s *state) (applied, *stepResult) {
	if result := r.recheckLive(ctx, s); result != nil {
		return applied{}, result
	}
	target := s.observed.plugins[s.action.ID]
	target.Scope = formerScope(target)
	target.Tags = slices.DeleteFunc(slices.Clone(target.Tags), func(tag string) bool {
		_, aside := identity.AsideFrom([]string{tag})
		return aside
	})
	_, err := s.client().Put(ctx, target)
	if a, result := r.handleWriteResult(ctx, s, "put", err); result != nil {
		return a, result
	}
	s.eventf(ctx, "MovedBack", "plugin %s applies to %s again, because the plugin in its place stays", s.action.ID, describeScope(target.Scope))
	r.wakeWaiting(ctx, s, s.action.ID)
	blocker, _ := blockerOf(s.observed.facts)
	a, result := r.conflict(s, blocker.ID, blocker.Owner)
	a.wrote = true
	return a, result
}

// deleteAside deletes a plugin that moved aside in vain, and whose former place is taken. It would
// run instead of the plugin that has its place. It comes back under its ID.
func (r *Reconciler) deleteAside(ctx context.Context, s *state) (applied, *stepResult) {
	if result := r.recheckLive(ctx, s); result != nil {
		return applied{}, result
	}
	if a, result := r.handleWriteResult(ctx, s, "delete", s.client().Delete(ctx, s.action.ID)); result != nil {
		return a, result
	}
	s.warningf(ctx, "Removed", "the operator deleted plugin %s: another plugin has its place, and plugin %s has the one that it had before. It comes back under its ID when its place is free.",
		s.action.ID, s.observed.facts.AsideKey.ID)
	r.wakeWaiting(ctx, s, s.action.ID)
	return applied{wrote: true}, requeue()
}

// deleteOwned deletes a plugin of this binding: one under another ID than the recorded one, so that
// the recorded ID can come back, or the recorded one that is aside.
func (r *Reconciler) deleteOwned(ctx context.Context, s *state) (applied, *stepResult) {
	if s.action.ID == s.observed.facts.Recorded {
		return r.deleteAside(ctx, s)
	}
	if result := r.recheckLive(ctx, s); result != nil {
		return applied{}, result
	}
	if a, result := r.handleWriteResult(ctx, s, "delete", s.client().Delete(ctx, s.action.ID)); result != nil {
		return a, result
	}
	log.FromContext(ctx).Info("deleted a plugin of this binding whose ID is not the recorded one",
		"plugin", s.action.ID, "recorded", s.observed.facts.Recorded)
	r.wakeWaiting(ctx, s, s.action.ID)
	return applied{wrote: true}, s.missing(s.action.ID, requeue())
}

// waitForTurn waits for a plugin that is going to move. Before it says so for the first time, it asks
// Kong whether it would accept this binding's plugin: others rely on that when they leave a place.
func (r *Reconciler) waitForTurn(ctx context.Context, s *state) (applied, *stepResult) {
	if !waitsForMove(s.binding) {
		if result := r.validate(ctx, s, s.desired.plugin); result != nil {
			return applied{}, result
		}
	}
	blocker, _ := blockerOf(s.observed.facts)
	return r.waitForMove(s, blocker)
}

// waitForMove is the result while another binding's plugin has to move first.
func (r *Reconciler) waitForMove(s *state, blocker identity.Observation) (applied, *stepResult) {
	held := "the scope"
	if blocker.ID != s.observed.facts.ByKey.ID {
		held = "the instance name"
	}
	return applied{conflict: r.conflictStatus(blocker.ID, blocker.Owner)}, &stepResult{
		condition: v1alpha1.ConditionProgrammed,
		reason:    v1alpha1.ReasonProgramming,
		message: fmt.Sprintf("waiting for plugin %s of %s, which still has %s that this binding declares, to move first; the operator then moves plugin %s",
			blocker.ID, blocker.Owner.Describe(r.ClusterID), held, s.observed.facts.Recorded),
		requeueWithBackoff: true,
	}
}

// describeScope names the entities of a resolved scope.
func describeScope(scope plugin.Scope) string {
	var words []string
	for _, entity := range reference.EntitiesOf(scope) {
		words = append(words, entity.String())
	}
	if len(words) == 0 {
		return "every request"
	}
	return "the " + strings.Join(words, " and the ")
}
