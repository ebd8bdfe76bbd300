package restyretry_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

// nth is the attempt that the nth wait of a series comes after.
func nth(n int) restyretry.Attempt { return restyretry.Attempt{Number: n} }

// drawingFrom returns an attempt whose random numbers come from a function. Only
// the plugin can make one.
func drawingFrom(t testing.TB, random func() float64) (got restyretry.Attempt) {
	t.Helper()
	c := harness.New(t, harness.Statuses(503), harness.Attempts(2), func(o *restyretry.Options) {
		o.Rand = random
		o.Wait = func(a restyretry.Attempt) time.Duration { got = a; return 0 }
	})
	if c.Get(t, "/"); got.Number != 1 {
		t.Fatalf("got attempt %d", got.Number)
	}
	return got
}

func seconds(list ...float64) []time.Duration {
	var durations []time.Duration
	for _, s := range list {
		durations = append(durations, time.Duration(math.Round(s*1e9)))
	}
	return durations
}

// always is Constant without its care for negative values.
func always(d time.Duration) restyretry.Strategy {
	return func(restyretry.Attempt) time.Duration { return d }
}

// growing are the strategies whose waits never become shorter.
func growing(base, limit time.Duration) map[string]restyretry.Strategy {
	return map[string]restyretry.Strategy{
		"Linear":      restyretry.Linear(base, limit),
		"Exponential": restyretry.Exponential(base, limit),
		"Fibonacci":   restyretry.Fibonacci(base, limit),
	}
}

func TestAStrategyIsASeries(t *testing.T) {
	const s, most = time.Second, time.Duration(math.MaxInt64)
	for _, tt := range []struct {
		name     string
		strategy restyretry.Strategy
		want     []time.Duration
	}{
		{"Constant", restyretry.Constant(2 * s), seconds(2, 2, 2, 2)},

		{"Linear", restyretry.Linear(s, 3*s), seconds(1, 2, 3, 3)},
		{"Linear that misses its limit", restyretry.Linear(2*s, 5*s), seconds(2, 4, 5, 5)},
		{"Linear with a limit below its step", restyretry.Linear(2*s, s), seconds(1, 1)},
		{"Linear of less than nothing", restyretry.Linear(-s, s), seconds(0, 0)},
		{"Linear without a limit", restyretry.Linear(s, 0), seconds(1, 2, 3, 4)},
		{"Linear with a negative limit", restyretry.Linear(s, -s), seconds(1, 2)},

		{"Exponential", restyretry.Exponential(s/10, 30*s), seconds(0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30)},
		{"Exponential with a limit below its base", restyretry.Exponential(2*s, s), seconds(1, 1)},
		{"Exponential of nothing", restyretry.Exponential(0, s), seconds(0, 0)},
		{"Exponential of less than nothing", restyretry.Exponential(-s, s), seconds(0, 0)},
		{"Exponential without a limit", restyretry.Exponential(s, 0), seconds(1, 2, 4, 8, 16, 32, 64)},
		{"Exponential with a negative limit", restyretry.Exponential(s, -s), seconds(1, 2)},

		{"Fibonacci", restyretry.Fibonacci(2*s, 60*s), seconds(2, 4, 6, 10, 16, 26, 42, 60, 60)},
		{"Fibonacci with a limit below its unit", restyretry.Fibonacci(2*s, s), seconds(1, 1)},
		{"Fibonacci of less than nothing", restyretry.Fibonacci(-s, s), seconds(0, 0)},
		{"Fibonacci without a limit", restyretry.Fibonacci(s, 0), seconds(1, 2, 3, 5, 8)},
		{"Fibonacci with a negative limit", restyretry.Fibonacci(s, -s), seconds(1, 2)},

		{"List", restyretry.List(3*s, s, 2*s), seconds(3, 1, 2, 2, 2)},
		{"List of nothing", restyretry.List(), seconds(0, 0)},
		{"List with less than nothing", restyretry.List(s, -s, s), seconds(1, 0, 1)},

		{"Decorrelated of nothing", restyretry.Decorrelated(0, s), seconds(0, 0)},
		{"Decorrelated of less than nothing", restyretry.Decorrelated(-s, s), seconds(0, 0)},
		{"Decorrelated with a limit below its base", restyretry.Decorrelated(2*s, s), seconds(1, 1)},

		{"AddJitter of nothing", restyretry.AddJitter(always(s), 0, 3*s), seconds(1, 1)},
		{"AddJitter of less than nothing", restyretry.AddJitter(always(-s), -s, 3*s), seconds(0, 0)},
		{"AddJitter with a limit below the wait", restyretry.AddJitter(always(5*s), s, 3*s), seconds(3, 3)},
		{"AddJitter without a limit", restyretry.AddJitter(always(s), 0, 0), seconds(1, 1)},
		{"AddJitter with a negative limit", restyretry.AddJitter(always(5*s), 0, -s), seconds(5, 5)},
		{"AddJitter with the least limit", restyretry.AddJitter(always(most), most, math.MinInt64), []time.Duration{most}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var group sync.WaitGroup
			for range 2 { // one value serves many requests at once
				group.Go(func() {
					var got []time.Duration
					for n := range tt.want {
						got = append(got, tt.strategy(nth(n+1)))
					}
					if !slices.Equal(got, tt.want) {
						t.Errorf("got %v, want %v", got, tt.want)
					}
				})
			}
			group.Wait()
		})
	}
	list := seconds(1, 3, 2)
	strategy := restyretry.List(list...)
	list[0] = time.Hour
	harness.Equal(t, "a list that the caller changes", strategy(nth(1)), time.Second)
}

