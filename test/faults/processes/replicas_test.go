package processes

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// TestTwoManagers runs two managers without leader election on the same objects. No
// installation does that, and even then nothing is created twice.
func TestTwoManagers(t *testing.T) {
	t.Parallel()
	total.count(t, "two managers, no election")
	env := newTestEnv(t, timeout)
	other := env.newReplica("b", "--leader-elect=false")
	const n = 6
	name := func(i int) string { return fmt.Sprintf("%s-%d", bindingName, i) }
	for i := range n {
		env.kong.Seed("services", map[string]any{"name": name(i), "url": "http://127.0.0.1:9"})
	}
	env.unmanagedRows = env.unmanaged()
	env.main.start(suite.manager)
	other.start(suite.manager)
	env.eventually("the gateway", env.gatewayReady)
	for i := range n {
		env.create(env.bindingOn(name(i), name(i)))
	}
	env.eventually("the bindings", env.bindingsReady)
	env.waitUntilIdle()
	for i := range n {
		env.edit(name(i), `{"minute": 7, "policy": "local"}`)
	}
	env.eventually("the bindings as changed", env.bindingsReady)
	env.waitUntilIdle()
	for _, b := range env.bindings() {
		env.kong.DeletePlugin(string(b.Status.PluginID))
		env.requestReconcile(b.Name)
	}
	env.eventually("the plugins that Kong had lost", env.bindingsReady)
	env.waitUntilIdle()
	for i := range n / 2 {
		must(t, suite.client.Delete(context.Background(), &v1alpha1.PluginBinding{ObjectMeta: env.meta(name(i))}))
	}
	env.eventually("half of the bindings", func() error {
		if left := len(env.bindings()); left != n-n/2 {
			return fmt.Errorf("%d are left", left)
		}
		return env.gatewayReady()
	})
	env.finish()
}

// newPair creates an environment with two replicas and leader election. Replica a leads, b
// waits.
func newPair(t *testing.T, requestTimeout string) (env *testEnv, a, b *replica) {
	t.Helper()
	env = newEnvWithoutReplica(t, requestTimeout)
	flags := []string{"--leader-elect=true", "--leader-election-namespace=" + env.namespace}
	a, b = env.newReplica("a", flags...), env.newReplica("b", flags...)
	env.main = a
	a.start(suite.manager)
	env.eventually("the gateway", env.gatewayReady)
	b.standby = true
	b.start(suite.manager)
	env.eventually("the second replica", func() error { return env.leaseRequested("b", http.MethodGet, 0) })
	return env, a, b
}

// newPairInSync is newPair with a ready binding, and with nothing left to do.
func newPairInSync(t *testing.T) (env *testEnv, a, b *replica) {
	t.Helper()
	env, a, b = newPair(t, unhurried)
	env.create(env.binding(bindingName))
	env.eventually("the binding", env.bindingsReady)
	env.waitUntilIdle()
	return env, a, b
}

// leaseRequested checks that the replica has sent a lease request since mark. A PUT takes the
// lease.
func (env *testEnv) leaseRequested(replica, method string, mark int) error {
	if env.calls.contains(mark, func(c *call) bool {
		return c.from == replica && c.name == kubeLease && c.method == method && c.status == http.StatusOK
	}) {
		return nil
	}
	return fmt.Errorf("replica %s has not sent its %s for the lease", replica, method)
}

// leaseRefused checks how often the API server has refused the lease to the replica.
func (env *testEnv) leaseRefused(r *replica, times int) error {
	n := 0
	for _, c := range env.calls.since(0) {
		if c.from == r.name && c.name == kubeLease && c.status == http.StatusInternalServerError {
			n++
		}
	}
	if n < times {
		return fmt.Errorf("%d of %d", n, times)
	}
	return nil
}

