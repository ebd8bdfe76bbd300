package replay_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/restyretry/restyretry/internal/replay"
)

func TestMemoryIsTheCallersAgainAfterFinish(t *testing.T) {
	for name, of := range map[string]func([]byte) any{
		"bytes":        func(p []byte) any { return p },
		"buffer":       func(p []byte) any { return bytes.NewBuffer(p) },
		"bytes reader": func(p []byte) any { return bytes.NewReader(p) },
	} {
		for _, size := range []int{4096, 4097, 1 << 20} {
			t.Run(fmt.Sprintf("%s of %d", name, size), func(t *testing.T) {
				want := text(size)
				memory := []byte(want)
				b := begun(of(memory), noLimit)
				unread, begunOne, atEnd, closed := open(t, b), open(t, b), open(t, b), open(t, b)
				b.Begin()
				later := open(t, b)
				skip(t, begunOne, 10)
				skip(t, later, 20)
				wantRest(t, atEnd, want)
				_ = closed.Close()
				b.Finish()
				clear(memory)
				wantRest(t, begunOne, want[10:])
				wantRest(t, unread, want)
				wantRest(t, later, want[20:])
				wantRest(t, atEnd, "")
				if _, err := b.Open(); err == nil {
					t.Error("got a reader of memory that is the caller's again")
				}
			})
		}
	}
}

func TestMemoryMayBeWrittenToWhileATransportStillSends(t *testing.T) {
	want := text(1 << 20)
	memory := []byte(want)
	b := begun(memory, noLimit)
	var sending sync.WaitGroup
	for range 4 {
		r := open(t, b)
		skip(t, r, 10)
		sending.Go(func() {
			got, err := io.ReadAll(r)
			if err != nil || string(got) != want[10:] {
				t.Errorf("got %d bytes (equal: %t), %v", len(got), string(got) == want[10:], err)
			}
		})
	}
	b.Finish()
	clear(memory) // the race detector watches
	sending.Wait()
}

func TestReadersShareOneCopy(t *testing.T) {
	const size = 16 << 20
	b := begun(make([]byte, size), noLimit)
	for range 5 {
		open(t, b)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b.Finish()
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 2*size {
		t.Errorf("allocated %d bytes for 5 readers of %d", got, size)
	}
}

func TestFinishDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		for _, v := range []any{make([]byte, 5000), strings.NewReader("content"), stream("content")} {
			b := begun(v, noLimit)
			skip(t, open(t, b), 1) // and never closed
			b.Finish()
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("waited for %v", took)
		}
	})
}

func TestNoReaderIsOpenedAfterFinish(t *testing.T) {
	each(t, func(t *testing.T, k kind, content string) {
		b := begun(k.of(t, content), noLimit)
		wantRest(t, open(t, b), content)
		b.Finish()
		_, err := b.Open()
		if err == nil {
			t.Fatal("got a reader")
		}
		wantFinal(t, err)
	})
}

func TestAReaderOfAFileOrStreamGoesOnAfterFinish(t *testing.T) {
	each(t, func(t *testing.T, k kind, content string) {
		b := begun(k.of(t, content), noLimit)
		r := open(t, b)
		skip(t, r, 1)
		b.Finish()
		wantRest(t, r, content[1:])
	})
}

// A watched source reports a use that it must not get: two Reads at once, a Read
// after Close, or a Close during a Read.
type watched struct {
	t       *testing.T
	from    io.Reader
	reading atomic.Int32
	closes  atomic.Int32
}

func (w *watched) Read(p []byte) (int, error) {
	w.enter(1)
	defer w.exit()
	return w.from.Read(p)
}

func (w *watched) enter(most int32) {
	if w.reading.Add(1) > most {
		w.t.Error("read at the same time")
	}
	if w.closes.Load() > 0 && w.from == nil {
		w.t.Error("read after Close")
	}
}

func (w *watched) exit() {
	if w.closes.Load() > 0 && w.from == nil {
		w.t.Error("closed during a Read")
	}
	w.reading.Add(-1)
}

func (w *watched) Close() error {
	if w.reading.Load() > 0 && w.from == nil { // a stream may be: that ends a Read that blocks
		w.t.Error("closed during a Read")
	}
	if w.closes.Add(1) > 1 {
		w.t.Error("closed twice")
	}
	return nil
}

// A watchedAt is watched, and can be read at several places at once.
type watchedAt struct {
	watched
	section *io.SectionReader
}

func (w *watchedAt) Seek(offset int64, whence int) (int64, error) {
	return w.section.Seek(offset, whence)
}

func (w *watchedAt) ReadAt(p []byte, at int64) (int, error) {
	w.enter(1 << 30)
	defer w.exit()
	return w.section.ReadAt(p, at)
}

// closers are the kinds of sources that are closed.
var closers = map[string]func(t *testing.T, content string) (v any, closes *atomic.Int32){
	"stream": func(t *testing.T, content string) (any, *atomic.Int32) {
		w := &watched{t: t, from: strings.NewReader(content)}
		return w, &w.closes
	},
	"section": func(t *testing.T, content string) (any, *atomic.Int32) {
		w := &watchedAt{watched: watched{t: t}, section: io.NewSectionReader(strings.NewReader(content), 0, int64(len(content)))}
		return w, &w.closes
	},
}

