package importer

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest/schema"
)

const password = "hunter2-in-kong"

// redisRow is a row with a password.
func redisRow(w *world, tags ...string) *plugin.Plugin {
	w.t.Helper()
	return w.row(10, "rate-limiting", map[string]any{
		"minute": 5.0, "policy": "redis", "redis": map[string]any{"host": "redis.shop", "password": password, "database": 3.0},
	}, plugin.Scope{}, tags...)
}

func TestSecretsStayHidden(t *testing.T) {
	w := newWorld(t)
	redisRow(w)
	result := w.plan()
	spec := onlyBinding(t, result).Spec
	if string(spec.Config.Raw) != `{"minute":5,"policy":"redis","redis":{"database":3,"host":"redis.shop"}}` {
		t.Errorf("says %s", spec.Config.Raw)
	}
	secret := result.Secrets[0]
	want := v1alpha1.ConfigPatch{Path: "/redis/password", ValueFrom: v1alpha1.ConfigSource{SecretKeyRef: v1alpha1.SecretKeyRef{Name: secret.Name, Key: "redis.password"}}}
	if len(spec.ConfigPatches) != 1 || spec.ConfigPatches[0] != want || string(secret.Values["redis.password"]) != password {
		t.Errorf("%+v %v", spec.ConfigPatches, secret.Fields)
	}
	printed := text(t, result)
	if strings.Contains(printed, password) || !strings.Contains(printed, "redis.password: the value of config.redis.password") || !strings.Contains(printed, "stringData: {}") {
		t.Errorf("prints\n%s", printed)
	}
	var with strings.Builder
	if err := PrintYAML(&with, result.Secrets, Result{}, true); err != nil || !strings.Contains(with.String(), "redis.password: "+password) {
		t.Errorf("%v\n%s", err, with.String())
	}
	list, err := List(result.Secrets, result, false)
	raw, _ := json.Marshal(list)
	if err != nil || strings.Contains(string(raw), password) || len(list.Items) != 2 {
		t.Errorf("%v %s", err, raw)
	}
}

// What a KongPlugin takes from Secrets comes from the same ones.
func TestSecretsOfKongPlugin(t *testing.T) {
	const patch = `{"plugin":"rate-limiting","config":{"minute":5,"policy":"redis","redis":{"host":"redis.shop","database":3}},
		"configPatches":[{"path":"/redis/password","valueFrom":{"secretKeyRef":{"name":"redis","key":"json"}}}]}`
	tests := map[string]struct {
		namespace, manifest string
		from                *v1alpha1.ConfigSource
		patches             []string
		secrets             int
	}{
		"configPatches": {"shop", patch, nil, []string{"/redis/password redis/json"}, 0},
		"configFrom": {"shop", `{"plugin":"rate-limiting","configFrom":{"secretKeyRef":{"name":"limit","key":"yaml"}}}`,
			&v1alpha1.ConfigSource{SecretKeyRef: v1alpha1.SecretKeyRef{Name: "limit", Key: "yaml"}}, nil, 0},
		"of another namespace":            {"platform", patch, nil, []string{"/redis/password imported"}, 1},
		"configFrom of another namespace": {"platform", `{"plugin":"rate-limiting","configFrom":{"secretKeyRef":{"name":"limit","key":"yaml"}}}`, &v1alpha1.ConfigSource{}, nil, 1},
		"a password in the open": {"shop", `{"plugin":"rate-limiting","config":{"minute":5,"policy":"redis","redis":{"host":"redis.shop","database":3,"password":"` + password + `"}}}`,
			nil, []string{"/redis/password imported"}, 1},
		"a patch of the whole config": {"shop", `{"plugin":"rate-limiting","configPatches":[{"path":"","valueFrom":{"secretKeyRef":{"name":"limit","key":"json"}}}]}`,
			&v1alpha1.ConfigSource{}, nil, 1},
		"changed in Kong": {"shop", strings.Replace(patch, `"minute":5`, `"minute":6`, 1), nil, []string{"/redis/password imported"}, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.object("", "Service", "shop", "api", "limit")
			w.entity(adminapi.Service, 1, "shop.api.80", ingressTags("", "Service", "shop", "api")...)
			redisRow(w, w.kongPlugin(tt.namespace, "limit", tt.manifest)...).Scope = plugin.Scope{ServiceID: id(1)}
			w.in.Kube.Objects = nil // the ingress controller is gone
			result := w.plan()
			spec := onlyBinding(t, result).Spec
			var patches []string
			for _, patch := range spec.ConfigPatches {
				ref := patch.ValueFrom.SecretKeyRef
				from := ref.Name + "/" + ref.Key
				if len(result.Secrets) > 0 && ref.Name == result.Secrets[0].Name {
					from = "imported"
				}
				patches = append(patches, patch.Path+" "+from)
			}
			switch {
			case len(result.Secrets) != tt.secrets || !reflect.DeepEqual(patches, tt.patches):
				t.Errorf("patches %v, %d Secrets", patches, len(result.Secrets))
			case (tt.from == nil) != (spec.ConfigFrom == nil) || tt.from != nil && tt.from.SecretKeyRef.Name != "" && *tt.from != *spec.ConfigFrom:
				t.Errorf("configFrom %+v", spec.ConfigFrom)
			case strings.Contains(text(t, result), password):
				t.Error("prints the password")
			}
		})
	}
}

func TestConfigWithoutSchema(t *testing.T) {
	w := newWorld(t)
	redisRow(w)
	w.in.Kong.Schemas = nil
	result := w.plan()
	if spec := onlyBinding(t, result).Spec; spec.Config != nil || strings.Contains(text(t, result), "redis.shop") {
		t.Errorf("%+v", spec)
	}
}

// Whatever plugin it is, the operator makes of the object exactly what Kong has, and shows no field that
// Kong encrypts.
func TestEveryPluginMeansTheSame(t *testing.T) {
	imported := 0
	for _, name := range schema.Names() {
		w := newWorld(t)
		if entity, violation := schema.Insert("plugins", map[string]any{"name": name, "config": map[string]any{}}); violation != nil || entity == nil {
			continue // it needs a config
		}
		row := *w.row(10, name, nil, plugin.Scope{})
		declared, err := declare(row, w.in.Kong.Schemas[name], nil, "kong", nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		imported++
		if err := declared.config.check(row, w.in.Kong.Schemas[name]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if hidden := plugin.HiddenFields(name, declared.config.open, w.in.Kong.Schemas[name]); len(hidden) > 0 {
			t.Errorf("%s shows %v", name, hidden)
		}
	}
	if imported < 20 {
		t.Errorf("only %d plugins", imported)
	}
}
