package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// Names of the phases, in order. Stored results contain them.
const (
	phaseBare = "bare client"
	phaseLoad = "load into the API server"

	phaseLoopCreate = "loop, creation"
	phaseLoopChange = "loop, change of all"
	phaseLoopDelete = "loop, deletion"
	phaseWrites     = "ways of writing a status"

	phaseCreate  = "first creation"
	phaseSettle  = "first restart"
	phaseRestart = "restart in sync"
	phaseIdle    = "idle"
	phaseChange  = "one change, idle"
	phaseQueue   = "all changed, and one amid"
	phaseDrift   = "1% drifted"
	phaseOutage  = "outage"
	phaseDelete  = "deletion of all"

	phasePolicies      = "policies, first creation"
	phasePolicyRestart = "policies, restart in sync"
	phasePolicyRoute   = "policies, a new route"
)

// Names of the figures that only some phases have. Stored results contain them. A sweep is a
// resync.
const (
	figRate        = "per second"
	figShare       = "share of bare client, %"
	figLoopShare   = "share of the loop, %"
	figBindings    = "bindings"
	figServerMS    = "API server CPU a binding, ms"
	figAllReady    = "all ready, s"
	figFirst       = "first write after, s"
	figP50         = "p50, ms"
	figP95         = "p95, ms"
	figP99         = "p99, ms"
	figMax         = "max, ms"
	figChanges     = "changes"
	figRequests    = "requests per change"
	figAgain       = "requests, same again"
	figSweeps      = "sweeps"
	figSweepReads  = "reads per sweep"
	figSweepTook   = "sweep took, ms"
	figSweepCPU    = "CPU per sweep, ms"
	figIdlePercent = "CPU between sweeps, %"
	figBetween     = "probes between sweeps"
	figPerBinding  = "requests for bindings"
	figFromSweep   = "from sweep to repair, s"
	figRepaired    = "repaired"
	figProbes      = "probes"
	figOthers      = "other requests meanwhile"
	figInSync      = "all in sync after, s"
	figWritesAway  = "Kubernetes writes meanwhile"
	figAway        = "away, s"
)

// bareSample is the maximum number of plugins that the bare client creates.
const bareSample = 2000

// patience is the timeout for one operation. patienceForAll is the timeout for an operation on
// every binding.
const patience = 90 * time.Second

func (s *environment) patienceForAll() time.Duration {
	return patience + time.Duration(s.n)*50*time.Millisecond
}

func (s *environment) bare(ctx context.Context, p *phase) error {
	rate, err := s.kong.bareRate(ctx, s.proxy.url, s.plugins[:min(s.n, bareSample)])
	p.Figures[figRate] = rate
	return err
}

func (s *environment) load(ctx context.Context, p *phase) error {
	began := time.Now()
	err := s.cluster.load(ctx, s.plugins)
	p.Figures[figRate] = float64(s.n) / time.Since(began).Seconds()
	return err
}

// create starts the operator and waits until every plugin is in Kong and every binding is
// ready. The rate is measured in Kong, from the first POST to the end of the last one.
func (s *environment) create(ctx context.Context, p *phase) error {
	mark, began, theirs := s.proxy.mark(), time.Now(), cpuOf(s.cluster.processes)
	if err := s.operator.start(ctx); err != nil {
		return err
	}
	profiled, posted := s.profileWrites(ctx, "create", http.MethodPost), s.proxy.countWritten(http.MethodPost)
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, s.patienceForAll(), true, func(ctx context.Context) (bool, error) {
		// A request for metrics makes the operator count its bindings. So ask only at the end.
		if s.proxy.countWritten(http.MethodPost)-posted < s.n {
			return false, s.operator.checkAlive()
		}
		now, err := s.operator.activity(ctx)
		return now.ready == float64(s.n), err
	})
	if err != nil {
		return fmt.Errorf("not all bindings became ready: %w", err)
	}
	p.Figures[figAllReady] = time.Since(began).Seconds()
	if _, err := s.operator.waitUntilIdle(ctx, s.patienceForAll(), time.Time{}, 0); err != nil {
		return err
	}
	n, first, last := writesIn(s.proxy.since(mark), http.MethodPost)
	if n != s.n {
		s.fail("first creation: %d plugins were created", n)
	}
	p.Figures[figFirst] = first.Sub(began).Seconds()
	p.Figures[figRate] = float64(n) / last.Sub(first).Seconds()
	if bare := s.measured.figure(phaseBare, figRate); bare > 0 {
		p.Figures[figShare] = 100 * p.Figures[figRate] / bare
	}
	s.compareWithLoop(p, phaseLoopCreate, theirs)
	profiled()
	s.profileHeap(ctx, "create")
	return s.verify(ctx, p.Name)
}

