package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Schema is the part of Kong's schema of a plugin that this package needs. It is read-only
// once parsed, and safe for concurrent use.
type Schema struct {
	config    *record
	protocols []string
	// defaults of the entity's fields that this package does not know.
	defaults map[string]any
	// messages of Kong that the schema alone determines.
	messages map[string]bool
}

// defaultProtocols applies to a plugin whose schema has no default.
var defaultProtocols = []string{"grpc", "grpcs", "http", "https"}

// Kinds of fields that contain values. Values of all other kinds compare as they are.
const (
	kindRecord = "record"
	kindArray  = "array"
	kindSet    = "set"
	kindMap    = "map"
)

// field is the definition of one field.
type field struct {
	kind       string
	required   bool
	hasDefault bool
	def        any
	// generated: Kong generates a new value at each write that has none.
	generated bool
	// secret: Kong encrypts the value, or may take it from a vault.
	secret bool
	// runs: Kong runs the value as code.
	runs bool
	// record is set for a record whose fields are known.
	record *record
	// elements of an array or a set, values of a map; nil when not known.
	elements *field
	values   *field
}

// record is the inside of a record field.
type record struct {
	fields map[string]*field
	// names of the fields, sorted.
	names      []string
	deprecated []deprecatedField
	// generates: it contains a generated field, at any depth.
	generates bool
}

// deprecatedField is a deprecated name of other fields. Kong accepts it in a write, and
// shows it in some answers.
type deprecatedField struct {
	name   string
	kind   string
	secret bool
	// paths in the same record that replaced it; none when Kong does not say.
	paths [][]string
}

// ParseSchema reads the answer to GET /schemas/plugins/{name}. It fails if that is not the
// schema of a plugin. It ignores attributes that it does not know.
func ParseSchema(raw []byte) (*Schema, error) {
	if err := checkSchemaSize(raw); err != nil {
		return nil, fmt.Errorf("reading the plugin's schema: %w", err)
	}
	var top fieldJSON
	if err := json.Unmarshal(raw, &top); err != nil {
		return nil, fmt.Errorf("reading the plugin's schema: %w", err)
	}
	s := &Schema{protocols: defaultProtocols, messages: map[string]bool{}, defaults: map[string]any{}}
	for name, f := range top.Fields.each() {
		switch name {
		case "config":
			s.config = parseRecord(f, true)
			f.addMessages(s.messages)
		case "protocols":
			if list, ok := stringList(parseField(f).def); ok {
				s.protocols = list
			}
		default:
			s.defaults[name] = parseField(f).def
		}
	}
	if s.config == nil {
		return nil, errors.New("reading the plugin's schema: it has no config")
	}
	return s, nil
}

// fieldJSON is a field as Kong writes it.
type fieldJSON struct {
	Type        string          `json:"type"`
	Required    bool            `json:"required"`
	Default     json.RawMessage `json:"default"`
	Auto        bool            `json:"auto"`
	Encrypted   bool            `json:"encrypted"`
	Reference   bool            `json:"referenceable"`
	Description string          `json:"description"`
	Elements    *fieldJSON      `json:"elements"`
	Keys        *fieldJSON      `json:"keys"`
	Values      *fieldJSON      `json:"values"`
	Fields      *fieldList      `json:"fields"`
	Shorthands  *fieldList      `json:"shorthand_fields"`
	Deprecation deprecationJSON `json:"deprecation"`
	constraintsJSON
	// Backwards is how Kong before 3.8 says what deprecation.replaced_with says.
	Backwards list[string] `json:"translate_backwards"`
}

type deprecationJSON struct {
	ReplacedWith list[struct {
		Path list[string] `json:"path"`
	}] `json:"replaced_with"`
	Message string `json:"message"`
}

// addMessages adds the messages that Kong makes from the constraints in the field.
func (j *fieldJSON) addMessages(messages map[string]bool) {
	if j == nil {
		return
	}
	j.constraintsJSON.addMessages(messages)
	j.Elements.addMessages(messages)
	j.Keys.addMessages(messages)
	j.Values.addMessages(messages)
	for _, list := range []*fieldList{j.Fields, j.Shorthands} {
		for _, f := range list.each() {
			f.addMessages(messages)
		}
	}
}

