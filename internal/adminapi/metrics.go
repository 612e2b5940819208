package adminapi

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts and times the requests to all gateways. A nil *Metrics does nothing.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// NewMetrics registers the metrics of this package. It panics when they are registered
// already, as prometheus.MustRegister does.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kong_operator_kong_requests_total",
			Help: "Requests to the Admin API by gateway, method and status code of the answer (error when there was none).",
		}, []string{"gateway", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "kong_operator_kong_request_duration_seconds",
			Help:    "Time from sending a request to the Admin API to the end of its answer, by gateway and method.",
			Buckets: []float64{.002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10},
		}, []string{"gateway", "method"}),
	}
	reg.MustRegister(m.requests, m.duration)
	return m
}

// Forget removes the series of a gateway that is gone.
func (m *Metrics) Forget(gateway string) {
	if m == nil {
		return
	}
	labels := prometheus.Labels{"gateway": gateway}
	m.requests.DeletePartialMatch(labels)
	m.duration.DeletePartialMatch(labels)
}

// observe records one request; status is 0 when it was not answered to the end.
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
