package schema

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
)

// Info is what GET / tells of a loaded plugin under plugins.available_on_server.
type Info struct {
	Priority int    `json:"priority"`
	Version  string `json:"version"`
}

// Names returns the names of the loaded plugins, sorted.
func Names() []string {
	return slices.Sorted(maps.Keys(plugins()))
}

// Available returns priority and version of each loaded plugin, as GET / of
// Kong 3.9.1 lists them under plugins.available_on_server.
func Available() map[string]Info {
	out := map[string]Info{}
	for name, p := range plugins() {
		out[name] = Info{Priority: p.priority, Version: Version}
	}
	return out
}

// Version is the version of every bundled plugin: that of Kong itself.
const Version = "3.9.1"

// PluginJSON returns what GET /schemas/plugins/{name} answers:
// {"fields":[...],"entity_checks":[...]}. It is false for a plugin that is not loaded.
func PluginJSON(name string) (json.RawMessage, bool) {
	p, ok := plugins()[name]
	if !ok {
		return nil, false
	}
	return p.public, true
}

// EntityJSON returns what GET /schemas/{entity} answers, for plugins, services,
// routes and consumers; false for any other name.
func EntityJSON(entity string) (json.RawMessage, bool) {
	e, ok := entities()[entity]
	if !ok {
		return nil, false
	}
	return e.public, true
}

// Insert validates the body of a POST or PUT and returns the complete entity as
// Kong 3.9.1 stores and answers it: every field present, null where unset,
// defaults filled, shorthands expanded and deprecated twins shown. The input is
// not changed.
//
// What the store provides is left to it: id and created_at are in the result
// only when the client gave them, updated_at never (Kong overwrites it), and
// references have to be by ID.
//
// An entity that is not one of "plugins", "services", "routes" and "consumers"
// is a mistake of the caller and panics.
func Insert(entity string, input map[string]any) (map[string]any, *Violation) {
	rec := mustEntity(entity)
	data := cloneMap(input)
	dropAuto(data)
	if errs := rec.fill(data, insert); errs != nil {
		return nil, newViolation(errs)
	}
	if v := newViolation(rec.validateAll(data, true)); v != nil {
		return nil, v
	}
	return rec.read(data), nil
}

// Shorthands judges only the deprecated and shorthand fields of a body, which Kong
// does before it resolves references and looks at anything else.
func Shorthands(entity string, body map[string]any, patch bool) *Violation {
	ctx := insert
	if patch {
		ctx = update
	}
	return newViolation(mustEntity(entity).fill(cloneMap(body), ctx))
}

// Update validates the body of a PATCH against the entity as it is and returns
// the entity as it becomes. Records merge deeply; arrays, sets, maps and
// references are replaced; null sets null, and is refused where a value is
// required. Neither argument is changed. As with Insert, updated_at is the
// store's to set; id and created_at stay unless the patch has them.
func Update(entity string, current, patch map[string]any) (map[string]any, *Violation) {
	rec := mustEntity(entity)
	data, old := cloneMap(patch), cloneMap(current)
	delete(data, "updated_at")
	delete(old, "updated_at")
	rec.hideDeprecated(old)
	// the Admin API fills in the name of the plugin before it looks at the body
	if _, ok := data[rec.subKey]; !ok && entity == "plugins" {
		data[rec.subKey] = old[rec.subKey]
	}
	if errs := rec.fill(data, update); errs != nil {
		return nil, newViolation(errs)
	}
	merged := rec.merge(data, old)
	if v := newViolation(rec.validateAll(merged, false)); v != nil {
		return nil, v
	}
	return rec.read(merged), nil
}

// Reorder puts the elements of every set of the entity in another order, in place.
// Kong keeps a set in a hash table and answers its elements in the order of that,
// which is never the order of the request here. The order is the same for the same
// elements and salt.
func Reorder(entity string, e map[string]any, salt uint64) {
	mustEntity(entity).reorder(e, salt)
}

func mustEntity(name string) *record {
	e, ok := entities()[name]
	if !ok {
		panic("schema: no entity " + name)
	}
	return e.rec
}

// autoFields are set by the store when an entity is written.
var autoFields = []string{"id", "created_at", "updated_at"}

// dropAuto removes what the store sets: a null counts as not given.
func dropAuto(data map[string]any) {
	delete(data, "updated_at")
	for _, name := range autoFields {
		if v, ok := data[name]; ok && v == nil {
			delete(data, name)
		}
	}
}

// read turns a written entity into what a read shows of it.
func (r *record) read(data map[string]any) map[string]any {
	// a written entity has no shorthand left that could be refused
	_ = r.fill(data, selecting)
	for _, name := range autoFields {
		if data[name] == nil {
			delete(data, name)
		}
	}
	if config, ok := data["config"].(map[string]any); ok {
		data["config"] = rounded(config)
	}
	return data
}

// merge lays a patch over an entity, records field by field. As in Kong the
// entity, not the patch, picks the subschema here.
func (r *record) merge(top, bottom map[string]any) map[string]any {
	out := map[string]any{}
	for _, m := range []map[string]any{bottom, top} {
		for k, v := range m {
			out[k] = v
		}
	}
	sub := r.sub(bottom)
	for _, nf := range r.fields {
		f := r.resolve(nf.name, sub)
		table, isTable := asTable(top[nf.name])
		if isTable && f.Type == "record" && f.rec != nil && !f.Abstract {
			out[nf.name] = f.rec.merge(table, tableOrEmpty(bottom[nf.name]))
		}
	}
	return out
}

// hideDeprecated removes the deprecated twins that answers show, in every record:
// Kong does not see them in what it reads before it writes.
func (r *record) hideDeprecated(data map[string]any) {
	for _, s := range r.shorthands {
		delete(data, s.name)
	}
	sub := r.sub(data)
	for _, nf := range r.fields {
		f := r.resolve(nf.name, sub)
		if inner, ok := data[nf.name].(map[string]any); ok && f.rec != nil {
			f.rec.hideDeprecated(inner)
		}
	}
}

func (r *record) reorder(data map[string]any, salt uint64) {
	sub := r.sub(data)
	for _, nf := range r.fields {
		r.resolve(nf.name, sub).reorder(data[nf.name], salt)
	}
}

func (f *field) reorder(v any, salt uint64) {
	switch t := v.(type) {
	case []any:
		if f.Type == "set" {
			hashOrder(t, salt)
		}
		for _, e := range t {
			if f.Elements != nil {
				f.Elements.reorder(e, salt)
			}
		}
	case map[string]any:
		for _, k := range sortedKeys(t) {
			if f.Values != nil {
				f.Values.reorder(t[k], salt)
			}
		}
		if f.rec != nil {
			f.rec.reorder(t, salt)
		}
	}
}

// hashOrder sorts a set by the hashes of its elements, or differently if that is
// the order it has.
func hashOrder(set []any, salt uint64) {
	hashes := make(map[string]uint64, len(set))
	key := func(e any) string {
		b, _ := json.Marshal(e) // JSON values always encode
		return string(b)
	}
	for _, e := range set {
		k := key(e)
		h := fnv.New64a()
		_, _ = fmt.Fprintf(h, "%d %s", salt, k) // a hash takes everything
		hashes[k] = h.Sum64()
	}
	byHash := func(a, b any) int { return cmp.Compare(hashes[key(a)], hashes[key(b)]) }
	if !slices.IsSortedFunc(set, byHash) {
		slices.SortStableFunc(set, byHash)
		return
	}
	if len(set) > 1 {
		copy(set, append(slices.Clone(set[1:]), set[0]))
	}
}
