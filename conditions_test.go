package restyretry_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/jarcoal/httpmock"
	"github.com/restyretry/restyretry"
)

// A failure is a way for a request to fail over real sockets.
type failure struct {
	name string
	// begin returns a client, what to ask it for, and counts in asked what
	// reaches the server.
	begin     func(t *testing.T, asked *atomic.Int32) (*resty.Client, string)
	says      string // in the error
	transient bool
	get, post int // attempts with the default options
	asked     int // what reaches the server in each attempt
}

var failures = []failure{
	{"connection refused", refused, "connection refused", true, 3, 3, 0},
	{"proxy refused", proxyRefused, "proxyconnect", true, 3, 3, 0},
	{"name server fails", lookup(2), "server misbehaving", true, 3, 3, 0},
	{"no such host", lookup(3), "no such host", false, 1, 1, 0},

	{"connection reset", hangUp(func(c *net.TCPConn) { _ = c.SetLinger(0) }), "reset by peer", true, 3, 1, 1},
	{"closed without an answer", hangUp(func(*net.TCPConn) {}), "EOF", true, 3, 1, 1},
	{"closed within the header", truncated("HTTP/1.1 200 OK\r\nContent-Type: te"), "unexpected EOF", true, 3, 1, 1},
	{"closed within the body", truncated("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), "unexpected EOF", true, 3, 1, 1},
	{"closed before the body", truncated("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), "unexpected EOF", true, 3, 1, 1},
	{"closed within a chunk", truncated("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf"), "unexpected EOF", true, 3, 1, 1},
	{"reset within the body", resetBody, "reset by peer", true, 3, 1, 1},
	{"timeout of the client", clientTimeout, "Client.Timeout", true, 3, 1, 1},
	{"timeout of the client within the body", clientBodyTimeout, "Client.Timeout", true, 3, 1, 1},
	{"timeout of the transport", headerTimeout, "timeout awaiting response headers", true, 3, 1, 1},

	{"HTTP/2 handler aborts", abortingHTTP2, "INTERNAL_ERROR", true, 3, 1, 1},
	{"HTTP/2 RST_STREAM INTERNAL_ERROR", rstStream(0x2), "INTERNAL_ERROR", true, 3, 1, 1},
	{"HTTP/2 RST_STREAM CANCEL", rstStream(0x8), "CANCEL", true, 3, 1, 1},
	{"HTTP/2 RST_STREAM ENHANCE_YOUR_CALM", rstStream(0xb), "ENHANCE_YOUR_CALM", true, 3, 1, 1},
	{"HTTP/2 RST_STREAM FLOW_CONTROL_ERROR", rstStream(0x3), "FLOW_CONTROL_ERROR", true, 3, 1, 1},
	{"HTTP/2 RST_STREAM HTTP_1_1_REQUIRED", rstStream(0xd), "HTTP_1_1_REQUIRED", false, 1, 1, 1},
	{"HTTP/2 GOAWAY", goAway, "GOAWAY", true, 3, 1, 1},

	{"unknown authority", unknownAuthority, "unknown authority", false, 1, 1, 0},
	{"certificate of another host", otherHost, "not localhost", false, 1, 1, 0},
	{"HTTP where HTTPS is asked for", plainHTTP, "server gave HTTP response", false, 1, 1, 0},
	{"unknown scheme", unknownScheme, "unsupported protocol scheme", false, 1, 1, 0},
	{"invalid header", invalidHeader, "invalid header field value", false, 1, 1, 0},
	{"malformed answer", truncated("nonsense\r\n\r\n"), "malformed HTTP", true, 3, 1, 1},
	{"redirect loop", redirectLoop, "stopped after 10 redirects", false, 1, 1, 10},
	{"refused redirect", refusedRedirect, "auto redirect is disabled", false, 1, 1, 1},
	{"body over the limit", bodyOverLimit, "too large", false, 1, 1, 1},
	{"JSON that does not decode", wrongJSON, "invalid character", false, 1, 1, 1},
	{"truncated JSON", truncatedJSON, "unexpected end of JSON input", false, 1, 1, 1},
	{"body that is not gzip", wrongGzip, "gzip", false, 1, 1, 1},
}

func TestTransientKnowsRealErrors(t *testing.T) {
	for _, f := range failures {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			c, to := f.begin(t, new(atomic.Int32))
			_, err := c.R().Get(to)
			if err == nil || !strings.Contains(err.Error(), f.says) {
				t.Fatalf("got error %v, want one with %q", err, f.says)
			}
			if got := restyretry.Transient(err); got != f.transient {
				t.Errorf("got %t, want %t for %v", got, f.transient, err)
			}
		})
	}
}

func TestConditionRealFailures(t *testing.T) {
	for _, f := range failures {
		for method, attempts := range map[string]int{http.MethodGet: f.get, http.MethodPost: f.post} {
			t.Run(f.name+"/"+method, func(t *testing.T) {
				t.Parallel()
				asked := new(atomic.Int32)
				c, to := f.begin(t, asked)
				install(t, c, constant(0))
				r := c.R()
				if method == http.MethodPost {
					r.SetBody("an order")
				}
				_, err := r.Execute(method, to)
				if err == nil || !strings.Contains(err.Error(), f.says) {
					t.Fatalf("got error %v, want one with %q", err, f.says)
				}
				if got := len(restyretry.History(r)); got != attempts {
					t.Errorf("got %d attempts, want %d: %v", got, attempts, err)
				}
				if got := int(asked.Load()); got != attempts*f.asked {
					t.Errorf("the server was asked %d times, want %d", got, attempts*f.asked)
				}
			})
		}
	}
}

func TestAGETThatIsNotInMethodsIsRepeatedOnlyIfNothingWasSent(t *testing.T) {
	methods := func(o *restyretry.Options) { o.Methods = []string{http.MethodPut} }
	for _, f := range failures {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			c, to := f.begin(t, new(atomic.Int32))
			install(t, c, constant(0), methods)
			r := c.R()
			if _, err := r.Get(to); err == nil || len(restyretry.History(r)) != f.post {
				t.Errorf("got %d attempts, want %d: %v", len(restyretry.History(r)), f.post, err)
			}
		})
	}
}

