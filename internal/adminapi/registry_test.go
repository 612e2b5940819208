package adminapi

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

func full(t testing.TB) Settings {
	t.Helper()
	ca := newAuthority(t)
	cert, key := ca.issue(t, time.Now().Add(time.Hour))
	return Settings{
		Name: "ns/gw", AdminURL: "https://kong:8444/admin", Workspace: "team", TokenHeader: "X", Token: token,
		CA: ca.pem, ClientCert: cert, ClientKey: key, ServerName: "kong", InsecureSkipVerify: true,
		MaxInFlight: 4, RequestsPerSecond: 10, Burst: 5, RequestTimeout: time.Second, UserAgent: "operator",
	}
}

func TestRegistry(t *testing.T) {
	reg := prometheus.NewRegistry()
	p := NewRegistry(NewMetrics(reg), nil)
	s := full(t)
	first, changed, err := p.GetOrCreate("ns/gw", s)
	if err != nil || !changed {
		t.Fatalf("got %v, %v", changed, err)
	}
	same := s
	same.Transport = func(rt http.RoundTripper) http.RoundTripper { return rt }
	same.CA = append([]byte{}, s.CA...)
	if c, changed, err := p.GetOrCreate("ns/gw", same); c != first || changed || err != nil {
		t.Errorf("equal Settings: %v, %v", changed, err)
	}
	other := s
	other.Token = "rotated"
	second, changed, err := p.GetOrCreate("ns/gw", other)
	if err != nil || !changed || second == first {
		t.Errorf("other Settings: %v, %v", changed, err)
	}
	other.AdminURL = "nonsense"
	_, changed, err = p.GetOrCreate("ns/gw", other)
	if wantReason(t, err, Invalid); !changed {
		t.Error("nothing changed")
	}
	if len(p.clients) != 0 {
		t.Error("a client with Settings that nobody asks for any more")
	}
	_, changed, err = p.GetOrCreate("ns/gw", other)
	if wantReason(t, err, Invalid); changed {
		t.Error("changed from nothing to nothing")
	}
	p.Remove("ns/gw")
}

