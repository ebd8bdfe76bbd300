package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"time"

	"github.com/restyretry/restyretry/bench/internal/report"
)

// maxUploadHeap is what an upload of ours may need at most.
const maxUploadHeap = 5 << 20

func uploadSection(e effort) (section, error) {
	s := section{
		title: fmt.Sprintf("Upload of %s, 503 then 200", size(float64(e.upload))),
		text: "POST of an `*os.File` over loopback. The server reads each attempt to its end before it answers. Heap: the highest of " +
			"samples taken every millisecond, above what there was before, in the process that is also the server (which needs 32 KiB). " +
			"Without retries: one attempt.",
		table: report.Table{Head: []string{"", "peak heap", "attempts", "result"}},
		chart: &report.Bars{Title: "Peak heap of the upload", Unit: "MiB"},
	}
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
		verdict := r.verdict(e.upload)
		s.table.Add(p.name, size(r.peak), fmt.Sprint(len(r.received)), verdict)
		s.chart.Add(p.name, r.peak/(1<<20), p.name == ourName)
		if p.retries && verdict == "200" {
			peaks[p.name] = r.peak
		}
		if p.name == ourName {
			held := verdict == "200" && r.peak < maxUploadHeap
			s.bounds = []bound{{s.title + ": peak heap", size(maxUploadHeap), size(r.peak) + ", " + verdict, held}}
		}
	}
	s.ahead = aheadBy("peak heap", peaks)
	return s, nil
}

// An uploadResult is one upload of a file, first answered by 503.
type uploadResult struct {
	peak     float64 // bytes of heap above what there was before
	received []int64 // by the server, per attempt; -1: broken off
	status   int
	err      error
}

// measureUpload sends a file over loopback: *os.File is what every peer gets.
// The server reads each attempt to its end, then answers 503 the first time and
// 200 the second. The heap is sampled every millisecond, dead objects that the
// collector has not yet found included.
func measureUpload(p peer, path string) (r uploadResult, err error) {
	script := retry
	if !p.retries {
		script = okay
	}
	w, err := loopback(script...)
	if err != nil {
		return r, err
	}
	defer w.close()
	send := p.connect(setup{transport: w.transport()})
	f, err := os.Open(path)
	if err != nil {
		return r, err
	}
	runtime.GC()
	runtime.GC()
	before := heapNow()
	peak := watchHeap()
	a, err := send(&job{http.MethodPost, w.urls[0], f})
	r.peak, r.status, r.err = max(peak()-before, 0), a.status, err
	time.Sleep(50 * time.Millisecond) // for a server that still reads
	for _, a := range w.last(0) {
		r.received = append(r.received, a.received)
	}
	return r, nil
}

// verdict says how the upload of a file of that length ended.
func (r uploadResult) verdict(length int64) string {
	n := len(r.received)
	switch {
	case r.err != nil:
		return "**fails**: " + brief(r.err)
	case r.status != http.StatusOK || n == 0:
		return fmt.Sprintf("**wrong**: status %d after %d attempts", r.status, n)
	case r.received[n-1] != length:
		return fmt.Sprintf("**wrong**: 200 for a body of %s", size(float64(r.received[n-1])))
	default:
		return "200"
	}
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
		for peak := heapNow(); ; peak = max(peak, heapNow()) {
			select {
			case <-tick.C:
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
