package redact

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Error returns err with a text that shows no secret. It is the same error to
// errors.Is and errors.As. If there is nothing to redact, it is err itself.
//
// A *url.Error becomes another one, so that its URL field is redacted too. Any
// other error is wrapped: what errors.Unwrap returns has the original text.
func Error(err error) error {
	if err == nil {
		return nil
	}
	shown, _ := redactError(err, false)
	return shown
}

// Message is the text of err, like err.Error(), or says that this panics, as it may for
// a nil pointer.
func Message(err error) string {
	text, _ := message(err)
	return text
}

// message is [Message], and reports whether the text is that of err.
func message(err error) (text string, own bool) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("%T, whose Error method panics", err)
		}
	}()
	return err.Error(), true
}

// Reason returns why url.Parse failed, without the parts of the URL that the
// text of err quotes. It is [Error] for an error of another origin.
func Reason(err error) error {
	var e *url.Error
	if !errors.As(err, &e) || e.Err == nil {
		return Error(err)
	}
	reason, _, _ := strings.Cut(Message(e.Err), `"`)
	reason, _ = redactProse(strings.TrimRight(reason, " ("))
	return errors.New(escape(reason))
}

// redactError is [Error], and reports whether it returns another error than err. If
// strict, no quoted words of err are shown.
func redactError(err error, strict bool) (shown error, changed bool) {
	if e, ok := err.(*url.Error); ok && e != nil && e.Err != nil {
		return redactURLError(e, strict)
	}
	before, own := message(err)
	switch {
	case !own:
		return &redactedError{err: err, text: before}, true
	case redactText(before, strict) == before:
		return err, false
	}
	r := redactedError{err: err, text: errorText(err, strict)}
	if ne, ok := err.(net.Error); ok {
		return &redactedNetError{r, ne}, true
	}
	return &r, true
}

func redactURLError(e *url.Error, strict bool) (shown error, changed bool) {
	op := redactText(e.Op, strict)
	text, certain := showURLOf(e)
	inner, changed := redactError(e.Err, strict || !certain)
	if !changed && op == e.Op && text == e.URL {
		return e, false
	}
	return &url.Error{Op: op, URL: text, Err: inner}, true
}

// showURLOf returns the URL of e, redacted, and reports whether it is a URL with
// certainty. That of url.Parse has been cut off at #.
func showURLOf(e *url.Error) (shown string, certain bool) {
	if e.Op == "parse" {
		return showText(e.URL)
	}
	return showWhole(e.URL)
}

// errorText is the text of err, redacted. If err ends with the text of the error
// that it wraps, that text is redacted by itself. If strict, no quoted words are
// shown.
func errorText(err error, strict bool) string {
	if e, ok := err.(*url.Error); ok && e != nil && e.Err != nil {
		text, certain := showURLOf(e)
		return fmt.Sprintf("%s %q: %s", redactText(e.Op, strict), text, errorText(e.Err, strict || !certain))
	}
	whole := Message(err)
	if inner := errors.Unwrap(err); inner != nil {
		prefix, found := strings.CutSuffix(whole, Message(inner))
		if found && prefix == "" {
			return errorText(inner, strict)
		}
		if prefix, ok := strings.CutSuffix(prefix, ": "); ok && found {
			return redactText(prefix, strict) + ": " + errorText(inner, strict)
		}
	}
	return redactText(whole, strict)
}

// redactText redacts a text with URLs in it, as the package comment explains.
func redactText(s string, strict bool) string {
	first, last := strings.IndexByte(s, '"'), strings.LastIndexByte(s, '"')
	if first < 0 {
		shown, _ := redactProse(s)
		return escape(shown)
	}
	head, quoted, tail := s[:first], s[first:last+1], s[last+1:]
	if !isApart(head, quoted, tail) {
		return redacted
	}
	shown, whole := redactProse(head)
	if whole {
		tail, _ = redactProse(tail)
		shown += redactQuoted(quoted, strict || namesScheme(s)) + tail
	}
	return escape(shown)
}

// isApart reports whether the quotes are no part of a URL that begins before
// them or ends behind them.
func isApart(head, quoted, tail string) bool {
	if head != "" && !strings.ContainsAny(head[len(head)-1:], " \t\n([{=:,") ||
		tail != "" && !strings.ContainsAny(tail[:1], " \t\n)]}:,;.") {
		return false
	}
	if len(quoted) == 1 || strings.Contains(blankInnocent(tail), "@") {
		return false
	}
	return !strings.Contains(quoted, "@") || !glued.MatchString(head)
}

var (
	// glued matches a colon that may stand between a user and a password.
	glued = regexp.MustCompile(`:\S`)

	schemeName = regexp.MustCompile(`scheme "([^"]+)"`)

	// name matches quoted text that is neither a URL nor a part of one in which
	// a secret can be, such as the port in "invalid port \":secret\" after host".
	name = regexp.MustCompile(`^(|([A-Za-z]+://)?[\pL\pN_/]([\pL\pN_ ,.*/()'-]|: |:[0-9]+\b)*)$`)
)

