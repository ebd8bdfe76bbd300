package restyretry

import (
	"fmt"
	"math"
	"sync"
	"time"
)

// A Budget limits the retries of all requests that share it, so that a server
// that is down gets few attempts more than it would get without retries. Make one
// with [NewBudget] and set it as [Options].Budget, on as many clients as speak
// to the same server. It is safe for concurrent use.
//
// It uses the monotonic clock: setting the wall clock changes nothing.
type Budget struct {
	ratio     float64
	perSecond int

	mu      sync.Mutex
	newest  time.Time                  // when seconds[0] begins
	seconds [budgetWindow]budgetCounts // the newest first
	report  struct{ requests, retries, refused int }
	granted int       // retries that are left of the last Grant
	lease   time.Time // when that Grant ends
}

// budgetWindow is the number of seconds that count, the present one included.
const budgetWindow = 10

// budgetCounts are the counts of one second. Retries that perSecond allows are
// free; the ratio bounds the shared ones.
type budgetCounts struct{ requests, free, shared int }

// NewBudget returns a budget that allows perSecond retries in each second, plus
// retries up to ratio times the requests of the last 10 seconds.
// A request counts once, when its first attempt ends, however often it is sent.
// What the window allows may be spent at once, so choose as ratio a third of the
// server's headroom, which is what it can take beyond its usual load, as a share of
// that load. With more, the retries may keep it down. perSecond is for clients with
// few requests: below one request a second, a ratio of 0.1 alone allows no retry at
// all.
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

// Request counts a request whose first attempt ended at t. The plugin calls it for
// its own requests. Request and Retry are exported for sharing b with clients that
// are not Resty's, and for simulations.
//
// Give times as [time.Now] returns them. A time without a monotonic reading is
// compared by the wall clock. A time up to 10 seconds older than the newest counts
// as the newest; an older one is taken to mean that the clock was set back.
//
// A nil Budget has no limit, and counts nothing.
func (b *Budget) Request(t time.Time) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance(t)
	b.seconds[0].requests++
	b.report.requests++
}

// Retry reports whether b has a retry left at t, and spends it. For t see
// [Budget.Request].
func (b *Budget) Retry(t time.Time) bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance(t)
	if !b.spend() {
		b.report.refused++
		return false
	}
	b.report.retries++
	return true
}

// Limits returns the arguments of [NewBudget], 0 and 0 for a nil Budget. Like Report
// and Grant, which do nothing with that, it is for sharing b between processes.
func (b *Budget) Limits() (ratio float64, perSecond int) {
	if b == nil {
		return 0, 0
	}
	return b.ratio, b.perSecond
}

// Report returns the counts since its last call: requests, retries, and retries
// that were refused.
func (b *Budget) Report() (requests, retries, refused int) {
	if b == nil {
		return 0, 0, 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.report
	b.report = struct{ requests, retries, refused int }{}
	return r.requests, r.retries, r.refused
}

// Grant allows n retries until d has passed, in place of what b would allow by
// itself. A later call replaces it. Before the first Grant, and when the last has
// ended, b goes by its own counts, which include retries that were granted.
func (b *Budget) Grant(n int, d time.Duration) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.granted, b.lease = n, time.Now().Add(d)
}

// spend takes a retry out of the grant, or else out of the counts.
func (b *Budget) spend() bool {
	now := &b.seconds[0]
	switch {
	case !b.lease.IsZero() && time.Until(b.lease) > 0:
		if b.granted <= 0 {
			return false
		}
		b.granted--
	case now.free < b.perSecond:
		now.free++
		return true
	case !b.withinRatio():
		return false
	}
	now.shared++
	return true
}

// withinRatio reports whether the ratio allows one more retry.
func (b *Budget) withinRatio() bool {
	requests, shared := 0, 0
	for _, second := range b.seconds {
		requests += second.requests
		shared += second.shared
	}
	return float64(shared+1) <= b.ratio*float64(requests)
}

// advance begins a new second if t is in one, and drops those that are too old
// by then. A clock that was set back goes on with the newest second.
func (b *Budget) advance(t time.Time) {
	passed := t.Sub(b.newest)
	switch {
	case b.newest.IsZero(), passed < -budgetWindow*time.Second:
		b.newest = t.Add(-time.Duration(t.Nanosecond())) // Truncate would drop the monotonic reading
	case passed >= time.Second:
		n := min(int64(passed/time.Second), budgetWindow)
		copy(b.seconds[n:], b.seconds[:])
		clear(b.seconds[:n])
		b.newest = t.Add(-(passed % time.Second))
	}
}
