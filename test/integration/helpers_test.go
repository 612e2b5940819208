package integration

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/controllers"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
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

// normalizingDialer dials a Kong that keeps one minute more than it is given: a config that it
// changes in a way no comparison foresees.
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
