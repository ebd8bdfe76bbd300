package restyretry_test

// The test suite of Python's aiohttp_retry (tests/test_client.py and
// tests/test_retry_options.py), case by case. The comment above a test, or the
// name of its subtest, is the name of the Python test.
//
// What differs on purpose, here and there:
//   - there are neither coroutines nor context managers, and nothing to close;
//   - the nth wait is the nth of the series, where aiohttp_retry begins with the
//     second: 0.2 s for ExponentialRetry, and the first of a ListRetry is lost;
//   - only AiohttpRetry repeats POST and PATCH, the default of this package does
//     not;
//   - RetryIf returns true for "again", evaluate_response_callback for "good".

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
	"github.com/jarcoal/httpmock"
	"github.com/restyretry/restyretry"
)

// A pyOption is an option. All helpers of this file begin with py.
type pyOption = func(*restyretry.Options)

// A pyApp is the server that the Python tests talk to.
type pyApp struct {
	counter int // calls of a handler; an unknown path or method is not one
}

type pyHandler func(*http.Request) (status int, body string)

func (a *pyApp) routes() map[string]pyHandler {
	return map[string]pyHandler{
		"GET /ping":                a.ping,
		"GET /internal_error":      a.internalError,
		"GET /not_found_error":     a.notFoundError,
		"GET /sometimes_error":     a.sometimesError,
		"GET /sometimes_json":      a.sometimesJSON,
		"GET /check_headers":       a.checkHeaders,
		"GET /with_auth":           a.withAuth,
		"OPTIONS /options_handler": a.ping,
		"HEAD /head_handler":       a.ping,
		"POST /post_handler":       a.ping,
		"PUT /put_handler":         a.ping,
		"PATCH /patch_handler":     a.ping,
		"DELETE /delete_handler":   a.ping,
		"POST /internal_error":     a.internalError,
	}
}

func (a *pyApp) ping(*http.Request) (int, string)          { return 200, "Ok!" }
func (a *pyApp) internalError(*http.Request) (int, string) { return 500, "internal error" }
func (a *pyApp) notFoundError(*http.Request) (int, string) { return 404, "not found" }

func (a *pyApp) sometimesError(*http.Request) (int, string) {
	if a.counter != 3 {
		return 500, "internal error"
	}
	return 200, "Ok!"
}

func (a *pyApp) sometimesJSON(*http.Request) (int, string) {
	if a.counter != 3 {
		return 200, "Ok!"
	}
	return 200, `{"status": "Ok!"}`
}

func (a *pyApp) checkHeaders(r *http.Request) (int, string) {
	if r.Header.Get("correct_headers") != "True" {
		return 406, "not acceptable"
	}
	return 200, "Ok!"
}

func (a *pyApp) withAuth(r *http.Request) (int, string) {
	if user, password, _ := r.BasicAuth(); user != "username" || password != "password" {
		return 403, "incorrect auth"
	}
	return 200, "Ok!"
}

// serve routes a request as aiohttp.web does.
func (a *pyApp) serve(r *http.Request) (*http.Response, error) {
	status, body := 404, "no such path"
	for route, handle := range a.routes() {
		method, path, _ := strings.Cut(route, " ")
		switch {
		case path != r.URL.Path:
		case method != r.Method:
			status, body = 405, "no such method"
		default:
			a.counter++
			status, body = handle(r)
			return pyAnswer(r, status, body), nil
		}
	}
	return pyAnswer(r, status, body), nil
}

func pyAnswer(r *http.Request, status int, body string) *http.Response {
	resp := httpmock.NewStringResponse(status, body)
	resp.Request = r
	return resp
}

// pyClient returns a new app and a client of it that has the defaults of
// aiohttp_retry, changed by opts.
func pyClient(t *testing.T, opts ...pyOption) (*pyApp, *resty.Client, *restyretry.Plugin) {
	t.Helper()
	app := new(pyApp)
	c := mocked(app.serve)
	return app, c, install(t, c, append([]pyOption{restyretry.AiohttpRetry}, opts...)...)
}

