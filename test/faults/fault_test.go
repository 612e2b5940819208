package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"path"
	"strings"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// fault is one way in which a call can fail.
type fault struct {
	name string
	// on are the calls that can fail like this, by their names.
	on []string
	// Either of the two does it.
	kong func(*kongCall) (*http.Response, error)
	kube func(*kubeCall) error

	// telling faults are part of the short run for every call, paired faults of pairs.
	telling bool
	paired  bool
	// deadly faults end the process.
	deadly bool
	// truthful answers are Kong's own, so that what is done about them may be a write.
	truthful bool
	// nudged: only a new input helps afterwards, as if it had been true.
	nudged bool
}

const (
	requestTimeout = 5 * time.Second         // of a KongGateway that does not set another
	landsLate      = 9900 * time.Millisecond // within request time-out and Kong's database time-out
)

var (
	kongReads  = []string{"G1", "G2", "G3", "G7", "G8", "G9"}
	kongWrites = []string{"G4", "G5", "G6"}
	kongCalls  = append(append([]string{}, kongReads...), kongWrites...)
	kubeReads  = []string{"K2", "K4", "K4g"}
	kubeWrites = []string{"K3", "K5", "K6", "K3g", "K5g", "K6g"}
	kubeCalls  = append(append([]string{}, kubeReads...), kubeWrites...)
)

func concat(lists ...[]string) []string {
	var all []string
	for _, list := range lists {
		all = append(all, list...)
	}
	return all
}

