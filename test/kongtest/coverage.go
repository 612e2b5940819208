package kongtest

import (
	"cmp"
	"slices"
	"time"
)

// Traffic is what Kong proxies for one route. The fields are IDs; an empty one
// stands for none.
type Traffic struct {
	Route     string
	Service   string // of the route
	Consumer  string // the authenticated one
	Workspace string // by name; empty: the default workspace
}

// Coverage tells at which moments a plugin of one name is in force for some traffic.
// Of several enabled plugins Kong runs the most specific one; a disabled plugin is as
// good as none. A plugin in the database counts at once, though Kong's proxy takes up
// to five seconds to notice.
type Coverage struct {
	states []coverageState // by time
}

// coverageState is what holds from one change to the next.
type coverageState struct {
	from    time.Time
	plugin  map[string]any // in force; nil if there is none
	routing bool           // there is traffic: the route exists
}

// Gap is a stretch of time in which there was traffic and no plugin in force.
type Gap struct{ From, To time.Time }

// Duration is the length of the gap.
func (g Gap) Duration() time.Duration { return g.To.Sub(g.From) }

// NewCoverage reads changes, which are in the order of the journal. Times are those
// of the journal. A row that the changes update or delete before they create it was
// there before the first of them; a row that never changes is not known.
func NewCoverage(changes []Change, plugin string, traffic Traffic) *Coverage {
	rows := map[string]map[string]any{} // plugins by ID
	state := coverageState{routing: true}
	seen := map[string]bool{}
	for _, c := range changes {
		switch first := !seen[c.ID]; {
		case first && c.Entity == "plugins" && c.Before != nil && traffic.in(c):
			rows[c.ID] = c.Before
		case first && c.Entity == "routes" && c.ID == traffic.Route:
			state.routing = c.Before != nil
		}
		seen[c.ID] = true
	}
	state.plugin = traffic.inForce(rows, plugin)
	cov := &Coverage{states: []coverageState{state}}
	cascading := false
	for _, c := range changes {
		switch {
		case c.Entity == "routes" && c.ID == traffic.Route:
			state.routing = c.After != nil
		case c.Entity == "plugins" && traffic.in(c):
			rows[c.ID] = c.After // nil after a delete
			state.plugin = traffic.inForce(rows, plugin)
		case !cascading:
			continue
		}
		// What goes with a row that is deleted goes in the same moment.
		if cascading = c.Cascade; cascading {
			continue
		}
		state.from = c.Time
		cov.states = append(cov.states, state)
	}
	return cov
}

// InForce are the gaps in the whole journal: the moments at which the route of this
// name existed, and requests without credentials met no plugin of this name. It
// panics if the journal and Kong know no such route.
func (s *Server) InForce(plugin, route string) []Gap {
	changes := s.journal.Changes()
	row := s.Entity("routes", route)
	for i := len(changes) - 1; i >= 0 && row == nil; i-- {
		if before := changes[i].Before; changes[i].Entity == "routes" && str(before["name"]) == route {
			row = before
		}
	}
	if row == nil {
		panic("kongtest: no route " + route)
	}
	if len(changes) == 0 {
		return nil
	}
	traffic := Traffic{Route: str(row["id"]), Service: refID(row["service"])}
	return NewCoverage(changes, plugin, traffic).Gaps(changes[0].Time, s.cfg.clock())
}

// At is the plugin in force at a moment; nil if there is none. A change counts from
// its own moment on.
func (c *Coverage) At(moment time.Time) map[string]any {
	last := c.states[0]
	for _, s := range c.states[1:] {
		if s.from.After(moment) {
			break
		}
		last = s
	}
	if !last.routing {
		return nil
	}
	return last.plugin
}

// Gaps are the gaps between two moments, in order. A change of the plugin that is
// replaced in the same moment makes none.
func (c *Coverage) Gaps(from, to time.Time) []Gap {
	var gaps []Gap
	for i, s := range c.states {
		begin, end := s.from, to
		if begin.Before(from) {
			begin = from
		}
		if i+1 < len(c.states) && c.states[i+1].from.Before(to) {
			end = c.states[i+1].from
		}
		if s.plugin != nil || !s.routing || !begin.Before(end) {
			continue
		}
		if n := len(gaps); n > 0 && gaps[n-1].To.Equal(begin) {
			gaps[n-1].To = end
			continue
		}
		gaps = append(gaps, Gap{From: begin, To: end})
	}
	return gaps
}

// LongestGap is the longest gap between two moments; of the zero Gap's duration if
// there is none.
func (c *Coverage) LongestGap(from, to time.Time) Gap {
	gaps := c.Gaps(from, to)
	if len(gaps) == 0 {
		return Gap{}
	}
	return slices.MaxFunc(gaps, func(a, b Gap) int { return cmp.Compare(a.Duration(), b.Duration()) })
}

// in reports whether the change is in the workspace of the traffic.
func (t Traffic) in(c Change) bool { return c.Workspace == cmp.Or(t.Workspace, defaultWorkspace) }

// inForce is the most specific of the enabled plugins of the name; of two of one
// scope the one with the lower ID.
func (t Traffic) inForce(rows map[string]map[string]any, plugin string) map[string]any {
	var best map[string]any
	bestRank := -1
	for _, id := range sortedKeys(rows) {
		row := rows[id]
		if row == nil || row["name"] != plugin || row["enabled"] == false {
			continue
		}
		if rank := t.specificity(row); rank > bestRank {
			best, bestRank = row, rank
		}
	}
	return best
}

// scopeFields are the fields of a plugin's scope that Traffic knows.
type scopeFields struct{ route, service, consumer bool }

// precedence is Kong's order of scopes, the least specific first.
var precedence = []scopeFields{
	{},
	{service: true},
	{route: true},
	{consumer: true},
	{route: true, service: true},
	{service: true, consumer: true},
	{route: true, consumer: true},
	{route: true, service: true, consumer: true},
}

// specificity is the place of the plugin's scope in precedence, -1 if the plugin is
// not for this traffic. Traffic has no consumer groups.
func (t Traffic) specificity(row map[string]any) int {
	route, service, consumer := refID(row["route"]), refID(row["service"]), refID(row["consumer"])
	applies := func(scope, actual string) bool { return scope == "" || scope == actual }
	if !applies(route, t.Route) || !applies(service, t.Service) || !applies(consumer, t.Consumer) || refID(row["consumer_group"]) != "" {
		return -1
	}
	return slices.Index(precedence, scopeFields{route: route != "", service: service != "", consumer: consumer != ""})
}
