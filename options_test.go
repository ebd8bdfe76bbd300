package restyretry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/jarcoal/httpmock"
	"github.com/restyretry/restyretry"
)

type options = restyretry.Options

// wrongOptions are values that are refused, and what the error must say.
var wrongOptions = []struct {
	name   string
	change func(*options)
	says   []string
}{
	{"no attempts", func(o *options) { o.Attempts = 0 }, []string{"Attempts", " 0"}},
	{"negative attempts", func(o *options) { o.Attempts = -3 }, []string{"Attempts", "-3"}},
	{"too many attempts", func(o *options) { o.Attempts = 101 }, []string{"Attempts", "101"}},
	{"empty method", func(o *options) { o.Methods = []string{"GET", ""} }, []string{"Methods", `""`}},
	{"two methods in one", func(o *options) { o.Methods = []string{"GET, PUT"} }, []string{"Methods", `"GET, PUT"`}},
	{"method with a line end", func(o *options) { o.Methods = []string{"GET\r\n"} }, []string{"Methods", `"GET\r\n"`}},
	{"status 99", func(o *options) { o.Statuses = append(o.Statuses, 99) }, []string{"Statuses", "99"}},
	{"status 600", func(o *options) { o.Statuses = []int{600} }, []string{"Statuses", "600"}},
	{"negative status", func(o *options) { o.Statuses = []int{503, -1} }, []string{"Statuses", "-1"}},
	{"refused 600", func(o *options) { o.Refused = []int{600} }, []string{"Refused", "600"}},
	{"attempt header of others", func(o *options) { o.AttemptHeader = "Host" }, []string{"AttemptHeader", `"Host"`}},
	{"attempt header of the connection", func(o *options) { o.AttemptHeader = "connection" }, []string{"AttemptHeader", `"connection"`}},
	{"key in a header of others", func(o *options) { o.IdempotencyHeader = "Content-Length" }, []string{"IdempotencyHeader", `"Content-Length"`}},
	{"key in no header", func(o *options) { o.IdempotencyHeader = "a b" }, []string{"IdempotencyHeader", `"a b"`}},
	{"no strategy", func(o *options) { o.Wait = nil }, []string{"Wait", "nil"}},
	{"negative timeout", func(o *options) { o.AttemptTimeout = -time.Second }, []string{"AttemptTimeout", "-1s"}},
	{"negative limit", func(o *options) { o.MaxElapsed = -time.Minute }, []string{"MaxElapsed", "-1m0s"}},
	{"no URLs", func(o *options) { o.URL = restyretry.URLs() }, []string{"URL", "empty"}},
	{"empty URL", func(o *options) { o.URL = restyretry.URLs("http://a.test", "") }, []string{"URL", "2", "empty"}},
	{"no URL", func(o *options) { o.URL = restyretry.URLs("http://a b.test") }, []string{"URL", "1", "a b.test"}},
	{"no bases", func(o *options) { o.URL = restyretry.BaseURLs() }, []string{"URL", "empty"}},
	{"relative base", func(o *options) { o.URL = restyretry.BaseURLs("/v1") }, []string{"URL", "/v1", "host"}},
	{"base without a scheme", func(o *options) { o.URL = restyretry.BaseURLs("a.test/v1") }, []string{"URL", "a.test/v1", "scheme"}},
	{"base with a query", func(o *options) { o.URL = restyretry.BaseURLs("http://a.test?x=1") }, []string{"URL", "a.test", "query"}},
	{"nothing to rotate", func(o *options) { o.URL = restyretry.Rotate() }, []string{"URL", "empty"}},
	{"relative base to rotate", func(o *options) { o.URL = restyretry.Rotate("http://a.test", "b") }, []string{"URL", "2", "b", "host"}},
	{"nil function", nil, []string{"option", "nil"}},
}

// wantError checks that err says all of words.
func wantError(t *testing.T, err error, words []string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want one with %q", words)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("got error %q, want it to say %q", err, word)
		}
	}
}

// tries returns how often GET / is sent where every answer has this status.
func tries(t *testing.T, status int, opts ...func(*options)) int {
	t.Helper()
	respond, calls := answers(status)
	c := mocked(respond)
	install(t, c, opts...)
	get(t, c, context.Background())
	return *calls
}

