package faults

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/controllers"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/inflight"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// cluster is the cluster ID in the ownership tags. It counts as chosen by an administrator.
const cluster = "faults"

// epoch is the start time of every run.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const (
	countDebounce = time.Second // before a gateway counts its bindings again
	maxReconciles = 600         // of a run that settles
)

// simulation is the environment of one run: a namespace, a Kong, and one operator process after
// another.
type simulation struct {
	ctx       context.Context
	kong      *standIn
	clock     *clocktesting.FakeClock
	namespace string
	configure func(*controllers.Options)

	// stored is what the API server holds, cache what the operator sees of it. While
	// staleReconciles is positive, nothing reaches the cache. Every reconcile decrements it.
	stored, cache   objects
	staleReconciles int
	frozenKind      string // nothing of this kind reaches the cache

	// word: the last process ended in order, and left its word that no write is in flight.
	word bool

	// The running process, and when it reconciles what.
	proc           *process
	processes      []*process
	queue          map[objectID]queueItem
	order          int
	timers         []timer
	afterReconcile []func() // called after the next reconcile
	reconciles     int
	current        objectID // what is being reconciled
	resyncs        int      // of the gateway so far
	jitter         jitter   // of the gateway
	kongDown       bool     // Kong cannot be reached
	kongToken      string   // that Kong requires, if any
	bindingBackoff workqueue.TypedRateLimiter[objectID]
	gatewayBackoff workqueue.TypedRateLimiter[objectID]

	// calls lists the calls since arm.
	armed      bool
	counts     map[string]int
	calls      []call
	duringCall map[string]func() // called once, during a call of that name
	faults     []*armedFault

	// For the checks at the end.
	names            map[string]bool // of bindings
	adoptable        map[string]bool // IDs of plugins that a binding may adopt
	removableOrphans map[string]bool // their plugin IDs
	secrets          []string        // values that must appear nowhere
	outputs          []string        // all output of the operator
	replacements     []string        // pairs: a text that differs between runs, and its replacement in the end state
	kubeWrites       int
	// kubeWritesBeforeArm counts the writes before arm. backup is an earlier state of Kong.
	kubeWritesBeforeArm int
	backup              kongtest.Snapshot
	readFailed          bool   // in this reconcile, by a fault
	throttledRead       string // the read of this reconcile that a fault rate-limited
	trace               []string
	violations          []string
	mu                  sync.Mutex // guards trace and the records beside it: another goroutine fetches schemas
}

type queueItem struct {
	at    time.Time
	order int
}

type timer struct {
	at time.Time
	do func()
}

// process is one process of the operator.
type process struct {
	*controllers.Reconcilers
	sim      *simulation
	ctx      context.Context
	stop     context.CancelFunc // what SIGTERM does
	writes   *inflight.Tracker
	dead     bool
	client   *swappableClient
	bypass   bool // requests are not recorded: they are not the operator's
	registry *prometheus.Registry
}

var namespaces atomic.Int64

// newSimulation creates a namespace and starts an operator with an empty cache.
func newSimulation(k *standIn, configure func(*controllers.Options)) *simulation {
	sim := &simulation{
		ctx: context.Background(), kong: k, configure: configure,
		clock:     clocktesting.NewFakeClock(epoch),
		namespace: fmt.Sprintf("run-%d", namespaces.Add(1)),
		stored:    objects{}, cache: objects{},
		names: map[string]bool{}, adoptable: map[string]bool{}, removableOrphans: map[string]bool{},
	}
	k.reset(sim.clock.Now)
	sim.must(apiServer.Create(sim.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: sim.namespace}}))
	sim.startProcess()
	return sim
}

// abort ends a run that cannot go on.
type abort struct{ reason string }

