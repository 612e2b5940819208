package adminapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"syscall"
)

// locationHeader is the header to which refuseRedirects moves the target of a redirect.
const locationHeader = "Refused-Location"

// refuseRedirects hides the target of redirects from http.Client, so that it follows none:
// a redirect would carry the token to another server, and Kong never sends one. Also,
// http.Client fails on a target that it cannot parse, with an error that repeats it.
type refuseRedirects struct{ http.RoundTripper }

func (rt refuseRedirects) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := rt.RoundTripper.RoundTrip(req)
	if err == nil {
		resp.Header.Set(locationHeader, resp.Header.Get("Location"))
		resp.Header.Del("Location")
	}
	return resp, err
}

// connectionError returns the Error for a request without a complete response. Kong did not
// apply a write whose header was not sent.
func (c *Client) connectionError(r request, err error, sent bool) *Error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	e := &Error{Reason: Unavailable, Op: r.op, err: err}
	var forbidden forbiddenAddressError
	if errors.As(err, &forbidden) {
		e.Reason, e.Message = Invalid, forbidden.Error()
		return e
	}
	if text := tlsProblem(err, sent); text != "" {
		e.Reason, e.Message = TLS, c.redact(text)
		return e
	}
	e.Message = c.redact(networkText(err))
	if sent {
		e.Reason = r.unknown()
	} else {
		e.Message = "connect to " + c.base.Host + ": " + e.Message
	}
	return e
}

// networkText describes a network error without local addresses and times.
func networkText(err error) string {
	var dns *net.DNSError
	var errno syscall.Errno
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "no such host"
	case errors.As(err, &dns):
		return "the host name could not be looked up"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed before the end of the response"
	}
	text := err.Error()
	if strings.Contains(text, "malformed") { // the rest repeats what was received
		return "the response is not HTTP"
	}
	return addresses.ReplaceAllString(text, "")
}

// addresses matches the addresses of both ends, as package net writes them.
var addresses = regexp.MustCompile(`(\[[\w:.%]+\]|\d{1,3}(\.\d{1,3}){3}):\d+(->)?:? ?`)

// tlsProblem describes why TLS refused a connection. It returns "" for other errors.
func tlsProblem(err error, sent bool) string {
	var (
		expired  x509.CertificateInvalidError
		verify   *tls.CertificateVerificationError
		record   tls.RecordHeaderError
		conn     *net.OpError
		isExpiry = errors.As(err, &expired) && expired.Reason == x509.Expired
	)
	switch {
	case isExpiry: // the text holds the current time
		return "the server's certificate has expired or is not yet valid"
	case errors.As(err, &verify):
		return verify.Err.Error()
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &record):
		return "adminURL is https, and the server does not speak TLS"
	case !errors.As(err, &conn) || conn.Err == nil || !strings.HasPrefix(conn.Err.Error(), "tls: "):
		return ""
	case conn.Op == "remote error" && strings.Contains(conn.Err.Error(), "certificate"):
		// In TLS 1.3 this can arrive after the request was sent: the client may send before
		// the server verifies its certificate. The server verifies it before it reads the
		// request.
		return "the server refused the client certificate: " + conn.Err.Error()
	case !sent:
		return conn.Op + ": " + conn.Err.Error()
	}
	return ""
}