// get sends GET / and returns the history. It is for requests that end with a
// response.
func get(t *testing.T, c *resty.Client, ctx context.Context) []restyretry.Attempt {
	t.Helper()
	resp, err := c.R().SetContext(ctx).Get("/")
	if err != nil {
		t.Fatalf("got error %v", err)
	}
	return restyretry.History(resp.Request)
}

// attempts is an option that sets Attempts.
func attempts(n int) func(*options) { return func(o *options) { o.Attempts = n } }

func TestOptionsInstallRefuses(t *testing.T) {
	for _, test := range wrongOptions {
		t.Run(test.name, func(t *testing.T) {
			respond, calls := answers(503)
			c := mocked(respond)
			p, err := restyretry.Install(c, attempts(5), test.change)
			wantError(t, err, test.says)
			if p != nil {
				t.Errorf("got plugin %v, want none", p)
			}
			if get(t, c, context.Background()); *calls != 1 || c.RetryAfter != nil {
				t.Errorf("got %d calls, want a client that was left alone", *calls)
			}
		})
	}
}

func TestOptionsUpdateSaysThatAnotherInstallHasReplacedThePlugin(t *testing.T) {
	respond, calls := answers(503)
	c := mocked(respond)
	first := install(t, c, constant(0))
	clone := c.Clone()
	second := install(t, c, constant(0))
	wantError(t, first.Update(attempts(5)), []string{"another Install has replaced it"})
	if err := second.Update(attempts(2)); err != nil {
		t.Fatal(err)
	}
	if get(t, c, context.Background()); *calls != 2 {
		t.Errorf("got %d calls, want the 2 of the second plugin", *calls)
	}
	*calls = 0
	install(t, clone, attempts(4), constant(0))
	if err := second.Update(attempts(1)); err != nil { // Install on a clone leaves the original alone
		t.Errorf("got %v", err)
	}
	if get(t, clone, context.Background()); *calls != 4 {
		t.Errorf("got %d calls, want the 4 of the clone", *calls)
	}
}

func TestOptionsUpdateRefusesAndChangesNothing(t *testing.T) {
	for _, test := range wrongOptions {
		synctest.Test(t, func(t *testing.T) {
			respond, calls := answers(503)
			c := mocked(respond)
			p := install(t, c, attempts(2))
			wantError(t, p.Update(attempts(5), test.change), test.says)
			if get(t, c, context.Background()); *calls != 2 {
				t.Errorf("%s: got %d calls, want the 2 of before", test.name, *calls)
			}
		})
	}
}

func TestOptionsWithRefusesBeforeSending(t *testing.T) {
	for _, test := range wrongOptions {
		t.Run(test.name, func(t *testing.T) {
			respond, calls := answers(503)
			c := mocked(respond)
			done := 0
			install(t, c, attempts(1), func(o *options) {
				o.Hooks = []restyretry.Hooks{{OnDone: func(restyretry.Attempt) { done++ }}}
			})
			ctx := restyretry.With(context.Background(), test.change)
			for range 2 { // the second time from what the context remembers
				_, err := c.R().SetContext(ctx).Get("/")
				wantError(t, err, test.says)
			}
			if *calls != 0 || done != 0 {
				t.Errorf("got %d calls and %d requests begun, want none", *calls, done)
			}
			if get(t, c, context.Background()); *calls != 1 {
				t.Errorf("got %d calls without the context, want 1", *calls)
			}
		})
	}
}

func TestOptionsNilClient(t *testing.T) {
	_, err := restyretry.Install(nil)
	wantError(t, err, []string{"client", "nil"})
}

func TestOptionsAtTheirLimitsAreRight(t *testing.T) {
	install(t, mocked(nil), func(o *options) {
		o.Attempts = 100
		o.Methods = []string{"GET", "get", "M-SEARCH", "X!#$%&'*+.^_`|~"}
		o.Statuses = []int{100, 599}
		o.URL = restyretry.URLs("/relative", "http://{host}.test/{path}", "https://a.test/?q=1")
	})
	install(t, mocked(nil), attempts(1), func(o *options) {
		o.URL = restyretry.BaseURLs("https://user:secret@a.test/v1/", "http://{host}/")
	})
}

