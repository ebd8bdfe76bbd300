package restyretry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
)

// outputFile is a file of the user's, written an hour ago.
func outputFile(t *testing.T) (path string, check func()) {
	t.Helper()
	const text = "the user's own bytes"
	path = filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	written := time.Now().Add(-time.Hour).Truncate(time.Second)
	if err := os.Chtimes(path, written, written); err != nil {
		t.Fatal(err)
	}
	return path, func() {
		t.Helper()
		got, err := os.ReadFile(path)
		if err != nil || string(got) != text {
			t.Fatalf("got %q, %v in the file, want %q", got, err, text)
		}
		if info, err := os.Stat(path); err != nil || !info.ModTime().Equal(written) {
			t.Errorf("got it changed at %v, want %v (%v)", info.ModTime(), written, err)
		}
	}
}

// outputFailure is a way to get a response, or none, that Resty does not save.
type outputFailure struct {
	name  string
	serve http.HandlerFunc
	set   func(t *testing.T, c *resty.Client, r *resty.Request)
	raw   string // the body that the caller gets, if it is a raw response
}

func outputFailures() []outputFailure {
	page := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "page")
		}
	}
	away := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/?"+r.URL.RawQuery+"x", http.StatusFound)
	}
	raw := func(_ *testing.T, _ *resty.Client, r *resty.Request) { r.SetDoNotParseResponse(true) }
	cancelling := func(cause error) func(t *testing.T, _ *resty.Client, r *resty.Request) {
		return func(t *testing.T, _ *resty.Client, r *resty.Request) {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(20*time.Millisecond, func() { cancel(cause) })
			r.SetContext(ctx)
		}
	}
	return []outputFailure{
		{name: "redirect refused by NoRedirectPolicy", serve: away, set: func(_ *testing.T, c *resty.Client, _ *resty.Request) {
			c.SetRedirectPolicy(resty.NoRedirectPolicy())
		}},
		{name: "redirect refused by a policy of one's own", serve: away, set: func(_ *testing.T, c *resty.Client, _ *resty.Request) {
			c.SetRedirectPolicy(resty.RedirectPolicyFunc(func(*http.Request, []*http.Request) error { return errors.New("no") }))
		}},
		{name: "redirect to another domain refused", serve: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://other.test/", http.StatusTemporaryRedirect)
		}, set: func(_ *testing.T, c *resty.Client, _ *resty.Request) {
			c.SetRedirectPolicy(resty.DomainCheckRedirectPolicy("127.0.0.1"))
		}},
		{name: "redirect loop", serve: away},
		{name: "redirect loop of Resty's policy", serve: away, set: func(_ *testing.T, c *resty.Client, _ *resty.Request) {
			c.SetRedirectPolicy(resty.FlexibleRedirectPolicy(3))
		}},
		{name: "redirect to nowhere", serve: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://[broken")
			w.WriteHeader(http.StatusFound)
		}},
		{name: "raw 200", serve: page(200), set: raw, raw: "page"},
		{name: "raw 404", serve: page(404), set: raw, raw: "page"},
		{name: "raw 503", serve: page(503), set: raw, raw: "page"},
		{name: "raw 503 of the client's", serve: page(503), set: func(_ *testing.T, c *resty.Client, _ *resty.Request) {
			c.SetDoNotParseResponse(true)
		}, raw: "page"},
		{name: "response logger that fails", serve: page(503), set: func(_ *testing.T, c *resty.Client, r *resty.Request) {
			r.SetDebug(true)
			c.OnResponseLog(func(*resty.ResponseLog) error { return errors.New("no") })
		}},
		{name: "connection refused", set: func(t *testing.T, c *resty.Client, _ *resty.Request) {
			c.SetBaseURL("http://" + closedPort(t))
		}},
		{name: "connection reset", serve: func(_ http.ResponseWriter, r *http.Request) {
			bodyReset(r)
			panic(http.ErrAbortHandler)
		}},
		{name: "cancelled", serve: hang, set: cancelling(nil)},
		{name: "cancelled with a cause", serve: hang, set: cancelling(errors.New("enough"))},
		{name: "timed out", serve: hang, set: func(_ *testing.T, c *resty.Client, _ *resty.Request) {
			c.SetTimeout(20 * time.Millisecond)
		}},
		{name: "rate limiter", set: func(_ *testing.T, c *resty.Client, _ *resty.Request) { c.SetRateLimiter(&allows{}) }},
		{name: "middleware", set: func(_ *testing.T, c *resty.Client, _ *resty.Request) {
			c.OnBeforeRequest(func(*resty.Client, *resty.Request) error { return errors.New("no") })
		}},
	}
}

