package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

// A shop counts the orders it has taken. Each POST or PATCH is a new one unless it has
// a key that the shop knows; other requests of one method and path are one order.
type shop struct {
	mu     sync.Mutex
	orders map[string]bool
	asked  int
	fault  http.HandlerFunc // answers the first request instead, after the order was taken
}

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	if s.take(r) == 1 && s.fault != nil {
		s.fault(w, r)
		return
	}
	_, _ = io.WriteString(w, "taken")
}

// take returns how many requests there have been.
func (s *shop) take(r *http.Request) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	order := fmt.Sprint("order ", s.asked)
	switch key := r.Header.Get("Idempotency-Key"); {
	case key != "":
		order = key
	case r.Method != http.MethodPost && r.Method != http.MethodPatch:
		order = r.Method + r.URL.Path
	}
	if s.orders == nil {
		s.orders = map[string]bool{}
	}
	s.orders[order] = true
	return s.asked
}

// want wants as many requests as asked, and at most one order of them.
func (s *shop) want(t *testing.T, asked int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	harness.Equal(t, "requests, orders", fmt.Sprint(s.asked, len(s.orders)), fmt.Sprint(asked, min(asked, 1)))
}

// A fault is what goes wrong with the first request.
type fault struct {
	name   string
	server http.HandlerFunc // after the order was taken
	client func(*resty.Client)
	dial   harness.Dial // before the server hears of it
	secure bool
	http2  bool
	wire   bool   // over sockets, not pipes
	unseen bool   // the shop does not hear of the first request
	want   string // of a request that may be repeated
}

// writes answers by hand, and closes the connection.
func writes(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, text)
		_ = conn.Close()
	}
}

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func hangInBody(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, "half")
	_ = http.NewResponseController(w).Flush()
	hang(w, r)
}

func abort(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func impatient(c *resty.Client) { c.SetTimeout(time.Second) }

func limitedOnce(c *resty.Client) {
	var n atomic.Int32
	onward := c.GetClient().Transport
	c.SetTransport(harness.RoundTrip(func(r *http.Request) (*http.Response, error) {
		if n.Add(1) > 1 {
			return onward.RoundTrip(r)
		}
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return &http.Response{StatusCode: 429, Request: r, Header: http.Header{}, Body: http.NoBody}, nil
	}))
}

// moved is a redirect to an address where nothing listens.
func moved(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://nobody.test/orders/1", status)
	}
}

// hello answers a ClientHello with these bytes.
func hello(text string, hangs bool) harness.Dial {
	return harness.Pipes(func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1<<12))
		_, _ = io.WriteString(c, text)
		if hangs {
			_, _ = io.Copy(io.Discard, c)
		}
	})
}

const (
	failed  = "error error 1ms | 200 succeeded"
	partial = "200 error 1ms | 200 succeeded"
	final   = "not-retryable" // last
)