// Wrong is what the last function leaves, not what was there in between.
func TestOptionsAreCheckedAtTheEnd(t *testing.T) {
	install(t, mocked(nil), attempts(0), attempts(1))
}

func TestOptionsLaterFunctionWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if got := tries(t, 503, attempts(5), attempts(2)); got != 2 {
			t.Errorf("Install: got %d calls, want 2", got)
		}
		respond, calls := answers(503)
		c := mocked(respond)
		p := install(t, c, attempts(5))
		if err := p.Update(attempts(7), attempts(4)); err != nil {
			t.Fatal(err)
		}
		if get(t, c, context.Background()); *calls != 4 {
			t.Errorf("Update: got %d calls, want 4", *calls)
		}
		*calls = 0
		if get(t, c, restyretry.With(context.Background(), attempts(7), attempts(6))); *calls != 6 {
			t.Errorf("With: got %d calls, want 6", *calls)
		}
	})
}

func TestOptionsUpdateAddsToWhatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, _ := answers(409)
		c := mocked(respond)
		p := install(t, c, attempts(4), constant(time.Second))
		if got := len(get(t, c, context.Background())); got != 1 {
			t.Errorf("before: got %d attempts, want 1", got)
		}
		if err := p.Update(func(o *options) { o.Statuses = append(o.Statuses, 409) }); err != nil {
			t.Fatal(err)
		}
		past := get(t, c, context.Background())
		if len(past) != 4 || past[0].Wait != time.Second {
			t.Errorf("got %d attempts, first wait %v, want 4 and 1s", len(past), past[0].Wait)
		}
	})
}

func TestOptionsRequestUnderWayKeepsIts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, calls := answers(503)
		c := mocked(respond)
		var p *restyretry.Plugin
		p = install(t, c, attempts(4), func(o *options) {
			o.Hooks = []restyretry.Hooks{{OnRetry: func(restyretry.Attempt) {
				if err := p.Update(attempts(2)); err != nil {
					t.Error(err)
				}
			}}}
		})
		if get(t, c, context.Background()); *calls != 4 {
			t.Errorf("got %d calls, want 4", *calls)
		}
		*calls = 0
		if get(t, c, context.Background()); *calls != 2 {
			t.Errorf("next request: got %d calls, want 2", *calls)
		}
	})
}

func TestOptionsNestedWithAddsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, _ := answers(409)
		c := mocked(respond)
		install(t, c, constant(0))
		type key struct{}
		outer := restyretry.With(context.Background(), attempts(5), func(o *options) {
			o.Statuses = append(o.Statuses, 409)
		})
		between, cancel := context.WithCancel(context.WithValue(outer, key{}, "kept"))
		defer cancel()
		inner := restyretry.With(between, constant(time.Second))
		innermost := restyretry.With(inner, attempts(2))

		for _, test := range []struct {
			name     string
			ctx      context.Context
			attempts int
			wait     time.Duration
		}{
			{"none", context.Background(), 1, 0},
			{"outer", outer, 5, 0},
			{"inner", inner, 5, time.Second},
			{"innermost", innermost, 2, time.Second},
			{"outer again", outer, 5, 0},
		} {
			past := get(t, c, test.ctx)
			if len(past) != test.attempts || past[0].Wait != test.wait {
				t.Errorf("%s: got %d attempts and %v, want %d and %v",
					test.name, len(past), past[0].Wait, test.attempts, test.wait)
			}
		}
		if innermost.Value(key{}) != "kept" {
			t.Error("a value of the context is lost")
		}
		if cancel(); innermost.Err() == nil {
			t.Error("the context does not end with its parent")
		}
	})
}

func TestOptionsWithSiblingsDoNotMix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, _ := answers(503)
		c := mocked(respond)
		install(t, c)
		parent := context.Background()
		for range 3 { // so that a shared slice would have room for one more
			parent = restyretry.With(parent, constant(0))
		}
		two, four := restyretry.With(parent, attempts(2)), restyretry.With(parent, attempts(4))
		for _, test := range []struct {
			ctx  context.Context
			want int
		}{{two, 2}, {four, 4}, {parent, 3}} {
			if got := len(get(t, c, test.ctx)); got != test.want {
				t.Errorf("got %d attempts, want %d", got, test.want)
			}
		}
	})
}

