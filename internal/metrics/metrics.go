// Package metrics counts what the controllers do, by gateway.
//
// It knows Prometheus and keys of gateways. It must not import a client of Kubernetes or of
// Kong.
package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
)

// Metrics of both controllers. A nil *Metrics counts nothing.
type Metrics struct {
	writes           *prometheus.CounterVec
	driftCorrections *prometheus.CounterVec
	recoveredIDs     *prometheus.CounterVec
	refusedIDChanges *prometheus.CounterVec
	lastResync       *prometheus.GaugeVec
	orphanedPlugins  *prometheus.GaugeVec
	omittedEvents    *prometheus.CounterVec

	mu sync.Mutex
	// gateways that exist. What ends after its gateway is not counted: its series would stay for ever.
	gateways map[types.NamespacedName]bool
}

// New makes the metrics and registers them. It panics when they are registered already.
func New(registry prometheus.Registerer) *Metrics {
	byGateway := []string{"gateway"}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append(byGateway, labels...))
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, byGateway)
	}
	m := &Metrics{
		gateways: map[types.NamespacedName]bool{},
		writes: counter("kong_operator_plugin_writes_total",
			"Writes of plugins that Kong confirmed, by gateway and action (create, put, takeover, delete, orphan).", "action"),
		driftCorrections: counter("kong_operator_drift_total",
			"Plugins that differed from their unchanged declaration, and that the operator corrected."),
		recoveredIDs: counter("kong_operator_plugin_ids_recovered_total",
			"Plugin IDs that a binding's status had lost, and that the operator found in Kong by the ownership tags."),
		refusedIDChanges: counter("kong_operator_plugin_id_changes_refused_total",
			"Attempts to record a plugin ID over a different one, which the API server refused. A value other than 0 is a defect."),
		lastResync: gauge("kong_operator_gateway_last_sweep_timestamp_seconds",
			"Time of the last complete resync of a gateway, in seconds since 1970; 0 if this process has completed none since it leads."),
		orphanedPlugins: gauge("kong_operator_orphaned_plugins",
			"Plugins in a gateway's Kong that carry this cluster's ownership tags, and whose PluginBinding does not exist or has recorded another plugin."),
		omittedEvents: counter("kong_operator_events_omitted_total",
			"Normal events about bindings and policies of a gateway that the operator did not emit because there were too many at a time, by reason. Warnings are never omitted.", "reason"),
	}
	registry.MustRegister(m.writes, m.driftCorrections, m.recoveredIDs, m.refusedIDChanges, m.lastResync, m.orphanedPlugins, m.omittedEvents)
	return m
}

// AddGateway starts the series of a gateway at 0. Prometheus sees no increase in a series
// that starts at 1.
func (m *Metrics) AddGateway(gateway types.NamespacedName) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gateways[gateway] = true
	for _, counter := range []*prometheus.CounterVec{m.driftCorrections, m.recoveredIDs, m.refusedIDChanges} {
		counter.WithLabelValues(gateway.String())
	}
	m.lastResync.WithLabelValues(gateway.String())
}

// ofGateway records something about a gateway, unless it is gone.
func (m *Metrics) ofGateway(gateway types.NamespacedName, record func()) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gateways[gateway] {
		record()
	}
}

// CountWrite counts a write that Kong confirmed. The action is create, put, takeover, delete
// or orphan.
func (m *Metrics) CountWrite(gateway types.NamespacedName, action string) {
	m.ofGateway(gateway, func() { m.writes.WithLabelValues(gateway.String(), action).Inc() })
}

// CountDrift counts a plugin that differed from its unchanged declaration.
func (m *Metrics) CountDrift(gateway types.NamespacedName) {
	m.ofGateway(gateway, func() { m.driftCorrections.WithLabelValues(gateway.String()).Inc() })
}

// CountRecoveredID counts an ID that was found again in Kong.
func (m *Metrics) CountRecoveredID(gateway types.NamespacedName) {
	m.ofGateway(gateway, func() { m.recoveredIDs.WithLabelValues(gateway.String()).Inc() })
}

// CountRefusedIDChange counts an ID that the API server refused to record.
func (m *Metrics) CountRefusedIDChange(gateway types.NamespacedName) {
	m.ofGateway(gateway, func() { m.refusedIDChanges.WithLabelValues(gateway.String()).Inc() })
}

// CountOmittedEvent counts a normal event that was not emitted.
func (m *Metrics) CountOmittedEvent(gateway types.NamespacedName, reason string) {
	m.ofGateway(gateway, func() { m.omittedEvents.WithLabelValues(gateway.String(), reason).Inc() })
}

// SetResync sets the time of the last resync, and how many orphaned plugins it found.
func (m *Metrics) SetResync(gateway types.NamespacedName, at time.Time, orphaned int) {
	m.ofGateway(gateway, func() {
		m.lastResync.WithLabelValues(gateway.String()).Set(float64(at.Unix()))
		m.orphanedPlugins.WithLabelValues(gateway.String()).Set(float64(orphaned))
	})
}

// RemoveGateway ends the series of a gateway that no longer exists.
func (m *Metrics) RemoveGateway(gateway types.NamespacedName) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.gateways, gateway)
	labels := prometheus.Labels{"gateway": gateway.String()}
	for _, vec := range []interface{ DeletePartialMatch(prometheus.Labels) int }{
		m.writes, m.driftCorrections, m.recoveredIDs, m.refusedIDChanges, m.lastResync, m.orphanedPlugins, m.omittedEvents,
	} {
		vec.DeletePartialMatch(labels)
	}
}
