package kongtest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest/schema"
)

// DisablePlugin uninstalls a plugin: Kong refuses writes of it and has no schema for
// it. Its rows stay.
func (s *Server) DisablePlugin(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disabled[name] = true
}

func (s *Server) isDisabled(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.disabled[name]
}

// loadedPlugins are the names of the plugins that are installed.
func (s *Server) loadedPlugins() []string {
	return slices.DeleteFunc(schema.Names(), s.isDisabled)
}

// validateInsert validates the body of a POST or PUT and returns the entity.
func (s *Server) validateInsert(k *kind, body map[string]any) (map[string]any, *response) {
	switch k.name {
	case "plugins":
		return s.validatePlugin(body)
	case "consumer_groups":
		return insertConsumerGroup(body)
	}
	e, v := schema.Insert(k.name, body)
	return e, violated(v)
}

func (s *Server) validatePlugin(body map[string]any) (map[string]any, *response) {
	if resp := s.checkPluginName(body["name"]); resp != nil {
		return nil, resp
	}
	if s.isDBLess() && countsInCluster(body) {
		return nil, violated(&schema.Violation{Fields: map[string]any{
			"config": map[string]any{"policy": "expected one of: local, redis"},
		}})
	}
	extra := s.takeEnterpriseFields(body)
	e, v := schema.Insert("plugins", body)
	if v != nil {
		return nil, violated(v)
	}
	s.restoreEnterpriseFields(extra, e, nil)
	return e, nil
}

// countsInCluster reports whether a plugin keeps counters in the database. A Kong
// without one does not have that policy.
func countsInCluster(body map[string]any) bool {
	config, _ := body["config"].(map[string]any)
	return config["policy"] == "cluster" && slices.Contains([]string{"rate-limiting", "response-ratelimiting"}, str(body["name"]))
}

// validateUpdate validates the body of a PATCH and returns the merged entity.
func (s *Server) validateUpdate(k *kind, current, patch map[string]any) (map[string]any, *response) {
	switch k.name {
	case "plugins":
		return s.validatePluginUpdate(current, patch)
	case "consumer_groups":
		return updateConsumerGroup(current, patch)
	}
	e, v := schema.Update(k.name, current, patch)
	return e, violated(v)
}

func (s *Server) validatePluginUpdate(current, patch map[string]any) (map[string]any, *response) {
	if _, sent := patch["name"]; sent {
		if resp := s.checkPluginName(patch["name"]); resp != nil {
			return nil, resp
		}
	}
	extra := s.takeEnterpriseFields(patch)
	bare := shallow(current)
	s.takeEnterpriseFields(bare)
	e, v := schema.Update("plugins", bare, patch)
	if v != nil {
		return nil, violated(v)
	}
	s.restoreEnterpriseFields(extra, e, current)
	return e, nil
}

// checkPluginName refuses plugins that are not installed. A number or a boolean breaks
// Kong (500, measured).
func (s *Server) checkPluginName(name any) *response {
	switch n := name.(type) {
	case float64, bool:
		return unexpected()
	case string:
		if s.isDisabled(n) {
			return violated(&schema.Violation{Fields: map[string]any{
				"name": fmt.Sprintf("plugin '%s' not enabled; add it to the 'plugins' configuration property", n),
			}})
		}
	}
	return nil
}

func violated(v *schema.Violation) *response {
	switch {
	case v == nil:
		return nil
	case v.Broken:
		return unexpected()
	}
	return schemaViolation(v.Message(), v.Fields)
}

// checkShorthands validates deprecated and shorthand fields. Kong does so before it
// resolves references.
func checkShorthands(k *kind, body map[string]any, patch bool) *response {
	if k.name == "consumer_groups" { // which has no schema here
		return nil
	}
	return violated(schema.Shorthands(k.name, body, patch))
}

// checkProtocols refuses protocols of a plugin that the route of its scope, or every
// route of the service of its scope, lacks. Kong checks the body as it was sent: a
// route that it cannot look up passes. A service that it cannot look up (a name, or
// no database) does not.
func (c *call) checkProtocols(k *kind, body map[string]any) *response {
	var protocols []any
	switch p := body["protocols"].(type) {
	case []any:
		protocols = p
	case map[string]any:
	default:
		return nil
	}
	if k.name != "plugins" {
		return nil
	}
	if isTable(body["route"]) {
		route := c.routeOf(body["route"])
		if route != nil && !intersect(protocols, route["protocols"]) {
			return protocolViolation("must match the associated route's protocols")
		}
		return nil
	}
	if isTable(body["service"]) && !c.serviceHasProtocol(refID(body["service"]), protocols) {
		return protocolViolation("must match the protocols of at least one route pointing to this Plugin's service")
	}
	return nil
}

func isTable(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return true
	}
	return false
}

// routeOf is the route of a reference with an ID and no other field, or nil.
func (c *call) routeOf(reference any) map[string]any {
	m, _ := reference.(map[string]any)
	if len(m) != 1 || !isUUID(refID(m)) {
		return nil
	}
	route, resp := c.lookup(c.s.kinds["routes"], key{id: strings.ToLower(refID(m))})
	if resp != nil {
		return nil
	}
	return route
}

// checkPatchedProtocols is checkProtocols for a PATCH. Kong checks only if the body
// has protocols, service or route; it reads the others from the row.
func (c *call) checkPatchedProtocols(k *kind, current map[string]any) *response {
	merged, check := map[string]any{}, false
	for _, f := range []string{"protocols", "service", "route"} {
		v, sent := c.post[f]
		if merged[f] = v; !sent {
			merged[f] = current[f]
		}
		check = check || sent
	}
	if !check {
		return nil
	}
	return c.checkProtocols(k, merged)
}

func protocolViolation(text string) *response {
	return violated(&schema.Violation{Fields: map[string]any{"protocols": text}})
}

// serviceHasProtocol reports whether a route of the service has one of the protocols.
// It is true for a service that is missing or has no routes.
func (c *call) serviceHasProtocol(id string, protocols []any) bool {
	if !isUUID(id) {
		return false
	}
	routes, matches := 0, 0
	resp := c.s.read(c.ctx(), func(st *store) {
		t := st.tables["routes"]
		for _, routeID := range t.refs[refKey("service", strings.ToLower(id))] {
			routes++
			if intersect(protocols, t.rows[routeID].entity["protocols"]) {
				matches++
			}
		}
	})
	return resp == nil && (routes == 0 || matches > 0)
}

func intersect(a []any, b any) bool {
	list, _ := b.([]any)
	for _, p := range a {
		for _, q := range list {
			if p == q {
				return true
			}
		}
	}
	return false
}
