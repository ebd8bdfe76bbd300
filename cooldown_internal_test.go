package restyretry

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
)

const apiHost = "https://api.test"

// A departures notes when attempts leave, counted from its start.
type departures struct {
	*Cooldown
	start time.Time
	mu    sync.Mutex
	at    []time.Duration
}

func watch(c *Cooldown) *departures { return &departures{Cooldown: c, start: time.Now()} }

// send holds an attempt back until it may go, and calls during while it lasts.
func (d *departures) send(ctx context.Context, key string, limit time.Duration, during func()) error {
	deadline, _ := ctx.Deadline()
	p, _, err := d.wait(ctx, key, limit, deadline)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.at = append(d.at, time.Since(d.start))
	d.mu.Unlock()
	if during != nil {
		during()
	}
	p.done(ctx.Err() == nil)
	return nil
}

// crowd starts n attempts.
func (d *departures) crowd(t *testing.T, n int, during func()) *sync.WaitGroup {
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if err := d.send(t.Context(), apiHost, time.Hour, during); err != nil {
				t.Error(err)
			}
		})
	}
	return &all
}

// sorted returns when they left, the first one first.
func (d *departures) sorted() []time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(slices.Values(d.at))
}

// between counts those that left in a time.
func (d *departures) between(from, to time.Duration) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, at := range d.at {
		if at >= from && at <= to {
			n++
		}
	}
	return n
}

func (c *Cooldown) entries() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.cooling) + len(c.outages); int64(n) != c.known.Load() {
		panic(fmt.Sprint(n, " entries, but the count is ", c.known.Load()))
	}
	return len(c.cooling) + len(c.outages)
}

func TestCooldownKey(t *testing.T) {
	for _, tt := range []struct{ url, want string }{
		{"https://api.test/x?y=z", "https://api.test"},
		{"HTTPS://API.Test", "https://api.test"},
		{"https://api.test:443", "https://api.test"},
		{"https://api.test:/", "https://api.test"},
		{"http://api.test:80", "http://api.test"},
		{"http://api.test:443", "http://api.test:443"},
		{"https://api.test:80", "https://api.test:80"},
		{"https://user:secret@api.test/", "https://api.test"},
		{"http://[::1]:80/", "http://[::1]"},
		{"http://[fe80::80]/", "http://[fe80::80]"},
		{"http://[fe80::A]:8080/", "http://[fe80::a]:8080"},
		{"unix://sock:1", "unix://sock:1"},
		{"/only/a/path", ""},
		{"mailto:a@b.test", ""},
	} {
		t.Run(tt.url, func(t *testing.T) {
			u, err := url.Parse(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			if got := new(Cooldown).key(u, nil); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCooldownKeyOfTheCaller(t *testing.T) {
	u, _ := url.Parse("https://user:secret@api.test/orders")
	r := resty.New().R()
	c := &Cooldown{Key: func(u *url.URL, got *resty.Request) string {
		if got != r {
			t.Error("got another request")
		}
		key := u.String()
		u.Host = "changed"
		return key
	}}
	if got, want := c.key(u, r), "https://api.test/orders"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if u.Host != "api.test" || u.User == nil {
		t.Errorf("got %v, want the URL of the attempt untouched", u)
	}
}

func TestCooldownReleasesInATenthAfterTheEnd(t *testing.T) {
	for _, tt := range []struct{ told, spread time.Duration }{
		{100 * time.Millisecond, 100 * time.Millisecond},
		{time.Second, time.Second},
		{5 * time.Second, time.Second},
		{time.Minute, 6 * time.Second},
		{250 * time.Second, 25 * time.Second},
		{29 * time.Minute, 30 * time.Second},
	} {
		t.Run(tt.told.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := watch(&Cooldown{Max: time.Hour})
				c.told(apiHost, tt.told)
				c.crowd(t, 100, nil).Wait()
				last := slices.Max(c.at)
				if got := c.between(tt.told, tt.told+tt.spread); got != 100 {
					t.Errorf("got %d within %v after %v, want 100 (%v)", got, tt.spread, tt.told, c.at)
				}
				if slices.Min(c.at) > tt.told+tt.spread/5 || last < tt.told+tt.spread*4/5 {
					t.Errorf("got them from %v to %v, want them spread over %v", slices.Min(c.at), last, tt.spread)
				}
				if c.entries() != 0 || !c.idle() {
					t.Errorf("got %d entries after the end, want none", c.entries())
				}
			})
		})
	}
}

func TestCooldownHeldIsHowLongItWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(Cooldown)
		c.told(apiHost, time.Minute)
		start := time.Now()
		_, held, err := c.wait(t.Context(), apiHost, time.Minute, time.Time{})
		if err != nil || held != time.Since(start) || held < time.Minute {
			t.Errorf("got %v, %v, want %v", held, err, time.Since(start))
		}
		if _, held, err = c.wait(t.Context(), "other", 0, time.Time{}); held != 0 || err != nil {
			t.Errorf("another host: got %v, %v, want 0 and none", held, err)
		}
	})
}