func pyAttempts(n int) pyOption {
	return func(o *restyretry.Options) { o.Attempts = n }
}

func pyStatuses(list ...int) pyOption {
	return func(o *restyretry.Options) { o.Statuses = list }
}

func pyMethods(list ...string) pyOption {
	return func(o *restyretry.Options) { o.Methods = list }
}

func pyURL(target restyretry.Target) pyOption {
	return func(o *restyretry.Options) { o.URL = target }
}

func pyRaiseForStatus(raise bool) pyOption {
	return func(o *restyretry.Options) { o.RaiseForStatus = raise }
}

func pyRetryIf(again func(restyretry.Attempt) bool) pyOption {
	return func(o *restyretry.Options) { o.RetryIf = again }
}

func pyNoServerErrors(o *restyretry.Options) { o.ServerErrors = false }

// pyListRetry is ListRetry, whose attempts are as many as its waits. The last of
// them is never waited, because nothing follows it.
func pyListRetry(waits ...time.Duration) pyOption {
	return func(o *restyretry.Options) {
		o.Attempts, o.Wait = len(waits), restyretry.List(waits...)
	}
}

// A pyRequestParams is what one attempt of pyRequests is sent as.
type pyRequestParams struct {
	method, url string
	headers     map[string]string
}

// pyRequests is RetryClient.requests: the nth attempt goes out as the nth of the
// list, and the last one repeats.
func pyRequests(list ...pyRequestParams) pyOption {
	onAttempt := func(a restyretry.Attempt) error {
		params := list[min(a.Number, len(list))-1]
		a.Request.Method, a.Request.URL = params.method, params.url
		a.Request.SetHeaders(params.headers)
		return nil
	}
	return func(o *restyretry.Options) {
		o.Hooks = append(o.Hooks, restyretry.Hooks{OnAttempt: onAttempt})
	}
}

// A pyOutcome is what the Python tests look at.
type pyOutcome struct {
	status int
	body   string // "" for any
	calls  int
}

func (want pyOutcome) check(t *testing.T, app *pyApp, resp *resty.Response, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("got error %v, want none", err)
	}
	if got := resp.StatusCode(); got != want.status {
		t.Errorf("got status %d, want %d", got, want.status)
	}
	if got := resp.String(); want.body != "" && got != want.body {
		t.Errorf("got body %q, want %q", got, want.body)
	}
	if app.counter != want.calls {
		t.Errorf("got %d calls, want %d", app.counter, want.calls)
	}
}

// A successful request is sent once, whatever way it is written.
func TestAiohttpHello(t *testing.T) {
	tests := []struct {
		name string
		send func(*resty.Client) (*resty.Response, error)
	}{
		{"test_hello", func(c *resty.Client) (*resty.Response, error) {
			return c.R().Get("/ping")
		}},
		{"test_hello_by_request", func(c *resty.Client) (*resty.Response, error) {
			r := c.R()
			r.Method, r.URL = http.MethodGet, "/ping"
			return r.Send()
		}},
		// Theirs is a context manager, which closes the client; what a request
		// has in Go is a context.
		{"test_hello_with_context", func(c *resty.Client) (*resty.Response, error) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			return c.R().SetContext(ctx).Get("/ping")
		}},
		// Theirs awaits the request instead of entering it; here there is one
		// way, which blocks, and a goroutine for who does not want that.
		{"test_hello_awaitable", func(c *resty.Client) (resp *resty.Response, err error) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				resp, err = c.R().Get("/ping")
			}()
			<-done
			return resp, err
		}},
		{"test_request", func(c *resty.Client) (*resty.Response, error) {
			return c.R().Execute(http.MethodGet, "/ping")
		}},
		// Resty takes a URL as text only.
		{"test_url_as_yarl", func(c *resty.Client) (*resty.Response, error) {
			u := &url.URL{Path: "/ping"}
			return c.R().Get(u.String())
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				app, c, _ := pyClient(t)
				resp, err := test.send(c)
				pyOutcome{status: 200, body: "Ok!", calls: 1}.check(t, app, resp, err)
			})
		})
	}
}

