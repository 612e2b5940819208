package adminapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// readAndWrites sends one GET and each kind of write.
func readAndWrites(t testing.TB, c *Client) (writes map[string]error, read error) {
	t.Helper()
	p := rateLimiting()
	p.ID = id1
	_, read = c.PluginByID(t.Context(), id1)
	_, created := c.Create(t.Context(), p)
	_, put := c.Put(t.Context(), p)
	return map[string]error{"POST": created, "PUT": put, "DELETE": c.Delete(t.Context(), id1)}, read
}

func wantReasons(t testing.TB, c *Client, read, write Reason) {
	t.Helper()
	writes, got := readAndWrites(t, c)
	if ReasonForError(got) != read {
		t.Errorf("GET: got %q (%v), want %q", ReasonForError(got), got, read)
	}
	for method, err := range writes {
		if ReasonForError(err) != write {
			t.Errorf("%s: got %q (%v), want %q", method, ReasonForError(err), err, write)
		}
	}
}

// raw serves a protocol other than HTTP: talk gets each connection after its first bytes.
func raw(t testing.TB, talk func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 64<<10))
			talk(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

func TestRefusedConnection(t *testing.T) {
	srv := httptest.NewServer(nil)
	host := strings.TrimPrefix(srv.URL, "http://")
	srv.Close()
	c := trusting(t, "http://"+host)
	wantReasons(t, c, Unavailable, Unavailable)
	_, err := c.PluginByID(t.Context(), id1)
	if want := "get plugin: connect to " + host + ": connection refused"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestDroppedConnection(t *testing.T) {
	c := trusting(t, "http://"+raw(t, func(net.Conn) {}))
	wantReasons(t, c, Unavailable, UnknownOutcome)
}

func TestResetConnection(t *testing.T) {
	c := trusting(t, "http://"+raw(t, func(conn net.Conn) { _ = conn.(*net.TCPConn).SetLinger(0) }))
	wantReasons(t, c, Unavailable, UnknownOutcome)
	p := rateLimiting()
	_, err := c.Create(t.Context(), p)
	if strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("an address is in %q", err)
	}
}

func TestNotHTTP(t *testing.T) {
	c := trusting(t, "http://"+raw(t, func(conn net.Conn) { _, _ = io.WriteString(conn, "SSH-2.0-OpenSSH_9.6\r\n") }))
	wantReasons(t, c, Unavailable, UnknownOutcome)
	_, err := c.PluginByID(t.Context(), id1)
	if want := "get plugin: the response is not HTTP"; err.Error() != want {
		t.Errorf("got %q", err)
	}
}

func TestTruncatedAnswer(t *testing.T) {
	body := toJSON(t, wire(id1, "rate-limiting"))
	c := trusting(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", jsonType)
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusCreated)
		}
		_, _ = io.WriteString(w, body[:len(body)/2])
	}))
	wantReasons(t, c, Unavailable, UnknownOutcome)
}

func TestTooLargeAnswer(t *testing.T) {
	c := trusting(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", jsonType)
		w.Header().Set("Content-Length", fmt.Sprint(maxPageBody+1))
		w.WriteHeader(http.StatusOK)
	}))
	wantReasons(t, c, Unavailable, UnknownOutcome)
	_, err := c.PluginByID(t.Context(), id1)
	if want := "get plugin: the response is too large"; err.Error() != want {
		t.Errorf("got %q", err)
	}
	_, err = c.PluginsByTags(t.Context(), []string{"t"})
	if want := "list plugins: the response is too large"; err.Error() != want {
		t.Errorf("got %q", err)
	}
	piece := strings.Repeat(" ", 1<<20) // without saying how much there will be
	c = trusting(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", jsonType)
		for range maxEntityBody>>20 + 1 {
			_, _ = io.WriteString(w, piece)
		}
	}))
	_, err = c.PluginByID(t.Context(), id1)
	if want := "get plugin: the response is too large"; err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestTimeout(t *testing.T) {
	release := make(chan struct{})
	c := trusting(t, serve(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}), func(s *Settings) { s.RequestTimeout = 500 * time.Millisecond })
	t.Cleanup(func() { close(release) })
	wantReasons(t, c, Unavailable, UnknownOutcome)
	_, err := c.PluginByID(t.Context(), id1)
	if want := "get plugin: no answer in time"; err.Error() != want || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %q", err)
	}
}

