// Package aiohttp_retry is the test suite of Python's aiohttp_retry 2.9.1, case by
// case: tests/test_client.py and tests/test_retry_options.py. Tests have its names.
//
// What differs on purpose:
//   - there are neither coroutines nor context managers, and nothing to close;
//   - the nth wait is the nth of the series, where aiohttp_retry begins with the
//     second: 0.2 s for ExponentialRetry, and the first of a ListRetry is lost;
//   - only AiohttpRetry repeats POST and PATCH, the default of this package does
//     not;
//   - RetryIf returns true for "again", evaluate_response_callback for "good".
package aiohttp_retry

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

// app returns a new server that is that of the Python tests. It counts the calls
// of its handlers; an unknown path or method is none.
func app() harness.Script {
	calls := 0
	return func(n int, r *http.Request) (*http.Response, error) {
		says := func(status int, body string) (*http.Response, error) {
			return harness.Says(status, "", body)(n, r)
		}
		calls++
		switch r.Method + " " + r.URL.Path {
		case "GET /ping", "OPTIONS /options_handler", "HEAD /head_handler", "POST /post_handler", "PUT /put_handler",
			"PATCH /patch_handler", "DELETE /delete_handler":
			return says(200, "Ok!")
		case "GET /internal_error", "POST /internal_error":
			return says(500, "internal error")
		case "GET /not_found_error":
			return says(404, "not found")
		case "GET /sometimes_error":
			if calls < 3 {
				return says(500, "internal error")
			}
			return says(200, "Ok!")
		case "GET /sometimes_json":
			if calls < 3 {
				return says(200, "Ok!")
			}
			return says(200, `{"status": "Ok!"}`)
		case "GET /check_headers":
			if r.Header.Get("correct_headers") != "True" {
				return says(406, "not acceptable")
			}
			return says(200, "Ok!")
		case "GET /with_auth":
			if user, password, _ := r.BasicAuth(); user != "username" || password != "password" {
				return says(403, "incorrect auth")
			}
			return says(200, "Ok!")
		}
		calls--
		return says(405, "no such method")
	}
}

// client has the defaults of aiohttp_retry, changed by opts.
func client(t *testing.T, opts ...harness.Option) *harness.Client {
	t.Helper()
	return harness.New(t, app(), append([]harness.Option{restyretry.AiohttpRetry}, opts...)...)
}

// want compares a history. Whatever has succeeded says "Ok!".
func want(t *testing.T, call *harness.Call, story string, errs ...error) {
	t.Helper()
	call.Want(t, story, errs...)
	if strings.HasSuffix(story, "succeeded") && !strings.Contains(call.Response.String(), "Ok!") {
		t.Errorf("got %q, want Ok!", call.Response)
	}
}

func statuses(list ...int) harness.Option {
	return func(o *restyretry.Options) { o.Statuses = list }
}

func noServerErrors(o *restyretry.Options) { o.ServerErrors = false }

// with returns a request with options of its own.
func with(c *harness.Client, opts ...harness.Option) *resty.Request {
	return c.R().SetContext(restyretry.With(context.Background(), opts...))
}

const (
	ok        = "200 succeeded"
	sometimes = "500 status 100ms | 500 status 200ms | 200 succeeded"
	five      = "500 status 100ms | 500 status 200ms | 500 status 400ms | 500 status 800ms | 500 attempts"
)

func notFound(reason string) string {
	return strings.NewReplacer("500", "404", "attempts", reason).Replace(five)
}

// A successful request is sent once, whatever way it is written.
func Test_hello(t *testing.T) {
	for name, send := range map[string]func(r *resty.Request) (*resty.Response, error){
		"hello": func(r *resty.Request) (*resty.Response, error) { return r.Get("/ping") },
		"hello_by_request": func(r *resty.Request) (*resty.Response, error) {
			r.Method, r.URL = http.MethodGet, "/ping"
			return r.Send()
		},
		// Theirs is a context manager, which closes the client; what a request has in
		// Go is a context.
		"hello_with_context": func(r *resty.Request) (*resty.Response, error) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			return r.SetContext(ctx).Get("/ping")
		},
		// Theirs awaits the request instead of entering it.
		"hello_awaitable": func(r *resty.Request) (resp *resty.Response, err error) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				resp, err = r.Get("/ping")
			}()
			<-done
			return resp, err
		},
		"request": func(r *resty.Request) (*resty.Response, error) { return r.Execute(http.MethodGet, "/ping") },
		// Resty takes a URL as text only.
		"url_as_yarl": func(r *resty.Request) (*resty.Response, error) { return r.Get((&url.URL{Path: "/ping"}).String()) },
	} {
		harness.Bubble(t, name, func(t *testing.T) {
			c := client(t)
			r := c.R()
			if resp, err := send(r); err != nil || resp.String() != "Ok!" || len(c.Sent()) != 1 {
				t.Errorf("got %v, %v, %d requests; want Ok! and one", resp, err, len(c.Sent()))
			}
		})
	}
}

