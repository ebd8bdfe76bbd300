package restyretry_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/jarcoal/httpmock"
	"github.com/restyretry/restyretry"
)

func withBudget(b *restyretry.Budget) func(*restyretry.Options) {
	return func(o *restyretry.Options) {
		o.Budget = b
		o.Wait = restyretry.Constant(0)
	}
}

// failing returns a client whose every request is answered by 503.
func failing(t testing.TB, opts ...func(*restyretry.Options)) (*resty.Client, *restyretry.Plugin) {
	respond := httpmock.NewStringResponder(503, "down")
	c := mocked(respond)
	return c, install(t, c, opts...)
}

// send sends n requests, one every so often, and returns how many retries there
// were.
func send(t testing.TB, c *resty.Client, p *restyretry.Plugin, n int, every time.Duration) uint64 {
	t.Helper()
	before := p.Stats().Retries
	for range n {
		if _, err := c.R().Get("/x"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(every)
	}
	return p.Stats().Retries - before
}

func TestBudgetRatioIsExact(t *testing.T) {
	for _, tt := range []struct {
		ratio    float64
		requests int
		every    time.Duration
		want     uint64
	}{
		{0.1, 10_000, 0, 1000},
		{0.1, 10_000, 900 * time.Microsecond, 1000}, // 9 s
		{0.2, 10_000, 0, 2000},
		{0.5, 1000, 0, 500},
		{0.01, 1000, 0, 10},
		{1, 1000, 0, 1000},
		{0, 1000, 0, 0},
		{math.Copysign(0, -1), 1000, 0, 0},
		{math.SmallestNonzeroFloat64, 1000, 0, 0},
		{0.1, 9, 0, 0},
	} {
		t.Run(fmt.Sprint(tt.ratio, " of ", tt.requests, " in ", time.Duration(tt.requests)*tt.every), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := failing(t, withBudget(restyretry.NewBudget(tt.ratio, 0)))
				got := send(t, c, p, tt.requests, tt.every)
				if got > tt.want || got+1 < tt.want {
					t.Errorf("got %d retries, want %d", got, tt.want)
				}
			})
		})
	}
}

// The same with all requests at a time, and a wait before each retry.
func TestBudgetRatioIsExactAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := failing(t, withBudget(restyretry.NewBudget(0.1, 0)), constant(time.Second))
		var all sync.WaitGroup
		for range 10_000 {
			all.Go(func() {
				if _, err := c.R().Get("/x"); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if got := p.Stats().Retries; got < 999 || got > 1000 {
			t.Errorf("got %d retries, want 1000", got)
		}
	})
}

// An outage of a minute at 100 requests a second.
func TestBudgetBoundsALongOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := failing(t, withBudget(restyretry.NewBudget(0.1, 0)))
		for second := range 60 {
			got := send(t, c, p, 100, 10*time.Millisecond)
			if got > 100 {
				t.Errorf("second %d: got %d retries of 100 requests", second, got)
			}
		}
		if got := p.Stats().Retries; got < 590 || got > 600 {
			t.Errorf("got %d retries of 6000 requests, want 600", got)
		}
	})
}

// Requests that are older than 10 s do not count, nor do their retries.
func TestBudgetWindowSlides(t *testing.T) {
	for _, tt := range []struct {
		later time.Duration
		want  uint64
	}{
		{0, 100},
		{5 * time.Second, 100},
		{9 * time.Second, 100},
		{10 * time.Second, 10}, // of its own 100
		{16 * time.Second, 10},
		{26 * time.Second, 10},
		{1000 * time.Hour, 10},
	} {
		t.Run(fmt.Sprint(tt.later), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				budget := restyretry.NewBudget(0.1, 0)
				well := mocked(httpmock.NewStringResponder(200, ""))
				install(t, well, withBudget(budget))
				c, p := failing(t, withBudget(budget))
				for range 900 {
					_, _ = well.R().Get("/x")
				}
				time.Sleep(tt.later)
				if got := send(t, c, p, 100, 0); got != tt.want {
					t.Errorf("got %d retries, want %d", got, tt.want)
				}
				time.Sleep(10 * time.Second)
				if got := send(t, c, p, 100, 0); got != 10 {
					t.Errorf("10 s after that: got %d retries, want 10", got)
				}
			})
		})
	}
}

func TestBudgetPerSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := failing(t, withBudget(restyretry.NewBudget(0, 3)))
		for second := range 30 {
			if got := send(t, c, p, 20, 0); got != 3 {
				t.Errorf("second %d: got %d retries, want 3", second, got)
			}
			time.Sleep(time.Second)
		}
	})
}

