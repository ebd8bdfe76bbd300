package restyretry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-resty/resty/v2"
)

// maxAttempts bounds Options.Attempts.
const maxAttempts = 100

// retryCount is the RetryCount of the client. Resty's loop has one turn more: enough
// for all attempts, for a first attempt that is held back, which takes a turn of its
// own, and for the last turn, in which Resty does not ask RetryAfter how the request
// ends. It also ends a loop that a condition outside this package would never end.
const retryCount = maxAttempts + 1

// Options is a retry policy. It is changed by plain functions, the same for
// [Install], [Plugin.Update] and, through [With], for one request. A later
// function wins, assignment replaces, append adds, and an explicit zero is a
// value.
//
// The limits (Attempts, Methods, Unless, MaxElapsed, Budget, the deadline of the
// request's context) apply to every retry, whoever asked for it.
type Options struct {
	// Attempts is the total number of attempts, including the first: 1 to 100.
	// Default 3, or RetryCount+1 if the client had a RetryCount at Install.
	Attempts int

	// Methods are the methods that may be sent again, case-insensitive.
	// Default GET, HEAD, OPTIONS, TRACE, PUT, DELETE and QUERY, the idempotent
	// methods of RFC 9110, section 9.2.2, and of the QUERY draft. Any method
	// may be sent again when the server has refused the request (Refused), when
	// it carries an Idempotency-Key header (or that of IdempotencyHeader), when
	// the error proves that nothing of it was sent (the name was not resolved,
	// the connection or its TLS not made), or when the server says so
	// (x-should-retry: true).
	Methods []string

	// Refused are the statuses by which a server says that it has not acted on
	// the request, 100 to 599: any method may be sent again after them, if
	// something else asks for a retry, such as Statuses or RetryIf. Default 401,
	// 407, 421, 425 and 429.
	Refused []int

	// Statuses are the statuses to retry, 100 to 599, besides those of ServerErrors.
	// Default 408, 425 and 429.
	Statuses []int

	// ServerErrors retries every 5xx status but 501. Default true.
	ServerErrors bool

	// Errors reports whether an error of sending the request or receiving the
	// response is retried. Default [Transient]; nil retries none. It is not
	// called when the caller's context has ended, for a request that failed before
	// the transport got it, or for a failure after the response was received in
	// full (decoding, OnAfterResponse). RetryIf is called for the last of these.
	Errors func(error) bool

	// RetryIf reports whether to retry an attempt that nothing else retries, such
	// as a 200 that says "pending". Default nil: none. It is the
	// evaluate_response_callback of aiohttp_retry with the opposite sense: true
	// means again.
	RetryIf func(Attempt) bool

	// Unless reports whether to refuse a retry that would otherwise happen.
	// Default nil: it refuses none.
	Unless func(Attempt) bool

	// Wait is the time from a failed attempt to the next. Default
	// FullJitter(Exponential(500ms, 30s)), or Resty's own backoff with the
	// client's wait settings if they differed from Resty's defaults at Install.
	Wait Strategy

	// MaxServerWait is the longest wait that a server may ask for, by Retry-After
	// or the rate-limit fields that the README lists. A shorter one takes the place of
	// Wait, with up to a tenth (at most a second) added at random, or, after a 429 or
	// 503, as much as a Cooldown spreads those that it holds; a longer one ends the
	// request. It binds only the host that asked: an attempt that goes to another host
	// waits as Wait says. Default 1 minute; 0 ignores what servers ask for.
	MaxServerWait time.Duration

	// Cooldown keeps requests, first attempts included, from a host that has told
	// one of them to wait. Default nil: no request learns from another.
	Cooldown *Cooldown

	// Budget limits the retries of all requests together. Default nil: no limit.
	Budget *Budget

	// AttemptTimeout limits each attempt, until its response has been read, or its
	// header with SetDoNotParseResponse. It is retried like any other timeout.
	// Default 0: no limit.
	AttemptTimeout time.Duration

	// MaxElapsed limits the request: no attempt starts later than this after the
	// first one. A wait that would end later does not begin; an attempt that has
	// started is not cut short. Default 0: no limit.
	MaxElapsed time.Duration

	// URL says where each attempt goes: see [URLs], [BaseURLs], [Rotate] and
	// [TargetFunc]. Default nil: where the request says.
	URL Target

	// MaxReplay is the number of bytes of a one-shot reader (an io.Reader that is
	// no file, buffer or the like) that are recorded while it is sent, so that it
	// can be sent again. A longer body is sent once, in full, and not retried.
	// With Resty's SetContentLength, which needs the length first, the whole reader
	// is recorded. Default 1 MiB.
	MaxReplay int64

	// IdempotencyHeader names a header field, such as Idempotency-Key, that is set
	// to a random key in requests whose method is not idempotent, unless they
	// have one. The key is the same in every attempt, and allows any method to be
	// sent again. Set it only for servers that honor it. Default "": none.
	IdempotencyHeader string

	// AttemptHeader names a header field that tells the server the number of the
	// attempt, from 1, unless the request has such a field. Default "": none.
	AttemptHeader string

	// RaiseForStatus returns a [*StatusError] with a last response whose status is
	// 400 or more. Default false: a status is no error.
	RaiseForStatus bool

	// Hooks are called around every attempt, in order. Default none.
	Hooks []Hooks

	// Logger gets a debug record for every retry and for every attempt that was held
	// back, and a warning for every request that is given up although something asked
	// for a retry. Default nil: none. That another pre-request hook has replaced the
	// plugin's is a warning too, by slog.Default if there is no Logger.
	Logger *slog.Logger

	// PreRequest takes the place of Resty's SetPreRequestHook, which holds a single
	// hook and which this package needs. It is called for every attempt, right
	// before it is sent: the place to sign. Like OnAttempt, it must not register
	// callbacks on the client. SetPreRequestHook after Install replaces the plugin's
	// hook: that is logged once, and an error of requests that need it. Default nil.
	PreRequest resty.PreRequestHook

	// Rand returns the random numbers of the waits, in [0, 1): those of strategies,
	// and those that are added to a server's wait. It must be safe for concurrent
	// use. Default nil: math/rand/v2.
	Rand func() float64
}

