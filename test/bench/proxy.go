package main

import (
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// exchange is one request of the operator and its response.
type exchange struct {
	method string
	kind   string // the path with {id} for what differs, such as /plugins/{id}
	resync bool   // part of what the operator requests once per gateway, for any number of bindings
	// firstPage: the first page of the list of plugins, with which a resync begins.
	firstPage bool
	began     time.Time
	ended     time.Time
	status    int // 0 during an outage
}

func (e exchange) isWrite() bool { return e.method != http.MethodGet }

// proxy stands between the operator and Kong. It counts the requests and can become
// unreachable. So the bench observes a real Kong like the stand-in, and can simulate its
// outage. The bare client uses the proxy too, so that it costs both the same.
type proxy struct {
	url     string
	server  *http.Server
	forward *httputil.ReverseProxy

	mu          sync.Mutex
	exchanges   []exchange
	written     map[string]int    // writes that succeeded so far, by method
	idle        map[net.Conn]bool // connections without a request
	unreachable bool
	limiter     *rate.Limiter             // nil: no limit
	awaited     map[string]chan time.Time // by a text in the body of a write
	onResync    func()
}

func startProxy(upstream string, pace bool) (*proxy, error) {
	target, err := url.Parse(upstream)
	if err != nil {
		return nil, err
	}
	var config net.ListenConfig
	listener, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{url: "http://" + listener.Addr().String(), awaited: map[string]chan time.Time{}, idle: map[net.Conn]bool{}, written: map[string]int{}}
	p.forward = &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = target.Host },
		Transport: &http.Transport{MaxIdleConnsPerHost: 64},
		ErrorLog:  log.New(io.Discard, "", 0), // of requests that the operator cancelled
	}
	if pace {
		p.forward.ModifyResponse = delayLikeKong
	}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: time.Minute, ConnState: p.connState}
	go func() { _ = p.server.Serve(listener) }() // always ErrServerClosed
	return p, nil
}

// delayLikeKong delays a response of the stand-in by the time that Kong 3.9.1 with PostgreSQL
// took on a two-core machine: 15 ms for a write with eight of them at a time, 5 ms for a read,
// and 60 ms for a page of a thousand rows (0.9 MB).
func delayLikeKong(res *http.Response) error {
	const write, read, perMegabyte = 15 * time.Millisecond, 5 * time.Millisecond, 60 * time.Millisecond
	pause := write
	if res.Request.Method == http.MethodGet {
		pause = read + time.Duration(float64(perMegabyte)*float64(max(res.ContentLength, 0))/1e6)
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-res.Request.Context().Done():
	}
	return nil
}

func (p *proxy) close() { _ = p.server.Close() }

// ServeHTTP forwards a request.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := exchange{method: r.Method, began: time.Now()}
	e.kind, e.resync = classify(r.URL)
	p.mu.Lock()
	unreachable, onResync := p.unreachable, p.onResync
	refused := p.limiter != nil && !p.limiter.Allow()
	p.mu.Unlock()
	e.firstPage = e.kind == "/plugins" && !e.isWrite() && !r.URL.Query().Has("offset")
	if e.firstPage && onResync != nil {
		onResync()
	}
	if unreachable {
		p.record(e, nil)
		panic(http.ErrAbortHandler) // closes the connection without an answer
	}
	if refused {
		p.refuse(w, e)
		return
	}
	var sent []byte
	if e.isWrite() {
		sent, _ = io.ReadAll(r.Body) // Kong rejects a truncated body
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	answered := &statusWriter{ResponseWriter: w}
	defer func() { // also after a panic, when the operator has closed the connection
		e.status = answered.status
		p.record(e, sent)
	}()
	p.forward.ServeHTTP(answered, r)
}

func (p *proxy) record(e exchange, sent []byte) {
	e.ended = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.exchanges = append(p.exchanges, e)
	if e.status >= http.StatusMultipleChoices {
		return
	}
	if e.status > 0 {
		p.written[e.method]++
	}
	for text, found := range p.awaited {
		if bytes.Contains(sent, []byte(text)) {
			found <- e.ended
			delete(p.awaited, text)
		}
	}
}

// awaitWrite returns a channel that receives the time of the response to a write with this text
// in its body.
func (p *proxy) awaitWrite(text string) <-chan time.Time {
	found := make(chan time.Time, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.awaited[text] = found
	return found
}

// setUnreachable starts or ends an outage. It closes idle connections, as a real outage does.
// Go's transport would repeat a request on each of them.
func (p *proxy) setUnreachable(unreachable bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unreachable = unreachable
	for conn := range p.idle {
		if unreachable {
			_ = conn.Close()
		}
	}
}

func (p *proxy) connState(conn net.Conn, state http.ConnState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if state == http.StateIdle {
		p.idle[conn] = true
	} else {
		delete(p.idle, conn)
	}
}

// setOnResync sets a function to be called when the operator begins to list its plugins.
func (p *proxy) setOnResync(call func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onResync = call
}

// countWritten returns how many writes with that method have succeeded. Unlike since, it costs the same
// however many requests there were, so it is for polling.
func (p *proxy) countWritten(method string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.written[method]
}

// mark returns a position for since.
func (p *proxy) mark() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.exchanges)
}

// since returns the exchanges that ended after a mark.
func (p *proxy) since(mark int) []exchange {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]exchange(nil), p.exchanges[mark:]...)
}

// classify names a request, and reports whether it is part of a resync.
func classify(u *url.URL) (kind string, resync bool) {
	segments := strings.Split(strings.Trim(u.Path, "/"), "/")
	switch {
	case u.Path == "/" || u.Path == "/status":
		return u.Path, true
	case segments[0] == "schemas":
		return "/schemas/plugins/{name}", true // once per plugin name and process
	case len(segments) == 1:
		tags := u.Query().Get("tags")
		if strings.Contains(tags, "k8s-name:") {
			return u.Path + "?tags of one binding", false
		}
		return u.Path, true
	default:
		// A resync asks for a few entities one by one, however many bindings name them.
		entity := len(segments) == 2 && segments[0] != "plugins"
		segments[1] = "{id}"
		return "/" + strings.Join(segments, "/"), entity
	}
}

// statusWriter records the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the original writer. The reverse proxy needs that
// to flush.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