func (f outputFailure) send(t *testing.T, path string, serve http.HandlerFunc) {
	t.Helper()
	if serve == nil {
		serve = func(http.ResponseWriter, *http.Request) {}
	}
	_, c := bodyServe(t, false, serve)
	install(t, c, constant(0))
	r := c.R().SetOutput(path)
	if f.set != nil {
		f.set(t, c, r)
	}
	resp, err := r.Get("/")
	if f.raw == "" {
		if err == nil {
			t.Fatalf("got %v and no error", resp)
		}
		return
	}
	defer resp.RawBody().Close()
	if got, err := io.ReadAll(resp.RawBody()); err != nil || string(got) != f.raw {
		t.Errorf("got the raw body %q, %v, want %q", got, err, f.raw)
	}
}

// A file that Resty has not written is the user's, in its bytes and its time.
func TestAnOutputThatRestyDoesNotWriteIsLeftAlone(t *testing.T) {
	settled(t)
	for _, test := range outputFailures() {
		t.Run(test.name, func(t *testing.T) {
			path, check := outputFile(t)
			test.send(t, path, test.serve)
			check()
		})
		t.Run(test.name+", no file", func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "out")
			test.send(t, path, test.serve)
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("got a file, or %v; want none", err)
			}
		})
	}
}

// The user's own program may write the file while the request is under way.
func TestAnOutputThatSomebodyElseWritesMeanwhileIsLeftAlone(t *testing.T) {
	settled(t)
	for _, test := range outputFailures() {
		if test.serve == nil {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "out")
			test.send(t, path, func(w http.ResponseWriter, r *http.Request) {
				_ = os.WriteFile(path, []byte("the user's"), 0o600)
				test.serve(w, r)
			})
			if got, err := os.ReadFile(path); err != nil || string(got) != "the user's" {
				t.Errorf("got %q, %v in the file, want the user's", got, err)
			}
		})
	}
}

// The page that Resty has saved in place of the download is the response's.
func TestAnOutputThatIsAnErrorPageIsTakenBack(t *testing.T) {
	for _, statuses := range [][]int{{503}, {404}, {503, 404}} {
		t.Run(fmt.Sprint(statuses), func(t *testing.T) {
			path, _ := outputFile(t)
			respond, _ := answers(statuses...)
			c := mocked(respond)
			install(t, c, constant(0))
			resp, err := c.R().SetOutput(path).Get("/")
			if want := http.StatusText(statuses[len(statuses)-1]); err != nil || resp.String() != want {
				t.Errorf("got %q, %v; want %q", resp, err, want)
			}
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("got the page in the file, or %v; want no file", err)
			}
		})
	}
}