// What is retried, how often, and how long that takes. The options are those of a
// request.
func Test_retries(t *testing.T) {
	list := func(waits ...time.Duration) harness.Option { // as many attempts as waits, of which the last is never waited
		return func(o *restyretry.Options) { o.Attempts, o.Wait = len(waits), restyretry.List(waits...) }
	}
	always := func(restyretry.Attempt) bool { return true }
	notJSON := func(a restyretry.Attempt) bool { return !json.Valid(a.Response.Body()) }
	for _, tt := range []struct {
		name, path string
		opts       []harness.Option
		want       string
	}{
		{"internal_error", "/internal_error", []harness.Option{harness.Attempts(5)}, five},
		{"not_found_error", "/not_found_error", []harness.Option{harness.Attempts(5), statuses(404)}, notFound("attempts")},
		{"sometimes_error", "/sometimes_error", []harness.Option{harness.Attempts(5)}, sometimes},
		{"not_retry_server_errors", "/internal_error", []harness.Option{noServerErrors}, "500 not-retryable"},
		{"list_retry_works_for_multiple_attempts", "/internal_error", []harness.Option{list(0, 0, 0)}, "500 status | 500 status | 500 attempts"},
		{
			"list_retry_all_failed", "/with_auth",
			[]harness.Option{list(time.Second, time.Second, time.Second), statuses(403), harness.RetryIf(always)},
			"403 status 1s | 403 status 1s | 403 attempts",
		},
		{"dont_retry_if_not_in_retry_methods, all methods", "/internal_error", nil, "500 status 100ms | 500 status 200ms | 500 attempts"},
		{"dont_retry_if_not_in_retry_methods, POST only", "/internal_error", []harness.Option{harness.Methods("POST")}, "500 method"},
		{
			"evaluate_response_callback", "/sometimes_json",
			[]harness.Option{harness.Attempts(5), harness.RetryIf(notJSON)},
			"200 condition 100ms | 200 condition 200ms | 200 succeeded",
		},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			c := client(t)
			want(t, c.Do(t, with(c, tt.opts...), "GET", tt.path), tt.want)
		})
	}
}

// The other half of test_dont_retry_if_not_in_retry_methods: aiohttp_retry repeats
// POST, this package does not.
func Test_retry_POST(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t)
		want(t, c.Do(t, c.R(), "POST", "/internal_error"), "500 status 100ms | 500 status 200ms | 500 attempts")
		c = harness.New(t, app())
		want(t, c.Do(t, c.R(), "POST", "/internal_error"), "500 method")
	})
}

// Theirs has the session raise and retries the exception. In Go three things can
// raise: a transport, whose errors Errors judges; a middleware of Resty's, whose
// errors come after the response and so are for RetryIf; and RaiseForStatus, which
// looks at the last response only, as raise_for_status of RetryClient does.
func Test_sometimes_error_with_raise_for_status(t *testing.T) {
	errRaised := errors.New("the session raises")
	isRaised := func(err error) bool { return errors.Is(err, errRaised) }
	for name, tt := range map[string]struct {
		raise func(*harness.Client)
		opt   harness.Option
		want  string
	}{
		"the transport raises": {func(c *harness.Client) {
			onward := c.GetClient().Transport
			c.SetTransport(harness.RoundTrip(func(r *http.Request) (*http.Response, error) {
				resp, err := onward.RoundTrip(r)
				if err == nil && resp.StatusCode >= 400 {
					return nil, errRaised
				}
				return resp, err
			}))
		}, func(o *restyretry.Options) { o.ServerErrors, o.Errors = false, isRaised }, "error error 100ms | error error 200ms | 200 succeeded"},
		"a middleware raises": {func(c *harness.Client) {
			c.OnAfterResponse(func(_ *resty.Client, resp *resty.Response) error {
				if resp.IsError() {
					return errRaised
				}
				return nil
			})
		}, func(o *restyretry.Options) {
			o.ServerErrors, o.RetryIf = false, func(a restyretry.Attempt) bool { return isRaised(a.Err) }
		}, "500 condition 100ms | 500 condition 200ms | 200 succeeded"},
		"RaiseForStatus": {func(*harness.Client) {}, harness.RaiseForStatus, sometimes},
	} {
		harness.Bubble(t, name, func(t *testing.T) {
			c := client(t, harness.Attempts(5), tt.opt)
			tt.raise(c)
			want(t, c.Get(t, "/sometimes_error"), tt.want)
		})
	}
}

