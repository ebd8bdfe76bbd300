package replay

import (
	"bytes"
	"io"
	"strings"
)

// text returns the body of a string. Nobody can write to it, so its readers need
// neither a lock nor a copy.
func text(from strings.Reader) *Body {
	return &Body{size: int64(from.Len()), reader: func(user) io.ReadCloser {
		own := from
		return io.NopCloser(&own)
	}}
}

// smallBody is the longest body whose readers are a plain *bytes.Reader over a copy.
// net/http recognizes that type, and sends a short body in one write with the header.
const smallBody = 4 << 10

// memory returns a body that reads the caller's memory. The caller may write to it
// after Finish, so Finish gives a copy to the readers that are not at their end. Each
// reader of a small body has a copy from the start.
func memory(from bytes.Reader) *Body {
	size := from.Len()
	return &Body{size: int64(size), reader: func(u user) io.ReadCloser {
		if size <= smallBody {
			return io.NopCloser(bytes.NewReader(rest(from)))
		}
		r := &lentReader{user: u, from: from}
		r.body.lent = append(r.body.lent, r)
		return r
	}}
}

// rest returns a copy of what from has still to read.
func rest(from bytes.Reader) []byte {
	own := make([]byte, from.Len())
	_, _ = from.Read(own)
	return own
}

// A lentReader reads the caller's memory, or after Finish a copy of its rest.
type lentReader struct {
	user
	from bytes.Reader
}

func (r *lentReader) Read(p []byte) (int, error) {
	r.body.mu.Lock() // for no longer than it takes to copy
	defer r.body.mu.Unlock()
	if err := r.gone(); err != nil {
		return 0, err
	}
	n, err := r.from.Read(p)
	if r.from.Len() == 0 {
		r.leave()
	}
	return n, err
}

// keep gives readers of the same memory a copy of what they have still to read.
// They share one copy, because each of them needs a tail of it. The caller holds
// the body's mutex.
func keep(readers []*lentReader) {
	var longest bytes.Reader
	for _, r := range readers {
		if !r.left && r.from.Len() > longest.Len() {
			longest = r.from
		}
	}
	own := rest(longest)
	for _, r := range readers {
		tail := own[:0]
		if !r.left {
			tail = own[len(own)-r.from.Len():]
		}
		r.from = *bytes.NewReader(tail)
	}
}
