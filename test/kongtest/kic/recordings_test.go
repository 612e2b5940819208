package kic

import (
	"maps"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

func path(p string, kind networkingv1.PathType, service string, port networkingv1.ServiceBackendPort) networkingv1.HTTPIngressPath {
	return networkingv1.HTTPIngressPath{Path: p, PathType: &kind, Backend: networkingv1.IngressBackend{
		Service: &networkingv1.IngressServiceBackend{Name: service, Port: port},
	}}
}

func rule(host string, paths ...networkingv1.HTTPIngressPath) networkingv1.IngressRule {
	return networkingv1.IngressRule{Host: host, IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{Paths: paths}}}
}

func number(n int32) networkingv1.ServiceBackendPort {
	return networkingv1.ServiceBackendPort{Number: n}
}

const prefix, exact = networkingv1.PathTypePrefix, networkingv1.PathTypeExact

// TestFirstObjects replays a first sync and changes of an Ingress (00 to 03).
func TestFirstObjects(t *testing.T) {
	w := newWorld(t, "inventory.yaml")
	w.replay("00", func() {}, func() { w.add("httproute.yaml") })
	w.replay("01", func() {
		http := w.ingress("ing-a").Spec.Rules[0].HTTP
		http.Paths = append(http.Paths, path("/c", prefix, "svc-a", number(80)))
	})
	w.replay("02", func() {
		in := w.ingress("ing-a")
		in.Spec.Rules = append(in.Spec.Rules, rule("three.example.com", path("/a", prefix, "svc-a", number(80))))
	})
	w.replay("03", func() { w.ingress("ing-a").Spec.Rules[0].HTTP.Paths[2].Backend.Service.Name = "svc-b" })
}

// TestChanges replays changes of ports, of an HTTPRoute and of whole Ingresses (08 to 15).
func TestChanges(t *testing.T) {
	w := newWorld(t, "inventory.yaml", "httproute.yaml")
	attach(w.ingress("ing-a"), "term-a")
	attach(w.service("svc-a"), "")
	attach(&w.seen.consumers[0], "")
	w.seen.clusterPlugins = nil
	w.replay("08", func() { w.service("svc-a").Spec.Ports[0].Name = "web" })
	w.replay("09", func() {
		web := "web"
		w.slice("svc-a-1").Ports[0].Name = &web
		for _, r := range w.ingress("ing-a").Spec.Rules {
			r.HTTP.Paths[1].Backend.Service.Port.Name = web
		}
	})
	in := *w.ingress("ing-a").DeepCopy()
	w.replay("10", func() { w.deleteIngress("ing-a") })
	w.replay("11", func() { w.seen.ingresses = append(w.seen.ingresses, in) })
	w.replay("12") // only the UID changes
	w.replay("13", func() {
		hr := w.httpRoute("hr-a")
		added := *hr.Spec.Rules[1].DeepCopy()
		value := "/new"
		added.Matches[0].Path.Value = &value
		hr.Spec.Rules = append([]gatewayv1.HTTPRouteRule{added}, hr.Spec.Rules...)
	})
	w.replay("14", func() {
		in := w.ingress("ing-a")
		in.Spec.Rules = append(in.Spec.Rules,
			rule("", path("/nohost", prefix, "svc-a", number(80))), rule("*.example.com", path("/wild", prefix, "svc-a", number(80))))
	})
	w.replay("15", func() {
		w.service("svc-a").Spec.Ports[0].Port = 81
		for _, r := range w.ingress("ing-a").Spec.Rules {
			if port := &r.HTTP.Paths[0].Backend.Service.Port; port.Number == 80 {
				port.Number = 81
			}
		}
	})
}

// lab is the world before these recordings of the hand-over.
func lab(t *testing.T, annotated bool, recordings ...string) *world {
	t.Helper()
	w := newWorld(t, "lab.yaml")
	for _, number := range recordings {
		maps.Copy(w.uids, read(t, number).uids())
	}
	if !annotated {
		w.unannotate()
	}
	w.settle()
	return w
}

