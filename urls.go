package restyretry

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry/internal/redact"
)

// A Target says where each attempt of a request goes. Its answer takes the
// place of the URL that the request was given (a.Request.URL), so it may be
// relative to the client's base URL and have path parameters in it; Resty adds
// the query parameters and the Host header afterwards, for each attempt. An
// error stops the request before this attempt is sent. Like OnAttempt, URL must not
// register callbacks on the client.
//
// A request that carries credentials (an Authorization or Cookie header, an
// auth token, basic auth) is never moved from https to http: that is an error
// too.
type Target interface {
	URL(a Attempt) (string, error)
}

// A TargetFunc is a function that is a [Target].
type TargetFunc func(a Attempt) (string, error)

// URL calls f.
func (f TargetFunc) URL(a Attempt) (string, error) { return f(a) }

func (f TargetFunc) validate() error {
	if f == nil {
		return errors.New("the function is nil")
	}
	return nil
}

// URLs sends attempt n to the nth URL; the last one repeats. One without a scheme is
// relative to the client's base URL. URLs overrides an SRV record.
func URLs(urls ...string) Target { return urlList(slices.Clone(urls)) }

// BaseURLs sends attempt n to the nth base URL; the last one repeats. A request
// whose own URL is absolute goes where it says, as it does with a base URL of
// Resty's.
func BaseURLs(bases ...string) Target { return baseList(slices.Clone(bases)) }

// Rotate is like [BaseURLs], but each request begins one further in the list
// than the request before it, and the first base URL follows the last. One value
// may be shared by many clients and goroutines.
func Rotate(bases ...string) Target { return &rotation{baseList: slices.Clone(bases)} }

// A validator is a Target that can be wrong in itself.
type validator interface{ validate() error }

// A lister is a Target that knows beforehand where a request may go.
type lister interface {
	Target
	list() []string
	start(a Attempt) int            // the entry that the attempt goes to
	entry(i int, ref string) string // where that is, for the URL of the request
}

type urlList []string

func (l urlList) URL(a Attempt) (string, error) { return l[l.start(a)], nil }
func (l urlList) list() []string                { return l }
func (l urlList) start(a Attempt) int           { return clampIndex(a.Number-1, len(l)) }
func (l urlList) entry(i int, _ string) string  { return l[i] }

func (l urlList) validate() error {
	return validateList(l, func(*url.URL) error { return nil })
}

type baseList []string

func (l baseList) URL(a Attempt) (string, error)  { return l.entry(l.start(a), a.Request.URL), nil }
func (l baseList) list() []string                 { return l }
func (l baseList) start(a Attempt) int            { return clampIndex(a.Number-1, len(l)) }
func (l baseList) entry(i int, ref string) string { return join(l[i], ref) }

func (l baseList) validate() error {
	return validateList(l, func(u *url.URL) error {
		if u.Scheme == "" || u.Host == "" {
			return errors.New("a base URL must have a scheme and a host, such as http://localhost:8080")
		}
		if u.RawQuery != "" || u.Fragment != "" {
			return errors.New("a base URL cannot have a query or a fragment")
		}
		return nil
	})
}

type rotation struct {
	baseList
	requests atomic.Uint32
}

// turn counts a request.
func (r *rotation) turn() uint32 { return r.requests.Add(1) - 1 }

func (r *rotation) URL(a Attempt) (string, error) { return r.entry(r.start(a), a.Request.URL), nil }

func (r *rotation) start(a Attempt) int {
	return int((uint64(a.turn) + uint64(a.Number-1)) % uint64(len(r.baseList)))
}

// pathParam is a path parameter of Resty's, which may stand for any part of a
// URL.
var pathParam = regexp.MustCompile(`\{[^}]*\}`)

// parseTarget parses what a Target says. A path parameter counts as a digit, which is
// valid in every place but the first, where it counts as a letter.
func parseTarget(s string) (*url.URL, error) {
	if at := pathParam.FindStringIndex(s); at != nil && at[0] == 0 {
		s = "x" + s[at[1]:]
	}
	return url.Parse(pathParam.ReplaceAllString(s, "0"))
}

func validateList(list []string, check func(*url.URL) error) error {
	if len(list) == 0 {
		return errors.New("the list is empty")
	}
	for i, s := range list {
		if s == "" {
			return fmt.Errorf("entry %d is empty", i+1)
		}
		u, err := parseTarget(s)
		if err == nil {
			err = cmp.Or(validateURL(u), check(u))
		}
		if err != nil {
			return fmt.Errorf("entry %d is %s: %w", i+1, redact.Text(s), redact.Reason(err))
		}
	}
	return nil
}

