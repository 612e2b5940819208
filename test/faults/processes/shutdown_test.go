package processes

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// term tells the process to stop.
func (s *stage) term() {
	s.main.now().asked.Store(true)
	s.main.now().signal(syscall.SIGTERM)
}

// stops waits until the process has begun to stop, by its own word. It reports false when
// that, or the test, is over first.
func (s *stage) stops(x *exchange) bool {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for !strings.Contains(s.main.now().text(), "Shutdown signal received, waiting for all workers to finish") {
		select {
		case <-tick.C:
		case <-x.gone:
			return false
		case <-x.closing:
			return false
		}
	}
	return true
}

// termination is a SIGTERM at a moment around the POST and the recording of its ID.
type termination struct {
	name string
	// arm makes SIGTERM come at its moment.
	arm func(s *stage) *rule
	// recorded: the ID is in the status when the process has ended.
	recorded bool
	// part: always run.
	part bool
}

var terminations = []termination{
	{
		name: "the patch is under way", recorded: true, part: true,
		arm: func(s *stage) *rule {
			return s.onRecord(func(x *exchange) (*http.Response, error) {
				s.term()
				if !s.stops(x) {
					return nil, errDropped
				}
				return x.forward()
			})
		},
	},
	{
		name: "the patch is lost", recorded: true,
		arm: func(s *stage) *rule { return s.onRecord(first(s.term)) },
	},
	{
		name: "the answer to the patch is lost", recorded: true,
		arm: func(s *stage) *rule { return s.onRecord(then(s.term)) },
	},
	{
		name: "the patch is refused", recorded: true, part: true,
		arm: func(s *stage) *rule {
			return s.onRecord(func(x *exchange) (*http.Response, error) {
				s.term()
				return s.answered(http.StatusInternalServerError)(x)
			})
		},
	},
	{
		name: "the binding is edited meanwhile", recorded: true,
		arm: func(s *stage) *rule {
			return s.onRecord(func(x *exchange) (*http.Response, error) {
				s.term()
				s.look(theBinding)
				return x.forward()
			})
		},
	},
	{
		// A request that nobody answers takes all the time that the recording has. The process
		// ends all the same, and the plugin is found by its marks.
		name: "the patch is never answered",
		arm: func(s *stage) *rule {
			return s.onRecord(func(x *exchange) (*http.Response, error) { s.term(); return unanswered()(x) })
		},
	},
	{
		name: "the POST is under way",
		arm: func(s *stage) *rule {
			return s.toKong.on(onThePost(func(x *exchange) (*http.Response, error) {
				s.term()
				return outlasting()(x)
			}))
		},
	},
	{
		name: "the answer to the POST is lost",
		arm:  func(s *stage) *rule { return s.toKong.on(onThePost(then(s.term))) },
	},
}

// TestTermination: SIGTERM between Kong's answer to the POST and the status. The ID is
// recorded before the process ends, whatever becomes of the first try.
func TestTermination(t *testing.T) {
	for i := range terminations {
		p := &terminations[i]
		if !p.part && !suite.full {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			total.plan(t, "SIGTERM after the POST")
			s := newStage(t, timeout)
			s.beginEmpty()
			r := p.arm(s)
			s.create(s.binding(theBinding))
			s.met(r)
			if code := s.main.now().exit(t); code != 0 {
				t.Errorf("told to stop, the process ended with %s", s.main.now().cmd.ProcessState)
			}
			if id := s.current().Status.PluginID; p.recorded && (id == "" || s.kong.Plugin(string(id)) == nil) {
				t.Errorf("the process has ended and the recorded ID is %q", id)
			}
			s.main.start(suite.manager)
			s.until("the binding", s.bindingsReady)
			s.finish()
			s.onePost()
		})
	}
}

// onRecord is a fault at the patch that records the ID.
func (s *stage) onRecord(f fault) *rule {
	return s.main.link.on(rule{times: 1, fault: f, matches: func(c *call) bool {
		return c.what == "patch pluginbindings.status" && s.kong.Journal().Count(http.MethodPost, "/plugins") > 0
	}})
}

// TestStaleWatch: the watch of the bindings tells nothing, and the manager goes on with
// what it knew.
func TestStaleWatch(t *testing.T) {
	if !suite.full {
		return
	}
	t.Run("the binding is being deleted", func(t *testing.T) {
		t.Parallel()
		total.plan(t, "watch held back")
		s, way := newStale(t)
		defer way.open()
		mark := s.kong.Journal().Mark()
		binding := s.current()
		must(t, suite.client.Delete(t.Context(), binding))
		s.kong.DeletePlugin(string(binding.Status.PluginID))
		live := s.tape.mark()
		s.sweep() // the gateway's watch is not held back
		s.until("a live look", func() error { return s.lookedLive(live) })
		s.until("the end of the pass", s.atRest)
		if writes := s.kong.Journal().Since(mark).Writes(); len(writes) > 0 {
			t.Errorf("for a binding that is being deleted, Kong was written to: %s", compact(writes))
		}
		way.open()
		s.until("the end of the binding", func() error { return scenarioNamed("delete").over(s) })
		s.finish()
	})
	t.Run("the binding was made anew", func(t *testing.T) {
		t.Parallel()
		total.plan(t, "watch held back")
		s, way := newStale(t)
		defer way.open()
		mark := s.kong.Journal().Mark()
		binding := s.current()
		change(s, &v1alpha1.PluginBinding{}, theBinding, func(b *v1alpha1.PluginBinding) { b.Finalizers = nil })
		must(t, suite.client.Delete(t.Context(), binding))
		s.kong.DeletePlugin(string(binding.Status.PluginID))
		s.create(s.binding(theBinding))
		live := s.tape.mark()
		s.sweep()
		s.until("a live look", func() error { return s.lookedLive(live) })
		s.until("the end of the pass", s.atRest)
		if writes := s.kong.Journal().Since(mark).Writes(); len(writes) > 0 {
			t.Errorf("for a binding that is not there any more, Kong was written to: %s", compact(writes))
		}
		way.open()
		s.until("the binding that was made anew", s.bindingsReady)
		s.quiet()
		s.main.now().stop(t)
		s.checkLogs()
	})
}

// newStale has a binding in force, and a watch of the bindings that tells nothing from
// then on.
func newStale(t *testing.T) (*stage, *gate) {
	t.Helper()
	s := newStage(t, timeout)
	way, watch := newGate(), &dam{}
	s.main.link.on(rule{fault: watch.fault, matches: func(c *call) bool {
		return c.lasts && strings.HasSuffix(c.what, " pluginbindings")
	}})
	s.beginInForce()
	watch.close(way)
	return s, way
}

// lookedLive: the binding was read live since mark.
func (s *stage) lookedLive(mark int) error {
	if s.tape.seen(mark, func(c *call) bool { return c.ended && c.key() == "K4 get pluginbindings" }) {
		return nil
	}
	return fmt.Errorf("was not made")
}

// atRest: nothing is under way.
func (s *stage) atRest() error {
	if !s.tape.idle() {
		return fmt.Errorf("requests are under way")
	}
	return nil
}
