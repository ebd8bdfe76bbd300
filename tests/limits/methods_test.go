package limits

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry/internal/harness"
)

const (
	fine      = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"
	truncated = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nha"
)

func TestAPOSTIsRepeatedOnlyWhereThatIsSafe(t *testing.T) {
	const again, cut = "error error 1s | error error 1s | error attempts", "200 error 1s | 200 error 1s | 200 attempts"
	hangsUp, cutsOff := []string{""}, []string{truncated}
	for _, tt := range []struct {
		name, method, key string
		conn              []string
		want              string
		err               error
	}{
		{"EOF", "POST", "", hangsUp, "error method", io.EOF},
		{"a truncated answer", "POST", "", cutsOff, "200 method", io.ErrUnexpectedEOF},
		{"EOF", "PATCH", "", hangsUp, "error method", io.EOF},
		{"EOF, a key", "POST", "k-1", hangsUp, again, io.EOF},
		{"a truncated answer, a key", "POST", "k-1", cutsOff, cut, io.ErrUnexpectedEOF},
		{"EOF", "GET", "", hangsUp, again, io.EOF},
		{"a truncated answer", "GET", "", cutsOff, cut, io.ErrUnexpectedEOF},
		{"it was never sent", "POST", "", nil, again, syscall.ECONNREFUSED},
	} {
		harness.Bubble(t, tt.method+", "+tt.name, func(t *testing.T) {
			c := harness.New(t, harness.Conns(t, tt.conn))
			r := c.R()
			if tt.key != "" {
				r.SetHeader("Idempotency-Key", tt.key)
			}
			call := c.Do(t, r, tt.method, "/x").Want(t, tt.want, tt.err)
			for _, s := range call.Sent {
				harness.Equal(t, "key", s.Header.Get("Idempotency-Key"), tt.key)
			}
		})
	}
	harness.Bubble(t, "after a status", func(t *testing.T) {
		c := harness.New(t, harness.Statuses(503))
		c.Do(t, c.R(), "POST", "/x").Want(t, "503 method")
		c.Do(t, c.R().SetHeader("Idempotency-Key", "k-1"), "POST", "/x").Want(t, used(3)).WantHeader(t, "Idempotency-Key", "k-1", "k-1", "k-1")
	})
}

// net/http repeats a request by itself when a connection that it has kept is dead,
// where a key says that it may. The plugin cannot see that, and adds no key.
func TestWhatTheTransportRepeatsIsOneAttempt(t *testing.T) {
	for key, tt := range map[string]struct {
		want string
		errs []error
	}{"k-1": {"200 succeeded", nil}, "": {"error method", []error{io.EOF}}} {
		harness.Bubble(t, "key "+key, func(t *testing.T) {
			c := harness.New(t, harness.Conns(t, []string{fine, ""}, []string{fine}))
			c.Get(t, "/warm-up").Want(t, "200 succeeded")
			r := c.R()
			if key != "" {
				r.SetHeader("Idempotency-Key", key)
			}
			c.Do(t, r, "POST", "/x").Want(t, tt.want, tt.errs...).WantHeader(t, "Idempotency-Key", key)
		})
	}
}

func TestWhatFailsTheSameAgainIsNotRetried(t *testing.T) {
	unknown := &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
	for _, tt := range []struct {
		name, url, field, want string
		script                 harness.Script
	}{
		{"an unsupported scheme", "ftp://api.test/x", "", "error not-retryable", nil},
		{"an invalid header field", "/x", "a\nb", "error not-retryable", nil},
		{"an unknown authority", "/x", "", "error not-retryable", harness.Fails(unknown)},
		{"a refused redirect", "/x", "", "302 not-retryable", harness.Says(302, "Location: /elsewhere")},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			if tt.script == nil {
				tt.script = harness.Conns(t, []string{fine})
			}
			c := harness.New(t, tt.script, harness.Wait(time.Second))
			c.SetRedirectPolicy(resty.NoRedirectPolicy())
			r := c.R()
			if tt.field != "" {
				r.SetHeader("X", tt.field)
			}
			c.Do(t, r, "GET", tt.url).Want(t, tt.want, harness.AnError)
		})
	}
}
