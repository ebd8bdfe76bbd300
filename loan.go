package restyretry

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// A loan is memory of the caller's that readers are out for. The caller may
// write to it when Execute has returned, but a transport may still be sending
// then, if the server has answered before it had read everything.
type loan struct {
	mu      sync.Mutex
	readers []*loanReader
}

// reader lends the memory once more.
func (l *loan) reader(from bytes.Reader) io.ReadCloser {
	r := &loanReader{from: from, back: make(chan struct{})}
	l.mu.Lock()
	l.readers = append(l.readers, r)
	l.mu.Unlock()
	return r
}

// recall waits until no transport reads any more. Of a request that is over it
// closes the connection, or the stream; after a while this must have happened.
func (l *loan) recall() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.readers {
		r.recall()
	}
	l.readers = nil
}

// recallTime is longer than net/http waits for the end of a body that is being
// sent before it closes the connection (50 ms).
const recallTime = 250 * time.Millisecond

// A loanReader is given back at its end, or when it is closed: at the latest
// when the reading that is under way is over.
type loanReader struct {
	from bytes.Reader
	back chan struct{} // closed when it is given back

	mu   sync.Mutex
	lent bool // it has been read
	busy bool // it is being read
	done bool // it must not be read any more
}

// recall gives back a reader that nobody has begun, and waits for others.
func (r *loanReader) recall() {
	r.mu.Lock()
	if !r.lent && !r.done {
		r.done = true
		close(r.back)
	}
	r.mu.Unlock()
	select {
	case <-r.back:
		return
	default:
	}
	patience := time.NewTimer(recallTime)
	defer patience.Stop()
	select {
	case <-r.back:
	case <-patience.C:
	}
}

// begin returns an error if the memory must not be read.
func (r *loanReader) begin() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.from.Len() == 0:
		return io.EOF
	case r.done:
		return errStaleReader
	default:
		r.lent, r.busy = true, true
		return nil
	}
}

// end gives the reader back if it is at its end, or was closed meanwhile.
func (r *loanReader) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy = false
	if r.done {
		close(r.back)
	} else if r.from.Len() == 0 {
		r.done = true
		close(r.back)
	}
}

func (r *loanReader) Read(p []byte) (int, error) {
	if err := r.begin(); err != nil {
		return 0, err
	}
	defer r.end()
	return r.from.Read(p)
}

// WriteTo saves io.Copy a buffer.
func (r *loanReader) WriteTo(w io.Writer) (int64, error) {
	if err := r.begin(); err == io.EOF {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	defer r.end()
	return r.from.WriteTo(w)
}

func (r *loanReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.done {
		r.done = true
		if !r.busy {
			close(r.back)
		}
	}
	return nil
}
