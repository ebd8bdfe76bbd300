package replay_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/restyretry/restyretry/internal/replay"
)

const noLimit = 1 << 40

// text returns n bytes of which no two places look alike.
func text(n int) string {
	own := make([]byte, n)
	random := rand.NewChaCha8([32]byte{})
	_, _ = random.Read(own)
	return string(own)
}

// oneShot hides all methods of a reader but Read.
func oneShot(from io.Reader) io.Reader { return struct{ io.Reader }{from} }

func stream(s string) io.Reader { return oneShot(strings.NewReader(s)) }

// file returns an open file with this content.
func file(t *testing.T, content string) *os.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

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
	if err != nil || string(got) != want {
		t.Fatalf("got %d bytes (equal: %t) and error %v, want %d bytes and none", len(got), string(got) == want, err, len(want))
	}
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

func wantErr(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("got error %v, want %v", got, want)
	}
}

func wantFinal(t *testing.T, err error) {
	t.Helper()
	var final interface{ Transient() bool }
	if !errors.As(err, &final) || final.Transient() {
		t.Fatalf("got error %#v, want one that is not transient", err)
	}
}

// A kind is a way to give a body.
type kind struct {
	name    string
	of      func(t *testing.T, content string) any
	oneShot bool
}

var kinds = []kind{
	{name: "bytes", of: func(_ *testing.T, s string) any { return []byte(s) }},
	{name: "buffer", of: func(_ *testing.T, s string) any { return bytes.NewBufferString(s) }},
	{name: "bytes reader", of: func(_ *testing.T, s string) any { return bytes.NewReader([]byte(s)) }},
	{name: "string", of: func(_ *testing.T, s string) any { return s }},
	{name: "strings reader", of: func(_ *testing.T, s string) any { return strings.NewReader(s) }},
	{name: "file", of: func(t *testing.T, s string) any { return file(t, s) }},
	{name: "section", of: func(_ *testing.T, s string) any {
		return io.NewSectionReader(strings.NewReader("<"+s+">"), 1, int64(len(s)))
	}},
	{name: "stream", oneShot: true, of: func(_ *testing.T, s string) any { return stream(s) }},
	{name: "stream by bytes", oneShot: true, of: func(_ *testing.T, s string) any {
		return iotest.OneByteReader(strings.NewReader(s))
	}},
	{name: "stream that ends with its data", oneShot: true, of: func(_ *testing.T, s string) any {
		return iotest.DataErrReader(strings.NewReader(s))
	}},
}

// each runs a test for every kind of body, small and large.
func each(t *testing.T, test func(t *testing.T, k kind, content string)) {
	for _, k := range kinds {
		for _, size := range []int{1, 4096, 4097, 40_000} {
			t.Run(fmt.Sprintf("%s of %d", k.name, size), func(t *testing.T) { test(t, k, text(size)) })
		}
	}
}