func TestCooldownFirstToWakeIsTheProbe(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lasts time.Duration
		alone time.Duration // until the second goes, at the least
	}{
		{"at once", 0, 0},
		{"a second", time.Second, time.Second},
		{"hangs", time.Hour, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := watch(new(Cooldown))
				c.told(apiHost, time.Minute)
				var sent atomic.Int32
				all := c.crowd(t, 100, func() {
					if sent.Add(1) == 1 {
						time.Sleep(tt.lasts)
					}
				})
				all.Wait()
				slices.Sort(c.at)
				if got := c.at[1] - c.at[0]; got < tt.alone || got > tt.alone+time.Second {
					t.Errorf("got the second %v after the probe, want %v", got, tt.alone)
				}
				if last := c.at[99]; last > 72*time.Second {
					t.Errorf("got the last at %v, want all soon after the probe", last)
				}
			})
		})
	}
}

// A server that hangs gets a probe every 5 seconds, and not all at once when it
// answers again.
func TestCooldownProbesAHangingHostEvery5Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := watch(new(Cooldown))
		c.told(apiHost, time.Minute)
		up := c.start.Add(90 * time.Second)
		c.crowd(t, 1000, func() { time.Sleep(time.Until(up)) }).Wait()
		if got := c.between(0, 89*time.Second); got != 6 {
			t.Errorf("got %d while it hangs for 30s, want 6", got)
		}
		slices.Sort(c.at)
		for i := 6; i+100 < len(c.at); i++ {
			if c.at[i+100]-c.at[i] < 100*time.Millisecond {
				t.Fatalf("got 100 in %v, want them spread over 6s", c.at[i+100]-c.at[i])
			}
		}
		if last := c.at[999]; last > 96*time.Second {
			t.Errorf("got the last at %v, want it 6s after the host is back", last)
		}
	})
}

// What a probe has kept waiting does not leave in one moment after it.
func TestCooldownSpreadsThoseThatWaitedForTheProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := watch(new(Cooldown))
		c.told(apiHost, 100*time.Second)
		var sent atomic.Int32
		c.crowd(t, 1000, func() {
			if sent.Add(1) == 1 {
				time.Sleep(4 * time.Second)
			}
		}).Wait()
		slices.Sort(c.at)
		for i := 1; i+100 < len(c.at); i++ {
			if c.at[i+100]-c.at[i] < 100*time.Millisecond {
				t.Fatalf("got 100 in %v from %v on, want fewer", c.at[i+100]-c.at[i], c.at[i])
			}
		}
		if last := c.at[999]; last > 114*time.Second {
			t.Errorf("got the last at %v", last)
		}
	})
}

// Its place passes to the next, whether the probe was cancelled or never sent.
func TestCooldownProbeThatIsCancelledPassesItsPlaceOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := watch(new(Cooldown))
		c.told(apiHost, time.Minute)
		time.Sleep(time.Minute)
		first, _, _ := c.wait(t.Context(), apiHost, 0, time.Time{})
		if first == nil {
			t.Fatal("got no pass for the first after the end")
		}
		all := c.crowd(t, 10, func() { time.Sleep(time.Hour) })
		time.Sleep(2 * time.Second)
		if got := len(c.at); got != 0 {
			t.Fatalf("got %d while the probe is out, want none", got)
		}
		first.done(false)
		synctest.Wait()
		if got := c.between(62*time.Second, 62*time.Second); got != 1 || len(c.at) != 1 {
			t.Errorf("got %v, want one at once and the others behind it", c.at)
		}
		first.done(true) // twice, and too late to say that it was cancelled
		all.Wait()
	})
}

func TestCooldownProbeThatIsToldToWaitHoldsAllAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := watch(new(Cooldown))
		c.told(apiHost, time.Minute)
		var sent atomic.Int32
		c.crowd(t, 100, func() {
			if sent.Add(1) == 1 {
				time.Sleep(time.Second)
				c.told(apiHost, 2*time.Minute)
			}
		}).Wait()
		slices.Sort(c.at)
		probe, rest := c.at[0], c.at[1:]
		begins := probe + time.Second + 2*time.Minute
		if probe > 67*time.Second || rest[0] < begins || rest[98] > begins+13*time.Second {
			t.Errorf("got the probe at %v, the others from %v to %v, want these in the tenth after %v", probe, rest[0], rest[98], begins)
		}
		if rest[98]-rest[0] < 9*time.Second {
			t.Errorf("got the others from %v to %v, want new places", rest[0], rest[98])
		}
	})
}

