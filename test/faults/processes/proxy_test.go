package processes

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"
)

// link is a proxy on a free port of 127.0.0.1 between a manager and what it talks to.
type link struct {
	target    *url.URL
	transport *http.Transport
	name      func(r *http.Request, body []byte) call
	tape      *tape
	address   string
	server    *http.Server
	closing   chan struct{}
	serving   sync.WaitGroup // grows only under mu, before close

	mu     sync.Mutex
	closed bool
	rules  []*rule
}

// rule is a fault at some of the calls.
type rule struct {
	matches func(*call) bool
	skip    int // let this many pass first
	times   int // 0: every one from then on
	fault   fault
	met     chan struct{} // closed when the fault takes effect for the first time
	seen    int
}

// exchange is one request on its way.
type exchange struct {
	call    *call
	gone    <-chan struct{} // the client has given up, or is no more
	closing <-chan struct{} // the test is over
	forward func() (*http.Response, error)
}

// fault does something else with a request than passing it on. An error closes the
// client's connection.
type fault func(*exchange) (*http.Response, error)

var errDropped = errors.New("dropped by the test")

// openLink starts a proxy to a target; with a certificate it speaks TLS to its clients.
func openLink(t *testing.T, tape *tape, target *url.URL, upstream *tls.Config, certificate *tls.Certificate, name func(*http.Request, []byte) call) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	l := &link{
		target: target, tape: tape, name: name,
		address: listener.Addr().String(),
		closing: make(chan struct{}),
		// TLSNextProto: one request per connection at a time is what these tests can cut.
		transport: &http.Transport{
			TLSClientConfig: upstream, TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
			MaxIdleConnsPerHost: 16, DisableCompression: true,
		},
	}
	l.server = &http.Server{
		Handler: &httputil.ReverseProxy{
			Transport:     l,
			FlushInterval: -1, // watches
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(target)
				r.Out.Header.Del("Authorization")
			},
			ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
			ErrorLog:     log.New(io.Discard, "", 0),
		},
		ErrorLog:          log.New(io.Discard, "", 0),
		ReadHeaderTimeout: patience,
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	if certificate != nil {
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{*certificate}, MinVersion: tls.VersionTLS12})
	}
	l.serving.Go(func() { _ = l.server.Serve(listener) }) // always ErrServerClosed
	t.Cleanup(l.close)
	return l
}

func (l *link) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	close(l.closing)
	_ = l.server.Close() // what is still under way is cut
	l.serving.Wait()
	l.transport.CloseIdleConnections()
}

// enter counts a request, unless the link is closed.
func (l *link) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.serving.Add(1)
	}
	return !l.closed
}

// on arms a fault for calls.
func (l *link) on(r rule) *rule {
	r.met = make(chan struct{})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rules = append(l.rules, &r)
	return &r
}

// off takes a fault away again.
func (l *link) off(r *rule) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rules = slices.DeleteFunc(l.rules, func(other *rule) bool { return other == r })
}

// faultFor is the fault of the first rule that is due for a call.
func (l *link) faultFor(c *call) fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	var hit *rule
	for _, r := range l.rules {
		if !r.matches(c) {
			continue
		}
		n := r.seen - r.skip
		r.seen++
		if hit == nil && n >= 0 && (r.times == 0 || n < r.times) {
			hit = r
		}
	}
	if hit == nil {
		return nil
	}
	select {
	case <-hit.met:
	default:
		close(hit.met)
	}
	return hit.fault
}

// RoundTrip passes a request on, with what the rules do to it.
func (l *link) RoundTrip(r *http.Request) (*http.Response, error) {
	if !l.enter() {
		return nil, errDropped
	}
	defer l.serving.Done()
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	c := l.tape.begin(l.name(r, body))
	x := &exchange{
		call: c, gone: r.Context().Done(), closing: l.closing,
		forward: func() (*http.Response, error) { return l.forward(r, c, body) },
	}
	do := l.faultFor(c)
	if do == nil {
		do = func(x *exchange) (*http.Response, error) { return x.forward() }
	}
	response, err := do(x)
	if err != nil {
		l.tape.end(c, 0)
		return nil, err
	}
	if !c.lasts {
		l.tape.end(c, response.StatusCode)
		return response, nil
	}
	response.Body = &watched{ReadCloser: response.Body, end: func() { l.tape.end(c, response.StatusCode) }}
	return response, nil
}

