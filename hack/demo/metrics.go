package main

import (
	"context"
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
