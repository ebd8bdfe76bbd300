package restyretry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/jarcoal/httpmock"
	"github.com/restyretry/restyretry"
)

// allows is a rate limiter that lets so many attempts through.
type allows struct{ left int }

func (a *allows) Allow() bool { a.left--; return a.left >= 0 }

func onAttempt(f func(restyretry.Attempt) error) func(*restyretry.Options) {
	return func(o *restyretry.Options) { o.Hooks = append(o.Hooks, restyretry.Hooks{OnAttempt: f}) }
}

func onDone(f func(restyretry.Attempt)) func(*restyretry.Options) {
	return func(o *restyretry.Options) { o.Hooks = append(o.Hooks, restyretry.Hooks{OnDone: f}) }
}

func TestARefusedRetryEndsTheRequestInOrder(t *testing.T) {
	for name, ctx := range map[string]context.Context{"plain": nil, "context": marked(t.Context())} {
		respond, _ := answers(503, 200)
		c := mocked(respond).SetRateLimiter(&allows{1})
		p := install(t, c, constant(0))
		r := c.R()
		if ctx != nil {
			r.SetContext(ctx)
		}
		_, err := r.Get("/x")
		if got := summary(restyretry.History(r)); !errors.Is(err, resty.ErrRateLimitExceeded) || got != "1 status, 2 not-sent" {
			t.Errorf("%s: got %v and %s", name, err, got)
		}
		if got := p.Stats(); got.Requests != 1 || got.Attempts != 1 || got.GivenUp[restyretry.ReasonNotSent] != 1 {
			t.Errorf("%s: got %+v", name, got)
		}
		c.SetRateLimiter(&allows{9})
		if resp, err := r.Send(); err != nil || resp.StatusCode() != 200 || ctx != nil && r.Context() != ctx {
			t.Errorf("%s: used again it got %v, %v", name, resp, err)
		}
	}
}

func TestAPlainRequestThatIsUsedAgainAndRefusedIsNotForgotten(t *testing.T) {
	respond, _ := answers(200)
	c := mocked(respond)
	p := install(t, c)
	r := c.R()
	if _, err := r.Get("/x"); err != nil {
		t.Fatal(err)
	}
	c.SetRateLimiter(&allows{0})
	ctx := marked(t.Context())
	if _, err := r.SetContext(ctx).Send(); !errors.Is(err, resty.ErrRateLimitExceeded) {
		t.Fatal(err)
	}
	if r.Context() != ctx || p.Stats().GivenUp[restyretry.ReasonNotSent] != 1 {
		t.Errorf("got %v, %+v", r.Context(), p.Stats())
	}
}

func TestACurlCommandIsNoAttemptOfARefusedRequest(t *testing.T) {
	respond, _ := answers(200)
	c := mocked(respond).SetDebug(true).EnableGenerateCurlOnDebug()
	install(t, c)
	r := c.R()
	r.Method, r.URL = "GET", "/x"
	if r.GenerateCurlCommand() == "" {
		t.Fatal("no command")
	}
	c.SetRateLimiter(&allows{0})
	_, err := r.Send()
	if history := restyretry.History(r); err == nil || len(history) != 1 || history[0].Reason != restyretry.ReasonNotSent {
		t.Errorf("got %v, %v, want the attempt that was not sent", err, history)
	}
}

func TestASecondAttemptMaySucceedWhileTheContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	c := mocked(func(*http.Request) (*http.Response, error) {
		if n++; n == 1 {
			return httpmock.NewStringResponse(503, ""), nil
		}
		cancel()
		return httpmock.NewStringResponse(200, "ok"), nil
	})
	var done []restyretry.Attempt
	install(t, c, constant(0), onDone(func(a restyretry.Attempt) { done = append(done, a) }))
	resp, err := c.R().SetContext(ctx).Get("/x")
	if err != nil || resp.String() != "ok" || len(done) != 1 || done[0].StatusCode() != 200 {
		t.Fatalf("got %v, %v, %v", resp, err, done)
	}
	if got := summary(restyretry.History(resp.Request)); got != "1 status, 2 succeeded" {
		t.Error(got)
	}
}

func TestAnOutputFileMayBeSetByAHook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	output := func(a restyretry.Attempt) error { a.Request.SetOutput(path); return nil }
	n := 0
	c := mocked(func(*http.Request) (*http.Response, error) {
		if n++; n == 1 {
			return nil, io.ErrUnexpectedEOF
		}
		return httpmock.NewStringResponse(404, "missing"), nil
	})
	install(t, c, constant(0), onAttempt(output))
	if resp, err := c.R().Get("/x"); err != nil || resp.String() != "missing" {
		t.Errorf("got %v, %v", resp, err)
	}
}

