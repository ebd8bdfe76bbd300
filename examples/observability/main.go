// Observability shows retries as metrics and as a trace: a client with OpenTelemetry
// and Prometheus sends requests to a flaky server for some seconds, then the program
// prints what the /metrics page says, and one request as a trace.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/otelretry"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

func main() {
	if err := run(os.Stdout, 600, 3*time.Second); err != nil {
		fmt.Fprintln(os.Stderr, "observability:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, requests int, limit time.Duration) error {
	lab, err := newLab()
	if err != nil {
		return err
	}
	defer lab.close()

	fmt.Fprintf(out, "1. Load: %d requests in at most %v, with the metrics on %s/metrics\n\n", requests, limit, lab.page.URL)
	lab.load(requests, limit)
	page, err := lab.metrics()
	if err != nil {
		return err
	}
	showMetrics(out, page)

	fmt.Fprint(out, "\n2. One request as a trace: caller, attempts, server\n\n")
	spans, err := lab.trace()
	if err != nil {
		return err
	}
	showTrace(out, spans)
	return nil
}

// A lab is a client, all that watches it, and the servers for both.
type lab struct {
	plugin    *restyretry.Plugin
	client    *resty.Client
	api, page *httptest.Server
	spans     *tracetest.InMemoryExporter
	tracing   *sdktrace.TracerProvider
}

func newLab() (*lab, error) {
	registry := prometheus.NewRegistry()
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry),
		otelprometheus.WithoutScopeInfo(), otelprometheus.WithoutTargetInfo())
	if err != nil {
		return nil, err
	}
	spans := tracetest.NewInMemoryExporter() // a program of yours sends them to a collector
	tracing := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))

	observe, err := otelretry.New(func(o *otelretry.Options) {
		o.TracerProvider = tracing
		o.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter))
		o.Propagator = propagation.TraceContext{}
	})
	if err != nil {
		return nil, err
	}
	client := resty.New().SetLogger(silent{})
	plugin, err := restyretry.Install(client, observe, func(o *restyretry.Options) {
		o.Wait = restyretry.FullJitter(restyretry.Exponential(20*time.Millisecond, 100*time.Millisecond))
		o.AttemptTimeout = 500 * time.Millisecond
		o.Budget = restyretry.NewBudget(0.3, 5)
	})
	if err != nil {
		return nil, err
	}
	registry.MustRegister(collector{plugin}) // the same counts without OpenTelemetry

	api := httptest.NewServer(&flaky{tracer: tracing.Tracer("api")})
	client.SetBaseURL(api.URL)
	page := http.NewServeMux()
	page.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return &lab{plugin, client, api, httptest.NewServer(page), spans, tracing}, nil
}

func (l *lab) close() {
	l.api.Close()
	l.page.Close()
}

// load sends requests from four goroutines, one in ten of them to a service
// that is down. It begins none after the limit.
func (l *lab) load(requests int, limit time.Duration) {
	end := time.Now().Add(limit)
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for n := 1; n <= requests/4 && time.Now().Before(end); n++ {
				path := "/orders"
				if n%10 == 0 {
					path = "/down"
				}
				_, _ = l.client.R().Get(path)
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	workers.Wait()
}

// metrics reads the page as Prometheus would.
func (l *lab) metrics() (string, error) {
	resp, err := http.Get(l.page.URL + "/metrics")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	return string(page), err
}

// trace sends one request whose first two attempts fail, and returns its spans.
func (l *lab) trace() (tracetest.SpanStubs, error) {
	l.spans.Reset()
	ctx, span := l.tracing.Tracer("shop").Start(context.Background(), "show the story")
	ctx = restyretry.With(ctx, func(o *restyretry.Options) {
		o.Budget = nil
		o.Wait = restyretry.Exponential(50*time.Millisecond, time.Second)
	})
	_, err := l.client.R().SetContext(ctx).Get("/story?token=secret")
	span.End()
	return l.spans.GetSpans(), err
}

// silent keeps Resty from logging the errors of attempts on its own.
type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}
