package harness

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// A Dial makes the connections of a transport, as its DialContext.
type Dial = func(ctx context.Context, network, address string) (net.Conn, error)

// Pipes makes connections that are pipes, which work in a bubble and take no time.
// serve has the other end of each, which is closed when it returns.
func Pipes(serve func(net.Conn)) Dial {
	return func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			serve(server)
		}()
		return client, nil
	}
}

// EachDial makes the nth connection by the nth of dials; the last repeats.
func EachDial(dials ...Dial) Dial {
	var n atomic.Int32
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		return dials[min(int(n.Add(1)), len(dials))-1](ctx, network, address)
	}
}

// Refuses is a [Dial] to an address where nothing listens.
func Refuses(_ context.Context, network, _ string) (net.Conn, error) {
	return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

// PipeServer returns a server that is not started, and a [Dial] that makes
// connections to it, which are pipes.
func PipeServer(t testing.TB, handler http.Handler) (*httptest.Server, Dial) {
	s := httptest.NewUnstartedServer(handler)
	_ = s.Listener.Close()
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	s.Listener = l
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s, l.dial
}

type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, errors.New("the server is closed")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (*pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443} }

// Piped returns a client like [Serve], whose connections are pipes.
func Piped(t testing.TB, handler http.Handler, http2 bool, opts ...Option) *Client {
	t.Helper()
	s, dial := PipeServer(t, handler)
	if s.EnableHTTP2 = http2; http2 {
		s.StartTLS()
	} else {
		s.Start()
	}
	transport := s.Client().Transport.(*http.Transport)
	transport.DialContext = dial
	c := Wire(t, s.URL, opts...)
	c.SetTransport(transport)
	return c
}
