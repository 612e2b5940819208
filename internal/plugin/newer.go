package plugin

import (
	"encoding/json"
	"slices"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// Fields of the plugin entity that newer versions of Kong Enterprise have and that a binding
// can declare. They have the same names in the spec. They are in Plugin.Unknown, because any
// other version of Kong refuses a body that has them, even with null.
const (
	FieldCondition = "condition"
	FieldPartials  = "partials"
)

// newerFieldsOf returns those of these fields that the spec declares, nil if it has none.
func newerFieldsOf(spec *v1alpha1.PluginBindingSpec) map[string]json.RawMessage {
	var fields map[string]json.RawMessage
	set := func(name string, value any) {
		if fields == nil {
			fields = map[string]json.RawMessage{}
		}
		fields[name], _ = json.Marshal(value) // strings, which never fail
	}
	if spec.Condition != "" {
		set(FieldCondition, spec.Condition)
	}
	if len(spec.Partials) > 0 {
		set(FieldPartials, spec.Partials) // its JSON has Kong's names
	}
	return fields
}

// samePartials compares links to partials. They have no order. Kong adds the path where it is
// not declared, and may answer the ID and the name where one of them is.
func (c *comparer) samePartials(desired, live any) bool {
	d, ok := asList(desired)
	l, alsoOK := asList(live)
	if !ok || !alsoOK || len(d) != len(l) {
		return c.sameValue(desired, live)
	}
	hasDeclared := func(link any) bool {
		return slices.ContainsFunc(l, func(other any) bool { return c.isSubset(link, other) })
	}
	isDeclared := func(link any) bool {
		return slices.ContainsFunc(d, func(other any) bool { return c.isSubset(other, link) })
	}
	return all(d, hasDeclared) && all(l, isDeclared)
}

func all(list []any, holds func(any) bool) bool {
	return !slices.ContainsFunc(list, func(e any) bool { return !holds(e) })
}

// pathsOfPartials returns the paths of the config that partials fill in, if the desired plugin
// declares any. Kong may answer there what the partial holds, or null. Neither is the binding's.
func pathsOfPartials(desired, live map[string]json.RawMessage) map[string]bool {
	if declared, _ := asList(decodedJSON(desired[FieldPartials])); len(declared) == 0 {
		return nil
	}
	paths := map[string]bool{}
	links, _ := asList(decodedJSON(live[FieldPartials]))
	for _, link := range links {
		fields, _ := asMap(link)
		if path, ok := fields["path"].(string); ok {
			paths[path] = true
		}
	}
	return paths
}
