package otelretry_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/otelretry"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// tracedServer answers 503 and then 200, with a span of its own for each
// request, as a service that was instrumented would.
func (r *recorder) tracedServer(t *testing.T) *httptest.Server {
	var requests int
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, hr *http.Request) {
		ctx := propagation.TraceContext{}.Extract(hr.Context(), propagation.HeaderCarrier(hr.Header))
		_, span := r.tracing.Tracer("server").Start(ctx, "server", trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		requests++
		if requests == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// names shows the tree of spans by their names and scopes alone.
func (r *recorder) names() string {
	spans := r.spans.GetSpans()
	var text strings.Builder
	for _, s := range spans {
		path := []string{s.Name}
		for parent := find(spans, s.Parent); parent != nil; parent = find(spans, parent.Parent) {
			path = append([]string{parent.Name}, path...)
		}
		fmt.Fprintln(&text, strings.Join(path, " > "))
	}
	return text.String()
}

func find(spans tracetest.SpanStubs, sc trace.SpanContext) *tracetest.SpanStub {
	for i := range spans {
		if spans[i].SpanContext.SpanID() == sc.SpanID() {
			return &spans[i]
		}
	}
	return nil
}

func noWait(o *restyretry.Options) { o.Wait = restyretry.Constant(0) }

func TestServerSpansHangUnderTheirAttempts(t *testing.T) {
	r := newRecorder()
	client := install(t, http.DefaultTransport, noWait, r.option(t))
	get(t, r, client, r.tracedServer(t).URL)

	want := "caller > GET > server\ncaller > GET\ncaller > GET > server\ncaller > GET\ncaller\n"
	if got := r.names(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	spans := r.spans.GetSpans()
	if first, second := spans[0].Parent.SpanID(), spans[2].Parent.SpanID(); first == second {
		t.Errorf("got both server spans under %v, want one under each attempt", first)
	}
}

func TestTransportOfOtelhttpHangsBelow(t *testing.T) {
	r := newRecorder()
	transport := otelhttp.NewTransport(http.DefaultTransport, otelhttp.WithTracerProvider(r.tracing),
		otelhttp.WithMeterProvider(noopmetric.NewMeterProvider()), otelhttp.WithPropagators(propagation.TraceContext{}))
	client := install(t, transport, noWait, r.option(t))
	get(t, r, client, r.tracedServer(t).URL)

	attempt := "caller > GET > HTTP GET > server\ncaller > GET > HTTP GET\ncaller > GET\n"
	if got, want := r.names(), attempt+attempt+"caller\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got, want := strings.Count(r.metrics(t), "http.client.request.duration"), 2; got != want {
		t.Errorf("got %d durations, want %d, those of the two attempts", got, want)
	}
}

func get(t *testing.T, r *recorder, client *resty.Client, url string) {
	t.Helper()
	ctx, caller := r.caller(t.Context())
	defer caller.End()
	if _, err := client.R().SetContext(ctx).Get(url); err != nil {
		t.Fatal(err)
	}
}

func TestPreRequestIsChained(t *testing.T) {
	for _, test := range []struct {
		name  string
		err   error
		spans int
	}{
		{"that agrees", nil, 1},
		{"that refuses", errTest, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRecorder()
			var header string
			rt := transport(func(hr *http.Request) (*http.Response, error) {
				header = hr.Header.Get("Signature")
				return answer(hr, 200), nil
			})
			sign := func(o *restyretry.Options) {
				o.PreRequest = func(_ *resty.Client, hr *http.Request) error {
					hr.Header.Set("Signature", "signed")
					return test.err
				}
			}
			_, err := install(t, rt, sign, r.option(t)).R().Get(testURL)
			if !errors.Is(err, test.err) {
				t.Errorf("got the error %v, want %v", err, test.err)
			}
			if got, want := header == "signed", test.err == nil; got != want {
				t.Errorf("got a signed request: %t, want %t", got, want)
			}
			if got := len(r.spans.GetSpans()); got != test.spans {
				t.Errorf("got %d spans, want %d", got, test.spans)
			}
		})
	}
}

// Its span has begun, and has to end.
func TestLaterPreRequestRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		sign := func(o *restyretry.Options) {
			before := o.PreRequest
			o.PreRequest = func(c *resty.Client, hr *http.Request) error { return errors.Join(before(c, hr), errTest) }
		}
		_, err := install(t, answering(200), r.option(t), sign).R().Get(testURL)
		if !errors.Is(err, errTest) {
			t.Errorf("got the error %v, want %v", err, errTest)
		}
		if got, want := r.trace(), "restyretry.reason=not-sent"; strings.Count(got, "\n") != 1 || !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant one span with %s", got, want)
		}
		want := trim(`
			restyretry.giveups{http.request.method=GET,restyretry.reason=not-sent} 1 {request}
			restyretry.request.attempts{http.request.method=GET,restyretry.reason=not-sent} 1: 0 {attempt}
`)
		if got := r.metrics(t); got != want {
			t.Errorf("got the metrics\n%s\nwant\n%s", got, want)
		}
	})
}

