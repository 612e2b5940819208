package admission

import (
	"context"
	"fmt"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/kic"
	"github.com/pluginbinding/kong-plugin-operator/internal/policy"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
	"github.com/pluginbinding/kong-plugin-operator/internal/tenancy"
)

// place is where a plugin is to be.
type place struct {
	// entities in Kong, as the spec names them.
	entities []reference.ScopeEntity
	// targets of a policy. Each of them is a place of its own, together with the entities.
	targets []kic.Object
}

// placeOf returns nil where Kong's ingress controller puts no plugin, and where the operator writes none
// or takes over the ingress controller's.
func (c *checker) placeOf(binding *pluginBinding) *place {
	scope := binding.Spec.Scope
	if scope != nil && scope.Route != nil && scope.Service != nil || reference.IsObserved(binding) || reference.TakesBack(binding, c.Clock.Now()) {
		return nil
	}
	return &place{entities: reference.ScopeEntities(scope)}
}

// placeOfPolicy returns nil for a policy whose bindings are on routes together with their services. What
// an entitySelector selects is known to the leader alone.
func placeOfPolicy(p *pluginPolicy) *place {
	var targets []kic.Object
	for _, ref := range p.Spec.TargetRefs {
		kind := policy.GroupKindOf(ref)
		if entity, known := policy.Kinds[kind]; known && entity != adminapi.Route {
			targets = append(targets, kic.Object{Group: kind.Group, Kind: kind.Kind, Namespace: p.Namespace, Name: ref.Name})
		}
	}
	if len(targets) == 0 || p.Spec.Template.Spec.ManagementPolicy == v1alpha1.ObservePlugin {
		return nil
	}
	var entities []reference.ScopeEntity
	if scope := p.Spec.Template.Spec.Scope; scope != nil {
		entities = reference.ScopeEntities(&v1alpha1.Scope{Consumer: &scope.Consumer})
	}
	return &place{entities: entities, targets: targets}
}

// claims warns about a KongPlugin for which Kong's ingress controller wants the place. It is the look of
// the reconciler, before there is anything to reconcile. Where it cannot look, it says nothing.
func (c *checker) claims(ctx context.Context, s subject, a access) string {
	if s.place == nil || c.Ingress == nil || !c.Ingress.Installed() {
		return ""
	}
	name := string(s.spec.Plugin)
	if len(s.place.entities)+len(s.place.targets) == 0 {
		claim, err := kic.GlobalClaim(ctx, c.Ingress, name)
		if err != nil {
			return ""
		}
		return claimText(s.namespace, name, claim)
	}
	sources, ok := c.sourcesOf(ctx, s, a)
	if !ok {
		return ""
	}
	places := [][]kic.Source{sources}
	if len(s.place.targets) > 0 {
		places = nil
		for _, target := range s.place.targets {
			places = append(places, append([]kic.Source{{Object: target}}, sources...))
		}
	}
	for _, sources := range places {
		claim, _, err := kic.ClaimOn(ctx, c.Ingress, name, sources)
		if err == nil && claim != nil {
			return claimText(s.namespace, name, claim)
		}
	}
	return ""
}

// sourcesOf returns the objects behind all entities of the place. It returns false if one of the
// entities is not the ingress controller's, and if the gateway does not allow the object to know of it.
func (c *checker) sourcesOf(ctx context.Context, s subject, a access) (sources []kic.Source, ok bool) {
	if len(s.place.entities) == 0 {
		return nil, true
	}
	if !c.tenants.enter(s.namespace) {
		return nil, false
	}
	defer c.tenants.leave(s.namespace)
	found, ok := c.gateways.find(ctx, a.gateway, s.place.entities)
	if !ok {
		return nil, false
	}
	a.request.Entities = nil
	for i, entity := range s.place.entities {
		a.request.Entities = append(a.request.Entities, tenancy.Entity{Kind: string(entity.Kind), Name: entity.Label(), Known: true, Tags: found[i].Tags})
		object, uid, made := kic.ObjectOf(found[i].Tags)
		if !made {
			return nil, false
		}
		sources = append(sources, kic.Source{Object: object, UID: uid})
	}
	return sources, tenancy.Check(a.policy, a.request).Allowed()
}

// claimText names the objects only to their own namespace.
func claimText(namespace, plugin string, claim *kic.Claim) string {
	if claim == nil {
		return ""
	}
	what := claim.String()
	for _, object := range []kic.Object{claim.Object, claim.Plugin} {
		if object.Namespace != "" && object.Namespace != namespace {
			what = "An annotation " + kic.PluginsAnnotation + " names a KongPlugin, one of the two in another namespace"
		}
	}
	return fmt.Sprintf("%s, and so Kong's ingress controller wants the plugin %s in this scope. The operator writes no second one: the reason is going to be %s, or %s once the ingress controller has made its own. kubectl pluginbinding handover kic moves it.",
		what, plugin, v1alpha1.ReasonClaimedByKongPlugin, v1alpha1.ReasonConflict)
}
