package restyretry_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"

	"github.com/restyretry/restyretry"
)

// A server that has refused a request has not acted on it, so a POST may be sent
// again. What asks for the retry is another question.
func TestARefusedPOSTIsSentAgain(t *testing.T) {
	for _, test := range []struct {
		name     string
		statuses []int
		option   func(*restyretry.Options)
		want     string
	}{
		{"429, by default", []int{429, 200}, constant(0), "1 status, 2 succeeded"},
		{"425, by default", []int{425, 200}, constant(0), "1 status, 2 succeeded"},
		{"503, by default", []int{503, 200}, constant(0), "1 method"},
		{"408, by default", []int{408, 200}, constant(0), "1 method"},
		{"401, by default", []int{401, 200}, constant(0), "1 not-retryable"},
		{"421 in Statuses", []int{421, 200}, func(o *restyretry.Options) { o.Statuses = []int{421} }, "1 status, 2 succeeded"},
		{"503 in Refused", []int{503, 200}, func(o *restyretry.Options) { o.Refused = append(o.Refused, 503) }, "1 status, 2 succeeded"},
		{"429, Refused is empty", []int{429, 200}, func(o *restyretry.Options) { o.Refused = nil }, "1 method"},
		{"503, all of aiohttp_retry's", []int{503, 200}, restyretry.AiohttpRetry, "1 status, 2 succeeded"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				respond, calls := answers(test.statuses...)
				c := mocked(respond)
				install(t, c, test.option)
				r := c.R().SetBody("an order")
				if _, err := r.Post("/orders"); err != nil {
					t.Fatal(err)
				}
				if got := summary(restyretry.History(r)); got != test.want || *calls != strings.Count(got, ",")+1 {
					t.Errorf("got %s after %d calls, want %s", got, *calls, test.want)
				}
			})
		})
	}
}

func TestATokenIsRefreshedInOnRetryAndThePOSTSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := mocked(func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("Authorization") != "Bearer new" {
				return httpmock.NewStringResponse(401, "expired"), nil
			}
			return httpmock.NewStringResponse(201, "placed"), nil
		}).SetAuthToken("old")
		install(t, c, constant(0), func(o *restyretry.Options) {
			o.RetryIf = func(a restyretry.Attempt) bool { return a.StatusCode() == 401 }
			o.Hooks = append(o.Hooks, restyretry.Hooks{OnRetry: func(a restyretry.Attempt) { a.Request.SetAuthToken("new") }})
		})
		start := time.Now()
		resp, err := c.R().SetBody("an order").Post("/orders")
		if err != nil || resp.StatusCode() != 201 || len(restyretry.History(resp.Request)) != 2 || time.Since(start) > time.Second {
			t.Errorf("got %v, %v", resp, err)
		}
	})
}
