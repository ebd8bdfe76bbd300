package bodies

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

func TestABodyMayBeChangedInPlaceByOnAttempt(t *testing.T) {
	for _, size := range []int{10, 5000} {
		memory := make([]byte, size)
		for name, body := range map[string]any{
			"bytes": memory, "buffer": bytes.NewBuffer(memory), "reader": bytes.NewReader(memory),
		} {
			harness.Bubble(t, name, func(t *testing.T) {
				c := harness.New(t, harness.Statuses(503), harness.OnAttempt(func(a restyretry.Attempt) error {
					memory[0] = byte('0' + a.Number)
					return nil
				}))
				rest := string(make([]byte, size-1))
				c.Do(t, c.R().SetBody(body), "PUT", "/x").WantBodies(t, "1"+rest, "2"+rest, "3"+rest)
			})
		}
	}
	harness.Bubble(t, "a value that is encoded", func(t *testing.T) {
		c := harness.New(t, harness.Statuses(503), harness.OnAttempt(func(a restyretry.Attempt) error {
			a.Request.Body.(map[string]any)["n"] = a.Number
			return nil
		}))
		c.Do(t, c.R().SetBody(map[string]any{"n": 0}), "PUT", "/x").WantBodies(t, `{"n":1}`, `{"n":2}`, `{"n":3}`)
	})
}

// The first OnAttempt reads one byte before the plugin takes the body. What the later
// ones read makes no difference.
func TestAReaderIsSentFromWhereItStoodWhateverIsReadOfIt(t *testing.T) {
	for _, size := range []int{5, 5000} {
		text := strings.Repeat("12345", size/5)
		for name, body := range map[string]io.Reader{
			"bytes": bytes.NewReader([]byte(text)), "string": strings.NewReader(text), "buffer": bytes.NewBufferString(text),
		} {
			harness.Bubble(t, name, func(t *testing.T) {
				c := harness.New(t, harness.Statuses(503), harness.OnAttempt(func(a restyretry.Attempt) error {
					_, err := body.Read(make([]byte, a.Number))
					return err
				}))
				c.Do(t, c.R().SetBody(body), "PUT", "/x").
					Want(t, "503 status 1s | 503 status 1s | 503 attempts").WantBodies(t, text[1:], text[1:], text[1:])
			})
		}
	}
}

// net/http sends a body of unknown length in chunks.
func TestARequestWithoutABodyIsNotSentInChunks(t *testing.T) {
	for name, body := range map[string]any{"none": nil, "NoBody": http.NoBody} {
		harness.Bubble(t, name, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(503, 200))
			for _, s := range c.Do(t, c.R().SetBody(body), "PUT", "/x").Want(t, "503 status 1s | 200 succeeded").Sent {
				if r := s.Request; r.Body != nil && r.Body != http.NoBody || r.ContentLength != 0 || len(r.TransferEncoding) > 0 || s.Header["Content-Type"] != nil {
					t.Errorf("got %#v sent, want no body", r)
				}
			}
		})
	}
}

// A closing body counts how often it is closed.
type closing struct {
	io.Reader
	closed int
}

func (c *closing) Close() error { c.closed++; return nil }

func TestTheBodyOfARequestThatIsNeverSentIsClosed(t *testing.T) {
	cooling := func(o *restyretry.Options) {
		o.Cooldown = &restyretry.Cooldown{}
		o.Cooldown.Hold(harness.Base, 30*time.Second)
	}
	for _, tt := range []struct {
		name             string
		change           harness.Option
		deadline, cancel time.Duration
	}{
		{"a Cooldown refuses it", cooling, time.Second, time.Minute},
		{"cancelled while it is held", cooling, time.Minute, time.Second},
		{"invalid options", func(o *restyretry.Options) {}, time.Minute, time.Minute},
		{"OnAttempt refuses", harness.OnAttempt(func(restyretry.Attempt) error { return errors.New("no") }), time.Minute, time.Minute},
		{"OnAttempt panics", harness.OnAttempt(func(restyretry.Attempt) error { panic("broken") }), time.Minute, time.Minute},
		{"the Target panics", harness.URL(restyretry.TargetFunc(func(restyretry.Attempt) (string, error) {
			panic("broken")
		})), time.Minute, time.Minute},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(200), tt.change)
			ctx, cancel := context.WithTimeout(t.Context(), tt.deadline)
			defer cancel()
			time.AfterFunc(tt.cancel, cancel)
			if tt.name == "invalid options" {
				ctx = restyretry.With(ctx, harness.Attempts(0))
			}
			body := &closing{Reader: strings.NewReader("content")}
			call := c.Do(t, c.R().SetContext(ctx).SetBody(body), "PUT", "/x")
			harness.Equal(t, "sent", len(call.Sent), 0)
			harness.Equal(t, "closed", body.closed, 1)
		})
	}
}
