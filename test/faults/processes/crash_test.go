package processes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// scenario is a job of the manager, whose every call is a place to fail.
type scenario struct {
	name string
	// begin brings the stage to where the scenario starts.
	begin func(*stage)
	// trigger is what the manager has to react to.
	trigger func(*stage)
	// over is nil when the job is done.
	over func(*stage) error
	// must are the calls without which the job cannot be done: each of their plans has to
	// meet its call. The others depend on who comes first.
	must []string
	// part are the calls of the plans that are always run.
	part []string
}

var scenarios = []scenario{
	{
		name:    "create",
		begin:   (*stage).beginEmpty,
		trigger: func(s *stage) { s.create(s.binding(theBinding)) },
		over:    (*stage).bindingsReady,
		must: []string{
			"K3 patch pluginbindings", "K2 get secrets", "G2 get plugin by name", "G8 list plugins of services",
			"K4 get pluginbindings", "G4 create plugins", "K5 patch pluginbindings.status",
		},
		part: []string{"K3 patch pluginbindings", "K4 get pluginbindings", "G4 create plugins", "K5 patch pluginbindings.status"},
	},
	{
		name:    "update",
		begin:   (*stage).beginInForce,
		trigger: func(s *stage) { s.edit(theBinding, `{"minute": 7, "policy": "local"}`) },
		over:    (*stage).bindingsReady,
		must:    []string{"G1 get plugin by id", "G5 put plugins", "K5 patch pluginbindings.status"},
		part:    []string{"G5 put plugins"},
	},
	{
		name:  "delete",
		begin: (*stage).beginInForce,
		trigger: func(s *stage) {
			must(s.t, suite.client.Delete(context.Background(), s.current()))
		},
		over: func(s *stage) error {
			if n := len(s.bindings()); n > 0 {
				return fmt.Errorf("%d bindings are left", n)
			}
			return s.gatewayReady()
		},
		must: []string{"G1 get plugin by id", "K4 get pluginbindings", "G6 delete plugins", "K6 patch pluginbindings"},
		part: []string{"G6 delete plugins"},
	},
	{
		name:  "restore",
		begin: (*stage).beginInForce,
		trigger: func(s *stage) {
			s.kong.DeletePlugin(string(s.current().Status.PluginID))
			s.look(theBinding)
		},
		over: (*stage).bindingsReady,
		must: []string{"G1 get plugin by id", "G2 get plugin by name", "K4 get pluginbindings", "G5 put plugins"},
		part: []string{"G5 put plugins"},
	},
	{
		name:    "recover a lost status",
		begin:   (*stage).beginWithoutStatus,
		trigger: func(s *stage) { s.create(s.binding(theBinding)) },
		over:    (*stage).bindingsReady,
		must:    []string{"K3 patch pluginbindings", "G2 get plugin by name", "K5 patch pluginbindings.status"},
		part:    []string{"K5 patch pluginbindings.status"},
	},
	{
		name:    "restart in sync",
		begin:   (*stage).beginStopped,
		trigger: func(s *stage) { s.main.start(suite.manager) },
		over: func(s *stage) error {
			if err := s.startedUp(); err != nil {
				return err
			}
			return s.bindingsReady()
		},
		must: []string{"K1 watch-list pluginbindings", "G9 probe /", "G8 list plugins by 2 tags"},
		part: []string{"G8 list plugins by 2 tags"},
	},
}

// beginEmpty: the manager runs, the gateway is ready, there is no binding.
func (s *stage) beginEmpty() {
	s.t.Helper()
	s.main.start(suite.manager)
	s.until("the gateway", s.gatewayReady)
}

// beginInForce: the manager runs and has nothing to do for one binding that is in force.
// Its plugin was made by an earlier manager: one that has just started waits before it
// makes any.
func (s *stage) beginInForce() {
	s.t.Helper()
	binding := s.binding(theBinding)
	s.create(binding)
	s.seedPlugin(string(binding.UID))
	s.main.start(suite.manager)
	s.until("the binding", s.bindingsReady)
	s.quiet()
}

// beginWithoutStatus: Kong has the plugin of a binding that does not exist any more, and
// that will be there again without its status, as a restored backup would bring it.
func (s *stage) beginWithoutStatus() {
	s.t.Helper()
	s.seedPlugin("00000000-0000-0000-0000-000000000001")
	s.beginEmpty()
}

// seedPlugin makes the plugin of the binding, as a manager would.
func (s *stage) seedPlugin(uid string) {
	id := identity.Binding{Cluster: s.cluster, Namespace: s.namespace, Name: theBinding, UID: uid}
	s.kong.Seed("plugins", map[string]any{
		"name": "rate-limiting", "service": map[string]any{"name": "orders"},
		"instance_name": id.InstanceName(), "tags": toAny(id.OwnershipTags()),
		"config": map[string]any{"minute": 5.0, "policy": "local", "redis": map[string]any{"password": s.secrets[1]}},
	})
}

