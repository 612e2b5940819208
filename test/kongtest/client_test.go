package kongtest

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// client sends requests on connections of their own, so that nothing is repeated
// behind the test's back.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

type answer struct {
	status int
	header http.Header
	body   map[string]any
	raw    string
	err    error // of the request, or of reading the body
}

func do(t testing.TB, s *Server, method, path, body string, headers ...string) answer {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, s.URL()+path, r)
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	a := answer{status: resp.StatusCode, header: resp.Header, raw: string(b), err: err}
	if err == nil && len(b) > 0 && json.Unmarshal(b, &a.body) != nil {
		a.body = nil
	}
	return a
}

func want(t testing.TB, a answer, status int) answer {
	t.Helper()
	if a.err != nil {
		t.Fatalf("no answer: %v", a.err)
	}
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, a.raw)
	}
	return a
}

func wantDropped(t testing.TB, a answer) {
	t.Helper()
	if a.err == nil {
		t.Fatalf("answered %d, want a closed connection", a.status)
	}
}

const (
	id1  = "00000000-0000-4000-8000-000000000101"
	id2  = "00000000-0000-4000-8000-000000000102"
	cors = `{"name":"cors","id":"` + id1 + `"}`
)

// expectPlugin checks whether the plugin id1 is there.
func expectPlugin(t testing.TB, s *Server, there bool) {
	t.Helper()
	if got := s.Plugin(id1) != nil; got != there {
		t.Fatalf("plugin is there: %v, want %v", got, there)
	}
}
