package adminapi

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"

	"golang.org/x/time/rate"
)

// What applies where Settings leave something out.
const (
	// DefaultTokenHeader is the header in which Kong Enterprise expects an RBAC token.
	DefaultTokenHeader = "Kong-Admin-Token"
	// DefaultRequestTimeout of one request.
	DefaultRequestTimeout = 5 * time.Second
	// DefaultMaxInFlight requests at a time.
	DefaultMaxInFlight = 8

	// Shorter than the 75 s after which Kong (nginx) closes an idle connection: a write
	// that meets a connection being closed has an unknown outcome.
	idleConnTimeout = 60 * time.Second
)

// Settings say how to reach one Admin API and how hard to lean on it.
type Settings struct {
	// Name of the gateway, "namespace/name": the label of the metrics.
	Name string
	// AdminURL is http or https, with or without a path, without credentials or a query.
	AdminURL string
	// Workspace of Kong Enterprise, empty for none.
	Workspace string

	// TokenHeader carries the Token with every request; DefaultTokenHeader if empty.
	TokenHeader string
	// Token, without the white space around it that files tend to end with. Empty: none.
	Token string

	// CA holds the authorities (PEM) to trust instead of the system's.
	CA []byte
	// ClientCert and ClientKey (PEM) are what we show, both or none.
	ClientCert, ClientKey []byte
	// ServerName to expect in the certificate instead of the host of AdminURL.
	ServerName string
	// InsecureSkipVerify accepts any certificate.
	InsecureSkipVerify bool

	// MaxInFlight requests at a time; DefaultMaxInFlight if not positive.
	MaxInFlight int
	// RequestsPerSecond on average; no limit if not positive.
	RequestsPerSecond float64
	// Burst of requests after a quiet time; MaxInFlight if not positive.
	Burst int
	// RequestTimeout of one request, from sending it to the end of its answer (waiting
	// for a turn does not count); DefaultRequestTimeout if not positive.
	RequestTimeout time.Duration

	// UserAgent of every request, go-http-client's if empty.
	UserAgent string

	// Transport wraps the HTTP transport, for tests. Nil otherwise.
	Transport func(http.RoundTripper) http.RoundTripper
}

// equal says whether two Settings make the same connection. Transport is not compared.
func (s Settings) equal(o Settings) bool {
	return s.Name == o.Name && s.AdminURL == o.AdminURL && s.Workspace == o.Workspace &&
		s.UserAgent == o.UserAgent && s.sameCredentials(o) && s.sameLimits(o)
}

func (s Settings) sameCredentials(o Settings) bool {
	return s.TokenHeader == o.TokenHeader && s.Token == o.Token &&
		bytes.Equal(s.CA, o.CA) && bytes.Equal(s.ClientCert, o.ClientCert) && bytes.Equal(s.ClientKey, o.ClientKey) &&
		s.ServerName == o.ServerName && s.InsecureSkipVerify == o.InsecureSkipVerify
}

func (s Settings) sameLimits(o Settings) bool {
	return s.MaxInFlight == o.MaxInFlight && s.RequestsPerSecond == o.RequestsPerSecond &&
		s.Burst == o.Burst && s.RequestTimeout == o.RequestTimeout
}

// withDefaults fills what was left out.
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
	s.Token = strings.TrimSpace(s.Token)
	return s
}

const opConnect = "connect to Kong"

// baseURL returns AdminURL without a slash at its end.
func (s Settings) baseURL() (*url.URL, *Error) {
	u, err := url.Parse(s.AdminURL)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", strings.ContainsFunc(s.AdminURL, unicode.IsControl):
		return nil, invalid(opConnect, "adminURL must be an http or https URL with a host")
	case u.User != nil:
		return nil, invalid(opConnect, "adminURL must not hold credentials")
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

// checkToken makes sure that the token can be sent; its value is never repeated.
func (s Settings) checkToken() *Error {
	if s.Token == "" {
		return nil
	}
	if !headerPattern.MatchString(s.TokenHeader) {
		return invalid(opConnect, "the token's header must be the name of an HTTP header")
	}
	if strings.ContainsFunc(s.Token, unicode.IsControl) {
		return invalid(opConnect, "the token holds characters that an HTTP header cannot hold")
	}
	return nil
}

// tlsConfig says whom to trust and who we are. The errors of the PEM decoders are left
// out: they tell of what is in a Secret.
func (s Settings) tlsConfig() (*tls.Config, *Error) {
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: s.ServerName,
		// Only when the KongGateway says so.
		InsecureSkipVerify: s.InsecureSkipVerify, //nolint:gosec // G402: an explicit choice of the user, off by default
	}
	if len(s.CA) > 0 {
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(s.CA) {
			return nil, invalid(opConnect, "the CA bundle holds no certificate in PEM")
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

// httpClient makes the one http.Client of a connection.
func (s Settings) httpClient() (*http.Client, *http.Transport, *Error) {
	tlsConfig, err := s.tlsConfig()
	if err != nil {
		return nil, nil, err
	}
	transport := &http.Transport{
		Proxy:               nil, // see the package comment
		DialContext:         (&net.Dialer{Timeout: s.RequestTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     tlsConfig,
		TLSHandshakeTimeout: s.RequestTimeout,
		MaxIdleConns:        s.MaxInFlight,
		MaxIdleConnsPerHost: s.MaxInFlight,
		IdleConnTimeout:     idleConnTimeout,
		DisableCompression:  true, // bodies are bounded by what is on the wire
	}
	var rt http.RoundTripper = transport
	if s.Transport != nil {
		rt = s.Transport(rt)
	}
	return &http.Client{Transport: refuseRedirects{rt}}, transport, nil
}

func (s Settings) limiter() *rate.Limiter {
	if s.RequestsPerSecond <= 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(s.RequestsPerSecond), s.Burst)
}
