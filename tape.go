package restyretry

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// A tape records a reader while it is read for the first time, so that it can
// be read again from the start. Of several readers only the newest gets
// anything. Past its limit it records nothing more, and can then be read by the
// reader that got so far alone.
type tape struct {
	source io.Reader
	limit  int64

	mu   sync.Mutex // held while the source is read, which may take its time
	kept []byte
	end  error // the source's

	newest   atomic.Pointer[tapeReader]
	lost     atomic.Bool // not all that was read is in kept
	finished atomic.Bool
	closing  sync.Once
}

var (
	errStaleReader = errors.New("restyretry: the body is being sent by a later attempt")
	errBodyLost    = errors.New("restyretry: the body cannot be sent again: it is longer than MaxReplay, or could not be read")
)

func (t *tape) open() (io.ReadCloser, error) {
	if !t.replayable() {
		return nil, errBodyLost
	}
	r := &tapeReader{tape: t}
	t.newest.Store(r)
	return r, nil
}

func (t *tape) replayable() bool { return !t.lost.Load() }

// finish closes the source, as net/http does with a body, but not before the
// transport has let go of it.
func (t *tape) finish() {
	t.finished.Store(true)
	if newest := t.newest.Load(); newest == nil || newest.closed.Load() {
		t.close()
	}
}

func (t *tape) close() {
	t.closing.Do(func() {
		if c, ok := t.source.(io.Closer); ok {
			_ = c.Close()
		}
	})
}

// record keeps what has been read. A reader that is not the newest any more
// reads for the newest, which must not miss it.
func (t *tape) record(p []byte, err error, newest bool) {
	if err != nil {
		t.end = err
		if err != io.EOF {
			t.lost.Store(true)
		}
	}
	switch {
	case t.lost.Load():
	case newest && int64(len(t.kept)+len(p)) > t.limit:
		t.lost.Store(true)
		t.kept = nil
	default:
		t.kept = append(t.kept, p...)
	}
}

type tapeReader struct {
	tape   *tape
	at     int
	closed atomic.Bool
}

func (r *tapeReader) Read(p []byte) (int, error) {
	t := r.tape
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.newest.Load() != r || r.closed.Load():
		return 0, errStaleReader
	case r.at < len(t.kept):
		n := copy(p, t.kept[r.at:])
		r.at += n
		return n, nil
	case t.end != nil:
		return 0, t.end
	}
	n, err := t.source.Read(p)
	t.record(p[:n], err, t.newest.Load() == r)
	r.at += n
	return n, err
}

func (r *tapeReader) Close() error {
	r.closed.Store(true)
	if t := r.tape; t.finished.Load() && t.newest.Load() == r {
		t.close()
	}
	return nil
}
