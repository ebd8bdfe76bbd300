package restyretry_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
)

// almostOne is the largest number that Options.Rand may return.
const almostOne = 1 - 0x1p-53

// nth is the attempt that the nth wait of a series comes after.
func nth(n int) restyretry.Attempt { return restyretry.Attempt{Number: n} }

// attemptWith returns an attempt whose random numbers come from rand. Only the
// plugin can make one.
func attemptWith(t testing.TB, rand func() float64) restyretry.Attempt {
	t.Helper()
	var got restyretry.Attempt
	respond, _ := answers(503, 200)
	c := mocked(respond)
	install(t, c, func(o *restyretry.Options) {
		o.Rand = rand
		o.Wait = func(a restyretry.Attempt) time.Duration {
			got = a
			return 0
		}
	})
	if _, err := c.R().Get("/"); err != nil || got.Number != 1 {
		t.Fatalf("got attempt %d, %v", got.Number, err)
	}
	return got
}

// seconds makes durations of numbers of seconds.
func seconds(list ...float64) []time.Duration {
	var durations []time.Duration
	for _, s := range list {
		durations = append(durations, time.Duration(math.Round(s*1e9)))
	}
	return durations
}

func TestStrategySeries(t *testing.T) {
	const s = time.Second
	tests := []struct {
		name     string
		strategy restyretry.Strategy
		want     []time.Duration
	}{
		{"Constant", restyretry.Constant(2 * s), seconds(2, 2, 2, 2)},
		{"Constant of nothing", restyretry.Constant(0), seconds(0, 0)},
		{"Constant of less than nothing", restyretry.Constant(-s), seconds(0, 0)},

		{"Linear", restyretry.Linear(s, 3*s), seconds(1, 2, 3, 3)},
		{"Linear that misses its limit", restyretry.Linear(2*s, 5*s), seconds(2, 4, 5, 5)},
		{"Linear with a limit below its step", restyretry.Linear(2*s, s), seconds(1, 1)},
		{"Linear of less than nothing", restyretry.Linear(-s, s), seconds(0, 0)},
		{"Linear without a limit", restyretry.Linear(s, 0), seconds(1, 2, 3, 4)},
		{"Linear with a negative limit", restyretry.Linear(s, -s), seconds(1, 2)},

		{
			"Exponential", restyretry.Exponential(s/10, 30*s),
			seconds(0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30),
		},
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

		{"Random of one value", restyretry.Random(s, s), seconds(1, 1)},
		{"Random with max below min", restyretry.Random(2*s, s), seconds(2, 2)},
		{"Random below nothing", restyretry.Random(-2*s, -s), seconds(0, 0)},

		{"Decorrelated of nothing", restyretry.Decorrelated(0, s), seconds(0, 0)},
		{"Decorrelated of less than nothing", restyretry.Decorrelated(-s, s), seconds(0, 0)},
		{"Decorrelated with a limit below its base", restyretry.Decorrelated(2*s, s), seconds(1, 1)},

		{"FullJitter of less than nothing", restyretry.FullJitter(always(-s)), seconds(0, 0)},
		{"EqualJitter of less than nothing", restyretry.EqualJitter(always(-s)), seconds(0, 0)},
		{"AddJitter of nothing", restyretry.AddJitter(always(s), 0, 3*s), seconds(1, 1)},
		{"AddJitter of less than nothing", restyretry.AddJitter(always(-s), -s, 3*s), seconds(0, 0)},
		{"AddJitter with a limit below the wait", restyretry.AddJitter(always(5*s), s, 3*s), seconds(3, 3)},
		{"AddJitter without a limit", restyretry.AddJitter(always(s), 0, 0), seconds(1, 1)},
		{"AddJitter with a negative limit", restyretry.AddJitter(always(5*s), 0, -s), seconds(5, 5)},
		{"AddJitter with the least limit", restyretry.AddJitter(always(math.MaxInt64), math.MaxInt64, math.MinInt64), []time.Duration{math.MaxInt64}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []time.Duration
			for n := range test.want {
				got = append(got, test.strategy(nth(n+1)))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// always is Constant without its care for negative values.
func always(d time.Duration) restyretry.Strategy {
	return func(restyretry.Attempt) time.Duration { return d }
}

func TestStrategyListKeepsItsOwnCopy(t *testing.T) {
	waits := seconds(1, 2)
	strategy := restyretry.List(waits...)
	waits[0] = time.Hour
	if got := strategy(nth(1)); got != time.Second {
		t.Errorf("got %v, want 1s", got)
	}
}

// growing are the strategies whose waits never become shorter.
func growing(base, limit time.Duration) map[string]restyretry.Strategy {
	return map[string]restyretry.Strategy{
		"Linear":      restyretry.Linear(base, limit),
		"Exponential": restyretry.Exponential(base, limit),
		"Fibonacci":   restyretry.Fibonacci(base, limit),
	}
}

func TestStrategySaturates(t *testing.T) {
	const most = time.Duration(math.MaxInt64)
	for _, base := range []time.Duration{1, time.Second, 1000 * time.Hour, most / 2, most} {
		for _, limit := range []time.Duration{1, time.Minute, most - 1, most} {
			for name, strategy := range growing(base, limit) {
				before := time.Duration(0)
				for n := 1; n <= 2000; n++ {
					got := strategy(nth(n))
					if got < before || got > limit {
						t.Fatalf("%s(%v, %v): wait %d is %v after %v", name, base, limit, n, got, before)
					}
					before = got
				}
				if name != "Linear" && before != limit {
					t.Errorf("%s(%v, %v): got %v in the end, want the limit", name, base, limit, before)
				}
			}
		}
	}
}

// The plugin stops at 100 attempts, but a strategy is a function of its own.
func TestStrategyAnswersForAnyNumber(t *testing.T) {
	const s = time.Second
	strategies := map[string]restyretry.Strategy{
		"Constant":     restyretry.Constant(s),
		"Linear":       restyretry.Linear(s, s),
		"Exponential":  restyretry.Exponential(s, s),
		"Fibonacci":    restyretry.Fibonacci(s, s),
		"List":         restyretry.List(0, s),
		"Random":       restyretry.Random(s, s),
		"Decorrelated": restyretry.Decorrelated(s, s),
	}
	for name, strategy := range strategies {
		t.Run(name, func(t *testing.T) {
			got := make(chan time.Duration, 1)
			go func() { got <- strategy(nth(math.MaxInt)) }()
			select {
			case got := <-got:
				if got != s {
					t.Errorf("got %v, want %v", got, s)
				}
			case <-time.After(5 * time.Second): // only if it fails
				t.Error("no answer for attempt math.MaxInt")
			}
		})
	}
}

// The attempts count from 1, but what is made by hand may have no number.
func TestStrategyWithoutANumber(t *testing.T) {
	const s = time.Second
	strategies := growing(2*s, s)
	strategies["List"] = restyretry.List(s, 2*s)
	strategies["Decorrelated"] = restyretry.Decorrelated(2*s, s)
	for name, strategy := range strategies {
		for n := -3; n <= 0; n++ {
			if got := strategy(nth(n)); got < 0 || got > s {
				t.Errorf("%s, attempt %d: got %v, want 0 to %v", name, n, got, s)
			}
		}
	}
}

func TestStrategyIsPure(t *testing.T) {
	const s = time.Second
	strategies := growing(s, time.Hour)
	strategies["Constant"] = restyretry.Constant(s)
	strategies["List"] = restyretry.List(s, 3*s, 2*s)
	for name, strategy := range strategies {
		var want []time.Duration
		for n := range 20 {
			want = append(want, strategy(nth(n+1)))
		}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for _, n := range rand.Perm(20) {
					if got := strategy(nth(n + 1)); got != want[n] {
						t.Errorf("%s, attempt %d: got %v, then %v", name, n+1, want[n], got)
					}
				}
			})
		}
		wg.Wait()
	}
}

func TestStrategyDrawsFromRand(t *testing.T) {
	const s, ns = time.Second, time.Nanosecond
	tests := []struct {
		name       string
		strategy   restyretry.Strategy // nil for the default
		shortest   []time.Duration     // with Rand 0
		longest    []time.Duration     // with Rand almost 1
		everything bool                // the longest is included
	}{
		{"Random", restyretry.Random(s, 3*s), seconds(1, 1), seconds(3, 3), false},
		{"FullJitter", restyretry.FullJitter(restyretry.Linear(2*s, 9*s)), seconds(0, 0), seconds(2, 4), false},
		{"EqualJitter", restyretry.EqualJitter(restyretry.Linear(2*s, 9*s)), seconds(1, 2), seconds(2, 4), false},
		{"AddJitter", restyretry.AddJitter(restyretry.Linear(2*s, 9*s), s, 9*s), seconds(2, 4), seconds(3, 5), false},
		{"AddJitter at its limit", restyretry.AddJitter(restyretry.Linear(2*s, 9*s), 3*s, 4*s), seconds(2, 4), seconds(4, 4), true},
		{"Decorrelated", restyretry.Decorrelated(s, 30*s), seconds(1, 1), seconds(3, 9), false},
		{"Decorrelated at its limit", restyretry.Decorrelated(s, 2*s), seconds(1, 1), seconds(2, 2), false},
		{"jitter of jitter", restyretry.EqualJitter(restyretry.FullJitter(restyretry.Constant(s))), seconds(0, 0), seconds(1, 1), false},
		{"Decorrelated without a limit", restyretry.Decorrelated(s, 0), seconds(1, 1), seconds(3, 9), false},
		{"default", nil, seconds(0, 0), seconds(0.5, 1), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := waitsWith(t, test.strategy, 0); !slices.Equal(got, test.shortest) {
				t.Errorf("Rand 0: got %v, want %v", got, test.shortest)
			}
			for i, got := range waitsWith(t, test.strategy, almostOne) {
				want := test.longest[i]
				if got > want || got < want-10*ns || got == want && !test.everything {
					t.Errorf("Rand almost 1: wait %d is %v, want just below %v", i+1, got, want)
				}
			}
		})
	}
}

