package kong

import (
	"net/url"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func TestServiceOf(t *testing.T) {
	for text, want := range map[string]struct {
		service     service
		certain, ok bool
	}{
		"http://kong.kong:8001":                        {service{types.NamespacedName{Namespace: "kong", Name: "kong"}, 8001}, false, true},
		"http://kong-admin.kong.svc":                   {service{types.NamespacedName{Namespace: "kong", Name: "kong-admin"}, 80}, true, true},
		"https://kong-admin.kong.svc.cluster.local":    {service{types.NamespacedName{Namespace: "kong", Name: "kong-admin"}, 443}, true, true},
		"https://kong-admin.kong.svc.example.org:8444": {service{types.NamespacedName{Namespace: "kong", Name: "kong-admin"}, 8444}, true, true},
		"http://kong":                   {},
		"http://kong.example.org":       {},
		"http://127.0.0.1:8001":         {},
		"http://[::1]:8001":             {},
		"http://10.0":                   {},
		"http://Kong_Admin.kong.svc:80": {},
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		got, certain, ok := serviceOf(u)
		if got != want.service || certain != want.certain || ok != want.ok {
			t.Errorf("%s: %v %v %v, want %+v", text, got, certain, ok, want)
		}
	}
}

// A host with two labels can be a name outside the cluster; only one that ends in svc must be a Service.
func TestFindService(t *testing.T) {
	reader := fake.NewClientBuilder().WithObjects(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "kong", Name: "admin"}}).Build()
	for text, want := range map[string]struct{ found, failed bool }{
		"http://admin.kong":      {found: true},
		"http://admin.kong.svc":  {found: true},
		"http://example.org":     {},
		"http://absent.kong.svc": {failed: true},
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		_, found, err := findService(t.Context(), reader, u)
		if found != want.found || (err != nil) != want.failed {
			t.Errorf("%s: %v %v", text, found, err)
		}
	}
}
