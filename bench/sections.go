package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// An effort says how much of everything is done.
type effort struct {
	hot, memory, loopback plan
	waiting               int
	wait                  time.Duration
	upload                int64
	uploads, leaks        int
}

// shortBatch is short beside the time between two garbage collections, which is
// some milliseconds. With batches of 1 ms, of which every fifth or so meets one,
// two clients of the same kind differ by up to 30 % in a block.
const shortBatch = 200 * time.Microsecond

var fullEffort = effort{
	hot:      plan{batch: shortBatch, blocks: 60, block: 100 * time.Millisecond},
	memory:   plan{batch: shortBatch, blocks: 30, block: 150 * time.Millisecond},
	loopback: plan{batch: 3 * time.Millisecond, blocks: 20, block: 350 * time.Millisecond},
	waiting:  10_000, wait: 2 * time.Second,
	upload: 256 << 20, uploads: 20, leaks: 200,
}

var quickEffort = effort{
	hot:      plan{batch: shortBatch, blocks: 6, block: 40 * time.Millisecond},
	memory:   plan{batch: shortBatch, blocks: 6, block: 20 * time.Millisecond},
	loopback: plan{batch: time.Millisecond / 2, blocks: 6, block: 20 * time.Millisecond},
	waiting:  1000, wait: 400 * time.Millisecond,
	upload: 32 << 20, uploads: 1, leaks: 20,
}

// A part of the run makes one section.
type part struct {
	id  string
	run func(effort) (section, error)
}

// parts are all there is to run, in the order of the report.
func parts() []part {
	all := []part{{"hotpath", hotPathSection}}
	for _, s := range scenarios {
		all = append(all, part{s.id, s.section})
	}
	return append(all, part{"waiting", waitingSection}, part{"upload", uploadSection},
		part{"early", earlySection}, part{"leaks", leakSection})
}

func hotPathSection(e effort) (section, error) {
	s := section{id: "hotpath", title: "Hot path", text: "In memory, a GET where nothing else is said, each line measured in pairs: what it costs more than the " +
		"other side. The first line has clients of the same kind on both sides: it shows the error of the measurement. " +
		"A context of the user's is on both sides; for options of one request only the plugin has a context, which carries " +
		"them. The target is the most that it is meant to cost. With a context Resty alone copies the raw request of each attempt " +
		"(320 bytes); the plugin spares it that."}
	s.table.head = []string{"what", "against", "time", "more ns", "more %", "more allocations", "more bytes", "target"}
	for _, h := range hotPaths {
		pair, err := measure(h.variants, e.hot)
		if err != nil {
			return s, err
		}
		base, own := pair[0], pair[1]
		if base.failed+own.failed > 0 {
			return s, fmt.Errorf("%s: %w, %w", h.name, base.err, own.err)
		}
		s.table.add(h.name, h.base, duration(own.of(nanos).median), difference(own.minus(base, nanos), 0),
			percent(own.over(base, nanos)), signed(own.minus(base, allocs).median, 1),
			signed(own.minus(base, bytesOf).median, 0), h.target)
	}
	return s, nil
}

// section measures a scenario in both worlds.
func (s scenario) section(e effort) (section, error) {
	in := func(p plan, newWorld func(...int) (*world, error)) (map[string]series, error) {
		all, err := measure(func() ([]variant, func(), error) { return s.variants(newWorld) }, p)
		found := map[string]series{}
		for _, one := range all {
			found[one.name] = one
		}
		return found, err
	}
	memory, err := in(e.memory, func(script ...int) (*world, error) { return inMemory(script...), nil })
	if err != nil {
		return section{}, err
	}
	wire, err := in(e.loopback, loopback)
	if err != nil {
		return section{}, err
	}
	return s.report(memory, wire), nil
}

// variants makes one variant for each peer that can do the scenario, each with a
// world of its own. The peer that the others are compared with takes part in
// any case, without the feature that it lacks.
func (s scenario) variants(newWorld func(...int) (*world, error)) (all []variant, done func(), err error) {
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
		w, err := newWorld(s.script...)
		if err != nil {
			return nil, done, err
		}
		worlds = append(worlds, w)
		all = append(all, own.variant(p, w))
	}
	return all, done, nil
}

