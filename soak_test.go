package restyretry_test

import (
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
)

var soak = flag.Bool("soak", false, "run the long soak tests")

// soakText is a body that no other request has, of characters that every
// encoding leaves alone.
func soakText(id, size int) string {
	var b strings.Builder
	for i := 0; b.Len() < size || i == 0; i++ {
		fmt.Fprintf(&b, "%d-%d.", id, i)
	}
	return b.String()
}

// A soakServer misbehaves at random, and counts what it gets.
type soakServer struct {
	mu    sync.Mutex
	seen  map[string]int
	texts map[string]string
	wrong []string
}

func (s *soakServer) expect(id, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.texts[id] = text
}

func (s *soakServer) count(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[id]
}

// check compares a body that has arrived in full.
func (s *soakServer) check(id, contentType, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.texts[id]
	exact := !strings.Contains(contentType, "form") && !strings.HasPrefix(body, `{"`)
	if exact && body != text || !strings.Contains(body, text) {
		s.wrong = append(s.wrong, fmt.Sprintf("request %s: got %d bytes of %q, want %d", id, len(body), contentType, len(text)))
	}
}

func (s *soakServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := strings.TrimPrefix(r.URL.Path, "/")
	s.mu.Lock()
	s.seen[id]++
	s.mu.Unlock()
	fault := rand.IntN(20)
	if fault < 4 {
		s.early(w, r, fault)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.check(id, r.Header.Get("Content-Type"), string(body))
	w.Header().Set("Content-Type", "application/json")
	switch fault {
	case 4, 5, 6:
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintf(w, `{"text":"error of %s","failed":true}`, id)
	case 7, 8:
		w.Header().Set("Content-Length", "1000")
		fmt.Fprintf(w, `{"text":"wrong"`)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case 9, 10:
		time.Sleep(rand.N(10 * time.Millisecond))
		fallthrough
	default:
		fmt.Fprintf(w, `{"text":%q}`, id)
	}
}

// early answers or hangs up before it has read the body.
func (s *soakServer) early(w http.ResponseWriter, r *http.Request, fault int) {
	_, _ = io.CopyN(io.Discard, r.Body, int64(rand.IntN(5000)))
	if fault < 2 {
		bodyReset(r)
		panic(http.ErrAbortHandler)
	}
	_ = http.NewResponseController(w).EnableFullDuplex()
	w.Header().Set("Connection", "close")
	w.WriteHeader(http.StatusServiceUnavailable)
}

type soakAnswer struct {
	Text   string `json:"text"`
	Failed bool   `json:"failed"`
}

// A soakRun sends requests until there have been enough.
type soakRun struct {
	server    *soakServer
	client    *resty.Client
	kinds     []bodyKind
	directory string
	attempts  atomic.Int64
	answered  atomic.Int64
}

func newSoakRun(t *testing.T, c *resty.Client, server *soakServer) *soakRun {
	kinds := slices.DeleteFunc(bodyKinds(), func(k bodyKind) bool {
		return k.name == "no body" || strings.Contains(k.name, "File") && !strings.Contains(k.name, "Reader") ||
			strings.HasSuffix(k.name, "a file") // they would stay open until the test ends
	})
	return &soakRun{server: server, client: c, kinds: kinds, directory: t.TempDir()}
}

func (run *soakRun) send(t *testing.T, n int) {
	id, text := fmt.Sprint(n), soakText(n, rand.IntN(100_000))
	run.server.expect(id, text)
	r, raw := run.client.R(), rand.IntN(2) == 0
	kind := "file"
	if i := rand.IntN(len(run.kinds) + 2); i < len(run.kinds) {
		kind = run.kinds[i].name
		run.kinds[i].set(t, r, text)
	} else {
		f := run.file(t, id, text)
		defer f.Close()
		r.SetBody(f)
	}
	r.SetDoNotParseResponse(raw).SetResult(&soakAnswer{}).SetError(&soakAnswer{})
	resp, err := r.Put("/" + id)
	history := restyretry.History(r)
	run.attempts.Add(int64(len(history)))
	if got, want := len(history), run.server.count(id); got != want {
		t.Errorf("%s %s: got %s (%v), the server counted %d", id, kind, summary(history), err, want)
	}
	want := restyretry.ReasonAttempts
	if err == nil && soakAnswered(t, resp, raw, id) {
		want = restyretry.ReasonSucceeded
		run.answered.Add(1)
	}
	if last := history[len(history)-1]; last.Reason != want {
		t.Errorf("%s %s: got %s: %v, want it to end with %s", id, kind, summary(history), err, want)
	}
	run.server.expect(id, "")
}

func (run *soakRun) file(t *testing.T, id, text string) *os.File {
	path := filepath.Join(run.directory, id)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(path)
	return f
}

// soakAnswered reports whether resp is a 200, which must be that of the request
// unless it is raw and cut.
func soakAnswered(t *testing.T, resp *resty.Response, raw bool, id string) bool {
	text := ""
	if raw {
		all, err := io.ReadAll(resp.RawBody())
		resp.RawBody().Close()
		if err != nil { // nobody but the reader can know that it is cut
			return resp.StatusCode() == http.StatusOK
		}
		text = string(all)
	}
	if resp.StatusCode() != http.StatusOK {
		return false
	}
	result, _ := resp.Result().(*soakAnswer)
	if raw && text != fmt.Sprintf(`{"text":%q}`, id) || !raw && (result == nil || *result != soakAnswer{Text: id}) {
		t.Errorf("%s: got %q, %+v; want the own answer", id, text, result)
	}
	return true
}

func soakFiles(t *testing.T) int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc/self/fd")
	}
	return len(list)
}

// soakSettled waits until there are as few open files as before.
func soakSettled(t *testing.T, before int) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); soakFiles(t) > before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("got %d open files, want %d", soakFiles(t), before)
		}
	}
}

func TestBodySoakOfAServerThatMisbehaves(t *testing.T) {
	requests, end := 1000, time.Now().Add(2*time.Minute)
	switch {
	case *soak:
		requests = 20_000
	case raceDetector:
		requests = 300 // it is slow
	}
	if r, w, err := os.Pipe(); err == nil { // the runtime opens files of its own the first time
		r.Close()
		w.Close()
	}
	files, goroutines := soakFiles(t), responseGoroutines(t)
	server := &soakServer{seen: map[string]int{}, texts: map[string]string{}}
	s, c := bodyServe(t, false, server)
	c.GetClient().Transport.(*http.Transport).MaxIdleConnsPerHost = 64
	plugin := install(t, c, constant(0), bodyAttempts(5))
	run := newSoakRun(t, c, server)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range 64 {
		workers.Go(func() {
			for n := int(next.Add(1)); n <= requests && time.Now().Before(end); n = int(next.Add(1)) {
				run.send(t, n)
			}
		})
	}
	workers.Wait()
	c.GetClient().CloseIdleConnections()
	s.Close()
	for _, wrong := range server.wrong {
		t.Error(wrong)
	}
	if got := plugin.Stats(); int64(got.Attempts) != run.attempts.Load() {
		t.Errorf("got %d attempts in Stats, %d in the histories", got.Attempts, run.attempts.Load())
	}
	t.Logf("%d requests, %d answered, %d attempts", requests, run.answered.Load(), run.attempts.Load())
	goroutines()
	soakSettled(t, files)
}
