package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// bin is the time over which attempts and requests are counted.
const bin = 100 * time.Millisecond

// A result is what a simulation counted, by bins where it is a slice.
type result struct {
	scenario scenario
	policy   policy
	demand   float64 // requests per second

	begins, attempts, good []int

	requests, sendings, successes, failures int // until all requests had ended

	lastMiss     int // the tick of the last failed attempt, or -1
	done, wasted int
}

func newResult(s scenario, p policy, demand float64) result {
	bins := int(s.length / bin)
	return result{
		scenario: s, policy: p, demand: demand, lastMiss: -1,
		begins: make([]int, bins), attempts: make([]int, bins), good: make([]int, bins),
	}
}

func (r *result) begun(now int) { r.requests++; count(r.begins, now) }

func (r *result) sent(now int) { r.sendings++; count(r.attempts, now) }

func (r *result) succeeded(now int) { r.successes++; count(r.good, now) }

func (r *result) failed(int) { r.failures++ }

func (r *result) missed(now int) { r.lastMiss = now }

func (r *result) finish(s *server) { r.done, r.wasted = s.done, s.wasted }

// count leaves out what happens after the end.
func count(bins []int, now int) {
	if i := now / int(bin/tick); i < len(bins) {
		bins[i]++
	}
}

// amplification is attempts per request in the outage, as the server sees it.
func (r *result) amplification() float64 {
	from, until := int(r.scenario.from/bin), int(r.scenario.until/bin)
	return float64(sum(r.attempts[from:until])) / float64(sum(r.begins[from:until]))
}

// peak is the load in the busiest bin after the outage, as a multiple of what
// the server can do.
func (r *result) peak() float64 {
	busiest := slices.Max(r.attempts[int(r.scenario.until/bin):])
	return float64(busiest) / bin.Seconds() / (r.demand * r.scenario.capacity)
}

// window is the time over which goodput is compared with demand.
const window = 5 * time.Second

// normal is the time from the end of the outage until goodput is 95 % of the
// demand and stays so, and whether that comes.
func (r *result) normal() (time.Duration, bool) {
	last := r.scenario.length - window
	for from := last; from >= r.scenario.until; from -= bin {
		i, j := int(from/bin), int((from+window)/bin)
		if float64(sum(r.good[i:j])) < 0.95*float64(sum(r.begins[i:j])) {
			return from + bin - r.scenario.until, from < last
		}
	}
	return 0, true
}

// calm is the time from the end of the outage to the last failed attempt, and
// whether the last one was before the end.
func (r *result) calm() (time.Duration, bool) {
	last := time.Duration(r.lastMiss) * tick
	return max(last-r.scenario.until, 0), last < r.scenario.length
}

// waste is the share of the server's work that was for nobody.
func (r *result) waste() float64 { return float64(r.wasted) / float64(r.done) }

// success is the share of all requests that ended well.
func (r *result) success() float64 { return float64(r.successes) / float64(r.requests) }

func sum(numbers []int) (n int) {
	for _, number := range numbers {
		n += number
	}
	return n
}

// table writes the results of a scenario in Markdown.
func table(w io.Writer, results []result) {
	s := results[0].scenario
	fmt.Fprintf(w, "## %s\n\n%s\n\n", s.title, s.text)
	fmt.Fprintln(w, "| policy | attempts per request in the outage | peak after it, of capacity | "+
		"goodput normal after | last failure after | work wasted | requests succeeded |")
	fmt.Fprintln(w, "|---|--:|--:|--:|--:|--:|--:|")
	for _, r := range results {
		fmt.Fprintf(w, "| %s | %.2f | %.2f | %s | %s | %.1f %% | %.2f %% |\n", r.policy.name, r.amplification(), r.peak(),
			orNever(r.normal()), orNever(r.calm()), 100*r.waste(), 100*r.success())
	}
	fmt.Fprintln(w)
}

func orNever(d time.Duration, ok bool) string {
	if !ok {
		return "**never**"
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}