// Here the response comes with the error.
func Test_not_found_error_with_retry_client_raise_for_status(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, harness.RaiseForStatus, harness.Attempts(5), statuses(404))
		override := with(c, func(o *restyretry.Options) { o.RaiseForStatus = false })
		want(t, c.Do(t, override, "GET", "/not_found_error"), notFound("attempts"))

		call := c.Get(t, "/not_found_error").WantStatus(t, 404)
		want(t, call, notFound("attempts"), harness.ErrAny)
		if raised := new(restyretry.StatusError); !errors.As(call.Err, &raised) || raised.StatusCode != 404 || raised.Attempts != 5 {
			t.Errorf("got %v, want a *StatusError of a 404 after 5 attempts", call.Err)
		}
	})
}

func Test_override_options(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, harness.Attempts(1))
		want(t, c.Do(t, with(c, harness.Attempts(5)), "GET", "/sometimes_error"), sometimes)
	})
}

// Theirs assigns to the options of the client; ours goes through Update, so that
// requests may run meanwhile.
func Test_change_client_retry_options(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, harness.Attempts(5))
		want(t, c.Get(t, "/sometimes_error"), sometimes)
		if err := c.Plugin.Update(harness.Attempts(2)); err != nil {
			t.Fatal(err)
		}
		want(t, c.Get(t, "/internal_error"), "500 status 100ms | 500 attempts")
	})
}

// Theirs makes a ClientSession if it is given none; ours is always told which
// client, and says so.
func Test_implicit_client(t *testing.T) {
	_, err := restyretry.Install(nil)
	harness.WantError(t, err, "client")
}

// The dictionary of a request is its context here: it keeps the caller's own
// values, and Number is current_attempt.
func Test_add_trace_request_ctx(t *testing.T) {
	type fooKey struct{}
	synctest.Test(t, func(t *testing.T) {
		c := client(t)
		call := c.Do(t, c.R().SetContext(context.WithValue(t.Context(), fooKey{}, "bar")), "GET", "/sometimes_error")
		want(t, call, sometimes)
		for i, s := range call.Sent {
			ctx := s.Request.Context()
			if foo := ctx.Value(fooKey{}); foo != "bar" || restyretry.Number(ctx) != i+1 {
				t.Errorf("attempt %d: got %v and number %d", i+1, foo, restyretry.Number(ctx))
			}
		}
	})
}

// Lists and tuples are slices alike, which may be spelled out or passed along.
func Test_change_urls_in_request(t *testing.T) {
	list := []string{"/internal_error", "/ping"}
	for name, target := range map[string]restyretry.Target{
		"change_urls_in_request":          restyretry.URLs("/internal_error", "/ping"),
		"change_urls_as_tuple_in_request": restyretry.URLs(list...),
	} {
		for _, attempts := range []int{2, 3} {
			harness.Bubble(t, name, func(t *testing.T) {
				c := client(t, harness.Attempts(attempts))
				want(t, c.Do(t, with(c, harness.URL(target)), "GET", ""), "500 status 100ms | 200 succeeded")
			})
		}
	}
}

// An empty list is an error, before anything is sent. Their other bad value is a
// set, whose order is undefined; the compiler takes only slices here.
func Test_pass_bad_urls(t *testing.T) {
	bad := harness.URL(restyretry.URLs())
	c := client(t)
	_, err := restyretry.Install(resty.New(), bad)
	for _, err := range []error{err, c.Plugin.Update(bad), c.Do(t, with(c, bad), "GET", "/ping").Err} {
		harness.WantError(t, err, "URL")
	}
	harness.Equal(t, "requests", len(c.Sent()), 0)
}

func Test_methods(t *testing.T) {
	for _, method := range []string{"OPTIONS", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
		harness.Bubble(t, method, func(t *testing.T) {
			c := client(t)
			c.Do(t, c.R(), method, "/"+strings.ToLower(method)+"_handler").Want(t, ok)
		})
	}
}

// A request may differ from attempt to attempt. aiohttp_retry takes a list for
// that, RetryClient.requests; ours is a hook, which can do the same.
func Test_requests(t *testing.T) {
	type params struct {
		method, url string
		headers     map[string]string
	}
	requests := func(list ...params) harness.Option {
		return harness.OnAttempt(func(a restyretry.Attempt) error {
			p := list[min(a.Number, len(list))-1]
			a.Request.Method, a.Request.URL = p.method, p.url
			a.Request.SetHeaders(p.headers)
			return nil
		})
	}
	byMethod := requests(params{"POST", "/ping", nil}, params{"GET", "/ping", nil})
	for _, tt := range []struct {
		name string
		c    *harness.Client
		want string
	}{
		{"multiply_urls_by_requests", client(t, requests(params{"GET", "/internal_error", nil}, params{"GET", "/ping", nil})), "500 status 100ms | 200 succeeded"},
		{"multiply_methods_by_requests", client(t, statuses(405), byMethod), "405 status 100ms | 200 succeeded"},
		// What was sent as POST is not sent again, whatever method the next would have.
		{"multiply_methods_by_requests, without the preset", harness.New(t, app(), statuses(405), byMethod), "405 method"},
		{"change_headers", client(t, statuses(406), requests(
			params{"GET", "/check_headers", nil}, params{"GET", "/check_headers", map[string]string{"correct_headers": "True"}},
		)), "406 status 100ms | 200 succeeded"},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) { want(t, tt.c.Get(t, ""), tt.want) })
	}
}