// faultsOfKong are those of the link to Kong, and of Kong.
var faultsOfKong = []*fault{
	{name: "crash-before", on: kongCalls, deadly: true, paired: true, kong: func(c *kongCall) (*http.Response, error) {
		c.life.die()
		return nil, errDead
	}},
	{name: "crash-after", on: kongWrites, deadly: true, telling: true, paired: true, kong: func(c *kongCall) (*http.Response, error) {
		_, _ = c.forward()
		c.life.die()
		return nil, errDead
	}},
	{name: "crash-late", on: kongWrites, deadly: true, telling: true, paired: true, kong: func(c *kongCall) (*http.Response, error) {
		c.commitLate()
		c.in(landsLate, c.release)
		c.life.die()
		return nil, errDead
	}},
	{name: "lost", on: kongWrites, paired: true, kong: func(c *kongCall) (*http.Response, error) {
		_, _ = c.forward()
		return nil, errClosed
	}},
	{name: "refused", on: kongCalls, kong: func(*kongCall) (*http.Response, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}},
	{name: "reset", on: kongCalls, kong: func(c *kongCall) (*http.Response, error) {
		c.sent()
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	}},
	{name: "timeout", on: kongCalls, paired: true, kong: func(c *kongCall) (*http.Response, error) {
		c.sent()
		c.clock.Step(requestTimeout)
		return nil, context.DeadlineExceeded
	}},
	{name: "late", on: kongWrites, telling: true, paired: true, kong: func(c *kongCall) (*http.Response, error) {
		c.commitLate()
		c.in(landsLate, c.release)
		c.clock.Step(requestTimeout)
		return nil, context.DeadlineExceeded
	}},
	{name: "late-soon", on: kongWrites, kong: func(c *kongCall) (*http.Response, error) {
		c.commitLate()
		c.clock.Step(requestTimeout)
		c.afterNextPass(c.release)
		return nil, context.DeadlineExceeded
	}},
	{name: "500", on: kongCalls, paired: true, kong: answers(500, `{"message":"An unexpected error occurred"}`)},
	{name: "500-done", on: kongWrites, kong: func(c *kongCall) (*http.Response, error) {
		_, _ = c.forward()
		return c.answer(500, `{"message":"An unexpected error occurred"}`), nil
	}},
	{name: "500-late", on: kongWrites, kong: func(c *kongCall) (*http.Response, error) {
		c.commitLate()
		c.in(landsLate, c.release)
		c.clock.Step(requestTimeout)
		return c.answer(500, `{"message":"An unexpected error occurred"}`), nil
	}},
	{name: "503", on: kongCalls, kong: answers(503, "<html><body>Service Unavailable</body></html>")},
	{name: "400", on: []string{"G4", "G5"}, nudged: true, kong: answers(400,
		`{"message":"schema violation (config.minute: expected a number)","fields":{"config":{"minute":"expected a number"}},"name":"schema violation","code":2}`)},
	{name: "400-delete", on: []string{"G6"}, kong: answers(400, `{"message":"schema violation (x: y)","fields":{"x":"y"},"name":"schema violation","code":2}`)},
	{name: "400-reference", on: []string{"G4", "G5"}, kong: answers(400,
		`{"message":"the foreign key '{id=\"`+ordersID+`\"}' does not reference an existing 'services' entity.","fields":{"@foreign":["x"]},"name":"foreign key violation","code":4}`)},
	{name: "401", on: kongCalls, kong: answers(401, `{"message":"Invalid RBAC credentials"}`)},
	{name: "403", on: kongCalls, kong: answers(403, `{"message":"you do not have permissions to do this"}`)},
	{name: "409", on: []string{"G4", "G5"}, paired: true, kong: answers(409,
		`{"message":"UNIQUE violation detected on '{name=\"rate-limiting\"}'","fields":{"name":"rate-limiting"},"name":"unique constraint violation","code":5}`)},
	{name: "429", on: kongCalls, kong: func(c *kongCall) (*http.Response, error) {
		c.sent()
		c.in(6900*time.Millisecond, c.life.endPause)
		a := c.answer(429, `{"message":"API rate limit exceeded"}`)
		a.Header.Set("Retry-After", "7")
		return a, nil
	}},
	// Kong itself says that it is not there. For what a plugin applies to, and for its
	// schema, that may be so for a moment.
	{name: "404", on: []string{"G3"}, kong: answers(404, `{"message":"Not found"}`)},
	{name: "404-schema", on: []string{"G7"}, kong: func(c *kongCall) (*http.Response, error) {
		c.sent()
		return c.answer(404, `{"message":"No plugin named '`+path.Base(c.request.URL.Path)+`'"}`), nil
	}},
	// Somebody else says so, whom nobody believes.
	{name: "404-foreign", on: kongCalls, kong: answers(404, `{"message":"no Route matched with those values"}`)},
	{name: "404-html", on: kongCalls, kong: answers(404, "<html><body>Not Found</body></html>")},
	{name: "truncated", on: concat(kongReads, []string{"G4", "G5"}), paired: true, kong: func(c *kongCall) (*http.Response, error) {
		return c.changed(func(body string) (io.Reader, error) {
			return io.MultiReader(strings.NewReader(body[:len(body)/2]), ended{io.ErrUnexpectedEOF}), nil
		})
	}},
	{name: "half", on: concat(kongReads, []string{"G4", "G5"}), kong: func(c *kongCall) (*http.Response, error) {
		return c.changed(func(body string) (io.Reader, error) { return strings.NewReader(body[:len(body)/2]), nil })
	}},
	{name: "html", on: kongCalls, kong: answers(200, "<html><body>Log in to the network</body></html>")},
	{name: "html-done", on: kongWrites, kong: func(c *kongCall) (*http.Response, error) {
		_, _ = c.forward()
		return c.answer(200, "<html><body>Log in to the network</body></html>"), nil
	}},
	{name: "empty", on: kongCalls, kong: answers(200, "")},
	{name: "null", on: concat(kongReads, []string{"G4", "G5"}), kong: func(c *kongCall) (*http.Response, error) {
		return c.changed(func(string) (io.Reader, error) { return strings.NewReader("null"), nil })
	}},
	{name: "other-id", on: []string{"G1", "G3", "G5"}, kong: func(c *kongCall) (*http.Response, error) {
		return c.changed(editJSON(func(row map[string]any) { row["id"] = "99999999-9999-4999-8999-999999999999" }))
	}},
	{name: "no-id", on: []string{"G1", "G2", "G3", "G4", "G5"}, kong: func(c *kongCall) (*http.Response, error) {
		return c.changed(editJSON(func(row map[string]any) { delete(row, "id") }))
	}},
	// A list in which rows are missing.
	{name: "short", on: []string{"G8"}, truthful: true, kong: func(c *kongCall) (*http.Response, error) {
		return c.changed(func(string) (io.Reader, error) { return strings.NewReader(`{"data":[],"next":null}`), nil })
	}},
}

