package plugin

import (
	"slices"
	"testing"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest/schema"
)

func TestCodeFields(t *testing.T) {
	marked := parsed(t, []byte(`{"fields":[{"config":{"type":"record","fields":[
		{"function":{"type":"function"}},
		{"list":{"type":"array","elements":{"type":"function"}}},
		{"described":{"type":"string","description":"A Lua function that filters."}},
		{"mapped":{"type":"map","values":{"type":"string","description":"Lua code"}}},
		{"ssl":{"type":"boolean","description":"See lua_ssl_trusted_certificate, for Lua."}},
		{"records":{"type":"array","elements":{"type":"record","fields":[{"script":{"type":"string","description":"the lua script"}},{"x":{"type":"string"}}]}}},
		{"by_key":{"type":"map","values":{"type":"record","fields":[{"script":{"type":"function"}}]}}}
	]}}]}`))
	for _, tt := range []struct {
		reason, plugin, config string
		schema                 *Schema
		want                   []string
	}{
		{"a phase", "pre-function", `{"access":["return"],"log":[],"rewrite":null}`, nil, []string{"config.access"}},
		{"post-function", "post-function", `{"header_filter":["return"]}`, nil, []string{"config.header_filter"}},
		{"nothing declared", "pre-function", `{}`, nil, nil},
		{"exit-transformer", "exit-transformer", `{"functions":["return"],"handle_unknown":true}`, nil, []string{"config.functions"}},
		{"fields of logs", "http-log", `{"http_endpoint":"http://x","custom_fields_by_lua":{"hunter2":"return 1"}}`, nil, []string{"config.custom_fields_by_lua"}},
		{"an empty one", "http-log", `{"custom_fields_by_lua":{}}`, nil, nil},
		{"request-callout", "request-callout", `{"callouts":[{"name":"a","request":{"url":"x","by_lua":"return"}},{"response":{"by_lua":"return"}}],"upstream":{"by_lua":"x"}}`,
			nil, []string{"config.callouts.request.by_lua", "config.callouts.response.by_lua", "config.upstream.by_lua"}},
		{"request-callout without code", "request-callout", `{"callouts":[{"name":"a","request":{"url":"x","by_lua":null}}]}`, nil, nil},
		{"kafka", "kafka-upstream", `{"message_by_lua_functions":["return function(m) end"],"topic":"x"}`, nil, []string{"config.message_by_lua_functions"}},
		{"a name that only looks like it", "x", `{"nearby_luana":"x","by_luaX":"y"}`, nil, nil},
		{"marked by the schema", "x", `{"function":"f","list":["f"],"described":"f","mapped":{"hunter2":"f"},"ssl":true}`, marked,
			[]string{"config.described", "config.function", "config.list", "config.mapped"}},
		{"marked by the schema, deep inside", "x", `{"records":[{"x":"y"},{"script":"f"}],"by_key":{"hunter2":{"script":"f"}}}`, marked,
			[]string{"config.by_key.script", "config.records.script"}},
		{"marked, and not there", "x", `{"records":[{"x":"y","script":""}],"list":[]}`, marked, nil},
		{"a template that refers to the request", "request-transformer",
			`{"add":{"headers":["x:$(headers.host)","y:$(uri_captures['id'] or \"-\")-$( query_params[1].x )","z:$(shared.a.b)"]}}`, nil, nil},
		{"a template that runs code", "request-transformer", `{"add":{"headers":["x:$((function() return 1 end)())"]},"replace":{"uri":"/$(('x'):rep(1e9))"}}`,
			nil, []string{"config.add.headers", "config.replace.uri"}},
		{"a template with a second expression", "request-transformer-advanced", `{"add":{"body":["x:$(headers.host)$(os.exit())"]}}`, nil, []string{"config.add.body"}},
		{"the same text where there are no templates", "cors", `{"origins":["$(os.exit())"]}`, nil, nil},
		{"other values", "x", `{"a":1,"b":true}`, nil, nil},
	} {
		var config map[string]any
		decode(t, []byte(tt.config), &config)
		got := CodeFields(Plugin{Name: tt.plugin, Config: config}, tt.schema)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v", tt.reason, got)
		}
	}
}

// Of the plugins whose schemas are known, only those with code have a mark.
func TestCodeFieldsOfKongsSchemas(t *testing.T) {
	for _, x := range exchanges(t) {
		raw, _ := schema.PluginJSON(x.Request.Name)
		s := parsed(t, raw)
		for name, f := range s.config.fields {
			want := name == "custom_fields_by_lua"
			if f.code() != want {
				t.Errorf("%s: config.%s: %v", x.Request.Name, name, f.code())
			}
		}
	}
}
