package replay

import (
	"io"
	"math"
	"sync"
)

// A recording is what has been read from a one-shot reader, so that other readers
// can read it from the start. One reader at a time reads on where it ends.
//
// The body's mutex guards the fields below turn.
type recording struct {
	from io.Reader
	turn sync.Mutex // held while from is read, which may block

	limit int64
	kept  []byte // all that has been read, unless the body is lost
	read  int64  // how many bytes have been read
	end   error  // how from ended: io.EOF or an *Error
	past  bool   // the body is longer than limit, and kept was dropped
}

func record(from io.Reader, limit int64) *Body {
	rec := &recording{from: from, limit: limit}
	b := &Body{size: -1, recording: rec, reader: func(u user) io.ReadCloser {
		return &recordingReader{user: u, recording: rec}
	}}
	b.closer, _ = from.(io.Closer)
	return b
}

func (b *Body) readAll() error {
	r, err := b.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	b.mu.Lock()
	b.recording.limit = math.MaxInt64
	b.mu.Unlock()
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.size = b.recording.read
	return nil
}

type recordingReader struct {
	user
	*recording
	at int64
}

func (r *recordingReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := r.enter(); err != nil {
		return 0, err
	}
	defer r.exit()
	if n, err := r.replay(p); n > 0 || err != nil {
		return n, err
	}
	r.turn.Lock()
	defer r.turn.Unlock()
	if n, err := r.replay(p); n > 0 || err != nil { // another reader has read on meanwhile
		return n, err
	}
	return r.fetch(p)
}

// replay reads what has been recorded. It returns 0 and nil if all of that has been
// read and the source may have more.
func (r *recordingReader) replay(p []byte) (int, error) {
	r.body.mu.Lock()
	defer r.body.mu.Unlock()
	switch err := r.gone(); {
	case err != nil:
		return 0, err
	case r.at == r.read:
		r.leaveAtEnd()
		return 0, r.end
	case r.past:
		return 0, ErrLost
	}
	n := copy(p, r.kept[r.at:])
	r.at += int64(n)
	r.leaveAtEnd()
	return n, nil
}

func (r *recordingReader) leaveAtEnd() {
	if r.end != nil && r.at == r.read {
		r.leave()
	}
}

// fetch reads on from the source, where the recording ends. The caller holds turn.
func (r *recordingReader) fetch(p []byte) (n int, err error) {
	err = ErrLost // should the caller's reader panic
	defer func() { err = r.record(p[:n], err) }()
	n, err = r.from.Read(p)
	return n, err
}

// record appends p to the recording, and err as its end. It returns the error that
// Read returns.
func (r *recordingReader) record(p []byte, err error) error {
	r.body.mu.Lock()
	defer r.body.mu.Unlock()
	r.keepBytes(p)
	if err != nil {
		r.keepEnd(err)
	}
	r.leaveAtEnd()
	return r.end
}

// keepBytes appends p to the recording, or drops the recording if it gets past the
// limit. If the reader is gone meanwhile, p is recorded even beyond the limit, or it
// would be lost: nobody gets it from this Read.
func (r *recordingReader) keepBytes(p []byte) {
	r.read += int64(len(p))
	r.at = r.read
	switch {
	case r.past:
	case r.read > r.limit && r.gone() == nil:
		r.past, r.kept = true, nil
		r.body.lost = ErrLost
	default:
		r.kept = append(r.kept, p...)
	}
}

func (r *recordingReader) keepEnd(err error) {
	if err == io.EOF {
		r.end = io.EOF
		return
	}
	if _, ok := err.(*Error); !ok {
		err = &Error{err}
	}
	r.end = err
	if r.body.lost == nil {
		r.body.lost = err
	}
}
