package kongtest

import (
	"fmt"
	"slices"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest/schema"
)

// DisablePlugin makes a plugin one that is not installed: writes of it are refused
// and its schema is gone. Rows of it stay.
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

// validateInsert is the schema's verdict on the body of a POST or PUT.
func (s *Server) validateInsert(k *kind, body map[string]any) (map[string]any, *reply) {
	switch k.name {
	case "plugins":
		return s.validatePlugin(body)
	case "consumer_groups":
		return insertConsumerGroup(body)
	}
	e, v := schema.Insert(k.name, body)
	return e, violated(v)
}

func (s *Server) validatePlugin(body map[string]any) (map[string]any, *reply) {
	if rep := s.checkPluginName(body["name"]); rep != nil {
		return nil, rep
	}
	extra := s.takeEnterpriseFields(body)
	e, v := schema.Insert("plugins", body)
	if v != nil {
		return nil, violated(v)
	}
	extra.restore(e, nil)
	return e, nil
}

// validateUpdate is the schema's verdict on a PATCH, and the row it makes.
func (s *Server) validateUpdate(k *kind, current, patch map[string]any) (map[string]any, *reply) {
	switch k.name {
	case "plugins":
		return s.validatePluginUpdate(current, patch)
	case "consumer_groups":
		return updateConsumerGroup(current, patch)
	}
	e, v := schema.Update(k.name, current, patch)
	return e, violated(v)
}

func (s *Server) validatePluginUpdate(current, patch map[string]any) (map[string]any, *reply) {
	if _, sent := patch["name"]; sent {
		if rep := s.checkPluginName(patch["name"]); rep != nil {
			return nil, rep
		}
	}
	extra := s.takeEnterpriseFields(patch)
	bare := shallow(current)
	s.takeEnterpriseFields(bare)
	e, v := schema.Update("plugins", bare, patch)
	if v != nil {
		return nil, violated(v)
	}
	extra.restore(e, current)
	return e, nil
}

// checkPluginName refuses plugins that are not installed; a name that is not a
// string breaks Kong (500, measured).
func (s *Server) checkPluginName(name any) *reply {
	switch n := name.(type) {
	case nil:
		return nil
	case string:
		if s.isDisabled(n) {
			return violated(&schema.Violation{Fields: map[string]any{
				"name": fmt.Sprintf("plugin '%s' not enabled; add it to the 'plugins' configuration property", n),
			}})
		}
		return nil
	default:
		return unexpected()
	}
}

func violated(v *schema.Violation) *reply {
	if v == nil {
		return nil
	}
	return schemaViolation(v.Message(), v.Fields)
}

// checkProtocols refuses a plugin whose protocols, if they were sent, have nothing
// in common with the route, or with any route of the service, that it is for.
func (c *call) checkProtocols(k *kind, body map[string]any) *reply {
	protocols, sent := body["protocols"].([]any)
	if k.name != "plugins" || !sent {
		return nil
	}
	routes := c.s.kinds["routes"]
	if id := refID(body["route"]); id != "" {
		route, _ := c.lookup(routes, key{id: id}) // Kong ignores a failing look-up here
		if route != nil && !common(protocols, route["protocols"]) {
			return protocolViolation("must match the associated route's protocols")
		}
		return nil
	}
	if _, isTable := body["route"].(map[string]any); isTable {
		return nil
	}
	if id := refID(body["service"]); id != "" && !c.serviceSpeaks(id, protocols) {
		return protocolViolation("must match the protocols of at least one route pointing to this Plugin's service")
	}
	return nil
}

// checkPatchedProtocols is checkProtocols for a PATCH of protocols or scope.
func (c *call) checkPatchedProtocols(k *kind, current map[string]any) *reply {
	touched := false
	merged := map[string]any{}
	for _, f := range []string{"protocols", "service", "route"} {
		v, sent := c.post[f]
		if merged[f] = v; !sent {
			merged[f] = current[f]
		}
		touched = touched || v != nil
	}
	if !touched {
		return nil
	}
	return c.checkProtocols(k, merged)
}

func protocolViolation(text string) *reply {
	return violated(&schema.Violation{Fields: map[string]any{"protocols": text}})
}

// serviceSpeaks is true for a service without routes.
func (c *call) serviceSpeaks(id string, protocols []any) bool {
	routes, matches := 0, 0
	rep := c.s.read(c.ctx(), func(st *store) {
		t := st.tables["routes"]
		for _, routeID := range t.refs[refKey("service", id)] {
			routes++
			if common(protocols, t.rows[routeID].entity["protocols"]) {
				matches++
			}
		}
	})
	return rep != nil || routes == 0 || matches > 0
}

func common(a []any, b any) bool {
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
