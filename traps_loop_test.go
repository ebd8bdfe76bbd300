package restyretry_test

// One test for every row of section 1.3, "The loop", of the notes on Resty's
// traps. The row's number stands above its test.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/jarcoal/httpmock"
	"github.com/restyretry/restyretry"
)

// loopRecord keeps what the hooks of a plugin were told.
type loopRecord struct{ retried, done []restyretry.Attempt }

func (l *loopRecord) option(o *restyretry.Options) {
	o.Hooks = append(o.Hooks, restyretry.Hooks{
		OnRetry: func(a restyretry.Attempt) { l.retried = append(l.retried, a) },
		OnDone:  func(a restyretry.Attempt) { l.done = append(l.done, a) },
	})
}

// wantDone checks that OnDone ran exactly once, with this reason.
func (l *loopRecord) wantDone(t *testing.T, reason restyretry.Reason) {
	t.Helper()
	if len(l.done) != 1 {
		t.Fatalf("OnDone: got %d calls, want 1", len(l.done))
	}
	loopEqual(t, "OnDone's reason", l.done[0].Reason, reason)
}

func loopEqual[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// loopStatus checks that a response came back without an error.
func loopStatus(t *testing.T, resp *resty.Response, err error, status int) {
	t.Helper()
	if err != nil {
		t.Errorf("err: got %v, want nil", err)
	}
	loopResponse(t, resp, status)
}

func loopResponse(t *testing.T, resp *resty.Response, status int) {
	t.Helper()
	if resp == nil {
		t.Fatalf("response: got nil, want status %d", status)
	}
	loopEqual(t, "status", resp.StatusCode(), status)
}

func loopIs(t *testing.T, err error, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("err: got %v, want one that is %q", err, target)
		}
	}
}

// loopFails is a transport whose every request fails with err.
func loopFails(err error) (httpmock.Responder, *int) {
	n := new(int)
	return func(*http.Request) (*http.Response, error) {
		*n++
		return nil, err
	}, n
}

// loopHangs is a transport that answers no request before its context ends.
func loopHangs() (httpmock.Responder, *atomic.Int32) {
	n := new(atomic.Int32)
	return func(r *http.Request) (*http.Response, error) {
		n.Add(1)
		<-r.Context().Done()
		return nil, r.Context().Err()
	}, n
}

// loopServer is a real server, for what a mock cannot show, and a client of it
// that waits 1 ms before a retry.
func loopServer(t *testing.T, handler http.HandlerFunc, opts ...func(*restyretry.Options)) *resty.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	c := resty.New().SetBaseURL(server.URL).SetLogger(quiet{})
	t.Cleanup(c.GetClient().CloseIdleConnections)
	install(t, c, append([]func(*restyretry.Options){constant(time.Millisecond)}, opts...)...)
	return c
}

// loopHangUp closes the connection of a request without an answer.
func loopHangUp(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	conn.Close()
}

// loopWaits is the waits of a history, the last attempt's left out.
func loopWaits(attempts []restyretry.Attempt) string {
	var waits []string
	for _, a := range attempts[:len(attempts)-1] {
		waits = append(waits, a.Wait.String())
	}
	return strings.Join(waits, " ")
}

func loopAttempts(n int) func(*restyretry.Options) {
	return func(o *restyretry.Options) { o.Attempts = n }
}

// half makes all jitter fall in the middle.
func loopHalf(o *restyretry.Options) { o.Rand = func() float64 { return 0.5 } }

func loopAlways(*resty.Response, error) bool { return true }
func loopNever(*resty.Response, error) bool  { return false }

// L1
func TestLoopNeedsNoRetryCountAndCountsPerRequest(t *testing.T) {
	tests := []struct {
		name  string
		count int
		opts  []func(*restyretry.Options)
		want  int
	}{
		{"without RetryCount", 0, nil, 3},
		{"RetryCount becomes the default", 4, nil, 5},
		{"more for one request", 0, []func(*restyretry.Options){loopAttempts(7)}, 7},
		{"more than RetryCount for one request", 1, []func(*restyretry.Options){loopAttempts(7)}, 7},
		{"none for one request", 4, []func(*restyretry.Options){restyretry.Off}, 1},
		{"the inner of two changes", 0, []func(*restyretry.Options){restyretry.Off, loopAttempts(2)}, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				respond, calls := answers(503)
				c := mocked(respond).SetRetryCount(test.count)
				install(t, c, constant(time.Second))
				ctx := restyretry.With(t.Context(), test.opts...)
				resp, err := c.R().SetContext(ctx).Get("/x")
				loopStatus(t, resp, err, 503)
				loopEqual(t, "calls", *calls, test.want)
			})
		})
	}
}

// L1
func TestLoopAsksConditionsAndHooksOfAClientWithoutRetryCount(t *testing.T) {
	pending := func(resp *resty.Response, err error) bool { return resp.StatusCode() == 202 }
	client := func(c *resty.Client, _ *resty.Request) { c.AddRetryCondition(pending) }
	tests := []struct {
		name          string
		before, after func(*resty.Client, *resty.Request)
	}{
		{"the client's", client, func(*resty.Client, *resty.Request) {}},
		{"the client's, added after Install", func(*resty.Client, *resty.Request) {}, client},
		{"the request's", func(*resty.Client, *resty.Request) {}, func(_ *resty.Client, r *resty.Request) { r.AddRetryCondition(pending) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				respond, calls := answers(202, 202, 200)
				c := mocked(respond)
				hooked := 0
				c.AddRetryHook(func(*resty.Response, error) { hooked++ })
				r := c.R()
				test.before(c, r)
				install(t, c, constant(time.Second))
				test.after(c, r)
				resp, err := r.Get("/x")
				loopStatus(t, resp, err, 200)
				loopEqual(t, "calls", *calls, 3)
				loopEqual(t, "retry hook", hooked, 2)
				loopEqual(t, "history", summary(restyretry.History(r)), "1 condition, 2 condition, 3 succeeded")
			})
		})
	}
}

// L1, L11
func TestLoopRefusesSettingsChangedAfterInstall(t *testing.T) {
	tests := map[string]func(*resty.Client){
		"RetryCount":       func(c *resty.Client) { c.SetRetryCount(5) },
		"RetryWaitTime":    func(c *resty.Client) { c.SetRetryWaitTime(time.Second) },
		"RetryMaxWaitTime": func(c *resty.Client) { c.SetRetryMaxWaitTime(time.Second) },
		"RetryAfter": func(c *resty.Client) {
			c.SetRetryAfter(func(*resty.Client, *resty.Response) (time.Duration, error) { return time.Second, nil })
		},
		"RetryConditions":   func(c *resty.Client) { c.RetryConditions = nil },
		"RetryHooks":        func(c *resty.Client) { c.RetryHooks = nil },
		"RetryResetReaders": func(c *resty.Client) { c.SetRetryResetReaders(true) },
	}
	for setting, change := range tests {
		t.Run(setting, func(t *testing.T) {
			respond, calls := answers(200)
			c := mocked(respond)
			install(t, c)
			change(c)
			_, err := c.R().Get("/x")
			if err == nil || !strings.Contains(err.Error(), setting+" was changed after Install") {
				t.Errorf("err: got %v, want one that names %s", err, setting)
			}
			loopEqual(t, "calls", *calls, 0)
		})
	}
}

// L1
func TestLoopRefusesToRunWithoutRetryCount(t *testing.T) {
	respond, calls := answers(503)
	c := mocked(respond)
	install(t, c)
	c.RetryCount = 0 // Resty would not enter its loop
	if _, err := c.R().Get("/x"); err == nil || !strings.Contains(err.Error(), "RetryCount") {
		t.Errorf("err: got %v, want one that names RetryCount", err)
	}
	loopEqual(t, "calls", *calls, 0)
}

