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
	// on lists the calls that can fail like this, by name.
	on []string
	// Exactly one of the two is set.
	kong func(*kongCall) (*http.Response, error)
	kube func(*kubeCall) error

	// The short run tries faults that are inShortRun at every call. It tries paired faults in
	// pairs.
	inShortRun bool
	paired     bool
	// A fault that crashes ends the process.
	crashes bool
	// An authentic response is Kong's own, so the operator may write in reaction to it.
	authentic bool
	// After a fault that needsTrigger the operator recovers only when a new input arrives, as
	// if the response had been true.
	needsTrigger bool
}

const (
	requestTimeout = 5 * time.Second         // of a KongGateway that does not set another
	lateCommit     = 9900 * time.Millisecond // within request time-out and Kong's database time-out
)

var (
	kongReads  = []string{kongGetPlugin, kongGetPluginByName, kongGetEntity, kongGetSchema, kongList, kongProbe, kongValidatePlugin}
	kongWrites = []string{kongCreatePlugin, kongPutPlugin, kongDeletePlugin}
	kongCalls  = append(append([]string{}, kongReads...), kongWrites...)
	kubeReads  = []string{kubeGetSecret, kubeGetBinding, kubeGetGateway, kubeListBindings}
	kubeWrites = []string{kubeAddBindingFinalizer, kubePatchBindingStatus, kubeRemoveBindingFinalizer, kubeAddGatewayFinalizer, kubePatchGatewayStatus, kubeRemoveGatewayFinalizer}
	kubeCalls  = append(append([]string{}, kubeReads...), kubeWrites...)
)

func concat(lists ...[]string) []string {
	var all []string
	for _, list := range lists {
		all = append(all, list...)
	}
	return all
}

