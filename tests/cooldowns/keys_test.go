package cooldowns

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

func TestAnAnswerThatSaysWaitBeginsACooldown(t *testing.T) {
	const minute = time.Minute
	for _, tt := range []struct {
		status int
		field  string
		want   time.Duration
	}{
		{429, "Retry-After: 60", minute},
		{503, "Retry-After: 60", minute},
		{503, "Retry-After: Sat, 01 Jan 2000 00:01:00 GMT", minute},
		{503, "Retry-After: Saturday, 01-Jan-00 00:01:00 GMT", minute},
		{429, "X-Ms-Retry-After-Ms: 60000", minute},
		{503, "X-Rate-Limit-Reset: 60", minute},
		{429, `RateLimit: "hour";r=0;t=60`, minute},
		{429, "Retry-After: 86400", 5 * minute}, // cut, not dropped
		{429, "Retry-After: " + strings.Repeat("9", 40), 5 * minute},

		{429, "X-Other: 60", 0},
		{429, "Retry-After: soon", 0},
		{429, "Retry-After: 0", 0},
		{429, "Retry-After: Fri, 31 Dec 1999 23:59:00 GMT", 0},
		{200, "Retry-After: 60", 0},
		{301, "Retry-After: 60", 0},
		{403, "Retry-After: 60", 0},
		{500, "Retry-After: 60", 0},
		{500, "X-RateLimit-Reset: 946684860", 0},
	} {
		for name, opts := range map[string][]harness.Option{
			"Off":              {restyretry.Off},
			"no MaxServerWait": {restyretry.Off, harness.MaxServerWait(0)},
			"Unless":           {func(o *restyretry.Options) { o.Unless = func(restyretry.Attempt) bool { return true } }},
			"nothing retried":  {func(o *restyretry.Options) { o.Statuses, o.ServerErrors = nil, false }, harness.MaxServerWait(1)},
			"stream":           {restyretry.Off, harness.AttemptTimeout(time.Hour)},
		} {
			harness.Bubble(t, fmt.Sprint(tt.status, tt.field, name), func(t *testing.T) {
				cooldown := new(restyretry.Cooldown)
				c := harness.New(t, harness.Says(tt.status, tt.field), append(opts, harness.Cooldown(cooldown))...)
				call := c.Do(t, c.R().SetDoNotParseResponse(name == "stream"), "GET", "/").WantStatus(t, tt.status)
				_ = call.Response.RawBody().Close()
				harness.Equal(t, "left", cooldown.Left(harness.Base), tt.want)
			})
		}
	}
}

// It was sent before another request was told to wait for a minute.
func TestAnAnswerInFlightDoesNotShortenACooldown(t *testing.T) {
	for name, tt := range map[string]struct {
		late harness.Script
		want time.Duration
	}{
		"a longer wait":  {harness.Says(429, "Retry-After: 100"), 100 * time.Second},
		"a shorter wait": {harness.Says(429, "Retry-After: 5"), 51 * time.Second},
		"a success":      {harness.Says(200), 51 * time.Second},
		"a failure":      {harness.Says(500), 51 * time.Second},
	} {
		harness.Bubble(t, name, func(t *testing.T) {
			cooldown := new(restyretry.Cooldown)
			c := harness.New(t, harness.Each(harness.After(10*time.Second, tt.late), harness.Says(503, "Retry-After: 60")),
				restyretry.Off, harness.Cooldown(cooldown))
			time.AfterFunc(time.Second, func() { _, _ = c.R().Get("/") })
			_, _ = c.R().Get("/")
			harness.Equal(t, "left", cooldown.Left(harness.Base), tt.want)
		})
	}
}

