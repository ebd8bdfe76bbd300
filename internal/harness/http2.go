package harness

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// ServeHTTP2 is [Serve] with HTTP/2.
func ServeHTTP2(t testing.TB, handler http.Handler, opts ...Option) *Client {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Config.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, conn)
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	c := Wire(t, server.URL, opts...)
	c.SetTransport(server.Client().Transport)
	return c
}

type connKey struct{}

// Reset ends the connection of a request by RST, with HTTP/2 too.
func Reset(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 {
		HangUp(w, true)
		return
	}
	conn := r.Context().Value(connKey{}).(*tls.Conn).NetConn()
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// AnswerEarly answers before the body has been read, and reads no more of it.
func AnswerEarly(w http.ResponseWriter, r *http.Request, status int) {
	if r.ProtoMajor == 1 {
		_ = http.NewResponseController(w).EnableFullDuplex() // or the server reads on
		w.Header().Set("Connection", "close")
	}
	w.WriteHeader(status)
}

// BothProtocols runs a test with servers of HTTP/1.1 and HTTP/2, in parallel.
func BothProtocols(t *testing.T, f func(t *testing.T, serve func(testing.TB, http.Handler, ...Option) *Client)) {
	t.Run("HTTP/1.1", func(t *testing.T) { t.Parallel(); f(t, Serve) })
	t.Run("HTTP/2", func(t *testing.T) { t.Parallel(); f(t, ServeHTTP2) })
}
