package adminapi

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	id1   = "00000000-0000-4000-8000-000000000001"
	id2   = "00000000-0000-4000-8000-000000000002"
	token = "s3cret-token-value"

	jsonType = "application/json; charset=utf-8"
	htmlType = "text/html"
)

// newClient returns a client that the end of the test closes.
func newClient(t testing.TB, adminURL string, change ...func(*Settings)) *Client {
	t.Helper()
	s := Settings{Name: "ns/gw", AdminURL: adminURL, RequestTimeout: 5 * time.Second}
	for _, f := range change {
		f(&s)
	}
	c, err := New(s, nil)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(c.Close)
	return c
}

// probed returns a client after a successful probe.
func probed(t testing.TB, adminURL string, change ...func(*Settings)) *Client {
	t.Helper()
	c := newClient(t, adminURL, change...)
	if _, err := c.Probe(t.Context()); err != nil {
		t.Fatalf("Probe: %v", err)
	}
	return c
}

// trusting returns a client that accepts a 404 without a probe.
func trusting(t testing.TB, adminURL string, change ...func(*Settings)) *Client {
	t.Helper()
	c := newClient(t, adminURL, change...)
	c.notFoundTrusted.Store(true)
	return c
}

// serve starts a server that the end of the test closes.
func serve(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

// answering serves the same response to every request.
func answering(t testing.TB, status int, contentType, body string) string {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, _ *http.Request) { write(w, status, contentType, body) })
}

func write(w http.ResponseWriter, status int, contentType, body string) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// canned is a transport without a network.
type canned func(*http.Request) (*http.Response, error)

func (f canned) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (f canned) wrap(http.RoundTripper) http.RoundTripper { return f }

func newResponse(status int, contentType, body string) *http.Response {
	return &http.Response{
		StatusCode: status,
		Header:     http.Header{"Content-Type": {contentType}},
		Body:       io.NopCloser(strings.NewReader(body)),
	}
}

// failure returns the *Error in err, which must have this Reason.
func failure(t testing.TB, err error, want Reason) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Reason != want {
		t.Fatalf("got reason %q (%T: %v), want %q", ReasonForError(err), err, err, want)
	}
	return e
}

func wantReason(t testing.TB, err error, want Reason) {
	t.Helper()
	_ = failure(t, err, want)
}

func toJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// wire is a plugin as Kong returns it.
func wire(id, name string, more ...map[string]any) map[string]any {
	p := map[string]any{
		"id": id, "name": name, "instance_name": nil, "enabled": true, "config": map[string]any{"minute": 5.0},
		"protocols": []string{"http", "https"}, "tags": nil, "service": nil, "route": nil, "consumer": nil,
		"created_at": 1795383024, "updated_at": 1795383025,
	}
	for _, m := range more {
		for key, v := range m {
			p[key] = v
		}
	}
	return p
}

func rateLimiting() plugin.Plugin {
	return plugin.Plugin{Name: "rate-limiting", Enabled: true, Config: map[string]any{"minute": 5.0}}
}

// authority signs certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t testing.TB) authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert: cert, key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue returns a certificate and key in PEM for a server or a client.
func (a authority) issue(t testing.TB, notAfter time.Time, names ...string) (certPEM, keyPEM []byte) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: notAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
}

func (a authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// keyPair returns the certificate and key as a tls.Certificate.
func (a authority) keyPair(t testing.TB, notAfter time.Time, names ...string) tls.Certificate {
	t.Helper()
	certPEM, keyPEM := a.issue(t, notAfter, names...)
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// quiet discards the log of a server, which reports failed handshakes.
func quiet(srv *httptest.Server) { srv.Config.ErrorLog = log.New(io.Discard, "", 0) }
