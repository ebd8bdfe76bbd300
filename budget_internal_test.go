package restyretry

import (
	"testing"
	"time"
)

func BenchmarkBudgetRequest(b *testing.B) {
	budget := NewBudget(0.1, 0)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		now := time.Now()
		for pb.Next() {
			budget.request(now)
		}
	})
}

func BenchmarkBudgetRetry(b *testing.B) {
	budget := NewBudget(0.1, 0)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		now := time.Now()
		for pb.Next() {
			budget.take(now)
		}
	})
}

// No test can set the clock of its machine, but the time between two times goes
// by the monotonic clock as long as both have such a reading.
func TestBudgetKeepsTheMonotonicReading(t *testing.T) {
	start := time.Now()
	b := NewBudget(0.1, 0)
	for i := range 30 {
		at := start.Add(time.Duration(i) * 700 * time.Millisecond)
		b.request(at)
		b.take(at)
		if b.newest == b.newest.Round(0) {
			t.Fatalf("at %v: the newest second has no monotonic reading", at.Sub(start))
		}
		if late := at.Sub(b.newest); late < 0 || late >= time.Second {
			t.Fatalf("at %v: the newest second began %v ago, want less than 1s", at.Sub(start), late)
		}
	}
}