// newClient returns a client with a transport of its own.
func newClient(t *testing.T) *resty.Client {
	c := resty.New().SetLogger(quiet{})
	t.Cleanup(c.GetClient().CloseIdleConnections)
	return c
}

// serve starts a server that counts what it is asked. It reads a request to its
// end before it hands it over.
func serve(t *testing.T, asked *atomic.Int32, handle http.HandlerFunc) string {
	return start(t, newServer(asked, handle))
}

func newServer(asked *atomic.Int32, handle http.HandlerFunc) *httptest.Server {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		handle(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	return s
}

func start(t *testing.T, s *httptest.Server) string {
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

// closedPort is an address that nobody listens on.
func closedPort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func refused(t *testing.T, _ *atomic.Int32) (*resty.Client, string) {
	return newClient(t), "http://" + closedPort(t)
}

func proxyRefused(t *testing.T, _ *atomic.Int32) (*resty.Client, string) {
	return newClient(t).SetProxy("http://" + closedPort(t)), "http://api.test/"
}

// lookup asks a name server that answers every question with this code.
func lookup(code byte) func(*testing.T, *atomic.Int32) (*resty.Client, string) {
	return func(t *testing.T, _ *atomic.Int32) (*resty.Client, string) {
		server, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = server.Close() })
		go answerNames(server, code)
		resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
		}}
		transport := &http.Transport{DialContext: (&net.Dialer{Resolver: resolver}).DialContext}
		return newClient(t).SetTransport(transport), "http://api.test/"
	}
}

func answerNames(server net.PacketConn, code byte) {
	buf := make([]byte, 1500)
	for {
		n, from, err := server.ReadFrom(buf)
		if err != nil {
			return
		}
		question := 12 // behind the header
		for question < n && buf[question] != 0 {
			question += 1 + int(buf[question])
		}
		answer := buf[:question+1+4]
		answer[2], answer[3] = 0x81, 0x80|code
		clear(answer[6:12]) // no records
		_, _ = server.WriteTo(answer, from)
	}
}

