package adminapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

func seedID(t testing.TB, srv *kongtest.Server, entity string, body map[string]any) string {
	t.Helper()
	id, ok := srv.Seed(entity, body)["id"].(string)
	if !ok {
		t.Fatalf("a %s without an id", entity)
	}
	return id
}

func TestLifeOfAPlugin(t *testing.T) {
	srv := kongtest.Start(t)
	service := seedID(t, srv, "services", map[string]any{"name": "payments", "url": "http://up:80"})
	c := probed(t, srv.URL())

	want := rateLimiting()
	want.InstanceName = "k8s.cluster.ns.name"
	want.Scope.ServiceID = service
	want.Tags = []string{"managed-by:plugin-binding-operator", "k8s-name:name"}
	want.ID = id2 // is not sent
	made, err := c.Create(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	if made.ID == id2 || made.CreatedAt == 0 || made.UpdatedAt == 0 || made.Config["minute"] != 5.0 {
		t.Errorf("got %+v", made)
	}
	want.ID, want.Protocols = made.ID, []string{"grpc", "grpcs", "http", "https"}
	sets := cmpopts.SortSlices(strings.Compare)
	diff := cmp.Diff(want, made, sets, cmpopts.IgnoreFields(plugin.Plugin{}, "Config", "CreatedAt", "UpdatedAt"))
	if diff != "" {
		t.Error(diff)
	}

	for name, get := range map[string]func() (plugin.Plugin, error){
		"id":            func() (plugin.Plugin, error) { return c.PluginByID(t.Context(), strings.ToUpper(made.ID)) },
		"instance_name": func() (plugin.Plugin, error) { return c.PluginByInstanceName(t.Context(), made.InstanceName) },
		"scope":         func() (plugin.Plugin, error) { return c.PluginAt(t.Context(), "rate-limiting", want.Scope) },
	} {
		got, err := get()
		if diff := cmp.Diff(made, got, sets); err != nil || diff != "" {
			t.Errorf("by %s: %v\n%s", name, err, diff)
		}
	}

	_, err = c.Create(t.Context(), want)
	if e := failure(t, err, Conflict); e.Code != codeUnique || len(e.Fields) == 0 {
		t.Errorf("got %+v", e)
	}

	changed := made
	changed.Config = map[string]any{"minute": 7.0}
	changed.Scope = plugin.Scope{}
	put, err := c.Put(t.Context(), changed)
	if err != nil || put.ID != made.ID || put.Config["minute"] != 7.0 || put.Scope != changed.Scope || put.CreatedAt != made.CreatedAt {
		t.Errorf("got %+v, %v", put, err)
	}

	for range 2 { // a second time is no error either
		if err := c.Delete(t.Context(), made.ID); err != nil {
			t.Fatal(err)
		}
	}
	for name, get := range map[string]func() (plugin.Plugin, error){
		"id":            func() (plugin.Plugin, error) { return c.PluginByID(t.Context(), made.ID) },
		"instance_name": func() (plugin.Plugin, error) { return c.PluginByInstanceName(t.Context(), made.InstanceName) },
		"scope":         func() (plugin.Plugin, error) { return c.PluginAt(t.Context(), "rate-limiting", plugin.Scope{}) },
	} {
		if _, err := get(); !IsNotFound(err) {
			t.Errorf("by %s: got %v", name, err)
		}
	}
	if again, err := c.Put(t.Context(), put); err != nil || again.ID != made.ID {
		t.Errorf("the same ID does not come back: %+v, %v", again, err)
	}
}

func TestRefusedWrites(t *testing.T) {
	srv := kongtest.Start(t)
	c := probed(t, srv.URL())
	bad := rateLimiting()
	bad.Config = map[string]any{"minute": "five"}
	_, err := c.Create(t.Context(), bad)
	e := failure(t, err, Rejected)
	if diff := cmp.Diff([]FieldError{{"config.minute", "expected a number"}}, e.Fields); diff != "" {
		t.Error(diff)
	}
	orphan := rateLimiting()
	orphan.Scope.ServiceID = id1
	_, err = c.Create(t.Context(), orphan)
	wantReason(t, err, ReferenceMissing)
	grouped := rateLimiting()
	grouped.Scope.ConsumerGroupID = id1
	_, err = c.Create(t.Context(), grouped)
	e = failure(t, err, Rejected)
	if diff := cmp.Diff([]FieldError{{"consumer_group", "unknown field"}}, e.Fields); diff != "" {
		t.Error(diff)
	}
}

// TestWritesInDoubt: a write that Kong may have applied, or may still apply, is UnknownOutcome.
func TestWritesInDoubt(t *testing.T) {
	tests := []struct {
		name, reason string
		fault        kongtest.Fault
		written      bool
	}{
		{"answer lost", "it was done", kongtest.Fault{Method: "POST", Kind: kongtest.DropAfter}, true},
		{"connection lost", "it was not, but who knows", kongtest.Fault{Method: "POST", Kind: kongtest.DropBefore}, false},
		{"500 and done", "Kong's database was slow", kongtest.Fault{Method: "POST", Kind: kongtest.AnswerAfter, Status: 500}, true},
		{"500", "it was not, but who knows", kongtest.Fault{Method: "POST", Kind: kongtest.Answer, Status: 500}, false},
		{"truncated", "it was done, the ID is lost", kongtest.Fault{Method: "POST", Kind: kongtest.Truncate}, true},
		{"201 without an ID", "look", kongtest.Fault{Method: "POST", Kind: kongtest.AnswerAfter, Status: 201, Body: `{"name":"rate-limiting"}`}, true},
		{"201 empty", "look", kongtest.Fault{Method: "POST", Kind: kongtest.AnswerAfter, Status: 201, Body: `null`}, true},
		{"201 in HTML", "look", kongtest.Fault{Method: "POST", Kind: kongtest.AnswerAfter, Status: 201, Body: htmlBody}, true},
		{"204", "not what Kong answers to that", kongtest.Fault{Method: "POST", Kind: kongtest.AnswerAfter, Status: 204}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := kongtest.Start(t)
			c := probed(t, srv.URL())
			srv.Inject(tt.fault)
			_, err := c.Create(t.Context(), rateLimiting())
			wantReason(t, err, UnknownOutcome)
			if written := len(srv.Journal().Writes()) == 1; written != tt.written {
				t.Errorf("%s: written: %v", tt.reason, written)
			}
		})
	}
}

