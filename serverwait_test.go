package restyretry_test

import (
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
)

// ownWait is what a client waits that the server tells nothing.
const ownWait = 7 * time.Millisecond

// fields are header lines: name, value, name, value …
func fields(lines ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(lines); i += 2 {
		h.Add(lines[i], lines[i+1])
	}
	return h
}

// telling answers with this status and header once, and then with 200.
func telling(status int, h http.Header) (*resty.Client, *int) {
	respond, calls := answers(status, http.StatusOK)
	return mocked(func(r *http.Request) (*http.Response, error) {
		resp, err := respond(r)
		if *calls == 1 {
			resp.Header = h
		}
		return resp, err
	}), calls
}

// exact makes every wait exactly what is told.
func exact(o *restyretry.Options) {
	o.Wait = restyretry.Constant(ownWait)
	o.Rand = func() float64 { return 0 }
}

// told returns the first attempt at a server that answers so. It checks that the
// client waits as long as it says.
func told(t *testing.T, status int, h http.Header, opts ...func(*restyretry.Options)) restyretry.Attempt {
	t.Helper()
	c, calls := telling(status, h)
	install(t, c, append([]func(*restyretry.Options){exact}, opts...)...)
	start := time.Now()
	resp, err := c.R().Get("/x")
	if err != nil {
		t.Fatal(err)
	}
	first := restyretry.History(resp.Request)[0]
	if took := time.Since(start); took != first.Wait {
		t.Errorf("took %v, but the wait is %v", took, first.Wait)
	}
	switch {
	case first.Reason == restyretry.ReasonServerWait && (*calls != 1 || resp.StatusCode() != status || first.Wait != 0):
		t.Errorf("got %d calls, status %d, wait %v; want the first response at once", *calls, resp.StatusCode(), first.Wait)
	case first.Reason != restyretry.ReasonServerWait && (*calls != 2 || resp.StatusCode() != 200):
		t.Errorf("got %d calls, status %d, reason %s; want a second attempt", *calls, resp.StatusCode(), first.Reason)
	}
	return first
}

// tooLong is the wait of a request that ends with reason server-wait.
const tooLong = time.Duration(-1)

func checkWait(t *testing.T, got restyretry.Attempt, want time.Duration) {
	t.Helper()
	if want == tooLong {
		if got.Reason != restyretry.ReasonServerWait {
			t.Errorf("got reason %s and wait %v, want %s", got.Reason, got.Wait, restyretry.ReasonServerWait)
		}
		return
	}
	if got.Reason != restyretry.ReasonStatus || got.Wait != want {
		t.Errorf("got reason %s and wait %v, want %v", got.Reason, got.Wait, want)
	}
}

