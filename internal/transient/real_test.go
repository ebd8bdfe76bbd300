package transient_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry/internal/harness"
	"github.com/restyretry/restyretry/internal/transient"
)

// A failure is a way for a request to fail, where nothing but the server is made
// up: mostly over pipes and in a bubble, and over sockets where they fail.
type failure struct {
	name string
	fail func(*testing.T) error
	says string // in the error
}

var transientFailures = []failure{
	{"connection refused", refused, ""},
	{"proxy refused", func(t *testing.T) error { return send(t, via("http://"+closedPort(t), nil), secure) }, "proxyconnect"},
	{"local address that is not there", dialedFrom(&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}}, "tcp", "127.0.0.1:80"), ""}, // of RFC 5737, nobody's
	{"Unix socket that is not there", dialedFrom(new(net.Dialer), "unix", "no-such-socket"), ""},
	{"connection reset", reset, ""},
	{"name server fails", lookup(2), "server misbehaving"},

	{"closed without an answer", answers(""), "EOF"},
	{"nonsense", answers("nonsense\r\n\r\n"), `malformed HTTP response "nonsense"`},
	{"malformed header", answers("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"), "malformed MIME header"},
	{"malformed chunk", answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n"), "invalid byte in chunk length"},
	{"gzip cut off", answers("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 12\r\n\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x4a\x4c"), "unexpected EOF"},

	{"timeout of the client", clientTimeout(""), "Client.Timeout"},
	{"timeout of the client within the body", clientTimeout("HTTP/1.1 200 OK\r\n\r\n"), "Client.Timeout"},
	{"timeout of the transport", hangs(func(c *http.Client, _ *http.Request) {
		c.Transport.(*http.Transport).ResponseHeaderTimeout = time.Second
	}), "timeout awaiting response headers"},
	{"timeout of the handshake", hangs(func(c *http.Client, r *http.Request) {
		c.Transport.(*http.Transport).TLSHandshakeTimeout, r.URL.Scheme = time.Second, "https"
	}), "TLS handshake timeout"},
	{"deadline of the request", hangs(within(func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithTimeout(ctx, time.Second)
	})), "context deadline exceeded"},

	{"TLS server has a problem", overTLS(func(s, _ *tls.Config) {
		s.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("no memory") }
	}), "tls: internal error"},
	{"TLS closed in the handshake", answersHello(""), "EOF"},
	{"TLS alert user_canceled", answersHello("\x15\x03\x03\x00\x02\x02\x5a"), "tls: user canceled"},

	{"proxy fails", proxyAnswers("500 Internal Server Error"), "Internal Server Error"},
	{"proxy is down", proxyAnswers("503 Service Unavailable"), "Service Unavailable"},
	{"proxy finds nobody", proxyAnswers("502 Bad Gateway"), "Bad Gateway"},
	{"proxy runs into a timeout", proxyAnswers("504 Gateway Timeout"), "Gateway Timeout"},
	{"proxy limits the rate", proxyAnswers("429 Too Many Requests"), "Too Many Requests"},
	{"proxy waits no longer", proxyAnswers("408 Request Timeout"), "Request Timeout"},
	{"proxy with a phrase of its own", proxyAnswers("599 We are closed"), "We are closed"},
	{"SOCKS target refused", socks("", "\x05\x00", "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"), "connection refused"},

	{"HTTP/2 REFUSED_STREAM", resetsStream(0x7), "REFUSED_STREAM"},
	{"HTTP/2 PROTOCOL_ERROR", resetsStream(0x1), "PROTOCOL_ERROR"},
	{"HTTP/2 INTERNAL_ERROR", resetsStream(0x2), "INTERNAL_ERROR"},
	{"HTTP/2 FLOW_CONTROL_ERROR", resetsStream(0x3), "FLOW_CONTROL_ERROR"},
	{"HTTP/2 CANCEL", resetsStream(0x8), "CANCEL"},
	{"HTTP/2 ENHANCE_YOUR_CALM", resetsStream(0xb), "ENHANCE_YOUR_CALM"},
	{"HTTP/2 GOAWAY", goesAway(0x2), "GOAWAY"},
	{"HTTP/2 connection closed", overHTTP2(func(c net.Conn, _ uint32) { _ = c.Close() }, once), ""},

	{"Resty's rate limit", byResty(harness.Statuses(200), func(c *resty.Client) { c.SetRateLimiter(harness.Tokens(0)) }), "rate limit exceeded"},
}

