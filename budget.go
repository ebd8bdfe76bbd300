package restyretry

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// A Budget bounds the retries of all requests that share it, so that a server
// that is down gets little more than the requests it would get anyway. Make one
// with [NewBudget] and set it as [Options].Budget, on as many clients as speak
// to the same server. It is safe for concurrent use.
type Budget struct {
	ratio     float64
	perSecond int

	requests [budgetShards][budgetSlots]requestSlot

	mu      sync.Mutex // for the retries
	retries [budgetSlots]retrySlot
}

const (
	// budgetWindow is the number of seconds that count, the present one included.
	budgetWindow = 10
	// budgetSlots leaves room for requests that are counted late.
	budgetSlots = 16
	// budgetShards keeps processors from counting in the same place at once.
	budgetShards = 16
)

// A requestSlot counts the requests of one second: the second above countBits,
// the count below, in one word so that nobody sees one without the other.
type requestSlot struct{ atomic.Uint64 }

const countBits = 28 // 268 million requests in a second

// A retrySlot counts the retries of one second: those that perSecond allowed,
// and those that ratio did.
type retrySlot struct {
	second       int64
	free, shared int
}

// NewBudget returns a budget that allows perSecond retries in each second, and
// beyond them as many as make up ratio of the requests of the last 10 seconds.
// A request counts once, when its first attempt ends, however often it is sent.
// Choose a ratio of a third of the share of its load that the server can take on
// top, or the retries keep it down: what the window allows may be spent at once.
// perSecond is for clients with few requests: below one request a second, a ratio
// of 0.1 alone allows no retry at all.
//
// A ratio below 0, above 1 or not a number, or a perSecond below 0, is an error
// of [Install], [Plugin.Update] or the request that is to use it.
func NewBudget(ratio float64, perSecond int) *Budget {
	return &Budget{ratio: ratio, perSecond: perSecond}
}

func (b *Budget) validate() error {
	switch {
	case b == nil:
		return nil
	case math.IsNaN(b.ratio) || b.ratio < 0 || b.ratio > 1:
		return fmt.Errorf("ratio is %v, not from 0 to 1", b.ratio)
	case b.perSecond < 0:
		return fmt.Errorf("perSecond is %d, less than 0", b.perSecond)
	default:
		return nil
	}
}

// Request counts a request whose first attempt ended at t. The plugin does so
// for its own: Request and Retry are for sharing b with clients that are not
// Resty's, and for simulations.
func (b *Budget) Request(t time.Time) { b.request(t) }

// Retry takes a retry at t out of b, and reports whether there was one left.
func (b *Budget) Retry(t time.Time) bool { return b.take(t) }

// request counts a request whose first attempt ended at the given time.
func (b *Budget) request(at time.Time) {
	if b != nil { // most often there is none, and then there is no call either
		b.count(at)
	}
}

func (b *Budget) count(at time.Time) {
	second := uint64(at.Unix())
	shard := uint(at.Nanosecond()) / 64 % budgetShards // as good as random
	slot := &b.requests[shard][second%budgetSlots]
	for {
		switch old := slot.Load(); {
		case old>>countBits == second:
			slot.Add(1)
			return
		case old>>countBits > second: // counted too late
			return
		case slot.CompareAndSwap(old, second<<countBits|1):
			return
		}
	}
}

// take asks for a retry now.
func (b *Budget) take(now time.Time) bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	second := now.Unix()
	slot := &b.retries[second&(budgetSlots-1)]
	if slot.second != second {
		*slot = retrySlot{second: second}
	}
	if slot.free < b.perSecond {
		slot.free++
		return true
	}
	if float64(b.shared(second)+1) > b.ratio*float64(b.recent(second)) {
		return false
	}
	slot.shared++
	return true
}

// shared is how many retries of the window the ratio has allowed.
func (b *Budget) shared(second int64) (n int) {
	for i := range b.retries {
		if inWindow(b.retries[i].second, second) {
			n += b.retries[i].shared
		}
	}
	return n
}

// recent is how many requests there were in the window.
func (b *Budget) recent(second int64) (n int64) {
	for i := range b.requests {
		for j := range b.requests[i] {
			slot := b.requests[i][j].Load()
			if inWindow(int64(slot>>countBits), second) {
				n += int64(slot & (1<<countBits - 1))
			}
		}
	}
	return n
}

func inWindow(second, now int64) bool { return second <= now && now-second < budgetWindow }
