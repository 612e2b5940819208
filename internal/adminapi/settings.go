package adminapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"k8s.io/utils/clock"
)

// Defaults of Settings.
const (
	// DefaultTokenHeader is the header for an RBAC token of Kong Enterprise.
	DefaultTokenHeader = "Kong-Admin-Token"
	// DefaultRequestTimeout is the time-out of one request.
	DefaultRequestTimeout = 5 * time.Second
	// DefaultMaxInFlight is the number of concurrent requests.
	DefaultMaxInFlight = 8

	// idleConnTimeout is shorter than the 75 s after which Kong (nginx) closes an idle
	// connection: a write on a connection that Kong is closing has an unknown outcome.
	idleConnTimeout = 60 * time.Second
)

// Settings describe the connection to one Admin API and the limits on its use.
type Settings struct {
	// Name of the gateway as "namespace/name", for the labels of the metrics.
	Name string
	// AdminURL has scheme http or https, optionally a path, and no credentials or query.
	AdminURL string
	// Workspace of Kong Enterprise. Empty means none.
	Workspace string

	// TokenHeader is the header that carries the Token; DefaultTokenHeader if empty.
	TokenHeader string
	// Token of every request. New trims surrounding white space. Empty means none.
	Token string

	// CA holds the authorities (PEM) to trust instead of those of the system.
	CA []byte
	// ClientCert and ClientKey (PEM) are the client certificate. Set both or none.
	ClientCert, ClientKey []byte
	// ServerName is the expected name in the certificate; the host of AdminURL if empty.
	ServerName string
	// InsecureSkipVerify accepts any server certificate.
	InsecureSkipVerify bool

	// MaxInFlight is the number of concurrent requests; DefaultMaxInFlight if not positive.
	MaxInFlight int
	// RequestsPerSecond is the average rate of requests; unlimited if not positive.
	RequestsPerSecond float64
	// Burst is the number of requests above the average rate after an idle time;
	// MaxInFlight if not positive.
	Burst int
	// RequestTimeout of one request, from sending it to the end of its response. Waiting
	// for a free request slot does not count. DefaultRequestTimeout if not positive.
	RequestTimeout time.Duration

	// MaxSchemaBytes bounds the schemas that the client keeps, as JSON; 8 MiB if 0.
	MaxSchemaBytes int

	// UserAgent of every request; that of net/http if empty.
	UserAgent string

	// AllowedHosts restricts the hosts that AdminURL may lead to. Empty allows all. Each pattern
	// is one of:
	//   - "host" or "*.domain" (any host below it, not the domain itself): the host of AdminURL.
	//     Its addresses must not be loopback, link-local, multicast or those of a metadata
	//     service, unless another pattern allows the address.
	//   - an IP address or a CIDR: the address of the connection, after DNS.
	// A host or an IP address can have a ":port"; it then allows this port only.
	AllowedHosts []string

	// Clock for waiting between requests, for tests; the real one if nil.
	Clock clock.WithDelayedExecution
	// Transport wraps the HTTP transport; nil if nothing does.
	Transport func(http.RoundTripper) http.RoundTripper
	// Dial makes the connections instead of a net.Dialer; nil for the latter. AllowedHosts then
	// restricts the host of AdminURL only.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// equal reports whether two Settings describe the same connection. It ignores Clock,
// Transport and Dial.
func (s Settings) equal(o Settings) bool {
	return s.Name == o.Name && s.AdminURL == o.AdminURL && s.Workspace == o.Workspace &&
		s.UserAgent == o.UserAgent && slices.Equal(s.AllowedHosts, o.AllowedHosts) && s.sameCredentials(o) && s.sameLimits(o)
}

func (s Settings) sameCredentials(o Settings) bool {
	return s.TokenHeader == o.TokenHeader && s.Token == o.Token &&
		bytes.Equal(s.CA, o.CA) && bytes.Equal(s.ClientCert, o.ClientCert) && bytes.Equal(s.ClientKey, o.ClientKey) &&
		s.ServerName == o.ServerName && s.InsecureSkipVerify == o.InsecureSkipVerify
}

func (s Settings) sameLimits(o Settings) bool {
	return s.MaxInFlight == o.MaxInFlight && s.RequestsPerSecond == o.RequestsPerSecond &&
		s.Burst == o.Burst && s.RequestTimeout == o.RequestTimeout && s.MaxSchemaBytes == o.MaxSchemaBytes
}

// withDefaults returns the Settings with defaults for unset fields.
func (s Settings) withDefaults() Settings {
	if s.TokenHeader == "" {
		s.TokenHeader = DefaultTokenHeader
	}
	if s.MaxInFlight <= 0 {
		s.MaxInFlight = DefaultMaxInFlight
	}
	if s.Burst <= 0 {
		s.Burst = s.MaxInFlight
	}
	if s.RequestTimeout <= 0 {
		s.RequestTimeout = DefaultRequestTimeout
	}
	if s.Clock == nil {
		s.Clock = clock.RealClock{}
	}
	s.Token = strings.TrimSpace(s.Token)
	return s
}

const opConnect = "connect to Kong"

// baseURL returns AdminURL without trailing slashes.
func (s Settings) baseURL() (*url.URL, *Error) {
	u, err := url.Parse(s.AdminURL)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", strings.Trim(u.Hostname(), ".") == "", strings.ContainsFunc(s.AdminURL, unicode.IsControl):
		return nil, invalid(opConnect, "adminURL must be an http or https URL with a host")
	case u.User != nil:
		return nil, invalid(opConnect, "adminURL must not contain credentials")
	case strings.ContainsAny(s.AdminURL, "?#"):
		return nil, invalid(opConnect, "adminURL must not have a query or a fragment")
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment == "." || segment == ".." {
			return nil, invalid(opConnect, "adminURL must not have '.' or '..' in its path")
		}
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	return u, nil
}

var headerPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]*$`)

// checkToken checks that the token fits into an HTTP header. The Error never holds its value.
func (s Settings) checkToken() *Error {
	if s.Token == "" {
		return nil
	}
	if !headerPattern.MatchString(s.TokenHeader) {
		return invalid(opConnect, "the token's header must be the name of an HTTP header")
	}
	if strings.ContainsFunc(s.Token, unicode.IsControl) {
		return invalid(opConnect, "the token contains characters that an HTTP header cannot carry")
	}
	return nil
}

// tlsConfig returns the TLS configuration. Its errors leave out those of the PEM decoders,
// which can describe the content of a Secret.
func (s Settings) tlsConfig() (*tls.Config, *Error) {
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: s.ServerName,
		// Only if the KongGateway sets it.
		InsecureSkipVerify: s.InsecureSkipVerify, //nolint:gosec // G402: an explicit choice of the user, off by default
	}
	if len(s.CA) > 0 {
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(s.CA) {
			return nil, invalid(opConnect, "the CA bundle contains no certificate in PEM")
		}
	}
	if len(s.ClientCert) == 0 && len(s.ClientKey) == 0 {
		return cfg, nil
	}
	cert, err := tls.X509KeyPair(s.ClientCert, s.ClientKey)
	if err != nil {
		return nil, invalid(opConnect, "the client certificate and key are not in PEM, or do not belong together")
	}
	cfg.Certificates = []tls.Certificate{cert}
	return cfg, nil
}

// checkScheme refuses TLS settings that a URL with http would ignore.
func (s Settings) checkScheme(u *url.URL) *Error {
	given := len(s.CA)+len(s.ClientCert)+len(s.ClientKey) > 0 || s.ServerName != "" || s.InsecureSkipVerify
	if u.Scheme == "http" && given {
		return invalid(opConnect, "tls is set, and adminURL is http, so that nothing would be encrypted or verified: use https in adminURL, or remove tls")
	}
	return nil
}

// httpClient returns the HTTP client for the Admin API at u and its transport.
func (s Settings) httpClient(u *url.URL) (*http.Client, *http.Transport, *Error) {
	tlsConfig, err := s.tlsConfig()
	if err != nil {
		return nil, nil, err
	}
	allowed, err := parseAllowedHosts(s.AllowedHosts)
	if err != nil {
		return nil, nil, err
	}
	if err = allowed.checkURL(u); err != nil {
		return nil, nil, err
	}
	dialer := &net.Dialer{Timeout: s.RequestTimeout, KeepAlive: 30 * time.Second, Control: allowed.control(u)}
	transport := &http.Transport{
		Proxy:               nil, // see the package comment
		DialContext:         dialer.DialContext,
		TLSClientConfig:     tlsConfig,
		TLSHandshakeTimeout: s.RequestTimeout,
		MaxIdleConns:        s.MaxInFlight,
		MaxIdleConnsPerHost: s.MaxInFlight,
		IdleConnTimeout:     idleConnTimeout,
		DisableCompression:  true, // the bounds on bodies count bytes on the wire
	}
	if s.Dial != nil {
		transport.DialContext = s.Dial
	}
	var rt http.RoundTripper = transport
	if s.Transport != nil {
		rt = s.Transport(rt)
	}
	return &http.Client{Transport: refuseRedirects{rt}}, transport, nil
}
