package kong

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/cli"
)

// forward is a port-forward to a ready pod of a Service. It opens with the first connection.
type forward struct {
	f       *cli.Factory
	config  *rest.Config
	reader  client.Reader
	service service
	// timeout bounds the opening. The context of net/http does not: a dial outlives its request.
	timeout time.Duration

	mu      sync.Mutex
	closed  bool
	address string
	stop    chan struct{}
	ended   chan struct{}
}

// openTimeout is the default of forward.timeout.
const openTimeout = 30 * time.Second

func newForward(f *cli.Factory, config *rest.Config, reader client.Reader, s service) *forward {
	return &forward{f: f, config: config, reader: reader, service: s, timeout: openTimeout}
}

// dial connects to the pod, whatever the address: that is the one of the Service.
func (w *forward) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	for again := true; ; again = false {
		address, stop, err := w.open(ctx)
		if err != nil {
			return nil, err
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		switch {
		case err == nil:
			return &forwardedConn{Conn: conn, dead: func() { w.drop(stop) }}, nil
		case !again || ctx.Err() != nil:
			return nil, err
		}
		// The port-forward ended in between.
	}
}

// forwardedConn is a connection through a port-forward. A port-forward whose stream is closing accepts
// connections and ends them at once.
type forwardedConn struct {
	net.Conn
	dead     func()
	answered bool
}

// Read implements net.Conn.
func (c *forwardedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.answered = c.answered || n > 0
	if !c.answered && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)) {
		c.dead()
	}
	return n, err
}

// drop ends a port-forward, so that the next connection opens another one.
func (w *forward) drop(stop chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.address != "" && w.stop == stop {
		close(stop)
		w.address = ""
	}
}

// open returns the local address of the port-forward, and what stops it. One that has ended is opened again.
func (w *forward) open(ctx context.Context) (string, chan struct{}, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return "", nil, errors.New("port-forward: it was closed")
	}
	if w.address != "" {
		select {
		case <-w.ended:
			w.address = ""
		default:
			return w.address, w.stop, nil
		}
	}
	pod, port, err := w.findPod(ctx)
	if err != nil {
		return "", nil, err
	}
	err = w.start(ctx, pod, port)
	return w.address, w.stop, err
}

// findPod returns a ready pod of the Service and its port.
func (w *forward) findPod(ctx context.Context) (pod types.NamespacedName, port int, err error) {
	service := &corev1.Service{}
	if err := w.reader.Get(ctx, w.service.NamespacedName, service); err != nil {
		return pod, 0, fmt.Errorf("port-forward: read the Service %s: %w", w.service.NamespacedName, err)
	}
	name, found := "", false
	for _, p := range service.Spec.Ports {
		if int(p.Port) == w.service.port {
			name, found = p.Name, true
		}
	}
	if !found {
		return pod, 0, fmt.Errorf("port-forward: the Service %s has no port %d; correct adminURL", w.service.NamespacedName, w.service.port)
	}
	slices := &discoveryv1.EndpointSliceList{}
	if err := w.reader.List(ctx, slices, client.InNamespace(w.service.Namespace),
		client.MatchingLabels{discoveryv1.LabelServiceName: w.service.Name}); err != nil {
		return pod, 0, fmt.Errorf("port-forward: list the endpoints of the Service %s: %w", w.service.NamespacedName, err)
	}
	for i := range slices.Items {
		if pod, port, ok := readyPod(&slices.Items[i], name); ok {
			return pod, port, nil
		}
	}
	return pod, 0, fmt.Errorf("port-forward: the Service %s has no ready pod; pass --kong-url, or wait for one", w.service.NamespacedName)
}

// readyPod returns a ready pod of an EndpointSlice and its number for a named port.
func readyPod(slice *discoveryv1.EndpointSlice, portName string) (types.NamespacedName, int, bool) {
	port := 0
	for _, p := range slice.Ports {
		if p.Port != nil && (p.Name == nil && portName == "" || p.Name != nil && *p.Name == portName) {
			port = int(*p.Port)
		}
	}
	if port == 0 {
		return types.NamespacedName{}, 0, false
	}
	for i := range slice.Endpoints {
		endpoint := &slice.Endpoints[i]
		ready := endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready
		if ref := endpoint.TargetRef; ready && ref != nil && ref.Kind == "Pod" {
			return types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, port, true
		}
	}
	return types.NamespacedName{}, 0, false
}

// start opens the port-forward and stores its local address.
func (w *forward) start(ctx context.Context, pod types.NamespacedName, port int) error {
	dialer, err := w.dialer(pod)
	if err != nil {
		return fmt.Errorf("port-forward to pod %s: %w", pod, err)
	}
	stop, ready, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	forwarder, err := portforward.NewOnAddressesForStreaming(dialer, []string{"127.0.0.1"}, []string{"0:" + strconv.Itoa(port)},
		stop, ready, io.Discard, io.Discard)
	if err != nil {
		return fmt.Errorf("port-forward to pod %s: %w", pod, err)
	}
	var failure error
	go func() {
		failure = forwarder.ForwardPorts()
		close(ended)
	}()
	select {
	case <-ready:
	case <-ended:
		return fmt.Errorf("port-forward to pod %s: %w", pod, orEnded(failure))
	case <-ctx.Done():
		close(stop)
		return fmt.Errorf("port-forward to pod %s: the API server has not opened it: %w", pod, ctx.Err())
	}
	ports, err := forwarder.GetPorts()
	if err != nil || len(ports) != 1 {
		close(stop)
		return fmt.Errorf("port-forward to pod %s: no local port: %w", pod, orEnded(err))
	}
	w.address, w.stop, w.ended = net.JoinHostPort("127.0.0.1", strconv.Itoa(int(ports[0].Local))), stop, ended
	w.f.Notef("connects to Kong through a port-forward to pod %s", pod)
	return nil
}

// orEnded is the error of a port-forward that ended, which need not have one.
func orEnded(err error) error {
	if err == nil {
		return errors.New("it ended at once")
	}
	return err
}

// dialer speaks what kubectl port-forward speaks: WebSockets, or SPDY with an API server that does
// not have them.
func (w *forward) dialer(pod types.NamespacedName) (httpstream.Dialer, error) {
	clientset, err := kubernetes.NewForConfig(w.config)
	if err != nil {
		return nil, err
	}
	u := clientset.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(w.config)
	if err != nil {
		return nil, err
	}
	plain := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, u)
	tunnel, err := portforward.NewSPDYOverWebsocketDialerForStreaming(u, w.config)
	if err != nil {
		return nil, err
	}
	return portforward.NewFallbackDialerForStreaming(tunnel, plain, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}), nil
}

func (w *forward) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.address != "" {
		close(w.stop)
		w.address = ""
	}
}