// A condition of the request's repeats whatever it can, also what was never
// sent.
func TestAForeignConditionRepeatsNoAttemptThatCannotBeSent(t *testing.T) {
	always := func(resp *resty.Response, err error) bool { return err != nil || resp.StatusCode() == 503 }
	t.Run("refused by a middleware", func(t *testing.T) {
		var hosts []string
		c := mocked(func(r *http.Request) (*http.Response, error) {
			hosts = append(hosts, r.URL.Host)
			return httpmock.NewStringResponse(503-303*(len(hosts)-1), ""), nil
		})
		c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
			if r.Attempt == 2 {
				return errors.New("not now")
			}
			return nil
		})
		p := install(t, c, constant(0), func(o *restyretry.Options) { o.URL = restyretry.URLs("http://a.test/", "http://b.test/") })
		resp, err := c.R().AddRetryCondition(always).Get("/x")
		if err != nil || resp.StatusCode() != 200 || strings.Join(hosts, " ") != "a.test b.test" || p.Stats().Recovered != 1 {
			t.Errorf("got %v, %v, %v, %+v", resp, err, hosts, p.Stats())
		}
		if got := summary(restyretry.History(resp.Request)); got != "1 status, 2 succeeded" {
			t.Error(got)
		}
	})
	t.Run("refused by OnAttempt", func(t *testing.T) {
		respond, calls := answers(200)
		c := mocked(respond)
		c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
			if r.Attempt == 2 {
				return errors.New("not now")
			}
			return nil
		})
		install(t, c, constant(0), onAttempt(func(restyretry.Attempt) error { return errors.New("never") }))
		if _, err := c.R().AddRetryCondition(always).Get("/x"); err == nil || *calls != 0 {
			t.Errorf("got %v, %d calls", err, *calls)
		}
	})
}

// updating is a body that updates the options while Resty makes JSON of it.
type updating struct{ update func() }

func (u updating) MarshalJSON() ([]byte, error) { u.update(); return []byte("{}"), nil }

func TestAnUpdateLeavesAPlainRequestAloneThatHasBegun(t *testing.T) {
	var fields []string
	n := 0
	c := mocked(func(r *http.Request) (*http.Response, error) {
		fields = append(fields, r.Header.Get("X-Mine"))
		n++
		return httpmock.NewStringResponse(503-303*(n-1), ""), nil
	})
	p := install(t, c, constant(0))
	hooked := 0
	update := sync.OnceFunc(func() {
		if err := p.Update(onAttempt(func(restyretry.Attempt) error { hooked++; return nil })); err != nil {
			t.Error(err)
		}
	})
	resp, err := c.R().SetHeader("X-Mine", "1").SetBody(updating{update}).Put("/x")
	if err != nil || resp.StatusCode() != 200 || !slices.Equal(fields, []string{"1", "1"}) || hooked != 0 {
		t.Errorf("got %v, %v, %q, %d calls of the new hook", resp, err, fields, hooked)
	}
}

func TestOthersSeeTheContextOfARequestThatIsNotMade(t *testing.T) {
	ctx := context.WithValue(t.Context(), t, "mine")
	var seen []any
	look := func(r *resty.Request) { seen = append(seen, r.Context().Value(t)) }
	for name, send := range map[string]func(*resty.Client, *resty.Request){
		"OnError": func(_ *resty.Client, r *resty.Request) { _, _ = r.Get("http://[broken") },
		"OnPanic": func(c *resty.Client, r *resty.Request) {
			defer func() { _ = recover() }()
			_, _ = r.SetBody(updating{func() { panic("no") }}).Put("/x")
		},
		"condition": func(_ *resty.Client, r *resty.Request) {
			_, _ = r.AddRetryCondition(func(*resty.Response, error) bool { look(r); return false }).Get("http://[broken")
		},
		"marshaller": func(_ *resty.Client, r *resty.Request) {
			_, _ = r.SetBody(updating{func() { look(r) }}).Put("/x")
		},
	} {
		respond, _ := answers(200)
		c := mocked(respond)
		switch name {
		case "OnError":
			c.OnError(func(r *resty.Request, _ error) { look(r) })
		case "OnPanic":
			c.OnPanic(func(r *resty.Request, _ error) { look(r) })
		}
		install(t, c)
		seen = nil
		send(c, c.R().SetContext(ctx))
		if len(seen) == 0 || slices.Contains(seen, nil) {
			t.Errorf("%s: got %v", name, seen)
		}
	}
}

