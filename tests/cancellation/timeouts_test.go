package cancellation

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

const timeouts = "error error 1s | error error 1s | error attempts"

// hangs answers no request over the wire.
var hangs http.HandlerFunc = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func TestAnAttemptThatTimesOutIsRetried(t *testing.T) {
	for name, set := range map[string]func(*harness.Client){
		"AttemptTimeout":         func(c *harness.Client) { _ = c.Plugin.Update(harness.AttemptTimeout(5 * time.Second)) },
		"SetTimeout":             func(c *harness.Client) { c.SetTimeout(5 * time.Second) },
		"a middleware's context": func(c *harness.Client) { withTimeout(c, 5*time.Second) }, // whose end is not the caller's
	} {
		harness.Bubble(t, name, func(t *testing.T) {
			for _, c := range []*harness.Client{harness.New(t, harness.Hangs), harness.Piped(t, hangs, false, harness.Wait(time.Second))} {
				set(c)
				for _, limit := range []time.Duration{0, time.Minute} {
					ctx, cancel := context.Background(), func() {}
					if limit > 0 {
						ctx, cancel = context.WithTimeout(ctx, limit)
					}
					call := c.Do(t, c.R().SetContext(ctx), "GET", "/x").
						Want(t, timeouts, context.DeadlineExceeded).WantTook(t, 17*time.Second)
					harness.Equal(t, "the caller's context", call.Request.Context(), ctx)
					harness.Equal(t, "its end", ctx.Err(), nil)
					cancel()
				}
			}
		})
	}
}

func TestTheCallersDeadlineIsNoTimeoutOfAnAttempt(t *testing.T) {
	harness.Bubble(t, "during the second attempt", func(t *testing.T) {
		c := harness.New(t, harness.Hangs, harness.AttemptTimeout(5*time.Second))
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		c.Do(t, c.R().SetContext(ctx), "GET", "/x").
			Want(t, "error error 1s | error deadline", context.DeadlineExceeded).WantTook(t, 8*time.Second)
	})
}

// A transport that returns late finds the caller's end, though the attempt timed
// out first.
func TestTheCallersEndIsTheErrorOfTheContextOfAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := harness.Wire(t, harness.Base, harness.AttemptTimeout(time.Second))
		c.SetTransport(harness.RoundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			cancel()
			return nil, r.Context().Err()
		}))
		call := c.Do(t, c.R().SetContext(ctx), "GET", "/x").Want(t, "error cancelled", context.Canceled)
		harness.Equal(t, "a timeout", errors.Is(call.Err, context.DeadlineExceeded), false)
	})
}

func TestATransportIsToldTheCallersDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		want, _ := ctx.Deadline()
		c := harness.New(t, func(n int, r *http.Request) (*http.Response, error) {
			got, _ := r.Context().Deadline()
			harness.Equal(t, "deadline", got, want)
			return harness.Statuses(503)(n, r)
		})
		c.Do(t, c.R().SetContext(ctx), "GET", "/x").Want(t, "503 status 1s | 503 status 1s | 503 attempts")
	})
}

func TestAnErrorNamesTheTimeoutOfAnAttempt(t *testing.T) {
	harness.Bubble(t, "of net/http", func(t *testing.T) {
		c := harness.Piped(t, hangs, false, harness.Wait(time.Second), harness.AttemptTimeout(10*time.Millisecond))
		call := c.Get(t, "/x").Want(t, timeouts, context.DeadlineExceeded)
		harness.WantError(t, call.Err, "AttemptTimeout of 10ms exceeded")
	})
}

// A lateBody can be read after a while, unless its request ends before.
type lateBody struct {
	after <-chan time.Time
	ctx   context.Context
}

func (b *lateBody) Close() error { return nil }

func (b *lateBody) Read(p []byte) (int, error) {
	select {
	case <-b.after:
		return copy(p, "late"), io.EOF
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
}

func TestARawBodyMayTakeLongerThanTheTimeoutOfItsAttempt(t *testing.T) {
	harness.Bubble(t, "until it is closed", func(t *testing.T) {
		c := harness.New(t, func(_ int, r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: &lateBody{time.After(time.Minute), r.Context()}, Request: r}, nil
		}, harness.AttemptTimeout(15*time.Second))
		call := c.Do(t, c.R().SetDoNotParseResponse(true), "GET", "/x").Want(t, "200 succeeded")
		body, err := io.ReadAll(call.Response.RawBody())
		harness.Equal(t, "body", string(body), "late")
		harness.Equal(t, "error of reading it", err, nil)
		ctx := call.Sent[0].Request.Context()
		harness.Equal(t, "the end of its context", ctx.Err(), nil)
		harness.Equal(t, "error of closing it", call.Response.RawBody().Close(), nil)
		harness.Equal(t, "the end of its context after that", ctx.Err(), context.Canceled)
	})
}

// A hang would show as a deadlock.
func TestAMiddlewaresContextThatNeverEndsDoesNotHideTheEndOfTheRequest(t *testing.T) {
	harness.Bubble(t, "without the plugin's pre-request hook", func(t *testing.T) {
		errNo := errors.New("no more")
		c := harness.New(t, harness.Statuses(503), harness.OnAttempt(func(a restyretry.Attempt) error {
			if a.Number == 2 {
				return errNo
			}
			return nil
		}), func(o *restyretry.Options) { o.Logger = slog.New(slog.DiscardHandler) })
		c.SetPreRequestHook(func(*resty.Client, *http.Request) error { return nil }) // in place of the plugin's
		withTimeout(c, time.Hour)
		c.Get(t, "/x").Want(t, "503 stopped 1s", errNo)
	})
}

// What an OnAfterResponse does with the request's context, such as another request,
// has the time limit that it asks for, beside the caller's.
func TestATimeoutInOnAfterResponseWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.New(t, harness.Statuses(200))
		c.OnAfterResponse(func(_ *resty.Client, resp *resty.Response) error {
			ctx, cancel := context.WithTimeout(resp.Request.Context(), 5*time.Second)
			defer cancel()
			<-ctx.Done()
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if call := c.Do(t, c.R().SetContext(ctx), "GET", "/x").Want(t, "200 succeeded"); call.Took > 5*time.Second {
			t.Errorf("got an end after %v, want 5s at most", call.Took)
		}
	})
}
