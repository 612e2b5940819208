package plugin

import (
	"strings"
	"testing"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// render makes the redactor of a binding, knowing the plugin's schema.
func render(t *testing.T, spec v1alpha1.PluginBindingSpec, data map[string]string, s *Schema) Rendered {
	t.Helper()
	rendered, err := Render(Inputs{Spec: &spec, Secret: secrets(data)})
	if err != nil {
		t.Fatal(err)
	}
	rendered.Redactor.AllowFieldNames(s)
	return rendered
}

// luaErrors are Kong's messages about code with a syntax error: they quote pieces of it.
var luaErrors = []string{
	`error parsing pre-function: [string "local tok="SEKRET-abc..."]:2: 'then' expected near 'the'`,
	`Error parsing function: <path>/kong/tools/kong-lua-sandbox.lua:144: [string "print("]:1: '}' expected near '"SEKRETNEAR-abc"'`,
}

const luaSecret = "local tok=\"SEKRET-abcdefghijklmnopqrstuvwxyz\"\nif tok the\n  x = { \"SEKRETNEAR-abc\" \"y\" end\n"

func TestFieldErrorsAboutSecretsAreWithheld(t *testing.T) {
	whole := from("whole")
	for _, tt := range []struct {
		reason, path string
		spec         v1alpha1.PluginBindingSpec
		withheld     bool
	}{
		{"code from a patch", "config.access[1]", v1alpha1.PluginBindingSpec{
			ConfigPatches: []v1alpha1.ConfigPatch{patch("/access/-", "lua", "")},
		}, true},
		{"an element, counted from one or from zero, in an object or a list", "config.access.2", v1alpha1.PluginBindingSpec{
			Config:        jsonConfig(`{"access":["a","b"]}`),
			ConfigPatches: []v1alpha1.ConfigPatch{patch("/access/0", "lua", "")},
		}, true},
		{"a key of a map", "config.custom_fields_by_lua", v1alpha1.PluginBindingSpec{
			ConfigPatches: []v1alpha1.ConfigPatch{patch("/custom_fields_by_lua/a~1b.c", "lua", "")},
		}, true},
		{"the config as a whole", "config", v1alpha1.PluginBindingSpec{
			ConfigPatches: []v1alpha1.ConfigPatch{patch("/access/-", "lua", "")},
		}, true},
		{"the plugin as a whole", "", v1alpha1.PluginBindingSpec{
			ConfigPatches: []v1alpha1.ConfigPatch{patch("/access/-", "lua", "")},
		}, true},
		{"a path that was cut short", "config.a..." /* as internal/adminapi bounds it */, v1alpha1.PluginBindingSpec{
			ConfigPatches: []v1alpha1.ConfigPatch{patch("/access/-", "lua", "")},
		}, true},
		{"inside a value of JSON", "config.access.x.y", v1alpha1.PluginBindingSpec{
			ConfigPatches: []v1alpha1.ConfigPatch{patch("/access", "json", v1alpha1.FormatJSON)},
		}, true},
		{"anything in a config from a Secret", "config.access[0]", v1alpha1.PluginBindingSpec{ConfigFrom: &whole}, true},
		{"another field", "config.rewrite[0]", v1alpha1.PluginBindingSpec{
			ConfigPatches: []v1alpha1.ConfigPatch{patch("/access/-", "lua", "")},
		}, false},
		{"a field whose name begins alike", "config.access_more", v1alpha1.PluginBindingSpec{
			ConfigPatches: []v1alpha1.ConfigPatch{patch("/access/-", "lua", "")},
		}, false},
		{"a field beside the config", "protocols", v1alpha1.PluginBindingSpec{ConfigFrom: &whole}, false},
		{"nothing from a Secret", "config.access[1]", v1alpha1.PluginBindingSpec{Config: jsonConfig(`{}`)}, false},
		{"nothing from a Secret, and no field", "", v1alpha1.PluginBindingSpec{Config: jsonConfig(`{}`)}, false},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			rendered := render(t, tt.spec, map[string]string{
				"lua": luaSecret, "json": `["` + "SEKRET" + `"]`, "whole": `{"access":["SEKRET"]}`,
			}, schemaOf(t, "pre-function"))
			for _, message := range luaErrors {
				path, got := rendered.Redactor.RedactFieldError(tt.path, message)
				if path != tt.path {
					t.Errorf("path is %q", path)
				}
				if (got == Withheld) != tt.withheld {
					t.Errorf("message is %q", got)
				}
				if want := rendered.Redactor.Redact(message); !tt.withheld && got != want {
					t.Errorf("message is %q", got)
				}
			}
		})
	}
}

