package restyretry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

type options = restyretry.Options

// within returns a request of a client with a context that changes its options.
func within(c *harness.Client, opts ...harness.Option) *resty.Request {
	return c.R().SetContext(restyretry.With(context.Background(), opts...))
}

// wantRefused wants an error with these words of Install, of Update and of a
// request with With, none of which has any effect.
func wantRefused(t *testing.T, option harness.Option, words ...string) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.Mock(harness.Statuses(503))
		p, err := restyretry.Install(c.Client, harness.Attempts(5), option)
		harness.WantError(t, err, words...)
		if resp, err := c.R().Get("/"); p != nil || err != nil || resp.Request.Attempt != 1 || c.RetryAfter != nil {
			t.Errorf("got %v, %v, %v, want a client that was left alone", p, resp, err)
		}

		c.Install(t, harness.Attempts(2), harness.Wait(time.Second))
		harness.WantError(t, c.Plugin.Update(harness.Attempts(5), option), words...)
		r := within(c, option)
		for range 2 { // the second time from what the context remembers
			refused := c.Do(t, r, "GET", "/")
			harness.WantError(t, refused.Err, words...)
			harness.Equal(t, "what became of it", fmt.Sprint(len(refused.Sent), len(refused.Done), len(refused.History)), "0 0 0")
		}
		c.Get(t, "/").Want(t, retried(503, "1s"))
	})
}

func TestInvalidOptionsAreRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		change harness.Option
		words  []string
	}{
		"no attempts":                      {func(o *options) { o.Attempts = 0 }, []string{"Attempts", " 0"}},
		"negative attempts":                {func(o *options) { o.Attempts = -3 }, []string{"Attempts", "-3"}},
		"too many attempts":                {func(o *options) { o.Attempts = 101 }, []string{"Attempts", "101"}},
		"empty method":                     {func(o *options) { o.Methods = []string{"GET", ""} }, []string{"Methods", `""`}},
		"two methods in one":               {func(o *options) { o.Methods = []string{"GET, PUT"} }, []string{"Methods", `"GET, PUT"`}},
		"method with a line end":           {func(o *options) { o.Methods = []string{"GET\r\n"} }, []string{"Methods", `"GET\r\n"`}},
		"status 99":                        {func(o *options) { o.Statuses = append(o.Statuses, 99) }, []string{"Statuses", "99"}},
		"status 600":                       {func(o *options) { o.Statuses = []int{600} }, []string{"Statuses", "600"}},
		"negative status":                  {func(o *options) { o.Statuses = []int{503, -1} }, []string{"Statuses", "-1"}},
		"refused 600":                      {func(o *options) { o.Refused = []int{600} }, []string{"Refused", "600"}},
		"attempt header of others":         {func(o *options) { o.AttemptHeader = "Host" }, []string{"AttemptHeader", `"Host"`, "X-Attempt"}},
		"attempt header of the connection": {func(o *options) { o.AttemptHeader = "connection" }, []string{"AttemptHeader", `"connection"`}},
		"key in a header of others":        {func(o *options) { o.IdempotencyHeader = "Content-Length" }, []string{"IdempotencyHeader", `"Content-Length"`, "Idempotency-Key"}},
		"key in no header":                 {func(o *options) { o.IdempotencyHeader = "a b" }, []string{"IdempotencyHeader", `"a b"`}},
		"no strategy":                      {func(o *options) { o.Wait = nil }, []string{"Wait", "nil"}},
		"full jitter of no strategy":       {func(o *options) { o.Wait = restyretry.FullJitter(nil) }, []string{"Wait is nil"}},
		"equal jitter of no strategy":      {func(o *options) { o.Wait = restyretry.EqualJitter(nil) }, []string{"Wait is nil"}},
		"jitter added to no strategy":      {func(o *options) { o.Wait = restyretry.AddJitter(nil, 1, 2) }, []string{"Wait is nil"}},
		"negative timeout":                 {harness.AttemptTimeout(-time.Second), []string{"AttemptTimeout", "-1s"}},
		"negative time":                    {harness.MaxElapsed(-time.Minute), []string{"MaxElapsed", "-1m0s"}},
		"negative wait":                    {harness.MaxServerWait(-time.Second), []string{"MaxServerWait", "-1s"}},
		"negative size":                    {harness.MaxReplay(-1), []string{"MaxReplay", "-1"}},
		"nil function":                     {nil, []string{"function", "options", "nil"}},
	} {
		t.Run(name, func(t *testing.T) { wantRefused(t, tt.change, tt.words...) })
	}
	_, err := restyretry.Install(nil)
	harness.WantError(t, err, "client", "nil")
}