func TestTheHistoryTellsWhatWasSentAndNotWhatTheTransportMadeOfIt(t *testing.T) {
	n := 0
	rewrite := func(r *http.Request) (*http.Response, error) {
		n++
		elsewhere := r.Clone(r.Context())
		elsewhere.URL.Host = "inside.test"
		resp := httpmock.NewStringResponse(503-303*(n-1), "")
		resp.Request = elsewhere
		return resp, nil
	}
	c := mocked(rewrite)
	install(t, c, constant(0))
	resp, err := c.R().SetContext(marked(t.Context())).Get("/x")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range restyretry.History(resp.Request) {
		if a.URL != "http://api.test/x" {
			t.Errorf("attempt %d went to %s", a.Number, a.URL)
		}
	}
}

func TestSendAgainAddsNoQueryTwiceWhateverTheTransportDoes(t *testing.T) {
	var queries []string
	c := mocked(func(r *http.Request) (*http.Response, error) {
		queries = append(queries, r.URL.RawQuery)
		r.URL.Host = "inside.test"
		return httpmock.NewStringResponse(200, ""), nil
	})
	install(t, c)
	r := c.R().SetContext(marked(t.Context())).SetQueryParam("a", "b")
	for range 3 {
		r.Method = "GET"
		if r.URL == "" {
			r.URL = "/x"
		}
		if _, err := r.Send(); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(queries, []string{"a=b", "a=b", "a=b"}) {
		t.Error(queries)
	}
}

func TestABodyMayBeChangedInPlaceByOnAttempt(t *testing.T) {
	for _, size := range []int{10, 5000} {
		for name, body := range map[string]func([]byte) any{
			"bytes":  func(b []byte) any { return b },
			"buffer": func(b []byte) any { return bytes.NewBuffer(b) },
			"reader": func(b []byte) any { return bytes.NewReader(b) },
		} {
			var first []byte
			c := mocked(func(r *http.Request) (*http.Response, error) {
				all, _ := io.ReadAll(r.Body)
				first = append(first, all[0])
				return httpmock.NewStringResponse(503, ""), nil
			})
			memory := make([]byte, size)
			install(t, c, constant(0), onAttempt(func(a restyretry.Attempt) error { memory[0] = byte('0' + a.Number); return nil }))
			if _, err := c.R().SetBody(body(memory)).Put("/x"); err != nil || string(first) != "123" {
				t.Errorf("%s of %d bytes: got %q, %v", name, size, first, err)
			}
		}
	}
}

func TestAMiddlewareThatRefusesARetryIsNoCancellation(t *testing.T) {
	respond, _ := answers(503)
	c := mocked(respond)
	down := errors.New("the token service is down")
	c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
		if r.Attempt == 2 {
			return down
		}
		return nil
	})
	p := install(t, c, constant(0))
	r := c.R()
	if _, err := r.Get("/x"); !errors.Is(err, down) {
		t.Fatal(err)
	}
	if got := summary(restyretry.History(r)); got != "1 status, 2 not-sent" || p.Stats().GivenUp[restyretry.ReasonNotSent] != 1 {
		t.Errorf("got %s, %+v", got, p.Stats())
	}
}

func TestOtherGoroutinesMayAskForTheNumber(t *testing.T) {
	respond, _ := answers(503, 503, 200)
	c := mocked(respond)
	var all sync.WaitGroup
	install(t, c, constant(0), onAttempt(func(a restyretry.Attempt) error {
		ctx := a.Request.Context()
		all.Go(func() {
			for range 1000 {
				_ = restyretry.Number(ctx)
				_ = ctx.Err()
			}
		})
		return nil
	}))
	if _, err := c.R().Get("/x"); err != nil {
		t.Error(err)
	}
	all.Wait()
}

func TestAttemptsHideAQueryThatPreRequestHasAdded(t *testing.T) {
	respond, _ := answers(200)
	c := mocked(respond)
	var url string
	install(t, c, onDone(func(a restyretry.Attempt) { url = a.URL }), func(o *restyretry.Options) {
		o.PreRequest = func(_ *resty.Client, hr *http.Request) error { hr.URL.RawQuery = "sig=secret"; return nil }
	})
	if _, err := c.R().Get("/x"); err != nil || url != "http://api.test/x?sig=REDACTED" {
		t.Errorf("got %q, %v", url, err)
	}
}

