package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// writeSample is how many bindings each way of writing a status gets.
const writeSample = 500

// statusWrite is one way of writing a status.
type statusWrite struct {
	what  string
	write func(ctx context.Context, c client.Client, base, b *v1alpha1.PluginBinding) error
}

// statusWrites are the ways that a controller has. The first is the loop's.
var statusWrites = []statusWrite{
	{"merge patch", func(ctx context.Context, c client.Client, base, b *v1alpha1.PluginBinding) error {
		return c.Status().Patch(ctx, b, client.MergeFrom(base))
	}},
	{"merge patch with an optimistic lock", func(ctx context.Context, c client.Client, base, b *v1alpha1.PluginBinding) error {
		return c.Status().Patch(ctx, b, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
	}},
	{"update", func(ctx context.Context, c client.Client, _, b *v1alpha1.PluginBinding) error {
		return c.Status().Update(ctx, b)
	}},
	{"JSON patch", func(ctx context.Context, c client.Client, _, b *v1alpha1.PluginBinding) error {
		patch, err := json.Marshal([]map[string]any{{"op": "add", "path": "/status", "value": b.Status}})
		if err != nil {
			return err
		}
		return c.Status().Patch(ctx, b, client.RawPatch(types.JSONPatchType, patch))
	}},
	{"merge patch, answered with metadata only", func(ctx context.Context, c client.Client, base, b *v1alpha1.PluginBinding) error {
		patch, err := client.MergeFrom(base).Data(b)
		if err != nil {
			return err
		}
		answer := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: b.Name}}
		answer.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("PluginBinding"))
		return c.Status().Patch(ctx, answer, client.RawPatch(types.MergePatchType, patch))
	}},
	{"merge patch of half the conditions", func(ctx context.Context, c client.Client, base, b *v1alpha1.PluginBinding) error {
		b.Status.Conditions = b.Status.Conditions[2:]
		return c.Status().Patch(ctx, b, client.MergeFrom(base))
	}},
}

// measureWrites measures what each way of writing a status costs the API server.
func (s *environment) measureWrites(ctx context.Context, p *phase) error {
	l, err := s.newLoop(ctx)
	if err != nil {
		return err
	}
	each := min(writeSample, len(l.plugins)/len(statusWrites))
	for v, way := range statusWrites {
		theirs := cpuOf(s.cluster.processes)
		if err := inParallel(ctx, kongConcurrency, each, func(ctx context.Context, i int) error {
			i += v * each
			base := l.bindings[i].DeepCopy()
			l.setStatus(i, string(l.bindings[i].UID))
			return way.write(ctx, l.own, base, l.bindings[i])
		}); err != nil {
			return fmt.Errorf("%s: %w", way.what, err)
		}
		p.Figures[way.what+", ms"] = 1000 * (cpuOf(s.cluster.processes) - theirs) / float64(each)
	}
	return nil
}

func writesTable(out io.Writer, m *measurement) {
	tableHead(out, "a status written by", "the API server's processor")
	for _, way := range statusWrites {
		tableRow(out, way.what, fmt.Sprintf("%.1f ms", m.figure(phaseWrites, way.what+", ms")))
	}
}
