package kong

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/cli"
)

// kubelet is an API server that forwards ports of pods to a Kong.
type kubelet struct {
	server *httptest.Server
	kong   string
	// hangs: it answers nobody.
	hangs bool

	mu          sync.Mutex
	connections []httpstream.Connection
}

const patience = 20 * time.Second

func startKubelet(t *testing.T, kong http.HandlerFunc) *kubelet {
	t.Helper()
	backend := httptest.NewServer(kong)
	t.Cleanup(backend.Close)
	k := &kubelet{kong: backend.Listener.Addr().String()}
	k.server = httptest.NewServer(k)
	t.Cleanup(func() {
		k.cut()
		k.server.CloseClientConnections()
		k.server.Close()
	})
	return k
}

// ServeHTTP implements http.Handler.
func (k *kubelet) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch {
	case k.hangs:
		<-req.Context().Done()
		return
	case req.Header.Get("Upgrade") == "websocket": // so that SPDY is tried
		http.Error(w, "no WebSockets", http.StatusBadRequest)
		return
	case !strings.HasSuffix(req.URL.Path, "/namespaces/kong/pods/kong-1/portforward"):
		http.Error(w, req.URL.Path, http.StatusNotFound)
		return
	}
	if _, err := httpstream.Handshake(req, w, []string{portforward.PortForwardProtocolV1Name}); err != nil {
		return
	}
	counted := make(chan struct{}) // the first stream may come before the connection is among those that cut ends
	connection := spdy.NewResponseUpgrader().UpgradeResponse(w, req, func(stream httpstream.Stream, _ <-chan struct{}) error {
		if stream.Headers().Get(corev1.StreamType) == corev1.StreamTypeData && stream.Headers().Get(corev1.PortHeader) == "8001" {
			go func() {
				<-counted
				k.carry(stream)
			}()
		}
		return nil
	})
	if connection == nil {
		return
	}
	k.mu.Lock()
	k.connections = append(k.connections, connection)
	k.mu.Unlock()
	close(counted)
	<-connection.CloseChan()
}

// carry connects a stream with Kong.
func (k *kubelet) carry(stream httpstream.Stream) {
	conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", k.kong)
	if err != nil {
		_ = stream.Reset()
		return
	}
	go func() {
		_, _ = io.Copy(conn, stream)
		_ = conn.Close()
	}()
	_, _ = io.Copy(stream, conn)
	_ = stream.Reset()
	_ = conn.Close()
}

// cut ends all port-forwards in the middle of whatever they carry. It returns how many there were so far.
func (k *kubelet) cut() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, connection := range k.connections {
		_ = connection.Close()
	}
	return len(k.connections)
}

// forwarding is a client whose requests pass a port-forward of that API server.
func (k *kubelet) forwarding(t *testing.T) (*http.Client, *forward) {
	t.Helper()
	reader := fake.NewClientBuilder().WithObjects(
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "kong", Name: "admin"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "admin", Port: 80}}}},
		&discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: "kong", Name: "admin-1", Labels: map[string]string{discoveryv1.LabelServiceName: "admin"}},
			Ports:      []discoveryv1.EndpointPort{{Name: ptr.To("admin"), Port: ptr.To[int32](8001)}},
			Endpoints:  []discoveryv1.Endpoint{endpoint("kong-1", nil)},
		},
	).Build()
	f := cli.NewFactory(genericiooptions.IOStreams{In: strings.NewReader(""), Out: io.Discard, ErrOut: io.Discard})
	w := newForward(f, &rest.Config{Host: k.server.URL}, reader, service{types.NamespacedName{Namespace: "kong", Name: "admin"}, 80})
	t.Cleanup(w.close)
	transport := &http.Transport{DialContext: w.dial}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}, w
}

func get(c *http.Client, path string) (string, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://admin.kong"+path, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestRequestsGoThroughAPortForward(t *testing.T) {
	k := startKubelet(t, func(w http.ResponseWriter, req *http.Request) { fmt.Fprint(w, req.URL.Path) })
	c, _ := k.forwarding(t)
	for _, path := range []string{"/status", "/plugins"} {
		if got, err := get(c, path); err != nil || got != path {
			t.Errorf("%q %v", got, err)
		}
	}
	if n := k.cut(); n != 1 {
		t.Errorf("%d port-forwards", n)
	}
}

// What a stream carried until it ended is no answer. The next request gets another port-forward.
func TestAPortForwardThatEndsInTheMiddle(t *testing.T) {
	half := make(chan struct{}, 1)
	k := startKubelet(t, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/half" {
			fmt.Fprint(w, "whole")
			return
		}
		fmt.Fprint(w, `{"data":[`)
		_ = http.NewResponseController(w).Flush()
		half <- struct{}{}
		<-req.Context().Done()
	})
	c, _ := k.forwarding(t)
	go func() {
		<-half
		k.cut()
	}()
	if got, err := get(c, "/half"); err == nil {
		t.Errorf("half an answer counts: %q", got)
	}
	for end := time.Now().Add(patience); ; {
		got, err := get(c, "/")
		if err == nil && got == "whole" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%q %v", got, err)
		}
	}
	if n := k.cut(); n < 2 {
		t.Errorf("%d port-forwards", n)
	}
}

// The API server need not answer. A dial of net/http outlives its request, so that it has a bound of its own.
func TestAPortForwardThatNobodyOpens(t *testing.T) {
	k := startKubelet(t, func(http.ResponseWriter, *http.Request) {})
	k.hangs = true
	_, w := k.forwarding(t)
	w.timeout = 50 * time.Millisecond
	if _, err := w.dial(context.Background(), "tcp", ""); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "pod kong/kong-1") {
		t.Errorf("%v", err)
	}
}

func TestAPortForwardThatIsClosedStaysClosed(t *testing.T) {
	k := startKubelet(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "kong") })
	c, w := k.forwarding(t)
	w.close()
	if got, err := get(c, "/"); err == nil || !strings.Contains(err.Error(), "it was closed") {
		t.Errorf("%q %v", got, err)
	}
	if n := k.cut(); n != 0 {
		t.Errorf("%d port-forwards", n)
	}
}

// Half an answer that came through the API server's proxy is no answer, whoever cut it.
func TestAProxyThatEndsInTheMiddle(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusForbidden} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, buffered, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			writeHalf(buffered, status)
		}))
		other := &roundTripper{name: "forward"}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://admin.kong.svc:8001/plugins", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := through(t, server, other).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) || len(other.seen) > 0 {
			t.Errorf("%d: %q %v, and %d went the other way", status, got, err, len(other.seen))
		}
		resp.Body.Close()
		server.Close()
	}
}

func writeHalf(w *bufio.ReadWriter, status int) {
	half := `{"kind":"Status","apiVersion":"v1","data":[`
	fmt.Fprintf(w, "HTTP/1.1 %d X\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", status, len(half), half)
	_ = w.Flush()
}
