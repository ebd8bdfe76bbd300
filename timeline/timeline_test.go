package timeline_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/timeline"
)

// stories are requests, and what the page says of them.
var stories = []struct {
	name    string
	method  string
	answers []answer // of the server, in turn
	options func(*restyretry.Options)
	limit   time.Duration // the caller's deadline
	says    []string
	not     string
}{
	{
		name: "two 503s, then the answer", method: "GET",
		answers: []answer{{status: 503}, {status: 503}, {status: 200}},
		options: func(o *restyretry.Options) { o.Wait = restyretry.Exponential(120*time.Millisecond, time.Second) },
		says: []string{
			"succeeded with attempt 3", "480\u00a0ms", "waited 120\u00a0ms", "waited 240\u00a0ms", "200 OK",
			`class="bar attempt ok"`, `class="bar wait own"`,
			`aria-label="attempt 2 from 160` + "\u00a0ms to 200\u00a0ms, wait until 440\u00a0ms",
			"this status is worth another attempt",
		},
	},
	{
		name: "another server", method: "GET",
		answers: []answer{{err: "connection refused"}, {status: 200}},
		options: func(o *restyretry.Options) {
			o.Wait = restyretry.Constant(80 * time.Millisecond)
			o.URL = restyretry.BaseURLs("http://one.test", "http://two.test")
		},
		says: []string{
			"<p class=\"text outcome\">connection refused<", "GET http://one.test/?token=REDACTED", "GET http://two.test/?token=REDACTED",
			"this error may go away by itself",
		},
	},
	{
		name: "a wait of the server's", method: "GET",
		answers: []answer{{status: 429, retryAfter: "1"}, {status: 200}},
		options: func(o *restyretry.Options) { o.Rand = func() float64 { return 0 } },
		says:    []string{"Retry-After: 1<", "waited 1.00\u00a0s, as the server asked", `class="bar wait asked"`},
	},
	{
		name: "a wait of the server's, by a limit", method: "GET",
		answers: []answer{{status: 429, header: http.Header{"Ratelimit": {`"hour";r=0;t=2`}}}, {status: 200}},
		options: func(o *restyretry.Options) { o.Rand = func() float64 { return 0 } },
		says:    []string{`RateLimit: "hour";r=0;t=2<`, "waited 2.00\u00a0s, as the server asked", `class="bar wait asked"`},
	},
	{
		name: "a wait of the server's, by a clock that is an hour behind", method: "GET",
		answers: []answer{{status: 503, header: http.Header{
			"Date":        {"Fri, 31 Dec 1999 23:00:00 GMT"},
			"Retry-After": {"Fri, 31 Dec 1999 23:00:30 GMT"},
		}}, {status: 200}},
		options: func(o *restyretry.Options) { o.Rand = func() float64 { return 0 } },
		says:    []string{"Retry-After: Fri, 31 Dec 1999 23:00:30 GMT<", "waited 30.00\u00a0s, as the server asked", `class="bar wait asked"`},
	},
	{
		name: "an attempt cut off", method: "GET",
		answers: []answer{{status: 200, takes: time.Minute}, {status: 200}},
		options: func(o *restyretry.Options) { o.AttemptTimeout = 250 * time.Millisecond },
		says:    []string{"AttemptTimeout of 250ms exceeded", "succeeded with attempt 2"},
	},
	{
		name: "never repeated", method: "POST",
		answers: []answer{{status: 503}},
		says:    []string{"gave up after 1 attempt<", `<span class="tag code">method</span> this method may not be sent again`},
	},
	{
		name: "too near a deadline", method: "GET", limit: 250 * time.Millisecond,
		answers: []answer{{status: 503}},
		options: func(o *restyretry.Options) { o.Wait = restyretry.Constant(400 * time.Millisecond) },
		says:    []string{"the caller’s deadline after 250\u00a0ms", `class="deadline"`, `class="bar post"`, `class="bar attempt end"`},
	},
	{
		name: "a wait broken off", method: "GET",
		answers: []answer{{status: 503}},
		options: func(o *restyretry.Options) {
			o.Wait = restyretry.Constant(800 * time.Millisecond)
			o.Hooks = append(o.Hooks, restyretry.Hooks{OnRetry: func(a restyretry.Attempt) {
				cancel := a.Request.Context().Value(cancelKey{}).(context.CancelFunc)
				time.AfterFunc(200*time.Millisecond, cancel)
			}})
		},
		says: []string{"broken off 200\u00a0ms into a wait of 800\u00a0ms", `class="bar wait own"`, `class="bar post"`, " · 240\u00a0ms</p>"},
	},
	{
		name: "an hour", method: "GET",
		answers: []answer{{status: 429, retryAfter: "3600"}},
		says:    []string{"Retry-After: 3600<", "longer than MaxServerWait"},
		not:     "as the server asked",
	},
	{
		name: "held back", method: "GET",
		answers: []answer{{status: 200}},
		options: func(o *restyretry.Options) {
			o.Cooldown = cooling()
			o.Rand = func() float64 { return 0 }
		},
		says: []string{`class="bar wait held"`, ", held back for 3.", `aria-label="held back from 0` + "\u00a0ms, attempt 1 from 3."},
	},
	{
		name: "held back before a retry, and cancelled", method: "GET",
		answers: []answer{{status: 503}},
		options: func(o *restyretry.Options) {
			cooldown := new(restyretry.Cooldown)
			o.Cooldown, o.Wait = cooldown, restyretry.Constant(100*time.Millisecond)
			o.Hooks = append(o.Hooks, restyretry.Hooks{OnRetry: func(a restyretry.Attempt) {
				cooldown.Hold("http://api.test", 30*time.Second)
				cancel := a.Request.Context().Value(cancelKey{}).(context.CancelFunc)
				time.AfterFunc(20*time.Second, cancel)
			}})
		},
		says: []string{" · 20.04\u00a0s</p>", "<b>waited 100\u00a0ms, then gave up</b>", "wait until 140\u00a0ms, gave up at 20.04\u00a0s"},
	},
	{
		name: "not sent", method: "GET", limit: time.Second,
		options: func(o *restyretry.Options) { o.Cooldown = cooling() },
		says:    []string{"cools down for another 3s", "its host cools down for longer than the request may wait"},
	},
}

