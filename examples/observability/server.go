package main

import (
	"fmt"
	"net/http"
	"sync/atomic"

	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// flaky is a service that traces what it does, and often fails.
type flaky struct {
	tracer          trace.Tracer
	orders, stories atomic.Int64
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	_, span := f.tracer.Start(ctx, r.Method+" "+r.URL.Path, trace.WithSpanKind(trace.SpanKindServer))
	defer span.End()

	status := f.status(r.URL.Path)
	if status == 0 {
		<-r.Context().Done() // until the client has had enough
		return
	}
	span.SetAttributes(semconv.HTTPResponseStatusCode(status))
	w.WriteHeader(status)
	fmt.Fprintln(w, http.StatusText(status))
}

// status is what to answer, or 0 for no answer at all.
func (f *flaky) status(path string) int {
	switch path {
	case "/down":
		return http.StatusServiceUnavailable
	case "/story":
		return []int{503, 0, 200}[(f.stories.Add(1)-1)%3]
	}
	switch n := f.orders.Add(1); {
	case n%101 == 0:
		return 0
	case n%7 == 0:
		return http.StatusServiceUnavailable
	case n%11 == 0:
		return http.StatusTooManyRequests
	default:
		return http.StatusOK
	}
}
