package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/restyretry/restyretry/bench/internal/report"
)

// A scenario is the same work for every peer.
type scenario struct {
	id, title string
	method    string
	body      []byte
	script    []int // the statuses of the attempts of one request
	feature   feature
	parallel  int // goroutines that send at once, each perWorker requests; 0: one request
	chart     bool

	maxBytes, maxTime float64 // what ours may be over the base, as ratios; 0: no bound
}

var (
	small = bytes.Repeat([]byte("s"), 1<<10)
	large = bytes.Repeat([]byte("l"), 1<<20)
)

var (
	okay  = []int{http.StatusOK}
	retry = []int{http.StatusServiceUnavailable, http.StatusOK}
)

var scenarios = []scenario{
	{id: "get", title: "GET, 200", method: http.MethodGet, script: okay, chart: true},
	{id: "retry", title: "GET, 503 then 200", method: http.MethodGet, script: retry, chart: true},
	{id: "post", title: "POST 1 KiB, 200", method: http.MethodPost, body: small, script: okay},
	{
		id: "post-retry", title: "POST 1 MiB, 503 then 200", method: http.MethodPost, body: large, script: retry, chart: true,
		maxBytes: 0.05, maxTime: 0.25,
	},
	{id: "parallel", title: "Parallel GET, 200", method: http.MethodGet, script: okay, parallel: 8},
	{id: "options", title: "GET, 200, with options of its own", method: http.MethodGet, script: okay, feature: optionsEach},
	{id: "urls", title: "GET, 503 from the first URL of a list, 200 from the second", method: http.MethodGet, script: retry, feature: urlList},
	{id: "hooks", title: "GET, 503 then 200, with all hooks", method: http.MethodGet, script: retry, feature: hooks},
}

// base is the peer that the others are compared with: Resty without retries, or
// with its own where there is a retry.
func (s scenario) base() string {
	if len(s.script) > 1 {
		return ownName
	}
	return bareName
}

// cannot says why a peer has no part in a scenario, or "".
func (s scenario) cannot(p peer) string {
	if !p.retries && (len(s.script) > 1 || s.feature != plain) {
		return "no retries"
	}
	return p.lacks[s.feature]
}

// variant makes the operation of a scenario for a peer: one request, or one for
// each goroutine. Every operation is checked: the status, the length of the
// response, the number of attempts, the length of the body in each, and where it
// matters the host and the calls of the hooks.
func (s scenario) variant(p peer, w *world) variant {
	called := &atomic.Int64{}
	send := p.connect(setup{transport: w.transport(), feature: s.feature, urls: w.urls, called: called})
	j := &job{method: s.method, url: w.urls[0]}
	if s.body != nil {
		j.body = s.body
	}
	if s.parallel > 0 {
		return variant{p.name, func() error { return s.crowd(send, j, w) }}
	}
	return variant{p.name, func() error {
		since, before := w.count(), called.Load()
		err := check(send(j))
		if err == nil {
			err = w.verify(since, int64(len(s.body)), s.feature == urlList)
		}
		if hooked := called.Load() - before; err == nil && s.feature == hooks && hooked != p.hooked {
			err = fmt.Errorf("the hooks were called %d times, want %d", hooked, p.hooked)
		}
		if err != nil {
			w.restart()
		}
		return err
	}}
}

// check looks at what the client returned.
func check(a answer, err error) error {
	if err != nil {
		return err
	}
	if a.status != http.StatusOK || a.length != len(goodBody) {
		return fmt.Errorf("got status %d and %d bytes, want 200 and %d", a.status, a.length, len(goodBody))
	}
	return nil
}

// perWorker is how many requests each goroutine of a crowd sends, so that what
// it takes to start one does not count.
const perWorker = 16

// crowd sends requests from many goroutines at once.
func (s scenario) crowd(send sender, j *job, w *world) error {
	before := w.count()
	ends := make(chan error, s.parallel)
	for range s.parallel {
		go func() { ends <- sendMany(send, j) }()
	}
	var failed error
	for range s.parallel {
		failed = cmp.Or(failed, <-ends)
	}
	if got := w.count() - before; failed == nil && got != s.requests() {
		return fmt.Errorf("the origin saw %d attempts, want %d", got, s.requests())
	}
	return failed
}

func sendMany(send sender, j *job) error {
	for range perWorker {
		if err := check(send(j)); err != nil {
			return err
		}
	}
	return nil
}

// requests is how many an operation makes.
func (s scenario) requests() int64 { return int64(max(1, s.parallel*perWorker)) }

