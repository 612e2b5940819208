package connection

import (
	"encoding/json"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/inflight"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/programmed"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// Snapshot is one complete list of a Kong: every plugin of this cluster, and every entity
// that bindings name. It saves a request per binding: a plugin that it shows as
// declared is programmed. For everything else the operator asks Kong before it acts.
//
// A nil Snapshot shows nothing.
type Snapshot struct {
	// Began is before the first page was requested.
	Began inflight.Time

	mu sync.RWMutex
	// items are the plugins that no reconcile of this process has seen programmed as they are.
	// As JSON they take a fifth of the memory, and each is decoded once.
	items        map[string][]byte
	fingerprints map[string]uint64
	owned        map[types.NamespacedName]bool
	entities     map[adminapi.EntityKind]map[adminapi.EntityRef]adminapi.Entity
	// awaited are the fingerprints of the plugins for which bindings wait, and which are not in the
	// list of this cluster's; 0 for one that does not exist.
	awaited map[string]uint64
}

// NewSnapshot returns a snapshot that shows nothing yet.
func NewSnapshot(began inflight.Time) *Snapshot {
	return &Snapshot{
		Began:        began,
		items:        map[string][]byte{},
		fingerprints: map[string]uint64{},
		owned:        map[types.NamespacedName]bool{},
		entities:     map[adminapi.EntityKind]map[adminapi.EntityRef]adminapi.Entity{},
		awaited:      map[string]uint64{},
	}
}

// Add adds one plugin, owned by a binding if owner is not empty. It keeps the plugin's config
// unless its fingerprint is the known one. Add is not safe for concurrent use: a snapshot is
// complete before it is shared.
func (s *Snapshot) Add(item plugin.Plugin, owner types.NamespacedName, known uint64) {
	s.fingerprints[item.ID] = plugin.Fingerprint(item)
	if owner != (types.NamespacedName{}) {
		s.owned[owner] = true
	}
	if s.fingerprints[item.ID] == known {
		return
	}
	if text, err := json.Marshal(item); err == nil { // what was decoded can be encoded
		s.items[item.ID] = text
	}
}

// SetEntities adds the entities of a kind that bindings name. Like Add, it is for a snapshot
// that is not shared yet.
func (s *Snapshot) SetEntities(kind adminapi.EntityKind, entities map[adminapi.EntityRef]adminapi.Entity) {
	s.entities[kind] = entities
}

// HasEntities reports whether entities of that kind were looked up.
func (s *Snapshot) HasEntities(kind adminapi.EntityKind) bool { return s.entities[kind] != nil }

// Len is the number of plugins.
func (s *Snapshot) Len() int { return len(s.fingerprints) }

// Plugin returns the plugin with that ID, if its config is still kept.
func (s *Snapshot) Plugin(id string) (plugin.Plugin, bool) {
	if s == nil {
		return plugin.Plugin{}, false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var item plugin.Plugin
	text, ok := s.items[id]
	return item, ok && json.Unmarshal(text, &item) == nil
}

// Fingerprint returns the fingerprint of the plugin with that ID, 0 if there is none.
func (s *Snapshot) Fingerprint(id string) uint64 {
	if s == nil {
		return 0
	}
	return s.fingerprints[id]
}

// SetAwaited adds the fingerprint of a plugin for which bindings wait, 0 if it does not exist. Like
// Add, it is for a snapshot that is not shared yet.
func (s *Snapshot) SetAwaited(id string, fingerprint uint64) { s.awaited[id] = fingerprint }

// Awaited returns the fingerprint of a plugin for which bindings wait, 0 if it does not exist; false
// if the snapshot does not know it.
func (s *Snapshot) Awaited(id string) (fingerprint uint64, known bool) {
	if s == nil {
		return 0, false
	}
	if fingerprint, known = s.fingerprints[id]; !known {
		fingerprint, known = s.awaited[id]
	}
	return fingerprint, known
}

// Evict drops the config of a plugin that a reconcile has seen programmed. Its fingerprint is
// enough from then on, and ten thousand configs need not be kept.
func (s *Snapshot) Evict(id string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.items, id)
}

// Owns reports whether any plugin carries the ownership tags of the binding.
func (s *Snapshot) Owns(binding identity.Binding) bool {
	return s != nil && s.owned[types.NamespacedName{Namespace: binding.Namespace, Name: binding.Name}]
}

// Resolve returns an entity, false if the snapshot does not show it.
func (s *Snapshot) Resolve(entity reference.ScopeEntity) (adminapi.Entity, bool) {
	if s == nil {
		return adminapi.Entity{}, false
	}
	found, ok := s.entities[entity.Kind][entity.Ref]
	return found, ok
}

// ListsScope reports whether entities of all kinds that the scope names were looked up.
func (s *Snapshot) ListsScope(declared *v1alpha1.Scope) bool {
	for _, entity := range reference.ScopeEntities(declared) {
		if !s.HasEntities(entity.Kind) {
			return false
		}
	}
	return true
}

// ResolveScope resolves a declared scope, false if the snapshot does not show all of it.
func (s *Snapshot) ResolveScope(declared *v1alpha1.Scope) (plugin.Scope, bool) {
	var scope plugin.Scope
	for _, entity := range reference.ScopeEntities(declared) {
		found, ok := s.Resolve(entity)
		if !ok {
			return plugin.Scope{}, false
		}
		entity.SetID(&scope, found.ID)
	}
	return scope, true
}

// RouteFacts describes the route of a declared scope, see reference.RouteFacts; false if the snapshot
// does not show it.
func (s *Snapshot) RouteFacts(declared *v1alpha1.Scope) (string, bool) {
	for _, entity := range reference.ScopeEntities(declared) {
		if entity.Kind == adminapi.Route {
			route, known := s.Resolve(entity)
			return reference.RouteFacts(route), known
		}
	}
	return "", true
}

// Trust is what a snapshot proves about one binding.
type Trust struct {
	// Presence: the plugin is what the snapshot shows, if it shows one.
	Presence bool
	// Absence: a plugin that the snapshot does not show does not exist.
	Absence bool
	// Scope: the names of the scope mean the entities that the snapshot shows.
	Scope bool
}

// TrustFor says what the snapshot proves about the binding. A write for the binding since the
// snapshot began ends what it proves about the plugin, not about the scope; a request for an
// immediate reconcile ends both. A write takes at most longestWrite.
func (s *Snapshot) TrustFor(binding *v1alpha1.PluginBinding, writes *inflight.Tracker, memory *programmed.Memory, longestWrite time.Duration) Trust {
	if s == nil || !writes.IsCurrent(s.Began) || writes.ScopeInvalidatedSince(binding, s.Began) {
		return Trust{}
	}
	if state, known := memory.Get(binding); known && state.RequestedAt != reference.RequestedAt(binding) {
		return Trust{}
	}
	presence := !writes.WrittenSince(binding, s.Began)
	return Trust{
		Presence: presence,
		Absence:  presence && !writes.MayMissWrite(binding, s.Began, longestWrite),
		Scope:    true,
	}
}