// An empty URL is one: that of the base.
func TestAnEmptyURLIsTheBaseURLInEveryAttempt(t *testing.T) {
	nowhere := func(a restyretry.Attempt) (string, error) {
		if a.Number == 1 {
			return a.Request.URL, nil
		}
		return "", nil
	}
	const base = "http://api.test/v1"
	for _, test := range []struct {
		name  string
		url   string
		opts  []func(*restyretry.Options)
		first string // where the first attempt goes
		then  string
	}{
		{"plain", "", nil, base + "?q=1", base + "?q=1"},
		{"OnAttempt", "", []func(*restyretry.Options){onAttempt(func(restyretry.Attempt) error { return nil })}, base + "?q=1", base + "?q=1"},
		{"Target", "", []func(*restyretry.Options){urlTo(restyretry.TargetFunc(nowhere))}, base + "?q=1", base + "?q=1"},
		{"Target from attempt 2 on", "/given", []func(*restyretry.Options){urlTo(restyretry.TargetFunc(nowhere))}, base + "/given?q=1", base + "?q=1"},
		{"Target of an absolute URL", "http://b.test/x", []func(*restyretry.Options){urlTo(restyretry.TargetFunc(nowhere))}, "http://b.test/x?q=1", base + "?q=1"},
		{"OnAttempt from attempt 2 on", "/given", []func(*restyretry.Options){onAttempt(func(a restyretry.Attempt) error {
			if a.Number > 1 {
				a.Request.URL = ""
			}
			return nil
		})}, base + "/given?q=1", base + "?q=1"},
		{"OnAttempt away from the base", "", []func(*restyretry.Options){onAttempt(func(a restyretry.Attempt) error {
			if a.Number > 1 {
				a.Request.URL = "/other"
			}
			return nil
		})}, base + "?q=1", base + "/other?q=1"},
		{"OnAttempt over Target", "/given", []func(*restyretry.Options){
			urlTo(restyretry.TargetFunc(func(restyretry.Attempt) (string, error) { return "/target", nil })),
			onAttempt(func(a restyretry.Attempt) error { a.Request.URL = ""; return nil }),
		}, base + "?q=1", base + "?q=1"},
		{"BaseURLs", "", []func(*restyretry.Options){urlTo(restyretry.BaseURLs("http://a.test/v1", "http://b.test/v1"))}, "http://a.test/v1?q=1", "http://b.test/v1?q=1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			respond, seen := urlRecord(503, 503, 200, 503, 503, 200, 503, 503, 200)
			c := mocked(respond).SetBaseURL(base)
			install(t, c, append(test.opts, constant(0))...)
			r := c.R().SetQueryParam("q", "1")
			r.Method, r.URL = http.MethodGet, test.url
			for range 3 {
				if resp, err := r.Send(); err != nil || resp.StatusCode() != 200 {
					t.Fatalf("got %v, %v; want a 200", resp, err)
				}
			}
			urlWantSeen(t, *seen, slices.Repeat([]string{test.first, test.then, test.then}, 3)...)
		})
	}
}

func TestAnEmptyURLOfATargetOverridesAnSRVRecord(t *testing.T) {
	urlServeSRV(t, "best.test", "second.test")
	respond, seen := urlRecord(503)
	c := mocked(respond).SetScheme("http")
	install(t, c, constant(0), urlTo(restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) {
		if a.Number == 1 {
			return a.Request.URL, nil
		}
		return "", nil
	})))
	if _, err := c.R().SetSRV(&resty.SRVRecord{Service: "web", Domain: "api.test"}).SetQueryParam("q", "1").Get("/x"); err != nil {
		t.Fatal(err)
	}
	urlWantSeen(t, *seen, "http://second.test:80/x?q=1", "http://api.test?q=1", "http://api.test?q=1")
}

// A stubborn body takes no notice of Close. It ends when the test does.
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
	for _, test := range []struct {
		name     string
		pause    time.Duration
		hangs    bool
		deadline time.Duration
		timeout  time.Duration
		want     time.Duration
		err      error
	}{
		{name: "Read blocks", want: 100 * time.Millisecond},
		{name: "Read and Close block", hangs: true, want: 100 * time.Millisecond},
		{name: "Read is slow", pause: 9 * time.Millisecond, want: 100 * time.Millisecond},
		{name: "deadline in the first", deadline: 30 * time.Millisecond, want: 30 * time.Millisecond, err: context.DeadlineExceeded},
		{name: "deadline in the second", deadline: 70 * time.Millisecond, want: 70 * time.Millisecond, err: context.DeadlineExceeded},
		{name: "deadline in the second, Close blocks", hangs: true, deadline: 70 * time.Millisecond, want: 70 * time.Millisecond, err: context.DeadlineExceeded},
		{name: "AttemptTimeout", timeout: 10 * time.Millisecond, want: 100 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				released := make(chan struct{})
				defer close(released)
				var bodies []*stubborn
				c := mocked(func(r *http.Request) (*http.Response, error) {
					resp := &http.Response{StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, Request: r, Body: io.NopCloser(strings.NewReader("fine"))}
					if len(bodies) < 2 {
						bodies = append(bodies, &stubborn{pause: test.pause, hangs: test.hangs, released: released})
						resp.StatusCode, resp.Body, resp.ContentLength = 503, bodies[len(bodies)-1], -1
					}
					return resp, nil
				})
				install(t, c, constant(0), func(o *restyretry.Options) { o.AttemptTimeout = test.timeout })
				ctx := t.Context()
				if test.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.deadline)
					defer cancel()
				}
				start := time.Now()
				resp, err := c.R().SetContext(ctx).SetDoNotParseResponse(true).Get("/")
				if took := time.Since(start); took < test.want || took > test.want+time.Microsecond {
					t.Errorf("got an answer after %v, want %v", took, test.want)
				}
				if !errors.Is(err, test.err) || err == nil && resp.StatusCode() != 200 {
					t.Fatalf("got %v, %v; want a 200 or %v", resp, err, test.err)
				}
				if err == nil {
					if got, err := io.ReadAll(resp.RawBody()); err != nil || string(got) != "fine" {
						t.Errorf("got %q, %v; want fine", got, err)
					}
					resp.RawBody().Close()
				}
				time.Sleep(time.Second)
				for i, body := range bodies {
					if reads := body.reads.Load(); reads > 50/9+2 {
						t.Errorf("response %d: got %d reads a second later, want none after it was given up", i+1, reads)
					}
				}
			})
		})
	}
}