// report makes the table of a scenario.
func (s scenario) report(memory, wire map[string]series) section {
	base := s.base()
	out := section{id: s.id, title: s.title, ahead: s.ahead(memory, wire)}
	if s.parallel > 0 {
		out.text = fmt.Sprintf("From %d goroutines at once, %d requests each; the figures are for one request.", s.parallel, perWorker)
	}
	out.table.head = []string{
		"", "in memory", "× " + base, "bytes", "allocations",
		"loopback", "× " + base, "bytes", "allocations",
	}
	bars := &chart{title: s.title + ": time in memory", unit: "µs"}
	for _, p := range peers {
		name := p.name
		why := s.cannot(p)
		if why != "" && p.name == base {
			name, why = name+", without", ""
		}
		if why != "" {
			out.table.add(name, why, "", "", "", "", "", "", "")
			continue
		}
		out.table.add(append([]string{name}, append(s.cells(memory, p.name), s.cells(wire, p.name)...)...)...)
		if m := memory[p.name]; m.failed == 0 {
			bars.add(name, m.of(nanos).median/float64(s.requests())/1e3, p.name == ourName)
		}
	}
	if s.id == "get" || s.id == "retry" || s.id == "post-retry" {
		out.chart = bars
	}
	return out
}

// cells are the four figures of a peer in one world, or what it does wrongly.
func (s scenario) cells(in map[string]series, name string) []string {
	m, each := in[name], float64(s.requests())
	if m.failed > 0 {
		return []string{fmt.Sprintf("**fails** %d times in %d: %s", m.failed, m.runs, brief(m.err)), "", "", ""}
	}
	return []string{
		duration(m.of(nanos).median / each), ratio(m.over(in[s.base()], nanos)),
		size(m.of(bytesOf).median / each), fmt.Sprintf("%.0f", m.of(allocs).median/each),
	}
}

// ahead names the peers that are better than ours.
func (s scenario) ahead(memory, wire map[string]series) (list []string) {
	for _, figure := range []struct {
		what string
		in   map[string]series
		of   field
	}{{"time in memory", memory, nanos}, {"time over loopback", wire, nanos}, {"bytes", memory, bytesOf}} {
		var names []string
		for _, p := range peers {
			m, ok := figure.in[p.name]
			if !ok || m.failed > 0 || s.cannot(p) != "" || p.name == ourName {
				continue
			}
			if r := m.over(figure.in[ourName], figure.of); r.high < 0.97 {
				names = append(names, fmt.Sprintf("%s %s %%", p.name, signed(100*(r.median-1), 0)))
			}
		}
		if len(names) > 0 {
			list = append(list, figure.what+": "+strings.Join(names, ", "))
		}
	}
	return list
}

