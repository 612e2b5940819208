package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/message"
	"github.com/pluginbinding/kong-plugin-operator/internal/metrics"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// Normal events about bindings and policies: so many at once, and then so many a second. Of these, one
// namespace gets less than half. A thousand bindings that change together make as many writes to the API
// server or more, in ten seconds or more, so the events remain below a twentieth of them.
const (
	routineBurst                 = 50
	routinePerSecond             = 1
	routineBurstOfNamespace      = 20
	routinePerSecondOfNamespace  = 0.4
	routineSummaryInterval       = time.Minute
	reasonEventsOmitted          = "EventsOmitted"
	actionEventsOmitted          = "Record"
	routineNamespaceRefilledTime = routineBurstOfNamespace / routinePerSecondOfNamespace * time.Second
)

// routineEvents bounds the normal events about bindings and policies. When many objects change together,
// an event for each would cost the API server as much as the work itself. A warning is never omitted. Once
// a minute the gateway gets an event that counts what was omitted. The log has all of it.
type routineEvents struct {
	clock clock.PassiveClock
	// gateways takes the summaries, about gateways in reader.
	gateways events.EventRecorder
	reader   client.Reader
	metrics  *metrics.Metrics

	mu         sync.Mutex
	all        *rate.Limiter
	namespaces map[string]*namespaceBucket
	omitted    map[types.NamespacedName]map[string]int // by gateway and reason
}

// namespaceBucket is what one namespace may use.
type namespaceBucket struct {
	*rate.Limiter
	used time.Time
}

func newRoutineEvents(c clock.PassiveClock, gateways events.EventRecorder, reader client.Reader) *routineEvents {
	return &routineEvents{
		clock: c, gateways: gateways, reader: reader,
		all:        rate.NewLimiter(routinePerSecond, routineBurst),
		namespaces: map[string]*namespaceBucket{}, omitted: map[types.NamespacedName]map[string]int{},
	}
}

// bound returns a recorder that omits what is too much.
func (r *routineEvents) bound(recorder events.EventRecorder) events.EventRecorder {
	return boundedRecorder{recorder, r}
}

type boundedRecorder struct {
	events.EventRecorder
	routine *routineEvents
}

// Eventf implements events.EventRecorder.
func (b boundedRecorder) Eventf(regarding, related runtime.Object, eventType, reason, action, note string, args ...any) {
	if eventType == corev1.EventTypeNormal && !b.routine.allow(regarding, reason) {
		return
	}
	b.EventRecorder.Eventf(regarding, related, eventType, reason, action, note, args...)
}

// allow reports whether a normal event about this object is still within the bounds. Otherwise it counts it.
func (r *routineEvents) allow(regarding runtime.Object, reason string) bool {
	var gateway types.NamespacedName
	var namespace string
	switch object := regarding.(type) {
	case *v1alpha1.PluginBinding:
		gateway, namespace = reference.GatewayOf(object), object.Namespace
	case *v1alpha1.PluginPolicy:
		gateway, namespace = reference.GatewayOfPolicy(object), object.Namespace
	default:
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.Now()
	own, known := r.namespaces[namespace]
	if !known {
		own = &namespaceBucket{Limiter: rate.NewLimiter(routinePerSecondOfNamespace, routineBurstOfNamespace)}
		r.namespaces[namespace] = own
	}
	own.used = now
	// The namespace's own share comes first: what it may not use stays for the others.
	if own.AllowN(now, 1) && r.all.AllowN(now, 1) {
		return true
	}
	if r.omitted[gateway] == nil {
		r.omitted[gateway] = map[string]int{}
	}
	r.omitted[gateway][reason]++
	r.metrics.CountOmittedEvent(gateway, reason)
	return false
}

// Start implements manager.Runnable.
func (r *routineEvents) Start(ctx context.Context) error {
	wait.UntilWithContext(ctx, r.summarize, routineSummaryInterval)
	return nil
}

// summarize emits one event for each gateway about whose bindings and policies events were omitted.
func (r *routineEvents) summarize(ctx context.Context) {
	for gateway, counts := range r.takeOmitted() {
		object := &v1alpha1.KongGateway{}
		if r.reader.Get(ctx, gateway, object) != nil {
			continue // it is gone, or not watched; the metric and the log remain
		}
		r.gateways.Eventf(object, nil, corev1.EventTypeNormal, reasonEventsOmitted, actionEventsOmitted, "%s", omittedNote(counts))
	}
}

// takeOmitted returns what was omitted since the last call. It forgets namespaces that have all of their
// share again.
func (r *routineEvents) takeOmitted() map[types.NamespacedName]map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, omitted := r.clock.Now(), r.omitted
	r.omitted = map[types.NamespacedName]map[string]int{}
	maps.DeleteFunc(r.namespaces, func(_ string, b *namespaceBucket) bool { return now.Sub(b.used) > routineNamespaceRefilledTime })
	return omitted
}

func omittedNote(counts map[string]int) string {
	parts, all := make([]string, 0, len(counts)), 0
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", reason, counts[reason]))
		all += counts[reason]
	}
	return message.Truncate(fmt.Sprintf("many bindings or policies of this gateway changed at the same time; the operator omitted %d events about what it did (%s), and no warning. Its log has one line for each, and the metric kong_operator_events_omitted_total counts them.",
		all, strings.Join(parts, ", ")), message.MaxEventNote)
}