// hijacked serves with the connection in hand, and closes it.
func hijacked(t *testing.T, asked *atomic.Int32, handle func(*net.TCPConn)) (*resty.Client, string) {
	return newClient(t), serve(t, asked, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		handle(conn.(*net.TCPConn))
		_ = conn.Close()
	})
}

func hangUp(how func(*net.TCPConn)) func(*testing.T, *atomic.Int32) (*resty.Client, string) {
	return func(t *testing.T, asked *atomic.Int32) (*resty.Client, string) { return hijacked(t, asked, how) }
}

func truncated(answer string) func(*testing.T, *atomic.Int32) (*resty.Client, string) {
	return hangUp(func(c *net.TCPConn) { _, _ = io.WriteString(c, answer) })
}

func resetBody(t *testing.T, asked *atomic.Int32) (*resty.Client, string) {
	received := make(chan struct{}, 1)
	c, to := hijacked(t, asked, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
		<-received
		_ = c.SetLinger(0)
	})
	// A reset may overtake the header, so it waits until the client has that.
	transport, _ := c.Transport()
	c.SetTransport(roundTrip(func(r *http.Request) (*http.Response, error) {
		resp, err := transport.RoundTrip(r)
		received <- struct{}{}
		return resp, err
	}))
	return c, to
}

// roundTrip is a function as a transport.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

const patience = 100 * time.Millisecond

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// hangInBody answers with half a body.
func hangInBody(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Length", "9")
	_, _ = io.WriteString(w, "half")
	w.(http.Flusher).Flush()
	hang(w, r)
}

func clientTimeout(t *testing.T, asked *atomic.Int32) (*resty.Client, string) {
	return newClient(t).SetTimeout(patience), serve(t, asked, hang)
}

func clientBodyTimeout(t *testing.T, asked *atomic.Int32) (*resty.Client, string) {
	return newClient(t).SetTimeout(patience), serve(t, asked, hangInBody)
}

func headerTimeout(t *testing.T, asked *atomic.Int32) (*resty.Client, string) {
	return newClient(t).SetTransport(&http.Transport{ResponseHeaderTimeout: patience}), serve(t, asked, hang)
}

func abortingHTTP2(t *testing.T, asked *atomic.Int32) (*resty.Client, string) {
	return startHTTP2(t, newServer(asked, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
}

func startHTTP2(t *testing.T, s *httptest.Server) (*resty.Client, string) {
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return resty.NewWithClient(s.Client()).SetLogger(quiet{}), s.URL
}

// Frames of HTTP/2, RFC 9113, section 6.
const (
	headersFrame   = 1
	rstStreamFrame = 3
	settingsFrame  = 4
	goAwayFrame    = 7
)

func frame(kind byte, stream uint32, payload ...uint32) []byte {
	b := []byte{0, 0, byte(4 * len(payload)), kind, 0}
	for _, word := range append([]uint32{stream}, payload...) {
		b = binary.BigEndian.AppendUint32(b, word)
	}
	return b
}

// framed serves HTTP/2 by hand: it calls reply for the header of each request.
func framed(t *testing.T, asked *atomic.Int32, reply func(c *tls.Conn, stream uint32)) (*resty.Client, string) {
	s := newServer(asked, nil)
	s.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
		"h2": func(_ *http.Server, c *tls.Conn, _ http.Handler) {
			defer c.Close()
			_, _ = c.Write(frame(settingsFrame, 0))
			_, _ = io.CopyN(io.Discard, c, int64(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))
			for header := make([]byte, 9); ; {
				if _, err := io.ReadFull(c, header); err != nil {
					return
				}
				_, _ = io.CopyN(io.Discard, c, int64(header[0])<<16|int64(header[1])<<8|int64(header[2]))
				if header[3] == headersFrame {
					asked.Add(1)
					reply(c, binary.BigEndian.Uint32(header[5:]))
				}
			}
		},
	}
	return startHTTP2(t, s)
}

func rstStream(code uint32) func(*testing.T, *atomic.Int32) (*resty.Client, string) {
	return func(t *testing.T, asked *atomic.Int32) (*resty.Client, string) {
		return framed(t, asked, func(c *tls.Conn, stream uint32) {
			_, _ = c.Write(frame(rstStreamFrame, stream, code))
		})
	}
}

// goAway gives up a connection whose request may have been worked on.
func goAway(t *testing.T, asked *atomic.Int32) (*resty.Client, string) {
	return framed(t, asked, func(c *tls.Conn, stream uint32) {
		_, _ = c.Write(frame(goAwayFrame, 0, stream, 0x2))
		_ = c.CloseWrite()
	})
}

func unknownAuthority(t *testing.T, asked *atomic.Int32) (*resty.Client, string) {
	_, to := startHTTP2(t, newServer(asked, nil))
	return newClient(t), to
}

func otherHost(t *testing.T, asked *atomic.Int32) (*resty.Client, string) {
	c, to := startHTTP2(t, newServer(asked, nil))
	return c, strings.Replace(to, "127.0.0.1", "localhost", 1)
}

func plainHTTP(t *testing.T, asked *atomic.Int32) (*resty.Client, string) {
	return newClient(t), strings.Replace(serve(t, asked, nil), "http:", "https:", 1)
}

func unknownScheme(t *testing.T, _ *atomic.Int32) (*resty.Client, string) {
	return newClient(t), "foo://api.test/"
}

func invalidHeader(t *testing.T, asked *atomic.Int32) (*resty.Client, string) {
	return newClient(t).SetHeader("X-Bad", "a\nb"), serve(t, asked, nil)
}

func redirect(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "/again", http.StatusFound)
}

