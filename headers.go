package restyretry

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// putHeaders adds the header fields that the options ask for. They are not in
// the Resty request, so that a request that is used again gets a key of its own.
func (c *call) putHeaders(hr *http.Request) {
	o := &c.policy.Options
	if o.AttemptHeader != "" && !hasField(hr.Header, o.AttemptHeader) {
		hr.Header.Set(o.AttemptHeader, strconv.Itoa(c.number()))
	}
	if o.IdempotencyHeader == "" || hasField(hr.Header, o.IdempotencyHeader) || slices.Contains(idempotentMethods, hr.Method) {
		return
	}
	if c.key == "" {
		c.key = rand.Text()
	}
	hr.Header.Set(o.IdempotencyHeader, c.key)
}

// hasKey reports whether the server will know the request again. The key is
// that of the IETF draft "The Idempotency-Key HTTP Header Field".
func (o *Options) hasKey(h http.Header) bool {
	return hasField(h, "Idempotency-Key") || o.IdempotencyHeader != "" && hasField(h, o.IdempotencyHeader)
}

func validateHeader(option, name, other string) error {
	switch {
	case name == "":
		return nil
	case !isToken(name):
		return fmt.Errorf("restyretry: %s is %q, which is not the name of a header field", option, name)
	case slices.ContainsFunc(fieldsOfOthers, func(f string) bool { return strings.EqualFold(f, name) }),
		strings.HasPrefix(strings.ToLower(name), "content-"), strings.HasPrefix(strings.ToLower(name), "if-"):
		return fmt.Errorf("restyretry: %s is %q, to which HTTP gives a meaning of its own: choose another name, such as %s", option, name, other)
	default:
		return nil
	}
}

// hasField reports whether h has a value for name, also under a name that was set
// verbatim, in other letters.
func hasField(h http.Header, name string) bool {
	for key, values := range h {
		if strings.EqualFold(key, name) && len(values) > 0 && values[0] != "" {
			return true
		}
	}
	return false
}

// fieldsOfOthers are header fields to which HTTP, net/http or the connection give
// a meaning of their own (RFC 9110; RFC 9112, section 6), beside those that begin
// with Content- and If-.
var fieldsOfOthers = []string{
	"Accept", "Accept-Encoding", "Authorization", "Connection", "Cookie", "Date", "Expect", "Host",
	"HTTP2-Settings", "Keep-Alive", "Max-Forwards", "Proxy-Authorization", "Proxy-Connection", "Range", "TE",
	"Trailer", "Transfer-Encoding", "Upgrade", "User-Agent", "Via",
}

// isToken reports whether s is a token of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case slices.Contains([]byte("!#$%&'*+-.^_`|~"), c):
		default:
			return false
		}
	}
	return s != ""
}
