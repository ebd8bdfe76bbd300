package main

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/restyretry/restyretry"
)

var (
	requests = prometheus.NewDesc("resty_requests_total", "Requests that ended.", nil, nil)
	attempts = prometheus.NewDesc("resty_attempts_total", "Attempts of these requests.", nil, nil)
	givenUp  = prometheus.NewDesc("resty_given_up_total", "Requests that did not succeed.", []string{"reason"}, nil)
)

type collector struct{ *restyretry.Plugin }

func (c collector) Describe(out chan<- *prometheus.Desc) {
	out <- requests
	out <- attempts
	out <- givenUp
}

func (c collector) Collect(out chan<- prometheus.Metric) {
	stats := c.Stats()
	out <- prometheus.MustNewConstMetric(requests, prometheus.CounterValue, float64(stats.Requests))
	out <- prometheus.MustNewConstMetric(attempts, prometheus.CounterValue, float64(stats.Attempts))
	for reason, n := range stats.GivenUp {
		out <- prometheus.MustNewConstMetric(givenUp, prometheus.CounterValue, float64(n), string(reason))
	}
}
