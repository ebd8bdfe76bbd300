package restyretry_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
)

// responseRemotes is the connections that a server has seen.
type responseRemotes struct {
	mu   sync.Mutex
	seen map[string]int
}

func (r *responseRemotes) add(hr *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = make(map[string]int)
	}
	r.seen[hr.RemoteAddr]++
}

func (r *responseRemotes) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen)
}

// responseGoroutines fails the test if there are more goroutines than before
// when the result is called, after giving them time to end.
func responseGoroutines(t *testing.T) func() {
	t.Helper()
	before := runtime.NumGoroutine()
	return func() {
		t.Helper()
		for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				all := make([]byte, 1<<16)
				t.Fatalf("got %d goroutines, want %d\n%s", runtime.NumGoroutine(), before, all[:runtime.Stack(all, true)])
			}
		}
	}
}

// R1
func TestResponseRawRetriesUseOneConnection(t *testing.T) {
	for _, size := range []int{0, 100, 60 << 10} {
		t.Run(fmt.Sprintf("503 of %d bytes", size), func(t *testing.T) {
			var remotes, others responseRemotes
			var n atomic.Int32
			server, c := bodyServe(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				remotes.add(r)
				if n.Add(1)%2 == 1 {
					w.WriteHeader(http.StatusServiceUnavailable)
					_, _ = io.WriteString(w, bodyText(size))
					return
				}
				_, _ = io.WriteString(w, "fine")
			}))
			other, _ := bodyServe(t, false, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { others.add(r) }))
			install(t, c, constant(0))
			responseOK(t, c.R(), other.URL)
			responseRaw(t, c, server.URL, "fine")
			check := responseGoroutines(t)
			for range 200 {
				responseRaw(t, c, server.URL, "fine")
			}
			check()
			responseOK(t, c.R(), other.URL)
			if got := remotes.count(); got != 1 {
				t.Errorf("got %d connections, want 1", got)
			}
			if got := others.count(); got != 1 {
				t.Errorf("the other host: got %d connections, want 1", got)
			}
		})
	}
}

func responseOK(t *testing.T, r *resty.Request, url string) *resty.Response {
	t.Helper()
	resp, err := r.Get(url)
	if err != nil || resp.StatusCode() != http.StatusOK {
		t.Fatalf("got %v, %v; want a 200", resp, err)
	}
	return resp
}

// responseRaw reads a raw response.
func responseRaw(t *testing.T, c *resty.Client, url, want string) {
	t.Helper()
	resp, err := c.R().SetDoNotParseResponse(true).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.RawBody().Close()
	if got, err := io.ReadAll(resp.RawBody()); err != nil || string(got) != want {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

func TestResponseRawOfTheLastAttemptKeepsItsBody(t *testing.T) {
	_, c := bodyServe(t, false, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, bodyText(100_000))
	}))
	install(t, c, constant(0))
	responseRaw(t, c, "/", bodyText(100_000))
}

func TestResponseRawMayBeReadForLongerThanAttemptTimeout(t *testing.T) {
	var n atomic.Int32
	_, c := bodyServe(t, false, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		for range 5 {
			_, _ = io.WriteString(w, "slow ")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(80 * time.Millisecond)
		}
	}))
	install(t, c, constant(0), func(o *restyretry.Options) { o.AttemptTimeout = 250 * time.Millisecond })
	responseRaw(t, c, "/", "slow slow slow slow slow ")
}

