package adminapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

const (
	notFoundBody  = `{"message":"Not found"}`
	uniqueBody    = `{"message":"UNIQUE violation detected on '{consumer=null,name=\"rate-limiting\",route=null,service={id=\"U\"}}'","fields":{"consumer":null,"name":"rate-limiting","route":null,"service":{"id":"U"}},"name":"unique constraint violation","code":5}`
	violationBody = `{"message":"schema violation (config.minute: expected a number)","fields":{"config":{"minute":"expected a number"}},"name":"schema violation","code":2}`
	foreignBody   = `{"message":"the foreign key '{id=\"U\"}' does not reference an existing 'services' entity.","fields":{"service":{"id":"U"}},"name":"foreign key violation","code":4}`
	unresolved    = `{"message":"foreign key unresolved (service.name: ...)","fields":{"service":{"name":"..."}},"name":"foreign keys unresolved","code":13}`
	dblessBody    = `{"message":"cannot create 'plugins' entities when not using a database","name":"operation unsupported","code":12}`
	errorBody     = `{"message":"An unexpected error occurred"}`
	htmlBody      = "<html><body><h1>It works!</h1></body></html>"
)

// TestReasons is the table from responses to Reasons.
func TestReasons(t *testing.T) {
	pluginBody := toJSON(t, wire(id1, "rate-limiting"))
	tests := []struct {
		name, reason string
		status       int
		contentType  string
		body         string
		untrusted    bool
		read, write  Reason // "" is success; a write is tried by POST
	}{
		{"404 of Kong", "Kong's own body, after a good probe", 404, jsonType, notFoundBody, false, NotFound, NotFound},
		{"404 before a probe", "nobody has shown that this is a Kong", 404, jsonType, notFoundBody, true, Unavailable, UnknownOutcome},
		{"404 in HTML", "an ingress without a route", 404, htmlType, htmlBody, false, Unavailable, UnknownOutcome},
		{"404 with another message", "Kong's proxy port", 404, jsonType, `{"message":"no Route matched with those values"}`, false, Unavailable, UnknownOutcome},
		{"404 with more in it", "somebody else's JSON", 404, jsonType, `{"message":"Not found","path":"/x"}`, false, Unavailable, UnknownOutcome},
		{"404 of another type", "Kong says that its JSON is JSON", 404, "text/plain", notFoundBody, false, Unavailable, UnknownOutcome},
		{"404 empty", "not Kong", 404, jsonType, "", false, Unavailable, UnknownOutcome},
		{"409 of Kong", "a unique key", 409, jsonType, uniqueBody, false, Unavailable, Conflict},
		{"409 of something else", "Kong says which key", 409, jsonType, `{"message":"conflict"}`, false, Unavailable, UnknownOutcome},
		{"409 in HTML", "not Kong", 409, htmlType, htmlBody, false, Unavailable, UnknownOutcome},
		{"schema violation", "code 2", 400, jsonType, violationBody, false, Rejected, Rejected},
		{"foreign key by id", "code 4", 400, jsonType, foreignBody, false, ReferenceMissing, ReferenceMissing},
		{"foreign key by name", "code 13", 400, jsonType, unresolved, false, ReferenceMissing, ReferenceMissing},
		{"unique key as 400", "code 5 whatever the status", 400, jsonType, uniqueBody, false, Conflict, Conflict},
		{"400 without a code", "not Kong's", 400, jsonType, `{"message":"bad request"}`, false, Unavailable, UnknownOutcome},
		{"400 in HTML", "not Kong's", 400, htmlType, htmlBody, false, Unavailable, UnknownOutcome},
		{"http to a port with TLS", "nginx's own page", 400, htmlType, "<html>The plain HTTP request was sent to HTTPS port</html>", false, TLS, TLS},
		{"no client certificate", "nginx's own page", 400, htmlType, "<html>No required SSL certificate was sent</html>", false, TLS, TLS},
		{"bad client certificate", "nginx's own page", 400, htmlType, "<html>The SSL certificate error</html>", false, TLS, TLS},
		{"401", "credentials", 401, jsonType, `{"message":"Invalid RBAC credentials"}`, false, Denied, Denied},
		{"403", "credentials", 403, htmlType, htmlBody, false, Denied, Denied},
		{"413", "a proxy's page", 413, htmlType, `<html>413 Request Entity Too Large</html>`, false, Unavailable, Rejected},
		{"429", "too many", 429, jsonType, `{"message":"API rate limit exceeded"}`, false, Throttled, Throttled},
		{"DB-less", "405 with code 12", 405, jsonType, dblessBody, false, NotDatabase, NotDatabase},
		{"DB-less as 400", "code 12 whatever the status", 400, jsonType, dblessBody, false, NotDatabase, NotDatabase},
		{"405 without a code", "not about the database", 405, jsonType, `{"message":"Method not allowed"}`, false, Unavailable, UnknownOutcome},
		{"415", "Kong's HTML page", 415, htmlType, htmlBody, false, Unavailable, UnknownOutcome},
		{"500 of Kong", "the database is down, or slow: the write may come", 500, jsonType, errorBody, false, Unavailable, UnknownOutcome},
		{"502", "a proxy", 502, htmlType, htmlBody, false, Unavailable, UnknownOutcome},
		{"503", "a proxy", 503, jsonType, errorBody, false, Unavailable, UnknownOutcome},
		{"504", "a proxy that waited", 504, htmlType, htmlBody, false, Unavailable, UnknownOutcome},
		{"302", "never followed, and nothing was done", 302, htmlType, "", false, Unavailable, Unavailable},
		{"303", "this is how others say that it was done", 303, htmlType, "", false, Unavailable, UnknownOutcome},
		{"304", "Kong answers it with the write done", 304, jsonType, "", false, Unavailable, UnknownOutcome},
		{"200", "an entity; a POST is answered 201", 200, jsonType, pluginBody, false, "", UnknownOutcome},
		{"201", "the other way round", 201, jsonType, pluginBody, false, Unavailable, ""},
		{"204", "no entity", 204, jsonType, "", false, Unavailable, UnknownOutcome},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newClient(t, answering(t, tt.status, tt.contentType, tt.body))
			c.notFoundTrusted.Store(!tt.untrusted)
			_, err := c.PluginByID(t.Context(), id1)
			if ReasonForError(err) != tt.read {
				t.Errorf("%s: GET: got %q (%v), want %q", tt.reason, ReasonForError(err), err, tt.read)
			}
			_, err = c.Create(t.Context(), rateLimiting())
			if ReasonForError(err) != tt.write {
				t.Errorf("%s: POST: got %q (%v), want %q", tt.reason, ReasonForError(err), err, tt.write)
			}
		})
	}
}

