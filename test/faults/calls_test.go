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
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
)

// callID is the n-th call of a name since the play was armed.
type callID struct {
	name string
	n    int
}

func (c callID) String() string { return fmt.Sprintf("%s.%d", c.name, c.n) }

// made is a call of a play, with what tells whether anything can have happened before the
// next one.
type made struct {
	callID
	write bool
	pass  int // in which it was made
	at    time.Time
}

// planned is a fault that waits for its call.
type planned struct {
	call  callID
	fault *fault
	fired bool

	// What was so when it happened.
	pass    int      // in which that was
	of      objectID // what was being reconciled
	judged  bool     // its status told what became of it in Kong
	texts   int      // how much had been said
	records bool     // the write that it hit records an ID
	serves  bool     // the plugin of the PUT that it hit was there, and a binding's
	// reasons of Ready: the one that stood for what is declared, and those written since.
	standing string
	reasons  map[string]bool
}

// arm begins to count calls, and lets faults happen.
func (w *world) arm(faults ...*planned) {
	w.armed, w.counts, w.faults = true, map[string]int{}, faults
	w.kubeWritesBefore = w.kubeWrites
	w.note("armed")
}

// disarm ends that.
func (w *world) disarm() { w.armed = false }

// begin counts a call and finds its fault.
func (w *world) begin(name, what string, write bool) *planned {
	w.mu.Lock()
	defer w.mu.Unlock()
	label := name
	var hit *planned
	if w.armed {
		w.counts[name]++
		id := callID{name, w.counts[name]}
		w.calls = append(w.calls, made{id, write, w.passes, w.clock.Now()})
		label = id.String()
		for _, p := range w.faults {
			if p.call == id && !p.fired {
				hit = p
				w.happens(p)
			}
		}
	}
	line := fmt.Sprintf("%7.1fs   %s %s", w.clock.Since(epoch).Seconds(), label, what)
	if hit != nil {
		line += " <<< " + hit.fault.name
	}
	w.trace = append(w.trace, line)
	return hit
}

// happens takes note of what is so when a fault happens.
func (w *world) happens(p *planned) {
	p.fired, p.pass, p.of, p.texts, p.reasons = true, w.passes, w.current, len(w.texts), map[string]bool{}
	if binding, ok := w.cache[w.current].(*v1alpha1.PluginBinding); ok {
		ready := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionReady)
		if ready != nil && ready.ObservedGeneration == binding.Generation {
			p.standing, p.judged = ready.Reason, ready.Status != metav1.ConditionUnknown
		}
	}
}

var errClosed = io.EOF

var errDead = errors.New("the process is dead")

// dialer gives every connection our transport.
type dialer struct {
	connection.AdminAPIClients
	life *incarnation
}

// link is a connection whose client can be changed for another that knows of no pause:
// after a 429 a client is quiet by the real clock, for which no play can wait.
type link struct {
	connection.AdminClient
	pooled   connection.AdminClient
	settings adminapi.Settings
}

func (d dialer) Get(gateway string, settings adminapi.Settings) (connection.AdminClient, error) {
	settings.Transport = func(http.RoundTripper) http.RoundTripper { return transport{d.life} }
	pooled, err := d.AdminAPIClients.Get(gateway, settings)
	if err != nil {
		return nil, err
	}
	if have := d.life.link; have == nil || have.pooled != pooled {
		d.life.link = &link{AdminClient: pooled, pooled: pooled, settings: settings}
	}
	return d.life.link, nil
}

// endPause ends the pause after a 429.
func (l *incarnation) endPause() {
	if l.link == nil || l.dead {
		return
	}
	next, err := adminapi.New(l.link.settings, nil)
	l.world.must(err)
	l.silent = true
	_, err = next.Probe(l.world.ctx)
	l.silent = false
	if err != nil { // its database is down, so that the pause is no matter
		return
	}
	l.link.AdminClient = next
}

// transport is the link to Kong.
type transport struct{ life *incarnation }

