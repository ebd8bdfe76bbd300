package limits

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

// refusal runs a request that is refused before the plugin or the server sees it.
func refusal(t *testing.T, c *harness.Client, r *resty.Request, words ...string) {
	t.Helper()
	call := c.Do(t, r, "GET", "/x")
	harness.WantError(t, call.Err, words...)
	call.WantStatus(t, -1)
	harness.Equal(t, "sent", len(call.Sent), 0)
	if call.Took > time.Second { // Resty waits a nanosecond each time that a condition insists
		t.Errorf("got an error after %v, want it at once", call.Took)
	}
}

func TestOptionsThatAreInvalidForOneRequestAreRefusedWhoeverInsists(t *testing.T) {
	c := harness.New(t, harness.Statuses(200))
	r := c.R().SetContext(restyretry.With(t.Context(), harness.Attempts(-3)))
	refusal(t, c, r, "Attempts is -3")
	refusal(t, c, r.AddRetryCondition(always), "Attempts is -3")
}

// A field that differs in each attempt must not count as an idempotency key.
func TestTheNumberOfAnAttemptIsNoIdempotencyKey(t *testing.T) {
	for field, key := range map[string]string{"idempotency-key": "", "X-Key": "x-key"} {
		_, err := restyretry.Install(resty.New(), func(o *restyretry.Options) { o.AttemptHeader, o.IdempotencyHeader = field, key })
		harness.WantError(t, err, "AttemptHeader", field)
	}
}

func TestARequestSaysWhichSettingOfTheClientWasChangedAfterInstall(t *testing.T) {
	for setting, change := range map[string]func(*resty.Client){
		"RetryCount":       func(c *resty.Client) { c.SetRetryCount(100) },
		"RetryWaitTime":    func(c *resty.Client) { c.SetRetryWaitTime(time.Second) },
		"RetryMaxWaitTime": func(c *resty.Client) { c.SetRetryMaxWaitTime(time.Second) },
		"RetryAfter": func(c *resty.Client) {
			c.SetRetryAfter(func(*resty.Client, *resty.Response) (time.Duration, error) { return time.Second, nil })
		},
		"RetryConditions":   func(c *resty.Client) { c.RetryConditions = nil },
		"RetryHooks":        func(c *resty.Client) { c.RetryHooks = nil },
		"RetryResetReaders": func(c *resty.Client) { c.SetRetryResetReaders(true) },
	} {
		c := harness.New(t, harness.Statuses(200))
		change(c.Client)
		refusal(t, c, c.R(), setting+" was changed after Install")
	}
	c := harness.New(t, harness.Statuses(200))
	c.SetRetryCount(0) // with which Resty has no loop
	refusal(t, c, c.R(), "RetryCount was changed after Install; set Attempts")
}

// What fails before it is sent would fail the same again, and whoever made it fail
// would be asked again.
func TestWhatCouldNotBeSentIsNotRepeated(t *testing.T) {
	for name, tt := range map[string]struct {
		set func(*harness.Client) *resty.Request
		url string
	}{
		"the URL is broken": {func(c *harness.Client) *resty.Request { return c.R() }, "http://[::1"},
		"the body is no JSON": {func(c *harness.Client) *resty.Request {
			return c.R().SetHeader("Content-Type", "application/json").SetBody(map[string]any{"x": math.Inf(1)})
		}, "/x"},
		"the rate limiter": {func(c *harness.Client) *resty.Request { return c.SetRateLimiter(harness.Tokens(0)).R() }, "/x"},
		"a rate limiter, and a list of URLs": {func(c *harness.Client) *resty.Request {
			list := harness.URL(restyretry.URLs("http://a.test/"))
			return c.SetRateLimiter(harness.Tokens(0)).R().SetContext(restyretry.With(context.Background(), list))
		}, "/x"},
		"a middleware": {func(c *harness.Client) *resty.Request {
			return c.OnBeforeRequest(func(*resty.Client, *resty.Request) error { return errors.New("no token") }).R()
		}, "/x"},
		"a debug log": {func(c *harness.Client) *resty.Request {
			return c.SetDebug(true).OnRequestLog(func(*resty.RequestLog) error { return errors.New("no log") }).R()
		}, "/x"},
	} {
		harness.Bubble(t, name, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(200), harness.RetryIf(func(restyretry.Attempt) bool { return true }))
			call := c.Do(t, tt.set(c), "PUT", tt.url).Want(t, "unsent not-sent", harness.ErrAny).WantStatus(t, -1).WantTook(t, 0)
			harness.Equal(t, "start", call.Done[0].Start, time.Now())
		})
	}
}

