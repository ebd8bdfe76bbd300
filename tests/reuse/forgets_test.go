package reuse

import (
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
	"weak"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

// A request that sent a body, and then none, does not keep it in memory.
func TestABodyIsForgottenWhenTheRequestIsSentWithout(t *testing.T) {
	c := resty.New().SetTransport(harness.RoundTrip(func(r *http.Request) (*http.Response, error) {
		if r.Body != nil {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
	}))
	if _, err := restyretry.Install(c); err != nil {
		t.Fatal(err)
	}
	r := c.R()
	send := func(method string) {
		if _, err := r.Execute(method, harness.Base); err != nil {
			t.Errorf("%s: got %v", method, err)
		}
	}
	body := func() weak.Pointer[strings.Reader] {
		body := strings.NewReader("a body")
		r.SetBody(body)
		send("PUT")
		return weak.Make(body)
	}()
	r.SetBody(nil)
	send("GET")
	for end := time.Now().Add(5 * time.Second); body.Value() != nil; runtime.GC() {
		if time.Now().After(end) {
			t.Fatal("got it in memory still")
		}
	}
	runtime.KeepAlive(r)
}
