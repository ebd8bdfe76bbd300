package restyretry_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
)

// bodyMemory are the ways to give a request memory of the caller's.
var bodyMemory = map[string]func([]byte) any{
	"bytes":        func(text []byte) any { return text },
	"bytes.Buffer": func(text []byte) any { return bytes.NewBuffer(text) },
	"bytes.Reader": func(text []byte) any { return bytes.NewReader(text) },
}

// A bodyLateReader answers when it has read 10 bytes of the body, and reads the
// rest when resume is closed.
type bodyLateReader struct {
	answer  roundTrip
	resume  chan struct{}
	getBody bool // it opens GetBody too before it answers, and reads that last
	open    bool // it never closes anything

	mu     sync.Mutex
	texts  []string
	errs   []error
	behind sync.WaitGroup
}

func (l *bodyLateReader) RoundTrip(r *http.Request) (*http.Response, error) {
	first := make([]byte, 10)
	if _, err := io.ReadFull(r.Body, first); err != nil {
		return nil, err
	}
	var again io.ReadCloser
	if l.getBody {
		var err error
		if again, err = r.GetBody(); err != nil {
			return nil, err
		}
	}
	l.behind.Go(func() {
		<-l.resume
		l.read(string(first), r.Body)
		if again != nil {
			l.read("", again)
		}
	})
	return l.answer(r)
}

func (l *bodyLateReader) read(first string, body io.ReadCloser) {
	rest, err := io.ReadAll(body)
	if !l.open {
		body.Close()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.texts, l.errs = append(l.texts, first+string(rest)), append(l.errs, err)
}

// check compares what was read with the text, as often as wanted.
func (l *bodyLateReader) check(t *testing.T, want int, text string) {
	t.Helper()
	l.behind.Wait()
	if len(l.texts) != want {
		t.Errorf("got %d bodies read, want %d", len(l.texts), want)
	}
	for i, got := range l.texts {
		if got != text || l.errs[i] != nil {
			t.Errorf("body %d: got %d bytes, the text: %v, error %v; want all %d", i+1, len(got), got == text, l.errs[i], len(text))
		}
	}
}

// Memory is the caller's again when Execute has returned, whoever still reads.
func TestMemoryMayBeOverwrittenWhenExecuteHasReturned(t *testing.T) {
	whole := bodyText(1 << 20)
	for name, wrap := range bodyMemory {
		for _, size := range []int{4096, 4097, 1 << 20} {
			for _, statuses := range [][]int{{200}, {503, 503, 200}, {503}} {
				for _, raw := range []bool{false, true} {
					for _, getBody := range []bool{false, true} {
						t.Run(fmt.Sprintf("%s of %d, %v, raw %v, GetBody %v", name, size, statuses, raw, getBody), func(t *testing.T) {
							synctest.Test(t, func(t *testing.T) {
								answer, calls := answers(statuses...)
								l := &bodyLateReader{answer: roundTrip(answer), resume: make(chan struct{}), getBody: getBody}
								c := resty.NewWithClient(&http.Client{Transport: l}).SetLogger(quiet{})
								install(t, c, constant(0))
								text := []byte(whole[:size])
								start := time.Now()
								if _, err := c.R().SetBody(wrap(text)).SetDoNotParseResponse(raw).Put("http://api.test/"); err != nil {
									t.Fatal(err)
								}
								if took := time.Since(start); took > time.Microsecond {
									t.Errorf("got %v, want no wait for the transport", took)
								}
								want := *calls
								if getBody {
									want *= 2
								}
								clear(text)
								close(l.resume)
								l.check(t, want, whole[:size])
							})
						})
					}
				}
			}
		}
	}
}

// The same while the transport goes on reading, which the race detector sees.
func TestMemoryMayBeOverwrittenWhileATransportReads(t *testing.T) {
	settled(t)
	whole := bodyText(1 << 20)
	for name, wrap := range bodyMemory {
		t.Run(name, func(t *testing.T) {
			answer, _ := answers(200)
			l := &bodyLateReader{answer: roundTrip(answer), resume: make(chan struct{})}
			close(l.resume)
			c := resty.NewWithClient(&http.Client{Transport: l}).SetLogger(quiet{})
			install(t, c)
			for range 20 {
				text := []byte(whole)
				if _, err := c.R().SetBody(wrap(text)).Put("http://api.test/"); err != nil {
					t.Fatal(err)
				}
				clear(text)
			}
			l.check(t, 20, whole)
		})
	}
}

// A transport that asks for the body when all is over gets an error, or what
// the caller gave.
func TestGetBodyAfterTheRequestNeverGivesOtherBytes(t *testing.T) {
	for name, wrap := range bodyMemory {
		for _, size := range []int{11, 4096, 4097, 1 << 20} {
			t.Run(fmt.Sprintf("%s of %d", name, size), func(t *testing.T) {
				var sent []*http.Request
				answer, _ := answers(503, 200)
				c := resty.NewWithClient(&http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					sent = append(sent, r)
					r.Body.Close()
					return answer(r)
				})}).SetLogger(quiet{})
				install(t, c, constant(0))
				text := []byte(bodyText(size))
				if _, err := c.R().SetBody(wrap(text)).Put("http://api.test/"); err != nil {
					t.Fatal(err)
				}
				clear(text)
				for _, r := range sent {
					body, err := r.GetBody()
					if err != nil {
						continue
					}
					if got, err := io.ReadAll(body); err == nil && string(got) != bodyText(size) {
						t.Errorf("got %d other bytes, want the text or an error", len(got))
					}
				}
			})
		}
	}
}

