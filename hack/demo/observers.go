package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// observation is what was observed of the operator in Kong.
type observation struct {
	changes []change
	// Requests are known for the stand-in only. Writes count whether or not they changed
	// anything.
	requests      bool
	reads, writes int
}

func (s observation) String() string {
	if !s.requests {
		return "every plugin is unchanged, including updated_at"
	}
	return fmt.Sprintf("%d read requests, %d write requests", s.reads, s.writes)
}

// anyWrite returns an error if there were writes.
func (s observation) anyWrite() error {
	if len(s.changes) == 0 && s.writes == 0 {
		return nil
	}
	return fmt.Errorf("write requests: %d; changes: %v", s.writes, s.changes)
}

// change is one change of a plugin.
type change struct {
	kind   string // create, update or delete
	plugin entity // its new state, or its last one before a delete
}

func (c change) String() string {
	return fmt.Sprintf("%s %s %s", c.kind, c.plugin.text("name"), c.plugin.id())
}

func (s observation) of(kind string) []change {
	var found []change
	for _, c := range s.changes {
		if c.kind == kind {
			found = append(found, c)
		}
	}
	return found
}

// standIn is the stand-in for Kong, in this process. It keeps a journal.
type standIn struct{ *kongtest.Server }

func newStandIn() standIn { return standIn{kongtest.New()} }

func (standIn) name() string     { return "a stand-in for the Admin API" }
func (standIn) persistent() bool { return false }
func (s standIn) shutdown()      { s.Close() }

// stallCreates lets five creates pass. The stand-in commits the sixth and never answers. That
// is the worst moment to die: Kong has a plugin whose ID nobody recorded. The others never
// reach the database.
func (s standIn) stallCreates() (after int, undo func()) {
	const answered = 5
	forEver := time.Hour // until the client is gone
	lost := s.Inject(kongtest.Fault{
		Method: http.MethodPost, Template: "/plugins", Skip: answered, Times: 1,
		Kind: kongtest.AnswerAfter, Delay: forEver,
	})
	dropped := s.Inject(kongtest.Fault{
		Method: http.MethodPost, Template: "/plugins", Skip: answered + 1,
		Kind: kongtest.DropBefore, Delay: forEver,
	})
	return answered + 1, func() { lost(); dropped() }
}

// conflicts counts the 409 responses, which Kong gives when a write would violate a unique key.
func (s standIn) conflicts() int {
	n := 0
	for _, r := range s.Journal().Requests() {
		if r.UserAgent != userAgent && r.Status == http.StatusConflict {
			n++
		}
	}
	return n
}

func (s standIn) watch(context.Context) (func(context.Context) (observation, error), error) {
	mark := s.Journal().Mark()
	return func(context.Context) (observation, error) { return s.since(mark), nil }, nil
}

func (s standIn) since(mark int) observation {
	seen := observation{requests: true}
	ours := map[int]bool{}
	for _, r := range s.Journal().Requests() {
		if r.UserAgent == userAgent {
			continue
		}
		ours[r.Seq] = true
		switch {
		case r.Seq <= mark:
		case r.Method == http.MethodGet || r.Method == http.MethodHead:
			seen.reads++
		default:
			seen.writes++
		}
	}
	for _, c := range s.Journal().Since(mark).Changes {
		if !ours[c.Request] {
			continue
		}
		plugin := c.After
		if plugin == nil {
			plugin = c.Before
		}
		seen.changes = append(seen.changes, change{c.Kind, plugin})
	}
	return seen
}

// realGateway is a real Kong. Comparing all plugins shows what the operator did.
type realGateway struct{ *admin }

func (realGateway) name() string     { return "the gateway of KONG_ADMIN_URL" }
func (realGateway) persistent() bool { return true }
func (realGateway) shutdown()        {}
func (realGateway) conflicts() int   { return -1 }

func (realGateway) stallCreates() (after int, undo func()) { return 4, func() {} }

func (g realGateway) watch(ctx context.Context) (func(context.Context) (observation, error), error) {
	before, err := g.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (observation, error) {
		after, err := g.snapshot(ctx)
		return observation{changes: difference(before, after)}, err
	}, nil
}

func (g realGateway) snapshot(ctx context.Context) (map[string]entity, error) {
	plugins, err := g.list(ctx, "/plugins")
	byID := make(map[string]entity, len(plugins))
	for _, plugin := range plugins {
		byID[plugin.id()] = plugin
	}
	return byID, err
}

func difference(before, after map[string]entity) []change {
	var changes []change
	for id, plugin := range after {
		switch was, known := before[id]; {
		case !known:
			changes = append(changes, change{"create", plugin})
		case was.canonical() != plugin.canonical(): // updated_at included
			changes = append(changes, change{"update", plugin})
		}
	}
	for id, plugin := range before {
		if _, still := after[id]; !still {
			changes = append(changes, change{"delete", plugin})
		}
	}
	return changes
}
