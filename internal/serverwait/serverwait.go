package serverwait

import (
	"math"
	"net/http"
	"strings"
	"time"
)

// Forever is a wait that is longer than any limit.
const Forever = time.Duration(math.MaxInt64)

// serverWait is how long the server asks to wait before the next attempt, or 0
// where it does not ask, or not in a form that is understood. It can be told
// from several header fields; the first that is valid counts, and of a field
// that stands there several times the first line.
func Wait(status int, h http.Header, now time.Time) time.Duration {
	if status >= 200 && status < 300 {
		return 0
	}
	for _, name := range [...]string{"Retry-After-Ms", "X-Ms-Retry-After-Ms"} {
		if wait := times(digits(lineOf(h, name)), time.Millisecond); wait > 0 {
			return wait
		}
	}
	if wait := retryAfterField(lineOf(h, "Retry-After"), now); wait > 0 {
		return wait
	}
	if status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
		return 0
	}
	for _, name := range [...]string{"Ratelimit-Reset", "X-Ratelimit-Reset", "X-Rate-Limit-Reset"} {
		if wait := resetField(lineOf(h, name), now); wait > 0 {
			return wait
		}
	}
	if limits := lineOf(h, "Ratelimit"); limits != "" {
		return rateLimitField(limits)
	}
	return 0
}

// lineOf is h.Get for a name that is known to be in canonical form, which need
// not be made sure of then.
func lineOf(h http.Header, canonical string) string {
	if lines := h[canonical]; len(lines) > 0 {
		return lines[0]
	}
	return ""
}

// retryAfterField reads Retry-After of RFC 9110, section 10.2.3: a number of
// seconds, or a date.
func retryAfterField(s string, now time.Time) time.Duration {
	if s == "" {
		return 0
	}
	if wait := times(digits(s), time.Second); wait > 0 {
		return wait
	}
	return max(parseDate(s, now).Sub(now), 0)
}

// epochFrom is the least number that is taken for seconds since 1970 and not
// from now: September 2001, or 31 years.
const epochFrom = 1_000_000_000

// resetField reads the fields that say when a quota is renewed, which some
// servers give in seconds from now and others as a point in time.
func resetField(s string, now time.Time) time.Duration {
	n := digits(s)
	if n < epochFrom {
		return times(n, time.Second)
	}
	if n > math.MaxInt64/int64(time.Second) {
		return Forever
	}
	return max(time.Unix(n, 0).Sub(now), 0)
}

// rateLimitField reads RateLimit of draft-ietf-httpapi-ratelimit-headers-10, a
// list of quotas such as "hour";r=0;t=30. It is the longest t of the quotas that
// are used up (r=0), or of all where none says so.
func rateLimitField(s string) time.Duration {
	var usedUp, longest int64
	for _, quota := range splitOutsideQuotes(s, ',') {
		reset, remaining := int64(0), ""
		for _, parameter := range splitOutsideQuotes(quota, ';')[1:] {
			switch name, value, _ := strings.Cut(strings.Trim(parameter, " \t"), "="); name {
			case "t":
				reset = digits(value)
			case "r":
				remaining = value
			}
		}
		longest = max(longest, reset)
		if remaining == "0" {
			usedUp = max(usedUp, reset)
		}
	}
	if usedUp > 0 {
		return times(usedUp, time.Second)
	}
	return times(longest, time.Second)
}

// splitOutsideQuotes splits a structured field (RFC 9651) at a separator, but
// not in its strings. It returns at least one part.
func splitOutsideQuotes(s string, separator byte) []string {
	var parts []string
	start, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == separator && !quoted:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

// digits reads a number of ASCII digits with blanks around it. It is 0 for
// anything else, and math.MaxInt64 for what is larger.
func digits(s string) int64 {
	s = strings.Trim(s, " \t")
	var n int64
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0
		}
		if n > (math.MaxInt64-9)/10 {
			n = math.MaxInt64
			continue
		}
		n = 10*n + int64(c-'0')
	}
	return n
}

// times is n units, or Forever where that is more than a duration can hold.
func times(n int64, unit time.Duration) time.Duration {
	if n > int64(Forever/unit) {
		return Forever
	}
	return time.Duration(n) * unit
}

// dateLayouts are the three forms of RFC 9110, section 5.6.7, which are all in
// UTC.
var dateLayouts = [...]string{
	http.TimeFormat,
	"Monday, 02-Jan-06 15:04:05 GMT",
	"Mon Jan _2 15:04:05 2006",
}

// parseDate reads an HTTP-date. It is the zero time for anything else.
func parseDate(s string, now time.Time) time.Time {
	s = strings.Trim(s, " \t")
	plain := strings.Replace(s, ":60 ", ":59 ", 1) // a leap second
	for i, layout := range dateLayouts {
		t, err := time.ParseInLocation(layout, plain, time.UTC)
		if err != nil {
			continue
		}
		if i == 1 {
			t = nearestCentury(t, now)
		}
		if plain != s {
			t = t.Add(time.Second)
		}
		return t
	}
	return time.Time{}
}

// nearestCentury moves a date whose year had two digits to the century in which
// it is at most 50 years ahead, as RFC 9110 demands.
func nearestCentury(t, now time.Time) time.Time {
	century := now.UTC().Year()/100*100 + 100
	for {
		moved := time.Date(century+t.Year()%100, t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
		if !moved.After(now.AddDate(50, 0, 0)) {
			return moved
		}
		century -= 100
	}
}

type Directive string

const (
	Unsaid Directive = ""
	Yes    Directive = "true"
	No     Directive = "false"
)

func ShouldRetry(status int, h http.Header) Directive {
	for _, name := range [...]string{"X-Should-Retry", "Stripe-Should-Retry"} {
		switch value := strings.Trim(lineOf(h, name), " \t"); {
		case value == "false", value == "true" && status >= http.StatusMultipleChoices:
			return Directive(value)
		}
	}
	return ""
}