func TestARequestWithoutABodyIsNotSentInChunks(t *testing.T) {
	for name, set := range map[string]func(*resty.Request){
		"plain":   func(*resty.Request) {},
		"context": func(r *resty.Request) { r.SetContext(marked(t.Context())) },
		"NoBody":  func(r *resty.Request) { r.SetBody(http.NoBody) },
	} {
		var got []string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = append(got, fmt.Sprint(r.ContentLength, r.TransferEncoding, r.Header["Content-Type"]))
			w.WriteHeader(503 - 303*(len(got)-1))
		}))
		c := resty.New().SetLogger(quiet{})
		install(t, c, constant(0))
		r := c.R()
		set(r)
		resp, err := r.Put(server.URL)
		server.Close()
		if want := "0 [] []"; err != nil || resp.StatusCode() != 200 || len(got) != 2 || got[0] != want || got[1] != want {
			t.Errorf("%s: got %q, %v, want twice %q", name, got, err, want)
		}
	}
}

func TestARequestThatIsRefusedBeforeOnAttemptKeepsWhatItHas(t *testing.T) {
	nothing := onAttempt(func(restyretry.Attempt) error { return nil })
	for name, options := range map[string]func(*restyretry.Options){
		"credentials from https to http": func(o *restyretry.Options) {
			o.URL = restyretry.URLs("https://a.test/", "http://b.test/")
			nothing(o)
		},
		"error of the target": func(o *restyretry.Options) {
			o.URL = restyretry.TargetFunc(func(restyretry.Attempt) (string, error) { return "", errors.New("none") })
			nothing(o)
		},
		"panic": onAttempt(func(a restyretry.Attempt) error {
			a.Request.SetHeader("Set", "by OnAttempt").SetBody("text")
			panic("no")
		}),
	} {
		respond, _ := answers(200)
		c := mocked(respond)
		install(t, c, options)
		r := c.R().SetHeader("Authorization", "x").SetQueryParam("q", "1")
		func() {
			defer func() { _ = recover() }()
			if _, err := r.Get("/"); err == nil {
				t.Errorf("%s: no error", name)
			}
		}()
		if len(r.Header) != 1 || r.Header.Get("Authorization") != "x" || r.QueryParam.Get("q") != "1" || r.Body != nil {
			t.Errorf("%s: the request has %v, %v, %v left", name, r.Header, r.QueryParam, r.Body)
		}
	}
}

func TestWhatATargetChangesIsForThatAttempt(t *testing.T) {
	var queries []string
	c := mocked(func(r *http.Request) (*http.Response, error) {
		queries = append(queries, r.URL.RawQuery)
		return httpmock.NewStringResponse(503, ""), nil
	})
	install(t, c, constant(0), onAttempt(func(restyretry.Attempt) error { return nil }), func(o *restyretry.Options) {
		o.URL = restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) {
			a.Request.QueryParam.Add("t", strconv.Itoa(a.Number))
			return a.Request.URL, nil
		})
	})
	r := c.R()
	if _, err := r.Get("/x"); err != nil || !slices.Equal(queries, []string{"t=1", "t=2", "t=3"}) || len(r.QueryParam) != 0 {
		t.Errorf("got %q, %v, %v", queries, r.QueryParam, err)
	}
}

// unavailable answers 503 and keeps the bodies of what it is sent.
func unavailable(bodies *[]string) httpmock.Responder {
	return func(r *http.Request) (*http.Response, error) {
		all, err := io.ReadAll(r.Body)
		*bodies = append(*bodies, string(all))
		return httpmock.NewStringResponse(503, ""), err
	}
}

func TestAValueIsEncodedAnewWhenOnAttemptHasChangedIt(t *testing.T) {
	var bodies []string
	c := mocked(unavailable(&bodies))
	install(t, c, constant(0), onAttempt(func(a restyretry.Attempt) error {
		a.Request.Body.(map[string]any)["n"] = a.Number
		return nil
	}))
	if _, err := c.R().SetBody(map[string]any{"n": 0}).Put("/x"); err != nil || !slices.Equal(bodies, []string{`{"n":1}`, `{"n":2}`, `{"n":3}`}) {
		t.Errorf("got %q, %v", bodies, err)
	}
}

