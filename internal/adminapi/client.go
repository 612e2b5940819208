package adminapi

import (
	"context"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kong/go-kong/kong"
	"golang.org/x/time/rate"
)

// Bounds on the bodies of answers.
const (
	maxEntityBody = 8 << 20
	maxListBody   = 64 << 20
)

// Client is one connection to one Admin API. It is safe for concurrent use. It retries
// nothing, and it believes no 404 before a Probe succeeded.
type Client struct {
	asked    Settings // as given to New, to tell when they change
	settings Settings // with defaults
	base     *url.URL

	kong    *kong.Client
	http    *http.Transport
	metrics *Metrics

	limiter  *rate.Limiter
	inFlight chan struct{}
	pause    pause

	// leads says whether writes may be sent; nil if they always may.
	leads func() bool

	// trusted says whether the last probe showed a Kong in DB mode.
	trusted atomic.Bool
	schemas schemaCache
}

// New makes a client from Settings without any request. Settings that cannot be used are
// an error of kind Invalid whose text holds nothing from a Secret. A nil Metrics is fine.
func New(s Settings, m *Metrics) (*Client, error) {
	asked := s
	s = s.withDefaults()
	base, invalid := s.baseURL()
	if invalid != nil {
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
	httpClient, transport, invalid := s.httpClient()
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
		asked:    asked,
		settings: s,
		base:     base,
		kong:     sdk,
		http:     transport,
		metrics:  m,
		limiter:  s.limiter(),
		inFlight: make(chan struct{}, s.MaxInFlight),
	}, nil
}

// Close closes idle connections. Requests under way run to their end, and the client can
// still be used.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// request is one request to the Admin API. Its path is escaped and checked.
type request struct {
	op     string
	method string
	path   string
	query  url.Values
	body   []byte
	limit  int64 // of the answer's body, maxEntityBody if 0
	global bool  // not in a workspace
}

// write says whether the request can change something in Kong.
func (r request) write() bool { return r.method != http.MethodGet }

// unknown is the kind of error that says that nothing is known after the request.
func (r request) unknown() Reason {
	if r.write() {
		return UnknownOutcome
	}
	return Unavailable
}

// endpoint is the path with the query.
func (r request) endpoint() string {
	if len(r.query) == 0 {
		return r.path
	}
	return r.path + "?" + r.query.Encode()
}

// answer is one complete answer.
type response struct {
	status int
	header http.Header
	body   []byte
}

// isJSON says whether the answer calls itself JSON, as Kong's do.
func (a response) isJSON() bool {
	mediaType, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	return err == nil && mediaType == "application/json"
}

// call makes a request and returns its answer when it has the wanted status; any other is
// an Error that says what it means.
func (c *Client) call(ctx context.Context, r request, want int) (response, *Error) {
	a, failed := c.send(ctx, r)
	if failed != nil {
		return response{}, failed
	}
	if a.status != want {
		return a, c.errorFromResponse(r, a)
	}
	if want != http.StatusNoContent && !a.isJSON() {
		return a, r.malformed(a, "the answer is not JSON")
	}
	return a, nil
}

// malformed is the Error for an answer that cannot be understood.
func (r request) malformed(a response, why string) *Error {
	return &Error{Reason: r.unknown(), Op: r.op, Status: a.status, Message: why}
}

// send waits for its turn, makes one request and reads the answer to its end.
func (c *Client) send(ctx context.Context, r request) (response, *Error) {
	req, failed := c.newRequest(r)
	if failed != nil {
		return response{}, failed
	}
	if failed := c.acquire(ctx, r.op); failed != nil {
		return response{}, failed
	}
	defer c.release()
	if failed := c.checkLeader(r); failed != nil {
		return response{}, failed
	}

	ctx, cancel := context.WithTimeout(ctx, c.settings.RequestTimeout)
	defer cancel()
	var sent atomic.Bool // written by the transport's goroutines
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})

	start := time.Now()
	a, err := c.exchange(ctx, req, r)
	c.metrics.observe(c.settings.Name, r.method, a.status, time.Since(start))
	if err != nil {
		return response{}, c.connectionError(r, err, sent.Load())
	}
	if a.status == http.StatusTooManyRequests {
		c.pause.keep(retryAfter(a.header))
	}
	return a, nil
}

// fenced refuses a write by a process that may not lead any more: one that was frozen since
// it decided on it, and does not know yet. It is asked last, after all waiting.
func (c *Client) checkLeader(r request) *Error {
	if !r.write() || c.leads == nil || c.leads() {
		return nil
	}
	return &Error{Reason: Unavailable, Op: r.op, Message: "not sent: another replica may lead by now"}
}

func (c *Client) newRequest(r request) (*http.Request, *Error) {
	var body any
	if r.body != nil {
		body = r.body
	}
	var req *http.Request
	var err error
	if r.global {
		req, err = c.kong.NewRequestRaw(r.method, c.kong.BaseRootURL(), r.endpoint(), nil, body)
	} else {
		req, err = c.kong.NewRequest(r.method, r.endpoint(), nil, body)
	}
	if err != nil {
		return nil, &Error{Reason: Invalid, Op: r.op, Message: "the request cannot be made", err: err}
	}
	req.Header.Set("Accept", "application/json")
	if c.settings.UserAgent != "" {
		req.Header.Set("User-Agent", c.settings.UserAgent)
	}
	if c.settings.Token != "" {
		req.Header.Set(c.settings.TokenHeader, c.settings.Token)
	}
	return req, nil
}

// enter waits until one more request may be made. While Kong asked for a pause, none may.
func (c *Client) acquire(ctx context.Context, op string) *Error {
	if paused := c.paused(op); paused != nil {
		return paused
	}
	err := ctx.Err()
	if err == nil {
		select {
		case c.inFlight <- struct{}{}:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err == nil {
		if err = c.limiter.Wait(ctx); err != nil {
			c.release()
		}
	}
	if err != nil {
		return &Error{Reason: Unavailable, Op: op, Message: "given up while waiting for a turn", err: err}
	}
	if paused := c.paused(op); paused != nil { // since this one began to wait
		c.release()
		return paused
	}
	return nil
}

func (c *Client) release() { <-c.inFlight }

// exchange sends a request and reads the answer. The status is 0 if either failed.
func (c *Client) exchange(ctx context.Context, req *http.Request, r request) (response, error) {
	// Not kong.Client.Do: it loses the body of an error, takes redirects for success and
	// reads without a bound.
	resp, err := c.kong.DoRAW(ctx, req)
	if err != nil {
		return response{}, err
	}
	defer func() { _ = resp.Body.Close() }() // all that matters has been read by then

	limit := r.limit
	if limit == 0 {
		limit = maxEntityBody
	}
	if resp.ContentLength > limit {
		return response{}, errTooLarge
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return response{}, err
	}
	if int64(len(body)) > limit {
		return response{}, errTooLarge
	}
	return response{status: resp.StatusCode, header: resp.Header, body: body}, nil
}

// redact takes the token out of what somebody else wrote.
func (c *Client) redact(s string) string {
	if c.settings.Token == "" {
		return s
	}
	return strings.ReplaceAll(s, c.settings.Token, "[redacted]")
}
