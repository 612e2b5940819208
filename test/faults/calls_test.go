package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/controllers"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
)

// callID is the n-th call of a name since the play was armed.
type callID struct {
	name string
	n    int
}

func (c callID) String() string { return fmt.Sprintf("%s.%d", c.name, c.n) }

// call is a call of a play, with what tells whether anything can have happened before the
// next one.
type call struct {
	callID
	write     bool
	reconcile int // in which it was made
	at        time.Time
}

// armedFault is a fault that waits for its call.
type armedFault struct {
	call  callID
	fault *fault
	fired bool

	// What was so when it happened.
	reconcile     int      // in which that was
	object        objectID // what was being reconciled
	statusKnown   bool     // its status told what became of it in Kong
	outputsBefore int      // how much had been said
	recordsID     bool     // the write that it hit records an ID
	pluginServing bool     // the plugin of the PUT that it hit was there, and a binding's
	// reasons of Ready: the one that stood for what is declared, and those written since.
	readyReason  string
	readyReasons map[string]bool
}

// arm begins to count calls, and lets faults happen.
func (sim *simulation) arm(faults ...*armedFault) {
	sim.armed, sim.counts, sim.faults = true, map[string]int{}, faults
	sim.kubeWritesBeforeArm = sim.kubeWrites
	sim.tracef("armed")
}

// disarm ends that.
func (sim *simulation) disarm() { sim.armed = false }

// beginCall counts a call and finds its fault.
func (sim *simulation) beginCall(name, what string, write bool) *armedFault {
	sim.mu.Lock()
	defer sim.mu.Unlock()
	label := name
	var hit *armedFault
	if sim.armed {
		sim.counts[name]++
		id := callID{name, sim.counts[name]}
		sim.calls = append(sim.calls, call{id, write, sim.reconciles, sim.clock.Now()})
		label = id.String()
		for _, p := range sim.faults {
			if p.call == id && !p.fired {
				hit = p
				sim.recordContext(p)
			}
		}
	}
	line := fmt.Sprintf("%7.1fs   %s %s", sim.clock.Since(epoch).Seconds(), label, what)
	if hit != nil {
		line += " <<< " + hit.fault.name
	}
	sim.trace = append(sim.trace, line)
	return hit
}

// recordContext takes note of what is so when a fault happens.
func (sim *simulation) recordContext(p *armedFault) {
	p.fired, p.reconcile, p.object, p.outputsBefore, p.readyReasons = true, sim.reconciles, sim.current, len(sim.outputs), map[string]bool{}
	if binding, ok := sim.cache[sim.current].(*v1alpha1.PluginBinding); ok {
		ready := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionReady)
		if ready != nil && ready.ObservedGeneration == binding.Generation {
			p.readyReason, p.statusKnown = ready.Reason, ready.Status != metav1.ConditionUnknown
		}
	}
}

var errClosed = io.EOF

var errDead = errors.New("the process is dead")

// dialer gives every connection our transport.
type dialer struct {
	controllers.PoolDialer
	proc *process
}

// swappableClient is a connection whose client can be changed for another that knows of no pause:
// after a 429 a client is quiet by the real clock, for which no play can wait.
type swappableClient struct {
	controllers.Kong
	pooled   controllers.Kong
	settings adminapi.Settings
}

func (d dialer) Dial(key types.NamespacedName, settings adminapi.Settings) (controllers.Kong, error) {
	settings.Transport = func(http.RoundTripper) http.RoundTripper { return transport{d.proc} }
	pooled, err := d.PoolDialer.Dial(key, settings)
	if err != nil {
		return nil, err
	}
	if have := d.proc.client; have == nil || have.pooled != pooled {
		d.proc.client = &swappableClient{Kong: pooled, pooled: pooled, settings: settings}
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
	if err != nil { // its database is down, so that the pause is no matter
		return
	}
	l.client.Kong = next
}

// transport is the link to Kong.
type transport struct{ proc *process }

// kongCall is one request on its way.
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
		return c.forward()
	}
	if !c.isWrite() && !hit.fault.crashes && !hit.fault.authentic {
		c.readFailed = true
	}
	if c.request.Method == http.MethodPut {
		id := c.request.URL.Path[strings.LastIndex(c.request.URL.Path, "/")+1:]
		hit.pluginServing = c.kong.server.Plugin(id) != nil && c.isRecorded(id)
	}
	return hit.fault.kong(c)
}

