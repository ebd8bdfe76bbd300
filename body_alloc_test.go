package restyretry_test

import (
	"testing"

	"github.com/go-resty/resty/v2"
)

// posting returns a function that sends a body of a mebibyte.
func posting(t testing.TB, c *resty.Client) func() {
	body := make([]byte, 1<<20)
	return func() {
		r := c.R().SetHeader("Idempotency-Key", "1").SetHeader("Content-Type", "text/plain").SetBody(body)
		if resp, err := r.Post("/"); err != nil || resp.StatusCode() != 200 {
			t.Fatalf("got %v, %v, want 200", resp, err)
		}
	}
}

func TestABodyOfAMebibyteIsNotCopied(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	if _, bytes := cost(posting(t, withoutWaits(t, []int{503, 200}))); bytes > 32<<10 {
		t.Errorf("got %v bytes allocated by a request with a retry, want at most 32 KiB", bytes)
	}
}

func BenchmarkRetryPOST1MiB(b *testing.B) {
	for name, c := range map[string]*resty.Client{"Resty": ownLoop([]int{503, 200}), "plugin": withoutWaits(b, []int{503, 200})} {
		post := posting(b, c)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				post()
			}
		})
	}
}
