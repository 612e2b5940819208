package plugin

import (
	"slices"
	"strings"
)

// Sensitive reports whether a field, named as Differences names it, may hold a secret: Kong
// encrypts it, or may take it from a vault. A record, a map or a list is sensitive if a field
// inside it is, and so is what a sensitive field contains. A field of the config that the
// schema does not know is sensitive; with a nil Schema all of them are.
func (s *Schema) Sensitive(path string) bool {
	names, ok := strings.CutPrefix(path, "config.")
	switch {
	case path == "config":
		return s == nil || s.config.sensitive()
	case !ok:
		return false
	case s == nil:
		return true
	}
	return s.config.sensitiveAt(strings.Split(names, "."))
}

// PublicDifferences returns those Differences that may be shown to somebody who may not know
// the live plugin's config. It leaves out sensitive fields: their names would tell whether the
// desired value, a guess, is the live one. It is not a test for equality: it returns nothing
// also if only sensitive fields differ.
func PublicDifferences(desired, live Plugin, s *Schema) []string {
	return slices.DeleteFunc(Differences(desired, live, s), s.Sensitive)
}

// sensitive reports whether the record contains a sensitive field.
func (r *record) sensitive() bool {
	return slices.ContainsFunc(r.names, func(name string) bool { return r.fields[name].sensitive() })
}

func (f *field) sensitive() bool {
	return f != nil && (f.secret || f.record != nil && f.record.sensitive() || f.elements.sensitive() || f.values.sensitive())
}

func (r *record) sensitiveAt(path []string) bool {
	if f := r.fields[path[0]]; f != nil {
		if len(path) == 1 || f.secret {
			return f.sensitive()
		}
		return f.record == nil || f.record.sensitiveAt(path[1:])
	}
	for _, d := range r.deprecated {
		if d.name == path[0] {
			return d.secret || !r.translatable(d) || slices.ContainsFunc(d.paths, r.sensitiveAt)
		}
	}
	return true
}
