package timeline

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
)

func TestWaitOfTheServersIsKnownByItsHeaderAndLength(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	for _, test := range []struct {
		name, value string
		status      int
		wait        time.Duration
		field       string
		obeyed      bool
	}{
		{"Retry-After", "2", 503, 2100 * time.Millisecond, "Retry-After: 2", true},
		{"Retry-After", "2", 503, time.Second, "Retry-After: 2", false},
		{"Retry-After", "2", 503, 3 * time.Second, "Retry-After: 2", true}, // with a Cooldown
		{"Retry-After", "2", 503, 3100 * time.Millisecond, "Retry-After: 2", false},
		{"Retry-After", now.Add(5 * time.Second).UTC().Format(http.TimeFormat), 429, 5 * time.Second, "Retry-After: " + now.Add(5*time.Second).UTC().Format(http.TimeFormat), true},
		{"Retry-After", "9223372036854775807", 503, time.Second, "Retry-After: 9223372036854775807", false},
		{"RateLimit-Reset", "2", 429, 2100 * time.Millisecond, "RateLimit-Reset: 2", true},
		{"X-RateLimit-Reset", "2", 404, 2 * time.Second, "", false},
		{"X-Rate-Limit-Reset", fmt.Sprint(now.Unix() + 5), 503, 5 * time.Second, fmt.Sprint("X-Rate-Limit-Reset: ", now.Unix()+5), true},
		{"RateLimit", `"hour";r=0;t=2`, 429, 2 * time.Second, `RateLimit: "hour";r=0;t=2`, true},
		{"Retry-After-Ms", "300", 503, 310 * time.Millisecond, "Retry-After-Ms: 300", true},
		{"Retry-After", "soon", 503, time.Second, "", false},
		{"Retry-After", "-1", 503, time.Second, "", false},
		{"Retry-After", "2", 200, 2 * time.Second, "", false},
	} {
		header := http.Header{}
		header.Set(test.name, test.value)
		a := restyretry.Attempt{Start: now, Wait: test.wait, Response: &resty.Response{
			RawResponse: &http.Response{StatusCode: test.status, Header: header},
		}}
		if field, _ := serverWait(a); field != test.field || obeyed(a) != test.obeyed {
			t.Errorf("%s: %s: got %q, obeyed %v; want %q, %v", test.name, test.value, field, obeyed(a), test.field, test.obeyed)
		}
	}
}

func TestScaleHasRoomAndAFewTicks(t *testing.T) {
	for length := time.Microsecond; length < 2000*time.Hour; length = length*7/5 + 1 {
		s := scaleFor(length)
		ticks := s.ticks()
		if len(ticks) < 2 || len(ticks) > 6 {
			t.Errorf("%v: got %d ticks, want 2 to 6", length, len(ticks))
		}
		if s.percent(length) > 97 {
			t.Errorf("%v: got an end at %v %%, want some room", length, s.percent(length))
		}
	}
}
