package restyretry

import (
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/go-resty/resty/v2"
)

// A Target says where each attempt of a request goes. Its answer takes the
// place of the URL that the request was given (a.Request.URL), so it may be
// relative to the client's base URL and have path parameters in it; Resty adds
// the query parameters and the Host header afterwards, for each attempt. An
// error stops the request before this attempt is sent.
//
// A request that carries credentials (an Authorization or Cookie header, an
// auth token, basic auth) is never moved from https to http: that is an error
// too.
type Target interface {
	URL(a Attempt) (string, error)
}

// TargetFunc is a function as a [Target].
type TargetFunc func(a Attempt) (string, error)

// URL calls f.
func (f TargetFunc) URL(a Attempt) (string, error) { return f(a) }

func (f TargetFunc) validate() error {
	if f == nil {
		return errors.New("the function is nil")
	}
	return nil
}

// URLs sends attempt n to the nth URL; the last one repeats. It overrides an
// SRV record.
func URLs(urls ...string) Target { return urlList(slices.Clone(urls)) }

// BaseURLs sends attempt n to the nth base URL; the last one repeats. A request
// whose own URL is absolute goes where it says, as it does with a base URL of
// Resty's.
func BaseURLs(bases ...string) Target { return baseList(slices.Clone(bases)) }

// Rotate is like [BaseURLs], but each request begins one further in the list
// than the request before it, and after the last comes the first. One value
// may be shared by many clients and goroutines.
func Rotate(bases ...string) Target { return &rotation{baseList: slices.Clone(bases)} }

// A validator is a Target that can be wrong in itself.
type validator interface{ validate() error }

// A lister is a Target that knows beforehand where a request may go.
type lister interface{ list() []string }

type urlList []string

func (l urlList) URL(a Attempt) (string, error) { return l.at(a.Number), nil }

func (l urlList) at(attempt int) string { return l[clampIndex(attempt-1, len(l))] }

func (l urlList) list() []string { return l }

func (l urlList) validate() error {
	return validateList(l, func(*url.URL) error { return nil })
}

type baseList []string

func (l baseList) URL(a Attempt) (string, error) {
	return join(l[clampIndex(a.Number-1, len(l))], a.Request.URL), nil
}

func (l baseList) list() []string { return l }

func (l baseList) validate() error {
	return validateList(l, func(u *url.URL) error {
		if u.Scheme == "" || u.Host == "" {
			return errors.New("a base URL must have a scheme and a host")
		}
		if u.RawQuery != "" || u.Fragment != "" {
			return errors.New("a base URL cannot have a query or a fragment")
		}
		return nil
	})
}

type rotation struct {
	baseList
	requests atomic.Uint64
}

// turn counts a request.
func (r *rotation) turn() uint64 { return r.requests.Add(1) - 1 }

func (r *rotation) URL(a Attempt) (string, error) {
	length := uint64(len(r.baseList))
	return join(r.baseList[(a.turn+uint64(a.Number-1))%length], a.Request.URL), nil
}

// pathParam is a path parameter of Resty's, which may stand for any part of a
// URL.
var pathParam = regexp.MustCompile(`\{[^}]*\}`)

func validateList(list []string, check func(*url.URL) error) error {
	if len(list) == 0 {
		return errors.New("the list is empty")
	}
	for i, s := range list {
		if s == "" {
			return fmt.Errorf("entry %d is empty", i+1)
		}
		u, err := url.Parse(pathParam.ReplaceAllString(s, "0"))
		if err == nil {
			err = check(u)
		}
		if err != nil {
			return fmt.Errorf("entry %d is %s: %w", i+1, redactText(s), urlReason(err))
		}
	}
	return nil
}

// join puts a relative reference behind a base URL, the way Resty does.
func join(base, ref string) string {
	if u, err := url.Parse(ref); err == nil && u.IsAbs() {
		return ref
	}
	base = strings.TrimRight(base, "/")
	if ref != "" && !strings.HasPrefix(ref, "/") {
		base += "/"
	}
	return base + ref
}

// A course is where a request goes.
type course struct {
	turn   uint64 // of a Rotate
	resent bool   // Resty's own idea of the URL is that of an earlier use
	next   string // the URL of the next attempt, where it is not Resty's choice
}

