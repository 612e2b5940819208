package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest/kic"
)

// The Ingress of the demo, and the policy on it.
const (
	ingressName = "shop"
	policyName  = "shop-key"
	// kicInterval is how often the ingress controller writes: the real one does every three seconds.
	kicInterval = time.Second
)

// policyManifest declares an API key for everything that the Ingress serves.
const policyManifest = `apiVersion: kong.pluginbinding.io/v1alpha1
kind: PluginPolicy
metadata: {name: ` + policyName + `, namespace: ` + cartNamespace + `}
spec:
  gatewayRef: {name: kong, namespace: kong-demo}
  targetRefs:
  - {group: networking.k8s.io, kind: Ingress, name: ` + ingressName + `}
  template:
    spec:
      plugin: key-auth
      config: {key_names: [apikey]}
`

// ingressManifest declares an Ingress for some hosts, and its Service.
func ingressManifest(hosts ...string) string {
	var b strings.Builder
	b.WriteString(`apiVersion: v1
kind: Service
metadata: {name: ` + ingressName + `, namespace: ` + cartNamespace + `}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: ` + ingressName + `, namespace: ` + cartNamespace + `}
spec:
  ingressClassName: kong
  rules:
`)
	for _, host := range hosts {
		b.WriteString("  - host: " + host + "\n    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: " + ingressName + ", port: {number: 80}}}}]}\n")
	}
	return b.String()
}

// followIngress puts a policy on an Ingress of Kong's ingress controller, adds a host, and deletes the
// Ingress and makes it again.
func (s *walkthrough) followIngress(ctx context.Context) error {
	if _, err := s.cluster.kubectl(ctx, string(kic.CRDs()), "apply", "-f", "-"); err != nil {
		return err
	}
	controller, err := kic.Start(ctx, s.cluster.env.Config, kic.Options{AdminURL: s.kong.url, Interval: kicInterval, StartDelay: kicInterval, Namespace: cartNamespace})
	if err != nil {
		return err
	}
	defer controller.Stop()
	s.out.sayf("A stand-in for Kong's ingress controller runs: it makes a route for each host of an Ingress.")
	s.out.command("kubectl apply -f ingress.yaml -f policy.yaml   # two hosts, and an API key for all of them")
	if _, err := s.cluster.kubectl(ctx, ingressManifest("a.example.com", "b.example.com")+"---\n"+policyManifest, "apply", "-f", "-"); err != nil {
		return err
	}
	err = s.eventually(ctx, readyTimeout, func(ctx context.Context) error { return s.policyReady(ctx, 2) })
	s.show(ctx, "get", "pluginpolicy", "-n", cartNamespace, policyName)
	s.out.checkf(err, "the policy is Ready, with one plugin for each of the two routes")
	if err := s.addHost(ctx); err != nil {
		return err
	}
	if err := s.recreateIngress(ctx); err != nil {
		return err
	}
	return s.removePolicy(ctx, controller)
}

// addHost adds a host to the Ingress, and waits for the plugin of its route.
func (s *walkthrough) addHost(ctx context.Context) error {
	s.out.command("kubectl apply -f ingress.yaml   # one host more")
	if _, err := s.cluster.kubectl(ctx, ingressManifest("a.example.com", "b.example.com", "c.example.com"), "apply", "-f", "-"); err != nil {
		return err
	}
	var routeAt, pluginAt time.Time
	err := s.eventuallyEvery(ctx, 10*time.Millisecond, resyncTimeout, func(ctx context.Context) error {
		id, err := s.routeOf(ctx, "c.example.com")
		if err != nil {
			return err
		}
		if routeAt.IsZero() {
			routeAt = s.now()
		}
		plugins, err := s.kong.list(ctx, "/routes/"+id+"/plugins")
		if err == nil && len(plugins) == 0 {
			err = errors.New("the new route has no plugin")
		}
		pluginAt = s.now()
		return err
	})
	s.out.checkf(err, "the new route has the plugin, %s after the route", seconds(pluginAt.Sub(routeAt)))
	return nil
}

