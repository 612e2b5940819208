package contract

import (
	"strings"
	"testing"
)

func scopeFacts() []fact {
	return []fact{
		{
			Name:  "every combination of scopes is a key of its own",
			Cites: "service, route and consumer combine freely, and each combination holds one plugin of a name: a binding's scope is exactly its key",
			Run: func(t *testing.T, a *Admin) {
				svc, name := a.Service(t, "s")
				rt, alice := ref(a.Route(t, name, "r")), ref(a.Consumer(t, "c"))
				none := object{"service": nil}
				for _, scope := range []object{
					{}, {"consumer": alice}, {"route": rt}, {"route": rt, "consumer": alice},
					{"service": nil, "route": rt}, {"service": nil, "consumer": alice},
				} {
					a.Must(t, 201, "POST", "/plugins", limit(svc, none, object{"service": ref(svc)}, scope))
					a.Must(t, 409, "POST", "/plugins", limit(svc, scope))
				}
			},
		},
		{
			Name:  "a route of another service",
			Cites: "Kong does not check that the route belongs to the service: the operator must not assume it either",
			Run: func(t *testing.T, a *Admin) {
				one, _ := a.Service(t, "one")
				_, two := a.Service(t, "two")
				a.Must(t, 201, "POST", "/plugins", limit(one, object{"route": ref(a.Route(t, two, "r"))}))
			},
		},
		{
			Name:  "a scope by name is answered by ID",
			Cites: "services and routes by name, consumers by username, answered as {id}: the status records the IDs names resolved to",
			Run: func(t *testing.T, a *Admin) {
				svc, name := a.Service(t, "s")
				alice := a.Consumer(t, "c")
				p := a.Must(t, 201, "POST", "/plugins", object{
					"name": "rate-limiting", "config": object{"minute": 1},
					"service": object{"name": name}, "consumer": object{"username": a.Name("c")},
				}).Body
				is(t, "service", p["service"], ref(svc))
				is(t, "consumer", p["consumer"], ref(alice))
			},
		},
		{
			Name:  "an ID wins over a name",
			Cites: "with both in a scope the name is not looked at: the operator sends IDs only",
			Run: func(t *testing.T, a *Admin) {
				one, _ := a.Service(t, "one")
				_, two := a.Service(t, "two")
				p := a.Must(t, 201, "POST", "/plugins", limit(one, object{"service": object{"id": one, "name": two}}))
				is(t, "service", p.Body["service"], ref(one))
			},
		},
		{
			Name:  "the parent in the path wins",
			Cites: "POST /services/{a}/plugins with service b in the body is for a: the operator writes to /plugins, where the body says it all",
			Run: func(t *testing.T, a *Admin) {
				one, name := a.Service(t, "one")
				two, _ := a.Service(t, "two")
				is(t, "service", a.Must(t, 201, "POST", "/services/"+name+"/plugins", limit(two)).Body["service"], ref(one))
			},
		},
		{
			Name:  "a service ID that does not exist",
			Cites: "400 code 4 naming the field: the scope's entity is gone, which is ResolvedRefs=False and not a bad configuration",
			Run: func(t *testing.T, a *Admin) {
				id := a.ID()
				for _, req := range [][2]string{{"POST", "/plugins"}, {"PUT", "/plugins/" + a.ID()}} {
					is(t, req[0], a.Must(t, 400, req[0], req[1], limit(id)).Body, object{
						"message": `the foreign key '{id="` + id + `"}' does not reference an existing 'services' entity.`,
						"fields":  object{"service": ref(id)}, "name": "foreign key violation", "code": 4,
					})
				}
			},
		},
		{
			Name:  "a service name that does not exist",
			Cites: "400 code 13, not 4: both mean the same to the operator",
			Run: func(t *testing.T, a *Admin) {
				name := a.Name("nobody")
				why := `the foreign key cannot be resolved with '{name="` + name + `"}' for an existing 'services' entity`
				is(t, "body", a.Must(t, 400, "POST", "/plugins", limit("", object{"service": object{"name": name}})).Body, object{
					"message": "foreign key unresolved (service.name: " + why + ")",
					"fields":  object{"service": object{"name": why}}, "name": "foreign keys unresolved", "code": 13,
				})
			},
		},
		{
			Name:  "a parent in the path that does not exist",
			Cites: "404, the body of a missing plugin: a nested path cannot tell which of the two is missing",
			Run: func(t *testing.T, a *Admin) {
				for _, key := range []string{a.Name("nobody"), a.ID()} {
					body := object{"name": "key-auth"}
					is(t, key, a.Must(t, 404, "POST", "/services/"+key+"/plugins", body).Body, object{"message": "Not found"})
				}
			},
		},
		{
			Name:  "a plugin that forbids a consumer",
			Cites: "400 code 2 'consumer: value must be null', checked before whether the consumer exists: a permanent error of the binding",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				ans := a.Must(t, 400, "POST", "/plugins", object{"name": "cors", "service": ref(svc), "consumer": ref(a.ID())})
				is(t, "fields", ans.Body["fields"], object{"consumer": "value must be null"})
			},
		},
		{
			Name:  "a consumer is found by custom ID",
			Cites: "GET /consumers?custom_id= lists one or none: how scope.consumer.customID is resolved",
			Run: func(t *testing.T, a *Admin) {
				id := a.Consumer(t, "c")
				is(t, "found", ids(a.Must(t, 200, "GET", "/consumers?custom_id="+a.Name("c")+"-custom", nil)), []string{id})
				is(t, "none", ids(a.Must(t, 200, "GET", "/consumers?custom_id="+a.Name("x"), nil)), nil)
			},
		},
		{
			Name:  "services, routes and consumers are found by name",
			Cites: "GET /services/{name}, /routes/{name} and /consumers/{username} resolve a scope in one request each",
			Run: func(t *testing.T, a *Admin) {
				svc, name := a.Service(t, "s")
				rt, alice := a.Route(t, name, "r"), a.Consumer(t, "c")
				is(t, "service", a.Must(t, 200, "GET", "/services/"+name, nil).Body["id"], svc)
				is(t, "route", a.Must(t, 200, "GET", "/routes/"+a.Name("r"), nil).Body["id"], rt)
				is(t, "consumer", a.Must(t, 200, "GET", "/consumers/"+a.Name("c"), nil).Body["id"], alice)
			},
		},
		{
			Name:  "a renamed service keeps its ID and its plugins",
			Cites: "PATCH of the name changes neither ID nor plugins: a renamed scope moves nothing",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				p := text(a.Must(t, 201, "POST", "/plugins", limit(svc)).Body["id"])
				is(t, "id", a.Must(t, 200, "PATCH", "/services/"+svc, object{"name": a.Name("new")}).Body["id"], svc)
				is(t, "scope", a.Must(t, 200, "GET", "/plugins/"+p, nil).Body["service"], ref(svc))
				a.Must(t, 404, "GET", "/services/"+a.Name("s"), nil)
			},
		},
		{
			Name:  "protocols have to fit the scope",
			Cites: "protocols that share nothing with the route, or with any route of the service, are 400 'must match': a permanent error until one of the two changes",
			Run: func(t *testing.T, a *Admin) {
				svc, name := a.Service(t, "s")
				rt := a.Route(t, name, "r")
				for _, scope := range []object{{"service": ref(svc)}, {"service": nil, "route": ref(rt)}} {
					ans := a.Must(t, 400, "PUT", "/plugins/"+a.ID(), limit(svc, object{"protocols": []string{"grpc"}}, scope))
					fields, _ := ans.Body["fields"].(map[string]any)
					if why := text(fields["protocols"]); !strings.HasPrefix(why, "must match") {
						t.Errorf("protocols: %s", why)
					}
				}
			},
		},
		{
			Name:  "PATCH checks protocols only when it is about them",
			Cites: "a PATCH by ID compares the protocols with the route when it has protocols, service or route: any other PATCH of a plugin that no longer fits its route is 200, so a 200 does not say that the plugin runs",
			Run: func(t *testing.T, a *Admin) {
				_, name := a.Service(t, "s")
				rt := a.Route(t, name, "r")
				path := "/plugins/" + text(a.Must(t, 201, "POST", "/plugins", object{
					"name": "key-auth", "route": ref(rt), "protocols": []string{"http"}, "instance_name": a.Name("mine"),
				}).Body["id"])
				a.Must(t, 200, "PATCH", "/routes/"+rt, object{"protocols": []string{"https"}})
				is(t, "enabled", a.Must(t, 200, "PATCH", path, object{"enabled": false}).Body["enabled"], false)
				for _, patch := range []object{{"protocols": []string{"http", "grpc"}}, {"route": ref(rt)}} {
					is(t, "fields", a.Must(t, 400, "PATCH", path, patch).Body["fields"],
						object{"protocols": "must match the associated route's protocols"})
				}
			},
		},
		{
			Name:  "protocols and a service by name do not go together",
			Cites: "with protocols in the body Kong looks up the service's routes before it resolves the name, and answers 400: the operator sends IDs only",
			Run: func(t *testing.T, a *Admin) {
				svc, name := a.Service(t, "s")
				byName := object{"service": object{"name": name}, "protocols": []string{"http"}}
				a.Must(t, 400, "POST", "/plugins", limit(svc, byName))
				a.Must(t, 201, "POST", "/plugins", limit(svc, object{"protocols": []string{"http"}}))
			},
		},
		{
			Name:  "IDs are answered in lower case, and keys are made of what was sent",
			Cites: "one scope in two spellings is two keys: an ID goes into a request only as Kong answered it, never as a user wrote it",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				a.Must(t, 201, "POST", "/plugins", limit(svc))
				p := a.Must(t, 201, "POST", "/plugins", limit(strings.ToUpper(svc))).Body
				is(t, "service", p["service"], ref(svc))
				a.Must(t, 200, "GET", "/plugins/"+strings.ToUpper(text(p["id"])), nil)
			},
		},
		{
			Name:  "Enterprise fields are unknown to the community edition",
			Cites: "consumer_group and ordering are 400 'unknown field', even as null: they are left out of what is sent unless set",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				for _, field := range []string{"consumer_group", "ordering"} {
					ans := a.Must(t, 400, "POST", "/plugins", limit(svc, object{field: nil}))
					is(t, field, ans.Body["fields"], object{field: "unknown field"})
				}
			},
		},
	}
}
