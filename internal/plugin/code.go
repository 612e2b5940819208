package plugin

import (
	"maps"
	"regexp"
	"slices"
)

// CodeFields returns the names, sorted and unique, of the declared config fields whose values
// Kong runs as code, such as config.access of pre-function and config.callouts.request.by_lua
// of request-callout. Lists and maps are named without their indexes and keys. A field that is
// null or empty runs nothing.
//
// Kong's schema does not mark all such fields: it has functions and, in descriptions, Lua code.
// So CodeFields also knows names of plugins and of fields, and works without a schema. A name
// that only the config has may come from a Secret: see Redactor.RedactPath.
func CodeFields(p Plugin, s *Schema) []string {
	c := &codeFinder{found: map[string]bool{}, templates: templatePlugins[p.Name]}
	var r *record
	if s != nil {
		r = s.config
	}
	for name, value := range p.Config {
		if isCodeOf(p.Name, name) && !empty(value) {
			c.found["config."+name] = true
		}
	}
	c.object("config", r, p.Config)
	return slices.Sorted(maps.Keys(c.found))
}

// isCodeOf knows the fields that hold code without saying so in their names.
func isCodeOf(plugin, field string) bool {
	switch plugin {
	case "pre-function", "post-function":
		return true // a field for each phase
	case "exit-transformer":
		return field == "functions"
	}
	return false
}

// templatePlugins take templates, whose expressions are Lua (kong/plugins/request-transformer).
var templatePlugins = map[string]bool{"request-transformer": true, "request-transformer-advanced": true}

var (
	// codeName matches the names of fields that hold code: custom_fields_by_lua, by_lua,
	// message_by_lua_functions.
	codeName = regexp.MustCompile(`(?:^|_)by_lua(?:_|$)`)
	// codeDescription matches how Kong describes such fields.
	codeDescription = regexp.MustCompile(`(?i)\blua (?:code|functions?|scripts?|expressions?|chunks?)\b`)

	// expression matches the beginning of each expression in a template, and reference one
	// that only refers to a part of the request: $(headers.host), $(uri_captures["id"] or "-").
	expression = regexp.MustCompile(`\$\(`)
	reference  = regexp.MustCompile(`^\$\(\s*` + operand + `(?:\s+or\s+` + operand + `)*\s*\)`)
)

const operand = `(?:"[^"\\]*"|'[^'\\]*'|(?:headers|query_params|uri_captures|shared)` +
	`(?:\.[A-Za-z_]\w*|\[(?:"[^"\\]*"|'[^'\\]*'|\d+)\])*)`

// codeFinder collects the names of fields that hold code.
type codeFinder struct {
	found map[string]bool
	// templates: strings may be templates.
	templates bool
}

// object looks into an object, which is a record if the schema knows it.
func (c *codeFinder) object(path string, r *record, m map[string]any) {
	for name, value := range m {
		var f *field
		if r != nil {
			f = r.fields[name]
		}
		inner := path + "." + name
		if (codeName.MatchString(name) || f.code()) && !empty(value) {
			c.found[inner] = true
			continue
		}
		c.value(inner, f, value)
	}
}

// value looks into a value.
func (c *codeFinder) value(path string, f *field, value any) {
	switch v := value.(type) {
	case string:
		if c.templates && runsTemplate(v) {
			c.found[path] = true
		}
	case []any:
		for _, e := range v {
			c.value(path, f.element(), e)
		}
	case map[string]any:
		if f == nil || f.kind != kindMap {
			c.object(path, f.inner(), v)
			return
		}
		for _, e := range v {
			c.value(path, f.values, e)
		}
	}
}

// code reports whether the field, or the elements of its lists or maps, hold code.
func (f *field) code() bool {
	return f != nil && (f.runs || f.elements.code() || f.values.code())
}

func (f *field) element() *field {
	if f == nil {
		return nil
	}
	return f.elements
}

func (f *field) inner() *record {
	if f == nil {
		return nil
	}
	return f.record
}

// runsTemplate reports whether a template contains more than references to the request.
func runsTemplate(template string) bool {
	for _, at := range expression.FindAllStringIndex(template, -1) {
		if !reference.MatchString(template[at[0]:]) {
			return true
		}
	}
	return false
}

// empty reports whether a value is null, or an empty string, list or object.
func empty(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}
