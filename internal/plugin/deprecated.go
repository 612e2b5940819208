package plugin

import "maps"

// translate moves declared deprecated fields to the fields that replaced them, as Kong does
// before it fills in defaults: a value that is declared at the new place wins, null there
// does not. If the schema does not say how to translate a deprecated field, translate
// compares it with the same field in Kong's answer, if present, and takes over the
// replacement fields from the answer. Otherwise it moves the value to the field in which it
// reappears in the answer. The arguments are not changed.
func (r *record) translate(desired, live map[string]any) map[string]any {
	out := desired
	for _, d := range r.deprecated {
		value, ok := desired[d.name]
		if !ok {
			continue
		}
		out = maps.Clone(out)
		delete(out, d.name)
		if r.translatable(d) {
			out = withAll(out, d.paths, func([]string) any { return value })
			continue
		}
		if _, shown := live[d.name]; shown {
			out = withAll(out, d.paths, func(path []string) any { return valueAt(live, path) })
			out[d.name] = value
			continue
		}
		out[r.findReplacement(d, value, out, live)] = value
	}
	return out
}

// findReplacement finds the field into which Kong moved a deprecated field's value when the
// schema does not say: a field of the same shape that is not declared and holds the value,
// preferably one that is not at its default. It returns the deprecated name if there is
// none, because Kong changed or dropped the value; then that field is a difference.
func (r *record) findReplacement(d deprecatedField, value any, desired, live map[string]any) string {
	replacement := d.name
	for _, name := range r.names {
		f := r.fields[name]
		if _, declared := desired[name]; declared || f.generated || shape(f.kind) != shape(d.kind) {
			continue
		}
		if !f.same(value, live[name]) {
			continue
		}
		if !f.same(f.missing(), live[name]) {
			return name
		}
		if replacement == d.name {
			replacement = name
		}
	}
	return replacement
}

// translatable reports whether a deprecated field's value can be compared in the fields
// that replaced it.
func (r *record) translatable(d deprecatedField) bool {
	if len(d.paths) == 0 {
		return false
	}
	for _, path := range d.paths {
		f := r.find(path)
		if f == nil || shape(f.kind) != shape(d.kind) {
			return false
		}
	}
	return true
}

// shape is the kind of a field as far as JSON tells kinds apart.
func shape(kind string) string {
	switch kind {
	case "integer":
		return "number"
	case kindSet:
		return kindArray
	}
	return kind
}

// withAll returns the object with a value at each path, unless something is there.
func withAll(m map[string]any, paths [][]string, value func(path []string) any) map[string]any {
	for _, path := range paths {
		m = with(m, path, value(path))
	}
	return m
}

// with returns the object with the value at the path, unless something is there.
func with(m map[string]any, path []string, value any) map[string]any {
	old := m[path[0]]
	if len(path) > 1 {
		inner, ok := old.(map[string]any)
		if !ok && old != nil {
			return m
		}
		value = with(inner, path[1:], value)
	} else if old != nil {
		return m
	}
	out := maps.Clone(m)
	if out == nil {
		out = map[string]any{}
	}
	out[path[0]] = value
	return out
}

// valueAt returns what is at the path, nil when nothing is.
func valueAt(m map[string]any, path []string) any {
	if len(path) == 1 {
		return m[path[0]]
	}
	inner, _ := m[path[0]].(map[string]any)
	return valueAt(inner, path[1:])
}
