package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

// served is a connection to the server, with a deadline for everything.
type served struct {
	t *testing.T
	net.Conn
	answers *bufio.Reader
}

func dial(t *testing.T, address string) served {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return served{t, conn, bufio.NewReader(conn)}
}

// ask sends a request and returns the status, 0 if the server closed the connection.
func (c served) ask(header string) int {
	c.t.Helper()
	_, _ = fmt.Fprintf(c, "GET /hook HTTP/1.1\r\nHost: x\r\nX-Long: %s\r\n\r\n", header) // a closed connection has no answer
	response, err := http.ReadResponse(c.answers, nil)
	if err != nil {
		return 0
	}
	if response.StatusCode == http.StatusOK { // the server closes the connection after any other
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			c.t.Error(err)
		}
	}
	return response.StatusCode
}

// Anybody can open connections to the webhooks. They take memory before anything on them is a request.
func TestConnectionsOfTheWebhooksAreBounded(t *testing.T) {
	s := boundedServer{Server: webhook.NewServer(webhook.Options{}), reading: semaphore.NewWeighted(maxReviews)}
	s.Register("/hook", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.serve(ctx, newBoundedListener(listener, 2)) }()
	address := listener.Addr().String()

	first, second := dial(t, address), dial(t, address)
	for _, conn := range []served{first, second, first} {
		if got := conn.ask(""); got != http.StatusOK {
			t.Errorf("within the bound: %d", got)
		}
	}
	if got := dial(t, address).ask(""); got != 0 {
		t.Errorf("one too many: %d", got)
	}
	if got := first.ask(strings.Repeat("x", maxHeader+8<<10)); got != http.StatusRequestHeaderFieldsTooLarge {
		t.Fatalf("a long header: %d", got)
	}
	// The connection with the long header is closed, and makes room.
	for end := time.Now().Add(30 * time.Second); ; {
		third := dial(t, address)
		status := third.ask("")
		_ = third.Close()
		if status == http.StatusOK {
			break
		}
		if time.Now().After(end) {
			t.Fatal("a connection that ended makes no room")
		}
		<-time.After(20 * time.Millisecond)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
