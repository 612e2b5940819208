package adminapi

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

func TestResolve(t *testing.T) {
	srv := kongtest.Start(t, kongtest.WithEnterprise())
	service := seedID(t, srv, "services", map[string]any{"name": "payments", "url": "http://up:80"})
	route := seedID(t, srv, "routes", map[string]any{"name": "pay.route-1~x", "paths": []any{"/r"}})
	consumer := seedID(t, srv, "consumers", map[string]any{"username": "alice+test@example.com", "custom_id": "a b/c?d"})
	group := seedID(t, srv, "consumer_groups", map[string]any{"name": "gold"})
	c := probed(t, srv.URL())
	tests := []struct {
		kind EntityKind
		ref  EntityRef
		want string
	}{
		{Service, EntityRef{Name: "payments"}, service},
		{Service, EntityRef{ID: service}, service},
		{Route, EntityRef{Name: "pay.route-1~x"}, route},
		{Route, EntityRef{ID: route}, route},
		{Consumer, EntityRef{Username: "alice+test@example.com"}, consumer},
		{Consumer, EntityRef{CustomID: "a b/c?d"}, consumer},
		{Consumer, EntityRef{ID: consumer}, consumer},
		{ConsumerGroup, EntityRef{Name: "gold"}, group},
		{ConsumerGroup, EntityRef{ID: group}, group},
	}
	for _, tt := range tests {
		if got, err := c.Resolve(t.Context(), tt.kind, tt.ref); err != nil || got.ID != tt.want {
			t.Errorf("%s %+v: got %+v, %v", tt.kind, tt.ref, got, err)
		}
	}
	for _, tt := range tests {
		missing := EntityRef{Name: "nobody"}
		switch {
		case tt.ref.ID != "":
			missing = EntityRef{ID: id1}
		case tt.ref.CustomID != "":
			missing = EntityRef{CustomID: "nobody"}
		case tt.ref.Username != "":
			missing = EntityRef{Username: "nobody"}
		}
		if _, err := c.Resolve(t.Context(), tt.kind, missing); !IsNotFound(err) {
			t.Errorf("%s %+v: got %v", tt.kind, missing, err)
		}
	}
	invalid := []struct {
		kind EntityKind
		ref  EntityRef
	}{
		{"upstream", EntityRef{Name: "x"}},
		{Service, EntityRef{}},
		{Service, EntityRef{ID: service, Name: "payments"}},
		{Service, EntityRef{Username: "alice"}},
		{Route, EntityRef{CustomID: "x"}},
		{Consumer, EntityRef{Name: "alice"}},
		{Service, EntityRef{ID: "payments"}},
		{Service, EntityRef{Name: service}},
		{Consumer, EntityRef{CustomID: "a\nb"}},
	}
	for _, tt := range invalid {
		_, err := c.Resolve(t.Context(), tt.kind, tt.ref)
		wantReason(t, err, Invalid)
	}
}

func TestResolveRefusesAnotherEntity(t *testing.T) {
	bodies := map[string]string{
		"another":        `{"id":"` + id2 + `","name":"other","username":"other"}`,
		"nameless":       `{"id":"` + id2 + `","name":null}`,
		"without an id":  `{"name":"mine","username":"mine"}`,
		"malformed id":   `{"id":"..","name":"mine","username":"mine"}`,
		"not an entity":  `[]`,
		"not a JSON end": `{"id":"` + id1 + `"`,
	}
	for name, body := range bodies {
		t.Run(name, func(t *testing.T) {
			c := trusting(t, answering(t, 200, jsonType, body))
			for _, err := range []error{
				second(c.Resolve(t.Context(), Service, EntityRef{ID: id1})),
				second(c.Resolve(t.Context(), Service, EntityRef{Name: "mine"})),
				second(c.Resolve(t.Context(), Consumer, EntityRef{Username: "mine"})),
				second(c.Resolve(t.Context(), Consumer, EntityRef{CustomID: "mine"})),
			} {
				wantReason(t, err, Unavailable)
			}
		})
	}
}

func second(_ Entity, err error) error { return err }