// The same with a server that sends half of a response and no more.
func TestARawResponseOfAServerThatStopsIsGivenUp(t *testing.T) {
	settled(t)
	release := make(chan struct{})
	var n atomic.Int32
	_, c := bodyServe(t, false, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) > 2 {
			_, _ = io.WriteString(w, "fine")
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		<-release
	}))
	base := c.GetClient().Transport
	c.SetTransport(roundTrip(func(r *http.Request) (*http.Response, error) {
		resp, err := base.RoundTrip(r.WithContext(context.WithoutCancel(r.Context())))
		if err == nil {
			resp.Body = io.NopCloser(resp.Body)
		}
		return resp, err
	}))
	var heads []string
	install(t, c, constant(0), func(o *restyretry.Options) {
		o.Hooks = []restyretry.Hooks{{OnRetry: func(a restyretry.Attempt) {
			head, err := io.ReadAll(a.Response.RawBody())
			heads = append(heads, fmt.Sprint(string(head), err != nil))
		}}}
	})
	start := time.Now()
	responseRaw(t, c, "/", "fine")
	if took := time.Since(start); took > time.Second {
		t.Errorf("got it after %v, want about 100 ms", took)
	}
	if want := []string{"halftrue", "halftrue"}; !slices.Equal(heads, want) {
		t.Errorf("got %q of the responses, want what was sent of each, and an error", heads)
	}
	close(release)
}

type faultKey struct{}

func TestManyRequestsAtOnceKeepTheirOwnContexts(t *testing.T) {
	settled(t)
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"}
	var mixed, attempts atomic.Int64
	respond := func(r *http.Request) (*http.Response, error) {
		attempts.Add(1)
		if r.Context().Value(faultKey{}) != r.Header.Get("Request") || r.Method != r.Header.Get("Method") {
			mixed.Add(1)
		}
		status := 200
		if restyretry.Number(r.Context()) == 1 {
			status = 503
		}
		return &http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody, Request: r}, nil
	}
	c := resty.NewWithClient(&http.Client{Transport: roundTrip(respond)}).SetLogger(quiet{})
	install(t, c, constant(0))
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			method := methods[i%len(methods)]
			for n := range 50 {
				id := fmt.Sprintf("%d.%d", i, n)
				ctx, cancel := context.WithCancel(context.WithValue(t.Context(), faultKey{}, id))
				r := c.R().SetContext(ctx)
				if n%2 == 0 {
					r.SetBody("text")
				}
				r.SetHeaders(map[string]string{"Request": id, "Method": method, "Idempotency-Key": id})
				if resp, err := r.Execute(method, "http://api.test/"); err != nil || resp.StatusCode() != 200 {
					t.Errorf("got %v, %v; want a 200", resp, err)
				}
				if r.Context() != ctx || restyretry.Number(r.Context()) != 0 || r.Method != method {
					t.Error("the request has not its own context and method any more")
				}
				cancel()
			}
		})
	}
	all.Wait()
	if mixed.Load() != 0 || attempts.Load() != 64*50*2 {
		t.Errorf("got %d of %d attempts with the context of another request, want 0 of %d", mixed.Load(), attempts.Load(), 64*50*2)
	}
}

