package faults

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pluginbinding/kong-plugin-operator/controllers"
)

// scenario is run once without faults, and then with each of them.
type scenario struct {
	name string
	// configure changes the operator's options.
	configure func(*controllers.Options)
	// setup runs without faults, then act runs with them.
	setup func(*simulation)
	act   func(*simulation)
	// recreated: the binding was deleted and created again. The final ID must be the first that
	// Kong assigned to the new object. Otherwise it must be the first that Kong assigned to any
	// object of that name.
	recreated bool
	// readOnly: the operator must not write to Kong, whatever fails.
	readOnly bool
	// paired: pairs of faults are tried, too.
	paired bool
	// skip lists the faults that have no meaning here.
	skip []string
	// check checks the end of every run.
	check func(*simulation)
}

// outcome is the result of a run.
type outcome struct {
	calls      []call
	state      string
	violations []string
	trace      string
	fired      bool
}

// run runs the scenario with these faults, or without any.
func (s scenario) run(faults ...armedFault) (o outcome) {
	waiting := make([]*armedFault, len(faults))
	for i := range faults {
		f := faults[i]
		waiting[i] = &f
	}
	k := <-standIns
	defer func() { standIns <- k }()
	sim := newSimulation(k, s.configure)
	defer func() {
		if p := recover(); p != nil {
			a, ok := p.(abort)
			if !ok {
				panic(p)
			}
			sim.violation("%s", a.reason)
		}
		o.violations, o.trace, o.calls, o.fired = sim.violations, sim.report(), sim.calls, true
		for _, f := range waiting {
			o.fired = o.fired && f.fired
		}
	}()
	s.setup(sim)
	mark := k.server.Journal().Mark()
	sim.arm(waiting...)
	s.act(sim)
	sim.runUntilCalm()
	sim.disarm()
	sim.tracef("disarmed")
	sim.settle(!needTrigger(waiting))
	for _, f := range waiting {
		sim.checkFault(f)
	}
	sim.triggerReconciles(waiting)
	sim.recordMetrics()
	sim.checkInvariants(s.recreated)
	sim.checkStatus()
	if writes := k.server.Journal().Since(mark).Writes(); s.readOnly && len(writes) > 0 {
		sim.violation("%d writes to Kong, expected none", len(writes))
	}
	if s.check != nil {
		s.check(sim)
	}
	o.state = sim.endState()
	return o
}

// compareWith adds the violations that only a comparison with the baseline shows.
func (o *outcome) compareWith(clean outcome) {
	if !o.fired {
		o.violations = append(o.violations, "a fault did not fire: its call was not made")
	}
	if len(o.violations) == 0 && o.state != clean.state {
		o.violations = append(o.violations, "the end state differs from the baseline (-baseline +fault):\n"+cmp.Diff(clean.state, o.state))
	}
}

// report counts the plans of a scenario. A plan is a run with one fault, or with a pair.
type report struct {
	mu                sync.Mutex
	calls, plans, bad int
}

func (r *report) add(bad bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.plans++
	if bad {
		r.bad++
	}
}

var (
	total report
	began = time.Now()
)

func printTotal() {
	fmt.Printf("faults: %-8s %-28s calls %3d  plans %5d  violations %3d  %6.1f s\n", "total", "", total.calls, total.plans, total.bad, time.Since(began).Seconds())
}

func (r *report) print(kind, name string, start time.Time) {
	fmt.Printf("faults: %-8s %-28s calls %3d  plans %5d  violations %3d  %6.1f s\n", kind, name, r.calls, r.plans, r.bad, time.Since(start).Seconds())
	total.mu.Lock()
	defer total.mu.Unlock()
	total.calls, total.plans, total.bad = total.calls+r.calls, total.plans+r.plans, total.bad+r.bad
}

// selectRuns says how much to try. FAULTS_FULL=1 means everything. Otherwise every call is
// tried with the faults of the short run and one other. FAULTS_PAIRS selects the pairs: full,
// some or none.
func selectRuns() (allSingles bool, pairs string) {
	allSingles = os.Getenv("FAULTS_FULL") != ""
	pairs = "some"
	if allSingles {
		pairs = "full"
	}
	if asked := os.Getenv("FAULTS_PAIRS"); asked != "" {
		pairs = asked
	}
	return allSingles, pairs
}

