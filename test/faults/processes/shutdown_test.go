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

// sendSIGTERM tells the process to stop.
func (env *testEnv) sendSIGTERM() {
	env.main.process().exitExpected.Store(true)
	env.main.process().signal(syscall.SIGTERM)
}

// shutdownStarted waits until the process has begun to stop, by its own word. It reports false when
// that, or the test, is over first.
func (env *testEnv) shutdownStarted(x *exchange) bool {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for !strings.Contains(env.main.process().text(), "Shutdown signal received, waiting for all workers to finish") {
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
	arm func(env *testEnv) *rule
	// recorded: the ID is in the status when the process has ended.
	recorded bool
	// part: always run.
	inShortRun bool
}

var terminations = []termination{
	{
		name: "the patch is under way", recorded: true, inShortRun: true,
		arm: func(env *testEnv) *rule {
			return env.onRecordID(func(x *exchange) (*http.Response, error) {
				env.sendSIGTERM()
				if !env.shutdownStarted(x) {
					return nil, errDropped
				}
				return x.forward()
			})
		},
	},
	{
		name: "the patch is lost", recorded: true,
		arm: func(env *testEnv) *rule { return env.onRecordID(beforeRequest(env.sendSIGTERM)) },
	},
	{
		name: "the answer to the patch is lost", recorded: true,
		arm: func(env *testEnv) *rule { return env.onRecordID(afterResponse(env.sendSIGTERM)) },
	},
	{
		name: "the patch is refused", recorded: true, inShortRun: true,
		arm: func(env *testEnv) *rule {
			return env.onRecordID(func(x *exchange) (*http.Response, error) {
				env.sendSIGTERM()
				return env.respondWith(http.StatusInternalServerError)(x)
			})
		},
	},
	{
		name: "the binding is edited meanwhile", recorded: true,
		arm: func(env *testEnv) *rule {
			return env.onRecordID(func(x *exchange) (*http.Response, error) {
				env.sendSIGTERM()
				env.requestReconcile(bindingName)
				return x.forward()
			})
		},
	},
	{
		// A request that nobody answers takes all the time that the recording has. The process
		// ends all the same, and the plugin is found by its marks.
		name: "the patch is never answered",
		arm: func(env *testEnv) *rule {
			return env.onRecordID(func(x *exchange) (*http.Response, error) { env.sendSIGTERM(); return neverAnswer()(x) })
		},
	},
	{
		name: "the POST is under way",
		arm: func(env *testEnv) *rule {
			return env.kongProxy.addRule(onCreate(func(x *exchange) (*http.Response, error) {
				env.sendSIGTERM()
				return forwardAfterClientGone()(x)
			}))
		},
	},
	{
		name: "the answer to the POST is lost",
		arm:  func(env *testEnv) *rule { return env.kongProxy.addRule(onCreate(afterResponse(env.sendSIGTERM))) },
	},
}

// TestTermination: SIGTERM between Kong's answer to the POST and the status. The ID is
// recorded before the process ends, whatever becomes of the first try.
func TestTermination(t *testing.T) {
	for i := range terminations {
		p := &terminations[i]
		if !p.inShortRun && !suite.full {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			total.count(t, "SIGTERM after the POST")
			env := newTestEnv(t, timeout)
			env.startEmpty()
			r := p.arm(env)
			env.create(env.binding(bindingName))
			env.waitForFault(r)
			if code := env.main.process().exit(t); code != 0 {
				t.Errorf("told to stop, the process ended with %s", env.main.process().cmd.ProcessState)
			}
			if id := env.current().Status.PluginID; p.recorded && (id == "" || env.kong.Plugin(string(id)) == nil) {
				t.Errorf("the process has ended and the recorded ID is %q", id)
			}
			env.main.start(suite.manager)
			env.eventually("the binding", env.bindingsReady)
			env.finish()
			env.checkOneCreate()
		})
	}
}

// onRecordID is a fault at the patch that records the ID.
func (env *testEnv) onRecordID(f fault) *rule {
	return env.main.proxy.addRule(rule{limit: 1, fault: f, matches: func(c *call) bool {
		return c.name == kubePatchBindingStatus && env.kong.Journal().Count(http.MethodPost, "/plugins") > 0
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
		total.count(t, "watch held back")
		env, way := newEnvWithStaleWatch(t)
		defer way.open()
		mark := env.kong.Journal().Mark()
		binding := env.current()
		must(t, suite.client.Delete(t.Context(), binding))
		env.kong.DeletePlugin(string(binding.Status.PluginID))
		live := env.calls.mark()
		env.requestResync() // the gateway's watch is not held back
		env.eventually("a live look", func() error { return env.readLive(live) })
		env.eventually("the end of the pass", env.noRequests)
		if writes := env.kong.Journal().Since(mark).Writes(); len(writes) > 0 {
			t.Errorf("for a binding that is being deleted, Kong was written to: %s", toJSON(writes))
		}
		way.open()
		env.eventually("the end of the binding", func() error { return scenarioNamed("delete").done(env) })
		env.finish()
	})
	t.Run("the binding was made anew", func(t *testing.T) {
		t.Parallel()
		total.count(t, "watch held back")
		env, way := newEnvWithStaleWatch(t)
		defer way.open()
		mark := env.kong.Journal().Mark()
		binding := env.current()
		change(env, &v1alpha1.PluginBinding{}, bindingName, func(b *v1alpha1.PluginBinding) { b.Finalizers = nil })
		must(t, suite.client.Delete(t.Context(), binding))
		env.kong.DeletePlugin(string(binding.Status.PluginID))
		env.create(env.binding(bindingName))
		live := env.calls.mark()
		env.requestResync()
		env.eventually("a live look", func() error { return env.readLive(live) })
		env.eventually("the end of the pass", env.noRequests)
		if writes := env.kong.Journal().Since(mark).Writes(); len(writes) > 0 {
			t.Errorf("for a binding that is not there any more, Kong was written to: %s", toJSON(writes))
		}
		way.open()
		env.eventually("the binding that was made anew", env.bindingsReady)
		env.waitUntilIdle()
		env.main.process().stop(t)
		env.checkLogs()
	})
}

// newEnvWithStaleWatch has a binding in force, and a watch of the bindings that tells nothing from
// then on.
func newEnvWithStaleWatch(t *testing.T) (*testEnv, *gate) {
	t.Helper()
	env := newTestEnv(t, timeout)
	way, watch := newGate(), &watchGate{}
	env.main.proxy.addRule(rule{fault: watch.fault, matches: func(c *call) bool {
		return c.lasts && strings.HasSuffix(c.name, "-pluginbindings")
	}})
	env.startWithReadyBinding()
	watch.close(way)
	return env, way
}

// readLive: the binding was read live since mark.
func (env *testEnv) readLive(mark int) error {
	if env.calls.contains(mark, func(c *call) bool { return c.ended && c.name == kubeGetBinding }) {
		return nil
	}
	return fmt.Errorf("was not made")
}

// noRequests: nothing is under way.
func (env *testEnv) noRequests() error {
	if !env.calls.idle() {
		return fmt.Errorf("requests are under way")
	}
	return nil
}