// A probe that hung has no say in what came after it, unless it was answered.
func TestCooldownProbeThatEndsLate(t *testing.T) {
	for _, tt := range []struct {
		name    string
		heard   bool
		between func(c *Cooldown, second *pass)
		left    time.Duration
		probes  bool // whether the second still keeps others waiting
	}{
		{"answered", true, func(*Cooldown, *pass) {}, 0, false},
		{"cancelled", false, func(*Cooldown, *pass) {}, 0, true},
		{"after the next cool-down has begun", true, func(c *Cooldown, second *pass) {
			second.done(true)
			c.told(apiHost, time.Minute)
		}, time.Minute, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := new(Cooldown)
				c.told(apiHost, time.Minute)
				time.Sleep(time.Minute)
				first, _, _ := c.wait(t.Context(), apiHost, 0, time.Time{})
				second, held, _ := c.wait(t.Context(), apiHost, time.Minute, time.Time{})
				if first == nil || second == nil || held != 5*time.Second {
					t.Fatalf("got %v, and %v after %v, want a second probe after 5s", first, second, held)
				}
				tt.between(c, second)
				first.done(tt.heard)
				h := c.cooling[apiHost]
				if got := h != nil && h.probe == second; got != tt.probes || c.Left(apiHost) != tt.left {
					t.Errorf("got the second still out %t, %v left, want %t, %v", got, c.Left(apiHost), tt.probes, tt.left)
				}
			})
		})
	}
}

// The end of a probe says nothing of a cool-down that began while it was out.
func TestCooldownIsNotEndedByASuccessInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(Cooldown)
		c.told(apiHost, time.Minute)
		time.Sleep(time.Minute)
		p, _, _ := c.wait(t.Context(), apiHost, 0, time.Time{})
		c.told(apiHost, time.Minute) // another attempt, sent before
		p.done(true)
		if got := c.Left(apiHost); got != time.Minute {
			t.Errorf("got %v left, want 1m", got)
		}
	})
}

func TestCooldownLatestEndWins(t *testing.T) {
	type word struct {
		after time.Duration
		own   bool
		d     time.Duration
	}
	for _, tt := range []struct {
		name  string
		max   time.Duration
		words []word
		want  time.Duration
	}{
		{"one", 0, []word{{0, true, 60 * time.Second}}, 60 * time.Second},
		{"longer", 0, []word{{0, true, 60 * time.Second}, {0, true, 90 * time.Second}}, 90 * time.Second},
		{"shorter", 0, []word{{0, true, 60 * time.Second}, {0, true, 10 * time.Second}}, 60 * time.Second},
		{"later", 0, []word{{0, true, 60 * time.Second}, {30 * time.Second, true, 60 * time.Second}}, 60 * time.Second},
		{"heard longer", 0, []word{{0, true, 60 * time.Second}, {0, false, 90 * time.Second}}, 90 * time.Second},
		{"heard shorter", 0, []word{{0, true, 60 * time.Second}, {0, false, 10 * time.Second}}, 60 * time.Second},
		{"heard 0", 0, []word{{0, true, 60 * time.Second}, {0, false, 0}}, 0},
		{"heard less than 0", 0, []word{{0, true, 60 * time.Second}, {0, false, -5}}, 0},
		{"told 0", 0, []word{{0, true, 60 * time.Second}, {0, true, 0}}, 60 * time.Second},
		{"told less than 0", 0, []word{{0, true, math.MinInt64}}, 0},
		{"heard 0 of nothing", 0, []word{{0, false, 0}}, 0},
		{"told again after 0", 0, []word{{0, true, 60 * time.Second}, {0, false, 0}, {0, true, 9 * time.Second}}, 9 * time.Second},
		{"an hour", 0, []word{{0, true, time.Hour}}, 5 * time.Minute},
		{"an hour heard", 0, []word{{0, false, time.Hour}}, 5 * time.Minute},
		{"for ever", 0, []word{{0, true, math.MaxInt64}, {0, false, math.MaxInt64}}, 5 * time.Minute},
		{"for ever allowed", math.MaxInt64, []word{{0, true, math.MaxInt64}}, math.MaxInt64},
		{"Max", time.Minute, []word{{0, true, time.Hour}}, time.Minute},
		{"Max below 0", -1, []word{{0, true, time.Hour}}, 5 * time.Minute},
		{"heard on and on", time.Minute, []word{{0, true, time.Hour}, {30 * time.Second, false, time.Hour}}, 30 * time.Second},
		{"in flight", time.Minute, []word{{0, true, time.Hour}, {30 * time.Second, true, time.Hour}}, 30 * time.Second},
		{"told when it is over", time.Minute, []word{{0, true, time.Hour}, {61 * time.Second, true, time.Hour}}, time.Minute},
		{"heard when it is over", time.Minute, []word{{0, true, time.Hour}, {61 * time.Second, false, time.Hour}}, 0},
		{"heard long after", time.Minute, []word{{0, true, time.Hour}, {time.Hour, false, time.Hour}}, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &Cooldown{Max: tt.max}
				for _, w := range tt.words {
					time.Sleep(w.after)
					if w.own {
						c.told(apiHost, w.d)
					} else {
						c.Hold(apiHost, w.d)
					}
				}
				if got := c.Left(apiHost); got != tt.want {
					t.Errorf("got %v left, want %v", got, tt.want)
				}
			})
		})
	}
}

func TestCooldownLeftRunsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(Cooldown)
		c.told(apiHost, time.Minute)
		for _, want := range []time.Duration{60, 40, 20, 0, 0} {
			if got := c.Left(apiHost); got != want*time.Second {
				t.Errorf("got %v, want %v", got, want*time.Second)
			}
			time.Sleep(20 * time.Second)
		}
	})
}

