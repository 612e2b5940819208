package kongtest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// covered is a server with a clock of its own, and one route with its service and a
// consumer.
type covered struct {
	*Server
	now     time.Time
	start   time.Time // after the route was made
	traffic Traffic
}

func newCovered(t *testing.T) *covered {
	c := &covered{now: time.Unix(1_800_000_000, 0)}
	c.Server = Start(t, WithClock(func() time.Time { return c.now }))
	c.traffic.Service = str(c.Seed("services", map[string]any{"name": "svc", "url": "http://h"})["id"])
	c.traffic.Route = str(c.Seed("routes", map[string]any{"name": "rt", "paths": []any{"/"}, "service": map[string]any{"id": c.traffic.Service}})["id"])
	c.traffic.Consumer = str(c.Seed("consumers", map[string]any{"username": "u"})["id"])
	c.start = c.now
	return c
}

func (c *covered) tick(seconds int) { c.now = c.now.Add(time.Duration(seconds) * time.Second) }

// on seeds a key-auth plugin on a scope of "r", "s" and "c".
func (c *covered) on(id, scope string) {
	body := map[string]any{"name": "rate-limiting", "id": id, "config": map[string]any{"minute": 1}}
	for _, f := range scope {
		switch f {
		case 'r':
			body["route"] = map[string]any{"id": c.traffic.Route}
		case 's':
			body["service"] = map[string]any{"id": c.traffic.Service}
		case 'c':
			body["consumer"] = map[string]any{"id": c.traffic.Consumer}
		}
	}
	c.Seed("plugins", body)
}

func (c *covered) coverage() *Coverage {
	return NewCoverage(c.Journal().Changes(), "rate-limiting", c.traffic)
}

// gaps are the gaps since the start, in seconds after it.
func (c *covered) gaps() string {
	out := ""
	for _, g := range c.coverage().Gaps(c.start, c.now) {
		out += fmt.Sprintf("[%v,%v)", g.From.Sub(c.start).Seconds(), g.To.Sub(c.start).Seconds())
	}
	return out
}

func TestCoverageGaps(t *testing.T) {
	for _, tc := range []struct {
		name string
		run  func(*covered)
		want string
	}{
		{"nothing", func(c *covered) { c.tick(10) }, "[0,10)"},
		{"from the first plugin on", func(c *covered) { c.tick(2); c.on(id1, "r"); c.tick(8) }, "[0,2)"},
		{"deleted and made again", func(c *covered) {
			c.on(id1, "r")
			c.tick(3)
			c.DeletePlugin(id1)
			c.tick(4)
			c.on(id2, "r")
			c.tick(1)
		}, "[3,7)"},
		{"replaced in the same moment", func(c *covered) { c.on(id1, "r"); c.tick(1); c.DeletePlugin(id1); c.on(id2, "r"); c.tick(1) }, ""},
		{"another plugin does not count", func(c *covered) {
			c.Seed("plugins", map[string]any{"name": "key-auth"})
			c.tick(1)
		}, "[0,1)"},
		{"a scope that is not for the traffic does not count", func(c *covered) {
			other := c.Seed("consumers", map[string]any{"username": "other"})["id"]
			c.Seed("plugins", map[string]any{"name": "rate-limiting", "config": map[string]any{"minute": 1}, "consumer": map[string]any{"id": other}})
			c.tick(1)
		}, "[0,1)"},
		{"disabled is as good as none", func(c *covered) {
			c.on(id1, "r")
			c.tick(1)
			c.EditPlugin(id1, map[string]any{"enabled": false})
			c.tick(1)
			c.EditPlugin(id1, map[string]any{"enabled": true})
			c.tick(1)
		}, "[1,2)"},
		{"a less specific one stands in", func(c *covered) {
			c.on(id1, "rs")
			c.on(id2, "")
			c.tick(1)
			c.DeletePlugin(id1)
			c.tick(1)
		}, ""},
		{"moved away and back", func(c *covered) {
			c.on(id1, "r")
			c.tick(1)
			other := c.Seed("routes", map[string]any{"name": "other", "paths": []any{"/o"}})["id"]
			c.EditPlugin(id1, map[string]any{"route": map[string]any{"id": other}})
			c.tick(2)
			c.EditPlugin(id1, map[string]any{"route": map[string]any{"id": c.traffic.Route}})
			c.tick(1)
		}, "[1,3)"},
		{"changes within a gap do not end it", func(c *covered) {
			c.tick(1)
			c.Seed("plugins", map[string]any{"name": "key-auth", "id": id2})
			c.tick(1)
			c.DeletePlugin(id2)
			c.tick(1)
		}, "[0,3)"},
		{"no traffic while there is no route", func(c *covered) {
			c.on(id1, "r")
			c.tick(1)
			c.Delete("routes", "rt") // and the plugin with it
			c.tick(5)
			c.Seed("routes", map[string]any{"id": c.traffic.Route, "name": "rt", "paths": []any{"/"}})
			c.tick(2)
			c.on(id1, "r")
			c.tick(1)
		}, "[6,8)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCovered(t)
			tc.run(c)
			if d := cmp.Diff(tc.want, c.gaps()); d != "" {
				t.Errorf("gaps (-want +got):\n%s", d)
			}
		})
	}
}