func (s scenario) cast(open opener) cast {
	return func() ([]variant, func(), error) { return s.variants(open) }
}

// variants makes one variant for each peer that can do the scenario, each with a
// world of its own. The peer that the others are compared with takes part in
// any case, without the feature that it lacks.
func (s scenario) variants(open opener) (all []variant, done func(), err error) {
	var worlds []*world
	done = func() {
		for _, w := range worlds {
			w.close()
		}
	}
	for _, p := range peers {
		own := s
		if s.cannot(p) != "" {
			if p.name != s.base() {
				continue
			}
			own.feature = plain
		}
		w, err := open(s.script...)
		if err != nil {
			done()
			return nil, nil, err
		}
		worlds = append(worlds, w)
		all = append(all, own.variant(p, w))
	}
	return all, done, nil
}

// section measures a scenario in memory and over loopback.
func (s scenario) section(e effort) (section, error) {
	memory, err := s.measure(e, "in memory")
	if err != nil {
		return section{}, err
	}
	wire, err := s.measure(e, "over loopback")
	if err != nil {
		return section{}, err
	}
	return s.report(memory, wire), nil
}

// results are the series of a scenario, by the names of the peers.
type results map[string]series

func (s scenario) measure(e effort, where string) (results, error) {
	all, err := e.measure(s.id + " " + where)
	if err != nil {
		return nil, err
	}
	found := results{}
	for _, one := range all[0] {
		found[one.Name] = one
	}
	return found, nil
}

// report makes the table of a scenario.
func (s scenario) report(memory, wire results) section {
	base := s.base()
	out := section{title: s.title, ahead: s.ahead(memory, wire)}
	if s.parallel > 0 {
		out.text = fmt.Sprintf("From %d goroutines at once, %d requests each; the figures are for one request.", s.parallel, perWorker)
	}
	out.table.Head = []string{"", "in memory", "× " + base, "bytes", "allocations", "loopback", "× " + base, "bytes", "allocations"}
	bars := &report.Bars{Title: s.title + ": time in memory", Unit: "µs"}
	for _, p := range peers {
		name, why := p.name, s.cannot(p)
		if why != "" && name == base {
			name, why = name+", without", ""
		}
		if why != "" {
			out.table.Add(name, why)
			continue
		}
		out.table.Add(append(append([]string{name}, s.cells(memory, p.name)...), s.cells(wire, p.name)...)...)
		if m := memory[p.name]; m.Failed == 0 {
			bars.Add(name, m.of(nanos).median/float64(s.requests())/1e3, p.name == ourName)
		}
	}
	if s.chart {
		out.chart = bars
	}
	if ours := memory[ourName]; s.maxBytes > 0 && ours.Failed == 0 {
		time, bytes := ours.over(memory[base], nanos), ours.over(memory[base], bytesOf).median
		out.bounds = []bound{{
			s.title + ", in memory, over " + base, fmt.Sprintf("× %.2f bytes, × %.2f time", s.maxBytes, s.maxTime),
			fmt.Sprintf("× %.3f bytes, × %s time", bytes, ratio(time)), bytes <= s.maxBytes && time.median <= s.maxTime,
		}}
	}
	return out
}

// cells are the four figures of a peer in one world, or what it does wrongly.
func (s scenario) cells(in results, name string) []string {
	m, each := in[name], float64(s.requests())
	if m.Failed > 0 {
		return []string{fmt.Sprintf("**fails** %d times in %d: %s", m.Failed, m.Runs, brief(errors.New(m.Err))), "", "", ""}
	}
	return []string{
		duration(m.of(nanos).median / each), ratio(m.over(in[s.base()], nanos)),
		size(m.of(bytesOf).median / each), fmt.Sprintf("%.0f", m.of(allocs).median/each),
	}
}

// ahead names the peers that are better than ours.
func (s scenario) ahead(memory, wire results) []string {
	list := ahead("time in memory", s.ratios(memory, nanos))
	list = append(list, ahead("time over loopback", s.ratios(wire, nanos))...)
	return append(list, ahead("bytes", s.ratios(memory, bytesOf))...)
}

// ratios are the figures of the peers that did the work right, over ours.
func (s scenario) ratios(in results, f field) map[string]estimate {
	found := map[string]estimate{}
	for _, p := range peers {
		if m, ok := in[p.name]; ok && m.Failed == 0 && s.cannot(p) == "" {
			found[p.name] = m.over(in[ourName], f)
		}
	}
	return found
}
