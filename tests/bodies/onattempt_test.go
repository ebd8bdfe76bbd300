package bodies

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

func TestTheBodyThatOnAttemptSetsIsThatOfTheAttemptAlone(t *testing.T) {
	second := func(body any) func(int) any {
		return func(n int) any { return map[bool]any{n%2 == 0: body}[true] }
	}
	own := func(n int) any { return fmt.Sprint("attempt ", n) }
	ownTexts := []string{"attempt 1", "attempt 2", "attempt 3", "attempt 4"}
	first, other := &closing{Reader: harness.Stream("given")}, &closing{Reader: harness.Stream("other")}
	for _, tt := range []struct {
		name  string
		given any
		set   func(n int) any // nil leaves it
		want  []string
	}{
		{"over none", nil, own, ownTexts},
		{"over a string", "given", own, ownTexts},
		{"over bytes", []byte("given"), own, ownTexts},
		{"over a struct", harness.Document{Text: "given"}, own, ownTexts},
		{"over a *strings.Reader", strings.NewReader("given"), own, ownTexts},
		{"over a one-shot reader", harness.Stream("given"), own, ownTexts},
		{"a struct for some", harness.Stream("given"), second(harness.Document{Text: "other"}), []string{"given", `{"text":"other"}`, "given", `{"text":"other"}`}},
		{"a reader for some", first, second(other), []string{"given", "other", "given", "other"}},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(503), harness.Attempts(4), harness.OnAttempt(func(a restyretry.Attempt) error {
				if body := tt.set(a.Number); body != nil {
					a.Request.SetBody(body)
				}
				return nil
			}))
			call := c.Do(t, c.R().SetBody(tt.given), "PUT", "/").WantBodies(t, tt.want...)
			call.WantStory(t, "503 status 1s | 503 status 1s | 503 status 1s | 503 attempts")
		})
	}
	harness.Equal(t, "times the given reader was closed", first.closed, 1)
	harness.Equal(t, "times the other reader was closed", other.closed, 1)
}

func TestABodyIsSentThoughOnAttemptReplacesTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.New(t, harness.Statuses(503, 200), harness.OnAttempt(func(a restyretry.Attempt) error {
			a.Request.SetContext(context.WithValue(context.Background(), t, 1))
			return nil
		}))
		given := []byte("hello")
		call := c.Do(t, c.R().SetBody(given), "PUT", "/").Want(t, again).WantBodies(t, "hello", "hello")
		harness.Equal(t, "Body", identity(call.Request.Body), identity(given))
	})
}

// A value is encoded once, and a file of SetFile is read once.
func TestABodyThatChangesBetweenAttemptsIsSentAsItWasFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, document := filepath.Join(t.TempDir(), "a.txt"), &harness.Document{}
		change := func(text string) {
			document.Text = text
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c := harness.New(t, harness.Statuses(503, 200, 503, 200), harness.OnRetry(func(restyretry.Attempt) { change("second") }))
		change("first")
		c.Do(t, c.R().SetBody(document), "PUT", "/").Want(t, again).WantBodies(t, `{"text":"first"}`, `{"text":"first"}`)
		change("first")
		call := c.Do(t, c.R().SetFile("file", path), "PUT", "/").Want(t, again)
		if !strings.Contains(call.Sent[0].Body, "first") {
			t.Errorf("got %q, want the file as it was first", call.Sent[0].Body)
		}
	})
}

func TestTheBodyOfOnAttemptComesBeforeWhatAMiddlewareMadeOfAnEarlierOne(t *testing.T) {
	harness.Bubble(t, "a middleware that acts once", func(t *testing.T) {
		c := harness.New(t, harness.Statuses(503, 200), harness.OnAttempt(func(a restyretry.Attempt) error {
			a.Request.SetBody(fmt.Sprint("attempt ", a.Number))
			return nil
		}))
		first := true
		c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
			if first {
				first = false
				r.SetBody("compressed")
			}
			return nil
		})
		c.Do(t, c.R(), "PUT", "/").WantBodies(t, "compressed", "attempt 2")
	})
}

func TestAFormFieldOfOnAttemptIsForThatAttempt(t *testing.T) {
	harness.Bubble(t, "the second", func(t *testing.T) {
		c := harness.New(t, harness.Statuses(503), harness.OnAttempt(func(a restyretry.Attempt) error {
			if a.Number == 2 {
				a.Request.FormData.Set("b", "2")
			}
			return nil
		}))
		c.Do(t, c.R().SetFormData(map[string]string{"a": "1"}), "PUT", "/").WantBodies(t, "a=1", "a=1&b=2", "a=1")
	})
}

