// Package callbacks tests what hooks, the history and the log are told of a request,
// and when.
package callbacks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

var used = harness.UsedUp(3)

func TestEachRetryIsToldOnceWithItsErrorAndTheLastAttemptIsNone(t *testing.T) {
	errBusy := errors.New("busy")
	for _, tt := range []struct {
		name   string
		option harness.Option
		after  error // of OnAfterResponse
		late   int   // calls of a hook added after Install, as docs/migrating.md has it
	}{
		{"a status", func(*restyretry.Options) {}, nil, 2},
		{"RaiseForStatus", harness.RaiseForStatus, nil, 3},
		{"an error", func(*restyretry.Options) {}, errBusy, 2},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			c, hooked, late := harness.Mock(harness.Statuses(503)), 0, 0
			c.OnAfterResponse(func(*resty.Client, *resty.Response) error { return tt.after })
			c.AddRetryHook(func(_ *resty.Response, err error) {
				harness.Equal(t, "error of the client's hook", err, tt.after)
				hooked++
			})
			c.Install(t, harness.Wait(time.Second), tt.option)
			c.AddRetryHook(func(*resty.Response, error) { late++ })
			call := c.Get(t, "/x")
			call.WantStory(t, used)
			harness.Equal(t, "OnRetry", harness.Story(call.Retried), "503 status 1s | 503 status 1s")
			harness.Equal(t, "OnDone", harness.Story(call.Done), "503 attempts")
			harness.Equal(t, "the client's retry hook", hooked, 2)
			harness.Equal(t, "one added after Install", late, tt.late)
			for _, a := range append(call.Retried, call.Done...) {
				harness.Equal(t, "error in OnRetry and OnDone", a.Err, tt.after)
			}
		})
	}
}

// The breaker of docs/recipes.md relies on it.
func TestEveryOnAttemptIsFollowedByOneOnRetryOrOnDone(t *testing.T) {
	for want, change := range map[string]harness.Option{
		"503 elapsed":     harness.MaxElapsed(10 * time.Second),
		"503 server-wait": harness.MaxServerWait(time.Second),
		"503 budget":      harness.Budget(restyretry.NewBudget(0, 0)),
		"503 status 20s | 503 status 20s | 503 attempts": func(*restyretry.Options) {},
	} {
		harness.Bubble(t, want, func(t *testing.T) {
			begun := 0
			c := harness.New(t, harness.Says(503, "Retry-After: 20"), change, harness.Rand(0), harness.OnAttempt(func(restyretry.Attempt) error {
				begun++
				return nil
			}))
			call := c.Get(t, "/x").Want(t, want)
			harness.Equal(t, "ended", len(call.Retried)+len(call.Done), begun)
		})
	}
}

func TestOnAttemptKnowsTheAttemptsBeforeIt(t *testing.T) {
	harness.Bubble(t, "before a server's wait", func(t *testing.T) {
		c := harness.New(t, harness.Each(harness.Says(503, "Retry-After: 3"), harness.Says(200)), harness.Rand(0), harness.OnAttempt(func(a restyretry.Attempt) error {
			harness.Equal(t, "history", len(restyretry.History(a.Request)), a.Number-1)
			harness.Equal(t, "number", restyretry.Number(a.Request.Context()), a.Number)
			return nil
		}))
		c.Get(t, "/x").Want(t, "503 status 3s | 200 succeeded")
	})
}

func TestATokenOfOnRetryIsSentAlsoBesideAnOnAttempt(t *testing.T) {
	for _, wait := range []string{"", "1"} {
		harness.Bubble(t, "asked for a wait of "+wait, func(t *testing.T) {
			c := harness.New(t, harness.Each(harness.Says(401, "Retry-After: "+wait), harness.Says(200)), harness.Rand(0),
				harness.OnAttempt(func(restyretry.Attempt) error { return nil }),
				harness.OnRetry(func(a restyretry.Attempt) { a.Request.SetAuthToken("new") }),
				func(o *restyretry.Options) { o.Statuses = append(o.Statuses, http.StatusUnauthorized) })
			c.SetAuthToken("old")
			c.Get(t, "/x").Want(t, "401 status 1s | 200 succeeded").WantHeader(t, "Authorization", "Bearer old", "Bearer new")
		})
	}
}

func TestOtherGoroutinesMayAskForTheNumber(t *testing.T) {
	harness.Bubble(t, "and for the end of its context", func(t *testing.T) {
		var all sync.WaitGroup
		c := harness.New(t, harness.Statuses(503, 503, 200), harness.Wait(0), harness.OnAttempt(func(a restyretry.Attempt) error {
			ctx := a.Request.Context()
			all.Go(func() {
				for range 1000 {
					_ = restyretry.Number(ctx)
					_ = ctx.Err()
				}
			})
			return nil
		}))
		c.Get(t, "/x").Want(t, "503 status | 503 status | 200 succeeded")
		all.Wait()
	})
}

