package processes

import (
	"net/http"
	"slices"
	"testing"
	"time"
)

// proxyFault is a fault of a connection. The process survives it.
type proxyFault struct {
	name string
	// The client of the API server has no timeouts. A fault that waits for the client to give
	// up is for Kong only.
	kongOnly bool
	fault    func(env *testEnv) fault
}

var proxyFaults = []proxyFault{
	{"closed before", false, func(*testEnv) fault { return dropBefore() }},
	{"closed after", false, func(*testEnv) fault { return dropAfter() }},
	{"cut off", false, func(*testEnv) fault { return truncateResponse() }},
	{"500 instead of", false, func(env *testEnv) fault { return env.respondWith(http.StatusInternalServerError) }},
	{"answered slowly", false, func(*testEnv) fault { return delayResponse(700 * time.Millisecond) }},
	{"answered too late", true, func(*testEnv) fault { return respondAfterClientGone() }},
	{"done after it was given up", true, func(*testEnv) fault { return forwardAfterClientGone() }},
}

// respondWith responds with an error that looks like one of either side: it has Kong's message
// and the fields of a Kubernetes Status.
func (env *testEnv) respondWith(status int) fault {
	return respondWith(status, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":500,"reason":"InternalError",`+
		`"message":"An unexpected error occurred"}`)
}

// runProxyFaults runs the scenario once for every fault of every required call. The short run
// skips it.
func (sc *scenario) runProxyFaults(t *testing.T, l baseline) {
	if !suite.full {
		return
	}
	for _, name := range sc.required {
		for _, d := range proxyFaults {
			if d.kongOnly && !isKongCall(name) || name == kubeWatchListBindings {
				continue
			}
			t.Run(d.name+" "+name, func(t *testing.T) {
				t.Parallel()
				total.count(t, sc.name+", links")
				env := newTestEnv(t, timeout)
				sc.setup(env)
				at := env.main.proxy
				if isKongCall(name) {
					at = env.kongProxy
				}
				r := at.addRule(rule{matches: func(c *call) bool { return c.name == name }, limit: 1, fault: d.fault(env)})
				sc.trigger(env)
				env.waitForFault(r)
				env.eventually(sc.name, func() error { return sc.done(env) })
				sc.compareWith(env, l)
				if slices.Contains([]string{"closed after", "answered too late"}, d.name) && name == kongCreatePlugin {
					env.checkOneCreate()
				}
			})
		}
	}
}

// checkOneCreate checks that the operator found the existing plugin, and did not POST it again.
func (env *testEnv) checkOneCreate() {
	env.t.Helper()
	if n := env.kong.Journal().Count(http.MethodPost, "/plugins"); n != 1 {
		env.t.Errorf("%d POSTs were sent, although Kong applied the first", n)
	}
}
