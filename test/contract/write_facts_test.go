package contract

import "testing"

func putFacts() []fact {
	return []fact{
		{
			Name:     "PUT of a missing ID creates it",
			Kong:     "200, not 201, and the ID of the path.",
			Operator: "The operator recreates a plugin that was deleted in Kong under the same ID.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				id := a.ID()
				equal(t, "id", a.Must(t, 200, "PUT", "/plugins/"+id, rateLimiting(svc)).Body["id"], id)
				a.Must(t, 204, "DELETE", "/plugins/"+id, nil)
				a.Must(t, 404, "GET", "/plugins/"+id, nil)
				equal(t, "id again", a.Must(t, 200, "PUT", "/plugins/"+id, rateLimiting(svc)).Body["id"], id)
			},
		},
		{
			Name:     "PUT replaces everything",
			Kong:     "A field that the body omits gets its default.",
			Operator: "One PUT makes the plugin as declared. It clears fields that a PATCH of a struct cannot clear.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				full := object{"config": object{"minute": 5, "hour": 50, "policy": "local"}, "tags": []string{"x"}, "enabled": false, "instance_name": a.Name("i")}
				path := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", rateLimiting(svc, full)).Body["id"])
				p := a.Must(t, 200, "PUT", path, rateLimiting(svc))
				equal(t, "tags", p.Body["tags"], nil)
				equal(t, "enabled", p.Body["enabled"], true)
				equal(t, "instance_name", p.Body["instance_name"], nil)
				equal(t, "hour", config(p)["hour"], nil)
			},
		},
		{
			Name:     "PUT sets created_at",
			Kong:     "created_at becomes the current time unless the body has it.",
			Operator: "A PUT of the operator carries the created_at of the live plugin.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				path := "/plugins/" + a.ID()
				equal(t, "sent", a.Must(t, 200, "PUT", path, rateLimiting(svc, object{"created_at": 1000000000})).Body["created_at"], 1000000000)
				equal(t, "kept", a.Must(t, 200, "PUT", path, rateLimiting(svc, object{"created_at": 1000000000})).Body["created_at"], 1000000000)
				if at := a.Must(t, 200, "PUT", path, rateLimiting(svc)).Body["created_at"].(float64); at < 1.5e9 {
					t.Errorf("created_at %v survived a PUT without it", at)
				}
			},
		},
		{
			Name:     "the ID in the path wins",
			Kong:     "PUT ignores another ID in the body.",
			Operator: "The recorded ID is the one in the path.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				id, other := a.ID(), a.ID()
				equal(t, "id", a.Must(t, 200, "PUT", "/plugins/"+id, rateLimiting(svc, object{"id": other})).Body["id"], id)
				a.Must(t, 404, "GET", "/plugins/"+other, nil)
			},
		},
		{
			Name:     "PUT may turn a plugin into another one",
			Kong:     "A PUT of an existing ID accepts any plugin name.",
			Operator: "The operator checks that it owns the plugin before it writes.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				path := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", rateLimiting(svc)).Body["id"])
				equal(t, "name", a.Must(t, 200, "PUT", path, object{"name": "key-auth", "service": ref(svc)}).Body["name"], "key-auth")
			},
		},
		{
			Name:     "PUT respects the key",
			Kong:     "A PUT that would take the name and scope of another plugin is 409 code 5.",
			Operator: "A binding never has two plugins.",
			Run: func(t *testing.T, a *Admin) {
				one, _ := a.Service(t, "one")
				two, _ := a.Service(t, "two")
				a.Must(t, 201, "POST", "/plugins", rateLimiting(one))
				equal(t, "new", a.Must(t, 409, "PUT", "/plugins/"+a.ID(), rateLimiting(one)).Body, uniqueViolation(one))
				moved := text(a.Must(t, 201, "POST", "/plugins", rateLimiting(two)).Body["id"])
				equal(t, "moved", a.Must(t, 409, "PUT", "/plugins/"+moved, rateLimiting(one)).Body, uniqueViolation(one))
				equal(t, "still", a.Must(t, 200, "GET", "/plugins/"+moved, nil).Body["service"], ref(two))
			},
		},
		{
			Name:     "PUT moves a plugin",
			Kong:     "A changed scope keeps the ID.",
			Operator: "The plugin moves and keeps its recorded ID.",
			Run: func(t *testing.T, a *Admin) {
				one, _ := a.Service(t, "one")
				two, _ := a.Service(t, "two")
				id := text(a.Must(t, 201, "POST", "/plugins", rateLimiting(one)).Body["id"])
				p := a.Must(t, 200, "PUT", "/plugins/"+id, rateLimiting(two))
				equal(t, "id", p.Body["id"], id)
				equal(t, "service", p.Body["service"], ref(two))
				a.Must(t, 201, "POST", "/plugins", rateLimiting(one))
			},
		},
		{
			Name:     "PUT needs the plugin's name",
			Kong:     "400 without it, also for an existing plugin.",
			Operator: "A PUT is never partial.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				path := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", rateLimiting(svc)).Body["id"])
				for _, body := range []any{object{}, object{"config": object{}}, nil} {
					equal(t, "fields", a.Must(t, 400, "PUT", path, body).Body["fields"], object{"name": "required field missing"})
				}
			},
		},
		{
			Name:     "PUT by instance name",
			Kong:     "It creates a plugin with that name and a new ID, or replaces the plugin that has the name.",
			Operator: "It would not keep a recorded ID, so the operator writes by ID.",
			Run: func(t *testing.T, a *Admin) {
				one, _ := a.Service(t, "one")
				two, _ := a.Service(t, "two")
				path := "/plugins/" + a.Name("mine")
				p := a.Must(t, 200, "PUT", path, rateLimiting(one)).Body
				equal(t, "instance_name", p["instance_name"], a.Name("mine"))
				q := a.Must(t, 200, "PUT", path, rateLimiting(two)).Body
				equal(t, "id", q["id"], p["id"])
				equal(t, "service", q["service"], ref(two))
			},
		},
		{
			Name:     "PUT under another parent moves the plugin",
			Kong:     "Other methods answer 404 there.",
			Operator: "The operator uses no nested paths for writes.",
			Run: func(t *testing.T, a *Admin) {
				one, _ := a.Service(t, "one")
				two, name := a.Service(t, "two")
				id := text(a.Must(t, 201, "POST", "/plugins", rateLimiting(one)).Body["id"])
				equal(t, "service", a.Must(t, 200, "PUT", "/services/"+name+"/plugins/"+id, rateLimiting(one)).Body["service"], ref(two))
			},
		},
	}
}