// TestFaults tries every call of every scenario with every fault.
func TestFaults(t *testing.T) {
	all, _ := selectRuns()
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			start := time.Now()
			r := &report{}
			t.Cleanup(func() { r.print("single", s.name, start) })
			clean := s.runBaseline(t)
			r.calls = len(clean.calls)
			for i, call := range clean.calls {
				t.Run(call.String(), func(t *testing.T) {
					t.Parallel()
					for _, f := range s.faultsFor(call.callID, i, all) {
						t.Run(f.name, func(t *testing.T) {
							t.Parallel()
							o := s.run(armedFault{call: call.callID, fault: f})
							o.compareWith(clean)
							r.add(len(o.violations) > 0)
							o.fail(t)
						})
					}
				})
			}
		})
	}
}

// runBaseline runs the scenario without faults. It must not violate anything.
func (s scenario) runBaseline(t *testing.T) outcome {
	t.Helper()
	o := s.run()
	o.fail(t)
	if t.Failed() {
		t.FailNow()
	}
	return o
}

func (o *outcome) fail(t *testing.T) {
	t.Helper()
	if len(o.violations) > 0 {
		t.Errorf("%s\n\n%s", strings.Join(o.violations, "\n"), o.trace)
	}
}

// faultsFor returns the faults to try at the i-th call: all of them, or those of the short run
// and one of the others in turn.
func (s scenario) faultsFor(call callID, i int, all bool) []*fault {
	var chosen, others []*fault
	for _, f := range allFaults {
		switch {
		case !f.applies(call) || slices.Contains(s.skip, call.name+"/"+f.name):
		case all || f.inShortRun:
			chosen = append(chosen, f)
		default:
			others = append(others, f)
		}
	}
	if len(others) > 0 {
		chosen = append(chosen, others[i%len(others)])
	}
	return chosen
}

// TestFaultPairs tries two faults in one run: the second at every call that comes after the
// first. Only paired faults are combined. Every other fault leaves the same state as one of
// them: Kong did not apply the request, did apply it, or applies it later, and the operator
// knows that or does not. So the others are tried alone. Two of them do differ: a 429, which
// makes the operator wait as long as Kong says and would add 1,700 plans, and a write to the
// API server that arrives late. Of the paired faults, only those are left out that would repeat
// a run.
func TestFaultPairs(t *testing.T) {
	_, pairs := selectRuns()
	if pairs == "none" {
		return
	}
	for _, s := range scenarios {
		if !s.paired {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			start := time.Now()
			r := &report{}
			t.Cleanup(func() { r.print("pairs", s.name, start) })
			clean := s.runBaseline(t)
			r.calls = len(clean.calls)
			nth := 0
			for i, call := range clean.calls {
				for _, f := range allFaults {
					if !f.paired || !f.applies(call.callID) || f.sameAsPrevious(clean.calls, i) {
						continue
					}
					nth++
					t.Run(call.String()+"/"+f.name, func(t *testing.T) {
						t.Parallel()
						s.runSecondFaults(t, armedFault{call: call.callID, fault: f}, clean, r, nth, pairs == "full")
					})
				}
			}
		})
	}
}

// runSecondFaults runs the scenario with one fault to learn which calls follow it. Then it runs
// it with another fault at each of these calls.
func (s scenario) runSecondFaults(t *testing.T, first armedFault, clean outcome, r *report, nth int, all bool) {
	t.Helper()
	after := callsAfter(s.run(first).calls, first.call)
	k := 0
	for i, call := range after {
		for _, g := range allFaults {
			if !g.paired || !g.applies(call.callID) || g.sameAsPrevious(after, i) {
				continue
			}
			if k++; !all && (k+nth)%pairStride != 0 {
				continue
			}
			t.Run(call.String()+"/"+g.name, func(t *testing.T) {
				t.Parallel()
				o := s.run(first, armedFault{call: call.callID, fault: g})
				o.compareWith(clean)
				r.add(len(o.violations) > 0)
				o.fail(t)
			})
		}
	}
}

// pairStride: the short run tries one pair in so many.
const pairStride = 61

// sameAsPrevious reports whether this fault at the i-th call equals the same fault at the call
// before. A process that crashes loses its memory, so it does not matter which of several
// consecutive reads it had finished.
func (f *fault) sameAsPrevious(calls []call, i int) bool {
	if f.name != "crash-before" || i == 0 {
		return false
	}
	before := calls[i-1]
	return !before.write && before.reconcile == calls[i].reconcile && before.at.Equal(calls[i].at)
}

func callsAfter(calls []call, call callID) []call {
	for i := range calls {
		if calls[i].callID == call {
			return calls[i+1:]
		}
	}
	return nil
}
