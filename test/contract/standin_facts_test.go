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
			Name:  "database stopped",
			Cites: "every request that needs it is 500 at once, never 503: a 500 is not an answer about the plugin, nothing is created or deleted because of it",
			Run: func(t *testing.T, a *Admin, srv *kongtest.Server) {
				svc, name := a.Service(t, "s")
				path := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", limit(svc)).Body["id"])
				srv.SetDatabaseDown(true)
				for _, req := range [][2]string{
					{"GET", "/plugins"}, {"GET", path}, {"GET", "/plugins/name"}, {"PUT", path}, {"PATCH", path}, {"DELETE", path},
					{"POST", "/plugins"}, {"POST", "/services/" + name + "/plugins"}, {"GET", "/tags"},
				} {
					var body any
					if req[0] != "GET" && req[0] != "DELETE" {
						body = limit(svc)
					}
					is(t, req[0]+" "+req[1], a.Must(t, 500, req[0], req[1], body).Body, broken)
				}
				srv.SetDatabaseDown(false)
				a.Must(t, 200, "GET", path, nil)
			},
		},
		{
			Name:  "database stopped: the probe",
			Cites: "GET / is 500 '... happened', GET /status stays 200 with reachable false: Reachable and DatabaseReachable are two conditions",
			Run: func(t *testing.T, a *Admin, srv *kongtest.Server) {
				srv.SetDatabaseDown(true)
				is(t, "root", a.Must(t, 500, "GET", "/", nil).Body, object{"message": "An unexpected error happened"})
				is(t, "status", a.Must(t, 200, "GET", "/status", nil).Body["database"], object{"reachable": false})
			},
		},
		{
			Name:  "database stopped: validation comes first",
			Cites: "schemas, validation and 400s work without it: a config error is reported also during an outage",
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
			Name:  "database stopped: protocols of a service",
			Cites: "a plugin for a service that says its protocols is answered 400 'must match', not 500, because the look-up of the routes failed: a 400 about protocols is final only from a gateway whose database is reachable",
			Run: func(t *testing.T, a *Admin, srv *kongtest.Server) {
				svc, _ := a.Service(t, "s")
				body := limit(svc, object{"protocols": []string{"http"}})
				srv.SetDatabaseDown(true)
				is(t, "fields", a.Must(t, 400, "PUT", "/plugins/"+a.ID(), body).Body["fields"],
					object{"protocols": "must match the protocols of at least one route pointing to this Plugin's service"})
				is(t, "status", a.Must(t, 200, "GET", "/status", nil).Body["database"], object{"reachable": false})
				srv.SetDatabaseDown(false)
				a.Must(t, 200, "PUT", "/plugins/"+a.ID(), body)
			},
		},
		{
			Name:  "database frozen",
			Cites: "500 after Kong's own time-out, reads too, and nothing is applied later: the request time-out has to be as long as that",
			Run: func(t *testing.T, a *Admin, srv *kongtest.Server) {
				srv.SetDatabaseFrozen(true)
				id := a.ID()
				is(t, "PUT", a.Must(t, 500, "PUT", "/plugins/"+id, object{"name": "cors"}).Body, broken)
				a.Must(t, 500, "GET", "/plugins/"+id, nil)
				srv.SetDatabaseFrozen(false)
				a.Must(t, 404, "GET", "/plugins/"+id, nil)
			},
		},
		{
			Name:  "database read-only",
			Cites: "after a failover reads work, the status says reachable, and every write that gets as far as the database is 500: writes that fail alike are the gateway's trouble, not the config's",
			Run: func(t *testing.T, a *Admin, srv *kongtest.Server) {
				svc, _ := a.Service(t, "s")
				path := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", limit(svc)).Body["id"])
				srv.SetDatabaseReadOnly(true)
				a.Must(t, 200, "GET", path, nil)
				is(t, "status", a.Must(t, 200, "GET", "/status", nil).Body["database"], object{"reachable": true})
				is(t, "PUT", a.Must(t, 500, "PUT", path, limit(svc)).Body, broken)
				is(t, "DELETE", a.Must(t, 500, "DELETE", path, nil).Body, broken)
				a.Must(t, 400, "PUT", path, object{"name": "nope"})
				srv.SetDatabaseReadOnly(false)
				a.Must(t, 200, "PUT", path, limit(svc))
			},
		},
		{
			Name:    "a rate limit in front",
			Cites:   "429 with Retry-After and a body without a code, for any request: it says nothing of a plugin, and nothing was done",
			Options: []kongtest.Option{kongtest.WithRateLimit(0.001, 2)},
			Run: func(t *testing.T, a *Admin, srv *kongtest.Server) {
				a.Must(t, 200, "GET", "/", nil)
				a.Must(t, 200, "GET", "/plugins", nil)
				ans := a.Must(t, 429, "POST", "/plugins", object{"name": "cors"})
				is(t, "body", ans.Body, object{"message": "API rate limit exceeded"})
				is(t, "Retry-After", ans.Header.Get("Retry-After"), "1")
				if n := len(srv.Plugins()); n != 0 {
					t.Errorf("%d plugins", n)
				}
			},
		},
		{
			Name:  "in doubt: a create",
			Cites: "a POST answered 500 is applied when the lock goes: before another create the row is looked for, by instance name",
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
			Name:  "in doubt: a replacement, a change and a deletion",
			Cites: "PUT, PATCH and DELETE answered 500 are applied, too, in order: a late PUT brings a deleted plugin back, so deleting waits, looks, releases",
			Run: func(t *testing.T, a *Admin, srv *kongtest.Server) {
				one := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", object{"name": "cors"}).Body["id"])
				two := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", object{"name": "key-auth"}).Body["id"])
				late := "/plugins/" + a.ID()
				srv.SetDatabaseLocked(true)
				a.Must(t, 500, "PUT", late, object{"name": "basic-auth"})
				a.Must(t, 500, "PATCH", one, object{"tags": []string{"late"}})
				a.Must(t, 500, "DELETE", two, nil)
				is(t, "before", a.Must(t, 200, "GET", one, nil).Body["tags"], nil)
				srv.SetDatabaseLocked(false)
				a.Must(t, 200, "GET", late, nil)
				is(t, "after", a.Must(t, 200, "GET", one, nil).Body["tags"], []string{"late"})
				a.Must(t, 404, "GET", two, nil)
			},
		},
		{
			Name:  "an older backup",
			Cites: "a restored database has forgotten plugins that were recorded: they come back under the recorded IDs",
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
			Name:    "DB-less is recognised",
			Cites:   "configuration.database is off and /status has no database: Accepted=False, reason DBLess, and nothing is ever written",
			Options: []kongtest.Option{kongtest.WithDBLess()},
			Run: func(t *testing.T, a *Admin, _ *kongtest.Server) {
				root := a.Must(t, 200, "GET", "/", nil).Body
				is(t, "database", root["configuration"].(map[string]any)["database"], "off")
				if _, has := a.Must(t, 200, "GET", "/status", nil).Body["database"]; has {
					t.Error("/status has a database")
				}
			},
		},
		{
			Name:    "DB-less refuses writes",
			Cites:   "405 code 12 after validation, 404 and 204 for what is not there: a gateway that changed its mode is told from a wrong method by the code",
			Options: []kongtest.Option{kongtest.WithDBLess()},
			Run: func(t *testing.T, a *Admin, srv *kongtest.Server) {
				there := "/plugins/" + text(srv.Seed("plugins", object{"name": "key-auth"})["id"])
				body := object{"name": "cors"}
				is(t, "POST", a.Must(t, 405, "POST", "/plugins", body).Body, without("create"))
				is(t, "PUT", a.Must(t, 405, "PUT", "/plugins/"+a.ID(), body).Body, without("create or update"))
				is(t, "PATCH", a.Must(t, 405, "PATCH", there, object{"enabled": false}).Body, without("update"))
				is(t, "DELETE", a.Must(t, 405, "DELETE", there, nil).Body, without("remove"))
				a.Must(t, 400, "POST", "/plugins", object{"name": "nope"})
				a.Must(t, 404, "PATCH", "/plugins/"+a.ID(), object{"enabled": false})
				a.Must(t, 204, "DELETE", "/plugins/"+a.ID(), nil)
				a.Must(t, 200, "GET", there, nil)
				is(t, "writes", len(srv.Journal().Writes()), 0)
			},
		},
		{
			Name:    "DB-less lists no tags",
			Cites:   "GET /plugins?tags= is 500 there: the mode is found out before the first list",
			Options: []kongtest.Option{kongtest.WithDBLess()},
			Run: func(t *testing.T, a *Admin, _ *kongtest.Server) {
				a.Must(t, 500, "GET", "/plugins?tags=a", nil)
				a.Must(t, 200, "GET", "/plugins", nil)
			},
		},
		{
			Name:    "DB-less counts nothing in a cluster",
			Cites:   "the policy cluster is no value there, in the schema and in a validation: which values a field has depends on the gateway, not only on its version",
			Options: []kongtest.Option{kongtest.WithDBLess()},
			Run: func(t *testing.T, a *Admin, _ *kongtest.Server) {
				body := object{"name": "rate-limiting", "config": object{"minute": 1, "policy": "cluster"}}
				is(t, "fields", a.Must(t, 400, "POST", "/schemas/plugins/validate", body).Body["fields"],
					object{"config": object{"policy": "expected one of: local, redis"}})
				if raw := a.Must(t, 200, "GET", "/schemas/plugins/rate-limiting", nil).Raw; strings.Contains(raw, `"cluster"`) {
					t.Error("the schema has it")
				}
			},
		},
	}
}
