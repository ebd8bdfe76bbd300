package reuse

import (
	"net/http"
	"testing"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

// An empty URL means the base URL, in every attempt and each time a request is sent.
func TestAnEmptyURLIsTheBaseURL(t *testing.T) {
	const base = "/v1?q=1"
	emptyThen := harness.URL(restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) {
		if a.Number == 1 {
			return a.Request.URL, nil
		}
		return "", nil
	}))
	target := harness.URL(restyretry.TargetFunc(func(restyretry.Attempt) (string, error) { return "/target", nil }))
	hook := func(from int, url string) harness.Option {
		return harness.OnAttempt(func(a restyretry.Attempt) error {
			if a.Number >= from {
				a.Request.URL = url
			}
			return nil
		})
	}
	for _, tt := range []struct {
		name, url   string
		opts        []harness.Option
		first, then string // where the attempts go
	}{
		{"plain", "", nil, base, base},
		{"OnAttempt", "", []harness.Option{hook(9, "")}, base, base},
		{"Target", "", []harness.Option{emptyThen}, base, base},
		{"Target from attempt 2 on", "/given", []harness.Option{emptyThen}, "/v1/given?q=1", base},
		{"Target of an absolute URL", "http://b.test/x", []harness.Option{emptyThen}, "http://b.test/x?q=1", base},
		{"OnAttempt from attempt 2 on", "/given", []harness.Option{hook(2, "")}, "/v1/given?q=1", base},
		{"OnAttempt away from the base", "", []harness.Option{hook(2, "/other")}, base, "/v1/other?q=1"},
		{"OnAttempt over Target", "/given", []harness.Option{target, hook(1, "")}, base, base},
		{"BaseURLs", "", []harness.Option{harness.URL(restyretry.BaseURLs("http://a.test/v1", "http://b.test/v1"))}, "http://a.test/v1?q=1", "http://b.test/v1?q=1"},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(503, 503, 200, 503, 503, 200, 503, 503, 200), tt.opts...)
			c.SetBaseURL(harness.Base + "/v1")
			r := c.R().SetQueryParam("q", "1")
			r.Method, r.URL = http.MethodGet, tt.url
			for range 3 {
				if resp, err := r.Send(); err != nil || resp.StatusCode() != 200 {
					t.Fatalf("got %v, %v; want a 200", resp, err)
				}
			}
			call := harness.Call{Sent: c.Sent()}
			call.WantSent(t, tt.first, tt.then, tt.then, tt.first, tt.then, tt.then, tt.first, tt.then, tt.then)
		})
	}
}
