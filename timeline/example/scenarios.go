package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"time"

	"github.com/restyretry/restyretry"
)

// A scenario is a request and what it will meet.
type scenario struct {
	name, about string
	method, url string
	option      func(*restyretry.Options)
	limit       func(context.Context) (context.Context, context.CancelFunc)
}

// newScenarios starts a server for each scenario.
func newScenarios() (scenarios []scenario, closeServers func()) {
	var servers []*httptest.Server
	serve := func(answers ...answer) string {
		s := httptest.NewServer(inTurn(answers))
		servers = append(servers, s)
		return s.URL
	}
	down := httptest.NewServer(nil)
	down.Close() // nobody listens on its port any more
	limited := serve(answer{status: 429, retryAfter: "1"}, answer{status: 200})
	scenarios = slices.Concat(recovering(serve, down.URL), givingUp(serve), coolingDown(limited))
	return scenarios, func() {
		for _, s := range servers {
			s.Close()
		}
	}
}

func recovering(serve func(...answer) string, down string) []scenario {
	ok, busy := answer{status: 200}, answer{status: 503}
	return []scenario{
		{
			name: "Two 503s, then the answer", about: "The waits grow, and half of each is random.",
			method: "GET", url: serve(busy, busy, ok) + "/report",
			option: func(o *restyretry.Options) {
				o.Wait = restyretry.EqualJitter(restyretry.Exponential(120*time.Millisecond, time.Second))
			},
		},
		{
			name: "Failover to another server", about: "Nobody listens at the first URL, so the second attempt goes to the next.",
			method: "GET", url: "/orders?customer=4711",
			option: func(o *restyretry.Options) {
				o.URL = restyretry.BaseURLs(down, serve(ok))
				o.Wait = restyretry.Constant(80 * time.Millisecond)
			},
		},
		{
			name: "The server says how long", about: "Its Retry-After takes the place of the wait of 50 ms.",
			method: "GET", url: serve(answer{status: 429, retryAfter: "1"}, ok) + "/search",
			option: func(o *restyretry.Options) { o.Wait = restyretry.Constant(50 * time.Millisecond) },
		},
		{
			name: "Polling a job", about: "RetryIf repeats a 200 that says “pending”.",
			method: "GET", url: serve(answer{status: 202, body: "pending"}, answer{status: 200, body: "pending"}, ok) + "/jobs/7",
			option: func(o *restyretry.Options) {
				o.Wait = restyretry.Constant(100 * time.Millisecond)
				o.RetryIf = func(a restyretry.Attempt) bool { return a.Response.String() == "pending" }
			},
		},
		{
			name: "One slow attempt", about: "AttemptTimeout cuts the first attempt off; the second is quick.",
			method: "GET", url: serve(answer{status: 200, takes: time.Minute}, ok) + "/slow",
			option: func(o *restyretry.Options) {
				o.AttemptTimeout = 250 * time.Millisecond
				o.Wait = restyretry.Constant(60 * time.Millisecond)
			},
		},
	}
}

func givingUp(serve func(...answer) string) []scenario {
	busy := answer{status: 503}
	return []scenario{
		{
			name: "Still down after four attempts", about: "The last response comes back as it is.",
			method: "GET", url: serve(answer{status: 500}, busy, busy, answer{status: 502}) + "/report",
			option: func(o *restyretry.Options) {
				o.Attempts = 4
				o.Wait = restyretry.EqualJitter(restyretry.Exponential(60*time.Millisecond, time.Second))
			},
		},
		{
			name: "A POST is not repeated", about: "The order may have been placed, and a second one would be another.",
			method: "POST", url: serve(busy) + "/orders",
			option: func(*restyretry.Options) {},
		},
		{
			name: "The deadline is too near", about: "The wait of 400 ms would end after the caller's deadline, so it is not begun.",
			method: "GET", url: serve(busy) + "/report",
			option: func(o *restyretry.Options) { o.Wait = restyretry.Constant(400 * time.Millisecond) },
			limit: func(ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeout(ctx, 250*time.Millisecond)
			},
		},
		cancelled(serve(busy) + "/report"),
		{
			name: "The server asks for an hour", about: "That is longer than MaxServerWait, one minute.",
			method: "GET", url: serve(answer{status: 429, retryAfter: "3600"}) + "/search",
			option: func(*restyretry.Options) {},
		},
		{
			name: "The budget is used up", about: "It allows one retry for ten requests, and there was only this one.",
			method: "GET", url: serve(busy) + "/report",
			option: func(o *restyretry.Options) { o.Budget = restyretry.NewBudget(0.1, 0) },
		},
	}
}

// coolingDown is three requests to a host that tells the first one to wait.
func coolingDown(url string) []scenario {
	var cooldown restyretry.Cooldown
	shared := func(o *restyretry.Options) { o.Cooldown = &cooldown }
	return []scenario{
		{
			name: "Told to wait, without a retry", about: "The Cooldown learns that its host wants a second of quiet.",
			method: "GET", url: url + "/limited",
			option: func(o *restyretry.Options) { o.Cooldown, o.Attempts = &cooldown, 1 },
		},
		{
			name: "A host that still cools down", about: "The caller's deadline comes before the end of that second, so it is never sent.",
			method: "GET", url: url + "/limited", option: shared,
			limit: func(ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeout(ctx, 100*time.Millisecond)
			},
		},
		{
			name: "Held back by the Cooldown", about: "It is sent when the second is over.",
			method: "GET", url: url + "/limited", option: shared,
		},
	}
}

func cancelled(url string) scenario {
	var cancel context.CancelFunc
	return scenario{
		name: "Cancelled while waiting", about: "The caller goes away in the middle of a wait of 800 ms.",
		method: "GET", url: url,
		option: func(o *restyretry.Options) {
			o.Wait = restyretry.Constant(800 * time.Millisecond)
			o.Hooks = append(o.Hooks, restyretry.Hooks{OnRetry: func(restyretry.Attempt) {
				time.AfterFunc(200*time.Millisecond, cancel)
			}})
		},
		limit: func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel = context.WithCancel(ctx)
			return ctx, cancel
		},
	}
}

// An answer is what a server says, after a while.
type answer struct {
	status     int
	body       string
	retryAfter string
	takes      time.Duration // 0 is 40 ms
}

func (a answer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	takes := a.takes
	if takes == 0 {
		takes = 40 * time.Millisecond
	}
	select {
	case <-time.After(takes):
	case <-r.Context().Done():
	}
	if a.retryAfter != "" {
		w.Header().Set("Retry-After", a.retryAfter)
	}
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body)
}

// inTurn gives one answer after the other, the last one repeated.
func inTurn(answers []answer) http.Handler {
	var requests atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answers[min(int(requests.Add(1)), len(answers))-1].ServeHTTP(w, r)
	})
}
