package restyretry

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
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
	r := &loanReader{from: from, returned: make(chan struct{})}
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
		if !r.started.Load() {
			r.giveBack()
			continue
		}
		select {
		case <-r.returned:
			continue
		default:
		}
		patience := time.NewTimer(recallTime)
		select {
		case <-r.returned:
		case <-patience.C:
		}
		patience.Stop()
	}
	l.readers = nil
}

// recallTime is longer than net/http waits for the end of a body that is being
// sent before it closes the connection (50 ms).
const recallTime = 250 * time.Millisecond

// A loanReader is given back at its end, or when it is closed.
type loanReader struct {
	from     bytes.Reader
	started  atomic.Bool
	once     sync.Once
	returned chan struct{}
}

func (r *loanReader) giveBack() { r.once.Do(func() { close(r.returned) }) }

func (r *loanReader) Read(p []byte) (int, error) {
	if !r.begin() {
		return 0, errStaleReader
	}
	n, err := r.from.Read(p)
	if err != nil || r.from.Len() == 0 {
		r.giveBack()
	}
	return n, err
}

// WriteTo saves io.Copy a buffer.
func (r *loanReader) WriteTo(w io.Writer) (int64, error) {
	if !r.begin() {
		return 0, errStaleReader
	}
	defer r.giveBack()
	return r.from.WriteTo(w)
}

// begin reports whether the reader may be read.
func (r *loanReader) begin() bool {
	if r.started.Load() {
		return true
	}
	r.started.Store(true)
	select {
	case <-r.returned: // before it was begun
		return false
	default:
		return true
	}
}

func (r *loanReader) Close() error {
	r.giveBack()
	return nil
}
