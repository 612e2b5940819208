package schema

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
)

// Info describes a loaded plugin in GET /, under plugins.available_on_server.
type Info struct {
	Priority int    `json:"priority"`
	Version  string `json:"version"`
}

// Names returns the names of the loaded plugins, sorted.
func Names() []string {
	return slices.Sorted(maps.Keys(plugins()))
}

// Available returns the Info of each loaded plugin by name.
func Available() map[string]Info {
	out := map[string]Info{}
	for name, p := range plugins() {
		out[name] = Info{Priority: p.priority, Version: Version}
	}
	return out
}

// Version is the version of every bundled plugin, which is Kong's.
const Version = "3.9.1"

// PluginJSON returns the body of GET /schemas/plugins/{name}:
// {"fields":[...],"entity_checks":[...]}. It returns false for an unknown plugin.
func PluginJSON(name string) (json.RawMessage, bool) {
	p, ok := plugins()[name]
	if !ok {
		return nil, false
	}
	return p.public, true
}

// EntityJSON returns the body of GET /schemas/{entity} for plugins, services, routes
// and consumers. It returns false for any other name.
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
// The caller sets what Kong's store sets: the result has id and created_at only if
// the input has them, and never updated_at. References have to be by ID.
//
// Insert panics for an entity other than "plugins", "services", "routes" and
// "consumers".
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

// Shorthands validates the deprecated and shorthand fields of a body only. Kong does
// so before it resolves references and validates the rest.
func Shorthands(entity string, body map[string]any, patch bool) *Violation {
	ctx := insert
	if patch {
		ctx = update
	}
	return newViolation(mustEntity(entity).fill(cloneMap(body), ctx))
}

// Update validates the body of a PATCH and returns the merged entity. Records merge
// deeply. Arrays, sets, maps and references are replaced. null sets null, and is
// refused where a value is required. Neither argument is changed. As with Insert the
// caller sets updated_at; id and created_at stay unless the patch has them.
func Update(entity string, current, patch map[string]any) (map[string]any, *Violation) {
	rec := mustEntity(entity)
	data, old := cloneMap(patch), cloneMap(current)
	delete(data, "updated_at")
	delete(old, "updated_at")
	rec.hideDeprecated(old)
	// the Admin API sets the name of the plugin before it validates the body
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

// Reorder changes the order of every set of the entity, in place. Kong answers a set
// in the order of its hash table. Here that is never the order before, and it is the
// same for the same elements and salt.
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

// autoFields are the fields that Kong's store sets.
var autoFields = []string{"id", "created_at", "updated_at"}

// dropAuto removes updated_at, and other auto fields that are null.
func dropAuto(data map[string]any) {
	delete(data, "updated_at")
	for _, name := range autoFields {
		if v, ok := data[name]; ok && v == nil {
			delete(data, name)
		}
	}
}

// read returns a written entity as a select returns it.
func (r *record) read(data map[string]any) map[string]any {
	// a written entity has no shorthands
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

// merge applies a patch to an entity, records field by field. As in Kong the entity,
// not the patch, selects the subschema.
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

// hideDeprecated removes the deprecated fields that answers have, in every record.
// The row that Kong reads before it writes does not have them.
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

// hashOrder sorts a set by the hashes of its elements. A set that is sorted already is
// rotated by one.
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