// A bubble begins on 1 January 2000, 00:00:00 UTC, a Saturday: 946684800 s after
// the epoch.
var serverWaits = []struct {
	name   string
	status int
	header http.Header
	want   time.Duration
}{
	{"nothing", 503, fields(), ownWait},

	// Milliseconds.
	{"Retry-After-Ms", 503, fields("Retry-After-Ms", "1500"), 1500 * time.Millisecond},
	{"x-ms-retry-after-ms", 503, fields("x-ms-retry-after-ms", "250"), 250 * time.Millisecond},
	{"Retry-After-Ms on 408", 408, fields("Retry-After-Ms", "1500"), 1500 * time.Millisecond},
	{"x-ms-retry-after-ms on 500", 500, fields("x-ms-retry-after-ms", "1500"), 1500 * time.Millisecond},
	{"milliseconds that are too long", 503, fields("Retry-After-Ms", "60001"), tooLong},
	{"milliseconds as a date", 503, fields("Retry-After-Ms", "Sat, 01 Jan 2000 00:00:30 GMT"), ownWait},

	// Retry-After in seconds, on every status that is retried.
	{"Retry-After on 408", 408, fields("Retry-After", "5"), 5 * time.Second},
	{"Retry-After on 425", 425, fields("Retry-After", "5"), 5 * time.Second},
	{"Retry-After on 429", 429, fields("Retry-After", "5"), 5 * time.Second},
	{"Retry-After on 500", 500, fields("Retry-After", "5"), 5 * time.Second},
	{"Retry-After on 503", 503, fields("Retry-After", "5"), 5 * time.Second},
	{"Retry-After on 599", 599, fields("Retry-After", "5"), 5 * time.Second},
	{"blanks", 503, fields("Retry-After", " \t5\t "), 5 * time.Second},
	{"leading zeros", 503, fields("Retry-After", "0005"), 5 * time.Second},
	{"zero", 503, fields("Retry-After", "0"), ownWait},
	{"zeros", 503, fields("Retry-After", "000"), ownWait},
	{"negative", 503, fields("Retry-After", "-5"), ownWait},
	{"several lines", 503, fields("Retry-After", "5", "Retry-After", "9"), 5 * time.Second},
	{"several lines, the longest first", 503, fields("Retry-After", "9", "Retry-After", "5"), 9 * time.Second},
	{"several lines, the first wrong", 503, fields("Retry-After", "x", "Retry-After", "5"), ownWait},
	{"several values on a line", 503, fields("Retry-After", "5, 9"), ownWait},
	{"the limit", 503, fields("Retry-After", "60"), time.Minute},
	{"past the limit", 503, fields("Retry-After", "61"), tooLong},

	// Retry-After as a date.
	{"IMF-fixdate", 503, fields("Retry-After", "Sat, 01 Jan 2000 00:00:30 GMT"), 30 * time.Second},
	{"RFC 850", 503, fields("Retry-After", "Saturday, 01-Jan-00 00:00:30 GMT"), 30 * time.Second},
	{"asctime", 503, fields("Retry-After", "Sat Jan  1 00:00:30 2000"), 30 * time.Second},
	{"a date with blanks", 503, fields("Retry-After", "  Sat, 01 Jan 2000 00:00:30 GMT\t"), 30 * time.Second},
	{"IMF-fixdate, leap second", 503, fields("Retry-After", "Sat, 01 Jan 2000 00:00:60 GMT"), time.Minute},
	{"RFC 850, leap second", 503, fields("Retry-After", "Saturday, 01-Jan-00 00:00:60 GMT"), time.Minute},
	{"asctime, leap second", 503, fields("Retry-After", "Sat Jan  1 00:00:60 2000"), time.Minute},
	{"a date at the limit", 503, fields("Retry-After", "Sat, 01 Jan 2000 00:01:00 GMT"), time.Minute},
	{"a date past the limit", 503, fields("Retry-After", "Sat, 01 Jan 2000 00:01:01 GMT"), tooLong},
	{"the last date", 503, fields("Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT"), tooLong},
	{"RFC 850 in 50 years", 503, fields("Retry-After", "Saturday, 01-Jan-50 00:00:00 GMT"), tooLong},
	{"RFC 850 more than 50 years ago", 503, fields("Retry-After", "Saturday, 01-Jan-50 00:00:01 GMT"), ownWait},
	{"RFC 850 of 1999", 503, fields("Retry-After", "Friday, 31-Dec-99 23:59:59 GMT"), ownWait},
	{"the present", 503, fields("Retry-After", "Sat, 01 Jan 2000 00:00:00 GMT"), ownWait},
	{"the past", 503, fields("Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT"), ownWait},
	{"the epoch", 503, fields("Retry-After", "Thu, 01 Jan 1970 00:00:00 GMT"), ownWait},
	{"the year 0", 503, fields("Retry-After", "Sat, 01 Jan 0000 00:00:00 GMT"), ownWait},
	{"zone UTC", 503, fields("Retry-After", "Sat, 01 Jan 2000 00:00:30 UTC"), ownWait},
	{"zone +0000", 503, fields("Retry-After", "Sat, 01 Jan 2000 00:00:30 +0000"), ownWait},
	{"zone EST", 503, fields("Retry-After", "Sat, 01 Jan 2000 00:00:30 EST"), ownWait},
	{"RFC 3339", 503, fields("Retry-After", "2000-01-01T00:00:30Z"), ownWait},

	// The reset of a quota, on 429 and 503 alone.
	{"RateLimit-Reset", 429, fields("RateLimit-Reset", "5"), 5 * time.Second},
	{"X-RateLimit-Reset", 429, fields("X-RateLimit-Reset", "5"), 5 * time.Second},
	{"X-Rate-Limit-Reset", 429, fields("X-Rate-Limit-Reset", "5"), 5 * time.Second},
	{"RateLimit-Reset on 503", 503, fields("RateLimit-Reset", "5"), 5 * time.Second},
	{"X-RateLimit-Reset on 503", 503, fields("X-RateLimit-Reset", "5"), 5 * time.Second},
	{"X-Rate-Limit-Reset on 503", 503, fields("X-Rate-Limit-Reset", "5"), 5 * time.Second},
	{"RateLimit-Reset on 500", 500, fields("RateLimit-Reset", "5"), ownWait},
	{"X-RateLimit-Reset on 408", 408, fields("X-RateLimit-Reset", "5"), ownWait},
	{"X-Rate-Limit-Reset on 502", 502, fields("X-Rate-Limit-Reset", "5"), ownWait},
	{"a reset of 0", 429, fields("X-RateLimit-Reset", "0"), ownWait},
	{"a reset past the limit", 429, fields("X-RateLimit-Reset", "61"), tooLong},
	{"the last reset that is no epoch", 429, fields("X-RateLimit-Reset", "999999999"), tooLong},
	{"an epoch past the limit", 429, fields("X-RateLimit-Reset", "1000000000"), tooLong},
	{"the last epoch", 429, fields("X-RateLimit-Reset", "9223372036854775807"), tooLong},
	{"a reset as a date", 429, fields("X-RateLimit-Reset", "Sat, 01 Jan 2000 00:00:30 GMT"), ownWait},

	// RateLimit of the draft.
	{"RateLimit", 429, fields("RateLimit", `"default";r=0;t=30`), 30 * time.Second},
	{"RateLimit on 503", 503, fields("RateLimit", `"default";r=0;t=30`), 30 * time.Second},
	{"RateLimit on 500", 500, fields("RateLimit", `"default";r=0;t=30`), ownWait},
	{"RateLimit, t first", 429, fields("RateLimit", `"default";t=30;r=0`), 30 * time.Second},
	{"RateLimit without r", 429, fields("RateLimit", `"default";t=30`), 30 * time.Second},
	{"RateLimit with something left", 429, fields("RateLimit", `"default";r=5;t=30`), 30 * time.Second},
	{"RateLimit with blanks", 429, fields("RateLimit", ` "default"; r=0; t=30 `), 30 * time.Second},
	{"RateLimit with other parameters", 429, fields("RateLimit", `"default";q="t=9";r=0;pk=:YWI=:;t=30;tt=40`), 30 * time.Second},
	{"RateLimit as a token", 429, fields("RateLimit", `default;r=0;t=30`), 30 * time.Second},
	{"several quotas, one used up", 429, fields("RateLimit", `"minute";r=0;t=10, "hour";r=70;t=50`), 10 * time.Second},
	{"several quotas, the last used up", 429, fields("RateLimit", `"hour";r=70;t=50,"minute";r=0;t=10`), 10 * time.Second},
	{"several quotas used up", 429, fields("RateLimit", `"minute";r=0;t=10, "hour";r=0;t=50`), 50 * time.Second},
	{"several quotas, none used up", 429, fields("RateLimit", `"minute";r=1;t=10, "hour";r=2;t=50`), 50 * time.Second},
	{"a quota called r=0;t=9", 429, fields("RateLimit", `"a;r=0;t=9";r=1;t=30`), 30 * time.Second},
	{"a quota with a comma", 429, fields("RateLimit", `"a,b;r=0;t=9";r=0;t=30`), 30 * time.Second},
	{"a quota with an escaped quote", 429, fields("RateLimit", `"a\",b;r=0;t=9";r=0;t=30`), 30 * time.Second},
	{"a quota with an escaped backslash", 429, fields("RateLimit", `"a\\";r=0;t=30`), 30 * time.Second},
	{"a quota that does not end", 429, fields("RateLimit", `"a;r=0;t=30`), ownWait},
	{"a quota without t", 429, fields("RateLimit", `"a";r=0`), ownWait},
	{"a quota with t without a value", 429, fields("RateLimit", `"a";r=0;t`), ownWait},
	{"a quota with t=0", 429, fields("RateLimit", `"a";r=0;t=0`), ownWait},
	{"a quota with a negative t", 429, fields("RateLimit", `"a";r=0;t=-30`), ownWait},
	{"a quota with a fraction", 429, fields("RateLimit", `"a";r=0;t=3.5`), ownWait},
	{"a quota with a string", 429, fields("RateLimit", `"a";r=0;t="30"`), ownWait},
	{"a quota past the limit", 429, fields("RateLimit", `"a";r=0;t=61`), tooLong},
	{"an old draft's RateLimit", 429, fields("RateLimit", `limit=100, remaining=0, reset=30`), ownWait},
	{"several lines of RateLimit", 429, fields("RateLimit", `"a";r=0;t=10`, "RateLimit", `"b";r=0;t=50`), 10 * time.Second},

	// The first valid one wins.
	{"a zero before", 429, fields("Retry-After", "0", "X-RateLimit-Reset", "5"), 5 * time.Second},
	{"a past date before", 429, fields("Retry-After", "Fri, 31 Dec 1999 00:00:00 GMT", "X-RateLimit-Reset", "5"), 5 * time.Second},
	{"garbage before", 503, fields("Retry-After-Ms", "soon", "x-ms-retry-after-ms", "1e3", "Retry-After", "5"), 5 * time.Second},
	{"a shorter one behind", 503, fields("Retry-After", "30", "X-RateLimit-Reset", "5"), 30 * time.Second},
	{"too long, and a shorter one behind", 503, fields("Retry-After", "61", "X-RateLimit-Reset", "5"), tooLong},
	{"short, and one behind that is too long", 503, fields("Retry-After", "5", "X-RateLimit-Reset", "61"), 5 * time.Second},
}

