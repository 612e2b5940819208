package plugin

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest/schema"
)

// exchange is a request to create a plugin and what Kong 3.9.1 answered.
type exchange struct {
	Request struct {
		Name   string         `json:"name"`
		Config map[string]any `json:"config"`
	} `json:"request"`
	Answer struct {
		Protocols []string       `json:"protocols"`
		Config    map[string]any `json:"config"`
	} `json:"answer"`
}

// exchanges were recorded, with every plugin that has a default config or nearly so.
func exchanges(tb testing.TB) []exchange {
	tb.Helper()
	var out []exchange
	decode(tb, read(tb, "testdata/defaults.json"), &out)
	return out
}

func read(tb testing.TB, path string) []byte {
	tb.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func decode(tb testing.TB, raw []byte, into any) {
	tb.Helper()
	if err := json.Unmarshal(raw, into); err != nil {
		tb.Fatal(err)
	}
}

// schemaOf returns what Kong answers for a plugin's schema.
func schemaOf(tb testing.TB, name string) *Schema {
	tb.Helper()
	raw, ok := schema.PluginJSON(name)
	if !ok {
		tb.Fatalf("no schema of %s", name)
	}
	return parsed(tb, raw)
}

func parsed(tb testing.TB, raw []byte) *Schema {
	tb.Helper()
	s, err := ParseSchema(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// declare makes the plugin of a binding with the config of the request.
func (x exchange) declare(tb testing.TB) Plugin {
	tb.Helper()
	raw, err := json.Marshal(x.Request.Config)
	if err != nil {
		tb.Fatal(err)
	}
	spec := &v1alpha1.PluginBindingSpec{Plugin: v1alpha1.PluginName(x.Request.Name), Config: jsonConfig(string(raw))}
	rendered, err := Render(Inputs{Spec: spec})
	if err != nil {
		tb.Fatal(err)
	}
	return rendered.Plugin
}

// answered reads the plugin as Kong answers it.
func (x exchange) answered() Plugin {
	return Plugin{Name: x.Request.Name, Enabled: true, Protocols: x.Answer.Protocols, Config: x.Answer.Config}
}

// insert returns the config that Kong answers to a new plugin, false when it refuses.
func insert(name string, config map[string]any) (map[string]any, bool) {
	entity, violation := schema.Insert("plugins", map[string]any{"name": name, "config": config})
	if violation != nil {
		return nil, false
	}
	return asMap(entity["config"])
}

func clone[T any](tb testing.TB, v T) T {
	tb.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	var out T
	decode(tb, raw, &out)
	return out
}

func TestRecordedAnswersAreInSync(t *testing.T) {
	list := exchanges(t)
	if len(list) < 40 {
		t.Fatalf("%d recorded plugins", len(list))
	}
	for _, x := range list {
		want, have := x.declare(t), x.answered()
		s := schemaOf(t, want.Name)
		t.Run(want.Name, func(t *testing.T) {
			if got := Differences(want, have, s); len(got) > 0 {
				t.Errorf("as recorded: %v", got)
			}
			for range 5 {
				shuffled := clone(t, have)
				shuffleSets(s.config, shuffled.Config)
				shuffleStrings(shuffled.Protocols)
				if got := Differences(want, shuffled, s); len(got) > 0 {
					t.Errorf("with sets in another order: %v", got)
				}
			}
			// without a schema nobody knows that the endpoint is now the traces_endpoint
			if got := Differences(want, have, nil); len(got) > 0 && !slices.Equal(got, []string{"config.endpoint"}) {
				t.Errorf("without a schema: %v", got)
			}
			if got := Differences(have, have, s); len(got) > 0 {
				t.Errorf("not its own equal: %v", got)
			}
			if got := Differences(PreserveServerFields(want, have, s), have, s); len(got) > 0 {
				t.Errorf("after PreserveServerFields: %v", got)
			}
		})
	}
}

// The schemas that were recorded from Kong itself, not from its stand-in.
func TestRecordedSchemas(t *testing.T) {
	for _, x := range exchanges(t) {
		name := x.Request.Name
		raw, err := os.ReadFile("testdata/schema-" + name + ".json")
		if err != nil {
			continue
		}
		if got := Differences(x.declare(t), x.answered(), parsed(t, raw)); len(got) > 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func shuffleStrings(list []string) {
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
}

// shuffleSets puts the sets in a record in another order, as Kong does.
func shuffleSets(r *record, values map[string]any) {
	for name, f := range r.fields {
		shuffleSet(f, values[name])
	}
}

func shuffleSet(f *field, value any) {
	if f == nil {
		return
	}
	switch v := value.(type) {
	case []any:
		if f.kind == kindSet {
			rand.Shuffle(len(v), func(i, j int) { v[i], v[j] = v[j], v[i] })
		}
		for _, e := range v {
			shuffleSet(f.elements, e)
		}
	case map[string]any:
		if f.record != nil {
			shuffleSets(f.record, v)
		}
		for _, e := range v {
			shuffleSet(f.values, e)
		}
	}
}

// leaf is a value in an answer, with the name under which a change of it is reported.
type leaf struct {
	name  string
	field *field
	at    string
	value any
	set   func(any)
}

// leaves returns every scalar, null and empty list below a record, deprecated ones left out.
func leaves(r *record, path string, values map[string]any) []leaf {
	var out []leaf
	for _, name := range slices.Sorted(maps.Keys(values)) {
		f := r.fields[name]
		if f == nil {
			continue
		}
		at := path + "." + name
		if inner, ok := values[name].(map[string]any); ok && f.record != nil {
			out = append(out, leaves(f.record, at, inner)...)
			continue
		}
		out = append(out, within(leaf{at, f, at, values[name], func(v any) { values[name] = v }})...)
	}
	return out
}

func within(l leaf) []leaf {
	var out []leaf
	switch v := l.value.(type) {
	case []any:
		for i := range v {
			out = append(out, within(leaf{l.name, nil, fmt.Sprintf("%s[%d]", l.at, i), v[i], func(e any) { v[i] = e }})...)
		}
	case map[string]any:
		for key := range v {
			out = append(out, within(leaf{l.name, nil, l.at + "." + key, v[key], func(e any) { v[key] = e }})...)
		}
	}
	if len(out) == 0 {
		return []leaf{l}
	}
	return out
}

// changed is another value than the one given.
func changed(v any) any {
	switch t := v.(type) {
	case string:
		return t + "x"
	case float64:
		return t + 1
	case bool:
		return !t
	case []any:
		return []any{"x"}
	case map[string]any:
		return map[string]any{"x": "x"}
	}
	return "x"
}

func TestAnyChangedLeafIsADifference(t *testing.T) {
	total := 0
	for _, x := range exchanges(t) {
		want, have := x.declare(t), x.answered()
		s := schemaOf(t, want.Name)
		for i, original := range leaves(s.config, "config", have.Config) {
			_, declared := want.Config[strings.TrimPrefix(original.at, "config.")]
			if original.field != nil && original.field.generated && !declared {
				continue
			}
			edited := clone(t, have)
			l := leaves(s.config, "config", edited.Config)[i]
			l.set(changed(l.value))
			total++
			if got := Differences(want, edited, s); !slices.Equal(got, []string{l.name}) {
				t.Errorf("%s: %s changed from %v: differences are %v", want.Name, l.at, original.value, got)
			}
		}
	}
	if total < 500 {
		t.Errorf("only %d leaves were changed", total)
	}
}

// Whatever of a plugin's answer is declared, with or without changes, Kong's answer to
// that is in sync.
func TestDeclaredPartsAreInSync(t *testing.T) {
	list := exchanges(t)
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SampledFrom(list).Draw(t, "plugin")
		name := x.Request.Name
		raw, _ := schema.PluginJSON(name)
		s, err := ParseSchema(raw)
		if err != nil {
			t.Fatal(err)
		}
		answer := x.Answer.Config
		config := maps.Clone(x.Request.Config)
		for _, key := range slices.Sorted(maps.Keys(answer)) {
			if _, known := s.config.fields[key]; !known && rapid.Bool().Draw(t, "no deprecated field") {
				continue
			}
			if answer[key] != nil && rapid.Bool().Draw(t, key) {
				config[key] = answer[key]
			}
		}
		held, ok := insert(name, config)
		if !ok {
			t.Skip("Kong refuses it")
		}
		want, have := Plugin{Name: name, Config: config}, Plugin{Name: name, Config: held}
		shuffleSets(s.config, have.Config)
		if got := Differences(want, have, s); len(got) > 0 {
			t.Fatalf("%s: %v", name, got)
		}
	})
}

// What Kong makes of requests that say things in its older ways.
func TestAnswersToDeprecatedFields(t *testing.T) {
	for _, tt := range []struct {
		reason string
		plugin string
		config string
		// edit points to what is changed in the answer; then the fields named differ
		edit string
		to   any
		want []string
	}{{
		reason: "a deprecated field lives at its new place",
		plugin: "rate-limiting", config: `{"minute":5,"policy":"redis","redis_host":"a","redis_port":7000}`,
	}, {
		reason: "an edit of the new place is seen",
		plugin: "rate-limiting", config: `{"minute":5,"policy":"redis","redis_host":"a"}`,
		edit: "/redis/host", to: "b",
		want: []string{"config.redis.host"},
	}, {
		reason: "the deprecated field in the answer is not looked at",
		plugin: "rate-limiting", config: `{"minute":5,"policy":"redis","redis_host":"a"}`,
		edit: "/redis_host", to: "b",
	}, {
		reason: "declared both, equal",
		plugin: "rate-limiting", config: `{"minute":5,"redis_host":"a","redis":{"host":"a","port":1}}`,
	}, {
		reason: "declared both, the new place null",
		plugin: "rate-limiting", config: `{"minute":5,"redis_host":"a","redis":{"host":null}}`,
	}, {
		reason: "a deprecated field declared null sets null, not the default",
		plugin: "rate-limiting", config: `{"minute":5,"redis_port":null}`,
	}, {
		reason: "the record of the new place declared null",
		plugin: "rate-limiting", config: `{"minute":5,"redis_host":"a","redis":null}`,
	}, {
		reason: "deprecated fields deep inside",
		plugin: "acme", config: `{"account_email":"a@b.c","storage_config":{"redis":{"auth":"p","namespace":"n:","scan_count":3}}}`,
	}, {
		reason: "only the message says where it went",
		plugin: "opentelemetry", config: `{"endpoint":"http://x/"}`,
	}, {
		reason: "nothing says where they went",
		plugin: "session", config: `{"secret":"s","cookie_lifetime":100,"cookie_idletime":200,"cookie_samesite":"Lax","cookie_httponly":false}`,
	}, {
		reason: "nothing says where they went, and two have the same value",
		plugin: "session", config: `{"secret":"s","cookie_lifetime":100,"cookie_idletime":100}`,
	}, {
		reason: "nothing says where it went, and it is the default anyway",
		plugin: "session", config: `{"secret":"s","cookie_lifetime":3600}`,
	}, {
		reason: "nothing says where it went, and it was changed by hand",
		plugin: "session", config: `{"secret":"s","cookie_lifetime":100}`,
		edit: "/rolling_timeout", to: 101.0,
		want: []string{"config.cookie_lifetime", "config.rolling_timeout"},
	}, {
		reason: "Kong has it no more",
		plugin: "session", config: `{"secret":"s","cookie_renew":77}`,
		want: []string{"config.cookie_renew"},
	}, {
		reason: "a secret that Kong drew is in sync although the schema shows another",
		plugin: "session", config: `{}`,
		edit: "/secret", to: "drawn by another worker",
	}, {
		reason: "a secret that was taken away is not",
		plugin: "session", config: `{}`,
		edit: "/secret", to: nil,
		want: []string{"config.secret"},
	}, {
		reason: "a declared secret is compared",
		plugin: "session", config: `{"secret":"s"}`,
		edit: "/secret", to: "t",
		want: []string{"config.secret"},
	}, {
		reason: "a password that is not declared is not one that Kong makes",
		plugin: "rate-limiting", config: `{"minute":5}`,
		edit: "/redis/password", to: "by hand",
		want: []string{"config.redis.password"},
	}, {
		reason: "elements of an array are filled in",
		plugin: "datadog", config: `{"metrics":[{"name":"latency","stat_type":"timer"}]}`,
	}, {
		reason: "values of a map are filled in",
		plugin: "response-ratelimiting", config: `{"limits":{"a":{"minute":1},"b":{"hour":2}}}`,
	}, {
		reason: "a record that is given in part is filled in",
		plugin: "ai-proxy", config: `{"route_type":"llm/v1/chat","auth":{"header_name":"x","header_value":"y"},"model":{"provider":"openai","options":{"max_tokens":5}}}`,
	}, {
		reason: "null where there is a default stays null",
		plugin: "rate-limiting", config: `{"minute":5,"limit_by":null,"error_message":null}`,
	}} {
		t.Run(tt.reason, func(t *testing.T) {
			var config map[string]any
			decode(t, []byte(tt.config), &config)
			before := clone(t, config)
			have, ok := insert(tt.plugin, config)
			if !ok {
				t.Fatal("Kong refuses it")
			}
			if tt.edit != "" {
				tokens, _ := parsePointer(tt.edit)
				putAt(have, tokens, tt.to)
			}
			got := Differences(Plugin{Config: config}, Plugin{Config: have}, schemaOf(t, tt.plugin))
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if !(&comparer{}).sameValue(before, config) {
				t.Error("the declaration was changed")
			}
		})
	}
}
