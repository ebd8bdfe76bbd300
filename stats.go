package restyretry

import (
	"sync/atomic"
	"time"
)

// Stats are counts since Install.
type Stats struct {
	Requests  uint64            // requests that ended; those never sent, or that panicked, only where History records them
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
		Requests: c.requests.Load() + c.firsts.Load(), Attempts: c.attempts.Load() + c.firsts.Load(),
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
	firsts                                 atomic.Uint64 // requests that succeeded at once, which the next two leave out
	requests, attempts, retries, recovered atomic.Uint64

	waited atomic.Int64
	ended  [len(reasons)]atomic.Uint64
}

// count counts the request of an execution.
func (e *execution) count() {
	c, sent, ended := &e.policy.plugin.stats, uint64(e.recorded()), e.reason
	switch {
	case e.hasPast():
		last := e.last()
		if ended = last.Reason.code(); !last.sent {
			sent--
		}
	case sent > 1: // a second attempt is in the ledger only if it succeeded
		ended = ReasonSucceeded.code()
	}
	if sent == 1 && reasons[ended] == ReasonSucceeded {
		c.firsts.Add(1)
		return
	}
	c.requests.Add(1)
	c.attempts.Add(sent)
	if sent > 1 {
		c.retries.Add(sent - 1)
		if reasons[ended] == ReasonSucceeded {
			c.recovered.Add(1)
		}
	}
	c.ended[ended].Add(1)
}
