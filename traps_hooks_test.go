package restyretry_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/jarcoal/httpmock"
	"github.com/restyretry/restyretry"
)

// hooksRecord is answers that keeps the requests it was asked.
func hooksRecord(statuses ...int) (httpmock.Responder, *[]*http.Request) {
	respond, _ := answers(statuses...)
	seen := new([]*http.Request)
	return func(r *http.Request) (*http.Response, error) {
		*seen = append(*seen, r)
		return respond(r)
	}, seen
}

// hooksUnavailable answers 503 and may be called from many goroutines.
func hooksUnavailable(r *http.Request) (*http.Response, error) {
	return httpmock.NewStringResponse(503, "no"), nil
}

func hooksAttempts(n int) func(*restyretry.Options) {
	return func(o *restyretry.Options) { o.Attempts = n }
}

func hooksOf(h restyretry.Hooks) func(*restyretry.Options) {
	return func(o *restyretry.Options) { o.Hooks = append(o.Hooks, h) }
}

// hooksWithin fails the test if f hangs, which is how a deadlock shows itself.
func hooksWithin(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("got a deadlock")
	}
}

// hooksLogger logs into a buffer, without the time.
func hooksLogger() (*slog.Logger, *bytes.Buffer) {
	out := new(bytes.Buffer)
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	})), out
}

func hooksLines(out *bytes.Buffer) []string {
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
}

// hooksBubble runs a subtest in a bubble of its own.
func hooksBubble(t *testing.T, name string, f func(*testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

func hooksWantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("got error %q, want it to contain %q", err, part)
		}
	}
}

func hooksWant[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// H1: Resty has one pre-request hook, and a later one replaces it.
func TestHooksH1SetPreRequestHookBeforeInstall(t *testing.T) {
	calls := 0
	hook := func(_ *resty.Client, r *http.Request) error {
		calls++
		r.Header.Set("X-Signed", fmt.Sprint(calls))
		return nil
	}
	hooksBubble(t, "is refused", func(t *testing.T) {
		c := mocked(hooksUnavailable).SetPreRequestHook(hook)
		_, err := restyretry.Install(c)
		hooksWantError(t, err, "PreRequest")
	})
	hooksBubble(t, "is chained as PreRequest", func(t *testing.T) {
		respond, seen := hooksRecord(503, 503, 200)
		c := mocked(respond).SetPreRequestHook(hook)
		install(t, c, constant(time.Second), func(o *restyretry.Options) { o.PreRequest = hook })
		if _, err := c.R().Get("/x"); err != nil {
			t.Fatal(err)
		}
		for i, r := range *seen {
			hooksWant(t, "header of an attempt", r.Header.Get("X-Signed"), fmt.Sprint(i+1))
		}
		hooksWant(t, "calls", calls, 3)
	})
	hooksBubble(t, "its error stops the request", func(t *testing.T) {
		respond, seen := hooksRecord(503)
		c, no := mocked(respond), errors.New("no signature")
		install(t, c, constant(time.Second), func(o *restyretry.Options) {
			o.PreRequest = func(*resty.Client, *http.Request) error { return no }
		})
		_, err := c.R().Get("/x")
		if !errors.Is(err, no) || len(*seen) != 0 {
			t.Errorf("got %v after %d attempts, want %v after 0", err, len(*seen), no)
		}
	})
}

// H1
func TestHooksH1SetPreRequestHookAfterInstall(t *testing.T) {
	foreign := func(*resty.Client, *http.Request) error { return nil }
	hooksBubble(t, "plain requests are retried, and it is reported once", func(t *testing.T) {
		respond, seen := hooksRecord(503, 503, 200)
		logger, out := hooksLogger()
		c := mocked(respond)
		install(t, c, constant(time.Second), func(o *restyretry.Options) { o.Logger = logger })
		c.SetPreRequestHook(foreign)
		resp, err := c.R().Get("/x")
		if err != nil || resp.StatusCode() != 200 || len(*seen) != 3 {
			t.Fatalf("got %v %v after %d attempts, want 200 after 3", resp, err, len(*seen))
		}
		hooksWant(t, "history", summary(restyretry.History(resp.Request)), "1 status, 2 status, 3 succeeded")
		for range 3 {
			_, _ = c.R().Get("/x")
		}
		hooksWant(t, "reports", strings.Count(out.String(), "another pre-request hook"), 1)
	})
	for name, option := range map[string]func(*restyretry.Options){
		"AttemptTimeout": func(o *restyretry.Options) { o.AttemptTimeout = time.Second },
		"PreRequest":     func(o *restyretry.Options) { o.PreRequest = foreign },
	} {
		hooksBubble(t, "a request that needs it for "+name+" is not sent", func(t *testing.T) {
			respond, seen := hooksRecord(200)
			c := mocked(respond)
			install(t, c)
			c.SetPreRequestHook(foreign)
			ctx := restyretry.With(context.Background(), option)
			_, err := c.R().SetContext(ctx).Get("/x")
			hooksWantError(t, err, "pre-request hook", "PreRequest")
			hooksWant(t, "attempts", len(*seen), 0)
		})
	}
}

// H2: SetRetryAfter overwrites silently.
func TestHooksH2SetRetryAfter(t *testing.T) {
	hooksBubble(t, "before Install it is asked for the wait", func(t *testing.T) {
		respond, _ := hooksRecord(503, 200)
		c := mocked(respond).SetRetryAfter(func(*resty.Client, *resty.Response) (time.Duration, error) {
			return 7 * time.Second, nil
		})
		install(t, c, constant(time.Second))
		start := time.Now()
		if _, err := c.R().Get("/x"); err != nil {
			t.Fatal(err)
		}
		hooksWant(t, "waited", time.Since(start), 7*time.Second)
	})
	after := func(*resty.Client, *resty.Response) (time.Duration, error) { return time.Second, nil }
	hooksBubble(t, "after Install nothing is sent", func(t *testing.T) {
		respond, seen := hooksRecord(503, 200)
		c := mocked(respond)
		install(t, c)
		c.SetRetryAfter(after)
		_, err := c.R().Get("/x")
		hooksWantError(t, err, "RetryAfter", "Wait")
		hooksWant(t, "attempts", len(*seen), 0)
	})
	hooksBubble(t, "after Install, a second Install makes it good", func(t *testing.T) {
		respond, seen := hooksRecord(503)
		c := mocked(respond)
		install(t, c)
		c.SetRetryAfter(after)
		p, err := restyretry.Install(c)
		if err != nil {
			t.Fatalf("second Install: got %v, want no error", err)
		}
		start := time.Now()
		if _, err := c.R().Get("/x"); err != nil {
			t.Fatal(err)
		}
		hooksWant(t, "attempts", len(*seen), 3)
		hooksWant(t, "waited", time.Since(start), 2*time.Second)
		hooksWant(t, "requests counted", p.Stats().Requests, 1)
	})
}

// H3: registering deadlocks where Resty holds its locks. It holds none in any
// callback but the first OnAttempt.
func TestHooksH3RegisteringInACallback(t *testing.T) {
	register := func(c *resty.Client) {
		c.OnBeforeRequest(func(*resty.Client, *resty.Request) error { return nil })
		c.OnAfterResponse(func(*resty.Client, *resty.Response) error { return nil })
	}
	callbacks := map[string]func(*resty.Client, *restyretry.Options){
		"OnRetry": func(c *resty.Client, o *restyretry.Options) {
			o.Hooks = []restyretry.Hooks{{OnRetry: func(restyretry.Attempt) { register(c) }}}
		},
		"OnDone": func(c *resty.Client, o *restyretry.Options) {
			o.Hooks = []restyretry.Hooks{{OnDone: func(restyretry.Attempt) { register(c) }}}
		},
		"OnAttempt of a retry": func(c *resty.Client, o *restyretry.Options) {
			o.Hooks = []restyretry.Hooks{{OnAttempt: func(a restyretry.Attempt) error {
				if a.Number > 1 {
					register(c)
				}
				return nil
			}}}
		},
		"Target of a retry": func(c *resty.Client, o *restyretry.Options) {
			o.URL = restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) {
				if a.Number > 1 {
					register(c)
				}
				return "/x", nil
			})
		},
		"RetryIf": func(c *resty.Client, o *restyretry.Options) {
			o.RetryIf = func(restyretry.Attempt) bool { register(c); return false }
		},
		"Unless": func(c *resty.Client, o *restyretry.Options) {
			o.Unless = func(restyretry.Attempt) bool { register(c); return false }
		},
		"Wait": func(c *resty.Client, o *restyretry.Options) {
			o.Wait = func(restyretry.Attempt) time.Duration { register(c); return 0 }
		},
	}
	for name, callback := range callbacks {
		t.Run(name, func(t *testing.T) {
			respond, seen := hooksRecord(503, 200)
			c := mocked(respond)
			install(t, c, constant(0), func(o *restyretry.Options) { callback(c, o) })
			hooksWithin(t, func() { _, _ = c.R().Get("/x") })
			hooksWant(t, "attempts", len(*seen), 2)
		})
	}
}

