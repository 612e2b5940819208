package adminapi

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

func TestUnknownFieldsAreKept(t *testing.T) {
	with := func(more map[string]any) string { return toJSON(t, wire(id1, "cors", more)) }
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	tests := []struct {
		name, body string
		want       map[string]json.RawMessage
	}{
		{"none", with(nil), nil},
		{"null", with(map[string]any{"condition": nil, "partials": nil, "new": nil}), nil},
		{"a condition", with(map[string]any{"condition": "x == 1"}), map[string]json.RawMessage{"condition": raw(`"x == 1"`)}},
		{"of another type than expected", with(map[string]any{"condition": map[string]any{"a": 1}}), map[string]json.RawMessage{"condition": raw(`{"a":1}`)}},
		{"partials", with(map[string]any{"partials": []any{map[string]any{"id": id2}}}), map[string]json.RawMessage{"partials": raw(`[{"id":"` + id2 + `"}]`)}},
		{"whatever comes", with(map[string]any{"new": false, "zero": 0, "empty": []any{}}), map[string]json.RawMessage{"new": raw("false"), "zero": raw("0"), "empty": raw("[]")}},
		{"set by Kong", with(map[string]any{"ws_id": id2, "run_on": "first"}), nil},
		{"known names inside", with(map[string]any{"config": map[string]any{"new": 1, "a": []any{"new", map[string]any{"b": "c"}}}}), nil},
		{"a key with an escape", strings.Replace(with(nil), `"name"`, `"na\u006de"`, 1), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decodePluginJSON([]byte(tt.body))
			if diff := cmp.Diff(tt.want, got.unknown); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
			if value(got.Name) != "cors" || value(got.UpdatedAt) == 0 {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestValidateConfig(t *testing.T) {
	srv := kongtest.Start(t)
	c := probed(t, srv.URL())
	good := rateLimiting()
	good.ID, good.InstanceName = id1, "i"
	good.Scope.ServiceID = id2 // does not exist, and that is not asked
	good.ScopeNames.Service = "nobody"
	if err := c.ValidateConfig(t.Context(), good); err != nil {
		t.Error(err)
	}
	bad := good
	bad.Config = map[string]any{"minute": "five"}
	e := failure(t, c.ValidateConfig(t.Context(), bad), Rejected)
	if diff := cmp.Diff([]FieldError{{"config.minute", "expected a number"}}, e.Fields); diff != "" {
		t.Error(diff)
	}
	wantReason(t, c.ValidateConfig(t.Context(), plugin.Plugin{}), Invalid)
	if n := len(srv.Journal().Writes()); n != 0 {
		t.Errorf("%d writes", n)
	}
}

// A validation writes nothing: who is not the leader may ask, and nothing is left in doubt.
func TestAValidationIsNoWrite(t *testing.T) {
	c := answerer(t, func(*http.Request) *http.Response { return newResponse(500, jsonType, errorBody) })
	c.isLeader = func() bool { return false }
	wantReason(t, c.ValidateConfig(t.Context(), rateLimiting()), Unavailable)
	for status, body := range map[int]string{200: `{"message":"ok"}`, 404: notFoundBody, 201: `{"message":"schema validation successful"}`} {
		c = answerer(t, func(*http.Request) *http.Response { return newResponse(status, jsonType, body) })
		wantReason(t, c.ValidateConfig(t.Context(), rateLimiting()), Unavailable)
	}
}
