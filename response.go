package restyretry

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/go-resty/resty/v2"
)

// What is read of a response that nobody will see, so that its connection can
// be used again. Past that a new connection costs less.
const (
	drainBytes = 64 << 10
	drainTime  = 50 * time.Millisecond
)

// discard lets go of a response that is not the last. What has been read of it
// can be read again, for a hook, for the history, and for the caller if it
// becomes the last after all. Of a response that Resty has read already (parsed),
// nothing is left to read, and closing it once more does nothing.
func discard(resp *resty.Response, parsed bool) {
	raw := resp.RawResponse
	if raw == nil || raw.Body == nil {
		return
	}
	from := raw.Body
	defer from.Close()
	if parsed || len(resp.Body()) > 0 || from == http.NoBody {
		return
	}
	late := time.AfterFunc(drainTime, func() { _ = from.Close() })
	defer late.Stop()
	head, err := io.ReadAll(io.LimitReader(from, drainBytes))
	switch {
	case len(head) == drainBytes:
		err = errDiscarded
	case err == nil:
		err = io.EOF
	case len(head) == 0:
		return // closed
	}
	raw.Body = io.NopCloser(io.MultiReader(bytes.NewReader(head), failing{err}))
}

var errDiscarded = errors.New("restyretry: the rest of this response was discarded for a retry")

// failing is a reader of nothing but an error.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// results are the request's Result and Error as they were before the first
// attempt. Resty decodes every attempt into the same two values, and forgets
// the second after a 2xx.
type results struct {
	result, failure any
	saved           map[any]reflect.Value // what is behind the pointers in them
}

// takeResults saves what a decoder may write to: the Error, and the Result if a
// success may be repeated.
func takeResults(r *resty.Request, repeatsSuccess bool) *results {
	s := &results{result: r.Result, failure: r.Error, saved: make(map[any]reflect.Value)}
	s.copied(reflect.ValueOf(r.Error))
	if repeatsSuccess {
		s.copied(reflect.ValueOf(r.Result))
	}
	return s
}

// restore makes both as they were. Without any, the error that Resty has made
// of the client's error type goes.
func (s *results) restore(r *resty.Request) {
	if s == nil {
		r.Error = nil
		return
	}
	r.Result, r.Error = s.result, s.failure
	for pointer, value := range s.saved {
		reflect.ValueOf(pointer).Elem().Set(s.copied(value))
	}
}

// copied returns v with maps and slices of its own. Pointers stay the same, and
// what is behind them is saved.
func (s *results) copied(v reflect.Value) reflect.Value {
	if !v.IsValid() {
		return v
	}
	own := reflect.New(v.Type()).Elem()
	own.Set(v)
	switch v.Kind() {
	case reflect.Pointer:
		s.save(v)
	case reflect.Interface:
		if !v.IsNil() {
			own.Set(s.copied(v.Elem()))
		}
	case reflect.Map:
		s.copyMap(own, v)
	case reflect.Slice:
		if !v.IsNil() {
			own.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		}
		s.copyElements(own, v)
	case reflect.Array:
		s.copyElements(own, v)
	case reflect.Struct:
		s.copyFields(own, v)
	}
	return own
}

func (s *results) save(pointer reflect.Value) {
	if pointer.IsNil() || !pointer.CanInterface() {
		return
	}
	if _, known := s.saved[pointer.Interface()]; known {
		return
	}
	s.saved[pointer.Interface()] = reflect.Value{} // a ring of pointers ends here
	s.saved[pointer.Interface()] = s.copied(pointer.Elem())
}

func (s *results) copyMap(own, v reflect.Value) {
	if v.IsNil() {
		return
	}
	own.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
	for at := v.MapRange(); at.Next(); {
		own.SetMapIndex(at.Key(), s.copied(at.Value()))
	}
}

func (s *results) copyElements(own, v reflect.Value) {
	for i := range v.Len() {
		own.Index(i).Set(s.copied(v.Index(i)))
	}
}

// copyFields leaves alone what decoders do.
func (s *results) copyFields(own, v reflect.Value) {
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		if own.Field(i).CanSet() && (tag.Get("json") != "-" || tag.Get("xml") != "-" && tag.Get("xml") != "") {
			own.Field(i).Set(s.copied(v.Field(i)))
		}
	}
}

// takeBackOutput undoes SetOutput for a response that is not the download: the
// file that Resty has written is read into the response, up to a limit, and
// removed. What was in the file before the attempt is lost; Resty empties it
// before anybody is asked.
func takeBackOutput(resp *resty.Response) {
	path := outputOf(resp.Request)
	if path == "" || resp.StatusCode() < http.StatusMultipleChoices {
		return
	}
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return // a device or a link: not ours to remove
	}
	resp.SetBody(headOf(path))
	_ = os.Remove(path)
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

// outputOf is the path of the file that Resty saves a response into, or "".
func outputOf(r *resty.Request) string {
	if !savesField.of(r) {
		return ""
	}
	path := outputField.of(r)
	if dir := directoryField.of(clientField.of(r)); dir != "" && !filepath.IsAbs(path) {
		path = dir + string(filepath.Separator) + path
	}
	return filepath.Clean(path)
}
