package main

import (
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"time"
)

// A waitingResult is what each of many requests costs that wait for their
// second attempt.
type waitingResult struct {
	peer                     string
	heap, stacks, goroutines float64
	err                      error
}

// patientlyWaiting is measureWaiting with a longer wait where the machine was too
// busy to start all requests within the first.
func patientlyWaiting(p peer, n int, wait time.Duration) (r waitingResult) {
	for range 4 {
		if r = measureWaiting(p, n, wait); r.err == nil {
			break
		}
		wait *= 2
	}
	return r
}

// more is the heap above that of another.
func (r waitingResult) more(than waitingResult) string {
	if than.err != nil {
		return "not known"
	}
	return signed(r.heap-than.heap, 0) + " B"
}

// measureWaiting sends n requests at once over the in-memory transport. All get
// a 503 and wait. Half-way the live heap (after a collection), the stacks and
// the goroutines are counted, less what there was before. In the end all have
// to have got their 200.
func measureWaiting(p peer, n int, wait time.Duration) waitingResult {
	script := make([]int, 2*n)
	for i := range script {
		script[i] = http.StatusServiceUnavailable
		if i >= n {
			script[i] = http.StatusOK
		}
	}
	w := inMemory(script...)
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
	err := w.stillWaiting(n)
	for range n {
		if e := <-ends; e != nil {
			err = e
		}
	}
	each := during.minus(before, n)
	return waitingResult{p.name, each.heap, each.stacks, each.goroutines, err}
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

// stillWaiting checks that no second attempt has come yet.
func (w *world) stillWaiting(n int) error {
	if got := w.count(); got != int64(n) {
		return fmt.Errorf("%d attempts while all should wait, want %d", got, n)
	}
	return nil
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

func (p holding) minus(q holding, n int) holding {
	d := float64(n)
	return holding{(p.heap - q.heap) / d, (p.stacks - q.stacks) / d, (p.goroutines - q.goroutines) / d}
}
