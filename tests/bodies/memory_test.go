package bodies

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

// memory are the ways to give a request a body in the caller's memory.
var memory = map[string]func([]byte) any{
	"[]byte":        func(text []byte) any { return text },
	"*bytes.Buffer": func(text []byte) any { return bytes.NewBuffer(text) },
	"*bytes.Reader": func(text []byte) any { return bytes.NewReader(text) },
}

// A lateReader is a transport that answers when it has read ten bytes of the body,
// and reads on when the test lets it.
type lateReader struct {
	script  harness.Script
	may     chan struct{}
	getBody bool // it opens GetBody too before it answers, and reads it last
	leaves  bool // it closes nothing

	n      int
	behind sync.WaitGroup
	mu     sync.Mutex
	texts  []string
}

func (l *lateReader) RoundTrip(r *http.Request) (*http.Response, error) {
	first := make([]byte, 10)
	if _, err := io.ReadFull(r.Body, first); err != nil {
		return nil, err
	}
	bodies := []io.ReadCloser{r.Body}
	if l.getBody {
		body, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		bodies = append(bodies, body)
	}
	l.behind.Go(func() {
		<-l.may
		for _, body := range bodies {
			l.read(first, body)
			first = nil
		}
	})
	l.n++
	return l.script(l.n, r)
}

