// Package credentials tests where the credentials of a request go, and that none are
// shown.
package credentials

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

// https returns a client whose base URL is https://api.test.
func https(script harness.Script, prepare func(*resty.Client)) *harness.Client {
	c := harness.Mock(script)
	c.SetBaseURL("https://api.test")
	if prepare != nil {
		prepare(c.Client)
	}
	return c
}

// moves are the ways from https to http.
var moves = []struct {
	name   string
	option harness.Option
	want   string // with credentials
}{
	{"URLs", harness.URL(restyretry.URLs("https://a.test/x", "http://b.test/x")), "unsent stopped"},
	{"URLs, upper case", harness.URL(restyretry.URLs("HTTPS://a.test/x", "HTTP://b.test/x")), "unsent stopped"},
	{"URLs, relative first", harness.URL(restyretry.URLs("/x", "http://b.test/x")), "unsent stopped"},
	{"URLs, http first", harness.URL(restyretry.URLs("http://b.test/x", "https://a.test/x")), "unsent stopped"},
	{"URLs, http alone", harness.URL(restyretry.URLs("http://b.test/x")), "unsent stopped"},
	{"BaseURLs", harness.URL(restyretry.BaseURLs("https://a.test", "http://b.test")), "unsent stopped"},
	{"Rotate", harness.URL(restyretry.Rotate("https://a.test", "http://b.test")), "unsent stopped"},
	{"TargetFunc", harness.URL(restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) {
		return []string{"https://a.test/x", "http://b.test/x?token=SECRET"}[min(a.Number, 2)-1], nil
	})), "503 stopped 1s"},
	{"OnAttempt", harness.OnAttempt(func(a restyretry.Attempt) error {
		if a.Number == 2 {
			a.Request.URL = "http://b.test/x"
		}
		return nil
	}), "503 stopped 1s"},
}

// credentials are the ways in which a request carries them.
var credentials = map[string]func(*resty.Client, *resty.Request){
	"Authorization":             func(_ *resty.Client, r *resty.Request) { r.SetHeader("Authorization", "Bearer SECRET") },
	"authorization, verbatim":   func(_ *resty.Client, r *resty.Request) { r.SetHeaderVerbatim("authorization", "Bearer SECRET") },
	"Cookie":                    func(_ *resty.Client, r *resty.Request) { r.SetHeader("Cookie", "session=SECRET") },
	"SetCookie":                 func(_ *resty.Client, r *resty.Request) { r.SetCookie(&http.Cookie{Name: "session", Value: "SECRET"}) },
	"SetAuthToken":              func(_ *resty.Client, r *resty.Request) { r.SetAuthToken("SECRET") },
	"SetBasicAuth":              func(_ *resty.Client, r *resty.Request) { r.SetBasicAuth("user", "SECRET") },
	"the client's header":       func(c *resty.Client, _ *resty.Request) { c.SetHeader("Authorization", "Bearer SECRET") },
	"the client's Cookie":       func(c *resty.Client, _ *resty.Request) { c.SetHeader("Cookie", "session=SECRET") },
	"the client's SetCookie":    func(c *resty.Client, _ *resty.Request) { c.SetCookie(&http.Cookie{Name: "session", Value: "SECRET"}) },
	"the client's SetAuthToken": func(c *resty.Client, _ *resty.Request) { c.SetAuthToken("SECRET") },
	"the client's SetBasicAuth": func(c *resty.Client, _ *resty.Request) { c.SetBasicAuth("user", "SECRET") },
	"a header of another name": func(c *resty.Client, r *resty.Request) {
		c.HeaderAuthorizationKey = "X-Auth"
		r.SetHeader("X-Auth", "SECRET")
	},
}