// A request is told to wait for a minute. Is the next one held?
func TestARequestIsHeldByItsKey(t *testing.T) {
	byToken := func(_ *url.URL, r *resty.Request) string { return r.Token }
	byQuery := func(u *url.URL, _ *resty.Request) string { return u.RawQuery }
	byShop := func(u *url.URL, _ *resty.Request) string { return u.Query().Get("shop") }
	for _, tt := range []struct {
		name               string
		key                func(*url.URL, *resty.Request) string
		toldToken, toldURL string
		token, url         string
		held               bool
	}{
		{"the same host", nil, "", "/x", "", "HTTP://API.test:80/y?z", true},
		{"another host", nil, "", "/x", "", "http://other.test/x", false},
		{"another port", nil, "", "/x", "", "http://api.test:8080/x", false},
		{"a path parameter in the host", nil, "", "http://other.test/x", "", "http://{host}/x", true},
		{"the host that a redirect led to", nil, "", "http://redirects.test/x", "", "http://to.test/", true},
		{"the host that redirected", nil, "", "http://redirects.test/x", "", "http://redirects.test/", false},
		{"the same token", byToken, "a", "/x", "a", "http://other.test/x", true},
		{"another token", byToken, "a", "/x", "b", "/x", false},
		{"no key", byToken, "a", "/x", "", "/x", false},
		{"told without a key", byToken, "", "/x", "", "/x", false},
		{"the same parameter", byShop, "", "/x?shop=mine", "", "/x", true},
		{"the same parameter, in the URL", byShop, "", "/x?shop=mine", "", "/x?shop=mine", true},
		{"the same query, oddly written", byQuery, "", "/x?&y=1&shop=mine", "", "/x?&y=1", true},
		{"another parameter", byShop, "", "/x?shop=yours", "", "/x", false},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			told := false
			c := harness.New(t, func(n int, r *http.Request) (*http.Response, error) {
				switch {
				case r.URL.Host == "redirects.test" && !told:
					return harness.Says(307, "Location: http://to.test/")(n, r)
				case !told:
					told = true
					return harness.Says(429, "Retry-After: 60")(n, r)
				}
				return harness.Says(200)(n, r)
			}, restyretry.Off, harness.Cooldown(&restyretry.Cooldown{Key: tt.key, Max: time.Minute}))
			c.Do(t, c.R().SetAuthToken(tt.toldToken), "GET", tt.toldURL).WantStatus(t, 429)
			want := "200 succeeded"
			if tt.held {
				want += " held 1m0s"
			}
			c.Do(t, c.R().SetAuthToken(tt.token).SetPathParam("host", "other.test").SetQueryParam("shop", "mine"), "GET", tt.url).Want(t, want)
		})
	}
}

func TestAKeyThatPanicsEndsTheRequest(t *testing.T) {
	for _, tt := range []struct {
		name   string
		script harness.Script
		good   int // so many calls of Key before the one that panics
		want   string
	}{
		{"before the first attempt", harness.Statuses(200), 0, "unsent panic"},
		{"after an answer", harness.Says(429, "Retry-After: 1"), 1, "429 panic"},
		{"before a retry", harness.Statuses(500, 200), 1, "500 status 1s | unsent panic"},
	} {
		defer time.AfterFunc(5*time.Second, func() { panic(tt.name + ": a lock of Resty's is left locked") }).Stop()
		harness.Bubble(t, tt.name, func(t *testing.T) {
			calls, panics := 0, 0
			cooldown := &restyretry.Cooldown{Key: func(*url.URL, *resty.Request) string {
				if calls++; calls == tt.good+1 {
					panic("no key")
				}
				return "free"
			}}
			cooldown.Hold("other", time.Minute)
			c := harness.New(t, tt.script, harness.Cooldown(cooldown), harness.MaxServerWait(time.Hour))
			c.OnPanic(func(*resty.Request, error) { panics++ })
			call := c.Get(t, "/")
			harness.Equal[any](t, "panic", call.Panic, "no key")
			call.WantStory(t, tt.want)
			harness.Equal(t, "OnPanic", panics, 1)
			harness.Equal(t, "OnDone", len(call.Done), 1)
			harness.Equal(t, "given up", c.Plugin.Stats().GivenUp[restyretry.ReasonPanic], 1)
			c.OnBeforeRequest(func(*resty.Client, *resty.Request) error { return nil })
			if next := c.Get(t, "/"); next.Err != nil {
				t.Errorf("got %v for the next request", next.Err)
			}
		})
	}
}