func TestSettingsEqual(t *testing.T) {
	s := full(t)
	changes := map[string]func(*Settings){
		"Name":               func(s *Settings) { s.Name = "x" },
		"AdminURL":           func(s *Settings) { s.AdminURL = "x" },
		"Workspace":          func(s *Settings) { s.Workspace = "x" },
		"TokenHeader":        func(s *Settings) { s.TokenHeader = "Y" },
		"Token":              func(s *Settings) { s.Token = "x" },
		"CA":                 func(s *Settings) { s.CA = nil },
		"ClientCert":         func(s *Settings) { s.ClientCert = nil },
		"ClientKey":          func(s *Settings) { s.ClientKey = nil },
		"ServerName":         func(s *Settings) { s.ServerName = "x" },
		"InsecureSkipVerify": func(s *Settings) { s.InsecureSkipVerify = false },
		"MaxInFlight":        func(s *Settings) { s.MaxInFlight = 1 },
		"RequestsPerSecond":  func(s *Settings) { s.RequestsPerSecond = 1 },
		"Burst":              func(s *Settings) { s.Burst = 1 },
		"RequestTimeout":     func(s *Settings) { s.RequestTimeout = 1 },
		"AllowedHosts":       func(s *Settings) { s.AllowedHosts = []string{"x"} },
		"UserAgent":          func(s *Settings) { s.UserAgent = "x" },
	}
	if !s.equal(s) {
		t.Error("not equal to itself")
	}
	for field, change := range changes {
		o := s
		change(&o)
		if s.equal(o) || o.equal(s) {
			t.Errorf("%s makes no difference", field)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	good := full(t)
	otherCert, _ := newAuthority(t).issue(t, time.Now().Add(time.Hour))
	tests := []struct {
		name   string
		change func(*Settings)
		text   string
	}{
		{"no URL", func(s *Settings) { s.AdminURL = "" }, "http or https URL"},
		{"another scheme", func(s *Settings) { s.AdminURL = "ftp://kong" }, "http or https URL"},
		{"no host", func(s *Settings) { s.AdminURL = "http:///x" }, "http or https URL"},
		{"no scheme", func(s *Settings) { s.AdminURL = "kong:8001" }, "http or https URL"},
		{"not a URL", func(s *Settings) { s.AdminURL = "http://[::1" }, "http or https URL"},
		{"credentials", func(s *Settings) { s.AdminURL = "http://u:" + token + "@kong" }, "must not contain credentials"},
		{"query", func(s *Settings) { s.AdminURL = "http://kong?t=" + token }, "query"},
		{"empty query", func(s *Settings) { s.AdminURL = "http://kong?" }, "query"},
		{"fragment", func(s *Settings) { s.AdminURL = "http://kong#x" }, "fragment"},
		{"dots", func(s *Settings) { s.AdminURL = "http://kong/a/../b" }, "'..'"},
		{"escaped dots", func(s *Settings) { s.AdminURL = "http://kong/a/%2e%2e/b" }, "'..'"},
		{"CA beside http", func(s *Settings) { *s = Settings{AdminURL: "http://kong", CA: good.CA} }, "tls is set"},
		{"client certificate beside http", func(s *Settings) {
			*s = Settings{AdminURL: "http://kong", ClientCert: good.ClientCert, ClientKey: good.ClientKey}
		}, "tls is set"},
		{"server name beside http", func(s *Settings) { *s = Settings{AdminURL: "HTTP://kong", ServerName: "x"} }, "tls is set"},
		{"no verification beside http", func(s *Settings) { *s = Settings{AdminURL: "http://kong", InsecureSkipVerify: true} }, "tls is set"},
		{"only a dot", func(s *Settings) { s.AdminURL = "https://./" }, "http or https URL"},
		{"workspace", func(s *Settings) { s.Workspace = "../x" }, "workspace must not"},
		{"header", func(s *Settings) { s.TokenHeader = "X Y" }, "name of an HTTP header"},
		{"token", func(s *Settings) { s.Token = token + "\r\nX: y" }, "cannot carry"},
		{"CA", func(s *Settings) { s.CA = []byte(token) }, "CA bundle"},
		{"cert without key", func(s *Settings) { s.ClientKey = nil }, "client certificate"},
		{"key without cert", func(s *Settings) { s.ClientCert = nil }, "client certificate"},
		{"cert of another key", func(s *Settings) { s.ClientCert = otherCert }, "client certificate"},
		{"cert not in PEM", func(s *Settings) { s.ClientCert = []byte(token) }, "client certificate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := good
			tt.change(&s)
			c, err := New(s, nil)
			wantReason(t, err, Invalid)
			if c != nil || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), token) {
				t.Errorf("got %q", err)
			}
		})
	}
	c, err := New(good, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// TestPathOfAdminURL: an Admin API behind a proxy that gives it a path, with and without
// trailing slashes.
func TestPathOfAdminURL(t *testing.T) {
	kong := kongtest.Start(t)
	front := serve(t, func(w http.ResponseWriter, r *http.Request) {
		r.RequestURI = strings.TrimPrefix(r.RequestURI, "/kong/admin")
		http.StripPrefix("/kong/admin", kong.Handler()).ServeHTTP(w, r)
	})
	for _, path := range []string{"/kong/admin", "/kong/admin/", "/kong/admin//"} {
		c := probed(t, front+path)
		_, err := c.PluginByID(t.Context(), id1)
		wantReason(t, err, NotFound)
	}
	_, err := newClient(t, front).Probe(t.Context())
	wantReason(t, err, NotKong)
}

func TestProxyOfTheEnvironmentIsNotUsed(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("NO_PROXY", "")
	c := newClient(t, "http://kong.invalid:8001")
	if c.http.Proxy != nil {
		t.Error("the transport has a proxy")
	}
}

func TestRegistryConcurrently(t *testing.T) {
	kong := kongtest.Start(t)
	var p Registry
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 10 {
				c, _, err := p.GetOrCreate("ns/gw", Settings{AdminURL: kong.URL(), Burst: i % 2})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := c.Probe(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	p.Remove("ns/gw")
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	p := NewRegistry(NewMetrics(reg), nil)
	url := answering(t, 404, jsonType, notFoundBody)
	for _, key := range []string{"a", "b"} {
		c, _, err := p.GetOrCreate(key, Settings{Name: "ns/" + key, AdminURL: url})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.PluginByID(t.Context(), id1)
		wantReason(t, err, Unavailable)
		c.Close()
	}
	refused, _, err := p.GetOrCreate("a", Settings{Name: "ns/a", AdminURL: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	wantReason(t, refused.Delete(t.Context(), id1), Unavailable)
	want := map[string]float64{
		"ns/a GET 404": 1, "ns/b GET 404": 1, "ns/a DELETE error": 1,
	}
	if diff := cmp.Diff(want, counted(t, reg)); diff != "" {
		t.Error(diff)
	}
	p.Remove("a")
	if diff := cmp.Diff(map[string]float64{"ns/b GET 404": 1}, counted(t, reg)); diff != "" {
		t.Error(diff)
	}
	p.Remove("b")
	p.Remove("b")
	var none *Metrics
	none.Forget("x")
}

// counted returns the requests by gateway, method and code. It also checks that the durations
// have the same gateways.
func counted(t testing.TB, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts, timed, named := map[string]float64{}, map[string]bool{}, map[string]bool{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			label := map[string]string{}
			for _, pair := range m.GetLabel() {
				label[pair.GetName()] = pair.GetValue()
			}
			if family.GetName() == "kong_operator_kong_request_duration_seconds" {
				timed[label["gateway"]+label["method"]] = true
				continue
			}
			counts[label["gateway"]+" "+label["method"]+" "+label["code"]] = m.GetCounter().GetValue()
			named[label["gateway"]+label["method"]] = true
		}
	}
	if diff := cmp.Diff(named, timed); diff != "" {
		t.Error(diff)
	}
	return counts
}
