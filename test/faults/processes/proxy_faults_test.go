package processes

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// disturbance is a fault of a link that the process lives through.
type disturbance struct {
	name string
	// The link to Kubernetes has no time-outs: what waits for the client to give up is for
	// Kong only.
	kongOnly bool
	fault    func(s *stage) fault
}

var disturbances = []disturbance{
	{"closed before", false, func(*stage) fault { return dropBefore() }},
	{"closed after", false, func(*stage) fault { return dropAfter() }},
	{"cut off", false, func(*stage) fault { return truncated() }},
	{"500 instead of", false, func(s *stage) fault { return s.answered(http.StatusInternalServerError) }},
	{"answered slowly", false, func(*stage) fault { return delayed(700 * time.Millisecond) }},
	{"answered too late", true, func(*stage) fault { return tooLate() }},
	{"done after it was given up", true, func(*stage) fault { return outlasting() }},
}

// answered is what both sides' errors look like: Kong's message, Kubernetes' Status.
func (s *stage) answered(status int) fault {
	return answered(status, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":500,"reason":"InternalError",`+
		`"message":"An unexpected error occurred"}`)
}

// disturb plays the scenario once for every disturbance of every call that it cannot do
// without. Only in full.
func (sc *scenario) disturb(t *testing.T, l lesson) {
	if !suite.full {
		return
	}
	for _, key := range sc.must {
		for _, d := range disturbances {
			if d.kongOnly && !strings.HasPrefix(key, "G") || strings.HasPrefix(key, "K1") {
				continue
			}
			t.Run(d.name+" "+key, func(t *testing.T) {
				t.Parallel()
				total.plan(t, sc.name+", links")
				s := newStage(t, timeout)
				sc.begin(s)
				at := s.main.link
				if strings.HasPrefix(key, "G") {
					at = s.toKong
				}
				r := at.on(rule{matches: func(c *call) bool { return c.key() == key }, times: 1, fault: d.fault(s)})
				sc.trigger(s)
				s.met(r)
				s.until(sc.name, func() error { return sc.over(s) })
				sc.compare(s, l)
				if slices.Contains([]string{"closed after", "answered too late"}, d.name) && key == namePost+" create plugins" {
					s.onePost()
				}
			})
		}
	}
}

// onePost: a plugin that is there is found, and not posted again, not even to be refused.
func (s *stage) onePost() {
	s.t.Helper()
	if n := s.kong.Journal().Count(http.MethodPost, "/plugins"); n != 1 {
		s.t.Errorf("%d POSTs were sent, and the first was done", n)
	}
}
