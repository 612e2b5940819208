package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"syscall"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/controllers"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

func jsonOf(text string) *apiextensionsv1.JSON {
	return &apiextensionsv1.JSON{Raw: []byte(text)}
}

func stringsOf(value any) []string {
	list, _ := value.([]any)
	var texts []string
	for _, element := range list {
		if text, ok := element.(string); ok {
			texts = append(texts, text)
		}
	}
	return texts
}

func keyOf(object client.Object) client.ObjectKey { return client.ObjectKeyFromObject(object) }

// normalizingDialer connects to a Kong that stores one minute more than it is given. No
// comparison of schemas foresees such a change.
type normalizingDialer struct{ connection.AdminAPIClients }

func useNormalizingDialer(o *controllers.Options) {
	o.Clients = normalizingDialer{connection.AdminAPIClients{Registry: adminapi.NewRegistry(nil, nil)}}
}

func (d normalizingDialer) Get(gateway string, settings adminapi.Settings) (connection.AdminClient, error) {
	settings.Transport = func(next http.RoundTripper) http.RoundTripper { return normalizingTransport{next} }
	return d.AdminAPIClients.Get(gateway, settings)
}

type normalizingTransport struct{ next http.RoundTripper }

func (timed normalizingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPut && r.Method != http.MethodPost {
		return timed.next.RoundTrip(r)
	}
	var body map[string]any
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		return nil, err
	}
	config := body["config"].(map[string]any)
	config["minute"] = config["minute"].(float64) + 1
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Body, r.ContentLength, r.GetBody = io.NopCloser(bytes.NewReader(raw)), int64(len(raw)), nil
	return timed.next.RoundTrip(r)
}

// refusePuts makes Kong answer every PUT of a plugin with a status and a body.
func (env *testEnv) refusePuts(status int, body string) (mend func()) {
	return env.kong.Inject(kongtest.Fault{
		Method: http.MethodPut, Template: "/plugins/{id}", Kind: kongtest.Answer, Status: status, Body: body,
	})
}

const (
	bodyDenied          = `{"message":"you do not have permission to update this resource"}`
	bodyUnexpectedError = `{"message":"An unexpected error occurred"}`
	bodyInvalid         = `{"message":"schema violation (config.minute: is odd)","fields":{"config":{"minute":"is odd"}},"name":"schema violation","code":2}`
)

// serveReadOnly serves instead of a Kong. The spec fails if any request but a GET arrives.
func serveReadOnly(handler http.HandlerFunc) (url string) {
	var written atomic.Pointer[string]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			line := r.Method + " " + r.URL.Path
			written.Store(&line)
		}
		handler(w, r)
	}))
	DeferCleanup(func() {
		server.Close()
		Expect(written.Load()).To(BeNil(), "a request that could have changed something")
	})
	return server.URL
}

// closedPort is an address on which nothing listens. Nobody else gets the port before the spec ends.
func closedPort() string {
	GinkgoHelper()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(syscall.Close, socket)
	Expect(syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})).To(Succeed())
	bound, err := syscall.Getsockname(socket)
	Expect(err).NotTo(HaveOccurred())
	return fmt.Sprintf("127.0.0.1:%d", bound.(*syscall.SockaddrInet4).Port)
}
