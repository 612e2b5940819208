package stories

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/handover"
)

func ctrlMeta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

// story is one way to move plugins.
type story struct {
	name string
	// prepare attaches the plugins.
	prepare func(*world)
	options handover.Options
	plugin  string
	routes  []string
	// ours, policies and bindings are what is there afterwards, theirs before.
	ours, theirs, policies, bindings int
	// keepsIDs: the plugins keep the ingress controller's IDs.
	keepsIDs bool
	// oldIDs: their IDs are not those that the ingress controller computes now.
	oldIDs bool
	// way to the annotation.
	apiVersion, kind, object string
	// annotation before and afterwards.
	attached, detached string
}

var webRoutes = []string{"web.api.one.example.80", "web.api.two.example.80"}

// paths is an HTTPRoute with two rules, on two Services.
const paths = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: paths, namespace: NS}
spec:
  hostnames: [four.example]
  rules:
    - matches: [{path: {type: PathPrefix, value: /a}}, {path: {type: Exact, value: /b}, method: GET}]
      backendRefs: [{name: api, port: 80}]
    - matches: [{path: {type: PathPrefix, value: /c}}]
      backendRefs: [{name: other, port: 80}]
`

var pathsRoutes = []string{"httproute.NS.paths.0.0", "httproute.NS.paths.0.1", "httproute.NS.paths.1.0"}

const gatewayAPI = "gateway.networking.k8s.io/v1"

func stopOnPaths(w *world) {
	w.apply(paths)
	w.annotate(gatewayAPI, "HTTPRoute", "paths", "stop")
}

func stopOnAlice(w *world) {
	w.annotate("configuration.konghq.com/v1", "KongConsumer", "alice", "stop")
}

var stories = []story{
	{
		name: "an Ingress", plugin: "key-auth", routes: webRoutes, ours: 2, theirs: 2, policies: 1, bindings: 2,
		options:    handover.Options{Selection: handover.Selection{Resources: named("KongPlugin", "auth")}},
		apiVersion: "networking.k8s.io/v1", kind: "Ingress", object: "web", attached: "limit, auth", detached: "limit",
	},
	{
		name: "an Ingress, with its IDs", plugin: "key-auth", routes: webRoutes, ours: 2, theirs: 2, bindings: 2, keepsIDs: true,
		options:    handover.Options{Selection: handover.Selection{Resources: named("KongPlugin", "auth")}, KeepIDs: true},
		apiVersion: "networking.k8s.io/v1", kind: "Ingress", object: "web", attached: "limit, auth", detached: "limit",
	},
	{
		name: "a Service", plugin: "request-termination", routes: webRoutes, ours: 1, theirs: 1, policies: 1, bindings: 1,
		prepare:    func(w *world) { w.annotate("v1", "Service", "api", "stop") },
		options:    handover.Options{Selection: handover.Selection{Resources: named("Service", "api")}},
		apiVersion: "v1", kind: "Service", object: "api", attached: "stop",
	},
	{
		name: "a Service, with its IDs", plugin: "request-termination", routes: webRoutes, ours: 1, theirs: 1, bindings: 1, keepsIDs: true,
		prepare:    func(w *world) { w.annotate("v1", "Service", "api", "stop") },
		options:    handover.Options{Selection: handover.Selection{Resources: named("Service", "api")}, KeepIDs: true},
		apiVersion: "v1", kind: "Service", object: "api", attached: "stop",
	},
	{
		name: "a consumer", plugin: "request-termination", ours: 1, theirs: 1, bindings: 1, keepsIDs: true,
		prepare:    stopOnAlice,
		options:    handover.Options{Selection: handover.Selection{Resources: named("KongConsumer", "alice")}},
		apiVersion: "configuration.konghq.com/v1", kind: "KongConsumer", object: "alice", attached: "stop",
	},
	{
		name: "an HTTPRoute", plugin: "request-termination", routes: pathsRoutes, ours: 3, theirs: 3, policies: 1, bindings: 3,
		prepare:    stopOnPaths,
		options:    handover.Options{Selection: handover.Selection{Resources: named("HTTPRoute", "paths")}},
		apiVersion: gatewayAPI, kind: "HTTPRoute", object: "paths", attached: "stop",
	},
	{
		name: "an HTTPRoute, with its IDs", plugin: "request-termination", routes: pathsRoutes, ours: 3, theirs: 3, bindings: 3, keepsIDs: true,
		prepare:    stopOnPaths,
		options:    handover.Options{Selection: handover.Selection{Resources: named("HTTPRoute", "paths")}, KeepIDs: true},
		apiVersion: gatewayAPI, kind: "HTTPRoute", object: "paths", attached: "stop",
	},
	{
		name: "a Service of an Ingress and an HTTPRoute", plugin: "request-termination", routes: append(pathsRoutes[:2:2], webRoutes...),
		ours: 2, theirs: 2, policies: 1, bindings: 2,
		prepare: func(w *world) {
			w.apply(paths)
			w.annotate("v1", "Service", "api", "stop")
		},
		options:    handover.Options{Selection: handover.Selection{Resources: named("Service", "api")}},
		apiVersion: "v1", kind: "Service", object: "api", attached: "stop",
	},
	{
		name: "an Ingress, with old IDs that go", plugin: "key-auth", routes: webRoutes, ours: 2, theirs: 2, policies: 1, bindings: 2, oldIDs: true,
		options:    handover.Options{Selection: handover.Selection{Resources: named("KongPlugin", "auth")}},
		apiVersion: "networking.k8s.io/v1", kind: "Ingress", object: "web", attached: "limit, auth", detached: "limit",
	},
	{
		name: "an Ingress, with its old IDs", plugin: "key-auth", routes: webRoutes, ours: 2, theirs: 2, bindings: 2, keepsIDs: true, oldIDs: true,
		options:    handover.Options{Selection: handover.Selection{Resources: named("KongPlugin", "auth")}, KeepIDs: true},
		apiVersion: "networking.k8s.io/v1", kind: "Ingress", object: "web", attached: "limit, auth", detached: "limit",
	},
	{
		name: "a Service, with its old ID", plugin: "request-termination", routes: webRoutes, ours: 1, theirs: 1, bindings: 1, keepsIDs: true, oldIDs: true,
		prepare:    func(w *world) { w.annotate("v1", "Service", "api", "stop") },
		options:    handover.Options{Selection: handover.Selection{Resources: named("Service", "api")}, KeepIDs: true},
		apiVersion: "v1", kind: "Service", object: "api", attached: "stop",
	},
	{
		name: "a consumer, with an old ID", plugin: "request-termination", ours: 1, theirs: 1, bindings: 1, keepsIDs: true, oldIDs: true,
		prepare:    stopOnAlice,
		options:    handover.Options{Selection: handover.Selection{Resources: named("KongConsumer", "alice")}},
		apiVersion: "configuration.konghq.com/v1", kind: "KongConsumer", object: "alice", attached: "stop",
	},
}

// start prepares a world for the story.
func (s *story) start(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	if s.prepare != nil {
		s.prepare(w)
	}
	for i := range s.options.Resources {
		s.options.Resources[i].Namespace = w.namespace
	}
	if s.oldIDs {
		w.giveOldIDs(s.plugin)
	}
	w.begin()
	w.expect(s.plugin, 0, s.theirs)
	return w
}

// handedOver checks the end of a hand-over.
func (s *story) handedOver(w *world) {
	w.t.Helper()
	w.must(w.kic.WaitSynced(w.ctx))
	s.protected(w)
	w.expect(s.plugin, s.ours, 0)
	w.expectClean(s.policies, s.bindings)
	if got := w.annotation(s.apiVersion, s.kind, s.object); got != s.detached {
		w.t.Errorf("the annotation is %q, want %q", got, s.detached)
	}
	if !s.keepsIDs {
		return
	}
	rows, _ := w.plugins(s.plugin)
	for _, row := range rows {
		was := w.before[row["id"].(string)]
		if was == nil || was["created_at"] != row["created_at"] {
			w.t.Errorf("plugin %s was not there, or its created_at changed from %v to %v", row["id"], was["created_at"], row["created_at"])
		}
	}
}

// handedBack checks the end of a hand-back.
func (s *story) handedBack(w *world) {
	w.t.Helper()
	w.must(w.kic.WaitSynced(w.ctx))
	s.protected(w)
	w.expect(s.plugin, 0, s.theirs)
	w.expectClean(0, 0)
	if got := w.annotation(s.apiVersion, s.kind, s.object); got != s.attached {
		w.t.Errorf("the annotation is %q, want %q", got, s.attached)
	}
}

// protected checks that no route was without the plugin. The plugin of a consumer is in force for the
// requests of that consumer.
func (s *story) protected(w *world) {
	w.t.Helper()
	if len(s.routes) == 0 {
		w.verifyConsumer(s.plugin, "alice-"+w.namespace)
		return
	}
	w.verify(s.plugin, s.routes...)
}

func TestThereAndBack(t *testing.T) {
	t.Parallel()
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.options.Resources = slices.Clone(s.options.Resources)
			w := s.start(t)
			w.must(w.hand(w.ctx, w.run(kube, s.options), false))
			s.handedOver(w)
			w.must(w.hand(w.ctx, w.run(kube, s.options), true))
			s.handedBack(w)
		})
	}
}
