package processes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
)

// scenario is a task of the manager. Every call that it makes is a place to fail.
type scenario struct {
	name string
	// setup brings the environment to the start of the scenario.
	setup func(*testEnv)
	// trigger is the event that the manager reacts to.
	trigger func(*testEnv)
	// done returns nil when the task is done.
	done func(*testEnv) error
	// required lists the calls without which the task cannot be done. A plan for one of them
	// must meet its call. Other calls depend on timing.
	required []string
	// inShortRun lists the calls whose plans always run, the first two of each.
	inShortRun []string
}

var scenarios = []scenario{
	{
		name:    "create",
		setup:   (*testEnv).startEmpty,
		trigger: func(env *testEnv) { env.create(env.binding(bindingName)) },
		done:    (*testEnv).bindingsReady,
		required: []string{
			kubeAddBindingFinalizer, kubeGetSecret, kongGetPluginByName, kongListOfService,
			kubeGetBinding, kongCreatePlugin, kubePatchBindingStatus,
		},
		inShortRun: []string{kubeAddBindingFinalizer, kubeGetBinding, kongCreatePlugin, kubePatchBindingStatus},
	},
	{
		name:       "update",
		setup:      (*testEnv).startWithReadyBinding,
		trigger:    func(env *testEnv) { env.edit(bindingName, `{"minute": 7, "policy": "local"}`) },
		done:       (*testEnv).bindingsReady,
		required:   []string{kongGetPlugin, kongPutPlugin, kubePatchBindingStatus},
		inShortRun: []string{kongPutPlugin},
	},
	{
		name:  "delete",
		setup: (*testEnv).startWithReadyBinding,
		trigger: func(env *testEnv) {
			must(env.t, suite.client.Delete(context.Background(), env.current()))
		},
		done: func(env *testEnv) error {
			if n := len(env.bindings()); n > 0 {
				return fmt.Errorf("%d bindings are left", n)
			}
			return env.gatewayReady()
		},
		required:   []string{kongListTagged, kubeGetBinding, kongDeletePlugin, kubeRemoveFinalizer},
		inShortRun: []string{kongDeletePlugin},
	},
	{
		name:  "restore",
		setup: (*testEnv).startWithReadyBinding,
		trigger: func(env *testEnv) {
			env.kong.DeletePlugin(string(env.current().Status.PluginID))
			env.requestReconcile(bindingName)
		},
		done:       (*testEnv).bindingsReady,
		required:   []string{kongGetPlugin, kongGetPluginByName, kubeGetBinding, kongPutPlugin},
		inShortRun: []string{kongPutPlugin},
	},
	{
		name:       "recover a lost status",
		setup:      (*testEnv).startWithoutStatus,
		trigger:    func(env *testEnv) { env.create(env.binding(bindingName)) },
		done:       (*testEnv).bindingsReady,
		required:   []string{kubeAddBindingFinalizer, kongGetPluginByName, kubePatchBindingStatus},
		inShortRun: []string{kubePatchBindingStatus},
	},
	{
		name:    "restart in sync",
		setup:   (*testEnv).startStopped,
		trigger: func(env *testEnv) { env.main.start(suite.manager) },
		done: func(env *testEnv) error {
			if err := env.initialSyncDone(); err != nil {
				return err
			}
			return env.bindingsReady()
		},
		required:   []string{kubeWatchListBindings, kongProbe, kongListOwned},
		inShortRun: []string{kongListOwned},
	},
}

// startEmpty starts the manager and waits until the gateway is ready. There is no binding.
func (env *testEnv) startEmpty() {
	env.t.Helper()
	env.main.start(suite.manager)
	env.eventually("the gateway", env.gatewayReady)
}

// startWithReadyBinding starts the manager with one ready binding, and waits until it is idle.
// An earlier manager created the plugin, because one that has just started waits before it
// creates any.
func (env *testEnv) startWithReadyBinding() {
	env.t.Helper()
	binding := env.binding(bindingName)
	env.create(binding)
	env.seedPlugin(string(binding.UID))
	env.main.start(suite.manager)
	env.eventually("the binding", env.bindingsReady)
	env.waitUntilIdle()
}

// startWithoutStatus starts the manager with the plugin of a binding that does not exist. The
// test then creates the binding without its status, as a restored backup would.
func (env *testEnv) startWithoutStatus() {
	env.t.Helper()
	env.seedPlugin("00000000-0000-0000-0000-000000000001")
	env.startEmpty()
}

// seedPlugin creates the plugin of the binding, as a manager would.
func (env *testEnv) seedPlugin(uid string) {
	id := identity.Binding{Cluster: env.cluster, Namespace: env.namespace, Name: bindingName, UID: uid}
	env.kong.Seed("plugins", map[string]any{
		"name": "rate-limiting", "service": map[string]any{"name": "orders"},
		"instance_name": id.InstanceName(), "tags": toAny(id.OwnershipTags()),
		"config": map[string]any{"minute": 5.0, "policy": "local", "redis": map[string]any{"password": env.secrets[1]}},
	})
}

