package plugin

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Declared returns what a binding has to declare so that Kong holds the config of a live plugin: the
// config without nulls, defaults and deprecated twins. The argument is not changed; the result
// shares values with it. Without a schema, it leaves out only nulls.
//
// Values that Kong generated stay: a plugin that is made anew must have them again.
func (s *Schema) Declared(config map[string]any) map[string]any {
	if s == nil {
		return withoutNulls(config)
	}
	declared := s.config.declared(config)
	d := &differences{comparer: &comparer{}, first: true}
	if d.record("config", s.config, declared, config); len(d.fields) > 0 {
		return withoutNulls(config) // the comparison ran out of steps, or the schema does not tell what a write makes of it
	}
	return declared
}

func withoutNulls(config map[string]any) map[string]any {
	out := maps.Clone(config)
	maps.DeleteFunc(out, func(_ string, value any) bool { return value == nil })
	return out
}

func (r *record) declared(live map[string]any) map[string]any {
	out := map[string]any{}
	for name, value := range live {
		f := r.fields[name]
		inner, isRecord := asMap(value)
		switch {
		case f == nil && (value == nil || r.isDeprecated(name)):
		case f == nil:
			out[name] = value
		case f.isImplied(value):
		case f.record != nil && isRecord:
			out[name] = f.record.declared(inner)
		default:
			out[name] = value
		}
	}
	return out
}

func (r *record) isDeprecated(name string) bool {
	return slices.ContainsFunc(r.deprecated, func(d deprecatedField) bool { return d.name == name })
}

// isImplied reports whether Kong gives the field this value when nothing declares it.
func (f *field) isImplied(value any) bool {
	d := &differences{comparer: &comparer{}, first: true}
	d.field("", f, optional{}, optional{value, true})
	return len(d.fields) == 0
}

// HiddenFields returns the JSON pointers, sorted, of the fields of a declared config whose values do
// not belong into the open: Kong encrypts them or may take them from a vault, they hold code, their
// names say that they are secret, or the schema does not know them. A list or a map counts as a
// whole. A reference to a vault is no secret. Without a schema, every field is one.
func HiddenFields(pluginName string, config map[string]any, s *Schema) []string {
	h := &hiddenFinder{plugin: pluginName, templates: templatePlugins[pluginName]}
	if s == nil {
		for name, value := range config {
			h.add("", name, value)
		}
	} else {
		h.record("", s.config, config)
	}
	slices.Sort(h.found)
	return h.found
}

type hiddenFinder struct {
	plugin    string
	templates bool
	found     []string
}

var escapeToken = strings.NewReplacer("~", "~0", "/", "~1")

func (h *hiddenFinder) add(path, name string, value any) {
	if !empty(value) {
		h.found = append(h.found, path+"/"+escapeToken.Replace(name))
	}
}

func (h *hiddenFinder) record(path string, r *record, config map[string]any) {
	for name, value := range config {
		f := r.fields[name]
		inner, isRecord := asMap(value)
		switch {
		case path == "" && isCodeOf(h.plugin, name), h.holdsCode(name, f, value), f == nil && !r.isPublicTwin(name):
			h.add(path, name, value)
		case f != nil && f.record != nil && isRecord && !f.secret:
			h.record(path+"/"+escapeToken.Replace(name), f.record, inner)
		case (f.sensitive() || secretName.MatchString(name)) && holdsText(value):
			h.add(path, name, value)
		}
	}
}

// holdsCode reports whether Kong runs the value, or a part of it.
func (h *hiddenFinder) holdsCode(name string, f *field, value any) bool {
	return codeName.MatchString(name) || f.code() || h.hasTemplate(value)
}

// isPublicTwin reports whether a name is a deprecated one that is not secret.
func (r *record) isPublicTwin(name string) bool {
	return r.isDeprecated(name) && !(&Schema{config: r}).Sensitive("config."+name)
}

// hasTemplate reports whether the value contains a template that runs code.
func (h *hiddenFinder) hasTemplate(value any) bool {
	switch v := value.(type) {
	case string:
		return h.templates && runsTemplate(v)
	case []any:
		return slices.ContainsFunc(v, h.hasTemplate)
	}
	return false
}

// secretName matches the names of fields that hold secrets in plugins whose schemas do not say so.
var secretName = regexp.MustCompile(`(?i)(?:passw(?:or)?d|passphrase|secret|token|credentials?|private_key|api_?key)$`)

// vaultReference matches what Kong takes from a vault.
var vaultReference = regexp.MustCompile(`^\{vault://[^}]*\}$`)

// holdsText reports whether a value contains a text that is not a reference to a vault. Numbers and
// booleans are no secrets.
func holdsText(value any) bool {
	switch v := value.(type) {
	case string:
		return v != "" && !vaultReference.MatchString(v)
	case []any:
		return slices.ContainsFunc(v, holdsText)
	case map[string]any:
		for _, e := range v {
			if holdsText(e) {
				return true
			}
		}
	}
	return false
}

// TakeOut removes the value at a JSON pointer from a config, and returns it. It returns false if there
// is none, or if the pointer leads into a list. The config is changed in place, except that TakeOut
// leaves empty objects.
func TakeOut(config map[string]any, pointer string) (any, bool) {
	tokens, problem := parsePointer(pointer)
	if problem != "" {
		return nil, false
	}
	for _, token := range tokens[:len(tokens)-1] {
		inner, ok := config[token].(map[string]any)
		if !ok {
			return nil, false
		}
		config = inner
	}
	last := tokens[len(tokens)-1]
	value, ok := config[last]
	delete(config, last)
	return value, ok
}
