package redact_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"testing"

	"github.com/restyretry/restyretry/internal/redact"
)

func TestAnErrorIsTheSameIfThereIsNothingToRedact(t *testing.T) {
	refused := &net.OpError{
		Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv6loopback, Port: 80},
		Err: os.NewSyscallError("connect", syscall.ECONNREFUSED),
	}
	for _, err := range []error{
		nil, io.EOF, io.ErrUnexpectedEOF, context.DeadlineExceeded, refused,
		&url.Error{Op: "Get", URL: "http://api.test:80/x", Err: refused},
		&url.Error{Op: "Get", URL: "ftp://api.test", Err: errors.New(`unsupported protocol scheme "ftp"`)},
		&net.DNSError{Err: "no such host", Name: "api.test", Server: "127.0.0.1:53", IsNotFound: true},
		fmt.Errorf("attempt 2: %w", &url.Error{Op: "Get", URL: "http://api.test", Err: io.EOF}),
		errors.New("read tcp 127.0.0.1:34->127.0.0.1:80: read: connection reset by peer"),
		errors.New("context deadline exceeded (Client.Timeout exceeded while awaiting headers)"),
		errors.New("tls: failed to verify certificate: x509: certificate is valid for *.a.test, not b.test"),
		errors.New(`x509: certificate signed by unknown authority (possibly because of "x509: ECDSA verification failure" while trying to verify candidate authority certificate "Acme Co")`),
		errors.New("http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=NO_ERROR, debug=\"\""),
		errors.New(`net/http: invalid header field value for "X-Api-Key"`),
		errors.New("invalid character '?' looking for beginning of value"),
		errors.New("attempt #2: is the server running? (did you start it?)"),
		errors.New(`field "name" of http://api.test/schema: is missing`),
		errors.New("read tcp [::1]:34->[fe80::1%eth0]:80: lookup a on [::1]:53: ::1: main.go:12:3: listen :80"),
		errors.New("x509: certificate has expired or is not yet valid: current time 2026-01-02T03:04:05Z is after 2026-01-02T03:04:05+01:00"),
		errors.New("no order with id 7: größer als erlaubt"),
	} {
		t.Run(fmt.Sprint(err), func(t *testing.T) {
			if got := redact.Error(err); got != err {
				t.Errorf("got %q, want the same error", got)
			}
		})
	}
}