func TestPluginsByTags(t *testing.T) {
	srv := kongtest.Start(t)
	var services []string
	for i := range 7 {
		services = append(services, seedID(t, srv, "services", map[string]any{"name": fmt.Sprintf("s%d", i), "url": "http://up:80"}))
		tags := []string{"a:1", "b c"}
		if i%2 == 1 {
			tags = tags[:1]
		}
		srv.Seed("plugins", map[string]any{"name": "cors", "service": map[string]any{"id": services[i]}, "tags": tags})
	}
	c := probed(t, srv.URL())
	for want, tags := range map[int][]string{7: {"a:1"}, 4: {"a:1", "b c"}, 0: {"a:1", "other"}} {
		got, err := c.PluginsByTags(t.Context(), tags)
		if err != nil || len(got) != want {
			t.Errorf("%q: got %d, %v", tags, len(got), err)
		}
	}
	for _, tags := range [][]string{nil, {"1", "2", "3", "4", "5", "6"}, {""}, {"a,b"}, {"a/b"}, {"a\n"}, {"\xff"}} {
		_, err := c.PluginsByTags(t.Context(), tags)
		wantReason(t, err, Invalid)
	}
}

// pages serves lists like Kong, with size rows per page whatever the client requests.
type pages struct {
	rows []map[string]any
	size int
	// asked holds the queries of the requests.
	asked []url.Values
	// spoil changes the body of page n.
	spoil func(n int, body map[string]any) any
}

func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := len(p.asked)
	p.asked = append(p.asked, r.URL.Query())
	from := 0
	_, _ = fmt.Sscan(r.URL.Query().Get("offset"), &from)
	to := min(from+p.size, len(p.rows))
	body := map[string]any{"data": p.rows[from:to], "next": nil}
	if to < len(p.rows) {
		body["next"] = r.URL.Path + "?offset=" + fmt.Sprint(to) // no size, no tags
		body["offset"] = fmt.Sprint(to)
	}
	var out any = body
	if p.spoil != nil {
		out = p.spoil(n, body)
	}
	b, err := json.Marshal(out)
	if err != nil {
		panic(err)
	}
	write(w, http.StatusOK, jsonType, string(b))
}

func manyPlugins(n int) []map[string]any {
	var rows []map[string]any
	for i := range n {
		rows = append(rows, wire(fmt.Sprintf("00000000-0000-4000-8000-%012d", i), fmt.Sprintf("p%d", i), map[string]any{"tags": []string{"t"}}))
	}
	return rows
}