// The plugin stops at 100 attempts, but a strategy is a function of its own; and
// an attempt that is made by hand may have no number.
func TestAStrategyAnswersForAnyNumber(t *testing.T) {
	const most = time.Duration(math.MaxInt64)
	for _, base := range []time.Duration{1, time.Second, 1000 * time.Hour, most / 2, most} {
		for _, limit := range []time.Duration{1, time.Minute, most - 1, most} {
			for name, strategy := range growing(base, limit) {
				before := time.Duration(0)
				for _, n := range []int{-3, 0, 1, 2, 3, 10, 62, 63, 64, 65, 90, 91, 92, 93, 100, 101, 2000, math.MaxInt} {
					got := strategy(nth(n))
					if got < before || got > limit {
						t.Errorf("%s(%v, %v): wait %d is %v after %v", name, base, limit, n, got, before)
					}
					before = got
				}
				harness.Equal(t, "the last "+name, before, limit)
			}
		}
	}
	for _, n := range []int{-3, 0, math.MaxInt} {
		for name, strategy := range map[string]restyretry.Strategy{
			"List":         restyretry.List(time.Second, time.Second),
			"Random":       restyretry.Random(time.Second, time.Second),
			"Decorrelated": restyretry.Decorrelated(2*time.Second, time.Second),
		} {
			harness.Equal(t, name, strategy(nth(n)), time.Second)
		}
	}
}

func TestAStrategyDrawsFromRand(t *testing.T) {
	const s, ns, almostOne = time.Second, time.Nanosecond, 1 - 0x1p-53
	for _, tt := range []struct {
		name              string
		strategy          restyretry.Strategy
		shortest, longest []time.Duration // with the least and the largest random number
		limited           bool            // the longest is included
	}{
		{"Random", restyretry.Random(s, 3*s), seconds(1, 1), seconds(3, 3), false},
		{"FullJitter", restyretry.FullJitter(restyretry.Linear(2*s, 9*s)), seconds(0, 0), seconds(2, 4), false},
		{"EqualJitter", restyretry.EqualJitter(restyretry.Linear(2*s, 9*s)), seconds(1, 2), seconds(2, 4), false},
		{"AddJitter", restyretry.AddJitter(restyretry.Linear(2*s, 9*s), s, 9*s), seconds(2, 4), seconds(3, 5), false},
		{"AddJitter at its limit", restyretry.AddJitter(restyretry.Linear(2*s, 9*s), 3*s, 4*s), seconds(2, 4), seconds(4, 4), true},
		{"Decorrelated", restyretry.Decorrelated(s, 30*s), seconds(1, 1), seconds(3, 9), false},
		{"Decorrelated at its limit", restyretry.Decorrelated(s, 2*s), seconds(1, 1), seconds(2, 2), false},
		{"Decorrelated without a limit", restyretry.Decorrelated(s, 0), seconds(1, 1), seconds(3, 9), false},
		{"jitter of jitter", restyretry.EqualJitter(restyretry.FullJitter(restyretry.Constant(s))), seconds(0, 0), seconds(1, 1), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			least, largest := drawingFrom(t, func() float64 { return 0 }), drawingFrom(t, func() float64 { return almostOne })
			for i, shortest := range tt.shortest {
				least.Number, largest.Number = i+1, i+1
				harness.Equal(t, "the shortest", tt.strategy(least), shortest)
				got, want := tt.strategy(largest), tt.longest[i]
				if got > want || got < want-10*ns || got == want && !tt.limited {
					t.Errorf("wait %d: got %v at the longest, want just below %v", i+1, got, want)
				}
			}
		})
	}
}

func TestAStrategyWithoutRandIsRandom(t *testing.T) {
	strategy := restyretry.FullJitter(restyretry.Constant(time.Hour))
	first := strategy(nth(1))
	for range 20 {
		if strategy(nth(1)) != first {
			return
		}
	}
	t.Errorf("got %v 20 times", first)
}

