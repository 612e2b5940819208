package contract

import (
	"fmt"
	"strings"
	"testing"
)

func valueFacts() []fact {
	return []fact{
		{
			Name:     "the response is the whole entity",
			Kong:     "Every field is there, null where unset.",
			Operator: "The operator compares the live plugin without another request.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				p := a.Must(t, 201, "POST", "/plugins", rateLimiting(svc))
				for _, f := range []string{"consumer", "route", "tags", "instance_name"} {
					if v, has := p.Body[f]; !has || v != nil {
						t.Errorf("%s is %v, there: %v", f, v, has)
					}
				}
				equal(t, "hour", config(p)["hour"], nil)
				equal(t, "limit_by", config(p)["limit_by"], "consumer")
				equal(t, "enabled", p.Body["enabled"], true)
			},
		},
		{
			Name:     "default protocols",
			Kong:     "grpc, grpcs, http and https, as a set in no stable order.",
			Operator: "The operator compares sets as sets; otherwise every reconcile would find drift.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				p := a.Must(t, 201, "POST", "/plugins", rateLimiting(svc))
				equal(t, "protocols", sorted(p.Body["protocols"]), []string{"grpc", "grpcs", "http", "https"})
			},
		},
		{
			Name:     "sets have an order of their own",
			Kong:     "Kong answers a set in the order of its hash table, not of the request.",
			Operator: "A set that differs in its order only is not drift.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				path, kept := "/plugins/"+a.ID(), 0
				for _, sent := range [][]string{{"grpc", "grpcs", "http", "https"}, {"https", "http", "grpcs", "grpc"}} {
					answered := a.Must(t, 200, "PUT", path, rateLimiting(svc, object{"protocols": sent})).Body["protocols"]
					equal(t, "elements", sorted(answered), []string{"grpc", "grpcs", "http", "https"})
					if fmt.Sprint(answered) == fmt.Sprint(sent) {
						kept++
					}
				}
				if kept == 2 {
					t.Error("both orders were kept")
				}
			},
		},
		{
			Name:     "deprecated fields are answered, too",
			Kong:     "rate-limiting answers redis.host and the deprecated redis_host.",
			Operator: "A field that nobody declared is not drift.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				p := a.Must(t, 201, "POST", "/plugins", rateLimiting(svc, object{"config": object{"minute": 1, "redis": object{"host": "r1"}}}))
				equal(t, "redis.host", config(p)["redis"].(map[string]any)["host"], "r1")
				equal(t, "redis_host", config(p)["redis_host"], "r1")
			},
		},
		{
			Name:     "timestamps are whole seconds",
			Kong:     "created_at and updated_at are integers. Kong always sets updated_at.",
			Operator: "Two writes in one second look alike, so no decision depends on timestamps.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				p := a.Must(t, 201, "POST", "/plugins", rateLimiting(svc, object{"updated_at": 1})).Body
				for _, f := range []string{"created_at", "updated_at"} {
					n, _ := p[f].(float64)
					if n < 1.5e9 || n != float64(int64(n)) {
						t.Errorf("%s is %v", f, p[f])
					}
				}
			},
		},
		{
			Name:     "random secrets",
			Kong:     "oauth2 generates another provision key for each write without one, session a secret.",
			Operator: "The operator copies undeclared generated values from the live plugin into a PUT.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				path := "/plugins/" + a.ID()
				body := object{"name": "oauth2", "service": ref(svc), "config": object{"enable_client_credentials": true}}
				one := text(config(a.Must(t, 200, "PUT", path, body))["provision_key"])
				two := text(config(a.Must(t, 200, "PUT", path, body))["provision_key"])
				if len(one) != 32 || one == two {
					t.Errorf("keys of %d and %d characters, equal: %v", len(one), len(two), one == two)
				}
				session := a.Must(t, 200, "PUT", "/plugins/"+a.ID(), object{"name": "session", "service": ref(svc)})
				if secret := text(config(session)["secret"]); len(secret) < 32 {
					t.Errorf("session secret of %d characters", len(secret))
				}
			},
		},
		{
			Name:     "GET answers what was written",
			Kong:     "The response to a write is what GET answers afterwards.",
			Operator: "The operator updates its snapshot from the response.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				p := a.Must(t, 201, "POST", "/plugins", rateLimiting(svc)).Body
				q := a.Must(t, 200, "GET", "/plugins/"+text(p["id"]), nil).Body
				for _, e := range []object{p, q} {
					e["protocols"] = sorted(e["protocols"])
				}
				equal(t, "read back", q, p)
			},
		},
		{
			Name:     "what was read can be written",
			Kong:     "A PUT of the body of a GET is accepted and changes updated_at only.",
			Operator: "The operator changes one field with a PUT.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				p := a.Must(t, 201, "POST", "/plugins", rateLimiting(svc, object{"tags": []string{"x"}, "instance_name": a.Name("i")})).Body
				q := a.Must(t, 200, "PUT", "/plugins/"+text(p["id"]), p).Body
				for _, e := range []object{p, q} {
					e["protocols"] = sorted(e["protocols"])
					delete(e, "updated_at")
				}
				equal(t, "written back", q, p)
			},
		},
	}
}

