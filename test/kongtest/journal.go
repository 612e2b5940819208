package kongtest

import (
	"slices"
	"sync"
	"time"
)

// Values of Change.Actor.
const (
	// ActorAPI marks a change made by a request to the Admin API.
	ActorAPI = "api"
	// ActorBackdoor marks a change made by a method of Server, as by another client.
	ActorBackdoor = "backdoor"
)

// Request is one request that the server received.
type Request struct {
	Seq       int // position among all requests and changes
	Time      time.Time
	Method    string
	Path      string // without query, as sent
	Template  string // "/plugins/{id}"; empty for an unknown path
	Query     string
	Workspace string
	UserAgent string
	Status    int  // of the response; 0 while in flight, and if the connection was closed instead
	Done      bool // the request was answered, or its connection closed
}

// Change is one committed change of the database.
type Change struct {
	Seq       int // position among all requests and changes
	Time      time.Time
	Kind      string // "create", "update" or "delete"
	Entity    string // "plugins", "services", "routes", "consumers"
	ID        string
	Workspace string
	Before    map[string]any // nil for a create
	After     map[string]any // nil for a delete
	Actor     string         // ActorAPI or ActorBackdoor
	Request   int            // Seq of the request that made it; 0 for ActorBackdoor
	Cascade   bool           // deleted with its service, route or consumer
	Late      bool           // committed after the response to its request
}

// Entries is a part of the journal.
type Entries struct {
	Requests []Request
	Changes  []Change
}

// Writes are the changes with ActorAPI.
func (e Entries) Writes() []Change { return apiOnly(e.Changes) }

// Journal records every request and every committed change, in order.
type Journal struct {
	mu       sync.Mutex
	seq      int
	requests []Request
	changes  []Change
}

// Requests are all requests so far.
func (j *Journal) Requests() []Request { return j.Since(0).Requests }

// Changes are all committed changes so far, with any actor.
func (j *Journal) Changes() []Change { return j.Since(0).Changes }

// Writes are all committed changes with ActorAPI so far.
func (j *Journal) Writes() []Change { return apiOnly(j.Changes()) }

// Count is the number of requests with this method and path template so far. An
// empty string matches any.
func (j *Journal) Count(method, template string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for i := range j.requests {
		r := &j.requests[i]
		if (method == "" || r.Method == method) && (template == "" || r.Template == template) {
			n++
		}
	}
	return n
}

// Mark is the current end of the journal, for Since.
func (j *Journal) Mark() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.seq
}

// Since are the entries after mark.
func (j *Journal) Since(mark int) Entries {
	j.mu.Lock()
	defer j.mu.Unlock()
	r, _ := slices.BinarySearchFunc(j.requests, mark+1, func(r Request, seq int) int { return r.Seq - seq })
	c, _ := slices.BinarySearchFunc(j.changes, mark+1, func(c Change, seq int) int { return c.Seq - seq })
	out := Entries{Requests: slices.Clone(j.requests[r:]), Changes: slices.Clone(j.changes[c:])}
	for i := range out.Changes {
		out.Changes[i].Before = cloneMap(out.Changes[i].Before)
		out.Changes[i].After = cloneMap(out.Changes[i].After)
	}
	return out
}

// Reset removes all entries. Earlier marks stay valid.
func (j *Journal) Reset() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.requests, j.changes = nil, nil
}

// begin records a request and returns its sequence number.
func (j *Journal) begin(r Request) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seq++
	r.Seq = j.seq
	j.requests = append(j.requests, r)
	return r.Seq
}

// finish records the status of the request seq.
func (j *Journal) finish(seq, status int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	i, found := slices.BinarySearchFunc(j.requests, seq, func(r Request, seq int) int { return r.Seq - seq })
	if found {
		j.requests[i].Status, j.requests[i].Done = status, true
	}
}

// commit records a change.
func (j *Journal) commit(c Change) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seq++
	c.Seq = j.seq
	j.changes = append(j.changes, c)
}

func apiOnly(changes []Change) []Change {
	return slices.DeleteFunc(slices.Clone(changes), func(c Change) bool { return c.Actor != ActorAPI })
}
