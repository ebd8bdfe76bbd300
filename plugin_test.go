package restyretry_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/jarcoal/httpmock"
	"github.com/restyretry/restyretry"
)

// quiet keeps Resty's own log lines out of the test output.
type quiet struct{}

func (quiet) Errorf(string, ...any) {}
func (quiet) Warnf(string, ...any)  {}
func (quiet) Debugf(string, ...any) {}

// mocked returns a client with base URL http://api.test whose every request is
// answered by respond, and nothing installed.
func mocked(respond httpmock.Responder) *resty.Client {
	transport := httpmock.NewMockTransport()
	transport.RegisterNoResponder(respond)
	return resty.NewWithClient(&http.Client{Transport: transport}).
		SetBaseURL("http://api.test").SetLogger(quiet{})
}

// install is Install for options that are right.
func install(t testing.TB, c *resty.Client, opts ...func(*restyretry.Options)) *restyretry.Plugin {
	t.Helper()
	p, err := restyretry.Install(c, opts...)
	if err != nil {
		t.Fatalf("Install: %v", err)
	}
	return p
}

// answers responds with the given statuses in turn, the last one repeated; the
// body is "status n".
func answers(statuses ...int) (httpmock.Responder, *int) {
	n := new(int)
	return func(r *http.Request) (*http.Response, error) {
		status := statuses[min(*n, len(statuses)-1)]
		*n++
		resp := httpmock.NewStringResponse(status, http.StatusText(status))
		resp.Request = r
		return resp, nil
	}, n
}

// summary is the numbers and reasons of a history: "1 status, 2 succeeded".
func summary(attempts []restyretry.Attempt) string {
	var parts []string
	for _, a := range attempts {
		parts = append(parts, string(rune('0'+a.Number))+" "+string(a.Reason))
	}
	return strings.Join(parts, ", ")
}

func constant(d time.Duration) func(*restyretry.Options) {
	return func(o *restyretry.Options) { o.Wait = restyretry.Constant(d) }
}

func TestARetriedRequestReturnsItsLastResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, calls := answers(503, 429, 200)
		c := mocked(respond)
		p := install(t, c, constant(time.Second))
		start := time.Now()
		resp, err := c.R().Get("/x")
		if err != nil || resp.StatusCode() != 200 || resp.String() != "OK" {
			t.Fatalf("got %v %v", resp, err)
		}
		if *calls != 3 || time.Since(start) != 2*time.Second {
			t.Errorf("got %d calls in %v", *calls, time.Since(start))
		}
		if got := summary(restyretry.History(resp.Request)); got != "1 status, 2 status, 3 succeeded" {
			t.Errorf("history: %s", got)
		}
		if got := p.Stats(); got.Requests != 1 || got.Attempts != 3 || got.Retries != 2 || got.Recovered != 1 || got.Waited != 2*time.Second {
			t.Errorf("stats: %+v", got)
		}
	})
}

func TestTheLastFailureComesBackAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, calls := answers(503)
		c := mocked(respond)
		p := install(t, c, constant(time.Second))
		resp, err := c.R().Get("/x")
		if err != nil || resp.StatusCode() != 503 {
			t.Fatalf("got %v %v", resp, err)
		}
		if *calls != 3 {
			t.Errorf("got %d calls", *calls)
		}
		if got := summary(restyretry.History(resp.Request)); got != "1 status, 2 status, 3 attempts" {
			t.Errorf("history: %s", got)
		}
		if got := p.Stats(); got.Attempts != 3 || got.GivenUp[restyretry.ReasonAttempts] != 1 {
			t.Errorf("stats: %+v", got)
		}
	})
}
