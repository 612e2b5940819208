// Package plugin holds what a Kong plugin is to the operator: the desired plugin, made from
// a binding, its Secrets and its resolved scope; its comparison with the live one; and what
// may be shown of it. Everything here is a pure function of its arguments.
// It may import the API types, apimachinery, YAML and JSON.
// Clients, controllers, clocks and I/O of any kind must never come in.
package plugin

import "encoding/json"

// Scope is what a plugin applies to, by the IDs of entities in Kong. An empty ID means
// that the dimension is not set; the zero Scope is global. Scopes compare with ==, and
// Kong keeps at most one plugin of a name per Scope.
type Scope struct {
	ServiceID       string
	RouteID         string
	ConsumerID      string
	ConsumerGroupID string
}

// ScopeNames are the names of the entities of a scope. An empty one is not known, or not
// declared.
type ScopeNames struct {
	Service       string
	Route         string
	Consumer      string // its username
	ConsumerGroup string
}

// Plugin is one plugin entity of Kong: a desired one (from Render; ID, CreatedAt and
// UpdatedAt are empty), or a live one, as Kong answers it.
type Plugin struct {
	// ID that Kong assigned, a UUID in lower case.
	ID string
	// Name of the plugin, such as rate-limiting.
	Name string
	// InstanceName is unique in the workspace.
	InstanceName string
	Scope        Scope
	// ScopeNames are the names that the scope was declared with. A write sends them instead
	// of the IDs, so that Kong resolves them at the time of the write.
	ScopeNames ScopeNames
	Enabled    bool
	// Protocols, a set. In a desired plugin nil means Kong's default.
	Protocols []string
	// Tags, a set.
	Tags []string
	// Ordering by "before" or "after", then by phase. Nil means none.
	Ordering map[string]map[string][]string
	// Config as encoding/json decodes it. In a desired plugin it holds only declared fields.
	Config map[string]any
	// Unknown are the other fields of the entity that are set, as JSON: in a live plugin those
	// of UnknownFields, in a desired one those that are declared, as FieldCondition and
	// FieldPartials can be.
	// Null declares that the field is not set. They belong to Kong's version: see
	// PreserveServerFields and WithoutUnknown.
	Unknown map[string]json.RawMessage
	// CreatedAt and UpdatedAt are in seconds since 1970, 0 when not known.
	CreatedAt int64
	UpdatedAt int64
}
