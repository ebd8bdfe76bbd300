package restyretry_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
)

// bodyText is n bytes no two parts of which are alike.
func bodyText(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%07d\n", i)
	}
	return b.String()[:n]
}

type bodyDocument struct {
	Text string `json:"text"`
}

// bodyPlain is a reader that can do nothing but be read.
func bodyPlain(text string) io.Reader { return struct{ io.Reader }{strings.NewReader(text)} }

// bodyFile is a file of which the first bytes have been read already.
func bodyFile(t testing.TB, text string) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "upload.txt")
	if err := os.WriteFile(path, []byte("skipped"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Seek(int64(len("skipped")), io.SeekStart); err != nil {
		t.Fatal(err)
	}
	return f
}

func bodyPipe(text string) io.Reader {
	r, w := io.Pipe()
	go func() {
		_, err := io.WriteString(w, text)
		w.CloseWithError(err)
	}()
	return r
}

// A bodyKind is a way to give a request its body.
type bodyKind struct {
	name    string
	set     func(t testing.TB, r *resty.Request, text string)
	chunked bool // its size is not known before it has been read
	once    bool // it is longer than MaxReplay
}

// bodyGiven is a kind of body for SetBody.
func bodyGiven(name string, make func(t testing.TB, text string) any) bodyKind {
	return bodyKind{name: name, set: func(t testing.TB, r *resty.Request, text string) { r.SetBody(make(t, text)) }}
}

func bodyKinds() []bodyKind {
	return []bodyKind{
		{name: "no body", set: func(testing.TB, *resty.Request, string) {}}, // in chunks from Resty alone
		bodyGiven("string", func(_ testing.TB, text string) any { return text }),
		bodyGiven("bytes", func(_ testing.TB, text string) any { return []byte(text) }),
		bodyGiven("struct", func(_ testing.TB, text string) any { return bodyDocument{text} }),
		bodyGiven("pointer to a struct", func(_ testing.TB, text string) any { return &bodyDocument{text} }),
		bodyGiven("map", func(_ testing.TB, text string) any { return map[string]any{"text": text, "n": 1} }),
		bodyGiven("bytes.Buffer", func(_ testing.TB, text string) any {
			b := bytes.NewBufferString("skipped" + text)
			b.Next(len("skipped"))
			return b
		}),
		bodyGiven("bytes.Reader", func(_ testing.TB, text string) any {
			r := bytes.NewReader([]byte("skipped" + text))
			_, _ = r.Seek(int64(len("skipped")), io.SeekStart)
			return r
		}),
		bodyGiven("strings.Reader", func(_ testing.TB, text string) any {
			r := strings.NewReader("skipped" + text)
			_, _ = r.Seek(int64(len("skipped")), io.SeekStart)
			return r
		}),
		bodyGiven("os.File", func(t testing.TB, text string) any { return bodyFile(t, text) }),
		bodyGiven("io.SectionReader", func(_ testing.TB, text string) any {
			return io.NewSectionReader(strings.NewReader("skipped"+text), int64(len("skipped")), int64(len(text)))
		}),
		bodyReader("plain reader", func(_ testing.TB, text string) any { return bodyPlain(text) }),
		bodyReader("pipe", func(_ testing.TB, text string) any { return bodyPipe(text) }),
		bodyReader("io.MultiReader", func(_ testing.TB, text string) any {
			return io.MultiReader(strings.NewReader(text[:1]), strings.NewReader(text[1:]))
		}),
		{name: "form", set: func(_ testing.TB, r *resty.Request, text string) {
			r.SetFormData(map[string]string{"text": text, "more": "x y"})
		}},
		{name: "SetFile", set: func(t testing.TB, r *resty.Request, text string) {
			r.SetFile("file", bodyFile(t, text).Name())
		}},
		{name: "SetFileReader, seekable", set: func(_ testing.TB, r *resty.Request, text string) {
			r.SetFileReader("file", "a.txt", strings.NewReader(text))
		}},
		{name: "SetFileReader, not seekable", set: func(_ testing.TB, r *resty.Request, text string) {
			r.SetFileReader("file", "a.txt", bodyPlain(text))
		}},
		{name: "SetMultipartFormData", set: func(_ testing.TB, r *resty.Request, text string) {
			r.SetMultipartFormData(map[string]string{"text": text})
		}},
		{name: "SetMultipartField", set: func(_ testing.TB, r *resty.Request, text string) {
			r.SetMultipartField("file", "a.txt", "text/plain", bodyPlain(text))
		}},
		{name: "SetMultipartFields", set: func(_ testing.TB, r *resty.Request, text string) {
			r.SetMultipartFields(
				&resty.MultipartField{Param: "a", FileName: "a.txt", ContentType: "text/plain", Reader: bodyPlain(text)},
				&resty.MultipartField{Param: "b", Reader: strings.NewReader("b")})
		}},
		{name: "SetContentLength of a string", set: func(_ testing.TB, r *resty.Request, text string) {
			r.SetContentLength(true).SetBody(text)
		}},
		{name: "SetContentLength of a plain reader", set: func(_ testing.TB, r *resty.Request, text string) {
			r.SetContentLength(true).SetBody(bodyPlain(text))
		}},
		{name: "SetContentLength of a file", set: func(t testing.TB, r *resty.Request, text string) {
			r.SetContentLength(true).SetBody(bodyFile(t, text))
		}},
	}
}

func bodyReader(name string, make func(t testing.TB, text string) any) bodyKind {
	kind := bodyGiven(name, make)
	kind.chunked = true
	return kind
}

// bodyTooLong is a reader of more than the MaxReplay of bodySmallReplay.
func bodyTooLong() bodyKind {
	kind := bodyReader("plain reader past MaxReplay", func(_ testing.TB, text string) any { return bodyPlain(text) })
	kind.once = true
	return kind
}

func bodyMaxReplay(n int64) func(*restyretry.Options) {
	return func(o *restyretry.Options) { o.MaxReplay = n }
}

func bodySilent(o *restyretry.Options) { o.Logger = slog.New(slog.DiscardHandler) }

func bodyAttempts(n int) func(*restyretry.Options) {
	return func(o *restyretry.Options) { o.Attempts = n }
}

// A bodyReceipt is a request as the server got it.
type bodyReceipt struct {
	body, contentType, accept, coding string
	length                            int64
	complete                          bool
}

// shared makes the boundary of multipart data the same for all requests, and
// leaves out how the body was framed.
func (r bodyReceipt) shared() bodyReceipt {
	if _, params, err := mime.ParseMediaType(r.contentType); err == nil && params["boundary"] != "" {
		r.body = strings.ReplaceAll(r.body, params["boundary"], "boundary")
		r.contentType = strings.ReplaceAll(r.contentType, params["boundary"], "boundary")
	}
	r.length, r.coding = 0, ""
	return r
}

func (r bodyReceipt) String() string {
	return fmt.Sprintf("{%d bytes %x, Content-Type %q, Accept %q, Content-Length %d, Transfer-Encoding %q, complete %v}",
		len(r.body), sha256.Sum256([]byte(r.body)), r.contentType, r.accept, r.length, r.coding, r.complete)
}

// A bodyServer records what it gets, and misbehaves as its fault says.
type bodyServer struct {
	*httptest.Server
	fault  bodyFault
	faulty atomic.Bool // the fault has happened
	mu     sync.Mutex
	got    []bodyReceipt
}

func (s *bodyServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.fault.redirects && r.URL.Path != "/moved" {
		s.receive(r, -1)
		http.Redirect(w, r, "/moved", http.StatusTemporaryRedirect)
		return
	}
	if s.fault.meet != nil && s.faulty.CompareAndSwap(false, true) {
		s.fault.meet(s, w, r)
		return
	}
	s.receive(r, -1)
	_, _ = io.WriteString(w, "fine")
}

// receive reads the body, or n bytes of it.
func (s *bodyServer) receive(r *http.Request, n int64) {
	got := bodyReceipt{
		contentType: r.Header.Get("Content-Type"), accept: r.Header.Get("Accept"),
		coding: strings.Join(r.TransferEncoding, ","), length: r.ContentLength,
	}
	from := io.Reader(r.Body)
	if n >= 0 {
		from = io.LimitReader(r.Body, n)
	}
	all, err := io.ReadAll(from)
	got.body, got.complete = string(all), err == nil && n < 0
	s.mu.Lock()
	s.got = append(s.got, got)
	s.mu.Unlock()
}

func (s *bodyServer) receipts() []bodyReceipt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

type bodyConnKey struct{}

// bodyReset ends the connection of a request with a RST.
func bodyReset(r *http.Request) {
	conn := r.Context().Value(bodyConnKey{}).(net.Conn)
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// A bodyFault is what happens to the first attempt of a request.
type bodyFault struct {
	name      string
	meet      func(*bodyServer, http.ResponseWriter, *http.Request)
	redirects bool
	refused   bool
	options   []func(*restyretry.Options)
	late      bool // the body has been read in full when it happens
}

var bodyFaults = []bodyFault{
	{name: "503 after the body", late: true, meet: func(s *bodyServer, w http.ResponseWriter, r *http.Request) {
		s.receive(r, -1)
		w.WriteHeader(http.StatusServiceUnavailable)
	}},
	{name: "503 after the first bytes", meet: func(s *bodyServer, w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 1 {
			_ = http.NewResponseController(w).EnableFullDuplex() // or the server reads on
			w.Header().Set("Connection", "close")
		}
		s.receive(r, 4)
		w.WriteHeader(http.StatusServiceUnavailable)
	}},
	{name: "reset while sending", meet: func(s *bodyServer, _ http.ResponseWriter, r *http.Request) {
		s.receive(r, 4)
		bodyReset(r)
		panic(http.ErrAbortHandler)
	}},
	{name: "connection refused", refused: true},
	{name: "truncated response", late: true, meet: func(s *bodyServer, w http.ResponseWriter, r *http.Request) {
		s.receive(r, -1)
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "part")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}},
	{name: "timeout", late: true, meet: func(s *bodyServer, _ http.ResponseWriter, r *http.Request) {
		s.receive(r, -1)
		<-r.Context().Done()
	}, options: []func(*restyretry.Options){func(o *restyretry.Options) { o.AttemptTimeout = 100 * time.Millisecond }}},
	{name: "307, then 503", late: true, redirects: true, meet: func(s *bodyServer, w http.ResponseWriter, r *http.Request) {
		s.receive(r, -1)
		w.WriteHeader(http.StatusServiceUnavailable)
	}},
}

// bodyServe starts a server of HTTP/1.1 or HTTP/2, and returns a client of it
// with nothing installed.
func bodyServe(t testing.TB, http2 bool, handler http.Handler) (*httptest.Server, *resty.Client) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Config.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		return context.WithValue(ctx, bodyConnKey{}, conn)
	}
	if http2 {
		server.EnableHTTP2 = true
		server.StartTLS()
	} else {
		server.Start()
	}
	transport := server.Client().Transport.(*http.Transport).Clone()
	t.Cleanup(func() { transport.CloseIdleConnections(); server.CloseClientConnections(); server.Close() })
	return server, resty.NewWithClient(&http.Client{Transport: transport}).SetBaseURL(server.URL).SetLogger(quiet{})
}