// startStopped leaves one ready binding and a manager that was stopped.
func (env *testEnv) startStopped() {
	env.t.Helper()
	env.startWithReadyBinding()
	env.main.process().stop(env.t)
}

// crashPoint is when the process ends: before or after a call.
type crashPoint string

const (
	before crashPoint = "before"
	after  crashPoint = "after"
)

// callSite is the n-th call of a name in the baseline.
type callSite struct {
	name string
	n    int
}

func (p callSite) String() string {
	if p.n == 0 {
		return p.name
	}
	return fmt.Sprintf("%s (%d)", p.name, p.n+1)
}

// baseline is the result of the run without a fault.
type baseline struct {
	calls   []callSite
	outcome outcome
}

func TestCrashes(t *testing.T) {
	for i := range scenarios {
		sc := &scenarios[i]
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			l := sc.runBaseline(t)
			for _, p := range l.calls {
				if !suite.full && (p.n > 1 || !slices.Contains(sc.inShortRun, p.name)) {
					continue
				}
				for _, m := range []crashPoint{before, after} {
					t.Run(fmt.Sprintf("%s %s", m, p), func(t *testing.T) {
						t.Parallel()
						sc.runCrash(t, l, p, m)
					})
				}
			}
			sc.runProxyFaults(t, l)
		})
	}
}

// runBaseline runs the scenario without a fault and lists its calls.
func (sc *scenario) runBaseline(t *testing.T) (l baseline) {
	t.Helper()
	t.Run("no fault", func(t *testing.T) {
		total.count(t, sc.name)
		env := newTestEnv(t, timeout)
		sc.setup(env)
		mark := env.calls.mark()
		sc.trigger(env)
		env.eventually(sc.name, func() error { return sc.done(env) })
		counts := map[string]int{}
		for _, c := range env.calls.since(mark) {
			l.calls = append(l.calls, callSite{c.name, counts[c.name]})
			counts[c.name]++
		}
		env.finish()
		l.outcome = env.outcome()
		for _, name := range sc.required {
			if counts[name] == 0 {
				t.Errorf("the run without a fault did not make the call %q", name)
			}
		}
		t.Logf("%s: %d calls:\n%s", sc.name, len(l.calls), env.calls.format(mark))
	})
	if t.Failed() {
		t.FailNow()
	}
	return l
}

// runCrash runs the scenario and ends the process at a call.
func (sc *scenario) runCrash(t *testing.T, l baseline, p callSite, m crashPoint) {
	total.count(t, sc.name)
	env := newTestEnv(t, timeout)
	sc.setup(env)
	do := beforeRequest(env.main.kill)
	if m == after {
		do = afterResponse(env.main.kill)
	}
	at := env.main.proxy
	if isKongCall(p.name) {
		at = env.kongProxy
	}
	r := at.addRule(rule{matches: func(c *call) bool { return c.name == p.name }, skip: p.n, limit: 1, fault: do})
	sc.trigger(env)
	if !env.faultHitOrDone(r, func() error { return sc.done(env) }) {
		total.countNotMade(sc.name)
		if p.n == 0 && slices.Contains(sc.required, p.name) {
			t.Errorf("the task is done without the call %q", p.name)
		}
		at.removeRule(r)
		env.main.kill()
	}
	<-env.main.process().exited
	env.main.start(suite.manager)
	env.eventually(sc.name, func() error { return sc.done(env) })
	sc.compareWith(env, l)
}

// compareWith waits for the end, checks the invariants, and expects the end state of the
// baseline.
func (sc *scenario) compareWith(env *testEnv, l baseline) {
	env.t.Helper()
	env.finish()
	if got := env.outcome(); got != l.outcome {
		env.t.Errorf("end state without the fault:\n%s%send state with it:\n%s%s", l.outcome.plugins, l.outcome.bindings, got.plugins, got.bindings)
	}
}

// faultHitOrDone waits until a fault fires. When the task is done, later calls (events, the
// gateway's counts) get some more time.
func (env *testEnv) faultHitOrDone(r *rule, over func() error) (met bool) {
	env.t.Helper()
	const while = 60 // attempts
	done := 0
	env.eventually("the call, or the end of the task", func() error {
		err := over()
		select {
		case <-r.hit:
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

// finish waits until nothing happens, stops the managers and checks the invariants.
func (env *testEnv) finish() {
	env.t.Helper()
	env.eventually("the first resync after the start", env.initialSyncDone)
	env.waitUntilIdle()
	for _, r := range env.replicas {
		if r.running() {
			r.process().stop(env.t)
		}
	}
	env.check()
}
