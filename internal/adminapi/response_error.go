package adminapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Codes of Kong's errors.
const (
	codeForeignKey  = 4
	codeUnique      = 5
	codeUnsupported = 12
	codeUnresolved  = 13
)

const maxRetryAfter = 5 * time.Minute

// kongError is the body of an error of Kong.
type kongError struct {
	Message string         `json:"message"`
	Code    int            `json:"code"`
	Fields  map[string]any `json:"fields"`
}

// kongError decodes an answer as an error of Kong; ok says whether it is one.
func (a response) kongError() (body kongError, ok bool) {
	if !a.isJSON() || json.Unmarshal(a.body, &body) != nil {
		return kongError{}, false
	}
	return body, body.Message != ""
}

// refusal says what an answer means that is not the one hoped for.
func (c *Client) errorFromResponse(r request, a response) *Error {
	body, ok := a.kongError()
	e := &Error{
		Reason:  c.classify(r, a, body, ok),
		Op:      r.op,
		Status:  a.status,
		Code:    body.Code,
		Message: truncate(c.redact(body.Message), maxMessage),
		Fields:  c.flatten(body.Fields),
	}
	switch {
	case e.Reason == Throttled:
		e.RetryAfter = retryAfter(a.header)
	case isRedirect(a.status):
		e.Message = c.redirectText(a.header.Get(locationHeader))
	case e.Reason == Rejected && a.status == http.StatusRequestEntityTooLarge:
		e.Message = "the config is larger than Kong, or a proxy before it, takes"
	case a.status == http.StatusBadRequest && !ok:
		if text := plainTextProblem(a.body); text != "" {
			e.Reason, e.Message = TLS, text
		}
	case a.status == http.StatusNotFound && e.Reason != NotFound:
		e.Message = strings.TrimPrefix(e.Message+" (not taken for an answer about the entity)", " ")
	}
	return e
}

// refusalKind is the table from answers to kinds. For a write, a refusal counts as one
// only if it is of a form that Kong (or a guard before it) gives without having written.
func (c *Client) classify(r request, a response, body kongError, ok bool) Reason {
	switch a.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return Denied
	case http.StatusTooManyRequests:
		return Throttled
	}
	if a.status == http.StatusRequestEntityTooLarge && r.write() {
		return Rejected // by Kong, or by a proxy before it, which did not read the rest
	}
	if isRedirect(a.status) {
		return Unavailable
	}
	if ok {
		if kind := c.classifyKongError(r, a, body); kind != "" {
			return kind
		}
	}
	return r.unknown()
}

// kongKind is the part of the table for errors in Kong's JSON, "" for what is not in it.
func (c *Client) classifyKongError(r request, a response, body kongError) Reason {
	switch {
	case a.status == http.StatusBadRequest && body.Code != 0:
		return reasonOfCode(body.Code)
	case a.status == http.StatusConflict && body.Code == codeUnique && r.write():
		return Conflict
	case a.status == http.StatusMethodNotAllowed && body.Code == codeUnsupported:
		return NotDatabase
	case a.status == http.StatusNotFound && c.trusted.Load() && a.isExactly("Not found"):
		return NotFound
	}
	return ""
}

func reasonOfCode(code int) Reason {
	switch code {
	case codeForeignKey, codeUnresolved:
		return ReferenceMissing
	case codeUnique:
		return Conflict
	case codeUnsupported:
		return NotDatabase
	}
	return Rejected
}

// isExactly says whether the body is an object with this message and nothing else.
func (a response) isExactly(message string) bool {
	var body map[string]any
	return a.isJSON() && json.Unmarshal(a.body, &body) == nil && len(body) == 1 && body["message"] == message
}

// isRedirect says whether a status sends the request elsewhere without having done it.
func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// redirectText says where adminURL should probably point, by scheme and host alone.
func (c *Client) redirectText(location string) string {
	const text = "a redirect, which is not followed"
	u, err := c.base.Parse(location)
	switch {
	case location == "" || err != nil || u.Host == "":
		return text
	case u.Scheme == c.base.Scheme && u.Host == c.base.Host:
		return text + "; is the path of adminURL right?"
	}
	target := url.URL{Scheme: u.Scheme, Host: u.Host}
	return text + "; should adminURL point to " + truncate(c.redact(target.String()), maxFieldLength) + "?"
}

// plainTextProblem recognises nginx's own pages for connections without TLS, or without a
// client certificate, which it gives before anything reads the request.
func plainTextProblem(body []byte) string {
	switch {
	case bytes.Contains(body, []byte("plain HTTP request was sent to HTTPS port")):
		return "adminURL is http, and the server wants https"
	case bytes.Contains(body, []byte("No required SSL certificate was sent")):
		return "the server wants a client certificate"
	case bytes.Contains(body, []byte("The SSL certificate error")):
		return "the server refused the client certificate"
	}
	return ""
}

// retryAfter reads the header as seconds or as a date, within bounds: whoever answers 429
// wants some time.
func retryAfter(h http.Header) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	var wait time.Duration
	if seconds, err := strconv.ParseFloat(value, 64); err == nil {
		wait = time.Duration(min(max(seconds, 0), maxRetryAfter.Seconds()) * float64(time.Second))
	} else if at, err := http.ParseTime(value); err == nil {
		now := time.Now()
		if date, err := http.ParseTime(h.Get("Date")); err == nil {
			now = date // the same clock
		}
		wait = at.Sub(now)
	}
	return min(max(wait, shortestPause), maxRetryAfter)
}

// flatten makes a list of Kong's nested complaints.
func (c *Client) flatten(fields map[string]any) []FieldError {
	var all []FieldError
	collect(&all, "", fields)
	for i := range all {
		all[i].Path = truncate(c.redact(all[i].Path), maxFieldLength)
		all[i].Message = truncate(c.redact(all[i].Message), maxFieldLength)
	}
	sort.Slice(all, func(i, j int) bool {
		if all[i].Path != all[j].Path {
			return all[i].Path < all[j].Path
		}
		return all[i].Message < all[j].Message
	})
	return all[:min(len(all), maxFields)]
}

// collect appends the complaints in v, which is what Kong says about path.
func collect(all *[]FieldError, path string, v any) {
	switch v := v.(type) {
	case nil:
	case string:
		*all = append(*all, FieldError{Path: path, Message: v})
	case map[string]any:
		for key, value := range v {
			if key == "@entity" {
				collectEntity(all, path, value)
				continue
			}
			collect(all, strings.TrimPrefix(path+"."+key, "."), value)
		}
	case []any:
		for i, value := range v {
			collect(all, fmt.Sprintf("%s[%d]", path, i), value)
		}
	default:
		*all = append(*all, FieldError{Path: path, Message: fmt.Sprint(v)})
	}
}

// collectEntity appends complaints about the whole of path, of which Kong makes a list.
func collectEntity(all *[]FieldError, path string, v any) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	for _, value := range list {
		collect(all, path, value)
	}
}
