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

// outcome is the end state of a plan, without what has to differ between two runs.
type outcome struct{ plugins, bindings string }

// ours reports whether a row bears the marks of a binding of the stage.
func (s *stage) ours(row map[string]any, binding string) bool {
	instance, _ := row["instance_name"].(string)
	standing, _ := identity.OwnershipOf(identity.Binding{Cluster: s.cluster, Namespace: s.namespace, Name: binding}, tagsOf(row), instance)
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

// marked reports whether a row is this operator's, of whatever binding.
func (s *stage) marked(row map[string]any) bool {
	owner := identity.OwnerOf(tagsOf(row))
	return owner.Binding != nil && owner.Binding.Cluster == s.cluster
}

// foreign are all rows that are not the operator's.
func (s *stage) foreign() string {
	var rows []string
	for _, entity := range []string{"services", "routes", "consumers", "plugins"} {
		for _, row := range s.kong.Entities(entity) {
			if !s.marked(row) {
				// Sets come in any order.
				row["tags"] = slices.Sorted(slices.Values(tagsOf(row)))
				rows = append(rows, entity+" "+compact(row))
			}
		}
	}
	return strings.Join(rows, "\n")
}

func compact(v any) string {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err) // it came from JSON
	}
	return string(out)
}

// check asks the oracles. Every process has ended, and the bindings that are left are the
// ones that should be.
func (s *stage) check() {
	s.t.Helper()
	bindings := s.bindings()
	owned := 0
	for i := range bindings {
		s.checkBinding(&bindings[i])
		owned++
	}
	rows := slices.DeleteFunc(s.kong.Plugins(), func(row map[string]any) bool { return !s.marked(row) })
	if len(rows) != owned {
		s.t.Errorf("Kong holds %d plugins of ours for %d bindings: %s", len(rows), owned, compact(rows))
	}
	s.checkJournal()
	if now := s.foreign(); now != s.others {
		s.t.Errorf("rows of others changed: they were\n%s\nand are\n%s", s.others, now)
	}
	s.checkSecrets(bindings)
	s.checkLogs()
}

// checkBinding: Ready tells the truth, under the ID that is recorded.
func (s *stage) checkBinding(b *v1alpha1.PluginBinding) {
	s.t.Helper()
	row := s.kong.Plugin(string(b.Status.PluginID))
	if row == nil || !s.ours(row, b.Name) {
		s.t.Errorf("%s records plugin %q, and Kong has under that ID: %s", b.Name, b.Status.PluginID, compact(row))
		return
	}
	var declared struct{ Minute float64 }
	must(s.t, json.Unmarshal(b.Spec.Config.Raw, &declared))
	config, _ := row["config"].(map[string]any)
	redis, _ := config["redis"].(map[string]any)
	if config["minute"] != declared.Minute || redis["password"] != s.secrets[1] {
		s.t.Errorf("%s is ready, and Kong's plugin is not as declared: %s", b.Name, compact(config))
	}
}

// checkJournal: at no instant two plugins of a binding, never another ID than the first,
// and no more than one POST that was done.
func (s *stage) checkJournal() {
	s.t.Helper()
	methods := map[int]string{}
	for _, r := range s.kong.Journal().Requests() {
		methods[r.Seq] = r.Method
	}
	firstID, posts, there := map[string]string{}, map[string]int{}, map[string]map[string]bool{}
	for _, c := range s.kong.Journal().Changes() {
		owner := ownerOf(c)
		if c.Entity != "plugins" || owner == nil || owner.Cluster != s.cluster {
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
			s.t.Errorf("%s: Kong first gave the ID %s, and then there was %s", name, firstID[name], c.ID)
		}
		if len(there[name]) > 1 {
			s.t.Errorf("%s: after change %d Kong held %d plugins of it", name, c.Seq, len(there[name]))
		}
	}
	for name, n := range posts {
		if n > 1 {
			s.t.Errorf("%s: %d POSTs were done", name, n)
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

// checkSecrets: no value of a Secret in anything that a person may read.
func (s *stage) checkSecrets(bindings []v1alpha1.PluginBinding) {
	s.t.Helper()
	gw, old, events := &v1alpha1.KongGateway{}, &corev1.EventList{}, &eventsv1.EventList{}
	s.get(gw, theGateway)
	must(s.t, suite.client.List(context.Background(), old, client.InNamespace(s.namespace)))
	must(s.t, suite.client.List(context.Background(), events, client.InNamespace(s.namespace)))
	texts := map[string]string{
		"the bindings": compact(bindings), "the gateway": compact(gw), "the events": compact(events) + compact(old),
	}
	for _, r := range s.replicas {
		for _, p := range r.runs {
			texts[p.log] = p.text()
		}
	}
	for where, text := range texts {
		for _, secret := range s.secrets {
			if strings.Contains(text, secret) {
				s.t.Errorf("%s: a value of a Secret is in it", where)
			}
		}
	}
}

var disaster = regexp.MustCompile(`(?m)^panic:|Observed a panic|WARNING: DATA RACE|^fatal error:|^SIGSEGV`)

// checkLogs: no panic, no race.
func (s *stage) checkLogs() {
	s.t.Helper()
	for _, r := range s.replicas {
		for _, p := range r.runs {
			text := p.text()
			if at := disaster.FindStringIndex(text); at != nil {
				s.t.Errorf("%s:\n%s", p.log, text[at[0]:min(len(text), at[0]+4000)])
			}
		}
	}
}

// outcome of the plan, to compare.
func (s *stage) outcome() outcome {
	s.t.Helper()
	var o outcome
	for _, row := range s.kong.Plugins() {
		if !s.marked(row) {
			continue
		}
		delete(row, "created_at")
		delete(row, "updated_at")
		row["tags"] = slices.Sorted(slices.Values(tagsOf(row)))
		protocols, _ := row["protocols"].([]any)
		slices.SortFunc(protocols, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		o.plugins += s.neutral(compact(row)) + "\n"
	}
	for _, b := range s.bindings() {
		conditions := ""
		for _, c := range b.Status.Conditions {
			conditions += fmt.Sprintf("%s=%s %s %d %s; ", c.Type, c.Status, c.Reason, c.ObservedGeneration, c.Message)
		}
		o.bindings += s.neutral(fmt.Sprintf("%s %v %s %s %s %d %s\n", b.Name, b.Finalizers, b.Status.PluginID,
			compact(b.Status.Gateway), compact(b.Status.Scope), b.Status.ObservedGeneration, conditions))
	}
	return o
}

var anyUUID = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// neutral takes out what is a stage's own.
func (s *stage) neutral(text string) string {
	text = anyUUID.ReplaceAllString(text, "UUID")
	return strings.NewReplacer(s.secrets[0], "TOKEN", s.secrets[1], "PASSWORD", s.namespace, "NAMESPACE", s.cluster, "CLUSTER").Replace(text)
}
