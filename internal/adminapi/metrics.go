package adminapi

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts and times the requests to all gateways. A nil *Metrics records nothing.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// NewMetrics registers the metrics of this package. Like prometheus.MustRegister, it panics
// if they are registered already.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kong_operator_kong_requests_total",
			Help: "Requests to the Admin API, by gateway, method and HTTP status code (error without a response).",
		}, []string{"gateway", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "kong_operator_kong_request_duration_seconds",
			Help:    "Time from sending a request to the Admin API to the end of its response, by gateway and method.",
			Buckets: []float64{.002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10},
		}, []string{"gateway", "method"}),
	}
	reg.MustRegister(m.requests, m.duration)
	return m
}

// Forget deletes the series of a gateway.
func (m *Metrics) Forget(gateway string) {
	if m == nil {
		return
	}
	labels := prometheus.Labels{"gateway": gateway}
	m.requests.DeletePartialMatch(labels)
	m.duration.DeletePartialMatch(labels)
}

// observe records one request; status is 0 without a complete response.
func (m *Metrics) observe(gateway, method string, status int, took time.Duration) {
	if m == nil {
		return
	}
	code := "error"
	if status != 0 {
		code = strconv.Itoa(status)
	}
	m.requests.WithLabelValues(gateway, method, code).Inc()
	m.duration.WithLabelValues(gateway, method).Observe(took.Seconds())
}
