package restyretry_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
)

// bodyPlainBytes is what a middleware compresses: it knows the kinds of bodies
// that Resty knows, by their types.
func bodyPlainBytes(r *resty.Request) ([]byte, error) {
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

// bodyGzip compresses, and says so in the header.
func bodyGzip(r *resty.Request, plain []byte) []byte {
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	_, _ = w.Write(plain)
	w.Close()
	r.SetHeader("Content-Encoding", "gzip")
	return compressed.Bytes()
}

func bodyCompressed(r *resty.Request) error {
	plain, err := bodyPlainBytes(r)
	if err != nil {
		return err
	}
	r.SetBody(bodyGzip(r, plain))
	return nil
}

// A bodyCompressor is a middleware that compresses, as people write them.
type bodyCompressor struct {
	name   string
	make   func() resty.RequestMiddleware
	before bool // it can be registered before Install too, where it sees what was left of the attempt before
}

func bodyCompressors() []bodyCompressor {
	isCompressed := func(r *resty.Request) bool { return r.Header.Get("Content-Encoding") != "" }
	return []bodyCompressor{
		{"that looks for its header", func() resty.RequestMiddleware {
			return func(_ *resty.Client, r *resty.Request) error {
				if isCompressed(r) {
					return nil
				}
				return bodyCompressed(r)
			}
		}, true},
		{"that looks for nothing", func() resty.RequestMiddleware {
			return func(_ *resty.Client, r *resty.Request) error { return bodyCompressed(r) }
		}, false},
		{"of the first attempt", func() resty.RequestMiddleware {
			return func(_ *resty.Client, r *resty.Request) error {
				if r.Attempt > 1 {
					return nil
				}
				return bodyCompressed(r)
			}
		}, true},
		{"that remembers", func() resty.RequestMiddleware {
			done := false
			return func(_ *resty.Client, r *resty.Request) error {
				if done {
					return nil
				}
				done = true
				return bodyCompressed(r)
			}
		}, true},
		{"of every other attempt", func() resty.RequestMiddleware {
			return func(_ *resty.Client, r *resty.Request) error {
				if r.Attempt%2 == 0 || isCompressed(r) {
					return nil
				}
				return bodyCompressed(r)
			}
		}, true},
		{"into a buffer", func() resty.RequestMiddleware {
			return func(_ *resty.Client, r *resty.Request) error {
				if isCompressed(r) {
					return nil
				}
				plain, err := bodyPlainBytes(r)
				if err != nil {
					return err
				}
				r.SetBody(bytes.NewBuffer(bodyGzip(r, plain)))
				return nil
			}
		}, true},
		{"into a reader", func() resty.RequestMiddleware {
			return func(_ *resty.Client, r *resty.Request) error {
				if isCompressed(r) {
					return nil
				}
				plain, err := bodyPlainBytes(r)
				if err != nil {
					return err
				}
				r.SetBody(bodyPipe(string(bodyGzip(r, plain))))
				return nil
			}
		}, true},
		{"that goes by types", func() resty.RequestMiddleware {
			return func(_ *resty.Client, r *resty.Request) error {
				if isCompressed(r) {
					return nil
				}
				var plain []byte
				var err error
				switch body := r.Body.(type) {
				case []byte:
					plain = body
				case string:
					plain = []byte(body)
				case *bytes.Buffer:
					plain = body.Bytes()
				case *bytes.Reader:
					plain, err = io.ReadAll(body)
				default:
					r.SetHeader("Content-Type", "application/json")
					plain, err = json.Marshal(body)
				}
				r.SetBody(bodyGzip(r, plain))
				return err
			}
		}, false},
	}
}

// A bodySent is a request as the server understands it.
type bodySent struct {
	text   string // decoded as the header says
	coding string
	length bool // the Content-Length, if there is one, is right
}

// bodyDecode is a server that decodes what it gets.
func bodyDecode(statuses ...int) (roundTrip, *[]bodySent) {
	answer, _ := answers(statuses...)
	got := new([]bodySent)
	return func(r *http.Request) (*http.Response, error) {
		all, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body.Close()
		sent := bodySent{string(all), strings.Join(r.Header["Content-Encoding"], ","), true}
		if sent.coding == "gzip" {
			sent.text = bodyUncompressed(sent.text)
		}
		// 0 is unknown, as -1 is.
		sent.length = r.ContentLength <= 0 || r.ContentLength == int64(len(all))
		if said := r.Header.Get("Content-Length"); said != "" && said != fmt.Sprint(len(all)) {
			sent.length = false
		}
		*got = append(*got, sent)
		return answer(r)
	}, got
}

// Whatever a middleware makes of a body: what an attempt sends, decoded as its
// header says, is what the caller gave.
func TestACompressedBodyIsTheOriginalInEveryAttempt(t *testing.T) {
	const text = "hello, hello, hello"
	ways := map[string]func(*resty.Request){
		"":                   func(*resty.Request) {},
		", SetContentLength": func(r *resty.Request) { r.SetContentLength(true) },
		", SetDebug":         func(r *resty.Request) { r.SetDebug(true) },
	}
	document, _ := json.Marshal(bodyDocument{text})
	for _, kind := range []struct {
		bodyKind
		want     string
		streamed bool
	}{
		{bodyGiven("bytes", func(testing.TB, string) any { return []byte(text) }), text, false},
		{bodyGiven("string", func(testing.TB, string) any { return text }), text, false},
		{bodyGiven("bytes.Buffer", func(testing.TB, string) any { return bytes.NewBufferString(text) }), text, false},
		{bodyGiven("bytes.Reader", func(testing.TB, string) any { return bytes.NewReader([]byte(text)) }), text, false},
		{bodyGiven("struct", func(testing.TB, string) any { return bodyDocument{text} }), string(document), false},
		{bodyGiven("pointer to a struct", func(testing.TB, string) any { return &bodyDocument{text} }), string(document), false},
		{bodyGiven("map", func(testing.TB, string) any { return map[string]string{"text": text} }), string(document), false},
		{bodyGiven("io.Reader", func(testing.TB, string) any { return bodyPlain(text) }), text, true},
		{bodyGiven("os.File", func(t testing.TB, _ string) any { return bodyFile(t, text) }), text, true},
	} {
		for _, compressor := range bodyCompressors() {
			for _, before := range []bool{false, true} {
				if before && !compressor.before {
					continue
				}
				for _, hook := range []bool{false, true} {
					for way, set := range ways {
						t.Run(fmt.Sprintf("%s, %s, before Install %v, OnAttempt %v%s", kind.name, compressor.name, before, hook, way), func(t *testing.T) {
							server, got := bodyDecode(503, 503, 503, 200)
							c := mocked(server.RoundTrip)
							if before {
								c.OnBeforeRequest(compressor.make())
							}
							var opts []func(*restyretry.Options)
							if hook {
								opts = append(opts, onAttempt(func(restyretry.Attempt) error { return nil }))
							}
							install(t, c, append(opts, constant(0), bodyAttempts(4))...)
							if !before {
								c.OnBeforeRequest(compressor.make())
							}
							r := c.R()
							set(r)
							kind.set(t, r, text)
							resp, err := r.Put("/")
							if kind.streamed && !before {
								if err == nil || !strings.Contains(err.Error(), "register it before Install") || len(*got) > 0 {
									t.Errorf("got %v after %d requests, want an error that says what to do, and none sent", err, len(*got))
								}
								return
							}
							if err != nil || resp.StatusCode() != 200 || len(*got) != 4 {
								t.Fatalf("got %v, %v after %d requests, want a 200 after 4", resp, err, len(*got))
							}
							for i, sent := range *got {
								if sent.text != kind.want || !sent.length {
									t.Errorf("request %d: got %q (Content-Encoding %q, right length: %v), want %q", i+1, sent.text, sent.coding, sent.length, kind.want)
								}
							}
							if first := (*got)[0]; first.coding != "gzip" {
								t.Errorf("got Content-Encoding %q in the first request, want gzip", first.coding)
							}
						})
					}
				}
			}
		}
	}
}

// A middleware may replace Body where Resty sends something else: the parts of
// multipart data are sent in every attempt all the same.
func TestMultipartDataSurvivesAMiddlewareThatSetsABody(t *testing.T) {
	for _, kind := range bodyKinds() {
		if !strings.HasPrefix(kind.name, "SetFile") && !strings.HasPrefix(kind.name, "SetMultipart") && kind.name != "form" {
			continue
		}
		for _, first := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s, from attempt %d on", kind.name, first), func(t *testing.T) {
				text := bodyText(100)
				want := bodyExpected(t, kind, text).shared().body
				c, got := bodyMocked(t, []int{503, 503, 200})
				c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
					if r.Attempt >= first {
						r.SetBody("{}")
					}
					return nil
				})
				r := c.R()
				kind.set(t, r, text)
				if _, err := r.Put("/"); err != nil && len(*got) == 0 {
					return // refused, and nothing lost
				}
				for i, receipt := range *got {
					if receipt.shared().body != want {
						t.Errorf("request %d: got %d bytes, want %d", i+1, len(receipt.shared().body), len(want))
					}
				}
			})
		}
	}
}
