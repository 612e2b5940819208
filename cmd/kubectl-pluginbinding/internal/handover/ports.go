package handover

import (
	"context"
	"time"

	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/kic"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// Kong is what a hand-over asks Kong, and the one thing that it writes: Put gives a plugin back to the
// ingress controller by its tags.
type Kong interface {
	VisitAll(ctx context.Context, visit func(plugin.Plugin)) error
	PluginsByTags(ctx context.Context, tags []string) ([]plugin.Plugin, error)
	PluginByID(ctx context.Context, id string) (plugin.Plugin, error)
	PluginAt(ctx context.Context, name string, scope plugin.Scope) (plugin.Plugin, error)
	EntitiesByTags(ctx context.Context, kind adminapi.EntityKind, set adminapi.TagSet, visit func(adminapi.Entity)) error
	FirstEntities(ctx context.Context, kind adminapi.EntityKind, serviceID string, limit int) ([]adminapi.Entity, error)
	Put(ctx context.Context, p plugin.Plugin) (plugin.Plugin, error)
}

var _ Kong = (*adminapi.Client)(nil)

// Timing is how long a hand-over waits for what.
type Timing struct {
	// InForce is how long Kong takes at most to put a plugin from its database into traffic.
	InForce time.Duration
	// Sync is how long the ingress controller takes at most to see a change and to write it.
	Sync time.Duration
	// Guard is how long a plugin that was taken over is watched: two syncs of the ingress controller.
	Guard time.Duration
	// Poll is the pause between two looks.
	Poll time.Duration
	// Step bounds each wait.
	Step time.Duration
	// Lease is how long a run that writes nothing into its journal counts as running.
	Lease time.Duration
}

// DefaultTiming fits an ingress controller and a Kong with their defaults: a sync every 3 s, and a
// worker_state_update_frequency of 5 s.
var DefaultTiming = Timing{
	InForce: 6 * time.Second, Sync: 4 * time.Second, Guard: 10 * time.Second,
	Poll: 500 * time.Millisecond, Step: 2 * time.Minute, Lease: 15 * time.Second,
}

// Object names an object of the ingress controller.
type Object = kic.Object
