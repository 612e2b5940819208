package stories

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/handover"
)

const controllerReplicas = 2

// deployController makes the ingress controller's Deployment.
func (w *world) deployController() {
	w.t.Helper()
	w.apply(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: kic, namespace: NS}
spec:
  replicas: 2
  selector: {matchLabels: {app: kic}}
  template:
    metadata: {labels: {app: kic}}
    spec: {containers: [{name: controller, image: "registry.example:5000/kong/kubernetes-ingress-controller:3.5.13"}]}
`)
	w.setStatus(w.controller())
}

func (w *world) controller() *appsv1.Deployment {
	w.t.Helper()
	deployment := &appsv1.Deployment{}
	w.must(client.IgnoreNotFound(kube.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: "kic"}, deployment)))
	return deployment
}

func (w *world) setStatus(deployment *appsv1.Deployment) {
	w.t.Helper()
	deployment.Status.Replicas, deployment.Status.ObservedGeneration = *deployment.Spec.Replicas, deployment.Generation
	w.must(kube.Status().Update(w.ctx, deployment))
}

// runDeployments stops and starts the ingress controller as its Deployment says.
func (w *world) runDeployments() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.ctx)
	ended := make(chan struct{})
	w.t.Cleanup(func() { cancel(); <-ended })
	go func() {
		defer close(ended)
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for running := true; ctx.Err() == nil; <-ticker.C {
			deployment := &appsv1.Deployment{}
			if kube.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: "kic"}, deployment) != nil || deployment.Status.ObservedGeneration == deployment.Generation {
				continue
			}
			switch replicas := *deployment.Spec.Replicas; {
			case running && replicas == 0:
				w.kic.Pause()
				w.pauses.Add(1)
			case !running && replicas > 0:
				w.kic.Restart(w.ctx)
			}
			running = *deployment.Spec.Replicas > 0 // a conflict in what follows comes again
			deployment.Status.Replicas, deployment.Status.ObservedGeneration = *deployment.Spec.Replicas, deployment.Generation
			_ = kube.Status().Update(ctx, deployment)
		}
	}()
}

// pausing is the story with --pause-kic, and a world for it.
func (s *story) pausing(t *testing.T) *world {
	t.Helper()
	w := s.start(t)
	w.deployController()
	w.runDeployments()
	s.options.PauseKIC, s.options.Batch = w.namespace+"/kic", 4
	return w
}

// expectRunning fails unless the ingress controller has its replicas again. Later checks know then how often
// it was stopped.
func (w *world) expectRunning(pauses int) {
	w.t.Helper()
	if got := w.controller().Spec.Replicas; got == nil || *got != controllerReplicas {
		w.t.Errorf("the ingress controller has %d replicas, want %d", ptr.Deref(got, -1), controllerReplicas)
	}
	if got := int(w.pauses.Load()); got < pauses {
		w.t.Errorf("it was stopped %d times, want %d", got, pauses)
	}
	w.restarts = int(w.pauses.Load()) // each may end a sync in the middle
}

// While the ingress controller is stopped, all plugins move up to the point where it has to act.
func TestPaused(t *testing.T) {
	t.Parallel()
	for _, s := range selected("an Ingress", "a Service", "an HTTPRoute, with its IDs", "a consumer, with an old ID") {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.options.Resources = slices.Clone(s.options.Resources)
			w := s.pausing(t)
			detached := ""
			r := w.run(kube, s.options)
			r.Say = func(format string, args ...any) {
				t.Logf(format, args...)
				if strings.HasSuffix(format, "runs again.") {
					detached = "at the resume: " + w.annotation(s.apiVersion, s.kind, s.object)
				}
			}
			w.must(w.hand(w.ctx, r, false))
			w.expectRunning(1)
			if detached != "at the resume: "+s.detached {
				t.Errorf("the annotation was %q", detached)
			}
			s.handedOver(w)
			s.options.PauseKIC = ""
			w.must(w.hand(w.ctx, w.run(kube, s.options), true))
			s.handedBack(w)
		})
	}
}

// A command that is killed while the ingress controller is stopped starts it when it is run again, with or
// without --pause-kic, and with --undo.
func TestPausedAndKilled(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]func(*world, *story){
		"run again": func(w *world, s *story) {
			w.must(w.hand(w.ctx, w.run(kube, s.options), false))
			w.expectRunning(0)
			s.handedOver(w)
		},
		"run again without --pause-kic": func(w *world, s *story) {
			s.options.PauseKIC = ""
			w.must(w.hand(w.ctx, w.run(kube, s.options), false))
			w.expectRunning(0)
			s.handedOver(w)
		},
		"undone": func(w *world, s *story) {
			w.must(w.run(kube, s.options).Undo(w.ctx))
			w.expectRunning(0)
			s.handedBack(w)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			afterEachWrite(t, selected("an Ingress", "a consumer"), 2, pausedStep(), func(t *testing.T, s *story, n int) bool {
				w := s.pausing(t)
				if !s.killed(w, n, false) {
					return false
				}
				after(w, s)
				return true
			})
		})
	}
}

func pausedStep() int { return cmp.Or(everyWrite, 8) }

// A command that is interrupted by a signal starts the ingress controller before it ends.
func TestPausedAndInterrupted(t *testing.T) {
	t.Parallel()
	afterEachWrite(t, selected("an Ingress"), 2, pausedStep(), func(t *testing.T, s *story, n int) bool {
		w := s.pausing(t)
		ctx, interrupt := context.WithCancel(w.ctx)
		defer interrupt()
		err := w.hand(ctx, w.run(counting(func(writes int) bool {
			if writes == n {
				interrupt()
			}
			return false
		}), s.options), false)
		w.expectRunning(0)
		if err == nil {
			return false
		}
		w.must(w.hand(w.ctx, w.run(kube, s.options), false))
		w.expectRunning(0)
		s.handedOver(w)
		return true
	})
}

// An ingress controller that does not end is started again, and nothing else was done.
func TestPauseThatFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare func(*world)
		want    string
	}{
		"its replicas do not end": {func(*world) {}, "replicas of Deployment"},
		"its pod does not end": {func(w *world) {
			w.apply(`
apiVersion: v1
kind: Pod
metadata: {name: kic-1, namespace: NS, labels: {app: kic}}
spec: {containers: [{name: controller, image: kic}]}
`)
			w.runDeployments()
		}, "kic-1 still runs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := stories[0]
			s.options.Resources = slices.Clone(s.options.Resources)
			w := s.start(t)
			w.deployController()
			c.prepare(w)
			s.options.PauseKIC = w.namespace + "/kic"
			r := w.run(kube, s.options)
			r.Options.Timing.Step = 10 * time.Second // enough for all but what does not end
			err := w.hand(w.ctx, r, false)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("it says %v, want %q", err, c.want)
			}
			w.expectRunning(0)
			s.handedBack(w)
			if err := kube.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: handover.JournalName}, &corev1.ConfigMap{}); err == nil {
				t.Error("the journal is left")
			}
		})
	}
}

// A plugin that is on its way back needs the ingress controller, and goes back before others move.
func TestPausedWithAnUnfinishedHandBack(t *testing.T) {
	t.Parallel()
	s := stories[0]
	s.options.Resources = slices.Clone(s.options.Resources)
	w := s.start(t)
	w.must(w.hand(w.ctx, w.run(kube, s.options), false))
	if !s.killed(w, 3, true) {
		t.Fatal("the hand-back was not interrupted")
	}
	w.deployController()
	w.runDeployments()
	s.options.PauseKIC = w.namespace + "/kic"
	w.must(w.hand(w.ctx, w.run(kube, s.options), false))
	w.expectRunning(0)
	s.handedBack(w)
}
