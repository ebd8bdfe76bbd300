package restyretry

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/go-resty/resty/v2"
)

// An Attempt is one sending of a request. Callbacks get it by value, and its
// fields stay as they were when the attempt ended. Only what Response takes from
// its Request (Result, Error, Time) is that of the last attempt, since Resty has
// one request for all of them; use Took.
type Attempt struct {
	// Number is the number of the attempt, from 1.
	Number int
	// Max is [Options].Attempts, the number of attempts that the request may have.
	Max int
	// Method is the method that was sent; a redirect may have changed it later.
	Method string
	// URL is where the attempt went, with user information and query values
	// replaced by REDACTED. Before it is sent (OnAttempt, Target) it is what the
	// request says: perhaps a path, or with path parameters in it.
	URL string
	// Request is the request itself. OnAttempt may change it.
	Request *resty.Request
	// Response is nil before the attempt is sent, and if it could not be sent. If
	// the transport failed, its RawResponse is nil.
	Response *resty.Response
	// Err is the error of the attempt, redacted like URL.
	Err error
	// Start is when the attempt was sent. Took is the time from then until the
	// response had been read (or its header, with SetDoNotParseResponse).
	Start time.Time
	Took  time.Duration
	// Wait is the time from the end of this attempt to the next, without its Held.
	// The last attempt has one only if a retry was decided on but not sent.
	Wait time.Duration
	// Held is how long a Cooldown has held the attempt back before it was sent. Took
	// does not include it.
	Held time.Duration
	// Reason is why the attempt was followed by another, or why it was not. It is
	// empty until that is decided.
	Reason Reason

	rand func() float64
	turn uint32 // which request of a Rotate this is
	sent bool
}

// Last reports whether no attempt may follow this one.
func (a Attempt) Last() bool { return a.Number >= a.Max }

// StatusCode is the status of the response, or 0 where there is none.
func (a Attempt) StatusCode() int {
	if a.Response == nil {
		return 0
	}
	return a.Response.StatusCode()
}

func (a Attempt) random() float64 {
	if a.rand != nil {
		return a.rand()
	}
	return rand.Float64()
}

// A Reason says why an attempt was followed by another or why it was not.
type Reason string

// Why an attempt was followed by another.
const (
	ReasonStatus    Reason = "status"    // Statuses or ServerErrors
	ReasonError     Reason = "error"     // Errors
	ReasonCondition Reason = "condition" // RetryIf, or a retry condition of Resty's
	ReasonServer    Reason = "server"    // the server said so; also why an attempt was the last
)

// Why an attempt was the last one.
const (
	ReasonSucceeded    Reason = "succeeded"     // status below 400, no error
	ReasonNotRetryable Reason = "not-retryable" // it failed, but nothing asks for a retry
	ReasonUnless       Reason = "unless"        // Unless
	ReasonMethod       Reason = "method"        // the method may not be sent again
	ReasonAttempts     Reason = "attempts"      // as many attempts as allowed
	ReasonBody         Reason = "body"          // the body cannot be sent again: see MaxReplay
	ReasonDeadline     Reason = "deadline"      // the context has ended by its deadline, or would before the next attempt
	ReasonServerWait   Reason = "server-wait"   // the server asks for a wait longer than MaxServerWait
	ReasonBudget       Reason = "budget"        // the Budget is used up
	ReasonCooldown     Reason = "cooldown"      // the host cools down for longer than the request may wait
	ReasonElapsed      Reason = "elapsed"       // MaxElapsed would be over before the next attempt
	ReasonCancelled    Reason = "cancelled"     // the caller cancelled the context
	ReasonNotSent      Reason = "not-sent"      // it failed before it was sent: a middleware, Resty's rate limiter, the URL
	ReasonStopped      Reason = "stopped"       // OnAttempt, a Target or the client's own RetryAfter returned an error
	ReasonPanic        Reason = "panic"         // a callback panicked
)

