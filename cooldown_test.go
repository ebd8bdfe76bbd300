package restyretry_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"

	"github.com/restyretry/restyretry"
)

// A limited server answers its first request by 429 with a wait, and notes when
// each came.
type limited struct {
	mu     sync.Mutex
	start  time.Time
	header http.Header
	status int
	at     []time.Duration
}

func (l *limited) respond(*http.Request) (*http.Response, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = append(l.at, time.Since(l.start))
	if len(l.at) > 1 {
		return httpmock.NewStringResponse(200, "fine"), nil
	}
	resp := httpmock.NewStringResponse(l.status, "wait")
	resp.Header = l.header
	return resp, nil
}

func TestOneOfAHundredIsToldToWaitAndAllWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &limited{start: time.Now(), status: 429, header: fields("Retry-After", "60")}
		c := mocked(server.respond)
		p := install(t, c, constant(0), func(o *restyretry.Options) { o.Cooldown = &restyretry.Cooldown{} })
		var all sync.WaitGroup
		send := func() {
			resp, err := c.R().Get("/x")
			if err != nil || resp.StatusCode() != 200 {
				t.Errorf("got %v, %v", resp, err)
			}
		}
		all.Go(send)
		time.Sleep(time.Second)
		for range 99 {
			all.Go(send)
		}
		all.Wait()
		before, during := 0, 0
		for _, at := range server.at {
			switch {
			case at < 60*time.Second:
				before++
			case at <= 66*time.Second:
				during++
			}
		}
		if before != 1 || during != 100 {
			t.Errorf("got %d before 60 s and %d until 66 s, want 1 and 100: %v", before, during, server.at)
		}
		stats := p.Stats()
		if stats.Attempts != 101 || stats.Requests != 100 || stats.Held < 99 {
			t.Errorf("got %+v", stats)
		}
	})
}

func TestARequestThatMayNotWaitSoLongIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &limited{start: time.Now(), status: 429, header: fields("Retry-After", "60")}
		c := mocked(server.respond)
		cooldown := &restyretry.Cooldown{}
		var done []restyretry.Attempt
		p := install(t, c, restyretry.Off, onDone(func(a restyretry.Attempt) { done = append(done, a) }),
			func(o *restyretry.Options) { o.Cooldown = cooldown })
		if resp, err := c.R().Get("/x"); err != nil || resp.StatusCode() != 429 {
			t.Fatalf("got %v, %v", resp, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		r := c.R().SetContext(ctx)
		resp, err := r.Get("/x")
		var cold *restyretry.CooldownError
		if resp != nil || !errors.As(err, &cold) || cold.Left != 60*time.Second || cold.Key != "http://api.test" || time.Since(start) != 0 {
			t.Errorf("got %v, %v, want a CooldownError at once", resp, err)
		}
		if len(server.at) != 1 {
			t.Errorf("got %d requests, want 1", len(server.at))
		}
		if history := restyretry.History(r); summary(history) != "1 cooldown" || history[0].Response != nil {
			t.Errorf("got %v", history)
		}
		if len(done) != 2 || done[1].Reason != restyretry.ReasonCooldown {
			t.Errorf("got %v", done)
		}
		if s := p.Stats(); s.Requests != 2 || s.Attempts != 1 || s.GivenUp[restyretry.ReasonCooldown] != 1 {
			t.Errorf("got %+v", s)
		}
	})
}