// What is retried, how often, and how long that takes. The options are those of
// one request.
func TestAiohttpRetries(t *testing.T) {
	const second = time.Second
	notJSON := func(a restyretry.Attempt) bool { return !json.Valid(a.Response.Body()) }
	always := func(restyretry.Attempt) bool { return true }
	tests := []struct {
		name   string
		path   string
		opts   []pyOption
		want   pyOutcome
		waited time.Duration
	}{
		{
			"test_internal_error", "/internal_error",
			[]pyOption{pyAttempts(5)},
			pyOutcome{500, "", 5},
			1500 * time.Millisecond, // 0.1 0.2 0.4 0.8
		},
		{
			"test_not_found_error", "/not_found_error",
			[]pyOption{pyAttempts(5), pyStatuses(404)},
			pyOutcome{404, "", 5},
			1500 * time.Millisecond,
		},
		{
			"test_sometimes_error", "/sometimes_error",
			[]pyOption{pyAttempts(5)},
			pyOutcome{200, "Ok!", 3},
			300 * time.Millisecond,
		},
		{
			"test_not_retry_server_errors", "/internal_error",
			[]pyOption{pyNoServerErrors},
			pyOutcome{500, "", 1},
			0,
		},
		{
			"test_list_retry_works_for_multiple_attempts", "/internal_error",
			[]pyOption{pyListRetry(0, 0, 0)},
			pyOutcome{500, "", 3},
			2 * time.Nanosecond, // Resty knows no shorter wait
		},
		{
			"test_list_retry_all_failed", "/with_auth",
			[]pyOption{pyListRetry(second, second, second), pyStatuses(403), pyRetryIf(always)},
			pyOutcome{403, "incorrect auth", 3},
			2 * second,
		},
		{
			"test_dont_retry_if_not_in_retry_methods, all methods", "/internal_error",
			nil,
			pyOutcome{500, "", 3},
			300 * time.Millisecond,
		},
		{
			"test_dont_retry_if_not_in_retry_methods, POST only", "/internal_error",
			[]pyOption{pyMethods(http.MethodPost)},
			pyOutcome{500, "", 1},
			0,
		},
		{
			"test_evaluate_response_callback", "/sometimes_json",
			[]pyOption{pyAttempts(5), pyRetryIf(notJSON)},
			pyOutcome{200, `{"status": "Ok!"}`, 3},
			300 * time.Millisecond,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				app, c, _ := pyClient(t)
				start := time.Now()
				ctx := restyretry.With(context.Background(), test.opts...)
				resp, err := c.R().SetContext(ctx).Get(test.path)
				test.want.check(t, app, resp, err)
				if got := time.Since(start); got != test.waited {
					t.Errorf("waited %v, want %v", got, test.waited)
				}
			})
		})
	}
}

// test_dont_retry_if_not_in_retry_methods tries GET; this is the other half of
// the method rule: POST is repeated by aiohttp_retry, not by this package.
func TestAiohttpRepeatsPostAndTheDefaultDoesNot(t *testing.T) {
	tests := []struct {
		name string
		opts []pyOption
		want pyOutcome
	}{
		{"the preset", []pyOption{restyretry.AiohttpRetry}, pyOutcome{500, "", 3}},
		{"the default", nil, pyOutcome{500, "", 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				app := new(pyApp)
				c := mocked(app.serve)
				install(t, c, test.opts...)
				resp, err := c.R().Post("/internal_error")
				test.want.check(t, app, resp, err)
			})
		})
	}
}

// pyRaising makes errors of statuses from 400 on, as a ClientSession does
// with raise_for_status.
type pyRaising struct{ http.RoundTripper }

var errPyRaised = errors.New("the session raises")

