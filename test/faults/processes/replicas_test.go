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

// TestTwoManagers: two managers that both believe to be the only one, on the same objects.
// That is not how it is run, and even so nothing is doubled.
func TestTwoManagers(t *testing.T) {
	t.Parallel()
	total.plan(t, "two managers, no election")
	s := newStage(t, timeout)
	other := s.newReplica("b", "--leader-elect=false")
	const n = 6
	name := func(i int) string { return fmt.Sprintf("%s-%d", theBinding, i) }
	for i := range n {
		s.kong.Seed("services", map[string]any{"name": name(i), "url": "http://127.0.0.1:9"})
	}
	s.others = s.foreign()
	s.main.start(suite.manager)
	other.start(suite.manager)
	s.until("the gateway", s.gatewayReady)
	for i := range n {
		s.create(s.bindingOn(name(i), name(i)))
	}
	s.until("the bindings", s.bindingsReady)
	s.quiet()
	for i := range n {
		s.edit(name(i), `{"minute": 7, "policy": "local"}`)
	}
	s.until("the bindings as changed", s.bindingsReady)
	s.quiet()
	for _, b := range s.bindings() {
		s.kong.DeletePlugin(string(b.Status.PluginID))
		s.look(b.Name)
	}
	s.until("the plugins that Kong had lost", s.bindingsReady)
	s.quiet()
	for i := range n / 2 {
		must(t, suite.client.Delete(context.Background(), &v1alpha1.PluginBinding{ObjectMeta: s.meta(name(i))}))
	}
	s.until("half of the bindings", func() error {
		if left := len(s.bindings()); left != n-n/2 {
			return fmt.Errorf("%d are left", left)
		}
		return s.gatewayReady()
	})
	s.finish()
}

// newPair makes a stage with two replicas that elect a leader; a leads, and b waits.
func newPair(t *testing.T, requestTimeout string) (s *stage, a, b *replica) {
	t.Helper()
	s = newStageWithout(t, requestTimeout)
	flags := []string{"--leader-elect=true", "--leader-election-namespace=" + s.namespace}
	a, b = s.newReplica("a", flags...), s.newReplica("b", flags...)
	s.main = a
	a.start(suite.manager)
	s.until("the gateway", s.gatewayReady)
	b.resting = true
	b.start(suite.manager)
	s.until("the second replica", func() error { return s.asked("b", http.MethodGet, 0) })
	return s, a, b
}

// asked: the replica has asked for the lease since mark, or with PUT, has taken it.
func (s *stage) asked(replica, method string, mark int) error {
	if s.tape.seen(mark, func(c *call) bool {
		return c.from == replica && c.name == nameLease && c.method == method && c.status == http.StatusOK
	}) {
		return nil
	}
	return fmt.Errorf("replica %s has not made its %s of the lease", replica, method)
}

// refused: the API server has refused the lease to the replica so many times.
func (s *stage) refused(r *replica, times int) error {
	n := 0
	for _, c := range s.tape.since(0) {
		if c.from == r.name && c.name == nameLease && c.status == http.StatusInternalServerError {
			n++
		}
	}
	if n < times {
		return fmt.Errorf("%d of %d", n, times)
	}
	return nil
}

// leads waits until a replica has taken the lease.
func (s *stage) leads(r *replica, mark int) {
	s.t.Helper()
	s.until(r.name+" leads", func() error { return s.asked(r.name, http.MethodPut, mark) })
	r.resting = false
	s.started = mark
}

// TestHandOver: the leader is told to stop, as in every upgrade. It gives the lease back, so
// that another one leads before it would have run out, and nothing is written.
func TestHandOver(t *testing.T) {
	t.Parallel()
	total.plan(t, "hand-over")
	s, a, b := newPair(t, timeout)
	s.create(s.binding(theBinding))
	s.until("the binding", s.bindingsReady)
	s.quiet()
	mark, journal := s.tape.mark(), s.kong.Journal().Mark()
	a.now().stop(t)
	s.leads(b, mark)
	gaveBack := s.tape.seen(mark, func(c *call) bool { return c.from == a.name && c.name == nameLease && c.method == http.MethodPut })
	if !gaveBack {
		t.Error("the lease was not given back")
	}
	s.main = b
	s.until("a first look, for which one list is enough", func() error {
		if s.tape.seen(mark, func(c *call) bool {
			return c.from == b.name && c.name == nameSecret && c.ended && strings.HasSuffix(c.path, "/"+theSecret)
		}) {
			if s.tape.idle() {
				return s.gatewayReady()
			}
		}
		return fmt.Errorf("has not looked")
	})
	if writes := s.kong.Journal().Since(journal).Writes(); len(writes) > 0 {
		t.Errorf("written to Kong: %v", writes)
	}
	for _, c := range s.tape.since(mark) {
		if c.from == b.name && c.method != http.MethodGet && c.name != nameLease && c.name != nameEvent {
			t.Errorf("written to Kubernetes: %s %s", c.method, c.path)
		}
	}
	s.quiet()
	s.finish()
}

// onThePost is a rule for the first POST of a plugin.
func onThePost(f fault) rule {
	return rule{matches: func(c *call) bool { return c.name == namePost }, times: 1, fault: f}
}