func TestServerWait(t *testing.T) {
	for _, tt := range serverWaits {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				checkWait(t, told(t, tt.status, tt.header), tt.want)
			})
		})
	}
}

// All fields are there; then the first goes, and the next counts.
func TestServerWaitPrecedence(t *testing.T) {
	order := []string{
		"Retry-After-Ms", "X-Ms-Retry-After-Ms", "Retry-After",
		"Ratelimit-Reset", "X-Ratelimit-Reset", "X-Rate-Limit-Reset", "Ratelimit",
	}
	values := []string{"1000", "2000", "3", "4", "5", "6", `"a";r=0;t=7`}
	for i := range order {
		synctest.Test(t, func(t *testing.T) {
			h := http.Header{}
			for j := i; j < len(order); j++ {
				h.Set(order[j], values[j])
			}
			checkWait(t, told(t, 429, h), time.Duration(i+1)*time.Second)
		})
	}
}

// An epoch counts from 1970, so this clock has to be in this century.
func TestServerWaitOfAnEpoch(t *testing.T) {
	now := time.Date(2026, time.July, 1, 12, 0, 0, 0, time.UTC)
	for offset, want := range map[time.Duration]time.Duration{
		30 * time.Second: 30 * time.Second,
		time.Minute:      time.Minute,
		61 * time.Second: tooLong,
		0:                ownWait,
		-time.Second:     ownWait,
	} {
		for _, name := range []string{"RateLimit-Reset", "X-RateLimit-Reset", "X-Rate-Limit-Reset"} {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(now))
				at := fmt.Sprint(now.Add(offset).Unix())
				checkWait(t, told(t, 429, fields(name, at)), want)
				checkWait(t, told(t, 500, fields(name, at)), ownWait)
			})
		}
	}
}