// The tenth is part of Max, or a host would be left alone for longer.
func TestCooldownAsksAgainAfterMax(t *testing.T) {
	for _, tt := range []struct{ told, last time.Duration }{
		{time.Hour, 100 * time.Second},
		{99 * time.Second, 100 * time.Second},
		{90 * time.Second, 99 * time.Second},
	} {
		t.Run(tt.told.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for range 20 {
					c := new(Cooldown)
					c.Max = 100 * time.Second
					c.told(apiHost, tt.told)
					_, held, err := c.wait(t.Context(), apiHost, time.Hour, time.Time{})
					if err != nil || held < min(tt.told, c.Max) || held > tt.last {
						t.Errorf("got it held for %v, %v, want from %v to %v", held, err, min(tt.told, c.Max), tt.last)
					}
				}
			})
		})
	}
}

// From then on others are believed again.
func TestCooldownHoldBeginsAnewWhenThisProcessHasAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(Cooldown)
		c.Hold(apiHost, time.Hour)
		time.Sleep(5 * time.Minute)
		if c.Hold(apiHost, time.Hour); c.Left(apiHost) != 0 {
			t.Errorf("before it has asked: got %v left, want none", c.Left(apiHost))
		}
		p, _, _ := c.wait(t.Context(), apiHost, 0, time.Time{})
		if c.Hold(apiHost, time.Minute); c.Left(apiHost) != time.Minute {
			t.Errorf("while it asks: got %v left, want 1m", c.Left(apiHost))
		}
		p.done(true)
	})
}

// Those that wait leave in a tenth of the time that they have waited.
func TestCooldownHold0ReleasesThoseThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := watch(new(Cooldown))
		c.told(apiHost, time.Minute)
		all := c.crowd(t, 100, nil)
		time.Sleep(20 * time.Second)
		c.Hold(apiHost, 0)
		all.Wait()
		if got := c.between(20*time.Second, 22*time.Second); got != 100 {
			t.Errorf("got %d in the 2s after Hold(…, 0), want 100", got)
		}
	})
}

func TestCooldownRefusesWhatMayNotWait(t *testing.T) {
	const minute = time.Minute
	for _, tt := range []struct {
		name            string
		limit, deadline time.Duration // 0: no deadline
		sent            bool
	}{
		{"time enough", minute, 0, true},
		{"limit too short", minute - 1, 0, false},
		{"no limit left", 0, 0, false},
		{"limit used up", -minute, 0, false},
		{"limit below everything", math.MinInt64, 0, false},
		{"without limit", math.MaxInt64, 0, true},
		{"deadline before the end", time.Hour, 5 * time.Second, false},
		{"deadline at the end", time.Hour, minute, false},
		{"deadline in the tenth after it", time.Hour, minute + 2*time.Second, true},
		{"deadline right after it", time.Hour, minute + 1, true},
		{"deadline later", time.Hour, 2 * minute, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for range 20 { // places are random
					c, start := new(Cooldown), time.Now()
					c.told(apiHost, minute)
					var deadline time.Time
					if tt.deadline != 0 {
						deadline = start.Add(tt.deadline)
					}
					_, held, err := c.wait(t.Context(), apiHost, tt.limit, deadline)
					var cold *CooldownError
					switch {
					case tt.sent && err != nil:
						t.Errorf("got %v, want it sent", err)
					case tt.sent && (held < minute || held > 66*time.Second || tt.deadline != 0 && held >= tt.deadline):
						t.Errorf("got it sent after %v, want it in 1m and 6s, before %v", held, tt.deadline)
					case !tt.sent && (!errors.As(err, &cold) || *cold != CooldownError{Key: apiHost, Left: minute}):
						t.Errorf("got %v, want a CooldownError of 1m", err)
					case !tt.sent && (held != 0 || time.Since(start) != 0):
						t.Errorf("got it refused after %v, want it at once", held)
					}
				}
			})
		})
	}
}

// One that waits is refused when a longer word comes, and not only at its place.
func TestCooldownRefusesThoseThatWaitWhenItGetsLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := watch(new(Cooldown))
		c.told(apiHost, 10*time.Second)
		done := make(chan error, 1)
		go func() { done <- c.send(t.Context(), apiHost, time.Minute, nil) }()
		time.Sleep(5 * time.Second)
		c.told(apiHost, 2*time.Minute)
		err := <-done
		if cold := new(CooldownError); !errors.As(err, &cold) || cold.Left != 2*time.Minute {
			t.Errorf("got %v, want 2m left", err)
		}
		if got := time.Since(c.start); got != 5*time.Second {
			t.Errorf("got it after %v, want 5s", got)
		}
	})
}

// All that a request is held counts, not each wait for itself.
func TestCooldownLimitIsOfAllExtensionsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := watch(new(Cooldown))
		c.told(apiHost, 30*time.Second)
		go func() {
			for range 10 {
				time.Sleep(10 * time.Second)
				c.told(apiHost, 30*time.Second)
			}
		}()
		err := c.send(t.Context(), apiHost, time.Minute, nil)
		if cold := new(CooldownError); !errors.As(err, &cold) {
			t.Errorf("got %v, want a CooldownError", err)
		}
		if got := time.Since(c.start); got > time.Minute {
			t.Errorf("got it refused after %v, want it within 1m", got)
		}
		time.Sleep(time.Hour)
	})
}