// faults are the faults over pipes, in a bubble, so that hanging takes no time. In
// want, what comes of them is the story of a request that may be repeated.
func faults() []fault {
	return []fault{
		{name: "none", want: "200 succeeded"},
		{name: "503", server: writes("HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n"), want: "503 status 1ms | 200 succeeded"},
		{name: "429 of a rate limiter before the shop", unseen: true, client: limitedOnce, want: "429 status 1ms | 200 succeeded"},
		{name: "404", server: http.NotFound, want: "404 " + final},
		{name: "EOF", server: abort, want: failed},
		{name: "EOF in the header", server: writes("HTTP/1.1 201 Crea"), want: failed},
		{name: "nonsense", server: writes("nonsense\r\n\r\n"), want: failed},
		{name: "body cut off", server: writes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), want: partial},
		{name: "no body at all", server: writes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), want: partial},
		{name: "chunk cut off", server: writes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf"), want: partial},
		{name: "503 cut off", server: writes("HTTP/1.1 503 Down\r\nContent-Length: 9\r\n\r\nhalf"), want: "503 status 1ms | 200 succeeded"},
		{name: "timeout before the header", server: hang, client: impatient, want: failed},
		{name: "timeout in the body", server: hangInBody, client: impatient, want: partial},
		{name: "timeout of the transport", server: hang, client: func(c *resty.Client) {
			c.GetClient().Transport.(*http.Transport).ResponseHeaderTimeout = time.Second
		}, want: failed},
		{name: "HTTP/2 stream aborted", server: abort, secure: true, http2: true, want: failed},
		{name: "HTTP/2 timeout", server: hang, secure: true, http2: true, client: impatient, want: failed},

		{name: "refused", unseen: true, dial: harness.Refuses, want: failed},
		{name: "name not resolved for now", unseen: true, dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: &net.DNSError{IsTemporary: true}}
		}, want: failed},
		{name: "TLS: EOF in the handshake", secure: true, unseen: true, dial: hello("", false), want: failed},
		{name: "TLS: EOF after half a record", secure: true, unseen: true, dial: hello("\x16\x03\x03\x00\x50half", false), want: failed},
		{name: "TLS: handshake timeout", secure: true, unseen: true, dial: hello("", true), client: func(c *resty.Client) {
			c.GetClient().Transport.(*http.Transport).TLSHandshakeTimeout = time.Second
		}, want: failed},
		{name: "TLS: unknown authority", unseen: true, secure: true, client: func(c *resty.Client) { c.SetTLSClientConfig(&tls.Config{}) }, want: "error " + final},
		{name: "TLS: another protocol", secure: true, unseen: true, dial: hello("HTTP/1.1 400 Bad Request\r\n\r\n", true), want: "error " + final},

		{name: "307 to nobody", server: moved(307), want: failed},
		{name: "308 to nobody", server: moved(308), want: failed},
		{name: "redirect loop", server: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, client: func(c *resty.Client) {
			c.SetRedirectPolicy(resty.NoRedirectPolicy())
		}, want: "302 " + final},
		{name: "JSON that does not decode", server: writes("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 6\r\n\r\n<html>"), client: func(c *resty.Client) {
			c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
				r.SetResult(new(struct{ Name string }))
				return nil
			})
		}, want: "200 " + final},
		{name: "gzip that is none", server: writes("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 12\r\n\r\nnot gzipped!"), want: "200 " + final},
		{name: "body over the limit", server: writes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ntoo long."), client: func(c *resty.Client) { c.SetResponseBodyLimit(5) }, want: "200 " + final},
	}
}

// begin opens a shop with the fault, and returns a client that goes there.
func (f fault) begin(t *testing.T, opts ...harness.Option) (*shop, *harness.Client) {
	s := &shop{fault: f.server}
	server, dial := harness.PipeServer(t, s)
	if f.wire {
		server, dial = httptest.NewUnstartedServer(s), new(net.Dialer).DialContext
		t.Cleanup(server.Close)
	}
	if server.EnableHTTP2 = f.http2; f.secure {
		server.StartTLS()
	} else {
		server.Start()
	}
	shopDial := dial
	dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == "nobody.test:80" {
			return harness.Refuses(ctx, network, address)
		}
		return shopDial(ctx, network, address)
	}
	if f.dial != nil {
		dial = harness.EachDial(f.dial, dial)
	}
	c := harness.Wire(t, server.URL, opts...)
	transport := server.Client().Transport.(*http.Transport)
	transport.DialContext = dial
	c.SetTransport(transport)
	if f.client != nil {
		f.client(c.Client)
	}
	return s, c
}

// A use is a request that places an order.
type use struct {
	name, method, key string
	opt               harness.Option
	repeats           bool // even if it may have been sent
}

func makesKeys(o *restyretry.Options) { o.IdempotencyHeader = "Idempotency-Key" }

var uses = []use{
	{"PUT", "PUT", "", nil, true},
	{"POST", "POST", "", nil, false},
	{"POST with a key", "POST", "k-1", nil, true},
	{"POST with a key of the plugin's", "POST", "", makesKeys, true},
	{"GET that is not in Methods", "GET", "", harness.Methods("PUT"), false},
}

// check sends it into the fault. No order must be taken twice.
func (u use) check(t *testing.T, f fault) {
	var opts []harness.Option
	if u.opt != nil {
		opts = append(opts, u.opt)
	}
	s, c := f.begin(t, opts...)
	r := c.R()
	if u.method != http.MethodGet && u.method != http.MethodHead && u.method != http.MethodTrace {
		r.SetBody("an order")
	}
	if u.key != "" {
		r.SetHeader("Idempotency-Key", u.key)
	}
	want := f.want
	if first, _, retried := strings.Cut(want, " | "); retried && !u.repeats && !f.unseen {
		want = strings.Fields(first)[0] + " method"
	}
	call := c.Do(t, r, u.method, "/orders/1")
	call.WantStory(t, want)
	asked := len(call.History)
	if f.unseen {
		asked--
	}
	s.want(t, asked)
}

