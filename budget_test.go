package restyretry

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A stretch is a time in which requests come to a server.
type stretch struct {
	well  int           // requests that succeed
	down  int           // then requests that fail, each retried twice if it may
	every time.Duration // after each of those
	want  int           // retries
	pause time.Duration // after all
}

var newYear = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestABudgetAllowsARatioOfTheRequestsAndSoManyPerSecond(t *testing.T) {
	const s = time.Second
	window := func(later time.Duration, want int) []stretch {
		return []stretch{{well: 900, pause: later}, {down: 100, want: want, pause: 10 * s}, {down: 100, want: 10}}
	}
	clock := func(set time.Duration, want int) []stretch {
		return []stretch{{down: 2000, every: s / 100, want: 200, pause: set}, {down: 2000, every: s / 100, want: want}}
	}
	for _, tt := range []struct {
		name      string
		ratio     float64
		perSecond int
		stretches []stretch
	}{
		{"a tenth", 0.1, 0, []stretch{{down: 10_000, want: 1000}}},
		{"a tenth, over 9 s", 0.1, 0, []stretch{{down: 10_000, every: 900 * time.Microsecond, want: 1000}}},
		{"a fifth", 0.2, 0, []stretch{{down: 10_000, want: 2000}}},
		{"a hundredth", 0.01, 0, []stretch{{down: 1000, want: 10}}},
		{"half", 0.5, 0, []stretch{{down: 1000, want: 500}}},
		{"all", 1, 0, []stretch{{down: 1000, want: 1000}}},
		{"none", 0, 0, []stretch{{down: 1000}}},
		{"none below 0", math.Copysign(0, -1), 0, []stretch{{down: 1000}}},
		{"next to none", math.SmallestNonzeroFloat64, 0, []stretch{{down: 1000}}},
		{"too few requests", 0.1, 0, []stretch{{down: 9}}},
		{"a minute's outage", 0.1, 0, slices.Repeat([]stretch{{down: 100, every: s / 100, want: 10}}, 60)},

		{"requests at once", 0.1, 0, window(0, 100)},
		{"requests of 5 s ago", 0.1, 0, window(5*s, 100)},
		{"requests of 9 s ago", 0.1, 0, window(9*s, 100)},
		{"requests of 10 s ago do not count", 0.1, 0, window(10*s, 10)},
		{"requests of 26 s ago do not count", 0.1, 0, window(26*s, 10)},
		{"requests of long ago do not count", 0.1, 0, window(1000*time.Hour, 10)},

		{"3 per second", 0, 3, slices.Repeat([]stretch{{down: 20, want: 3, pause: s}}, 30)},
		{"what is not used is not saved", 0, 3, []stretch{{down: 1, want: 2, pause: 100 * s}, {down: 20, want: 3}}},
		{"both", 0.1, 5, slices.Repeat([]stretch{{down: 1000, want: 105, pause: s}}, 2)},

		{"what is late counts in the newest second", 0.34, 0, []stretch{{well: 1, pause: -10 * s}, {well: 1, pause: 19 * s}, {down: 1, want: 1}}},
		{"and no longer", 0.34, 0, []stretch{{well: 1, pause: -10 * s}, {well: 1, pause: 20 * s}, {down: 2}}},
		{"the clock is set on", 0.1, 0, clock(10*s, 200)},
		{"the clock is set on for ever", 0.1, 0, clock(math.MaxInt64, 199)},
		{"the clock is set back", 0.1, 0, clock(-s, 200)},
		{"the clock is set back by the window", 0.1, 0, clock(-10*s, 200)},
		{"the clock is set back by more", 0.1, 0, clock(-11*s, 200)},
		{"the clock is set back for ever", 0.1, 0, clock(-math.MaxInt64, 199)},
		{"the clock is set back, 3 per second", 0, 3, append(
			[]stretch{{down: 1, want: 2, pause: -time.Hour}, {down: 2, want: 1, pause: s}}, slices.Repeat([]stretch{{down: 4, want: 3, pause: s}}, 9)...,
		)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, now := NewBudget(tt.ratio, tt.perSecond), newYear
			for i, x := range tt.stretches {
				for range x.well {
					b.Request(now)
				}
				got := 0
				for range x.down {
					b.Request(now)
					for n := 0; n < 2 && b.Retry(now); n++ {
						got++
					}
					now = now.Add(x.every)
				}
				if got != x.want {
					t.Errorf("stretch %d: got %d retries, want %d", i+1, got, x.want)
				}
				now = now.Add(x.pause)
			}
		})
	}
}

// No test can set the clock of its machine, but between two times with a monotonic
// reading it does not count.
func TestABudgetKeepsTheMonotonicReading(t *testing.T) {
	start := time.Now()
	b := NewBudget(0.1, 0)
	for i := range 30 {
		at := start.Add(time.Duration(i) * 700 * time.Millisecond)
		b.Request(at)
		if b.newest == b.newest.Round(0) {
			t.Fatalf("after %v: the newest second has no monotonic reading", at.Sub(start))
		}
		first := start.Add(-time.Duration(start.Nanosecond()))
		if got, want := at.Sub(b.newest), at.Sub(first)%time.Second; got != want {
			t.Fatalf("after %v: the newest second began %v ago, want %v", at.Sub(start), got, want)
		}
	}
}

