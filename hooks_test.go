package restyretry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

// nothing is an OnAttempt that does nothing.
func nothing(restyretry.Attempt) error { return nil }

type ownKey struct{}

// preparations are requests that differ in whether Resty, the caller or both have
// given them a context.
var preparations = map[string]func(*resty.Request){
	"no context":        func(*resty.Request) {},
	"a context":         func(r *resty.Request) { r.SetContext(context.WithValue(context.Background(), ownKey{}, 1)) },
	"a trace":           func(r *resty.Request) { r.EnableTrace() },
	"a query parameter": func(r *resty.Request) { r.SetQueryParam("a", "b") },
	"a trace and a context": func(r *resty.Request) {
		r.EnableTrace().SetContext(context.WithValue(context.Background(), ownKey{}, 1))
	},
	"an AttemptTimeout": func(r *resty.Request) {
		r.SetContext(restyretry.With(context.Background(), harness.AttemptTimeout(time.Minute)))
	},
}

// The history has every attempt with all its fields, whether there is one attempt or
// many.
func TestTheHistoryHasEveryAttemptInFull(t *testing.T) {
	lost := harness.Fails(io.ErrUnexpectedEOF)
	for story, scripts := range map[string][]harness.Script{
		"200 succeeded":                                                     {harness.Says(200)},
		"404 not-retryable":                                                 {harness.Says(404)},
		"error error 1s | 200 succeeded":                                    {lost, harness.Says(200)},
		"503 status 1s | 404 not-retryable":                                 {harness.Says(503), harness.Says(404)},
		"503 status 1s | error error 2s | 200 succeeded":                    {harness.Says(503), lost, harness.Says(200)},
		"error error 1s | error error 2s | error error 3s | 200 succeeded":  {lost, lost, lost, harness.Says(200)},
		"503 status 1s | 503 status 2s | 503 status 3s | 404 not-retryable": {harness.Says(503), harness.Says(503), harness.Says(503), harness.Says(404)},
	} {
		for name, prepare := range preparations {
			for _, option := range []harness.Option{harness.Attempts(5), harness.OnAttempt(nothing)} {
				harness.Bubble(t, story+" with "+name, func(t *testing.T) {
					c := harness.New(t, func(n int, r *http.Request) (*http.Response, error) {
						return harness.After(time.Duration(n)*time.Millisecond, scripts[n-1])(n, r)
					}, option, func(o *options) {
						o.Attempts, o.Wait = 5, restyretry.Linear(time.Second, time.Minute)
						o.URL = restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) {
							return fmt.Sprintf("http://%d.test/x?key=secret", a.Number), nil
						})
					})
					r, at := c.R(), time.Now()
					prepare(r)
					for i, a := range c.Do(t, r, "GET", "/given").Want(t, story).History {
						got := fmt.Sprintf("%d of %d: %s %s at %v took %v", a.Number, a.Max, a.Method, a.URL, a.Start.Sub(at), a.Took)
						harness.Equal(t, "attempt", strings.Replace(got, "&a=REDACTED", "", 1),
							fmt.Sprintf("%d of 5: GET http://%d.test/x?key=REDACTED at 0s took %dms", i+1, i+1, i+1))
						harness.Equal(t, "its request", a.Request, r)
						harness.Equal(t, "has an error", a.Err != nil, a.StatusCode() == 0)
						at = at.Add(a.Took + a.Wait)
					}
				})
			}
		}
	}
}

func TestNumberTellsTheAttempt(t *testing.T) {
	for name, prepare := range preparations {
		harness.Bubble(t, name, func(t *testing.T) {
			same := func(a restyretry.Attempt) {
				harness.Equal(t, "Number in a callback", restyretry.Number(a.Request.Context()), a.Number)
				harness.Equal(t, "Last", a.Last(), a.Number == 3)
			}
			c := harness.New(t, func(n int, r *http.Request) (*http.Response, error) {
				harness.Equal(t, "Number in the transport", restyretry.Number(r.Context()), (n-1)%3+1)
				return harness.Says(503)(n, r)
			}, harness.OnRetry(same))
			r := c.R()
			prepare(r)
			given := r.Context()
			for range 2 {
				call := c.Do(t, r, "DELETE", "/x").Want(t, retried(503, "1s 1s"))
				harness.Equal(t, "the third is the last", call.History[2].Last(), true)
				harness.Equal(t, "body", r.Body, nil)
				harness.Equal(t, "Number after the request", restyretry.Number(r.Context()), 0)
				harness.Equal(t, "the caller's context", r.Context() == given, true)
				c.Update(t, harness.OnAttempt(func(a restyretry.Attempt) error { same(a); return nil }))
			}
		})
	}
	harness.Equal(t, "Number outside", restyretry.Number(context.Background()), 0)
}

