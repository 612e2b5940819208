package adminapi

import (
	"net/http"
	"net/url"
	"sync/atomic"

	"github.com/kong/go-kong/kong"
)

// Client is one connection to one Admin API. It is safe for concurrent use. It accepts no 404
// as proof of absence before a Probe succeeds.
//
// It never sends a write twice, and sends a read again only after a 429. All requests of a
// Client share one bound on requests in flight and one rate limit. The rate limit adapts: a 429
// pauses all requests for its Retry-After and lowers the rate, and other responses raise it
// slowly. While Kong rate-limits the Client, requests wait for their turn for a bounded time;
// see WithSequence.
type Client struct {
	givenSettings Settings // as passed to New, to tell when they change
	settings      Settings // with defaults applied
	base          *url.URL

	kong    *kong.Client
	http    *http.Transport
	metrics *Metrics

	scheduler *scheduler

	// isLeader reports whether this process may send writes; nil means always.
	isLeader func() bool
	// writes learns of every write; it may be nil.
	writes Writes

	// notFoundTrusted reports whether the last probe showed a Kong in DB mode.
	notFoundTrusted atomic.Bool
	schemas         schemaCache
}

// New returns a Client for the given Settings and makes no request. Settings that cannot
// be used return an Error with Reason Invalid, whose text holds nothing from a Secret. m
// may be nil.
func New(s Settings, m *Metrics) (*Client, error) {
	given := s
	s = s.withDefaults()
	base, invalid := s.baseURL()
	if invalid != nil {
		return nil, invalid
	}
	if invalid = s.checkScheme(base); invalid != nil {
		return nil, invalid
	}
	if invalid = s.checkToken(); invalid != nil {
		return nil, invalid
	}
	workspace := ""
	if s.Workspace != "" {
		if workspace, invalid = nameSegment(opConnect, "workspace", s.Workspace); invalid != nil {
			return nil, invalid
		}
	}
	httpClient, transport, invalid := s.httpClient(base)
	if invalid != nil {
		return nil, invalid
	}
	baseURL := base.String()
	sdk, err := kong.NewClient(&baseURL, httpClient)
	if err != nil {
		return nil, &Error{Reason: Invalid, Op: opConnect, Message: "adminURL cannot be used", err: err}
	}
	sdk.SetWorkspace(workspace)
	return &Client{
		givenSettings: given,
		settings:      s,
		base:          base,
		kong:          sdk,
		http:          transport,
		metrics:       m,
		scheduler:     newScheduler(s),
		schemas:       schemaCache{maxBytes: s.MaxSchemaBytes},
	}, nil
}

// Close closes idle connections. Requests in flight complete, and the Client remains
// usable.
func (c *Client) Close() { c.http.CloseIdleConnections() }
