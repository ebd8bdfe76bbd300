// Package cancellation tests requests whose context ends, and those that panic.
package cancellation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

var errGoingHome = errors.New("going home")

// whenAnswered calls f when the transport has answered or failed. A script that did
// so would race with httpmock, which looks at the context as well.
func whenAnswered(c *harness.Client, f func()) {
	onward := c.GetClient().Transport
	c.SetTransport(harness.RoundTrip(func(r *http.Request) (*http.Response, error) {
		resp, err := onward.RoundTrip(r)
		f()
		return resp, err
	}))
}

// The caller cancels at each place where code of the caller's runs after a failure,
// and during the wait. The last response comes back with the error: Want checks it.
func TestARequestThatIsCancelledBeforeARetrySaysSo(t *testing.T) {
	var c *harness.Client
	var cancel func()
	atTheSecond := func(a restyretry.Attempt) error {
		if a.Number == 2 {
			cancel()
		}
		return nil
	}
	const inCondition = "in a condition of Resty's"
	nothing := func(*restyretry.Options) {}
	whenAnswered := func(*restyretry.Options) { whenAnswered(c, cancel) }
	whileItWaits := func(*restyretry.Options) { time.AfterFunc(time.Second, cancel) }
	inOnAttempt := harness.OnAttempt(atTheSecond)
	busy, broken := harness.Says(503), harness.Fails(io.ErrUnexpectedEOF)
	hanging := func(n int, r *http.Request) (*http.Response, error) {
		time.AfterFunc(time.Second, cancel)
		return harness.Hangs(n, r)
	}
	for _, tt := range []struct {
		name   string
		script harness.Script
		option harness.Option
		want   string
		also   error
	}{
		{"in the transport", busy, whenAnswered, "503 cancelled", nil},
		{"in the transport, which fails", broken, whenAnswered, "error cancelled", io.ErrUnexpectedEOF},
		{"in the transport, which says so", harness.Each(busy, hanging), nothing, "503 status 1m0s | error cancelled", nil},
		{"in OnAfterResponse", busy, func(*restyretry.Options) {
			c.OnAfterResponse(func(*resty.Client, *resty.Response) error { cancel(); return nil })
		}, "503 cancelled", nil},
		{"in RetryIf", busy, func(o *restyretry.Options) {
			o.ServerErrors, o.RetryIf = false, func(restyretry.Attempt) bool { cancel(); return true }
		}, "503 cancelled", nil},
		{inCondition, busy, func(o *restyretry.Options) { o.ServerErrors = false }, "503 cancelled", nil},
		{"in Unless", busy, func(o *restyretry.Options) {
			o.Unless = func(restyretry.Attempt) bool { cancel(); return false }
		}, "503 cancelled", nil},
		{"in Wait", busy, func(o *restyretry.Options) {
			o.Wait = func(restyretry.Attempt) time.Duration { cancel(); return 0 }
		}, "503 cancelled", nil},
		{"in OnRetry", busy, harness.OnRetry(func(restyretry.Attempt) { cancel() }), "503 cancelled 1m0s", nil},
		{"while it waits", busy, whileItWaits, "503 cancelled 1m0s", nil},
		{"while it waits, after an error", broken, whileItWaits, "error cancelled 1m0s", io.ErrUnexpectedEOF},
		{"while it waits, with a context of OnAfterResponse", busy, func(o *restyretry.Options) {
			whileItWaits(o)
			c.OnAfterResponse(func(_ *resty.Client, resp *resty.Response) error {
				ctx, cancel := context.WithTimeout(resp.Request.Context(), time.Hour)
				t.Cleanup(cancel)
				resp.Request.SetContext(ctx)
				return nil
			})
		}, "503 cancelled 1m0s", nil},
		{"in the Target", busy, harness.URL(restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) {
			return "/x", atTheSecond(a)
		})), "503 cancelled 1m0s", nil},
		{"in OnAttempt", busy, inOnAttempt, "503 cancelled 1m0s", nil},
		{"in OnAttempt, after an error", broken, inOnAttempt, "error cancelled 1m0s", io.ErrUnexpectedEOF},
		{"in OnAttempt, before a server's wait", harness.Says(503, "Retry-After: 20"), inOnAttempt, "503 cancelled 20s", nil},
	} {
		for how, set := range map[string]func(*resty.Request){
			"": func(*resty.Request) {}, ", raw": func(r *resty.Request) { r.SetDoNotParseResponse(true) },
			", traced": func(r *resty.Request) { r.EnableTrace() },
		} {
			if tt.name == "in OnAfterResponse" && how == ", raw" {
				continue // Resty calls none
			}
			harness.Bubble(t, tt.name+how, func(t *testing.T) {
				ctx, end := context.WithCancelCause(t.Context())
				c, cancel = harness.Mock(tt.script), func() { end(errGoingHome) }
				c.AddRetryCondition(func(*resty.Response, error) bool {
					if tt.name == inCondition {
						cancel()
					}
					return tt.name == inCondition
				})
				c.Install(t, harness.Wait(time.Minute), harness.Rand(0), tt.option)
				r := c.R().SetContext(ctx)
				set(r)
				call := c.Do(t, r, "GET", "/x").Want(t, tt.want, context.Canceled, errGoingHome)
				if tt.also != nil {
					harness.WantIs(t, call.Err, tt.also)
				}
				harness.Equal(t, "requests given up", c.Plugin.Stats().GivenUp[restyretry.ReasonCancelled], 1)
				time.Sleep(24 * time.Hour) // Resty does not stop the timer of a wait
				harness.Equal(t, "sent a day later", len(c.Sent()), len(call.Sent))
			})
		}
	}
}

