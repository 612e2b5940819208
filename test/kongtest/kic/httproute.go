package kic

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// ruleGroup are the rules of an HTTPRoute that have the same backends and filters. They
// share a Kong service, named after the first of them.
type ruleGroup struct {
	first    int
	backends []gatewayv1.HTTPBackendRef
	matches  []*matchGroup
}

// matchGroup are the matches of a rule group that differ in their path only. They
// share a Kong route, named after the first of them.
type matchGroup struct {
	rule, match int
	conditions  gatewayv1.HTTPRouteMatch // without a path
	paths       []string
	ruleNames   []string
}

// httpRoute makes a Kong service for each group of rules and a Kong route for each
// group of matches.
func (t *translator) httpRoute(hr *gatewayv1.HTTPRoute) {
	for _, group := range groupRules(hr) {
		svc := t.backend(hr, group)
		if svc == nil {
			continue
		}
		name := httpRouteServiceName(hr.Namespace, hr.Name, group.first)
		t.state.add("services", t.service(name, name, 80, svc))
		for _, match := range group.matches {
			t.httpKongRoute(hr, name, match)
		}
	}
}

// backend is the first Service of a group's backends: its tags go to the Kong service.
// All Services count for the plugins of their annotations.
func (t *translator) backend(hr *gatewayv1.HTTPRoute, group *ruleGroup) *corev1.Service {
	var first *corev1.Service
	for _, ref := range group.backends {
		namespace := hr.Namespace
		if ref.Namespace != nil {
			namespace = string(*ref.Namespace)
		}
		svc := of(t.services, namespace, string(ref.Name))
		switch {
		case svc == nil:
			t.fail(hr, httpRouteKind, "failed to resolve backend Service %s/%s: not found", namespace, ref.Name)
		case first == nil:
			first = svc
		default:
			t.plans.attach(svc.Namespace, svc.Annotations, Scope{Service: httpRouteServiceName(hr.Namespace, hr.Name, group.first)})
		}
	}
	return first
}

func (t *translator) httpKongRoute(hr *gatewayv1.HTTPRoute, service string, match *matchGroup) {
	name := httpRouteServiceName(hr.Namespace, hr.Name, match.rule) + "." + strconv.Itoa(match.match)
	r := t.route(name, service, hr.Annotations)
	r["paths"], r["protocols"] = match.paths, []string{"http"}
	r["tags"] = tags(hr, httpRouteKind, t.tag, match.ruleNames...)
	if len(hr.Spec.Hostnames) > 0 {
		r["hosts"] = hr.Spec.Hostnames
	}
	if method := match.conditions.Method; method != nil {
		r["methods"] = []string{string(*method)}
	}
	if len(match.conditions.Headers) > 0 {
		headers := map[string]any{}
		for _, h := range match.conditions.Headers {
			headers[string(h.Name)] = []string{h.Value}
		}
		r["headers"] = headers
	}
	t.state.add("routes", r)
	t.plans.attach(hr.Namespace, hr.Annotations, Scope{Route: name})
}

func groupRules(hr *gatewayv1.HTTPRoute) []*ruleGroup {
	var groups []*ruleGroup
	byKey := map[string]*ruleGroup{}
	for i := range hr.Spec.Rules {
		rule := &hr.Spec.Rules[i]
		key := encoded(rule.BackendRefs) + encoded(rule.Filters)
		group := byKey[key]
		if group == nil {
			group = &ruleGroup{first: i, backends: rule.BackendRefs}
			byKey[key] = group
			groups = append(groups, group)
		}
		group.addMatches(i, rule)
	}
	return groups
}

func (g *ruleGroup) addMatches(index int, rule *gatewayv1.HTTPRouteRule) {
	matches := rule.Matches
	if len(matches) == 0 {
		matches = []gatewayv1.HTTPRouteMatch{{}}
	}
	for m := range matches {
		conditions := matches[m]
		conditions.Path = nil
		group := g.matchGroup(index, m, conditions)
		group.paths = append(group.paths, httpRoutePaths(matches[m].Path)...)
		if rule.Name != nil {
			group.addRuleName("k8s-named-route-rule:" + string(*rule.Name))
		}
	}
}

func (g *ruleGroup) matchGroup(rule, match int, conditions gatewayv1.HTTPRouteMatch) *matchGroup {
	for _, m := range g.matches {
		if encoded(m.conditions) == encoded(conditions) {
			return m
		}
	}
	m := &matchGroup{rule: rule, match: match, conditions: conditions}
	g.matches = append(g.matches, m)
	return m
}

func (m *matchGroup) addRuleName(tag string) {
	for _, known := range m.ruleNames {
		if known == tag {
			return
		}
	}
	m.ruleNames = append(m.ruleNames, tag)
}

// httpRoutePaths are the paths of a Kong route for a path of an HTTPRoute.
func httpRoutePaths(path *gatewayv1.HTTPPathMatch) []string {
	kind, value := gatewayv1.PathMatchPathPrefix, "/"
	if path != nil && path.Type != nil {
		kind = *path.Type
	}
	if path != nil && path.Value != nil {
		value = *path.Value
	}
	switch kind {
	case gatewayv1.PathMatchExact:
		return []string{"~" + value + "$"}
	case gatewayv1.PathMatchRegularExpression:
		return []string{"~" + value}
	default:
		if value = strings.TrimRight(value, "/"); value == "" {
			return []string{"/"}
		}
		return []string{"~" + value + "$", value + "/"}
	}
}

func encoded(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("kic: %v", err)) // types of the Gateway API
	}
	return string(b)
}