// bodyRefuse lets the first connection of a client be refused.
func bodyRefuse(c *resty.Client) {
	transport := c.GetClient().Transport.(*http.Transport)
	var dials atomic.Int32
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dials.Add(1) == 1 {
			return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
}

// bodyExpected is what plain Resty sends.
func bodyExpected(t *testing.T, kind bodyKind, text string) bodyReceipt {
	t.Helper()
	s := &bodyServer{}
	_, c := bodyServe(t, false, s)
	r := c.R()
	kind.set(t, r, text)
	if _, err := r.Put("/"); err != nil {
		t.Fatalf("plain Resty: %v", err)
	}
	return s.receipts()[0]
}

func TestBodyIsTheSameInEveryAttempt(t *testing.T) {
	sizes := []int{11, 200 << 10}
	for _, kind := range append(bodyKinds(), bodyTooLong()) {
		for _, size := range sizes {
			if kind.name == "no body" && size != sizes[0] || kind.once && size == sizes[0] {
				continue
			}
			t.Run(fmt.Sprintf("%s of %d", kind.name, size), func(t *testing.T) {
				text := bodyText(size)
				want := bodyExpected(t, kind, text)
				for _, fault := range bodyFaults {
					for _, http2 := range []bool{false, true} {
						if size == sizes[0] && (http2 || fault.options != nil) {
							continue // to save time
						}
						t.Run(fmt.Sprintf("%s, HTTP2 %v", fault.name, http2), func(t *testing.T) {
							t.Parallel()
							bodyCase{kind, fault, text, want, http2}.run(t)
						})
					}
				}
			})
		}
	}
}

type bodyCase struct {
	kind  bodyKind
	fault bodyFault
	text  string
	want  bodyReceipt
	http2 bool
}

func (c bodyCase) run(t *testing.T) {
	s := &bodyServer{fault: c.fault}
	_, client := bodyServe(t, c.http2, s)
	if c.fault.refused {
		bodyRefuse(client)
	}
	opts := append([]func(*restyretry.Options){constant(0), bodyAttempts(6)}, c.fault.options...)
	if c.kind.once {
		opts = append(opts, bodyMaxReplay(64<<10))
	}
	install(t, client, opts...)
	r := client.R()
	c.kind.set(t, r, c.text)
	resp, err := r.Put("/")
	history := restyretry.History(r)
	last := history[len(history)-1]
	t.Logf("%s: %v", summary(history), err)
	c.checkReceipts(t, s.receipts())
	if c.kind.once && !c.fault.refused && (c.fault.late || last.Reason == restyretry.ReasonBody) {
		c.checkSentOnce(t, s.receipts(), last)
		return
	}
	if err != nil || resp.StatusCode() != http.StatusOK || resp.String() != "fine" {
		t.Fatalf("got %v, %v; want the 200", resp, err)
	}
	c.checkCounts(t, s.receipts(), history)
}

// checkReceipts compares all that arrived in full with what plain Resty sends,
// and the rest with its beginning.
func (c bodyCase) checkReceipts(t *testing.T, got []bodyReceipt) {
	t.Helper()
	i := slices.IndexFunc(got, func(r bodyReceipt) bool { return r.complete })
	if i < 0 {
		return
	}
	first := got[i]
	if first.shared() != c.want.shared() {
		t.Errorf("got %v, want the body and header of plain Resty: %v", first.shared(), c.want.shared())
	}
	if chunked := first.length < 0; chunked != c.kind.chunked {
		t.Errorf("Content-Length: got %d, want one: %v", first.length, !c.kind.chunked)
	}
	for n, r := range got {
		if r.complete && r != first {
			t.Errorf("request %d: got %v, want %v", n+1, r, first)
		}
		if !r.complete && !strings.HasPrefix(first.body, r.body) {
			t.Errorf("request %d: the %d bytes that arrived are not the beginning of the body", n+1, len(r.body))
		}
	}
}

func (c bodyCase) checkSentOnce(t *testing.T, got []bodyReceipt, last restyretry.Attempt) {
	t.Helper()
	if len(got) != 1 || last.Number != 1 || last.Reason != restyretry.ReasonBody {
		t.Errorf("got %d requests, attempt %d, reason %q; want it sent once, reason body", len(got), last.Number, last.Reason)
	}
	if c.fault.late && !got[0].complete {
		t.Errorf("got %v, want all of it", got[0])
	}
}

// checkCounts compares the requests that arrived with the attempts.
func (c bodyCase) checkCounts(t *testing.T, got []bodyReceipt, history []restyretry.Attempt) {
	t.Helper()
	want := len(history)
	switch {
	case c.fault.redirects:
		want *= 2
	case c.fault.refused:
		want--
	}
	// A slow attempt may have timed out before the server got any of it.
	timesOut := len(c.fault.options) > 0 && len(got) < want
	if len(history) < 2 || len(got) != want && !timesOut || !got[len(got)-1].complete {
		t.Errorf("got %d requests for %s; want %d, the last in full", len(got), summary(history), want)
	}
}

// bodyRecord is a mock that reads every body before it answers.
func bodyRecord(statuses ...int) (func(*http.Request) (*http.Response, error), *[]bodyReceipt) {
	answer, _ := answers(statuses...)
	got := new([]bodyReceipt)
	return func(r *http.Request) (*http.Response, error) {
		receipt := bodyReceipt{
			contentType: r.Header.Get("Content-Type"), accept: r.Header.Get("Accept"), length: r.ContentLength,
		}
		if r.Body != nil {
			all, err := io.ReadAll(r.Body)
			r.Body.Close()
			if err != nil {
				return nil, err
			}
			receipt.body = string(all)
		}
		*got = append(*got, receipt)
		return answer(r)
	}, got
}

// bodyMocked is a client that waits for nothing, and what its server gets.
func bodyMocked(t testing.TB, statuses []int, opts ...func(*restyretry.Options)) (*resty.Client, *[]bodyReceipt) {
	t.Helper()
	respond, got := bodyRecord(statuses...)
	c := mocked(respond)
	install(t, c, append([]func(*restyretry.Options){constant(0)}, opts...)...)
	return c, got
}

// bodyWantAll compares what a server got with what it should have got.
func bodyWantAll(t *testing.T, got []bodyReceipt, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("got %d requests, want %d", len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if got[i].body != want[i] {
			t.Errorf("request %d: got %.60q, want %.60q", i+1, got[i].body, want[i])
		}
	}
}

func TestBodyIsPutBackWhenTheRequestIsOver(t *testing.T) {
	for _, kind := range bodyKinds() {
		t.Run(kind.name, func(t *testing.T) {
			c, _ := bodyMocked(t, []int{503, 200})
			type key struct{}
			ctx := context.WithValue(context.Background(), key{}, 1)
			r := c.R().SetContext(ctx).SetResult(&bodyDocument{}).SetError(&bodyDocument{})
			kind.set(t, r, "hello")
			body, result, failure := fmt.Sprintf("%T %p", r.Body, r.Body), r.Result, r.Error
			if _, err := r.Put("/"); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprintf("%T %p", r.Body, r.Body); got != body {
				t.Errorf("Body: got %s, want %s", got, body)
			}
			if r.Result != result || r.Error != failure || r.Context() != ctx {
				t.Errorf("got Result %p, Error %p, context %v; want %p, %p, %v", r.Result, r.Error, r.Context(), result, failure, ctx)
			}
		})
	}
}

// B1, B4, B9: a second Execute sends the same or fails, but never sends less.
func TestBodyOfARequestThatIsUsedAgain(t *testing.T) {
	for _, kind := range bodyKinds() {
		t.Run(kind.name, func(t *testing.T) {
			c, got := bodyMocked(t, []int{503, 200, 503, 200})
			r := c.R()
			kind.set(t, r, "hello")
			if _, err := r.Put("/"); err != nil {
				t.Fatal(err)
			}
			_, err := r.Put("/")
			if err != nil && len(*got) == 2 {
				t.Logf("refused: %v", err)
				return
			}
			if len(*got) != 4 {
				t.Fatalf("got %d requests and %v, want 4", len(*got), err)
			}
			for i, receipt := range *got {
				if want := (*got)[0].shared(); receipt.shared().body != want.body || receipt.shared().contentType != want.contentType {
					t.Errorf("request %d: got %q, want %q", i+1, receipt.shared().body, want.body)
				}
			}
		})
	}
}

func TestBodyOfAReaderPastMaxReplayIsNotSentBySecondExecute(t *testing.T) {
	c, got := bodyMocked(t, []int{503}, bodyMaxReplay(4))
	r := c.R().SetBody(bodyPlain("hello"))
	if _, err := r.Put("/"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Put("/"); err == nil || !strings.Contains(err.Error(), "MaxReplay") {
		t.Errorf("got %v, want an error that names MaxReplay", err)
	}
	bodyWantAll(t, *got, "hello")
}

// B9
func TestBodyOfAnotherRequestIsNeverSent(t *testing.T) {
	c, got := bodyMocked(t, []int{200})
	c.SetContentLength(true)
	for range 50 {
		*got = nil
		r := c.R()
		for _, send := range []func() (*resty.Response, error){
			func() (*resty.Response, error) { return r.Put("/") },
			func() (*resty.Response, error) { return c.R().SetBody("secret").Put("/") },
			func() (*resty.Response, error) { return c.R().SetBody(map[string]string{"a": "secret"}).Put("/") },
			func() (*resty.Response, error) { return r.Put("/") },
		} {
			if _, err := send(); err != nil {
				t.Fatal(err)
			}
		}
		bodyWantAll(t, *got, "", "secret", `{"a":"secret"}`, "")
	}
}

// H1: without our hook, what Resty would send is empty.
func TestBodyIsNotSentWhenTheHookIsReplaced(t *testing.T) {
	held := []string{
		"string", "bytes", "bytes.Buffer", "bytes.Reader", "strings.Reader", "os.File", "io.SectionReader",
		"plain reader", "pipe", "io.MultiReader",
	}
	for _, kind := range bodyKinds() {
		t.Run(kind.name, func(t *testing.T) {
			c, got := bodyMocked(t, []int{200}, bodySilent)
			c.SetPreRequestHook(func(*resty.Client, *http.Request) error { return nil })
			r := c.R()
			kind.set(t, r, "hello")
			_, err := r.Put("/")
			if slices.Contains(held, kind.name) || strings.HasPrefix(kind.name, "SetContentLength") {
				if err == nil || !strings.Contains(err.Error(), "PreRequest") || len(*got) != 0 {
					t.Errorf("got %v and %d requests, want an error that names PreRequest, and none", err, len(*got))
				}
				return
			}
			want := bodyExpected(t, kind, "hello").shared()
			if err != nil || len(*got) != 1 || (*got)[0].shared().body != want.body {
				t.Errorf("got %v and %v, want one request of %q", err, *got, want.body)
			}
		})
	}
}

func TestBodyOfMultipartDataWithoutOurHookIsSentOnce(t *testing.T) {
	c, got := bodyMocked(t, []int{503}, bodySilent)
	c.SetPreRequestHook(func(*resty.Client, *http.Request) error { return nil })
	r := c.R().SetFileReader("file", "a.txt", strings.NewReader("hello"))
	_, err := r.Put("/")
	if reason := summary(restyretry.History(r)); err != nil || len(*got) != 1 || reason != "1 body" {
		t.Errorf("got %v, %d requests, %q; want one, reason body", err, len(*got), reason)
	}
}

type bodyLog struct {
	quiet
	text strings.Builder
}

func (l *bodyLog) Debugf(format string, v ...any) { fmt.Fprintf(&l.text, format, v...) }

func TestBodyInMemoryIsShownInDebugAndCurlOutput(t *testing.T) {
	for _, kind := range bodyKinds() {
		t.Run(kind.name, func(t *testing.T) {
			c, got := bodyMocked(t, []int{503, 200})
			lines := &bodyLog{}
			c.SetLogger(lines).SetDebug(true).EnableGenerateCurlOnDebug()
			r := c.R()
			kind.set(t, r, "hello")
			resp, err := r.Put("/")
			if err != nil || resp.StatusCode() != 200 || len(*got) != 2 || (*got)[0].body != (*got)[1].body {
				t.Fatalf("got %v, %v, %v; want two equal requests and a 200", resp, err, *got)
			}
			if kind.name == "no body" {
				return
			}
			want := bodyExpected(t, kind, "hello").shared()
			if (*got)[0].shared().body != want.body {
				t.Errorf("got %q, want %q", (*got)[0].shared().body, want.body)
			}
			inMemory := !kind.chunked && !strings.Contains(strings.ToLower(kind.name), " file") &&
				kind.name != "os.File" && kind.name != "io.SectionReader" && !strings.Contains(kind.name, "plain")
			if inMemory && strings.Count(lines.text.String(), "hello") < 2 {
				t.Errorf("got %s\nwant the body in the output of both attempts", lines.text.String())
			}
		})
	}
}

func TestBodyOfAReaderIsReplayedUpToMaxReplay(t *testing.T) {
	for _, test := range []struct {
		limit    int64
		size     int
		replayed bool
	}{
		{limit: 0, size: 0, replayed: true},
		{limit: 0, size: 1},
		{limit: 1, size: 1, replayed: true},
		{limit: 99_999, size: 100_000},
		{limit: 100_000, size: 100_000, replayed: true},
		{limit: 100_001, size: 100_000, replayed: true},
	} {
		t.Run(fmt.Sprintf("%d of %d", test.size, test.limit), func(t *testing.T) {
			c, got := bodyMocked(t, []int{503, 200}, bodyMaxReplay(test.limit))
			r := c.R().SetBody(bodyPlain(bodyText(test.size)))
			resp, err := r.Put("/")
			if err != nil {
				t.Fatal(err)
			}
			if test.replayed {
				bodyWantAll(t, *got, bodyText(test.size), bodyText(test.size))
				return
			}
			bodyWantAll(t, *got, bodyText(test.size))
			if history := summary(restyretry.History(r)); resp.StatusCode() != 503 || history != "1 body" {
				t.Errorf("got %d, %q; want the 503, reason body", resp.StatusCode(), history)
			}
		})
	}
}

func TestBodyDefaultOfMaxReplayIsOneMebibyte(t *testing.T) {
	for extra, want := range []int{2, 1} {
		c, got := bodyMocked(t, []int{503, 200})
		if _, err := c.R().SetBody(bodyPlain(bodyText(1<<20 + extra))).Put("/"); err != nil {
			t.Fatal(err)
		}
		if len(*got) != want || len((*got)[0].body) != 1<<20+extra {
			t.Errorf("1 MiB + %d: got %d requests, want %d", extra, len(*got), want)
		}
	}
}

type bodyFailing struct {
	text string
	err  error
}

func (f *bodyFailing) Read(p []byte) (int, error) {
	if f.text == "" {
		return 0, f.err
	}
	n := copy(p, f.text)
	f.text = f.text[n:]
	return n, nil
}

func TestBodyReaderThatFailsEndsTheRequest(t *testing.T) {
	broken := errors.New("the disk is broken")
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP2 %v", http2), func(t *testing.T) {
			s := &bodyServer{}
			_, c := bodyServe(t, http2, s)
			install(t, c, constant(0), func(o *restyretry.Options) { o.Errors = func(error) bool { return true } })
			r := c.R().SetBody(&bodyFailing{"hello", broken})
			_, err := r.Put("/")
			if !errors.Is(err, broken) {
				t.Errorf("got %v, want %v", err, broken)
			}
			if history := summary(restyretry.History(r)); history != "1 body" {
				t.Errorf("got %q, want 1 body", history)
			}
			for _, got := range s.receipts() {
				if got.complete {
					t.Errorf("got %v, want nothing in full", got)
				}
			}
		})
	}
}