// replacePod changes the endpoint of svc-u, which no row tells.
func (w *world) replacePod() { w.slice("svc-u-1").Endpoints[0].Addresses[0] += "0" }

// add adds an Ingress for svc-u.
func (w *world) addIngress(name, host string) {
	in := *w.ingress("ing-u").DeepCopy()
	in.Name = name
	in.Spec.Rules[0].Host = host
	attach(&in, "")
	w.seen.ingresses = append(w.seen.ingresses, in)
}

func (w *world) annotate()   { attach(w.ingress("ing-t"), "guard") }
func (w *world) unannotate() { attach(w.ingress("ing-t"), "") }

// guardOf is a plugin of the operator on the route of ing-t, made by another client.
func (w *world) guardOf(id string, tags ...string) {
	w.srv.Seed("plugins", map[string]any{
		"id": id, "name": "key-auth", "route": map[string]any{"id": ID("routes", "shop.ing-t.svc-t.t.example.com.28090")},
		"config": map[string]any{"key_names": []string{"apikey"}}, "tags": tags,
	})
}

// TestRetag replays a binding that writes its marks on KIC's row (17 to 28).
func TestRetag(t *testing.T) {
	t.Run("KIC idle", func(t *testing.T) {
		w := lab(t, true, "17", "18")
		w.replay("17")
		w.replay("18", w.unannotate)
	})
	t.Run("a change between, the row has the UUIDv5", func(t *testing.T) {
		w := lab(t, true, "21", "22")
		w.replay("21", w.replacePod)
		w.replay("22", w.unannotate)
	})
	t.Run("a change between, the row has another ID", func(t *testing.T) {
		w := lab(t, true, "25", "26")
		w.srv.DeletePlugin("7b8baacc-dada-5165-bd43-955097f93370")
		w.guardOf("ccf45793-8210-456b-9919-b4685e428136", DefaultTag)
		w.settle()
		w.replay("25", w.replacePod)
		w.replay("26", w.unannotate)
	})
	t.Run("the annotation removed first", func(t *testing.T) {
		w := lab(t, true, "28")
		w.replay("28", w.unannotate)
	})
}

// TestShadow replays a binding on route and service beside KIC's row (38 to 40).
func TestShadow(t *testing.T) {
	w := lab(t, true, "38", "39")
	w.replay("38", w.replacePod)
	w.replay("39", w.unannotate)
	for _, p := range w.srv.Plugins() { // Kong chose the ID
		if p["service"] != nil {
			w.srv.DeletePlugin(text(p["id"]))
			p["id"] = "55f5411f-9dac-4912-93e2-d00b779d2330"
			w.srv.Seed("plugins", p)
		}
	}
	w.replay("40")
}

// TestCollision replays an annotation where a plugin of the operator is (45 to 47).
func TestCollision(t *testing.T) {
	w := lab(t, false, "46", "45")
	w.addIngress("ing-x", "x.example.com")
	w.settle()
	w.guardOf("1ed3466a-f189-45af-a00b-7f08dd810bac", "managed-by:plugin-binding-operator")
	changes := func() {
		w.addIngress("ing-w", "w.example.com")
		w.replacePod()
		w.deleteIngress("ing-x")
		w.plugin("term-u").Config["message"] = "held by kic u2"
	}
	w.replay("45", w.annotate, func() {}, changes)
	w.kic.applied, w.kic.lastValid = "", nil // as Restart does
	w.replay("46")
	w.replay("47", w.unannotate)
}

// TestBack replays the ways back (48, 49, 57).
func TestBack(t *testing.T) {
	t.Run("a row of another ID", func(t *testing.T) {
		w := lab(t, false, "48", "49")
		w.guardOf("8b5abf0d-881e-4593-8e8f-6987720bf215", "managed-by:plugin-binding-operator")
		w.replay("48", w.annotate)
		w.replay("49")
	})
	t.Run("by shadow", func(t *testing.T) {
		w := lab(t, false, "57")
		w.guardOf("1ed3466a-f189-45af-a00b-7f08dd810bac", "managed-by:plugin-binding-operator")
		w.replay("57", w.annotate)
	})
}
