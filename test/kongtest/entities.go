package kongtest

import (
	"net/http"
	"strings"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest/schema"
)

// key is the entity that a path segment names: by ID, or by the endpoint key.
type key struct {
	id   string // in lower case
	name string
	sent string // the ID as it was sent
}

// parseKey reads a path segment. An invalid name is 400 (code 10).
func parseKey(k *kind, segment string) (key, *response) {
	s := unescape(segment, false)
	if isUUID(s) {
		return key{id: strings.ToLower(s), sent: s}, nil
	}
	if k.utf8Name {
		if why := nameProblem(s); why != "" {
			return key{}, invalidUnique(k.endpointKey, why)
		}
	}
	return key{name: s}, nil
}

// get finds the row of a key in the workspace.
func (t *store) get(k *kind, workspace string, by key) (map[string]any, bool) {
	tab := t.tables[k.name]
	if by.id == "" {
		r, found := tab.byKey(workspace, k.endpointKey, by.name)
		return r.entity, found
	}
	r, found := tab.rows[by.id]
	if r.workspace != workspace {
		return nil, false
	}
	return r.entity, found
}

// lookup reads the row of a key, or nil.
func (c *call) lookup(k *kind, by key) (e map[string]any, resp *response) {
	resp = c.s.read(c.ctx(), func(st *store) { e, _ = st.get(k, c.workspace, by) })
	return e, resp
}

// find reads the row that a path segment names, or answers 404.
func (c *call) find(k *kind, segment string) (map[string]any, *response) {
	by, resp := parseKey(k, segment)
	if resp != nil {
		return nil, resp
	}
	e, resp := c.lookup(k, by)
	if resp == nil && e == nil {
		resp = notFound()
	}
	return e, resp
}

// show is an entity as Kong answers it: a copy of its own, sets in the order of a
// hash table.
func (s *Server) render(k *kind, e map[string]any) map[string]any {
	out := cloneMap(e)
	if k.name != "consumer_groups" { // which has no schema here
		schema.Reorder(k.name, out, uint64(s.cfg.seed))
	}
	return out
}

// getEntity answers GET /{kind}/{key}.
func getEntity(c *call, k *kind, segment string) *response {
	e, resp := c.find(k, segment)
	if resp != nil {
		return resp
	}
	return ok(c.s.render(k, e))
}

// postEntity answers POST /{kind}.
func postEntity(c *call, k *kind) *response {
	e, resp := c.prepare(k, "create")
	if resp != nil {
		return resp
	}
	if e["id"] == nil {
		e["id"] = c.s.newID()
	}
	resp = c.s.write(c, func(t *tx) *response {
		if c.nullID() {
			return primaryKeyViolation(map[string]any{"id": nil})
		}
		return t.insert(k, e)
	})
	if resp != nil {
		return resp
	}
	return created(c.s.render(k, e))
}

// nullID reports whether the body has an ID of null. Kong generates no ID then, and
// PostgreSQL refuses the row.
func (c *call) nullID() bool {
	id, sent := c.post["id"]
	return sent && id == nil
}

// putEntity answers PUT /{kind}/{key}: create or replace, 200 in both cases. The key
// of the path wins. An ID in the body has to be valid nevertheless.
func putEntity(c *call, k *kind, segment string) *response {
	by, resp := parseKey(k, segment)
	if resp != nil {
		return resp
	}
	c.decodeForm(k)
	if by.id == "" {
		c.post[k.endpointKey] = by.name
		c.byName = true
	}
	e, resp := c.prepare(k, "create or update")
	if resp != nil {
		return resp
	}
	if by.id != "" {
		e["id"] = by.id
	}
	if resp := c.s.write(c, func(t *tx) *response { return t.upsert(c, k, by, e) }); resp != nil {
		return resp
	}
	return ok(c.s.render(k, e))
}