func TestEveryReaderOfAnAttemptGetsTheWhole(t *testing.T) {
	ways := map[string]func(t *testing.T, b *replay.Body, want string){
		"one after the other": func(t *testing.T, b *replay.Body, want string) {
			for range 3 {
				wantRest(t, open(t, b), want)
			}
		},
		"the second first": func(t *testing.T, b *replay.Body, want string) {
			body := open(t, b)
			signed := open(t, b)
			wantRest(t, signed, want)
			_ = signed.Close()
			wantRest(t, body, want)
		},
		"after an abandoned one": func(t *testing.T, b *replay.Body, want string) {
			abandoned, closed := open(t, b), open(t, b)
			skip(t, abandoned, len(want)/2)
			skip(t, closed, len(want)/3)
			_ = closed.Close()
			wantRest(t, open(t, b), want)
			wantRest(t, abandoned, want[len(want)/2:])
		},
		"interleaved": func(t *testing.T, b *replay.Body, want string) {
			readers := []io.Reader{open(t, b), open(t, b), open(t, b)}
			const step = 1000
			got := make([]string, len(readers))
			for at := 0; at < len(want); at += step {
				for i, r := range readers {
					got[i] += skip(t, r, min(step, len(want)-at))
				}
			}
			for i, r := range readers {
				wantRest(t, r, "")
				if got[i] != want {
					t.Errorf("reader %d: got other bytes", i)
				}
			}
		},
		"interleaved by bytes": func(t *testing.T, b *replay.Body, want string) {
			first, second := open(t, b), open(t, b)
			for i := range min(len(want), 500) {
				if got := skip(t, first, 1) + skip(t, second, 1); got != want[i:i+1]+want[i:i+1] {
					t.Fatalf("at %d: got %q", i, got)
				}
			}
		},
		"concurrently": func(t *testing.T, b *replay.Body, want string) {
			var all sync.WaitGroup
			for i := range 6 {
				r := open(t, b)
				all.Go(func() {
					got, err := io.ReadAll(iotest.OneByteReader(io.LimitReader(r, int64(i))))
					more, err2 := io.ReadAll(r)
					if string(got)+string(more) != want || err != nil || err2 != nil {
						t.Errorf("got %d bytes, %v, %v", len(got)+len(more), err, err2)
					}
					_ = r.Close()
				})
			}
			all.Wait()
		},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, k kind, content string) {
				b := begun(k.of(t, content), int64(len(content)))
				way(t, b, content)
				if !b.Replayable() {
					t.Error("got a body that cannot be sent again")
				}
				b.Begin()
				wantRest(t, open(t, b), content)
			})
		})
	}
}

func TestWhatABodySaysOfItself(t *testing.T) {
	each(t, func(t *testing.T, k kind, content string) {
		b := begun(k.of(t, content), noLimit)
		want := int64(len(content))
		if k.oneShot {
			want = -1
		}
		if got := b.Size(); got != want {
			t.Errorf("got size %d, want %d", got, want)
		}
		if got := b.OneShot(); got != k.oneShot {
			t.Errorf("got one-shot %t, want %t", got, k.oneShot)
		}
	})
}

func TestWhatIsNoBody(t *testing.T) {
	for _, v := range []any{nil, []byte(nil), http.NoBody, struct{}{}, map[string]int{}, 1, &struct{}{}} {
		if replay.Of(v, noLimit) != nil {
			t.Errorf("%T: got a body, want none", v)
		}
	}
}

func TestAnEmptyBodyIsNoBody(t *testing.T) {
	for _, v := range []any{"", []byte{}, &bytes.Buffer{}, &bytes.Reader{}, &strings.Reader{}} {
		b := begun(v, noLimit)
		if r := open(t, b); r != http.NoBody || b.Size() != 0 {
			t.Errorf("%T: got %T of size %d, want http.NoBody", v, r, b.Size())
		}
	}
}

func TestAnEmptyFileIsReadLikeAStream(t *testing.T) {
	b := begun(file(t, ""), noLimit) // files below /proc say 0 too
	if !b.OneShot() || b.Size() != -1 {
		t.Errorf("got one-shot %t and size %d", b.OneShot(), b.Size())
	}
	wantRest(t, open(t, b), "")
	wantRest(t, open(t, b), "")
}

func TestAPipeIsReadOnce(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, _ = w.WriteString("content")
	_ = w.Close()
	b := begun(r, noLimit)
	wantRest(t, open(t, b), "content")
	b.Begin()
	wantRest(t, open(t, b), "content")
}

func TestABodyBeginsWhereItStands(t *testing.T) {
	for name, v := range map[string]io.Reader{
		"buffer":         bytes.NewBufferString("0123456789"),
		"bytes reader":   bytes.NewReader([]byte("0123456789")),
		"strings reader": strings.NewReader("0123456789"),
		"file":           file(t, "0123456789"),
		"stream":         stream("0123456789"),
	} {
		t.Run(name, func(t *testing.T) {
			skip(t, v, 4)
			b := begun(v, noLimit)
			wantRest(t, open(t, b), "456789")
			b.Begin()
			wantRest(t, open(t, b), "456789")
		})
	}
}

