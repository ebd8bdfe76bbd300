package wire

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restyretry/restyretry/internal/harness"
)

// A response is thrown away so that its connection can be used again. Over pipes,
// no machine is too slow for that.
func TestRawRetriesUseOneConnection(t *testing.T) {
	for _, size := range []int{0, 100, 60 << 10} {
		harness.Bubble(t, fmt.Sprintf("503 of %d bytes", size), func(t *testing.T) {
			n := 0
			c := harness.Piped(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if n++; n%2 == 1 && r.URL.Path == "/" {
					w.WriteHeader(503)
					_, _ = io.WriteString(w, strings.Repeat("x", size))
					return
				}
				_, _ = io.WriteString(w, "fine")
			}), false)
			transport := c.GetClient().Transport.(*http.Transport)
			dial, dials := transport.DialContext, map[string]int{}
			transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				dials[address]++
				return dial(ctx, network, address)
			}
			other := func() { n -= n % 2; c.Get(t, "http://other.test/x").Want(t, "200 succeeded"); n = 0 }
			other()
			for range 50 {
				c.GetRaw(t, "/", "fine").Want(t, "503 status 1ms | 200 succeeded").WantTook(t, time.Millisecond)
			}
			other()
			harness.Equal(t, "connections", fmt.Sprint(dials), "map[127.0.0.1:443:1 other.test:80:1]")
		})
	}
}

// What does not end, soon or ever, costs 50 ms and its connection.
func TestARawResponseThatNeverEndsIsGivenUpSoon(t *testing.T) {
	for name, body := range map[string]struct {
		chunk string
		pause time.Duration
		want  time.Duration
	}{
		"slow":   {"x", 5 * time.Millisecond, 51 * time.Millisecond},
		"silent": {"", 5 * time.Millisecond, 51 * time.Millisecond},
		"fast":   {strings.Repeat("x", 32<<10), 0, time.Millisecond},
	} {
		for _, http2 := range []bool{false, true} {
			harness.Bubble(t, fmt.Sprintf("%s, HTTP2 %v", name, http2), func(t *testing.T) {
				var n atomic.Int32
				ended := make(chan struct{})
				c := harness.Piped(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if n.Add(1) != 1 {
						_, _ = io.WriteString(w, "fine")
						return
					}
					defer close(ended)
					w.WriteHeader(503)
					for r.Context().Err() == nil {
						_, _ = io.WriteString(w, body.chunk)
						_ = http.NewResponseController(w).Flush()
						time.Sleep(body.pause)
					}
				}), http2)
				c.GetRaw(t, "/", "fine").Want(t, "503 status 1ms | 200 succeeded").WantTook(t, body.want)
				select {
				case <-ended:
				case <-time.After(time.Second):
					t.Error("the response is still open")
				}
			})
		}
	}
}

// Over sockets, the response that is thrown away is there before it is drained.
func TestRawRetriesUseOneSocket(t *testing.T) {
	var n, conns atomic.Int32
	c := harness.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1)%2 == 1 {
			w.WriteHeader(503)
		}
		_, _ = io.WriteString(w, "fine")
	}))
	transport := c.GetClient().Transport.(*http.Transport).Clone()
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conns.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	c.SetTransport(transport)
	harness.NoGoroutines(t)
	for range 20 {
		c.GetRaw(t, "/", "fine")
	}
	c.GetClient().CloseIdleConnections()
	if got := conns.Load(); got > 5 { // it is 1, unless the machine is that slow
		t.Errorf("got %d connections for 40 attempts, want 1", got)
	}
}
