package adminapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// schemaRequests counts the requests for schemas.
func schemaRequests(srv *kongtest.Server) int {
	n := 0
	for _, r := range srv.Journal().Requests() {
		if len(r.Path) > len("/schemas/plugins/") && r.Path[:len("/schemas/plugins/")] == "/schemas/plugins/" {
			n++
		}
	}
	return n
}

func TestSchema(t *testing.T) {
	srv := kongtest.Start(t)
	c := probed(t, srv.URL())
	ask := func(want int) {
		t.Helper()
		schema, err := c.Schema(t.Context(), "cors")
		if err != nil || schema == nil {
			t.Fatalf("got %v, %v", schema, err)
		}
		if n := schemaRequests(srv); n != want {
			t.Errorf("%d requests, want %d", n, want)
		}
	}
	ask(1)
	ask(1)
	if _, err := c.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask(1)
	srv.SetDatabaseDown(true) // says nothing about versions
	if _, err := c.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask(1)
	srv.SetDatabaseDown(false)
	srv.SetVersion("3.9.2")
	if _, err := c.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask(2)

	for range 2 {
		_, err := c.Schema(t.Context(), "nope")
		if failure(t, err, NotFound).Message == "" {
			t.Error("no message")
		}
	}
	if n := schemaRequests(srv); n != 4 {
		t.Errorf("NotFound is kept: %d requests", n)
	}
	c.notFoundTrusted.Store(false)
	_, err := c.Schema(t.Context(), "nope")
	wantReason(t, err, Unavailable)
}

func TestSchemaBeforeAProbe(t *testing.T) {
	srv := kongtest.Start(t)
	c := newClient(t, srv.URL())
	for range 2 {
		if _, err := c.Schema(t.Context(), "cors"); err != nil {
			t.Fatal(err)
		}
	}
	if n := schemaRequests(srv); n != 2 {
		t.Errorf("a schema of an unknown version is kept: %d requests", n)
	}
}

func TestMalformedSchema(t *testing.T) {
	for _, body := range []string{"", "[]", "null", "{}", `{"fields":`, htmlBody} {
		c := trusting(t, answering(t, 200, jsonType, body))
		_, err := c.Schema(t.Context(), "cors")
		wantReason(t, err, Unavailable)
	}
}

func TestSchemaSingleFlight(t *testing.T) {
	var requests atomic.Int32
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	srv := probed(t, kongtest.Start(t).URL())
	a, failed := srv.call(t.Context(), request{op: opGetSchema, method: http.MethodGet, path: "/schemas/plugins/cors"}, 200)
	if failed != nil {
		t.Fatal(failed)
	}
	c := trusting(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		arrived <- struct{}{}
		<-release
		write(w, 200, jsonType, string(a.body))
	}))
	c.schemas.invalidateUnless("3.9.1")

	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() { _, err := c.Schema(ctx, "cors"); first <- err }()
	<-arrived
	others := make(chan error)
	for range 5 {
		go func() { _, err := c.Schema(context.Background(), "cors"); others <- err }()
	}
	cancel() // the others do not depend on the first
	if err := <-first; !errors.Is(err, context.Canceled) || ReasonForError(err) != Unavailable {
		t.Errorf("the first: %v", err)
	}
	close(release)
	for range 5 {
		if err := <-others; err != nil {
			t.Errorf("another: %v", err)
		}
	}
	if n := requests.Load(); n > 2 { // a goroutine may come after the flight has landed: the cache answers
		t.Errorf("%d requests", n)
	}
	if _, ok := c.schemas.get("cors"); !ok {
		t.Error("nothing is kept")
	}
}

func TestSchemaCache(t *testing.T) {
	var cache schemaCache
	schema := &plugin.Schema{}
	cache.put(cache.generation(), "early", schema, 1)
	if _, ok := cache.get("early"); ok {
		t.Error("a schema of nobody knows which version is kept")
	}
	cache.invalidateUnless("1")
	for i := range maxSchemas + 10 {
		for range 2 {
			cache.put(cache.generation(), fmt.Sprint(i), schema, 1)
		}
	}
	if len(cache.byKey) != maxSchemas || len(cache.order) != maxSchemas {
		t.Errorf("%d schemas are kept, %d in order", len(cache.byKey), len(cache.order))
	}
	if _, ok := cache.get("9"); ok {
		t.Error("the oldest is kept")
	}
	cache.put(cache.generation(), "large", schema, maxSchemaBytes)
	if _, ok := cache.get("large"); !ok || len(cache.byKey) != 1 || len(cache.order) != 1 {
		t.Errorf("%d schemas are kept beside one that fills the cache", len(cache.byKey)-1)
	}
	cache.put(cache.generation(), "small", schema, 1)
	if _, ok := cache.get("small"); !ok || cache.bytes != 1 {
		t.Errorf("%d bytes are kept", cache.bytes)
	}
	old := cache.generation()
	cache.invalidateUnless("2")
	cache.put(old, "late", schema, 1)
	if len(cache.byKey) != 0 {
		t.Error("a schema outlived its version")
	}
}
