// Package cooldowns tests what a request sees of a Cooldown.
package cooldowns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
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

// cold returns a client whose host cools down for a minute. That is Max, so the first
// that is held leaves when the minute is over, and not in the tenth of it that follows.
func cold(t testing.TB, script harness.Script, opts ...harness.Option) (*harness.Client, *restyretry.Cooldown) {
	cooldown := &restyretry.Cooldown{Max: time.Minute}
	cooldown.Hold(harness.Base, time.Minute)
	return harness.New(t, script, append([]harness.Option{harness.Cooldown(cooldown), harness.MaxServerWait(2 * time.Minute)}, opts...)...), cooldown
}

// wantCold wants a request that was not sent, since its host cools down.
func wantCold(t testing.TB, call *harness.Call, key string, left time.Duration) {
	t.Helper()
	call.Want(t, "unsent cooldown", harness.ErrAny).WantStatus(t, -1).WantTook(t, 0)
	if err := new(restyretry.CooldownError); !errors.As(call.Err, &err) || *err != (restyretry.CooldownError{Key: key, Left: left}) {
		t.Errorf("got %v, want a CooldownError of %s with %v left", call.Err, key, left)
	}
}

// wantTook compares how long a call took, without the nanosecond that Resty adds to
// each wait.
func wantTook(t testing.TB, call *harness.Call, want time.Duration) *harness.Call {
	t.Helper()
	harness.Equal(t, "time", call.Took.Round(time.Microsecond), want)
	return call
}

// departures returns when the requests of a client were sent, counted from start.
func departures(c *harness.Client, start time.Time) (at []time.Duration) {
	for _, s := range c.Sent() {
		at = append(at, s.At.Sub(start).Round(time.Microsecond))
	}
	return at
}

func never(*resty.Response, error) bool { return false }

func TestWhenOneRequestIsToldToWaitAllWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c := harness.New(t, harness.Each(harness.Says(429, "Retry-After: 60"), harness.Says(200)), harness.Cooldown(new(restyretry.Cooldown)))
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if resp, err := c.R().Get("/"); err != nil || resp.StatusCode() != 200 {
					t.Errorf("got %v, %v", resp, err)
				}
			})
			synctest.Wait()
		}
		all.Wait()
		at := departures(c, start)
		if len(at) != 101 || at[0] != 0 || at[1] < 60*time.Second || at[100] > 66*time.Second || at[100]-at[1] < 4*time.Second {
			t.Errorf("got %v, want one at once and the others in the 6 s after a minute", at)
		}
		if s := c.Plugin.Stats(); s.Attempts != 101 || s.Requests != 100 || s.Held < 99 {
			t.Errorf("got %+v", s)
		}
	})
}

// A hundred are told to wait, all at the same time.
func TestThoseThatWereToldToWaitThemselvesComeBackOneByOneToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c := harness.New(t, func(n int, r *http.Request) (*http.Response, error) {
			if n <= 100 {
				time.Sleep(time.Second) // until all are on their way
				return harness.Says(429, "Retry-After: 60")(n, r)
			}
			return harness.Says(200)(n, r)
		}, harness.Cooldown(new(restyretry.Cooldown)), harness.MaxServerWait(time.Hour))
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { _, _ = c.R().Get("/") })
		}
		all.Wait()
		at := departures(c, start)[100:]
		if len(at) != 100 || at[0] < 61*time.Second || at[99] > 67*time.Second || at[99]-at[0] < 4*time.Second {
			t.Errorf("got %v, want them in the 6 s after a minute", at)
		}
	})
}

