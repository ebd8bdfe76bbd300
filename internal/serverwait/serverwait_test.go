package serverwait

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// noon is the client's clock, on a Wednesday, 1782907200 seconds after 1970.
var noon = time.Date(2026, time.July, 1, 12, 0, 0, 0, time.UTC)

// header makes a header of lines such as "Retry-After: 5".
func header(lines ...string) http.Header {
	h := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return h
}

func TestAnAnswerTellsTheWaitByItsFields(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		status int
		lines  string
		want   time.Duration
	}{
		{503, "", 0},

		// Milliseconds.
		{500, "Retry-After-Ms: 1500", 1500 * time.Millisecond},
		{408, "x-ms-retry-after-ms: 250", 250 * time.Millisecond},
		{503, "Retry-After-Ms: Wed, 01 Jul 2026 12:00:30 GMT", 0},
		{200, "Retry-After-Ms: 5", 0},

		// Seconds, on every status but those of success.
		{503, "Retry-After: 5", 5 * s},
		{404, "Retry-After: 5", 5 * s},
		{302, "Retry-After: 5", 5 * s},
		{599, "Retry-After: 5", 5 * s},
		{202, "Retry-After: 5", 0},
		{299, "Retry-After: 5", 0},
		{503, "Retry-After:  \t5\t ", 5 * s},
		{503, "Retry-After: 0005", 5 * s},
		{503, "Retry-After: 0", 0},
		{503, "Retry-After: -5", 0},
		{503, "Retry-After: 9|Retry-After: 5", 9 * s},
		{503, "Retry-After: x|Retry-After: 5", 0},
		{503, "Retry-After: 5, 9", 0},
		{503, "Retry-After: 9223372036", 9223372036 * s},
		{503, "Retry-After: 9223372037", Forever},

		// Dates.
		{503, "Retry-After: Wed, 01 Jul 2026 12:00:30 GMT", 30 * s},
		{503, "Retry-After: Wed, 01 Jul 2026 12:00:60 GMT", time.Minute},
		{503, "Retry-After: Wed, 01 Jul 2026 12:00:00 GMT", 0},
		{503, "Retry-After: Wed, 01 Jul 2026 11:59:59 GMT", 0},
		{503, "Retry-After: Sat, 01 Jan 0000 00:00:00 GMT", 0},
		{503, "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT", Forever},
		{503, "Retry-After: Wed, 01 Jul 2026 12:00:30 CET", 0},

		// The reset of a quota, on 429 and 503.
		{429, "RateLimit-Reset: 5", 5 * s},
		{429, "X-RateLimit-Reset: 5", 5 * s},
		{429, "X-Rate-Limit-Reset: 5", 5 * s},
		{429, "X-RateLimit-Reset: 1782907260", time.Minute},
		{429, "X-RateLimit-Reset: 1000000000", 0},
		{429, "X-RateLimit-Reset: 99999999999", Forever},
		{429, "X-RateLimit-Reset: 100000000000", 0},
		{429, "X-RateLimit-Reset: 1782907260500", time.Minute + s/2},
		{429, "X-RateLimit-Reset: 999999999", 999999999 * s},
		{429, "X-RateLimit-Reset: 9223372036854775807", Forever},
		{429, "X-RateLimit-Reset: 0", 0},
		{429, "X-RateLimit-Reset: Wed, 01 Jul 2026 12:00:30 GMT", 0},
		{408, "X-RateLimit-Reset: 5", 0},
		{500, "RateLimit-Reset: 5", 0},
		{200, "X-Rate-Limit-Reset: 5", 0},

		// On 503, only if nothing says that something remains: many servers send
		// these fields with every response.
		{503, "RateLimit-Reset: 2400", 40 * time.Minute},
		{503, "X-RateLimit-Reset: 2400", 40 * time.Minute},
		{503, "X-Rate-Limit-Reset: 2400", 40 * time.Minute},
		{503, "RateLimit-Remaining: 4990|RateLimit-Reset: 2400", 0},
		{503, "X-RateLimit-Remaining: 4990|X-RateLimit-Reset: 1782909600", 0},
		{503, "X-Rate-Limit-Remaining: 4990|X-Rate-Limit-Reset: 2400", 0},
		{503, "RateLimit-Remaining: 4990|X-RateLimit-Reset: 2400", 0},
		{503, "RateLimit-Remaining: 4990|RateLimit-Reset: 2400|Retry-After: 5", 5 * s},
		{429, "RateLimit-Remaining: 4990|RateLimit-Reset: 2400", 40 * time.Minute},
		{503, "RateLimit-Remaining: 0|RateLimit-Reset: 2400", 40 * time.Minute},
		{503, "RateLimit-Remaining: -1|RateLimit-Reset: 2400", 40 * time.Minute},
		{503, "RateLimit-Remaining: plenty|RateLimit-Reset: 2400", 40 * time.Minute},

		// RateLimit of the draft.
		{429, `RateLimit: "default";r=0;t=30`, 30 * s},
		{500, `RateLimit: "default";r=0;t=30`, 0},
		{429, `RateLimit: "default";t=30`, 30 * s},
		{429, `RateLimit: "default";t=30;r=5`, 30 * s},
		{429, `RateLimit:  "default"; r=0; t=30 `, 30 * s},
		{429, `RateLimit: "default";q="t=9";r=0;pk=:YWI=:;t=30;tt=40`, 30 * s},
		{429, `RateLimit: default;r=0;t=30`, 30 * s},
		{429, `RateLimit: "hour";r=70;t=50,"minute";r=0;t=10`, 10 * s},
		{429, `RateLimit: "minute";r=0;t=10, "hour";r=0;t=50`, 50 * s},
		{429, `RateLimit: "minute";r=1;t=10, "hour";r=2;t=50`, 50 * s},
		{429, `RateLimit: "a";r=0;t=10|RateLimit: "b";r=0;t=50`, 10 * s},
		{429, `RateLimit: "a,b;r=0;t=9";r=1;t=30`, 30 * s},
		{429, `RateLimit: "a\",b;r=0;t=9";r=0;t=30`, 30 * s},
		{429, `RateLimit: "a\\";r=0;t=30`, 30 * s},
		{429, `RateLimit: "a;r=0;t=30`, 0},
		{429, `RateLimit: "a";r=0`, 0},
		{429, `RateLimit: "a";r=0;t`, 0},
		{429, `RateLimit: "a";r=0;t=0`, 0},
		{429, `RateLimit: "a";r=0;t=-30`, 0},
		{429, `RateLimit: "a";r=0;t=3.5`, 0},
		{429, `RateLimit: "a";r=0;t="30"`, 0},
		{429, `RateLimit: limit=100, remaining=0, reset=30`, 0}, // of an old draft
		{503, `RateLimit: "a";r=4990;t=2400`, 0},
		{503, `RateLimit: "a";r=0;t=2400`, 40 * time.Minute},
		{503, `RateLimit: "a";t=2400`, 40 * time.Minute},
		{503, `RateLimit: "a";r=4990;t=2400, "b";r=0;t=10`, 10 * s},
		{503, `RateLimit: "a";r=4990;t=2400, "b";t=10`, 10 * s},
		{503, `RateLimit-Remaining: 9|RateLimit-Reset: 2400|RateLimit: "b";r=0;t=10`, 10 * s},

		// The first that asks for a wait counts, be it shorter or longer.
		{429, `Retry-After-Ms: 1000|X-Ms-Retry-After-Ms: 2000|Retry-After: 3`, s},
		{429, `X-Ms-Retry-After-Ms: 2000|Retry-After: 3|RateLimit-Reset: 4`, 2 * s},
		{429, `Retry-After: 3|RateLimit-Reset: 4|X-RateLimit-Reset: 1`, 3 * s},
		{429, `RateLimit-Reset: 4|X-RateLimit-Reset: 5|X-Rate-Limit-Reset: 6`, 4 * s},
		{429, `X-RateLimit-Reset: 5|X-Rate-Limit-Reset: 6|RateLimit: "a";r=0;t=7`, 5 * s},
		{429, `X-Rate-Limit-Reset: 6|RateLimit: "a";r=0;t=7`, 6 * s},
		{429, `Retry-After-Ms: 0|Retry-After: 0|RateLimit-Reset: 0|X-RateLimit-Reset: 5`, 5 * s},
		{429, `Retry-After-Ms: x|Retry-After: x|RateLimit-Reset: x|X-RateLimit-Reset: 5`, 5 * s},
		{429, `Retry-After: Wed, 01 Jul 2026 11:00:00 GMT|X-RateLimit-Reset: 5`, 5 * s},

		// A Date before all times does not make a wait of what is no date.
		{503, "Date: Sat, 01 Jan 0000 00:00:00 GMT|Retry-After: soon", 0},
		{503, "Date: Sat, 01 Jan 0000 00:00:00 GMT|Retry-After: ", 0},
	} {
		t.Run(fmt.Sprint(tt.status, " ", tt.lines), func(t *testing.T) {
			if got := Wait(tt.status, header(strings.Split(tt.lines, "|")...), noon); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
	if got := Wait(503, nil, noon); got != 0 {
		t.Errorf("no header: got %v, want none", got)
	}
}

// The server's clock says noon; what the client's says is no matter, unless the
// server does not tell.
func TestWaitIsMeasuredByTheDateOfTheResponse(t *testing.T) {
	for line, want := range map[string]time.Duration{
		"Retry-After: Wed, 01 Jul 2026 12:00:30 GMT": 30 * time.Second,
		"Retry-After: Wed Jul  1 12:00:30 2026":      30 * time.Second,
		"Retry-After: Wed, 01 Jul 2026 11:59:59 GMT": 0,
		"Retry-After: 30":                            30 * time.Second,
		"X-RateLimit-Reset: 1782907230":              30 * time.Second,
		"X-RateLimit-Reset: 1782907199":              0,
		"X-RateLimit-Reset: 30":                      30 * time.Second,
	} {
		for _, date := range []string{"Wed, 01 Jul 2026 12:00:00 GMT", "Wed Jul  1 12:00:00 2026"} {
			for _, off := range []time.Duration{0, time.Second, 10 * time.Minute, -2 * time.Hour, 200 * 24 * time.Hour, -56 * 365 * 24 * time.Hour} {
				if got := Wait(429, header("Date: "+date, line), noon.Add(off)); got != want {
					t.Errorf("%s, Date: %s, off by %v: got %v, want %v", line, date, off, got, want)
				}
			}
		}
		for _, date := range []string{"", "now", "2026-07-01T10:00:00Z", "Wed, 01 Jul 2026 10:00:00 CET", "Mon, 01 Jan 0001 00:00:00 GMT"} {
			if got := Wait(429, header("Date: "+date, line), noon); got != want {
				t.Errorf("%s, Date: %s: got %v, want %v", line, date, got, want)
			}
		}
	}
}

func TestADateIsReadInAnyForm(t *testing.T) {
	at := func(year int, month time.Month, day, hour, minute, second int) time.Time {
		return time.Date(year, month, day, hour, minute, second, 0, time.UTC)
	}
	half, none := at(2026, time.July, 1, 12, 0, 30), time.Time{}
	for _, tt := range []struct {
		text string
		now  time.Time
		want time.Time
	}{
		{"Wed, 01 Jul 2026 12:00:30 GMT", noon, half},
		{"Wednesday, 01-Jul-26 12:00:30 GMT", noon, half},
		{"Wed Jul  1 12:00:30 2026", noon, half},
		{"Wed Jul 15 12:00:30 2026", noon, at(2026, time.July, 15, 12, 0, 30)},
		{" \tWed, 01 Jul 2026 12:00:30 GMT\t ", noon, half},
		{"Fri, 31 Dec 9999 23:59:59 GMT", noon, at(9999, time.December, 31, 23, 59, 59)},

		// A leap second is :59 plus one.
		{"Thu, 31 Dec 2026 23:59:60 GMT", noon, at(2027, time.January, 1, 0, 0, 0)},
		{"Thursday, 31-Dec-26 23:59:60 GMT", noon, at(2027, time.January, 1, 0, 0, 0)},
		{"Thu Dec 31 23:59:60 2026", noon, at(2027, time.January, 1, 0, 0, 0)},
		{"Thu, 31 Dec 2026 23:59:61 GMT", noon, none},

		// Two digits of a year: at most 50 years ahead.
		{"Wednesday, 01-Jul-76 12:00:00 GMT", noon, at(2076, time.July, 1, 12, 0, 0)},
		{"Wednesday, 01-Jul-76 12:00:01 GMT", noon, at(1976, time.July, 1, 12, 0, 1)},
		{"Wednesday, 01-Jul-99 12:00:00 GMT", noon, at(1999, time.July, 1, 12, 0, 0)},
		{"Wednesday, 01-Jul-00 12:00:00 GMT", noon, at(2000, time.July, 1, 12, 0, 0)},
		{"Friday, 01-Jan-00 00:00:10 GMT", at(2099, time.December, 31, 23, 59, 59), at(2100, time.January, 1, 0, 0, 10)},
		{"Monday, 01-Jan-70 00:00:00 GMT", at(2060, time.January, 1, 0, 0, 0), at(2070, time.January, 1, 0, 0, 0)},
		{"Monday, 01-Jan-70 00:00:00 GMT", at(1999, time.January, 1, 0, 0, 0), at(1970, time.January, 1, 0, 0, 0)},
		{"Tuesday, 29-Feb-28 00:00:10 GMT", at(2028, time.February, 28, 0, 0, 0), at(2028, time.February, 29, 0, 0, 10)},
		{"Tuesday, 29-Feb-00 00:00:10 GMT", at(2000, time.February, 28, 0, 0, 0), at(2000, time.February, 29, 0, 0, 10)},

		// Everything but GMT is no HTTP-date.
		{"Wed, 01 Jul 2026 12:00:30 UTC", noon, none},
		{"Wed, 01 Jul 2026 12:00:30 +0000", noon, none},
		{"Wed, 01 Jul 2026 12:00:30 PST", noon, none},
		{"Wed, 01 Jul 2026 12:00:30", noon, none},
		{"Wed, 01 Jul 2026 12:00:30 GMT+1", noon, none},
		{"Wednesday, 01-Jul-26 12:00:30 UTC", noon, none},
		{"Wed Jul  1 12:00:30 2026 GMT", noon, none},
		{"2026-07-01T12:00:30Z", noon, none},

		{"Wed, 31 Jun 2026 12:00:30 GMT", noon, none},
		{"Wed, 01 Jul 2026 24:00:30 GMT", noon, none},
		{"Wed, 01 Jul 2026 12:60:30 GMT", noon, none},
		{"Wed, 01 Jul ٢٠٢٦ 12:00:30 GMT", noon, none},
		{"tomorrow", noon, none},
		{"", noon, none},
	} {
		for _, now := range []time.Time{tt.now, tt.now.In(time.FixedZone("east", 14*60*60))} {
			if got := parseDate(tt.text, now); !got.Equal(tt.want) {
				t.Errorf("%s at %v: got %v, want %v", tt.text, now, got, tt.want)
			}
		}
	}
}

func TestADateHasNoZoneOfTheClients(t *testing.T) {
	local := time.Local
	t.Cleanup(func() { time.Local = local })
	time.Local = time.FixedZone("here", -8*60*60)
	for _, date := range []string{"Wed, 01 Jul 2026 12:00:30 GMT", "Wednesday, 01-Jul-26 12:00:30 GMT", "Wed Jul  1 12:00:30 2026"} {
		if got := Wait(503, header("Retry-After: "+date), noon.Local()); got != 30*time.Second {
			t.Errorf("%s: got %v, want 30s", date, got)
		}
	}
}

func TestOnlyDigitsAreANumber(t *testing.T) {
	for _, text := range []string{
		"", " ", "\t", "-1", "+1", "-0", "1.5", "1,5", "1.", ".5", "0x10", "1e3", "1E+3", "NaN", "Inf", "infinity", "1_000", "1 0",
		"1s", "5 seconds", "1;q=1", "1, 2", "\"1\"", "١٢", "１２", "۱۲", "१२", "1\u00a0", "\u20091", "\v1", "1\x00", "\r\n1", "\xff1", "true", "null",
		"9223372036854775808x", "-9223372036854775809", "00:00:10", strings.Repeat("x", 1<<16),
	} {
		if got := digits(text); got != 0 {
			t.Errorf("digits(%.40q): got %d, want 0", text, got)
		}
	}
	for text, want := range map[string]int64{
		"0": 0, "000": 0, "1": 1, " 12\t": 12, "007": 7,
		"9223372036854775799": 9223372036854775799, "9223372036854775807": math.MaxInt64,
		"9223372036854775808": math.MaxInt64, "18446744073709551617": math.MaxInt64,
		strings.Repeat("0", 400) + "3": 3,
	} {
		if got := digits(text); got != want {
			t.Errorf("digits(%q): got %d, want %d", text, got, want)
		}
	}
}

func TestAListIsSplitOutsideQuotes(t *testing.T) {
	for text, want := range map[string]string{
		``: "", `a`: "a", `a,b`: "a|b", `"a,b",c`: `"a,b"|c`, `"a\",b",c`: `"a\",b"|c`, `"a\\",b`: `"a\\"|b`,
		`"a,b`: `"a,b`, `"a\`: `"a\`, `,`: "|", `\,a`: `\|a`,
	} {
		if got := strings.Join(splitOutsideQuotes(text, ','), "|"); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

// waitFields are all fields that tell a wait, and what comes before the number.
var waitFields = []string{
	"Retry-After-Ms: ", "X-Ms-Retry-After-Ms: ", "Retry-After: ",
	"RateLimit-Reset: ", "X-RateLimit-Reset: ", "X-Rate-Limit-Reset: ", `RateLimit: "q";r=0;t=`,
}

func TestAWaitMayBeANumberOfAnyLength(t *testing.T) {
	for _, field := range waitFields {
		before := time.Duration(0)
		for n := 1; n <= 400; n++ {
			got := Wait(429, header(field+strings.Repeat("9", n)), noon)
			if field == "Retry-After: " && got < before || got < 0 {
				t.Fatalf("%s of %d digits: got %v after %v", field, n, got, before)
			}
			if n >= 20 && got != Forever {
				t.Fatalf("%s of %d digits: got %v, want longer than any limit", field, n, got)
			}
			before = got
		}
	}
}

func TestAnAnswerTellsWhetherToRetry(t *testing.T) {
	for _, tt := range []struct {
		status int
		lines  string
		want   Directive
	}{
		{503, "", Silent},
		{503, "X: true", Retry},
		{404, "X: \ttrue ", Retry},
		{304, "X: true", Retry},
		{200, "X: true", Silent},
		{101, "X: true", Silent},
		{503, "X: false", Stop},
		{200, "X:  false\t", Stop},
		{503, "X: ", Silent},
		{503, "X: TRUE", Silent},
		{503, "X: 1", Silent},

		{503, "X: false|Stripe-Should-Retry: true", Stop},
		{503, "X: true|Stripe-Should-Retry: false", Retry},
		{503, "X: ?|Stripe-Should-Retry: false", Stop},
		{503, "X: false|X: true", Stop},
	} {
		for _, name := range []string{"X-Should-Retry", "Stripe-Should-Retry"} {
			if name[0] == 'S' && strings.Contains(tt.lines, name) {
				continue
			}
			lines := strings.ReplaceAll(tt.lines, "X:", name+":")
			if got := ShouldRetry(tt.status, header(strings.Split(lines, "|")...)); got != tt.want {
				t.Errorf("%d %s: got %v, want %v", tt.status, lines, got, tt.want)
			}
		}
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
		name, _, _ := strings.Cut(waitFields[int(field)%len(waitFields)], ": ")
		wait := func(status int, more ...string) time.Duration {
			return Wait(status, header(append(more, name+": "+value, "Date: "+date)...), now)
		}
		remains := "RateLimit-Remaining: " + remaining
		number := strings.Trim(value, " \t")
		got, always := wait(status, remains), wait(429)
		switch {
		case got < 0:
			t.Fatalf("%s: %q: got %v", name, value, got)
		case status >= 200 && status < 300 && got != 0:
			t.Fatalf("status %d: got %v, want none", status, got)
		case got != Wait(status, header(name+": "+value, name+": "+other, "Date: "+date, remains), now):
			t.Fatalf("%s: %q: a second line %q counts", name, value, other)
		case name != "RateLimit" && got != 0 && got != always:
			t.Fatalf("%s: %q: got %v on %d, but %v on 429", name, value, got, status, always)
		case name != "Retry-After" && name != "RateLimit" && got != 0 && (number == "" || strings.Trim(number, "0123456789") != ""):
			t.Fatalf("%s: %q: got %v of no number", name, value, got)
		}
	})
}

func FuzzWaitIsMonotonic(f *testing.F) {
	f.Add(uint64(1), uint64(2), 503)
	f.Add(uint64(9223372036), uint64(9223372037), 301)
	f.Add(uint64(1<<63-1), uint64(1<<63), 503)
	f.Fuzz(func(t *testing.T, a, b uint64, status int) {
		wait := func(seconds uint64) time.Duration {
			return Wait(status, header("Retry-After: "+strconv.FormatUint(seconds, 10)), noon)
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
		lines := []string{"Retry-After: " + time.Unix(date+ahead, 0).UTC().Format(http.TimeFormat)}
		if at := date + ahead; at >= epochFrom && at <= int64(Forever/time.Second) {
			lines = append(lines, fmt.Sprint("X-RateLimit-Reset: ", at))
		}
		for _, line := range lines {
			h := header(line, "Date: "+time.Unix(date, 0).UTC().Format(http.TimeFormat))
			if got, want := Wait(429, h, time.Unix(date+off%(1<<36), 0)), max(time.Duration(ahead)*time.Second, 0); got != want {
				t.Errorf("%v at %d: got %v, want %v", h, date+off, got, want)
			}
		}
	})
}

func TestAWaitForAllIsSpreadOverATenthAndAShortOneOverMore(t *testing.T) {
	const s = time.Second
	for wait, want := range map[time.Duration]time.Duration{
		0: 0, s / 10: s / 10, s: s, 5 * s: s, 10 * s: s, 60 * s: 6 * s, 300 * s: 30 * s, Forever: 30 * s,
	} {
		if got := Spread(wait); got != want {
			t.Errorf("%v: got %v, want %v", wait, got, want)
		}
	}
}

func TestAWaitSpeaksToAllWithTwoStatuses(t *testing.T) {
	for status := range 1000 {
		if got, want := BindsAll(status), status == 429 || status == 503; got != want {
			t.Errorf("%d: got %v, want %v", status, got, want)
		}
	}
}