// H4: a nested request deadlocks where Resty holds its locks and somebody waits
// to register. OnRetry is where a token is refreshed.
func TestHooksH4NestedRequestWhileRegistering(t *testing.T) {
	respond, seen := hooksRecord(503, 200, 200)
	c := mocked(respond)
	install(t, c, constant(0), hooksOf(restyretry.Hooks{OnRetry: func(restyretry.Attempt) {
		registered := make(chan struct{})
		go func() {
			defer close(registered)
			c.OnBeforeRequest(func(*resty.Client, *resty.Request) error { return nil })
		}()
		<-registered
		_, _ = c.R().Get("/token")
	}}))
	hooksWithin(t, func() { _, _ = c.R().Get("/x") })
	var paths []string
	for _, r := range *seen {
		paths = append(paths, r.URL.Path)
	}
	hooksWant(t, "paths", strings.Join(paths, " "), "/x /token /x")
}

// H5: a wait must not stall the requests of others.
func TestHooksH5NoLockIsHeldWhileWaiting(t *testing.T) {
	c := mocked(func(r *http.Request) (*http.Response, error) {
		if r.URL.Path == "/slow" {
			return httpmock.NewStringResponse(503, ""), nil
		}
		return httpmock.NewStringResponse(200, ""), nil
	})
	waiting := make(chan struct{}, 1)
	install(t, c, constant(time.Hour), hooksOf(restyretry.Hooks{OnRetry: func(restyretry.Attempt) { waiting <- struct{}{} }}))
	ctx, cancel := context.WithCancel(context.Background())
	slow := make(chan error)
	go func() {
		_, err := c.R().SetContext(ctx).Get("/slow")
		slow <- err
	}()
	<-waiting
	hooksWithin(t, func() {
		c.OnBeforeRequest(func(*resty.Client, *resty.Request) error { return nil })
		if resp, err := c.R().Get("/fast"); err != nil || resp.StatusCode() != 200 {
			t.Errorf("got %v %v, want 200", resp, err)
		}
	})
	cancel()
	if err := <-slow; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// H6: GenerateCurlCommand runs the middlewares, but is no attempt.
func TestHooksH6GenerateCurlCommandIsNoAttempt(t *testing.T) {
	var calls []string
	counting := func(o *restyretry.Options) {
		o.Hooks = []restyretry.Hooks{{
			OnAttempt: func(a restyretry.Attempt) error { calls = append(calls, fmt.Sprint("attempt ", a.Number)); return nil },
			OnRetry:   func(a restyretry.Attempt) { calls = append(calls, fmt.Sprint("retry ", a.Number)) },
			OnDone:    func(a restyretry.Attempt) { calls = append(calls, fmt.Sprint("done ", a.Number)) },
		}}
	}
	plain := func(*restyretry.Options) {}
	for name, test := range map[string]struct {
		option func(*restyretry.Options)
		want   string
	}{
		"plain":      {plain, ""},
		"with hooks": {counting, "attempt 1, retry 1, attempt 2, done 2"},
	} {
		hooksBubble(t, name, func(t *testing.T) {
			calls = nil
			respond, seen := hooksRecord(503, 200)
			c := mocked(respond)
			p := install(t, c, constant(time.Second), test.option)
			r := c.R().SetDebug(true).EnableGenerateCurlOnDebug()
			r.Method, r.URL = "GET", "/x"
			if curl := r.GenerateCurlCommand(); !strings.Contains(curl, "http://api.test/x") {
				t.Errorf("got %q, want the URL in it", curl)
			}
			hooksWant(t, "calls", strings.Join(calls, ", "), "")
			hooksWant(t, "sent", len(*seen), 0)
			hooksWant(t, "history", summary(restyretry.History(r)), "")
			hooksWant(t, "attempts counted", p.Stats().Attempts, 0)
			resp, err := r.Get("/x")
			if err != nil || resp.StatusCode() != 200 {
				t.Fatalf("got %v %v, want 200", resp, err)
			}
			hooksWant(t, "calls", strings.Join(calls, ", "), test.want)
			hooksWant(t, "history", summary(restyretry.History(r)), "1 status, 2 succeeded")
			hooksWant(t, "attempts counted", p.Stats().Attempts, 2)
		})
	}
}

// H7: what is added to a request in every attempt must not pile up.
func TestHooksH7ChangesOfOnAttemptDoNotPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, seen := hooksRecord(503, 503, 200, 503, 503, 200)
		c := mocked(respond)
		install(t, c, constant(time.Second), hooksOf(restyretry.Hooks{OnAttempt: func(a restyretry.Attempt) error {
			r, n := a.Request, fmt.Sprint(a.Number)
			r.Header.Add("X-Attempt", n)
			r.QueryParam.Add("attempt", n)
			r.SetCookie(&http.Cookie{Name: "attempt", Value: n})
			if a.Number == 2 {
				r.SetAuthToken("second").SetAuthScheme("Token")
				r.Method = http.MethodHead
				r.URL += "/second"
			}
			return nil
		}}))
		r := c.R().SetHeader("X-Attempt", "0").SetQueryParam("attempt", "0").SetCookie(&http.Cookie{Name: "attempt", Value: "0"})
		for _, send := range []func() (*resty.Response, error){
			func() (*resty.Response, error) { return r.Get("/x") },
			r.Send,
		} {
			*seen = nil
			if resp, err := send(); err != nil || resp.StatusCode() != 200 {
				t.Fatalf("got %v %v, want 200", resp, err)
			}
			var got []string
			for _, hr := range *seen {
				got = append(got, fmt.Sprint(hr.Method, " ", hr.URL.RequestURI(), " ", hr.Header["X-Attempt"], " ",
					hr.Header["Cookie"], " ", hr.Header["Authorization"]))
			}
			want := []string{
				"GET /x?attempt=0&attempt=1 [0 1] [attempt=0; attempt=1] []",
				"HEAD /x/second?attempt=0&attempt=2 [0 2] [attempt=0; attempt=2] [Token second]",
				"GET /x?attempt=0&attempt=3 [0 3] [attempt=0; attempt=3] []",
			}
			if !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			hooksWant(t, "headers left", fmt.Sprint(r.Header["X-Attempt"]), "[0]")
			hooksWant(t, "cookies left", len(r.Cookies), 1)
			hooksWant(t, "query left", r.QueryParam.Encode(), "attempt=0")
			hooksWant(t, "token left", r.Token, "")
			hooksWant(t, "method left", r.Method, "GET")
		}
	})
}

