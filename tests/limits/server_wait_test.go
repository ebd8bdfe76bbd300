package limits

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

// The client waits 1 s where the server does not ask. A bubble begins on
// 1 January 2000, a Saturday. What the fields mean is tested in internal/serverwait.
func TestAServerSaysHowLongToWait(t *testing.T) {
	again := harness.RetryIf(func(a restyretry.Attempt) bool { return a.Number == 1 })
	for _, tt := range []struct {
		status int
		lines  string
		opt    harness.Option
		want   string
	}{
		{503, "Retry-After: 5", nil, "503 status 5s"},
		{408, "Retry-After: 5", nil, "408 status 5s"},
		{500, "Retry-After-Ms: 1500", nil, "500 status 1.5s"},
		{503, "Retry-After: Sat, 01 Jan 2000 00:00:30 GMT", nil, "503 status 30s"},
		{429, "Date: Sat, 01 Jan 2000 02:00:00 GMT|Retry-After: Sat, 01 Jan 2000 02:00:30 GMT", nil, "429 status 30s"},
		{429, "X-RateLimit-Reset: 5", nil, "429 status 5s"},
		{500, "X-RateLimit-Reset: 5", nil, "500 status 1s"},
		{503, "RateLimit-Remaining: 4990|RateLimit-Reset: 2400", nil, "503 status 1s"},
		{429, `RateLimit: "default";r=0;t=30`, nil, "429 status 30s"},
		{503, "Retry-After: soon", nil, "503 status 1s"},
		{503, "Retry-After: 0", nil, "503 status 1s"},
		{404, "Retry-After: 5", again, "404 condition 5s"},
		{200, "Retry-After: 5", again, "200 condition 1s"}, // a success tells no wait
		{204, "Retry-After: 600", again, "204 condition 1s"},

		{503, "Retry-After: 60", nil, "503 status 1m0s"},
		{503, "Retry-After: 61", nil, "503 server-wait"},
		{429, "X-RateLimit-Reset: 9223372036854775807", nil, "429 server-wait"},
		{503, "Retry-After: 5", harness.MaxServerWait(0), "503 status 1s"},
		{503, "Retry-After: 600", harness.MaxServerWait(0), "503 status 1s"},
		{503, "Retry-After: 10", harness.MaxServerWait(10 * time.Second), "503 status 10s"},
		{503, "Retry-After: 11", harness.MaxServerWait(10 * time.Second), "503 server-wait"},
		{503, "Retry-After: 10", harness.MaxServerWait(10*time.Second - 1), "503 server-wait"},
		{503, "Retry-After: 360000", harness.MaxServerWait(100 * time.Hour), "503 status 100h0m0s"},
		{503, "Retry-After: 360001", harness.MaxServerWait(100 * time.Hour), "503 server-wait"},
		{503, "Retry-After: 5", harness.MaxElapsed(4 * time.Second), "503 elapsed"},

		// What is added at random does not make the longest wait negative.
		{503, "Retry-After: 9223372036", longest, "503 server-wait"},
		{503, "Retry-After: 9223372034", longest, "503 elapsed"},
		{503, "Retry-After: " + strings.Repeat("9", 400), longest, "503 server-wait"},
		{503, "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT", longest, "503 server-wait"},
	} {
		harness.Bubble(t, fmt.Sprintf("%d %.60s", tt.status, tt.lines), func(t *testing.T) {
			opts := []harness.Option{harness.Rand(0)}
			if tt.opt != nil {
				opts = append(opts, tt.opt)
			}
			c := harness.New(t, harness.Each(harness.Says(tt.status, strings.Split(tt.lines, "|")...), harness.Statuses(200)), opts...)
			if len(strings.Fields(tt.want)) == 3 { // it is retried
				tt.want += " | 200 succeeded"
			}
			c.Get(t, "/").Want(t, tt.want)
		})
	}
}

func longest(o *restyretry.Options) {
	o.MaxServerWait, o.MaxElapsed, o.Rand = math.MaxInt64, time.Hour, func() float64 { return 0.999 }
}