// state is what OnAttempt may change of a request.
func state(r *resty.Request) string {
	return fmt.Sprint(r.Method, r.URL, r.Token, r.AuthScheme, r.UserInfo, r.Cookies, r.Body, r.Header, r.QueryParam, r.FormData, r.PathParams, r.RawPathParams)
}

func TestWhatOnAttemptChangesIsForThatAttempt(t *testing.T) {
	given := map[string]func(*resty.Request){
		"nothing": func(*resty.Request) {},
		"everything": func(r *resty.Request) {
			r.SetHeader("X", "0").SetQueryParam("q", "0").SetFormData(map[string]string{"f": "0"}).SetCookie(&http.Cookie{Name: "c", Value: "0"}).
				SetPathParam("p", "0").SetRawPathParam("r", "0").SetAuthToken("0").SetAuthScheme("0").SetBasicAuth("0", "0")
		},
	}
	changes := map[string]func(*resty.Request){
		"header":    func(r *resty.Request) { r.Header.Add("X", "1") },
		"query":     func(r *resty.Request) { r.QueryParam.Add("q", "1") },
		"form":      func(r *resty.Request) { r.Method = "PUT"; r.FormData.Add("f", "1") },
		"path":      func(r *resty.Request) { r.SetPathParam("p", "1") },
		"raw path":  func(r *resty.Request) { r.SetRawPathParam("r", "1") },
		"cookie":    func(r *resty.Request) { r.SetCookie(&http.Cookie{Name: "c", Value: "1"}) },
		"token":     func(r *resty.Request) { r.SetAuthToken("1") },
		"scheme":    func(r *resty.Request) { r.SetAuthScheme("1") },
		"basic":     func(r *resty.Request) { r.SetBasicAuth("1", "1") },
		"body":      func(r *resty.Request) { r.Method = "PUT"; r.SetBody("text") },
		"method":    func(r *resty.Request) { r.Method = "HEAD" },
		"URL":       func(r *resty.Request) { r.URL += "/1" },
		"many":      func(r *resty.Request) { r.SetHeader("X", "1").SetQueryParam("q", "1").SetAuthToken("1") },
		"no header": func(r *resty.Request) { r.Header = http.Header{} },
		"nothing":   func(*resty.Request) {},
	}
	for name, change := range changes {
		for number := 1; number <= 2; number++ {
			for with, give := range given {
				harness.Bubble(t, fmt.Sprintf("%s of a request with %s in attempt %d", name, with, number), func(t *testing.T) {
					before := ""
					c := harness.New(t, harness.Statuses(503, 503, 200), harness.OnAttempt(func(a restyretry.Attempt) error {
						harness.Equal(t, fmt.Sprint("before attempt ", a.Number), state(a.Request), before)
						if a.Number == number {
							change(a.Request)
						}
						return nil
					}))
					c.SetQueryParam("client", "c").SetHeader("Client", "c")
					ctx := context.WithValue(t.Context(), ownKey{}, 1)
					r := c.R().SetContext(ctx)
					give(r)
					r.Method, r.URL = "DELETE", "/x"
					before = state(r)
					_, err := r.Send()
					harness.Equal(t, "error", err, nil)
					harness.Equal(t, "sent", len(c.Sent()), 3)
					harness.Equal(t, "context", r.Context() == ctx, true)
					r.URL = "/x" // which tells where the last attempt went
					harness.Equal(t, "in the end", state(r), before)
				})
			}
		}
	}
}

func TestWhatOnAttemptAddsDoesNotPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.New(t, harness.Statuses(503, 503, 200, 503, 503, 200), harness.OnAttempt(func(a restyretry.Attempt) error {
			r, n := a.Request, fmt.Sprint(a.Number)
			r.Header.Add("X", n)
			r.QueryParam.Add("q", n)
			r.SetCookie(&http.Cookie{Name: "c", Value: n})
			if a.Number == 2 {
				r.SetAuthToken("second").SetAuthScheme("Token")
				r.Method, r.URL = http.MethodHead, r.URL+"/second"
			}
			return nil
		}))
		r := c.R().SetHeader("X", "0").SetQueryParam("q", "0").SetCookie(&http.Cookie{Name: "c", Value: "0"})
		r.Method, r.URL = "GET", "/x"
		for range 2 {
			call := c.Do(t, r, r.Method, r.URL).Want(t, "503 status 1s | 503 status 1s | 200 succeeded")
			for i, want := range []string{
				"GET /x?q=0&q=1 [0 1] [c=0; c=1] []", "HEAD /x/second?q=0&q=2 [0 2] [c=0; c=2] [Token second]", "GET /x?q=0&q=3 [0 3] [c=0; c=3] []",
			} {
				sent := call.Sent[i]
				harness.Equal(t, "sent", fmt.Sprint(sent.Method, " ", sent.Request.URL.RequestURI(), " ", sent.Header["X"], " ",
					sent.Header["Cookie"], " ", sent.Header["Authorization"]), want)
			}
		}
	})
}

// Resty shares the client's slices with all requests.
func TestWhatOnAttemptAddsReachesNoOtherRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.New(t, harness.Statuses(503), harness.OnAttempt(func(a restyretry.Attempt) error {
			name := a.Request.Header.Get("X-Name")
			a.Request.QueryParam.Add("tag", name)
			a.Request.Header.Add("X-Tag", name)
			return nil
		}))
		c.QueryParam["tag"] = append(make([]string, 0, 8), "client")
		c.Header["X-Tag"] = append(make([]string, 0, 8), "client")
		var group sync.WaitGroup
		for i := range 50 {
			group.Go(func() { _, _ = c.R().SetHeader("X-Name", fmt.Sprint(i)).Get("/x") })
		}
		group.Wait()
		for _, sent := range c.Sent() {
			query, header, want := sent.Request.URL.Query()["tag"], sent.Header["X-Tag"], sent.Header.Get("X-Name")
			harness.Equal(t, "tags", query[len(query)-1]+" "+header[len(header)-1], want+" "+want)
		}
		harness.Equal(t, "the client's query", c.QueryParam.Encode(), "tag=client")
	})
}

func TestAnErrorOfOnAttemptStopsTheRequest(t *testing.T) {
	no := errors.New("no more")
	for at, want := range []string{"unsent stopped", "503 stopped 1s", "503 status 1s | 503 stopped 1s"} {
		harness.Bubble(t, fmt.Sprint("attempt ", at+1), func(t *testing.T) {
			option := harness.OnAttempt(func(a restyretry.Attempt) error {
				if a.Number == at+1 {
					return no
				}
				return nil
			})
			harness.New(t, harness.Statuses(503), option).Get(t, "/x").Want(t, want, no).WantStatus(t, []int{-1, 503, 503}[at])
			want = strings.NewReplacer("503 stopped", "error stopped", "503 status", "error error").Replace(want)
			errs := []error{no, io.EOF}[:min(at+1, 2)]
			harness.New(t, harness.Fails(io.EOF), option).Get(t, "/x").Want(t, want, errs...)
		})
	}
}

// Whatever becomes of a request, OnDone runs once: see [harness.Call.Want].
func TestOnDoneIsToldOfARequestThatWasBrokenOff(t *testing.T) {
	no := errors.New("no")
	until := func(cause error) func(*resty.Request, *resty.Client) {
		return func(r *resty.Request, _ *resty.Client) {
			ctx, cancel := context.WithCancel(context.Background())
			if cause == context.DeadlineExceeded {
				ctx, cancel = context.WithTimeout(ctx, 1400*time.Millisecond)
			}
			time.AfterFunc(1500*time.Millisecond, cancel)
			r.SetContext(ctx)
		}
	}
	failing := func(attempt int) func(*resty.Request, *resty.Client) {
		return func(_ *resty.Request, c *resty.Client) {
			c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
				if r.Attempt == attempt {
					return no
				}
				return nil
			})
		}
	}
	tokens := func(n int) func(*resty.Request, *resty.Client) {
		return func(_ *resty.Request, c *resty.Client) { c.SetRateLimiter(harness.Tokens(n)) }
	}
	for name, tt := range map[string]struct {
		prepare func(*resty.Request, *resty.Client)
		want    string
		errs    []error
	}{
		"cancelled while waiting": {until(context.Canceled), "503 status 1s | 503 cancelled 1s", []error{context.Canceled}},
		"a deadline":              {until(context.DeadlineExceeded), "503 status 1s | 503 deadline", nil},
		"not sent":                {failing(1), "unsent not-sent", []error{no}},
		"the second not sent":     {failing(2), "503 status 1s | unsent not-sent", []error{no}},
		"no token":                {tokens(0), "unsent not-sent", []error{resty.ErrRateLimitExceeded}},
		"two tokens":              {tokens(2), "503 status 1s | 503 status 1s | unsent not-sent", []error{resty.ErrRateLimitExceeded}},
		"three tokens":            {tokens(3), retried(503, "1s 1s"), nil},
	} {
		harness.Bubble(t, name, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(503))
			r := c.R()
			tt.prepare(r, c.Client)
			call := c.Do(t, r, "GET", "/x")
			if call.Response == nil { // Resty has dropped it, but the history has it
				call.Response = call.History[max(len(call.History)-2, 0)].Response
			}
			call.Want(t, tt.want, tt.errs...)
			harness.Equal(t, "Number after the request", restyretry.Number(r.Context()), 0)
		})
	}
}

