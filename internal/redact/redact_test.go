package redact_test

import (
	"net/url"
	"testing"

	"github.com/restyretry/restyretry/internal/redact"
)

func TestAURLShowsWhatIsNoSecret(t *testing.T) {
	for _, test := range []struct{ url, want string }{
		{"http://api.test", "http://api.test"},
		{"https://api.test:8443/a/b", "https://api.test:8443/a/b"},
		{"http://[::1]:80/", "http://[::1]:80/"},
		{"http://user:SECRET@api.test/x?token=SECRET&SECRET#SECRET", "http://REDACTED:REDACTED@api.test/x?token=REDACTED&REDACTED"},
		{"http://SECRET@api.test/", "http://REDACTED:REDACTED@api.test/"},
		{"ftp://user:SECRET@api.test/", "ftp://REDACTED:REDACTED@api.test/"},
		{"//user:SECRET@api.test/", "//REDACTED:REDACTED@api.test/"},
		{"http://api.test/#SECRET", "http://api.test/"},
		{"http://api.test/a%2Fb", "http://api.test/a%2Fb"},
		{"http://api.test/?", "http://api.test/?"},
		{"/x?page=1", "/x?page=REDACTED"},
		{"x/y", "x/y"},

		{"http://api.test/?filter%5Bname%5D=1&a[]=2", "http://api.test/?filter%5Bname%5D=REDACTED&a[]=REDACTED"},
		{"http://api.test/?U0VDUkVU=", "http://api.test/?REDACTED"},
		{"http://api.test/?dG9rZW4==", "http://api.test/?REDACTED"},
		{"http://api.test/?token%3DSECRET=1", "http://api.test/?REDACTED=REDACTED"},
		{"http://api.test/?a;token:SECRET=1", "http://api.test/?REDACTED=REDACTED"},
		{"http://api.test/?a=1?token=SECRET", "http://api.test/?a=REDACTED"},
		{"http://api.test/?na\u202eme=1&na\u009bme=1&na\u2028me=1", "http://api.test/?REDACTED=REDACTED&REDACTED=REDACTED&REDACTED=REDACTED"},
		{"http://api.test/?straße=1", "http://api.test/?stra%C3%9Fe=REDACTED"},

		{"https://api.test/@scope/pkg", "https://api.test/@scope/pkg"},
		{"https://api.test/users/bob@b.test", "https://api.test/users/bob@b.test"},
		{"http://user:1/SECRET@api.test/", "http://user:1/REDACTED"},
		{"http://user:/SECRET@api.test/", "http:REDACTED"},
		{"http://user:?SECRET=1@api.test/", "http:REDACTED"},
		{"http://user:1/SECRET?@api.test/", "http://user:1/REDACTED?REDACTED"},
		{"http://user:1/SECRET#@api.test/", "http://user:1/REDACTED"},
		{"http://user/:SECRET?a=b@api.test/", "http://user/REDACTED?a=REDACTED"},
		{"http://api.test:80/x?email=bob@b.test", "http://api.test:80/x?email=REDACTED"},
		{"http://api.test/http://user:SECRET@b.test/", "http://api.test/REDACTED"},
		{"/http://user:SECRET@b.test/", "/REDACTED"},
		{"http://user:@SECRET/@api.test/", "http:REDACTED"},
		{"http://user:p@SECRET/SECRET@api.test/", "http:REDACTED"},
		{"SECRET@api.test/", "REDACTED"},

		{"user:SECRET@api.test/", "REDACTED"},
		{"SECRET:x@api.test/", "REDACTED"},
		{"http:user:SECRET@api.test/", "http:REDACTED"},
		{"http:/user:SECRET@api.test/", "http:REDACTED"},
		{"http:///user:SECRET@api.test/", "http:REDACTED"},
		{"http:\u202euser", "http:REDACTED"},
	} {
		t.Run(test.url, func(t *testing.T) {
			u, err := url.Parse(test.url)
			if err != nil {
				t.Fatal(err)
			}
			before := u.String()
			if got := redact.URL(u); got != test.want || u.String() != before {
				t.Errorf("URL: got %q and left %q, want %q and %q", got, u, test.want, before)
			}
			if got := redact.Text(test.url); got != test.want {
				t.Errorf("Text: got %q, want %q", got, test.want)
			}
		})
	}
	if got := redact.URL(nil); got != "" {
		t.Errorf("got %q for nil, want nothing", got)
	}
}