// TestMalformed covers responses with the wanted status and unusable content.
func TestMalformed(t *testing.T) {
	tests := []struct{ name, reason, contentType, body string }{
		{"empty", "nothing is not a plugin", jsonType, ""},
		{"HTML", "a login page", htmlType, htmlBody},
		{"JSON that says it is text", "not Kong", "text/plain", toJSON(t, wire(id1, "rate-limiting"))},
		{"broken JSON", "it broke off", jsonType, `{"id":"` + id1 + `","name":"rate-limi`},
		{"more behind it", "two answers in one", jsonType, toJSON(t, wire(id1, "rate-limiting")) + "{}"},
		{"null", "not an entity", jsonType, "null"},
		{"a list", "not an entity", jsonType, "[]"},
		{"no id", "nothing to record", jsonType, `{"name":"rate-limiting"}`},
		{"null id", "nothing to record", jsonType, `{"id":null,"name":"rate-limiting"}`},
		{"malformed id", "not a UUID", jsonType, toJSON(t, wire("../services/x", "rate-limiting"))},
		{"no name", "not a plugin", jsonType, toJSON(t, wire(id1, ""))},
		{"no config", "not the whole plugin", jsonType, toJSON(t, wire(id1, "rate-limiting", map[string]any{"config": nil}))},
		{"not said whether enabled", "not the whole plugin", jsonType, toJSON(t, wire(id1, "rate-limiting", map[string]any{"enabled": nil}))},
		{"a service without an id", "not global", jsonType, toJSON(t, wire(id1, "rate-limiting", map[string]any{"service": map[string]any{}}))},
		{"a malformed scope", "not a UUID", jsonType, toJSON(t, wire(id1, "rate-limiting", map[string]any{"route": map[string]any{"id": "x"}}))},
		{"wrong types", "not a plugin", jsonType, toJSON(t, wire(id1, "rate-limiting", map[string]any{"tags": "a"}))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status := http.StatusOK
			c := trusting(t, serve(t, func(w http.ResponseWriter, _ *http.Request) { write(w, status, tt.contentType, tt.body) }))
			_, err := c.PluginByID(t.Context(), id1)
			if ReasonForError(err) != Unavailable {
				t.Errorf("%s: GET: got %v", tt.reason, err)
			}
			p := rateLimiting()
			p.ID = id1
			if _, err = c.Put(t.Context(), p); ReasonForError(err) != UnknownOutcome {
				t.Errorf("%s: PUT: got %v", tt.reason, err)
			}
			if err = c.Delete(t.Context(), id1); ReasonForError(err) != UnknownOutcome {
				t.Errorf("%s: DELETE answered 200: got %v", tt.reason, err)
			}
			status = http.StatusCreated
			if _, err = c.Create(t.Context(), p); ReasonForError(err) != UnknownOutcome {
				t.Errorf("%s: POST: got %v", tt.reason, err)
			}
		})
	}
}

