package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// object is a JSON object.
type object = map[string]any

// Admin is an HTTP client of an Admin API for one fact. It records the entities that
// it creates and deletes them after the test.
type Admin struct {
	base   string
	prefix string // of every name and tag
	client *http.Client

	mu      sync.Mutex
	created []string // paths, in order
}

// Answer is a response of the Admin API.
type Answer struct {
	Status int
	Header http.Header
	Raw    string
	Body   object // nil unless the body is a JSON object
}

func newAdmin(t *testing.T, base string) *Admin {
	a := &Admin{
		base:   strings.TrimSuffix(base, "/"),
		prefix: "contract-" + uuid.NewString()[:8],
		client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	t.Cleanup(func() { a.cleanUp(t) })
	return a
}

// Do sends a request. A string or nil body is sent as it is; anything else as JSON.
// Headers are name, value, name, value.
func (a *Admin) Do(t *testing.T, method, path string, body any, headers ...string) Answer {
	t.Helper()
	req := a.request(t, method, path, body)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := a.client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	ans := Answer{Status: resp.StatusCode, Header: resp.Header, Raw: string(raw)}
	if json.Unmarshal(raw, &ans.Body) != nil {
		ans.Body = nil
	}
	a.remember(method, path, ans)
	return ans
}

func (a *Admin) request(t *testing.T, method, path string, body any) *http.Request {
	t.Helper()
	var r io.Reader = http.NoBody
	contentType := "application/json"
	switch b := body.(type) {
	case nil:
		contentType = ""
	case string:
		r = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		r = bytes.NewReader(raw)
	}
	req, err := http.NewRequest(method, a.base, r)
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Opaque = req.URL.Path + path // as it is, with malformed escapes
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return req
}

// remember records an entity that a write may have created.
func (a *Admin) remember(method, path string, ans Answer) {
	id, _ := ans.Body["id"].(string)
	if (method != http.MethodPost && method != http.MethodPut) || ans.Status > 299 || id == "" {
		return
	}
	for _, collection := range []string{"plugins", "routes", "services", "consumers"} {
		segments := strings.Split(strings.SplitN(path, "?", 2)[0], "/")
		if last := len(segments) - 1; segments[last] == collection || last > 1 && segments[last-1] == collection {
			a.recordCreated("/" + collection + "/" + id)
			return
		}
	}
}

func (a *Admin) recordCreated(path string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.created = append(a.created, path)
}

// cleanUp deletes in reverse order: routes before their service.
func (a *Admin) cleanUp(t *testing.T) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, path := range slices.Backward(a.created) {
		req := a.request(t, http.MethodDelete, path, nil)
		resp, err := a.client.Do(req)
		if err != nil {
			continue // the gateway is gone, and so is what was in it
		}
		_ = resp.Body.Close()
	}
}

// Name makes a name unique to this fact.
func (a *Admin) Name(s string) string { return a.prefix + "." + s }

// ID is a new ID.
func (a *Admin) ID() string { return uuid.NewString() }

// Service creates a service and returns its ID and name.
func (a *Admin) Service(t *testing.T, name string) (id, fullName string) {
	t.Helper()
	body := object{"name": a.Name(name), "url": "http://127.0.0.1:9"}
	return text(a.Must(t, 201, "POST", "/services", body).Body["id"]), a.Name(name)
}

// Route creates a route of a service and returns its ID.
func (a *Admin) Route(t *testing.T, service, name string) string {
	t.Helper()
	body := object{"name": a.Name(name), "paths": []string{"/" + a.Name(name)}}
	return text(a.Must(t, 201, "POST", "/services/"+service+"/routes", body).Body["id"])
}

// Consumer creates a consumer and returns its ID.
func (a *Admin) Consumer(t *testing.T, name string) string {
	t.Helper()
	body := object{"username": a.Name(name), "custom_id": a.Name(name) + "-custom"}
	return text(a.Must(t, 201, "POST", "/consumers", body).Body["id"])
}

// Must is Do with an expected status.
func (a *Admin) Must(t *testing.T, status int, method, path string, body any, headers ...string) Answer {
	t.Helper()
	ans := a.Do(t, method, path, body, headers...)
	if ans.Status != status {
		t.Fatalf("%s %s: status %d, want %d: %s", method, path, ans.Status, status, ans.Raw)
	}
	return ans
}

// text prints a value that is expected to be a string.
func text(v any) string { return fmt.Sprint(v) }

// ref is a reference by ID.
func ref(id string) object { return object{"id": id} }

// rateLimiting is a rate-limiting plugin of a service; more overrides its fields.
func rateLimiting(service string, more ...object) object {
	p := object{"name": "rate-limiting", "config": object{"minute": 5, "policy": "local"}, "service": ref(service)}
	for _, m := range more {
		for k, v := range m {
			p[k] = v
		}
	}
	return p
}

func config(ans Answer) object {
	c, _ := ans.Body["config"].(map[string]any)
	return c
}

// equal compares two values as JSON.
func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(normal(t, want), normal(t, got)); d != "" {
		t.Errorf("%s: want (-), got (+):\n%s", what, d)
	}
}

func normal(t *testing.T, v any) any {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// ids are the IDs of a list, in its order.
func ids(ans Answer) []string {
	var out []string
	list, _ := ans.Body["data"].([]any)
	for _, e := range list {
		out = append(out, text(e.(map[string]any)["id"]))
	}
	return out
}

// sorted are the elements of a set, sorted.
func sorted(v any) []string {
	var out []string
	list, _ := v.([]any)
	for _, e := range list {
		out = append(out, text(e))
	}
	slices.Sort(out)
	return out
}
