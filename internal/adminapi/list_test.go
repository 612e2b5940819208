package adminapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// answerer is a client whose requests answer gets instead of a network.
func answerer(t testing.TB, answer func(*http.Request) *http.Response, change ...func(*Settings)) *Client {
	t.Helper()
	transport := canned(func(r *http.Request) (*http.Response, error) {
		if err := r.Context().Err(); err != nil {
			return nil, err
		}
		return answer(r), nil
	})
	return trusting(t, "http://kong:8001", append(change, func(s *Settings) { s.Transport = transport.wrap })...)
}

// endless answers every request for a page with the given rows and one more offset.
func endless(t testing.TB, rows []map[string]any) func(*http.Request) *http.Response {
	t.Helper()
	n := 0
	data := toJSON(t, rows)
	return func(*http.Request) *http.Response {
		n++
		return newResponse(200, jsonType, fmt.Sprintf(`{"data":%s,"next":"/x","offset":"%d"}`, data, n))
	}
}

func TestAnEndlessListEndsAtTheBoundOfPages(t *testing.T) {
	requests := 0
	next := endless(t, manyPlugins(1))
	c := answerer(t, func(r *http.Request) *http.Response { requests++; return next(r) })
	_, err := c.PluginAt(t.Context(), "none", plugin.Scope{})
	if e := failure(t, err, Unavailable); e.Message != "the list has more than 4000 pages" {
		t.Error(e)
	}
	if requests != maxPages+1 {
		t.Errorf("%d requests", requests)
	}
}

func TestASlowListEndsAtItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := endless(t, manyPlugins(1))
		c := answerer(t, func(r *http.Request) *http.Response {
			select {
			case <-time.After(4 * time.Second): // below the request time-out
			case <-r.Context().Done():
			}
			return next(r)
		})
		for name, read := range map[string]func() error{
			"plugins of a scope": func() error { _, err := c.PluginAt(t.Context(), "none", plugin.Scope{}); return err },
			"plugins by tags":    func() error { return c.VisitByTags(t.Context(), []string{"t"}, func(plugin.Plugin) {}) },
			"consumers":          func() error { _, err := c.Resolve(t.Context(), Consumer, EntityRef{CustomID: "x"}); return err },
		} {
			start := time.Now()
			e := failure(t, read(), Unavailable)
			if took := time.Since(start); took < 59*time.Second || took > 61*time.Second {
				t.Errorf("%s: %v", name, took)
			}
			if e.Message != "the list did not end within 1m0s" {
				t.Errorf("%s: %v", name, e)
			}
		}
	})
}

// The caller's own deadline is not the list's.
func TestACancelledListSaysSo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	next := endless(t, manyPlugins(1))
	c := answerer(t, func(r *http.Request) *http.Response { cancel(); return next(r) })
	_, err := c.PluginAt(ctx, "none", plugin.Scope{})
	if e := failure(t, err, Unavailable); strings.Contains(e.Message, "did not end") {
		t.Error(e)
	}
}

func TestListTimeout(t *testing.T) {
	tests := []struct {
		timeout time.Duration
		rate    float64
		want    time.Duration
	}{
		{5 * time.Second, 0, time.Minute},
		{5 * time.Second, 500, time.Minute + 200*time.Millisecond},
		{100 * time.Millisecond, 0, minListTimeout},
		{9 * time.Second, 1, 208 * time.Second},
		{time.Hour, 0.0001, maxListTimeout},
	}
	for _, tt := range tests {
		if got := (Settings{RequestTimeout: tt.timeout, RequestsPerSecond: tt.rate}).listTimeout(); got != tt.want {
			t.Errorf("%v, %v per second: got %v, want %v", tt.timeout, tt.rate, got, tt.want)
		}
	}
}

