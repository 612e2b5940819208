package plugin

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

func fromMap(key string) v1alpha1.ConfigSource {
	return v1alpha1.ConfigSource{ConfigMapKeyRef: v1alpha1.ConfigMapKeyRef{Name: "m", Key: key}}
}

// configMaps looks keys of one ConfigMap up.
func configMaps(data map[string]string) func(v1alpha1.ConfigMapKeyRef) ([]byte, error) {
	return func(ref v1alpha1.ConfigMapKeyRef) ([]byte, error) {
		value, ok := data[ref.Key]
		if !ok {
			return nil, errors.New("no ConfigMap " + ref.Name)
		}
		return []byte(value), nil
	}
}

// What comes from a Secret is hidden, also inside a composed value. What comes from a ConfigMap is shown.
func TestSourcesAndWhatIsHidden(t *testing.T) {
	whole := fromMap("whole")
	secret := map[string]string{"token": "s3cr3t-token"}
	public := map[string]string{"whole": "endpoint: public-endpoint\n", "host": "public-host", "port": "6380", "broken": "{", "binary": "\xff"}
	for name, tc := range map[string]struct {
		spec   v1alpha1.PluginBindingSpec
		want   map[string]any
		hidden []string
		shown  []string
		err    string
	}{
		"a whole config": {
			spec: v1alpha1.PluginBindingSpec{ConfigFrom: &whole},
			want: map[string]any{"endpoint": "public-endpoint"}, shown: []string{"public-endpoint", "config.endpoint"},
		},
		"a value": {
			spec: v1alpha1.PluginBindingSpec{ConfigPatches: []v1alpha1.ConfigPatch{{Path: "/redis/host", ValueFrom: fromMap("host")}}},
			want: map[string]any{"redis": map[string]any{"host": "public-host"}}, shown: []string{"public-host"},
		},
		"a number": {
			spec: v1alpha1.PluginBindingSpec{ConfigPatches: []v1alpha1.ConfigPatch{{Path: "/port", ValueFrom: fromMap("port"), Format: v1alpha1.FormatJSON}}},
			want: map[string]any{"port": 6380.0}, shown: []string{"6380"},
		},
		"a composed value": {
			spec: v1alpha1.PluginBindingSpec{ConfigPatches: []v1alpha1.ConfigPatch{{Path: "/header", ValueFrom: from("token"), Prefix: "Bearer ", Suffix: "; v=1"}}},
			want: map[string]any{"header": "Bearer s3cr3t-token; v=1"}, hidden: []string{"s3cr3t-token", "Bearer s3cr3t-token; v=1"}, shown: []string{"Bearer", "v=1"},
		},
		"both": {
			spec: v1alpha1.PluginBindingSpec{ConfigFrom: &whole, ConfigPatches: []v1alpha1.ConfigPatch{{Path: "/header", ValueFrom: from("token")}}},
			want: map[string]any{"endpoint": "public-endpoint", "header": "s3cr3t-token"}, hidden: []string{"s3cr3t-token"}, shown: []string{"public-endpoint"},
		},
		"a key that does not exist": {
			spec: v1alpha1.PluginBindingSpec{ConfigPatches: []v1alpha1.ConfigPatch{{Path: "/a", ValueFrom: fromMap("none")}}},
			err:  "spec.configPatches[0]: no ConfigMap m",
		},
		"no JSON": {
			spec: v1alpha1.PluginBindingSpec{ConfigPatches: []v1alpha1.ConfigPatch{{Path: "/a", ValueFrom: fromMap("broken"), Format: v1alpha1.FormatJSON}}},
			err:  "spec.configPatches[0] (/a) from ConfigMap m, key broken: is not valid JSON",
		},
		"no text": {
			spec: v1alpha1.PluginBindingSpec{ConfigPatches: []v1alpha1.ConfigPatch{{Path: "/a", ValueFrom: fromMap("binary")}}},
			err:  "spec.configPatches[0] (/a) from ConfigMap m, key binary: is not valid UTF-8",
		},
	} {
		rendered, err := Render(Inputs{Spec: &tc.spec, Secret: secrets(secret), ConfigMap: configMaps(public)})
		if tc.err != "" {
			if err == nil || err.Error() != tc.err {
				t.Errorf("%s: error %v, want %s", name, err, tc.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(tc.want, rendered.Plugin.Config); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		for _, text := range tc.hidden {
			if got := rendered.Redactor.Redact("says " + text + " here"); strings.Contains(got, text) {
				t.Errorf("%s: shows %q", name, got)
			}
		}
		for _, text := range tc.shown {
			if got := rendered.Redactor.Redact("says " + text + " here"); !strings.Contains(got, text) {
				t.Errorf("%s: hides %q: %s", name, text, got)
			}
		}
	}
}

// Kong's message about a field that came from a Secret is withheld, and the one about a field that came
// from a ConfigMap is not.
func TestMessagesAboutFieldsFromConfigMaps(t *testing.T) {
	spec := v1alpha1.PluginBindingSpec{ConfigPatches: []v1alpha1.ConfigPatch{
		{Path: "/token", ValueFrom: from("token")}, {Path: "/host", ValueFrom: fromMap("host")},
	}}
	rendered, err := Render(Inputs{Spec: &spec, Secret: secrets(map[string]string{"token": "t"}), ConfigMap: configMaps(map[string]string{"host": "h"})})
	if err != nil {
		t.Fatal(err)
	}
	rendered.Redactor.AllowFieldNames(parsed(t, []byte(`{"fields":[{"config":{"type":"record","fields":[{"token":{"type":"string"}},{"host":{"type":"string"}}]}}]}`)))
	const text = "says what nobody foresaw"
	if _, got := rendered.Redactor.RedactFieldError("config.token", text); got == text {
		t.Error("the message about the token is shown")
	}
	if _, got := rendered.Redactor.RedactFieldError("config.host", text); got != text {
		t.Errorf("the message about the host is %q", got)
	}
}

func TestRenderWarnsAboutQuotesFromAConfigMap(t *testing.T) {
	rendered, err := Render(Inputs{
		Spec:      &v1alpha1.PluginBindingSpec{ConfigPatches: []v1alpha1.ConfigPatch{{Path: "/host", ValueFrom: fromMap("host")}}},
		ConfigMap: configMaps(map[string]string{"host": `"redis"`}),
	})
	if err != nil || len(rendered.Warnings) != 1 || !strings.Contains(rendered.Warnings[0], "remove the quotes from the ConfigMap") {
		t.Errorf("%v %q", err, rendered.Warnings)
	}
}