func TestPages(t *testing.T) {
	p := &pages{rows: manyPlugins(25), size: 10}
	c := trusting(t, serve(t, p.ServeHTTP))
	got, err := c.PluginsByTags(t.Context(), []string{"t"})
	if err != nil || len(got) != 25 {
		t.Fatalf("got %d, %v", len(got), err)
	}
	for i, q := range p.asked {
		want := url.Values{"size": {"1000"}, "tags": {"t"}}
		if i > 0 {
			want.Set("offset", fmt.Sprint(10*i))
		}
		if diff := cmp.Diff(want, q); diff != "" {
			t.Errorf("page %d: %s", i, diff)
		}
	}

	p.asked = nil
	if _, err := c.PluginAt(t.Context(), "p3", plugin.Scope{}); err != nil || len(p.asked) != 1 {
		t.Errorf("a match on the first page: %v after %d pages", err, len(p.asked))
	}
	if _, err := c.PluginAt(t.Context(), "p24", plugin.Scope{}); err != nil {
		t.Errorf("a match on the last page: %v", err)
	}
	_, err = c.PluginAt(t.Context(), "p25", plugin.Scope{})
	wantReason(t, err, NotFound)
	c.notFoundTrusted.Store(false)
	_, err = c.PluginAt(t.Context(), "p25", plugin.Scope{})
	wantReason(t, err, Unavailable)
}

// TestFilterIsChecked: the client drops rows that do not match, in case a proxy drops the filter.
func TestFilterIsChecked(t *testing.T) {
	p := &pages{rows: append(manyPlugins(3), wire(id1, "cors")), size: 10}
	c := trusting(t, serve(t, p.ServeHTTP))
	got, err := c.PluginsByTags(t.Context(), []string{"t"})
	if err != nil || len(got) != 3 {
		t.Errorf("got %d, %v", len(got), err)
	}
}

// TestBrokenLists: an incomplete list proves nothing.
func TestBrokenLists(t *testing.T) {
	on := func(page int, f func(map[string]any) any) func(int, map[string]any) any {
		return func(n int, body map[string]any) any {
			if n == page {
				return f(body)
			}
			return body
		}
	}
	with := func(key string, v any) func(map[string]any) any {
		return func(body map[string]any) any { body[key] = v; return body }
	}
	without := func(key string) func(map[string]any) any {
		return func(body map[string]any) any { delete(body, key); return body }
	}
	tests := []struct {
		name, reason string
		spoil        func(int, map[string]any) any
	}{
		{"no data", "not a list", on(1, without("data"))},
		{"null data", "not a list", on(1, with("data", nil))},
		{"data is an object", "not a list", on(1, with("data", map[string]any{}))},
		{"no next", "it does not say whether it ends", on(0, without("next"))},
		{"next without an offset", "it does not say where it goes on", on(0, without("offset"))},
		{"offset without next", "which is it", on(0, with("next", nil))},
		{"null", "not a list", on(1, func(map[string]any) any { return nil })},
		{"a row without an id", "who is it", on(1, with("data", []any{map[string]any{"name": "x"}}))},
		{"a null row", "who is it", on(1, with("data", []any{nil}))},
		{"in a circle", "it never ends", func(_ int, b map[string]any) any { b["next"], b["offset"] = "/plugins?offset=0", "0"; return b }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := &pages{rows: manyPlugins(25), size: 10, spoil: tt.spoil}
			c := trusting(t, serve(t, p.ServeHTTP))
			_, err := c.PluginAt(t.Context(), "none", plugin.Scope{})
			wantReason(t, err, Unavailable)
			p.asked = nil
			got, err := c.PluginsByTags(t.Context(), []string{"t"})
			if wantReason(t, err, Unavailable); got != nil {
				t.Errorf("%s: got %d plugins with it", tt.reason, len(got))
			}
		})
	}
	t.Run("a page that fails", func(t *testing.T) {
		p := &pages{rows: manyPlugins(25), size: 10}
		c := trusting(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
			if len(p.asked) == 2 {
				write(w, 500, jsonType, errorBody)
				return
			}
			p.ServeHTTP(w, r)
		}))
		_, err := c.PluginAt(t.Context(), "none", plugin.Scope{})
		wantReason(t, err, Unavailable)
	})
}

