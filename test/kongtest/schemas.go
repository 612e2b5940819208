package kongtest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest/schema"
)

// getPluginSchema answers GET /schemas/plugins/{name}.
func getPluginSchema(c *call) *response {
	raw, resp := c.pluginSchema()
	if resp != nil {
		return resp
	}
	return ok(raw)
}

func (c *call) pluginSchema() (json.RawMessage, *response) {
	name := unescape(c.params[0], false)
	raw, found := schema.PluginJSON(name)
	if !found || c.s.isDisabled(name) {
		return nil, message(http.StatusNotFound, "No plugin named '"+name+"'")
	}
	if c.s.isDBLess() {
		raw = bytes.ReplaceAll(raw, []byte(`["local","cluster","redis"]`), []byte(`["local","redis"]`))
	}
	return raw, nil
}

// getConfigSchema answers GET /plugins/schema/{name}: the fields of the config.
func getConfigSchema(c *call) *response {
	raw, resp := c.pluginSchema()
	if resp != nil {
		return resp
	}
	fields := configFields(raw)
	if fields == nil {
		fields = []any{}
	}
	return ok(map[string]any{"fields": fields, "entity_checks": []any{}})
}

// getEntitySchema answers GET /schemas/{entity}.
func getEntitySchema(c *call) *response {
	name := unescape(c.params[0], false)
	raw, found := schema.EntityJSON(name)
	if !found {
		return noSuchEntity(name)
	}
	return ok(raw)
}

func noSuchEntity(name string) *response {
	return message(http.StatusNotFound, "No entity named '"+name+"'")
}

// postValidatePlugin answers POST /schemas/plugins/validate. It checks neither
// references nor keys and needs no database.
func postValidatePlugin(c *call) *response { return c.validate("plugins") }

// postValidateEntity answers POST /schemas/{entity}/validate.
func postValidateEntity(c *call) *response { return c.validate(unescape(c.params[0], false)) }

// validate checks all parameters of the request as one entity. Arguments of the query
// are fields, a dotted name is a path in JSON, too, and values of a form stay text.
// An invalid shorthand breaks Kong here (500).
func (c *call) validate(entity string) *response {
	k := c.s.kinds[entity]
	if _, known := schema.EntityJSON(entity); !known || k == nil {
		return noSuchEntity(entity)
	}
	params := map[string]any{}
	query, _ := parseArgs(c.r.URL.RawQuery, maxSchemaArgs)
	for _, from := range []args{query, c.form} {
		for _, name := range sortedKeys(from) {
			setPath(params, strings.Split(name, "."), last(name, from[name]))
		}
	}
	for name, value := range undotted(c.post) {
		params[name] = value
	}
	if v := schema.Shorthands(entity, params, false); v != nil {
		return unexpected()
	}
	if _, resp := c.s.validateInsert(k, params); resp != nil {
		return resp
	}
	return message(http.StatusOK, "schema validation successful")
}

// last is the value of an argument, the last one if the name is repeated and no list.
func last(name string, value any) any {
	list, repeated := value.([]any)
	if !repeated || strings.HasSuffix(name, "[]") {
		return value
	}
	return list[len(list)-1]
}

// undotted expands dotted names at every depth.
func undotted(body map[string]any) map[string]any {
	out := map[string]any{}
	for _, name := range sortedKeys(body) {
		value := body[name]
		if m, isMap := value.(map[string]any); isMap {
			value = undotted(m)
		}
		setPath(out, strings.Split(name, "."), value)
	}
	return out
}
