package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// lines is a writer that hands over what is written, piece by piece.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- strings.TrimSpace(string(b))
	return len(b), nil
}

func TestServesUntilStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	out, log := make(lines), make(lines, 10)
	code := make(chan int)
	go func() {
		code <- run(ctx, []string{"--listen", "127.0.0.1:0", "--db-less", "--version-string", "3.5.0", "-v"}, out, log)
	}()
	url := <-out
	resp, err := http.Get(url + "/")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(body), `"version":"3.5.0"`) || !strings.Contains(string(body), `"database":"off"`) {
		t.Errorf("root: %.200s", body)
	}
	if line := <-log; line != "GET / 200" {
		t.Errorf("logged %q", line)
	}
	cancel()
	if c := <-code; c != 0 {
		t.Errorf("exit code %d", c)
	}
}

func TestRateLimit(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	out := make(lines)
	code := make(chan int)
	go func() {
		code <- run(ctx, []string{"--listen", "127.0.0.1:0", "--rate-limit", "0.001", "--rate-burst", "2"}, out, io.Discard)
	}()
	url := <-out
	var statuses []int
	for range 3 {
		resp, err := http.Get(url + "/status")
		if err != nil {
			t.Fatal(err)
		}
		statuses = append(statuses, resp.StatusCode)
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(statuses, []int{200, 200, 429}) {
		t.Errorf("statuses %v", statuses)
	}
	cancel()
	if c := <-code; c != 0 {
		t.Errorf("exit code %d", c)
	}
}

func TestRefuses(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	busy := make(lines, 1)
	hold, release := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { run(hold, []string{"--listen", "127.0.0.1:0"}, busy, io.Discard) })
	taken := strings.TrimPrefix(<-busy, "http://")
	for _, tc := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--listen", "0.0.0.0:8001"}, 2, "not a loopback address"},
		{[]string{"--listen", "example.com:8001"}, 2, "not a loopback address"},
		{[]string{"--listen", "8001"}, 2, "missing port"},
		{[]string{"extra"}, 2, "unexpected argument"},
		{[]string{"--nope"}, 2, "flag provided but not defined"},
		{[]string{"--rate-limit", "-1"}, 2, "--rate-limit must not be negative"},
		{[]string{"--rate-limit", "1", "--rate-burst", "0"}, 2, "--rate-burst at least 1"},
		{[]string{"--listen", taken}, 1, "address already in use"},
		{[]string{"-h"}, 0, "loopback address"},
	} {
		var stderr bytes.Buffer
		if code := run(ctx, tc.args, io.Discard, &stderr); code != tc.code || !strings.Contains(stderr.String(), tc.says) {
			t.Errorf("%v: exit code %d, says %q", tc.args, code, stderr.String())
		}
	}
	release()
	wg.Wait()
}