func (r pyRaising) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.RoundTripper.RoundTrip(req)
	if err == nil && resp.StatusCode >= 400 {
		return nil, errPyRaised
	}
	return resp, err
}

func isPyRaised(err error) bool { return errors.Is(err, errPyRaised) }

// test_sometimes_error_with_raise_for_status. Theirs has the session raise and
// retries the exception. In Go three things can raise: a transport, whose
// errors Errors judges; a middleware of Resty's, whose errors come after the
// response and so are for RetryIf; and RaiseForStatus, which looks at the last
// response only, as raise_for_status of RetryClient does.
func TestAiohttpSometimesErrorWithRaiseForStatus(t *testing.T) {
	tests := []struct {
		name  string
		raise func(*resty.Client)
		opt   pyOption
	}{
		{
			"the transport raises",
			func(c *resty.Client) { c.SetTransport(pyRaising{c.GetClient().Transport}) },
			func(o *restyretry.Options) { o.ServerErrors, o.Errors = false, isPyRaised },
		},
		{
			"a middleware raises",
			func(c *resty.Client) {
				c.OnAfterResponse(func(_ *resty.Client, resp *resty.Response) error {
					if resp.IsError() {
						return errPyRaised
					}
					return nil
				})
			},
			func(o *restyretry.Options) {
				o.ServerErrors, o.RetryIf = false, func(a restyretry.Attempt) bool { return isPyRaised(a.Err) }
			},
		},
		{"RaiseForStatus", func(*resty.Client) {}, pyRaiseForStatus(true)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				app, c, _ := pyClient(t, pyAttempts(5), test.opt)
				test.raise(c)
				resp, err := c.R().Get("/sometimes_error")
				pyOutcome{status: 200, body: "Ok!", calls: 3}.check(t, app, resp, err)
			})
		})
	}
}

// test_not_found_error_with_retry_client_raise_for_status. Here the response
// comes with the error.
func TestAiohttpNotFoundErrorWithRetryClientRaiseForStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app, c, _ := pyClient(t, pyRaiseForStatus(true), pyAttempts(5), pyStatuses(404))

		override := restyretry.With(context.Background(), pyRaiseForStatus(false))
		resp, err := c.R().SetContext(override).Get("/not_found_error")
		pyOutcome{status: 404, calls: 5}.check(t, app, resp, err)

		app.counter = 0
		resp, err = c.R().Get("/not_found_error")
		var raised *restyretry.StatusError
		if !errors.As(err, &raised) {
			t.Fatalf("got error %v, want a *StatusError", err)
		}
		if raised.StatusCode != 404 || raised.Attempts != 5 {
			t.Errorf("got status %d after %d attempts, want 404 after 5", raised.StatusCode, raised.Attempts)
		}
		pyOutcome{status: 404, body: "not found", calls: 5}.check(t, app, resp, nil)
	})
}

// test_override_options
func TestAiohttpOverrideOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app, c, _ := pyClient(t, pyAttempts(1))
		ctx := restyretry.With(context.Background(), pyAttempts(5))
		resp, err := c.R().SetContext(ctx).Get("/sometimes_error")
		pyOutcome{status: 200, body: "Ok!", calls: 3}.check(t, app, resp, err)
	})
}

// test_change_client_retry_options. Theirs assigns to the options of the
// client; ours goes through Update, so that requests may run meanwhile.
func TestAiohttpChangeClientRetryOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app, c, plugin := pyClient(t, pyAttempts(5))
		resp, err := c.R().Get("/sometimes_error")
		pyOutcome{status: 200, body: "Ok!", calls: 3}.check(t, app, resp, err)

		app.counter = 0
		if err := plugin.Update(pyAttempts(2)); err != nil {
			t.Fatalf("Update: %v", err)
		}
		resp, err = c.R().Get("/sometimes_error")
		pyOutcome{status: 500, calls: 2}.check(t, app, resp, err)
	})
}

