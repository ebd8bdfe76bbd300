package main

import (
	"bytes"
	"cmp"
	"encoding/gob"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
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
	Nanos         []float64 // in each round
	Bytes, Allocs float64
}

// A series has the blocks of a variant. Series of one measurement belong together:
// their nth rounds are the same ones.
type series struct {
	Name   string
	Blocks []block
	Runs   int
	Failed int
	Err    string // the first
}

// A plan says how long to measure.
type plan struct {
	batch  time.Duration // how long one variant runs in one round, about; 0 is once
	blocks int
	block  time.Duration // how long a block takes, about
}

// A cast makes the variants anew, and what ends them.
type cast func() (variants []variant, done func(), err error)

// A measurement compares variants: it runs all of them in every round, in random
// order, so that whatever else the machine does meets each of them alike. After a
// block of rounds everything is made anew in another process, because where code,
// heap, servers and connections come to lie makes a difference that would pass for
// the variant's own. The garbage collector is left to itself.
type measurement struct {
	cast cast
	plan plan
}

// measure makes measurements, which take turns block by block: the machine is faster at
// one time than at another.
func (e effort) measure(names ...string) ([][]series, error) {
	all := make([][]series, len(names))
	for range e.measurements()[names[0]].plan.blocks {
		for i, name := range names {
			one, err := e.process(name)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			all[i] = join(all[i], one)
		}
	}
	return all, nil
}

// process runs one block of a measurement in a process of its own.
func (e effort) process(name string) (all []series, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := exec.Command(self, "-block", name, fmt.Sprintf("-quick=%t", e.quick))
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return nil, err
	}
	return all, gob.NewDecoder(bytes.NewReader(out)).Decode(&all)
}

// writeBlock is what that process does.
func (e effort) writeBlock(name string, to io.Writer) error {
	m, ok := e.measurements()[name]
	if !ok {
		return fmt.Errorf("there is no measurement %q", name)
	}
	all, err := m.block()
	if err != nil {
		return err
	}
	return gob.NewEncoder(to).Encode(all)
}

// join appends the blocks of b to those of a.
func join(a, b []series) []series {
	if a == nil {
		return b
	}
	for i := range b {
		a[i].Blocks = append(a[i].Blocks, b[i].Blocks...)
		a[i].Runs, a[i].Failed, a[i].Err = a[i].Runs+b[i].Runs, a[i].Failed+b[i].Failed, cmp.Or(a[i].Err, b[i].Err)
	}
	return a
}

// minRounds of a block are measured even if its time is over.
const minRounds = 5

func (m measurement) block() ([]series, error) {
	variants, done, err := m.cast()
	if err != nil {
		return nil, err
	}
	defer done()
	all, ops := make([]series, len(variants)), make([]int, len(variants))
	for i, v := range variants {
		all[i].Name = v.name
		ops[i] = all[i].begin(v, m.plan.batch)
	}
	end := time.Now().Add(m.plan.block)
	for round := 0; round < minRounds || time.Now().Before(end); round++ {
		for _, i := range rand.Perm(len(variants)) {
			start := time.Now()
			all[i].repeat(variants[i], ops[i])
			nanos := float64(time.Since(start)) / float64(ops[i])
			all[i].Blocks[0].Nanos = append(all[i].Blocks[0].Nanos, nanos)
		}
	}
	return all, nil
}

// Bytes and allocations are a mean of at least minWarm operations, and of those in
// half of warmTime at least.
const (
	minWarm  = 8
	warmTime = 5 * time.Millisecond
)

// begin begins the block: it warms a variant up, and finds what it allocates and
// how many operations fill a batch, by the shortest time that one has taken.
func (s *series) begin(v variant, batch time.Duration) (ops int) {
	each := math.Inf(1)
	for n := 1; ; n *= 2 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		s.repeat(v, n)
		each = min(each, float64(time.Since(start))/float64(n))
		runtime.ReadMemStats(&after)
		if n >= minWarm && each*float64(n)*2 > float64(warmTime) || n >= 1<<16 {
			s.Blocks = []block{{
				Bytes:  float64(after.TotalAlloc-before.TotalAlloc) / float64(n),
				Allocs: float64(after.Mallocs-before.Mallocs) / float64(n),
			}}
			return max(1, int(float64(batch)/each))
		}
	}
}

// repeat runs a variant n times. Runs that fail are counted.
func (s *series) repeat(v variant, n int) {
	s.Runs += n
	for range n {
		if err := v.run(); err != nil {
			s.Failed++
			s.Err = cmp.Or(s.Err, err.Error())
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

func nanos(b block) []float64   { return b.Nanos }
func bytesOf(b block) []float64 { return []float64{b.Bytes} }
func allocs(b block) []float64  { return []float64{b.Allocs} }

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
	medians := make([]float64, len(s.Blocks))
	for b := range medians {
		values, others := slices.Clone(f(s.Blocks[b])), f(base.Blocks[b])
		for round := range values {
			values[round] = value(values[round], others[round])
		}
		medians[b] = estimateMedian(values).median
	}
	return estimateMedian(medians)
}
