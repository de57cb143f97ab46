package httpapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"example.org/keyserver/api"
)

type metrics struct {
	requests   *prometheus.CounterVec
	durations  *prometheus.HistogramVec
	inFlight   prometheus.Gauge
	panics     prometheus.Counter
	signOrders *prometheus.CounterVec
	ready      *prometheus.GaugeVec
}

func newMetrics(r *prometheus.Registry) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keyserver_http_requests_total", Help: "Requests answered, by route and status."}, []string{"route", "status"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "keyserver_http_request_seconds", Help: "Time to answer, by route.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}}, []string{"route"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "keyserver_http_requests_in_flight", Help: "Requests being answered."}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "keyserver_http_panics_total", Help: "Panics recovered. Each is a fault of the program."}),
		signOrders: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keyserver_http_sign_orders_total", Help: "Sign orders asked for, by outcome: signed, or the kind of the problem."}, []string{"outcome"}),
		ready: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "keyserver_ready", Help: "What GET /api/ready answered last, by check: 1 if it was well, else 0."}, []string{"check"}),
	}
	r.MustRegister(m.requests, m.durations, m.inFlight, m.panics, m.signOrders, m.ready)
	m.signOrders.WithLabelValues(outcomeSigned)
	for _, kind := range api.Kinds() {
		m.signOrders.WithLabelValues(string(kind))
	}
	return m
}

// serves makes the counters of a route's faults begin at 0: Prometheus sees no increase in one that begins at 1.
func (m *metrics) serves(route string) {
	for _, status := range []int{http.StatusInternalServerError, http.StatusServiceUnavailable} {
		m.requests.WithLabelValues(route, strconv.Itoa(status))
	}
}

// checked stores what was found of one part that readiness depends on.
func (m *metrics) checked(name string, well bool) {
	value := 0.0
	if well {
		value = 1
	}
	m.ready.WithLabelValues(name).Set(value)
}

func (m *metrics) finished(route string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	m.durations.WithLabelValues(route).Observe(took.Seconds())
}

const outcomeSigned = "signed"

// placed counts a sign order by what came of it.
func (m *metrics) placed(err error) {
	outcome := outcomeSigned
	if err != nil {
		outcome = string(Translate(err).Kind())
	}
	m.signOrders.WithLabelValues(outcome).Inc()
}

// MetricsHandler serves the metrics of a registry in the Prometheus format, for a listener of its own.
func MetricsHandler(r *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}