// A POST that may have been processed, such as after a 503, is sent again only with a
// key.
func TestWhatIsRepeatedAfterAFaultIsOrderedOnce(t *testing.T) {
	for _, u := range uses {
		for _, f := range faults() {
			harness.Bubble(t, u.name+", "+f.name, func(t *testing.T) { u.check(t, f) })
		}
	}
	eof := fault{server: abort, want: failed}
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "DELETE"} {
		harness.Bubble(t, method, func(t *testing.T) { use{"", method, "", nil, true}.check(t, eof) })
	}
	harness.Bubble(t, "PATCH", func(t *testing.T) { use{"", "PATCH", "", nil, false}.check(t, eof) })
	harness.Bubble(t, "PATCH with a key", func(t *testing.T) { use{"", "PATCH", "k-1", nil, true}.check(t, eof) })
}

// The same over sockets, which have faults of their own.
func TestWhatIsRepeatedAfterASocketHasFailedIsOrderedOnce(t *testing.T) {
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = nobody.Close()
	toNobody := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, nobody.Addr().String())
	}
	faults := map[string]func() fault{
		"EOF": func() fault {
			return fault{server: func(w http.ResponseWriter, _ *http.Request) { harness.HangUp(w, false) }, want: failed}
		},
		"reset": func() fault {
			return fault{server: func(w http.ResponseWriter, _ *http.Request) { harness.HangUp(w, true) }, want: failed}
		},
		"reset in the body": resetInBody,
		"refused":           func() fault { return fault{dial: toNobody, unseen: true, want: failed} },
		"HTTP/2 stream aborted": func() fault {
			return fault{server: abort, secure: true, http2: true, want: failed}
		},
		"TLS: reset in the handshake": func() fault {
			return fault{secure: true, dial: resetsHello(t), unseen: true, want: failed}
		},
	}
	for name, f := range faults {
		for _, u := range uses[:3] {
			t.Run(u.name+", "+name, func(t *testing.T) {
				t.Parallel()
				f := f()
				f.wire = true
				u.check(t, f)
			})
		}
	}
}

// resetInBody waits until the client has the header, which a reset may overtake.
func resetInBody() fault {
	received := make(chan struct{}, 9)
	return fault{server: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "9")
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		<-received
		harness.HangUp(w, true)
	}, client: func(c *resty.Client) {
		onward := c.GetClient().Transport
		c.SetTransport(harness.RoundTrip(func(r *http.Request) (*http.Response, error) {
			resp, err := onward.RoundTrip(r)
			received <- struct{}{}
			return resp, err
		}))
	}, want: partial}
}

// resetsHello makes a connection that is reset when the server has got something.
func resetsHello(t *testing.T) harness.Dial {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1<<12))
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		}
	}()
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, l.Addr().String())
	}
}

// A POST that could not connect after a redirect has reached the server that
// redirected it, which may be the same one at the same URL.
func TestNoPOSTIsRepeatedAfterARedirect(t *testing.T) {
	for _, status := range []int{302, 303, 307, 308} {
		for _, to := range []string{"http://nobody.test/orders", "/elsewhere", "/orders?page=2", "/orders"} {
			harness.Bubble(t, fmt.Sprint(status, " ", to), func(t *testing.T) {
				s, c := fault{server: func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Connection", "close")
					http.Redirect(w, r, to, status)
				}}.begin(t)
				transport := c.GetClient().Transport.(*http.Transport)
				transport.DialContext = harness.EachDial(transport.DialContext, harness.Refuses)
				c.Do(t, c.R().SetBody("an order"), "POST", "/orders").Want(t, "error method", syscall.ECONNREFUSED)
				s.want(t, 1)
			})
		}
	}
}

// On a connection that was used before, net/http repeats by itself what has a key,
// and that is one attempt. The plugin cannot see it, and adds no key.
func TestWhatNetHTTPRepeatsItselfIsOrderedOnce(t *testing.T) {
	for _, tt := range []struct {
		method, key, want string
		asked             int
		errs              []error
	}{
		{"PUT", "", "error error 1ms | 200 succeeded", 2, nil},
		{"POST", "", "error method", 1, []error{io.EOF}},
		{"POST", "k-1", "200 succeeded", 2, nil},
	} {
		for _, body := range []any{nil, "an order", strings.NewReader(""), strings.NewReader("an order"), io.MultiReader(strings.NewReader("an order"))} {
			harness.Bubble(t, fmt.Sprintf("%s, key %q, %T", tt.method, tt.key, body), func(t *testing.T) {
				s, c := fault{}.begin(t)
				c.Get(t, "/orders/0").Want(t, "200 succeeded")
				s.orders, s.asked, s.fault = nil, 0, abort
				r := c.R().SetBody(body)
				if tt.key != "" {
					r.SetHeader("Idempotency-Key", tt.key)
				}
				c.Do(t, r, tt.method, "/orders/1").Want(t, tt.want, tt.errs...)
				s.want(t, tt.asked)
			})
		}
	}
}