func TestAHeldBodyIsSentOnceAsItIs(t *testing.T) {
	for name, set := range map[string]func(r *resty.Request){
		"string":                   func(r *resty.Request) { r.SetBody("some text") },
		"bytes":                    func(r *resty.Request) { r.SetBody([]byte("some bytes")) },
		"JSON":                     func(r *resty.Request) { r.SetBody(map[string]int{"a": 1}) },
		"form":                     func(r *resty.Request) { r.SetFormData(map[string]string{"a": "1", "b": "2"}) },
		"stream":                   func(r *resty.Request) { r.SetBody(harness.Stream("some stream")) },
		"stream beyond the replay": func(r *resty.Request) { r.SetBody(harness.Stream(strings.Repeat("long", 256))) },
		"multipart": func(r *resty.Request) {
			r.SetMultipartBoundary("boundary").SetFormData(map[string]string{"a": "1"}).
				SetFileReader("file", "name.txt", harness.Stream("some file")).
				SetMultipartField("field", "", "text/plain", harness.Stream("some field"))
		},
	} {
		for how, also := range map[string]func(*resty.Request){
			"":                 func(*resty.Request) {},
			" by a condition":  func(r *resty.Request) { r.AddRetryCondition(never) },
			" of a used one":   func(r *resty.Request) { _, _ = r.Get("http://other.test/") },
			" with a snapshot": func(r *resty.Request) { r.SetContext(restyretry.With(r.Context(), harness.OnAttempt(pass))) },
		} {
			harness.Bubble(t, name+how, func(t *testing.T) {
				free := harness.New(t, harness.Statuses(200), harness.MaxReplay(512))
				r := free.R()
				set(r)
				body := free.Do(t, r, "POST", "/").Want(t, "200 succeeded").Sent[0].Body
				c, _ := cold(t, harness.Statuses(200), harness.MaxReplay(512))
				r = c.R()
				also(r)
				set(r)
				call := c.Do(t, r, "POST", "/").Want(t, "200 succeeded held 1m0s").WantBodies(t, body)
				wantTook(t, call, time.Minute)
			})
		}
	}
}

func pass(restyretry.Attempt) error { return nil }

func TestARequestThatMayNotWaitSoLongIsNotSent(t *testing.T) {
	harness.Bubble(t, "its deadline is before the end", func(t *testing.T) {
		budget := restyretry.NewBudget(0.1, 0)
		c := harness.New(t, harness.Says(429, "Retry-After: 60"), restyretry.Off, harness.Budget(budget), harness.Cooldown(new(restyretry.Cooldown)))
		c.Get(t, "/").Want(t, "429 attempts")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		wantCold(t, c.Do(t, c.R().SetContext(ctx), "GET", "/"), harness.Base, time.Minute)
		if s := c.Plugin.Stats(); s.Held != 0 || s.GivenUp[restyretry.ReasonCooldown] != 1 {
			t.Errorf("got %+v", s)
		}
		requests, retries, refused := budget.Report()
		harness.Equal(t, "report of the budget", fmt.Sprint(requests, retries, refused), "1 0 0")
	})
}

func TestARetryThatMayNotWaitSoLongLeavesTheResponse(t *testing.T) {
	for _, raise := range []bool{false, true} {
		harness.Bubble(t, fmt.Sprint("RaiseForStatus ", raise), func(t *testing.T) {
			cooldown, want := new(restyretry.Cooldown), []error(nil)
			c := harness.New(t, harness.Statuses(500), harness.Cooldown(cooldown), func(o *restyretry.Options) { o.RaiseForStatus = raise })
			if raise {
				want = []error{harness.ErrAny}
			}
			time.AfterFunc(time.Second/2, func() { cooldown.Hold(harness.Base, 2*time.Minute) })
			call := wantTook(t, c.Get(t, "/").Want(t, "500 cooldown 1s", want...), time.Second)
			harness.Equal(t, "body", call.Response.String(), "Internal Server Error")
			harness.Equal(t, "given up", c.Plugin.Stats().GivenUp[restyretry.ReasonCooldown], 1)
			if status := new(restyretry.StatusError); raise && (!errors.As(call.Err, &status) || status.Reason != restyretry.ReasonCooldown) {
				t.Errorf("got %v, want a StatusError", call.Err)
			}
		})
	}
}

