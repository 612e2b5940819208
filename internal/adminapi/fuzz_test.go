package adminapi

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// pathTemplates match all paths of this package, as they are on the wire.
var pathTemplates = func() *regexp.Regexp {
	const (
		uuid = `[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`
		// No slash, no backslash, no escaped control character, slash, percent sign...
		name = `([A-Za-z0-9._~!$&'()*@:=-]|%[2-7][0-9A-F]|%[89A-F][0-9A-F])+`
	)
	return regexp.MustCompile(`^/prefix(/` + name + `)?(` + strings.Join([]string{
		`/`, `/status`, `/kong`, `/plugins`, `/plugins/` + uuid, `/plugins/` + name,
		`/(services|routes|consumers|consumer_groups)/` + uuid + `/plugins`,
		`/(services|routes|consumers|consumer_groups)/` + name,
		`/(services|routes|consumers|consumer_groups)`, `/schemas/plugins/` + name,
	}, "|") + `)$`)
}()

// forbidden matches the parts of a path that a proxy in front of Kong could rewrite.
var forbidden = regexp.MustCompile(`(?i)%2f|%5c|%25|%00|%3f|%23|/\.{1,2}(/|$)|//|%2e`)

// FuzzPaths: whatever the IDs, names, tags and workspaces are, requests go only to the paths of
// this package.
func FuzzPaths(f *testing.F) {
	for _, s := range []string{
		id1, "payments", "", ".", "..", "../services/payments", "a?size=1", "a#b", "a%2f..%2fb", `..\x`, "a b", "é", "+", ";x",
		"enabled", "validate", "\x00", "\u2028", "a//b", "/", "%", "a@b:c=d", strings.ToUpper(id2), id1 + "\n", "..;", "$&'(),!*",
	} {
		f.Add(s, s, "team")
		f.Add("x", s, "")
		f.Add(id1, "x", s)
	}
	f.Fuzz(func(t *testing.T, id, name, workspace string) {
		query := map[string]bool{"size": true, "offset": true, "tags": true, "custom_id": true}
		spy := canned(func(r *http.Request) (*http.Response, error) {
			path := r.URL.EscapedPath()
			if !pathTemplates.MatchString(path) || forbidden.MatchString(path) || r.URL.Host != "kong:8001" || r.URL.Fragment != "" {
				t.Errorf("%s %s%s", r.Method, r.URL.Host, path)
			}
			if line := r.URL.RequestURI(); strings.ContainsAny(line, " \r\n#\\") {
				t.Errorf("%s %q", r.Method, line)
			}
			for key := range r.URL.Query() {
				if !query[key] {
					t.Errorf("a parameter %q in %s", key, r.URL)
				}
			}
			if _, err := url.ParseQuery(r.URL.RawQuery); err != nil {
				t.Error(err)
			}
			return newResponse(404, jsonType, notFoundBody), nil
		})
		c, err := New(Settings{AdminURL: "http://kong:8001/prefix/", Workspace: workspace, Transport: spy.wrap}, nil)
		if err != nil {
			if ReasonForError(err) != Invalid {
				t.Error(err)
			}
			return
		}
		c.notFoundTrusted.Store(true)
		everyRequest(t, c, id, name)
	})
}

// everyRequest calls every method. It checks only that each error is an *Error.
func everyRequest(t *testing.T, c *Client, id, name string) {
	t.Helper()
	ctx := t.Context()
	p := plugin.Plugin{ID: id, Name: name, InstanceName: name}
	check := func(_ any, err error) {
		if err != nil {
			wantReason(t, err, ReasonForError(err)) // an *Error
			if text := err.Error(); len(text) > maxErrorText {
				t.Errorf("an error of %d bytes", len(text))
			}
		}
	}
	check(c.PluginByID(ctx, id))
	check(c.PluginByInstanceName(ctx, name))
	check(c.PluginsByTags(ctx, []string{name, id}))
	check(c.PluginAt(ctx, name, plugin.Scope{ServiceID: id}))
	check(c.PluginAt(ctx, name, plugin.Scope{ConsumerID: id1, RouteID: id}))
	check(c.PluginAt(ctx, name, plugin.Scope{ConsumerGroupID: id}))
	check(c.Create(ctx, p))
	check(c.Put(ctx, p))
	check(nil, c.Delete(ctx, id))
	check(nil, c.ValidateConfig(ctx, p))
	check(c.Schema(ctx, name))
	for _, kind := range []EntityKind{Service, Route, Consumer, ConsumerGroup, EntityKind(name)} {
		check(c.Resolve(ctx, kind, EntityRef{ID: id}))
		check(c.Resolve(ctx, kind, EntityRef{Name: name}))
		check(c.Resolve(ctx, kind, EntityRef{Username: name}))
		check(c.Resolve(ctx, kind, EntityRef{CustomID: name}))
	}
	for _, kind := range []EntityKind{Service, Route, Consumer, ConsumerGroup, EntityKind(name)} {
		check(c.Entities(ctx, kind, []EntityRef{{ID: id}, {Name: name}, {Username: name}, {CustomID: name}}))
		check(c.Entities(ctx, kind, manyRefs(kind, name, requestsPerPage)))
	}
	check(c.Probe(ctx))
}