func redirectLoop(t *testing.T, asked *atomic.Int32) (*resty.Client, string) {
	return newClient(t), serve(t, asked, redirect)
}

func refusedRedirect(t *testing.T, asked *atomic.Int32) (*resty.Client, string) {
	return newClient(t).SetRedirectPolicy(resty.NoRedirectPolicy()), serve(t, asked, redirect)
}

func bodyOverLimit(t *testing.T, asked *atomic.Int32) (*resty.Client, string) {
	return newClient(t).SetResponseBodyLimit(4), serve(t, asked, sends("text/plain", "too long"))
}

func sends(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, body)
	}
}

// decoding is a client that wants a result of every response.
func decoding(t *testing.T) *resty.Client {
	return newClient(t).OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
		r.SetResult(new(struct{ Name string }))
		return nil
	})
}

func wrongJSON(t *testing.T, asked *atomic.Int32) (*resty.Client, string) {
	return decoding(t), serve(t, asked, sends("application/json", "<html>"))
}

func truncatedJSON(t *testing.T, asked *atomic.Int32) (*resty.Client, string) {
	return decoding(t), serve(t, asked, sends("application/json", `{"name": `))
}

func wrongGzip(t *testing.T, asked *atomic.Int32) (*resty.Client, string) {
	return newClient(t), serve(t, asked, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		sends("text/plain", "this is not compressed")(w, r)
	})
}

// streamError looks to errors.As like the stream error of the HTTP/2 that
// net/http bundles. The transport repeats some codes itself, with long waits.
type streamError uint32

func (e streamError) Error() string { return fmt.Sprintf("stream error %d", uint32(e)) }

func (e streamError) As(target any) bool {
	v := reflect.ValueOf(target).Elem()
	if v.Kind() != reflect.Struct || v.NumField() != 3 || !v.FieldByName("Code").IsValid() {
		return false
	}
	v.FieldByName("Code").SetUint(uint64(e))
	return true
}