func TestOptionsWithSiblingsAtOnce(t *testing.T) {
	five := slices.Repeat([]func(*options){constant(0)}, 5)
	parent := restyretry.With(context.Background(), five...)
	c := mocked(httpmock.NewStringResponder(503, ""))
	install(t, c)
	var wg sync.WaitGroup
	for n := 1; n <= 8; n++ {
		wg.Go(func() {
			resp, err := c.R().SetContext(restyretry.With(parent, attempts(n))).Get("/")
			if err != nil || resp.Request.Attempt != n {
				t.Errorf("got %d attempts, %v, want %d", resp.Request.Attempt, err, n)
			}
		})
	}
	wg.Wait()
}

func TestOptionsWithKeepsItsOwnFunctions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, _ := answers(503)
		c := mocked(respond)
		install(t, c)
		list := []func(*options){attempts(2)}
		ctx := restyretry.With(context.Background(), list...)
		list[0] = attempts(5)
		if got := len(get(t, c, ctx)); got != 2 {
			t.Errorf("got %d attempts, want 2", got)
		}
	})
}

func TestOptionsWithRunsOncePerContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, _ := answers(503)
		c := mocked(respond)
		p := install(t, c)
		runs := 0
		ctx := restyretry.With(context.Background(), func(o *options) {
			runs++
			o.Statuses = append(o.Statuses, 404)
		})
		for range 3 {
			get(t, c, ctx)
		}
		if runs != 1 {
			t.Errorf("got %d runs for 3 requests, want 1", runs)
		}

		// What it remembers is not older than the client's options.
		if err := p.Update(attempts(5)); err != nil {
			t.Fatal(err)
		}
		if got := len(get(t, c, ctx)); got != 5 {
			t.Errorf("after Update: got %d attempts, want 5", got)
		}
	})
}

func TestOptionsWithServesManyClients(t *testing.T) {
	ctx := restyretry.With(context.Background(), constant(0), func(o *options) { o.Attempts++ })
	var wg sync.WaitGroup
	for n := 1; n <= 4; n++ {
		c := mocked(httpmock.NewStringResponder(503, ""))
		install(t, c, attempts(n))
		for range 3 {
			wg.Go(func() {
				if resp, err := c.R().SetContext(ctx).Get("/"); err != nil || resp.Request.Attempt != n+1 {
					t.Errorf("got %d attempts, %v, want %d", resp.Request.Attempt, err, n+1)
				}
			})
		}
	}
	wg.Wait()
}

func TestOptionsWithoutPluginAreHarmless(t *testing.T) {
	respond, calls := answers(503)
	get(t, mocked(respond), restyretry.With(context.Background(), attempts(5)))
	if *calls != 1 {
		t.Errorf("got %d calls, want 1", *calls)
	}
}

func TestOptionsCopyTheCallersSlices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		methods := append(make([]string, 0, 10), "GET")
		statuses := append(make([]int, 0, 10), 404)
		done := 0
		hooks := append(make([]restyretry.Hooks, 0, 10), restyretry.Hooks{OnDone: func(restyretry.Attempt) { done++ }})

		respond, _ := answers(404)
		c := mocked(respond)
		p := install(t, c, func(o *options) { o.Methods, o.Statuses, o.Hooks = methods, statuses, hooks })
		methods[0], statuses[0], hooks[0] = "PUT", 500, restyretry.Hooks{}
		if got := len(get(t, c, context.Background())); got != 3 || done != 1 {
			t.Errorf("the options changed with the slices: %d attempts and %d calls of the hook, want 3 and 1", got, done)
		}

		grow := func(o *options) {
			o.Methods = append(o.Methods, "POST")
			o.Statuses = append(o.Statuses, 409)
			o.Hooks = append(o.Hooks, restyretry.Hooks{OnDone: func(restyretry.Attempt) {}})
		}
		get(t, c, restyretry.With(context.Background(), grow))
		if err := p.Update(grow); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(methods[:cap(methods)][1:3], []string{"", ""}) ||
			!slices.Equal(statuses[:cap(statuses)][1:3], []int{0, 0}) || hooks[:2][1].OnDone != nil {
			t.Errorf("the slices were written to: %q %v", methods[:3], statuses[:3])
		}
	})
}