// FuzzDecode: whatever the response is, nothing panics, NotFound needs Kong's own body, and
// success needs the requested ID.
func FuzzDecode(f *testing.F) {
	for _, body := range []string{
		"", "null", "[]", "{}", notFoundBody, uniqueBody, violationBody, foreignBody, dblessBody, errorBody, htmlBody, rootBody,
		`{"data":[],"next":null}`, `{"data":[null],"next":null}`, `{"data":[],"next":"x","offset":"y"}`, `{"fields":[]}`,
		`{"fields":[{"config":{"type":"record","fields":[{"a":{"type":"string"}}]}}]}`,
		`{"id":"` + id1 + `","name":"x"}`, `{"id":"` + id2 + `","name":"x","protocols":[null]}`,
		`{"id":"` + id1 + `","name":"x","service":{},"route":null,"ordering":{"before":null}}`,
		`{"message":"x","code":2,"fields":{"a":[[[{"@entity":{"b":null}}]]]}}`,
	} {
		for _, status := range []int{200, 201, 204, 400, 404, 409, 429, 500} {
			f.Add(status, jsonType, body, true)
		}
		f.Add(404, htmlType, body, false)
	}
	f.Fuzz(func(t *testing.T, status int, contentType, body string, trusted bool) {
		c, err := New(Settings{
			AdminURL:  "http://kong:8001",
			Clock:     jumpingClock{clocktesting.NewFakeClock(time.Unix(1_000_000, 0))},
			Transport: canned(func(*http.Request) (*http.Response, error) { return newResponse(status, contentType, body), nil }).wrap,
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.notFoundTrusted.Store(trusted)
		ctx := t.Context()

		got, err := c.PluginByID(ctx, id1)
		justified(t, status, body, trusted, err)
		if err == nil && (got.ID != id1 || status != 200) {
			t.Errorf("asked for %s, got %+v after %d", id1, got, status)
		}
		got, err = c.PluginByInstanceName(ctx, "x")
		justified(t, status, body, trusted, err)
		if err == nil && (got.InstanceName != "x" || !validID(got.ID)) {
			t.Errorf("got %+v", got)
		}
		got, err = c.Create(ctx, plugin.Plugin{Name: "x"})
		if err == nil && (status != 201 || got.Name != "x" || !validID(got.ID)) {
			t.Errorf("created %+v after %d", got, status)
		}
		got, err = c.Put(ctx, plugin.Plugin{ID: id1, Name: "x"})
		if err == nil && (status != 200 || got.ID != id1 || got.Name != "x") {
			t.Errorf("put %+v after %d", got, status)
		}
		if err := c.Delete(ctx, id1); err == nil && status != 204 {
			t.Errorf("deleted after %d", status)
		}
		entity, err := c.Resolve(ctx, Service, EntityRef{ID: id1})
		justified(t, status, body, trusted, err)
		if err == nil && entity.ID != id1 {
			t.Errorf("asked for %s, got %+v", id1, entity)
		}
		list, err := c.PluginsByTags(ctx, []string{"t"})
		for _, p := range list {
			if err != nil || !validID(p.ID) {
				t.Errorf("listed %+v, %v", p, err)
			}
		}
		everyRequest(t, c, id2, "x")
		if c.notFoundTrusted.Load() && status != 200 {
			t.Errorf("a probe that was answered %d makes 404s believed", status)
		}
	})
}

// jumpingClock jumps to the time for which somebody waits.
type jumpingClock struct{ *clocktesting.FakeClock }

func (c jumpingClock) AfterFunc(d time.Duration, f func()) clock.Timer {
	c.Step(d)
	f()
	return c.NewTimer(d)
}

func validID(id string) bool {
	_, ok := uuid(id)
	return ok
}

// justified fails if Kong did not report a NotFound.
func justified(t *testing.T, status int, body string, trusted bool, err error) {
	t.Helper()
	if IsNotFound(err) && (status != 404 || !trusted || !strings.Contains(body, "Not found")) {
		t.Errorf("NotFound after %d %q", status, body)
	}
	if err != nil && strings.Contains(fmt.Sprint(err), "0x") && !strings.Contains(body, "0x") {
		t.Errorf("a pointer in %q", err)
	}
}
