package restyretry_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"

	"github.com/restyretry/restyretry"
)

// A server's wait is for those who come back to it, not for those who go to
// another.
func TestAServersWaitBindsItsHost(t *testing.T) {
	const sick, up = "http://sick.test", "http://up.test"
	moves := func(to ...string) func(*restyretry.Options) {
		return onAttempt(func(a restyretry.Attempt) error {
			a.Request.URL = to[a.Number-1]
			return nil
		})
	}
	url := func(target restyretry.Target) func(*restyretry.Options) {
		return func(o *restyretry.Options) { o.URL = target }
	}
	hosts := []string{sick + "/x", up + "/x"}
	for _, test := range []struct {
		name   string
		option func(*restyretry.Options)
		stays  bool
	}{
		{"BaseURLs", url(restyretry.BaseURLs(sick, up)), false},
		{"URLs", url(restyretry.URLs(hosts...)), false},
		{"Rotate", url(restyretry.Rotate(sick, up)), false},
		{"TargetFunc", url(restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) { return hosts[a.Number-1], nil })), false},
		{"OnAttempt", moves(sick+"/x", up+"/x"), false},
		{"another port", url(restyretry.BaseURLs(sick, "http://sick.test:8080")), false},
		{"another scheme", url(restyretry.BaseURLs(sick, "https://sick.test")), false},

		{"no list", func(*restyretry.Options) {}, true},
		{"BaseURLs, the same host", url(restyretry.BaseURLs(sick, "http://SICK.test:80/v2")), true},
		{"TargetFunc, the same host", url(restyretry.TargetFunc(func(restyretry.Attempt) (string, error) { return "/y", nil })), true},
		{"OnAttempt, the same host", moves("/x", "/y"), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			for asked, wait := range map[string]time.Duration{"3": 3 * time.Second, "120": 0} {
				synctest.Test(t, func(t *testing.T) {
					calls := 0
					c := mocked(func(*http.Request) (*http.Response, error) {
						if calls++; calls > 1 {
							return httpmock.NewStringResponse(200, "fine"), nil
						}
						resp := httpmock.NewStringResponse(503, "sick")
						resp.Header.Set("Retry-After", asked)
						return resp, nil
					}).SetBaseURL(sick)
					retries := 0
					install(t, c, exact, test.option, func(o *restyretry.Options) {
						o.Hooks = append(o.Hooks, restyretry.Hooks{OnRetry: func(restyretry.Attempt) { retries++ }})
					})
					start := time.Now()
					r := c.R()
					resp, err := r.Get("/x")
					if err != nil {
						t.Fatal(err)
					}
					history := restyretry.History(r)
					switch took := time.Since(start); {
					case !test.stays:
						if took != ownWait || resp.StatusCode() != 200 || calls != 2 || retries != 1 {
							t.Errorf("Retry-After %s: got %v after %v and %d calls, want 200 after %v", asked, resp.StatusCode(), took, calls, ownWait)
						}
					case wait > 0:
						if took != wait || resp.StatusCode() != 200 || calls != 2 {
							t.Errorf("Retry-After %s: got %v after %v, want 200 after %v", asked, resp.StatusCode(), took, wait)
						}
					default:
						told := 0
						if strings.HasPrefix(test.name, "OnAttempt") {
							told = 1 // it is called before anybody knows
						}
						if took != 0 || resp.StatusCode() != 503 || calls != 1 || retries != told || history[0].Reason != restyretry.ReasonServerWait {
							t.Errorf("Retry-After %s: got %v after %v, %s; want 503 at once, server-wait", asked, resp.StatusCode(), took, summary(history))
						}
					}
				})
			}
		})
	}
}

// A request that ends leaves its URL as it was, although the next one has been
// chosen already.
func TestAChoiceThatIsNotMadeLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, _ := answers(503)
		c := mocked(func(r *http.Request) (*http.Response, error) {
			resp, err := respond(r)
			resp.Header.Set("Retry-After", "120")
			return resp, err
		})
		install(t, c, onAttempt(func(a restyretry.Attempt) error {
			a.Request.SetHeader("X-Attempt", "of OnAttempt")
			if a.Number > 1 {
				a.Request.URL = "/y"
			}
			return nil
		}))
		r := c.R()
		if _, err := r.Get("/x"); err != nil {
			t.Fatal(err)
		}
		if r.URL != "http://api.test/x" || r.Header.Get("X-Attempt") != "" || len(restyretry.History(r)) != 1 {
			t.Errorf("got %s, %v, %s; want the request as it was sent", r.URL, r.Header, summary(restyretry.History(r)))
		}
	})
}

func TestHistoryInOnAttemptHasTheAttemptsBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := telling(503, fields("Retry-After", "3"))
		install(t, c, onAttempt(func(a restyretry.Attempt) error {
			if got := len(restyretry.History(a.Request)); got != a.Number-1 {
				t.Errorf("attempt %d: got %d attempts, want %d", a.Number, got, a.Number-1)
			}
			if got := restyretry.Number(a.Request.Context()); got != a.Number {
				t.Errorf("attempt %d: got number %d", a.Number, got)
			}
			return nil
		}))
		if resp, err := c.R().Get("/x"); err != nil || resp.StatusCode() != 200 {
			t.Errorf("got %v, %v", resp, err)
		}
	})
}

func TestACancelledChoiceLeavesTheURLOfTheLastAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c := mocked(waiting("30"))
		install(t, c, onAttempt(func(a restyretry.Attempt) error {
			if a.Number > 1 {
				a.Request.URL = "/y"
			}
			return nil
		}))
		time.AfterFunc(time.Second, cancel)
		r := c.R().SetContext(ctx)
		if _, err := r.Get("/x"); err == nil || r.URL != "http://api.test/x" {
			t.Errorf("got %v and %s, want an error and the URL that was sent", err, r.URL)
		}
	})
}
