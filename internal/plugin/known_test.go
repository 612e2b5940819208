package plugin

import (
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

func specWith(config string, patches ...string) *v1alpha1.PluginBindingSpec {
	spec := &v1alpha1.PluginBindingSpec{Plugin: "rate-limiting", Config: &apiextensionsv1.JSON{Raw: []byte(config)}}
	for _, path := range patches {
		spec.ConfigPatches = append(spec.ConfigPatches, v1alpha1.ConfigPatch{Path: path})
	}
	return spec
}

func TestKnownIsWhatTheSpecSaysAlone(t *testing.T) {
	from := &v1alpha1.ConfigSource{SecretKeyRef: v1alpha1.SecretKeyRef{Name: "a", Key: "b"}}
	for name, tc := range map[string]struct {
		spec            *v1alpha1.PluginBindingSpec
		complete, empty bool
	}{
		"all":                    {specWith(`{"minute": 5}`), true, false},
		"without a config":       {&v1alpha1.PluginBindingSpec{Plugin: "cors"}, true, false},
		"some":                   {specWith(`{"minute": 5}`, "/redis/password"), false, false},
		"nothing":                {&v1alpha1.PluginBindingSpec{Plugin: "cors", ConfigFrom: from}, false, true},
		"a path that is not one": {specWith(`{"minute": 5}`, "redis"), false, true},
	} {
		known, err := RenderKnown(tc.spec)
		if err != nil || known.IsComplete() != tc.complete || known.Empty != tc.empty {
			t.Errorf("%s: %+v %v", name, known, err)
		}
	}
	if _, err := RenderKnown(specWith(`[]`)); err == nil || !strings.Contains(err.Error(), "is not an object") {
		t.Error(err)
	}
}

func TestWhatIsLeftOutDecidesWhatRefuses(t *testing.T) {
	schema := &Schema{config: &record{
		fields: map[string]*field{
			"minute":  {kind: "number"},
			"redis":   {kind: "record", record: &record{fields: map[string]*field{"host": {kind: "string"}, "password": {kind: "string"}}}},
			"methods": {kind: "array", elements: &field{kind: "string"}},
		},
		deprecated: []deprecatedField{{name: "redis_password", kind: "string", paths: [][]string{{"redis", "password"}}}},
	}}
	complete, _ := RenderKnown(specWith(`{}`))
	some, _ := RenderKnown(specWith(`{}`, "/redis/password", "/methods/0"))
	nothing := Known{Empty: true}
	const expected, unknown, missing = "expected a number", MessageUnknownField, "required field missing"
	for _, tc := range []struct {
		path, message  string
		complete, some bool
	}{
		{"config.minute", expected, true, true},
		{"config.minutes", unknown, true, true},
		{"config.redis.host", "expected a string", true, true},
		{"config.minute", missing, true, false},                        // perhaps because of another field
		{"config.minute", "value must be greater than 0", true, false}, // perhaps a conditional check
		{"", "at least one of these fields must be non-empty: 'config.minute'", true, false},
		{"config.redis.password", "expected a string", true, false},
		{"config.redis_password", "expected a string", true, false},
		{"config.redis", "expected a record", true, false},
		{"config", "expected a record", true, false},
		{"config.methods[3]", "expected a string", true, false},
		{"protocols", "expected a set", true, true},
		{"config.minute", "expected a secret, such as hunter2", true, false},
	} {
		if got := complete.Refuses(tc.path, tc.message, schema); got != tc.complete {
			t.Errorf("complete: %s: %s: %v", tc.path, tc.message, got)
		}
		if got := some.Refuses(tc.path, tc.message, schema); got != tc.some {
			t.Errorf("some: %s: %s: %v", tc.path, tc.message, got)
		}
		if nothing.Refuses(tc.path, tc.message, schema) {
			t.Errorf("nothing: %s: %s", tc.path, tc.message)
		}
	}
}

func TestPatchAt(t *testing.T) {
	spec := specWith(`{}`, "/redis/password", "/methods/-")
	for path, want := range map[string]int{
		"config.redis.password": 0, "config.redis": -1, "config.redis.host": -1, "config.methods[2]": 1, "config": -1, "": -1,
	} {
		if got := PatchAt(spec, path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
}

func TestDeprecatedFields(t *testing.T) {
	schema := &Schema{config: &record{deprecated: []deprecatedField{
		{name: "a", paths: [][]string{{"x"}, {"y", "z"}}}, {name: "b"}, {name: "c"},
	}}}
	got := DeprecatedFields(Plugin{Config: map[string]any{"a": 1, "b": 2}}, schema)
	if strings.Join(got, "; ") != "config.a, replaced by config.x and config.y.z; config.b" {
		t.Errorf("%q", got)
	}
	if got := DeprecatedFields(Plugin{}, nil); got != nil {
		t.Errorf("%q", got)
	}
}
