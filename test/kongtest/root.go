package kongtest

import (
	"embed"
	"encoding/json"
	"fmt"
	"math/rand"
	"net/http"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest/schema"
)

//go:embed data/*.json
var data embed.FS

// document reads an embedded response: the part that never changes.
func document(name string) map[string]any {
	b, err := data.ReadFile("data/" + name + ".json")
	var doc map[string]any
	if err == nil {
		err = json.Unmarshal(b, &doc)
	}
	if err != nil {
		panic(fmt.Sprintf("kongtest: %s: %v", name, err))
	}
	return doc
}

// SetVersion changes the version in GET / and in the Server header, as an upgrade
// does.
func (s *Server) SetVersion(version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version = version
}

func (s *Server) fullVersion() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cfg.enterprise {
		return s.version + "-enterprise-edition"
	}
	return s.version
}

// serverVersion follows "kong/" in the Server header.
func (s *Server) serverVersion() string { return s.fullVersion() }

// getRoot answers GET /. It reads the plugins in use from the database.
func getRoot(c *call) *response {
	inUse, resp := c.pluginsInUse()
	if resp != nil {
		return unexpectedHappened()
	}
	s := c.s
	doc := document("root")
	doc["version"], doc["node_id"] = s.fullVersion(), s.nodeID
	doc["edition"] = "community"
	if s.cfg.enterprise {
		doc["edition"] = "enterprise"
	}
	configuration := doc["configuration"].(map[string]any)
	configuration["database"] = "postgres"
	if s.isDBLess() {
		configuration["database"] = "off"
	}
	available, loaded := map[string]any{}, map[string]any{}
	for name, info := range schema.Available() {
		if !s.isDisabled(name) {
			available[name], loaded[name] = info, true
		}
	}
	configuration["loaded_plugins"] = loaded
	doc["plugins"] = map[string]any{"enabled_in_cluster": inUse, "available_on_server": available}
	return ok(doc)
}

// pluginsInUse are the names of the plugins that have rows.
func (c *call) pluginsInUse() ([]string, *response) {
	names := map[string]bool{}
	resp := c.s.read(c.ctx(), func(st *store) {
		for _, r := range st.tables["plugins"].rows {
			names[str(r.entity["name"])] = true
		}
	})
	return sortedKeys(names), resp
}

// getStatus answers GET /status. It is 200 also while the database is unreachable.
func getStatus(c *call) *response {
	doc := document("status")
	if c.s.isDBLess() {
		doc["configuration_hash"] = c.s.hash()
		return ok(doc)
	}
	doc["database"] = map[string]any{"reachable": c.s.available(c.ctx()) == nil}
	return ok(doc)
}

func getEndpoints(*call) *response {
	return ok(document("endpoints"))
}

// getEnabled answers GET /plugins/enabled, in random order as Kong does.
func getEnabled(c *call) *response {
	names := c.s.loadedPlugins()
	c.s.random(func(rnd *rand.Rand) {
		rnd.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	})
	return ok(map[string]any{"enabled_plugins": names})
}

func getTimers(*call) *response {
	return jsonResponse(http.StatusOK, map[string]any{
		"worker": map[string]any{"id": 0, "count": 2},
		"stats": map[string]any{
			"flamegraph": map[string]any{"running": "", "elapsed_time": "", "pending": ""},
			"timers":     map[string]any{},
			"sys":        map[string]any{"running": 0, "pending": 0, "waiting": 0, "runs": 0, "total": 0},
		},
	})
}
