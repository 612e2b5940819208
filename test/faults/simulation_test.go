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
	countDebounce = time.Second // the pause before a gateway counts its bindings again
	maxReconciles = 600         // of a play that ends
)

// simulation is one play: namespaces of its own, a Kong of its own, one operator after another.
type simulation struct {
	ctx       context.Context
	kong      *standIn
	clock     *clocktesting.FakeClock
	namespace string
	configure func(*controllers.Options)

	// truth is what the API server holds, cache what the operator sees of it. While stale
	// is not 0 nothing reaches the cache; it counts down with every pass.
	stored, cache   objects
	staleReconciles int
	frozenKind      string // nothing of this kind reaches the cache

	// operator that runs, and when it is to reconcile what.
	proc           *process
	processes      []*process
	queue          map[objectID]queueItem
	order          int
	timers         []timer
	afterReconcile []func() // after the next pass
	reconciles     int
	current        objectID // what is being reconciled
	resyncs        int      // of all that Kong holds
	jitter         jitter   // of the gateway, that end at random
	kongDown       bool     // Kong cannot be reached
	kongToken      string   // that Kong asks for, if any
	bindingBackoff workqueue.TypedRateLimiter[objectID]
	gatewayBackoff workqueue.TypedRateLimiter[objectID]

	// calls are those since arm.
	armed      bool
	counts     map[string]int
	calls      []call
	duringCall map[string]func() // what happens once while a call of that name is answered
	faults     []*armedFault

	// What is looked at afterwards.
	names            map[string]bool // of bindings
	adoptable        map[string]bool // IDs of plugins that a binding may take from others
	removableOrphans map[string]bool // IDs of plugins without a binding that may be removed
	secrets          []string        // values that must appear nowhere
	outputs          []string        // everything that the operator said
	replacements     []string        // pairs of what differs between plays, and what to read instead
	kubeWrites       int
	// kubeWritesBefore are those before the play was armed, older a backup of Kong.
	kubeWritesBeforeArm int
	backup              kongtest.Snapshot
	readFailed          bool // in this pass a question to Kong was not answered
	trace               []string
	violations          []string
	mu                  sync.Mutex // guards trace and what is recorded with it: a schema is fetched by another goroutine
}

type queueItem struct {
	at    time.Time
	order int
}

type timer struct {
	at time.Time
	do func()
}

// process is one life of the operator's process.
type process struct {
	*controllers.Operator
	sim      *simulation
	dead     bool
	client   *swappableClient
	bypass   bool // what is asked now is not the operator's doing
	registry *prometheus.Registry
}

var namespaces atomic.Int64

// newSimulation makes a namespace and an operator that has seen nothing.
func newSimulation(k *standIn, configure func(*controllers.Options)) *simulation {
	sim := &simulation{
		ctx: context.Background(), kong: k, configure: configure,
		clock:     clocktesting.NewFakeClock(epoch),
		namespace: fmt.Sprintf("play-%d", namespaces.Add(1)),
		stored:    objects{}, cache: objects{},
		names: map[string]bool{}, adoptable: map[string]bool{}, removableOrphans: map[string]bool{},
	}
	k.reset(sim.clock.Now)
	sim.must(apiServer.Create(sim.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: sim.namespace}}))
	sim.startProcess()
	return sim
}

// abort ends a play that cannot go on.
type abort struct{ reason string }

func (sim *simulation) must(err error) {
	if err != nil {
		panic(abort{"the play itself failed: " + err.Error()})
	}
}

func (sim *simulation) violation(format string, args ...any) {
	sim.mu.Lock()
	defer sim.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	sim.violations = append(sim.violations, text)
	sim.trace = append(sim.trace, "VIOLATION: "+text)
}

func (sim *simulation) tracef(format string, args ...any) {
	sim.mu.Lock()
	defer sim.mu.Unlock()
	sim.trace = append(sim.trace, fmt.Sprintf("%7.1fs %s", sim.clock.Since(epoch).Seconds(), fmt.Sprintf(format, args...)))
}

func (sim *simulation) recordOutput(text string) {
	sim.mu.Lock()
	defer sim.mu.Unlock()
	sim.outputs = append(sim.outputs, text)
}