// L2, L13, L14
func TestLoopRefusesInvalidOptionsBeforeAnythingIsSent(t *testing.T) {
	tests := []struct {
		field, value string
		change       func(*restyretry.Options)
	}{
		{"Attempts", "-1", loopAttempts(-1)},
		{"Attempts", "0", loopAttempts(0)},
		{"Attempts", "101", loopAttempts(101)},
		{"Methods", `"A B"`, func(o *restyretry.Options) { o.Methods = []string{"GET", "A B"} }},
		{"Statuses", "-503", func(o *restyretry.Options) { o.Statuses = append(o.Statuses, -503) }},
		{"Statuses", "600", func(o *restyretry.Options) { o.Statuses = append(o.Statuses, 600) }},
		{"Wait", "nil", func(o *restyretry.Options) { o.Wait = nil }},
		{"AttemptTimeout", "-1s", func(o *restyretry.Options) { o.AttemptTimeout = -time.Second }},
		{"MaxElapsed", "-2s", func(o *restyretry.Options) { o.MaxElapsed = -2 * time.Second }},
		{"URL", "empty", func(o *restyretry.Options) { o.URL = restyretry.URLs() }},
	}
	for _, test := range tests {
		t.Run(test.field+" "+test.value, func(t *testing.T) {
			check := func(who string, err error) {
				t.Helper()
				if err == nil || !strings.Contains(err.Error(), test.field) || !strings.Contains(err.Error(), test.value) {
					t.Errorf("%s: got %v, want an error with %q and %q", who, err, test.field, test.value)
				}
			}
			respond, calls := answers(200)
			c := mocked(respond)
			_, err := restyretry.Install(c, test.change)
			check("Install", err)
			p := install(t, c)
			check("Update", p.Update(test.change))
			resp, err := c.R().SetContext(restyretry.With(t.Context(), test.change)).Get("/x")
			check("the request", err)
			loopEqual(t, "response", resp, nil)
			loopEqual(t, "calls", *calls, 0)
			resp, err = c.R().Get("/x")
			loopStatus(t, resp, err, 200)
		})
	}
}

// L2
func TestLoopNeverReturnsNothingAtAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, calls := answers(503)
		c := mocked(respond).SetRetryCount(-1)
		install(t, c)
		resp, err := c.R().Get("/x")
		loopStatus(t, resp, err, 503)
		loopEqual(t, "calls", *calls, 3)
	})
}

// loopPlaces are all the places where a condition of the user's may stand.
var loopPlaces = map[string]func(t *testing.T, c *resty.Client, f resty.RetryConditionFunc, opts ...func(*restyretry.Options)) *resty.Request{
	"before Install": func(t *testing.T, c *resty.Client, f resty.RetryConditionFunc, opts ...func(*restyretry.Options)) *resty.Request {
		install(t, c.AddRetryCondition(f), opts...)
		return c.R()
	},
	"after Install": func(t *testing.T, c *resty.Client, f resty.RetryConditionFunc, opts ...func(*restyretry.Options)) *resty.Request {
		install(t, c, opts...)
		return c.AddRetryCondition(f).R()
	},
	"on the request": func(t *testing.T, c *resty.Client, f resty.RetryConditionFunc, opts ...func(*restyretry.Options)) *resty.Request {
		install(t, c, opts...)
		return c.R().AddRetryCondition(f)
	},
	"RetryIf": func(t *testing.T, c *resty.Client, f resty.RetryConditionFunc, opts ...func(*restyretry.Options)) *resty.Request {
		install(t, c, append(opts, func(o *restyretry.Options) {
			o.RetryIf = func(a restyretry.Attempt) bool { return f(a.Response, a.Err) }
		})...)
		return c.R()
	},
}

// L3
func TestLoopConditionsAddToTheDefaultAndNeverLiftTheLimit(t *testing.T) {
	verdicts := map[string]resty.RetryConditionFunc{
		"always": loopAlways, "never": loopNever,
		"on 5xx":   func(resp *resty.Response, _ error) bool { return resp != nil && resp.StatusCode() >= 500 },
		"on error": func(_ *resty.Response, err error) bool { return err != nil },
	}
	for place, put := range loopPlaces {
		for verdict, condition := range verdicts {
			t.Run(verdict+" "+place+"/a status", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					respond, calls := answers(503)
					r := put(t, mocked(respond), condition, constant(time.Second))
					start := time.Now()
					resp, err := r.Get("/x")
					loopStatus(t, resp, err, 503)
					loopEqual(t, "body", resp.String(), "Service Unavailable")
					loopEqual(t, "calls", *calls, 3)
					loopEqual(t, "time", time.Since(start), 2*time.Second)
					loopEqual(t, "history", summary(restyretry.History(r)), "1 status, 2 status, 3 attempts")
				})
			})
			t.Run(verdict+" "+place+"/a transport error", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					respond, calls := loopFails(io.EOF)
					r := put(t, mocked(respond), condition, constant(time.Second))
					resp, err := r.Get("/x")
					loopIs(t, err, io.EOF)
					loopResponse(t, resp, 0)
					loopEqual(t, "calls", *calls, 3)
					loopEqual(t, "history", summary(restyretry.History(r)), "1 error, 2 error, 3 attempts")
				})
			})
		}
	}
}

// L4
func TestLoopDecidesAlsoWhereAConditionSpeaksFirst(t *testing.T) {
	unless := func(o *restyretry.Options) { o.Unless = func(restyretry.Attempt) bool { return true } }
	elapsed := func(o *restyretry.Options) { o.MaxElapsed = time.Millisecond }
	tests := []struct {
		name, method string
		option       func(*restyretry.Options)
		want         string
	}{
		{"attempts", "GET", loopAttempts(3), "1 condition, 2 condition, 3 attempts"},
		{"off", "GET", restyretry.Off, "1 attempts"},
		{"method", "POST", loopAttempts(3), "1 method"},
		{"unless", "GET", unless, "1 unless"},
		{"elapsed", "GET", elapsed, "1 elapsed"},
	}
	for place, put := range loopPlaces {
		for _, test := range tests {
			t.Run(place+"/"+test.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					respond, calls := answers(200)
					var told loopRecord
					r := put(t, mocked(respond), loopAlways, constant(time.Second), told.option, test.option)
					resp, err := r.Execute(test.method, "/x")
					loopStatus(t, resp, err, 200)
					history := restyretry.History(r)
					loopEqual(t, "history", summary(history), test.want)
					loopEqual(t, "calls", *calls, len(history))
					loopEqual(t, "OnRetry", len(told.retried), len(history)-1)
					told.wantDone(t, history[len(history)-1].Reason)
				})
			})
		}
	}
}

// L5
func TestLoopTellsOfEachRetryOnceAndNeverOfTheLastAttempt(t *testing.T) {
	raise := func(o *restyretry.Options) { o.RaiseForStatus = true }
	for name, option := range map[string]func(*restyretry.Options){"plain": loopAttempts(3), "raise for status": raise} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				respond, _ := answers(503)
				c := mocked(respond)
				hooked, asked := 0, 0
				c.AddRetryHook(func(*resty.Response, error) { hooked++ })
				c.SetRetryAfter(func(*resty.Client, *resty.Response) (time.Duration, error) { asked++; return 0, nil })
				var told loopRecord
				install(t, c, constant(time.Second), told.option, option)
				resp, _ := c.R().Get("/x")
				loopResponse(t, resp, 503)
				loopEqual(t, "OnRetry", summary(told.retried), "1 status, 2 status")
				loopEqual(t, "the client's retry hook", hooked, 2)
				loopEqual(t, "the client's RetryAfter", asked, 2)
				told.wantDone(t, restyretry.ReasonAttempts)
				loopEqual(t, "OnDone's attempt", told.done[0].Number, 3)
			})
		})
	}
}

// L5
func TestLoopRunsARetryHookAddedAfterInstallOncePerRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, _ := answers(503)
		c := mocked(respond)
		install(t, c)
		hooked := 0
		c.AddRetryHook(func(*resty.Response, error) { hooked++ })
		resp, err := c.R().Get("/x")
		loopStatus(t, resp, err, 503)
		loopEqual(t, "retry hook", hooked, 2)
	})
}

// L6
func TestLoopGivesHooksTheErrorItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errBusy := errors.New("busy")
		respond, _ := answers(503)
		c := mocked(respond)
		c.OnAfterResponse(func(*resty.Client, *resty.Response) error { return errBusy })
		c.AddRetryHook(func(_ *resty.Response, err error) { loopIs(t, err, errBusy) })
		var told loopRecord
		install(t, c, told.option)
		_, err := c.R().Get("/x")
		loopIs(t, err, errBusy)
		loopEqual(t, "OnRetry", len(told.retried), 2)
		for _, a := range append(told.retried, told.done...) {
			loopIs(t, a.Err, errBusy)
		}
	})
}

