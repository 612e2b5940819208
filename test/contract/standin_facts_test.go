package contract

import (
	"strings"
	"testing"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// standInFacts need a database or a node of their own.
func standInFacts() []standInFact {
	return append(databaseFacts(), dblessFacts()...)
}

var broken = object{"message": "An unexpected error occurred"}

func databaseFacts() []standInFact {
	return []standInFact{
		{
			Name:     "database stopped",
			Kong:     "Every request that needs the database is 500 immediately, never 503.",
			Operator: "A 500 says nothing about the plugin. The operator creates and deletes nothing because of it.",
			Run: func(t *testing.T, a *Admin, srv *kongtest.Server) {
				svc, name := a.Service(t, "s")
				path := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", rateLimiting(svc)).Body["id"])
				srv.SetDatabaseDown(true)
				for _, req := range [][2]string{
					{"GET", "/plugins"}, {"GET", path}, {"GET", "/plugins/name"}, {"PUT", path}, {"PATCH", path}, {"DELETE", path},
					{"POST", "/plugins"}, {"POST", "/services/" + name + "/plugins"}, {"GET", "/tags"},
				} {
					var body any
					if req[0] != "GET" && req[0] != "DELETE" {
						body = rateLimiting(svc)
					}
					equal(t, req[0]+" "+req[1], a.Must(t, 500, req[0], req[1], body).Body, broken)
				}
				srv.SetDatabaseDown(false)
				a.Must(t, 200, "GET", path, nil)
			},
		},
		{
			Name:     "database stopped: the probe",
			Kong:     "GET / is 500 '... happened', GET /status is 200 with reachable false.",
			Operator: "Reachable and DatabaseReachable are two conditions.",
			Run: func(t *testing.T, a *Admin, srv *kongtest.Server) {
				srv.SetDatabaseDown(true)
				equal(t, "root", a.Must(t, 500, "GET", "/", nil).Body, object{"message": "An unexpected error happened"})
				equal(t, "status", a.Must(t, 200, "GET", "/status", nil).Body["database"], object{"reachable": false})
			},
		},
		{
			Name:     "database stopped: validation comes first",
			Kong:     "Schemas, validation and 400 responses work without the database.",
			Operator: "The operator reports an error in a config also during an outage.",
			Run: func(t *testing.T, a *Admin, srv *kongtest.Server) {
				srv.SetDatabaseDown(true)
				a.Must(t, 400, "POST", "/plugins", object{"name": "nope"})
				a.Must(t, 400, "GET", "/plugins?size=0", nil)
				a.Must(t, 200, "POST", "/schemas/plugins/validate", object{"name": "cors"})
				a.Must(t, 200, "GET", "/schemas/plugins/cors", nil)
				a.Must(t, 200, "GET", "/plugins/enabled", nil)
			},
		},
		{
			Name:     "database stopped: protocols of a service",
			Kong:     "A plugin with a service and protocols is 400 'must match' instead of 500, because Kong ignores that the lookup of routes failed.",
			Operator: "A 400 about protocols is final only while the database is reachable.",
			Run: func(t *testing.T, a *Admin, srv *kongtest.Server) {
				svc, _ := a.Service(t, "s")
				body := rateLimiting(svc, object{"protocols": []string{"http"}})
				srv.SetDatabaseDown(true)
				equal(t, "fields", a.Must(t, 400, "PUT", "/plugins/"+a.ID(), body).Body["fields"],
					object{"protocols": "must match the protocols of at least one route pointing to this Plugin's service"})
				equal(t, "status", a.Must(t, 200, "GET", "/status", nil).Body["database"], object{"reachable": false})
				srv.SetDatabaseDown(false)
				a.Must(t, 200, "PUT", "/plugins/"+a.ID(), body)
			},
		},
		{
			Name:     "database frozen",
			Kong:     "Every request is 500 after Kong's time-out. Kong applies nothing later.",
			Operator: "The operator's request time-out is longer than Kong's.",
			Run: func(t *testing.T, a *Admin, srv *kongtest.Server) {
				srv.SetDatabaseFrozen(true)
				id := a.ID()
				equal(t, "PUT", a.Must(t, 500, "PUT", "/plugins/"+id, object{"name": "cors"}).Body, broken)
				a.Must(t, 500, "GET", "/plugins/"+id, nil)
				srv.SetDatabaseFrozen(false)
				a.Must(t, 404, "GET", "/plugins/"+id, nil)
			},
		},
		{
			Name:     "database read-only",
			Kong:     "After a failover reads work, GET /status answers reachable true, and every write that gets to the database is 500.",
			Operator: "When the writes of several bindings fail alike, the gateway is to blame and not their configs.",
			Run: func(t *testing.T, a *Admin, srv *kongtest.Server) {
				svc, _ := a.Service(t, "s")
				path := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", rateLimiting(svc)).Body["id"])
				srv.SetDatabaseReadOnly(true)
				a.Must(t, 200, "GET", path, nil)
				equal(t, "status", a.Must(t, 200, "GET", "/status", nil).Body["database"], object{"reachable": true})
				equal(t, "PUT", a.Must(t, 500, "PUT", path, rateLimiting(svc)).Body, broken)
				equal(t, "DELETE", a.Must(t, 500, "DELETE", path, nil).Body, broken)
				a.Must(t, 400, "PUT", path, object{"name": "nope"})
				srv.SetDatabaseReadOnly(false)
				a.Must(t, 200, "PUT", path, rateLimiting(svc))
			},
		},
		{
			Name:     "a rate limit in front",
			Kong:     "429 with Retry-After and a body without a code, for any request.",
			Operator: "Kong applied nothing. The response says nothing about a plugin.",
			Options:  []kongtest.Option{kongtest.WithRateLimit(0.001, 2)},
			Run: func(t *testing.T, a *Admin, srv *kongtest.Server) {
				a.Must(t, 200, "GET", "/", nil)
				a.Must(t, 200, "GET", "/plugins", nil)
				ans := a.Must(t, 429, "POST", "/plugins", object{"name": "cors"})
				equal(t, "body", ans.Body, object{"message": "API rate limit exceeded"})
				equal(t, "Retry-After", ans.Header.Get("Retry-After"), "1")
				if n := len(srv.Plugins()); n != 0 {
					t.Errorf("%d plugins", n)
				}
			},
		},
		{
			Name:     "in-flight create",
			Kong:     "Kong answers 500 to a POST and applies it when the lock goes.",
			Operator: "Before another create the operator looks the plugin up by instance name.",
			Run: func(t *testing.T, a *Admin, srv *kongtest.Server) {
				srv.SetDatabaseLocked(true)
				a.Must(t, 500, "POST", "/plugins", object{"name": "cors", "instance_name": "mine"})
				a.Must(t, 404, "GET", "/plugins/mine", nil)
				srv.SetDatabaseLocked(false)
				a.Must(t, 200, "GET", "/plugins/mine", nil)
				a.Must(t, 409, "POST", "/plugins", object{"name": "cors"})
			},
		},
		{
			Name:     "in-flight replacement, change and deletion",
			Kong:     "Kong answers 500 to PUT, PATCH and DELETE and applies them later, in order.",
			Operator: "A late PUT recreates a deleted plugin. The operator waits for in-flight writes and looks again before it removes its finalizer.",
			Run: func(t *testing.T, a *Admin, srv *kongtest.Server) {
				one := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", object{"name": "cors"}).Body["id"])
				two := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", object{"name": "key-auth"}).Body["id"])
				late := "/plugins/" + a.ID()
				srv.SetDatabaseLocked(true)
				a.Must(t, 500, "PUT", late, object{"name": "basic-auth"})
				a.Must(t, 500, "PATCH", one, object{"tags": []string{"late"}})
				a.Must(t, 500, "DELETE", two, nil)
				equal(t, "before", a.Must(t, 200, "GET", one, nil).Body["tags"], nil)
				srv.SetDatabaseLocked(false)
				a.Must(t, 200, "GET", late, nil)
				equal(t, "after", a.Must(t, 200, "GET", one, nil).Body["tags"], []string{"late"})
				a.Must(t, 404, "GET", two, nil)
			},
		},
		{
			Name:     "an older backup",
			Kong:     "A restored database lacks plugins that were recorded.",
			Operator: "The operator recreates them under the recorded IDs.",
			Run: func(t *testing.T, a *Admin, srv *kongtest.Server) {
				backup := srv.Snapshot()
				path := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", object{"name": "cors"}).Body["id"])
				srv.Restore(backup)
				a.Must(t, 404, "GET", path, nil)
				a.Must(t, 200, "PUT", path, object{"name": "cors"})
			},
		},
	}
}

func dblessFacts() []standInFact {
	without := func(verb string) object {
		return object{
			"message": "cannot " + verb + " 'plugins' entities when not using a database",
			"name":    "operation unsupported", "code": 12,
		}
	}
	return []standInFact{
		{
			Name:     "DB-less is recognised",
			Kong:     "configuration.database is off, and /status has no database.",
			Operator: "Accepted is False with reason DBLess. The operator writes nothing.",
			Options:  []kongtest.Option{kongtest.WithDBLess()},
			Run: func(t *testing.T, a *Admin, _ *kongtest.Server) {
				root := a.Must(t, 200, "GET", "/", nil).Body
				equal(t, "database", root["configuration"].(map[string]any)["database"], "off")
				if _, has := a.Must(t, 200, "GET", "/status", nil).Body["database"]; has {
					t.Error("/status has a database")
				}
			},
		},
		{
			Name:     "DB-less refuses writes",
			Kong:     "405 code 12 after validation; 404 and 204 for entities that are missing.",
			Operator: "The operator tells a gateway that changed its mode from a wrong method by the code.",
			Options:  []kongtest.Option{kongtest.WithDBLess()},
			Run: func(t *testing.T, a *Admin, srv *kongtest.Server) {
				there := "/plugins/" + text(srv.Seed("plugins", object{"name": "key-auth"})["id"])
				body := object{"name": "cors"}
				equal(t, "POST", a.Must(t, 405, "POST", "/plugins", body).Body, without("create"))
				equal(t, "PUT", a.Must(t, 405, "PUT", "/plugins/"+a.ID(), body).Body, without("create or update"))
				equal(t, "PATCH", a.Must(t, 405, "PATCH", there, object{"enabled": false}).Body, without("update"))
				equal(t, "DELETE", a.Must(t, 405, "DELETE", there, nil).Body, without("remove"))
				a.Must(t, 400, "POST", "/plugins", object{"name": "nope"})
				a.Must(t, 404, "PATCH", "/plugins/"+a.ID(), object{"enabled": false})
				a.Must(t, 204, "DELETE", "/plugins/"+a.ID(), nil)
				a.Must(t, 200, "GET", there, nil)
				equal(t, "writes", len(srv.Journal().Writes()), 0)
			},
		},
		{
			Name:     "DB-less lists no tags",
			Kong:     "GET /plugins?tags= is 500.",
			Operator: "The operator finds the mode out before its first list.",
			Options:  []kongtest.Option{kongtest.WithDBLess()},
			Run: func(t *testing.T, a *Admin, _ *kongtest.Server) {
				a.Must(t, 500, "GET", "/plugins?tags=a", nil)
				a.Must(t, 200, "GET", "/plugins", nil)
			},
		},
		{
			Name:     "DB-less counts nothing in a cluster",
			Kong:     "The policy cluster is not a value, neither in the schema nor in a validation.",
			Operator: "The values of a field depend on the gateway, not only on its version.",
			Options:  []kongtest.Option{kongtest.WithDBLess()},
			Run: func(t *testing.T, a *Admin, _ *kongtest.Server) {
				body := object{"name": "rate-limiting", "config": object{"minute": 1, "policy": "cluster"}}
				equal(t, "fields", a.Must(t, 400, "POST", "/schemas/plugins/validate", body).Body["fields"],
					object{"config": object{"policy": "expected one of: local, redis"}})
				if raw := a.Must(t, 200, "GET", "/schemas/plugins/rate-limiting", nil).Raw; strings.Contains(raw, `"cluster"`) {
					t.Error("the schema has it")
				}
			},
		},
	}
}