// A number from 1,000,000,000 on is a time since 1970, which is past here.
func TestServerWaitOfTheFirstEpoch(t *testing.T) {
	for number, want := range map[string]time.Duration{"999999999": tooLong, "1000000000": ownWait, "1000000001": ownWait} {
		t.Run(number, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(10 * 365 * 24 * time.Hour)
				checkWait(t, told(t, 429, fields("X-RateLimit-Reset", number)), want)
			})
		})
	}
}

func TestServerWaitIgnoresWhatIsNoNumber(t *testing.T) {
	values := []string{
		"", " ", "-1", "+1", "1.5", "1.0", "1.", ".5", "1,5", "0x1F", "1e3", "1E+3", "NaN", "Inf", "+Inf", "Infinity", "1_0",
		"1 0", "5s", "5 seconds", "5;q=1", `"5"`, "١٢", "۱۲", "１２", "१२", "5\u00a0", "\u20095", "\v5", "5\x00", "\xff", "soon", "true", "null", "[]",
		strings.Repeat("x", 1<<16),
	}
	for _, name := range []string{
		"Retry-After-Ms", "X-Ms-Retry-After-Ms", "Retry-After", "Ratelimit-Reset", "X-Ratelimit-Reset", "X-Rate-Limit-Reset", "Ratelimit",
	} {
		t.Run(name, func(t *testing.T) {
			for _, value := range values {
				if name == "Ratelimit" {
					value = `"a";r=0;t=` + strings.NewReplacer(",", ".", ";", ".").Replace(value) // which end it there
				}
				synctest.Test(t, func(t *testing.T) {
					if got := told(t, 429, fields(name, value)); got.Wait != ownWait {
						t.Errorf("%q: got %v, want %v", value[:min(len(value), 40)], got.Wait, ownWait)
					}
				})
			}
		})
	}
}