func TestResolveByCustomID(t *testing.T) {
	rows := func(customIDs ...string) []map[string]any {
		ids := []string{id1, id2}
		var list []map[string]any
		for i, customID := range customIDs {
			list = append(list, map[string]any{"id": ids[i], "custom_id": customID})
		}
		return list
	}
	tests := []struct {
		name, reason string
		rows         []map[string]any
		id           string
		kind         Reason
	}{
		{"none", "nobody has it", rows(), "", NotFound},
		{"one", "the one", rows("x"), id1, ""},
		{"filter ignored", "only the one that matches counts", rows("y", "x"), id2, ""},
		{"filter ignored, none", "nobody has it", rows("y", "z"), "", NotFound},
		{"two", "which one?", rows("x", "x"), "", Ambiguous},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := &pages{rows: tt.rows, size: 1}
			if tt.rows == nil {
				p.rows = []map[string]any{}
			}
			c := trusting(t, serve(t, p.ServeHTTP))
			got, err := c.Resolve(t.Context(), Consumer, EntityRef{CustomID: "x"})
			if got.ID != tt.id || ReasonForError(err) != tt.kind {
				t.Errorf("%s: got %+v, %v", tt.reason, got, err)
			}
			c.notFoundTrusted.Store(false)
			if _, err := c.Resolve(t.Context(), Consumer, EntityRef{CustomID: "x"}); tt.kind == NotFound && ReasonForError(err) != Unavailable {
				t.Errorf("without a probe: got %v", err)
			}
		})
	}
}

// Names as Kong accepts them, which the path has to carry.
func TestResolveByUnusualNames(t *testing.T) {
	srv := kongtest.Start(t, kongtest.WithEnterprise())
	c := probed(t, srv.URL())
	for _, name := range []string{"заказы", "支付-1", "naïve", "_internal", "~tilde", ".hidden", "a.b_c~d"} {
		for kind, body := range map[EntityKind]map[string]any{
			Service: {"url": "http://up:80"},
			Route:   {"paths": []any{"/r"}},
		} {
			body["name"] = name
			want := seedID(t, srv, collections[kind][1:], body)
			if got, err := c.Resolve(t.Context(), kind, EntityRef{Name: name}); err != nil || got.ID != want {
				t.Errorf("%s %q: got %+v, %v", kind, name, got, err)
			}
		}
		p := rateLimiting()
		p.InstanceName = name + "-plugin"
		p.Scope.ServiceID = seedID(t, srv, "services", map[string]any{"url": "http://up:80"})
		made, err := c.Create(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.PluginByInstanceName(t.Context(), p.InstanceName); err != nil || got.ID != made.ID {
			t.Errorf("instance name %q: got %+v, %v", p.InstanceName, got, err)
		}
	}
	for _, username := range []string{"a b", "a+b;c=d", "~", "_", "Ünïcode user", "x@y.example"} {
		want := seedID(t, srv, "consumers", map[string]any{"username": username})
		if got, err := c.Resolve(t.Context(), Consumer, EntityRef{Username: username}); err != nil || got.ID != want {
			t.Errorf("consumer %q: got %+v, %v", username, got, err)
		}
	}
	for _, username := range []string{"a/b", "a%b", "50% off?", ".."} {
		_, err := c.Resolve(t.Context(), Consumer, EntityRef{Username: username})
		if e := failure(t, err, Invalid); !strings.HasSuffix(e.Message, "; refer to the consumer by id") {
			t.Errorf("%q: %v", username, e)
		}
	}
	// Kong has no instance names with blanks, and says so.
	_, err := c.PluginByInstanceName(t.Context(), "a b")
	if e := failure(t, err, Rejected); !strings.Contains(e.Message, "invalid value 'a b'") {
		t.Error(e)
	}
}

// A read-only database: reads succeed, and every write is answered 500.
func TestWritesFailWhileReadsSucceed(t *testing.T) {
	c := answerer(t, func(r *http.Request) *http.Response {
		if r.Method == http.MethodGet {
			return newResponse(200, jsonType, toJSON(t, wire(id1, "cors")))
		}
		return newResponse(500, jsonType, errorBody)
	})
	writes, read := readAndWrites(t, c)
	if read != nil {
		t.Error(read)
	}
	for method, err := range writes {
		if ReasonForError(err) != UnknownOutcome || !IsInternalError(err) {
			t.Errorf("%s: %v", method, err)
		}
	}
	if IsInternalError(nil) || IsInternalError(&Error{Reason: UnknownOutcome, Status: 503}) || IsInternalError(context.Canceled) {
		t.Error("what is not a 500 of Kong counts as one")
	}
}