func TestTheCallersReaderStaysWhereItStands(t *testing.T) {
	for _, v := range []io.Reader{
		bytes.NewBufferString("0123456789"), bytes.NewReader([]byte("0123456789")),
		strings.NewReader("0123456789"), file(t, "0123456789"),
	} {
		skip(t, v, 4)
		b := begun(v, noLimit)
		r := open(t, b)
		skip(t, r, 3)
		if got := skip(t, v, 2); got != "45" { // and the caller may read on
			t.Errorf("%T: got %q, want 45", v, got)
		}
		wantRest(t, r, "789")
	}
}

func TestTheLimit(t *testing.T) {
	const limit = 1000
	for _, size := range []int{0, 1, limit - 1, limit, limit + 1, 3 * limit} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			content := text(size)
			b := begun(iotest.OneByteReader(strings.NewReader(content)), limit)
			wantRest(t, open(t, b), content) // sent once, in full
			if got, want := b.Replayable(), size <= limit; got != want {
				t.Fatalf("got replayable %t, want %t", got, want)
			}
			b.Begin()
			r, err := b.Open()
			if size > limit {
				wantErr(t, err, replay.ErrLost)
				wantFinal(t, err)
				return
			}
			wantRest(t, r, content)
		})
	}
}

func TestPastTheLimitTheFirstReaderGoesOnAlone(t *testing.T) {
	const limit, size = 1000, 2000
	content := text(size)
	for _, behind := range []int{0, 1, limit - 1, limit} {
		t.Run(fmt.Sprintf("the other is at %d", behind), func(t *testing.T) {
			b := begun(stream(content), limit)
			other, first := open(t, b), open(t, b)
			skip(t, other, behind)
			skip(t, first, limit)
			skip(t, first, 1)
			got, err := io.ReadAll(other)
			wantErr(t, err, replay.ErrLost)
			if len(got) > 0 {
				t.Errorf("got %d bytes before the error", len(got))
			}
			_, err = b.Open()
			wantErr(t, err, replay.ErrLost)
			wantRest(t, first, content[limit+1:])
			_, err = other.Read(make([]byte, 1))
			wantErr(t, err, replay.ErrLost)
		})
	}
}

func TestOneOfManyConcurrentReadersGetsPastTheLimit(t *testing.T) {
	content := text(50_000)
	b := begun(iotest.HalfReader(strings.NewReader(content)), 20_000)
	var all sync.WaitGroup
	readers := make([]io.Reader, 8)
	for i := range readers {
		readers[i] = open(t, b)
	}
	results := make(chan error, len(readers))
	for _, r := range readers {
		all.Go(func() {
			got, err := io.ReadAll(r)
			if err == nil && string(got) != content {
				err = fmt.Errorf("clean end after %d bytes", len(got))
			}
			results <- err
		})
	}
	all.Wait()
	close(results)
	whole := 0
	for err := range results {
		if err == nil {
			whole++
		} else {
			wantErr(t, err, replay.ErrLost)
		}
	}
	if whole != 1 {
		t.Errorf("got %d whole bodies, want 1", whole)
	}
}

func TestAReaderThatFails(t *testing.T) {
	cause := errors.New("disk on fire")
	b := begun(io.MultiReader(strings.NewReader("begin"), iotest.ErrReader(cause)), noLimit)
	first, second := open(t, b), open(t, b)
	for _, r := range []io.Reader{first, second} {
		got, err := io.ReadAll(r)
		if string(got) != "begin" {
			t.Errorf("got %q before the error, want begin", got)
		}
		wantErr(t, err, cause)
		wantFinal(t, err)
		var own *replay.Error
		if !errors.As(err, &own) || err.Error() != "request body: disk on fire" {
			t.Errorf("got error %v of type %T", err, err)
		}
	}
	if b.Replayable() {
		t.Error("got a body that can be sent again")
	}
	_, err := b.Open()
	wantErr(t, err, cause)
	b.Begin()
	_, err = b.Open()
	wantErr(t, err, cause)
}

func TestOnlyEOFItselfIsTheEnd(t *testing.T) {
	for _, cause := range []error{io.ErrUnexpectedEOF, fmt.Errorf("wrapped: %w", io.EOF)} {
		_, err := io.ReadAll(open(t, begun(iotest.ErrReader(cause), noLimit)))
		wantErr(t, err, cause)
		wantFinal(t, err)
	}
}