// isRecorded reports whether a binding has that ID.
func (sim *simulation) isRecorded(id string) bool {
	return slices.ContainsFunc(sim.stored.sorted(kindBinding), func(of objectID) bool {
		return string(asBinding(sim.stored[of]).Status.PluginID) == id
	})
}

func (sim *simulation) abbreviate(text string) string {
	return strings.ReplaceAll(text, sim.namespace, "NS")
}

var uuidPath = regexp.MustCompile(`^/plugins/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// callNameOf is what a request to Kong is called.
func callNameOf(r *http.Request) string {
	path := r.URL.Path
	switch {
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

func (c *kongCall) isWrite() bool { return c.request.Method != http.MethodGet }

// markSent tells the client that its request is on the wire.
func (c *kongCall) markSent() {
	if trace := httptrace.ContextClientTrace(c.request.Context()); trace != nil && trace.WroteHeaders != nil {
		trace.WroteHeaders()
	}
}

// forward lets Kong have the request.
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

// kubeCall is one call of the API server on its way.
type kubeCall struct {
	*simulation
	proc    *process
	name    string
	id      objectID
	write   bool
	records bool // an ID
	forward func() error
	// written is what the API server answered to a write that it did.
	written client.Object
	// late does a write apart from the caller's object, some time later.
	late func() error
}

func (c *kubeCall) do(what string) error {
	if c.proc.dead {
		return forbidden(c.id)
	}
	hit := c.beginCall(c.name, what+" "+c.id.kind+" "+c.id.Name, c.write)
	forward := c.forward
	c.forward = func() error {
		err := forward()
		if c.write && err == nil {
			c.kubeWrites++
			c.store(c.written)
		}
		return err
	}
	var err error
	if hit == nil {
		err = c.forward()
	} else {
		hit.recordsID = c.records
		err = hit.fault.kube(c)
	}
	if err != nil {
		c.tracef("      %v", err)
	}
	return err
}

// liveReader reads from the API server.
type liveReader struct{ proc *process }

func (l liveReader) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	id := objectID{kindOf(object), key}
	name := map[string]string{kindSecret: kubeGetSecret, kindBinding: kubeGetBinding, kindGateway: kubeGetGateway}[id.kind]
	c := &kubeCall{simulation: l.proc.sim, proc: l.proc, name: name, id: id, forward: func() error {
		return apiServer.Get(ctx, key, object, options...)
	}}
	return c.do("live GET")
}

func (liveReader) List(context.Context, client.ObjectList, ...client.ListOption) error {
	panic("faults: a live list")
}

// cachedClient reads from the cache and writes to the API server. What it does not have,
// the operator does not use.
type cachedClient struct {
	client.Client // nil
	proc          *process
}

func (c cachedClient) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	return c.proc.sim.cache.get(key, object)
}

func (c cachedClient) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	o := client.ListOptions{}
	o.ApplyOptions(options)
	return c.proc.sim.cache.list(list, o)
}

func (c cachedClient) Patch(ctx context.Context, object client.Object, patch client.Patch, options ...client.PatchOption) error {
	call := c.write(object, patch, finalizerCall(object), func(object client.Object, patch client.Patch) error {
		return apiServer.Patch(ctx, object, patch, options...)
	})
	return call.do("PATCH")
}

func finalizerCall(object client.Object) string {
	if kindOf(object) == kindGateway {
		if controllerutil.ContainsFinalizer(object, v1alpha1.GatewayFinalizer) {
			return kubeAddGatewayFinalizer
		}
		return kubeRemoveGatewayFinalizer
	}
	if controllerutil.ContainsFinalizer(object, v1alpha1.PluginFinalizer) {
		return kubeAddBindingFinalizer
	}
	return kubeRemoveBindingFinalizer
}

func (c cachedClient) Status() client.SubResourceWriter { return statusWriter{proc: c.proc} }

// statusWriter writes status.
type statusWriter struct {
	client.SubResourceWriter // nil
	proc                     *process
}

func (s statusWriter) Patch(ctx context.Context, object client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
	name := kubePatchBindingStatus
	if kindOf(object) == kindGateway {
		name = kubePatchGatewayStatus
	}
	s.proc.sim.recordStatus(object)
	call := cachedClient{proc: s.proc}.write(object, patch, name, func(object client.Object, patch client.Patch) error {
		err := apiServer.Status().Patch(ctx, object, patch, options...)
		if binding, ok := object.(*v1alpha1.PluginBinding); ok && err == nil {
			s.proc.sim.checkReady(binding)
		}
		return err
	})
	return call.do("PATCH status of")
}

// recordStatus takes note of what a status says.
func (sim *simulation) recordStatus(object client.Object) {
	var conditions []string
	switch object := object.(type) {
	case *v1alpha1.PluginBinding:
		ready := meta.FindStatusCondition(object.Status.Conditions, v1alpha1.ConditionReady)
		if ready != nil {
			for _, f := range sim.faults {
				if f.fired {
					f.readyReasons[ready.Reason] = true
				}
			}
			conditions = append(conditions, ready.Reason, ready.Message)
		}
		sim.recordOutput(fmt.Sprintf("%+v", object.Status))
	case *v1alpha1.KongGateway:
		sim.recordOutput(fmt.Sprintf("%+v", object.Status))
	}
	if len(conditions) > 0 {
		sim.tracef("      status: %s", sim.abbreviate(strings.Join(conditions, ": ")))
	}
}

func (c cachedClient) write(object client.Object, patch client.Patch, name string, send func(client.Object, client.Patch) error) *kubeCall {
	sim := c.proc.sim
	data, err := patch.Data(object)
	sim.must(err)
	var written struct {
		Status struct {
			PluginID string `json:"pluginID"`
		} `json:"status"`
	}
	sim.must(json.Unmarshal(data, &written))
	raw, later := client.RawPatch(patch.Type(), data), object.DeepCopyObject().(client.Object)
	return &kubeCall{
		simulation: sim, proc: c.proc, name: name, id: idOf(object), write: true, written: object,
		records: written.Status.PluginID != "",
		forward: func() error { return send(object, patch) },
		late:    func() error { return send(later, raw) },
	}
}

// recorder takes note of events.
type recorder struct{ proc *process }

func (r recorder) Eventf(regarding, _ runtime.Object, _, reason, action, note string, args ...any) {
	if r.proc.dead {
		return
	}
	sim := r.proc.sim
	text := fmt.Sprintf(note, args...)
	hit := sim.beginCall(kubeCreateEvent, "event "+reason+": "+sim.abbreviate(text), true)
	if object, ok := regarding.(client.Object); !ok || object.GetName() == "" || len(reason) > 128 || len(action) > 128 || len(text) > 1024 {
		sim.violation("an event that the API server would refuse: %q %q %q", reason, action, text)
	}
	if hit != nil {
		_ = hit.fault.kube(&kubeCall{simulation: sim, proc: r.proc, name: kubeCreateEvent, forward: func() error { return nil }})
		if r.proc.dead {
			return
		}
	}
	sim.recordOutput(reason + " " + text)
}

// die ends the process.
func (l *process) die() { l.dead = true }

// after puts something off.
func (sim *simulation) after(d time.Duration, do func()) {
	sim.timers = append(sim.timers, timer{sim.clock.Now().Add(d), do})
}

// secretValue is a value of a Secret now.
func (sim *simulation) secretValue(name, key string) string {
	secret := &corev1.Secret{}
	sim.must(apiServer.Get(sim.ctx, types.NamespacedName{Namespace: sim.namespace, Name: name}, secret))
	return string(secret.Data[key])
}
