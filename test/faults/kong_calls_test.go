package faults

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
)

var errClosed = io.EOF

var errDead = errors.New("the process has ended")

// dialer gives every client the transport of the simulation.
type dialer struct {
	connection.AdminAPIClients
	proc *process
}

// swappableClient is a client that endRateLimit can replace. After a 429 a client pauses by the
// real clock, and a simulation cannot wait for that: the replacement knows of no pause.
type swappableClient struct {
	connection.AdminClient
	pooled   connection.AdminClient
	settings adminapi.Settings
}

func (d dialer) Get(gateway string, settings adminapi.Settings) (connection.AdminClient, error) {
	settings.Transport = func(http.RoundTripper) http.RoundTripper { return transport{d.proc} }
	pooled, err := d.AdminAPIClients.Get(gateway, settings)
	if err != nil {
		return nil, err
	}
	if have := d.proc.client; have == nil || have.pooled != pooled {
		d.proc.client = &swappableClient{AdminClient: pooled, pooled: pooled, settings: settings}
	}
	return d.proc.client, nil
}

// endRateLimit ends the pause after a 429.
func (l *process) endRateLimit() {
	if l.client == nil || l.dead {
		return
	}
	next, err := adminapi.New(l.client.settings, nil)
	l.sim.must(err)
	l.bypass = true
	_, err = next.Probe(l.sim.ctx)
	l.bypass = false
	if err != nil { // the database is down, so the pause does not matter
		return
	}
	l.client.AdminClient = next
}

// transport carries the requests of a process to Kong.
type transport struct{ proc *process }

// kongCall is one request to Kong.
type kongCall struct {
	*simulation
	proc    *process
	name    string
	request *http.Request
	body    []byte
}

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.proc.dead {
		return nil, errDead
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	c := &kongCall{simulation: t.proc.sim, proc: t.proc, name: callNameOf(r), request: r}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		c.body = body
	}
	if t.proc.bypass {
		return c.deliverRequest()
	}
	if c.current.kind == kindGateway {
		c.jitter.requestStarted(c.name, c.clock.Now())
		defer func() { c.jitter.requestEnded(c.name, c.clock.Now()) }()
		if c.name == kongList && r.URL.Query().Has("tags") {
			c.resyncs++
		}
	}
	hit := c.beginCall(c.name, r.Method+" "+c.abbreviate(r.URL.RequestURI()), c.isWrite())
	answer, err := c.applyFault(hit)
	if meanwhile := c.duringCall[c.name]; meanwhile != nil {
		delete(c.duringCall, c.name)
		meanwhile()
	}
	switch {
	case t.proc.dead:
		c.tracef("      dead")
	case err != nil:
		c.tracef("      %v", err)
	default:
		c.tracef("      %d", answer.StatusCode)
	}
	return answer, err
}

func (c *kongCall) applyFault(hit *armedFault) (*http.Response, error) {
	switch {
	case hit != nil:
	case c.kongDown:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	case c.kongToken != "" && c.request.Header.Get(adminapi.DefaultTokenHeader) != c.kongToken:
		c.markSent()
		return c.response(http.StatusUnauthorized, `{"message":"Invalid RBAC credentials"}`), nil
	default:
		if c.request.URL.RequestURI() == c.throttledRead {
			// The client sends a read again that Kong rate-limited.
			c.readFailed, c.throttledRead = false, ""
		}
		return c.forward()
	}
	if !c.isWrite() && !hit.fault.crashes && !hit.fault.authentic {
		c.readFailed = true
		if hit.fault.name == "429" {
			c.throttledRead = c.request.URL.RequestURI()
		}
	}
	if c.request.Method == http.MethodPut {
		id := c.request.URL.Path[strings.LastIndex(c.request.URL.Path, "/")+1:]
		hit.pluginServing = c.kong.server.Plugin(id) != nil && c.isRecorded(id)
	}
	return hit.fault.kong(c)
}

// isRecorded reports whether the status of a binding has that plugin ID.
func (sim *simulation) isRecorded(id string) bool {
	return slices.ContainsFunc(sim.stored.sorted(kindBinding), func(of objectID) bool {
		return string(asBinding(sim.stored[of]).Status.PluginID) == id
	})
}

func (sim *simulation) abbreviate(text string) string {
	return strings.ReplaceAll(text, sim.namespace, "NS")
}

var uuidPath = regexp.MustCompile(`^/plugins/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// callNameOf returns the name of a request to Kong.
func callNameOf(r *http.Request) string {
	path := r.URL.Path
	switch {
	case path == "/schemas/plugins/validate":
		return kongValidatePlugin
	case r.Method == http.MethodPost:
		return kongCreatePlugin
	case r.Method == http.MethodPut:
		return kongPutPlugin
	case r.Method == http.MethodDelete:
		return kongDeletePlugin
	case path == "/", path == "", path == "/status":
		return kongProbe
	case strings.HasPrefix(path, "/schemas/"):
		return kongGetSchema
	case uuidPath.MatchString(path):
		return kongGetPlugin
	case strings.HasPrefix(path, "/plugins/"):
		return kongGetPluginByName
	case strings.HasSuffix(path, "/plugins"), r.URL.Query().Has("size"):
		return kongList
	default:
		return kongGetEntity
	}
}

// isWrite reports whether the request changes anything. A validation is a POST, and changes nothing.
func (c *kongCall) isWrite() bool {
	return c.request.Method != http.MethodGet && c.name != kongValidatePlugin
}

// markSent tells the client that its request was written.
func (c *kongCall) markSent() {
	if trace := httptrace.ContextClientTrace(c.request.Context()); trace != nil && trace.WroteHeaders != nil {
		trace.WroteHeaders()
	}
}

// forward passes the request on to Kong.
func (c *kongCall) forward() (*http.Response, error) {
	c.markSent()
	if c.isWrite() {
		c.checkWrite(c)
	}
	return c.deliverRequest()
}

func (c *kongCall) deliverRequest() (*http.Response, error) {
	r := c.request.Clone(context.WithoutCancel(c.request.Context()))
	r.Body = io.NopCloser(bytes.NewReader(c.body))
	return c.kong.serve(r)
}