func TestAServerThatAsksForTooMuchIsReturnedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.New(t, harness.Says(503, "Retry-After: 61", "", "later"))
		call := c.Get(t, "/").Want(t, "503 server-wait").WantTook(t, 0)
		harness.Equal(t, "response", call.Response.String()+call.Response.Header().Get("Retry-After"), "later61")
		harness.Equal(t, "given up", c.Plugin.Stats().GivenUp[restyretry.ReasonServerWait], 1)
	})
}

func TestEveryAttemptWaitsAsItsOwnServerSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.New(t, harness.Each(harness.Says(503, "Retry-After: 10"), harness.Says(429, "Retry-After: 20"), harness.Statuses(200)), harness.Rand(0))
		c.Get(t, "/").Want(t, "503 status 10s | 429 status 20s | 200 succeeded")
	})
}

// The server's wait fits in, and so what is added at random does too.
func TestWhatIsAddedToTheWaitOfAServerPassesNoLimit(t *testing.T) {
	const limit = 1050 * time.Millisecond
	for name, cooldown := range map[string]*restyretry.Cooldown{"alone": nil, "with a Cooldown": {}} {
		harness.Bubble(t, name, func(t *testing.T) {
			script := func() harness.Script { return harness.Each(harness.Says(429, "Retry-After: 1"), harness.Statuses(200)) }
			for range 100 {
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				c := harness.New(t, script(), harness.Cooldown(cooldown))
				c.Do(t, c.R().SetContext(ctx), "GET", "/").WantStatus(t, 200)
				cancel()
				harness.New(t, script(), harness.Cooldown(cooldown), harness.MaxElapsed(limit)).Get(t, "/").WantStatus(t, 200)
			}
		})
	}
}

// The wait is never shorter than the server says, and longer by at most a tenth or
// a second.
func TestTheWaitsOfAServerAreSpread(t *testing.T) {
	for seconds, extra := range map[int]time.Duration{1: 100 * time.Millisecond, 5: 500 * time.Millisecond, 10: time.Second, 60: time.Second} {
		harness.Bubble(t, fmt.Sprint(seconds), func(t *testing.T) {
			wait := func(opts ...harness.Option) time.Duration {
				script := harness.Each(harness.Says(500, fmt.Sprint("Retry-After: ", seconds)), harness.Statuses(200))
				opts = append(opts, harness.Cooldown(&restyretry.Cooldown{})) // which a 500 does not begin
				return harness.New(t, script, opts...).Get(t, "/").History[0].Wait
			}
			least := time.Duration(seconds) * time.Second
			if got := wait(harness.Rand(math.Nextafter(1, 0))); got <= least+extra*99/100 || got > least+extra {
				t.Errorf("got %v at the most, want %v", got, least+extra)
			}
			seen := map[time.Duration]bool{}
			for range 50 {
				got := wait()
				if got < least || got > least+extra {
					t.Fatalf("got %v, want from %v to %v", got, least, least+extra)
				}
				seen[got] = true
			}
			if len(seen) < 40 {
				t.Errorf("got %d different waits of 50", len(seen))
			}
		})
	}
}

func TestADateIsCountedFromOneReadingOfTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := harness.Mock(harness.Each(harness.Says(503, "Retry-After: Sat, 01 Jan 2000 00:00:30 GMT"), harness.Statuses(200)))
		c.SetRetryAfter(func(*resty.Client, *resty.Response) (time.Duration, error) {
			time.Sleep(10 * time.Second)
			return 0, nil
		})
		c.Install(t, harness.Rand(0))
		harness.Equal(t, "wait", c.Get(t, "/").History[0].Wait, 30*time.Second)
	})
}

