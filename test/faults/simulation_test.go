package faults

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/pluginbinding/kong-plugin-operator/controllers"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// cluster is the cluster id that marks the plugins of these plays. Somebody chose it.
const cluster = "faults"

// epoch is when every play begins.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const (
	recountAfter = time.Second // the pause before a gateway counts its bindings again
	mostPasses   = 600         // of a play that ends
)

// world is one play: namespaces of its own, a Kong of its own, one operator after another.
type world struct {
	ctx       context.Context
	bench     *bench
	clock     *clocktesting.FakeClock
	namespace string
	configure func(*controllers.Options)

	// truth is what the API server holds, cache what the operator sees of it. While stale
	// is not 0 nothing reaches the cache; it counts down with every pass.
	truth, cache objects
	stale        int
	frozen       string // nothing of this kind reaches the cache

	// operator that runs, and when it is to reconcile what.
	operator *incarnation
	lives    []*incarnation
	due      map[objectID]appointment
	order    int
	timers   []timer
	hooks    []func() // after the next pass
	passes   int
	current  objectID // what is being reconciled
	readings int      // of all that Kong holds
	pauses   pauses   // of the gateway, that end at random
	down     bool     // Kong cannot be reached
	token    string   // that Kong asks for, if any
	failures workqueue.TypedRateLimiter[objectID]
	slow     workqueue.TypedRateLimiter[objectID]

	// calls are those since arm.
	armed  bool
	counts map[string]int
	calls  []made
	during map[string]func() // what happens once while a call of that name is answered
	faults []*planned

	// What is looked at afterwards.
	names      map[string]bool // of bindings
	taken      map[string]bool // IDs of plugins that a binding may take from others
	ghosts     map[string]bool // IDs of plugins without a binding that may be removed
	secrets    []string        // values that must appear nowhere
	texts      []string        // everything that the operator said
	random     []string        // pairs of what differs between plays, and what to read instead
	kubeWrites int
	// kubeWritesBefore are those before the play was armed, older a backup of Kong.
	kubeWritesBefore int
	older            kongtest.Snapshot
	readFailed       bool // in this pass a question to Kong was not answered
	trace            []string
	violations       []string
	mu               sync.Mutex // guards trace and what is recorded with it: a schema is fetched by another goroutine
}

type appointment struct {
	at    time.Time
	order int
}

type timer struct {
	at time.Time
	do func()
}

// incarnation is one life of the operator's process.
type incarnation struct {
	*controllers.Operator
	world    *world
	dead     bool
	link     *link
	silent   bool // what is asked now is not the operator's doing
	registry *prometheus.Registry
}

var namespaces atomic.Int64

// newWorld makes a namespace and an operator that has seen nothing.
func newWorld(b *bench, configure func(*controllers.Options)) *world {
	w := &world{
		ctx: context.Background(), bench: b, configure: configure,
		clock:     clocktesting.NewFakeClock(epoch),
		namespace: fmt.Sprintf("play-%d", namespaces.Add(1)),
		truth:     objects{}, cache: objects{},
		names: map[string]bool{}, taken: map[string]bool{}, ghosts: map[string]bool{},
	}
	b.reset(w.clock.Now)
	w.must(apiServer.Create(w.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}))
	w.restart()
	return w
}

// abort ends a play that cannot go on.
type abort struct{ reason string }

func (w *world) must(err error) {
	if err != nil {
		panic(abort{"the play itself failed: " + err.Error()})
	}
}

func (w *world) violation(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	w.violations = append(w.violations, text)
	w.trace = append(w.trace, "VIOLATION: "+text)
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trace = append(w.trace, fmt.Sprintf("%7.1fs %s", w.clock.Since(epoch).Seconds(), fmt.Sprintf(format, args...)))
}

func (w *world) said(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, text)
}