func TestTheSourceIsClosedOnceAndNotTooEarly(t *testing.T) {
	const content = "content"
	type state struct {
		t       *testing.T
		b       *replay.Body
		readers []io.ReadCloser
	}
	open := func(s *state) { s.readers = append(s.readers, open(s.t, s.b)) }
	some := func(i int) func(s *state) { return func(s *state) { skip(s.t, s.readers[i], 1) } }
	full := func(i int) func(s *state) { return func(s *state) { skip(s.t, s.readers[i], len(content)) } }
	all := func(i int) func(s *state) { return func(s *state) { _, _ = io.ReadAll(s.readers[i]) } }
	shut := func(i int) func(s *state) { return func(s *state) { _ = s.readers[i].Close() } }
	begin := func(s *state) { s.b.Begin() }
	finish := func(s *state) { s.b.Finish() }
	steps := func(s ...func(*state)) []func(*state) { return s }
	for _, c := range []struct {
		name   string
		before []func(*state) // then it is still open
		last   func(*state)   // closes it
		only   string
	}{
		{"no reader", nil, finish, ""},
		{"closed, finished", steps(open, shut(0)), finish, ""},
		{"never read", steps(open, open), finish, ""},
		{"never read, beside one that is", steps(open, open, some(0), finish), shut(0), ""},
		{"begun, finished, closed", steps(open, some(0), finish), shut(0), ""},
		{"at its end, finished", steps(open, all(0)), finish, ""},
		{"finished, at its end", steps(open, some(0), finish), all(0), ""},
		{"at its end and closed, finished", steps(open, all(0), shut(0), shut(0)), finish, ""},
		{"the last of two", steps(open, open, some(0), some(1), finish, shut(1), shut(1)), shut(0), ""},
		{"the last of two, at its end", steps(open, open, some(0), some(1), finish, all(0), shut(0)), all(1), ""},
		{"at the end and told so later", steps(open, open, full(0), finish, all(1)), all(0), "stream"},
		{"closed, finished twice", steps(open, some(0), finish, finish), shut(0), ""},
		{"two attempts", steps(open, shut(0), begin, open, some(1), finish), shut(1), ""},
		{"a stale reader is not waited for", steps(open, some(0), begin, open, shut(1)), finish, "stream"},
		{"a stale reader is closed late", steps(open, begin, shut(0), open, some(1), finish), shut(1), "stream"},
		{"an earlier reader is waited for", steps(open, some(0), begin, open, finish, shut(1)), shut(0), "section"},
		{"used again", steps(open, some(0), finish, begin, shut(0), open, some(1), finish), shut(1), ""},
		{"after ReadAll", steps(func(s *state) { _ = s.b.ReadAll() }), finish, ""},
	} {
		for kind, of := range closers {
			if c.only != "" && c.only != kind {
				continue
			}
			t.Run(kind+", "+c.name, func(t *testing.T) {
				v, closes := of(t, content)
				s := &state{t: t, b: begun(v, noLimit)}
				for i, step := range c.before {
					step(s)
					if closes.Load() > 0 {
						t.Fatalf("closed in step %d", i)
					}
				}
				c.last(s)
				if got := closes.Load(); got != 1 {
					t.Fatalf("closed %d times, want once", got)
				}
				for _, r := range s.readers { // reads and closes no more
					_, _ = io.ReadAll(r)
					_ = r.Close()
				}
				s.b.Finish()
			})
		}
	}
}

func TestAFileIsClosed(t *testing.T) {
	f := file(t, "content")
	b := begun(f, noLimit)
	wantRest(t, open(t, b), "content")
	b.Finish()
	_, err := f.Stat()
	wantErr(t, err, os.ErrClosed)
	if b.Replayable() {
		t.Error("got a body that can be sent again")
	}
	b.Begin()
	_, err = b.Open()
	wantErr(t, err, replay.ErrLost)
}

func TestACompleteRecordingOutlivesItsSource(t *testing.T) {
	v, _ := closers["stream"](t, "content")
	b := begun(v, noLimit)
	wantRest(t, open(t, b), "content")
	b.Finish()
	b.Begin()
	wantRest(t, open(t, b), "content")

	v, _ = closers["stream"](t, "content")
	b = begun(v, noLimit)
	r := open(t, b)
	skip(t, r, 3)
	_ = r.Close()
	b.Finish()
	b.Begin()
	_, err := b.Open()
	wantErr(t, err, replay.ErrLost)
}

func TestCloseEndsAReadThatBlocks(t *testing.T) {
	source, _ := io.Pipe()
	b := begun(source, noLimit)
	r := open(t, b)
	done := make(chan error)
	go func() {
		_, err := r.Read(make([]byte, 10))
		done <- err
	}()
	b.Finish()
	_ = r.Close() // neither waits
	if err := <-done; err == nil {
		t.Error("got no error of a Read that was ended")
	}
	if _, err := source.Read(make([]byte, 1)); err != io.ErrClosedPipe {
		t.Errorf("got %v, want the source closed", err)
	}
}

func TestEverythingAtOnce(t *testing.T) {
	content := text(20_000)
	for kind, of := range closers {
		t.Run(kind, func(t *testing.T) {
			for range 50 {
				v, closes := of(t, content)
				b := begun(v, noLimit)
				var readers sync.WaitGroup
				for attempt := range 3 {
					b.Begin()
					for i := range 4 {
						r := open(t, b)
						readers.Go(func() {
							defer r.Close()
							got, err := io.ReadAll(io.LimitReader(r, int64(i)*8_000))
							if err == nil && !strings.HasPrefix(content, string(got)) {
								t.Errorf("attempt %d: got other bytes", attempt)
							}
						})
						readers.Go(func() { _ = b.Replayable() })
					}
				}
				b.Finish()
				readers.Wait()
				if got := closes.Load(); got != 1 {
					t.Fatalf("closed %d times, want once", got)
				}
			}
		})
	}
}
