package results

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

// It is not asked if the caller's context has ended, if nothing was sent, or if the
// failure came after the whole response.
func TestErrorsIsAskedOnlyAboutSendingAndReceiving(t *testing.T) {
	refusing := func(err error) func(*harness.Client, *resty.Request) {
		return func(c *harness.Client, _ *resty.Request) {
			c.OnAfterResponse(func(*resty.Client, *resty.Response) error { return err })
		}
	}
	xml := func(text string) harness.Script { return harness.Says(200, "Content-Type: application/xml", "", text) }
	for _, tt := range []struct {
		name   string
		script harness.Script
		set    func(*harness.Client, *resty.Request)
		want   string
		err    error
	}{
		{"cancelled", harness.Hangs, func(_ *harness.Client, r *resty.Request) {
			ctx, cancel := context.WithCancel(r.Context())
			time.AfterFunc(time.Second, cancel)
			r.SetContext(ctx)
		}, "error cancelled", context.Canceled},
		{"past the deadline", harness.Hangs, func(_ *harness.Client, r *resty.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), time.Second)
			context.AfterFunc(ctx, cancel)
			r.SetContext(ctx)
		}, "error deadline", context.DeadlineExceeded},
		{"not sent", harness.Statuses(200), func(c *harness.Client, _ *resty.Request) {
			c.OnBeforeRequest(func(*resty.Client, *resty.Request) error { return io.EOF })
		}, "unsent not-sent", io.EOF},
		{"wrong XML", xml("<a>"), nil, "200 not-retryable", harness.ErrAny},
		{"empty XML", xml(""), nil, "200 not-retryable", io.EOF},
		{"OnAfterResponse", harness.Statuses(200), refusing(io.EOF), "200 not-retryable", io.EOF},
		{"OnAfterResponse, EOF without a body", harness.Says(204, "", ""), refusing(io.EOF), "204 not-retryable", io.EOF},
		{"OnAfterResponse, another error without a body", harness.Says(204, "", ""), refusing(io.ErrUnexpectedEOF), "204 not-retryable", io.ErrUnexpectedEOF},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			c := harness.New(t, tt.script, restyretry.AiohttpRetry, func(o *restyretry.Options) {
				o.Errors = func(err error) bool {
					t.Errorf("Errors is asked about %v", err)
					return true
				}
			})
			r := c.R().SetContext(t.Context()).SetResult(new(document))
			if tt.set != nil {
				tt.set(c, r)
			}
			call := c.Do(t, r, "GET", "/")
			call.WantStory(t, tt.want)
			if tt.err == harness.ErrAny {
				harness.WantError(t, call.Err)
			} else {
				harness.WantIs(t, call.Err, tt.err)
			}
		})
	}
	for _, tt := range []struct {
		method string
		status int
	}{{"GET", 204}, {"GET", 304}, {"HEAD", 200}} {
		harness.Bubble(t, fmt.Sprintf("a middleware before Install, %s %d, which has no body", tt.method, tt.status), func(t *testing.T) {
			c := harness.Mock(harness.Says(tt.status, "", ""))
			c.OnAfterResponse(func(*resty.Client, *resty.Response) error { return io.ErrUnexpectedEOF })
			c.Install(t).Do(t, c.R(), tt.method, "/").Want(t, fmt.Sprint(tt.status, " not-retryable"), io.ErrUnexpectedEOF)
		})
	}
	harness.Bubble(t, "what was not received in full", func(t *testing.T) {
		var asked []error
		c := harness.New(t, cut, func(o *restyretry.Options) {
			o.Errors = func(err error) bool { asked = append(asked, err); return len(asked) < 2 }
		})
		c.Get(t, "/").Want(t, "200 error 1s | 200 not-retryable", io.ErrUnexpectedEOF)
		harness.WantIs(t, errors.Join(asked...), io.ErrUnexpectedEOF)
	})
}

type ownError struct{ text string }

func (e *ownError) Error() string { return e.text }

// Its Error method panics, which fmt survives, and so does Resty.
func TestANilPointerThatIsAnErrorIsReturned(t *testing.T) {
	var none *ownError
	after := func(c *harness.Client) {
		c.OnAfterResponse(func(*resty.Client, *resty.Response) error { return none })
	}
	for _, tt := range []struct {
		name, want    string
		script        harness.Script
		before, after func(*harness.Client) // Install
	}{
		{"by OnAfterResponse", "200 not-retryable", harness.Statuses(200), nil, after},
		{"by OnAfterResponse before Install", "200 not-retryable", harness.Statuses(200), after, nil},
		{"by OnAfterResponse before Install, without a body", "200 error 1s | 200 error 1s | 200 attempts", harness.Says(200, "", ""), after, nil},
		{"by OnBeforeRequest", "unsent not-sent", harness.Statuses(200), nil, func(c *harness.Client) {
			c.OnBeforeRequest(func(*resty.Client, *resty.Request) error { return none })
		}},
		{"by the transport", "error error 1s | error error 1s | error attempts", harness.Fails(none), nil, nil},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			var log harness.Log
			c := harness.Mock(tt.script)
			if tt.before != nil {
				tt.before(c)
			}
			c.Install(t, harness.Wait(time.Second), func(o *restyretry.Options) { o.Logger = log.Slog() })
			if tt.after != nil {
				tt.after(c)
			}
			call := c.Get(t, "/")
			call.WantStory(t, tt.want)
			harness.Equal(t, "panic", call.Panic, nil)
			harness.WantIs(t, call.Err, none)
			harness.WantError(t, call.History[0].Err, "*results.ownError, whose Error method panics")
		})
	}
}

func TestRetryIfIsAskedAboutDecoding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.New(t, harness.JSON(200, "{"), harness.RetryIf(func(a restyretry.Attempt) bool { return a.Err != nil && a.StatusCode() == 200 }))
		c.Do(t, c.R().SetResult(new(document)), "GET", "/").Want(t, "200 condition 1s | 200 condition 1s | 200 attempts", harness.ErrAny)
	})
}
