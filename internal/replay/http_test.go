package replay_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// A countedConn counts what is written.
type countedConn struct {
	net.Conn
	writes *atomic.Int32
}

func (c countedConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

func TestNetHTTPSendsASmallBodyTogetherWithTheHeader(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	}))
	defer server.Close()
	for _, k := range kinds[:5] { // those in memory
		t.Run(k.name, func(t *testing.T) {
			var writes atomic.Int32
			transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
				return countedConn{conn, &writes}, err
			}}
			defer transport.CloseIdleConnections()
			const content = "a small body"
			b := begun(k.of(t, content), noLimit)
			hr, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			hr.Body, hr.GetBody, hr.ContentLength = open(t, b), b.Open, b.Size()
			resp, err := transport.RoundTrip(hr)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			wantRest(t, resp.Body, content)
			if got := writes.Load(); got != 1 {
				t.Errorf("got %d writes, want 1", got)
			}
		})
	}
}

func TestNetHTTPSeesTheCauseOfABodyThatFails(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer server.Close()
	b := begun(io.MultiReader(strings.NewReader("begin"), &chunked{from: strings.NewReader(""), chunk: 1, end: errBroken}), noLimit)
	resp, err := server.Client().Post(server.URL, "text/plain", open(t, b))
	if err == nil {
		_ = resp.Body.Close()
	}
	wantErr(t, err, errBroken)
	wantFinal(t, err)
}

func TestNetHTTPFollowsARedirectWithAStream(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/" {
			http.Redirect(w, r, "/there", http.StatusTemporaryRedirect)
			return
		}
		_, _ = w.Write(body)
	}))
	defer server.Close()
	want := text(100_000)
	b := begun(stream(want), noLimit)
	hr, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, open(t, b))
	if err != nil {
		t.Fatal(err)
	}
	hr.GetBody, hr.ContentLength = b.Open, b.Size()
	resp, err := server.Client().Do(hr)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	wantRest(t, resp.Body, want)
}
