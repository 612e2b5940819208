package processes

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// outcome is the end state of a plan, without what differs between any two runs.
type outcome struct{ plugins, bindings string }

// ownedBy reports whether a row carries the ownership tags of a binding.
func (env *testEnv) ownedBy(row map[string]any, binding string) bool {
	instance, _ := row["instance_name"].(string)
	standing, _ := identity.OwnershipOf(identity.Binding{Cluster: env.cluster, Namespace: env.namespace, Name: binding}, tagsOf(row), instance)
	return standing == identity.Owned
}

func tagsOf(row map[string]any) []string {
	list, _ := row["tags"].([]any)
	tags := make([]string, len(list))
	for i := range list {
		tags[i] = fmt.Sprint(list[i])
	}
	return tags
}

// owned reports whether a row carries the ownership tags of any binding of this operator.
func (env *testEnv) owned(row map[string]any) bool {
	owner := identity.OwnerOf(tagsOf(row))
	return owner.Binding != nil && owner.Binding.Cluster == env.cluster
}

// unmanaged returns all rows that are not the operator's.
func (env *testEnv) unmanaged() string {
	var rows []string
	for _, entity := range []string{"services", "routes", "consumers", "plugins"} {
		for _, row := range env.kong.Entities(entity) {
			if !env.owned(row) {
				// Kong returns sets in any order.
				row["tags"] = slices.Sorted(slices.Values(tagsOf(row)))
				rows = append(rows, entity+" "+toJSON(row))
			}
		}
	}
	return strings.Join(rows, "\n")
}

func toJSON(v any) string {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err) // it came from JSON
	}
	return string(out)
}

// check checks the invariants. Every process has ended, and the bindings that remain are those
// that should.
func (env *testEnv) check() {
	env.t.Helper()
	bindings := env.bindings()
	owned := 0
	for i := range bindings {
		env.checkBinding(&bindings[i])
		owned++
	}
	rows := slices.DeleteFunc(env.kong.Plugins(), func(row map[string]any) bool { return !env.owned(row) })
	if len(rows) != owned {
		env.t.Errorf("Kong holds %d owned plugins for %d bindings: %s", len(rows), owned, toJSON(rows))
	}
	env.checkJournal()
	if now := env.unmanaged(); now != env.unmanagedRows {
		env.t.Errorf("rows of other owners changed from\n%s\nto\n%s", env.unmanagedRows, now)
	}
	env.checkSecrets(bindings)
	env.checkLogs()
}

// checkBinding checks that Kong holds the declared plugin under the recorded ID.
func (env *testEnv) checkBinding(b *v1alpha1.PluginBinding) {
	env.t.Helper()
	row := env.kong.Plugin(string(b.Status.PluginID))
	if row == nil || !env.ownedBy(row, b.Name) {
		env.t.Errorf("%s records plugin %q, and Kong has under that ID: %s", b.Name, b.Status.PluginID, toJSON(row))
		return
	}
	var declared struct{ Minute float64 }
	must(env.t, json.Unmarshal(b.Spec.Config.Raw, &declared))
	config, _ := row["config"].(map[string]any)
	redis, _ := config["redis"].(map[string]any)
	if config["minute"] != declared.Minute || redis["password"] != env.secrets[1] {
		env.t.Errorf("%s is ready, but its plugin in Kong is not as declared: %s", b.Name, toJSON(config))
	}
}

// checkJournal checks that a binding never has two plugins, never another ID than the first,
// and no more than one applied POST.
func (env *testEnv) checkJournal() {
	env.t.Helper()
	methods := map[int]string{}
	for _, r := range env.kong.Journal().Requests() {
		methods[r.Seq] = r.Method
	}
	firstID, posts, there := map[string]string{}, map[string]int{}, map[string]map[string]bool{}
	for _, c := range env.kong.Journal().Changes() {
		owner := ownerOf(c)
		if c.Entity != "plugins" || owner == nil || owner.Cluster != env.cluster {
			continue
		}
		name := owner.Name
		if there[name] == nil {
			there[name] = map[string]bool{}
		}
		if c.After == nil {
			delete(there[name], c.ID)
			continue
		}
		there[name][c.ID] = true
		if c.Kind == "create" && methods[c.Request] == http.MethodPost {
			posts[name]++
		}
		if firstID[name] == "" {
			firstID[name] = c.ID
		}
		if c.ID != firstID[name] {
			env.t.Errorf("%s: Kong first assigned the ID %s, and later there was %s", name, firstID[name], c.ID)
		}
		if len(there[name]) > 1 {
			env.t.Errorf("%s: after change %d Kong held %d plugins of it", name, c.Seq, len(there[name]))
		}
	}
	for name, n := range posts {
		if n > 1 {
			env.t.Errorf("%s: %d POSTs were applied", name, n)
		}
	}
}

