package restyretry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry/internal/redact"
	"github.com/restyretry/restyretry/internal/serverwait"
	"github.com/restyretry/restyretry/internal/transient"
)

// An outcome is what is known of an attempt that has ended.
type outcome struct {
	Attempt // as predicates see it: without Reason and Wait

	err     error // its error, as Resty has it
	partial bool  // the error came before the response was there in full
	asked   bool  // a condition outside this package asks for a retry

	unsent     bool // no server can have seen the request
	keyed      bool // the server will know the request again, by an idempotency key
	bodyLost   bool // its body could not be sent
	replayable bool // its body can be sent once more

	elsewhere func() bool // whether the next attempt goes to another host; nil if it cannot
	open      bool        // only OnAttempt can tell, which is called after OnRetry
	client    *resty.Client
	ctx       context.Context // the caller's
	began     time.Time       // the first attempt
	clock     func() time.Time
	now       time.Time // of the decision, once something asks for a retry
}

// A verdict is what follows an attempt.
type verdict struct {
	retry  bool
	wanted bool // something asks for a retry
	reason Reason
	wait   time.Duration // until the retry
	err    error         // for Resty to return in place of the attempt's own
	stay   *stay         // if the server asks for a wait, and only OnAttempt can tell whom it binds
}

// A stay completes a verdict that is not final, because only OnAttempt can tell
// whether the next attempt goes to the host that has asked for a wait.
type stay struct {
	reason    Reason        // why it does not follow if it stays; "" if it does, after the verdict's wait
	elsewhere time.Duration // the wait if it goes to another host
}

// decide says whether another attempt follows, and why. The attempt has to want it
// (wants), and nothing may stand against it (permit). decide calls functions of the
// options and of the client. It does not ask the Budget, which the caller asks last.
func (p *policy) decide(o outcome) verdict {
	if o.err != nil && o.ctx.Err() != nil {
		return p.cancelled(&o, o.Number > 1)
	}
	why := p.wants(&o)
	if why == "" {
		return p.end(&o, o.result())
	}
	v := verdict{}
	o.now = o.clock()
	if o.ctx.Err() == nil { // it may end in any function of the user's
		v = p.permit(&o, why)
	}
	if o.ctx.Err() != nil {
		v = p.cancelled(&o, true)
	}
	return v
}

// wants is why an attempt wants another, or "" where it does not.
func (p *policy) wants(o *outcome) Reason {
	switch {
	case o.directive() == serverwait.Retry:
		return ReasonServer
	case p.retriesStatus(o.StatusCode()):
		return ReasonStatus
	case o.partial && p.Errors != nil && p.Errors(asRedirect(o.Response, o.err)):
		return ReasonError
	case p.RetryIf != nil && p.RetryIf(o.Attempt), p.plugin.found.asksFor(o.Response, o.err), o.asked:
		return ReasonCondition
	default:
		return ""
	}
}

// permit is the verdict on an attempt that asks for another. Of all that stands
// against it, the first counts.
func (p *policy) permit(o *outcome, why Reason) verdict {
	switch {
	case p.Unless != nil && p.Unless(o.Attempt):
		return p.refuse(o, ReasonUnless)
	case o.directive() == serverwait.Stop:
		return p.refuse(o, ReasonServer)
	case !p.mayRepeat(o):
		return p.refuse(o, ReasonMethod)
	case o.Last():
		return p.refuse(o, ReasonAttempts)
	case !o.replayable:
		return p.refuse(o, ReasonBody)
	}
	if wait, err := p.clientWait(o); err != nil {
		return p.stopped(o, ReasonStopped, err)
	} else if wait > 0 {
		return p.after(o, why, wait)
	}
	asked := p.serverWait(o)
	switch {
	case asked == 0 || o.elsewhere != nil && o.elsewhere(): // it binds no other host
		return p.after(o, why, p.Wait(o.Attempt))
	case o.open:
		return p.afterEither(o, why, asked)
	default:
		return p.afterServer(o, why, asked)
	}
}

// left is the time until the request has to have sent its last attempt.
func (p *policy) left(o *outcome) time.Duration {
	left := serverwait.Forever
	if deadline, ok := o.ctx.Deadline(); ok {
		left = deadline.Sub(o.now)
	}
	if p.MaxElapsed > 0 {
		left = min(left, p.MaxElapsed-o.now.Sub(o.began))
	}
	return left
}

