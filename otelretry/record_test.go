package otelretry_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/otelretry"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// A recorder keeps what is exported.
type recorder struct {
	spans   *tracetest.InMemoryExporter
	tracing *sdktrace.TracerProvider
	reader  *sdkmetric.ManualReader
	meter   *sdkmetric.MeterProvider
}

func newRecorder() *recorder {
	r := &recorder{spans: tracetest.NewInMemoryExporter(), reader: sdkmetric.NewManualReader()}
	r.tracing = sdktrace.NewTracerProvider(sdktrace.WithSyncer(r.spans))
	r.meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(r.reader))
	return r
}

// option is the one under test.
func (r *recorder) option(t *testing.T) func(*restyretry.Options) {
	t.Helper()
	option, err := otelretry.New(func(o *otelretry.Options) {
		o.TracerProvider, o.MeterProvider, o.Propagator = r.tracing, r.meter, propagation.TraceContext{}
	})
	if err != nil {
		t.Fatal(err)
	}
	return option
}

// caller begins the span of a program that is about to send a request.
func (r *recorder) caller(ctx context.Context) (context.Context, trace.Span) {
	return r.tracing.Tracer("test").Start(ctx, "caller")
}

// trace shows the spans as a tree, by their start.
func (r *recorder) trace() string {
	spans := r.spans.GetSpans()
	slices.SortStableFunc(spans, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	known := make(map[trace.SpanID]bool)
	for _, s := range spans {
		known[s.SpanContext.SpanID()] = true
	}
	var text strings.Builder
	var branch func(parent trace.SpanID, indent string)
	branch = func(parent trace.SpanID, indent string) {
		for _, s := range spans {
			if of := s.Parent.SpanID(); of == parent || !parent.IsValid() && !known[of] {
				showSpan(&text, s, spans[0].StartTime, indent)
				branch(s.SpanContext.SpanID(), indent+"  ")
			}
		}
	}
	branch(trace.SpanID{}, "")
	return text.String()
}

func showSpan(w io.Writer, s tracetest.SpanStub, zero time.Time, indent string) {
	fmt.Fprintf(w, "%s%s %s %v-%v", indent, s.Name, s.SpanKind, since(zero, s.StartTime), since(zero, s.EndTime))
	if s.Status.Code != codes.Unset {
		fmt.Fprintf(w, " %s", s.Status.Code)
	}
	if s.Status.Description != "" {
		fmt.Fprintf(w, " %q", s.Status.Description)
	}
	fmt.Fprintf(w, " {%s}\n", attributes(attribute.NewSet(s.Attributes...)))
	for _, e := range s.Events {
		fmt.Fprintf(w, "%s  * %s %v {%s}\n", indent, e.Name, since(zero, e.Time), attributes(attribute.NewSet(e.Attributes...)))
	}
}

// since is a time after zero. Resty waits the last nanosecond of a wait.
func since(zero, t time.Time) time.Duration { return t.Sub(zero).Round(time.Microsecond) }

func attributes(set attribute.Set) string {
	return set.Encoded(attribute.DefaultEncoder())
}

// metrics shows every metric in a line: its value, or the count and sum of a
// histogram.
func (r *recorder) metrics(t *testing.T) string {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := r.reader.Collect(context.Background(), &data); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, s := range data.ScopeMetrics {
		for _, m := range s.Metrics {
			lines = append(lines, points(m)...)
		}
	}
	slices.SortFunc(lines, cmp.Compare)
	return strings.Join(lines, "")
}

func points(m metricdata.Metrics) (lines []string) {
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			lines = append(lines, fmt.Sprintf("%s{%s} %d %s\n", m.Name, attributes(p.Attributes), p.Value, m.Unit))
		}
	case metricdata.Histogram[int64]:
		for _, p := range data.DataPoints {
			lines = append(lines, fmt.Sprintf("%s{%s} %d: %d %s\n", m.Name, attributes(p.Attributes), p.Count, p.Sum, m.Unit))
		}
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			lines = append(lines, fmt.Sprintf("%s{%s} %d: %.3g %s\n", m.Name, attributes(p.Attributes), p.Count, p.Sum, m.Unit))
		}
	}
	return lines
}

// A transport is a server without a network.
type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(hr *http.Request) (*http.Response, error) { return t(hr) }

// answering answers with these in turn, the last one repeated, each after
// 100 ms: a status, an error, or a string to panic with.
func answering(outcomes ...any) transport {
	var n int
	return func(hr *http.Request) (*http.Response, error) {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-hr.Context().Done():
			return nil, hr.Context().Err()
		}
		outcome := outcomes[min(n, len(outcomes)-1)]
		n++
		switch outcome := outcome.(type) {
		case int:
			return answer(hr, outcome), nil
		case error:
			return nil, outcome
		default:
			panic(outcome)
		}
	}
}

func answer(hr *http.Request, status int) *http.Response {
	return &http.Response{
		StatusCode: status, ProtoMajor: 2, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader("body")), Request: hr,
	}
}

// install returns a client with the plugin: waits of a second, then opts.
func install(t *testing.T, rt http.RoundTripper, opts ...func(*restyretry.Options)) *resty.Client {
	t.Helper()
	client := resty.NewWithClient(&http.Client{Transport: rt}).SetLogger(silent{})
	second := func(o *restyretry.Options) { o.Wait = restyretry.Constant(time.Second) }
	if _, err := restyretry.Install(client, append([]func(*restyretry.Options){second}, opts...)...); err != nil {
		t.Fatal(err)
	}
	return client
}

// silent keeps Resty from logging every failed attempt on its own.
type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}

var errTest = errors.New("an error of the test")
