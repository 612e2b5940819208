package kongtest

import (
	"crypto/md5"
	"encoding/hex"
	"net/http"

	"github.com/google/uuid"
	"sigs.k8s.io/yaml"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest/schema"
)

const (
	emptyConfigHash   = "00000000000000000000000000000000"
	dblessWorkspaceID = "0dc6f45b-8f8d-40d2-a504-473544ee190b"
)

// SetDBLess removes the database, or adds it again. The entities stay.
func (s *Server) SetDBLess(dbless bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dbless = dbless
}

func (s *Server) isDBLess() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dbless
}

func (s *Server) hash() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.configHash
}

func (s *Server) setHash(document []byte) {
	sum := md5.Sum(document)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.configHash = hex.EncodeToString(sum[:])
}

func needsDBLess() *response {
	return message(http.StatusBadRequest, "this endpoint is only available when Kong is configured to not use a database")
}

// getConfig answers GET /config: the declarative configuration as YAML.
func getConfig(c *call) *response {
	if !c.s.isDBLess() {
		return needsDBLess()
	}
	doc := map[string]any{"_format_version": "3.0", "_transform": false}
	resp := c.s.read(c.ctx(), func(st *store) {
		for _, name := range kindNames {
			if list := st.exported(name); len(list) > 0 {
				doc[name] = list
			}
		}
	})
	if resp != nil {
		return resp
	}
	text, err := yaml.Marshal(doc)
	if err != nil {
		return unexpected()
	}
	return ok(map[string]any{"config": string(text)})
}

// exported lists the rows of a kind. References are plain IDs.
func (t *store) exported(name string) []any {
	var out []any
	tab := t.tables[name]
	if tab == nil {
		return nil
	}
	for _, id := range tab.ids {
		e := cloneMap(tab.rows[id].entity)
		for _, ref := range tab.kind.foreign {
			if parent := refID(e[ref.field]); parent != "" {
				e[ref.field] = parent
			}
		}
		out = append(out, e)
	}
	return out
}

// postConfig answers POST /config: the document replaces all entities.
func postConfig(c *call) *response {
	if !c.s.isDBLess() {
		return needsDBLess()
	}
	doc := c.post
	if text, isText := doc["config"].(string); isText {
		doc = map[string]any{}
		if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
			return invalidConfig("failed parsing declarative configuration: "+err.Error(), map[string]any{})
		}
	}
	l := newLoader(c)
	if doc["_format_version"] == nil {
		return l.invalid(map[string]any{"_format_version": "required field missing"})
	}
	l.load(doc)
	if l.failed() {
		return l.refuse()
	}
	resp := c.s.write(c, func(t *tx) *response {
		t.restore(l.store)
		return nil
	})
	if resp != nil {
		return resp
	}
	c.s.setHash(encode(doc))
	return created(l.answer())
}

func invalidConfig(text string, fields map[string]any) *response {
	return failure(http.StatusBadRequest, 14, "invalid declarative configuration", text, fields)
}

// loader reads a declarative configuration into a store of its own.
type loader struct {
	c         *call
	store     *store
	errors    map[string]map[int]any // by kind and position
	flattened []any
}

func newLoader(c *call) *loader {
	return &loader{c: c, store: newStore(c.s.kinds), errors: map[string]map[int]any{}}
}

// load reads the kinds in order: parents before the children that are nested in them.
func (l *loader) load(doc map[string]any) {
	for _, name := range kindNames {
		k := l.c.s.kinds[name]
		if k == nil {
			continue
		}
		list, _ := doc[name].([]any)
		for i, v := range list {
			body, _ := v.(map[string]any)
			doc = l.unnest(doc, k, l.add(k, i, body), body)
		}
	}
}

// unnest moves entities nested in body to the top, with a reference to their parent.
func (l *loader) unnest(doc map[string]any, parent *kind, id string, body map[string]any) map[string]any {
	doc = shallow(doc)
	for _, name := range kindNames {
		child := l.c.s.kinds[name]
		nested, _ := body[name].([]any)
		if child == nil || len(nested) == 0 {
			continue
		}
		list, _ := doc[name].([]any)
		for _, v := range nested {
			e, _ := v.(map[string]any)
			e = shallow(e)
			for _, ref := range child.foreign {
				if ref.entity == parent.name {
					e[ref.field] = map[string]any{"id": id}
				}
			}
			list = append(list[:len(list):len(list)], e)
		}
		doc[name] = list
	}
	return doc
}

