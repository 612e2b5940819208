package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/policy"
)

// Policies on Ingresses, each of which Kong has as routesPerIngress routes: a tenth as many policies as
// there are bindings in the other phases, with as many bindings in all.
const (
	routesPerIngress = 10
	policyService    = "bench-policies"
	// newRoutes is how many routes are added to Ingresses, and concurrentRoutes how many at a time.
	newRoutes        = 100
	concurrentRoutes = 10
	// kicPeriod is how often Kong's ingress controller writes: a route comes up to that long after
	// the change of its Ingress.
	kicPeriod = 3 * time.Second
)

func (s *environment) policyCount() int { return s.n / routesPerIngress }

func ingressName(i int) string { return fmt.Sprintf("shop-%04d", i) }

// kicRoute is a route as Kong's ingress controller writes it for an Ingress.
func kicRoute(ingress, number int) (name string, body map[string]any) {
	host := fmt.Sprintf("h%d.i%d.example.com", number, ingress)
	name = fmt.Sprintf("%s.%s.shop.%s.80", namespace, ingressName(ingress), host)
	return name, map[string]any{
		"name": name, "hosts": []string{host}, "service": map[string]any{"name": policyService},
		"tags": []string{
			"k8s-name:" + ingressName(ingress), "k8s-namespace:" + namespace, "k8s-kind:Ingress", "k8s-uid:none",
			"k8s-group:networking.k8s.io", "k8s-version:v1", "managed-by-ingress-controller",
		},
	}
}

func policyOn(ingress int) *v1alpha1.PluginPolicy {
	return &v1alpha1.PluginPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: ingressName(ingress)},
		Spec: v1alpha1.PluginPolicySpec{
			GatewayRef: v1alpha1.GatewayRef{Name: gatewayName},
			TargetRefs: []v1alpha1.PolicyTargetRef{{Group: "networking.k8s.io", Kind: "Ingress", Name: ingressName(ingress)}},
			Template: v1alpha1.PluginBindingTemplate{Spec: v1alpha1.PluginTemplateSpec{
				Plugin: "key-auth", Config: &apiextensionsv1.JSON{Raw: []byte(`{"key_names":["apikey"]}`)},
			}},
		},
	}
}

// bindingNameOn is the name of the binding that a policy makes for a route.
func bindingNameOn(p *v1alpha1.PluginPolicy, route string) string {
	targets := policy.Targets(p)
	targets[0].Entities = []connection.Selected{{ID: route, Name: route}}
	return policy.Children(p, targets)[0].Name
}

// seedPolicies creates the routes in Kong, and the Ingresses. The operator does not notice either.
func (s *environment) seedPolicies(ctx context.Context) error {
	if err := s.kong.create(ctx, "services", map[string]any{"name": policyService, "url": "http://shop.internal:8080"}); err != nil {
		return err
	}
	if err := inParallel(ctx, kongConcurrency, s.policyCount()*routesPerIngress, func(ctx context.Context, i int) error {
		_, body := kicRoute(i/routesPerIngress, i%routesPerIngress)
		return s.kong.create(ctx, "routes", body)
	}); err != nil {
		return err
	}
	return inParallel(ctx, apiServerConcurrency, s.policyCount(), func(ctx context.Context, i int) error {
		return s.cluster.Create(ctx, &networkingv1.Ingress{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: ingressName(i)},
			Spec: networkingv1.IngressSpec{DefaultBackend: &networkingv1.IngressBackend{
				Service: &networkingv1.IngressServiceBackend{Name: "shop", Port: networkingv1.ServiceBackendPort{Number: 80}},
			}},
		})
	})
}

// createPolicies creates all policies, and waits until every route has its plugin.
func (s *environment) createPolicies(ctx context.Context, p *phase) error {
	if err := s.seedPolicies(ctx); err != nil {
		return err
	}
	clear(s.ids)
	if s.options.only == onlyPolicies {
		if err := s.operator.start(ctx); err != nil {
			return err
		}
	}
	mark, began := s.proxy.mark(), time.Now()
	if err := inParallel(ctx, apiServerConcurrency, s.policyCount(), func(ctx context.Context, i int) error {
		return s.cluster.Create(ctx, policyOn(i))
	}); err != nil {
		return err
	}
	want := s.policyCount() * routesPerIngress
	if err := s.waitForPolicies(ctx, want); err != nil {
		return err
	}
	p.Seconds = time.Since(began).Seconds()
	n, first, last := writesIn(s.proxy.since(mark), http.MethodPost)
	if n != want {
		s.fail("policies: %d plugins were created for %d routes", n, want)
	}
	p.Figures[figRate] = float64(n) / last.Sub(first).Seconds()
	// The gateway's status describes the last resync. One that saw everything must come before the
	// restart, which otherwise has something to write.
	_, err := s.operator.waitUntilIdle(ctx, s.patienceForAll(), time.Now().Add(time.Second), 0)
	return err
}

