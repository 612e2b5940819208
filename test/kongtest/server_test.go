package kongtest

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain checks that closed servers leave nothing behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTwoPostsAtOnce(t *testing.T) {
	s := Start(t)
	for round := range 20 {
		s.Truncate()
		statuses := make([]int, 2)
		var wg sync.WaitGroup
		for i := range statuses {
			wg.Go(func() { statuses[i] = do(t, s, "POST", "/plugins", `{"name":"cors"}`).status })
		}
		wg.Wait()
		if statuses[0]+statuses[1] != 201+409 {
			t.Fatalf("round %d: %v, want one 201 and one 409", round, statuses)
		}
		if n := len(s.Plugins()); n != 1 {
			t.Fatalf("round %d: %d plugins", round, n)
		}
	}
}

func TestManyClients(t *testing.T) {
	s := Start(t)
	for i := range 8 {
		s.Seed("services", map[string]any{"name": fmt.Sprint("svc", i), "url": "http://up"})
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 5 {
				body := fmt.Sprintf(`{"name":"cors","service":{"name":"svc%d"},"instance_name":"i%d","tags":["t"]}`, i, i)
				do(t, s, "PUT", fmt.Sprint("/plugins/i", i), body)
				do(t, s, "GET", "/plugins?tags=t&size=3", "")
				do(t, s, "PATCH", fmt.Sprint("/plugins/i", i), `{"enabled":false}`)
				s.Journal().Writes()
				s.Restore(s.Snapshot())
				do(t, s, "DELETE", fmt.Sprint("/plugins/i", i), "")
			}
		})
	}
	wg.Wait()
	if n := len(s.Plugins()); n > 8 {
		t.Fatalf("%d plugins", n)
	}
}

func TestJournal(t *testing.T) {
	s := Start(t)
	s.Seed("services", map[string]any{"name": "svc", "url": "http://up"})
	mark := s.Journal().Mark()
	want(t, do(t, s, "POST", "/services/svc/plugins", cors, "User-Agent", "tester"), 201)
	want(t, do(t, s, "PATCH", "/plugins/"+id1+"?x=1", `{"enabled":false}`), 200)
	want(t, do(t, s, "DELETE", "/services/svc", ""), 204)
	want(t, do(t, s, "GET", "/nope", ""), 404)
	s.Seed("plugins", map[string]any{"name": "cors"})

	e := s.Journal().Since(mark)
	var got []string
	for _, r := range e.Requests {
		got = append(got, fmt.Sprint(r.Method, " ", r.Template, " ", r.Status))
	}
	wantReq := "POST /services/{id}/plugins 201|PATCH /plugins/{id} 200|DELETE /services/{id} 204|GET  404"
	if strings.Join(got, "|") != wantReq {
		t.Fatalf("requests %q", got)
	}
	if r := e.Requests[0]; r.UserAgent != "tester" || r.Path != "/services/svc/plugins" || !r.Done {
		t.Fatalf("request %+v", r)
	}
	if e.Requests[1].Query != "x=1" {
		t.Fatalf("query %q", e.Requests[1].Query)
	}
	checkChanges(t, e)
	if n := s.Journal().Count("PATCH", "/plugins/{id}"); n != 1 {
		t.Fatalf("counted %d", n)
	}
	if n := s.Journal().Count("", ""); n != 4 {
		t.Fatalf("counted %d in all", n)
	}
	s.Journal().Reset()
	if len(s.Journal().Requests())+len(s.Journal().Changes()) != 0 {
		t.Fatal("not empty after Reset")
	}
	if s.Journal().Mark() < mark {
		t.Fatal("marks went back")
	}
}

func checkChanges(t *testing.T, e Entries) {
	t.Helper()
	var got []string
	for _, c := range e.Changes {
		got = append(got, fmt.Sprint(c.Kind, " ", c.Entity, " ", c.Actor, " ", c.Cascade))
	}
	wantChanges := "create plugins api false|update plugins api false|delete plugins api true|" +
		"delete services api false|create plugins backdoor false"
	if strings.Join(got, "|") != wantChanges {
		t.Fatalf("changes %q", got)
	}
	update := e.Changes[1]
	if update.Before["enabled"] != true || update.After["enabled"] != false || update.ID != id1 {
		t.Fatalf("update %+v", update)
	}
	if update.Request != e.Requests[1].Seq || update.Seq < update.Request {
		t.Fatalf("update caused by %d, request is %d", update.Request, e.Requests[1].Seq)
	}
	if n := len(e.Writes()); n != 4 {
		t.Fatalf("%d writes", n)
	}
}

