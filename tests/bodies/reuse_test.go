package bodies

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

// identity tells bodies apart, not their contents.
func identity(body any) string { return fmt.Sprintf("%T %p", body, body) }

func TestARequestIsAsItWasAndSendsTheSameWhenItIsUsedAgain(t *testing.T) {
	type key struct{}
	for _, body := range harness.Bodies() {
		harness.Bubble(t, body.Name, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(503, 200, 503, 200))
			ctx := context.WithValue(t.Context(), key{}, 1)
			r := c.R().SetContext(ctx).SetResult(&harness.Document{}).SetError(&harness.Document{})
			body.Set(t, r, "hello")
			given, result, failure := identity(r.Body), r.Result, r.Error
			c.Do(t, r, "PUT", "/").Want(t, again)
			harness.Equal(t, "Body", identity(r.Body), given)
			harness.Equal(t, "Result", r.Result, result)
			harness.Equal(t, "Error", r.Error, failure)
			harness.Equal(t, "context", r.Context(), ctx)
			call := c.Do(t, r, "PUT", "/")
			if strings.HasSuffix(body.Name, "*os.File") { // it is closed
				harness.WantIs(t, call.Err, os.ErrClosed)
				return
			}
			call.Want(t, again)
			call.Sent[0].Header.Del("Accept") // Resty derives one from what it has left in the request
			harness.SameText(t, "body", harness.Canonical(call.Sent[0].Header, call.Sent[0].Body), body.Plain(t, "hello"))
		})
	}
}

func TestAReaderPastMaxReplayIsNotSentByASecondUse(t *testing.T) {
	c := harness.New(t, harness.Statuses(503), harness.MaxReplay(4))
	r := c.R().SetBody(harness.Stream("hello"))
	c.Do(t, r, "PUT", "/").Want(t, "503 body").WantBodies(t, "hello")
	harness.WantError(t, c.Do(t, r, "PUT", "/").Want(t, "unsent stopped", harness.ErrAny).Err, "MaxReplay")
}

// Resty takes its buffers from a pool, and a request keeps its last one.
func TestTheBodyOfAnotherRequestIsNeverSent(t *testing.T) {
	c := harness.New(t, harness.Statuses(200))
	c.SetContentLength(true)
	for range 50 {
		r := c.R()
		for _, tt := range []struct {
			r    *resty.Request
			want string
		}{
			{r, ""},
			{c.R().SetBody("secret"), "secret"},
			{c.R().SetBody(harness.Document{Text: "secret"}), `{"text":"secret"}`},
			{r, ""},
		} {
			c.Do(t, tt.r, "PUT", "/").Want(t, "200 succeeded").WantBodies(t, tt.want)
		}
	}
}

// Resty has read the readers for the first form. What it made of them must not be
// sent in place of another.
func TestMultipartReadersAreNotSentForAnotherForm(t *testing.T) {
	file := func(c *harness.Client) *resty.Request {
		return c.R().SetFileReader("file", "a.txt", strings.NewReader("hello"))
	}
	refused := func(t *testing.T, call *harness.Call, sent harness.Sent) {
		t.Helper()
		harness.WantError(t, call.Err, "set all parts on a new request")
		if !strings.Contains(sent.Body, "one") || !strings.Contains(sent.Body, "hello") {
			t.Errorf("got %q, want the first form", sent.Body)
		}
	}
	t.Run("of a second use", func(t *testing.T) {
		c := harness.New(t, harness.Statuses(200))
		r := file(c).SetFormData(map[string]string{"id": "one"})
		first := c.Do(t, r, "PUT", "/").Want(t, "200 succeeded")
		r.SetFormData(map[string]string{"id": "two"})
		refused(t, c.Do(t, r, "PUT", "/").Want(t, "unsent stopped", harness.ErrAny), first.Sent[0])
	})
	harness.Bubble(t, "of OnAttempt", func(t *testing.T) {
		c := harness.New(t, harness.Statuses(503), harness.OnAttempt(func(a restyretry.Attempt) error {
			a.Request.SetFormData(map[string]string{"id": []string{"one", "two"}[a.Number-1]})
			return nil
		}))
		call := c.Do(t, file(c), "PUT", "/").Want(t, "503 body 1s", harness.ErrAny)
		refused(t, call, call.Sent[0])
	})
}

