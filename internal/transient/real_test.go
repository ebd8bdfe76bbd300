package transient_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry/internal/transient"
)

// A failure is a way for a request to fail over real sockets.
type failure struct {
	name string
	fail func(*testing.T) error
	says string // in the error
}

var transientFailures = []failure{
	{"connection refused", refused, ""},
	{"proxy refused", func(t *testing.T) error { return viaProxy(t, "http://"+closedPort(t)) }, "proxyconnect"},
	{"local address that is not there", addressNotAvailable, ""},
	{"Unix socket that is not there", unixSocket, ""},
	{"name server fails", lookup(2), "server misbehaving"},

	{"connection reset", answer(func(c *net.TCPConn) { _ = c.SetLinger(0) }), ""},
	{"closed without an answer", answers(""), "EOF"},
	{"nonsense", answers("nonsense\r\n\r\n"), `malformed HTTP response "nonsense"`},
	{"malformed header", answers("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"), "malformed MIME header"},
	{"malformed chunk", answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n"), "invalid byte in chunk length"},
	{"gzip cut off", answers("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 12\r\n\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x4a\x4c"), "unexpected EOF"},

	{"timeout of the client", timeout(func(c *http.Client) { c.Timeout = patience }, false), "Client.Timeout"},
	{"timeout of the client within the body", timeout(func(c *http.Client) { c.Timeout = patience }, true), "Client.Timeout"},
	{"timeout of the transport", timeout(func(c *http.Client) { c.Transport.(*http.Transport).ResponseHeaderTimeout = patience }, false), "timeout awaiting response headers"},
	{"timeout of the handshake", handshakeTimeout, "TLS handshake timeout"},
	{"deadline of the request", deadline, "context deadline exceeded"},

	{"TLS server has a problem", tlsServer(func(c *tls.Config) {
		c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("no memory") }
	}), "tls: internal error"},
	{"TLS closed in the handshake", overTLS(""), "EOF"},
	{"TLS alert user_canceled", overTLS("\x15\x03\x03\x00\x02\x02\x5a"), "tls: user canceled"},

	{"proxy is down", proxyStatus(503), "Service Unavailable"},
	{"proxy finds nobody", proxyStatus(502), "Bad Gateway"},
	{"proxy runs into a timeout", proxyStatus(504), "Gateway Timeout"},
	{"proxy limits the rate", proxyStatus(429), "Too Many Requests"},
	{"proxy waits no longer", proxyStatus(408), "Request Timeout"},
	{"proxy with a phrase of its own", proxyAnswers("HTTP/1.1 599 We are closed\r\n\r\n"), "We are closed"},
	{"SOCKS target refused", socks("\x05\x00", "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"), "connection refused"},

	{"HTTP/2 REFUSED_STREAM", stream(0x7), "REFUSED_STREAM"},
	{"HTTP/2 PROTOCOL_ERROR", stream(0x1), "PROTOCOL_ERROR"},
	{"HTTP/2 INTERNAL_ERROR", stream(0x2), "INTERNAL_ERROR"},
	{"HTTP/2 FLOW_CONTROL_ERROR", stream(0x3), "FLOW_CONTROL_ERROR"},
	{"HTTP/2 CANCEL", stream(0x8), "CANCEL"},
	{"HTTP/2 ENHANCE_YOUR_CALM", stream(0xb), "ENHANCE_YOUR_CALM"},
	{"HTTP/2 GOAWAY", goAway(0x2), "GOAWAY"},
	{"HTTP/2 connection closed", framed(func(c net.Conn, _ uint32) { _ = c.Close() }), ""},

	{"Resty's rate limit", func(t *testing.T) error {
		_, err := resty.New().SetRateLimiter(never{}).R().Get(serve(t, sends("text/plain", "")))
		return err
	}, "rate limit exceeded"},
}

