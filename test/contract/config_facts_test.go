package contract

import (
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// refusal is a config that Kong refuses, and the fields of the response.
type refusal struct {
	plugin string
	config object
	fields object
}

// refuses sends each config with a PUT, on a service of its own, and to validation:
// both responses are the same.
func refuses(t *testing.T, a *Admin, list []refusal) {
	t.Helper()
	svc, _ := a.Service(t, "s")
	for _, r := range list {
		body := object{"name": r.plugin, "service": ref(svc), "config": r.config}
		ans := a.Must(t, 400, "PUT", "/plugins/"+a.ID(), body)
		equal(t, r.plugin, ans.Body["fields"], r.fields)
		equal(t, r.plugin+", validated", a.Must(t, 400, "POST", "/schemas/plugins/validate", body).Body, ans.Body)
	}
}

// configFacts are rules of single plugins for their config, beyond types.
func configFacts() []fact {
	return []fact{
		{
			Name:     "acl needs either allow or deny",
			Kong:     "acl accepts exactly one of the two. With neither it reports two errors.",
			Operator: "The condition joins all of Kong's messages.",
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
			Name:     "sync_rate depends on the policy",
			Kong:     "rate-limiting accepts sync_rate with the policy redis only, and no value below 0.02. The error is at config, without @entity.",
			Operator: "An error about several fields does not always have the key @entity.",
			Run: func(t *testing.T, a *Admin) {
				redis := object{"host": "r"}
				refuses(t, a, []refusal{
					{"rate-limiting", object{"minute": 1, "policy": "local", "sync_rate": 1}, object{"config": "sync_rate can only be used with the redis policy"}},
					{"rate-limiting", object{"minute": 1, "policy": "redis", "redis": redis, "sync_rate": 0.01},
						object{"config": "sync_rate must be greater than 0.02, or -1 to disable"}},
				})
				svc, _ := a.Service(t, "other")
				a.Must(t, 201, "POST", "/plugins", rateLimiting(svc, object{"config": object{"minute": 1, "policy": "redis", "redis": redis, "sync_rate": 1}}))
			},
		},
		{
			Name:     "the transformers check different parts of a header",
			Kong:     "request-transformer checks header names and needs values elsewhere. response-transformer checks names only in rename.",
			Operator: "The operator does not validate configs itself: a value that one plugin accepts, another refuses.",
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
			Name:     "request-transformer: a value without a name is 500",
			Kong:     "Kong answers 500 without a reason instead of 400.",
			Operator: "A 500 can be an error in the config.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				body := object{"name": "request-transformer", "service": ref(svc), "config": object{"add": object{"body": []string{":v"}}}}
				equal(t, "body", a.Must(t, 500, "PUT", "/plugins/"+a.ID(), body).Body, object{"message": "An unexpected error occurred"})
			},
		},
		{
			Name:     "proxy-cache: an unknown shared dictionary is refused",
			Kong:     "Kong refuses a config for what its own installation lacks, under @entity.",
			Operator: "The same binding can be valid for another gateway, so the operator does not validate it without one.",
			Run: func(t *testing.T, a *Admin) {
				refuses(t, a, []refusal{{"proxy-cache", object{"strategy": "memory", "memory": object{"dictionary_name": "nope"}},
					object{"@entity": []string{"missing shared dict 'nope'"}}}})
			},
		},
		{
			Name:     "plugins limit their protocols",
			Kong:     "Most plugins accept HTTP and gRPC only. Some declare that and accept more.",
			Operator: "The gateway decides which protocols a binding may have.",
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
					equal(t, plugin, a.Must(t, 400, "POST", "/plugins", body).Body["fields"], object{"protocols": []string{http}})
				}
			},
		},
		{
			Name:     "Lua functions are compiled",
			Kong:     "pre-function and post-function refuse a function that does not compile, with LuaJIT's message after their own.",
			Operator: "Such a config is a permanent error of the binding. The message can span lines.",
			Run: func(t *testing.T, a *Admin) {
				refuses(t, a, []refusal{
					{"pre-function", object{"access": []string{"print("}},
						object{"config": object{"access": []string{`error parsing pre-function: [string "print("]:1: unexpected symbol near '<eof>'`}}}},
					{"file-log", object{"path": `a\b`}, object{"config": object{"path": "not a valid filename"}}},
				})
			},
		},
		{
			Name:     "Lua in log fields is compiled in a sandbox",
			Kong:     "The message begins with the path of the sandbox in that installation.",
			Operator: "Kong's messages differ between installations, so no decision depends on them.",
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
			Name:     "errors in Lua quote the source",
			Kong:     "LuaJIT's message has the first 45 bytes of the source and the token at the error.",
			Operator: "The operator never shows Kong's message about a field that came from a Secret.",
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
			Name:     "null for a required field is refused",
			Kong:     "null does not become the default: Kong answers 400 'required field missing', also when another plugin has the key.",
			Operator: "The operator reports the wrong config and no conflict.",
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
				equal(t, "code", a.Must(t, 400, "POST", "/plugins", body).Body["code"], 2)
			},
		},
		{
			Name:     "null for an optional field is stored",
			Kong:     "Some fields with a default accept null and answer null.",
			Operator: "The operator compares a declared null with null.",
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
						equal(t, plugin+"."+f, answered[f], nil)
					}
				}
			},
		},
		{
			Name:     "a number instead of a record is 500",
			Kong:     "Kong's code reads a field of the value before it checks the type, and answers 500 without a reason.",
			Operator: "A 500 that repeats can be an error in the config. Other bindings of the gateway do not wait for it.",
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
					equal(t, r.plugin, a.Must(t, 500, "PUT", "/plugins/"+a.ID(), body).Body, object{"message": "An unexpected error occurred"})
				}
			},
		},
		{
			Name:     "a regular expression of a route is compiled",
			Kong:     "Kong refuses a path that its router cannot compile, and a path with a malformed escape.",
			Operator: "Every route that a scope names is in the router.",
			Run: func(t *testing.T, a *Admin) {
				for path, why := range map[string]string{
					"~/(a":     `invalid regex: '/(a' (PCRE returned: pcre2_compile() failed: missing closing parenthesis in "/(a")`,
					"~/a)b":    `invalid regex: '/a)b' (PCRE returned: pcre2_compile() failed: unmatched closing parenthesis in "/a)b" at ")b")`,
					"/%41/%4":  "invalid url-encoded value: '%4'",
					"/%%41bc/": "invalid url-encoded value: '%__'",
				} {
					ans := a.Must(t, 400, "POST", "/routes", object{"name": a.Name("r"), "paths": []string{path}})
					equal(t, path, ans.Body["fields"], object{"paths": []string{why}})
				}
				// The router supports less than PCRE. Its errors are under @entity.
				for _, path := range []string{"~/(?=a)", `~/(a)\1`} {
					ans := a.Must(t, 400, "POST", "/routes", object{"name": a.Name("r"), "paths": []string{path}})
					if raw := ans.Raw; !strings.Contains(raw, `"@entity":["Router Expression failed validation: `) {
						t.Errorf("%s: %s", path, raw)
					}
				}
			},
		},
		{
			Name:     "text that is not UTF-8 is refused",
			Kong:     "The message has the position of the byte, not the value.",
			Operator: "The operator need not redact this message.",
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
			Name:     "brackets in a form address lists and maps",
			Kong:     "A number in brackets is an index of a list, any other text a key of a map.",
			Operator: "The stand-in stores what somebody sends with curl.",
			Run: func(t *testing.T, a *Admin) {
				form := "protocols=tcp&sources[1].ip=10.0.0.1&sources[1].port=1&name=" + a.Name("t")
				ans := a.Must(t, 201, "POST", "/routes", form, "Content-Type", "application/x-www-form-urlencoded")
				equal(t, "sources", ans.Body["sources"], []object{{"ip": "10.0.0.1", "port": 1}})
				form = "headers[X-One][]=a&headers[X-One][]=b&name=" + a.Name("h")
				ans = a.Must(t, 201, "POST", "/routes", form, "Content-Type", "application/x-www-form-urlencoded")
				equal(t, "headers", ans.Body["headers"], object{"X-One": []string{"a", "b"}})
			},
		},
		{
			Name:     "more than 1000 arguments are refused",
			Kong:     "Endpoints of entities answer 400 without a code to a longer query or form. JSON has no such limit.",
			Operator: "The operator sends JSON.",
			Run: func(t *testing.T, a *Admin) {
				many := strings.Repeat("a=1&", 1001)
				want := object{"message": "Too many arguments"}
				equal(t, "query", a.Must(t, 400, "GET", "/plugins?"+many, nil).Body, want)
				equal(t, "form", a.Must(t, 400, "POST", "/plugins", "name=cors&"+many, "Content-Type", "application/x-www-form-urlencoded").Body, want)
				a.Must(t, 200, "GET", "/plugins?"+strings.Repeat("a=1&", 999)+"tags="+url.QueryEscape(a.Name("t")), nil)
			},
		},
		{
			Name:     "the schema of an entity",
			Kong:     "GET /schemas/{entity} answers fields and entity_checks. It has shorthand fields of records, but not those of the entity itself.",
			Operator: "The url of a service is not a field.",
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