// faultsOfKong lists the faults of Kong and of the connection to it.
var faultsOfKong = []*fault{
	{name: "crash-before", on: kongCalls, crashes: true, paired: true, kong: func(c *kongCall) (*http.Response, error) {
		c.proc.die()
		return nil, errDead
	}},
	{name: "crash-after", on: kongWrites, crashes: true, inShortRun: true, paired: true, kong: func(c *kongCall) (*http.Response, error) {
		_, _ = c.forward()
		c.proc.die()
		return nil, errDead
	}},
	{name: "crash-late", on: kongWrites, crashes: true, inShortRun: true, paired: true, kong: func(c *kongCall) (*http.Response, error) {
		c.commitLate()
		c.after(lateCommit, c.releaseLate)
		c.proc.die()
		return nil, errDead
	}},
	// The process is stopped in order while Kong answers, or does not answer, its write.
	{name: "end-after", on: kongWrites, crashes: true, inShortRun: true, kong: func(c *kongCall) (*http.Response, error) {
		c.proc.stop()
		return c.forward()
	}},
	{name: "end-late", on: kongWrites, crashes: true, inShortRun: true, kong: func(c *kongCall) (*http.Response, error) {
		c.proc.stop()
		c.commitLate()
		c.after(lateCommit, c.releaseLate)
		c.clock.Step(requestTimeout)
		return nil, context.DeadlineExceeded
	}},
	{name: "lost", on: kongWrites, paired: true, kong: func(c *kongCall) (*http.Response, error) {
		_, _ = c.forward()
		return nil, errClosed
	}},
	{name: "refused", on: kongCalls, kong: func(*kongCall) (*http.Response, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}},
	{name: "reset", on: kongCalls, kong: func(c *kongCall) (*http.Response, error) {
		c.markSent()
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	}},
	{name: "timeout", on: kongCalls, paired: true, kong: func(c *kongCall) (*http.Response, error) {
		c.markSent()
		c.clock.Step(requestTimeout)
		return nil, context.DeadlineExceeded
	}},
	{name: "late", on: kongWrites, inShortRun: true, paired: true, kong: func(c *kongCall) (*http.Response, error) {
		c.commitLate()
		c.after(lateCommit, c.releaseLate)
		c.clock.Step(requestTimeout)
		return nil, context.DeadlineExceeded
	}},
	{name: "late-soon", on: kongWrites, kong: func(c *kongCall) (*http.Response, error) {
		c.commitLate()
		c.clock.Step(requestTimeout)
		c.afterNextReconcile(c.releaseLate)
		return nil, context.DeadlineExceeded
	}},
	{name: "500", on: kongCalls, paired: true, kong: respondWith(500, `{"message":"An unexpected error occurred"}`)},
	{name: "500-done", on: kongWrites, kong: func(c *kongCall) (*http.Response, error) {
		_, _ = c.forward()
		return c.response(500, `{"message":"An unexpected error occurred"}`), nil
	}},
	{name: "500-late", on: kongWrites, kong: func(c *kongCall) (*http.Response, error) {
		c.commitLate()
		c.after(lateCommit, c.releaseLate)
		c.clock.Step(requestTimeout)
		return c.response(500, `{"message":"An unexpected error occurred"}`), nil
	}},
	{name: "503", on: kongCalls, kong: respondWith(503, "<html><body>Service Unavailable</body></html>")},
	{name: "400", on: []string{kongCreatePlugin, kongPutPlugin, kongValidatePlugin}, needsTrigger: true, kong: respondWith(400,
		`{"message":"schema violation (config.minute: expected a number)","fields":{"config":{"minute":"expected a number"}},"name":"schema violation","code":2}`)},
	{name: "400-delete", on: []string{kongDeletePlugin}, kong: respondWith(400, `{"message":"schema violation (x: y)","fields":{"x":"y"},"name":"schema violation","code":2}`)},
	{name: "400-reference", on: []string{kongCreatePlugin, kongPutPlugin}, kong: respondWith(400,
		`{"message":"the foreign key '{id=\"`+ordersID+`\"}' does not reference an existing 'services' entity.","fields":{"@foreign":["x"]},"name":"foreign key violation","code":4}`)},
	{name: "401", on: kongCalls, kong: respondWith(401, `{"message":"Invalid RBAC credentials"}`)},
	{name: "403", on: kongCalls, kong: respondWith(403, `{"message":"you do not have permissions to do this"}`)},
	{name: "409", on: []string{kongCreatePlugin, kongPutPlugin}, paired: true, kong: respondWith(409,
		`{"message":"UNIQUE violation detected on '{name=\"rate-limiting\"}'","fields":{"name":"rate-limiting"},"name":"unique constraint violation","code":5}`)},
	{name: "429", on: kongCalls, kong: func(c *kongCall) (*http.Response, error) {
		c.markSent()
		c.after(6900*time.Millisecond, c.proc.endRateLimit)
		a := c.response(429, `{"message":"API rate limit exceeded"}`)
		a.Header.Set("Retry-After", "7")
		return a, nil
	}},
	// Kong itself responds with 404. For an entity of a scope and for a schema, that can be
	// true for a moment.
	{name: "404", on: []string{kongGetEntity}, kong: respondWith(404, `{"message":"Not found"}`)},
	{name: "404-schema", on: []string{kongGetSchema}, kong: func(c *kongCall) (*http.Response, error) {
		c.markSent()
		return c.response(404, `{"message":"No plugin named '`+path.Base(c.request.URL.Path)+`'"}`), nil
	}},
	// A 404 that is not Kong's. The operator must not believe it.
	{name: "404-foreign", on: kongCalls, kong: respondWith(404, `{"message":"no Route matched with those values"}`)},
	{name: "404-html", on: kongCalls, kong: respondWith(404, "<html><body>Not Found</body></html>")},
	{name: "truncated", on: concat(kongReads, []string{kongCreatePlugin, kongPutPlugin}), paired: true, kong: func(c *kongCall) (*http.Response, error) {
		return c.withBody(func(body string) (io.Reader, error) {
			return io.MultiReader(strings.NewReader(body[:len(body)/2]), bodyEnd{io.ErrUnexpectedEOF}), nil
		})
	}},
	{name: "half", on: concat(kongReads, []string{kongCreatePlugin, kongPutPlugin}), kong: func(c *kongCall) (*http.Response, error) {
		return c.withBody(func(body string) (io.Reader, error) { return strings.NewReader(body[:len(body)/2]), nil })
	}},
	{name: "html", on: kongCalls, kong: respondWith(200, "<html><body>Log in to the network</body></html>")},
	{name: "html-done", on: kongWrites, kong: func(c *kongCall) (*http.Response, error) {
		_, _ = c.forward()
		return c.response(200, "<html><body>Log in to the network</body></html>"), nil
	}},
	{name: "empty", on: kongCalls, kong: respondWith(200, "")},
	{name: "null", on: concat(kongReads, []string{kongCreatePlugin, kongPutPlugin}), kong: func(c *kongCall) (*http.Response, error) {
		return c.withBody(func(string) (io.Reader, error) { return strings.NewReader("null"), nil })
	}},
	{name: "other-id", on: []string{kongGetPlugin, kongGetEntity, kongPutPlugin}, kong: func(c *kongCall) (*http.Response, error) {
		return c.withBody(editJSON(func(row map[string]any) { row["id"] = "99999999-9999-4999-8999-999999999999" }))
	}},
	{name: "no-id", on: []string{kongGetPlugin, kongGetPluginByName, kongGetEntity, kongCreatePlugin, kongPutPlugin}, kong: func(c *kongCall) (*http.Response, error) {
		return c.withBody(editJSON(func(row map[string]any) { delete(row, "id") }))
	}},
	// A list that lacks rows.
	{name: "short", on: []string{kongList}, authentic: true, kong: func(c *kongCall) (*http.Response, error) {
		return c.withBody(func(string) (io.Reader, error) { return strings.NewReader(`{"data":[],"next":null}`), nil })
	}},
}

