package kic

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

var (
	serviceKind   = corev1.SchemeGroupVersion.WithKind("Service")
	ingressKind   = networkingv1.SchemeGroupVersion.WithKind("Ingress")
	httpRouteKind = schema.GroupVersionKind{Group: gatewayv1.GroupName, Version: gatewayv1.GroupVersion.Version, Kind: "HTTPRoute"}
)

// failure is an object, or a part of one, that has no translation.
type failure struct {
	object  client.Object
	message string
}

// translator makes a state of objects.
type translator struct {
	*objects
	tag      string
	class    string
	state    *state
	failures []failure
	plans    attachments
}

// translate is what KIC wants in Kong for these objects, and what it cannot translate.
func translate(o *objects, tag, class string) (*state, []failure) {
	t := &translator{objects: o, tag: tag, class: class, state: newState(), plans: attachments{}}
	for i := range o.consumers {
		t.consumer(&o.consumers[i])
	}
	for i := range o.ingresses {
		t.ingress(&o.ingresses[i])
	}
	for i := range o.httpRoutes {
		t.httpRoute(&o.httpRoutes[i])
	}
	t.attachedPlugins()
	t.globalPlugins()
	return t.state, t.failures
}

func (t *translator) fail(o client.Object, kind schema.GroupVersionKind, format string, args ...any) {
	o.GetObjectKind().SetGroupVersionKind(kind)
	t.failures = append(t.failures, failure{o, fmt.Sprintf(format, args...)})
}

// mine says whether an object is for this controller: of its class, or of none.
func (t *translator) mine(annotations map[string]string, className *string) bool {
	class := annotations["kubernetes.io/ingress.class"]
	if className != nil {
		class = *className
	}
	return class == "" || class == t.class
}

func (t *translator) consumer(c *kongConsumer) {
	if !t.mine(c.Annotations, nil) || c.Username == "" {
		return
	}
	r := row{"id": ID("consumers", c.Username), "username": c.Username, "tags": tags(c, kongConsumerKind, t.tag)}
	if c.CustomID != "" {
		r["custom_id"] = c.CustomID
	}
	t.state.add("consumers", r)
	t.plans.attach(c.Namespace, c.Annotations, Scope{Consumer: c.Username})
}

// ingress makes one route for each host, backend and form of the port. The route has
// all paths of that host and backend.
func (t *translator) ingress(in *networkingv1.Ingress) {
	if !t.mine(in.Annotations, in.Spec.IngressClassName) {
		return
	}
	type place struct{ host, service, port string }
	paths := map[place][]string{}
	var places []place
	for _, rule := range in.Spec.Rules {
		if rule.HTTP == nil {
			continue
		}
		for _, path := range rule.HTTP.Paths {
			if path.Backend.Service == nil || !t.ingressService(in, path.Backend.Service) {
				continue
			}
			p := place{rule.Host, path.Backend.Service.Name, portForm(path.Backend.Service.Port)}
			if _, known := paths[p]; !known {
				places = append(places, p)
			}
			paths[p] = append(paths[p], ingressPaths(path)...)
		}
	}
	for _, p := range places {
		name := ingressRouteName(in.Namespace, in.Name, p.service, p.host, p.port)
		r := t.route(name, ingressServiceName(in.Namespace, p.service, p.port), in.Annotations)
		r["paths"], r["protocols"] = paths[p], []string{"http", "https"}
		r["tags"] = tags(in, ingressKind, t.tag)
		if p.host != "" {
			r["hosts"] = []string{p.host}
		}
		t.state.add("routes", r)
		t.plans.attach(in.Namespace, in.Annotations, Scope{Route: name})
	}
}

// ingressService adds the Kong service of a backend and says whether it has one.
func (t *translator) ingressService(in *networkingv1.Ingress, backend *networkingv1.IngressServiceBackend) bool {
	svc := of(t.services, in.Namespace, backend.Name)
	if svc == nil {
		t.fail(in, ingressKind, "failed to resolve backend Service %s/%s: not found", in.Namespace, backend.Name)
		return false
	}
	number, found := t.portNumber(svc, backend.Port)
	if !found {
		t.fail(in, ingressKind, "can't find port %s of Service %s/%s", portForm(backend.Port), svc.Namespace, svc.Name)
		return false
	}
	form := portForm(backend.Port)
	r := t.service(ingressServiceName(in.Namespace, svc.Name, form), strings.Join([]string{svc.Name, svc.Namespace, form, "svc"}, "."), number, svc)
	r["path"] = "/"
	t.state.add("services", r)
	return true
}

// portNumber is the number of a Service's port. A name that is no longer the
// Service's, but still that of an EndpointSlice of it, counts as port 80: between the
// two changes of a rename the routes stay.
func (t *translator) portNumber(svc *corev1.Service, port networkingv1.ServiceBackendPort) (int32, bool) {
	for _, p := range svc.Spec.Ports {
		if (port.Name != "" && p.Name == port.Name) || (port.Name == "" && p.Port == port.Number) {
			return p.Port, true
		}
	}
	if port.Name == "" {
		return 0, false
	}
	for _, slice := range t.slicesOf(svc) {
		for _, p := range slice.Ports {
			if p.Name != nil && *p.Name == port.Name {
				return 80, true
			}
		}
	}
	return 0, false
}

func (t *translator) slicesOf(svc *corev1.Service) []discoveryv1.EndpointSlice {
	return slices.DeleteFunc(slices.Clone(t.slices), func(s discoveryv1.EndpointSlice) bool {
		return s.Namespace != svc.Namespace || s.Labels[discoveryv1.LabelServiceName] != svc.Name
	})
}

// ingressPaths are the paths of a Kong route for a path of an Ingress.
func ingressPaths(path networkingv1.HTTPIngressPath) []string {
	p := path.Path
	if !strings.HasPrefix(p, "/") {
		p = "/" + p
	}
	switch {
	case path.PathType != nil && *path.PathType == networkingv1.PathTypeExact:
		return []string{"~" + p + "$"}
	case path.PathType != nil && *path.PathType == networkingv1.PathTypePrefix:
		if p = strings.TrimRight(p, "/"); p == "" {
			return []string{"/"}
		}
		return []string{p + "/", "~" + p + "$"}
	case strings.HasPrefix(p, "/~"):
		return []string{p[1:]}
	default:
		return []string{p}
	}
}

// service is a Kong service. It carries the tags of its Kubernetes Service, and the
// plugins of that Service's annotation.
func (t *translator) service(name, host string, port int32, svc *corev1.Service) row {
	t.plans.attach(svc.Namespace, svc.Annotations, Scope{Service: name})
	for _, slice := range t.slicesOf(svc) {
		t.state.Endpoints = append(t.state.Endpoints, fmt.Sprint(name, slice.Name, slice.Endpoints, slice.Ports))
	}
	return row{
		"id": ID("services", name), "name": name, "host": host, "port": port, "protocol": "http", "enabled": true, "retries": 5,
		"connect_timeout": 60000, "read_timeout": 60000, "write_timeout": 60000, "tags": tags(svc, serviceKind, t.tag),
	}
}

// route is a Kong route, without paths, hosts, protocols and tags.
func (t *translator) route(name, service string, annotations map[string]string) row {
	return row{
		"id": ID("routes", name), "name": name, "service": map[string]any{"id": ID("services", service)},
		"path_handling": "v0", "https_redirect_status_code": 426, "regex_priority": 0,
		"request_buffering": true, "response_buffering": true,
		"strip_path":    annotations["konghq.com/strip-path"] == "true",
		"preserve_host": annotations["konghq.com/preserve-host"] != "false",
	}
}
