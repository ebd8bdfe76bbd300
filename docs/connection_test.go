package docs

import (
	"context"
	"net"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// block: recipes.md
import (
	"net/http"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
)

// A LeavingTransport sends first attempts over connections that are kept and
// shared, and each retry over a connection of its own.
type LeavingTransport struct{ First, Retries *http.Transport }

// NewLeavingTransport returns one with the settings of base. A shared HTTP/2
// connection on which nothing has come for 15 s is asked for a sign of life, and
// closed 5 s later, for the sake of the next first attempts.
func NewLeavingTransport(base *http.Transport) *LeavingTransport {
	t := &LeavingTransport{First: base.Clone(), Retries: base.Clone()}
	t.First.HTTP2 = &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second}
	t.Retries.DisableKeepAlives = true
	return t
}

func (t *LeavingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if restyretry.Number(r.Context()) > 1 {
		return t.Retries.RoundTrip(r)
	}
	return t.First.RoundTrip(r)
}

// NewLeavingClient returns a client whose retries leave the connection, after a
// 421 too.
func NewLeavingClient(base *http.Transport) (*resty.Client, error) {
	client := resty.New().SetTransport(NewLeavingTransport(base))
	_, err := restyretry.Install(client, func(o *restyretry.Options) {
		o.Statuses = append(o.Statuses, http.StatusMisdirectedRequest)
		o.AttemptTimeout = 10 * time.Second // a dead connection gives no error
	})
	return client, err
}

// end of block

func TestTheNextAttemptTakesANewConnection(t *testing.T) {
	for _, test := range []struct {
		name string
		sick http.HandlerFunc
		http int
		want string
	}{
		{"421 over HTTP/1.1", misdirect, 1, "1 421 status, 2 200 succeeded"},
		{"421 over HTTP/2", misdirect, 2, "1 421 status, 2 200 succeeded"},
		{"a hanging HTTP/2 connection", hang, 2, "1 0 error, 2 200 succeeded"},
	} {
		t.Run(test.name, func(t *testing.T) {
			base, url := connected(t, test.sick, test.http == 2)
			client, err := NewLeavingClient(base)
			if err != nil {
				t.Fatal(err)
			}
			client.SetLogger(silent{})
			ctx := restyretry.With(t.Context(), func(o *restyretry.Options) {
				o.Wait = restyretry.Constant(0)
				o.AttemptTimeout = 500 * time.Millisecond
				o.IdempotencyHeader = "Idempotency-Key" // for the POST that hangs
			})
			if resp, err := client.R().Get(url + "/warm-up"); err != nil || resp.StatusCode() != 200 {
				t.Fatalf("got %v, %v", resp, err)
			}
			resp, err := client.R().SetContext(ctx).SetBody("order").Post(url)
			if err != nil {
				t.Fatal(err)
			}
			if got := resp.RawResponse.ProtoMajor; got != test.http {
				t.Errorf("got HTTP/%d, want HTTP/%d", got, test.http)
			}
			if got := summary(resp.Request); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func misdirect(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "not here", http.StatusMisdirectedRequest)
}

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// connected starts a TLS server on whose first connection all requests but the
// one to warm up are handled by sick, and returns a transport for it.
func connected(t *testing.T, sick http.HandlerFunc, http2 bool) (*http.Transport, string) {
	type key struct{}
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Context().Value(key{}) == int32(1) && !strings.HasSuffix(r.URL.Path, "/warm-up") {
			sick(w, r)
		}
	}))
	server.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, key{}, connections.Add(1))
	}
	server.EnableHTTP2 = http2
	server.StartTLS()
	t.Cleanup(server.Close)

	return server.Client().Transport.(*http.Transport), server.URL
}
