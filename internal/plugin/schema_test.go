package plugin

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestParseSchemaRefuses(t *testing.T) {
	for reason, raw := range map[string]string{
		"nothing":                ``,
		"no JSON":                `<html>`,
		"no object":              `[]`,
		"Kong's answer to no":    `{"message":"No plugin named 'nope'"}`,
		"no config":              `{"fields":[{"protocols":{"type":"set"}}]}`,
		"a config that is null":  `{"fields":[{"config":null}]}`,
		"fields that are a map":  `{"fields":{"config":{"type":"record"}}}`,
		"a type that is no text": `{"fields":[{"config":{"type":1}}]}`,
	} {
		if _, err := ParseSchema([]byte(raw)); err == nil {
			t.Error(reason)
		} else if !strings.HasPrefix(err.Error(), "reading the plugin's schema: ") {
			t.Error(err)
		}
	}
}

func TestParseSchemaTakesEmptyObjectsForLists(t *testing.T) {
	s := parsed(t, []byte(`{"fields":[{"config":{"type":"record","fields":{ },"shorthand_fields":{}}}],"entity_checks":{}}`))
	if len(s.config.names) != 0 || len(s.config.deprecated) != 0 {
		t.Errorf("%+v", s.config)
	}
}

func TestParseSchemaProtocols(t *testing.T) {
	for reason, tt := range map[string]struct {
		protocols string
		want      []string
	}{
		"the schema's":       {`{"default":["tcp"]}`, []string{"tcp"}},
		"no default":         {`{"type":"set"}`, defaultProtocols},
		"not a list":         {`{"default":"tcp"}`, defaultProtocols},
		"not strings":        {`{"default":["tcp",1]}`, defaultProtocols},
		"a default of null":  {`{"default":null}`, defaultProtocols},
		"no number at all":   {`{"default":1e999}`, defaultProtocols},
		"no field protocols": {`null`, defaultProtocols},
	} {
		s := parsed(t, []byte(`{"fields":[{"protocols":`+tt.protocols+`},{"config":{"type":"record"}}]}`))
		if !slices.Equal(s.protocols, tt.want) {
			t.Errorf("%s: %v", reason, s.protocols)
		}
	}
}

func TestParseSchemaDeprecated(t *testing.T) {
	s := parsed(t, []byte(`{"fields":[{"config":{"type":"record",
		"fields":[{"new":{"type":"string"}},{"both":{"type":"string"}}],
		"shorthand_fields":[
			{"both":{"type":"string"}},
			{"a":{"type":"string","deprecation":{"replaced_with":[{"path":["new"]},{"path":[]}],"message":"use config.x instead"}}},
			{"b":{"type":"string","translate_backwards":["new"]}},
			{"c":{"type":"string","deprecation":{"replaced_with":{},"message":"please use config.new.deep instead"}}},
			{"d":{"type":"string","deprecation":{"message":"it is gone"}}}
		]}}]}`))
	got := map[string][][]string{}
	for _, d := range s.config.deprecated {
		got[d.name] = d.paths
	}
	want := map[string]string{"a": "new", "b": "new", "c": "new/deep", "d": ""}
	if len(got) != len(want) {
		t.Fatal(got)
	}
	for name, path := range want {
		if path == "" && len(got[name]) == 0 {
			continue
		}
		if len(got[name]) != 1 || strings.Join(got[name][0], "/") != path {
			t.Errorf("%s: %v", name, got[name])
		}
	}
}

func FuzzParseSchema(f *testing.F) {
	// small ones: go test spends its time making large seeds smaller
	f.Add([]byte(`{"fields":[{"config":{"type":"record","fields":[{"a":{"type":"set"}}],"shorthand_fields":[{"b":{"deprecation":{"replaced_with":[{"path":["a"]}]}}}]}}]}`),
		[]byte(`{"b":["x"]}`), []byte(`{"a":["x"]}`))
	f.Add([]byte(`{"fields":[{"config":{"fields":[{"a":{"type":"record","required":true,"fields":[{"b":{"auto":true,"default":1}}]}}]}}]}`),
		[]byte(`{"a":{}}`), []byte(`{"a":{"b":"x"}}`))
	f.Fuzz(func(t *testing.T, raw, want, have []byte) {
		s, err := ParseSchema(raw)
		if err != nil {
			return
		}
		checkReflexive(t, s, want, have)
	})
}

// Kong's messages that the schema determines. What is not as expected makes none.
func TestParseSchemaMessages(t *testing.T) {
	s := parsed(t, []byte(`{"fields":[{"config":{"type":"record","fields":[
		{"a":{"one_of":["x",1,0.5],"between":[0,65535],"gt":0,"len_eq":1,"len_min":2,"len_max":3,"starts_with":"/","err":"own words"}},
		{"b":{"one_of":{"x":1},"between":[1],"gt":true,"err":{"x":1},"match_none":7,"match_any":{"err":"any"},"match_all":[{"err":"all"},{}],"match_none":[{"pattern":"x","err":"none"}]}},
		{"c":{"type":"map","keys":{"len_min":4},"values":{"type":"array","elements":{"one_of":["deep"]}}}}
	],"shorthand_fields":[{"old":{"gt":7}}]}}]}`))
	got := slices.Sorted(maps.Keys(s.messages))
	want := []string{
		"all", "any", "expected one of: deep", "expected one of: x, 1, 0.5", "length must be 1", "length must be at least 2",
		"length must be at least 4", "length must be at most 3", "none", "own words", "should start with: /",
		"value must be greater than 0", "value must be greater than 7", "value should be between 0 and 65535",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// A schema has bounds that hold before it is decoded.
func TestParseSchemaBounds(t *testing.T) {
	schema := func(more string) error {
		_, err := ParseSchema([]byte(`{"fields":[{"config":{"type":"record"}}],"more":` + more + `}`))
		return err
	}
	for reason, more := range map[string]func(n int) string{
		"bytes":  func(n int) string { return strings.Repeat(" ", maxSchemaBytes-100+200*n) + "1" },
		"values": func(n int) string { return "[" + strings.Repeat("1,", maxSchemaNodes-20+40*n) + "1]" },
		"depth": func(n int) string {
			return strings.Repeat("[", maxConfigDepth-1+n) + strings.Repeat("]", maxConfigDepth-1+n)
		},
	} {
		if err := schema(more(0)); err != nil {
			t.Errorf("%s: %v", reason, err)
		}
		const want = "reading the plugin's schema: it is larger than 8388608 bytes or 500000 values, or nested more than 64 levels deep"
		if err := schema(more(1)); err == nil || err.Error() != want {
			t.Errorf("%s: %v", reason, err)
		}
	}
}