func TestBackdoor(t *testing.T) {
	s := Start(t)
	s.SetDatabaseDown(true) // the back door is always open
	svc := s.Seed("services", map[string]any{"name": "svc", "url": "http://up"})
	s.Seed("routes", map[string]any{"name": "rt", "paths": []string{"/"}, "regex_priority": 1, "service": map[string]string{"name": "svc"}})
	p := s.Seed("plugins", map[string]any{"name": "cors", "route": map[string]any{"name": "rt"}, "instance_name": "mine"})
	if refID(p["route"]) != s.Entity("routes", "rt")["id"] {
		t.Fatalf("route %v", p["route"])
	}
	if e := s.EditPlugin("mine", map[string]any{"tags": []any{"x"}}); len(e["tags"].([]any)) != 1 {
		t.Fatalf("tags %v", e["tags"])
	}
	p["name"] = "changed in the copy"
	if s.Plugin("mine")["name"] != "cors" {
		t.Fatal("the copy was not a copy")
	}
	mustPanic(t, "duplicate seed", func() { s.Seed("services", map[string]any{"name": "svc", "url": "http://up"}) })
	mustPanic(t, "referenced service", func() { s.Delete("services", str(svc["id"])) })
	mustPanic(t, "missing plugin", func() { s.EditPlugin("nope", nil) })
	mustPanic(t, "unknown entity", func() { s.Entities("nope") })
	s.Delete("routes", "rt")
	if s.Plugin("mine") != nil {
		t.Fatal("no cascade")
	}
	s.DeletePlugin("mine")
	s.Delete("services", "svc")
	for _, c := range s.Journal().Changes() {
		if c.Actor != ActorBackdoor {
			t.Fatalf("actor of %+v", c)
		}
	}
	if len(s.Journal().Writes()) != 0 {
		t.Fatal("the back door counts as the API")
	}
}

func mustPanic(t *testing.T, what string, fn func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	fn()
}

func TestSnapshot(t *testing.T) {
	s := Start(t)
	s.Seed("services", map[string]any{"name": "old", "url": "http://up"})
	s.Seed("plugins", map[string]any{"name": "cors", "id": id1, "service": map[string]any{"name": "old"}})
	snap := s.Snapshot()
	s.EditPlugin(id1, map[string]any{"enabled": false})
	s.Seed("plugins", map[string]any{"name": "jwt", "id": id2})
	s.Truncate()
	s.Seed("plugins", map[string]any{"name": "jwt", "id": id2})
	mark := s.Journal().Mark()
	s.Restore(snap)
	if p := s.Plugin(id1); p == nil || p["enabled"] != true || s.Plugin(id2) != nil {
		t.Fatalf("restored %v", s.Plugins())
	}
	if n := len(s.Journal().Since(mark).Changes); n != 3 {
		t.Fatalf("%d changes, want one deletion and two creations", n)
	}
	want(t, do(t, s, "POST", "/services/old/plugins", `{"name":"cors"}`), 409)
	s.Restore(snap)
	if n := len(s.Journal().Since(mark).Changes); n != 3 {
		t.Fatalf("restoring what is there changed something: %d", n)
	}
}

func TestDatabaseLocked(t *testing.T) {
	s := Start(t, WithDatabaseTimeout(20*time.Millisecond))
	s.SetDatabaseLocked(true)
	want(t, do(t, s, "POST", "/plugins", cors), 500)
	want(t, do(t, s, "GET", "/plugins", ""), 200)
	if n := s.DatabaseQueue(); n != 1 {
		t.Fatalf("%d waiting", n)
	}
	expectPlugin(t, s, false)
	s.SetDatabaseLocked(false)
	expectPlugin(t, s, true)
	if w := s.Journal().Writes(); len(w) != 1 || !w[0].Late {
		t.Fatalf("journal %+v", w)
	}
}