// restart restarts the operator and waits until it has found everything in sync. The first time
// it may write what its last resync had not yet seen.
func (s *environment) restart(ctx context.Context, p *phase) error {
	if err := s.operator.stop(); err != nil {
		return err
	}
	began := time.Now()
	if err := s.operator.start(ctx); err != nil {
		return err
	}
	done, err := s.operator.waitUntilIdle(ctx, s.patienceForAll(), time.Time{}, s.n)
	p.Seconds = done.Sub(began).Seconds()
	return err
}

func (s *environment) restartInSync(ctx context.Context, p *phase) error {
	mark := s.proxy.mark()
	if _, _, err := s.cluster.audit.next(); err != nil {
		return err
	}
	if err := s.restart(ctx, p); err != nil {
		return err
	}
	s.profileHeap(ctx, "restart")
	for _, e := range s.proxy.since(mark) {
		if e.isWrite() {
			s.fail("restart in sync: write to Kong: %s %s", e.method, e.kind)
		}
	}
	return s.verify(ctx, p.Name)
}

// change changes one binding after the other while nothing else is to be done. It changes each
// twice: the second time the snapshot is older than the operator's own write.
func (s *environment) change(ctx context.Context, p *phase) error {
	const changes = 20
	var took []time.Duration
	first, again := 0, 0
	for i := range changes {
		name := s.plugins[i*s.n/changes].name
		for round, count := range []*int{&first, &again} {
			mark := s.proxy.mark()
			latency, err := s.changeOne(ctx, name, fmt.Sprintf("change-%d-%d", round, i))
			if err != nil {
				return err
			}
			if round == 0 {
				took = append(took, latency)
			}
			*count += bindingRequests(s.proxy.since(mark))
		}
	}
	p.recordLatencies(took)
	p.Figures[figRequests] = float64(first) / changes
	p.Figures[figAgain] = float64(again) / changes
	return s.verify(ctx, p.Name)
}

// changeOne changes a binding and waits until it is ready. It returns the time until Kong had
// the change.
func (s *environment) changeOne(ctx context.Context, name, tag string) (time.Duration, error) {
	found, began := s.proxy.awaitWrite(`"`+tag+`"`), time.Now()
	if err := s.cluster.tag(ctx, name, tag); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case at := <-found:
		return at.Sub(began), s.waitUntilReady(ctx, name)
	case <-ctx.Done():
		return 0, fmt.Errorf("the change of %s did not reach Kong: %w", name, ctx.Err())
	}
}

func (s *environment) waitUntilReady(ctx context.Context, name string) error {
	return wait.PollUntilContextTimeout(ctx, 5*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		b, err := s.cluster.binding(ctx, name)
		return err == nil && isReady(b), err
	})
}

// bindingRequests counts the requests that are not part of a resync.
func bindingRequests(exchanges []exchange) int {
	n := 0
	for _, e := range exchanges {
		if !e.resync {
			n++
		}
	}
	return n
}