// forward sends the request and reads the whole answer. The request goes on when the
// client is gone, as on a network; a watch does not.
func (l *link) forward(r *http.Request, c *call, body []byte) (*http.Response, error) {
	ctx := r.Context()
	if !c.lasts {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
	}
	out := r.Clone(ctx)
	if r.Body != nil {
		out.Body = io.NopCloser(bytes.NewReader(body))
		out.ContentLength = int64(len(body))
	}
	response, err := l.transport.RoundTrip(out)
	if err != nil || c.lasts {
		return response, err
	}
	defer func() { _ = response.Body.Close() }() // all of it has been read
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(answer))
	return response, nil
}

// watched says when the body of a watch is closed.
type watched struct {
	io.ReadCloser
	end func()
}

func (w *watched) Close() error {
	w.end()
	return w.ReadCloser.Close()
}

// gate holds calls up until it is opened.
type gate struct {
	once sync.Once
	way  chan struct{}
}

func newGate() *gate { return &gate{way: make(chan struct{})} }

func (g *gate) open() { g.once.Do(func() { close(g.way) }) }

// pass waits until the gate is open, and reports false when the test is over.
func (g *gate) pass(x *exchange) bool {
	select {
	case <-g.way:
		return true
	case <-x.closing:
		return false
	}
}

// first does something at the arrival of a request, which is then lost.
func first(do func()) fault {
	return func(*exchange) (*http.Response, error) {
		do()
		return nil, errDropped
	}
}

// then does something when the answer is there, which is then lost.
func then(do func()) fault {
	return func(x *exchange) (*http.Response, error) {
		_, _ = x.forward() // the answer is in memory
		do()
		return nil, errDropped
	}
}

// dropBefore closes the connection at the arrival of the request.
func dropBefore() fault { return first(func() {}) }

// dropAfter closes the connection instead of passing the answer on.
func dropAfter() fault { return then(func() {}) }

// held keeps the request until the gate is open, then passes it on.
func held(g *gate) fault {
	return func(x *exchange) (*http.Response, error) {
		if !g.pass(x) {
			return nil, errDropped
		}
		return x.forward()
	}
}

// answerHeld passes the request on, and keeps the answer until the gate is open.
func answerHeld(g *gate) fault {
	return func(x *exchange) (*http.Response, error) {
		response, err := x.forward()
		if !g.pass(x) {
			return nil, errDropped
		}
		return response, err
	}
}

// unanswered keeps the request until its client has given up, or is no more, and then
// forgets it: what is never passed on is not under way once nobody waits for it.
func unanswered() fault {
	return func(x *exchange) (*http.Response, error) {
		select {
		case <-x.gone:
		case <-x.closing:
		}
		return nil, errDropped
	}
}

// outlasting keeps the request until its client has given up, and then passes it on.
func outlasting() fault {
	return func(x *exchange) (*http.Response, error) {
		select {
		case <-x.gone:
		case <-x.closing:
			return nil, errDropped
		}
		return x.forward()
	}
}

// tooLate keeps the answer until the client has given up.
func tooLate() fault {
	return func(x *exchange) (*http.Response, error) {
		response, err := x.forward()
		select {
		case <-x.gone:
		case <-x.closing:
		}
		return response, err
	}
}

// delayed keeps the answer for a while.
func delayed(d time.Duration) fault {
	return func(x *exchange) (*http.Response, error) {
		response, err := x.forward()
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-x.gone:
		case <-x.closing:
		}
		return response, err
	}
}

// truncated passes half of the answer on and closes the connection.
func truncated() fault {
	return func(x *exchange) (*http.Response, error) {
		response, err := x.forward()
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(response.Body)
		if err != nil || len(body) == 0 {
			return nil, errDropped
		}
		response.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:len(body)/2]), broken{}))
		return response, nil
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// answered answers in place of the target.
func answered(status int, body string) fault {
	return func(*exchange) (*http.Response, error) {
		return &http.Response{
			StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header:        http.Header{"Content-Type": {"application/json; charset=utf-8"}},
			Body:          io.NopCloser(bytes.NewReader([]byte(body))),
			ContentLength: int64(len(body)),
		}, nil
	}
}

// dam stands in watches: while it is closed, nothing that they tell gets through.
type dam struct {
	mu  sync.Mutex
	way *gate // nil: open
}

// close closes the dam until the gate is open.
func (d *dam) close(way *gate) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.way = way
}

// fault lets a watch begin, and go through the dam.
func (d *dam) fault(x *exchange) (*http.Response, error) {
	response, err := x.forward()
	if err == nil {
		response.Body = &dammed{ReadCloser: response.Body, dam: d, x: x}
	}
	return response, err
}

type dammed struct {
	io.ReadCloser
	dam *dam
	x   *exchange
}

func (r *dammed) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.dam.mu.Lock()
	way := r.dam.way
	r.dam.mu.Unlock()
	if way != nil && !way.pass(r.x) {
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}