// However many probes hang, nobody waits for them beyond its limit or deadline.
func TestCooldownWaitsForProbesWithinItsLimits(t *testing.T) {
	for _, tt := range []struct {
		name            string
		limit, deadline time.Duration
		want            time.Duration // after the end, at the latest
	}{
		{"limit", 30 * time.Second, 0, 30 * time.Second},
		{"limit used up", 0, 0, 5 * time.Second},
		{"deadline", time.Hour, 8 * time.Second, 4 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := watch(new(Cooldown))
				c.told(apiHost, time.Minute)
				time.Sleep(time.Minute)
				for range 100 {
					go func() { _ = c.send(t.Context(), apiHost, time.Hour, func() { time.Sleep(time.Hour) }) }()
				}
				synctest.Wait()
				var deadline time.Time
				if tt.deadline != 0 {
					deadline = time.Now().Add(tt.deadline)
				}
				_, held, err := c.wait(t.Context(), apiHost, tt.limit, deadline)
				if err != nil || held > tt.want {
					t.Errorf("got it sent after %v, %v, want %v", held, err, tt.want)
				}
				time.Sleep(10 * time.Hour)
			})
		})
	}
}

func TestCooldownCancelledWhileHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(Cooldown)
		c.told(apiHost, time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Second, cancel)
		_, held, err := c.wait(ctx, apiHost, time.Hour, time.Time{})
		if !errors.Is(err, context.Canceled) || held != 20*time.Second {
			t.Errorf("got %v after %v, want context.Canceled after 20s", err, held)
		}
		if c.cooling[apiHost].waiting != 0 {
			t.Errorf("got %d that wait, want none", c.cooling[apiHost].waiting)
		}
	})
}

func TestCooldownKeysAreIndependent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(Cooldown)
		c.told("one", time.Minute)
		c.told("", time.Minute)
		c.Hold("", time.Minute)
		for _, key := range []string{"two", ""} {
			if p, held, err := c.wait(t.Context(), key, 0, time.Time{}); p != nil || held != 0 || err != nil || c.Left(key) != 0 {
				t.Errorf("%q: got %v, %v, %v, want it to go at once", key, p, held, err)
			}
		}
		if c.Left("one") != time.Minute || c.entries() != 1 {
			t.Errorf("got %v left and %d entries, want 1m and 1", c.Left("one"), c.entries())
		}
	})
}

func TestCooldownNilIsNone(t *testing.T) {
	var c *Cooldown
	c.told(apiHost, time.Minute)
	c.failed(apiHost, false)
	c.succeeded(apiHost)
	p, held, err := c.wait(t.Context(), apiHost, 0, time.Time{})
	p.done(true)
	if p != nil || held != 0 || err != nil || c.pick(3, func(int) string { return apiHost }) != 0 {
		t.Errorf("got %v, %v, %v", p, held, err)
	}
}

func TestCooldownErrorText(t *testing.T) {
	for _, tt := range []struct {
		err  CooldownError
		want string
	}{
		{CooldownError{apiHost, time.Minute}, `restyretry: not sent: "https://api.test" cools down for another 1m0s`},
		{CooldownError{"a\n\u202eb", 1234567 * time.Nanosecond}, `restyretry: not sent: "a\n\u202eb" cools down for another 1ms`},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

// A word is shared when it comes from a server and is new to the others.
func TestCooldownSharesWhatOthersDoNotKnow(t *testing.T) {
	type word struct {
		own    bool
		after  time.Duration
		d      time.Duration
		shared time.Duration // 0: not
	}
	const s = time.Second
	for name, words := range map[string][]word{
		"new":                  {{true, 0, 60 * s, 60 * s}},
		"again":                {{true, 0, 60 * s, 60 * s}, {true, 0, 60 * s, 0}},
		"a second later":       {{true, 0, 60 * s, 60 * s}, {true, s, 60 * s, 0}, {true, 1, 60 * s, 60 * s}},
		"a tenth later":        {{true, 0, 2 * s, 2 * s}, {true, s / 5, 2 * s, 0}, {true, 1, 2 * s, 2 * s}},
		"little by little":     {{true, 0, 60 * s, 60 * s}, {true, s * 2 / 3, 60 * s, 0}, {true, s * 2 / 3, 60 * s, 60 * s}},
		"shorter":              {{true, 0, 60 * s, 60 * s}, {true, 0, 30 * s, 0}},
		"longer":               {{true, 0, 60 * s, 60 * s}, {true, 0, 90 * s, 90 * s}},
		"heard":                {{false, 0, 60 * s, 0}},
		"heard before":         {{false, 0, 60 * s, 0}, {true, s / 2, 60 * s, 0}},
		"heard longer before":  {{false, 0, 90 * s, 0}, {true, 0, 60 * s, 0}},
		"heard shorter before": {{false, 0, 30 * s, 0}, {true, 0, 60 * s, 60 * s}},
		"heard after":          {{true, 0, 30 * s, 30 * s}, {false, 0, 60 * s, 0}, {true, 0, 60 * s, 0}},
		"after the end":        {{true, 0, 30 * s, 30 * s}, {true, 40 * s, 30 * s, 30 * s}},
		"after it was ended":   {{true, 0, 30 * s, 30 * s}, {false, 0, 0, 0}, {true, 0, 30 * s, 30 * s}},
		"cut":                  {{true, 0, time.Hour, 5 * time.Minute}},
		"none":                 {{true, 0, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := new(Cooldown)
				var got time.Duration
				c.Share(func(key string, d time.Duration) {
					if key != apiHost || got != 0 {
						t.Errorf("got %q twice or wrong", key)
					}
					got = d
					c.Hold(key, d) // a tell that hears itself, and holds no lock
				})
				for i, w := range words {
					time.Sleep(w.after)
					if got = 0; w.own {
						c.told(apiHost, w.d)
					} else {
						c.Hold(apiHost, w.d)
					}
					if got != w.shared {
						t.Errorf("word %d: got %v shared, want %v", i+1, got, w.shared)
					}
				}
			})
		})
	}
}

