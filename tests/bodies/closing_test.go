package bodies

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

// A source can be read until it is closed. It counts how often that happens.
type source struct {
	io.Reader
	closed atomic.Int32
}

func (s *source) Close() error { s.closed.Add(1); return nil }

func (s *source) Read(p []byte) (int, error) {
	if s.closed.Load() > 0 {
		return 0, os.ErrClosed
	}
	return s.Reader.Read(p)
}

// places can be read at several places at once, as a file can.
type places struct {
	*source
	section *io.SectionReader
}

func (p places) Seek(offset int64, whence int) (int64, error) { return p.section.Seek(offset, whence) }

func (p places) ReadAt(b []byte, at int64) (int, error) {
	if p.closed.Load() > 0 {
		return 0, os.ErrClosed
	}
	return p.section.ReadAt(b, at)
}

// closers make bodies that have to be closed, and tell how often they were.
var closers = map[string]func(t *testing.T, text string) (body io.Reader, closed func() int32){
	"one-shot reader": func(_ *testing.T, text string) (io.Reader, func() int32) {
		s := &source{Reader: harness.Stream(text)}
		return s, s.closed.Load
	},
	"ReadAt, Seek and Close": func(_ *testing.T, text string) (io.Reader, func() int32) {
		s := &source{}
		return places{s, io.NewSectionReader(strings.NewReader(text), 0, int64(len(text)))}, s.closed.Load
	},
	"*os.File": func(t *testing.T, text string) (io.Reader, func() int32) {
		f := harness.File(t, text)
		return f, func() int32 { return closedFile(f) }
	},
	"os.Pipe": func(t *testing.T, text string) (io.Reader, func() int32) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(w, text)
		_ = w.Close()
		t.Cleanup(func() { _ = r.Close() })
		return r, func() int32 { return closedFile(r) }
	},
}

func closedFile(f *os.File) int32 {
	if _, err := f.Stat(); errors.Is(err, os.ErrClosed) {
		return 1
	}
	return 0
}

func TestABodyIsClosedOnceAfterTheLastAttempt(t *testing.T) {
	digest := use{name: "digest authentication that is not asked for"}
	for name, of := range closers {
		for _, tt := range []struct {
			statuses []int
			limit    int64
		}{
			{[]int{200}, 1 << 20},
			{[]int{503, 503, 200}, 1 << 20},
			{[]int{503}, 1 << 20},
			{[]int{404}, 1 << 20},
			{[]int{503, 200}, 2},
		} {
			for _, use := range append(uses(), digest) {
				harness.Bubble(t, fmt.Sprintf("%s, %v, %s", name, tt, use.name), func(t *testing.T) {
					body, closed := of(t, "hello")
					c := harness.New(t, func(n int, r *http.Request) (*http.Response, error) {
						harness.Equal(t, "times closed before the last attempt is over", closed(), 0)
						return harness.Statuses(tt.statuses...)(n, r)
					}, harness.MaxReplay(tt.limit))
					if use.trip != nil {
						c.SetTransport(use.on(c.GetClient().Transport))
					} else {
						c.SetDigestAuth("user", "secret")
					}
					c.Do(t, c.R().SetBody(body), "PUT", "/")
					harness.Equal(t, "times closed", closed(), 1)
				})
			}
		}
	}
}

// While a transport reads, the source stays open, even after Execute has returned.
func TestABodyIsOpenUntilTheTransportHasReadIt(t *testing.T) {
	harness.NoGoroutines(t)
	text := harness.Text(50_000)
	for name, of := range closers {
		for _, statuses := range [][]int{{200}, {503, 200}} {
			harness.Bubble(t, fmt.Sprint(name, " ", statuses), func(t *testing.T) {
				l := &lateReader{script: harness.Statuses(statuses...)}
				c := l.client(t)
				body, closed := of(t, text)
				c.Do(t, c.R().SetBody(body), "PUT", "/").WantStatus(t, 200)
				harness.Equal(t, "times closed while it is read", closed(), 0)
				texts := l.finish()
				harness.Equal(t, "times closed when it was read", closed(), 1)
				if len(texts) == 1 {
					harness.SameText(t, "body", texts[0], text)
				}
			})
		}
	}
}

// A transport ends a Read that waits for the caller by closing the body, as
// net/http does with HTTP/2. A pipe tells its writer.
func TestABodyThatBlocksIsClosedWhenTheTransportClosesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.Mock(nil)
		c.SetTransport(harness.RoundTrip(func(r *http.Request) (*http.Response, error) {
			go func() { _, _ = io.Copy(io.Discard, r.Body) }()
			time.Sleep(time.Second)
			_ = r.Body.Close()
			return harness.Says(413)(1, r)
		}))
		c.Install(t)
		from, to := io.Pipe()
		ended := make(chan error)
		go func() {
			_, _ = io.WriteString(to, "hello")
			time.Sleep(time.Minute)
			_, err := io.WriteString(to, "more")
			ended <- err
		}()
		c.Do(t, c.R().SetBody(struct{ io.ReadCloser }{from}), "PUT", "/").WantStatus(t, 413)
		harness.WantIs(t, <-ended, io.ErrClosedPipe)
	})
}

