package processes

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// rateLimits are token buckets in front of the Admin API, and how many bindings are new. A bucket holds
// as many requests as it gets in a second.
var rateLimits = []struct {
	perSecond, bindings int
	inShortRun          bool
	// kill ends the process when that many plugins are there; 0 never.
	kill int
	// within is so many seconds of requests: a few times what is needed at that rate.
	within int
}{
	{perSecond: 5, bindings: 12, inShortRun: true, within: 45},
	{perSecond: 10, bindings: 40, within: 60},
	{perSecond: 10, bindings: 12, kill: 4, within: 60},
	{perSecond: 50, bindings: 40, inShortRun: true, within: 30},
}

// An Admin API that answers 429 holds nobody up for ever, at any rate above a few requests a second: what
// has begun goes first, the client learns its rate, and each binding says so with few words.
func TestARateLimitedAdminAPI(t *testing.T) {
	for _, limit := range rateLimits {
		if !suite.full && !limit.inShortRun {
			continue
		}
		t.Run(fmt.Sprintf("%d requests a second, %d bindings, killed after %d", limit.perSecond, limit.bindings, limit.kill), func(t *testing.T) {
			t.Parallel()
			total.count(t, "an Admin API that answers 429")
			env := newTestEnv(t, timeout)
			name := func(i int) string { return fmt.Sprintf("%s-%d", bindingName, i) }
			for i := range limit.bindings {
				env.kong.Seed("services", map[string]any{"name": name(i), "url": "http://127.0.0.1:9"})
			}
			env.unmanagedRows = env.unmanaged()
			env.startEmpty()
			env.kong.SetRateLimit(float64(limit.perSecond), limit.perSecond)
			mark, began := env.kong.Journal().Mark(), time.Now()
			for i := range limit.bindings {
				env.create(env.bindingOn(name(i), name(i)))
			}
			if limit.kill > 0 {
				env.eventually("the first plugins", func() error {
					if n := len(env.kong.Journal().Since(mark).Writes()); n < limit.kill {
						return fmt.Errorf("%d plugins", n)
					}
					return nil
				})
				env.main.kill()
				<-env.main.process().exited
				env.main.start(suite.manager)
			}
			env.eventually("the bindings", func() error {
				if n := len(env.kong.Journal().Since(mark).Writes()); n < limit.bindings {
					return fmt.Errorf("%d of %d plugins", n, limit.bindings)
				}
				return env.bindingsReady()
			})
			took := time.Since(began)
			answered, refused := 0, 0
			for _, request := range env.kong.Journal().Since(mark).Requests {
				if request.Status == http.StatusTooManyRequests {
					refused++
				} else {
					answered++
				}
			}
			env.kong.SetRateLimit(0, 0)
			t.Logf("%d bindings in %.1f s: %d requests answered, %d refused", limit.bindings, took.Seconds(), answered, refused)
			// The seconds themselves depend on the machine.
			if most := limit.perSecond * (limit.within + 1); answered > most {
				t.Errorf("%d requests answered, want at most %d", answered, most)
			}
			if refused > 2*answered {
				t.Errorf("%d requests refused, %d answered: the client does not learn its rate", refused, answered)
			}
			if events := env.countEvents(); events > 4*limit.bindings+20 {
				t.Errorf("%d events for %d bindings", events, limit.bindings)
			}
			env.finish()
		})
	}
}

// countEvents counts the events about the objects of the environment.
func (env *testEnv) countEvents() int {
	env.t.Helper()
	list := &eventsv1.EventList{}
	must(env.t, suite.client.List(env.t.Context(), list, client.InNamespace(env.namespace)))
	return len(list.Items)
}