func TestCooldownKeepsLongKeysToItself(t *testing.T) {
	for _, n := range []int{256, 257} {
		c, shared := new(Cooldown), false
		c.Share(func(string, time.Duration) { shared = true })
		key := strings.Repeat("k", n)
		c.told(key, time.Minute)
		if shared != (n == 256) || c.Left(key) == 0 {
			t.Errorf("%d bytes: got it shared %t, %v left, want it cooling, and shared up to 256", n, shared, c.Left(key))
		}
	}
}

// fleet joins Cooldowns by closures, and counts what is said between them.
func fleet(n int) (members []*Cooldown, words *atomic.Int32) {
	words = new(atomic.Int32)
	for range n {
		members = append(members, new(Cooldown))
	}
	for i, from := range members {
		from.Share(func(key string, d time.Duration) {
			words.Add(1)
			for j, to := range members {
				if j != i {
					to.Hold(key, d)
				}
			}
		})
	}
	return members, words
}

func TestCooldownJoinedHasNoEcho(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		members, words := fleet(3)
		members[0].told(apiHost, time.Minute)
		for range 100 { // in flight
			for _, c := range members {
				c.told(apiHost, time.Minute)
			}
		}
		for i, c := range members {
			if got := c.Left(apiHost); got != time.Minute {
				t.Errorf("member %d: got %v left, want 1m", i, got)
			}
		}
		if got := words.Load(); got != 1 {
			t.Errorf("got %d words, want 1", got)
		}
	})
}

// 10 processes with 10 waiters each: the server sees one of them after 60 s, says
// wait again, and sees the others after that.
func TestCooldownJoinedHasOneProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		members, _ := fleet(10)
		members[0].told(apiHost, time.Minute)
		start, asked := time.Now(), []time.Duration(nil)
		var mu sync.Mutex
		var all sync.WaitGroup
		for _, c := range members {
			for range 10 {
				all.Go(func() {
					p, _, err := c.wait(t.Context(), apiHost, time.Hour, time.Time{})
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					asked = append(asked, time.Since(start))
					first := len(asked) == 1
					mu.Unlock()
					if first {
						c.told(apiHost, time.Minute)
					}
					p.done(true)
				})
			}
		}
		all.Wait()
		if asked[0] > 66*time.Second || asked[1] < asked[0]+time.Minute || asked[99] > asked[0]+time.Minute+13*time.Second {
			t.Errorf("got %v, want one, and the others a minute later", asked)
		}
	})
}

// Another process announces a year every second for an hour. This one asks all
// the same, once per Max, whether its requests wait or not.
func TestCooldownCannotBeSilenced(t *testing.T) {
	for _, tt := range []struct {
		name    string
		healthy bool
		words   func(c *Cooldown)
		every   time.Duration // a request
		limit   time.Duration
		most    time.Duration // of silence
	}{
		{"cooling", false, nil, time.Second, 0, 5 * time.Minute},
		{"cooling, requests wait", false, nil, 10 * time.Second, time.Hour, 5 * time.Minute},
		{"healthy", true, nil, time.Second, 0, 5 * time.Minute},
		{"healthy, requests wait", true, nil, time.Second, time.Minute, 5 * time.Minute},
		{"few requests", true, nil, 59 * time.Second, 0, 6 * time.Minute},
		{"short words", true, func(c *Cooldown) { c.Hold(apiHost, 1100*time.Millisecond) }, time.Second, 0, 5 * time.Minute},
		{"ended and begun", true, func(c *Cooldown) { c.Hold(apiHost, 0); c.Hold(apiHost, time.Hour) }, time.Second, 0, 5 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := watch(new(Cooldown))
				ctx, stop := context.WithTimeout(t.Context(), time.Hour)
				defer stop()
				if tt.words == nil {
					tt.words = func(c *Cooldown) { c.Hold(apiHost, 365*24*time.Hour) }
				}
				go func() {
					for ; ctx.Err() == nil; time.Sleep(time.Second) {
						tt.words(c.Cooldown)
					}
				}()
				for ; ctx.Err() == nil; time.Sleep(tt.every) {
					go func() {
						_ = c.send(context.WithoutCancel(ctx), apiHost, tt.limit, func() {
							if time.Sleep(100 * time.Millisecond); !tt.healthy {
								c.told(apiHost, time.Hour)
							}
						})
					}()
				}
				time.Sleep(time.Hour)
				last := time.Duration(0)
				for _, at := range append(c.sorted(), time.Hour) {
					if at <= time.Hour && at-last > tt.most+time.Second {
						t.Errorf("silent from %v to %v, want %v at most", last, at, tt.most)
					}
					last = at
				}
				if n := c.between(0, time.Hour); !tt.healthy && (n < 11 || n > 14) {
					t.Errorf("got %d requests in an hour, want one in 5 minutes", n)
				}
			})
		})
	}
}