// fullQueue changes all bindings while the operator is down. Then it changes single bindings
// while the operator's queue is full.
func (s *environment) fullQueue(ctx context.Context, p *phase) error {
	if err := s.operator.stop(); err != nil {
		return err
	}
	if err := inParallel(ctx, apiServerConcurrency, s.n, func(ctx context.Context, i int) error {
		return s.cluster.tag(ctx, s.plugins[i].name, "all")
	}); err != nil {
		return err
	}
	mark := s.proxy.mark()
	began, theirs := time.Now(), cpuOf(s.cluster.processes)
	if err := s.operator.start(ctx); err != nil {
		return err
	}
	profiled := s.profileWrites(ctx, "change", http.MethodPut)
	took, err := s.changesDuringQueue(ctx)
	if err != nil {
		return err
	}
	p.recordLatencies(took)
	done, err := s.operator.waitUntilIdle(ctx, s.patienceForAll(), time.Time{}, s.n)
	if err != nil {
		return err
	}
	p.Seconds = done.Sub(began).Seconds()
	n, first, last := writesIn(s.proxy.since(mark), http.MethodPut)
	p.Figures[figRate] = float64(n) / last.Sub(first).Seconds()
	s.compareWithLoop(p, phaseLoopChange, theirs)
	profiled()
	return s.verify(ctx, p.Name)
}

// changesDuringQueue changes bindings after the first tenth of the queue and before the last
// fifth.
func (s *environment) changesDuringQueue(ctx context.Context) ([]time.Duration, error) {
	const most = 20
	before := s.proxy.countWritten(http.MethodPut)
	put := func() int { return s.proxy.countWritten(http.MethodPut) - before }
	if err := wait.PollUntilContextTimeout(ctx, 5*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		return put() >= s.n/10, s.operator.checkAlive()
	}); err != nil {
		return nil, fmt.Errorf("the operator did not start to work on the queue: %w", err)
	}
	var took []time.Duration
	for i := range most {
		if put() > s.n*4/5 {
			break
		}
		// From the end: the operator has received the others before.
		latency, err := s.changeOne(ctx, s.plugins[s.n-1-i*s.n/most/2].name, fmt.Sprintf("amid-%d", i))
		if err != nil {
			return nil, err
		}
		took = append(took, latency)
	}
	return took, nil
}

// drift changes plugins in Kong and waits until the operator has corrected them.
func (s *environment) drift(ctx context.Context, p *phase) error {
	drifted := max(s.n/100, 1)
	var ids []string
	for i := range drifted {
		ids = append(ids, s.ids[s.plugins[i*s.n/drifted].name])
	}
	mark, began, before := s.proxy.mark(), time.Now(), s.proxy.countWritten(http.MethodPut)
	if err := inParallel(ctx, kongConcurrency, drifted, func(ctx context.Context, i int) error {
		return s.kong.do(ctx, http.MethodPatch, "/plugins/"+ids[i], map[string]any{"enabled": false}, nil)
	}); err != nil {
		return err
	}
	// The next resync comes only after fifty times what the last one took.
	if err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, 2*patience+s.patienceForAll(), true, func(context.Context) (bool, error) {
		return s.proxy.countWritten(http.MethodPut)-before >= drifted, s.operator.checkAlive()
	}); err != nil {
		return fmt.Errorf("the drift was not corrected: %w", err)
	}
	exchanges := s.proxy.since(mark)
	_, first, last := writesIn(exchanges, http.MethodPut)
	p.Seconds = last.Sub(began).Seconds()
	p.Figures[figRepaired] = float64(drifted)
	p.Figures[figFromSweep] = last.Sub(lastProbe(exchanges, first)).Seconds()
	p.Figures[figRequests] = float64(bindingRequests(exchanges)) / float64(drifted)
	for _, id := range ids {
		var plugin struct {
			Enabled bool `json:"enabled"`
		}
		if err := s.kong.do(ctx, http.MethodGet, "/plugins/"+id, nil, &plugin); err != nil {
			return err
		}
		if !plugin.Enabled {
			s.fail("drift: plugin %s is not as declared", id)
		}
	}
	return s.verify(ctx, p.Name)
}

