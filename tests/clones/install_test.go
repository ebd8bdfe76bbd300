package clones

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

func TestASecondInstallReplacesTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.Mock(harness.Statuses(503))
		kept, calls := 0, 0
		c.AddRetryHook(func(*resty.Response, error) { kept++ })
		c.Install(t, harness.Wait(time.Second), harness.Attempts(5), harness.OnAttempt(func(restyretry.Attempt) error { calls++; return nil }))
		first := c.Plugin
		c.Install(t, harness.Wait(time.Second), harness.Attempts(2))
		c.Get(t, "/x").Want(t, twice)
		harness.Equal(t, "calls of the first's hooks", calls, 0)
		harness.Equal(t, "calls of the client's own retry hook", kept, 1)
		harness.Equal(t, "the first's Stats", fmt.Sprint(first.Stats()), fmt.Sprint(restyretry.Stats{}))
		harness.Equal(t, "the second's Stats", fmt.Sprint(c.Plugin.Stats()), fmt.Sprint(restyretry.Stats{
			Requests: 1, Attempts: 2, Retries: 1, GivenUp: map[restyretry.Reason]uint64{"attempts": 1}, Waited: time.Second,
		}))
		harness.WantError(t, first.Update(harness.Attempts(5)), "another Install has replaced it")
		c.Get(t, "/x").Want(t, twice)
	})
}

func TestASecondInstallKeepsWhatTheClientHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.Mock(harness.Statuses(418))
		var first, second int
		c.AddRetryHook(func(*resty.Response, error) { first++ })
		c.Install(t)
		c.AddRetryHook(func(*resty.Response, error) { second++ })
		c.AddRetryCondition(func(resp *resty.Response, _ error) bool { return resp.StatusCode() == 418 })
		c.Install(t, harness.Wait(time.Second))
		c.Get(t, "/x").Want(t, "418 condition 1s | 418 condition 1s | 418 attempts")
		harness.Equal(t, "calls of the retry hooks", fmt.Sprint(first, second), "2 2")

		c.RetryConditions = nil // must not make another Install register everything once more
		c.Install(t)
		_, _ = c.R().Get("/x")
		harness.Equal(t, "requests counted", c.Plugin.Stats().Requests, 1)
	})
}
