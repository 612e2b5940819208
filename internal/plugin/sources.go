package plugin

import (
	"regexp"
	"slices"
	"strings"
)

// sources are the places in a config whose values came from Secrets. They leave out the
// indexes of arrays: Kong's messages count from one or from zero, and a place that came from
// a Secret makes its whole array one that did.
type sources struct {
	// all: every value came from a Secret.
	all   bool
	paths []string
}

// add adds the place that a JSON pointer names by its tokens.
func (s *sources) add(tokens []string) {
	tokens = slices.DeleteFunc(slices.Clone(tokens), func(token string) bool { return token == "-" })
	s.paths = append(s.paths, withoutIndexes("config."+strings.Join(tokens, ".")))
}

func (s *sources) none() bool { return !s.all && len(s.paths) == 0 }

var (
	bracketedIndex = regexp.MustCompile(`\[\d+\]`)
	index          = regexp.MustCompile(`^\d*$`)
)

// withoutIndexes removes the indexes of arrays, and empty names, from the path of a field.
func withoutIndexes(path string) string {
	names := strings.Split(bracketedIndex.ReplaceAllString(path, ""), ".")
	return strings.Join(slices.DeleteFunc(names, index.MatchString), ".")
}

// include reports whether Kong's message about the field at the path may contain a value
// that came from a Secret: of this field, of one inside it, or of one around it. A message
// without a path is about the plugin as a whole. A path that was cut short may be any.
//
// The schema tells the other names of a deprecated field. Without one, every path in the
// config is included.
func (s *sources) include(path string, schema *Schema) bool {
	cut := strings.HasSuffix(path, "...")
	path = withoutIndexes(path)
	switch {
	case s.none():
		return false
	case path == "" || cut:
		return true
	case path != "config" && !strings.HasPrefix(path, "config."):
		return false
	case s.all || schema == nil:
		return true
	}
	for _, source := range s.paths {
		if related(path, source) {
			return true
		}
		names := strings.Split(source, ".")[1:]
		others, known := schema.config.synonyms(names)
		if !known || slices.ContainsFunc(others, func(other []string) bool {
			return related(path, "config."+strings.Join(other, "."))
		}) {
			return true
		}
	}
	return false
}

// related reports whether one of the paths is the other, or leads into it.
func related(a, b string) bool {
	return strings.HasPrefix(a+".", b+".") || strings.HasPrefix(b+".", a+".")
}

// synonyms returns the other paths by which Kong may name a value: a deprecated name, or the
// one that replaced it. known is false if Kong does not say which that is.
func (r *record) synonyms(path []string) (paths [][]string, known bool) {
	if len(path) == 0 {
		return nil, true
	}
	for _, d := range r.deprecated {
		if d.name == path[0] && len(d.paths) == 0 {
			return nil, false
		}
		for _, replacement := range d.paths {
			switch n := len(replacement); {
			case d.name == path[0]:
				paths = append(paths, slices.Concat(replacement, path[1:]))
			case len(path) < n && slices.Equal(path, replacement[:len(path)]):
				paths = append(paths, []string{d.name})
			case len(path) >= n && slices.Equal(replacement, path[:n]):
				paths = append(paths, slices.Concat([]string{d.name}, path[n:]))
			}
		}
	}
	inner, rest := r.fields[path[0]].inside(path[1:])
	if inner == nil {
		return paths, true
	}
	others, known := inner.synonyms(rest)
	for _, other := range others {
		paths = append(paths, slices.Concat(path[:len(path)-len(rest)], other))
	}
	return paths, known
}

// inside returns the record in which the rest of a path goes on, and that rest; nil if the
// path ends before, or the schema does not know.
func (f *field) inside(path []string) (*record, []string) {
	switch {
	case f == nil:
		return nil, nil
	case f.record != nil:
		return f.record, path
	case f.elements != nil:
		return f.elements.inside(path)
	case f.values != nil && len(path) > 0:
		return f.values.inside(path[1:])
	}
	return nil, nil
}