// restart begins another life: new reconcilers, an empty ledger, and a cache that is what
// the API server holds, unless that one is behind.
func (w *world) restart() {
	if w.operator != nil {
		w.hearMetrics()
		w.note("a new process starts")
	}
	life := &incarnation{world: w, registry: prometheus.NewRegistry()}
	options := controllers.Options{
		Cluster: cluster, Namespaces: []string{w.namespace}, Registry: life.registry, Clock: w.clock,
		Client: cachedClient{life: life}, Live: liveReader{life},
		Dialer: dialer{controllers.PoolDialer{Registry: adminapi.NewRegistry(adminapi.NewMetrics(life.registry), nil)}, life},
	}
	if w.configure != nil {
		w.configure(&options)
	}
	life.Operator = controllers.New(options, controllers.Recorders{Gateways: recorder{life}, Bindings: recorder{life}})
	w.operator, w.lives = life, append(w.lives, life)
	w.due, w.pauses = map[objectID]appointment{}, pauses{}
	w.failures = workqueue.NewTypedItemExponentialFailureRateLimiter[objectID](100*time.Millisecond, time.Minute)
	w.slow = workqueue.DefaultTypedControllerRateLimiter[objectID]()
	if w.stale == 0 && w.frozen == "" {
		w.cache = objects{}
		for id, object := range w.truth {
			w.cache[id] = object
		}
	}
	w.enqueueAll()
}

// hearMetrics takes note of what the process would have shown to Prometheus.
func (w *world) hearMetrics() {
	families, err := w.operator.registry.Gather()
	w.must(err)
	for _, family := range families {
		w.said(family.String())
	}
}

// counted is the sum of a counter over all processes.
func (w *world) counted(name string) (n float64) {
	for _, life := range w.lives {
		families, err := life.registry.Gather()
		w.must(err)
		for _, family := range families {
			for _, metric := range family.GetMetric() {
				if family.GetName() == name {
					n += metric.GetCounter().GetValue()
				}
			}
		}
	}
	return n
}

func (w *world) enqueueAll() {
	for _, kind := range []string{kindGateway, kindBinding} {
		for _, id := range w.cache.sorted(kind) {
			w.enqueue(id)
		}
	}
}

func (w *world) enqueue(id objectID) { w.enqueueAfter(id, 0) }

// enqueueAfter keeps the earlier of two appointments, as the real queue does.
func (w *world) enqueueAfter(id objectID, after time.Duration) {
	at := w.clock.Now().Add(after)
	if have, ok := w.due[id]; ok && !at.Before(have.at) {
		return
	}
	w.order++
	w.due[id] = appointment{at, w.order}
}

// next is what is due first.
func (w *world) next() (id objectID, at time.Time, ok bool) {
	order := 0
	for candidate, appointment := range w.due {
		due := w.dueAt(candidate)
		if !ok || due.Before(at) || due.Equal(at) && appointment.order < order {
			id, at, order, ok = candidate, due, appointment.order, true
		}
	}
	return id, at, ok
}

