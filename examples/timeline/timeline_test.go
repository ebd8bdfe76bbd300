package main

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
)

// someLives are those of the program, met once for all tests.
func someLives(t *testing.T) []life {
	t.Helper()
	lives, err := metOnce()
	if err != nil {
		t.Fatal(err)
	}
	return lives
}

var metOnce = sync.OnceValues(meetFates)

func pageOf(t *testing.T, lives []life) string {
	t.Helper()
	var page strings.Builder
	if err := writePage(&page, lives); err != nil {
		t.Fatal(err)
	}
	return page.String()
}

func TestFates(t *testing.T) {
	want := []struct {
		attempts int
		reasons  string
	}{
		{3, "status status succeeded"},
		{2, "error succeeded"},
		{2, "status succeeded"},
		{3, "condition condition succeeded"},
		{2, "error succeeded"},
		{4, "status status status attempts"},
		{1, "method"},
		{1, "deadline"},
		{1, "cancelled"},
		{1, "server-wait"},
		{1, "budget"},
	}
	lives := someLives(t)
	if len(lives) != len(want) {
		t.Fatalf("got %d lives, want %d", len(lives), len(want))
	}
	for i, l := range lives {
		var reasons []string
		for _, a := range l.Attempts {
			reasons = append(reasons, string(a.Reason))
		}
		if got := strings.Join(reasons, " "); got != want[i].reasons || len(l.Attempts) != want[i].attempts {
			t.Errorf("%s: got %q, want %q", l.Name, got, want[i].reasons)
		}
	}
}

func TestPageShowsEveryAttempt(t *testing.T) {
	lives := someLives(t)
	page := pageOf(t, lives)
	sections := strings.Split(page, "<section")[1:]
	if len(sections) != len(lives) {
		t.Fatalf("got %d sections, want %d", len(sections), len(lives))
	}
	for i, l := range lives {
		section := sections[i]
		if !strings.Contains(section, l.Name) {
			t.Errorf("got a section without %q", l.Name)
		}
		if got := strings.Count(section, `<div class="what">`); got != len(l.Attempts) {
			t.Errorf("%s: got %d attempts, want %d", l.Name, got, len(l.Attempts))
		}
		for j, a := range l.Attempts {
			for _, want := range []string{
				a.URL, outcome(a), `<span class="tag code">` + string(a.Reason) + "</span>", why(l, j), short(a.Took),
				fmt.Sprintf(`aria-label="attempt %d from `, a.Number),
			} {
				if !strings.Contains(unescape(section), want) {
					t.Errorf("%s: got no %q for attempt %d", l.Name, want, a.Number)
				}
			}
		}
	}
}

func unescape(html string) string {
	return strings.NewReplacer("&#39;", "'", "&#34;", `"`, "&#43;", "+").Replace(html)
}

func TestPageMarks(t *testing.T) {
	lives := someLives(t)
	sections := strings.Split(pageOf(t, lives), "<section")[1:]
	for _, test := range []struct {
		life  int
		wants []string
	}{
		{0, []string{"succeeded with attempt 3", `class="bar attempt ok"`, `class="bar wait "`}},
		{1, []string{"connection refused", "/orders?customer=REDACTED"}},
		{2, []string{"Retry-After: 1<", "as the server asked", `class="bar wait asked"`}},
		{4, []string{"AttemptTimeout of 250ms exceeded"}},
		{5, []string{"gave up after 4 attempts", `class="bar post"`, `class="bar attempt end"`}},
		{7, []string{"deadline after 250\u00a0ms", `class="deadline"`}},
		{8, []string{"into a wait of 800\u00a0ms", `class="bar wait "`, `class="bar post"`}},
		{9, []string{"Retry-After: 3600<"}},
	} {
		for _, want := range test.wants {
			if !strings.Contains(sections[test.life], want) {
				t.Errorf("%s: got no %q in\n%s", lives[test.life].Name, want, sections[test.life])
			}
		}
	}
	if strings.Contains(sections[9], "as the server asked") {
		t.Error("got a wait of an hour that was obeyed, want none")
	}
}

func TestPageIsSelfContained(t *testing.T) {
	page := strings.ToLower(pageOf(t, someLives(t)))
	for _, forbidden := range []string{"<script", "<link", "<img", "<iframe", "@import", "src=", `href="http`, "url(http"} {
		if strings.Contains(page, forbidden) {
			t.Errorf("got a page with %q", forbidden)
		}
	}
}

// hostile is text that wants to break out of wherever it stands.
const hostile = `"'></p></svg></style><script>document.body.remove()</script><img src=x onerror=alert(1)>{{.}} url(javascript:1) &amp; `