// after is the verdict on a retry after a wait, which has to fit in.
func (p *policy) after(o *outcome, why Reason, wait time.Duration) verdict {
	wait = max(wait, 0)
	if deadline, ok := o.ctx.Deadline(); ok && deadline.Sub(o.now) <= wait {
		return p.refuse(o, ReasonDeadline)
	}
	if p.MaxElapsed > 0 && p.MaxElapsed-o.now.Sub(o.began) < wait {
		return p.refuse(o, ReasonElapsed)
	}
	return verdict{retry: true, wanted: true, reason: why, wait: wait}
}

// afterServer is the verdict on a retry after the wait that the server asks for.
func (p *policy) afterServer(o *outcome, why Reason, asked time.Duration) verdict {
	if asked > min(p.MaxServerWait, serverwait.Forever-time.Second) {
		return p.refuse(o, ReasonServerWait)
	}
	spread := min(asked/10, time.Second)
	if p.Cooldown != nil && serverwait.BindsAll(o.StatusCode()) { // all that are told so come back like those that it holds
		spread = serverwait.Spread(asked)
	}
	spread = min(spread, max(p.left(o)-asked, 0)/2)
	return p.after(o, why, asked+between(o.Attempt, 0, spread))
}

// afterEither is the verdict if only OnAttempt can tell where the next attempt goes.
func (p *policy) afterEither(o *outcome, why Reason, asked time.Duration) verdict {
	v, there := p.after(o, why, p.Wait(o.Attempt)), p.afterServer(o, why, asked)
	if !v.retry {
		return v
	}
	v.stay = &stay{elsewhere: v.wait}
	if there.retry {
		v.wait = there.wait
	} else {
		v.stay.reason = there.reason
	}
	return v
}

// clientWait is the wait that the client's own RetryAfter function asks for, the one it
// had before Install. It is 0 if there is none, or if that has no opinion.
func (p *policy) clientWait(o *outcome) (time.Duration, error) {
	before := p.plugin.found.retryAfter
	if before == nil {
		return 0, nil
	}
	wait, err := before(o.client, o.Response)
	if wait < 0 { // as Resty has it
		wait = p.plugin.found.maxWait
	}
	return wait, err
}

// serverWait is the wait that the server asks for, 0 if it does not.
func (p *policy) serverWait(o *outcome) time.Duration {
	if p.MaxServerWait == 0 {
		return 0
	}
	return serverwait.Wait(o.StatusCode(), o.Response.Header(), o.now)
}

// refuse is the verdict on an attempt that asks for another in vain.
func (p *policy) refuse(o *outcome, reason Reason) verdict {
	v := p.end(o, reason)
	v.wanted = true
	return v
}

// end is the verdict on the last attempt.
func (p *policy) end(o *outcome, reason Reason) verdict {
	v := verdict{reason: reason}
	switch {
	case reason == ReasonBody && o.bodyLost:
		v.err = o.ended(reason, errBodyLost)
	case p.RaiseForStatus && o.err == nil && o.StatusCode() >= http.StatusBadRequest:
		v.err = &StatusError{
			StatusCode: o.StatusCode(), Method: o.Method, URL: o.URL,
			Attempts: o.Number, Max: o.Max, Reason: reason,
		}
	case o.err != nil && o.Err.Error() != redact.Message(o.err): // there is something to redact
		v.err = o.Err
	}
	return v
}

var errBodyLost = errors.New("the body cannot be sent again: it is longer than MaxReplay, or could not be read")

// stopped is refuse where something outside has ended the request. The error wraps why,
// and the error that the request would have had.
func (p *policy) stopped(o *outcome, reason Reason, why error) verdict {
	v := p.refuse(o, reason)
	whole := *o
	whole.Err = cmp.Or(v.err, o.Err)
	v.err = whole.ended(reason, why)
	return v
}

// cancelled is the verdict on an attempt after which the caller's context has
// ended. The error says so, unless the attempt's own does.
func (p *policy) cancelled(o *outcome, wanted bool) verdict {
	v := p.end(o, endedBy(o.ctx))
	if !errors.Is(o.err, o.ctx.Err()) || !errors.Is(o.err, context.Cause(o.ctx)) {
		v = p.stopped(o, v.reason, contextError(o.ctx))
	}
	v.wanted = wanted
	return v
}

// ended is the error of a request that something has ended although a retry was
// wanted. It wraps the error of the attempt as well, if there is one.
func (o *outcome) ended(reason Reason, why error) error {
	err := fmt.Errorf("restyretry: ended after %d of %d attempts (%s): %w", o.Number, o.Max, reason, why)
	if o.Err != nil {
		err = fmt.Errorf("%w (%w)", o.Err, err)
	}
	return err
}