// routeOf returns the ID of the route of a host.
func (s *walkthrough) routeOf(ctx context.Context, host string) (string, error) {
	routes, err := s.kong.list(ctx, "/routes", "k8s-name:"+ingressName, "k8s-namespace:"+cartNamespace, "k8s-kind:Ingress")
	for _, route := range routes {
		if strings.Contains(route.text("name"), "."+host+".") {
			return route.id(), nil
		}
	}
	return "", errors.Join(err, fmt.Errorf("Kong has no route for %s", host))
}

// recreateIngress deletes the Ingress, waits until Kong has neither its routes nor their plugins, and
// makes it again.
func (s *walkthrough) recreateIngress(ctx context.Context) error {
	if err := s.eventually(ctx, readyTimeout, func(ctx context.Context) error { return s.policyReady(ctx, 3) }); err != nil {
		return err
	}
	before, err := s.policyPluginIDs(ctx)
	if err != nil {
		return err
	}
	s.show(ctx, "delete", "ingress", "-n", cartNamespace, ingressName)
	err = s.eventually(ctx, resyncTimeout, func(ctx context.Context) error {
		for id := range before {
			if _, err := s.kong.get(ctx, "/plugins/"+id); !errors.Is(err, errNotFound) {
				return errors.Join(err, fmt.Errorf("Kong still has plugin %s", id))
			}
		}
		return nil
	})
	s.out.checkf(err, "the ingress controller deletes the routes, and Kong their %d plugins with them", len(before))
	s.out.command("kubectl apply -f ingress.yaml   # the same again")
	if _, err := s.cluster.kubectl(ctx, ingressManifest("a.example.com", "b.example.com", "c.example.com"), "apply", "-f", "-"); err != nil {
		return err
	}
	err = s.eventually(ctx, readyTimeout, func(ctx context.Context) error {
		if err := s.policyReady(ctx, 3); err != nil {
			return err
		}
		for id := range before {
			if _, err := s.kong.get(ctx, "/plugins/"+id); err != nil {
				return err
			}
		}
		return nil
	})
	s.out.checkf(err, "the routes are back, and their %d plugins have the same IDs", len(before))
	return nil
}

// removePolicy deletes the policy, and then the Ingress, so that a Kong that lasts keeps neither.
func (s *walkthrough) removePolicy(ctx context.Context, controller *kic.KIC) error {
	s.show(ctx, "delete", "pluginpolicy", "-n", cartNamespace, policyName, "--timeout="+resyncTimeout.String())
	var list v1alpha1.PluginBindingList
	err := s.cluster.List(ctx, &list, client.InNamespace(cartNamespace), client.MatchingLabels{v1alpha1.PolicyLabel: policyName})
	if err == nil && len(list.Items) > 0 {
		err = fmt.Errorf("%d bindings are left", len(list.Items))
	}
	s.out.checkf(err, "its bindings went with it, and their plugins")
	for key := range s.ids {
		if key.Namespace == cartNamespace && strings.HasPrefix(key.Name, policyName+"-") {
			delete(s.ids, key)
		}
	}
	if _, err := s.cluster.kubectl(ctx, ingressManifest("a.example.com"), "delete", "-f", "-"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, resyncTimeout)
	defer cancel()
	return controller.WaitSynced(ctx)
}

// policyReady checks that the policy is Ready with so many bindings.
func (s *walkthrough) policyReady(ctx context.Context, bindings int) error {
	p := &v1alpha1.PluginPolicy{}
	if err := s.cluster.Get(ctx, client.ObjectKey{Namespace: cartNamespace, Name: policyName}, p); err != nil {
		return err
	}
	if counts := p.Status.Bindings; counts == nil || int(counts.Ready) != bindings || int(counts.Total) != bindings {
		return fmt.Errorf("the policy has %+v, and not %d bindings that are Ready: %+v", counts, bindings, p.Status.Conditions)
	}
	return nil
}

// policyPluginIDs returns the IDs of the policy's plugins.
func (s *walkthrough) policyPluginIDs(ctx context.Context) (map[string]bool, error) {
	bindings, err := s.list(ctx, client.InNamespace(cartNamespace), client.MatchingLabels{v1alpha1.PolicyLabel: policyName})
	ids := map[string]bool{}
	for i := range bindings {
		ids[string(bindings[i].Status.PluginID)] = true
	}
	return ids, err
}
