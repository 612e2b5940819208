package tenancy

import (
	"maps"
	"slices"
	"strings"
)

// runsCode lists the plugins whose config is code as a whole.
var runsCode = []string{"exit-transformer", "post-function", "pre-function"}

// RunsCode reports whether the config of a plugin is code as a whole. Other plugins run code only
// if a field of their config holds some.
func RunsCode(plugin string) bool { return slices.Contains(runsCode, plugin) }

// IsCodeField reports whether a field of a config holds code, by its name and its description in
// the schema of the plugin. Kong's schema has no other mark for code: the description of these
// fields speaks of Lua code or Lua functions. The name alone decides where there is no description,
// for custom_fields_by_lua, message_by_lua_functions, by_lua and functions.
func IsCodeField(name, description string) bool {
	if strings.Contains(name, "by_lua") || name == "functions" {
		return true
	}
	text := strings.ToLower(description)
	return strings.Contains(text, "lua code") || strings.Contains(text, "lua function")
}

// Bounds of CodeFields. A config that exceeds them counts as code.
const (
	maxConfigDepth = 64
	maxCodeFields  = 16
)

// CodeFields returns the paths of the fields that hold code by their names, in a stable order. The
// paths have no indexes. A field with an empty value holds no code. CodeFields is the safety net
// beneath the schema, whose descriptions it does not know. The result has at most 16 paths.
func CodeFields(config map[string]any) []string {
	w := codeWalk{}
	w.object(config)
	return w.found
}

// codeWalk is a walk through a config. It builds a path only for what it finds.
type codeWalk struct {
	path  []string
	found []string
}

func (w *codeWalk) value(value any) {
	switch value := value.(type) {
	case map[string]any:
		w.object(value)
	case []any:
		w.path = append(w.path, "")
		for _, child := range value {
			w.value(child)
		}
		w.path = w.path[:len(w.path)-1]
	}
}

func (w *codeWalk) object(object map[string]any) {
	if len(w.path) > maxConfigDepth {
		w.add("a field that is nested too deeply")
		return
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if len(w.found) >= maxCodeFields {
			return
		}
		w.path = append(w.path, name)
		if child := object[name]; !IsCodeField(name, "") {
			w.value(child)
		} else if !empty(child) {
			w.add(strings.Join(slices.DeleteFunc(slices.Clone(w.path), func(part string) bool { return part == "" }), "."))
		}
		w.path = w.path[:len(w.path)-1]
	}
}

func (w *codeWalk) add(path string) {
	if !slices.Contains(w.found, path) {
		w.found = append(w.found, path)
	}
}

func empty(value any) bool {
	switch value := value.(type) {
	case nil:
		return true
	case string:
		return value == ""
	case map[string]any:
		return len(value) == 0
	case []any:
		return len(value) == 0
	}
	return false
}
