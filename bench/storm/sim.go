package main

import (
	"time"

	"github.com/restyretry/restyretry"
)

// tick is the grain of virtual time. The server counts finer.
const tick = time.Millisecond

// epoch is when the simulation starts, for the Budget: a whole second.
var epoch = time.Unix(1_000_000_000, 0)

// A kind says what happens to an attempt.
type kind uint8

const (
	sent      kind = iota // it leaves the client
	succeeded             // its answer arrives in time
	refused               // a 503 arrives
	timedOut              // the client gives up on it
)

// An event is all that is known of a request: there is exactly one in the
// calendar for every request under way.
type event struct {
	begun   int32  // the tick at which the request was sent first
	process uint32 // the process it belongs to
	attempt uint8
	kind    kind
}

// A calendar keeps events, one page per tick. Events of one tick happen in the
// order in which they were added.
type calendar struct {
	pages   [][]event
	spare   [][]event
	pending int
}

// largePage is the capacity from which a page is not used again.
const largePage = 1 << 14

func (c *calendar) add(at int, e event) {
	for at >= len(c.pages) {
		c.pages = append(c.pages, nil)
	}
	if n := len(c.spare); c.pages[at] == nil && n > 0 {
		c.pages[at], c.spare = c.spare[n-1], c.spare[:n-1]
	}
	c.pages[at] = append(c.pages[at], e)
	c.pending++
}

// each calls f for the events of a tick, also for those that f adds to it.
func (c *calendar) each(at int, f func(event)) {
	if at >= len(c.pages) {
		return
	}
	for i := 0; i < len(c.pages[at]); i++ {
		c.pending--
		f(c.pages[at][i])
	}
	if page := c.pages[at]; page != nil && cap(page) < largePage {
		c.spare = append(c.spare, page[:0])
	}
	c.pages[at] = nil
}

// A simulation is one policy in one scenario.
type simulation struct {
	scenario scenario
	policy   policy
	crowd    *crowd
	server   server
	budgets  []*restyretry.Budget // one per process; nil for no budget
	attempt  restyretry.Attempt   // carries the seeded random numbers
	calendar calendar
	now      int // in ticks
	result   result
}

// simulate runs a policy through a scenario. The same seed gives the same
// result.
func simulate(s scenario, p policy, c *crowd, seed uint64) (result, error) {
	attempt, err := seededAttempt(seed)
	if err != nil {
		return result{}, err
	}
	demand := float64(c.clients) / period.Seconds()
	sim := &simulation{
		scenario: s, policy: p, crowd: c, attempt: attempt,
		server: newServer(s, demand), budgets: p.budgets(c.processes()), result: newResult(s, p, demand),
	}
	sim.run()
	return sim.result, nil
}

// run lets requests begin until the end of the scenario, and then those under
// way come to theirs.
func (s *simulation) run() {
	end := int(s.scenario.length / tick)
	for s.now = 0; s.now < end || s.calendar.pending > 0; s.now++ {
		s.calendar.each(s.now, s.happen)
		if s.now < end {
			s.begin()
		}
	}
	s.result.finish(&s.server)
}

// begin sends the requests that begin now.
func (s *simulation) begin() {
	for _, client := range s.crowd.due(s.scenario, s.now) {
		s.result.begun(s.now)
		s.send(event{begun: int32(s.now), process: client / clientsPerProcess, attempt: 1})
	}
}

func (s *simulation) happen(e event) {
	if e.kind == sent {
		s.send(e)
		return
	}
	if b := s.budget(e); b != nil && e.attempt == 1 { // this is when the plugin counts a request
		b.Request(at(s.now))
	}
	switch {
	case e.kind == succeeded:
		s.result.succeeded(s.now)
	case s.again(e):
	default:
		s.result.failed(s.now)
	}
}

// send gives an attempt to the server, whose clock tells how it will end.
func (s *simulation) send(e event) {
	s.result.sent(s.now)
	took, ok := s.server.offer(time.Duration(s.now) * tick)
	switch limit := s.scenario.timeout; {
	case !ok:
		e.kind, took = refused, latency
	case took+latency > limit:
		e.kind, took = timedOut, limit
	default:
		e.kind, took = succeeded, took+latency
	}
	s.calendar.add(s.now+ticks(took), e)
}

// again retries a request if its policy allows it.
func (s *simulation) again(e event) bool {
	s.result.missed(s.now)
	if int(e.attempt) >= s.policy.attempts {
		return false
	}
	s.attempt.Number = int(e.attempt)
	wait := s.policy.wait(s.attempt)
	if b := s.budget(e); b != nil && !b.Retry(at(s.now)) {
		return false
	}
	e.kind, e.attempt = sent, e.attempt+1
	s.calendar.add(s.now+ticks(wait), e)
	return true
}

// budget is the budget of a request, or nil if its policy has none.
func (s *simulation) budget(e event) *restyretry.Budget {
	if s.budgets == nil {
		return nil
	}
	return s.budgets[e.process]
}

func at(now int) time.Time { return epoch.Add(time.Duration(now) * tick) }

// ticks rounds up.
func ticks(d time.Duration) int { return int((d + tick - 1) / tick) }