// cooling is a Cooldown of a host that wants to be left alone for 3 seconds.
func cooling() *restyretry.Cooldown {
	var c restyretry.Cooldown
	c.Hold("http://api.test", 3*time.Second)
	return &c
}

type cancelKey struct{}

// tell sends the requests of the stories, in virtual time.
func tell(t *testing.T) (told []timeline.Request) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var recorder timeline.Recorder
		for _, s := range stories {
			client := newClient(t, s.answers, recorder.Record)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if s.limit > 0 {
				ctx, cancel = context.WithTimeout(ctx, s.limit)
				defer cancel()
			}
			ctx = timeline.Named(context.WithValue(ctx, cancelKey{}, cancel), s.name, "As the story goes.")
			if s.options != nil {
				ctx = restyretry.With(ctx, s.options)
			}
			_, _ = client.R().SetContext(ctx).Execute(s.method, "/?token=secret")
		}
		told = recorder.Requests()
	})
	return told
}

func newClient(t *testing.T, answers []answer, opts ...func(*restyretry.Options)) *resty.Client {
	t.Helper()
	transport := transport(func(r *http.Request) (*http.Response, error) {
		next := answers[0]
		answers = append(answers[1:], next)
		return next.to(r)
	})
	client := resty.New().SetTransport(transport).SetBaseURL("http://api.test").SetLogger(silent{})
	if _, err := restyretry.Install(client, opts...); err != nil {
		t.Fatal(err)
	}
	return client
}

// An answer is what a server says, after a while.
type answer struct {
	status     int
	header     http.Header
	retryAfter string
	takes      time.Duration // 0: 40 ms
	err        string        // in place of an answer
}

func (a answer) to(r *http.Request) (*http.Response, error) {
	select {
	case <-time.After(cmp.Or(a.takes, 40*time.Millisecond)):
	case <-r.Context().Done():
		return nil, context.Cause(r.Context())
	}
	if a.err != "" {
		return nil, errors.New(a.err)
	}
	header := http.Header{"Set-Cookie": {"session=secret"}}
	maps.Copy(header, a.header)
	if a.retryAfter != "" {
		header.Set("Retry-After", a.retryAfter)
	}
	return &http.Response{
		StatusCode: a.status, Status: fmt.Sprintf("%d %s", a.status, http.StatusText(a.status)), Header: header,
		Body: io.NopCloser(strings.NewReader("a body")), Request: r,
	}, nil
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}