// Messages that cannot contain a value help, wherever the value came from.
func TestFieldErrorsInKongsWordsAreShown(t *testing.T) {
	whole := from("whole")
	spec := v1alpha1.PluginBindingSpec{ConfigFrom: &whole}
	redactor := render(t, spec, map[string]string{"whole": `{"minute":-1,"policy":"nope","expected":"expected"}`}, schemaOf(t, "rate-limiting")).Redactor
	for message, shown := range map[string]bool{
		"expected a number":                                                   true,
		"required field missing":                                              true,
		"unknown field":                                                       true,
		"value must be greater than 0":                                        true,
		"value must be greater than 5":                                        false,
		"expected one of: local, cluster, redis":                              true,
		"expected one of: local, cluster, hunter2":                            false,
		"value should be between 0 and 65535":                                 true,
		"should start with: /":                                                true,
		"must not have empty segments":                                        true,
		"failed conditional validation given value of field 'config.policy'":  true,
		"failed conditional validation given value of field 'config.hunter2'": false,
		"at least one of these fields must be non-empty: 'config.second', 'config.redis.host'": true,
		"at least one of these fields must be non-empty: 'config.second', 'config.hunter2'":    false,
		"at least one of these fields must be non-empty: 'config.second' or hunter2":           false,
		"The limit for hour(50.0) cannot be lower than the limit for minute(77.0)":             false,
		"invalid value: hunter2": false,
		"":                       false,
	} {
		want := Withheld
		if shown {
			want = message
		}
		for _, path := range []string{"config.minute", "config", ""} {
			if _, got := redactor.RedactFieldError(path, message); got != want {
				t.Errorf("%s: %q became %q", path, message, got)
			}
		}
	}
	unknown := RedactAll(map[string]any{"a": "x"})
	if _, got := unknown.RedactFieldError("config.a", "should start with: /"); got != Withheld {
		t.Errorf("without a schema: %q", got)
	}
	var none *Redactor
	if path, got := none.RedactFieldError("config.a", "any text"); path != "config.a" || got != "any text" {
		t.Errorf("nil: %q %q", path, got)
	}
}

// A message about a field that nothing from a Secret can be in still shows no value.
func TestFieldErrorsAreRedacted(t *testing.T) {
	spec := v1alpha1.PluginBindingSpec{ConfigPatches: []v1alpha1.ConfigPatch{patch("/redis/password", "p", "")}}
	redactor := render(t, spec, map[string]string{"p": "hunter2"}, schemaOf(t, "rate-limiting")).Redactor
	if _, got := redactor.RedactFieldError("config.minute", "hunter2 is no number"); got != "[redacted] is no number" {
		t.Error(got)
	}
}