// test_implicit_client. Theirs makes a ClientSession if it is given none; ours
// is always told which client, and says so.
func TestAiohttpImplicitClient(t *testing.T) {
	t.Run("no client is an error", func(t *testing.T) {
		if _, err := restyretry.Install(nil); err == nil {
			t.Error("got no error from Install(nil)")
		}
	})
	t.Run("a new client will do", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			app := new(pyApp)
			c := resty.New()
			install(t, c, restyretry.AiohttpRetry)
			c.SetTransport(mocked(app.serve).GetClient().Transport)
			resp, err := c.R().Get("http://api.test/ping")
			pyOutcome{status: 200, body: "Ok!", calls: 1}.check(t, app, resp, err)
		})
	})
}

// test_add_trace_request_ctx. The dictionary of a request is its context here:
// it keeps the caller's own values, and Number is current_attempt.
func TestAiohttpAddTraceRequestCtx(t *testing.T) {
	type fooKey struct{}
	type traced struct {
		foo            any
		currentAttempt int
	}
	synctest.Test(t, func(t *testing.T) {
		app := new(pyApp)
		var got []traced
		c := mocked(func(r *http.Request) (*http.Response, error) {
			got = append(got, traced{r.Context().Value(fooKey{}), restyretry.Number(r.Context())})
			return app.serve(r)
		})
		install(t, c, restyretry.AiohttpRetry)

		ctx := context.WithValue(context.Background(), fooKey{}, "bar")
		resp, err := c.R().SetContext(ctx).Get("/sometimes_error")
		pyOutcome{status: 200, body: "Ok!", calls: 3}.check(t, app, resp, err)
		if want := []traced{{"bar", 1}, {"bar", 2}, {"bar", 3}}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// test_change_urls_in_request and test_change_urls_as_tuple_in_request: lists
// and tuples are slices alike, which may be spelled out or passed along.
func TestAiohttpChangeURLsInRequest(t *testing.T) {
	list := []string{"/internal_error", "/ping"}
	tests := []struct {
		name     string
		attempts int
		target   restyretry.Target
	}{
		{"test_change_urls_in_request[2]", 2, restyretry.URLs("/internal_error", "/ping")},
		{"test_change_urls_in_request[3]", 3, restyretry.URLs("/internal_error", "/ping")},
		{"test_change_urls_as_tuple_in_request[2]", 2, restyretry.URLs(list...)},
		{"test_change_urls_as_tuple_in_request[3]", 3, restyretry.URLs(list...)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				app, c, _ := pyClient(t, pyAttempts(test.attempts))
				ctx := restyretry.With(context.Background(), pyURL(test.target))
				resp, err := c.R().SetContext(ctx).Get("")
				pyOutcome{status: 200, body: "Ok!", calls: 2}.check(t, app, resp, err)
			})
		})
	}
}

// test_pass_bad_urls: an empty list is an error, before anything is sent. Their
// other bad value is a set, whose order is undefined; the compiler takes only
// slices here, so that case cannot be written.
func TestAiohttpPassBadURLs(t *testing.T) {
	bad := pyURL(restyretry.URLs())
	t.Run("for a request", func(t *testing.T) {
		app, c, _ := pyClient(t)
		_, err := c.R().SetContext(restyretry.With(context.Background(), bad)).Get("/ping")
		if err == nil || app.counter != 0 {
			t.Errorf("got error %v and %d calls, want an error and no call", err, app.counter)
		}
	})
	t.Run("for a client", func(t *testing.T) {
		if _, err := restyretry.Install(resty.New(), bad); err == nil {
			t.Error("Install: got no error")
		}
	})
	t.Run("at run time", func(t *testing.T) {
		_, _, plugin := pyClient(t)
		if err := plugin.Update(bad); err == nil {
			t.Error("Update: got no error")
		}
	})
}

