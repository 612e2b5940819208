package kongtest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
)

// record is one row. A write replaces the entity and never changes it in place, so
// readers use it without a lock.
type record struct {
	workspace string
	entity    map[string]any
	keys      []uniqueKey
	encoded   *atomic.Pointer[[]byte] // see encodeRow
}

// table holds the rows of one kind in the order of their IDs, with its unique keys.
type table struct {
	kind *kind
	rows map[string]record
	ids  []string            // sorted
	keys map[string]string   // unique key -> id
	refs map[string][]string // reference (see refKey) -> ids, sorted
	tags map[string]idSet    // tag -> ids
}

type idSet map[string]struct{}

func newTable(k *kind) *table {
	return &table{kind: k, rows: map[string]record{}, keys: map[string]string{}, refs: map[string][]string{}, tags: map[string]idSet{}}
}

func refKey(field, parent string) string { return field + "|" + parent }

func (t *table) clone() *table {
	out := newTable(t.kind)
	out.ids = slices.Clone(t.ids)
	for id, r := range t.rows {
		out.rows[id] = r
	}
	for k, id := range t.keys {
		out.keys[k] = id
	}
	for k, ids := range t.refs {
		out.refs[k] = slices.Clone(ids)
	}
	for tag, ids := range t.tags {
		out.tags[tag] = maps.Clone(ids)
	}
	return out
}

// uniqueKey is one unique key of an entity: the entry of the index, and the fields
// that Kong answers when another row has the key.
type uniqueKey struct {
	index  string
	fields map[string]any
}

func indexKey(workspace, field string, value any) string {
	b, _ := json.Marshal(value) // JSON values always encode
	return workspace + "|" + field + "|" + string(b)
}

// uniqueKeys lists the keys of e in the order in which PostgreSQL checks them.
func (k *kind) uniqueKeys(workspace string, e map[string]any) []uniqueKey {
	var keys []uniqueKey
	if k.scope != nil {
		fields := map[string]any{}
		for _, f := range k.scope {
			fields[f] = scopeValue(e[f])
		}
		keys = append(keys, uniqueKey{indexKey(workspace, "scope", fields), fields})
	}
	for _, f := range k.uniques {
		if e[f] != nil {
			keys = append(keys, uniqueKey{indexKey(workspace, f, e[f]), map[string]any{f: e[f]}})
		}
	}
	return keys
}

func scopeValue(v any) any {
	if id := refID(v); id != "" {
		return map[string]any{"id": id}
	}
	return v
}

func (t *table) byKey(workspace, field, value string) (record, bool) {
	id, found := t.keys[indexKey(workspace, field, value)]
	return t.rows[id], found
}

// put inserts or replaces the row id with its keys.
func (t *table) put(id, workspace string, e map[string]any, keys []uniqueKey) {
	if old, exists := t.rows[id]; exists {
		t.unindex(id, old)
	} else {
		t.ids = added(t.ids, id)
	}
	t.rows[id] = record{workspace, e, keys, &atomic.Pointer[[]byte]{}}
	for _, k := range keys {
		t.keys[k.index] = id
	}
	for _, ref := range t.kind.foreign {
		if parent := refID(e[ref.field]); parent != "" {
			k := refKey(ref.field, parent)
			t.refs[k] = added(t.refs[k], id)
		}
	}
	for _, tag := range tagsOf(e) {
		if t.tags[tag] == nil {
			t.tags[tag] = idSet{}
		}
		t.tags[tag][id] = struct{}{}
	}
}

// tagsOf are the tags of an entity that are strings.
func tagsOf(e map[string]any) (tags []string) {
	list, _ := e["tags"].([]any)
	for _, v := range list {
		if tag, ok := v.(string); ok {
			tags = append(tags, tag)
		}
	}
	return tags
}

// withRarest lists, in order, the ids of rows with the rarest of the tags: all that a filter for all of
// them can accept. PostgreSQL has an index for tags too; without one, each lookup by tags would take as
// long as the table is.
func (t *table) withRarest(tags []string) []string {
	rarest := t.tags[tags[0]]
	for _, tag := range tags[1:] {
		if ids := t.tags[tag]; len(ids) < len(rarest) {
			rarest = ids
		}
	}
	if len(rarest) > len(t.ids)/8 {
		return t.ids
	}
	return slices.Sorted(maps.Keys(rarest))
}

func (t *table) remove(id string) {
	old, exists := t.rows[id]
	if !exists {
		return
	}
	t.unindex(id, old)
	delete(t.rows, id)
	t.ids = removed(t.ids, id)
}

func (t *table) unindex(id string, r record) {
	for _, k := range r.keys {
		delete(t.keys, k.index)
	}
	for _, ref := range t.kind.foreign {
		k := refKey(ref.field, refID(r.entity[ref.field]))
		if t.refs[k] = removed(t.refs[k], id); len(t.refs[k]) == 0 {
			delete(t.refs, k)
		}
	}
	for _, tag := range tagsOf(r.entity) {
		if delete(t.tags[tag], id); len(t.tags[tag]) == 0 {
			delete(t.tags, tag)
		}
	}
}

func added(ids []string, id string) []string {
	i, _ := slices.BinarySearch(ids, id)
	return slices.Insert(ids, i, id)
}

func removed(ids []string, id string) []string {
	i, found := slices.BinarySearch(ids, id)
	if !found {
		return ids
	}
	return slices.Delete(ids, i, i+1)
}

