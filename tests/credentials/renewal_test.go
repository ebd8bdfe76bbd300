package credentials

import (
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"testing"
	"testing/synctest"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

// Resty copies a header of the client's into the request in the first attempt.
func TestOnAttemptRenewsCredentials(t *testing.T) {
	for name, renew := range map[string]func(*resty.Request){
		"header": func(r *resty.Request) { r.SetHeader("Authorization", "Bearer new") },
		"token":  func(r *resty.Request) { r.SetAuthToken("new") },
	} {
		harness.Bubble(t, name, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(401, 200), func(o *restyretry.Options) { o.Statuses = append(o.Statuses, 401) },
				harness.OnAttempt(func(a restyretry.Attempt) error {
					if a.Number > 1 {
						renew(a.Request)
					}
					return nil
				}))
			c.SetHeader("Authorization", "Bearer old")
			c.Get(t, "/x").Want(t, "401 status 1s | 200 succeeded").WantHeader(t, "Authorization", "Bearer old", "Bearer new")
		})
	}
}

func TestOnRetryRenewsATokenAndThePOSTIsSentAgain(t *testing.T) {
	for name, option := range map[string]harness.Option{
		"alone": harness.Attempts(3), "with OnAttempt": harness.OnAttempt(func(restyretry.Attempt) error { return nil }),
	} {
		harness.Bubble(t, name, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(401, 401, 201), option,
				harness.RetryIf(func(a restyretry.Attempt) bool { return a.StatusCode() == 401 }),
				harness.OnRetry(func(a restyretry.Attempt) {
					if a.Number == 1 {
						a.Request.SetAuthToken("new")
					}
				}))
			c.SetAuthToken("old")
			c.Do(t, c.R().SetBody("an order"), "POST", "/orders").Want(t, "401 condition 1s | 401 condition 1s | 201 succeeded").
				WantHeader(t, "Authorization", "Bearer old", "Bearer new", "Bearer new")
		})
	}
}

func TestCookiesOfAFailedAttemptAreSentByTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.New(t, func(n int, r *http.Request) (*http.Response, error) {
			return harness.Says(503, fmt.Sprint("Set-Cookie: backend=", n))(n, r)
		})
		jar, _ := cookiejar.New(nil)
		c.SetCookieJar(jar)
		c.Get(t, "/x").Want(t, "503 status 1s | 503 status 1s | 503 attempts").WantHeader(t, "Cookie", "", "backend=1", "backend=2")
	})
}