var finalFailures = []failure{
	{"context cancelled", cancelled, "context canceled"},
	{"no such host", lookup(3), "no such host"},
	{"port that is none", asks("http://127.0.0.1:99999/"), "invalid port"},

	{"unknown authority", func(t *testing.T) error { return get(t, new(http.Client), tlsURL(t)) }, "unknown authority"},
	{"certificate of another host", otherHost, "not localhost"},
	{"certificate that is none", tlsServer(func(c *tls.Config) { c.Certificates[0].Certificate = [][]byte{{1}} }), "tls: failed to parse certificate"},
	{"certificate required", tlsServer(func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }), "tls: certificate required"},
	{"no cipher suite in common", cipherSuites, "tls: handshake failure"},
	{"no application protocol in common", tlsServer(func(c *tls.Config) { c.NextProtos = []string{"smtp"} }), "tls: no application protocol"},
	{"TLS version that the server refuses", tlsServer(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 }), "tls: protocol version not supported"},
	{"TLS version that the client refuses", overTLS(helloTLS11), "tls: server selected unsupported protocol version"},
	{"TLS versions that exclude each other", noVersion, "tls: no supported versions"},
	{"TLS alert unrecognized_name", overTLS("\x15\x03\x03\x00\x02\x02\x70"), "tls: unrecognized name"},
	{"HTTP where HTTPS is asked for", overTLS("HTTP/1.1 400 Bad Request\r\n\r\n"), "server gave HTTP response"},
	{"SSH where HTTPS is asked for", overTLS("SSH-2.0-OpenSSH_9.2\r\n"), "does not look like a TLS handshake"},
	{"TLS where HTTP is asked for", answers("\x15\x03\x01\x00\x02\x02\x46"), "malformed HTTP response"},
	{"HTTP/2 where HTTP is asked for", answers(string(frame(settingsFrame, 0))), "malformed HTTP response"},

	{"URL that does not parse", asks("http://api.test:port/"), "invalid port"},
	{"URL with a control character", asks("http://api.test/\n"), "invalid control character"},
	{"URL with a control character, not parsed", sent(func(r *http.Request) { r.URL.Opaque = "/\n" }), "control character in Request.URL"},
	{"unknown scheme", asks("gopher://api.test/"), "unsupported protocol scheme"},
	{"no host", asks("http:///x"), "no Host in request URL"},
	{"host that is none", viaPlainProxy(func(r *http.Request) { r.Host = "a\x00b" }), "http: invalid Host header"},
	{"method that is none", sent(func(r *http.Request) { r.Method = "GET IT" }), "invalid method"},
	{"method that is none, when the request is built", func(*testing.T) error { _, err := http.NewRequest("GET IT", "/", nil); return err }, "invalid method"},
	{"no URL", sent(func(r *http.Request) { r.URL = nil }), "nil Request.URL"},
	{"no header", roundTrip(func(r *http.Request) { r.Header = nil }), "nil Request.Header"},
	{"RequestURI", sent(func(r *http.Request) { r.RequestURI = "/" }), "RequestURI can't be set"},
	{"header name", sent(func(r *http.Request) { r.Header["a b"] = []string{"x"} }), "invalid header field name"},
	{"header value", sent(func(r *http.Request) { r.Header["A"] = []string{"x\ny"} }), "invalid header field value"},
	{"trailer name", sent(func(r *http.Request) { r.Trailer = http.Header{"a b": {"x"}} }), "invalid trailer field name"},
	{"trailer that must not be one", sent(func(r *http.Request) {
		r.Method, r.Body = http.MethodPost, io.NopCloser(strings.NewReader("x"))
		r.Trailer = http.Header{"Content-Length": {"1"}}
	}), "invalid Trailer key"},
	{"body shorter than its length", sent(func(r *http.Request) { withBody(r, 9) }), "ContentLength=9 with Body length 3"},
	{"body longer than its length", sent(func(r *http.Request) { withBody(r, 1) }), "ContentLength=1 with Body length"},
	{"length without a body", sent(func(r *http.Request) { r.ContentLength = 3 }), "ContentLength=3 with nil Body"},

	{"redirect loop", func(t *testing.T) error { return get(t, new(http.Client), serve(t, redirectsTo("/again"))) }, "stopped after 10 redirects"},
	{"redirect loop of Resty's", func(t *testing.T) error { return redirected(t, resty.FlexibleRedirectPolicy(3), "/again") }, "stopped after 3 redirects"},
	{"refused redirect", func(t *testing.T) error { return redirected(t, resty.NoRedirectPolicy(), "/again") }, "auto redirect is disabled"},
	{"redirect to another domain", func(t *testing.T) error {
		return redirected(t, resty.DomainCheckRedirectPolicy("127.0.0.1"), "http://api.test/")
	}, "redirect is not allowed"},
	{"redirect to no URL", func(t *testing.T) error { return get(t, new(http.Client), serve(t, redirectsTo("http://["))) }, "failed to parse Location"},
	{"no Location", func(*testing.T) error { _, err := new(http.Response).Location(); return err }, "no Location header"},

	{"proxy refuses", proxyStatus(403), "Forbidden"},
	{"proxy wants a password", proxyStatus(407), "Proxy Authentication Required"},
	{"proxy refuses in lower case", proxyAnswers("HTTP/1.1 407 Proxy authentication required\r\n\r\n"), "Proxy authentication required"},
	{"SOCKS proxy wants a password", socks("\x05\xff", ""), "no acceptable authentication methods"},
	{"SOCKS proxy refuses the password", socksPassword, "username/password authentication failed"},
	{"SOCKS proxy refuses the target", socks("\x05\x00", "\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00"), "not allowed by ruleset"},
	{"SOCKS proxy cannot connect", socks("\x05\x00", "\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00"), "command not supported"},
	{"SOCKS proxy without such addresses", socks("\x05\x00", "\x05\x08\x00\x01\x00\x00\x00\x00\x00\x00"), "address type not supported"},
	{"proxy address that is none", func(t *testing.T) error { return viaProxy(t, "http://127.0.0.1:99999") }, "invalid port"},
	{"proxy of an unknown scheme", func(t *testing.T) error { return viaProxy(t, "gopher://127.0.0.1") }, "127.0.0.1:0"},
	{"proxy address within CGI", environment("HTTP_PROXY=http://proxy.test", "REQUEST_METHOD=GET"), "CGI environment"},

	{"header over the limit", limited(false, longHeader), "server response headers exceeded"},
	{"HTTP/2 header over the limit", limited(true, longHeader), "response header list larger"},
	{"body over Resty's limit", func(t *testing.T) error {
		_, err := resty.New().SetResponseBodyLimit(4).R().Get(serve(t, sends("text/plain", "too long")))
		return err
	}, "too large"},

	{"HTTP/2 INADEQUATE_SECURITY", stream(0xc), "INADEQUATE_SECURITY"},
	{"HTTP/2 HTTP_1_1_REQUIRED", stream(0xd), "HTTP_1_1_REQUIRED"},
	{"HTTP/2 GOAWAY for INADEQUATE_SECURITY", goAway(0xc), "INADEQUATE_SECURITY"},
	{"HTTP/2 header over the server's limit", smallHeaders, "request header list larger"},
	{"HTTP/2 with Connection", sent2(func(r *http.Request) { r.Header.Set("Connection", "upgrade") }), "invalid Connection request header"},
	{"HTTP/2 with Upgrade", sent2(func(r *http.Request) { r.Header.Set("Upgrade", "websocket") }), "invalid Upgrade request header"},
	{"HTTP/2 with Transfer-Encoding", sent2(func(r *http.Request) { r.Header.Set("Transfer-Encoding", "gzip") }), "invalid Transfer-Encoding request header"},
	{"host that is no name", sent(func(r *http.Request) { r.Host = "xn--\u00fc.test" }), "idna: invalid label"},
	{"HTTP/2 with a host that is none", sent2(func(r *http.Request) { r.Host = "a\x00b" }), "http2: invalid Host header"},
	{"HTTP/2 with a path that is none", sent2(func(r *http.Request) { r.URL.Opaque = "x" }), "invalid request :path"},
	{"HTTP/2 body longer than its length", sent2(func(r *http.Request) { withBody(r, 1) }), "larger than specified content length"},

	{"body that is not gzip", answers("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 12\r\n\r\nnot gzipped!"), "gzip: invalid header"},
	{"gzip with a wrong checksum", answers("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" + wrongChecksum()), "gzip: invalid checksum"},
	{"JSON that does not decode", decoded("application/json", "<html>"), "invalid character"},
	{"JSON that ends early", decoded("application/json", `{"Number": `), "unexpected end of JSON input"},
	{"JSON of another type", decoded("application/json", `{"Number": "x"}`), "cannot unmarshal"},
	{"XML that does not decode", decoded("application/xml", "<a><b></a>"), "XML syntax error"},
	{"XML with no number", decoded("application/xml", "<a><Number>x</Number></a>"), "strconv.ParseInt"},
	{"digest challenge that cannot be answered", digest, "digest: "},
}

