package limits

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

const ms = time.Millisecond

func TestTheWaitsAreTheClientsUnlessTheyWereRestysDefaults(t *testing.T) {
	const fallback = 2 * time.Second
	for _, tt := range []struct {
		name              string
		shortest, longest time.Duration
		want              string
	}{
		{"Resty's defaults", 100 * ms, fallback, "503 status 250ms | 503 status 500ms | 503 status 1s | 503 status 2s | 503 attempts"},
		{"both", 200 * ms, time.Second, "503 status 200ms | 503 status 300ms | 503 status 600ms | 503 status 750ms | 503 attempts"},
		{"the maximum", 100 * ms, 10 * time.Second, "503 status 100ms | 503 status 150ms | 503 status 300ms | 503 status 600ms | 503 attempts"},
		{"a negative maximum is about 2 s", 100 * ms, -1, "503 status 100ms | 503 status 150ms | 503 status 300ms | 503 status 600ms | 503 attempts"},
		{"the minimum wins", 300 * ms, 50 * ms, "503 status 300ms | 503 status 300ms | 503 status 300ms | 503 status 300ms | 503 attempts"},
		{"no wait", 0, fallback, "503 status | 503 status | 503 status | 503 status | 503 attempts"},
		{"a negative minimum is none", -time.Second, fallback, "503 status | 503 status | 503 status | 503 status | 503 attempts"},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			c := harness.Mock(harness.Statuses(503))
			c.SetRetryWaitTime(tt.shortest).SetRetryMaxWaitTime(tt.longest)
			c.Install(t, harness.Attempts(5), harness.Rand(0.5))
			c.Get(t, "/x").Want(t, tt.want)
		})
	}
	harness.Bubble(t, "a strategy that returns less than nothing", func(t *testing.T) {
		c := harness.New(t, harness.Statuses(503), harness.Wait(math.MinInt64))
		c.Get(t, "/x").Want(t, "503 status | 503 status | 503 attempts")
	})
}

func TestTheClientsRetryAfterComesFirst(t *testing.T) {
	for _, tt := range []struct {
		name           string
		after, longest time.Duration
		want           string
	}{
		{"longer than Resty's 2 s", 2 * time.Minute, 3 * time.Second, "503 status 2m0s | 503 status 2m0s | 503 attempts"},
		{"shorter than Resty's 100 ms", 5 * ms, 3 * time.Second, "503 status 5ms | 503 status 5ms | 503 attempts"},
		{"zero leaves it to Wait", 0, 3 * time.Second, "503 status 7s | 503 status 7s | 503 attempts"},
		{"a negative wait is RetryMaxWaitTime", -1, 3 * time.Second, "503 status 3s | 503 status 3s | 503 attempts"},
		{"a negative RetryMaxWaitTime is Resty's", -1, -1, "503 status 2.147483647s | 503 status 2.147483647s | 503 attempts"},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			c, asked := harness.Mock(harness.Statuses(503)), 0
			c.SetRetryMaxWaitTime(tt.longest).SetRetryAfter(func(client *resty.Client, resp *resty.Response) (time.Duration, error) {
				asked++
				harness.Equal(t, "RetryAfter's client", client, c.Client)
				harness.Equal(t, "RetryAfter's status", resp.StatusCode(), 503)
				return tt.after, nil
			})
			c.Install(t, harness.Wait(7*time.Second))
			c.Get(t, "/x").Want(t, tt.want)
			harness.Equal(t, "questions", asked, 2)
		})
	}
}

func TestAnErrorOfTheClientsRetryAfterEndsTheRequest(t *testing.T) {
	errQuota := errors.New("quota used up")
	for want, script := range map[string]harness.Script{
		"503 stopped": harness.Statuses(503), "error stopped": harness.Fails(io.EOF),
	} {
		harness.Bubble(t, want, func(t *testing.T) {
			c := harness.Mock(script)
			c.SetRetryAfter(func(*resty.Client, *resty.Response) (time.Duration, error) { return time.Second, errQuota })
			call := c.Install(t).Get(t, "/x").Want(t, want, errQuota).WantTook(t, 0)
			harness.Equal(t, "that of the transport as well", errors.Is(call.Err, io.EOF), call.Response.StatusCode() == 0)
			harness.Equal(t, "retries told", len(call.Retried), 0)
		})
	}
}

const sick, up = "http://sick.test", "http://up.test"