// waitsWith returns the waits of a request that is sent three times, from its
// history, and checks that they were waited.
func waitsWith(t *testing.T, strategy restyretry.Strategy, u float64) (waits []time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		respond, _ := answers(503)
		c := mocked(respond)
		install(t, c, func(o *restyretry.Options) {
			o.Rand = func() float64 { return u }
			if strategy != nil {
				o.Wait = strategy
			}
		})
		start := time.Now()
		resp, err := c.R().Get("/")
		if err != nil {
			t.Fatal(err)
		}
		past := restyretry.History(resp.Request)
		if len(past) != 3 || past[2].Wait != 0 {
			t.Fatalf("got %d attempts, the last wait %v", len(past), past[len(past)-1].Wait)
		}
		waits = []time.Duration{past[0].Wait, past[1].Wait}
		// Resty itself waits a nanosecond between two attempts.
		if got, want := time.Since(start), max(waits[0], 1)+max(waits[1], 1); got != want {
			t.Errorf("took %v, want %v", got, want)
		}
	})
	return waits
}

func TestStrategyWithoutRandIsRandom(t *testing.T) {
	strategy := restyretry.FullJitter(restyretry.Constant(time.Hour))
	first := strategy(nth(1))
	for range 20 {
		if strategy(nth(1)) != first {
			return
		}
	}
	t.Errorf("got %v 20 times", first)
}

