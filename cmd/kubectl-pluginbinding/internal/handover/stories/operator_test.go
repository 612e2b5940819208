package stories

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/pluginbinding/kong-plugin-operator/controllers"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
)

var errKilled = errors.New("this operator was killed")

// operator is one process of it. All its requests, to the API server and to Kong, pass one
// transport, which can end as abruptly as a process does at SIGKILL: in the middle of a request, of which
// nobody hears the answer, and with nothing after it.
type operator struct {
	// life ends with the process.
	life context.Context
	end  context.CancelFunc
	// ended is closed when nothing of it runs any more.
	ended chan struct{}
	err   error

	mu     sync.Mutex
	writes int
	// killAt is the write with which it ends, 0 for never. It is sent if arrives, and otherwise not.
	killAt  int
	arrives bool
	dead    bool
	// onTheWay are the writes that a server has not answered.
	onTheWay sync.WaitGroup
}

// startOperator runs the controllers over the namespace.
func (w *world) startOperator() {
	w.t.Helper()
	o := &operator{ended: make(chan struct{})}
	o.life, o.end = context.WithCancel(w.ctx)
	own := rest.CopyConfig(config)
	own.Wrap(o.wrap)
	mgr, err := ctrl.NewManager(own, ctrl.Options{
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return kube.RESTMapper(), nil }, // discovery costs most of a start
		Scheme:         scheme.Scheme, Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		Cache:                   cache.Options{DefaultNamespaces: map[string]cache.Config{w.namespace: {}}},
		Controller:              ctrlconfig.Controller{SkipNameValidation: ptr.To(true)},
		GracefulShutdownTimeout: ptr.To(patience),
	})
	w.must(err)
	w.must(controllers.AddToManager(o.life, mgr, controllers.Options{
		ClusterID: "stories", Namespaces: []string{w.namespace}, Workers: 4, Registry: prometheus.NewRegistry(), Clock: clock.RealClock{},
		LeadingSince: time.Now().Add(-time.Hour), // no write of a former leader can be in flight
		Clients:      mortalClients{connection.AdminAPIClients{Registry: adminapi.NewRegistry(nil, nil)}, o},
	}))
	go func() {
		defer close(o.ended)
		o.err = mgr.Start(o.life)
	}()
	w.operator = o
	w.stop = func() {
		o.end()
		<-o.ended
		if o.err != nil && !o.isDead() {
			w.t.Error(o.err)
		}
	}
}

// mortalClients are the clients of Kong of one process.
type mortalClients struct {
	connection.AdminAPIClients
	operator *operator
}

// Get implements connection.ClientRegistry.
func (c mortalClients) Get(gateway string, settings adminapi.Settings) (connection.AdminClient, error) {
	settings.Transport = c.operator.wrap
	return c.AdminAPIClients.Get(gateway, settings)
}

// killAfter lets the operator end with its write n from now.
func (o *operator) killAfter(n int, arrives bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.killAt, o.arrives = o.writes+n, arrives
}

func (o *operator) isDead() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.dead
}

type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return r(req) }

func (o *operator) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if isWrite(req) {
			return o.write(next, req)
		}
		return o.read(next, req)
	})
}

// isWrite reports whether a request changes something. Events and questions do not count: nothing depends
// on them.
func isWrite(req *http.Request) bool {
	path := req.URL.Path
	return req.Method != http.MethodGet && req.Method != http.MethodHead &&
		!strings.Contains(path, "/events") && !strings.Contains(path, "accessreviews") && !strings.HasSuffix(path, "/schemas/plugins/validate")
}

// read ends with the process.
func (o *operator) read(next http.RoundTripper, req *http.Request) (*http.Response, error) {
	if o.isDead() {
		return nil, errKilled
	}
	ctx, cancel := context.WithCancel(req.Context())
	stop := context.AfterFunc(o.life, cancel)
	resp, err := next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		stop()
		cancel()
		return nil, err
	}
	resp.Body = &closing{resp.Body, func() { stop(); cancel() }}
	return resp, nil
}

type closing struct {
	io.ReadCloser
	closed func()
}

func (c *closing) Close() error {
	defer c.closed()
	return c.ReadCloser.Close()
}

// write counts. A server that has a request carries it out, whether or not somebody hears its answer.
func (o *operator) write(next http.RoundTripper, req *http.Request) (*http.Response, error) {
	o.mu.Lock()
	if o.dead {
		o.mu.Unlock()
		return nil, errKilled
	}
	o.writes++
	o.dead = o.writes == o.killAt
	sent := !o.dead || o.arrives
	o.onTheWay.Add(1)
	defer o.onTheWay.Done()
	if o.dead {
		o.end()
	}
	o.mu.Unlock()
	if !sent {
		return nil, errKilled
	}
	resp, err := next.RoundTrip(req.WithContext(context.WithoutCancel(req.Context())))
	if o.isDead() {
		if err == nil {
			_ = resp.Body.Close() // nobody reads it
		}
		return nil, errKilled
	}
	return resp, err
}

// reincarnate starts another operator when this one is killed, unless the hand-over ends before.
func (w *world) reincarnate(done chan error) (killed bool) {
	w.t.Helper()
	o := w.operator
	select {
	case err := <-done:
		done <- err
		return false
	case <-o.life.Done():
	}
	<-o.ended
	o.onTheWay.Wait()
	w.startOperator()
	return true
}