// waitForPolicies waits until every policy is Ready, with so many bindings in all.
func (s *environment) waitForPolicies(ctx context.Context, want int) error {
	// A list of all policies costs the API server more the more there are.
	interval := 200*time.Millisecond + time.Duration(s.policyCount())*2*time.Millisecond
	return wait.PollUntilContextTimeout(ctx, interval, s.patienceForAll(), true, func(ctx context.Context) (bool, error) {
		var list v1alpha1.PluginPolicyList
		if err := s.cluster.List(ctx, &list, client.InNamespace(namespace)); err != nil {
			return false, err
		}
		ready := 0
		for i := range list.Items {
			if counts := list.Items[i].Status.Bindings; counts != nil {
				ready += int(counts.Ready)
			}
		}
		return ready == want, s.operator.checkAlive()
	})
}

// restartPolicies restarts the operator while everything is in sync: it must write nothing.
func (s *environment) restartPolicies(ctx context.Context, p *phase) error {
	if err := s.operator.stop(); err != nil {
		return err
	}
	if _, _, err := s.cluster.audit.next(); err != nil {
		return err
	}
	mark, began := s.proxy.mark(), time.Now()
	if err := s.operator.start(ctx); err != nil {
		return err
	}
	done, err := s.operator.waitUntilIdle(ctx, s.patienceForAll(), time.Time{}, s.policyCount()*routesPerIngress)
	if err != nil {
		return err
	}
	p.Seconds = done.Sub(began).Seconds()
	for _, e := range s.proxy.since(mark) {
		if e.isWrite() {
			s.fail("policies, restart in sync: write to Kong: %s %s", e.method, e.kind)
		}
	}
	s.profileHeap(ctx, "policies")
	return nil
}

// addRoutes adds hosts to Ingresses. It measures the time from each new route in Kong to its plugin
// there.
func (s *environment) addRoutes(ctx context.Context, p *phase) error {
	var mu sync.Mutex
	var took []time.Duration
	count := min(newRoutes, s.policyCount())
	mark := s.proxy.mark()
	if err := inParallel(ctx, concurrentRoutes, count, func(ctx context.Context, i int) error {
		latency, err := s.addRoute(ctx, i*s.policyCount()/count)
		mu.Lock()
		defer mu.Unlock()
		took = append(took, latency)
		return err
	}); err != nil {
		return err
	}
	p.recordLatencies(took)
	p.Figures[figP99] = float64(took[(len(took)*99-1)/100].Microseconds()) / 1000
	lists := 0
	for _, e := range s.proxy.since(mark) {
		if strings.HasPrefix(e.kind, "/routes") && e.method == http.MethodGet {
			lists++
		}
	}
	p.Figures[figRequests] = float64(lists) / float64(count)
	return s.waitForPolicies(ctx, s.policyCount()*routesPerIngress+count)
}

// addRoute changes an Ingress, and creates its new route some time later, as Kong's ingress controller
// does.
func (s *environment) addRoute(ctx context.Context, ingress int) (time.Duration, error) {
	route, body := kicRoute(ingress, routesPerIngress)
	found := s.proxy.awaitWrite(`"k8s-name:` + bindingNameOn(policyOn(ingress), route) + `"`)
	patch := fmt.Appendf(nil, `{"spec":{"rules":[{"host":"h%d.i%d.example.com"}]}}`, routesPerIngress, ingress)
	object := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: ingressName(ingress)}}
	if err := s.cluster.Patch(ctx, object, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-time.After(rand.N(kicPeriod)):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if err := s.kong.create(ctx, "routes", body); err != nil {
		return 0, err
	}
	began := time.Now()
	select {
	case at := <-found:
		return at.Sub(began), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("the route %s got no plugin: %w", route, ctx.Err())
	}
}
