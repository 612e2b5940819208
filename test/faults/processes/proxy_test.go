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

// proxy stands between a manager and Kong or the API server, on a free port of 127.0.0.1.
type proxy struct {
	target    *url.URL
	transport *http.Transport
	name      func(r *http.Request, body []byte) call
	log       *callLog
	address   string
	server    *http.Server
	closing   chan struct{}
	serving   sync.WaitGroup // grows only under mu, before close

	mu     sync.Mutex
	closed bool
	rules  []*rule
}

// rule is a fault at some calls.
type rule struct {
	matches func(*call) bool
	skip    int // so many calls pass first
	limit   int // 0: no limit
	fault   fault
	hit     chan struct{} // closed when the fault first fires
	seen    int
}

// exchange is one request under way.
type exchange struct {
	call    *call
	gone    <-chan struct{} // closed when the client has given up or ended
	closing <-chan struct{} // the test is over
	forward func() (*http.Response, error)
}

// fault handles a request instead of forwarding it. An error closes the client's connection.
type fault func(*exchange) (*http.Response, error)

var errDropped = errors.New("dropped by the test")

// startProxy starts a proxy to a target. With a certificate it serves TLS.
func startProxy(t *testing.T, calls *callLog, target *url.URL, upstream *tls.Config, certificate *tls.Certificate, name func(*http.Request, []byte) call) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	l := &proxy{
		target: target, log: calls, name: name,
		address: listener.Addr().String(),
		closing: make(chan struct{}),
		// TLSNextProto disables HTTP/2, so that each connection carries one request at a time.
		// Only then can a fault close the connection of one request.
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

func (p *proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	close(p.closing)
	_ = p.server.Close() // what is still under way is cut
	p.serving.Wait()
	p.transport.CloseIdleConnections()
}

// enter counts a request, unless the proxy is closed.
func (p *proxy) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.serving.Add(1)
	}
	return !p.closed
}

// addRule adds a fault.
func (p *proxy) addRule(r rule) *rule {
	r.hit = make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, &r)
	return &r
}

// removeRule removes a fault.
func (p *proxy) removeRule(r *rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = slices.DeleteFunc(p.rules, func(other *rule) bool { return other == r })
}

// faultFor returns the fault of the first rule that applies to a call.
func (p *proxy) faultFor(c *call) fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	var hit *rule
	for _, r := range p.rules {
		if !r.matches(c) {
			continue
		}
		n := r.seen - r.skip
		r.seen++
		if hit == nil && n >= 0 && (r.limit == 0 || n < r.limit) {
			hit = r
		}
	}
	if hit == nil {
		return nil
	}
	select {
	case <-hit.hit:
	default:
		close(hit.hit)
	}
	return hit.fault
}

// RoundTrip forwards a request, or applies a fault to it.
func (p *proxy) RoundTrip(r *http.Request) (*http.Response, error) {
	if !p.enter() {
		return nil, errDropped
	}
	defer p.serving.Done()
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	c := p.log.begin(p.name(r, body))
	x := &exchange{
		call: c, gone: r.Context().Done(), closing: p.closing,
		forward: func() (*http.Response, error) { return p.forward(r, c, body) },
	}
	do := p.faultFor(c)
	if do == nil {
		do = func(x *exchange) (*http.Response, error) { return x.forward() }
	}
	response, err := do(x)
	if err != nil {
		p.log.end(c, 0)
		return nil, err
	}
	if !c.lasts {
		p.log.end(c, response.StatusCode)
		return response, nil
	}
	response.Body = &watched{ReadCloser: response.Body, end: func() { p.log.end(c, response.StatusCode) }}
	return response, nil
}

// forward sends the request and reads the whole response. The request continues when the client
// is gone, as on a network. A watch does not.
func (p *proxy) forward(r *http.Request, c *call, body []byte) (*http.Response, error) {
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
	response, err := p.transport.RoundTrip(out)
	if err != nil || c.lasts {
		return response, err
	}
	defer func() { _ = response.Body.Close() }() // it was read completely
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(answer))
	return response, nil
}

// watched reports the close of a watch's body.
type watched struct {
	io.ReadCloser
	end func()
}