// A middleware may put anything into a url.URL.
func TestAURLThatWasNotParsedShowsNoSecret(t *testing.T) {
	for name, test := range map[string]struct {
		url  url.URL
		want string
	}{
		"user information in the host": {url.URL{Scheme: "http", Host: "user:SECRET@api.test"}, "http:REDACTED"},
		"a port that is none":          {url.URL{Scheme: "http", Host: "user:SECRET"}, "http:REDACTED"},
		"two ports":                    {url.URL{Scheme: "http", Host: "user:1:2"}, "http:REDACTED"},
		"a URL as scheme":              {url.URL{Scheme: "user:SECRET@api.test", Host: "x"}, "REDACTED"},
		"an opaque URL":                {url.URL{Scheme: "http", Opaque: "//user:SECRET@api.test"}, "http:REDACTED"},
		"a line feed in the host":      {url.URL{Scheme: "http", Host: "a\nb"}, "http:REDACTED"},
		"bidi in the host":             {url.URL{Scheme: "http", Host: "a\u202eb"}, "http:REDACTED"},
		"an umlaut in the host":        {url.URL{Scheme: "http", Host: "mül.test"}, "http://m%C3%BCl.test"},
		"controls in the path":         {url.URL{Scheme: "http", Host: "a", Path: "/\x1b[31m\u009b\xff"}, "http://a/%1B%5B31m%C2%9B%FF"},
		"a control in the query":       {url.URL{Scheme: "http", Host: "a", RawQuery: "a\x1b=1"}, "http://a?REDACTED=REDACTED"},
		"a quote in the host":          {url.URL{Scheme: "http", Host: `a"b`}, "http:REDACTED"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := redact.URL(&test.url); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestEveryCharacterOfAPathIsShownAsNetURLEncodesIt(t *testing.T) {
	for c := range 256 {
		u := url.URL{Scheme: "http", Host: "api.test", Path: "/a" + string([]byte{byte(c)}) + "b"}
		for _, text := range []string{"", u.Scheme + "://" + u.Host + u.Path} {
			if got, want := redact.Parsed(&u, text), u.String(); got != want {
				t.Errorf("%q: got %q, want %q", u.Path, got, want)
			}
		}
	}
}

func TestATextThatIsNoURLShowsNoSecret(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"", ""},
		{"/users/{id}", "/users/{id}"},
		{"{base}/users/{id}?token=SECRET", "{base}/users/{id}?token=REDACTED"},
		{"http://{host}/x", "http://{host}/x"},

		// What has no @, ? or # has no secret.
		{"http://[::1/x", "http://[::1/x"},
		{"http://api.test/%zz", "http://api.test/%zz"},
		{"http://api.test:port", "http://api.test:port"},
		{"http://a b.test", "http://a b.test"},
		{"localhost:8080/x", "localhost:8080/x"},
		{"127.0.0.1:8080", "127.0.0.1:8080"},

		{"http://api.test/%zz?token=SECRET", "http://api.test/REDACTED"},
		{"http://api.test:80#SECRET %zz", "http://api.test:80/REDACTED"},
		{"http://api.test/%zz?x=SECRET@", "http://REDACTED"},
		{"http://user:SECRET word@api.test/", "http://REDACTED"},
		{"http://user:SECRET?word@api.test/", "http://REDACTED"},
		{"http://user:SECRET/word@api.test/", "http://REDACTED"},
		{"http://user:SECRET\"@api.test/", "http://REDACTED"},
		{"http://user:p@SECRET@api.test:port/", "http://REDACTED"},
		{"http://user:SECRET%40api.test/", "http://REDACTED"},
		{"http://user:SECRET@api.test/\x7f", "http://REDACTED"},
		{"SECRET://user@api test/", "REDACTED"},
		{"my_user:SECRET@api.test/", "REDACTED"},
		{"us er:SECRET@api.test", "REDACTED"},
		{"user:SECRET", "REDACTED"},
		{"user:123 SECRET@api.test", "REDACTED"},
		{"/%zz?token=SECRET", "REDACTED"},
		{":SECRET", "REDACTED"},
		{"%zz", "REDACTED"},
	} {
		t.Run(test.text, func(t *testing.T) {
			if got := redact.Text(test.text); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
