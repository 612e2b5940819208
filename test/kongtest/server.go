package kongtest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/time/rate"
)

// Server is a stand-in for Kong's Admin API. Make one with New or Start.
type Server struct {
	cfg     config
	kinds   map[string]*kind
	router  router
	db      database
	journal Journal
	faults  faults
	nodeID  string

	http     *http.Server
	listener net.Listener
	url      string
	closing  chan struct{}  // closed by Close
	work     sync.WaitGroup // goroutines and requests; grows only under mu, before Close

	mu         sync.Mutex // guards the fields below
	closed     bool
	rnd        *rand.Rand
	dbless     bool
	version    string
	workspaces map[string]bool
	disabled   map[string]bool
	configHash string
	limiter    *rate.Limiter // nil: no limit
}

// New starts a server on a free port of 127.0.0.1, or on the address of WithListen.
// It panics if it cannot listen.
func New(opts ...Option) *Server {
	s := &Server{cfg: newConfig(opts), closing: make(chan struct{}), disabled: map[string]bool{}}
	s.kinds = newKinds(s.cfg.enterprise)
	s.db.store = newStore(s.kinds)
	s.rnd = rand.New(rand.NewSource(s.cfg.seed))
	s.dbless, s.version = s.cfg.dbless, s.cfg.version
	s.configHash, s.limiter = emptyConfigHash, s.cfg.limiter
	s.nodeID = s.newID()
	s.workspaces = map[string]bool{}
	if s.cfg.enterprise {
		s.workspaces[defaultWorkspace] = true
	}
	for _, w := range s.cfg.workspaces {
		s.workspaces[w] = true
	}
	s.routes()
	s.listen()
	return s
}

// Start is New for a test. The server is closed when the test ends. A failing test
// logs the seed.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	s := New(opts...)
	t.Cleanup(func() {
		s.Close()
		if t.Failed() {
			t.Logf("kongtest: seed %d", s.cfg.seed)
		}
	})
	return s
}

func (s *Server) listen() {
	l, err := net.Listen("tcp", s.cfg.listen)
	if err != nil {
		panic(fmt.Sprintf("kongtest: %v", err))
	}
	s.url = "http://" + l.Addr().String()
	if s.cfg.tls != nil {
		s.url = "https://" + l.Addr().String()
		l = tls.NewListener(l, s.cfg.tls)
	}
	l = nginxListener{l}
	s.listener = l
	s.http = &http.Server{Handler: s.Handler(), ErrorLog: log.New(io.Discard, "", 0)}
	s.work.Go(func() { _ = s.http.Serve(l) }) // always ErrServerClosed
}

// URL is the base URL, without a trailing slash.
func (s *Server) URL() string { return s.url }

// Handler serves the Admin API without a listener.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// Journal is the record of all requests and changes.
func (s *Server) Journal() *Journal { return &s.journal }

// Close drops all connections and waits for the requests and goroutines of the
// server.
func (s *Server) Close() {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	if first {
		close(s.closing)
		_ = s.http.Close()
	}
	s.work.Wait()
}

// beginWork adds to work, unless the server is closed.
func (s *Server) beginWork() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.work.Add(1)
	return true
}

// call is one request on its way through the handlers.
type call struct {
	s         *Server
	r         *http.Request
	seq       int
	started   time.Time
	endpoint  *endpoint
	workspace string
	params    []string // path parameters, still escaped
	query     args
	moreQuery bool // the query has more arguments than Kong reads
	post      map[string]any
	form      args
	byName    bool // a PUT by the endpoint key, not by ID
	late      *lateCommit
}

func (c *call) ctx() context.Context { return c.r.Context() }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if !s.beginWork() {
		panic(http.ErrAbortHandler)
	}
	defer s.work.Done()
	query, more := parseArgs(r.URL.RawQuery, maxEntityArgs)
	c := &call{s: s, r: r, started: time.Now(), query: query.decoded(), moreQuery: more}
	path := rawPath(r)
	c.endpoint, c.params, c.workspace = s.find(path)
	c.seq = s.journal.begin(Request{
		Time: s.cfg.clock(), Method: r.Method, Path: path, Template: c.template(),
		Query: r.URL.RawQuery, Workspace: c.workspace, UserAgent: r.UserAgent(),
	})
	resp, cut := rateLimited(), false
	if s.withinRateLimit() {
		resp, cut = s.answer(c)
	}
	status := resp.status
	if resp.drop {
		status = 0
	}
	s.journal.finish(c.seq, status)
	s.cfg.logf("%s %s %d", r.Method, r.URL.RequestURI(), status)
	s.send(w, c, resp, cut)
}

// rawPath is the path as it was sent: Kong routes by the escaped form.
func rawPath(r *http.Request) string {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if !strings.HasPrefix(path, "/") {
		path = r.URL.EscapedPath()
	}
	return path
}

func (c *call) template() string {
	if c.endpoint == nil {
		return ""
	}
	return c.endpoint.template
}