// Hooks are callbacks around the attempts of a request. Each may be nil. They
// run in the goroutine of the request. OnAttempt must not register callbacks on
// the client: Resty holds a lock while the first one of a request runs.
type Hooks struct {
	// OnAttempt runs before every attempt, including the first, and may change
	// a.Request: method, URL, headers, parameters, body, credentials. Every
	// attempt begins with the request as it was before the first OnAttempt, so
	// changes do not pile up. Changes to Result, Error and multipart readers have
	// no effect on later attempts. An error ends the request before this attempt
	// is sent; the response of the previous attempt is returned with the error.
	//
	// If the server has asked for a wait, OnAttempt runs before that wait, since
	// it may send the attempt to another host; the request may then end without
	// the attempt. What must be fresh, such as a signature, belongs in PreRequest.
	// Every OnAttempt without an error is followed by one OnRetry or OnDone.
	OnAttempt func(a Attempt) error

	// OnRetry runs when an attempt is to be followed by another, before the wait:
	// a.Wait and a.Reason tell how long and why, and the next attempt is
	// a.Number+1. Changes to a.Request stay for all later attempts, except those to
	// its URL (see Options.URL for that), Result and Error.
	OnRetry func(a Attempt)

	// OnDone runs once for every request, with its last attempt. If a retry was
	// decided on but not sent, that is an attempt that OnRetry has seen, with
	// another Reason. OnDone does not run for a request that is refused before its
	// first attempt is prepared: by Resty, by a middleware registered before Install,
	// or because of an invalid option or a setting changed after Install. Such a
	// request has no History, and Stats do not count it.
	OnDone func(a Attempt)
}

// History returns the attempts of a request so far, the oldest first. It works
// inside callbacks and after the request, with a nil response too.
func History(r *resty.Request) []Attempt {
	if r == nil {
		return nil
	}
	if c := lastCall(r); c != nil {
		return slices.Clone(c.attempts)
	}
	return nil
}

// Number returns which attempt the context belongs to, counted from 1, or 0 for
// a context outside of an attempt. It works with the context of the raw request
// (in a transport, a dialer, an httptrace) and with that of the Resty
// request while the attempt lasts.
func Number(ctx context.Context) int {
	n, _ := ctx.Value(numberKey{}).(int)
	return n
}

// onAttempt tells the hooks of the attempt that is to come.
func (c *call) onAttempt() error {
	if !c.policy.onAttempt {
		return nil
	}
	defer c.noteBody()
	defer hideShown(c.request)
	defer c.stayInContext()
	a := c.upcoming()
	for _, hooks := range c.policy.Hooks {
		if hooks.OnAttempt == nil {
			continue
		}
		c.noteBody()
		if err := hooks.OnAttempt(a); err != nil {
			return err
		}
	}
	return nil
}

// onRetry tells everyone of the retry that is to come.
func (c *call) onRetry() {
	a := *c.last()
	c.log(slog.LevelDebug, "retrying", a)
	for _, hook := range c.policy.plugin.found.hooks {
		hook(a.Response, c.current.err)
		c.noteBody()
	}
	for _, hooks := range c.policy.Hooks {
		if hooks.OnRetry != nil {
			hooks.OnRetry(a)
			c.noteBody()
		}
	}
}

func (c *call) onDone() {
	if !c.current.wanted && len(c.policy.Hooks) == 0 {
		return
	}
	a := *c.last()
	if c.current.wanted && a.Reason != ReasonSucceeded && a.Max > 1 {
		c.log(slog.LevelWarn, "giving up", a)
	}
	for _, hooks := range c.policy.Hooks {
		if hooks.OnDone != nil {
			hooks.OnDone(a)
		}
	}
}

func (c *call) log(level slog.Level, message string, a Attempt) {
	logger := c.policy.Logger
	if logger == nil || !logger.Enabled(c.ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("method", a.Method), slog.String("url", a.URL),
		slog.Int("attempt", a.Number), slog.Int("max", a.Max),
		slog.String("reason", string(a.Reason)),
	}
	if status := a.StatusCode(); status != 0 {
		attrs = append(attrs, slog.Int("status", status))
	}
	if a.Err != nil {
		attrs = append(attrs, slog.String("error", a.Err.Error()))
	}
	if level == slog.LevelDebug {
		attrs = append(attrs, slog.Duration("wait", a.Wait))
	}
	logger.LogAttrs(c.ctx, level, message, attrs...)
}