func TestRealErrorsThatMayGoAwayAreTransient(t *testing.T) {
	for _, f := range transientFailures {
		t.Run(f.name, func(t *testing.T) { f.check(t, true) })
	}
}

func TestRealErrorsThatComeBackAreFinal(t *testing.T) {
	var seen []error
	for _, f := range finalFailures {
		t.Run(f.name, func(t *testing.T) { seen = append(seen, f.check(t, false)) })
	}
	if len(seen) < len(finalFailures) {
		t.Skip("not all have run")
	}
	for _, text := range transient.Texts {
		if !slices.ContainsFunc(seen, func(err error) bool { return begins(err, text) }) {
			t.Errorf("no real error begins with %q: the text has changed, or wants a test", text)
		}
	}
}

// check fails a few times until the error is the expected one: where net/http
// gives up a request that it is writing, it may report that the connection was
// closed instead.
func (f failure) check(t *testing.T, want bool) error {
	err := f.fail(t)
	for range 9 {
		if err == nil || strings.Contains(err.Error(), f.says) {
			break
		}
		err = f.fail(t)
	}
	if err == nil || !strings.Contains(err.Error(), f.says) {
		t.Fatalf("got error %v, want one with %q", err, f.says)
	}
	if got := transient.Error(err); got != want {
		t.Errorf("got %t, want %t for %v", got, want, err)
	}
	return err
}

