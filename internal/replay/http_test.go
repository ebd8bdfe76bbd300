package replay_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/restyretry/restyretry/internal/harness"
	"github.com/restyretry/restyretry/internal/replay"
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

// post sends a body to a server that redirects it once and then echoes it.
func post(t *testing.T, transport *http.Transport, b *replay.Body) (string, error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/" {
			http.Redirect(w, r, "/there", http.StatusTemporaryRedirect)
		}
		_, _ = w.Write(body)
	}))
	t.Cleanup(server.Close)
	t.Cleanup(transport.CloseIdleConnections)
	hr, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/", open(t, b))
	if err != nil {
		t.Fatal(err)
	}
	hr.GetBody, hr.ContentLength = b.Open, b.Size()
	resp, err := (&http.Client{Transport: transport}).Do(hr)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

func TestNetHTTPSendsASmallBodyTogetherWithTheHeader(t *testing.T) {
	for _, k := range kinds()[:5] { // those in memory
		t.Run(k.name, func(t *testing.T) {
			var writes atomic.Int32
			got, err := post(t, &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
				return countedConn{conn, &writes}, err
			}}, begun(k.of(t, "a small body"), noLimit))
			harness.Equal(t, "error", err, nil)
			harness.Equal(t, "echo", got, "a small body")
			harness.Equal(t, "writes of two requests", writes.Load(), 2)
		})
	}
}

func TestNetHTTPFollowsARedirectWithAStreamAndSeesItsError(t *testing.T) {
	want := harness.Text(100_000)
	got, err := post(t, &http.Transport{}, begun(harness.Stream(want), noLimit))
	harness.Equal(t, "error", err, nil)
	harness.SameText(t, "echo", got, want)

	broken := errors.New("broken")
	_, err = post(t, &http.Transport{}, begun(io.MultiReader(strings.NewReader("begin"), iotest.ErrReader(broken)), noLimit))
	wantFinal(t, err, broken)
}