var urlSeed = maphash.MakeSeed()

// hashOf is what is remembered of a URL that has only to be known again.
func hashOf(url string) uint64 { return maphash.String(urlSeed, url) }

// direct sets where the coming attempt goes, runs OnAttempt, which may think
// otherwise, and checks the outcome.
func (e *execution) direct(c *resty.Client) error {
	r := e.request
	if x := e.known(); e.policy.onAttempt && (x == nil || x.initial == nil) {
		before := takeSnapshot(r)
		defer func() { e.keep(&before) }()
	}
	if list := e.policy.list; list != nil { // each entry has been looked at before
		r.URL = list.at(e.number())
	} else if target := e.policy.URL; target != nil {
		to, err := target.URL(e.upcoming())
		e.stayInContext()
		if err != nil {
			return err
		}
		if _, err := url.Parse(pathParam.ReplaceAllString(to, "0")); err != nil {
			return fmt.Errorf("restyretry: attempt %d: the URL is %s: %w", e.number(), redactText(to), urlReason(err))
		}
		r.URL = to
	}
	if e.policy.onAttempt {
		e.set(inOnAttempt, true)
		err := e.onAttempt(e.upcoming())
		e.set(inOnAttempt, false)
		hideShown(r)
		e.stayInContext()
		if err != nil {
			return err
		}
	}
	return e.guardCredentials(c)
}

// keep keeps a snapshot from before the first change that restore could not undo
// without.
func (e *execution) keep(before *snapshot) {
	if before.isNeedless(e.request) {
		e.set(pristine, true)
		return
	}
	kept := *before // which itself may stay on the stack
	e.extra().initial = &kept
}

// guardCredentials refuses to take credentials from https to http, as far as
// they are known before the raw request is made.
func (e *execution) guardCredentials(c *resty.Client) error {
	if e.is(secure) && schemeOf(c, e.request.URL) == "http" && carriesCredentials(c, e.request) {
		return downgradeError(e.request.URL)
	}
	return nil
}

// guardRaw is guardCredentials for the raw request, whatever a middleware or a
// path parameter has made of it.
func (e *execution) guardRaw(c *resty.Client, hr *http.Request) error {
	if hr.URL.Scheme == "https" {
		e.set(secure, true)
	} else if e.is(secure) && hr.URL.Scheme == "http" && hasCredentials(c, hr.Header) {
		return downgradeError(hr.URL.String())
	}
	return nil
}

// guardList is guardCredentials for all that a list has in store, so that such
// a list fails before anything is sent.
func (p *policy) guardList(c *resty.Client, r *resty.Request) error {
	known, ok := p.URL.(lister)
	if !ok || !carriesCredentials(c, r) {
		return nil
	}
	list := known.list()
	isHTTPS := func(s string) bool { return schemeOf(c, s) == "https" }
	if !isHTTPS(r.URL) && !slices.ContainsFunc(list, isHTTPS) {
		return nil
	}
	for _, s := range list {
		if schemeOf(c, s) == "http" {
			return downgradeError(s)
		}
	}
	return nil
}

func downgradeError(to string) error {
	return fmt.Errorf("restyretry: a request with credentials would be moved from https to %s", redactText(to))
}

// schemeOf is the scheme a request for s goes out with.
func schemeOf(c *resty.Client, s string) string {
	scheme, _, found := strings.Cut(s, "://")
	if !found || strings.ContainsAny(scheme, "/?#") {
		scheme, _, _ = strings.Cut(cmp.Or(c.BaseURL, c.HostURL), "://")
	}
	return strings.ToLower(scheme)
}

func carriesCredentials(c *resty.Client, r *resty.Request) bool {
	if r.Token != "" || c.Token != "" || r.UserInfo != nil || c.UserInfo != nil ||
		len(r.Cookies) > 0 || len(c.Cookies) > 0 {
		return true
	}
	return hasCredentials(c, r.Header) || hasCredentials(c, c.Header)
}

func hasCredentials(c *resty.Client, h http.Header) bool {
	return hasField(h, "Authorization") || hasField(h, "Cookie") || hasField(h, c.HeaderAuthorizationKey)
}