func TestAHoldIsNoAttemptAndNoPartOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := restyretry.NewBudget(0, 5)
		c, cooldown := cold(t, func(n int, r *http.Request) (*http.Response, error) {
			httptrace.ContextClientTrace(r.Context()).GetConn("")
			time.Sleep(time.Second)
			return harness.Says(503)(n, r)
		}, harness.Budget(budget), func(o *restyretry.Options) { o.AttemptHeader = "X-Attempt" })
		call := c.Do(t, c.R().EnableTrace(), "GET", "/").Want(t, "503 status 1s held 1m0s | 503 status 1s | 503 attempts").
			WantHeader(t, "X-Attempt", "1", "2", "3")
		wantTook(t, call, 65*time.Second)
		harness.Equal(t, "Resty's number", call.Request.Attempt, 3)
		if s := c.Plugin.Stats(); s.Waited != 2*time.Second || s.Held != 1 || s.HeldFor != time.Minute {
			t.Errorf("got %+v", s)
		}
		requests, retries, refused := budget.Report()
		harness.Equal(t, "report of the budget", fmt.Sprint(requests, retries, refused), "1 2 0")

		cooldown.Hold(harness.Base, time.Minute)
		once := restyretry.With(t.Context(), restyretry.Off)
		call = c.Do(t, c.R().EnableTrace().SetContext(once), "GET", "/").Want(t, "503 attempts held 1m0s")
		harness.Equal(t, "took", call.History[0].Took, time.Second)
		harness.Equal(t, "Resty's time", call.Response.Time(), time.Second)
		harness.Equal(t, "traced time", call.Request.TraceInfo().TotalTime, time.Second)
	})
}

func TestTheLimitsOfARequestApplyToAHold(t *testing.T) {
	const s = time.Second
	hangs := func(_ int, r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, context.Cause(r.Context())
	}
	for _, tt := range []struct {
		name   string
		script harness.Script
		opts   []harness.Option
		want   string
		errs   []error
	}{
		{"AttemptTimeout begins after it", hangs, []harness.Option{harness.Attempts(1), harness.AttemptTimeout(s)}, "error attempts held 1m0s", []error{context.DeadlineExceeded}},
		{"MaxElapsed counts it", harness.Statuses(503), []harness.Option{harness.Wait(20 * s), harness.MaxElapsed(90 * s)}, "503 status 20s held 1m0s | 503 elapsed", nil},
		{"MaxElapsed is shorter", harness.Statuses(503), []harness.Option{harness.MaxElapsed(30 * s)}, "unsent cooldown", []error{harness.ErrAny}},
		{"MaxServerWait is shorter", harness.Statuses(503), []harness.Option{harness.MaxServerWait(60*s - 1)}, "unsent cooldown", []error{harness.ErrAny}},
		{"MaxServerWait is as long", harness.Statuses(200), []harness.Option{harness.MaxServerWait(60 * s)}, "200 succeeded held 1m0s", nil},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			c, _ := cold(t, tt.script, tt.opts...)
			c.Get(t, "/").Want(t, tt.want, tt.errs...)
		})
	}
}

func TestHoldsAddUpToMaxServerWait(t *testing.T) {
	for limit, want := range map[time.Duration]string{
		100 * time.Second: "500 cooldown 2s held 1m0s",
		150 * time.Second: "500 status 2s held 1m0s | 500 cooldown 2s held 59.000000001s",
		4 * time.Minute:   "500 status 2s held 1m0s | 500 status 2s held 59.000000001s | 500 attempts held 59.000000001s",
	} {
		harness.Bubble(t, limit.String(), func(t *testing.T) {
			var cooldown *restyretry.Cooldown
			c, cooldown := cold(t, func(n int, r *http.Request) (*http.Response, error) {
				time.AfterFunc(time.Second, func() { cooldown.Hold(harness.Base, time.Minute) })
				return harness.Says(500)(n, r)
			}, harness.Wait(2*time.Second), harness.MaxServerWait(limit))
			c.Get(t, "/").Want(t, want)
			time.Sleep(time.Minute)
		})
	}
}

func TestARequestThatIsCancelledWhileItIsHeldIsNotSent(t *testing.T) {
	gone := errors.New("the user has gone")
	for _, tt := range []struct {
		name      string
		status    int
		condition bool
		after     time.Duration
		cause     error
		want      string
	}{
		{"before the first attempt", 200, false, 10 * time.Second, gone, "unsent cancelled held 10s"},
		{"before it was held", 200, false, 0, gone, "unsent cancelled"},
		{"with a condition", 200, true, 10 * time.Second, gone, "unsent cancelled held 10s"},
		{"before a retry", 500, false, 70 * time.Second, context.Canceled, "500 cancelled 1s held 1m0s"},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			c, cooldown := cold(t, harness.Statuses(tt.status))
			ctx, cancel := context.WithCancelCause(t.Context())
			if tt.after == 0 {
				cancel(tt.cause)
			}
			time.AfterFunc(tt.after, func() { cancel(tt.cause) })
			time.AfterFunc(time.Minute+time.Second/2, func() { cooldown.Hold(harness.Base, time.Minute) })
			r := c.R().SetContext(ctx)
			if tt.condition {
				r.AddRetryCondition(never)
			}
			call := c.Do(t, r, "GET", "/").Want(t, tt.want, context.Canceled, tt.cause)
			wantTook(t, call, tt.after)
			harness.Equal(t, "a CooldownError", errors.As(call.Err, new(*restyretry.CooldownError)), false)
			time.Sleep(2 * time.Minute)
		})
	}
}