func TestAServerSaysWhetherToRetry(t *testing.T) {
	asked := harness.RetryIf(func(a restyretry.Attempt) bool { return a.Number == 1 })
	listed := func(o *restyretry.Options) { o.Statuses = []int{202, 404} }
	unless := func(o *restyretry.Options) { o.Unless = func(restyretry.Attempt) bool { return true } }
	budget := func(o *restyretry.Options) { o.Budget = restyretry.NewBudget(0, 0) }
	for _, tt := range []struct {
		method string
		status int
		value  string
		opt    harness.Option
		want   string
	}{
		{"GET", 503, "false", nil, "503 server"},
		{"GET", 404, "false", nil, "404 not-retryable"},
		{"GET", 200, "false", nil, "200 succeeded"},
		{"POST", 503, "false", nil, "503 server"},
		{"GET", 200, "false", asked, "200 server"},
		{"GET", 404, "false", asked, "404 server"},
		{"GET", 202, "false", listed, "202 server"},
		{"GET", 404, "false", listed, "404 server"},

		{"GET", 503, "true", nil, "503 server 1s | 200 succeeded"},
		{"GET", 404, "true", nil, "404 server 1s | 200 succeeded"},
		{"GET", 501, "true", nil, "501 server 1s | 200 succeeded"},
		{"POST", 503, "true", nil, "503 server 1s | 200 succeeded"},
		{"PATCH", 409, "true", nil, "409 server 1s | 200 succeeded"},
		{"GET", 200, "true", nil, "200 succeeded"},
		{"POST", 201, "true", nil, "201 succeeded"},
		{"POST", 404, "true", unless, "404 unless"},
		{"POST", 404, "true", restyretry.Off, "404 attempts"},
		{"POST", 404, "true", budget, "404 budget"},
		{"POST", 404, "true", harness.MaxElapsed(time.Millisecond), "404 elapsed"},

		{"GET", 503, "maybe", nil, "503 status 1s | 200 succeeded"},
		{"GET", 404, "1", nil, "404 not-retryable"},
		{"POST", 503, "maybe", nil, "503 method"},
	} {
		for _, name := range []string{"X-Should-Retry", "Stripe-Should-Retry"} {
			harness.Bubble(t, fmt.Sprint(name, tt.value, tt.method, tt.want), func(t *testing.T) {
				var opts []harness.Option
				if tt.opt != nil {
					opts = append(opts, tt.opt)
				}
				c := harness.New(t, harness.Each(harness.Says(tt.status, name+": "+tt.value), harness.Statuses(200)), opts...)
				c.Do(t, c.R().SetBody("an order"), tt.method, "/").Want(t, tt.want)
			})
		}
	}
	harness.Bubble(t, "for good", func(t *testing.T) {
		c := harness.New(t, harness.Says(404, "X-Should-Retry: true"))
		c.Do(t, c.R(), "POST", "/").Want(t, "404 server 1s | 404 server 1s | 404 attempts")
	})
}

// FuzzServerWaitOfARequest sends hostile values of all fields through a client:
// what it waits is within the limit and what is added at random, or the request
// ends with reason server-wait.
func FuzzServerWaitOfARequest(f *testing.F) {
	f.Add(429, "1500", "", "", "", "")
	f.Add(503, "", "Sat, 01 Jan 2000 00:00:60 GMT", "", "", "")
	f.Add(429, "", "", strings.Repeat("9", 400), "", "")
	f.Add(429, "x", "-1", "NaN", `"a\",b";r=0;t=30, "c";r=0;t=40`, "false")
	f.Add(404, "", "Saturday, 01-Jan-50 00:00:00 GMT", "", "", "true")
	f.Fuzz(func(t *testing.T, status int, ms, after, reset, limit, should string) {
		status = 300 + int(uint(status)%300)
		synctest.Test(t, func(t *testing.T) {
			c := harness.New(t, harness.Each(harness.Says(status, "Retry-After-Ms: "+ms, "Retry-After: "+after,
				"X-RateLimit-Reset: "+reset, "RateLimit: "+limit, "X-Should-Retry: "+should), harness.Statuses(200)), harness.Wait(7*time.Millisecond))
			call := c.Do(t, c.R().SetDoNotParseResponse(true), "GET", "/")
			first := call.History[0]
			const most = time.Minute*11/10 + time.Second
			if first.Wait < 0 || first.Wait > most || first.Wait != call.Took {
				t.Errorf("got a wait of %v in %v, reason %s", first.Wait, call.Took, first.Reason)
			}
			if first.Reason == restyretry.ReasonServerWait && call.Took != 0 {
				t.Errorf("got reason %s after %v, want it at once", first.Reason, call.Took)
			}
		})
	})
}
