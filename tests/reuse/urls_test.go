package reuse

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

// Resty leaves in r.URL what it made of it.
func TestParametersAreAddedOnceHoweverOftenARequestIsSent(t *testing.T) {
	for name, option := range map[string]harness.Option{
		"plain":          harness.Attempts(3),
		"with OnAttempt": harness.OnAttempt(func(restyretry.Attempt) error { return nil }),
		"with URLs":      harness.URL(restyretry.URLs("/{id}")),
		"with BaseURLs":  harness.URL(restyretry.BaseURLs(harness.Base)),
	} {
		for _, statuses := range [][]int{{200}, {503, 503, 200}} {
			harness.Bubble(t, fmt.Sprint(name, " ", statuses), func(t *testing.T) {
				c := harness.New(t, harness.Statuses(slices.Repeat(statuses, 3)...), option)
				c.SetQueryParam("client", "1")
				r := c.R().SetPathParam("id", "a/b").SetQueryParam("q", "2")
				r.Method, r.URL = "GET", "/{id}"
				for range 3 {
					c.Do(t, r, r.Method, r.URL).WantStatus(t, 200).
						WantSent(t, slices.Repeat([]string{"/a%2Fb?client=1&q=2"}, len(statuses))...)
				}
			})
		}
	}
}

func TestAURLThatIsSetBetweenTwoSendsIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.New(t, harness.Statuses(503, 200, 503, 200))
		r := c.R().SetQueryParam("q", "2")
		for _, url := range []string{"/first", "/second"} {
			r.URL = url
			c.Do(t, r, "GET", r.URL).Want(t, "503 status 1s | 200 succeeded").WantSent(t, url+"?q=2", url+"?q=2")
		}
	})
}