// H8: a header of the client's is copied into the request by the first attempt.
// OnAttempt can give each attempt its own.
func TestHooksH8NewCredentialsForARetry(t *testing.T) {
	changes := map[string]func(r *resty.Request, token string){
		"header": func(r *resty.Request, token string) { r.SetHeader("Authorization", "Bearer "+token) },
		"token":  func(r *resty.Request, token string) { r.SetAuthToken(token) },
	}
	for name, change := range changes {
		hooksBubble(t, name, func(t *testing.T) {
			respond, seen := hooksRecord(401, 200)
			c := mocked(respond).SetHeader("Authorization", "Bearer old")
			install(t, c, constant(time.Second),
				func(o *restyretry.Options) { o.Statuses = append(o.Statuses, 401) },
				hooksOf(restyretry.Hooks{OnAttempt: func(a restyretry.Attempt) error {
					if a.Number > 1 {
						change(a.Request, "new")
					}
					return nil
				}}))
			if _, err := c.R().Get("/x"); err != nil {
				t.Fatal(err)
			}
			for i, want := range []string{"Bearer old", "Bearer new"} {
				hooksWant(t, fmt.Sprint("attempt ", i+1), (*seen)[i].Header.Get("Authorization"), want)
			}
		})
	}
}

// H9: Resty shares the client's slices with all requests.
func TestHooksH9AddingInOnAttemptTouchesNoOtherRequest(t *testing.T) {
	var mixed atomic.Int64
	c := mocked(func(r *http.Request) (*http.Response, error) {
		want := r.Header.Get("X-Name")
		if tags := r.URL.Query()["tag"]; tags[len(tags)-1] != want || r.Header["X-Tag"][len(r.Header["X-Tag"])-1] != want {
			mixed.Add(1)
		}
		return httpmock.NewStringResponse(503, ""), nil
	})
	c.QueryParam["tag"] = append(make([]string, 0, 8), "client")
	c.Header["X-Tag"] = append(make([]string, 0, 8), "client")
	install(t, c, constant(0), hooksOf(restyretry.Hooks{OnAttempt: func(a restyretry.Attempt) error {
		name := a.Request.Header.Get("X-Name")
		a.Request.QueryParam.Add("tag", name)
		a.Request.Header.Add("X-Tag", name)
		return nil
	}}))
	var group sync.WaitGroup
	for i := range 100 {
		group.Go(func() { _, _ = c.R().SetHeader("X-Name", fmt.Sprint(i)).Get("/x") })
	}
	group.Wait()
	hooksWant(t, "attempts with the tag of another request", mixed.Load(), 0)
	hooksWant(t, "the client's query", c.QueryParam.Encode(), "tag=client")
}

// H10: clones share the memory of the lists.
func TestHooksH10Clones(t *testing.T) {
	hooksBubble(t, "without Install the policy goes along", func(t *testing.T) {
		respond, seen := hooksRecord(503)
		c := mocked(respond)
		p := install(t, c, constant(time.Second), hooksAttempts(4))
		resp, _ := c.Clone().R().Get("/x")
		hooksWant(t, "attempts", len(*seen), 4)
		hooksWant(t, "history", len(restyretry.History(resp.Request)), 4)
		hooksWant(t, "attempts counted", p.Stats().Attempts, 4)
	})
	hooksBubble(t, "with Install the original keeps its policy", func(t *testing.T) {
		respond, seen := hooksRecord(503)
		c := mocked(respond)
		first := install(t, c, constant(time.Second), hooksAttempts(2))
		clone := c.Clone()
		second := install(t, clone, constant(time.Second), hooksAttempts(5))
		_, _ = c.R().Get("/x")
		hooksWant(t, "attempts of the original", len(*seen), 2)
		_, _ = clone.R().Get("/x")
		hooksWant(t, "attempts of the clone", len(*seen)-2, 5)
		hooksWant(t, "attempts counted for the original", first.Stats().Attempts, 2)
		hooksWant(t, "attempts counted for the clone", second.Stats().Attempts, 5)
	})
	hooksBubble(t, "RetryAfter is given the clone", func(t *testing.T) {
		c := mocked(hooksUnavailable)
		var given *resty.Client
		c.SetRetryAfter(func(c *resty.Client, _ *resty.Response) (time.Duration, error) { given = c; return time.Second, nil })
		install(t, c)
		clone := c.Clone()
		_, _ = clone.R().Get("/x")
		hooksWant(t, "client", given, clone)
	})
	hooksBubble(t, "conditions of each stay apart", func(t *testing.T) {
		respond, seen := hooksRecord(418)
		c := mocked(respond)
		c.AddRetryCondition(func(*resty.Response, error) bool { return false })
		install(t, c, constant(time.Second))
		a, b := c.Clone(), c.Clone()
		a.AddRetryCondition(func(*resty.Response, error) bool { return true })
		b.AddRetryCondition(func(*resty.Response, error) bool { return false })
		_, _ = a.R().Get("/x")
		hooksWant(t, "attempts where a condition wants more", len(*seen), 3)
		_, _ = b.R().Get("/x")
		hooksWant(t, "attempts where none does", len(*seen)-3, 1)
	})
}