// What perSecond does not use is not kept for later.
func TestBudgetPerSecondIsNotSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := failing(t, withBudget(restyretry.NewBudget(0, 3)))
		time.Sleep(100 * time.Second)
		if got := send(t, c, p, 20, 0); got != 3 {
			t.Errorf("got %d retries, want 3", got)
		}
	})
}

func TestBudgetRatioAndPerSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := failing(t, withBudget(restyretry.NewBudget(0.1, 5)))
		if got := send(t, c, p, 1000, 0); got != 105 {
			t.Errorf("got %d retries, want 100 and 5", got)
		}
		time.Sleep(time.Second)
		if got := send(t, c, p, 1000, 0); got != 105 {
			t.Errorf("a second later: got %d retries, want 100 and 5", got)
		}
	})
}

func TestBudgetIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := restyretry.NewBudget(0.1, 0)
		one, p1 := failing(t, withBudget(budget))
		two, p2 := failing(t, withBudget(budget))
		if a, b := send(t, one, p1, 1000, 0), send(t, two, p2, 1000, 0); a != 100 || b != 100 {
			t.Errorf("got %d and %d retries, want 100 and 100", a, b)
		}
		well := mocked(httpmock.NewStringResponder(200, ""))
		install(t, well, withBudget(budget))
		for range 1000 {
			_, _ = well.R().Get("/x")
		}
		if got := send(t, two, p2, 100, 0); got != 110 {
			t.Errorf("after the requests of another client: got %d retries, want 110", got)
		}
	})
}

// Through With, and after Update.
func TestBudgetOfARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := failing(t, constant(0))
		ctx := restyretry.With(t.Context(), withBudget(restyretry.NewBudget(0.1, 0)))
		for range 100 {
			_, _ = c.R().SetContext(ctx).Get("/x")
		}
		if got := p.Stats().Retries; got != 10 {
			t.Errorf("With: got %d retries, want 10", got)
		}
		if err := p.Update(withBudget(restyretry.NewBudget(0, 7))); err != nil {
			t.Fatal(err)
		}
		if got := send(t, c, p, 100, 0); got != 7 {
			t.Errorf("Update: got %d retries, want 7", got)
		}
	})
}

func TestBudgetRefusedReturnsTheLastResponseAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		retried := 0
		c, p := failing(t, withBudget(restyretry.NewBudget(0, 1)), func(o *restyretry.Options) {
			o.Wait = restyretry.List(0, time.Hour)
			o.Hooks = []restyretry.Hooks{{OnRetry: func(restyretry.Attempt) { retried++ }}}
		})
		start := time.Now()
		resp, err := c.R().Get("/x")
		if err != nil || resp.StatusCode() != 503 || resp.String() != "down" {
			t.Fatalf("got %v %v", resp, err)
		}
		past := restyretry.History(resp.Request)
		if got := summary(past); got != "1 status, 2 budget" || past[1].Wait != 0 {
			t.Errorf("got %s, wait %v; want 1 status, 2 budget and none", got, past[1].Wait)
		}
		if retried != 1 || time.Since(start) > 1 || p.Stats().GivenUp[restyretry.ReasonBudget] != 1 {
			t.Errorf("got %d retries in %v, %+v", retried, time.Since(start), p.Stats())
		}
	})
}

// An error comes back as it is, too.
func TestBudgetRefusedReturnsTheError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := mocked(func(*http.Request) (*http.Response, error) { return nil, http.ErrServerClosed })
		install(t, c, withBudget(restyretry.NewBudget(0, 0)), func(o *restyretry.Options) {
			o.Errors = func(error) bool { return true }
		})
		r := c.R()
		_, err := r.Get("/x")
		if err == nil || !strings.Contains(err.Error(), http.ErrServerClosed.Error()) || summary(restyretry.History(r)) != "1 budget" {
			t.Errorf("got %v, %s", err, summary(restyretry.History(r)))
		}
	})
}

