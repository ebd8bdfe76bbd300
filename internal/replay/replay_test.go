package replay_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/restyretry/restyretry/internal/harness"
	"github.com/restyretry/restyretry/internal/replay"
)

const noLimit = 1 << 40

func begun(v any, limit int64) *replay.Body {
	b := replay.Of(v, limit)
	b.Begin()
	return b
}

func open(t *testing.T, b *replay.Body) io.ReadCloser {
	t.Helper()
	r, err := b.Open()
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return r
}

func wantRest(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got, err := io.ReadAll(r)
	harness.SameText(t, "rest", string(got), want)
	harness.Equal(t, "error", err, nil)
}

// skip reads n bytes.
func skip(t *testing.T, r io.Reader, n int) string {
	t.Helper()
	own := make([]byte, n)
	if _, err := io.ReadFull(r, own); err != nil {
		t.Fatalf("read %d bytes: %v", n, err)
	}
	return string(own)
}

// wantFinal wants an error with this cause that no other attempt could avoid.
func wantFinal(t *testing.T, err, cause error) {
	t.Helper()
	harness.WantIs(t, err, cause)
	var final interface{ Transient() bool }
	if !errors.As(err, &final) || final.Transient() {
		t.Errorf("got error %#v, want one that is not transient", err)
	}
}

// A kind is a way to give a body, of which four bytes have been read where that
// is possible.
type kind struct {
	name    string
	of      func(t testing.TB, content string) any
	oneShot bool
}

func kinds() []kind {
	return []kind{
		{"bytes", func(_ testing.TB, s string) any { return []byte(s) }, false},
		{"string", func(_ testing.TB, s string) any { return s }, false},
		{"buffer", func(_ testing.TB, s string) any { b := bytes.NewBufferString("1234" + s); b.Next(4); return b }, false},
		{"bytes reader", func(_ testing.TB, s string) any {
			r := bytes.NewReader([]byte("1234" + s))
			_, _ = r.Seek(4, io.SeekStart)
			return r
		}, false},
		{"strings reader", func(_ testing.TB, s string) any {
			r := strings.NewReader("1234" + s)
			_, _ = r.Seek(4, io.SeekStart)
			return r
		}, false},
		{"file", func(t testing.TB, s string) any { return harness.File(t, s) }, false},
		{"section", func(_ testing.TB, s string) any {
			return io.NewSectionReader(strings.NewReader("<"+s+">"), 1, int64(len(s)))
		}, false},
		{"stream", func(_ testing.TB, s string) any { return harness.Stream(s) }, true},
		{"stream by bytes", func(_ testing.TB, s string) any { return iotest.OneByteReader(strings.NewReader(s)) }, true},
		{"stream that ends with its data", func(_ testing.TB, s string) any {
			return iotest.DataErrReader(strings.NewReader(s))
		}, true},
	}
}

// each runs a test for every kind of body, on both sides of what is small.
func each(t *testing.T, test func(t *testing.T, k kind, content string)) {
	for _, k := range kinds() {
		for _, size := range []int{1, 4096, 4097} {
			t.Run(fmt.Sprintf("%s of %d", k.name, size), func(t *testing.T) { test(t, k, harness.Text(size)) })
		}
	}
}

// What one call after the other does is in the model; see FuzzABodyDoesAsItsModel.
func TestEveryKindOfBodyIsReadByAnyNumberOfReaders(t *testing.T) {
	each(t, func(t *testing.T, k kind, content string) {
		given := k.of(t, content)
		b := begun(given, int64(len(content)))
		size := int64(len(content))
		if k.oneShot {
			size = -1
		}
		harness.Equal(t, "size", b.Size(), size)
		harness.Equal(t, "one-shot", b.OneShot(), k.oneShot)
		var all sync.WaitGroup
		for i := range 6 {
			r := open(t, b)
			all.Go(func() {
				got, err := io.ReadAll(iotest.OneByteReader(io.LimitReader(r, int64(i))))
				more, err2 := io.ReadAll(r)
				harness.SameText(t, "body", string(got)+string(more), content)
				harness.Equal(t, "errors", errors.Join(err, err2, r.Close()), nil)
			})
		}
		all.Wait()
		if from, ok := given.(io.Reader); ok && !k.oneShot {
			wantRest(t, from, content) // it still stands where it stood
		}
		harness.Equal(t, "replayable", b.Replayable(), true)
		b.Begin()
		r := open(t, b)
		harness.SameText(t, "begin", skip(t, r, 1), content[:1])
		b.Finish() // readers go on, and none are opened
		wantRest(t, r, content[1:])
		_, err := b.Open()
		wantFinal(t, err, err)
		if k.name != "file" {
			b.Begin()
			wantRest(t, open(t, b), content)
		}
	})
}

