package adminapi

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

const rootBody = `{"version":"3.9.1","edition":"community","node_id":"n","configuration":{"database":"postgres"},"plugins":{"available_on_server":{"cors":{"priority":2000,"version":"3.9.1"}}}}`

func TestProbe(t *testing.T) {
	srv := kongtest.Start(t)
	c := newClient(t, srv.URL())
	info, err := c.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case info.Version != "3.9.1", info.Edition != "community", info.Database != "postgres", info.NodeID == "", !info.DatabaseReachable, !strings.Contains(info.Installed, `"cors":`):
		t.Errorf("got %+v", info)
	case !info.AtLeast(3, 2), info.AtLeast(3, 10), info.Enterprise(), info.DBLess():
		t.Errorf("misjudged %+v", info)
	case !c.notFoundTrusted.Load():
		t.Error("no 404 will be believed")
	}
}

func TestProbeDBLess(t *testing.T) {
	srv := kongtest.Start(t, kongtest.WithDBLess())
	c := newClient(t, srv.URL())
	info, err := c.Probe(t.Context())
	if err != nil || !info.DBLess() || info.DatabaseReachable || c.notFoundTrusted.Load() {
		t.Fatalf("got %+v, %v", info, err)
	}
	_, err = c.Create(t.Context(), rateLimiting())
	wantReason(t, err, NotDatabase)
	_, err = c.PluginByID(t.Context(), id1)
	wantReason(t, err, Unavailable)
}

func TestProbeWithoutItsDatabase(t *testing.T) {
	srv := kongtest.Start(t)
	c := probed(t, srv.URL())
	_, err := c.PluginByID(t.Context(), id1)
	wantReason(t, err, NotFound)

	srv.SetDatabaseDown(true)
	info, err := c.Probe(t.Context())
	if err != nil || info.DatabaseReachable || info.DBLess() || info.Version != "3.9.1" {
		t.Fatalf("got %+v, %v", info, err)
	}
	srv.SetDatabaseDown(false)
	_, err = c.PluginByID(t.Context(), id1)
	wantReason(t, err, Unavailable) // not before the next good probe
	if _, err = c.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = c.PluginByID(t.Context(), id1)
	wantReason(t, err, NotFound)
}

func TestProbeOfWhatIsNotKong(t *testing.T) {
	tests := []struct {
		name, reason string
		status       int
		contentType  string
		body         string
		want         Reason
	}{
		{"HTML", "some web server", 200, htmlType, htmlBody, NotKong},
		{"text", "some server", 200, "text/plain", "OK", NotKong},
		{"JSON", "some API", 200, jsonType, `{"status":"ok"}`, NotKong},
		{"a list", "some API", 200, jsonType, `[]`, NotKong},
		{"without a version", "some API", 200, jsonType, `{"configuration":{"database":"postgres"}}`, NotKong},
		{"without a configuration", "some API", 200, jsonType, `{"version":"1.2.3"}`, NotKong},
		{"without a database", "nobody knows its mode", 200, jsonType, `{"version":"1.2.3","configuration":{}}`, NotKong},
		{"empty", "says nothing", 200, jsonType, "", Unavailable},
		{"broken off", "says nothing", 200, jsonType, rootBody[:60], Unavailable},
		{"404", "no root", 404, htmlType, htmlBody, NotKong},
		{"404 of Kong's proxy", "the wrong port", 404, jsonType, `{"message":"no Route matched with those values"}`, NotKong},
		{"405", "no root", 405, jsonType, `{}`, NotKong},
		{"401", "no token", 401, jsonType, `{"message":"Invalid RBAC credentials"}`, Denied},
		{"403", "no token", 403, htmlType, htmlBody, Denied},
		{"429", "later", 429, jsonType, `{}`, Throttled},
		{"301", "elsewhere", 301, htmlType, "", Unavailable},
		{"500", "broken, and /status says so too", 500, jsonType, errorBody, Unavailable},
		{"502", "a proxy", 502, htmlType, htmlBody, Unavailable},
		{"https", "nginx's own page", 400, htmlType, "The plain HTTP request was sent to HTTPS port", TLS},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := trusting(t, answering(t, tt.status, tt.contentType, tt.body))
			_, err := c.Probe(t.Context())
			if ReasonForError(err) != tt.want {
				t.Errorf("%s: got %q (%v), want %q", tt.reason, ReasonForError(err), err, tt.want)
			}
			if c.notFoundTrusted.Load() {
				t.Error("a 404 is still believed")
			}
		})
	}
}

