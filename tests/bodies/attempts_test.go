// Package bodies tests what the attempts of a request send.
package bodies

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/restyretry/restyretry/internal/harness"
)

// second is the wait of the stories, for clients that are not made with it.
var second = harness.Wait(time.Second)

const again = "503 status 1s | 200 succeeded"

// A fault is what happens to the first attempt, after its body was read or before.
type fault struct {
	name  string
	meet  harness.RoundTrip
	then  harness.Script
	whole int // requests that arrive in full
	story string
	once  string // if the body cannot be sent again
}

func faults() []fault {
	fine := harness.Statuses(200)
	cut := func(n int, r *http.Request) (*http.Response, error) {
		resp, err := harness.Says(200)(n, r)
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader("part"), iotest.ErrReader(io.ErrUnexpectedEOF)))
		return resp, err
	}
	moved := func(status int) harness.Script {
		to := harness.Says(status, "Location: /moved")
		return harness.Each(to, harness.Statuses(503), to, fine)
	}
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	return []fault{
		{"answered 503", nil, harness.Statuses(503, 200), 2, again, "503 body"},
		{"answered in part", nil, harness.Each(cut, fine), 2, "200 error 1s | 200 succeeded", "200 body"},
		{"not answered", nil, harness.Each(harness.Hangs, fine), 2, "error error 1s | 200 succeeded", "error body"},
		{"sent on by 307, then answered 503", nil, moved(307), 4, again, "error body"},
		{"sent on by 308, then answered 503", nil, moved(308), 4, again, "error body"},
		{"not connected", func(r *http.Request) (*http.Response, error) {
			return nil, errors.Join(refused, r.Body.Close())
		}, fine, 1, "error error 1s | 200 succeeded", ""},
		{"answered 503 after its first bytes", func(r *http.Request) (*http.Response, error) {
			_, _ = io.ReadFull(r.Body, make([]byte, 4)) // and left open
			return harness.Says(503)(1, r)
		}, fine, 1, again, ""},
		{"reset after its first bytes", func(r *http.Request) (*http.Response, error) {
			_, _ = io.ReadFull(r.Body, make([]byte, 4))
			return nil, errors.Join(syscall.ECONNRESET, r.Body.Close())
		}, fine, 1, "error error 1s | 200 succeeded", ""},
	}
}

// client is a client whose first attempt meets the fault.
func (f fault) client(t *testing.T, opts ...harness.Option) *harness.Client {
	c := harness.New(t, f.then, append(opts, harness.AttemptTimeout(time.Minute))...)
	if next := c.GetClient().Transport; f.meet != nil {
		c.SetTransport(harness.RoundTrip(func(r *http.Request) (*http.Response, error) {
			if f.meet == nil {
				return next.RoundTrip(r)
			}
			meet := f.meet
			f.meet = nil
			return meet(r)
		}))
	}
	return c
}

// sizes are a small and a large one: of a small body in memory net/http gets a copy.
func sizes(body harness.Body) []int {
	if body.Of == harness.Memory {
		return []int{11, 5000}
	}
	return []int{5000}
}

func TestEveryAttemptSendsWhatRestyAloneSends(t *testing.T) {
	for _, body := range harness.Bodies() {
		for _, size := range sizes(body) {
			for _, fault := range faults() {
				harness.Bubble(t, fmt.Sprintf("%s of %d, %s", body.Name, size, fault.name), func(t *testing.T) {
					text := harness.Text(size)
					c := fault.client(t)
					r := c.R()
					body.Set(t, r, text)
					call := c.Do(t, r, "PUT", "/").WantEach(t, fault.whole, body.Plain(t, text))
					call.WantStory(t, fault.story)
					if fault.whole == len(call.History) {
						call.Want(t, fault.story)
					}
					for _, s := range call.Sent {
						harness.Equal(t, "length known", s.Request.ContentLength >= 0, body.Sized())
						if body.Of == harness.Nothing { // of which Resty alone makes an empty chunk
							harness.Equal(t, "body", s.Request.Body, io.ReadCloser(http.NoBody))
						}
					}
				})
			}
		}
	}
}

func TestAReaderPastMaxReplayIsSentOnce(t *testing.T) {
	text := harness.Text(5000)
	for _, fault := range faults() {
		harness.Bubble(t, fault.name, func(t *testing.T) {
			c := fault.client(t, harness.MaxReplay(1000))
			call := c.Do(t, c.R().SetBody(harness.Stream(text)), "PUT", "/")
			if fault.once == "" { // no more than four bytes were read
				fault.once = fault.story
			}
			call.WantStory(t, fault.once)
			harness.Equal(t, "requests sent", len(call.Sent), 1)
			harness.SameText(t, "body", call.Sent[0].Body, text)
		})
	}
}

func TestAReaderIsSentAgainUpToMaxReplay(t *testing.T) {
	for _, tt := range []struct {
		limit int64 // -1: the default, 1 MiB
		size  int
		story string
	}{
		{0, 0, again},
		{0, 1, "503 body"},
		{1, 1, again},
		{99_999, 100_000, "503 body"},
		{100_000, 100_000, again},
		{100_001, 100_000, again},
		{-1, 1 << 20, again},
		{-1, 1<<20 + 1, "503 body"},
	} {
		harness.Bubble(t, fmt.Sprintf("%d of %d", tt.size, tt.limit), func(t *testing.T) {
			var opts []harness.Option
			if tt.limit >= 0 {
				opts = append(opts, harness.MaxReplay(tt.limit))
			}
			c := harness.New(t, harness.Statuses(503, 200), opts...)
			text := harness.Text(tt.size)
			call := c.Do(t, c.R().SetBody(harness.Stream(text)), "PUT", "/").Want(t, tt.story)
			harness.SameText(t, "body", call.Sent[0].Body, text)
		})
	}
}

func TestHEADAndOPTIONSSendNoBody(t *testing.T) {
	for _, method := range []string{"HEAD", "OPTIONS"} {
		harness.Bubble(t, method, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(503, 200))
			c.Do(t, c.R().SetBody("hello"), method, "/").Want(t, again).WantBodies(t, "", "")
		})
	}
}
