package kongtest

import (
	"cmp"
	"encoding/json"
	"maps"
	"regexp"
	"strings"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest/schema"
)

// decodeForm turns form arguments into a body. A second call does nothing.
func (c *call) decodeForm(k *kind) { c.decodeWith(k, "") }

// decodePatch is decodeForm for a PATCH, whose body need not have the plugin's name.
func (c *call) decodePatch(k *kind, current map[string]any) {
	c.decodeWith(k, str(current["name"]))
}

func (c *call) decodeWith(k *kind, plugin string) {
	if c.form == nil {
		return
	}
	maps.Copy(c.post, nest(c.form))
	c.form = nil
	fields := entityFields(k.name)
	if k.name == "plugins" {
		if name := str(c.post["name"]); name != "" {
			plugin = name
		}
		if raw, found := schema.PluginJSON(plugin); found {
			fields = append(fields, map[string]any{"config": map[string]any{"type": "record", "fields": configFields(raw)}})
		}
	}
	inferRecord(c.post, fields)
}

var indexed = regexp.MustCompile(`^(.+)\[(\d*)\]$`)

// compareIndexed orders names; names with an index by the index.
func compareIndexed(a, b string) int {
	m, n := indexed.FindStringSubmatch(a), indexed.FindStringSubmatch(b)
	if m == nil || n == nil || m[1] != n[1] {
		return strings.Compare(a, b)
	}
	return cmp.Or(cmp.Compare(len(m[2]), len(n[2])), strings.Compare(m[2], n[2]))
}

// setPath stores a value under a dotted name: "config.a" is a field of config,
// "tags[]" a list.
func setPath(into map[string]any, names []string, value any) {
	name := names[0]
	if len(names) > 1 {
		sub, isMap := into[name].(map[string]any)
		if !isMap {
			sub = map[string]any{}
			into[name] = sub
		}
		setPath(sub, names[1:], value)
		return
	}
	m := indexed.FindStringSubmatch(name)
	if m == nil {
		into[name] = value
		return
	}
	list, _ := into[m[1]].([]any)
	if more, isList := value.([]any); isList {
		into[m[1]] = append(list, more...)
		return
	}
	into[m[1]] = append(list, value)
}

// inferRecord converts strings to the types of the schema's fields.
func inferRecord(record map[string]any, fields []any) {
	for _, f := range fields {
		one, _ := f.(map[string]any)
		for name, def := range one {
			if v, has := record[name]; has {
				record[name] = infer(v, def)
			}
		}
	}
}

func infer(v, def any) any {
	d, _ := def.(map[string]any)
	if v == "" {
		return nil
	}
	switch str(d["type"]) {
	case "number", "integer":
		if n, isNumber := luaNumber(str(v)); isNumber {
			return n
		}
	case "boolean":
		if v == "true" || v == "false" {
			return v == "true"
		}
	case "array", "set":
		return inferList(v, d["elements"])
	case "record":
		if m, isMap := v.(map[string]any); isMap {
			fields, _ := d["fields"].([]any)
			inferRecord(m, fields)
		}
	case "map":
		if m, isMap := v.(map[string]any); isMap {
			for key, e := range m {
				m[key] = infer(e, d["values"])
			}
		}
	}
	return v
}

func inferList(v, elements any) any {
	list, isList := v.([]any)
	if !isList {
		list = []any{v}
	}
	for i, e := range list {
		list[i] = infer(e, elements)
	}
	return list
}

func entityFields(entity string) []any {
	raw, _ := schema.EntityJSON(entity)
	return schemaFields(raw)
}

func schemaFields(raw json.RawMessage) []any {
	var doc struct{ Fields []any }
	if json.Unmarshal(raw, &doc) != nil {
		return nil
	}
	return doc.Fields
}

// configFields are the fields of config in a plugin's schema.
func configFields(raw json.RawMessage) []any {
	for _, f := range schemaFields(raw) {
		one, _ := f.(map[string]any)
		if config, is := one["config"].(map[string]any); is {
			fields, _ := config["fields"].([]any)
			return fields
		}
	}
	return nil
}
