package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/restyretry/restyretry/bench/internal/report"
)

func earlySection(e effort) (section, error) {
	const length = 8 << 20
	s := section{
		title: "503 before the body has been read",
		text: fmt.Sprintf("%d uploads of %s over loopback for each kind of body, one after the other. The server answers the first "+
			"attempt at once and goes on reading at its leisure, so the transport is still sending when the second attempt begins, which "+
			"the server compares byte by byte. Intact: 200 for the whole body. Truncated: 200 for another body. Failed: an error, or not 200.",
			e.uploads, size(length)),
		table: report.Table{Head: []string{"", "body given as", "intact", "truncated", "failed", "first error"}},
	}
	body := pattern(length)
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
			s.table.Add(p.name, "no retries")
			continue
		}
		intact, n := 0, 0
		for _, kind := range bodyKinds {
			r, err := measureEarly(p, kind, e.uploads, body, path)
			if err != nil {
				return s, err
			}
			first := ""
			if r.err != nil {
				first = brief(r.err)
			}
			s.table.Add(p.name, "`"+kind+"`", fmt.Sprint(r.intact), bold(r.truncated), bold(r.failed), first)
			intact, n = intact+r.intact, n+e.uploads
		}
		if p.name == ourName {
			s.bounds = []bound{{s.title + ": intact uploads", fmt.Sprintf("%d of %d", n, n), fmt.Sprintf("%d of %d", intact, n), intact == n}}
		}
	}
	return s, nil
}

// bodyKinds are the ways in which a body is given to the peers.
var bodyKinds = []string{"[]byte", "*bytes.Reader", "*os.File"}

// given is a body of that kind.
func given(kind string, body []byte, path string) (any, error) {
	switch kind {
	case "*os.File":
		return os.Open(path)
	case "*bytes.Reader":
		return bytes.NewReader(body), nil
	default:
		return body, nil
	}
}

// An earlyResult counts how uploads ended whose first attempt was answered
// before it was read.
type earlyResult struct {
	intact, truncated, failed int
	err                       error // the first
}

func (r *earlyResult) add(err error, intact bool) {
	switch {
	case err != nil:
		r.failed++
		r.err = cmp.Or(r.err, err)
	case intact:
		r.intact++
	default:
		r.truncated++
	}
}

// measureEarly makes n uploads, one after the other.
func measureEarly(p peer, kind string, n int, body []byte, path string) (r earlyResult, err error) {
	s := &earlyServer{want: body}
	w, err := serve(&origin{script: okay}, s)
	if err != nil {
		return r, err
	}
	defer w.close()
	send := p.connect(setup{transport: w.transport()})
	for i := range n {
		name := fmt.Sprintf("/work/%d", i)
		b, err := given(kind, body, path)
		if err != nil {
			return r, err
		}
		a, err := send(&job{http.MethodPost, strings.TrimSuffix(w.urls[0], "/work") + name, b})
		arrived, _ := s.intact.Load(name)
		r.add(check(a, err), arrived == true)
	}
	return r, nil
}

// An earlyServer answers the first attempt of each upload with 503 as soon as it
// has the header, and goes on reading at its leisure: the client's transport is
// still sending when the second attempt begins. That one is compared byte by
// byte.
type earlyServer struct {
	want   []byte
	intact sync.Map // of each path that was seen: whether its body has arrived
}

func (s *earlyServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, again := s.intact.LoadOrStore(r.URL.Path, false); !again {
		refuse(w, r)
		return
	}
	got, err := io.ReadAll(r.Body)
	s.intact.Store(r.URL.Path, err == nil && bytes.Equal(got, s.want))
	w.Header()["Content-Type"] = plainText
	_, _ = w.Write(goodBody)
}

func refuse(w http.ResponseWriter, r *http.Request) {
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