// begins reports whether err or one that it wraps begins with the text. A stream
// error of HTTP/2 ends with its cause and does not unwrap to it.
func begins(err error, text string) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if strings.HasPrefix(err.Error(), text) {
			return true
		}
		if _, cause, ok := strings.Cut(err.Error(), "; "); ok && strings.HasPrefix(err.Error(), "stream error: ") {
			_, cause, _ = strings.Cut(cause, "; ")
			return strings.HasPrefix(cause, text)
		}
	}
	return false
}

// A response that is cut off after any of its bytes may be whole next time.
func TestAResponseThatIsCutOffAnywhereIsTransient(t *testing.T) {
	const whole = "HTTP/1.1 200 OK\r\nTrailer: Check-Sum\r\nContent-Type: text/plain\r\n" +
		"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nCheck-Sum: 1\r\n\r\n"
	for n := range len(whole) {
		err := answers(whole[:n])(t)
		if err == nil || !transient.Error(err) {
			t.Errorf("after %q: got %v, want a transient error", whole[:n], err)
		}
	}
	if err := answers(whole)(t); err != nil {
		t.Errorf("the whole response: got %v", err)
	}
}

// FuzzAnswer lets a server answer anything. Only another protocol will come back
// for sure.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		"", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "tls: bad certificate\r\n\r\n",
		"HTTP/1.1 200 OK\r\nstopped after \r\n\r\n", "\x15\x03\x03\x00\x02\x02\x46", "\x00\x00\x00\x04\x00\x00\x00\x00\x00",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nForbidden\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		tr := &http.Transport{DisableCompression: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go exchange(server, answer)
			return client, nil
		}}
		defer tr.CloseIdleConnections()
		req := httptest.NewRequest(http.MethodGet, "http://api.test/", nil)
		err := read(tr.RoundTrip(req))
		switch {
		case err == nil || transient.Error(err):
		case strings.HasPrefix(answer, "\x00\x00"), strings.HasPrefix(answer, "\x15\x03"):
		default:
			t.Errorf("%q: %v is final", answer, err)
		}
	})
}

