package limits

import (
	"context"
	"fmt"
	"io"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

func TestARetryThatTheBudgetRefusesLeavesWhatThereIs(t *testing.T) {
	harness.Bubble(t, "the response", func(t *testing.T) {
		budget := restyretry.NewBudget(0, 1)
		c := harness.New(t, harness.Statuses(503), harness.Budget(budget), func(o *restyretry.Options) {
			o.Wait = restyretry.List(time.Millisecond, time.Hour)
		})
		call := c.Get(t, "/").Want(t, "503 status 1ms | 503 budget").WantTook(t, time.Millisecond)
		harness.Equal(t, "body", call.Response.String(), "Service Unavailable")
		harness.Equal(t, "OnRetry", len(call.Retried), 1)
		harness.Equal(t, "given up", c.Plugin.Stats().GivenUp[restyretry.ReasonBudget], 1)
	})
	harness.Bubble(t, "the error", func(t *testing.T) {
		c := harness.New(t, harness.Fails(io.EOF), harness.Budget(restyretry.NewBudget(0, 0)))
		c.Get(t, "/").Want(t, "error budget", io.EOF).WantTook(t, 0)
	})
}

func TestARequestTakesOfTheBudgetWhatItSends(t *testing.T) {
	soon := func(o *restyretry.Options) { o.MaxElapsed, o.Wait = 1, restyretry.Constant(2) }
	for _, tt := range []struct {
		name   string
		script harness.Script
		opt    harness.Option
		want   string // the report: requests, retries, refused
	}{
		{"a success", harness.Statuses(200), nil, "1 0 0"},
		{"a failure", harness.Statuses(404), nil, "1 0 0"},
		{"an error", harness.Fails(io.EOF), nil, "1 1 1"},
		{"a retry", harness.Statuses(503, 200), nil, "1 1 0"},
		{"a retry too many", harness.Statuses(503), nil, "1 1 1"},
		{"the caller's deadline", harness.Hangs, nil, "1 0 0"},
		{"Off", harness.Statuses(503), restyretry.Off, "1 0 0"},
		{"Unless", harness.Statuses(503), func(o *restyretry.Options) { o.Unless = func(restyretry.Attempt) bool { return true } }, "1 0 0"},
		{"Methods", harness.Statuses(503), harness.Methods(), "1 0 0"},
		{"ServerErrors", harness.Statuses(503), func(o *restyretry.Options) { o.ServerErrors = false }, "1 0 0"},
		{"MaxElapsed", harness.Statuses(503), soon, "1 0 0"},
		{"MaxServerWait", harness.Says(503, "Retry-After: 9"), harness.MaxServerWait(1), "1 0 0"},
		{"no MaxServerWait", harness.Says(503, "Retry-After: 9"), harness.MaxServerWait(0), "1 1 1"},
		{"not sent", harness.Statuses(200), harness.OnAttempt(func(restyretry.Attempt) error { return io.EOF }), "0 0 0"},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			budget := restyretry.NewBudget(0, 1)
			opts := []harness.Option{harness.Budget(budget), harness.Wait(0)}
			if tt.opt != nil {
				opts = append(opts, tt.opt)
			}
			c := harness.New(t, tt.script, opts...)
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			c.Do(t, c.R().SetContext(ctx), "GET", "/")
			requests, retries, refused := budget.Report()
			harness.Equal(t, "report", fmt.Sprint(requests, retries, refused), tt.want)
		})
	}
}

func TestARequestCountsInTheBudgetWhenItsFirstAttemptEnds(t *testing.T) {
	harness.Bubble(t, "longer than the window", func(t *testing.T) {
		c := harness.New(t, harness.After(12*time.Second, harness.Statuses(503)),
			harness.Budget(restyretry.NewBudget(0.5, 0)), harness.Attempts(2))
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { _, _ = c.R().Get("/") })
			time.Sleep(time.Second / 4)
		}
		all.Wait()
		harness.Equal(t, "retries", c.Plugin.Stats().Retries, 10)
	})
}

func TestClientsAndRequestsShareABudget(t *testing.T) {
	harness.Bubble(t, "three retries of two clients", func(t *testing.T) {
		shared := harness.Budget(restyretry.NewBudget(0, 3))
		once := harness.Attempts(2)
		one := harness.New(t, harness.Statuses(503), harness.Wait(time.Millisecond), once, shared)
		two := harness.New(t, harness.Statuses(503), harness.Wait(time.Millisecond), once)
		one.Get(t, "/").Want(t, "503 status 1ms | 503 attempts")
		two.Do(t, two.R().SetContext(restyretry.With(t.Context(), shared)), "GET", "/").Want(t, "503 status 1ms | 503 attempts")
		if err := two.Plugin.Update(shared); err != nil {
			t.Fatal(err)
		}
		two.Get(t, "/").Want(t, "503 status 1ms | 503 attempts")
		two.Get(t, "/").Want(t, "503 budget")
		one.Get(t, "/").Want(t, "503 budget")
	})
}

func TestAnInvalidBudgetIsRefused(t *testing.T) {
	set := harness.Budget(restyretry.NewBudget(math.NaN(), 0))
	c := harness.Mock(harness.Statuses(200))
	_, err := restyretry.Install(c.Client, set)
	harness.WantError(t, err, "Budget: ratio is NaN")
	harness.WantError(t, c.Install(t).Plugin.Update(set), "Budget: ratio is NaN")
	call := c.Do(t, c.R().SetContext(restyretry.With(t.Context(), set)), "GET", "/").WantSent(t)
	harness.WantError(t, call.Err, "Budget: ratio is NaN")
}