func TestListBounds(t *testing.T) {
	rows := func(n int) []json.RawMessage { return make([]json.RawMessage, n) }
	tests := []struct {
		name  string
		pages []page
		size  int
		want  string
	}{
		{"none", []page{{offset: "a"}, {offset: "b"}}, 1, ""},
		{"the same offset", []page{{offset: "a"}, {offset: "b"}, {offset: "a"}}, 1, "the list has no end: it returned the same offset twice"},
		{"rows", []page{{rows: rows(1000), offset: "a"}, {rows: rows(1000), offset: "b"}}, 1, "the list has more than 2000 rows"},
		{"bytes", []page{{offset: "a"}, {offset: "b"}}, maxListBytes / 2, "the list has more than 1024 MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := listBounds{maxRows: 2000, seen: map[string]bool{}}
			got := ""
			for _, p := range tt.pages {
				got = b.exceeded(p, tt.size)
			}
			if got != tt.want {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestOddPagesAreRefused(t *testing.T) {
	tests := map[string]string{
		"the offset of the next page is too long": `{"data":[],"next":"/x","offset":"` + strings.Repeat("x", maxOffset+1) + `"}`,
		"the page has more rows than requested":   `{"data":` + toJSON(t, manyPlugins(pageSize+1)) + `,"next":null}`,
	}
	for want, body := range tests {
		c := answerer(t, func(*http.Request) *http.Response { return newResponse(200, jsonType, body) })
		_, err := c.PluginAt(t.Context(), "none", plugin.Scope{})
		if e := failure(t, err, Unavailable); e.Message != want {
			t.Errorf("got %v, want %q", e, want)
		}
	}
}

// PluginsByTags holds all that it returns.
func TestPluginsByTagsIsBounded(t *testing.T) {
	one := manyPlugins(1)
	large := []map[string]any{wire(id1, "cors", map[string]any{"tags": []string{"t"}, "config": map[string]any{"x": strings.Repeat("x", maxPageBody/2)}})}
	for name, rows := range map[string][]map[string]any{"many": one, "large": large} {
		c := answerer(t, endless(t, rows))
		got, err := c.PluginsByTags(t.Context(), []string{"t"})
		if e := failure(t, err, Unavailable); got != nil || !strings.Contains(e.Message, "1000 plugins") {
			t.Errorf("%s: %d plugins, %v", name, len(got), err)
		}
	}
	c := answerer(t, endless(t, one))
	seen := 0
	if err := c.VisitByTags(t.Context(), []string{"t"}, func(plugin.Plugin) { seen++ }); err == nil || seen <= maxPluginsByTags {
		t.Errorf("visited %d, %v", seen, err)
	}
}

func TestCheckJSON(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	tests := []struct {
		name, text string
		want       error
	}{
		{"empty", "", nil},
		{"values", `{"a":[1,2,3],"b":{}}`, nil},
		{"as many as allowed", "[" + strings.Repeat("0,", 8) + "0]", nil},
		{"one more", "[" + strings.Repeat("0,", 9) + "0]", errTooManyValues},
		{"objects", "[" + strings.Repeat("{},", 5) + "{}]", errTooManyValues},
		{"brackets in a string", `["` + nested(500) + `","a,b\",\\",","]`, nil},
		{"a string without an end", `["` + strings.Repeat(",", 50), nil},
		{"an escape at the end", `["\`, nil},
		{"deep", `{"a":` + nested(maxDepth) + `}`, errTooDeep},
	}
	for _, tt := range tests {
		maxValues := 10
		if tt.name == "deep" {
			maxValues = 1000
		}
		if got := checkJSON([]byte(tt.text), maxValues); got != tt.want { //nolint:errorlint // the error itself
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// A text of few bytes can decode into many times its size, so that nothing decodes it.
func TestCostlyJSONIsRefused(t *testing.T) {
	tests := map[string]string{
		"values": `{"id":"` + id1 + `","name":"cors","enabled":true,"config":{"a":[` + strings.Repeat("{},", maxEntityValues/2) + `{}]}}`,
		"depth":  `{"id":"` + id1 + `","name":"cors","enabled":true,"config":{"a":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + `}}`,
		"errors": `{"message":"schema violation","code":2,"fields":{"a":[` + strings.Repeat("{},", maxEntityValues/2) + `{}]}}`,
	}
	for name, body := range tests {
		t.Run(name, func(t *testing.T) {
			for _, status := range []int{200, 201, 400, 404, 500} {
				wantReasons(t, answerer(t, func(*http.Request) *http.Response { return newResponse(status, jsonType, body) }), Unavailable, UnknownOutcome)
			}
		})
	}
}

func TestAPageOfManyValuesIsHalved(t *testing.T) {
	p := &pages{rows: manyPlugins(300), size: 250}
	var sizes []string
	c := trusting(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		size := r.URL.Query().Get("size")
		sizes = append(sizes, size)
		if size != "250" {
			write(w, 200, jsonType, `{"data":[`+strings.Repeat("{},", maxPageValues/2)+`{}],"next":null}`)
			return
		}
		p.ServeHTTP(w, r)
	}))
	plugins, err := c.PluginsByTags(t.Context(), []string{"t"})
	if err != nil || len(plugins) != 300 || strings.Join(sizes, " ") != "1000 500 250 250" {
		t.Errorf("%d plugins, %v, asked for %v", len(plugins), err, sizes)
	}
}

// Of many violations, always the same ones are kept.
func TestTheSameFieldsAreKept(t *testing.T) {
	fields := map[string]any{}
	for i := range 10 * maxFields {
		fields[fmt.Sprint("f", i)] = "x"
	}
	c := newClient(t, "http://kong")
	first := c.flatten(fields)
	for range 3 {
		if next := c.flatten(fields); len(next) != maxFields || fmt.Sprint(next) != fmt.Sprint(first) {
			t.Errorf("got %v, want %v", next, first)
		}
	}
}

// Many violations below a long key: the paths together are far longer than the response.
func TestFieldPathsAreBounded(t *testing.T) {
	var list []string
	for range 20_000 {
		list = append(list, `"x"`)
	}
	body := `{"message":"schema violation","code":2,"fields":{"` + strings.Repeat("k", 1<<20) + `":{"@entity":[` + strings.Join(list, ",") + `],"l":[` + strings.Join(list, ",") + `]}}}`
	c := answerer(t, func(*http.Request) *http.Response { return newResponse(400, jsonType, body) })
	_, err := c.Create(t.Context(), rateLimiting())
	e := failure(t, err, Rejected)
	if len(e.Fields) != maxFields || len(e.Fields[0].Path) > maxFieldLength {
		t.Errorf("%d fields, a path of %d bytes", len(e.Fields), len(e.Fields[0].Path))
	}
}