func TestAFileThatBecomesShorterFails(t *testing.T) {
	f := file(t, text(100))
	b := begun(f, noLimit)
	r := open(t, b)
	if err := os.Truncate(f.Name(), 40); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	wantErr(t, err, io.ErrUnexpectedEOF)
	wantFinal(t, err)
	if len(got) != 40 {
		t.Errorf("got %d bytes, want 40", len(got))
	}
}

func TestAFileThatIsClosedFails(t *testing.T) {
	f := file(t, "content")
	r := open(t, begun(f, noLimit))
	_ = f.Close()
	_, err := io.ReadAll(r)
	wantErr(t, err, os.ErrClosed)
	wantFinal(t, err)
}

func TestReadersOfEarlierAttempts(t *testing.T) {
	each(t, func(t *testing.T, k kind, content string) {
		b := begun(k.of(t, content), int64(len(content)))
		earlier := open(t, b)
		b.Begin()
		if k.oneShot {
			_, err := earlier.Read(make([]byte, 10))
			if err == nil || err == io.EOF {
				t.Errorf("got error %v from a stale reader", err)
			}
			wantFinal(t, err)
		} else {
			wantRest(t, earlier, content)
		}
		wantRest(t, open(t, b), content)
	})
}

// A gate is a reader of one byte after the other, each of which has to be let
// through.
type gate struct {
	asked, let chan struct{}
	from       io.Reader
}

func newGate(content string) *gate {
	return &gate{asked: make(chan struct{}), let: make(chan struct{}), from: strings.NewReader(content)}
}

func (g *gate) Read(p []byte) (int, error) {
	g.asked <- struct{}{}
	<-g.let
	return g.from.Read(p)
}

func TestWhatAnEarlierAttemptIsStillReadingIsNotLost(t *testing.T) {
	g := newGate("content")
	b := begun(g, 4) // less than what comes
	earlier := open(t, b)
	go func() { _, _ = earlier.Read(make([]byte, 6)) }()
	<-g.asked
	b.Begin()
	r := open(t, b)
	g.let <- struct{}{}
	if got := skip(t, r, 6); got != "conten" {
		t.Fatalf("got %q, want conten", got)
	}
	if !b.Replayable() {
		t.Error("the earlier attempt has pushed the recording past its limit")
	}
}

func TestWhatAClosedReaderIsStillReadingIsNotLost(t *testing.T) {
	g := newGate("content")
	b := begun(g, 4)
	closed, r := open(t, b), open(t, b)
	go func() { _, _ = closed.Read(make([]byte, 6)) }()
	<-g.asked
	_ = closed.Close() // does not wait
	g.let <- struct{}{}
	if got := skip(t, r, 6); got != "conten" {
		t.Fatalf("got %q, want conten", got)
	}
}

func TestRecordedBytesDoNotWaitForASlowReader(t *testing.T) {
	g := newGate("content")
	b := begun(g, noLimit)
	slow, r := open(t, b), open(t, b)
	go func() { <-g.asked; g.let <- struct{}{} }()
	skip(t, slow, 3)
	done := make(chan struct{})
	go func() { _, _ = slow.Read(make([]byte, 1)); close(done) }()
	<-g.asked
	if got := skip(t, r, 3); got != "con" {
		t.Errorf("got %q, want con", got)
	}
	// Nor does anything else.
	wantRest(t, io.LimitReader(open(t, b), 3), "con")
	if !b.Replayable() || b.Size() != -1 {
		t.Errorf("got replayable %t and size %d", b.Replayable(), b.Size())
	}
	b.Begin()
	_ = slow.Close()
	b.Finish()
	g.let <- struct{}{}
	<-done
}

