package harness

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
)

// Conns sends requests without a body by net/http: see [Transport].
func Conns(t testing.TB, conns ...[]string) Script {
	transport := Transport(t, conns...)
	return func(_ int, r *http.Request) (*http.Response, error) { return transport.RoundTrip(r) }
}

// Transport returns a transport of net/http's over pipes, which work in a bubble.
// Each connection is the list of what the server writes, one text after each request,
// before it closes the connection. A nil connection is refused, an empty one never
// answers. The last one repeats.
func Transport(t testing.TB, conns ...[]string) *http.Transport {
	var n atomic.Int32
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		texts := conns[min(int(n.Add(1)), len(conns))-1]
		if texts == nil {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
		}
		near, far := net.Pipe()
		go serve(far, texts)
		return near, nil
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

func serve(conn net.Conn, texts []string) {
	defer conn.Close()
	if len(texts) == 0 {
		_, _ = io.Copy(io.Discard, conn)
	}
	in := bufio.NewReader(conn)
	for _, text := range texts {
		if _, err := http.ReadRequest(in); err != nil {
			return
		}
		if _, err := io.WriteString(conn, text); err != nil {
			return
		}
	}
}
