// Package serverwait reads from a response how long its server asks to wait and who is
// meant, and whether it wants the request again.
package serverwait

import (
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Forever is the longest wait. It stands for all that a Duration cannot hold.
const Forever = time.Duration(math.MaxInt64)

// Wait returns how long the server asks to wait before the next attempt. It is 0
// if the server does not ask, if that time is over, or if the status is below 300.
//
// The first of these fields that asks for a wait counts; of a field that occurs
// several times, only the first line is read. Invalid values are ignored.
//
//  1. Retry-After-Ms and X-Ms-Retry-After-Ms: milliseconds
//  2. Retry-After (RFC 9110, section 10.2.3): seconds, or a date
//  3. RateLimit-Reset (draft-ietf-httpapi-ratelimit-headers-06),
//     X-RateLimit-Reset and X-Rate-Limit-Reset: seconds from now or, from
//     1,000,000,000 on, since 1970, or, from 100,000,000,000 on, milliseconds
//     since 1970
//  4. RateLimit (draft-ietf-httpapi-ratelimit-headers-10)
//
// Many servers send fields of 3 and 4 with every response. They count on a 429, and
// on a 503 unless that says that some quota remains: such a 503 has another reason.
//
// Dates and times since 1970 are counted from the Date of the response (RFC
// 9110, section 6.6.1), whatever the client's clock says, and from now if there
// is none.
func Wait(status int, h http.Header, now time.Time) time.Duration {
	if status < http.StatusMultipleChoices {
		return 0
	}
	if wait := retryAfter(h, now); wait > 0 {
		return wait
	}
	unavailable := status == http.StatusServiceUnavailable
	if !BindsAll(status) {
		return 0
	}
	if !unavailable || !somethingRemains(h) {
		if wait := quotaReset(h, now); wait > 0 {
			return wait
		}
	}
	return rateLimit(lineOf(h, "Ratelimit"), unavailable)
}

// BindsAll reports whether a wait with this status speaks to all requests to the
// server, and not only to the one that is answered.
func BindsAll(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
}

// Spread is the time in which those leave that a wait for all has held back: a tenth of
// it, at most 30 seconds. Of a short one it is more, up to a second: a server that counts
// by the second would get more in a tenth of one than it takes in all.
func Spread(wait time.Duration) time.Duration {
	return min(max(wait/10, min(wait, time.Second)), 30*time.Second)
}

// retryAfter reads the fields that count on every status: 1 and 2 of [Wait].
func retryAfter(h http.Header, now time.Time) time.Duration {
	for _, name := range [...]string{"Retry-After-Ms", "X-Ms-Retry-After-Ms"} {
		if wait := times(digits(lineOf(h, name)), time.Millisecond); wait > 0 {
			return wait
		}
	}
	line := lineOf(h, "Retry-After")
	if wait := times(digits(line), time.Second); wait > 0 {
		return wait
	}
	if date := parseDate(line, now); !date.IsZero() {
		return until(date, h, now)
	}
	return 0
}

// epochFrom is the least number that is taken for seconds since 1970 (it is in
// September 2001), and not for seconds from now (it would be 31 years).
const epochFrom = 1_000_000_000

// epochMilliFrom is the least number that is taken for milliseconds since 1970, which
// Rocket.Chat sends (it is in March 1973), and not for seconds (the year 5138).
const epochMilliFrom = 100_000_000_000

// quotaReset reads the fields of 3 of [Wait], which say when a quota is renewed: some
// servers give seconds from now, others a point in time.
func quotaReset(h http.Header, now time.Time) time.Duration {
	for _, name := range [...]string{"Ratelimit-Reset", "X-Ratelimit-Reset", "X-Rate-Limit-Reset"} {
		n := digits(lineOf(h, name))
		wait := times(n, time.Second)
		switch {
		case n >= epochMilliFrom:
			wait = until(time.UnixMilli(n), h, now)
		case n >= epochFrom:
			wait = until(time.Unix(n, 0), h, now)
		}
		if wait > 0 {
			return wait
		}
	}
	return 0
}

// somethingRemains reports whether a field says that a quota is not used up.
func somethingRemains(h http.Header) bool {
	names := []string{"Ratelimit-Remaining", "X-Ratelimit-Remaining", "X-Rate-Limit-Remaining"}
	return slices.ContainsFunc(names, func(name string) bool { return digits(lineOf(h, name)) > 0 })
}

// rateLimit reads RateLimit, a list of quotas such as "hour";r=0;t=30. It returns
// the longest t of the quotas that are used up (r=0). If none is, it returns the
// longest t of all or, with a 503, of those that do not say that some quota remains.
func rateLimit(s string, unavailable bool) time.Duration {
	if s == "" {
		return 0
	}
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
		if remaining == "0" {
			usedUp = max(usedUp, reset)
		}
		if !unavailable || digits(remaining) == 0 {
			longest = max(longest, reset)
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

// lineOf is h.Get for a name that is in canonical form.
func lineOf(h http.Header, canonical string) string {
	if lines := h[canonical]; len(lines) > 0 {
		return lines[0]
	}
	return ""
}

// digits reads a number of ASCII digits, with or without blanks around it. It
// returns 0 for anything else, and math.MaxInt64 for a larger number.
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

// times returns n units, or [Forever] if that is longer.
func times(n int64, unit time.Duration) time.Duration {
	if n > int64(Forever/unit) {
		return Forever
	}
	return time.Duration(n) * unit
}

// A Directive is what the server says about sending the request again.
type Directive int

// The directives.
const (
	Silent Directive = iota // it says nothing, or nothing that is understood
	Retry                   // send it again
	Stop                    // do not
)

// ShouldRetry reads X-Should-Retry and Stripe-Should-Retry, whose values are
// "true" and "false". With a status below 300, "true" is ignored: a success is
// not repeated.
func ShouldRetry(status int, h http.Header) Directive {
	for _, name := range [...]string{"X-Should-Retry", "Stripe-Should-Retry"} {
		switch value := strings.Trim(lineOf(h, name), " \t"); {
		case value == "false":
			return Stop
		case value == "true" && status >= http.StatusMultipleChoices:
			return Retry
		}
	}
	return Silent
}
