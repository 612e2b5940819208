package plugin

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// maker has generated fields wherever there can be one.
const maker = `{"fields":[{"config":{"type":"record","required":true,"fields":[
	{"key":{"type":"string","auto":true,"encrypted":true,"required":true}},
	{"secret":{"type":"string","encrypted":true,"default":"drawn by one worker"}},
	{"password":{"type":"string","encrypted":true}},
	{"stamp":{"type":"integer","auto":true}},
	{"plain":{"type":"string"}},
	{"required":{"type":"record","required":true,"fields":[{"id":{"type":"string","auto":true}},{"x":{"type":"string"}}]}},
	{"optional":{"type":"record","fields":[{"id":{"type":"string","auto":true}}]}},
	{"defaulted":{"type":"record","required":true,"default":{"x":1},"fields":[{"id":{"type":"string","auto":true}},{"x":{"type":"number"}}]}},
	{"list":{"type":"array","elements":{"type":"record","fields":[{"id":{"type":"string","auto":true}},{"x":{"type":"string"}}]}}},
	{"set":{"type":"set","elements":{"type":"record","fields":[{"id":{"type":"string","auto":true}}]}}},
	{"map":{"type":"map","values":{"type":"record","fields":[{"id":{"type":"string","auto":true}},{"x":{"type":"string"}}]}}},
	{"quiet":{"type":"record","required":true,"fields":[{"x":{"type":"string"}}]}}
],"shorthand_fields":[
	{"old_key":{"type":"string","deprecation":{"replaced_with":[{"path":["key"]}]}}}
]}}]}`

func TestPreserveServerFieldsInConfig(t *testing.T) {
	s := parsed(t, []byte(maker))
	for _, tt := range []struct {
		reason, want, have, preserved string
	}{
		{"what Kong made stays", `{"plain":"p"}`,
			`{"key":"k","secret":"drawn","stamp":7,"plain":"q","required":{"id":"i","x":"y"}}`,
			`{"plain":"p","key":"k","secret":"drawn","stamp":7,"required":{"id":"i"}}`},
		{"nothing declared at all", `null`, `{"key":"k"}`, `{"key":"k"}`},
		{"nothing made", `{"plain":"p"}`, `{"key":null,"secret":"","stamp":true,"required":{}}`, `{"plain":"p"}`},
		{"what is declared wins", `{"key":"mine","secret":null}`, `{"key":"k","secret":"drawn"}`, `{"key":"mine","secret":null}`},
		{"what is declared by its old name is declared", `{"old_key":"mine"}`, `{"key":"k"}`, `{"old_key":"mine"}`},
		{"a secret that somebody set is not one that Kong made", `{}`, `{"password":"p"}`, `{}`},
		{"a record that need not be there is not made for it", `{}`, `{"optional":{"id":"i"}}`, `{}`},
		{"nor one that has a default as a whole", `{}`, `{"defaulted":{"id":"i","x":1}}`, `{}`},
		{"inside what is declared", `{"optional":{},"required":{"x":"y"},"defaulted":{"x":2}}`,
			`{"optional":{"id":"a"},"required":{"id":"b","x":"z"},"defaulted":{"id":"c"}}`,
			`{"optional":{"id":"a"},"required":{"id":"b","x":"y"},"defaulted":{"id":"c","x":2}}`},
		{"in arrays by their place", `{"list":[{"x":"1"},{"x":"2","id":"mine"}]}`,
			`{"list":[{"id":"a","x":"1"},{"id":"b","x":"2"}]}`,
			`{"list":[{"id":"a","x":"1"},{"id":"mine","x":"2"}]}`},
		{"not in arrays of another length", `{"list":[{"x":"1"}]}`, `{"list":[{"id":"a"},{"id":"b"}]}`, `{"list":[{"x":"1"}]}`},
		{"not in sets", `{"set":[{}]}`, `{"set":[{"id":"a"}]}`, `{"set":[{}]}`},
		{"in maps by their keys", `{"map":{"a":{"x":"1"},"b":{},"c":null}}`, `{"map":{"a":{"id":"i"},"d":{"id":"j"}}}`,
			`{"map":{"a":{"x":"1","id":"i"},"b":{},"c":null}}`},
		{"into what is no record", `{"optional":"x","list":{"a":1}}`, `{"optional":{"id":"i"},"list":[{"id":"i"}]}`,
			`{"optional":"x","list":{"a":1}}`},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			var want, have, preserved map[string]any
			decode(t, []byte(tt.want), &want)
			decode(t, []byte(tt.have), &have)
			decode(t, []byte(tt.preserved), &preserved)
			before := clone(t, want)
			got := PreserveServerFields(Plugin{Config: want}, Plugin{Config: have}, s)
			if diff := cmp.Diff(preserved, got.Config); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(before, want); diff != "" {
				t.Errorf("the declaration was changed: %s", diff)
			}
		})
	}
}

func TestPreserveServerFieldsBesideConfig(t *testing.T) {
	want := Plugin{Name: "x", Enabled: true, Tags: []string{"a"}, Config: map[string]any{"plain": "p"}}
	have := Plugin{ID: "id", Name: "x", CreatedAt: 1, UpdatedAt: 2, Config: map[string]any{"key": "k"}}
	for reason, tt := range map[string]struct {
		name   string
		schema *Schema
		config map[string]any
	}{
		"with the schema":              {"x", parsed(t, []byte(maker)), map[string]any{"plain": "p", "key": "k"}},
		"without one":                  {"x", nil, map[string]any{"plain": "p"}},
		"another plugin's is not ours": {"y", parsed(t, []byte(maker)), map[string]any{"plain": "p"}},
	} {
		over := have
		over.Name = tt.name
		wanted := want
		wanted.ID, wanted.CreatedAt, wanted.Config = "id", 1, tt.config
		if diff := cmp.Diff(wanted, PreserveServerFields(want, over, tt.schema)); diff != "" {
			t.Errorf("%s: %s", reason, diff)
		}
	}
}
