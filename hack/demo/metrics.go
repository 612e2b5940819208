package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/pluginbinding/kong-plugin-operator/test/scrape"
)

// writeRequests returns how many write requests for bindings, gateways and events the API
// server has had, whether or not they changed anything.
func (c *cluster) writeRequests(ctx context.Context) (int, error) {
	page, err := c.kubectl(ctx, "", "get", "--raw", "/metrics")
	if err != nil {
		return 0, err
	}
	writes := map[string]float64{}
	for labels, value := range scrape.Samples(page, "apiserver_request_total") {
		for _, verb := range []string{"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"} {
			if strings.Contains(labels, `verb="`+verb+`"`) {
				writes[labels] = value
			}
		}
	}
	return int(scrape.Sum(writes, `group="kong.pluginbinding.io"`, `resource="events"`)), nil
}

// activity is what the operator's metrics say about its work.
type activity struct {
	reconciles int     // so far
	queued     int     // objects in the queues
	lastResync float64 // end of the last resync, in seconds since 1970; 0 before the first
}

func (o *operator) activity(ctx context.Context) (activity, error) {
	page, err := scrape.Page(ctx, o.metrics)
	return activity{
		reconciles: int(scrape.Sum(scrape.Samples(page, "controller_runtime_reconcile_total"))),
		queued:     int(scrape.Sum(scrape.Samples(page, "workqueue_depth"))),
		lastResync: scrape.Sum(scrape.Samples(page, "kong_operator_gateway_last_sweep_timestamp_seconds")),
	}, err
}

// queriedMetrics are the series that the queries of the dashboard and of the alerts are checked
// against, one a line.
const queriedMetrics = "hack/tools/dashboard/testdata/metrics.txt"

// checkMetrics returns an error unless the operator serves each of the queried metrics with its
// labels. It returns also how many they are.
func (s *walkthrough) checkMetrics(ctx context.Context) (queried int, err error) {
	page, err := scrape.Page(ctx, s.operator.metrics)
	if err != nil {
		return 0, err
	}
	series, err := os.ReadFile(queriedMetrics)
	if err != nil {
		return 0, err
	}
	names := map[string]bool{}
	for line := range strings.Lines(string(series)) {
		name, labels, _ := strings.Cut(strings.TrimSpace(line), "{")
		names[name] = true
		if name != notLeading && !serves(page, name, labels) {
			return len(names), fmt.Errorf("there is no metric %s", strings.TrimSpace(line))
		}
	}
	return len(names), nil
}

// notLeading is a metric of leader election, which the demo's operator runs without.
const notLeading = "leader_election_master_status"

var labelName = regexp.MustCompile(`([a-z_]+)="`)

// serves reports whether a page has a sample of the metric with labels of these names.
func serves(page, metric, labels string) bool {
	for found := range scrape.Samples(page, metric) {
		has := true
		for _, label := range labelName.FindAllStringSubmatch(labels, -1) {
			has = has && strings.Contains(found, label[0])
		}
		if has {
			return true
		}
	}
	return false
}
