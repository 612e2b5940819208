package handover

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// A run whose write was stored, but not answered, goes on with its journal. One whose journal another run
// has written stops.
func TestAJournalWhoseWriteWasNotAnswered(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	lost := false
	noAnswer := func(err error) error {
		if lost && err == nil {
			return context.DeadlineExceeded
		}
		return err
	}
	kube := fake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return noAnswer(c.Create(ctx, o.DeepCopyObject().(client.Object), opts...))
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			if lost {
				return noAnswer(c.Update(ctx, o.DeepCopyObject().(client.Object), opts...))
			}
			return c.Update(ctx, o, opts...)
		},
	}).Build()
	open := func() *journal {
		t.Helper()
		j, err := openJournal(t.Context(), kube, "shop", Timing{Poll: time.Millisecond, Lease: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	pause := func(c *content) { c.Paused = "kong/kic" }
	first := open()
	for _, what := range []string{"create", "update"} {
		lost = true
		if err := first.change(t.Context(), pause); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%s: %v", what, err)
		}
		lost = false
		if err := first.change(t.Context(), pause); err != nil {
			t.Errorf("after the lost answer to a %s: %v", what, err)
		}
	}
	second := open()
	if err := second.change(t.Context(), pause); err != nil {
		t.Fatal(err)
	}
	if err := first.change(t.Context(), pause); !errors.Is(err, errLost) {
		t.Errorf("another run has the journal: %v", err)
	}
}
