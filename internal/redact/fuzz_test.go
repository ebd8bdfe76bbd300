package redact_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/restyretry/restyretry/internal/harness"
	"github.com/restyretry/restyretry/internal/redact"
)

const secret = "SECRET"

// places puts the secret into a URL, between what a stranger chose.
var places = []func(scheme, before, after string) string{
	func(scheme, before, after string) string { // the password, or it is a host, a path or a name in a query
		if strings.ContainsAny(before, "/?") {
			after = without(after, "=")
		}
		if strings.Contains(before, "@") {
			after = without(after, "/?#")
		}
		return scheme + "user:" + strings.TrimLeft(before, "/") + secret + after + "@api.test/x?a=b"
	},
	func(scheme, before, after string) string { // the password of a strange user
		return scheme + "us" + before + "er:" + secret + after + "@api.test"
	},
	func(scheme, before, after string) string { // the user, or it is a host or a path
		if !strings.HasSuffix(scheme, "://") {
			scheme = "http://"
		}
		return scheme + without(before, "/?#") + secret + without(after, "/?#") + "@api.test/x"
	},
	func(scheme, before, after string) string { // a value, or it is a name
		return scheme + "api.test/x?a=" + without(before, "&") + secret + after + "&b=c"
	},
	func(scheme, before, after string) string { // the whole query
		return scheme + "api.test/x?" + without(before, "&") + secret + without(after, "=")
	},
	func(scheme, before, after string) string { // a value after a path that cannot be parsed
		return scheme + "api.test/%zz?a=" + without(before, "&") + secret + after
	},
	func(scheme, before, after string) string { // the fragment
		return scheme + "api.test/x#" + before + secret + after
	},
}

var schemes = []string{"http://", "", "http:", "http:/", "http:///", "//", "ftp://", "odd://", `http:\\`, " http://", "HTTP://"}

