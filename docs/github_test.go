package docs

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/jarcoal/httpmock"
)

// block: recipes.md
import (
	"strconv"
	"time"

	"github.com/restyretry/restyretry"
)

// GitHub is an option for its REST API, which limits rates by 403 as well as 429.
// A 403 without these fields is a matter of permissions, and final.
func GitHub(o *restyretry.Options) {
	const longest = 5 * time.Minute
	o.MaxServerWait = longest
	o.Refused = append(o.Refused, 403) // so that a POST may be repeated
	o.RetryIf = func(a restyretry.Attempt) bool {
		if a.StatusCode() != 403 {
			return false
		}
		reset := untilReset(a)
		return a.Response.Header().Get("Retry-After") != "" || reset > 0 && reset <= longest
	}
	wait := o.Wait
	o.Wait = restyretry.AddJitter(func(a restyretry.Attempt) time.Duration {
		if reset := untilReset(a); reset > 0 {
			return reset
		}
		return wait(a)
	}, time.Second, 0)
}

// untilReset is how long it takes until the quota is renewed that a 403 says is
// used up. (The plugin reads this field on 429 and 503 only.)
func untilReset(a restyretry.Attempt) time.Duration {
	if a.StatusCode() != 403 || a.Response.Header().Get("X-RateLimit-Remaining") != "0" {
		return 0
	}
	reset, err := strconv.ParseInt(a.Response.Header().Get("X-RateLimit-Reset"), 10, 64)
	if err != nil {
		return 0
	}
	return time.Until(time.Unix(reset, 0))
}

// end of block

func TestGitHubs403(t *testing.T) {
	for _, test := range []struct {
		name   string
		header func() map[string]string
		want   string
		wait   time.Duration
	}{
		{"Retry-After", func() map[string]string {
			return map[string]string{"Retry-After": "60"}
		}, "1 403 condition, 2 201 succeeded", 60 * time.Second},
		{"quota used up", func() map[string]string { return reset(120 * time.Second) }, "1 403 condition, 2 201 succeeded", 120 * time.Second},
		{"for too long", func() map[string]string { return reset(time.Hour) }, "1 403 not-retryable", 0},
		{"no permission", func() map[string]string {
			return map[string]string{"X-RateLimit-Remaining": "4990"}
		}, "1 403 not-retryable", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				client := newClient(t, func(*http.Request) (*http.Response, error) {
					if n++; n > 1 {
						return httpmock.NewStringResponse(201, ""), nil
					}
					resp := httpmock.NewStringResponse(403, "")
					for name, value := range test.header() {
						resp.Header.Set(name, value)
					}
					return resp, nil
				}, GitHub)
				start := time.Now()
				resp, err := client.R().SetBody("{}").Post("/repos/x/y/issues")
				if err != nil {
					t.Fatal(err)
				}
				if got := summary(resp.Request); got != test.want {
					t.Errorf("got %s, want %s", got, test.want)
				}
				if got := time.Since(start); got < test.wait || got > test.wait+2*time.Second {
					t.Errorf("waited %v, want %v and up to a second more", got, test.wait)
				}
			})
		})
	}
}

func reset(in time.Duration) map[string]string {
	return map[string]string{
		"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": fmt.Sprint(time.Now().Add(in).Unix()),
	}
}