func pageOf(t *testing.T, requests []timeline.Request) string {
	t.Helper()
	var page strings.Builder
	if err := timeline.Write(&page, requests...); err != nil {
		t.Fatal(err)
	}
	return page.String()
}

func TestPageTellsEachStory(t *testing.T) {
	requests := tell(t)
	sections := strings.Split(pageOf(t, requests), "<section")[1:]
	if len(sections) != len(stories) {
		t.Fatalf("got %d sections, want %d", len(sections), len(stories))
	}
	for i, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			section := html.UnescapeString(sections[i])
			for _, want := range append(s.says, s.name, "As the story goes.") {
				if !strings.Contains(section, want) {
					t.Errorf("got no %q in\n%s", want, section)
				}
			}
			if s.not != "" && strings.Contains(section, s.not) {
				t.Errorf("got %q in\n%s", s.not, section)
			}
			if got, want := strings.Count(section, `<div class="what">`), len(requests[i].Attempts); got != want || want == 0 {
				t.Errorf("got %d attempts, want %d and at least one", got, want)
			}
		})
	}
}

func TestRequestIsKeptWithoutItsBodiesAndOtherFields(t *testing.T) {
	for _, r := range tell(t) {
		for _, a := range r.Attempts {
			if a.Request != nil {
				t.Errorf("%s: got attempt %d with its request", r.Name, a.Number)
			}
			if a.Response != nil && (len(a.Response.Body()) > 0 || a.Response.RawResponse.Body != nil) {
				t.Errorf("%s: got attempt %d with a body", r.Name, a.Number)
			}
			if a.Response == nil {
				continue
			}
			for name := range a.Response.Header() {
				if !slices.Contains([]string{"Retry-After", "Ratelimit", "Date"}, name) {
					t.Errorf("%s: got attempt %d with the field %s", r.Name, a.Number, name)
				}
			}
		}
	}
}

func TestRecorderKeepsTheLatestRequests(t *testing.T) {
	for _, test := range []struct{ limit, want int }{{0, 100}, {-1, 100}, {3, 3}, {1000, 120}} {
		t.Run(fmt.Sprint(test.limit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				recorder := timeline.Recorder{Limit: test.limit}
				client := newClient(t, []answer{{status: 200}}, recorder.Record)
				for n := range 120 {
					_, _ = client.R().Get(fmt.Sprintf("/%d", n))
				}
				kept := recorder.Requests()
				if len(kept) != test.want || kept[len(kept)-1].Attempts[0].URL != "http://api.test/119" {
					t.Errorf("got %d requests, the last one %v; want %d and the latest", len(kept), kept[len(kept)-1], test.want)
				}
			})
		})
	}
}

func TestRecorderServesThePageWhileRequestsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var recorder timeline.Recorder
		client := newClient(t, []answer{{status: 200}}, recorder.Record)
		client.SetTransport(transport(answer{status: 200}.to)) // for many at once
		var requests sync.WaitGroup
		for range 10 {
			requests.Go(func() {
				_, _ = client.R().Get("/")
				recorder.ServeHTTP(httptest.NewRecorder(), nil)
			})
		}
		requests.Wait()

		served := httptest.NewRecorder()
		recorder.ServeHTTP(served, nil)
		if got := served.Header().Get("Content-Type"); got != "text/html; charset=utf-8" {
			t.Errorf("got the type %q, want HTML", got)
		}
		if !strings.Contains(served.Body.String(), "10 requests in 10 attempts: 10 succeeded, 0 did not.") {
			t.Errorf("got\n%s\nwant ten requests", served.Body)
		}
	})
}

func TestRequestWithoutAName(t *testing.T) {
	page := pageOf(t, []timeline.Request{
		{Attempts: []restyretry.Attempt{{Number: 1, Max: 3, Method: "GET", URL: "/users", Start: time.Now(), Reason: restyretry.ReasonSucceeded}}},
		{},
	})
	for _, want := range []string{">GET /users</h3>", "succeeded with attempt 1", "no response recorded", ">A request without a name</h3>", "was not recorded"} {
		if !strings.Contains(page, want) {
			t.Errorf("got no %q", want)
		}
	}
}

