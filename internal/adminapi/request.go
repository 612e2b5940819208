package adminapi

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// request is one request to the Admin API. Its path is escaped and checked.
type request struct {
	op     string
	method string
	path   string
	query  url.Values
	body   []byte
	page   bool  // a page of a list: other bounds on the response
	limit  int64 // bound on the response body in bytes; 0 means the one for its kind
	global bool  // not in a workspace
	// readOnly marks a request that changes nothing in spite of its method.
	readOnly bool
}

// write reports whether the request can change something in Kong.
func (r request) write() bool { return r.method != http.MethodGet && !r.readOnly }

// unknown is the Reason to report when the request has no usable response.
func (r request) unknown() Reason {
	if r.write() {
		return UnknownOutcome
	}
	return Unavailable
}

// maxBody bounds the response body, in bytes.
func (r request) maxBody() int64 {
	switch {
	case r.limit != 0:
		return r.limit
	case r.page:
		return maxPageBody
	}
	return maxEntityBody
}

// maxValues bounds the number of JSON values in the response.
func (r request) maxValues() int {
	if r.page {
		return maxPageValues
	}
	return maxEntityValues
}

// endpoint is the path with the query.
func (r request) endpoint() string {
	if len(r.query) == 0 {
		return r.path
	}
	return r.path + "?" + r.query.Encode()
}

// malformed is the Error for a response that the client cannot understand.
func (r request) malformed(resp response, why string) *Error {
	return &Error{Reason: r.unknown(), Op: r.op, Status: resp.status, Message: why}
}

// response is one complete HTTP response.
type response struct {
	status int
	header http.Header
	body   []byte
}

// isJSON reports whether the response declares itself as JSON, as those of Kong do.
func (resp response) isJSON() bool {
	mediaType, _, err := mime.ParseMediaType(resp.header.Get("Content-Type"))
	return err == nil && mediaType == "application/json"
}

// call sends a request and returns the response if it has the wanted status. Any other
// response becomes an Error.
func (c *Client) call(ctx context.Context, r request, want int) (resp response, failed *Error) {
	if r.write() && c.writes != nil {
		ended := c.writes.Sending()
		defer func() { ended(failed != nil && failed.Reason == UnknownOutcome) }()
	}
	resp, failed = c.send(ctx, r)
	if failed != nil {
		return response{}, failed
	}
	if resp.status != want {
		return resp, c.errorFromResponse(r, resp)
	}
	if want != http.StatusNoContent && !resp.isJSON() {
		return resp, r.malformed(resp, "the response is not JSON")
	}
	return resp, nil
}

// send sends a request. It sends a read again after a 429 if it belongs to work that has begun or
// to a resync, which would have to start again otherwise. It leaves any other 429 to the caller.
func (c *Client) send(ctx context.Context, r request) (response, *Error) {
	p := priorityOf(ctx, r)
	giveUp := c.settings.Clock.Now().Add(p.patience())
	for attempt := 1; ; attempt++ {
		resp, failed := c.sendOnce(ctx, r, p, giveUp.Sub(c.settings.Clock.Now()))
		if failed != nil {
			return response{}, failed
		}
		if resp.status != http.StatusTooManyRequests {
			markBegun(ctx)
			return resp, nil
		}
		if r.write() || p != begun && p != resyncing || attempt == maxThrottledAttempts {
			return resp, nil
		}
	}
}

// sendOnce waits for a free request slot, sends one request and reads the whole response. patience
// bounds the wait while Kong rate-limits the client.
func (c *Client) sendOnce(ctx context.Context, r request, p priority, patience time.Duration) (response, *Error) {
	req, failed := c.newRequest(r)
	if failed != nil {
		return response{}, failed
	}
	if failed := c.acquire(ctx, r, p, patience); failed != nil {
		return response{}, failed
	}
	defer c.scheduler.release(p)
	if failed := c.checkLeader(r); failed != nil {
		return response{}, failed
	}
	ctx, failed = uninterrupted(ctx, r)
	if failed != nil {
		return response{}, failed
	}

	ctx, cancel := context.WithTimeout(ctx, c.settings.RequestTimeout)
	defer cancel()
	var sent atomic.Bool // written by the goroutines of the transport
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})

	start, sentAt := time.Now(), c.settings.Clock.Now()
	resp, err := c.exchange(ctx, req, r, &sent)
	c.metrics.observe(c.settings.Name, r.method, resp.status, time.Since(start))
	switch {
	case err != nil:
		return response{}, c.connectionError(r, err, sent.Load())
	case resp.status == http.StatusTooManyRequests:
		c.scheduler.throttled(sentAt, retryAfter(resp.header))
	default:
		c.scheduler.succeeded()
	}
	return resp, nil
}

// acquire waits until the request may be sent.
func (c *Client) acquire(ctx context.Context, r request, p priority, patience time.Duration) *Error {
	retryAfter, err := c.scheduler.acquire(ctx, p, patience)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errThrottled):
		return &Error{Reason: Throttled, Op: r.op, RetryAfter: retryAfter, Message: "not sent: Kong rate-limited an earlier request (429), and its Retry-After has not expired"}
	}
	return &Error{Reason: Unavailable, Op: r.op, Message: "not sent: the time ran out while the request waited for its turn", err: err}
}

// checkLeader refuses a write if this process may have lost the leader election. A process
// that was frozen after it decided on the write does not know. So send checks last, after
// all waiting.
func (c *Client) checkLeader(r request) *Error {
	if !r.write() || c.isLeader == nil || c.isLeader() {
		return nil
	}
	return &Error{Reason: Unavailable, Op: r.op, Message: "not sent: another replica may be the leader now"}
}

// uninterrupted returns the context of a request. A write that has begun runs to its end when the process
// stops: its outcome would be unknown otherwise, and the next leader would have to wait. None begins any
// more.
func uninterrupted(ctx context.Context, r request) (context.Context, *Error) {
	if !r.write() {
		return ctx, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, &Error{Reason: Unavailable, Op: r.op, Message: "not sent: the process stops, or the time ran out before", err: err}
	}
	return context.WithoutCancel(ctx), nil
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
		return nil, &Error{Reason: Invalid, Op: r.op, Message: "the request cannot be built", err: err}
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

// exchange sends a request and reads the response. If either fails, the status is 0. It sets
// sent once a response proves that the request was sent.
func (c *Client) exchange(ctx context.Context, req *http.Request, r request, sent *atomic.Bool) (response, error) {
	// kong.Client.Do does not fit: it drops the body of an error, takes redirects for
	// success and reads without a bound.
	resp, err := c.kong.DoRAW(ctx, req)
	if err != nil {
		return response{}, err
	}
	defer func() { _ = resp.Body.Close() }() // the body has been read by then
	sent.Store(true)

	limit := r.maxBody()
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
	complete := response{status: resp.StatusCode, header: resp.Header, body: body}
	if complete.isJSON() {
		if err := checkJSON(body, r.maxValues()); err != nil {
			return response{}, err
		}
	}
	return complete, nil
}

// redact removes the token from text that comes from outside.
func (c *Client) redact(s string) string {
	if c.settings.Token == "" {
		return s
	}
	return strings.ReplaceAll(s, c.settings.Token, "[redacted]")
}
