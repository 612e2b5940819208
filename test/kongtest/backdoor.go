package kongtest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// Plugins are all plugins, in the order of their IDs.
func (s *Server) Plugins() []map[string]any { return s.Entities("plugins") }

// Plugin is the plugin with this ID or instance name, or nil.
func (s *Server) Plugin(idOrName string) map[string]any { return s.Entity("plugins", idOrName) }

// Entities are all rows of an entity ("plugins", "services", "routes",
// "consumers"), of every workspace, in the order of their IDs.
func (s *Server) Entities(entity string) []map[string]any {
	s.db.mu.RLock()
	defer s.db.mu.RUnlock()
	tab := s.table(entity)
	out := make([]map[string]any, len(tab.ids))
	for i, id := range tab.ids {
		out[i] = cloneMap(tab.rows[id].entity)
	}
	return out
}

// Entity is the row with this ID or name in the default workspace, or nil.
func (s *Server) Entity(entity, idOrName string) map[string]any {
	s.db.mu.RLock()
	defer s.db.mu.RUnlock()
	e, _ := s.db.store.get(s.table(entity).kind, defaultWorkspace, keyOf(idOrName))
	return cloneMap(e)
}

func (s *Server) table(entity string) *table {
	tab := s.db.store.tables[entity]
	if tab == nil {
		panic("kongtest: no entity " + entity)
	}
	return tab
}

func keyOf(idOrName string) key {
	if isUUID(idOrName) {
		return key{id: strings.ToLower(idOrName)}
	}
	return key{name: idOrName}
}

// Seed creates an entity and returns it, whatever the state of the database and the
// faults. The body may have any Go values that encode as JSON. Seed panics if Kong
// would refuse the body.
func (s *Server) Seed(entity string, body map[string]any) map[string]any {
	return s.SeedIn(defaultWorkspace, entity, body)
}

// SeedIn is Seed in a workspace.
func (s *Server) SeedIn(workspace, entity string, body map[string]any) map[string]any {
	k := s.table(entity).kind
	body = plain(body)
	c := s.backdoor(workspace)
	var e map[string]any
	resp := s.backdoorTx(workspace, func(t *tx) *response {
		resolved := t.resolveNames(k, body)
		var resp *response
		if e, resp = s.validateInsert(k, resolved); resp != nil {
			return resp
		}
		c.setStoreFields(k, e)
		return t.insert(k, e)
	})
	panicOnError(resp, "seed "+entity)
	return cloneMap(e)
}

// EditPlugin changes a plugin as a PATCH of another client does. It panics if there
// is no such plugin, or if Kong would refuse the patch.
func (s *Server) EditPlugin(idOrName string, patch map[string]any) map[string]any {
	return s.Edit("plugins", idOrName, patch)
}

// Edit is EditPlugin for any entity.
func (s *Server) Edit(entity, idOrName string, patch map[string]any) map[string]any {
	k := s.table(entity).kind
	patch = plain(patch)
	var e map[string]any
	resp := s.backdoorTx(defaultWorkspace, func(t *tx) *response {
		current, found := t.get(k, t.workspace, keyOf(idOrName))
		if !found {
			return notFound()
		}
		var resp *response
		if e, resp = s.validateUpdate(k, current, t.resolveNames(k, patch)); resp != nil {
			return resp
		}
		e["id"] = current["id"]
		if e["created_at"] == nil {
			e["created_at"] = current["created_at"]
		}
		e["updated_at"] = seconds(s.cfg.clock())
		return t.replace(k, e)
	})
	panicOnError(resp, "edit "+entity+" "+idOrName)
	return cloneMap(e)
}

// DeletePlugin deletes a plugin as another client does. A missing one is no error.
func (s *Server) DeletePlugin(idOrName string) { s.Delete("plugins", idOrName) }

// Delete is DeletePlugin for any entity. The deletion cascades. It panics for a
// service that has routes.
func (s *Server) Delete(entity, idOrName string) {
	k := s.table(entity).kind
	resp := s.backdoorTx(defaultWorkspace, func(t *tx) *response {
		e, found := t.get(k, t.workspace, keyOf(idOrName))
		if !found {
			return nil
		}
		return t.erase(k, str(e["id"]))
	})
	panicOnError(resp, "delete "+entity+" "+idOrName)
}

// Truncate deletes all entities.
func (s *Server) Truncate() {
	panicOnError(s.backdoorTx(defaultWorkspace, func(t *tx) *response {
		t.restore(newStore(s.kinds))
		return nil
	}), "truncate")
}

// backdoorTx runs a statement with ActorBackdoor.
func (s *Server) backdoorTx(workspace string, fn func(*tx) *response) *response {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	t := &tx{store: s.db.store, workspace: workspace}
	t.record = func(kind, entity, id string, before, after map[string]any, cascade bool) {
		s.journal.commit(Change{
			Time: s.cfg.clock(), Kind: kind, Entity: entity, ID: id, Workspace: workspace,
			Before: before, After: after, Actor: ActorBackdoor, Cascade: cascade,
		})
	}
	return fn(t)
}

// backdoor is a call without a request.
func (s *Server) backdoor(workspace string) *call {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "/", http.NoBody)
	if err != nil {
		panic(fmt.Sprintf("kongtest: %v", err)) // a constant URL
	}
	return &call{s: s, r: r, workspace: workspace}
}

// setStoreFields sets the ID and the timestamps, which the schema leaves to the store.
func (c *call) setStoreFields(k *kind, e map[string]any) {
	now := seconds(c.s.cfg.clock())
	if e["id"] == nil {
		e["id"] = c.s.newID()
	}
	e["id"] = strings.ToLower(str(e["id"]))
	if e["created_at"] == nil {
		e["created_at"] = now
	}
	e["updated_at"] = now
	lowerReferences(k, e)
}

// resolveNames replaces references by name with references by ID. Names of missing
// entities stay, and the schema refuses them.
func (t *tx) resolveNames(k *kind, body map[string]any) map[string]any {
	body = cloneMap(body)
	for _, ref := range k.foreign {
		value, isMap := body[ref.field].(map[string]any)
		if !isMap || str(value["id"]) != "" {
			continue
		}
		for _, by := range t.kinds[ref.entity].uniques {
			if r, found := t.tables[ref.entity].byKey(t.workspace, by, str(value[by])); found {
				body[ref.field] = map[string]any{"id": r.entity["id"]}
			}
		}
	}
	return body
}

// plain converts Go values to JSON values.
func plain(body map[string]any) map[string]any {
	var out map[string]any
	b, err := json.Marshal(body)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		panic(fmt.Sprintf("kongtest: %v", err))
	}
	return out
}

func panicOnError(resp *response, what string) {
	if resp != nil {
		panic(fmt.Sprintf("kongtest: %s: %d %s", what, resp.status, encode(resp.body)))
	}
}