func TestSendAgainUsesTheNewParameter(t *testing.T) {
	for name, set := range map[string]func(*resty.Client, *resty.Request, string){
		"path":            func(_ *resty.Client, r *resty.Request, id string) { r.SetPathParam("id", id) },
		"raw path":        func(_ *resty.Client, r *resty.Request, id string) { r.SetRawPathParam("id", id) },
		"client path":     func(c *resty.Client, _ *resty.Request, id string) { c.SetPathParam("id", id) },
		"client raw path": func(c *resty.Client, _ *resty.Request, id string) { c.SetRawPathParam("id", id) },
		"query":           func(_ *resty.Client, r *resty.Request, id string) { r.SetQueryParam("id", id) },
		"client query":    func(c *resty.Client, _ *resty.Request, id string) { c.SetQueryParam("id", id) },
	} {
		for _, ctx := range []context.Context{t.Context(), context.Background()} {
			t.Run(fmt.Sprintf("%s/%v", name, ctx), func(t *testing.T) {
				var sent []string
				c := mocked(func(r *http.Request) (*http.Response, error) {
					sent = append(sent, r.URL.RequestURI())
					return httpmock.NewStringResponse(200, ""), nil
				})
				install(t, c)
				to, want := "/a/{id}", []string{"/a/1", "/a/2"}
				if strings.Contains(name, "query") {
					to, want = "/a", []string{"/a?id=1", "/a?id=2"}
				}
				r := c.R().SetContext(ctx)
				set(c, r, "1")
				if _, err := r.Get(to); err != nil {
					t.Fatal(err)
				}
				set(c, r, "2")
				if strings.HasPrefix(name, "client query") {
					clear(r.QueryParam) // Resty has put the client's in there
				}
				if _, err := r.Send(); err != nil || !slices.Equal(sent, want) {
					t.Errorf("got %q, %v", sent, err)
				}
			})
		}
	}
}

func TestTookHasTheTimeToSaveAFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		c := mocked(func(*http.Request) (*http.Response, error) {
			n++
			resp := httpmock.NewStringResponse(503-303*(n-1), "")
			resp.Body = io.NopCloser(&slowly{Reader: strings.NewReader("text"), wait: time.Duration(n) * time.Second})
			return resp, nil
		})
		install(t, c, constant(0))
		resp, err := c.R().SetOutput(filepath.Join(t.TempDir(), "file")).Get("/x")
		past := restyretry.History(resp.Request)
		if err != nil || len(past) != 2 || past[0].Took != time.Second || past[1].Took != 2*time.Second {
			t.Errorf("got %+v, %v", past, err)
		}
	})
}

// slowly waits before the first byte.
type slowly struct {
	io.Reader
	wait time.Duration
}

func (s *slowly) Read(p []byte) (int, error) {
	time.Sleep(s.wait)
	s.wait = 0
	return s.Reader.Read(p)
}

func TestATransportMayPutAContextOfItsOwnIntoTheRequest(t *testing.T) {
	n := 0
	c := mocked(func(r *http.Request) (*http.Response, error) {
		*r = *r.WithContext(context.WithValue(r.Context(), t, t))
		n++
		return httpmock.NewStringResponse(503-303*(n-1), ""), nil
	})
	p := install(t, c, constant(0))
	resp, err := c.R().Get("/x")
	if err != nil || resp.StatusCode() != 200 || p.Stats().Recovered != 1 {
		t.Errorf("got %v, %v, %+v", resp, err, p.Stats())
	}
}

func TestEveryEndOfARequestWithAURLListCounts(t *testing.T) {
	list := func(o *restyretry.Options) { o.URL = restyretry.URLs("http://a.test/") }
	respond, _ := answers(200)
	c := mocked(respond).SetRateLimiter(&allows{0})
	p := install(t, c, list)
	if _, err := c.R().Get("/"); err == nil || p.Stats().GivenUp[restyretry.ReasonNotSent] != 1 {
		t.Errorf("got %v, %+v", err, p.Stats())
	}
	c = mocked(func(*http.Request) (*http.Response, error) { panic("no") })
	p = install(t, c, list)
	func() {
		defer func() { _ = recover() }()
		_, _ = c.R().Get("/")
	}()
	if p.Stats().GivenUp[restyretry.ReasonPanic] != 1 {
		t.Errorf("got %+v", p.Stats())
	}
}

func TestACurlCommandOfAPlainRequestHasItsBody(t *testing.T) {
	respond, _ := answers(200)
	c := mocked(respond).SetDebug(true).EnableGenerateCurlOnDebug()
	install(t, c)
	r := c.R().SetBody(strings.NewReader("the text"))
	r.Method, r.URL = "PUT", "/x"
	if got := r.GenerateCurlCommand(); !strings.Contains(got, "the text") {
		t.Error(got)
	}
}