func TestReadAll(t *testing.T) {
	each(t, func(t *testing.T, k kind, content string) {
		b := begun(k.of(t, content), 1) // the limit does not count
		early := open(t, b)
		got := skip(t, early, 1)
		for range 2 {
			if err := b.ReadAll(); err != nil {
				t.Fatal(err)
			}
		}
		if b.Size() != int64(len(content)) || b.OneShot() != k.oneShot || !b.Replayable() {
			t.Errorf("got size %d, one-shot %t, replayable %t", b.Size(), b.OneShot(), b.Replayable())
		}
		wantRest(t, early, content[len(got):])
		wantRest(t, open(t, b), content)
		b.Begin()
		wantRest(t, open(t, b), content)
	})
}

func TestReadAllOfNothing(t *testing.T) {
	b := begun(stream(""), noLimit)
	if err := b.ReadAll(); err != nil || b.Size() != 0 {
		t.Fatalf("got %v and size %d", err, b.Size())
	}
	if r := open(t, b); r != http.NoBody {
		t.Errorf("got %T, want http.NoBody", r)
	}
	if err := b.ReadAll(); err != nil || b.Size() != 0 {
		t.Errorf("the second time: got %v and size %d", err, b.Size())
	}
}

func TestReadAllFails(t *testing.T) {
	cause := errors.New("disk on fire")
	b := begun(io.MultiReader(strings.NewReader("begin"), iotest.ErrReader(cause)), noLimit)
	err := b.ReadAll()
	wantErr(t, err, cause)
	wantFinal(t, err)
	if b.Size() != -1 || b.Replayable() {
		t.Errorf("got size %d, replayable %t", b.Size(), b.Replayable())
	}

	b = begun(stream("content"), 3)
	skip(t, open(t, b), 4)
	wantErr(t, b.ReadAll(), replay.ErrLost)
}

func TestAPanicOfTheCallersReaderLeavesNothingLocked(t *testing.T) {
	for name, v := range map[string]io.Reader{
		"stream": oneShot(io.MultiReader(strings.NewReader("begin"), panicking{})),
		"file":   struct{ panickingAt }{},
	} {
		t.Run(name, func(t *testing.T) {
			closes := &closer{Reader: v}
			var given io.Reader = closes
			if at, ok := v.(interface {
				io.ReaderAt
				io.Seeker
			}); ok {
				given = struct {
					*closer
					io.ReaderAt
					io.Seeker
				}{closes, at, at}
			}
			b := begun(given, noLimit)
			r := open(t, b)
			func() {
				defer func() {
					if recover() == nil {
						t.Error("got no panic")
					}
				}()
				_, _ = io.ReadAll(r)
			}()
			_ = r.Close()
			if name == "stream" {
				_, err := b.Open() // nobody knows what is gone
				wantErr(t, err, replay.ErrLost)
			}
			b.Finish()
			if closes.times != 1 {
				t.Errorf("closed %d times, want once", closes.times)
			}
		})
	}
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("broken reader") }

type panickingAt struct{ panicking }

func (panickingAt) ReadAt([]byte, int64) (int, error) { panic("broken reader") }
func (panickingAt) Seek(_ int64, whence int) (int64, error) {
	return int64(whence), nil // 0 at the start, 2 at the end, 1 where it stands
}

// A closer counts how often it is closed.
type closer struct {
	io.Reader
	times int
}

func (c *closer) Close() error { c.times++; return nil }

func TestAReaderThatIsClosedFails(t *testing.T) {
	for name, v := range map[string]any{
		"memory": make([]byte, 5000), "file": file(t, "content"), "stream": stream("content"),
	} {
		t.Run(name, func(t *testing.T) {
			r := open(t, begun(v, noLimit))
			for range 2 {
				if err := r.Close(); err != nil {
					t.Fatal(err)
				}
			}
			_, err := r.Read(make([]byte, 1))
			wantErr(t, err, http.ErrBodyReadAfterClose)
		})
	}
}

func TestANewUseBeginsAfterFinish(t *testing.T) {
	each(t, func(t *testing.T, k kind, content string) {
		if k.name == "file" {
			t.Skip("it is closed: TestAFileIsClosed")
		}
		b := begun(k.of(t, content), noLimit)
		r := open(t, b)
		skip(t, r, (len(content)+1)/2)
		_ = r.Close()
		b.Finish()
		b.Begin()
		wantRest(t, open(t, b), content)
	})
}
