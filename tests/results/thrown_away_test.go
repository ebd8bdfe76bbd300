package results

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

// A counted body counts how many are open.
type counted struct {
	io.Reader
	open   *atomic.Int32
	closed atomic.Bool
}

func (b *counted) Close() error {
	if b.closed.CompareAndSwap(false, true) {
		b.open.Add(-1)
	}
	return nil
}

// counting answers with these statuses and bodies that are counted.
func counting(open *atomic.Int32, body string, statuses ...int) harness.Script {
	return func(n int, r *http.Request) (*http.Response, error) {
		open.Add(1)
		return &http.Response{
			StatusCode: statuses[min(n, len(statuses))-1], Request: r, ContentLength: -1,
			Header: http.Header{"Content-Type": {"application/json"}},
			Body:   &counted{Reader: strings.NewReader(body), open: open},
		}, nil
	}
}

func TestEveryResponseIsClosed(t *testing.T) {
	result := func(_ *testing.T, r *resty.Request) { r.SetResult(&document{}) }
	output := func(t *testing.T, r *resty.Request) { r.SetOutput(filepath.Join(t.TempDir(), "out")) }
	const json, story = `{"state":"a"}`, "503 status 1s | 503 status 1s | 200 succeeded"
	for _, tt := range []struct {
		name, body string
		set        func(*testing.T, *resty.Request)
		want       string
		errs       []error
	}{
		{"parsed", json, result, story, nil},
		{"not JSON", "<html>", result, "503 status 1s | 503 status 1s | 200 not-retryable", []error{harness.ErrAny}},
		{"raw", json, func(_ *testing.T, r *resty.Request) { r.SetDoNotParseResponse(true) }, story, nil},
		{"output", json, output, story, nil},
		{
			"output and result, of which Resty decodes nothing", json, func(t *testing.T, r *resty.Request) { result(t, r); output(t, r) },
			"503 status 1s | 503 status 1s | 200 not-retryable",
			[]error{harness.ErrAny},
		},
		{
			"output that cannot be created", json, func(t *testing.T, r *resty.Request) { r.SetOutput(t.TempDir()) },
			"503 status 1s | 503 status 1s | 200 attempts",
			[]error{harness.ErrAny},
		},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			var open atomic.Int32
			c := harness.New(t, counting(&open, tt.body, 503, 503, 200))
			r := c.R()
			tt.set(t, r)
			call := c.Do(t, r, "GET", "/").Want(t, tt.want, tt.errs...)
			if tt.name == "raw" {
				harness.Equal(t, "open", open.Load(), 1)
				call.Response.RawBody().Close()
			}
			harness.Equal(t, "open", open.Load(), 0)
		})
	}
	harness.Bubble(t, "raw, before a wait that the server asks for", func(t *testing.T) {
		var open atomic.Int32
		script := counting(&open, json, 503)
		c := harness.New(t, func(n int, r *http.Request) (*http.Response, error) {
			harness.Equal(t, "open before the attempt", open.Load(), 0)
			resp, err := script(n, r)
			resp.Header.Set("Retry-After", "3")
			return resp, err
		}, harness.OnAttempt(func(restyretry.Attempt) error { return nil }), harness.Rand(0))
		call := c.Do(t, c.R().SetDoNotParseResponse(true), "GET", "/").Want(t, "503 status 3s | 503 status 3s | 503 attempts")
		harness.Equal(t, "open", open.Load(), 1)
		call.Response.RawBody().Close()
	})
	harness.Bubble(t, "raw, after a panic", func(t *testing.T) {
		var open atomic.Int32
		c := harness.New(t, counting(&open, json, 200), harness.RetryIf(func(restyretry.Attempt) bool { panic("boom") }))
		call := c.Do(t, c.R().SetDoNotParseResponse(true), "GET", "/")
		harness.Equal(t, "panic", call.Panic, "boom")
		harness.Equal(t, "open", open.Load(), 0)
	})
}

// The body of a 101 is the connection, to which the caller wants to write.
func TestTheBodyOfAnUpgradeMayBeWrittenTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var written strings.Builder
		c := harness.New(t, func(_ int, r *http.Request) (*http.Response, error) {
			body := struct {
				io.ReadCloser
				io.Writer
			}{http.NoBody, &written}
			return &http.Response{StatusCode: 101, Request: r, Body: body}, nil
		}, harness.AttemptTimeout(time.Hour))
		call := c.Do(t, c.R().SetDoNotParseResponse(true), "GET", "/").Want(t, "101 succeeded")
		w, ok := call.Response.RawBody().(io.Writer)
		if !ok {
			t.Fatalf("got a body of type %T, want an io.Writer", call.Response.RawBody())
		}
		_, err := io.WriteString(w, "hello")
		harness.Equal(t, "written", fmt.Sprint(written.String(), err), "hello<nil>")
		ctx := call.Sent[0].Request.Context()
		harness.Equal(t, "its context", ctx.Err(), nil)
		harness.Equal(t, "error of Close", call.Response.RawBody().Close(), nil)
		harness.Equal(t, "its context, when it is closed", ctx.Err(), context.Canceled)
	})
}

