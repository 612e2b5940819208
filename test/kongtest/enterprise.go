package kongtest

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest/schema"
)

// defaultWorkspace is the workspace of a path without one.
const defaultWorkspace = "default"

// enterpriseFields are the plugin fields of Kong Enterprise. The schemas are those of
// the community edition, so these fields are removed before validation and restored
// after it.
func (s *Server) enterpriseFields() []string {
	fields := []string{"consumer_group", "ordering"}
	for _, newer := range []struct {
		field string
		minor int
	}{{"partials", 10}, {"condition", 14}} {
		if isAtLeast(s.fullVersion(), 3, newer.minor) {
			fields = append(fields, newer.field)
		}
	}
	return fields
}

// isAtLeast compares the first two numbers of a version.
func isAtLeast(version string, major, minor int) bool {
	var have [2]int
	if _, err := fmt.Sscanf(version, "%d.%d", &have[0], &have[1]); err != nil {
		return false
	}
	return slices.Compare(have[:], []int{major, minor}) >= 0
}

// linked returns the links of a plugin to partials as Kong answers them: with the path that
// they have when none was sent.
func linked(partials any) any {
	list, _ := partials.([]any)
	for i, link := range list {
		if fields, ok := link.(map[string]any); ok && fields["path"] == nil {
			out := shallow(fields)
			out["path"] = "config.redis"
			list[i] = out
		}
	}
	return partials
}

type taken map[string]any

// takeEnterpriseFields removes the Enterprise fields from body and returns them. It
// does nothing for the community edition, whose schema refuses them.
func (s *Server) takeEnterpriseFields(body map[string]any) taken {
	if !s.cfg.enterprise {
		return nil
	}
	out := taken{}
	for _, f := range s.enterpriseFields() {
		if v, sent := body[f]; sent {
			out[f] = v
			delete(body, f)
		}
	}
	return out
}

// restoreEnterpriseFields sets the fields in e. A field that was not taken comes from current, or is
// null.
func (s *Server) restoreEnterpriseFields(x taken, e, current map[string]any) {
	if x == nil {
		return
	}
	for _, f := range s.enterpriseFields() {
		v, sent := x[f]
		if !sent {
			v = current[f]
		}
		if f == "partials" {
			v = linked(v)
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