func (w *watched) Close() error {
	w.end()
	return w.ReadCloser.Close()
}

// gate holds calls until it is opened.
type gate struct {
	once sync.Once
	way  chan struct{}
}

func newGate() *gate { return &gate{way: make(chan struct{})} }

func (g *gate) open() { g.once.Do(func() { close(g.way) }) }

// pass waits until the gate is open. It returns false when the test is over.
func (g *gate) pass(x *exchange) bool {
	select {
	case <-g.way:
		return true
	case <-x.closing:
		return false
	}
}

// beforeRequest calls a function when a request arrives, and drops the request.
func beforeRequest(do func()) fault {
	return func(*exchange) (*http.Response, error) {
		do()
		return nil, errDropped
	}
}

// afterResponse calls a function when the response has arrived, and drops the response.
func afterResponse(do func()) fault {
	return func(x *exchange) (*http.Response, error) {
		_, _ = x.forward() // the answer is in memory
		do()
		return nil, errDropped
	}
}

// dropBefore closes the connection when the request arrives.
func dropBefore() fault { return beforeRequest(func() {}) }

// dropAfter closes the connection when the response has arrived.
func dropAfter() fault { return afterResponse(func() {}) }

// holdRequest holds the request until the gate is open, then forwards it.
func holdRequest(g *gate) fault {
	return func(x *exchange) (*http.Response, error) {
		if !g.pass(x) {
			return nil, errDropped
		}
		return x.forward()
	}
}

// holdResponse forwards the request, and holds the response until the gate is open.
func holdResponse(g *gate) fault {
	return func(x *exchange) (*http.Response, error) {
		response, err := x.forward()
		if !g.pass(x) {
			return nil, errDropped
		}
		return response, err
	}
}

// neverAnswer holds the request until its client is gone, and then drops it. A request that the
// proxy never forwards must not stay under way.
func neverAnswer() fault {
	return func(x *exchange) (*http.Response, error) {
		select {
		case <-x.gone:
		case <-x.closing:
		}
		return nil, errDropped
	}
}

// forwardAfterClientGone holds the request until its client is gone, and then forwards it.
func forwardAfterClientGone() fault {
	return func(x *exchange) (*http.Response, error) {
		select {
		case <-x.gone:
		case <-x.closing:
			return nil, errDropped
		}
		return x.forward()
	}
}

// respondAfterClientGone forwards the request, and holds the response until the client is gone.
func respondAfterClientGone() fault {
	return func(x *exchange) (*http.Response, error) {
		response, err := x.forward()
		select {
		case <-x.gone:
		case <-x.closing:
		}
		return response, err
	}
}

// delayResponse delays the response.
func delayResponse(d time.Duration) fault {
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

// truncateResponse passes on half of the response and closes the connection.
func truncateResponse() fault {
	return func(x *exchange) (*http.Response, error) {
		response, err := x.forward()
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(response.Body)
		if err != nil || len(body) == 0 {
			return nil, errDropped
		}
		response.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:len(body)/2]), brokenBody{}))
		return response, nil
	}
}

type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// respondWith responds in place of the target.
func respondWith(status int, body string) fault {
	return func(*exchange) (*http.Response, error) {
		return &http.Response{
			StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header:        http.Header{"Content-Type": {"application/json; charset=utf-8"}},
			Body:          io.NopCloser(bytes.NewReader([]byte(body))),
			ContentLength: int64(len(body)),
		}, nil
	}
}

// watchGate holds watch events back while it is closed.
type watchGate struct {
	mu  sync.Mutex
	way *gate // nil: open
}

// close holds all events until the gate is open.
func (d *watchGate) close(way *gate) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.way = way
}

// fault starts a watch whose events go through the gate.
func (d *watchGate) fault(x *exchange) (*http.Response, error) {
	response, err := x.forward()
	if err == nil {
		response.Body = &gatedBody{ReadCloser: response.Body, gate: d, x: x}
	}
	return response, err
}

type gatedBody struct {
	io.ReadCloser
	gate *watchGate
	x    *exchange
}

func (r *gatedBody) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.gate.mu.Lock()
	way := r.gate.way
	r.gate.mu.Unlock()
	if way != nil && !way.pass(r.x) {
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}