func TestOnDoneIsToldOfAPanic(t *testing.T) {
	no := errors.New("no")
	panicIn := func(attempt int) func(restyretry.Attempt) error {
		return func(a restyretry.Attempt) error {
			if a.Number == attempt {
				panic(no)
			}
			return nil
		}
	}
	for name, tt := range map[string]struct {
		option harness.Option
		want   string
		sent   int
	}{
		"OnBeforeRequest":      {func(*options) {}, "unsent panic", 0},
		"OnAfterResponse":      {harness.Attempts(3), "503 status 1s | unsent panic", 2},
		"RetryIf":              {func(o *options) { o.ServerErrors, o.RetryIf = false, func(restyretry.Attempt) bool { panic(no) } }, "503 panic", 1},
		"Wait":                 {func(o *options) { o.Wait = func(restyretry.Attempt) time.Duration { panic(no) } }, "503 panic", 1},
		"OnRetry":              {harness.OnRetry(func(restyretry.Attempt) { panic(no) }), "503 panic 1s", 1},
		"the second OnAttempt": {harness.OnAttempt(panicIn(2)), "503 status 1s | unsent panic", 1},
	} {
		harness.Bubble(t, name, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(503), tt.option)
			c.OnBeforeRequest(func(*resty.Client, *resty.Request) error {
				if name == "OnBeforeRequest" {
					panic(no)
				}
				return nil
			})
			c.OnAfterResponse(func(_ *resty.Client, resp *resty.Response) error {
				if name == "OnAfterResponse" && resp.Request.Attempt == 2 {
					panic(no)
				}
				return nil
			})
			call := c.Get(t, "/x")
			harness.Equal(t, "panic", call.Panic, any(no))
			call.WantStory(t, tt.want)
			harness.Equal(t, "OnDone", harness.Story(call.Done), harness.Story(call.History[len(call.History)-1:]))
			harness.Equal(t, "sent", len(call.Sent), tt.sent)
			stats := c.Plugin.Stats()
			harness.Equal(t, "counted", fmt.Sprint(stats.Requests, stats.Attempts, stats.GivenUp), fmt.Sprintf("1 %d map[panic:1]", tt.sent))
			harness.Equal(t, "Number after the request", restyretry.Number(call.Request.Context()), 0)
		})
	}
}

// OnDone does not depend on an OnAfterResponse.
func TestOnAfterResponseRunsForEveryResponse(t *testing.T) {
	for want, script := range map[int]harness.Script{
		3: harness.Statuses(503), 2: harness.Each(harness.Says(503), harness.Fails(io.EOF), harness.Says(503)),
	} {
		synctest.Test(t, func(t *testing.T) {
			c, calls := harness.New(t, script), 0
			c.OnAfterResponse(func(*resty.Client, *resty.Response) error { calls++; return nil })
			c.Get(t, "/x").Want(t, []string{"503 status 1s | error error 1s | 503 attempts", retried(503, "1s 1s")}[want-2])
			harness.Equal(t, "calls", calls, want)
		})
	}
}

