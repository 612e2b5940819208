package kong

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
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
