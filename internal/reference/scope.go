package reference

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// ScopeEntity is one Kong entity that a declared scope names.
type ScopeEntity struct {
	Kind adminapi.EntityKind
	Ref  adminapi.EntityRef
}

// ScopeEntities lists the entities that a scope names, in a stable order. A nil scope is
// global and names none.
func ScopeEntities(scope *v1alpha1.Scope) []ScopeEntity {
	if scope == nil {
		return nil
	}
	var entities []ScopeEntity
	if ref := scope.Service; ref != nil {
		entities = append(entities, ScopeEntity{adminapi.Service, adminapi.EntityRef{ID: string(ref.ID), Name: string(ref.Name)}})
	}
	if ref := scope.Route; ref != nil {
		entities = append(entities, ScopeEntity{adminapi.Route, adminapi.EntityRef{ID: string(ref.ID), Name: string(ref.Name)}})
	}
	if ref := scope.Consumer; ref != nil {
		entities = append(entities, ScopeEntity{adminapi.Consumer, adminapi.EntityRef{ID: string(ref.ID), Username: ref.Username, CustomID: ref.CustomID}})
	}
	if ref := scope.ConsumerGroup; ref != nil {
		entities = append(entities, ScopeEntity{adminapi.ConsumerGroup, adminapi.EntityRef{ID: string(ref.ID), Name: string(ref.Name)}})
	}
	return entities
}

// EntitiesOf lists the entities of a resolved scope, by ID.
func EntitiesOf(scope plugin.Scope) []ScopeEntity {
	var entities []ScopeEntity
	for _, entity := range []ScopeEntity{
		{adminapi.Service, adminapi.EntityRef{ID: scope.ServiceID}},
		{adminapi.Route, adminapi.EntityRef{ID: scope.RouteID}},
		{adminapi.Consumer, adminapi.EntityRef{ID: scope.ConsumerID}},
		{adminapi.ConsumerGroup, adminapi.EntityRef{ID: scope.ConsumerGroupID}},
	} {
		if entity.Ref.ID != "" {
			entities = append(entities, entity)
		}
	}
	return entities
}

// SetID puts the ID of the entity into a resolved scope.
func (e ScopeEntity) SetID(scope *plugin.Scope, id string) {
	switch e.Kind {
	case adminapi.Service:
		scope.ServiceID = id
	case adminapi.Route:
		scope.RouteID = id
	case adminapi.Consumer:
		scope.ConsumerID = id
	case adminapi.ConsumerGroup:
		scope.ConsumerGroupID = id
	}
}

// ScopeNames returns the names by which a scope is declared. Kong resolves no custom_id, so
// that one has no name here.
func ScopeNames(scope *v1alpha1.Scope) plugin.ScopeNames {
	var names plugin.ScopeNames
	for _, entity := range ScopeEntities(scope) {
		switch entity.Kind {
		case adminapi.Service:
			names.Service = entity.Ref.Name
		case adminapi.Route:
			names.Route = entity.Ref.Name
		case adminapi.Consumer:
			names.Consumer = entity.Ref.Username
		case adminapi.ConsumerGroup:
			names.ConsumerGroup = entity.Ref.Name
		}
	}
	return names
}

// RouteFacts describes what of a route decides whether a plugin on it runs. It is empty for no route.
func RouteFacts(route adminapi.Entity) string {
	if route.ID == "" {
		return ""
	}
	return strings.Join(append([]string{route.ID, route.ServiceID}, slices.Sorted(slices.Values(route.Protocols))...), " ")
}

// BoundScope returns the resolved scope that a status records.
func BoundScope(bound *v1alpha1.BoundScope) plugin.Scope {
	return plugin.Scope{
		ServiceID: bound.ServiceID, RouteID: bound.RouteID,
		ConsumerID: bound.ConsumerID, ConsumerGroupID: bound.ConsumerGroupID,
	}
}

// kindWords are the words of Kong's documentation for its entities.
var kindWords = map[adminapi.EntityKind]string{
	adminapi.Service:       "service",
	adminapi.Route:         "route",
	adminapi.Consumer:      "consumer",
	adminapi.ConsumerGroup: "consumer group",
}

// String describes the entity for a message, such as: route named "orders".
func (e ScopeEntity) String() string {
	word := kindWords[e.Kind]
	switch {
	case e.Ref.ID != "":
		return fmt.Sprintf("%s with the id %s", word, e.Ref.ID)
	case e.Ref.Username != "":
		return fmt.Sprintf("%s with the username %q", word, e.Ref.Username)
	case e.Ref.CustomID != "":
		return fmt.Sprintf("%s with the custom id %q", word, e.Ref.CustomID)
	default:
		return fmt.Sprintf("%s named %q", word, e.Ref.Name)
	}
}

// Label is how the scope refers to the entity: its name or its ID.
func (e ScopeEntity) Label() string {
	return cmp.Or(e.Ref.Name, e.Ref.Username, e.Ref.CustomID, e.Ref.ID)
}

// ScopeSummary describes a declared scope in a few characters, such as route/orders.
func ScopeSummary(scope *v1alpha1.Scope) string {
	var words []string
	for _, entity := range ScopeEntities(scope) {
		word := strings.ReplaceAll(kindWords[entity.Kind], " ", "-")
		words = append(words, word+"/"+entity.Label())
	}
	return cmp.Or(strings.Join(words, "+"), "global")
}
