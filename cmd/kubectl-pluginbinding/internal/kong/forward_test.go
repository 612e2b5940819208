package kong

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
)

func endpoint(name string, ready *bool) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{
		Conditions: discoveryv1.EndpointConditions{Ready: ready},
		TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: "kong", Name: name},
	}
}

func TestReadyPod(t *testing.T) {
	slice := &discoveryv1.EndpointSlice{
		Ports: []discoveryv1.EndpointPort{{Name: ptr.To("proxy"), Port: ptr.To[int32](8000)}, {Name: ptr.To("admin"), Port: ptr.To[int32](8001)}},
		Endpoints: []discoveryv1.Endpoint{
			endpoint("starting", ptr.To(false)), {}, endpoint("ready", ptr.To(true)), endpoint("unknown", nil),
		},
	}
	if pod, port, ok := readyPod(slice, "admin"); !ok || pod.Name != "ready" || port != 8001 {
		t.Errorf("%v %d %v", pod, port, ok)
	}
	if _, _, ok := readyPod(slice, "absent"); ok {
		t.Error("found a port that is not there")
	}
	slice.Endpoints = slice.Endpoints[:2]
	if pod, _, ok := readyPod(slice, "admin"); ok {
		t.Errorf("found %v, which is not ready", pod)
	}
}

// An API server that does not have port-forwards over WebSockets, or that lets the user have only the
// older kind, is asked for that one.
func TestAPortForwardFallsBackToSPDY(t *testing.T) {
	var methods []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		methods = append(methods, r.Method+" "+r.Header.Get("Upgrade"))
		http.Error(w, "forbidden", http.StatusForbidden)
	}))
	defer server.Close()
	w := &forward{config: &rest.Config{Host: server.URL}}
	dialer, err := w.dialer(types.NamespacedName{Namespace: "kong", Name: "kong-0"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := dialer.Dial("portforward.k8s.io"); err == nil {
		t.Error("connected")
	}
	if want := []string{"GET websocket", "POST SPDY/3.1"}; !slices.Equal(methods, want) {
		t.Errorf("asked %q, want %q", methods, want)
	}
}
