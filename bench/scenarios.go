package main

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"sync/atomic"
)

// A scenario is the same work for every peer.
type scenario struct {
	id, title string
	method    string
	body      []byte
	script    []int // the statuses of the attempts of one request
	feature   feature
	parallel  int // goroutines that send at once, each perWorker requests; 0: one request
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
	{id: "get", title: "GET, 200", method: http.MethodGet, script: okay},
	{id: "retry", title: "GET, 503 then 200", method: http.MethodGet, script: retry},
	{id: "post", title: "POST 1 KiB, 200", method: http.MethodPost, body: small, script: okay},
	{id: "post-retry", title: "POST 1 MiB, 503 then 200", method: http.MethodPost, body: large, script: retry},
	{id: "parallel", title: "Parallel GET, 200", method: http.MethodGet, script: okay, parallel: 8},
	{id: "options-each", title: "GET, 200, options of its own made for each request", method: http.MethodGet, script: okay, feature: optionsEach},
	{id: "options-once", title: "GET, 200, options of its own made once", method: http.MethodGet, script: okay, feature: optionsOnce},
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
	j := &job{method: s.method, url: w.urls[0], body: s.body}
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

// peerNamed finds a peer.
func peerNamed(name string) peer {
	for _, p := range peers {
		if p.name == name {
			return p
		}
	}
	panic("no peer " + name)
}