func TestGenerateCurlCommandIsNoAttempt(t *testing.T) {
	for name, option := range map[string]harness.Option{"plain": harness.Attempts(3), "with OnAttempt": harness.OnAttempt(nothing)} {
		harness.Bubble(t, name, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(503, 200), option)
			r := c.R().SetDebug(true).EnableGenerateCurlOnDebug()
			r.Method, r.URL = "GET", "/x"
			if curl := r.GenerateCurlCommand(); !strings.Contains(curl, "http://api.test/x") {
				t.Errorf("got %q, want the URL in it", curl)
			}
			harness.Equal(t, "sent, done and counted", fmt.Sprint(len(c.Sent()), len(c.Done()), c.Plugin.Stats().Attempts), "0 0 0")
			harness.Equal(t, "history", harness.Story(restyretry.History(r)), "")
			c.Do(t, r, "GET", "/x").Want(t, "503 status 1s | 200 succeeded")
		})
	}
}

func TestARequestWithinARequestMayHaveItsContext(t *testing.T) {
	wait := harness.Wait(time.Second)
	hook := func(nest func(*resty.Request)) resty.OnRetryFunc {
		return func(resp *resty.Response, _ error) { nest(resp.Request) }
	}
	for name, set := range map[string]func(t *testing.T, c *harness.Client, nest func(*resty.Request)){
		"OnAttempt": func(t *testing.T, c *harness.Client, nest func(*resty.Request)) {
			c.Install(t, wait, harness.OnAttempt(func(a restyretry.Attempt) error { nest(a.Request); return nil }))
		},
		"OnRetry": func(t *testing.T, c *harness.Client, nest func(*resty.Request)) {
			c.Install(t, wait, harness.OnRetry(func(a restyretry.Attempt) { nest(a.Request) }))
		},
		"a retry hook before Install": func(t *testing.T, c *harness.Client, nest func(*resty.Request)) {
			c.AddRetryHook(hook(nest))
			c.Install(t, wait)
		},
		"a retry hook after Install": func(t *testing.T, c *harness.Client, nest func(*resty.Request)) {
			c.Install(t, wait).AddRetryHook(hook(nest))
		},
	} {
		harness.Bubble(t, name, func(t *testing.T) {
			outside, within := 0, 0
			c := harness.Mock(func(n int, r *http.Request) (*http.Response, error) {
				harness.Equal(t, "value of the context", r.Context().Value(ownKey{}), any("mine"))
				if r.Header.Get("X-Nested") == "" {
					outside++
					harness.Equal(t, "Number", restyretry.Number(r.Context()), outside)
					return harness.Says(503)(n, r)
				}
				return harness.Statuses(503, 200)(restyretry.Number(r.Context()), r)
			})
			set(t, c, func(r *resty.Request) {
				if r.Header.Get("X-Nested") != "" {
					return
				}
				within++
				nested := c.R().SetContext(r.Context()).SetHeader("X-Nested", "1")
				_, err := nested.Get("/nested")
				harness.Equal(t, "error", err, nil)
				harness.Equal(t, "within", harness.Story(restyretry.History(nested)), "503 status 1s | 200 succeeded")
			})
			r := c.R().SetContext(context.WithValue(context.Background(), ownKey{}, "mine"))
			_, err := r.Get("/outer")
			harness.Equal(t, "error", err, nil)
			harness.Equal(t, "outside", harness.Story(restyretry.History(r)), retried(503, "1s 1s"))
			if within < 2 {
				t.Errorf("got %d requests within, want 2 at least", within)
			}
		})
	}
}

// The plugin ends Resty's loop through the request's context. Resty's callbacks
// that come after must not take that for the caller's end.
func TestTheContextLivesAfterTheLastAttempt(t *testing.T) {
	for name, option := range map[string]harness.Option{"OnSuccess": harness.Attempts(3), "OnError": harness.RaiseForStatus} {
		harness.Bubble(t, name, func(t *testing.T) {
			c, calls := harness.New(t, harness.Statuses(503), option), 0
			see := func(ctx context.Context) {
				calls++
				harness.Equal(t, "the context's error", ctx.Err(), nil)
				_, cancel := context.WithTimeout(ctx, time.Second) // panics if the context contradicts itself
				cancel()
			}
			c.OnSuccess(func(_ *resty.Client, resp *resty.Response) { see(resp.Request.Context()) })
			c.OnError(func(r *resty.Request, _ error) { see(r.Context()) })
			_, _ = c.R().AddRetryCondition(func(*resty.Response, error) bool { return true }).Get("/x")
			harness.Equal(t, "calls", calls, 1)
		})
	}
}

