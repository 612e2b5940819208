package tenancy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestRunsCode(t *testing.T) {
	for plugin, want := range map[string]bool{
		"pre-function": true, "post-function": true, "exit-transformer": true,
		"file-log": false, "request-callout": false, "": false,
	} {
		if RunsCode(plugin) != want {
			t.Errorf("%s: %t", plugin, !want)
		}
	}
}

func TestIsCodeField(t *testing.T) {
	for _, tc := range []struct {
		name, description string
		want              bool
	}{
		{"custom_fields_by_lua", "Lua code as a key-value map", true},
		{"custom_fields_by_lua", "", true},
		{"by_lua", "", true},
		{"message_by_lua_functions", "", true},
		{"functions", "", true},
		{"script", "The Lua functions that change the message.", true},
		{"script", "LUA CODE to run.", true},
		{"lua_ssl_verify", "Verify certificates.", false},
		{"function", "The name of the AWS Lambda function.", false},
		{"minute", "The number of requests per minute.", false},
	} {
		if got := IsCodeField(tc.name, tc.description); got != tc.want {
			t.Errorf("%s (%s): %t", tc.name, tc.description, got)
		}
	}
}

func TestCodeFields(t *testing.T) {
	deep := strings.Repeat(`{"a":`, maxConfigDepth) + `{"by_lua": "x"}` + strings.Repeat("}", maxConfigDepth)
	tooDeep := strings.Repeat(`{"a":`, maxConfigDepth+1) + `{"b": 1}` + strings.Repeat("}", maxConfigDepth+1)
	lists := `{"a": ` + strings.Repeat("[", maxConfigDepth+1) + `{"b": 1}` + strings.Repeat("]", maxConfigDepth+1) + `}`
	for _, tc := range []struct {
		name, config string
		want         []string
	}{
		{"nothing", `{}`, nil},
		{"no code", `{"minute": 5, "redis": {"host": "r"}, "list": [1, {"a": null}]}`, nil},
		{"fields of a logging plugin", `{"path": "/tmp/log", "custom_fields_by_lua": {"x": "return 1"}}`, []string{"custom_fields_by_lua"}},
		{"an empty map", `{"custom_fields_by_lua": {}}`, nil},
		{"an empty list", `{"message_by_lua_functions": []}`, nil},
		{"an empty text", `{"by_lua": ""}`, nil},
		{"null", `{"by_lua": null}`, nil},
		{"what is no code there, and is not empty", `{"by_lua": false}`, []string{"by_lua"}},
		{"in a list of records", `{"callouts": [{"name": "a"}, {"request": {"by_lua": "x"}, "response": {"by_lua": "y"}}, {"request": {"by_lua": "z"}}]}`,
			[]string{"callouts.request.by_lua", "callouts.response.by_lua"}},
		{"as deep as may be", deep, []string{strings.Repeat("a.", maxConfigDepth) + "by_lua"}},
		{"deeper", tooDeep, []string{"a field that is nested too deeply"}},
		{"deeper, in lists", lists, []string{"a field that is nested too deeply"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var config map[string]any
			if err := json.Unmarshal([]byte(tc.config), &config); err != nil {
				t.Fatal(err)
			}
			if got := CodeFields(config); !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
	many := map[string]any{}
	for i := range 40 {
		many[fmt.Sprintf("%02d_by_lua", i)] = "x"
	}
	if got := CodeFields(many); len(got) != maxCodeFields || got[0] != "00_by_lua" || got[15] != "15_by_lua" {
		t.Errorf("not the first 16: %q", got)
	}
}