// result is the reason of an attempt that asks for no other.
func (o *outcome) result() Reason {
	switch {
	case succeededWith(o.Attempt):
		return ReasonSucceeded
	case o.ctx.Err() != nil:
		return endedBy(o.ctx)
	case o.bodyLost: // a redirect, or net/http itself, wanted to send it again
		return ReasonBody
	default:
		return ReasonNotRetryable
	}
}

// directive is what the server says of a retry.
func (o *outcome) directive() serverwait.Directive {
	if o.Response == nil || o.Response.RawResponse == nil {
		return serverwait.Silent
	}
	return serverwait.ShouldRetry(o.StatusCode(), o.Response.RawResponse.Header)
}

// succeededWith reports whether an attempt is what its caller wanted.
func succeededWith(a Attempt) bool { return a.Err == nil && a.StatusCode() < http.StatusBadRequest }

// retriesStatus counts an invalid status, 600 or more, as 5xx: RFC 9110, section 15.
func (o *Options) retriesStatus(status int) bool {
	return o.ServerErrors && status >= 500 && status != http.StatusNotImplemented ||
		slices.Contains(o.Statuses, status)
}

// mayRepeat reports whether the request may be sent again.
func (o *Options) mayRepeat(out *outcome) bool {
	return out.directive() == serverwait.Retry || o.repeats(out.Method) || out.keyed || out.unsent ||
		slices.Contains(o.Refused, out.StatusCode())
}

// repeats reports whether the method may be sent again in any case.
func (o *Options) repeats(method string) bool {
	return slices.ContainsFunc(o.Methods, func(m string) bool { return strings.EqualFold(m, method) })
}

// Transient reports whether the same request may succeed if it is sent again. Every
// error is transient unless it is known that it would come back.
//
// Among others, these are transient:
//   - connections that are refused, reset or closed early, and networks, hosts,
//     local ports and Unix sockets that are not there
//   - timeouts, context.DeadlineExceeded among them
//   - name servers that fail or do not answer
//   - TLS handshakes that fail for a reason that is not listed below
//   - HTTP/2 connections and streams that the server gives up
//   - responses that are malformed, or cut off in their header, body or trailer
//   - proxies that answer CONNECT with 408, 425, 429 or 5xx
//   - unknown errors, such as those of other transports
//
// These are final:
//   - context.Canceled
//   - unknown hosts, and addresses that cannot be dialed
//   - certificates, protocol versions and other terms that one side refuses, and
//     servers that speak another protocol, such as HTTP where https is asked for
//   - URLs, schemes, hosts, methods and header fields that are wrong, and a body
//     that is not as long as its Content-Length
//   - redirects that are refused, that loop or that lead nowhere
//   - proxies that answer CONNECT with any other 4xx or refuse the client, and
//     proxy addresses that are wrong
//   - response headers and bodies over the limit
//   - bodies that cannot be decoded, and challenges of digest authentication
//     that cannot be answered
//
// An error with a method Transient() bool decides for itself and for all errors
// that wrap it. Of several in one tree, the first that errors.As finds counts.
//
// Transient does not know whether the caller's context has ended: an error does not
// say whose deadline or cancellation it comes from, and with
// context.WithCancelCause it may be any error.
func Transient(err error) bool { return transient.Error(err) }

// A StatusError is the error of a request with [Options].RaiseForStatus whose last
// response has a status of 400 or more.
type StatusError struct {
	StatusCode int
	Method     string
	URL        string // redacted, see [Attempt]
	Attempts   int    // attempts that were sent
	Max        int    // attempts that were allowed
	Reason     Reason // why no other attempt followed
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("restyretry: %s %s: %d %s after %d of %d attempts (%s)",
		e.Method, e.URL, e.StatusCode, http.StatusText(e.StatusCode), e.Attempts, e.Max, e.Reason)
}

// isUnsentError reports whether an error says that no connection was made for a
// request of this URL, and not for one that it was redirected to.
func isUnsentError(err error, to *url.URL) bool {
	var (
		dns    *net.DNSError
		op     *net.OpError
		failed *url.Error
	)
	if !errors.As(err, &dns) && (!errors.As(err, &op) || op.Op != "dial" && op.Op != "proxyconnect") {
		return false
	}
	return errors.As(err, &failed) && sameURL(failed.URL, to)
}

// sameURL compares a URL of an error, from which the password has been taken,
// with the request's.
func sameURL(s string, u *url.URL) bool {
	failed, err := url.Parse(s)
	return err == nil && failed.Host == u.Host && failed.Path == u.Path && failed.RawQuery == u.RawQuery
}
