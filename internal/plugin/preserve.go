package plugin

import (
	"maps"
	"slices"
)

// PreserveServerFields returns the desired plugin as a PUT over the live one has to send
// it: with the live ID and CreatedAt, and with the values that Kong generated and would
// generate anew, such as the secret of a session plugin that declares none. A new secret
// would end all sessions. Fields of the live entity that this package does not know are kept,
// too, unless the desired one declares them: a PUT without its condition would apply a plugin
// to every request. Neither argument is changed; the result shares with them what is
// the same.
func PreserveServerFields(desired, live Plugin, s *Schema) Plugin {
	out := desired
	out.ID = live.ID
	out.CreatedAt = live.CreatedAt
	if desired.Name != live.Name {
		return out
	}
	out.Unknown = preserveUnknown(desired.Unknown, live.Unknown)
	if s != nil {
		out.Config = s.config.preserve(desired.Config, live.Config, &comparer{})
	}
	return out
}

// preserve returns the desired record with the generated values of the live one where the
// desired one declares none.
func (r *record) preserve(desired, live map[string]any, c *comparer) map[string]any {
	if !r.generates || !c.spend(len(r.names)) {
		return desired
	}
	// A field that is declared by its deprecated name is declared: Kong refuses both together.
	declared := r.translate(desired, live, c)
	out := maps.Clone(desired)
	for _, name := range r.names {
		value, ok := desired[name]
		if ok {
			out[name] = r.fields[name].preserveInside(value, live[name], c)
			continue
		}
		if _, ok := declared[name]; ok {
			continue
		}
		if value, ok := r.fields[name].generatedValue(live[name], c); ok {
			if out == nil {
				out = map[string]any{}
			}
			out[name] = value
		}
	}
	return out
}

// generatedValue returns what a write has to send for a field that is not declared.
func (f *field) generatedValue(live any, c *comparer) (any, bool) {
	if f.generated {
		return live, isGeneratedValue(live)
	}
	if f.record == nil || !f.required || f.hasDefault {
		// A record that is sent in part loses its default.
		return nil, false
	}
	l, _ := asMap(live)
	inner := f.record.preserve(nil, l, c)
	return inner, len(inner) > 0
}

// preserveInside returns a declared value with the generated values inside it. Elements of
// arrays pair by their index. Elements of sets have no pair, and stay as declared.
func (f *field) preserveInside(desired, live any, c *comparer) any {
	if !f.generates() {
		return desired
	}
	switch d := desired.(type) {
	case map[string]any:
		l, _ := live.(map[string]any)
		if f.record != nil {
			return f.record.preserve(d, l, c)
		}
		if f.kind == kindMap {
			out := maps.Clone(d)
			for key, value := range d {
				out[key] = f.values.preserveInside(value, l[key], c)
			}
			return out
		}
	case []any:
		l, _ := live.([]any)
		if f.kind == kindArray && len(d) == len(l) {
			out := slices.Clone(d)
			for i, value := range d {
				out[i] = f.elements.preserveInside(value, l[i], c)
			}
			return out
		}
	}
	return desired
}

// generates reports whether the field contains a generated field.
func (f *field) generates() bool {
	switch {
	case f == nil:
		return false
	case f.record != nil:
		return f.record.generates
	}
	return f.elements.generates() || f.values.generates()
}

// isGeneratedValue reports whether Kong may have generated the value: a key, a secret, an
// ID or a time.
func isGeneratedValue(v any) bool {
	if _, ok := number(v); ok {
		return true
	}
	s, ok := v.(string)
	return ok && s != ""
}