func TestCredentialsAreNeverMovedFromHTTPSToHTTP(t *testing.T) {
	for _, move := range moves {
		for name, give := range credentials {
			harness.Bubble(t, move.name+" with "+name, func(t *testing.T) {
				c := https(harness.Statuses(503), nil).Install(t, harness.Wait(time.Second), move.option)
				r := c.R()
				give(c.Client, r)
				call := c.Do(t, r, "GET", "/x").Want(t, move.want, harness.ErrAny)
				harness.WantError(t, call.Err, "credentials", "https", "http://b.test")
				secretless(t, fmt.Sprint(call.Err))
			})
		}
		harness.Bubble(t, move.name+" without credentials", func(t *testing.T) {
			c := https(harness.Statuses(503, 200), nil).Install(t, harness.Wait(time.Second), move.option)
			c.Do(t, c.R().SetHeader("X-Trace", "1"), "GET", "/x").Want(t, "503 status 1s | 200 succeeded")
		})
	}
	for name, target := range map[string]restyretry.Target{
		"https only": restyretry.BaseURLs("https://a.test", "https://b.test"),
		"http only":  restyretry.BaseURLs("http://a.test", "http://b.test"),
		"to https": restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) {
			return []string{"http://a.test", "https://b.test"}[min(a.Number, 2)-1], nil
		}),
	} {
		harness.Bubble(t, "allowed: "+name, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(503, 200), harness.URL(target))
			c.Do(t, c.R().SetAuthToken("SECRET"), "GET", "/x").Want(t, "503 status 1s | 200 succeeded")
		})
	}
}

// Credentials that are added only when the attempt is prepared must not leak either.
func TestCredentialsThatComeLateAreNotMovedToHTTP(t *testing.T) {
	sign := func(_ *resty.Client, r *resty.Request) error {
		r.SetHeader("Authorization", "Bearer SECRET")
		return nil
	}
	list := restyretry.URLs("https://a.test/x", "http://b.test/x")
	signs := func(c *resty.Client) { c.OnBeforeRequest(sign) }
	for _, tt := range []struct {
		name          string
		before, after func(*resty.Client) // Install
		target        restyretry.Target
		option        harness.Option
		want          string
	}{
		{"OnBeforeRequest before Install", signs, nil, list, harness.Attempts(3), "unsent stopped"},
		{"OnBeforeRequest after Install", nil, signs, list, harness.Attempts(3), "503 stopped 1s"},
		{
			"OnBeforeRequest after Install, with OnAttempt", nil, signs, list,
			harness.OnAttempt(func(restyretry.Attempt) error { return nil }), "503 status 1s | unsent not-sent",
		},
		{"OnAttempt", nil, nil, list, harness.OnAttempt(func(a restyretry.Attempt) error { return sign(nil, a.Request) }), "503 stopped 1s"},
		{"PreRequest", nil, nil, list, func(o *restyretry.Options) {
			o.PreRequest = func(_ *resty.Client, hr *http.Request) error {
				hr.Header.Set("Authorization", "Bearer SECRET")
				return nil
			}
		}, "503 status 1s | unsent not-sent"},
		{"HostURL instead of SetBaseURL", func(c *resty.Client) {
			c.BaseURL, c.HostURL = "", "https://api.test"
			c.SetAuthToken("SECRET")
		}, nil, restyretry.URLs("/x", "http://b.test/x"), harness.Attempts(3), "unsent stopped"},
		{"a scheme in a path parameter", func(c *resty.Client) {
			c.SetAuthToken("SECRET").SetRawPathParam("server", "http://b.test")
		}, nil, restyretry.URLs("https://a.test/x", "{server}/x"), harness.Attempts(3), "unsent stopped"},
		{"a scheme in a path parameter that comes after Install", nil, func(c *resty.Client) {
			c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
				r.SetAuthToken("SECRET").SetRawPathParam("server", "http://b.test")
				return nil
			})
		}, restyretry.URLs("https://a.test/x", "{server}/x"), harness.OnAttempt(func(restyretry.Attempt) error { return nil }), "503 status 1s | unsent not-sent"},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			c := https(harness.Statuses(503), tt.before).Install(t, harness.Wait(time.Second), harness.URL(tt.target), tt.option)
			if tt.after != nil {
				tt.after(c.Client)
			}
			call := c.Get(t, "/x")
			call.WantStory(t, tt.want)
			harness.WantError(t, call.Err, "credentials", "from https to", "/x")
			for _, sent := range call.Sent {
				harness.Equal(t, "sent", sent.URL, strings.Replace(sent.URL, "http:", "https:", 1))
			}
		})
	}
}