type cancelKey struct{}

// Three requests are held for a minute. What becomes of the first, and when do the
// others leave?
func TestTheFirstToLeaveIsAProbe(t *testing.T) {
	const s = time.Second
	cancelled := func(n int, r *http.Request) (*http.Response, error) {
		time.AfterFunc(4*s, r.Context().Value(cancelKey{}).(context.CancelFunc))
		return harness.Hangs(n, r)
	}
	for _, tt := range []struct {
		name          string
		first, second harness.Script
		from, to      time.Duration
		third         time.Duration // if it waits for the second
	}{
		{"answered at once", harness.Says(200), harness.Says(200), 60 * s, 66 * s, 0},
		{"answered", harness.After(2*s, harness.Says(500)), harness.Says(200), 62 * s, 68 * s, 0},
		{"failed", harness.After(2*s, harness.Fails(io.EOF)), harness.Says(200), 62 * s, 68 * s, 0},
		{"told to wait", harness.After(2*s, harness.Says(429, "Retry-After: 30")), harness.Says(200), 92 * s, 95 * s, 0},
		{"cancelled", cancelled, cancelled, 64 * s, 64 * s, 68 * s},
		{"hangs", harness.Hangs, harness.Hangs, 65 * s, 65 * s, 70 * s},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			start := time.Now()
			c, _ := cold(t, harness.Each(tt.first, tt.second, harness.Says(200)), restyretry.Off)
			var all sync.WaitGroup
			for range 3 {
				all.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					_, _ = c.R().SetContext(context.WithValue(ctx, cancelKey{}, cancel)).Get("/")
				})
			}
			all.Wait()
			at := departures(c, start)
			if len(at) != 3 || at[0] != time.Minute || at[1] < tt.from || at[2] > cmp.Or(tt.third, tt.to) || at[2] < tt.third {
				t.Errorf("got %v, want them from %v to %v, or the third at %v", at, tt.from, tt.to, tt.third)
			}
		})
	}
}

// Resty asks what a request's own conditions and the client's other hooks think of
// an attempt, and most look at the response.
func TestWhatLooksAtResponsesIsNotAskedAboutAHold(t *testing.T) {
	looks := func(resp *resty.Response, _ error) bool { return resp.StatusCode() == 418 }
	hook := func(resp *resty.Response, _ error) { _ = resp.StatusCode() }
	for name, set := range map[string]func(c *harness.Client) *resty.Request{
		"a condition of the request": func(c *harness.Client) *resty.Request { return c.R().AddRetryCondition(looks) },
		"a condition of the client":  func(c *harness.Client) *resty.Request { return c.AddRetryCondition(looks).R() },
		"a hook of the client":       func(c *harness.Client) *resty.Request { return c.AddRetryHook(hook).R() },
		"a hook of a clone":          func(c *harness.Client) *resty.Request { return c.Clone().AddRetryHook(hook).R() },
		"all": func(c *harness.Client) *resty.Request {
			return c.AddRetryHook(hook).AddRetryCondition(looks).R().AddRetryCondition(looks)
		},
	} {
		harness.Bubble(t, name, func(t *testing.T) {
			c, _ := cold(t, harness.Statuses(500, 200))
			wantTook(t, c.Do(t, set(c), "GET", "/").Want(t, "500 status 1s held 1m0s | 200 succeeded"), 61*time.Second)
		})
	}
}

