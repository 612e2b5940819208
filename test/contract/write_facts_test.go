package contract

import "testing"

func putFacts() []fact {
	return []fact{
		{
			Name:  "PUT of a missing ID creates it",
			Cites: "200 (not 201) and the path's ID: how a plugin deleted in Kong comes back under the same ID",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				id := a.ID()
				is(t, "id", a.Must(t, 200, "PUT", "/plugins/"+id, limit(svc)).Body["id"], id)
				a.Must(t, 204, "DELETE", "/plugins/"+id, nil)
				a.Must(t, 404, "GET", "/plugins/"+id, nil)
				is(t, "id again", a.Must(t, 200, "PUT", "/plugins/"+id, limit(svc)).Body["id"], id)
			},
		},
		{
			Name:  "PUT replaces everything",
			Cites: "what is left out goes back to its default: one PUT makes the plugin as declared, and can clear what a PATCH by struct cannot",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				full := object{"config": object{"minute": 5, "hour": 50, "policy": "local"}, "tags": []string{"x"}, "enabled": false, "instance_name": a.Name("i")}
				path := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", limit(svc, full)).Body["id"])
				p := a.Must(t, 200, "PUT", path, limit(svc))
				is(t, "tags", p.Body["tags"], nil)
				is(t, "enabled", p.Body["enabled"], true)
				is(t, "instance_name", p.Body["instance_name"], nil)
				is(t, "hour", config(p)["hour"], nil)
			},
		},
		{
			Name:  "PUT makes a new created_at",
			Cites: "created_at becomes now unless it was sent, then it is kept: a PUT sends the one that was read",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				path := "/plugins/" + a.ID()
				is(t, "sent", a.Must(t, 200, "PUT", path, limit(svc, object{"created_at": 1000000000})).Body["created_at"], 1000000000)
				is(t, "kept", a.Must(t, 200, "PUT", path, limit(svc, object{"created_at": 1000000000})).Body["created_at"], 1000000000)
				if at := a.Must(t, 200, "PUT", path, limit(svc)).Body["created_at"].(float64); at < 1.5e9 {
					t.Errorf("created_at %v survived a PUT without it", at)
				}
			},
		},
		{
			Name:  "the ID in the path wins",
			Cites: "another ID in the body of a PUT is ignored: the recorded ID is the one in the path",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				id, other := a.ID(), a.ID()
				is(t, "id", a.Must(t, 200, "PUT", "/plugins/"+id, limit(svc, object{"id": other})).Body["id"], id)
				a.Must(t, 404, "GET", "/plugins/"+other, nil)
			},
		},
		{
			Name:  "PUT may turn a plugin into another one",
			Cites: "an existing ID takes any plugin name: a write looks first whether the row is the binding's own",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				path := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", limit(svc)).Body["id"])
				is(t, "name", a.Must(t, 200, "PUT", path, object{"name": "key-auth", "service": ref(svc)}).Body["name"], "key-auth")
			},
		},
		{
			Name:  "PUT respects the key",
			Cites: "PUT of a new ID, or a move, onto a taken name and scope is 409 code 5: a binding is never programmed twice",
			Run: func(t *testing.T, a *Admin) {
				one, _ := a.Service(t, "one")
				two, _ := a.Service(t, "two")
				a.Must(t, 201, "POST", "/plugins", limit(one))
				is(t, "new", a.Must(t, 409, "PUT", "/plugins/"+a.ID(), limit(one)).Body, taken(one))
				moved := text(a.Must(t, 201, "POST", "/plugins", limit(two)).Body["id"])
				is(t, "moved", a.Must(t, 409, "PUT", "/plugins/"+moved, limit(one)).Body, taken(one))
				is(t, "still", a.Must(t, 200, "GET", "/plugins/"+moved, nil).Body["service"], ref(two))
			},
		},
		{
			Name:  "PUT moves a plugin",
			Cites: "a changed scope keeps the ID: the plugin moves, its ID stays",
			Run: func(t *testing.T, a *Admin) {
				one, _ := a.Service(t, "one")
				two, _ := a.Service(t, "two")
				id := text(a.Must(t, 201, "POST", "/plugins", limit(one)).Body["id"])
				p := a.Must(t, 200, "PUT", "/plugins/"+id, limit(two))
				is(t, "id", p.Body["id"], id)
				is(t, "service", p.Body["service"], ref(two))
				a.Must(t, 201, "POST", "/plugins", limit(one))
			},
		},
		{
			Name:  "PUT needs the plugin's name",
			Cites: "without name 400, also for a row that has one: a PUT is never partial",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				path := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", limit(svc)).Body["id"])
				for _, body := range []any{object{}, object{"config": object{}}, nil} {
					is(t, "fields", a.Must(t, 400, "PUT", path, body).Body["fields"], object{"name": "required field missing"})
				}
			},
		},
		{
			Name:  "PUT by instance name",
			Cites: "creates the row with that name under a fresh ID, or replaces whatever row has the name: it would not keep a recorded ID, so the operator writes by ID",
			Run: func(t *testing.T, a *Admin) {
				one, _ := a.Service(t, "one")
				two, _ := a.Service(t, "two")
				path := "/plugins/" + a.Name("mine")
				p := a.Must(t, 200, "PUT", path, limit(one)).Body
				is(t, "instance_name", p["instance_name"], a.Name("mine"))
				q := a.Must(t, 200, "PUT", path, limit(two)).Body
				is(t, "id", q["id"], p["id"])
				is(t, "service", q["service"], ref(two))
			},
		},
		{
			Name:  "PUT under another parent moves the plugin",
			Cites: "no 404 as for the other methods: the operator uses no nested paths",
			Run: func(t *testing.T, a *Admin) {
				one, _ := a.Service(t, "one")
				two, name := a.Service(t, "two")
				id := text(a.Must(t, 201, "POST", "/plugins", limit(one)).Body["id"])
				is(t, "service", a.Must(t, 200, "PUT", "/services/"+name+"/plugins/"+id, limit(one)).Body["service"], ref(two))
			},
		},
	}
}

