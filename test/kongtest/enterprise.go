package kongtest

import (
	"net/http"
	"slices"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest/schema"
)

// defaultWorkspace is the workspace of a path without one.
const defaultWorkspace = "default"

// enterpriseFields are the plugin fields of Kong Enterprise. The schemas are those of
// the community edition, so these fields are removed before validation and restored
// after it.
var enterpriseFields = []string{"consumer_group", "ordering"}

type taken map[string]any

// takeEnterpriseFields removes the Enterprise fields from body and returns them. It
// does nothing for the community edition, whose schema refuses them.
func (s *Server) takeEnterpriseFields(body map[string]any) taken {
	if !s.cfg.enterprise {
		return nil
	}
	out := taken{}
	for _, f := range enterpriseFields {
		if v, sent := body[f]; sent {
			out[f] = v
			delete(body, f)
		}
	}
	return out
}

// restore sets the fields in e. A field that was not taken comes from current, or is
// null.
func (x taken) restore(e, current map[string]any) {
	if x == nil {
		return
	}
	for _, f := range enterpriseFields {
		v, sent := x[f]
		if !sent {
			v = current[f]
		}
		e[f] = v
	}
}

func insertConsumerGroup(body map[string]any) (map[string]any, *response) {
	e := map[string]any{"name": nil, "tags": nil}
	return updateConsumerGroup(e, body)
}

func updateConsumerGroup(current, patch map[string]any) (map[string]any, *response) {
	e := shallow(current)
	bad := map[string]any{}
	for f, v := range patch {
		if !slices.Contains([]string{"id", "name", "tags", "created_at", "updated_at"}, f) {
			bad[f] = "unknown field"
		}
		e[f] = v
	}
	if str(e["name"]) == "" {
		bad["name"] = "required field missing"
	}
	if len(bad) > 0 {
		return nil, violated(&schema.Violation{Fields: bad})
	}
	return e, nil
}

func (s *Server) workspaceNames() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sortedKeys(s.workspaces)
}

// getWorkspaces answers GET /workspaces.
func getWorkspaces(c *call) *response {
	list := []any{}
	for _, name := range c.s.workspaceNames() {
		list = append(list, map[string]any{"name": name})
	}
	return ok(map[string]any{"data": list, "next": nil})
}

// getWorkspace answers GET /workspaces/{name}.
func getWorkspace(c *call) *response {
	name := unescape(c.params[0], false)
	if !slices.Contains(c.s.workspaceNames(), name) {
		return notFound()
	}
	return jsonResponse(http.StatusOK, map[string]any{"name": name})
}
