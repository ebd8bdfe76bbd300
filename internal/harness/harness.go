// Package harness runs requests with the plugin on a script of answers. A test says
// in one line what it expects to become of a request:
//
//	c := harness.New(t, harness.Statuses(503, 200))
//	c.Get(t, "/x").Want(t, "503 status 1s | 200 succeeded")
//
// [Call.Want] also checks what holds for every request. In a bubble of
// testing/synctest, waits are exact and take no time.
//
// The package imports restyretry, so tests inside package restyretry cannot use it;
// those in package restyretry_test can.
package harness

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/jarcoal/httpmock"

	"github.com/restyretry/restyretry"
)

// Base is the base URL of the clients of [New] and [Mock].
const Base = "http://api.test"

// A Client is a Resty client that notes what it sends. [New] and [Mock] answer its
// requests by a script, [Serve] and its relatives by a server.
type Client struct {
	*resty.Client
	Plugin *restyretry.Plugin // once it is installed

	recorded bool // what it sends

	mu            sync.Mutex
	sent          []Sent
	retried, done []restyretry.Attempt
}

// Sent is a request as it reached the transport.
type Sent struct {
	Method, URL, Body string
	Header            http.Header
	At                time.Time
	Request           *http.Request // whose body has been read
}

// New returns a client on a script of answers, with the plugin. It waits a second
// before each retry, unless the options say otherwise.
func New(t testing.TB, script Script, opts ...Option) *Client {
	t.Helper()
	return Mock(script).Install(t, append([]Option{Wait(time.Second)}, opts...)...)
}

// Mock returns a client on a script of answers, without the plugin.
func Mock(script Script) *Client {
	c := &Client{recorded: true}
	transport := httpmock.NewMockTransport()
	transport.RegisterNoResponder(func(r *http.Request) (*http.Response, error) { return c.answer(r, script) })
	c.Client = resty.NewWithClient(&http.Client{Transport: transport}).SetBaseURL(Base).SetLogger(Silent{})
	return c
}

// Install installs the plugin. An error ends the test.
func (c *Client) Install(t testing.TB, opts ...Option) *Client {
	t.Helper()
	p, err := restyretry.Install(c.Client, append(slices.Clip(opts), Hooks(restyretry.Hooks{
		OnRetry: func(a restyretry.Attempt) { c.keep(&c.retried, a) },
		OnDone:  func(a restyretry.Attempt) { c.keep(&c.done, a) },
	}))...)
	if err != nil {
		t.Fatalf("Install: got %v, want no error", err)
	}
	c.Plugin = p
	return c
}

// Update updates the plugin. An error fails the test.
func (c *Client) Update(t testing.TB, opts ...Option) {
	t.Helper()
	if err := c.Plugin.Update(opts...); err != nil {
		t.Errorf("Update: got %v, want no error", err)
	}
}

func (c *Client) keep(list *[]restyretry.Attempt, a restyretry.Attempt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*list = append(*list, a)
}

// answer notes a request, reads its body as a transport does, and answers it.
func (c *Client) answer(r *http.Request, script Script) (*http.Response, error) {
	text, err := readBody(r)
	c.mu.Lock()
	c.sent = append(c.sent, Sent{
		Method: r.Method, URL: r.URL.String(), Body: text, Header: r.Header.Clone(), At: time.Now(), Request: r,
	})
	n := len(c.sent)
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return script(n, r)
}

func readBody(r *http.Request) (string, error) {
	if r.Body == nil {
		return "", nil
	}
	text, err := io.ReadAll(r.Body)
	return string(text), errors.Join(err, r.Body.Close())
}

// Sent returns the requests that have reached the transport.
func (c *Client) Sent() []Sent {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.sent)
}

// Done returns what OnDone was told, of all requests.
func (c *Client) Done() []restyretry.Attempt {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.done)
}

// A Call is what became of one request.
type Call struct {
	Request  *resty.Request
	Response *resty.Response
	Err      error
	Panic    any // what it panicked with
	Took     time.Duration
	Sent     []Sent

	History       []restyretry.Attempt
	Retried, Done []restyretry.Attempt // what OnRetry and OnDone were told

	counted  restyretry.Stats // by it
	recorded bool
	bubble   bool
}

