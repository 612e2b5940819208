package processes

import (
	"fmt"
	"strings"
	"sync"
)

// call is one request on a link, as it was written down.
type call struct {
	seq    int
	from   string // the replica that made it; empty on the link to Kong, which they share
	name   string // K1..K8, G1..G9
	what   string // "patch pluginbindings.status", "list plugins by 5 tags"
	method string
	path   string
	query  string
	writes bool // changes something, if it succeeds
	lasts  bool // a watch: it ends when one side goes
	ended  bool
	status int // of the answer that was passed on; 0 if there was none
}

// key tells calls of different purpose apart. Two runs of a scenario make the same calls
// in nearly the same order.
func (c *call) key() string { return c.name + " " + c.what }

func (c *call) String() string {
	state := "under way"
	if c.ended {
		state = fmt.Sprint(c.status)
	}
	return strings.TrimSpace(fmt.Sprintf("%4d %s %-40s %s (%s %s)", c.seq, c.from, c.key(), state, c.method, c.path))
}

// tape is the record of all links of a stage, in the order of arrival.
type tape struct {
	mu    sync.Mutex
	calls []*call
}

func (t *tape) begin(c call) *call {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.seq = len(t.calls) + 1
	t.calls = append(t.calls, &c)
	return &c
}

func (t *tape) end(c *call, status int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.ended, c.status = true, status
}

// mark is a point to hand to since.
func (t *tape) mark() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.calls)
}

// since are copies of the calls after mark.
func (t *tape) since(mark int) []call {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]call, 0, len(t.calls)-mark)
	for _, c := range t.calls[mark:] {
		out = append(out, *c)
	}
	return out
}

// seen reports whether a call after mark meets a condition.
func (t *tape) seen(mark int, is func(*call) bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.calls[mark:] {
		if is(c) {
			return true
		}
	}
	return false
}

// idle reports whether nothing is under way but watches and the lease.
func (t *tape) idle() bool {
	return !t.seen(0, func(c *call) bool { return !c.ended && !c.lasts && c.name != nameLease })
}

// print is the tape for a person, without what keeps repeating.
func (t *tape) print(from int) string {
	var b strings.Builder
	for _, c := range t.since(from) {
		if c.name != nameLease {
			fmt.Fprintf(&b, "  %s\n", &c)
		}
	}
	return b.String()
}
