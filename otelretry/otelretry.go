// Package otelretry shows the attempts of a Resty client to OpenTelemetry: a
// span for each of them, and metrics of retries.
//
//	observe, err := otelretry.New()
//	plugin, err := restyretry.Install(client, observe)
//
// Names and attributes are those of the semantic conventions for HTTP, version
// 1.43.0, or begin with "restyretry." if the conventions have none. The README of
// the module lists them.
//
// # Together with otelhttp
//
// The client may have a transport of otelhttp. Its client span is then a child of
// the attempt's span, and the parent of the server's, because otelhttp injects its
// context last. It records http.client.request.duration as well: give it a no-op
// meter provider, or the metric is recorded twice, under two scopes.
package otelretry

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/httpconv"
	"go.opentelemetry.io/otel/trace"
)

// scope names the instrumentation in what is exported.
const scope = "github.com/restyretry/restyretry/otelretry"

// Options say where the telemetry goes.
type Options struct {
	// TracerProvider makes the spans. Default otel.GetTracerProvider().
	TracerProvider trace.TracerProvider

	// MeterProvider makes the metrics. Default otel.GetMeterProvider().
	MeterProvider metric.MeterProvider

	// Propagator writes the span of an attempt, and the baggage, into the
	// header of its request. Default otel.GetTextMapPropagator(), which writes
	// nothing until the program has set one.
	Propagator propagation.TextMapPropagator
}

// New returns an option for [restyretry.Install]. It may be used on any number of
// clients, once on each. It adds to Hooks, and it wraps the PreRequest that it
// finds, so it must come after an option that sets PreRequest. A later option that
// assigns PreRequest or Hooks removes the telemetry.
//
// An attempt is a client span from right before it is sent until its response
// has been read (or its header, with SetDoNotParseResponse), so neither the
// wait nor a rate limiter is inside. The span is a child of the one in the
// context of the request. Redirects that net/http follows belong to the attempt;
// they do not count in http.request.resend_count. The end of a request that no
// attempt can show (it was cancelled during a wait, or the next attempt could not
// be sent) is an event of the caller's span.
//
// What is refused after its span has begun (a PreRequest that wraps this one fails,
// or a request with credentials would go from https to http) has a span with the
// reason "not-sent", and counts in no metric as sent.
//
// The error says that one of opts or of its providers is nil, or is the meter
// provider's.
func New(opts ...func(*Options)) (func(*restyretry.Options), error) {
	o := Options{
		TracerProvider: otel.GetTracerProvider(),
		MeterProvider:  otel.GetMeterProvider(),
		Propagator:     otel.GetTextMapPropagator(),
	}
	for _, change := range opts {
		if change == nil {
			return nil, errors.New("otelretry: an option is nil")
		}
		change(&o)
	}
	if o.TracerProvider == nil || o.MeterProvider == nil || o.Propagator == nil {
		return nil, errors.New("otelretry: TracerProvider, MeterProvider or Propagator is nil")
	}
	t, err := newTelemetry(o)
	if err != nil {
		return nil, err
	}
	return t.observe, nil
}

// telemetry is what New makes once for all clients.
type telemetry struct {
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator

	duration httpconv.ClientRequestDuration
	attempts metric.Int64Histogram
	retries  metric.Int64Counter
	giveUps  metric.Int64Counter
	wait     metric.Float64Histogram
	hold     metric.Float64Histogram
}

func newTelemetry(o Options) (*telemetry, error) {
	meter := o.MeterProvider.Meter(scope, metric.WithSchemaURL(semconv.SchemaURL))
	t := &telemetry{
		tracer:     o.TracerProvider.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL)),
		propagator: o.Propagator,
	}
	errs := make([]error, 6)
	t.duration, errs[0] = httpconv.NewClientRequestDuration(meter)
	t.attempts, errs[1] = meter.Int64Histogram("restyretry.request.attempts",
		metric.WithUnit("{attempt}"),
		metric.WithDescription("How often a request was sent."),
		metric.WithExplicitBucketBoundaries(0, 1, 2, 3, 4, 5, 7, 10, 20, 50))
	t.retries, errs[2] = meter.Int64Counter("restyretry.retries",
		metric.WithUnit("{retry}"),
		metric.WithDescription("Retries that were decided on, by the reason."))
	t.giveUps, errs[3] = meter.Int64Counter("restyretry.giveups",
		metric.WithUnit("{request}"),
		metric.WithDescription("Requests that did not succeed, by the reason why no attempt followed."))
	t.wait, errs[4] = meter.Float64Histogram("restyretry.retry.wait",
		metric.WithUnit("s"),
		metric.WithDescription("Waits before retries, by the reason of the retry."),
		metric.WithExplicitBucketBoundaries(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60))
	t.hold, errs[5] = meter.Float64Histogram("restyretry.hold.duration",
		metric.WithUnit("s"),
		metric.WithDescription("How long a Cooldown held attempts back, by what became of them."),
		metric.WithExplicitBucketBoundaries(0.01, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300))
	return t, errors.Join(errs...)
}

