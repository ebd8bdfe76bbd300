package replay

import "io"

// section returns the body of a file, or of anything else that implements
// io.ReaderAt and io.Seeker, from where it stands to its end. It returns nil if v is
// nothing of the kind, or if its length is 0 or unknown.
func section(v io.Reader) *Body {
	at, ok := v.(interface {
		io.ReaderAt
		io.Seeker
	})
	if !ok {
		return nil
	}
	start, end, err := bounds(at)
	if err != nil || end <= start {
		return nil
	}
	b := &Body{size: end - start, reader: func(u user) io.ReadCloser {
		return &sectionReader{user: u, from: at, at: start, end: end}
	}}
	b.closer, _ = v.(io.Closer)
	return b
}

// bounds returns where s stands and where it ends.
func bounds(s io.Seeker) (start, end int64, err error) {
	if start, err = s.Seek(0, io.SeekCurrent); err != nil {
		return 0, 0, err
	}
	end, err = s.Seek(0, io.SeekEnd)
	if _, back := s.Seek(start, io.SeekStart); back != nil {
		return 0, 0, back
	}
	return start, end, err
}

type sectionReader struct {
	user
	from    io.ReaderAt
	at, end int64 // at is guarded by the body's mutex
}

func (r *sectionReader) Read(p []byte) (n int, err error) {
	if err := r.enter(); err != nil {
		return 0, err
	}
	defer r.exit()
	at, err := r.place()
	if err != nil {
		return 0, err
	}
	p = p[:min(int64(len(p)), r.end-at)]
	n, err = r.from.ReadAt(p, at)
	r.advance(n)
	switch {
	case n == len(p) || err == nil:
		return n, nil
	case err == io.EOF:
		err = io.ErrUnexpectedEOF // it has become shorter
	}
	return n, &Error{err}
}

func (r *sectionReader) place() (int64, error) {
	r.body.mu.Lock()
	defer r.body.mu.Unlock()
	if err := r.gone(); err != nil {
		return 0, err
	}
	if r.at == r.end {
		return 0, io.EOF
	}
	return r.at, nil
}

func (r *sectionReader) advance(n int) {
	r.body.mu.Lock()
	defer r.body.mu.Unlock()
	r.at += int64(n)
	if r.at == r.end {
		r.leave()
	}
}
