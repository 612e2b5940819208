package connection

import (
	"context"

	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// AdminClient is one Kong's Admin API, as the controllers need it. *adminapi.Client
// implements it.
//
// The controllers rely on this:
//   - Every error is a *adminapi.Error. Only adminapi.NotFound means that an entity does not
//     exist. Every other reason means that nothing is known.
//   - A write that Kong may have applied, or may still apply, returns
//     adminapi.UnknownOutcome. Every other error of a write means that Kong did not apply it.
//   - No method sends a write twice, and each makes at most one write. A read may be sent again
//     after a 429.
type AdminClient interface {
	// Probe asks who answers. It returns NotKong when it is not a Kong.
	Probe(ctx context.Context) (adminapi.Info, error)

	// PluginByID, PluginByInstanceName and PluginAt return one plugin: by its ID, by its
	// instance_name, by its plugin name and exact scope. They return NotFound when there is
	// none.
	PluginByID(ctx context.Context, id string) (plugin.Plugin, error)
	PluginByInstanceName(ctx context.Context, instanceName string) (plugin.Plugin, error)
	PluginAt(ctx context.Context, name string, scope plugin.Scope) (plugin.Plugin, error)

	// PluginsByTags lists every plugin that carries all of at most five tags. A list that
	// broke off is an error.
	PluginsByTags(ctx context.Context, tags []string) ([]plugin.Plugin, error)

	// VisitByTags is PluginsByTags for lists that are too long to keep. What it visited before
	// an error proves nothing.
	VisitByTags(ctx context.Context, tags []string, visit func(plugin.Plugin)) error

	// VisitAll is VisitByTags for every plugin, whatever its tags.
	VisitAll(ctx context.Context, visit func(plugin.Plugin)) error

	// Resolve returns a service, route, consumer or consumer group: NotFound when there is none,
	// Ambiguous when there are several.
	Resolve(ctx context.Context, kind adminapi.EntityKind, ref adminapi.EntityRef) (adminapi.Entity, error)

	// Entities returns those of the wanted entities that exist, by the reference that was asked
	// for.
	Entities(ctx context.Context, kind adminapi.EntityKind, wanted []adminapi.EntityRef) (map[adminapi.EntityRef]adminapi.Entity, error)

	// EntitiesAndTagged is Entities, and also passes every entity that has all tags of a set to
	// visit. What it visited before an error proves nothing.
	EntitiesAndTagged(ctx context.Context, kind adminapi.EntityKind, wanted []adminapi.EntityRef, sets []adminapi.TagSet,
		visit func(adminapi.TagSet, adminapi.Entity)) (map[adminapi.EntityRef]adminapi.Entity, error)

	// EntitiesByTags passes every entity that has all tags of a set to visit. What it visited
	// before an error proves nothing.
	EntitiesByTags(ctx context.Context, kind adminapi.EntityKind, set adminapi.TagSet, visit func(adminapi.Entity)) error

	// FirstEntities returns the first entities of a kind, or the first routes of a service.
	FirstEntities(ctx context.Context, kind adminapi.EntityKind, serviceID string, limit int) ([]adminapi.Entity, error)

	// Schema returns the schema of a plugin, which a comparison needs: NotFound when the
	// plugin is not installed.
	Schema(ctx context.Context, pluginName string) (*plugin.Schema, error)

	// ValidateConfig asks whether Kong's schema accepts the plugin, and writes nothing: Rejected
	// when it does not.
	ValidateConfig(ctx context.Context, p plugin.Plugin) error

	// Create makes a plugin and lets Kong assign its ID. Put writes the whole plugin under its
	// ID, whether or not there is one. Both return what Kong then holds, and Conflict when the
	// name and scope, or the instance name, belong to another plugin.
	Create(ctx context.Context, p plugin.Plugin) (plugin.Plugin, error)
	Put(ctx context.Context, p plugin.Plugin) (plugin.Plugin, error)

	// Delete removes the plugin with that ID. It does not say whether there was one.
	Delete(ctx context.Context, id string) error
}

var _ AdminClient = (*adminapi.Client)(nil)

// ClientRegistry holds one AdminClient per gateway.
type ClientRegistry interface {
	// Get returns the client for these settings: the existing one if they are unchanged. It
	// makes no request. Its error says why the settings cannot be used.
	Get(gateway string, settings adminapi.Settings) (AdminClient, error)
	// Remove drops the gateway's client.
	Remove(gateway string)
}

// AdminAPIClients makes a ClientRegistry of the clients of package adminapi.
type AdminAPIClients struct{ *adminapi.Registry }

// Get implements ClientRegistry.
func (c AdminAPIClients) Get(gateway string, settings adminapi.Settings) (AdminClient, error) {
	created, _, err := c.GetOrCreate(gateway, settings)
	if err != nil {
		return nil, err // not the nil *Client as an AdminClient
	}
	return created, nil
}