var finalFailures = []failure{
	{"context cancelled", hangs(within(func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		time.AfterFunc(time.Second, cancel)
		return ctx, cancel
	})), "context canceled"},
	{"no such host", lookup(3), "no such host"},
	{"port that is none", asks("http://127.0.0.1:99999/"), "invalid port"},

	{"unknown authority", overTLS(func(_, c *tls.Config) { c.RootCAs = nil }), "unknown authority"},
	{"certificate of another host", overTLS(func(_, c *tls.Config) { c.ServerName = "localhost" }), "not localhost"},
	{"certificate that is none", overTLS(func(s, _ *tls.Config) { s.Certificates[0].Certificate = [][]byte{{1}} }), "tls: failed to parse certificate"},
	{"certificate required", overTLS(func(s, _ *tls.Config) { s.ClientAuth = tls.RequireAnyClientCert }), "tls: certificate required"},
	{"no cipher suite in common", overTLS(func(s, _ *tls.Config) {
		s.MaxVersion, s.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA}
	}), "tls: handshake failure"},
	{"no application protocol in common", overTLS(func(s, c *tls.Config) { s.NextProtos, c.NextProtos = []string{"smtp"}, []string{"h2"} }), "tls: no application protocol"},
	{"TLS version that the server refuses", overTLS(func(s, _ *tls.Config) { s.MinVersion, s.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 }), "tls: protocol version not supported"},
	{"TLS version that the client refuses", answersHello(helloTLS11), "tls: server selected unsupported protocol version"},
	{"TLS versions that exclude each other", overTLS(func(_, c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS13, tls.VersionTLS12 }), "tls: no supported versions"},
	{"TLS alert unrecognized_name", answersHello("\x15\x03\x03\x00\x02\x02\x70"), "tls: unrecognized name"},
	{"HTTP where HTTPS is asked for", answersHello("HTTP/1.1 400 Bad Request\r\n\r\n"), "server gave HTTP response"},
	{"SSH where HTTPS is asked for", answersHello("SSH-2.0-OpenSSH_9.2\r\n"), "does not look like a TLS handshake"},
	{"TLS where HTTP is asked for", answers("\x15\x03\x01\x00\x02\x02\x46"), "malformed HTTP response"},
	{"HTTP/2 where HTTP is asked for", answers(string(frame(settingsFrame, 0))), "malformed HTTP response"},

	{"URL that does not parse", asks("http://api.test:port/"), "invalid port"},
	{"URL with a control character", asks("http://api.test/\n"), "invalid control character"},
	{"URL with a control character, not parsed", spoiled(func(r *http.Request) { r.URL.Opaque = "/\n" }), "control character in Request.URL"},
	{"unknown scheme", asks("gopher://api.test/"), "unsupported protocol scheme"},
	{"no host", asks("http:///x"), "no Host in request URL"},
	{"host that is none", func(t *testing.T) error {
		return send(t, via("http://proxy.test", harness.Pipes(drain)), plain, func(_ *http.Client, r *http.Request) { r.Host = "a\x00b" })
	}, "http: invalid Host header"},
	{"host that is no name", spoiled(func(r *http.Request) { r.Host = "xn--\u00fc.test" }), "idna: invalid label"},
	{"method that is none", spoiled(func(r *http.Request) { r.Method = "GET IT" }), "invalid method"},
	{"method that is none, when the request is built", func(*testing.T) error { _, err := http.NewRequest("GET IT", "/", nil); return err }, "invalid method"},
	{"no URL", spoiled(func(r *http.Request) { r.URL = nil }), "nil Request.URL"},
	{"no header", func(*testing.T) error { return read(new(http.Transport).RoundTrip(&http.Request{URL: new(url.URL)})) }, "nil Request.Header"},
	{"RequestURI", spoiled(func(r *http.Request) { r.RequestURI = "/" }), "RequestURI can't be set"},
	{"header name", spoiled(func(r *http.Request) { r.Header["a b"] = []string{"x"} }), "invalid header field name"},
	{"header value", spoiled(func(r *http.Request) { r.Header["A"] = []string{"x\ny"} }), "invalid header field value"},
	{"trailer name", spoiled(func(r *http.Request) { r.Trailer = http.Header{"a b": {"x"}} }), "invalid trailer field name"},
	{"trailer that must not be one", spoiled(body(-1), func(r *http.Request) { r.Trailer = http.Header{"Content-Length": {"1"}} }), "invalid Trailer key"},
	{"body shorter than its length", spoiled(body(9)), "ContentLength=9 with Body length 4"},
	{"body longer than its length", spoiled(body(1)), "ContentLength=1 with Body length"},
	{"length without a body", spoiled(func(r *http.Request) { r.ContentLength = 3 }), "ContentLength=3 with nil Body"},

	{"redirect loop", byResty(redirects("/again"), nil), "stopped after 10 redirects"},
	{"redirect loop of Resty's", byResty(redirects("/again"), policy(resty.FlexibleRedirectPolicy(3))), "stopped after 3 redirects"},
	{"refused redirect", byResty(redirects("/again"), policy(resty.NoRedirectPolicy())), "auto redirect is disabled"},
	{"redirect to another domain", byResty(redirects("http://b.test/"), policy(resty.DomainCheckRedirectPolicy("api.test"))), "redirect is not allowed"},
	{"redirect to no URL", byResty(redirects("http://["), nil), "failed to parse Location"},
	{"no Location", func(*testing.T) error { _, err := new(http.Response).Location(); return err }, "no Location header"},

	{"proxy refuses", proxyAnswers("403 Forbidden"), "Forbidden"},
	{"proxy wants a password", proxyAnswers("407 Proxy Authentication Required"), "Proxy Authentication Required"},
	{"proxy refuses in lower case", proxyAnswers("407 Proxy authentication required"), "Proxy authentication required"},
	{"SOCKS proxy wants a password", socks("", "\x05\xff"), "no acceptable authentication methods"},
	{"SOCKS proxy refuses the password", socks("user:password@", "\x05\x02", "\x01\x01"), "username/password authentication failed"},
	{"SOCKS proxy refuses the target", socks("", "\x05\x00", "\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00"), "not allowed by ruleset"},
	{"SOCKS proxy cannot connect", socks("", "\x05\x00", "\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00"), "command not supported"},
	{"SOCKS proxy without such addresses", socks("", "\x05\x00", "\x05\x08\x00\x01\x00\x00\x00\x00\x00\x00"), "address type not supported"},
	{"proxy address that is none", func(t *testing.T) error { return send(t, via("http://127.0.0.1:99999", nil), secure) }, "invalid port"},
	{"proxy of an unknown scheme", func(t *testing.T) error { return send(t, via("gopher://127.0.0.1", nil), secure) }, "127.0.0.1:0"},
	{"proxy address within CGI", func(t *testing.T) error {
		// net/http reads the environment once, and nobody else here asks it to.
		t.Setenv("HTTP_PROXY", "http://proxy.test")
		t.Setenv("REQUEST_METHOD", "GET")
		return send(t, &http.Transport{Proxy: http.ProxyFromEnvironment}, plain)
	}, "CGI environment"},

	{"header over the limit", longHeader(false), "server response headers exceeded"},
	{"HTTP/2 header over the limit", longHeader(true), "response header list larger"},
	{"body over Resty's limit", byResty(harness.Statuses(200), func(c *resty.Client) { c.SetResponseBodyLimit(1) }), "too large"},

	{"HTTP/2 INADEQUATE_SECURITY", resetsStream(0xc), "INADEQUATE_SECURITY"},
	{"HTTP/2 HTTP_1_1_REQUIRED", resetsStream(0xd), "HTTP_1_1_REQUIRED"},
	{"HTTP/2 GOAWAY for INADEQUATE_SECURITY", goesAway(0xc), "INADEQUATE_SECURITY"},
	{"HTTP/2 header over the server's limit", smallHeaders, "request header list larger"},
	{"HTTP/2 with Connection", spoiled2(func(r *http.Request) { r.Header.Set("Connection", "upgrade") }), "invalid Connection request header"},
	{"HTTP/2 with Upgrade", spoiled2(func(r *http.Request) { r.Header.Set("Upgrade", "websocket") }), "invalid Upgrade request header"},
	{"HTTP/2 with Transfer-Encoding", spoiled2(func(r *http.Request) { r.Header.Set("Transfer-Encoding", "gzip") }), "invalid Transfer-Encoding request header"},
	{"HTTP/2 with a host that is none", spoiled2(func(r *http.Request) { r.Host = "a\x00b" }), "http2: invalid Host header"},
	{"HTTP/2 with a path that is none", spoiled2(func(r *http.Request) { r.URL.Opaque = "x" }), "invalid request :path"},
	{"HTTP/2 body longer than its length", spoiled2(body(1)), "larger than specified content length"},

	{"body that is not gzip", answers("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 12\r\n\r\nnot gzipped!"), "gzip: invalid header"},
	{"gzip with a wrong checksum", answers("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" + wrongChecksum()), "gzip: invalid checksum"},
	{"JSON that does not decode", byResty(harness.JSON(200, "<html>"), nil), "invalid character"},
	{"JSON that ends early", byResty(harness.JSON(200, `{"Number": `), nil), "unexpected end of JSON input"},
	{"JSON of another type", byResty(harness.JSON(200, `{"Number": "x"}`), nil), "cannot unmarshal"},
	{"XML that does not decode", byResty(harness.Says(200, "Content-Type: application/xml", "", "<a><b></a>"), nil), "XML syntax error"},
	{"XML with no number", byResty(harness.Says(200, "Content-Type: application/xml", "", "<a><Number>x</Number></a>"), nil), "strconv.ParseInt"},
	{"digest challenge that cannot be answered", byResty(
		harness.Says(401, `WWW-Authenticate: Digest realm="r", nonce="n", algorithm=NONE`), func(c *resty.Client) { c.SetDigestAuth("user", "password") },
	), "digest: "},
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
		if err := answers(whole[:n])(t); err == nil || !transient.Error(err) {
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
		tr := &http.Transport{DisableCompression: true, DialContext: harness.Pipes(exchange(answer))}
		defer tr.CloseIdleConnections()
		req, _ := http.NewRequest(http.MethodGet, plain, nil)
		err := read(tr.RoundTrip(req))
		switch {
		case err == nil || transient.Error(err):
		case strings.HasPrefix(answer, "\x00\x00"), strings.HasPrefix(answer, "\x15\x03"):
		default:
			t.Errorf("%q: %v is final", answer, err)
		}
	})
}

