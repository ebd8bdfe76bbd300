// Package replay gives any number of readers of one request body, so that a
// request can be sent more than once, and its body read more than once while it
// is sent.
//
// Nothing is ever rewound. Every reader has a place of its own, because a
// transport may still be sending the body of an attempt whose response came
// early.
package replay

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
)

// A Body is what every attempt of a request sends. Begin comes before each
// attempt, Finish after the last one. All methods may be called concurrently.
type Body struct {
	reader    func(user) io.ReadCloser // a reader of the whole
	recording *recording               // of a one-shot reader, or nil

	mu       sync.Mutex // guards what is below; not held while the caller's code runs
	size     int64      // -1: unknown
	lost     error      // why the body cannot be read in full any more, or nil
	finished bool
	closed   bool          // the source
	closer   io.Closer     // the source, until it is closed; or nil
	open     int           // readers that may still need the source
	reading  int           // calls of Read that are under way
	attempt  int           // of a one-shot reader; see Begin
	lent     []*lentReader // readers of the caller's memory; see Finish
}

// Of returns the body for v. It returns nil if v is not an io.Reader, []byte or
// string, or says that there is no body: http.NoBody and a nil []byte.
//
// A v that implements both io.ReaderAt and io.Seeker is read by ReadAt, from where
// it stands to its end; its Read method is not called, even if that changes the
// bytes. If its length is unknown, as of a pipe or a file below /proc, and for any
// other io.Reader, v is a one-shot reader: up to limit bytes of it are recorded
// while it is read.
func Of(v any, limit int64) *Body {
	switch v := v.(type) {
	case []byte:
		if v == nil {
			return nil
		}
		return memory(*bytes.NewReader(v))
	case *bytes.Buffer:
		return memory(*bytes.NewReader(v.Bytes()))
	case *bytes.Reader:
		return memory(*v) // a copy: the caller may read on
	case string:
		return text(*strings.NewReader(v))
	case *strings.Reader:
		return text(*v)
	case io.Reader:
		if v == http.NoBody {
			return nil
		}
		if b := section(v); b != nil {
			return b
		}
		return record(v, limit)
	default:
		return nil
	}
}

// Begin begins an attempt, also the first one of a request that is sent again
// after Finish. If the source is a one-shot reader, readers of earlier attempts
// fail from now on, so that a transport that still sends one of them cannot push
// the recording past its limit; a Read of theirs that is under way ends first, and
// loses nothing. Readers of other sources go on undisturbed.
func (b *Body) Begin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.finished = false
	if b.OneShot() {
		b.attempt++
		b.open = 0
	}
}

// Open returns one more reader of the whole body. Any number may be open, and be
// read in any order, concurrently, or not at all.
//
// If the source is a one-shot reader and longer than the limit, the first reader
// that gets past the limit goes on to the end. The others fail with ErrLost, and
// so does Open. After Finish, Open fails.
func (b *Body) Open() (io.ReadCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.finished:
		return nil, errFinished
	case b.lost != nil:
		return nil, b.lost
	case b.size == 0:
		return http.NoBody, nil // with any other reader, net/http would send it in chunks
	default:
		return b.reader(user{body: b, attempt: b.attempt}), nil
	}
}

// Size returns the length of the body in bytes, or -1: that of a one-shot reader is
// unknown until ReadAll.
func (b *Body) Size() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.size
}

// OneShot reports whether the body comes from a reader that can be read only once.
func (b *Body) OneShot() bool { return b.recording != nil }

// Replayable reports whether the body can be sent once more, in full.
func (b *Body) Replayable() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lost == nil
}

// ReadAll records the whole of a one-shot reader, whatever its limit. Its size is
// known afterwards. For other bodies it does nothing.
func (b *Body) ReadAll() error {
	if !b.OneShot() {
		return nil
	}
	return b.readAll()
}

// Finish ends the request. From now on the caller may write to memory that the
// body was made of: a reader that is neither closed nor at its end keeps a copy of
// the bytes as they are now. Readers of other sources go on. A source that
// implements io.Closer is closed, once, as soon as every reader that has been read
// from is closed or at its end. Finish does not wait for that.
func (b *Body) Finish() {
	b.mu.Lock()
	defer b.unlock()
	b.finished = true
	keep(b.lent)
	b.lent = nil
}

// An Error says that the body could not be read: sending it failed on this side,
// and would fail again.
type Error struct{ Err error }

func (e *Error) Error() string { return "request body: " + e.Err.Error() }

// Unwrap returns the cause, such as the error of the caller's reader.
func (e *Error) Unwrap() error { return e.Err }

// Transient reports false: the next attempt would fail in the same way.
func (e *Error) Transient() bool { return false }

// ErrLost is the error of a body whose source has been read or closed, and whose
// bytes are not recorded.
var ErrLost error = &Error{errors.New("cannot be sent again: it was not recorded in full")}

var (
	errStale    error = &Error{errors.New("a later attempt is being sent")}
	errClosed   error = &Error{http.ErrBodyReadAfterClose}
	errFinished error = &Error{errors.New("the request is over")}
)
