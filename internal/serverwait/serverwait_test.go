package serverwait_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/restyretry/restyretry/internal/serverwait"
)

// noon is the client's clock, on a Wednesday, 1782907200 seconds after 1970.
var noon = time.Date(2026, time.July, 1, 12, 0, 0, 0, time.UTC)

// header makes a header of lines: name, value, name, value …
func header(lines ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(lines); i += 2 {
		h.Add(lines[i], lines[i+1])
	}
	return h
}

// A waitTest has no wait where want is 0.
type waitTest struct {
	name   string
	status int
	header http.Header
	want   time.Duration
}

func checkWaits(t *testing.T, tests []waitTest) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := serverwait.Wait(test.status, test.header, noon); got != test.want {
				t.Errorf("%d %v: got %v, want %v", test.status, test.header, got, test.want)
			}
		})
	}
}

func TestWaitOfRetryAfter(t *testing.T) {
	checkWaits(t, []waitTest{
		{"nothing", 503, header(), 0},
		{"no header", 503, nil, 0},
		{"milliseconds", 500, header("Retry-After-Ms", "1500"), 1500 * time.Millisecond},
		{"milliseconds of Azure", 408, header("x-ms-retry-after-ms", "250"), 250 * time.Millisecond},
		{"milliseconds as a date", 503, header("Retry-After-Ms", "Wed, 01 Jul 2026 12:00:30 GMT"), 0},

		{"seconds", 503, header("Retry-After", "5"), 5 * time.Second},
		{"seconds on 404", 404, header("Retry-After", "5"), 5 * time.Second},
		{"seconds on 302", 302, header("Retry-After", "5"), 5 * time.Second},
		{"seconds on 202", 202, header("Retry-After", "5"), 0},
		{"milliseconds on 200", 200, header("Retry-After-Ms", "5"), 0},
		{"blanks", 503, header("Retry-After", " \t5\t "), 5 * time.Second},
		{"leading zeros", 503, header("Retry-After", "0005"), 5 * time.Second},
		{"zero", 503, header("Retry-After", "0"), 0},
		{"negative", 503, header("Retry-After", "-5"), 0},
		{"several lines", 503, header("Retry-After", "9", "Retry-After", "5"), 9 * time.Second},
		{"several lines, the first wrong", 503, header("Retry-After", "x", "Retry-After", "5"), 0},
		{"several values on a line", 503, header("Retry-After", "5, 9"), 0},
		{"the most seconds", 503, header("Retry-After", "9223372036"), 9223372036 * time.Second},
		{"a second more", 503, header("Retry-After", "9223372037"), serverwait.Forever},

		{"IMF-fixdate", 503, header("Retry-After", "Wed, 01 Jul 2026 12:00:30 GMT"), 30 * time.Second},
		{"RFC 850", 503, header("Retry-After", "Wednesday, 01-Jul-26 12:00:30 GMT"), 30 * time.Second},
		{"asctime", 503, header("Retry-After", "Wed Jul  1 12:00:30 2026"), 30 * time.Second},
		{"leap second", 503, header("Retry-After", "Wed, 01 Jul 2026 12:00:60 GMT"), time.Minute},
		{"the present", 503, header("Retry-After", "Wed, 01 Jul 2026 12:00:00 GMT"), 0},
		{"the past", 503, header("Retry-After", "Wed, 01 Jul 2026 11:59:59 GMT"), 0},
		{"the year 0", 503, header("Retry-After", "Sat, 01 Jan 0000 00:00:00 GMT"), 0},
		{"the last date", 503, header("Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT"), serverwait.Forever},
		{"another zone", 503, header("Retry-After", "Wed, 01 Jul 2026 12:00:30 CET"), 0},
	})
}