// A middleware that is registered after Install sees a body that is in memory,
// and may send another in its place. It cannot see one that is streamed, and
// what it makes of it is refused.
func TestBodyThatALaterMiddlewareReplacesIsSentInEveryAttempt(t *testing.T) {
	for _, kind := range bodyKinds() {
		if slices.Contains([]string{"no body", "form", "struct", "pointer to a struct", "map"}, kind.name) ||
			strings.HasPrefix(kind.name, "SetFile") || strings.HasPrefix(kind.name, "SetMultipart") {
			continue // not a body that a middleware can compress
		}
		t.Run(kind.name, func(t *testing.T) {
			c, got := bodyMocked(t, []int{503, 503, 200})
			c.OnBeforeRequest(bodyCompress)
			r := c.R()
			kind.set(t, r, "hello")
			_, err := r.Put("/")
			if bodyIsStreamed(r.Body) {
				if err == nil || !strings.Contains(err.Error(), "register it before Install") || len(*got) > 0 {
					t.Errorf("got error %v after %d requests, want one that says what to do, and none sent", err, len(*got))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(*got) != 3 {
				t.Fatalf("got %d requests, want 3", len(*got))
			}
			for i, receipt := range *got {
				if text := bodyUncompressed(receipt.body); text != "hello" {
					t.Errorf("request %d: got %q, want hello", i+1, text)
				}
			}
		})
	}
}

func bodyIsStreamed(body any) bool {
	switch body.(type) {
	case []byte, string, *bytes.Buffer, *bytes.Reader, *strings.Reader:
		return false
	default:
		return true
	}
}

// bodyCompress is a middleware as people write it.
func bodyCompress(_ *resty.Client, r *resty.Request) error {
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	switch body := r.Body.(type) {
	case []byte:
		_, _ = w.Write(body)
	case string:
		_, _ = io.WriteString(w, body)
	case io.Reader:
		_, _ = io.Copy(w, body)
	}
	w.Close()
	r.SetHeader("Content-Encoding", "gzip").SetBody(compressed.Bytes())
	return nil
}

func bodyUncompressed(text string) string {
	r, err := gzip.NewReader(strings.NewReader(text))
	if err != nil {
		return err.Error()
	}
	all, err := io.ReadAll(r)
	if err != nil {
		return err.Error()
	}
	return string(all)
}

func TestBodySetByOnAttemptIsTheAttempts(t *testing.T) {
	for _, given := range []any{nil, "given", []byte("given"), bodyDocument{"given"}, strings.NewReader("given"), bodyPlain("given")} {
		t.Run(fmt.Sprintf("%T", given), func(t *testing.T) {
			c, got := bodyMocked(t, []int{503, 503, 200}, hooksOf(restyretry.Hooks{OnAttempt: func(a restyretry.Attempt) error {
				a.Request.SetBody(fmt.Sprintf("attempt %d", a.Number))
				return nil
			}}))
			r := c.R().SetBody(given)
			if _, err := r.Put("/"); err != nil {
				t.Fatal(err)
			}
			bodyWantAll(t, *got, "attempt 1", "attempt 2", "attempt 3")
		})
	}
}

func TestBodySetByOnAttemptForOneAttemptLeavesTheOthers(t *testing.T) {
	c, got := bodyMocked(t, []int{503, 503, 200}, hooksOf(restyretry.Hooks{OnAttempt: func(a restyretry.Attempt) error {
		if a.Number == 2 {
			a.Request.SetBody(bodyDocument{"other"})
		}
		return nil
	}}))
	if _, err := c.R().SetBody(bodyPlain("given")).Put("/"); err != nil {
		t.Fatal(err)
	}
	bodyWantAll(t, *got, "given", `{"text":"other"}`, "given")
}

func TestBodyIsSentThoughOnAttemptReplacesTheContext(t *testing.T) {
	type key struct{}
	done := 0
	c, got := bodyMocked(t, []int{503, 200}, hooksOf(restyretry.Hooks{
		OnAttempt: func(a restyretry.Attempt) error {
			a.Request.SetContext(context.WithValue(context.Background(), key{}, 1))
			return nil
		},
		OnDone: func(restyretry.Attempt) { done++ },
	}))
	r := c.R().SetBody([]byte("hello"))
	if _, err := r.Put("/"); err != nil {
		t.Fatal(err)
	}
	bodyWantAll(t, *got, "hello", "hello")
	if left := fmt.Sprintf("%s", r.Body); left != "hello" || done != 1 {
		t.Errorf("got %q left in the request, OnDone %d times; want hello and once", left, done)
	}
}

func TestBodyThatPreRequestCompressesIsCompressedOnce(t *testing.T) {
	compress := func(_ *resty.Client, hr *http.Request) error {
		var compressed bytes.Buffer
		w := gzip.NewWriter(&compressed)
		if _, err := io.Copy(w, hr.Body); err != nil {
			return err
		}
		w.Close()
		hr.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(compressed.Bytes())), nil }
		hr.Body, _ = hr.GetBody()
		hr.ContentLength = int64(compressed.Len())
		return nil
	}
	for _, given := range []any{"hello", []byte("hello"), map[string]string{"text": "hello"}, strings.NewReader("hello")} {
		t.Run(fmt.Sprintf("%T", given), func(t *testing.T) {
			c, got := bodyMocked(t, []int{503, 503, 200}, func(o *restyretry.Options) { o.PreRequest = compress })
			if _, err := c.R().SetBody(given).Put("/"); err != nil {
				t.Fatal(err)
			}
			if len(*got) != 3 {
				t.Fatalf("got %d requests, want 3", len(*got))
			}
			for i, receipt := range *got {
				if text := bodyUncompressed(receipt.body); !strings.Contains(text, "hello") || receipt != (*got)[0] {
					t.Errorf("request %d: got %q, want hello, compressed once", i+1, text)
				}
			}
		})
	}
}

