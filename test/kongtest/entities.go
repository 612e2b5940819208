package kongtest

import (
	"net/http"
	"strings"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest/schema"
)

// key is what a path segment names: an ID, or the value of the endpoint key.
type key struct {
	id   string // in lower case
	name string
	sent string // the ID as it was sent
}

// parseKey reads a path segment. A name that could not be one is 400 (code 10).
func parseKey(k *kind, segment string) (key, *reply) {
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

// lookup reads the row of a key; nil if there is none.
func (c *call) lookup(k *kind, by key) (e map[string]any, rep *reply) {
	rep = c.s.read(c.ctx(), func(st *store) { e, _ = st.get(k, c.workspace, by) })
	return e, rep
}

// find reads the row that a path segment names, or answers 404.
func (c *call) find(k *kind, segment string) (map[string]any, *reply) {
	by, rep := parseKey(k, segment)
	if rep != nil {
		return nil, rep
	}
	e, rep := c.lookup(k, by)
	if rep == nil && e == nil {
		rep = notFound()
	}
	return e, rep
}

// show is an entity as Kong answers it: a copy of its own, sets in the order of a
// hash table.
func (s *Server) show(k *kind, e map[string]any) map[string]any {
	out := cloneMap(e)
	if k.name != "consumer_groups" { // which has no schema here
		schema.Reorder(k.name, out, uint64(s.cfg.seed))
	}
	return out
}

// getEntity answers GET /{kind}/{key}.
func getEntity(c *call, k *kind, segment string) *reply {
	e, rep := c.find(k, segment)
	if rep != nil {
		return rep
	}
	return ok(c.s.show(k, e))
}

// postEntity answers POST /{kind}.
func postEntity(c *call, k *kind) *reply {
	e, rep := c.prepare(k, "create")
	if rep != nil {
		return rep
	}
	if e["id"] == nil {
		e["id"] = c.s.newID()
	}
	rep = c.s.write(c, func(t *tx) *reply {
		if c.nullID() {
			return primaryKeyViolation(map[string]any{"id": nil})
		}
		return t.insert(k, e)
	})
	if rep != nil {
		return rep
	}
	return created(c.s.show(k, e))
}

// nullID says whether the body has an ID of null. Kong makes none then, and
// PostgreSQL wants one.
func (c *call) nullID() bool {
	id, sent := c.post["id"]
	return sent && id == nil
}

// putEntity answers PUT /{kind}/{key}: create or replace, 200 either way. The key
// of the path wins over the body, whose ID has to be one all the same.
func putEntity(c *call, k *kind, segment string) *reply {
	by, rep := parseKey(k, segment)
	if rep != nil {
		return rep
	}
	c.decodeForm(k)
	if by.id == "" {
		c.post[k.endpointKey] = by.name
		c.byName = true
	}
	e, rep := c.prepare(k, "create or update")
	if rep != nil {
		return rep
	}
	if by.id != "" {
		e["id"] = by.id
	}
	if rep := c.s.write(c, func(t *tx) *reply { return t.upsert(c, k, by, e) }); rep != nil {
		return rep
	}
	return ok(c.s.show(k, e))
}

// upsert inserts e, or replaces the row that by names; e gets that row's ID. A key
// by name is what is said to be violated, whatever it was.
func (t *tx) upsert(c *call, k *kind, by key, e map[string]any) *reply {
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

// prepare turns the body of a POST or PUT into the complete entity, without the
// database seeing a write.
func (c *call) prepare(k *kind, verb string) (map[string]any, *reply) {
	c.decodeForm(k)
	e, rep := c.complete(k, c.post)
	if rep != nil {
		return nil, rep
	}
	if c.s.isDBLess() {
		return nil, withoutDatabase(verb, k.name)
	}
	return e, nil
}

// complete validates a body and fills in defaults and timestamps. created_at is
// now unless it was sent; updated_at always is. A plugin that is addressed by its
// instance name goes past the check of protocols, as it does in Kong.
func (c *call) complete(k *kind, body map[string]any) (map[string]any, *reply) {
	if !c.byName {
		if rep := c.checkProtocols(k, body); rep != nil {
			return nil, rep
		}
	}
	if rep := checkShorthands(k, body, false); rep != nil {
		return nil, rep
	}
	body, rep := c.resolve(k, body)
	if rep != nil {
		return nil, rep
	}
	e, rep := c.s.validateInsert(k, body)
	if rep != nil {
		return nil, rep
	}
	now := seconds(c.s.cfg.clock())
	if e["created_at"] == nil {
		e["created_at"] = now
	}
	e["updated_at"] = now
	return e, nil
}

// lowerReferences writes foreign IDs as PostgreSQL answers them.
func lowerReferences(k *kind, e map[string]any) {
	for _, ref := range k.foreign {
		if id := refID(e[ref.field]); id != "" {
			e[ref.field] = map[string]any{"id": strings.ToLower(id)}
		}
	}
}

// patchEntity answers PATCH /{kind}/{key}: it reads the row, merges, and writes all
// of it back, so that of two at once one may be lost, as in Kong.
func patchEntity(c *call, k *kind, segment string) *reply {
	by, rep := parseKey(k, segment)
	if rep != nil {
		return rep
	}
	current, rep := c.lookup(k, by)
	if rep != nil {
		return rep
	}
	c.decodePatch(k, current)
	if current == nil {
		return c.patchMissing(k, by)
	}
	e, rep := c.merge(k, by, current)
	if rep != nil {
		return rep
	}
	if c.s.isDBLess() {
		return withoutDatabase("update", k.name)
	}
	e, rep = c.update(k, by, current, e)
	if rep != nil {
		return rep
	}
	return ok(c.s.show(k, e))
}

// patchMissing answers a PATCH of a row that does not exist. Without a name Kong
// reads the plugin first, to know its schema, and answers the plain 404. With a name
// the database answers.
func (c *call) patchMissing(k *kind, by key) *reply {
	if k.name == "plugins" {
		if _, sent := c.post["name"]; !sent {
			return notFound()
		}
		if by.id != "" {
			if rep := c.checkProtocols(k, c.post); rep != nil {
				return rep
			}
		}
	}
	if rep := checkShorthands(k, c.post, true); rep != nil {
		return rep
	}
	return noSuch(k, by)
}

func noSuch(k *kind, by key) *reply {
	if by.id == "" {
		return noSuchKey(k.endpointKey, by.name)
	}
	return noSuchID(by.sent)
}

func (c *call) merge(k *kind, by key, current map[string]any) (map[string]any, *reply) {
	if by.id != "" {
		if rep := c.checkPatchedProtocols(k, current); rep != nil {
			return nil, rep
		}
	}
	if rep := checkShorthands(k, c.post, true); rep != nil {
		return nil, rep
	}
	patch, rep := c.resolve(k, c.post)
	if rep != nil {
		return nil, rep
	}
	e, rep := c.s.validateUpdate(k, current, patch)
	if rep != nil {
		return nil, rep
	}
	if _, sent := c.post["created_at"]; !sent {
		e["created_at"] = current["created_at"]
	} else if e["created_at"] == nil {
		e["created_at"] = nil // a null is stored, and shown
	}
	e["updated_at"] = seconds(c.s.cfg.clock())
	return e, nil
}

// update writes a merged entity. A row that is addressed by ID is selected by the
// ID in the body if there is one; null is the ID of none.
func (c *call) update(k *kind, by key, current, e map[string]any) (map[string]any, *reply) {
	target := str(current["id"])
	if sent, has := c.post["id"]; has && by.id != "" {
		target = strings.ToLower(str(sent))
	}
	e["id"] = target
	rep := c.s.write(c, func(t *tx) *reply {
		if target == "" {
			return noSuch(k, by)
		}
		if _, found := t.get(k, t.workspace, key{id: target}); !found {
			return noSuch(k, by)
		}
		return t.replace(k, e)
	})
	return e, rep
}

// deleteEntity answers DELETE /{kind}/{key}: 204 whether it was there or not.
func deleteEntity(c *call, k *kind, segment string) *reply {
	by, rep := parseKey(k, segment)
	if rep != nil {
		return rep
	}
	e, rep := c.lookup(k, by)
	if rep != nil {
		return rep
	}
	if e == nil {
		return noContent()
	}
	if c.s.isDBLess() {
		return withoutDatabase("remove", k.name)
	}
	if rep := c.s.write(c, func(t *tx) *reply { return t.erase(k, str(e["id"])) }); rep != nil {
		return rep
	}
	return &reply{status: http.StatusNoContent}
}

// resolve replaces references by name with references by ID, in a copy of the
// body. An ID wins over a name; names that name nothing are 400 (code 13).
func (c *call) resolve(k *kind, body map[string]any) (map[string]any, *reply) {
	body = shallow(body)
	missing := map[string]map[string]string{}
	entities := map[string]string{}
	for _, ref := range k.foreign {
		if rep := c.resolveOne(ref, body, missing); rep != nil {
			return nil, rep
		}
		entities[ref.field] = ref.entity
	}
	if len(missing) > 0 {
		return nil, unresolved(missing, entities)
	}
	return body, nil
}

func (c *call) resolveOne(ref reference, body map[string]any, missing map[string]map[string]string) *reply {
	switch body[ref.field].(type) {
	case nil, string, []any:
		return nil // the schema deals with it
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
		if rep := c.s.read(c.ctx(), func(st *store) { found, exists = st.tables[parent.name].byKey(c.workspace, by, name) }); rep != nil {
			return rep
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