func TestOptionsWithDoesNotChangeTheClients(t *testing.T) {
	tests := []struct {
		name   string
		change func(*options)
	}{
		{"append", func(o *options) {
			o.Methods = append(o.Methods, "POST")
			o.Statuses = append(o.Statuses, 404)
			o.Hooks = append(o.Hooks, restyretry.Hooks{OnAttempt: refuse})
		}},
		{"in place", func(o *options) {
			o.Methods[0], o.Statuses[0] = "X", 404
			o.Hooks[0].OnAttempt = refuse
		}},
		{"append in place", func(o *options) {
			o.Methods = append(o.Methods[:0], "POST")
			o.Statuses = append(o.Statuses[:0], 404)
			o.Hooks = append(o.Hooks[:0], restyretry.Hooks{OnAttempt: refuse})
		}},
	}
	for _, test := range tests {
		synctest.Test(t, func(t *testing.T) {
			respond, calls := answers(429)
			c := mocked(respond)
			p := install(t, c, func(o *options) {
				o.Methods, o.Statuses = []string{"GET"}, []int{429}
				o.Hooks = []restyretry.Hooks{{OnDone: func(restyretry.Attempt) {}}}
			})
			_, _ = c.R().SetContext(restyretry.With(context.Background(), test.change)).Get("/")
			_ = p.Update(test.change, attempts(0)) // fails

			*calls = 0
			if got := summary(get(t, c, context.Background())); got != "1 status, 2 status, 3 attempts" || *calls != 3 {
				t.Errorf("%s: the client's options have changed: got %s, %d calls", test.name, got, *calls)
			}
		})
	}
}

// What a function has seen of the slices is not what the client goes on with.
func TestOptionsSlicesKeptByAFunction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, calls := answers(429)
		c := mocked(respond)
		var methods []string
		var statuses []int
		keep := func(o *options) { methods, statuses = o.Methods, o.Statuses }
		p := install(t, c, keep)
		for _, use := range []func(){
			func() {},
			func() { get(t, c, restyretry.With(context.Background(), keep)) },
			func() { _ = p.Update(keep) },
		} {
			use()
			clear(methods)
			clear(statuses)
			*calls = 0
			if get(t, c, context.Background()); *calls != 3 {
				t.Errorf("got %d calls, want 3", *calls)
			}
		}
	})
}

// refuse is an OnAttempt that stops every request.
func refuse(restyretry.Attempt) error { return errors.New("refused") }

