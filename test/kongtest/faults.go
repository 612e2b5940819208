package kongtest

import (
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"
)

// FaultKind is the effect of a Fault on a request.
type FaultKind int

const (
	// Answer answers Status, Header and Body and does not handle the request.
	Answer FaultKind = iota
	// Delay waits, then handles the request.
	Delay
	// DropBefore closes the connection and does not handle the request. Go's
	// transport repeats a GET on a reused connection that was closed.
	DropBefore
	// DropAfter handles the request, then closes the connection.
	DropAfter
	// CommitLate handles the request up to its write to the database, then answers
	// Status, or closes the connection if Status is 0. ReleaseLate commits the
	// write, or the server does after Delay if that is set.
	CommitLate
	// Truncate handles the request, sends half of the body and closes the connection.
	Truncate
	// AnswerAfter handles the request, then answers Status, Header and Body instead.
	AnswerAfter
	// EndlessList answers every list with a page of Rows generated rows and a next
	// page. It does not affect other requests.
	EndlessList
	// GiantPage answers every list with one page of generated rows, of at least Bytes
	// bytes. It does not affect other requests.
	GiantPage
)

// Fault is a failure of requests of one method to one path template. Of several
// faults the first injected one that matches and is not used up takes effect.
type Fault struct {
	Method   string // empty: any
	Template string // "/plugins/{id}"; empty: any
	Skip     int    // number of matching requests that pass first
	Times    int    // number of matching requests after those; 0 is all
	// Share is the probability that the fault affects a request that Skip and Times
	// select. It is drawn from the server's seed. 0 affects all of them.
	Share  float64
	Kind   FaultKind
	Status int // of Answer, AnswerAfter, CommitLate; 0 is 500 (CommitLate: no answer)
	Header http.Header
	Body   string // empty: {"message":"An unexpected error occurred"}
	// NotKong omits Kong's headers from Answer and AnswerAfter, as if a proxy in front
	// of Kong answered.
	NotKong bool
	Rows    int   // of a page of EndlessList; 0 is as many as the client asks for
	Bytes   int64 // of GiantPage
	// Delay is the time to wait before the request is handled: before each page of a
	// list. DropAfter and AnswerAfter wait after it is handled. CommitLate commits the
	// write after it.
	Delay time.Duration
	// Before is called when the fault takes effect, before the request is handled.
	// It can change Kong between two requests of a client.
	Before func(*http.Request)
}

// BackendUnavailable is the fault of a load balancer in front of Kong that has no
// backend for a share of the requests. It answers 503 with an HTML page of its own.
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

// Inject adds a fault. The result removes it.
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

// match returns the fault for a request, or nil. draw is called for Fault.Share.
func (f *faults) match(method, template string, draw func() float64) *Fault {
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

// lateCommit marks a call whose write a CommitLate fault keeps.
type lateCommit struct{ statement *statement }

// answer handles the call, with its fault if there is one. With cut the body is
// truncated.
func (s *Server) answer(c *call) (resp *response, cut bool) {
	f := s.faults.match(c.r.Method, c.template(), s.draw)
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
		return s.generatedList(c, f), false
	default:
		s.pause(c, f.Delay)
		resp = s.handle(c)
		return resp, f.Kind == Truncate && !resp.drop && (resp.body != nil || resp.raw != nil)
	}
}

// generatedList answers a list with generated rows, and handles other requests.
func (s *Server) generatedList(c *call, f *Fault) *response {
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

// commitLate handles the call up to its write and keeps the write.
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

// pause waits until d has passed or the client or the server is gone.
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
