package reuse

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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
	for name, trace := range map[string]func(*resty.Client, *resty.Request){
		"request": func(_ *resty.Client, r *resty.Request) { r.EnableTrace() },
		"client":  func(c *resty.Client, _ *resty.Request) { c.EnableTrace() },
	} {
		harness.Bubble(t, name, func(t *testing.T) {
			c := harness.New(t, func(n int, r *http.Request) (*http.Response, error) {
				harness.Equal(t, "number", restyretry.Number(r.Context()), n)
				harness.Equal(t, "value", r.Context().Value(callersKey{}), any("kept"))
				harness.Equal(t, "traced", httptrace.ContextClientTrace(r.Context()) != nil, true)
				time.Sleep(time.Second)
				return harness.Statuses(503, 503, 200)(n, r)
			})
			ctx := context.WithValue(t.Context(), callersKey{}, "kept")
			r := c.R()
			trace(c.Client, r)
			call := c.Do(t, r.SetContext(ctx), "GET", "/").Want(t, "503 status 1s | 503 status 1s | 200 succeeded")
			harness.Equal(t, "total time", call.Request.TraceInfo().TotalTime, time.Second)
			harness.Equal(t, "context", r.Context(), ctx)
		})
	}
}
