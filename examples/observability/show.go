package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// showMetrics prints the lines of a /metrics page that a dashboard would use,
// without the buckets of the histograms.
func showMetrics(out io.Writer, page string) {
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "#") || strings.Contains(line, "_bucket{") {
			continue
		}
		fmt.Fprint(out, "   ", line)
	}
}

// showTrace prints spans as a tree, by their start.
func showTrace(out io.Writer, spans tracetest.SpanStubs) {
	slices.SortFunc(spans, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	showBranch(out, spans, trace.SpanID{}, "   ")
}

func showBranch(out io.Writer, spans tracetest.SpanStubs, parent trace.SpanID, indent string) {
	for _, s := range spans {
		if s.Parent.SpanID() != parent {
			continue
		}
		begin, took := s.StartTime.Sub(spans[0].StartTime), s.EndTime.Sub(s.StartTime)
		fmt.Fprintf(out, "%s%s  at %v for %v  %s\n", indent, s.Name, milliseconds(begin), milliseconds(took),
			list(s.Attributes))
		showBranch(out, spans, s.SpanContext.SpanID(), indent+"   ")
		for _, e := range s.Events {
			fmt.Fprintf(out, "%s   · %s  %s\n", indent, e.Name, list(e.Attributes))
		}
	}
}

func milliseconds(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

// list shows the attributes that tell attempts apart.
func list(attrs []attribute.KeyValue) string {
	var shown []string
	for _, a := range attrs {
		switch a.Key {
		case "http.request.resend_count", "http.response.status_code", "error.type", "restyretry.reason",
			"restyretry.wait", "url.full":
			shown = append(shown, fmt.Sprintf("%s=%s", a.Key, a.Value.String()))
		}
	}
	return strings.Join(shown, " ")
}