func TestPluginAt(t *testing.T) {
	srv := kongtest.Start(t, kongtest.WithEnterprise())
	ref := func(id string) map[string]any { return map[string]any{"id": id} }
	service := seedID(t, srv, "services", map[string]any{"name": "s", "url": "http://up:80"})
	route := seedID(t, srv, "routes", map[string]any{"name": "r", "paths": []any{"/r"}, "service": ref(service)})
	consumer := seedID(t, srv, "consumers", map[string]any{"username": "alice"})
	group := seedID(t, srv, "consumer_groups", map[string]any{"name": "gold"})
	scopes := []plugin.Scope{
		{}, {ServiceID: service}, {RouteID: route}, {ConsumerID: consumer}, {ConsumerGroupID: group},
		{ServiceID: service, RouteID: route}, {ServiceID: service, ConsumerID: consumer},
		{RouteID: route, ConsumerID: consumer}, {ServiceID: service, RouteID: route, ConsumerID: consumer},
		{ServiceID: service, ConsumerGroupID: group},
	}
	c := probed(t, srv.URL())
	ids := map[string]plugin.Scope{}
	for _, scope := range scopes {
		p := rateLimiting()
		p.Scope = scope
		_, err := c.PluginAt(t.Context(), p.Name, scope)
		wantReason(t, err, NotFound)
		made, err := c.Create(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		ids[made.ID] = scope
	}
	for id, scope := range ids {
		got, err := c.PluginAt(t.Context(), "rate-limiting", scope)
		if err != nil || got.ID != id {
			t.Errorf("%+v: got %+v, %v", scope, got, err)
		}
		_, err = c.PluginAt(t.Context(), "cors", scope)
		wantReason(t, err, NotFound)
	}
	for _, scope := range []plugin.Scope{{ServiceID: id1}, {RouteID: id1}, {ConsumerID: id1}, {ConsumerGroupID: id1}} {
		_, err := c.PluginAt(t.Context(), "cors", scope)
		wantReason(t, err, ReferenceMissing)
	}
	for _, scope := range []plugin.Scope{{ServiceID: "x"}, {ServiceID: service, ConsumerID: "../x"}} {
		_, err := c.PluginAt(t.Context(), "cors", scope)
		wantReason(t, err, Invalid)
	}
	_, err := c.PluginAt(t.Context(), "", plugin.Scope{})
	wantReason(t, err, Invalid)
	upper := plugin.Scope{ServiceID: strings.ToUpper(service)}
	if _, err := c.PluginAt(t.Context(), "rate-limiting", upper); err != nil {
		t.Errorf("an ID in upper case: %v", err)
	}
}

func TestDecode(t *testing.T) {
	c := trusting(t, answering(t, 200, jsonType, toJSON(t, wire(strings.ToUpper(id1), "cors", map[string]any{
		"instance_name":  "i",
		"service":        map[string]any{"id": id2},
		"consumer_group": map[string]any{"id": id1},
		"ordering":       map[string]any{"before": map[string]any{"access": []string{"key-auth"}}, "after": nil},
		"tags":           []any{"a", nil},
		"created_at":     nil,
		"unknown":        1,
	}))))
	got, err := c.PluginByID(t.Context(), id1)
	want := plugin.Plugin{
		ID: id1, Name: "cors", InstanceName: "i", Enabled: true,
		Scope:     plugin.Scope{ServiceID: id2, ConsumerGroupID: id1},
		Protocols: []string{"http", "https"}, Tags: []string{"a"},
		Ordering:  map[string]map[string][]string{"before": {"access": {"key-auth"}}},
		Config:    map[string]any{"minute": 5.0},
		Unknown:   map[string]json.RawMessage{"unknown": json.RawMessage("1")},
		UpdatedAt: 1795383025,
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestOrderingSurvivesAWrite(t *testing.T) {
	c := probed(t, kongtest.Start(t, kongtest.WithEnterprise()).URL())
	p := rateLimiting()
	p.Ordering = map[string]map[string][]string{"after": {"access": {"key-auth"}}}
	made, err := c.Create(t.Context(), p)
	if diff := cmp.Diff(p.Ordering, made.Ordering); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	p.Ordering, p.ID = nil, made.ID
	put, err := c.Put(t.Context(), p)
	if err != nil || put.Ordering != nil {
		t.Errorf("got %+v, %v", put.Ordering, err)
	}
}

func TestInvalidInput(t *testing.T) {
	c := trusting(t, serve(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("a request to %s", r.URL) }))
	ids := []string{"", "x", "../services/payments", id1 + "?size=1", id1 + "/", "{" + id1 + "}", strings.ReplaceAll(id1, "-", "")}
	for _, id := range ids {
		p := rateLimiting()
		p.ID = id
		_, err := c.PluginByID(t.Context(), id)
		wantReason(t, err, Invalid)
		_, err = c.Put(t.Context(), p)
		wantReason(t, err, Invalid)
		wantReason(t, c.Delete(t.Context(), id), Invalid)
	}
	names := []string{"", ".", "..", "a/b", `a\b`, "a%2f", "a?b", "a#b", "a\x00", "a\n", "\u0085", "\xff", id1, strings.ToUpper(id2), strings.Repeat("x", maxName+1)}
	for _, name := range append(slices.Clone(names), "enabled") {
		_, err := c.PluginByInstanceName(t.Context(), name)
		wantReason(t, err, Invalid)
	}
	for _, name := range append(slices.Clone(names), "validate") {
		_, err := c.Schema(t.Context(), name)
		wantReason(t, err, Invalid)
	}
	_, err := c.Create(t.Context(), plugin.Plugin{})
	wantReason(t, err, Invalid)
}
