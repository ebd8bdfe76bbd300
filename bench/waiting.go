package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/restyretry/restyretry/bench/internal/report"
)

func waitingSection(e effort) (section, error) {
	s := section{
		title: fmt.Sprintf("%d requests waiting", e.waiting),
		text: "In memory, after a 503, per request and above what there was before: live heap after a collection, stacks, goroutines " +
			"(one is the caller's own). All of them get their 200 afterwards, which is checked.",
		table: report.Table{Head: []string{"", "heap", "stacks", "goroutines"}},
		chart: &report.Bars{Title: "A waiting request: heap and stack", Unit: "bytes"},
	}
	held, errs, totals := map[string]holding{}, map[string]error{}, map[string]float64{}
	for _, i := range rand.Perm(len(peers)) {
		p := peers[i]
		for wait := e.wait; p.retries && wait <= 8*e.wait; wait *= 2 { // a busy machine needs longer to start them all
			if held[p.name], errs[p.name] = measureWaiting(p, e.waiting, wait); errs[p.name] == nil {
				break
			}
		}
	}
	for _, p := range peers {
		h, err := held[p.name], errs[p.name]
		switch {
		case !p.retries:
			s.table.Add(p.name, "no retries")
		case err != nil:
			s.table.Add(p.name, "**fails**: "+brief(err))
		default:
			s.table.Add(p.name, size(h.heap), size(h.stacks), fmt.Sprintf("%.2f", h.goroutines))
			totals[p.name] = h.heap + h.stacks
			s.chart.Add(p.name, totals[p.name], p.name == ourName)
		}
	}
	s.ahead = aheadBy("heap and stacks", totals)
	return s, nil
}

// measureWaiting sends n requests at once over the in-memory transport. All get
// a 503 and wait. Half-way it finds what each of them holds. In the end all have
// to have got their 200.
func measureWaiting(p peer, n int, wait time.Duration) (holding, error) {
	script := make([]int, 2*n)
	for i := range script {
		script[i] = retry[i/n]
	}
	w, err := inMemory(script...)
	if err != nil {
		return holding{}, err
	}
	send := p.connect(setup{transport: w.transport(), wait: wait})
	j := &job{method: http.MethodGet, url: w.urls[0]}
	ends := make(chan error, n)
	warmUp(n)
	before := footprint()
	for range n {
		go func() { ends <- check(send(j)) }()
	}
	for w.count() < int64(n) {
		time.Sleep(wait / 50)
	}
	time.Sleep(wait / 4)
	during := footprint()
	if got := w.count(); got != int64(n) {
		err = fmt.Errorf("%d attempts while all should wait, want %d", got, n)
	}
	for range n {
		if e := <-ends; e != nil {
			err = e
		}
	}
	return during.minus(before, n), err
}

// warmUp lets the runtime make its records of n goroutines, which it keeps for
// later ones: else the first peer would pay for them.
func warmUp(n int) {
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range n {
		all.Go(func() { <-stop })
	}
	close(stop)
	all.Wait()
}

// A holding is what a process holds.
type holding struct{ heap, stacks, goroutines float64 }

func footprint() holding {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return holding{float64(m.HeapAlloc), float64(m.StackInuse), float64(runtime.NumGoroutine())}
}

// minus is what each of n requests holds, given what there was before.
func (h holding) minus(before holding, n int) holding {
	d := float64(n)
	return holding{(h.heap - before.heap) / d, (h.stacks - before.stacks) / d, (h.goroutines - before.goroutines) / d}
}
