package contract

import (
	"strings"
	"testing"
)

// taken is the body of a 409 for rate-limiting on a service.
func taken(service string) object {
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
			Name:  "POST assigns the ID",
			Cites: "POST without an ID is 201 with a fresh ID: Kong assigns it once, and the status records that one",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				p := a.Must(t, 201, "POST", "/plugins", limit(svc)).Body
				if id := text(p["id"]); len(id) != 36 {
					t.Errorf("id %q", id)
				}
				is(t, "read back", a.Must(t, 200, "GET", "/plugins/"+text(p["id"]), nil).Body["id"], p["id"])
			},
		},
		{
			Name:  "POST with an ID keeps it",
			Cites: "an ID in the body is used as it is; recreating under a recorded ID is possible",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				id := a.ID()
				is(t, "id", a.Must(t, 201, "POST", "/plugins", limit(svc, object{"id": id})).Body["id"], id)
			},
		},
		{
			Name:  "same name and scope",
			Cites: "409 code 5 with exactly this body, whatever ID and config are sent: the unique key (name, route, service, consumer) is why there is at most one plugin per binding",
			Run: func(t *testing.T, a *Admin) {
				svc, name := a.Service(t, "s")
				a.Must(t, 201, "POST", "/plugins", limit(svc))
				is(t, "no ID", a.Must(t, 409, "POST", "/plugins", limit(svc)).Body, taken(svc))
				is(t, "other ID", a.Must(t, 409, "POST", "/plugins", limit(svc, object{"id": a.ID()})).Body, taken(svc))
				other := limit(svc, object{"config": object{"minute": 9}, "enabled": false})
				is(t, "other config", a.Must(t, 409, "POST", "/plugins", other).Body, taken(svc))
				nested := object{"name": "rate-limiting", "config": object{"minute": 5}}
				is(t, "under the parent", a.Must(t, 409, "POST", "/services/"+name+"/plugins", nested).Body, taken(svc))
			},
		},
		{
			Name:  "a 409 does not name the holder",
			Cites: "the body of a 409 has the key and no ID of the plugin that holds it: the holder has to be looked up, a 409 decides nothing",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				holder := text(a.Must(t, 201, "POST", "/plugins", limit(svc)).Body["id"])
				if raw := a.Must(t, 409, "POST", "/plugins", limit(svc)).Raw; strings.Contains(raw, holder) {
					t.Errorf("names the holder: %s", raw)
				}
			},
		},
		{
			Name:  "an ID that is taken",
			Cites: "POST of an ID that exists is 400 code 3, checked before name and scope: a create that was done after all shows as 400, not 409",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				id := text(a.Must(t, 201, "POST", "/plugins", limit(svc)).Body["id"])
				for _, body := range []object{limit(svc, object{"id": id}), {"name": "cors", "id": id, "service": ref(svc)}} {
					is(t, "body", a.Must(t, 400, "POST", "/plugins", body).Body, object{
						"message": `primary key violation on key '{id="` + id + `"}'`,
						"fields":  object{"id": id}, "name": "primary key violation", "code": 3,
					})
				}
			},
		},
		{
			Name:  "an instance name that is taken",
			Cites: "409 code 5 with fields.instance_name: the owner name is unique, so two replicas cannot create the same binding twice",
			Run: func(t *testing.T, a *Admin) {
				one, _ := a.Service(t, "one")
				two, _ := a.Service(t, "two")
				mine := object{"instance_name": a.Name("mine")}
				a.Must(t, 201, "POST", "/plugins", limit(one, mine))
				want := object{
					"message": `UNIQUE violation detected on '{instance_name="` + a.Name("mine") + `"}'`,
					"fields":  mine, "name": "unique constraint violation", "code": 5,
				}
				is(t, "POST", a.Must(t, 409, "POST", "/plugins", limit(two, mine)).Body, want)
				is(t, "PUT", a.Must(t, 409, "PUT", "/plugins/"+a.ID(), limit(two, mine)).Body, want)
			},
		},
		{
			Name:  "found by instance name",
			Cites: "GET /plugins/{instance_name} finds the row in one request: how a plugin whose ID was lost is recovered",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				id := a.Must(t, 201, "POST", "/plugins", limit(svc, object{"instance_name": a.Name("mine")})).Body["id"]
				is(t, "id", a.Must(t, 200, "GET", "/plugins/"+a.Name("mine"), nil).Body["id"], id)
				a.Must(t, 404, "GET", "/plugins/"+a.Name("other"), nil)
			},
		},
		{
			Name:  "instance names may be long",
			Cites: "a cluster ID, a namespace and a name with dots between, 354 characters, are accepted: the owner name needs no hash",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				long := a.ID() + "." + strings.Repeat("n", 63) + "." + strings.Repeat("m", 253)
				p := a.Must(t, 201, "POST", "/plugins", limit(svc, object{"instance_name": long}))
				is(t, "instance_name", p.Body["instance_name"], long)
				a.Must(t, 200, "GET", "/plugins/"+long, nil)
			},
		},
		{
			Name:  "instance names have an alphabet",
			Cites: "alphanumerics, dot, dash, underscore, tilde; anything else is 400 code 2, so the API refuses it first",
			Run: func(t *testing.T, a *Admin) {
				svc, _ := a.Service(t, "s")
				ans := a.Must(t, 400, "POST", "/plugins", limit(svc, object{"instance_name": "my prom!"}))
				is(t, "message", ans.Body["message"], "schema violation (instance_name: invalid value 'my prom!': "+
					"the only accepted ascii characters are alphanumerics or ., -, _, and ~)")
			},
		},
	}
}