// Resty has read the readers for the first form. What it made of them must not
// be sent in place of another.
func TestBodyOfMultipartReadersIsNotSentForAnotherForm(t *testing.T) {
	form := func(r *resty.Request, id string) { r.SetFormData(map[string]string{"id": id}) }
	check := func(t *testing.T, got []bodyReceipt, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "set all parts on a new request") {
			t.Errorf("got %v, want an error that says what to do", err)
		}
		if len(got) != 1 || !strings.Contains(got[0].body, "one") || !strings.Contains(got[0].body, "hello") {
			t.Errorf("got %v, want the first form alone", got)
		}
	}
	t.Run("of a second use", func(t *testing.T) {
		c, got := bodyMocked(t, []int{200})
		r := c.R().SetFileReader("file", "a.txt", strings.NewReader("hello"))
		form(r, "one")
		if _, err := r.Put("/"); err != nil {
			t.Fatal(err)
		}
		form(r, "two")
		_, err := r.Put("/")
		check(t, *got, err)
	})
	t.Run("of OnAttempt", func(t *testing.T) {
		c, got := bodyMocked(t, []int{503, 200}, hooksOf(restyretry.Hooks{OnAttempt: func(a restyretry.Attempt) error {
			form(a.Request, []string{"one", "two"}[a.Number-1])
			return nil
		}}))
		_, err := c.R().SetFileReader("file", "a.txt", strings.NewReader("hello")).Put("/")
		check(t, *got, err)
	})
}

