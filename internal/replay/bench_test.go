package replay_test

import (
	"fmt"
	"io"
	"testing"

	"github.com/restyretry/restyretry/internal/harness"
	"github.com/restyretry/restyretry/internal/replay"
)

// BenchmarkBody measures a request of two attempts.
func BenchmarkBody(b *testing.B) {
	buffer := make([]byte, 32<<10) // net/http has one of its own
	for _, size := range []int{1 << 10, 1 << 20} {
		content := harness.Text(size)
		memory := []byte(content)
		for name, of := range map[string]func() any{
			"memory": func() any { return memory },
			"text":   func() any { return content },
			"stream": func() any { return harness.Stream(content) },
		} {
			b.Run(fmt.Sprintf("%s of %d", name, size), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(2 * size))
				for b.Loop() {
					body := replay.Of(of(), noLimit)
					for range 2 {
						body.Begin()
						r, err := body.Open()
						if err != nil {
							b.Fatal(err)
						}
						_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, buffer)
						_ = r.Close()
					}
					body.Finish()
				}
			})
		}
	}
}
