package kic

import (
	"github.com/google/uuid"
)

// kongNamespace is the namespace of all IDs that Kong's tools derive from names.
var kongNamespace = uuid.MustParse("fd02801f-0957-4a15-a55a-c8d9606f30b5")

// ScopeNames are the names of the entities to which a plugin applies, as the ingress controller
// knows them: a consumer by its username. An empty name means any.
type ScopeNames struct{ Service, Route, Consumer, ConsumerGroup string }

// PluginID is the ID that the ingress controller gives a plugin on a scope. It writes no other ID
// there, unless Kong already has a row of its own in that place.
func PluginID(workspace, plugin string, scope ScopeNames) string {
	key := plugin
	if workspace != "" {
		key = workspace + "/" + key
	}
	for _, part := range []struct{ kind, name string }{
		{"service", scope.Service}, {"route", scope.Route}, {"consumer", scope.Consumer}, {"consumer_group", scope.ConsumerGroup},
	} {
		if part.name != "" {
			key += ":" + part.kind + "/" + part.name
		}
	}
	return uuid.NewSHA1(uuid.NewSHA1(kongNamespace, []byte("plugins")), []byte(key)).String()
}
