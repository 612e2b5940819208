package contract

import (
	"strings"
	"testing"
)

func generalFacts() []fact {
	return []fact{
		{
			Name:  "root tells version, edition and database",
			Cites: "GET / has version, edition, node_id and configuration.database; the probe of a gateway decides by them whether it is a Kong in DB mode at all",
			Run: func(t *testing.T, a *Admin) {
				root := a.Must(t, 200, "GET", "/", nil).Body
				if !strings.Contains(text(root["version"]), ".") || len(text(root["node_id"])) != 36 {
					t.Errorf("version %v, node_id %v", root["version"], root["node_id"])
				}
				is(t, "edition", root["edition"], "community")
				is(t, "database", root["configuration"].(map[string]any)["database"], "postgres")
			},
		},
		{
			Name:  "root lists the installed plugins",
			Cites: "GET / has plugins.available_on_server, name to priority and version; an unknown plugin is reported before it is sent",
			Run: func(t *testing.T, a *Admin) {
				plugins := a.Must(t, 200, "GET", "/", nil).Body["plugins"].(map[string]any)
				info, _ := plugins["available_on_server"].(map[string]any)["rate-limiting"].(map[string]any)
				is(t, "priority of rate-limiting", info["priority"], 910)
			},
		},
		{
			Name:  "root lists the plugins in use",
			Cites: "plugins.enabled_in_cluster is an array of names with at least one row; it needs the database, so GET / is a probe of that, too",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				a.Must(t, 201, "POST", "/plugins", limit(svc))
				plugins := a.Must(t, 200, "GET", "/", nil).Body["plugins"].(map[string]any)
				if !strings.Contains(strings.Join(sorted(plugins["enabled_in_cluster"]), " "), "rate-limiting") {
					t.Errorf("in use: %v", plugins["enabled_in_cluster"])
				}
			},
		},
		{
			Name:  "status tells whether the database is reachable",
			Cites: "GET /status has database.reachable; the gateway's DatabaseReachable condition comes from it",
			Run: func(t *testing.T, a *Admin) {
				is(t, "database", a.Must(t, 200, "GET", "/status", nil).Body["database"], object{"reachable": true})
			},
		},
		{
			Name:  "a browser's request",
			Cites: "Kong answers any origin by its name, and a preflight with the headers it asked for; the operator sends no Origin, and is answered *",
			Run: func(t *testing.T, a *Admin) {
				asked := []string{"Origin", "http://page.example", "Access-Control-Request-Headers", "X-One,X-Two"}
				for _, method := range []string{"GET", "OPTIONS"} {
					is(t, method, a.Do(t, method, "/plugins", nil, asked...).Header.Get("Access-Control-Allow-Origin"), "http://page.example")
				}
				is(t, "asked", a.Must(t, 204, "OPTIONS", "/", nil, asked...).Header.Get("Access-Control-Allow-Headers"), "X-One,X-Two")
				is(t, "unasked", a.Must(t, 204, "OPTIONS", "/", nil).Header.Get("Access-Control-Allow-Headers"), "Content-Type")
			},
		},
		{
			Name:  "enabled plugins are listed",
			Cites: "GET /plugins/enabled lists every loaded plugin in random order; nothing may depend on that order",
			Run: func(t *testing.T, a *Admin) {
				list := sorted(a.Must(t, 200, "GET", "/plugins/enabled", nil).Body["enabled_plugins"])
				if !strings.Contains(strings.Join(list, " "), "rate-limiting") {
					t.Errorf("enabled: %v", list)
				}
			},
		},
		{
			Name:  "unknown path",
			Cites: `404 {"message":"Not found"}: the same body as for a missing entity, so a 404 alone does not prove that a path was right`,
			Run: func(t *testing.T, a *Admin) {
				is(t, "body", a.Must(t, 404, "GET", "/"+a.Name("nope"), nil).Body, object{"message": "Not found"})
			},
		},
		{
			Name:  "a path that nginx refuses",
			Cites: "a malformed escape is 400 with an HTML page from nginx, in front of Kong: an answer that is no JSON says nothing of an entity",
			Run: func(t *testing.T, a *Admin) {
				ans := a.Must(t, 400, "GET", "/plugins/%zz", nil)
				if ct := ans.Header.Get("Content-Type"); !strings.HasPrefix(ct, "text/html") || ans.Body != nil {
					t.Errorf("%s: %s", ct, ans.Raw)
				}
			},
		},
		{
			Name:  "wrong method",
			Cites: `405 {"message":"Method not allowed"} from DB mode; 405 with code 12 is DB-less, and the two must not be confused`,
			Run: func(t *testing.T, a *Admin) {
				for _, m := range []string{"PUT", "PATCH"} {
					is(t, m, a.Must(t, 405, m, "/plugins", object{}).Body, object{"message": "Method not allowed"})
				}
				is(t, "DELETE", a.Must(t, 405, "DELETE", "/plugins", nil).Body, object{"message": "Method not allowed"})
			},
		},
		{
			Name:  "answers are JSON by Kong, without validators",
			Cites: "application/json; charset=utf-8, Server kong/..., no ETag, Last-Modified or Location: a 404 is believed only in this shape, and there is no optimistic locking to use",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				h := a.Must(t, 201, "POST", "/plugins", limit(svc)).Header
				is(t, "content type", h.Get("Content-Type"), "application/json; charset=utf-8")
				if !strings.HasPrefix(h.Get("Server"), "kong/") || h.Get("X-Kong-Admin-Latency") == "" {
					t.Errorf("headers %v", h)
				}
				is(t, "validators", h.Get("ETag")+h.Get("Last-Modified")+h.Get("Location"), "")
			},
		},
		{
			Name:  "trailing slash",
			Cites: "one trailing slash is ignored, so an adminURL with a path and a slash works",
			Run:   func(t *testing.T, a *Admin) { a.Must(t, 200, "GET", "/plugins/", nil) },
		},
		{
			Name:  "OPTIONS names the methods",
			Cites: "OPTIONS answers 204 with Allow; PUT is there, which create-or-replace relies on",
			Run: func(t *testing.T, a *Admin) {
				h := a.Must(t, 204, "OPTIONS", "/plugins/"+a.ID(), nil).Header
				is(t, "allow", h.Get("Allow"), "DELETE, GET, HEAD, OPTIONS, PATCH, PUT")
			},
		},
		{
			Name:  "declarative configuration needs a node without a database",
			Cites: "GET /config answers 400 in DB mode; it tells the modes apart a second time",
			Run: func(t *testing.T, a *Admin) {
				is(t, "body", a.Must(t, 400, "GET", "/config", nil).Body,
					object{"message": "this endpoint is only available when Kong is configured to not use a database"})
			},
		},
		{
			Name:  "a path that climbs finds nothing",
			Cites: "path segments are not resolved: an ID like ../services/x must be refused before it is sent, and Kong itself answers 404 or 400 to it",
			Run: func(t *testing.T, a *Admin) {
				svc, name := a.Service(t, "s")
				if ans := a.Do(t, "GET", "/plugins/%2e%2e/services/"+name, nil); ans.Status != 404 && ans.Status != 400 {
					t.Errorf("status %d: %s", ans.Status, ans.Raw)
				}
				a.Must(t, 200, "GET", "/services/"+svc, nil)
			},
		},
	}
}
