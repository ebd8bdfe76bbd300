package limits

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

func TestRaiseForStatusReturnsTheStatusAsAnErrorWithTheResponse(t *testing.T) {
	for _, tt := range []struct {
		method string
		status int
		want   string
	}{
		{"GET", 503, harness.UsedUp(3)},
		{"GET", 400, "400 not-retryable"},
		{"POST", 503, "503 method"},
	} {
		for _, raw := range []bool{false, true} {
			harness.Bubble(t, tt.method+" "+tt.want, func(t *testing.T) {
				c, succeeded, failed := harness.Mock(harness.Statuses(tt.status)), 0, 0
				c.OnSuccess(func(*resty.Client, *resty.Response) { succeeded++ })
				c.OnError(func(_ *resty.Request, err error) {
					failed++
					var with *resty.ResponseError
					if !errors.As(err, &with) || with.Response.StatusCode() != tt.status {
						t.Errorf("OnError: got %v, want the response", err)
					}
				})
				c.Install(t, harness.RaiseForStatus, harness.Wait(time.Second))
				call := c.Do(t, c.R().SetDoNotParseResponse(raw), tt.method, "/x?token=SECRET").Want(t, tt.want, harness.ErrAny)
				var got *restyretry.StatusError
				if !errors.As(call.Err, &got) {
					t.Fatalf("got %v, want a *StatusError", call.Err)
				}
				harness.Equal(t, "error", *got, restyretry.StatusError{
					StatusCode: tt.status, Method: tt.method, URL: harness.Base + "/x?token=REDACTED",
					Attempts: len(call.Sent), Max: 3, Reason: call.Done[0].Reason,
				})
				harness.Equal(t, "calls of OnError", failed, 1)
				harness.Equal(t, "calls of OnSuccess", succeeded, 0)
				if raw {
					body, err := io.ReadAll(call.Response.RawBody())
					harness.Equal(t, "body", string(body), http.StatusText(tt.status))
					harness.Equal(t, "error of reading it", err, nil)
				}
			})
		}
	}
}

// A first attempt that is held back takes one of Resty's turns.
func TestRaiseForStatusCountsAfterAllAttemptsThereMayBe(t *testing.T) {
	for _, hold := range []time.Duration{0, time.Second} {
		harness.Bubble(t, fmt.Sprint("held for ", hold), func(t *testing.T) {
			cooldown := &restyretry.Cooldown{}
			c := harness.New(t, harness.Statuses(503), harness.RaiseForStatus, harness.Attempts(100), harness.Cooldown(cooldown))
			cooldown.Hold(harness.Base, hold)
			call := c.Get(t, "/x").WantStatus(t, 503)
			harness.Equal(t, "sent", len(call.Sent), 100)
			harness.Equal(t, "a *StatusError", errors.As(call.Err, new(*restyretry.StatusError)), true)
		})
	}
}

// The error says both.
func TestRaiseForStatusCountsWhereARetryIsBrokenOff(t *testing.T) {
	no := errors.New("no")
	broken := func(a restyretry.Attempt) error {
		if a.Number > 1 {
			return no
		}
		return nil
	}
	for _, tt := range []struct {
		name, want string
		option     func(context.CancelCauseFunc) harness.Option
	}{
		{"during the wait", "503 cancelled 1s", func(cancel context.CancelCauseFunc) harness.Option {
			return harness.OnRetry(func(restyretry.Attempt) { time.AfterFunc(time.Second/2, func() { cancel(no) }) })
		}},
		{"in OnRetry", "503 cancelled 1s", func(cancel context.CancelCauseFunc) harness.Option {
			return harness.OnRetry(func(restyretry.Attempt) { cancel(no) })
		}},
		{"in Unless", "503 cancelled", func(cancel context.CancelCauseFunc) harness.Option {
			return func(o *restyretry.Options) {
				o.Unless = func(restyretry.Attempt) bool { cancel(no); return false }
			}
		}},
		{"by OnAttempt", "503 stopped 1s", func(context.CancelCauseFunc) harness.Option { return harness.OnAttempt(broken) }},
		{"by a Target", "503 stopped 1s", func(context.CancelCauseFunc) harness.Option {
			return harness.URL(restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) { return "/x", broken(a) }))
		}},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			c := harness.New(t, harness.Statuses(503), harness.RaiseForStatus, tt.option(cancel))
			call := c.Do(t, c.R().SetContext(ctx), "GET", "/x").Want(t, tt.want, no)
			harness.Equal(t, "a *StatusError", errors.As(call.Err, new(*restyretry.StatusError)), true)
		})
	}
	harness.Bubble(t, "by the client's own RetryAfter", func(t *testing.T) {
		c := harness.Mock(harness.Statuses(503))
		c.SetRetryAfter(func(*resty.Client, *resty.Response) (time.Duration, error) { return 0, no })
		call := c.Install(t, harness.RaiseForStatus).Get(t, "/x").Want(t, "503 stopped", no)
		harness.Equal(t, "a *StatusError", errors.As(call.Err, new(*restyretry.StatusError)), true)
	})
}

func TestAnErrorOfTheAttemptIsNotHiddenByItsStatus(t *testing.T) {
	harness.Bubble(t, "of OnAfterResponse", func(t *testing.T) {
		no := errors.New("no")
		c := harness.New(t, harness.Statuses(404), harness.RaiseForStatus)
		c.OnAfterResponse(func(*resty.Client, *resty.Response) error { return no })
		call := c.Get(t, "/x").Want(t, "404 not-retryable", no)
		harness.Equal(t, "a *StatusError", errors.As(call.Err, new(*restyretry.StatusError)), false)
	})
}

func TestAStatusIsNoErrorAfterARecoveryOrUnasked(t *testing.T) {
	for last, option := range map[int]harness.Option{200: harness.RaiseForStatus, 503: harness.Attempts(2)} {
		harness.Bubble(t, http.StatusText(last), func(t *testing.T) {
			c, succeeded := harness.New(t, harness.Statuses(503, last), option), 0
			c.OnSuccess(func(*resty.Client, *resty.Response) { succeeded++ })
			c.Get(t, "/x").Want(t, map[int]string{200: "503 status 1s | 200 succeeded", 503: harness.UsedUp(2)}[last])
			harness.Equal(t, "calls of OnSuccess", succeeded, 1)
		})
	}
}
