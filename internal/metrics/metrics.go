package controllers

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// Metrics of the controllers. A nil *Metrics counts nothing.
type Metrics struct {
	writes         *prometheus.CounterVec
	drifts         *prometheus.CounterVec
	recoveries     *prometheus.CounterVec
	refusedChanges *prometheus.CounterVec
	lastSweep      *prometheus.GaugeVec
	orphaned       *prometheus.GaugeVec
}

// NewMetrics makes the metrics and registers them. It panics when they are registered
// already.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kong_operator_plugin_writes_total",
			Help: "Writes of plugins that Kong confirmed, by gateway and action (create, put, takeover, delete, orphan).",
		}, []string{"gateway", "action"}),
		drifts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kong_operator_drift_total",
			Help: "Plugins found other than declared although the declaration had not changed, and put right.",
		}, []string{"gateway"}),
		recoveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kong_operator_plugin_ids_recovered_total",
			Help: "Plugin IDs that were not in a binding's status and were found again in Kong by the binding's marks.",
		}, []string{"gateway"}),
		refusedChanges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kong_operator_plugin_id_changes_refused_total",
			Help: "Attempts to record a plugin ID over a different one, which the API server refused. Anything but 0 is a defect.",
		}, []string{"gateway"}),
		lastSweep: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "kong_operator_gateway_last_sweep_timestamp_seconds",
			Help: "When all plugins of this cluster in a gateway's Kong were last read completely, in seconds since 1970; 0 if never since this process leads.",
		}, []string{"gateway"}),
		orphaned: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "kong_operator_orphaned_plugins",
			Help: "Plugins in a gateway's Kong that bear this cluster's marks and are no PluginBinding's: there is none of that name, or it has recorded another plugin.",
		}, []string{"gateway"}),
	}
	registry.MustRegister(m.writes, m.drifts, m.recoveries, m.refusedChanges, m.lastSweep, m.orphaned)
	return m
}

// known makes the series of a gateway that nothing was counted for yet, at 0: Prometheus
// sees no increase in a series that begins with 1, nor that no sweep was ever done.
func (m *Metrics) known(gateway types.NamespacedName) {
	if m == nil {
		return
	}
	for _, counter := range []*prometheus.CounterVec{m.drifts, m.recoveries, m.refusedChanges} {
		counter.WithLabelValues(gateway.String())
	}
	m.lastSweep.WithLabelValues(gateway.String())
}

func (m *Metrics) wrote(gateway types.NamespacedName, action string) {
	if m != nil {
		m.writes.WithLabelValues(gateway.String(), action).Inc()
	}
}

func (m *Metrics) drift(gateway types.NamespacedName) {
	if m != nil {
		m.drifts.WithLabelValues(gateway.String()).Inc()
	}
}

func (m *Metrics) recovered(gateway types.NamespacedName) {
	if m != nil {
		m.recoveries.WithLabelValues(gateway.String()).Inc()
	}
}

func (m *Metrics) refusedChange(gateway types.NamespacedName) {
	if m != nil {
		m.refusedChanges.WithLabelValues(gateway.String()).Inc()
	}
}

func (m *Metrics) swept(gateway types.NamespacedName, at metav1.Time, orphaned int32) {
	if m != nil {
		m.lastSweep.WithLabelValues(gateway.String()).Set(float64(at.Unix()))
		m.orphaned.WithLabelValues(gateway.String()).Set(float64(orphaned))
	}
}

func (m *Metrics) forget(gateway types.NamespacedName) {
	if m == nil {
		return
	}
	labels := prometheus.Labels{"gateway": gateway.String()}
	for _, vec := range []interface{ DeletePartialMatch(prometheus.Labels) int }{
		m.writes, m.drifts, m.recoveries, m.refusedChanges, m.lastSweep, m.orphaned,
	} {
		vec.DeletePartialMatch(labels)
	}
}

// BindingCollector counts the bindings by condition when it is scraped, from the cache.
type BindingCollector struct {
	// Reader is the manager's cache.
	Reader client.Reader
}

var (
	bindingsDesc = prometheus.NewDesc("kong_operator_bindings",
		"PluginBindings by gateway, condition and status of that condition.",
		[]string{"gateway", "condition", "status"}, nil)
	conflictsDesc = prometheus.NewDesc("kong_operator_conflicts",
		"PluginBindings in whose place another plugin stands, by gateway.",
		[]string{"gateway"}, nil)
)

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
	bindings := &v1alpha1.PluginBindingList{}
	if err := c.Reader.List(ctx, bindings, client.UnsafeDisableDeepCopy); err != nil {
		return
	}
	type series struct{ gateway, condition, status string }
	counts, conflicts := map[series]float64{}, map[string]float64{}
	for i := range bindings.Items {
		binding := &bindings.Items[i]
		gateway := gatewayKeyOf(binding).String()
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