func TestResponseThatNeverEndsIsGivenUpSoon(t *testing.T) {
	for _, test := range []struct {
		name  string
		chunk string
		pause time.Duration
	}{
		{"slow", "x", 5 * time.Millisecond},
		{"silent", "", 5 * time.Millisecond},
		{"fast", bodyText(32 << 10), 0},
	} {
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, HTTP2 %v", test.name, http2), func(t *testing.T) {
				var n atomic.Int32
				ended := make(chan struct{})
				_, c := bodyServe(t, http2, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if n.Add(1) != 1 {
						_, _ = io.WriteString(w, "fine")
						return
					}
					defer close(ended)
					w.WriteHeader(http.StatusServiceUnavailable)
					for r.Context().Err() == nil {
						_, _ = io.WriteString(w, test.chunk)
						_ = http.NewResponseController(w).Flush()
						time.Sleep(test.pause)
					}
				}))
				install(t, c.SetTimeout(5*time.Second), constant(0))
				start := time.Now()
				responseRaw(t, c, "/", "fine")
				if took := time.Since(start); took > 500*time.Millisecond {
					t.Errorf("got %v, want about 50 ms at most", took)
				}
				select {
				case <-ended:
				case <-time.After(5 * time.Second):
					t.Error("the response is still open")
				}
			})
		}
	}
}

// A responseBody counts how often it is opened and closed.
type responseBody struct {
	io.Reader
	open   *atomic.Int32
	closed bool
}

func (b *responseBody) Close() error {
	if !b.closed {
		b.closed = true
		b.open.Add(-1)
	}
	return nil
}

// R1, R4: every response is closed, in whatever mode and however it fails.
func TestResponseBodiesAreAllClosed(t *testing.T) {
	for _, test := range []struct {
		name string
		body string
		set  func(t *testing.T, r *resty.Request)
	}{
		{"parsed", `{"text":"a"}`, func(_ *testing.T, r *resty.Request) { r.SetResult(&bodyDocument{}) }},
		{"not JSON", `<html>`, func(_ *testing.T, r *resty.Request) { r.SetResult(&bodyDocument{}) }},
		{"raw", `{"text":"a"}`, func(_ *testing.T, r *resty.Request) { r.SetDoNotParseResponse(true) }},
		{"output", `{"text":"a"}`, func(t *testing.T, r *resty.Request) { r.SetOutput(filepath.Join(t.TempDir(), "out")) }},
		{"output and result", `{"text":"a"}`, func(t *testing.T, r *resty.Request) {
			r.SetOutput(filepath.Join(t.TempDir(), "out")).SetResult(&bodyDocument{})
		}},
		{"output that cannot be created", `{"text":"a"}`, func(t *testing.T, r *resty.Request) { r.SetOutput(t.TempDir()) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			var open, calls atomic.Int32
			c := mocked(func(r *http.Request) (*http.Response, error) {
				open.Add(1)
				status := []int{503, 503, 200}[min(int(calls.Add(1))-1, 2)]
				return &http.Response{
					StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Request: r, ContentLength: -1,
					Header: http.Header{"Content-Type": {"application/json"}},
					Body:   &responseBody{Reader: strings.NewReader(test.body), open: &open},
				}, nil
			})
			install(t, c, constant(0))
			r := c.R()
			test.set(t, r)
			resp, err := r.Get("/")
			if test.name == "raw" {
				resp.RawBody().Close()
			}
			if got := open.Load(); got != 0 {
				t.Errorf("got %d open responses of %d (%v), want 0", got, calls.Load(), err)
			}
		})
	}
}

func TestResponseRawIsClosedAfterAPanic(t *testing.T) {
	var open atomic.Int32
	c := mocked(func(r *http.Request) (*http.Response, error) {
		open.Add(1)
		return &http.Response{StatusCode: 200, Request: r, Body: &responseBody{Reader: strings.NewReader("hi"), open: &open}}, nil
	})
	install(t, c, func(o *restyretry.Options) { o.RetryIf = func(restyretry.Attempt) bool { panic("boom") } })
	loopRecover(func() { _, _ = c.R().SetDoNotParseResponse(true).Get("/") })
	if got := open.Load(); got != 0 {
		t.Errorf("got %d open responses, want 0", got)
	}
}

