package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func parse(t *testing.T, text string) entity {
	t.Helper()
	var e entity
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestCanonicalIgnoresOnlyTheOrderOfSets(t *testing.T) {
	one := parse(t, `{"id":"1","protocols":["http","https"],"config":{"minute":5,"list":[{"a":1},{"b":2}]}}`)
	same := parse(t, `{"config":{"list":[{"b":2},{"a":1}],"minute":5},"protocols":["https","http"],"id":"1"}`)
	other := parse(t, `{"id":"1","protocols":["http","https"],"config":{"minute":6,"list":[{"a":1},{"b":2}]}}`)
	if one.canonical() != same.canonical() {
		t.Errorf("%s is not %s", one.canonical(), same.canonical())
	}
	if one.canonical() == other.canonical() {
		t.Error("another minute, and the same text")
	}
}

func TestDifferenceListsChangedPlugins(t *testing.T) {
	before := map[string]entity{"a": {"id": "a", "updated_at": 1.0}, "b": {"id": "b"}, "c": {"id": "c"}}
	after := map[string]entity{"a": {"id": "a", "updated_at": 2.0}, "b": {"id": "b"}, "d": {"id": "d"}}
	got := map[string]string{}
	for _, c := range difference(before, after) {
		got[c.plugin.id()] = c.kind
	}
	if diff := cmp.Diff(map[string]string{"a": "update", "c": "delete", "d": "create"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestPrinterCountsChecks(t *testing.T) {
	var out strings.Builder
	tell := &printer{out: &out, failureContext: func() string { return "the last line" }}
	tell.checkf(nil, "this holds")
	tell.checkf(errors.New("it is otherwise"), "this does not")
	if tell.passed != 1 || tell.failed != 1 {
		t.Errorf("held %d, broken %d", tell.passed, tell.failed)
	}
	want := "   ✓ this holds\n   ✗ this does not\n     it is otherwise\n     | the last line\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

// The stand-in distinguishes the demo's requests from the operator's.
func TestStandInObservesTheOperator(t *testing.T) {
	s := newStandIn()
	defer s.shutdown()
	demo := newAdmin(s.URL())
	seen, err := s.watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := demo.do(t.Context(), "POST", "/plugins", entity{"name": "correlation-id"}, nil); err != nil {
		t.Fatal(err)
	}
	postAsOperator(t, s.URL()+"/plugins", `{"name":"cors"}`)
	got, err := seen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(got.of("create")) != 1 || got.of("create")[0].plugin.text("name") != "cors" || got.writes != 1 || got.reads != 0 {
		t.Errorf("saw %+v", got)
	}
}

func postAsOperator(t *testing.T, url, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
}
