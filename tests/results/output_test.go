package results

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

// cut answers with a part of a file.
func cut(_ int, r *http.Request) (*http.Response, error) {
	body := io.MultiReader(strings.NewReader("part of the file"), iotest.ErrReader(io.ErrUnexpectedEOF))
	return &http.Response{StatusCode: 200, Request: r, ContentLength: 100, Body: io.NopCloser(body)}, nil
}

func TestAnOutputHasTheDownloadOrNothing(t *testing.T) {
	file := harness.Says(200, "", "the file")
	page := func(status int) harness.Script { return harness.Says(status, "", "error page") }
	for _, tt := range []struct {
		name, story string
		script      harness.Script
		opt         harness.Option
		want        string // in the file
		err         []error
	}{
		{"200", "200 succeeded", file, nil, "the file", nil},
		{"503, 200", "503 status 1s | 200 succeeded", harness.Each(page(503), file), nil, "the file", nil},
		{"cut, 200", "200 error 1s | 200 succeeded", harness.Each(cut, file), nil, "the file", nil},
		{"202 that is retried", "202 status 1s | 200 succeeded", harness.Each(harness.Says(202, "", "not ready yet, come back"), file), func(o *restyretry.Options) { o.Statuses = []int{202} }, "the file", nil},
		{"503", "503 status 1s | 503 status 1s | 503 attempts", page(503), nil, "", nil},
		{"503, 404", "503 status 1s | 404 not-retryable", harness.Each(page(503), page(404)), nil, "", nil},
		{"cut, 404", "200 error 1s | 404 not-retryable", harness.Each(cut, page(404)), nil, "", nil},
		{"404", "404 not-retryable", page(404), nil, "", nil},
		{"404, raised", "404 not-retryable", page(404), harness.RaiseForStatus, "", []error{harness.ErrAny}},
		{"503, raised", "503 status 1s | 503 status 1s | 503 attempts", page(503), harness.RaiseForStatus, "", []error{harness.ErrAny}},
	} {
		for _, existing := range []bool{false, true} {
			for _, directory := range []bool{false, true} {
				harness.Bubble(t, fmt.Sprintf("%s, file exists %v, SetOutputDirectory %v", tt.name, existing, directory), func(t *testing.T) {
					opts := []harness.Option{}
					if tt.opt != nil {
						opts = append(opts, tt.opt)
					}
					c := harness.New(t, tt.script, opts...)
					path := filepath.Join(t.TempDir(), "out.txt")
					if existing {
						write(t, path, "before")
					}
					r := c.R().SetOutput(path)
					if directory {
						c.SetOutputDirectory(filepath.Dir(path))
						r.SetOutput(filepath.Base(path))
					}
					call := c.Do(t, r, "GET", "/").Want(t, tt.story, tt.err...)
					got, err := os.ReadFile(path)
					harness.Equal(t, "file", string(got), tt.want)
					if tt.want == "" {
						harness.WantIs(t, err, os.ErrNotExist)
						harness.Equal(t, "response", call.Response.String(), "error page")
					}
				})
			}
		}
	}
	harness.Bubble(t, "a download that is never complete is an error", func(t *testing.T) {
		c := harness.New(t, cut)
		c.Do(t, c.R().SetOutput(filepath.Join(t.TempDir(), "out")), "GET", "/").
			Want(t, "200 error 1s | 200 error 1s | 200 attempts", io.ErrUnexpectedEOF)
	})
	harness.Bubble(t, "no room for the error page", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "out")
		full := readFunc(func([]byte) (int, error) { // as os.File says it
			return 0, &fs.PathError{Op: "write", Path: path, Err: syscall.ENOSPC}
		})
		c := harness.New(t, func(_ int, r *http.Request) (*http.Response, error) {
			body := io.MultiReader(strings.NewReader("part of the page"), full)
			return &http.Response{StatusCode: 404, Request: r, ContentLength: 100, Body: io.NopCloser(body)}, nil
		})
		call := c.Do(t, c.R().SetOutput(path), "GET", "/")
		harness.WantIs(t, call.Err, syscall.ENOSPC)
		_, err := os.Stat(path)
		harness.WantIs(t, err, os.ErrNotExist)
	})
	// Registered before Install, it keeps Install's own from seeing the response.
	for _, status := range []int{404, 503} {
		for _, refused := range []error{errors.New("refused"), &url.Error{Op: "Get", URL: "/schema", Err: fs.ErrNotExist}, &fs.PathError{Op: "open", Path: "schema.json", Err: fs.ErrNotExist}} {
			harness.Bubble(t, "a middleware refuses the error page", func(t *testing.T) {
				c := harness.Mock(page(status))
				c.OnAfterResponse(func(*resty.Client, *resty.Response) error { return refused })
				path := filepath.Join(t.TempDir(), "out")
				call := c.Install(t).Do(t, c.R().SetOutput(path), "GET", "/")
				harness.WantIs(t, call.Err, refused)
				if got, _ := os.ReadFile(path); len(got) > 0 {
					t.Errorf("file: got %q, want nothing", got)
				}
			})
		}
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Error(err)
	}
}

