package scrape

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSamplesReadsOneMetric(t *testing.T) {
	page := `# HELP requests_total Requests.
requests_total{verb="PATCH",path="a b"} 3
requests_total{verb="GET"} 1.5e+02
requests_total_created{verb="GET"} 9
up 1
`
	want := map[string]float64{`{verb="PATCH",path="a b"}`: 3, `{verb="GET"}`: 150}
	if diff := cmp.Diff(want, Samples(page, "requests_total")); diff != "" {
		t.Error(diff)
	}
	for _, tc := range []struct {
		metric string
		having []string
		want   float64
	}{
		{"requests_total", nil, 153},
		{"requests_total", []string{`verb="GET"`}, 150},
		{"requests_total", []string{`verb="GET"`, `path="a b"`}, 153},
		{"up", nil, 1},
		{"missing", nil, 0},
	} {
		if got := Sum(Samples(page, tc.metric), tc.having...); got != tc.want {
			t.Errorf("%s %s: %v, want %v", tc.metric, tc.having, got, tc.want)
		}
	}
}

func TestPageReturnsAnErrorForAnyOtherStatus(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte("up 1\n"))
	}))
	defer server.Close()
	if page, err := Page(t.Context(), server.URL); page != "up 1\n" || err != nil {
		t.Errorf("page %q, error %v", page, err)
	}
	status = http.StatusServiceUnavailable
	if _, err := Page(t.Context(), server.URL); err == nil {
		t.Error("no error for status 503")
	}
}