// hasField also sees a name that was set verbatim, in other letters.
func hasField(h http.Header, name string) bool {
	for key, values := range h {
		if strings.EqualFold(key, name) && len(values) > 0 && values[0] != "" {
			return true
		}
	}
	return false
}

const redacted = "REDACTED"

// redactURL returns u as text, with user information and every query value
// replaced, as OpenTelemetry's url.full wants it.
func redactURL(u *url.URL) string {
	if u == nil {
		return ""
	}
	safe := *u
	safe.Fragment, safe.RawFragment = "", ""
	if safe.User != nil {
		safe.User = url.UserPassword(redacted, redacted)
	}
	if safe.RawQuery != "" {
		pairs := strings.Split(safe.RawQuery, "&")
		for i, pair := range pairs {
			if name, _, found := strings.Cut(pair, "="); found {
				pairs[i] = name + "=" + redacted
			} else {
				pairs[i] = redacted
			}
		}
		safe.RawQuery = strings.Join(pairs, "&")
	}
	return safe.String()
}

// textOf is redactURL for a URL that may have this text, which is spared then.
func textOf(u *url.URL, text string) string {
	if u != nil && u.User == nil && u.RawQuery == "" && !u.ForceQuery && u.Fragment == "" && u.RawPath == "" && u.Scheme != "" && u.Host != "" && isHarmless(text) &&
		len(text) == len(u.Scheme)+len("://")+len(u.Host)+len(u.Path) &&
		strings.HasPrefix(text, u.Scheme) && strings.HasPrefix(text[len(u.Scheme):], "://") &&
		strings.HasPrefix(text[len(u.Scheme)+len("://"):], u.Host) && strings.HasSuffix(text, u.Path) {
		return text
	}
	return redactURL(u)
}

// isHarmless reports whether a URL that starts with a scheme or a slash has
// nothing in it that needs to be redacted, escaped or even looked at.
func isHarmless(text string) bool {
	rest := text
	for _, scheme := range []string{"http://", "https://"} {
		if after, ok := strings.CutPrefix(text, scheme); ok {
			rest = after
			break
		}
	}
	if rest == "" || rest == text && rest[0] != '/' {
		return false
	}
	path := false
	for _, c := range []byte(rest) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_':
		case c == '/':
			path = true
		case c == ':' && !path: // a port
		default:
			return false
		}
	}
	return true
}

// redactText is redactURL for a text that may be no URL at all. Of such a text
// nobody can tell where the password is, so it is shown only where there cannot
// be one.
func redactText(s string) string {
	if isHarmless(s) {
		return s
	}
	u, err := url.Parse(s)
	switch {
	case err == nil:
		return redactURL(u)
	case strings.ContainsAny(s, "@?#"):
		return redacted
	default:
		return strconv.Quote(s)
	}
}

// redactError redacts the URLs in the text of an error. It is the same error
// to errors.Is and errors.As.
func redactError(err error) error {
	if e, ok := err.(*url.Error); ok {
		text := redactText(e.URL)
		switch {
		case e.Op == "parse":
			return &url.Error{Op: e.Op, URL: text, Err: urlReason(e)}
		case text == e.URL && !namesURL(e.Err):
			return e
		default:
			return &url.Error{Op: e.Op, URL: text, Err: redactError(e.Err)}
		}
	}
	if !namesURL(err) {
		return err
	}
	return &redactedError{error: err, text: urlInText.ReplaceAllStringFunc(err.Error(), redactText)}
}

// namesURL reports whether there is a URL in the text of an error. Network
// errors, whose text takes time to make, have none of their own.
func namesURL(err error) bool {
	switch e := err.(type) {
	case nil, *os.SyscallError:
		return false
	case *net.OpError:
		return namesURL(e.Err)
	default:
		return strings.Contains(err.Error(), "://")
	}
}

var urlInText = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"]*`)

type redactedError struct {
	error
	text string
}

func (e *redactedError) Error() string { return e.text }
func (e *redactedError) Unwrap() error { return e.error }

// urlReason is why url.Parse failed, without the parts of the URL that it
// quotes.
func urlReason(err error) error {
	var e *url.Error
	if !errors.As(err, &e) {
		return err
	}
	reason, _, _ := strings.Cut(e.Err.Error(), "\"")
	return errors.New(strings.TrimSpace(reason))
}