// strays are parts of a password that net/url or a reader of texts may stumble
// over.
var strays = []string{
	"", "a", " ", "x y", "%", "%2", "%zz", "%40", "1", "1/", "1 ", "8080", "/", "?", "?d ", "#", "@", "＠", ":", ": ",
	"://", "http://", "[", "]", "[::1]", "{id}", ">", "->", `\`, `\"`, `"`, `" `, ` "`, `": `, `: "`, ` "x" `, `1" b "`,
	"'", "' ", " '", "('", "=", "=1", "&", "&c=", ";", "\x00", "\n", "\u009b", "\u202e", "\u2028", "\xff",
}

func without(s, chars string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(chars, r) {
			return -1
		}
		return r
	}, s)
}

func FuzzASecretNeverComesOut(f *testing.F) {
	for i, stray := range strays {
		for place := range places {
			if i%2 == 0 {
				f.Add(uint8(place), uint8(i%len(schemes)), "p", stray)
			}
			f.Add(uint8(place), uint8(0), stray, "")
		}
	}
	f.Fuzz(checkPlace)
}

// A password may have several strange parts, which fuzzing is slow to put together.
func TestASecretAmongManyStraysIsRedacted(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	some := func() (s string) {
		for range random.IntN(4) {
			s += strays[random.IntN(len(strays))]
		}
		return s
	}
	for range 100 {
		checkPlace(t, uint8(random.IntN(len(places))), uint8(random.IntN(len(schemes))), some(), some())
	}
}

// checkPlace checks all ways in which a URL with a secret in it can be shown.
func checkPlace(t *testing.T, place, scheme uint8, before, after string) {
	if strings.Contains(strings.ToUpper(before+after), secret) || len(before+after) > 1000 {
		t.Skip("more than one secret, or too long")
	}
	s := places[int(place)%len(places)](schemes[int(scheme)%len(schemes)], before, after)
	check(t, s, "Text", redact.Text(s))
	if u, err := url.Parse(s); err == nil {
		check(t, s, "URL", redact.URL(u))
	}
	known := map[string]bool{}
	checkNew := func(name string, err error) {
		if id := fmt.Sprintf("%T %v", err, err); err != nil && !known[id] {
			known[id] = true
			checkError(t, s, name, err)
		}
	}
	for i, failure := range failures(s) {
		name, err := failure.name, failure.err
		if err == nil {
			continue
		}
		checkNew(name, err)
		checkNew(name+", unwrapped", errors.Unwrap(err))
		switch (len(s) + i) % 3 { // one is enough for each, as there are many
		case 0:
			checkNew(name+", wrapped", fmt.Errorf("attempt 2: %w", err))
		case 1:
			checkNew(name+", as text", fmt.Errorf("attempt 2: %v, too bad", err))
		case 2:
			checkNew(name+", joined", errors.Join(io.EOF, err))
		}
	}
}

// A failure is what net/url, net/http, httpproxy or others make of a URL.
type failure struct {
	name string
	err  error // may be nil
}

func failures(s string) []failure {
	_, unparsable := url.Parse(s)
	proxy := fmt.Errorf("invalid proxy address %q: %v", s, unparsable)
	return []failure{
		{"parse", unparsable},
		{"request URI", second(url.ParseRequestURI(s))},
		{"request", second(client("", nil).Get(s))},
		{"redirect", second(client(s, nil).Get("http://api.test/?a=b"))},
		{"refused", second(client(s, http.ErrUseLastResponse).Get(s))},
		{"proxy", second(client("", proxy).Get("http://api.test"))},
		{"proxy alone", proxy},
		{"quoted", fmt.Errorf("bad %q: refused", s)},
		{"raw quotes", errors.New(`bad "` + s + `": refused`)},
		{"no quotes", errors.New("bad " + s)},
		{"named", fmt.Errorf("bad url=%s: %w", s, io.EOF)},
	}
}

func second[T any](_ T, err error) error { return err }

// client returns a real client that is redirected first, if there is a
// location. Nothing can be dialed.
func client(location string, proxy error) *http.Client {
	transport := &http.Transport{
		Proxy: func(*http.Request) (*url.URL, error) { return nil, proxy },
		DialContext: func(_ context.Context, network, address string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: network, Err: &net.AddrError{Err: "not here", Addr: address}}
		},
		DisableKeepAlives: true,
	}
	return &http.Client{Transport: harness.RoundTrip(func(r *http.Request) (*http.Response, error) {
		if location == "" || r.Response != nil {
			return transport.RoundTrip(r)
		}
		header := http.Header{"Location": {location}}
		return &http.Response{StatusCode: http.StatusFound, Header: header, Body: http.NoBody, Request: r}, nil
	})}
}

func checkError(t *testing.T, s, name string, err error) {
	t.Helper()
	shown := redact.Error(err)
	check(t, s, name, shown.Error())
	if e, ok := shown.(*url.Error); ok {
		check(t, s, name+", URL field", e.URL)
		check(t, s, name+", reason", redact.Reason(err).Error())
	}
}

func check(t *testing.T, s, name, got string) {
	t.Helper()
	if strings.Contains(strings.ToUpper(got), secret) {
		t.Errorf("%s of %q shows the secret: %q", name, s, got)
	}
	checkPrintable(t, name, got)
}

func checkPrintable(t *testing.T, name, got string) {
	t.Helper()
	if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%s is not printable: %q", name, got)
	}
}

func FuzzAnyTextIsPrintable(f *testing.F) {
	for _, s := range []string{"", "a\xff", "http://a\u202eb/\u2028?\u009b=1", `a "b" "c`, `"`, "a@b", "{\x1b}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		checkPrintable(t, "Text", redact.Text(s))
		checkPrintable(t, "Error", redact.Error(errors.New(s)).Error())
		checkPrintable(t, "Reason", redact.Reason(&url.Error{Op: s, URL: s, Err: errors.New(s)}).Error())
		for _, u := range []url.URL{
			{Scheme: "http", Host: s, Path: s, RawPath: s, RawQuery: s, Fragment: s},
			{Scheme: s, Opaque: s, User: url.UserPassword(s, s)},
		} {
			checkPrintable(t, "URL", redact.URL(&u))
		}
	})
}
