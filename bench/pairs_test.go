package main

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"
)

func TestSignRank(t *testing.T) {
	// From tables of the sign test at 5 %, two-sided.
	for n, want := range map[int]int{5: 0, 6: 1, 8: 1, 9: 2, 10: 2, 12: 3, 15: 4, 20: 6, 25: 8, 100: 40} {
		if got := signRank(n, 0.025); got != want {
			t.Errorf("signRank(%d): got %d, want %d", n, got, want)
		}
	}
}

func TestEstimateMedian(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		values []float64
		want   estimate
	}{
		{[]float64{3, 1, 2}, estimate{2, -inf, inf}},
		{[]float64{6, 5, 4, 3, 2, 1}, estimate{3.5, 1, 6}},
		{[]float64{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}, estimate{5.5, 2, 9}},
		{[]float64{7, 7, 7, 7, 7, 7, 7}, estimate{7, 7, 7}},
	} {
		if got := estimateMedian(c.values); got != c.want {
			t.Errorf("%v: got %v, want %v", c.values, got, c.want)
		}
	}
}

// The interval holds the true median in 95 of 100 cases, whatever the
// distribution.
func TestCoverage(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const runs = 2000
	held := 0
	for range runs {
		values := make([]float64, 51)
		for i := range values {
			values[i] = random.ExpFloat64()
		}
		if e := estimateMedian(values); e.low <= math.Ln2 && math.Ln2 <= e.high {
			held++
		}
	}
	if share := float64(held) / runs; share < 0.94 || share > 0.985 {
		t.Errorf("the interval held the median in %.1f %% of the runs, want about 95", 100*share)
	}
}

// Pairing finds a small difference in a noise much larger, if it is common to
// both.
func TestPaired(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var a, b series
	for range 20 {
		var one, other []float64
		for range 11 {
			common := 1000 * random.Float64()
			one = append(one, common+random.Float64())
			other = append(other, common+5+random.Float64())
		}
		a.Blocks, b.Blocks = append(a.Blocks, block{Nanos: one}), append(b.Blocks, block{Nanos: other})
	}
	if d := b.minus(a, nanos); d.low < 4.5 || d.high > 5.5 {
		t.Errorf("got %+v, want about 5", d)
	}
	if r := b.over(a, nanos); r.low <= 1 {
		t.Errorf("got %+v, want a ratio above 1", r)
	}
}

var sink []byte

func TestABlock(t *testing.T) {
	failing, ends := 0, 0
	m := measurement{func() ([]variant, func(), error) {
		return []variant{
			{"nothing", func() error { return nil }},
			{"1 KiB", func() error { sink = make([]byte, 1024); return nil }},
			{"failing", func() error { failing++; return errors.New("no") }},
		}, func() { ends++ }, nil
	}, plan{batch: 100 * time.Microsecond}}
	var all []series
	for range 3 {
		one, err := m.block()
		if err != nil {
			t.Fatal(err)
		}
		all = join(all, one)
	}
	if ends != 3 || len(all[0].Blocks) != 3 || len(all[0].Blocks[2].Nanos) != minRounds {
		t.Fatalf("got %d ends and %+v, want 3 of each", ends, all[0])
	}
	if all[1].Name != "1 KiB" {
		t.Errorf("got the name %q, want that of the variant", all[1].Name)
	}
	if d := all[1].minus(all[0], bytesOf); math.Abs(d.median-1024) > 1 {
		t.Errorf("got %+v bytes, want 1024", d)
	}
	if d := all[1].minus(all[0], allocs); math.Abs(d.median-1) > 0.01 {
		t.Errorf("got %+v allocations, want 1", d)
	}
	if last := all[2]; last.Failed != failing || last.Runs != failing || last.Err != "no" || all[0].Failed > 0 {
		t.Errorf("got %d of %d failed (%v), want all %d", last.Failed, last.Runs, last.Err, failing)
	}
}

// The test binary stands in for bench in the processes that a measurement starts.
func TestMain(m *testing.M) {
	if slices.Contains(os.Args, "-block") {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestEveryMeasurementRunsInAProcessOfItsOwn(t *testing.T) {
	if got, err := quickEffort.process("wire 1"); err != nil || len(got) != 2 || got[0].Runs < minRounds || got[0].Failed > 0 {
		t.Errorf("got %+v, %v, want two series", got, err)
	}
	if _, err := quickEffort.process("nonsense"); err == nil {
		t.Error("got no error for a measurement that does not exist")
	}
}
