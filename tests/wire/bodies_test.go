// Package wire tests what needs net/http on both sides, over pipes in a bubble, or
// over sockets where they matter.
package wire

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

// received is what a server has got of the bodies of its requests.
type received struct {
	mu     sync.Mutex
	whole  []string // as harness.Canonical has them
	broken int
}

// read reads the whole of a body.
func (g *received) read(r *http.Request) {
	text, err := io.ReadAll(r.Body)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.broken++
		return
	}
	g.whole = append(g.whole, harness.Canonical(r.Header, string(text)))
}

// want wants n bodies that have arrived in full, each equal to want.
func (g *received) want(t *testing.T, n int, want string) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	harness.Equal(t, "whole bodies", len(g.whole), n)
	for i, got := range g.whole {
		harness.SameText(t, fmt.Sprintf("body %d", i+1), got, want)
	}
}

// typical are bodies that net/http sends in different ways.
func typical() []harness.Body {
	names := []string{"string", "[]byte", "*os.File", "reader", "pipe", "SetFileReader, one-shot"}
	return slices.DeleteFunc(harness.Bodies(), func(b harness.Body) bool { return !slices.Contains(names, b.Name) })
}

func TestTheBodyArrivesInFullAfterAnAttemptThatIsCutOff(t *testing.T) {
	t.Parallel()
	text := harness.Text(200 << 10)
	const inPart = "answered in part"
	faults := map[string]func(*received, http.ResponseWriter, *http.Request){
		"answered early": func(_ *received, w http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadFull(r.Body, make([]byte, 4))
			harness.AnswerEarly(w, r, 503)
		},
		"reset": func(_ *received, w http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadFull(r.Body, make([]byte, 4))
			harness.Reset(w, r)
		},
		inPart: func(got *received, w http.ResponseWriter, r *http.Request) {
			got.read(r)
			_, _ = io.WriteString(w, "part")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
	}
	harness.BothProtocols(t, func(t *testing.T, serve func(testing.TB, http.Handler, ...harness.Option) *harness.Client) {
		for _, body := range harness.Bodies() {
			t.Run(body.Name, func(t *testing.T) {
				var got received
				text := text[:20<<10]
				c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					got.read(r)
					w.WriteHeader([]int{503, 200}[len(got.whole)-1])
				}))
				r := c.R()
				body.Set(t, r, text)
				c.Do(t, r, "PUT", "/").Want(t, "503 status 1ms | 200 succeeded")
				got.want(t, 2, body.Plain(t, text))
			})
		}
		for name, fault := range faults {
			for _, body := range typical() {
				for _, limit := range []int64{1 << 20, 64 << 10} {
					if limit < int64(len(text)) && body.Of != harness.OneShot {
						continue
					}
					t.Run(fmt.Sprintf("%s, %s, MaxReplay %d", body.Name, name, limit), func(t *testing.T) {
						var got received
						var n atomic.Int32
						c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
							if n.Add(1) == 1 {
								fault(&got, w, r)
								return
							}
							got.read(r)
						}), harness.MaxReplay(limit))
						r := c.R()
						body.Set(t, r, text)
						call := c.Do(t, r, "PUT", "/")
						whole := 2
						if last := call.History[len(call.History)-1]; limit < int64(len(text)) && last.Reason != restyretry.ReasonSucceeded {
							whole = 1 // net/http had read more than can be sent again, in the attempt or after it
						} else {
							call.WantStatus(t, 200)
						}
						if name != inPart {
							whole--
						}
						got.want(t, whole, body.Plain(t, text))
					})
				}
			}
		}
	})
}

func TestNoServerGetsABodyInFullWhoseReaderFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is broken")
	harness.BothProtocols(t, func(t *testing.T, serve func(testing.TB, http.Handler, ...harness.Option) *harness.Client) {
		var got received
		c := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got.read(r) }),
			func(o *restyretry.Options) { o.Errors = func(error) bool { return true } })
		c.Do(t, c.R().SetBody(io.MultiReader(strings.NewReader("hello"), iotest.ErrReader(broken))), "PUT", "/").
			Want(t, "error body", broken)
		got.want(t, 0, "")
	})
}

// A redirect with 307 or 308 sends the body once more within one attempt.
func TestABodyFollowsRedirectsThatAreAnsweredEarly(t *testing.T) {
	t.Parallel()
	text := harness.Text(600 << 10)
	for _, status := range []int{307, 308} {
		var got *received
		c := harness.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/":
				w.Header().Set("Location", "/again")
				harness.AnswerEarly(w, r, status)
			case "/again":
				w.Header().Set("Location", "/moved")
				harness.AnswerEarly(w, r, status)
			default:
				got.read(r)
				w.WriteHeader([]int{503, 503, 200}[len(got.whole)-1])
			}
		}), harness.Attempts(20)) // an answer that comes so early may be lost with its connection
		for _, body := range typical() {
			t.Run(fmt.Sprintf("%s, %d", body.Name, status), func(t *testing.T) {
				got = new(received)
				r := c.R()
				body.Set(t, r, text)
				c.Do(t, r, "PUT", "/").WantStatus(t, 200)
				got.want(t, 3, body.Plain(t, text))
			})
		}
	}
}

