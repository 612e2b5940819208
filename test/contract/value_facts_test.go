package contract

import (
	"fmt"
	"strings"
	"testing"
)

func valueFacts() []fact {
	return []fact{
		{
			Name:  "the answer is the whole entity",
			Cites: "every field is there, null where unset: the plugin that is can be compared without asking again",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				p := a.Must(t, 201, "POST", "/plugins", limit(svc))
				for _, f := range []string{"consumer", "route", "tags", "instance_name"} {
					if v, has := p.Body[f]; !has || v != nil {
						t.Errorf("%s is %v, there: %v", f, v, has)
					}
				}
				is(t, "hour", config(p)["hour"], nil)
				is(t, "limit_by", config(p)["limit_by"], "consumer")
				is(t, "enabled", p.Body["enabled"], true)
			},
		},
		{
			Name:  "default protocols",
			Cites: "grpc, grpcs, http, https as a set in no stable order: sets are compared as sets, or every pass would see drift",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				p := a.Must(t, 201, "POST", "/plugins", limit(svc))
				is(t, "protocols", sorted(p.Body["protocols"]), []string{"grpc", "grpcs", "http", "https"})
			},
		},
		{
			Name:  "sets have an order of their own",
			Cites: "a set is answered in the order of a hash table, whatever order was sent: one that differs in its order alone is no drift",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				path, kept := "/plugins/"+a.ID(), 0
				for _, sent := range [][]string{{"grpc", "grpcs", "http", "https"}, {"https", "http", "grpcs", "grpc"}} {
					answered := a.Must(t, 200, "PUT", path, limit(svc, object{"protocols": sent})).Body["protocols"]
					is(t, "elements", sorted(answered), []string{"grpc", "grpcs", "http", "https"})
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
			Name:  "deprecated twins",
			Cites: "rate-limiting answers redis.host and redis_host: a field that was not declared is not drift",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				p := a.Must(t, 201, "POST", "/plugins", limit(svc, object{"config": object{"minute": 1, "redis": object{"host": "r1"}}}))
				is(t, "redis.host", config(p)["redis"].(map[string]any)["host"], "r1")
				is(t, "redis_host", config(p)["redis_host"], "r1")
			},
		},
		{
			Name:  "timestamps are whole seconds",
			Cites: "created_at and updated_at are integers; updated_at is always Kong's own: two writes in a second look alike, so time decides nothing",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				p := a.Must(t, 201, "POST", "/plugins", limit(svc, object{"updated_at": 1})).Body
				for _, f := range []string{"created_at", "updated_at"} {
					n, _ := p[f].(float64)
					if n < 1.5e9 || n != float64(int64(n)) {
						t.Errorf("%s is %v", f, p[f])
					}
				}
			},
		},
		{
			Name:  "random secrets",
			Cites: "oauth2 makes a provision key when none is given, another one each time, and session a secret: a PUT without it changes it, so an undeclared secret is carried over",
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
			Name:  "GET answers what was written",
			Cites: "the answer of a write is what a GET says afterwards: the view is updated from it",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				p := a.Must(t, 201, "POST", "/plugins", limit(svc)).Body
				q := a.Must(t, 200, "GET", "/plugins/"+text(p["id"]), nil).Body
				for _, e := range []object{p, q} {
					e["protocols"] = sorted(e["protocols"])
				}
				is(t, "read back", q, p)
			},
		},
		{
			Name:  "what was read can be written",
			Cites: "a PUT of exactly what GET answered is accepted and changes nothing but updated_at: how one field is changed without a PATCH",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				p := a.Must(t, 201, "POST", "/plugins", limit(svc, object{"tags": []string{"x"}, "instance_name": a.Name("i")})).Body
				q := a.Must(t, 200, "PUT", "/plugins/"+text(p["id"]), p).Body
				for _, e := range []object{p, q} {
					e["protocols"] = sorted(e["protocols"])
					delete(e, "updated_at")
				}
				is(t, "written back", q, p)
			},
		},
	}
}

