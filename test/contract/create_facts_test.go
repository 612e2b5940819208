package contract

import (
	"strings"
	"testing"
)

// uniqueViolation is the body of a 409 for rate-limiting on a service.
func uniqueViolation(service string) object {
	return object{
		"message": `UNIQUE violation detected on '{consumer=null,name="rate-limiting",route=null,service={id="` + service + `"}}'`,
		"fields":  object{"consumer": nil, "name": "rate-limiting", "route": nil, "service": ref(service)},
		"name":    "unique constraint violation",
		"code":    5,
	}
}

func createFacts() []fact {
	return []fact{
		{
			Name:     "POST assigns the ID",
			Kong:     "POST without an ID answers 201 and a new ID.",
			Operator: "Kong assigns the ID once; the operator records it in the status.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				p := a.Must(t, 201, "POST", "/plugins", rateLimiting(svc)).Body
				if id := text(p["id"]); len(id) != 36 {
					t.Errorf("id %q", id)
				}
				equal(t, "read back", a.Must(t, 200, "GET", "/plugins/"+text(p["id"]), nil).Body["id"], p["id"])
			},
		},
		{
			Name:     "POST with an ID keeps it",
			Kong:     "Kong uses the ID in the body.",
			Operator: "The operator can recreate a plugin under its recorded ID.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				id := a.ID()
				equal(t, "id", a.Must(t, 201, "POST", "/plugins", rateLimiting(svc, object{"id": id})).Body["id"], id)
			},
		},
		{
			Name:     "same name and scope",
			Kong:     "A second plugin of one name and scope is 409 code 5 with exactly this body, whatever ID and config it has.",
			Operator: "The unique key (name, route, service, consumer) allows at most one plugin per binding.",
			Run: func(t *testing.T, a *Admin) {
				svc, name := a.Service(t, "s")
				a.Must(t, 201, "POST", "/plugins", rateLimiting(svc))
				equal(t, "no ID", a.Must(t, 409, "POST", "/plugins", rateLimiting(svc)).Body, uniqueViolation(svc))
				equal(t, "other ID", a.Must(t, 409, "POST", "/plugins", rateLimiting(svc, object{"id": a.ID()})).Body, uniqueViolation(svc))
				other := rateLimiting(svc, object{"config": object{"minute": 9}, "enabled": false})
				equal(t, "other config", a.Must(t, 409, "POST", "/plugins", other).Body, uniqueViolation(svc))
				nested := object{"name": "rate-limiting", "config": object{"minute": 5}}
				equal(t, "under the parent", a.Must(t, 409, "POST", "/services/"+name+"/plugins", nested).Body, uniqueViolation(svc))
			},
		},
		{
			Name:     "a 409 does not name the holder",
			Kong:     "The body has the key, but not the ID of the plugin that holds it.",
			Operator: "The operator looks the holder up. A 409 decides nothing.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				holder := text(a.Must(t, 201, "POST", "/plugins", rateLimiting(svc)).Body["id"])
				if raw := a.Must(t, 409, "POST", "/plugins", rateLimiting(svc)).Raw; strings.Contains(raw, holder) {
					t.Errorf("names the holder: %s", raw)
				}
			},
		},
		{
			Name:     "an ID that is taken",
			Kong:     "POST of an existing ID is 400 code 3. Kong checks the ID before name and scope.",
			Operator: "A create that Kong applied after all shows as 400, not as 409.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				id := text(a.Must(t, 201, "POST", "/plugins", rateLimiting(svc)).Body["id"])
				for _, body := range []object{rateLimiting(svc, object{"id": id}), {"name": "cors", "id": id, "service": ref(svc)}} {
					equal(t, "body", a.Must(t, 400, "POST", "/plugins", body).Body, object{
						"message": `primary key violation on key '{id="` + id + `"}'`,
						"fields":  object{"id": id}, "name": "primary key violation", "code": 3,
					})
				}
			},
		},
		{
			Name:     "an instance name that is taken",
			Kong:     "409 code 5 with fields.instance_name.",
			Operator: "The instance name of a binding is unique, so two replicas cannot create its plugin twice.",
			Run: func(t *testing.T, a *Admin) {
				one, _ := a.Service(t, "one")
				two, _ := a.Service(t, "two")
				mine := object{"instance_name": a.Name("mine")}
				a.Must(t, 201, "POST", "/plugins", rateLimiting(one, mine))
				want := object{
					"message": `UNIQUE violation detected on '{instance_name="` + a.Name("mine") + `"}'`,
					"fields":  mine, "name": "unique constraint violation", "code": 5,
				}
				equal(t, "POST", a.Must(t, 409, "POST", "/plugins", rateLimiting(two, mine)).Body, want)
				equal(t, "PUT", a.Must(t, 409, "PUT", "/plugins/"+a.ID(), rateLimiting(two, mine)).Body, want)
			},
		},
		{
			Name:     "a plugin is found by its instance name",
			Kong:     "GET /plugins/{instance_name} answers the plugin in one request.",
			Operator: "The operator recovers a plugin whose ID was not recorded.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				id := a.Must(t, 201, "POST", "/plugins", rateLimiting(svc, object{"instance_name": a.Name("mine")})).Body["id"]
				equal(t, "id", a.Must(t, 200, "GET", "/plugins/"+a.Name("mine"), nil).Body["id"], id)
				a.Must(t, 404, "GET", "/plugins/"+a.Name("other"), nil)
			},
		},
		{
			Name:     "instance names may be long",
			Kong:     "Kong accepts 354 characters: a cluster ID, a namespace and a name.",
			Operator: "The operator does not shorten instance names.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				long := a.ID() + "." + strings.Repeat("n", 63) + "." + strings.Repeat("m", 253)
				p := a.Must(t, 201, "POST", "/plugins", rateLimiting(svc, object{"instance_name": long}))
				equal(t, "instance_name", p.Body["instance_name"], long)
				a.Must(t, 200, "GET", "/plugins/"+long, nil)
			},
		},
		{
			Name:     "instance names have an alphabet",
			Kong:     "Kong accepts alphanumerics, '.', '-', '_' and '~', and answers 400 code 2 to other ASCII characters.",
			Operator: "The operator's API refuses such names first.",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				ans := a.Must(t, 400, "POST", "/plugins", rateLimiting(svc, object{"instance_name": "my prom!"}))
				equal(t, "message", ans.Body["message"], "schema violation (instance_name: invalid value 'my prom!': "+
					"the only accepted ascii characters are alphanumerics or ., -, _, and ~)")
			},
		},
	}
}
