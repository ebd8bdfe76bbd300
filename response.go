package restyretry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry/internal/restyfields"
)

// What is read of a response that nobody will see, so that its connection can
// be used again. Past that a new connection costs less.
const (
	drainBytes = 64 << 10
	drainTime  = 50 * time.Millisecond
)

// discard lets go of a response that is not the last. What has been read of it
// can be read again, for a hook, for the history, and for the caller if it
// becomes the last after all. Of a response that Resty has read already,
// nothing is left to read, and closing it once more does nothing.
//
// It takes no longer than drainTime, even where Close does not end a Read.
func discard(ctx context.Context, resp *resty.Response, read bool) {
	raw := resp.RawResponse
	if raw == nil || raw.Body == nil {
		return
	}
	if read || len(resp.Body()) > 0 || raw.Body == http.NoBody {
		_ = raw.Body.Close()
		return
	}
	limited, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	d := &drain{done: make(chan struct{})}
	go d.run(raw.Body)
	select {
	case <-d.done:
	case <-limited.Done():
		d.abandon(raw.Body)
	}
	raw.Body = d.rest()
}

// closeRaw closes the body of a response, if there is one.
func closeRaw(resp *resty.Response) {
	if resp != nil && resp.RawResponse != nil && resp.RawResponse.Body != nil {
		_ = resp.RawResponse.Body.Close()
	}
}

// A drain reads the beginning of a body that nobody else wants.
type drain struct {
	done chan struct{}

	mu   sync.Mutex
	head []byte
	err  error // why it reads no further
}

// run reads until the end, the limit or an error, or until rest is called, and
// closes the body.
func (d *drain) run(from io.ReadCloser) {
	defer close(d.done)
	defer from.Close()
	buffer := make([]byte, 4<<10)
	for d.goesOn() {
		n, err := from.Read(buffer)
		if n == 0 && err == nil {
			err = io.ErrNoProgress
		}
		d.keep(buffer[:n], err)
	}
}

func (d *drain) goesOn() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err == nil
}

func (d *drain) keep(p []byte, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return // given up meanwhile
	}
	d.head = append(d.head, p...)
	if d.err = err; err == nil && len(d.head) >= drainBytes {
		d.err = errDiscarded
	}
}

// abandon ends a drain that takes too long, unless it is over by now.
func (d *drain) abandon(from io.Closer) {
	select {
	case <-d.done:
	default:
		go from.Close()
	}
}

// rest is a body of what has been read until now. It ends the drain.
func (d *drain) rest() io.ReadCloser {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		d.err = errDiscarded
	}
	return io.NopCloser(io.MultiReader(bytes.NewReader(d.head), failing{d.err}))
}

var errDiscarded = errors.New("restyretry: the rest of this response was discarded for a retry")

// failing is a reader of nothing but an error.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// takeBackOutput undoes SetOutput for a response that is not the download: the
// file that Resty has written is read into the response, up to a limit, and
// removed. What was in the file before the attempt is lost, since Resty empties it
// before anybody is asked. A file that Resty has not written stays as it is.
func (c *call) takeBackOutput(resp *resty.Response, written bool) {
	if resp.StatusCode() < http.StatusMultipleChoices {
		return
	}
	path := restyfields.Output(c.client, c.request)
	if path == "" {
		return
	}
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return // a device or a link: not ours to remove
	}
	if !written && !c.hasWritten(resp, path) {
		return
	}
	resp.SetBody(headOf(path))
	_ = os.Remove(path)
}

// isSaved reports whether Resty has read a response into a file. It has not if the body
// of a success is in memory; that of another response may have been taken back.
func (c *call) isSaved(resp *resty.Response, err error) bool {
	mayBe := err != nil || resp.StatusCode() >= http.StatusMultipleChoices || len(resp.Body()) == 0
	return mayBe && restyfields.Saves(c.request)
}

// hasWritten reports whether Resty has written the file of SetOutput before it
// failed. It writes none for a raw response, nor where net/http has failed or the
// file could not be opened; a debug log may fail before it does.
func (c *call) hasWritten(resp *resty.Response, path string) bool {
	err := c.current.err
	if err == nil || isRefusedRedirect(resp, err) || c.request.Debug {
		return false
	}
	file, ok := err.(*fs.PathError)
	return !ok || file.Op != "open" || file.Path != path
}

// headOf returns the first bytes of a file.
func headOf(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	head, _ := io.ReadAll(io.LimitReader(f, drainBytes))
	return head
}

// isPartial reports whether err came before the response was there in full.
// Resty knows the size of a body only when it has read it to its end; what
// fails after that is decoding or an OnAfterResponse. A bare io.EOF is from
// decoding an empty body, since readers of bodies have io.ErrUnexpectedEOF.
func isPartial(resp *resty.Response, err error) bool {
	if err == nil || resp == nil || resp.RawResponse == nil {
		return err != nil
	}
	return resp.Size() == 0 && err != io.EOF && !isBodyless(resp)
}

// isBodyless reports whether a response ends with its header.
func isBodyless(resp *resty.Response) bool {
	status := resp.StatusCode()
	return resp.RawResponse.ContentLength == 0 || status == http.StatusNoContent ||
		status == http.StatusNotModified || resp.Request.Method == http.MethodHead
}

// isRefusedRedirect reports whether err is that of a redirect which a policy refused, or
// net/http itself after ten. Only then net/http returns a response together with its
// own error.
func isRefusedRedirect(resp *resty.Response, err error) bool {
	_, own := err.(*url.Error)
	return own && resp != nil && resp.StatusCode()/100 == 3 && resp.Header().Get("Location") != ""
}

// A redirectError is the error of a redirect that net/http did not follow.
type redirectError struct{ error }

func (e redirectError) Unwrap() error { return e.error }

// Transient says that the same redirect would be refused again.
func (redirectError) Transient() bool { return false }

// asRedirect marks the error of a redirect.
func asRedirect(resp *resty.Response, err error) error {
	if isRefusedRedirect(resp, err) {
		return redirectError{err}
	}
	return err
}
