package reuse

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

type callersKey struct{}

func TestManyRequestsAtOnceKeepTheirOwnContexts(t *testing.T) {
	t.Parallel()
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"}
	var mixed, attempts atomic.Int64
	c := resty.NewWithClient(&http.Client{Transport: harness.RoundTrip(func(r *http.Request) (*http.Response, error) {
		attempts.Add(1)
		if r.Context().Value(callersKey{}) != r.Header.Get("Request") || r.Method != r.Header.Get("Method") {
			mixed.Add(1)
		}
		status := 200
		if restyretry.Number(r.Context()) == 1 {
			status = 503
		}
		return &http.Response{StatusCode: status, Body: http.NoBody, Request: r}, nil
	})}).SetLogger(harness.Silent{})
	if _, err := restyretry.Install(c, harness.Wait(0)); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	const workers, each = 32, 25
	for i := range workers {
		all.Go(func() {
			method := methods[i%len(methods)]
			for n := range each {
				id := fmt.Sprintf("%d.%d", i, n)
				ctx, cancel := context.WithCancel(context.WithValue(t.Context(), callersKey{}, id))
				r := c.R().SetContext(ctx).SetHeaders(map[string]string{"Request": id, "Method": method, "Idempotency-Key": id})
				if n%2 == 0 {
					r.SetBody("text")
				}
				if resp, err := r.Execute(method, "http://api.test/"); err != nil || resp.StatusCode() != 200 {
					t.Errorf("got %v, %v; want a 200", resp, err)
				}
				if r.Context() != ctx || restyretry.Number(r.Context()) != 0 || r.Method != method {
					t.Error("the request has not its own context and method any more")
				}
				cancel()
			}
		})
	}
	all.Wait()
	harness.Equal(t, "attempts, with the context of another request", fmt.Sprint(attempts.Load(), mixed.Load()), fmt.Sprint(workers*each*2, 0))
}

func TestATracedRequestKeepsItsContext(t *testing.T) {
	for name, trace := range map[string]func(*harness.Client, *resty.Request){
		"request": func(_ *harness.Client, r *resty.Request) { r.EnableTrace() },
		"client":  func(c *harness.Client, _ *resty.Request) { c.EnableTrace() },
	} {
		harness.Bubble(t, name, func(t *testing.T) {
			c := harness.New(t, harness.After(1, harness.Statuses(503, 503, 200)))
			ctx, cancel := context.WithCancel(context.WithValue(t.Context(), callersKey{}, "kept"))
			defer cancel()
			r := c.R().SetContext(ctx)
			trace(c, r)
			call := c.Do(t, r, "GET", "/").Want(t, "503 status 1s | 503 status 1s | 200 succeeded")
			for i, s := range call.Sent {
				ctx := s.Request.Context()
				if restyretry.Number(ctx) != i+1 || ctx.Value(callersKey{}) != "kept" || httptrace.ContextClientTrace(ctx) == nil {
					t.Errorf("attempt %d: the number, the caller's context or the trace is lost", i+1)
				}
			}
			if r.Context() != ctx || call.Response.Request.TraceInfo().TotalTime == 0 {
				t.Errorf("got total time %v, and not its own context", call.Response.Request.TraceInfo().TotalTime)
			}
		})
	}
}

// noJSON cannot be encoded.
type noJSON struct{ panics bool }

func (f noJSON) MarshalJSON() ([]byte, error) {
	if f.panics {
		panic("no JSON")
	}
	return nil, errors.New("no JSON")
}

type limiter func() bool

func (f limiter) Allow() bool { return f() }

// What happens between OnBeforeRequest and the pre-request hook leaves the request
// as it was, and ends it.
func TestARequestThatIsNeverMadeLeavesNothingBehind(t *testing.T) {
	for _, tt := range []struct {
		name, url string
		body      any
		set       func(*harness.Client, *resty.Request)
		want      string
	}{
		{"URL", "http://[broken", nil, nil, "unsent not-sent"},
		{"rate limit", "", nil, func(c *harness.Client, _ *resty.Request) { c.SetRateLimiter(limiter(func() bool { return false })) }, "unsent not-sent"},
		{"rate limiter that panics", "", nil, func(c *harness.Client, _ *resty.Request) { c.SetRateLimiter(limiter(func() bool { panic("no") })) }, "unsent panic"},
		{"later middleware", "", nil, func(c *harness.Client, _ *resty.Request) {
			c.OnBeforeRequest(func(*resty.Client, *resty.Request) error { return errors.New("no") })
		}, "unsent not-sent"},
		{"body", "", noJSON{}, nil, "unsent not-sent"},
		{"body that panics", "", noJSON{true}, nil, "unsent panic"},
		{"foreign condition", "http://[broken", nil, func(_ *harness.Client, r *resty.Request) {
			r.AddRetryCondition(func(*resty.Response, error) bool { return true })
		}, "unsent not-sent"},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(200))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r := c.R().SetContext(ctx)
			if tt.body != nil {
				r.SetBody(tt.body)
			}
			if tt.set != nil {
				tt.set(c, r)
			}
			call := c.Do(t, r, "PUT", tt.url)
			if call.Err == nil && call.Panic == nil || len(call.Sent) != 0 {
				t.Fatalf("got no error, and %d requests", len(call.Sent))
			}
			call.WantStory(t, tt.want)
			harness.Equal(t, "OnDone", harness.Story(call.Done), tt.want)
			if r.Context() != ctx || restyretry.Number(r.Context()) != 0 || r.Method != http.MethodPut || r.Body != tt.body {
				t.Errorf("got context %v, method %s, body %v; want those of the caller", r.Context(), r.Method, r.Body)
			}
		})
	}
}