// unmade cannot be encoded.
type unmade struct{ panics bool }

func (u unmade) MarshalJSON() ([]byte, error) {
	if u.panics {
		panic("no JSON")
	}
	return nil, errors.New("no JSON")
}

type panickingLimiter struct{}

func (panickingLimiter) Allow() bool { panic("no limiter") }

// A request that is refused before its first or second attempt is sent is over, like
// any other.
func TestARequestThatIsNotSentLeavesNothingBehind(t *testing.T) {
	const notSent = "unsent not-sent"
	refused := errors.New("refused")
	by := func(set func(c *resty.Client)) func(*resty.Client, *resty.Request) {
		return func(c *resty.Client, _ *resty.Request) { set(c) }
	}
	limit := func(n int) func(*resty.Client, *resty.Request) {
		return by(func(c *resty.Client) { c.SetRateLimiter(harness.Tokens(n)) })
	}
	onAttempt := func(number int) harness.Option {
		return harness.OnAttempt(func(a restyretry.Attempt) error {
			if a.Number == number {
				return refused
			}
			return nil
		})
	}
	for _, tt := range []struct {
		name  string
		set   func(*resty.Client, *resty.Request)
		opt   harness.Option
		body  any // instead of those that are closed
		sent  int
		story string
	}{
		{name: "URL", set: func(_ *resty.Client, r *resty.Request) { r.SetHeader("URL", "http://[broken") }, story: notSent},
		{name: "URL, and a condition that asks for more", set: func(_ *resty.Client, r *resty.Request) {
			r.SetHeader("URL", "http://[broken").AddRetryCondition(func(*resty.Response, error) bool { return true })
		}, story: notSent},
		{name: "rate limiter", set: limit(0), story: notSent},
		{name: "rate limiter, second attempt", set: limit(1), sent: 1, story: "503 status 1s | unsent not-sent"},
		{name: "rate limiter that panics", set: by(func(c *resty.Client) { c.SetRateLimiter(panickingLimiter{}) }), story: "unsent panic"},
		{name: "later middleware", set: by(func(c *resty.Client) {
			c.OnBeforeRequest(func(*resty.Client, *resty.Request) error { return refused })
		}), story: notSent},
		{name: "OnAttempt", opt: onAttempt(1), story: "unsent stopped"},
		{name: "OnAttempt, second attempt", opt: onAttempt(2), sent: 1, story: "503 stopped 1s"},
		{name: "Target", opt: harness.URL(restyretry.TargetFunc(func(restyretry.Attempt) (string, error) {
			return "", refused
		})), story: "unsent stopped"},
		{name: "PreRequest", opt: func(o *restyretry.Options) {
			o.PreRequest = func(*resty.Client, *http.Request) error { return refused }
		}, story: notSent},
		{name: "options of the context", set: func(_ *resty.Client, r *resty.Request) {
			r.SetContext(restyretry.With(r.Context(), harness.Attempts(0)))
		}},
		{name: "RetryCount changed after Install", set: by(func(c *resty.Client) { c.SetRetryCount(2) })},
		{name: "body that has no JSON", body: unmade{}, story: notSent},
		{name: "body that panics", body: unmade{true}, story: "unsent panic"},
	} {
		for name, of := range closers {
			harness.Bubble(t, tt.name+", "+name, func(t *testing.T) {
				var opts []harness.Option
				if tt.opt != nil {
					opts = append(opts, tt.opt)
				}
				c := harness.New(t, harness.Statuses(503), opts...)
				body, closed := of(t, "hello")
				given := any(body)
				if tt.body != nil {
					given, closed = tt.body, func() int32 { return 1 }
				}
				r := c.R().SetContext(t.Context()).SetBody(given)
				if tt.set != nil {
					tt.set(c.Client, r)
				}
				ctx := r.Context()
				call := c.Do(t, r, "PUT", r.Header.Get("URL"))
				harness.Equal(t, "times closed", closed(), 1)
				harness.Equal(t, "requests sent", len(call.Sent), tt.sent)
				harness.Equal(t, "failed", call.Err != nil || call.Panic != nil, true)
				call.WantStory(t, tt.story)
				if tt.story != "" {
					harness.Equal(t, "OnDone", len(call.Done), 1)
				}
				if r.Context() != ctx || restyretry.Number(r.Context()) != 0 || r.Method != "PUT" || r.Body != given {
					t.Errorf("got context %v, method %s, body %v; want those of the caller", r.Context(), r.Method, r.Body)
				}
			})
		}
	}
}