// Get sends a GET.
func (c *Client) Get(t testing.TB, url string) *Call {
	t.Helper()
	return c.Do(t, c.R(), http.MethodGet, url)
}

// GetRaw sends a GET, and reads the response, which is raw and has to be this one.
func (c *Client) GetRaw(t testing.TB, url, want string) *Call {
	t.Helper()
	call := c.Do(t, c.R().SetDoNotParseResponse(true), http.MethodGet, url)
	if call.Err != nil {
		t.Fatal(call.Err)
	}
	defer call.Response.RawBody().Close()
	got, err := io.ReadAll(call.Response.RawBody())
	Equal(t, "error of the raw body", err, nil)
	SameText(t, "raw body", string(got), want)
	return call
}

// Do sends a request, and collects what becomes of it. No other request of c may run
// meanwhile.
func (c *Client) Do(t testing.TB, r *resty.Request, method, url string) *Call {
	t.Helper()
	call := &Call{Request: r, recorded: c.recorded, bubble: time.Now().Year() == 2000} // where all bubbles begin
	sent, retried, done := len(c.sent), len(c.retried), len(c.done)
	before, start := c.stats(), time.Now()
	call.Response, call.Panic, call.Err = execute(r, method, url)
	call.Took = time.Since(start)
	after := c.stats()
	call.Sent, call.Retried, call.Done = c.sent[sent:], c.retried[retried:], c.done[done:]
	call.History = restyretry.History(r)
	call.counted = restyretry.Stats{
		Requests: after.Requests - before.Requests, Attempts: after.Attempts - before.Attempts,
		Retries: after.Retries - before.Retries,
	}
	return call
}

func (c *Client) stats() (s restyretry.Stats) {
	if c.Plugin != nil {
		s = c.Plugin.Stats()
	}
	return s
}

func execute(r *resty.Request, method, url string) (resp *resty.Response, panicked any, err error) {
	defer func() { panicked = recover() }()
	resp, err = r.Execute(method, url)
	return resp, nil, err
}

// Want compares the history of a call with a story. For each attempt it has the
// status (or "error", or "unsent"), the reason, the wait if there is one, and how
// long the attempt was held back if it was:
//
//	503 status 1s | error error 2s | 200 succeeded
//
// Without errs the call must return no error, otherwise one that errors.Is finds to
// be all of errs. [ErrAny] alone stands for any error.
//
// Want also checks what holds for every call:
//   - it is counted once, with as many attempts as were sent;
//   - OnRetry and OnDone got what is in the history;
//   - the response is that of the last attempt that has one, also after an error;
//   - and, unless it went over the wire: as many requests reached the transport, with
//     the same body, and the time between them is what the history says.
func (c *Call) Want(t testing.TB, story string, errs ...error) *Call {
	t.Helper()
	c.WantStory(t, story)
	c.wantError(t, errs)
	c.check(t)
	return c
}

// WantStory compares the history of a call, as [Call.Want] has it, and nothing
// else.
func (c *Call) WantStory(t testing.TB, story string) *Call {
	t.Helper()
	if got := Story(c.History); got != story {
		t.Errorf("got  %s\nwant %s", got, story)
	}
	return c
}

// ErrAny stands for any error in [Call.Want].
var ErrAny = errors.New("an error")

func (c *Call) wantError(t testing.TB, errs []error) {
	t.Helper()
	switch {
	case c.Panic != nil:
		t.Errorf("got the panic %v", c.Panic)
	case len(errs) == 0 && c.Err != nil:
		t.Errorf("got the error %v, want none", c.Err)
	case len(errs) > 0 && c.Err == nil:
		t.Errorf("got no error, want %v", errs)
	case len(errs) == 1 && errs[0] == ErrAny:
	default:
		WantIs(t, c.Err, errs...)
	}
}

func (c *Call) check(t testing.TB) {
	t.Helper()
	last := c.History[max(len(c.History)-1, 0):]
	Equal(t, "requests counted", c.counted.Requests, 1)
	sent := attemptsSent(c.History)
	if c.recorded {
		sent = len(c.Sent)
	}
	Equal(t, "attempts counted, of those sent", int(c.counted.Attempts), sent)
	Equal(t, "retries counted", int(c.counted.Retries), max(sent, 1)-1)
	Equal(t, "OnDone", Story(c.Done), Story(last))
	for i, a := range c.Retried {
		Equal(t, "number in OnRetry", a.Number, i+1)
	}
	c.checkTimes(t)
	for i := 1; i < len(c.Sent); i++ {
		Equal(t, fmt.Sprintf("body of attempt %d", i+1), c.Sent[i].Body, c.Sent[0].Body)
	}
	for _, a := range slices.Backward(c.History) {
		if a.Response != nil {
			Equal(t, "response", c.Response, a.Response)
			break
		}
	}
}