func TestAnotherPluginIsRefused(t *testing.T) {
	status := http.StatusOK
	c := trusting(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		write(w, status, jsonType, toJSON(t, wire(id2, "cors", map[string]any{"instance_name": "other"})))
	}))
	_, err := c.PluginByID(t.Context(), id1)
	if e := failure(t, err, Unavailable); e.Message != "Kong returned another plugin" {
		t.Error(e)
	}
	_, err = c.PluginByInstanceName(t.Context(), "mine")
	wantReason(t, err, Unavailable)
	p := rateLimiting()
	p.ID = id1
	_, err = c.Put(t.Context(), p)
	wantReason(t, err, UnknownOutcome)
	p.Name = "cors" // the ID alone is wrong
	_, err = c.Put(t.Context(), p)
	wantReason(t, err, UnknownOutcome)
	p.Name, p.ID = "rate-limiting", id2 // the name alone is wrong
	_, err = c.Put(t.Context(), p)
	wantReason(t, err, UnknownOutcome)
	status = http.StatusCreated
	_, err = c.Create(t.Context(), p)
	wantReason(t, err, UnknownOutcome)
}

func TestFields(t *testing.T) {
	tests := []struct {
		name, fields string
		want         []FieldError
	}{
		{"one", `{"config":{"minute":"expected a number"}}`, []FieldError{{"config.minute", "expected a number"}}},
		{"sorted", `{"b":"2","a":"1"}`, []FieldError{{"a", "1"}, {"b", "2"}}},
		{"entity", `{"@entity":["two","one"]}`, []FieldError{{"", "one"}, {"", "two"}}},
		{"entity as a string", `{"@entity":"one"}`, []FieldError{{"", "one"}}},
		{"entity of a record", `{"config":{"@entity":["x"]}}`, []FieldError{{"config", "x"}}},
		{"array with nulls", `{"config":{"methods":[null,"expected one of"]}}`, []FieldError{{"config.methods[1]", "expected one of"}}},
		{"record in an array", `{"config":{"hosts":[{"port":"expected an integer"}]}}`, []FieldError{{"config.hosts[0].port", "expected an integer"}}},
		{"unique key", `{"consumer":null,"name":"cors","service":{"id":"U"}}`, []FieldError{{"name", "cors"}, {"service.id", "U"}}},
		{"other types", `{"a":1,"b":true}`, []FieldError{{"a", "1"}, {"b", "true"}}},
		{"none", `{}`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := trusting(t, answering(t, 400, jsonType, `{"message":"schema violation","code":2,"fields":`+tt.fields+`}`))
			_, err := c.Create(t.Context(), rateLimiting())
			e := failure(t, err, Rejected)
			if diff := cmp.Diff(tt.want, e.Fields); diff != "" {
				t.Error(diff)
			}
			if e.Status != 400 || e.Code != 2 || e.Op != "create plugin" {
				t.Errorf("got %+v", e)
			}
		})
	}
}

func TestFieldsAreBounded(t *testing.T) {
	fields := map[string]any{}
	for i := range 3 * maxFields {
		fields[fmt.Sprintf("f%d", i)] = strings.Repeat("é", maxFieldLength)
	}
	body := toJSON(t, map[string]any{"message": strings.Repeat("ü\n", maxMessage), "code": 2, "fields": fields})
	c := trusting(t, answering(t, 400, jsonType, body))
	_, err := c.Create(t.Context(), rateLimiting())
	e := failure(t, err, Rejected)
	if len(e.Fields) != maxFields || len(e.Fields[0].Message) > maxFieldLength || len(e.Message) > maxMessage {
		t.Errorf("got %d fields, a field of %d bytes and a message of %d bytes", len(e.Fields), len(e.Fields[0].Message), len(e.Message))
	}
	text := e.Error()
	if len(text) > maxErrorText || !utf8.ValidString(text) || strings.Contains(text, "\n") {
		t.Errorf("got %d bytes: %q", len(text), text)
	}
}