// L7
func TestLoopClosesTheBooksWhenTheContextEndsWithAnAttempt(t *testing.T) {
	tests := []struct {
		name   string
		ctx    func(context.Context) (context.Context, context.CancelFunc)
		reason restyretry.Reason
	}{
		{"cancelled", context.WithCancel, restyretry.ReasonCancelled},
		{"deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}, restyretry.ReasonDeadline},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := test.ctx(t.Context())
				defer cancel()
				respond, calls := answers(503)
				c := mocked(respond)
				var told loopRecord
				p := install(t, c, told.option)
				c.OnAfterResponse(func(*resty.Client, *resty.Response) error {
					if test.reason == restyretry.ReasonCancelled {
						cancel()
					}
					<-ctx.Done()
					return nil
				})
				resp, err := c.R().SetContext(ctx).Get("/x")
				loopIs(t, err, context.Cause(ctx))
				loopResponse(t, resp, 503) // the answer had come
				loopEqual(t, "calls", *calls, 1)
				told.wantDone(t, test.reason)
				loopEqual(t, "OnDone's status", told.done[0].StatusCode(), 503)
				loopEqual(t, "OnRetry", len(told.retried), 0)
				loopEqual(t, "Stats().Requests", p.Stats().Requests, 1)
				loopEqual(t, "Stats().GivenUp", p.Stats().GivenUp[test.reason], 1)
			})
		})
	}
}

// L7
func TestLoopKeepsTheErrorOfAnAttemptThatTheContextEndedWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		// httpmock would return the end of the context instead of the answer.
		c := mocked(nil).SetTransport(roundTrip(func(*http.Request) (*http.Response, error) {
			cancel()
			return nil, io.EOF
		}))
		var told loopRecord
		install(t, c, told.option)
		_, err := c.R().SetContext(ctx).Get("/x")
		loopIs(t, err, io.EOF)
		told.wantDone(t, restyretry.ReasonCancelled)
		loopIs(t, told.done[0].Err, io.EOF)
	})
}

// L7, L21
func TestLoopRaisesForStatusAlsoWhenTheContextEndsWithTheAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		respond, _ := answers(503)
		c := mocked(respond)
		c.OnAfterResponse(func(*resty.Client, *resty.Response) error {
			cancel()
			return nil
		})
		install(t, c, func(o *restyretry.Options) { o.RaiseForStatus = true })
		resp, err := c.R().SetContext(ctx).Get("/x")
		loopResponse(t, resp, 503)
		var status *restyretry.StatusError
		if !errors.As(err, &status) {
			t.Errorf("err: got %v, want a *StatusError", err)
		}
	})
}

// L8
func TestLoopKeepsResponseAndErrorWhenTheContextEndsWhileWaiting(t *testing.T) {
	busy, _ := answers(503)
	broken, _ := loopFails(io.EOF)
	tests := []struct {
		name    string
		respond httpmock.Responder
		status  int
		errs    []error
	}{
		{"a status", busy, 503, []error{context.Canceled}},
		{"a transport error", broken, 0, []error{context.Canceled, io.EOF}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := mocked(test.respond)
				var told loopRecord
				p := install(t, c, constant(time.Hour), told.option)
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Minute, cancel)
				start := time.Now()
				resp, err := c.R().SetContext(ctx).Get("/x")
				loopIs(t, err, test.errs...)
				loopResponse(t, resp, test.status)
				loopEqual(t, "time", time.Since(start), time.Minute)
				told.wantDone(t, restyretry.ReasonCancelled)
				loopEqual(t, "OnRetry", len(told.retried), 1)
				loopEqual(t, "Stats().GivenUp", p.Stats().GivenUp[restyretry.ReasonCancelled], 1)
				loopEqual(t, "Stats().Attempts", p.Stats().Attempts, 1)
			})
		})
	}
}

// L8
func TestLoopKeepsResponseAndErrorWhenTheContextEndsInOnAttempt(t *testing.T) {
	busy, _ := answers(503)
	broken, _ := loopFails(io.EOF)
	tests := []struct {
		name    string
		respond httpmock.Responder
		status  int
		errs    []error
	}{
		{"a status", busy, 503, []error{context.Canceled}},
		{"a transport error", broken, 0, []error{context.Canceled, io.EOF}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				c := mocked(test.respond)
				var told loopRecord
				p := install(t, c, told.option, func(o *restyretry.Options) {
					o.Hooks = append(o.Hooks, restyretry.Hooks{OnAttempt: func(a restyretry.Attempt) error {
						if a.Number == 2 {
							cancel()
						}
						return nil
					}})
				})
				r := c.R().SetContext(ctx)
				resp, err := r.Get("/x")
				loopIs(t, err, test.errs...)
				loopResponse(t, resp, test.status)
				told.wantDone(t, restyretry.ReasonCancelled)
				loopEqual(t, "history", summary(restyretry.History(r)), "1 cancelled")
				loopEqual(t, "Stats().Attempts", p.Stats().Attempts, 1)
			})
		})
	}
}

// L8
func TestLoopSaysWhyTheContextEndedWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errShutdown := errors.New("shutting down")
		respond, _ := answers(503)
		c := mocked(respond)
		install(t, c, constant(time.Hour))
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(errShutdown) })
		resp, err := c.R().SetContext(ctx).Get("/x")
		loopResponse(t, resp, 503)
		loopIs(t, err, errShutdown)
	})
}

// L8
func TestLoopDoesNotBeginAWaitThatPassesTheDeadline(t *testing.T) {
	tests := []struct {
		name  string
		wait  time.Duration
		calls int
		time  time.Duration
		last  restyretry.Reason
	}{
		{"longer than the time left", 11 * time.Second, 1, 0, restyretry.ReasonDeadline},
		{"as long as the time left", 10 * time.Second, 1, 0, restyretry.ReasonDeadline},
		{"the second wait too long", 6 * time.Second, 2, 6 * time.Second, restyretry.ReasonDeadline},
		{"short enough", 4 * time.Second, 3, 8 * time.Second, restyretry.ReasonAttempts},
	}
	for _, test := range tests {
		t.Run(test.name+"/a status", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				respond, calls := answers(503)
				c := mocked(respond)
				var told loopRecord
				install(t, c, constant(test.wait), told.option)
				start := time.Now()
				resp, err := c.R().SetContext(ctx).Get("/x")
				loopStatus(t, resp, err, 503)
				loopEqual(t, "calls", *calls, test.calls)
				loopEqual(t, "time", time.Since(start), test.time)
				told.wantDone(t, test.last)
			})
		})
		t.Run(test.name+"/a transport error", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				respond, calls := loopFails(io.EOF)
				c := mocked(respond)
				var told loopRecord
				install(t, c, constant(test.wait), told.option)
				start := time.Now()
				_, err := c.R().SetContext(ctx).Get("/x")
				loopIs(t, err, io.EOF)
				if errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("err: got %v, want only the transport's error", err)
				}
				loopEqual(t, "calls", *calls, test.calls)
				loopEqual(t, "time", time.Since(start), test.time)
				told.wantDone(t, test.last)
			})
		})
	}
}

// L9
func TestLoopDoesNotRepeatWhatWasNeverSent(t *testing.T) {
	errMiddleware := errors.New("no token")
	fail := func(n *int) resty.RequestMiddleware {
		return func(*resty.Client, *resty.Request) error {
			*n++
			return errMiddleware
		}
	}
	tests := map[string]func(t *testing.T, c *resty.Client, n *int){
		"middleware before Install": func(t *testing.T, c *resty.Client, n *int) { install(t, c.OnBeforeRequest(fail(n))) },
		"middleware after Install":  func(t *testing.T, c *resty.Client, n *int) { install(t, c); c.OnBeforeRequest(fail(n)) },
		"client condition": func(t *testing.T, c *resty.Client, n *int) {
			install(t, c.AddRetryCondition(loopAlways).OnBeforeRequest(fail(n)))
		},
		"RetryIf": func(t *testing.T, c *resty.Client, n *int) {
			install(t, c, func(o *restyretry.Options) { o.RetryIf = func(restyretry.Attempt) bool { return true } })
			c.OnBeforeRequest(fail(n))
		},
	}
	for name, set := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				respond, calls := answers(200)
				c := mocked(respond)
				turns := 0
				set(t, c, &turns)
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				start := time.Now()
				resp, err := c.R().SetContext(ctx).Get("/x")
				loopIs(t, err, errMiddleware)
				loopEqual(t, "response", resp, nil)
				loopEqual(t, "calls", *calls, 0)
				loopEqual(t, "turns", turns, 1)
				loopEqual(t, "time", time.Since(start), 0)
			})
		})
	}
}

