package main

import "time"

// A scenario is what happens to the server. In all of them it comes back as
// strong as it was.
type scenario struct {
	name, title, text string

	from, until time.Duration // the outage
	length      time.Duration // until no more requests begin
	timeout     time.Duration // of an attempt, as of Options.AttemptTimeout

	capacity float64       // of the server, as a multiple of the demand
	queue    time.Duration // of work that the server accepts; more is answered by 503
	speed    float64       // at which the server works in the outage
	refusing bool          // it answers by 503 in the outage, at no cost
	together bool          // all clients send their first request at from

	grain time.Duration // of the chart
	unit  string        // of the chart, "" for the demand
}

// scenarios are the four, with the timeout of an attempt.
func scenarios(timeout time.Duration) []scenario {
	const s = time.Second
	return []scenario{
		{
			name: "refuse", title: "Instant 503",
			text: "For 30 s the server answers every attempt by 503 at once. It can take 1.5 times the demand and " +
				"queues 1 s of work, less than the clients' patience.",
			from: 20 * s, until: 50 * s, length: 110 * s, timeout: timeout,
			capacity: 1.5, queue: s, speed: 1, refusing: true, grain: s,
		},
		{
			name: "hang", title: "Hang",
			text: "For 30 s the server accepts attempts and does nothing. Then it works off what it has queued, " +
				"up to 10 s of work, the abandoned too. It can take 1.5 times the demand.",
			from: 20 * s, until: 50 * s, length: 110 * s, timeout: timeout,
			capacity: 1.5, queue: 10 * s, speed: 0, grain: s,
		},
		{
			name: "headroom", title: "Little headroom",
			text: "For 30 s the server works at half its speed. It can take only 1.15 times the demand and queues " +
				"5 s of work, the abandoned too.",
			from: 20 * s, until: 50 * s, length: 120 * s, timeout: timeout,
			capacity: 1.15, queue: 5 * s, speed: 0.5, grain: s,
		},
		{
			name: "start", title: "Synchronised start",
			text: "All clients send their first request in the same millisecond, and the next ones each at its own time. " +
				"The server is well, can take 1.5 times the demand and queues 1 s of work. " +
				"The first second counts as the outage.",
			from: 5 * s, until: 6 * s, length: 65 * s, timeout: timeout,
			capacity: 1.5, queue: s, speed: 1, together: true, grain: s / 5,
		},
	}
}

func (s *scenario) inOutage(t time.Duration) bool { return t >= s.from && t < s.until }