func TestCancelledByTheCaller(t *testing.T) {
	arrived := make(chan struct{}, 1)
	c := trusting(t, serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the server sees a closed connection only then
		arrived <- struct{}{}
		<-r.Context().Done()
	}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { <-arrived; cancel() }()
	_, err := c.PluginByID(ctx, id1) // a write runs to its end
	wantReason(t, err, Unavailable)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestCancelledBeforeItIsSent(t *testing.T) {
	c := trusting(t, serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was made") }))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.Create(ctx, rateLimiting())
	wantReason(t, err, Unavailable)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestWaitingForATurn(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	c := trusting(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-release
		write(w, 200, jsonType, toJSON(t, wire(id1, "cors")))
	}), func(s *Settings) { s.MaxInFlight = 1 })
	first := make(chan error)
	go func() { _, err := c.PluginByID(context.Background(), id1); first <- err }()
	<-arrived
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := c.Create(ctx, rateLimiting())
	wantReason(t, err, Unavailable) // it never left
	close(release)
	if err := <-first; err != nil {
		t.Errorf("the first request: %v", err)
	}
}

func TestRateLimit(t *testing.T) {
	var requests atomic.Int32
	c := trusting(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		write(w, 200, jsonType, toJSON(t, wire(id1, "cors")))
	}), func(s *Settings) { s.RequestsPerSecond, s.Burst = 0.001, 2 })
	for range 2 {
		if _, err := c.PluginByID(t.Context(), id1); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // far less than the limiter asks for
	defer cancel()
	_, err := c.Create(ctx, rateLimiting())
	wantReason(t, err, Unavailable)
	if n := requests.Load(); n != 2 {
		t.Errorf("%d requests were made", n)
	}
	if c.scheduler.inFlight != 0 {
		t.Error("a slot was not released")
	}
}

func TestMaxInFlight(t *testing.T) {
	const limit = 3
	var now atomic.Int32
	var mu sync.Mutex
	var most int32
	c := trusting(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		mu.Lock()
		most = max(most, n)
		mu.Unlock()
		write(w, 200, jsonType, toJSON(t, wire(id1, "cors")))
	}), func(s *Settings) { s.MaxInFlight = limit })
	done := make(chan error)
	for range 30 {
		go func() { _, err := c.PluginByID(context.Background(), id1); done <- err }()
	}
	for range 30 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if most > limit {
		t.Errorf("%d requests at a time", most)
	}
}

// TestConnectionsAreReused: the default transport of Go keeps only two of them.
func TestConnectionsAreReused(t *testing.T) {
	const limit, rounds = 6, 10
	var opened atomic.Int32
	var together sync.WaitGroup // every request of a round needs its own connection
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		together.Done()
		together.Wait()
		write(w, 200, jsonType, toJSON(t, wire(id1, "cors")))
	}))
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	c := trusting(t, srv.URL, func(s *Settings) { s.MaxInFlight = limit + 1 }) // one is the resync's
	for range rounds {
		together.Add(limit)
		var round sync.WaitGroup
		for range limit {
			round.Go(func() {
				if _, err := c.PluginByID(t.Context(), id1); err != nil {
					t.Error(err)
				}
			})
		}
		round.Wait()
	}
	if n := opened.Load(); n > limit*rounds/2 { // a connection may come back a moment too late
		t.Errorf("%d connections for %d requests, %d at a time", n, limit*rounds, limit)
	}
}