// L9
func TestLoopDoesNotRepeatAFailureBeforeSending(t *testing.T) {
	tests := map[string]func(*resty.Client) (*resty.Response, error){
		"the URL": func(c *resty.Client) (*resty.Response, error) { return c.R().Get("http://[::1") },
		"the body": func(c *resty.Client) (*resty.Response, error) {
			return c.R().SetHeader("Content-Type", "application/json").SetBody(map[string]any{"x": math.Inf(1)}).Put("/x")
		},
		"the rate limiter": func(c *resty.Client) (*resty.Response, error) {
			return c.SetRateLimiter(loopNoTokens{}).R().Get("/x")
		},
	}
	for name, send := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				respond, calls := answers(200)
				c := mocked(respond)
				var told loopRecord
				install(t, c, told.option)
				start := time.Now()
				resp, err := send(c)
				if err == nil || resp != nil {
					t.Errorf("got %v, %v, want no response and an error", resp, err)
				}
				loopEqual(t, "calls", *calls, 0)
				loopEqual(t, "time", time.Since(start), 0)
				told.wantDone(t, restyretry.ReasonNotSent)
			})
		})
	}
}

// L9
func TestLoopSendsNothingLaterEvenIfAConditionInsists(t *testing.T) {
	for _, place := range []string{"before Install", "after Install", "on the request"} {
		t.Run(place, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				respond, calls := answers(200)
				c := mocked(respond)
				r := loopPlaces[place](t, c, loopAlways)
				turns := 0
				c.OnBeforeRequest(func(*resty.Client, *resty.Request) error {
					if turns++; turns == 1 {
						return errors.New("no token")
					}
					return nil
				})
				resp, err := r.Get("/x")
				if err == nil || resp != nil {
					t.Errorf("got %v, %v, want no response and an error", resp, err)
				}
				loopEqual(t, "calls", *calls, 0)
			})
		})
	}
}

type loopNoTokens struct{}

func (loopNoTokens) Allow() bool { return false }

// L10
func TestLoopReturnsTheErrorOfTheClientsRetryAfter(t *testing.T) {
	errQuota := errors.New("quota used up")
	busy, _ := answers(503)
	broken, _ := loopFails(io.EOF)
	tests := []struct {
		name    string
		respond httpmock.Responder
		status  int
		errs    []error
	}{
		{"after a status", busy, 503, []error{errQuota}},
		{"after a transport error", broken, 0, []error{errQuota, io.EOF}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := mocked(test.respond).SetRetryAfter(func(*resty.Client, *resty.Response) (time.Duration, error) {
					return time.Second, errQuota
				})
				var told loopRecord
				install(t, c, told.option)
				start := time.Now()
				resp, err := c.R().Get("/x")
				loopIs(t, err, test.errs...)
				loopResponse(t, resp, test.status)
				loopEqual(t, "time", time.Since(start), 0)
				loopEqual(t, "OnRetry", len(told.retried), 0)
				told.wantDone(t, restyretry.ReasonStopped)
			})
		})
	}
}

// L11
func TestLoopObeysTheClientsRetryAfterWithoutClamps(t *testing.T) {
	tests := []struct {
		name  string
		after time.Duration
		want  string
	}{
		{"longer than Resty's 2 s", 120 * time.Second, "2m0s 2m0s"},
		{"shorter than Resty's 100 ms", 5 * time.Millisecond, "5ms 5ms"},
		{"zero leaves it to Wait", 0, "7s 7s"},
		{"negative is RetryMaxWaitTime", -1, "3s 3s"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				respond, _ := answers(503)
				c := mocked(respond).SetRetryMaxWaitTime(3 * time.Second)
				c.SetRetryAfter(func(client *resty.Client, resp *resty.Response) (time.Duration, error) {
					loopEqual(t, "RetryAfter's client", client, c)
					loopEqual(t, "RetryAfter's status", resp.StatusCode(), 503)
					return test.after, nil
				})
				install(t, c, constant(7*time.Second))
				start := time.Now()
				resp, err := c.R().Get("/x")
				loopStatus(t, resp, err, 503)
				history := restyretry.History(resp.Request)
				loopEqual(t, "waits", loopWaits(history), test.want)
				loopEqual(t, "time", time.Since(start), history[0].Wait+history[1].Wait)
			})
		})
	}
}

// L11, L12
func TestLoopKeepsTheClientsWaitTimes(t *testing.T) {
	ms := time.Millisecond
	tests := []struct {
		name              string
		shortest, longest time.Duration
		want              string
	}{
		{"both", 200 * ms, time.Second, "200ms 300ms 600ms 750ms"},
		{"the maximum", 100 * ms, 10 * time.Second, "100ms 150ms 300ms 600ms"},
		{"the minimum wins", 300 * ms, 50 * ms, "300ms 300ms 300ms 300ms"},
		{"no wait", 0, 2 * time.Second, "0s 0s 0s 0s"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				respond, _ := answers(503)
				c := mocked(respond).SetRetryWaitTime(test.shortest).SetRetryMaxWaitTime(test.longest)
				install(t, c, loopAttempts(5), loopHalf)
				resp, err := c.R().Get("/x")
				loopStatus(t, resp, err, 503)
				loopEqual(t, "waits", loopWaits(restyretry.History(resp.Request)), test.want)
			})
		})
	}
}

// L11
func TestLoopTakesANegativeRetryMaxWaitTimeAsRestyDoes(t *testing.T) {
	const restys = time.Duration(math.MaxInt32) // 2.147 s
	newClient := func() *resty.Client {
		respond, _ := answers(503)
		return mocked(respond).SetRetryMaxWaitTime(-1)
	}
	t.Run("in the back-off", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newClient()
			install(t, c, loopAttempts(5), loopHalf)
			resp, err := c.R().Get("/x")
			loopStatus(t, resp, err, 503)
			loopEqual(t, "waits", loopWaits(restyretry.History(resp.Request)), "100ms 150ms 300ms 600ms")
		})
	})
	t.Run("for a negative RetryAfter", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newClient().SetRetryAfter(func(*resty.Client, *resty.Response) (time.Duration, error) { return -1, nil })
			install(t, c, loopAttempts(2))
			resp, err := c.R().Get("/x")
			loopStatus(t, resp, err, 503)
			loopEqual(t, "waits", loopWaits(restyretry.History(resp.Request)), restys.String())
		})
	})
}

// L12
func TestLoopJittersTheFirstWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, _ := answers(503)
		c := mocked(respond)
		install(t, c, loopAttempts(2))
		waits := make(map[time.Duration]bool)
		for range 100 {
			start := time.Now()
			resp, err := c.R().Get("/x")
			loopStatus(t, resp, err, 503)
			wait := restyretry.History(resp.Request)[0].Wait
			if wait < 0 || wait > 500*time.Millisecond {
				t.Errorf("wait: got %v, want 0 to 500 ms", wait)
			}
			loopEqual(t, "time", time.Since(start), max(wait, 1))
			waits[wait] = true
		}
		if len(waits) < 90 {
			t.Errorf("got %d different waits of 100, want 90 at least", len(waits))
		}
	})
}

// L12
func TestLoopWaitsTheDefaultSeries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, _ := answers(503)
		c := mocked(respond)
		install(t, c, loopAttempts(5), loopHalf)
		start := time.Now()
		resp, err := c.R().Get("/x")
		loopStatus(t, resp, err, 503)
		loopEqual(t, "waits", loopWaits(restyretry.History(resp.Request)), "250ms 500ms 1s 2s")
		loopEqual(t, "time", time.Since(start), 3750*time.Millisecond)
	})
}

// L13
func TestLoopSurvivesANegativeWait(t *testing.T) {
	minus := func(o *restyretry.Options) {
		o.Wait = func(restyretry.Attempt) time.Duration { return math.MinInt64 }
	}
	tests := map[string]struct {
		client time.Duration
		opts   []func(*restyretry.Options)
	}{
		"RetryWaitTime": {-time.Second, nil},
		"Wait":          {100 * time.Millisecond, []func(*restyretry.Options){minus}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				respond, calls := answers(503)
				c := mocked(respond).SetRetryWaitTime(test.client)
				install(t, c, test.opts...)
				start := time.Now()
				resp, err := c.R().Get("/x")
				loopStatus(t, resp, err, 503)
				loopEqual(t, "calls", *calls, 3)
				loopEqual(t, "waits", loopWaits(restyretry.History(resp.Request)), "0s 0s")
				loopEqual(t, "time in ms", time.Since(start).Milliseconds(), 0)
			})
		})
	}
}

// L14
func TestLoopMakesAsManyAttemptsAsCanBeSet(t *testing.T) {
	tests := map[string]func(*restyretry.Options){
		"without waits":     constant(0),
		"with the default":  loopAttempts(100),
		"with a zero base":  func(o *restyretry.Options) { o.Wait = restyretry.Exponential(0, time.Hour) },
		"with endless caps": func(o *restyretry.Options) { o.Wait = restyretry.Fibonacci(1, 1<<20) },
	}
	for name, option := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				respond, calls := answers(503)
				c := mocked(respond)
				var told loopRecord
				install(t, c, loopAttempts(100), told.option, option)
				resp, err := c.R().Get("/x")
				loopStatus(t, resp, err, 503)
				loopEqual(t, "calls", *calls, 100)
				loopEqual(t, "OnRetry", len(told.retried), 99)
				told.wantDone(t, restyretry.ReasonAttempts)
			})
		})
	}
}