// Resty nests the context of its trace once more for every attempt.
func TestATraceDoesNotGrowWithTheAttempts(t *testing.T) {
	for name, option := range map[string]harness.Option{
		"plain": harness.Attempts(4), "AttemptTimeout": harness.AttemptTimeout(time.Minute), "OnAttempt": harness.OnAttempt(nothing),
	} {
		harness.Bubble(t, name, func(t *testing.T) {
			var depths []int
			trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
				depths = append(depths, runtime.Callers(0, make([]uintptr, 1000)))
			}}
			c := harness.New(t, func(n int, r *http.Request) (*http.Response, error) {
				httptrace.ContextClientTrace(r.Context()).GotConn(httptrace.GotConnInfo{})
				return harness.Says(503)(n, r)
			}, harness.Attempts(4), option)
			r := c.R().EnableTrace().SetContext(httptrace.WithClientTrace(context.Background(), trace))
			for range 2 {
				depths = nil
				c.Do(t, r, "GET", "/x").Want(t, retried(503, "1s 1s 1s"))
				if slices.Min(depths) != slices.Max(depths) {
					t.Errorf("got stacks of %v frames, want the same 4 times", depths)
				}
			}
		})
	}
}

func TestStatsCountWhatHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.New(t, harness.Statuses(200, 503, 200, 503, 503, 503, 404, 503))
		c.Get(t, "/x").Want(t, "200 succeeded")
		c.Get(t, "/x").Want(t, "503 status 1s | 200 succeeded")
		c.Get(t, "/x").Want(t, retried(503, "1s 1s"))
		c.Get(t, "/x").Want(t, "404 not-retryable")
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(500*time.Millisecond, cancel)
		c.Do(t, c.R().SetContext(ctx), "GET", "/x").Want(t, "503 cancelled 1s", context.Canceled)
		c.Do(t, c.R(), "POST", "/x").Want(t, "503 method")
		harness.Equal(t, "Stats", fmt.Sprint(c.Plugin.Stats()), fmt.Sprint(restyretry.Stats{
			Requests: 6, Attempts: 9, Retries: 3, Recovered: 1, Waited: 4 * time.Second,
			GivenUp: map[restyretry.Reason]uint64{"attempts": 1, "not-retryable": 1, "cancelled": 1, "method": 1},
		}))
	})
}

func TestRetriesAndGivingUpAreLogged(t *testing.T) {
	const url = ` method=GET url="http://REDACTED:REDACTED@api.test/x?token=REDACTED"`
	for _, tt := range []struct {
		name   string
		script harness.Script
		option harness.Option
		want   []string
	}{
		{"a status", harness.Statuses(503), harness.Attempts(2), []string{
			"level=DEBUG msg=retrying" + url + " attempt=1 max=2 reason=status status=503 wait=1s",
			`level=WARN msg="giving up"` + url + " attempt=2 max=2 reason=attempts status=503",
		}},
		{"an error", harness.Fails(io.EOF), harness.Attempts(2), []string{
			"level=DEBUG msg=retrying" + url + ` attempt=1 max=2 reason=error error="Get \"http://REDACTED:REDACTED@api.test/x?token=REDACTED\": EOF" wait=1s`,
			`level=WARN msg="giving up"` + url + ` attempt=2 max=2 reason=attempts error="Get \"http://REDACTED:REDACTED@api.test/x?token=REDACTED\": EOF"`,
		}},
		{"Methods", harness.Statuses(503), harness.Methods(), []string{`level=WARN msg="giving up"` + url + " attempt=1 max=3 reason=method status=503"}},
		{"Unless", harness.Statuses(503), func(o *options) {
			o.Unless = func(restyretry.Attempt) bool { return true }
		}, []string{`level=WARN msg="giving up"` + url + " attempt=1 max=3 reason=unless status=503"}},
		{"MaxElapsed", harness.Statuses(503), harness.MaxElapsed(1), []string{`level=WARN msg="giving up"` + url + " attempt=1 max=3 reason=elapsed status=503"}},
		{"a success", harness.Statuses(200), harness.Attempts(3), []string{""}},
		{"nothing asks for a retry", harness.Statuses(404), harness.Attempts(3), []string{""}},
		{"retries are off", harness.Statuses(503), restyretry.Off, []string{""}},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			log := &harness.Log{}
			c := harness.New(t, tt.script, tt.option, func(o *options) { o.Logger = log.Slog() })
			_, _ = c.R().SetQueryParam("token", "SECRET").Get("http://user:SECRET@api.test/x")
			harness.Equal(t, "log", log.String(), strings.TrimPrefix(strings.Join(tt.want, "\n")+"\n", "\n"))
		})
	}
}
