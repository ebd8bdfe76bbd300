package restyretry

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/go-resty/resty/v2"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestAnExecutionHas80Bytes(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) == 8 && unsafe.Sizeof(execution{}) != 80 {
		t.Errorf("it has %d", unsafe.Sizeof(execution{}))
	}
}

// Each request is stopped after its first attempt, of which it is then decided
// many times what is to follow.
func TestTheDecisionAfterAFailureAllocatesNothing(t *testing.T) {
	answer := func(status int, header ...string) roundTrip {
		return func(r *http.Request) (*http.Response, error) {
			h := http.Header{}
			for i := 0; i < len(header); i += 2 {
				h.Set(header[i], header[i+1])
			}
			return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader("sorry")), Request: r}, nil
		}
	}
	fail := func(err error) roundTrip {
		return func(*http.Request) (*http.Response, error) { return nil, err }
	}
	reset := &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	for _, x := range []struct {
		name      string
		transport roundTrip
		cause     Reason
	}{
		{"503", answer(503), ReasonStatus},
		{"429 with Retry-After", answer(429, "Retry-After", "7"), ReasonStatus},
		{"503 with a date", answer(503, "Retry-After", time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)), ReasonStatus},
		{"409 that the server wants to be repeated", answer(409, "X-Should-Retry", "true"), ReasonServer},
		{"connection reset", fail(reset), ReasonError},
		{"connection closed", fail(io.ErrUnexpectedEOF), ReasonError},
		{"404", answer(404), ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := resty.NewWithClient(&http.Client{Transport: x.transport}).
				SetBaseURL("http://api.test").SetLogger(silent{})
			first := true
			_, err := Install(c, func(o *Options) {
				o.Budget = NewBudget(0.1, 1000)
				o.MaxElapsed = time.Hour
				o.Unless = func(Attempt) bool { return first }
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			r := c.R().SetContext(ctx)
			resp, err := r.Get("/x")
			first = false
			if resp == nil {
				t.Fatal(err)
			}
			e := lastExecution(r)
			var cause, against Reason
			allocs := testing.AllocsPerRun(100, func() {
				a := e.attempt(resp, err)
				if cause = e.cause(a); cause != "" {
					against = e.limit(&a)
				}
			})
			if cause != x.cause || against != "" || allocs != 0 {
				t.Errorf("got cause %q, against it %q, %v allocations; want %q, none and 0", cause, against, allocs, x.cause)
			}
		})
	}
}

type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}