// A raw path parameter may be a link that the server has given, wherever that leads.
func TestASchemeInAPathParameterIsTheRequests(t *testing.T) {
	toLink := harness.URL(restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) {
		return []string{"{link}/items", "http://b.test/x"}[min(a.Number, 2)-1], nil
	}))
	toHTTP := harness.URL(restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) {
		return []string{a.Request.URL, "http://b.test/x"}[min(a.Number, 2)-1], nil
	}))
	for _, tt := range []struct {
		name, url, link, scheme string
		option                  harness.Option
		want                    string
	}{
		{"http", "{link}/items", "http://b.test", "", harness.Attempts(2), "503 status 1s | 200 succeeded"},
		{"http, behind a parameter that needs escapes", "{link}/{id}", "http://b.test", "", harness.Attempts(2), "503 status 1s | 200 succeeded"},
		{"http, from a Target", "http://b.test/x", "http://b.test", "", toLink, "503 status 1s | 200 succeeded"},
		{"the scheme alone", "{scheme}://b.test/x", "", "http", harness.Attempts(2), "503 status 1s | 200 succeeded"},
		{"a part of the scheme", "http{scheme}://b.test/x", "", "", harness.Attempts(2), "503 status 1s | 200 succeeded"},
		{"https, then http", "{link}/items", "https://a.test", "", toHTTP, "503 stopped 1s"},
		{"https by the scheme, then http", "{scheme}://a.test/x", "", "https", toHTTP, "503 stopped 1s"},
		{"https by a part of it, then http", "http{scheme}://a.test/x", "", "s", toHTTP, "503 stopped 1s"},
		{"a path, then http", "{id}/items", "", "", toHTTP, "503 stopped 1s"},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			c := https(harness.Statuses(503, 200), nil).Install(t, harness.Wait(time.Second), tt.option)
			r := c.R().SetAuthToken("SECRET").SetRawPathParam("link", tt.link).
				SetPathParams(map[string]string{"scheme": tt.scheme, "id": "50% off"})
			c.Do(t, r, "GET", tt.url).WantStory(t, tt.want)
		})
	}
}

// Only what is known of the URL before a middleware has seen it counts before then,
// and the last response is kept.
func TestAMiddlewareMayTakeEachAttemptToHTTPS(t *testing.T) {
	for name, option := range map[string]harness.Option{
		"alone":          harness.Attempts(3),
		"with OnAttempt": harness.OnAttempt(func(restyretry.Attempt) error { return nil }),
		"with a target":  harness.URL(restyretry.TargetFunc(func(restyretry.Attempt) (string, error) { return "/y", nil })),
	} {
		harness.Bubble(t, name, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(503, 503, 200), option)
			upgraded := 2
			c.OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
				if upgraded--; upgraded >= 0 {
					r.URL = "https://api.test/x"
				}
				return nil
			})
			call := c.Do(t, c.R().SetAuthToken("SECRET"), "GET", "/x")
			harness.Equal(t, "story", harness.Story(call.History), "503 status 1s | 503 status 1s | unsent not-sent")
			harness.WantError(t, call.Err, "credentials", "https")
		})
	}
}

func TestTheLastResponseIsKeptWhenCredentialsWouldMoveToHTTP(t *testing.T) {
	for _, hook := range []bool{true, false} {
		prepare := func(t *testing.T, base string, option harness.Option) *harness.Client {
			c := harness.Mock(harness.Statuses(503))
			c.SetBaseURL(base).SetAuthToken("SECRET")
			c.Install(t, harness.Wait(time.Second), option)
			if !hook {
				c.SetPreRequestHook(func(*resty.Client, *http.Request) error { return nil })
			}
			return c
		}
		harness.Bubble(t, fmt.Sprint("by OnRetry, with the hook: ", hook), func(t *testing.T) {
			var c *harness.Client
			c = prepare(t, "https://api.test", harness.OnRetry(func(restyretry.Attempt) { c.SetBaseURL("http://b.test") }))
			c.Get(t, "/x").Want(t, "503 stopped 1s", harness.ErrAny)
		})
		harness.Bubble(t, fmt.Sprint("by a target from http, with the hook: ", hook), func(t *testing.T) {
			c := prepare(t, "http://api.test", harness.URL(restyretry.TargetFunc(func(a restyretry.Attempt) (string, error) {
				return []string{"https://a.test/x", "http://b.test/x"}[min(a.Number, 2)-1], nil
			})))
			c.Get(t, "/x").Want(t, "503 stopped 1s", harness.ErrAny)
		})
	}
}
