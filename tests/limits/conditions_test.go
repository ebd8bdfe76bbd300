package limits

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

func always(*resty.Response, error) bool { return true }

// places are where a condition of the user's may stand.
var places = map[string]func(testing.TB, *harness.Client, resty.RetryConditionFunc, ...harness.Option) *resty.Request{
	"before Install": func(t testing.TB, c *harness.Client, f resty.RetryConditionFunc, opts ...harness.Option) *resty.Request {
		c.AddRetryCondition(f)
		return c.Install(t, opts...).R()
	},
	"after Install": func(t testing.TB, c *harness.Client, f resty.RetryConditionFunc, opts ...harness.Option) *resty.Request {
		c.Install(t, opts...).AddRetryCondition(f)
		return c.R()
	},
	"on the request": func(t testing.TB, c *harness.Client, f resty.RetryConditionFunc, opts ...harness.Option) *resty.Request {
		return c.Install(t, opts...).R().AddRetryCondition(f)
	},
	"RetryIf": func(t testing.TB, c *harness.Client, f resty.RetryConditionFunc, opts ...harness.Option) *resty.Request {
		return c.Install(t, append(opts, harness.RetryIf(func(a restyretry.Attempt) bool { return f(a.Response, a.Err) }))...).R()
	},
}

func TestAConditionAddsToTheDefaults(t *testing.T) {
	pending := func(resp *resty.Response, _ error) bool { return resp.StatusCode() == 202 }
	for place, put := range places {
		harness.Bubble(t, place, func(t *testing.T) {
			c, hooked := harness.Mock(harness.Statuses(202, 503, 202, 200)), 0
			c.AddRetryHook(func(*resty.Response, error) { hooked++ })
			r := put(t, c, pending, harness.Wait(time.Second), harness.Attempts(4))
			c.Do(t, r, "GET", "/x").Want(t, "202 condition 1s | 503 status 1s | 202 condition 1s | 200 succeeded")
			harness.Equal(t, "retry hook", hooked, 3)
		})
	}
}

// Whatever the condition says of a status or an error.
func TestNoConditionTakesFromTheDefaultsOrGoesBeyondTheLimits(t *testing.T) {
	for place, put := range places {
		for verdict, condition := range map[string]resty.RetryConditionFunc{
			"always": always, "never": func(*resty.Response, error) bool { return false },
		} {
			harness.Bubble(t, verdict+" "+place, func(t *testing.T) {
				c := harness.Mock(harness.Statuses(503))
				c.Do(t, put(t, c, condition, harness.Wait(time.Second)), "GET", "/x").Want(t, harness.UsedUp(3))
				c = harness.Mock(harness.Fails(io.EOF))
				c.Do(t, put(t, c, condition, harness.Wait(time.Second)), "GET", "/x").
					Want(t, "error error 1s | error error 1s | error attempts", io.EOF).WantStatus(t, 0)
				c = harness.Mock(harness.Statuses(503)) // a context that a middleware sets lifts nothing either
				r := put(t, c, condition, harness.Wait(time.Second))
				c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
					ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
					t.Cleanup(cancel)
					r.SetContext(ctx)
					return nil
				})
				c.Do(t, r, "GET", "/x").Want(t, harness.UsedUp(3))
			})
		}
	}
}

func TestTheLimitsHoldWhoeverAsksForARetry(t *testing.T) {
	for _, tt := range []struct {
		name, method, want string
		option             harness.Option
	}{
		{"attempts", "GET", "200 condition 1s | 200 condition 1s | 200 attempts", harness.Attempts(3)},
		{"off", "GET", "200 attempts", restyretry.Off},
		{"method", "POST", "200 method", harness.Attempts(3)},
		{"unless", "GET", "200 unless", func(o *restyretry.Options) { o.Unless = func(restyretry.Attempt) bool { return true } }},
		{"elapsed", "GET", "200 elapsed", harness.MaxElapsed(time.Millisecond)},
		{"elapsed later", "GET", "200 condition 1s | 200 elapsed", harness.MaxElapsed(1500 * time.Millisecond)},
		{"elapsed to the nanosecond", "GET", "200 condition 1s | 200 condition 1s | 200 attempts", harness.MaxElapsed(2 * time.Second)},
	} {
		for place, put := range places {
			harness.Bubble(t, tt.name+", "+place, func(t *testing.T) {
				c := harness.Mock(harness.Statuses(200))
				c.Do(t, put(t, c, always, harness.Wait(time.Second), tt.option), tt.method, "/x").Want(t, tt.want)
			})
		}
	}
}

func TestRestysConditionForErrorsWorksWithinTheLimits(t *testing.T) {
	for _, tt := range []struct {
		method, url, want string
		script            harness.Script
		errs              []error
	}{
		{"GET", "/x", "error error 1s | error error 1s | error attempts", harness.Fails(io.EOF), []error{io.EOF}},
		{"GET", "/x", "404 condition 1s | 404 condition 1s | 404 attempts", harness.Statuses(404), nil},
		{"POST", "/x", "404 method", harness.Statuses(404), nil},
		{"GET", "http://[::1", "unsent not-sent", nil, []error{harness.ErrAny}}, // where it would panic in Resty alone
	} {
		harness.Bubble(t, tt.method+" "+tt.want, func(t *testing.T) {
			c := harness.Mock(tt.script)
			c.AddRetryAfterErrorCondition()
			c.Install(t, harness.Wait(time.Second))
			c.Do(t, c.R(), tt.method, tt.url).Want(t, tt.want, tt.errs...)
		})
	}
}