// H10: with spare room at the end of the lists, two clones append to the same
// place.
func TestHooksH10InstallOnEveryCloneOfABaseWithMiddlewares(t *testing.T) {
	for middlewares := range 10 {
		hooksBubble(t, fmt.Sprint(middlewares, " middlewares"), func(t *testing.T) {
			respond, seen := hooksRecord(503)
			base, ran := mocked(respond), 0
			for range middlewares {
				base.OnBeforeRequest(func(*resty.Client, *resty.Request) error { ran++; return nil })
				base.OnAfterResponse(func(*resty.Client, *resty.Response) error { ran++; return nil })
				base.OnSuccess(func(*resty.Client, *resty.Response) { ran++ })
			}
			var clones []*resty.Client
			var plugins []*restyretry.Plugin
			var done []int
			for i := range 4 {
				clone := base.Clone()
				plugins = append(plugins, install(t, clone, constant(time.Second), hooksAttempts(i+2),
					hooksOf(restyretry.Hooks{OnDone: func(restyretry.Attempt) { done = append(done, i) }})))
				clones = append(clones, clone)
			}
			for i, clone := range clones {
				*seen, done, ran = nil, nil, 0
				_, _ = clone.R().Get("/x")
				hooksWant(t, "attempts", len(*seen), i+2)
				hooksWant(t, "OnDone", fmt.Sprint(done), fmt.Sprint([]int{i}))
				hooksWant(t, "middlewares run", ran, middlewares*(2*(i+2)+1))
				hooksWant(t, "requests counted", plugins[i].Stats().Requests, 1)
			}
			*seen = nil
			_, _ = base.R().Get("/x")
			hooksWant(t, "attempts of the base", len(*seen), 1)
		})
	}
}

// H11: Install is for before the client is used; Update is for later.
func TestHooksH11UpdateWhileRequestsRun(t *testing.T) {
	c := mocked(hooksUnavailable)
	p := install(t, c, constant(0), hooksAttempts(2))
	stop := make(chan struct{})
	var updates, requests sync.WaitGroup
	updates.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := p.Update(hooksAttempts(2 + i%3)); err != nil {
				t.Errorf("Update: %v", err)
			}
		}
	})
	for range 200 {
		requests.Go(func() {
			resp, err := c.R().Get("/x")
			if err != nil {
				t.Errorf("got %v, want no error", err)
				return
			}
			past := restyretry.History(resp.Request)
			for _, a := range past {
				if a.Max != len(past) {
					t.Errorf("got Max %d in a request of %d attempts, want one policy for all", a.Max, len(past))
				}
			}
		})
	}
	requests.Wait()
	close(stop)
	updates.Wait()
	hooksWant(t, "requests counted", p.Stats().Requests, 200)
}

// H11
func TestHooksH11UpdateLeavesRequestsUnderWayAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, seen := hooksRecord(503)
		c := mocked(respond)
		p := install(t, c, constant(time.Second), hooksAttempts(4))
		time.AfterFunc(1500*time.Millisecond, func() {
			if err := p.Update(hooksAttempts(2)); err != nil {
				t.Errorf("Update: %v", err)
			}
		})
		_, _ = c.R().Get("/x")
		hooksWant(t, "attempts of the request under way", len(*seen), 4)
		_, _ = c.R().Get("/x")
		hooksWant(t, "attempts of the next", len(*seen)-4, 2)
		hooksWantError(t, p.Update(hooksAttempts(0)), "Attempts", "0")
		_, _ = c.R().Get("/x")
		hooksWant(t, "attempts after an Update that is refused", len(*seen)-6, 2)
	})
}

// H12: digest authentication swaps the transport for each request.
func TestHooksH12DigestAuth(t *testing.T) {
	digest := func(c *resty.Client) { c.SetDigestAuth("user", "password") }
	policy := func(c *resty.Client) { _, _ = restyretry.Install(c, constant(time.Second)) }
	for name, setUp := range map[string][]func(*resty.Client){
		"before Install": {digest, policy}, "after Install": {policy, digest},
	} {
		hooksBubble(t, name, func(t *testing.T) {
			authorized := 0
			c := mocked(func(r *http.Request) (*http.Response, error) {
				if r.Header.Get("Authorization") == "" {
					resp := httpmock.NewStringResponse(401, "")
					resp.Header.Set("WWW-Authenticate", `Digest realm="r", nonce="n", algorithm=MD5, qop="auth"`)
					return resp, nil
				}
				if authorized++; authorized < 3 {
					return httpmock.NewStringResponse(503, ""), nil
				}
				return httpmock.NewStringResponse(200, ""), nil
			})
			transport := c.GetClient().Transport
			for _, f := range setUp {
				f(c)
			}
			resp, err := c.R().Get("/x")
			if err != nil || resp.StatusCode() != 200 {
				t.Fatalf("got %v %v, want 200", resp, err)
			}
			hooksWant(t, "authorized attempts", authorized, 3)
			hooksWant(t, "transport afterwards", c.GetClient().Transport, transport)
		})
	}
}

// H13: the transport is not ours to wrap.
func TestHooksH13TheTransportIsLeftAlone(t *testing.T) {
	t.Run("setters", func(t *testing.T) {
		c := resty.New().SetLogger(quiet{})
		before := c.GetClient().Transport
		install(t, c)
		hooksWant(t, "transport", c.GetClient().Transport, before)
		c.SetProxy("http://proxy.test").SetTLSClientConfig(&tls.Config{ServerName: "api.test"})
		transport, err := c.Transport()
		if err != nil || transport.TLSClientConfig.ServerName != "api.test" || !c.IsProxySet() {
			t.Errorf("got %v, proxy set %v, want the settings to arrive", err, c.IsProxySet())
		}
	})
	t.Run("httpmock.ActivateNonDefault", func(t *testing.T) {
		c := resty.New().SetLogger(quiet{})
		install(t, c, constant(0))
		httpmock.ActivateNonDefault(c.GetClient())
		defer httpmock.DeactivateAndReset()
		httpmock.RegisterResponder("GET", "http://api.test/x", hooksUnavailable)
		_, _ = c.R().Get("http://api.test/x")
		hooksWant(t, "calls", httpmock.GetTotalCallCount(), 3)
	})
}

type hooksLimiter int

func (l *hooksLimiter) Allow() bool { *l--; return *l >= 0 }

// H14: the rate limiter is asked for every attempt, and its refusal makes Resty
// drop the response of the attempt before.
func TestHooksH14RateLimiter(t *testing.T) {
	for tokens, want := range map[int]string{
		0: "", 1: "1 status, 2 not-sent", 2: "1 status, 2 status, 3 not-sent", 3: "1 status, 2 status, 3 attempts",
	} {
		hooksBubble(t, fmt.Sprint(tokens, " tokens"), func(t *testing.T) {
			respond, seen := hooksRecord(503)
			c, limiter := mocked(respond), hooksLimiter(tokens)
			done := 0
			p := install(t, c, constant(time.Second), hooksOf(restyretry.Hooks{OnDone: func(restyretry.Attempt) { done++ }}))
			c.SetRateLimiter(&limiter)
			r := c.R()
			_, err := r.Get("/x")
			hooksWant(t, "refused", errors.Is(err, resty.ErrRateLimitExceeded), tokens < 3)
			hooksWant(t, "sent", len(*seen), tokens)
			hooksWant(t, "attempts counted", p.Stats().Attempts, uint64(tokens))
			hooksWant(t, "OnDone", done, 1)
			if tokens == 0 {
				return
			}
			past := restyretry.History(r)
			hooksWant(t, "history", summary(past), want)
			for _, a := range past[:tokens] {
				hooksWant(t, "status kept in the history", a.StatusCode(), 503)
			}
		})
	}
}