func TestOptionsAtTheirLimitsAreValid(t *testing.T) {
	harness.New(t, nil, func(o *options) {
		o.Attempts = 100
		o.Methods = []string{"GET", "get", "M-SEARCH", "X!#$%&'*+.^_`|~"}
		o.Statuses = []int{100, 599}
		o.URL = restyretry.URLs("/relative", "http://{host}.test/{path}", "https://a.test/?q=1")
	})
	harness.New(t, nil, harness.Attempts(1), harness.URL(restyretry.BaseURLs("https://user:secret@a.test/v1/", "http://{host}/")))
	harness.New(t, nil, harness.Attempts(0), harness.Attempts(1)) // they are checked at the end
}

func TestALaterFunctionWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.New(t, harness.Statuses(503), harness.Attempts(5), harness.Attempts(2))
		c.Get(t, "/").Want(t, retried(503, "1s"))
		c.Update(t, harness.Attempts(7), harness.Attempts(3))
		c.Get(t, "/").Want(t, retried(503, "1s 1s"))
		c.Do(t, within(c, harness.Attempts(7), restyretry.Off), "GET", "/").Want(t, "503 attempts")
	})
}

func TestUpdateAddsToWhatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.New(t, harness.Statuses(409), harness.Attempts(2))
		c.Get(t, "/").Want(t, "409 not-retryable")
		c.Update(t, func(o *options) { o.Statuses = append(o.Statuses, 409) })
		c.Get(t, "/").Want(t, "409 status 1s | 409 attempts")
	})
}

func TestARequestUnderWayKeepsItsOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *harness.Client
		c = harness.New(t, harness.Statuses(503), harness.OnRetry(func(restyretry.Attempt) {
			c.Update(t, harness.Attempts(2))
		}))
		c.Get(t, "/").Want(t, retried(503, "1s 1s"))
		c.Get(t, "/").Want(t, retried(503, "1s"))
	})
}

func TestNestedOverridesAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.New(t, harness.Statuses(409), harness.Wait(2*time.Second))
		type key struct{}
		outer := restyretry.With(context.Background(), harness.Attempts(3), func(o *options) {
			o.Statuses = append(o.Statuses, 409)
		})
		between, cancel := context.WithCancel(context.WithValue(outer, key{}, "kept"))
		defer cancel()
		inner := restyretry.With(between, harness.Wait(time.Second))
		innermost := restyretry.With(inner, harness.Attempts(2))
		for _, tt := range []struct {
			ctx  context.Context
			want string
		}{
			{context.Background(), "409 not-retryable"},
			{outer, "409 status 2s | 409 status 2s | 409 attempts"},
			{inner, "409 status 1s | 409 status 1s | 409 attempts"},
			{innermost, "409 status 1s | 409 attempts"},
			{outer, "409 status 2s | 409 status 2s | 409 attempts"},
		} {
			c.Do(t, c.R().SetContext(tt.ctx), "GET", "/").Want(t, tt.want)
		}
		harness.Equal(t, "a value of the context", innermost.Value(key{}), "kept")
		cancel()
		harness.WantIs(t, innermost.Err(), context.Canceled)
	})
}

func TestOverridesOfOneParentDoNotMix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := []harness.Option{harness.Attempts(9)}
		parent := restyretry.With(context.Background(), list...)
		list[0] = harness.Attempts(1)
		for range 2 { // so that a shared slice would have room for one more
			parent = restyretry.With(parent, harness.Attempts(9))
		}
		c := harness.New(t, harness.Statuses(503))
		var group sync.WaitGroup
		for n := 1; n <= 8; n++ {
			group.Go(func() {
				resp, _ := c.R().SetContext(restyretry.With(parent, harness.Attempts(n))).Get("/")
				harness.Equal(t, "attempts", resp.Request.Attempt, n)
			})
		}
		group.Wait()
		c.Do(t, c.R().SetContext(parent), "GET", "/").Want(t, retried(503, strings.Repeat("1s ", 8)))
	})
}

func TestOverridesAreMadeOncePerContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		few, many := harness.New(t, harness.Statuses(503), harness.Attempts(1)), harness.New(t, harness.Statuses(503), harness.Attempts(2))
		runs := 0
		ctx := restyretry.With(context.Background(), func(o *options) { runs++; o.Attempts++ })
		send := func(c *harness.Client, want string, runsUntilNow int) {
			t.Helper()
			for range 2 {
				c.Do(t, c.R().SetContext(ctx), "GET", "/").Want(t, want)
			}
			harness.Equal(t, "runs", runs, runsUntilNow)
		}
		send(few, "503 status 1s | 503 attempts", 1)
		send(many, "503 status 1s | 503 status 1s | 503 attempts", 2)
		send(few, "503 status 1s | 503 attempts", 3)
		few.Update(t, harness.Wait(2*time.Second))
		send(few, "503 status 2s | 503 attempts", 4)
	})
}

func TestOverridesServeManyRequestsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := make([]context.Context, 4)
		for i := range shared {
			shared[i] = restyretry.With(context.Background(), func(o *options) { o.Attempts += i })
		}
		var group sync.WaitGroup
		for n := 1; n <= 2; n++ {
			c := harness.New(t, harness.Statuses(503), harness.Attempts(n))
			for i := range 100 {
				group.Go(func() {
					resp, err := c.R().SetContext(shared[i%4]).Get("/")
					if err != nil || resp.Request.Attempt != n+i%4 || len(restyretry.History(resp.Request)) != n+i%4 {
						t.Errorf("got %d attempts, %v, want %d", resp.Request.Attempt, err, n+i%4)
					}
				})
			}
			defer func() {
				s := c.Plugin.Stats()
				harness.Equal(t, "counted", fmt.Sprint(s.Requests, s.Attempts), fmt.Sprint(100, 25*(4*n+6)))
			}()
		}
		group.Wait()
	})
}

func TestOverridesWithoutThePluginAreHarmless(t *testing.T) {
	resp, err := within(harness.Mock(harness.Statuses(503)), harness.Attempts(5)).Get("/")
	if err != nil || resp.Request.Attempt != 1 {
		t.Errorf("got %d attempts, %v, want 1", resp.Request.Attempt, err)
	}
}

// refuse is an OnAttempt that stops every request.
func refuse(restyretry.Attempt) error { return errors.New("refused") }

func TestOptionsShareNoSlices(t *testing.T) {
	var kept []options // that a function has seen
	for name, change := range map[string]harness.Option{
		"append": func(o *options) {
			o.Methods, o.Statuses, o.Refused = append(o.Methods, "POST"), append(o.Statuses, 404), append(o.Refused, 404)
			o.Hooks = append(o.Hooks, restyretry.Hooks{OnAttempt: refuse})
		},
		"in place": func(o *options) {
			o.Methods[0], o.Statuses[0], o.Refused[0], o.Hooks[0].OnAttempt = "X", 404, 404, refuse
		},
		"append in place": func(o *options) {
			o.Methods, o.Statuses, o.Refused = append(o.Methods[:0], "X"), append(o.Statuses[:0], 404), append(o.Refused[:0], 404)
			o.Hooks = append(o.Hooks[:0], restyretry.Hooks{OnAttempt: refuse})
		},
		"later": func(o *options) { kept = append(kept, *o) },
	} {
		harness.Bubble(t, name, func(t *testing.T) {
			given := options{
				Methods: append(make([]string, 0, 10), "POST"), Statuses: append(make([]int, 0, 10), 429),
				Refused: append(make([]int, 0, 10), 429), Hooks: append(make([]restyretry.Hooks, 0, 10), restyretry.Hooks{}),
			}
			c := harness.New(t, harness.Statuses(429), harness.Attempts(2), func(o *options) {
				o.Methods, o.Statuses, o.Refused, o.Hooks = given.Methods, given.Statuses, given.Refused, given.Hooks
			})
			_, _ = within(c, change).Post("/")
			harness.WantError(t, c.Plugin.Update(change, harness.Attempts(0)), "Attempts")
			if name == "later" {
				c.Update(t, change)
			}
			if !slices.Equal(given.Methods[:2], []string{"POST", ""}) || !slices.Equal(given.Statuses[:2], []int{429, 0}) ||
				!slices.Equal(given.Refused[:2], []int{429, 0}) || given.Hooks[0].OnAttempt != nil || given.Hooks[:2][1].OnAttempt != nil {
				t.Errorf("got %+v, want slices that were left alone", given)
			}
			for _, o := range append(kept, given) {
				o.Methods[0], o.Statuses[0], o.Refused[0], o.Hooks[0].OnAttempt = "PUT", 500, 500, refuse
			}
			c.Do(t, c.R(), "POST", "/").Want(t, "429 status 1s | 429 attempts")
		})
	}
}