// test_methods
func TestAiohttpMethods(t *testing.T) {
	tests := []struct {
		path, method string
		send         func(*resty.Request, string) (*resty.Response, error)
	}{
		{"/options_handler", "OPTIONS", (*resty.Request).Options},
		{"/head_handler", "HEAD", (*resty.Request).Head},
		{"/post_handler", "POST", (*resty.Request).Post},
		{"/put_handler", "PUT", (*resty.Request).Put},
		{"/patch_handler", "PATCH", (*resty.Request).Patch},
		{"/delete_handler", "DELETE", (*resty.Request).Delete},
	}
	for _, test := range tests {
		t.Run(test.method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				app, c, _ := pyClient(t)
				resp, err := test.send(c.R(), test.path)
				pyOutcome{status: 200, calls: 1}.check(t, app, resp, err)
				if got := resp.RawResponse.Request.Method; got != test.method {
					t.Errorf("got method %s, want %s", got, test.method)
				}
			})
		})
	}
}

// A request may differ from attempt to attempt. aiohttp_retry takes a list for
// that, RetryClient.requests; ours is a hook, which can do the same.
func TestAiohttpRequests(t *testing.T) {
	correct := map[string]string{"correct_headers": "True"}
	tests := []struct {
		name     string
		statuses []int
		list     []pyRequestParams
		want     pyOutcome
	}{
		{
			"test_multiply_urls_by_requests", nil,
			[]pyRequestParams{{"GET", "/internal_error", nil}, {"GET", "/ping", nil}},
			pyOutcome{200, "Ok!", 2},
		},
		{
			"test_multiply_methods_by_requests",
			[]int{405},
			[]pyRequestParams{{"POST", "/ping", nil}, {"GET", "/ping", nil}},
			pyOutcome{200, "Ok!", 1}, // a wrong method does not reach the handler
		},
		{
			"test_change_headers",
			[]int{406},
			[]pyRequestParams{{"GET", "/check_headers", nil}, {"GET", "/check_headers", correct}},
			pyOutcome{200, "Ok!", 2},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				app, c, _ := pyClient(t, pyStatuses(test.statuses...), pyRequests(test.list...))
				resp, err := c.R().Get("")
				test.want.check(t, app, resp, err)
				if got := len(restyretry.History(resp.Request)); got != 2 {
					t.Errorf("got %d attempts, want 2", got)
				}
			})
		})
	}
}

// test_multiply_methods_by_requests, without the preset: what was sent as POST
// is not sent again, whatever method the next attempt would have.
func TestAiohttpRequestsAfterAPostNeedThePreset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := new(pyApp)
		c := mocked(app.serve)
		install(t, c, pyStatuses(405), pyRequests(
			pyRequestParams{method: "POST", url: "/ping"},
			pyRequestParams{method: "GET", url: "/ping"},
		))
		resp, err := c.R().Get("")
		pyOutcome{status: 405, calls: 0}.check(t, app, resp, err)
		if got, want := summary(restyretry.History(resp.Request)), "1 method"; got != want {
			t.Errorf("got history %q, want %q", got, want)
		}
	})
}

// What a request carries arrives.
func TestAiohttpRequestParameters(t *testing.T) {
	tests := []struct {
		name string
		path string
		set  func(*resty.Request)
	}{
		{"test_additional_params", "/with_auth", func(r *resty.Request) {
			r.SetBasicAuth("username", "password")
		}},
		{"test_request_headers", "/check_headers", func(r *resty.Request) {
			r.SetHeader("correct_headers", "True")
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				app, c, _ := pyClient(t)
				r := c.R()
				test.set(r)
				resp, err := r.Get(test.path)
				pyOutcome{status: 200, body: "Ok!", calls: 1}.check(t, app, resp, err)
			})
		})
	}
}

