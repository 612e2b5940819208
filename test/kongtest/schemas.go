package kongtest

import (
	"encoding/json"
	"net/http"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest/schema"
)

// getPluginSchema answers GET /schemas/plugins/{name}.
func getPluginSchema(c *call) *reply {
	raw, rep := c.pluginSchema()
	if rep != nil {
		return rep
	}
	return ok(raw)
}

func (c *call) pluginSchema() (json.RawMessage, *reply) {
	name := unescape(c.params[0], false)
	raw, found := schema.PluginJSON(name)
	if !found || c.s.isDisabled(name) {
		return nil, message(http.StatusNotFound, "No plugin named '"+name+"'")
	}
	return raw, nil
}

// getConfigSchema answers GET /plugins/schema/{name}: the fields of the config.
func getConfigSchema(c *call) *reply {
	raw, rep := c.pluginSchema()
	if rep != nil {
		return rep
	}
	fields := configFields(raw)
	if fields == nil {
		fields = []any{}
	}
	return ok(map[string]any{"fields": fields, "entity_checks": []any{}})
}

// getEntitySchema answers GET /schemas/{entity}.
func getEntitySchema(c *call) *reply {
	name := unescape(c.params[0], false)
	raw, found := schema.EntityJSON(name)
	if !found {
		return noSuchEntity(name)
	}
	return ok(raw)
}

func noSuchEntity(name string) *reply {
	return message(http.StatusNotFound, "No entity named '"+name+"'")
}

// postValidatePlugin answers POST /schemas/plugins/validate. It needs no database:
// neither references nor keys are looked at.
func postValidatePlugin(c *call) *reply { return c.validate("plugins") }

// postValidateEntity answers POST /schemas/{entity}/validate.
func postValidateEntity(c *call) *reply { return c.validate(unescape(c.params[0], false)) }

func (c *call) validate(entity string) *reply {
	k := c.s.kinds[entity]
	if _, known := schema.EntityJSON(entity); !known || k == nil {
		return noSuchEntity(entity)
	}
	c.decodeForm(k)
	if _, rep := c.s.validateInsert(k, c.post); rep != nil {
		return rep
	}
	return message(http.StatusOK, "schema validation successful")
}