// waitForLeader waits until a replica has taken the lease.
func (env *testEnv) waitForLeader(r *replica, mark int) {
	env.t.Helper()
	env.eventually(r.name+" leads", func() error { return env.leaseRequested(r.name, http.MethodPut, mark) })
	r.standby = false
	env.startMark = mark
}

// TestHandOver stops the leader, as every upgrade does. It must release the lease, so that
// another replica leads before the lease would have expired. Nothing is written.
func TestHandOver(t *testing.T) {
	t.Parallel()
	total.count(t, "hand-over")
	env, a, b := newPairInSync(t)
	mark, journal := env.calls.mark(), env.kong.Journal().Mark()
	a.process().stop(t)
	env.waitForLeader(b, mark)
	gaveBack := env.calls.contains(mark, func(c *call) bool { return c.from == a.name && c.name == kubeLease && c.method == http.MethodPut })
	if !gaveBack {
		t.Error("the lease was not released")
	}
	env.main = b
	env.eventually("a first reconcile, for which one list is enough", func() error {
		if env.calls.contains(mark, func(c *call) bool {
			return c.from == b.name && c.name == kubeGetSecret && c.ended && strings.HasSuffix(c.path, "/"+secretName)
		}) {
			if env.calls.idle() {
				return env.gatewayReady()
			}
		}
		return fmt.Errorf("has not reconciled")
	})
	if writes := env.kong.Journal().Since(journal).Writes(); len(writes) > 0 {
		t.Errorf("written to Kong: %v", writes)
	}
	for _, c := range env.calls.since(mark) {
		if c.from == b.name && c.method != http.MethodGet && c.name != kubeLease && c.name != kubeEvent {
			t.Errorf("written to Kubernetes: %s %s", c.method, c.path)
		}
	}
	env.waitUntilIdle()
	env.finish()
}

// onCreate is a rule for the first POST of a plugin.
func onCreate(f fault) rule {
	return rule{matches: func(c *call) bool { return c.name == kongCreatePlugin }, limit: 1, fault: f}
}

// checkLostLeaseExit expects a replica that lost the lease to exit by itself.
func (env *testEnv) checkLostLeaseExit(r *replica) {
	env.t.Helper()
	if code := r.process().exit(env.t); code != 1 || !strings.Contains(r.process().text(), "leader election lost") {
		env.t.Errorf("after losing the lease the replica ended with %s\n%s", r.process().cmd.ProcessState, r.process().tail())
	}
}

// wakeAndFinish wakes a frozen leader, which finds that it has lost the lease, and finishes.
func (env *testEnv) wakeAndFinish(r *replica) {
	env.t.Helper()
	r.process().exitExpected.Store(true)
	r.process().signal(syscall.SIGCONT)
	env.checkLostLeaseExit(r)
	env.finish()
}