func TestServerWaitOfNumbersOfAnyLength(t *testing.T) {
	for _, name := range []string{"Retry-After-Ms", "Retry-After", "X-RateLimit-Reset", "RateLimit"} {
		synctest.Test(t, func(t *testing.T) {
			for _, digit := range []string{"1", "9"} {
				for n := 6; n <= 400; n++ {
					number := strings.Repeat(digit, n)
					if name == "RateLimit" {
						number = "a;t=" + number
					}
					checkWait(t, told(t, 429, fields(name, number)), tooLong)
				}
			}
			long := strings.Repeat("0", 399)
			checkWait(t, told(t, 503, fields("Retry-After", long+"5")), 5*time.Second)
			checkWait(t, told(t, 503, fields("Retry-After", long)), ownWait)
		})
	}
}

// TZ must not matter to dates that have no zone.
func TestServerWaitIsAlwaysInUTC(t *testing.T) {
	if os.Getenv("RESTYRETRY_TZ") != "" {
		t.Skip("this is the process with the other zone")
	}
	for _, zone := range []string{"Asia/Kolkata", "America/Los_Angeles"} {
		if _, err := time.LoadLocation(zone); err != nil {
			t.Skip(err)
		}
		test := exec.Command(os.Args[0], "-test.run=^TestServerWait$/.")
		test.Env = append(os.Environ(), "TZ="+zone, "RESTYRETRY_TZ="+zone)
		if out, err := test.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", zone, err, out)
		}
	}
}

// A 2xx that is retried does not tell a wait.
func TestServerWaitOfASuccessIsIgnored(t *testing.T) {
	pending := func(o *restyretry.Options) {
		o.RetryIf = func(a restyretry.Attempt) bool { return a.Number == 1 }
	}
	for _, status := range []int{200, 202, 204, 299} {
		for _, h := range []http.Header{
			fields("Retry-After", "5"), fields("Retry-After", "600"), fields("Retry-After-Ms", "5000"), fields("X-RateLimit-Reset", "5"),
		} {
			synctest.Test(t, func(t *testing.T) {
				if got := told(t, status, h, pending); got.Reason != restyretry.ReasonCondition || got.Wait != ownWait {
					t.Errorf("%d %v: got %s, %v; want %v", status, h, got.Reason, got.Wait, ownWait)
				}
			})
		}
	}
	for _, status := range []int{302, 404} {
		synctest.Test(t, func(t *testing.T) {
			if got := told(t, status, fields("Retry-After", "5"), pending); got.Wait != 5*time.Second {
				t.Errorf("%d: got %v, want 5s", status, got.Wait)
			}
		})
	}
}

func TestServerWaitLimit(t *testing.T) {
	limit := func(d time.Duration) func(*restyretry.Options) {
		return func(o *restyretry.Options) { o.MaxServerWait = d }
	}
	for _, tt := range []struct {
		name  string
		limit time.Duration
		line  string
		want  time.Duration
	}{
		{"0 ignores", 0, "5", ownWait},
		{"0 ignores what is long", 0, "600", ownWait},
		{"less than the limit", 10 * time.Second, "9", 9 * time.Second},
		{"the limit", 10 * time.Second, "10", 10 * time.Second},
		{"more than the limit", 10 * time.Second, "11", tooLong},
		{"a nanosecond less", 10*time.Second - 1, "10", tooLong},
		{"a long limit", 100 * time.Hour, "360000", 100 * time.Hour},
		{"past a long limit", 100 * time.Hour, "360001", tooLong},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				checkWait(t, told(t, 503, fields("Retry-After", tt.line), limit(tt.limit)), tt.want)
			})
		})
	}
}

// The longest limit there is must not make the longest wait overflow: what is
// added at random would make it negative, and the loop tight.
func TestServerWaitWithoutALimitDoesNotOverflow(t *testing.T) {
	for _, line := range []string{"9223372036", "9223372036854775807", strings.Repeat("9", 400), "Fri, 31 Dec 9999 23:59:59 GMT"} {
		synctest.Test(t, func(t *testing.T) {
			c, calls := telling(503, fields("Retry-After", line))
			install(t, c, exact, func(o *restyretry.Options) {
				o.MaxServerWait = math.MaxInt64
				o.Rand = func() float64 { return 0.999 }
				o.MaxElapsed = time.Hour // so that the test ends
			})
			resp, err := c.R().Get("/x")
			if err != nil || resp.StatusCode() != 503 || *calls != 1 {
				t.Errorf("%.20s: got status %d, %d calls, %v; want 503 and no second attempt", line, resp.StatusCode(), *calls, err)
			}
		})
	}
}

func TestServerWaitTooLongReturnsTheResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, calls := telling(503, fields("Retry-After", "61"))
		retried := 0
		p := install(t, c, exact, func(o *restyretry.Options) {
			o.Hooks = []restyretry.Hooks{{OnRetry: func(restyretry.Attempt) { retried++ }}}
		})
		start := time.Now()
		resp, err := c.R().Get("/x")
		if err != nil || resp.StatusCode() != 503 || resp.String() != "Service Unavailable" || resp.Header().Get("Retry-After") != "61" {
			t.Fatalf("got %v %v", resp, err)
		}
		if *calls != 1 || retried != 0 || time.Since(start) != 0 {
			t.Errorf("got %d calls, %d retries, %v; want one call at once", *calls, retried, time.Since(start))
		}
		if got := summary(restyretry.History(resp.Request)); got != "1 server-wait" {
			t.Errorf("history: got %s, want 1 server-wait", got)
		}
		if got := p.Stats().GivenUp[restyretry.ReasonServerWait]; got != 1 {
			t.Errorf("got %d given up, want 1", got)
		}
	})
}

// The wait is never shorter than told, and longer by less than a tenth or a
// second.
func TestServerWaitIsSpread(t *testing.T) {
	most := func(o *restyretry.Options) { o.Rand = func() float64 { return math.Nextafter(1, 0) } }
	chance := func(o *restyretry.Options) { o.Rand = nil }
	for seconds, extra := range map[int]time.Duration{1: 100 * time.Millisecond, 5: 500 * time.Millisecond, 10: time.Second, 11: time.Second, 60: time.Second} {
		synctest.Test(t, func(t *testing.T) {
			h := fields("Retry-After", fmt.Sprint(seconds))
			least := time.Duration(seconds) * time.Second
			if got := told(t, 503, h, most).Wait; got <= least+extra*99/100 || got > least+extra {
				t.Errorf("%d s: got %v at the most, want %v", seconds, got, least+extra)
			}
			seen := map[time.Duration]bool{}
			for range 200 {
				got := told(t, 503, h, chance).Wait
				if got < least || got > least+extra {
					t.Fatalf("%d s: got %v, want from %v to %v", seconds, got, least, least+extra)
				}
				seen[got] = true
			}
			if len(seen) < 150 {
				t.Errorf("%d s: got %d different waits of 200", seconds, len(seen))
			}
		})
	}
}

// A date is counted from one reading of the clock, however long others take.
func TestServerWaitReadsTheClockOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := telling(503, fields("Retry-After", "Sat, 01 Jan 2000 00:00:30 GMT"))
		c.SetRetryAfter(func(*resty.Client, *resty.Response) (time.Duration, error) {
			time.Sleep(10 * time.Second)
			return 0, nil
		})
		install(t, c, exact)
		resp, err := c.R().Get("/x")
		if err != nil {
			t.Fatal(err)
		}
		if got := restyretry.History(resp.Request)[0].Wait; got != 30*time.Second {
			t.Errorf("got %v, want 30s", got)
		}
	})
}

func TestServerWaitHoldsForEveryAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		respond, calls := answers(503, 429, 200)
		c := mocked(func(r *http.Request) (*http.Response, error) {
			resp, err := respond(r)
			resp.Header.Set("Retry-After", fmt.Sprint(*calls*10))
			return resp, err
		})
		install(t, c, exact)
		start := time.Now()
		if resp, err := c.R().Get("/x"); err != nil || resp.StatusCode() != 200 || time.Since(start) != 30*time.Second {
			t.Errorf("got %v %v after %v, want 200 after 30s", resp, err, time.Since(start))
		}
	})
}

// A wait that the deadline or MaxElapsed leaves no time for is not begun.
func TestServerWaitEndsWithTheOtherLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := telling(503, fields("Retry-After", "5"))
		install(t, c, exact, func(o *restyretry.Options) { o.MaxElapsed = 4 * time.Second })
		resp, err := c.R().Get("/x")
		if got := summary(restyretry.History(resp.Request)); err != nil || got != "1 elapsed" {
			t.Errorf("got %s %v, want 1 elapsed", got, err)
		}
	})
}

