package stories

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/handover"
)

// many are plugins on one Ingress, with their configs, whose annotation each of them changes.
var many = map[string]string{
	"cors": "{}", "bot-detection": "{}", "correlation-id": "{}", "basic-auth": "{}", "acl": "{allow: [a]}", "ip-restriction": "{deny: [10.0.0.1]}",
	"request-size-limiting": "{}", "response-ratelimiting": "{limits: {video: {minute: 5}}}",
}

const quietRoute = "quiet.other.three.example.80"

// crowded has the plugins on the Ingress quiet, in sync.
func crowded(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	for plugin, config := range many {
		w.apply(fmt.Sprintf(`
apiVersion: configuration.konghq.com/v1
kind: KongPlugin
metadata: {name: %s, namespace: NS, annotations: {kubernetes.io/ingress.class: NS}}
plugin: %s
config: %s
`, plugin, plugin, config))
	}
	w.annotate("networking.k8s.io/v1", "Ingress", "quiet", strings.Join(slices.Sorted(maps.Keys(many)), ","))
	w.begin()
	return w
}

// Several plugins of one object move at a time, and so do those of others.
func TestBatch(t *testing.T) {
	t.Parallel()
	w := crowded(t)
	said := 0
	options := handover.Options{Batch: len(many) + 2}
	run := func(back bool) {
		r := w.run(kube, options)
		r.Say, r.Moved = func(string, ...any) { said++ }, func() { said += 100 } // neither is safe for concurrent use
		w.must(w.hand(w.ctx, r, back))
		w.must(w.kic.WaitSynced(w.ctx))
	}
	run(false)
	for plugin := range many {
		w.verify(plugin, quietRoute)
		w.expect(plugin, 1, 0)
	}
	w.verify("key-auth", webRoutes...)
	w.verify("rate-limiting", webRoutes...)
	w.expectClean(len(many)+2, len(many)+4)
	if got := w.annotation("networking.k8s.io/v1", "Ingress", "quiet"); got != "" {
		t.Errorf("the annotation is %q", got)
	}
	if want := (len(many) + 2) * 101; said != want {
		t.Errorf("said %d, want %d", said, want)
	}
	run(true)
	for plugin := range many {
		w.verify(plugin, quietRoute)
		w.expect(plugin, 0, 1)
	}
	w.expectClean(0, 0)
	back := strings.Split(w.annotation("networking.k8s.io/v1", "Ingress", "quiet"), ",")
	if slices.Sort(back); !slices.Equal(back, slices.Sorted(maps.Keys(many))) {
		t.Errorf("the annotation is %q", back)
	}
}

// After a surprise no other plugin begins. Those under way end, and those that were not begun are not in the
// journal.
func TestBatchStopsAtASurprise(t *testing.T) {
	t.Parallel()
	w := crowded(t)
	var created atomic.Int64
	refusing := interceptor.NewClient(kube, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.CreateOption) error {
			if _, is := object.(*v1alpha1.PluginPolicy); is && !isDryRun(options) && created.Add(1) == 2 {
				return fmt.Errorf("a surprise")
			}
			return c.Create(ctx, object, options...)
		},
	})
	options := handover.Options{Selection: handover.Selection{Resources: named("Ingress", "quiet")}, Batch: 3}
	options.Resources[0].Namespace = w.namespace
	err := w.hand(w.ctx, w.run(refusing, options), false)
	if err == nil || !strings.Contains(err.Error(), "a surprise. It was put back") {
		t.Fatalf("it says %v", err)
	}
	w.must(w.kic.WaitSynced(w.ctx))
	moved := 0
	for plugin := range many {
		w.verify(plugin, quietRoute)
		ours, theirs := w.plugins(plugin)
		if len(ours)+len(theirs) != 1 {
			t.Errorf("%s: %d of the operator and %d of the ingress controller", plugin, len(ours), len(theirs))
		}
		moved += len(ours)
	}
	if moved == 0 || moved >= len(many)-1 {
		t.Errorf("%d moved", moved)
	}
	r := w.run(kube, options)
	plan, err := r.Plan(w.ctx, false)
	w.must(err)
	if len(plan.Unfinished) > 0 || len(plan.Items) != len(many)-moved {
		t.Errorf("%d are unfinished, and %d left, want 0 and %d", len(plan.Unfinished), len(plan.Items), len(many)-moved)
	}
	w.must(r.Execute(w.ctx, plan.Items))
	w.must(w.kic.WaitSynced(w.ctx))
	for plugin := range many {
		w.verify(plugin, quietRoute)
		w.expect(plugin, 1, 0)
	}
}