// bodyAnsweredEarly answers before it has sent the body, as net/http may.
type bodyAnsweredEarly struct {
	sent     chan string
	statuses []int // of the first answers; then 200
}

func (e *bodyAnsweredEarly) RoundTrip(r *http.Request) (*http.Response, error) {
	begun := make(chan struct{})
	late := 50 * time.Millisecond
	if len(e.statuses) > 0 {
		late *= 2 // the first goes on for longer than the last
	}
	go func() {
		defer r.Body.Close()
		first, _ := io.CopyN(io.Discard, r.Body, 1)
		close(begun)
		time.Sleep(late)
		rest, _ := io.ReadAll(r.Body)
		e.sent <- fmt.Sprint(first, string(rest))
	}()
	<-begun
	status := 200
	if len(e.statuses) > 0 {
		status, e.statuses = e.statuses[0], e.statuses[1:]
	}
	return &http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody, Request: r}, nil
}

// B7: the caller may use the memory again when Execute has returned.
func TestBodyInMemoryIsNotReadAfterTheRequest(t *testing.T) {
	for name, wrap := range map[string]func([]byte) any{
		"bytes":        func(text []byte) any { return text },
		"bytes.Buffer": func(text []byte) any { return bytes.NewBuffer(text) },
		"bytes.Reader": func(text []byte) any { return bytes.NewReader(text) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				transport := &bodyAnsweredEarly{sent: make(chan string, 1)}
				c := resty.NewWithClient(&http.Client{Transport: transport}).SetLogger(quiet{})
				install(t, c)
				text := []byte("hello")
				if _, err := c.R().SetBody(wrap(text)).Put("http://api.test/"); err != nil {
					t.Fatal(err)
				}
				copy(text, "other")
				if got := <-transport.sent; got != "1ello" {
					t.Errorf("got 1 byte and then %q sent, want ello", got[1:])
				}
			})
		})
	}
}

