package harness

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/go-resty/resty/v2"
)

// Serve starts a server on the loopback, and returns a client of it with the
// plugin, which waits a millisecond before each retry.
func Serve(t testing.TB, handler http.Handler, opts ...Option) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return Wire(t, server.URL, opts...)
}

// Wire returns a client with the plugin for a server that is there, like [Serve].
// What its requests send goes over the wire, and is not recorded.
func Wire(t testing.TB, baseURL string, opts ...Option) *Client {
	t.Helper()
	c := &Client{Client: resty.New().SetBaseURL(baseURL).SetLogger(Silent{})}
	t.Cleanup(c.GetClient().CloseIdleConnections)
	return c.Install(t, append([]Option{Wait(time.Millisecond)}, opts...)...)
}

// HangUp closes the connection of a request without an answer, by FIN or by RST.
func HangUp(w http.ResponseWriter, reset bool) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// NoGoroutines fails the test if at its end, and up to 5 seconds later, there are more
// goroutines than now. Call it first in a test.
func NoGoroutines(t testing.TB) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				all := make([]byte, 1<<16)
				t.Fatalf("got %d goroutines, want %d\n%s", runtime.NumGoroutine(), before, all[:runtime.Stack(all, true)])
			}
		}
	})
}

// Descriptors counts the open descriptors of a file. It needs /proc.
func Descriptors(t testing.TB, path string) (n int) {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil || len(links) == 0 {
		t.Skip("there is no /proc/self/fd")
	}
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == path {
			n++
		}
	}
	return n
}