func TestAnyFunctionIsAStrategy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.New(t, harness.Statuses(503), func(o *restyretry.Options) {
			o.Wait = func(a restyretry.Attempt) time.Duration {
				return time.Duration(a.StatusCode()*a.Number) * time.Millisecond
			}
		})
		c.Get(t, "/").Want(t, "503 status 503ms | 503 status 1.006s | 503 attempts")
		c = harness.New(t, harness.Statuses(503), func(o *restyretry.Options) { o.Wait = always(-time.Second) })
		c.Get(t, "/").Want(t, "503 status | 503 status | 503 attempts")
	})
}

func TestRandomWaitsAreSpreadEvenly(t *testing.T) {
	const draws, s = 10_000, time.Second
	a := drawingFrom(t, rand.New(rand.NewPCG(1, 2)).Float64)
	for _, tt := range []struct {
		name      string
		strategy  restyretry.Strategy
		low, high time.Duration
	}{
		{"FullJitter", restyretry.FullJitter(restyretry.Constant(10 * s)), 0, 10 * s},
		{"EqualJitter", restyretry.EqualJitter(restyretry.Constant(20 * s)), 10 * s, 20 * s},
		{"AddJitter", restyretry.AddJitter(restyretry.Constant(s), 10*s, time.Hour), s, 11 * s},
		{"Random", restyretry.Random(5*s, 15*s), 5 * s, 15 * s},
		{"Decorrelated", restyretry.Decorrelated(5*s, time.Hour), 5 * s, 15 * s},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var tenths [10]int
			for range draws {
				wait := tt.strategy(a)
				if wait < tt.low || wait >= tt.high {
					t.Fatalf("got %v, want %v to %v", wait, tt.low, tt.high)
				}
				tenths[int(wait-tt.low)*10/int(tt.high-tt.low)]++
			}
			for i, got := range tenths { // 150 is five standard deviations
				if got < draws/10-150 || got > draws/10+150 {
					t.Errorf("tenth %d: got %d waits of %d", i+1, got, draws)
				}
			}
		})
	}

	// The second wait of AWS's formula is even from base to three times the first:
	// its mean is (1 + 3·2) / 2 times the base.
	a.Number = 2
	strategy, sum := restyretry.Decorrelated(s, time.Hour), time.Duration(0)
	for range 2 * draws {
		sum += strategy(a)
	}
	if mean := (sum / (2 * draws)).Seconds(); math.Abs(mean-3.5) > 0.1 {
		t.Errorf("mean of the second wait of Decorrelated: got %.2f s, want 3.50 s", mean)
	}
}

func FuzzStrategies(f *testing.F) {
	const most = int64(math.MaxInt64)
	f.Add(int64(time.Second), int64(time.Minute), 1, uint64(0))
	f.Add(int64(time.Second), int64(time.Minute), 100, uint64(math.MaxUint64))
	f.Add(most, most, 99, uint64(math.MaxUint64))
	f.Add(int64(-1), int64(-1), 0, uint64(1)<<63)
	f.Add(most, int64(1), 2, uint64(math.MaxUint64))
	f.Add(int64(0), most, 50, uint64(12345))
	f.Add(most, int64(math.MinInt64), 1, uint64(math.MaxUint64))
	f.Add(int64(0), int64(0), 1, uint64(math.MaxUint64))

	var u float64
	a := drawingFrom(f, func() float64 { return u })
	f.Fuzz(func(t *testing.T, base, limit int64, number int, bits uint64) {
		u = float64(bits>>11) / (1 << 53)
		a.Number = max(number, 0)
		checkBounds(t, a, time.Duration(base), time.Duration(limit))
	})
}

func checkBounds(t *testing.T, a restyretry.Attempt, base, limit time.Duration) {
	between := func(name string, s restyretry.Strategy, low, high time.Duration) {
		t.Helper()
		if got := s(a); got < low || got > high {
			t.Errorf("%s: got %v, want %v to %v", name, int64(got), int64(low), int64(high))
		}
	}
	low, most := max(base, 0), limit
	if most <= 0 {
		most = math.MaxInt64 // no limit
	}
	next := a
	next.Number = max(a.Number, a.Number+1)
	for name, s := range growing(base, limit) {
		between(name, s, 0, most)
		if s(a) > s(next) {
			t.Errorf("%s: got %v, then %v", name, s(a), s(next))
		}
		between("FullJitter of "+name, restyretry.FullJitter(s), 0, s(a))
		between("EqualJitter of "+name, restyretry.EqualJitter(s), s(a)/2, s(a))
		between("AddJitter of "+name, restyretry.AddJitter(s, base, limit), s(a), most)
	}
	between("Constant", restyretry.Constant(base), low, low)
	between("List", restyretry.List(base, limit), min(low, max(limit, 0)), max(low, limit))
	between("Random", restyretry.Random(base, limit), low, max(low, limit))
	between("Decorrelated", restyretry.Decorrelated(base, limit), min(low, most), most)
	between("FullJitter", restyretry.FullJitter(always(base)), 0, low)
	between("EqualJitter", restyretry.EqualJitter(always(base)), low/2, low)
	between("AddJitter", restyretry.AddJitter(always(base), base, limit), min(low, most), most)
}
