package kongtest

import "strings"

// SeedDuplicate is Seed of a plugin whose name and scope another plugin has already: in a database
// that was restored without its unique index. Later writes to its place see only the other one.
func (s *Server) SeedDuplicate(body map[string]any) map[string]any {
	k := s.table("plugins").kind
	body = plain(body)
	c := s.backdoor(defaultWorkspace)
	var e map[string]any
	panicOnError(s.backdoorTx(defaultWorkspace, func(t *tx) *response {
		var resp *response
		if e, resp = s.validateInsert(k, t.resolveNames(k, body)); resp != nil {
			return resp
		}
		c.setStoreFields(k, e)
		id := strings.ToLower(str(e["id"]))
		t.tables[k.name].put(id, t.workspace, e, nil)
		t.record("create", k.name, id, nil, e, false)
		return nil
	}), "seed a duplicate of plugins")
	return cloneMap(e)
}