func TestTransient(t *testing.T) {
	inURL := func(err error) error { return &url.Error{Op: "Get", URL: "http://api.test/", Err: err} }
	inOp := func(op string, err error) error { return &net.OpError{Op: op, Net: "tcp", Err: err} }
	inCall := func(name string, errno syscall.Errno) error { return os.NewSyscallError(name, errno) }
	tests := []struct {
		name string
		err  error
		want bool
	}{
		{"no error", nil, false},
		{"unknown", errors.New("unknown"), true},
		{"unknown in a URL error", inURL(errors.New("unknown")), true},
		{"unknown in a dial", inOp("dial", errors.New("unknown")), true},

		{"refused", inURL(inOp("dial", inCall("connect", syscall.ECONNREFUSED))), true},
		{"reset", inURL(inOp("read", inCall("read", syscall.ECONNRESET))), true},
		{"broken pipe", inURL(inOp("write", inCall("write", syscall.EPIPE))), true},
		{"aborted", inOp("accept", inCall("accept", syscall.ECONNABORTED)), true},
		{"timed out", inOp("dial", inCall("connect", syscall.ETIMEDOUT)), true},
		{"no network", inOp("dial", inCall("connect", syscall.ENETUNREACH)), true},
		{"no route", inOp("dial", inCall("connect", syscall.EHOSTUNREACH)), true},
		{"host down", inOp("dial", inCall("connect", syscall.EHOSTDOWN)), true},
		{"not permitted", inOp("dial", inCall("connect", syscall.EACCES)), true},
		{"no such file", inOp("dial", inCall("connect", syscall.ENOENT)), true},
		{"bare errno", syscall.ECONNRESET, true},

		{"EOF", io.EOF, true},
		{"unexpected EOF", inURL(io.ErrUnexpectedEOF), true},
		{"closed", inURL(inOp("read", net.ErrClosed)), true},
		{"closed pipe", io.ErrClosedPipe, true},

		{"deadline of the context", context.DeadlineExceeded, true},
		{"deadline in a URL error", inURL(context.DeadlineExceeded), true},
		{"deadline of the connection", inURL(inOp("read", os.ErrDeadlineExceeded)), true},
		{"cancelled", context.Canceled, false},
		{"cancelled in a URL error", inURL(context.Canceled), false},

		{"no such host", inURL(inOp("dial", &net.DNSError{IsNotFound: true})), false},
		{"no such host, perhaps", &net.DNSError{IsNotFound: true, IsTemporary: true}, false},
		{"name server fails", inURL(inOp("dial", &net.DNSError{IsTemporary: true})), true},
		{"name server is silent", inURL(inOp("dial", &net.DNSError{IsTimeout: true, IsTemporary: true})), true},
		{"name server is silent, and that is all", &net.DNSError{IsTimeout: true}, true},
		{"name server refuses", &net.DNSError{Err: "refused"}, true},

		{"unknown authority", inURL(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), false},
		{"wrong host", inURL(x509.HostnameError{Host: "a.test", Certificate: new(x509.Certificate)}), false},
		{"expired", inURL(x509.CertificateInvalidError{Reason: x509.Expired}), false},
		{"JSON", new(json.SyntaxError), false},
		{"body over the limit", resty.ErrResponseBodyTooLarge, false},
		{"redirects disabled", inURL(resty.ErrAutoRedirectDisabled), false},
		{"no responder", inURL(httpmock.NoResponderFound), true},

		{"HTTP/2 NO_ERROR", streamError(0x0), true},
		{"HTTP/2 PROTOCOL_ERROR", inURL(streamError(0x1)), true},
		{"HTTP/2 INTERNAL_ERROR", inURL(streamError(0x2)), true},
		{"HTTP/2 STREAM_CLOSED", inURL(streamError(0x5)), true},
		{"HTTP/2 REFUSED_STREAM", inURL(streamError(0x7)), true},
		{"HTTP/2 CANCEL", inURL(streamError(0x8)), true},
		{"HTTP/2 COMPRESSION_ERROR", inURL(streamError(0x9)), true},
		{"HTTP/2 ENHANCE_YOUR_CALM", inURL(streamError(0xb)), true},
		{"HTTP/2 INADEQUATE_SECURITY", inURL(streamError(0xc)), false},
		{"HTTP/2 connection lost", inURL(errors.New("http2: client connection lost")), true},
		{"idle connection closed", inURL(errors.New("http: server closed idle connection")), true},
		{"a text about GOAWAY", errors.New("not http2: server sent GOAWAY"), true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			forms := map[string]error{"as it is": test.err}
			if test.err != nil {
				forms["wrapped"] = fmt.Errorf("outside: %w", test.err)
				forms["wrapped within a URL error"] = inURL(fmt.Errorf("tunnel: %w", test.err))
				forms["joined"] = fmt.Errorf("%w (%w)", test.err, errors.New("more"))
			}
			for form, err := range forms {
				if got := restyretry.Transient(err); got != test.want {
					t.Errorf("%s: got %t, want %t for %v", form, got, test.want, err)
				}
			}
		})
	}
}