// L14
func TestLoopRefusesAClientWithMoreRetriesThanCanBeSet(t *testing.T) {
	c := mocked(httpmock.NewStringResponder(200, "")).SetRetryCount(1024)
	if _, err := restyretry.Install(c); err == nil || !strings.Contains(err.Error(), "Attempts is 1025") {
		t.Errorf("Install: got %v, want an error with the number of attempts", err)
	}
}

// L15, L9
func TestLoopEndsAfterABoundedNumberOfTurnsThatSendNothing(t *testing.T) {
	errMiddleware := errors.New("no token")
	for _, place := range []string{"before Install", "after Install", "on the request"} {
		for _, early := range []bool{true, false} {
			name := fmt.Sprintf("condition %s, middleware first %v", place, early)
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					respond, calls := answers(200)
					c := mocked(respond)
					turns, asked := 0, 0
					middleware := func(*resty.Client, *resty.Request) error { turns++; return errMiddleware }
					condition := func(*resty.Response, error) bool { asked++; return true }
					if early {
						c.OnBeforeRequest(middleware)
					}
					r := loopPlaces[place](t, c, condition)
					if !early {
						c.OnBeforeRequest(middleware)
					}
					ctx, cancel := context.WithCancel(t.Context())
					cancel()
					start := time.Now()
					resp, err := r.SetContext(ctx).Get("/x")
					if err == nil || resp != nil {
						t.Errorf("got %v, %v, want no response and an error", resp, err)
					}
					loopEqual(t, "calls", *calls, 0)
					if turns < 1 || turns > 101 || asked > 101 {
						t.Errorf("got %d turns and %d questions, want 101 at most", turns, asked)
					}
					if took := time.Since(start); took > time.Millisecond {
						t.Errorf("got %v of waiting, want none", took)
					}
				})
			})
		}
	}
}

// L15, L2
func TestLoopEndsAlsoWhenEveryConditionInsistsOnInvalidOptions(t *testing.T) {
	respond, calls := answers(200)
	c := mocked(respond)
	install(t, c)
	ctx := restyretry.With(t.Context(), loopAttempts(-3))
	_, err := c.R().SetContext(ctx).AddRetryCondition(loopAlways).Get("/x")
	if err == nil || !strings.Contains(err.Error(), "Attempts is -3") {
		t.Errorf("err: got %v, want one that names the option", err)
	}
	loopEqual(t, "calls", *calls, 0)
}

// L16
func TestLoopDoesNotRetryWhatFailsTheSameAgain(t *testing.T) {
	var hits atomic.Int32
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	})
	tls := httptest.NewUnstartedServer(handler)
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	tls.StartTLS()
	defer tls.Close()
	tests := []struct {
		name string
		hits int32
		send func(*resty.Client) (*resty.Response, error)
	}{
		{"an unsupported scheme", 0, func(c *resty.Client) (*resty.Response, error) { return c.R().Get("ftp://127.0.0.1/x") }},
		{"an unknown authority", 0, func(c *resty.Client) (*resty.Response, error) { return c.R().Get(tls.URL) }},
		{"an invalid header", 0, func(c *resty.Client) (*resty.Response, error) { return c.R().SetHeader("X", "a\nb").Get("/x") }},
		{"a refused redirect", 1, func(c *resty.Client) (*resty.Response, error) {
			return c.SetRedirectPolicy(resty.NoRedirectPolicy()).R().Get("/x")
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			hits.Store(0)
			var told loopRecord
			c := loopServer(t, handler, told.option)
			_, err := test.send(c)
			if err == nil {
				t.Error("err: got nil, want one")
			}
			loopEqual(t, "hits", hits.Load(), test.hits)
			told.wantDone(t, restyretry.ReasonNotRetryable)
			loopEqual(t, "attempts", told.done[0].Number, 1)
		})
	}
}

// L17
func TestLoopRepeatsAPOSTOnlyWhereThatIsSafe(t *testing.T) {
	hangUp := func(w http.ResponseWriter) { loopHangUp(w) }
	truncate := func(w http.ResponseWriter) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "ha")
		w.(http.Flusher).Flush()
		loopHangUp(w)
	}
	tests := []struct {
		name, method, key string
		answer            func(http.ResponseWriter)
		want              string
	}{
		{"POST and EOF", "POST", "", hangUp, "1 method"},
		{"POST and a truncated body", "POST", "", truncate, "1 method"},
		{"PATCH and EOF", "PATCH", "", hangUp, "1 method"},
		{"POST with a key and EOF", "POST", "k-1", hangUp, "1 error, 2 error, 3 attempts"},
		{"POST with a key and a truncated body", "POST", "k-1", truncate, "1 error, 2 error, 3 attempts"},
		{"GET and EOF", "GET", "", hangUp, "1 error, 2 error, 3 attempts"},
		{"GET and a truncated body", "GET", "", truncate, "1 error, 2 error, 3 attempts"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var hits atomic.Int32
			c := loopServer(t, func(w http.ResponseWriter, r *http.Request) {
				hits.Add(1)
				loopEqual(t, "the key", r.Header.Get("Idempotency-Key"), test.key)
				test.answer(w)
			})
			r := c.R()
			if test.key != "" {
				r.SetHeader("Idempotency-Key", test.key)
			}
			_, err := r.Execute(test.method, "/x")
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("err: got %v, want EOF", err)
			}
			history := restyretry.History(r)
			loopEqual(t, "history", summary(history), test.want)
			loopEqual(t, "hits", int(hits.Load()), len(history))
		})
	}
}

// L17
func TestLoopRepeatsAPOSTThatWasNeverSent(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	c := resty.New().SetLogger(quiet{})
	install(t, c, constant(time.Millisecond))
	r := c.R()
	resp, err := r.SetBody("order").Post("http://" + listener.Addr().String())
	if err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("err: got %v, want connection refused", err)
	}
	loopResponse(t, resp, 0)
	loopEqual(t, "history", summary(restyretry.History(r)), "1 error, 2 error, 3 attempts")
}

// L17
func TestLoopDoesNotRepeatAPOSTOnAStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, calls := answers(503)
		c := mocked(respond)
		install(t, c, constant(time.Second))
		resp, err := c.R().Post("/x")
		loopStatus(t, resp, err, 503)
		loopEqual(t, "calls", *calls, 1)
		resp, err = c.R().SetHeader("Idempotency-Key", "k-1").Post("/x")
		loopStatus(t, resp, err, 503)
		loopEqual(t, "calls with a key", *calls, 1+3)
	})
}

// L18
func TestLoopTamesAddRetryAfterErrorCondition(t *testing.T) {
	t.Run("a bad URL does not panic", func(t *testing.T) {
		c := mocked(httpmock.NewStringResponder(200, "")).AddRetryAfterErrorCondition()
		install(t, c)
		resp, err := c.R().Get("http://[::1")
		if err == nil || resp != nil {
			t.Errorf("got %v, %v, want no response and an error", resp, err)
		}
	})
	t.Run("a transport error is retried", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			respond, calls := loopFails(io.EOF)
			c := mocked(respond).AddRetryAfterErrorCondition()
			install(t, c)
			_, err := c.R().Get("/x")
			loopIs(t, err, io.EOF)
			loopEqual(t, "calls", *calls, 3)
		})
	})
	t.Run("a 404 is retried within the limits, as it asks", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			respond, calls := answers(404)
			c := mocked(respond).AddRetryAfterErrorCondition()
			install(t, c)
			resp, err := c.R().Get("/x")
			loopStatus(t, resp, err, 404)
			loopEqual(t, "calls", *calls, 3)
			resp, err = c.R().Post("/x")
			loopStatus(t, resp, err, 404)
			loopEqual(t, "calls after a POST", *calls, 3+1)
		})
	})
}

