// Package plugin says what a Kong plugin is to the operator: the one that should be,
// made from a binding, its Secrets and its resolved scope, and the comparison of it
// with the one that is. It does no I/O.
package plugin

// Scope is what a plugin applies to, by the IDs of entities in Kong. An empty ID means
// that the dimension is not set; the zero Scope is global. Scopes compare with ==, and
// Kong keeps at most one plugin of a name per Scope.
type Scope struct {
	ServiceID       string
	RouteID         string
	ConsumerID      string
	ConsumerGroupID string
}

// Names of the entities of a scope. An empty one is not known, or not declared.
type ScopeNames struct {
	Service       string
	Route         string
	Consumer      string // its username
	ConsumerGroup string
}

// Plugin is one plugin entity of Kong, in the operator's words: as it should be (from
// Render; ID, CreatedAt and UpdatedAt empty) or as Kong answers it.
type Plugin struct {
	// ID that Kong assigned, a UUID in lower case.
	ID string
	// Name of the plugin, such as rate-limiting.
	Name string
	// InstanceName is unique in the workspace.
	InstanceName string
	Scope        Scope
	// Named are the names by which the scope was declared. A write sends them instead of the
	// IDs, so that Kong resolves them when it writes, and not when they were last looked at.
	ScopeNames ScopeNames
	Enabled    bool
	// Protocols, a set. Nil in a plugin that should be means Kong's default for it.
	Protocols []string
	// Tags, a set.
	Tags []string
	// Ordering by "before" or "after", then by phase. Nil means none.
	Ordering map[string]map[string][]string
	// Config as decoded by encoding/json. In a plugin that should be it holds only what
	// was declared.
	Config map[string]any
	// CreatedAt and UpdatedAt are in seconds since 1970, 0 when not known.
	CreatedAt int64
	UpdatedAt int64
}
