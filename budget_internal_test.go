package restyretry

import (
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