const plain, secure = "http://api.test/", "https://api.test/"

// A change is made to a request before it is sent.
type change = func(*http.Client, *http.Request)

// send sends a request, and reads the response to its end.
func send(t *testing.T, tr *http.Transport, to string, changes ...change) error {
	t.Helper()
	t.Cleanup(tr.CloseIdleConnections)
	c := &http.Client{Transport: tr}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, to, nil)
	if err != nil {
		return err
	}
	for _, change := range changes {
		change(c, r)
	}
	return read(c.Do(r))
}

func read(resp *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// over asks a server over pipes, in a bubble.
func over(serve func(net.Conn), to string, changes ...change) func(*testing.T) error {
	return func(t *testing.T) (err error) {
		synctest.Test(t, func(t *testing.T) { err = send(t, &http.Transport{DialContext: harness.Pipes(serve)}, to, changes...) })
		return err
	}
}

func drain(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// exchange reads a request, and writes a text.
func exchange(text string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(c))
		_, _ = io.WriteString(c, text)
	}
}

func answers(text string) func(*testing.T) error { return over(exchange(text), plain) }

// hang says no more than a text.
func hang(text string) func(net.Conn) {
	return func(c net.Conn) {
		if text != "" {
			exchange(text)(c)
		}
		drain(c)
	}
}