// A token that a transport fetches through the same client, in the context of
// the request that needs it, may fail before it is sent.
func TestRequestWithinARequest(t *testing.T) {
	r := newRecorder()
	var client *resty.Client
	outer := transport(func(hr *http.Request) (*http.Response, error) {
		if strings.HasSuffix(hr.URL.Path, "/token") {
			return answer(hr, 200), nil
		}
		for _, token := range []string{"https://api.test/token", "https://api.test/refused", "https://api.test/\x00"} {
			_, _ = client.R().SetContext(hr.Context()).Get(token)
		}
		return answer(hr, 200), nil
	})
	refuse := func(o *restyretry.Options) {
		o.PreRequest = func(_ *resty.Client, hr *http.Request) error {
			if strings.HasSuffix(hr.URL.Path, "/refused") {
				return errTest
			}
			return nil
		}
	}
	client = install(t, outer, refuse, r.option(t))
	get(t, r, client, testURL)

	if got, want := r.names(), "caller > GET > GET\ncaller > GET\ncaller\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	spans := r.spans.GetSpans()
	if got, want := len(spans[1].Events), 2; got != want {
		t.Errorf("got %d events of the request, want %d, the ends of those that were not sent", got, want)
	}
}

func TestRequestIsUsedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		refuse := false
		client := install(t, answering(503, 200, 200), r.option(t))
		client.OnBeforeRequest(func(*resty.Client, *resty.Request) error {
			if refuse {
				return errTest
			}
			return nil
		})
		request := client.R().SetContext(t.Context())
		for range 2 {
			if _, err := request.Get(testURL); err != nil {
				t.Fatal(err)
			}
		}
		refuse = true
		if _, err := request.Get(testURL); !errors.Is(err, errTest) {
			t.Fatalf("got %v, want %v", err, errTest)
		}
		want := trim(`
			restyretry.request.attempts{http.request.method=GET,restyretry.reason=not-sent} 1: 0 {attempt}
			restyretry.request.attempts{http.request.method=GET,restyretry.reason=succeeded} 2: 3 {attempt}
`)
		if got := r.metrics(t); !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant the lines\n%s", got, want)
		}
		if got := len(r.spans.GetSpans()); got != 3 {
			t.Errorf("got %d spans, want 3", got)
		}
	})
}

func TestManyAtOnce(t *testing.T) {
	r := newRecorder()
	rt := transport(func(hr *http.Request) (*http.Response, error) {
		if restyretry.Number(hr.Context()) == 1 {
			return answer(hr, 503), nil
		}
		return answer(hr, 200), nil
	})
	client := install(t, rt, noWait, r.option(t))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			ctx, caller := r.caller(t.Context())
			defer caller.End()
			if _, err := client.R().SetContext(ctx).Get(testURL); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got, want := strings.Count(r.names(), "caller > GET\n"), 40; got != want {
		t.Errorf("got %d attempts under a caller, want %d", got, want)
	}
	if got, want := r.metrics(t), "restyretry.request.attempts{http.request.method=GET,restyretry.reason=succeeded} 20: 40 {attempt}\n"; !strings.Contains(got, want) {
		t.Errorf("got\n%s\nwant the line\n%s", got, want)
	}
}