// validateURL refuses what net/url accepts, but no request can be sent to.
func validateURL(u *url.URL) error {
	if u.Opaque != "" {
		return errors.New("a host and a port need a scheme, such as http://localhost:8080")
	}
	if port, err := strconv.Atoi(u.Port()); err == nil && port > math.MaxUint16 {
		return fmt.Errorf("port %d is above %d", port, math.MaxUint16)
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

// chooseTarget chooses where the coming attempt goes, and runs OnAttempt, which may
// think otherwise.
func (c *call) chooseTarget() error {
	switch {
	case c.policy.URL != nil || c.policy.onAttempt:
	case c.number() > 1: // OnRetry may have set another base URL
		return c.guardCredentials()
	default:
		return nil
	}
	if err := c.guardList(); err != nil {
		return err
	}
	if err := c.askTarget(); err != nil {
		return err
	}
	if err := c.onAttempt(); err != nil {
		return err
	}
	return c.guardCredentials()
}

// askTarget sets the URL that the Target says. Of a list, the Cooldown passes over
// hosts that cool down or are down; a request that was to go to one by https does
// not take credentials from there to http.
func (c *call) askTarget() error {
	if c.policy.URL == nil {
		return nil
	}
	a, ref := c.upcoming(), c.request.URL
	if list, ok := c.policy.URL.(lister); ok && c.policy.Cooldown != nil {
		start, n := list.start(a), len(list.list())
		skipped := c.policy.Cooldown.pick(n, func(i int) (key, host string) { return c.keysOf(list.entry((start+i)%n, ref)) })
		c.request.URL = list.entry((start+skipped)%n, ref)
		if skipped > 0 && c.schemeOf(list.entry(start, ref)) == "https" {
			c.secure = true
		}
	} else {
		c.noteBody() // it may replace it
		to, err := c.policy.URL.URL(a)
		c.stayInContext()
		if err != nil {
			return err
		}
		c.request.URL = to
	}
	if _, checked := c.policy.URL.(urlList); checked { // when it was set
		return nil
	}
	if _, err := parseTarget(c.request.URL); err != nil {
		return fmt.Errorf("restyretry: attempt %d: the URL is %s: %w", a.Number, redact.Text(c.request.URL), redact.Reason(err))
	}
	return nil
}

// guardCredentials refuses to take credentials from https to http, as far as
// they are known before the raw request is made.
func (c *call) guardCredentials() error {
	switch scheme := c.schemeOf(c.request.URL); {
	case scheme == "https":
		c.secure = true
	case c.secure && scheme == "http" && carriesCredentials(c.client, c.request):
		return downgradeError(c.request.URL)
	}
	return nil
}

// guardRaw is guardCredentials for the raw request, whatever a middleware or a
// path parameter has made of it.
func (c *call) guardRaw(hr *http.Request) error {
	if hr.URL.Scheme == "https" {
		c.covered = true
	} else if (c.secure || c.covered) && hr.URL.Scheme == "http" && hasCredentials(c.client, hr.Header) {
		return downgradeError(hr.URL.String())
	}
	return nil
}

// guardList is guardCredentials for all that a list has in store, so that such
// a list fails before anything is sent.
func (c *call) guardList() error {
	known, ok := c.policy.URL.(lister)
	if !ok || c.number() > 1 || !carriesCredentials(c.client, c.request) {
		return nil
	}
	list := known.list()
	isHTTPS := func(s string) bool { return c.schemeOf(s) == "https" }
	if !isHTTPS(c.request.URL) && !slices.ContainsFunc(list, isHTTPS) {
		return nil
	}
	for _, s := range list {
		if c.schemeOf(s) == "http" {
			return downgradeError(s)
		}
	}
	return nil
}

func downgradeError(to string) error {
	return fmt.Errorf("restyretry: a request with credentials would be moved from https to %s", redact.Text(to))
}

// schemeOf is the scheme that the request goes out with if its URL is s. It may be in
// a path parameter with which s begins.
func (c *call) schemeOf(s string) string {
	switch { // as nearly always
	case strings.HasPrefix(s, "http://"):
		return "http"
	case strings.HasPrefix(s, "https://"):
		return "https"
	}
	scheme, rest, _ := strings.Cut(s, ":")
	if strings.Contains(scheme, "{") && scheme[0] != '/' {
		if u, err := resolve(c.client, c.request, s); err == nil {
			return u.Scheme
		}
	}
	if !strings.HasPrefix(rest, "//") || strings.ContainsAny(scheme, "/?#") {
		scheme, _, _ = strings.Cut(cmp.Or(c.client.BaseURL, c.client.HostURL), "://")
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

// hostKey is equal for two URLs of the same server: scheme, host and port in lower
// case, without the scheme's default port. It is "" for a URL without a host.
func hostKey(u *url.URL) string {
	if u == nil || u.Host == "" {
		return ""
	}
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	switch scheme {
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "https":
		host = strings.TrimSuffix(host, ":443")
	}
	return scheme + "://" + strings.TrimSuffix(host, ":")
}

// resolve returns where a request with this URL goes, as far as that is known
// before Resty has made the raw request.
func resolve(c *resty.Client, r *resty.Request, text string) (*url.URL, error) {
	for i, params := range []map[string]string{r.PathParams, c.PathParams, r.RawPathParams, c.RawPathParams} {
		for name, value := range params {
			if i < 2 { // not raw
				value = url.PathEscape(value)
			}
			text = strings.ReplaceAll(text, "{"+name+"}", value)
		}
	}
	u, err := url.Parse(text)
	if err == nil && !u.IsAbs() {
		u, err = url.Parse(join(cmp.Or(c.BaseURL, c.HostURL), text))
	}
	if err != nil {
		return nil, err
	}
	query := make(url.Values)
	maps.Copy(query, c.QueryParam)
	maps.Copy(query, r.QueryParam)
	if len(query) > 0 && u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += query.Encode()
	return u, nil
}

// answeredBy is the URL that a response came from, after redirects.
func answeredBy(resp *resty.Response) *url.URL {
	if resp == nil || resp.RawResponse == nil || resp.RawResponse.Request == nil {
		return nil
	}
	return resp.RawResponse.Request.URL
}
