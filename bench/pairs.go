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

// A block is what the operations of a variant took in one block of rounds.
type block struct {
	nanos         []float64 // in each round
	bytes, allocs float64
}

// A series has the blocks of a variant. Series of one call of measure belong
// together: their nth rounds are the same ones.
type series struct {
	name   string
	blocks []block
	runs   int
	failed int
	err    error // the first
}

// A plan says how long to measure.
type plan struct {
	batch  time.Duration // how long one variant runs in one round, about; 0 is once
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
		s.name, ops[i] = v.name, s.begin(v, p.batch)
	}
	end := time.Now().Add(p.block)
	for round := 0; round < minRounds || time.Now().Before(end); round++ {
		for _, i := range rand.Perm(len(variants)) {
			s := &(*all)[i]
			start := time.Now()
			s.repeat(variants[i], ops[i])
			nanos := float64(time.Since(start)) / float64(ops[i])
			last := &s.blocks[len(s.blocks)-1]
			last.nanos = append(last.nanos, nanos)
		}
	}
	return nil
}

// minWarm is how many operations the bytes and allocations are a mean of, at
// least.
const minWarm = 8

// begin begins a block: it warms a variant up, and finds what it allocates and
// how many operations fill a batch, by the shortest time that one has taken.
func (s *series) begin(v variant, want time.Duration) (ops int) {
	each := math.Inf(1)
	for n := 1; ; n *= 2 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		s.repeat(v, n)
		each = min(each, float64(time.Since(start))/float64(n))
		runtime.ReadMemStats(&after)
		if n >= minWarm && each*float64(n)*2 > float64(want) || n >= 1<<16 {
			s.blocks = append(s.blocks, block{
				bytes:  float64(after.TotalAlloc-before.TotalAlloc) / float64(n),
				allocs: float64(after.Mallocs-before.Mallocs) / float64(n),
			})
			return max(1, int(float64(want)/each))
		}
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

// A field picks one figure of a block: one value, or one for each round.
type field func(block) []float64

func nanos(b block) []float64   { return b.nanos }
func bytesOf(b block) []float64 { return []float64{b.bytes} }
func allocs(b block) []float64  { return []float64{b.allocs} }

// of is the median of one figure of a series.
func (s series) of(f field) estimate {
	return s.beside(s, f, func(own, _ float64) float64 { return own })
}

// minus is the median of the differences between two series, round by round.
func (s series) minus(base series, f field) estimate {
	return s.beside(base, f, func(own, base float64) float64 { return own - base })
}

// over is the median of the ratios between two series, round by round.
func (s series) over(base series, f field) estimate {
	return s.beside(base, f, func(own, base float64) float64 { return own / base })
}

// beside takes the median of every block, and estimates the median of these: the
// rounds of one block are not independent of each other, the blocks are.
func (s series) beside(base series, f field, value func(own, base float64) float64) estimate {
	medians := make([]float64, len(s.blocks))
	for b := range medians {
		values, others := slices.Clone(f(s.blocks[b])), f(base.blocks[b])
		for round := range values {
			values[round] = value(values[round], others[round])
		}
		medians[b] = estimateMedian(values).median
	}
	return estimateMedian(medians)
}