// after lists up to limit rows of the workspace, out of ids, with an ID greater
// than id that the filter accepts, in order.
func (t *table) after(ids []string, id, workspace string, limit int, accept func(map[string]any) bool) []record {
	i, found := slices.BinarySearch(ids, id)
	if found {
		i++
	}
	var out []record
	for ; i < len(ids) && len(out) < limit; i++ {
		r := t.rows[ids[i]]
		if r.workspace == workspace && accept(r.entity) {
			out = append(out, r)
		}
	}
	return out
}

// store is the content of the database: one table per kind. It is not safe for
// concurrent use; database has the lock.
type store struct {
	kinds  map[string]*kind
	tables map[string]*table
}

func newStore(kinds map[string]*kind) *store {
	s := &store{kinds: kinds, tables: map[string]*table{}}
	for name, k := range kinds {
		s.tables[name] = newTable(k)
	}
	return s
}

func (t *store) clone() *store {
	out := &store{kinds: t.kinds, tables: map[string]*table{}}
	for name, tab := range t.tables {
		out.tables[name] = tab.clone()
	}
	return out
}

// tx is one statement in a workspace. It reports its changes to record.
type tx struct {
	*store
	workspace string
	record    func(kind, entity, id string, before, after map[string]any, cascade bool)
}

// insert adds a new row, checking keys and references as PostgreSQL does: primary
// key, unique keys, then foreign keys.
func (t *tx) insert(k *kind, e map[string]any) *response {
	if unstorable(e) {
		return unexpected()
	}
	id := str(e["id"])
	if _, taken := t.tables[k.name].rows[strings.ToLower(id)]; taken {
		return primaryKeyViolation(map[string]any{"id": id})
	}
	return t.write(k, "create", e)
}

// replace overwrites the row with e's ID.
func (t *tx) replace(k *kind, e map[string]any) *response {
	if unstorable(e) {
		return unexpected()
	}
	return t.write(k, "update", e)
}

// write checks and stores a row. Keys and errors have IDs as the client wrote them,
// because Kong makes them from the request: one scope in upper and lower case is two
// keys. Columns have IDs in lower case.
func (t *tx) write(k *kind, change string, e map[string]any) *response {
	id := strings.ToLower(str(e["id"]))
	keys := k.uniqueKeys(t.workspace, e)
	if resp := t.check(k, id, e, keys); resp != nil {
		return resp
	}
	e["id"] = id
	lowerReferences(k, e)
	before := t.tables[k.name].rows[id].entity
	t.tables[k.name].put(id, t.workspace, e, keys)
	t.record(change, k.name, id, before, e, false)
	return nil
}

// latestTime is the last second of a PostgreSQL timestamp.
const latestTime = 9224318015999

// unstorable reports whether PostgreSQL refuses the values of a row: a text with a
// zero byte, or a time after latestTime.
func unstorable(v any) bool {
	switch x := v.(type) {
	case string:
		return strings.Contains(x, "\x00")
	case []any:
		return slices.ContainsFunc(x, unstorable)
	case map[string]any:
		if at, isNumber := x["created_at"].(float64); isNumber && at > latestTime {
			return true
		}
		for name, e := range x {
			if unstorable(name) || unstorable(e) {
				return true
			}
		}
	}
	return false
}

// check refuses a unique key of another row, then a reference to a missing row.
func (t *tx) check(k *kind, id string, e map[string]any, keys []uniqueKey) *response {
	for _, key := range keys {
		if holder, taken := t.tables[k.name].keys[key.index]; taken && holder != id {
			return uniqueViolation(key.fields)
		}
	}
	for _, ref := range k.foreign {
		parent := refID(e[ref.field])
		if parent == "" {
			continue
		}
		if r, exists := t.tables[ref.entity].rows[strings.ToLower(parent)]; !exists || r.workspace != t.workspace {
			return missingReference(ref.field, ref.entity, parent)
		}
	}
	for field, entity := range k.unsupported {
		if parent := refID(e[field]); parent != "" {
			return missingReference(field, entity, parent)
		}
	}
	return nil
}

// erase deletes a row and the rows that its deletion cascades to.
func (t *tx) erase(k *kind, id string) *response {
	r, exists := t.tables[k.name].rows[id]
	if !exists {
		return nil
	}
	if child := t.restricted(k, id); child != "" {
		return stillReferenced(k.name, child)
	}
	t.eraseChildren(k, id)
	t.tables[k.name].remove(id)
	t.record("delete", k.name, id, r.entity, nil, false)
	return nil
}

// restricted is a kind with rows that prevent the deletion of row id, or "".
func (t *tx) restricted(k *kind, id string) string {
	for _, child := range t.children(k, id, false) {
		return child.kind.name
	}
	return ""
}

func (t *tx) eraseChildren(k *kind, id string) {
	for _, child := range t.children(k, id, true) {
		tab := t.tables[child.kind.name]
		before := tab.rows[child.id].entity
		tab.remove(child.id)
		t.record("delete", child.kind.name, child.id, before, nil, true)
	}
}

type child struct {
	kind *kind
	id   string
}

// children lists the rows that reference the row id of k.
func (t *tx) children(k *kind, id string, cascade bool) []child {
	var out []child
	for _, name := range kindNames {
		tab := t.tables[name]
		if tab == nil {
			continue
		}
		for _, ref := range tab.kind.foreign {
			if ref.entity != k.name || ref.cascade != cascade {
				continue
			}
			for _, rowID := range tab.refs[refKey(ref.field, id)] {
				out = append(out, child{tab.kind, rowID})
			}
		}
	}
	return out
}