func TestErrorText(t *testing.T) {
	c := trusting(t, answering(t, 400, jsonType, `{"message":"2 schema violations (config.redis: {\n  host = \"required field missing\"\n})","code":2}`))
	_, err := c.Create(t.Context(), rateLimiting())
	const want = `create plugin: Kong answered 400: 2 schema violations (config.redis: { host = "required field missing" })`
	if err.Error() != want {
		t.Errorf("got %q", err)
	}
}

func TestTokenIsNeverInAnError(t *testing.T) {
	body := toJSON(t, map[string]any{"message": "I saw " + token, "code": 2, "fields": map[string]any{token: token}})
	c := trusting(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set("Location", "https://"+token+":x@"+token+"/"+token+"?"+token)
			w.WriteHeader(http.StatusFound)
			return
		}
		write(w, 400, jsonType, body)
	}), func(s *Settings) { s.Token = token + "\n" })
	_, got := c.PluginByID(t.Context(), id1)
	_, created := c.Create(t.Context(), rateLimiting())
	for _, err := range []error{got, created} {
		var e *Error
		if !errors.As(err, &e) || strings.Contains(fmt.Sprintf("%s %+v", err, *e), token) {
			t.Errorf("the token is in %+v", err)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	const date = "Sun, 22 Nov 2026 21:30:00 GMT"
	tests := []struct {
		header string
		date   string
		want   time.Duration
	}{
		{"", "", defaultPause},
		{"3", "", 3 * time.Second},
		{" 1.5 ", "", 1500 * time.Millisecond},
		{"-4", "", defaultPause},
		{"99999999999999999999", "", maxRetryAfter},
		{"NaN", "", defaultPause},
		{"+Inf", "", maxRetryAfter},
		{"soon", "", defaultPause},
		{"Sun, 22 Nov 2026 21:30:07 GMT", date, 7 * time.Second},
		{"Sun, 22 Nov 2026 21:29:00 GMT", date, defaultPause},
		{"Sun, 22 Nov 2099 21:30:07 GMT", "", maxRetryAfter},
	}
	for _, tt := range tests {
		h := http.Header{"Retry-After": {tt.header}, "Date": {tt.date}}
		if got := retryAfter(h); got != tt.want {
			t.Errorf("%q: got %v, want %v", tt.header, got, tt.want)
		}
	}
	c := trusting(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3")
		write(w, 429, jsonType, `{"message":"API rate limit exceeded"}`)
	}))
	_, err := c.PluginByID(t.Context(), id1)
	if e := failure(t, err, Throttled); e.RetryAfter != 3*time.Second {
		t.Errorf("got %+v", e)
	}
}

func TestRedirects(t *testing.T) {
	tests := []struct{ location, want string }{
		{"https://kong:8444/plugins?x=y", "should adminURL point to https://kong:8444?"},
		{"/login?next=/plugins", "is the path of adminURL right?"},
		{"https://user:pass@sso/x", "should adminURL point to https://sso?"},
		{"", "not followed"},
		{"http://[::1", "not followed"},
	}
	for _, tt := range tests {
		t.Run(tt.location, func(t *testing.T) {
			requests := 0
			c := trusting(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
				requests++
				w.Header().Set("Location", tt.location)
				w.WriteHeader(http.StatusMovedPermanently)
			}))
			_, err := c.PluginByID(t.Context(), id1)
			e := failure(t, err, Unavailable)
			if !strings.HasSuffix(e.Message, tt.want) || strings.Contains(e.Message, "pass") || strings.Contains(e.Message, "next") {
				t.Errorf("got %q", e.Message)
			}
			if requests != 1 {
				t.Errorf("%d requests were made", requests)
			}
		})
	}
}

func TestReasonForError(t *testing.T) {
	wrapped := fmt.Errorf("around: %w", &Error{Reason: NotFound, err: context.Canceled})
	switch {
	case ReasonForError(wrapped) != NotFound, !IsNotFound(wrapped), !errors.Is(wrapped, context.Canceled):
		t.Error("the reason of a wrapped error is lost")
	case ReasonForError(nil) != "", IsNotFound(nil):
		t.Error("nil has a reason")
	case ReasonForError(errors.New("x")) != Unavailable:
		t.Error("an unknown error says more than that nothing is known")
	}
	if s := truncate("a\xffb", 10); s != "a?b" {
		t.Errorf("got %q", s)
	}
	if _, err := json.Marshal((&Error{Op: "x", Message: "y"}).Error()); err != nil {
		t.Error(err)
	}
}