// The URL of a span is made before there is an Attempt that has it.
func TestURLOfASpanIsThatOfItsAttempt(t *testing.T) {
	for _, url := range []string{
		"http://api.test", "http://api.test:8080/a%2Fb?x=1&y&=z&&w==", "https://u@api.test/?a;b=c#secret",
		"https://u:p@[::1]:1/%20?%zz=1&q=a+b", "http://api.test/?", "HTTP://API.test/a/../b",
	} {
		t.Run(url, func(t *testing.T) {
			r := newRecorder()
			rt := transport(func(hr *http.Request) (*http.Response, error) { return answer(hr, 200), nil })
			resp, err := install(t, rt, r.option(t)).R().Get(url)
			if err != nil {
				t.Fatal(err)
			}
			want := "url.full=" + restyretry.History(resp.Request)[0].URL
			if got := strings.ReplaceAll(r.trace(), `\`, ""); !strings.Contains(got, want+"}") {
				t.Errorf("got\n%s\nwant %s", got, want)
			}
		})
	}
}

func TestDefaultsAreTheGlobals(t *testing.T) {
	r := newRecorder()
	tracing, meter, propagator := otel.GetTracerProvider(), otel.GetMeterProvider(), otel.GetTextMapPropagator()
	t.Cleanup(func() {
		otel.SetTracerProvider(tracing)
		otel.SetMeterProvider(meter)
		otel.SetTextMapPropagator(propagator)
	})
	otel.SetTracerProvider(r.tracing)
	otel.SetMeterProvider(r.meter)
	otel.SetTextMapPropagator(propagation.TraceContext{})

	option, err := otelretry.New()
	if err != nil {
		t.Fatal(err)
	}
	var parent string
	rt := transport(func(hr *http.Request) (*http.Response, error) {
		parent = hr.Header.Get("Traceparent")
		return answer(hr, 200), nil
	})
	get(t, r, install(t, rt, option), testURL)
	if got, want := r.names(), "caller > GET\ncaller\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got, want := parent, r.spans.GetSpans()[0].SpanContext.SpanID().String(); !strings.Contains(got, want) {
		t.Errorf("got the header %q, want the span %s in it", got, want)
	}
	if got, want := r.metrics(t), "http.client.request.duration{"; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWrongOptionsAreErrors(t *testing.T) {
	for _, test := range []struct {
		name   string
		option func(*otelretry.Options)
		want   string
	}{
		{"option", nil, "otelretry: an option is nil"},
		{"provider", func(o *otelretry.Options) { o.TracerProvider = nil }, "otelretry: TracerProvider, MeterProvider or Propagator is nil"},
	} {
		t.Run(test.name, func(t *testing.T) {
			option, err := otelretry.New(test.option)
			if err == nil || err.Error() != test.want {
				t.Errorf("got the error %v, want %s", err, test.want)
			}
			if option != nil {
				t.Error("got an option as well, want nil")
			}
		})
	}
}

// ownError has a kind of its own, as the semantic conventions for Go allow.
type ownError struct{}

func (ownError) Error() string     { return "see https://user:secret@api.test" }
func (ownError) ErrorType() string { return "own" }

func TestErrorTypes(t *testing.T) {
	for _, test := range []struct {
		name, want string
		err        error
	}{
		{"no host", "*net.DNSError", &net.DNSError{Err: "no such host", IsNotFound: true}},
		{"certificate", "*tls.CertificateVerificationError", &tls.CertificateVerificationError{Err: errTest}},
		{"timeout", "timeout", os.ErrDeadlineExceeded},
		{"wrapped timeout", "timeout", fmt.Errorf("proxy: %w", context.DeadlineExceeded)},
		{"closed", "EOF", fmt.Errorf("reading: %w", io.ErrUnexpectedEOF)},
		{"wrapped", "*net.AddrError", fmt.Errorf("dialing: %w", &net.AddrError{})},
		{"with a URL in its text", "*net.AddrError", fmt.Errorf("http://a: %w", &net.AddrError{})},
		{"own type", "own", ownError{}},
		{"plain", "*errors.errorString", errTest},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRecorder()
			rt := transport(func(*http.Request) (*http.Response, error) { return nil, test.err })
			if _, err := install(t, rt, restyretry.Off, r.option(t)).R().Get(testURL); err == nil {
				t.Fatal("got no error")
			}
			if got, want := r.trace(), "{error.type="+test.want+","; !strings.Contains(got, want) {
				t.Errorf("got\n%s\nwant %s", got, want)
			}
			if got := r.trace(); strings.Contains(got, "secret") {
				t.Errorf("got\n%s\nwant no password in it", got)
			}
		})
	}
}

// Without any SDK nothing is recorded, and nothing is in the way.
func TestWithoutAnSDK(t *testing.T) {
	option, err := otelretry.New()
	if err != nil {
		t.Fatal(err)
	}
	rt := transport(func(hr *http.Request) (*http.Response, error) { return answer(hr, 503), nil })
	resp, err := install(t, rt, noWait, option).R().SetContext(context.Background()).Get(testURL)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := resp.Request.Attempt, 3; got != want {
		t.Errorf("got %d attempts, want %d", got, want)
	}
}