// OnAttempt may give every attempt memory of its own, and all of it comes back.
func TestBodyInMemoryOfOnAttemptIsNotReadAfterTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport := &bodyAnsweredEarly{sent: make(chan string, 2), statuses: []int{503}}
		c := resty.NewWithClient(&http.Client{Transport: transport}).SetLogger(quiet{})
		texts := [][]byte{[]byte("hello"), []byte("jelly")}
		install(t, c, constant(0), hooksOf(restyretry.Hooks{OnAttempt: func(a restyretry.Attempt) error {
			a.Request.SetBody(texts[a.Number-1])
			return nil
		}}))
		if _, err := c.R().Put("http://api.test/"); err != nil {
			t.Fatal(err)
		}
		for _, text := range texts {
			copy(text, "other")
		}
		got := []string{<-transport.sent, <-transport.sent}
		slices.Sort(got)
		if want := []string{"1ello", "1elly"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// The same on the wire, where only the race detector sees it.
func TestBodyInMemoryIsNotReadByNetHTTPAfterTheRequest(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP2 %v", http2), func(t *testing.T) {
			_, c := bodyServe(t, http2, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			install(t, c, constant(0))
			text := make([]byte, 4<<20)
			for range 4 {
				_, _ = c.R().SetBody(text).Post("/") // may fail, for the server closes the connection
				clear(text)
			}
		})
	}
}