func TestOfNothingIsNothing(t *testing.T) {
	if got := timeline.Of(nil); len(got.Attempts) != 0 || !got.Ended.IsZero() {
		t.Errorf("got %v, want an empty Request", got)
	}
}

func TestStatusOfATransportThatGivesItsCodeAlone(t *testing.T) {
	for code, want := range map[int]string{503: "503 Service Unavailable", 599: "599"} {
		page := pageOf(t, []timeline.Request{{Attempts: []restyretry.Attempt{
			{Response: &resty.Response{RawResponse: &http.Response{StatusCode: code}}},
		}}})
		if want = `<p class="text outcome">` + want + "</p>"; !strings.Contains(page, want) {
			t.Errorf("got no %s in\n%s", want, page)
		}
	}
}

func TestPageAsksForNothing(t *testing.T) {
	page := pageOf(t, tell(t))
	for _, forbidden := range []string{"src=", "@import", "url(http", "url(/", "<script", "<link", "<iframe", "fetch(", `href="http`} {
		if strings.Contains(page, forbidden) {
			t.Errorf("got a page with %q, want it self-contained", forbidden)
		}
	}
}

// hostile is text that wants to break out of wherever it stands.
const hostile = `"'></p></svg></style><script>document.body.remove()</script><img src=x onerror=alert(1)>{{.}} url(javascript:1) &amp; `

func hostileRequests(*testing.T) []timeline.Request {
	endless := strings.Repeat("x", 100_000)
	start := time.Now()
	response := func(status string) *resty.Response {
		header := http.Header{"Retry-After": {hostile, endless}}
		return &resty.Response{RawResponse: &http.Response{StatusCode: 503, Status: status, Header: header}}
	}
	attempts := []restyretry.Attempt{
		{Number: -1, Max: math.MaxInt, Method: hostile, URL: hostile, Reason: hostile, Err: errors.New(hostile), Held: math.MaxInt64},
		{Number: 2, Method: endless, URL: endless, Reason: restyretry.Reason(endless), Response: response(endless), Start: start, Took: -time.Hour, Wait: math.MaxInt64},
		{Number: 3, URL: "http://\u202eevil\u202c\x00\x1b[31m\xff", Response: response(hostile), Start: start.Add(-time.Hour), Took: math.MaxInt64, Held: -time.Hour},
		{Number: 4, Err: errors.New(strings.Repeat("e\u0301\u0302\u0303\u0304", 500)), Start: start, Took: 1, Held: time.Hour, Response: &resty.Response{}},
	}
	return []timeline.Request{
		{Name: hostile, About: endless, Attempts: attempts},
		{Name: endless, About: hostile, Attempts: attempts[1:], Deadline: start.Add(-time.Hour), Ended: start.Add(-time.Hour)},
		{Name: "\u202e" + hostile, Deadline: start},
		{Attempts: attempts[:1], Deadline: start.Add(math.MaxInt64)},
	}
}

func longRequest(*testing.T) []timeline.Request {
	r := timeline.Request{Name: "As many attempts as there can be"}
	start := time.Now()
	for n := range 100 {
		r.Attempts = append(r.Attempts, restyretry.Attempt{
			Number: n + 1, Max: 100, Method: "GET", URL: "http://127.0.0.1/", Err: errors.New("connection refused"),
			Start: start.Add(time.Duration(n) * time.Second), Took: time.Millisecond, Wait: 999 * time.Millisecond, Reason: restyretry.ReasonError,
		})
	}
	r.Attempts[99].Reason, r.Attempts[99].Wait = restyretry.ReasonAttempts, 0
	return []timeline.Request{r}
}

func TestStrangersTextIsHarmless(t *testing.T) {
	page := pageOf(t, hostileRequests(t))
	for _, forbidden := range []string{"<script", "<img", "</p></svg>", "\u202e", "\x00", "\x1b", "\xff", `="'`, strings.Repeat("x", 302)} {
		if strings.Contains(page, forbidden) {
			t.Errorf("got a page with %q", forbidden)
		}
	}
	if !strings.Contains(page, "&lt;script&gt;document.body.remove()") {
		t.Error("got a page without the text, want it escaped")
	}
	if len(page) > 100_000 {
		t.Errorf("got a page of %d bytes, want endless text cut", len(page))
	}
}
