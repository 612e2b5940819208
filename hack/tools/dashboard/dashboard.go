package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// selected limits a query to the gateways and the operator that are chosen on top. Every replica
// has the metrics of the same objects, so the queries take the greatest of them.
const (
	selected = `job=~"$job",gateway=~"$gateway"`
	operator = `job=~"$job"`
)

// overview is the dashboard. Its first row answers four questions, and each of the others says more
// about one of them.
func overview() *dashboard.DashboardBuilder {
	//nolint:staticcheck // the sidecar loads this schema; the next one needs an API of Grafana 12
	built := dashboard.NewDashboardBuilder("Kong plugin operator").
		Uid("kong-plugin-operator").
		Description("Whether every PluginBinding is in force, and what keeps it from being so.").
		Tags([]string{"kong", "kubernetes"}).
		Time("now-6h", "now").
		Refresh("1m").
		Readonly().
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Type("prometheus")).
		WithVariable(variable("job", "Operator", "label_values(kong_operator_gateway_last_sweep_timestamp_seconds, job)")).
		WithVariable(variable("gateway", "KongGateway", `label_values(kong_operator_gateway_last_sweep_timestamp_seconds{job=~"$job"}, gateway)`)).
		WithRow(dashboard.NewRowBuilder("In short")).
		WithPanel(bindingsNotReady()).
		WithPanel(gatewaysDown()).
		WithPanel(drift()).
		WithPanel(stuck())
	for _, row := range []func(*dashboard.DashboardBuilder){plugins, gateways, changes, work, costs} {
		row(built)
	}
	return built
}

func plugins(built *dashboard.DashboardBuilder) {
	built.WithRow(dashboard.NewRowBuilder("Is every plugin in force?")).
		WithPanel(graph("PluginBindings by Ready", "Unknown means that the operator cannot tell, and says why in the condition.").
			WithTarget(query("{{status}}", `sum by (status) (max by (gateway, status) (kong_operator_bindings{`+selected+`,condition="Ready"}))`))).
		WithPanel(graph("PluginBindings in conflict", "Another plugin holds their name and scope. The operator changes nothing; status.conflict names the plugin and its owner.").
			WithTarget(query("{{gateway}}", `max by (gateway) (kong_operator_conflicts{`+selected+`})`)).
			WithTarget(query("{{gateway}} contested", `max by (gateway) (kong_operator_bindings{`+selected+`,condition="Contested",status="True"})`))).
		WithPanel(graph("PluginBindings without a gateway", "Their KongGateway does not exist, or does not allow them.").
			WithTarget(query("not Ready", `sum(max by (status) (kong_operator_bindings{`+operator+`,gateway="",condition="Ready",status!="True"}))`)))
}

func gateways(built *dashboard.DashboardBuilder) {
	built.WithRow(dashboard.NewRowBuilder("Is every Kong reachable and its database up?")).
		WithPanel(graph("Time since the last resync", "Each resync compares every plugin with its declaration. It comes every resyncInterval of the KongGateway, or less often where it takes long.").
			Unit("s").
			WithTarget(query("{{gateway}}", `time() - max by (gateway) (kong_operator_gateway_last_sweep_timestamp_seconds{`+selected+`} > 0)`))).
		WithPanel(graph("Requests that failed", "Answers of status 500 and more, and requests without an answer.").
			Unit("reqps").
			WithTarget(query("{{gateway}} {{code}}", `sum by (gateway, code) (rate(kong_operator_kong_requests_total{`+selected+`,code!~"[1234].."}[$__rate_interval]))`))).
		WithPanel(graph("Duration of requests, 99th percentile", "From sending a request to the end of its response.").
			Unit("s").
			WithTarget(query("{{gateway}} {{method}}", `histogram_quantile(0.99, sum by (gateway, method, le) (rate(kong_operator_kong_request_duration_seconds_bucket{`+selected+`}[$__rate_interval])))`)))
}

func changes(built *dashboard.DashboardBuilder) {
	built.WithRow(dashboard.NewRowBuilder("Who changes things behind our back?")).
		WithPanel(graph("Corrections of drift", "Plugins that somebody changed in Kong and that the operator put back. status.lastDrift of the bindings names the fields.").
			WithTarget(query("{{gateway}}", `sum by (gateway) (increase(kong_operator_drift_total{`+selected+`}[$__rate_interval]))`))).
		WithPanel(graph("Orphaned plugins", "They carry the ownership tags of this cluster, and no PluginBinding has recorded them.").
			WithTarget(query("{{gateway}}", `max by (gateway) (kong_operator_orphaned_plugins{`+selected+`})`))).
		WithPanel(graph("IDs found again or refused", "An ID that a status had lost and that the operator found in Kong; and an attempt to record another ID, which the API server refused.").
			WithTarget(query("{{gateway}} found again", `sum by (gateway) (increase(kong_operator_plugin_ids_recovered_total{`+selected+`}[$__rate_interval]))`)).
			WithTarget(query("{{gateway}} refused", `sum by (gateway) (increase(kong_operator_plugin_id_changes_refused_total{`+selected+`}[$__rate_interval]))`)))
}

