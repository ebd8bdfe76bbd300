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
			budget.Request(now)
		}
	})
}

func BenchmarkBudgetRetry(b *testing.B) {
	budget := NewBudget(0.1, 0)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		now := time.Now()
		for pb.Next() {
			budget.Retry(now)
		}
	})
}

// No test can set the clock of its machine, but the time between two times goes
// by the monotonic clock as long as both have such a reading.
func TestBudgetKeepsTheMonotonicReading(t *testing.T) {
	start := time.Now()
	first := start.Add(-time.Duration(start.Nanosecond()))
	b := NewBudget(0.1, 0)
	for i := range 30 {
		at := start.Add(time.Duration(i) * 700 * time.Millisecond)
		b.Request(at)
		b.Retry(at)
		if b.newest == b.newest.Round(0) {
			t.Fatalf("at %v: the newest second has no monotonic reading", at.Sub(start))
		}
		if got, want := at.Sub(b.newest), at.Sub(first)%time.Second; got != want {
			t.Fatalf("at %v: the newest second began %v ago, want %v", at.Sub(start), got, want)
		}
	}
}
