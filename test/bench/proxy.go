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
)

// exchange is one request of the operator and its answer.
type exchange struct {
	method string
	kind   string // the path with {id} for what differs, such as /plugins/{id}
	resync bool   // a part of what the operator asks once per gateway, whatever the number of bindings
	// firstPage of the list of plugins, with which a sweep's pages of them begin.
	firstPage bool
	began     time.Time
	ended     time.Time
	status    int // 0 when the gateway was away
}

func (e exchange) isWrite() bool { return e.method != http.MethodGet }

// proxy stands between the operator and Kong, counts what passes, and can be away. A real
// Kong is watched and taken away like the stand-in this way. The bare client goes through
// it too, so that it costs both the same.
type proxy struct {
	url     string
	server  *http.Server
	forward *httputil.ReverseProxy

	mu          sync.Mutex
	exchanges   []exchange
	idle        map[net.Conn]bool // connections without a request
	unreachable bool
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
	p := &proxy{url: "http://" + listener.Addr().String(), awaited: map[string]chan time.Time{}, idle: map[net.Conn]bool{}}
	p.forward = &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = target.Host },
		Transport: &http.Transport{MaxIdleConnsPerHost: 64},
		ErrorLog:  log.New(io.Discard, "", 0), // of requests that the operator gave up
	}
	if pace {
		p.forward.ModifyResponse = delayLikeKong
	}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: time.Minute, ConnState: p.connState}
	go func() { _ = p.server.Serve(listener) }() // always ErrServerClosed
	return p, nil
}

// delayLikeKong delays an answer of the stand-in by what Kong 3.9.1 with PostgreSQL took on a
// two-core machine: a write 15 ms, as with eight of them at a time; a read 5 ms, and a page
// of a thousand rows, which are 0.9 MB, 60 ms.
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

// ServeHTTP passes a request on.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := exchange{method: r.Method, began: time.Now()}
	e.kind, e.resync = classify(r.URL)
	p.mu.Lock()
	away, swept := p.unreachable, p.onResync
	p.mu.Unlock()
	e.firstPage = e.kind == "/plugins" && !e.isWrite() && !r.URL.Query().Has("offset")
	if e.firstPage && swept != nil {
		swept()
	}
	if away {
		p.record(e, nil)
		panic(http.ErrAbortHandler) // closes the connection without an answer
	}
	var sent []byte
	if e.isWrite() {
		sent, _ = io.ReadAll(r.Body) // what broke off is Kong's to refuse
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	answered := &statusWriter{ResponseWriter: w}
	defer func() { // also when the operator hung up, which ends in a panic
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
	for text, found := range p.awaited {
		if bytes.Contains(sent, []byte(text)) {
			found <- e.ended
			delete(p.awaited, text)
		}
	}
}

// awaitWrite tells when a write with this text in its body was answered.
func (p *proxy) awaitWrite(text string) <-chan time.Time {
	found := make(chan time.Time, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.awaited[text] = found
	return found
}

// setUnreachable makes the gateway go, and come back. It closes idle connections, as a gateway
// does that goes: Go's transport would repeat a request on each of them.
func (p *proxy) setUnreachable(away bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unreachable = away
	for conn := range p.idle {
		if away {
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

// setOnResync has something called when the operator begins to list its plugins.
func (p *proxy) setOnResync(call func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onResync = call
}

// mark is where exchanges end now.
func (p *proxy) mark() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.exchanges)
}

// since are the exchanges that ended after a mark.
func (p *proxy) since(mark int) []exchange {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]exchange(nil), p.exchanges[mark:]...)
}

// classify names what is asked, and says whether it is a part of a sweep.
func classify(u *url.URL) (kind string, sweep bool) {
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
		segments[1] = "{id}"
		return "/" + strings.Join(segments, "/"), false
	}
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController through, which the reverse proxy flushes with.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
