package restyretry

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func BenchmarkBudgetRequest(b *testing.B) {
	budget := NewBudget(0.1, 0)
	b.RunParallel(func(pb *testing.PB) {
		now := time.Now()
		for pb.Next() {
			budget.request(now)
		}
	})
}

// A slot is used again after 16 s. What it counted then must not be seen as
// requests of the new second, not even while it is being cleared.
func TestBudgetNeverCountsRequestsOfAnEarlierSecond(t *testing.T) {
	const rounds = 500_000
	b := NewBudget(1, 0)
	var second atomic.Int64
	var both sync.WaitGroup
	both.Go(func() {
		for n := range int64(rounds) {
			now := (n + 1) * budgetSlots
			second.Store(0)
			for range 3 {
				b.request(time.Unix(now-budgetSlots, 0))
			}
			second.Store(now)
			b.request(time.Unix(now, 0))
		}
		second.Store(-1)
	})
	most := int64(0)
	both.Go(func() {
		for now := second.Load(); now >= 0; now = second.Load() {
			if n := b.recent(now); now > 0 && now == second.Load() { // 0 while there is none
				most = max(most, n)
			}
		}
	})
	both.Wait()
	if most > 1 {
		t.Errorf("got %d recent requests, want 1 at the most", most)
	}
}
