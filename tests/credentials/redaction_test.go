package credentials

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

// secretless fails the test where a secret shows.
func secretless(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(text, "SECRET") {
			t.Errorf("the secret is in %q", text)
		}
	}
}

// unparsable are URLs that are wrong in the ways in which people get them wrong.
var unparsable = []string{
	"http://user:SECRET@[::1/x?token=SECRET",
	"http://user:SECRET word@a.test/",
	"http://user:p@SECRET@a.test:port/x",
	"http://user:SECRET/word@a.test/x",
	"http://user:SECRET?word@a.test/x",
	"http://user:SECRET@api.test:port/",
	"http://a.test:port/x#SECRET",
	"http://a.test/%zz?token=SECRET",
}

// Everything that the plugin says of a request: to hooks, in the log, in the
// history and in the error.
func TestNoSecretIsToldOfARequest(t *testing.T) {
	type row struct {
		url    string
		script harness.Script
	}
	redirects := func(location string) row { return row{"http://api.test/", harness.Says(302, "Location: "+location)} }
	proxied := func(address string) row {
		_, err := url.Parse(address)
		return row{"http://api.test/", harness.Fails(fmt.Errorf("invalid proxy address %q: %v", address, err))}
	}
	const everywhere = "http://user:SECRET@api.test/x?token=SECRET&SECRET#SECRET"
	rows := map[string]row{
		"no scheme":                      {"user:SECRET@api.test/", harness.Statuses(503)},
		"no slashes":                     {"http:user:SECRET@api.test/", harness.Statuses(503)},
		"a status":                       {everywhere, harness.Statuses(503)},
		"a transport error":              {everywhere, harness.Fails(http.ErrHandlerTimeout)},
		"a Location":                     redirects("http://api.test/y?token=SECRET"),
		"a Location with another scheme": redirects("ftp://user:SECRET@api.test/y?token=SECRET"),
		"a Location with a space":        redirects("http://user:SECRET x@api.test/"),
		"a Location with a bad port":     redirects("http://user:SECRET@api.test:port/"),
		"a Location with a bad escape":   redirects("/%zz?token=SECRET"),
		"a Location that is opaque":      redirects("http:u:SECRET@h"),
		"a proxy with a space":           proxied("http://user:SECRET x@proxy.test:3128"),
		"a proxy with a quote":           proxied(`http://user:SECRET"x@proxy.test:3128`),
	}
	for _, bad := range unparsable {
		rows[bad] = row{bad, harness.Statuses(503)}
	}
	for name, tt := range rows {
		harness.Bubble(t, name, func(t *testing.T) {
			log := &harness.Log{}
			say := func(a restyretry.Attempt) { secretless(t, fmt.Sprint(a.URL, " ", a.Err)) }
			c := harness.New(t, tt.script, harness.RaiseForStatus, func(o *restyretry.Options) {
				o.Errors = func(error) bool { return true }
				o.Logger = log.Slog()
			}, harness.Hooks(restyretry.Hooks{
				OnAttempt: func(a restyretry.Attempt) error { say(a); return nil }, OnRetry: say, OnDone: say,
			}))
			call := c.Do(t, c.SetBaseURL("").R(), "GET", tt.url)
			harness.WantError(t, call.Err)
			for _, a := range call.History {
				say(a)
				if a.Response != nil { // what comes from the transport is in the error that is returned
					secretless(t, fmt.Sprint(call.Err))
				}
			}
			if status := (*restyretry.StatusError)(nil); errors.As(call.Err, &status) {
				secretless(t, status.URL, status.Error())
			}
			secretless(t, log.String())
			if last := call.History[len(call.History)-1]; last.Response != nil {
				harness.Equal(t, "lines in the log", len(log.Lines()), 3)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		call := harness.New(t, harness.Statuses(200)).Get(t, everywhere).Want(t, "200 succeeded")
		harness.Equal(t, "URL", call.History[0].URL, "http://REDACTED:REDACTED@api.test/x?token=REDACTED&REDACTED")
	})
}

// Not even if another pre-request hook takes the place of the plugin's.
func TestNoSecretIsReturnedWithoutThePluginsHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.New(t, harness.Fails(http.ErrHandlerTimeout))
		c.SetPreRequestHook(func(*resty.Client, *http.Request) error { return nil })
		call := c.Get(t, "http://user:SECRET@api.test/x?token=SECRET")
		harness.WantIs(t, call.Err, http.ErrHandlerTimeout)
		secretless(t, call.Err.Error())
	})
}

func TestNoSecretIsToldOfAListThatIsRefused(t *testing.T) {
	refused := func(target restyretry.Target) {
		t.Helper()
		_, err := restyretry.Install(resty.New(), harness.URL(target))
		harness.WantError(t, err, "URL", "entry 1")
		secretless(t, fmt.Sprint(err))
	}
	for _, bad := range append(unparsable, "user:SECRET@api.test", "http:u:SECRET@h", "http://user:SECRET@api.test?x=1") {
		refused(restyretry.BaseURLs(bad))
		refused(restyretry.Rotate(bad))
	}
	for _, bad := range unparsable {
		refused(restyretry.URLs(bad))
	}
}