func TestDatabaseUnlockedInTime(t *testing.T) {
	s := Start(t, WithDatabaseTimeout(time.Minute))
	s.SetDatabaseLocked(true)
	done := make(chan answer)
	go func() { done <- do(t, s, "POST", "/plugins", cors) }()
	eventually(t, func() bool { return s.DatabaseQueue() == 1 })
	s.SetDatabaseLocked(false)
	want(t, <-done, 201)
	if w := s.Journal().Writes(); len(w) != 1 || w[0].Late {
		t.Fatalf("journal %+v", w)
	}
}

func TestDatabaseStoppedWhileLocked(t *testing.T) {
	s := Start(t, WithDatabaseTimeout(time.Minute))
	s.SetDatabaseLocked(true)
	done := make(chan answer)
	go func() { done <- do(t, s, "POST", "/plugins", cors) }()
	eventually(t, func() bool { return s.DatabaseQueue() == 1 })
	s.SetDatabaseDown(true)
	want(t, <-done, 500)
	s.SetDatabaseDown(false)
	s.SetDatabaseLocked(false)
	expectPlugin(t, s, false)
}

func TestCloseWhileBusy(t *testing.T) {
	s := New(WithDatabaseTimeout(time.Minute))
	s.SetDatabaseLocked(true)
	s.Inject(Fault{Method: "GET", Kind: Delay, Delay: time.Minute})
	done := make(chan answer)
	go func() { done <- do(t, s, "POST", "/plugins", cors) }()
	go func() { done <- do(t, s, "GET", "/plugins", "") }()
	eventually(t, func() bool { return s.DatabaseQueue() == 1 && s.Journal().Count("GET", "") == 1 })
	s.Close()
	s.Close()
	for range 2 {
		<-done
	}
}

func TestSeedMakesItRepeatable(t *testing.T) {
	clock := func() time.Time { return time.Unix(1700000000, 999) }
	body := `{"name":"cors","tags":["a","b","c","d","e"]}`
	a, b := Start(t, WithSeed(7), WithClock(clock)), Start(t, WithSeed(7), WithClock(clock))
	first, second := want(t, do(t, a, "POST", "/plugins", body), 201), want(t, do(t, b, "POST", "/plugins", body), 201)
	if first.raw != second.raw {
		t.Fatalf("%s\n%s", first.raw, second.raw)
	}
	if first.body["created_at"] != 1700000000.0 {
		t.Fatalf("created_at %v", first.body["created_at"])
	}
	if c := want(t, do(t, Start(t), "POST", "/plugins", body), 201); c.body["id"] == first.body["id"] {
		t.Fatal("two servers make the same IDs")
	}
}

func TestToken(t *testing.T) {
	s := Start(t, WithToken("Kong-Admin-Token", "s3cret"))
	if a := want(t, do(t, s, "GET", "/plugins", ""), 401); a.body["message"] != "Invalid RBAC credentials" {
		t.Fatalf("got %s", a.raw)
	}
	want(t, do(t, s, "GET", "/plugins", "", "Kong-Admin-Token", "wrong"), 401)
	want(t, do(t, s, "GET", "/plugins", "", "Kong-Admin-Token", "s3cret"), 200)
}

func TestVersion(t *testing.T) {
	s := Start(t, WithVersion("3.4.0"))
	s.SetVersion("3.9.2")
	a := want(t, do(t, s, "GET", "/", ""), 200)
	if a.body["version"] != "3.9.2" || a.header.Get("Server") != "kong/3.9.2" {
		t.Fatalf("version %v, server %q", a.body["version"], a.header.Get("Server"))
	}
}

func TestDisablePlugin(t *testing.T) {
	s := Start(t)
	s.Seed("plugins", map[string]any{"name": "cors", "id": id1})
	s.DisablePlugin("cors")
	a := want(t, do(t, s, "POST", "/plugins", `{"name":"cors"}`), 400)
	if !strings.Contains(a.raw, "plugin 'cors' not enabled") {
		t.Fatalf("got %s", a.raw)
	}
	want(t, do(t, s, "GET", "/schemas/plugins/cors", ""), 404)
	want(t, do(t, s, "GET", "/plugins/"+id1, ""), 200)
	if strings.Contains(want(t, do(t, s, "GET", "/plugins/enabled", ""), 200).raw, `"cors"`) {
		t.Fatal("still enabled")
	}
}