// namesScheme reports whether s names a scheme that may be a user name or a
// token: "unsupported protocol scheme".
func namesScheme(s string) bool {
	for _, match := range schemeName.FindAllStringSubmatch(s, -1) {
		if !isKnownScheme(match[1]) {
			return true
		}
	}
	return false
}

// redactQuoted redacts a text that begins and ends with a quote.
func redactQuoted(s string, strict bool) string {
	const closed = `"` + redacted + `"`
	if strict {
		return closed
	}
	if areNames(s) {
		return s
	}
	if content, err := strconv.Unquote(s); err == nil {
		shown, _ := showText(content)
		return `"` + shown + `"`
	}
	return closed
}

// areNames reports whether s is made of quoted names with prose between them.
func areNames(s string) bool {
	for s != "" {
		quoted, err := strconv.QuotedPrefix(s)
		if err != nil {
			return false
		}
		content, err := strconv.Unquote(quoted)
		if err != nil || !name.MatchString(content) {
			return false
		}
		s = s[len(quoted):]
		gap := s[:max(0, strings.IndexByte(s, '"'))]
		if shown, _ := redactProse(gap); shown != gap {
			return false
		}
		s = s[len(gap):]
	}
	return true
}

var (
	suspicious = regexp.MustCompile(`[?#]|=\S*&|&\S*=`)

	// innocent matches the end of a question, a number and a character that an
	// error is about: "did you start it?", "attempt #2", "invalid character '?'".
	innocent = regexp.MustCompile(`(^|\s)(\(?\pL[\pL']*\?\)?|#[0-9]+[:,.]?|'.'[:,.]?)(\s|$)`)
)

// blankInnocent replaces what innocent matches in s by spaces. The result has the
// length of s, so that places in it are places in s.
func blankInnocent(s string) string {
	return innocent.ReplaceAllStringFunc(s, func(match string) string {
		return strings.Repeat(" ", len(match))
	})
}

// redactProse redacts text outside quotes. whole reports whether all of s is shown or
// redacted word by word; otherwise the text is cut off at the first suspicious word.
func redactProse(s string) (shown string, whole bool) {
	if !strings.ContainsAny(s, "@?#&") {
		return redactWords(s), true
	}
	blanked := blankInnocent(s)
	if strings.Contains(blanked, "@") {
		return redacted, false
	}
	mark := suspicious.FindStringIndex(blanked)
	if mark == nil {
		return redactWords(s), true
	}
	start := strings.LastIndexAny(s[:mark[0]], " \t\r\n") + 1
	before := redactWords(s[:start])
	if strings.ContainsAny(s[mark[0]:mark[0]+1], "=&") {
		return before + redacted, false
	}
	shown, _ = showText(word.FindString(s[start:]))
	return before + shown, false
}

var (
	word     = regexp.MustCompile(`\S+`)
	hostPort = regexp.MustCompile(`^[^:\[\]]*(:[0-9]+)+$`)
	dateTime = regexp.MustCompile(`^[0-9-]+T[0-9:.]+(Z|[+-][0-9:]+)$`)
	plainURL = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://[A-Za-z0-9.-]+(:[0-9]+)?(/.*)?$`)
)

func redactWords(s string) string {
	if !strings.Contains(s, ":") {
		return s
	}
	return word.ReplaceAllStringFunc(s, redactWord)
}

// redactWord redacts a word that has no @ and no query.
func redactWord(w string) string {
	core := strings.TrimLeft(strings.TrimRight(w, ":,;.)}'"), "({'")
	if !strings.Contains(core, ":") || hostPort.MatchString(core) || dateTime.MatchString(core) ||
		plainURL.MatchString(core) || isAddress(core) {
		return w
	}
	return strings.Replace(w, core, redacted, 1)
}

// isAddress reports whether s is an address as the errors of package net have
// it: "::1", "[::1]", "[::1]:80" or "10.0.0.1:4711->10.0.0.2:80".
func isAddress(s string) bool {
	local, remote, isPair := strings.Cut(s, "->")
	if isPair {
		return isAddressPort(local) && isAddressPort(remote)
	}
	_, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return err == nil || isAddressPort(s)
}

func isAddressPort(s string) bool {
	_, err := netip.ParseAddrPort(s)
	return err == nil
}

// escape replaces what is not printable the way strconv.Quote does, and leaves
// quotes alone.
func escape(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		_, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !unicode.IsPrint(r):
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// A redactedError is an error with another text.
type redactedError struct {
	err  error
	text string
}

func (e *redactedError) Error() string { return e.text }
func (e *redactedError) Unwrap() error { return e.err }

// Redacted returns the original error. otelretry looks for this method, to tell this
// wrapper from those that mean something.
func (e *redactedError) Redacted() error { return e.err }

// A redactedNetError is a redactedError that is a net.Error, as the original is:
// *url.Error asks its cause for Timeout without unwrapping it.
type redactedNetError struct {
	redactedError
	net net.Error
}

func (e *redactedNetError) Timeout() bool { return e.net.Timeout() }

//lint:ignore SA1019 net.Error has this method.
func (e *redactedNetError) Temporary() bool { return e.net.Temporary() }