// lastProbe returns the begin of the last resync before a time.
func lastProbe(exchanges []exchange, before time.Time) time.Time {
	var at time.Time
	for _, e := range exchanges {
		if e.kind == "/" && e.began.Before(before) && e.began.After(at) {
			at = e.began
		}
	}
	return at
}

// outagePhase makes the gateway unreachable and changes a binding meanwhile. The change must
// reach Kong afterwards.
func (s *environment) outagePhase(ctx context.Context, p *phase) error {
	if _, _, err := s.cluster.audit.next(); err != nil {
		return err
	}
	mark := s.proxy.mark()
	s.proxy.setUnreachable(true)
	found := s.proxy.awaitWrite(`"outage"`)
	if err := s.cluster.tag(ctx, s.plugins[0].name, "outage"); err != nil {
		return err
	}
	select {
	case <-time.After(s.outage):
	case <-ctx.Done():
		return ctx.Err()
	}
	exchanges := s.proxy.since(mark)
	back := time.Now()
	s.proxy.setUnreachable(false)
	for _, e := range exchanges {
		if e.kind == "/" && e.status == 0 {
			p.Figures[figProbes]++
		} else if e.status == 0 {
			p.Figures[figOthers]++
		}
	}
	reads, writes, err := s.cluster.audit.next()
	if err != nil {
		return err
	}
	p.Figures[figAway] = s.outage.Seconds()
	p.Figures[figWritesAway] = float64(total(writes))
	p.countKubernetes(reads, writes)

	done, err := s.operator.waitUntilIdle(ctx, s.patienceForAll(), back, 0)
	if err != nil {
		return err
	}
	p.Figures[figInSync] = done.Sub(back).Seconds()
	select {
	case <-found:
	default:
		s.fail("outage: the change during the outage did not reach Kong")
	}
	return s.verify(ctx, p.Name)
}

// delete deletes all bindings. The rate is measured in Kong.
func (s *environment) delete(ctx context.Context, p *phase) error {
	mark, began, theirs := s.proxy.mark(), time.Now(), cpuOf(s.cluster.processes)
	profiled := s.profileWrites(ctx, "delete", http.MethodDelete)
	if err := inParallel(ctx, apiServerConcurrency, s.n, func(ctx context.Context, i int) error {
		return client.IgnoreNotFound(s.cluster.Delete(ctx, bindingNamed(s.plugins[i].name)))
	}); err != nil {
		return err
	}
	if err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, s.patienceForAll(), true, func(ctx context.Context) (bool, error) {
		var left v1alpha1.PluginBindingList
		err := s.cluster.List(ctx, &left, client.InNamespace(namespace), client.Limit(1))
		if apierrors.IsTooManyRequests(err) {
			return false, nil
		}
		return err == nil && len(left.Items) == 0, err
	}); err != nil {
		return fmt.Errorf("not all bindings were deleted: %w", err)
	}
	p.Seconds = time.Since(began).Seconds()
	profiled()
	n, first, last := writesIn(s.proxy.since(mark), http.MethodDelete)
	p.Figures[figRate] = float64(n) / last.Sub(first).Seconds()
	s.compareWithLoop(p, phaseLoopDelete, theirs)
	left, err := s.kong.owned(ctx)
	if len(left) > 0 {
		s.fail("deletion: Kong still has %d plugins", len(left))
	}
	return err
}

// recordLatencies records how long changes took.
func (p *phase) recordLatencies(took []time.Duration) {
	slices.Sort(took)
	p.Figures[figChanges] = float64(len(took))
	if len(took) == 0 {
		return
	}
	for name, at := range map[string]int{figP50: (len(took) - 1) / 2, figP95: (len(took)*95 - 1) / 100, figMax: len(took) - 1} {
		p.Figures[name] = float64(took[at].Microseconds()) / 1000
	}
}
