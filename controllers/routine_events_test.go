package controllers

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/metrics"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// eventsWorld has the bounds for events, on a fake clock, and the gateway shop/kong.
type eventsWorld struct {
	clock    *clocktesting.FakeClock
	routine  *routineEvents
	recorder *events.FakeRecorder
	registry *prometheus.Registry
}

func newEventsWorld(t *testing.T) *eventsWorld {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	gateway := &v1alpha1.KongGateway{}
	gateway.Namespace, gateway.Name = "shop", "kong"
	w := &eventsWorld{clock: clocktesting.NewFakeClock(time.Now()), recorder: events.NewFakeRecorder(10_000), registry: prometheus.NewRegistry()}
	w.routine = newRoutineEvents(w.clock, w.recorder, fake.NewClientBuilder().WithScheme(scheme).WithObjects(gateway).Build())
	w.routine.metrics = metrics.New(w.registry)
	w.routine.metrics.AddGateway(reference.GatewayOf(bindingNamed("a")))
	return w
}

// omittedByMetric is the value of the counter, over all reasons.
func (w *eventsWorld) omittedByMetric(t *testing.T) (n int) {
	t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "kong_operator_events_omitted_total" {
			for _, metric := range family.GetMetric() {
				n += int(metric.GetCounter().GetValue())
			}
		}
	}
	return n
}

// emit emits n events about bindings of a namespace, and returns how many arrived.
func (w *eventsWorld) emit(namespace, kind string, n int) int {
	before, recorder := len(w.recorder.Events), w.routine.bound(w.recorder)
	for i := range n {
		binding := bindingNamed(fmt.Sprint(i))
		binding.Namespace, binding.Spec.GatewayRef.Namespace = namespace, "shop"
		recorder.Eventf(binding, nil, kind, "Created", "Created", "%s", "a note")
	}
	return len(w.recorder.Events) - before
}

// A flood of a thousand bindings in ten seconds costs at most a twentieth of two thousand writes.
func TestAFloodOfNormalEventsIsBounded(t *testing.T) {
	w := newEventsWorld(t)
	arrived := 0
	for i := range 100 {
		arrived += w.emit(fmt.Sprintf("tenant-%d", i%5), corev1.EventTypeNormal, 10)
		w.clock.Step(100 * time.Millisecond)
	}
	if arrived < routineBurst || arrived > 100 {
		t.Errorf("%d events", arrived)
	}
	if omitted := w.omittedByMetric(t); omitted != 1000-arrived {
		t.Errorf("%d arrived, and the metric says that %d were omitted", arrived, omitted)
	}
	w.clock.Step(2 * time.Minute)
	if got := w.emit("tenant-0", corev1.EventTypeNormal, 1); got != 1 {
		t.Error("no event after the flood")
	}
}

func TestAFewNormalEventsAllArrive(t *testing.T) {
	w := newEventsWorld(t)
	if got := w.emit("shop", corev1.EventTypeNormal, routineBurstOfNamespace); got != routineBurstOfNamespace {
		t.Errorf("%d events", got)
	}
	w.routine.summarize(t.Context())
	if len(w.recorder.Events) != routineBurstOfNamespace {
		t.Error("a summary of nothing")
	}
}

func TestWarningsAndEventsAboutGatewaysAreNeverOmitted(t *testing.T) {
	w := newEventsWorld(t)
	w.emit("shop", corev1.EventTypeNormal, 1000)
	if got := w.emit("shop", corev1.EventTypeWarning, 1000); got != 1000 {
		t.Errorf("%d warnings", got)
	}
	before := len(w.recorder.Events)
	w.routine.bound(w.recorder).Eventf(&v1alpha1.KongGateway{}, nil, corev1.EventTypeNormal, "Ready", "Probe", "a note")
	if len(w.recorder.Events) != before+1 {
		t.Error("an event about a gateway was omitted")
	}
}

// The flood of one namespace leaves events for the others.
func TestOneNamespaceDoesNotUseUpTheEventsOfOthers(t *testing.T) {
	w := newEventsWorld(t)
	for range 60 {
		w.emit("noisy", corev1.EventTypeNormal, 100)
		w.clock.Step(time.Second)
	}
	if got := w.emit("quiet", corev1.EventTypeNormal, 10); got != 10 {
		t.Errorf("%d of 10 events", got)
	}
}

func TestOmittedEventsAreSummarizedOnce(t *testing.T) {
	w := newEventsWorld(t)
	arrived := w.emit("shop", corev1.EventTypeNormal, 1000)
	for len(w.recorder.Events) > 0 {
		<-w.recorder.Events
	}
	w.routine.summarize(t.Context())
	w.routine.summarize(t.Context())
	if len(w.recorder.Events) != 1 {
		t.Fatalf("%d summaries", len(w.recorder.Events))
	}
	if text := <-w.recorder.Events; !strings.Contains(text, fmt.Sprintf("EventsOmitted many bindings or policies of this gateway changed at the same time; the operator omitted %d events about what it did (Created %[1]d)", 1000-arrived)) {
		t.Error(text)
	}
	w.clock.Step(time.Hour)
	w.routine.takeOmitted()
	if len(w.routine.namespaces) > 0 {
		t.Errorf("remembers %d namespaces", len(w.routine.namespaces))
	}
}
