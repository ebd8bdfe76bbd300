// Package redact makes URLs and errors fit for a log: without passwords, tokens
// and other secrets, and without characters that a terminal or a log viewer
// acts on.
//
// # What is a secret
//
// User information, every query value and the fragment. Schemes, hosts, paths
// and the names in a query are shown, so a path segment must not be a secret.
//
// # URLs
//
// A text is a URL with certainty if net/url parses it and finds a host, or a
// path alone that could not be a URL without its scheme. Of any other text only
// a known scheme is shown, and the host where there is no @ in the text. An
// unparsable text is shown if it has none of the characters that user
// information, a query and a fragment cannot be without.
//
// A password with a slash in it ends the host for net/url: of
// http://user:1/secret@host/ the host is user:1. So a path is hidden if an @ comes
// after a colon, that of a port included, in the path, in the name of a parameter
// or in the fragment, and the host too if there is user information before it.
//
// Nothing can be done where net/http acts on the wrong parts: for
// http://user:1?secret=x@host/ it sends a parameter secret to the host user, and
// for http://user:p@secret/word@host/ it says that it cannot dial the host secret.
//
// # Errors
//
// The text of an error is prose with URLs in it. Each part of a chain of errors
// (Op "URL": prefix: cause) is judged by itself, so a cause stays readable
// behind a prefix that does not. In each part:
//
//   - Everything between the first double quote and the last one is shown only
//     if it is one URL, redacted as above, or if it is all names and prose. This
//     holds whether or not the quotes in a URL are escaped.
//   - Outside quotes, user information cannot be without an @, and with spaces
//     in a password nobody can tell where it began: such a part is not shown.
//   - Outside quotes, a query cannot be without ? and a fragment without #. What
//     follows the word with one of them is not shown, as it may belong to it.
//   - Outside quotes, a word with a colon in it is shown if it is an address, a
//     time or a plain URL. Otherwise it may be a user and a password that
//     somebody took for a host and a port.
//   - If the URL of a *url.Error is not certain, no quoted word of its cause is
//     shown: net/url and net/http quote pieces of the URL there. net/url cuts the
//     URL itself off at #, which may be in a password.
//
// What the rules assume is that a URL stands either in double quotes, or where
// none of its own quotes has a space beside it. net/url, net/http and httpproxy
// always quote.
package redact

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

const redacted = "REDACTED"

// URL returns u as text, with user information and every query value replaced
// by REDACTED and without the fragment, as OpenTelemetry's url.full wants it.
// It returns "" for nil.
func URL(u *url.URL) string { return Parsed(u, "") }

// Parsed is [URL] for a u that was probably parsed from text. If it was, and u is
// plain, as most URLs are, it returns text itself and allocates nothing.
func Parsed(u *url.URL, text string) string {
	switch {
	case u == nil:
		return ""
	case !isPlain(u):
		shown, _ := showURL(u)
		return shown
	case isSpelled(u, text):
		return text
	default:
		return u.Scheme + "://" + u.Host + u.Path
	}
}

// isSpelled reports whether text is u, which is plain, letter by letter.
func isSpelled(u *url.URL, text string) bool {
	at := len(u.Scheme)
	host := at + len("://")
	path := host + len(u.Host)
	return len(text) == path+len(u.Path) && text[:at] == u.Scheme && text[at:host] == "://" &&
		text[host:path] == u.Host && text[path:] == u.Path
}

// isPlain reports whether u has nothing but a scheme, a host and a path, and no
// character in them that would be escaped or may be part of a secret.
func isPlain(u *url.URL) bool {
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Opaque != "" ||
		u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.RawPath != "" {
		return false
	}
	name, port, _ := strings.Cut(u.Host, ":")
	return isUnmarked(name) && areDigits(port) && isUnmarked(u.Path) && (u.Path == "" || u.Path[0] == '/')
}

// isUnmarked reports whether s has nothing but letters, digits, hyphens, dots,
// underscores and slashes.
func isUnmarked(s string) bool {
	for i := range len(s) {
		if !unmarked[s[i]] {
			return false
		}
	}
	return true
}

var unmarked = func() (is [256]bool) {
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._/" {
		is[c] = true
	}
	return is
}()

// areDigits reports whether s has nothing but digits.
func areDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// Text is [URL] for a text that may be a URL, a reference relative to one, or
// nothing of the kind. A path parameter such as {id} stays as it is.
//
// The text must be whole: of one that has been cut off before its @, nobody can
// tell a password from a port.
func Text(s string) string {
	shown, _ := showWhole(s)
	return shown
}

// showWhole is Text, and reports whether s is a URL with certainty.
func showWhole(s string) (shown string, certain bool) {
	if harmless.MatchString(s) {
		return s, true
	}
	return showText(s)
}

// showText is showWhole for a text that may have been cut off.
func showText(s string) (shown string, certain bool) {
	u, err := url.Parse(s)
	if err != nil {
		return showOrigin(s), false
	}
	shown, certain = showURL(u)
	if strings.Contains(s, "{") {
		shown = strings.NewReplacer("%7B", "{", "%7D", "}").Replace(shown)
	}
	return shown, certain
}