// A real server that is too slow for one attempt, before and within the body.
func TestConditionAttemptTimeout(t *testing.T) {
	for name, handle := range map[string]http.HandlerFunc{"header": hang, "body": hangInBody} {
		for method, want := range map[string]int{http.MethodGet: 2, http.MethodPost: 1} {
			t.Run(name+"/"+method, func(t *testing.T) {
				t.Parallel()
				asked := new(atomic.Int32)
				c := newClient(t)
				install(t, c, constant(0), attempts(2), func(o *options) { o.AttemptTimeout = patience })
				_, err := c.R().Execute(method, serve(t, asked, handle))
				if !errors.Is(err, context.DeadlineExceeded) || !restyretry.Transient(err) {
					t.Errorf("got %v, want a transient deadline", err)
				}
				if got := int(asked.Load()); got != want {
					t.Errorf("the server was asked %d times, want %d", got, want)
				}
			})
		}
	}
}

// The caller's own end of a request is never retried, nor is Errors asked.
func TestConditionCallersEnd(t *testing.T) {
	tests := []struct {
		name string
		end  func(context.Context) (context.Context, context.CancelFunc)
		want string
	}{
		{"cancel", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		}, "1 cancelled"},
		{"deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}, "1 deadline"},
	}
	for _, test := range tests {
		synctest.Test(t, func(t *testing.T) {
			c := mocked(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			})
			install(t, c, func(o *options) {
				o.Errors = func(err error) bool {
					t.Errorf("%s: Errors is asked about %v", test.name, err)
					return true
				}
			})
			ctx, cancel := test.end(context.Background())
			defer cancel()
			r := c.R().SetContext(ctx)
			if _, err := r.Get("/"); !errors.Is(err, ctx.Err()) {
				t.Errorf("%s: got error %v, want %v", test.name, err, ctx.Err())
			}
			if got := summary(restyretry.History(r)); got != test.want {
				t.Errorf("%s: got %s, want %s", test.name, got, test.want)
			}
		})
	}
}

// What fails after the response is there in full does not concern Errors, not
// even one that retries everything, and not even if there was no body.
func TestConditionErrorsIsNotAskedAboutACompleteResponse(t *testing.T) {
	xml := func(body string) httpmock.Responder {
		return httpmock.NewStringResponder(200, body).HeaderSet(http.Header{"Content-Type": {"application/xml"}})
	}
	refusing := func(err error) func(*resty.Client) {
		return func(c *resty.Client) {
			c.OnAfterResponse(func(*resty.Client, *resty.Response) error { return err })
		}
	}
	tests := []struct {
		name    string
		respond httpmock.Responder
		prepare func(*resty.Client)
	}{
		{"wrong XML", xml("<a>"), nil},
		{"empty XML", xml(""), nil}, // io.EOF
		{"OnAfterResponse", httpmock.NewStringResponder(200, "OK"), refusing(io.EOF)},
		{"OnAfterResponse, EOF without a body", httpmock.NewStringResponder(204, ""), refusing(io.EOF)},
		{"OnAfterResponse, another error without a body", httpmock.NewStringResponder(204, ""), refusing(io.ErrUnexpectedEOF)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := mocked(test.respond)
				if test.prepare != nil {
					test.prepare(c)
				}
				install(t, c, restyretry.AiohttpRetry, func(o *options) {
					o.Errors = func(err error) bool {
						t.Errorf("Errors is asked about %v", err)
						return true
					}
				})
				r := c.R().SetResult(new(struct{ Name string }))
				if _, err := r.Get("/"); err == nil {
					t.Error("got no error")
				}
				if got := summary(restyretry.History(r)); got != "1 not-retryable" {
					t.Errorf("got %s, want 1 not-retryable", got)
				}
			})
		})
	}
}