func TestAHeldRequestMayBeUsedAgain(t *testing.T) {
	harness.Bubble(t, "by Send, or with a new URL", func(t *testing.T) {
		c, cooldown := cold(t, harness.Statuses(200))
		r := c.R().SetQueryParam("a", "1").SetBody("text")
		for _, url := range []string{"/x", r.URL, "/x", r.URL} {
			cooldown.Hold(harness.Base, time.Minute)
			if url == "" {
				url = r.URL
			}
			c.Do(t, r, "POST", url).Want(t, "200 succeeded held 1m0s").WantSent(t, "/x?a=1").WantBodies(t, "text")
		}
		cooldown.Hold(harness.Base, time.Minute)
		refused := c.Do(t, r.SetContext(restyretry.With(t.Context(), harness.MaxServerWait(1))), "POST", r.URL)
		wantCold(t, refused, harness.Base, time.Minute)
		cooldown.Hold(harness.Base, 0)
		c.Do(t, r, "POST", r.URL).Want(t, "200 succeeded").WantSent(t, "/x?a=1").WantBodies(t, "text")
	})
}

// What is registered before Install comes before the hold, and again after it.
// PreRequest comes after it, once.
func TestMiddlewaresRunBeforeAHoldAndPreRequestAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, ran := time.Now(), []string(nil)
		note := func(name string) { ran = append(ran, fmt.Sprint(name, " ", time.Since(start).Round(time.Second))) }
		middleware := func(name string) resty.RequestMiddleware {
			return func(*resty.Client, *resty.Request) error { note(name); return nil }
		}
		cooldown := &restyretry.Cooldown{Max: time.Minute}
		c := harness.Mock(harness.Statuses(200))
		c.OnBeforeRequest(middleware("before Install"))
		c.Install(t, harness.Cooldown(cooldown), harness.OnAttempt(func(restyretry.Attempt) error { note("OnAttempt"); return nil }),
			func(o *restyretry.Options) {
				o.PreRequest = func(*resty.Client, *http.Request) error { note("PreRequest"); return nil }
			})
		c.OnBeforeRequest(middleware("after Install"))
		cooldown.Hold(harness.Base, time.Minute)
		c.Get(t, "/").Want(t, "200 succeeded held 1m0s")
		want := []string{"before Install 0s", "OnAttempt 0s", "before Install 1m0s", "after Install 1m0s", "PreRequest 1m0s"}
		if !slices.Equal(ran, want) {
			t.Errorf("got %q, want %q", ran, want)
		}
	})
}

// The time of a bubble does not go on while a goroutine waits for a lock. So one that
// waits forever fails the test by the clock outside.
func TestAHeldRequestHasNoLockOfItsClient(t *testing.T) {
	for name, do := range map[string]func(c *harness.Client){
		"OnBeforeRequest": func(c *harness.Client) {
			c.OnBeforeRequest(func(*resty.Client, *resty.Request) error { return nil })
		},
		"OnAfterResponse": func(c *harness.Client) {
			c.OnAfterResponse(func(*resty.Client, *resty.Response) error { return nil })
		},
		"SetDigestAuth": func(c *harness.Client) { _, _ = c.R().SetDigestAuth("user", "secret").Get("http://other.test") },
	} {
		defer time.AfterFunc(5*time.Second, func() { panic(name + ": a held request has a lock of Resty's") }).Stop()
		harness.Bubble(t, name, func(t *testing.T) {
			c, _ := cold(t, harness.Statuses(200))
			start, held := time.Now(), make(chan time.Duration)
			go func() {
				_, _ = c.R().Get("/")
				held <- time.Since(start).Round(time.Second)
			}()
			synctest.Wait()
			do(c)
			if _, err := c.R().Get("http://other.test"); err != nil || !time.Now().Equal(start) {
				t.Errorf("another host: got %v after %v, want an answer at once", err, time.Since(start))
			}
			harness.Equal(t, "held", <-held, time.Minute)
		})
	}
}

func TestAProbeThatPanicsLetsTheOthersGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, first := time.Now(), true
		c, _ := cold(t, harness.Statuses(200), func(o *restyretry.Options) {
			o.PreRequest = func(*resty.Client, *http.Request) error {
				if first {
					first = false
					panic("no signature")
				}
				return nil
			}
		})
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				defer func() { _ = recover() }()
				_, _ = c.R().Get("/")
			})
		}
		all.Wait()
		harness.Equal(t, "sent at", fmt.Sprint(departures(c, start)), "[1m0s]")
	})
}
