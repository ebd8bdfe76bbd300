package serverwait

import (
	"net/http"
	"strings"
	"time"
)

// until returns the time until t, counted from the Date of the response or, without
// a valid one, from now. It is negative if t has passed.
func until(t time.Time, h http.Header, now time.Time) time.Duration {
	if date := parseDate(lineOf(h, "Date"), now); !date.IsZero() {
		now = date
	}
	return t.Sub(now)
}

// dateLayouts are the three forms of an HTTP-date (RFC 9110, section 5.6.7),
// which are all in UTC.
var dateLayouts = [...]string{
	http.TimeFormat,
	"Monday, 02-Jan-06 15:04:05 GMT",
	"Mon Jan _2 15:04:05 2006",
}

// parseDate reads an HTTP-date. It returns the zero time for anything else.
func parseDate(s string, now time.Time) time.Time {
	if s = strings.Trim(s, " \t"); s == "" {
		return time.Time{}
	}
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