// upsert inserts e, or replaces the row of the key; e gets the ID of that row. For a
// key by name the error always names the endpoint key.
func (t *tx) upsert(c *call, k *kind, by key, e map[string]any) *response {
	if by.id != "" {
		old, taken := t.tables[k.name].rows[by.id]
		switch {
		case !taken:
			return t.insert(k, e)
		case old.workspace != t.workspace:
			return notFound()
		}
		return t.replace(k, e)
	}
	violated := primaryKeyViolation(map[string]any{k.endpointKey: by.name})
	if c.nullID() {
		return violated
	}
	if old, found := t.get(k, t.workspace, by); found {
		e["id"] = old["id"]
		return t.replace(k, e)
	}
	if e["id"] == nil {
		e["id"] = c.s.newID()
	}
	if _, taken := t.tables[k.name].rows[strings.ToLower(str(e["id"]))]; taken {
		return violated
	}
	return t.insert(k, e)
}

// prepare turns the body of a POST or PUT into the complete entity. It writes nothing.
func (c *call) prepare(k *kind, verb string) (map[string]any, *response) {
	c.decodeForm(k)
	e, resp := c.complete(k, c.post)
	if resp != nil {
		return nil, resp
	}
	if c.s.isDBLess() {
		return nil, withoutDatabase(verb, k.name)
	}
	return e, nil
}

// complete validates a body and sets defaults and timestamps. created_at is the
// current time unless the body has it, updated_at always. For a plugin by instance
// name Kong does not check protocols.
func (c *call) complete(k *kind, body map[string]any) (map[string]any, *response) {
	if !c.byName {
		if resp := c.checkProtocols(k, body); resp != nil {
			return nil, resp
		}
	}
	if resp := checkShorthands(k, body, false); resp != nil {
		return nil, resp
	}
	body, resp := c.resolve(k, body)
	if resp != nil {
		return nil, resp
	}
	e, resp := c.s.validateInsert(k, body)
	if resp != nil {
		return nil, resp
	}
	now := seconds(c.s.cfg.clock())
	if e["created_at"] == nil {
		e["created_at"] = now
	}
	e["updated_at"] = now
	return e, nil
}

// lowerReferences puts the IDs of references in lower case, as PostgreSQL answers them.
func lowerReferences(k *kind, e map[string]any) {
	for _, ref := range k.foreign {
		if id := refID(e[ref.field]); id != "" {
			e[ref.field] = map[string]any{"id": strings.ToLower(id)}
		}
	}
}

// patchEntity answers PATCH /{kind}/{key}. It reads the row, merges, and writes the
// whole row. Of two concurrent requests one can be lost, as in Kong.
func patchEntity(c *call, k *kind, segment string) *response {
	by, resp := parseKey(k, segment)
	if resp != nil {
		return resp
	}
	current, resp := c.lookup(k, by)
	if resp != nil {
		return resp
	}
	c.decodePatch(k, current)
	if current == nil {
		return c.patchMissing(k, by)
	}
	e, resp := c.merge(k, by, current)
	if resp != nil {
		return resp
	}
	if c.s.isDBLess() {
		return withoutDatabase("update", k.name)
	}
	e, resp = c.update(k, by, current, e)
	if resp != nil {
		return resp
	}
	return ok(c.s.render(k, e))
}

// patchMissing answers a PATCH of a row that does not exist. Without a name Kong
// reads the plugin first, to know its schema, and answers the plain 404. With a name
// the database answers.
func (c *call) patchMissing(k *kind, by key) *response {
	if k.name == "plugins" {
		if _, sent := c.post["name"]; !sent {
			return notFound()
		}
		if by.id != "" {
			if resp := c.checkProtocols(k, c.post); resp != nil {
				return resp
			}
		}
	}
	if resp := checkShorthands(k, c.post, true); resp != nil {
		return resp
	}
	return noSuch(k, by)
}

func noSuch(k *kind, by key) *response {
	if by.id == "" {
		return noSuchKey(k.endpointKey, by.name)
	}
	return noSuchID(by.sent)
}

