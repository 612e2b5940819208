package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// noSecret is what a Secret lookup answers when there is none.
type noSecret struct{ ref v1alpha1.SecretKeyRef }

func (e *noSecret) Error() string { return "no Secret " + e.ref.Name }

// secrets looks keys of one Secret up.
func secrets(data map[string]string) func(v1alpha1.SecretKeyRef) ([]byte, error) {
	return func(ref v1alpha1.SecretKeyRef) ([]byte, error) {
		value, ok := data[ref.Key]
		if !ok {
			return nil, &noSecret{ref}
		}
		return []byte(value), nil
	}
}

func from(key string) v1alpha1.ConfigSource {
	return v1alpha1.ConfigSource{SecretKeyRef: v1alpha1.SecretKeyRef{Name: "s", Key: key}}
}

func patch(path, key string, format v1alpha1.ValueFormat) v1alpha1.ConfigPatch {
	return v1alpha1.ConfigPatch{Path: path, ValueFrom: from(key), Format: format}
}

func jsonConfig(config string) *apiextensionsv1.JSON {
	return &apiextensionsv1.JSON{Raw: []byte(config)}
}

func TestRenderConfig(t *testing.T) {
	whole := from("whole")
	for _, tt := range []struct {
		reason  string
		config  *apiextensionsv1.JSON
		from    *v1alpha1.ConfigSource
		patches []v1alpha1.ConfigPatch
		secret  map[string]string
		want    string
		err     string
	}{{
		reason: "no config is an empty one",
		want:   `{}`,
	}, {
		reason: "an empty raw value is no config",
		config: jsonConfig(``),
		want:   `{}`,
	}, {
		reason: "the spec's config as it is",
		config: jsonConfig(`{"a":9007199254740992,"b":{"c":[1.5,null,"x",true]}}`),
		want:   `{"a":9007199254740992,"b":{"c":[1.5,null,"x",true]}}`,
	}, {
		reason: "a config that is no object",
		config: jsonConfig(`[1]`),
		err:    "spec.config: is not an object",
	}, {
		reason: "a config that is null",
		config: jsonConfig(`null`),
		err:    "spec.config: is not an object",
	}, {
		reason: "a config that is no JSON",
		config: jsonConfig(`{`),
		err:    "spec.config: is not valid JSON",
	}, {
		reason: "a NUL in a config would look like an outage of Kong",
		config: jsonConfig(`{"a":[{"b\u0000":1}]}`),
		err:    "spec.config: holds a NUL character, which Kong's database cannot store",
	}, {
		reason: "config and configFrom, when the API server let them through",
		config: jsonConfig(`{}`),
		from:   &whole,
		err:    "spec.configFrom: config and configFrom exclude each other",
	}, {
		reason: "the whole config as YAML",
		from:   &whole,
		secret: map[string]string{"whole": "a: 1\nb:\n  - x\n  - \"2\"\n1: int key\n"},
		want:   `{"a":1,"b":["x","2"],"1":"int key"}`,
	}, {
		reason: "the whole config as JSON, with tabs that YAML does not take",
		from:   &whole,
		secret: map[string]string{"whole": "{\n\t\"a\":\t1\n}\n"},
		want:   `{"a":1}`,
	}, {
		reason: "the whole config is a scalar",
		from:   &whole,
		secret: map[string]string{"whole": "hunter2"},
		err:    "spec.configFrom from Secret s, key whole: is not an object",
	}, {
		reason: "the whole config is neither YAML nor JSON",
		from:   &whole,
		secret: map[string]string{"whole": "a: 1\nb: hunter2: hunter2\n"},
		err:    "spec.configFrom from Secret s, key whole: is not valid YAML or JSON (line 2)",
	}, {
		reason: "a key twice",
		from:   &whole,
		secret: map[string]string{"whole": "hunter2: 1\nhunter2: 2\n"},
		err:    "spec.configFrom from Secret s, key whole: holds a key twice in one object; remove one of them (line 2)",
	}, {
		reason: "a number that JSON does not have",
		from:   &whole,
		secret: map[string]string{"whole": "a: .inf\n"},
		err:    "spec.configFrom from Secret s, key whole: is not valid YAML or JSON",
	}, {
		reason: "bytes that are no text",
		from:   &whole,
		secret: map[string]string{"whole": "a: \xff\n"},
		err:    "spec.configFrom from Secret s, key whole: is not valid UTF-8",
	}, {
		reason: "a Secret that is not there",
		from:   &whole,
		err:    "spec.configFrom: no Secret s",
	}, {
		reason:  "a password of digits stays a string",
		patches: []v1alpha1.ConfigPatch{patch("/redis/password", "p", ""), patch("/n", "p", v1alpha1.FormatJSON)},
		secret:  map[string]string{"p": "12345"},
		want:    `{"redis":{"password":"12345"},"n":12345}`,
	}, {
		reason:  "a string keeps its newline, JSON does not mind it",
		patches: []v1alpha1.ConfigPatch{patch("/a", "p", v1alpha1.FormatString), patch("/b", "j", v1alpha1.FormatJSON)},
		secret:  map[string]string{"p": "x\n", "j": "{\"c\":[1]}\n"},
		want:    `{"a":"x\n","b":{"c":[1]}}`,
	}, {
		reason: "patches apply in order, over what is there",
		config: jsonConfig(`{"a":{"b":1},"list":["x",{"y":1}],"null":null}`),
		patches: []v1alpha1.ConfigPatch{
			patch("/a/b", "p", ""), patch("/list/0", "p", ""), patch("/list/1/y", "p", ""),
			patch("/list/-", "p", ""), patch("/list/-/z", "p", ""), patch("/null/n", "p", ""),
			patch("/new/-", "p", ""), patch("/sla~1sh/til~0de", "p", ""), patch("/0/1", "p", ""),
		},
		secret: map[string]string{"p": "v"},
		want: `{"a":{"b":"v"},"list":["v",{"y":"v"},"v",{"z":"v"}],"null":{"n":"v"},
			"new":["v"],"sla/sh":{"til~de":"v"},"0":{"1":"v"}}`,
	}, {
		reason:  "a later patch goes into what an earlier one put there",
		patches: []v1alpha1.ConfigPatch{patch("/a", "j", v1alpha1.FormatJSON), patch("/a/b", "p", "")},
		secret:  map[string]string{"p": "v", "j": `{"b":1,"c":2}`},
		want:    `{"a":{"b":"v","c":2}}`,
	}, {
		reason:  "through a string",
		config:  jsonConfig(`{"a":{"b":"hunter2"}}`),
		patches: []v1alpha1.ConfigPatch{patch("/a/b/c", "p", "")},
		secret:  map[string]string{"p": "hunter2"},
		err:     `spec.configPatches[0] (/a/b/c) from Secret s, key p: path goes through a string before "c"`,
	}, {
		reason:  "through a boolean in an array",
		config:  jsonConfig(`{"a":[true]}`),
		patches: []v1alpha1.ConfigPatch{patch("/a/0/c", "p", "")},
		secret:  map[string]string{"p": "hunter2"},
		err:     `spec.configPatches[0] (/a/0/c) from Secret s, key p: path goes through a boolean before "c"`,
	}, {
		reason:  "through a number",
		config:  jsonConfig(`{"a":1}`),
		patches: []v1alpha1.ConfigPatch{patch("/b", "p", ""), patch("/a/c", "p", "")},
		secret:  map[string]string{"p": "hunter2"},
		err:     `spec.configPatches[1] (/a/c) from Secret s, key p: path goes through a number before "c"`,
	}, {
		reason:  "an index that is no index",
		config:  jsonConfig(`{"a":[1,2]}`),
		patches: []v1alpha1.ConfigPatch{patch("/a/01", "p", "")},
		secret:  map[string]string{"p": "v"},
		err:     `spec.configPatches[0] (/a/01) from Secret s, key p: path has "01" where an array needs an index or '-'`,
	}, {
		reason:  "an index beyond the end",
		config:  jsonConfig(`{"a":[1,2]}`),
		patches: []v1alpha1.ConfigPatch{patch("/a/2", "p", "")},
		secret:  map[string]string{"p": "v"},
		err:     `spec.configPatches[0] (/a/2) from Secret s, key p: path has index 2, and the array ends before it`,
	}, {
		reason:  "a pointer that does not start",
		patches: []v1alpha1.ConfigPatch{patch("a", "p", "")},
		secret:  map[string]string{"p": "v"},
		err:     `spec.configPatches[0] (a) from Secret s, key p: path is not a JSON pointer: it has to start with '/'`,
	}, {
		reason:  "a pointer with a lone tilde",
		patches: []v1alpha1.ConfigPatch{patch("/a~2", "p", "")},
		secret:  map[string]string{"p": "v"},
		err:     `spec.configPatches[0] (/a~2) from Secret s, key p: path is not a JSON pointer: '~' has to be written ~0 and '/' ~1`,
	}, {
		reason:  "JSON that is none",
		patches: []v1alpha1.ConfigPatch{patch("/a", "p", v1alpha1.FormatJSON)},
		secret:  map[string]string{"p": "hunter2"},
		err:     `spec.configPatches[0] (/a) from Secret s, key p: is not valid JSON`,
	}, {
		reason:  "a format from a newer version",
		patches: []v1alpha1.ConfigPatch{patch("/a", "p", "CBOR")},
		secret:  map[string]string{"p": "hunter2"},
		err:     `spec.configPatches[0] (/a) from Secret s, key p: has an unknown format`,
	}, {
		reason:  "a NUL in a value",
		patches: []v1alpha1.ConfigPatch{patch("/a", "p", "")},
		secret:  map[string]string{"p": "hunter2\x00"},
		err:     `spec.configPatches[0] (/a) from Secret s, key p: holds a NUL character, which Kong's database cannot store`,
	}, {
		reason:  "a path with more levels than a config may have",
		patches: []v1alpha1.ConfigPatch{patch(strings.Repeat("/a", maxConfigDepth), "p", ""), patch(strings.Repeat("/b", maxConfigDepth+1), "p", "")},
		secret:  map[string]string{"p": "v"},
		err: "spec.configPatches[1] (" + strings.Repeat("/b", maxConfigDepth+1) + ") from Secret s, key p: " +
			"makes the config more than 64 levels deep, which is the maximum",
	}, {
		reason:  "a path and a value with more levels together than a config may have",
		patches: []v1alpha1.ConfigPatch{patch(strings.Repeat("/a", maxConfigDepth-2), "p", v1alpha1.FormatJSON), patch(strings.Repeat("/b", maxConfigDepth-1), "p", v1alpha1.FormatJSON)},
		secret:  map[string]string{"p": `[{"c":1}]`},
		err: "spec.configPatches[1] (" + strings.Repeat("/b", maxConfigDepth-1) + ") from Secret s, key p: " +
			"makes the config more than 64 levels deep, which is the maximum",
	}, {
		reason:  "a base and patches that are too large together",
		config:  jsonConfig(`{"a":"` + strings.Repeat("x", maxConfigBytes/2) + `"}`),
		patches: []v1alpha1.ConfigPatch{patch("/b", "p", ""), patch("/c", "p", "")},
		secret:  map[string]string{"p": strings.Repeat("x", maxConfigBytes/3)},
		err:     "spec.configPatches[1] (/c) from Secret s, key p: makes the config larger than 2 MiB after decoding, which is the maximum",
	}, {
		reason:  "patches of JSON that are too large together",
		patches: []v1alpha1.ConfigPatch{patch("/b", "p", v1alpha1.FormatJSON), patch("/c", "p", v1alpha1.FormatJSON)},
		secret:  map[string]string{"p": "[" + strings.Repeat("1,", maxConfigNodes/2) + "1]"},
		err: "spec.configPatches[1] (/c) from Secret s, key p: makes the config hold more than 100000 values after decoding, " +
			"which is the maximum",
	}, {
		reason:  "a key twice in a patch, with its line",
		patches: []v1alpha1.ConfigPatch{patch("/b", "p", v1alpha1.FormatJSON)},
		secret:  map[string]string{"p": "{\"hunter2\":1,\n\"hunter2\":2}"},
		err:     "spec.configPatches[0] (/b) from Secret s, key p: holds a key twice in one object; remove one of them (line 2)",
	}, {
		reason:  "a key that is not there",
		patches: []v1alpha1.ConfigPatch{patch("/a", "p", "")},
		err:     `spec.configPatches[0]: no Secret s`,
	}} {
		t.Run(tt.reason, func(t *testing.T) {
			rendered, err := Render(Inputs{
				Spec:   &v1alpha1.PluginBindingSpec{Config: tt.config, ConfigFrom: tt.from, ConfigPatches: tt.patches},
				Secret: secrets(tt.secret),
			})
			if tt.err != "" {
				checkFailure(t, err, tt.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var want map[string]any
			decode(t, []byte(tt.want), &want)
			if diff := cmp.Diff(want, rendered.Plugin.Config); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// checkFailure expects an error with this text, of a type that callers can tell.
func checkFailure(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || err.Error() != text {
		t.Fatalf("error is\n%v, want\n%s", err, text)
	}
	var config *ConfigError
	var missing *noSecret
	if !errors.As(err, &config) && !errors.As(err, &missing) {
		t.Errorf("error is a %T", err)
	}
}

func TestRenderPlugin(t *testing.T) {
	no := false
	got, err := Render(Inputs{
		Spec: &v1alpha1.PluginBindingSpec{
			Plugin:    "rate-limiting",
			Enabled:   &no,
			Protocols: []v1alpha1.Protocol{"http", "https"},
			Tags:      []v1alpha1.Tag{"mine", "owner", "mine", "too"},
			Ordering: &v1alpha1.PluginOrdering{
				Before: &v1alpha1.PluginOrderingPhases{Access: []v1alpha1.PluginName{"acl", "cors"}},
				After:  &v1alpha1.PluginOrderingPhases{},
			},
			Condition: `http.method == "GET"`,
			Partials:  []v1alpha1.PluginPartial{{ID: "x"}, {Name: "redis", Path: "config.redis"}},
		},
		Scope:         Scope{RouteID: "r"},
		InstanceName:  "name",
		OwnershipTags: []string{"owner", "k8s-name:x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Plugin{
		Name:         "rate-limiting",
		InstanceName: "name",
		Scope:        Scope{RouteID: "r"},
		Protocols:    []string{"http", "https"},
		Tags:         []string{"owner", "k8s-name:x", "mine", "too"},
		Ordering:     map[string]map[string][]string{"before": {"access": {"acl", "cors"}}},
		Config:       map[string]any{},
		Unknown:      unknown("condition", `"http.method == \"GET\""`, "partials", `[{"id":"x"},{"name":"redis","path":"config.redis"}]`),
	}
	if diff := cmp.Diff(want, got.Plugin); diff != "" {
		t.Error(diff)
	}
}

func TestRenderDefaults(t *testing.T) {
	for _, ordering := range []*v1alpha1.PluginOrdering{nil, {}} {
		got, err := Render(Inputs{Spec: &v1alpha1.PluginBindingSpec{Plugin: "cors", Ordering: ordering}})
		if err != nil {
			t.Fatal(err)
		}
		want := Plugin{Name: "cors", Enabled: true, Config: map[string]any{}}
		if diff := cmp.Diff(want, got.Plugin); diff != "" {
			t.Error(diff)
		}
	}
}

// A patch of the format String takes the quotes of a JSON string as part of the value.
func TestRenderWarnsAboutQuotes(t *testing.T) {
	for value, warned := range map[string]bool{
		`"hunter2"`: true, " \"hunter2\"\n": true, `""`: true, `hunter2`: false, `"hunter2`: false, `"a" "b"`: false, "null": false, "": false,
	} {
		rendered, err := Render(Inputs{
			Spec: &v1alpha1.PluginBindingSpec{ConfigPatches: []v1alpha1.ConfigPatch{
				patch("/a", "other", ""), patch("/b", "p", v1alpha1.FormatString), patch("/c", "j", v1alpha1.FormatJSON),
			}},
			Secret: secrets(map[string]string{"other": "x", "p": value, "j": `"quoted"`}),
		})
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		if warned {
			want = []string{"spec.configPatches[1] (/b) from Secret s, key p: the value is enclosed in double quotes, and the operator " +
				"sends them to Kong as part of the value; remove the quotes from the Secret, or set the patch's format to JSON"}
		}
		if diff := cmp.Diff(want, rendered.Warnings); diff != "" {
			t.Errorf("%q: %s", value, diff)
		}
		if rendered.Plugin.Config["b"] != value {
			t.Errorf("%q became %q", value, rendered.Plugin.Config["b"])
		}
	}
}

// What was put into the config from Secrets is what the redactor hides.
func TestRenderRedacts(t *testing.T) {
	whole := from("whole")
	rendered, err := Render(Inputs{
		Spec: &v1alpha1.PluginBindingSpec{
			ConfigFrom: &whole,
			ConfigPatches: []v1alpha1.ConfigPatch{
				patch("/p", "string", ""), patch("/q", "json", v1alpha1.FormatJSON), patch("/n", "number", v1alpha1.FormatJSON),
			},
		},
		Secret: secrets(map[string]string{
			"whole":  "host: redis.internal\nport: 63790\nlist: [deep-value]\nssl: true\n",
			"string": "hunter2", "json": `{"k":"another"}`, "number": "12345678901234567890\n",
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	text := "redis.internal:63790 deep-value true hunter2 another 12345678901234567890 k"
	if got := rendered.Redactor.Redact(text); got !=
		"[redacted]:[redacted] [redacted] true [redacted] [redacted] [redacted] [redacted]" {
		t.Error(got)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb, rendered.Redactor); strings.Contains(text, "hunter2") {
			t.Errorf("%s shows %s", verb, text)
		}
	}
}

// Any config, patch and Secret: no panic, no Secret in an error, the value where the
// patch says.
func FuzzRender(f *testing.F) {
	f.Add(`{"a":{"b":[1]}}`, "", "/a/b/0", "hunter2", false)
	f.Add(`{"a":1}`, "", "/a/b", "hunter2", true)
	f.Add("", "a: [1\nb: hunter2: x", "/-/~1", "hunter2\n", false)
	f.Add("", "a: &x [*x]", "//", `{"hunter2":"hunter2"}`, true)
	f.Fuzz(func(t *testing.T, config, whole, path, value string, asJSON bool) {
		spec := &v1alpha1.PluginBindingSpec{ConfigPatches: []v1alpha1.ConfigPatch{patch(path, "value", "")}}
		if asJSON {
			spec.ConfigPatches[0].Format = v1alpha1.FormatJSON
		}
		if config != "" {
			spec.Config = jsonConfig(config)
		}
		if whole != "" {
			source := from("whole")
			spec.ConfigFrom = &source
		}
		rendered, err := Render(Inputs{Spec: spec, Secret: secrets(map[string]string{"whole": whole, "value": value})})
		if err != nil {
			for _, secret := range []string{whole, value} {
				// long enough that it is not in the error by chance; a path may hold it
				if len(secret) > 12 && strings.Contains(err.Error(), secret) && !strings.Contains(path, secret) {
					t.Fatalf("%q shows %q", err, secret)
				}
			}
			return
		}
		raw, err := json.Marshal(Body(rendered.Plugin))
		if err != nil {
			t.Fatal(err)
		}
		if !asJSON {
			quoted, _ := json.Marshal(value)
			if !strings.Contains(string(raw), string(quoted)) {
				t.Fatalf("%s is not in %s", quoted, raw)
			}
		}
	})
}