func TestAnExplicitZeroIsAValue(t *testing.T) {
	const all = "503 status 1s | 503 status 1s | 503 attempts"
	yes := func(restyretry.Attempt) bool { return true }
	broken := errors.New("broken")
	for _, tt := range []struct {
		name         string
		before, zero harness.Option // of the client, of the request
		script       harness.Script
		want         string
		err          []error
	}{
		{"Methods", restyretry.Off, func(o *options) { o.Attempts, o.Methods = 3, nil }, harness.Statuses(503), "503 method", nil},
		{"Statuses", restyretry.Off, func(o *options) { o.Attempts, o.Statuses = 3, nil }, harness.Statuses(429), "429 not-retryable", nil},
		{"Statuses, not ServerErrors", restyretry.Off, func(o *options) { o.Attempts, o.Statuses = 3, nil }, harness.Statuses(503), all, nil},
		{"ServerErrors", restyretry.Off, func(o *options) { o.Attempts, o.ServerErrors = 3, false }, harness.Statuses(503), "503 not-retryable", nil},
		{
			"ServerErrors, not Statuses", restyretry.Off, func(o *options) { o.Attempts, o.ServerErrors = 2, false },
			harness.Statuses(429), "429 status 1s | 429 attempts", nil,
		},
		{
			"Errors", func(o *options) { o.Errors = func(error) bool { return true } }, func(o *options) { o.Errors = nil },
			harness.Fails(broken), "error not-retryable",
			[]error{broken},
		},
		{"RetryIf", harness.RetryIf(yes), harness.RetryIf(nil), harness.Statuses(200), "200 succeeded", nil},
		{"Unless", func(o *options) { o.Unless = yes }, func(o *options) { o.Unless = nil }, harness.Statuses(503), all, nil},
		{
			"AttemptTimeout", harness.AttemptTimeout(time.Second), harness.AttemptTimeout(0),
			harness.After(time.Minute, harness.Says(200)), "200 succeeded", nil,
		},
		{"MaxElapsed", harness.MaxElapsed(time.Second), harness.MaxElapsed(0), harness.After(time.Minute, harness.Says(503)), all, nil},
		{
			"URL", harness.URL(restyretry.URLs("http://b.test/")), harness.URL(nil), func(_ int, r *http.Request) (*http.Response, error) {
				harness.Equal(t, "host", r.URL.Host, "api.test")
				return harness.Says(200)(1, r)
			}, "200 succeeded", nil,
		},
		{"RaiseForStatus", harness.RaiseForStatus, func(o *options) { o.RaiseForStatus = false }, harness.Statuses(404), "404 not-retryable", nil},
		{
			"Hooks", harness.OnAttempt(refuse), func(o *options) { o.Hooks = slices.Concat(nil, o.Hooks[1:]) }, // but for the harness's
			harness.Statuses(200), "200 succeeded", nil,
		},
		{
			"PreRequest", func(o *options) { o.PreRequest = func(*resty.Client, *http.Request) error { return broken } },
			func(o *options) { o.PreRequest = nil }, harness.Statuses(200), "200 succeeded", nil,
		},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			c := harness.New(t, tt.script, tt.before)
			c.Do(t, within(c, tt.zero), "GET", "/").Want(t, tt.want, tt.err...)
		})
	}
}