// L19
func TestLoopBeginsAnewWhenARequestIsUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, calls := answers(503)
		c := mocked(respond)
		var numbers []int
		var told loopRecord
		install(t, c, told.option, func(o *restyretry.Options) {
			o.Hooks = append(o.Hooks, restyretry.Hooks{OnAttempt: func(a restyretry.Attempt) error {
				numbers = append(numbers, a.Number)
				return nil
			}})
		})
		r := c.R()
		sends := []func() (*resty.Response, error){
			func() (*resty.Response, error) { return r.Get("/x?q=1") },
			func() (*resty.Response, error) { return r.Get("/x?q=1") },
			r.Send,
		}
		for i, send := range sends {
			resp, err := send()
			loopStatus(t, resp, err, 503)
			loopEqual(t, "calls", *calls, 3*(i+1))
			loopEqual(t, "history", summary(restyretry.History(r)), "1 status, 2 status, 3 attempts")
			loopEqual(t, "query", resp.RawResponse.Request.URL.RawQuery, "q=1")
		}
		loopEqual(t, "numbers", fmt.Sprint(numbers), "[1 2 3 1 2 3 1 2 3]")
		loopEqual(t, "OnDone", len(told.done), 3)
	})
}

// L19
func TestLoopBeginsAnewWithoutAnyOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, calls := answers(200, 503, 503, 503, 200)
		c := mocked(respond)
		p := install(t, c)
		r := c.R()
		for _, want := range []string{"1 succeeded", "1 status, 2 status, 3 attempts", "1 succeeded"} {
			if _, err := r.Get("/x"); err != nil {
				t.Errorf("err: got %v, want nil", err)
			}
			loopEqual(t, "history", summary(restyretry.History(r)), want)
		}
		loopEqual(t, "calls", *calls, 5)
		loopEqual(t, "Stats().Requests", p.Stats().Requests, 3)
		loopEqual(t, "Stats().Attempts", p.Stats().Attempts, 5)
	})
}

// L20
func TestLoopLeavesNothingInTheContextOfARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, calls := answers(503, 200, 503, 200)
		c := mocked(respond)
		install(t, c)
		ctx := restyretry.With(t.Context(), constant(time.Second))
		r := c.R().SetContext(ctx)
		for range 2 {
			resp, err := r.Get("/x")
			loopStatus(t, resp, err, 200)
			loopEqual(t, "context", r.Context(), ctx)
			loopEqual(t, "Number", restyretry.Number(r.Context()), 0)
			loopEqual(t, "history", summary(restyretry.History(r)), "1 status, 2 succeeded")
		}
		loopEqual(t, "calls", *calls, 4)
	})
}

// L20
func TestLoopCountsANestedRequestWithTheSameContextByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, calls := answers(503)
		c := mocked(respond)
		var inner []string
		install(t, c, func(o *restyretry.Options) {
			o.Hooks = []restyretry.Hooks{{OnRetry: func(a restyretry.Attempt) {
				if a.Request.URL != "http://api.test/outer" {
					return
				}
				r := c.R().SetContext(a.Request.Context())
				resp, err := r.Get("/inner")
				loopStatus(t, resp, err, 503)
				inner = append(inner, summary(restyretry.History(r)))
			}}}
		})
		r := c.R().SetContext(t.Context())
		resp, err := r.Get("/outer")
		loopStatus(t, resp, err, 503)
		const all = "1 status, 2 status, 3 attempts"
		loopEqual(t, "outer history", summary(restyretry.History(r)), all)
		loopEqual(t, "inner histories", strings.Join(inner, "; "), all+"; "+all)
		loopEqual(t, "calls", *calls, 3+2*3)
	})
}

// L21
func TestLoopRaisesForStatus(t *testing.T) {
	tests := []struct {
		name, method string
		status       int
		raw          bool
		attempts     int
		reason       restyretry.Reason
	}{
		{"used up", "GET", 503, false, 3, restyretry.ReasonAttempts},
		{"used up, not parsed", "GET", 503, true, 3, restyretry.ReasonAttempts},
		{"not retried", "GET", 404, false, 1, restyretry.ReasonNotRetryable},
		{"not retried, not parsed", "GET", 404, true, 1, restyretry.ReasonNotRetryable},
		{"a method that is not retried", "POST", 503, false, 1, restyretry.ReasonMethod},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				respond, calls := answers(test.status)
				c := mocked(respond)
				succeeded, failed := 0, 0
				c.OnSuccess(func(*resty.Client, *resty.Response) { succeeded++ })
				c.OnError(func(_ *resty.Request, err error) {
					failed++
					var with *resty.ResponseError
					if !errors.As(err, &with) || with.Response.StatusCode() != test.status {
						t.Errorf("OnError: got %v, want the response", err)
					}
				})
				var told loopRecord
				install(t, c, told.option, func(o *restyretry.Options) { o.RaiseForStatus = true })
				resp, err := c.R().SetDoNotParseResponse(test.raw).Execute(test.method, "/x?token=SECRET")
				loopResponse(t, resp, test.status)
				var got *restyretry.StatusError
				if !errors.As(err, &got) {
					t.Fatalf("err: got %v, want a *StatusError", err)
				}
				loopEqual(t, "error", *got, restyretry.StatusError{
					StatusCode: test.status, Method: test.method,
					URL: "http://api.test/x?token=REDACTED", Attempts: test.attempts, Max: 3, Reason: test.reason,
				})
				loopEqual(t, "calls", *calls, test.attempts)
				loopEqual(t, "OnError", failed, 1)
				loopEqual(t, "OnSuccess", succeeded, 0)
				loopEqual(t, "OnDone", len(told.done), 1)
				if test.raw {
					body, err := io.ReadAll(resp.RawBody())
					loopEqual(t, "body", string(body), http.StatusText(test.status))
					loopEqual(t, "error of reading it", err, nil)
				}
			})
		})
	}
}

// L21
func TestLoopDoesNotRaiseForStatusAfterARecoveryOrUnasked(t *testing.T) {
	tests := map[string]struct {
		raise  bool
		status int
	}{"recovered": {true, 200}, "unasked": {false, 503}}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				respond, _ := answers(503, 503, test.status)
				c := mocked(respond)
				succeeded := 0
				c.OnSuccess(func(*resty.Client, *resty.Response) { succeeded++ })
				install(t, c, func(o *restyretry.Options) { o.RaiseForStatus = test.raise })
				resp, err := c.R().Get("/x")
				loopStatus(t, resp, err, test.status)
				loopEqual(t, "OnSuccess", succeeded, 1)
			})
		})
	}
}

// L22
func TestLoopRetriesAStatusThatOnAfterResponseMakesAnError(t *testing.T) {
	errStatus := errors.New("bad status")
	check := func(_ *resty.Client, resp *resty.Response) error {
		if resp.IsError() {
			return errStatus
		}
		return nil
	}
	before := func(t *testing.T, c *resty.Client) { install(t, c.OnAfterResponse(check)) }
	after := func(t *testing.T, c *resty.Client) { install(t, c); c.OnAfterResponse(check) }
	for name, set := range map[string]func(*testing.T, *resty.Client){"before Install": before, "after Install": after} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				respond, calls := answers(503, 503, 200, 503)
				c := mocked(respond)
				set(t, c)
				resp, err := c.R().Get("/x")
				loopStatus(t, resp, err, 200)
				loopEqual(t, "calls", *calls, 3)
				resp, err = c.R().Get("/x")
				loopIs(t, err, errStatus)
				loopResponse(t, resp, 503)
				loopEqual(t, "calls", *calls, 3+3)
			})
		})
	}
}

// L22
func TestLoopDoesNotRepeatASuccessThatOnAfterResponseRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errRefused := fmt.Errorf("refused: %w", io.ErrUnexpectedEOF)
		respond, calls := answers(200)
		c := mocked(respond)
		c.OnAfterResponse(func(*resty.Client, *resty.Response) error { return errRefused })
		install(t, c)
		resp, err := c.R().Get("/x")
		loopIs(t, err, errRefused)
		loopResponse(t, resp, 200)
		loopEqual(t, "calls", *calls, 1)
	})
}

// L23
func TestLoopRetriesAnAttemptThatTimedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, calls := loopHangs()
		c := mocked(respond)
		install(t, c, constant(time.Second), func(o *restyretry.Options) { o.AttemptTimeout = 5 * time.Second })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		r := c.R().SetContext(ctx)
		_, err := r.Get("/x")
		loopIs(t, err, context.DeadlineExceeded)
		loopEqual(t, "calls", calls.Load(), 3)
		loopEqual(t, "time", time.Since(start), 17*time.Second)
		loopEqual(t, "history", summary(restyretry.History(r)), "1 error, 2 error, 3 attempts")
		loopEqual(t, "the caller's context", ctx.Err(), nil)
	})
}