func exchange(c net.Conn, answer string) {
	defer c.Close()
	_, _ = http.ReadRequest(bufio.NewReader(c))
	_, _ = io.WriteString(c, answer)
}

const patience = 50 * time.Millisecond

// get asks for a URL and reads the response to its end.
func get(t *testing.T, c *http.Client, to string) error {
	t.Helper()
	if c.Transport == nil {
		c.Transport = new(http.Transport)
	}
	t.Cleanup(c.CloseIdleConnections)
	return read(c.Get(to))
}

func read(resp *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func asks(to string) func(*testing.T) error {
	return func(t *testing.T) error { return get(t, new(http.Client), to) }
}

// sent sends a request that is wrong in some way.
func sent(spoil func(*http.Request)) func(*testing.T) error {
	return func(t *testing.T) error {
		req, err := http.NewRequest(http.MethodGet, serve(t, sends("text/plain", "")), nil)
		if err != nil {
			t.Fatal(err)
		}
		spoil(req)
		return read(newClient(t, new(http.Transport)).Do(req))
	}
}

// sent2 is sent over HTTP/2.
func sent2(spoil func(*http.Request)) func(*testing.T) error {
	return func(t *testing.T) error {
		s := quietServer(sends("text/plain", ""))
		req, err := http.NewRequest(http.MethodGet, startTLS(t, s), nil)
		if err != nil {
			t.Fatal(err)
		}
		spoil(req)
		return read(s.Client().Do(req))
	}
}

// roundTrip is sent without an http.Client.
func roundTrip(spoil func(*http.Request)) func(*testing.T) error {
	return func(t *testing.T) error {
		req, err := http.NewRequest(http.MethodGet, serve(t, sends("text/plain", "")), nil)
		if err != nil {
			t.Fatal(err)
		}
		spoil(req)
		return read(new(http.Transport).RoundTrip(req))
	}
}

func withBody(r *http.Request, length int64) {
	r.Method, r.Body, r.ContentLength = http.MethodPost, io.NopCloser(strings.NewReader("abc")), length
}

func newClient(t *testing.T, tr *http.Transport) *http.Client {
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func quietServer(handle http.HandlerFunc) *httptest.Server {
	s := httptest.NewUnstartedServer(handle)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	return s
}

func serve(t *testing.T, handle http.HandlerFunc) string {
	s := quietServer(handle)
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

func startTLS(t *testing.T, s *httptest.Server) string {
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

func sends(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, body)
	}
}

// listen handles each connection, and closes it.
func listen(t *testing.T, handle func(*net.TCPConn)) string {
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
			go func() {
				defer c.Close()
				handle(c.(*net.TCPConn))
			}()
		}
	}()
	return l.Addr().String()
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

// answer reads a request and then does as it likes.
func answer(how func(*net.TCPConn)) func(*testing.T) error {
	return func(t *testing.T) error {
		return get(t, new(http.Client), "http://"+listen(t, func(c *net.TCPConn) {
			_, _ = http.ReadRequest(bufio.NewReader(c))
			how(c)
		}))
	}
}

func answers(text string) func(*testing.T) error {
	return answer(func(c *net.TCPConn) { _, _ = io.WriteString(c, text) })
}

func refused(t *testing.T) error { return get(t, new(http.Client), "http://"+closedPort(t)) }

func addressNotAvailable(t *testing.T) error {
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}} // of RFC 5737, nobody's
	return get(t, newClient(t, &http.Transport{DialContext: from.DialContext}), "http://127.0.0.1/")
}

