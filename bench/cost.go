package main

import (
	"fmt"
	"math"
	"net/http"
	"strings"

	"github.com/restyretry/restyretry/bench/internal/report"
)

// A comparison measures what a peer costs above another, in pairs.
type comparison struct {
	name    string
	script  []int
	body    []byte // a POST, if there is one
	feature feature
	peer    string
	base    string // what it is compared with
	// The bounds; 0 is none. In percent: of time.
	maxAllocs, maxBytes, maxPercent float64
}

// costs are compared in memory.
var costs = []comparison{
	{name: "Resty v2", script: okay, peer: bareName, base: bareName},
	{name: "Resty's own retries", script: okay, peer: ownName, base: bareName},
	{name: "restyretry", script: okay, peer: ourName, base: bareName, maxPercent: 20},
	{name: "restyretry", script: okay, peer: ourName, base: ownName, maxAllocs: 5, maxBytes: 1000},
	{name: "restyretry, a context", script: okay, feature: userContext, peer: ourName, base: ownName, maxAllocs: 5, maxBytes: 1000},
	{name: "restyretry, URL list", script: okay, feature: urlList, peer: ourName, base: ownName, maxAllocs: 11},
	{name: "restyretry, hooks", script: okay, feature: hooks, peer: ourName, base: ownName, maxAllocs: 11},
	{name: "restyretry, options of one request, made once", script: okay, feature: optionsOnce, peer: ourName, base: ownName, maxAllocs: 11},
	{name: "restyretry, options of one request, made for each", script: okay, feature: optionsEach, peer: ourName, base: ownName},
	{name: "restyretry, POST 1 KiB", script: okay, body: small, peer: ourName, base: ownName},
	{name: "restyretry, one retry", script: retry, peer: ourName, base: ownName, maxAllocs: 8, maxBytes: 1800},
	{name: "restyretry, one retry, a context", script: retry, feature: userContext, peer: ourName, base: ownName, maxAllocs: 8, maxBytes: 1800},
}

// wires are compared over loopback.
var wires = []comparison{
	{name: "Resty v2", script: okay, peer: bareName, base: bareName},
	{name: "Resty's own retries", script: okay, peer: ownName, base: bareName},
	{name: "restyretry", script: okay, peer: ourName, base: bareName, maxPercent: 3},
	{name: "restyretry, a context", script: okay, feature: userContext, peer: ourName, base: bareName, maxPercent: 3},
	{name: "restyretry, one retry", script: retry, peer: ourName, base: ownName},
}

func costSection(e effort) (section, error) {
	return e.compare("cost", costs, section{
		title: "Cost in memory",
		text: "A GET where nothing else is said, each line measured in pairs: what it costs more than the other side. The first line " +
			"has the same on both sides: it shows the error of the measurement. Where there is a context, both sides have one.",
	})
}

func wireSection(e effort) (section, error) {
	return e.compare("wire", wires, section{
		title: "Cost over loopback",
		text: "The same over loopback, one request at a time from either side in turn, in random order. Both sides send to one server over " +
			"the same connection, so that only the client differs. Bytes and allocations include the server's.",
	})
}

// compare adds a line to s for each comparison of a part.
func (e effort) compare(part string, all []comparison, s section) (section, error) {
	s.table = report.Table{Head: []string{"what", "against", "time", "more time, %", "more allocations", "more bytes"}}
	pairs, err := e.measure(nths(part, len(all))...)
	if err != nil {
		return s, err
	}
	for i, c := range all {
		base, own := pairs[i][0], pairs[i][1]
		if base.Failed+own.Failed > 0 {
			return s, fmt.Errorf("%s: %s, %s", c.name, base.Err, own.Err)
		}
		x := excess{own.over(base, nanos), own.minus(base, allocs).median, own.minus(base, bytesOf).median}
		s.table.Add(c.name, c.base, duration(own.of(nanos).median), percent(x.time), signed(x.allocs, 1), signed(x.bytes, 0))
		s.bounds = append(s.bounds, c.bounds(s.title, x)...)
	}
	return s, nil
}

// nth names the measurement of a comparison.
func nth(part string, i int) string { return fmt.Sprint(part, " ", i+1) }

func nths(part string, n int) (names []string) {
	for i := range n {
		names = append(names, nth(part, i))
	}
	return names
}

// An excess is what a comparison found: a ratio of times, differences of the
// rest.
type excess struct {
	time          estimate
	allocs, bytes float64
}

// bounds says whether the bounds of c hold for x.
func (c comparison) bounds(where string, x excess) []bound {
	var limit, got []string
	held := true
	add := func(maximum, value float64, unit, text string) {
		if maximum == 0 {
			return
		}
		limit, got = append(limit, fmt.Sprintf("+%.0f %s", maximum, unit)), append(got, text+" "+unit)
		held = held && math.Round(10*value) <= 10*maximum // the runtime allocates a little now and then
	}
	add(c.maxAllocs, x.allocs, "allocations", signed(x.allocs, 1))
	add(c.maxBytes, x.bytes, "B", signed(x.bytes, 0))
	add(c.maxPercent, 100*(x.time.median-1), "% time", percent(x.time))
	if limit == nil {
		return nil
	}
	return []bound{{
		fmt.Sprintf("%s: GET, %s, over %s", where, c.name, c.base),
		strings.Join(limit, ", "), strings.Join(got, ", "), held,
	}}
}

func (c comparison) cast(open opener) cast {
	return func() ([]variant, func(), error) { return c.variants(open) }
}

// variants are the two sides of a comparison. They share a server and the
// connections to it.
func (c comparison) variants(open opener) ([]variant, func(), error) {
	w, err := open(c.script...)
	if err != nil {
		return nil, nil, err
	}
	shared := w.transport()
	w.transport = func() http.RoundTripper { return shared }
	theirs := plain
	if c.feature == userContext {
		theirs = userContext
	}
	return []variant{c.side(c.base, theirs, w), c.side(c.peer, c.feature, w)}, w.close, nil
}

func (c comparison) side(name string, f feature, w *world) variant {
	s := scenario{method: http.MethodGet, body: c.body, script: c.script, feature: f}
	if c.body != nil {
		s.method = http.MethodPost
	}
	p := peerNamed(name)
	p.hooked = int64(2 * len(c.script)) // OnAttempt each time, OnRetry in between, OnDone
	return s.variant(p, w)
}