// Off allows no retries: it sets Attempts to 1.
func Off(o *Options) { o.Attempts = 1 }

// AiohttpRetry sets the defaults that Python's aiohttp_retry 2.9.1 documents: 3
// attempts, every method it knows, every 5xx, every transport error, waits of
// 0.1 s doubling to 30 s without jitter, and none that servers ask for. (Its code
// retries no error by default, and waits 0.2 s first.) 501 is in Statuses, since
// ServerErrors leaves it out. Requests that are not idempotent are repeated: an
// order may be placed twice.
func AiohttpRetry(o *Options) {
	o.Attempts = 3
	o.Methods = []string{
		http.MethodHead, http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodOptions,
		http.MethodTrace, http.MethodPost, http.MethodConnect, http.MethodPatch,
	}
	o.Statuses = []int{http.StatusNotImplemented}
	o.ServerErrors = true
	o.MaxServerWait = 0
	o.Errors = func(error) bool { return true }
	o.Wait = Exponential(100*time.Millisecond, 30*time.Second)
}

func defaults() Options {
	return Options{
		Attempts: 3,
		Methods:  slices.Clone(idempotentMethods),
		Refused: []int{
			http.StatusUnauthorized, http.StatusProxyAuthRequired, http.StatusMisdirectedRequest,
			http.StatusTooEarly, http.StatusTooManyRequests,
		},
		Statuses:      []int{http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests},
		ServerErrors:  true,
		Errors:        Transient,
		Wait:          FullJitter(Exponential(500*time.Millisecond, 30*time.Second)),
		MaxServerWait: time.Minute,
		MaxReplay:     1 << 20,
	}
}

// with returns a copy of o after the changes. It shares no slice with o, nor
// with anything that the functions know of.
func (o Options) with(changes []func(*Options)) (Options, error) {
	o = o.clone()
	for i, change := range changes {
		if change == nil {
			return o, fmt.Errorf("restyretry: function %d that changes the options is nil", i+1)
		}
		change(&o)
	}
	own := o.clone()
	return own, own.validate()
}

func (o Options) clone() Options {
	o.Methods = slices.Clone(o.Methods)
	o.Refused = slices.Clone(o.Refused)
	o.Statuses = slices.Clone(o.Statuses)
	o.Hooks = slices.Clone(o.Hooks)
	return o
}

