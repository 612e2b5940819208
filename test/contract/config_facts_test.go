package contract

import (
	"net/url"
	"strings"
	"testing"
)

// refusal is a config that Kong refuses, and its words.
type refusal struct {
	plugin string
	config object
	fields object
}

// refuses checks every refusal on a service of its own: a PUT and a validation say
// the same.
func refuses(t *testing.T, a *Admin, list []refusal) {
	t.Helper()
	svc, _ := a.Service(t, "s")
	for _, r := range list {
		body := object{"name": r.plugin, "service": ref(svc), "config": r.config}
		ans := a.Must(t, 400, "PUT", "/plugins/"+a.ID(), body)
		is(t, r.plugin, ans.Body["fields"], r.fields)
		is(t, r.plugin+", validated", a.Must(t, 400, "POST", "/schemas/plugins/validate", body).Body, ans.Body)
	}
}

// configFacts are what single plugins ask of their config beyond types.
func configFacts() []fact {
	return []fact{
		{
			Name:  "either allow or deny",
			Cites: "acl wants exactly one of the two and complains twice of neither: the condition shows Kong's words, one after the other",
			Run: func(t *testing.T, a *Admin) {
				const exactly, atLeast = "exactly one of these fields must be non-empty: 'config.allow', 'config.deny'",
					"at least one of these fields must be non-empty: 'config.allow', 'config.deny'"
				refuses(t, a, []refusal{
					{"acl", object{}, object{"@entity": []string{exactly, atLeast}}},
					{"acl", object{"allow": []string{"a"}, "deny": []string{"b"}}, object{"@entity": []string{exactly}}},
				})
			},
		},
		{
			Name:  "rates that are kept back",
			Cites: "rate-limiting takes a sync_rate with the redis policy only, and none below 0.02: a field can be wrong because of another, without an @entity",
			Run: func(t *testing.T, a *Admin) {
				redis := object{"host": "r"}
				refuses(t, a, []refusal{
					{"rate-limiting", object{"minute": 1, "policy": "local", "sync_rate": 1}, object{"config": "sync_rate can only be used with the redis policy"}},
					{"rate-limiting", object{"minute": 1, "policy": "redis", "redis": redis, "sync_rate": 0.01},
						object{"config": "sync_rate must be greater than 0.02, or -1 to disable"}},
				})
				svc, _ := a.Service(t, "other")
				a.Must(t, 201, "POST", "/plugins", limit(svc, object{"config": object{"minute": 1, "policy": "redis", "redis": redis, "sync_rate": 1}}))
			},
		},
		{
			Name:  "headers, values and what is neither",
			Cites: "request-transformer looks at names of headers and wants values of the rest, response-transformer at names only when it renames: what passes for one plugin is drift or a refusal for another",
			Run: func(t *testing.T, a *Admin) {
				refuses(t, a, []refusal{
					{"request-transformer", object{"add": object{"querystring": []string{"a:b", "c", "d::"}}},
						object{"config": object{"add": object{"querystring": []any{nil, "key 'c' has no value", "key 'd' has no value"}}}}},
					{"request-transformer", object{"add": object{"headers": []string{"c"}}},
						object{"config": object{"add": object{"headers": []string{"invalid value: c"}}}}},
					{"request-transformer", object{"add": object{"headers": []string{"a b:c"}}},
						object{"config": object{"add": object{"headers": []string{"'a b' is not a valid header"}}}}},
					{"request-transformer", object{"remove": object{"headers": []string{":a"}}},
						object{"config": object{"remove": object{"headers": []string{"'nil' is not a valid header"}}}}},
					{"response-transformer", object{"rename": object{"headers": []string{"a:b c"}}},
						object{"config": object{"rename": object{"headers": []string{"'b c' is not a valid header"}}}}},
					{"response-transformer", object{"add": object{"json": []string{"c"}}},
						object{"config": object{"add": object{"json": []string{"invalid value: c"}}}}},
				})
				svc, _ := a.Service(t, "other")
				for plugin, config := range map[string]object{
					"request-transformer":  {"rename": object{"headers": []string{"a::b"}}, "remove": object{"headers": []string{"a:b"}}},
					"response-transformer": {"remove": object{"headers": []string{"a b"}}, "add": object{"headers": []string{"a b:c"}}},
				} {
					a.Must(t, 201, "POST", "/plugins", object{"name": plugin, "service": ref(svc), "config": config})
				}
			},
		},
		{
			Name:  "a name that breaks Kong",
			Cites: "request-transformer breaks with 500 on a value without a name: the same refusal, not said",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				body := object{"name": "request-transformer", "service": ref(svc), "config": object{"add": object{"body": []string{":v"}}}}
				is(t, "body", a.Must(t, 500, "PUT", "/plugins/"+a.ID(), body).Body, object{"message": "An unexpected error occurred"})
			},
		},
		{
			Name:  "a cache that is not there",
			Cites: "proxy-cache is refused for what the gateway lacks, under @entity: the same binding can be fine for another gateway",
			Run: func(t *testing.T, a *Admin) {
				refuses(t, a, []refusal{{"proxy-cache", object{"strategy": "memory", "memory": object{"dictionary_name": "nope"}},
					object{"@entity": []string{"missing shared dict 'nope'"}}}})
			},
		},
		{
			Name:  "protocols of a plugin",
			Cites: "most plugins are for HTTP and gRPC only, some say so and do not mean it: which protocols a binding may have is the gateway's to say",
			Run: func(t *testing.T, a *Admin) {
				const http = "expected one of: grpc, grpcs, http, https"
				svc, _ := a.Service(t, "s")
				for plugin, taken := range map[string]bool{
					"key-auth": false, "correlation-id": false, "response-transformer": false, "request-transformer": true, "prometheus": true,
				} {
					body := object{"name": plugin, "service": ref(svc), "protocols": []string{"tcp"}}
					if taken {
						a.Must(t, 201, "POST", "/plugins", body)
						continue
					}
					is(t, plugin, a.Must(t, 400, "POST", "/plugins", body).Body["fields"], object{"protocols": []string{http}})
				}
			},
		},
		{
			Name:  "Lua in a config",
			Cites: "functions and custom log fields are parsed, each in its own words: a message can span what the user wrote, so it is shortened before it is shown",
			Run: func(t *testing.T, a *Admin) {
				refuses(t, a, []refusal{
					{"pre-function", object{"access": []string{"print("}},
						object{"config": object{"access": []string{`error parsing pre-function: [string "print("]:1: unexpected symbol near '<eof>'`}}}},
					{"file-log", object{"path": "/tmp/l", "custom_fields_by_lua": object{"x": "print("}},
						object{"config": object{"custom_fields_by_lua": `Error parsing function: [string "print("]:1: unexpected symbol near '<eof>'`}}},
					{"file-log", object{"path": `a\b`}, object{"config": object{"path": "not a valid filename"}}},
				})
			},
		},
		{
			Name:  "a route that no router reads",
			Cites: "Kong compiles a regular expression before it stores it, and says where it ends to be one: the routes a scope names can be used",
			Run: func(t *testing.T, a *Admin) {
				for path, why := range map[string]string{
					"~/(a":     `invalid regex: '/(a' (PCRE returned: pcre2_compile() failed: missing closing parenthesis in "/(a")`,
					"~/a)b":    `invalid regex: '/a)b' (PCRE returned: pcre2_compile() failed: unmatched closing parenthesis in "/a)b" at ")b")`,
					"/%41/%4":  "invalid url-encoded value: '%4'",
					"/%%41bc/": "invalid url-encoded value: '%__'",
				} {
					ans := a.Must(t, 400, "POST", "/routes", object{"name": a.Name("r"), "paths": []string{path}})
					is(t, path, ans.Body["fields"], object{"paths": []string{why}})
				}
				// The router reads less than PCRE does, and says so under @entity.
				for _, path := range []string{"~/(?=a)", `~/(a)\1`} {
					ans := a.Must(t, 400, "POST", "/routes", object{"name": a.Name("r"), "paths": []string{path}})
					if raw := ans.Raw; !strings.Contains(raw, `"@entity":["Router Expression failed validation: `) {
						t.Errorf("%s: %s", path, raw)
					}
				}
			},
		},
		{
			Name:  "what is no text",
			Cites: "a name or tag that is no UTF-8 is refused with the position, not the value: there is nothing in it to show",
			Run: func(t *testing.T, a *Admin) {
				for field, sent := range map[string]string{"name": "a%ff", "tags": "%c3%28"} {
					ans := a.Must(t, 400, "POST", "/services", "host=h&"+field+"="+sent, "Content-Type", "application/x-www-form-urlencoded")
					if raw := ans.Raw; !strings.Contains(raw, "invalid utf-8 character sequence detected at position ") {
						t.Errorf("%s: %s", field, raw)
					}
				}
			},
		},
		{
			Name:  "brackets in a form",
			Cites: "a number in brackets is a place in a list, anything else the key of a map: what a person did with curl is what the view shows",
			Run: func(t *testing.T, a *Admin) {
				form := "protocols=tcp&sources[1].ip=10.0.0.1&sources[1].port=1&name=" + a.Name("t")
				ans := a.Must(t, 201, "POST", "/routes", form, "Content-Type", "application/x-www-form-urlencoded")
				is(t, "sources", ans.Body["sources"], []object{{"ip": "10.0.0.1", "port": 1}})
				form = "headers[X-One][]=a&headers[X-One][]=b&name=" + a.Name("h")
				ans = a.Must(t, 201, "POST", "/routes", form, "Content-Type", "application/x-www-form-urlencoded")
				is(t, "headers", ans.Body["headers"], object{"X-One": []string{"a", "b"}})
			},
		},
		{
			Name:  "a thousand arguments",
			Cites: "an entity's endpoint reads that many of a query or a form and refuses more with a 400 that has no code; a body in JSON has no such limit",
			Run: func(t *testing.T, a *Admin) {
				many := strings.Repeat("a=1&", 1001)
				want := object{"message": "Too many arguments"}
				is(t, "query", a.Must(t, 400, "GET", "/plugins?"+many, nil).Body, want)
				is(t, "form", a.Must(t, 400, "POST", "/plugins", "name=cors&"+many, "Content-Type", "application/x-www-form-urlencoded").Body, want)
				a.Must(t, 200, "GET", "/plugins?"+strings.Repeat("a=1&", 999)+"tags="+url.QueryEscape(a.Name("t")), nil)
			},
		},
		{
			Name:  "the schema of an entity",
			Cites: "GET /schemas/{entity} has fields and checks, and of shorthands only those inside a record: url is no field of a service",
			Run: func(t *testing.T, a *Admin) {
				for _, entity := range []string{"services", "routes", "consumers", "plugins"} {
					body := a.Must(t, 200, "GET", "/schemas/"+entity, nil).Body
					if len(body) != 2 || body["fields"] == nil || body["entity_checks"] == nil {
						t.Errorf("%s: %d keys", entity, len(body))
					}
				}
			},
		},
	}
}
