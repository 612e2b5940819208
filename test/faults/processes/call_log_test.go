package processes

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// call is one recorded request.
type call struct {
	seq    int
	from   string // the replica; empty for calls to Kong, whose proxy the replicas share
	name   string // "kube/patch-binding-status", "kong/list-plugins-by-2-tags"
	method string
	path   string
	query  string
	writes bool // changes something, if it succeeds
	lasts  bool // a watch: it ends when one side closes it
	ended  bool
	at     time.Time
	status int // of the response that was passed on; 0 if there was none
}

func (c *call) String() string {
	state := "under way"
	if c.ended {
		state = fmt.Sprint(c.status)
	}
	return strings.TrimSpace(fmt.Sprintf("%4d %s %-40s %s (%s %s)", c.seq, c.from, c.name, state, c.method, c.path))
}

// callLog records the calls through all proxies of an environment, in order of arrival.
type callLog struct {
	mu      sync.Mutex
	entries []*call
}

func (t *callLog) begin(c call) *call {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.seq, c.at = len(t.entries)+1, time.Now()
	t.entries = append(t.entries, &c)
	return &c
}

func (t *callLog) end(c *call, status int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.ended, c.status = true, status
}

// mark returns a position for since.
func (t *callLog) mark() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.entries)
}

// since returns copies of the calls after mark.
func (t *callLog) since(mark int) []call {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]call, 0, len(t.entries)-mark)
	for _, c := range t.entries[mark:] {
		out = append(out, *c)
	}
	return out
}

// contains reports whether a call after mark meets a condition.
func (t *callLog) contains(mark int, is func(*call) bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.entries[mark:] {
		if is(c) {
			return true
		}
	}
	return false
}

// idle reports whether only watches and lease requests are under way.
func (t *callLog) idle() bool {
	return !t.contains(0, func(c *call) bool { return !c.ended && !c.lasts && c.name != kubeLease })
}

// format prints the log, without the lease requests.
func (t *callLog) format(from int) string {
	var b strings.Builder
	for _, c := range t.since(from) {
		if c.name != kubeLease {
			fmt.Fprintf(&b, "  %s\n", &c)
		}
	}
	return b.String()
}
