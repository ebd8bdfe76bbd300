package replay_test

import (
	"fmt"
	"io"
	"testing"

	"github.com/restyretry/restyretry/internal/replay"
)

// readTo reads like net/http, with a buffer of its own.
func readTo(b *testing.B, body *replay.Body, buffer []byte) {
	r, err := body.Open()
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, buffer); err != nil {
		b.Fatal(err)
	}
	_ = r.Close()
}

// BenchmarkBody measures a request of two attempts.
func BenchmarkBody(b *testing.B) {
	buffer := make([]byte, 32<<10)
	for _, size := range []int{1 << 10, 1 << 20} {
		content := text(size)
		memory := []byte(content)
		for name, of := range map[string]func() any{
			"memory": func() any { return memory },
			"text":   func() any { return content },
			"stream": func() any { return stream(content) },
		} {
			b.Run(fmt.Sprintf("%s of %d", name, size), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(2 * size))
				for b.Loop() {
					body := replay.Of(of(), noLimit)
					for range 2 {
						body.Begin()
						readTo(b, body, buffer)
					}
					body.Finish()
				}
			})
		}
	}
}

// BenchmarkReplay measures one more reader of what is there.
func BenchmarkReplay(b *testing.B) {
	buffer := make([]byte, 32<<10)
	content := text(1 << 20)
	for name, v := range map[string]any{"memory": []byte(content), "stream": stream(content)} {
		b.Run(name, func(b *testing.B) {
			body := replay.Of(v, noLimit)
			body.Begin()
			readTo(b, body, buffer)
			b.ReportAllocs()
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				readTo(b, body, buffer)
			}
		})
	}
}
