package schema

import (
	"encoding/json"
	"regexp"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// m keeps the tables below readable.
type m = map[string]any

// TestRules has the words of Kong for each rule of a schema.
func TestRules(t *testing.T) {
	rl := func(config m) m { return m{"name": "rate-limiting", "config": config} }
	for _, c := range []struct {
		name   string
		entity string
		body   m
		want   string
	}{
		{"gt", "plugins", rl(m{"minute": 0.0}), "schema violation (config.minute: value must be greater than 0)"},
		{"between", "plugins", rl(m{"minute": 1.0, "redis": m{"port": 70000.0}}),
			"schema violation (config.redis: {\n  port = \"value should be between 0 and 65535\"\n})"},
		{"integer", "plugins", rl(m{"minute": 1.0, "redis": m{"database": 1.5}}),
			"schema violation (config.redis: {\n  database = \"expected an integer\"\n})"},
		{"two in a record", "plugins", rl(m{"minute": 1.0, "redis": m{"ssl": "x", "port": "y"}}),
			"schema violation (config.redis: {\n  port = \"expected an integer\",\n  ssl = \"expected a boolean\"\n})"},
		{"record expected", "plugins", rl(m{"minute": 1.0, "redis": "x"}), "schema violation (config.redis: expected a record)"},
		{"empty string", "plugins", rl(m{"minute": 1.0, "header_name": ""}), "schema violation (config.header_name: length must be at least 1)"},
		{"starts with", "plugins", rl(m{"minute": 1.0, "path": "x"}), "schema violation (config.path: should start with: /)"},
		{"match none", "plugins", rl(m{"minute": 1.0, "path": "/a//b"}), "schema violation (config.path: must not have empty segments)"},
		{"required null", "plugins", rl(m{"minute": 1.0, "fault_tolerant": nil}), "schema violation (config.fault_tolerant: required field missing)"},
		{"conditional", "plugins", rl(m{"minute": 1.0, "limit_by": "header"}),
			"2 schema violations (failed conditional validation given value of field 'config.limit_by'; config.header_name: required field missing)"},
		{"order of limits", "plugins", rl(m{"second": 2.0, "minute": 1.0}),
			"schema violation (config: The limit for minute(1.0) cannot be lower than the limit for second(2.0))"},
		{"twin of another type", "plugins", rl(m{"minute": 1.0, "redis_port": "x"}), "schema violation (redis_port: expected an integer)"},
		{"twins that disagree", "plugins", rl(m{"minute": 1.0, "redis_host": "a", "redis": m{"host": "b"}}),
			"schema violation (redis_host: both deprecated and new field are used but their values mismatch: redis_host = a vs redis.host = b)"},
		{"null in an array", "plugins", m{"name": "key-auth", "config": m{"key_names": []any{"a", nil}}},
			"schema violation (config.key_names: {\n  [2] = \"required field missing\"\n})"},
		{"only one of", "plugins", m{"name": "acl", "config": m{"allow": []any{"a"}, "deny": []any{"b"}}},
			"schema violation (exactly one of these fields must be non-empty: 'config.allow', 'config.deny')"},
		{"neither of", "plugins", m{"name": "acl"},
			"2 schema violations (exactly one of these fields must be non-empty: 'config.allow', 'config.deny'; " +
				"at least one of these fields must be non-empty: 'config.allow', 'config.deny')"},
		{"mutually required", "plugins", m{"name": "aws-lambda", "config": m{"aws_key": "k"}},
			"schema violation (all or none of these fields must be set: 'config.aws_key', 'config.aws_secret')"},
		{"contains", "plugins", m{"name": "jwt", "config": m{"maximum_expiration": 5.0, "claims_to_verify": []any{"nbf"}}},
			"2 schema violations (failed conditional validation given value of field 'config.maximum_expiration'; " +
				"config.claims_to_verify: expected to contain: exp)"},
		{"message and body", "plugins", m{"name": "request-termination", "config": m{"message": "a", "body": "b"}},
			"schema violation (config: message cannot be used with content_type or body)"},
		{"map key", "plugins", m{"name": "http-log", "config": m{"http_endpoint": "http://h/", "headers": m{"Host": "x"}}},
			"schema violation (config.headers: cannot contain 'Host' header)"},
		{"map expected", "plugins", m{"name": "http-log", "config": m{"http_endpoint": "http://h/", "headers": "x"}},
			"schema violation (config.headers: expected a map)"},
		{"record in a map", "plugins", m{"name": "response-ratelimiting", "config": m{"limits": m{"v": m{"minute": 0.0}}}},
			"schema violation (config.limits: {\n  minute = \"value must be greater than 0\"\n})"},
		{"record in an array", "plugins", m{"name": "datadog", "config": m{"metrics": []any{m{"name": "latency", "stat_type": "counter"}}}},
			"schema violation (config.metrics: {\n  {\n    [\"@entity\"] = {\n      \"failed conditional validation given value of field 'stat_type'\"\n    },\n    sample_rate = \"required field missing\"\n  }\n})"},
		{"name is not one", "plugins", m{"name": "key-auth", "instance_name": "a b"},
			"schema violation (instance_name: invalid value 'a b': the only accepted ascii characters are alphanumerics or ., -, _, and ~)"},
		{"negative timestamp", "plugins", m{"name": "key-auth", "created_at": -1.0}, "schema violation (created_at: expected a valid timestamp)"},
		{"stranger in a reference", "plugins", m{"name": "rate-limiting", "config": m{"minute": 1.0}, "service": m{"foo": 1.0}},
			"schema violation (service.foo: unknown field)"},
		{"reference to what is not kept", "services", m{"url": "https://h", "client_certificate": m{"id": "x"}},
			"schema violation (client_certificate.id: expected a valid UUID)"},
		{"route without id", "plugins", m{"name": "cors", "route": m{}}, "schema violation (route.protocols: required field missing)"},
		{"service without host", "services", m{"url": "example.com"},
			"2 schema violations (host: required field missing; path: should start with: /)"},
		{"service with a port in the host", "services", m{"host": "a:80"}, "schema violation (host: must not have a port)"},
		{"route of two kinds", "routes", m{"protocols": []any{"http", "tcp"}, "paths": []any{"/"}},
			"schema violation (protocols: these sets are mutually exclusive: ('http', 'https'), ('tcp', 'tls', 'udp'))"},
		{"stream route with paths", "routes", m{"protocols": []any{"tcp"}, "paths": []any{"/"}, "sources": []any{m{"port": 1.0}}},
			"schema violation (paths: cannot set 'paths' when 'protocols' is 'tcp', 'tls', 'tls_passthrough' or 'udp')"},
		{"stream route without matcher", "routes", m{"protocols": []any{"tcp"}},
			"schema violation (must set one of 'sources', 'destinations', 'snis' when 'protocols' is 'tcp', 'tls' or 'udp')"},
		{"snis without tls", "routes", m{"protocols": []any{"http"}, "paths": []any{"/"}, "snis": []any{"a"}},
			"2 schema violations ('snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or 'tls_passthrough'; snis: length must be 0)"},
		{"half a call in Lua", "plugins", m{"name": "pre-function", "config": m{"access": []any{"return", "print("}}},
			"schema violation (config.access: {\n  [2] = \"error parsing pre-function: [string \\\"print(\\\"]:1: unexpected symbol near '<eof>'\"\n})"},
		{"half a block in Lua", "plugins", m{"name": "post-function", "config": m{"log": []any{"if true then\n  return 1"}}},
			"schema violation (config.log: {\n  \"error parsing post-function: [string \\\"if true then...\\\"]:2: 'end' expected (to close 'if' at line 1) near '<eof>'\"\n})"},
		{"a log field that is no Lua", "plugins", m{"name": "file-log", "config": m{"path": "/tmp/l", "custom_fields_by_lua": m{"x": "print("}}},
			"schema violation (config.custom_fields_by_lua: Error parsing function: /usr/local/share/lua/5.1/kong/tools/kong-lua-sandbox.lua:144: " +
				"[string \"print(\"]:1: unexpected symbol near '<eof>')"},
		{"a syntax error that quotes its beginning", "plugins", m{"name": "pre-function", "config": m{"access": []any{
			"local tok=\"SEKRET-abc-0123456789-0123456789-0123456789\"\nif tok the return end"}}},
			"schema violation (config.access: {\n  \"error parsing pre-function: [string \\\"local tok=\\\"SEKRET-abc-0123456789-0123456789-0...\\\"]:2: " +
				"'then' expected near 'the'\"\n})"},
		{"a syntax error that quotes a token", "plugins", m{"name": "pre-function", "config": m{"access": []any{"x = {a = 1 \"SEKRETNEAR-abc\"}"}}},
			"schema violation (config.access: {\n  \"error parsing pre-function: [string \\\"x = {a = 1 \\\"SEKRETNEAR-abc\\\"}\\\"]:1: " +
				"'}' expected near '\\\"SEKRETNEAR-abc\\\"'\"\n})"},
		{"no Lua", "plugins", m{"name": "pre-function", "config": m{"access": []any{"this is prose"}}},
			"schema violation (config.access: {\n  \"error parsing pre-function: [string \\\"this is prose\\\"]:1: '=' expected near 'is'\"\n})"},
		{"consumer", "consumers", m{}, "schema violation (at least one of these fields must be non-empty: 'custom_id', 'username')"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, v := Insert(c.entity, c.body)
			if v == nil {
				t.Fatalf("accepted: %v", got)
			}
			if d := gocmp.Diff(c.want, v.Message()); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// TestRegexProblem has what PCRE says of expressions, and what it takes.
func TestRegexProblem(t *testing.T) {
	for re, want := range map[string]string{
		"(a":                  `missing closing parenthesis in "(a"`,
		"a)b":                 `unmatched closing parenthesis in "a)b" at ")b"`,
		"[a":                  `missing terminating ] for character class in "[a"`,
		"[]":                  `missing terminating ] for character class in "[]"`,
		`a\\`:                 "",
		`a\`:                  `\ at end of pattern in "a\"`,
		"*a":                  `quantifier does not follow a repeatable item in "*a" at "*a"`,
		"a**":                 `quantifier does not follow a repeatable item in "a**" at "*"`,
		"(?=a)b++":            "",
		"(?<n>a)+?":           "",
		"[]a]*+":              "",
		"[[:^ascii:]()]{2}|x": "",
		`\(\[`:                "",
		"":                    "",
	} {
		if want != "" {
			want = "pcre2_compile() failed: " + want
		}
		if got := regexProblem(re); got != want {
			t.Errorf("%q: %q, want %q", re, got, want)
		}
	}
}

// TestShorthands: a deprecated field sets its replacement, and both are answered.
func TestShorthands(t *testing.T) {
	got, v := Insert("plugins", m{"name": "rate-limiting", "config": m{
		"minute": 1.0, "redis_host": "a", "redis_port": 6380.0, "redis": m{"host": "a", "timeout": 5.0},
	}})
	if v != nil {
		t.Fatal(v)
	}
	wants := m{
		"config.redis.host": "a", "config.redis_host": "a", "config.redis.port": 6380.0, "config.redis_port": 6380.0,
		"config.redis.timeout": 5.0, "config.redis_timeout": 5.0, "config.redis.ssl": false,
	}
	for path, want := range wants {
		if v, _ := getPath(got, path); v != want {
			t.Errorf("%s = %v, want %v", path, v, want)
		}
	}
	again, v := Insert("plugins", got)
	if v != nil {
		t.Fatalf("an answer sent back was refused: %s", v.Message())
	}
	if d := gocmp.Diff(got, again); d != "" {
		t.Errorf("an answer sent back changed:\n%s", d)
	}
	moved, v := Update("plugins", got, m{"config": m{"redis_host": "b"}})
	if v != nil {
		t.Fatal(v)
	}
	if host, _ := getPath(moved, "config.redis.host"); host != "b" {
		t.Errorf("a patch of the deprecated field left redis.host at %v", host)
	}
}

// TestUpdateRefusals: a PATCH is judged as the whole it results in.
func TestUpdateRefusals(t *testing.T) {
	current, v := Insert("plugins", m{"name": "rate-limiting", "config": m{"minute": 1.0}})
	if v != nil {
		t.Fatal(v)
	}
	for _, c := range []struct {
		name  string
		patch m
		want  string
	}{
		{"the last limit goes", m{"config": m{"minute": nil}},
			"schema violation (when updating, at least one of these fields must be non-empty: 'config.second', 'config.minute', " +
				"'config.hour', 'config.day', 'config.month', 'config.year')"},
		{"policy without what it needs", m{"config": m{"policy": "redis"}},
			"2 schema violations (failed conditional validation given value of field 'config.policy'; config.redis: {\n  host = \"required field missing\"\n})"},
		{"no name", m{"name": nil}, "schema violation (name: required field missing)"},
		{"unknown", m{"name": "x"}, "schema violation (name: plugin 'x' not enabled; add it to the 'plugins' configuration property)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, v := Update("plugins", current, c.patch)
			if v == nil {
				t.Fatal("accepted")
			}
			if d := gocmp.Diff(c.want, v.Message()); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// TestInputUntouched: callers keep what they passed.
func TestInputUntouched(t *testing.T) {
	body := m{"name": "rate-limiting", "tags": []any{"a", "a"}, "config": m{"minute": 1.0, "redis_host": "h"}}
	before := cloneMap(body)
	current, v := Insert("plugins", body)
	if v != nil {
		t.Fatal(v)
	}
	kept := cloneMap(current)
	patch := m{"config": m{"redis": m{"port": 1.0}}}
	if _, v := Update("plugins", current, patch); v != nil {
		t.Fatal(v)
	}
	if d := gocmp.Diff(before, body) + gocmp.Diff(kept, current); d != "" {
		t.Error(d)
	}
}

// private is an attribute of ours, which Kong does not have.
var private = regexp.MustCompile(`"x-[a-z-]+":`)

// TestEveryPlugin: each schema loads, is answered without what is ours alone,
// and has a priority and a version.
func TestEveryPlugin(t *testing.T) {
	names := Names()
	if len(names) != 45 || !slices.IsSorted(names) {
		t.Errorf("Kong 3.9.1 bundles 45 plugins, we have %d: %v", len(names), names)
	}
	for _, name := range names {
		b, ok := PluginJSON(name)
		if !ok || !json.Valid(b) || private.Match(b) {
			t.Errorf("%s: %t %s", name, ok, b)
		}
		if Available()[name] != (Info{plugins()[name].priority, "3.9.1"}) || plugins()[name].priority == 0 {
			t.Errorf("%s: %+v", name, Available()[name])
		}
	}
	if _, ok := PluginJSON("nope"); ok {
		t.Error("a schema for a plugin that is not loaded")
	}
	for _, name := range []string{"plugins", "services", "routes", "consumers"} {
		if b, ok := EntityJSON(name); !ok || private.Match(b) {
			t.Errorf("%s: %t %s", name, ok, b)
		}
	}
	if _, ok := EntityJSON("nope"); ok {
		t.Error("a schema for an entity that does not exist")
	}
}

// TestAutoFields: the store's fields are only there when the client sent them.
func TestAutoFields(t *testing.T) {
	id := "00000000-0000-4000-8000-000000000001"
	got, v := Insert("consumers", m{"username": "a", "id": id, "created_at": 5, "updated_at": "x"})
	if v != nil {
		t.Fatal(v)
	}
	if d := gocmp.Diff(m{"username": "a", "id": id, "created_at": 5.0, "custom_id": nil, "tags": nil}, got); d != "" {
		t.Error(d)
	}
}

// TestReorder moves the elements of sets and of nothing else, whatever order they
// have, and always to the same order.
func TestReorder(t *testing.T) {
	for n := 2; n < 6; n++ {
		e := m{
			"name": "cors", "tags": []any{"a", "b", "c", "d", "e", "f"}[:n],
			"config": m{"methods": []any{"GET", "PUT", "POST", "HEAD", "PATCH"}},
		}
		before, twice := cloneMap(e), cloneMap(e)
		Reorder("plugins", e, 1)
		Reorder("plugins", twice, 1)
		if d := gocmp.Diff(e, twice); d != "" {
			t.Errorf("two orders of %d elements:\n%s", n, d)
		}
		if d := gocmp.Diff(before["config"], e["config"]); d != "" {
			t.Errorf("an array moved:\n%s", d)
		}
		if gocmp.Equal(before["tags"], e["tags"]) {
			t.Errorf("a set of %d did not move", n)
		}
		hashed := cloneMap(e)
		Reorder("plugins", hashed, 1)
		if gocmp.Equal(hashed["tags"], e["tags"]) {
			t.Errorf("a set of %d in the order of its hashes did not move", n)
		}
		mustEntity("plugins").sortSets(e)
		if d := gocmp.Diff(before, e); d != "" {
			t.Errorf("other elements:\n%s", d)
		}
	}
}

// TestLuaMatch covers the notation Kong's patterns use.
func TestLuaMatch(t *testing.T) {
	for _, c := range []struct {
		s, pattern string
		want       bool
	}{
		{"GET", "^%u+$", true}, {"get", "^%u+$", false}, {"a:b", "^[^:]+:.*$", true}, {":b", "^[^:]+:.*$", false},
		{"/a//b", "//", true}, {"Host", "^[Hh][Oo][Ss][Tt]$", true}, {"x-host", "^[Hh][Oo][Ss][Tt]$", false},
		{"a@b.c", "%w*%p*@+%w*%.?%w*", true}, {"abc", "%w*%p*@+%w*%.?%w*", false}, {"", "^$", true}, {"a]b", "^a[]]b$", true},
		{"a-b", "^[%w%-]+$", true}, {"content-type", "^[Cc]ontent%-[Tt]ype$", true}, {"aab", "^a-b$", true}, {"f", "^[a-e]$", false},
		{"_", "%W", true}, {"(x)", "^%(x%)$", true}, {"xy", "^(x)(y)$", true},
	} {
		if got := luaMatch(c.s, c.pattern); got != c.want {
			t.Errorf("luaMatch(%q, %q) = %t", c.s, c.pattern, got)
		}
	}
}

// TestPretty prints tables as Penlight does.
func TestPretty(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string
	}{
		{m{"a-b": "x", "end": "y", "c": "z"}, "{\n  [\"a-b\"] = \"x\",\n  c = \"z\",\n  [\"end\"] = \"y\"\n}"},
		{[]any{"a", nil, "c"}, "{\n  \"a\",\n  [3] = \"c\"\n}"},
		{m{"a": "say \"x\" \\ \n"}, "{\n  a = [[say \"x\" \\ \n]]\n}"},
		{m{"a": "q\"q"}, "{\n  a = \"q\\\"q\"\n}"},
	} {
		if got := pretty(c.v, ""); got != c.want {
			t.Errorf("got %q\nwant %q", got, c.want)
		}
	}
}

// FuzzInsert: no JSON object, however odd, makes the rules panic, and what is
// accepted can be sent back and patched with itself.
func FuzzInsert(f *testing.F) {
	for _, name := range Names() {
		f.Add("plugins", `{"name":"`+name+`","config":{},"tags":[1,null,"a"]}`)
		f.Add("plugins", `{"name":"`+name+`","config":[1],"service":[],"route":[1],"consumer":5,"protocols":{"a":1}}`)
	}
	f.Add("services", `{"url":"http://[::1]:x/%zz?#"}`)
	f.Add("routes", `{"protocols":[null],"headers":[1],"sources":[{"ip":"x"}],"hosts":["*.*","[","a:b"]}`)
	f.Add("consumers", `{"username":{},"tags":"x"}`)
	f.Fuzz(func(t *testing.T, entity, body string) {
		if _, ok := entities()[entity]; !ok {
			return
		}
		var in map[string]any
		if json.Unmarshal([]byte(body), &in) != nil {
			return
		}
		e, v := Insert(entity, in)
		if v != nil {
			_ = v.Message()
			return
		}
		if _, v := Insert(entity, e); v != nil {
			t.Errorf("%s %s: the answer sent back is refused: %s", entity, body, v.Message())
		}
		if _, v := Update(entity, e, map[string]any{}); v != nil {
			t.Errorf("%s %s: an empty patch is refused: %s", entity, body, v.Message())
		}
	})
}