// TestCoveragePrecedence: of plugins on all scopes the most specific one is in force.
func TestCoveragePrecedence(t *testing.T) {
	c := newCovered(t)
	scopes := []string{"", "s", "r", "c", "rs", "sc", "rc", "rsc"}
	id := func(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", 100-i) }
	for i, scope := range scopes {
		c.tick(1)
		c.on(id(i), scope)
		if got := str(c.coverage().At(c.now)["id"]); got != id(i) {
			t.Errorf("with scope %q added: %s in force", scope, got)
		}
		if got := str(c.coverage().At(c.now.Add(-time.Millisecond))["id"]); i > 0 && got != id(i-1) {
			t.Errorf("just before scope %q was added: %s in force", scope, got)
		}
	}
	if got := NewCoverage(c.Journal().Changes(), "rate-limiting", Traffic{}).At(c.now)["id"]; got != id(0) {
		t.Errorf("for traffic without a route: %v", got)
	}
}

// TestCoverageOfAPart: what changes later was there before, also when the journal
// was reset.
func TestCoverageOfAPart(t *testing.T) {
	c := newCovered(t)
	c.on(id1, "r")
	c.Journal().Reset()
	c.tick(5)
	c.DeletePlugin(id1)
	c.tick(3)
	c.on(id1, "r")
	c.tick(1)
	c.DeletePlugin(id1)
	c.tick(2)
	if got := c.gaps(); got != "[5,8)[9,11)" {
		t.Errorf("gaps %s", got)
	}
	cov := c.coverage()
	if g := cov.LongestGap(c.start, c.now); g.Duration() != 3*time.Second || !g.From.Equal(c.start.Add(5*time.Second)) {
		t.Errorf("longest gap %+v", g)
	}
	if g := cov.LongestGap(c.start.Add(6*time.Second), c.start.Add(7*time.Second)); g.Duration() != time.Second {
		t.Errorf("longest gap within a gap %+v", g)
	}
	if g := cov.LongestGap(c.start, c.start.Add(5*time.Second)); g.Duration() != 0 {
		t.Errorf("longest gap before the first %+v", g)
	}
}

// TestInForce: the route's own life bounds the answer, and what is deleted with it
// leaves no gap, whatever the clock does between the two.
func TestInForce(t *testing.T) {
	c := newCovered(t)
	c.tick(2)
	c.on(id1, "r")
	c.tick(3)
	ticking := c.cfg.clock
	c.cfg.clock = func() time.Time { c.tick(1); return ticking() } // every change takes a second
	c.Delete("routes", "rt")
	c.cfg.clock = ticking
	c.tick(5)
	want := []Gap{{From: c.start, To: c.start.Add(2 * time.Second)}}
	if d := cmp.Diff(want, c.InForce("rate-limiting", "rt")); d != "" {
		t.Errorf("gaps (-want +got):\n%s", d)
	}
	c.Seed("routes", map[string]any{"id": c.traffic.Route, "name": "rt", "paths": []any{"/"}})
	c.tick(4)
	want = append(want, Gap{From: c.now.Add(-4 * time.Second), To: c.now})
	if d := cmp.Diff(want, c.InForce("rate-limiting", "rt")); d != "" {
		t.Errorf("gaps after the route came back (-want +got):\n%s", d)
	}
}