func TestServerWaitShouldRetry(t *testing.T) {
	for _, name := range []string{"x-should-retry", "Stripe-Should-Retry"} {
		for _, tt := range []struct {
			method string
			status int
			value  string
			want   string
		}{
			{"GET", 503, "false", "1 server"},
			{"GET", 429, "false", "1 server"},
			{"GET", 503, " false\t", "1 server"},
			{"GET", 404, "false", "1 not-retryable"},
			{"GET", 200, "false", "1 succeeded"},
			{"POST", 503, "false", "1 server"},
			{"GET", 503, "true", "1 server, 2 succeeded"},
			{"GET", 404, "true", "1 server, 2 succeeded"},
			{"GET", 404, "\ttrue ", "1 server, 2 succeeded"},
			{"GET", 501, "true", "1 server, 2 succeeded"},
			{"GET", 304, "true", "1 server, 2 succeeded"},
			{"POST", 503, "true", "1 server, 2 succeeded"},
			{"POST", 404, "true", "1 server, 2 succeeded"},
			{"PATCH", 409, "true", "1 server, 2 succeeded"},
			{"GET", 200, "true", "1 succeeded"},
			{"POST", 201, "true", "1 succeeded"},
			{"GET", 503, "maybe", "1 status, 2 succeeded"},
			{"GET", 503, "", "1 status, 2 succeeded"},
			{"GET", 404, "TRUE", "1 not-retryable"},
			{"GET", 404, "1", "1 not-retryable"},
			{"POST", 503, "maybe", "1 method"},
		} {
			t.Run(fmt.Sprint(name, " ", tt.value, " ", tt.method, " ", tt.status), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c, _ := telling(tt.status, fields(name, tt.value))
					install(t, c, exact)
					resp, err := c.R().Execute(tt.method, "/x")
					if got := summary(restyretry.History(resp.Request)); err != nil || got != tt.want {
						t.Errorf("got %s %v, want %s", got, err, tt.want)
					}
				})
			})
		}
	}
}

// The server's no holds for what RetryIf and Statuses ask for too, and of a
// success as well.
func TestServerWaitShouldRetryFalseEndsEveryRetry(t *testing.T) {
	for _, status := range []int{200, 202, 302, 404} {
		for name, ask := range map[string]func(*restyretry.Options){
			"RetryIf":  func(o *restyretry.Options) { o.RetryIf = func(a restyretry.Attempt) bool { return a.Number == 1 } },
			"Statuses": func(o *restyretry.Options) { o.Statuses = []int{status} },
		} {
			t.Run(fmt.Sprint(name, " ", status), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c, calls := telling(status, fields("x-should-retry", "false"))
					install(t, c, exact, func(o *restyretry.Options) { o.Attempts = 2 }, ask)
					resp, err := c.R().Get("/x")
					if got := summary(restyretry.History(resp.Request)); err != nil || got != "1 server" || *calls != 1 {
						t.Errorf("got %s, %d calls, %v; want 1 server", got, *calls, err)
					}
				})
			})
		}
	}
}

// The server's yes is bound by all other limits.
func TestServerWaitShouldRetryTrueHasLimits(t *testing.T) {
	for want, limit := range map[string]func(*restyretry.Options){
		"1 unless":                       func(o *restyretry.Options) { o.Unless = func(restyretry.Attempt) bool { return true } },
		"1 attempts":                     restyretry.Off,
		"1 budget":                       func(o *restyretry.Options) { o.Budget = restyretry.NewBudget(0, 0) },
		"1 elapsed":                      func(o *restyretry.Options) { o.MaxElapsed = time.Millisecond },
		"1 server, 2 server, 3 attempts": func(o *restyretry.Options) { o.Attempts = 3 },
	} {
		t.Run(want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				respond, _ := answers(404)
				c := mocked(func(r *http.Request) (*http.Response, error) {
					resp, err := respond(r)
					resp.Header.Set("X-Should-Retry", "true")
					return resp, err
				})
				install(t, c, exact, limit)
				resp, err := c.R().SetBody("an order").Post("/x")
				if got := summary(restyretry.History(resp.Request)); err != nil || got != want {
					t.Errorf("got %s %v, want %s", got, err, want)
				}
			})
		})
	}
}