// A request counts once, however often it is sent, and whatever its end.
func TestBudgetCountsARequestOnce(t *testing.T) {
	for name, respond := range map[string]httpmock.Responder{
		"200":     httpmock.NewStringResponder(200, ""),
		"404":     httpmock.NewStringResponder(404, ""),
		"503":     httpmock.NewStringResponder(503, ""),
		"refused": httpmock.NewErrorResponder(http.ErrServerClosed),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				budget := restyretry.NewBudget(0.5, 0)
				first := mocked(respond)
				install(t, first, withBudget(budget), func(o *restyretry.Options) {
					o.Attempts = 1
				})
				for range 20 {
					_, _ = first.R().Get("/x")
				}
				// 10 retries of those, and 1 of each second of these.
				c, p := failing(t, withBudget(budget), func(o *restyretry.Options) { o.Attempts = 100 })
				if got := send(t, c, p, 40, 0); got != 30 {
					t.Errorf("got %d retries of 60 requests, want 30", got)
				}
			})
		})
	}
}

// Attempts that take longer than the window count when they end.
func TestBudgetCountsRequestsThatTakeLongerThanItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := mocked(func(*http.Request) (*http.Response, error) {
			time.Sleep(12 * time.Second)
			return httpmock.NewStringResponse(503, ""), nil
		})
		p := install(t, c, withBudget(restyretry.NewBudget(0.5, 0)), func(o *restyretry.Options) { o.Attempts = 2 })
		var all sync.WaitGroup
		for range 600 {
			all.Go(func() { _, _ = c.R().Get("/x") })
			time.Sleep(100 * time.Millisecond)
		}
		all.Wait()
		if got := p.Stats().Retries; got < 299 || got > 300 {
			t.Errorf("got %d retries of 600 requests, want 300", got)
		}
	})
}

// So does a request that its caller's deadline has ended.
func TestBudgetCountsRequestsWhoseContextEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := mocked(func(r *http.Request) (*http.Response, error) {
			if _, ok := r.Context().Deadline(); ok {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return httpmock.NewStringResponse(503, ""), nil
		})
		p := install(t, c, withBudget(restyretry.NewBudget(0.5, 0)), func(o *restyretry.Options) { o.Attempts = 2 })
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
			_, _ = c.R().SetContext(ctx).Get("/x")
			cancel()
		}
		if got := send(t, c, p, 20, 0); got != 20 {
			t.Errorf("got %d retries of 40 requests, want 20", got)
		}
	})
}

// Only a real retry is taken from the budget.
func TestBudgetIsNotSpentOnWhatIsNotRetried(t *testing.T) {
	for name, opt := range map[string]func(*restyretry.Options){
		"attempts":    restyretry.Off,
		"unless":      func(o *restyretry.Options) { o.Unless = func(restyretry.Attempt) bool { return true } },
		"method":      func(o *restyretry.Options) { o.Methods = nil },
		"elapsed":     func(o *restyretry.Options) { o.MaxElapsed, o.Wait = 1, restyretry.Constant(2) },
		"statuses":    func(o *restyretry.Options) { o.ServerErrors = false },
		"server-wait": func(o *restyretry.Options) { o.MaxServerWait = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				budget := restyretry.NewBudget(0, 5)
				c := mocked(httpmock.NewStringResponder(503, "").HeaderSet(http.Header{"Retry-After": {"9"}}))
				p := install(t, c, func(o *restyretry.Options) { o.MaxServerWait = 0 }, withBudget(budget), opt)
				if got := send(t, c, p, 20, 0); got != 0 {
					t.Fatalf("got %d retries, want 0", got)
				}
				c, p = failing(t, withBudget(budget))
				if got := send(t, c, p, 20, 0); got != 5 {
					t.Errorf("got %d retries, want 5", got)
				}
			})
		})
	}
}

// Without a monotonic reading, as in a simulation or after time.Time.Round, b
// sees the clock being set.
func TestBudgetGoesOnWhenTheClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{
		time.Second, 5 * time.Second, 10 * time.Second, 11 * time.Second, 16 * time.Second,
		time.Hour, 24 * 365 * time.Hour, math.MaxInt64,
	} {
		for _, by := range []time.Duration{by, -by} {
			t.Run(by.String(), func(t *testing.T) {
				b := restyretry.NewBudget(0.1, 0)
				now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
				run := func(seconds int) (retries int) {
					for range seconds * 100 {
						b.Request(now)
						if b.Retry(now) {
							retries++
						}
						now = now.Add(10 * time.Millisecond)
					}
					return retries
				}
				if got := run(20); got < 199 || got > 200 {
					t.Fatalf("before: got %d retries of 2000 requests, want 200", got)
				}
				now = now.Add(by)
				if got := run(20); got < 190 || got > 210 {
					t.Errorf("after: got %d retries of 2000 requests, want about 200", got)
				}
			})
		}
	}
}