// A file that Resty has not written is the user's, in its bytes and its time, be it
// there before or written meanwhile.
func TestAnOutputThatRestyDoesNotWriteIsLeftAlone(t *testing.T) {
	no := errors.New("no")
	loop := harness.Says(302, "Location: /?again")
	raw := func(_ *harness.Client, r *resty.Request) { r.SetDoNotParseResponse(true) }
	redirectPolicy := func(p resty.RedirectPolicy) func(*harness.Client, *resty.Request) {
		return func(c *harness.Client, _ *resty.Request) { c.SetRedirectPolicy(p) }
	}
	cancelled := func(cause error) func(*harness.Client, *resty.Request) {
		return func(_ *harness.Client, r *resty.Request) {
			ctx, cancel := context.WithCancelCause(r.Context())
			time.AfterFunc(time.Second, func() { cancel(cause) })
			r.SetContext(ctx)
		}
	}
	for _, tt := range []struct {
		name   string
		script harness.Script
		set    func(*harness.Client, *resty.Request)
		raw    string // the body that the caller gets, if it is a raw response
	}{
		{"redirect refused by NoRedirectPolicy", loop, redirectPolicy(resty.NoRedirectPolicy()), ""},
		{"redirect refused by a policy of one's own", loop, redirectPolicy(resty.RedirectPolicyFunc(func(*http.Request, []*http.Request) error { return no })), ""},
		{"redirect to another domain refused", harness.Says(307, "Location: http://other.test/"), redirectPolicy(resty.DomainCheckRedirectPolicy("api.test")), ""},
		{"redirect loop", loop, nil, ""},
		{"redirect loop of Resty's policy", loop, redirectPolicy(resty.FlexibleRedirectPolicy(3)), ""},
		{"redirect to nowhere", harness.Says(302, "Location: http://[broken"), nil, ""},
		{"raw 200", harness.Says(200, "", "page"), raw, "page"},
		{"raw 404", harness.Says(404, "", "page"), raw, "page"},
		{"raw 503", harness.Says(503, "", "page"), raw, "page"},
		{"raw 503 of the client's", harness.Says(503, "", "page"), func(c *harness.Client, _ *resty.Request) { c.SetDoNotParseResponse(true) }, "page"},
		{"response logger that fails", harness.Says(503, "", "page"), func(c *harness.Client, r *resty.Request) {
			r.SetDebug(true)
			c.OnResponseLog(func(*resty.ResponseLog) error { return no })
		}, ""},
		{"response logger that cannot open its file", harness.Says(503, "", "page"), func(c *harness.Client, r *resty.Request) {
			r.SetDebug(true)
			c.OnResponseLog(func(*resty.ResponseLog) error { return &fs.PathError{Op: "open", Path: "log", Err: fs.ErrPermission} })
		}, ""},
		{"connection refused", harness.Fails(syscall.ECONNREFUSED), nil, ""},
		{"connection reset", harness.Fails(syscall.ECONNRESET), nil, ""},
		{"cancelled", harness.Hangs, cancelled(nil), ""},
		{"cancelled with a cause", harness.Hangs, cancelled(no), ""},
		{"timed out", harness.Hangs, func(c *harness.Client, _ *resty.Request) { c.SetTimeout(time.Second) }, ""},
		{"rate limiter", harness.Statuses(200), func(c *harness.Client, _ *resty.Request) { c.SetRateLimiter(harness.Tokens(0)) }, ""},
		{"middleware", harness.Statuses(200), func(c *harness.Client, _ *resty.Request) {
			c.OnBeforeRequest(func(*resty.Client, *resty.Request) error { return no })
		}, ""},
	} {
		send := func(t *testing.T, path string, script harness.Script) *harness.Client {
			t.Helper()
			c := harness.New(t, script)
			r := c.R().SetOutput(path)
			if tt.set != nil {
				tt.set(c, r)
			}
			call := c.Do(t, r, "GET", "/")
			if (call.Err == nil) != (tt.raw != "") {
				t.Errorf("got %v, want an error or a raw response", call.Err)
			}
			if tt.raw != "" {
				got, err := io.ReadAll(call.Response.RawBody())
				harness.Equal(t, "raw body", fmt.Sprint(string(got), err), tt.raw+"<nil>")
			}
			return c
		}
		harness.Bubble(t, tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "out")
			send(t, path, tt.script)
			_, err := os.Stat(path)
			harness.WantIs(t, err, os.ErrNotExist)

			write(t, path, "the user's")
			written := time.Now().Truncate(time.Second)
			if err := os.Chtimes(path, written, written); err != nil {
				t.Fatal(err)
			}
			send(t, path, tt.script)
			if info, err := os.Stat(path); err != nil || !info.ModTime().Equal(written) {
				t.Errorf("got it changed, want it as it was written at %v (%v)", written, err)
			}

			meanwhile := filepath.Join(t.TempDir(), "out")
			c := send(t, meanwhile, func(n int, r *http.Request) (*http.Response, error) {
				write(t, meanwhile, "the user's")
				return tt.script(n, r)
			})
			if len(c.Sent()) == 0 {
				write(t, meanwhile, "the user's")
			}
			for _, path := range []string{path, meanwhile} {
				if got, err := os.ReadFile(path); err != nil || string(got) != "the user's" {
					t.Errorf("got %q, %v in the file, want the user's", got, err)
				}
			}
		})
	}
}