func TestWaitOfAQuota(t *testing.T) {
	const inAMinute = "1782907260"
	checkWaits(t, []waitTest{
		{"RateLimit-Reset", 429, header("RateLimit-Reset", "5"), 5 * time.Second},
		{"X-RateLimit-Reset", 429, header("X-RateLimit-Reset", "5"), 5 * time.Second},
		{"X-Rate-Limit-Reset", 429, header("X-Rate-Limit-Reset", "5"), 5 * time.Second},
		{"a reset since 1970", 429, header("X-RateLimit-Reset", inAMinute), time.Minute},
		{"a reset that is over", 429, header("X-RateLimit-Reset", "1000000000"), 0},
		{"the last reset from now", 429, header("X-RateLimit-Reset", "999999999"), 999999999 * time.Second},
		{"the last reset", 429, header("X-RateLimit-Reset", "9223372036854775807"), serverwait.Forever},
		{"a reset of 0", 429, header("X-RateLimit-Reset", "0"), 0},
		{"a reset as a date", 429, header("X-RateLimit-Reset", "Wed, 01 Jul 2026 12:00:30 GMT"), 0},
		{"a reset on 408", 408, header("X-RateLimit-Reset", "5"), 0},
		{"a reset on 500", 500, header("RateLimit-Reset", "5"), 0},
		{"a reset on 502", 502, header("X-Rate-Limit-Reset", "5"), 0},
		{"a reset on 200", 200, header("X-Rate-Limit-Reset", "5"), 0},

		{"RateLimit", 429, header("RateLimit", `"default";r=0;t=30`), 30 * time.Second},
		{"RateLimit on 500", 500, header("RateLimit", `"default";r=0;t=30`), 0},
		{"RateLimit without r", 429, header("RateLimit", `"default";t=30`), 30 * time.Second},
		{"RateLimit with something left", 429, header("RateLimit", `"default";r=5;t=30`), 30 * time.Second},
		{"RateLimit with blanks", 429, header("RateLimit", ` "default"; r=0; t=30 `), 30 * time.Second},
		{"RateLimit with other parameters", 429, header("RateLimit", `"default";q="t=9";r=0;pk=:YWI=:;t=30;tt=40`), 30 * time.Second},
		{"RateLimit as a token", 429, header("RateLimit", `default;r=0;t=30`), 30 * time.Second},
		{"one of several used up", 429, header("RateLimit", `"hour";r=70;t=50,"minute";r=0;t=10`), 10 * time.Second},
		{"several used up", 429, header("RateLimit", `"minute";r=0;t=10, "hour";r=0;t=50`), 50 * time.Second},
		{"none of several used up", 429, header("RateLimit", `"minute";r=1;t=10, "hour";r=2;t=50`), 50 * time.Second},
		{"a quota called r=0;t=9", 429, header("RateLimit", `"a;r=0;t=9";r=1;t=30`), 30 * time.Second},
		{"a quota with an escaped quote", 429, header("RateLimit", `"a\",b;r=0;t=9";r=0;t=30`), 30 * time.Second},
		{"a quota that does not end", 429, header("RateLimit", `"a;r=0;t=30`), 0},
		{"a quota without t", 429, header("RateLimit", `"a";r=0`), 0},
		{"a quota with a negative t", 429, header("RateLimit", `"a";r=0;t=-30`), 0},
		{"a quota with a fraction", 429, header("RateLimit", `"a";r=0;t=3.5`), 0},
		{"a quota with a string", 429, header("RateLimit", `"a";r=0;t="30"`), 0},
		{"an old draft's RateLimit", 429, header("RateLimit", `limit=100, remaining=0, reset=30`), 0},
	})
}