func hangs(changes ...change) func(*testing.T) error { return over(hang(""), plain, changes...) }

// clientTimeout runs outside of a bubble, where it is never later than the
// deadline, as net/http has it.
func clientTimeout(text string) func(*testing.T) error {
	return func(t *testing.T) error {
		return send(t, &http.Transport{DialContext: harness.Pipes(hang(text))}, plain, func(c *http.Client, _ *http.Request) { c.Timeout = 5 * time.Millisecond })
	}
}

func within(limit func(context.Context) (context.Context, context.CancelFunc)) change {
	return func(_ *http.Client, r *http.Request) {
		ctx, cancel := limit(r.Context())
		context.AfterFunc(ctx, cancel)
		*r = *r.WithContext(ctx)
	}
}

func asks(to string) func(*testing.T) error {
	return func(t *testing.T) error { return send(t, new(http.Transport), to) }
}

// spoiled sends a request that is wrong in some way.
func spoiled(spoil ...func(*http.Request)) func(*testing.T) error {
	return over(drain, plain, func(_ *http.Client, r *http.Request) {
		for _, f := range spoil {
			f(r)
		}
	})
}

// body is one that cannot be had again, which keeps net/http from repeating the
// request itself.
func body(length int64) func(*http.Request) {
	return func(r *http.Request) {
		r.Method, r.Body, r.ContentLength = http.MethodPost, io.NopCloser(strings.NewReader("once")), length
	}
}

