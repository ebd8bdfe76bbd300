// Package clones tests clones of a client, and what becomes of a client after Install.
package clones

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

var twice, three = harness.UsedUp(2), harness.UsedUp(3)

// clone returns a clone of a client, whose requests are told apart from those of
// the original by the plugin alone.
func clone(c *harness.Client) *harness.Client { return &harness.Client{Client: c.Clone()} }

// story is what becomes of a GET.
func story(c *resty.Client) string {
	r := c.R()
	_, _ = r.Get("/x")
	return harness.Story(restyretry.History(r))
}

func TestACloneHasThePolicyOfItsOriginalUntilItGetsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.New(t, harness.Statuses(503), harness.Attempts(2))
		first, second := clone(c), clone(c)
		harness.Equal(t, "the first clone", story(first.Client), twice)
		second.Install(t, harness.Wait(time.Second), harness.Attempts(3))
		harness.Equal(t, "the second clone", story(second.Client), three)
		harness.Equal(t, "the original", story(c.Client), twice)
		c.Update(t, harness.Attempts(1)) // for which a plugin on a clone is no reason not to
		second.Update(t, harness.Attempts(2))
		harness.Equal(t, "the original", story(c.Client), "503 attempts")
		harness.Equal(t, "the second clone", story(second.Client), twice)
		harness.Equal(t, "attempts counted", fmt.Sprint(c.Plugin.Stats().Attempts, second.Plugin.Stats().Attempts), "5 5")
	})
}

func TestACloneIsAskedByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.Mock(harness.Statuses(418))
		var given *resty.Client
		c.SetRetryAfter(func(c *resty.Client, _ *resty.Response) (time.Duration, error) { given = c; return time.Second, nil })
		says := func(again bool) resty.RetryConditionFunc { return func(*resty.Response, error) bool { return again } }
		c.AddRetryCondition(says(false))
		c.Install(t)
		yes, no := clone(c), clone(c)
		yes.AddRetryCondition(says(true))
		no.AddRetryCondition(says(false))
		harness.Equal(t, "where a condition asks for a retry", story(yes.Client), "418 condition 1s | 418 condition 1s | 418 attempts")
		harness.Equal(t, "RetryAfter's client", given, yes.Client)
		harness.Equal(t, "where none does", story(no.Client), "418 not-retryable")
	})
}

// If Resty's lists have spare capacity, two clones append to the same place.
func TestEveryCloneOfAClientWithMiddlewaresCanHaveItsOwnPolicy(t *testing.T) {
	for middlewares := range 10 {
		harness.Bubble(t, fmt.Sprint(middlewares, " middlewares"), func(t *testing.T) {
			base, ran := harness.Mock(harness.Statuses(503)), 0
			for range middlewares {
				base.OnBeforeRequest(func(*resty.Client, *resty.Request) error { ran++; return nil })
				base.OnAfterResponse(func(*resty.Client, *resty.Response) error { ran++; return nil })
				base.OnSuccess(func(*resty.Client, *resty.Response) { ran++ })
			}
			var clones []*harness.Client
			for attempts := 1; attempts <= 4; attempts++ {
				clones = append(clones, clone(base).Install(t, harness.Wait(time.Second), harness.Attempts(attempts)))
			}
			for i, c := range clones {
				ran = 0
				before := len(base.Sent())
				_, _ = c.R().Get("/x")
				harness.Equal(t, "attempts", len(base.Sent())-before, i+1)
				harness.Equal(t, "calls of OnDone", len(c.Done()), 1)
				harness.Equal(t, "calls of middlewares", ran, middlewares*(2*(i+1)+1))
				harness.Equal(t, "requests counted", c.Plugin.Stats().Requests, 1)
			}
			resp, _ := base.R().Get("/x")
			harness.Equal(t, "attempts of the base", resp.Request.Attempt, 1)
		})
	}
}

func TestUpdateMayRunWhileRequestsDo(t *testing.T) {
	t.Parallel()
	c := harness.New(t, harness.Statuses(503), harness.Wait(0), harness.Attempts(2))
	stop := make(chan struct{})
	var updates, requests sync.WaitGroup
	updates.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				c.Update(t, harness.Attempts(2+i%3))
			}
		}
	})
	for range 100 {
		requests.Go(func() {
			r := c.R()
			_, err := r.Get("/x")
			harness.Equal(t, "error", err, nil)
			for _, a := range restyretry.History(r) { // one policy for all
				harness.Equal(t, "Max", a.Max, r.Attempt)
			}
		})
	}
	requests.Wait()
	close(stop)
	updates.Wait()
	harness.Equal(t, "requests counted", c.Plugin.Stats().Requests, 100)
}
