package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
)

// Bounds on the connections of the webhook server. Each takes some memory before anything of it is a
// request, and anybody can open one.
const (
	// maxConnections at a time. One more is closed at once, so that the API server goes on without an answer.
	maxConnections = 256
	// maxHeader is in bytes. The API server sends some hundreds.
	maxHeader = 16 << 10
	// headerTimeout is the time for the TLS handshake, and again for a header.
	headerTimeout = 5 * time.Second
	// idleTimeout is how long a connection stays open between two requests.
	idleTimeout = 90 * time.Second
	// closingTimeout is the time for the requests that are being answered when the process stops.
	closingTimeout = 5 * time.Second
)

// Start implements manager.Runnable. It does what the server of controller-runtime does, which bounds the
// header of a connection to 1 MiB in 32 s, and does not bound the connections.
func (s boundedServer) Start(ctx context.Context) error {
	certificates, err := certwatcher.New(filepath.Join(s.certDir, corev1.TLSCertKey), filepath.Join(s.certDir, corev1.TLSPrivateKeyKey))
	if err != nil {
		return err
	}
	go func() {
		if err := certificates.Start(ctx); err != nil {
			ctrl.Log.WithName("webhooks").Error(err, "a new certificate is not noticed until the next start")
		}
	}()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("", strconv.Itoa(s.port)))
	if err != nil {
		return err
	}
	return s.serve(ctx, tls.NewListener(newBoundedListener(listener, maxConnections), &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: certificates.GetCertificate,
		// HTTP/2 is off because of CVE-2023-44487 and CVE-2023-39325.
		NextProtos: []string{"http/1.1"},
	}))
}

// serve answers requests until ctx ends.
func (s boundedServer) serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           s.WebhookMux(),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		MaxHeaderBytes:    maxHeader,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		<-ctx.Done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closingTimeout)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close() // the process ends
		}
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-closed
	return nil
}

// boundedListener closes connections beyond a number of open ones. One that waited instead would keep its
// client waiting.
type boundedListener struct {
	net.Listener
	free chan struct{}
}

func newBoundedListener(listener net.Listener, connections int) boundedListener {
	l := boundedListener{listener, make(chan struct{}, connections)}
	for range connections {
		l.free <- struct{}{}
	}
	return l
}

// Accept implements net.Listener.
func (l boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case <-l.free:
			return &boundedConn{Conn: conn, release: sync.OnceFunc(func() { l.free <- struct{}{} })}, nil
		default:
			_ = conn.Close() // nothing was sent on it
		}
	}
}

type boundedConn struct {
	net.Conn
	release func()
}

// Close implements net.Conn.
func (c *boundedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
