package replay_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/restyretry/restyretry/internal/harness"
	"github.com/restyretry/restyretry/internal/replay"
)

var errBroken = errors.New("broken")

type sourceKind byte

const (
	lent    sourceKind = iota // the caller's memory
	section                   // can be read at several places at once, as a file can
	stream
	broken // a stream that fails at its end
)

// A source gives few bytes at once. It reports a use that it must not get: two
// Reads of a stream at once, a ReadAt after or during Close, or a second Close.
type source struct {
	t       testing.TB
	from    io.Reader
	chunk   int
	end     error
	reading atomic.Int32
	closes  atomic.Int32
}

func (s *source) Read(p []byte) (int, error) {
	if s.reading.Add(1) > 1 {
		s.t.Error("read by two at once")
	}
	defer s.reading.Add(-1)
	n, err := s.from.Read(p[:min(len(p), s.chunk)])
	if err == io.EOF {
		err = s.end
	}
	return n, err
}

func (s *source) Close() error {
	if s.closes.Add(1) > 1 {
		s.t.Error("closed twice")
	}
	return nil
}

type sectionSource struct {
	*source
	at *io.SectionReader
}

func (s sectionSource) Seek(offset int64, whence int) (int64, error) {
	return s.at.Seek(offset, whence)
}

func (s sectionSource) ReadAt(p []byte, at int64) (int, error) {
	defer func() {
		if s.closes.Load() > 0 {
			s.t.Error("read after Close, or closed during a Read")
		}
	}()
	return s.at.ReadAt(p, at)
}

// newSource returns a source that has to be closed, and how often it was.
func newSource(t testing.TB, kind sourceKind, content string, chunk int, end error) (any, *atomic.Int32) {
	s := &source{t: t, from: strings.NewReader(content), chunk: chunk, end: end}
	if kind == section {
		return sectionSource{s, io.NewSectionReader(strings.NewReader(content), 0, int64(len(content)))}, &s.closes
	}
	return s, &s.closes
}

// A model says in the plainest way what a Body does, one call after the other.
type model struct {
	t       *testing.T
	content string
	stream  bool
	memory  []byte // lent, or nil
	limit   int
	end     error // how the stream ends

	b       *replay.Body
	closes  *atomic.Int32 // nil: nothing to close
	readers []*modelReader

	read     int // of the stream
	ended    bool
	past     bool
	known    bool // the size
	attempt  int
	finished bool
	written  bool // the caller has written to their memory
	closed   bool
}

type modelReader struct {
	own                  io.ReadCloser
	at, attempt          int
	joined, closed, left bool
}

func newModel(t *testing.T, kind sourceKind, chunk, limit byte, content string) *model {
	m := &model{t: t, content: content, limit: int(limit), end: io.EOF, stream: kind >= stream, known: kind < stream}
	if kind == broken {
		m.end = errBroken
	}
	if kind == lent {
		m.content = strings.Repeat(content, 1+5000/len(content)) // more than is copied
		m.memory = []byte(m.content)
		m.b = replay.Of(m.memory, int64(limit))
		return m
	}
	var v any
	v, m.closes = newSource(t, kind, content, 1+int(chunk), m.end)
	m.b = replay.Of(v, int64(limit))
	return m
}

// lost is the error of Open, but for that after Finish.
func (m *model) lost() error {
	switch {
	case m.past:
		return replay.ErrLost
	case m.ended && m.end != io.EOF:
		return m.end
	case m.closed && !(m.stream && m.ended): // a closed file cannot be read again
		return replay.ErrLost
	default:
		return nil
	}
}

func (m *model) open() {
	r, err := m.b.Open()
	switch want := m.lost(); {
	case m.finished:
		if err == nil {
			m.t.Fatal("got a reader after Finish")
		}
	case want != nil:
		harness.WantIs(m.t, err, want)
	case err != nil:
		m.t.Fatalf("Open: %v", err)
	default:
		m.readers = append(m.readers, &modelReader{own: r, attempt: m.attempt})
	}
}

func (m *model) readFrom(r *modelReader, most int) {
	p := make([]byte, most)
	n, err := r.own.Read(p)
	stale, isLost := m.stream && r.attempt != m.attempt, m.past && r.at < m.read
	tooLate := !r.joined && m.closed && !(m.stream && m.ended && m.end == io.EOF)
	r.joined = r.joined || !r.closed && !stale && !tooLate
	if r.closed || stale || isLost || tooLate {
		if n > 0 || err == nil || err == io.EOF {
			m.t.Fatalf("got %d bytes and %v, want an error", n, err)
		}
		if r.closed {
			harness.WantIs(m.t, err, http.ErrBodyReadAfterClose)
		} else if isLost && !stale && !tooLate {
			harness.WantIs(m.t, err, replay.ErrLost)
		}
		return
	}
	if got := string(p[:n]); got != m.content[r.at:r.at+n] {
		m.t.Fatalf("got %q at %d", got, r.at)
	}
	r.at += n
	m.read = max(m.read, r.at)
	m.past = m.past || m.stream && m.read > m.limit
	m.checkEnd(r, n, err)
}