// Kong names a field by its deprecated name, or by the one that replaced it.
func TestFieldErrorsByOtherNames(t *testing.T) {
	rateLimiting, sessions := schemaOf(t, "rate-limiting"), schemaOf(t, "session")
	nested := parsed(t, []byte(`{"fields":[{"config":{"type":"record","fields":[
		{"list":{"type":"array","elements":{"type":"record","fields":[{"new":{"type":"string"}}],
			"shorthand_fields":[{"old":{"type":"string","deprecation":{"replaced_with":[{"path":["new"]}]}}}]}}},
		{"map":{"type":"map","values":{"type":"record","fields":[{"new":{"type":"string"}}],
			"shorthand_fields":[{"old":{"type":"string","deprecation":{"replaced_with":[{"path":["new"]}]}}}]}}},
		{"bare":{"type":"array"}}]}}]}`))
	for _, tt := range []struct {
		reason   string
		schema   *Schema
		pointer  string
		path     string
		withheld bool
	}{
		{"deprecated, reported where it lives now", rateLimiting, "/redis_password", "config.redis.password", true},
		{"inside what the new place holds", rateLimiting, "/redis_password", "config.redis", true},
		{"another field of that record", rateLimiting, "/redis_password", "config.redis.host", false},
		{"new, reported by the deprecated name", rateLimiting, "/redis/password", "config.redis_password", true},
		{"the record, reported by the deprecated name", rateLimiting, "/redis", "config.redis_password", true},
		{"below the new place", rateLimiting, "/redis/password/x", "config.redis_password.x", true},
		{"another deprecated name", rateLimiting, "/redis/password", "config.redis_host", false},
		{"a deprecated name of which nobody knows the replacement", sessions, "/cookie_lifetime", "config.storage", true},
		{"in an array", nested, "/list/0/old", "config.list[0].new", true},
		{"in an array, another", nested, "/list/0/old", "config.map", false},
		{"in a map", nested, "/map/key/new", "config.map.key.old", true},
		{"the map itself", nested, "/map", "config.list", false},
		{"an array of which the elements are not known", nested, "/bare/0/x", "config.list", false},
		{"the config itself", nested, "/", "config.list", true},
		{"without a schema", nil, "/a", "config.b", true},
	} {
		spec := v1alpha1.PluginBindingSpec{ConfigPatches: []v1alpha1.ConfigPatch{patch(tt.pointer, "p", "")}}
		redactor := render(t, spec, map[string]string{"p": "hunter2"}, tt.schema).Redactor
		if _, got := redactor.RedactFieldError(tt.path, "any text"); (got == Withheld) != tt.withheld {
			t.Errorf("%s: %q", tt.reason, got)
		}
	}
}

// A config that was copied together with its key is a frequent mistake.
func TestFieldErrorOfAWrappedConfig(t *testing.T) {
	whole := from("whole")
	schema := schemaOf(t, "rate-limiting")
	for text, want := range map[string]string{
		"config:\n  minute: 5\n":           "config.config: unknown field" + hintWrapped,
		"config:\n  minute: 5\nhunter2: 1": "config.config: unknown field",
		"hunter2:\n  minute: 5\n":          "config.[redacted]: unknown field",
	} {
		for _, spec := range []v1alpha1.PluginBindingSpec{{ConfigFrom: &whole}} {
			redactor := render(t, spec, map[string]string{"whole": text}, schema).Redactor
			field := "config.config"
			if !strings.HasPrefix(text, "config") {
				field = "config.hunter2"
			}
			path, message := redactor.RedactFieldError(field, "unknown field")
			if got := path + ": " + message; got != want {
				t.Errorf("%q: %s", text, got)
			}
		}
	}
	spec := v1alpha1.PluginBindingSpec{Config: jsonConfig(`{"config":{"minute":5}}`)}
	if _, got := render(t, spec, nil, schema).Redactor.RedactFieldError("config.config", "unknown field"); got != "unknown field"+hintWrapped {
		t.Error(got)
	}
}

// No piece of four characters of a Secret's code comes through, wherever Kong's message
// quotes it, for any field that the code is in.
func FuzzRedactFieldError(f *testing.F) {
	f.Add("/access/-", "config.access[0]", luaSecret, 11, 8)
	f.Add("/a~1b/c", "config.a/b", "x", 0, 1)
	f.Fuzz(func(t *testing.T, pointer, path, secret string, start, length int) {
		spec := v1alpha1.PluginBindingSpec{ConfigPatches: []v1alpha1.ConfigPatch{patch(pointer, "p", "")}}
		rendered, err := Render(Inputs{Spec: &spec, Secret: secrets(map[string]string{"p": secret})})
		if err != nil {
			return
		}
		tokens, _ := parsePointer(pointer)
		if start < 0 || length < 0 || start > len(secret) || length > len(secret)-start {
			return
		}
		quoted := secret[start : start+length]
		for _, path := range []string{path, "", "config", "config." + strings.Join(tokens, ".")} {
			_, got := rendered.Redactor.RedactFieldError(path, "error near '"+quoted+"'")
			known := path == "" || path == "config" || strings.HasPrefix(path, "config.")
			if known && got != Withheld {
				t.Fatalf("%q at %q: %q", pointer, path, got)
			}
		}
	})
}