// A transport without httptrace is believed that nothing was sent only if its error
// comes before a connection is made.
func TestAPOSTOverAnUnknownTransportIsRepeatedIfItCouldNotConnect(t *testing.T) {
	const again = "error error 1s | error error 1s | error attempts"
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, again},
		{&net.OpError{Op: "proxyconnect", Err: errors.New("refused")}, again},
		{&net.DNSError{IsTemporary: true}, again},
		{&net.OpError{Op: "write", Err: errors.New("broken pipe")}, "error method"},
		{&net.OpError{Op: "read", Err: errors.New("reset")}, "error method"},
		{io.EOF, "error method"},
	} {
		harness.Bubble(t, fmt.Sprint(tt.err), func(t *testing.T) {
			c := harness.New(t, harness.Fails(tt.err))
			c.Do(t, c.R().SetBody("an order"), "POST", "/x").Want(t, tt.want, tt.err)
		})
	}
}

func TestAPOSTOverAnUnknownTransportIsNotRepeatedAfterARedirect(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: errors.New("refused")}
	for _, to := range []string{"http://other.test/x", "/elsewhere", "/x?page=2"} {
		harness.Bubble(t, to, func(t *testing.T) {
			c := harness.New(t, harness.Each(harness.Says(307, "Location: "+to), harness.Fails(refused)))
			call := c.Do(t, c.R().SetBody("an order"), "POST", "/x")
			harness.WantIs(t, call.Err, refused)
			call.WantStory(t, "error method")
			harness.Equal(t, "requests", len(call.Sent), 2)
		})
	}
}

func TestWhatTransientCallsFinalIsNotRepeated(t *testing.T) {
	noSuchHost := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: &net.DNSError{IsNotFound: true}}
	}
	for _, tt := range []struct {
		name, url, field string
		dial             harness.Dial
	}{
		{"an unknown scheme", "foo://api.test/", "", nil},
		{"an invalid header field", "/", "a\nb", nil},
		{"no such host", "/", "", noSuchHost},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			s, c := fault{dial: tt.dial}.begin(t)
			r := c.R()
			if tt.field != "" {
				r.SetHeader("X-Bad", tt.field)
			}
			call := c.Do(t, r, "GET", tt.url).Want(t, "error not-retryable", harness.ErrAny)
			harness.Equal(t, "transient", restyretry.Transient(call.Err), false)
			harness.Equal(t, "requests", s.asked, 0)
		})
	}
}

func TestAnAttemptThatTakesTooLongIsAFaultLikeOthers(t *testing.T) {
	for name, server := range map[string]http.HandlerFunc{failed: hang, partial: hangInBody} {
		for _, u := range uses[:3] {
			harness.Bubble(t, u.name+" "+name, func(t *testing.T) {
				u.opt = harness.AttemptTimeout(time.Second)
				u.check(t, fault{server: server, want: name})
			})
		}
	}
}

// A slowConn returns from writing long after it has written.
type slowConn struct {
	net.Conn
	slow *atomic.Bool
}

func (c *slowConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if c.slow.Load() {
		time.Sleep(4 * time.Second)
	}
	return n, err
}

func TestAPOSTThatIsBeingWrittenHasBeenSent(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		harness.Bubble(t, fmt.Sprintf("HTTP2 %v", http2), func(t *testing.T) {
			var slow atomic.Bool
			s, c := fault{secure: http2, http2: http2}.begin(t)
			transport := c.GetClient().Transport.(*http.Transport)
			dial := transport.DialContext
			transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := dial(ctx, network, address)
				return &slowConn{conn, &slow}, err
			}
			c.Get(t, "/").Want(t, "200 succeeded")
			s.orders, s.asked, s.fault = nil, 0, hang
			slow.Store(true)
			r := c.R().SetContext(restyretry.With(t.Context(), harness.AttemptTimeout(time.Second)))
			c.Do(t, r, "POST", "/").Want(t, "error method", context.DeadlineExceeded)
			time.Sleep(10 * time.Second) // until all has been written
			slow.Store(false)            // a bubble cannot sleep in Close, where net/http holds locks
			s.want(t, 1)
		})
	}
}
