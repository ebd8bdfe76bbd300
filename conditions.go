package restyretry

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-resty/resty/v2"
)

// cause returns why an attempt asks for another, or "" where it does not.
func (e *execution) cause(a Attempt) Reason {
	p, err := e.policy, e.lastError()
	switch {
	case told(a.Response) == "true":
		return ReasonServer
	case p.retriesStatus(a.StatusCode()):
		return ReasonStatus
	case !e.is(parsed) && receiving(a.Response, err) && p.Errors != nil && p.Errors(err):
		return ReasonError
	case p.RetryIf != nil && p.RetryIf(a), p.plugin.kept.asksFor(a.Response, err):
		return ReasonCondition
	default:
		return ""
	}
}

// asksNothing reports whether nothing can ask for a retry after this response.
func (p *policy) asksNothing(resp *resty.Response) bool {
	status := resp.StatusCode()
	return p.calm && status < http.StatusBadRequest && (status < http.StatusMultipleChoices || told(resp) != "true")
}

// told is what the server says of a retry: "true", "false" or nothing.
func told(resp *resty.Response) string {
	if resp.RawResponse == nil {
		return ""
	}
	return shouldRetry(resp.StatusCode(), resp.RawResponse.Header)
}

func (o *Options) retriesStatus(status int) bool {
	return o.ServerErrors && status >= 500 && status != http.StatusNotImplemented ||
		slices.Contains(o.Statuses, status)
}

// receiving reports whether err came before the response was there in full.
// Resty knows the size of a body only when it has read it to its end; what
// fails after that is decoding or an OnAfterResponse. A bare io.EOF is from
// decoding an empty body, since readers of bodies have io.ErrUnexpectedEOF.
func receiving(resp *resty.Response, err error) bool {
	if err == nil || resp.RawResponse == nil {
		return err != nil
	}
	return resp.Size() == 0 && err != io.EOF && !isBodyless(resp)
}

// isBodyless reports whether a response ends with its header.
func isBodyless(resp *resty.Response) bool {
	status := resp.StatusCode()
	return resp.RawResponse.ContentLength == 0 || status == http.StatusNoContent ||
		status == http.StatusNotModified || resp.Request.Method == http.MethodHead
}

// limit returns what stands against a retry, or "" after setting a.Wait.
func (e *execution) limit(a *Attempt) Reason {
	o, word := &e.policy.Options, told(a.Response)
	switch {
	case o.Unless != nil && o.Unless(*a):
		return ReasonUnless
	case word == "false":
		return ReasonServer
	case word != "true" && !o.repeats(a.Method) && !o.hasKey(e.request.RawRequest.Header) && !e.nothingSent():
		return ReasonMethod
	case a.Last():
		return ReasonAttempts
	case !e.canSendAgain():
		return ReasonBody
	}
	now := time.Now()
	wait, refused := e.wait(*a, now)
	if refused != "" {
		return refused
	}
	a.Wait = wait
	if deadline, ok := e.Context.Deadline(); ok && deadline.Sub(now) <= wait {
		return ReasonDeadline
	}
	if o.MaxElapsed > 0 && o.MaxElapsed-now.Sub(e.start(*a)) < wait {
		return ReasonElapsed
	}
	if !o.Budget.take(now) {
		return ReasonBudget
	}
	return ""
}

// wait asks the RetryAfter function that the client had before the plugin, then
// the server, and then the strategy. Either of the first two may refuse a retry.
func (e *execution) wait(a Attempt, now time.Time) (time.Duration, Reason) {
	o, kept := &e.policy.Options, &e.policy.plugin.kept
	if kept.retryAfter != nil {
		switch wait, err := kept.retryAfter(clientField.of(e.request), a.Response); {
		case err != nil:
			e.raise(joined(e.lastError(), err))
			return 0, ReasonStopped
		case wait > 0:
			return wait, ""
		case wait < 0: // as Resty has it
			return kept.maxWait, ""
		}
	}
	if o.MaxServerWait > 0 {
		switch asked := serverWait(a.StatusCode(), a.Response.Header(), now); {
		case asked > min(o.MaxServerWait, forever-time.Second):
			return 0, ReasonServerWait
		case asked > 0:
			return asked + between(a, 0, min(asked/10, time.Second)), ""
		}
	}
	return max(o.Wait(a), 0), ""
}

