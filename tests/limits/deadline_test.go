// Package limits tests what ends the retries of a request, and how long it waits.
package limits

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

func TestNoWaitBeginsThatWouldPassTheDeadline(t *testing.T) {
	for _, tt := range []struct {
		name         string
		wait         time.Duration
		status, fail string
	}{
		{"longer than the time left", 11 * time.Second, "503 deadline", "error deadline"},
		{"as long as the time left", 10 * time.Second, "503 deadline", "error deadline"},
		{"the second too long", 6 * time.Second, "503 status 6s | 503 deadline", "error error 6s | error deadline"},
		{"short enough", 4 * time.Second, "503 status 4s | 503 status 4s | 503 attempts", "error error 4s | error error 4s | error attempts"},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			within := func() context.Context {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				t.Cleanup(cancel)
				return ctx
			}
			c := harness.New(t, harness.Statuses(503), harness.Wait(tt.wait))
			c.Do(t, c.R().SetContext(within()), "GET", "/").Want(t, tt.status)
			c = harness.New(t, harness.Fails(io.EOF), harness.Wait(tt.wait))
			c.Do(t, c.R().SetContext(within()), "GET", "/").Want(t, tt.fail, io.EOF)
		})
	}
}

// What the caller's own functions take counts as well.
func TestNoAttemptStartsAfterMaxElapsed(t *testing.T) {
	slow := func(a restyretry.Attempt) error {
		if a.Number == 2 {
			time.Sleep(5 * time.Second)
		}
		return nil
	}
	for _, tt := range []struct {
		name, want string
		took       time.Duration
		option     harness.Option
	}{
		{"OnRetry", "503 elapsed", 5 * time.Second, harness.OnRetry(func(restyretry.Attempt) { time.Sleep(5 * time.Second) })},
		{"OnRetry, so that the wait does not fit in", "503 elapsed", 1500 * time.Millisecond, harness.OnRetry(func(restyretry.Attempt) { time.Sleep(1500 * time.Millisecond) })},
		{"OnAttempt", "503 elapsed 1s", 6 * time.Second, harness.OnAttempt(slow)},
		{"a Target", "503 elapsed 1s", 6 * time.Second, harness.URL(restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) { return "/x", slow(a) }))},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(503), harness.RaiseForStatus, harness.MaxElapsed(2*time.Second), tt.option)
			call := c.Get(t, "/x").WantStory(t, tt.want)
			harness.Equal(t, "time", call.Took.Round(time.Millisecond), tt.took)
			harness.Equal(t, "a *StatusError", errors.As(call.Err, new(*restyretry.StatusError)), true)
		})
	}
}