// H15: OnAfterResponse runs for every response and never without one. OnDone
// does not depend on it.
func TestHooksH15OnAfterResponse(t *testing.T) {
	tests := map[string]struct {
		fail  int // this attempt fails in the transport
		after int
	}{
		"three responses": {0, 3}, "two responses": {2, 2},
	}
	for name, test := range tests {
		hooksBubble(t, name, func(t *testing.T) {
			calls, after, done := 0, 0, 0
			c := mocked(func(r *http.Request) (*http.Response, error) {
				if calls++; calls == test.fail {
					return nil, http.ErrHandlerTimeout
				}
				return httpmock.NewStringResponse(503, ""), nil
			})
			c.OnAfterResponse(func(*resty.Client, *resty.Response) error { after++; return nil })
			install(t, c, constant(time.Second), func(o *restyretry.Options) { o.Errors = func(error) bool { return true } },
				hooksOf(restyretry.Hooks{OnDone: func(restyretry.Attempt) { done++ }}))
			_, _ = c.R().Get("/x")
			hooksWant(t, "attempts", calls, 3)
			hooksWant(t, "OnAfterResponse", after, test.after)
			hooksWant(t, "OnDone", done, 1)
		})
	}
}

func TestHooksSecondInstall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls []string
		named := func(name string) func(*restyretry.Options) {
			return hooksOf(restyretry.Hooks{
				OnAttempt: func(restyretry.Attempt) error { calls = append(calls, name+" attempt"); return nil },
				OnRetry:   func(restyretry.Attempt) { calls = append(calls, name+" retry") },
				OnDone:    func(restyretry.Attempt) { calls = append(calls, name+" done") },
			})
		}
		respond, seen := hooksRecord(503)
		c, kept := mocked(respond), 0
		c.AddRetryHook(func(*resty.Response, error) { kept++ })
		first := install(t, c, constant(time.Second), hooksAttempts(5), named("first"))
		second := install(t, c, constant(time.Second), hooksAttempts(2), named("second"))
		_, _ = c.R().Get("/x")
		hooksWant(t, "attempts", len(*seen), 2)
		hooksWant(t, "hooks", strings.Join(calls, ", "), "second attempt, second retry, second attempt, second done")
		hooksWant(t, "the client's own retry hook", kept, 1)
		hooksWant(t, "first Stats", first.Stats().Requests, 0)
		got := second.Stats()
		hooksWant(t, "second Stats", fmt.Sprint(got), fmt.Sprint(restyretry.Stats{
			Requests: 1, Attempts: 2, Retries: 1, GivenUp: map[restyretry.Reason]uint64{"attempts": 1}, Waited: time.Second,
		}))
	})
}

// Conditions and hooks that were added to the client between two Installs go
// on working, too.
func TestHooksSecondInstallKeepsWhatWasAdded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, seen := hooksRecord(418)
		c, first, second := mocked(respond), 0, 0
		c.AddRetryHook(func(*resty.Response, error) { first++ })
		install(t, c)
		c.AddRetryHook(func(*resty.Response, error) { second++ })
		c.AddRetryCondition(func(resp *resty.Response, _ error) bool { return resp.StatusCode() == 418 })
		install(t, c, constant(time.Second))
		_, _ = c.R().Get("/x")
		hooksWant(t, "attempts", len(*seen), 3)
		hooksWant(t, "the first retry hook", first, 2)
		hooksWant(t, "the second retry hook", second, 2)
	})
}

// A list that somebody has emptied must not make a second Install register
// everything once more.
func TestHooksSecondInstallAfterTheConditionsWereReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, _ := hooksRecord(200)
		c := mocked(respond)
		install(t, c)
		c.RetryConditions = nil
		p := install(t, c)
		_, _ = c.R().Get("/x")
		hooksWant(t, "requests counted", p.Stats().Requests, 1)
	})
}

func TestHooksNestedRequestsWithTheSameContext(t *testing.T) {
	nest := map[string]func(c *resty.Client, ask func(context.Context)){
		"OnAttempt": func(c *resty.Client, ask func(context.Context)) {
			_, _ = restyretry.Install(c, constant(time.Second), hooksOf(restyretry.Hooks{OnAttempt: func(a restyretry.Attempt) error {
				if a.Request.Header.Get("X-Nested") == "" {
					ask(a.Request.Context())
				}
				return nil
			}}))
		},
		"OnRetry": func(c *resty.Client, ask func(context.Context)) {
			_, _ = restyretry.Install(c, constant(time.Second), hooksOf(restyretry.Hooks{OnRetry: func(a restyretry.Attempt) {
				if a.Request.Header.Get("X-Nested") == "" {
					ask(a.Request.Context())
				}
			}}))
		},
		"RetryHook before Install": func(c *resty.Client, ask func(context.Context)) {
			c.AddRetryHook(func(resp *resty.Response, _ error) {
				if resp.Request.Header.Get("X-Nested") == "" {
					ask(resp.Request.Context())
				}
			})
			_, _ = restyretry.Install(c, constant(time.Second))
		},
		"RetryHook after Install": func(c *resty.Client, ask func(context.Context)) {
			_, _ = restyretry.Install(c, constant(time.Second))
			c.AddRetryHook(func(resp *resty.Response, _ error) {
				if resp.Request.Header.Get("X-Nested") == "" {
					ask(resp.Request.Context())
				}
			})
		},
	}
	type key struct{}
	for name, setUp := range nest {
		hooksBubble(t, name, func(t *testing.T) {
			outer, inner := 0, 0
			var numbers []int
			c := mocked(func(r *http.Request) (*http.Response, error) {
				if r.Header.Get("X-Nested") == "" {
					outer++
					hooksWant(t, "Number of an outer attempt", restyretry.Number(r.Context()), outer)
					return httpmock.NewStringResponse(503, ""), nil
				}
				inner++
				hooksWant(t, "value of the context", fmt.Sprint(r.Context().Value(key{})), "mine")
				numbers = append(numbers, restyretry.Number(r.Context()))
				return httpmock.NewStringResponse([]int{503, 200}[(inner-1)%2], ""), nil
			})
			asked := 0
			setUp(c, func(ctx context.Context) {
				asked++
				resp, err := c.R().SetContext(ctx).SetHeader("X-Nested", "1").Get("/nested")
				if err != nil || resp.StatusCode() != 200 {
					t.Errorf("nested: got %v %v, want 200", resp, err)
					return
				}
				hooksWant(t, "nested history", summary(restyretry.History(resp.Request)), "1 status, 2 succeeded")
			})
			r := c.R().SetContext(context.WithValue(context.Background(), key{}, "mine"))
			resp, err := r.Get("/outer")
			if err != nil || resp.StatusCode() != 503 {
				t.Fatalf("got %v %v, want 503", resp, err)
			}
			hooksWant(t, "outer attempts", outer, 3)
			hooksWant(t, "outer history", summary(restyretry.History(r)), "1 status, 2 status, 3 attempts")
			if asked < 2 {
				t.Errorf("got %d nested requests, want 2 at least", asked)
			}
			hooksWant(t, "Numbers of nested attempts", fmt.Sprint(numbers), fmt.Sprint(slices.Repeat([]int{1, 2}, asked)))
		})
	}
}

