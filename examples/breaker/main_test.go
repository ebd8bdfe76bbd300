package main

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
)

func TestTheBreakerOpensAndCloses(t *testing.T) {
	var out strings.Builder
	if err := run(&out); err != nil {
		t.Fatal(err)
	}
	want := `request 1: 503 Service Unavailable, the server has had 3, the breaker is closed
request 2: refused, the server has had 5, the breaker is open
request 3: refused, the server has had 5, the breaker is open
request 4: 200 OK, the server has had 6, the breaker is closed
request 5: 200 OK, the server has had 7, the breaker is closed
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

// A permit of a half-open breaker that nobody gives back would keep it half-open.
func TestEveryPermitIsGivenBack(t *testing.T) {
	for _, test := range []struct {
		name   string
		prep   func(*resty.Client, context.CancelFunc)
		header string
	}{
		{"a failure", func(*resty.Client, context.CancelFunc) {}, ""},
		{"a wait that the server asks for", func(*resty.Client, context.CancelFunc) {}, "1"},
		{"a wait too long", func(*resty.Client, context.CancelFunc) {}, "3600"},
		{"never sent", func(c *resty.Client, _ context.CancelFunc) {
			c.OnBeforeRequest(func(*resty.Client, *resty.Request) error { return errors.New("no") })
		}, ""},
		{"cancelled in the wait", func(_ *resty.Client, cancel context.CancelFunc) {
			time.AfterFunc(20*time.Millisecond, cancel)
		}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			breaker := circuitbreaker.NewBuilder[any]().WithDelay(time.Millisecond).Build()
			client := resty.New().SetLogger(silent{}).SetTransport(busy{test.header})
			if _, err := restyretry.Install(client, func(o *restyretry.Options) {
				o.Wait = restyretry.Constant(100 * time.Millisecond)
			}, Guard(breaker)); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			test.prep(client, cancel)
			breaker.HalfOpen()
			_, _ = client.R().SetContext(ctx).Get("http://api.test/")
			time.Sleep(5 * time.Millisecond)
			if !breaker.TryAcquirePermit() {
				t.Errorf("got no permit from a breaker that is %v", breaker.State())
			}
		})
	}
}

// busy is a transport that answers 503, perhaps with a Retry-After.
type busy struct{ retryAfter string }

func (b busy) RoundTrip(r *http.Request) (*http.Response, error) {
	header := http.Header{}
	if b.retryAfter != "" {
		header.Set("Retry-After", b.retryAfter)
	}
	return &http.Response{StatusCode: 503, Header: header, Body: http.NoBody, Request: r}, nil
}
