package kong

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
)

// roundTripper answers with its own name.
type roundTripper struct {
	name string
	seen []*http.Request
	body string
}

func (r *roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	r.seen = append(r.seen, req)
	if req.Body != nil {
		content, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		r.body = string(content)
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(r.name))}, nil
}

// apiServer answers as an API server whose proxy leads to Kong, or refuses.
func apiServer(t *testing.T, status int, answer string) (server *httptest.Server, paths *[]string) {
	t.Helper()
	paths = &[]string{}
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		*paths = append(*paths, req.Method+" "+req.URL.Path+" "+req.Header.Get("Kong-Admin-Token"))
		w.WriteHeader(status)
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(server.Close)
	return server, paths
}

func through(t *testing.T, server *httptest.Server, other http.RoundTripper) http.RoundTripper {
	t.Helper()
	u, err := url.Parse("http://admin.kong.svc:8001")
	if err != nil {
		t.Fatal(err)
	}
	p, err := newProxy(&rest.Config{Host: server.URL}, service{types.NamespacedName{Namespace: "kong", Name: "admin"}, 8001}, u)
	if err != nil {
		t.Fatal(err)
	}
	return p.wrap(other)
}

func send(t *testing.T, rt http.RoundTripper, method, path, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://admin.kong.svc:8001"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Kong-Admin-Token", "token")
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestRequestsGoThroughTheProxy(t *testing.T) {
	server, paths := apiServer(t, http.StatusOK, "kong")
	other := &roundTripper{name: "forward"}
	if got := send(t, through(t, server, other), "GET", "/plugins", ""); got != "kong" || len(other.seen) != 0 {
		t.Errorf("%s", got)
	}
	if want := "GET /api/v1/namespaces/kong/services/http:admin:8001/proxy/plugins token"; len(*paths) != 1 || (*paths)[0] != want {
		t.Errorf("%v, want %s", *paths, want)
	}
}

func TestAPathThatTheProxyWouldChangeGoesTheOtherWay(t *testing.T) {
	server, paths := apiServer(t, http.StatusOK, "kong")
	if got := send(t, through(t, server, &roundTripper{name: "forward"}), "GET", "/consumers/a%2Fb", ""); got != "forward" || len(*paths) != 0 {
		t.Errorf("%s, %v", got, *paths)
	}
}

// The refused request has not reached Kong, so it is sent again, with its body, by the other way. All
// that follow go there at once.
func TestARefusedProxyFallsBack(t *testing.T) {
	server, paths := apiServer(t, http.StatusForbidden, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`)
	other := &roundTripper{name: "forward"}
	rt := through(t, server, other)
	if got := send(t, rt, "POST", "/schemas/plugins/validate", "content"); got != "forward" || other.body != "content" {
		t.Errorf("%s with %q", got, other.body)
	}
	send(t, rt, "GET", "/", "")
	if len(*paths) != 1 || len(other.seen) != 2 {
		t.Errorf("%v, %d", *paths, len(other.seen))
	}
}

// A 403 of Kong is an answer, and stays readable.
func TestA403OfKongIsAnAnswer(t *testing.T) {
	server, _ := apiServer(t, http.StatusForbidden, `{"message":"Invalid RBAC credentials"}`)
	other := &roundTripper{name: "forward"}
	if got := send(t, through(t, server, other), "GET", "/", ""); got != `{"message":"Invalid RBAC credentials"}` || len(other.seen) != 0 {
		t.Errorf("%s", got)
	}
}

func TestWhatTheProxyCannotCarry(t *testing.T) {
	for name, c := range map[string]struct {
		settings adminapi.Settings
		refuses  bool
	}{
		"http":                   {adminapi.Settings{AdminURL: "http://a.b.svc"}, false},
		"a token":                {adminapi.Settings{AdminURL: "http://a.b.svc", Token: "t"}, false},
		"Authorization":          {adminapi.Settings{AdminURL: "http://a.b.svc", Token: "t", TokenHeader: "authorization"}, true},
		"Impersonate-User":       {adminapi.Settings{AdminURL: "http://a.b.svc", Token: "t", TokenHeader: "Impersonate-User"}, true},
		"https":                  {adminapi.Settings{AdminURL: "https://a.b.svc"}, true},
		"https without a check":  {adminapi.Settings{AdminURL: "https://a.b.svc", InsecureSkipVerify: true}, false},
		"a client certificate":   {adminapi.Settings{AdminURL: "https://a.b.svc", InsecureSkipVerify: true, ClientCert: []byte("c")}, true},
		"a header without token": {adminapi.Settings{AdminURL: "http://a.b.svc", TokenHeader: "Authorization"}, false},
	} {
		u, err := url.Parse(c.settings.AdminURL)
		if err != nil {
			t.Fatal(err)
		}
		if reason := (&Connection{Settings: c.settings}).notThroughProxy(u); (reason != "") != c.refuses {
			t.Errorf("%s: %q", name, reason)
		}
	}
}

func TestReadOnlySendsNoWrite(t *testing.T) {
	for request, sent := range map[string]bool{
		"GET /plugins": true, "HEAD /": true, "POST /schemas/plugins/validate": true, "POST /team/schemas/plugins/validate": true,
		"POST /plugins": false, "PUT /plugins/1": false, "PATCH /plugins/1": false, "DELETE /plugins/1": false,
	} {
		method, path, _ := strings.Cut(request, " ")
		req, err := http.NewRequestWithContext(t.Context(), method, "http://kong"+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		next := &roundTripper{}
		resp, err := readOnly{next}.RoundTrip(req)
		if err == nil {
			resp.Body.Close()
		}
		if (err == nil) != sent || (len(next.seen) == 1) != sent {
			t.Errorf("%s: %v", request, err)
		}
	}
}