func TestAnOutputOfARawResponseIsLeftAloneByAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "out")
		write(t, path, "the user's")
		c := harness.New(t, harness.Says(503, "Retry-After: 1"), harness.Cooldown(&restyretry.Cooldown{
			Key: func(*url.URL, *resty.Request) string { panic("boom") },
		}))
		call := c.Do(t, c.R().SetOutput(path).SetDoNotParseResponse(true), "GET", "/").WantStory(t, "503 panic")
		harness.Equal(t, "panic", call.Panic, any("boom"))
		if got, err := os.ReadFile(path); string(got) != "the user's" {
			t.Errorf("got %q, %v in the file, want the user's", got, err)
		}
	})
}

// Linux opens the file of a running program for nobody who wants to write to it.
func TestAnOutputThatRestyCannotOpenIsLeftAlone(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only on Linux")
	}
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		c := harness.New(t, harness.Says(404, "", "page"))
		call := c.Do(t, c.R().SetOutput(path), "GET", "/")
		harness.WantIs(t, call.Err, syscall.ETXTBSY)
		if _, err := os.Stat(path); err != nil {
			t.Errorf("got %v, want the file", err)
		}
	})
}

func TestAnOutputThatIsNoPlainFileIsNotRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		directory := t.TempDir()
		file, link := filepath.Join(directory, "file"), filepath.Join(directory, "link")
		if err := os.Symlink(file, link); err != nil {
			t.Skip(err)
		}
		c := harness.New(t, harness.Statuses(404))
		c.Do(t, c.R().SetOutput(link), "GET", "/").Want(t, "404 not-retryable")
		if _, err := os.Lstat(link); err != nil {
			t.Errorf("got %v, want the link", err)
		}
	})
}

func TestWhatA3xxSaysIsNotInTheFile(t *testing.T) {
	c, path := harness.New(t, harness.Says(300, "", "choices")), filepath.Join(t.TempDir(), "out")
	call := c.Do(t, c.R().SetOutput(path), "GET", "/").Want(t, "300 succeeded")
	harness.Equal(t, "body", call.Response.String(), "choices")
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want no file", err)
	}
}
