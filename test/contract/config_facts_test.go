package contract

import (
	"net/url"
	"regexp"
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
			Cites: "functions are parsed, and refused in LuaJIT's words after the plugin's: a config that can never work is a 400, whose words can span lines",
			Run: func(t *testing.T, a *Admin) {
				refuses(t, a, []refusal{
					{"pre-function", object{"access": []string{"print("}},
						object{"config": object{"access": []string{`error parsing pre-function: [string "print("]:1: unexpected symbol near '<eof>'`}}}},
					{"file-log", object{"path": `a\b`}, object{"config": object{"path": "not a valid filename"}}},
				})
			},
		},
		{
			Name:  "Lua in a log field",
			Cites: "custom_fields_by_lua is compiled in a sandbox, and the message begins with the path of that: Kong's words differ from installation to installation, so no decision reads them",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				body := object{"name": "file-log", "service": ref(svc), "config": object{"path": "/tmp/l", "custom_fields_by_lua": object{"x": "print("}}}
				fields, _ := a.Must(t, 400, "PUT", "/plugins/"+a.ID(), body).Body["fields"].(map[string]any)
				config, _ := fields["config"].(map[string]any)
				words := regexp.MustCompile(`^Error parsing function: .*/kong/tools/kong-lua-sandbox\.lua:144: (.*)$`).FindStringSubmatch(text(config["custom_fields_by_lua"]))
				if words == nil || words[1] != `[string "print("]:1: unexpected symbol near '<eof>'` {
					t.Errorf("fields: %v", fields)
				}
			},
		},
		{
			Name:  "Lua that does not compile is quoted",
			Cites: "LuaJIT's message has the first line of the source, cut after 45 characters, and one token from anywhere in it: what Kong says of a field that came from a Secret is never shown",
			Run: func(t *testing.T, a *Admin) {
				refuses(t, a, []refusal{
					{"pre-function", object{"access": []string{"local tok=\"SEKRET-abc-0123456789-0123456789-0123456789\"\nif tok the return end"}},
						object{"config": object{"access": []string{
							`error parsing pre-function: [string "local tok="SEKRET-abc-0123456789-0123456789-0..."]:2: 'then' expected near 'the'`}}}},
					{"post-function", object{"log": []string{`x = {a = 1 "SEKRETNEAR-abc"}`}},
						object{"config": object{"log": []string{
							`error parsing post-function: [string "x = {a = 1 "SEKRETNEAR-abc"}"]:1: '}' expected near '"SEKRETNEAR-abc"'`}}}},
				})
			},
		},
		{
			Name:  "null where a value has to be",
			Cites: "null is not the default: 400 'required field missing', also where the key is taken, so that a wrong config is not reported as a conflict",
			Run: func(t *testing.T, a *Admin) {
				const missing = "required field missing"
				list := []refusal{
					{"request-termination", object{"status_code": nil}, object{"config": object{"status_code": missing}}},
					{"datadog", object{"metrics": nil}, object{"config": object{"metrics": missing}}},
				}
				phases := []string{"access", "body_filter", "certificate", "header_filter", "log", "rewrite"}
				for _, plugin := range []string{"pre-function", "post-function"} {
					for i, phase := range phases {
						config := object{phase: nil, phases[(i+1)%len(phases)]: []string{"return"}}
						list = append(list, refusal{plugin, config, object{"config": object{phase: missing}}})
					}
				}
				refuses(t, a, list)
				svc, _ := a.Service(t, "taken")
				body := object{"name": "request-termination", "service": ref(svc)}
				a.Must(t, 201, "POST", "/plugins", body)
				body["config"] = object{"status_code": nil}
				is(t, "code", a.Must(t, 400, "POST", "/plugins", body).Body["code"], 2)
			},
		},
		{
			Name:  "null that is taken",
			Cites: "some fields with a default take null and answer null: whether null is allowed is Kong's to say, and a declared null is compared as null",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				for plugin, fields := range map[string][]string{
					"loggly":  {"log_level", "server_errors_severity", "successful_severity", "client_errors_severity"},
					"session": {"remember", "read_body_for_logout"},
				} {
					config := object{}
					if plugin == "loggly" {
						config["key"] = "k"
					}
					for _, f := range fields {
						config[f] = nil
					}
					answered := a.Must(t, 200, "PUT", "/plugins/"+a.ID(), object{"name": plugin, "service": ref(svc), "config": config}).Body["config"].(map[string]any)
					for _, f := range fields {
						is(t, plugin+"."+f, answered[f], nil)
					}
				}
			},
		},
		{
			Name:  "values that break Kong",
			Cites: "500 without a reason for a number where Kong looks into a record: it is the config's fault and not the gateway's, however often it is sent",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				for _, r := range []struct {
					plugin string
					config object
				}{
					{"acme", object{"account_email": "a@b.example", "storage_config": 0}},
					{"acme", object{"account_email": "a@b.example", "storage_config": true}},
					{"rate-limiting", object{"minute": 1, "redis": 5, "redis_host": "r"}},
				} {
					body := object{"name": r.plugin, "service": ref(svc), "config": r.config}
					is(t, r.plugin, a.Must(t, 500, "PUT", "/plugins/"+a.ID(), body).Body, object{"message": "An unexpected error occurred"})
				}
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
