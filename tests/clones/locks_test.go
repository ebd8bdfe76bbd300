package clones

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

// A deadlock fails these tests by the time limit of go test.

func register(c *harness.Client) {
	c.OnBeforeRequest(func(*resty.Client, *resty.Request) error { return nil })
	c.OnAfterResponse(func(*resty.Client, *resty.Response) error { return nil })
}

// Resty holds a lock in no callback but the first OnAttempt and Target of a request.
func TestCallbacksMayRegisterCallbacks(t *testing.T) {
	later := func(a restyretry.Attempt, f func()) {
		if a.Number > 1 {
			f()
		}
	}
	for name, option := range map[string]func(f func()) harness.Option{
		"OnRetry": func(f func()) harness.Option { return harness.OnRetry(func(restyretry.Attempt) { f() }) },
		"OnDone":  func(f func()) harness.Option { return harness.OnDone(func(restyretry.Attempt) { f() }) },
		"OnAttempt of a retry": func(f func()) harness.Option {
			return harness.OnAttempt(func(a restyretry.Attempt) error { later(a, f); return nil })
		},
		"Target of a retry": func(f func()) harness.Option {
			return harness.URL(restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) { later(a, f); return "/x", nil }))
		},
		"RetryIf": func(f func()) harness.Option {
			return harness.RetryIf(func(restyretry.Attempt) bool { f(); return false })
		},
		"Unless": func(f func()) harness.Option {
			return func(o *restyretry.Options) { o.Unless = func(restyretry.Attempt) bool { f(); return false } }
		},
		"Wait": func(f func()) harness.Option {
			return func(o *restyretry.Options) {
				o.Wait = func(restyretry.Attempt) time.Duration { f(); return time.Second }
			}
		},
	} {
		harness.Bubble(t, name, func(t *testing.T) {
			var c *harness.Client
			calls := 0
			c = harness.New(t, harness.Statuses(503, 200), option(func() { calls++; register(c) }))
			c.Get(t, "/x").Want(t, "503 status 1s | 200 succeeded")
			if calls == 0 {
				t.Error("got no call")
			}
		})
	}
}

// OnRetry is where a token is refreshed.
func TestARequestMayBeSentInOnRetryWhileOthersRegisterCallbacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *harness.Client
		c = harness.New(t, harness.Statuses(503, 200), harness.OnRetry(func(restyretry.Attempt) {
			registered := make(chan struct{})
			go func() { defer close(registered); register(c) }()
			<-registered
			_, _ = c.R().Get("/token")
		}))
		_, _ = c.R().Get("/x")
		var paths []string
		for _, sent := range c.Sent() {
			paths = append(paths, sent.Request.URL.Path)
		}
		harness.Equal(t, "paths", fmt.Sprint(paths), "[/x /token /x]")
	})
}

func TestAWaitStallsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.New(t, func(n int, r *http.Request) (*http.Response, error) {
			return harness.Says(map[string]int{"/slow": 503, "/fast": 200}[r.URL.Path])(n, r)
		}, harness.Wait(time.Hour))
		ctx, cancel := context.WithCancel(t.Context())
		slow := make(chan error)
		go func() {
			_, err := c.R().SetContext(ctx).Get("/slow")
			slow <- err
		}()
		synctest.Wait()
		start := time.Now()
		register(c)
		resp, err := c.R().Get("/fast")
		harness.Equal(t, "error", err, nil)
		harness.Equal(t, "status", resp.StatusCode(), 200)
		harness.Equal(t, "its time", time.Since(start), 0)
		cancel()
		harness.WantIs(t, <-slow, context.Canceled)
	})
}