func TestAReaderOfALaterMiddlewareIsSentInEveryAttempt(t *testing.T) {
	var bodies []string
	c := mocked(unavailable(&bodies))
	install(t, c, constant(0))
	c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
		if r.Attempt == 1 {
			r.SetBody(struct{ io.Reader }{strings.NewReader("the middleware's")})
		}
		return nil
	})
	if _, err := c.R().Put("/x"); err != nil || !slices.Equal(bodies, []string{"the middleware's", "the middleware's", "the middleware's"}) {
		t.Errorf("got %q, %v", bodies, err)
	}
}

// The first OnAttempt reads one byte before the body is taken; what the others
// read is of no consequence.
func TestAReaderIsSentFromWhereItStoodWhateverIsReadOfIt(t *testing.T) {
	for _, size := range []int{5, 5000} {
		text := strings.Repeat("12345", size/5)
		for name, body := range map[string]io.Reader{
			"bytes": bytes.NewReader([]byte(text)), "string": strings.NewReader(text), "buffer": bytes.NewBufferString(text),
		} {
			var bodies []string
			c := mocked(unavailable(&bodies))
			install(t, c, constant(0), onAttempt(func(a restyretry.Attempt) error {
				_, err := body.Read(make([]byte, a.Number))
				return err
			}))
			_, err := c.R().SetBody(body).Put("/x")
			if want := text[1:]; err != nil || !slices.Equal(bodies, []string{want, want, want}) {
				t.Errorf("%s of %d bytes: got %.20q, %v", name, size, bodies, err)
			}
		}
	}
}

func TestErrorsIsNotAskedAfterAnEmptyResponse(t *testing.T) {
	for name, ctx := range map[string]context.Context{"plain": context.Background(), "context": marked(t.Context())} {
		calls := 0
		c := mocked(func(*http.Request) (*http.Response, error) {
			calls++
			resp := httpmock.NewStringResponse(200, "")
			resp.ContentLength = -1
			return resp, nil
		})
		install(t, c, constant(0))
		c.OnAfterResponse(func(*resty.Client, *resty.Response) error { return io.ErrUnexpectedEOF })
		if _, err := c.R().SetContext(ctx).Get("/x"); !errors.Is(err, io.ErrUnexpectedEOF) || calls != 1 {
			t.Errorf("%s: got %v after %d calls", name, err, calls)
		}
	}
}

func TestARetriedRequestThatPanicsIsLoggedAsGivenUp(t *testing.T) {
	respond, _ := answers(503, 200)
	c := mocked(respond)
	var log strings.Builder
	install(t, c, constant(0), func(o *restyretry.Options) {
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		o.RetryIf = func(a restyretry.Attempt) bool {
			if a.Number == 2 {
				panic("no")
			}
			return true
		}
	})
	func() {
		defer func() { _ = recover() }()
		_, _ = c.R().Get("/x")
	}()
	if got := log.String(); !strings.Contains(got, "giving up") || !strings.Contains(got, "reason=panic") {
		t.Errorf("got %q", got)
	}
}

// Clones share the memory of their list of middlewares, and one may write where
// the other has written.
func TestAMiddlewareThatRunsTwiceForOneAttemptChangesNothing(t *testing.T) {
	var sent []any
	base := mocked(func(r *http.Request) (*http.Response, error) {
		sent = append(sent, r.Context().Value(markKey{}))
		return httpmock.NewStringResponse(503, ""), nil
	})
	idle := func(*resty.Client, *resty.Request) error { return nil }
	for range 5 { // the list has room for 8 then
		base.OnBeforeRequest(idle)
	}
	a, b := base.Clone().OnBeforeRequest(idle), base.Clone()
	done := func(o *restyretry.Options) {
		o.Hooks = append(o.Hooks, restyretry.Hooks{OnDone: func(restyretry.Attempt) {}})
	}
	install(t, a, constant(0), done)
	install(t, b, constant(0), done) // overwrites the last middleware of a with its own
	ctx := restyretry.With(marked(context.Background()), restyretry.Off)
	r := a.R().SetContext(ctx)
	if _, err := r.Get("/x"); err != nil || len(sent) != 1 || sent[0] == nil || r.Context() != ctx {
		t.Errorf("sent with %v, then %v, %v", sent, r.Context(), err)
	}
}