// start is when the first attempt was sent; a is the one that has just ended.
func (e *execution) start(a Attempt) time.Time {
	switch {
	case e.hasPast():
		return e.past[0].Start
	case a.Number > 1:
		return e.fromLedger(1).Start
	default:
		return a.Start
	}
}

// repeats reports whether the method may be sent again in any case.
func (o *Options) repeats(method string) bool {
	return slices.Contains(o.Methods, method) ||
		slices.ContainsFunc(o.Methods, func(m string) bool { return strings.EqualFold(m, method) })
}

// hasKey reports whether the server will know the request again. The key is
// that of the IETF draft "The Idempotency-Key HTTP Header Field".
func (o *Options) hasKey(h http.Header) bool {
	return hasField(h, "Idempotency-Key") || o.IdempotencyHeader != "" && hasField(h, o.IdempotencyHeader)
}

// nothingSent reports whether no server can have seen the attempt's request:
// its header was not written to any connection, nor that of a request that was
// redirected to it. A transport that does not say what it writes has to fail
// with an error that comes before: the name was not resolved, or the connection
// not made.
func (e *execution) nothingSent() bool {
	x := e.known()
	if x == nil || x.err == nil || x.bound == nil || x.bound.wire == nil || x.bound.wire.wrote.Load() {
		return false
	}
	if x.bound.wire.asked.Load() {
		return true
	}
	op, _ := find[*net.OpError](x.err)
	if _, dns := find[*net.DNSError](x.err); !dns && (op == nil || op.Op != "dial" && op.Op != "proxyconnect") {
		return false
	}
	failed, ok := find[*url.Error](x.err)
	return ok && sameURL(failed.URL, e.request.RawRequest.URL)
}

// sameURL compares a URL of an error, from which the password has been taken,
// with the request's.
func sameURL(s string, u *url.URL) bool {
	failed, err := url.Parse(s)
	return err == nil && failed.Host == u.Host && failed.Path == u.Path && failed.RawQuery == u.RawQuery
}

// Transient reports whether an error of the transport may go away by itself: a
// connection refused, reset or closed early, a timeout, an unreachable network,
// a name server that fails for the moment, an HTTP/2 connection or stream that
// the server gave up. Unknown errors are not transient, nor are an unknown
// host, a certificate, a scheme, a header or a redirect that is refused, a
// response that cannot be decoded, or context.Canceled.
func Transient(err error) bool {
	if dns, ok := find[*net.DNSError](err); ok {
		return !dns.IsNotFound && (dns.IsTemporary || dns.IsTimeout)
	}
	if anyError(err, isTimeout) {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		anyError(err, isTransientErrno) || transientHTTP2(err)
}

// isTimeout asks one error. A *url.Error does not know of a timeout further
// down.
func isTimeout(err error) bool {
	timeout, ok := err.(interface{ Timeout() bool })
	return ok && timeout.Timeout()
}

// find returns the first error of type E that err is or wraps. It is errors.As
// without memory of its own.
func find[E error](err error) (found E, ok bool) {
	ok = anyError(err, func(err error) bool {
		found, ok = err.(E)
		return ok
	})
	return found, ok
}

// anyError reports whether err or one that it wraps is such an error.
func anyError(err error, is func(error) bool) bool {
	if err == nil || is(err) {
		return err != nil
	}
	switch wrapping := err.(type) {
	case interface{ Unwrap() error }:
		return anyError(wrapping.Unwrap(), is)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(wrapping.Unwrap(), func(e error) bool { return anyError(e, is) })
	default:
		return false
	}
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
	return anyError(err, func(err error) bool {
		text := err.Error()
		return strings.HasPrefix(text, "http2: server sent GOAWAY") || text == "http2: client connection lost" ||
			text == "http: server closed idle connection"
	})
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