// harmless matches a text that begins as a URL with its scheme in small letters, a
// path, or a host and a port, and that has none of the characters that end user
// information or begin a query or a fragment, not even percent-encoded.
var harmless = regexp.MustCompile(
	`^([a-z][a-z0-9+.-]*://|/|[A-Za-z0-9._-]+:[0-9]{1,5}(/|$))` +
		`([A-Za-z0-9 ./:\[\]{}_~+,-]|%[G-Zg-z])*$`)

// origin matches the scheme and, if no @ follows, the host of a text.
var origin = regexp.MustCompile(`^([A-Za-z0-9]+)://(?:([A-Za-z0-9.-]+(?::[0-9]+)?)[/?#][^@]*$)?`)

// showOrigin returns what can be shown of a text that net/url cannot parse.
func showOrigin(s string) string {
	match := origin.FindStringSubmatch(s)
	switch {
	case match == nil || !isKnownScheme(match[1]):
		return redacted
	case match[2] == "":
		return match[1] + "://" + redacted
	default:
		return match[1] + "://" + match[2] + "/" + redacted
	}
}

// isKnownScheme reports whether s is no user name or token that net/url took
// for a scheme, as in token:x@host.
func isKnownScheme(s string) bool {
	known := []string{"http", "https", "ws", "wss", "ftp", "file", "socks5", "socks5h"}
	return slices.Contains(known, strings.ToLower(s))
}

var (
	validScheme = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*)?$`)
	ipv6Host    = regexp.MustCompile(`^\[[0-9A-Za-z:.%_~-]*\](:[0-9]+)?$`)
)

// isHost reports whether s is a host with or without a port. An empty port is
// none, as it may be the start of a password: http://user:?secret@host/
func isHost(s string) bool {
	if strings.HasPrefix(s, "[") {
		return ipv6Host.MatchString(s)
	}
	name, port, hasPort := strings.Cut(s, ":")
	if hasPort && (port == "" || !areDigits(port)) {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-._~", r)
	})
}

// showURL is [URL], and reports whether u is a URL with certainty. The fields of a u
// that was not made by url.Parse may hold anything.
func showURL(u *url.URL) (shown string, certain bool) {
	if !isPlaced(u) {
		if isKnownScheme(u.Scheme) {
			return u.Scheme + ":" + redacted, false
		}
		return redacted, false
	}
	safe := *u
	safe.Fragment, safe.RawFragment = "", ""
	safe.RawQuery = redactQuery(u.RawQuery)
	if u.User != nil {
		safe.User = url.UserPassword(redacted, redacted)
	}
	certain = !hidesUser(u)
	if !certain {
		safe.Path, safe.RawPath = redacted, ""
		if u.Host != "" || strings.HasPrefix(u.Path, "/") {
			safe.Path = "/" + redacted
		}
	}
	return percentEncode(safe.String()), certain
}

// isPlaced reports whether everything in u up to its host is certain to be what its
// field says.
func isPlaced(u *url.URL) bool {
	noHost := u.Scheme != "" && u.Host == "" && u.Path != ""
	twoUsers := u.User != nil && strings.Contains(behindHost(u), "@")
	isScheme := isKnownScheme(u.Scheme) || validScheme.MatchString(u.Scheme)
	return u.Opaque == "" && !noHost && !twoUsers && isScheme && isHost(u.Host)
}

// hidesUser reports whether what net/url took for the path of u may contain user
// information.
func hidesUser(u *url.URL) bool {
	behind := behindHost(u)
	at := strings.LastIndex(behind, "@")
	if at < 0 {
		return false
	}
	isReference := u.Host == "" && !strings.HasPrefix(u.Path, "/") // token@host/
	return isReference || strings.Contains(u.Host+behind[:at], ":")
}

// behindHost returns the parts of u behind its host in which an @ may end user
// information that has a slash, ? or # in it. Values in a query often have an @ of
// their own, so they are left out unless the path has a colon.
func behindHost(u *url.URL) string {
	if u.RawQuery == "" && u.Fragment == "" {
		return u.Path
	}
	parts := []string{u.Path}
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		if name, _, found := strings.Cut(pair, "="); found && !strings.Contains(u.Path, ":") {
			pair = name
		}
		parts = append(parts, pair)
	}
	return strings.Join(append(parts, u.Fragment), "/")
}

func redactQuery(query string) string {
	if query == "" {
		return ""
	}
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		pairs[i] = redactPair(pair)
	}
	return strings.Join(pairs, "&")
}

var harmlessName = regexp.MustCompile(`^[\pL\pN_.$~\[\]-]+$`)

// redactPair redacts the value of a pair, and its name if that may be a secret. A
// pair without a value is redacted as a whole: it may be a token, and an equals sign
// at its end the padding of base64.
func redactPair(pair string) string {
	name, value, _ := strings.Cut(pair, "=")
	if strings.Trim(value, "=") == "" {
		return redacted
	}
	if plain, err := url.QueryUnescape(name); err != nil || !harmlessName.MatchString(plain) {
		name = redacted
	}
	return name + "=" + redacted
}

// percentEncode encodes what url.URL.String leaves as it is in a URL but no log
// should show.
func percentEncode(s string) string {
	if !strings.ContainsFunc(s, isUnsafe) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if isUnsafe(rune(s[i])) {
			fmt.Fprintf(&b, "%%%02X", s[i])
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func isUnsafe(r rune) bool {
	switch r {
	case '"', '<', '>', '\\', '^', '`':
		return true
	default:
		return r <= ' ' || r >= 0x7f
	}
}