// overTLS asks a server, after a change to the TLS of one side.
func overTLS(set func(server, client *tls.Config)) func(*testing.T) error {
	return served(http.NotFound, false, func(s *tls.Config, tr *http.Transport) { set(s, tr.TLSClientConfig) })
}

func served(handle http.HandlerFunc, http2 bool, set func(*tls.Config, *http.Transport)) func(*testing.T) error {
	return func(t *testing.T) (err error) {
		synctest.Test(t, func(t *testing.T) {
			s, dial := harness.PipeServer(t, handle)
			s.EnableHTTP2 = http2
			s.StartTLS()
			tr := s.Client().Transport.(*http.Transport)
			tr.DialContext = dial
			set(s.TLS, tr)
			err = send(t, tr, s.URL)
		})
		return err
	}
}

// longHeader is more than allowed, but not so much more that HTTP/2 gives up the
// connection.
func longHeader(http2 bool) func(*testing.T) error {
	return served(func(w http.ResponseWriter, _ *http.Request) {
		for range 12 {
			w.Header().Add("Field", strings.Repeat("x", 100))
		}
	}, http2, func(_ *tls.Config, tr *http.Transport) { tr.MaxResponseHeaderBytes = 1 << 10 })
}

// answersHello answers a ClientHello with these bytes.
func answersHello(text string) func(*testing.T) error {
	return over(func(c net.Conn) {
		header := make([]byte, 5)
		_, _ = io.ReadFull(c, header)
		_, _ = io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint16(header[3:])))
		if text != "" {
			_, _ = io.WriteString(c, text)
			drain(c)
		}
	}, secure)
}

// helloTLS11 is a ServerHello of TLS 1.1: a record, a handshake message, the
// version, a random number, no session, a cipher suite and no compression.
var helloTLS11 = "\x16\x03\x02\x00\x2a" + "\x02\x00\x00\x26" + "\x03\x02" + strings.Repeat("r", 32) + "\x00" + "\x00\x2f" + "\x00"

func via(proxy string, dial harness.Dial) *http.Transport {
	return &http.Transport{DialContext: dial, Proxy: func(*http.Request) (*url.URL, error) { return url.Parse(proxy) }}
}

func proxied(proxy string, serve func(net.Conn)) func(*testing.T) error {
	return func(t *testing.T) (err error) {
		synctest.Test(t, func(t *testing.T) { err = send(t, via(proxy, harness.Pipes(serve)), secure) })
		return err
	}
}

func proxyAnswers(status string) func(*testing.T) error {
	return proxied("http://proxy.test", exchange("HTTP/1.1 "+status+"\r\n\r\n"))
}

// socks is a proxy of RFC 1928 that answers so.
func socks(user string, replies ...string) func(*testing.T) error {
	return proxied("socks5h://"+user+"proxy.test", func(c net.Conn) {
		for _, reply := range replies {
			_, _ = c.Read(make([]byte, 512))
			_, _ = io.WriteString(c, reply)
		}
	})
}

// byResty asks for a result by a client of Resty's.
func byResty(script harness.Script, set func(*resty.Client)) func(*testing.T) error {
	return func(*testing.T) error {
		c := harness.Mock(script)
		if set != nil {
			set(c.Client)
		}
		_, err := c.R().SetResult(new(struct{ Number int })).Get("/")
		return err
	}
}

func policy(p resty.RedirectPolicy) func(*resty.Client) {
	return func(c *resty.Client) { c.SetRedirectPolicy(p) }
}

func redirects(to string) harness.Script { return harness.Says(302, "Location: "+to) }

func wrongChecksum() string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, "hello")
	_ = z.Close()
	b.Bytes()[b.Len()-8] ^= 1 // the checksum and the length are the last 8 bytes
	return b.String()
}

// Frames of HTTP/2, RFC 9113, section 6.
const (
	dataFrame      = 0
	headersFrame   = 1
	rstStreamFrame = 3
	settingsFrame  = 4
	goAwayFrame    = 7

	endStream = 1 // a flag of the first two
)