func unixSocket(t *testing.T) error {
	return get(t, newClient(t, &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", "no-such-socket") // short enough for every system
	}}), "http://docker/")
}

// lookup asks a name server that answers every question with this code.
func lookup(code byte) func(*testing.T) error {
	return func(t *testing.T) error {
		server, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = server.Close() })
		go answerNames(server, code)
		resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
		}}
		dialer := &net.Dialer{Resolver: resolver}
		return get(t, newClient(t, &http.Transport{DialContext: dialer.DialContext}), "http://api.test/")
	}
}

// answerNames returns each question with the code and without any record.
func answerNames(server net.PacketConn, code byte) {
	buf := make([]byte, 1500)
	for {
		n, from, err := server.ReadFrom(buf)
		if err != nil {
			return
		}
		const header, typeAndClass = 12, 4
		end := header
		for end < n && buf[end] != 0 {
			end += 1 + int(buf[end])
		}
		reply := buf[:end+1+typeAndClass]
		reply[2], reply[3] = 0x81, 0x80|code
		clear(reply[6:header])
		_, _ = server.WriteTo(reply, from)
	}
}

// timeout asks a server that never answers, or never ends its answer.
func timeout(set func(*http.Client), body bool) func(*testing.T) error {
	return func(t *testing.T) error {
		c := newClient(t, new(http.Transport))
		set(c)
		return get(t, c, serve(t, func(w http.ResponseWriter, r *http.Request) {
			if body {
				_ = http.NewResponseController(w).Flush()
			}
			<-r.Context().Done()
		}))
	}
}

func handshakeTimeout(t *testing.T) error {
	silent := listen(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	return get(t, newClient(t, &http.Transport{TLSHandshakeTimeout: patience}), "https://"+silent)
}

func deadline(t *testing.T) error {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return withContext(ctx, t)
}

func cancelled(t *testing.T) error {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(patience, cancel)
	return withContext(ctx, t)
}

func withContext(ctx context.Context, t *testing.T) error {
	to := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	return read(newClient(t, new(http.Transport)).Do(req))
}

func tlsURL(t *testing.T) string { return startTLS(t, quietServer(sends("text/plain", ""))) }

// tlsServer asks a server whose TLS is set up so.
func tlsServer(set func(*tls.Config)) func(*testing.T) error {
	return func(t *testing.T) error {
		s := quietServer(sends("text/plain", ""))
		to := startTLS(t, s)
		set(s.TLS)
		return get(t, s.Client(), to)
	}
}

func otherHost(t *testing.T) error {
	s := quietServer(sends("text/plain", ""))
	to := startTLS(t, s)
	return get(t, s.Client(), strings.Replace(to, "127.0.0.1", "localhost", 1))
}

func cipherSuites(t *testing.T) error {
	return tlsServer(func(c *tls.Config) {
		c.MaxVersion = tls.VersionTLS12
		c.CipherSuites = []uint16{tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA}
	})(t)
}

func noVersion(t *testing.T) error {
	tr := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS12}}
	return get(t, newClient(t, tr), tlsURL(t))
}

// overTLS answers a ClientHello with these bytes.
func overTLS(text string) func(*testing.T) error {
	return func(t *testing.T) error {
		return get(t, new(http.Client), "https://"+listen(t, func(c *net.TCPConn) {
			header := make([]byte, 5)
			_, _ = io.ReadFull(c, header)
			_, _ = io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint16(header[3:])))
			_, _ = io.WriteString(c, text)
			_ = c.CloseWrite()
			_, _ = io.Copy(io.Discard, c)
		}))
	}
}