// If a condition asks for a retry of what was not sent, Resty neither waits nor looks
// at the context.
func TestTurnsThatSendNothingAreBounded(t *testing.T) {
	for _, tt := range []struct {
		name    string
		early   bool
		refuses int
	}{
		{"a middleware before Install", true, 1000},
		{"one after Install", false, 1000},
		{"one that refuses once", false, 1},
	} {
		for place, put := range places {
			harness.Bubble(t, tt.name+", a condition "+place, func(t *testing.T) {
				turns, asked := 0, 0
				refuse := func(*resty.Client, *resty.Request) error {
					if turns++; turns <= tt.refuses {
						return errors.New("no token")
					}
					return nil
				}
				c := harness.Mock(harness.Statuses(200))
				if tt.early {
					c.OnBeforeRequest(refuse)
				}
				r := put(t, c, func(*resty.Response, error) bool { asked++; return true })
				if !tt.early {
					c.OnBeforeRequest(refuse)
				}
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				refusal(t, c, r.SetContext(ctx))
				// Resty's RetryCount is 101.
				limit := 102
				if place == "before Install" || place == "RetryIf" { // the plugin asks, and not Resty
					limit = 1
				}
				if turns < 1 || turns > limit || asked > limit {
					t.Errorf("got %d turns and %d questions, want %d at most", turns, asked, limit)
				}
			})
		}
	}
}

// It ends the request, unless a condition of the request's own asks Resty to go on.
func TestAMiddlewareMayRefuseARetry(t *testing.T) {
	errNo := errors.New("not now")
	refuseSecond := func(_ *resty.Client, r *resty.Request) error {
		if r.Attempt == 2 {
			return errNo
		}
		return nil
	}
	onFailure := func(resp *resty.Response, err error) bool { return err != nil || resp.StatusCode() == 503 }
	client := func(t *testing.T, opts ...harness.Option) *harness.Client {
		c := harness.Mock(harness.Statuses(503, 200))
		c.OnBeforeRequest(refuseSecond)
		return c.Install(t, append(opts, harness.Wait(time.Second))...)
	}
	harness.Bubble(t, "which is no cancellation", func(t *testing.T) {
		call := client(t).Get(t, "/x").WantStatus(t, -1)
		harness.WantIs(t, call.Err, errNo)
		call.WantStory(t, "503 status 1s | unsent not-sent")
	})
	harness.Bubble(t, "and the next turn sends it", func(t *testing.T) {
		c := client(t, harness.URL(restyretry.URLs("http://a.test/", "http://b.test/")))
		c.Do(t, c.R().AddRetryCondition(onFailure), "GET", "/x").WantSent(t, "http://a.test/", "http://b.test/").WantStatus(t, 200)
		harness.Equal(t, "recovered", c.Plugin.Stats().Recovered, 1)
	})
	harness.Bubble(t, "but not one that OnAttempt has refused", func(t *testing.T) {
		c := client(t, harness.OnAttempt(func(restyretry.Attempt) error { return errors.New("never") }))
		c.Do(t, c.R().AddRetryCondition(onFailure), "GET", "/x").Want(t, "unsent stopped", harness.ErrAny)
	})
}