// dueAt is when a pass that has an appointment can be made.
func (w *world) dueAt(id objectID) time.Time {
	at := w.due[id].at
	if id.kind == kindGateway {
		return w.pauses.beyond(later(at, w.clock.Now()))
	}
	return at
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// run does everything that is due until then.
func (w *world) run(until time.Time) {
	for {
		if w.operator.dead {
			w.restart()
		}
		id, at, ok := w.next()
		if w.ring(at, ok, until) {
			continue
		}
		if !ok || at.After(until) {
			if until.After(w.clock.Now()) {
				w.clock.SetTime(until)
			}
			return
		}
		if at.After(w.clock.Now()) {
			w.clock.SetTime(at)
		}
		w.pass(id)
	}
}

// ring does what was put off, if that is due before the next reconcile.
func (w *world) ring(at time.Time, ok bool, until time.Time) bool {
	first := -1
	for i := range w.timers {
		if first < 0 || w.timers[i].at.Before(w.timers[first].at) {
			first = i
		}
	}
	if first < 0 || w.timers[first].at.After(until) || ok && at.Before(w.timers[first].at) {
		return false
	}
	t := w.timers[first]
	w.timers = append(w.timers[:first:first], w.timers[first+1:]...)
	if t.at.After(w.clock.Now()) {
		w.clock.SetTime(t.at)
	}
	t.do()
	return true
}

func (w *world) runFor(d time.Duration) { w.run(w.clock.Now().Add(d)) }

// calm runs until nothing is due for a while but the next sweep. Something that is tried
// again and again is not waited for.
func (w *world) calm() {
	const soon, most = 20 * time.Second, 40 * time.Second
	for end := w.clock.Now().Add(most); ; {
		w.run(w.clock.Now())
		_, at, ok := w.next()
		for _, t := range w.timers {
			if !ok || t.at.Before(at) {
				at, ok = t.at, true
			}
		}
		if !ok || at.Sub(w.clock.Now()) > soon || at.After(end) {
			return
		}
		w.run(at)
	}
}

// sweep brings the gateway's next sweep forward to now.
func (w *world) sweep() {
	w.run(w.clock.Now())
	id := w.gatewayID()
	if _, ok := w.due[id]; ok {
		w.run(w.dueAt(id))
	}
	w.calm()
}

// sweepUntil is sweep up to a moment.
func (w *world) sweepUntil(until func() bool) {
	id := w.gatewayID()
	if _, ok := w.due[id]; ok {
		w.clock.SetTime(w.dueAt(id))
	}
	w.step(until)
}

func (w *world) gatewayID() objectID {
	return objectID{kindGateway, types.NamespacedName{Namespace: w.namespace, Name: "kong"}}
}

func (w *world) bindingID(name string) objectID {
	return objectID{kindBinding, types.NamespacedName{Namespace: w.namespace, Name: name}}
}

// pass is one reconcile.
func (w *world) pass(id objectID) {
	delete(w.due, id)
	if w.passes++; w.passes > mostPasses {
		panic(abort{fmt.Sprintf("it does not settle: %d passes", w.passes)})
	}
	w.readFailed = false
	w.pauses.beginPass()
	w.note("- %s %s", id.kind, id.Name)
	w.current = id
	life := w.operator
	result, err := w.reconcile(id)
	hooks := w.hooks
	w.hooks = nil
	for _, hook := range hooks {
		hook()
	}
	if life.dead {
		w.note("the process is dead")
		return
	}
	limiter := w.failures
	if id.kind == kindGateway {
		limiter = w.slow
	}
	switch {
	case err != nil:
		w.said(err.Error())
		w.note("  error: %v", err)
		w.enqueueAfter(id, limiter.When(id))
	case result.RequeueAfter > 0:
		limiter.Forget(id)
		w.enqueueAfter(id, w.repeatable(id, result.RequeueAfter))
	default:
		limiter.Forget(id)
	}
	w.drain()
	if w.stale > 0 {
		w.stale--
		w.enqueueAll()
	}
	w.deliver()
}

func (w *world) reconcile(id objectID) (result ctrl.Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			if a, ok := p.(abort); ok {
				panic(a)
			}
			panic(abort{fmt.Sprintf("panic: %v\n%s", p, debug.Stack())})
		}
	}()
	ctx := logr.NewContext(w.ctx, funcr.New(func(prefix, args string) {
		w.said(prefix + " " + args)
	}, funcr.Options{}))
	request := reconcile.Request{NamespacedName: id.NamespacedName}
	if id.kind == kindGateway {
		return w.operator.Gateways.Reconcile(ctx, request)
	}
	return w.operator.Bindings.Reconcile(ctx, request)
}

// drain hands on what the two controllers told each other.
func (w *world) drain() {
	c := w.operator.Connections
	for {
		select {
		case e := <-c.Changed():
			w.enqueueWhere(kindBinding, client.MatchingFields{"spec.gatewayRef": keyOf(e).String()})
		case e := <-c.Woken():
			w.enqueue(objectID{kindBinding, keyOf(e)})
		case e := <-c.Suspects():
			w.enqueue(objectID{kindGateway, keyOf(e)})
		default:
			return
		}
	}
}

