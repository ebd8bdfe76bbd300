package restyretry

import (
	"maps"
	"sync"
	"time"
)

// Stats are the counts of a client and its clones since Install.
type Stats struct {
	Requests  uint64            // requests that ended, of those for which OnDone runs
	Attempts  uint64            // attempts that were sent
	Retries   uint64            // of them, those after the first
	Recovered uint64            // requests that succeeded after a retry
	GivenUp   map[Reason]uint64 // requests that did not succeed, by the reason of the last attempt
	Waited    time.Duration     // time between the attempts; a cancelled wait counts in full
	Held      uint64            // attempts that a Cooldown held back
	HeldFor   time.Duration     // how long, in all
}

// Stats returns the counts so far.
func (p *Plugin) Stats() Stats {
	c := &p.stats
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.Stats
	s.GivenUp = make(map[Reason]uint64)
	maps.Copy(s.GivenUp, c.GivenUp)
	return s
}

// counters are the Stats of a plugin.
type counters struct {
	mu sync.Mutex
	Stats
}

// count counts a request with all its attempts.
func (c *counters) count(attempts []Attempt) {
	sent, last := uint64(len(attempts)), &attempts[len(attempts)-1]
	if !last.sent {
		sent--
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Requests++
	c.Attempts += sent
	c.Retries += max(sent, 1) - 1
	switch {
	case last.Reason != ReasonSucceeded:
		if c.GivenUp == nil {
			c.GivenUp = make(map[Reason]uint64)
		}
		c.GivenUp[last.Reason]++
	case sent > 1:
		c.Recovered++
	}
}

// hold counts an attempt that was held back.
func (c *counters) hold(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Held++
	c.HeldFor += d
}

// wait counts the time of a wait.
func (c *counters) wait(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Waited += d
}