func patchFacts() []fact {
	return []fact{
		{
			Name:     "PATCH merges records and keeps created_at",
			Kong:     "PATCH merges config deeply.",
			Operator: "A PATCH cannot say 'exactly this config', so the operator writes with PUT.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				path := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", rateLimiting(svc, object{"created_at": 1000000000})).Body["id"])
				p := a.Must(t, 200, "PATCH", path, object{"config": object{"hour": 50, "redis": object{"host": "r"}}})
				equal(t, "minute", config(p)["minute"], 5)
				equal(t, "hour", config(p)["hour"], 50)
				equal(t, "timeout", config(p)["redis"].(map[string]any)["timeout"], 2000)
				equal(t, "created_at", p.Body["created_at"], 1000000000)
			},
		},
		{
			Name:     "PATCH with null sets null",
			Kong:     "Kong stores null, not the default.",
			Operator: "The operator compares a missing field and a null differently.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				body := rateLimiting(svc, object{"config": object{"minute": 5, "hour": 50}, "tags": []string{"x"}})
				path := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", body).Body["id"])
				p := a.Must(t, 200, "PATCH", path, object{"tags": nil, "config": object{"minute": nil, "error_message": nil}})
				equal(t, "minute", config(p)["minute"], nil)
				equal(t, "error_message", config(p)["error_message"], nil)
				equal(t, "tags", p.Body["tags"], nil)
			},
		},
		{
			Name:     "PATCH replaces arrays",
			Kong:     "PATCH replaces an array as a whole.",
			Operator: "The order of an array counts when the operator compares configs.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				path := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", object{"name": "cors", "service": ref(svc)}).Body["id"])
				p := a.Must(t, 200, "PATCH", path, object{"config": object{"methods": []string{"GET"}}})
				equal(t, "methods", config(p)["methods"], []string{"GET"})
			},
		},
		{
			Name:     "PATCH does not rename a plugin",
			Kong:     "Kong validates the new name against the old config: 400.",
			Operator: "spec.plugin is immutable.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				path := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", rateLimiting(svc)).Body["id"])
				equal(t, "code", a.Must(t, 400, "PATCH", path, object{"name": "key-auth"}).Body["code"], 2)
			},
		},
		{
			Name:     "PATCH of a missing plugin",
			Kong:     "404 with the plain body, also by instance name.",
			Operator: "A PATCH creates nothing.",
			Run: func(t *testing.T, a *Admin) {
				for _, key := range []string{a.ID(), a.Name("nobody")} {
					equal(t, key, a.Must(t, 404, "PATCH", "/plugins/"+key, object{"enabled": false}).Body, object{"message": "Not found"})
				}
			},
		},
		{
			Name:     "PATCH of a missing plugin with a name",
			Kong:     "404 with name, code 6 and fields instead of the plain body.",
			Operator: "A 404 with a code comes from Kong, too.",
			Run: func(t *testing.T, a *Admin) {
				for field, key := range map[string]string{"id": a.ID(), "instance_name": a.Name("nobody")} {
					what := map[string]string{"id": "primary key "}[field]
					equal(t, field, a.Must(t, 404, "PATCH", "/plugins/"+key, object{"name": "key-auth"}).Body, object{
						"message": "could not find the entity with " + what + "'{" + field + `="` + key + `"}'`,
						"fields":  object{field: key}, "name": "not found", "code": 6,
					})
				}
			},
		},
		{
			Name:     "PATCH does not change an ID",
			Kong:     "An ID in the body selects the plugin instead of the path: 404 code 6 when it is missing.",
			Operator: "An ID never changes.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				id := text(a.Must(t, 201, "POST", "/plugins", rateLimiting(svc)).Body["id"])
				ans := a.Must(t, 404, "PATCH", "/plugins/"+id, object{"id": a.ID()})
				equal(t, "code", ans.Body["code"], 6)
				a.Must(t, 200, "GET", "/plugins/"+id, nil)
			},
		},
		{
			Name:     "PATCH of the scope",
			Kong:     "PATCH changes and clears a scope, against the same unique key.",
			Operator: "Somebody else can move a plugin with one request: it is drift.",
			Run: func(t *testing.T, a *Admin) {
				one, _ := a.Service(t, "one")
				two, _ := a.Service(t, "two")
				a.Must(t, 201, "POST", "/plugins", rateLimiting(one))
				path := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", rateLimiting(two)).Body["id"])
				equal(t, "body", a.Must(t, 409, "PATCH", path, object{"service": ref(one)}).Body, uniqueViolation(one))
				equal(t, "service", a.Must(t, 200, "PATCH", path, object{"service": nil, "consumer": ref(a.Consumer(t, "c"))}).Body["service"], nil)
			},
		},
	}
}

