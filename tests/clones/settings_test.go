package clones

import (
	"crypto/tls"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/jarcoal/httpmock"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

func preRequest(hook resty.PreRequestHook) harness.Option {
	return func(o *restyretry.Options) { o.PreRequest = hook }
}

func TestAPreRequestHookBelongsInTheOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls, no := 0, errors.New("no signature")
		hook := func(_ *resty.Client, r *http.Request) error {
			calls++
			r.Header.Set("X-Signed", strings.Repeat("x", calls))
			return nil
		}
		c := harness.Mock(harness.Statuses(503, 503, 200, 503))
		c.SetPreRequestHook(hook)
		_, err := restyretry.Install(c.Client)
		harness.WantError(t, err, "PreRequest")
		c.Install(t, harness.Wait(time.Second), preRequest(hook))
		c.Get(t, "/x").Want(t, "503 status 1s | 503 status 1s | 200 succeeded").WantHeader(t, "X-Signed", "x", "xx", "xxx")

		c = harness.New(t, harness.Statuses(503), preRequest(func(*resty.Client, *http.Request) error { return no }))
		c.Get(t, "/x").Want(t, "unsent not-sent", no)
	})
}

func TestAnotherPreRequestHookAfterInstallIsReported(t *testing.T) {
	foreign := func(*resty.Client, *http.Request) error { return nil }
	synctest.Test(t, func(t *testing.T) {
		log := &harness.Log{}
		c := harness.New(t, harness.Statuses(503), func(o *restyretry.Options) { o.Logger = log.Slog() })
		c.SetPreRequestHook(foreign)
		for range 2 {
			c.Get(t, "/x").Want(t, three)
		}
		harness.Equal(t, "reports", strings.Count(log.String(), "another pre-request hook"), 1)
		for _, needy := range []harness.Option{harness.AttemptTimeout(time.Second), preRequest(foreign)} {
			_, err := c.R().SetContext(restyretry.With(t.Context(), needy)).Get("/x")
			harness.WantError(t, err, "pre-request hook", "PreRequest")
		}
		harness.Equal(t, "sent", len(c.Sent()), 6)
	})
}

// Nothing else says then that there are no retries.
func TestAnotherPreRequestHookIsReportedWhenTheContextIsReplacedToo(t *testing.T) {
	log := &harness.Log{}
	c := harness.New(t, harness.Statuses(200), func(o *restyretry.Options) { o.Logger = log.Slog() })
	c.SetPreRequestHook(func(*resty.Client, *http.Request) error { return nil })
	c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error { r.SetContext(t.Context()); return nil })
	for range 2 {
		c.Get(t, "/x")
	}
	harness.Equal(t, "reports", strings.Count(log.String(), "another pre-request hook"), 1)
}

func TestRetryAfterIsAskedForTheWaitUnlessItIsSetAfterInstall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		after := func(*resty.Client, *resty.Response) (time.Duration, error) { return 7 * time.Second, nil }
		c := harness.Mock(harness.Statuses(503))
		c.SetRetryAfter(after)
		c.Install(t, harness.Wait(time.Second)).Get(t, "/x").Want(t, "503 status 7s | 503 status 7s | 503 attempts")

		c = harness.New(t, harness.Statuses(503))
		c.SetRetryAfter(after)
		_, err := c.R().Get("/x")
		harness.WantError(t, err, "RetryAfter", "Wait")
		harness.Equal(t, "sent", len(c.Sent()), 0)
		c.Install(t).Get(t, "/x").Want(t, "503 status 7s | 503 status 7s | 503 attempts") // which makes it good
	})
}

// Digest authentication swaps the transport for each request.
func TestDigestAuthenticationGoesOnWorking(t *testing.T) {
	digest := func(_ *testing.T, c *harness.Client) { c.SetDigestAuth("user", "password") }
	install := func(t *testing.T, c *harness.Client) { c.Install(t, harness.Wait(time.Second)) }
	for name, setUp := range map[string][]func(*testing.T, *harness.Client){
		"before Install": {digest, install}, "after Install": {install, digest},
	} {
		harness.Bubble(t, name, func(t *testing.T) {
			authorized := 0
			c := harness.Mock(func(n int, r *http.Request) (*http.Response, error) {
				if r.Header.Get("Authorization") == "" {
					return harness.Says(401, `WWW-Authenticate: Digest realm="r", nonce="n", algorithm=MD5, qop="auth"`)(n, r)
				}
				authorized++
				return harness.Statuses(503, 503, 200)(authorized, r)
			})
			transport := c.GetClient().Transport
			for _, f := range setUp {
				f(t, c)
			}
			harness.Equal(t, "story", story(c.Client), "503 status 1s | 503 status 1s | 200 succeeded")
			harness.Equal(t, "transport afterwards", c.GetClient().Transport, transport)
		})
	}
}

func TestTheTransportIsLeftAlone(t *testing.T) {
	c := resty.New().SetLogger(harness.Silent{})
	before := c.GetClient().Transport
	if _, err := restyretry.Install(c, harness.Wait(0)); err != nil {
		t.Fatal(err)
	}
	harness.Equal(t, "transport", c.GetClient().Transport, before)
	c.SetProxy("http://proxy.test").SetTLSClientConfig(&tls.Config{ServerName: "api.test"})
	transport, err := c.Transport()
	if err != nil || transport.TLSClientConfig.ServerName != "api.test" || !c.IsProxySet() {
		t.Errorf("got %v, proxy set %v, want the settings to arrive", err, c.IsProxySet())
	}
	httpmock.ActivateNonDefault(c.GetClient())
	defer httpmock.DeactivateAndReset()
	httpmock.RegisterResponder("GET", "http://api.test/x", httpmock.NewStringResponder(503, ""))
	_, _ = c.R().Get("http://api.test/x")
	harness.Equal(t, "calls", httpmock.GetTotalCallCount(), 3)
}