func TestATracedRequestKeepsItsContext(t *testing.T) {
	settled(t)
	for name, trace := range map[string]func(*resty.Client, *resty.Request){
		"request": func(_ *resty.Client, r *resty.Request) { r.EnableTrace() },
		"client":  func(c *resty.Client, _ *resty.Request) { c.EnableTrace() },
	} {
		t.Run(name, func(t *testing.T) {
			var numbers []int
			statuses := []int{503, 503, 200}
			c := resty.NewWithClient(&http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				numbers = append(numbers, restyretry.Number(r.Context()))
				if r.Context().Value(faultKey{}) != "kept" || httptrace.ContextClientTrace(r.Context()) == nil {
					t.Error("the caller's context is lost, or the trace")
				}
				return &http.Response{StatusCode: statuses[len(numbers)-1], ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody, Request: r}, nil
			})}).SetLogger(quiet{})
			install(t, c, constant(0))
			ctx, cancel := context.WithCancel(context.WithValue(t.Context(), faultKey{}, "kept"))
			defer cancel()
			r := c.R()
			trace(c, r)
			resp, err := r.SetContext(ctx).Get("http://api.test/")
			if err != nil || resp.Request.TraceInfo().TotalTime == 0 || !slices.Equal(numbers, []int{1, 2, 3}) {
				t.Errorf("got %v, total time %v, attempts %v", err, resp.Request.TraceInfo().TotalTime, numbers)
			}
			if r.Context() != ctx {
				t.Error("the request has not its own context any more")
			}
		})
	}
}

// faultJSON cannot be encoded.
type faultJSON struct{ panics bool }

func (f faultJSON) MarshalJSON() ([]byte, error) {
	if f.panics {
		panic("no JSON")
	}
	return nil, errors.New("no JSON")
}

type faultLimiter func() bool

func (f faultLimiter) Allow() bool { return f() }

// What happens between OnBeforeRequest and the pre-request hook leaves the
// request as it was, and ends it.
func TestARequestThatIsNeverMadeLeavesNothingBehind(t *testing.T) {
	settled(t)
	for _, test := range []struct {
		name string
		url  string
		body any
		set  func(*resty.Client, *resty.Request)
	}{
		{name: "URL", url: "http://[broken"},
		{name: "rate limit", set: func(c *resty.Client, _ *resty.Request) {
			c.SetRateLimiter(faultLimiter(func() bool { return false }))
		}},
		{name: "rate limiter that panics", set: func(c *resty.Client, _ *resty.Request) {
			c.SetRateLimiter(faultLimiter(func() bool { panic("no") }))
		}},
		{name: "later middleware", set: func(c *resty.Client, _ *resty.Request) {
			c.OnBeforeRequest(func(*resty.Client, *resty.Request) error { return errors.New("no") })
		}},
		{name: "body", body: faultJSON{}},
		{name: "body that panics", body: faultJSON{true}},
		{name: "foreign condition", url: "http://[broken", set: func(_ *resty.Client, r *resty.Request) {
			r.AddRetryCondition(func(*resty.Response, error) bool { return true })
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var done []restyretry.Attempt
			respond, calls := answers(200)
			c := mocked(respond)
			install(t, c, constant(0), onDone(func(a restyretry.Attempt) { done = append(done, a) }))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r := c.R().SetContext(ctx)
			if test.body != nil {
				r.SetBody(test.body)
			}
			if test.set != nil {
				test.set(c, r)
			}
			var err error
			panicked := loopRecover(func() { _, err = r.Put(test.url) })
			if err == nil && panicked == nil || *calls != 0 {
				t.Fatalf("got no error, and %d requests", *calls)
			}
			if len(done) != 1 || len(restyretry.History(r)) != 1 || done[0].Reason != restyretry.History(r)[0].Reason {
				t.Errorf("got OnDone %d times, history %s; want once", len(done), summary(restyretry.History(r)))
			}
			if r.Context() != ctx || restyretry.Number(r.Context()) != 0 || r.Method != http.MethodPut || r.Body != test.body {
				t.Errorf("got context %v, method %s, body %v; want those of the caller", r.Context(), r.Method, r.Body)
			}
		})
	}
}
