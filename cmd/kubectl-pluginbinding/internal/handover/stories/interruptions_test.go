package stories

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/handover"
)

// HANDOVER_LONG=1 runs every interruption of every story instead of a selection, and HANDOVER_LONG=5 those
// at every fifth write.
var everyWrite, _ = strconv.Atoi(os.Getenv("HANDOVER_LONG"))

var long = everyWrite > 0

// interrupted counts the hand-overs that were disturbed.
var interrupted atomic.Int64

// maxWrites bounds the writes of one hand-over.
const maxWrites = 60

// counting is a client that counts its writes. After each it calls written. When that says that the process
// is dead, nothing more is written.
func counting(written func(n int) (dead bool)) client.Client {
	var n atomic.Int64
	var dead atomic.Bool
	do := func(write func() error) error {
		if dead.Load() {
			return errKilled
		}
		err := write()
		if written(int(n.Add(1))) {
			dead.Store(true)
		}
		return err
	}
	return interceptor.NewClient(kube, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.CreateOption) error {
			write := func() error { return c.Create(ctx, object, options...) }
			if isDryRun(options) || strings.Contains(fmt.Sprintf("%T", object), "AccessReview") {
				return write()
			}
			return do(write)
		},
		Update: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.UpdateOption) error {
			return do(func() error { return c.Update(ctx, object, options...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, options ...client.PatchOption) error {
			return do(func() error { return c.Patch(ctx, object, patch, options...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.DeleteOption) error {
			return do(func() error { return c.Delete(ctx, object, options...) })
		},
	})
}

func isDryRun(options []client.CreateOption) bool {
	var o client.CreateOptions
	o.ApplyOptions(options)
	return len(o.DryRun) > 0
}

// selected are the stories of a short run.
func selected(names ...string) (chosen []story) {
	for _, s := range stories {
		for _, name := range names {
			if long || s.name == name {
				chosen = append(chosen, s)
				break
			}
		}
	}
	return chosen
}

// killed runs a hand-over that is killed after its write n. It reports whether there was such a write.
func (s *story) killed(w *world, n int, back bool) bool {
	w.t.Helper()
	ctx, kill := context.WithCancel(w.ctx)
	defer kill()
	err := w.hand(ctx, w.run(counting(func(writes int) bool {
		if writes >= n {
			kill()
		}
		return writes >= n
	}), s.options), back)
	if err == nil {
		return false
	}
	if ctx.Err() == nil {
		w.t.Fatal(err)
	}
	return true
}

// step is the distance between two kills of a short run.
func step() int { return cmp.Or(everyWrite, 15) }

// operatorStep is the same for the writes of the operator.
func operatorStep() int { return cmp.Or(everyWrite, 9) }

// afterEachWrite does something after the first write of a hand-over, or a later one, and then after every
// so many more, until there is no such write.
func afterEachWrite(t *testing.T, stories []story, first, every int, do func(t *testing.T, s *story, n int) bool) {
	t.Helper()
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			times := 0
			for n, more := first, true; more && n < maxWrites; n += every {
				t.Run(fmt.Sprintf("write %d", n), func(t *testing.T) {
					one := s
					one.options.Resources = slices.Clone(s.options.Resources)
					more = false
					if more = do(t, &one, n); more {
						times++
					}
				})
				more = more && !t.Failed()
			}
			if times == 0 {
				t.Error("nothing was interrupted")
			}
			t.Logf("%d times", times)
			interrupted.Add(int64(times))
		})
	}
}

// A command that was killed after any write goes on when it is run again.
func TestKilledAndRunAgain(t *testing.T) {
	t.Parallel()
	afterEachWrite(t, selected("an Ingress", "a Service, with its IDs", "a consumer"), 1, step(), func(t *testing.T, s *story, n int) bool {
		w := s.start(t)
		if !s.killed(w, n, false) {
			return false
		}
		w.must(w.hand(w.ctx, w.run(kube, s.options), false))
		s.handedOver(w)
		return true
	})
}

// A command that was killed after any write is undone, as if nothing had happened.
func TestKilledAndUndone(t *testing.T) {
	t.Parallel()
	afterEachWrite(t, selected("an Ingress, with its IDs", "a Service", "a consumer"), 2, step(), func(t *testing.T, s *story, n int) bool {
		w := s.start(t)
		if !s.killed(w, n, false) {
			return false
		}
		w.must(w.run(kube, s.options).Undo(w.ctx))
		s.handedBack(w)
		journal := &corev1.ConfigMap{}
		if err := kube.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: handover.JournalName}, journal); !apierrors.IsNotFound(err) {
			t.Errorf("the journal is left: %v %v", journal.Data, err)
		}
		return true
	})
}

// A hand-back that was killed after any write goes on.
func TestHandBackKilledAndRunAgain(t *testing.T) {
	t.Parallel()
	afterEachWrite(t, selected("an Ingress", "a Service, with its IDs"), 1, step(), func(t *testing.T, s *story, n int) bool {
		w := s.start(t)
		w.must(w.hand(w.ctx, w.run(kube, s.options), false))
		if !s.killed(w, n, true) {
			return false
		}
		w.must(w.hand(w.ctx, w.run(kube, s.options), true))
		s.handedBack(w)
		return true
	})
}

// The operator is killed at any of its writes, to the API server or to Kong: before it is sent, or before its
// answer. Another one starts.
func TestOperatorKilled(t *testing.T) {
	t.Parallel()
	for name, arrives := range map[string]bool{"before the write": false, "before the answer": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			afterEachWrite(t, selected("an Ingress", "an Ingress, with its IDs", "a consumer"), 1, operatorStep(), func(t *testing.T, s *story, n int) bool {
				w := s.start(t)
				w.operator.killAfter(n, arrives)
				done := make(chan error, 1)
				go func() { done <- w.hand(w.ctx, w.run(kube, s.options), false) }()
				killed := w.reincarnate(done)
				w.must(<-done)
				s.handedOver(w)
				return killed
			})
		})
	}
}

// What happens beside a hand-over does not disturb it.
func TestBesides(t *testing.T) {
	t.Parallel()
	for name, happen := range map[string]func(*world){
		"the ingress controller restarts": func(w *world) {
			w.restarts++
			w.kic.Restart(w.ctx)
		},
		"an unrelated change": func(w *world) {
			w.annotate("networking.k8s.io/v1", "Ingress", "quiet", "limit")
			w.must(kube.Patch(w.ctx, &corev1.Service{ObjectMeta: ctrlMeta(w.namespace, "other")},
				client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"konghq.com/read-timeout":"1000"}}}`))))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const first = 3
			afterEachWrite(t, stories, first, 2*step(), func(t *testing.T, s *story, n int) bool {
				w := s.start(t)
				s.keepsIDs = false // the ingress controller itself sets created_at when it writes a row again
				// Nothing stands beside the plugin of a consumer. A sync between its takeover, which begins with the
				// third write, and the detachment writes over it, and the next one deletes it. A real one comes when
				// the operator, which looks every second, has taken it back; those of the stories come too early.
				at, alone := n, n == first && len(s.routes) == 0
				if alone {
					at--
				}
				happened := false
				w.must(w.hand(w.ctx, w.run(counting(func(writes int) bool {
					if writes == at {
						happened = true
						happen(w)
						if alone {
							w.must(w.kic.WaitSynced(w.ctx))
						}
					}
					return false
				}), s.options), false))
				s.handedOver(w)
				return happened
			})
		})
	}
}