// TestFrozenLeader freezes the leader while a write is under way. Another replica takes over,
// Kong applies the write after all, and the leader wakes up.
func TestFrozenLeader(t *testing.T) {
	if !suite.full {
		t.Log("only with FAULTS_FULL=1: a lease takes its time")
		return
	}
	for name, late := range map[string]bool{"before the other looks": false, "after the other has made one": true} {
		t.Run("POST done "+name, func(t *testing.T) {
			t.Parallel()
			total.count(t, "frozen leader")
			env, a, b := newPair(t, timeout)
			way := newGate()
			r := env.kongProxy.addRule(onCreate(holdRequest(way)))
			env.create(env.binding(bindingName))
			env.waitForFault(r)
			mark := env.calls.mark()
			a.process().signal(syscall.SIGSTOP)
			env.waitForLeader(b, mark)
			if !late {
				way.open()
			}
			env.eventually("the binding", env.bindingsReady)
			way.open()
			env.eventually("the POST of the frozen leader", env.createsEnded)
			env.wakeAndFinish(a)
		})
	}
	t.Run("PUT done before the other deletes", func(t *testing.T) {
		t.Parallel()
		total.count(t, "frozen leader")
		env, a, b := newPairInSync(t)
		way := newGate()
		r := env.kongProxy.addRule(rule{matches: func(c *call) bool { return c.name == kongPutPlugin }, limit: 1, fault: holdRequest(way)})
		env.edit(bindingName, `{"minute": 7, "policy": "local"}`)
		env.waitForFault(r)
		mark := env.calls.mark()
		a.process().signal(syscall.SIGSTOP)
		must(t, suite.client.Delete(context.Background(), env.current()))
		env.kong.DeletePlugin(string(env.current().Status.PluginID)) // so that the PUT would bring it back
		env.waitForLeader(b, mark)
		way.open()
		env.eventually("the end of the binding", func() error { return scenarioNamed("delete").done(env) })
		env.wakeAndFinish(a)
	})
	t.Run("between the live look and the PUT", func(t *testing.T) {
		t.Parallel()
		total.count(t, "frozen leader")
		env, a, b := newPairInSync(t)
		way := newGate()
		r := a.proxy.addRule(rule{matches: func(c *call) bool { return c.name == kubeGetBinding }, limit: 1, fault: holdResponse(way)})
		env.kong.DeletePlugin(string(env.current().Status.PluginID))
		env.requestReconcile(bindingName)
		env.waitForFault(r)
		mark := env.calls.mark()
		a.process().signal(syscall.SIGSTOP)
		must(t, suite.client.Delete(context.Background(), env.current()))
		env.waitForLeader(b, mark)
		env.eventually("the end of the binding", func() error { return scenarioNamed("delete").done(env) })
		way.open() // the first response that it reads permits the write
		env.wakeAndFinish(a)
	})
}

func scenarioNamed(name string) *scenario {
	for i := range scenarios {
		if scenarios[i].name == name {
			return &scenarios[i]
		}
	}
	panic("no scenario " + name)
}

// createsEnded checks that no POST of a plugin is under way.
func (env *testEnv) createsEnded() error {
	if env.calls.contains(0, func(c *call) bool { return c.name == kongCreatePlugin && !c.ended }) {
		return fmt.Errorf("is under way")
	}
	return nil
}

// TestLostLease refuses the leader's lease renewals while a POST is under way. The process
// ends, and its late request creates no second plugin.
func TestLostLease(t *testing.T) {
	if !suite.full {
		t.Log("only with FAULTS_FULL=1: a lease takes its time")
		return
	}
	for name, late := range map[string]bool{"before the other looks": false, "after the other has made one": true} {
		t.Run("POST done "+name, func(t *testing.T) {
			t.Parallel()
			total.count(t, "lost lease")
			// The longest timeout that is allowed, so that the request outlasts the leader.
			env, a, b := newPair(t, "9s")
			env.kong.Seed("services", map[string]any{"name": "first", "url": "http://127.0.0.1:9"})
			env.unmanagedRows = env.unmanaged()
			// After this one the leader creates others without waiting.
			env.create(env.bindingOn("first", "first"))
			env.eventually("the first binding", env.bindingsReady)
			a.proxy.addRule(rule{matches: func(c *call) bool { return c.name == kubeLease }, fault: env.respondWith(http.StatusInternalServerError)})
			// The leader goes on for ten seconds without the lease. Some of them must be over.
			env.eventually("renewals that are refused", func() error { return env.leaseRefused(a, 2) })
			way := newGate()
			r := env.kongProxy.addRule(onCreate(holdRequest(way)))
			env.create(env.binding(bindingName))
			a.process().exitExpected.Store(true)
			env.waitForFault(r)
			mark := env.calls.mark()
			env.checkLostLeaseExit(a)
			env.waitForLeader(b, mark)
			if !late {
				way.open()
			}
			env.eventually("the binding", env.bindingsReady)
			way.open()
			env.eventually("the POST of the former leader", env.createsEnded)
			env.finish()
		})
	}
}