func TestStrategyNegativeAnswerIsNoWait(t *testing.T) {
	if got := waitsWith(t, always(-time.Second), 0); !slices.Equal(got, seconds(0, 0)) {
		t.Errorf("got %v, want no waits", got)
	}
}

func TestStrategySeesTheAttempt(t *testing.T) {
	byStatus := func(a restyretry.Attempt) time.Duration {
		return time.Duration(a.StatusCode()*a.Number) * time.Millisecond
	}
	if got := waitsWith(t, byStatus, 0); !slices.Equal(got, seconds(0.503, 1.006)) {
		t.Errorf("got %v, want [503ms 1.006s]", got)
	}
}

func TestStrategySpreadsEvenly(t *testing.T) {
	const draws, s = 10_000, time.Second
	a := attemptWith(t, rand.New(rand.NewPCG(1, 2)).Float64)
	tests := []struct {
		name      string
		strategy  restyretry.Strategy
		low, high time.Duration
	}{
		{"FullJitter", restyretry.FullJitter(restyretry.Constant(10 * s)), 0, 10 * s},
		{"EqualJitter", restyretry.EqualJitter(restyretry.Constant(20 * s)), 10 * s, 20 * s},
		{"AddJitter", restyretry.AddJitter(restyretry.Constant(s), 10*s, time.Hour), s, 11 * s},
		{"Random", restyretry.Random(5*s, 15*s), 5 * s, 15 * s},
		{"Decorrelated", restyretry.Decorrelated(5*s, time.Hour), 5 * s, 15 * s},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var tenths [10]int
			for range draws {
				wait := test.strategy(a)
				if wait < test.low || wait >= test.high {
					t.Fatalf("got %v, want %v to %v", wait, test.low, test.high)
				}
				tenths[int(wait-test.low)*10/int(test.high-test.low)]++
			}
			for i, got := range tenths { // 150 is five standard deviations
				if got < draws/10-150 || got > draws/10+150 {
					t.Errorf("tenth %d: got %d waits of %d", i+1, got, draws)
				}
			}
		})
	}
}

// The second wait of AWS's formula is even from base to three times the first:
// its mean is (1 + 3·2) / 2 times the base.
func TestStrategyDecorrelatedIsAWSs(t *testing.T) {
	a := attemptWith(t, rand.New(rand.NewPCG(1, 2)).Float64)
	a.Number = 2
	strategy := restyretry.Decorrelated(time.Second, time.Hour)
	const draws = 20_000
	var sum time.Duration
	for range draws {
		sum += strategy(a)
	}
	if mean := (sum / draws).Seconds(); math.Abs(mean-3.5) > 0.1 {
		t.Errorf("mean of the second wait: got %.2f s, want 3.50 s", mean)
	}
}

func TestStrategyWrappersOfNilAreNil(t *testing.T) {
	for name, s := range map[string]restyretry.Strategy{
		"FullJitter":  restyretry.FullJitter(nil),
		"EqualJitter": restyretry.EqualJitter(nil),
		"AddJitter":   restyretry.AddJitter(nil, time.Second, time.Minute),
	} {
		if s != nil {
			t.Errorf("%s: got a strategy, want nil", name)
		}
		_, err := restyretry.Install(resty.New(), func(o *restyretry.Options) { o.Wait = s })
		if err == nil || !strings.Contains(err.Error(), "Wait is nil") {
			t.Errorf("%s: got error %v, want that Wait is nil", name, err)
		}
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

	var u float64
	a := attemptWith(f, func() float64 { return u })
	f.Fuzz(func(t *testing.T, base, limit int64, number int, bits uint64) {
		u = float64(bits>>11) / (1 << 53)
		a.Number = max(number, 0)
		checkStrategies(t, a, time.Duration(base), time.Duration(limit))
	})
}

func checkStrategies(t *testing.T, a restyretry.Attempt, base, limit time.Duration) {
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