// The body of a 101 is the connection, to which the caller wants to write.
func TestResponseRawOfAnUpgradeMayBeWrittenTo(t *testing.T) {
	var written strings.Builder
	c := mocked(func(r *http.Request) (*http.Response, error) {
		body := struct {
			io.ReadCloser
			io.Writer
		}{http.NoBody, &written}
		return &http.Response{StatusCode: 101, Request: r, Body: body}, nil
	})
	install(t, c, func(o *restyretry.Options) { o.AttemptTimeout = time.Hour })
	resp, err := c.R().SetDoNotParseResponse(true).Get("/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.RawBody().Close()
	w, ok := resp.RawBody().(io.Writer)
	if !ok {
		t.Fatalf("got a body of type %T, want an io.Writer", resp.RawBody())
	}
	if _, err := io.WriteString(w, "hello"); err != nil || written.String() != "hello" {
		t.Errorf("got %q, %v; want hello", written.String(), err)
	}
}

// R3
func TestResponseOutputHasTheDownloadOrNothing(t *testing.T) {
	cut := func(w http.ResponseWriter) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "part of the file")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	page := func(status int) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "error page")
		}
	}
	file := func(w http.ResponseWriter) { _, _ = io.WriteString(w, "the file") }
	for _, test := range []struct {
		name    string
		answers []func(http.ResponseWriter)
		status  int
		raise   bool
		want    string // in the file
	}{
		{"200", []func(http.ResponseWriter){file}, 200, false, "the file"},
		{"503, 200", []func(http.ResponseWriter){page(503), file}, 200, false, "the file"},
		{"cut, 200", []func(http.ResponseWriter){cut, file}, 200, false, "the file"},
		{"503", []func(http.ResponseWriter){page(503)}, 503, false, ""},
		{"cut, 503", []func(http.ResponseWriter){cut, page(503)}, 503, false, ""},
		{"404", []func(http.ResponseWriter){page(404)}, 404, false, ""},
		{"404, raised", []func(http.ResponseWriter){page(404)}, 404, true, ""},
		{"503, raised", []func(http.ResponseWriter){page(503)}, 503, true, ""},
	} {
		for _, existing := range []bool{false, true} {
			for _, directory := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, file exists %v, SetOutputDirectory %v", test.name, existing, directory), func(t *testing.T) {
					var n atomic.Int32
					_, c := bodyServe(t, false, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
						test.answers[min(int(n.Add(1)), len(test.answers))-1](w)
					}))
					install(t, c, constant(0), func(o *restyretry.Options) { o.RaiseForStatus = test.raise })
					path := filepath.Join(t.TempDir(), "out.txt")
					if existing {
						if err := os.WriteFile(path, []byte("before"), 0o600); err != nil {
							t.Fatal(err)
						}
					}
					r := c.R().SetOutput(path)
					if directory {
						c.SetOutputDirectory(filepath.Dir(path))
						r.SetOutput(filepath.Base(path))
					}
					resp, err := r.Get("/")
					var raised *restyretry.StatusError
					if errors.As(err, &raised) != test.raise || resp.StatusCode() != test.status {
						t.Fatalf("got %v, %v; want a %d", resp.StatusCode(), err, test.status)
					}
					got, _ := os.ReadFile(path)
					if string(got) != test.want {
						t.Errorf("file: got %q, want %q", got, test.want)
					}
					if test.want == "" && resp.String() != "error page" {
						t.Errorf("response: got %q, want the error page", resp.String())
					}
				})
			}
		}
	}
}

// R3: a download that is never complete is an error.
func TestResponseOutputThatIsCutIsAnError(t *testing.T) {
	_, c := bodyServe(t, false, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "part")
	}))
	install(t, c, constant(0))
	r := c.R().SetOutput(filepath.Join(t.TempDir(), "out"))
	if _, err := r.Get("/"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want %v", err, io.ErrUnexpectedEOF)
	}
	if got := summary(restyretry.History(r)); got != "1 error, 2 error, 3 attempts" {
		t.Errorf("got %q", got)
	}
}

// R3: what is retried although it is a 200 is not the download either.
func TestResponseOutputOfARetried200IsOverwritten(t *testing.T) {
	var n atomic.Int32
	_, c := bodyServe(t, false, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) == 1 {
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, "not ready yet, come back later")
			return
		}
		_, _ = io.WriteString(w, "the file")
	}))
	install(t, c, constant(0), func(o *restyretry.Options) { o.Statuses = append(o.Statuses, 202) })
	path := filepath.Join(t.TempDir(), "out")
	responseOK(t, c.R().SetOutput(path), "/")
	if got, _ := os.ReadFile(path); string(got) != "the file" {
		t.Errorf("got %q, want the file", got)
	}
}