// observe is the option that New returns.
func (t *telemetry) observe(o *restyretry.Options) {
	before := o.PreRequest
	o.PreRequest = func(c *resty.Client, hr *http.Request) error {
		if before != nil {
			if err := before(c, hr); err != nil {
				return err
			}
		}
		t.begin(hr)
		return nil
	}
	// First, so that a panic in another hook cannot hide the end of a request.
	o.Hooks = slices.Insert(o.Hooks, 0, restyretry.Hooks{OnRetry: t.onRetry, OnDone: t.onDone})
}

// An attempt is the span of one attempt. It is kept in the context of the raw
// request, so it is forgotten with it, whatever becomes of the request.
type attempt struct {
	raw   *http.Request // whose context may be that of a request within a request
	span  trace.Span
	ended bool
}

type attemptKey struct{}

// begin opens the span of the attempt that is about to be sent.
func (t *telemetry) begin(hr *http.Request) {
	ctx, span := t.tracer.Start(hr.Context(), spanName(hr.Method),
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(requestAttributes(hr)...))
	t.propagator.Inject(ctx, propagation.HeaderCarrier(hr.Header))
	*hr = *hr.WithContext(context.WithValue(ctx, attemptKey{}, &attempt{raw: hr, span: span}))
}

// openSpan returns the attempt whose span is still open, or nil: it was refused
// before it had one, or it has been dealt with before the wait.
func openSpan(a restyretry.Attempt) *attempt {
	hr := a.Request.RawRequest
	if hr == nil {
		return nil
	}
	if s, _ := hr.Context().Value(attemptKey{}).(*attempt); s != nil && s.raw == hr && !s.ended {
		return s
	}
	return nil
}

// wasSent reports whether an attempt was sent. One that has no response was not,
// whether it has a span or not, unless it may have been what panicked.
func wasSent(a restyretry.Attempt, s *attempt) bool {
	return a.Response != nil || s != nil && a.Reason == restyretry.ReasonPanic
}

// onRetry ends the attempt before its wait, and counts the retry.
func (t *telemetry) onRetry(a restyretry.Attempt) {
	ctx := a.Request.Context()
	if s := openSpan(a); s != nil {
		s.span.AddEvent("restyretry.wait", trace.WithTimestamp(a.Start.Add(a.Took)),
			trace.WithAttributes(reasonKey.String(string(a.Reason)), waitKey.Float64(a.Wait.Seconds())))
		t.end(s, a)
	}
	labels := metric.WithAttributes(labels(a)...)
	t.retries.Add(ctx, 1, labels)
	t.wait.Record(ctx, a.Wait.Seconds(), labels)
}

// onDone ends the last attempt and counts the request.
func (t *telemetry) onDone(a restyretry.Attempt) {
	ctx := a.Request.Context()
	s, sent := openSpan(a), a.Number
	if !wasSent(a, s) {
		sent--
	}
	if s != nil {
		t.end(s, a)
	}
	if s == nil || sent < a.Number {
		trace.SpanFromContext(ctx).AddEvent("restyretry.end",
			trace.WithAttributes(reasonKey.String(string(a.Reason)), attemptsKey.Int(sent)))
	}
	labels := metric.WithAttributes(labels(a)...)
	t.attempts.Record(ctx, int64(sent), labels)
	if a.Reason != restyretry.ReasonSucceeded {
		t.giveUps.Add(ctx, 1, labels)
	}
	t.recordHolds(a.Request)
}

// recordHolds goes through all attempts at the end, since that of OnDone may be
// one that OnRetry has had. A hold in which the request ended is in none of them,
// but for that of the first.
func (t *telemetry) recordHolds(r *resty.Request) {
	for _, a := range restyretry.History(r) {
		if a.Held > 0 {
			t.hold.Record(r.Context(), a.Held.Seconds(), metric.WithAttributes(labels(a)...))
		}
	}
}

// end closes the span of an attempt at the moment when the attempt ended, and
// records how long that took if it was sent.
func (t *telemetry) end(s *attempt, a restyretry.Attempt) {
	s.ended = true
	outcome := responseAttributes(a)
	s.span.SetAttributes(outcome...)
	s.span.SetAttributes(reasonKey.String(string(a.Reason)))
	s.span.SetStatus(spanStatus(a))
	s.span.End(trace.WithTimestamp(a.Start.Add(a.Took)))

	if !wasSent(a, s) {
		return
	}
	address, port := server(s.raw.URL)
	t.duration.Record(s.raw.Context(), a.Took.Seconds(),
		httpconv.RequestMethodAttr(knownMethod(a.Method)), address, port, outcome...)
}