// Nobody waits for a transport that keeps the body.
func TestATransportThatNeverClosesTheBodyCostsNoTime(t *testing.T) {
	for name, wrap := range bodyMemory {
		for _, size := range []int{4096, 4097, 1 << 20} {
			t.Run(fmt.Sprintf("%s of %d", name, size), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					answer, calls := answers(503)
					l := &bodyLateReader{answer: roundTrip(answer), resume: make(chan struct{}), open: true}
					c := resty.NewWithClient(&http.Client{Transport: l}).SetLogger(quiet{})
					install(t, c, constant(0), bodyAttempts(10))
					start := time.Now()
					_, err := c.R().SetBody(wrap([]byte(bodyText(size)))).Put("http://api.test/")
					if took := time.Since(start); err != nil || *calls != 10 || took > time.Microsecond {
						t.Errorf("got %v after %d attempts in %v, want 10 in no time", err, *calls, took)
					}
					close(l.resume)
				})
			})
		}
	}
}

// A server that streams its answer while it still reads gets what the caller
// gave, and the caller can use the memory for something else.
func TestMemoryMayBeOverwrittenWhileAServerStreamsItsAnswer(t *testing.T) {
	settled(t)
	const size = 16 << 20
	text := bodyText(size)
	want := fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
	for name, wrap := range bodyMemory {
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, HTTP2 %v", name, http2), func(t *testing.T) {
				overwritten := make(chan struct{})
				var requests atomic.Int32
				_, c := bodyServe(t, http2, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_ = http.NewResponseController(w).EnableFullDuplex() // HTTP/2 always is
					if requests.Add(1) == 1 {
						w.Header().Set("Connection", "close")
						w.WriteHeader(http.StatusServiceUnavailable)
						return
					}
					_ = http.NewResponseController(w).Flush()
					<-overwritten
					hash := sha256.New()
					n, err := io.Copy(hash, r.Body)
					fmt.Fprintf(w, "%x %d %v", hash.Sum(nil), n, err)
				}))
				install(t, c, constant(0))
				memory := []byte(text)
				resp, err := c.R().SetBody(wrap(memory)).SetDoNotParseResponse(true).Put("/")
				clear(memory)
				close(overwritten)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.RawBody().Close()
				got, err := io.ReadAll(resp.RawBody())
				if want := fmt.Sprintf("%s %d <nil>", want, size); string(got) != want || err != nil {
					t.Errorf("got %q, %v; want %q", got, err, want)
				}
			})
		}
	}
}

// A bodySource counts how often it is closed, and what is read of it afterwards.
type bodySource struct {
	closed atomic.Int32
	late   atomic.Int32
}