func TestCooldownRemembersOnlyWhatCools(t *testing.T) {
	for _, tt := range []struct {
		name   string
		begin  func(c *Cooldown, key string)
		newest bool // whether the last ones are those that are kept
	}{
		{"told", func(c *Cooldown, key string) { c.told(key, time.Minute) }, true},
		{"heard", func(c *Cooldown, key string) { c.Hold(key, time.Minute) }, false},
		{"down", func(c *Cooldown, key string) { c.failed(key, false) }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := new(Cooldown)
				key := func(i int) string { return fmt.Sprint("https://", i, ".test") }
				for i := range 10_000 {
					tt.begin(c, key(i))
					time.Sleep(time.Microsecond)
				}
				if got := c.entries(); got != 1024 {
					t.Errorf("got %d entries, want 1024", got)
				}
				if tt.name != "down" && (c.Left(key(0)) > 0) == tt.newest || (c.Left(key(9_999)) > 0) != tt.newest {
					t.Errorf("got %v and %v left for the first and the last", c.Left(key(0)), c.Left(key(9_999)))
				}
				time.Sleep(2 * time.Minute)
				_, _, _ = c.wait(t.Context(), "another", 0, time.Time{})
				if got := c.entries(); got != 0 {
					t.Errorf("got %d entries when it is over, want none", got)
				}
			})
		})
	}
}

// What this process is told finds room among what it has heard.
func TestCooldownPrefersItsOwnWords(t *testing.T) {
	c := new(Cooldown)
	for i := range 2000 {
		c.Hold(fmt.Sprint(i), 5*time.Minute)
	}
	c.told(apiHost, time.Second)
	if c.Left(apiHost) == 0 || c.entries() != 1024 {
		t.Errorf("got %v left, %d entries", c.Left(apiHost), c.entries())
	}
}

// With the race detector; the bubble sees a goroutine that is left behind.
func TestCooldownIsSafeForManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		members, _ := fleet(2)
		keys := []string{"a", "b", "c", ""}
		var all sync.WaitGroup
		for i := range 64 {
			all.Go(func() {
				c := members[i%2]
				for range 200 {
					key := keys[rand.N(len(keys))]
					ctx, cancel := context.WithTimeout(t.Context(), rand.N(2*time.Millisecond))
					p, _, err := c.wait(ctx, key, time.Second, time.Time{})
					switch rand.N(6) {
					case 0:
						c.told(key, rand.N(time.Millisecond))
					case 1:
						c.failed(key, rand.N(2) == 0)
					case 2:
						c.succeeded(key)
					case 3:
						c.Hold(key, rand.N(3*time.Millisecond)-time.Millisecond)
					case 4:
						c.pick(len(keys), func(i int) string { return keys[i] })
					}
					_ = c.Left(key)
					if err == nil {
						p.done(rand.N(2) == 0)
					}
					cancel()
				}
			})
		}
		all.Wait()
		for _, c := range members {
			for key, h := range c.cooling {
				if h.waiting != 0 {
					t.Errorf("%q: got %d that wait, want none", key, h.waiting)
				}
			}
		}
	})
}

// A host that is down is tried after 1, 2, 4 … 60 s, by one request each time.
func TestOutageIsTriedByOneRequestAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(Cooldown)
		list := func(i int) string { return []string{"primary", "standby"}[i] }
		c.failed("primary", false)
		for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
			want *= time.Second
			start := time.Now()
			for c.pick(2, list) == 1 {
				c.failed("primary", false) // sent before it was down
				time.Sleep(10 * time.Millisecond)
			}
			got := time.Since(start)
			if got < want*4/5 || got > want*6/5+10*time.Millisecond {
				t.Errorf("got it passed over for %v, want %v by a fifth", got, want)
			}
			if c.pick(2, list) != 1 {
				t.Error("got a second request that tries it")
			}
			c.failed("primary", true) // one is enough now
		}
		time.Sleep(72 * time.Second)
		if c.pick(2, list) != 0 {
			t.Fatal("got nobody who tries it")
		}
		c.succeeded("primary")
		for range 2 {
			if c.pick(2, list) != 0 {
				t.Error("after a success: got it passed over")
			}
		}
		if c.entries() != 0 {
			t.Errorf("after a success: got %d entries, want none", c.entries())
		}
		c.failed("primary", false)
		if time.Sleep(1200 * time.Millisecond); c.pick(2, list) != 0 {
			t.Error("after a success: got it passed over for longer than at first")
		}
	})
}