// Without its pre-request hook, the plugin cannot send a body that it keeps from Resty.
func TestABodyIsNotSentWhenTheHookIsReplaced(t *testing.T) {
	silent := func(o *restyretry.Options) { o.Logger = new(harness.Log).Slog() }
	for _, body := range harness.Bodies() {
		t.Run(body.Name, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(200), silent)
			c.SetPreRequestHook(func(*resty.Client, *http.Request) error { return nil })
			r := c.R()
			body.Set(t, r, "hello")
			call := c.Do(t, r, "PUT", "/")
			switch body.Of {
			case harness.Memory, harness.Places, harness.OneShot:
				harness.WantError(t, call.Want(t, "unsent stopped", harness.ErrAny).Err, "PreRequest")
			default:
				call.Want(t, "200 succeeded").WantEach(t, 1, body.Plain(t, "hello"))
			}
		})
	}
	t.Run("multipart data is sent once", func(t *testing.T) {
		c := harness.New(t, harness.Statuses(503), silent)
		c.SetPreRequestHook(func(*resty.Client, *http.Request) error { return nil })
		c.Do(t, c.R().SetFileReader("file", "a.txt", strings.NewReader("hello")), "PUT", "/").Want(t, "503 body")
	})
}

func TestABodyInMemoryIsInTheDebugLogAndTheCurlCommand(t *testing.T) {
	for _, body := range harness.Bodies() {
		harness.Bubble(t, body.Name, func(t *testing.T) {
			c, log := harness.New(t, harness.Statuses(503, 200)), &harness.Log{}
			c.SetLogger(log).SetDebug(true).EnableGenerateCurlOnDebug()
			r := c.R()
			body.Set(t, r, "hello")
			c.Do(t, r, "PUT", "/").Want(t, again).WantEach(t, 2, body.Plain(t, "hello"))
			seen := body.Of == harness.Memory || body.Of == harness.Encoded || body.Of == harness.Form && body.Name != "SetFile"
			if seen && strings.Count(log.String(), "hello") < 2 {
				t.Errorf("got %s\nwant the body in the log of both attempts", log)
			}
		})
	}
}

// Resty reads the body for a curl command.
func TestAReaderSurvivesGenerateCurlCommand(t *testing.T) {
	curl := func(r *resty.Request) { r.GenerateCurlCommand() }
	nothing := func(*resty.Request) {}
	for name, tt := range map[string]struct{ before, onAttempt func(*resty.Request) }{
		"before the request": {curl, nothing},
		"in OnAttempt":       {nothing, curl},
	} {
		for _, body := range harness.Bodies(harness.Memory, harness.Places, harness.OneShot) {
			harness.Bubble(t, name+", "+body.Name, func(t *testing.T) {
				c := harness.New(t, harness.Statuses(503, 200), harness.OnAttempt(func(a restyretry.Attempt) error {
					tt.onAttempt(a.Request)
					return nil
				}))
				r := c.R().SetDebug(true).EnableGenerateCurlOnDebug()
				body.Set(t, r, "hello")
				r.Method, r.URL = http.MethodPut, "/"
				tt.before(r)
				c.Do(t, r, "PUT", "/").Want(t, again).WantBodies(t, "hello", "hello")
			})
		}
	}
}

func TestAReaderIsSentHoweverOftenItsRequestIsUsed(t *testing.T) {
	c := harness.New(t, harness.Statuses(200))
	r := c.R().SetBody(harness.Stream("hello"))
	for range 4 {
		c.Do(t, r, "PUT", "/").WantBodies(t, "hello")
	}
}

// What it has seen stays in the context of a trace, and in one derived from it.
func TestABodyThatIsTakenAwayAfterACurlCommandIsNotSent(t *testing.T) {
	shown := func(c *harness.Client) *resty.Request {
		r := c.R().SetDebug(true).EnableGenerateCurlOnDebug().SetBody(harness.Stream("hello"))
		r.Method = http.MethodPut
		return r
	}
	for name, set := range map[string]func(r *resty.Request){
		"plain":            func(*resty.Request) {},
		"SetContentLength": func(r *resty.Request) { r.SetContentLength(true) },
		"EnableTrace":      func(r *resty.Request) { r.EnableTrace() },
	} {
		harness.Bubble(t, name, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(200))
			r := shown(c)
			set(r)
			r.GenerateCurlCommand()
			c.Do(t, r.SetBody(nil), "PUT", "/").Want(t, "200 succeeded").WantBodies(t, "")

			r = shown(c)
			set(r)
			r.GenerateCurlCommand()
			r.SetContext(context.WithValue(r.Context(), t, 1))
			c.Do(t, r, "PUT", "/").Want(t, "200 succeeded").WantBodies(t, "hello")
			c.Do(t, r.SetBody(nil), "PUT", "/").Want(t, "200 succeeded").WantBodies(t, "")
		})
		harness.Bubble(t, name+", by OnAttempt", func(t *testing.T) {
			c := harness.New(t, harness.Statuses(503, 200), harness.OnAttempt(func(a restyretry.Attempt) error {
				if a.Number == 2 {
					a.Request.SetBody(nil)
				}
				return nil
			}))
			r := shown(c)
			set(r)
			r.GenerateCurlCommand()
			c.Do(t, r, "PUT", "/").WantBodies(t, "hello", "")
		})
	}
}