// The plugin ends Resty's loop through the request's context. Resty's callbacks
// that come after must not take that for the caller's end.
func TestHooksAfterTheLastAttemptSeeALivingContext(t *testing.T) {
	raise := func(o *restyretry.Options) { o.RaiseForStatus = true }
	for name, register := range map[string]func(*resty.Client, func(context.Context)){
		"OnSuccess": func(c *resty.Client, see func(context.Context)) {
			c.OnSuccess(func(_ *resty.Client, resp *resty.Response) { see(resp.Request.Context()) })
		},
		"OnError": func(c *resty.Client, see func(context.Context)) {
			c.OnError(func(r *resty.Request, _ error) { see(r.Context()) })
		},
	} {
		hooksBubble(t, name, func(t *testing.T) {
			c, calls := mocked(hooksUnavailable), 0
			register(c, func(ctx context.Context) {
				calls++
				hooksWant(t, "the context's error", ctx.Err(), nil)
				_, cancel := context.WithTimeout(ctx, time.Second) // panics if the context contradicts itself
				cancel()
			})
			install(t, c, constant(time.Second), func(o *restyretry.Options) {
				if name == "OnError" {
					raise(o)
				}
			})
			_, _ = c.R().AddRetryCondition(func(*resty.Response, error) bool { return true }).Get("/x")
			hooksWant(t, "calls", calls, 1)
		})
	}
}

func TestHooksOnAttemptErrorStops(t *testing.T) {
	no := errors.New("no more")
	for _, test := range []struct {
		at            int
		history, done string
		retries       uint64
	}{
		{1, "", "1 stopped", 0}, {2, "1 stopped", "1 stopped", 0}, {3, "1 status, 2 stopped", "2 stopped", 1},
	} {
		for _, failure := range []string{"status", "error"} {
			hooksBubble(t, fmt.Sprintf("attempt %d after %s", test.at, failure), func(t *testing.T) {
				sent, broken := 0, http.ErrHandlerTimeout
				c := mocked(func(*http.Request) (*http.Response, error) {
					if sent++; failure == "error" {
						return nil, broken
					}
					return httpmock.NewStringResponse(503, fmt.Sprint("answer ", sent)), nil
				})
				done := ""
				p := install(t, c, constant(time.Second), hooksAttempts(5),
					func(o *restyretry.Options) { o.Errors = func(error) bool { return true } },
					hooksOf(restyretry.Hooks{
						OnAttempt: func(a restyretry.Attempt) error {
							if a.Number == test.at {
								return no
							}
							return nil
						},
						OnDone: func(a restyretry.Attempt) { done += summary([]restyretry.Attempt{a}) },
					}))
				r := c.R()
				resp, err := r.Get("/x")
				if !errors.Is(err, no) {
					t.Errorf("got error %v, want %v", err, no)
				}
				hooksWant(t, "sent", sent, test.at-1)
				hooksWant(t, "OnDone", done, test.done)
				hooksWant(t, "retries counted", p.Stats().Retries, test.retries)
				if test.at == 1 {
					hooksWant(t, "response", resp, nil)
					return
				}
				hooksWant(t, "history", summary(restyretry.History(r)), strings.ReplaceAll(test.history, "status", failure))
				switch {
				case failure == "status":
					hooksWant(t, "response", resp.String(), fmt.Sprint("answer ", test.at-1))
				default:
					hooksWant(t, "the transport's error is kept", errors.Is(err, broken), true)
				}
			})
		}
	}
}

func TestHooksNumber(t *testing.T) {
	type key struct{}
	requests := map[string]func(*resty.Request) *resty.Request{
		"no context": func(r *resty.Request) *resty.Request { return r },
		"user context": func(r *resty.Request) *resty.Request {
			return r.SetContext(context.WithValue(context.Background(), key{}, 1))
		},
		"trace": func(r *resty.Request) *resty.Request { return r.EnableTrace() },
		"trace and user context": func(r *resty.Request) *resty.Request {
			return r.EnableTrace().SetContext(context.WithValue(context.Background(), key{}, 1))
		},
		"query": func(r *resty.Request) *resty.Request { return r.SetQueryParam("a", "b") },
		"time limit": func(r *resty.Request) *resty.Request {
			return r.SetContext(restyretry.With(context.Background(), func(o *restyretry.Options) { o.AttemptTimeout = time.Minute }))
		},
	}
	for name, prepare := range requests {
		hooksBubble(t, name, func(t *testing.T) {
			var numbers []int
			respond, _ := answers(503, 503, 200)
			c := mocked(func(r *http.Request) (*http.Response, error) {
				numbers = append(numbers, restyretry.Number(r.Context()))
				return respond(r)
			})
			install(t, c, constant(time.Second))
			r := prepare(c.R())
			given := r.Context()
			for range 2 {
				numbers = nil
				if _, err := r.Get("/x"); err != nil {
					t.Fatal(err)
				}
				respond, _ = answers(503, 503, 200)
				hooksWant(t, "Numbers", fmt.Sprint(numbers), "[1 2 3]")
				hooksWant(t, "Number after the request", restyretry.Number(r.Context()), 0)
				hooksWant(t, "the caller's context is back", r.Context() == given, true)
			}
		})
	}
	hooksBubble(t, "in callbacks", func(t *testing.T) {
		c := mocked(hooksUnavailable)
		same := func(a restyretry.Attempt) { hooksWant(t, "Number", restyretry.Number(a.Request.Context()), a.Number) }
		install(t, c, constant(time.Second), hooksOf(restyretry.Hooks{
			OnAttempt: func(a restyretry.Attempt) error { same(a); return nil }, OnRetry: same,
		}))
		_, _ = c.R().Get("/x")
	})
	hooksWant(t, "Number outside", restyretry.Number(context.Background()), 0)
}

