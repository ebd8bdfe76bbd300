package restyretry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-resty/resty/v2"
)

// cause returns why an attempt asks for another, or "" where it does not. err
// is the error as Resty has it.
func (p *policy) cause(a Attempt, err error) Reason {
	switch {
	case p.retriesStatus(a.StatusCode()):
		return ReasonStatus
	case receiving(a.Response, err) && p.Errors != nil && p.Errors(err):
		return ReasonError
	case p.RetryIf != nil && p.RetryIf(a), p.plugin.kept.asksFor(a.Response, err):
		return ReasonCondition
	default:
		return ""
	}
}

func (o *Options) retriesStatus(status int) bool {
	return o.ServerErrors && status >= 500 && status != http.StatusNotImplemented ||
		slices.Contains(o.Statuses, status)
}

// receiving reports whether err came before the response was there in full.
// Resty knows the size of a body only when it has read it to its end; what
// fails after that is decoding or an OnAfterResponse.
func receiving(resp *resty.Response, err error) bool {
	return err != nil && (resp.RawResponse == nil || resp.Size() == 0)
}

// limit returns what stands against a retry, or "" after setting a.Wait.
func (e *execution) limit(a *Attempt) Reason {
	o := &e.policy.Options
	switch {
	case o.Unless != nil && o.Unless(*a):
		return ReasonUnless
	case !o.mayRepeat(a.Method, e.request.RawRequest) && !nothingSent(e.request.RawRequest, e.err):
		return ReasonMethod
	case a.Last():
		return ReasonAttempts
	}
	wait, err := e.wait(*a)
	if err != nil {
		e.raise(joined(e.err, err))
		return ReasonStopped
	}
	a.Wait = wait
	now := time.Now()
	if deadline, ok := e.Context.Deadline(); ok && deadline.Sub(now) <= wait {
		return ReasonDeadline
	}
	if o.MaxElapsed > 0 && o.MaxElapsed-now.Sub(e.start(*a)) < wait {
		return ReasonElapsed
	}
	return ""
}

// wait asks the RetryAfter function that the client had before the plugin, and
// then the strategy.
func (e *execution) wait(a Attempt) (time.Duration, error) {
	if kept := &e.policy.plugin.kept; kept.retryAfter != nil {
		switch wait, err := kept.retryAfter(kept.client, a.Response); {
		case err != nil:
			return 0, err
		case wait > 0:
			return wait, nil
		case wait < 0: // as Resty has it
			return kept.maxWait, nil
		}
	}
	return max(e.policy.Wait(a), 0), nil
}

// start is when the first attempt was sent; a is the one that has just ended.
func (e *execution) start(a Attempt) time.Time {
	if len(e.past) > 0 {
		return e.past[0].Start
	}
	return a.Start
}

// mayRepeat is the method rule. The key is that of the IETF draft "The
// Idempotency-Key HTTP Header Field".
func (o *Options) mayRepeat(method string, raw *http.Request) bool {
	return raw.Header.Get("Idempotency-Key") != "" ||
		slices.ContainsFunc(o.Methods, func(m string) bool { return strings.EqualFold(m, method) })
}

// nothingSent reports whether the error proves that no byte of the request left
// this machine: the name was not resolved, or the connection not made. It does
// not prove that of a request that has been redirected before.
func nothingSent(raw *http.Request, err error) bool {
	var dns *net.DNSError
	var op *net.OpError
	if !errors.As(err, &dns) && !(errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect")) {
		return false
	}
	var failed *url.Error
	if !errors.As(err, &failed) {
		return false
	}
	u, err := url.Parse(failed.URL)
	return err == nil && u.Host == raw.URL.Host && u.Path == raw.URL.Path && u.RawQuery == raw.URL.RawQuery
}

// Transient reports whether an error of the transport may go away by itself: a
// connection refused, reset or closed early, a timeout, an unreachable network,
// a name server that fails for the moment, an HTTP/2 connection or stream that
// the server gave up. Unknown errors are not transient, nor are an unknown
// host, a certificate, a scheme, a header or a redirect that is refused, a
// response that cannot be decoded, or context.Canceled.
func Transient(err error) bool {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return !dns.IsNotFound && (dns.IsTemporary || dns.IsTimeout)
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return true
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return slices.Contains(transientErrnos, errno)
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded) || transientHTTP2(err)
}

var transientErrnos = []syscall.Errno{
	syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ETIMEDOUT,
	syscall.ENETUNREACH, syscall.ENETDOWN, syscall.ENETRESET, syscall.EHOSTUNREACH, syscall.EHOSTDOWN,
}

// http2StreamError takes the stream error of the HTTP/2 that net/http bundles,
// whose As method goes by the names of the fields.
type http2StreamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e http2StreamError) Error() string {
	return fmt.Sprintf("stream %d: code %d", e.StreamID, e.Code)
}

// transientHTTP2 knows the errors of RFC 9113, section 7, after which the same
// request may succeed. The other errors of the bundled HTTP/2 have unexported
// types and no As method, so that their text is all that tells them.
func transientHTTP2(err error) bool {
	const protocolError, internalError, refusedStream, cancel, enhanceYourCalm = 0x1, 0x2, 0x7, 0x8, 0xb
	var stream http2StreamError
	if errors.As(err, &stream) {
		return slices.Contains([]uint32{protocolError, internalError, refusedStream, cancel, enhanceYourCalm}, stream.Code)
	}
	for ; err != nil; err = errors.Unwrap(err) {
		text := err.Error()
		if strings.HasPrefix(text, "http2: server sent GOAWAY") || strings.HasPrefix(text, "http2: client connection lost") ||
			text == "http: server closed idle connection" {
			return true
		}
	}
	return false
}

// A StatusError is the error of a request whose last response had a status of
// 400 or more, where RaiseForStatus asks for it.
type StatusError struct {
	StatusCode int
	Method     string
	URL        string // redacted, see [Attempt]
	Attempts   int    // how often the request was sent
}

func (e *StatusError) Error() string {
	times := "1 attempt"
	if e.Attempts != 1 {
		times = fmt.Sprintf("%d attempts", e.Attempts)
	}
	return fmt.Sprintf("restyretry: %s %s: %d %s after %s",
		e.Method, e.URL, e.StatusCode, http.StatusText(e.StatusCode), times)
}

// statusError is the error that RaiseForStatus makes of the last attempt, or
// nil.
func (e *execution) statusError(a Attempt) error {
	if !e.policy.RaiseForStatus || a.Err != nil || a.StatusCode() < http.StatusBadRequest {
		return nil
	}
	return &StatusError{StatusCode: a.StatusCode(), Method: a.Method, URL: a.URL, Attempts: a.Number}
}