func TestBudgetPerSecondGoesOnWhenTheClockIsSetBack(t *testing.T) {
	b := restyretry.NewBudget(0, 3)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b.Retry(now.Add(time.Hour))
	for range 3 { // the second in which the clock is set has 2 left
		b.Retry(now)
	}
	for second := 1; second < 10; second++ {
		for i := range 4 {
			if got, want := b.Retry(now.Add(time.Duration(second)*time.Second)), i < 3; got != want {
				t.Errorf("second %d, retry %d: got %t, want %t", second, i+1, got, want)
			}
		}
	}
}

// A client outside of this package that gives times without a monotonic reading
// does not disturb one that gives them with it.
func TestBudgetMixesTimesWithAndWithoutAMonotonicReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := restyretry.NewBudget(0.1, 0)
		retries := 0
		for i := range 2000 {
			now := time.Now()
			if i%2 == 0 {
				now = now.Round(0)
			}
			b.Request(now)
			if b.Retry(now) {
				retries++
			}
			time.Sleep(10 * time.Millisecond)
		}
		if retries < 199 || retries > 200 {
			t.Errorf("got %d retries of 2000 requests, want 200", retries)
		}
	})
}

// What is a little late counts in the newest second, not as a clock set back.
func TestBudgetCountsWhatIsLate(t *testing.T) {
	b := restyretry.NewBudget(0.5, 0)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b.Request(now.Add(10 * time.Second))
	b.Request(now)
	if !b.Retry(now.Add(19 * time.Second)) {
		t.Error("got no retry, want one of 2 requests")
	}
	if b.Request(now.Add(20 * time.Second)); b.Retry(now.Add(20 * time.Second)) {
		t.Error("10 s later: got a retry, want none of 1 request")
	}
}

func TestBudgetTellsItsLimits(t *testing.T) {
	if ratio, perSecond := restyretry.NewBudget(0.25, 7).Limits(); ratio != 0.25 || perSecond != 7 {
		t.Errorf("got %v and %d, want 0.25 and 7", ratio, perSecond)
	}
}

func TestBudgetReportsWhatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := restyretry.NewBudget(0, 3)
		c, _ := failing(t, withBudget(budget), func(o *restyretry.Options) { o.Attempts = 2 })
		for i, want := range []struct{ sent, retries, refused int }{{5, 3, 2}, {0, 0, 0}, {2, 2, 0}, {9, 3, 6}} {
			for range want.sent {
				_, _ = c.R().Get("/x")
			}
			if requests, retries, refused := budget.Report(); requests != want.sent || retries != want.retries || refused != want.refused {
				t.Errorf("report %d: got %d requests, %d retries, %d refused, want %+v", i+1, requests, retries, refused, want)
			}
			time.Sleep(15 * time.Second) // reports go on for longer than the window
		}
	})
}

func TestBudgetGrantTakesThePlaceOfItsOwnCounts(t *testing.T) {
	type step struct {
		grant int           // -1: none
		lasts time.Duration // of the grant
		sleep time.Duration // after it
		want  int           // retries of 20
	}
	for name, steps := range map[string][]step{
		"before the first":     {{-1, 0, 0, 5}},
		"more than its own":    {{12, time.Second, 0, 12}},
		"fewer than its own":   {{2, time.Second, 0, 2}},
		"none":                 {{0, time.Second, 0, 0}},
		"used up until it end": {{7, time.Minute, 59 * time.Second, 7}, {-1, 0, 999 * time.Millisecond, 0}},
		"after it":             {{12, 2 * time.Second, 0, 12}, {-1, 0, 2 * time.Second, 5}},
		"unused after it":      {{12, 2 * time.Second, 2 * time.Second, 5}},
		"replaced":             {{30, time.Minute, 0, 20}, {3, time.Second, 0, 3}, {-1, 0, time.Second, 5}},
		"given back":           {{0, time.Minute, 0, 0}, {9, 0, 0, 5}},
		"of the past":          {{9, -time.Second, 0, 5}},
		"below none":           {{-5, time.Second, 0, 0}},
		"for ever":             {{9, math.MaxInt64, 1000 * time.Hour, 9}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := restyretry.NewBudget(0, 5)
				for i, step := range steps {
					if step.grant != -1 {
						b.Grant(step.grant, step.lasts)
					}
					time.Sleep(step.sleep)
					got := 0
					for range 20 {
						if b.Retry(time.Now()) {
							got++
						}
					}
					if got != step.want {
						t.Errorf("step %d: got %d retries, want %d", i+1, got, step.want)
					}
				}
			})
		})
	}
}