func frame(kind byte, stream uint32, payload ...uint32) []byte {
	b := []byte{0, 0, byte(4 * len(payload)), kind, 0}
	for _, word := range append([]uint32{stream}, payload...) {
		b = binary.BigEndian.AppendUint32(b, word)
	}
	return b
}

// framed speaks HTTP/2 without TLS and by hand: it calls reply at the end of each
// request.
func framed(settings []byte, reply func(c net.Conn, stream uint32)) *http.Transport {
	only := new(http.Protocols)
	only.SetUnencryptedHTTP2(true)
	return &http.Transport{Protocols: only, DialContext: harness.Pipes(func(c net.Conn) {
		_, _ = io.CopyN(io.Discard, c, int64(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))
		go func() { _, _ = c.Write(settings) }()
		for header := make([]byte, 9); ; {
			if _, err := io.ReadFull(c, header); err != nil {
				return
			}
			_, _ = io.CopyN(io.Discard, c, int64(header[0])<<16|int64(header[1])<<8|int64(header[2]))
			if (header[3] == headersFrame || header[3] == dataFrame) && header[4]&endStream != 0 {
				go reply(c, binary.BigEndian.Uint32(header[5:]))
			}
		}
	})}
}

func overHTTP2(reply func(c net.Conn, stream uint32), spoil func(*http.Request)) func(*testing.T) error {
	return func(t *testing.T) (err error) {
		synctest.Test(t, func(t *testing.T) {
			err = send(t, framed(frame(settingsFrame, 0), reply), plain, func(_ *http.Client, r *http.Request) { spoil(r) })
		})
		return err
	}
}

func spoiled2(spoil func(*http.Request)) func(*testing.T) error {
	return overHTTP2(func(net.Conn, uint32) {}, spoil)
}

var once = body(-1)

// resetsStream resets the stream of each request.
func resetsStream(code uint32) func(*testing.T) error {
	return overHTTP2(func(c net.Conn, stream uint32) { _, _ = c.Write(frame(rstStreamFrame, stream, code)) }, once)
}

// goesAway gives up a connection whose request may have been worked on.
func goesAway(code uint32) func(*testing.T) error {
	return overHTTP2(func(c net.Conn, stream uint32) {
		_, _ = c.Write(frame(goAwayFrame, 0, stream, code))
		_ = c.Close()
	}, once)
}

// smallHeaders sends a second request when the limit of the server is known.
func smallHeaders(t *testing.T) (err error) {
	settings := []byte{0, 0, 6, settingsFrame, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 8} // SETTINGS_MAX_HEADER_LIST_SIZE of 8
	synctest.Test(t, func(t *testing.T) {
		tr := framed(settings, func(c net.Conn, stream uint32) { _, _ = c.Write(frame(rstStreamFrame, stream, 0x8)) })
		_ = send(t, tr, plain)
		synctest.Wait()
		err = send(t, tr, plain)
	})
	return err
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

func refused(t *testing.T) error { return send(t, new(http.Transport), "http://"+closedPort(t)) }

func dialedFrom(d *net.Dialer, network, address string) func(*testing.T) error {
	return func(t *testing.T) error {
		return send(t, &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, network, address)
		}}, plain)
	}
}

func reset(t *testing.T) error {
	c := harness.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { harness.HangUp(w, true) }))
	return send(t, new(http.Transport), c.BaseURL)
}

// lookup asks a name server that answers every question with this code and without
// any record. Outside of a bubble: package net keeps a channel.
func lookup(code byte) func(*testing.T) error {
	resolver := &net.Resolver{PreferGo: true, Dial: harness.Pipes(func(c net.Conn) {
		const header, typeAndClass = 12, 4
		length := make([]byte, 2)
		for {
			if _, err := io.ReadFull(c, length); err != nil {
				return
			}
			question := make([]byte, binary.BigEndian.Uint16(length))
			_, _ = io.ReadFull(c, question)
			end := header
			for question[end] != 0 {
				end += 1 + int(question[end])
			}
			reply := question[:end+1+typeAndClass]
			reply[2], reply[3] = 0x81, 0x80|code
			clear(reply[6:header])
			_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
		}
	})}
	return dialedFrom(&net.Dialer{Resolver: resolver}, "tcp", "api.test:80")
}