func TestConditionalHeaders(t *testing.T) {
	s := Start(t)
	if a := want(t, do(t, s, "PUT", "/plugins/"+id1, `{"name":"cors"}`, "If-None-Match", "*"), 304); a.raw != "" {
		t.Fatalf("body %q", a.raw)
	}
	expectPlugin(t, s, true)
	want(t, do(t, s, "PATCH", "/plugins/"+id1, `{"enabled":false}`, "If-Match", `"x"`), 412)
	if s.Plugin(id1)["enabled"] != false {
		t.Fatal("the write was not done")
	}
}

func TestWorkspaces(t *testing.T) {
	s := Start(t, WithWorkspace("team-a"))
	want(t, do(t, s, "POST", "/team-a/plugins", cors), 201)
	want(t, do(t, s, "GET", "/team-a/plugins/"+id1, ""), 200)
	want(t, do(t, s, "GET", "/plugins/"+id1, ""), 404)
	want(t, do(t, s, "POST", "/default/plugins", `{"name":"cors"}`), 201)
	want(t, do(t, s, "POST", "/plugins", `{"name":"cors"}`), 409)
	want(t, do(t, s, "GET", "/other/plugins", ""), 404)
	want(t, do(t, s, "GET", "/workspaces/team-a", ""), 200)
	if r := s.Journal().Requests()[0]; r.Workspace != "team-a" || r.Template != "/plugins" {
		t.Fatalf("journal %+v", r)
	}
	s.SeedIn("team-a", "consumers", map[string]any{"username": "u"})
	want(t, do(t, s, "GET", "/team-a/consumers/u", ""), 200)
}

func TestEnterprise(t *testing.T) {
	s := Start(t, WithEnterprise())
	root := want(t, do(t, s, "GET", "/", ""), 200)
	if root.body["edition"] != "enterprise" || !strings.Contains(str(root.body["version"]), "enterprise") {
		t.Fatalf("root %v %v", root.body["edition"], root.body["version"])
	}
	want(t, do(t, s, "POST", "/consumer_groups", `{"name":"gold"}`), 201)
	body := `{"name":"rate-limiting","config":{"minute":1},"consumer_group":{"name":"gold"},"ordering":{"before":{"access":["cors"]}}}`
	p := want(t, do(t, s, "POST", "/plugins", body), 201)
	if refID(p.body["consumer_group"]) == "" || p.body["ordering"] == nil {
		t.Fatalf("plugin %s", p.raw)
	}
	want(t, do(t, s, "POST", "/plugins", body), 409)
	want(t, do(t, s, "POST", "/plugins", `{"name":"rate-limiting","config":{"minute":1}}`), 201)
	want(t, do(t, s, "PATCH", "/plugins/"+str(p.body["id"]), `{"ordering":null}`), 200)
	want(t, do(t, s, "DELETE", "/consumer_groups/gold", ""), 204)
	want(t, do(t, s, "GET", "/plugins/"+str(p.body["id"]), ""), 404)
}

func TestFieldsOfNewerEnterprise(t *testing.T) {
	for version, want := range map[string][2]int{"3.9.1.0": {400, 400}, "3.10.0.0": {201, 400}, "3.14.0.0": {201, 201}, "odd": {400, 400}} {
		s := Start(t, WithEnterprise(), WithVersion(version))
		link := do(t, s, "POST", "/plugins", `{"name":"cors","partials":[{"id":"x"}]}`)
		condition := do(t, s, "POST", "/plugins", `{"name":"acl","config":{"allow":["a"]},"condition":"true"}`)
		if link.status != want[0] || condition.status != want[1] {
			t.Errorf("%s: %d %s, %d %s", version, link.status, link.raw, condition.status, condition.raw)
		}
		if link.status == 201 && !strings.Contains(link.raw, `"path":"config.redis"`) {
			t.Errorf("%s: %s", version, link.raw)
		}
	}
}

func TestHandlerWithoutListener(t *testing.T) {
	s := Start(t)
	rec := &recorder{header: http.Header{}}
	req, err := http.NewRequest(http.MethodGet, "/status", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	s.Handler().ServeHTTP(rec, req)
	if rec.status != 200 {
		t.Fatalf("status %d", rec.status)
	}
}

type recorder struct {
	header http.Header
	status int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return len(b), nil }