func TestTimesWithoutAMonotonicReadingDoNotDisturbOthers(t *testing.T) {
	b, now, retries := NewBudget(0.1, 0), time.Now(), 0
	for i := range 2000 {
		at := now.Add(time.Duration(i) * 10 * time.Millisecond)
		if i%2 == 0 {
			at = at.Round(0)
		}
		if b.Request(at); b.Retry(at) {
			retries++
		}
	}
	if retries < 199 || retries > 200 {
		t.Errorf("got %d retries of 2000 requests, want 200", retries)
	}
}

func TestABudgetIsNeverExceededByManyAtOnce(t *testing.T) {
	const goroutines, each = 64, 100
	b, now := NewBudget(0.1, 0), time.Now()
	var retries atomic.Int64
	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() {
			for range each {
				if b.Request(now); b.Retry(now) {
					retries.Add(1)
				}
			}
		})
	}
	all.Wait()
	if got := retries.Load(); got != goroutines*each/10 {
		t.Errorf("got %d retries of %d requests, want a tenth", got, goroutines*each)
	}
}

func TestAGrantTakesThePlaceOfABudgetsOwnCounts(t *testing.T) {
	type step struct {
		grant int           // -1: none
		lasts time.Duration // of the grant
		sleep time.Duration // after it
		want  int           // retries of 20
	}
	const s = time.Second
	for name, steps := range map[string][]step{
		"before the first":      {{-1, 0, 0, 5}},
		"more than its own":     {{12, s, 0, 12}},
		"fewer than its own":    {{2, s, 0, 2}},
		"none":                  {{0, s, 0, 0}},
		"used up until it ends": {{7, time.Minute, 59 * s, 7}, {-1, 0, s - 1, 0}, {-1, 0, 1, 5}},
		"after it":              {{12, 2 * s, 0, 12}, {-1, 0, 2 * s, 5}},
		"unused after it":       {{12, 2 * s, 2 * s, 5}},
		"replaced":              {{30, time.Minute, 0, 20}, {3, s, 0, 3}, {-1, 0, s, 5}},
		"given back":            {{0, time.Minute, 0, 0}, {9, 0, 0, 5}},
		"of the past":           {{9, -s, 0, 5}},
		"below none":            {{-5, s, 0, 0}},
		"for ever":              {{9, math.MaxInt64, 1000 * time.Hour, 9}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := NewBudget(0, 5)
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

func TestWhatWasGrantedCountsInTheRatioAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, retries := NewBudget(0.1, 0), 0
		b.Grant(6, time.Second)
		for range 6 {
			b.Retry(time.Now())
		}
		time.Sleep(time.Second)
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

func TestAReportCountsWhatIsNew(t *testing.T) {
	b, now := NewBudget(0, 3), newYear
	for i, want := range []struct{ requests, retries, refused int }{{5, 3, 2}, {0, 0, 0}, {2, 2, 0}, {9, 3, 6}} {
		for range want.requests {
			b.Request(now)
			b.Retry(now)
		}
		if requests, retries, refused := b.Report(); requests != want.requests || retries != want.retries || refused != want.refused {
			t.Errorf("report %d: got %d, %d, %d, want %v", i+1, requests, retries, refused, want)
		}
		now = now.Add(15 * time.Second) // longer than the window
	}
}

func TestTheLimitsOfABudgetAreCheckedAndTold(t *testing.T) {
	for _, tt := range []struct {
		ratio     float64
		perSecond int
		want      string
	}{
		{math.NaN(), 0, "ratio is NaN, not from 0 to 1"},
		{math.Inf(1), 0, "ratio is +Inf, not from 0 to 1"},
		{math.Inf(-1), 0, "ratio is -Inf, not from 0 to 1"},
		{-math.SmallestNonzeroFloat64, 0, "ratio is -5e-324, not from 0 to 1"},
		{math.Nextafter(1, 2), 0, "ratio is 1.0000000000000002, not from 0 to 1"},
		{0.1, -1, "perSecond is -1, less than 0"},
		{0.1, math.MinInt, "perSecond is -9223372036854775808, less than 0"},
		{0, 0, "<nil>"},
		{1, 0, "<nil>"},
		{0.25, math.MaxInt, "<nil>"},
	} {
		b := NewBudget(tt.ratio, tt.perSecond)
		if got := fmt.Sprint(b.validate()); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
		if ratio, perSecond := b.Limits(); ratio != tt.ratio && !math.IsNaN(tt.ratio) || perSecond != tt.perSecond {
			t.Errorf("got the limits %v and %d, want %v and %d", ratio, perSecond, tt.ratio, tt.perSecond)
		}
	}
}

func TestNoBudgetIsNoLimit(t *testing.T) {
	var b *Budget
	if b.Request(newYear); !b.Retry(newYear) || b.validate() != nil {
		t.Error("got a limit, want none")
	}
	b.Grant(1, time.Minute)
	if ratio, perSecond := b.Limits(); ratio != 0 || perSecond != 0 {
		t.Errorf("got the limits %v and %d, want none", ratio, perSecond)
	}
	if requests, retries, refused := b.Report(); requests != 0 || retries != 0 || refused != 0 {
		t.Errorf("got a report of %d, %d and %d, want nothing", requests, retries, refused)
	}
}

func BenchmarkBudget(b *testing.B) {
	budget := NewBudget(0.1, 0)
	for name, f := range map[string]func(time.Time){"Request": budget.Request, "Retry": func(now time.Time) { budget.Retry(now) }} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for now := time.Now(); pb.Next(); {
					f(now)
				}
			})
		})
	}
}