func patchFacts() []fact {
	return []fact{
		{
			Name:  "PATCH merges records and keeps created_at",
			Cites: "config merges deeply: a PATCH cannot say 'exactly this config', which is why writes are PUTs",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				path := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", limit(svc, object{"created_at": 1000000000})).Body["id"])
				p := a.Must(t, 200, "PATCH", path, object{"config": object{"hour": 50, "redis": object{"host": "r"}}})
				is(t, "minute", config(p)["minute"], 5)
				is(t, "hour", config(p)["hour"], 50)
				is(t, "timeout", config(p)["redis"].(map[string]any)["timeout"], 2000)
				is(t, "created_at", p.Body["created_at"], 1000000000)
			},
		},
		{
			Name:  "PATCH with null sets null",
			Cites: "null is stored, it is not the default: a missing and a null field are compared differently",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				body := limit(svc, object{"config": object{"minute": 5, "hour": 50}, "tags": []string{"x"}})
				path := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", body).Body["id"])
				p := a.Must(t, 200, "PATCH", path, object{"tags": nil, "config": object{"minute": nil, "error_message": nil}})
				is(t, "minute", config(p)["minute"], nil)
				is(t, "error_message", config(p)["error_message"], nil)
				is(t, "tags", p.Body["tags"], nil)
			},
		},
		{
			Name:  "PATCH replaces arrays",
			Cites: "arrays are replaced as a whole, so the order of an array counts when configs are compared",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				path := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", object{"name": "cors", "service": ref(svc)}).Body["id"])
				p := a.Must(t, 200, "PATCH", path, object{"config": object{"methods": []string{"GET"}}})
				is(t, "methods", config(p)["methods"], []string{"GET"})
			},
		},
		{
			Name:  "PATCH does not rename a plugin",
			Cites: "another name is validated against the old config, 400: spec.plugin is immutable",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				path := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", limit(svc)).Body["id"])
				is(t, "code", a.Must(t, 400, "PATCH", path, object{"name": "key-auth"}).Body["code"], 2)
			},
		},
		{
			Name:  "PATCH of nothing",
			Cites: "404 with the plain body, also by instance name: nothing is created",
			Run: func(t *testing.T, a *Admin) {
				for _, key := range []string{a.ID(), a.Name("nobody")} {
					is(t, key, a.Must(t, 404, "PATCH", "/plugins/"+key, object{"enabled": false}).Body, object{"message": "Not found"})
				}
			},
		},
		{
			Name:  "PATCH of nothing that has a name",
			Cites: "404 with name, code 6 and fields instead of the plain body: a 404 with a code is an answer of Kong, too",
			Run: func(t *testing.T, a *Admin) {
				for field, key := range map[string]string{"id": a.ID(), "instance_name": a.Name("nobody")} {
					what := map[string]string{"id": "primary key "}[field]
					is(t, field, a.Must(t, 404, "PATCH", "/plugins/"+key, object{"name": "key-auth"}).Body, object{
						"message": "could not find the entity with " + what + "'{" + field + `="` + key + `"}'`,
						"fields":  object{field: key}, "name": "not found", "code": 6,
					})
				}
			},
		},
		{
			Name:  "PATCH does not change an ID",
			Cites: "an ID in the body selects the row instead, 404 code 6 when there is none: an ID is for life",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				id := text(a.Must(t, 201, "POST", "/plugins", limit(svc)).Body["id"])
				ans := a.Must(t, 404, "PATCH", "/plugins/"+id, object{"id": a.ID()})
				is(t, "code", ans.Body["code"], 6)
				a.Must(t, 200, "GET", "/plugins/"+id, nil)
			},
		},
		{
			Name:  "PATCH of the scope",
			Cites: "a scope can be changed and cleared by PATCH, against the same key",
			Run: func(t *testing.T, a *Admin) {
				one, _ := a.Service(t, "one")
				two, _ := a.Service(t, "two")
				a.Must(t, 201, "POST", "/plugins", limit(one))
				path := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", limit(two)).Body["id"])
				is(t, "body", a.Must(t, 409, "PATCH", path, object{"service": ref(one)}).Body, taken(one))
				is(t, "service", a.Must(t, 200, "PATCH", path, object{"service": nil, "consumer": ref(a.Consumer(t, "c"))}).Body["service"], nil)
			},
		},
	}
}