func (c *call) merge(k *kind, by key, current map[string]any) (map[string]any, *response) {
	if by.id != "" {
		if resp := c.checkPatchedProtocols(k, current); resp != nil {
			return nil, resp
		}
	}
	if resp := checkShorthands(k, c.post, true); resp != nil {
		return nil, resp
	}
	patch, resp := c.resolve(k, c.post)
	if resp != nil {
		return nil, resp
	}
	e, resp := c.s.validateUpdate(k, current, patch)
	if resp != nil {
		return nil, resp
	}
	if _, sent := c.post["created_at"]; !sent {
		e["created_at"] = current["created_at"]
	} else if e["created_at"] == nil {
		e["created_at"] = nil // Kong stores and answers the null
	}
	e["updated_at"] = seconds(c.s.cfg.clock())
	return e, nil
}

// update writes a merged entity. For a key by ID the ID in the body, if there is one,
// selects the row; null selects none.
func (c *call) update(k *kind, by key, current, e map[string]any) (map[string]any, *response) {
	target := str(current["id"])
	if sent, has := c.post["id"]; has && by.id != "" {
		target = strings.ToLower(str(sent))
	}
	e["id"] = target
	resp := c.s.write(c, func(t *tx) *response {
		if target == "" {
			return noSuch(k, by)
		}
		if _, found := t.get(k, t.workspace, key{id: target}); !found {
			return noSuch(k, by)
		}
		return t.replace(k, e)
	})
	return e, resp
}

// deleteEntity answers DELETE /{kind}/{key}: 204 for a missing entity, too.
func deleteEntity(c *call, k *kind, segment string) *response {
	by, resp := parseKey(k, segment)
	if resp != nil {
		return resp
	}
	e, resp := c.lookup(k, by)
	if resp != nil {
		return resp
	}
	if e == nil {
		return noContent()
	}
	if c.s.isDBLess() {
		return withoutDatabase("remove", k.name)
	}
	if resp := c.s.write(c, func(t *tx) *response { return t.erase(k, str(e["id"])) }); resp != nil {
		return resp
	}
	return &response{status: http.StatusNoContent}
}

// resolve replaces references by name with references by ID, in a copy of the body.
// An ID wins over a name. Names of missing entities are 400 (code 13).
func (c *call) resolve(k *kind, body map[string]any) (map[string]any, *response) {
	body = shallow(body)
	missing := map[string]map[string]string{}
	entities := map[string]string{}
	for _, ref := range k.foreign {
		if resp := c.resolveOne(ref, body, missing); resp != nil {
			return nil, resp
		}
		entities[ref.field] = ref.entity
	}
	if len(missing) > 0 {
		return nil, unresolved(missing, entities)
	}
	return body, nil
}

func (c *call) resolveOne(ref reference, body map[string]any, missing map[string]map[string]string) *response {
	switch body[ref.field].(type) {
	case nil, string, []any:
		return nil // the schema checks it
	case map[string]any:
	default:
		return unexpected()
	}
	value := body[ref.field].(map[string]any)
	if isUUID(str(value["id"])) {
		body[ref.field] = map[string]any{"id": value["id"]}
		return nil
	}
	parent := c.s.kinds[ref.entity]
	failed := map[string]string{}
	for _, by := range parent.uniques {
		name := str(value[by])
		if name == "" || by == "name" && nameProblem(name) != "" {
			continue
		}
		var found record
		var exists bool
		if resp := c.s.read(c.ctx(), func(st *store) { found, exists = st.tables[parent.name].byKey(c.workspace, by, name) }); resp != nil {
			return resp
		}
		if exists {
			body[ref.field] = map[string]any{"id": found.entity["id"]}
			return nil
		}
		failed[by] = name
	}
	if len(failed) > 0 {
		missing[ref.field] = failed
	}
	return nil
}