// L23
func TestLoopTellsTheCallersDeadlineFromAnAttemptsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, calls := loopHangs()
		c := mocked(respond)
		install(t, c, constant(time.Second), func(o *restyretry.Options) { o.AttemptTimeout = 5 * time.Second })
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		start := time.Now()
		r := c.R().SetContext(ctx)
		_, err := r.Get("/x")
		loopIs(t, err, context.DeadlineExceeded)
		loopEqual(t, "calls", calls.Load(), 2)
		loopEqual(t, "time", time.Since(start), 8*time.Second)
		loopEqual(t, "history", summary(restyretry.History(r)), "1 error, 2 deadline")
	})
}

// L23
func TestLoopNamesTheTimeoutOfAnAttempt(t *testing.T) {
	c := loopServer(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		func(o *restyretry.Options) { o.AttemptTimeout = 10 * time.Millisecond })
	r := c.R()
	_, err := r.Get("/x")
	loopIs(t, err, context.DeadlineExceeded)
	if err == nil || !strings.Contains(err.Error(), "AttemptTimeout of 10ms exceeded") {
		t.Errorf("err: got %v, want one that names AttemptTimeout", err)
	}
	loopEqual(t, "history", summary(restyretry.History(r)), "1 error, 2 error, 3 attempts")
}

// L23
func TestLoopReadsARawBodyLongerThanTheTimeoutOfItsAttempt(t *testing.T) {
	rest := make(chan struct{})
	c := loopServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		<-rest
		fmt.Fprint(w, "late")
	}, func(o *restyretry.Options) { o.AttemptTimeout = 15 * time.Millisecond })
	resp, err := c.R().SetDoNotParseResponse(true).Get("/x")
	if err != nil {
		close(rest)
		t.Fatalf("err: got %v, want nil", err)
	}
	time.AfterFunc(40*time.Millisecond, func() { close(rest) })
	body, err := io.ReadAll(resp.RawBody())
	loopEqual(t, "error of reading", err, nil)
	loopEqual(t, "body", string(body), "late")
	resp.RawBody().Close()
}

// L23: a middleware may give each attempt a context of its own. Its end is not
// the caller's, and does not end the retrying.
func TestLoopRetriesUnderTheContextThatAMiddlewareSets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, calls := loopHangs()
		c := mocked(respond)
		var told loopRecord
		install(t, c, told.option)
		c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
			ctx, cancel := context.WithTimeout(r.Context(), time.Second)
			time.AfterFunc(time.Minute, cancel)
			r.SetContext(ctx)
			return nil
		})
		r := c.R()
		_, err := r.Get("/x")
		loopIs(t, err, context.DeadlineExceeded)
		loopEqual(t, "calls", calls.Load(), 3)
		told.wantDone(t, restyretry.ReasonAttempts)
		loopEqual(t, "context", r.Context(), context.Background())
	})
}

// L23, L3
func TestLoopHoldsItsLimitsUnderTheContextThatAMiddlewareSets(t *testing.T) {
	for place, put := range loopPlaces {
		t.Run(place, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				respond, calls := answers(503)
				c := mocked(respond)
				r := put(t, c, loopAlways, constant(time.Second))
				c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
					ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
					time.AfterFunc(time.Hour, cancel)
					r.SetContext(ctx)
					return nil
				})
				resp, err := r.Get("/x")
				loopStatus(t, resp, err, 503)
				loopEqual(t, "calls", *calls, 3)
			})
		})
	}
}

// L23: a middleware's context that never ends must not keep Resty from noticing
// that the plugin has ended the request. A hang would show as a deadlock.
func TestLoopStopsUnderTheContextThatAMiddlewareSets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, calls := answers(503)
		c, errNo := mocked(respond), errors.New("no more")
		install(t, c, constant(time.Second), func(o *restyretry.Options) {
			o.Logger = slog.New(slog.DiscardHandler)
			o.Hooks = []restyretry.Hooks{{OnAttempt: func(a restyretry.Attempt) error {
				if a.Number == 2 {
					return errNo
				}
				return nil
			}}}
		})
		c.SetPreRequestHook(func(*resty.Client, *http.Request) error { return nil }) // in place of the plugin's
		c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
			ctx, cancel := context.WithCancel(r.Context())
			t.Cleanup(cancel)
			r.SetContext(ctx)
			return nil
		})
		_, err := c.R().Get("/x")
		loopIs(t, err, errNo)
		loopEqual(t, "calls", *calls, 1)
	})
}

// L7: a context that ends with a success takes nothing from it.
func TestLoopCountsASuccessWhoseContextHasEndedAsOne(t *testing.T) {
	for name, status := range map[string]int{"200": 200, "204": 204} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			respond, _ := answers(status)
			c := mocked(respond)
			c.OnAfterResponse(func(*resty.Client, *resty.Response) error {
				cancel()
				return nil
			})
			var told loopRecord
			p := install(t, c, told.option)
			resp, err := c.R().SetContext(ctx).Get("/x")
			loopStatus(t, resp, err, status)
			told.wantDone(t, restyretry.ReasonSucceeded)
			loopEqual(t, "Stats().GivenUp", len(p.Stats().GivenUp), 0)
		})
	}
}

// The longest wait there is does not overflow to none.
func TestLoopNeverTakesTheLongestWaitForNone(t *testing.T) {
	for _, line := range []string{"9000000000", "9223372036", "99999999999999999999"} {
		synctest.Test(t, func(t *testing.T) {
			c := mocked(httpmock.NewStringResponder(503, "").HeaderSet(http.Header{"Retry-After": {line}}))
			p := install(t, c, func(o *restyretry.Options) { o.MaxServerWait = math.MaxInt64 })
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Hour, cancel)
			_, _ = c.R().SetContext(ctx).Get("/x")
			loopEqual(t, "attempts in an hour", p.Stats().Attempts, 1)
		})
	}
}

// L24
func TestLoopRetriesTheTimeoutOfTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, calls := loopHangs()
		c := mocked(respond).SetTimeout(5 * time.Second)
		install(t, c, constant(time.Second))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r := c.R().SetContext(ctx)
		start := time.Now()
		_, err := r.Get("/x")
		loopIs(t, err, context.DeadlineExceeded)
		loopEqual(t, "calls", calls.Load(), 3)
		loopEqual(t, "time", time.Since(start), 17*time.Second)
		loopEqual(t, "history", summary(restyretry.History(r)), "1 error, 2 error, 3 attempts")
	})
}

// L24
func TestLoopRetriesTheTimeoutOfTheClientOnTheWire(t *testing.T) {
	var hits atomic.Int32
	c := loopServer(t, func(_ http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		<-r.Context().Done()
	}).SetTimeout(15 * time.Millisecond)
	r := c.R()
	_, err := r.Get("/x")
	loopIs(t, err, context.DeadlineExceeded)
	loopEqual(t, "history", summary(restyretry.History(r)), "1 error, 2 error, 3 attempts")
}

// L25
func TestLoopLetsAPanicThroughAndClosesTheBooks(t *testing.T) {
	type options = restyretry.Options
	hook := func(h restyretry.Hooks) func(*options) {
		return func(o *options) { o.Hooks = append(o.Hooks, h) }
	}
	nothing := func(*resty.Client) {}
	tests := []struct {
		name   string
		client func(*resty.Client)
		option func(*options)
		calls  int
		number int
	}{
		{"OnAttempt", nothing, hook(restyretry.Hooks{OnAttempt: func(restyretry.Attempt) error { panic("boom") }}), 0, 1},
		{"OnAttempt before a retry", nothing, hook(restyretry.Hooks{OnAttempt: func(a restyretry.Attempt) error {
			if a.Number == 2 {
				panic("boom")
			}
			return nil
		}}), 1, 2},
		{"URL", nothing, func(o *options) {
			o.URL = restyretry.TargetFunc(func(restyretry.Attempt) (string, error) { panic("boom") })
		}, 0, 1},
		{"PreRequest", nothing, func(o *options) {
			o.PreRequest = func(*resty.Client, *http.Request) error { panic("boom") }
		}, 0, 1},
		{"RetryIf", nothing, func(o *options) {
			o.ServerErrors = false
			o.RetryIf = func(restyretry.Attempt) bool { panic("boom") }
		}, 1, 1},
		{"Unless", nothing, func(o *options) { o.Unless = func(restyretry.Attempt) bool { panic("boom") } }, 1, 1},
		{"Wait", nothing, func(o *options) { o.Wait = func(restyretry.Attempt) time.Duration { panic("boom") } }, 1, 1},
		{"OnRetry", nothing, hook(restyretry.Hooks{OnRetry: func(restyretry.Attempt) { panic("boom") }}), 1, 1},
		{"the client's condition", func(c *resty.Client) {
			c.AddRetryCondition(func(*resty.Response, error) bool { panic("boom") })
		}, func(o *options) { o.ServerErrors = false }, 1, 1},
		{"the client's retry hook", func(c *resty.Client) {
			c.AddRetryHook(func(*resty.Response, error) { panic("boom") })
		}, hook(restyretry.Hooks{}), 1, 1},
		{"the client's RetryAfter", func(c *resty.Client) {
			c.SetRetryAfter(func(*resty.Client, *resty.Response) (time.Duration, error) { panic("boom") })
		}, hook(restyretry.Hooks{}), 1, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				respond, calls := answers(503)
				c := mocked(respond)
				panics := 0
				c.OnPanic(func(*resty.Request, error) { panics++ })
				test.client(c)
				var told loopRecord
				p := install(t, c, told.option, test.option)
				r := c.R()
				loopEqual(t, "recovered", loopRecover(func() { _, _ = r.Get("/x") }), any("boom"))
				loopEqual(t, "OnPanic", panics, 1)
				told.wantDone(t, restyretry.ReasonPanic)
				last := told.done[0]
				loopEqual(t, "the last attempt", last.Number, test.number)
				loopEqual(t, "calls", *calls, test.calls)
				loopEqual(t, "Stats().GivenUp", p.Stats().GivenUp[restyretry.ReasonPanic], 1)
				loopEqual(t, "Stats().Attempts", int(p.Stats().Attempts), test.calls)
				if *calls == last.Number {
					loopEqual(t, "the last attempt's status", last.StatusCode(), 503)
				}
				c.OnBeforeRequest(func(*resty.Client, *resty.Request) error { return nil }) // no lock is held
				loopEqual(t, "context", r.Context(), context.Background())
			})
		})
	}
}