// startProcess begins another life: new reconcilers, an empty ledger, and a cache that is what
// the API server holds, unless that one is behind.
func (sim *simulation) startProcess() {
	if sim.proc != nil {
		sim.recordMetrics()
		sim.tracef("a new process starts")
	}
	proc := &process{sim: sim, registry: prometheus.NewRegistry()}
	options := controllers.Options{
		Cluster: cluster, Namespaces: []string{sim.namespace}, Registry: proc.registry, Clock: sim.clock,
		Client: cachedClient{proc: proc}, Live: liveReader{proc},
		Dialer: dialer{controllers.PoolDialer{Registry: adminapi.NewRegistry(adminapi.NewMetrics(proc.registry), nil)}, proc},
	}
	if sim.configure != nil {
		sim.configure(&options)
	}
	proc.Operator = controllers.New(options, controllers.Recorders{Gateways: recorder{proc}, Bindings: recorder{proc}})
	sim.proc, sim.processes = proc, append(sim.processes, proc)
	sim.queue, sim.jitter = map[objectID]queueItem{}, jitter{}
	sim.bindingBackoff = workqueue.NewTypedItemExponentialFailureRateLimiter[objectID](100*time.Millisecond, time.Minute)
	sim.gatewayBackoff = workqueue.DefaultTypedControllerRateLimiter[objectID]()
	if sim.staleReconciles == 0 && sim.frozenKind == "" {
		sim.cache = objects{}
		for id, object := range sim.stored {
			sim.cache[id] = object
		}
	}
	sim.enqueueAll()
}

// recordMetrics takes note of what the process would have shown to Prometheus.
func (sim *simulation) recordMetrics() {
	families, err := sim.proc.registry.Gather()
	sim.must(err)
	for _, family := range families {
		sim.recordOutput(family.String())
	}
}