func errorFacts() []fact {
	return []fact{
		{
			Name:  "a wrong config",
			Cites: "400 code 2 with fields nested as the config: a permanent error of the binding; strings are not coerced to numbers",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				is(t, "body", a.Must(t, 400, "POST", "/plugins", limit(svc, object{"config": object{"minute": "5"}})).Body, object{
					"message": "schema violation (config.minute: expected a number)",
					"fields":  object{"config": object{"minute": "expected a number"}}, "name": "schema violation", "code": 2,
				})
			},
		},
		{
			Name:  "several wrong fields",
			Cites: "all are named, in order of their names: one condition message tells the user everything",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				bad := object{"config": object{"minute": -1, "policy": "x", "bogus": 1}}
				is(t, "message", a.Must(t, 400, "POST", "/plugins", limit(svc, bad)).Body["message"],
					"3 schema violations (config.bogus: unknown field; config.minute: value must be greater than 0; "+
						"config.policy: expected one of: local, cluster, redis)")
			},
		},
		{
			Name:  "a check across fields",
			Cites: "under fields[\"@entity\"], an array: the reader of errors must expect both shapes",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				why := "at least one of these fields must be non-empty: 'config.second', 'config.minute', 'config.hour', 'config.day', 'config.month', 'config.year'"
				ans := a.Must(t, 400, "POST", "/plugins", limit(svc, object{"config": object{}}))
				is(t, "fields", ans.Body["fields"], object{"@entity": []string{why}})
			},
		},
		{
			Name:  "a plugin that is not installed",
			Cites: "400 code 2 under fields.name: a condition of its own, since the gateway has to change, not the binding",
			Run: func(t *testing.T, a *Admin) {
				ans := a.Must(t, 400, "POST", "/plugins", object{"name": "does-not-exist"})
				is(t, "fields", ans.Body["fields"], object{"name": "plugin 'does-not-exist' not enabled; add it to the 'plugins' configuration property"})
			},
		},
		{
			Name:  "errors repeat values",
			Cites: "Kong's message can hold a value from the config: it must not reach status, events or logs when that came from a Secret",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				body := object{"name": "ip-restriction", "service": ref(svc), "config": object{"allow": []string{"hunter2"}}}
				if raw := a.Must(t, 400, "POST", "/plugins", body).Raw; !strings.Contains(raw, "hunter2") {
					t.Errorf("does not: %s", raw)
				}
			},
		},
		{
			Name:  "malformed JSON",
			Cites: `400 {"message":"Cannot parse JSON body"} without a code: a 400 need not have fields`,
			Run: func(t *testing.T, a *Admin) {
				for _, body := range []string{`{"name":`, `{"name":"x",}`, ``} {
					is(t, body, a.Must(t, 400, "POST", "/plugins", body).Body, object{"message": "Cannot parse JSON body"})
				}
			},
		},
		{
			Name:  "content types",
			Cites: "none, another one, or one in capitals with a body is 415 with an HTML page: not every answer of Kong is JSON",
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
			Name:  "configs that break Kong",
			Cites: "a check that meets a number where a record belongs is 500, every time: a 500 that never ends can be the binding's own fault, and others must not wait for it",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				for _, bad := range []object{
					{"config": 5}, {"config": object{"minute": 1, "redis": 3}}, {"config": object{"minute": 1, "error_message": "a\x00b"}},
				} {
					is(t, "body", a.Must(t, 500, "PUT", "/plugins/"+a.ID(), limit(svc, bad)).Body, object{"message": "An unexpected error occurred"})
				}
			},
		},
		{
			Name:  "bodies that break Kong",
			Cites: "a JSON null or a number as name is 500: a 500 can be the client's own fault, and still proves nothing about what was done",
			Run: func(t *testing.T, a *Admin) {
				for _, body := range []string{`null`, `"x"`, `{"name":5}`} {
					is(t, body, a.Must(t, 500, "POST", "/plugins", body).Body, object{"message": "An unexpected error occurred"})
				}
			},
		},
	}
}

func schemaFacts() []fact {
	return []fact{
		{
			Name:  "the schema of a plugin",
			Cites: "GET /schemas/plugins/{name} has the fields: defaults and sets are known without a write",
			Run: func(t *testing.T, a *Admin) {
				body := a.Must(t, 200, "GET", "/schemas/plugins/rate-limiting", nil).Body
				if fields, _ := body["fields"].([]any); len(fields) < 2 {
					t.Errorf("fields %v", body["fields"])
				}
				is(t, "unknown", a.Must(t, 404, "GET", "/schemas/plugins/nope", nil).Body, object{"message": "No plugin named 'nope'"})
			},
		},
		{
			Name:  "validation without a write",
			Cites: "POST /schemas/plugins/validate says what a POST would say of the config, and checks neither references nor the key: what Observe reports",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				a.Must(t, 201, "POST", "/plugins", limit(svc))
				for _, scope := range []string{svc, a.ID()} {
					is(t, scope, a.Must(t, 200, "POST", "/schemas/plugins/validate", limit(scope)).Body,
						object{"message": "schema validation successful"})
				}
				bad := limit(svc, object{"config": object{"minute": "x"}})
				is(t, "bad", a.Must(t, 400, "POST", "/schemas/plugins/validate", bad).Body, a.Must(t, 400, "POST", "/plugins", bad).Body)
			},
		},
		{
			Name:  "validation is not a POST in everything",
			Cites: "it takes the query for fields, resolves no names, and breaks with 500 on a deprecated field that a POST refuses with 400: its 500 says nothing about the gateway",
			Run: func(t *testing.T, a *Admin) {
				const path = "/schemas/plugins/validate"
				svc, name := a.Service(t, "s")
				is(t, "query", a.Must(t, 400, "POST", path+"?foo=1", limit(svc)).Body["fields"], object{"foo": "unknown field"})
				is(t, "name", a.Must(t, 400, "POST", path, limit(svc, object{"service": object{"name": name}})).Body["fields"],
					object{"service": object{"id": "missing primary key"}})
				twin := limit(svc, object{"config": object{"minute": 1, "redis_port": "x"}})
				is(t, "POST", a.Must(t, 400, "POST", "/plugins", twin).Body["fields"], object{"redis_port": "expected an integer"})
				a.Must(t, 500, "POST", path, twin)
			},
		},
	}
}
