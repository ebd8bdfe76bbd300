package restyretry_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
)

// Everything that the plugin says of a request: to hooks, in the log, in the
// history and in the error, for URLs that are wrong in the ways in which people
// get them wrong.
func TestNoSecretIsToldOfARequest(t *testing.T) {
	const secret = "s3cr3t"
	redirects := func(location string) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			h := http.Header{"Location": {location}}
			return &http.Response{StatusCode: 302, Header: h, Body: http.NoBody, Request: r}, nil
		})
	}
	proxied := func(address string) http.RoundTripper {
		return &http.Transport{Proxy: func(*http.Request) (*url.URL, error) {
			_, err := url.Parse(address)
			return nil, fmt.Errorf("invalid proxy address %q: %v", address, err)
		}}
	}
	for _, test := range []struct {
		name, url string
		transport http.RoundTripper
	}{
		{"no scheme", "user:" + secret + "@api.test/", nil},
		{"no slashes", "http:user:" + secret + "@api.test/", nil},
		{"user information", "http://user:" + secret + "@api.test/x", nil},
		{"query", "http://api.test/x?token=" + secret, nil},
		{"query without a value", "http://api.test/x?" + secret, nil},
		{"a space in the password", "http://user:" + secret + " x@api.test/", nil},
		{"a port that is none", "http://user:" + secret + "@api.test:port/", nil},
		{"an escape that is none", "http://api.test/%zz?token=" + secret, nil},
		{"Location with a space", "http://api.test/", redirects("http://user:" + secret + " x@api.test/")},
		{"Location with a bad port", "http://api.test/", redirects("http://user:" + secret + "@api.test:port/")},
		{"Location with a bad escape", "http://api.test/", redirects("/%zz?token=" + secret)},
		{"Location that is opaque", "http://api.test/", redirects("http:u:" + secret + "@h")},
		{"proxy with a space", "http://api.test/", proxied("http://user:" + secret + " x@proxy.test:3128")},
		{"proxy with a quote", "http://api.test/", proxied(`http://user:` + secret + `"x@proxy.test:3128`)},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log bytes.Buffer
			var said []string
			say := func(a restyretry.Attempt) { said = append(said, fmt.Sprint(a.URL, " ", a.Err)) }
			c := mocked(nil)
			c.SetBaseURL("")
			transport := test.transport
			if transport == nil {
				transport = roundTrip(func(r *http.Request) (*http.Response, error) {
					return &http.Response{StatusCode: 503, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
				})
			}
			c.SetTransport(transport)
			_, err := restyretry.Install(c, func(o *restyretry.Options) {
				o.Wait = restyretry.Constant(0)
				o.RaiseForStatus = true
				o.Errors = func(error) bool { return true }
				o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
				o.Hooks = []restyretry.Hooks{{
					OnAttempt: func(a restyretry.Attempt) error { say(a); return nil },
					OnRetry:   say, OnDone: say,
				}}
			})
			if err != nil {
				t.Fatal(err)
			}
			r := c.R()
			_, err = r.Get(test.url)
			if err == nil {
				t.Fatal("got no error")
			}
			for _, a := range restyretry.History(r) {
				say(a)
				if a.Response != nil { // what comes from the transport is in the error that is returned
					said = append(said, err.Error())
				}
			}
			for _, text := range append(said, log.String()) {
				if strings.Contains(text, secret) {
					t.Errorf("the secret is in %q", text)
				}
			}
		})
	}
}

// A list is refused by Install, which must not say what is in it either.
func TestNoSecretIsToldOfAListThatIsRefused(t *testing.T) {
	for _, bad := range []string{"user:s3cr3t@api.test", "http://user:s3cr3t@api.test?x=1", "http://user:s3cr3t x@api.test", "http:u:s3cr3t@h"} {
		for name, target := range map[string]restyretry.Target{"BaseURLs": restyretry.BaseURLs(bad), "Rotate": restyretry.Rotate(bad)} {
			_, err := restyretry.Install(resty.New(), func(o *restyretry.Options) { o.URL = target })
			if err == nil || strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("%s: got %v, want an error without the secret", name, err)
			}
		}
	}
}