// find returns the endpoint of a path. The path may begin with a workspace.
func (s *Server) find(path string) (*endpoint, []string, string) {
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	s.mu.Lock()
	known := s.workspaces[first]
	s.mu.Unlock()
	if known {
		e, params := s.router.match("/" + rest)
		return e, params, first
	}
	e, params := s.router.match(path)
	return e, params, defaultWorkspace
}

// handle applies the rules for all endpoints, then calls the endpoint.
func (s *Server) handle(c *call) *response {
	body, err := io.ReadAll(c.r.Body)
	if err != nil {
		return &response{drop: true}
	}
	if len(body) > maxBody {
		return htmlPage(http.StatusRequestEntityTooLarge)
	}
	if t := s.cfg.token; t != nil && c.r.Header.Get(t.header) != t.value {
		return unauthorized()
	}
	if c.endpoint == nil {
		return notFound()
	}
	if c.r.Method == http.MethodOptions {
		return c.options()
	}
	if resp := checkContentType(c.r, body); resp != nil {
		return resp
	}
	method := c.r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	h := c.endpoint.methods[method]
	if h == nil {
		return methodNotAllowed()
	}
	var resp *response
	if c.post, c.form, resp = parseBody(c.r, body, c.maxArgs()); resp != nil {
		return resp
	}
	if c.moreQuery && c.maxArgs() == maxEntityArgs {
		return tooManyArguments()
	}
	return conditional(c.r, h(c))
}

// maxArgs is the number of arguments that the endpoint reads.
func (c *call) maxArgs() int {
	if c.endpoint.entity {
		return maxEntityArgs
	}
	return maxSchemaArgs
}

// conditional applies conditional headers as nginx does to a response without ETag
// and Last-Modified: 412 or 304 instead of 200, after the write (measured).
func conditional(r *http.Request, resp *response) *response {
	if resp.status != http.StatusOK {
		return resp
	}
	match := r.Header.Get("If-Match")
	switch {
	case match != "" && match != "*", r.Header.Get("If-Unmodified-Since") != "":
		return htmlPage(http.StatusPreconditionFailed)
	case r.Header.Get("If-None-Match") == "*" && r.Header.Get("If-Modified-Since") == "":
		return &response{status: http.StatusNotModified}
	}
	return resp
}

func (c *call) options() *response {
	allow := c.endpoint.allow()
	headers := c.r.Header.Get("Access-Control-Request-Headers")
	if headers == "" {
		headers = "Content-Type"
	}
	resp := noContent()
	resp.header = http.Header{
		"Allow":                        {allow},
		"Access-Control-Allow-Methods": {allow},
		"Access-Control-Allow-Headers": {headers},
	}
	return resp
}

// send writes the response. With cut it sends half of the body and closes the
// connection.
func (s *Server) send(w http.ResponseWriter, c *call, resp *response, cut bool) {
	if resp.drop {
		panic(http.ErrAbortHandler)
	}
	h := w.Header()
	if !resp.notKong {
		s.commonHeaders(h, c)
	}
	body := resp.raw
	if resp.raw == nil && resp.body != nil {
		body = encode(resp.body)
	}
	resp.contentHeaders(h, body)
	w.WriteHeader(resp.status)
	if cut {
		_, _ = w.Write(body[:len(body)/2]) // the connection is closed anyway
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	if resp.stream != nil {
		_ = resp.stream(w) // the client is gone
		return
	}
	_, _ = w.Write(body) // it fails if the client is gone
}

// contentHeaders sets the headers of the body, then those of the response.
func (resp *response) contentHeaders(h http.Header, body []byte) {
	if body != nil || resp.stream != nil {
		h.Set("Content-Type", "application/json; charset=utf-8")
	}
	if body != nil {
		h.Set("Content-Length", itoa(len(body)))
	}
	if resp.contentType != "" {
		h.Set("Content-Type", resp.contentType)
	}
	for name, values := range resp.header {
		h[http.CanonicalHeaderKey(name)] = values
	}
}

func (s *Server) commonHeaders(h http.Header, c *call) {
	origin := c.r.Header.Get("Origin")
	if origin == "" {
		origin = "*"
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("X-Kong-Admin-Latency", itoa(int(time.Since(c.started).Milliseconds())))
	h.Set("Server", "kong/"+s.serverVersion())
}

// encode writes JSON as Kong does, without escapes for slashes and angle brackets.
func encode(v any) []byte {
	if raw, isRaw := v.(json.RawMessage); isRaw {
		return raw
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(errors.Join(errors.New("kongtest: answer does not encode"), err))
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// newID is a random version 4 UUID from the server's seed.
func (s *Server) newID() (id string) {
	s.random(func(rnd *rand.Rand) {
		u, err := uuid.NewRandomFromReader(rnd)
		if err != nil {
			panic(fmt.Sprintf("kongtest: %v", err)) // rand.Rand.Read never fails
		}
		id = u.String()
	})
	return id
}

// draw is a random number in [0,1) from the server's seed.
func (s *Server) draw() (n float64) {
	s.random(func(rnd *rand.Rand) { n = rnd.Float64() })
	return n
}

// random calls use with the server's random source.
func (s *Server) random(use func(*rand.Rand)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	use(s.rnd)
}