// Many servers send these fields with every response.
func TestWaitOfAQuotaThatIsNotUsedUp(t *testing.T) {
	checkWaits(t, []waitTest{
		{"a 503 that is not about the quota", 503, header("RateLimit-Remaining", "4990", "RateLimit-Reset", "2400"), 0},
		{"the same of GitHub's", 503, header("X-RateLimit-Remaining", "4990", "X-RateLimit-Reset", "1782909600"), 0},
		{"the same of others", 503, header("X-Rate-Limit-Remaining", "4990", "X-Rate-Limit-Reset", "2400"), 0},
		{"the same in mixed fields", 503, header("RateLimit-Remaining", "4990", "X-RateLimit-Reset", "2400"), 0},
		{"Retry-After with it", 503, header("Retry-After", "5", "RateLimit-Remaining", "4990", "RateLimit-Reset", "2400"), 5 * time.Second},
		{"429", 429, header("RateLimit-Remaining", "4990", "RateLimit-Reset", "2400"), 40 * time.Minute},
		{"nothing remains", 503, header("RateLimit-Remaining", "0", "RateLimit-Reset", "2400"), 40 * time.Minute},
		{"less than nothing remains", 503, header("RateLimit-Remaining", "-1", "RateLimit-Reset", "2400"), 40 * time.Minute},
		{"not said", 503, header("RateLimit-Reset", "2400"), 40 * time.Minute},
		{"not said, of others", 503, header("X-Rate-Limit-Reset", "2400"), 40 * time.Minute},
		{"not understood", 503, header("RateLimit-Remaining", "plenty", "RateLimit-Reset", "2400"), 40 * time.Minute},

		{"RateLimit with something left", 503, header("RateLimit", `"a";r=4990;t=2400`), 0},
		{"RateLimit with nothing left", 503, header("RateLimit", `"a";r=0;t=2400`), 40 * time.Minute},
		{"RateLimit that does not say", 503, header("RateLimit", `"a";t=2400`), 40 * time.Minute},
		{"RateLimit, one of several used up", 503, header("RateLimit", `"a";r=4990;t=2400, "b";r=0;t=10`), 10 * time.Second},
		{"RateLimit, one of several not said", 503, header("RateLimit", `"a";r=4990;t=2400, "b";t=10`), 10 * time.Second},
		{"RateLimit used up, the rest not", 503, header("RateLimit-Remaining", "9", "RateLimit-Reset", "2400", "RateLimit", `"b";r=0;t=10`), 10 * time.Second},
	})
}

// All fields are there; then the first goes, and the next counts.
func TestWaitPrecedence(t *testing.T) {
	order := []string{
		"Retry-After-Ms", "1000", "X-Ms-Retry-After-Ms", "2000", "Retry-After", "3",
		"Ratelimit-Reset", "4", "X-Ratelimit-Reset", "5", "X-Rate-Limit-Reset", "6", "Ratelimit", `"a";r=0;t=7`,
	}
	for i := 0; i < len(order); i += 2 {
		if got, want := serverwait.Wait(429, header(order[i:]...), noon), time.Duration(i/2+1)*time.Second; got != want {
			t.Errorf("from %s on: got %v, want %v", order[i], got, want)
		}
	}
	for _, before := range []string{"0", "x", "Wed, 01 Jul 2026 11:00:00 GMT"} {
		h := header("Retry-After-Ms", before, "Retry-After", before, "RateLimit-Reset", before, "X-RateLimit-Reset", "5")
		if got := serverwait.Wait(429, h, noon); got != 5*time.Second {
			t.Errorf("after %q: got %v, want 5s", before, got)
		}
	}
}

// The server's clock is right and says noon; what the client's says is no matter.
func TestWaitIsMeasuredByTheDateOfTheResponse(t *testing.T) {
	const date = "Wed, 01 Jul 2026 12:00:00 GMT"
	for _, off := range []time.Duration{
		0, time.Second, 10 * time.Minute, -10 * time.Minute, 2 * time.Hour, -2 * time.Hour, 200 * 24 * time.Hour, -56 * 365 * 24 * time.Hour,
	} {
		for _, test := range []waitTest{
			{"IMF-fixdate", 503, header("Date", date, "Retry-After", "Wed, 01 Jul 2026 12:00:30 GMT"), 30 * time.Second},
			{"asctime", 503, header("Date", date, "Retry-After", "Wed Jul  1 12:00:30 2026"), 30 * time.Second},
			{"Date as asctime", 503, header("Date", "Wed Jul  1 12:00:00 2026", "Retry-After", "Wed, 01 Jul 2026 12:00:30 GMT"), 30 * time.Second},
			{"a date that is over", 503, header("Date", date, "Retry-After", "Wed, 01 Jul 2026 11:59:59 GMT"), 0},
			{"a reset since 1970", 429, header("Date", date, "X-RateLimit-Reset", "1782907230"), 30 * time.Second},
			{"a reset since 1970 that is over", 429, header("Date", date, "X-RateLimit-Reset", "1782907199"), 0},
			{"seconds", 503, header("Date", date, "Retry-After", "30"), 30 * time.Second},
			{"seconds to a reset", 429, header("Date", date, "X-RateLimit-Reset", "30"), 30 * time.Second},
		} {
			t.Run(fmt.Sprint(test.name, " ", off), func(t *testing.T) {
				if got := serverwait.Wait(test.status, test.header, noon.Add(off)); got != test.want {
					t.Errorf("got %v, want %v", got, test.want)
				}
			})
		}
	}
}