// RetryIf may retry what Errors is not asked about.
func TestConditionRetryIfIsAskedAboutDecoding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond := httpmock.NewStringResponder(200, "{").HeaderSet(http.Header{"Content-Type": {"application/json"}})
		c := mocked(respond)
		install(t, c, func(o *options) {
			o.RetryIf = func(a restyretry.Attempt) bool { return a.Err != nil && a.StatusCode() == 200 }
		})
		r := c.R().SetResult(new(struct{ Name string }))
		if _, err := r.Get("/"); err == nil {
			t.Error("got no error")
		}
		if got := summary(restyretry.History(r)); got != "1 condition, 2 condition, 3 attempts" {
			t.Errorf("got %s", got)
		}
	})
}

func TestConditionErrorsIsNotAskedAboutWhatWasNotSent(t *testing.T) {
	respond, calls := answers(200)
	c := mocked(respond)
	c.OnBeforeRequest(func(*resty.Client, *resty.Request) error { return io.EOF })
	install(t, c, func(o *options) {
		o.Errors = func(err error) bool {
			t.Errorf("Errors is asked about %v", err)
			return true
		}
	})
	if _, err := c.R().Get("/"); !errors.Is(err, io.EOF) || *calls != 0 {
		t.Errorf("got %v and %d calls, want EOF and none", err, *calls)
	}
}

// A POST that failed to connect after a redirect has reached the first server.
func TestConditionPostIsNotRepeatedAfterARedirect(t *testing.T) {
	for _, status := range []int{302, 303, 307, 308} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			to := "http://" + closedPort(t) + "/orders"
			asked := new(atomic.Int32)
			c := newClient(t)
			install(t, c, constant(0))
			from := serve(t, asked, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, status) })
			_, err := c.R().SetBody("an order").Post(from + "/orders")
			if failed := new(net.OpError); !errors.As(err, &failed) || failed.Op != "dial" || asked.Load() != 1 {
				t.Errorf("got %v, and the server was asked %d times, want once", err, asked.Load())
			}
		})
	}
}

// The same on one server, which goes away after its redirect.
func TestConditionPostIsNotRepeatedAfterARedirectToTheSameHost(t *testing.T) {
	for _, to := range []string{"/elsewhere", "/orders?page=2", "/orders"} {
		t.Run(to, func(t *testing.T) {
			asked := new(atomic.Int32)
			from := serve(t, asked, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Connection", "close")
				http.Redirect(w, r, to, http.StatusTemporaryRedirect)
			})
			c := newClient(t).SetTransport(&http.Transport{DialContext: everySecondRefused()})
			install(t, c, constant(0))
			_, err := c.R().SetBody("an order").Post(from + "/orders")
			if failed := new(net.OpError); !errors.As(err, &failed) || failed.Op != "dial" || asked.Load() != 1 {
				t.Errorf("got %v, and the server was asked %d times, want once", err, asked.Load())
			}
		})
	}
}

// everySecondRefused dials, but not the second, fourth … time.
func everySecondRefused() func(ctx context.Context, network, address string) (net.Conn, error) {
	var dials atomic.Int32
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials.Add(1)%2 == 0 {
			return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}

func TestConditionIdempotencyKeyAllowsAnyMethod(t *testing.T) {
	asked := new(atomic.Int32)
	c, to := hangUp(func(*net.TCPConn) {})(t, asked)
	install(t, c, constant(0))
	r := c.R().SetHeader("Idempotency-Key", "1").SetBody("an order")
	if _, err := r.Post(to); !errors.Is(err, io.EOF) || asked.Load() != 3 {
		t.Errorf("got %v, and the server was asked %d times, want EOF and 3", err, asked.Load())
	}
}
