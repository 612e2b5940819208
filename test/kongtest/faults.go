package kongtest

import (
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"
)

// FaultKind is what a Fault does to a request.
type FaultKind int

const (
	// Answer answers Status, Header and Body without doing anything.
	Answer FaultKind = iota
	// Delay waits before the request is handled as usual.
	Delay
	// DropBefore closes the connection without doing anything. Note that Go's
	// transport repeats a GET whose reused connection was closed.
	DropBefore
	// DropAfter does what was asked, then closes the connection.
	DropAfter
	// CommitLate takes the request as far as its write to the database, then
	// answers Status, or closes the connection if Status is 0. The write is
	// committed when ReleaseLate is called, or after Delay if that is set.
	CommitLate
	// Truncate does what was asked, sends half of the body and closes the connection.
	Truncate
	// AnswerAfter does what was asked, then answers Status, Header and Body instead.
	AnswerAfter
	// EndlessList answers a page of Rows made-up rows with a next page, however many
	// pages were read before. Other requests than lists are handled as usual.
	EndlessList
	// GiantPage answers a list with one page of made-up rows, of at least Bytes bytes.
	// Other requests than lists are handled as usual.
	GiantPage
)

// Fault is something that goes wrong with requests of one method to one path
// template. The first injected fault that matches and is not used up takes effect.
type Fault struct {
	Method   string // empty: any
	Template string // "/plugins/{id}"; empty: any
	Skip     int    // let this many matching requests pass first
	Times    int    // affect this many; 0 means every one
	// Share is the probability that a request of those is affected, drawn from the
	// server's seed; 0 means that each one is.
	Share  float64
	Kind   FaultKind
	Status int // of Answer, AnswerAfter, CommitLate; 0 is 500 (CommitLate: no answer)
	Header http.Header
	Body   string // empty: {"message":"An unexpected error occurred"}
	// NotKong leaves Kong's headers out of Answer and AnswerAfter: something in front
	// of Kong answers.
	NotKong bool
	Rows    int   // of a page of EndlessList; 0 is as many as the client asks for
	Bytes   int64 // of GiantPage
	// Delay is waited before the request is handled, so before each page of a list; for DropAfter and AnswerAfter
	// after it was handled; for CommitLate it is when the write is committed.
	Delay time.Duration
	// Before is called when the fault takes effect, before the request is handled:
	// a place to change Kong between two requests of a client.
	Before func(*http.Request)
}

// BackendUnavailable is the fault of a load balancer in front of Kong that finds no
// server for a share of the requests: 503 with a page of its own.
func BackendUnavailable(share float64) Fault {
	return Fault{
		Kind: Answer, Status: http.StatusServiceUnavailable, Share: share, NotKong: true,
		Header: http.Header{"Content-Type": {"text/html"}, "Cache-Control": {"no-cache"}},
		Body:   "<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>\n",
	}
}

type armedFault struct {
	Fault
	seen int
}

type faults struct {
	mu   sync.Mutex
	list []*armedFault
}

// Inject adds a fault; remove takes it away again.
func (s *Server) Inject(f Fault) (remove func()) {
	a := &armedFault{Fault: f}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.list = append(s.faults.list, a)
	return func() {
		s.faults.mu.Lock()
		defer s.faults.mu.Unlock()
		s.faults.list = slices.DeleteFunc(s.faults.list, func(b *armedFault) bool { return a == b })
	}
}

// take returns the fault for a request, nil if there is none.
func (f *faults) take(method, template string, draw func() float64) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	var hit *Fault
	for _, a := range f.list {
		if a.Method != "" && a.Method != method || a.Template != "" && a.Template != template {
			continue
		}
		if hit == nil && a.due() && (a.Share == 0 || draw() < a.Share) {
			hit = &a.Fault
		}
		a.seen++
	}
	return hit
}

func (a *armedFault) due() bool {
	n := a.seen - a.Skip
	return n >= 0 && (a.Times == 0 || n < a.Times)
}

// lateCommit marks a call whose write is held back.
type lateCommit struct{ statement *statement }

// answer handles the call, with its fault if it has one; cut says that the body
// breaks off.
func (s *Server) answer(c *call) (resp *response, cut bool) {
	f := s.faults.take(c.r.Method, c.template(), s.draw)
	if f == nil {
		return s.handle(c), false
	}
	if f.Before != nil {
		f.Before(c.r)
	}
	switch f.Kind {
	case Answer:
		s.pause(c, f.Delay)
		return f.response(), false
	case DropBefore:
		s.pause(c, f.Delay)
		return &response{drop: true}, false
	case DropAfter:
		s.handle(c)
		s.pause(c, f.Delay)
		return &response{drop: true}, false
	case AnswerAfter:
		s.handle(c)
		s.pause(c, f.Delay)
		return f.response(), false
	case CommitLate:
		return s.commitLate(c, f), false
	case EndlessList, GiantPage:
		s.pause(c, f.Delay)
		return s.madeUpList(c, f), false
	default:
		s.pause(c, f.Delay)
		resp = s.handle(c)
		return resp, f.Kind == Truncate && !resp.drop && (resp.body != nil || resp.raw != nil)
	}
}

// madeUpList answers a list with made-up rows.
func (s *Server) madeUpList(c *call, f *Fault) *response {
	k := c.listedKind()
	switch {
	case c.r.Method != http.MethodGet || k == nil:
		return s.handle(c)
	case f.Kind == GiantPage:
		return c.giantPage(k, f.Bytes)
	}
	return c.endlessPage(k, f.Rows)
}

func (f *Fault) response() *response {
	resp := unexpected()
	resp.notKong = f.NotKong
	if f.Status != 0 {
		resp.status = f.Status
	}
	resp.header = f.Header
	if f.Body != "" {
		resp.body, resp.raw = nil, []byte(f.Body)
		if !json.Valid(resp.raw) {
			resp.contentType = "text/html; charset=UTF-8"
		}
	}
	if resp.status == http.StatusNoContent || resp.status == http.StatusNotModified {
		resp.body, resp.raw = nil, nil
	}
	return resp
}

// commitLate takes the call to its write and leaves the write to be released.
func (s *Server) commitLate(c *call, f *Fault) *response {
	c.late = &lateCommit{}
	s.handle(c)
	if st := c.late.statement; st != nil && f.Delay > 0 && s.beginWork() {
		go func() {
			defer s.work.Done()
			timer := time.NewTimer(f.Delay)
			defer timer.Stop()
			select {
			case <-timer.C:
				s.releaseOne(st)
			case <-s.closing:
			}
		}()
	}
	if f.Status == 0 {
		return &response{drop: true}
	}
	return f.response()
}

// pause waits, unless the client or the server goes away first.
func (s *Server) pause(c *call, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.ctx().Done():
	case <-s.closing:
	}
}