func TestProbeHints(t *testing.T) {
	for body, hint := range map[string]string{
		`{"message":"no Route matched with those values"}`: "proxy port",
		notFoundBody: "path of adminURL",
		`{}`:         "not an Admin API",
	} {
		_, err := newClient(t, answering(t, 404, jsonType, body)).Probe(t.Context())
		if e := failure(t, err, NotKong); !strings.Contains(e.Message, hint) {
			t.Error(e)
		}
	}
}

// TestProbeAfter500 covers the responses to GET /status after a 500.
func TestProbeAfter500(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		want   Reason
	}{
		{"unreachable", 200, `{"database":{"reachable":false}}`, ""},
		{"reachable", 200, `{"database":{"reachable":true}}`, Unavailable},
		{"no database", 200, `{"server":{}}`, Unavailable},
		{"does not say", 200, `{"database":{}}`, Unavailable},
		{"not JSON", 200, `<html>`, Unavailable},
		{"missing", 404, notFoundBody, Unavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := trusting(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/status" {
					write(w, tt.status, jsonType, tt.body)
					return
				}
				write(w, 500, jsonType, `{"message":"An unexpected error happened"}`)
			}))
			info, err := c.Probe(t.Context())
			if ReasonForError(err) != tt.want || info.DatabaseReachable || c.notFoundTrusted.Load() {
				t.Errorf("got %+v, %v", info, err)
			}
		})
	}
}

func TestProbeWorkspace(t *testing.T) {
	srv := kongtest.Start(t, kongtest.WithWorkspace("team"))
	in := func(workspace string) func(*Settings) { return func(s *Settings) { s.Workspace = workspace } }

	c := newClient(t, srv.URL(), in("team"))
	info, err := c.Probe(t.Context())
	if err != nil || !info.Enterprise() || !info.AtLeast(3, 9) {
		t.Fatalf("got %+v, %v", info, err)
	}
	made, err := c.Create(t.Context(), rateLimiting())
	if err != nil {
		t.Fatal(err)
	}
	_, err = probed(t, srv.URL(), in("default")).PluginByID(t.Context(), made.ID)
	wantReason(t, err, NotFound) // it lives in team

	c = newClient(t, srv.URL(), in("nobody"))
	info, err = c.Probe(t.Context())
	if wantReason(t, err, NotFound); !info.Enterprise() || c.notFoundTrusted.Load() {
		t.Errorf("got %+v", info)
	}

	c = newClient(t, kongtest.Start(t).URL(), in("team"))
	info, err = c.Probe(t.Context())
	if wantReason(t, err, Unsupported); info.Version == "" || c.notFoundTrusted.Load() {
		t.Errorf("got %+v", info)
	}
}

// TestProbeWithATokenOfOneWorkspace: Kong Enterprise refuses its root to such a token.
func TestProbeWithATokenOfOneWorkspace(t *testing.T) {
	inside := http.StatusOK
	c := newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			write(w, 403, jsonType, `{"message":"you do not have permissions"}`)
		case "/team/kong":
			write(w, inside, jsonType, strings.Replace(rootBody, "community", "enterprise", 1))
		case "/team/plugins":
			write(w, 200, jsonType, `{"data":[],"next":null}`)
		default:
			t.Errorf("a request to %s", r.URL.Path)
		}
	}), func(s *Settings) { s.Workspace = "team" })
	if info, err := c.Probe(t.Context()); err != nil || !info.Enterprise() {
		t.Errorf("got %+v, %v", info, err)
	}
	inside = http.StatusNotFound
	_, err := c.Probe(t.Context())
	wantReason(t, err, Denied)
}

func TestAtLeast(t *testing.T) {
	tests := []struct {
		version      string
		major, minor int
		want         bool
	}{
		{"3.9.1", 3, 9, true},
		{"3.9.1", 3, 10, false},
		{"3.10.0", 3, 9, true},
		{"3.9.1", 2, 99, true},
		{"3.9.1", 4, 0, false},
		{"3.4.3.1", 3, 4, true},
		{"3.4.3.1-enterprise-edition", 3, 2, true},
		{"2.8.1.4-enterprise-edition", 3, 2, false},
		{"3.10.0.0-rc.1", 3, 10, true},
		{"4.0.0-dev", 3, 2, true},
		{"", 0, 0, false},
		{"nightly", 0, 0, false},
		{"3.9.1", -1, 0, false},
	}
	for _, tt := range tests {
		if got := (Info{Version: tt.version}).AtLeast(tt.major, tt.minor); got != tt.want {
			t.Errorf("%q at least %d.%d: got %v", tt.version, tt.major, tt.minor, got)
		}
	}
}

