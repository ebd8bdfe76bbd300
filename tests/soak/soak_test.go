// Package soak sends many requests to a server that misbehaves at random.
package soak

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

var long = flag.Bool("soak", false, "run for longer")

// often returns n, or more with -soak.
func often(n, more int) int {
	if *long {
		return more
	}
	return n
}

// A server misbehaves at random, and counts what it gets.
type server struct {
	t     *testing.T
	mu    sync.Mutex
	seen  map[string]int
	texts map[string]string // that are to arrive
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := strings.TrimPrefix(r.URL.Path, "/")
	s.mu.Lock()
	s.seen[id]++
	want := s.texts[id]
	s.mu.Unlock()
	fault := rand.IntN(20)
	if fault < 4 {
		_, _ = io.CopyN(io.Discard, r.Body, int64(rand.IntN(5000)))
	}
	switch fault {
	case 0, 1:
		harness.HangUp(w, true)
		return
	case 2, 3:
		harness.AnswerEarly(w, r, http.StatusServiceUnavailable)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	exact := !strings.Contains(r.Header.Get("Content-Type"), "form") && body[0] != '{'
	if got := string(body); exact && got != want || !strings.Contains(got, want) {
		s.t.Errorf("request %s: got %d bytes, want %d", id, len(got), len(want))
	}
	w.Header().Set("Content-Type", "application/json")
	switch fault {
	case 4, 5, 6:
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintf(w, `{"text":"error of %s"}`, id)
	case 7, 8:
		w.Header().Set("Content-Length", "1000")
		fmt.Fprintf(w, `{"text":"cut off"`)
		_ = http.NewResponseController(w).Flush()
		harness.HangUp(w, false)
	case 9, 10:
		time.Sleep(rand.N(10 * time.Millisecond))
		fallthrough
	default:
		fmt.Fprintf(w, `{"text":%q}`, id)
	}
}

// send sends one request, and returns how many attempts it took.
func (s *server) send(c *harness.Client, bodies []harness.Body, n int) int {
	id := fmt.Sprint(n)
	text := strings.Repeat(id+".", 1+rand.IntN(100_000)/len(id)) // that no other request has
	s.mu.Lock()
	s.texts[id] = text
	s.mu.Unlock()
	body, raw := bodies[rand.IntN(len(bodies))], rand.IntN(2) == 0
	r := c.R().SetDoNotParseResponse(raw).SetResult(&harness.Document{}).SetError(&harness.Document{})
	body.Set(s.t, r, text)
	resp, err := r.Put("/" + id)
	want := restyretry.ReasonAttempts
	if err == nil && s.answered(resp, raw, id) {
		want = restyretry.ReasonSucceeded
	}
	history := restyretry.History(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := history[len(history)-1]; last.Reason != want || len(history) != s.seen[id] {
		s.t.Errorf("%s %s: got %s, %v; want it to end with %s, of %d requests", id, body.Name, harness.Story(history), err, want, s.seen[id])
	}
	delete(s.texts, id)
	return len(history)
}

// answered reports whether a response is a 200. It has to be that of the request,
// unless it is raw and cut off, which nobody but its reader can know.
func (s *server) answered(resp *resty.Response, raw bool, id string) bool {
	if resp.StatusCode() != http.StatusOK && !raw {
		return false
	}
	got := fmt.Sprint(resp.Result())
	if raw {
		text, err := io.ReadAll(resp.RawBody())
		_ = resp.RawBody().Close()
		if err != nil || resp.StatusCode() != http.StatusOK {
			return resp.StatusCode() == http.StatusOK
		}
		got = string(text)
	}
	if want := map[bool]string{true: fmt.Sprintf(`{"text":%q}`, id), false: fmt.Sprint(&harness.Document{Text: id})}[raw]; got != want {
		s.t.Errorf("%s: got the answer %q, want %q", id, got, want)
	}
	return true
}

// files makes files that are gone when they are closed. The plugin closes them.
func files(t *testing.T) harness.Body {
	directory := t.TempDir()
	var n atomic.Int64
	return harness.Body{Name: "file", Set: func(t testing.TB, r *resty.Request, text string) {
		path := filepath.Join(directory, fmt.Sprint(n.Add(1)))
		f, err := os.Create(path)
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(f, text)
		_, _ = f.Seek(0, io.SeekStart)
		_ = os.Remove(path)
		r.SetBody(f)
	}}
}

func openFiles() int {
	list, _ := os.ReadDir("/proc/self/fd")
	return len(list)
}

func TestAServerThatMisbehavesGetsTheRightBodiesAndGivesTheRightAnswers(t *testing.T) {
	requests := int64(often(400, 20_000))
	if r, w, err := os.Pipe(); err == nil { // the runtime opens files of its own the first time
		_, _ = r.Close(), w.Close()
	}
	before := openFiles()
	t.Cleanup(func() {
		for end := time.Now().Add(5 * time.Second); openFiles() > before; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("got %d open files, want %d", openFiles(), before)
			}
		}
	})
	harness.NoGoroutines(t)
	s := &server{t: t, seen: map[string]int{}, texts: map[string]string{}}
	c := harness.Serve(t, s, harness.Wait(0), harness.Attempts(5))
	bodies := slices.DeleteFunc(harness.Bodies(), func(b harness.Body) bool {
		return b.Of == harness.Nothing || strings.HasSuffix(b.Name, "File") // which stay open until the test ends
	})
	bodies = append(bodies, files(t))
	var next, attempts atomic.Int64
	var workers sync.WaitGroup
	for range 32 {
		workers.Go(func() {
			for n := next.Add(1); n <= requests; n = next.Add(1) {
				attempts.Add(int64(s.send(c, bodies, int(n))))
			}
		})
	}
	workers.Wait()
	harness.Equal(t, "attempts in Stats", int64(c.Plugin.Stats().Attempts), attempts.Load())
}

// The server answers before the transport has sent the body.
func TestLargeUploadsThatAreAnsweredEarlyArriveIntact(t *testing.T) {
	text := []byte(harness.Text(4 << 20))
	file := files(t)
	for name, set := range map[string]func(*resty.Request){
		"file":          func(r *resty.Request) { file.Set(t, r, string(text)) },
		"*bytes.Reader": func(r *resty.Request) { r.SetBody(bytes.NewReader(text)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests, intact int
			c := harness.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if requests++; requests%2 == 1 {
					harness.AnswerEarly(w, r, http.StatusServiceUnavailable)
				} else if got, err := io.ReadAll(r.Body); err == nil && bytes.Equal(got, text) {
					intact++
				}
			}), harness.Attempts(2))
			rounds := often(4, 400)
			for range rounds {
				requests = 0
				// An answer that comes so early may be lost with its connection.
				r := c.R()
				set(r)
				c.Do(t, r, "PUT", "/").WantStatus(t, 200)
			}
			harness.Equal(t, "intact uploads", intact, rounds)
		})
	}
}
