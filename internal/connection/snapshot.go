package controllers

import (
	"encoding/json"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// View is one complete reading of a Kong: every plugin of this cluster, and every entity
// of the kinds that bindings name. It saves a request per binding: what it shows as
// declared is in force. Whatever it does not show, or shows otherwise, is asked of Kong
// before anything is done about it.
type View struct {
	// began before the first page was asked for.
	began Moment

	mu sync.RWMutex
	// rows are the plugins that no pass of this process has seen in force as they are. As
	// JSON they take a fifth of the memory, and each is looked at once.
	rows         map[string][]byte
	fingerprints map[string]uint64
	owned        map[types.NamespacedName]bool
	entities     map[adminapi.EntityKind]map[adminapi.EntityRef]string
}

// newView is a reading that shows nothing yet.
func newView(began Moment) *View {
	return &View{
		began:        began,
		rows:         map[string][]byte{},
		fingerprints: map[string]uint64{},
		owned:        map[types.NamespacedName]bool{},
		entities:     map[adminapi.EntityKind]map[adminapi.EntityRef]string{},
	}
}

// add takes in one plugin, owned by a binding if owner is not empty. Its row is kept unless
// it is known by its fingerprint.
func (v *View) add(row plugin.Plugin, owner types.NamespacedName, known uint64) {
	v.fingerprints[row.ID] = plugin.Fingerprint(row)
	if owner != (types.NamespacedName{}) {
		v.owned[owner] = true
	}
	if v.fingerprints[row.ID] == known {
		return
	}
	if text, err := json.Marshal(row); err == nil { // what was decoded can be encoded
		v.rows[row.ID] = text
	}
}

// row is the plugin with that ID, if it is still kept.
func (v *View) row(id string) (plugin.Plugin, bool) {
	if v == nil {
		return plugin.Plugin{}, false
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	var row plugin.Plugin
	text, ok := v.rows[id]
	return row, ok && json.Unmarshal(text, &row) == nil
}

// fingerprint of the plugin with that ID, 0 if there is none.
func (v *View) fingerprint(id string) uint64 {
	if v == nil {
		return 0
	}
	return v.fingerprints[id]
}

// release drops a row that has been seen in force: its fingerprint is enough from then on,
// and ten thousand configs need not be kept.
func (v *View) release(id string) {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.rows, id)
}

// owns reports whether any plugin bears the marks of the binding.
func (v *View) owns(binding identity.Binding) bool {
	return v.owned[types.NamespacedName{Namespace: binding.Namespace, Name: binding.Name}]
}

// resolve is the ID of an entity, empty if the view does not show it.
func (v *View) resolve(kind adminapi.EntityKind, ref adminapi.EntityRef) string {
	if v == nil {
		return ""
	}
	return v.entities[kind][ref]
}

// scopePart is one dimension of a declared scope.
type scopePart struct {
	kind adminapi.EntityKind
	ref  adminapi.EntityRef
}

// scopeParts lists what a scope names.
func scopeParts(scope *v1alpha1.Scope) []scopePart {
	if scope == nil {
		return nil
	}
	var parts []scopePart
	if ref := scope.Service; ref != nil {
		parts = append(parts, scopePart{adminapi.Service, adminapi.EntityRef{ID: string(ref.ID), Name: string(ref.Name)}})
	}
	if ref := scope.Route; ref != nil {
		parts = append(parts, scopePart{adminapi.Route, adminapi.EntityRef{ID: string(ref.ID), Name: string(ref.Name)}})
	}
	if ref := scope.Consumer; ref != nil {
		parts = append(parts, scopePart{adminapi.Consumer, adminapi.EntityRef{ID: string(ref.ID), Username: ref.Username, CustomID: ref.CustomID}})
	}
	if ref := scope.ConsumerGroup; ref != nil {
		parts = append(parts, scopePart{adminapi.ConsumerGroup, adminapi.EntityRef{ID: string(ref.ID), Name: string(ref.Name)}})
	}
	return parts
}

// set puts the ID of an entity into a scope.
func (part scopePart) set(scope *plugin.Scope, id string) {
	switch part.kind {
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