func (m *model) checkEnd(r *modelReader, n int, err error) {
	switch {
	case err != nil:
		m.ended = true
		if r.at < len(m.content) || !errors.Is(err, m.end) {
			m.t.Fatalf("got error %v at %d of %d", err, r.at, len(m.content))
		}
	case n == 0:
		m.t.Fatal("got nothing and no error")
	case !m.stream && r.at == len(m.content):
		m.ended = true
	}
	if r.at == len(m.content) && m.ended {
		r.left = true
	}
}

func (m *model) readAll() {
	err := m.b.ReadAll()
	want := m.lost()
	switch {
	case !m.stream:
		want = nil
	case m.finished:
		if err == nil {
			m.t.Fatal("read after Finish")
		}
		return
	case want == nil:
		m.limit, m.read, m.ended = 1<<30, len(m.content), true
		if m.end == io.EOF {
			m.known = true
		} else {
			want = m.end
		}
	}
	harness.WantIs(m.t, err, want)
}

func (m *model) close(r *modelReader) {
	if err := r.own.Close(); err != nil {
		m.t.Fatal(err)
	}
	r.closed, r.left = true, true
}

func (m *model) begin() {
	if !m.written {
		m.b.Begin()
		m.attempt++
		m.finished = false
	}
}

func (m *model) finish() {
	m.b.Finish()
	m.finished = true
}

func (m *model) write() {
	if m.finished {
		clear(m.memory)
		m.written = m.memory != nil
	}
}

func (m *model) check() {
	inUse := false
	for _, r := range m.readers {
		inUse = inUse || r.joined && !r.left && (!m.stream || r.attempt == m.attempt)
	}
	if m.finished && !inUse && m.closes != nil && !m.closed {
		m.closed = true
	}
	if m.closes != nil && (m.closes.Load() == 1) != m.closed {
		m.t.Fatalf("closed %d times, want closed %t", m.closes.Load(), m.closed)
	}
	if got := m.b.Replayable(); got != (m.lost() == nil) {
		m.t.Fatalf("got replayable %t", got)
	}
	size := int64(-1)
	if m.known {
		size = int64(len(m.content))
	}
	if got := m.b.Size(); got != size {
		m.t.Fatalf("got size %d, want %d", got, size)
	}
}

// do makes one call, on one of the readers where it needs one.
func (m *model) do(call, which byte) {
	var r *modelReader
	if len(m.readers) > 0 {
		r = m.readers[int(which)%len(m.readers)]
	}
	switch {
	case call == 0:
		m.begin()
	case call == 1:
		m.finish()
	case call == 2:
		m.readAll()
	case call == 3:
		m.write()
	case call < 32 || r == nil:
		m.open()
	case call < 48:
		m.close(r)
	default:
		m.readFrom(r, int(call)-47)
	}
}

func (m *model) run(calls []byte) {
	m.check()
	for ; len(calls) >= 2; calls = calls[2:] {
		m.do(calls[0], calls[1])
		m.check()
	}
}

func FuzzABodyDoesAsItsModel(f *testing.F) {
	begin, finish, all, write, open, shut, some, most := byte(0), byte(1), byte(2), byte(3), byte(4), byte(32), byte(50), byte(255)
	for kind := range byte(4) {
		for _, limit := range []byte{0, 6, 7, 200} {
			f.Add(kind, byte(2), limit, "content", []byte{open, 0, open, 0, most, 1, some, 0, most, 1, most, 1, begin, 0, open, 0, most, 2, finish, 0, write, 0, most, 0, most, 2, shut, 2})
			f.Add(kind, byte(9), limit, "content", []byte{open, 0, some, 0, shut, 0, begin, 0, all, 0, open, 0, finish, 0, most, 1, most, 1, begin, 0, open, 0})
			f.Add(kind, byte(0), limit, "content", bytes.Repeat([]byte{open, 0, most, 0, most, 1, begin, 0, some, 2, some, 3, finish, 0}, 5))
		}
	}
	f.Fuzz(func(t *testing.T, kind, chunk, limit byte, content string, calls []byte) {
		if content == "" || len(content) > 1000 || len(calls) > 1000 {
			t.Skip()
		}
		newModel(t, sourceKind(kind%4), chunk, limit, content).run(calls)
	})
}

// The same for calls at random: few of Begin and Finish, as in a request.
func TestABodyDoesAsItsModelAtRandom(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 4000 {
		calls := make([]byte, 2+random.IntN(60))
		for i := range calls {
			calls[i] = byte(random.IntN([]int{256, 8, 64}[random.IntN(3)]))
		}
		kind, chunk, limit := sourceKind(random.IntN(4)), byte(random.IntN(9)), byte(random.IntN(30))
		if newModel(t, kind, chunk, limit, harness.Text(1+random.IntN(40))).run(calls); t.Failed() {
			t.Fatalf("kind %d, chunk %d, limit %d, calls %v", kind, chunk, limit, calls)
		}
	}
}
