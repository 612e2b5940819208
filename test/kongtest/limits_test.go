package kongtest

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestRateLimit(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := Start(t, WithClock(func() time.Time { return now }), WithRateLimit(5, 2))
	statuses := func(n int) (list []int) {
		for range n {
			list = append(list, do(t, s, "GET", "/plugins", "").status)
		}
		return list
	}
	if got := statuses(3); got[0] != 200 || got[1] != 200 || got[2] != 429 {
		t.Fatalf("a burst of 2: %v", got)
	}
	a := want(t, do(t, s, "POST", "/plugins", cors), 429)
	if a.header.Get("Retry-After") != "1" || a.body["message"] != "API rate limit exceeded" {
		t.Errorf("%v %s", a.header, a.raw)
	}
	expectPlugin(t, s, false)
	now = now.Add(200 * time.Millisecond)
	if got := statuses(2); got[0] != 200 || got[1] != 429 {
		t.Errorf("after a fifth of a second: %v", got)
	}
	s.SetRateLimit(0, 0)
	if got := statuses(5); got[4] != 200 {
		t.Errorf("without a limit: %v", got)
	}
	if n := s.Journal().Count("GET", "/plugins"); n != 10 {
		t.Errorf("%d requests in the journal", n)
	}
}

func TestDatabaseReadOnly(t *testing.T) {
	s := Start(t)
	want(t, do(t, s, "POST", "/plugins", cors), 201)
	s.SetDatabaseReadOnly(true)
	for _, step := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/plugins/" + id1, "", 200},
		{"GET", "/plugins", "", 200},
		{"POST", "/plugins", `{"name":"jwt"}`, 500},
		{"POST", "/plugins", cors, 500},
		{"POST", "/plugins", `{"name":"nope"}`, 400},
		{"PUT", "/plugins/" + id1, `{"name":"cors"}`, 500},
		{"PATCH", "/plugins/" + id1, `{"enabled":false}`, 500},
		{"DELETE", "/plugins/" + id1, "", 500},
		{"DELETE", "/plugins/" + id2, "", 204},
	} {
		a := want(t, do(t, s, step.method, step.path, step.body), step.status)
		if step.status == 500 && a.body["message"] != "An unexpected error occurred" {
			t.Errorf("%s %s: %s", step.method, step.path, a.raw)
		}
	}
	status := do(t, s, "GET", "/status", "").body["database"].(map[string]any)
	if status["reachable"] != true {
		t.Errorf("status %v", status)
	}
	s.SetDatabaseReadOnly(false)
	want(t, do(t, s, "DELETE", "/plugins/"+id1, ""), 204)
}

// TestReadOnlyWhileLocked: a write that waits for the lock is refused, too.
func TestReadOnlyWhileLocked(t *testing.T) {
	s := Start(t, WithDatabaseTimeout(soon))
	s.SetDatabaseLocked(true)
	want(t, do(t, s, "POST", "/plugins", cors), 500)
	s.SetDatabaseReadOnly(true)
	s.SetDatabaseLocked(false)
	expectPlugin(t, s, false)
}

func TestEndlessList(t *testing.T) {
	for _, path := range []string{"/plugins?size=2&tags=a", "/services?size=2", "/routes?size=2", "/consumers?size=2"} {
		s := Start(t)
		s.Inject(Fault{Kind: EndlessList})
		seen := map[string]bool{}
		next := path
		for range 50 {
			a := want(t, do(t, s, "GET", next, ""), 200)
			data, _ := a.body["data"].([]any)
			for _, e := range data {
				seen[str(e.(map[string]any)["id"])] = true
			}
			if len(data) != 2 || a.body["offset"] == nil {
				t.Fatalf("%s: %s", next, a.raw)
			}
			next = str(a.body["next"])
		}
		if len(seen) != 100 {
			t.Errorf("%s: %d IDs in 100 rows", path, len(seen))
		}
		if q, err := url.Parse(next); err != nil || q.Query().Get("size") != "2" || strings.Contains(path, "tags") != q.Query().Has("tags") {
			t.Errorf("%s: next %s", path, next)
		}
		want(t, do(t, s, "POST", "/plugins", cors), 201)
		want(t, do(t, s, "GET", "/plugins/"+id1, ""), 200)
	}
}

func TestGiantPage(t *testing.T) {
	const size = 1 << 20
	s := Start(t)
	s.Inject(Fault{Kind: GiantPage, Method: "GET", Template: "/plugins", Bytes: size})
	a := want(t, do(t, s, "GET", "/plugins", ""), 200)
	if data, _ := a.body["data"].([]any); len(a.raw) < size || len(a.raw) > size+4096 || len(data) < 100 || a.body["next"] != nil {
		t.Errorf("%d bytes, %d rows, next %v", len(a.raw), len(data), a.body["next"])
	}
	if !json.Valid([]byte(a.raw)) || a.header.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Errorf("not a page: %v", a.header)
	}
}

// TestBackendUnavailable: some requests, not all, and no answer of Kong's.
func TestBackendUnavailable(t *testing.T) {
	const requests, share = 400, 0.3
	s := Start(t, WithSeed(1))
	remove := s.Inject(BackendUnavailable(share))
	refused := 0
	for range requests {
		a := do(t, s, "GET", "/status", "")
		if a.status != 503 {
			continue
		}
		refused++
		if a.header.Get("Server") != "" || a.header.Get("Content-Type") != "text/html" || !strings.Contains(a.raw, "No server is available") {
			t.Fatalf("%v %s", a.header, a.raw)
		}
	}
	if refused < requests*share/2 || refused > requests*share*3/2 {
		t.Errorf("%d of %d requests refused", refused, requests)
	}
	remove()
	want(t, do(t, s, "GET", "/status", ""), 200)
}
