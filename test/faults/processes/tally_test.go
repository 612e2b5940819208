package processes

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"
)

// tally counts plans.
type tally struct {
	mu    sync.Mutex
	lines map[string]*line
}

// line is the result of the plans of one scenario.
type line struct {
	plans, violations int
	notMade           int // plans whose call was not made this time
	took              time.Duration
}

var total = tally{lines: map[string]*line{}}

// count counts a plan of a scenario when its test ends.
func (c *tally) count(t *testing.T, scenario string) {
	began := time.Now()
	t.Cleanup(func() {
		c.change(scenario, func(l *line) {
			l.plans++
			l.took += time.Since(began)
			if t.Failed() {
				l.violations++
			}
		})
	})
}

func (c *tally) countNotMade(scenario string) {
	c.change(scenario, func(l *line) { l.notMade++ })
}

func (c *tally) change(scenario string, do func(*line)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lines[scenario] == nil {
		c.lines[scenario] = &line{}
	}
	do(c.lines[scenario])
}

// print prints a line per scenario and a total. The seconds of the scenarios overlap: their sum
// exceeds the total.
func (c *tally) print(out io.Writer, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var sum line
	names := make([]string, 0, len(c.lines))
	for name := range c.lines {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		l := c.lines[name]
		fmt.Fprintf(out, "processes: %-28s %s\n", name, l)
		sum.plans += l.plans
		sum.violations += l.violations
		sum.notMade += l.notMade
		sum.took += l.took
	}
	fmt.Fprintf(out, "processes: %-28s %s, %.0f s in all\n", "total", &sum, took.Seconds())
}

func (l *line) String() string {
	text := fmt.Sprintf("plans %5d  violations %3d  %6.1f s", l.plans, l.violations, l.took.Seconds())
	if l.notMade > 0 {
		text += fmt.Sprintf("  (%d calls not made this time)", l.notMade)
	}
	return text
}