func TestEdition(t *testing.T) {
	tests := []struct{ version, said, want string }{
		{"3.9.1", "community", "community"},
		{"3.9.1.0", "enterprise", "enterprise"},
		{"2.8.1.4-enterprise-edition", "", "enterprise"},
		{"2.8.1.4", "", "enterprise"},
		{"2.8.1", "", "community"},
	}
	for _, tt := range tests {
		if got := edition(tt.version, tt.said); got != tt.want {
			t.Errorf("%q, %q: got %q", tt.version, tt.said, got)
		}
	}
}

func TestProbeOfOddRoots(t *testing.T) {
	for _, available := range []string{`[]`, `null`, `"x"`} {
		c := newClient(t, answering(t, 200, jsonType, `{"version":"3.9.1","configuration":{"database":"postgres"},"plugins":{"available_on_server":`+available+`}}`))
		info, err := c.Probe(t.Context())
		if err != nil || info.Installed != "null" || info.Edition != editionCommunity {
			t.Errorf("%s: got %+v, %v", available, info, err)
		}
	}
	long := strings.Repeat("9", 1000)
	c := newClient(t, answering(t, 200, jsonType, `{"version":"`+long+`","node_id":"`+long+`","configuration":{"database":"postgres"}}`))
	info, err := c.Probe(t.Context())
	if err != nil || len(info.Version) > maxVersion || len(info.NodeID) > maxWord {
		t.Errorf("got %+v, %v", info, err)
	}
}

func TestClusterKey(t *testing.T) {
	key := func(database, host, port, name, schema string) string {
		body := `{"version":"3.9.1","configuration":{"database":"` + database + `","pg_host":` + host + `,"pg_port":` + port + `,"pg_database":` + name + `,"pg_schema":` + schema + `}}`
		info, err := newClient(t, answering(t, 200, jsonType, body)).Probe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(info.ClusterKey, "kong") || strings.Contains(info.ClusterKey, ".") {
			t.Errorf("%s is shown", info.ClusterKey)
		}
		return info.ClusterKey
	}
	first := key("postgres", `"db.ns.svc"`, "5432", `"kong"`, `{}`)
	if len(first) != 32 {
		t.Errorf("got %q", first)
	}
	for _, same := range []string{
		key("postgres", `"DB.ns.svc."`, "5432", `"kong"`, `{}`),
		key("postgres", `"db.ns.svc"`, `"5432"`, `"kong"`, `null`),
	} {
		if same != first {
			t.Errorf("got %q, want %q", same, first)
		}
	}
	different := []string{
		first,
		key("postgres", `"db.other.svc"`, "5432", `"kong"`, `{}`),
		key("postgres", `"10.0.0.1"`, "5432", `"kong"`, `{}`),
		key("postgres", `"db.ns.svc"`, "5433", `"kong"`, `{}`),
		key("postgres", `"db.ns.svc"`, "5432", `"kong2"`, `{}`),
		key("postgres", `"db.ns.svc"`, "5432", `"kong"`, `"x"`),
	}
	slices.Sort(different)
	if n := len(slices.Compact(different)); n != 6 {
		t.Errorf("%d of 6 differ", n)
	}
	for name, nothing := range map[string]string{
		"DB-less":         key("off", `"db.ns.svc"`, "5432", `"kong"`, `{}`),
		"not shown":       key("postgres", `null`, "null", `null`, `null`),
		"an object":       key("postgres", `{}`, "5432", `"kong"`, `{}`),
		"hidden":          key("postgres", `"******"`, "5432", `"kong"`, `{}`),
		"from a vault":    key("postgres", `"{vault://env/pg.host}"`, "5432", `"kong"`, `{}`),
		"loopback":        key("postgres", `"127.0.0.1"`, "5432", `"kong"`, `{}`),
		"localhost":       key("postgres", `"localhost"`, "5432", `"kong"`, `{}`),
		"a relative name": key("postgres", `"kong-postgresql"`, "5432", `"kong"`, `{}`),
		"a socket":        key("postgres", `"/run/postgresql.sock"`, "5432", `"kong"`, `{}`),
	} {
		if nothing != "" {
			t.Errorf("%s: got %q", name, nothing)
		}
	}
}