// A bodyCloser counts how often it is closed.
type bodyCloser struct {
	io.Reader
	closed int
}

func (c *bodyCloser) Close() error { c.closed++; return nil }

func TestBodyReaderSetByOnAttemptLeavesTheOthers(t *testing.T) {
	given, other := &bodyCloser{Reader: bodyPlain("given")}, &bodyCloser{Reader: bodyPlain("other")}
	c, got := bodyMocked(t, []int{503, 503, 503, 200}, bodyAttempts(4), hooksOf(restyretry.Hooks{
		OnAttempt: func(a restyretry.Attempt) error {
			if a.Number%2 == 0 {
				a.Request.SetBody(other)
			}
			return nil
		},
	}))
	if _, err := c.R().SetBody(given).Put("/"); err != nil {
		t.Fatal(err)
	}
	bodyWantAll(t, *got, "given", "other", "given", "other")
	if given.closed != 1 || other.closed != 1 {
		t.Errorf("got the readers closed %d and %d times, want once each", given.closed, other.closed)
	}
}

// A curl command shows the body, for which Resty reads it.
func TestBodyOfAReaderSurvivesGenerateCurlCommand(t *testing.T) {
	curl := func(r *resty.Request) { r.GenerateCurlCommand() }
	for name, test := range map[string]struct{ before, onAttempt func(*resty.Request) }{
		"before the request": {curl, func(*resty.Request) {}},
		"in OnAttempt":       {func(*resty.Request) {}, curl},
	} {
		for _, given := range []io.Reader{strings.NewReader("hello"), bytes.NewBufferString("hello"), bodyPlain("hello")} {
			t.Run(fmt.Sprintf("%s %T", name, given), func(t *testing.T) {
				c, got := bodyMocked(t, []int{503, 200}, hooksOf(restyretry.Hooks{OnAttempt: func(a restyretry.Attempt) error {
					test.onAttempt(a.Request)
					return nil
				}}))
				r := c.R().SetDebug(true).EnableGenerateCurlOnDebug().SetBody(given)
				r.Method, r.URL = http.MethodPut, "/"
				test.before(r)
				if _, err := r.Put("/"); err != nil {
					t.Fatal(err)
				}
				bodyWantAll(t, *got, "hello", "hello")
			})
		}
	}
}

// B12, B13: what is encoded or read from a path stays as it was sent first.
func TestBodyThatChangesBetweenAttemptsIsSentAsItWasFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.txt")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	document := &bodyDocument{}
	for _, test := range []struct {
		name   string
		set    func(*resty.Request)
		change func(string)
	}{
		{"struct", func(r *resty.Request) { r.SetBody(document) }, func(text string) { document.Text = text }},
		{"SetFile", func(r *resty.Request) { r.SetFile("file", path) }, write},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.change("first")
			c, got := bodyMocked(t, []int{503, 200}, func(o *restyretry.Options) {
				o.Hooks = append(o.Hooks, restyretry.Hooks{OnRetry: func(restyretry.Attempt) { test.change("second") }})
			})
			r := c.R()
			test.set(r)
			if _, err := r.Put("/"); err != nil {
				t.Fatal(err)
			}
			if len(*got) != 2 || (*got)[0] != (*got)[1] || !strings.Contains((*got)[0].body, "first") {
				t.Errorf("got %v, want two equal requests", *got)
			}
		})
	}
}

// B2: the file is open for every attempt, and closed after the last.
func TestBodyFileIsClosedWhenTheRequestIsOver(t *testing.T) {
	c, got := bodyMocked(t, []int{503, 200})
	f := bodyFile(t, "hello")
	if _, err := c.R().SetBody(f).Put("/"); err != nil {
		t.Fatal(err)
	}
	bodyWantAll(t, *got, "hello", "hello")
	if _, err := f.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v, want the file closed", err)
	}
}

