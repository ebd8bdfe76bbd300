package results

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

func TestAnOutputFileMayBeSetByOnAttempt(t *testing.T) {
	harness.Bubble(t, "of a request that fails", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "file")
		c := harness.New(t, harness.Each(harness.Fails(io.ErrUnexpectedEOF), harness.Says(404, "", "missing")),
			harness.OnAttempt(func(a restyretry.Attempt) error { a.Request.SetOutput(path); return nil }))
		call := c.Get(t, "/x").Want(t, "error error 1s | 404 not-retryable")
		harness.Equal(t, "body", call.Response.String(), "missing")
	})
}

// A slow body takes a while.
type slow struct {
	io.Reader
	wait time.Duration
}

func (s *slow) Read(p []byte) (int, error) {
	time.Sleep(s.wait)
	s.wait = 0
	return s.Reader.Read(p)
}

func TestTookHasTheTimeToSaveAFile(t *testing.T) {
	for name, set := range map[string]func(*harness.Client, *resty.Request, string){
		"of the request": func(_ *harness.Client, r *resty.Request, path string) { r.SetOutput(path) },
		"of a middleware after Install": func(c *harness.Client, _ *resty.Request, path string) {
			c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error { r.SetOutput(path); return nil })
		},
	} {
		harness.Bubble(t, name, func(t *testing.T) {
			c := harness.New(t, func(n int, r *http.Request) (*http.Response, error) {
				resp, err := harness.Statuses(503, 200)(n, r)
				resp.Body = io.NopCloser(&slow{strings.NewReader("text"), time.Duration(n) * time.Second})
				return resp, err
			})
			r := c.R()
			set(c, r, filepath.Join(t.TempDir(), "file"))
			call := c.Do(t, r, "GET", "/x").Want(t, "503 status 1s | 200 succeeded")
			harness.Equal(t, "first", call.History[0].Took, time.Second)
			harness.Equal(t, "second", call.History[1].Took, 2*time.Second)
		})
	}
}

type embedded struct{ Details map[string]string }

func TestADecodedErrorHasNothingOfEarlierAttempts(t *testing.T) {
	harness.Bubble(t, "in an embedded struct", func(t *testing.T) {
		c := harness.New(t, harness.Each(harness.JSON(503, `{"Details":{"a":"1"}}`), harness.JSON(503, `{"Details":{"b":"1"}}`)), harness.Attempts(2))
		failure := &struct{ embedded }{embedded{map[string]string{"given": "1"}}}
		c.Do(t, c.R().SetError(failure), "GET", "/x").Want(t, "503 status 1s | 503 attempts")
		harness.Equal(t, "details", strings.Join(slices.Sorted(maps.Keys(failure.Details)), " "), "b given")
	})
}

// A middleware may take the raw body out of a response; the error is its own.
func TestAResponseWithoutABodyIsNotClosed(t *testing.T) {
	harness.Bubble(t, "which a middleware has taken out", func(t *testing.T) {
		errNo, c := errors.New("refused"), harness.New(t, harness.Statuses(200))
		c.OnAfterResponse(func(_ *resty.Client, resp *resty.Response) error {
			resp.RawResponse.Body = nil
			return errNo
		})
		c.Get(t, "/x").Want(t, "200 not-retryable", errNo)
	})
}