// outlived wants a replica to end by itself, as one that has lost the lease has to.
func (s *stage) outlived(r *replica) {
	s.t.Helper()
	if code := r.now().exit(s.t); code != 1 || !strings.Contains(r.now().text(), "leader election lost") {
		s.t.Errorf("the replica that lost the lease ended with %s\n%s", r.now().cmd.ProcessState, r.now().tail())
	}
}

// TestFrozenLeader: the leader is frozen with a write under way, another one takes over,
// the write is done after all, and the leader wakes up.
func TestFrozenLeader(t *testing.T) {
	if !suite.full {
		t.Log("only with FAULTS_FULL=1: a lease takes its time")
		return
	}
	for name, late := range map[string]bool{"before the other looks": false, "after the other has made one": true} {
		t.Run("POST done "+name, func(t *testing.T) {
			t.Parallel()
			total.plan(t, "frozen leader")
			s, a, b := newPair(t, timeout)
			way := newGate()
			r := s.toKong.on(onThePost(held(way)))
			s.create(s.binding(theBinding))
			s.met(r)
			mark := s.tape.mark()
			a.now().signal(syscall.SIGSTOP)
			s.leads(b, mark)
			if !late {
				way.open()
			}
			s.until("the binding", s.bindingsReady)
			way.open()
			s.until("the POST of the frozen leader", s.postsEnded)
			a.now().asked.Store(true)
			a.now().signal(syscall.SIGCONT)
			s.outlived(a)
			s.finish()
		})
	}
	t.Run("PUT done before the other deletes", func(t *testing.T) {
		t.Parallel()
		total.plan(t, "frozen leader")
		s, a, b := newPair(t, timeout)
		s.create(s.binding(theBinding))
		s.until("the binding", s.bindingsReady)
		s.quiet()
		way := newGate()
		r := s.toKong.on(rule{matches: func(c *call) bool { return c.name == namePut }, times: 1, fault: held(way)})
		s.edit(theBinding, `{"minute": 7, "policy": "local"}`)
		s.met(r)
		mark := s.tape.mark()
		a.now().signal(syscall.SIGSTOP)
		must(t, suite.client.Delete(context.Background(), s.current()))
		s.kong.DeletePlugin(string(s.current().Status.PluginID)) // so that the PUT would bring it back
		s.leads(b, mark)
		way.open()
		s.until("the end of the binding", func() error { return scenarioNamed("delete").over(s) })
		a.now().asked.Store(true)
		a.now().signal(syscall.SIGCONT)
		s.outlived(a)
		s.finish()
	})
	t.Run("between the live look and the PUT", func(t *testing.T) {
		t.Parallel()
		total.plan(t, "frozen leader")
		s, a, b := newPair(t, timeout)
		s.create(s.binding(theBinding))
		s.until("the binding", s.bindingsReady)
		s.quiet()
		way := newGate()
		r := a.link.on(rule{matches: func(c *call) bool { return c.name == nameLive }, times: 1, fault: answerHeld(way)})
		s.kong.DeletePlugin(string(s.current().Status.PluginID))
		s.look(theBinding)
		s.met(r)
		mark := s.tape.mark()
		a.now().signal(syscall.SIGSTOP)
		must(t, suite.client.Delete(context.Background(), s.current()))
		s.leads(b, mark)
		s.until("the end of the binding", func() error { return scenarioNamed("delete").over(s) })
		way.open() // what it reads first on waking up lets it write
		a.now().asked.Store(true)
		a.now().signal(syscall.SIGCONT)
		s.outlived(a)
		s.finish()
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

// postsEnded: no POST of a plugin is under way.
func (s *stage) postsEnded() error {
	if s.tape.seen(0, func(c *call) bool { return c.name == namePost && !c.ended }) {
		return fmt.Errorf("is under way")
	}
	return nil
}

// TestLostLease: the API server refuses the leader's renewals while a POST is under way.
// The process ends, and its late request makes no second plugin.
func TestLostLease(t *testing.T) {
	if !suite.full {
		t.Log("only with FAULTS_FULL=1: a lease takes its time")
		return
	}
	for name, late := range map[string]bool{"before the other looks": false, "after the other has made one": true} {
		t.Run("POST done "+name, func(t *testing.T) {
			t.Parallel()
			total.plan(t, "lost lease")
			// The longest that is allowed: the request outlasts the leader.
			s, a, b := newPair(t, "9s")
			s.kong.Seed("services", map[string]any{"name": "first", "url": "http://127.0.0.1:9"})
			s.others = s.foreign()
			// When this one is there, the leader does not wait any more before it makes another.
			s.create(s.bindingOn("first", "first"))
			s.until("the first binding", s.bindingsReady)
			a.link.on(rule{matches: func(c *call) bool { return c.name == nameLease }, fault: s.answered(http.StatusInternalServerError)})
			// Of the ten seconds that it goes on without the lease, some have to be over.
			s.until("renewals that are refused", func() error { return s.refused(a, 2) })
			way := newGate()
			r := s.toKong.on(onThePost(held(way)))
			s.create(s.binding(theBinding))
			a.now().asked.Store(true)
			s.met(r)
			mark := s.tape.mark()
			s.outlived(a)
			s.leads(b, mark)
			if !late {
				way.open()
			}
			s.until("the binding", s.bindingsReady)
			way.open()
			s.until("the POST of the former leader", s.postsEnded)
			s.finish()
		})
	}
}