func (s *bodySource) Close() error { s.closed.Add(1); return nil }

func (s *bodySource) check() error {
	if s.closed.Load() > 0 {
		s.late.Add(1)
		return os.ErrClosed
	}
	return nil
}

// A bodyOneShot can only be read, once.
type bodyOneShot struct {
	bodySource
	from io.Reader
}

func (o *bodyOneShot) Read(p []byte) (int, error) {
	if err := o.check(); err != nil {
		return 0, err
	}
	return o.from.Read(p)
}

// A bodySeekable can be read at several places at once, as a file can.
type bodySeekable struct {
	bodySource
	*io.SectionReader
}

func (s *bodySeekable) ReadAt(p []byte, at int64) (int, error) {
	if err := s.check(); err != nil {
		return 0, err
	}
	return s.SectionReader.ReadAt(p, at)
}

// bodySources make bodies that have to be closed, and tell how often they were.
func bodySources() map[string]func(t *testing.T, text string) (body any, closed func() int32) {
	return map[string]func(t *testing.T, text string) (any, func() int32){
		"one-shot reader": func(t *testing.T, text string) (any, func() int32) {
			s := &bodyOneShot{from: bodyPlain(text)}
			t.Cleanup(func() { bodyNotLate(t, &s.bodySource) })
			return s, s.closed.Load
		},
		"ReadAt, Seek and Close": func(t *testing.T, text string) (any, func() int32) {
			s := &bodySeekable{SectionReader: io.NewSectionReader(strings.NewReader(text), 0, int64(len(text)))}
			t.Cleanup(func() { bodyNotLate(t, &s.bodySource) })
			return s, s.closed.Load
		},
		"os.File": func(t *testing.T, text string) (any, func() int32) {
			f := bodyFile(t, text)
			return f, func() int32 { return bodyFileClosed(f) }
		},
		"os.Pipe": func(t *testing.T, text string) (any, func() int32) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				_, _ = io.WriteString(w, text)
				w.Close()
			}()
			t.Cleanup(func() { r.Close() })
			return r, func() int32 { return bodyFileClosed(r) }
		},
	}
}

func bodyNotLate(t *testing.T, s *bodySource) {
	if n := s.late.Load(); n > 0 {
		t.Errorf("got %d reads after Close, want none", n)
	}
}

func bodyFileClosed(f *os.File) int32 {
	if _, err := f.Stat(); errors.Is(err, os.ErrClosed) {
		return 1
	}
	return 0
}

// A body is closed once, after the last attempt, however the request ends.
func TestABodyIsClosedOnceAndAfterTheLastAttempt(t *testing.T) {
	for name, source := range bodySources() {
		for _, test := range []struct {
			name     string
			statuses []int
			prepare  func(*http.Client, *http.Request)
			opts     []func(*restyretry.Options)
		}{
			{name: "200", statuses: []int{200}},
			{name: "503, 503, 200", statuses: []int{503, 503, 200}},
			{name: "503 to the end", statuses: []int{503}},
			{name: "404", statuses: []int{404}},
			{name: "past MaxReplay", statuses: []int{503, 200}, opts: []func(*restyretry.Options){bodyMaxReplay(2)}},
		} {
			for _, use := range bodyUses() {
				if use.name == "both at once" {
					continue // it looks for its channel in the context
				}
				t.Run(name+", "+test.name+", "+use.name, func(t *testing.T) {
					respond, _ := bodyRecord(test.statuses...)
					body, closed := source(t, "hello")
					c := resty.NewWithClient(&http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
						if got := closed(); got != 0 {
							t.Errorf("attempt %d: got the body closed %d times already", restyretry.Number(r.Context()), got)
						}
						return use.use(r, respond)
					})}).SetLogger(quiet{})
					install(t, c, append(test.opts, constant(0))...)
					_, _ = c.R().SetBody(body).Put("http://api.test/")
					if got := closed(); got != 1 {
						t.Errorf("got the body closed %d times, want once", got)
					}
				})
			}
		}
	}
}

