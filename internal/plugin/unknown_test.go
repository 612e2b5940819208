package plugin

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func unknown(fields ...string) map[string]json.RawMessage {
	var out map[string]json.RawMessage
	for i := 0; i < len(fields); i += 2 {
		if out == nil {
			out = map[string]json.RawMessage{}
		}
		out[fields[i]] = json.RawMessage(fields[i+1])
	}
	return out
}

func TestUnknownFields(t *testing.T) {
	for text, want := range map[string]map[string]json.RawMessage{
		`{"id":"x","name":"y","config":{},"protocols":[],"condition":null,"partials":[],"other":{},"text":""}`: nil,
		`{"name":"y","condition":"http.method == \"GET\"","partials":[{"id":"x"}],"flag":false}`: unknown(
			"condition", `"http.method == \"GET\""`, "partials", `[{"id":"x"}]`, "flag", "false"),
	} {
		var entity map[string]json.RawMessage
		decode(t, []byte(text), &entity)
		got := UnknownFields(entity)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
		for name := range got {
			got[name][0] = '#'
			if entity[name][0] == '#' {
				t.Errorf("%s is shared with the answer", name)
			}
		}
	}
}

func TestDifferencesInUnknownFields(t *testing.T) {
	s := parsed(t, []byte(`{"fields":[{"flag":{"type":"boolean","default":false}},{"condition":{"type":"string"}},{"config":{"type":"record"}}]}`))
	deep := strings.Repeat("[", maxConfigDepth+1) + strings.Repeat("]", maxConfigDepth+1)
	for _, tt := range []struct {
		reason        string
		desired, live map[string]json.RawMessage
		want          []string
	}{
		{"set, and nobody declared it", nil, unknown("condition", `"x"`, "partials", `[{"id":"y"}]`), []string{"condition", "partials"}},
		{"declared and not there", unknown("condition", `"x"`), nil, []string{"condition"}},
		{"declared, another", unknown("condition", `"x"`), unknown("condition", `"y"`), []string{"condition"}},
		{"as declared", unknown("partials", `[{"id":"x","n":1.0}]`), unknown("partials", `[ {"n":1, "id":"x"} ]`), nil},
		{"declared not to be set", unknown("condition", `null`), unknown("condition", `"y"`), []string{"condition"}},
		{"null and absent", unknown("condition", `null`), nil, nil},
		{"at its default", nil, unknown("flag", `false`), nil},
		{"not at its default", nil, unknown("flag", `true`), []string{"flag"}},
		{"a name that is none", nil, unknown("Buy now: http://x", `1`, strings.Repeat("a", 65), `1`), []string{FieldUnknown}},
		{"too deep to be decoded", unknown("condition", deep), unknown("condition", deep), nil},
		{"the same, another", unknown("condition", deep), unknown("condition", deep+" "), []string{"condition"}},
		{"no JSON", unknown("condition", `x`), unknown("condition", `y`), []string{"condition"}},
		{"partials in another order, with what Kong adds", unknown("partials", `[{"id":"x"},{"name":"y","path":"config.a"}]`),
			unknown("partials", `[{"id":"z","name":"y","path":"config.a"},{"id":"x","name":null,"path":"config.redis"}]`), nil},
		{"another partial", unknown("partials", `[{"id":"x"}]`), unknown("partials", `[{"id":"y","path":"config.redis"}]`), []string{"partials"}},
		{"another path", unknown("partials", `[{"id":"x","path":"config.a"}]`), unknown("partials", `[{"id":"x","path":"config.b"}]`), []string{"partials"}},
		{"one partial more", unknown("partials", `[{"id":"x"}]`), unknown("partials", `[{"id":"x"},{"id":"x"}]`), []string{"partials"}},
		{"another partial in place of one that is there twice", unknown("partials", `[{"id":"x"},{"id":"x"}]`),
			unknown("partials", `[{"id":"x"},{"id":"y"}]`), []string{"partials"}},
		{"partials that are removed", unknown("partials", `[{"id":"x"}]`), nil, []string{"partials"}},
		{"no list", unknown("partials", `"x"`), unknown("partials", `"x"`), nil},
	} {
		got := Differences(Plugin{Unknown: tt.desired, Protocols: defaultProtocols}, Plugin{Unknown: tt.live, Protocols: defaultProtocols}, s)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v", tt.reason, got)
		}
	}
	if got := Differences(Plugin{}, Plugin{Unknown: unknown("condition", `"x"`)}, nil); !slices.Equal(got, []string{"condition"}) {
		t.Errorf("without a schema: %v", got)
	}
}

