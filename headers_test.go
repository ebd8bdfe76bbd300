package restyretry_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

func idempotencyHeader(name string) harness.Option {
	return func(o *restyretry.Options) { o.IdempotencyHeader = name }
}

func attemptHeader(name string) harness.Option {
	return func(o *restyretry.Options) { o.AttemptHeader = name }
}

func TestTheIdempotencyHeaderHasOneKeyForAllAttemptsOfARequest(t *testing.T) {
	const three = "503 status 1s | 503 status 1s | 503 attempts"
	for _, method := range []string{"POST", "PATCH", "CONNECT", "REPORT", "post"} {
		harness.Bubble(t, method, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(503), idempotencyHeader("X-Key"))
			r := c.R().SetBody("an order")
			keys := map[string]bool{}
			for _, r := range []*resty.Request{r, r, c.R().SetBody("an order")} { // a new one for each use
				call := c.Do(t, r, method, "/x").Want(t, three)
				key := call.Sent[0].Header.Get("X-Key")
				call.WantHeader(t, "X-Key", key, key, key)
				harness.Equal(t, "key left in the request", r.Header.Get("X-Key"), "")
				if keys[key] || len(key) < 20 {
					t.Errorf("got the key %q, want a new one", key)
				}
				keys[key] = true
			}
		})
	}
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY"} {
		harness.Bubble(t, method+" needs none", func(t *testing.T) {
			c := harness.New(t, harness.Statuses(503), idempotencyHeader("X-Key"))
			c.Do(t, c.R(), method, "/x").Want(t, three).WantHeader(t, "X-Key", "", "", "")
		})
	}
	harness.Bubble(t, "it is off by default", func(t *testing.T) {
		c := harness.New(t, harness.Statuses(503))
		c.Do(t, c.R(), "POST", "/x").Want(t, "503 method").WantHeader(t, "Idempotency-Key", "")
	})
}

func TestAKeyOfTheUsersIsKept(t *testing.T) {
	const again = "503 status 1s | 503 status 1s | 503 attempts"
	for name, set := range map[string]func(*harness.Client, *resty.Request){
		"of a request": func(_ *harness.Client, r *resty.Request) { r.SetHeader("x-key", "mine") },
		"of a client":  func(c *harness.Client, _ *resty.Request) { c.SetHeader("X-KEY", "mine") },
	} {
		harness.Bubble(t, name, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(503), idempotencyHeader("X-Key"))
			r := c.R()
			set(c, r)
			for range 2 {
				c.Do(t, r, "POST", "/x").Want(t, again).WantHeader(t, "X-Key", "mine", "mine", "mine")
			}
		})
	}
	for _, opt := range []harness.Option{harness.Attempts(3), idempotencyHeader("Idempotency-Key")} {
		for _, name := range []string{"idempotency-key", "IDEMPOTENCY-KEY"} { // which SetHeaderVerbatim keeps
			harness.Bubble(t, name, func(t *testing.T) {
				c := harness.New(t, harness.Statuses(503), opt)
				for _, s := range c.Do(t, c.R().SetHeaderVerbatim(name, "mine"), "POST", "/x").Want(t, again).Sent {
					harness.Equal(t, "keys", fmt.Sprint(s.Header[name], s.Header["Idempotency-Key"]), "[mine] []")
				}
			})
		}
	}
	for _, line := range [][2]string{{"X-Key", "k"}, {"X-Idempotency-Key", "k"}, {"Idempotency-Key", ""}} {
		harness.Bubble(t, "what is no key allows nothing: "+line[0], func(t *testing.T) {
			c := harness.New(t, harness.Statuses(503))
			c.Do(t, c.R().SetHeader(line[0], line[1]), "POST", "/x").Want(t, "503 method")
		})
	}
}

func TestTheAttemptHeaderTellsTheNumber(t *testing.T) {
	none, on := func(*restyretry.Options) {}, attemptHeader("X-Attempt")
	for _, tt := range []struct {
		name   string
		client harness.Option
		of     harness.Option // of the request
		user   string
		want   []string
	}{
		{"off", none, none, "", []string{"", ""}},
		{"on", on, none, "", []string{"1", "2"}},
		{"for a request", none, on, "", []string{"1", "2"}},
		{"not over the user's", on, none, "7", []string{"7", "7"}},
		{"off, the user's", none, none, "7", []string{"7", "7"}},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			c := harness.New(t, harness.Statuses(503, 200, 503, 200), tt.client)
			r := c.R().SetContext(restyretry.With(t.Context(), tt.of))
			if tt.user != "" {
				r.SetHeader("X-Attempt", tt.user)
			}
			for range 2 { // a request that is used again begins at 1
				c.Do(t, r, "GET", "/x").Want(t, "503 status 1s | 200 succeeded").WantHeader(t, "X-Attempt", tt.want...)
			}
		})
	}
}

func TestTheFieldsThatAreAddedArrive(t *testing.T) {
	t.Parallel()
	var got []string
	c := harness.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, fmt.Sprint(r.Header.Get("X-Attempt"), len(r.Header.Get("X-Key")) > 0))
		w.WriteHeader(503)
	}), attemptHeader("X-Attempt"), idempotencyHeader("X-Key"))
	c.Do(t, c.R(), "POST", "/x")
	harness.Equal(t, "got", strings.Join(got, ", "), "1true, 2true, 3true")
}

func TestNamesThatAreNoFieldsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.New(t, harness.Statuses(200))
		for _, name := range []string{" ", "X Key", "X-Key:", "X-Key\r\nX-Evil", "Schlüssel", "a\x00b", "(key)", `"key"`} {
			for option, set := range map[string]harness.Option{"IdempotencyHeader": idempotencyHeader(name), "AttemptHeader": attemptHeader(name)} {
				_, err := restyretry.Install(resty.New(), set)
				of := c.Do(t, c.R().SetContext(restyretry.With(t.Context(), set)), "GET", "/x")
				for _, err := range []error{err, c.Plugin.Update(set), of.Err} {
					harness.WantError(t, err, fmt.Sprintf("%s is %q", option, name))
				}
			}
		}
		harness.Equal(t, "requests", len(c.Sent()), 0)
	})
}

func TestAnAcceptOfTheUsersStaysAlsoIfItIsTheContentType(t *testing.T) {
	const kind = "application/json"
	harness.Bubble(t, kind, func(t *testing.T) {
		c := harness.New(t, harness.Statuses(503, 200))
		r := c.R().SetHeader("Accept", kind).SetHeader("Content-Type", kind).SetBody("{}")
		c.Do(t, r, "PUT", "/").WantHeader(t, "Accept", kind, kind)
	})
}