// The series of tests/test_retry_options.py that need no random numbers.
func TestAiohttpStrategies(t *testing.T) {
	list := []float64{1.2, 2.1, 3.4, 4.3, 4.5, 5.4, 5.6, 6.5, 6.7, 7.6}
	tests := []struct {
		name     string
		strategy restyretry.Strategy
		want     []float64 // seconds
	}{
		{
			"test_exponential_retry", restyretry.Exponential(100*time.Millisecond, 30*time.Second),
			[]float64{0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30},
		},
		{"test_list_retry", restyretry.List(pySeconds(list...)...), list},
		// FibonacciRetry begins with twice the unit, 4 6 10 …, and goes on from
		// there with the next request, since all share one sequence.
		{
			"test_fibonacci_retry", restyretry.Fibonacci(2*time.Second, 60*time.Second),
			[]float64{2, 4, 6, 10, 16, 26, 42, 60, 60, 60},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for round := range 2 { // a strategy has no memory
				var got []time.Duration
				for n := range test.want {
					got = append(got, test.strategy(restyretry.Attempt{Number: n + 1}))
				}
				if want := pySeconds(test.want...); !slices.Equal(got, want) {
					t.Errorf("round %d: got %v, want %v", round+1, got, want)
				}
			}
		})
	}
}

// test_random_retry, with the first ten numbers of Python's random.Random(0).
func TestAiohttpRandomRetry(t *testing.T) {
	numbers := []float64{
		0.8444218515250481, 0.7579544029403025, 0.420571580830845, 0.25891675029296335, 0.5112747213686085,
		0.4049341374504143, 0.7837985890347726, 0.30331272607892745, 0.4765969541523558, 0.5833820394550312,
	}
	got := pyWaits(t, restyretry.Random(100*time.Millisecond, 3*time.Second), numbers)
	for i := range got {
		got[i] = got[i].Round(10 * time.Millisecond)
	}
	want := pySeconds(2.55, 2.3, 1.32, 0.85, 1.58, 1.27, 2.37, 0.98, 1.48, 1.79)
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// test_jitter_retry. JitterRetry adds (2·u)² s to the exponential wait, which
// takes the last one above its own maximum of 30 s. Ours adds u·extra, and the
// limit is one: so it gets the squares of Python's numbers after
// random.seed(10), and the last wait is 30 s, not 30.4.
func TestAiohttpJitterRetry(t *testing.T) {
	const limit = 30 * time.Second
	numbers := []float64{
		0.5714025946899135, 0.4288890546751146, 0.5780913011344704, 0.20609823213950174, 0.81332125135732,
		0.8235888725334455, 0.6534725339011758, 0.16022955651881965, 0.5206693596399246, 0.32777281162209315,
	}
	for i, u := range numbers {
		numbers[i] = u * u
	}
	exponential := restyretry.Exponential(100*time.Millisecond, limit)
	got := pyWaits(t, restyretry.AddJitter(exponential, 4*time.Second, limit), numbers)
	want := pySeconds(1.4, 0.9, 1.7, 0.9, 4.2, 5.9, 8.1, 12.9, 26.6, 30)
	for i := range want {
		if off := (got[i] - want[i]).Abs(); off >= 100*time.Millisecond || got[i] > limit {
			t.Errorf("wait %d: got %v, want %v give or take 100ms, at most %v", i+1, got[i], want[i], limit)
		}
	}
}

// pyWaits returns what a request that always fails waits if the random
// numbers are these, one for each wait.
func pyWaits(t *testing.T, strategy restyretry.Strategy, numbers []float64) (waits []time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		_, c, _ := pyClient(t, pyAttempts(len(numbers)+1), func(o *restyretry.Options) {
			o.Wait = strategy
			o.Rand = func() (u float64) {
				u, numbers = numbers[0], numbers[1:]
				return u
			}
		})
		resp, err := c.R().Get("/internal_error")
		if err != nil {
			t.Fatalf("got error %v, want none", err)
		}
		for _, a := range restyretry.History(resp.Request) {
			if !a.Last() {
				waits = append(waits, a.Wait)
			}
		}
	})
	return waits
}

func pySeconds(list ...float64) []time.Duration {
	durations := make([]time.Duration, len(list))
	for i, s := range list {
		durations[i] = time.Duration(s * float64(time.Second)).Round(time.Millisecond)
	}
	return durations
}
