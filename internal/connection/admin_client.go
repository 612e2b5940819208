package controllers

import (
	"context"

	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// Kong is one Kong, as the controllers need it. *adminapi.Client implements it.
//
// What the controllers rely on:
//   - Every error is a *adminapi.Error. Only adminapi.NotFound means that something is not
//     there; every other kind means that nothing is known.
//   - A write that may have been done, or may yet be done, answers adminapi.UnknownOutcome.
//     Every other error of a write means that it was not done.
//   - No method retries, and each makes at most one write.
type Kong interface {
	// Probe asks who answers. It reports NotKong when something else does.
	Probe(ctx context.Context) (adminapi.Info, error)

	// PluginByID, PluginByInstanceName and PluginAt find one plugin: by its ID, by its
	// instance_name, by its plugin name and exact scope. NotFound when there is none.
	PluginByID(ctx context.Context, id string) (plugin.Plugin, error)
	PluginByInstanceName(ctx context.Context, instanceName string) (plugin.Plugin, error)
	PluginAt(ctx context.Context, name string, scope plugin.Scope) (plugin.Plugin, error)

	// PluginsByTags lists every plugin that bears all of at most five tags. A list that
	// broke off is an error.
	PluginsByTags(ctx context.Context, tags []string) ([]plugin.Plugin, error)

	// VisitByTags is the same for lists of which not all can be kept. What was visited before
	// an error proves nothing.
	VisitByTags(ctx context.Context, tags []string, visit func(plugin.Plugin)) error

	// Resolve finds the ID of a service, route, consumer or consumer group; NotFound when
	// there is none, Ambiguous when there are several.
	Resolve(ctx context.Context, kind adminapi.EntityKind, ref adminapi.EntityRef) (string, error)

	// Entities lists the IDs of all entities of a kind by every way to refer to one.
	Entities(ctx context.Context, kind adminapi.EntityKind) (map[adminapi.EntityRef]string, error)

	// Schema of a plugin, which a comparison needs. NotFound when it is not installed.
	Schema(ctx context.Context, pluginName string) (*plugin.Schema, error)

	// Create makes a plugin and lets Kong assign its ID; Put writes the whole plugin under
	// its ID, whether or not there is one; both answer what Kong then holds. Conflict when
	// the name and scope, or the instance name, are another plugin's.
	Create(ctx context.Context, p plugin.Plugin) (plugin.Plugin, error)
	Put(ctx context.Context, p plugin.Plugin) (plugin.Plugin, error)

	// Delete removes the plugin with that ID. It does not say whether there was one.
	Delete(ctx context.Context, id string) error
}

var _ Kong = (*adminapi.Client)(nil)
