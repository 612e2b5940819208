package contract

import (
	"strings"
	"testing"
)

func generalFacts() []fact {
	return []fact{
		{
			Name:     "root answers version, edition and database",
			Kong:     "GET / has version, edition, node_id and configuration.database.",
			Operator: "The probe of a gateway decides by them whether it is a Kong in DB mode.",
			Run: func(t *testing.T, a *Admin) {
				root := a.Must(t, 200, "GET", "/", nil).Body
				if !strings.Contains(text(root["version"]), ".") || len(text(root["node_id"])) != 36 {
					t.Errorf("version %v, node_id %v", root["version"], root["node_id"])
				}
				equal(t, "edition", root["edition"], "community")
				equal(t, "database", root["configuration"].(map[string]any)["database"], "postgres")
			},
		},
		{
			Name:     "root lists the installed plugins",
			Kong:     "GET / has plugins.available_on_server, from name to priority and version.",
			Operator: "The operator reports an unknown plugin before it sends anything.",
			Run: func(t *testing.T, a *Admin) {
				plugins := a.Must(t, 200, "GET", "/", nil).Body["plugins"].(map[string]any)
				info, _ := plugins["available_on_server"].(map[string]any)["rate-limiting"].(map[string]any)
				equal(t, "priority of rate-limiting", info["priority"], 910)
			},
		},
		{
			Name:     "root lists the plugins in use",
			Kong:     "plugins.enabled_in_cluster has the names of all plugins with a row. Kong reads them from the database.",
			Operator: "GET / also probes the database.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				a.Must(t, 201, "POST", "/plugins", rateLimiting(svc))
				plugins := a.Must(t, 200, "GET", "/", nil).Body["plugins"].(map[string]any)
				if !strings.Contains(strings.Join(sorted(plugins["enabled_in_cluster"]), " "), "rate-limiting") {
					t.Errorf("in use: %v", plugins["enabled_in_cluster"])
				}
			},
		},
		{
			Name:     "status answers whether the database is reachable",
			Kong:     "GET /status has database.reachable.",
			Operator: "The condition DatabaseReachable comes from it.",
			Run: func(t *testing.T, a *Admin) {
				equal(t, "database", a.Must(t, 200, "GET", "/status", nil).Body["database"], object{"reachable": true})
			},
		},
		{
			Name:     "CORS",
			Kong:     "Kong allows any origin, and in a preflight any header.",
			Operator: "The operator sends no Origin.",
			Run: func(t *testing.T, a *Admin) {
				asked := []string{"Origin", "http://page.example", "Access-Control-Request-Headers", "X-One,X-Two"}
				for _, method := range []string{"GET", "OPTIONS"} {
					equal(t, method, a.Do(t, method, "/plugins", nil, asked...).Header.Get("Access-Control-Allow-Origin"), "http://page.example")
				}
				equal(t, "asked", a.Must(t, 204, "OPTIONS", "/", nil, asked...).Header.Get("Access-Control-Allow-Headers"), "X-One,X-Two")
				equal(t, "unasked", a.Must(t, 204, "OPTIONS", "/", nil).Header.Get("Access-Control-Allow-Headers"), "Content-Type")
			},
		},
		{
			Name:     "enabled plugins are listed",
			Kong:     "GET /plugins/enabled lists every loaded plugin in random order.",
			Operator: "Nothing depends on that order.",
			Run: func(t *testing.T, a *Admin) {
				list := sorted(a.Must(t, 200, "GET", "/plugins/enabled", nil).Body["enabled_plugins"])
				if !strings.Contains(strings.Join(list, " "), "rate-limiting") {
					t.Errorf("enabled: %v", list)
				}
			},
		},
		{
			Name:     "unknown path",
			Kong:     `404 {"message":"Not found"}, the body of a missing entity.`,
			Operator: "A 404 alone does not prove that a path was right.",
			Run: func(t *testing.T, a *Admin) {
				equal(t, "body", a.Must(t, 404, "GET", "/"+a.Name("nope"), nil).Body, object{"message": "Not found"})
			},
		},
		{
			Name:     "nginx refuses a malformed escape",
			Kong:     "A malformed escape in the path is 400 with an HTML page. nginx answers it, not Kong.",
			Operator: "A response that is not JSON says nothing about an entity.",
			Run: func(t *testing.T, a *Admin) {
				ans := a.Must(t, 400, "GET", "/plugins/%zz", nil)
				if ct := ans.Header.Get("Content-Type"); !strings.HasPrefix(ct, "text/html") || ans.Body != nil {
					t.Errorf("%s: %s", ct, ans.Raw)
				}
			},
		},
		{
			Name:     "wrong method",
			Kong:     `405 {"message":"Method not allowed"} in DB mode.`,
			Operator: "A 405 with code 12 means DB-less. The operator tells the two apart by the code.",
			Run: func(t *testing.T, a *Admin) {
				for _, m := range []string{"PUT", "PATCH"} {
					equal(t, m, a.Must(t, 405, m, "/plugins", object{}).Body, object{"message": "Method not allowed"})
				}
				equal(t, "DELETE", a.Must(t, 405, "DELETE", "/plugins", nil).Body, object{"message": "Method not allowed"})
			},
		},
		{
			Name:     "responses are JSON without validators",
			Kong:     "Content-Type is application/json; charset=utf-8 and Server kong/..., without ETag, Last-Modified and Location.",
			Operator: "The operator accepts a 404 in this form only. There is no optimistic locking.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				h := a.Must(t, 201, "POST", "/plugins", rateLimiting(svc)).Header
				equal(t, "content type", h.Get("Content-Type"), "application/json; charset=utf-8")
				if !strings.HasPrefix(h.Get("Server"), "kong/") || h.Get("X-Kong-Admin-Latency") == "" {
					t.Errorf("headers %v", h)
				}
				equal(t, "validators", h.Get("ETag")+h.Get("Last-Modified")+h.Get("Location"), "")
			},
		},
		{
			Name:     "trailing slash",
			Kong:     "Kong ignores one trailing slash.",
			Operator: "An adminURL with a path and a slash works.",
			Run:      func(t *testing.T, a *Admin) { a.Must(t, 200, "GET", "/plugins/", nil) },
		},
		{
			Name:     "OPTIONS names the methods",
			Kong:     "OPTIONS answers 204 with Allow.",
			Operator: "PUT is in it: the operator relies on create-or-replace.",
			Run: func(t *testing.T, a *Admin) {
				h := a.Must(t, 204, "OPTIONS", "/plugins/"+a.ID(), nil).Header
				equal(t, "allow", h.Get("Allow"), "DELETE, GET, HEAD, OPTIONS, PATCH, PUT")
			},
		},
		{
			Name:     "declarative configuration needs a node without a database",
			Kong:     "GET /config answers 400 in DB mode.",
			Operator: "It is a second way to tell the modes apart.",
			Run: func(t *testing.T, a *Admin) {
				equal(t, "body", a.Must(t, 400, "GET", "/config", nil).Body,
					object{"message": "this endpoint is only available when Kong is configured to not use a database"})
			},
		},
		{
			Name:     "path segments are not resolved",
			Kong:     "Kong answers 404 or 400 to a path with '..'.",
			Operator: "The operator refuses an ID like ../services/x before it sends a request.",
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