func TestNetworkText(t *testing.T) {
	remote := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 8001}
	local := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 54321}
	local6 := &net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 54321, Zone: "eth0"}
	tests := []struct {
		err  error
		want string
	}{
		{&net.OpError{Op: "read", Net: "tcp", Source: local, Addr: remote, Err: syscall.ECONNRESET}, "connection reset by peer"},
		{&net.OpError{Op: "dial", Net: "tcp", Addr: remote, Err: syscall.EHOSTUNREACH}, "no route to host"},
		{&net.DNSError{Err: "no such host", Name: "kong", Server: "10.0.0.10:53", IsNotFound: true}, "no such host"},
		{&net.DNSError{Err: "server misbehaving", Name: "kong", Server: "10.0.0.10:53"}, "the host name could not be looked up"},
		{context.Canceled, "cancelled"},
		{io.ErrUnexpectedEOF, "the connection was closed before the end of the response"},
		{errors.New(`net/http: HTTP/1.x transport connection broken: malformed HTTP response "secret"`), "the response is not HTTP"},
		{&net.OpError{Op: "read", Net: "tcp", Source: local, Addr: remote, Err: errors.New("odd")}, "read tcp odd"},
		{&net.OpError{Op: "read", Net: "tcp", Source: local6, Addr: local6, Err: errors.New("odd")}, "read tcp odd"},
	}
	for _, tt := range tests {
		if got := networkText(tt.err); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.err, got, tt.want)
		}
	}
}

func TestTLS(t *testing.T) {
	trusted, other := newAuthority(t), newAuthority(t)
	later, ago := time.Now().Add(time.Hour), time.Now().Add(-time.Minute)
	good := trusted.keyPair(t, later, "127.0.0.1", "kong.internal")
	clientCert, clientKey := trusted.issue(t, later, "operator")
	otherCert, otherKey := other.issue(t, later, "operator")
	expired := trusted.keyPair(t, ago, "127.0.0.1")
	tests := []struct {
		name, reason string
		server       kongtest.Option
		change       func(*Settings)
		kind         Reason
		text         string
	}{
		{"trusted", "the CA is given", kongtest.WithTLS(good), func(s *Settings) { s.CA = trusted.pem }, "", ""},
		{"unknown authority", "the system does not know it", kongtest.WithTLS(good), func(*Settings) {}, TLS, "signed by unknown authority"},
		{"wrong authority", "the CA replaces the system's", kongtest.WithTLS(good), func(s *Settings) { s.CA = other.pem }, TLS, "signed by unknown authority"},
		{"not verified", "as asked", kongtest.WithTLS(good), func(s *Settings) { s.InsecureSkipVerify = true }, "", ""},
		{"server name", "expected instead of the host", kongtest.WithTLS(good), func(s *Settings) { s.CA, s.ServerName = trusted.pem, "kong.internal" }, "", ""},
		{"wrong server name", "not in the certificate", kongtest.WithTLS(good), func(s *Settings) { s.CA, s.ServerName = trusted.pem, "evil" }, TLS, "not evil"},
		{"expired", "without the current time", kongtest.WithTLS(expired), func(s *Settings) { s.CA = trusted.pem }, TLS, "has expired or is not yet valid"},
		{
			"client certificate", "asked for and shown", kongtest.WithTLS(good, trusted.pool()),
			func(s *Settings) { s.CA, s.ClientCert, s.ClientKey = trusted.pem, clientCert, clientKey }, "", "",
		},
		{
			"no client certificate", "asked for", kongtest.WithTLS(good, trusted.pool()),
			func(s *Settings) { s.CA = trusted.pem }, TLS, "client certificate",
		},
		{
			"wrong client certificate", "of somebody else", kongtest.WithTLS(good, trusted.pool()),
			func(s *Settings) { s.CA, s.ClientCert, s.ClientKey = trusted.pem, otherCert, otherKey }, TLS, "client certificate",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := kongtest.Start(t, tt.server)
			c := newClient(t, srv.URL(), tt.change)
			_, err := c.Probe(t.Context())
			if ReasonForError(err) != tt.kind {
				t.Fatalf("%s: got %v, want %q", tt.reason, err, tt.kind)
			}
			if tt.kind == "" {
				return
			}
			if !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "20") {
				t.Errorf("%s: got %q", tt.reason, err)
			}
			if _, err := c.Create(t.Context(), rateLimiting()); ReasonForError(err) != TLS {
				t.Errorf("%s: a write: got %v", tt.reason, err)
			}
			if n := len(srv.Journal().Writes()); n != 0 {
				t.Errorf("%d writes were made", n)
			}
		})
	}
}

