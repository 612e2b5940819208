package importer

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

const deckFile = `
_format_version: "3.0"
_workspace: default
_info: {select_tags: [team-a], defaults: {}}
_plugin_configs: {shared: {minute: 5}}
services:
- name: orders
  plugins: &limits
  - name: rate-limiting
    _config: shared
    tags: [team-a]
  routes:
  - name: orders-get
    plugins:
    - name: key-auth
    - {name: cors, enabled: false}
- &base
  name: users
  plugins: *limits
consumers:
- username: alice
  groups: [{name: gold}]
  plugins: [{name: rate-limiting}]
plugins:
- name: prometheus
- {name: bot-detection, id: 00000000-0000-4000-8000-000000000099}
- {name: request-termination, route: orders-get, consumer: {username: alice}}
`

func parseDeck(t *testing.T, file string) *State {
	t.Helper()
	state := &State{}
	if err := ParseDeck(state, "kong.yaml", []byte(file)); err != nil {
		t.Fatal(err)
	}
	return state
}

func TestParseDeck(t *testing.T) {
	state := parseDeck(t, deckFile)
	var got []string
	for _, e := range state.Entries {
		got = append(got, fmt.Sprintf("%s: %s s=%s r=%s c=%s %s", e.Address, e.Plugin, e.Service, e.Route, e.Consumer, e.ID))
	}
	want := []string{
		"services[orders].routes[orders-get].plugins[key-auth]: key-auth s= r=orders-get c= ",
		"services[orders].routes[orders-get].plugins[cors]: cors s= r=orders-get c= ",
		"services[orders].plugins[rate-limiting]: rate-limiting s=orders r= c= ",
		"services[users].plugins[rate-limiting]: rate-limiting s=users r= c= ",
		"consumers[alice].plugins[rate-limiting]: rate-limiting s= r= c=alice ",
		"plugins[prometheus]: prometheus s= r= c= ",
		"plugins[bot-detection]: bot-detection s= r= c= 00000000-0000-4000-8000-000000000099",
		"plugins[request-termination]: request-termination s= r=orders-get c=alice ",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if fmt.Sprint(state.SelectTags) != "[team-a]" || state.Workspace != "default" {
		t.Errorf("%+v", state)
	}
}

func TestParseDeckRefuses(t *testing.T) {
	bomb := "_format_version: '3.0'\na0: &a0 [x]\n"
	for i := 1; i < 40; i++ {
		bomb += fmt.Sprintf("a%d: &a%d [*a%d, *a%d]\n", i, i, i-1, i-1)
	}
	bomb += "services: *a39\n"
	for name, file := range map[string]string{
		"no state file": "a: 1", "a list": "[]", "empty": "", "no YAML": "{",
		"many entities":     "_format_version: '3.0'\nplugins: [" + strings.Repeat("{},", maxEntities+1) + "]",
		"an unknown format": "_format_version: '4.0'\nplugins: []",
		"Konnect":           "_format_version: '3.0'\n_konnect: {control_plane_name: a}\nplugins: []",
	} {
		if err := ParseDeck(&State{}, "kong.yaml", []byte(file)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	state := &State{}
	if err := ParseDeck(state, "kong.yaml", []byte(bomb)); err != nil || len(state.Entries) > 0 {
		t.Errorf("aliases of aliases: %v, %d entries", err, len(state.Entries))
	}
	// Routes in routes, without end: each would have a longer path than the one around it.
	state = parseDeck(t, "_format_version: '3.0'\nservices:\n- &s\n  name: a\n  services: [*s]\n  routes: &r\n  - {name: x, routes: *r, plugins: [{name: cors}]}\n")
	if len(state.Entries) != 1 {
		t.Errorf("routes in routes: %d entries", len(state.Entries))
	}
	if err := ParseDeck(&State{Workspace: "other"}, "kong.yaml", []byte(deckFile)); err == nil {
		t.Error("two workspaces are accepted")
	}
}

// deckWorld has the rows of the state file, as decK makes them, and one row that is not in it.
func deckWorld(t *testing.T, file string) *world {
	w := newWorld(t)
	w.in.Source, w.in.State = FromDeck, parseDeck(t, file)
	w.entity(adminapi.Service, 1, "orders")
	w.entity(adminapi.Service, 2, "users")
	w.entity(adminapi.Route, 3, "orders-get")
	w.entity(adminapi.Consumer, 4, "alice")
	minute := map[string]any{"minute": 5.0}
	w.row(10, "rate-limiting", minute, plugin.Scope{ServiceID: id(1)}, "team-a")
	w.row(11, "rate-limiting", minute, plugin.Scope{ServiceID: id(2)}, "team-a")
	w.row(12, "key-auth", nil, plugin.Scope{RouteID: id(3)}, "team-a")
	w.row(13, "cors", nil, plugin.Scope{RouteID: id(3)}, "team-a")
	w.row(14, "rate-limiting", minute, plugin.Scope{ConsumerID: id(4)}, "team-a", "gold")
	w.row(15, "prometheus", nil, plugin.Scope{}, "team-a")
	w.row(99, "bot-detection", nil, plugin.Scope{}, "team-a")
	w.row(16, "request-termination", nil, plugin.Scope{RouteID: id(3), ConsumerID: id(4)}) // its tags are out
	w.row(20, "key-auth", nil, plugin.Scope{ServiceID: id(2)}, "by-hand")
	return w
}

func TestDeckIsRefusedUntilRemoved(t *testing.T) {
	w := deckWorld(t, deckFile)
	result := w.plan()
	w.wantObjects(result, "PluginBinding kong/request-termination-orders-get-alice")
	if len(result.Remove) != 8 || result.Remove[0].Refused == "" || refusedOf(result) != 7 {
		t.Errorf("%+v", result.Remove)
	}
	report := reportOf(w, result)
	for _, line := range []string{
		"  consumers[alice].plugins[rate-limiting]  # plugin " + id(14) + "  ->  refused",
		"7 plugins are refused, because the next run of decK would delete what it no longer lists. Stop whatever runs decK",
		"Do not run `deck gateway sync kong.yaml` before",
	} {
		if !strings.Contains(report, line) {
			t.Errorf("the report lacks %q:\n%s", line, report)
		}
	}
	w.in.Removed = true
	result = w.plan()
	if len(result.Objects) != 8 || len(result.Unsaid) > 0 {
		t.Errorf("%v %+v", objectNames(result), result.Unsaid)
	}
	// The tag by which decK manages the plugin must not stay on it.
	if printed := text(t, result); strings.Contains(printed, "team-a") || !strings.Contains(printed, "- gold") || strings.Contains(printed, "by-hand") {
		t.Errorf("prints\n%s", printed)
	}
	if !strings.Contains(reportOf(w, result), "The files still list entries") {
		t.Error("no warning of entries that are still there")
	}
}

// Once the entries are out of the file, its rows are those with its tags that it does not list.
func TestDeckAfterRemoval(t *testing.T) {
	w := deckWorld(t, "_format_version: '3.0'\n_info: {select_tags: [team-a]}\nservices: [{name: orders}]\n")
	result := w.plan()
	if len(result.Objects) > 0 || refusedOf(result) != 7 || !strings.Contains(result.Unsaid[0].Why, "the files do not list it") {
		t.Errorf("%v %+v", objectNames(result), result.Unsaid)
	}
	w.in.Removed = true
	if result = w.plan(); len(result.Objects) != 7 || len(result.Remove) > 0 || strings.Contains(reportOf(w, result), "still list") {
		t.Errorf("%v\n%s", objectNames(result), reportOf(w, result))
	}
}

func TestDeckWithoutSelectTags(t *testing.T) {
	w := deckWorld(t, strings.Replace(deckFile, "select_tags: [team-a], ", "", 1))
	result := w.plan()
	if len(result.Objects) > 0 || refusedOf(result) != 9 {
		t.Errorf("%v, %d refused", objectNames(result), refusedOf(result))
	}
	if report := reportOf(w, result); !strings.Contains(report, "deletes every plugin of the workspace that they do not list") {
		t.Errorf("report\n%s", report)
	}
}

func TestDeckEntryWithoutRow(t *testing.T) {
	w := deckWorld(t, deckFile)
	w.in.Removed = true
	w.in.Kong.Plugins = w.in.Kong.Plugins[1:]
	result := w.plan()
	if len(result.Unsaid) != 1 || result.Unsaid[0].Plugin != "services[orders].plugins[rate-limiting]" {
		t.Errorf("%+v", result.Unsaid)
	}
}

// A plugin on an entity that the file does not name is not the plugin without a scope.
func TestDeckEntityWithoutName(t *testing.T) {
	w := newWorld(t)
	w.in.Source, w.in.Removed = FromDeck, true
	w.in.Kong.Entities[adminapi.Consumer][id(4)] = adminapi.Entity{ID: id(4), CustomID: "crm-1"}
	w.row(10, "cors", nil, plugin.Scope{}, "by-hand")
	w.row(11, "key-auth", nil, plugin.Scope{ConsumerID: id(4)}, "team-a")
	w.in.State = parseDeck(t, `
_format_version: "3.0"
_info: {select_tags: [team-a]}
consumers:
- {custom_id: crm-1, plugins: [{name: key-auth}]}
services:
- {host: a, plugins: [{name: cors}]}
plugins:
- {name: cors, consumer: {tags: [x]}}
`)
	result := w.plan()
	w.wantObjects(result, "PluginBinding kong/key-auth-crm-1")
	if len(result.Unsaid) != 2 || !strings.Contains(result.Unsaid[0].Why, "does not name the entity") || !strings.Contains(result.Unsaid[1].Why, "does not name the entity") {
		t.Errorf("%+v", result.Unsaid)
	}
}

const terraformShow = `{"format_version":"1.0","values":{"root_module":{"resources":[
	{"address":"kong-gateway_plugin_cors.x","mode":"managed","values":{"id":"00000000-0000-4000-8000-000000000013"}},
	{"address":"data.kong_service.x","mode":"data","values":{"id":"00000000-0000-4000-8000-000000000012"}}],
	"child_modules":[{"resources":[{"address":"module.m.kong_plugin.p[\"a'b\"]","mode":"managed","values":{"id":"00000000-0000-4000-8000-000000000010"}}]}]}}}`

const terraformPull = `{"version":4,"resources":[
	{"mode":"managed","type":"kong-gateway_plugin_cors","name":"x","instances":[{"attributes":{"id":"00000000-0000-4000-8000-000000000013"}}]},
	{"mode":"data","type":"kong_service","name":"x","instances":[{"attributes":{"id":"00000000-0000-4000-8000-000000000012"}}]},
	{"module":"module.m","mode":"managed","type":"kong_plugin","name":"p","instances":[{"index_key":"a'b","attributes":{"id":"00000000-0000-4000-8000-000000000010"}}]}]}`

func TestTerraform(t *testing.T) {
	for name, file := range map[string]string{"show": terraformShow, "pull": terraformPull} {
		w := deckWorld(t, deckFile)
		w.in.Source, w.in.State = FromTerraform, &State{}
		if err := ParseTerraform(w.in.State, "state.json", []byte(file)); err != nil {
			t.Fatal(err)
		}
		result := w.plan()
		if len(result.Objects) > 0 || refusedOf(result) != 2 {
			t.Errorf("%s: %v %+v", name, objectNames(result), result.Unsaid)
		}
		report := reportOf(w, result)
		for _, command := range []string{`terraform state rm 'kong-gateway_plugin_cors.x'`, `terraform state rm 'module.m.kong_plugin.p["a'\''b"]'`} {
			if !strings.Contains(report, command) {
				t.Errorf("%s: the report lacks %s:\n%s", name, command, report)
			}
		}
		w.in.Removed = true
		w.wantObjects(w.plan(), "PluginBinding kong/cors-orders-get", "PluginBinding kong/rate-limiting-orders")
	}
	// Resources of other providers can have any ID.
	for _, file := range []string{
		strings.Replace(terraformShow, `"resources":[`, `"resources":[{"address":"other.n","mode":"managed","values":{"id":7}},{"address":"other.s","mode":"managed","values":{"id":{"a":1}}},`, 1),
		strings.Replace(terraformPull, `"resources":[`, `"resources":[{"mode":"managed","type":"other","name":"n","instances":[{"attributes":{"id":7}}]},`, 1),
	} {
		state := &State{}
		if err := ParseTerraform(state, "state.json", []byte(file)); err != nil || len(state.Entries) != 2 {
			t.Errorf("with IDs that are no text: %v, %+v", err, state.Entries)
		}
	}
	if err := ParseTerraform(&State{}, "x", []byte(`{}`)); err == nil {
		t.Error("anything is a state")
	}
}

func TestUnownedAsksForTerraform(t *testing.T) {
	w := newWorld(t)
	w.row(10, "key-auth", nil, plugin.Scope{})
	if report := reportOf(w, w.plan()); !strings.Contains(report, "terraform state list -id="+id(10)) {
		t.Errorf("report\n%s", report)
	}
}

func reportOf(w *world, result Result) string {
	var b bytes.Buffer
	Report(&b, w.in, result, "")
	return b.String()
}