func keyOf(e event.GenericEvent) types.NamespacedName { return client.ObjectKeyFromObject(e.Object) }

// learn brings the truth up to date with what the API server holds.
func (w *world) learn(id objectID) {
	object := newObject(id.kind)
	err := apiServer.Get(w.ctx, id.NamespacedName, object)
	switch {
	case apierrors.IsNotFound(err):
		delete(w.truth, id)
	case err != nil:
		w.must(err)
	default:
		w.truth[id] = object
	}
}

// holds brings it up to date with what the API server answered to a write.
func (w *world) holds(object client.Object) {
	if !object.GetDeletionTimestamp().IsZero() && len(object.GetFinalizers()) == 0 {
		delete(w.truth, idOf(object))
		return
	}
	w.truth[idOf(object)] = object.DeepCopyObject().(client.Object)
}

// deliver lets the cache see the truth, unless it is held back.
func (w *world) deliver() {
	if w.stale > 0 || w.operator.dead {
		return
	}
	for _, kind := range []string{kindSecret, kindGateway, kindBinding} {
		if kind == w.frozen {
			continue
		}
		ids := map[objectID]bool{}
		for _, from := range []objects{w.cache, w.truth} {
			for _, id := range from.sorted(kind) {
				ids[id] = true
			}
		}
		for _, id := range slices.SortedFunc(maps.Keys(ids), compareIDs) {
			was, is := w.cache[id], w.truth[id]
			switch {
			case was == nil && is == nil:
			case is == nil:
				delete(w.cache, id)
				w.tell(id, was, nil)
			case was == nil:
				w.cache[id] = is
				w.tell(id, nil, is)
			case was.GetUID() != is.GetUID():
				w.cache[id] = is
				w.tell(id, was, nil)
				w.tell(id, nil, is)
			case was.GetResourceVersion() != is.GetResourceVersion():
				w.cache[id] = is
				w.tell(id, was, is)
			}
		}
	}
}

// What people do.

func (w *world) create(object client.Object) {
	object.SetNamespace(w.namespace)
	w.must(apiServer.Create(w.ctx, object))
	w.holds(object)
	w.happened("somebody creates", object)
}

// change edits metadata or spec.
func change[T client.Object](w *world, object T, edit func(T)) {
	object.SetNamespace(w.namespace)
	base := w.truth[idOf(object)]
	object = base.DeepCopyObject().(T)
	edit(object)
	w.must(apiServer.Patch(w.ctx, object, client.MergeFrom(base)))
	w.holds(object)
	w.happened("somebody changes", object)
}

func (w *world) delete(object client.Object) {
	object.SetNamespace(w.namespace)
	w.must(client.IgnoreNotFound(apiServer.Delete(w.ctx, object)))
	w.learn(idOf(object))
	w.happened("somebody deletes", object)
}

func (w *world) happened(what string, object client.Object) {
	id := idOf(object)
	if id.kind == kindBinding {
		w.names[id.Name] = true
	}
	w.note("%s %s %s", what, id.kind, id.Name)
	w.deliver()
}

// kill ends the process between two passes.
func (w *world) kill() {
	w.operator.dead = true
	w.note("the process is killed")
}

// strip takes the finalizer away by force, with the object.
func (w *world) strip(object client.Object) {
	change(w, object, func(o client.Object) { o.SetFinalizers(nil) })
	w.delete(object)
}

// step makes one pass after another, as long as something is due now, until something is so.
func (w *world) step(until func() bool) {
	for !until() {
		if w.operator.dead {
			w.restart()
		}
		id, at, ok := w.next()
		if !ok || at.Sub(w.clock.Now()) > 15*time.Second {
			return
		}
		if w.ring(at, ok, at) {
			continue
		}
		if at.After(w.clock.Now()) {
			w.clock.SetTime(at)
		}
		w.pass(id)
	}
}

// thaw lets the cache see again.
func (w *world) thaw() {
	w.frozen = ""
	w.deliver()
}

// report is the trace of a play.
func (w *world) report() string {
	return strings.Join(w.trace, "\n")
}
