package contract

import (
	"strings"
	"testing"
)

func scopeFacts() []fact {
	return []fact{
		{
			Name:     "every combination of scopes is a key of its own",
			Kong:     "Service, route and consumer combine freely. Each combination holds one plugin of a name.",
			Operator: "The scope of a binding is exactly its key.",
			Run: func(t *testing.T, a *Admin) {
				svc, name := a.Service(t, "s")
				rt, alice := ref(a.Route(t, name, "r")), ref(a.Consumer(t, "c"))
				none := object{"service": nil}
				for _, scope := range []object{
					{}, {"consumer": alice}, {"route": rt}, {"route": rt, "consumer": alice},
					{"service": nil, "route": rt}, {"service": nil, "consumer": alice},
				} {
					a.Must(t, 201, "POST", "/plugins", rateLimiting(svc, none, object{"service": ref(svc)}, scope))
					a.Must(t, 409, "POST", "/plugins", rateLimiting(svc, scope))
				}
			},
		},
		{
			Name:     "a route of another service",
			Kong:     "Kong does not check that the route belongs to the service.",
			Operator: "The operator does not assume it either.",
			Run: func(t *testing.T, a *Admin) {
				one, _ := a.Service(t, "one")
				_, two := a.Service(t, "two")
				a.Must(t, 201, "POST", "/plugins", rateLimiting(one, object{"route": ref(a.Route(t, two, "r"))}))
			},
		},
		{
			Name:     "a scope by name is answered by ID",
			Kong:     "Kong accepts names of services and routes and usernames of consumers, and answers {id}.",
			Operator: "The status records the IDs to which names resolved.",
			Run: func(t *testing.T, a *Admin) {
				svc, name := a.Service(t, "s")
				alice := a.Consumer(t, "c")
				p := a.Must(t, 201, "POST", "/plugins", object{
					"name": "rate-limiting", "config": object{"minute": 1},
					"service": object{"name": name}, "consumer": object{"username": a.Name("c")},
				}).Body
				equal(t, "service", p["service"], ref(svc))
				equal(t, "consumer", p["consumer"], ref(alice))
			},
		},
		{
			Name:     "an ID wins over a name",
			Kong:     "With both in a reference Kong ignores the name.",
			Operator: "The operator sends IDs only.",
			Run: func(t *testing.T, a *Admin) {
				one, _ := a.Service(t, "one")
				_, two := a.Service(t, "two")
				p := a.Must(t, 201, "POST", "/plugins", rateLimiting(one, object{"service": object{"id": one, "name": two}}))
				equal(t, "service", p.Body["service"], ref(one))
			},
		},
		{
			Name:     "the parent in the path wins",
			Kong:     "POST /services/{a}/plugins ignores service b in the body.",
			Operator: "The operator writes to /plugins, where the body has the whole scope.",
			Run: func(t *testing.T, a *Admin) {
				one, name := a.Service(t, "one")
				two, _ := a.Service(t, "two")
				equal(t, "service", a.Must(t, 201, "POST", "/services/"+name+"/plugins", rateLimiting(two)).Body["service"], ref(one))
			},
		},
		{
			Name:     "a service ID that does not exist",
			Kong:     "400 code 4 with the field.",
			Operator: "The entity of the scope is gone: ResolvedRefs is False, and the config is not to blame.",
			Run: func(t *testing.T, a *Admin) {
				id := a.ID()
				for _, req := range [][2]string{{"POST", "/plugins"}, {"PUT", "/plugins/" + a.ID()}} {
					equal(t, req[0], a.Must(t, 400, req[0], req[1], rateLimiting(id)).Body, object{
						"message": `the foreign key '{id="` + id + `"}' does not reference an existing 'services' entity.`,
						"fields":  object{"service": ref(id)}, "name": "foreign key violation", "code": 4,
					})
				}
			},
		},
		{
			Name:     "a service name that does not exist",
			Kong:     "400 code 13, not 4.",
			Operator: "The operator treats both codes alike.",
			Run: func(t *testing.T, a *Admin) {
				name := a.Name("nobody")
				why := `the foreign key cannot be resolved with '{name="` + name + `"}' for an existing 'services' entity`
				equal(t, "body", a.Must(t, 400, "POST", "/plugins", rateLimiting("", object{"service": object{"name": name}})).Body, object{
					"message": "foreign key unresolved (service.name: " + why + ")",
					"fields":  object{"service": object{"name": why}}, "name": "foreign keys unresolved", "code": 13,
				})
			},
		},
		{
			Name:     "a parent in the path that does not exist",
			Kong:     "404 with the body of a missing plugin.",
			Operator: "The response does not say which of the two is missing. The operator uses no nested paths for writes.",
			Run: func(t *testing.T, a *Admin) {
				for _, key := range []string{a.Name("nobody"), a.ID()} {
					body := object{"name": "key-auth"}
					equal(t, key, a.Must(t, 404, "POST", "/services/"+key+"/plugins", body).Body, object{"message": "Not found"})
				}
			},
		},
		{
			Name:     "a plugin that forbids a consumer",
			Kong:     "400 code 2 'consumer: value must be null'. Kong checks it before it looks the consumer up.",
			Operator: "It is a permanent error of the binding.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				ans := a.Must(t, 400, "POST", "/plugins", object{"name": "cors", "service": ref(svc), "consumer": ref(a.ID())})
				equal(t, "fields", ans.Body["fields"], object{"consumer": "value must be null"})
			},
		},
		{
			Name:     "a consumer is found by custom ID",
			Kong:     "GET /consumers?custom_id= lists one consumer or none.",
			Operator: "The operator resolves scope.consumer.customID with it.",
			Run: func(t *testing.T, a *Admin) {
				id := a.Consumer(t, "c")
				equal(t, "found", ids(a.Must(t, 200, "GET", "/consumers?custom_id="+a.Name("c")+"-custom", nil)), []string{id})
				equal(t, "none", ids(a.Must(t, 200, "GET", "/consumers?custom_id="+a.Name("x"), nil)), nil)
			},
		},
		{
			Name:     "services, routes and consumers are found by name",
			Kong:     "GET /services/{name}, /routes/{name} and /consumers/{username} answer the entity.",
			Operator: "The operator resolves a scope with one request per entity.",
			Run: func(t *testing.T, a *Admin) {
				svc, name := a.Service(t, "s")
				rt, alice := a.Route(t, name, "r"), a.Consumer(t, "c")
				equal(t, "service", a.Must(t, 200, "GET", "/services/"+name, nil).Body["id"], svc)
				equal(t, "route", a.Must(t, 200, "GET", "/routes/"+a.Name("r"), nil).Body["id"], rt)
				equal(t, "consumer", a.Must(t, 200, "GET", "/consumers/"+a.Name("c"), nil).Body["id"], alice)
			},
		},
		{
			Name:     "a renamed service keeps its ID and its plugins",
			Kong:     "PATCH of the name changes neither ID nor plugins.",
			Operator: "Renaming an entity of a scope does not move the plugin.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				p := text(a.Must(t, 201, "POST", "/plugins", rateLimiting(svc)).Body["id"])
				equal(t, "id", a.Must(t, 200, "PATCH", "/services/"+svc, object{"name": a.Name("new")}).Body["id"], svc)
				equal(t, "scope", a.Must(t, 200, "GET", "/plugins/"+p, nil).Body["service"], ref(svc))
				a.Must(t, 404, "GET", "/services/"+a.Name("s"), nil)
			},
		},
		{
			Name:     "protocols have to fit the scope",
			Kong:     "Protocols that have nothing in common with the route, or with any route of the service, are 400 'must match'.",
			Operator: "It is a permanent error until the binding or the route changes.",
			Run: func(t *testing.T, a *Admin) {
				svc, name := a.Service(t, "s")
				rt := a.Route(t, name, "r")
				for _, scope := range []object{{"service": ref(svc)}, {"service": nil, "route": ref(rt)}} {
					ans := a.Must(t, 400, "PUT", "/plugins/"+a.ID(), rateLimiting(svc, object{"protocols": []string{"grpc"}}, scope))
					fields, _ := ans.Body["fields"].(map[string]any)
					if why := text(fields["protocols"]); !strings.HasPrefix(why, "must match") {
						t.Errorf("protocols: %s", why)
					}
				}
			},
		},
		{
			Name:     "PATCH checks protocols only when it has them or the scope",
			Kong:     "A PATCH by ID compares protocols with the route when it has protocols, service or route. Any other PATCH of a plugin that no longer fits its route is 200.",
			Operator: "A 200 does not prove that the plugin runs.",
			Run: func(t *testing.T, a *Admin) {
				_, name := a.Service(t, "s")
				rt := a.Route(t, name, "r")
				path := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", object{
					"name": "key-auth", "route": ref(rt), "protocols": []string{"http"}, "instance_name": a.Name("mine"),
				}).Body["id"])
				a.Must(t, 200, "PATCH", "/routes/"+rt, object{"protocols": []string{"https"}})
				equal(t, "enabled", a.Must(t, 200, "PATCH", path, object{"enabled": false}).Body["enabled"], false)
				for _, patch := range []object{{"protocols": []string{"http", "grpc"}}, {"route": ref(rt)}} {
					equal(t, "fields", a.Must(t, 400, "PATCH", path, patch).Body["fields"],
						object{"protocols": "must match the associated route's protocols"})
				}
			},
		},
		{
			Name:     "protocols and a service by name do not go together",
			Kong:     "Kong looks the service's routes up before it resolves the name, and answers 400.",
			Operator: "The operator sends IDs only.",
			Run: func(t *testing.T, a *Admin) {
				svc, name := a.Service(t, "s")
				byName := object{"service": object{"name": name}, "protocols": []string{"http"}}
				a.Must(t, 400, "POST", "/plugins", rateLimiting(svc, byName))
				a.Must(t, 201, "POST", "/plugins", rateLimiting(svc, object{"protocols": []string{"http"}}))
			},
		},
		{
			Name:     "IDs are answered in lower case, keys use the case of the request",
			Kong:     "One scope in two spellings is two keys.",
			Operator: "The operator sends an ID only as Kong answered it.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				a.Must(t, 201, "POST", "/plugins", rateLimiting(svc))
				p := a.Must(t, 201, "POST", "/plugins", rateLimiting(strings.ToUpper(svc))).Body
				equal(t, "service", p["service"], ref(svc))
				a.Must(t, 200, "GET", "/plugins/"+strings.ToUpper(text(p["id"])), nil)
			},
		},
		{
			Name:     "Enterprise fields are unknown to the community edition",
			Kong:     "consumer_group and ordering are 400 'unknown field', even when null.",
			Operator: "The operator omits them unless they are set.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				for _, field := range []string{"consumer_group", "ordering"} {
					ans := a.Must(t, 400, "POST", "/plugins", rateLimiting(svc, object{field: nil}))
					equal(t, field, ans.Body["fields"], object{field: "unknown field"})
				}
			},
		},
	}
}
