package cancellation

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

func boom() { panic("boom") }

func TestAPanicComesThroughAndTheRequestIsOver(t *testing.T) {
	from := func(number int) harness.Option {
		return harness.OnAttempt(func(a restyretry.Attempt) error {
			if a.Number == number {
				boom()
			}
			return nil
		})
	}
	always := func(restyretry.Attempt) bool { panic("boom") }
	var c *harness.Client // whose functions an option adds
	for _, tt := range []struct {
		name, want string
		option     harness.Option
	}{
		{"OnAttempt", "unsent panic", from(1)},
		{"OnAttempt before a server's wait", "503 status 1s | unsent panic", from(2)},
		{"OnAttempt after a wait", "503 status 1s | unsent panic", func(o *restyretry.Options) { o.MaxServerWait = 0; from(2)(o) }},
		{"the Target", "unsent panic", harness.URL(restyretry.TargetFunc(func(restyretry.Attempt) (string, error) { panic("boom") }))},
		{"the Target, while it is decided", "503 panic", harness.URL(restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) {
			if a.Number == 2 {
				boom()
			}
			return "/x", nil
		}))},
		{"PreRequest", "unsent panic", func(o *restyretry.Options) {
			o.PreRequest = func(*resty.Client, *http.Request) error { panic("boom") }
		}},
		{"RetryIf", "503 panic", func(o *restyretry.Options) { o.ServerErrors, o.RetryIf = false, always }},
		{"Unless", "503 panic", func(o *restyretry.Options) { o.Unless = always }},
		{"Wait", "503 panic", func(o *restyretry.Options) {
			o.MaxServerWait, o.Wait = 0, func(restyretry.Attempt) time.Duration { panic("boom") }
		}},
		{"OnRetry", "503 panic 1s", harness.OnRetry(func(restyretry.Attempt) { boom() })},
		{"the client's condition", "503 panic", func(o *restyretry.Options) { o.ServerErrors = false }},
		{"the client's retry hook", "503 panic 1s", func(*restyretry.Options) {}},
		{"the client's RetryAfter", "503 panic", func(*restyretry.Options) {}},
		{"the transport, with a list of URLs", "unsent panic", func(o *restyretry.Options) {
			o.URL = restyretry.URLs("http://a.test/")
			whenAnswered(c, boom)
		}},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			c = harness.Mock(harness.Says(503, "Retry-After: 1"))
			told, at := 0, func(place string) {
				if tt.name == place {
					boom()
				}
			}
			c.AddRetryCondition(func(*resty.Response, error) bool { at("the client's condition"); return false })
			c.AddRetryHook(func(*resty.Response, error) { at("the client's retry hook") })
			c.SetRetryAfter(func(*resty.Client, *resty.Response) (time.Duration, error) {
				at("the client's RetryAfter")
				return 0, nil
			})
			c.OnPanic(func(*resty.Request, error) { told++ })
			c.Install(t, harness.Wait(time.Second), harness.Rand(0), tt.option)
			call := c.Get(t, "/x")
			harness.Equal(t, "panic", call.Panic, any("boom"))
			harness.Equal(t, "calls of OnPanic", told, 1)
			call.WantStory(t, tt.want)
			harness.Equal(t, "calls of OnDone", len(call.Done), 1)
			harness.Equal(t, "its attempt", call.Done[0].Number, len(call.History))
			harness.Equal(t, "its reason", call.Done[0].Reason, restyretry.ReasonPanic)
			stats := c.Plugin.Stats()
			harness.Equal(t, "requests given up", stats.GivenUp[restyretry.ReasonPanic], 1)
			harness.Equal(t, "attempts", int(stats.Attempts), len(call.Sent))
			c.OnBeforeRequest(func(*resty.Client, *resty.Request) error { return nil }) // no lock is held
			harness.Equal(t, "context", call.Request.Context(), context.Background())
		})
	}
}

// Somebody else's pre-request hook takes the place of the plugin's, so that the
// context of the raw request is not the plugin's either.
func TestAPanicOfATargetThatIsAskedAheadLeavesTheNumberOfTheAttempt(t *testing.T) {
	harness.Bubble(t, "without the plugin's hook", func(t *testing.T) {
		c := harness.New(t, harness.Says(503, "Retry-After: 1"), harness.URL(restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) {
			if a.Number == 2 {
				boom()
			}
			return "/x", nil
		})))
		c.SetPreRequestHook(func(*resty.Client, *http.Request) error { return nil })
		call := c.Get(t, "/x").WantStory(t, "503 panic")
		harness.Equal(t, "number", restyretry.Number(call.Request.RawRequest.Context()), 1)
	})
}

type worse struct{}

func (worse) Error() string { panic("worse") }

func TestAPanicWithAnErrorThatPanicsLeavesTheRequestUsable(t *testing.T) {
	harness.Bubble(t, "of OnAfterResponse", func(t *testing.T) {
		c, panicking := harness.New(t, harness.Statuses(200)), true
		c.OnAfterResponse(func(*resty.Client, *resty.Response) error {
			if panicking {
				panic(worse{})
			}
			return nil
		})
		call := c.Get(t, "/x").WantStory(t, "unsent panic")
		harness.Equal(t, "panic", call.Panic, any(worse{}))
		harness.Equal(t, "calls of OnDone", len(call.Done), 1)
		panicking = false
		c.Do(t, call.Request, "GET", "/x").Want(t, "200 succeeded")
	})
}

func TestAPanicOfOnDoneComesThroughOnce(t *testing.T) {
	for _, status := range []int{200, 404, 503} {
		harness.Bubble(t, http.StatusText(status), func(t *testing.T) {
			c := harness.New(t, harness.Statuses(status), harness.OnDone(func(restyretry.Attempt) { boom() }))
			call := c.Get(t, "/x")
			harness.Equal(t, "panic", call.Panic, any("boom"))
			harness.Equal(t, "requests", c.Plugin.Stats().Requests, 1)
		})
	}
}

func TestARequestMayBeUsedAgainAfterAPanicWhichIsLogged(t *testing.T) {
	harness.Bubble(t, "of RetryIf after a retry", func(t *testing.T) {
		var log harness.Log
		panicking := true
		c := harness.New(t, harness.Statuses(404), harness.RetryIf(func(a restyretry.Attempt) bool {
			if panicking && a.Number == 2 {
				boom()
			}
			return true
		}), func(o *restyretry.Options) { o.Logger = log.Slog() })
		call := c.Get(t, "/x")
		call.WantStory(t, "404 condition 1s | 404 panic")
		harness.Equal(t, "log", log.Lines()[1], `level=WARN msg="giving up" method=GET url=http://api.test/x attempt=2 max=3 reason=panic status=404`)
		panicking = false
		c.Do(t, call.Request, "GET", "/x").Want(t, "404 condition 1s | 404 condition 1s | 404 attempts")
	})
}
