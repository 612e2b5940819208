package kong

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// proxy sends requests to Kong through the API server's proxy to a Service. What the API server
// refuses goes the other way, which is a port-forward, and so does all that follows.
type proxy struct {
	server http.RoundTripper
	// root is the URL of the proxied Service's root.
	root    *url.URL
	refused atomic.Bool
	other   http.RoundTripper
}

func newProxy(config *rest.Config, s service, kong *url.URL) (*proxy, error) {
	config = rest.CopyConfig(config)
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	config.GroupVersion = &metav1.Unversioned
	config.APIPath = "/api"
	restClient, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, err
	}
	server, err := rest.TransportFor(config)
	if err != nil {
		return nil, err
	}
	root := restClient.Get().AbsPath("/api/v1/namespaces", s.Namespace, "services",
		fmt.Sprintf("%s:%s:%d", kong.Scheme, s.Name, s.port), "proxy").URL()
	root.Path = strings.TrimSuffix(root.Path, "/")
	return &proxy{server: server, root: root}, nil
}

// passesProxy reports whether the API server passes a header on to a Service: it takes
// Authorization, and what begins with Impersonate-, as its own.
func passesProxy(header string) bool {
	header = http.CanonicalHeaderKey(header)
	return header != "Authorization" && !strings.HasPrefix(header, "Impersonate-") && !strings.HasPrefix(header, "X-Remote-")
}

func (p *proxy) wrap(other http.RoundTripper) http.RoundTripper {
	p.other = other
	return p
}

// RoundTrip implements http.RoundTripper.
func (p *proxy) RoundTrip(req *http.Request) (*http.Response, error) {
	// The API server would decode an escaped slash.
	if p.refused.Load() || req.URL.RawPath != "" || req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		return p.other.RoundTrip(req)
	}
	sent := req.Clone(req.Context())
	sent.URL.Scheme, sent.URL.Host = p.root.Scheme, p.root.Host
	sent.URL.Path = p.root.Path + "/" + strings.TrimPrefix(req.URL.Path, "/")
	sent.Host = ""
	resp, err := p.server.RoundTrip(sent)
	if err != nil || !refusedByServer(resp) {
		return resp, err
	}
	_ = resp.Body.Close() // it has been read
	p.refused.Store(true)
	again := req.Clone(req.Context())
	if req.GetBody != nil {
		if again.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	return p.other.RoundTrip(again)
}

// maxStatus bounds what is read to tell an answer of the API server from one of Kong.
const maxStatus = 64 << 10

// refusedByServer reports whether the API server itself answered, because the user may not use the
// proxy. Then Kong has not seen the request. The body can be read again.
func refusedByServer(resp *http.Response) bool {
	if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusUnauthorized {
		return false
	}
	start, err := io.ReadAll(io.LimitReader(resp.Body, maxStatus))
	body := resp.Body
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(start), body), body}
	if err != nil {
		return false
	}
	var status metav1.Status
	return json.Unmarshal(start, &status) == nil && status.Kind == "Status" && status.APIVersion == "v1"
}
