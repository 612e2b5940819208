package kongtest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const upper = "ABCDEF00-0000-4000-8000-00000000ABCD"

// rule is a rule of Kong's that no recording shows in full: what is sent before, the
// request itself ("METHOD path body"), and what of its answer the rule is about.
type rule struct {
	name    string
	before  []string
	request string
	headers []string
	status  int
	want    string // fields of the answer, as JSON
}

func (r rule) run(t *testing.T) {
	s := Start(t)
	for _, step := range r.before {
		if a := send(t, s, step, "Content-Type", "application/json"); a.status > 299 {
			t.Fatalf("%s: status %d: %s", step, a.status, a.raw)
		}
	}
	headers := r.headers
	if headers == nil {
		headers = []string{"Content-Type", "application/json"}
	}
	got := want(t, send(t, s, r.request, headers...), r.status)
	var fields map[string]any
	if r.want != "" {
		if err := json.Unmarshal([]byte(r.want), &fields); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range fields {
		if d := cmp.Diff(value, got.body[name]); d != "" {
			t.Errorf("%s (-want +got):\n%s\n%s", name, d, got.raw)
		}
	}
}

func send(t *testing.T, s *Server, step string, headers ...string) answer {
	t.Helper()
	method, rest, _ := strings.Cut(step, " ")
	path, body, _ := strings.Cut(rest, " ")
	return do(t, s, method, path, body, headers...)
}

func runRules(t *testing.T, rules []rule) {
	for _, r := range rules {
		t.Run(r.name, r.run)
	}
}

const (
	service  = `POST /services {"name":"svc","url":"http://h","id":"` + upper + `"}`
	route    = `POST /services/svc/routes {"name":"rt","paths":["/rt"],"protocols":["http"],"id":"` + id2 + `"}`
	onRoute  = `POST /plugins {"name":"cors","id":"` + id1 + `","instance_name":"mine","protocols":["http"],"route":{"id":"` + id2 + `"}}`
	toHTTPS  = `PATCH /routes/rt {"protocols":["https"]}`
	mismatch = `{"code":2,"fields":{"protocols":"must match the associated route's protocols"}}`
	noRoute  = `{"code":2,"fields":{"protocols":"must match the protocols of at least one route pointing to this Plugin's service"}}`
	oops     = `{"message":"An unexpected error occurred"}`
)

func TestProtocolRules(t *testing.T) {
	runRules(t, []rule{
		{"a plugin needs a protocol of its route", []string{service, route},
			`POST /plugins {"name":"cors","protocols":["grpc"],"route":{"id":"` + id2 + `"}}`, nil, 400, mismatch},
		{"an empty list of protocols matches no route", []string{service, route},
			`POST /plugins {"name":"cors","protocols":[],"route":{"id":"` + id2 + `"}}`, nil, 400, mismatch},
		{"defaults are not checked", []string{`POST /routes {"name":"t","protocols":["tcp"],"sources":[{"port":1}],"id":"` + id2 + `"}`},
			`POST /plugins {"name":"cors","route":{"id":"` + id2 + `"}}`, nil, 201, ""},
		{"the database refuses a missing route", nil,
			`POST /plugins {"name":"cors","protocols":["http"],"route":{"id":"` + id2 + `"}}`, nil, 400, `{"code":4}`},
		{"a route with more than its ID is not looked up", []string{service, route},
			`POST /plugins {"name":"cors","protocols":["grpc"],"route":{"id":"` + id2 + `","name":"rt"}}`, nil, 201, ""},
		{"a plugin needs a protocol of a route of its service", []string{service, route},
			`POST /plugins {"name":"cors","protocols":["grpc"],"service":{"id":"` + upper + `"}}`, nil, 400, noRoute},
		{"a service without routes allows every protocol", []string{service},
			`POST /plugins {"name":"cors","protocols":["grpc"],"service":{"id":"` + upper + `"}}`, nil, 201, ""},
		{"protocols with a service by name are refused", []string{service},
			`POST /plugins {"name":"cors","protocols":["http"],"service":{"name":"svc"}}`, nil, 400, noRoute},
		{"PATCH of another field does not check protocols", []string{service, route, onRoute, toHTTPS},
			`PATCH /plugins/` + id1 + ` {"enabled":false}`, nil, 200, `{"enabled":false}`},
		{"PATCH of protocols checks them", []string{service, route, onRoute, toHTTPS},
			`PATCH /plugins/` + id1 + ` {"protocols":["http","grpc"]}`, nil, 400, mismatch},
		{"PATCH of the route checks protocols", []string{service, route, onRoute, toHTTPS},
			`PATCH /plugins/` + id1 + ` {"route":{"id":"` + id2 + `"}}`, nil, 400, mismatch},
		{"PATCH of the service checks protocols", []string{service, route, onRoute, toHTTPS},
			`PATCH /plugins/` + id1 + ` {"service":{"id":"` + upper + `"}}`, nil, 400, mismatch},
		{"PATCH by instance name does not check protocols", []string{service, route, onRoute, toHTTPS},
			`PATCH /plugins/mine {"protocols":["http","grpc"]}`, nil, 200, ""},
		{"PUT by instance name does not check protocols", []string{service, route},
			`PUT /plugins/mine {"name":"cors","protocols":["grpc"],"route":{"id":"` + id2 + `"}}`, nil, 200, ""},
		{"PATCH that removes the route does not check protocols", []string{service, route, onRoute, toHTTPS},
			`PATCH /plugins/` + id1 + ` {"route":null}`, nil, 200, `{"route":null}`},
	})
}

// TestProtocolsWithoutDatabase: the look-up of a service's routes fails, which Kong
// takes for a service that speaks nothing of this.
func TestProtocolsWithoutDatabase(t *testing.T) {
	s := Start(t)
	want(t, send(t, s, service), 201)
	s.SetDatabaseDown(true)
	body := `{"name":"cors","protocols":["http"],"service":{"id":"` + upper + `"}}`
	for _, step := range []string{"POST /plugins ", "PUT /plugins/" + id1 + " "} {
		a := want(t, send(t, s, step+body), 400)
		if a.body["code"] != 2.0 {
			t.Errorf("%s: %s", step, a.raw)
		}
	}
	want(t, send(t, s, `POST /plugins {"name":"cors","protocols":["http"],"route":{"id":"`+id2+`"}}`), 500)
}

func TestKeyRules(t *testing.T) {
	scoped := func(id string) string { return `POST /plugins {"name":"cors","service":{"id":"` + id + `"}}` }
	lower := strings.ToLower(upper)
	runRules(t, []rule{
		{"IDs are answered in lower case", []string{service}, scoped(upper), nil, 201, `{"service":{"id":"` + lower + `"}}`},
		{"two references in the same case are one key", []string{service, scoped(upper)}, scoped(upper), nil, 409,
			`{"fields":{"name":"cors","service":{"id":"` + upper + `"},"route":null,"consumer":null}}`},
		{"two references in different case are two keys", []string{service, scoped(lower)}, scoped(upper), nil, 201, ""},
		{"a primary key ignores case", []string{service}, `POST /services {"url":"http://h","id":"` + lower + `"}`, nil, 400,
			`{"code":3,"fields":{"id":"` + lower + `"},"message":"primary key violation on key '{id=\"` + lower + `\"}'"}`},
		{"an error has the ID as it was sent", nil, scoped(upper), nil, 400,
			`{"code":4,"message":"the foreign key '{id=\"` + upper + `\"}' does not reference an existing 'services' entity."}`},
		{"an ID in a path ignores case", []string{service}, "GET /services/" + lower, nil, 200, `{"id":"` + lower + `"}`},
		{"POST with an ID of null", nil, `POST /plugins {"name":"cors","id":null}`, nil, 400,
			`{"code":3,"name":"primary key violation","fields":{"id":null},"message":"primary key violation on key '{id=null}'"}`},
		{"PUT by name with an ID of null", nil, `PUT /plugins/mine {"name":"cors","id":null}`, nil, 400, `{"code":3,"fields":{"instance_name":"mine"}}`},
		{"PUT by ID with an ID of null", nil, `PUT /plugins/` + id1 + ` {"name":"cors","id":null}`, nil, 200, `{"id":"` + id1 + `"}`},
		{"PUT by ID with an invalid ID in the body", nil, `PUT /plugins/` + id1 + ` {"name":"cors","id":"x"}`, nil, 400,
			`{"fields":{"id":"expected a valid UUID"}}`},
		{"PUT by name creates under the ID of another row", []string{"POST /plugins " + cors}, `PUT /plugins/mine {"name":"jwt","id":"` + id1 + `"}`, nil, 400,
			`{"code":3,"message":"primary key violation on key '{instance_name=\"mine\"}'","fields":{"instance_name":"mine"}}`},
		{"PUT by name keeps the ID", []string{`PUT /plugins/mine {"name":"cors","id":"` + id1 + `"}`},
			`PUT /plugins/mine {"name":"cors","id":"` + id2 + `"}`, nil, 200, `{"id":"` + id1 + `"}`},
		{"PATCH by name keeps the ID", []string{`PUT /plugins/mine {"name":"cors","id":"` + id1 + `"}`},
			`PATCH /plugins/mine {"id":"` + id2 + `"}`, nil, 200, `{"id":"` + id1 + `"}`},
		{"PATCH with an ID of null", []string{"POST /plugins " + cors}, `PATCH /plugins/` + id1 + ` {"id":null}`, nil, 404, `{"code":6}`},
		{"PATCH of a missing plugin", nil, `PATCH /plugins/` + upper + ` {"enabled":false}`, nil, 404, `{"message":"Not found"}`},
		{"PATCH of a missing plugin with a name", nil, `PATCH /plugins/` + upper + ` {"name":"cors"}`, nil, 404,
			`{"code":6,"name":"not found","message":"could not find the entity with primary key '{id=\"` + upper + `\"}'","fields":{"id":"` + upper + `"}}`},
		{"PATCH of a missing instance name with a name", nil, `PATCH /plugins/mine {"name":"cors"}`, nil, 404,
			`{"code":6,"name":"not found","message":"could not find the entity with '{instance_name=\"mine\"}'","fields":{"instance_name":"mine"}}`},
		{"PATCH of a missing plugin with name and scope", nil,
			`PATCH /plugins/` + upper + ` {"name":"cors","route":null,"service":null,"consumer":null}`, nil, 404,
			`{"code":6,"fields":{"id":"` + upper + `"}}`},
		{"PATCH of a missing service", nil, `PATCH /services/nope {"retries":1}`, nil, 404, `{"code":6,"fields":{"name":"nope"}}`},
		{"a missing certificate", nil, `POST /services {"url":"https://h","client_certificate":{"id":"` + id1 + `"}}`, nil, 400,
			`{"code":4,"fields":{"client_certificate":{"id":"` + id1 + `"}},` +
				`"message":"the foreign key '{id=\"` + id1 + `\"}' does not reference an existing 'certificates' entity."}`},
		{"an invalid name in a reference", nil, `POST /plugins {"name":"cors","service":{"name":"a b"}}`, nil, 400,
			`{"code":2,"fields":{"service":{"name":"invalid value 'a b': the only accepted ascii characters are alphanumerics or ., -, _, and ~"}}}`},
		{"deprecated fields are checked before references", nil,
			`POST /plugins {"name":"rate-limiting","config":{"minute":1,"redis_port":"x"},"service":{"name":"nope"}}`, nil, 400,
			`{"code":2,"fields":{"redis_port":"expected an integer"}}`},
	})
}

func TestValueRules(t *testing.T) {
	runRules(t, []rule{
		{"an entity check reads a field of a number", nil, `POST /plugins {"name":"rate-limiting","config":5}`, nil, 500, oops},
		{"an entity check reads a field of a boolean", nil, `POST /plugins {"name":"rate-limiting","config":{"minute":1,"redis":true}}`, nil, 500, oops},
		{"an entity check reads a field of a string", nil, `POST /plugins {"name":"rate-limiting","config":{"minute":1,"redis":"x"}}`, nil, 400,
			`{"fields":{"config":{"redis":"expected a record"}}}`},
		{"an entity check adds an error below an error", nil,
			`POST /plugins {"name":"rate-limiting","config":{"minute":1,"policy":"redis","redis":"x"}}`, nil, 500, oops},
		{"a number without an entity check", nil, `POST /plugins {"name":"key-auth","config":5}`, nil, 400, `{"fields":{"config":"expected a record"}}`},
		{"a name that is a boolean", nil, `POST /plugins {"name":true}`, nil, 500, oops},
		{"a name that is a list with an unknown plugin", nil, `POST /plugins {"name":["nope"]}`, nil, 400,
			`{"fields":{"name":"plugin 'nope' not enabled; add it to the 'plugins' configuration property"}}`},
		{"a name that is a list with a known plugin", nil, `POST /plugins {"name":["key-auth"]}`, nil, 400, `{"fields":{"name":"expected a string"}}`},
		{"a name that is an object", nil, `POST /plugins {"name":{}}`, nil, 400,
			`{"fields":{"name":"plugin 'nil' not enabled; add it to the 'plugins' configuration property"}}`},
		{"a zero byte", nil, `POST /plugins {"name":"request-termination","config":{"body":"a\u0000b"}}`, nil, 500, oops},
		{"a time after the last of PostgreSQL", nil, `POST /plugins {"name":"cors","created_at":1e15}`, nil, 500, oops},
		{"PATCH with created_at of null", []string{`POST /plugins {"name":"cors","created_at":null,"id":"` + id1 + `"}`},
			`PATCH /plugins/` + id1 + ` {"created_at":null}`, nil, 200, `{"created_at":null}`},
		{"numbers are rounded to 14 digits", nil, `POST /plugins {"name":"rate-limiting","config":{"minute":1234567890123456789}}`, nil, 201, ""},
		{"more than ten megabytes", nil, `POST /plugins {"name":"cors","tags":["` + strings.Repeat("x", maxBody) + `"]}`, nil, 413, ""},
	})
}

func TestServiceAndRouteRules(t *testing.T) {
	protocol := `"protocol":"expected one of: grpc, grpcs, http, https, tcp, tls, tls_passthrough, udp"`
	runRules(t, []rule{
		{"the protocol of a URL ends at the first colon", nil, `POST /services {"url":"127.0.0.1:9999"}`, nil, 400,
			`{"fields":{` + protocol + `,"host":"required field missing","path":"should start with: /"}}`},
		{"a URL of null is read as text", nil, `POST /services {"name":"x","url":null}`, nil, 400,
			`{"fields":{` + protocol + `,"host":"required field missing","path":"should start with: /"}}`},
		{"the protocol follows from the port", nil, `POST /services {"url":"//h:443"}`, nil, 201, `{"protocol":"https","host":"h","port":443,"path":null}`},
		{"the default port of other protocols is 80", nil, `POST /services {"url":"grpc://h"}`, nil, 201, `{"protocol":"grpc","port":80}`},
		{"brackets, parameters, query and fragment are dropped", nil, `POST /services {"url":"http://u:p@[::1]:81/a;b?c#d"}`, nil, 201,
			`{"host":"::1","port":81,"path":"/a"}`},
		{"a URL wins over its target fields", nil, `POST /services {"url":"http://h/p","host":"other","port":1}`, nil, 201,
			`{"host":"h","port":80,"path":"/p"}`},
		{"a path with a protocol that has none", nil, `POST /services {"url":"tcp://h:1/p"}`, nil, 400,
			`{"fields":{"@entity":["failed conditional validation given value of field 'protocol'"],"path":"value must be null"}}`},
		{"tls_verify with a protocol without TLS", nil, `POST /services {"url":"http://h","tls_verify":true}`, nil, 400,
			`{"fields":{"@entity":["failed conditional validation given value of field 'protocol'"],"tls_verify":"value must be null"}}`},
		{"a label that ends in a dash", nil, `POST /services {"host":"a-.b"}`, nil, 400, `{"fields":{"host":"invalid value: a-.b"}}`},
		{"an invalid address", nil, `POST /services {"host":"300.1.1.1"}`, nil, 400, `{"fields":{"host":"invalid value: 300.1.1.1"}}`},
		{"a name that ends in a dot", nil, `POST /services {"host":"a.b."}`, nil, 201, ""},
		{"a host of a route may have a port", nil, `POST /routes {"hosts":["*.a.b:8080","a.*"]}`, nil, 201, ""},
		{"a wildcard inside", nil, `POST /routes {"hosts":["a.*.b"]}`, nil, 400,
			`{"fields":{"hosts":["invalid wildcard: must be placed at leftmost or rightmost label"]}}`},
		{"two wildcards", nil, `POST /routes {"hosts":["a","*.a.*"]}`, nil, 400,
			`{"fields":{"hosts":[null,"invalid wildcard: must have at most one wildcard"]}}`},
		{"a host with a blank", nil, `POST /routes {"hosts":["a b"]}`, nil, 400, `{"fields":{"hosts":["invalid hostname: a b"]}}`},
		{"a path has any characters", nil, `POST /routes {"paths":["/a b","/ä"]}`, nil, 201, ""},
		{"a path with a needless escape", nil, `POST /routes {"paths":["/%20"]}`, nil, 400,
			`{"fields":{"paths":["non-normalized path, consider use '/ ' instead"]}}`},
		{"a path with an escape in lower case", nil, `POST /routes {"paths":["/a%2fb"]}`, nil, 400,
			`{"fields":{"paths":["non-normalized path, consider use '/a%2Fb' instead"]}}`},
		{"a path with dot segments", nil, `POST /routes {"paths":["/a/../b"]}`, nil, 400,
			`{"fields":{"paths":["non-normalized path, consider use '/b' instead"]}}`},
		{"a path with a malformed escape", nil, `POST /routes {"paths":["/%zz"]}`, nil, 400, `{"fields":{"paths":["invalid url-encoded value: '%zz'"]}}`},
		{"an empty segment", nil, `POST /routes {"paths":["/a//b"]}`, nil, 400, `{"fields":{"paths":["must not have empty segments"]}}`},
		{"no slash", nil, `POST /routes {"paths":["a"]}`, nil, 400,
			`{"fields":{"paths":["should start with: / (fixed path) or ~/ (regex path)"]}}`},
		{"a regular expression", nil, `POST /routes {"paths":["~/a.*$"]}`, nil, 201, ""},
		{"an open parenthesis", nil, `POST /routes {"paths":["~/(a"]}`, nil, 400,
			`{"fields":{"paths":["invalid regex: '/(a' (PCRE returned: pcre2_compile() failed: missing closing parenthesis in \"/(a\")"]}}`},
		{"an unmatched parenthesis", nil, `POST /routes {"paths":["~/a)b"]}`, nil, 400,
			`{"fields":{"paths":["invalid regex: '/a)b' (PCRE returned: pcre2_compile() failed: unmatched closing parenthesis in \"/a)b\" at \")b\")"]}}`},
		{"an open character class", nil, `POST /routes {"paths":["~/[a"]}`, nil, 400,
			`{"fields":{"paths":["invalid regex: '/[a' (PCRE returned: pcre2_compile() failed: missing terminating ] for character class in \"/[a\")"]}}`},
		{"syntax that only PCRE has", nil, `POST /routes {"paths":["~/(?<id>[]a-z]++)$"]}`, nil, 201, ""},
		{"look-ahead", nil, `POST /routes {"paths":["~/(?=a)"]}`, nil, 400,
			`{"fields":{"@entity":["Router Expression failed validation: look-around, including look-ahead and look-behind, is not supported"]}}`},
		{"a back reference", nil, `POST /routes {"paths":["~/(a)\\1"]}`, nil, 400,
			`{"fields":{"@entity":["Router Expression failed validation: backreferences are not supported"]}}`},
		{"a class of digits", nil, `POST /routes {"paths":["~/\\d+\\(?="]}`, nil, 201, ""},
		{"PATCH that removes the last matcher", []string{service, route}, `PATCH /routes/rt {"paths":null}`, nil, 400,
			`{"fields":{"@entity":["must set one of 'methods', 'hosts', 'headers', 'paths' when 'protocols' is 'http'"]}}`},
		{"a consumer by its custom ID", []string{`POST /consumers {"custom_id":"c","id":"` + id1 + `"}`},
			`POST /plugins {"name":"rate-limiting","config":{"minute":1},"consumer":{"custom_id":"c"}}`, nil, 201, `{"consumer":{"id":"` + id1 + `"}}`},
		{"PATCH that removes the names of a consumer", []string{`POST /consumers {"username":"u"}`}, `PATCH /consumers/u {"username":null}`, nil, 400,
			`{"fields":{"@entity":["when updating, at least one of these fields must be non-empty: 'custom_id', 'username'"]}}`},
		{"two consumers of one custom ID", []string{`POST /consumers {"custom_id":"c"}`}, `POST /consumers {"custom_id":"c"}`, nil, 409,
			`{"fields":{"custom_id":"c"},"message":"UNIQUE violation detected on '{custom_id=\"c\"}'"}`},
		{"a route that is moved to a name that is taken", []string{service, route, `POST /routes {"name":"b","paths":["/"]}`},
			`PATCH /routes/b {"name":"rt"}`, nil, 409, `{"fields":{"name":"rt"}}`},
	})
}

const manyGroups = "config.allow[10]=10&config.allow[1]=1&config.allow[2]=2&config.allow[3]=3&config.allow[4]=4" +
	"&config.allow[5]=5&config.allow[6]=6&config.allow[7]=7&config.allow[8]=8&config.allow[9]=9"

func TestParameterRules(t *testing.T) {
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	multi := []string{"Content-Type", "multipart/form-data; boundary=b"}
	part := func(name, value string) string {
		return "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
	}
	runRules(t, []rule{
		{"validation takes the query for fields", nil, `POST /schemas/plugins/validate?foo=1 {"name":"cors"}`, nil, 400,
			`{"fields":{"foo":"unknown field"}}`},
		{"validation takes dots for paths", nil, `POST /schemas/plugins/validate {"name":"rate-limiting","config.minute":"x"}`, nil, 400,
			`{"fields":{"config":{"minute":"expected a number"}}}`},
		{"validation of a form has only texts", nil, `POST /schemas/plugins/validate name=rate-limiting&config.minute=5`, form, 400,
			`{"fields":{"config":{"minute":"expected a number"}}}`},
		{"validation of a form of texts", nil, `POST /schemas/plugins/validate name=acl&config.allow[]=a&config.allow[]=b`, form, 200,
			`{"message":"schema validation successful"}`},
		{"validation breaks on a deprecated field", nil,
			`POST /schemas/plugins/validate {"name":"rate-limiting","config":{"minute":1,"redis_port":"x"}}`, nil, 500, oops},
		{"validation resolves no names", []string{service}, `POST /schemas/plugins/validate {"name":"cors","service":{"name":"svc"}}`, nil, 400,
			`{"fields":{"service":{"id":"missing primary key"}}}`},
		{"validation of a route", nil, `POST /schemas/routes/validate {"paths":["/a"]}`, nil, 200, ""},
		{"a form has the types of the schema", []string{service},
			`POST /plugins name=rate-limiting&config.minute=5&config.fault_tolerant=false&service.name=svc&tags=a&tags=a&enabled=false`, form, 201,
			`{"enabled":false,"tags":["a"],"service":{"id":"` + strings.ToLower(upper) + `"}}`},
		{"a form counts its lists", nil,
			`POST /plugins name=acl&config.allow[2]=b&config.allow[1]=a&config.allow[3]=c&config.hide_groups_header=true`, form, 201,
			`{"config":{"allow":["a","b","c"],"deny":null,"hide_groups_header":true,"always_use_authenticated_groups":false}}`},
		{"a form's numbers decide, not their digits", nil,
			`POST /plugins name=acl&` + manyGroups + `&config.deny=`, form, 201,
			`{"config":{"allow":["1","2","3","4","5","6","7","8","9","10"],"deny":null,"hide_groups_header":false,"always_use_authenticated_groups":false}}`},
		{"a form has null for nothing", []string{"POST /plugins " + cors}, `PATCH /plugins/` + id1 + ` tags=&config.max_age=`, form, 200, `{"tags":null}`},
		{"a form's number that is none stays a text", nil, `POST /plugins name=rate-limiting&config.minute=x`, form, 400,
			`{"fields":{"config":{"minute":"expected a number"}}}`},
		{"a form's records in a list", nil,
			`POST /routes protocols=tcp&sources[1].ip=10.0.0.1&sources[1].port=1&name=t`, form, 201,
			`{"sources":[{"ip":"10.0.0.1","port":1}]}`},
		{"a form's keys in brackets", nil,
			`POST /plugins name=response-ratelimiting&config.limits[video].minute=5&config.limits[a.b][hour]=7`, form, 201,
			`{"name":"response-ratelimiting"}`},
		{"a form's headers", nil, `POST /routes name=h&headers[X-One][]=a&headers[X-One][]=b&headers[X-Two][1]=c`, form, 201,
			`{"headers":{"X-One":["a","b"],"X-Two":["c"]}}`},
		{"a form in parts", nil, "POST /plugins " + part("name", "request-size-limiting") + part("config.allowed_payload_size", "7") + "--b--\r\n", multi, 201,
			`{"name":"request-size-limiting"}`},
		{"a list of tags in a query, of which the first counts", []string{`POST /plugins {"name":"cors","tags":["a"]}`},
			`GET /plugins?tags[]=b&tags[]=a`, nil, 200, `{"data":[]}`},
		{"a list of sizes", nil, `GET /plugins?size[]=5`, nil, 500, oops},
		{"a type in capitals", nil, `POST /plugins name=cors`, []string{"Content-Type", "Application/X-WWW-Form-Urlencoded"}, 415, ""},
	})
}