// helloTLS11 is a ServerHello of TLS 1.1: a record, a handshake message, the
// version, a random number, no session, a cipher suite and no compression.
var helloTLS11 = "\x16\x03\x02\x00\x2a" + "\x02\x00\x00\x26" + "\x03\x02" + strings.Repeat("r", 32) + "\x00" + "\x00\x2f" + "\x00"

func viaProxy(t *testing.T, proxy string) error {
	u, err := url.Parse(proxy)
	if err != nil {
		t.Fatal(err)
	}
	return get(t, newClient(t, &http.Transport{Proxy: http.ProxyURL(u)}), "https://api.test/")
}

// viaPlainProxy sends a request that is wrong in some way to a proxy that has
// not to CONNECT.
func viaPlainProxy(spoil func(*http.Request)) func(*testing.T) error {
	return func(t *testing.T) error {
		proxy, err := url.Parse(serve(t, sends("text/plain", "")))
		if err != nil {
			t.Fatal(err)
		}
		req := httptest.NewRequest(http.MethodGet, "http://api.test/", nil)
		spoil(req)
		tr := &http.Transport{Proxy: http.ProxyURL(proxy)}
		t.Cleanup(tr.CloseIdleConnections)
		return read(tr.RoundTrip(req))
	}
}

func proxyStatus(status int) func(*testing.T) error {
	return func(t *testing.T) error {
		return viaProxy(t, serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	}
}

func proxyAnswers(text string) func(*testing.T) error {
	return func(t *testing.T) error {
		return viaProxy(t, "http://"+listen(t, func(c *net.TCPConn) { exchange(c, text) }))
	}
}

// socks is a proxy of RFC 1928 that answers the greeting and the request so.
func socks(greeting, reply string) func(*testing.T) error {
	return func(t *testing.T) error {
		return viaProxy(t, "socks5h://"+listen(t, func(c *net.TCPConn) {
			talk(c, greeting)
			talk(c, reply)
		}))
	}
}

func socksPassword(t *testing.T) error {
	return viaProxy(t, "socks5h://user:password@"+listen(t, func(c *net.TCPConn) {
		talk(c, "\x05\x02")
		talk(c, "\x01\x01")
	}))
}

// talk reads whatever comes and answers.
func talk(c *net.TCPConn, text string) {
	_, _ = c.Read(make([]byte, 512))
	_, _ = io.WriteString(c, text)
}

// environment asks with a proxy from the environment, which net/http reads once
// in a process.
func environment(vars ...string) func(*testing.T) error {
	return func(t *testing.T) error {
		test := exec.Command(os.Args[0], "-test.run=^TestInAnotherProcess$", "-test.v")
		test.Env = append(os.Environ(), append(vars, "RESTYRETRY_CHILD=1")...)
		out, err := test.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		_, after, _ := strings.Cut(string(out), "error: ")
		text, _, _ := strings.Cut(after, "\n")
		return errors.New(strings.TrimSpace(text))
	}
}

func TestInAnotherProcess(t *testing.T) {
	if os.Getenv("RESTYRETRY_CHILD") == "" {
		t.Skip("this is not the other process")
	}
	err := get(t, newClient(t, &http.Transport{Proxy: http.ProxyFromEnvironment}), "http://api.test/")
	if err == nil || transient.Error(err) {
		t.Errorf("got %v, want a final error", err)
	}
	fmt.Println("error:", errors.Unwrap(err))
}

func redirectsTo(location string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(http.StatusFound)
	}
}

func redirected(t *testing.T, policy any, location string) error {
	_, err := resty.New().SetLogger(quiet{}).SetRedirectPolicy(policy).R().Get(serve(t, redirectsTo(location)))
	return err
}

// longHeader is more than allowed, but not so much more that HTTP/2 gives up the
// connection.
func longHeader(w http.ResponseWriter, _ *http.Request) {
	for range 12 {
		w.Header().Add("Field", strings.Repeat("x", 100))
	}
}