// What was granted is part of what the ratio allows in the 10 seconds after it.
func TestBudgetCountsWhatWasGranted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := restyretry.NewBudget(0.1, 0)
		b.Grant(6, time.Second)
		for range 6 {
			b.Retry(time.Now())
		}
		time.Sleep(time.Second)
		retries := 0
		for range 100 {
			if b.Request(time.Now()); b.Retry(time.Now()) {
				retries++
			}
		}
		if retries != 4 {
			t.Errorf("got %d retries of 100 requests, want the 10 less the 6 granted", retries)
		}
	})
}

func TestBudgetIsChecked(t *testing.T) {
	for _, tt := range []struct {
		budget *restyretry.Budget
		says   string
	}{
		{restyretry.NewBudget(math.NaN(), 0), "ratio is NaN"},
		{restyretry.NewBudget(math.Inf(1), 0), "ratio is +Inf"},
		{restyretry.NewBudget(math.Inf(-1), 0), "ratio is -Inf"},
		{restyretry.NewBudget(-0.1, 0), "ratio is -0.1"},
		{restyretry.NewBudget(-math.SmallestNonzeroFloat64, 0), "ratio is -5e-324"},
		{restyretry.NewBudget(1.1, 0), "ratio is 1.1"},
		{restyretry.NewBudget(math.Nextafter(1, 2), 0), "ratio is 1.0000000000000002"},
		{restyretry.NewBudget(10, 0), "ratio is 10"},
		{restyretry.NewBudget(0.1, -1), "perSecond is -1"},
		{restyretry.NewBudget(0.1, math.MinInt), "perSecond is -9223372036854775808"},
	} {
		t.Run(tt.says, func(t *testing.T) {
			set := func(o *restyretry.Options) { o.Budget = tt.budget }
			check := func(from string, err error) {
				if err == nil || !strings.Contains(err.Error(), "Budget: "+tt.says) {
					t.Errorf("%s: got %v, want an error that names Budget and %q", from, err, tt.says)
				}
			}
			_, err := restyretry.Install(resty.New(), set)
			check("Install", err)
			respond, calls := answers(200)
			c := mocked(respond)
			p := install(t, c)
			check("Update", p.Update(set))
			_, err = c.R().SetContext(restyretry.With(t.Context(), set)).Get("/x")
			check("With", err)
			if *calls != 0 {
				t.Errorf("the request was sent")
			}
		})
	}
}

func TestBudgetBoundsAreValues(t *testing.T) {
	for _, b := range []*restyretry.Budget{
		nil, new(restyretry.Budget), restyretry.NewBudget(0, 0), restyretry.NewBudget(1, 0), restyretry.NewBudget(0.1, math.MaxInt),
	} {
		if _, err := restyretry.Install(resty.New(), func(o *restyretry.Options) { o.Budget = b }); err != nil {
			t.Errorf("got %v, want none", err)
		}
	}
}

// In real time, with the race detector: two clients, many goroutines.
func TestBudgetIsNeverExceededByMany(t *testing.T) {
	const goroutines, each = 64, 100
	budget := restyretry.NewBudget(0.1, 0)
	var retries atomic.Int64
	count := func(o *restyretry.Options) {
		o.Hooks = []restyretry.Hooks{{OnRetry: func(restyretry.Attempt) { retries.Add(1) }}}
	}
	one, _ := failing(t, withBudget(budget), count)
	two, _ := failing(t, withBudget(budget), count)
	var all sync.WaitGroup
	start := time.Now()
	for i := range goroutines {
		all.Go(func() {
			for range each {
				_, _ = []*resty.Client{one, two}[i%2].R().Get("/x")
			}
		})
	}
	all.Wait()
	if time.Since(start) > 9*time.Second {
		t.Skip("too slow for one window")
	}
	if got := retries.Load(); got > goroutines*each/10 || got < goroutines*each/10-1 {
		t.Errorf("got %d retries of %d requests, want %d", got, goroutines*each, goroutines*each/10)
	}
}

func TestBudgetCostsASuccessNothing(t *testing.T) {
	allocs := func(opts ...func(*restyretry.Options)) float64 {
		transport := roundTrip(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}, nil
		})
		c := resty.NewWithClient(&http.Client{Transport: transport})
		install(t, c, opts...)
		return testing.AllocsPerRun(500, func() { _, _ = c.R().Get("http://api.test/x") })
	}
	without, with := allocs(), allocs(withBudget(restyretry.NewBudget(0.1, 10)))
	if with > without {
		t.Errorf("got %v allocations with a budget, want the %v without", with, without)
	}
}
