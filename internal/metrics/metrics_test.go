package metrics

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
)

// series are the values of all counters and gauges of a registry, by name and gateway.
func series(t *testing.T, registry prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, sample := range family.GetMetric() {
			for _, label := range sample.GetLabel() {
				if label.GetName() == "gateway" {
					values[family.GetName()+" "+label.GetValue()] += sample.GetCounter().GetValue() + sample.GetGauge().GetValue()
				}
			}
		}
	}
	return values
}

func TestSeriesOfAGatewayStartAtZeroAndEndWithIt(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := New(registry)
	kong, other := types.NamespacedName{Namespace: "kong", Name: "kong"}, types.NamespacedName{Namespace: "kong", Name: "other"}
	begun := []string{
		"kong_operator_drift_total",
		"kong_operator_plugin_ids_recovered_total",
		"kong_operator_plugin_id_changes_refused_total",
		"kong_operator_gateway_last_sweep_timestamp_seconds",
	}

	m.AddGateway(kong)
	m.AddGateway(other)
	values := series(t, registry)
	if len(values) != 2*len(begun) {
		t.Errorf("series of gateways of which nothing was counted: %v", values)
	}
	for _, name := range begun {
		if value, ok := values[name+" kong/kong"]; !ok || value != 0 {
			t.Errorf("%s: there %v, value %v", name, ok, value)
		}
	}

	at := time.Unix(1_700_000_000, 0)
	m.CountRefusedIDChange(kong)
	m.SetResync(kong, at, 0)
	m.AddGateway(kong) // as after every probe
	values = series(t, registry)
	if values["kong_operator_plugin_id_changes_refused_total kong/kong"] != 1 ||
		values["kong_operator_gateway_last_sweep_timestamp_seconds kong/kong"] != float64(at.Unix()) {
		t.Errorf("what was counted did not stay: %v", values)
	}

	m.CountWrite(kong, "create")
	m.RemoveGateway(kong)
	values = series(t, registry)
	if len(values) != len(begun) {
		t.Errorf("series after one of two gateways is gone: %v", values)
	}

	var none *Metrics
	none.AddGateway(kong)
}

func TestWhatEndsAfterItsGatewayMakesNoSeries(t *testing.T) {
	registry := prometheus.NewRegistry()
	m, kong := New(registry), types.NamespacedName{Namespace: "kong", Name: "kong"}
	m.AddGateway(kong)
	m.RemoveGateway(kong)
	m.CountWrite(kong, "delete")
	m.CountDrift(kong)
	m.CountRecoveredID(kong)
	m.CountRefusedIDChange(kong)
	m.SetResync(kong, time.Unix(1, 0), 1)
	if values := series(t, registry); len(values) > 0 {
		t.Errorf("series of a gateway that is gone: %v", values)
	}
	m.AddGateway(kong)
	m.CountWrite(kong, "delete")
	if values := series(t, registry); values["kong_operator_plugin_writes_total kong/kong"] != 1 {
		t.Errorf("a gateway that came again is not counted: %v", values)
	}
}
