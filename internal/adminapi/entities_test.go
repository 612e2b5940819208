package adminapi

import (
	"testing"

	"github.com/google/go-cmp/cmp"

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
		if got, err := c.Resolve(t.Context(), tt.kind, tt.ref); err != nil || got != tt.want {
			t.Errorf("%s %+v: got %q, %v", tt.kind, tt.ref, got, err)
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

func second(_ string, err error) error { return err }

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
			id, err := c.Resolve(t.Context(), Consumer, EntityRef{CustomID: "x"})
			if id != tt.id || ReasonForError(err) != tt.kind {
				t.Errorf("%s: got %q, %v", tt.reason, id, err)
			}
			c.notFoundTrusted.Store(false)
			if _, err := c.Resolve(t.Context(), Consumer, EntityRef{CustomID: "x"}); tt.kind == NotFound && ReasonForError(err) != Unavailable {
				t.Errorf("without a probe: got %v", err)
			}
		})
	}
}

func TestEntities(t *testing.T) {
	srv := kongtest.Start(t, kongtest.WithEnterprise())
	service := seedID(t, srv, "services", map[string]any{"name": "payments", "url": "http://up:80"})
	nameless := seedID(t, srv, "services", map[string]any{"url": "http://up:80"})
	alice := seedID(t, srv, "consumers", map[string]any{"username": "alice", "custom_id": "a"})
	bob := seedID(t, srv, "consumers", map[string]any{"custom_id": "b"})
	group := seedID(t, srv, "consumer_groups", map[string]any{"name": "gold"})
	c := probed(t, srv.URL())
	want := map[EntityKind]map[EntityRef]string{
		Service:       {{ID: service}: service, {Name: "payments"}: service, {ID: nameless}: nameless},
		Route:         {},
		Consumer:      {{ID: alice}: alice, {Username: "alice"}: alice, {CustomID: "a"}: alice, {ID: bob}: bob, {CustomID: "b"}: bob},
		ConsumerGroup: {{ID: group}: group, {Name: "gold"}: group},
	}
	for kind, refs := range want {
		got, err := c.Entities(t.Context(), kind)
		if diff := cmp.Diff(refs, got); err != nil || diff != "" {
			t.Errorf("%ss: %v\n%s", kind, err, diff)
		}
	}
	_, err := c.Entities(t.Context(), "upstream")
	wantReason(t, err, Invalid)
	_, err = probed(t, kongtest.Start(t).URL()).Entities(t.Context(), ConsumerGroup)
	wantReason(t, err, NotFound) // the community edition has none
}

func TestEntitiesOfOddLists(t *testing.T) {
	rows := []map[string]any{{"id": id1, "custom_id": "x", "username": "a"}, {"id": id2, "custom_id": "x", "username": ""}}
	p := &pages{rows: rows, size: 1}
	c := trusting(t, serve(t, p.ServeHTTP))
	got, err := c.Entities(t.Context(), Consumer)
	want := map[EntityRef]string{{ID: id1}: id1, {ID: id2}: id2, {Username: "a"}: id1}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	p.rows = append(p.rows, map[string]any{"id": "x"})
	got, err = c.Entities(t.Context(), Consumer)
	if wantReason(t, err, Unavailable); got != nil {
		t.Errorf("got %v with an error", got)
	}
}
