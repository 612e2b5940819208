package adminapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Error codes of Kong.
const (
	codeForeignKey  = 4
	codeUnique      = 5
	codeUnsupported = 12
	codeUnresolved  = 13
)

// maxRetryAfter bounds the pause that a response can ask for.
const maxRetryAfter = 5 * time.Minute

// kongError is the body of an error response of Kong.
type kongError struct {
	Message string         `json:"message"`
	Code    int            `json:"code"`
	Fields  map[string]any `json:"fields"`
}

// kongError decodes the response as an error of Kong; ok reports whether it is one.
func (resp response) kongError() (body kongError, ok bool) {
	if !resp.isJSON() || json.Unmarshal(resp.body, &body) != nil {
		return kongError{}, false
	}
	return body, body.Message != ""
}

// errorFromResponse returns the Error for a response without the wanted status.
func (c *Client) errorFromResponse(r request, resp response) *Error {
	body, ok := resp.kongError()
	e := &Error{
		Reason:  c.classify(r, resp, body, ok),
		Op:      r.op,
		Status:  resp.status,
		Code:    body.Code,
		Message: truncate(c.redact(body.Message), maxMessage),
		Fields:  c.flatten(body.Fields),
	}
	switch {
	case e.Reason == Throttled:
		e.RetryAfter = retryAfter(resp.header)
	case isRedirect(resp.status):
		e.Message = c.redirectText(resp.header.Get(locationHeader))
	case e.Reason == Rejected && resp.status == http.StatusRequestEntityTooLarge:
		e.Message = "the config is larger than Kong, or a proxy in front of it, accepts"
	case resp.status == http.StatusBadRequest && !ok:
		if text := plainTextProblem(resp.body); text != "" {
			e.Reason, e.Message = TLS, text
		}
	case resp.status == http.StatusNotFound && e.Reason != NotFound:
		e.Message = strings.TrimPrefix(e.Message+" "+notProof, " ")
	}
	return e
}

// notProof marks a 404 that does not count.
const notProof = "(the operator does not accept this as proof that the entity is missing)"

// classify is the table from responses to Reasons. A refusal of a write counts only in a
// form that Kong, or a guard in front of it, uses when nothing was written.
func (c *Client) classify(r request, resp response, body kongError, ok bool) Reason {
	switch resp.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return Denied
	case http.StatusTooManyRequests:
		return Throttled
	}
	if resp.status == http.StatusRequestEntityTooLarge && r.write() {
		return Rejected // by Kong, or by a proxy in front of it that did not read the rest
	}
	if isRedirect(resp.status) {
		return Unavailable
	}
	if ok {
		if reason := c.classifyKongError(r, resp, body); reason != "" {
			return reason
		}
	}
	return r.unknown()
}

// classifyKongError is the part of the table for errors in Kong's JSON. It returns "" for
// everything else.
func (c *Client) classifyKongError(r request, resp response, body kongError) Reason {
	switch {
	case resp.status == http.StatusBadRequest && body.Code != 0:
		return reasonOfCode(body.Code)
	case resp.status == http.StatusConflict && body.Code == codeUnique && r.write():
		return Conflict
	case resp.status == http.StatusMethodNotAllowed && body.Code == codeUnsupported:
		return NotDatabase
	case resp.status == http.StatusNotFound && c.notFoundTrusted.Load() && resp.isExactly("Not found"):
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

// isExactly reports whether the body is an object with this message and nothing else.
func (resp response) isExactly(message string) bool {
	var body map[string]any
	return resp.isJSON() && json.Unmarshal(resp.body, &body) == nil && len(body) == 1 && body["message"] == message
}

// isRedirect reports whether the status is a redirect, which means that the server did not
// execute the request.
func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// redirectText suggests the right adminURL. It shows only the scheme and host.
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

// plainTextProblem recognizes the pages of nginx for connections without TLS or without a
// client certificate. nginx sends them before anything reads the request.
func plainTextProblem(body []byte) string {
	switch {
	case bytes.Contains(body, []byte("plain HTTP request was sent to HTTPS port")):
		return "adminURL is http, and the server requires https"
	case bytes.Contains(body, []byte("No required SSL certificate was sent")):
		return "the server requires a client certificate"
	case bytes.Contains(body, []byte("The SSL certificate error")):
		return "the server refused the client certificate"
	}
	return ""
}

// retryAfter returns the time to wait after a 429. The header holds seconds or a date.
func retryAfter(h http.Header) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	var wait time.Duration
	if seconds, err := strconv.ParseFloat(value, 64); err == nil {
		wait = time.Duration(min(max(seconds, 0), maxRetryAfter.Seconds()) * float64(time.Second))
	} else if at, err := http.ParseTime(value); err == nil {
		now := time.Now()
		if date, err := http.ParseTime(h.Get("Date")); err == nil {
			now = date // by the same clock
		}
		wait = at.Sub(now)
	}
	return min(max(wait, defaultPause), maxRetryAfter)
}

// flatten returns the nested violations of Kong as a list of at most maxFields. Of more, it
// returns the same ones each time.
func (c *Client) flatten(fields map[string]any) []FieldError {
	v := violations{redact: c.redact}
	v.collect("", fields)
	sort.SliceStable(v.all, func(i, j int) bool {
		if v.all[i].Path != v.all[j].Path {
			return v.all[i].Path < v.all[j].Path
		}
		return v.all[i].Message < v.all[j].Message
	})
	return v.all
}

// violations collects at most maxFields violations, with bounded texts: the keys on the way to
// a violation can be long, and there can be many violations below them.
type violations struct {
	redact func(string) string
	all    []FieldError
}

func (v *violations) add(path, message string) {
	if len(v.all) < maxFields {
		v.all = append(v.all, FieldError{Path: path, Message: truncate(v.redact(message), maxFieldLength)})
	}
}

// collect adds the violations in reported, which is what Kong reports for path. It visits keys in
// their order, so that the bound always keeps the same violations.
func (v *violations) collect(path string, reported any) {
	if len(v.all) == maxFields {
		return
	}
	switch reported := reported.(type) {
	case nil:
	case string:
		v.add(path, reported)
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(reported)) {
			if key == "@entity" {
				v.collectEntity(path, reported[key])
				continue
			}
			v.collect(v.join(path, "."+key), reported[key])
		}
	case []any:
		for i, value := range reported {
			v.collect(v.join(path, fmt.Sprintf("[%d]", i)), value)
		}
	default:
		v.add(path, fmt.Sprint(reported))
	}
}

// join returns a path of at most maxFieldLength bytes.
func (v *violations) join(path, element string) string {
	if path == "" {
		element = strings.TrimPrefix(element, ".")
	}
	return truncate(path+v.redact(element), maxFieldLength)
}

// collectEntity adds the violations that concern the whole of path; Kong sends a list.
func (v *violations) collectEntity(path string, reported any) {
	list, ok := reported.([]any)
	if !ok {
		list = []any{reported}
	}
	for _, value := range list {
		v.collect(path, value)
	}
}