// asked answers with the status that is the path.
func asked(_ int, r *http.Request) (*http.Response, error) {
	status, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
	if err != nil {
		return nil, err
	}
	return harness.Says(status)(1, r)
}

// retried is the story of a request with these waits, whose attempts all had the
// same status.
func retried(status int, waits string) (story string) {
	for wait := range strings.FieldsSeq(waits) {
		story += fmt.Sprint(status, " status ", wait, " | ")
	}
	return story + fmt.Sprint(status, " attempts")
}

func TestStatusesThatAreRetriedByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.New(t, asked)
		for status := 100; status <= 599; status++ {
			want := fmt.Sprint(status, " not-retryable")
			switch {
			case status < 400:
				want = fmt.Sprint(status, " succeeded")
			case status == 408, status == 425, status == 429, status >= 500 && status != 501:
				want = retried(status, "1s 1s")
			}
			c.Get(t, fmt.Sprint("/", status)).Want(t, want)
		}
	})
}

func TestMethodsThatAreRetried(t *testing.T) {
	post := func(o *options) { o.Methods = []string{"pOst"} } // case-insensitive
	for _, tt := range []struct {
		option         harness.Option
		retried, other string
	}{
		{harness.Attempts(3), "GET HEAD OPTIONS TRACE PUT DELETE QUERY", "POST PATCH CONNECT PROPFIND X"},
		{post, "POST post", "GET"},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(503), tt.option)
			for method := range strings.FieldsSeq(tt.retried) {
				c.Do(t, c.R(), method, "/").Want(t, retried(503, "1s 1s"))
			}
			for method := range strings.FieldsSeq(tt.other) {
				c.Do(t, c.R(), method, "/").Want(t, "503 method")
			}
		})
	}
}

// A server that has refused a request has not acted on it, so any method may be sent
// again if something asks for it.
func TestAPOSTIsSentAgainOnlyAfterARefusal(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		option harness.Option
		want   string
	}{
		{"by default", 429, harness.Attempts(3), "429 status 1s | 200 succeeded"},
		{"by default", 425, harness.Attempts(3), "425 status 1s | 200 succeeded"},
		{"is no refusal by default", 503, harness.Attempts(3), "503 method"},
		{"is no refusal by default", 408, harness.Attempts(3), "408 method"},
		{"by default", 401, harness.Attempts(3), "401 not-retryable"},
		{"in Statuses", 421, func(o *options) { o.Statuses = []int{421} }, "421 status 1s | 200 succeeded"},
		{"in Refused", 503, func(o *options) { o.Refused = append(o.Refused, 503) }, "503 status 1s | 200 succeeded"},
		{"Refused is empty", 429, func(o *options) { o.Refused = nil }, "429 method"},
		{"all of aiohttp_retry's", 503, restyretry.AiohttpRetry, "503 status 100ms | 200 succeeded"},
	} {
		harness.Bubble(t, fmt.Sprint(tt.status, " ", tt.name), func(t *testing.T) {
			c := harness.New(t, harness.Statuses(tt.status, 200), tt.option)
			c.Do(t, c.R().SetBody("an order"), "POST", "/").Want(t, tt.want)
		})
	}
}

func TestOffAllowsNoRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.New(t, harness.Statuses(503))
		c.Do(t, within(c, restyretry.Off), "GET", "/").Want(t, "503 attempts")
		harness.New(t, harness.Statuses(503), restyretry.Off).Get(t, "/").Want(t, "503 attempts")
	})
}