// One client is told to wait for a minute, with Off. Is a request of another held?
func TestClientsThatShareACooldownOrTellEachOtherHoldTogether(t *testing.T) {
	for _, tt := range []struct {
		name  string
		other func(c *harness.Client) *resty.Client
		opts  func(shared *restyretry.Cooldown) []harness.Option // nil: it has none of its own
		held  bool
	}{
		{"the same client", same, nil, true},
		{"its clone", (*harness.Client).Clone, nil, true},
		{"a clone with a plugin of its own", (*harness.Client).Clone, sharing(), true},
		{"a clone without a Cooldown", (*harness.Client).Clone, sharing(harness.Cooldown(nil)), false},
		{"another client", another, sharing(), true},
		{"another client with Off", another, sharing(restyretry.Off), true},
		{"another client without MaxServerWait", another, sharing(harness.MaxServerWait(0)), false},
		{"one that is told", another, func(shared *restyretry.Cooldown) []harness.Option {
			told := &restyretry.Cooldown{Max: time.Minute}
			shared.Share(told.Hold)
			return []harness.Option{harness.Cooldown(told)}
		}, true},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			shared := &restyretry.Cooldown{Max: time.Minute}
			c := harness.New(t, harness.Each(harness.Says(503, "Retry-After: 60"), harness.Says(200)), restyretry.Off, harness.Cooldown(shared))
			other := tt.other(c)
			if tt.opts != nil {
				if _, err := restyretry.Install(other, tt.opts(shared)...); err != nil {
					t.Fatal(err)
				}
			}
			c.Get(t, "/").Want(t, "503 attempts")
			start := time.Now()
			resp, err := other.R().Get("/")
			if err != nil || resp.StatusCode() != 200 || (time.Since(start) >= time.Minute) != tt.held {
				t.Errorf("got %v, %v after %v, want 200, held %t", resp, err, time.Since(start), tt.held)
			}
		})
	}
}

func same(c *harness.Client) *resty.Client { return c.Client }

func another(c *harness.Client) *resty.Client {
	return resty.NewWithClient(c.GetClient()).SetBaseURL(harness.Base).SetLogger(harness.Silent{})
}

func sharing(opts ...harness.Option) func(*restyretry.Cooldown) []harness.Option {
	return func(c *restyretry.Cooldown) []harness.Option {
		return append([]harness.Option{harness.Cooldown(c)}, opts...)
	}
}

func TestTheOptionsOfARequestHoldItOrNot(t *testing.T) {
	for _, tt := range []struct {
		name string
		opt  harness.Option
		want string
	}{
		{"none", func(*restyretry.Options) {}, "200 succeeded held 1m0s"},
		{"no Cooldown", harness.Cooldown(nil), "200 succeeded"},
		{"another Cooldown", func(o *restyretry.Options) {
			o.Cooldown = &restyretry.Cooldown{Max: 90 * time.Second}
			o.Cooldown.Hold(harness.Base, time.Hour)
		}, "200 succeeded held 1m30s"},
		{"MaxServerWait of 0", harness.MaxServerWait(0), "200 succeeded"},
		{"a shorter MaxServerWait", harness.MaxServerWait(30 * time.Second), "unsent cooldown"},
		{"Off", restyretry.Off, "200 succeeded held 1m0s"},
	} {
		harness.Bubble(t, tt.name, func(t *testing.T) {
			c, _ := cold(t, harness.Statuses(200))
			call := c.Do(t, c.R().SetContext(restyretry.With(t.Context(), tt.opt)), "GET", "/")
			call.WantStory(t, tt.want)
		})
	}
}

func TestAHeldRequestKeepsItsCooldownWhenUpdateExchangesIt(t *testing.T) {
	harness.Bubble(t, "for one that ends sooner", func(t *testing.T) {
		c, _ := cold(t, harness.Statuses(200))
		time.AfterFunc(time.Second, func() {
			second := new(restyretry.Cooldown)
			if err := c.Plugin.Update(harness.Cooldown(second)); err != nil {
				t.Error(err)
			}
			if _, err := c.R().Get("/free"); err != nil {
				t.Error(err)
			}
			second.Hold(harness.Base, 20*time.Second)
			second.Hold(harness.Base, 0)
		})
		start := time.Now()
		if _, err := c.R().Get("/held"); err != nil {
			t.Error(err)
		}
		if got := fmt.Sprint(departures(c, start)); got != "[1s 1m0s]" {
			t.Errorf("got %s, want one at 1s and the held one at 1m", got)
		}
	})
}

// It is asked when the context has been ours already.
func TestAKeyMayReplaceTheContext(t *testing.T) {
	harness.Bubble(t, "of a first attempt", func(t *testing.T) {
		cooldown := &restyretry.Cooldown{Key: func(u *url.URL, r *resty.Request) string {
			r.SetContext(context.Background())
			return u.Host
		}}
		cooldown.Hold("other", time.Minute)
		harness.New(t, harness.Statuses(503, 200), harness.Cooldown(cooldown)).Get(t, "/").Want(t, "503 status 1s | 200 succeeded")
	})
}
