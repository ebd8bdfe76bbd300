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

// Conns sends requests without a body by net/http, over connections that work in a
// bubble. Each is a list of what the server writes after one request after the
// other, before it closes; one that is nil is refused. The last repeats.
func Conns(t testing.TB, conns ...[]string) Script {
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
	return func(_ int, r *http.Request) (*http.Response, error) { return transport.RoundTrip(r) }
}

func serve(conn net.Conn, texts []string) {
	defer conn.Close()
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