// add validates and stores one entity and returns its ID.
func (l *loader) add(k *kind, position int, raw map[string]any) string {
	body := shallow(raw)
	for _, name := range kindNames {
		delete(body, name) // nested entities
	}
	for _, ref := range k.foreign {
		l.reference(ref, body)
	}
	e, resp := l.c.s.validateInsert(k, body)
	if resp != nil {
		l.fail(k, position, raw, resp)
		return ""
	}
	if e["id"] == nil {
		e["id"] = l.derivedID(k, e)
	}
	l.c.setStoreFields(k, e)
	id := str(e["id"])
	if _, declared := l.store.tables[k.name].rows[id]; declared {
		l.set(k.name, position, "uniqueness violation: '"+k.name+"' entity with primary key set to '"+id+"' already declared")
		return ""
	}
	l.store.tables[k.name].put(id, l.c.workspace, e, k.uniqueKeys(l.c.workspace, e))
	return id
}

// reference turns a plain ID or name into a foreign key.
func (l *loader) reference(ref reference, body map[string]any) {
	name, isString := body[ref.field].(string)
	if !isString {
		return
	}
	if e, found := l.store.get(l.c.s.kinds[ref.entity], l.c.workspace, keyOf(name)); found {
		name = str(e["id"])
	}
	body[ref.field] = map[string]any{"id": name}
}

// derivedID is an ID made of the unique keys, as in Kong.
func (l *loader) derivedID(k *kind, e map[string]any) string {
	keys := k.uniqueKeys(l.c.workspace, e)
	if len(keys) == 0 {
		return l.c.s.newID()
	}
	return uuid.NewSHA1(uuid.NameSpaceDNS, []byte(k.name+keys[0].index)).String()
}

func (l *loader) set(kind string, position int, problem any) {
	if l.errors[kind] == nil {
		l.errors[kind] = map[int]any{}
	}
	l.errors[kind][position] = problem
}

func (l *loader) fail(k *kind, position int, raw map[string]any, resp *response) {
	fields, _ := resp.body.(map[string]any)["fields"].(map[string]any)
	l.set(k.name, position, fields)
	flat := map[string]any{"entity_type": k.name[:len(k.name)-1], "entity": raw, "errors": flattenErrors("", fields)}
	for _, f := range []string{"name", "id", "tags"} {
		if raw[f] != nil {
			flat["entity_"+f] = raw[f]
		}
	}
	l.flattened = append(l.flattened, flat)
}

func flattenErrors(prefix string, fields map[string]any) []any {
	var out []any
	for _, name := range sortedKeys(fields) {
		switch v := fields[name].(type) {
		case map[string]any:
			out = append(out, flattenErrors(prefix+name+".", v)...)
		case []any:
			for _, text := range v {
				out = append(out, map[string]any{"type": "entity", "message": text})
			}
		default:
			out = append(out, map[string]any{"type": "field", "field": prefix + name, "message": v})
		}
	}
	return out
}

func (l *loader) failed() bool { return len(l.errors) > 0 }

// refuse answers the errors by position, or as a list with flatten_errors.
func (l *loader) refuse() *response {
	if flatten := l.c.query["flatten_errors"]; flatten != nil && flatten != "0" {
		resp := l.invalid(map[string]any{})
		resp.body.(map[string]any)["flattened_errors"] = l.flattened
		return resp
	}
	fields := map[string]any{}
	for name, positions := range l.errors {
		last := 0
		for i := range positions {
			last = max(last, i)
		}
		list := make([]any, last+1)
		for i, problem := range positions {
			list[i] = problem
		}
		fields[name] = list
	}
	return l.invalid(fields)
}

func (l *loader) invalid(fields map[string]any) *response {
	return invalidConfig("declarative config is invalid: "+luaTable(fields), fields)
}

// answer is every entity by kind and ID.
func (l *loader) answer() map[string]any {
	out := map[string]any{}
	for name, tab := range l.store.tables {
		if len(tab.ids) == 0 {
			continue
		}
		rows := map[string]any{}
		for id, r := range tab.rows {
			e := l.c.s.render(tab.kind, r.entity)
			if name == "plugins" {
				hideDeprecated(e)
			}
			rows[id] = e
		}
		out[name] = rows
	}
	return out
}

// hideDeprecated removes deprecated fields from a config: this response lacks them.
func hideDeprecated(e map[string]any) {
	raw, _ := schema.PluginJSON(str(e["name"]))
	config, _ := e["config"].(map[string]any)
	known := map[string]bool{}
	for _, f := range configFields(raw) {
		for name := range f.(map[string]any) {
			known[name] = true
		}
	}
	for name := range config {
		if !known[name] {
			delete(config, name)
		}
	}
}
