package bodies

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

// plain is what a middleware compresses.
func plain(r *resty.Request) ([]byte, error) {
	switch body := r.Body.(type) {
	case []byte:
		return body, nil
	case string:
		return []byte(body), nil
	case io.Reader:
		return io.ReadAll(body)
	default:
		r.SetHeader("Content-Type", "application/json")
		return json.Marshal(body)
	}
}

// plainByType is the same for one that knows readers by their types.
func plainByType(r *resty.Request) ([]byte, error) {
	switch body := r.Body.(type) {
	case *bytes.Buffer:
		return body.Bytes(), nil
	case *bytes.Reader, *strings.Reader:
		return io.ReadAll(body.(io.Reader))
	case io.Reader:
		return json.Marshal(body)
	default:
		return plain(r)
	}
}

// compress and decompress stand for gzip, which makes bytes of an empty body too.
func compress(text []byte) string { return "x" + hex.EncodeToString(text) }

func decompress(text string) string {
	plain, err := hex.DecodeString(strings.TrimPrefix(text, "x"))
	if err != nil {
		return err.Error()
	}
	return string(plain)
}

// A compressor is a middleware as people write them.
type compressor struct {
	name  string
	again func() func(*resty.Request) bool // whether it compresses this attempt too
	plain func(*resty.Request) ([]byte, error)
	as    func(string) any
	early bool // it may come before Install, and sees what was left of the attempt before
}

func (c compressor) middleware() resty.RequestMiddleware {
	again := c.again()
	return func(_ *resty.Client, r *resty.Request) error {
		if !again(r) {
			return nil
		}
		text, err := c.plain(r)
		r.SetHeader("Content-Encoding", "x").SetBody(c.as(compress(text)))
		return err
	}
}

func compressors() []compressor {
	when := func(f func(*resty.Request) bool) func() func(*resty.Request) bool {
		return func() func(*resty.Request) bool { return f }
	}
	unmarked := func(r *resty.Request) bool { return r.Header.Get("Content-Encoding") == "" }
	once := func() func(*resty.Request) bool {
		done := false
		return func(*resty.Request) bool { defer func() { done = true }(); return !done }
	}
	toBytes := func(text string) any { return []byte(text) }
	toBuffer := func(text string) any { return bytes.NewBufferString(text) }
	toPipe := func(text string) any { return harness.Pipe(text) }
	return []compressor{
		{"that looks for its header", when(unmarked), plain, toBytes, true},
		{"of every attempt", when(func(*resty.Request) bool { return true }), plain, toBytes, false},
		{"of the first attempt", when(func(r *resty.Request) bool { return r.Attempt == 1 }), plain, toBytes, true},
		{"that remembers", once, plain, toBytes, true},
		{"of every other attempt", when(func(r *resty.Request) bool { return r.Attempt%2 == 1 && unmarked(r) }), plain, toBytes, true},
		{"into a string", when(unmarked), plain, func(text string) any { return text }, true},
		{"into a buffer", when(unmarked), plain, toBuffer, true},
		{"into a reader", when(unmarked), plain, toPipe, true},
		{"that goes by types", when(unmarked), plainByType, toBytes, false},
	}
}

// wantDecoded wants that what every attempt sent, decoded as its header says, is
// this text.
func wantDecoded(t *testing.T, sent []harness.Sent, n int, want string) {
	t.Helper()
	harness.Equal(t, "requests sent", len(sent), n)
	for i, s := range sent {
		text := s.Body
		switch coding := strings.Join(s.Header["Content-Encoding"], ","); coding {
		case "x":
			text = decompress(text)
		case "":
			if i == 0 {
				t.Error("the first request: got it as it was")
			}
		default:
			t.Errorf("request %d: got Content-Encoding %q", i+1, coding)
		}
		harness.SameText(t, fmt.Sprintf("request %d", i+1), text, want)
		length := s.Header.Get("Content-Length")
		if n := s.Request.ContentLength; n > 0 && n != int64(len(s.Body)) || length != "" && length != fmt.Sprint(len(s.Body)) {
			t.Errorf("request %d: got the lengths %d and %q, want %d", i+1, n, length, len(s.Body))
		}
	}
}

// A middleware that is registered after Install cannot see a body that is streamed.
func TestACompressedBodyIsTheOriginalInEveryAttempt(t *testing.T) {
	const text, story = "hello, hello, hello", "503 status 1s | 503 status 1s | 503 status 1s | 200 succeeded"
	nothing := harness.OnAttempt(func(restyretry.Attempt) error { return nil })
	ways := map[string]func(*resty.Request) []harness.Option{
		"plain":            func(*resty.Request) []harness.Option { return nil },
		"SetContentLength": func(r *resty.Request) []harness.Option { r.SetContentLength(true); return nil },
		"SetDebug":         func(r *resty.Request) []harness.Option { r.SetDebug(true); return nil },
		"OnAttempt":        func(*resty.Request) []harness.Option { return []harness.Option{nothing} },
	}
	for _, body := range harness.Bodies(harness.Memory, harness.Places, harness.OneShot, harness.Encoded) {
		_, want, _ := strings.Cut(body.Plain(t, text), "\n\n")
		for _, compressor := range compressors() {
			for way, set := range ways {
				name := body.Name + ", " + compressor.name + ", " + way
				send := func(t *testing.T, early bool) *harness.Call {
					c := harness.Mock(harness.Statuses(503, 503, 503, 200))
					if early {
						c.OnBeforeRequest(compressor.middleware())
					}
					r := c.R()
					c.Install(t, append(set(r), harness.Attempts(4), second)...)
					if !early {
						c.OnBeforeRequest(compressor.middleware())
					}
					body.Set(t, r, text)
					return c.Do(t, r, "PUT", "/")
				}
				harness.Bubble(t, name, func(t *testing.T) {
					call := send(t, false)
					if body.Of == harness.Places || body.Of == harness.OneShot {
						harness.WantError(t, call.Err, "register it before Install")
						harness.Equal(t, "requests sent", len(call.Sent), 0)
					} else {
						call.WantStory(t, story)
						wantDecoded(t, call.Sent, 4, want)
					}
					if compressor.early {
						call = send(t, true)
						harness.Equal(t, "story if it comes before Install", harness.Story(call.History), story)
						wantDecoded(t, call.Sent, 4, want)
					}
				})
			}
		}
	}
}

