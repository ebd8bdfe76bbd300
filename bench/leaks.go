package main

import (
	"cmp"
	"fmt"
	"net/http"
	"runtime"
	"time"

	"github.com/restyretry/restyretry/bench/internal/report"
)

func leakSection(e effort) (section, error) {
	s := section{
		title: fmt.Sprintf("%d × (503, 200): connections and goroutines", e.leaks),
		text: "GET over loopback, one after the other. Connections made; of those, still open after the idle ones were closed; " +
			"goroutines that the client still has then. Raw: the body of the response is left to the caller, who reads and closes it; " +
			"the clients around net/http know only that.",
		table: report.Table{Head: []string{"", "response", "connections", "still open", "goroutines left", "failed"}},
	}
	connections := map[string]float64{}
	for _, p := range peers {
		if !p.retries {
			s.table.Add(p.name, "no retries")
			continue
		}
		for _, f := range []feature{plain, raw} {
			kind := "parsed"
			if f == raw {
				kind = "raw"
			} else if !p.parses {
				continue
			}
			r, err := measureLeaks(p, f, e.leaks)
			if err != nil {
				return s, err
			}
			connections[p.name] = max(connections[p.name], float64(r.connections))
			s.table.Add(p.name, kind, fmt.Sprint(r.connections), bold(int(r.open)), bold(r.goroutines), bold(r.failed))
		}
	}
	s.ahead = aheadBy("connections", connections)
	return s, nil
}

// A leakResult is what many requests of two attempts leave behind.
type leakResult struct {
	connections int64 // made
	open        int64 // when all is over and the idle ones are closed
	goroutines  int   // of the client, left
	failed      int
	err         error // the first
}

// measureLeaks sends n requests, one after the other, over loopback. Each is
// answered by 503 and then 200. Of the goroutines left, one for each open
// connection is the server's.
func measureLeaks(p peer, f feature, n int) (r leakResult, err error) {
	w, err := loopback(retry...)
	if err != nil {
		return r, err
	}
	defer w.close()
	settle()
	before := runtime.NumGoroutine()
	transport := w.transport().(*http.Transport)
	send := p.connect(setup{transport: transport, feature: f})
	j := &job{method: http.MethodGet, url: w.urls[0]}
	for range n {
		if err := check(send(j)); err != nil {
			r.failed++
			r.err = cmp.Or(r.err, err)
		}
	}
	transport.CloseIdleConnections()
	settle()
	r.connections, r.open = w.accepted.Load(), w.open.Load()
	r.goroutines = max(runtime.NumGoroutine()-before-int(r.open), 0)
	return r, nil
}

// settle gives goroutines that are about to end the time to do so.
func settle() {
	for last, same := -1, 0; same < 4; {
		time.Sleep(20 * time.Millisecond)
		now := runtime.NumGoroutine()
		if same++; now != last {
			last, same = now, 0
		}
	}
}
