package schema

import (
	"encoding/json"
	"fmt"
	"strings"
)

// field is one field definition, in the attributes of Kong's schema files.
type field struct {
	Type          string      `json:"type"`
	Required      bool        `json:"required"`
	Nilable       bool        `json:"nilable"`
	Abstract      bool        `json:"abstract"`
	Auto          bool        `json:"auto"`
	Referenceable bool        `json:"referenceable"`
	Default       optional    `json:"default"`
	Reference     string      `json:"reference"`
	Elements      *field      `json:"elements"`
	Keys          *field      `json:"keys"`
	Values        *field      `json:"values"`
	Err           string      `json:"err"`
	Deprecation   deprecation `json:"deprecation"`

	Eq         optional     `json:"eq"`
	Ne         optional     `json:"ne"`
	OneOf      []any        `json:"one_of"`
	NotOneOf   []any        `json:"not_one_of"`
	Gt         *float64     `json:"gt"`
	Timestamp  bool         `json:"timestamp"`
	UUID       bool         `json:"uuid"`
	IsRegex    bool         `json:"is_regex"`
	Between    []float64    `json:"between"`
	LenEq      *int         `json:"len_eq"`
	LenMin     *int         `json:"len_min"`
	LenMax     *int         `json:"len_max"`
	StartsWith string       `json:"starts_with"`
	NotMatch   string       `json:"not_match"`
	Match      string       `json:"match"`
	MatchNone  []patternErr `json:"match_none"`
	MatchAll   []patternErr `json:"match_all"`
	MatchAny   *anyPattern  `json:"match_any"`
	Contains   optional     `json:"contains"`
	Exclusive  [][]string   `json:"mutually_exclusive_subsets"`

	// Validator, Shorthand and Path replace Lua functions: a custom validator, a
	// conversion of a shorthand, and the target of a shorthand without a deprecation.
	Validator string   `json:"x-validator"`
	Shorthand string   `json:"x-shorthand"`
	Path      []string `json:"x-path"`
	// Indexed is set where Kong reads a field of the record before it checks that the
	// value is a record. A number or true breaks Kong (500).
	Indexed bool `json:"x-indexed"`
	rec     *record
	raw     map[string]json.RawMessage
}

// optional is an attribute that can be null or absent.
type optional struct {
	set   bool
	value any
}

// UnmarshalJSON implements json.Unmarshaler. It is called for null, too.
func (o *optional) UnmarshalJSON(b []byte) error {
	o.set = true
	return json.Unmarshal(b, &o.value)
}

type patternErr struct {
	Pattern string `json:"pattern"`
	Err     string `json:"err"`
}

type anyPattern struct {
	Patterns []string `json:"patterns"`
	Err      string   `json:"err"`
}

type deprecation struct {
	ReplacedWith []struct {
		Path []string `json:"path"`
	} `json:"replaced_with"`
	Message string `json:"message"`
}

type namedField struct {
	name string
	*field
}

// record is a list of fields and of checks across them: an entity, or a field of type
// record.
type record struct {
	fields     []namedField
	byName     map[string]*field
	shorthands []namedField
	checks     []check

	// subKey is the field that selects the subschema: "name" for plugins, "protocols"
	// for routes. A subschema overrides fields and adds checks.
	subKey string
	subErr string
	subs   map[string]*record
}

// definition is the JSON form of a record.
type definition struct {
	Fields          []map[string]*field          `json:"fields"`
	ShorthandFields []map[string]*field          `json:"shorthand_fields"`
	EntityChecks    []map[string]json.RawMessage `json:"entity_checks"`
}

// UnmarshalJSON implements json.Unmarshaler. It reads the attributes and the fields of
// a record.
func (f *field) UnmarshalJSON(b []byte) error {
	type plain field
	if err := json.Unmarshal(b, (*plain)(f)); err != nil {
		return err
	}
	if err := json.Unmarshal(b, &f.raw); err != nil {
		return err
	}
	if f.Type != "record" || f.raw["fields"] == nil {
		return nil
	}
	rec, err := parseRecord(b, nil)
	f.rec = rec
	return err
}

// parseRecord reads a schema: {"fields": [...], "shorthand_fields": [...],
// "entity_checks": [...]}. Checks of a subschema may name fields of its base.
func parseRecord(b []byte, base *record) (*record, error) {
	var d definition
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, err
	}
	r := &record{byName: map[string]*field{}}
	for _, m := range d.Fields {
		for name, f := range m {
			r.fields = append(r.fields, namedField{name, f})
			r.byName[name] = f
		}
	}
	for _, m := range d.ShorthandFields {
		for name, f := range m {
			r.shorthands = append(r.shorthands, namedField{name, f})
		}
	}
	return r, r.parseChecks(d.EntityChecks, func(path string) *field {
		if f := r.lookup(path); f != nil || base == nil {
			return f
		}
		return base.lookup(path)
	})
}

func (r *record) parseChecks(defs []map[string]json.RawMessage, lookup func(string) *field) error {
	for _, m := range defs {
		for name, arg := range m {
			c, err := newCheck(name, arg, lookup)
			if err != nil {
				return fmt.Errorf("entity check %s: %w", name, err)
			}
			r.checks = append(r.checks, c)
		}
	}
	return nil
}

// lookup finds a field by its dotted path.
func (r *record) lookup(path string) *field {
	head, tail, nested := strings.Cut(path, ".")
	f := r.byName[head]
	if !nested || f == nil {
		return f
	}
	if f.rec == nil {
		return nil
	}
	return f.rec.lookup(tail)
}

// refine returns the field with the attributes of match, as Kong does for the match of
// a conditional check.
func (f *field) refine(match json.RawMessage) (*field, error) {
	attrs := map[string]json.RawMessage{}
	if f != nil {
		for k, v := range f.raw {
			attrs[k] = v
		}
	}
	var over map[string]json.RawMessage
	if err := json.Unmarshal(match, &over); err != nil {
		return nil, err
	}
	for k, v := range over {
		attrs[k] = v
	}
	if attrs["type"] == nil {
		attrs["type"] = json.RawMessage(`"any"`)
	}
	b, err := json.Marshal(attrs)
	if err != nil {
		return nil, err
	}
	out := new(field)
	return out, json.Unmarshal(b, out)
}

// sub returns the subschema of the entity, or nil.
func (r *record) sub(entity map[string]any) *record {
	if r.subKey == "" {
		return nil
	}
	switch key := entity[r.subKey].(type) {
	case string:
		return r.subs[key]
	case []any:
		for _, k := range key {
			if s, ok := k.(string); ok && r.subs[s] != nil {
				return r.subs[s]
			}
		}
	}
	return nil
}

// resolve returns the definition of a field. That of the subschema wins.
func (r *record) resolve(name string, sub *record) *field {
	f := r.byName[name]
	if f != nil && sub != nil && sub.byName[name] != nil {
		return sub.byName[name]
	}
	return f
}