// A server's wait is for attempts that go to its host, not for those to another.
func TestAServersWaitBindsItsHost(t *testing.T) {
	moves := func(to ...string) harness.Option {
		return harness.OnAttempt(func(a restyretry.Attempt) error { a.Request.URL = to[a.Number-1]; return nil })
	}
	hosts := []string{sick + "/x", up + "/x"}
	for _, tt := range []struct {
		name   string
		option harness.Option
		stays  bool
	}{
		{"BaseURLs", harness.URL(restyretry.BaseURLs(sick, up)), false},
		{"URLs", harness.URL(restyretry.URLs(hosts...)), false},
		{"Rotate", harness.URL(restyretry.Rotate(sick, up)), false},
		{"TargetFunc", harness.URL(restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) { return hosts[a.Number-1], nil })), false},
		{"OnAttempt", moves(hosts...), false},
		{"another port", harness.URL(restyretry.BaseURLs(sick, "http://sick.test:8080")), false},
		{"another scheme", harness.URL(restyretry.BaseURLs(sick, "https://sick.test")), false},

		{"no list", func(*restyretry.Options) {}, true},
		{"BaseURLs, the same host", harness.URL(restyretry.BaseURLs(sick, "http://SICK.test:80/v2")), true},
		{"TargetFunc, the same host", harness.URL(restyretry.TargetFunc(func(restyretry.Attempt) (string, error) { return "/y", nil })), true},
		{"OnAttempt, the same host", moves("/x", "/y"), true},
	} {
		for asked, there := range map[string]string{"3": "503 status 3s | 200 succeeded", "120": "503 server-wait"} {
			harness.Bubble(t, tt.name+", asked for "+asked, func(t *testing.T) {
				want := "503 status 1s | 200 succeeded"
				if tt.stays {
					want = there
				}
				script := harness.Each(harness.Says(503, "Retry-After: "+asked), harness.Says(200))
				c := harness.New(t, script, tt.option, harness.Rand(0))
				c.SetBaseURL(sick)
				c.Get(t, "/x").Want(t, want)
				c = harness.New(t, func(n int, r *http.Request) (*http.Response, error) {
					resp, err := script(n, r)
					resp.Request = nil // a transport need not tell who has answered
					return resp, err
				}, tt.option, harness.Rand(0))
				c.SetBaseURL(sick)
				c.Get(t, "/x").Want(t, want)
			})
		}
	}
}

// OnAttempt says where the next attempt goes before the wait, and the request may
// end without that attempt.
func TestAChoiceThatIsNotMadeLeavesNothingBehind(t *testing.T) {
	for asked, tt := range map[string]struct {
		want string
		errs []error
	}{"120": {"503 server-wait", nil}, "30": {"503 cancelled 30s", []error{context.Canceled}}, "": {"503 stopped 1s", []error{io.EOF}}} {
		harness.Bubble(t, asked, func(t *testing.T) {
			c := harness.New(t, harness.Says(503, "Retry-After: "+asked), harness.Rand(0), harness.OnAttempt(func(a restyretry.Attempt) error {
				a.Request.SetHeader("X-Attempt", "of OnAttempt")
				if a.Number > 1 {
					a.Request.URL = "/y"
				}
				if a.Number > 1 && asked == "" {
					return io.EOF
				}
				return nil
			}))
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(2*time.Second, cancel)
			call := c.Do(t, c.R().SetContext(ctx), "GET", "/x").Want(t, tt.want, tt.errs...)
			harness.Equal(t, "URL", call.Request.URL, harness.Base+"/x")
			harness.Equal(t, "header field", call.Request.Header.Get("X-Attempt"), "")
		})
	}
}

// A retry that is refused before its wait ends the request without that wait, even if
// a trace has put a context over the plugin's.
func TestARefusedRetryEndsAtOnce(t *testing.T) {
	errOpen := errors.New("breaker open")
	for _, tt := range []struct {
		name, want string
		change     harness.Option
		err        error
	}{
		{"OnAttempt refuses", "503 stopped", harness.OnAttempt(func(a restyretry.Attempt) error {
			if a.Number == 2 {
				return errOpen
			}
			return nil
		}), errOpen},
		{"MaxElapsed is over, RaiseForStatus", "503 elapsed", func(o *restyretry.Options) {
			o.URL = restyretry.BaseURLs(harness.Base, harness.Base)
			o.MaxElapsed, o.RaiseForStatus = 10*time.Second, true
		}, harness.ErrAny},
	} {
		for _, trace := range []bool{false, true} {
			harness.Bubble(t, tt.name, func(t *testing.T) {
				c := harness.New(t, harness.Says(503, "Retry-After: 20"), tt.change)
				r := c.R()
				if trace {
					r.EnableTrace()
				}
				c.Do(t, r, "GET", "/x").Want(t, tt.want, tt.err).WantTook(t, 0)
			})
		}
	}
}

func TestAChoiceOfARetryThatIsRefusedIsUndone(t *testing.T) {
	harness.Bubble(t, "the budget is used up", func(t *testing.T) {
		c := harness.New(t, harness.Says(503, "Retry-After: 1"), harness.Budget(restyretry.NewBudget(0, 0)),
			harness.URL(restyretry.URLs("http://a.test/x", "http://b.test/x")))
		call := c.Get(t, "/x").Want(t, "503 budget")
		harness.Equal(t, "URL", call.Request.URL, "http://a.test/x")
	})
}