// R3: a middleware that was registered before Install, and refuses the response,
// keeps Install's own from seeing it.
func TestResponseOutputHasNoErrorPageThatAMiddlewareRefuses(t *testing.T) {
	for _, status := range []int{404, 503} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			refused := errors.New("refused")
			c := mocked(func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: status, Request: r, Body: io.NopCloser(strings.NewReader("error page"))}, nil
			})
			c.OnAfterResponse(func(*resty.Client, *resty.Response) error { return refused })
			install(t, c, constant(0))
			path := filepath.Join(t.TempDir(), "out")
			if _, err := c.R().SetOutput(path).Get("/"); !errors.Is(err, refused) {
				t.Errorf("got %v, want %v", err, refused)
			}
			if got, _ := os.ReadFile(path); len(got) > 0 {
				t.Errorf("file: got %q, want nothing", got)
			}
		})
	}
}

type responseState struct {
	State  string            `json:"state"`
	Detail string            `json:"detail"`
	Kept   string            `json:"-"`
	M      map[string]int    `json:"m"`
	Deep   *responseState    `json:"deep"`
	List   []string          `json:"list"`
	Labels map[string]string `json:"labels"`
}

type responseAnswer struct {
	status      int
	contentType string
	body        string
}

// responseAnswers is a client whose server gives these answers.
func responseAnswers(t *testing.T, list []responseAnswer, opts ...func(*restyretry.Options)) *resty.Client {
	t.Helper()
	n := 0
	c := mocked(func(r *http.Request) (*http.Response, error) {
		a := list[min(n, len(list)-1)]
		n++
		contentType := a.contentType
		if contentType == "" {
			contentType = "application/json"
		}
		return &http.Response{
			StatusCode: a.status, ProtoMajor: 1, ProtoMinor: 1, Request: r, ContentLength: -1,
			Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(strings.NewReader(a.body)),
		}, nil
	})
	install(t, c, append([]func(*restyretry.Options){constant(0)}, opts...)...)
	return c
}

func responseUntil(state string) func(*restyretry.Options) {
	return func(o *restyretry.Options) {
		o.RetryIf = func(a restyretry.Attempt) bool {
			return a.StatusCode() == 200 && !strings.Contains(a.Response.String(), state)
		}
	}
}

// R5
func TestResponseResultHasNothingOfEarlierAttempts(t *testing.T) {
	list := []responseAnswer{
		{200, "", `{"state":"pending","detail":"old","m":{"old":1},"deep":{"state":"old"},"list":["a","b"],"labels":{"old":"1"}}`},
		{200, "", `{"state":"done","m":{"new":2}}`},
	}
	t.Run("struct", func(t *testing.T) {
		result := &responseState{Kept: "mine", Detail: "initial"}
		c := responseAnswers(t, list, responseUntil("done"))
		resp := responseOK(t, c.R().SetResult(result), "/")
		if resp.Result() != any(result) {
			t.Errorf("got another result than the caller's")
		}
		if got := fmt.Sprintf("%+v", *result); got != "{State:done Detail:initial Kept:mine M:map[new:2] Deep:<nil> List:[] Labels:map[]}" {
			t.Errorf("got %s, want nothing of the first response", got)
		}
	})
	t.Run("map", func(t *testing.T) {
		result := map[string]any{}
		c := responseAnswers(t, list, responseUntil("done"))
		responseOK(t, c.R().SetResult(&result), "/")
		if got := fmt.Sprint(result); got != "map[m:map[new:2] state:done]" {
			t.Errorf("got %s, want nothing of the first response", got)
		}
	})
	t.Run("map with initial entries", func(t *testing.T) {
		result := map[string]any{"mine": 1}
		c := responseAnswers(t, list, responseUntil("done"))
		responseOK(t, c.R().SetResult(&result), "/")
		if got := fmt.Sprint(result); got != "map[m:map[new:2] mine:1 state:done]" {
			t.Errorf("got %s, want nothing of the first response", got)
		}
	})
	t.Run("struct with an initial map", func(t *testing.T) {
		result := &responseState{M: map[string]int{"mine": 1}, Deep: &responseState{Detail: "mine"}}
		c := responseAnswers(t, list, responseUntil("done"))
		responseOK(t, c.R().SetResult(result), "/")
		if got := fmt.Sprint(result.M, result.Deep.State); got != "map[mine:1 new:2]" {
			t.Errorf("got %q, want nothing of the first response", got)
		}
	})
}