func TestReadAllKnowsTheSize(t *testing.T) {
	each(t, func(t *testing.T, k kind, content string) {
		b := begun(k.of(t, content), 0) // the limit does not count
		early := open(t, b)
		harness.Equal(t, "errors", errors.Join(b.ReadAll(), b.ReadAll()), nil)
		harness.Equal(t, "size", b.Size(), int64(len(content)))
		wantRest(t, early, content)
		b.Begin()
		wantRest(t, open(t, b), content)
	})
}

func TestAnEmptyBodyIsNoBody(t *testing.T) {
	for _, v := range []any{nil, []byte(nil), http.NoBody, struct{}{}, map[string]int{}, 1, &struct{}{}} {
		if replay.Of(v, noLimit) != nil {
			t.Errorf("%T: got a body, want none", v)
		}
	}
	for _, v := range []any{"", []byte{}, &bytes.Buffer{}, &bytes.Reader{}, &strings.Reader{}, harness.Stream("")} {
		b := begun(v, noLimit)
		harness.Equal(t, "errors", errors.Join(b.ReadAll(), b.ReadAll()), nil)
		if r := open(t, b); r != http.NoBody || b.Size() != 0 {
			t.Errorf("%T: got %T of size %d, want http.NoBody", v, r, b.Size())
		}
	}
}

// A pipe, and a file that says it is empty, as those below /proc do.
func TestAFileOfUnknownLengthIsReadOnce(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, _ = w.WriteString("content")
	_ = w.Close()
	for f, content := range map[*os.File]string{r: "content", harness.File(t, ""): ""} {
		b := begun(f, noLimit)
		harness.Equal(t, "one-shot", b.OneShot(), true)
		harness.Equal(t, "size", b.Size(), -1)
		wantRest(t, open(t, b), content)
		wantRest(t, open(t, b), content)
	}
}

func TestOneOfManyReadersGetsPastTheLimit(t *testing.T) {
	content := harness.Text(50_000)
	b := begun(iotest.HalfReader(strings.NewReader(content)), 20_000)
	var all sync.WaitGroup
	texts, errs := make([]string, 8), make([]error, 8)
	for i := range texts {
		r := open(t, b)
		all.Go(func() {
			got, err := io.ReadAll(r)
			texts[i], errs[i] = string(got), err
		})
	}
	all.Wait()
	whole := 0
	for i, err := range errs {
		if err == nil {
			whole++
			harness.SameText(t, "body", texts[i], content)
		} else {
			wantFinal(t, err, replay.ErrLost)
		}
	}
	harness.Equal(t, "whole bodies", whole, 1)
}

func TestAReaderThatFailsFailsForAll(t *testing.T) {
	for _, cause := range []error{errors.New("disk on fire"), io.ErrUnexpectedEOF, fmt.Errorf("wrapped: %w", io.EOF)} {
		b := begun(io.MultiReader(strings.NewReader("begin"), iotest.ErrReader(cause)), noLimit)
		for _, r := range []io.Reader{open(t, b), open(t, b)} {
			got, err := io.ReadAll(r)
			harness.Equal(t, "before the error", string(got), "begin")
			wantFinal(t, err, cause)
			harness.Equal(t, "error", err.Error(), "request body: "+cause.Error())
		}
		harness.Equal(t, "replayable", b.Replayable(), false)
		b.Begin()
		_, err := b.Open()
		wantFinal(t, err, cause)
	}
}