// faultsOfKubernetes are those of the link to the API server, and of the API server.
var faultsOfKubernetes = []*fault{
	{name: "crash-before", on: concat(kubeCalls, []string{"K7"}), deadly: true, paired: true, kube: func(c *kubeCall) error {
		c.life.die()
		return forbidden(c.id)
	}},
	{name: "crash-after", on: kubeWrites, deadly: true, telling: true, paired: true, kube: func(c *kubeCall) error {
		_ = c.forward()
		c.life.die()
		return forbidden(c.id)
	}},
	{name: "crash-stale", on: kubeWrites, deadly: true, telling: true, paired: true, kube: func(c *kubeCall) error {
		// The next process reads from an API server that is behind.
		_ = c.forward()
		c.stale = 4
		c.life.die()
		return forbidden(c.id)
	}},
	{name: "stale", on: kubeWrites, telling: true, paired: true, kube: func(c *kubeCall) error {
		c.stale = 4
		return c.forward()
	}},
	{name: "conflict", on: kubeWrites, kube: func(c *kubeCall) error {
		return apierrors.NewConflict(resource(c.id), c.id.Name, errors.New("the object has been modified"))
	}},
	{name: "not-found", on: []string{"K3", "K3g", "K5g"}, kube: func(c *kubeCall) error {
		return apierrors.NewNotFound(resource(c.id), c.id.Name)
	}},
	// It is there, so that only something new shows it again.
	{name: "not-found-there", on: []string{"K2", "K4", "K5"}, nudged: true, kube: func(c *kubeCall) error {
		return apierrors.NewNotFound(resource(c.id), c.id.Name)
	}},
	{name: "forbidden", on: kubeCalls, kube: func(c *kubeCall) error { return forbidden(c.id) }},
	{name: "server-error", on: kubeCalls, paired: true, kube: func(*kubeCall) error {
		return apierrors.NewInternalError(errors.New("etcdserver: leader changed"))
	}},
	{name: "timeout", on: kubeCalls, kube: func(*kubeCall) error {
		return apierrors.NewTimeoutError("request did not complete within the allotted timeout", 1)
	}},
	{name: "timeout-done", on: kubeWrites, paired: true, kube: func(c *kubeCall) error {
		_ = c.forward()
		return apierrors.NewTimeoutError("request did not complete within the allotted timeout", 1)
	}},
	{name: "late", on: kubeWrites, kube: func(c *kubeCall) error {
		c.afterNextPass(func() {
			c.note("      late %s: %v", c.name, c.late())
			c.learn(c.id)
		})
		return apierrors.NewTimeoutError("request did not complete within the allotted timeout", 1)
	}},
	{name: "invalid", on: []string{"K5", "K5g"}, kube: func(c *kubeCall) error {
		return apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind("PluginBinding").GroupKind(), c.id.Name, nil)
	}},
}

var allFaults = append(append([]*fault{}, faultsOfKong...), faultsOfKubernetes...)

// applies says whether a call can fail like this.
func (f *fault) applies(call callID) bool {
	for _, name := range f.on {
		if name == call.name {
			return true
		}
	}
	return false
}

// answers in Kong's place, without doing anything.
func answers(status int, body string) func(*kongCall) (*http.Response, error) {
	return func(c *kongCall) (*http.Response, error) {
		c.sent()
		return c.answer(status, body), nil
	}
}

func (c *kongCall) answer(status int, body string) *http.Response {
	contentType := "application/json; charset=utf-8"
	if strings.HasPrefix(body, "<") {
		contentType = "text/html; charset=UTF-8"
	}
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": {contentType}},
		Body:          io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)),
		Request:       c.request,
	}
}

// changed is Kong's answer with another body.
func (c *kongCall) changed(change func(string) (io.Reader, error)) (*http.Response, error) {
	a, err := c.forward()
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(a.Body)
	if err != nil {
		return nil, err
	}
	next, err := change(string(body))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(next)
	if err == nil && string(text) == string(body) {
		c.readFailed = false // nothing to spoil in this answer
	}
	a.Body, a.ContentLength = io.NopCloser(io.MultiReader(bytes.NewReader(text), ended{err})), -1
	return a, nil
}

// ended is the end of a body, in whatever way.
type ended struct{ err error }

func (e ended) Read([]byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	return 0, io.EOF
}

func editJSON(edit func(map[string]any)) func(string) (io.Reader, error) {
	return func(body string) (io.Reader, error) {
		var row map[string]any
		if err := json.Unmarshal([]byte(body), &row); err != nil {
			return nil, err
		}
		if row["id"] == nil {
			return strings.NewReader(body), nil
		}
		edit(row)
		text, err := json.Marshal(row)
		return bytes.NewReader(text), err
	}
}

// commitLate lets Kong have the request and keeps its write back.
func (c *kongCall) commitLate() {
	c.sent()
	c.checkWrite(c)
	remove := c.bench.server.Inject(kongtest.Fault{Method: c.request.Method, Kind: kongtest.CommitLate, Times: 1})
	_, _ = c.deliverRequest()
	remove()
}

// release lets what was kept back land.
func (w *world) release() {
	w.note("      what Kong kept back lands")
	w.bench.server.ReleaseLate()
}

// afterNextPass does something when the pass after this one has ended.
func (w *world) afterNextPass(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// This pass runs the hook, which puts it off once more.
	w.hooks = append(w.hooks, func() { w.hooks = append(w.hooks, do) })
}

func resource(id objectID) schema.GroupResource {
	return schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: id.kind}
}

func forbidden(id objectID) error {
	return apierrors.NewForbidden(resource(id), id.Name, errors.New("refused"))
}