// R5: what decoders leave alone is not copied, but stays the caller's own.
func TestResponseResultKeepsPointersThatAreNotDecoded(t *testing.T) {
	type owned struct {
		State string
		Owner *responseState `json:"-"`
	}
	owner := &responseState{Kept: "mine"}
	result, failure := &owned{Owner: owner}, &owned{Owner: owner}
	c := responseAnswers(t, []responseAnswer{
		{503, "", `{"state":"busy"}`}, {200, "", `{"state":"pending"}`}, {200, "", `{"state":"done"}`},
	}, responseUntil("done"))
	responseOK(t, c.R().SetResult(result).SetError(failure), "/")
	if result.State != "done" || result.Owner != owner || failure.Owner != owner {
		t.Errorf("got %+v and %+v, want the state done and the caller's owner %p", result, failure, owner)
	}
}

func TestResponseResultMayBeARingOfPointers(t *testing.T) {
	type node struct {
		State           string
		Next, Prev, Own *node
	}
	a, b := &node{}, &node{}
	a.Next, a.Prev, a.Own, b.Next, b.Prev, b.Own = b, b, a, a, a, b
	c := responseAnswers(t, []responseAnswer{
		{503, "", `{"state":"busy"}`}, {200, "", `{"state":"pending"}`}, {200, "", `{"state":"done"}`},
	}, responseUntil("done"))
	hooksWithin(t, func() { responseOK(t, c.R().SetResult(a).SetError(b), "/") })
	if a.State != "done" || b.State != "" || a.Next != b || b.Next != a {
		t.Errorf("got states %q and %q, neighbours %p and %p; want done and none, %p and %p", a.State, b.State, a.Next, b.Next, b, a)
	}
}

// R5: the last attempt's failure does not come with the result of a retried 200.
func TestResponseOfARetried200LeavesNoResult(t *testing.T) {
	list := []responseAnswer{{200, "", `{"state":"pending"}`}, {503, "text/plain", "busy"}}
	c := responseAnswers(t, list, responseUntil("done"))
	resp, err := c.R().SetResult(&responseState{}).Get("/")
	if err != nil || resp.StatusCode() != 503 || resp.Result().(*responseState).State != "" {
		t.Errorf("got %v, %v, %+v; want a 503 and an empty result", resp, err, resp.Result())
	}
}

// R6
func TestResponseErrorHasNothingOfEarlierAttempts(t *testing.T) {
	first := responseAnswer{503, "", `{"state":"first","detail":"old","m":{"old":1}}`}
	for _, test := range []struct {
		name string
		then responseAnswer
		want string
	}{
		{"another error", responseAnswer{400, "", `{"state":"second"}`}, "second"},
		{"text", responseAnswer{400, "text/plain", "bad"}, ""},
		{"200 of text", responseAnswer{200, "text/plain", "fine"}, ""},
		{"200 of JSON", responseAnswer{200, "", "{}"}, ""},
		{"204", responseAnswer{204, "", ""}, ""},
	} {
		for _, byClient := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, client's type %v", test.name, byClient), func(t *testing.T) {
				c := responseAnswers(t, []responseAnswer{first, test.then})
				r := c.R()
				if byClient {
					c.SetError(&responseState{})
				} else {
					r.SetError(&responseState{})
				}
				resp, err := r.Get("/")
				if err != nil {
					t.Fatal(err)
				}
				got, _ := resp.Error().(*responseState)
				if got == nil {
					got = &responseState{}
				}
				if got.State != test.want || got.Detail != "" || got.M != nil {
					t.Errorf("got %+v, want state %q alone", *got, test.want)
				}
			})
		}
	}
}