func TestHooksOnDoneRunsOnce(t *testing.T) {
	no := errors.New("no")
	cancelled := func(t *testing.T) context.Context {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(1500*time.Millisecond, cancel)
		t.Cleanup(cancel)
		return ctx
	}
	tests := []struct {
		name     string
		statuses []int
		setUp    func(*resty.Client)
		option   func(*restyretry.Options)
		ctx      func(*testing.T) context.Context
		panics   bool
		want     string // of OnDone
		sent     uint64
	}{
		{name: "success", statuses: []int{200}, want: "1 succeeded", sent: 1},
		{name: "success after a retry", statuses: []int{503, 200}, want: "2 succeeded", sent: 2},
		{name: "not retryable", statuses: []int{404}, want: "1 not-retryable", sent: 1},
		{name: "give-up", statuses: []int{503}, want: "3 attempts", sent: 3},
		{name: "raise for status", statuses: []int{503}, option: func(o *restyretry.Options) { o.RaiseForStatus = true }, want: "3 attempts", sent: 3},
		{name: "cancel while waiting", statuses: []int{503}, ctx: cancelled, want: "2 cancelled", sent: 2},
		{name: "deadline while waiting", statuses: []int{503}, ctx: func(t *testing.T) context.Context {
			ctx, cancel := context.WithTimeout(context.Background(), 1500*time.Millisecond)
			t.Cleanup(cancel)
			return ctx
		}, want: "2 deadline", sent: 2},
		{name: "not sent", setUp: func(c *resty.Client) {
			c.OnBeforeRequest(func(*resty.Client, *resty.Request) error { return no })
		}, want: "1 not-sent"},
		{name: "second not sent", statuses: []int{503}, setUp: func(c *resty.Client) {
			c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
				if r.Attempt == 2 {
					return no
				}
				return nil
			})
		}, want: "2 not-sent", sent: 1},
		{name: "panic in OnBeforeRequest", setUp: func(c *resty.Client) {
			c.OnBeforeRequest(func(*resty.Client, *resty.Request) error { panic(no) })
		}, panics: true, want: "1 panic"},
		{name: "panic in RetryIf", statuses: []int{404}, option: func(o *restyretry.Options) {
			o.RetryIf = func(restyretry.Attempt) bool { panic(no) }
		}, panics: true, want: "1 panic", sent: 1},
		{name: "panic in OnAfterResponse", statuses: []int{503}, setUp: func(c *resty.Client) {
			c.OnAfterResponse(func(_ *resty.Client, resp *resty.Response) error {
				if resp.Request.Attempt == 2 {
					panic(no)
				}
				return nil
			})
		}, panics: true, want: "2 panic", sent: 2},
		{name: "panic in Wait", statuses: []int{503}, option: func(o *restyretry.Options) {
			o.Wait = func(restyretry.Attempt) time.Duration { panic(no) }
		}, panics: true, want: "1 panic", sent: 1},
		{name: "panic in OnRetry", statuses: []int{503}, option: hooksOf(restyretry.Hooks{
			OnRetry: func(restyretry.Attempt) { panic(no) },
		}), panics: true, want: "1 panic", sent: 1},
		{name: "panic in the second OnAttempt", statuses: []int{503}, option: hooksOf(restyretry.Hooks{
			OnAttempt: func(a restyretry.Attempt) error {
				if a.Number == 2 {
					panic(no)
				}
				return nil
			},
		}), panics: true, want: "2 panic", sent: 1},
	}
	for _, test := range tests {
		hooksBubble(t, test.name, func(t *testing.T) {
			respond, seen := hooksRecord(append(test.statuses, 503)[:max(len(test.statuses), 1)]...)
			c := mocked(respond)
			var done []restyretry.Attempt
			p := install(t, c, constant(time.Second), func(o *restyretry.Options) {
				if test.option != nil {
					test.option(o)
				}
			}, hooksOf(restyretry.Hooks{OnDone: func(a restyretry.Attempt) { done = append(done, a) }}))
			if test.setUp != nil {
				test.setUp(c)
			}
			r := c.R()
			if test.ctx != nil {
				r.SetContext(test.ctx(t))
			}
			func() {
				defer func() {
					if got := recover() != nil; got != test.panics {
						t.Errorf("got a panic: %v, want %v", got, test.panics)
					}
				}()
				_, _ = r.Get("/x")
			}()
			hooksWant(t, "OnDone", summary(done), test.want)
			if past := restyretry.History(r); test.sent > 0 {
				hooksWant(t, "last of the history", summary(past[max(len(past)-1, 0):]), test.want)
			}
			hooksWant(t, "sent", uint64(len(*seen)), test.sent)
			hooksWant(t, "attempts counted", p.Stats().Attempts, test.sent)
			hooksWant(t, "requests counted", p.Stats().Requests, 1)
			hooksWant(t, "Number after the request", restyretry.Number(r.Context()), 0)
		})
	}
}

// The doc of History promises it after the request, with a nil response too.
func TestHooksHistoryOfARequestThatWasNeverSent(t *testing.T) {
	no := errors.New("no")
	for name, test := range map[string]struct {
		setUp     func(*resty.Client)
		onAttempt error
		want      string
	}{
		"OnBeforeRequest": {setUp: func(c *resty.Client) {
			c.OnBeforeRequest(func(*resty.Client, *resty.Request) error { return no })
		}, want: "1 not-sent"},
		"rate limiter": {setUp: func(c *resty.Client) { c.SetRateLimiter(new(hooksLimiter)) }, want: "1 not-sent"},
		"OnAttempt":    {setUp: func(*resty.Client) {}, onAttempt: no, want: "1 stopped"},
	} {
		hooksBubble(t, name, func(t *testing.T) {
			c, done := mocked(hooksUnavailable), ""
			install(t, c, hooksOf(restyretry.Hooks{
				OnAttempt: func(restyretry.Attempt) error { return test.onAttempt },
				OnDone:    func(a restyretry.Attempt) { done += summary([]restyretry.Attempt{a}) },
			}))
			test.setUp(c)
			r := c.R()
			_, _ = r.Get("/x")
			hooksWant(t, "OnDone", done, test.want)
			hooksWant(t, "history", summary(restyretry.History(r)), test.want)
		})
	}
}

func TestHooksLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, before, got := mocked(hooksUnavailable), []bool{}, []bool{}
		install(t, c, constant(time.Second), hooksAttempts(3), hooksOf(restyretry.Hooks{
			OnAttempt: func(a restyretry.Attempt) error { before = append(before, a.Last()); return nil },
		}))
		resp, _ := c.R().Get("/x")
		for _, a := range restyretry.History(resp.Request) {
			got = append(got, a.Last())
		}
		want := []bool{false, false, true}
		if !slices.Equal(before, want) || !slices.Equal(got, want) {
			t.Errorf("got %v in OnAttempt and %v in the history, want %v", before, got, want)
		}
	})
}

func TestHooksAttemptsKeepTheirValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		c := mocked(func(*http.Request) (*http.Response, error) {
			n++
			time.Sleep(time.Duration(n) * time.Second)
			return httpmock.NewStringResponse(500+n, ""), nil
		})
		install(t, c, constant(10*time.Second))
		start := time.Now()
		resp, _ := c.R().SetQueryParam("a", "b").Get("/x")
		var got []string
		for _, a := range restyretry.History(resp.Request) {
			got = append(got, fmt.Sprintf("%d/%d %s %s %d at %v took %v wait %v", a.Number, a.Max, a.Method, a.URL,
				a.StatusCode(), a.Start.Sub(start), a.Took, a.Wait))
		}
		want := []string{ // 501 is not retried, so the series begins with the second server
			"1/3 GET http://api.test/x?a=REDACTED 501 at 0s took 1s wait 0s",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		got, start = nil, time.Now()
		resp, _ = c.R().SetQueryParam("a", "b").Get("/x")
		for _, a := range restyretry.History(resp.Request) {
			got = append(got, fmt.Sprintf("%d/%d %d at %v took %v wait %v", a.Number, a.Max,
				a.StatusCode(), a.Start.Sub(start), a.Took, a.Wait))
		}
		want = []string{
			"1/3 502 at 0s took 2s wait 10s", "2/3 503 at 12s took 3s wait 10s", "3/3 504 at 25s took 4s wait 0s",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestHooksStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, _ := hooksRecord(200, 503, 200, 503, 503, 503, 404, 503)
		c := mocked(respond)
		p := install(t, c, constant(time.Second))
		for range 4 { // succeeded at once, recovered, given up, not retryable
			_, _ = c.R().Get("/x")
		}
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(500*time.Millisecond, cancel)
		_, _ = c.R().SetContext(ctx).Get("/x")
		_, _ = c.R().Post("/x")
		hooksWant(t, "Stats", fmt.Sprint(p.Stats()), fmt.Sprint(restyretry.Stats{
			Requests: 6, Attempts: 9, Retries: 3, Recovered: 1, Waited: 4 * time.Second,
			GivenUp: map[restyretry.Reason]uint64{"attempts": 1, "not-retryable": 1, "cancelled": 1, "method": 1},
		}))
	})
}

func TestHooksLoggerAttributes(t *testing.T) {
	failures := map[string]struct {
		respond   httpmock.Responder
		attribute string
		reason    string
	}{
		"status": {hooksUnavailable, "status=503", "reason=status"},
		"error": {func(*http.Request) (*http.Response, error) {
			return nil, http.ErrHandlerTimeout
		}, "error=", "reason=error"},
	}
	for name, failure := range failures {
		hooksBubble(t, name, func(t *testing.T) {
			logger, out := hooksLogger()
			c := mocked(failure.respond)
			install(t, c, constant(time.Second), func(o *restyretry.Options) {
				o.Logger = logger
				o.Errors = func(error) bool { return true }
			})
			_, _ = c.R().SetQueryParam("token", "SECRET").Get("http://user:SECRET@api.test/x")
			lines := hooksLines(out)
			want := [][]string{
				{"level=DEBUG", "attempt=1", "wait=1s", failure.reason},
				{"level=DEBUG", "attempt=2", "wait=1s", failure.reason},
				{"level=WARN", "attempt=3", "reason=attempts"},
			}
			if len(lines) != len(want) {
				t.Fatalf("got %d lines, want %d:\n%s", len(lines), len(want), out)
			}
			for i, parts := range want {
				for _, part := range append(parts, failure.attribute, "method=GET", "api.test/x", "token=REDACTED") {
					if !strings.Contains(lines[i], part) {
						t.Errorf("got %s, want %s in it", lines[i], part)
					}
				}
			}
			hooksWant(t, "a secret in the log", strings.Contains(out.String(), "SECRET"), false)
		})
	}
	hooksBubble(t, "silent where nothing is retried", func(t *testing.T) {
		logger, out := hooksLogger()
		respond, _ := hooksRecord(200, 404)
		c := mocked(respond)
		install(t, c, func(o *restyretry.Options) { o.Logger = logger })
		for range 2 {
			_, _ = c.R().Get("/x")
		}
		hooksWant(t, "log", out.String(), "")
	})
	for name, limit := range map[string]func(*restyretry.Options){
		"reason=unless":  func(o *restyretry.Options) { o.Unless = func(restyretry.Attempt) bool { return true } },
		"reason=method":  func(o *restyretry.Options) { o.Methods = nil },
		"reason=elapsed": func(o *restyretry.Options) { o.MaxElapsed = time.Millisecond },
	} {
		hooksBubble(t, name, func(t *testing.T) {
			logger, out := hooksLogger()
			c := mocked(hooksUnavailable)
			install(t, c, constant(time.Second), func(o *restyretry.Options) { o.Logger = logger }, limit)
			_, _ = c.R().Get("/x")
			if line := out.String(); !strings.Contains(line, "level=WARN") || !strings.Contains(line, name) || strings.Count(line, "\n") != 1 {
				t.Errorf("got %q, want one warning with %s", line, name)
			}
		})
	}
}

// A context with overrides keeps the policy it made, but only for the options it
// was made from.
func TestHooksOverridesFollowTheClientAndItsUpdates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, seen := hooksRecord(503)
		few, many := mocked(respond), mocked(respond)
		p := install(t, few, constant(time.Second), hooksAttempts(2))
		install(t, many, constant(time.Second), hooksAttempts(5))
		ctx := restyretry.With(context.Background(), func(o *restyretry.Options) { o.Attempts++ })
		send := func(c *resty.Client) int {
			*seen = nil
			_, _ = c.R().SetContext(ctx).Get("/x")
			return len(*seen)
		}
		hooksWant(t, "attempts of one client", send(few), 3)
		hooksWant(t, "attempts of another", send(many), 6)
		hooksWant(t, "attempts of the first again", send(few), 3)
		if err := p.Update(hooksAttempts(7)); err != nil {
			t.Fatal(err)
		}
		hooksWant(t, "attempts after Update", send(few), 8)
	})
}

func TestHooksConcurrentOverrides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const requests = 2000
		var sent [requests]atomic.Int64
		c := mocked(func(r *http.Request) (*http.Response, error) {
			var i int
			_, _ = fmt.Sscanf(r.URL.Path, "/%d", &i)
			if got, want := int64(restyretry.Number(r.Context())), sent[i].Add(1); got != want {
				t.Errorf("Number: got %d, want %d", got, want)
			}
			return httpmock.NewStringResponse(503, ""), nil
		})
		p := install(t, c, constant(time.Second), hooksAttempts(9))
		shared := make([]context.Context, 4)
		for i := range shared {
			shared[i] = restyretry.With(context.Background(), hooksAttempts(i+1))
		}
		var group sync.WaitGroup
		for i := range requests {
			group.Go(func() {
				resp, err := c.R().SetContext(shared[i%4]).Get(fmt.Sprint("/", i))
				if err != nil {
					t.Errorf("got %v, want no error", err)
					return
				}
				hooksWant(t, "attempts", sent[i].Load(), int64(i%4+1))
				hooksWant(t, "history", len(restyretry.History(resp.Request)), i%4+1)
			})
		}
		group.Wait()
		hooksWant(t, "requests counted", p.Stats().Requests, requests)
		hooksWant(t, "attempts counted", p.Stats().Attempts, requests/4*(1+2+3+4))
	})
}