// The body of the request is put back after each use, and the header with it.
func TestACompressedBodyIsTheOriginalInEveryUse(t *testing.T) {
	const text = "hello, hello, hello"
	nothing := harness.OnAttempt(func(restyretry.Attempt) error { return nil })
	for _, body := range harness.Bodies(harness.Memory, harness.Encoded) {
		_, want, _ := strings.Cut(body.Plain(t, text), "\n\n")
		for _, compressor := range compressors() {
			for _, opts := range [][]harness.Option{nil, {nothing}} {
				harness.Bubble(t, fmt.Sprint(body.Name, ", ", compressor.name, ", ", len(opts)), func(t *testing.T) {
					c := harness.New(t, harness.Statuses(200, 503, 200, 503, 503, 503, 200), opts...)
					c.OnBeforeRequest(compressor.middleware())
					r := c.R()
					body.Set(t, r, text)
					r.SetHeader("Content-Language", "en")
					given, url := identity(r.Body), "/"
					var sent []harness.Sent
					for _, story := range []string{"200 succeeded", again, harness.UsedUp(3), "200 succeeded"} {
						sent = append(sent, c.Do(t, r, "PUT", url).WantStory(t, story).Sent...)
						harness.Equal(t, "Body", identity(r.Body), given)
						harness.Equal(t, "Content-Encoding, Content-Language", fmt.Sprint(r.Header["Content-Encoding"], r.Header["Content-Language"]), "[] [en]")
						url = r.URL
					}
					wantDecoded(t, sent, 7, want)
				})
			}
		}
	}
}

// What a middleware does to a request is undone also if the request is then refused.
func TestACompressedBodyThatIsNotSentIsTheOriginalLater(t *testing.T) {
	compressor := compressors()[0]
	for name, body := range map[string]any{"bytes": []byte("hello"), "a reader, which it cannot compress": harness.Stream("hello")} {
		harness.Bubble(t, name, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(200))
			c.OnBeforeRequest(compressor.middleware())
			c.SetRateLimiter(harness.Tokens(0))
			r := c.R().SetBody(body)
			for range 2 {
				c.Do(t, r, "PUT", "/").WantStory(t, "unsent not-sent")
				harness.Equal(t, "Content-Encoding", r.Header.Get("Content-Encoding"), "")
			}
		})
	}
}

func TestABodyThatPreRequestCompressesIsCompressedOnce(t *testing.T) {
	preRequest := func(_ *resty.Client, hr *http.Request) error {
		text, err := io.ReadAll(hr.Body)
		coded := compress(text)
		hr.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(coded)), nil }
		hr.Body, _ = hr.GetBody()
		hr.ContentLength = int64(len(coded))
		return err
	}
	for _, body := range harness.Bodies() {
		harness.Bubble(t, body.Name, func(t *testing.T) {
			if body.Of == harness.Nothing {
				return
			}
			c := harness.New(t, harness.Statuses(503, 503, 200), func(o *restyretry.Options) { o.PreRequest = preRequest })
			r := c.R()
			body.Set(t, r, "hello")
			call := c.Do(t, r, "PUT", "/").Want(t, "503 status 1s | 503 status 1s | 200 succeeded")
			for i := range call.Sent {
				call.Sent[i].Body = decompress(call.Sent[i].Body)
			}
			call.WantEach(t, 3, body.Plain(t, "hello"))
		})
	}
}

// Resty sends multipart data and forms in place of Body.
func TestAFormSurvivesAMiddlewareThatSetsABody(t *testing.T) {
	for _, body := range harness.Bodies(harness.Form) {
		for first := range 2 {
			harness.Bubble(t, fmt.Sprintf("%s, after %d attempts", body.Name, first), func(t *testing.T) {
				c := harness.New(t, harness.Statuses(503, 503, 200))
				c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
					if r.Attempt > first {
						r.SetBody("{}")
					}
					return nil
				})
				r := c.R()
				body.Set(t, r, "hello")
				call := c.Do(t, r, "PUT", "/")
				if call.Err == nil || len(call.Sent) > 0 { // or refused, and nothing lost
					call.WantEach(t, len(call.Sent), body.Plain(t, "hello"))
				}
			})
		}
	}
}