func loopRecover(f func()) (value any) {
	defer func() { value = recover() }()
	f()
	return nil
}

// L25
func TestLoopLetsAPanicOfOnDoneThroughOnce(t *testing.T) {
	for _, status := range []int{200, 404, 503} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				respond, _ := answers(status)
				c := mocked(respond)
				done := 0
				p := install(t, c, func(o *restyretry.Options) {
					o.Hooks = []restyretry.Hooks{{OnDone: func(restyretry.Attempt) {
						done++
						panic("boom")
					}}}
				})
				loopEqual(t, "recovered", loopRecover(func() { _, _ = c.R().Get("/x") }), any("boom"))
				loopEqual(t, "OnDone", done, 1)
				loopEqual(t, "Stats().Requests", p.Stats().Requests, 1)
			})
		})
	}
}

// L25
func TestLoopWorksAfterAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, calls := answers(503)
		c := mocked(respond)
		panicking := true
		install(t, c, func(o *restyretry.Options) {
			o.RetryIf = func(restyretry.Attempt) bool { return false }
			o.Wait = func(restyretry.Attempt) time.Duration {
				if panicking {
					panic("boom")
				}
				return time.Second
			}
		})
		r := c.R()
		loopRecover(func() { _, _ = r.Get("/x") })
		panicking = false
		resp, err := r.Get("/x")
		loopStatus(t, resp, err, 503)
		loopEqual(t, "calls", *calls, 1+3)
		loopEqual(t, "history", summary(restyretry.History(r)), "1 status, 2 status, 3 attempts")
	})
}

// loopLines is a logger of Resty's.
type loopLines []string

func (l *loopLines) Errorf(format string, v ...any) {
	*l = append(*l, "ERROR "+fmt.Sprintf(format, v...))
}

func (l *loopLines) Warnf(format string, v ...any) {
	*l = append(*l, "WARN "+fmt.Sprintf(format, v...))
}
func (l *loopLines) Debugf(string, ...any) {}

// L26: what Resty itself logs stays, and goes nowhere but to its SetLogger.
func TestLoopLogsEveryRetryOnceAndRedacted(t *testing.T) {
	busy, _ := answers(503)
	broken, _ := loopFails(io.EOF)
	tests := []struct {
		name    string
		respond httpmock.Responder
		resty   int
	}{
		{"statuses", busy, 0},
		{"transport errors", broken, 3 + 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var lines loopLines
				var log bytes.Buffer
				c := mocked(test.respond).SetLogger(&lines)
				install(t, c, func(o *restyretry.Options) {
					o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
				})
				_, _ = c.R().Get("/x?token=SECRET")
				loopEqual(t, "lines of Resty's", len(lines), test.resty)
				loopEqual(t, "retrying", strings.Count(log.String(), "level=DEBUG msg=retrying"), 2)
				loopEqual(t, "giving up", strings.Count(log.String(), `level=WARN msg="giving up"`), 1)
				loopEqual(t, "lines", strings.Count(log.String(), "\n"), 3)
				loopEqual(t, "redacted", strings.Contains(log.String(), "token=REDACTED"), true)
				loopEqual(t, "secret", strings.Contains(log.String(), "SECRET"), false)
			})
		})
	}
}

// L26
func TestLoopIsSilentByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		before := slog.Default()
		slog.SetDefault(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
		defer slog.SetDefault(before)
		var lines loopLines
		respond, _ := answers(503)
		c := mocked(respond).SetLogger(&lines)
		install(t, c)
		_, _ = c.R().Get("/x?token=SECRET")
		loopEqual(t, "log", log.String(), "")
		loopEqual(t, "Resty's log", strings.Join(lines, "\n"), "")
	})
}

// L27
func TestLoopNeverCopiesTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, _ := answers(503)
		c := mocked(respond)
		r := c.R()
		same := func(a restyretry.Attempt) { loopEqual(t, "request", a.Request, r) }
		install(t, c, func(o *restyretry.Options) {
			o.Hooks = []restyretry.Hooks{{
				OnAttempt: func(a restyretry.Attempt) error { same(a); return nil },
				OnRetry:   same, OnDone: same,
			}}
		})
		resp, err := r.Get("/x")
		loopStatus(t, resp, err, 503)
		loopEqual(t, "the response's request", resp.Request, r)
		for _, a := range restyretry.History(r) {
			same(a)
		}
	})
}

// L27: Resty appends the client's conditions to those of the request, whose
// slice has room to spare here.
func TestLoopAsksEachConditionOfARequestOncePerAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, calls := answers(503)
		c := mocked(respond)
		install(t, c)
		asked := 0
		count := func(*resty.Response, error) bool { asked++; return false }
		r := c.R()
		for range 5 {
			r.AddRetryCondition(count)
		}
		for i := range 2 {
			resp, err := r.Get("/x")
			loopStatus(t, resp, err, 503)
			loopEqual(t, "calls", *calls, 3*(i+1))
			loopEqual(t, "questions", asked, 3*5*(i+1))
		}
	})
}

// L28: Resty does not stop the timer of a wait that ends early. Nothing comes
// of it: the bubble would not end if a goroutine were left.
func TestLoopLeavesNothingBehindWhenAWaitEndsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, calls := answers(503)
		c := mocked(respond)
		var told loopRecord
		install(t, c, constant(time.Hour), told.option, func(o *restyretry.Options) { o.AttemptTimeout = time.Minute })
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		_, err := c.R().SetContext(ctx).Get("/x")
		loopIs(t, err, context.Canceled)
		loopEqual(t, "time", time.Since(start), time.Second)
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		loopEqual(t, "calls", *calls, 1)
		told.wantDone(t, restyretry.ReasonCancelled)
	})
}

// L29: net/http repeats a request by itself when a connection that it has kept
// is dead, where the key says that it may. The plugin cannot see that, and adds
// no key of its own.
func TestLoopCountsNotWhatTheTransportRepeats(t *testing.T) {
	tests := []struct {
		name, key, want string
		hits            int32
	}{
		{"with a key", "k-1", "1 succeeded", 3},
		{"without a key", "", "1 method", 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var hits atomic.Int32
			c := loopServer(t, func(w http.ResponseWriter, r *http.Request) {
				if hits.Add(1) == 1 {
					return
				}
				loopEqual(t, "the key", r.Header.Get("Idempotency-Key"), test.key)
				if hits.Load() == 2 {
					loopHangUp(w)
				}
			})
			resp, err := c.R().Get("/warm-up")
			loopStatus(t, resp, err, 200)
			r := c.R()
			if test.key != "" {
				r.SetHeader("Idempotency-Key", test.key)
			}
			_, err = r.Post("/x")
			loopEqual(t, "success", err == nil, test.key != "")
			loopEqual(t, "history", summary(restyretry.History(r)), test.want)
			loopEqual(t, "hits", hits.Load(), test.hits)
		})
	}
}
