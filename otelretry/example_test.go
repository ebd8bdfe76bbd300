package otelretry_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/otelretry"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

func ExampleNew() {
	spans := tracetest.NewInMemoryExporter()
	observe, err := otelretry.New(func(o *otelretry.Options) {
		o.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	})
	if err != nil {
		panic(err)
	}
	server := transport(func(hr *http.Request) (*http.Response, error) { return answer(hr, 503), nil })
	client := resty.NewWithClient(&http.Client{Transport: server}).SetLogger(silent{})
	_, err = restyretry.Install(client, func(o *restyretry.Options) {
		o.Wait = restyretry.Constant(0)
	}, observe)
	if err != nil {
		panic(err)
	}

	_, _ = client.R().SetContext(context.Background()).Get("https://api.example.com/report?key=secret")
	for _, span := range spans.GetSpans() {
		for _, a := range span.Attributes {
			if a.Key == "url.full" || a.Key == "http.request.resend_count" || a.Key == "restyretry.reason" {
				fmt.Printf("%s=%s  ", a.Key, a.Value.String())
			}
		}
		fmt.Println(span.Status.Code)
	}
	// Output:
	// url.full=https://api.example.com/report?key=REDACTED  restyretry.reason=status  Error
	// url.full=https://api.example.com/report?key=REDACTED  http.request.resend_count=1  restyretry.reason=status  Error
	// url.full=https://api.example.com/report?key=REDACTED  http.request.resend_count=2  restyretry.reason=attempts  Error
}