func TestTheHistoryTellsWhatWasSentAndHidesItsQuery(t *testing.T) {
	harness.Bubble(t, "not what the transport made of it", func(t *testing.T) {
		c := harness.New(t, func(n int, r *http.Request) (*http.Response, error) {
			harness.Equal(t, "number", restyretry.Number(r.Context()), n)
			resp, err := harness.Statuses(503, 200)(n, r)
			resp.Request = r.Clone(r.Context())
			resp.Request.URL.Host = "inside.test"
			return resp, err
		}, func(o *restyretry.Options) {
			o.PreRequest = func(_ *resty.Client, hr *http.Request) error { hr.URL.RawQuery = "sig=secret"; return nil }
		})
		for _, a := range c.Get(t, "/x").Want(t, "503 status 1s | 200 succeeded").History {
			harness.Equal(t, "URL", a.URL, harness.Base+"/x?sig=REDACTED")
		}
	})
	harness.Equal(t, "history of no request", len(restyretry.History(nil)), 0) // it is easily nil after an error
}

func TestTheRequestIsNeverCopied(t *testing.T) {
	harness.Bubble(t, "in any callback", func(t *testing.T) {
		c, shown := harness.New(t, harness.Statuses(503)), []*resty.Request(nil)
		r := c.R()
		_ = c.Plugin.Update(harness.OnAttempt(func(a restyretry.Attempt) error { shown = append(shown, a.Request); return nil }))
		call := c.Do(t, r, "GET", "/x").Want(t, used)
		for _, a := range append(append(call.History, call.Retried...), call.Done...) {
			shown = append(shown, a.Request)
		}
		for _, got := range append(shown, call.Response.Request) {
			harness.Equal(t, "request", got, r)
		}
	})
}

// Resty itself goes on logging, to the logger of its SetLogger and nowhere else.
func TestNothingIsLoggedByDefault(t *testing.T) {
	for want, script := range map[int]harness.Script{0: harness.Statuses(503), 3 + 1: harness.Fails(io.EOF)} {
		harness.Bubble(t, fmt.Sprintf("beside %d lines of Resty's", want), func(t *testing.T) {
			var restys, others harness.Log
			before := slog.Default()
			slog.SetDefault(others.Slog())
			defer slog.SetDefault(before)
			c := harness.New(t, script)
			c.SetLogger(&restys)
			c.Get(t, "/x")
			harness.Equal(t, "lines of Resty's", strings.Count(restys.String(), "\n"), want)
			harness.Equal(t, "log", others.String(), "")
		})
	}
}

func TestTheHistoryIsACopy(t *testing.T) {
	harness.Bubble(t, "of the attempts", func(t *testing.T) {
		c := harness.New(t, harness.Statuses(503, 200))
		call := c.Get(t, "/x").Want(t, "503 status 1s | 200 succeeded")
		call.History[0].Reason = "changed"
		harness.Equal(t, "reason", restyretry.History(call.Request)[0].Reason, restyretry.ReasonStatus)
	})
}

// They were there before the plugin, and it hides nothing from them.
func TestTheClientsOwnHooksGetTheErrorAsItIs(t *testing.T) {
	harness.Bubble(t, "a transport that fails", func(t *testing.T) {
		c, told := harness.Mock(harness.Fails(io.EOF)), error(nil)
		c.AddRetryHook(func(_ *resty.Response, err error) { told = err })
		c.Install(t, harness.Attempts(2))
		c.Get(t, "/x?token=SECRET")
		harness.WantError(t, told, "token=SECRET")
	})
}

func TestOnAfterResponseFindsTheValuesOfAMiddlewaresContext(t *testing.T) {
	type key struct{}
	harness.Bubble(t, "in every attempt", func(t *testing.T) {
		c, found := harness.New(t, harness.Statuses(503, 200)), 0
		c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
			r.SetContext(context.WithValue(r.Context(), key{}, r.Attempt))
			return nil
		})
		c.OnAfterResponse(func(_ *resty.Client, resp *resty.Response) error {
			if resp.Request.Context().Value(key{}) == resp.Request.Attempt {
				found++
			}
			return nil
		})
		c.Get(t, "/x").Want(t, "503 status 1s | 200 succeeded")
		harness.Equal(t, "values found", found, 2)
	})
}

func TestGivingUpIsNotLoggedWhereThereAreNoRetries(t *testing.T) {
	log := &harness.Log{}
	c := harness.New(t, harness.Statuses(503), harness.Attempts(1), func(o *restyretry.Options) { o.Logger = log.Slog() })
	c.Get(t, "/x").Want(t, "503 attempts")
	harness.Equal(t, "log", log.String(), "")
}