// B7: the server answers before the transport has sent the body.
func TestBodyOfALargeUploadSurvivesEarlyAnswers(t *testing.T) {
	rounds := 20
	switch {
	case *soak:
		rounds = 400
	case raceDetector:
		rounds = 5 // it is slow
	}
	text := []byte(bodyText(8 << 20))
	want := sha256.Sum256(text)
	for _, kind := range []string{"file", "bytes.Reader"} {
		t.Run(kind, func(t *testing.T) {
			var requests, intact atomic.Int32
			_, c := bodyServe(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if requests.Add(1)%2 == 1 {
					_ = http.NewResponseController(w).EnableFullDuplex()
					w.Header().Set("Connection", "close")
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				hash := sha256.New()
				if _, err := io.Copy(hash, r.Body); err == nil && [32]byte(hash.Sum(nil)) == want {
					intact.Add(1)
				}
			}))
			install(t, c, constant(0), bodyAttempts(2))
			path := bodyFile(t, string(text)).Name()
			for range rounds {
				requests.Store(0)
				var body any = bytes.NewReader(text)
				if kind == "file" {
					f, err := os.Open(path)
					if err != nil {
						t.Fatal(err)
					}
					_, _ = f.Seek(int64(len("skipped")), io.SeekStart)
					body = f
				}
				r := c.R().SetBody(body)
				// An answer that comes so early may be lost with its connection.
				if resp, err := r.Put("/"); err != nil || resp.StatusCode() != 200 {
					t.Fatalf("got %v, %v, want a 200", resp, err)
				}
			}
			if got := int(intact.Load()); got != rounds {
				t.Errorf("got %d intact uploads, want %d", got, rounds)
			}
		})
	}
}

func TestBodyOfASparseFileIsStreamed(t *testing.T) {
	if testing.Short() {
		t.Skip("256 MiB twice")
	}
	const size = 256 << 20
	f := bodyFile(t, "")
	if err := os.Truncate(f.Name(), size); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	var got []int64
	buffer := make([]byte, 64<<10)
	_, c := bodyServe(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r.Body, buffer)
		got = append(got, n, r.ContentLength)
		w.WriteHeader([]int{503, 200}[len(got)/2-1])
	}))
	install(t, c, constant(0))
	runtime.GC()
	peak := bodyPeakHeap()
	resp, err := c.R().SetBody(f).Put("/")
	grown := peak()
	if err != nil || resp.StatusCode() != 200 || !slices.Equal(got, []int64{size, size, size, size}) {
		t.Fatalf("got %v, %v, sizes and lengths %v; want the whole file twice", resp, err, got)
	}
	if t.Logf("peak heap %d KiB", grown>>10); grown > 5<<20 {
		t.Errorf("got %d bytes of heap, want 5 MiB at most", grown)
	}
}

// bodyPeakHeap watches the heap until its result is called, which returns by
// how much it has grown.
func bodyPeakHeap() func() uint64 {
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, done, peak := heap(), make(chan struct{}), make(chan uint64)
	go func() {
		highest := before
		for {
			select {
			case <-done:
				peak <- max(highest, heap()) - before
				return
			case <-time.After(2 * time.Millisecond):
				highest = max(highest, heap())
			}
		}
	}()
	return func() uint64 { close(done); return <-peak }
}

// bodyInMemory answers 503 and 200 in turn after it has read the body.
type bodyInMemory struct {
	calls int
	read  int64
}

func (m *bodyInMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		return nil, err
	}
	m.read += n
	r.Body.Close()
	m.calls++
	status := []int{http.StatusOK, http.StatusServiceUnavailable}[m.calls%2]
	return &http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody, Request: r,
	}, nil
}

// bodyPoster returns a function that posts 1 MiB with one retry, by the plugin
// or by Resty alone.
func bodyPoster(t testing.TB, plugin bool) (func(), *bodyInMemory) {
	transport := &bodyInMemory{}
	c := resty.NewWithClient(&http.Client{Transport: transport}).SetBaseURL("http://api.test").SetLogger(quiet{})
	if plugin {
		install(t, c, constant(0))
	} else {
		c.SetRetryCount(1).SetRetryWaitTime(1).SetRetryMaxWaitTime(1)
		c.AddRetryCondition(func(resp *resty.Response, _ error) bool { return resp.StatusCode() == 503 })
	}
	body := make([]byte, 1<<20)
	return func() {
		resp, err := c.R().SetHeader("Idempotency-Key", "1").SetHeader("Content-Type", "text/plain").SetBody(body).Post("/")
		if err != nil || resp.StatusCode() != 200 {
			t.Fatalf("got %v, %v", resp, err)
		}
	}, transport
}

func TestBodyOfOneMebibyteIsNotCopied(t *testing.T) {
	post, transport := bodyPoster(t, true)
	post()
	if transport.calls != 2 || transport.read != 2<<20 {
		t.Fatalf("got %d calls of %d bytes, want 2 of 2 MiB", transport.calls, transport.read)
	}
	var before, after runtime.MemStats
	const times = 50
	runtime.ReadMemStats(&before)
	for range times {
		post()
	}
	runtime.ReadMemStats(&after)
	got := (after.TotalAlloc - before.TotalAlloc) / times
	limit := uint64(32 << 10)
	if raceDetector {
		limit = 128 << 10 // sync.Pool forgets at random
	}
	if t.Logf("%d bytes per request", got); got > limit {
		t.Errorf("got %d bytes per request, want %d at most", got, limit)
	}
}

func BenchmarkRetryPOST1MiB(b *testing.B) {
	for _, test := range []struct {
		name   string
		plugin bool
	}{{"Resty", false}, {"plugin", true}} {
		b.Run(test.name, func(b *testing.B) {
			post, _ := bodyPoster(b, test.plugin)
			b.ReportAllocs()
			for b.Loop() {
				post()
			}
		})
	}
}