func TestTLSToAPortWithout(t *testing.T) {
	url := answering(t, 200, jsonType, "{}")
	c := trusting(t, strings.Replace(url, "http://", "https://", 1))
	wantReasons(t, c, TLS, TLS)
	c = trusting(t, "https://"+raw(t, func(conn net.Conn) { _, _ = io.WriteString(conn, "SSH-2.0-OpenSSH_9.6\r\n") }))
	wantReasons(t, c, TLS, TLS)
}

func TestOldTLSIsRefused(t *testing.T) {
	ca := newAuthority(t)
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	quiet(srv)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{ca.keyPair(t, time.Now().Add(time.Hour), "127.0.0.1")}, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	c := trusting(t, srv.URL, func(s *Settings) { s.CA = ca.pem })
	wantReasons(t, c, TLS, TLS)
}

func TestHeaders(t *testing.T) {
	var got http.Header
	c := trusting(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		write(w, 201, jsonType, toJSON(t, wire(id1, "rate-limiting")))
	}), func(s *Settings) {
		s.Token, s.TokenHeader, s.UserAgent = token, "X-Token", "operator/1"
	})
	if _, err := c.Create(t.Context(), rateLimiting()); err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]string{"X-Token": token, "User-Agent": "operator/1", "Content-Type": "application/json"} {
		if len(got[header]) != 1 || got.Get(header) != want {
			t.Errorf("%s: got %q", header, got[header])
		}
	}
}

func TestToken(t *testing.T) {
	srv := kongtest.Start(t, kongtest.WithToken(DefaultTokenHeader, token))
	probed(t, srv.URL(), func(s *Settings) { s.Token = token })
	for _, wrong := range []string{"", "other"} {
		c := newClient(t, srv.URL(), func(s *Settings) { s.Token = wrong })
		_, err := c.Probe(t.Context())
		wantReason(t, err, Denied)
		if c.notFoundTrusted.Load() {
			t.Error("a 404 is believed")
		}
	}
}

// TestNeverLeft: if the transport fails before it sends, nothing was written.
func TestNeverLeft(t *testing.T) {
	broken := canned(func(*http.Request) (*http.Response, error) { return nil, errors.New("boom") })
	c := trusting(t, "http://kong:8001", func(s *Settings) { s.Transport = broken.wrap })
	wantReasons(t, c, Unavailable, Unavailable)
}

func TestBodyIsNotRepeated(t *testing.T) {
	c := trusting(t, "http://kong:8001")
	p := plugin.Plugin{Name: "x", Config: map[string]any{"secret": make(chan int)}}
	_, err := c.Create(t.Context(), p)
	wantReason(t, err, Invalid)
	if bytes.Contains([]byte(err.Error()), []byte("chan")) {
		t.Errorf("got %q", err)
	}
}

// Large configs can make a page of the usual size too large to read, and half of it not.
func TestTooLargePagesAreHalved(t *testing.T) {
	p := &pages{rows: manyPlugins(600), size: 250}
	var sizes []string
	c := trusting(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		size := r.URL.Query().Get("size")
		sizes = append(sizes, size)
		if size != "250" {
			w.Header().Set("Content-Type", jsonType)
			w.Header().Set("Content-Length", fmt.Sprint(maxPageBody+1))
			w.WriteHeader(http.StatusOK)
			return
		}
		p.ServeHTTP(w, r)
	}))
	plugins, err := c.PluginsByTags(t.Context(), []string{"t"})
	if err != nil || len(plugins) != 600 {
		t.Fatalf("%d plugins, %v", len(plugins), err)
	}
	if want := []string{"1000", "500", "250", "250", "250"}; !slices.Equal(sizes, want) {
		t.Errorf("asked for %v, want %v", sizes, want)
	}
}
