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

// Schema is what Kong says of a plugin's fields, as far as comparing needs it. It is
// read-only once parsed.
type Schema struct {
	config    *record
	protocols []string
}

// defaultProtocols are those of a plugin whose schema names none.
var defaultProtocols = []string{"grpc", "grpcs", "http", "https"}

// Kinds of fields that hold other fields. All others compare as they are.
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
	// generated: Kong makes a value of its own, each time anew, when none is given.
	generated bool
	// record is set for a record whose fields are known.
	record *record
	// elements of an array or a set, and values of a map; nil when not known.
	elements *field
	values   *field
}

// record is the inside of a record field.
type record struct {
	fields map[string]*field
	// names of the fields, sorted.
	names []string
	twins []twin
	// generates: there is a generated field in it, at whatever depth.
	generates bool
}

// twin is a deprecated field beside the ones that replaced it. Kong takes it in a
// write, and shows it, or not, in answers.
type twin struct {
	name string
	kind string
	// paths in the same record that took its place; none when Kong does not say.
	paths [][]string
}

// ParseSchema reads what GET /schemas/plugins/{name} answers. It fails when that is not
// a plugin's schema; attributes that it does not know do no harm.
func ParseSchema(raw []byte) (*Schema, error) {
	var top fieldJSON
	if err := json.Unmarshal(raw, &top); err != nil {
		return nil, fmt.Errorf("reading the plugin's schema: %w", err)
	}
	s := &Schema{protocols: defaultProtocols}
	for name, f := range top.Fields.each() {
		switch name {
		case "config":
			s.config = parseRecord(f, true)
		case "protocols":
			if list, ok := stringList(parseField(f).def); ok {
				s.protocols = list
			}
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
	Elements    *fieldJSON      `json:"elements"`
	Values      *fieldJSON      `json:"values"`
	Fields      *fieldList      `json:"fields"`
	Shorthands  *fieldList      `json:"shorthand_fields"`
	Deprecation deprecationJSON `json:"deprecation"`
	// Backwards is how Kong before 3.8 says what deprecation.replaced_with says.
	Backwards list[string] `json:"translate_backwards"`
}

type deprecationJSON struct {
	ReplacedWith list[struct {
		Path list[string] `json:"path"`
	}] `json:"replaced_with"`
	Message string `json:"message"`
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

// list is an array. Kong's JSON writes an empty one as {} when it cannot tell.
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
	}
	if f.hasDefault {
		// it was valid as a part of the whole, except for a number beyond all bounds
		_ = json.Unmarshal(j.Default, &f.def)
	}
	if j.Type == kindRecord && j.Fields != nil {
		f.record = parseRecord(j, false)
	}
	// A secret with a default cannot have a meaningful one: Kong drew it at random when
	// it started, in each of its processes another.
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
			r.twins = append(r.twins, parseTwin(name, shorthands[name], top))
		}
	}
	return r
}

// successor finds in a deprecation's message what replaced a field of the config, for
// those of which Kong says it nowhere else.
var successor = regexp.MustCompile(`use config\.([A-Za-z0-9_.]*[A-Za-z0-9_]) instead`)

func parseTwin(name string, j *fieldJSON, top bool) twin {
	t := twin{name: name, kind: j.Type}
	for _, replacement := range j.Deprecation.ReplacedWith {
		if len(replacement.Path) > 0 {
			t.paths = append(t.paths, replacement.Path)
		}
	}
	if len(t.paths) == 0 && len(j.Backwards) > 0 {
		t.paths = [][]string{j.Backwards}
	}
	if len(t.paths) == 0 && top {
		if m := successor.FindStringSubmatch(j.Deprecation.Message); m != nil {
			t.paths = [][]string{strings.Split(m[1], ".")}
		}
	}
	return t
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

// missing is what Kong makes of a field that is not given, before it looks inside.
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
