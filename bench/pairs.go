package main

import (
	"cmp"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"
)

// A variant is one of several ways to do the same work. run does the work once
// and checks that it was done.
type variant struct {
	name string
	run  func() error
}

// A sample is what one operation of a variant took in one round.
type sample struct{ nanos, bytes, allocs float64 }

// A series has the samples of a variant, by block and round. Series of one call
// of measure belong together: their nth samples are of the same round.
type series struct {
	name   string
	blocks [][]sample
	runs   int
	failed int
	err    error // the first
}

// A plan says how long to measure.
type plan struct {
	batch  time.Duration // how long one variant runs in one round, about
	blocks int
	block  time.Duration // how long a block takes, about
}

// A cast makes the variants anew, and what ends them.
type cast func() (variants []variant, done func(), err error)

// measure runs all variants in every round, in random order, so that whatever
// else the machine does meets each of them alike. After a block of rounds the
// variants are made anew, servers and connections included, because where these
// come to lie makes a difference that would pass for the variant's own. The
// garbage collector is left to itself.
func measure(renew cast, p plan) ([]series, error) {
	var all []series
	for range p.blocks {
		if err := addBlock(&all, renew, p); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// minRounds of a block are measured even if its time is over.
const minRounds = 5

func addBlock(all *[]series, renew cast, p plan) error {
	variants, done, err := renew()
	if err != nil {
		return err
	}
	defer done()
	if *all == nil {
		*all = make([]series, len(variants))
	}
	ops := make([]int, len(variants))
	for i, v := range variants {
		s := &(*all)[i]
		s.name, ops[i] = v.name, s.calibrate(v, p.batch)
		s.blocks = append(s.blocks, nil)
	}
	end := time.Now().Add(p.block)
	for round := 0; round < minRounds || time.Now().Before(end); round++ {
		for _, i := range rand.Perm(len(variants)) {
			s := &(*all)[i]
			last := &s.blocks[len(s.blocks)-1]
			*last = append(*last, s.batch(variants[i], ops[i]))
		}
	}
	return nil
}

// calibrate warms a variant up and finds how many operations fill a batch, by
// the shortest time that one has taken.
func (s *series) calibrate(v variant, want time.Duration) int {
	each := math.Inf(1)
	for n := 1; ; n *= 2 {
		each = min(each, s.batch(v, n).nanos)
		if each*float64(n)*2 > float64(want) || n >= 1<<16 {
			return max(1, int(float64(want)/each))
		}
	}
}

// batch runs a variant n times, after a quarter as many that do not count for
// the time, and returns the mean time of the n and the mean bytes and
// allocations of all of them.
//
// ReadMemStats empties the caches of the allocator. To fill them again takes the
// longer the more sizes a variant allocates, and no service pays for that.
func (s *series) batch(v variant, n int) sample {
	var before, after runtime.MemStats
	untimed := (n + 3) / 4
	runtime.ReadMemStats(&before)
	s.repeat(v, untimed)
	start := time.Now()
	s.repeat(v, n)
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	return sample{
		nanos:  float64(took.Nanoseconds()) / float64(n),
		bytes:  float64(after.TotalAlloc-before.TotalAlloc) / float64(n+untimed),
		allocs: float64(after.Mallocs-before.Mallocs) / float64(n+untimed),
	}
}

// repeat runs a variant n times. Runs that fail are counted.
func (s *series) repeat(v variant, n int) {
	s.runs += n
	for range n {
		if err := v.run(); err != nil {
			s.failed++
			s.err = cmp.Or(s.err, err)
		}
	}
}

// An estimate is a median with its 95 % confidence interval.
type estimate struct{ median, low, high float64 }

// estimateMedian finds the interval by the order statistics of the sign test:
// it assumes nothing about the distribution but that the values are independent.
// Each bound has at most 2.5 % on its far side. With fewer than 6 values no
// interval is that sure, and the bounds are infinite.
func estimateMedian(values []float64) estimate {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return estimate{math.NaN(), math.Inf(-1), math.Inf(1)}
	}
	e := estimate{(sorted[(n-1)/2] + sorted[n/2]) / 2, math.Inf(-1), math.Inf(1)}
	if k := signRank(n, 0.025); k > 0 {
		e.low, e.high = sorted[k-1], sorted[n-k]
	}
	return e
}

// signRank is the largest k for which P(B < k) <= tail, where B is the number
// of heads in n throws of a fair coin; 0 if there is none.
func signRank(n int, tail float64) int {
	exactly := math.Pow(2, -float64(n)) // P(B = k)
	sum := 0.0
	for k := range n {
		if sum += exactly; sum > tail {
			return k
		}
		exactly *= float64(n-k) / float64(k+1)
	}
	return n
}

// A field picks one figure of a sample.
type field func(sample) float64

func nanos(s sample) float64   { return s.nanos }
func bytesOf(s sample) float64 { return s.bytes }
func allocs(s sample) float64  { return s.allocs }

// of is the median of one figure of a series.
func (s series) of(f field) estimate {
	return s.each(func(block, round int) float64 { return f(s.blocks[block][round]) })
}

// minus is the median of the differences between two series, round by round.
func (s series) minus(base series, f field) estimate {
	return s.each(func(block, round int) float64 { return f(s.blocks[block][round]) - f(base.blocks[block][round]) })
}

// over is the median of the ratios between two series, round by round.
func (s series) over(base series, f field) estimate {
	return s.each(func(block, round int) float64 { return f(s.blocks[block][round]) / f(base.blocks[block][round]) })
}

// each takes the median of every block, and estimates the median of these: the
// rounds of one block are not independent of each other, the blocks are.
func (s series) each(value func(block, round int) float64) estimate {
	medians := make([]float64, len(s.blocks))
	for b := range medians {
		values := make([]float64, len(s.blocks[b]))
		for r := range values {
			values[r] = value(b, r)
		}
		medians[b] = estimateMedian(values).median
	}
	return estimateMedian(medians)
}