// What a request carries arrives.
func Test_additional_params_and_request_headers(t *testing.T) {
	c := client(t)
	want(t, c.Do(t, c.R().SetBasicAuth("username", "password"), "GET", "/with_auth"), ok)
	want(t, c.Do(t, c.R().SetHeader("correct_headers", "True"), "GET", "/check_headers"), ok)
}

func seconds(list ...float64) []time.Duration {
	var durations []time.Duration
	for _, s := range list {
		durations = append(durations, time.Duration(s*float64(time.Second)).Round(time.Millisecond))
	}
	return durations
}

// waits is what a request that always fails waits if the random numbers are these.
func waits(t *testing.T, strategy restyretry.Strategy, numbers ...float64) (list []time.Duration) {
	t.Helper()
	harness.Bubble(t, "waits", func(t *testing.T) {
		c := client(t, harness.Attempts(len(numbers)+1), func(o *restyretry.Options) {
			o.Wait = strategy
			o.Rand = func() (u float64) {
				u, numbers = numbers[0], numbers[1:]
				return u
			}
		})
		for _, a := range c.Get(t, "/internal_error").History {
			list = append(list, a.Wait)
		}
	})
	return list[:len(list)-1]
}

func Test_strategies(t *testing.T) {
	list := seconds(1.2, 2.1, 3.4, 4.3, 4.5, 5.4, 5.6, 6.5, 6.7, 7.6)
	for _, tt := range []struct {
		name     string
		strategy restyretry.Strategy
		want     []time.Duration
	}{
		{"exponential_retry", restyretry.Exponential(100*time.Millisecond, 30*time.Second), seconds(0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30)},
		{"list_retry", restyretry.List(list...), list},
		// FibonacciRetry begins with twice the unit, 4 6 10 …, and goes on from there
		// with the next request, since all share one sequence.
		{"fibonacci_retry", restyretry.Fibonacci(2*time.Second, 60*time.Second), seconds(2, 4, 6, 10, 16, 26, 42, 60, 60, 60)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 2 { // a strategy has no memory
				if got := waits(t, tt.strategy, make([]float64, len(tt.want))...); !slices.Equal(got, tt.want) {
					t.Errorf("got %v, want %v", got, tt.want)
				}
			}
		})
	}
}

// The first ten numbers of Python's random.Random(0).
func Test_random_retry(t *testing.T) {
	got := waits(t, restyretry.Random(100*time.Millisecond, 3*time.Second),
		0.8444218515250481, 0.7579544029403025, 0.420571580830845, 0.25891675029296335, 0.5112747213686085,
		0.4049341374504143, 0.7837985890347726, 0.30331272607892745, 0.4765969541523558, 0.5833820394550312)
	for i := range got {
		got[i] = got[i].Round(10 * time.Millisecond)
	}
	if want := seconds(2.55, 2.3, 1.32, 0.85, 1.58, 1.27, 2.37, 0.98, 1.48, 1.79); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// JitterRetry adds (2·u)² s to the exponential wait, which takes the last one above
// its own maximum of 30 s. Ours adds u·extra, and the limit is one: so it gets the
// squares of Python's numbers after random.seed(10), and the last wait is 30 s, not
// 30.4.
func Test_jitter_retry(t *testing.T) {
	const limit = 30 * time.Second
	numbers := []float64{
		0.5714025946899135, 0.4288890546751146, 0.5780913011344704, 0.20609823213950174, 0.81332125135732,
		0.8235888725334455, 0.6534725339011758, 0.16022955651881965, 0.5206693596399246, 0.32777281162209315,
	}
	for i, u := range numbers {
		numbers[i] = u * u
	}
	got := waits(t, restyretry.AddJitter(restyretry.Exponential(100*time.Millisecond, limit), 4*time.Second, limit), numbers...)
	for i, want := range seconds(1.4, 0.9, 1.7, 0.9, 4.2, 5.9, 8.1, 12.9, 26.6, 30) {
		if off := (got[i] - want).Abs(); off >= 100*time.Millisecond || got[i] > limit {
			t.Errorf("wait %d: got %v, want %v give or take 100ms, at most %v", i+1, got[i], want, limit)
		}
	}
}