func TestAiohttpRetryHasTheDefaultsOfItsDocumentation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.Mock(asked).Install(t, restyretry.AiohttpRetry)
		c.Get(t, "/200").Want(t, "200 succeeded")
		for _, status := range []int{404, 408, 425, 429} {
			c.Get(t, fmt.Sprint("/", status)).Want(t, fmt.Sprint(status, " not-retryable"))
		}
		for _, status := range []int{500, 501, 503, 599} {
			c.Get(t, fmt.Sprint("/", status)).Want(t, retried(status, "100ms 200ms"))
		}
		for method := range strings.FieldsSeq("GET HEAD PUT DELETE OPTIONS TRACE POST CONNECT PATCH") {
			c.Do(t, c.R(), method, "/fail").Want(t, "error error 100ms | error error 200ms | error attempts", harness.ErrAny)
		}
		c.Do(t, c.R(), "QUERY", "/fail").Want(t, "error method", harness.ErrAny)
		c.Update(t, harness.Attempts(11))
		c.Get(t, "/503").Want(t, retried(503, "100ms 200ms 400ms 800ms 1.6s 3.2s 6.4s 12.8s 25.6s 30s"))
	})
}

func TestTheDefaultWaitIsExponentialWithFullJitter(t *testing.T) {
	for part, want := range map[float64]string{
		0: "0s 0s 0s 0s 0s 0s 0s", 0.5: "250ms 500ms 1s 2s 4s 8s 15s", 1: "500ms 1s 2s 4s 8s 16s 30s",
	} {
		synctest.Test(t, func(t *testing.T) {
			c := harness.Mock(harness.Statuses(503)).Install(t, harness.Attempts(8), harness.Rand(part))
			c.Get(t, "/").Want(t, strings.ReplaceAll(retried(503, want), " 0s", ""))
		})
	}
}

func TestTheClientsRetrySettingsBecomeDefaults(t *testing.T) {
	for count, want := range map[int]int{-1: 3, 0: 3, 1: 2, 4: 5, 99: 100} {
		synctest.Test(t, func(t *testing.T) {
			c := harness.Mock(harness.Statuses(503))
			c.SetRetryCount(count)
			c.Install(t, harness.Wait(time.Second)).Get(t, "/").Want(t, retried(503, strings.Repeat("1s ", want-1)))
		})
	}
	c := harness.Mock(nil)
	c.SetRetryCount(100)
	_, err := restyretry.Install(c.Client)
	harness.WantError(t, err, "Attempts", "101", "RetryCount is 100")
	c.Install(t, harness.Attempts(3))

	// Resty's own back-off, of which the upper half is random.
	for part, want := range map[float64]string{0: "1s 1s 1.5s 1.5s", 0.5: "1s 1.5s 2.25s 2.25s", 1: "1s 2s 3s 3s"} {
		synctest.Test(t, func(t *testing.T) {
			c := harness.Mock(harness.Statuses(503))
			c.SetRetryCount(4).SetRetryWaitTime(time.Second).SetRetryMaxWaitTime(3 * time.Second)
			c.Install(t, harness.Rand(part)).Get(t, "/").Want(t, retried(503, want))
		})
	}
}

func TestEverySliceOfTheOptionsIsCopied(t *testing.T) {
	c := harness.New(t, harness.Statuses(200))
	kept := map[string]uintptr{}
	each := func(see func(name string, slice reflect.Value)) func(*options) {
		return func(o *options) {
			all := reflect.ValueOf(o).Elem()
			for i := range all.NumField() {
				if all.Field(i).Kind() == reflect.Slice {
					see(all.Type().Field(i).Name, all.Field(i))
				}
			}
		}
	}
	c.Update(t, each(func(name string, slice reflect.Value) {
		slice.Set(slice.Slice(0, 0))
		slice.Grow(8)
		kept[name] = slice.Pointer()
	}))
	c.Update(t, each(func(name string, slice reflect.Value) {
		if slice.Cap() > 0 && slice.Pointer() == kept[name] {
			t.Errorf("%s: got the caller's own slice, want a copy", name)
		}
	}))
	harness.Equal(t, "slices", len(kept) > 0, true)
}

func TestEveryOptionIsInTheREADME(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for i := range reflect.TypeFor[options]().NumField() {
		field := reflect.TypeFor[options]().Field(i)
		if !strings.Contains(string(text), "`"+field.Name+"`") && !strings.Contains(string(text), "o."+field.Name+" ") {
			t.Errorf("%s is not in the README", field.Name)
		}
	}
}