func deleteFacts() []fact {
	return []fact{
		{
			Name:  "DELETE is always 204",
			Cites: "existing or not, ID or not: a 204 does not say that anything was deleted, so deleting looks before and after",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				path := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", limit(svc)).Body["id"])
				for range 2 {
					if raw := a.Must(t, 204, "DELETE", path, nil).Raw; raw != "" {
						t.Errorf("body %q", raw)
					}
				}
				a.Must(t, 204, "DELETE", "/plugins/"+a.Name("nobody"), nil)
				a.Must(t, 404, "GET", path, nil)
			},
		},
		{
			Name:  "GET of nothing",
			Cites: `404 {"message":"Not found"}: the only proof of absence, in exactly this form`,
			Run: func(t *testing.T, a *Admin) {
				for _, key := range []string{a.ID(), a.Name("nobody")} {
					is(t, key, a.Must(t, 404, "GET", "/plugins/"+key, nil).Body, object{"message": "Not found"})
				}
			},
		},
		{
			Name:  "the wrong parent",
			Cites: "GET, PATCH and DELETE under another service are 404 and change nothing",
			Run: func(t *testing.T, a *Admin) {
				one, _ := a.Service(t, "one")
				_, two := a.Service(t, "two")
				id := text(a.Must(t, 201, "POST", "/plugins", limit(one)).Body["id"])
				for _, m := range []string{"GET", "PATCH", "DELETE"} {
					a.Must(t, 404, m, "/services/"+two+"/plugins/"+id, object{"enabled": false})
				}
				is(t, "enabled", a.Must(t, 200, "GET", "/plugins/"+id, nil).Body["enabled"], true)
			},
		},
		{
			Name:  "deleting a route deletes its plugins",
			Cites: "silently: a binding whose plugin vanished with its scope is unresolved, not in need of a restore",
			Run: func(t *testing.T, a *Admin) {
				svc, name := a.Service(t, "s")
				rt := a.Route(t, name, "r")
				gone := text(a.Must(t, 201, "POST", "/plugins", limit(svc, object{"route": ref(rt)})).Body["id"])
				kept := text(a.Must(t, 201, "POST", "/plugins", limit(svc)).Body["id"])
				a.Must(t, 204, "DELETE", "/routes/"+rt, nil)
				a.Must(t, 404, "GET", "/plugins/"+gone, nil)
				a.Must(t, 200, "GET", "/plugins/"+kept, nil)
			},
		},
		{
			Name:  "deleting a consumer deletes its plugins",
			Cites: "as for routes",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				alice := a.Consumer(t, "c")
				id := text(a.Must(t, 201, "POST", "/plugins", limit(svc, object{"consumer": ref(alice)})).Body["id"])
				a.Must(t, 204, "DELETE", "/consumers/"+a.Name("c"), nil)
				a.Must(t, 404, "GET", "/plugins/"+id, nil)
			},
		},
		{
			Name:  "deleting a service deletes its plugins, unless it has routes",
			Cites: "with routes 400 code 4 and nothing happens; without, its plugins go silently",
			Run: func(t *testing.T, a *Admin) {
				svc, name := a.Service(t, "s")
				rt := a.Route(t, name, "r")
				id := text(a.Must(t, 201, "POST", "/plugins", limit(svc)).Body["id"])
				is(t, "body", a.Must(t, 400, "DELETE", "/services/"+name, nil).Body, object{
					"message": "an existing 'routes' entity references this 'services' entity",
					"fields":  object{"@referenced_by": "routes"}, "name": "foreign key violation", "code": 4,
				})
				a.Must(t, 200, "GET", "/plugins/"+id, nil)
				a.Must(t, 204, "DELETE", "/routes/"+rt, nil)
				a.Must(t, 204, "DELETE", "/services/"+name, nil)
				a.Must(t, 404, "GET", "/plugins/"+id, nil)
			},
		},
		{
			Name:  "a service that comes back has another ID",
			Cites: "the name is free again, the ID is new: the plugin comes back under its own ID on the new one",
			Run: func(t *testing.T, a *Admin) {
				old, name := a.Service(t, "s")
				id := text(a.Must(t, 201, "POST", "/plugins", limit(old)).Body["id"])
				a.Must(t, 204, "DELETE", "/services/"+name, nil)
				again, _ := a.Service(t, "s")
				if again == old {
					t.Error("the same ID")
				}
				p := a.Must(t, 200, "PUT", "/plugins/"+id, limit(again)).Body
				is(t, "id", p["id"], id)
				is(t, "service", p["service"], ref(again))
			},
		},
	}
}