func work(built *dashboard.DashboardBuilder) {
	built.WithRow(dashboard.NewRowBuilder("Is anything stuck?")).
		WithPanel(graph("Objects in the queues", "Objects that wait for a worker.").
			WithTarget(query("{{name}}", `sum by (name) (workqueue_depth{`+operator+`,name=~"pluginbinding|konggateway"})`))).
		WithPanel(graph("Longest reconcile at work", "A reconcile ends within the time-outs of its requests.").
			Unit("s").
			WithTarget(query("{{name}}", `max by (name) (workqueue_longest_running_processor_seconds{`+operator+`,name=~"pluginbinding|konggateway"})`))).
		WithPanel(graph("Reconciles that failed", "Errors of the API server. A problem with Kong is a condition and no error.").
			Unit("ops").
			WithTarget(query("{{controller}}", `sum by (controller) (rate(controller_runtime_reconcile_errors_total{`+operator+`}[$__rate_interval]))`)))
}

func costs(built *dashboard.DashboardBuilder) {
	built.WithRow(dashboard.NewRowBuilder("What it does, and what it costs")).
		WithPanel(graph("Writes to Kong", "Plugins that Kong confirmed. In sync there are none.").
			WithTarget(query("{{action}}", `sum by (action) (increase(kong_operator_plugin_writes_total{`+selected+`}[$__rate_interval]))`))).
		WithPanel(graph("Memory", "Resident memory of each replica.").
			Unit("bytes").
			WithTarget(query("{{pod}}", `process_resident_memory_bytes{`+operator+`}`))).
		WithPanel(graph("Processor", "Cores in use by each replica.").
			WithTarget(query("{{pod}}", `rate(process_cpu_seconds_total{`+operator+`}[$__rate_interval])`)))
}

func bindingsNotReady() *stat.PanelBuilder {
	return answer("PluginBindings not in force", "Those whose condition Ready is not True, paused and observed ones included.", 1).
		WithTarget(query("", `sum(max by (gateway, status) (kong_operator_bindings{`+selected+`,condition="Ready",status!="True"})) or vector(0)`))
}

func gatewaysDown() *stat.PanelBuilder {
	return answer("KongGateways without Kong or database", "Those whose condition Reachable or DatabaseReachable is not True.", 1).
		WithTarget(query("", `count(count by (gateway) (kong_operator_gateway_conditions{`+selected+`,condition=~"Reachable|DatabaseReachable",status!="True"})) or vector(0)`))
}

func drift() *stat.PanelBuilder {
	return answer("Plugins changed behind our back", "Corrections of drift in the chosen time. Repeated ones have a second writer.", 10).
		Decimals(0).
		WithTarget(query("", `sum(increase(kong_operator_drift_total{`+selected+`}[$__range])) or vector(0)`))
}

// stuck is how many replicas lead: none, or as many as there are operators.
func stuck() *stat.PanelBuilder {
	return answer("Stuck", "Operators without a leader, and workers that have been at one object for more than a minute.", 1).
		WithTarget(query("", `count(max by (job) (leader_election_master_status{`+operator+`}) == 0) or vector(0)`)).
		WithTarget(query("", `count(max by (job, name) (workqueue_longest_running_processor_seconds{`+operator+`}) > 60) or vector(0)`))
}

// answer is a number that is good as long as it is 0.
func answer(title, description string, critical float64) *stat.PanelBuilder {
	steps := []dashboard.Threshold{{Color: "green"}}
	if critical > 1 {
		steps = append(steps, dashboard.Threshold{Value: cog.ToPtr(1.0), Color: "orange"})
	}
	steps = append(steps, dashboard.Threshold{Value: cog.ToPtr(critical), Color: "red"})
	return stat.NewPanelBuilder().
		Title(title).
		Description(description).
		Datasource(dataSource()).
		Height(4).Span(6).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})).
		ColorMode(common.BigValueColorModeBackground).
		GraphMode(common.BigValueGraphModeNone).
		Thresholds(dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(steps))
}

func graph(title, description string) *timeseries.PanelBuilder {
	return timeseries.NewPanelBuilder().
		Title(title).
		Description(description).
		Datasource(dataSource()).
		Height(7).Span(8).
		Min(0).
		FillOpacity(10).
		Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom))
}

func query(legend, expression string) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().Expr(expression).LegendFormat(legend).Datasource(dataSource())
}

func variable(name, label, values string) *dashboard.QueryVariableBuilder {
	return dashboard.NewQueryVariableBuilder(name).
		Label(label).
		Query(dashboard.StringOrMap{String: cog.ToPtr(values)}).
		Datasource(dataSource()).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).
		Sort(dashboard.VariableSortAlphabeticalAsc).
		Multi(true).
		IncludeAll(true).
		AllValue(".*")
}

func dataSource() common.DataSourceRef {
	return common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}
}
