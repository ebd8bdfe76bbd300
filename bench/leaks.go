package main

import (
	"net/http"
	"runtime"
	"time"
)

// A leakResult is what many requests of two attempts leave behind.
type leakResult struct {
	peer        string
	raw         bool
	connections int64 // made
	open        int64 // when all is over and the idle ones are closed
	goroutines  int   // of the client, left
	failed      int
	err         error // the first
}

// measureLeaks sends n requests, one after the other, over loopback. Each is
// answered by 503 and then 200. Of the goroutines left, one for each open
// connection is the server's.
func measureLeaks(p peer, isRaw bool, n int) (leakResult, error) {
	w, err := loopback(retry...)
	if err != nil {
		return leakResult{}, err
	}
	defer w.close()
	settle()
	before := runtime.NumGoroutine()
	transport := w.transport().(*http.Transport)
	s := setup{transport: transport}
	if isRaw {
		s.feature = raw
	}
	send := p.connect(s)
	j := &job{method: http.MethodGet, url: w.urls[0]}
	result := leakResult{peer: p.name, raw: isRaw}
	for range n {
		if err := check(send(j)); err != nil {
			result.failed++
			if result.err == nil {
				result.err = err
			}
		}
	}
	transport.CloseIdleConnections()
	settle()
	result.connections, result.open = w.accepted.Load(), w.open.Load()
	result.goroutines = max(runtime.NumGoroutine()-before-int(result.open), 0)
	return result, nil
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
