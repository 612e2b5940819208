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

// shutdownStarted waits until the process logs that it stops. It returns false when the process
// or the test ends first.
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

// termination is a SIGTERM between the POST and the recording of its ID.
type termination struct {
	name string
	// arm adds the rule that sends the SIGTERM.
	arm func(env *testEnv) *rule
	// recorded: the status has the ID when the process has ended.
	recorded bool
	// inShortRun: always run.
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
		// A request without a response uses all the time for recording. The process ends all
		// the same, and the next one finds the plugin by its ownership tags.
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

// TestTermination sends SIGTERM between Kong's response to the POST and the status update. The
// process must record the ID before it ends, even if the first attempt fails.
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
				t.Errorf("after SIGTERM the process ended with %s", env.main.process().cmd.ProcessState)
			}
			if id := env.current().Status.PluginID; p.recorded && (id == "" || env.kong.Plugin(string(id)) == nil) {
				t.Errorf("the process has ended, and the recorded ID is %q", id)
			}
			env.main.start(suite.manager)
			env.eventually("the binding", env.bindingsReady)
			env.finish()
			env.checkOneCreate()
		})
	}
}

// onRecordID adds a fault at the status update that records the ID.
func (env *testEnv) onRecordID(f fault) *rule {
	return env.main.proxy.addRule(rule{limit: 1, fault: f, matches: func(c *call) bool {
		return c.name == kubePatchBindingStatus && env.kong.Journal().Count(http.MethodPost, "/plugins") > 0
	}})
}

// TestStaleWatch holds back the watch of the bindings, so that the manager works with an old
// cache.
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
		env.checkNoStaleWrites(mark, "a binding that is being deleted")
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
		env.checkNoStaleWrites(mark, "a binding that no longer exists")
		way.open()
		env.eventually("the binding that was made anew", env.bindingsReady)
		env.waitUntilIdle()
		env.main.process().stop(t)
		env.checkLogs()
	})
}

// checkNoStaleWrites triggers a reconcile through the gateway, whose watch is not held back. It
// checks that the operator reads the binding from the API server, and has written nothing to
// Kong since mark.
func (env *testEnv) checkNoStaleWrites(mark int, what string) {
	env.t.Helper()
	live := env.calls.mark()
	env.requestResync()
	env.eventually("a live read", func() error { return env.readLive(live) })
	env.eventually("the end of the reconcile", env.noRequests)
	if writes := env.kong.Journal().Since(mark).Writes(); len(writes) > 0 {
		env.t.Errorf("the operator wrote to Kong for %s: %s", what, toJSON(writes))
	}
}

// newEnvWithStaleWatch creates an environment with a ready binding. From then on the watch of
// the bindings delivers no events.
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

// readLive checks that the binding was read from the API server since mark.
func (env *testEnv) readLive(mark int) error {
	if env.calls.contains(mark, func(c *call) bool { return c.ended && c.name == kubeGetBinding }) {
		return nil
	}
	return fmt.Errorf("was not made")
}

// noRequests checks that no request is under way.
func (env *testEnv) noRequests() error {
	if !env.calls.idle() {
		return fmt.Errorf("requests are under way")
	}
	return nil
}