func deleteFacts() []fact {
	return []fact{
		{
			Name:     "DELETE is always 204",
			Kong:     "204 for an existing and for a missing plugin, by ID and by name.",
			Operator: "A 204 does not prove that anything was deleted. The operator looks before and after.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				path := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", rateLimiting(svc)).Body["id"])
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
			Name:     "GET of a missing plugin",
			Kong:     `404 {"message":"Not found"}.`,
			Operator: "Exactly this form proves absence.",
			Run: func(t *testing.T, a *Admin) {
				for _, key := range []string{a.ID(), a.Name("nobody")} {
					equal(t, key, a.Must(t, 404, "GET", "/plugins/"+key, nil).Body, object{"message": "Not found"})
				}
			},
		},
		{
			Name:     "the wrong parent",
			Kong:     "GET, PATCH and DELETE under another service are 404 and change nothing.",
			Operator: "The operator uses no nested paths for writes.",
			Run: func(t *testing.T, a *Admin) {
				one, _ := a.Service(t, "one")
				_, two := a.Service(t, "two")
				id := text(a.Must(t, 201, "POST", "/plugins", rateLimiting(one)).Body["id"])
				for _, m := range []string{"GET", "PATCH", "DELETE"} {
					a.Must(t, 404, m, "/services/"+two+"/plugins/"+id, object{"enabled": false})
				}
				equal(t, "enabled", a.Must(t, 200, "GET", "/plugins/"+id, nil).Body["enabled"], true)
			},
		},
		{
			Name:     "deleting a route deletes its plugins",
			Kong:     "Kong deletes them silently.",
			Operator: "When a plugin disappears with its scope, the binding is unresolved. The operator does not recreate the plugin.",
			Run: func(t *testing.T, a *Admin) {
				svc, name := a.Service(t, "s")
				rt := a.Route(t, name, "r")
				gone := text(a.Must(t, 201, "POST", "/plugins", rateLimiting(svc, object{"route": ref(rt)})).Body["id"])
				kept := text(a.Must(t, 201, "POST", "/plugins", rateLimiting(svc)).Body["id"])
				a.Must(t, 204, "DELETE", "/routes/"+rt, nil)
				a.Must(t, 404, "GET", "/plugins/"+gone, nil)
				a.Must(t, 200, "GET", "/plugins/"+kept, nil)
			},
		},
		{
			Name:     "deleting a consumer deletes its plugins",
			Kong:     "Kong deletes them silently.",
			Operator: "As for routes.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				alice := a.Consumer(t, "c")
				id := text(a.Must(t, 201, "POST", "/plugins", rateLimiting(svc, object{"consumer": ref(alice)})).Body["id"])
				a.Must(t, 204, "DELETE", "/consumers/"+a.Name("c"), nil)
				a.Must(t, 404, "GET", "/plugins/"+id, nil)
			},
		},
		{
			Name:     "deleting a service deletes its plugins, unless it has routes",
			Kong:     "With routes 400 code 4 and no change. Without routes Kong deletes the plugins silently.",
			Operator: "As for routes.",
			Run: func(t *testing.T, a *Admin) {
				svc, name := a.Service(t, "s")
				rt := a.Route(t, name, "r")
				id := text(a.Must(t, 201, "POST", "/plugins", rateLimiting(svc)).Body["id"])
				equal(t, "body", a.Must(t, 400, "DELETE", "/services/"+name, nil).Body, object{
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
			Name:     "a recreated service has another ID",
			Kong:     "The name is free again, the ID is new.",
			Operator: "The operator recreates the plugin under its recorded ID on the new service.",
			Run: func(t *testing.T, a *Admin) {
				old, name := a.Service(t, "s")
				id := text(a.Must(t, 201, "POST", "/plugins", rateLimiting(old)).Body["id"])
				a.Must(t, 204, "DELETE", "/services/"+name, nil)
				again, _ := a.Service(t, "s")
				if again == old {
					t.Error("the same ID")
				}
				p := a.Must(t, 200, "PUT", "/plugins/"+id, rateLimiting(again)).Body
				equal(t, "id", p["id"], id)
				equal(t, "service", p["service"], ref(again))
			},
		},
	}
}