// limited wants headers of at most 1 KiB.
func limited(http2 bool, handle http.HandlerFunc) func(*testing.T) error {
	return func(t *testing.T) error {
		s := quietServer(handle)
		s.EnableHTTP2 = http2
		s.StartTLS()
		t.Cleanup(s.Close)
		s.Client().Transport.(*http.Transport).MaxResponseHeaderBytes = 1 << 10
		return get(t, s.Client(), s.URL)
	}
}

func decoded(contentType, body string) func(*testing.T) error {
	return func(t *testing.T) error {
		_, err := resty.New().SetLogger(quiet{}).R().SetResult(new(struct{ Number int })).Get(serve(t, sends(contentType, body)))
		return err
	}
}

func wrongChecksum() string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, "hello")
	_ = z.Close()
	b.Bytes()[b.Len()-8] ^= 1 // the checksum and the length are the last 8 bytes
	return b.String()
}

func digest(t *testing.T) error {
	_, err := resty.New().SetLogger(quiet{}).SetDigestAuth("user", "password").R().Get(serve(t,
		func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Digest realm="r", nonce="n", algorithm=NONE`)
			w.WriteHeader(http.StatusUnauthorized)
		}))
	return err
}

// quiet is a logger.
type quiet struct{}

func (quiet) Errorf(string, ...any) {}
func (quiet) Warnf(string, ...any)  {}
func (quiet) Debugf(string, ...any) {}

// never is a rate limiter.
type never struct{}

func (never) Allow() bool { return false }

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

// overHTTP2 speaks HTTP/2 without TLS and by hand: it calls reply for the header
// of each request.
func overHTTP2(t *testing.T, settings []byte, reply func(c net.Conn, stream uint32)) (c *http.Client, to string) {
	only := new(http.Protocols)
	only.SetUnencryptedHTTP2(true)
	return newClient(t, &http.Transport{Protocols: only}), "http://" + listen(t, func(c *net.TCPConn) {
		_, _ = c.Write(settings)
		_, _ = io.CopyN(io.Discard, c, int64(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))
		for header := make([]byte, 9); ; {
			if _, err := io.ReadFull(c, header); err != nil {
				return
			}
			_, _ = io.CopyN(io.Discard, c, int64(header[0])<<16|int64(header[1])<<8|int64(header[2]))
			if header[3] == headersFrame {
				reply(c, binary.BigEndian.Uint32(header[5:]))
			}
		}
	})
}

// framed sends a body that cannot be had again, which keeps net/http from
// repeating the request itself.
func framed(reply func(c net.Conn, stream uint32)) func(*testing.T) error {
	return func(t *testing.T) error {
		c, to := overHTTP2(t, frame(settingsFrame, 0), reply)
		req, err := http.NewRequest(http.MethodPost, to, io.NopCloser(strings.NewReader("once")))
		if err != nil {
			t.Fatal(err)
		}
		return read(c.Do(req))
	}
}

// stream resets the stream of each request.
func stream(code uint32) func(*testing.T) error {
	return framed(func(c net.Conn, stream uint32) { _, _ = c.Write(frame(rstStreamFrame, stream, code)) })
}

// goAway gives up a connection whose request may have been worked on.
func goAway(code uint32) func(*testing.T) error {
	return framed(func(c net.Conn, stream uint32) {
		_, _ = c.Write(frame(goAwayFrame, 0, stream, code))
		_ = c.(*net.TCPConn).CloseWrite()
	})
}

// smallHeaders sends a second request when the limit of the server is known.
func smallHeaders(t *testing.T) error {
	settings := []byte{0, 0, 6, settingsFrame, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 8} // SETTINGS_MAX_HEADER_LIST_SIZE of 8
	c, to := overHTTP2(t, settings, func(c net.Conn, stream uint32) { _, _ = c.Write(frame(rstStreamFrame, stream, 0x8)) })
	_ = get(t, c, to)
	return get(t, c, to)
}