// less lists the peers whose figure is below 97 % of ours.
func less(what string, figures map[string]float64) []string {
	var names []string
	for _, p := range peers {
		if v, ok := figures[p.name]; ok && v < 0.97*figures[ourName] {
			names = append(names, fmt.Sprintf("%s %s %%", p.name, signed(100*(v/figures[ourName]-1), 0)))
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []string{what + ": " + strings.Join(names, ", ")}
}

func waitingSection(e effort) (section, error) {
	s := section{
		id: "waiting", title: fmt.Sprintf("%d requests waiting", e.waiting),
		text: "In memory, after a 503, per request and above what there was before: live heap after a collection, stacks, goroutines " +
			"(one is the caller's own). All of them get their 200 afterwards, which is checked. At most 100 B more than Resty's own is the target.",
		chart: &chart{title: "A waiting request: heap and stack", unit: "bytes"},
	}
	s.table.head = []string{"", "heap", "stacks", "heap, more than " + ownName, "goroutines"}
	results, totals := map[string]waitingResult{}, map[string]float64{}
	for _, i := range rand.Perm(len(peers)) {
		if p := peers[i]; p.retries {
			results[p.name] = patientlyWaiting(p, e.waiting, e.wait)
		}
	}
	for _, p := range peers {
		r, ok := results[p.name]
		switch {
		case !ok:
			s.table.add(p.name, "no retries", "", "", "")
		case r.err != nil:
			s.table.add(p.name, "**fails**: "+brief(r.err), "", "", "")
		default:
			s.table.add(p.name, size(r.heap), size(r.stacks), r.more(results[ownName]), fmt.Sprintf("%.2f", r.goroutines))
			totals[p.name] = r.heap + r.stacks
			s.chart.add(p.name, r.heap+r.stacks, p.name == ourName)
		}
	}
	s.ahead = less("heap and stacks", totals)
	return s, nil
}

func uploadSection(e effort) (section, error) {
	s := section{
		id: "upload", title: fmt.Sprintf("Upload of %s, 503 then 200", size(float64(e.upload))),
		text: "POST of an `*os.File` over loopback. The server reads each attempt to its end before it answers. Heap: the highest of " +
			"samples taken every millisecond, above what there was before, in the process that is also the server (which needs 32 KiB). " +
			"Without retries: one attempt.",
		chart: &chart{title: "Peak heap of the upload", unit: "MiB"},
	}
	s.table.head = []string{"", "peak heap", "received per attempt", "result"}
	dir, err := os.MkdirTemp("", "upload")
	if err != nil {
		return s, err
	}
	defer os.RemoveAll(dir)
	path, err := sparseFile(dir, e.upload)
	if err != nil {
		return s, err
	}
	peaks := map[string]float64{}
	for _, p := range peers {
		r, err := measureUpload(p, path)
		if err != nil {
			return s, err
		}
		verdict := r.verdict(p, e.upload)
		s.table.add(p.name, size(r.peak), r.attempts(), verdict)
		s.chart.add(p.name, r.peak/(1<<20), p.name == ourName)
		if p.retries && verdict == "200" {
			peaks[p.name] = r.peak
		}
	}
	s.ahead = less("peak heap", peaks)
	return s, nil
}

// attempts is what the server received.
func (r uploadResult) attempts() string {
	var list []string
	for _, n := range r.received {
		if n < 0 {
			list = append(list, "broken off")
			continue
		}
		list = append(list, size(float64(n)))
	}
	return strings.Join(list, ", ")
}

func (r uploadResult) verdict(p peer, length int64) string {
	want := 1
	if p.retries {
		want = 2
	}
	switch {
	case r.err != nil:
		return "**fails**: " + brief(r.err)
	case r.status != http.StatusOK || len(r.received) != want:
		return fmt.Sprintf("**wrong**: status %d after %d attempts", r.status, len(r.received))
	case r.received[want-1] != length:
		return fmt.Sprintf("**wrong**: 200 for a body of %s", size(float64(r.received[want-1])))
	default:
		return "200"
	}
}

// earlySize is the length of the bodies that are refused early.
const earlySize = 8 << 20

func earlySection(e effort) (section, error) {
	s := section{
		id: "early", title: "503 before the body has been read",
		text: fmt.Sprintf("%d uploads of 8 MiB over loopback for each kind of body, one after the other. The server answers the first "+
			"attempt at once and goes on reading at its leisure, so the transport is still sending when the second attempt begins, which "+
			"the server compares byte by byte. Intact: 200 for the whole body. Truncated: 200 for another body. Failed: an error, or not 200.", e.uploads),
	}
	s.table.head = []string{"", "body given as", "intact", "truncated", "failed", "first error"}
	body := pattern(earlySize)
	dir, err := os.MkdirTemp("", "early")
	if err != nil {
		return s, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "body")
	if err := os.WriteFile(path, body, 0o600); err != nil {
		return s, err
	}
	for _, p := range peers {
		if !p.retries {
			s.table.add(p.name, "no retries", "", "", "", "")
			continue
		}
		for _, kind := range bodyKinds {
			r, err := measureEarly(p, kind, e.uploads, body, path)
			if err != nil {
				return s, err
			}
			first := ""
			if r.err != nil {
				first = brief(r.err)
			}
			s.table.add(p.name, "`"+string(kind)+"`", fmt.Sprint(r.intact), bold(r.truncated), bold(r.failed), first)
		}
	}
	return s, nil
}

// bold stresses what is not zero.
func bold(n int) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("**%d**", n)
}

func leakSection(e effort) (section, error) {
	s := section{
		id: "leaks", title: fmt.Sprintf("%d × (503, 200): connections and goroutines", e.leaks),
		text: "GET over loopback, one after the other. Connections made; of those, still open after the idle ones were closed; " +
			"goroutines that the client still has then. Raw: the body of the response is left to the caller, who reads and closes it; " +
			"the clients around net/http know only that.",
	}
	s.table.head = []string{"", "response", "connections", "still open", "goroutines left", "failed"}
	connections := map[string]float64{}
	for _, p := range peers {
		if !p.retries {
			s.table.add(p.name, "no retries", "", "", "", "")
			continue
		}
		for _, isRaw := range []bool{false, true} {
			kind := "parsed"
			if isRaw {
				kind = "raw"
			}
			if !isRaw && !p.parses {
				continue
			}
			r, err := measureLeaks(p, isRaw, e.leaks)
			if err != nil {
				return s, err
			}
			connections[p.name] = max(connections[p.name], float64(r.connections))
			s.table.add(p.name, kind, fmt.Sprint(r.connections), bold(int(r.open)), bold(r.goroutines), bold(r.failed))
		}
	}
	s.ahead = less("connections", connections)
	return s, nil
}
