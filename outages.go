package restyretry

import (
	"math/rand/v2"
	"time"
)

const (
	outageFailures = 5 // in a row, until a host counts as down
	outageFirst    = time.Second
	outageLongest  = time.Minute
)

// An outage is a host of a list that has failed.
type outage struct {
	failures int       // in a row
	passed   int       // pauses in a row in which it is passed over; 0 if it is not down
	until    time.Time // the end of the pause, or of the trial
	trial    bool      // an attempt tries it, and others pass it over
	seen     time.Time // the last failure
}

// pick returns which of the n hosts of a list a request goes to: the first that
// neither cools down nor is down, else the first that is down, else the one whose
// cool-down ends first. keys tells what cools down with each, and its host, in the
// order in which they are tried. A host whose time as down is over is tried by the
// first request that comes.
func (c *Cooldown) pick(n int, keys func(i int) (key, host string)) int {
	if n < 2 || c.idle() {
		return 0
	}
	best, bestRank, bestUntil := 0, isCooling+1, time.Time{}
	for i := range n {
		rank, until := c.stands(keys(i))
		if rank == isFree {
			return i
		}
		if rank < bestRank || rank == isCooling && until.Before(bestUntil) {
			best, bestRank, bestUntil = i, rank, until
		}
	}
	return best
}

// A standing is how a host of a list stands, the best first.
type standing int

const (
	isFree standing = iota
	isDown
	isCooling // or has a probe out
)

// stands returns how a host stands, and until when the key cools. That a host is free
// after it was down is said to one request: the one that tries it.
func (c *Cooldown) stands(key, host string) (standing, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if h := c.lookup(key, now); h != nil {
		until := h.ends
		if h.probe != nil {
			until = h.probe.start.Add(h.probeTime())
		}
		if now.Before(until) {
			return isCooling, until
		}
	}
	o := c.outages[host]
	switch {
	case o == nil || o.passed == 0:
		return isFree, time.Time{}
	case now.Before(o.until):
		return isDown, time.Time{}
	}
	o.trial, o.until = true, now.Add(cooldownProbe)
	return isFree, time.Time{}
}

// failed says that a host of a list has failed: it could not be connected to, or
// an attempt failed after that. It is down at once, or at the fifth time in a row.
func (c *Cooldown) failed(host string, connected bool) {
	if c == nil || host == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.sweep(now)
	o := c.outages[host]
	if o == nil {
		if !c.room() {
			return
		}
		if c.outages == nil {
			c.outages = make(map[string]*outage)
		}
		o = new(outage)
		c.outages[host] = o
		c.count()
	}
	o.fail(now, connected)
}

// succeeded says that a host has answered.
func (c *Cooldown) succeeded(host string) {
	if c.idle() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.outages, host)
	c.count()
}

func (o *outage) fail(now time.Time, connected bool) {
	o.seen = now
	if now.Before(o.until) && !o.trial { // it was sent before
		return
	}
	if o.failures++; connected && o.passed == 0 && o.failures < outageFailures {
		return
	}
	pause := min(outageFirst<<min(o.passed, 10), outageLongest)
	o.until = now.Add(pause*4/5 + rand.N(pause*2/5+1))
	o.passed++
	o.trial = false
}

// over reports whether nothing has been heard of the host for so long that it
// counts as any other again.
func (o *outage) over(now time.Time) bool {
	return now.Sub(o.seen) >= outageLongest && now.Sub(o.until) >= outageLongest
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