func TestAnErrorShowsNoSecret(t *testing.T) {
	inURL := func(u string, err error) error { return &url.Error{Op: "Get", URL: u, Err: err} }
	for _, test := range []struct {
		name string
		err  error
		want string
	}{
		{"a URL", inURL("http://user:***@api.test/?token=SECRET", io.EOF), `Get "http://REDACTED:REDACTED@api.test/?token=REDACTED": EOF`},
		{"a URL, wrapped", fmt.Errorf("attempt 2: %w", inURL("http://api.test/?token=SECRET", io.EOF)), `attempt 2: Get "http://api.test/?token=REDACTED": EOF`},
		{"a URL, as text", fmt.Errorf("attempt 2: %v", inURL("http://api.test/?token=SECRET", io.EOF)), `attempt 2: Get "http://api.test/?token=REDACTED": EOF`},
		{"a token as scheme", inURL("SECRET:x@api.test/", errors.New(`unsupported protocol scheme "SECRET"`)), `Get "REDACTED": unsupported protocol scheme "REDACTED"`},
		{"a token as scheme, alone", errors.New(`unsupported protocol scheme "SECRET"`), `unsupported protocol scheme "REDACTED"`},
		{"a piece of a doubtful URL", inURL("user:SECRET@api.test/", errors.New(`bad user "SECRET"`)), `Get "REDACTED": bad user "REDACTED"`},
		{"a piece of a doubtful URL, wrapped", fmt.Errorf("attempt 2: %w", inURL("user:SECRET@api.test/", errors.New(`bad user "SECRET"`))), `attempt 2: Get "REDACTED": bad user "REDACTED"`},
		{"a password as port, alone", errors.New(`invalid port ":SECRET" after host`), `invalid port "REDACTED" after host`},
		{"a piece, alone", url.EscapeError("%zz"), `invalid URL escape "REDACTED"`},
		{
			"a Location header", inURL("http://api.test/", errors.New(`failed to parse Location header "http://u:SECRET word@h/": parse "http://u:SECRET word@h/": net/url: invalid userinfo`)),
			`Get "http://api.test/": failed to parse Location header "REDACTED": net/url: invalid userinfo`,
		},
		{
			"a proxy", fmt.Errorf("invalid proxy address %q: %v", `u:"SEC" RET@h`, inURL(`u:"SEC" RET@h`, errors.New("first path segment in URL cannot contain colon"))),
			`invalid proxy address "REDACTED": first path segment in URL cannot contain colon`,
		},
		{"quotes that are not escaped", errors.New(`bad "http://u:1" SECRET "x@h": refused`), `bad "REDACTED": refused`},
		{"a quote that is not escaped", errors.New(`bad "http://u:1"SECRET@h": refused`), `bad "REDACTED": refused`},
		{"a quote that is not closed", errors.New(`bad "http://u:SECRET`), "REDACTED"},
		{"quotes within a URL", errors.New(`bad http://u:"SECRET"@h`), "REDACTED"},
		{"quotes and spaces within a URL", errors.New(`bad u:SECRET "x@h" y`), "REDACTED"},
		{"no quotes", errors.New("bad user:SECRET word@api.test/: refused"), "REDACTED"},
		{"no quotes, wrapped", fmt.Errorf("bad user:SECRET word@api.test/: %w", io.EOF), "REDACTED: EOF"},
		{"no quotes, a query", fmt.Errorf("bad http://api.test/?token=SECRET word: %w", io.EOF), "bad http://api.test/?token=REDACTED: EOF"},
		{"no quotes, a fragment", errors.New("bad http://api.test/#SECRET word"), "bad http://api.test/"},
		{"no quotes, a form", errors.New("bad form token=SECRET&a=1 word"), "bad form REDACTED"},
		{"a password with #", unparsable("http://user:SECRET#@api.test/"), `parse "http://REDACTED": invalid port "REDACTED" after host`},
		{"a password as port of an address", errors.New("dial tcp: address [user:SECRET]:80: refused"), "dial tcp: address REDACTED: refused"},
		{"a password as port of a URL", errors.New("bad http://user:SECRET: refused"), "bad REDACTED: refused"},
		{"a host without a scheme", inURL("localhost:80/x", errors.New(`unsupported protocol scheme "localhost"`)), `Get "localhost:80/x": unsupported protocol scheme "REDACTED"`},
		{"a method", &url.Error{Op: "G\u202et", URL: "http://api.test", Err: io.EOF}, `G\u202et "http://api.test": EOF`},
		{"controls", errors.New("a\x1b[31m\r\nb\u009bc\x7fd\u202ee\u2028f\xffg"), `a\x1b[31m\r\nb\u009bc\x7fd\u202ee\u2028f\xffg`},
		{"several errors", errors.Join(io.EOF, inURL("http://api.test/?a=SECRET", io.EOF)), `EOF\nGet "http://api.test/?a=REDACTED": EOF`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := redact.Error(test.err).Error(); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func unparsable(s string) error { return second(url.Parse(s)) }

type uncomparable []error

func (uncomparable) Error() string { return "bad http://api.test/?token=SECRET" }

func TestAnErrorIsTheSameToIsAndAs(t *testing.T) {
	dirty := fmt.Errorf("bad http://api.test/?token=SECRET: %w", io.EOF)
	got := redact.Error(&url.Error{Op: "Get", URL: "http://api.test/?token=SECRET", Err: dirty})
	if !errors.Is(got, io.EOF) || !errors.Is(got, dirty) {
		t.Errorf("got %#v, want it to be %v and %v", got, io.EOF, dirty)
	}
	var e *url.Error
	if !errors.As(got, &e) || e.URL != "http://api.test/?token=REDACTED" {
		t.Errorf("got %#v, want a *url.Error without the secret", e)
	}
	var u uncomparable
	if !errors.As(redact.Error(&url.Error{Op: "Get", Err: uncomparable{}}), &u) {
		t.Error("got no error of the type that was wrapped, want one")
	}
	var escape url.EscapeError
	if got := redact.Error(unparsable("http://user:SECRET%zz@api.test/")); !errors.As(got, &escape) {
		t.Errorf("got %v, want a url.EscapeError", got)
	}
	if wrapper, ok := redact.Error(dirty).(interface{ Redacted() error }); !ok || wrapper.Redacted() != dirty {
		t.Errorf("got %v, want a wrapper of %v", wrapper, dirty)
	}
}

// refusing panics with itself, which fmt does not survive either.
type refusing struct{ why string }

func (e *refusing) Error() string { _ = e.why; panic(e) }

func TestAnErrorWhoseTextPanicsIsTheSameWithATextOfOurs(t *testing.T) {
	const itself, nothing = "*redact_test.refusing, whose Error method panics", "*url.Error, whose Error method panics"
	for _, test := range []struct {
		err        error
		text, want string
	}{
		{(*refusing)(nil), itself, itself},
		{&refusing{}, itself, itself},
		{(*url.Error)(nil), nothing, nothing},
		{&url.Error{Op: "Get", URL: "http://api.test", Err: &refusing{}}, nothing, `Get "http://api.test": ` + itself},
		{(*net.OpError)(nil), "<nil>", "<nil>"},
		{io.EOF, "EOF", "EOF"},
	} {
		got := redact.Error(test.err)
		if message := redact.Message(test.err); message != test.text || got.Error() != test.want || redact.Message(got) != test.want {
			t.Errorf("got %q and %q, want %q and %q", message, got, test.text, test.want)
		}
		if e, ok := test.err.(*url.Error); (!ok || e == nil) && !errors.Is(got, test.err) {
			t.Errorf("got another error than %T", test.err)
		}
	}
	if got := redact.Reason(&url.Error{Err: &refusing{}}).Error(); got != itself {
		t.Errorf("got the reason %q, want %q", got, itself)
	}
}

func TestAnErrorKeepsItsTimeout(t *testing.T) {
	timeout := &net.DNSError{Err: "bad http://api.test/?token=SECRET", IsTimeout: true, IsTemporary: true}
	for _, err := range []error{timeout, &url.Error{Op: "Get", URL: "http://api.test", Err: timeout}} {
		got := redact.Error(err)
		if ne, ok := got.(net.Error); !ok || !ne.Timeout() || got.Error() == err.Error() {
			t.Errorf("got %#v, want a timeout without a secret", got)
		}
		if e, ok := got.(interface{ Temporary() bool }); !ok || !e.Temporary() {
			t.Errorf("got %#v, want a temporary error", got)
		}
	}
	if _, ok := redact.Error(errors.New("bad http://api.test/?token=SECRET")).(net.Error); ok {
		t.Error("got a net.Error, want none")
	}
}

func TestTheReasonOfAnErrorQuotesNothing(t *testing.T) {
	for _, test := range []struct{ url, want string }{
		{"http://api.test:SECRET", "invalid port"},
		{"http://api.test/%zz", "invalid URL escape"},
		{"http://user:SEC RET@api.test", "net/url: invalid userinfo"},
		{"http://a b", "invalid character"},
		{"http://[SECRET]", "invalid host: ParseAddr"},
		{":", "missing protocol scheme"},
	} {
		t.Run(test.url, func(t *testing.T) {
			_, err := url.Parse(test.url)
			if err == nil {
				t.Fatal("got no error, want one")
			}
			if got := redact.Reason(fmt.Errorf("entry 1: %w", err)).Error(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	if got := redact.Reason(http.ErrUseLastResponse); got != http.ErrUseLastResponse {
		t.Errorf("got %v, want the same error", got)
	}
	if got := redact.Reason(nil); got != nil {
		t.Errorf("got %v, want nil", got)
	}
}
