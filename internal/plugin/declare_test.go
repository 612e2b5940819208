package plugin

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"testing"
)

// Kong makes of the declared config exactly the live one, for every plugin that was recorded.
func TestDeclaredMakesTheSamePlugin(t *testing.T) {
	shorter := 0
	for _, x := range exchanges(t) {
		s := schemaOf(t, x.Request.Name)
		live := x.Answer.Config
		declared := s.Declared(clone(t, live))
		again, ok := insert(x.Request.Name, clone(t, declared))
		if !ok {
			t.Errorf("%s: Kong refuses %v", x.Request.Name, declared)
			continue
		}
		if fields := Differences(Plugin{Name: x.Request.Name, Enabled: true, Config: live}, Plugin{Name: x.Request.Name, Enabled: true, Config: again}, s); len(fields) > 0 {
			t.Errorf("%s: %v makes another %v", x.Request.Name, declared, fields)
		}
		if len(declared) < len(live) {
			shorter++
		}
		for name := range x.Request.Config {
			if _, kept := declared[name]; !kept && !s.config.isDeprecated(name) && !s.config.fields[name].isImplied(x.Request.Config[name]) {
				t.Errorf("%s: lost %s", x.Request.Name, name)
			}
		}
	}
	if shorter < 30 {
		t.Errorf("only %d configs became shorter", shorter)
	}
}

func TestDeclaredLeavesOutWhatKongFillsIn(t *testing.T) {
	s := schemaOf(t, "rate-limiting")
	live, _ := insert("rate-limiting", map[string]any{"minute": 5.0, "policy": "redis", "redis": map[string]any{"host": "r", "port": 6379.0}})
	if _, twin := live["redis_host"]; !twin {
		t.Fatal("the answer has no deprecated twin")
	}
	want := map[string]any{"minute": 5.0, "policy": "redis", "redis": map[string]any{"host": "r"}}
	if got := s.Declared(live); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	var none *Schema
	if got := none.Declared(map[string]any{"a": nil, "b": 1.0}); !reflect.DeepEqual(got, map[string]any{"b": 1.0}) {
		t.Errorf("without a schema: %v", got)
	}
}

func TestHiddenFields(t *testing.T) {
	s := parsed(t, []byte(secretive))
	config := map[string]any{
		"plain": "p", "encrypted": "e", "referenceable": "{vault://env/r}",
		"record":  map[string]any{"plain": "p", "password": "x"},
		"list":    []any{map[string]any{"key": "k"}},
		"headers": map[string]any{"a/b": "v"}, "numbers": map[string]any{"n": 1.0},
		"old_plain": "p", "old_password": "x", "surprise": 1.0, "un/known": "y", "empty": "",
	}
	want := []string{"/encrypted", "/headers", "/list", "/old_password", "/record/password", "/surprise", "/un~1known"}
	if got := HiddenFields("some", config, s); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := HiddenFields("some", map[string]any{"a": 1.0, "b": nil}, nil); !slices.Equal(got, []string{"/a"}) {
		t.Errorf("without a schema: %v", got)
	}
	for _, tt := range []struct {
		plugin string
		config map[string]any
		want   []string
	}{
		{"pre-function", map[string]any{"access": []any{"return"}, "header_filter": []any{}}, []string{"/access"}},
		{"file-log", map[string]any{"path": "/tmp/x", "custom_fields_by_lua": map[string]any{"a": "return 1"}}, []string{"/custom_fields_by_lua"}},
		{"request-transformer", map[string]any{"add": map[string]any{"headers": []any{"x:$(headers.host)"}}}, nil},
		{"request-transformer", map[string]any{"add": map[string]any{"headers": []any{"x:$(os.getenv('A'))"}}}, []string{"/add/headers"}},
		{"hmac-auth", map[string]any{"hide_credentials": true, "clock_skew": 3.0}, nil},
		{"session", map[string]any{"secret": "s3cret", "cookie_name": "c"}, []string{"/secret"}},
	} {
		if got := HiddenFields(tt.plugin, tt.config, schemaOf(t, tt.plugin)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.plugin, got, tt.want)
		}
	}
	named := parsed(t, []byte(`{"fields":[{"config":{"type":"record","fields":[{"api_token":{"type":"string"}},{"token_url":{"type":"string"}}]}}]}`))
	if got := HiddenFields("mine", map[string]any{"api_token": "t", "token_url": "u"}, named); !slices.Equal(got, []string{"/api_token"}) {
		t.Errorf("by name: %v", got)
	}
}

// What is taken out of every hidden field leaves no sensitive text behind.
func TestTakeOut(t *testing.T) {
	config := map[string]any{"a": map[string]any{"b/c": "x", "d": 1.0}, "list": []any{"y"}}
	before, _ := json.Marshal(config)
	for _, pointer := range []string{"/list/0", "/a/missing", "/none/x", "no pointer"} {
		if _, found := TakeOut(config, pointer); found {
			t.Errorf("%s is found", pointer)
		}
	}
	if after, _ := json.Marshal(config); string(after) != string(before) {
		t.Errorf("changed: %s", after)
	}
	value, found := TakeOut(config, "/a/b~1c")
	if !found || value != "x" || !maps.Equal(config["a"].(map[string]any), map[string]any{"d": 1.0}) {
		t.Errorf("%v %v %v", value, found, config)
	}
}

// A field that the schema does not know stays. A config that takes too long to compare stays as it is.
func TestDeclaredKeepsWhatTheSchemaDoesNotTell(t *testing.T) {
	s := schemaOf(t, "rate-limiting")
	live, _ := insert("rate-limiting", map[string]any{"minute": 5.0, "policy": "redis", "redis": map[string]any{"host": "r"}})
	live["novel"] = "x"
	want := map[string]any{"minute": 5.0, "policy": "redis", "redis": map[string]any{"host": "r"}, "novel": "x"}
	if got := s.Declared(live); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	live["novel"] = slices.Repeat([]any{1.0}, maxCompareSteps+1)
	if got := s.Declared(live); len(got) != len(withoutNulls(live)) {
		t.Errorf("%d fields, want those of the live plugin", len(got))
	}
}