// kongCall is one request on its way.
type kongCall struct {
	*world
	life    *incarnation
	name    string
	request *http.Request
	body    []byte
}

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.life.dead {
		return nil, errDead
	}
	c := &kongCall{world: t.life.world, life: t.life, name: nameOf(r), request: r}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		c.body = body
	}
	if t.life.silent {
		return c.deliverRequest()
	}
	if c.current.kind == kindGateway {
		c.pauses.asked(c.name, c.clock.Now())
		defer func() { c.pauses.answered(c.name, c.clock.Now()) }()
		if c.name == "G8" && r.URL.Query().Has("tags") {
			c.readings++
		}
	}
	hit := c.begin(c.name, r.Method+" "+c.shortened(r.URL.RequestURI()), c.isWrite())
	answer, err := c.meet(hit)
	if meanwhile := c.during[c.name]; meanwhile != nil {
		delete(c.during, c.name)
		meanwhile()
	}
	switch {
	case t.life.dead:
		c.note("      dead")
	case err != nil:
		c.note("      %v", err)
	default:
		c.note("      %d", answer.StatusCode)
	}
	return answer, err
}

func (c *kongCall) meet(hit *planned) (*http.Response, error) {
	switch {
	case hit != nil:
	case c.down:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	case c.token != "" && c.request.Header.Get(adminapi.DefaultTokenHeader) != c.token:
		c.sent()
		return c.answer(http.StatusUnauthorized, `{"message":"Invalid RBAC credentials"}`), nil
	default:
		return c.forward()
	}
	if !c.isWrite() && !hit.fault.deadly && !hit.fault.truthful {
		c.readFailed = true
	}
	if c.request.Method == http.MethodPut {
		id := c.request.URL.Path[strings.LastIndex(c.request.URL.Path, "/")+1:]
		hit.serves = c.bench.server.Plugin(id) != nil && c.recorded(id)
	}
	return hit.fault.kong(c)
}

// recorded reports whether a binding has that ID.
func (w *world) recorded(id string) bool {
	return slices.ContainsFunc(w.truth.sorted(kindBinding), func(of objectID) bool {
		return string(asBinding(w.truth[of]).Status.PluginID) == id
	})
}

func (w *world) shortened(text string) string { return strings.ReplaceAll(text, w.namespace, "NS") }

