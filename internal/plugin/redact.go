package plugin

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// redacted replaces a value from a Secret.
const redacted = "[redacted]"

// minRedactLen is the length, in characters, from which a value is hidden wherever it stands.
// A shorter one is hidden only as a whole token, so that a port 80 does not hide the middle of
// an ID.
const minRedactLen = 4

// Redactor hides values that came from Secrets. Nil hides nothing. It is safe for
// concurrent use. It prints as "[redacted]", never as what it hides.
type Redactor struct {
	values []string
	// keys of objects that came from Secrets. They are hidden, unless the plugin has fields of
	// these names.
	keys map[string]bool
	// sources are the paths in the config whose values came from Secrets.
	sources sources
	// wrapped: the config has one key, config.
	wrapped bool
	// schema is nil until AllowFieldNames.
	schema *Schema

	once sync.Once
	// patterns are nil when there are too many of them. Then every text is hidden.
	patterns *patterns
	// separated are the keys that a path does not show as one name.
	separated *dictionary
}

// Redact returns s with "[redacted]" in place of each value from a Secret: as it is,
// escaped for JSON, for a URL or as a Go string, in base64, and line by line. A value with
// fewer than four characters is hidden where it stands as a whole token. Where values overlap,
// all of them are hidden. In a text that was cut short, and so ends in "...", the beginning of
// a value before the dots is hidden, too. A text of more than 16 KiB, and every text when the
// Secrets hold too many values, is hidden as a whole. The result for a text is always the same.
func (r *Redactor) Redact(s string) string {
	if r == nil || len(r.values) == 0 && len(r.keys) == 0 {
		return s
	}
	text, _ := r.redact(s)
	return text
}

// redact returns also the number of steps that it took.
func (r *Redactor) redact(s string) (text string, steps int) {
	r.once.Do(r.compile)
	if r.patterns == nil || len(s) > maxRedactText {
		return redacted, 0
	}
	found, complete := r.patterns.find(s, &steps)
	if !complete {
		return redacted, steps
	}
	return hide(s, found), steps
}

// String implements fmt.Stringer.
func (r *Redactor) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (r *Redactor) GoString() string { return redacted }

// addSecret adds every string and number inside the value. It is not safe for concurrent
// use, and must not be called after Redact.
func (r *Redactor) addSecret(value any) {
	switch v := value.(type) {
	case string:
		r.values = append(r.values, v)
	case float64:
		for _, format := range []struct {
			verb      byte
			precision int
		}{{'g', -1}, {'f', -1}, {'g', 14}, {'g', 16}} { // Go's forms, and those of Kong's Lua
			r.values = append(r.values, strconv.FormatFloat(v, format.verb, format.precision, 64))
		}
	case []any:
		for _, e := range v {
			r.addSecret(e)
		}
	case map[string]any:
		for key, e := range v {
			if r.keys == nil {
				r.keys = map[string]bool{}
			}
			if !isKongWord(key) {
				r.keys[key] = true
			}
			r.addSecret(e)
		}
	}
}

// AllowFieldNames shows the names of the plugin's own fields, which are not secret even if
// a Secret contains them, and Kong's messages that its schema alone determines. It is not
// safe for concurrent use, and must not be called after Redact.
func (r *Redactor) AllowFieldNames(s *Schema) {
	if r != nil && s != nil {
		r.schema = s
		s.config.removeKeys(r.keys)
	}
}

// removeKeys removes the names of all fields in the record from the set.
func (r *record) removeKeys(names map[string]bool) {
	for name, f := range r.fields {
		delete(names, name)
		f.removeKeys(names)
	}
	for _, d := range r.deprecated {
		delete(names, d.name)
	}
}

func (f *field) removeKeys(names map[string]bool) {
	if f == nil {
		return
	}
	if f.record != nil {
		f.record.removeKeys(names)
	}
	f.elements.removeKeys(names)
	f.values.removeKeys(names)
}

// RedactPath returns the path of a field with "[redacted]" in place of every name that only
// a Secret contains. The first name is one of the plugin entity's own fields, such as config.
func (r *Redactor) RedactPath(path string) string {
	if r == nil || len(r.keys) == 0 {
		return path
	}
	r.once.Do(r.compile)
	if r.showsSeparated(path) {
		return redacted // the names around it cannot be told from it
	}
	segments := strings.Split(path, ".")
	for i, segment := range segments[1:] {
		name, _, _ := strings.Cut(segment, "[")
		if r.keys[name] || r.keys[segment] {
			segments[i+1] = redacted
		}
	}
	return strings.Join(segments, ".")
}

// showsSeparated reports whether a path contains a key with separators of paths in it.
func (r *Redactor) showsSeparated(path string) bool {
	steps := 0
	for i := range path {
		if r.separated.longest(path[i:], &steps) >= 0 || steps > maxRedactSteps {
			return true
		}
	}
	return false
}

// RedactAll returns the redactor for a config whose Secrets are not known. It treats every
// value as one from a Secret.
func RedactAll(config map[string]any) *Redactor {
	r := &Redactor{sources: sources{all: true}}
	for _, value := range config {
		r.addSecret(value)
	}
	r.keys = nil
	return r
}

// compile computes every notation of every value when a text is first redacted. Most plugins
// are rendered and appear in no message.
func (r *Redactor) compile() {
	keys := slices.Sorted(maps.Keys(r.keys))
	r.patterns = compilePatterns(slices.Concat(r.values, keys))
	r.separated = newDictionary(slices.DeleteFunc(keys, func(key string) bool {
		return !strings.ContainsAny(key, ".[]")
	}))
}