// R7
func TestResponseErrorTypeSurvivesARetried200(t *testing.T) {
	for _, again := range []responseAnswer{{200, "", `{"state":"pending"}`}, {204, "", ""}} {
		t.Run(fmt.Sprint(again.status), func(t *testing.T) {
			c := responseAnswers(t, []responseAnswer{again, {400, "", `{"state":"bad"}`}},
				func(o *restyretry.Options) {
					o.RetryIf = func(a restyretry.Attempt) bool { return a.StatusCode() < 300 }
				})
			failure := &responseState{}
			resp, err := c.R().SetResult(&responseState{}).SetError(failure).Get("/")
			if err != nil || resp.Error() != any(failure) || failure.State != "bad" {
				t.Errorf("got %v, %v, %+v; want the state bad", resp, err, resp.Error())
			}
		})
	}
}

// R7: the type given to SetError is there for the next use of the request too.
func TestResponseErrorTypeSurvivesReuse(t *testing.T) {
	c := responseAnswers(t, []responseAnswer{{503, "", `{"detail":"x"}`}, {200, "", `{}`}, {400, "", `{"state":"bad"}`}})
	failure := &responseState{}
	r := c.R().SetError(failure)
	responseOK(t, r, "/")
	resp, err := r.Get("/")
	if err != nil || resp.Error() != any(failure) || failure.State != "bad" || failure.Detail != "" {
		t.Errorf("got %v, %v, %+v; want the state bad", resp, err, resp.Error())
	}
}

// R8, R9
func TestResponseOfAnEarlierAttemptStaysInTheHistory(t *testing.T) {
	c := responseAnswers(t, []responseAnswer{{503, "text/plain", "busy"}})
	c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
		if r.Attempt == 2 {
			return errors.New("no token")
		}
		return nil
	})
	r := c.R()
	_, err := r.Get("/")
	history := restyretry.History(r)
	if err == nil || summary(history) != "1 status, 2 not-sent" {
		t.Fatalf("got %v, %q; want the middleware's error, 1 status, 2 not-sent", err, summary(history))
	}
	if got := history[0].Response; got.StatusCode() != 503 || got.String() != "busy" {
		t.Errorf("got %v, want the 503", got)
	}
}

// R10, R11: a POST whose answer cannot be read, and any request whose answer
// cannot be decoded, is not sent again.
func TestResponseThatCannotBeReadIsNotAskedForAgain(t *testing.T) {
	gzipped := func(w http.ResponseWriter) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, "this is not gzip")
	}
	short := func(w http.ResponseWriter) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "part")
	}
	invalid := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "<html>")
	}
	long := func(w http.ResponseWriter) { _, _ = io.WriteString(w, bodyText(1000)) }
	for _, test := range []struct {
		name, method string
		answer       func(http.ResponseWriter)
		want         int32
	}{
		{"gzip", "POST", gzipped, 1},
		{"gzip", "GET", gzipped, 1},
		{"truncated", "POST", short, 1},
		{"truncated", "GET", short, 3},
		{"JSON", "POST", invalid, 1},
		{"JSON", "GET", invalid, 1},
		{"too long", "POST", long, 1},
		{"too long", "GET", long, 1},
	} {
		t.Run(test.name+" "+test.method, func(t *testing.T) {
			var calls atomic.Int32
			_, c := bodyServe(t, false, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				calls.Add(1)
				test.answer(w)
			}))
			install(t, c, constant(0))
			_, err := c.R().SetResult(&bodyDocument{}).SetResponseBodyLimit(500).Execute(test.method, "/")
			if err == nil || calls.Load() != test.want {
				t.Errorf("got %d calls, %v; want %d and an error", calls.Load(), err, test.want)
			}
		})
	}
}
