package controllers

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// ConditionCollector shows the conditions of gateways and counts the bindings by condition when it is
// scraped, from the cache.
type ConditionCollector struct {
	// Reader is the manager's cache.
	Reader client.Reader
}

var (
	bindingsDesc = prometheus.NewDesc("kong_operator_bindings",
		"PluginBindings by gateway, condition and status of that condition. The gateway is empty for bindings whose gateway does not exist or does not allow them.",
		[]string{"gateway", "condition", "status"}, nil)
	conflictsDesc = prometheus.NewDesc("kong_operator_conflicts",
		"PluginBindings blocked by a conflicting plugin, by gateway.",
		[]string{"gateway"}, nil)
	gatewaysDesc = prometheus.NewDesc("kong_operator_gateway_conditions",
		"Conditions of the KongGateways: 1 for the status that a condition has. A gateway without conditions has no series.",
		[]string{"gateway", "condition", "status"}, nil)
)

// noGateway is the label of the bindings that use no gateway: theirs does not exist, or refuses them.
// They have one label, so that nobody can make series, or move the figures of a gateway that he may
// not use.
const noGateway = ""

// isRefused reports whether the binding's gateway refused it.
func isRefused(binding *v1alpha1.PluginBinding) bool {
	accepted := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionAccepted)
	return accepted != nil && accepted.Status == metav1.ConditionFalse && accepted.Reason == v1alpha1.ReasonNotAllowedByGateway
}

// collectTimeout is less than Prometheus waits.
const collectTimeout = 5 * time.Second

// Describe implements prometheus.Collector.
func (c *ConditionCollector) Describe(out chan<- *prometheus.Desc) {
	out <- bindingsDesc
	out <- conflictsDesc
	out <- gatewaysDesc
}

// Collect implements prometheus.Collector. While the cache cannot be read, there is
// nothing to collect.
func (c *ConditionCollector) Collect(out chan<- prometheus.Metric) {
	// A cache that may not list never answers.
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	bindings, gateways := &v1alpha1.PluginBindingList{}, &v1alpha1.KongGatewayList{}
	for _, list := range []client.ObjectList{bindings, gateways} {
		if err := c.Reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return
		}
	}
	collectBindings(out, bindings.Items, collectGateways(out, gateways.Items))
}

// collectGateways shows the conditions of gateways, and returns their keys.
func collectGateways(out chan<- prometheus.Metric, gateways []v1alpha1.KongGateway) sets.Set[string] {
	known := sets.New[string]()
	for i := range gateways {
		gateway := client.ObjectKeyFromObject(&gateways[i]).String()
		known.Insert(gateway)
		for _, condition := range gateways[i].Status.Conditions {
			out <- prometheus.MustNewConstMetric(gatewaysDesc, prometheus.GaugeValue, 1, gateway, condition.Type, string(condition.Status))
		}
	}
	return known
}

// collectBindings counts the bindings of the known gateways, and the others together.
func collectBindings(out chan<- prometheus.Metric, bindings []v1alpha1.PluginBinding, known sets.Set[string]) {
	type series struct{ gateway, condition, status string }
	counts, conflicts := map[series]float64{}, map[string]float64{}
	for i := range bindings {
		binding := &bindings[i]
		gateway := reference.GatewayOf(binding).String()
		if !known.Has(gateway) || isRefused(binding) {
			gateway = noGateway
		}
		for _, condition := range binding.Status.Conditions {
			counts[series{gateway, condition.Type, string(condition.Status)}]++
		}
		if binding.Status.Conflict != nil {
			conflicts[gateway]++
		}
	}
	for s, n := range counts {
		out <- prometheus.MustNewConstMetric(bindingsDesc, prometheus.GaugeValue, n, s.gateway, s.condition, s.status)
	}
	for gateway, n := range conflicts {
		out <- prometheus.MustNewConstMetric(conflictsDesc, prometheus.GaugeValue, n, gateway)
	}
}