func TestADeadlineThatEndsWithAnAttemptKeepsItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.New(t, harness.Statuses(503), harness.RaiseForStatus)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c.OnAfterResponse(func(*resty.Client, *resty.Response) error { <-ctx.Done(); return nil })
		call := c.Do(t, c.R().SetContext(ctx), "GET", "/x").Want(t, "503 deadline", context.DeadlineExceeded)
		if !errors.As(call.Err, new(*restyretry.StatusError)) {
			t.Errorf("got %v, want a *StatusError as well", call.Err)
		}
		harness.Equal(t, "requests given up", c.Plugin.Stats().GivenUp[restyretry.ReasonDeadline], 1)
	})
}

func TestASuccessIsASuccessAlsoWhereItsContextHasEnded(t *testing.T) {
	for want, statuses := range map[string][]int{
		"200 succeeded": {200}, "204 succeeded": {204}, "503 status 1s | 200 succeeded": {503, 200},
	} {
		for _, late := range []bool{false, true} {
			harness.Bubble(t, want, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				c := harness.New(t, harness.Statuses(statuses...))
				withTheLast := func() {
					if len(c.Sent()) == len(statuses) {
						cancel()
					}
				}
				if late {
					c.OnAfterResponse(func(*resty.Client, *resty.Response) error { withTheLast(); return nil })
				} else {
					whenAnswered(c, withTheLast)
				}
				c.Do(t, c.R().SetContext(ctx), "GET", "/x").Want(t, want)
				harness.Equal(t, "requests given up", len(c.Plugin.Stats().GivenUp), 0)
				harness.Equal(t, "the context", ctx.Err(), context.Canceled)
			})
		}
	}
}

// While Resty has an attempt under way the context of the Resty request does not end,
// but that of the raw request does.
func TestAnAttemptEndsWithTheCallersContext(t *testing.T) {
	for name, set := range map[string]func(*harness.Client){
		"plain":     func(*harness.Client) {},
		"a trace":   func(c *harness.Client) { c.EnableTrace() },
		"a timeout": func(c *harness.Client) { c.SetTimeout(time.Hour) },
		"a middleware's value": func(c *harness.Client) {
			c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
				r.SetContext(context.WithValue(r.Context(), errGoingHome, true))
				return nil
			})
		},
		"a middleware's timeout": func(c *harness.Client) { withTimeout(c, time.Hour) },
	} {
		harness.Bubble(t, name, func(t *testing.T) {
			c := harness.New(t, harness.Hangs, harness.AttemptTimeout(time.Hour))
			set(c)
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Second, func() { cancel(errGoingHome) })
			c.Do(t, c.R().SetContext(ctx), "GET", "/x").
				Want(t, "error cancelled", context.Canceled, errGoingHome).WantTook(t, time.Second)
		})
	}
}

// withTimeout gives each attempt a context of its own that ends.
func withTimeout(c *harness.Client, d time.Duration) {
	c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), d)
		time.AfterFunc(2*d, cancel)
		r.SetContext(ctx)
		return nil
	})
}

// A bareContext is a context that package context does not know from inside.
type bareContext struct {
	context.Context
	done chan struct{}
}