func errorFacts() []fact {
	return []fact{
		{
			Name:     "a wrong config",
			Kong:     "400 code 2 with fields nested like the config. Kong does not convert strings to numbers.",
			Operator: "It is a permanent error of the binding.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				equal(t, "body", a.Must(t, 400, "POST", "/plugins", rateLimiting(svc, object{"config": object{"minute": "5"}})).Body, object{
					"message": "schema violation (config.minute: expected a number)",
					"fields":  object{"config": object{"minute": "expected a number"}}, "name": "schema violation", "code": 2,
				})
			},
		},
		{
			Name:     "several wrong fields",
			Kong:     "Kong names all of them, sorted by name.",
			Operator: "One condition message tells the user everything.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				bad := object{"config": object{"minute": -1, "policy": "x", "bogus": 1}}
				equal(t, "message", a.Must(t, 400, "POST", "/plugins", rateLimiting(svc, bad)).Body["message"],
					"3 schema violations (config.bogus: unknown field; config.minute: value must be greater than 0; "+
						"config.policy: expected one of: local, cluster, redis)")
			},
		},
		{
			Name:     "a check across fields",
			Kong:     `The error is an array under fields["@entity"].`,
			Operator: "The operator reads both forms of errors.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				why := "at least one of these fields must be non-empty: 'config.second', 'config.minute', 'config.hour', 'config.day', 'config.month', 'config.year'"
				ans := a.Must(t, 400, "POST", "/plugins", rateLimiting(svc, object{"config": object{}}))
				equal(t, "fields", ans.Body["fields"], object{"@entity": []string{why}})
			},
		},
		{
			Name:     "a plugin that is not installed",
			Kong:     "400 code 2 under fields.name.",
			Operator: "It has a reason of its own: the gateway has to change, not the binding.",
			Run: func(t *testing.T, a *Admin) {
				ans := a.Must(t, 400, "POST", "/plugins", object{"name": "does-not-exist"})
				equal(t, "fields", ans.Body["fields"], object{"name": "plugin 'does-not-exist' not enabled; add it to the 'plugins' configuration property"})
			},
		},
		{
			Name:     "errors repeat values",
			Kong:     "Kong's message can have a value from the config.",
			Operator: "A value from a Secret must not get into status, events or logs this way.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				body := object{"name": "ip-restriction", "service": ref(svc), "config": object{"allow": []string{"hunter2"}}}
				if raw := a.Must(t, 400, "POST", "/plugins", body).Raw; !strings.Contains(raw, "hunter2") {
					t.Errorf("does not: %s", raw)
				}
			},
		},
		{
			Name:     "malformed JSON",
			Kong:     `400 {"message":"Cannot parse JSON body"} without a code.`,
			Operator: "A 400 need not have fields.",
			Run: func(t *testing.T, a *Admin) {
				for _, body := range []string{`{"name":`, `{"name":"x",}`, ``} {
					equal(t, body, a.Must(t, 400, "POST", "/plugins", body).Body, object{"message": "Cannot parse JSON body"})
				}
			},
		},
		{
			Name:     "content types",
			Kong:     "A body without a type, of another type, or of a type in capitals is 415 with an HTML page.",
			Operator: "Not every response is JSON.",
			Run: func(t *testing.T, a *Admin) {
				for _, ct := range []string{"text/plain", "Application/JSON"} {
					ans := a.Must(t, 415, "POST", "/plugins", `{"name":"key-auth"}`, "Content-Type", ct)
					if ans.Body != nil || !strings.HasPrefix(ans.Header.Get("Content-Type"), "text/html") {
						t.Errorf("%s: %s", ct, ans.Raw)
					}
				}
				svc, _ := a.Service(t, "s")
				a.Must(t, 201, "POST", "/services/"+svc+"/plugins", `{"name":"key-auth"}`, "Content-Type", "application/json; charset=utf-8")
			},
		},
		{
			Name:     "configs that break Kong",
			Kong:     "A check that meets a number instead of a record is 500 each time.",
			Operator: "A 500 that repeats can be the binding's fault. Other bindings must not wait for it.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				for _, bad := range []object{
					{"config": 5}, {"config": object{"minute": 1, "redis": 3}}, {"config": object{"minute": 1, "error_message": "a\x00b"}},
				} {
					equal(t, "body", a.Must(t, 500, "PUT", "/plugins/"+a.ID(), rateLimiting(svc, bad)).Body, object{"message": "An unexpected error occurred"})
				}
			},
		},
		{
			Name:     "bodies that break Kong",
			Kong:     "A JSON null, or a number as name, is 500.",
			Operator: "A 500 can be the client's fault. It still proves nothing about the write.",
			Run: func(t *testing.T, a *Admin) {
				for _, body := range []string{`null`, `"x"`, `{"name":5}`} {
					equal(t, body, a.Must(t, 500, "POST", "/plugins", body).Body, object{"message": "An unexpected error occurred"})
				}
			},
		},
	}
}