// A PUT keeps what is there and nobody declared, and a plugin that was changed by hand gets
// back what it was.
func TestPutOfUnknownFields(t *testing.T) {
	live := Plugin{ID: "id", Name: "acl", Unknown: unknown("condition", `"x"`, "partials", `[1]`)}
	for _, tt := range []struct {
		reason  string
		desired Plugin
		remove  bool
		keep    []string
		name    string
		want    string
	}{
		{"kept", Plugin{}, false, nil, "acl", `"condition":"x","config":{},"enabled":false,"name":"acl","partials":[1],"tags":[]`},
		{"declared", Plugin{Unknown: unknown("condition", `"mine"`)}, false, nil, "acl",
			`"condition":"mine","config":{},"enabled":false,"name":"acl","partials":[1],"tags":[]`},
		{"declared not to be set", Plugin{Unknown: unknown("condition", `null`)}, false, nil, "acl",
			`"config":{},"enabled":false,"name":"acl","partials":[1],"tags":[]`},
		{"removed", Plugin{}, true, nil, "acl", `"config":{},"enabled":false,"name":"acl","tags":[]`},
		{"removed, but for one that was there before", Plugin{}, true, []string{"condition"}, "acl",
			`"condition":"x","config":{},"enabled":false,"name":"acl","tags":[]`},
		{"removed, but for a declared one", Plugin{Unknown: unknown("condition", `"mine"`)}, true, nil, "acl",
			`"condition":"mine","config":{},"enabled":false,"name":"acl","tags":[]`},
		{"of another plugin", Plugin{}, false, nil, "cors", `"config":{},"enabled":false,"name":"cors","tags":[]`},
	} {
		desired := tt.desired
		desired.Name = tt.name
		before := clone(t, desired.Unknown)
		put := desired
		if tt.remove {
			put = put.WithoutUnknown(live, tt.keep)
		}
		raw, err := json.Marshal(Body(PreserveServerFields(put, live, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(raw); got != "{"+tt.want+"}" {
			t.Errorf("%s: %s", tt.reason, got)
		}
		if diff := cmp.Diff(before, desired.Unknown); diff != "" {
			t.Errorf("%s: the declaration was changed: %s", tt.reason, diff)
		}
	}
	if diff := cmp.Diff(unknown("condition", `"x"`, "partials", `[1]`), live.Unknown); diff != "" {
		t.Errorf("the live plugin was changed: %s", diff)
	}
}

func TestFingerprintOfUnknownFields(t *testing.T) {
	base := Fingerprint(Plugin{Unknown: unknown("condition", `"x"`, "partials", `[1,2]`)})
	if base != Fingerprint(Plugin{Unknown: unknown("partials", `[2, 1]`, "condition", `"x"`)}) {
		t.Error("another one for the same fields")
	}
	for _, other := range []map[string]json.RawMessage{
		nil, unknown("condition", `"x"`), unknown("condition", `"y"`, "partials", `[1,2]`), unknown("conditions", `"x"`, "partials", `[1,2]`),
	} {
		if base == Fingerprint(Plugin{Unknown: other}) {
			t.Errorf("the same for %v", other)
		}
	}
}

// A partial fills in the config at its path. What Kong answers there is not the binding's, unless
// the binding declares it.
func TestDifferencesInWhatPartialsFillIn(t *testing.T) {
	s := parsed(t, []byte(`{"fields":[{"config":{"type":"record","fields":[
		{"redis":{"type":"record","required":true,"fields":[{"host":{"type":"string","default":"127.0.0.1"}}]}},
		{"cache":{"type":"record","required":true,"fields":[{"host":{"type":"string"}}]}}]}}]}`))
	partials := unknown("partials", `[{"id":"x"}]`)
	answer := unknown("partials", `[{"id":"x","path":"config.redis"}]`)
	redis := func(value any) map[string]any { return map[string]any{"redis": value} }
	host := func(name string) any { return map[string]any{"host": name} }
	for _, tt := range []struct {
		reason             string
		desired, live      map[string]json.RawMessage
		declared, answered map[string]any
		want               []string
	}{
		{"null", partials, answer, nil, redis(nil), nil},
		{"filled in", partials, answer, nil, redis(host("redis")), nil},
		{"declared too", partials, answer, redis(host("a")), redis(host("b")), []string{"config.redis.host"}},
		{"beside it", partials, answer, nil, map[string]any{"redis": nil, "cache": host("b")}, []string{"config.cache.host"}},
		{"without a path", partials, unknown("partials", `[{"id":"x","path":1}]`), nil, redis(host("redis")), []string{"config.redis.host"}},
		{"not declared", nil, answer, nil, redis(host("redis")), []string{"config.redis.host", "partials"}},
	} {
		got := Differences(Plugin{Unknown: tt.desired, Config: tt.declared}, Plugin{Unknown: tt.live, Config: tt.answered}, s)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v", tt.reason, got)
		}
	}
}