// beginStopped: one binding is in force, and the manager was stopped.
func (s *stage) beginStopped() {
	s.t.Helper()
	s.beginInForce()
	s.main.now().stop(s.t)
}

// moment is when the process ends.
type moment string

const (
	before moment = "before"
	after  moment = "after"
)

// point is a call of the learning run: the n-th of its kind.
type point struct {
	key string
	n   int
}

func (p point) String() string {
	if p.n == 0 {
		return p.key
	}
	return fmt.Sprintf("%s (%d)", p.key, p.n+1)
}

// lesson is what the run without a fault showed.
type lesson struct {
	points  []point
	outcome outcome
}

func TestCrashes(t *testing.T) {
	for i := range scenarios {
		sc := &scenarios[i]
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			l := sc.learn(t)
			for _, p := range l.points {
				if !suite.full && !slices.Contains(sc.part, p.key) {
					continue
				}
				for _, m := range []moment{before, after} {
					t.Run(fmt.Sprintf("%s %s", m, p), func(t *testing.T) {
						t.Parallel()
						sc.crash(t, l, p, m)
					})
				}
			}
			sc.disturb(t, l)
		})
	}
}

// learn plays the scenario without a fault, and lists its calls.
func (sc *scenario) learn(t *testing.T) (l lesson) {
	t.Helper()
	t.Run("no fault", func(t *testing.T) {
		total.plan(t, sc.name)
		s := newStage(t, timeout)
		sc.begin(s)
		mark := s.tape.mark()
		sc.trigger(s)
		s.until(sc.name, func() error { return sc.over(s) })
		counts := map[string]int{}
		for _, c := range s.tape.since(mark) {
			l.points = append(l.points, point{c.key(), counts[c.key()]})
			counts[c.key()]++
		}
		s.finish()
		l.outcome = s.outcome()
		for _, key := range sc.must {
			if counts[key] == 0 {
				t.Errorf("the run without a fault did not make the call %q", key)
			}
		}
		t.Logf("%s: %d calls:\n%s", sc.name, len(l.points), s.tape.print(mark))
	})
	if t.Failed() {
		t.FailNow()
	}
	return l
}

// crash plays the scenario and ends the process at a call.
func (sc *scenario) crash(t *testing.T, l lesson, p point, m moment) {
	total.plan(t, sc.name)
	s := newStage(t, timeout)
	sc.begin(s)
	do := first(s.main.kill)
	if m == after {
		do = then(s.main.kill)
	}
	at := s.main.link
	if strings.HasPrefix(p.key, "G") {
		at = s.toKong
	}
	r := at.on(rule{matches: func(c *call) bool { return c.key() == p.key }, skip: p.n, times: 1, fault: do})
	sc.trigger(s)
	if !s.metOr(r, func() error { return sc.over(s) }) {
		total.miss(sc.name)
		if p.n == 0 && slices.Contains(sc.must, p.key) {
			t.Errorf("the call %q was not made, and the job is done", p.key)
		}
		at.off(r)
		s.main.kill()
	}
	<-s.main.now().exited
	s.main.start(suite.manager)
	s.until(sc.name, func() error { return sc.over(s) })
	sc.compare(s, l)
}

// compare waits for the end, asks the oracles, and wants the end of the run without a
// fault.
func (sc *scenario) compare(s *stage, l lesson) {
	s.t.Helper()
	s.finish()
	if got := s.outcome(); got != l.outcome {
		s.t.Errorf("without the fault the end was\n%s%sand with it\n%s%s", l.outcome.plugins, l.outcome.bindings, got.plugins, got.bindings)
	}
}

// metOr waits until a fault has taken effect. When the job is done, what still comes after
// it (events, the gateway's counts) is given a while.
func (s *stage) metOr(r *rule, over func() error) (met bool) {
	s.t.Helper()
	const while = 60 // looks
	done := 0
	s.until("the call, or the end of the job", func() error {
		err := over()
		select {
		case <-r.met:
			met = true
			return nil
		default:
		}
		if err == nil {
			done++
		}
		if done < while {
			return errors.Join(errors.New("the call was not made"), err)
		}
		return nil
	})
	return met
}

// finish waits for quiet, stops the managers and asks the oracles.
func (s *stage) finish() {
	s.t.Helper()
	s.until("the first look after the start", s.startedUp)
	s.quiet()
	for _, r := range s.replicas {
		if r.running() {
			r.now().stop(s.t)
		}
	}
	s.check()
}
