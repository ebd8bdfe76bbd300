package redisretry

import (
	"strings"
	"testing"
	"time"
)

func TestMessagesOfStrangers(t *testing.T) {
	long := strings.Repeat("k", keyLongest)
	for _, test := range []struct {
		name, message, key string
		want               time.Duration
	}{
		{"as announced", "60000 http://a", "http://a", time.Minute},
		{"a key with spaces", "1 a b  c", "a b  c", time.Millisecond},
		{"as long as it may be", "300000 a", "a", 5 * time.Minute},
		{"longer", "300001 a", "a", 5 * time.Minute},
		{"years", "94608000000 a", "a", 5 * time.Minute},
		{"as many years as there are", "18446744073709551615 a", "a", 5 * time.Minute},
		{"the longest key", "1 " + long, long, time.Millisecond},
		{"a longer key", "1 " + long + "k", "", 0},
		{"a key of 1 MB", "1 " + strings.Repeat("k", 1<<20), "", 0},
		{"nothing", "", "", 0},
		{"no key", "60000", "", 0},
		{"an empty key", "60000 ", "", 0},
		{"no time", " a", "", 0},
		{"zero", "0 a", "", 0},
		{"below zero", "-1 a", "", 0},
		{"with a plus", "+1 a", "", 0},
		{"a fraction", "1.5 a", "", 0},
		{"hexadecimal", "0x10 a", "", 0},
		{"underscores", "1_000 a", "", 0},
		{"more than that", "18446744073709551616 a", "", 0},
		{"more, and no number", "99999999999999999999999x a", "", 0},
		{"not a number", "nan a", "", 0},
		{"binary", "\x00\xff a", "", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			key, d, ok := parse(test.message)
			if key != test.key || d != test.want || ok != (test.want > 0) {
				t.Errorf("got %q, %v, %v, want %q, %v", key, d, ok, test.key, test.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"60000 http://a", "", " ", "0 a", "-1 a", "1e9 a", "99999999999999999999 a", "1 \x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, message string) {
		key, d, ok := parse(message)
		switch {
		case !ok && (key != "" || d != 0):
			t.Errorf("got %q and %v of what is no message", key, d)
		case ok && (key == "" || len(key) > keyLongest || d < time.Millisecond || d > longest):
			t.Errorf("got %q and %v, want 1 to %d bytes and 1 ms to %v", key, d, keyLongest, longest)
		case ok && !strings.HasSuffix(message, " "+key):
			t.Errorf("got the key %q of %q", key, message)
		}
	})
}