func (o *Options) validate() error {
	if o.Attempts < 1 || o.Attempts > maxAttempts {
		return fmt.Errorf("restyretry: Attempts is %d, not from 1 to %d", o.Attempts, maxAttempts)
	}
	for _, method := range o.Methods {
		if !isToken(method) {
			return fmt.Errorf("restyretry: Methods has %q, which is not a method", method)
		}
	}
	if err := validateStatuses("Refused", o.Refused); err != nil {
		return err
	}
	if err := validateStatuses("Statuses", o.Statuses); err != nil {
		return err
	}
	if o.Wait == nil {
		return errors.New("restyretry: Wait is nil; for no wait use Constant(0)")
	}
	if o.MaxServerWait < 0 {
		return fmt.Errorf("restyretry: MaxServerWait is %v, less than 0", o.MaxServerWait)
	}
	if o.Cooldown != nil && o.Cooldown.Max < 0 {
		return fmt.Errorf("restyretry: Cooldown: Max is %v, less than 0", o.Cooldown.Max)
	}
	if err := o.Budget.validate(); err != nil {
		return fmt.Errorf("restyretry: Budget: %w", err)
	}
	if err := validateHeader("IdempotencyHeader", o.IdempotencyHeader, "Idempotency-Key"); err != nil {
		return err
	}
	if err := validateHeader("AttemptHeader", o.AttemptHeader, "X-Attempt"); err != nil {
		return err
	}
	if n := o.AttemptHeader; n != "" && (strings.EqualFold(n, "Idempotency-Key") || strings.EqualFold(n, o.IdempotencyHeader)) {
		return fmt.Errorf("restyretry: AttemptHeader is %q, the name of the idempotency key: choose another, such as X-Attempt", n)
	}
	if o.AttemptTimeout < 0 {
		return fmt.Errorf("restyretry: AttemptTimeout is %v, less than 0", o.AttemptTimeout)
	}
	if o.MaxElapsed < 0 {
		return fmt.Errorf("restyretry: MaxElapsed is %v, less than 0", o.MaxElapsed)
	}
	if o.MaxReplay < 0 {
		return fmt.Errorf("restyretry: MaxReplay is %d, less than 0", o.MaxReplay)
	}
	if list, ok := o.URL.(validator); ok {
		if err := list.validate(); err != nil {
			return fmt.Errorf("restyretry: URL: %w", err)
		}
	}
	return nil
}

func validateStatuses(option string, statuses []int) error {
	for _, status := range statuses {
		if status < 100 || status > 599 {
			return fmt.Errorf("restyretry: %s has %d, not from 100 to 599", option, status)
		}
	}
	return nil
}

// needsHook reports whether o asks for something that only Resty's pre-request
// hook can do.
func (o *Options) needsHook() bool {
	return o.AttemptTimeout > 0 || o.PreRequest != nil || o.IdempotencyHeader != "" || o.AttemptHeader != ""
}

// A policy is one set of options of one plugin. It is never changed.
type policy struct {
	Options
	plugin *Plugin

	onAttempt      bool // one of the hooks has one
	retriesSuccess bool // something may ask for another attempt after a 2xx
}

// policy makes a policy of changed options.
func (p *Plugin) policy(base Options, changes []func(*Options)) (*policy, error) {
	o, err := base.with(changes)
	if err != nil {
		return nil, err
	}
	return &policy{
		Options: o, plugin: p,
		onAttempt: slices.ContainsFunc(o.Hooks, func(h Hooks) bool { return h.OnAttempt != nil }),
		retriesSuccess: o.RetryIf != nil || len(p.found.conditions) > 0 ||
			slices.ContainsFunc(o.Statuses, func(s int) bool { return s < 300 }),
	}, nil
}

// With returns a context that changes the options of the requests made with it, on
// clients that have a plugin. Nested calls add up, the innermost last.
//
// An invalid option is an error of the request, which is not sent then. The functions
// do not run for every request: the context keeps the result for the next request on
// the same client. Like OnAttempt, they must not register callbacks on the client.
func With(ctx context.Context, opts ...func(*Options)) context.Context {
	if outer, ok := ctx.Value(overridesKey{}).(*overrides); ok {
		opts = append(slices.Clip(outer.changes), opts...)
	}
	return &overrides{Context: ctx, changes: slices.Clone(opts)}
}

type overridesKey struct{}

// overrides is the context that With makes. It keeps the last policy that was
// made from it, because a context is often used for many requests.
type overrides struct {
	context.Context
	changes []func(*Options)
	cached  atomic.Pointer[resolved]
}

type resolved struct {
	base, policy *policy
	err          error
}

func (o *overrides) Value(key any) any {
	if key == (overridesKey{}) {
		return o
	}
	return o.Context.Value(key)
}

// within returns what a policy becomes for a request with this context.
func (p *policy) within(ctx context.Context) (*policy, error) {
	o, ok := ctx.Value(overridesKey{}).(*overrides)
	if !ok {
		return p, nil
	}
	r := o.cached.Load()
	if r == nil || r.base != p {
		r = &resolved{base: p}
		r.policy, r.err = p.plugin.policy(p.Options, o.changes)
		o.cached.Store(r)
	}
	return r.policy, r.err
}

// idempotentMethods are those of RFC 9110, section 9.2.2, and QUERY of
// draft-ietf-httpbis-safe-method-w-body.
var idempotentMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace,
	http.MethodPut, http.MethodDelete, "QUERY",
}