// A transport that has opened GetBody for later has let go of it when the
// request is over, even if it never needed it. Resty's digest authentication
// is one.
func TestABodyIsClosedThoughDigestAuthenticationWasNotAskedFor(t *testing.T) {
	for name, source := range bodySources() {
		for _, statuses := range [][]int{{200}, {503, 503, 200}} {
			t.Run(fmt.Sprint(name, " ", statuses), func(t *testing.T) {
				respond, got := bodyRecord(statuses...)
				c := mocked(respond).SetDigestAuth("user", "secret")
				install(t, c, constant(0))
				body, closed := source(t, "hello")
				if _, err := c.R().SetBody(body).Put("/"); err != nil {
					t.Fatal(err)
				}
				if n := closed(); n != 1 || len(*got) != len(statuses) {
					t.Errorf("got the body closed %d times after %d requests, want once after %d", n, len(*got), len(statuses))
				}
			})
		}
	}
}

// A request that is refused before anything is sent is over as well.
func TestABodyIsClosedWhenTheRequestIsNotSent(t *testing.T) {
	refused := errors.New("refused")
	for name, source := range bodySources() {
		for _, test := range []struct {
			name string
			url  string
			set  func(*resty.Client)
			opts []func(*restyretry.Options)
			with []func(*restyretry.Options)
		}{
			{name: "rate limiter", set: func(c *resty.Client) { c.SetRateLimiter(&allows{}) }},
			{name: "rate limiter, second attempt", set: func(c *resty.Client) { c.SetRateLimiter(&allows{left: 1}) }},
			{name: "later middleware", set: func(c *resty.Client) {
				c.OnBeforeRequest(func(*resty.Client, *resty.Request) error { return refused })
			}},
			{name: "URL", url: "http://[broken"},
			{name: "OnAttempt", opts: []func(*restyretry.Options){onAttempt(func(restyretry.Attempt) error { return refused })}},
			{name: "OnAttempt, second attempt", opts: []func(*restyretry.Options){onAttempt(func(a restyretry.Attempt) error {
				if a.Number == 2 {
					return refused
				}
				return nil
			})}},
			{name: "Target", opts: []func(*restyretry.Options){urlTo(restyretry.TargetFunc(func(restyretry.Attempt) (string, error) {
				return "", refused
			}))}},
			{name: "PreRequest", opts: []func(*restyretry.Options){func(o *restyretry.Options) {
				o.PreRequest = func(*resty.Client, *http.Request) error { return refused }
			}}},
			{name: "options of the context", with: []func(*restyretry.Options){bodyAttempts(0)}},
			{name: "RetryCount changed after Install", set: func(c *resty.Client) { c.SetRetryCount(2) }},
		} {
			t.Run(name+", "+test.name, func(t *testing.T) {
				respond, got := bodyRecord(503)
				c := mocked(respond)
				install(t, c, append(test.opts, constant(0))...)
				if test.set != nil {
					test.set(c)
				}
				body, closed := source(t, "hello")
				r := c.R().SetBody(body).SetContext(restyretry.With(t.Context(), test.with...))
				if _, err := r.Put(test.url); err == nil && len(*got) != 1 {
					t.Fatalf("got no error after %d requests", len(*got))
				}
				if got := closed(); got != 1 {
					t.Errorf("got the body closed %d times, want once", got)
				}
			})
		}
	}
}

// While a transport reads, the source stays open, though Execute has returned.
func TestABodyIsOpenUntilTheTransportHasReadIt(t *testing.T) {
	for name, source := range bodySources() {
		for _, statuses := range [][]int{{200}, {503, 200}} {
			t.Run(fmt.Sprint(name, " ", statuses), func(t *testing.T) {
				settled(t)
				answer, _ := answers(statuses...)
				l := &bodyLateReader{answer: roundTrip(answer), resume: make(chan struct{})}
				c := resty.NewWithClient(&http.Client{Transport: l}).SetLogger(quiet{})
				install(t, c, constant(0))
				body, closed := source(t, bodyText(50_000))
				if _, err := c.R().SetBody(body).Put("http://api.test/"); err != nil {
					t.Fatal(err)
				}
				if got := closed(); got != 0 {
					t.Errorf("got the body closed while the transport reads it")
				}
				close(l.resume)
				l.behind.Wait()
				if got := closed(); got != 1 {
					t.Errorf("got the body closed %d times when the transport had read it, want once", got)
				}
				last := l.texts[len(l.texts)-1]
				if len(statuses) == 1 && last != bodyText(50_000) {
					t.Errorf("got %d bytes, want all", len(last))
				}
			})
		}
	}
}

