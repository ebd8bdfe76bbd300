package restyretry

import (
	"slices"
	"sync/atomic"
	"time"
)

// Stats are counts since Install.
type Stats struct {
	Requests  uint64            // requests that ended; those that were never begun do not count
	Attempts  uint64            // how often they were sent
	Retries   uint64            // attempts after the first
	Recovered uint64            // requests that succeeded after a retry
	GivenUp   map[Reason]uint64 // requests that did not succeed, by the reason of the last attempt
	Waited    time.Duration     // time between the attempts, waits that were cancelled included in full
}

// Stats returns the counts so far. A request may be counted in one figure and
// not yet in the next.
func (p *Plugin) Stats() Stats {
	c := &p.stats
	s := Stats{
		Requests: c.requests.Load(), Attempts: c.attempts.Load(),
		Retries: c.retries.Load(), Recovered: c.recovered.Load(),
		GivenUp: make(map[Reason]uint64), Waited: time.Duration(c.waited.Load()),
	}
	for i, reason := range reasons {
		if n := c.ended[i].Load(); n > 0 && reason != ReasonSucceeded {
			s.GivenUp[reason] = n
		}
	}
	return s
}

type counters struct {
	requests, attempts, retries, recovered atomic.Uint64

	waited atomic.Int64
	ended  [len(reasons)]atomic.Uint64
}

// addFirst counts a request that succeeded at once.
func (c *counters) addFirst() {
	c.requests.Add(1)
	c.attempts.Add(1)
}

func (c *counters) add(past []Attempt) {
	last, sent := past[len(past)-1], uint64(len(past))
	if !last.sent {
		sent--
	}
	c.requests.Add(1)
	c.attempts.Add(sent)
	if sent > 1 {
		c.retries.Add(sent - 1)
	}
	if last.Reason == ReasonSucceeded && last.Number > 1 {
		c.recovered.Add(1)
	}
	c.ended[slices.Index(reasons[:], last.Reason)].Add(1)
}