// counterSum is the sum of a counter over all processes.
func (sim *simulation) counterSum(name string) (n float64) {
	for _, proc := range sim.processes {
		families, err := proc.registry.Gather()
		sim.must(err)
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

func (sim *simulation) enqueueAll() {
	for _, kind := range []string{kindGateway, kindBinding} {
		for _, id := range sim.cache.sorted(kind) {
			sim.enqueue(id)
		}
	}
}

func (sim *simulation) enqueue(id objectID) { sim.enqueueAfter(id, 0) }

// enqueueAfter keeps the earlier of two appointments, as the real queue does.
func (sim *simulation) enqueueAfter(id objectID, after time.Duration) {
	at := sim.clock.Now().Add(after)
	if have, ok := sim.queue[id]; ok && !at.Before(have.at) {
		return
	}
	sim.order++
	sim.queue[id] = queueItem{at, sim.order}
}

// nextItem is what is due first.
func (sim *simulation) nextItem() (id objectID, at time.Time, ok bool) {
	order := 0
	for candidate, appointment := range sim.queue {
		due := sim.dueAt(candidate)
		if !ok || due.Before(at) || due.Equal(at) && appointment.order < order {
			id, at, order, ok = candidate, due, appointment.order, true
		}
	}
	return id, at, ok
}

// dueAt is when a pass that has an appointment can be made.
func (sim *simulation) dueAt(id objectID) time.Time {
	at := sim.queue[id].at
	if id.kind == kindGateway {
		return sim.jitter.after(latest(at, sim.clock.Now()))
	}
	return at
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// runUntil does everything that is due until then.
func (sim *simulation) runUntil(until time.Time) {
	for {
		if sim.proc.dead {
			sim.startProcess()
		}
		id, at, ok := sim.nextItem()
		if sim.fireTimer(at, ok, until) {
			continue
		}
		if !ok || at.After(until) {
			if until.After(sim.clock.Now()) {
				sim.clock.SetTime(until)
			}
			return
		}
		if at.After(sim.clock.Now()) {
			sim.clock.SetTime(at)
		}
		sim.reconcileOne(id)
	}
}

// fireTimer does what was put off, if that is due before the next reconcile.
func (sim *simulation) fireTimer(at time.Time, ok bool, until time.Time) bool {
	first := -1
	for i := range sim.timers {
		if first < 0 || sim.timers[i].at.Before(sim.timers[first].at) {
			first = i
		}
	}
	if first < 0 || sim.timers[first].at.After(until) || ok && at.Before(sim.timers[first].at) {
		return false
	}
	t := sim.timers[first]
	sim.timers = append(sim.timers[:first:first], sim.timers[first+1:]...)
	if t.at.After(sim.clock.Now()) {
		sim.clock.SetTime(t.at)
	}
	t.do()
	return true
}

func (sim *simulation) runFor(d time.Duration) { sim.runUntil(sim.clock.Now().Add(d)) }

// runUntilCalm runs until nothing is due for a while but the next sweep. Something that is tried
// again and again is not waited for.
func (sim *simulation) runUntilCalm() {
	const soon, most = 20 * time.Second, 40 * time.Second
	for end := sim.clock.Now().Add(most); ; {
		sim.runUntil(sim.clock.Now())
		_, at, ok := sim.nextItem()
		for _, t := range sim.timers {
			if !ok || t.at.Before(at) {
				at, ok = t.at, true
			}
		}
		if !ok || at.Sub(sim.clock.Now()) > soon || at.After(end) {
			return
		}
		sim.runUntil(at)
	}
}

// resync brings the gateway's next sweep forward to now.
func (sim *simulation) resync() {
	sim.runUntil(sim.clock.Now())
	id := sim.gatewayID()
	if _, ok := sim.queue[id]; ok {
		sim.runUntil(sim.dueAt(id))
	}
	sim.runUntilCalm()
}

// resyncUntil is sweep up to a moment.
func (sim *simulation) resyncUntil(until func() bool) {
	id := sim.gatewayID()
	if _, ok := sim.queue[id]; ok {
		sim.clock.SetTime(sim.dueAt(id))
	}
	sim.stepUntil(until)
}

func (sim *simulation) gatewayID() objectID {
	return objectID{kindGateway, types.NamespacedName{Namespace: sim.namespace, Name: "kong"}}
}

func (sim *simulation) bindingID(name string) objectID {
	return objectID{kindBinding, types.NamespacedName{Namespace: sim.namespace, Name: name}}
}

// reconcileOne is one reconcile.
func (sim *simulation) reconcileOne(id objectID) {
	delete(sim.queue, id)
	if sim.reconciles++; sim.reconciles > maxReconciles {
		panic(abort{fmt.Sprintf("it does not settle: %d passes", sim.reconciles)})
	}
	sim.readFailed = false
	sim.jitter.beginReconcile()
	sim.tracef("- %s %s", id.kind, id.Name)
	sim.current = id
	proc := sim.proc
	result, err := sim.reconcile(id)
	hooks := sim.afterReconcile
	sim.afterReconcile = nil
	for _, hook := range hooks {
		hook()
	}
	if proc.dead {
		sim.tracef("the process is dead")
		return
	}
	limiter := sim.bindingBackoff
	if id.kind == kindGateway {
		limiter = sim.gatewayBackoff
	}
	switch {
	case err != nil:
		sim.recordOutput(err.Error())
		sim.tracef("  error: %v", err)
		sim.enqueueAfter(id, limiter.When(id))
	case result.RequeueAfter > 0:
		limiter.Forget(id)
		sim.enqueueAfter(id, sim.deterministicPause(id, result.RequeueAfter))
	default:
		limiter.Forget(id)
	}
	sim.deliverChannelEvents()
	if sim.staleReconciles > 0 {
		sim.staleReconciles--
		sim.enqueueAll()
	}
	sim.updateCache()
}

func (sim *simulation) reconcile(id objectID) (result ctrl.Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			if a, ok := p.(abort); ok {
				panic(a)
			}
			panic(abort{fmt.Sprintf("panic: %v\n%s", p, debug.Stack())})
		}
	}()
	ctx := logr.NewContext(sim.ctx, funcr.New(func(prefix, args string) {
		sim.recordOutput(prefix + " " + args)
	}, funcr.Options{}))
	request := reconcile.Request{NamespacedName: id.NamespacedName}
	if id.kind == kindGateway {
		return sim.proc.Gateways.Reconcile(ctx, request)
	}
	return sim.proc.Bindings.Reconcile(ctx, request)
}

// deliverChannelEvents hands on what the two controllers told each other.
func (sim *simulation) deliverChannelEvents() {
	c := sim.proc.Connections
	for {
		select {
		case e := <-c.Changed():
			sim.enqueueWhere(kindBinding, client.MatchingFields{"spec.gatewayRef": keyOf(e).String()})
		case e := <-c.Woken():
			sim.enqueue(objectID{kindBinding, keyOf(e)})
		case e := <-c.Suspects():
			sim.enqueue(objectID{kindGateway, keyOf(e)})
		default:
			return
		}
	}
}

func keyOf(e event.GenericEvent) types.NamespacedName { return client.ObjectKeyFromObject(e.Object) }

// refresh brings the truth up to date with what the API server holds.
func (sim *simulation) refresh(id objectID) {
	object := newObject(id.kind)
	err := apiServer.Get(sim.ctx, id.NamespacedName, object)
	switch {
	case apierrors.IsNotFound(err):
		delete(sim.stored, id)
	case err != nil:
		sim.must(err)
	default:
		sim.stored[id] = object
	}
}

// store brings it up to date with what the API server answered to a write.
func (sim *simulation) store(object client.Object) {
	if !object.GetDeletionTimestamp().IsZero() && len(object.GetFinalizers()) == 0 {
		delete(sim.stored, idOf(object))
		return
	}
	sim.stored[idOf(object)] = object.DeepCopyObject().(client.Object)
}

// updateCache lets the cache see the truth, unless it is held back.
func (sim *simulation) updateCache() {
	if sim.staleReconciles > 0 || sim.proc.dead {
		return
	}
	for _, kind := range []string{kindSecret, kindGateway, kindBinding} {
		if kind == sim.frozenKind {
			continue
		}
		ids := map[objectID]bool{}
		for _, from := range []objects{sim.cache, sim.stored} {
			for _, id := range from.sorted(kind) {
				ids[id] = true
			}
		}
		for _, id := range slices.SortedFunc(maps.Keys(ids), compareIDs) {
			was, is := sim.cache[id], sim.stored[id]
			switch {
			case was == nil && is == nil:
			case is == nil:
				delete(sim.cache, id)
				sim.notifyWatches(id, was, nil)
			case was == nil:
				sim.cache[id] = is
				sim.notifyWatches(id, nil, is)
			case was.GetUID() != is.GetUID():
				sim.cache[id] = is
				sim.notifyWatches(id, was, nil)
				sim.notifyWatches(id, nil, is)
			case was.GetResourceVersion() != is.GetResourceVersion():
				sim.cache[id] = is
				sim.notifyWatches(id, was, is)
			}
		}
	}
}

// What people do.

func (sim *simulation) create(object client.Object) {
	object.SetNamespace(sim.namespace)
	sim.must(apiServer.Create(sim.ctx, object))
	sim.store(object)
	sim.recordChange("somebody creates", object)
}

// change edits metadata or spec.
func change[T client.Object](sim *simulation, object T, edit func(T)) {
	object.SetNamespace(sim.namespace)
	base := sim.stored[idOf(object)]
	object = base.DeepCopyObject().(T)
	edit(object)
	sim.must(apiServer.Patch(sim.ctx, object, client.MergeFrom(base)))
	sim.store(object)
	sim.recordChange("somebody changes", object)
}

func (sim *simulation) delete(object client.Object) {
	object.SetNamespace(sim.namespace)
	sim.must(client.IgnoreNotFound(apiServer.Delete(sim.ctx, object)))
	sim.refresh(idOf(object))
	sim.recordChange("somebody deletes", object)
}

func (sim *simulation) recordChange(what string, object client.Object) {
	id := idOf(object)
	if id.kind == kindBinding {
		sim.names[id.Name] = true
	}
	sim.tracef("%s %s %s", what, id.kind, id.Name)
	sim.updateCache()
}

// kill ends the process between two passes.
func (sim *simulation) kill() {
	sim.proc.dead = true
	sim.tracef("the process is killed")
}

// removeForcibly takes the finalizer away by force, with the object.
func (sim *simulation) removeForcibly(object client.Object) {
	change(sim, object, func(o client.Object) { o.SetFinalizers(nil) })
	sim.delete(object)
}

// stepUntil makes one pass after another, as long as something is due now, until something is so.
func (sim *simulation) stepUntil(until func() bool) {
	for !until() {
		if sim.proc.dead {
			sim.startProcess()
		}
		id, at, ok := sim.nextItem()
		if !ok || at.Sub(sim.clock.Now()) > 15*time.Second {
			return
		}
		if sim.fireTimer(at, ok, at) {
			continue
		}
		if at.After(sim.clock.Now()) {
			sim.clock.SetTime(at)
		}
		sim.reconcileOne(id)
	}
}

// unfreezeCache lets the cache see again.
func (sim *simulation) unfreezeCache() {
	sim.frozenKind = ""
	sim.updateCache()
}

// report is the trace of a play.
func (sim *simulation) report() string {
	return strings.Join(sim.trace, "\n")
}