func TestOptionsExplicitZeroIsAValue(t *testing.T) {
	broken := errors.New("broken")
	yes := func(restyretry.Attempt) bool { return true }
	tests := []struct {
		name   string
		before func(*options) // of the client
		zero   func(*options)
		status int // 0 for an error of the transport
		took   time.Duration
		want   string
	}{
		{
			"Methods", nil, func(o *options) { o.Methods = nil }, 503, 0,
			"1 method",
		},
		{
			"Statuses", nil, func(o *options) { o.Statuses = nil }, 429, 0,
			"1 not-retryable",
		},
		{
			"Statuses, not those of ServerErrors", nil, func(o *options) { o.Statuses = []int{} }, 503, 0,
			"1 status, 2 status, 3 attempts",
		},
		{
			"ServerErrors", nil, func(o *options) { o.ServerErrors = false }, 503, 0,
			"1 not-retryable",
		},
		{
			"ServerErrors, not Statuses", nil, func(o *options) { o.ServerErrors = false }, 429, 0,
			"1 status, 2 status, 3 attempts",
		},
		{
			"Errors", func(o *options) { o.Errors = func(error) bool { return true } },
			func(o *options) { o.Errors = nil }, 0, 0,
			"1 not-retryable",
		},
		{
			"RetryIf", func(o *options) { o.RetryIf = yes }, func(o *options) { o.RetryIf = nil }, 200, 0,
			"1 succeeded",
		},
		{
			"Unless", func(o *options) { o.Unless = yes }, func(o *options) { o.Unless = nil }, 503, 0,
			"1 status, 2 status, 3 attempts",
		},
		{
			"AttemptTimeout", func(o *options) { o.AttemptTimeout = time.Second },
			func(o *options) { o.AttemptTimeout = 0 }, 200, time.Minute,
			"1 succeeded",
		},
		{
			"MaxElapsed", func(o *options) { o.MaxElapsed = time.Second },
			func(o *options) { o.MaxElapsed = 0 }, 503, time.Minute,
			"1 status, 2 status, 3 attempts",
		},
		{
			"URL", func(o *options) { o.URL = restyretry.URLs("http://b.test/") }, func(o *options) { o.URL = nil }, 200, 0,
			"1 succeeded",
		},
		{
			"RaiseForStatus", func(o *options) { o.RaiseForStatus = true },
			func(o *options) { o.RaiseForStatus = false }, 404, 0,
			"1 not-retryable",
		},
		{
			"Hooks", func(o *options) { o.Hooks = []restyretry.Hooks{{OnAttempt: refuse}} },
			func(o *options) { o.Hooks = nil }, 200, 0,
			"1 succeeded",
		},
		{
			"PreRequest", func(o *options) {
				o.PreRequest = func(*resty.Client, *http.Request) error { return broken }
			},
			func(o *options) { o.PreRequest = nil }, 200, 0,
			"1 succeeded",
		},
	}
	for _, test := range tests {
		synctest.Test(t, func(t *testing.T) {
			c := mocked(func(r *http.Request) (*http.Response, error) {
				if r.URL.Host != "api.test" {
					return nil, fmt.Errorf("asked %s", r.URL.Host)
				}
				if err := sleepIn(r.Context(), test.took); err != nil {
					return nil, err
				}
				if test.status == 0 {
					return nil, broken
				}
				return httpmock.NewStringResponse(test.status, ""), nil
			})
			client := []func(*options){constant(0)}
			if test.before != nil {
				client = append(client, test.before)
			}
			install(t, c, client...)
			r := c.R().SetContext(restyretry.With(context.Background(), test.zero))
			if _, err := r.Get("/"); err != nil && !errors.Is(err, broken) {
				t.Errorf("%s: got error %v", test.name, err)
			}
			if got := summary(restyretry.History(r)); got != test.want {
				t.Errorf("%s: got %s, want %s", test.name, got, test.want)
			}
		})
	}
}

// sleepIn sleeps until d has passed or the context has ended.
func sleepIn(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestOptionsDefaultStatuses(t *testing.T) {
	retried := map[int]bool{408: true, 425: true, 429: true}
	for status := 500; status <= 599; status++ {
		retried[status] = status != 501
	}
	synctest.Test(t, func(t *testing.T) {
		for status := 100; status <= 599; status++ {
			want := 1
			if retried[status] {
				want = 3
			}
			if got := tries(t, status); got != want {
				t.Errorf("status %d: got %d calls, want %d", status, got, want)
			}
		}
	})
}

func TestOptionsDefaultMethods(t *testing.T) {
	for method, want := range map[string]int{
		"GET": 3, "HEAD": 3, "OPTIONS": 3, "TRACE": 3, "PUT": 3, "DELETE": 3, "QUERY": 3,
		"POST": 1, "PATCH": 1, "CONNECT": 1, "PROPFIND": 1, "X": 1,
	} {
		synctest.Test(t, func(t *testing.T) {
			respond, calls := answers(503)
			c := mocked(respond)
			install(t, c)
			if _, err := c.R().Execute(method, "/"); err != nil {
				t.Fatal(err)
			}
			if *calls != want {
				t.Errorf("%s: got %d calls, want %d", method, *calls, want)
			}
		})
	}
}

func TestOptionsMethodsInAnyCase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, calls := answers(503)
		c := mocked(respond)
		install(t, c, func(o *options) { o.Methods = []string{"pOst"} })
		if _, err := c.R().Post("/"); err != nil || *calls != 3 {
			t.Errorf("POST: got %d calls, %v, want 3", *calls, err)
		}
		*calls = 0
		if get(t, c, context.Background()); *calls != 1 {
			t.Errorf("GET: got %d calls, want 1", *calls)
		}
	})
}

func TestOptionsDefaultWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, _ := answers(503)
		c := mocked(respond)
		install(t, c, attempts(11), func(o *options) { o.Rand = func() float64 { return 0.5 } })
		var got []time.Duration
		for _, a := range get(t, c, context.Background()) {
			got = append(got, a.Wait)
		}
		want := seconds(0.25, 0.5, 1, 2, 4, 8, 15, 15, 15, 15, 0)
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestOptionsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if got := tries(t, 503, restyretry.Off); got != 1 {
			t.Errorf("Install: got %d calls, want 1", got)
		}
		respond, calls := answers(503)
		c := mocked(respond)
		install(t, c)
		got := summary(get(t, c, restyretry.With(context.Background(), restyretry.Off)))
		if *calls != 1 || got != "1 attempts" {
			t.Errorf("With: got %d calls, %s", *calls, got)
		}
	})
}

func TestOptionsAiohttpRetry(t *testing.T) {
	statuses := map[int]int{200: 1, 404: 1, 408: 1, 425: 1, 429: 1, 500: 3, 501: 3, 503: 3, 599: 3}
	synctest.Test(t, func(t *testing.T) {
		for status, want := range statuses {
			if got := tries(t, status, restyretry.AiohttpRetry); got != want {
				t.Errorf("status %d: got %d calls, want %d", status, got, want)
			}
		}
	})

	methods := map[string]int{
		"GET": 3, "HEAD": 3, "PUT": 3, "DELETE": 3, "OPTIONS": 3, "TRACE": 3,
		"POST": 3, "CONNECT": 3, "PATCH": 3, "QUERY": 1,
	}
	for method, want := range methods {
		synctest.Test(t, func(t *testing.T) {
			c := mocked(httpmock.NewErrorResponder(errors.New("anything")))
			install(t, c, restyretry.AiohttpRetry)
			r := c.R()
			if _, err := r.Execute(method, "/"); err == nil {
				t.Error("got no error")
			}
			if got := len(restyretry.History(r)); got != want {
				t.Errorf("%s: got %d attempts, want %d", method, got, want)
			}
		})
	}
}

func TestOptionsAiohttpRetryWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, _ := answers(503)
		c := mocked(respond)
		install(t, c, restyretry.AiohttpRetry, attempts(11))
		var got []time.Duration
		for _, a := range get(t, c, context.Background()) {
			got = append(got, a.Wait)
		}
		want := seconds(0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 0)
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestOptionsTakeTheClientsRetryCount(t *testing.T) {
	for count, want := range map[int]int{-1: 3, 0: 3, 1: 2, 4: 5, 99: 100} {
		synctest.Test(t, func(t *testing.T) {
			respond, calls := answers(503)
			c := mocked(respond).SetRetryCount(count)
			install(t, c)
			if get(t, c, context.Background()); *calls != want {
				t.Errorf("RetryCount %d: got %d calls, want %d", count, *calls, want)
			}
		})
	}
	_, err := restyretry.Install(mocked(nil).SetRetryCount(100))
	wantError(t, err, []string{"Attempts", "101"})
	install(t, mocked(nil).SetRetryCount(100), attempts(3))
}

// Resty's own back-off, of which the upper half is random.
func TestOptionsTakeTheClientsWaits(t *testing.T) {
	for u, want := range map[float64][]time.Duration{
		0:         seconds(1, 1, 1.5, 1.5, 0),
		almostOne: seconds(1, 2, 3, 3, 0),
	} {
		synctest.Test(t, func(t *testing.T) {
			respond, _ := answers(503)
			c := mocked(respond).SetRetryCount(4).SetRetryWaitTime(time.Second).SetRetryMaxWaitTime(3 * time.Second)
			install(t, c, func(o *options) { o.Rand = func() float64 { return u } })
			var got []time.Duration
			for _, a := range get(t, c, context.Background()) {
				got = append(got, a.Wait.Round(time.Microsecond))
			}
			if !slices.Equal(got, want) {
				t.Errorf("Rand %.1f: got %v, want %v", u, got, want)
			}
		})
	}
}
