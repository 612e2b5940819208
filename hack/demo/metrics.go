package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// fetch reads a page: metrics, or readiness.
func fetch(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, res.Status)
	}
	return string(page), err
}

// samples returns the values of one metric in Prometheus' text format, by their labels.
func samples(page, metric string) map[string]float64 {
	found := map[string]float64{}
	for line := range strings.Lines(page) {
		rest, isIt := strings.CutPrefix(strings.TrimSpace(line), metric)
		// A value contains no blank, but labels may.
		cut := strings.LastIndexByte(rest, ' ')
		if !isIt || cut < 0 || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		if value, err := strconv.ParseFloat(rest[cut+1:], 64); err == nil {
			found[rest[:cut]] = value
		}
	}
	return found
}

// sum adds the values whose labels contain one of the texts, or all values.
func sum(values map[string]float64, having ...string) float64 {
	total := 0.0
	for labels, value := range values {
		matches := len(having) == 0
		for _, text := range having {
			matches = matches || strings.Contains(labels, text)
		}
		if matches {
			total += value
		}
	}
	return total
}

// writeRequests returns how many write requests for bindings, gateways and events the API
// server has had, whether or not they changed anything.
func (c *cluster) writeRequests(ctx context.Context) (int, error) {
	page, err := c.kubectl(ctx, "", "get", "--raw", "/metrics")
	if err != nil {
		return 0, err
	}
	writes := map[string]float64{}
	for labels, value := range samples(page, "apiserver_request_total") {
		for _, verb := range []string{"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"} {
			if strings.Contains(labels, `verb="`+verb+`"`) {
				writes[labels] = value
			}
		}
	}
	return int(sum(writes, `group="kong.pluginbinding.io"`, `resource="events"`)), nil
}

// activity is what the operator's metrics say about its work.
type activity struct {
	reconciles int     // so far
	queued     int     // objects in the queues
	lastResync float64 // end of the last resync, in seconds since 1970; 0 before the first
}

func (o *operator) activity(ctx context.Context) (activity, error) {
	page, err := fetch(ctx, o.metrics)
	return activity{
		reconciles: int(sum(samples(page, "controller_runtime_reconcile_total"))),
		queued:     int(sum(samples(page, "workqueue_depth"))),
		lastResync: sum(samples(page, "kong_operator_gateway_last_sweep_timestamp_seconds")),
	}, err
}
