// Package limits tests what ends the retries of a request, and how long it waits.
package limits

import (
	"context"
	"io"
	"testing"
	"time"

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