func (c *bareContext) Done() <-chan struct{} { return c.done }
func (c *bareContext) Value(any) any         { return nil }
func (c *bareContext) Err() error {
	select {
	case <-c.done:
		return context.Canceled
	default:
		return nil
	}
}

// A middleware derives a context from it. For that, package context starts a
// goroutine, which panics if Done is closed and Err is nil.
func TestAContextOfAnotherMakeMayEndDuringAnAttempt(t *testing.T) {
	harness.Bubble(t, "under a middleware's", func(t *testing.T) {
		own := &bareContext{t.Context(), make(chan struct{})}
		c := harness.New(t, harness.Hangs)
		withTimeout(c, time.Minute)
		time.AfterFunc(time.Second, func() { close(own.done) })
		c.Do(t, c.R().SetContext(own), "GET", "/x").Want(t, "error cancelled", context.Canceled).WantTook(t, time.Second)
	})
	harness.Bubble(t, "while a middleware waits for that", func(t *testing.T) {
		own := &bareContext{t.Context(), make(chan struct{})}
		c := harness.New(t, harness.Hangs)
		ended := false
		c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
			context.AfterFunc(r.Context(), func() { ended = true })
			time.Sleep(time.Second) // package context's goroutine has begun
			return nil
		})
		time.AfterFunc(2*time.Second, func() { close(own.done) })
		c.Do(t, c.R().SetContext(own), "GET", "/x").Want(t, "error cancelled", context.Canceled)
		synctest.Wait()
		harness.Equal(t, "the middleware was told", ended, true)
	})
}

func TestAMiddlewareThatWaitsForTheEndIsToldWhy(t *testing.T) {
	wait := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for name, tt := range map[string]struct {
		script  harness.Script
		prepare func(c *harness.Client, told chan<- error)
	}{
		"during the attempt": {harness.Hangs, func(c *harness.Client, told chan<- error) {
			c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
				ctx := r.Context()
				go func() { told <- wait(ctx) }()
				return nil
			})
		}},
		"after it": {harness.Statuses(503), func(c *harness.Client, told chan<- error) {
			c.OnAfterResponse(func(_ *resty.Client, resp *resty.Response) error {
				err := wait(resp.Request.Context())
				told <- err
				return err
			})
		}},
		"in a request of its own": {harness.Statuses(401), func(c *harness.Client, told chan<- error) {
			tokens := harness.Mock(harness.Hangs)
			c.OnAfterResponse(func(_ *resty.Client, resp *resty.Response) error {
				_, err := tokens.R().SetContext(resp.Request.Context()).Get("/token")
				told <- err
				return err
			})
		}},
	} {
		harness.Bubble(t, name, func(t *testing.T) {
			c, told := harness.New(t, tt.script), make(chan error, 1)
			tt.prepare(c, told)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			call := c.Do(t, c.R().SetContext(ctx), "GET", "/x").WantTook(t, time.Second)
			harness.WantIs(t, call.Err, context.DeadlineExceeded)
			harness.WantIs(t, <-told, context.DeadlineExceeded)
		})
	}
}

type key struct{}

// Resty waits by the context that the request has when its last callback is over.
func TestACallbackMayReplaceTheContextAfterTheResponse(t *testing.T) {
	for name, replaced := range map[string]func(context.Context) context.Context{
		"by another":             func(context.Context) context.Context { return context.Background() },
		"by one with a value":    func(ctx context.Context) context.Context { return context.WithValue(ctx, key{}, 1) },
		"by one without its end": context.WithoutCancel,
		"by one with a cancel": func(ctx context.Context) context.Context {
			ctx, cancel := context.WithCancel(ctx)
			t.Cleanup(cancel)
			return ctx
		},
	} {
		for _, limited := range []bool{false, true} {
			harness.Bubble(t, fmt.Sprint(name, ", with a deadline ", limited), func(t *testing.T) {
				c := harness.New(t, harness.Statuses(404), harness.RaiseForStatus)
				c.OnAfterResponse(func(_ *resty.Client, resp *resty.Response) error {
					resp.Request.SetContext(replaced(resp.Request.Context()))
					return nil
				})
				ctx := t.Context()
				if limited {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, 24*time.Hour)
					defer cancel()
				}
				call := c.Do(t, c.R().SetContext(ctx), "GET", "/x").WantTook(t, 0)
				var failed *restyretry.StatusError
				harness.Equal(t, "a StatusError", errors.As(call.Err, &failed), true)
			})
		}
	}
}
