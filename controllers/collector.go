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

// BindingCollector counts the bindings by condition when it is scraped, from the cache.
type BindingCollector struct {
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
func (c *BindingCollector) Describe(out chan<- *prometheus.Desc) {
	out <- bindingsDesc
	out <- conflictsDesc
}

// Collect implements prometheus.Collector. While the cache cannot be read, there is
// nothing to collect.
func (c *BindingCollector) Collect(out chan<- prometheus.Metric) {
	// A cache that may not list never answers.
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	bindings, gateways := &v1alpha1.PluginBindingList{}, &v1alpha1.KongGatewayList{}
	for _, list := range []client.ObjectList{bindings, gateways} {
		if err := c.Reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return
		}
	}
	known := sets.New[string]()
	for i := range gateways.Items {
		known.Insert(client.ObjectKeyFromObject(&gateways.Items[i]).String())
	}
	type series struct{ gateway, condition, status string }
	counts, conflicts := map[series]float64{}, map[string]float64{}
	for i := range bindings.Items {
		binding := &bindings.Items[i]
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
