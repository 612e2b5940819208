package kongtest

import (
	"crypto/tls"
	"crypto/x509"
	"time"

	"golang.org/x/time/rate"
)

// DefaultVersion is the version of the Kong that was measured.
const DefaultVersion = "3.9.1"

// DefaultDatabaseTimeout is how long Kong waits for PostgreSQL before it answers
// 500 (pg_timeout, Kong 3.9.1).
const DefaultDatabaseTimeout = 5 * time.Second

type token struct{ header, value string }

type config struct {
	listen     string
	version    string
	dbless     bool
	enterprise bool
	workspaces []string
	seed       int64
	clock      func() time.Time
	tls        *tls.Config
	token      *token
	dbTimeout  time.Duration
	limiter    *rate.Limiter
	logf       func(format string, args ...any)
}

func newConfig(opts []Option) config {
	cfg := config{
		listen:    "127.0.0.1:0",
		version:   DefaultVersion,
		seed:      time.Now().UnixNano(),
		clock:     time.Now,
		dbTimeout: DefaultDatabaseTimeout,
		logf:      func(string, ...any) {},
	}
	for _, o := range opts {
		o(&cfg)
	}
	return cfg
}

// Option changes how a Server is made.
type Option func(*config)

// WithListen sets the address to listen on. The default is a free port of 127.0.0.1.
func WithListen(addr string) Option { return func(c *config) { c.listen = addr } }

// WithVersion sets the version in GET / and in the Server header.
func WithVersion(v string) Option { return func(c *config) { c.version = v } }

// WithDBLess makes a Kong without a database. Only POST /config changes it.
func WithDBLess() Option { return func(c *config) { c.dbless = true } }

// WithSeed sets the seed of generated IDs, of the order of sets and of Fault.Share.
func WithSeed(seed int64) Option { return func(c *config) { c.seed = seed } }

// WithClock sets the clock that timestamps come from.
func WithClock(now func() time.Time) Option { return func(c *config) { c.clock = now } }

// WithTLS serves https with the given certificate. With a pool, clients have to
// present a certificate signed by one of its authorities.
func WithTLS(cert tls.Certificate, clientCAs ...*x509.CertPool) Option {
	return func(c *config) {
		c.tls = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
		for _, pool := range clientCAs {
			c.tls.ClientCAs = pool
			c.tls.ClientAuth = tls.RequireAndVerifyClientCert
		}
	}
}

// WithToken requires the header on every request, as Kong Enterprise does with
// RBAC. Other requests are answered 401 {"message":"Invalid RBAC credentials"}.
func WithToken(header, value string) Option {
	return func(c *config) { c.token = &token{header, value} }
}

// WithEnterprise makes GET / report the enterprise edition, accepts the workspace
// "default" in front of every path, and knows consumer groups and plugin ordering, from
// 3.10 on also partials, and from 3.14 on conditions of plugins.
// Enterprise behaviour follows Kong's documentation. It was not measured.
func WithEnterprise() Option {
	return func(c *config) {
		c.enterprise = true
		if c.version == DefaultVersion {
			c.version = "3.9.1.0"
		}
	}
}

// WithWorkspace adds workspaces and implies WithEnterprise. Each workspace has its
// own entities, below /{name}/.
func WithWorkspace(names ...string) Option {
	return func(c *config) {
		WithEnterprise()(c)
		c.workspaces = append(c.workspaces, names...)
	}
}

// WithDatabaseTimeout sets how long a request waits for a locked or frozen database
// before it is answered 500. The default is Kong's, DefaultDatabaseTimeout.
func WithDatabaseTimeout(d time.Duration) Option { return func(c *config) { c.dbTimeout = d } }

// WithLog logs every request with logf.
func WithLog(logf func(format string, args ...any)) Option { return func(c *config) { c.logf = logf } }