func ownerOf(c kongtest.Change) *identity.Binding {
	row := c.After
	if row == nil {
		row = c.Before
	}
	return identity.OwnerOf(tagsOf(row)).Binding
}

// checkSecrets checks that no value of a Secret is in anything that a person may read.
func (env *testEnv) checkSecrets(bindings []v1alpha1.PluginBinding) {
	env.t.Helper()
	gw, old, events := &v1alpha1.KongGateway{}, &corev1.EventList{}, &eventsv1.EventList{}
	env.get(gw, gatewayName)
	must(env.t, suite.client.List(context.Background(), old, client.InNamespace(env.namespace)))
	must(env.t, suite.client.List(context.Background(), events, client.InNamespace(env.namespace)))
	texts := map[string]string{
		"the bindings": toJSON(bindings), "the gateway": toJSON(gw), "the events": toJSON(events) + toJSON(old),
	}
	for _, r := range env.replicas {
		for _, p := range r.processes {
			texts[p.logFile] = p.text()
		}
	}
	for where, text := range texts {
		for _, secret := range env.secrets {
			if strings.Contains(text, secret) {
				env.t.Errorf("%s contain a value of a Secret", where)
			}
		}
	}
}

var crashPattern = regexp.MustCompile(`(?m)^panic:|Observed a panic|WARNING: DATA RACE|^fatal error:|^SIGSEGV`)

// checkLogs checks for panics and data races.
func (env *testEnv) checkLogs() {
	env.t.Helper()
	for _, r := range env.replicas {
		for _, p := range r.processes {
			text := p.text()
			if at := crashPattern.FindStringIndex(text); at != nil {
				env.t.Errorf("%s:\n%s", p.logFile, text[at[0]:min(len(text), at[0]+4000)])
			}
		}
	}
}

// outcome returns the end state, for comparison.
func (env *testEnv) outcome() outcome {
	env.t.Helper()
	var o outcome
	var rows []string // in no order: two of them may have been created at the same time
	for _, row := range env.kong.Plugins() {
		if !env.owned(row) {
			continue
		}
		delete(row, "created_at")
		delete(row, "updated_at")
		row["tags"] = slices.Sorted(slices.Values(tagsOf(row)))
		protocols, _ := row["protocols"].([]any)
		slices.SortFunc(protocols, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		rows = append(rows, env.normalize(toJSON(row)))
	}
	slices.Sort(rows)
	o.plugins = strings.Join(rows, "\n") + "\n"
	for _, b := range env.bindings() {
		conditions := ""
		for _, c := range b.Status.Conditions {
			conditions += fmt.Sprintf("%s=%s %s %d %s; ", c.Type, c.Status, c.Reason, c.ObservedGeneration, c.Message)
		}
		o.bindings += env.normalize(fmt.Sprintf("%s %v %s %s %s %d %s\n", b.Name, b.Finalizers, b.Status.PluginID,
			toJSON(b.Status.Gateway), toJSON(b.Status.Scope), b.Status.ObservedGeneration, conditions))
	}
	return o
}

var anyUUID = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// normalize replaces what is particular to an environment.
func (env *testEnv) normalize(text string) string {
	text = anyUUID.ReplaceAllString(text, "UUID")
	return strings.NewReplacer(env.secrets[0], "TOKEN", env.secrets[1], "PASSWORD", env.namespace, "NAMESPACE", env.cluster, "CLUSTER").Replace(text)
}