// faultsOfKubernetes lists the faults of the API server and of the connection to it.
var faultsOfKubernetes = []*fault{
	{name: "crash-before", on: concat(kubeCalls, []string{kubeCreateEvent}), crashes: true, paired: true, kube: func(c *kubeCall) error {
		c.proc.die()
		return forbidden(c.id)
	}},
	{name: "crash-after", on: kubeWrites, crashes: true, inShortRun: true, paired: true, kube: func(c *kubeCall) error {
		_ = c.forward()
		c.proc.die()
		return forbidden(c.id)
	}},
	{name: "crash-stale", on: kubeWrites, crashes: true, inShortRun: true, paired: true, kube: func(c *kubeCall) error {
		// The next process reads from an API server that is behind.
		_ = c.forward()
		c.staleReconciles = 4
		c.proc.die()
		return forbidden(c.id)
	}},
	{name: "end-before", on: kubeCalls, crashes: true, kube: func(c *kubeCall) error {
		c.proc.stop()
		return c.forward()
	}},
	{name: "end-after", on: kubeWrites, crashes: true, kube: func(c *kubeCall) error {
		err := c.forward()
		c.proc.stop()
		return err
	}},
	{name: "stale", on: kubeWrites, inShortRun: true, paired: true, kube: func(c *kubeCall) error {
		c.staleReconciles = 4
		return c.forward()
	}},
	{name: "conflict", on: kubeWrites, kube: func(c *kubeCall) error {
		return apierrors.NewConflict(resource(c.id), c.id.Name, errors.New("the object has been modified"))
	}},
	{name: "not-found", on: []string{kubeAddBindingFinalizer, kubeAddGatewayFinalizer, kubePatchGatewayStatus}, kube: func(c *kubeCall) error {
		return apierrors.NewNotFound(resource(c.id), c.id.Name)
	}},
	// The object exists. Only a new event shows it again.
	{name: "not-found-there", on: []string{kubeGetSecret, kubeGetBinding, kubePatchBindingStatus}, needsTrigger: true, kube: func(c *kubeCall) error {
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
		c.afterNextReconcile(func() {
			c.tracef("      late %s: %v", c.name, c.late())
			c.refresh(c.id)
		})
		return apierrors.NewTimeoutError("request did not complete within the allotted timeout", 1)
	}},
	{name: "invalid", on: []string{kubePatchBindingStatus, kubePatchGatewayStatus}, kube: func(c *kubeCall) error {
		return apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind("PluginBinding").GroupKind(), c.id.Name, nil)
	}},
}

var allFaults = append(append([]*fault{}, faultsOfKong...), faultsOfKubernetes...)

// applies reports whether a call can fail like this.
func (f *fault) applies(call callID) bool {
	for _, name := range f.on {
		if name == call.name {
			return true
		}
	}
	return false
}

// respondWith responds in place of Kong, which does not get the request.
func respondWith(status int, body string) func(*kongCall) (*http.Response, error) {
	return func(c *kongCall) (*http.Response, error) {
		c.markSent()
		return c.response(status, body), nil
	}
}

func (c *kongCall) response(status int, body string) *http.Response {
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

// withBody is Kong's response with another body.
func (c *kongCall) withBody(change func(string) (io.Reader, error)) (*http.Response, error) {
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
		c.readFailed = false // this response has nothing to change
	}
	a.Body, a.ContentLength = io.NopCloser(io.MultiReader(bytes.NewReader(text), bodyEnd{err})), -1
	return a, nil
}

// bodyEnd is the end of a body: io.EOF, or another error.
type bodyEnd struct{ err error }

func (e bodyEnd) Read([]byte) (int, error) {
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

// commitLate passes the request to Kong, which holds its write back.
func (c *kongCall) commitLate() {
	c.markSent()
	c.checkWrite(c)
	remove := c.kong.server.Inject(kongtest.Fault{Method: c.request.Method, Kind: kongtest.CommitLate, Times: 1})
	_, _ = c.deliverRequest()
	remove()
}

// releaseLate commits the writes that Kong held back.
func (sim *simulation) releaseLate() {
	sim.tracef("      what Kong kept back lands")
	sim.kong.server.ReleaseLate()
}

// afterNextReconcile calls a function when the reconcile after the current one has ended.
func (sim *simulation) afterNextReconcile(do func()) {
	sim.mu.Lock()
	defer sim.mu.Unlock()
	// The current reconcile runs the outer hook, which adds the inner one.
	sim.afterReconcile = append(sim.afterReconcile, func() { sim.afterReconcile = append(sim.afterReconcile, do) })
}

func resource(id objectID) schema.GroupResource {
	return schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: id.kind}
}

func forbidden(id objectID) error {
	return apierrors.NewForbidden(resource(id), id.Name, errors.New("refused"))
}
