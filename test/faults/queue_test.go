package faults

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func (sim *simulation) enqueueAll() {
	for _, kind := range []string{kindGateway, kindBinding} {
		for _, id := range sim.cache.sorted(kind) {
			sim.enqueue(id)
		}
	}
}

func (sim *simulation) enqueue(id objectID) { sim.enqueueAfter(id, 0) }

// enqueueAfter keeps the earlier of two times, as the real queue does.
func (sim *simulation) enqueueAfter(id objectID, after time.Duration) {
	at := sim.clock.Now().Add(after)
	if have, ok := sim.queue[id]; ok && !at.Before(have.at) {
		return
	}
	sim.order++
	sim.queue[id] = queueItem{at, sim.order}
}

// nextItem returns the item that is due first.
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

// dueAt returns when a queued object can be reconciled.
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

// runUntil does everything that is due until a time.
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

// fireTimer runs the first timer, if it is due before the next reconcile.
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

// runUntilCalm runs until nothing but the next resync is due soon. It does not wait for the end
// of endless retries.
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

// resync moves the clock to the gateway's next resync, and runs it.
func (sim *simulation) resync() {
	sim.runUntil(sim.clock.Now())
	id := sim.gatewayID()
	if _, ok := sim.queue[id]; ok {
		sim.runUntil(sim.dueAt(id))
	}
	sim.runUntilCalm()
}

// resyncUntil is resync, until a condition is met.
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
		panic(abort{fmt.Sprintf("it does not settle: %d reconciles", sim.reconciles)})
	}
	sim.readFailed, sim.throttledRead = false, ""
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
	if !proc.dead && proc.ctx.Err() != nil {
		sim.endInOrder()
	}
	if proc.dead {
		sim.tracef("the process has ended")
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
	ctx := logr.NewContext(sim.proc.ctx, funcr.New(func(prefix, args string) {
		sim.recordOutput(prefix + " " + args)
	}, funcr.Options{}))
	request := reconcile.Request{NamespacedName: id.NamespacedName}
	if id.kind == kindGateway {
		return sim.proc.Gateways.Reconcile(ctx, request)
	}
	return sim.proc.Bindings.Reconcile(ctx, request)
}

// deliverChannelEvents enqueues what the controllers requested of each other.
func (sim *simulation) deliverChannelEvents() {
	c := sim.proc.Connections
	for {
		select {
		case key := <-c.ChangedGateways():
			sim.enqueueWhere(kindBinding, client.MatchingFields{"spec.gatewayRef": key.String()})
		case key := <-c.Bindings():
			sim.enqueue(objectID{kindBinding, key})
		case key := <-c.Waiting():
			sim.enqueue(objectID{kindBinding, key})
		case key := <-c.Probes():
			sim.enqueue(objectID{kindGateway, key})
		default:
			return
		}
	}
}

// stepUntil reconciles as long as something is due soon, until a condition is met.
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