func attemptsSent(history []restyretry.Attempt) (n int) {
	for _, a := range history {
		if a.Response != nil {
			n++
		}
	}
	return n
}

func (c *Call) checkTimes(t testing.TB) {
	t.Helper()
	for i := 1; i < len(c.Sent) && i < len(c.History); i++ {
		a, gap := c.History[i-1], c.Sent[i].At.Sub(c.Sent[i-1].At)
		want := max(a.Wait, 1) + c.History[i].Held // Resty takes no 0 for an answer
		if c.bubble {
			want += a.Took
		}
		if gap < want || c.bubble && gap != want {
			t.Errorf("attempt %d came %v after the one before, want %v", i+1, gap, want)
		}
	}
}

// Story returns a history in the form of [Call.Want].
func Story(history []restyretry.Attempt) string {
	var story []string
	for _, a := range history {
		words := []string{"unsent", string(a.Reason)}
		switch {
		case a.StatusCode() != 0:
			words[0] = fmt.Sprint(a.StatusCode())
		case a.Response != nil:
			words[0] = "error"
		}
		if a.Wait != 0 {
			words = append(words, a.Wait.String())
		}
		if a.Held != 0 {
			words = append(words, "held "+a.Held.String())
		}
		story = append(story, strings.Join(words, " "))
	}
	return strings.Join(story, " | ")
}

// UsedUp is the story of a request that has used up n attempts by a 503, with a
// second between them.
func UsedUp(n int) string { return strings.Repeat("503 status 1s | ", n-1) + "503 attempts" }

// WantStatus compares the status of the response. It is 0 if the attempt got no
// answer, and -1 if the response is nil.
func (c *Call) WantStatus(t testing.TB, status int) *Call {
	t.Helper()
	got := -1
	if c.Response != nil {
		got = c.Response.StatusCode()
	}
	Equal(t, "status", got, status)
	return c
}

// WantTook compares the time from the beginning to the end of the call.
func (c *Call) WantTook(t testing.TB, d time.Duration) *Call {
	t.Helper()
	Equal(t, "time", c.Took, d)
	return c
}

// WantSent compares the URLs that were sent, in order. A path alone stands for one on
// [Base].
func (c *Call) WantSent(t testing.TB, urls ...string) *Call {
	t.Helper()
	var got []string
	for _, s := range c.Sent {
		got = append(got, strings.TrimPrefix(s.URL, Base))
	}
	Equal(t, "sent", strings.Join(got, " "), strings.Join(urls, " "))
	return c
}

// WantHeader compares the values that a header field had, one for each attempt.
func (c *Call) WantHeader(t testing.TB, name string, values ...string) *Call {
	t.Helper()
	var got []string
	for _, s := range c.Sent {
		got = append(got, s.Header.Get(name))
	}
	Equal(t, name, fmt.Sprintf("%q", got), fmt.Sprintf("%q", values))
	return c
}

// WantBodies compares the bodies that were sent, one for each attempt.
func (c *Call) WantBodies(t testing.TB, bodies ...string) *Call {
	t.Helper()
	var got []string
	for _, s := range c.Sent {
		got = append(got, s.Body)
	}
	Equal(t, "bodies", fmt.Sprintf("%q", got), fmt.Sprintf("%q", bodies))
	return c
}

// Bubble runs f as a subtest in a bubble of testing/synctest, whose time goes on only
// while all its goroutines wait.
func Bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// Equal compares two values.
func Equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// WantError wants an error whose text contains all words.
func WantError(t testing.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("got no error, want one with %q", words)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("got the error %q, want one with %q", err, word)
		}
	}
}

// WantIs wants an error that errors.Is finds to be all of targets.
func WantIs(t testing.TB, err error, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("got the error %v, want one that is %q", err, target)
		}
	}
}