// One that tries it and is never heard of is followed by another after 5 s.
func TestOutageTrialThatIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(Cooldown)
		list := func(i int) string { return []string{"primary", "standby"}[i] }
		c.failed("primary", false)
		time.Sleep(2 * time.Second)
		for second := range 11 {
			if got, want := c.pick(2, list) == 0, second%5 == 0; got != want {
				t.Errorf("second %d: got it tried %t, want %t", second, got, want)
			}
			time.Sleep(time.Second)
		}
	})
}

func TestOutageBeginsWithTheFifthFailureInARow(t *testing.T) {
	list := func(i int) string { return []string{"primary", "standby"}[i] }
	for _, tt := range []struct {
		name   string
		events string // f: failed, n: not connected, s: succeeded, m: a minute passes
		down   bool
	}{
		{"four", "ffff", false},
		{"five", "fffff", true},
		{"success between", "ffffsffff", false},
		{"success after", "fffffs", false},
		{"no connection", "n", true},
		{"no connection, then a success", "ns", false},
		{"long ago", "ffffmf", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := new(Cooldown)
				for _, e := range tt.events {
					switch e {
					case 'm':
						time.Sleep(time.Minute)
					case 's':
						c.succeeded("primary")
					default:
						c.failed("primary", e == 'f')
					}
				}
				if got := c.pick(2, list) == 1; got != tt.down {
					t.Errorf("got it passed over %t, want %t", got, tt.down)
				}
			})
		})
	}
}

// Upper case is down, a number the seconds for which a host cools down.
func TestCooldownOrderInAList(t *testing.T) {
	for _, tt := range []struct {
		hosts []any
		want  int
	}{
		{[]any{"a", "b", "c"}, 0},
		{[]any{"A", "b", "c"}, 1},
		{[]any{9, "b", "c"}, 1},
		{[]any{9, "B", "c"}, 2},
		{[]any{"A", 9, "c"}, 2},
		{[]any{"A", "B", "C"}, 0},
		{[]any{9, "B", "C"}, 1},
		{[]any{9, "B", 8}, 1},
		{[]any{9, 8, 7}, 2},
		{[]any{7, 9, 8}, 0},
		{[]any{9}, 0},
		{[]any{"", "b"}, 0},
		{[]any{9, ""}, 1},
	} {
		t.Run(fmt.Sprint(tt.hosts...), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, keys := new(Cooldown), make([]string, len(tt.hosts))
				for i, h := range tt.hosts {
					keys[i] = fmt.Sprint(h)
					if seconds, ok := h.(int); ok {
						c.told(keys[i], time.Duration(seconds)*time.Second)
						c.failed(keys[i], false) // cooling counts
					} else if keys[i] != strings.ToLower(keys[i]) {
						c.failed(keys[i], false)
					}
				}
				if got := c.pick(len(keys), func(i int) string { return keys[i] }); got != tt.want {
					t.Errorf("got %d, want %d", got, tt.want)
				}
			})
		})
	}
}

// With a stand-in there is no need to wait for the probe.
func TestCooldownListGoesElsewhereWhileAProbeIsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(Cooldown)
		list := func(i int) string { return []string{"primary", "standby"}[i] }
		c.told("primary", time.Minute)
		time.Sleep(time.Minute)
		if c.pick(2, list) != 0 {
			t.Fatal("got the primary passed over after the end")
		}
		p, _, _ := c.wait(t.Context(), "primary", 0, time.Time{})
		if got := c.pick(2, list); got != 1 {
			t.Errorf("got %d while the probe is out, want 1", got)
		}
		p.done(true)
		if got := c.pick(2, list); got != 0 {
			t.Errorf("got %d after it, want 0", got)
		}
	})
}

func BenchmarkCooldown(b *testing.B) {
	for _, bb := range []struct {
		name string
		busy int
		key  string
		want bool
	}{
		{"idle", 0, apiHost, true},
		{"another host", 1, apiHost, true},
		{"1000 others", 1000, apiHost, true},
		{"refused", 1, "0", false},
	} {
		b.Run(bb.name, func(b *testing.B) {
			c := &Cooldown{Max: time.Hour}
			for i := range bb.busy {
				c.told(fmt.Sprint(i), time.Hour)
			}
			ctx := b.Context()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					p, _, err := c.wait(ctx, bb.key, time.Second, time.Time{})
					p.done(true)
					if (err == nil) != bb.want {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

func TestCooldownIdleAllocatesNothing(t *testing.T) {
	c, ctx := new(Cooldown), t.Context()
	if got := testing.AllocsPerRun(100, func() {
		p, _, _ := c.wait(ctx, apiHost, time.Minute, time.Time{})
		p.done(true)
		c.succeeded(apiHost)
		c.pick(2, func(int) string { return apiHost })
	}); got != 0 {
		t.Errorf("got %v allocations, want none", got)
	}
}