func TestAFileThatBecomesShorterOrIsClosedFails(t *testing.T) {
	f := harness.File(t, harness.Text(100))
	b := begun(f, noLimit)
	r, later := open(t, b), open(t, b)
	if err := os.Truncate(f.Name(), int64(len("skipped")+40)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	wantFinal(t, err, io.ErrUnexpectedEOF)
	harness.SameText(t, "before the error", string(got), harness.Text(40))
	_ = f.Close()
	_, err = io.ReadAll(later)
	wantFinal(t, err, os.ErrClosed)
}

// A gate is a reader each Read of which has to be let through.
type gate struct {
	asked, let chan struct{}
	from       io.Reader
}

func newGate() *gate {
	return &gate{asked: make(chan struct{}), let: make(chan struct{}), from: strings.NewReader("content")}
}

func (g *gate) Read(p []byte) (int, error) {
	g.asked <- struct{}{}
	<-g.let
	return g.from.Read(p)
}

func TestWhatAReaderReadsThatIsGoneMeanwhileIsNotLost(t *testing.T) {
	for name, leave := range map[string]func(b *replay.Body, r io.Closer){
		"stale":  func(b *replay.Body, _ io.Closer) { b.Begin() },
		"closed": func(_ *replay.Body, r io.Closer) { _ = r.Close() }, // does not wait
	} {
		t.Run(name, func(t *testing.T) {
			g := newGate()
			b := begun(g, 4) // less than what comes
			gone := open(t, b)
			go func() { _, _ = gone.Read(make([]byte, 6)) }()
			<-g.asked
			leave(b, gone)
			r := open(t, b)
			g.let <- struct{}{}
			harness.Equal(t, "begin", skip(t, r, 6), "conten")
			harness.Equal(t, "replayable", b.Replayable(), true)
		})
	}
}

func TestNothingWaitsForASlowReader(t *testing.T) {
	g := newGate()
	b := begun(g, noLimit)
	slow := open(t, b)
	go func() { <-g.asked; g.let <- struct{}{} }()
	skip(t, slow, 3)
	done := make(chan struct{})
	go func() { _, _ = slow.Read(make([]byte, 1)); close(done) }()
	<-g.asked
	harness.Equal(t, "recorded", skip(t, open(t, b), 3), "con")
	harness.Equal(t, "replayable", b.Replayable(), true)
	harness.Equal(t, "size", b.Size(), -1)
	b.Begin()
	_ = slow.Close()
	b.Finish()
	g.let <- struct{}{}
	<-done
}

// A panicking reader can be read at several places.
type panicking struct{ io.Closer }

func (panicking) Read([]byte) (int, error)                { panic("broken") }
func (panicking) ReadAt([]byte, int64) (int, error)       { panic("broken") }
func (panicking) Seek(_ int64, whence int) (int64, error) { return int64(whence), nil } // as if of one byte

func TestAPanicOfTheCallersReaderLeavesNothingLocked(t *testing.T) {
	closes := new(counter)
	for name, v := range map[string]any{"section": panicking{closes}, "stream": struct {
		io.Reader
		io.Closer
	}{panicking{}, closes}} {
		t.Run(name, func(t *testing.T) {
			*closes = 0
			b := begun(v, noLimit)
			r := open(t, b)
			func() {
				defer func() { harness.Equal(t, "panic", recover(), any("broken")) }()
				_, _ = io.ReadAll(r)
			}()
			_ = r.Close()
			if name == "stream" { // nobody knows what is gone
				_, err := b.Open()
				wantFinal(t, err, replay.ErrLost)
			}
			b.Finish()
			harness.Equal(t, "times closed", *closes, 1)
		})
	}
}

// A counter counts how often it is closed.
type counter int

func (c *counter) Close() error { *c++; return nil }

func TestMemoryMayBeWrittenToWhileATransportStillSends(t *testing.T) {
	const size = 1 << 20
	want := harness.Text(size)
	memory := []byte(want)
	b := begun(memory, noLimit)
	var sending sync.WaitGroup
	for range 4 {
		r := open(t, b)
		skip(t, r, 10)
		sending.Go(func() { wantRest(t, r, want[10:]) })
	}
	late := open(t, b)
	b.Finish()
	clear(memory) // the race detector watches
	sending.Wait()
	wantRest(t, late, want)
	b = begun(memory, noLimit)
	var before, after runtime.MemStats
	for range 20 {
		open(t, b)
	}
	runtime.ReadMemStats(&before)
	b.Finish()
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 2*size {
		t.Errorf("allocated %d bytes for 20 readers of %d, want one copy", got, size)
	}
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
	if <-done == nil {
		t.Error("got no error of a Read that was ended")
	}
	_, err := source.Read(make([]byte, 1))
	harness.Equal(t, "error of the source", err, io.ErrClosedPipe)
}

func TestASourceIsClosedOnceHoweverManyReadIt(t *testing.T) {
	content := harness.Text(20_000)
	for _, kind := range []sourceKind{section, stream} {
		for range 30 {
			v, closes := newSource(t, kind, content, len(content), io.EOF)
			b := begun(v, noLimit)
			var readers sync.WaitGroup
			for range 3 {
				b.Begin()
				for i := range 4 {
					r := open(t, b)
					readers.Go(func() {
						defer r.Close()
						got, err := io.ReadAll(io.LimitReader(r, int64(i)*8_000))
						if err == nil && !strings.HasPrefix(content, string(got)) {
							t.Error("got other bytes")
						}
					})
					readers.Go(func() { _ = b.Replayable() })
				}
			}
			b.Finish()
			readers.Wait()
			harness.Equal(t, "times closed", closes.Load(), 1)
		}
	}
}