func hostileLives(*testing.T) []life {
	endless := strings.Repeat("x", 100_000)
	start := time.Now()
	response := func(status string) *resty.Response {
		header := http.Header{"Retry-After": {hostile, endless}}
		return &resty.Response{RawResponse: &http.Response{StatusCode: 503, Status: status, Header: header}}
	}
	attempts := []restyretry.Attempt{
		{Number: -1, Max: math.MaxInt, Method: hostile, URL: hostile, Reason: hostile, Err: errors.New(hostile)},
		{Number: 2, Method: endless, URL: endless, Reason: restyretry.Reason(endless), Response: response(endless), Start: start, Took: -time.Hour, Wait: math.MaxInt64},
		{Number: 3, URL: "http://\u202eevil\u202c\x00\x1b[31m\xff", Response: response(hostile), Start: start.Add(-time.Hour), Took: math.MaxInt64},
		{Number: 4, Err: errors.New(strings.Repeat("e\u0301\u0302\u0303\u0304", 500)), Start: start, Took: 1, Response: &resty.Response{}},
	}
	return []life{
		{Name: hostile, About: endless, Attempts: attempts},
		{Name: endless, About: hostile, Attempts: attempts[1:], Ended: start.Add(-time.Hour)},
		{Name: "\u202e" + hostile},
		{Attempts: attempts[:1]},
	}
}

func longLife(*testing.T) []life {
	l := life{Name: "As many attempts as there can be"}
	start := time.Now()
	for n := range 100 {
		l.Attempts = append(l.Attempts, restyretry.Attempt{
			Number: n + 1, Max: 100, Method: "GET", URL: "http://127.0.0.1/", Err: errors.New("connection refused"),
			Start: start.Add(time.Duration(n) * time.Second), Took: time.Millisecond, Wait: 999 * time.Millisecond, Reason: restyretry.ReasonError,
		})
	}
	l.Attempts[99].Reason, l.Attempts[99].Wait = restyretry.ReasonAttempts, 0
	return []life{l}
}

func TestStrangersTextIsHarmless(t *testing.T) {
	page := pageOf(t, hostileLives(t))
	for _, forbidden := range []string{"<script", "<img", "</p></svg>", "\u202e", "\x00", "\x1b", "\xff", `="'`, strings.Repeat("x", 302)} {
		if strings.Contains(page, forbidden) {
			t.Errorf("got a page with %q", forbidden)
		}
	}
	if !strings.Contains(page, "&lt;script&gt;document.body.remove()") {
		t.Error("got a page without the text, want it escaped")
	}
	if len(page) > 100_000 {
		t.Errorf("got a page of %d bytes, want endless text cut", len(page))
	}
}

func TestRequestWithoutRecord(t *testing.T) {
	page := pageOf(t, []life{{Name: "At once", Attempts: []restyretry.Attempt{{Number: 1, Max: 3, Method: "GET", URL: "/", Start: time.Now(), Reason: restyretry.ReasonSucceeded}}}})
	for _, want := range []string{"succeeded with attempt 1", "no response recorded", `class="bar attempt ok"`} {
		if !strings.Contains(page, want) {
			t.Errorf("got no %q", want)
		}
	}
}

func TestServerWait(t *testing.T) {
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
		{"Retry-After", "2", 503, 3 * time.Second, "Retry-After: 2", false},
		{"Retry-After", now.Add(5 * time.Second).UTC().Format(http.TimeFormat), 429, 5 * time.Second, "Retry-After: " + now.Add(5*time.Second).UTC().Format(http.TimeFormat), true},
		{"Retry-After-Ms", "300", 503, 310 * time.Millisecond, "Retry-After-Ms: 300", true},
		{"Retry-After", "soon", 503, time.Second, "", false},
		{"Retry-After", "-1", 503, time.Second, "", false},
		{"Retry-After", "2", 200, 2 * time.Second, "", false},
	} {
		a := restyretry.Attempt{Start: now, Wait: test.wait, Response: &resty.Response{
			RawResponse: &http.Response{StatusCode: test.status, Header: http.Header{test.name: {test.value}}},
		}}
		if field, _ := serverWait(a); field != test.field || obeyed(a) != test.obeyed {
			t.Errorf("%s: %s: got %q, obeyed %v; want %q, %v", test.name, test.value, field, obeyed(a), test.field, test.obeyed)
		}
	}
}

func TestScale(t *testing.T) {
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

func TestRunWritesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "timeline.html")
	var out strings.Builder
	if err := run(&out, path); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(page), "<!DOCTYPE html>") {
		t.Errorf("got %.40q, %v; want a page", page, err)
	}
	if !strings.Contains(out.String(), path) {
		t.Errorf("got\n%s\nwant the path %s", &out, path)
	}
}