func (sim *simulation) must(err error) {
	if err != nil {
		panic(abort{"the simulation itself failed: " + err.Error()})
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

// startProcess starts a new process: with new reconcilers, an empty memory, and a cache that
// equals the API server unless that is behind.
func (sim *simulation) startProcess() {
	if sim.proc != nil {
		sim.recordMetrics()
		sim.tracef("new process starts")
	}
	proc := &process{sim: sim, registry: prometheus.NewRegistry(), writes: inflight.NewTracker(sim.clock, time.Time{})}
	proc.ctx, proc.stop = context.WithCancel(sim.ctx)
	proc.writes.Lead(map[bool]inflight.Inherited{true: inflight.NoWrites, false: inflight.Unknown}[sim.word])
	sim.word = false
	clients := adminapi.NewRegistry(adminapi.NewMetrics(proc.registry), nil)
	clients.Report(proc.writes)
	options := controllers.Options{
		ClusterID: cluster, Namespaces: []string{sim.namespace}, Registry: proc.registry, Clock: sim.clock, Writes: proc.writes,
		Client: cachedClient{proc: proc}, APIReader: liveReader{proc},
		Clients: dialer{connection.AdminAPIClients{Registry: clients}, proc},
	}
	if sim.configure != nil {
		sim.configure(&options)
	}
	proc.Reconcilers = controllers.New(options, controllers.Recorders{Gateways: recorder{proc}, Bindings: recorder{proc}})
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

// recordMetrics records what the process would show to Prometheus.
func (sim *simulation) recordMetrics() {
	families, err := sim.proc.registry.Gather()
	sim.must(err)
	for _, family := range families {
		sim.recordOutput(family.String())
	}
}

// counterSum returns the sum of a counter over all processes.
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

// refresh reads an object from the API server into stored.
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

// store keeps an object as the API server returned it after a write.
func (sim *simulation) store(object client.Object) {
	if !object.GetDeletionTimestamp().IsZero() && len(object.GetFinalizers()) == 0 {
		delete(sim.stored, idOf(object))
		return
	}
	sim.stored[idOf(object)] = object.DeepCopyObject().(client.Object)
}

// updateCache copies what the API server holds into the cache, unless the cache is held back.
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

// Actions of users.

func (sim *simulation) create(object client.Object) {
	object.SetNamespace(sim.namespace)
	sim.must(apiServer.Create(sim.ctx, object))
	sim.store(object)
	sim.recordChange("user creates", object)
}

// change edits metadata or spec.
func change[T client.Object](sim *simulation, object T, edit func(T)) {
	object.SetNamespace(sim.namespace)
	base := sim.stored[idOf(object)]
	object = base.DeepCopyObject().(T)
	edit(object)
	sim.must(apiServer.Patch(sim.ctx, object, client.MergeFrom(base)))
	sim.store(object)
	sim.recordChange("user changes", object)
}

func (sim *simulation) delete(object client.Object) {
	object.SetNamespace(sim.namespace)
	sim.must(client.IgnoreNotFound(apiServer.Delete(sim.ctx, object)))
	sim.refresh(idOf(object))
	sim.recordChange("user deletes", object)
}

func (sim *simulation) recordChange(what string, object client.Object) {
	id := idOf(object)
	if id.kind == kindBinding {
		sim.names[id.Name] = true
	}
	sim.tracef("%s %s %s", what, id.kind, id.Name)
	sim.updateCache()
}

// kill ends the process between two reconciles.
func (sim *simulation) kill() {
	sim.proc.dead = true
	sim.tracef("the process is killed")
}

// endInOrder ends the process between two reconciles, or at the end of one during which it was stopped. It
// keeps the Lease until its own writes have ended, and leaves its word if it can.
func (sim *simulation) endInOrder() {
	const drain = 18 * time.Second
	sim.proc.stop()
	for end := sim.clock.Now().Add(drain); !sim.proc.writes.OwnEnded() && sim.clock.Now().Before(end); {
		until := sim.clock.Now().Add(time.Second)
		for sim.fireTimer(time.Time{}, false, until) {
			continue
		}
		sim.clock.SetTime(latest(sim.clock.Now(), until))
	}
	sim.word = sim.proc.writes.AllEnded()
	sim.proc.dead = true
	sim.tracef("the process ends in order; it leaves its word: %v", sim.word)
}

// removeForcibly removes the finalizer and deletes the object.
func (sim *simulation) removeForcibly(object client.Object) {
	change(sim, object, func(o client.Object) { o.SetFinalizers(nil) })
	sim.delete(object)
}

// unfreezeCache lets the cache see the API server again.
func (sim *simulation) unfreezeCache() {
	sim.frozenKind = ""
	sim.updateCache()
}

// report is the trace of the run.
func (sim *simulation) report() string {
	return strings.Join(sim.trace, "\n")
}
