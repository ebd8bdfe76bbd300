package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"time"
)

// An uploadResult is one upload of a file, first answered by 503.
type uploadResult struct {
	peer     string
	peak     float64 // bytes of heap above what there was before
	received []int64 // by the server, per attempt
	status   int
	err      error
}

// measureUpload sends a file over loopback: *os.File is what every peer gets.
// The server reads each attempt to its end, then answers 503 the first time and
// 200 the second. The heap is sampled every millisecond, dead objects that the
// collector has not yet found included.
func measureUpload(p peer, path string) (uploadResult, error) {
	script := retry
	if !p.retries {
		script = okay
	}
	w, err := loopback(script...)
	if err != nil {
		return uploadResult{}, err
	}
	defer w.close()
	send := p.connect(setup{transport: w.transport()})
	j := &job{method: http.MethodPost, url: w.urls[0], open: func() (io.Reader, error) { return os.Open(path) }}
	runtime.GC()
	runtime.GC()
	before := heapNow()
	peak := watchHeap()
	a, err := send(j)
	result := uploadResult{peer: p.name, peak: max(peak()-before, 0), status: a.status, err: err}
	time.Sleep(50 * time.Millisecond) // for a server that still reads
	for _, a := range w.last(0) {
		result.received = append(result.received, a.received)
	}
	return result, nil
}

func heapNow() float64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return float64(s[0].Value.Uint64())
}

// watchHeap samples the heap until the function it returns is called, which
// returns the highest value.
func watchHeap() func() float64 {
	stop, highest := make(chan struct{}), make(chan float64)
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		peak := heapNow()
		for {
			select {
			case <-tick.C:
				peak = max(peak, heapNow())
			case <-stop:
				highest <- max(peak, heapNow())
				return
			}
		}
	}()
	return func() float64 {
		close(stop)
		return <-highest
	}
}

// sparseFile makes a file of the given size that takes no room on the disk.
func sparseFile(dir string, size int64) (string, error) {
	path := filepath.Join(dir, "upload")
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	return path, errors.Join(f.Truncate(size), f.Close())
}

// A bodyKind is how the body of an early-503 upload is given to the peer.
type bodyKind string

const (
	asBytes  bodyKind = "[]byte"
	asReader bodyKind = "*bytes.Reader"
	asFile   bodyKind = "*os.File"
)

var bodyKinds = []bodyKind{asBytes, asReader, asFile}

// An earlyResult counts how uploads ended whose first attempt was answered
// before it was read.
type earlyResult struct {
	peer                         string
	kind                         bodyKind
	intact, truncated, failed, n int
	err                          error // the first
}

// An earlyServer answers the first attempt of each upload with 503 as soon as it
// has the header, and goes on reading at its leisure: the client's transport is
// still sending when the second attempt begins. That one is compared byte by
// byte.
type earlyServer struct {
	want []byte

	mu     sync.Mutex
	seen   map[string]int
	intact map[string]bool
}

func (s *earlyServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.isFirst(r.URL.Path) {
		s.refuse(w, r)
		return
	}
	got, err := io.ReadAll(r.Body)
	s.mu.Lock()
	s.intact[r.URL.Path] = err == nil && bytes.Equal(got, s.want)
	s.mu.Unlock()
	w.Header()["Content-Type"] = plainText
	_, _ = w.Write(goodBody)
}

func (s *earlyServer) isFirst(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[path]++
	return s.seen[path] == 1
}

func (s *earlyServer) refuse(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex()
	w.Header()["Content-Type"] = plainText
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write(badBody)
	_ = control.Flush()
	for {
		if _, err := io.CopyN(io.Discard, r.Body, 512<<10); err != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// pattern is a body in which no two stretches of 64 KiB are alike at the same
// distance, so that a shifted one is noticed.
func pattern(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

// measureEarly makes n uploads, one after the other.
func measureEarly(p peer, kind bodyKind, n int, body []byte, path string) (earlyResult, error) {
	s := &earlyServer{want: body, seen: map[string]int{}, intact: map[string]bool{}}
	w, err := serve(&origin{script: okay}, s)
	if err != nil {
		return earlyResult{}, err
	}
	defer w.close()
	send := p.connect(setup{transport: w.transport()})
	result := earlyResult{peer: p.name, kind: kind, n: n}
	for i := range n {
		name := fmt.Sprintf("/work/%d", i)
		j := kind.job(body, path)
		j.url = strings.TrimSuffix(w.urls[0], "/work") + name
		a, err := send(j)
		s.mu.Lock()
		result.add(check(a, err), s.intact[name])
		s.mu.Unlock()
	}
	return result, nil
}

func (r *earlyResult) add(err error, intact bool) {
	switch {
	case err != nil:
		r.failed++
		if r.err == nil {
			r.err = err
		}
	case intact:
		r.intact++
	default:
		r.truncated++
	}
}

// job is an upload with a body of this kind.
func (k bodyKind) job(body []byte, path string) *job {
	j := &job{method: http.MethodPost}
	switch k {
	case asBytes:
		j.body = body
	case asReader:
		j.open = func() (io.Reader, error) { return bytes.NewReader(body), nil }
	case asFile:
		j.open = func() (io.Reader, error) { return os.Open(path) }
	}
	return j
}