func (l *lateReader) read(first []byte, body io.ReadCloser) {
	rest, err := io.ReadAll(body)
	if !l.leaves {
		_ = body.Close()
	}
	text := string(first) + string(rest)
	if err != nil {
		text = err.Error()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.texts = append(l.texts, text)
}

// finish lets it read on, and returns all that it has read.
func (l *lateReader) finish() []string {
	close(l.may)
	l.behind.Wait()
	return l.texts
}

// client returns a client whose bodies l reads.
func (l *lateReader) client(t testing.TB, opts ...harness.Option) *harness.Client {
	l.may = make(chan struct{})
	c := harness.Mock(nil)
	c.SetTransport(l)
	return c.Install(t, append([]harness.Option{second}, opts...)...)
}

// When Execute has returned, the caller may write to the memory of the body. Execute
// does not wait for a transport that still reads it.
func TestMemoryMayBeOverwrittenWhenExecuteHasReturned(t *testing.T) {
	whole := harness.Text(1 << 20)
	for name, wrap := range memory {
		for _, size := range []int{11, 4096, 4097, 1 << 20} {
			for _, tt := range []struct {
				statuses             []int
				raw, getBody, leaves bool
				bodies, attempts     int
			}{
				{statuses: []int{200}, bodies: 1, attempts: 1},
				{statuses: []int{503, 503, 200}, getBody: true, bodies: 6, attempts: 3},
				{statuses: []int{503, 200}, raw: true, getBody: true, bodies: 4, attempts: 2},
				{statuses: []int{503}, leaves: true, bodies: 10, attempts: 10},
			} {
				if size > 5000 && (tt.raw || tt.leaves) {
					continue // to save time
				}
				harness.Bubble(t, fmt.Sprintf("%s of %d, %v", name, size, tt), func(t *testing.T) {
					l := &lateReader{script: harness.Statuses(tt.statuses...), getBody: tt.getBody, leaves: tt.leaves}
					c, text := l.client(t, harness.Attempts(10)), []byte(whole[:size])
					call := c.Do(t, c.R().SetBody(wrap(text)).SetDoNotParseResponse(tt.raw), "PUT", "/")
					call.WantTook(t, time.Duration(tt.attempts-1)*time.Second)
					call.WantStatus(t, tt.statuses[len(tt.statuses)-1])
					clear(text)
					texts := l.finish()
					harness.Equal(t, "bodies", len(texts), tt.bodies)
					for _, got := range texts {
						harness.SameText(t, "body", got, whole[:size])
					}
				})
			}
		}
	}
}

// OnAttempt may give every attempt memory of its own, and all of it comes back.
func TestMemoryThatOnAttemptSetMayBeOverwrittenToo(t *testing.T) {
	want := []string{"a" + harness.Text(5000), "b" + harness.Text(5000)}
	texts := [][]byte{[]byte(want[0]), []byte(want[1])}
	synctest.Test(t, func(t *testing.T) {
		l := &lateReader{script: harness.Statuses(503, 200)}
		c := l.client(t, harness.OnAttempt(func(a restyretry.Attempt) error {
			a.Request.SetBody(texts[a.Number-1])
			return nil
		}))
		c.Do(t, c.R(), "PUT", "/").WantStatus(t, 200)
		clear(texts[0])
		clear(texts[1])
		got := l.finish()
		slices.Sort(got)
		harness.Equal(t, "bodies", fmt.Sprint(got), fmt.Sprint(want))
	})
}

// The race detector sees what the bubble does not.
func TestMemoryMayBeOverwrittenWhileATransportReads(t *testing.T) {
	harness.NoGoroutines(t)
	whole := harness.Text(1 << 20)
	for name, wrap := range memory {
		t.Run(name, func(t *testing.T) {
			l := &lateReader{script: harness.Statuses(200)}
			c := l.client(t)
			close(l.may)
			for range 5 {
				text := []byte(whole)
				c.Do(t, c.R().SetBody(wrap(text)), "PUT", "/").WantStatus(t, 200)
				clear(text)
			}
			l.behind.Wait()
			for _, got := range l.texts {
				harness.SameText(t, "body", got, whole)
			}
		})
	}
}

// A transport that asks for the body after Execute has returned gets all of it, or an
// error.
func TestGetBodyAfterTheRequestNeverGivesOtherBytes(t *testing.T) {
	for name, wrap := range memory {
		for _, size := range []int{11, 4096, 4097} {
			harness.Bubble(t, fmt.Sprintf("%s of %d", name, size), func(t *testing.T) {
				c := harness.New(t, harness.Statuses(503, 200))
				want := harness.Text(size)
				text := []byte(want)
				call := c.Do(t, c.R().SetBody(wrap(text)), "PUT", "/").Want(t, again)
				clear(text)
				for _, s := range call.Sent {
					body, err := s.Request.GetBody()
					if err != nil {
						continue
					}
					if got, err := io.ReadAll(body); err == nil {
						harness.SameText(t, "body", string(got), want)
					}
				}
			})
		}
	}
}

// With many requests at once, each keeps its own body, method and context.
func TestManyRequestsAtOnceAreNotMixedUp(t *testing.T) {
	harness.NoGoroutines(t)
	type key struct{}
	c := harness.Mock(func(_ int, r *http.Request) (*http.Response, error) {
		status := 200
		if r.Context().Value(key{}) != r.Header.Get("Idempotency-Key") {
			return nil, errors.New("the context of another request")
		}
		if restyretry.Number(r.Context()) == 1 {
			status = 503
		}
		return harness.Says(status)(0, r)
	}).Install(t, harness.Wait(0))
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"}
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			for n := range 10 {
				id, method := fmt.Sprintf("%d.%d", i, n), methods[i%len(methods)]
				ctx := context.WithValue(t.Context(), key{}, id)
				r := c.R().SetContext(ctx).SetBody(id).SetHeader("Idempotency-Key", id).SetHeader("Method", method)
				resp, err := r.Execute(method, "/")
				if err != nil || resp.StatusCode() != 200 || r.Context() != ctx || r.Method != method || r.Body != id {
					t.Errorf("got %v, %v, method %s, body %v, another context: %v", resp, err, r.Method, r.Body, r.Context() != ctx)
				}
			}
		})
	}
	all.Wait()
	harness.Equal(t, "attempts", len(c.Sent()), 32*10*2)
	for _, s := range c.Sent() {
		harness.Equal(t, "method", s.Method, s.Header.Get("Method"))
		if want := s.Header.Get("Idempotency-Key"); s.Body != want && s.Body != "" || s.Body == "" && s.Request.ContentLength > 0 {
			t.Errorf("got the body %q, want %q", s.Body, want)
		}
	}
}
