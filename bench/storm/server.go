package main

import "time"

// latency is the way to the server and back, and what the server takes when it
// is idle.
const latency = 50 * time.Millisecond

// A server does the work it takes in the order it came, and it does all of it:
// it does not know whose clients have gone.
//
// Its clock of work runs like ours, but slower in the outage, or not at all.
// Until when on that clock it is busy is all it has to remember.
type server struct {
	scenario
	work   time.Duration // that a request makes
	busy   time.Duration // on the clock of work
	done   int           // requests worked on until the end
	wasted int           // of these, those whose client had gone
}

func newServer(s scenario, demand float64) server {
	return server{scenario: s, work: time.Duration(float64(time.Second) / (demand * s.capacity))}
}

// offer tells how long a request that comes now will take to be done, or that
// it is refused.
func (s *server) offer(now time.Duration) (took time.Duration, ok bool) {
	clock := s.clock(now)
	if s.refusing && s.inOutage(now) || s.busy-clock > s.queue {
		return 0, false
	}
	s.busy = max(s.busy, clock) + s.work
	end := s.when(s.busy)
	took = end - now
	if end < s.length {
		s.done++
		if took+latency > s.timeout {
			s.wasted++
		}
	}
	return took, true
}

// clock is how long the server could have worked until now.
func (s *server) clock(now time.Duration) time.Duration {
	switch {
	case now <= s.from:
		return now
	case now < s.until:
		return s.from + time.Duration(s.speed*float64(now-s.from))
	default:
		return now - s.lost()
	}
}

// when is the time at which the clock of work shows c.
func (s *server) when(c time.Duration) time.Duration {
	switch slow := c - s.from; {
	case slow <= 0:
		return c
	case float64(slow) < s.speed*float64(s.until-s.from):
		return s.from + time.Duration(float64(slow)/s.speed)
	default:
		return c + s.lost()
	}
}

// lost is the working time that the outage costs.
func (s *server) lost() time.Duration {
	return time.Duration((1 - s.speed) * float64(s.until-s.from))
}