var uuidPath = regexp.MustCompile(`^/plugins/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// nameOf is what a request to Kong is called.
func nameOf(r *http.Request) string {
	path := r.URL.Path
	switch {
	case r.Method == http.MethodPost:
		return "G4"
	case r.Method == http.MethodPut:
		return "G5"
	case r.Method == http.MethodDelete:
		return "G6"
	case path == "/", path == "", path == "/status":
		return "G9"
	case strings.HasPrefix(path, "/schemas/"):
		return "G7"
	case uuidPath.MatchString(path):
		return "G1"
	case strings.HasPrefix(path, "/plugins/"):
		return "G2"
	case strings.HasSuffix(path, "/plugins"), r.URL.Query().Has("size"):
		return "G8"
	default:
		return "G3"
	}
}

func (c *kongCall) isWrite() bool { return c.request.Method != http.MethodGet }

// sent tells the client that its request is on the wire.
func (c *kongCall) sent() {
	if trace := httptrace.ContextClientTrace(c.request.Context()); trace != nil && trace.WroteHeaders != nil {
		trace.WroteHeaders()
	}
}

// forward lets Kong have the request.
func (c *kongCall) forward() (*http.Response, error) {
	c.sent()
	if c.isWrite() {
		c.checkWrite(c)
	}
	return c.deliverRequest()
}

func (c *kongCall) deliverRequest() (*http.Response, error) {
	r := c.request.Clone(context.WithoutCancel(c.request.Context()))
	r.Body = io.NopCloser(bytes.NewReader(c.body))
	return c.bench.serve(r)
}

// kubeCall is one call of the API server on its way.
type kubeCall struct {
	*world
	life    *incarnation
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
	if c.life.dead {
		return forbidden(c.id)
	}
	hit := c.begin(c.name, what+" "+c.id.kind+" "+c.id.Name, c.write)
	forward := c.forward
	c.forward = func() error {
		err := forward()
		if c.write && err == nil {
			c.kubeWrites++
			c.holds(c.written)
		}
		return err
	}
	var err error
	if hit == nil {
		err = c.forward()
	} else {
		hit.records = c.records
		err = hit.fault.kube(c)
	}
	if err != nil {
		c.note("      %v", err)
	}
	return err
}

// liveReader reads from the API server.
type liveReader struct{ life *incarnation }

func (l liveReader) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	id := objectID{kindOf(object), key}
	name := map[string]string{kindSecret: "K2", kindBinding: "K4", kindGateway: "K4g"}[id.kind]
	c := &kubeCall{world: l.life.world, life: l.life, name: name, id: id, forward: func() error {
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
	life          *incarnation
}

func (c cachedClient) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	return c.life.world.cache.get(key, object)
}

func (c cachedClient) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	o := client.ListOptions{}
	o.ApplyOptions(options)
	return c.life.world.cache.list(list, o)
}

func (c cachedClient) Patch(ctx context.Context, object client.Object, patch client.Patch, options ...client.PatchOption) error {
	call := c.write(object, patch, finalizerCall(object), func(object client.Object, patch client.Patch) error {
		return apiServer.Patch(ctx, object, patch, options...)
	})
	return call.do("PATCH")
}

func finalizerCall(object client.Object) string {
	finalizer, suffix := v1alpha1.PluginFinalizer, ""
	if kindOf(object) == kindGateway {
		finalizer, suffix = v1alpha1.GatewayFinalizer, "g"
	}
	if controllerutil.ContainsFinalizer(object, finalizer) {
		return "K3" + suffix
	}
	return "K6" + suffix
}

func (c cachedClient) Status() client.SubResourceWriter { return statusWriter{life: c.life} }

// statusWriter writes status.
type statusWriter struct {
	client.SubResourceWriter // nil
	life                     *incarnation
}

func (s statusWriter) Patch(ctx context.Context, object client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
	name := "K5"
	if kindOf(object) == kindGateway {
		name = "K5g"
	}
	s.life.world.hearStatus(object)
	call := cachedClient{life: s.life}.write(object, patch, name, func(object client.Object, patch client.Patch) error {
		err := apiServer.Status().Patch(ctx, object, patch, options...)
		if binding, ok := object.(*v1alpha1.PluginBinding); ok && err == nil {
			s.life.world.checkReady(binding)
		}
		return err
	})
	return call.do("PATCH status of")
}

// hearStatus takes note of what a status says.
func (w *world) hearStatus(object client.Object) {
	var conditions []string
	switch object := object.(type) {
	case *v1alpha1.PluginBinding:
		ready := meta.FindStatusCondition(object.Status.Conditions, v1alpha1.ConditionReady)
		if ready != nil {
			for _, f := range w.faults {
				if f.fired {
					f.reasons[ready.Reason] = true
				}
			}
			conditions = append(conditions, ready.Reason, ready.Message)
		}
		w.said(fmt.Sprintf("%+v", object.Status))
	case *v1alpha1.KongGateway:
		w.said(fmt.Sprintf("%+v", object.Status))
	}
	if len(conditions) > 0 {
		w.note("      status: %s", w.shortened(strings.Join(conditions, ": ")))
	}
}

func (c cachedClient) write(object client.Object, patch client.Patch, name string, send func(client.Object, client.Patch) error) *kubeCall {
	w := c.life.world
	data, err := patch.Data(object)
	w.must(err)
	var written struct {
		Status struct {
			PluginID string `json:"pluginID"`
		} `json:"status"`
	}
	w.must(json.Unmarshal(data, &written))
	raw, later := client.RawPatch(patch.Type(), data), object.DeepCopyObject().(client.Object)
	return &kubeCall{
		world: w, life: c.life, name: name, id: idOf(object), write: true, written: object,
		records: written.Status.PluginID != "",
		forward: func() error { return send(object, patch) },
		late:    func() error { return send(later, raw) },
	}
}

// recorder takes note of events.
type recorder struct{ life *incarnation }

func (r recorder) Eventf(regarding, _ runtime.Object, _, reason, action, note string, args ...any) {
	if r.life.dead {
		return
	}
	w := r.life.world
	text := fmt.Sprintf(note, args...)
	hit := w.begin("K7", "event "+reason+": "+w.shortened(text), true)
	if object, ok := regarding.(client.Object); !ok || object.GetName() == "" || len(reason) > 128 || len(action) > 128 || len(text) > 1024 {
		w.violation("an event that the API server would refuse: %q %q %q", reason, action, text)
	}
	if hit != nil {
		_ = hit.fault.kube(&kubeCall{world: w, life: r.life, name: "K7", forward: func() error { return nil }})
		if r.life.dead {
			return
		}
	}
	w.said(reason + " " + text)
}

// die ends the process.
func (l *incarnation) die() { l.dead = true }

// in puts something off.
func (w *world) in(d time.Duration, do func()) {
	w.timers = append(w.timers, timer{w.clock.Now().Add(d), do})
}

// secretValue is a value of a Secret now.
func (w *world) secretValue(name, key string) string {
	secret := &corev1.Secret{}
	w.must(apiServer.Get(w.ctx, types.NamespacedName{Namespace: w.namespace, Name: name}, secret))
	return string(secret.Data[key])
}