// fieldList holds fields, each as an object with one key.
type fieldList struct {
	list[map[string]*fieldJSON]
}

// each yields the fields by name. Nil has none.
func (l *fieldList) each() map[string]*fieldJSON {
	out := map[string]*fieldJSON{}
	if l == nil {
		return out
	}
	for _, entry := range l.list {
		for name, f := range entry {
			if f != nil {
				out[name] = f
			}
		}
	}
	return out
}

// list is an array. Kong's JSON writes an empty one as {} or [].
type list[T any] []T

// UnmarshalJSON implements json.Unmarshaler.
func (l *list[T]) UnmarshalJSON(b []byte) error {
	if b[0] == '{' && len(bytes.TrimSpace(b[1:len(b)-1])) == 0 {
		return nil
	}
	return json.Unmarshal(b, (*[]T)(l))
}

func parseField(j *fieldJSON) *field {
	if j == nil {
		return nil
	}
	f := &field{
		kind:       j.Type,
		required:   j.Required,
		hasDefault: len(j.Default) > 0 && string(j.Default) != "null",
		elements:   parseField(j.Elements),
		values:     parseField(j.Values),
		secret:     j.Encrypted || j.Reference,
		runs:       j.Type == "function" || codeDescription.MatchString(j.Description),
	}
	if f.hasDefault {
		// It is valid JSON; only a number beyond the range of float64 fails.
		_ = json.Unmarshal(j.Default, &f.def)
	}
	if j.Type == kindRecord && j.Fields != nil {
		f.record = parseRecord(j, false)
	}
	// The default of a secret is random: each of Kong's processes draws one when it starts.
	random, _ := f.def.(string)
	f.generated = j.Auto || j.Encrypted && random != ""
	return f
}

func parseRecord(j *fieldJSON, top bool) *record {
	r := &record{fields: map[string]*field{}}
	for name, f := range j.Fields.each() {
		r.fields[name] = parseField(f)
	}
	r.names = slices.Sorted(maps.Keys(r.fields))
	r.generates = slices.ContainsFunc(r.names, func(name string) bool {
		return r.fields[name].generated || r.fields[name].generates()
	})
	shorthands := j.Shorthands.each()
	for _, name := range slices.Sorted(maps.Keys(shorthands)) {
		if r.fields[name] == nil {
			r.deprecated = append(r.deprecated, parseDeprecated(name, shorthands[name], top))
		}
	}
	return r
}

// replacementInMessage finds in a deprecation's message the field that replaces a field of
// the config. For some fields Kong says it nowhere else.
var replacementInMessage = regexp.MustCompile(`use config\.([A-Za-z0-9_.]*[A-Za-z0-9_]) instead`)

func parseDeprecated(name string, j *fieldJSON, top bool) deprecatedField {
	d := deprecatedField{name: name, kind: j.Type, secret: j.Encrypted || j.Reference}
	for _, replacement := range j.Deprecation.ReplacedWith {
		if len(replacement.Path) > 0 {
			d.paths = append(d.paths, replacement.Path)
		}
	}
	if len(d.paths) == 0 && len(j.Backwards) > 0 {
		d.paths = [][]string{j.Backwards}
	}
	if len(d.paths) == 0 && top {
		if m := replacementInMessage.FindStringSubmatch(j.Deprecation.Message); m != nil {
			d.paths = [][]string{strings.Split(m[1], ".")}
		}
	}
	return d
}

// find returns the field at a path below the record, nil when there is none.
func (r *record) find(path []string) *field {
	f := r.fields[path[0]]
	switch {
	case len(path) == 1:
		return f
	case f == nil || f.record == nil:
		return nil
	}
	return f.record.find(path[1:])
}

// missing is the value that Kong gives a field that is not sent, before it fills in what is
// inside.
func (f *field) missing() any {
	switch {
	case f.hasDefault:
		return f.def
	case f.required && f.record != nil:
		return map[string]any{}
	}
	return nil
}

// stringList returns a decoded list of strings.
func stringList(v any) ([]string, bool) {
	elements, ok := v.([]any)
	if !ok {
		return nil, false
	}
	out := make([]string, 0, len(elements))
	for _, e := range elements {
		s, ok := e.(string)
		if !ok {
			return nil, false
		}
		out = append(out, s)
	}
	return out, true
}