func TestWaitWithoutADateIsMeasuredByTheClient(t *testing.T) {
	for _, date := range []string{"", "now", "2026-07-01T10:00:00Z", "Wed, 01 Jul 2026 10:00:00 CET", "Mon, 01 Jan 0001 00:00:00 GMT"} {
		t.Run(date, func(t *testing.T) {
			checkWaits(t, []waitTest{
				{"a date", 503, header("Date", date, "Retry-After", "Wed, 01 Jul 2026 12:00:30 GMT"), 30 * time.Second},
				{"a reset", 429, header("Date", date, "X-RateLimit-Reset", "1782907230"), 30 * time.Second},
			})
		})
	}
}

// A Date before all times must not turn what is no date into a wait.
func TestWaitOfNoDateIsNone(t *testing.T) {
	for _, after := range []string{"soon", "", "-1"} {
		if got := serverwait.Wait(503, header("Date", "Sat, 01 Jan 0000 00:00:00 GMT", "Retry-After", after), noon); got != 0 {
			t.Errorf("%q: got %v, want none", after, got)
		}
	}
}

// waitFields are all fields that tell a wait.
var waitFields = []string{
	"Retry-After-Ms", "X-Ms-Retry-After-Ms", "Retry-After",
	"Ratelimit-Reset", "X-Ratelimit-Reset", "X-Rate-Limit-Reset", "Ratelimit",
}

// fieldValue is the value of a field that tells a number.
func fieldValue(name, number string) string {
	if name == "Ratelimit" {
		return `"q";r=0;t=` + number
	}
	return number
}

func TestWaitOfNumbersOfAnyLength(t *testing.T) {
	for _, name := range waitFields {
		before := time.Duration(0)
		for n := 1; n <= 400; n++ {
			got := serverwait.Wait(429, header(name, fieldValue(name, strings.Repeat("9", n))), noon)
			if name == "Retry-After" && got < before || got < 0 {
				t.Fatalf("%s of %d digits: got %v after %v", name, n, got, before)
			}
			if n >= 20 && got != serverwait.Forever {
				t.Fatalf("%s of %d digits: got %v, want longer than any limit", name, n, got)
			}
			before = got
		}
	}
}

func TestShouldRetry(t *testing.T) {
	for _, name := range []string{"X-Should-Retry", "Stripe-Should-Retry"} {
		for _, test := range []struct {
			status int
			value  string
			want   serverwait.Directive
		}{
			{503, "true", serverwait.Retry},
			{404, "\ttrue ", serverwait.Retry},
			{304, "true", serverwait.Retry},
			{200, "true", serverwait.Silent},
			{101, "true", serverwait.Silent},
			{503, "false", serverwait.Stop},
			{200, " false\t", serverwait.Stop},
			{503, "", serverwait.Silent},
			{503, "TRUE", serverwait.Silent},
			{503, "1", serverwait.Silent},
		} {
			t.Run(fmt.Sprintf("%s %d %q", name, test.status, test.value), func(t *testing.T) {
				if got := serverwait.ShouldRetry(test.status, header(name, test.value)); got != test.want {
					t.Errorf("got %v, want %v", got, test.want)
				}
			})
		}
	}
}