func TestAReaderThatOnAttemptHasSetInAnEarlierCallIsNotSentEmpty(t *testing.T) {
	for limit, sent := range map[int64]int{10: 1, 1000: 2} {
		harness.Bubble(t, fmt.Sprint("MaxReplay ", limit), func(t *testing.T) {
			text := harness.Text(100)
			other := harness.Stream(text)
			c := harness.New(t, harness.Statuses(503, 200, 503, 200), harness.MaxReplay(limit), harness.OnAttempt(func(a restyretry.Attempt) error {
				if a.Number == 2 {
					a.Request.SetBody(other)
				}
				return nil
			}))
			r := c.R().SetBody("given")
			c.Do(t, r, "PUT", "/").WantBodies(t, "given", text)
			call := c.Do(t, r, "PUT", "/").WantBodies(t, []string{"given", text}[:sent]...)
			harness.Equal(t, "refused", call.Err != nil, sent == 1)
		})
	}
}

// Each OnAttempt sets a new body, also for an attempt that is not sent.
func TestEveryBodyThatOnAttemptSetsIsClosedOnce(t *testing.T) {
	refuse := func(restyretry.Attempt) error { return errors.New("no") }
	later := harness.Says(503, "Retry-After: 30")
	for _, tt := range []struct {
		name   string
		script harness.Script
		second func(restyretry.Attempt) error // what it does besides before the second attempt
		cancel time.Duration                  // after the beginning; 0: never
		want   string
	}{
		{"all are sent", harness.Statuses(503), nil, 0, harness.UsedUp(3)},
		{"cancelled in a wait that the server asks for", later, nil, time.Second, "503 cancelled 30s"},
		{"a wait of the server that is too long", harness.Says(503, "Retry-After: 3600"), nil, 0, "503 server-wait"},
		{"cancelled in OnAttempt", harness.Statuses(503), nil, 0, "503 cancelled 1s"},
		{"OnAttempt returns an error", harness.Statuses(503), refuse, 0, "503 stopped 1s"},
		{"OnAttempt returns an error before the wait", later, refuse, 0, "503 stopped"},
		{"OnAttempt panics", harness.Statuses(503), func(restyretry.Attempt) error { panic("no") }, 0, "503 status 1s | unsent panic"},
		{"a Cooldown", harness.Statuses(503), nil, 0, "503 cooldown 1s"},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tt.cancel > 0 {
				time.AfterFunc(tt.cancel, cancel)
			}
			cooldown := &restyretry.Cooldown{}
			bodies := []*closing{{Reader: strings.NewReader("given")}}
			set := func(a restyretry.Attempt) {
				body := &closing{Reader: strings.NewReader("content")}
				bodies = append(bodies, body)
				a.Request.SetBody(body)
			}
			c := harness.New(t, tt.script, harness.Rand(0), harness.Cooldown(cooldown), harness.OnRetry(set), harness.OnRetry(set),
				harness.OnAttempt(func(a restyretry.Attempt) error { set(a); return nil }),
				harness.OnAttempt(func(a restyretry.Attempt) error {
					set(a)
					switch {
					case a.Number == 1:
					case tt.name == "a Cooldown":
						cooldown.Hold(harness.Base, time.Hour)
					case tt.name == "cancelled in OnAttempt":
						cancel()
					case tt.second != nil:
						return tt.second(a)
					}
					return nil
				}))
			c.Do(t, c.R().SetContext(ctx).SetBody(bodies[0]), "PUT", "/").WantStory(t, tt.want)
			for i, body := range bodies {
				harness.Equal(t, fmt.Sprintf("times body %d of %d was closed", i+1, len(bodies)), body.closed, 1)
			}
		})
	}
}

func TestABodyThatATargetReplacesIsClosed(t *testing.T) {
	harness.Bubble(t, "and so is the other", func(t *testing.T) {
		given, other := &closing{Reader: strings.NewReader("given")}, &closing{Reader: strings.NewReader("other")}
		c := harness.New(t, harness.Statuses(503), harness.URL(restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) {
			a.Request.SetBody(other)
			return a.Request.URL, nil
		})))
		c.Do(t, c.R().SetBody(given), "PUT", "/").Want(t, harness.UsedUp(3)).WantBodies(t, "other", "other", "other")
		harness.Equal(t, "times the given body and the other were closed", fmt.Sprint(given.closed, other.closed), "1 1")
	})
}