func TestServerWaitShouldRetryPrecedence(t *testing.T) {
	for _, tt := range []struct {
		header http.Header
		want   string
	}{
		{fields("x-should-retry", "false", "Stripe-Should-Retry", "true"), "1 server"},
		{fields("x-should-retry", "true", "Stripe-Should-Retry", "false"), "1 server, 2 succeeded"},
		{fields("x-should-retry", "?", "Stripe-Should-Retry", "false"), "1 server"},
		{fields("x-should-retry", "false", "x-should-retry", "true"), "1 server"},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, _ := telling(503, tt.header)
			install(t, c, exact)
			resp, err := c.R().Get("/x")
			if got := summary(restyretry.History(resp.Request)); err != nil || got != tt.want {
				t.Errorf("%v: got %s %v, want %s", tt.header, got, err, tt.want)
			}
		})
	}
}

func TestServerWaitLimitIsChecked(t *testing.T) {
	_, err := restyretry.Install(resty.New(), func(o *restyretry.Options) { o.MaxServerWait = -time.Second })
	if err == nil || !strings.Contains(err.Error(), "MaxServerWait is -1s") {
		t.Errorf("got %v, want an error that names MaxServerWait and -1s", err)
	}
}

// FuzzServerWaitOfARequest sends hostile values of all fields through a client:
// what it waits is within the limit and what is added at random, or the request
// ends with reason server-wait.
func FuzzServerWaitOfARequest(f *testing.F) {
	f.Add(429, "1500", "", "", "", "")
	f.Add(503, "", "5", "", "", "")
	f.Add(503, "", "Sat, 01 Jan 2000 00:00:60 GMT", "", "", "")
	f.Add(429, "", "", strings.Repeat("9", 400), "", "")
	f.Add(429, "x", "-1", "NaN", `"a\",b";r=0;t=30, "c";r=0;t=40`, "false")
	f.Add(404, "", "Saturday, 01-Jan-50 00:00:00 GMT", "", "", "true")
	f.Fuzz(func(t *testing.T, status int, ms, after, reset, limit, should string) {
		status = 300 + int(uint(status)%300)
		synctest.Test(t, func(t *testing.T) {
			c, _ := telling(status, fields("Retry-After-Ms", ms, "Retry-After", after, "X-RateLimit-Reset", reset, "RateLimit", limit, "X-Should-Retry", should))
			install(t, c, constant(ownWait))
			start := time.Now()
			r := c.R().SetDoNotParseResponse(true)
			_, _ = r.Get("/x")
			first, took := restyretry.History(r)[0], time.Since(start)
			const most = time.Minute*11/10 + time.Second
			if first.Wait < 0 || first.Wait > most || first.Wait != took {
				t.Errorf("got a wait of %v in %v, reason %s", first.Wait, took, first.Reason)
			}
			if first.Reason == restyretry.ReasonServerWait && took != 0 {
				t.Errorf("got reason %s after %v, want it at once", first.Reason, took)
			}
		})
	})
}

// Rate-limit fields that come with every answer say nothing of a 503 that has
// another reason.
func TestAQuotaThatIsLeftIsNoWait(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		header http.Header
		want   time.Duration
	}{
		{"503, much is left", 503, fields("RateLimit-Remaining", "4990", "RateLimit-Reset", "2400"), ownWait},
		{"503, much is left, in one field", 503, fields("RateLimit", `"default";r=4990;t=2400`), ownWait},
		{"503, nothing is left", 503, fields("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "24"), 24 * time.Second},
		{"503, nobody says what is left", 503, fields("X-RateLimit-Reset", "24"), 24 * time.Second},
		{"429, much is left", 429, fields("RateLimit-Remaining", "4990", "RateLimit-Reset", "24"), 24 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if got := told(t, test.status, test.header).Wait; got != test.want {
					t.Errorf("got %v, want %v", got, test.want)
				}
			})
		})
	}
}

func TestAServersDateIsComparedWithItsOwnClock(t *testing.T) {
	for _, off := range []time.Duration{0, 10 * time.Minute, -10 * time.Minute, 2 * time.Hour, -2 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			theirs := time.Now().Add(off).UTC()
			date, later := theirs.Format(http.TimeFormat), theirs.Add(30*time.Second).Format(http.TimeFormat)
			if got := told(t, 429, fields("Date", date, "Retry-After", later)).Wait; got != 30*time.Second {
				t.Errorf("off by %v: got %v, want 30s", off, got)
			}
		})
	}
}