func schemaFacts() []fact {
	return []fact{
		{
			Name:     "the schema of a plugin",
			Kong:     "GET /schemas/plugins/{name} has the fields.",
			Operator: "The operator knows defaults and sets without a write.",
			Run: func(t *testing.T, a *Admin) {
				body := a.Must(t, 200, "GET", "/schemas/plugins/rate-limiting", nil).Body
				if fields, _ := body["fields"].([]any); len(fields) < 2 {
					t.Errorf("fields %v", body["fields"])
				}
				equal(t, "unknown", a.Must(t, 404, "GET", "/schemas/plugins/nope", nil).Body, object{"message": "No plugin named 'nope'"})
			},
		},
		{
			Name:     "validation without a write",
			Kong:     "POST /schemas/plugins/validate judges the config as POST does. It checks neither references nor keys.",
			Operator: "The management policy Observe reports its result.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				a.Must(t, 201, "POST", "/plugins", rateLimiting(svc))
				for _, scope := range []string{svc, a.ID()} {
					equal(t, scope, a.Must(t, 200, "POST", "/schemas/plugins/validate", rateLimiting(scope)).Body,
						object{"message": "schema validation successful"})
				}
				bad := rateLimiting(svc, object{"config": object{"minute": "x"}})
				equal(t, "bad", a.Must(t, 400, "POST", "/schemas/plugins/validate", bad).Body, a.Must(t, 400, "POST", "/plugins", bad).Body)
			},
		},
		{
			Name:     "validation differs from POST",
			Kong:     "It reads the query as fields, resolves no names, and answers 500 to a deprecated field that POST refuses with 400.",
			Operator: "Its 500 says nothing about the gateway.",
			Run: func(t *testing.T, a *Admin) {
				const path = "/schemas/plugins/validate"
				svc, name := a.Service(t, "s")
				equal(t, "query", a.Must(t, 400, "POST", path+"?foo=1", rateLimiting(svc)).Body["fields"], object{"foo": "unknown field"})
				equal(t, "name", a.Must(t, 400, "POST", path, rateLimiting(svc, object{"service": object{"name": name}})).Body["fields"],
					object{"service": object{"id": "missing primary key"}})
				twin := rateLimiting(svc, object{"config": object{"minute": 1, "redis_port": "x"}})
				equal(t, "POST", a.Must(t, 400, "POST", "/plugins", twin).Body["fields"], object{"redis_port": "expected an integer"})
				a.Must(t, 500, "POST", path, twin)
			},
		},
	}
}