// Resty appends the client's conditions to those of the request, whose slice has
// room to spare here.
func TestEachConditionOfARequestIsAskedOncePerAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, asked := harness.New(t, harness.Statuses(503)), 0
		r := c.R()
		for range 5 {
			r.AddRetryCondition(func(*resty.Response, error) bool { asked++; return false })
		}
		for i := range 2 {
			c.Do(t, r, "GET", "/x").Want(t, harness.UsedUp(3))
			harness.Equal(t, "questions", asked, 3*5*(i+1))
		}
	})
}

// The same error of the transport would be retried.
func TestASuccessThatOnAfterResponseRefusesIsNotRepeated(t *testing.T) {
	refuse := func(*resty.Client, *resty.Response) error { return io.ErrUnexpectedEOF }
	for name, length := range map[string]int64{"a body": 2, "none": 0, "an empty body whose length was not known": -1} {
		script := func(n int, r *http.Request) (*http.Response, error) {
			resp, err := harness.Says(200, "", strings.Repeat("x", max(int(length), 0)))(n, r)
			resp.ContentLength = length
			return resp, err
		}
		harness.Bubble(t, name, func(t *testing.T) {
			c := harness.New(t, script)
			c.OnAfterResponse(refuse)
			c.Get(t, "/x").Want(t, "200 not-retryable", io.ErrUnexpectedEOF)
		})
		if length < 0 {
			continue // it may have come from reading as well, for all that Resty says
		}
		harness.Bubble(t, name+", before Install", func(t *testing.T) {
			c := harness.Mock(script)
			c.OnAfterResponse(refuse)
			c.Install(t)
			c.Get(t, "/x").Want(t, "200 not-retryable", io.ErrUnexpectedEOF)
		})
	}
}

func TestARedirectThatAPolicyRefusesIsFinal(t *testing.T) {
	refused := errors.New("not there")
	c := harness.New(t, harness.Says(302, "Location: /elsewhere", "", "moved"))
	c.SetRedirectPolicy(resty.RedirectPolicyFunc(func(*http.Request, []*http.Request) error { return refused }))
	c.Get(t, "/x").Want(t, "302 not-retryable", refused)
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// Whatever else is known of the attempt when it is asked.
func TestAConditionIsAskedWhereverItStands(t *testing.T) {
	cut := func(n int, r *http.Request) (*http.Response, error) {
		resp, err := harness.Says(200)(n, r)
		resp.Body, resp.ContentLength = io.NopCloser(failing{}), -1
		return resp, err
	}
	noErrors := func(o *restyretry.Options) { o.Errors = nil }
	for _, tt := range []struct {
		name, url, status string
		script            harness.Script
		option            harness.Option
	}{
		{"an error to raise", "/x", "404", harness.Statuses(404), harness.RaiseForStatus},
		{"an error to redact", "/x?token=secret", "error", harness.Fails(io.ErrUnexpectedEOF), noErrors},
		{"a body that breaks off at once", "/x", "200", cut, noErrors},
	} {
		for place, put := range places {
			harness.Bubble(t, tt.name+", "+place, func(t *testing.T) {
				c := harness.Mock(tt.script)
				call := c.Do(t, put(t, c, always, harness.Wait(time.Second), tt.option), "GET", tt.url)
				harness.Equal(t, "story", harness.Story(call.History), strings.ReplaceAll("* condition 1s | * condition 1s | * attempts", "*", tt.status))
				harness.WantError(t, call.Err)
			})
		}
	}
}

// Resty marks it as one that it does not retry itself.
func TestTheErrorOfOnAfterResponseIsItsOwnWhoeverAsksForARetry(t *testing.T) {
	errNo := errors.New("no")
	for place, put := range places {
		harness.Bubble(t, place, func(t *testing.T) {
			c := harness.Mock(harness.Statuses(200))
			r := put(t, c, always, harness.Wait(time.Second))
			c.OnAfterResponse(func(*resty.Client, *resty.Response) error { return errNo })
			call := c.Do(t, r, "GET", "/x").Want(t, "200 condition 1s | 200 condition 1s | 200 attempts", errNo)
			for _, a := range call.History {
				harness.WantIs(t, a.Err, errNo)
			}
		})
	}
}

// A redirect that is refused is an error of its own to Transient, and to nobody else.
func TestAConditionGetsTheErrorThatRestyHas(t *testing.T) {
	for place, put := range places {
		harness.Bubble(t, place, func(t *testing.T) {
			c := harness.Mock(harness.Says(302, "Location: /y"))
			c.SetRedirectPolicy(resty.NoRedirectPolicy())
			c.Do(t, put(t, c, func(_ *resty.Response, err error) bool {
				if _, is := err.(*url.Error); !is {
					t.Errorf("got a %T, want a *url.Error", err)
				}
				return false
			}), "GET", "/x").Want(t, "302 not-retryable", harness.ErrAny)
		})
	}
}