func TestShouldRetryPrecedence(t *testing.T) {
	for _, test := range []struct {
		name   string
		header http.Header
		want   serverwait.Directive
	}{
		{"no header", nil, serverwait.Silent},
		{"the first field", header("X-Should-Retry", "false", "Stripe-Should-Retry", "true"), serverwait.Stop},
		{"the first field, the other way", header("X-Should-Retry", "true", "Stripe-Should-Retry", "false"), serverwait.Retry},
		{"the first that is understood", header("X-Should-Retry", "?", "Stripe-Should-Retry", "false"), serverwait.Stop},
		{"the first line", header("X-Should-Retry", "false", "X-Should-Retry", "true"), serverwait.Stop},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := serverwait.ShouldRetry(503, test.header); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// FuzzWait reads hostile values of one field, with a second line of it, a Date
// and what remains.
func FuzzWait(f *testing.F) {
	values := []string{
		"1", "30", "1782907230", "Wed, 01 Jul 2026 12:00:30 GMT", "Wednesday, 01-Jul-26 12:00:60 GMT", "Wed Jul  1 12:00:30 2026",
		`"hour";r=0;t=30, "day";r=5;t=60`, `"a\";t=9";t=1`, strings.Repeat("9", 400), "", "-1", "1e3", "٣", "\xff",
	}
	dates := []string{"", "Wed, 01 Jul 2026 12:00:00 GMT", "Sat, 01 Jan 0000 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:60 GMT", "x"}
	for i, value := range values {
		for field := range waitFields {
			f.Add(uint8(field), []int{200, 408, 429, 503}[i%4], value, values[len(values)-1-i], dates[i%len(dates)], value, noon.Unix())
		}
	}
	f.Fuzz(func(t *testing.T, field uint8, status int, value, other, date, remaining string, clock int64) {
		now := time.Unix(clock%(1<<37), 0)
		name := waitFields[int(field)%len(waitFields)]
		wait := func(lines ...string) time.Duration {
			return serverwait.Wait(status, header(append(lines, "Date", date, "RateLimit-Remaining", remaining)...), now)
		}
		got := wait(name, value)
		always := serverwait.Wait(http.StatusTooManyRequests, header(name, value, "Date", date), now)
		switch {
		case got < 0:
			t.Fatalf("%s: %q: got %v", name, value, got)
		case status >= 200 && status < 300 && got != 0:
			t.Fatalf("status %d: got %v, want none", status, got)
		case got != wait(name, value, name, other):
			t.Fatalf("%s: %q: a second line %q counts", name, value, other)
		case name != "Ratelimit" && got != 0 && got != always:
			t.Fatalf("%s: %q: got %v on %d, but %v on 429", name, value, got, status, always)
		case name != "Retry-After" && name != "Ratelimit" && got != 0 && !isNumber(value):
			t.Fatalf("%s: %q: got %v of no number", name, value, got)
		}
	})
}

// isNumber reports whether s is ASCII digits with blanks around them.
func isNumber(s string) bool {
	s = strings.Trim(s, " \t")
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// FuzzWaitIsMonotonic tells two numbers of seconds.
func FuzzWaitIsMonotonic(f *testing.F) {
	f.Add(uint64(1), uint64(2), 503)
	f.Add(uint64(0), uint64(9223372036), 429)
	f.Add(uint64(9223372036), uint64(9223372037), 301)
	f.Add(uint64(1<<63-1), uint64(1<<63), 503)
	f.Fuzz(func(t *testing.T, a, b uint64, status int) {
		wait := func(seconds uint64) time.Duration {
			return serverwait.Wait(status, header("Retry-After", strconv.FormatUint(seconds, 10)), noon)
		}
		if wait(min(a, b)) > wait(max(a, b)) {
			t.Errorf("%d s: %v, %d s: %v", a, wait(a), b, wait(b))
		}
	})
}

// FuzzWaitByTheServersClock sends a time of the server's together with its Date:
// the wait is the difference, at any time of the client's.
func FuzzWaitByTheServersClock(f *testing.F) {
	f.Add(noon.Unix(), int64(30), int64(7200))
	f.Add(noon.Unix(), int64(-30), int64(-7200))
	f.Add(int64(1<<33), int64(1<<33), int64(1<<36))
	f.Fuzz(func(t *testing.T, date, ahead, off int64) {
		date, ahead = 1<<30+date&(1<<33-1), ahead%(1<<29)
		h := header("Date", time.Unix(date, 0).UTC().Format(http.TimeFormat))
		want := max(time.Duration(ahead)*time.Second, 0)
		for name, value := range map[string]string{
			"Retry-After":       time.Unix(date+ahead, 0).UTC().Format(http.TimeFormat),
			"X-Ratelimit-Reset": strconv.FormatInt(date+ahead, 10),
		} {
			if name == "X-Ratelimit-Reset" && (date+ahead < 1_000_000_000 || date+ahead > 9_223_372_036) {
				continue // seconds from now, or too many
			}
			both := h.Clone()
			both.Set(name, value)
			if got := serverwait.Wait(429, both, time.Unix(date+off%(1<<36), 0)); got != want {
				t.Errorf("%v at %d: got %v, want %v", both, date+off, got, want)
			}
		}
	})
}
