package serverwait

import (
	"math"
	"strings"
	"testing"
	"time"
)

// noon is the clock of the tables below, a Wednesday.
var noon = time.Date(2026, time.July, 1, 12, 0, 0, 0, time.UTC)

func TestParseDate(t *testing.T) {
	at := func(year int, month time.Month, day, hour, minute, second int) time.Time {
		return time.Date(year, month, day, hour, minute, second, 0, time.UTC)
	}
	for _, tt := range []struct {
		text string
		now  time.Time
		want time.Time
	}{
		{"Wed, 01 Jul 2026 12:00:30 GMT", noon, at(2026, time.July, 1, 12, 0, 30)},
		{"Wednesday, 01-Jul-26 12:00:30 GMT", noon, at(2026, time.July, 1, 12, 0, 30)},
		{"Wed Jul  1 12:00:30 2026", noon, at(2026, time.July, 1, 12, 0, 30)},
		{"Wed Jul 15 12:00:30 2026", noon, at(2026, time.July, 15, 12, 0, 30)},
		{" \tWed, 01 Jul 2026 12:00:30 GMT\t ", noon, at(2026, time.July, 1, 12, 0, 30)},
		{"Fri, 31 Dec 9999 23:59:59 GMT", noon, at(9999, time.December, 31, 23, 59, 59)},

		// A leap second is :59 plus one.
		{"Thu, 31 Dec 2026 23:59:60 GMT", noon, at(2027, time.January, 1, 0, 0, 0)},
		{"Thursday, 31-Dec-26 23:59:60 GMT", noon, at(2027, time.January, 1, 0, 0, 0)},
		{"Thu Dec 31 23:59:60 2026", noon, at(2027, time.January, 1, 0, 0, 0)},
		{"Thu, 31 Dec 2026 23:59:61 GMT", noon, time.Time{}},

		// Two digits of a year: at most 50 years ahead.
		{"Wednesday, 01-Jul-76 12:00:00 GMT", noon, at(2076, time.July, 1, 12, 0, 0)},
		{"Wednesday, 01-Jul-76 12:00:01 GMT", noon, at(1976, time.July, 1, 12, 0, 1)},
		{"Wednesday, 01-Jul-77 12:00:00 GMT", noon, at(1977, time.July, 1, 12, 0, 0)},
		{"Wednesday, 01-Jul-99 12:00:00 GMT", noon, at(1999, time.July, 1, 12, 0, 0)},
		{"Wednesday, 01-Jul-00 12:00:00 GMT", noon, at(2000, time.July, 1, 12, 0, 0)},
		{"Friday, 01-Jan-00 00:00:10 GMT", at(2099, time.December, 31, 23, 59, 59), at(2100, time.January, 1, 0, 0, 10)},
		{"Monday, 01-Jan-68 00:00:00 GMT", at(2060, time.January, 1, 0, 0, 0), at(2068, time.January, 1, 0, 0, 0)},
		{"Monday, 01-Jan-70 00:00:00 GMT", at(2060, time.January, 1, 0, 0, 0), at(2070, time.January, 1, 0, 0, 0)},
		{"Monday, 01-Jan-70 00:00:00 GMT", at(1999, time.January, 1, 0, 0, 0), at(1970, time.January, 1, 0, 0, 0)},
		{"Tuesday, 29-Feb-28 00:00:10 GMT", at(2028, time.February, 28, 0, 0, 0), at(2028, time.February, 29, 0, 0, 10)},
		{"Tuesday, 29-Feb-00 00:00:10 GMT", at(2000, time.February, 28, 0, 0, 0), at(2000, time.February, 29, 0, 0, 10)},

		// Everything but GMT is no HTTP-date.
		{"Wed, 01 Jul 2026 12:00:30 UTC", noon, time.Time{}},
		{"Wed, 01 Jul 2026 12:00:30 +0000", noon, time.Time{}},
		{"Wed, 01 Jul 2026 12:00:30 PST", noon, time.Time{}},
		{"Wed, 01 Jul 2026 12:00:30", noon, time.Time{}},
		{"Wed, 01 Jul 2026 12:00:30 GMT+1", noon, time.Time{}},
		{"Wednesday, 01-Jul-26 12:00:30 UTC", noon, time.Time{}},
		{"Wed Jul  1 12:00:30 GMT 2026", noon, time.Time{}},
		{"Wed Jul  1 12:00:30 2026 GMT", noon, time.Time{}},
		{"2026-07-01T12:00:30Z", noon, time.Time{}},

		{"Wed, 31 Jun 2026 12:00:30 GMT", noon, time.Time{}},
		{"Wed, 01 Jul 2026 24:00:30 GMT", noon, time.Time{}},
		{"Wed, 01 Jul 2026 12:60:30 GMT", noon, time.Time{}},
		{"Wed, 01 Jul ٢٠٢٦ 12:00:30 GMT", noon, time.Time{}},
		{"tomorrow", noon, time.Time{}},
		{"", noon, time.Time{}},
	} {
		t.Run(tt.text, func(t *testing.T) {
			if got := parseDate(tt.text, tt.now); !got.Equal(tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			east := tt.now.In(time.FixedZone("east", 14*60*60))
			if got := parseDate(tt.text, east); !got.Equal(tt.want) {
				t.Errorf("with a clock in the east: got %v, want %v", got, tt.want)
			}
		})
	}
}

// hostile are values that hold no number of ASCII digits.
var hostile = []string{
	"", " ", "\t", "-1", "+1", "-0", "1.5", "1,5", "1.", ".5", "0x10", "1e3", "1E3", "NaN", "Inf", "infinity", "1_000", "1 0",
	"1s", "5 seconds", "1;q=1", "1, 2", "\"1\"", "١٢", "１２", "۱۲", "१२", "1\u00a0", "\u20091", "\v1", "1\x00", "\r\n1", "\xff1", "true", "null",
	"9223372036854775808x", "-9223372036854775809", "00:00:10",
}

func TestDigits(t *testing.T) {
	for _, text := range hostile {
		if got := digits(text); got != 0 {
			t.Errorf("digits(%q): got %d, want 0", text, got)
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

func TestSplitOutsideQuotes(t *testing.T) {
	for text, want := range map[string]string{
		``: "", `a`: "a", `a,b`: "a|b", `"a,b",c`: `"a,b"|c`, `"a\",b",c`: `"a\",b"|c`, `"a\\",b`: `"a\\"|b`,
		`"a,b`: `"a,b`, `"a\`: `"a\`, `,`: "|", `\,a`: `\|a`,
	} {
		if got := strings.Join(splitOutsideQuotes(text, ','), "|"); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}