// A server that streams its answer while it still reads gets what the caller gave,
// and the caller can use the memory for something else.
func TestMemoryMayBeOverwrittenWhileAServerStreamsItsAnswer(t *testing.T) {
	t.Parallel()
	const size = 2 << 20 // more than HTTP/2 sends ahead
	text := harness.Text(size)
	want := fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
	harness.BothProtocols(t, func(t *testing.T, serve func(testing.TB, http.Handler, ...harness.Option) *harness.Client) {
		var n atomic.Int32
		overwritten := make(chan struct{}, 1)
		c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1)%2 == 1 {
				harness.AnswerEarly(w, r, 503)
				return
			}
			_ = http.NewResponseController(w).EnableFullDuplex()
			_ = http.NewResponseController(w).Flush()
			<-overwritten
			hash := sha256.New()
			_, err := io.Copy(hash, r.Body)
			fmt.Fprintf(w, "%x %v", hash.Sum(nil), err)
		}))
		for name, wrap := range map[string]func([]byte) any{
			"[]byte":        func(text []byte) any { return text },
			"*bytes.Buffer": func(text []byte) any { return bytes.NewBuffer(text) },
			"*bytes.Reader": func(text []byte) any { return bytes.NewReader(text) },
		} {
			t.Run(name, func(t *testing.T) {
				memory := []byte(text)
				call := c.Do(t, c.R().SetBody(wrap(memory)).SetDoNotParseResponse(true), "PUT", "/").WantStatus(t, 200)
				clear(memory)
				overwritten <- struct{}{}
				got, err := io.ReadAll(call.Response.RawBody())
				harness.Equal(t, "sum and error", string(got), want+" <nil>")
				harness.Equal(t, "error", errors.Join(err, call.Response.RawBody().Close()), nil)
			})
		}
	})
}

func TestASparseFileIsStreamed(t *testing.T) {
	const size = 64 << 20
	f := harness.File(t, "")
	if err := os.Truncate(f.Name(), size); err != nil {
		t.Fatal(err)
	}
	_, _ = f.Seek(0, io.SeekStart)
	var lengths []int64
	buffer := make([]byte, 64<<10)
	c := harness.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r.Body, buffer)
		lengths = append(lengths, n, r.ContentLength)
		w.WriteHeader([]int{503, 200}[len(lengths)/2-1])
	}))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	c.Do(t, c.R().SetBody(f), "PUT", "/").WantStatus(t, 200)
	runtime.ReadMemStats(&after)
	harness.Equal(t, "lengths", fmt.Sprint(lengths), fmt.Sprint([]int64{size, size, size, size}))
	if got := after.TotalAlloc - before.TotalAlloc; got > 5<<20 {
		t.Errorf("got %d bytes allocated, want 5 MiB at most", got)
	}
}

func TestUploadsLeaveNoDescriptors(t *testing.T) {
	harness.NoGoroutines(t)
	refused := func(c *harness.Client) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		c.SetBaseURL("http://" + l.Addr().String())
	}
	for _, tt := range []struct {
		name, method string
		serve        func(testing.TB, http.Handler, ...harness.Option) *harness.Client
		early, retry bool
		set          func(*harness.Client)
		cancelled    bool
	}{
		{name: "read, retried", method: "PUT", serve: harness.Serve, retry: true},
		{name: "read, HTTP/2", method: "PUT", serve: harness.ServeHTTP2},
		{name: "early, retried", method: "PUT", serve: harness.Serve, early: true, retry: true},
		{name: "early, HTTP/2", method: "PUT", serve: harness.ServeHTTP2, early: true},
		{name: "refused", method: "POST", serve: harness.Serve, set: refused},
		{name: "timed out", method: "POST", serve: harness.Serve, set: func(c *harness.Client) { c.SetTimeout(time.Millisecond) }},
		{name: "cancelled", method: "PUT", serve: harness.Serve, cancelled: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := harness.File(t, harness.Text(1<<20)).Name()
			before := harness.Descriptors(t, path)
			var n atomic.Int32
			c := tt.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				status := 200
				if tt.retry && n.Add(1)%2 == 1 {
					status = 503
				}
				if tt.early {
					harness.AnswerEarly(w, r, status)
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(status)
			}))
			if tt.set != nil {
				tt.set(c)
			}
			var files []*os.File // or the collector closes them
			for range 20 {
				f, err := os.Open(path)
				if err != nil {
					t.Fatal(err)
				}
				files = append(files, f)
				ctx, cancel := context.WithCancel(t.Context())
				if tt.cancelled {
					cancel()
				}
				_, _ = c.R().SetContext(ctx).SetBody(f).Execute(tt.method, "/") // may fail, for the server closes the connection
				cancel()
			}
			for end := time.Now().Add(5 * time.Second); harness.Descriptors(t, path) > before; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("got %d descriptors of the file, want %d", harness.Descriptors(t, path), before)
				}
			}
			runtime.KeepAlive(files)
		})
	}
}