// A transport ends a Read that waits for the caller by closing the body, as
// net/http does with HTTP/2. A pipe tells its writer.
func TestABodyThatBlocksIsClosedWhenTheTransportClosesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer, _ := answers(413)
		c := resty.NewWithClient(&http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			go func() { _, _ = io.Copy(io.Discard, r.Body) }()
			time.Sleep(time.Second)
			r.Body.Close()
			return answer(r)
		})}).SetLogger(quiet{})
		install(t, c)
		from, w := io.Pipe()
		defer from.Close() // or the goroutine that reads stays
		ended := make(chan error, 1)
		go func() {
			_, _ = io.WriteString(w, "hello")
			<-t.Context().Done()
		}()
		_, err := c.R().SetBody(&bodyPipeReader{from, ended}).Put("http://api.test/")
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		select {
		case <-ended:
		default:
			t.Error("got the source still open, and a goroutine that reads it")
		}
	})
}

// A bodyPipeReader tells when it is closed.
type bodyPipeReader struct {
	*io.PipeReader
	ended chan<- error
}

func (p *bodyPipeReader) Close() error {
	err := p.PipeReader.Close()
	p.ended <- err
	return err
}

// 100 uploads leave no descriptor open.
func TestUploadsLeaveNoDescriptors(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("it counts /proc/self/fd")
	}
	settled(t)
	path := bodyFile(t, bodyText(1<<20)).Name()
	before := descriptorsOf(t, path)
	for _, test := range []struct {
		name  string
		http2 bool
		early bool // the server answers before it has read the body
		retry bool
		set   func(*resty.Client)
		ctx   func(context.Context) (context.Context, context.CancelFunc)
	}{
		{name: "read"},
		{name: "read, HTTP/2", http2: true},
		{name: "read, retried", retry: true},
		{name: "early", early: true},
		{name: "early, HTTP/2", early: true, http2: true},
		{name: "early, retried", early: true, retry: true},
		{name: "digest authentication not asked for", set: func(c *resty.Client) { c.SetDigestAuth("user", "secret") }},
		{name: "connection refused", set: func(c *resty.Client) { c.SetBaseURL("http://" + closedPort(t)) }},
		{name: "cancelled before", ctx: func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		}},
		{name: "timed out", set: func(c *resty.Client) { c.SetTimeout(time.Millisecond) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			var n atomic.Int32
			_, c := bodyServe(t, test.http2, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if test.early {
					_ = http.NewResponseController(w).EnableFullDuplex()
					w.Header().Set("Connection", "close")
				} else {
					_, _ = io.Copy(io.Discard, r.Body)
				}
				if test.retry && n.Add(1)%2 == 1 {
					w.WriteHeader(http.StatusServiceUnavailable)
				}
			}))
			install(t, c, constant(0))
			if test.set != nil {
				test.set(c)
			}
			var files []*os.File // or the collector closes them
			defer func() {
				for _, f := range files {
					f.Close()
				}
			}()
			for range 100 {
				f, err := os.Open(path)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := t.Context(), context.CancelFunc(func() {})
				if test.ctx != nil {
					ctx, cancel = test.ctx(ctx)
				}
				_, _ = c.R().SetContext(ctx).SetBody(f).Put("/") // may fail, for the server closes the connection
				files = append(files, f)
				cancel()
			}
			for end := time.Now().Add(5 * time.Second); descriptorsOf(t, path) > before; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("got %d descriptors of the file open, want %d", descriptorsOf(t, path), before)
				}
			}
		})
	}
}

// descriptorsOf counts the open descriptors of a file.
func descriptorsOf(t *testing.T, path string) (n int) {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil || len(links) == 0 {
		t.Fatalf("got %v, %d descriptors", err, len(links))
	}
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == path {
			n++
		}
	}
	return n
}