func TestTheLastRawResponseIsTheCallers(t *testing.T) {
	whole := strings.Repeat("x", 100_000)
	harness.Bubble(t, "to its end", func(t *testing.T) {
		harness.New(t, harness.Says(503, "", whole)).GetRaw(t, "/", whole).Want(t, "503 status 1s | 503 status 1s | 503 attempts")
	})
	idle := harness.OnAttempt(func(restyretry.Attempt) error { return nil })
	harness.Bubble(t, "whose server asks for too long a wait", func(t *testing.T) {
		for _, hook := range []harness.Option{func(*restyretry.Options) {}, idle} {
			harness.New(t, harness.Says(503, "Retry-After: 3600", "", whole), hook).GetRaw(t, "/", whole).Want(t, "503 server-wait")
		}
	})
	harness.Bubble(t, "when OnAttempt refuses before the wait", func(t *testing.T) {
		c := harness.New(t, harness.Says(503, "Retry-After: 30", "", whole), harness.OnAttempt(func(a restyretry.Attempt) error {
			if a.Number == 2 {
				return errors.New("no")
			}
			return nil
		}))
		call := c.Do(t, c.R().SetDoNotParseResponse(true), "GET", "/").Want(t, "503 stopped", harness.ErrAny)
		got, err := io.ReadAll(call.Response.RawBody())
		harness.Equal(t, "error of the raw body", err, nil)
		harness.SameText(t, "raw body", string(got), whole)
	})
	harness.Bubble(t, "for longer than AttemptTimeout", func(t *testing.T) {
		n := 0
		c := harness.Piped(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if n++; n == 1 {
				w.WriteHeader(503)
				return
			}
			for range 5 {
				_, _ = io.WriteString(w, "slow ")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(time.Second)
			}
		}), false, harness.AttemptTimeout(2*time.Second))
		c.GetRaw(t, "/", "slow slow slow slow slow ").Want(t, "503 status 1ms | 200 succeeded")
	})
}

// A stubborn body ignores Close. It ends when the test does.
type stubborn struct {
	pause    time.Duration // of each Read; 0: it blocks
	hangs    bool          // Close blocks as well
	released <-chan struct{}
	reads    atomic.Int32
}

func (s *stubborn) Read(p []byte) (int, error) {
	s.reads.Add(1)
	var paused <-chan time.Time
	if s.pause > 0 {
		paused = time.After(s.pause)
	}
	select {
	case <-paused:
		p[0] = 'x'
		return 1, nil
	case <-s.released:
		return 0, io.EOF
	}
}

func (s *stubborn) Close() error {
	if s.hangs {
		<-s.released
	}
	return nil
}

// A raw response that is thrown away costs 50 ms, and no deadline.
func TestARawResponseThatIgnoresCloseIsGivenUp(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name                           string
		pause, deadline, timeout, want time.Duration
		hangs                          bool
		err                            error
	}{
		{name: "Read blocks", want: 100 * ms},
		{name: "Read and Close block", hangs: true, want: 100 * ms},
		{name: "Read is slow", pause: 9 * ms, want: 100 * ms},
		{name: "deadline in the first", deadline: 30 * ms, want: 30 * ms, err: context.DeadlineExceeded},
		{name: "deadline in the second", deadline: 70 * ms, want: 70 * ms, err: context.DeadlineExceeded},
		{name: "deadline in the second, Close blocks", hangs: true, deadline: 70 * ms, want: 70 * ms, err: context.DeadlineExceeded},
		{name: "AttemptTimeout", timeout: 10 * ms, want: 100 * ms},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			released := make(chan struct{})
			defer close(released)
			var bodies []*stubborn
			c := harness.New(t, func(n int, r *http.Request) (*http.Response, error) {
				if n > 2 {
					return harness.Says(200, "", "fine")(n, r)
				}
				bodies = append(bodies, &stubborn{pause: tt.pause, hangs: tt.hangs, released: released})
				return &http.Response{StatusCode: 503, Request: r, Body: bodies[n-1], ContentLength: -1}, nil
			}, harness.Wait(0), harness.AttemptTimeout(tt.timeout))
			ctx := t.Context()
			if tt.deadline > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, tt.deadline)
				defer cancel()
			}
			call := c.Do(t, c.R().SetContext(ctx).SetDoNotParseResponse(true), "GET", "/")
			if call.Took < tt.want || call.Took > tt.want+time.Microsecond {
				t.Errorf("got an answer after %v, want %v", call.Took, tt.want)
			}
			if tt.err != nil {
				harness.WantIs(t, call.Err, tt.err)
			} else {
				got, err := io.ReadAll(call.Response.RawBody())
				harness.Equal(t, "body", fmt.Sprint(string(got), err), "fine<nil>")
				call.Response.RawBody().Close()
			}
			time.Sleep(time.Second)
			for _, body := range bodies {
				if reads := body.reads.Load(); reads > 50/9+2 {
					t.Errorf("got %d reads a second later, want none after it was given up", reads)
				}
			}
		})
	}
}

// OnRetry reads what has arrived of a response whose server stops, and then an error.
func TestTheBeginningOfARawResponseThatIsGivenUpMayBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		var heads []string
		c := harness.Piped(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n++; n > 2 {
				_, _ = io.WriteString(w, "fine")
				return
			}
			w.WriteHeader(503)
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}), false, harness.OnRetry(func(a restyretry.Attempt) {
			head, err := io.ReadAll(a.Response.RawBody())
			heads = append(heads, fmt.Sprint(string(head), err != nil))
		}))
		call := c.GetRaw(t, "/", "fine").Want(t, "503 status 1ms | 503 status 1ms | 200 succeeded").WantTook(t, 102*time.Millisecond)
		if want := []string{"halftrue", "halftrue"}; !slices.Equal(heads, want) {
			t.Errorf("got %q of the responses, want %q", heads, want)
		}
		head, err := io.ReadAll(call.History[0].Response.RawBody())
		if len(head) > 0 || err == nil {
			t.Errorf("got %q, %v of what has been read, want an error", head, err)
		}
	})
}
