package stories

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/handover"
)

// A global plugin is taken over under its ID, and goes back under it.
func TestGlobalPlugin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(`
apiVersion: configuration.konghq.com/v1
kind: KongClusterPlugin
metadata: {name: ids-NS, labels: {global: "true"}, annotations: {kubernetes.io/ingress.class: NS}}
plugin: correlation-id
`)
	options := handover.Options{Selection: handover.Selection{Resources: named("KongClusterPlugin", "ids-"+w.namespace)}}
	w.begin()
	w.expect("correlation-id", 0, 1)
	_, before := w.plugins("correlation-id")
	w.must(w.hand(w.ctx, w.run(kube, options), false))
	w.must(w.kic.WaitSynced(w.ctx))
	w.expect("correlation-id", 1, 0)
	ours, _ := w.plugins("correlation-id")
	if ours[0]["id"] != before[0]["id"] || ours[0]["created_at"] != before[0]["created_at"] {
		t.Errorf("plugin %v became %v", before[0]["id"], ours[0]["id"])
	}
	w.expectClean(0, 1)
	w.must(w.hand(w.ctx, w.run(kube, options), true))
	w.must(w.kic.WaitSynced(w.ctx))
	w.expect("correlation-id", 0, 1)
	w.expectClean(0, 0)
	w.verify("correlation-id", webRoutes...)
}

// At the first surprise the plugin is put back, and nothing of the hand-over is left.
func TestASurpriseIsPutBack(t *testing.T) {
	t.Parallel()
	s := stories[0]
	s.options.Resources = named("KongPlugin", "auth")
	w := s.start(t)
	w.stop() // so that nothing becomes Ready
	run := w.run(kube, s.options)
	run.Options.Timing.Step = 5 * time.Second
	err := w.hand(w.ctx, run, false)
	if err == nil || !strings.Contains(err.Error(), "is the operator running?") || !strings.Contains(err.Error(), "It was put back") {
		t.Errorf("it says %v", err)
	}
	s.handedBack(w)
}

// A plan says what keeps it from being carried out, and nothing is written.
func TestRefusals(t *testing.T) {
	t.Parallel()
	limit := handover.Selection{Resources: named("KongPlugin", "limit")}
	for name, c := range map[string]struct {
		// before, if it is there, comes before the ingress controller.
		before    func(*world)
		prepare   func(*world)
		selection handover.Selection
		want      string
	}{
		"a plugin on a consumer is preferred now": {
			nil, func(w *world) {
				w.kong.Seed("plugins", map[string]any{"name": "rate-limiting", "consumer": map[string]any{"username": "alice-" + w.namespace}, "config": map[string]any{"minute": 1, "policy": "local"}})
			}, limit, "--accept-precedence",
		},
		"on a consumer and a route": {
			nil, func(w *world) { w.annotate("configuration.konghq.com/v1", "KongConsumer", "alice", "limit") }, limit, "on consumers together with routes",
		},
		"the name is taken": {
			nil, func(w *world) {
				w.apply(`
apiVersion: kong.pluginbinding.io/v1alpha1
kind: PluginPolicy
metadata: {name: limit-ingress-web, namespace: NS}
spec: {gatewayRef: {name: kong}, targetRefs: [{group: networking.k8s.io, kind: Ingress, name: none}], template: {spec: {plugin: cors}}}
`)
			}, limit, "exists already",
		},
		"a Secret of the KongPlugin cannot be named": {
			// An ingress controller that sees the plugin before its Secret says in an event that it fails, and
			// the plans of all worlds read that.
			func(w *world) {
				w.apply(`
apiVersion: v1
kind: Secret
metadata: {name: far-NS, namespace: default}
stringData: {all: '{"status_code": 503}'}
---
apiVersion: configuration.konghq.com/v1
kind: KongClusterPlugin
metadata: {name: far-NS, annotations: {kubernetes.io/ingress.class: NS}}
plugin: request-termination
configFrom: {secretKeyRef: {name: far-NS, namespace: default, key: all}}
`)
			}, func(w *world) { w.annotate("networking.k8s.io/v1", "Ingress", "quiet", "far-"+w.namespace) },
			handover.Selection{Resources: named("Ingress", "quiet")}, "reads only Secrets of its own namespace",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldAfter(t, c.before)
			c.prepare(w)
			c.selection.Resources = slices.Clone(c.selection.Resources)
			for i := range c.selection.Resources {
				c.selection.Resources[i].Namespace = w.namespace
			}
			w.must(w.kic.WaitSynced(w.ctx))
			writes := 0
			run := w.run(counting(func(n int) bool { writes = n; return false }), handover.Options{Selection: c.selection})
			plan, err := run.Plan(w.ctx, false)
			w.must(err)
			found := false
			for _, problem := range plan.Problems {
				found = found || strings.Contains(problem.String(), c.want)
			}
			if !found || writes > 0 {
				t.Errorf("%d writes, and the problems are %v, want %q", writes, plan.Problems, c.want)
			}
		})
	}
}

// While another run is at work, a second one refuses; when that one was killed, it goes on.
func TestTwoRunsExcludeEachOther(t *testing.T) {
	t.Parallel()
	s := stories[0]
	s.options.Resources = named("KongPlugin", "auth")
	w := s.start(t)
	run := func(c client.Client) *handover.Run {
		r := w.run(c, s.options)
		r.Options.Timing.Lease = patience // neither is taken for one that was killed
		return r
	}
	second := make(chan error, 1)
	first := w.hand(w.ctx, run(counting(func(n int) bool {
		if n == 3 {
			r := run(kube)
			go func() { second <- r.Execute(w.ctx, nil) }()
		}
		return false
	})), false)
	w.must(first)
	if err := <-second; err != nil && !strings.Contains(err.Error(), "another run") {
		t.Errorf("the second run says %v", err)
	}
	s.handedOver(w)
}
