package importer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest/schema"
)

// recorded is a plugin as a real Kong answered it.
type recorded struct {
	Name   string `json:"name"`
	Entity string `json:"entity"`
	Answer struct {
		Name      string                         `json:"name"`
		Enabled   bool                           `json:"enabled"`
		Config    map[string]any                 `json:"config"`
		Protocols []string                       `json:"protocols"`
		Tags      []string                       `json:"tags"`
		Instance  string                         `json:"instance_name"`
		Service   *struct{ ID, Name string }     `json:"service"`
		Route     *struct{ ID, Name string }     `json:"route"`
		Consumer  *struct{ ID, Username string } `json:"consumer"`
	} `json:"answer"`
}

func recordedPlugins(t *testing.T) (plugins []recorded) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "test", "kongtest", "schema", "testdata", "accepted.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &plugins); err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(plugins, func(r recorded) bool { return r.Entity != "plugins" })
}

// row is the plugin in a world with the entities of its scope.
func (r recorded) row(w *world) *plugin.Plugin {
	row := plugin.Plugin{ID: id(10), Name: r.Answer.Name, Enabled: r.Answer.Enabled, Config: r.Answer.Config, Protocols: r.Answer.Protocols, Tags: r.Answer.Tags, InstanceName: r.Answer.Instance}
	if r.Answer.Service != nil {
		w.entity(adminapi.Service, 1, "orders")
		row.Scope.ServiceID = id(1)
	}
	if r.Answer.Route != nil {
		w.entity(adminapi.Route, 2, "orders-v1")
		row.Scope.RouteID = id(2)
	}
	if r.Answer.Consumer != nil {
		w.entity(adminapi.Consumer, 3, "alice")
		row.Scope.ConsumerID = id(3)
	}
	raw, _ := schema.PluginJSON(r.Answer.Name)
	w.in.Kong.Schemas[r.Answer.Name], _ = plugin.ParseSchema(raw)
	w.in.Kong.Plugins = append(w.in.Kong.Plugins, row)
	return &w.in.Kong.Plugins[len(w.in.Kong.Plugins)-1]
}

// differencesOf renders a printed binding as the operator does, with the printed Secrets, and compares all of
// it with the row.
func differencesOf(t *testing.T, w *world, result Result, row plugin.Plugin) []string {
	t.Helper()
	binding := onlyBinding(t, result)
	rendered, err := plugin.Render(plugin.Inputs{
		Spec: &binding.Spec, Scope: row.Scope, InstanceName: string(binding.Spec.InstanceName),
		Secret: func(ref v1alpha1.SecretKeyRef) ([]byte, error) { return result.Secrets[0].Values[ref.Key], nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return plugin.Differences(rendered.Plugin, row, w.in.Kong.Schemas[row.Name])
}

// What Kong has is what the operator makes of the printed object: every field, of every plugin that was
// recorded from a real Kong.
func TestRecordedPluginsMeanTheSame(t *testing.T) {
	plugins := recordedPlugins(t)
	if len(plugins) < 100 {
		t.Fatalf("only %d plugins", len(plugins))
	}
	for _, r := range plugins {
		t.Run(r.Name, func(t *testing.T) {
			w := newWorld(t)
			row := r.row(w)
			result := w.plan()
			for _, unsaid := range result.Unsaid {
				switch {
				case strings.Contains(unsaid.Why, "an empty list of protocols") && unsaid.LeftOut && len(row.Protocols) == 0:
					return
				case !strings.Contains(unsaid.Why, "does not say tag"):
					t.Fatalf("%+v", unsaid)
				}
				row.Tags = nil
			}
			if fields := differencesOf(t, w, result, *row); len(fields) > 0 {
				t.Errorf("a binding would change %s\n%s", strings.Join(fields, ", "), text(t, result))
			}
		})
	}
}

// The fields that only Kong Enterprise has, and all that is no config.
func TestEveryFieldMeansTheSame(t *testing.T) {
	w := newWorld(t)
	w.entity(adminapi.Service, 1, "orders")
	w.entity(adminapi.Route, 2, "orders-v1")
	w.entity(adminapi.ConsumerGroup, 3, "gold")
	row := w.row(10, "rate-limiting", map[string]any{"minute": 5.0}, plugin.Scope{ServiceID: id(1), RouteID: id(2), ConsumerGroupID: id(3)}, "b", "a")
	row.Enabled, row.Protocols, row.InstanceName = false, []string{"https", "http"}, "limit"
	row.Ordering = map[string]map[string][]string{"before": {"access": {"key-auth", "acl"}}, "after": {"access": {"cors"}}}
	row.Unknown = map[string]json.RawMessage{
		"condition": json.RawMessage(`"http.path == \"/a\""`),
		"partials":  json.RawMessage(`[{"id":"` + id(4) + `","name":"shared","path":"config.redis"}]`),
	}
	result := w.plan()
	if len(result.Unsaid) > 0 {
		t.Fatalf("%+v", result.Unsaid)
	}
	if fields := differencesOf(t, w, result, *row); len(fields) > 0 {
		t.Errorf("a binding would change %s\n%s", strings.Join(fields, ", "), text(t, result))
	}
}
