package harness

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-resty/resty/v2"
)

// A Body is a way to give a request its body.
type Body struct {
	Name string
	Of   Source
	Set  func(t testing.TB, r *resty.Request, text string)
}

// A Source is where a body comes from.
type Source int

const (
	Memory  Source = iota // bytes or text, which a middleware can see
	Places                // it can be read at several places at once, as a file can
	OneShot               // it can be read only once
	Encoded               // Resty encodes it
	Form                  // a form, or multipart data
	Nothing
)

// Sized reports whether the length of the body is known before it is sent.
func (b Body) Sized() bool {
	return b.Of != OneShot || strings.HasPrefix(b.Name, "SetContentLength")
}

// A Document is a body that Resty encodes.
type Document struct {
	Text string `json:"text"`
}

// Bodies returns all kinds of bodies, or those of the given sources. Some have been
// read in part.
func Bodies(of ...Source) []Body {
	const skipped = "skipped"
	given := func(name string, of Source, make func(t testing.TB, text string) any) Body {
		return Body{name, of, func(t testing.TB, r *resty.Request, text string) { r.SetBody(make(t, text)) }}
	}
	counted := func(b Body) Body {
		return Body{"SetContentLength, " + b.Name, b.Of, func(t testing.TB, r *resty.Request, text string) {
			r.SetContentLength(true)
			b.Set(t, r, text)
		}}
	}
	form := func(name string, set func(t testing.TB, r *resty.Request, text string)) Body {
		return Body{name, Form, set}
	}
	text := given("string", Memory, func(_ testing.TB, text string) any { return text })
	file := given("*os.File", Places, func(t testing.TB, text string) any { return File(t, text) })
	plain := given("reader", OneShot, func(_ testing.TB, text string) any { return Stream(text) })
	all := []Body{
		{"none", Nothing, func(testing.TB, *resty.Request, string) {}},
		text, file, plain, counted(text), counted(file), counted(plain),
		given("[]byte", Memory, func(_ testing.TB, text string) any { return []byte(text) }),
		given("*bytes.Buffer", Memory, func(_ testing.TB, text string) any {
			b := bytes.NewBufferString(skipped + text)
			b.Next(len(skipped))
			return b
		}),
		given("*bytes.Reader", Memory, func(_ testing.TB, text string) any {
			r := bytes.NewReader([]byte(skipped + text))
			_, _ = r.Seek(int64(len(skipped)), io.SeekStart)
			return r
		}),
		given("*strings.Reader", Memory, func(_ testing.TB, text string) any {
			r := strings.NewReader(skipped + text)
			_, _ = r.Seek(int64(len(skipped)), io.SeekStart)
			return r
		}),
		given("*io.SectionReader", Places, func(_ testing.TB, text string) any {
			return io.NewSectionReader(strings.NewReader(skipped+text), int64(len(skipped)), int64(len(text)))
		}),
		given("pipe", OneShot, func(_ testing.TB, text string) any { return Pipe(text) }),
		given("io.MultiReader", OneShot, func(_ testing.TB, text string) any {
			return io.MultiReader(strings.NewReader(text[:1]), strings.NewReader(text[1:]))
		}),
		given("struct", Encoded, func(_ testing.TB, text string) any { return Document{text} }),
		given("pointer", Encoded, func(_ testing.TB, text string) any { return &Document{text} }),
		given("map", Encoded, func(_ testing.TB, text string) any { return map[string]any{"text": text, "n": 1} }),
		form("SetFormData", func(_ testing.TB, r *resty.Request, text string) {
			r.SetFormData(map[string]string{"text": text, "more": "x y"})
		}),
		form("SetFile", func(t testing.TB, r *resty.Request, text string) { r.SetFile("file", File(t, text).Name()) }),
		form("SetFileReader", func(_ testing.TB, r *resty.Request, text string) {
			r.SetFileReader("file", "a.txt", strings.NewReader(text))
		}),
		form("SetFileReader, one-shot", func(_ testing.TB, r *resty.Request, text string) {
			r.SetFileReader("file", "a.txt", Stream(text))
		}),
		form("SetMultipartFormData", func(_ testing.TB, r *resty.Request, text string) {
			r.SetMultipartFormData(map[string]string{"text": text})
		}),
		form("SetMultipartField", func(_ testing.TB, r *resty.Request, text string) {
			r.SetMultipartField("file", "a.txt", "text/plain", Stream(text))
		}),
		form("SetMultipartFields", func(_ testing.TB, r *resty.Request, text string) {
			r.SetMultipartFields(
				&resty.MultipartField{Param: "a", FileName: "a.txt", ContentType: "text/plain", Reader: Stream(text)},
				&resty.MultipartField{Param: "b", Reader: strings.NewReader("b")})
		}),
	}
	return slices.DeleteFunc(all, func(b Body) bool { return len(of) > 0 && !slices.Contains(of, b.Of) })
}

// Plain returns what Resty without the plugin sends for a body, in the form of
// [Canonical].
func (b Body) Plain(t testing.TB, text string) string {
	t.Helper()
	c := Mock(Statuses(200))
	r := c.R()
	b.Set(t, r, text)
	call := c.Do(t, r, http.MethodPut, "/")
	if call.Err != nil {
		t.Fatalf("Resty alone: got %v", call.Err)
	}
	return Canonical(call.Sent[0].Header, call.Sent[0].Body)
}

// Canonical returns a body after the header fields that Resty derives from it. The
// boundary of multipart data, which is random, is replaced by a constant.
func Canonical(h http.Header, body string) string {
	text := fmt.Sprintf("Content-Type: %s\nAccept: %s\n\n%s", h.Get("Content-Type"), h.Get("Accept"), body)
	if _, params, err := mime.ParseMediaType(h.Get("Content-Type")); err == nil && params["boundary"] != "" {
		text = strings.ReplaceAll(text, params["boundary"], "boundary")
	}
	return text
}

// WantEach wants n requests sent, each equal to want in the form of [Canonical].
// Unlike in [Call.Want], an attempt may send several requests or none.
func (c *Call) WantEach(t testing.TB, n int, want string) *Call {
	t.Helper()
	Equal(t, "requests sent", len(c.Sent), n)
	for i, s := range c.Sent {
		SameText(t, fmt.Sprintf("request %d", i+1), Canonical(s.Header, s.Body), want)
	}
	return c
}

// SameText compares texts that may be long.
func SameText(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %d bytes %.100q, want %d bytes %.100q", what, len(got), got, len(want), want)
	}
}

// Text returns n random letters, always the same ones.
func Text(n int) string {
	text := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(text)
	for i, c := range text {
		text[i] = 'a' + c%26
	}
	return string(text)
}

// Stream returns a one-shot reader: it has a Read method and no other.
func Stream(text string) io.Reader { return struct{ io.Reader }{strings.NewReader(text)} }

// Pipe returns the end of a pipe into which text is written.
func Pipe(text string) io.Reader {
	r, w := io.Pipe()
	go func() {
		_, err := io.WriteString(w, text)
		w.CloseWithError(err)
	}()
	return r
}

// File returns an open file whose position is before text. It is closed when the
// test ends.
func File(t testing.TB, text string) *os.File {
	t.Helper()
	const skipped = "skipped"
	path := filepath.Join(t.TempDir(), "upload.txt")
	if err := os.WriteFile(path, []byte(skipped+text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if _, err := f.Seek(int64(len(skipped)), io.SeekStart); err != nil {
		t.Fatal(err)
	}
	return f
}
